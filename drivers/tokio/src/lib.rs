//! Runs an EGTP node over real sockets on tokio.
//!
//! There are two ways to use it:
//!
//! - [`Endpoint`]: a node on a thread of its own. The endpoint can be cloned and sent anywhere; a query is an `async`
//!   call.
//! - [`Driver`]: the node on your own task, for programs that want every action. It mirrors the driver of the crate
//!   `egtp-poll`, with an `async` [`Driver::next`], so that a program can switch. One task owns it, and others have its
//!   [`Handle`]. This is the DoQ of *EGTP Architecture 0.2*: one loop, one queue.
//!
//! Listening, dialling and each connection's share are those of `egtp-poll`: both crates have them from `egtp-sockets`.
//!
//! Both draw the node's 32-byte seed from the operating system at every start. A seed used twice breaks every promise
//! of the protocol: whoever restores a snapshot of a running process or of a virtual machine runs it a second time from
//! the same seed.
//!
//! Asking a node whose contact somebody has pasted:
//!
//! ```no_run
//! use egtp::{Identity, Query, SignedRecord, TypeName};
//! use egtp_tokio::{Endpoint, NoServices, Setup};
//!
//! # async fn ask(contact: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::from_seed(&[7; 32]); // From a secret file, in earnest.
//! let endpoint = Endpoint::start(Setup::new(identity), NoServices)?;
//! let peer: SignedRecord = contact.parse().map_err(|_| "not a contact")?;
//! let id = peer.node_id();
//! endpoint.learn(peer).await?;
//! let reply = endpoint.query(id, Query::new(TypeName::new("echo")?, b"hello".to_vec())).await?;
//! println!("{} bytes came back", reply.body.len());
//! # Ok(())
//! # }
//! ```
//!
//! Answering:
//!
//! ```no_run
//! # use egtp::{Identity, TypeName};
//! # use egtp_tokio::{Endpoint, NoServices, Setup};
//! # async fn answer(identity: Identity) -> Result<(), Box<dyn std::error::Error>> {
//! let listen = vec!["127.0.0.1:4711".parse()?];
//! let endpoint = Endpoint::start(Setup { listen, ..Setup::new(identity) }, NoServices)?;
//! let mut echo = endpoint.serve(TypeName::new("echo")?).await?;
//! while let Some(mut query) = echo.recv().await {
//!     let body = std::mem::take(&mut query.body);
//!     query.reply(body);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each of these may go to another thread:
//!
//! ```
//! fn moves_to_another_thread<T: Send>() {}
//! moves_to_another_thread::<egtp_tokio::Driver<()>>();
//! moves_to_another_thread::<egtp_tokio::Handle<()>>();
//! moves_to_another_thread::<egtp_tokio::Endpoint>();
//! ```
#![forbid(unsafe_code)]

mod alarm;
mod asked;
mod client;
mod client_loop;
mod driver;
mod handle;
mod services;
mod serving;
mod socket;
mod woken;

pub use asked::QueryError;
pub use client::Endpoint;
pub use driver::Driver;
pub use egtp_sockets::{Clock, OpenError, Setup, Step, Unposted};
pub use handle::Handle;
pub use services::{NoServices, Responder, Services};
pub use serving::{Incoming, IncomingQuery};
