//! The one timer set: every deadline of a node, in order.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{ConnectionId, DiscoveryId, LookupId, QueryId};
use crate::slab::Key;
use crate::time::Instant;

/// What is due, and for whom: each owner has one timer, and knows itself what it is for. The order is that in which things due at the same
/// instant happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The query's asker gets impatient, or its time has come.
    Query(QueryId),
    /// The connection is not opened or not proved in time, may be idle, or has bytes again that its own throttle allows.
    Connection(ConnectionId),
    /// Something is due in a session with the peer, on a path to it, or on the way to it.
    Peer(Key),
    /// The Lookup Service takes too long.
    Lookup(LookupId),
    /// The Discovery Service takes too long.
    Discovery(DiscoveryId),
    /// What the node may write is shared out anew.
    ThrottleUp,
    /// What the node may read is shared out anew.
    ThrottleDown,
    /// Surplus connections are to be closed.
    Tidy,
    /// Shutting down takes too long.
    Stop,
}

impl Timer {
    /// Which row of places it has, and where there.
    fn place(self) -> (usize, usize) {
        match self {
            Self::Query(QueryId(key)) => (0, key.slot()),
            Self::Connection(ConnectionId(key)) => (1, key.slot()),
            Self::Peer(key) => (2, key.slot()),
            Self::Lookup(LookupId(key)) => (3, key.slot()),
            Self::Discovery(DiscoveryId(key)) => (4, key.slot()),
            Self::ThrottleUp => (5, 0),
            Self::ThrottleDown => (5, 1),
            Self::Tidy => (5, 2),
            Self::Stop => (5, 3),
        }
    }
}

/// Rows of places: one for each kind of owner, and one for what the node itself has to do.
const ROWS: usize = 6;

/// Every armed timer. One owner, so that the deadline that the node reports can be neither forgotten nor stale.
#[derive(Debug, Default)]
pub(crate) struct TimerSet {
    due: BTreeSet<(Instant, Timer)>,
    /// When each is due, by its owner's place.
    armed: [Vec<Option<(Instant, Timer)>>; ROWS],
}

impl TimerSet {
    /// Arms `timer`, or moves it, to go off at `at`, and never before the instant after `now`: a timer that re-arms itself
    /// cannot hold the clock still.
    pub(crate) fn arm(&mut self, now: Instant, timer: Timer, at: Instant) {
        let at = at.max(now + Duration::from_micros(1));
        let (row, slot) = timer.place();
        let Some(places) = self.armed.get_mut(row) else { return };
        if places.len() <= slot {
            places.resize(slot + 1, None);
        }
        let before = places[slot].replace((at, timer));
        if before == Some((at, timer)) {
            return;
        }
        if let Some(before) = before {
            debug_assert_eq!(before.1, timer, "an owner that has gone leaves no timer");
            self.due.remove(&before);
        }
        self.due.insert((at, timer));
    }

    /// Arms `timer` for this instant, or disarms it.
    pub(crate) fn set(&mut self, now: Instant, timer: Timer, at: Option<Instant>) {
        match at {
            Some(at) => self.arm(now, timer, at),
            None => self.disarm(timer),
        }
    }

    /// Arms `timer` unless it goes off before `at` anyway.
    pub(crate) fn arm_no_later(&mut self, now: Instant, timer: Timer, at: Instant) {
        if self.due_at(timer).is_none_or(|before| before > at) {
            self.arm(now, timer, at);
        }
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        let (row, slot) = timer.place();
        let place = self.armed.get_mut(row).and_then(|places| places.get_mut(slot));
        if let Some(before) = place.and_then(|place| place.take_if(|before| before.1 == timer)) {
            self.due.remove(&before);
        }
    }

    /// Whether it goes off before this call is over.
    pub(crate) fn is_due(&self, now: Instant, timer: Timer) -> bool {
        self.due_at(timer).is_some_and(|at| at <= now)
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.due_at(timer).is_some()
    }

    fn due_at(&self, timer: Timer) -> Option<Instant> {
        let (row, slot) = timer.place();
        let place = self.armed.get(row)?.get(slot)?;
        place.filter(|before| before.1 == timer).map(|before| before.0)
    }

    /// The earliest instant at which something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    /// Every timer and when it is due, in order.
    #[cfg(feature = "internal")]
    pub(crate) fn due(&self) -> impl Iterator<Item = (Instant, Timer)> {
        self.due.iter().copied()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn queries() -> (Timer, Timer) {
        let mut slab = Slab::new();
        (Timer::Query(QueryId(slab.insert(()))), Timer::Query(QueryId(slab.insert(()))))
    }

    #[test]
    fn timers_go_off_in_order_and_once() {
        let (mut set, (first, second)) = (TimerSet::default(), queries());
        set.arm(at(0), Timer::Tidy, at(20));
        set.arm(at(0), second, at(10));
        set.arm(at(0), first, at(10));
        assert_eq!((set.next(), set.pop_due(at(9))), (Some(at(10)), None));
        assert_eq!(set.pop_due(at(30)), Some(first));
        assert_eq!(set.pop_due(at(30)), Some(second));
        assert_eq!(set.pop_due(at(30)), Some(Timer::Tidy));
        assert_eq!((set.pop_due(at(30)), set.next(), set.len()), (None, None, 0));
    }

    #[test]
    fn a_timer_that_is_moved_or_disarmed_does_not_go_off_at_its_old_time() {
        let (mut set, (first, second)) = (TimerSet::default(), queries());
        set.arm(at(0), first, at(10));
        set.arm(at(0), first, at(50));
        set.arm(at(0), second, at(20));
        set.disarm(second);
        assert_eq!((set.pop_due(at(49)), set.pop_due(at(50))), (None, Some(first)));
        assert!(!set.is_armed(second));
    }

    #[test]
    fn a_timer_can_be_armed_no_later_than_an_instant() {
        let (mut set, (first, _)) = (TimerSet::default(), queries());
        set.arm_no_later(at(0), first, at(30));
        set.arm_no_later(at(0), first, at(40));
        assert_eq!(set.next(), Some(at(30)));
        set.arm_no_later(at(0), first, at(20));
        assert_eq!(set.next(), Some(at(20)));
    }

    #[test]
    fn a_timer_armed_in_the_past_cannot_hold_the_clock_still() {
        let mut set = TimerSet::default();
        set.arm(at(100), Timer::Stop, at(5));
        assert_eq!((set.pop_due(at(100)), set.next()), (None, Some(at(101))));
    }
}
