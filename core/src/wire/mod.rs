//! The bytes: every layout that leaves the node or comes in, parsed and encoded, and no state beyond a stream's
//! unfinished packet.
//!
//! A byte stream carries [packets](packet). An opened SEALED packet is a row of [frames](frame). The parts that QUERY,
//! REPLY and PIECE frames carry make up a [message]. All integers are big-endian. Each value has one encoding: whatever
//! is parsed and encoded again gives the same bytes, and everything else is malformed.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

pub(crate) mod code;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod message;
pub(crate) mod packet;
pub(crate) mod reader;

#[cfg(test)]
pub(crate) mod testing;

use alloc::vec::Vec;

/// The version that the first byte of every packet and of every message names.
pub(crate) const VERSION: u8 = 2;

/// Appends a length in four bytes.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("nothing longer than a message is ever encoded");
    out.extend_from_slice(&length.to_be_bytes());
}
