//! One session between two nodes: keys, numbers, and what is under way in it.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::{Assembly, Established, NumberWindow, Opener, Sealer};
use crate::conversation::Asking;
use crate::id::{ConnectionId, IncomingId, NodeId, QueryId};
use crate::outbox::Outbox;
use crate::time::Instant;
use crate::wire::code::ReplyCode;
use crate::wire::packet::SessionId;

/// No query gets a number this far above the lowest one that the peer has not settled yet.
pub(crate) const NUMBER_WINDOW: u64 = 1024;

pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// What the peer calls it; in the header of everything sent to it.
    pub(crate) peer_id: SessionId,
    pub(crate) peer: NodeId,
    pub(crate) initiated: bool,
    /// The connection over which it was agreed upon.
    pub(crate) made_on: ConnectionId,
    pub(crate) generation: u32,
    pub(crate) handshake_hash: [u8; 32],
    pub(crate) phase: SessionPhase,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    /// Where this node's session clock starts: the peer gives deadlines on it.
    pub(crate) clock: Instant,
    /// Where the peer's session clock starts at the earliest: this node gives deadlines on that.
    pub(crate) peer_clock: Instant,
    /// The connection over which the peer was last heard in it.
    pub(crate) heard_on: Option<ConnectionId>,
    pub(crate) last_used: Instant,
    /// What the peer was asked in it and has not answered yet.
    pub(crate) question: Option<Question>,
    /// Whether the peer has answered in it since a worse one began to drain.
    pub(crate) answered: bool,
    /// Whether this node has said that it waits for nothing in it.
    pub(crate) said_drained: bool,
    /// Whether the peer has said so.
    pub(crate) heard_drained: bool,

    pub(crate) numbers: NumberWindow,
    pub(crate) incoming: BTreeMap<u64, IncomingId>,
    pub(crate) assemblies: BTreeMap<(Carries, u64), Assembling>,
    /// What was taken and is to be acknowledged, with the time when and the counter to echo.
    pub(crate) acknowledge: VecDeque<Acknowledgement>,

    pub(crate) next_number: u64,
    /// Numbers of which the peer has said nothing yet.
    pub(crate) unsettled: BTreeSet<u64>,
    pub(crate) outstanding: BTreeMap<u64, QueryId>,
    /// How many queries the peer lets wait at a time.
    pub(crate) most_outstanding: usize,
    /// Numbers that the peer was told not to work at any more, until the deadlines of their queries.
    pub(crate) given_up: BTreeMap<u64, Instant>,

    pub(crate) outbox: Outbox,
}

/// A PING: whether the peer still holds this session, and worse ones.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) token: u64,
    pub(crate) on: ConnectionId,
    pub(crate) asked: Vec<SessionId>,
}

#[derive(Clone, Debug)]
pub(crate) enum SessionPhase {
    /// This node has answered a handshake and heard nothing in the session yet.
    Tentative {
        ephemeral: [u8; 32],
        welcome: Vec<u8>,
        on: ConnectionId,
    },
    Confirmed,
    /// No new queries in this one: a better one is confirmed, or has to be made since the clocks have gone apart.
    Draining,
}

/// Which kind of message an assembly will be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Carries {
    Query,
    Reply,
}

#[derive(Debug)]
pub(crate) struct Assembling {
    pub(crate) pieces: Assembly,
    pub(crate) progress: Instant,
    pub(crate) expected: Expected,
    /// The connection by which it began to come; a query never goes on over another.
    pub(crate) on: ConnectionId,
}

impl Assembling {
    /// What it is charged with: its bytes, and what it takes to keep them.
    pub(crate) fn charge(&self) -> usize {
        self.pieces
            .held_bytes()
            .saturating_add(ASSEMBLY_OVERHEAD)
            .saturating_add(self.pieces.stretches().saturating_mul(STRETCH_OVERHEAD))
    }
}

/// What an incomplete message takes besides its bytes, and what each stretch of it that came ahead of its place takes.
pub(crate) const ASSEMBLY_OVERHEAD: usize = 256;
const STRETCH_OVERHEAD: usize = 128;

/// What will be there once all pieces are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    Query(Asking),
    Reply { number: u64, code: ReplyCode },
}

impl Expected {
    pub(crate) fn key(self) -> (Carries, u64) {
        match self {
            Self::Query(asking) => (Carries::Query, asking.number),
            Self::Reply { number, .. } => (Carries::Reply, number),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) due: Instant,
    pub(crate) number: u64,
    pub(crate) echo: u64,
    /// The connection by which it came.
    pub(crate) on: ConnectionId,
    /// Unless this has been answered by then; `None` for a notice.
    pub(crate) incoming: Option<IncomingId>,
}

/// What the two ends of a new session have agreed upon.
pub(crate) struct Agreement {
    pub(crate) id: SessionId,
    pub(crate) peer_id: SessionId,
    pub(crate) peer: NodeId,
    pub(crate) initiated: bool,
    pub(crate) made_on: ConnectionId,
    pub(crate) generation: u32,
    pub(crate) peer_clock: Instant,
    pub(crate) most_outstanding: usize,
    pub(crate) keys: Established,
}

impl Session {
    pub(crate) fn new(agreement: Agreement, phase: SessionPhase, now: Instant) -> Self {
        let Agreement { id, peer_id, peer, initiated, made_on, generation, peer_clock, most_outstanding, keys } =
            agreement;
        Self {
            id,
            peer_id,
            peer,
            initiated,
            made_on,
            generation,
            handshake_hash: keys.handshake_hash,
            phase,
            sealer: Sealer::new(&keys.send_key),
            opener: Opener::new(&keys.receive_key),
            clock: now,
            peer_clock,
            heard_on: None,
            last_used: now,
            question: None,
            answered: false,
            said_drained: false,
            heard_drained: false,
            numbers: NumberWindow::new(),
            incoming: BTreeMap::new(),
            assemblies: BTreeMap::new(),
            acknowledge: VecDeque::new(),
            next_number: 0,
            unsettled: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            most_outstanding,
            given_up: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    /// Whether the peer has been heard in it.
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.phase, SessionPhase::Confirmed | SessionPhase::Draining)
    }

    /// Whether nothing more is asked in it.
    pub(crate) fn drains(&self) -> bool {
        matches!(self.phase, SessionPhase::Draining)
    }

    /// Whether no message is under way in it, either way. What else waits to be said may never be: there may be nobody to say it to.
    pub(crate) fn can_be_given_up(&self) -> bool {
        let messages = self.outbox.has_messages();
        self.incoming.is_empty() && self.outstanding.is_empty() && self.assemblies.is_empty() && !messages
    }

    /// Whether both ends have said that they wait for nothing in it, and nothing of that is still to be sealed.
    pub(crate) fn is_drained(&self) -> bool {
        self.said_drained && self.heard_drained && self.can_be_given_up() && self.outbox.is_empty()
    }
}
