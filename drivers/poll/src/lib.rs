//! Runs an EGTP node over real sockets, with `std::net` and poll(2): the embedded default, for Unix.
//!
//! One thread owns a [`Driver`], and the driver owns the node, its listeners and its streams. [`Driver::next`] turns
//! the loop until there is something for the application. In between the application gives commands to
//! [`Driver::node`]. This is the DoQ of *EGTP Architecture 0.2*: one thread, one queue, no locks. Nothing else touches
//! the node, and only a [`Handle`], which posts values to the loop and wakes it, can be sent to another thread.
//!
//! This crate is the loop and its handle; what it does between two sleeps it has from `egtp-sockets`, as `egtp-tokio`
//! does.
//!
//! The driver draws the node's 32-byte seed from the operating system at every start. A seed used twice breaks every
//! promise of the protocol: whoever restores a snapshot of a running process or of a virtual machine runs it a second
//! time from the same seed.
//!
//! A node that answers each `echo` with its body:
//!
//! ```no_run
//! use egtp::{Delivery, Identity, TypeName};
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
//!                 let now = driver.now();
//!                 // An answer that was not taken has nobody left who waits for it.
//!                 let _ = driver.node().reply(now, token, body);
//!             }
//!             Step::Stopped => return Ok(()),
//!             _ => {}
//!         }
//!     }
//! }
//! ```
//!
//! A driver stays on its thread:
//!
//! ```compile_fail,E0277
//! fn moves_to_another_thread<T: Send>() {}
//! moves_to_another_thread::<egtp_poll::Driver<()>>();
//! ```
//!
//! Its handle does not have to:
//!
//! ```
//! fn moves_to_another_thread<T: Send>() {}
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
