//! The numbers that frames use for reasons and kinds.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use super::reader::Malformed;
use crate::query::PeerRefusal;

/// Why a query did not run and never will.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RefuseCode {
    UnknownType,
    BusyWithYou,
    Busy,
    NoMemory,
    ShuttingDown,
    NotWelcome,
    Malformed,
    TooLate,
    Cancelled,
}

/// What a handler made of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyCode {
    Answer,
    Declined,
    ReplyTooLong,
}

/// Why the answer to a query cannot be told any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GoneReason {
    BelowWindow,
    Expired,
    Released,
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakCode {
    Memory,
    ShuttingDown,
    RuleBroken,
}

/// The message that a PIECE continues, by the type of the frame that began it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PieceOf {
    Query,
    Reply,
}

/// The two steps of parting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LeaveStep {
    Proposal,
    Answer,
}

impl From<RefuseCode> for PeerRefusal {
    fn from(code: RefuseCode) -> Self {
        match code {
            RefuseCode::UnknownType => Self::UnknownType,
            RefuseCode::BusyWithYou => Self::BusyWithYou,
            RefuseCode::Busy => Self::Busy,
            RefuseCode::NoMemory => Self::NoMemory,
            RefuseCode::ShuttingDown => Self::ShuttingDown,
            RefuseCode::NotWelcome => Self::NotWelcome,
            RefuseCode::Malformed => Self::Malformed,
            RefuseCode::TooLate => Self::TooLate,
            RefuseCode::Cancelled => Self::Cancelled,
        }
    }
}

impl RefuseCode {
    /// The code that says this, unless a reply says it: then the handler has run.
    pub(crate) fn of(refusal: PeerRefusal) -> Option<Self> {
        match refusal {
            PeerRefusal::UnknownType => Some(Self::UnknownType),
            PeerRefusal::BusyWithYou => Some(Self::BusyWithYou),
            PeerRefusal::Busy => Some(Self::Busy),
            PeerRefusal::NoMemory => Some(Self::NoMemory),
            PeerRefusal::ShuttingDown => Some(Self::ShuttingDown),
            PeerRefusal::NotWelcome => Some(Self::NotWelcome),
            PeerRefusal::Malformed => Some(Self::Malformed),
            PeerRefusal::TooLate => Some(Self::TooLate),
            PeerRefusal::Cancelled => Some(Self::Cancelled),
            PeerRefusal::Declined | PeerRefusal::ReplyTooLong => None,
        }
    }

    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::UnknownType => 1,
            Self::BusyWithYou => 2,
            Self::Busy => 3,
            Self::NoMemory => 4,
            Self::ShuttingDown => 5,
            Self::NotWelcome => 6,
            Self::Malformed => 7,
            Self::TooLate => 8,
            Self::Cancelled => 9,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::UnknownType),
            2 => Ok(Self::BusyWithYou),
            3 => Ok(Self::Busy),
            4 => Ok(Self::NoMemory),
            5 => Ok(Self::ShuttingDown),
            6 => Ok(Self::NotWelcome),
            7 => Ok(Self::Malformed),
            8 => Ok(Self::TooLate),
            9 => Ok(Self::Cancelled),
            _ => Err(Malformed),
        }
    }
}

impl ReplyCode {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Answer => 0,
            Self::Declined => 1,
            Self::ReplyTooLong => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Answer),
            1 => Ok(Self::Declined),
            2 => Ok(Self::ReplyTooLong),
            _ => Err(Malformed),
        }
    }
}

impl GoneReason {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::BelowWindow => 1,
            Self::Expired => 2,
            Self::Released => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::BelowWindow),
            2 => Ok(Self::Expired),
            3 => Ok(Self::Released),
            _ => Err(Malformed),
        }
    }
}

impl BreakCode {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::ShuttingDown => 2,
            Self::RuleBroken => 4,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::Memory),
            2 => Ok(Self::ShuttingDown),
            4 => Ok(Self::RuleBroken),
            _ => Err(Malformed),
        }
    }
}

impl PieceOf {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Query => 1,
            Self::Reply => 4,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::Query),
            4 => Ok(Self::Reply),
            _ => Err(Malformed),
        }
    }
}

impl LeaveStep {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Proposal => 0,
            Self::Answer => 1,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Proposal),
            1 => Ok(Self::Answer),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// The bytes that are a code; each must stand for itself.
    fn accepted<C: Copy>(parse: fn(u8) -> Result<C, Malformed>, byte_of: fn(C) -> u8) -> Vec<u8> {
        let codes = (0..=u8::MAX).filter_map(|byte| Some((byte, parse(byte).ok()?)));
        codes.inspect(|&(byte, code)| assert_eq!(byte_of(code), byte)).map(|(byte, _)| byte).collect()
    }

    #[test]
    fn exactly_the_specified_bytes_are_codes_and_each_is_its_own() {
        assert_eq!(accepted(RefuseCode::from_byte, RefuseCode::to_byte), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(accepted(ReplyCode::from_byte, ReplyCode::to_byte), [0, 1, 2]);
        assert_eq!(accepted(GoneReason::from_byte, GoneReason::to_byte), [1, 2, 3]);
        assert_eq!(accepted(BreakCode::from_byte, BreakCode::to_byte), [1, 2, 4]);
        assert_eq!(accepted(PieceOf::from_byte, PieceOf::to_byte), [1, 4]);
        assert_eq!(accepted(LeaveStep::from_byte, LeaveStep::to_byte), [0, 1]);
    }

    #[test]
    fn a_refuse_code_and_what_the_application_is_told_say_the_same() {
        let told = [
            PeerRefusal::UnknownType,
            PeerRefusal::BusyWithYou,
            PeerRefusal::Busy,
            PeerRefusal::NoMemory,
            PeerRefusal::ShuttingDown,
            PeerRefusal::NotWelcome,
            PeerRefusal::Malformed,
            PeerRefusal::TooLate,
            PeerRefusal::Cancelled,
        ];
        for (byte, refusal) in (1..).zip(told) {
            let code = RefuseCode::from_byte(byte).unwrap();
            assert_eq!(PeerRefusal::from(code), refusal);
            assert_eq!(RefuseCode::of(refusal), Some(code));
        }
    }

    #[test]
    fn what_only_a_reply_can_say_has_no_refuse_code() {
        assert_eq!(RefuseCode::of(PeerRefusal::Declined), None);
        assert_eq!(RefuseCode::of(PeerRefusal::ReplyTooLong), None);
    }
}
