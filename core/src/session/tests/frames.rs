//! Frames in words, so that a test can say what it expects.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::frame::{Frame, PieceOf};

/// `QUERY 0`, `REPLY 3 [0..100 of 40000]`, `ACK 7-9 5` and the like; what is whole has no range.
pub(super) fn describe(frame: Frame<'_>) -> String {
    match frame {
        Frame::Query { number, notice, total, part, .. } => {
            let what = if notice { "NOTICE" } else { "QUERY" };
            format!("{what} {number}{}", range(0, part.len(), total))
        }
        Frame::Reply { number, code, total, part } => {
            format!("REPLY {number} {code:?}{}", range(0, part.len(), total))
        }
        Frame::Piece { of: PieceOf::Query, number, total, offset, part } => {
            format!("QUERY {number}{}", range(offset, part.len(), total))
        }
        Frame::Piece { of: PieceOf::Reply, number, total, offset, part } => {
            format!("REPLY {number}{}", range(offset, part.len(), total))
        }
        Frame::Refuse { number, code, .. } => format!("REFUSE {number} {code:?}"),
        Frame::Cancel { number } => format!("CANCEL {number}"),
        Frame::Ack { largest, runs, .. } => {
            let run = |(low, high)| if low == high { format!("{low}") } else { format!("{low}-{high}") };
            format!("ACK {}", runs.ranges(largest).map(run).collect::<Vec<_>>().join(" "))
        }
        Frame::Ping => "PING".into(),
        Frame::Break { code, .. } => format!("BREAK {code:?}"),
    }
}

fn range(from: usize, length: usize, total: usize) -> String {
    if length == total { String::new() } else { format!(" [{from}..{} of {total}]", from + length) }
}
