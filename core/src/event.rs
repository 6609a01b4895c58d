//! What the world did: the facts that a driver reports to [`Node::handle`](crate::Node::handle).

use alloc::vec::Vec;

use crate::id::{ConnectionId, DiscoveryId, LookupId, NodeId, SaveId};

/// Something that happened outside. Facts never fail: whatever bytes arrive, the worst that follows is the end of a query or a
/// connection. A fact about something that has ended is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// Time has passed: the deadline has come. Any other event says so as well.
    Tick,
    /// A dialled connection is open.
    Connected(ConnectionId),
    /// Bytes were read. At most [`Node::wants_read`](crate::Node::wants_read) at a time, else throttling and limits are late by
    /// the excess.
    Received(ConnectionId, &'a [u8]),
    /// So many bytes, counted from the front of [`Node::to_write`](crate::Node::to_write), were taken by the operating system.
    Written(ConnectionId, usize),
    /// The connection has ended; what was not written never will be.
    Closed(ConnectionId, Ending),
    /// The Lookup Service found a record, in its signed form. It may be followed by others until [`Event::LookupDone`].
    Found(LookupId, &'a [u8]),
    /// The Lookup Service knows nothing more.
    LookupDone(LookupId),
    /// The Discovery Service named these relay servers, and knows no more.
    Discovered(DiscoveryId, Vec<NodeId>),
    /// What was to be stored is stored, durably.
    Saved(SaveId),
}

/// How a connection ended, as the operating system told it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ending {
    /// The dial was refused at once: port closed, no route, no address.
    Refused,
    /// The peer ended the stream in order.
    EndOfStream,
    /// It broke: reset, timed out, or the system failed it.
    Broken,
}
