//! What the drivers of EGTP need of the system, once for all of them.
//!
//! A program uses a driver, `egtp-poll` or `egtp-tokio`, and each hands on the names that its users need from here. A
//! driver is a loop, and a way to learn that a socket is ready. Whatever else it does is the same in every loop, and
//! that is an [`Engine`]: it draws the seed, listens and dials, gives each connection its share, rests when the system
//! has no descriptors left, and says what an error means for the node.
//!
//! Whoever writes a driver for another loop implements [`Socket`], and calls the engine's methods between two sleeps.
#![forbid(unsafe_code)]

mod clock;
mod dial;
mod engine;
mod listeners;
mod setup;
mod step;
mod stream;
mod streams;

pub use clock::Clock;
pub use engine::Engine;
pub use setup::{OpenError, Setup};
pub use step::{POSTS, Step, Unposted};
pub use stream::{Socket, Stream};
