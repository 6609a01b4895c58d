//! Frames.

use super::{length_of, put_counted, take, take_counted};

/// A frame (section 10).
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the types and their fields are")]
pub enum Frame {
    Query { number: u64, flags: u8, until: u32, total: u32, part: Vec<u8> },
    Reply { number: u64, code: u8, total: u32, part: Vec<u8> },
    Piece { of: u8, number: u64, total: u32, offset: u32, part: Vec<u8> },
    Refuse { number: u64, code: u8, wait: u16 },
    Cancel { number: u64 },
    Ack { largest: u64, delay: u16, runs: Vec<Run> },
    Ping,
    Break { code: u8, base: u64, bitmap: [u8; 128] },
}

/// So many counters downwards that an ACK names, and so many below them that it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the fields are")]
pub struct Run {
    pub length: u16,
    pub gap: u16,
}

/// The longest message there is.
pub const MAX_MESSAGE: u32 = 4_000_131;
/// As many runs as an ACK may have.
pub const MAX_RUNS: usize = 32;
/// The flag of a QUERY that brings a notice.
pub const NOTICE: u8 = 1;
/// What a PIECE is a part of.
pub const OF_QUERY: u8 = 1;
/// What a PIECE is a part of.
pub const OF_REPLY: u8 = 2;

impl Frame {
    /// A query that is whole in one frame.
    pub fn query(number: u64, until: u32, message: &[u8]) -> Self {
        Self::Query { number, flags: 0, until, total: length_of(message), part: message.to_vec() }
    }

    /// A notice that is whole in one frame.
    pub fn notice(number: u64, until: u32, message: &[u8]) -> Self {
        Self::Query { number, flags: NOTICE, until, total: length_of(message), part: message.to_vec() }
    }

    /// A reply that is whole in one frame.
    pub fn reply(number: u64, code: u8, message: &[u8]) -> Self {
        Self::Reply { number, code, total: length_of(message), part: message.to_vec() }
    }

    /// The part of a message that lies there, as a PIECE.
    ///
    /// # Panics
    ///
    /// If the message has no such place.
    pub fn piece(of: u8, number: u64, message: &[u8], place: std::ops::Range<usize>) -> Self {
        let offset = length_of(&message[..place.start]);
        Self::Piece { of, number, total: length_of(message), offset, part: message[place].to_vec() }
    }

    /// A query in parts of this size, in their order.
    ///
    /// # Panics
    ///
    /// If the size is 0.
    pub fn query_in_parts(number: u64, until: u32, message: &[u8], size: usize) -> Vec<Self> {
        let first = message[..size.min(message.len())].to_vec();
        let first = Self::Query { number, flags: 0, until, total: length_of(message), part: first };
        [first].into_iter().chain(Self::rest(OF_QUERY, number, message, size)).collect()
    }

    /// A reply in parts of this size, in their order.
    ///
    /// # Panics
    ///
    /// If the size is 0.
    pub fn reply_in_parts(number: u64, message: &[u8], size: usize) -> Vec<Self> {
        let first = message[..size.min(message.len())].to_vec();
        let first = Self::Reply { number, code: 0, total: length_of(message), part: first };
        [first].into_iter().chain(Self::rest(OF_REPLY, number, message, size)).collect()
    }

    fn rest(of: u8, number: u64, message: &[u8], size: usize) -> impl Iterator<Item = Self> {
        let places = (size..message.len()).step_by(size);
        places.map(move |from| Self::piece(of, number, message, from..message.len().min(from + size)))
    }

    /// Whether a record that holds it asks for an acknowledgement.
    pub fn asks_for_ack(&self) -> bool {
        !matches!(self, Self::Ack { .. } | Self::Break { .. })
    }

    /// Its bytes.
    ///
    /// # Panics
    ///
    /// If an ACK has more than 255 runs.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Query { number, flags, until, total, part } => {
                out.push(1);
                out.extend(number.to_be_bytes());
                out.push(*flags);
                out.extend(until.to_be_bytes());
                out.extend(total.to_be_bytes());
                put_counted(&mut out, part);
            }
            Self::Reply { number, code, total, part } => {
                out.push(2);
                out.extend(number.to_be_bytes());
                out.push(*code);
                out.extend(total.to_be_bytes());
                put_counted(&mut out, part);
            }
            Self::Piece { of, number, total, offset, part } => {
                out.extend([3, *of]);
                out.extend(number.to_be_bytes());
                out.extend(total.to_be_bytes());
                out.extend(offset.to_be_bytes());
                put_counted(&mut out, part);
            }
            Self::Refuse { number, code, wait } => {
                out.push(4);
                out.extend(number.to_be_bytes());
                out.push(*code);
                out.extend(wait.to_be_bytes());
            }
            Self::Cancel { number } => {
                out.push(5);
                out.extend(number.to_be_bytes());
            }
            Self::Ack { largest, delay, runs } => {
                out.push(6);
                out.extend(largest.to_be_bytes());
                out.extend(delay.to_be_bytes());
                out.push(u8::try_from(runs.len()).expect("an ACK has 32 runs at most"));
                for Run { length, gap } in runs {
                    out.extend(length.to_be_bytes());
                    out.extend(gap.to_be_bytes());
                }
            }
            Self::Ping => out.push(7),
            Self::Break { code, base, bitmap } => {
                out.extend([8, *code]);
                out.extend(base.to_be_bytes());
                out.extend(bitmap);
            }
        }
        out
    }

    /// The bytes of all frames of a record.
    pub fn encode_all(frames: &[Self]) -> Vec<u8> {
        frames.iter().flat_map(Self::encode).collect()
    }

    /// All frames of a record; nothing if one of them is malformed or of an unknown type. What follows a BREAK is not read.
    pub fn parse_all(mut plaintext: &[u8]) -> Option<Vec<Self>> {
        let mut frames = Vec::new();
        while !plaintext.is_empty() {
            let frame = Self::parse(&mut plaintext)?;
            let is_last = matches!(frame, Self::Break { .. });
            frames.push(frame);
            if is_last {
                break;
            }
        }
        Some(frames)
    }

    fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [frame_type] = take(bytes)?;
        let frame = match frame_type {
            1 => Self::Query {
                number: take_u64(bytes)?,
                flags: take_u8(bytes)?,
                until: take_u32(bytes)?,
                total: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            2 => Self::Reply {
                number: take_u64(bytes)?,
                code: take_u8(bytes)?,
                total: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            3 => Self::Piece {
                of: take_u8(bytes)?,
                number: take_u64(bytes)?,
                total: take_u32(bytes)?,
                offset: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            4 => Self::Refuse { number: take_u64(bytes)?, code: take_u8(bytes)?, wait: take_u16(bytes)? },
            5 => Self::Cancel { number: take_u64(bytes)? },
            6 => {
                let (largest, delay, count) = (take_u64(bytes)?, take_u16(bytes)?, take_u8(bytes)?);
                let runs = (0..count).map(|_| Some(Run { length: take_u16(bytes)?, gap: take_u16(bytes)? }));
                Self::Ack { largest, delay, runs: runs.collect::<Option<_>>()? }
            }
            7 => Self::Ping,
            8 => Self::Break { code: take_u8(bytes)?, base: take_u64(bytes)?, bitmap: take(bytes)? },
            _ => return None,
        };
        frame.is_in_range().then_some(frame)
    }

    /// Whether each field has a value that means something.
    fn is_in_range(&self) -> bool {
        match self {
            Self::Query { flags, total, part, .. } => *flags <= NOTICE && begins(*total, part),
            Self::Reply { code: 0, total, part, .. } => begins(*total, part),
            Self::Reply { code: 1 | 2, total, part, .. } => begins(*total, part) && length_of(part) == *total,
            Self::Reply { code, total, part, .. } => *code == 3 && *total == 0 && part.is_empty(),
            Self::Piece { of, total, offset, part, .. } => {
                let end = u64::from(*offset) + u64::from(length_of(part));
                let fits = *offset >= 1 && !part.is_empty() && end <= u64::from(*total) && *total <= MAX_MESSAGE;
                matches!(*of, OF_QUERY | OF_REPLY) && fits
            }
            Self::Refuse { code, .. } => (1..=10).contains(code),
            Self::Ack { largest, runs, .. } => super::ack::named(*largest, runs).is_some(),
            Self::Break { code, base, .. } => matches!(code, 1 | 2 | 4) && base.checked_add(1023).is_some(),
            Self::Cancel { .. } | Self::Ping => true,
        }
    }
}

/// Whether this can be the first part of a message of so many bytes.
fn begins(total: u32, part: &[u8]) -> bool {
    !part.is_empty() && length_of(part) <= total && total <= MAX_MESSAGE
}

fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    take(bytes).map(u8::from_be_bytes)
}

fn take_u16(bytes: &mut &[u8]) -> Option<u16> {
    take(bytes).map(u16::from_be_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_be_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITMAP: [u8; 128] = [0xA5; 128];

    /// Frames of each type, each with its least and greatest values.
    fn examples() -> Vec<Frame> {
        let part = || vec![1, 2, 3];
        let run = |length, gap| Run { length, gap };
        vec![
            Frame::Query { number: 0, flags: 0, until: 0, total: 3, part: part() },
            Frame::Query { number: u64::MAX, flags: 1, until: u32::MAX, total: MAX_MESSAGE, part: part() },
            Frame::Reply { number: 0, code: 0, total: 3, part: part() },
            Frame::Reply { number: 7, code: 0, total: MAX_MESSAGE, part: part() },
            Frame::Reply { number: u64::MAX, code: 1, total: 3, part: part() },
            Frame::Reply { number: 1, code: 2, total: 3, part: part() },
            Frame::Reply { number: 1, code: 3, total: 0, part: Vec::new() },
            Frame::Piece { of: 1, number: 9, total: 4, offset: 1, part: part() },
            Frame::Piece { of: 2, number: 9, total: MAX_MESSAGE, offset: MAX_MESSAGE - 3, part: part() },
            Frame::Refuse { number: 258, code: 1, wait: 0 },
            Frame::Refuse { number: 258, code: 10, wait: u16::MAX },
            Frame::Cancel { number: 258 },
            Frame::Ack { largest: 0, delay: 0, runs: vec![run(1, 0)] },
            Frame::Ack { largest: u64::MAX, delay: u16::MAX, runs: vec![run(u16::MAX, u16::MAX), run(2, 0)] },
            Frame::Ack { largest: 12, delay: 5, runs: vec![run(3, 2), run(1, 3), run(1, 0)] },
            Frame::Ack { largest: 62, delay: 5, runs: [vec![run(1, 1); 31], vec![run(1, 0)]].concat() },
            Frame::Ping,
            Frame::Break { code: 1, base: 0, bitmap: BITMAP },
            Frame::Break { code: 2, base: 1, bitmap: BITMAP },
            Frame::Break { code: 4, base: u64::MAX - 1023, bitmap: BITMAP },
        ]
    }

    #[test]
    fn each_frame_is_read_as_it_was_written() {
        for frame in examples() {
            assert_eq!(Frame::parse_all(&frame.encode()), Some(vec![frame]));
        }
        // The last one is a BREAK, so that every other is read.
        assert_eq!(Frame::parse_all(&Frame::encode_all(&examples()[..18])), Some(examples()[..18].to_vec()));
    }

    #[test]
    fn each_type_has_its_byte_and_its_size() {
        let sizes = [(1, 25), (1, 25), (2, 21), (2, 21), (2, 21), (2, 21), (2, 18), (3, 25), (3, 25), (4, 12), (4, 12)];
        let sizes = sizes.into_iter().chain([(5, 9), (6, 16), (6, 20), (6, 24), (6, 140), (7, 1)]);
        for (frame, (frame_type, size)) in examples().iter().zip(sizes.chain([(8, 138); 3])) {
            let bytes = frame.encode();
            assert_eq!((bytes[0], bytes.len()), (frame_type, size), "{frame:?}");
        }
    }

    #[test]
    fn what_is_cut_short_is_no_frame() {
        for frame in examples() {
            let bytes = frame.encode();
            for length in 1..bytes.len() {
                assert_eq!(Frame::parse_all(&bytes[..length]), None, "{length} bytes of {frame:?}");
            }
        }
        assert_eq!(Frame::parse_all(&[]), Some(Vec::new()));
    }

    #[test]
    fn there_are_eight_types() {
        for frame_type in (0..=u8::MAX).filter(|frame_type| !(1..=8).contains(frame_type)) {
            assert_eq!(Frame::parse_all(&[&[frame_type][..], &[0; 200]].concat()), None, "{frame_type}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        let part = || vec![1, 2, 3];
        let query = |flags, total, part| Frame::Query { number: 0, flags, until: 1, total, part };
        let reply = |code, total, part| Frame::Reply { number: 0, code, total, part };
        let piece = |of, total, offset, part| Frame::Piece { of, number: 0, total, offset, part };
        let outside = [
            query(2, 3, part()),
            query(0x80, 3, part()),
            query(0, 3, Vec::new()),
            query(0, 0, Vec::new()),
            query(0, 2, part()),
            query(0, MAX_MESSAGE + 1, part()),
            reply(0, 3, Vec::new()),
            reply(0, 0, Vec::new()),
            reply(0, 2, part()),
            reply(0, MAX_MESSAGE + 1, part()),
            reply(1, 0, Vec::new()),
            reply(1, 4, part()),
            reply(2, 0, Vec::new()),
            reply(2, 4, part()),
            reply(3, 3, part()),
            reply(3, 3, Vec::new()),
            reply(4, 3, part()),
            reply(u8::MAX, 0, Vec::new()),
            piece(0, 9, 1, part()),
            piece(3, 9, 1, part()),
            piece(4, 9, 1, part()),
            piece(1, 9, 0, part()),
            piece(1, 9, 1, Vec::new()),
            piece(1, 9, 7, part()),
            piece(2, MAX_MESSAGE + 1, 7, part()),
            piece(2, MAX_MESSAGE, u32::MAX, part()),
            Frame::Refuse { number: 0, code: 0, wait: 0 },
            Frame::Refuse { number: 0, code: 11, wait: 0 },
            Frame::Break { code: 0, base: 0, bitmap: BITMAP },
            Frame::Break { code: 3, base: 0, bitmap: BITMAP },
            Frame::Break { code: 5, base: 0, bitmap: BITMAP },
            Frame::Break { code: 1, base: u64::MAX - 1022, bitmap: BITMAP },
        ];
        for frame in outside {
            assert_eq!(Frame::parse_all(&frame.encode()), None, "{frame:?}");
        }
    }

    #[test]
    fn runs_out_of_range_are_refused() {
        let run = |length, gap| Run { length, gap };
        let outside = [
            (12, vec![]),
            (12, vec![run(0, 0)]),
            (12, vec![run(1, 1)]),
            (12, vec![run(1, 0), run(1, 0)]),
            (12, vec![run(1, 1), run(0, 0)]),
            (12, vec![run(14, 0)]),
            (12, vec![run(12, 1), run(1, 0)]),
            (12, vec![run(1, 11), run(2, 0)]),
            (12, vec![run(1, u16::MAX), run(1, 0)]),
            (u64::MAX, [vec![run(1, 1); 32], vec![run(1, 0)]].concat()),
        ];
        for (largest, runs) in outside {
            let frame = Frame::Ack { largest, delay: 0, runs };
            assert_eq!(Frame::parse_all(&frame.encode()), None, "{frame:?}");
        }
        let lowest = Frame::Ack { largest: 12, delay: 0, runs: vec![run(1, 10), run(2, 0)] };
        assert_eq!(Frame::parse_all(&lowest.encode()), Some(vec![lowest]));
    }

    #[test]
    fn what_follows_a_break_is_not_read() {
        let end = Frame::Break { code: 1, base: 0, bitmap: BITMAP };
        let bytes = [Frame::Ping.encode(), end.encode(), vec![0]].concat();
        assert_eq!(Frame::parse_all(&bytes), Some(vec![Frame::Ping, end]));
    }

    #[test]
    fn a_message_is_cut_into_parts_of_any_size() {
        let message: Vec<u8> = (0..10).collect();
        let parts = Frame::query_in_parts(3, 9, &message, 4);
        let piece = |of, offset, part: &[u8]| Frame::Piece { of, number: 3, total: 10, offset, part: part.to_vec() };
        let first = Frame::Query { number: 3, flags: 0, until: 9, total: 10, part: vec![0, 1, 2, 3] };
        assert_eq!(parts, [first, piece(1, 4, &[4, 5, 6, 7]), piece(1, 8, &[8, 9])]);
        let first = Frame::Reply { number: 3, code: 0, total: 10, part: (0..9).collect() };
        assert_eq!(Frame::reply_in_parts(3, &message, 9), [first, piece(2, 9, &[9])]);
        assert_eq!(Frame::query_in_parts(3, 9, &message, 10), [Frame::query(3, 9, &message)]);
        assert_eq!(Frame::reply_in_parts(3, &message, 99), [Frame::reply(3, 0, &message)]);
    }

    #[test]
    fn all_but_two_frames_ask_for_an_acknowledgement() {
        let silent = examples().into_iter().filter(|frame| !frame.asks_for_ack());
        assert!(silent.map(|frame| frame.encode()[0]).eq([6, 6, 6, 6, 8, 8, 8]));
    }
}
