//! What is known of the two queries, and what must not be true of them.

use egtp::{Executed, Failure, Instant, QueryId, Reason, Verdict};

use super::Setting;

/// The queries of a small world.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    pub(super) asked: [Asked; 2],
    /// Nodes that have crashed.
    crashed: [bool; 2],
    /// Nodes one of whose dials was refused, or not answered in its time, or followed by silence.
    undialled: [bool; 2],
    breach: Option<String>,
}

/// A query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    pub(super) asker: usize,
    /// Whether it waits longer than anything may take.
    patient: bool,
    /// Under which name, and until when.
    pub(super) outstanding: Option<(QueryId, Instant)>,
    pub(super) deadline: Option<Instant>,
    cancelled: bool,
    /// Its asker has crashed.
    gone: bool,
    /// Some part of a record was written by its asker since it was asked.
    spoken: bool,
    runs: usize,
    answered: bool,
    ended: Option<End>,
}

/// A verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    executed: Option<Executed>,
    at: Instant,
}

impl Ledger {
    pub(super) fn new(setting: &Setting) -> Self {
        let asked = [(0, !setting.hurried), (usize::from(setting.mutual), true)].map(|(asker, patient)| Asked {
            asker,
            patient,
            outstanding: None,
            deadline: None,
            cancelled: false,
            gone: false,
            spoken: false,
            runs: 0,
            answered: false,
            ended: None,
        });
        Self { asked, crashed: [false; 2], undialled: [false; 2], breach: None }
    }

    /// What was broken first.
    pub(super) fn breach(&self) -> Option<&String> {
        self.breach.as_ref()
    }

    pub(super) fn break_with(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }

    pub(super) fn ask(&mut self, query: usize, id: QueryId, deadline: Instant) {
        let asked = &mut self.asked[query];
        (asked.outstanding, asked.deadline) = (Some((id, deadline)), Some(deadline));
    }

    pub(super) fn cancel(&mut self, query: usize) {
        self.asked[query].cancelled = true;
    }

    pub(super) fn answer(&mut self, query: usize) {
        self.asked[query].answered = true;
    }

    /// A node wrote some part of a record.
    pub(super) fn spoke(&mut self, node: usize) {
        for asked in self.asked.iter_mut().filter(|asked| asked.asker == node && asked.deadline.is_some()) {
            asked.spoken = true;
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        self.crashed[node] = true;
        for asked in self.asked.iter_mut().filter(|asked| asked.asker == node && asked.outstanding.is_some()) {
            (asked.outstanding, asked.gone) = (None, true);
        }
    }

    pub(super) fn fail_dial(&mut self, node: usize) {
        self.undialled[node] = true;
    }

    /// A handler was given a query.
    pub(super) fn run(&mut self, query: usize, node: usize) {
        let asked = &mut self.asked[query];
        asked.runs += 1;
        let Asked { asker, deadline, runs, ended, .. } = *asked;
        if asker == node || deadline.is_none() {
            self.break_with(format!("query {query} ran where it was not asked"));
        } else if runs > 1 {
            self.break_with(format!("query {query} ran {runs} times"));
        } else if ended.is_some_and(|end| end.executed == Some(Executed::No)) {
            self.break_with(format!("query {query} ran after it was said not to have run"));
        }
    }

    /// A query has its verdict.
    pub(super) fn end(&mut self, query: usize, node: usize, at: Instant, verdict: &Verdict, expected: &[u8]) {
        let asked = self.asked[query];
        let Some((_, deadline)) = asked.outstanding.filter(|_| asked.asker == node) else {
            return self.break_with(format!("query {query} has a verdict more: {verdict:?}"));
        };
        let executed = match verdict {
            Verdict::Reply(_) => None,
            Verdict::Failed(failure) => Some(failure.executed),
        };
        let ended = &mut self.asked[query];
        (ended.outstanding, ended.ended) = (None, Some(End { executed, at }));
        let wrong = match verdict {
            _ if at > deadline => Some("comes too late"),
            Verdict::Reply(reply) => {
                (!asked.answered || reply.body != expected).then_some("is no answer that its handler gave")
            }
            Verdict::Failed(failure) => self.wrong_with(&asked, failure, at >= deadline),
        };
        if let Some(wrong) = wrong {
            self.break_with(format!("the verdict of query {query} {wrong}: {verdict:?}"));
        }
    }

    fn wrong_with(&self, asked: &Asked, failure: &Failure, is_due: bool) -> Option<&'static str> {
        let recipient = 1 - asked.asker;
        match failure.executed {
            Executed::No if asked.runs > 0 => return Some("says that it did not run, and it did"),
            Executed::Maybe if !asked.spoken => return Some("says that it may have run, and nothing has left"),
            Executed::No | Executed::Maybe => {}
        }
        let excused = match failure.reason {
            Reason::Cancelled => asked.cancelled,
            Reason::HardTimeout => is_due,
            Reason::LostByPeer => self.crashed[recipient],
            Reason::Unreachable => self.undialled[asked.asker],
            _ => false,
        };
        (!excused).then_some("has nothing that excuses it")
    }

    /// Whether a node waits for an answer, and has not given up waiting for another: a handshake that was begun for that is forgotten.
    pub(super) fn waits(&self, node: usize) -> bool {
        let mut own = self.asked.iter().filter(|asked| asked.asker == node);
        let gave_up = |asked: &Asked| asked.ended.is_some_and(|end| end.executed.is_some());
        own.clone().any(|asked| asked.outstanding.is_some()) && !own.any(gave_up)
    }

    pub(super) fn next_to_ask(&self) -> Option<usize> {
        self.asked.iter().position(|asked| asked.deadline.is_none())
    }

    pub(super) fn is_over(&self) -> bool {
        self.asked.iter().all(|asked| asked.ended.is_some() || asked.gone)
    }

    /// Whoever has no verdict before its deadline although the network has behaved since `from`.
    pub(super) fn late_since(&self, from: Instant) -> Option<usize> {
        let is_late = |asked: &Asked| {
            let Some(deadline) = asked.deadline.filter(|&due| due > from && asked.patient && !asked.gone) else {
                return false;
            };
            asked.ended.is_none_or(|end| end.at >= deadline)
        };
        self.asked.iter().position(is_late)
    }

    /// The last deadline.
    pub(super) fn last_deadline(&self) -> Option<Instant> {
        self.asked.iter().filter_map(|asked| asked.deadline).max()
    }
}
