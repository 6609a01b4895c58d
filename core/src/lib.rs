//! EGTP carries queries and replies between nodes that know each other only by a 20-byte id.
//!
//! This crate is the state machine: it is told what happened and says what to do, and touches nothing else. It has no clock, no
//! entropy, no sockets, threads, files or globals, and no `std`. Whoever embeds it owns a loop of this shape:
//!
//! ```text
//!            the world                              the application
//!   bytes, dials, ticks, records            query, reply, cancel, serve, ...
//!               |                                        |
//!               v                                        v
//!     +-------------------------------------------------------------+
//!     |  Node::handle(now, event)               Node::query(now, ..) |
//!     |                                                              |
//!     |  conversation   a query and its one verdict                  |
//!     |  peer           what belongs to a pair: the way, the paths   |
//!     |  session        numbers, parts, acknowledgements, keys       |
//!     |  connection     packets, buffers, throttle                   |
//!     +-------------------------------------------------------------+
//!               |                        |                |
//!               v                        v                v
//!        Node::poll() pops        Node::deadline()   Node::to_write(c)
//!        an Action                the timer to set   Node::wants_read(c)
//! ```
//!
//! # The contract
//!
//! - **Facts never fail.** [`Node::handle`] takes an [`Event`] and returns nothing. Bytes from the network can end a query or a
//!   connection; they never reach the caller as an error and never panic.
//! - **Commands return a `Result`.** A [`Refusal`] leaves the node as it was, and whatever was handed in is handed back.
//! - **Work is done in the call.** [`Node::poll`] only pops a queue, so any number of calls between two drains is fine.
//! - **What must not be lost is a level**, to be read at any time: the deadline, the bytes to be written, how much may be read. The
//!   action [`TransportAction::Changed`] only hints which connection to look at.
//! - **A session carries, a connection only transports.** Whatever was on a connection that ends goes again over the next one, and nothing
//!   runs twice: anybody may close any connection at any time, and loses time by it, no message and no certainty.
//! - **Everything is bounded.** Each table and queue has a number in [`Limits`], an owner who is charged, and a rule for when it is full.
//! - **The same inputs give the same outputs**, on every machine: time is an integer that is handed in, and everything random
//!   comes from a 32-byte seed. In production that seed must be fresh at every start; see [`Node::new`].
//!
//! # A conversation
//!
//! Two nodes in one program, with the bytes carried by hand:
//!
//! ```
//! use core::time::Duration;
//! use egtp::*;
//!
//! let now = Instant::ZERO;
//! let node = |secret, seed| {
//!     let identity = Identity::from_seed(&[secret; 32]);
//!     Node::new(CheckedConfig::default(), identity, [seed; 32], Stored::default(), now, UnixTime::default())
//! };
//! let (mut alice, mut bob) = (node(1, 101), node(2, 102));
//!
//! // Bob serves a type and says where he is. Alice learns his record: that is how she knows his key.
//! bob.serve(TypeName::new("greet")?)?;
//! let strategies = Strategies { addresses: vec!["192.0.2.1:4000".parse()?], relays: vec![] };
//! let record = SignedRecord::sign(&Identity::from_seed(&[2; 32]), 1, strategies)?;
//! alice.learn(now, record)?;
//!
//! let query = Query::new(TypeName::new("greet")?, b"hello".to_vec()).hard_timeout(Duration::from_secs(5));
//! let asked = alice.query(now, bob.id(), query)?;
//!
//! let (mut at_alice, mut at_bob) = (None, None);
//! let verdict = loop {
//!     while let Some(action) = bob.poll() {
//!         if let Action::Deliver(Delivery::Query { body, token, .. }) = action {
//!             let answer = [&body[..], b", Alice"].concat();
//!             bob.reply(now, token, answer)?;
//!         }
//!     }
//!     let mut verdict = None;
//!     while let Some(action) = alice.poll() {
//!         match action {
//!             Action::Transport(TransportAction::Connect { connection, .. }) => {
//!                 at_alice = Some(connection);
//!                 at_bob = Some(bob.accept(now, "192.0.2.2:5000".parse()?)?);
//!                 alice.handle(now, Event::Connected(connection));
//!             }
//!             Action::Deliver(Delivery::Verdict { query, verdict: found, .. }) if query == asked => verdict = Some(found),
//!             _ => {}
//!         }
//!     }
//!     if let Some(verdict) = verdict {
//!         break verdict;
//!     }
//!     let (Some(at_alice), Some(at_bob)) = (at_alice, at_bob) else { continue };
//!     let bytes = alice.to_write(at_alice).to_vec();
//!     alice.handle(now, Event::Written(at_alice, bytes.len()));
//!     bob.handle(now, Event::Received(at_bob, &bytes));
//!     let bytes = bob.to_write(at_bob).to_vec();
//!     bob.handle(now, Event::Written(at_bob, bytes.len()));
//!     alice.handle(now, Event::Received(at_alice, &bytes));
//! };
//! assert_eq!(verdict, Verdict::Reply(Reply { body: b"hello, Alice".to_vec(), via: Via::Direct }));
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # The rooms
//!
//! Each owns its state, has private fields, and knows nothing of the rooms above it: `node` carries what one says to the next; `peer` owns
//! the sessions, the paths and the way to one peer, and is settled once at the end of each call in which it changed; `session` is a machine of
//! its own, messages on one side and packets on the other; `connection` has the byte streams; `conversation` the queries, own and others';
//! `admission` says who may have how much of what is shared; `wire` has every layout, and no state.
//!
//! What each asserts about itself is checked at the end of every call where debug assertions are on.
//!
//! # Where to read on
//!
//! The wire is written down byte by byte in `PROTOCOL.md`, what is promised to whom under attack in `SECURITY.md`. *EGTP Architecture 0.2*, the founding document, is cited by section where a
//! piece of code does what it asks for.
#![no_std]
extern crate alloc;

mod action;
mod admission;
mod config;
mod connection;
mod conversation;
mod env;
mod event;
mod hashing;
mod id;
mod identity;
#[cfg(feature = "internal")]
#[doc(hidden)]
pub mod internal;
mod node;
mod note;
mod peer;
mod query;
mod random;
mod record;
mod session;
mod slab;
mod text;
mod time;
mod timer;
mod wire;

pub use action::{Action, ServiceAction, StoreKey, TransportAction};
pub use config::{CheckedConfig, Config, ConfigError, Limits, Rate, Throttle, Timers};
pub use event::{Ending, Event};
pub use id::{
    ConnectionId, DiscoveryId, IncomingId, LookupId, MalformedId, MessageId, NODE_ID_SALT, NodeId, Nonce, QueryId,
    SaveId,
};
pub use identity::{Identity, PublicKey, WeakKey};
pub use node::{CorruptStore, Node, Stored, Usage};
pub use note::{Cause, Note};
pub use query::{
    Attempt, AttemptResult, DEFAULT_HARD_TIMEOUT, Delivery, Executed, Failure, Hint, MAX_BODY, MAX_HARD_TIMEOUT,
    MalformedTypeName, PeerRefusal, Query, Reason, Refusal, Reply, ReplyToken, Stage, Strategy, TypeName, Unasked,
    Unsaid, Unsent, Verdict, Via,
};
pub use record::{InvalidRecord, SignedRecord, Strategies};
pub use time::{Instant, UnixTime};
