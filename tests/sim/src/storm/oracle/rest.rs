//! What nodes may hold: their records' numbers, their timers, and what may be left over once nothing happens any more.

use std::collections::BTreeMap;

use egtp::{Cause, SignedRecord, Usage};

use super::Oracle;
use crate::transcript::Ending;
use crate::usage::is_under_way;
use crate::{NodeIndex, World};

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
    pub(in crate::storm) fn is_in_order(&mut self, world: &mut World, node: NodeIndex) {
        let number = world.node(node).record().map(SignedRecord::sequence);
        if number.is_some_and(|number| self.records.repeats(node, number)) {
            self.violate(world, format!("node {} uses the number of its record again", node.number()));
        }
        let usage = world.node(node).usage();
        let peers = self.ids.len();
        let explained = timers_at_most(&usage, peers);
        self.demand(world, usage.timers <= explained, || {
            format!("unexplained timers at node {}, of which {explained} can be explained: {usage:?}", node.number())
        });
    }

    /// After the storm, no table holds anything, and every timer is explained.
    pub(in crate::storm) fn nothing_leaks(&mut self, world: &mut World, node: NodeIndex) {
        let usage = world.node(node).usage();
        self.demand(world, !is_under_way(&usage), || format!("something is left at node {}: {usage:?}", node.number()));
        let maintained = self.model.nodes[&node].limits.maintained_connections;
        let surplus = usage.connections > maintained;
        self.demand(world, !surplus, || format!("node {} keeps more than {maintained}: {usage:?}", node.number()));
    }

    /// Long after the storm, there are no connections, and one session with each peer at most. There may be two if connections are so
    /// few, or so few are maintained, or sessions are replaced so often or are so few, that a connection may have been closed before a
    /// session that had been replaced was; or if so little may be asked, or so few peers be known, that nobody has found out. Strangers may have
    /// left so many sessions.
    pub(in crate::storm) fn is_at_rest(&mut self, world: &mut World, node: NodeIndex) {
        let usage = world.node(node).usage();
        let at = node.number();
        self.demand(world, usage.connections == 0, || format!("node {at} keeps idle connections: {usage:?}"));
        self.demand(world, usage.timers == usage.sessions, || format!("unexplained timers at node {at}: {usage:?}"));
    }

    /// In a world that has healed, whoever asks has a reply, unless there is no place for one of the two at the other.
    pub(in crate::storm) fn all_were_answered(&mut self, world: &World, asked: &[usize]) {
        for &query in asked {
            let ending = &self.model.lives[query].ending;
            if !matches!(ending, Some((_, Ending::Reply { .. }))) {
                let what = format!("query {query} was asked in a world that has healed, in vain: {ending:?}");
                self.violate(world, what);
            }
        }
    }

    /// No node of this implementation sends what another one cannot understand.
    pub(in crate::storm) fn nobody_misbehaved(&mut self, world: &mut World, node: NodeIndex) {
        for cause in [Cause::ProtocolViolation, Cause::UnknownVersion, Cause::RecordNotOpened] {
            let count = world.node(node).count(cause);
            self.demand(world, count == 0, || format!("{} at node {}", cause.text(), node.number()));
        }
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
