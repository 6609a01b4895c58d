//! Sealed records.

use super::crypto::{open, rekey, seal};
use super::frame::Frame;
use super::handshake::Keys;
use super::ledger::{EPOCH, Ledger};
use super::packet::VERSION;
use super::{Key, ack, take};

const SEALED: u8 = 4;
/// Counters from here on have no key.
const NO_COUNTER: u64 = 1 << 48;

/// One end of a session.
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
    /// What has happened in it. [`Session::open`] leaves no trace there.
    pub ledger: Ledger,
}

/// Why nothing is heard of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unheard {
    /// It does not open.
    Unopened,
    /// It opens, and another came under its counter, or its counter is below the window or too far ahead.
    Dropped(u64),
    /// It opens, and one of its frames is malformed.
    Malformed(u64),
}

impl Session {
    /// The end of whoever sent the HELLO.
    pub fn of_initiator(keys: &Keys, rsid: [u8; 8]) -> Self {
        Self::with_keys(rsid, keys.of_initiator, keys.of_responder)
    }

    /// The end of whoever answered it.
    pub fn of_responder(keys: &Keys, isid: [u8; 8]) -> Self {
        Self::with_keys(isid, keys.of_responder, keys.of_initiator)
    }

    /// An end with these keys.
    pub fn with_keys(peer_sid: [u8; 8], send_key: Key, receive_key: Key) -> Self {
        Self { peer_sid, send_key, receive_key, counter: 0, ledger: Ledger::default() }
    }

    /// A SEALED packet of these frames.
    pub fn say(&mut self, frames: &[Frame]) -> Vec<u8> {
        self.seal(&Frame::encode_all(frames))
    }

    /// A SEALED packet of these bytes, frames or not.
    pub fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let packet = self.seal_under(self.counter, plaintext);
        // What breaks off has no acknowledgement, and what is said before that is forgotten with the session.
        self.ledger.seal(self.counter, &Frame::parse_all(plaintext).unwrap_or_default());
        self.counter += 1;
        packet
    }

    /// A SEALED packet of these bytes under any counter, of which nothing is remembered. Where there is no key, the first one serves.
    pub fn seal_under(&self, counter: u64, plaintext: &[u8]) -> Vec<u8> {
        let header = [&[VERSION, SEALED][..], &self.peer_sid, &counter.to_be_bytes()].concat();
        let key = if counter < NO_COUNTER { key_at(&self.send_key, counter) } else { self.send_key };
        let sealed = seal(&key, counter, &header, plaintext);
        [header, sealed].concat()
    }

    /// The counter and the plaintext of a SEALED packet; nothing if it does not open. It may have come before.
    pub fn open(&self, packet: &[u8]) -> Option<(u64, Vec<u8>)> {
        let (header, sealed) = packet.split_first_chunk::<18>()?;
        let counter = u64::from_be_bytes(take(&mut &header[10..])?);
        if counter >= NO_COUNTER {
            return None;
        }
        Some((counter, open(&key_at(&self.receive_key, counter), counter, header, sealed)?))
    }

    /// The counter and the frames of a SEALED packet, which is remembered as opened.
    ///
    /// # Errors
    ///
    /// If it is to be dropped, or breaks the rules. Only in the latter case it is remembered.
    pub fn hear(&mut self, packet: &[u8]) -> Result<(u64, Vec<Frame>), Unheard> {
        let (counter, plaintext) = self.open(packet).ok_or(Unheard::Unopened)?;
        if !self.ledger.is_openable(counter) {
            return Err(Unheard::Dropped(counter));
        }
        let frames = Frame::parse_all(&plaintext);
        self.ledger.open(counter, frames.as_deref().unwrap_or_default());
        Ok((counter, frames.ok_or(Unheard::Malformed(counter))?))
    }

    /// An ACK of everything that was heard, as far as the window and 32 runs reach; nothing if nothing was heard.
    pub fn ack(&self) -> Option<Frame> {
        ack::naming(self.ledger.opened(), 0)
    }
}

/// The key of the epoch that a counter lies in.
pub fn key_at(first: &Key, counter: u64) -> Key {
    (0..counter >> EPOCH).fold(*first, |key, _| rekey(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> [Session; 2] {
        let keys = Keys { hash: [0; 32], of_initiator: [1; 32], of_responder: [2; 32] };
        [Session::of_initiator(&keys, *b"responds"), Session::of_responder(&keys, *b"initiate")]
    }

    #[test]
    fn what_one_end_says_the_other_hears_and_acknowledges() {
        let [mut one, mut other] = ends();
        let said = [Frame::Ping, Frame::Cancel { number: 3 }];
        assert_eq!(other.ack(), None);
        let packet = one.say(&said);
        assert_eq!(packet[..18], [&[2, 4][..], b"responds", &[0; 8]].concat());
        assert_eq!(other.hear(&packet), Ok((0, said.to_vec())));
        assert!(one.ledger.unacknowledged().eq([0]));
        let ack = other.ack().expect("something was heard");
        assert_eq!(one.hear(&other.say(std::slice::from_ref(&ack))), Ok((0, vec![ack])));
        assert_eq!((one.ledger.unacknowledged().count(), other.ledger.unacknowledged().count()), (0, 0));
    }

    #[test]
    fn what_was_heard_or_is_altered_or_is_malformed_is_not_heard() {
        let [mut one, mut other] = ends();
        let packet = one.say(&[Frame::Ping]);
        assert_eq!(one.hear(&packet), Err(Unheard::Unopened), "its own");
        for at in 2..packet.len() {
            let mut altered = packet.clone();
            altered[at] ^= 1;
            assert_eq!(other.hear(&altered), Err(Unheard::Unopened), "{at}");
        }
        for length in 0..packet.len() {
            assert_eq!(other.hear(&packet[..length]), Err(Unheard::Unopened));
        }
        assert!(other.hear(&packet).is_ok());
        assert_eq!(other.hear(&packet), Err(Unheard::Dropped(0)));
        assert_eq!(other.hear(&one.seal(&[0])), Err(Unheard::Malformed(1)));
        assert!(other.ledger.opened().contains(&1));
    }

    #[test]
    fn a_record_may_have_any_counter() {
        let [mut one, mut other] = ends();
        let early = one.seal_under(5, &[]);
        one.counter = (2 << 20) + 1;
        let far = one.say(&[]);
        assert_eq!(other.hear(&far), Err(Unheard::Dropped((2 << 20) + 1)), "two epochs ahead");
        assert_eq!(other.hear(&one.seal_under(1 << 20, &[])), Ok((1 << 20, vec![])));
        assert_eq!(other.hear(&far), Ok(((2 << 20) + 1, vec![])));
        assert_eq!(other.hear(&early), Err(Unheard::Dropped(5)), "below the window");
        assert_eq!(other.hear(&one.seal_under(2 << 20, &[7])), Ok((2 << 20, vec![Frame::Ping])));
        assert_eq!(other.hear(&one.seal_under(1 << 48, &[])), Err(Unheard::Unopened));
    }
}
