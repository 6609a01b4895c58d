//! Frames.

use super::{length_of, put_counted, take, take_counted};

/// A frame (section 10).
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the types and their fields are")]
pub enum Frame {
    Query { number: u64, flags: u8, until: u32, total: u32, part: Vec<u8> },
    Ack { number: u64, echo: u64 },
    Reply { number: u64, code: u8, echo: u64, total: u32, part: Vec<u8> },
    Refuse { number: u64, code: u8, wait: u16 },
    Gone { number: u64, reason: u8 },
    Done { base: u64, bitmap: u64 },
    Ping { token: u64, asked: Vec<[u8; 8]> },
    Pong { token: u64, held: u8 },
    Break { code: u8, base: u64, bitmap: [u8; 128] },
    Piece { of: u8, number: u64, offset: u32, part: Vec<u8> },
    Leave { step: u8 },
    Drained,
}

impl Frame {
    /// A query that is whole in one frame.
    pub fn query(number: u64, until: u32, message: &[u8]) -> Self {
        Self::Query { number, flags: 0, until, total: length_of(message), part: message.to_vec() }
    }

    /// A reply that is whole in one frame.
    pub fn reply(number: u64, code: u8, echo: u64, message: &[u8]) -> Self {
        Self::Reply { number, code, echo, total: length_of(message), part: message.to_vec() }
    }

    /// Its bytes.
    ///
    /// # Panics
    ///
    /// If a PING asks about more than 255 sessions.
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
            Self::Ack { number, echo } => {
                out.push(3);
                out.extend(number.to_be_bytes());
                out.extend(echo.to_be_bytes());
            }
            Self::Reply { number, code, echo, total, part } => {
                out.push(4);
                out.extend(number.to_be_bytes());
                out.push(*code);
                out.extend(echo.to_be_bytes());
                out.extend(total.to_be_bytes());
                put_counted(&mut out, part);
            }
            Self::Refuse { number, code, wait } => {
                out.push(5);
                out.extend(number.to_be_bytes());
                out.push(*code);
                out.extend(wait.to_be_bytes());
            }
            Self::Gone { number, reason } => {
                out.push(6);
                out.extend(number.to_be_bytes());
                out.push(*reason);
            }
            Self::Done { base, bitmap } => {
                out.push(7);
                out.extend(base.to_be_bytes());
                out.extend(bitmap.to_be_bytes());
            }
            Self::Ping { token, asked } => {
                out.push(8);
                out.extend(token.to_be_bytes());
                out.push(u8::try_from(asked.len()).expect("a PING asks about two sessions at most"));
                out.extend(asked.concat());
            }
            Self::Pong { token, held } => {
                out.push(9);
                out.extend(token.to_be_bytes());
                out.push(*held);
            }
            Self::Break { code, base, bitmap } => {
                out.extend([10, *code]);
                out.extend(base.to_be_bytes());
                out.extend(bitmap);
            }
            Self::Piece { of, number, offset, part } => {
                out.extend([11, *of]);
                out.extend(number.to_be_bytes());
                out.extend(offset.to_be_bytes());
                put_counted(&mut out, part);
            }
            Self::Leave { step } => out.extend([12, *step]),
            Self::Drained => out.push(13),
        }
        out
    }

    /// All frames of a record; nothing if it ends within one or has one of an unknown type.
    pub fn parse_all(mut plaintext: &[u8]) -> Option<Vec<Self>> {
        let mut frames = Vec::new();
        while !plaintext.is_empty() {
            frames.push(Self::parse(&mut plaintext)?);
        }
        Some(frames)
    }

    fn parse(bytes: &mut &[u8]) -> Option<Self> {
        let [frame_type] = take(bytes)?;
        Some(match frame_type {
            1 => Self::Query {
                number: take_u64(bytes)?,
                flags: take_u8(bytes)?,
                until: take_u32(bytes)?,
                total: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            3 => Self::Ack { number: take_u64(bytes)?, echo: take_u64(bytes)? },
            4 => Self::Reply {
                number: take_u64(bytes)?,
                code: take_u8(bytes)?,
                echo: take_u64(bytes)?,
                total: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            5 => {
                Self::Refuse { number: take_u64(bytes)?, code: take_u8(bytes)?, wait: u16::from_be_bytes(take(bytes)?) }
            }
            6 => Self::Gone { number: take_u64(bytes)?, reason: take_u8(bytes)? },
            7 => Self::Done { base: take_u64(bytes)?, bitmap: take_u64(bytes)? },
            8 => {
                let token = take_u64(bytes)?;
                let count = take_u8(bytes)?;
                Self::Ping { token, asked: (0..count).map(|_| take(bytes)).collect::<Option<_>>()? }
            }
            9 => Self::Pong { token: take_u64(bytes)?, held: take_u8(bytes)? },
            10 => Self::Break { code: take_u8(bytes)?, base: take_u64(bytes)?, bitmap: take(bytes)? },
            11 => Self::Piece {
                of: take_u8(bytes)?,
                number: take_u64(bytes)?,
                offset: take_u32(bytes)?,
                part: take_counted(bytes)?.to_vec(),
            },
            12 => Self::Leave { step: take_u8(bytes)? },
            13 => Self::Drained,
            _ => return None,
        })
    }
}

fn take_u8(bytes: &mut &[u8]) -> Option<u8> {
    take(bytes).map(u8::from_be_bytes)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_be_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes).map(u64::from_be_bytes)
}
