//! What nodes may hold: their records' numbers, their timers, and what may be left over once nothing happens any more.

use std::collections::BTreeMap;

use egtp::{Cause, SignedRecord, Usage};

use super::Oracle;
use super::life::Life;
use crate::transcript::Ending;
use crate::usage::is_under_way;
use crate::{NodeIndex, World};

/// A node holds so many sessions with one peer at most, besides those on offer.
const SESSIONS_PER_PEER: usize = 64;

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
        let explained = timers_at_most(&usage);
        self.demand(world, usage.timers <= explained, || {
            format!("unexplained timers at node {}, of which {explained} can be explained: {usage:?}", node.number())
        });
    }

    /// After the storm, no table holds anything, and every timer is explained.
    pub(in crate::storm) fn nothing_leaks(&mut self, world: &mut World, node: NodeIndex) {
        let usage = self.unexcused(world, node);
        let at = node.number();
        self.demand(world, !is_under_way(&usage), || format!("something is left at node {at}: {usage:?}"));
        let maintained = self.model.nodes[&node].limits.maintained_connections;
        let surplus = usage.connections > maintained;
        self.demand(world, !surplus, || format!("node {at} keeps more than {maintained}: {usage:?}"));
    }

    /// Long after the storm, there are no connections, and sessions are all that a peer's timer is set for: to be replaced, or to end.
    pub(in crate::storm) fn is_at_rest(&mut self, world: &mut World, node: NodeIndex) {
        let usage = self.unexcused(world, node);
        let at = node.number();
        let idle = usage.peers.min(usage.sessions);
        self.demand(world, usage.connections == 0, || format!("node {at} keeps idle connections: {usage:?}"));
        self.demand(world, usage.timers <= idle, || format!("unexplained timers at node {at}: {usage:?}"));
        let most = SESSIONS_PER_PEER * usage.peers + usage.tentative_sessions;
        self.demand(world, usage.sessions <= most, || format!("too many sessions at node {at}: {usage:?}"));
    }

    /// In a world that has healed, whoever asks has a reply, unless there is no place for one of the two at the other, or for the reply
    /// beside those that it gives at the same time.
    pub(in crate::storm) fn all_were_answered(&mut self, world: &World, asked: &[usize]) {
        for &query in asked {
            let life @ Life { question, ending, answer, .. } = &self.model.lives[query];
            let shut_out = self.model.may_shut_out(question.from, question.to);
            let crowded = answer.is_some_and(|(said, _)| self.model.may_lack_memory_for_reply(life, said));
            if !shut_out && !crowded && !matches!(ending, Some((_, Ending::Reply { .. }))) {
                let what = format!("query {query} was asked in a world that has healed, in vain: {ending:?}");
                self.violate(world, what);
            }
        }
    }

    /// No node of this implementation sends what another one cannot understand.
    pub(in crate::storm) fn nobody_misbehaved(&mut self, world: &mut World, node: NodeIndex) {
        let never = [
            Cause::ProtocolViolation,
            Cause::UnknownVersion,
            Cause::RecordNotOpened,
            Cause::RecordReplayed,
            Cause::HandshakeNotForMe,
            Cause::ConnectedToMyself,
            Cause::ConnectedToAnother,
            Cause::ReplyMismatched,
        ];
        for cause in never {
            let count = world.node(node).count(cause);
            self.demand(world, count == 0, || format!("{} at node {}", cause.text(), node.number()));
        }
        let cause = Cause::PacketTooLong;
        let expected = !self.model.unexpected_long_packets.contains(&node);
        self.demand(world, expected, || format!("{} at node {}", cause.text(), node.number()));
    }

    /// What a node holds, without what it cannot know that its time is over.
    fn unexcused(&self, world: &mut World, node: NodeIndex) -> Usage {
        let mut usage = world.node(node).usage();
        let kept = self.model.kept_too_long(node).min(usage.incoming);
        usage.incoming -= kept;
        if self.model.was_tricked(node) {
            // Whoever played the trick is gone, and its session has nothing to make room for: its handlers wait for their deadlines.
            usage.incoming = 0;
            usage.reply_bytes = 0;
        }
        if self.model.remembers_too_long(node) {
            usage.reply_bytes = 0;
        }
        usage
    }

    fn demand(&mut self, world: &World, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violate(world, otherwise());
        }
    }
}

/// Each timer belongs to something: a query, a connection, a peer and a question to the directory have one each; both directions of the
/// throttle, surplus connections and the end have one.
fn timers_at_most(usage: &Usage) -> usize {
    usage.queries + usage.connections + usage.peers + usage.lookups + 4
}
