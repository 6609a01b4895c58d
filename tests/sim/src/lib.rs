//! A simulated network of [EGTP](egtp) nodes. Everything that happens follows from one seed; the clock jumps to the next
//! instant at which something happens, and nowhere else, so that an hour costs what happens in it.
//!
//! ```
//! use core::time::Duration;
//! use egtp::{Delivery, Query, TypeName, Verdict};
//! use egtp_sim::{Network, World};
//!
//! let mut world = World::new(7, Network::default());
//! let (asker, echo) = (world.add_node(), world.add_node());
//! world.node(echo).serve(TypeName::new("echo")?)?;
//! let query = Query::new(TypeName::new("echo")?, b"hello".to_vec()).hard_timeout(Duration::from_secs(5));
//! world.query(asker, echo, query)?;
//! let mut answers = Vec::new();
//! world.run(Duration::from_secs(10), |world, node, delivery| match delivery {
//!     Delivery::Query { body, token, .. } => world.reply(node, token, body),
//!     Delivery::Verdict(_, verdict) => answers.push(verdict),
//!     _ => {}
//! });
//! assert!(matches!(&answers[..], [Verdict::Reply(reply)] if reply.body == b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adversary;
mod choice;
pub mod diagram;
mod link;
mod nat;
pub mod scenario;
pub mod scene;
pub mod script;
pub mod second;
pub mod storm;
mod stranger;
pub mod transcript;
mod world;

pub use choice::Choice;
pub use link::{Chunks, Network};
pub use nat::{Nat, NatBehaviour};
pub use stranger::{Line, MAX_UNSENT, Stranger, StrangerAction, StrangerEvent, StrangerIndex};
pub use world::{Directory, NodeIndex, World};
