//! Which records of a session have been opened already.

use super::window::{WIDTH, WindowBits};
use crate::wire::frame::RunsBuffer;

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

    /// The highest counter that was opened, if any was.
    pub(super) fn highest(&self) -> Option<u64> {
        (self.highest > 0 || self.opened.get(0)).then_some(self.highest)
    }

    /// The highest counter that was opened, if any was, and the counters that were, as runs for an ACK.
    pub(super) fn runs(&self, runs: &mut RunsBuffer) -> Option<u64> {
        let mut top = self.highest;
        let mut above = 0;
        loop {
            let covered = top.saturating_sub(self.lowest()).saturating_add(1);
            let run = self.opened.run_down(top, true).min(covered);
            let fits = u16::try_from(run).is_ok_and(|run| run > 0 && runs.push(above, run));
            let Some(gap_top) = top.checked_sub(run).filter(|gap| fits && *gap >= self.lowest()) else { break };
            let gap = self.opened.run_down(gap_top, false).min(gap_top.saturating_sub(self.lowest()).saturating_add(1));
            let Some(next) = gap_top.checked_sub(gap).filter(|next| *next >= self.lowest()) else { break };
            above = u16::try_from(gap).unwrap_or(u16::MAX);
            top = next;
        }
        (!runs.is_empty()).then_some(self.highest)
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

    /// The runs of an ACK, each as its lowest and its highest counter.
    fn acknowledged(window: &RecordWindow) -> alloc::vec::Vec<(u64, u64)> {
        let mut runs = RunsBuffer::new();
        let Some(largest) = window.runs(&mut runs) else { return alloc::vec::Vec::new() };
        runs.runs().ranges(largest).collect()
    }

    #[test]
    fn what_was_opened_is_acknowledged_and_nothing_else() {
        assert_eq!(acknowledged(&RecordWindow::new()), []);
        assert_eq!(acknowledged(&marked(&[0])), [(0, 0)]);
        assert_eq!(acknowledged(&marked(&[7])), [(7, 7)]);
        assert_eq!(acknowledged(&marked(&[0, 1, 2, 5, 6, 9])), [(9, 9), (5, 6), (0, 2)]);
        assert_eq!(
            acknowledged(&marked(&[3976, 3977, 5000])),
            [(5000, 5000), (3977, 3977)],
            "what lies below the window is dropped"
        );
        let all: alloc::vec::Vec<u64> = (0..3000).collect();
        assert_eq!(acknowledged(&marked(&all)), [(1976, 2999)]);
    }

    #[test]
    fn the_newest_32_runs_are_acknowledged() {
        let odd: alloc::vec::Vec<u64> = (0..200).map(|at| at * 2 + 1).collect();
        let runs = acknowledged(&marked(&odd));
        assert_eq!((runs.len(), runs[0], runs[31]), (32, (399, 399), (337, 337)));
    }

    #[test]
    fn the_window_costs_128_bytes_and_its_highest_counter() {
        assert_eq!(size_of::<RecordWindow>(), 136);
    }
}
