//! What a node runs on, and the life of its process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use egtp::{CheckedConfig, ConnectionId, Identity, Instant, Node, StoreKey, Stored, Strategies, UnixTime};

use super::links::{End, Link, LinkId, Party, Side};
use super::schedule::Due;
use super::{NodeIndex, World};
use crate::drift::Drift;
use crate::nat::Translator;

#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: Option<Node>,
    pub(super) identity: Identity,
    pub(super) config: CheckedConfig,
    pub(super) address: SocketAddr,
    pub(super) nat: Option<Translator>,
    pub(super) clock: Clock,
    /// The latest instant that the node was told.
    pub(super) told: Instant,
    /// The latest instant that its application has told it, perhaps.
    pub(super) commanded: Instant,
    pub(super) powered: bool,
    pub(super) listening: bool,
    /// Its process stands still: nothing is read, written or timed.
    pub(super) frozen: bool,
    /// Packets to and from it vanish.
    pub(super) silent: bool,
    /// What its process will find once it goes on.
    held: BTreeSet<Due>,
    pub(super) sockets: BTreeMap<ConnectionId, End>,
    /// Every link that it has or had an end of.
    pub(super) links: BTreeSet<LinkId>,
    /// Connections whose levels may have changed.
    pub(super) changed: BTreeSet<ConnectionId>,
    pub(super) stored: BTreeMap<StoreKey, Vec<u8>>,
}

impl Host {
    pub(super) fn new(identity: Identity, config: CheckedConfig, address: SocketAddr) -> Self {
        Self {
            node: None,
            identity,
            config,
            address,
            nat: None,
            clock: Clock::default(),
            told: Instant::ZERO,
            commanded: Instant::ZERO,
            powered: true,
            listening: true,
            frozen: false,
            silent: false,
            held: BTreeSet::new(),
            sockets: BTreeMap::new(),
            links: BTreeSet::new(),
            changed: BTreeSet::new(),
            stored: BTreeMap::new(),
        }
    }
}

/// A host's clock: how fast it goes, and how many microseconds it is ahead of one that has gone so since the origin, or behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    drift: Drift,
    ahead: i128,
}

impl Clock {
    /// What the host's clock shows at an instant of the world.
    pub(super) fn at(self, now: Instant) -> Instant {
        instant(self.drift.shows(now.as_micros().into()) + self.ahead)
    }

    /// When the world has reached what the host's clock will show: the first instant at which it shows that, or more.
    pub(super) fn reaches(self, shown: Instant) -> Instant {
        instant(self.drift.reaches(i128::from(shown.as_micros()) - self.ahead))
    }

    fn step(&mut self, micros: i64) {
        self.ahead += i128::from(micros);
    }

    /// From now on it goes so fast; what it shows now stays.
    fn set_drift(&mut self, now: Instant, drift: Drift) {
        let now = now.as_micros().into();
        self.ahead += self.drift.shows(now) - drift.shows(now);
        self.drift = drift;
    }
}

/// No clock shows a time before the origin.
fn instant(micros: i128) -> Instant {
    Instant::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
}

impl World {
    /// Starts a node that is not running, with what it has stored and a fresh seed, and announces it. Its host has power again.
    pub fn start(&mut self, index: NodeIndex) {
        let seed = self.choice.seed();
        let host = &mut self.hosts[index.0];
        let now = host.clock.at(self.now);
        let unix = UnixTime::from_secs(1_700_000_000 + now.as_micros() / 1_000_000);
        let entries = host.stored.iter().map(|(&key, value)| (key, value.as_slice()));
        let stored = Stored::parse(entries).expect("what a node stored can be read again");
        let mut node = Node::new(host.config.clone(), host.identity.clone(), seed, stored, now, unix);
        let strategies = Strategies { addresses: vec![host.address], relays: Vec::new() };
        node.announce(now, strategies).expect("one address fits a record");
        host.node = Some(node);
        (host.told, host.commanded) = (now, now);
        host.powered = true;
        self.rates.restart(index);
        self.rearm_links(index);
        self.touched.insert(index);
        self.commanded();
    }

    /// Kills a node: its connections break, and whatever it knew and did not store is gone.
    pub fn crash(&mut self, index: NodeIndex) {
        self.end_process(index);
        for link in self.hosts[index.0].links.clone() {
            for end in self.ends_of(index, link) {
                self.close_end(end);
            }
        }
        self.commanded();
    }

    /// Cuts the power of a node's host. It is as if the node had crashed, but its peers hear nothing of it: what they send later is
    /// answered by nothing, and once the host runs again by the end of their connection. What it sent before still arrives.
    pub fn power_off(&mut self, index: NodeIndex) {
        self.end_process(index);
        self.hosts[index.0].powered = false;
        for link in self.hosts[index.0].links.clone() {
            for end in self.ends_of(index, link) {
                self.leave_end(end, Side::Vanished);
            }
        }
        self.commanded();
    }

    /// Forgets what a node has stored.
    pub fn wipe(&mut self, index: NodeIndex) {
        self.hosts[index.0].stored.clear();
    }

    /// Whether a node's process stands still. Its peers notice nothing: its system goes on accepting connections for it.
    pub fn set_frozen(&mut self, index: NodeIndex, frozen: bool) {
        self.hosts[index.0].frozen = frozen;
        if frozen {
            return;
        }
        for link in self.hosts[index.0].links.clone() {
            let waits = |link: &Link| link.sides[1] == Side::Waiting && link.parties[1] == Party::Node(index);
            if self.links.get(link).is_some_and(waits) {
                self.accept(link);
            }
        }
        for due in std::mem::take(&mut self.hosts[index.0].held) {
            match due {
                // It may have been cut off meanwhile.
                Due::Arrival(end) => self.rearm(end),
                _ => self.schedule.set(due, Some(self.now)),
            }
        }
        self.touched.insert(index);
        self.commanded();
    }

    /// Sets a node's own clock forward; nobody else's changes. Durations that it is measuring end early by as much.
    pub fn step_clock(&mut self, index: NodeIndex, forward: Duration) {
        self.step(index, i64::try_from(forward.as_micros()).unwrap_or(i64::MAX));
    }

    /// Sets a node's own clock back; nobody else's changes. For a node that goes on running, time stands still until its clock shows
    /// again what it did; one that is started meanwhile knows nothing of it.
    pub fn step_clock_back(&mut self, index: NodeIndex, back: Duration) {
        self.step(index, i64::try_from(back.as_micros()).map_or(i64::MIN, |micros| -micros));
    }

    /// Lets a node's own clock go so many millionths too fast from now on, or too slow if that is negative; nobody else's changes.
    ///
    /// # Panics
    ///
    /// If that is more than [`MAX_DRIFT`](crate::MAX_DRIFT) either way.
    pub fn set_drift(&mut self, index: NodeIndex, millionths: i32) {
        self.hosts[index.0].clock.set_drift(self.now, Drift::new(millionths));
        self.touched.insert(index);
        self.commanded();
    }

    /// What a node's own clock shows.
    pub fn clock(&self, index: NodeIndex) -> Instant {
        self.hosts[index.0].clock.at(self.now)
    }

    fn step(&mut self, index: NodeIndex, micros: i64) {
        self.hosts[index.0].clock.step(micros);
        self.touched.insert(index);
        self.commanded();
    }

    /// If the process stands still, it will find this once it goes on.
    pub(super) fn is_held_back(&mut self, index: NodeIndex, due: Due) -> bool {
        let host = &mut self.hosts[index.0];
        if host.frozen {
            host.held.insert(due);
        }
        host.frozen
    }

    /// The ends of a link that a node's host has not given up.
    fn ends_of(&self, index: NodeIndex, link: LinkId) -> Vec<End> {
        let Some(Link { parties, sides, .. }) = self.links.get(link) else { return Vec::new() };
        let held = |side: &usize| {
            parties[*side] == Party::Node(index) && matches!(sides[*side], Side::Open(_) | Side::Waiting)
        };
        (0..2).filter(held).map(|side| End { link, side }).collect()
    }

    fn end_process(&mut self, index: NodeIndex) {
        let host = &mut self.hosts[index.0];
        host.node = None;
        host.changed.clear();
        host.sockets.clear();
        host.held.clear();
        self.schedule.set(Due::Deadline(index), None);
        let schedule = &mut self.schedule;
        self.dials.retain(|&socket, _| {
            let is_its = socket.party() == Party::Node(index);
            if is_its {
                schedule.set(Due::Dial(socket), None);
            }
            !is_its
        });
        self.directory.forget_asker(index);
        self.deliveries.retain(|&(node, _)| node != index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choice, MAX_DRIFT};

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn a_clock_goes_on_from_what_it_shows_however_its_speed_changes() {
        let mut clock = Clock::default();
        clock.step(70);
        for (now, drift) in [(1_000_000, MAX_DRIFT), (7_654_321, -MAX_DRIFT), (9_999_999, 1), (11_000_000, 0)] {
            let before = clock.at(at(now));
            clock.set_drift(at(now), Drift::new(drift));
            assert_eq!(clock.at(at(now)), before);
            assert_eq!(
                clock.at(at(now + 1_000_000)),
                before + Duration::from_micros((1_000_000 + i64::from(drift)) as u64)
            );
        }
    }

    #[test]
    fn a_deadline_is_neither_reached_early_nor_missed_by_the_clock_that_it_is_kept_by() {
        let mut choice = Choice::from_seed(3);
        let mut clock = Clock::default();
        for _ in 0..10_000 {
            let now = at(choice.below(1 << 45));
            clock.set_drift(now, Drift::new(i32::try_from(choice.below(1001)).unwrap() - MAX_DRIFT));
            clock.step(i64::try_from(choice.below(1 << 40)).unwrap() - (1 << 39));
            let deadline = clock.at(now) + Duration::from_micros(1 + choice.below(1 << 32));
            let due = clock.reaches(deadline);
            assert!(due > now && clock.at(due) >= deadline, "{clock:?}");
            assert!(clock.at(at(due.as_micros() - 1)) < deadline, "{clock:?}");
        }
    }
}
