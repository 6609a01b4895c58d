//! How nodes come to reach each other, as far as it shows: whom they look up, whom they dial, when all their connections ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{Failure, Instant, Reason};

use crate::NodeIndex;
use crate::storm::Violation;
use crate::transcript::Ending;

type Pair = (NodeIndex, NodeIndex);

#[derive(Debug, Default)]
pub(super) struct Reach {
    /// From one node to another.
    attempts: BTreeMap<Pair, Attempts>,
    /// Whom a node may know anything of: whoever it was to reach, or was to reach it.
    met: BTreeMap<NodeIndex, BTreeSet<NodeIndex>>,
    /// When all connections between two nodes had ended, the smaller one first.
    parted: BTreeMap<Pair, Instant>,
    /// Since when the next connection is to break.
    breaks: Option<Instant>,
}

/// What a node did to reach another.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    first_dial: Option<Instant>,
    last_dial: Option<Instant>,
    last_lookup: Option<Instant>,
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
    }

    /// The Lookup Service is asked at most once in an attempt to reach a peer. Each attempt that fails ends a query that waits.
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
        self.attempt(node, peer).at(at).reasons += 1;
    }

    /// A peer is given up only after the Lookup Service was asked, in every attempt.
    pub(super) fn ended(&mut self, at: Instant, from: NodeIndex, to: NodeIndex, ending: Ending) -> Option<Violation> {
        let Ending::Failed(Failure { reason: Reason::Unreachable, .. }) = ending else { return None };
        let attempts = self.attempt(from, to);
        let since = attempts.given_up.filter(|&before| before != at).unwrap_or(Instant::ZERO);
        let wrong = attempts.last_lookup.is_none_or(|lookup| lookup < since);
        attempts.given_up = Some(at);
        let what = || format!("node {} gives node {} up without a lookup since {since}", from.number(), to.number());
        wrong.then(|| Violation { at, what: what() })
    }

    /// Every connection of a node has ended, or every one with this other node.
    pub(super) fn parted(&mut self, at: Instant, node: NodeIndex, other: Option<NodeIndex>) {
        if let Some(other) = other {
            self.parted.insert(sorted(node, other), at);
            return;
        }
        for other in self.met(node).chain([node]).collect::<Vec<_>>() {
            self.parted.insert(sorted(node, other), at);
            if let Some(attempts) = self.attempts.get_mut(&(node, other)) {
                attempts.given_up = None;
            }
        }
    }

    /// Since when two nodes have had no connection, unless by a dial of the first one. A dial takes up to `dial` to be decided.
    pub(super) fn apart_since(&self, from: NodeIndex, to: NodeIndex, dial: Duration) -> Option<Instant> {
        let parted = self.parted.get(&sorted(from, to)).copied();
        match self.last_dial(to, from) {
            None => Some(parted.unwrap_or(Instant::ZERO)),
            Some(back) => parted.filter(|&parted| back + dial < parted),
        }
    }

    /// When one node dialled another for the first time.
    pub(super) fn first_dial(&self, from: NodeIndex, to: NodeIndex) -> Option<Instant> {
        self.attempts.get(&(from, to))?.first_dial
    }

    /// When it did for the last time.
    pub(super) fn last_dial(&self, from: NodeIndex, to: NodeIndex) -> Option<Instant> {
        self.attempts.get(&(from, to))?.last_dial
    }

    /// Whom a node may know anything of.
    pub(super) fn met(&self, node: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.met.get(&node).into_iter().flatten().copied()
    }

    /// Whether neither has ever been in touch with the other.
    pub(super) fn are_strangers(&self, one: NodeIndex, other: NodeIndex) -> bool {
        self.last_dial(one, other).is_none() && self.last_dial(other, one).is_none()
    }

    /// Some connection will break that is decided from now on: gives back between whom it may be already on its way.
    pub(super) fn a_connection_will_break(&mut self, at: Instant, dial: Duration) -> Vec<Pair> {
        self.breaks.get_or_insert(at);
        let near = |&(_, attempts): &(&Pair, &Attempts)| attempts.last_dial.is_some_and(|last| last + dial >= at);
        self.attempts.iter().filter(near).map(|(&pair, _)| pair).collect()
    }

    /// Whether a connection that is dialled now may be the one that breaks.
    pub(super) fn a_break_is_due(&self) -> bool {
        self.breaks.is_some()
    }

    pub(super) fn no_connection_breaks(&mut self) {
        self.breaks = None;
    }

    fn attempt(&mut self, from: NodeIndex, to: NodeIndex) -> &mut Attempts {
        if from != to {
            self.met.entry(from).or_default().insert(to);
            self.met.entry(to).or_default().insert(from);
        }
        self.attempts.entry((from, to)).or_default()
    }
}

fn sorted(one: NodeIndex, other: NodeIndex) -> Pair {
    (one.min(other), one.max(other))
}
