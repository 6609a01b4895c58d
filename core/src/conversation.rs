//! Conversations: a query and its verdict, seen from either end.

use alloc::vec::Vec;

use crate::id::{ConnectionId, IncomingId, MessageId, NodeId, QueryId};
use crate::query::{Executed, Hint, Stage, TypeName};
use crate::time::Instant;
use crate::wire::packet::SessionId;

/// A query or notice of this node's that has not ended.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) to: NodeId,
    pub(crate) message: Vec<u8>,
    pub(crate) reference: MessageId,
    pub(crate) type_name: TypeName,
    pub(crate) deadline: Instant,
    /// A notice ends in silence.
    pub(crate) notice: bool,
    pub(crate) hint: Hint,
    /// Whether the peer has refused it as late once, and it goes again.
    pub(crate) came_too_late: bool,
    pub(crate) state: QueryState,
}

/// How far an outstanding query has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum QueryState {
    /// It waits with its peer, and no byte of it counts as sent.
    Held,
    /// It has a number in a session. A connection is named from its first byte on.
    Sending { session: SessionId, number: u64, connection: Option<ConnectionId> },
    /// All of it is sealed, and waits to be written. If the connection ends before it is, it has not left; but while the
    /// connection lives nothing can hold it back any more.
    Sealed { session: SessionId, number: u64, connection: ConnectionId },
    /// Handed over whole; from here on it may run.
    Sent { session: SessionId, number: u64, connection: ConnectionId },
    /// The peer has said that it took it.
    Taken { session: SessionId, number: u64, connection: ConnectionId },
    /// To oneself.
    Local(IncomingId),
}

impl QueryState {
    /// Where it stands in a session.
    pub(crate) fn numbered(self) -> Option<(SessionId, u64)> {
        match self {
            Self::Held | Self::Local(_) => None,
            Self::Sending { session, number, .. }
            | Self::Sealed { session, number, .. }
            | Self::Sent { session, number, .. }
            | Self::Taken { session, number, .. } => Some((session, number)),
        }
    }

    /// The connection that it was put on.
    pub(crate) fn connection(self) -> Option<ConnectionId> {
        match self {
            Self::Held | Self::Local(_) => None,
            Self::Sending { connection, .. } => connection,
            Self::Sealed { connection, .. } | Self::Sent { connection, .. } | Self::Taken { connection, .. } => {
                Some(connection)
            }
        }
    }

    /// Whether the handler may run or have run, as long as the connection lives.
    pub(crate) fn executed(self) -> Executed {
        match self {
            Self::Held | Self::Sending { .. } => Executed::No,
            Self::Sealed { .. } | Self::Sent { .. } | Self::Taken { .. } | Self::Local(_) => Executed::Maybe,
        }
    }

    /// Its stage, if it does not wait with its peer.
    pub(crate) fn stage(self) -> Option<Stage> {
        match self {
            Self::Held => None,
            Self::Sending { .. } | Self::Sealed { .. } => Some(Stage::Queue),
            Self::Sent { .. } => Some(Stage::Wire),
            Self::Taken { .. } | Self::Local(_) => Some(Stage::Peer),
        }
    }
}

/// Where a record came from: what is in it is answered there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arrival {
    pub(crate) on: ConnectionId,
    pub(crate) session: SessionId,
    pub(crate) counter: u64,
}

/// What is said of a query or notice beside its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asking {
    pub(crate) number: u64,
    pub(crate) notice: bool,
    /// When its asker stops waiting.
    pub(crate) until: Instant,
}

/// A query of somebody else's that waits for this node's answer.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) from: NodeId,
    pub(crate) reference: MessageId,
    pub(crate) type_name: TypeName,
    pub(crate) origin: Origin,
}

/// Where an incoming query came from, and so where its answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// From this very node.
    Local(QueryId),
    Remote {
        session: SessionId,
        number: u64,
        connection: ConnectionId,
        /// The counter of the record that completed it.
        echo: u64,
    },
}
