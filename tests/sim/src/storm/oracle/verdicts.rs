//! Which verdicts a query may end in, when, and why; and what its recipient may be told.
//!
//! | verdict | excused by |
//! |---|---|
//! | reply, declined | what the handler has said |
//! | refused by peer | an unknown type; a limit, at the deadline; a clock that was stepped |
//! | refused here | a limit |
//! | unreachable | each attempt that it names: a closed port, a stall that outlasted the dial, many cuts in a row |
//! | lost by peer | the end of the peer's process; few places for sessions; a clock that was stepped |
//! | hard timeout | its time, and whatever puts off the promise of an answer |
//! | cancelled | its asker |

use std::time::Duration;

use egtp::{Attempt, AttemptResult, Executed, Failure, Instant, PeerRefusal, Reason, Stage, Strategy};

use super::clock::Window;
use super::faults::{Fault, Kind, Place};
use super::life::{Answer, Expected, Life};
use super::model::{Model, Setting, told};
use super::promises::Promise;
use super::recovery::back;
use crate::NodeIndex;
use crate::transcript::Ending;

/// So many cuts may have turned a dialler away so often that it has given up.
pub(super) const MANY: usize = 5;

/// What is not written yet of a message all of whose parts have begun to leave: the rest of a record, on each of two paths.
const REST_OF_RECORDS: u64 = 2 * 16_500;

/// A verdict that a query may end in.
#[derive(Debug)]
struct Allowed {
    /// `None` for a reply.
    reason: Option<Reason>,
    when: Window,
    why: String,
}

impl Model {
    /// Everything that is wrong with a verdict, which came when the asker had written so many bytes to the recipient.
    pub(super) fn wrong_ending(&self, at: Instant, query: usize, ending: &Ending, written: u64) -> Vec<String> {
        let life = &self.lives[query];
        let mut wrong = Vec::new();
        let failure = match ending {
            Ending::Reply { .. } => None,
            Ending::Failed(failure) => Some(failure),
        };
        let reason = failure.map(|failure| failure.reason);
        let allowed = self.allowed(at, life, failure);
        let same: Vec<&Allowed> = allowed.iter().filter(|allowed| allowed.reason == reason).collect();
        if same.is_empty() {
            wrong.push(format!("ended at {at} as {ending}; {}", list(&allowed)));
        } else if !same.iter().any(|allowed| allowed.when.contains(at)) {
            let when: Vec<String> =
                same.iter().map(|allowed| format!("{}, {}", told(allowed.when), allowed.why)).collect();
            wrong.push(format!("ended at {at} as {ending}, which was allowed {}", when.join(" or ")));
        }
        if let Some(Promise { due, why }) = self.promise(life).filter(|promise| promise.due < at) {
            wrong.push(format!("ended at {at} as {ending}, though it was due by {due}: {why}"));
        }
        let soft = life.soft.filter(|_| !life.soft_told).map(|soft| self.window(life.question.from, soft).latest);
        if let Some(soft) = soft.filter(|&soft| soft < at) {
            wrong.push(format!("should have become impatient at {soft}"));
        }
        wrong.extend(failure.and_then(|failure| self.wrong_execution(at, life, failure, written)).map(str::to_owned));
        wrong
    }

    /// Which verdicts are allowed. Limits are looked at only as far as one of them may have led to what came.
    fn allowed(&self, at: Instant, life: &Life, came: Option<&Failure>) -> Vec<Allowed> {
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
            let tried = came.map_or(&[][..], |failure| &failure.tried);
            if let Some(why) = self.unreachable(life, at, tried) {
                allow(Some(Reason::Unreachable), life.asked, why);
            }
            if let Some(why) = self.lost_by_peer(life, at) {
                allow(Some(Reason::LostByPeer), life.asked, why);
            }
        }
        if let Some(Failure { reason, .. }) = came
            && let Some((earliest, why)) = self.limit_reached(life, *reason)
        {
            allow(Some(*reason), earliest, why);
        }
        allowed
    }

    /// What a peer may answer instead of its handler, other than because of its limits.
    fn refusals(&self, life: &Life, at: Instant) -> Vec<(PeerRefusal, String)> {
        let mut refusals = Vec::new();
        if life.expected().0 == Expected::UnknownType {
            refusals.push((PeerRefusal::UnknownType, "nobody serves the type".to_owned()));
        }
        // Where clocks have come apart it goes again in a session that starts them anew, once.
        let (from, to) = (life.question.from, life.question.to);
        if let Some(step) = self.faults.find((from, to), &[Kind::Clock], life.asked, at).next() {
            let late = [PeerRefusal::TooLate, PeerRefusal::NoMemory, PeerRefusal::Cancelled];
            refusals.extend(late.map(|refusal| (refusal, step.to_string())));
        }
        refusals
    }

    /// Why a peer may be unreachable: every attempt that is named had to fail, one of them where the peer is; or nobody knew where that is.
    fn unreachable(&self, life: &Life, at: Instant, tried: &[Attempt]) -> Option<String> {
        let (from, to) = (life.question.from, life.question.to);
        let home = self.nodes[&to].address;
        let since = self.round_before(from, at);
        let unknown = || self.faults.find((from, to), &[Kind::Unknown, Kind::Directory], since, at);
        let went_home = tried.iter().any(|attempt| attempt.strategy == Strategy::Address(home));
        let nowhere = unknown().next().filter(|_| !went_home);
        let mut why = nowhere.map(Fault::to_string);
        let mut attempts = tried.iter().filter(|attempt| attempt.strategy == Strategy::Address(home)).peekable();
        while let Some(attempt) = attempts.next() {
            let is_last = attempts.peek().is_none();
            why = Some(self.failed_since(life, at, since, attempt.result, is_last)?.to_string());
        }
        why
    }

    /// How long before a peer is given up its round may have begun.
    fn round_before(&self, from: NodeIndex, at: Instant) -> Instant {
        let Setting { timers, .. } = &self.nodes[&from];
        let pauses = Duration::from_secs(9);
        let round = (timers.connect + timers.authenticate) * 2 + timers.lookup + pauses;
        back(at, self.at_most(from, round) + self.pace.ways(16))
    }

    /// What made an attempt fail. Whoever turns away is tried again a few times, so that the last attempt of all needs more of a reason.
    fn failed_since(
        &self,
        life: &Life,
        at: Instant,
        since: Instant,
        result: AttemptResult,
        is_last: bool,
    ) -> Option<&Fault> {
        let (from, to) = (life.question.from, life.question.to);
        let find = |kinds| self.faults.find((from, to), kinds, since, at);
        let of_peer = |fault: &&Fault| fault.place == Place::Node(to);
        match result {
            AttemptResult::Refused => find(&[Kind::Down, Kind::Deaf]).find(of_peer),
            AttemptResult::Silent => {
                let stall = self.outlasts_dials(from, to, since, at);
                stall.or_else(|| find(&[Kind::Clock, Kind::Cramped]).next())
            }
            AttemptResult::TurnedAway => {
                let cuts: Vec<&Fault> = find(&[Kind::Cut]).collect();
                let cut = cuts.get(if is_last { MANY - 1 } else { 0 }).copied();
                let ended = || find(&[Kind::Down, Kind::Off, Kind::Cramped, Kind::Clock]).next();
                cut.or_else(ended).or_else(|| self.outlasts_dials(from, to, since, at))
            }
            // It is tried again: another attempt has failed since.
            AttemptResult::Busy => find(&[Kind::Cramped]).next(),
            _ => None,
        }
    }

    /// What may have lasted so long that a dial was given up. A system tries again after one second, two, four, and so on: stalls that are
    /// shorter than the dial, or several, may still outlast all that is tried in it.
    pub(super) fn outlasts_dials(
        &self,
        from: NodeIndex,
        to: NodeIndex,
        since: Instant,
        now: Instant,
    ) -> Option<&Fault> {
        let patience = [from, to].map(|node| &self.nodes[&node].timers);
        let patience = patience.map(|timers| timers.connect.min(timers.authenticate));
        let tries = (0..10).map(|times| Duration::from_secs((1 << times) - 1));
        let last = tries.filter(|&tried| tried < patience[0].min(patience[1])).max().unwrap_or_default();
        let between_tries = (last + Duration::from_secs(1)) / 2;
        let mut stalls: Vec<&Fault> = self.faults.find((from, to), &Kind::STALLS, since, now).collect();
        stalls.sort_by_key(|stall| stall.from);
        let mut chain = None;
        for stall in stalls {
            let end = stall.until.unwrap_or(now).min(now);
            let (began, ended) = match chain {
                Some((began, ended)) if ended + between_tries >= stall.from => (began, end.max(ended)),
                _ => (stall.from, end),
            };
            if ended.saturating_since(began) + self.pace.ways(4) >= last {
                return Some(stall);
            }
            chain = Some((began, ended));
        }
        None
    }

    /// Why a peer may have lost what it had taken.
    fn lost_by_peer(&self, life: &Life, at: Instant) -> Option<String> {
        let (from, to) = (life.question.from, life.question.to);
        let of_peer = |fault: &&Fault| fault.place == Place::Node(to);
        let ended = self.faults.find((from, to), &Kind::ENDS, self.unnoticed_since(life), at).find(of_peer);
        let clock = || self.faults.find((from, to), &[Kind::Clock], life.asked, at).next();
        ended.or_else(clock).map(Fault::to_string)
    }

    /// Since when its peer's process may have ended of whom an asker thinks as before. It hears of that from the peer's system, unless
    /// something holds the news up; from one that has lost its power, when it writes.
    fn unnoticed_since(&self, life: &Life) -> Instant {
        let (from, to) = (life.question.from, life.question.to);
        let news = self.pace.ways(2) + self.pace.busy_during(to, to, life.asked, Duration::ZERO);
        let mut since = back(life.asked, news);
        loop {
            let stalls = self.faults.find((from, to), &Kind::STALLS, since, life.asked);
            let idle = self.at_most(from, self.nodes[&from].timers.idle);
            let unheard = |stall: &Fault| back(stall.from, if stall.kind == Kind::Off { idle + news } else { news });
            match stalls.map(unheard).min() {
                Some(earlier) if earlier < since => since = earlier,
                _ => break,
            }
        }
        // An idle connection with a host that had no power for a while is still believed.
        let idle = self.at_most(from, self.nodes[&from].timers.idle);
        let off = self.faults.find((from, to), &[Kind::Off], back(life.asked, idle), life.asked);
        off.map(|off| off.from).min().map_or(since, |off| off.min(since))
    }

    fn wrong_execution(&self, at: Instant, life: &Life, failure: &Failure, written: u64) -> Option<&'static str> {
        let Failure { reason, executed, stage, ref tried } = *failure;
        let says_no = executed == Executed::No;
        if says_no && life.runs > 0 {
            return Some("is said not to have run, and it has");
        }
        let known = match reason {
            Reason::LostByPeer => Some(Executed::Maybe),
            Reason::RefusedByPeer(PeerRefusal::Declined | PeerRefusal::ReplyTooLong) => Some(Executed::Maybe),
            Reason::RefusedByPeer(_) => Some(Executed::No),
            _ => None,
        };
        if known.is_some_and(|known| known != executed) {
            return Some("says the wrong thing about whether it ran");
        }
        let written = written.saturating_sub(life.written);
        let has_left = written > 0 && written + REST_OF_RECORDS >= life.message() as u64;
        if !says_no && !life.is_to_itself() && !has_left {
            return Some("is said to have run perhaps, and not all of it has left");
        }
        let refused = tried.iter().any(|attempt| attempt.result == AttemptResult::Refused);
        if !says_no && reason == Reason::Unreachable && !refused {
            return Some("is said to be unreachable, and nothing refused that may have it");
        }
        let heard = life.arrived.is_some_and(|arrived| life.is_to_itself() || arrived + self.pace.least() <= at);
        let may_be_refused = life.expected().0 == Expected::UnknownType
            || self.may_lack_room(life)
            || !self.clocks_go_right(life.question.from, life.question.to);
        if stage == Stage::Peer && !heard && !may_be_refused {
            return Some("is said to be with the peer, which cannot have said so");
        }
        let possible = match reason {
            Reason::RefusedByPeer(_) => true,
            _ if says_no => stage <= Stage::Queue,
            _ => stage >= Stage::Wire,
        };
        (!possible && !life.is_to_itself()).then_some("is said to have been where it cannot have been")
    }

    /// What is wrong with a query that a handler is given.
    pub(super) fn wrong_arrival(&self, at: Instant, query: usize, until: Instant) -> Option<String> {
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if life.runs > 1 {
            return Some(format!("runs once more at {at}"));
        }
        if !life.is_to_itself() && at < life.asked + self.pace.least() {
            return Some(format!("arrives at {at}, before it can"));
        }
        if let Some((ended, ending @ Ending::Failed(Failure { executed: Executed::No, .. }))) = &life.ending {
            return Some(format!("runs at {at}, though it ended at {ended} as {ending}"));
        }
        if self.clocks_go_right(from, to) {
            let deadline = self.nodes[&from].deadline(life.hard);
            let latest = deadline.latest + self.late_until(life);
            let [least, most] = [deadline.earliest, latest].map(|at| self.nodes[&to].shows(at));
            // Each clock cuts to whole microseconds.
            if until + Duration::from_micros(1) < least || until > most || at > latest {
                return Some(format!("arrives at {at}, to be answered by {until} instead of {least} or little later"));
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
        let known = life.ending.as_ref().is_some_and(|(ended, _)| *ended + least <= at);
        let expired = self.nodes[&from].deadline(life.hard).earliest <= at || !self.clocks_go_right(from, to);
        let given_up = self.limit_reached(life, Reason::LostByPeer).is_some();
        if known || gave_up || life.asker_gone.is_some() || expired || given_up {
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
