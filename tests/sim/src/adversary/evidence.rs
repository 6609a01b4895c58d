//! What it has heard from nodes, and what that proves against them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::time::Duration;

use egtp::{Instant, NodeId};

use super::said::Finding;
use super::sessions::Sid;
use crate::Line;
use crate::second::message;

/// So many proofs are enough.
const MOST_PROOFS: usize = 100;
/// As many queries are remembered as a node can have outstanding in a few sessions.
const MOST_HEARD: usize = 16_384;
/// So long the news may take that a connection has ended. It comes behind everything else that was said over it.
const NEWS: Duration = Duration::from_secs(120);

/// Who asked, and the digest of the body.
type Key = ([u8; 20], [u8; 20]);

#[derive(Debug, Default)]
pub(super) struct Evidence {
    proofs: Vec<String>,
    /// What proves something only if this connection is still there then.
    suspicions: VecDeque<(Instant, Line, String)>,
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
    pub(super) cancelled: bool,
}

/// How a query that has come whole had come before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Before {
    /// It had not.
    Never,
    /// Under the same number: something of it was lost.
    Here,
    /// Elsewhere, and it was given back there.
    GivenBack,
    /// Elsewhere, and it may have been taken there.
    Taken,
}

impl Heard {
    pub(super) fn new(id: [u8; 20], until: Instant, sid: Sid, number: u64) -> Self {
        Self { id, until, sid, number, replied: false, given_back: false, cancelled: false }
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

    pub(super) fn found(&mut self, at: Instant, finding: Finding) {
        match finding.unless_gone {
            None => self.proof(at, finding.what),
            Some(line) if self.suspicions.len() < MOST_PROOFS => {
                self.suspicions.push_back((at, line, finding.what));
            }
            Some(_) => {}
        }
    }

    /// A connection is gone, which explains what was said because of that.
    pub(super) fn gone(&mut self, line: Line) {
        self.suspicions.retain(|&(_, other, _)| other != line);
    }

    /// When a suspicion becomes a proof.
    pub(super) fn next_instant(&self) -> Option<Instant> {
        self.suspicions.front().map(|&(at, ..)| at + NEWS)
    }

    /// What was suspected and has not been explained is proved.
    pub(super) fn look(&mut self, now: Instant) {
        while self.next_instant().is_some_and(|due| due <= now)
            && let Some((at, _, what)) = self.suspicions.pop_front()
        {
            self.proof(at, what);
        }
    }

    /// A query has come whole.
    pub(super) fn hear(&mut self, asker: [u8; 20], body: &[u8], heard: Heard) -> Before {
        let key = (asker, message::id(body));
        let before = self.heard.get(&key).filter(|before| before.id == heard.id);
        let before = before.map_or(Before::Never, |before| {
            if (before.sid, before.number) == (heard.sid, heard.number) {
                Before::Here
            } else if before.given_back {
                Before::GivenBack
            } else {
                Before::Taken
            }
        });
        if before != Before::Here && self.heard.insert(key, heard).is_none() {
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

    pub(super) fn cancelled(&mut self, sid: Sid, number: u64) {
        for heard in self.heard.values_mut().filter(|heard| (heard.sid, heard.number) == (sid, number)) {
            heard.cancelled = true;
        }
    }

    /// What came under this number was said not to have been taken.
    pub(super) fn give_back(&mut self, sid: Sid, number: u64) {
        for heard in self.heard.values_mut().filter(|heard| (heard.sid, heard.number) == (sid, number)) {
            heard.given_back = true;
        }
    }

    /// A session was ended, and of its numbers these were said not to have been taken.
    pub(super) fn give_back_all(&mut self, sid: Sid, is_given_back: impl Fn(u64) -> bool) {
        for heard in self.heard.values_mut().filter(|heard| heard.sid == sid && is_given_back(heard.number)) {
            heard.given_back = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::ZERO;

    #[test]
    fn a_suspicion_is_proved_unless_its_connection_is_gone() {
        let suspicion = |line| Finding { what: format!("{line:?}"), unless_gone: Some(Line(line)) };
        let mut evidence = Evidence::default();
        evidence.found(START, suspicion(1));
        evidence.found(START, suspicion(2));
        evidence.gone(Line(1));
        evidence.look(START + NEWS.saturating_sub(Duration::from_micros(1)));
        assert_eq!(evidence.proofs(), [""; 0]);
        assert_eq!(evidence.next_instant(), Some(START + NEWS));
        evidence.look(START + NEWS);
        assert_eq!((evidence.proofs().len(), evidence.next_instant()), (1, None));
        assert!(evidence.proofs()[0].ends_with("a node 2"), "{:?}", evidence.proofs());
    }

    #[test]
    fn a_query_comes_again_where_it_was_lost_or_once_it_was_given_back() {
        let mut evidence = Evidence::default();
        let comes = |evidence: &mut Evidence, sid, number| {
            evidence.hear([1; 20], b"body", Heard::new([2; 20], START, sid, number))
        };
        assert_eq!(comes(&mut evidence, [1; 8], 0), Before::Never);
        assert_eq!(comes(&mut evidence, [1; 8], 0), Before::Here);
        assert_eq!(comes(&mut evidence, [1; 8], 1), Before::Taken);
        evidence.give_back([1; 8], 1);
        assert_eq!(comes(&mut evidence, [2; 8], 0), Before::GivenBack);
        evidence.give_back_all([2; 8], |number| number == 0);
        assert_eq!(comes(&mut evidence, [3; 8], 0), Before::GivenBack);
    }
}
