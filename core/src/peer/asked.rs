//! Own queries for a peer: from waiting over a number to the one verdict.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Peer, account};
use crate::conversation::QueryState;
use crate::env::Env;
use crate::id::QueryId;
use crate::query::{Delivery, Executed, Failure, PeerRefusal, Reason, Refusal, Reply, Stage, Verdict, Via};
use crate::session::{Arrived, Progress, Unanswered};
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::message::{Kind, Message};
use crate::wire::packet::SessionId;

impl Peer {
    /// A query or notice waits for a number.
    pub(crate) fn ask(&mut self, env: &mut Env, query: QueryId) {
        self.waiting.insert(query);
        self.way.wake();
        self.mark(env);
    }

    /// Queries whose pause is over wait like the others.
    pub(super) fn resume_paused(&mut self, env: &Env) {
        while let Some(&(until, query)) = self.paused.first()
            && until <= env.now
        {
            self.paused.pop_first();
            self.waiting.insert(query);
        }
    }

    /// Gives numbers to what waits, in the best session, if the peer is believed to hold it.
    pub(super) fn number(&mut self, env: &mut Env) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(best) = self.sessions.best().map(|held| held.session.id()) else { return };
        let Some(held) = self.sessions.get_mut(best) else { return };
        if !held.session.is_live(env.now) || held.stale {
            return;
        }
        while held.session.can_ask()
            && let Some(query) = self.waiting.pop_first()
        {
            let Some(asked) = env.queries.get_mut(query) else { continue };
            let (notice, deadline) = (asked.is_notice(), asked.deadline());
            let Some(message) = asked.take_message() else { continue };
            let number = held.session.ask(env.now, query.0, message, notice, deadline);
            asked.numbered(best, number);
        }
    }

    /// A query ends for this reason, with what its state says about whether it may have run.
    pub(crate) fn give_up(&mut self, env: &mut Env, query: QueryId, mut reason: Reason) {
        let mut executed = Executed::No;
        if let Some((sid, number)) = self.session_of(env, query) {
            let progress = self.sessions.get(sid).and_then(|held| held.session.progress(number));
            if progress != Some(Progress::Here) {
                executed = Executed::Maybe;
            }
        } else if let (Reason::HardTimeout, Some(busy)) =
            (reason, env.queries.get(query).and_then(|asked| asked.busy()))
        {
            // Its peer has said why it waits.
            reason = Reason::RefusedByPeer(busy);
        }
        self.fail(env, query, reason, executed);
    }

    /// A query ends for this reason.
    pub(super) fn fail(&mut self, env: &mut Env, query: QueryId, reason: Reason, executed: Executed) {
        let tells_what_was_tried = matches!(reason, Reason::Unreachable | Reason::HardTimeout);
        let tried = if tells_what_was_tried { self.way.attempts() } else { Vec::new() };
        let stage = self.stage_of(env, query);
        self.end(env, query, Verdict::Failed(Failure { reason, executed, stage, tried }));
    }

    fn stage_of(&self, env: &Env, query: QueryId) -> Stage {
        let Some((sid, number)) = self.session_of(env, query) else { return self.stage(env) };
        match self.sessions.get(sid).and_then(|held| held.session.progress(number)) {
            Some(Progress::Here) | None => Stage::Queue,
            Some(Progress::Left) => Stage::Wire,
            Some(Progress::There) => Stage::Peer,
        }
    }

    /// The one place where a query to a peer ends: frees all its storage and says the verdict.
    fn end(&mut self, env: &mut Env, query: QueryId, verdict: Verdict) {
        self.release(env, query, !is_settled(&verdict));
        let hint = env.queries.get(query).map(|asked| asked.hint());
        let Some(ended) = env.queries.end(query, &mut env.timers) else { return };
        if let (Some(hint), Some(on)) = (hint, self.best_path(env))
            && let Some(connection) = env.connections.get_mut(on)
        {
            connection.expect(hint);
        }
        if !ended.notice {
            env.deliver(Delivery::Verdict { query, tag: ended.tag, verdict });
        }
        self.mark(env);
    }

    /// Takes a query out of wherever it is with this peer. Where it has a number it may be `cancelled`.
    fn release(&mut self, env: &mut Env, query: QueryId, cancelled: bool) -> Option<Message> {
        if let Some((sid, number)) = self.session_of(env, query) {
            let held = self.sessions.get_mut(sid)?;
            let given_up = held.session.give_up(number, cancelled, &mut account(&mut self.charges, env))?;
            Self::withdraw_records(env, sid, given_up.withdrawn);
            return Some(given_up.message);
        }
        if !self.waiting.remove(&query) {
            self.paused.retain(|&(_, other)| other != query);
        }
        None
    }

    /// A notice that the peer has, or that will not be told any more, ends in silence.
    pub(super) fn end_notice(&mut self, env: &mut Env, query: QueryId) {
        env.queries.end(query, &mut env.timers);
        self.mark(env);
    }

    /// A query goes again under another number, after a pause; but nothing is asked any more while the node shuts down.
    fn goes_again(&mut self, env: &mut Env, query: QueryId, message: Message, pause: Duration) {
        let Some(asked) = env.queries.get_mut(query) else { return };
        asked.waits_again(message);
        if env.stopping {
            return self.fail(env, query, Reason::RefusedHere(Refusal::ShuttingDown), Executed::No);
        }
        if pause.is_zero() {
            self.waiting.insert(query);
        } else {
            let pause = super::paths::jittered(&mut env.random, pause);
            self.paused.insert((env.now + pause, query));
        }
        self.mark(env);
    }

    /// The session in which a query had its number has ended: it is lost with it, or goes again.
    pub(super) fn session_has_ended(&mut self, env: &mut Env, unanswered: Unanswered, lost: bool) {
        let query = QueryId(unanswered.query);
        let Some(asked) = env.queries.get_mut(query) else { return };
        if asked.is_notice() {
            return self.end_notice(env, query);
        }
        let stage = match unanswered.progress {
            Progress::Here => Stage::Queue,
            Progress::Left => Stage::Wire,
            Progress::There => Stage::Peer,
        };
        if lost {
            let failure = Failure { reason: Reason::LostByPeer, executed: Executed::Maybe, stage, tried: Vec::new() };
            // The session is gone already; so nothing is left to be released.
            asked.waits_again(unanswered.message);
            return self.end(env, query, Verdict::Failed(failure));
        }
        let pause = asked.pause(false);
        self.goes_again(env, query, unanswered.message, pause);
    }

    /// What became of a query has arrived. It counts only if it refers to that very query; else nothing changes.
    pub(super) fn replied(&mut self, env: &mut Env, query: QueryId, code: ReplyCode, arrived: Arrived<'_>) -> bool {
        let Some(asked) = env.queries.get(query) else { return false };
        let is_its = arrived.heading().is_some_and(|heading| {
            !asked.is_notice()
                && heading.kind == Kind::Reply
                && heading.recipient == env.id
                && heading.reference == Some(asked.reference())
                && heading.type_name == asked.type_name().as_str()
        });
        if !is_its {
            return false;
        }
        let refusal = match code {
            ReplyCode::Answer => {
                let body = arrived.body.into_owned();
                self.end(env, query, Verdict::Reply(Reply { body, via: Via::Direct }));
                return true;
            }
            ReplyCode::Declined => PeerRefusal::Declined,
            ReplyCode::ReplyTooLong | ReplyCode::Forgotten => PeerRefusal::ReplyTooLong,
        };
        self.fail(env, query, Reason::RefusedByPeer(refusal), Executed::Maybe);
        true
    }

    /// The peer says that a query did not run under its number. If it has no room, it is asked again while there is time; if it calls late what
    /// this node still waits for, their clocks have gone apart, and the query goes again, once, in a session that starts them anew.
    pub(super) fn refused(&mut self, env: &mut Env, query: QueryId, code: RefuseCode, wait: Duration) {
        let Some(asked) = env.queries.get_mut(query) else { return };
        let Some(refusal) = code.refusal() else {
            return self.fail(env, query, Reason::LostByPeer, Executed::Maybe);
        };
        if asked.is_notice() {
            self.release(env, query, false);
            return self.end_notice(env, query);
        }
        let pause = match code {
            RefuseCode::TooLate if !asked.was_late() => {
                // In whichever session they were compared before, it would be late again.
                self.sessions.iter_mut().for_each(|held| held.session.clocks_have_parted());
                Duration::ZERO
            }
            RefuseCode::BusyWithYou
            | RefuseCode::Busy
            | RefuseCode::NoMemory
            | RefuseCode::ShuttingDown
            | RefuseCode::RefusedBefore => {
                asked.was_busy(refusal);
                asked.pause(true).max(wait.min(MOST_WAIT))
            }
            RefuseCode::UnknownType
            | RefuseCode::NotWelcome
            | RefuseCode::Malformed
            | RefuseCode::TooLate
            | RefuseCode::BelowWindow => {
                return self.fail(env, query, Reason::RefusedByPeer(refusal), Executed::No);
            }
        };
        if let Some(message) = self.release(env, query, false) {
            self.goes_again(env, query, message, pause);
        }
    }

    /// The query that has a number in a session.
    pub(super) fn asked_under(&self, sid: SessionId, number: u64) -> Option<QueryId> {
        self.sessions.get(sid)?.session.asked_under(number).map(QueryId)
    }

    /// What waits and has not left fails at once, since the node shuts down; notices are not waited for.
    pub(crate) fn stop_asking(&mut self, env: &mut Env, query: QueryId) {
        let Some(asked) = env.queries.get(query) else { return };
        let here = asked.is_notice()
            || match asked.state() {
                QueryState::Waiting(_) => true,
                &QueryState::Numbered { session, number } => {
                    let progress = self.sessions.get(session).and_then(|held| held.session.progress(number));
                    progress.is_none_or(|progress| progress == Progress::Here)
                }
                QueryState::Local(_) => false,
            };
        if here {
            self.fail(env, query, Reason::RefusedHere(Refusal::ShuttingDown), Executed::No);
        }
    }
}

/// Whether the peer need not be told that nobody waits for a query: it has said itself what became of it, or where it went nobody is there.
fn is_settled(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Reply(_) => true,
        Verdict::Failed(failure) => match failure.reason {
            Reason::RefusedByPeer(_) | Reason::LostByPeer => true,
            Reason::Unreachable => failure.executed == Executed::Maybe,
            Reason::RefusedHere(_) | Reason::HardTimeout | Reason::Cancelled => false,
        },
    }
}

/// A peer that has no room is not believed to have none for longer.
const MOST_WAIT: Duration = Duration::from_secs(60);
