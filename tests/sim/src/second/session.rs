//! Sealed records.

use super::crypto::{open, rekey, seal};
use super::handshake::Keys;
use super::packet::VERSION;
use super::{Key, take};

const SEALED: u8 = 4;

/// One end of a session. It remembers no counters that came: a test knows what it has sent.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the peer calls it.
    pub peer_sid: [u8; 8],
    /// For what is sent, in the first epoch.
    pub send_key: Key,
    /// For what comes, in the first epoch.
    pub receive_key: Key,
    /// Of the next record.
    pub counter: u64,
}

impl Session {
    /// The end of whoever sent the HELLO.
    pub fn of_initiator(keys: &Keys, rsid: [u8; 8]) -> Self {
        Self { peer_sid: rsid, send_key: keys.of_initiator, receive_key: keys.of_responder, counter: 0 }
    }

    /// The end of whoever answered it.
    pub fn of_responder(keys: &Keys, isid: [u8; 8]) -> Self {
        Self { peer_sid: isid, send_key: keys.of_responder, receive_key: keys.of_initiator, counter: 0 }
    }

    /// A SEALED packet of these frames.
    pub fn seal(&mut self, frames: &[u8]) -> Vec<u8> {
        let header = [&[VERSION, SEALED][..], &self.peer_sid, &self.counter.to_be_bytes()].concat();
        let sealed = seal(&key_at(&self.send_key, self.counter), self.counter, &header, frames);
        self.counter += 1;
        [header, sealed].concat()
    }

    /// The counter and the frames of a SEALED packet; nothing if it does not open.
    pub fn open(&self, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (header, sealed) = packet.split_first_chunk::<18>()?;
        let counter = u64::from_be_bytes(take(&mut &header[10..])?);
        Some((counter, open(&key_at(&self.receive_key, counter), counter, header, sealed)?))
    }
}

/// The key of the epoch that a counter lies in.
pub fn key_at(first: &Key, counter: u64) -> Key {
    (0..counter >> 20).fold(*first, |key, _| rekey(&key))
}
