//! Which verdicts a query may end in, when, and why; and what its recipient may be told.

use egtp::{Executed, Failure, Instant, PeerRefusal, Reason};

use super::life::{Answer, Life};
use super::model::{Model, told};
use crate::transcript::Ending;

impl Model {
    /// Everything that is wrong with a verdict.
    pub(super) fn wrong_ending(&self, at: Instant, query: usize, ending: &Ending) -> Vec<String> {
        let life = &self.lives[query];
        let mut wrong = Vec::new();
        let deadline = self.window(life.question.from, life.hard);
        if at > deadline.latest {
            wrong.push(format!("ended at {at} as {ending}, which was allowed {}", told(deadline)));
        }
        match ending {
            Ending::Reply { .. } => {
                if !matches!(life.answer, Some((_, Answer::Reply))) {
                    wrong.push(format!("ended at {at} as {ending}, and its handler never said so"));
                }
            }
            Ending::Failed(Failure { reason, executed, .. }) => {
                if *executed == Executed::No && life.runs > 0 {
                    wrong.push("is said not to have run, and it has".to_owned());
                }
                if *reason == Reason::HardTimeout && at < deadline.earliest {
                    wrong.push(format!("ended at {at} as {ending}, which was due {}", told(deadline)));
                }
                if *reason == Reason::RefusedByPeer(PeerRefusal::Declined)
                    && !matches!(life.answer, Some((_, Answer::Declined)))
                {
                    wrong.push(format!("ended at {at} as {ending}, and its handler never said so"));
                }
            }
        }
        wrong
    }

    /// What is wrong with a query that a handler is given.
    pub(super) fn wrong_arrival(&self, at: Instant, query: usize) -> Option<String> {
        let life = &self.lives[query];
        if life.runs > 1 {
            return Some(format!("runs once more at {at}"));
        }
        match &life.ending {
            Some((ended, ending @ Ending::Failed(Failure { executed: Executed::No, .. }))) => {
                Some(format!("runs at {at}, though it ended at {ended} as {ending}"))
            }
            _ => None,
        }
    }

    /// What is wrong with telling a handler that nobody waits.
    pub(super) fn wrong_withdrawal(&self, at: Instant, query: usize) -> Option<String> {
        let life = &self.lives[query];
        if life.arrived.is_none() {
            return Some(format!("is withdrawn at {at} and never came"));
        }
        life.withdrawn.is_some().then(|| format!("is withdrawn at {at}, though it was withdrawn before"))
    }

    /// What is wrong with a query that still waits.
    pub(super) fn overdue(&self, now: Instant, all: bool, query: usize) -> Option<String> {
        let life: &Life = &self.lives[query];
        if self.is_frozen(life.question.from) {
            return None;
        }
        let latest = self.window(life.question.from, life.hard).latest;
        (latest < now || (all && latest == now)).then(|| format!("has no verdict; it was due at {latest}"))
    }
}
