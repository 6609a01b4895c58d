//! What the world is to do: the actions that a driver takes from [`Node::poll`](crate::Node::poll).

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::{ConnectionId, DiscoveryId, LookupId, NodeId, SaveId};
use crate::note::Note;
use crate::query::Delivery;
use crate::record::SignedRecord;

/// Something to be done outside, popped from [`Node::poll`](crate::Node::poll). Exhaustive on purpose: a driver that forgets one does not
/// compile.
#[derive(PartialEq, Eq, Debug)]
pub enum Action {
    /// For the part of the driver that owns the sockets.
    Transport(TransportAction),
    /// For the services around the node.
    Service(ServiceAction),
    /// For the application.
    Deliver(Delivery),
    /// For the log: something worth knowing happened.
    Note(Note),
    /// The node has shut down: nothing more will come, and it can be dropped.
    Stopped,
}

/// What is to be done with sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportAction {
    /// Open a TCP connection; report [`Event::Connected`](crate::Event::Connected) or [`Event::Closed`](crate::Event::Closed).
    Connect {
        /// By this name.
        connection: ConnectionId,
        /// To this address.
        to: SocketAddr,
    },
    /// Close the socket, now. The node has forgotten the connection; report nothing more about it.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// A hint: [`Node::to_write`](crate::Node::to_write) or [`Node::wants_read`](crate::Node::wants_read) may have changed. Both are levels,
    /// so a lost hint loses nothing but time.
    Changed {
        /// Of which connection.
        connection: ConnectionId,
    },
}

/// What is to be done by the services around the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServiceAction {
    /// Ask the Lookup Service for the peer's record; answer with [`Event::Found`](crate::Event::Found) and
    /// [`Event::LookupDone`](crate::Event::LookupDone). The node gives up by itself in the end.
    Lookup {
        /// The question's name.
        lookup: LookupId,
        /// Whose record.
        peer: NodeId,
    },
    /// Ask the Discovery Service for relay servers; answer with [`Event::Discovered`](crate::Event::Discovered).
    Discover {
        /// The question's name.
        discovery: DiscoveryId,
        /// How many would be welcome.
        count: usize,
    },
    /// This is the node's own record from now on: tell the Lookup Service and whoever asks.
    Publish {
        /// The record, signed.
        record: SignedRecord,
    },
    /// Store this durably, then report [`Event::Saved`](crate::Event::Saved). Hand it back as [`Stored`](crate::Stored) at the next start.
    Save {
        /// The name of this request.
        save: SaveId,
        /// Under which key.
        key: StoreKey,
        /// The new value, or `None` to delete it.
        value: Option<Vec<u8>>,
    },
}

/// The name of something that outlives the process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StoreKey {
    /// The sequence numbers that this node has reserved for its own record.
    Sequence,
    /// The highest record seen of this peer.
    Record(NodeId),
}
