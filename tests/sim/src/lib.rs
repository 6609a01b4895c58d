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
//!     Delivery::Verdict { verdict, .. } => answers.push(verdict),
//!     _ => {}
//! });
//! assert!(matches!(&answers[..], [Verdict::Reply(reply)] if reply.body == b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # An application of your own
//!
//! It runs on the simulator as it runs on a network: it asks, it is asked, it has its verdicts. What the world does to it follows from
//! the seed, so that a run that goes wrong can be repeated, and looked at, as often as it takes. Take out the question whether a
//! payment is in doubt, and this finds payments that were booked twice:
//!
//! ```
#![doc = include_str!("../examples/payments.rs")]
//! ```
//!
//! # What can happen in a world
//!
//! Links have latency, jitter, bandwidth, a buffer, and cut streams into [chunks](Chunks) of any size. They can be
//! [cut](World::cut), break [after any byte](World::break_next_connection_after), be [blocked](World::set_blocked) in one direction or
//! both, and be behind a [`Nat`]. Nodes can [crash](World::crash), [lose power](World::power_off) so that nobody hears of it,
//! [start again](World::start) with what they had stored or [without](World::wipe), [stand still](World::set_frozen), fall
//! [silent](World::set_silent), [close their port](World::set_listening), and have clocks that [jump](World::step_clock) or go
//! [too fast or too slow](World::set_drift). The Lookup Service can be slow, silent, stale, wrong or gone: see [`Directory`]. Whoever is
//! there and is no node is a [`Stranger`]; one that breaks every rule, with real keys, is the [`adversary::Adversary`].
//!
//! # Who checks what
//!
//! - The world looks after every drain whether each node's deadline lies ahead, whether what is to be written or read has somebody
//!   waiting for it, and whether every limit holds and every throttle: [`World::violations`].
//! - A [storm](storm) draws a [scenario](scenario) from a seed, or from a fuzzer's bytes, and plays it under an oracle, which knows of each
//!   query which verdicts it may have, why, and by when. A scenario that breaks a promise is shrunk, and printed in words.
//! - What once made a check cry without cause is kept as well, as a scenario: `tests/sim/tests/false_alarms`.
//! - A [script](script) is a scenario in words with what is to happen; those in `tests/scripts` are the specification by example.
//!
//! # What an event costs
//!
//! As much as what happens at the hosts that it touches, and the logarithm of how many there are. Here each node talks to 20 others (to
//! 9 in the smallest world) and asks 100 queries; handshakes are most of it, and the last but one column leaves them out. One core;
//! `cargo run --release -p egtp-sim --example scaling` measures it again.
//!
//! In instructions, as callgrind counts them, without the arithmetic on curves, an event costs 31,000 with 10 nodes, 35,000 with 32 and
//! with 100, 36,000 with 316: what grows more than that in the table is memory that no cache holds any more.
//!
//! | nodes | queries | events | CPU time | per event | once connected | memory at most |
//! |---:|---:|---:|---:|---:|---:|---:|
//! | 10 | 1,000 | 5,601 | 0.05 s | 9.5 µs | 3.9 µs | 3 MiB |
//! | 32 | 3,200 | 21,076 | 0.4 s | 21.2 µs | 5.3 µs | 9 MiB |
//! | 100 | 10,000 | 74,000 | 2.3 s | 31.3 µs | 8.3 µs | 26 MiB |
//! | 316 | 31,600 | 233,840 | 7.8 s | 33.5 µs | 14.3 µs | 77 MiB |
//! | 1000 | 100,000 | 740,000 | 25.7 s | 34.8 µs | 14.1 µs | 238 MiB |
//!
//! A storm over three to five nodes, with at most fifty queries and half an hour of simulated time, takes 14 ms.
//!
//! # What it has found
//!
//! Each was mended, and keeps the smallest scenario that shows it, in `tests/tests`:
//!
//! - an idle connection was kept for ever if its probe was due at the very instant (`regressions.rs`);
//! - a query of the peer's was lost when this node gave up a dial that was open (`regressions_storm.rs`);
//! - a notice that had been taken waited five minutes when its session ended before its acknowledgement was due (the same);
//! - acknowledgements and refusals went over a connection that was dead and not yet found out (the same);
//! - after a clock had jumped, a session refused every query as late for twelve hours (the same);
//! - a query whose last bytes left at the very instant at which its connection was given up ran twice (the same);
//! - a dial that had outlived its query kept the next one waiting (`regressions_peer.rs`);
//! - a node that had stopped still had questions open, and sessions with peers that were away (`regressions_fuzz.rs`);
//! - a handshake for which there was no room left a peer behind (`rejected.rs`);
//! - a connection that was to make room counted as busy with saying so, and its place was not waited for: found by asking why nobody
//!   noticed a mutant (`tests/scripts/an-idle-connection-makes-room-for-another.txt`);
//! - what came over one of two connections was not read after what waited for the peer had gone over the other
//!   (`regressions_storm.rs`);
//! - what a node may read each second was all taken by the connection that it looked at first (the same);
//! - a long reply that waited for others on another connection did not begin when they were done: found by asking why nobody noticed a
//!   mutant (`tests/sim/tests/leaving.rs`);
//! - a peer that had crashed while much waited to go to it was never found dead (`regressions_storm.rs`);
//! - a query counted as lost whose answer was on its way, since its session had ended (the same);
//! - to a peer more queries were sent than it lets wait, in two sessions (`tests/sim/tests/connections.rs`);
//! - what goes first on a connection, so that the peer knows whose it is, was said in a session that the peer had lost, and what followed
//!   ended the connection (`tests/sim/tests/connections.rs`); so it did if the session ended meanwhile over another
//!   (`regressions_storm.rs`);
//! - replies that say only that there was no memory for one took more memory than there is for replies (`limits.rs`);
//! - what was said first on a connection came after the end of its session, which had gone over another, and what followed ended the
//!   connection (`regressions_storm.rs`);
//! - of a connection that both ends leave an answer was cut off when the peer had taken none of it for five seconds (the same);
//! - half a query that was given up kept its place at the peer if that was said on a connection that ended, so that the next one was
//!   refused (`regressions_storm.rs`, `tests/sim/tests/cut_off.rs`);
//! - that a session had ended was said over one connection and overtaken on another by what came of its end, so that a query of which the
//!   peer had taken nothing counted as lost there (`regressions_storm.rs`, `tests/sim/tests/sessions.rs`);
//! - the ends of sessions piled up on a connection from which a peer takes next to nothing, while it makes one session after another over
//!   a second: found by asking what that first mending adds to (`tests/sim/tests/limits.rs`);
//! - a session that was old ended without a word although the peer had just been asked about it, and asked something in it
//!   (`regressions_storm.rs`);
//! - one stranger that was needed kept all peers that had been asked something once in a full table: found by asking why nobody noticed a
//!   mutant (`tests/sim/tests/peers.rs`);
//! - a session ended while a question in it went first on a new connection, which then was nobody's; a question over a connection that had
//!   just been closed was never answered, and the session that drained for it stayed; and what has to follow a handshake could go over
//!   a connection on which much waits: found by reading (`tests/sim/tests/sessions.rs`);
//! - the first mending of that let a session wait for ever for an answer from a peer that had lost it (`regressions_storm.rs`);
//! - a peer that had said twice that it holds a session ended it before what came first over the second connection was there, and what
//!   followed was too long for a stranger (the same).
//!
//! More of the kind, where a node waited for nothing, were found by reading the core for siblings of these; what shows them is played by
//! hand, in `tests/sim/tests`: `congestion.rs`, `sessions.rs`, `leaving.rs`, `connections.rs`, `cut_off.rs`, `answers.rs`, `limits.rs` and
//! `stopping.rs`.
//!
//! In an hour, on two cores that had other work as well, the program played 230,000 storms with 8,506,486 queries and 106,652 simulated
//! hours, from seed 2,600,001 on, without a violation.
//!
//! On the way there, of the first 440,000 three showed three of these bugs (the connection that took all of what may be read, the dead
//! peer, the answer that counted as lost), and five showed four checks that cried without cause. An hour of 340,000 showed nothing. Since
//! then two nodes have much to say to each other in 15 of 100 storms. Of the first 700,000 of that kind seven showed seven bugs, and four
//! showed four checks that cried without cause. Of the next 770,000 three showed the three bugs of storms that are named last, each a race
//! around the end of a session, and two showed two such checks. Since then a session that another replaces ends by agreement of both. Of
//! the next 270,000 four showed three checks that cried without cause: over what a peer had sent before it crashed, over what a partition
//! had held back, and over the answer to a PING that came in another session. All are mended, each with its scenario.

pub mod adversary;
mod choice;
pub mod diagram;
mod drift;
#[cfg(feature = "explore")]
pub mod explore;
mod link;
mod nat;
pub mod scenario;
pub mod scene;
pub mod script;
pub mod second;
pub mod storm;
mod stranger;
pub mod transcript;
mod usage;
mod world;

pub use choice::Choice;
pub use drift::MAX_DRIFT;
pub use link::{Chunks, Network};
pub use nat::{Nat, NatBehaviour};
pub use stranger::{Line, MAX_UNSENT, Stranger, StrangerAction, StrangerEvent, StrangerIndex};
pub use usage::beyond_limits;
pub use world::{Directory, NodeIndex, Recorder, World};
