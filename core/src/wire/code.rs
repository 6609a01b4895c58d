//! The numbers that frames use for reasons and kinds.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use super::reader::Malformed;
use crate::query::PeerRefusal;

/// Why a query did not run under its number and never will.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum RefuseCode {
    UnknownType,
    BusyWithYou,
    Busy,
    NoMemory,
    ShuttingDown,
    NotWelcome,
    Malformed,
    TooLate,
    /// It was cancelled, or refused for a reason that is forgotten.
    RefusedBefore,
    /// Its number is so low that nothing is remembered of it.
    BelowWindow,
}

/// What became of a query that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyCode {
    Answer,
    /// Its handler said no.
    Declined,
    /// Its answer does not fit, or the recipient has no memory for it.
    ReplyTooLong,
    /// It was taken, and what became of it is forgotten.
    Forgotten,
}

/// Why a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BreakCode {
    Memory,
    ShuttingDown,
    RuleBroken,
}

/// Which message a part belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum PieceOf {
    Query,
    Reply,
}

impl RefuseCode {
    const ALL: [Self; 10] = [
        Self::UnknownType,
        Self::BusyWithYou,
        Self::Busy,
        Self::NoMemory,
        Self::ShuttingDown,
        Self::NotWelcome,
        Self::Malformed,
        Self::TooLate,
        Self::RefusedBefore,
        Self::BelowWindow,
    ];

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
            PeerRefusal::Cancelled => Some(Self::RefusedBefore),
            PeerRefusal::Declined | PeerRefusal::ReplyTooLong => None,
        }
    }

    /// What it says to whoever asked; `None` if it leaves open whether the query has run.
    pub(crate) fn refusal(self) -> Option<PeerRefusal> {
        match self {
            Self::UnknownType => Some(PeerRefusal::UnknownType),
            Self::BusyWithYou => Some(PeerRefusal::BusyWithYou),
            Self::Busy => Some(PeerRefusal::Busy),
            Self::NoMemory => Some(PeerRefusal::NoMemory),
            Self::ShuttingDown => Some(PeerRefusal::ShuttingDown),
            Self::NotWelcome => Some(PeerRefusal::NotWelcome),
            Self::Malformed => Some(PeerRefusal::Malformed),
            Self::TooLate => Some(PeerRefusal::TooLate),
            Self::RefusedBefore => Some(PeerRefusal::Cancelled),
            Self::BelowWindow => None,
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
            Self::RefusedBefore => 9,
            Self::BelowWindow => 10,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        Self::ALL.into_iter().find(|code| code.to_byte() == byte).ok_or(Malformed)
    }
}

impl ReplyCode {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Answer => 0,
            Self::Declined => 1,
            Self::ReplyTooLong => 2,
            Self::Forgotten => 3,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Answer),
            1 => Ok(Self::Declined),
            2 => Ok(Self::ReplyTooLong),
            3 => Ok(Self::Forgotten),
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
            Self::Reply => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            1 => Ok(Self::Query),
            2 => Ok(Self::Reply),
            _ => Err(Malformed),
        }
    }
}
