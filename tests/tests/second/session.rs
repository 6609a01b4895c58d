//! Sealed records.

use super::crypto::{open, rekey, seal};
use super::handshake::Keys;
use super::packet::VERSION;
use super::{Key, take};

const SEALED: u8 = 4;

/// One end of a session. It remembers no counters: a test knows what it has sent.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// What the peer calls it.
    pub(crate) peer_sid: [u8; 8],
    pub(crate) send_key: Key,
    pub(crate) receive_key: Key,
    /// Of the next record.
    pub(crate) counter: u64,
}

impl Session {
    pub(crate) fn of_initiator(keys: &Keys, rsid: [u8; 8]) -> Self {
        Self { peer_sid: rsid, send_key: keys.of_initiator, receive_key: keys.of_responder, counter: 0 }
    }

    pub(crate) fn of_responder(keys: &Keys, isid: [u8; 8]) -> Self {
        Self { peer_sid: isid, send_key: keys.of_responder, receive_key: keys.of_initiator, counter: 0 }
    }

    pub(crate) fn seal(&mut self, frames: &[u8]) -> Vec<u8> {
        let header = [&[VERSION, SEALED][..], &self.peer_sid, &self.counter.to_be_bytes()].concat();
        let sealed = seal(&key_at(&self.send_key, self.counter), self.counter, &header, frames);
        self.counter += 1;
        [header, sealed].concat()
    }

    /// The counter and the frames.
    pub(crate) fn open(&self, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (header, sealed) = packet.split_first_chunk::<18>()?;
        let counter = u64::from_be_bytes(take(&mut &header[10..])?);
        Some((counter, open(&key_at(&self.receive_key, counter), counter, header, sealed)?))
    }
}

/// The key of the epoch that a counter lies in.
pub(crate) fn key_at(first: &Key, counter: u64) -> Key {
    (0..counter >> 20).fold(*first, |key, _| rekey(&key))
}
