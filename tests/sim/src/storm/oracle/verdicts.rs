//! Which verdicts a query may end in, when, and why; and what its recipient may be told.

use std::time::Duration;

use egtp::{Executed, Failure, Instant, PeerRefusal, Reason, Stage};

use super::clock::Window;
use super::faults::{Fault, Kind, Place};
use super::life::{Answer, Life};
use super::model::{Model, Setting, told};
use super::promises::Promise;
use crate::NodeIndex;
use crate::transcript::Ending;

/// A verdict that a query may end in.
#[derive(Debug)]
struct Allowed {
    /// `None` for a reply.
    reason: Option<Reason>,
    when: Window,
    why: String,
}

impl Model {
    /// Everything that is wrong with a verdict.
    pub(super) fn wrong_ending(&self, at: Instant, query: usize, ending: Ending) -> Vec<String> {
        let life = &self.lives[query];
        let mut wrong = Vec::new();
        let reason = match ending {
            Ending::Reply { .. } => None,
            Ending::Failed(failure) => Some(failure.reason),
        };
        let allowed = self.allowed(at, life, reason);
        let same: Vec<&Allowed> = allowed.iter().filter(|allowed| allowed.reason == reason).collect();
        if same.is_empty() {
            wrong.push(format!("ended at {at} as {ending}; {}", list(&allowed)));
        } else if !same.iter().any(|allowed| allowed.when.contains(at)) {
            let when: Vec<String> =
                same.iter().map(|allowed| format!("{}, {}", told(allowed.when), allowed.why)).collect();
            wrong.push(format!("ended at {at} as {ending}, which was allowed {}", when.join(" or ")));
        }
        let promises = [self.promise(life), self.found_dead_by(life, ending)];
        for Promise { due, why } in promises.into_iter().flatten() {
            if due < at {
                wrong.push(format!("ended at {at} as {ending}, though it was due by {due}: {why}"));
            }
        }
        let soft = life.soft.filter(|_| !life.soft_told).map(|soft| self.window(life.question.from, soft).latest);
        if let Some(soft) = soft.filter(|&soft| soft < at) {
            wrong.push(format!("should have become impatient at {soft}"));
        }
        if let Ending::Failed(failure) = ending {
            wrong.extend(self.wrong_execution(at, life, failure).map(str::to_owned));
        }
        wrong
    }

    /// Which verdicts are allowed. Limits are looked at only as far as one of them may have led to what came.
    fn allowed(&self, at: Instant, life: &Life, came: Option<Reason>) -> Vec<Allowed> {
        let deadline = self.window(life.question.from, life.hard);
        let least = if life.is_to_itself() { Duration::ZERO } else { self.pace.least() };
        let mut allowed =
            vec![Allowed { reason: Some(Reason::HardTimeout), when: deadline, why: "its time has come".to_owned() }];
        let mut allow = |reason, earliest: Instant, why: String| {
            allowed.push(Allowed { reason, when: Window { earliest, latest: deadline.latest.max(at) }, why });
        };
        if let Some(at) = life.cancelled {
            allow(Some(Reason::Cancelled), at, "it was cancelled".to_owned());
        }
        if let Some((answered, answer)) = life.answer {
            let reason = match answer {
                Answer::Reply => None,
                Answer::Declined => Some(Reason::RefusedByPeer(PeerRefusal::Declined)),
            };
            allow(reason, answered + least, format!("its handler said so at {answered}"));
        }
        for (refusal, why) in self.refusals(life, at) {
            allow(Some(Reason::RefusedByPeer(refusal)), life.asked + least * 2, why);
        }
        if !life.is_to_itself() {
            // A session that makes room for another takes what is partly written with it.
            let may_go_in_part = self.may_have_three_sessions(life, at);
            let whole = if may_go_in_part { Duration::ZERO } else { self.leaves_after(life) };
            let excuses = [
                (Reason::Unreachable, Duration::ZERO, self.unreachable(life, at)),
                (Reason::ConnectionLost, whole, self.connection_lost(life, at)),
                (Reason::LostByPeer, self.leaves_after(life) + least, self.lost_by_peer(life, at)),
            ];
            for (reason, earliest, why) in excuses {
                if let Some(why) = why {
                    allow(Some(reason), life.asked + earliest, why);
                }
            }
        }
        if let Some((reason, (earliest, why))) = came.and_then(|came| Some((came, self.limit_reached(life, came)?))) {
            allow(Some(reason), earliest, why);
        }
        allowed
    }

    /// What a peer may answer instead of its handler, other than because of its limits.
    fn refusals(&self, life: &Life, at: Instant) -> Vec<(PeerRefusal, String)> {
        let mut refusals = Vec::new();
        if life.expected().0 == super::life::Expected::UnknownType {
            refusals.push((PeerRefusal::UnknownType, "nobody serves the type".to_owned()));
        }
        // A session in which clocks have come apart is left at the first such refusal. What comes in pieces is given up with it.
        if let Some(step) = self.fault(life, at, self.pace.ways(8), &[Kind::Clock]) {
            refusals.extend([PeerRefusal::TooLate, PeerRefusal::NoMemory].map(|refusal| (refusal, step.clone())));
        }
        refusals
    }

    /// Why a peer may be unreachable.
    fn unreachable(&self, life: &Life, at: Instant) -> Option<String> {
        let peer = |fault: &&Fault| fault.place == Place::Node(life.question.to);
        let dial = self.pace.ways(4);
        let asker = &self.nodes[&life.question.from];
        let lookup = asker.at_most(asker.timers.lookup);
        let refused = self.faults_of(life, at, dial, &[Kind::Down, Kind::Deaf, Kind::Unknown]).find(peer);
        let refused = refused.map(Fault::to_string);
        refused
            .or_else(|| self.fault(life, at, lookup + dial, &[Kind::Directory]))
            .or_else(|| self.fault(life, at, dial, &[Kind::Cut, Kind::Fragile, Kind::Clock, Kind::Cramped]))
            .or_else(|| self.stalled(life, at))
    }

    /// Why a connection may have ended that a query had gone by.
    fn connection_lost(&self, life: &Life, at: Instant) -> Option<String> {
        let (from, to) = (life.question.from, life.question.to);
        let news = self.pace.ways(2) + self.pace.busy(from, to, life.asked);
        let later = self.settles(from, to);
        if self.is_stuck(life) {
            return None;
        }
        self.fault(life, at, news, &[Kind::Cut, Kind::Fragile, Kind::Down])
            .or_else(|| self.fault(life, at, later, &[Kind::Off, Kind::Clock, Kind::Cramped]))
            .or_else(|| self.stalled(life, at))
    }

    /// Why a peer may have lost what it had taken.
    fn lost_by_peer(&self, life: &Life, at: Instant) -> Option<String> {
        let settles = self.settles(life.question.from, life.question.to);
        let kinds = [Kind::Down, Kind::Off, Kind::Clock, Kind::Cramped];
        let crosses =
            || self.fault(life, at, settles, &[Kind::Cut, Kind::Fragile]).filter(|_| self.asks_back(life, settles));
        self.fault(life, at, settles, &kinds).or_else(|| self.stalled(life, at)).or_else(crosses)
    }

    /// Whether the recipient had something to say to the asker of its own. Both dial then, and each may begin a session: with one
    /// that replaces a connection's these are three, and the oldest is given up; that the peer says so may be lost with a connection.
    fn asks_back(&self, life: &Life, lately: Duration) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let since = back(life.asked, lately);
        let late = self.lives.iter().rev().take_while(|other| other.asked >= since);
        let mut back = late.filter(|other| (other.question.from, other.question.to) == (to, from));
        back.next().is_some() || self.notices.sent_by(to).any(|(recipient, sent, _)| recipient == from && sent >= since)
    }

    /// Something between the two lasted, or has lasted lately, so long that dials, probes and leave-taking were given up.
    fn stalled(&self, life: &Life, at: Instant) -> Option<String> {
        let (from, to) = (life.question.from, life.question.to);
        let patience = [from, to].map(|node| {
            let setting = &self.nodes[&node];
            let Setting { timers, limits, .. } = setting;
            let patience = timers.connect.min(timers.authenticate).min(timers.probe_answer);
            // Where few connections are kept, one may be about to be left.
            let is_left = limits.maintained_connections < self.around(node);
            setting.at_least(if is_left { patience.min(timers.linger) } else { patience })
        });
        let patience = patience[0].min(patience[1]).saturating_sub(self.pace.ways(4));
        let lately = back(at, self.settles(from, to));
        let stalls = self
            .faults
            .between(from, to)
            .filter(|fault| Kind::STALLS.contains(&fault.kind) && fault.until.is_none_or(|until| until >= lately));
        let longest = stalls.min_by_key(|fault| fault.from)?;
        (at.saturating_since(longest.from) >= patience).then(|| longest.to_string())
    }

    fn fault(&self, life: &Life, at: Instant, before: Duration, kinds: &[Kind]) -> Option<String> {
        self.faults_of(life, at, before, kinds).next().map(Fault::to_string)
    }

    /// Faults between asker and recipient from a while before a query was asked until now.
    fn faults_of<'a>(
        &'a self,
        life: &Life,
        at: Instant,
        before: Duration,
        kinds: &'a [Kind],
    ) -> impl Iterator<Item = &'a Fault> {
        let between = (life.question.from, life.question.to);
        self.faults.find(between, kinds, self.news_since(between, life.asked, before), at)
    }

    /// Since when something may have happened that is news at this instant or later. News take so long, and do not get through while
    /// something is in their way.
    fn news_since(&self, between: (NodeIndex, NodeIndex), at: Instant, news: Duration) -> Instant {
        let mut since = back(at, news);
        loop {
            let stalls = self.faults.find(between, &Kind::STALLS, since, at);
            match stalls.map(|stall| back(stall.from, news)).min() {
                Some(earlier) if earlier < since => since = earlier,
                _ => return since,
            }
        }
    }

    fn leaves_after(&self, life: &Life) -> Duration {
        self.pace.leaves_after(life.question.from, life.body())
    }

    fn wrong_execution(&self, at: Instant, life: &Life, failure: Failure) -> Option<&'static str> {
        let Failure { reason, executed, stage } = failure;
        let says_no = executed == Executed::No;
        if says_no && life.runs > 0 {
            return Some("is said not to have run, and it has");
        }
        let known = match reason {
            Reason::Unreachable => Some(Executed::No),
            Reason::ConnectionLost | Reason::LostByPeer => Some(Executed::Maybe),
            Reason::RefusedByPeer(PeerRefusal::Declined | PeerRefusal::ReplyTooLong) => Some(Executed::Maybe),
            Reason::RefusedByPeer(_) => Some(Executed::No),
            _ => None,
        };
        if known.is_some_and(|known| known != executed) {
            return Some("says the wrong thing about whether it ran");
        }
        if !says_no && self.cannot_have_left(life) {
            return Some("is said to have run perhaps, and nothing of it can have left");
        }
        let heard = life.arrived.is_some_and(|arrived| life.is_to_itself() || arrived + self.pace.least() <= at);
        if stage == Stage::Peer && !heard {
            return Some("is said to be with the peer, which cannot have said so");
        }
        if stage >= Stage::Wire && self.is_stuck(life) {
            return Some("is said to have left whole, and cannot have");
        }
        let possible = match reason {
            Reason::Unreachable => stage <= Stage::Handshake,
            Reason::ConnectionLost if stage == Stage::Queue => self.may_have_three_sessions(life, at),
            Reason::ConnectionLost => stage >= Stage::Wire,
            _ if says_no => stage <= Stage::Queue || matches!(reason, Reason::RefusedByPeer(_)),
            _ => stage >= Stage::Queue,
        };
        (!possible).then_some("is said to have been where it cannot have been")
    }

    /// Whether asker and recipient may have made more sessions than they keep: two when both dial, and another because one of the two has
    /// lost its own or replaces them often.
    fn may_have_three_sessions(&self, life: &Life, at: Instant) -> bool {
        let settles = self.settles(life.question.from, life.question.to);
        let starts_again = self.fault(life, at, settles, &[Kind::Down, Kind::Off]).is_some();
        starts_again || [life.question.from, life.question.to].into_iter().any(|node| self.loses_sessions(node))
    }

    /// Whether there was no way to the peer in all the time since a query was asked.
    fn cannot_have_left(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        self.cannot_leave(from, to).is_some_and(|(since, _)| {
            since + self.pace.ways(2) + self.pace.busy(from, from, since) < life.asked
                && self
                    .faults
                    .find((from, to), &Kind::STALLS, back(since, self.settles(from, to)), life.asked)
                    .next()
                    .is_none()
        })
    }

    /// Whether something has been in the way since before a query was asked that is longer than what a link holds.
    fn is_stuck(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let is_in_the_way = |fault: &Fault| match fault.place {
            Place::Node(_) if fault.kind == Kind::Silent => true,
            Place::Node(node) => fault.kind == Kind::Frozen && node == to,
            Place::Way(start, _) => fault.kind == Kind::Blocked && start == from,
            Place::World => false,
        };
        let mut faults = self.faults.between(from, to);
        !life.is_to_itself()
            && !self.pace.holds(life.body())
            && faults.any(|fault| is_in_the_way(fault) && fault.from <= life.asked && fault.until.is_none())
    }

    /// What is wrong with a query that a handler is given.
    pub(super) fn wrong_arrival(&self, at: Instant, query: usize, time_left: Duration) -> Option<String> {
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if life.runs > 1 {
            return Some(format!("runs once more at {at}"));
        }
        if !life.is_to_itself() && at < life.asked + self.pace.least() {
            return Some(format!("arrives at {at}, before it can"));
        }
        if let Some((ended, ending @ Ending::Failed(Failure { executed: Executed::No, .. }))) = life.ending {
            return Some(format!("runs at {at}, though it ended at {ended} as {ending}"));
        }
        if self.clocks_go_right(from, to) {
            let deadline = self.nodes[&from].deadline(life.hard);
            let left = self.nodes[&to].between(at, deadline.earliest).saturating_sub(self.early_by_drift(life));
            let most = deadline.latest.saturating_since(at) + self.late_until(life);
            if time_left < left || time_left > most || at > deadline.latest + self.late_until(life) {
                return Some(format!("arrives at {at} with {time_left:?} left, instead of {left:?} or little more"));
            }
        }
        None
    }

    /// What is wrong with telling a handler that nobody waits.
    pub(super) fn wrong_withdrawal(&self, at: Instant, query: usize) -> Option<String> {
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if life.arrived.is_none() {
            return Some(format!("is withdrawn at {at} and never came"));
        }
        // A handler that is called late may answer what has just been withdrawn, or what is over by a clock that has jumped.
        let answered_before = life.answer.is_some_and(|(answered, _)| answered < at) && self.clocks_go_right(from, to);
        if life.withdrawn.is_some() || answered_before {
            return Some(format!("is withdrawn at {at}, though it was answered or withdrawn before"));
        }
        let least = if life.is_to_itself() { Duration::ZERO } else { self.pace.least() };
        // To itself a node says so before it says the verdict.
        let gave_up = life.is_to_itself() && life.cancelled.is_some();
        let known = life.ending.is_some_and(|(ended, _)| ended + least <= at) || life.asker_gone.is_some() || gave_up;
        let deadline = self.nodes[&from].deadline(life.hard).earliest;
        let expired = deadline <= at + self.early_by_drift(life) || !self.clocks_go_right(from, to);
        if known || expired || self.lost_by_peer(life, at).is_some() {
            return None;
        }
        Some(format!("is withdrawn at {at}, though its asker waits"))
    }
}

fn list(allowed: &[Allowed]) -> String {
    let one = |Allowed { reason, when, why }: &Allowed| {
        let name = reason.map_or("reply", Reason::name);
        format!("{name} {} ({why})", told(*when))
    };
    let all: Vec<String> = allowed.iter().map(one).collect();
    format!("allowed was only {}", all.join("; "))
}

pub(super) fn back(at: Instant, by: Duration) -> Instant {
    let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(at.as_micros().saturating_sub(by))
}
