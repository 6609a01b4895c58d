//! What a driver gives to the application, and what it does not take from it.

use std::{error, fmt};

use egtp::{Delivery, Note, ServiceAction};

/// How many posted values may wait for a loop.
pub const POSTS: usize = 1024;

/// Something for the application.
#[derive(PartialEq, Eq, Debug)]
pub enum Step<T> {
    /// For the services around the node: what they find or have done is told to [`egtp::Node::handle`].
    Service(ServiceAction),
    /// The node tells the application something.
    Deliver(Delivery),
    /// Something is worth a line in the log.
    Note(Note),
    /// A handle of the driver posted this.
    Posted(T),
    /// The node has shut down and every socket is closed: nothing else will come.
    Stopped,
}

/// A value that was not posted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unposted<T> {
    /// 1024 values are queued: the loop is busy.
    Full(T),
    /// The driver has stopped or was dropped.
    Stopped(T),
}

impl<T> fmt::Display for Unposted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => write!(f, "the loop is busy: {POSTS} posted values are queued"),
            Self::Stopped(_) => f.write_str("the loop has stopped"),
        }
    }
}

impl<T: fmt::Debug> error::Error for Unposted<T> {}
