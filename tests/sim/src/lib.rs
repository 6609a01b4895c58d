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
//!
//! # What an event costs
//!
//! As much as what happens at the hosts that it touches, and the logarithm of how many there are. Here each node talks to 20 others (to
//! 9 in the smallest world) and asks 100 queries; handshakes are most of it, and the last but one column leaves them out.
//! `cargo run --release -p egtp-sim --example scaling` measures it again; this was a busy machine, on one core.
//!
//! | nodes | queries | events | CPU time | per event | once connected | memory at most |
//! |---:|---:|---:|---:|---:|---:|---:|
//! | 10 | 1,000 | 5,601 | 0.08 s | 14.5 µs | 6.4 µs | 3 MiB |
//! | 32 | 3,200 | 21,076 | 0.6 s | 29.3 µs | 7.6 µs | 9 MiB |
//! | 100 | 10,000 | 74,000 | 2.2 s | 30.0 µs | 12.1 µs | 26 MiB |
//! | 316 | 31,600 | 233,840 | 8.1 s | 34.8 µs | 15.1 µs | 77 MiB |
//! | 1000 | 100,000 | 740,000 | 25.8 s | 34.8 µs | 16.2 µs | 237 MiB |

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
