//! What is sure to happen, and by when: what a world in which nothing is wrong owes, and what is owed in spite of it.

use std::time::Duration;

use egtp::{Executed, Failure, Instant, Reason};

use super::clock::Window;
use super::faults::{Fault, Kind, Place};
use super::life::{Expected, Life};
use super::model::{Model, Setting};
use crate::NodeIndex;
use crate::transcript::Ending;

/// A message goes from one end to the other so often at most until it is through: dial, handshake (asking about a session that the
/// peer has lost may come before), query, reply; with as much again for two nodes that dial each other at once.
const WAYS: u32 = 16;

/// So much more, for timers that are rounded up, and a peer that has a second to show that it still holds a session.
const GRACE: Duration = Duration::from_millis(1200);

/// A verdict is sure to be there by then.
#[derive(Debug)]
pub(super) struct Promise {
    pub(super) due: Instant,
    pub(super) why: String,
}

impl Model {
    /// By when a query must have its verdict at the latest, for other reasons than its deadline.
    pub(super) fn promise(&self, life: &Life) -> Option<Promise> {
        let promises = [self.answers(life), self.fails_fast(life)];
        promises.into_iter().flatten().min_by_key(|promise| promise.due)
    }

    /// With nothing wrong between two nodes, what is asked is answered.
    fn answers(&self, life: &Life) -> Option<Promise> {
        let (Expected::Reply | Expected::Declined | Expected::UnknownType, since) = life.expected() else {
            return None;
        };
        let (from, to) = (life.question.from, life.question.to);
        if self.is_crowded(from, to) {
            return None;
        }
        let due = self.through_by(from, to, since.max(self.was_crowded(from, to)))?;
        let why = "nothing was wrong between the two nodes".to_owned();
        Some(Promise { due, why })
    }

    /// When what one node owes another since then is through, with its answer, if nothing is wrong between them: from when
    /// what was wrong before has settled, at the latest.
    fn through_by(&self, from: NodeIndex, to: NodeIndex, since: Instant) -> Option<Instant> {
        let settled = self.settled(from, to)?;
        if from == to {
            return Some(since.max(settled));
        }
        let since = since.max(settled);
        let takes = self.pace.ways(WAYS) + GRACE;
        Some(since + takes + self.pace.busy_during(from, to, since, takes))
    }

    /// When what is said just once is through: if anything is wrong, or was until lately, it may get lost.
    pub(super) fn said_by(&self, from: NodeIndex, to: NodeIndex, since: Instant) -> Option<Instant> {
        self.settled(from, to).filter(|&settled| settled <= since)?;
        self.through_by(from, to, since)
    }

    /// Since when nothing has been wrong between two nodes, nor followed from what was.
    fn settled(&self, from: NodeIndex, to: NodeIndex) -> Option<Instant> {
        let well = self.faults.well_since(from, to, |_| true)?;
        let at_once = from == to || well == Instant::ZERO;
        Some(if at_once { well } else { well + self.settles(from, to) })
    }

    /// Whether nothing has been wrong between two nodes since then, nor is either held back by a throttle.
    pub(super) fn is_well_and_free(&self, one: NodeIndex, other: NodeIndex, since: Instant) -> bool {
        let well = self.faults.well_since(one, other, |fault| fault.kind != Kind::Cramped);
        self.pace.is_free(one) && self.pace.is_free(other) && well.is_some_and(|well| well <= since)
    }

    /// What cannot leave the machine fails at once.
    fn fails_fast(&self, life: &Life) -> Option<Promise> {
        let (from, to) = (life.question.from, life.question.to);
        let (since, why) = self.cannot_leave(from, to)?;
        let hides = |fault: &Fault| {
            let of_the_asker = fault.place == Place::Node(from);
            match fault.kind {
                Kind::Cut | Kind::Fragile => false,
                Kind::Down | Kind::Deaf | Kind::Unknown => of_the_asker && fault.kind == Kind::Down,
                _ => true,
            }
        };
        let well = self.well_since(life, hides)?;
        let settled = if well == Instant::ZERO { well } else { well + self.settles(from, to) };
        let news = since + self.pace.ways(2) + self.pace.busy(from, from, since);
        let due = life.asked.max(settled).max(news) + self.pace.ways(8);
        Some(Promise { due, why })
    }

    /// Since when nothing that one node sends can have a way to another, as its own system tells it at once.
    pub(super) fn cannot_leave(&self, from: NodeIndex, to: NodeIndex) -> Option<(Instant, String)> {
        if from == to {
            return None;
        }
        let peer = Place::Node(to);
        let dial = self.pace.ways(4);
        if let Some(since) = self.faults.since(Kind::Down, peer) {
            return Some((since, format!("node {} had crashed at {since}", to.number())));
        }
        if let (Some(deaf), Some(apart)) = (self.faults.since(Kind::Deaf, peer), self.reach.apart_since(from, to, dial))
            && self.refuses_since(from, to, deaf, apart)
        {
            let why = format!("node {} had closed its port at {deaf}, and no connection was left", to.number());
            return Some((deaf.max(apart), why));
        }
        let unknown = self.faults.since(Kind::Unknown, peer)?;
        let why = format!("node {} was unknown to the directory since {unknown}, and to the asker", to.number());
        self.reach.are_strangers(from, to).then_some((unknown, why))
    }

    /// Whether all dials since two nodes were parted were refused.
    fn refuses_since(&self, from: NodeIndex, to: NodeIndex, deaf: Instant, apart: Instant) -> bool {
        if apart == Instant::ZERO {
            return self.reach.first_dial(from, to).is_none_or(|first| first >= deaf);
        }
        // What waits to be accepted by a process that stands still is not cut with the rest.
        let waits = self.faults.find((from, to), &[Kind::Frozen], Instant::ZERO, apart).next().is_some();
        deaf + self.pace.ways(4) < apart && !waits
    }

    /// A silent peer is found dead: what was sent to it does not wait for its hard timeout.
    pub(super) fn found_dead_by(&self, life: &Life, ending: Ending) -> Option<Promise> {
        let Ending::Failed(Failure { reason: Reason::HardTimeout, executed: Executed::Maybe, .. }) = ending else {
            return None;
        };
        let (from, to) = (life.question.from, life.question.to);
        if from == to || self.well_since(life, |fault| self.blinds(from, fault)).is_none_or(|well| well > life.asked) {
            return None;
        }
        let places = [(Kind::Silent, from), (Kind::Silent, to), (Kind::Frozen, to), (Kind::Off, to)];
        let stalls = places.map(|(kind, node)| self.faults.since(kind, Place::Node(node)).map(|since| (since, kind)));
        let (since, kind) = stalls.into_iter().flatten().min_by_key(|&(since, _)| since)?;
        let silent = since.max(life.asked).max(self.last_released(to, from));
        let start = silent + self.pace.ways(2) + self.pace.busy(from, to, silent);
        let Setting { timers, .. } = &self.nodes[&from];
        let due = start + self.nodes[&from].at_most(timers.probe_waiting + timers.probe_answer) + GRACE;
        let why = format!("the peer could not be heard since {since} ({kind:?}), and is probed");
        Some(Promise { due, why })
    }

    /// When what was held back on the way from one node to another was let go last: it comes even if its sender is gone by then.
    fn last_released(&self, from: NodeIndex, to: NodeIndex) -> Instant {
        let faults = self.faults.between(from, to).filter(|fault| fault.kind == Kind::Blocked);
        let on_the_way = faults.filter(|fault| fault.place == Place::Way(from, to));
        on_the_way.filter_map(|fault| fault.until).max().unwrap_or(Instant::ZERO)
    }

    /// Whether a fault keeps a node from noticing that another is silent.
    fn blinds(&self, node: NodeIndex, fault: &Fault) -> bool {
        let of_the_process = matches!(fault.kind, Kind::Frozen | Kind::Clock | Kind::Down);
        (of_the_process && fault.place == Place::Node(node)) || fault.kind == Kind::Cramped
    }

    /// What is wrong with a query that still waits.
    pub(super) fn overdue(&self, now: Instant, all: bool, query: usize) -> Option<String> {
        let life = &self.lives[query];
        if self.is_frozen(life.question.from) {
            return None;
        }
        let Window { latest, .. } = self.window(life.question.from, life.hard);
        if latest < now || (all && latest == now) {
            return Some(format!("has no verdict; it was due at {latest}"));
        }
        let soft = life.soft.filter(|_| !life.soft_told).map(|soft| self.window(life.question.from, soft).latest);
        if let Some(soft) = soft.filter(|&soft| soft < now) {
            return Some(format!("should have become impatient at {soft}"));
        }
        let Promise { due, why } = self.promise(life)?;
        (due < now).then(|| format!("has no verdict; it was due by {due}: {why}"))
    }

    /// What is wrong with a query that a handler still has.
    pub(super) fn overdue_withdrawal(&self, now: Instant, query: usize) -> Option<String> {
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if !life.is_with_handler() || self.is_frozen(to) || !self.clocks_go_right(from, to) {
            return None;
        }
        let told = match life.ending {
            Some((at, Ending::Failed(Failure { executed: Executed::Maybe, .. }))) if life.asker_gone.is_none() => {
                self.said_by(from, to, at)
            }
            _ => None,
        };
        let until = self.window(to, life.hard).latest + self.late_until(life);
        let due = told.map_or(until, |told| told.min(until));
        (due < now)
            .then(|| format!("is still with its handler, which should have been told by {due} that nobody waits"))
    }

    /// How long after a fault its consequences are over: dials and lookups that hang, connections that are dead and not found out.
    pub(super) fn settles(&self, one: NodeIndex, other: NodeIndex) -> Duration {
        let of = |node| {
            let Setting { timers, .. } = &self.nodes[&node];
            let noticed = timers.lookup.max(timers.probe_idle + timers.probe_answer);
            self.nodes[&node].at_most(noticed + timers.connect + timers.authenticate)
        };
        of(one).max(of(other))
    }
}
