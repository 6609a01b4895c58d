//! What is worth a line in the log, and the counters behind it.

use alloc::collections::{BTreeMap, BTreeSet};

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

/// What happened. Each is counted for the node's whole life; see [`Node::count`](crate::Node::count).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// A packet announced more bytes than are allowed; the connection was closed.
    PacketTooLong,
    /// A packet, a frame or a message broke the rules of the protocol; the connection was closed.
    ProtocolViolation,
    /// A packet had a version byte that this node does not speak.
    UnknownVersion,
    /// A record could not be opened with its session's keys; it was dropped.
    RecordNotOpened,
    /// A record had been seen before, or was too old to tell; it was dropped.
    RecordReplayed,
    /// A first handshake message could not be opened: it was meant for another node, or garbage.
    HandshakeNotForMe,
    /// A handshake was refused by a limit.
    HandshakeRefused,
    /// A handshake answer fitted no handshake of this node's; it was dropped.
    HandshakeAnswerUnexpected,
    /// A connection led back to this very node; it was dropped.
    ConnectedToMyself,
    /// A connection turned out to belong to another node than expected; it was dropped.
    ConnectedToAnother,
    /// A connection was closed since the peer did not authenticate in time.
    NotAuthenticatedInTime,
    /// A connection was closed since the peer has fallen silent.
    PeerSilent,
    /// A strategy to reach a peer failed.
    StrategyFailed,
    /// An incoming connection was refused by a limit.
    ConnectionRefused,
    /// A message under way was dropped: its pieces stopped coming or took too much memory.
    MessageAbandoned,
    /// A query with a number that had been taken before came again; it was not run again.
    QueryRepeated,
    /// An incoming query was refused.
    QueryRefused,
    /// A reply came for a query that has ended or never was; it was dropped.
    ReplyUnexpected,
    /// A reply did not refer to the query that it answered, or was no reply; it was dropped.
    ReplyMismatched,
    /// A reply could not be sent: no connection to the asker is left.
    ReplyUndeliverable,
    /// A record from a Lookup Service or a peer was not genuine, or not what was asked for; it was dropped.
    RecordNotGenuine,
    /// The Lookup Service did not answer in time.
    LookupTimedOut,
    /// The peer gave a session up.
    SessionEnded,
}

impl Cause {
    /// Every cause there is.
    pub const ALL: &'static [Self] = &[
        Self::PacketTooLong,
        Self::ProtocolViolation,
        Self::UnknownVersion,
        Self::RecordNotOpened,
        Self::RecordReplayed,
        Self::HandshakeNotForMe,
        Self::HandshakeRefused,
        Self::HandshakeAnswerUnexpected,
        Self::ConnectedToMyself,
        Self::ConnectedToAnother,
        Self::NotAuthenticatedInTime,
        Self::PeerSilent,
        Self::StrategyFailed,
        Self::ConnectionRefused,
        Self::MessageAbandoned,
        Self::QueryRepeated,
        Self::QueryRefused,
        Self::ReplyUnexpected,
        Self::ReplyMismatched,
        Self::ReplyUndeliverable,
        Self::RecordNotGenuine,
        Self::LookupTimedOut,
        Self::SessionEnded,
    ];

    /// A few words that say it, for a log line.
    pub fn text(self) -> &'static str {
        match self {
            Self::PacketTooLong => "a packet is longer than allowed",
            Self::ProtocolViolation => "the rules of the protocol were broken",
            Self::UnknownVersion => "a packet has a version that this node does not speak",
            Self::RecordNotOpened => "a sealed record cannot be opened",
            Self::RecordReplayed => "a sealed record was replayed or is too old",
            Self::HandshakeNotForMe => "a handshake is not meant for this node",
            Self::HandshakeRefused => "a handshake was refused by a limit",
            Self::HandshakeAnswerUnexpected => "a handshake answer fits no handshake",
            Self::ConnectedToMyself => "an address leads back to this node",
            Self::ConnectedToAnother => "an address belongs to another node",
            Self::NotAuthenticatedInTime => "a connection did not authenticate in time",
            Self::PeerSilent => "a peer has fallen silent",
            Self::StrategyFailed => "an address could not be used",
            Self::ConnectionRefused => "an incoming connection was refused by a limit",
            Self::MessageAbandoned => "a message in pieces was never completed",
            Self::QueryRepeated => "a query came again and was not run again",
            Self::QueryRefused => "an incoming query was refused",
            Self::ReplyUnexpected => "a late or unexpected reply was ignored",
            Self::ReplyMismatched => "a reply that refers to another query was ignored",
            Self::ReplyUndeliverable => "a reply could not be delivered",
            Self::RecordNotGenuine => "a contact record is not genuine",
            Self::LookupTimedOut => "the Lookup Service did not answer in time",
            Self::SessionEnded => "a peer gave a session up",
        }
    }
}

/// The counters, and what waits to be noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    counted: BTreeMap<Cause, Counter>,
    waiting: BTreeSet<Cause>,
}

#[derive(Debug, Default)]
struct Counter {
    total: u64,
    noted: u64,
    peer: Option<NodeId>,
    connection: Option<ConnectionId>,
}

impl Notes {
    pub(crate) fn add(&mut self, cause: Cause, peer: Option<NodeId>, connection: Option<ConnectionId>) {
        let counter = self.counted.entry(cause).or_default();
        counter.total = counter.total.saturating_add(1);
        counter.peer = peer;
        counter.connection = connection;
        self.waiting.insert(cause);
    }

    pub(crate) fn count(&self, cause: Cause) -> u64 {
        self.counted.get(&cause).map_or(0, |counter| counter.total)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Note> {
        let cause = self.waiting.pop_first()?;
        let counter = self.counted.get_mut(&cause)?;
        let count = counter.total.saturating_sub(counter.noted);
        counter.noted = counter.total;
        Some(Note { cause, count, peer: counter.peer, connection: counter.connection })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_cause_is_one_note_with_a_count() {
        let mut notes = Notes::default();
        let connection = ConnectionId(crate::slab::Slab::<()>::new().next_key());
        for _ in 0..1000 {
            notes.add(Cause::RecordReplayed, None, Some(connection));
        }
        notes.add(Cause::PeerSilent, None, None);
        let first = notes.pop().unwrap();
        assert_eq!((first.cause, first.count, first.connection), (Cause::RecordReplayed, 1000, Some(connection)));
        assert_eq!(notes.pop().unwrap().cause, Cause::PeerSilent);
        assert_eq!(notes.pop(), None);
        notes.add(Cause::RecordReplayed, None, None);
        assert_eq!(notes.pop().unwrap().count, 1);
        assert_eq!(notes.count(Cause::RecordReplayed), 1001);
    }
}
