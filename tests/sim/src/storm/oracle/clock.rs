//! A node's own clock, as far as an onlooker can know it. Deadlines are kept by it, and it may be stepped.

use std::time::Duration;

use egtp::Instant;

use crate::drift::Drift;

/// How far a clock is from the world's, and what it has shown so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    drift: Drift,
    /// The slowest that it was until now.
    slowest: Drift,
    /// Microseconds, of a clock that has gone as fast as it does now since the origin.
    ahead: i64,
    /// The latest time that the node may have read from it.
    read: i64,
    /// When it was stepped last, in the world's time.
    stepped: Option<Instant>,
}

/// An instant of a node's own clock. A node whose clock was stepped back goes by the latest time that it has read, which an
/// onlooker does not know exactly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    earliest: i64,
    latest: i64,
}

/// From when to when something may happen, in the world's time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Window {
    pub(super) earliest: Instant,
    pub(super) latest: Instant,
}

impl Clock {
    /// What is due so long after `at`.
    pub(super) fn after(&self, at: Instant, time: Duration) -> Due {
        let (shows, time) = (self.shows(at), micros(time));
        Due { earliest: shows.saturating_add(time), latest: shows.max(self.read).saturating_add(time) }
    }

    /// When that is in the world, unless the clock is stepped again before.
    pub(super) fn window(&self, due: Due) -> Window {
        let in_world = |own: i64| {
            let world = self.drift.reaches(own.saturating_sub(self.ahead).into());
            let world = u64::try_from(world.max(0)).unwrap_or(u64::MAX);
            Instant::from_micros(world).max(self.stepped.unwrap_or(Instant::ZERO))
        };
        // What its clock showed before it was stepped back may have been read, and the consequences drawn.
        let earliest = if due.earliest <= self.read { self.stepped } else { None };
        Window { earliest: earliest.unwrap_or_else(|| in_world(due.earliest)), latest: in_world(due.latest) }
    }

    /// It is put forward, or back if `by` is negative (microseconds).
    pub(super) fn step(&mut self, at: Instant, by: i64) {
        self.read = self.read.max(self.shows(at));
        self.ahead = self.ahead.saturating_add(by);
        self.stepped = Some(at);
    }

    /// It goes so fast from now on.
    pub(super) fn set_drift(&mut self, at: Instant, drift: Drift) {
        let shown = self.shows(at);
        self.drift = drift;
        self.ahead = self.ahead.saturating_add(shown - self.shows(at));
        self.slowest = self.slowest.min(drift);
    }

    /// In how much time at most so much passes by it, unless it is stepped.
    pub(super) fn at_most(&self, time: Duration) -> Duration {
        duration(self.slowest.reaches(micros(time).into()))
    }

    /// What it shows at an instant of the world.
    pub(super) fn at(&self, at: Instant) -> Instant {
        Instant::from_micros(u64::try_from(self.shows(at)).unwrap_or(0))
    }

    /// The node has been started: whatever it had read before is forgotten.
    pub(super) fn restart(&mut self, at: Instant) {
        self.read = self.shows(at);
    }

    /// Whether it ever was.
    pub(super) fn was_stepped(&self) -> bool {
        self.stepped.is_some()
    }

    fn shows(&self, at: Instant) -> i64 {
        let shown = self.drift.shows(at.as_micros().into());
        i64::try_from(shown).unwrap_or(i64::MAX).saturating_add(self.ahead)
    }
}

impl Window {
    /// This instant and no other.
    #[cfg(test)]
    pub(super) fn at(instant: Instant) -> Self {
        Self { earliest: instant, latest: instant }
    }

    pub(super) fn contains(&self, instant: Instant) -> bool {
        (self.earliest..=self.latest).contains(&instant)
    }
}

fn duration(micros: i128) -> Duration {
    Duration::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_a_clock_has_shown_may_have_come_true_though_it_was_stepped_back() {
        let mut clock = Clock::default();
        let due = clock.after(at(10), MINUTE);
        clock.step(at(20), 100_000_000);
        clock.step(at(20), -100_000_000);
        assert_eq!(clock.window(due), Window { earliest: at(20), latest: at(70) });
    }

    #[test]
    fn a_clock_that_goes_right_tells_exactly_when() {
        let clock = Clock::default();
        assert_eq!(clock.window(clock.after(at(10), MINUTE)), Window::at(at(70)));
    }

    #[test]
    fn a_step_forward_brings_a_deadline_nearer_and_never_into_the_past() {
        let mut clock = Clock::default();
        let due = clock.after(at(10), MINUTE);
        clock.step(at(20), 15_000_000);
        assert_eq!(clock.window(due), Window::at(at(55)));
        clock.step(at(30), 1_000_000_000);
        assert_eq!(clock.window(due), Window::at(at(30)));
    }

    #[test]
    fn what_is_due_by_a_clock_that_is_wrong_comes_early_or_late_by_as_much() {
        let hour = Duration::from_secs(3600);
        for (millionths, due) in [(500, 3_608_200_900), (-500, 3_611_800_901), (0, 3_610_000_000)] {
            let mut clock = Clock::default();
            clock.set_drift(at(10), Drift::new(millionths));
            let expected = Instant::from_micros(due);
            assert_eq!(clock.window(clock.after(at(10), hour)), Window::at(expected), "{millionths}");
            clock.set_drift(at(20), Drift::default());
            assert!(expected.saturating_since(at(10)) <= clock.at_most(hour), "{millionths}");
        }
    }

    #[test]
    fn what_it_shows_stays_when_its_speed_changes() {
        let mut clock = Clock::default();
        let due = clock.after(at(10), MINUTE);
        clock.set_drift(at(69), Drift::new(500));
        assert_eq!(clock.window(due), Window::at(Instant::from_micros(69_999_501)));
        assert_eq!((clock.at(at(69)), clock.at(at(70))), (at(69), Instant::from_micros(70_000_500)));
    }

    #[test]
    fn a_step_back_puts_deadlines_off_and_new_ones_are_known_less_exactly() {
        let mut clock = Clock::default();
        let due = clock.after(at(10), MINUTE);
        clock.step(at(20), -15_000_000);
        assert_eq!(clock.window(due), Window::at(at(85)));
        let asked_after = clock.window(clock.after(at(21), MINUTE));
        assert_eq!(asked_after, Window { earliest: at(81), latest: at(95) });
        clock.restart(at(22));
        assert_eq!(clock.window(clock.after(at(22), MINUTE)), Window::at(at(82)));
    }
}
