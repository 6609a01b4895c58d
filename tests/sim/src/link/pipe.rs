//! One direction of a stream.

use std::collections::VecDeque;
use std::time::Duration;

use egtp::{Ending, Instant};

use super::Network;
use crate::choice::Choice;

/// What a slow link sends is cut into so many bytes, as a network does, so that a long piece arrives little by little.
const SEGMENT: usize = 1460;

/// Bytes on their way to a reader, and the end of the stream behind them.
///
/// It draws from a source of its own, so that what happens on one link changes nothing on another.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) choice: Choice,
    bytes: VecDeque<u8>,
    /// How many of the bytes arrive when.
    arrivals: VecDeque<(Instant, usize)>,
    /// Nothing overtakes what arrives at this instant.
    latest: Instant,
    /// The link sends what was written until then.
    busy_until: Instant,
    end: Option<(Instant, Ending)>,
    /// Whether its reader waits for bytes.
    pub(crate) reading: bool,
}

impl Pipe {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            choice: Choice::from_seed(seed),
            bytes: VecDeque::new(),
            arrivals: VecDeque::new(),
            latest: Instant::ZERO,
            busy_until: Instant::ZERO,
            end: None,
            reading: false,
        }
    }

    /// How many bytes the writer may add now.
    pub(crate) fn room(&self, network: &Network) -> usize {
        if self.end.is_some() { 0 } else { network.buffer.saturating_sub(self.bytes.len()) }
    }

    /// How many of so many bytes one call writes.
    pub(crate) fn draw(&mut self, network: &Network, most: usize) -> usize {
        network.chunks.draw(&mut self.choice, most)
    }

    pub(crate) fn push(&mut self, now: Instant, network: &Network, bytes: &[u8]) {
        let segment = if network.bandwidth.is_some() { SEGMENT } else { bytes.len() };
        for part in bytes.chunks(segment.max(1)) {
            let at = self.arrival(now, network, part.len());
            match self.arrivals.back_mut() {
                Some((last, count)) if *last == at => *count += part.len(),
                _ => self.arrivals.push_back((at, part.len())),
            }
        }
        self.bytes.extend(bytes);
    }

    /// The stream ends behind what is under way.
    pub(crate) fn finish(&mut self, now: Instant, network: &Network, ending: Ending) {
        if self.end.is_none() {
            self.end = Some((self.arrival(now, network, 0), ending));
        }
    }

    /// What is under way is lost, and the stream ends.
    pub(crate) fn break_off(&mut self, now: Instant, network: &Network) {
        self.bytes.clear();
        self.arrivals.clear();
        (self.latest, self.busy_until, self.end) = (now, now, None);
        self.finish(now, network, Ending::Broken);
    }

    /// When the reader has something next, be it the end.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.arrivals.front().map(|&(at, _)| at).or(self.end.map(|(at, _)| at))
    }

    /// Moves what one read brings of what has arrived, and is at most `most` bytes, into the empty `buffer`. Returns whether that is
    /// anything.
    pub(crate) fn take(&mut self, now: Instant, network: &Network, most: usize, buffer: &mut Vec<u8>) -> bool {
        let arrived = self.arrivals.front().filter(|&&(at, _)| at <= now).map_or(0, |&(_, count)| count);
        let most = most.min(arrived);
        if most == 0 {
            return false;
        }
        let count = self.draw(network, most);
        buffer.extend(self.bytes.drain(..count));
        if let Some((_, left)) = self.arrivals.front_mut() {
            *left -= count;
            if *left == 0 {
                self.arrivals.pop_front();
            }
        }
        true
    }

    /// How the stream ended, if the reader sees the end of it now.
    pub(crate) fn ended(&self, now: Instant) -> Option<Ending> {
        self.end.filter(|&(at, _)| self.bytes.is_empty() && at <= now).map(|(_, ending)| ending)
    }

    fn arrival(&mut self, now: Instant, network: &Network, bytes: usize) -> Instant {
        let sending = network.bandwidth.map_or(0, |rate| (bytes as u64 * 1_000_000).div_ceil(rate.max(1)));
        self.busy_until = self.busy_until.max(now) + Duration::from_micros(sending);
        let jitter = u64::try_from(network.jitter.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(self.choice.below(jitter.saturating_add(1)));
        self.latest = self.latest.max(self.busy_until + network.latency + jitter);
        self.latest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chunks;

    const START: Instant = Instant::from_micros(1_000_000);

    fn after_ms(ms: u64) -> Instant {
        START + Duration::from_millis(ms)
    }

    fn read(pipe: &mut Pipe, now: Instant, network: &Network) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = Vec::new();
        while pipe.take(now, network, usize::MAX, &mut buffer) {
            all.append(&mut buffer);
        }
        all
    }

    #[test]
    fn bytes_arrive_after_the_latency_and_in_order() {
        let network = Network { jitter: Duration::from_millis(5), chunks: Chunks::Tiny, ..Network::default() };
        let mut pipe = Pipe::new(1);
        let sent: Vec<u8> = (0..=255).collect();
        for part in sent.chunks(3) {
            pipe.push(START, &network, part);
        }
        assert!(pipe.next_arrival() >= Some(after_ms(10)));
        assert_eq!(read(&mut pipe, after_ms(9), &network), []);
        assert_eq!(read(&mut pipe, after_ms(15), &network), sent);
    }

    #[test]
    fn the_end_comes_behind_everything_that_is_under_way() {
        let network = Network::default();
        let mut pipe = Pipe::new(1);
        pipe.push(START, &network, b"last words");
        pipe.finish(START, &network, Ending::EndOfStream);
        assert_eq!((pipe.room(&network), pipe.ended(after_ms(10))), (0, None));
        assert_eq!(read(&mut pipe, after_ms(10), &network), b"last words");
        assert_eq!(pipe.ended(after_ms(10)), Some(Ending::EndOfStream));
    }

    #[test]
    fn what_breaks_off_loses_what_was_under_way() {
        let network = Network::default();
        let mut pipe = Pipe::new(1);
        pipe.push(START, &network, b"lost");
        pipe.break_off(after_ms(5), &network);
        assert_eq!(pipe.ended(after_ms(14)), None);
        assert_eq!(read(&mut pipe, after_ms(15), &network), []);
        assert_eq!(pipe.ended(after_ms(15)), Some(Ending::Broken));
    }

    #[test]
    fn a_full_pipe_has_room_again_for_what_was_read() {
        let network = Network { buffer: 8, ..Network::default() };
        let mut pipe = Pipe::new(1);
        pipe.push(START, &network, b"12345678");
        assert_eq!(pipe.room(&network), 0);
        assert!(pipe.take(after_ms(10), &network, 3, &mut Vec::new()));
        assert_eq!(pipe.room(&network), 3);
    }

    #[test]
    fn a_slow_link_brings_a_long_piece_little_by_little() {
        let network = Network { bandwidth: Some(14_600), ..Network::default() };
        let mut pipe = Pipe::new(1);
        pipe.push(START, &network, &[0; 14_600]);
        assert_eq!(read(&mut pipe, after_ms(109), &network).len(), 0);
        assert_eq!(read(&mut pipe, after_ms(110), &network).len(), 1460);
        assert_eq!(read(&mut pipe, after_ms(1009), &network).len(), 14_600 - 2 * 1460);
        assert_eq!(read(&mut pipe, after_ms(1010), &network).len(), 1460);
    }

    #[test]
    fn what_is_written_to_a_slow_link_later_waits_its_turn() {
        let network = Network { bandwidth: Some(1000), ..Network::default() };
        let mut pipe = Pipe::new(1);
        pipe.push(START, &network, &[0; 500]);
        pipe.push(after_ms(100), &network, &[0; 500]);
        assert_eq!(read(&mut pipe, after_ms(1009), &network).len(), 500);
        assert_eq!(read(&mut pipe, after_ms(1010), &network).len(), 500);
    }
}
