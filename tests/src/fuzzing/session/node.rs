//! A node, its handlers, and what is to become of each message.

use std::net::SocketAddr;

use egtp::{
    Action, Config, ConnectionId, Delivery, Event, Executed, Failure, Identity, Instant, Node, PeerRefusal, QueryId,
    Reason, ReplyToken, ServiceAction, SignedRecord, Stored, Strategies, TransportAction, UnixTime, Verdict,
};

use super::super::rest::assert_clock_moves;
use crate::scene::{ECHO, KEEP, type_name};

/// As many packets of a node are remembered to be repeated.
const MOST_SENT: usize = 64;

/// Something that a node has said.
pub(super) enum Told {
    Dials(ConnectionId),
    Closes(ConnectionId),
    /// A handler was given the message of this number.
    Runs(u32),
    Verdict(u32, Verdict),
}

pub(super) struct Worker {
    pub(super) node: Node,
    pub(super) address: SocketAddr,
    identity: Identity,
    /// What handlers work at: the number of the query, and its body.
    kept: Vec<(ReplyToken, u32, Vec<u8>)>,
    sent: Vec<Vec<u8>>,
}

impl Worker {
    pub(super) fn new(number: u8, config: Config, now: Instant) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let config = config.check().expect("little room is room");
        let (stored, unix) = (Stored::default(), UnixTime::from_secs(1));
        let mut node = Node::new(config, identity.clone(), [100 + number; 32], stored, now, unix);
        for name in [ECHO, KEEP] {
            node.serve(type_name(name)).expect("there is room for two types");
        }
        let address = SocketAddr::from(([10, 1, 1, number], 4000));
        Self { node, address, identity, kept: Vec::new(), sent: Vec::new() }
    }

    pub(super) fn record(&self) -> SignedRecord {
        let strategies = Strategies { addresses: vec![self.address], relays: Vec::new() };
        SignedRecord::sign(&self.identity, 1, strategies).expect("one address fits a record")
    }

    /// Takes every action, and answers what is answered at once.
    pub(super) fn drains(&mut self, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(action) = self.node.poll() {
            match action {
                Action::Transport(TransportAction::Connect { connection, .. }) => told.push(Told::Dials(connection)),
                Action::Transport(TransportAction::Close { connection }) => told.push(Told::Closes(connection)),
                Action::Service(ServiceAction::Save { save, .. }) => self.node.handle(now, Event::Saved(save)),
                Action::Service(ServiceAction::Lookup { lookup, .. }) => {
                    self.node.handle(now, Event::LookupDone(lookup));
                }
                Action::Deliver(delivery) => told.extend(self.told(now, delivery)),
                Action::Transport(TransportAction::Changed { .. })
                | Action::Service(ServiceAction::Discover { .. } | ServiceAction::Publish { .. })
                | Action::Note(_)
                | Action::Stopped => {}
            }
        }
        assert_clock_moves(&self.node, now);
        told
    }

    fn told(&mut self, now: Instant, delivery: Delivery) -> Option<Told> {
        match delivery {
            Delivery::Query { type_name, body, token, .. } => {
                let number = number_in(&body);
                if type_name.as_str() == ECHO {
                    assert!(self.node.reply(now, token, body).is_ok(), "its asker waits");
                } else {
                    self.kept.push((token, number, body));
                }
                Some(Told::Runs(number))
            }
            Delivery::Notice { body, .. } => Some(Told::Runs(number_in(&body))),
            Delivery::Withdrawn(incoming) => {
                let at = self.kept.iter().position(|(token, ..)| token.incoming() == incoming);
                self.kept.remove(at.expect("only what waits is withdrawn"));
                None
            }
            Delivery::Verdict { tag, verdict, .. } => {
                Some(Told::Verdict(u32::try_from(tag).expect("it comes back"), verdict))
            }
            _ => None,
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        !self.kept.is_empty()
    }

    /// A handler answers with the body of the query, or says why it does not. Says to which query, and whether that has run.
    pub(super) fn answers(&mut self, now: Instant, which: u8, why: Option<u8>) -> Option<(u32, bool)> {
        let at = usize::from(which).checked_rem(self.kept.len())?;
        let (token, number, body) = self.kept.remove(at);
        let Some(why) = why.map(refusal) else {
            assert!(self.node.reply(now, token, body).is_ok(), "its asker waits");
            return Some((number, true));
        };
        assert_eq!(self.node.refuse(now, token, why), Ok(()), "its asker waits");
        Some((number, why == PeerRefusal::Declined))
    }

    /// Notes packets that it has sent.
    pub(super) fn sends(&mut self, packets: Vec<Vec<u8>>) {
        self.sent.extend(packets);
        self.sent.drain(..self.sent.len().saturating_sub(MOST_SENT));
    }

    /// The packet that it has sent so many before the last.
    pub(super) fn sent_before(&self, back: u8) -> Option<Vec<u8>> {
        self.sent.iter().rev().nth(usize::from(back)).cloned()
    }
}

/// A handler's reason that the asker does not take for the last word, or that it declines.
fn refusal(number: u8) -> PeerRefusal {
    let all = [PeerRefusal::Busy, PeerRefusal::NoMemory, PeerRefusal::NotWelcome, PeerRefusal::Declined];
    all[usize::from(number) % all.len()]
}

fn number_in(body: &[u8]) -> u32 {
    u32::from_be_bytes(*body.first_chunk().expect("every body begins with a number"))
}

/// A message, and what has become of it.
#[derive(Debug)]
pub(super) struct Asked {
    side: usize,
    body: Vec<u8>,
    /// Of a query, with its deadline.
    query: Option<(QueryId, Instant)>,
    runs: u32,
    verdict: Option<Verdict>,
}

impl Asked {
    pub(super) fn query(side: usize, body: Vec<u8>, query: QueryId, deadline: Instant) -> Self {
        Self { side, body, query: Some((query, deadline)), runs: 0, verdict: None }
    }

    pub(super) fn notice(side: usize, body: Vec<u8>) -> Self {
        Self { side, body, query: None, runs: 0, verdict: None }
    }

    /// The query, if it is one of this side's that has no verdict.
    pub(super) fn waits_at(&self, side: usize) -> Option<QueryId> {
        self.query.map(|(query, _)| query).filter(|_| self.side == side && self.verdict.is_none())
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.query.is_some() && self.verdict.is_none()
    }

    pub(super) fn is_late(&self, side: usize, now: Instant) -> bool {
        self.waits_at(side).is_some() && self.query.is_some_and(|(_, deadline)| deadline <= now)
    }

    /// A handler was given it.
    pub(super) fn runs(&mut self) {
        let said_not = matches!(&self.verdict, Some(Verdict::Failed(failure)) if failure.executed == Executed::No);
        assert!(!said_not, "it runs, and its asker was told that it did not: {self:?}");
        self.runs += 1;
        assert_eq!(self.runs, 1, "it runs again: {self:?}");
    }

    /// Its handler has said that it did nothing, so that it may go again.
    pub(super) fn did_not_run(&mut self) {
        self.runs -= 1;
    }

    /// Its asker is told how it ended. Says whether it was answered.
    pub(super) fn ends(&mut self, now: Instant, verdict: Verdict) -> bool {
        assert!(self.is_waiting(), "a second verdict, {verdict:?}: {self:?}");
        assert!(self.query.is_some_and(|(_, deadline)| deadline >= now), "a verdict too late, {verdict:?}: {self:?}");
        let is_reply = match &verdict {
            Verdict::Reply(reply) => {
                assert!(self.runs == 1 && reply.body == self.body, "another one's answer: {self:?}");
                true
            }
            Verdict::Failed(Failure { executed: Executed::No, .. }) => {
                assert_eq!(self.runs, 0, "it did run: {verdict:?}");
                false
            }
            Verdict::Failed(failure) => {
                let declined = failure.reason == Reason::RefusedByPeer(PeerRefusal::Declined);
                assert!(!declined || self.runs == 1, "nobody has declined it: {self:?}");
                false
            }
        };
        self.verdict = Some(verdict);
        is_reply
    }
}
