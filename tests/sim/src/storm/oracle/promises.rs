//! What is sure to happen, and by when: what is owed once nothing goes wrong any more, and what is owed in spite of it.

use std::time::Duration;

use egtp::{Executed, Failure, Instant};

use super::clock::Window;
use super::faults::{Fault, Kind, Place};
use super::life::{Expected, Life};
use super::model::Model;
use super::recovery::FIRST_PAUSE;
use super::recovery::back;
use super::verdicts::MANY;
use crate::NodeIndex;
use crate::transcript::Ending;

/// A message goes from one end to the other so often at most until it is through: dial, handshake (asking about a session that the
/// peer has lost may come before), query, reply; with as much again for two nodes that dial each other at once.
const WAYS: u32 = 16;

/// So much more, for timers that are rounded up, and a peer that has a second to show that it still holds a session.
const GRACE: Duration = Duration::from_millis(1200);

/// Trouble that is longer ago than this does not keep a node from failing at once.
const LATELY: Duration = Duration::from_secs(60);

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

    /// Once nothing goes wrong between two nodes any more, what is asked is answered. Cuts, blocks and silence are no verdicts.
    fn answers(&self, life: &Life) -> Option<Promise> {
        let (Expected::Reply | Expected::Declined | Expected::UnknownType, since) = life.expected() else {
            return None;
        };
        let (from, to) = (life.question.from, life.question.to);
        if self.may_lack_room(life) {
            return None;
        }
        let due = self.through_by(from, to, since.max(self.was_crowded(from, to)))?;
        let why = match self.recovered(from, to, since) {
            Some(recovered) if recovered > since => format!("what was wrong between the two was over by {recovered}"),
            _ => "nothing was wrong between the two nodes".to_owned(),
        };
        Some(Promise { due, why })
    }

    /// When what one node has for another since then is through, with its answer, if nothing goes wrong between them any more.
    pub(super) fn through_by(&self, from: NodeIndex, to: NodeIndex, since: Instant) -> Option<Instant> {
        let since = since.max(self.recovered(from, to, since)?);
        if from == to {
            return Some(since);
        }
        let takes = self.pace.ways(WAYS) + GRACE + self.impatience(from, to);
        Some(since + takes + self.pace.busy_during(from, to, since, takes))
    }

    /// What cannot leave the machine fails at once.
    fn fails_fast(&self, life: &Life) -> Option<Promise> {
        let (from, to) = (life.question.from, life.question.to);
        let (since, why) = self.cannot_leave(life)?;
        let trouble = |fault: &&Fault| match fault.kind {
            Kind::Down | Kind::Deaf | Kind::Unknown => fault.place == Place::Node(from),
            _ => true,
        };
        let news = self.pace.ways(2);
        let news = news + self.pace.busy_during(from, to, since, news);
        // What is asked before the news is there may have left.
        let since = Some(since + news).filter(|&known| known <= life.asked).map(|_| life.asked)?;
        let between = self.faults.between(from, to).filter(trouble);
        // Whoever was turned away just before is tried again after a pause.
        let due = since + self.pace.ways(8) + FIRST_PAUSE;
        if between.into_iter().any(|fault| fault.is_within(back(life.asked, LATELY), due)) {
            return None;
        }
        Some(Promise { due, why })
    }

    /// Since when nothing of a query can have a way to its peer, as the asker's own system tells it at once.
    fn cannot_leave(&self, life: &Life) -> Option<(Instant, String)> {
        let (from, to) = (life.question.from, life.question.to);
        let peer = Place::Node(to);
        if from == to {
            return None;
        }
        if let Some(since) = self.faults.since(Kind::Down, peer).filter(|&since| since <= life.asked) {
            return Some((since, format!("node {} had crashed at {since}", to.number())));
        }
        let never_met = !self.reach.may_have_met(to, from, life.asked);
        if let Some(deaf) = self.faults.since(Kind::Deaf, peer)
            && never_met
            && self.reach.first_dial(from, to).is_none_or(|first| first >= deaf)
        {
            return Some((
                deaf,
                format!("node {} had closed its port at {deaf}, and no connection was left", to.number()),
            ));
        }
        let unknown = self.faults.since(Kind::Unknown, peer)?;
        let why = format!("node {} was unknown to the directory since {unknown}, and to the asker", to.number());
        (never_met && self.reach.is_unheard_of(from, to)).then_some((unknown, why))
    }

    /// When a notice that was sent then is heard at the latest. It has no verdict: like a query it goes again, but not under another number
    /// nor in another session, and where the peer cannot be reached it is given up.
    pub(super) fn notice_due(&self, now: Instant, from: NodeIndex, to: NodeIndex, sent: Instant) -> Option<Instant> {
        let ends = [Kind::Down, Kind::Off, Kind::Clock, Kind::Deaf, Kind::Cramped, Kind::Unknown, Kind::Directory];
        let mut faults = self.faults.between(from, to).filter(|fault| fault.is_within(back(sent, LATELY), now));
        let cuts = self.faults.find((from, to), &[Kind::Cut], back(sent, LATELY), now).count();
        let may_be_given_up = faults.any(|fault| ends.contains(&fault.kind))
            || self.outlasts_dials(from, to, back(sent, LATELY), now).is_some();
        if may_be_given_up || cuts >= MANY || self.is_crowded(from, to, 1) {
            return None;
        }
        self.through_by(from, to, sent.max(self.was_crowded(from, to)))
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
        let told = match &life.ending {
            Some((at, Ending::Failed(Failure { executed: Executed::Maybe, .. }))) if life.asker_gone.is_none() => {
                let untroubled = self.recovered(from, to, *at).is_some_and(|recovered| recovered <= *at);
                self.through_by(from, to, *at).filter(|_| untroubled)
            }
            _ => None,
        };
        let until = self.window(to, life.hard).latest + self.late_until(life);
        let due = told.map_or(until, |told| told.min(until));
        (due < now)
            .then(|| format!("is still with its handler, which should have been told by {due} that nobody waits"))
    }
}
