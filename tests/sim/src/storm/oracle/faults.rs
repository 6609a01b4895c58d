//! What went wrong, where, and from when to when.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use egtp::Instant;

use crate::NodeIndex;

/// What is of no use to any verdict any more is forgotten after this.
const MEMORY: Duration = Duration::from_secs(2 * 3600);

/// Everything that went wrong lately.
#[derive(Debug, Default)]
pub(super) struct Faults {
    at: BTreeMap<Place, Vec<Fault>>,
}

/// Something that went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) from: Instant,
    /// `None` while it goes on.
    pub(super) until: Option<Instant>,
}

/// What it concerns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    World,
    Node(NodeIndex),
    /// From one to the other.
    Way(NodeIndex, NodeIndex),
}

/// What it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// Its process is gone, and its system says so.
    Down,
    /// Its machine is gone, and nobody says so.
    Off,
    /// Its process stands still.
    Frozen,
    /// What it sends, or is sent, is held up.
    Silent,
    /// Packets are held back.
    Blocked,
    /// Its port is closed.
    Deaf,
    /// The directory has forgotten it.
    Unknown,
    /// It believes a peer where that was before it moved.
    Outdated,
    /// The directory does not answer, or not the truth.
    Directory,
    /// Connections were cut, or one broke.
    Cut,
    /// Its clock was stepped.
    Clock,
    /// It stands behind a translator of addresses.
    Nat,
    /// Its limits are too narrow for its neighbours.
    Cramped,
}

impl Kind {
    /// What makes dials hang and connections fall silent without ending them.
    pub(super) const STALLS: [Self; 5] = [Self::Frozen, Self::Silent, Self::Blocked, Self::Off, Self::Nat];
    /// What ends a process, and with it everything that it knew of sessions.
    pub(super) const ENDS: [Self; 2] = [Self::Down, Self::Off];
    /// What concerns what a node says to itself.
    const OF_THE_PROCESS: [Self; 4] = [Self::Down, Self::Off, Self::Frozen, Self::Clock];
}

impl Fault {
    /// Whether there was something of it in this span.
    pub(super) fn is_within(&self, since: Instant, until: Instant) -> bool {
        self.from <= until && self.until.is_none_or(|end| end >= since)
    }
}

impl Faults {
    /// Something goes wrong from now on; again, if it does already, changes nothing.
    pub(super) fn begin(&mut self, kind: Kind, place: Place, at: Instant) {
        if !self.goes_on(kind, place) {
            self.add(Fault { kind, place, from: at, until: None });
        }
    }

    /// Something goes wrong until then.
    pub(super) fn add_until(&mut self, kind: Kind, place: Place, at: Instant, until: Instant) {
        self.add(Fault { kind, place, from: at, until: Some(until) });
    }

    /// It is well again.
    pub(super) fn end(&mut self, kind: Kind, place: Place, at: Instant) {
        for fault in self.at.entry(place).or_default() {
            if fault.kind == kind && fault.until.is_none() {
                fault.until = Some(at);
            }
        }
    }

    /// All of this kind is well again, wherever it was.
    pub(super) fn end_everywhere(&mut self, kind: Kind, at: Instant) {
        for fault in self.at.values_mut().flatten() {
            if fault.kind == kind && fault.until.is_none() {
                fault.until = Some(at);
            }
        }
    }

    /// Since when it has been so, if it goes on.
    pub(super) fn since(&self, kind: Kind, place: Place) -> Option<Instant> {
        let faults = self.at.get(&place)?;
        faults.iter().find(|fault| fault.kind == kind && fault.until.is_none()).map(|fault| fault.from)
    }

    pub(super) fn goes_on(&self, kind: Kind, place: Place) -> bool {
        self.since(kind, place).is_some()
    }

    /// What may concern what two nodes say to each other, or one to itself.
    pub(super) fn between(&self, one: NodeIndex, other: NodeIndex) -> impl Iterator<Item = &Fault> {
        let alone = one == other;
        let places =
            [Place::Node(one), Place::Node(other), Place::Way(one, other), Place::Way(other, one), Place::World];
        let places = places.into_iter().take(if alone { 1 } else { places.len() });
        let faults = places.filter_map(|place| self.at.get(&place)).flatten();
        faults.filter(move |fault| !alone || Kind::OF_THE_PROCESS.contains(&fault.kind))
    }

    /// Those of these kinds between two nodes that there were at some time in this span.
    pub(super) fn find(
        &self,
        (one, other): (NodeIndex, NodeIndex),
        kinds: &[Kind],
        since: Instant,
        until: Instant,
    ) -> impl Iterator<Item = &Fault> {
        self.between(one, other).filter(move |fault| kinds.contains(&fault.kind) && fault.is_within(since, until))
    }

    fn add(&mut self, fault: Fault) {
        let faults = self.at.entry(fault.place).or_default();
        faults.retain(|old| old.until.is_none_or(|until| until + MEMORY > fault.from));
        faults.push(fault);
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Down => "had crashed",
            Kind::Off => "was powered off",
            Kind::Frozen => "stood still",
            Kind::Silent => "was cut off",
            Kind::Blocked => "was blocked",
            Kind::Deaf => "had closed its port",
            Kind::Unknown => "was unknown to the directory",
            Kind::Outdated => "was believed where nobody was",
            Kind::Directory => "did not answer truly",
            Kind::Cut => "lost its connections",
            Kind::Clock => "had its clock stepped",
            Kind::Nat => "was behind a translator of addresses",
            Kind::Cramped => "has narrow limits",
        };
        match self.place {
            Place::World => write!(f, "the directory {what}")?,
            Place::Node(node) => write!(f, "node {} {what}", node.number())?,
            Place::Way(from, to) => write!(f, "the way from node {} to node {} {what}", from.number(), to.number())?,
        }
        match self.until {
            None => write!(f, " from {} on", self.from),
            Some(until) if until == self.from => write!(f, " at {until}"),
            Some(until) => write!(f, " from {} to {until}", self.from),
        }
    }
}
