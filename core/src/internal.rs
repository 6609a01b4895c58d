//! A way in for this project's own fuzz targets and tests. **It is no part of the interface**: whatever is here may change or go in
//! any release. Nothing here changes a node.

use alloc::vec::Vec;

use crate::node::Node;
use crate::query::TypeName;
use crate::wire::frame::parse_frame;
use crate::wire::handshake::{HelloPayload, WelcomePayload};
use crate::wire::message::{Heading, Message};
use crate::wire::packet::{
    Packet, SEALED_HEADER, put_busy, put_hello, put_retry, put_stale, put_welcome, sealed_header,
};
use crate::wire::reader::Reader;

/// What bytes were understood to say, put into bytes again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recoded {
    /// How many values were understood, one after the other from the front.
    pub values: usize,
    /// Those values, encoded.
    pub encoded: Vec<u8>,
    /// Whether something was left that is no value.
    pub refused: bool,
    /// How many bytes the values hold in memory of their own.
    pub allocated: usize,
}

impl Recoded {
    /// Nothing was understood.
    const REFUSED: Self = Self { values: 0, encoded: Vec::new(), refused: true, allocated: 0 };

    fn one(encoded: Vec<u8>, allocated: usize) -> Self {
        Self { values: 1, encoded, refused: false, allocated }
    }

    /// Whether these bytes, of which it was made, are the one encoding of what they say, and cost no more memory than their own size.
    pub fn is_canonical(&self, bytes: &[u8]) -> bool {
        let whole = self.refused || self.encoded.len() == bytes.len();
        bytes.starts_with(&self.encoded) && whole && self.allocated <= bytes.len()
    }
}

/// The frames of one record, up to the first that is none.
pub fn frames(plaintext: &[u8]) -> Recoded {
    let mut recoded = Recoded { refused: false, ..Recoded::REFUSED };
    let mut reader = Reader::new(plaintext);
    while !reader.is_empty() {
        let Ok(frame) = parse_frame(&mut reader) else {
            recoded.refused = true;
            break;
        };
        frame.put(&mut recoded.encoded);
        recoded.values = recoded.values.saturating_add(1);
    }
    recoded
}

/// A message.
pub fn message(bytes: &[u8]) -> Recoded {
    let Ok((heading, body)) = Heading::parse_whole(bytes) else { return Recoded::REFUSED };
    let Heading { kind, recipient, nonce, reference, type_name, body_length: _ } = heading;
    let Ok(type_name) = TypeName::new(type_name) else { return Recoded::REFUSED };
    let message = Message { kind, recipient, nonce, reference, type_name, body: body.to_vec() };
    let mut encoded = Vec::new();
    message.put(0, usize::MAX, &mut encoded);
    Recoded::one(encoded, message.body.capacity())
}

/// A packet.
pub fn packet(bytes: &[u8]) -> Recoded {
    let Ok(packet) = Packet::parse(bytes) else { return Recoded::REFUSED };
    let mut out = Vec::new();
    match packet {
        Packet::Hello { isid, cookie, noise } => put_hello(&mut out, isid, &cookie, noise),
        Packet::Welcome { isid, noise } => put_welcome(&mut out, isid, noise),
        Packet::Retry { isid, cookie } => put_retry(&mut out, isid, &cookie),
        Packet::Sealed { sid, counter } => {
            out.extend_from_slice(&sealed_header(sid, counter));
            out.extend_from_slice(bytes.get(SEALED_HEADER..).unwrap_or_default());
        }
        Packet::Stale { sid, counter } => put_stale(&mut out, sid, counter),
        Packet::Busy { isid, code, wait } => put_busy(&mut out, isid, code, wait),
    }
    Recoded::one(out, 0)
}

/// What a first handshake message says inside its encryption.
pub fn hello_payload(bytes: &[u8]) -> Recoded {
    let parsed = bytes.try_into().ok().and_then(|bytes| HelloPayload::parse(bytes).ok());
    parsed.map_or(Recoded::REFUSED, |payload| Recoded::one(payload.encode().to_vec(), 0))
}

/// What a second handshake message says inside its encryption.
pub fn welcome_payload(bytes: &[u8]) -> Recoded {
    let parsed = bytes.try_into().ok().and_then(|bytes| WelcomePayload::parse(bytes).ok());
    parsed.map_or(Recoded::REFUSED, |payload| Recoded::one(payload.encode().to_vec(), 0))
}

/// A digest of everything that input can change and that outlives it: two that are equal say that nothing was remembered.
///
/// **In it** are the tables of queries, incoming queries and peers; of each peer the way to it, its paths and its handshake; of each session
/// the windows of records and of numbers, what is being put together, what is remembered and what waits to be sealed; who owns each connection;
/// the order in which sessions would be given up; the node's own record; what is served; every timer of a query or a question and
/// when it is due; how far shutting down has come.
///
/// **Not in it** is what never changes (identity, limits, timers' lengths); what any event may change, whatever it brings, and what does not
/// decide who is believed:
/// - the clock, and when bytes last came or went on a connection: any byte is a sign of life;
/// - token buckets, the count of handshakes in this second, the cookies' secret, and the timers of connections and peers;
/// - what chance has left, and the names that are given out next;
/// - what waits to be polled or written, the counter of records sealed, and how often somebody was told that a session is unknown: a
///   rejected packet may be answered. The queue is to be looked at by itself.
/// - the counters behind the notes.
pub fn digest(node: &Node) -> [u8; 20] {
    node.digest()
}

/// How many keyed hashes all nodes of this process have made.
pub fn hashes() -> usize {
    crate::hashing::counted::HASHES.load(core::sync::atomic::Ordering::Relaxed)
}
