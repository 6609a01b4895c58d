//! Packets: what one transport hands to another. Only SEALED packets carry frames; the others make sessions, or say that there is none.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;
use core::fmt;

use super::VERSION;
use super::reader::{Malformed, Reader};
use crate::text;

/// The longest packet, in bytes, without the length that precedes it on a byte stream.
pub(crate) const MAX_PACKET: usize = 65_535;

/// The longest packet that is taken from a peer that has not authenticated itself.
pub(crate) const MAX_PACKET_UNAUTHENTICATED: usize = 4_096;

/// What comes before the ciphertext in a SEALED packet: version, kind, session id and counter.
pub(crate) const SEALED_HEADER: usize = 1 + 1 + 8 + 8;

/// What the authentication adds at the end of a SEALED packet.
pub(crate) const TAG: usize = 16;

/// The most bytes of frames that a SEALED packet holds.
#[cfg(test)]
pub(crate) const MAX_PLAINTEXT: usize = MAX_PACKET - SEALED_HEADER - TAG;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const RETRY: u8 = 3;
const SEALED: u8 = 4;
const STALE: u8 = 5;
const BUSY: u8 = 6;

/// The name that one side of a session gave it: the initiator's (`isid`) or the responder's (`rsid`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) [u8; 8]);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::to_hex(&self.0))
    }
}

/// A packet, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packet<'a> {
    /// The first handshake message.
    Hello { isid: SessionId, cookie: [u8; 16], noise: &'a [u8; 150] },
    /// The second and last handshake message.
    Welcome { isid: SessionId, noise: &'a [u8; 64] },
    /// Ask again, with this cookie.
    Retry { isid: SessionId, cookie: [u8; 16] },
    /// Frames in ciphertext, which with its tag is all that follows the first [`SEALED_HEADER`] bytes.
    Sealed { sid: SessionId, counter: u64 },
    /// The session that the SEALED packet with this counter named is not known. Unauthenticated: a hint.
    Stale { sid: SessionId, counter: u64 },
    /// No session now; ask again after `wait` tenths of a second. Unauthenticated: a hint.
    Busy { isid: SessionId, code: u8, wait: u16 },
}

/// Why bytes are no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PacketError {
    /// They name no known kind, or have not the length of their kind.
    Malformed,
    /// They begin with a version that is not [`VERSION`].
    UnknownVersion(u8),
}

impl From<Malformed> for PacketError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl<'a> Packet<'a> {
    /// Takes a packet apart, without the length that preceded it on a byte stream.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(PacketError::UnknownVersion(version));
        }
        let kind = reader.u8()?;
        let id = SessionId(reader.bytes()?);
        let packet = match kind {
            HELLO => Self::Hello { isid: id, cookie: reader.bytes()?, noise: reader.array()? },
            WELCOME => Self::Welcome { isid: id, noise: reader.array()? },
            RETRY => Self::Retry { isid: id, cookie: reader.bytes()? },
            SEALED => parse_sealed(id, &mut reader)?,
            STALE => Self::Stale { sid: id, counter: reader.u64()? },
            BUSY => Self::Busy { isid: id, code: reader.u8()?, wait: reader.u16()? },
            _ => return Err(PacketError::Malformed),
        };
        reader.finish()?;
        Ok(packet)
    }
}

fn parse_sealed<'a>(sid: SessionId, reader: &mut Reader<'a>) -> Result<Packet<'a>, Malformed> {
    let counter = reader.u64()?;
    if reader.rest().len() < TAG {
        return Err(Malformed);
    }
    Ok(Packet::Sealed { sid, counter })
}

/// Appends a HELLO packet.
pub(crate) fn put_hello(out: &mut Vec<u8>, isid: SessionId, cookie: &[u8; 16], noise: &[u8; 150]) {
    put_start(out, HELLO, isid);
    out.extend_from_slice(cookie);
    out.extend_from_slice(noise);
}

/// Appends a WELCOME packet.
pub(crate) fn put_welcome(out: &mut Vec<u8>, isid: SessionId, noise: &[u8; 64]) {
    put_start(out, WELCOME, isid);
    out.extend_from_slice(noise);
}

/// Appends a RETRY packet.
pub(crate) fn put_retry(out: &mut Vec<u8>, isid: SessionId, cookie: &[u8; 16]) {
    put_start(out, RETRY, isid);
    out.extend_from_slice(cookie);
}

/// Appends a STALE packet.
pub(crate) fn put_stale(out: &mut Vec<u8>, sid: SessionId, counter: u64) {
    put_start(out, STALE, sid);
    out.extend_from_slice(&counter.to_be_bytes());
}

/// Appends a BUSY packet.
pub(crate) fn put_busy(out: &mut Vec<u8>, isid: SessionId, code: u8, wait: u16) {
    put_start(out, BUSY, isid);
    out.push(code);
    out.extend_from_slice(&wait.to_be_bytes());
}

/// The header of a SEALED packet. All of it is authenticated.
pub(crate) fn sealed_header(sid: SessionId, counter: u64) -> [u8; SEALED_HEADER] {
    let mut header = [0; SEALED_HEADER];
    let fields = [VERSION, SEALED].into_iter().chain(sid.0).chain(counter.to_be_bytes());
    for (byte, field) in header.iter_mut().zip(fields) {
        *byte = field;
    }
    header
}

/// Appends what all packets begin with: version, kind and session id.
fn put_start(out: &mut Vec<u8>, kind: u8, id: SessionId) {
    out.push(VERSION);
    out.push(kind);
    out.extend_from_slice(&id.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Xorshift, mutated};

    const ISID: SessionId = SessionId([1, 2, 3, 4, 5, 6, 7, 8]);

    /// The encoding of a packet; a SEALED one with a ciphertext of zeros up to `length`.
    fn encode(packet: &Packet<'_>, length: usize) -> Vec<u8> {
        let mut out = Vec::new();
        match *packet {
            Packet::Hello { isid, cookie, noise } => put_hello(&mut out, isid, &cookie, noise),
            Packet::Welcome { isid, noise } => put_welcome(&mut out, isid, noise),
            Packet::Retry { isid, cookie } => put_retry(&mut out, isid, &cookie),
            Packet::Sealed { sid, counter } => {
                out.extend_from_slice(&sealed_header(sid, counter));
                out.resize(length, 0);
            }
            Packet::Stale { sid, counter } => put_stale(&mut out, sid, counter),
            Packet::Busy { isid, code, wait } => put_busy(&mut out, isid, code, wait),
        }
        out
    }

    fn examples() -> [(Packet<'static>, usize); 8] {
        let counter = 0x1122_3344_5566_7788;
        [
            (Packet::Hello { isid: ISID, cookie: [9; 16], noise: &[10; 150] }, 176),
            (Packet::Welcome { isid: ISID, noise: &[11; 64] }, 74),
            (Packet::Retry { isid: ISID, cookie: [12; 16] }, 26),
            (Packet::Sealed { sid: ISID, counter }, 34),
            (Packet::Sealed { sid: ISID, counter: u64::MAX }, 35),
            (Packet::Sealed { sid: ISID, counter }, MAX_PACKET),
            (Packet::Stale { sid: ISID, counter }, 18),
            (Packet::Busy { isid: ISID, code: 13, wait: 0x1415 }, 13),
        ]
    }

    #[test]
    fn every_packet_has_its_length_and_parses_to_itself() {
        for (packet, length) in examples() {
            let bytes = encode(&packet, length);
            assert_eq!(bytes.len(), length);
            assert_eq!(Packet::parse(&bytes), Ok(packet));
        }
    }

    #[test]
    fn the_layout_is_the_specified_one() {
        let stale = encode(&Packet::Stale { sid: ISID, counter: 9 }, 18);
        assert_eq!(stale, [2, 5, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
        let busy = encode(&Packet::Busy { isid: ISID, code: 9, wait: 258 }, 13);
        assert_eq!(busy, [2, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2]);
        let hello = encode(&Packet::Hello { isid: ISID, cookie: [9; 16], noise: &[10; 150] }, 176);
        assert_eq!(hello[..2], [2, 1]);
        assert_eq!(hello[2..10], ISID.0);
        assert_eq!(hello[10..26], [9; 16]);
        assert_eq!(hello[26..], [10; 150]);
        assert_eq!(MAX_PLAINTEXT, 65_501);
    }

    #[test]
    fn every_truncation_is_refused() {
        for (packet, length) in examples().into_iter().filter(|&(_, length)| length <= 176) {
            let bytes = encode(&packet, length);
            for cut in 0..length.min(if let Packet::Sealed { .. } = packet { 34 } else { length }) {
                assert_eq!(Packet::parse(&bytes[..cut]), Err(PacketError::Malformed), "{packet:?} {cut}");
            }
        }
    }

    #[test]
    fn every_byte_too_many_is_refused_except_of_ciphertext() {
        for (packet, length) in examples() {
            let mut bytes = encode(&packet, length);
            bytes.push(0);
            let sealed = matches!(packet, Packet::Sealed { .. });
            assert_eq!(Packet::parse(&bytes).is_ok(), sealed, "{packet:?}");
        }
    }

    #[test]
    fn another_version_is_named_whatever_follows() {
        for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
            assert_eq!(Packet::parse(&[version]), Err(PacketError::UnknownVersion(version)));
            assert_eq!(Packet::parse(&[version; 40]), Err(PacketError::UnknownVersion(version)));
        }
    }

    #[test]
    fn an_unknown_kind_is_refused_whatever_its_length() {
        for kind in (0..=u8::MAX).filter(|kind| !(HELLO..=BUSY).contains(kind)) {
            for length in [13, 18, 26, 34, 74, 176] {
                let mut bytes = alloc::vec![0; length];
                bytes[..2].copy_from_slice(&[VERSION, kind]);
                assert_eq!(Packet::parse(&bytes), Err(PacketError::Malformed), "{kind}");
            }
        }
    }

    #[test]
    fn whatever_is_parsed_encodes_to_the_same_bytes() {
        let mut random = Xorshift::new();
        for (packet, length) in examples().into_iter().filter(|&(_, length)| length <= 176) {
            let bytes = encode(&packet, length);
            for _ in 0..2_000 {
                let changed = mutated(&bytes, &mut random);
                if let Ok(parsed) = Packet::parse(&changed) {
                    let kept = if let Packet::Sealed { .. } = parsed { SEALED_HEADER } else { changed.len() };
                    assert_eq!(encode(&parsed, changed.len())[..kept], changed[..kept]);
                }
            }
        }
    }
}
