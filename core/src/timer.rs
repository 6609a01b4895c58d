//! The one timer set: every deadline of a node, in order.

use alloc::collections::BTreeSet;

use hashbrown::HashMap;

use crate::hashing::KeyedHash;
use crate::id::{ConnectionId, DiscoveryId, IncomingId, LookupId, NodeId, QueryId};
use crate::time::Instant;
use crate::wire::packet::SessionId;

/// What is due, and for whom. The order is that in which things due at the same instant happen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Timer {
    /// The query's time has come.
    QueryHard(QueryId),
    /// The query's asker gets impatient.
    QuerySoft(QueryId),
    /// The asker of an incoming query no longer waits.
    IncomingUntil(IncomingId),
    /// A dial takes too long.
    Connect(ConnectionId),
    /// The peer on a connection should have authenticated.
    Authenticate(ConnectionId),
    /// A connection may be idle. Its probe comes after that: a probe under way would make it look busy.
    Idle(ConnectionId),
    /// A silent connection is to be probed, or its probe has not been answered.
    Probe(ConnectionId),
    /// A connection that is being closed in order takes too long.
    Linger(ConnectionId),
    /// A connection has bytes again that its own throttle allows.
    ThrottleConnection(ConnectionId),
    /// What the node may write is shared out anew.
    ThrottleUp,
    /// What the node may read is shared out anew.
    ThrottleDown,
    /// A handshake was answered and not confirmed.
    Tentative(SessionId),
    /// A session is to be replaced.
    Renew(SessionId),
    /// Queries taken and not answered yet are to be acknowledged.
    Acknowledge(SessionId),
    /// Messages in pieces may have stopped coming.
    Assemblies(SessionId),
    /// A session has not proved that the peer still holds it.
    Prove(NodeId),
    /// A peer that was too busy for a handshake may be asked again.
    HandshakeAgain(NodeId),
    /// A peer for which much waits may have stopped taking it.
    Stalled(NodeId),
    /// The Lookup Service takes too long.
    Lookup(LookupId),
    /// The Discovery Service takes too long.
    Discovery(DiscoveryId),
    /// Surplus connections are to be closed.
    Tidy,
    /// Shutting down takes too long.
    Stop,
}

/// Every armed timer. One owner, so that the deadline that the node reports can be neither forgotten nor stale.
#[derive(Debug)]
pub(crate) struct TimerSet {
    due: BTreeSet<(Instant, Timer)>,
    armed: HashMap<Timer, Instant, KeyedHash>,
}

impl TimerSet {
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self { due: BTreeSet::new(), armed: HashMap::with_hasher(hash) }
    }

    /// Arms `timer`, or moves it, to go off at `at`, and never before the instant after `now`: a timer that re-arms itself
    /// cannot hold the clock still.
    pub(crate) fn arm(&mut self, now: Instant, timer: Timer, at: Instant) {
        let at = at.max(now + core::time::Duration::from_micros(1));
        if let Some(before) = self.armed.insert(timer, at) {
            self.due.remove(&(before, timer));
        }
        self.due.insert((at, timer));
    }

    /// Arms `timer` unless it goes off before `at` anyway.
    pub(crate) fn arm_no_later(&mut self, now: Instant, timer: Timer, at: Instant) {
        if self.armed.get(&timer).is_none_or(|&before| before > at) {
            self.arm(now, timer, at);
        }
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(before) = self.armed.remove(&timer) {
            self.due.remove(&(before, timer));
        }
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.armed.contains_key(&timer)
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

    /// Every timer and when it is due, the earliest first.
    pub(crate) fn due(&self) -> impl Iterator<Item = &(Instant, Timer)> {
        self.due.iter()
    }

    pub(crate) fn clear(&mut self) {
        self.due.clear();
        self.armed.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn timers() -> TimerSet {
        TimerSet::new(KeyedHash::new(1, 2))
    }

    #[test]
    fn timers_go_off_in_order_and_once() {
        let mut set = timers();
        set.arm(at(0), Timer::Stop, at(20));
        set.arm(at(0), Timer::QueryHard(QueryId(1)), at(10));
        assert_eq!(set.next(), Some(at(10)));
        assert_eq!(set.pop_due(at(9)), None);
        assert_eq!(set.pop_due(at(30)), Some(Timer::QueryHard(QueryId(1))));
        assert_eq!(set.pop_due(at(30)), Some(Timer::Stop));
        assert_eq!(set.pop_due(at(30)), None);
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn arming_again_moves_a_timer() {
        let mut set = timers();
        set.arm(at(0), Timer::Tidy, at(10));
        set.arm(at(0), Timer::Tidy, at(20));
        assert_eq!(set.len(), 1);
        assert_eq!(set.next(), Some(at(20)));
        set.arm_no_later(at(0), Timer::Tidy, at(30));
        assert_eq!(set.next(), Some(at(20)));
        set.arm_no_later(at(0), Timer::Tidy, at(15));
        assert_eq!(set.next(), Some(at(15)));
        set.disarm(Timer::Tidy);
        assert_eq!(set.next(), None);
    }

    #[test]
    fn a_timer_armed_in_the_past_goes_off_after_now() {
        let mut set = timers();
        set.arm(at(50), Timer::Tidy, at(10));
        assert_eq!(set.pop_due(at(50)), None);
        assert_eq!(set.pop_due(at(51)), Some(Timer::Tidy));
    }
}
