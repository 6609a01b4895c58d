//! Which records of a session have been opened already.

use super::window::{WIDTH, WindowBits};

/// Remembers the highest counter and, of the 1024 up to it, which ones came. Whatever lies below counts as having come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RecordWindow {
    highest: u64,
    opened: WindowBits,
}

impl RecordWindow {
    pub(super) const fn new() -> Self {
        Self { highest: 0, opened: WindowBits::clear() }
    }

    /// Whether a record with this counter may be opened.
    pub(super) fn check(&self, counter: u64) -> Result<(), Replayed> {
        let is_above = counter > self.highest;
        let is_missing = counter >= self.lowest() && !self.opened.get(counter);
        if is_above || is_missing { Ok(()) } else { Err(Replayed) }
    }

    /// Takes note that the record was opened. Only an authentic record may be marked: it moves the window.
    pub(super) fn mark(&mut self, counter: u64) {
        if counter > self.highest {
            self.opened.slide(self.highest, counter);
            self.highest = counter;
        }
        if counter >= self.lowest() {
            self.opened.set(counter);
        }
    }

    /// The lowest counter that can still be new.
    pub(super) fn lowest(&self) -> u64 {
        self.highest.saturating_sub(WIDTH - 1)
    }
}

/// A record with this counter has been opened, or is too old to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Replayed;

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(counters: &[u64]) -> RecordWindow {
        let mut window = RecordWindow::new();
        for &counter in counters {
            assert_eq!(window.check(counter), Ok(()), "{counter}");
            window.mark(counter);
        }
        window
    }

    #[test]
    fn the_first_record_may_have_any_counter() {
        for first in [0, 1, 1023, 1024, u64::MAX] {
            let window = marked(&[first]);
            assert_eq!(window.check(first), Err(Replayed), "{first}");
        }
    }

    #[test]
    fn records_are_accepted_in_any_order_and_once_each() {
        let counters = [3, 0, 1023, 512, 1, 1024, 2];
        let window = marked(&counters);
        for counter in counters {
            assert_eq!(window.check(counter), Err(Replayed), "{counter}");
        }
        assert_eq!(window.check(4), Ok(()));
    }

    #[test]
    fn the_window_reaches_back_over_exactly_1024_records() {
        let window = marked(&[5000]);
        assert_eq!(window.check(5000 - 1023), Ok(()));
        assert_eq!(window.check(5000 - 1024), Err(Replayed));
        assert_eq!(window.check(0), Err(Replayed));
    }

    #[test]
    fn a_skipped_record_stays_welcome_after_the_window_has_moved_over_its_old_bit() {
        let all: alloc::vec::Vec<u64> = (0..1024).collect();
        let mut window = marked(&all);
        window.mark(1030);
        for skipped in 1024..1030 {
            assert_eq!(window.check(skipped), Ok(()), "{skipped}");
        }
        assert_eq!(window.check(1023), Err(Replayed));
    }

    #[test]
    fn the_window_costs_128_bytes_and_its_highest_counter() {
        assert_eq!(size_of::<RecordWindow>(), 136);
    }
}
