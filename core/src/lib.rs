//! EGTP: queries and replies between nodes that know each other by id.
#![no_std]
extern crate alloc;

mod action;
mod config;
mod connection;
mod conversation;
mod event;
mod hashing;
mod id;
mod identity;
mod node;
mod note;
mod outbox;
mod peer;
mod query;
mod random;
mod record;
mod session;
mod strategy;
mod text;
mod throttle;
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
    DEFAULT_HARD_TIMEOUT, Delivery, Executed, Failure, Hint, MAX_BODY, MAX_HARD_TIMEOUT, MalformedTypeName,
    PeerRefusal, Query, Reason, Refusal, Reply, ReplyToken, Stage, TypeName, Unsent, Verdict, Via,
};
pub use record::{InvalidRecord, SignedRecord, Strategies};
pub use time::{Instant, UnixTime};
