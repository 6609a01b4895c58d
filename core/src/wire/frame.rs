//! Frames: what the two ends of a session tell each other inside SEALED packets.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

pub(crate) use super::code::{BreakCode, PieceOf, RefuseCode, ReplyCode};
use super::message::MAX_MESSAGE;
use super::put_length;
use super::reader::{Malformed, Reader};

/// What a QUERY takes besides its part of the message, in bytes.
#[cfg(test)]
pub(crate) const QUERY_OVERHEAD: usize = 1 + 8 + 1 + 4 + 4 + 4;
/// What a REPLY takes besides its part of the message, in bytes.
pub(crate) const REPLY_OVERHEAD: usize = 1 + 8 + 1 + 4 + 4;
/// What a PIECE takes besides its part of the message, in bytes: no frame that carries a part takes more.
pub(crate) const PIECE_OVERHEAD: usize = 1 + 1 + 8 + 4 + 4 + 4;
/// The size of a REFUSE in bytes; a CANCEL is smaller.
pub(crate) const REFUSE_LEN: usize = 1 + 8 + 1 + 2;
/// The most that an ACK takes, in bytes.
#[cfg(test)]
pub(crate) const MAX_ACK: usize = 1 + 8 + 2 + 1 + Runs::MAX * RUN;

const QUERY: u8 = 0x01;
const REPLY: u8 = 0x02;
const PIECE: u8 = 0x03;
const REFUSE: u8 = 0x04;
const CANCEL: u8 = 0x05;
const ACK: u8 = 0x06;
const PING: u8 = 0x07;
const BREAK: u8 = 0x08;

/// The bit of a QUERY's flags that makes it a notice. The others have no meaning yet.
const NOTICE: u8 = 1;

/// A run in an ACK and the gap below it, two bytes each.
const RUN: usize = 4;

/// One frame. A `number` is a query's in its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame<'a> {
    /// Here is a query or a notice, the first part of `total` bytes, worth running until this many milliseconds on the
    /// recipient's session clock.
    Query { number: u64, notice: bool, until: u32, total: usize, part: &'a [u8] },
    /// Here is what became of a query, the first part of `total` bytes. Only an answer may have others.
    Reply { number: u64, code: ReplyCode, total: usize, part: &'a [u8] },
    /// Here is another part of a message of `total` bytes, which belongs at this offset.
    Piece { of: PieceOf, number: u64, total: usize, offset: usize, part: &'a [u8] },
    /// The query did not run under this number and never will. If the reason may pass, it may be asked again after `wait` tenths of a
    /// second.
    Refuse { number: u64, code: RefuseCode, wait: u16 },
    /// The asker does not wait for it any more.
    Cancel { number: u64 },
    /// These records were opened, and everything in them has taken effect. The newest one came `delay` tenths of a millisecond ago.
    Ack { largest: u64, delay: u16, runs: Runs<'a> },
    /// Say at once what you have opened.
    Ping,
    /// The session ends. All numbers below `base` were taken, and `base + i` if bit `i % 8` of byte `i / 8` is set.
    Break { code: BreakCode, base: u64, taken: &'a [u8; 128] },
}

/// The counters that an ACK names: runs, from the largest counter downwards, each followed by a gap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Runs<'a>(&'a [u8]);

impl<'a> Runs<'a> {
    /// The most runs that an ACK holds.
    pub(crate) const MAX: usize = 32;

    /// The runs in these bytes, each a length and a gap; there is at least one.
    fn parse(largest: u64, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let runs = Self(bytes);
        let mut left = largest.saturating_add(1);
        let mut pairs = runs.pairs().peekable();
        while let Some((length, gap)) = pairs.next() {
            let is_last = pairs.peek().is_none();
            if length == 0 || (gap == 0) != is_last {
                return Err(Malformed);
            }
            left = left
                .checked_sub(u64::from(length))
                .and_then(|left| left.checked_sub(u64::from(gap)))
                .ok_or(Malformed)?;
        }
        Ok(runs)
    }

    fn pairs(self) -> impl Iterator<Item = (u16, u16)> {
        let (pairs, _) = self.0.as_chunks::<RUN>();
        pairs.iter().map(|&[a, b, c, d]| (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// Each run as its lowest and its highest counter, the highest run first.
    pub(crate) fn ranges(self, largest: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut high = largest;
        self.pairs().map(move |(length, gap)| {
            let low = high.saturating_sub(u64::from(length.saturating_sub(1)));
            let range = (low, high);
            high = low.saturating_sub(u64::from(gap)).saturating_sub(1);
            range
        })
    }

    /// Whether it may have left out runs below the last for want of place.
    pub(crate) fn is_full(self) -> bool {
        self.0.len() >= Self::MAX.saturating_mul(RUN)
    }
}

/// The runs of an ACK while they are put together.
#[derive(Clone, Debug)]
pub(crate) struct RunsBuffer {
    bytes: [u8; Runs::MAX * RUN],
    len: usize,
}

impl RunsBuffer {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; Runs::MAX * RUN], len: 0 }
    }

    /// Adds a run below a gap; the first one has no gap above it. Says whether there was room.
    pub(crate) fn push(&mut self, gap: u16, length: u16) -> bool {
        let at = self.len;
        if at >= self.bytes.len() {
            return false;
        }
        if let Some(place) = self.bytes.get_mut(at.saturating_sub(2)..at).filter(|place| !place.is_empty()) {
            place.copy_from_slice(&gap.to_be_bytes());
        }
        if let Some(place) = self.bytes.get_mut(at..at.saturating_add(2)) {
            place.copy_from_slice(&length.to_be_bytes());
            self.len = at.saturating_add(RUN);
        }
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn runs(&self) -> Runs<'_> {
        Runs(self.bytes.get(..self.len).unwrap_or_default())
    }
}

/// Takes the next frame.
pub(crate) fn parse_frame<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    match reader.u8()? {
        QUERY => parse_query(reader),
        REPLY => parse_reply(reader),
        PIECE => parse_piece(reader),
        REFUSE => {
            Ok(Frame::Refuse { number: reader.u64()?, code: RefuseCode::from_byte(reader.u8()?)?, wait: reader.u16()? })
        }
        CANCEL => Ok(Frame::Cancel { number: reader.u64()? }),
        ACK => parse_ack(reader),
        PING => Ok(Frame::Ping),
        BREAK => parse_break(reader),
        _ => Err(Malformed),
    }
}

impl Frame<'_> {
    /// How many bytes [`put`](Self::put) appends.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Query { part, .. } => QUERY_OVERHEAD.saturating_add(part.len()),
            Self::Reply { part, .. } => REPLY_OVERHEAD.saturating_add(part.len()),
            Self::Piece { part, .. } => PIECE_OVERHEAD.saturating_add(part.len()),
            Self::Refuse { .. } => REFUSE_LEN,
            Self::Cancel { .. } => 1 + 8,
            Self::Ack { runs, .. } => (1_usize + 8 + 2 + 1).saturating_add(runs.0.len()),
            Self::Ping => 1,
            Self::Break { .. } => 1 + 1 + 8 + 128,
        }
    }

    /// Appends the frame. What it says must be within the limits that [`parse_frame`] checks.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Query { number, notice, until, total, part } => {
                put_query(out, number, notice, until, total, part.len());
                out.extend_from_slice(part);
            }
            Self::Reply { number, code, total, part } => {
                put_reply(out, number, code, total, part.len());
                out.extend_from_slice(part);
            }
            Self::Piece { of, number, total, offset, part } => {
                put_piece(out, of, number, total, offset, part.len());
                out.extend_from_slice(part);
            }
            Self::Refuse { number, code, wait } => {
                put_start(out, REFUSE, number);
                out.push(code.to_byte());
                out.extend_from_slice(&wait.to_be_bytes());
            }
            Self::Cancel { number } => put_start(out, CANCEL, number),
            Self::Ack { largest, delay, runs } => {
                put_start(out, ACK, largest);
                out.extend_from_slice(&delay.to_be_bytes());
                out.push(u8::try_from(runs.0.len().div_euclid(RUN)).unwrap_or(u8::MAX));
                out.extend_from_slice(runs.0);
            }
            Self::Ping => out.push(PING),
            Self::Break { code, base, taken } => {
                out.extend_from_slice(&[BREAK, code.to_byte()]);
                out.extend_from_slice(&base.to_be_bytes());
                out.extend_from_slice(taken);
            }
        }
    }
}

/// Appends a QUERY up to its part of the message, of which `length` bytes follow.
pub(crate) fn put_query(out: &mut Vec<u8>, number: u64, notice: bool, until: u32, total: usize, length: usize) {
    put_start(out, QUERY, number);
    out.push(if notice { NOTICE } else { 0 });
    out.extend_from_slice(&until.to_be_bytes());
    put_length(out, total);
    put_length(out, length);
}

/// Appends a REPLY up to its part of the message, of which `length` bytes follow.
pub(crate) fn put_reply(out: &mut Vec<u8>, number: u64, code: ReplyCode, total: usize, length: usize) {
    put_start(out, REPLY, number);
    out.push(code.to_byte());
    put_length(out, total);
    put_length(out, length);
}

/// Appends a PIECE up to its part of the message, of which `length` bytes follow.
pub(crate) fn put_piece(out: &mut Vec<u8>, of: PieceOf, number: u64, total: usize, offset: usize, length: usize) {
    out.extend_from_slice(&[PIECE, of.to_byte()]);
    out.extend_from_slice(&number.to_be_bytes());
    put_length(out, total);
    put_length(out, offset);
    put_length(out, length);
}

fn parse_query<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let number = reader.u64()?;
    let notice = match reader.u8()? {
        0 => false,
        NOTICE => true,
        _ => return Err(Malformed),
    };
    let until = reader.u32()?;
    let total = reader.length()?;
    let part = parse_part(reader, 0, total)?;
    Ok(Frame::Query { number, notice, until, total, part })
}

fn parse_reply<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let number = reader.u64()?;
    let code = ReplyCode::from_byte(reader.u8()?)?;
    let total = reader.length()?;
    let part = match code {
        ReplyCode::Forgotten if total == 0 && reader.length()? == 0 => &[],
        ReplyCode::Forgotten => return Err(Malformed),
        ReplyCode::Answer | ReplyCode::Declined | ReplyCode::ReplyTooLong => parse_part(reader, 0, total)?,
    };
    let is_whole = part.len() == total;
    if code != ReplyCode::Answer && !is_whole {
        return Err(Malformed);
    }
    Ok(Frame::Reply { number, code, total, part })
}

fn parse_piece<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let of = PieceOf::from_byte(reader.u8()?)?;
    let number = reader.u64()?;
    let total = reader.length()?;
    let offset = reader.length()?;
    if offset == 0 {
        return Err(Malformed);
    }
    let part = parse_part(reader, offset, total)?;
    Ok(Frame::Piece { of, number, total, offset, part })
}

fn parse_ack<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let (largest, delay, count) = (reader.u64()?, reader.u16()?, usize::from(reader.u8()?));
    if count == 0 || count > Runs::MAX {
        return Err(Malformed);
    }
    let runs = Runs::parse(largest, reader.slice(count.saturating_mul(RUN))?)?;
    Ok(Frame::Ack { largest, delay, runs })
}

fn parse_break<'a>(reader: &mut Reader<'a>) -> Result<Frame<'a>, Malformed> {
    let code = BreakCode::from_byte(reader.u8()?)?;
    let base = reader.u64()?;
    // The last bit must stand for a number too.
    base.checked_add(1023).ok_or(Malformed)?;
    Ok(Frame::Break { code, base, taken: reader.array()? })
}

/// A part of a message of `total` bytes. There is no empty one.
fn parse_part<'a>(reader: &mut Reader<'a>, offset: usize, total: usize) -> Result<&'a [u8], Malformed> {
    let part = match reader.length()? {
        0 => return Err(Malformed),
        length => reader.slice(length)?,
    };
    let end = offset.checked_add(part.len()).ok_or(Malformed)?;
    if total > MAX_MESSAGE || end > total { Err(Malformed) } else { Ok(part) }
}

fn put_start(out: &mut Vec<u8>, frame_type: u8, number: u64) {
    out.push(frame_type);
    out.extend_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Xorshift, mutated};
    use alloc::vec;

    const NUMBER: u64 = 0x0102_0304_0506_0708;
    const ONE_RUN: Runs<'_> = Runs(&[0, 3, 0, 0]);
    const TWO_RUNS: Runs<'_> = Runs(&[0, 1, 0, 2, 0, 4, 0, 0]);

    /// Every frame, each also with what its fields have at their ends.
    fn examples() -> Vec<Frame<'static>> {
        let mut taken = [0; 128];
        (taken[0], taken[127]) = (1, 0x80);
        let taken: &'static [u8; 128] = alloc::boxed::Box::leak(alloc::boxed::Box::new(taken));
        vec![
            Frame::Query { number: NUMBER, notice: false, until: 0x1112_1314, total: 5, part: b"whole" },
            Frame::Query { number: 0, notice: true, until: u32::MAX, total: MAX_MESSAGE, part: b"p" },
            Frame::Reply { number: NUMBER, code: ReplyCode::Answer, total: 6, part: b"part" },
            Frame::Reply { number: 1, code: ReplyCode::Answer, total: MAX_MESSAGE, part: b"x" },
            Frame::Reply { number: 1, code: ReplyCode::Declined, total: 2, part: b"no" },
            Frame::Reply { number: 1, code: ReplyCode::ReplyTooLong, total: 1, part: b"x" },
            Frame::Reply { number: NUMBER, code: ReplyCode::Forgotten, total: 0, part: b"" },
            Frame::Piece { of: PieceOf::Query, number: NUMBER, total: 6, offset: 1, part: b"piece" },
            Frame::Piece {
                of: PieceOf::Reply,
                number: NUMBER,
                total: MAX_MESSAGE,
                offset: MAX_MESSAGE - 1,
                part: b"e",
            },
            Frame::Refuse { number: NUMBER, code: RefuseCode::BusyWithYou, wait: 0x0304 },
            Frame::Refuse { number: 0, code: RefuseCode::BelowWindow, wait: 0 },
            Frame::Cancel { number: NUMBER },
            Frame::Ack { largest: NUMBER, delay: 0x0102, runs: ONE_RUN },
            Frame::Ack { largest: 6, delay: u16::MAX, runs: TWO_RUNS },
            Frame::Ping,
            Frame::Break { code: BreakCode::Memory, base: NUMBER, taken },
            Frame::Break { code: BreakCode::RuleBroken, base: u64::MAX - 1023, taken },
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
        let layouts: [(usize, &[u8]); 9] = [
            (0, b"\x01\x01\x02\x03\x04\x05\x06\x07\x08\x00\x11\x12\x13\x14\0\0\0\x05\0\0\0\x05whole"),
            (2, b"\x02\x01\x02\x03\x04\x05\x06\x07\x08\x00\0\0\0\x06\0\0\0\x04part"),
            (6, b"\x02\x01\x02\x03\x04\x05\x06\x07\x08\x03\0\0\0\0\0\0\0\0"),
            (7, b"\x03\x01\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x06\0\0\0\x01\0\0\0\x05piece"),
            (9, b"\x04\x01\x02\x03\x04\x05\x06\x07\x08\x02\x03\x04"),
            (11, b"\x05\x01\x02\x03\x04\x05\x06\x07\x08"),
            (12, b"\x06\x01\x02\x03\x04\x05\x06\x07\x08\x01\x02\x01\0\x03\0\0"),
            (13, b"\x06\0\0\0\0\0\0\0\x06\xff\xff\x02\0\x01\0\x02\0\x04\0\0"),
            (14, b"\x07"),
        ];
        for (index, layout) in layouts {
            assert_eq!(encode(&examples()[index]), layout, "{:?}", examples()[index]);
        }
        let broken = encode(&examples()[15]);
        assert_eq!(broken[..11], *b"\x08\x01\x01\x02\x03\x04\x05\x06\x07\x08\x01");
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
        for frame_type in (0..=u8::MAX).filter(|byte| !(1..=8).contains(byte)) {
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
            assert_eq!(takes(&[&[REPLY], &number], &[&part]), value <= 2, "reply code {value}");
            assert_eq!(takes(&[&[REPLY], &number], &[&[0; 8]]), value == 3, "reply code {value} without a part");
            assert_eq!(takes(&[&[REFUSE], &number], &[&[0; 2]]), (1..=10).contains(&value), "refuse code {value}");
            assert_eq!(takes(&[&[BREAK]], &[&[0; 136]]), [1, 2, 4].contains(&value), "break code {value}");
            let piece = *b"\0\0\0\x02\0\0\0\x01\0\0\0\x01p";
            assert_eq!(takes(&[&[PIECE]], &[&number, &piece]), value == 1 || value == 2, "piece of {value}");
            let runs: Vec<u8> = (1..=value).flat_map(|run| [0, 1, 0, u8::from(run < value)]).collect();
            let largest = [0, 0, 0, 0, 0, 0, 1, 0];
            assert_eq!(takes(&[&[ACK], &largest, &[0; 2]], &[&runs]), (1..=32).contains(&value), "runs {value}");
        }
    }

    #[test]
    fn a_bitmap_that_reaches_past_the_last_number_is_refused() {
        let broken = Frame::Break { code: BreakCode::Memory, base: u64::MAX - 1022, taken: &[0; 128] };
        assert_eq!(parse_whole(&encode(&broken)), Err(Malformed));
    }

    #[test]
    fn an_empty_part_is_refused() {
        for frame in [
            Frame::Query { number: 0, notice: false, until: 0, total: 1, part: b"" },
            Frame::Reply { number: 0, code: ReplyCode::Answer, total: 1, part: b"" },
            Frame::Reply { number: 0, code: ReplyCode::Declined, total: 0, part: b"" },
            Frame::Piece { of: PieceOf::Query, number: 0, total: 2, offset: 1, part: b"" },
        ] {
            assert_eq!(parse_whole(&encode(&frame)), Err(Malformed), "{frame:?}");
        }
    }

    #[test]
    fn a_part_that_does_not_fit_its_message_is_refused() {
        for total in [0, 1, MAX_MESSAGE + 1, usize::try_from(u32::MAX).unwrap()] {
            let query = Frame::Query { number: 0, notice: false, until: 0, total, part: b"pp" };
            assert_eq!(parse_whole(&encode(&query)), Err(Malformed), "{total}");
            let reply = Frame::Reply { number: 0, code: ReplyCode::Answer, total, part: b"pp" };
            assert_eq!(parse_whole(&encode(&reply)), Err(Malformed), "{total}");
        }
        for offset in [0, MAX_MESSAGE - 1, MAX_MESSAGE, usize::try_from(u32::MAX).unwrap()] {
            let piece = Frame::Piece { of: PieceOf::Query, number: 0, total: MAX_MESSAGE, offset, part: b"pp" };
            assert_eq!(parse_whole(&encode(&piece)), Err(Malformed), "{offset}");
        }
    }

    #[test]
    fn a_refusal_and_what_supersedes_an_answer_come_whole() {
        for code in [ReplyCode::Declined, ReplyCode::ReplyTooLong] {
            let reply = Frame::Reply { number: 0, code, total: 3, part: b"pp" };
            assert_eq!(parse_whole(&encode(&reply)), Err(Malformed));
        }
    }

    #[test]
    fn an_acknowledgement_below_zero_or_with_a_gap_that_is_none_is_refused() {
        let ack = |largest: u64, runs: &[[u8; 4]]| {
            let count = u8::try_from(runs.len()).unwrap();
            parse_whole(&[&[ACK][..], &largest.to_be_bytes(), &[0, 0, count], &runs.concat()].concat()).is_ok()
        };
        assert!(ack(2, &[[0, 3, 0, 0]]));
        assert!(!ack(1, &[[0, 3, 0, 0]]), "it reaches below the first counter");
        assert!(ack(4, &[[0, 1, 0, 2], [0, 2, 0, 0]]));
        assert!(!ack(3, &[[0, 1, 0, 2], [0, 2, 0, 0]]), "it reaches below the first counter");
        assert!(!ack(9, &[[0, 0, 0, 0]]), "an empty run");
        assert!(!ack(9, &[[0, 1, 0, 0], [0, 1, 0, 0]]), "two runs that are one");
        assert!(!ack(9, &[[0, 1, 0, 1]]), "a gap above nothing");
        assert!(ack(u64::MAX, &[[0, 1, 0, 0]]));
    }

    #[test]
    fn the_ranges_of_an_acknowledgement_are_its_runs_from_the_highest_down() {
        let ranges: Vec<(u64, u64)> = TWO_RUNS.ranges(6).collect();
        assert_eq!(ranges, [(6, 6), (0, 3)]);
        assert!(!TWO_RUNS.is_full());
    }

    #[test]
    fn the_buffer_holds_32_runs_and_says_when_it_is_full() {
        let mut buffer = RunsBuffer::new();
        for run in 0..32 {
            assert!(buffer.push(if run == 0 { 0 } else { 2 }, 3), "{run}");
        }
        let before = buffer.clone();
        assert!(!buffer.push(2, 3));
        assert_eq!(buffer.bytes, before.bytes);
        assert!(buffer.runs().is_full());
        assert_eq!(buffer.runs().ranges(1000).nth(31), Some((1000 - 31 * 5 - 2, 1000 - 31 * 5)));
        let ack = encode(&Frame::Ack { largest: 1000, delay: 0, runs: buffer.runs() });
        assert_eq!(ack.len(), MAX_ACK);
        assert!(parse_whole(&ack).is_ok());
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
            bytes[0] %= 9;
            let mut reader = Reader::new(&bytes);
            while let Ok(frame) = parse_frame(&mut reader) {
                assert!(frame.len() <= bytes.len());
            }
        }
    }
}
