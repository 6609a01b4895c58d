//! Byte streams between nodes: latency, pieces of any size, full buffers, cuts.

mod pipe;

use std::time::Duration;

use crate::choice::Choice;

pub(crate) use pipe::Pipe;

/// How streams are cut into reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chunks {
    /// One byte at a time.
    Single,
    /// One to sixteen bytes.
    Tiny,
    /// Any number of bytes.
    Any,
    /// As much as there is.
    Whole,
}

impl Chunks {
    pub(crate) fn draw(self, choice: &mut Choice, available: usize) -> usize {
        let most = available as u64;
        let drawn = match self {
            Self::Single => 1,
            Self::Tiny => 1 + choice.below(16),
            Self::Any => 1 + choice.below(most),
            Self::Whole => most,
        };
        usize::try_from(drawn.min(most)).unwrap_or(available)
    }
}

/// What every link of a world is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    /// From one end to the other, at least.
    pub latency: Duration,
    /// At most so much more, drawn for each chunk; the order is kept.
    pub jitter: Duration,
    /// How streams are cut.
    pub chunks: Chunks,
    /// How many bytes are under way in one direction before the writer has to wait.
    pub buffer: usize,
    /// How many bytes a second go through in each direction of each link; `None` is no limit, and less than one is one.
    pub bandwidth: Option<u64>,
}

impl Default for Network {
    /// Ten milliseconds, no jitter, whole chunks, 64 KiB under way, as many bytes a second as there are.
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(10),
            jitter: Duration::ZERO,
            chunks: Chunks::Whole,
            buffer: 64 * 1024,
            bandwidth: None,
        }
    }
}
