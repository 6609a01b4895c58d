//! What is worth a line in the log, and the counters behind it.

use crate::id::{ConnectionId, NodeId};

/// Something worth a line in the log. At most one for each [`Cause`] waits at a time; further ones only raise its count, so a
/// flood of them costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note {
    /// What happened.
    pub cause: Cause,
    /// How many times since the last note of this cause.
    pub count: u64,
    /// With which peer the latest one happened, where known.
    pub peer: Option<NodeId>,
    /// On which connection the latest one happened, where there was one.
    pub connection: Option<ConnectionId>,
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What happened. Each is counted for the node's whole life; see [`Node::count`](crate::Node::count).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            /// Every cause there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// A few words that say it, for a log line.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            fn index(self) -> usize {
                Self::ALL.iter().position(|&cause| cause == self).expect("ALL lists every cause")
            }
        }
    };
}

causes! {
    /// A packet announced more bytes than are allowed; the connection was closed.
    PacketTooLong = "a packet is longer than allowed",
    /// A packet, a frame or a message broke the rules of the protocol; the connection was closed.
    ProtocolViolation = "the rules of the protocol were broken",
    /// A packet had a version byte that this node does not speak.
    UnknownVersion = "a packet has a version that this node does not speak",
    /// A record could not be opened with its session's keys; it was dropped.
    RecordNotOpened = "a sealed record cannot be opened",
    /// A record had been seen before, or was too old to tell; it was dropped.
    RecordReplayed = "a sealed record was replayed or is too old",
    /// A first handshake message could not be opened: it was meant for another node, or garbage.
    HandshakeNotForMe = "a handshake is not meant for this node",
    /// A handshake was refused by a limit.
    HandshakeRefused = "a handshake was refused by a limit",
    /// A handshake answer fitted no handshake of this node's; it was dropped.
    HandshakeAnswerUnexpected = "a handshake answer fits no handshake",
    /// A connection led back to this very node; it was dropped.
    ConnectedToMyself = "an address leads back to this node",
    /// A connection turned out to belong to another node than expected; it was dropped.
    ConnectedToAnother = "an address belongs to another node",
    /// A connection was closed since the peer did not authenticate in time.
    NotAuthenticatedInTime = "a connection did not authenticate in time",
    /// A connection was closed since the peer has fallen silent.
    PeerSilent = "a peer has fallen silent",
    /// A strategy to reach a peer failed.
    StrategyFailed = "an address could not be used",
    /// An incoming connection was refused by a limit.
    ConnectionRefused = "an incoming connection was refused by a limit",
    /// A message under way was dropped: its pieces stopped coming or took too much memory.
    MessageAbandoned = "a message in pieces was never completed",
    /// A query with a number that had been taken before came again; it was not run again.
    QueryRepeated = "a query came again and was not run again",
    /// An incoming query was refused.
    QueryRefused = "an incoming query was refused",
    /// A reply came for a query that has ended or never was; it was dropped.
    ReplyUnexpected = "a late or unexpected reply was ignored",
    /// A reply did not refer to the query that it answered, or was no reply; it was dropped.
    ReplyMismatched = "a reply that refers to another query was ignored",
    /// A reply could not be sent: no connection to the asker is left.
    ReplyUndeliverable = "a reply could not be delivered",
    /// A record from a Lookup Service or a peer was not genuine, or not what was asked for; it was dropped.
    RecordNotGenuine = "a contact record is not genuine",
    /// The Lookup Service did not answer in time.
    LookupTimedOut = "the Lookup Service did not answer in time",
    /// The peer gave a session up.
    SessionEnded = "a peer gave a session up",
}

/// The counters, and what waits to be noted.
#[derive(Debug)]
pub(crate) struct Notes {
    total: [u64; CAUSES],
    noted: [u64; CAUSES],
    latest: [(Option<NodeId>, Option<ConnectionId>); CAUSES],
    waiting: alloc::collections::BTreeSet<Cause>,
}

const CAUSES: usize = Cause::ALL.len();

impl Notes {
    pub(crate) fn new() -> Self {
        Self {
            total: [0; CAUSES],
            noted: [0; CAUSES],
            latest: [(None, None); CAUSES],
            waiting: alloc::collections::BTreeSet::new(),
        }
    }

    pub(crate) fn add(&mut self, cause: Cause, peer: Option<NodeId>, connection: Option<ConnectionId>) {
        let index = cause.index();
        self.total[index] = self.total[index].saturating_add(1);
        self.latest[index] = (peer, connection);
        self.waiting.insert(cause);
    }

    pub(crate) fn count(&self, cause: Cause) -> u64 {
        self.total[cause.index()]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Note> {
        let cause = self.waiting.pop_first()?;
        let index = cause.index();
        let count = self.total[index].saturating_sub(self.noted[index]);
        self.noted[index] = self.total[index];
        let (peer, connection) = self.latest[index];
        Some(Note { cause, count, peer, connection })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_cause_is_one_note_with_a_count() {
        let mut notes = Notes::new();
        for _ in 0..1000 {
            notes.add(Cause::RecordReplayed, None, Some(ConnectionId(1)));
        }
        notes.add(Cause::PeerSilent, None, None);
        let first = notes.pop().unwrap();
        assert_eq!((first.cause, first.count, first.connection), (Cause::RecordReplayed, 1000, Some(ConnectionId(1))));
        assert_eq!(notes.pop().unwrap().cause, Cause::PeerSilent);
        assert_eq!(notes.pop(), None);
        notes.add(Cause::RecordReplayed, None, None);
        assert_eq!(notes.pop().unwrap().count, 1);
        assert_eq!(notes.count(Cause::RecordReplayed), 1001);
    }
}
