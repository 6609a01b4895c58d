//! What was promised, and whether it was kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use egtp::{
    Cause, Delivery, Executed, Failure, IncomingId, Instant, NodeId, QueryId, Reason, ReplyToken, TypeName, Verdict,
};

use super::Violation;
use crate::scene::{ECHO, EMPTY, KEEP, NO, long_body};
use crate::transcript::{Ending, Entry, What};
use crate::{NodeIndex, World};

/// Remembers what was asked, plays the handlers, and holds every delivery against what was promised.
pub(super) struct Oracle {
    ids: BTreeMap<NodeId, NodeIndex>,
    addresses: BTreeMap<SocketAddr, NodeIndex>,
    /// How many of the world's lookups, dials and notes are in the transcript.
    watched: [usize; 3],
    /// Every query, by the number in its body.
    pub(super) asked: Vec<Asked>,
    /// Queries without a verdict, by who asked: the number in the body.
    waiting: BTreeMap<(NodeIndex, QueryId), usize>,
    incoming: BTreeMap<(NodeIndex, IncomingId), usize>,
    pub(super) kept: Vec<Kept>,
    pub(super) verdicts: u64,
    pub(super) transcript: Vec<Entry>,
    pub(super) violations: Vec<Violation>,
}

pub(super) struct Asked {
    from: NodeIndex,
    to: NodeIndex,
    type_name: &'static str,
    length: usize,
    deadline: Instant,
    /// How often a handler was given it.
    runs: usize,
    ending: Option<Ending>,
}

/// A query that is answered later.
pub(super) struct Kept {
    pub(super) node: NodeIndex,
    pub(super) query: usize,
    pub(super) token: ReplyToken,
    pub(super) body: Vec<u8>,
}

impl Oracle {
    pub(super) fn new(world: &World, nodes: &[NodeIndex]) -> Self {
        Self {
            ids: nodes.iter().map(|&node| (world.id(node), node)).collect(),
            addresses: nodes.iter().map(|&node| (world.address(node), node)).collect(),
            watched: [0; 3],
            asked: Vec::new(),
            waiting: BTreeMap::new(),
            incoming: BTreeMap::new(),
            kept: Vec::new(),
            verdicts: 0,
            transcript: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn was_asked(
        &mut self,
        id: QueryId,
        from: NodeIndex,
        to: NodeIndex,
        type_name: &'static str,
        length: usize,
        deadline: Instant,
    ) {
        self.waiting.insert((from, id), self.asked.len());
        self.asked.push(Asked { from, to, type_name, length, deadline, runs: 0, ending: None });
    }

    /// Some query of this node's that has no verdict, and its number.
    pub(super) fn waiting_at(&self, node: NodeIndex) -> Option<(QueryId, usize)> {
        self.waiting.iter().find(|&(&(asker, _), _)| asker == node).map(|(&(_, id), &query)| (id, query))
    }

    /// Whoever crashes is owed nothing.
    pub(super) fn forget(&mut self, node: NodeIndex) {
        self.waiting.retain(|&(asker, _), _| asker != node);
        self.incoming.retain(|&(at, _), _| at != node);
        self.kept.retain(|kept| kept.node != node);
    }

    /// Writes down what nodes did of themselves since the last call.
    pub(super) fn watch(&mut self, world: &World) {
        let [lookups, dials, notes] = self.watched;
        let mut seen = Vec::new();
        for &(at, node, peer) in &world.lookups()[lookups..] {
            seen.extend(self.ids.get(&peer).map(|&peer| (at, node, What::LooksUp { peer })));
        }
        for &(at, node, address) in &world.connects()[dials..] {
            seen.extend(self.addresses.get(&address).map(|&peer| (at, node, What::Dials { peer })));
        }
        for &(at, node, note) in &world.notes()[notes..] {
            let peer = note.peer.and_then(|peer| self.ids.get(&peer).copied());
            seen.push((at, node, What::Noted { cause: note.cause, peer }));
        }
        self.watched = [world.lookups().len(), world.connects().len(), world.notes().len()];
        seen.sort_by_key(|&(at, _, _)| at);
        for (at, node, what) in seen {
            self.write(at, node, what);
        }
    }

    /// What the handler says to a query at once: a body, or no.
    pub(super) fn take(
        &mut self,
        world: &World,
        thawed: Instant,
        node: NodeIndex,
        delivery: Delivery,
    ) -> Option<(ReplyToken, Option<Vec<u8>>)> {
        self.watch(world);
        let at = world.now();
        match delivery {
            Delivery::Query { from, type_name, body, token, .. } => {
                return self.handle(at, node, from, &type_name, body, token);
            }
            Delivery::Notice { from, .. } => match self.ids.get(&from) {
                Some(&from) => self.write(at, node, What::Noticed { from }),
                None => self.violate(at, format!("node {} has a notice from nobody", node.number())),
            },
            Delivery::Withdrawn(incoming) => match self.incoming.remove(&(node, incoming)) {
                Some(query) => self.write(at, node, What::Withdrawn { query }),
                None => self.violate(at, format!("{incoming:?} of node {} never came", node.number())),
            },
            Delivery::SoftTimeout(id) => match self.waiting.get(&(node, id)) {
                Some(&query) => self.write(at, node, What::SoftTimeout { query }),
                None => self.violate(at, format!("{id:?} of node {} has ended and times out softly", node.number())),
            },
            Delivery::Verdict(id, verdict) => self.judge(at, thawed, node, id, &verdict),
            Delivery::Discovered(..) => {}
            other => self.violate(at, format!("node {} is told {other:?}", node.number())),
        }
        None
    }

    /// Nobody waits past a deadline, unless its process stands still.
    pub(super) fn nobody_waits_too_long(&mut self, now: Instant, is_frozen: impl Fn(NodeIndex) -> bool) {
        let late =
            self.waiting.iter().filter(|&(&(node, _), &query)| self.asked[query].deadline <= now && !is_frozen(node));
        let late = late.map(|(_, &query)| Violation {
            at: now,
            what: format!("query {query} has no verdict; it was due at {}", self.asked[query].deadline),
        });
        self.violations.extend(late.collect::<Vec<_>>());
    }

    /// After the storm, no table holds anything, and every timer is explained.
    pub(super) fn nothing_leaks(&mut self, world: &mut World, node: NodeIndex) {
        let usage = world.node(node).usage();
        let rests = [
            usage.queries,
            usage.query_bytes,
            usage.incoming,
            usage.assembly_bytes,
            usage.reply_bytes,
            usage.undelivered_bytes,
            usage.lookups,
            usage.tentative_sessions,
            usage.unauthenticated_connections,
        ];
        self.demand(world, rests == [0; 9], || format!("something is left at node {}: {usage:?}", node.number()));
        // A connection is watched for silence and for idleness and may be leaving; a session is renewed; surplus is tidied.
        let explained = usage.timers <= 3 * usage.connections + usage.sessions + 1;
        self.demand(world, explained, || format!("unexplained timers at node {}: {usage:?}", node.number()));
    }

    /// Long after the storm, there are no connections, and sessions with peers at most.
    pub(super) fn is_at_rest(&mut self, world: &mut World, node: NodeIndex, nodes: usize) {
        let usage = world.node(node).usage();
        let at = node.number();
        self.demand(world, usage.connections == 0, || format!("node {at} keeps idle connections: {usage:?}"));
        self.demand(world, usage.sessions < nodes, || format!("more sessions than peers at node {at}: {usage:?}"));
        self.demand(world, usage.timers == usage.sessions, || format!("unexplained timers at node {at}: {usage:?}"));
    }

    pub(super) fn all_were_answered(&mut self, now: Instant, asked: &[usize]) {
        for &query in asked {
            let ending = self.asked[query].ending;
            if !matches!(ending, Some(Ending::Reply { .. })) {
                self.violate(now, format!("query {query} was asked in a world that has healed, in vain: {ending:?}"));
            }
        }
    }

    /// No query ran twice, and none ran of which somebody was told that it did not.
    pub(super) fn verdicts_told_the_truth(&mut self, now: Instant) {
        let lies = self.asked.iter().enumerate().filter_map(|(query, Asked { runs, ending, .. })| {
            let possible = match ending {
                Some(Ending::Reply { .. }) => *runs == 1,
                Some(Ending::Failed(Failure { executed: Executed::No, .. })) => *runs == 0,
                Some(Ending::Failed(Failure { executed: Executed::Maybe, .. })) | None => *runs <= 1,
            };
            let what = format!("query {query} ran {runs} times and ended as {ending:?}");
            (!possible).then_some(Violation { at: now, what })
        });
        self.violations.extend(lies.collect::<Vec<_>>());
    }

    /// No node of this implementation sends what another one cannot understand.
    pub(super) fn nobody_misbehaved(&mut self, world: &mut World, node: NodeIndex) {
        for cause in [Cause::ProtocolViolation, Cause::UnknownVersion, Cause::PacketTooLong, Cause::RecordNotOpened] {
            let count = world.node(node).count(cause);
            self.demand(world, count == 0, || format!("{} at node {}", cause.text(), node.number()));
        }
    }

    fn handle(
        &mut self,
        at: Instant,
        node: NodeIndex,
        from: NodeId,
        type_name: &TypeName,
        body: Vec<u8>,
        token: ReplyToken,
    ) -> Option<(ReplyToken, Option<Vec<u8>>)> {
        let query = number_in(&body);
        let from = self.ids.get(&from).copied();
        let Some(asked) = self.asked.get_mut(query) else {
            self.violate(at, format!("node {} is asked what nobody asked", node.number()));
            return None;
        };
        asked.runs += 1;
        let genuine = (from, node) == (Some(asked.from), asked.to)
            && type_name.as_str() == asked.type_name
            && body == body_of(query, asked.length);
        let asker = asked.from;
        if !genuine {
            self.violate(at, format!("query {query} arrives at node {} as another, from {from:?}", node.number()));
        }
        self.incoming.insert((node, token.incoming()), query);
        self.write(at, node, What::Arrives { query, from: asker });
        let answer = match type_name.as_str() {
            ECHO => Some(body),
            EMPTY => Some(Vec::new()),
            NO => None,
            KEEP => {
                self.kept.push(Kept { node, query, token, body });
                return None;
            }
            _ => return None,
        };
        let what = match &answer {
            Some(body) => What::Answers { query, bytes: body.len() },
            None => What::Declines { query },
        };
        self.write(at, node, what);
        Some((token, answer))
    }

    fn judge(&mut self, at: Instant, thawed: Instant, node: NodeIndex, id: QueryId, verdict: &Verdict) {
        self.verdicts += 1;
        let Some(query) = self.waiting.remove(&(node, id)) else {
            let what =
                format!("{id:?} of node {} has a second verdict, or was never asked: {verdict:?}", node.number());
            return self.violate(at, what);
        };
        let asked = &mut self.asked[query];
        let ending = match verdict {
            Verdict::Reply(reply) => Ending::Reply { bytes: reply.body.len() },
            Verdict::Failed(failure) => Ending::Failed(*failure),
        };
        asked.ending = Some(ending);
        let deadline = asked.deadline;
        let belongs = match verdict {
            Verdict::Reply(reply) => match asked.type_name {
                ECHO | KEEP => reply.body == body_of(query, asked.length),
                EMPTY => reply.body.is_empty(),
                _ => false,
            },
            Verdict::Failed(_) => true,
        };
        self.write(at, node, What::Ends { query, ending });
        if !belongs {
            self.violate(at, format!("query {query} has a reply that is not its own"));
        }
        if at > deadline.max(thawed) {
            self.violate(at, format!("query {query} was due at {deadline} and ended at {at}"));
        }
        if matches!(ending, Ending::Failed(Failure { reason: Reason::HardTimeout, .. })) && at < deadline {
            self.violate(at, format!("query {query} was due at {deadline} and timed out at {at}"));
        }
    }

    fn write(&mut self, at: Instant, node: NodeIndex, what: What) {
        self.transcript.push(Entry { at, node: Some(node), what });
    }

    fn demand(&mut self, world: &World, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violate(world.now(), otherwise());
        }
    }

    fn violate(&mut self, at: Instant, what: String) {
        self.violations.push(Violation { at, what });
    }
}

fn body_of(query: usize, length: usize) -> Vec<u8> {
    [&(query as u64).to_be_bytes()[..], &long_body(length)].concat()
}

fn number_in(body: &[u8]) -> usize {
    body.first_chunk().map_or(usize::MAX, |bytes| usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(usize::MAX))
}
