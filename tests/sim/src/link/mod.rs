//! Byte streams between nodes: latency, pieces of any size, full buffers, cuts.

use std::collections::VecDeque;
use std::time::Duration;

use egtp::Instant;

use crate::choice::Choice;

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
}

impl Default for Network {
    /// Ten milliseconds, no jitter, whole chunks, 64 KiB.
    fn default() -> Self {
        Self { latency: Duration::from_millis(10), jitter: Duration::ZERO, chunks: Chunks::Whole, buffer: 64 * 1024 }
    }
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    chunks: VecDeque<(Instant, Vec<u8>)>,
    under_way: usize,
    latest: Instant,
    /// The end of the stream, behind everything.
    pub(crate) end: Option<Instant>,
    /// What has arrived is kept from the reader: the wire is cut, or the reader is not allowed to notice.
    pub(crate) silent: bool,
}

impl Pipe {
    pub(crate) fn room(&self, network: &Network) -> usize {
        network.buffer.saturating_sub(self.under_way)
    }

    pub(crate) fn push(&mut self, now: Instant, network: &Network, choice: &mut Choice, bytes: &[u8]) {
        self.latest = self.latest.max(arrival(now, network, choice));
        self.under_way += bytes.len();
        self.chunks.push_back((self.latest, bytes.to_vec()));
    }

    pub(crate) fn finish(&mut self, now: Instant, network: &Network, choice: &mut Choice) {
        self.latest = self.latest.max(arrival(now, network, choice));
        self.end = Some(self.latest);
    }

    /// When the reader has something next.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        if self.silent {
            return None;
        }
        self.chunks.front().map(|&(at, _)| at).or(self.end)
    }

    /// Takes up to `most` bytes that have arrived.
    pub(crate) fn take(&mut self, now: Instant, most: usize) -> Option<Vec<u8>> {
        let (at, chunk) = self.chunks.front_mut()?;
        if *at > now || most == 0 || self.silent {
            return None;
        }
        let rest = chunk.split_off(most.min(chunk.len()));
        let taken = std::mem::replace(chunk, rest);
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.under_way -= taken.len();
        Some(taken)
    }

    /// Whether the reader sees the end of the stream now.
    pub(crate) fn has_ended(&self, now: Instant) -> bool {
        !self.silent && self.chunks.is_empty() && self.end.is_some_and(|end| end <= now)
    }
}

fn arrival(now: Instant, network: &Network, choice: &mut Choice) -> Instant {
    let jitter = u64::try_from(network.jitter.as_micros()).unwrap_or(u64::MAX);
    now + network.latency + Duration::from_micros(choice.below(jitter.saturating_add(1)))
}
