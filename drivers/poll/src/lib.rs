//! Runs an EGTP node over real sockets, with `std::net` and poll(2): the embedded default, for Unix.
//!
//! One thread owns a [`Driver`], and the driver owns the node, its listeners and its streams. [`Driver::next`] turns
//! the loop until there is something for the application. In between the application gives its commands by
//! [`Driver::with`]. This is the DoQ of *EGTP Architecture 0.2*: one thread, one queue, no locks. Nothing else touches
//! the node; a driver may be moved to its thread, and only a [`Handle`], which posts values to the loop and wakes it,
//! can be had by several.
//!
//! This crate is the loop and its handle; what it does between two sleeps it has from `egtp-sockets`, as `egtp-tokio`
//! does.
//!
//! The driver draws the node's 32-byte seed from the operating system at every start. A seed used twice breaks every
//! promise of the protocol: whoever restores a snapshot of a running process or of a virtual machine runs it a second
//! time from the same seed.
//!
//! A node that answers each `echo` with its body, knows nobody and stores nothing:
//!
//! ```no_run
//! use egtp::{Delivery, Event, Identity, ServiceAction, TypeName};
//! use egtp_poll::{Driver, Setup, Step};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let identity = Identity::from_seed(&[7; 32]); // From a secret file, in earnest.
//!     let listen = vec!["127.0.0.1:4711".parse()?];
//!     let mut driver = Driver::<()>::open(Setup { listen, ..Setup::new(identity) })?;
//!     driver.node().serve(TypeName::new("echo")?)?;
//!     loop {
//!         match driver.next()? {
//!             Step::Deliver(Delivery::Query { body, token, .. }) => {
//!                 if let Err(unsent) = driver.with(|node, now| node.reply(now, token, body)) {
//!                     eprintln!("{unsent}"); // Nobody waits for it any more, most likely.
//!                 }
//!             }
//!             Step::Service(action) => driver.with(|node, now| match action {
//!                 ServiceAction::Lookup { lookup, .. } => node.handle(now, Event::LookupDone(lookup)),
//!                 ServiceAction::Discover { discovery, .. } => node.handle(now, Event::Discovered(discovery, vec![])),
//!                 ServiceAction::Save { save, .. } => node.handle(now, Event::Saved(save)),
//!                 ServiceAction::Publish { .. } => {}
//!             }),
//!             Step::Deliver(_) | Step::Note(_) | Step::Posted(()) => {}
//!             Step::Stopped => return Ok(()),
//!         }
//!     }
//! }
//! ```
//!
//! A driver and its handles may go to another thread:
//!
//! ```
//! fn moves_to_another_thread<T: Send>() {}
//! moves_to_another_thread::<egtp_poll::Driver<()>>();
//! moves_to_another_thread::<egtp_poll::Handle<()>>();
//! ```
#![forbid(unsafe_code)]

mod driver;
mod inbox;
mod socket;
mod wait;

pub use driver::Driver;
pub use egtp_sockets::{Clock, OpenError, Setup, Step, Unposted};
pub use inbox::Handle;
