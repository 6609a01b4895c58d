//! What was promised, and whether it was kept.
//!
//! The oracle hears every fact in its order: what was asked and answered, what went wrong, what nodes were told. From that alone a
//! reference model, much simpler than the core, says which verdicts a query may end in, why, and by when at the latest:
//!
//! - [`clock`]: a node's own clock, by which its deadlines go;
//! - [`faults`]: what went wrong, where, from when to when;
//! - [`pace`]: how long things take, at least and at most;
//! - [`reach`]: whom nodes look up and dial;
//! - [`recovery`]: how long what went wrong is felt after it is over;
//! - [`life`]: one query;
//! - [`limits`]: what was refused or lost because a limit was reached;
//! - [`model`]: takes the facts;
//! - [`promises`]: what is sure to happen in time;
//! - [`verdicts`]: what may happen at all;
//! - [`notices`]: messages that nobody answers;
//! - [`rest`]: limits, and what may be left over.

mod clock;
mod faults;
mod life;
mod limits;
mod model;
mod notices;
mod pace;
mod promises;
mod reach;
mod recovery;
mod rest;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use egtp::{Cause, Config, Delivery, IncomingId, Instant, NodeId, QueryId, Refusal, ReplyToken, TypeName, Verdict};

use self::life::Life;
use self::model::Model;
use self::rest::Records;
use super::Violation;
use crate::scene::{ECHO, EMPTY, KEEP, NO, long_body};
use crate::transcript::{Ending, Entry, What};
use crate::{Directory, Network, NodeIndex, World};

pub(super) use self::life::Question;

/// Remembers what was asked, plays the handlers, and holds every delivery against what was promised.
pub(super) struct Oracle {
    ids: BTreeMap<NodeId, NodeIndex>,
    addresses: BTreeMap<SocketAddr, NodeIndex>,
    /// How many of the world's lookups, dials, notes and broken connections are in the transcript.
    watched: [u64; 4],
    model: Model,
    records: Records,
    /// Queries without a verdict, by who asked: the number in the body.
    waiting: BTreeMap<(NodeIndex, QueryId), usize>,
    incoming: BTreeMap<(NodeIndex, IncomingId), usize>,
    kept: Vec<Kept>,
    directory: Directory,
    verdicts: u64,
    /// What has happened and has not been taken.
    transcript: Vec<Entry>,
}

/// A query that is answered later.
pub(super) struct Kept {
    pub(super) node: NodeIndex,
    pub(super) query: usize,
    pub(super) token: ReplyToken,
    pub(super) body: Vec<u8>,
}

impl Oracle {
    /// An oracle of a world in which nothing has happened yet.
    pub(super) fn new(world: &World, network: Network, nodes: &[(NodeIndex, Config)]) -> Self {
        let settings: Vec<_> =
            nodes.iter().map(|(node, config)| (*node, world.address(*node), config.clone())).collect();
        Self {
            ids: nodes.iter().map(|&(node, _)| (world.id(node), node)).collect(),
            addresses: nodes.iter().map(|&(node, _)| (world.address(node), node)).collect(),
            watched: [0; 4],
            model: Model::new(network, &settings, world.now()),
            records: Records::default(),
            waiting: BTreeMap::new(),
            incoming: BTreeMap::new(),
            kept: Vec::new(),
            directory: Directory::default(),
            verdicts: 0,
            transcript: Vec::new(),
        }
    }

    /// What is wrong so far.
    pub(super) fn violations(&self) -> &[Violation] {
        &self.model.violations
    }

    /// What has happened since the last call.
    pub(super) fn take_transcript(&mut self, world: &World) -> Vec<Entry> {
        self.watch(world);
        std::mem::take(&mut self.transcript)
    }

    /// How many queries were asked, and how many verdicts were given.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.model.lives.len() as u64, self.verdicts)
    }

    /// What was wrong.
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.model.violations
    }

    /// Something is wrong that was found elsewhere.
    pub(super) fn violate(&mut self, world: &World, what: String) {
        self.model.violations.push(Violation { at: world.now(), what });
    }

    /// A fact that is no delivery. It is to be told before it is made to happen.
    pub(super) fn observe(&mut self, world: &World, node: Option<NodeIndex>, what: What) {
        self.watch(world);
        let at = world.now();
        self.model.hears(at, node, &what);
        match (&what, node) {
            (What::Crashes | What::PowerOff, Some(node)) => self.forget(node),
            (What::Starts, Some(node)) => self.records.started(node),
            (What::Wipes, Some(node)) => self.records.lost(node),
            (What::Directory(directory), _) => self.directory = *directory,
            (What::Heals, _) => self.directory = Directory::Honest,
            _ => {}
        }
        self.transcript.push(Entry { at, node, what });
    }

    /// A question is about to be asked: gives back its number and the body that goes with it.
    pub(super) fn asks(&mut self, world: &World, question: Question) -> (usize, Vec<u8>) {
        let query = self.model.lives.len();
        let Question { from, to, type_name, bytes, hard, .. } = question;
        let body = body_of(query, bytes);
        self.observe(world, Some(from), What::Asks { query, to, type_name, bytes: body.len(), hard });
        self.model.asks(world.now(), question, world.written(from, to));
        (query, body)
    }

    /// It was asked, under this name.
    pub(super) fn was_asked(&mut self, query: usize, id: QueryId) {
        self.waiting.insert((self.model.lives[query].question.from, id), query);
    }

    /// Its own node refused to ask it.
    pub(super) fn was_refused(&mut self, world: &World, query: usize, refusal: Refusal) {
        let ending = self.model.refuses_to_ask(world.now(), query, refusal);
        let node = self.model.lives[query].question.from;
        self.write(world, node, What::Ends { query, ending });
    }

    /// A notice is about to be sent: gives back its body.
    pub(super) fn notifies(&mut self, world: &World, from: NodeIndex, to: NodeIndex) -> Vec<u8> {
        self.observe(world, Some(from), What::Notifies { to });
        self.model.notifies(world.now(), from, to)
    }

    /// Its own node refused to send the notice with this body.
    pub(super) fn notice_was_refused(&mut self, world: &World, body: &[u8], refusal: Refusal) {
        self.model.refuses_to_notify(world.now(), number_in(body), refusal);
    }

    /// Some query of this node's that has no verdict, and its number.
    pub(super) fn waiting_at(&self, node: NodeIndex) -> Option<(QueryId, usize)> {
        self.waiting.iter().find(|&(&(asker, _), _)| asker == node).map(|(&(_, id), &query)| (id, query))
    }

    /// Whether every query has its verdict.
    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What a node's handlers have kept, to answer it now.
    pub(super) fn take_kept(&mut self, node: NodeIndex) -> Vec<Kept> {
        let (now, later) = std::mem::take(&mut self.kept).into_iter().partition(|kept| kept.node == node);
        self.kept = later;
        now
    }

    /// Writes down what nodes did of themselves since the last call.
    pub(super) fn watch(&mut self, world: &World) {
        let [lookups, dials, notes, breaks] = &mut self.watched;
        let mut seen = Vec::new();
        for &(at, node, peer) in world.lookups_since(lookups) {
            seen.extend(self.ids.get(&peer).map(|&peer| (at, node, What::LooksUp { peer })));
        }
        for &(at, node, address) in world.connects_since(dials) {
            seen.extend(self.addresses.get(&address).map(|&peer| (at, node, What::Dials { peer })));
        }
        for &(at, node, note) in world.notes_since(notes) {
            let peer = note.peer.and_then(|peer| self.ids.get(&peer).copied());
            seen.push((at, node, What::Noted { cause: note.cause, peer }));
        }
        seen.extend(world.breaks_since(breaks).iter().map(|&(at, node, other)| (at, node, What::Breaks { other })));
        seen.sort_by_key(|&(at, _, _)| at);
        self.nobody_believes_it(world, &seen);
        for (at, node, what) in seen {
            self.model.hears(at, Some(node), &what);
            self.transcript.push(Entry { at, node: Some(node), what });
        }
    }

    /// Whoever is given another node's record, or one that is damaged, notices, if it still waits for it: not if it has just gone on
    /// after it stood still, and all that was due meanwhile comes at once.
    fn nobody_believes_it(&mut self, world: &World, seen: &[(Instant, NodeIndex, What)]) {
        let lookups = seen.iter().filter(|_| self.directory == Directory::Wrong);
        let believed = lookups.filter_map(|&(at, node, ref what)| match *what {
            What::LooksUp { peer } if !self.model.is_unknown(peer) => {
                let waits = self
                    .waiting
                    .iter()
                    .any(|(&(asker, _), &query)| asker == node && self.model.lives[query].question.to == peer);
                // Of several notes at once the last one stands for all.
                let notes = |&(when, who, ref what): &(Instant, NodeIndex, What)| {
                    (when, who) == (at, node) && matches!(what, What::Noted { cause: Cause::RecordNotGenuine, .. })
                };
                (waits && self.model.thawed(node) < at && !seen.iter().any(notes)).then_some((node, peer))
            }
            _ => None,
        });
        for (node, peer) in believed.collect::<Vec<_>>() {
            let what = format!("node {} is given a record that is not node {}'s", node.number(), peer.number());
            self.violate(world, what + ", and does not mind");
        }
    }

    /// What the handler says to a query at once: a body, or no.
    pub(super) fn take(
        &mut self,
        world: &World,
        node: NodeIndex,
        delivery: Delivery,
    ) -> Option<(ReplyToken, Option<Vec<u8>>)> {
        self.watch(world);
        let at = world.now();
        match delivery {
            Delivery::Query { from, type_name, body, token, until } => {
                let query = self.query_of(world, node, from, &type_name, &body)?;
                self.incoming.insert((node, token.incoming()), query);
                self.write(world, node, What::Arrives { query, from: self.model.lives[query].question.from });
                self.model.arrives(at, query, until);
                return self.handle(world, node, query, token, body);
            }
            Delivery::Notice { from, body, .. } => match self.ids.get(&from) {
                Some(&from) => {
                    self.write(world, node, What::Noticed { from });
                    self.model.noticed(at, number_in(&body), from, node);
                }
                None => self.violate(world, format!("node {} has a notice from nobody", node.number())),
            },
            Delivery::Withdrawn(incoming) => match self.incoming.remove(&(node, incoming)) {
                Some(query) => {
                    self.write(world, node, What::Withdrawn { query });
                    self.model.withdrawn(at, query);
                }
                None => self.violate(world, format!("{incoming:?} of node {} never came", node.number())),
            },
            Delivery::SoftTimeout { query: id, .. } => match self.waiting.get(&(node, id)).copied() {
                Some(query) => {
                    self.write(world, node, What::SoftTimeout { query });
                    self.model.soft_timeout(at, query);
                }
                None => self.violate(world, format!("{id:?} of node {} has ended and times out softly", node.number())),
            },
            Delivery::Verdict { query: id, verdict, .. } => self.judge(world, node, id, &verdict),
            Delivery::Discovered(..) => {}
            other => self.violate(world, format!("node {} is told {other:?}", node.number())),
        }
        None
    }

    /// Time has passed: nobody waits longer than was promised.
    pub(super) fn nobody_waits_too_long(&mut self, world: &World) {
        self.watch(world);
        self.model.nobody_waits_too_long(world.now(), true);
    }

    /// Whoever crashes is owed nothing.
    fn forget(&mut self, node: NodeIndex) {
        self.waiting.retain(|&(asker, _), _| asker != node);
        self.incoming.retain(|&(at, _), _| at != node);
        self.kept.retain(|kept| kept.node != node);
    }

    /// Which query it is that a handler is given. It must be the one that was asked, to the last byte.
    fn query_of(
        &mut self,
        world: &World,
        node: NodeIndex,
        from: NodeId,
        type_name: &TypeName,
        body: &[u8],
    ) -> Option<usize> {
        let query = number_in(body);
        let from = self.ids.get(&from).copied();
        let Some(Life { question, .. }) = self.model.lives.get(query) else {
            self.violate(world, format!("node {} is asked what nobody asked", node.number()));
            return None;
        };
        let genuine = (from, node) == (Some(question.from), question.to)
            && type_name.as_str() == question.type_name
            && body == body_of(query, question.bytes);
        if !genuine {
            self.violate(world, format!("query {query} arrives at node {} as another, from {from:?}", node.number()));
        }
        Some(query)
    }

    fn handle(
        &mut self,
        world: &World,
        node: NodeIndex,
        query: usize,
        token: ReplyToken,
        body: Vec<u8>,
    ) -> Option<(ReplyToken, Option<Vec<u8>>)> {
        let answer = match self.model.lives[query].question.type_name {
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
        self.observe(world, Some(node), what);
        Some((token, answer))
    }

    fn judge(&mut self, world: &World, node: NodeIndex, id: QueryId, verdict: &Verdict) {
        self.verdicts += 1;
        let Some(query) = self.waiting.remove(&(node, id)) else {
            let what =
                format!("{id:?} of node {} has a second verdict, or was never asked: {verdict:?}", node.number());
            return self.violate(world, what);
        };
        let (ending, belongs) = match verdict {
            Verdict::Reply(reply) => {
                let Life { question, .. } = &self.model.lives[query];
                let belongs = match question.type_name {
                    ECHO | KEEP => reply.body == body_of(query, question.bytes),
                    EMPTY => reply.body.is_empty(),
                    _ => false,
                };
                (Ending::Reply { bytes: reply.body.len() }, belongs)
            }
            Verdict::Failed(failure) => (Ending::Failed(failure.clone()), true),
        };
        self.write(world, node, What::Ends { query, ending: ending.clone() });
        if !belongs {
            self.violate(world, format!("query {query} has a reply that is not its own"));
        }
        let Question { from, to, .. } = self.model.lives[query].question;
        self.model.ends(world.now(), query, ending, world.written(from, to));
    }

    fn write(&mut self, world: &World, node: NodeIndex, what: What) {
        self.transcript.push(Entry { at: world.now(), node: Some(node), what });
    }
}

/// A body of this length: the query's number, which is always there, and what is the same for all.
fn body_of(number: usize, bytes: usize) -> Vec<u8> {
    let number = (number as u64).to_be_bytes();
    [&number[..], &long_body(bytes.saturating_sub(number.len()))].concat()
}

fn number_in(body: &[u8]) -> usize {
    body.first_chunk().map_or(usize::MAX, |bytes| usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(usize::MAX))
}
