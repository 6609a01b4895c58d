//! What one session between two nodes is made of, apart from its rules: the handshake that makes its keys, the sealing of
//! its records, the windows that say which records and which queries were seen before, and the assembly of messages that
//! come in pieces. Nothing here knows a clock, a table or a peer's address.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

mod assembly;
mod chacha_poly;
mod cookie;
mod handshake;
mod noise;
mod numbers;
#[cfg(test)]
mod oracle;
mod replay;
mod seal;
pub(crate) mod state;
mod window;

pub(crate) use assembly::Assembly;
pub(crate) use cookie::CookieJar;
pub(crate) use handshake::{Established, Initiator, Responder};
pub(crate) use numbers::{Number, NumberWindow};
pub(crate) use seal::{OpenError, Opener, Sealer};
