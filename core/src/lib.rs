//! test build
#![no_std]
#![allow(dead_code, missing_docs, unused)]
extern crate alloc;
mod action;
mod admission;
mod config;
mod event;
mod hashing;
mod id;
mod identity;
mod note;
mod query;
mod random;
mod record;
mod session;
mod slab;
mod text;
mod throttle;
mod time;
mod timer;
mod wire;
pub use action::{Action, ServiceAction, StoreKey, TransportAction};
pub use config::{CheckedConfig, Config, ConfigError, Limits, Rate, Throttle, Timers};
pub use event::{Ending, Event};
pub use id::*;
pub use identity::{Identity, PublicKey, WeakKey};
pub use note::{Cause, Note};
pub use query::*;
pub use record::{InvalidRecord, SignedRecord, Strategies};
pub use time::{Instant, UnixTime};
pub struct Node;
pub struct Stored;
