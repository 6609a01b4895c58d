//! What one end of a session remembers of it: what it has sealed and opened, what was acknowledged, which numbers it has used.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::ack;
use super::frame::Frame;

/// Whoever has opened a counter opens none of this many below it.
pub const WINDOW: u64 = 1024;
/// So many bits of a counter lie below its epoch.
pub const EPOCH: u32 = 20;
/// So many of its own records and numbers it remembers.
const MEMORY: usize = 4096;

/// One end's memory. A test reads it and says what it likes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ledger {
    sealed: BTreeMap<u64, Sealed>,
    opened: BTreeSet<u64>,
    used: BTreeSet<u64>,
}

/// A record of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sealed {
    asks: bool,
    acknowledged: bool,
}

impl Ledger {
    /// It has sealed a record of these frames.
    pub fn seal(&mut self, counter: u64, frames: &[Frame]) {
        let asks = frames.iter().any(Frame::asks_for_ack);
        self.sealed.entry(counter).or_insert(Sealed { asks, acknowledged: false });
        self.used.extend(frames.iter().filter_map(number_used));
        if self.sealed.len() > MEMORY {
            self.sealed.pop_first();
        }
        while self.used.len() > MEMORY {
            self.used.pop_first();
        }
    }

    /// It has opened a record.
    pub fn open(&mut self, counter: u64, frames: &[Frame]) {
        self.opened.insert(counter);
        let highest = self.opened.last().copied().unwrap_or(0);
        self.opened = self.opened.split_off(&highest.saturating_sub(WINDOW - 1));
        for frame in frames {
            if let Frame::Ack { largest, runs, .. } = frame {
                for range in ack::named(*largest, runs).unwrap_or_default() {
                    self.sealed.range_mut(range).for_each(|(_, sealed)| sealed.acknowledged = true);
                }
            }
        }
    }

    /// Whether a record under this counter may be opened: not a second time, and not if its epoch lies too far ahead.
    pub fn is_openable(&self, counter: u64) -> bool {
        let highest = self.opened.last().copied().unwrap_or(0);
        let is_in_reach = counter >> EPOCH <= (highest >> EPOCH) + 1;
        let is_in_window = highest.checked_sub(counter).is_none_or(|below| below < WINDOW);
        is_in_reach && is_in_window && !self.opened.contains(&counter)
    }

    /// The counters that it has opened, as far as the window reaches.
    pub fn opened(&self) -> &BTreeSet<u64> {
        &self.opened
    }

    /// Of its records that ask for an acknowledgement those that have none.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u64> {
        self.sealed.iter().filter(|(_, sealed)| sealed.asks && !sealed.acknowledged).map(|(&counter, _)| counter)
    }

    /// The first of these counters under which it has sealed nothing, as far as it remembers.
    pub fn first_unsealed(&self, counters: RangeInclusive<u64>) -> Option<u64> {
        let from = match self.sealed.first_key_value() {
            Some((&lowest, _)) if self.sealed.len() >= MEMORY => lowest.max(*counters.start()),
            _ => *counters.start(),
        };
        let mut next = from;
        for &counter in self.sealed.range(from..).map(|(counter, _)| counter) {
            if counter != next || next == *counters.end() {
                break;
            }
            next = counter + 1;
        }
        let is_sealed = self.sealed.contains_key(&next);
        (next <= *counters.end() && !is_sealed).then_some(next)
    }

    /// Whether a record of its own was acknowledged.
    pub fn is_acknowledged(&self, counter: u64) -> bool {
        self.sealed.get(&counter).is_some_and(|sealed| sealed.acknowledged)
    }

    /// The numbers that it has used for queries, notices and cancellations.
    pub fn used(&self) -> &BTreeSet<u64> {
        &self.used
    }
}

/// The number of its own that a frame uses.
fn number_used(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Query { number, .. } | Frame::Piece { of: 1, number, .. } | Frame::Cancel { number } => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_is_unacknowledged_until_it_is_named() {
        let mut ledger = Ledger::default();
        let ack = |counters: &[u64]| ack::naming(&counters.iter().copied().collect(), 0).expect("counters");
        ledger.seal(0, &[Frame::Ping]);
        ledger.seal(1, &[]);
        ledger.seal(2, &[ack(&[5])]);
        ledger.seal(3, &[ack(&[5]), Frame::Cancel { number: 4 }]);
        assert!(ledger.unacknowledged().eq([0, 3]));
        ledger.open(9, &[ack(&[1, 3])]);
        assert!(ledger.unacknowledged().eq([0]));
        assert!(ledger.is_acknowledged(3) && ledger.is_acknowledged(1) && !ledger.is_acknowledged(0));
        assert!(!ledger.is_acknowledged(7), "it was never sealed");
        assert_eq!(ledger.used(), &BTreeSet::from([4]));
    }

    #[test]
    fn each_counter_is_opened_once_and_none_below_the_window() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_openable(0) && ledger.is_openable((2 << 20) - 1) && !ledger.is_openable(2 << 20));
        ledger.open(0, &[]);
        assert!(!ledger.is_openable(0) && ledger.is_openable(1));
        ledger.open(2000, &[]);
        assert!(ledger.is_openable(2000 - 1023) && !ledger.is_openable(2000 - 1024));
        ledger.open(2000 - 1023, &[]);
        assert_eq!(ledger.opened(), &BTreeSet::from([2000 - 1023, 2000]));
    }

    #[test]
    fn what_was_never_sealed_is_found() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.first_unsealed(0..=9), Some(0));
        for counter in [0, 1, 2, 5] {
            ledger.seal(counter, &[]);
        }
        assert_eq!((ledger.first_unsealed(0..=2), ledger.first_unsealed(5..=5)), (None, None));
        assert_eq!((ledger.first_unsealed(1..=9), ledger.first_unsealed(5..=6)), (Some(3), Some(6)));
        assert_eq!((ledger.first_unsealed(0..=3), ledger.first_unsealed(0..=u64::MAX)), (Some(3), Some(3)));
        (0..5000).for_each(|counter| ledger.seal(counter, &[]));
        assert_eq!(ledger.first_unsealed(0..=4999), None, "the first ones are forgotten");
    }

    #[test]
    fn numbers_are_those_of_its_own_messages() {
        let mut ledger = Ledger::default();
        let frames = [
            Frame::query(3, 9, b"?"),
            Frame::piece(1, 4, b"...", 1..3),
            Frame::piece(2, 5, b"...", 1..3),
            Frame::reply(6, 0, b"!"),
            Frame::Refuse { number: 7, code: 1, wait: 0 },
            Frame::Cancel { number: 8 },
        ];
        ledger.seal(0, &frames);
        assert_eq!(ledger.used(), &BTreeSet::from([3, 4, 8]));
    }
}
