//! What is known of one peer: its record, how to reach it, its connections and its sessions.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::id::{ConnectionId, LookupId, QueryId};
use crate::identity::PublicKey;
use crate::record::SignedRecord;
use crate::session::Initiator;
use crate::strategy::StrategySet;
use crate::time::Instant;
use crate::wire::packet::SessionId;

#[derive(Default)]
pub(crate) struct Peer {
    /// Known from its record or from a session with it.
    pub(crate) key: Option<PublicKey>,
    pub(crate) record: Option<SignedRecord>,
    pub(crate) strategies: StrategySet,
    /// Open connections on which it has authenticated.
    pub(crate) connections: Vec<ConnectionId>,
    /// The connection that is being opened, or on which it has not authenticated yet.
    pub(crate) dial: Option<ConnectionId>,
    /// Sessions with it, the best first.
    pub(crate) sessions: Vec<SessionId>,
    pub(crate) handshake: Option<Box<PendingHandshake>>,
    /// The highest generation of a session that was confirmed.
    pub(crate) generation: u32,
    /// Queries that wait for a connection, a session, or room in its window.
    pub(crate) held: BTreeSet<QueryId>,
    /// All its outstanding queries, held or not.
    pub(crate) outstanding: usize,
    /// The question to the Lookup Service that is open.
    pub(crate) lookup: Option<LookupId>,
    /// How often it has been met since a query was last handed over to it.
    pub(crate) met: u32,
    /// Whether the Lookup Service was asked since the peer was last reached or given up.
    pub(crate) looked_up: bool,
    /// No handshake before this: it has said that it is too busy.
    pub(crate) busy_until: Option<Instant>,
    /// When a handshake was last started because a session was said to be lost.
    pub(crate) doubted: Option<Instant>,
    /// Incoming queries of its that wait for an answer.
    pub(crate) incoming: usize,
    /// Bytes of replies to it that wait to be sealed.
    pub(crate) reply_bytes: usize,
    /// Whether so much waits to go to it that nothing more is read from it.
    pub(crate) congested: bool,
    /// Whether much waits to go to it and it has taken nothing for a while.
    pub(crate) stalled: bool,
    /// Bytes of its incomplete messages.
    pub(crate) assembly_bytes: usize,
    /// Whether this node ever asked it something: such peers are forgotten last.
    pub(crate) asked: bool,
    /// Its place in the order of use.
    pub(crate) stamp: u64,
}

/// A handshake that this node has begun.
pub(crate) struct PendingHandshake {
    pub(crate) id: SessionId,
    pub(crate) initiator: Initiator,
    /// The Noise message: made once, repeated unchanged.
    pub(crate) noise: [u8; 150],
    pub(crate) cookie: [u8; 16],
    /// How often the peer said that it was too busy for it.
    pub(crate) busies: u32,
    /// How many cookies were given for it.
    pub(crate) cookies: u32,
    /// The sessions that it asks about; all of them are older than it.
    pub(crate) asked: Vec<SessionId>,
    pub(crate) generation: u32,
    pub(crate) first_sent: Instant,
    /// The connection over which it went last.
    pub(crate) sent_on: Option<ConnectionId>,
}

impl Peer {
    /// Whether anything keeps the node from forgetting it.
    pub(crate) fn is_needed(&self) -> bool {
        !self.connections.is_empty()
            || self.dial.is_some()
            || !self.sessions.is_empty()
            || self.handshake.is_some()
            || self.outstanding > 0
            || self.lookup.is_some()
            || self.incoming > 0
    }
}
