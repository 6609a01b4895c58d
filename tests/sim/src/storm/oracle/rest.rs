//! What nodes may hold: their records' numbers, their timers, and what may be left over once nothing happens any more.

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{Cause, SignedRecord, Usage};

use super::Oracle;
use super::life::Life;
use super::model::Setting;
use crate::transcript::Ending;
use crate::usage::is_under_way;
use crate::{NodeIndex, World};

/// So long a node may read nothing from a peer, because replies wait for that one, before it reads on; and one second more.
const PATIENCE: Duration = Duration::from_secs(5);

/// The sequence numbers of the records that nodes have published.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The highest one, and how often the node had been started when it was seen.
    highest: BTreeMap<NodeIndex, (u64, u32)>,
    starts: BTreeMap<NodeIndex, u32>,
}

impl Records {
    /// The node has started.
    pub(super) fn started(&mut self, node: NodeIndex) {
        *self.starts.entry(node).or_default() += 1;
    }

    /// The node has lost what it stored: all it has left is a wall clock of whole seconds.
    pub(super) fn lost(&mut self, node: NodeIndex) {
        self.highest.remove(&node);
    }

    /// The node's own record has this number. Says whether that was used before it was started.
    fn repeats(&mut self, node: NodeIndex, number: u64) -> bool {
        let start = self.starts.get(&node).copied().unwrap_or_default();
        let before = self.highest.insert(node, (number, start));
        before.is_some_and(|(highest, seen_in)| seen_in != start && number <= highest)
    }
}

impl Oracle {
    /// What every running node must be able to say of itself at any time.
    pub(in crate::storm) fn is_in_order(&mut self, world: &World, node: NodeIndex) {
        let Some(running) = world.running(node) else { return };
        let number = running.record().map(SignedRecord::sequence);
        if number.is_some_and(|number| self.records.repeats(node, number)) {
            self.violate(world, format!("node {} uses the number of its record again", node.number()));
        }
        let usage = running.usage();
        let peers = self.model.around(node);
        let explained = timers_at_most(&usage, peers);
        self.demand(world, usage.timers <= explained, || {
            format!("unexplained timers at node {}, of which {explained} can be explained: {usage:?}", node.number())
        });
    }

    /// Two nodes read from each other, or at least one of the two does, as long as there is something to read. Only if there may be no
    /// room for another reply, they wait until a connection is found dead.
    pub(in crate::storm) fn is_moving(&mut self, world: &World, one: NodeIndex, other: NodeIndex) {
        let Some(since) = world.stand_still_since(one, other) else { return };
        let stands = world.now().saturating_since(since);
        let is_full = |&node: &NodeIndex| {
            let kept = world.running(node).map_or(0, |running| running.usage().reply_bytes);
            kept > self.model.nodes[&node].limits.reply_bytes_per_peer / 4 * 3
        };
        let dead = if [one, other].iter().any(is_full) { self.model.settles(one, other) } else { Duration::ZERO };
        let excused = stands <= PATIENCE + dead || !self.model.is_well_and_free(one, other, since);
        self.demand(world, excused, || {
            format!(
                "node {} and node {} have read nothing from each other for {stands:?}",
                one.number(),
                other.number()
            )
        });
    }

    /// After the storm, no table holds anything, and every timer is explained.
    pub(in crate::storm) fn nothing_leaks(&mut self, world: &mut World, node: NodeIndex) {
        let usage = self.unexcused(world, node);
        self.demand(world, !is_under_way(&usage), || format!("something is left at node {}: {usage:?}", node.number()));
        // A connection is watched for silence and for idleness and may be leaving; a session is renewed; surplus is tidied. What has
        // just been said of that may have begun a round of each throttle, and of a connection's own.
        let throttles = if self.model.pace.is_free(node) { 0 } else { 2 + usage.connections };
        let explained = usage.timers <= 3 * usage.connections + usage.sessions + 1 + throttles;
        self.demand(world, explained, || format!("unexplained timers at node {}: {usage:?}", node.number()));
        let maintained = self.model.nodes[&node].limits.maintained_connections;
        let surplus = usage.connections > maintained;
        self.demand(world, !surplus, || format!("node {} keeps more than {maintained}: {usage:?}", node.number()));
    }

    /// Long after the storm, there are no connections, and one session with each peer at most. There may be two if connections are so
    /// few, or so few are maintained, or sessions are replaced so often or are so few, that a connection may have been closed before a
    /// session that had been replaced was; or if so little may be asked, or so few peers be known, that nobody has found out. Strangers may have
    /// left so many sessions.
    pub(in crate::storm) fn is_at_rest(&mut self, world: &mut World, node: NodeIndex, cramped: bool, strangers: usize) {
        let met: Vec<NodeIndex> = self.model.reach.met(node).collect();
        let peers = met.len();
        let few = |&node: &NodeIndex| {
            let Setting { limits, .. } = &self.model.nodes[&node];
            let peers = self.model.reach.met(node).count();
            limits.maintained_connections.min(limits.queries).min(limits.peers) < peers
        };
        let around = met.iter().chain([&node]);
        let may_be_left = cramped || self.model.loses_sessions_around(node) || around.into_iter().any(few);
        // Whoever keeps a query keeps the session in which it came.
        let kept = self.model.kept_too_long(node);
        let most = strangers + kept + if may_be_left { 2 * peers } else { peers };
        let usage = self.unexcused(world, node);
        let at = node.number();
        self.demand(world, usage.connections == 0, || format!("node {at} keeps idle connections: {usage:?}"));
        self.demand(world, usage.sessions <= most, || format!("more sessions than peers at node {at}: {usage:?}"));
        self.demand(world, usage.timers == usage.sessions, || format!("unexplained timers at node {at}: {usage:?}"));
    }

    /// In a world that has healed, whoever asks has a reply, unless there is no place for one of the two at the other, which so many
    /// others dial at the same time.
    pub(in crate::storm) fn all_were_answered(&mut self, world: &World, asked: &[usize], at_once: usize) {
        for &query in asked {
            let Life { question, ending, .. } = &self.model.lives[query];
            let shut_out = self.model.may_shut_out(question.from, question.to, at_once);
            if !shut_out && !matches!(ending, Some((_, Ending::Reply { .. }))) {
                let what = format!("query {query} was asked in a world that has healed, in vain: {ending:?}");
                self.violate(world, what);
            }
        }
    }

    /// No node of this implementation sends what another one cannot understand.
    pub(in crate::storm) fn nobody_misbehaved(&mut self, world: &mut World, node: NodeIndex) {
        if self.model.has_heard_replays(node) {
            return;
        }
        for cause in [Cause::ProtocolViolation, Cause::UnknownVersion, Cause::RecordNotOpened] {
            let count = world.node(node).count(cause);
            self.demand(world, count == 0, || format!("{} at node {}", cause.text(), node.number()));
        }
        let cause = Cause::PacketTooLong;
        let expected = !self.model.unexpected_long_packets.contains(&node);
        self.demand(world, expected, || format!("{} at node {}", cause.text(), node.number()));
    }

    /// What a node holds, without the queries of which it cannot know that their time is over, and the sessions on offer to somebody who
    /// has no place for them and asks again and again, or who just then replaces one.
    fn unexcused(&self, world: &mut World, node: NodeIndex) -> Usage {
        let mut usage = world.node(node).usage();
        if self.model.loses_sessions_around(node) {
            usage.tentative_sessions = 0;
        }
        let kept = self.model.kept_too_long(node).min(usage.incoming);
        usage.incoming -= kept;
        usage.timers = usage.timers.saturating_sub(kept);
        usage
    }

    fn demand(&mut self, world: &World, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violate(world, otherwise());
        }
    }
}

/// Each timer belongs to something: a query has two, one to be answered has one; a connection is watched for silence, for
/// idleness, for its throttle and for its end; a session acknowledges, gives pieces up, is renewed or forgotten; a peer is asked to
/// prove a session and to shake hands again; and four are the node's own.
fn timers_at_most(usage: &Usage, peers: usize) -> usize {
    2 * usage.queries + usage.incoming + 5 * usage.connections + 4 * usage.sessions + usage.lookups + 2 * peers + 4
}
