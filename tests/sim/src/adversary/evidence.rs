//! What it has heard from nodes, and what that proves against them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;

use egtp::{Instant, NodeId};

use super::sessions::Sid;
use crate::second::message;

/// So many proofs are enough.
const MOST_PROOFS: usize = 100;
/// As many queries are remembered as a node can have outstanding in a few sessions.
const MOST_HEARD: usize = 16_384;

/// Who asked, and the digest of the body.
type Key = ([u8; 20], [u8; 20]);

#[derive(Debug, Default)]
pub(super) struct Evidence {
    proofs: Vec<String>,
    heard: BTreeMap<Key, Heard>,
    /// In the order in which they came.
    order: VecDeque<Key>,
}

/// A query that has come whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The id of its message.
    pub(super) id: [u8; 20],
    /// Until when its asker waits, as it says.
    pub(super) until: Instant,
    sid: Sid,
    number: u64,
    /// A genuine reply to it was sent.
    pub(super) replied: bool,
    /// The peer was told that it was not taken.
    pub(super) given_back: bool,
    /// The peer has said that it does not wait any more.
    pub(super) done: bool,
}

impl Heard {
    pub(super) fn new(id: [u8; 20], until: Instant, sid: Sid, number: u64) -> Self {
        Self { id, until, sid, number, replied: false, given_back: false, done: false }
    }
}

impl Evidence {
    pub(super) fn proof(&mut self, at: Instant, what: impl Display) {
        if self.proofs.len() < MOST_PROOFS {
            self.proofs.push(format!("at {at} a node {what}"));
        }
    }

    pub(super) fn proofs(&self) -> &[String] {
        &self.proofs
    }

    /// Gives back what was heard of the same body from the same node before.
    pub(super) fn hear(&mut self, asker: [u8; 20], body: &[u8], heard: Heard) -> Option<Heard> {
        let key = (asker, message::id(body));
        let before = self.heard.insert(key, heard);
        if before.is_none() {
            self.order.push_back(key);
            if self.order.len() > MOST_HEARD
                && let Some(oldest) = self.order.pop_front()
            {
                self.heard.remove(&oldest);
            }
        }
        before
    }

    pub(super) fn heard(&self, asker: NodeId, body: &[u8]) -> Option<&Heard> {
        self.heard.get(&(*asker.as_bytes(), message::id(body)))
    }

    pub(super) fn until(&self, asker: [u8; 20], body: &[u8]) -> Option<Instant> {
        self.heard.get(&(asker, message::id(body))).map(|heard| heard.until)
    }

    pub(super) fn replied(&mut self, asker: [u8; 20], body: &[u8]) {
        if let Some(heard) = self.heard.get_mut(&(asker, message::id(body))) {
            heard.replied = true;
        }
    }

    pub(super) fn done(&mut self, sid: Sid, number: u64) {
        for heard in self.heard.values_mut().filter(|heard| (heard.sid, heard.number) == (sid, number)) {
            heard.done = true;
        }
    }

    /// Everything in a session was said not to have been taken.
    pub(super) fn give_back(&mut self, sid: Sid) {
        for heard in self.heard.values_mut().filter(|heard| heard.sid == sid) {
            heard.given_back = true;
        }
    }
}
