//! Hosts of a world that are no nodes: whatever speaks, or refuses to speak, the protocol in its own way.

use std::fmt::Debug;
use std::net::SocketAddr;

use egtp::{Instant, SignedRecord};

/// The name of a stranger in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StrangerIndex(pub(crate) usize);

impl StrangerIndex {
    /// Its number: the first stranger of a world is stranger 0.
    pub fn number(self) -> usize {
        self.0
    }
}

/// A connection of a stranger, by name. A stranger names those that it dials and takes even numbers; the world names those that it
/// accepts and takes odd ones, each of them once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Line(pub u64);

/// What a host does that is no node. It is told what happens to it and appends to `out` what it wants done; that is done
/// in order, once it has returned.
///
/// A stranger has no throttle: it reads whatever arrives at the instant at which it does. What it sends waits in its host for
/// room on the link, up to [`MAX_UNSENT`] bytes for each line.
pub trait Stranger: Debug {
    /// Something happened at `now`.
    fn handle(&mut self, now: Instant, event: StrangerEvent<'_>, out: &mut Vec<StrangerAction>);
}

/// As many bytes may wait to be sent on one line. A line on which a stranger wants to send more is closed, since bytes that are
/// left out in the middle would be a fault of nobody's.
pub const MAX_UNSENT: usize = 16 << 20;

/// What happens to a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StrangerEvent<'a> {
    /// Its host has started. This comes once, before everything else.
    Start,
    /// Somebody at this address has connected.
    Accepted(Line, SocketAddr),
    /// Its dial was accepted.
    Connected(Line),
    /// Its dial was refused, or nobody has answered it for about a minute. The line is gone.
    Refused(Line),
    /// Bytes have arrived.
    Received(Line, &'a [u8]),
    /// The peer has closed the connection, or it broke. The line is gone.
    Closed(Line),
    /// The instant has come that [`StrangerAction::WakeAt`] named.
    Wake,
}

/// What a stranger wants done. What concerns a line that is gone or never was is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StrangerAction {
    /// Connect to this address. With a name that is odd or in use it is ignored.
    Dial(Line, SocketAddr),
    /// Send these bytes.
    Send(Line, Vec<u8>),
    /// Close the connection once everything is sent. The line is gone at once: nothing more is heard of it.
    Close(Line),
    /// Send [`StrangerEvent::Wake`] at this instant, or at once if that has passed. Only the latest such wish counts.
    WakeAt(Instant),
    /// Let the directory know this record, as a node does with its own.
    Publish(SignedRecord),
}
