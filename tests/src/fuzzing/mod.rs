//! The bodies of the fuzz targets, so that the stable tests can run them too.
//!
//! A body takes a fuzzer's bytes and panics if the core does what it must not. The corpora in `tests/corpora` are inputs that
//! reach much of the core; `cargo test` runs every body on its own.

mod edits;
mod handshake;
mod hostile;
mod layouts;
mod rest;
mod session;
mod world;

pub use handshake::handshake;
pub use hostile::hostile;
pub use layouts::{frame, message, record};
pub use session::session;
pub use world::world;

/// What became of a fuzzer's input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It cannot be read as an input of this target: it ends too early.
    Unreadable,
    /// It was read, and the core took nothing of it for good.
    Refused,
    /// The core took something of it: a value was understood, a session was made.
    Taken,
}

impl Outcome {
    fn taken_if(taken: bool) -> Self {
        if taken { Self::Taken } else { Self::Refused }
    }
}

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its corpus as well.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]) -> Outcome,
}

/// Every fuzz target.
pub const TARGETS: [Target; 7] = [
    Target { name: "frame", run: frame },
    Target { name: "message", run: message },
    Target { name: "record", run: record },
    Target { name: "handshake", run: handshake },
    Target { name: "hostile", run: hostile },
    Target { name: "session", run: session },
    Target { name: "world", run: world },
];
