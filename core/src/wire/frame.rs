//! Frames: what the two ends of a session tell each other inside SEALED packets.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

pub(crate) use super::code::{BreakCode, GoneReason, LeaveStep, PieceOf, RefuseCode, ReplyCode};
use super::handshake::{Asked, parse_held};
use super::message::MAX_MESSAGE;
use super::put_length;
use super::reader::{Malformed, Reader};

/// What a QUERY takes besides its part of the message, in bytes.
#[cfg(test)]
const QUERY_OVERHEAD: usize = 1 + 8 + 1 + 4 + 4 + 4;
/// What a REPLY takes besides its part of the message, in bytes.
pub(crate) const REPLY_OVERHEAD: usize = 1 + 8 + 1 + 8 + 4 + 4;
/// What a PIECE takes besides its part of the message, in bytes.
#[cfg(test)]
const PIECE_OVERHEAD: usize = 1 + 1 + 8 + 4 + 4;

const QUERY: u8 = 0x01;
const ACK: u8 = 0x03;
const REPLY: u8 = 0x04;
const REFUSE: u8 = 0x05;
const GONE: u8 = 0x06;
const DONE: u8 = 0x07;
const PING: u8 = 0x08;
const PONG: u8 = 0x09;
const BREAK: u8 = 0x0a;
const PIECE: u8 = 0x0b;
const LEAVE: u8 = 0x0c;
const DRAINED: u8 = 0x0d;

/// The bit of a QUERY's flags that makes it a notice. The others have no meaning yet.
const NOTICE: u8 = 1;

/// One frame. A `number` is a query's in its session; an `echo` is the counter of the packet that brought the newest
/// copy of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'a> {
    /// Here is a query or a notice, the first part of `total` bytes, worth running until this many milliseconds on the
    /// recipient's session clock.
    Query { number: u64, notice: bool, until: u32, total: usize, part: &'a [u8] },
    /// The query is here and remembered.
    Ack { number: u64, echo: u64 },
    /// Here is the answer, the first part of `total` bytes.
    Reply { number: u64, code: ReplyCode, echo: u64, total: usize, part: &'a [u8] },
    /// The query did not run and never will.
    Refuse { number: u64, code: RefuseCode, wait_secs: u16 },
    /// What became of the query cannot be told any more.
    Gone { number: u64, reason: GoneReason },
    /// The numbers `base + i` are settled, for each bit *i* that is set.
    Done { base: u64, settled: u64 },
    /// Are you there, and do you still have these sessions?
    Ping { token: u64, asked: Asked },
    /// Here I am, and bit *i* says whether I have the *i*-th session asked about.
    Pong { token: u64, held: u8 },
    /// The session ends. All numbers below `base` were taken, and `base + i` if bit `i % 8` of byte `i / 8` is set.
    Break { code: BreakCode, base: u64, taken: &'a [u8; 128] },
    /// Here is another part of a message, which belongs at this offset.
    Piece { of: PieceOf, number: u64, offset: usize, part: &'a [u8] },
    /// Let us part.
    Leave { step: LeaveStep },
    /// I wait for nothing in this session, and ask nothing more.
    Drained,
}

/// Takes the next frame.
pub(crate) fn parse_frame<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    match reader.u8()? {
        QUERY => parse_query(reader),
        ACK => Ok(Frame::Ack { number: reader.u64()?, echo: reader.u64()? }),
        REPLY => parse_reply(reader),
        REFUSE => Ok(Frame::Refuse {
            number: reader.u64()?,
            code: RefuseCode::from_byte(reader.u8()?)?,
            wait_secs: reader.u16()?,
        }),
        GONE => Ok(Frame::Gone { number: reader.u64()?, reason: GoneReason::from_byte(reader.u8()?)? }),
        DONE => Ok(Frame::Done { base: parse_base(reader, u64::BITS)?, settled: reader.u64()? }),
        PING => Ok(Frame::Ping { token: reader.u64()?, asked: Asked::parse(reader)? }),
        PONG => Ok(Frame::Pong { token: reader.u64()?, held: parse_held(reader)? }),
        BREAK => parse_break(reader),
        PIECE => parse_piece(reader),
        LEAVE => Ok(Frame::Leave { step: LeaveStep::from_byte(reader.u8()?)? }),
        DRAINED => Ok(Frame::Drained),
        _ => Err(Malformed),
    }
}

impl Frame<'_> {
    /// How many bytes [`put`](Self::put) appends.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Query { part, .. } => QUERY_OVERHEAD.saturating_add(part.len()),
            Self::Ack { .. } => 1 + 8 + 8,
            Self::Reply { part, .. } => REPLY_OVERHEAD.saturating_add(part.len()),
            Self::Refuse { .. } => 1 + 8 + 1 + 2,
            Self::Gone { .. } => 1 + 8 + 1,
            Self::Done { .. } => 1 + 8 + 8,
            Self::Ping { asked, .. } => (1_usize + 8 + 1).saturating_add(size_of_val(asked.as_slice())),
            Self::Pong { .. } => 1 + 8 + 1,
            Self::Break { .. } => 1 + 1 + 8 + 128,
            Self::Piece { part, .. } => PIECE_OVERHEAD.saturating_add(part.len()),
            Self::Leave { .. } => 1 + 1,
            Self::Drained => 1,
        }
    }

    /// Appends the frame. What it says must be within the limits that [`parse_frame`] checks.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Query { number, notice, until, total, part } => {
                put_start(out, QUERY, number);
                out.push(if notice { NOTICE } else { 0 });
                out.extend_from_slice(&until.to_be_bytes());
                put_length(out, total);
                put_part(out, part);
            }
            Self::Ack { number, echo } => {
                put_start(out, ACK, number);
                out.extend_from_slice(&echo.to_be_bytes());
            }
            Self::Reply { number, code, echo, total, part } => {
                put_start(out, REPLY, number);
                out.push(code.to_byte());
                out.extend_from_slice(&echo.to_be_bytes());
                put_length(out, total);
                put_part(out, part);
            }
            Self::Refuse { number, code, wait_secs } => {
                put_start(out, REFUSE, number);
                out.push(code.to_byte());
                out.extend_from_slice(&wait_secs.to_be_bytes());
            }
            Self::Gone { number, reason } => {
                put_start(out, GONE, number);
                out.push(reason.to_byte());
            }
            Self::Done { base, settled } => {
                put_start(out, DONE, base);
                out.extend_from_slice(&settled.to_be_bytes());
            }
            Self::Ping { token, asked } => {
                put_start(out, PING, token);
                asked.put(out);
            }
            Self::Pong { token, held } => {
                put_start(out, PONG, token);
                out.push(held);
            }
            Self::Break { code, base, taken } => {
                out.extend_from_slice(&[BREAK, code.to_byte()]);
                out.extend_from_slice(&base.to_be_bytes());
                out.extend_from_slice(taken);
            }
            Self::Piece { of, number, offset, part } => {
                out.extend_from_slice(&[PIECE, of.to_byte()]);
                out.extend_from_slice(&number.to_be_bytes());
                put_length(out, offset);
                put_part(out, part);
            }
            Self::Leave { step } => out.extend_from_slice(&[LEAVE, step.to_byte()]),
            Self::Drained => out.push(DRAINED),
        }
    }
}

fn parse_query<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let number = reader.u64()?;
    let notice = match reader.u8()? {
        0 => false,
        NOTICE => true,
        _ => return Err(Malformed),
    };
    let until = reader.u32()?;
    let (total, part) = parse_first_part(reader)?;
    Ok(Frame::Query { number, notice, until, total, part })
}

fn parse_reply<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let number = reader.u64()?;
    let code = ReplyCode::from_byte(reader.u8()?)?;
    let echo = reader.u64()?;
    let (total, part) = parse_first_part(reader)?;
    Ok(Frame::Reply { number, code, echo, total, part })
}

fn parse_break<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let code = BreakCode::from_byte(reader.u8()?)?;
    let base = parse_base(reader, 128 * u8::BITS)?;
    Ok(Frame::Break { code, base, taken: reader.array()? })
}

fn parse_piece<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let of = PieceOf::from_byte(reader.u8()?)?;
    let number = reader.u64()?;
    let offset = reader.length()?;
    let part = parse_part(reader)?;
    let end = offset.checked_add(part.len()).ok_or(Malformed)?;
    if offset == 0 || end > MAX_MESSAGE {
        return Err(Malformed);
    }
    Ok(Frame::Piece { of, number, offset, part })
}

/// The length of a whole message and its first part.
fn parse_first_part<'a>(reader: &mut Reader<'a>) -> Result<(usize, &'a [u8]), Malformed> {
    let total = reader.length()?;
    let part = parse_part(reader)?;
    if total > MAX_MESSAGE || part.len() > total {
        return Err(Malformed);
    }
    Ok((total, part))
}

/// A part of a message. There is no empty one.
fn parse_part<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    match reader.length()? {
        0 => Err(Malformed),
        length => reader.slice(length),
    }
}

/// The number that the first of `bits` bits stands for. The last one must stand for a number too.
fn parse_base(reader: &mut Reader<'_>, bits: u32) -> Result<u64, Malformed> {
    let base = reader.u64()?;
    let after_first = u64::from(bits).saturating_sub(1);
    base.checked_add(after_first).map(|_| base).ok_or(Malformed)
}

fn put_start(out: &mut Vec<u8>, frame_type: u8, number: u64) {
    out.push(frame_type);
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_length(out, part.len());
    out.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::SessionId;
    use crate::wire::testing::{Xorshift, mutated};
    use alloc::vec;

    const NUMBER: u64 = 0x0102_0304_0506_0708;
    const A: SessionId = SessionId([0xa1; 8]);
    const B: SessionId = SessionId([0xb2; 8]);

    /// Every frame, each also with what its fields have at their ends.
    fn examples() -> Vec<Frame<'static>> {
        let mut taken = [0; 128];
        (taken[0], taken[127]) = (1, 0x80);
        let taken: &'static [u8; 128] = alloc::boxed::Box::leak(alloc::boxed::Box::new(taken));
        vec![
            Frame::Query { number: NUMBER, notice: false, until: 0x1112_1314, total: 5, part: b"whole" },
            Frame::Query { number: 0, notice: true, until: u32::MAX, total: MAX_MESSAGE, part: b"p" },
            Frame::Ack { number: NUMBER, echo: u64::MAX },
            Frame::Reply { number: NUMBER, code: ReplyCode::Answer, echo: 3, total: 6, part: b"part" },
            Frame::Reply { number: 1, code: ReplyCode::ReplyTooLong, echo: 0, total: MAX_MESSAGE, part: b"x" },
            Frame::Refuse { number: NUMBER, code: RefuseCode::BusyWithYou, wait_secs: 0x0304 },
            Frame::Gone { number: NUMBER, reason: GoneReason::Released },
            Frame::Done { base: NUMBER, settled: 0x8000_0000_0000_0001 },
            Frame::Done { base: u64::MAX - 63, settled: 0 },
            Frame::Ping { token: NUMBER, asked: Asked::None },
            Frame::Ping { token: NUMBER, asked: Asked::One(A) },
            Frame::Ping { token: NUMBER, asked: Asked::Two([A, B]) },
            Frame::Pong { token: NUMBER, held: 3 },
            Frame::Break { code: BreakCode::Memory, base: NUMBER, taken },
            Frame::Break { code: BreakCode::RuleBroken, base: u64::MAX - 1023, taken },
            Frame::Piece { of: PieceOf::Query, number: NUMBER, offset: 1, part: b"piece" },
            Frame::Piece { of: PieceOf::Reply, number: NUMBER, offset: MAX_MESSAGE - 1, part: b"e" },
            Frame::Leave { step: LeaveStep::Proposal },
            Frame::Leave { step: LeaveStep::Answer },
            Frame::Drained,
        ]
    }

    fn encode(frame: &Frame<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        frame.put(&mut out);
        out
    }

    /// The frame that these bytes are, with none left over.
    fn parse_whole(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
        let mut reader = Reader::new(bytes);
        let frame = parse_frame(&mut reader)?;
        reader.finish()?;
        Ok(frame)
    }

    #[test]
    fn every_frame_has_its_length_and_parses_to_itself() {
        for frame in examples() {
            let bytes = encode(&frame);
            assert_eq!(frame.len(), bytes.len(), "{frame:?}");
            assert_eq!(parse_whole(&bytes), Ok(frame));
        }
    }

    #[test]
    fn frames_follow_each_other_without_anything_between() {
        let bytes: Vec<u8> = examples().iter().flat_map(encode).collect();
        let mut reader = Reader::new(&bytes);
        for frame in examples() {
            assert_eq!(parse_frame(&mut reader), Ok(frame));
        }
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn the_layouts_are_the_specified_ones() {
        let layouts: [(usize, &[u8]); 10] = [
            (0, b"\x01\x01\x02\x03\x04\x05\x06\x07\x08\x00\x11\x12\x13\x14\0\0\0\x05\0\0\0\x05whole"),
            (2, b"\x03\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\xff\xff\xff\xff"),
            (3, b"\x04\x01\x02\x03\x04\x05\x06\x07\x08\x00\0\0\0\0\0\0\0\x03\0\0\0\x06\0\0\0\x04part"),
            (5, b"\x05\x01\x02\x03\x04\x05\x06\x07\x08\x02\x03\x04"),
            (6, b"\x06\x01\x02\x03\x04\x05\x06\x07\x08\x03"),
            (7, b"\x07\x01\x02\x03\x04\x05\x06\x07\x08\x80\0\0\0\0\0\0\x01"),
            (12, b"\x09\x01\x02\x03\x04\x05\x06\x07\x08\x03"),
            (15, b"\x0b\x01\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x01\0\0\0\x05piece"),
            (18, b"\x0c\x01"),
            (19, b"\x0d"),
        ];
        for (index, layout) in layouts {
            assert_eq!(encode(&examples()[index]), layout, "{:?}", examples()[index]);
        }
        let ping = encode(&examples()[11]);
        assert_eq!(ping[..10], *b"\x08\x01\x02\x03\x04\x05\x06\x07\x08\x02");
        assert_eq!(ping[10..], [[0xa1; 8], [0xb2; 8]].concat());
        let broken = encode(&examples()[13]);
        assert_eq!(broken[..11], *b"\x0a\x01\x01\x02\x03\x04\x05\x06\x07\x08\x01");
        assert_eq!((broken.len(), broken[137]), (138, 0x80));
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_refused() {
        for frame in examples() {
            let mut bytes = encode(&frame);
            for length in 0..bytes.len() {
                assert_eq!(parse_whole(&bytes[..length]), Err(Malformed), "{frame:?} {length}");
            }
            bytes.push(0);
            assert_eq!(parse_whole(&bytes), Err(Malformed), "{frame:?}");
        }
    }

    #[test]
    fn an_unknown_frame_type_is_refused() {
        for frame_type in (0..=u8::MAX).filter(|byte| ![1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13].contains(byte)) {
            let mut bytes = vec![0; 200];
            bytes[0] = frame_type;
            assert_eq!(parse_frame(&mut Reader::new(&bytes)), Err(Malformed), "{frame_type}");
        }
    }

    #[test]
    fn only_specified_values_are_taken_where_there_is_a_choice() {
        let number = [0; 8];
        let part = *b"\0\0\0\x01\0\0\0\x01p";
        for value in 0..=u8::MAX {
            let takes = |before: &[&[u8]], after: &[&[u8]]| {
                parse_whole(&[before.concat(), vec![value], after.concat()].concat()).is_ok()
            };
            assert_eq!(takes(&[&[QUERY], &number], &[&[0; 4], &part]), value <= 1, "flags {value}");
            assert_eq!(takes(&[&[REPLY], &number], &[&[0; 8], &part]), value <= 2, "reply code {value}");
            assert_eq!(takes(&[&[REFUSE], &number], &[&[0; 2]]), (1..=9).contains(&value), "refuse code {value}");
            assert_eq!(takes(&[&[GONE], &number], &[]), (1..=3).contains(&value), "gone reason {value}");
            assert_eq!(takes(&[&[PING], &number], &[&vec![0; usize::from(value) * 8]]), value <= 2, "asked {value}");
            assert_eq!(takes(&[&[PONG], &number], &[]), value <= 3, "held {value}");
            assert_eq!(takes(&[&[BREAK]], &[&[0; 136]]), [1, 2, 4].contains(&value), "break code {value}");
            assert_eq!(takes(&[&[PIECE]], &[&number, &part]), value == 1 || value == 4, "piece of {value}");
            assert_eq!(takes(&[&[LEAVE]], &[]), value <= 1, "leave {value}");
        }
    }

    #[test]
    fn a_bitmap_that_reaches_past_the_last_number_is_refused() {
        let done = Frame::Done { base: u64::MAX - 62, settled: 0 };
        assert_eq!(parse_whole(&encode(&done)), Err(Malformed));
        let broken = Frame::Break { code: BreakCode::Memory, base: u64::MAX - 1022, taken: &[0; 128] };
        assert_eq!(parse_whole(&encode(&broken)), Err(Malformed));
    }

    #[test]
    fn an_empty_part_is_refused() {
        for frame in [
            Frame::Query { number: 0, notice: false, until: 0, total: 1, part: b"" },
            Frame::Reply { number: 0, code: ReplyCode::Answer, echo: 0, total: 1, part: b"" },
            Frame::Piece { of: PieceOf::Query, number: 0, offset: 1, part: b"" },
        ] {
            assert_eq!(parse_whole(&encode(&frame)), Err(Malformed), "{frame:?}");
        }
    }

    #[test]
    fn a_part_that_does_not_fit_its_message_is_refused() {
        for total in [0, 1, MAX_MESSAGE + 1, usize::try_from(u32::MAX).unwrap()] {
            let query = Frame::Query { number: 0, notice: false, until: 0, total, part: b"pp" };
            assert_eq!(parse_whole(&encode(&query)), Err(Malformed), "{total}");
            let reply = Frame::Reply { number: 0, code: ReplyCode::Answer, echo: 0, total, part: b"pp" };
            assert_eq!(parse_whole(&encode(&reply)), Err(Malformed), "{total}");
        }
        for offset in [0, MAX_MESSAGE - 1, MAX_MESSAGE, usize::try_from(u32::MAX).unwrap()] {
            let piece = Frame::Piece { of: PieceOf::Query, number: 0, offset, part: b"pp" };
            assert_eq!(parse_whole(&encode(&piece)), Err(Malformed), "{offset}");
        }
    }

    #[test]
    fn whatever_is_parsed_encodes_to_the_same_bytes() {
        let mut random = Xorshift::new();
        for frame in examples() {
            let bytes = encode(&frame);
            for _ in 0..2_000 {
                let changed = mutated(&bytes, &mut random);
                let mut reader = Reader::new(&changed);
                if let Ok(parsed) = parse_frame(&mut reader) {
                    let taken = changed.len() - reader.rest().len();
                    assert_eq!(encode(&parsed), changed[..taken]);
                    assert_eq!(parsed.len(), taken);
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut random = Xorshift::new();
        for _ in 0..20_000 {
            let length = random.below(200);
            let mut bytes = random.bytes(length + 1);
            bytes[0] %= 13;
            let mut reader = Reader::new(&bytes);
            while let Ok(frame) = parse_frame(&mut reader) {
                assert!(frame.len() <= bytes.len());
            }
        }
    }
}
