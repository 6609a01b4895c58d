//! How nodes come to reach each other, as far as it shows: whom they look up, and whom they dial.

use std::collections::{BTreeMap, BTreeSet};

use egtp::{Failure, Instant, Reason};

use crate::NodeIndex;
use crate::storm::Violation;
use crate::transcript::Ending;

#[derive(Debug, Default)]
pub(super) struct Reach {
    /// From one node to another, in its present life.
    attempts: BTreeMap<(NodeIndex, NodeIndex), Attempts>,
    /// Whom a node may know anything of: whoever it was to reach, or was to reach it.
    met: BTreeMap<NodeIndex, BTreeSet<NodeIndex>>,
    /// Who was told where whom is, or found out.
    told: BTreeSet<(NodeIndex, NodeIndex)>,
}

/// What a node did to reach another.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    first_dial: Option<Instant>,
    last_dial: Option<Instant>,
    last_lookup: Option<Instant>,
    /// When the node last crashed that had dialled the other in that life.
    crashed: Option<Instant>,
    /// When it was given up last.
    given_up: Option<Instant>,
    /// The instant of what is counted here.
    now: Instant,
    lookups: u32,
    /// What may lead to one more lookup: what was asked, and dials.
    reasons: u32,
}

impl Attempts {
    fn at(&mut self, at: Instant) -> &mut Self {
        if self.now != at {
            (self.now, self.lookups, self.reasons) = (at, 0, 0);
        }
        self
    }
}

impl Reach {
    pub(super) fn asked(&mut self, at: Instant, from: NodeIndex, to: NodeIndex) {
        self.attempt(from, to).at(at).reasons += 1;
        if from != to {
            self.met.entry(from).or_default().insert(to);
            self.met.entry(to).or_default().insert(from);
        }
    }

    /// The Lookup Service is asked at most once in an attempt to reach a peer. Each attempt that fails ends a query that waits, or is
    /// followed by a rest.
    pub(super) fn looks_up(
        &mut self,
        at: Instant,
        node: NodeIndex,
        peer: NodeIndex,
        waiting: usize,
    ) -> Option<Violation> {
        let attempts = self.attempt(node, peer).at(at);
        attempts.last_lookup = Some(at);
        attempts.lookups += 1;
        let others = u32::try_from(waiting).unwrap_or(u32::MAX).saturating_sub(1);
        let wrong = attempts.lookups > 1 + attempts.reasons.saturating_add(others);
        let what = || format!("node {} looks up node {} once more, for no reason", node.number(), peer.number());
        wrong.then(|| Violation { at, what: what() })
    }

    /// Nobody is dialled who was never looked up: only the Lookup Service says where peers are.
    pub(super) fn dials(&mut self, at: Instant, node: NodeIndex, peer: NodeIndex) -> Option<Violation> {
        self.told.insert((node, peer));
        let attempts = self.attempt(node, peer).at(at);
        attempts.first_dial.get_or_insert(at);
        attempts.last_dial = Some(at);
        attempts.reasons += 1;
        let wrong = attempts.last_lookup.is_none();
        let what = || format!("node {} dials node {}, which it never looked up", node.number(), peer.number());
        wrong.then(|| Violation { at, what: what() })
    }

    /// A node was told where a peer is, or was. It may dial that, and then look the peer up.
    pub(super) fn was_told(&mut self, at: Instant, node: NodeIndex, peer: NodeIndex) {
        self.told.insert((node, peer));
        self.attempt(node, peer).at(at).reasons += 1;
    }

    /// A peer is given up only after the Lookup Service was asked, in every attempt.
    pub(super) fn ended(&mut self, at: Instant, from: NodeIndex, to: NodeIndex, ending: &Ending) -> Option<Violation> {
        let Ending::Failed(Failure { reason: Reason::Unreachable, .. }) = ending else { return None };
        let attempts = self.attempt(from, to);
        let since = attempts.given_up.filter(|&before| before != at).unwrap_or(Instant::ZERO);
        let wrong = attempts.last_lookup.is_none_or(|lookup| lookup < since);
        attempts.given_up = Some(at);
        let what = || format!("node {} gives node {} up without a lookup since {since}", from.number(), to.number());
        wrong.then(|| Violation { at, what: what() })
    }

    /// A node's process is gone. It had stored where its peers are.
    pub(super) fn crashed(&mut self, at: Instant, node: NodeIndex) {
        for (_, attempts) in self.attempts.iter_mut().filter(|((from, _), _)| *from == node) {
            if attempts.last_dial.is_some() {
                attempts.crashed = Some(at);
            }
            (attempts.given_up, attempts.first_dial, attempts.last_dial) = (None, None, None);
        }
    }

    /// When one node dialled another for the first time in its present life.
    pub(super) fn first_dial(&self, from: NodeIndex, to: NodeIndex) -> Option<Instant> {
        self.attempts.get(&(from, to))?.first_dial
    }

    /// Whether a node may have had a connection since then that it had dialled to another.
    pub(super) fn may_have_met(&self, from: NodeIndex, to: NodeIndex, since: Instant) -> bool {
        let attempts = self.attempts.get(&(from, to));
        attempts.is_some_and(|Attempts { last_dial, crashed, .. }| {
            last_dial.is_some() || crashed.is_some_and(|crashed| crashed >= since)
        })
    }

    /// Whether a node has never dialled another, in whatever life, nor was told where it is.
    pub(super) fn is_unheard_of(&self, from: NodeIndex, to: NodeIndex) -> bool {
        !self.told.contains(&(from, to))
    }

    /// How many others a node may know anything of, besides one.
    pub(super) fn others_met(&self, node: NodeIndex, besides: NodeIndex) -> usize {
        self.met.get(&node).into_iter().flatten().filter(|&&met| met != besides).count()
    }

    fn attempt(&mut self, from: NodeIndex, to: NodeIndex) -> &mut Attempts {
        self.attempts.entry((from, to)).or_default()
    }
}
