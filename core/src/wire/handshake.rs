//! What the two handshake messages say inside their encryption.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

use super::packet::SessionId;
use super::reader::{Malformed, Reader};

/// What a HELLO says: who the initiator is and which sessions it would rather keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HelloPayload {
    /// The initiator's Ed25519 key, not checked yet.
    pub(crate) key: [u8; 32],
    /// The highest generation of a session that the initiator knows to be confirmed.
    pub(crate) generation: u32,
    /// The sessions that it asks about.
    pub(crate) asked: Asked,
}

/// What a WELCOME says: the session that the responder made, and what it still holds of those that were asked about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WelcomePayload {
    /// The responder's name of the new session.
    pub(crate) rsid: SessionId,
    /// The new session's generation.
    pub(crate) generation: u32,
    /// Bit *i* is set if the responder still accepts the *i*-th session that was asked about.
    pub(crate) held: u8,
    /// How many queries of the initiator's may wait there for an answer at a time.
    pub(crate) max_outstanding: u16,
}

/// The sessions that a HELLO asks about: two at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    None,
    One(SessionId),
    Two([SessionId; 2]),
}

/// The bits that a `held` byte may have set: one for each session that can be asked about.
const HELD_BITS: u8 = 0b11;

impl HelloPayload {
    /// Its length in bytes.
    pub(crate) const LEN: usize = 32 + 4 + 1 + 1 + 2 * 8;

    pub(crate) fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let key = reader.bytes()?;
        let generation = reader.u32()?;
        parse_no_flags(&mut reader)?;
        let asked = Asked::parse(&mut reader)?;
        if reader.rest().iter().any(|&unused| unused != 0) {
            return Err(Malformed);
        }
        Ok(Self { key, generation, asked })
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.push(0);
        self.asked.put(&mut out);
        out.resize(Self::LEN, 0);
        out.try_into().expect("the fields fill the payload")
    }
}

impl WelcomePayload {
    /// Its length in bytes.
    pub(crate) const LEN: usize = 8 + 4 + 1 + 2 + 1;

    pub(crate) fn parse(bytes: &[u8; Self::LEN]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let payload = Self {
            rsid: SessionId(reader.bytes()?),
            generation: reader.u32()?,
            held: parse_held(&mut reader)?,
            max_outstanding: reader.u16()?,
        };
        parse_no_flags(&mut reader)?;
        reader.finish()?;
        Ok(payload)
    }

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        out.extend_from_slice(&self.rsid.0);
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.push(self.held);
        out.extend_from_slice(&self.max_outstanding.to_be_bytes());
        out.push(0);
        out.try_into().expect("the fields fill the payload")
    }
}

impl Asked {
    /// The most sessions that can be asked about at a time.
    pub(crate) const MAX: usize = 2;

    /// Asks about the first [`Asked::MAX`] of these.
    pub(crate) fn about(sessions: &[SessionId]) -> Self {
        match *sessions {
            [] => Self::None,
            [one] => Self::One(one),
            [first, second, ..] => Self::Two([first, second]),
        }
    }

    pub(crate) fn as_slice(&self) -> &[SessionId] {
        match self {
            Self::None => &[],
            Self::One(one) => core::slice::from_ref(one),
            Self::Two(two) => two,
        }
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(Self::None),
            1 => Ok(Self::One(SessionId(reader.bytes()?))),
            2 => Ok(Self::Two([SessionId(reader.bytes()?), SessionId(reader.bytes()?)])),
            _ => Err(Malformed),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Two(_) => 2,
        });
        for session in self.as_slice() {
            out.extend_from_slice(&session.0);
        }
    }
}

/// The answer to [`Asked`], one bit for each session.
fn parse_held(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    let held = reader.u8()?;
    if held & !HELD_BITS == 0 { Ok(held) } else { Err(Malformed) }
}

/// No flag has a meaning yet, so none may be set.
fn parse_no_flags(reader: &mut Reader<'_>) -> Result<(), Malformed> {
    if reader.u8()? == 0 { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SessionId = SessionId([0xa1; 8]);
    const B: SessionId = SessionId([0xb2; 8]);

    fn hello(asked: &[SessionId]) -> HelloPayload {
        HelloPayload { key: [5; 32], generation: 0x0102_0304, asked: Asked::about(asked) }
    }

    fn welcome() -> WelcomePayload {
        WelcomePayload { rsid: A, generation: 0x0102_0304, held: 2, max_outstanding: 0x2122 }
    }

    #[test]
    fn a_hello_payload_with_any_number_asked_parses_to_itself() {
        for asked in [&[][..], &[A], &[A, B]] {
            let payload = hello(asked);
            assert_eq!(payload.asked.as_slice(), asked);
            assert_eq!(HelloPayload::parse(&payload.encode()), Ok(payload));
        }
    }

    #[test]
    fn the_layout_is_the_specified_one() {
        let bytes = hello(&[A]).encode();
        assert_eq!(bytes[..32], [5; 32]);
        assert_eq!(bytes[32..38], [1, 2, 3, 4, 0, 1]);
        assert_eq!(bytes[38..46], A.0);
        assert_eq!(bytes[46..54], [0; 8]);

        let bytes = welcome().encode();
        assert_eq!(bytes[..8], A.0);
        assert_eq!(bytes[8..], [1, 2, 3, 4, 2, 0x21, 0x22, 0]);
    }

    #[test]
    fn no_more_than_two_sessions_are_asked_about() {
        assert_eq!(Asked::about(&[A, B, A]).as_slice(), [A, B]);
    }

    #[test]
    fn a_hello_payload_with_a_flag_a_third_session_or_unused_bytes_set_is_refused() {
        let at = |at: usize, value: u8| {
            let mut bytes = hello(&[A]).encode();
            bytes[at] = value;
            HelloPayload::parse(&bytes)
        };
        for value in 1..=u8::MAX {
            assert_eq!(at(36, value), Err(Malformed), "flags {value}");
        }
        for count in (0..=u8::MAX).filter(|&count| count != 1 && count != 2) {
            assert_eq!(at(37, count), Err(Malformed), "count {count}: with none asked, the first is to be zero");
        }
        for unused in 46..54 {
            assert_eq!(at(unused, 1), Err(Malformed));
        }
        assert!(at(38, 0).is_ok());
    }

    #[test]
    fn a_welcome_payload_parses_to_itself() {
        for held in 0..=3 {
            let payload = WelcomePayload { held, ..welcome() };
            assert_eq!(WelcomePayload::parse(&payload.encode()), Ok(payload));
        }
    }

    #[test]
    fn a_welcome_payload_with_a_flag_or_a_third_held_bit_is_refused() {
        for value in 1..=u8::MAX {
            let mut bytes = welcome().encode();
            bytes[15] = value;
            assert_eq!(WelcomePayload::parse(&bytes), Err(Malformed), "flags {value}");
            bytes = welcome().encode();
            bytes[12] = value;
            assert_eq!(WelcomePayload::parse(&bytes).is_ok(), value <= 3, "held {value}");
        }
    }
}
