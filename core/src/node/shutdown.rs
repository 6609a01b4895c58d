//! Shutting down: no new work, an end to the old by a deadline, and a word that it is over.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::action::Action;
use crate::conversation::{Origin, QueryState, To};
use crate::id::{IncomingId, QueryId};
use crate::query::{Delivery, Executed, Failure, Reason, Refusal, Stage, Verdict};
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::BreakCode;

/// What is to be said last is given so long to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How far shutting down has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stopping {
    /// Outstanding work may still end by itself.
    Finishing,
    /// Sessions are ended; connections are flushed and closed.
    Closing,
    /// All is closed, and it has not been said yet.
    Closed,
    /// It has been said.
    Said,
}

impl Node {
    /// Shuts down: new work is refused from now on, what has not left this machine fails at once, what has left and what this
    /// node owes an answer may end by itself `within` this time, and then everything is closed. [`Action::Stopped`] is the last action.
    pub fn shut_down(&mut self, now: Instant, within: Duration) {
        self.advance(now);
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping::Finishing);
        self.env.stopping = true;
        self.env.timers.arm(self.env.now, Timer::Stop, self.env.now + within);
        for query in self.env.queries.ids().collect::<Vec<QueryId>>() {
            if let Some(To::Peer(key)) = self.env.queries.get(query).map(|asked| asked.to())
                && let Some(peer) = self.peers.get_mut(key)
            {
                peer.stop_asking(&mut self.env, query);
            }
        }
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.hurry(&mut self.env);
            }
        }
        self.finish();
    }

    /// Outstanding work has had its time.
    pub(super) fn stop_timeout(&mut self) {
        match self.stopping {
            Some(Stopping::Finishing) => {
                for incoming in self.env.incoming.ids().collect::<Vec<IncomingId>>() {
                    self.abandon(incoming);
                }
                for query in self.env.queries.ids().collect::<Vec<QueryId>>() {
                    self.give_up(query, Reason::Cancelled);
                }
                self.settle();
                self.close_all();
            }
            Some(Stopping::Closing) => {
                for id in self.env.connection_ids() {
                    self.close(id, crate::query::AttemptResult::Ended);
                }
            }
            Some(Stopping::Closed | Stopping::Said) | None => {}
        }
    }

    /// Takes the next step once everything before it is done.
    pub(super) fn check_stopped(&mut self) {
        if self.stopping == Some(Stopping::Finishing) && self.is_done() {
            self.close_all();
        }
        if self.stopping == Some(Stopping::Closing) && self.env.connections.is_empty() {
            self.stopping = Some(Stopping::Closed);
            self.env.timers.clear();
            self.services.forget_lookups();
        }
    }

    fn is_done(&self) -> bool {
        let unsent = || self.env.connections.iter().any(|connection| connection.is_open() && !connection.is_written());
        let owes = || self.peers.iter().any(|peer| peer.owes());
        self.env.queries.is_empty() && self.env.incoming.is_empty() && !unsent() && !owes()
    }

    /// Ends every session, and every connection once that is said.
    fn close_all(&mut self) {
        self.stopping = Some(Stopping::Closing);
        self.env.timers.arm(self.env.now, Timer::Stop, self.env.now + LAST_WORDS);
        self.end_discoveries();
        for (sid, key) in self.sessions.ids() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.break_session(&mut self.env, sid, BreakCode::ShuttingDown);
            }
        }
        for id in self.env.connection_ids() {
            self.flush(id);
        }
        self.settle();
    }

    /// A query of somebody else's is given up: its time here is over.
    pub(super) fn abandon(&mut self, id: IncomingId) {
        let Some(incoming) = self.env.incoming.take(id) else { return };
        self.env.deliver(Delivery::Withdrawn(id));
        match incoming.origin {
            Origin::Local(query) => self.end_local(query, Reason::Cancelled, Executed::Maybe),
            Origin::Remote { peer, session, number } => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.abandon(&mut self.env, (session, number));
                }
            }
        }
    }

    /// An own query ends for this reason, wherever it is.
    pub(super) fn give_up(&mut self, query: QueryId, reason: Reason) {
        let Some(asked) = self.env.queries.get(query) else { return };
        match (asked.to(), asked.state()) {
            (To::Peer(key), _) => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.give_up(&mut self.env, query, reason);
                }
            }
            (To::Myself, &QueryState::Local(incoming)) => {
                if self.env.incoming.take(incoming).is_some() {
                    self.env.deliver(Delivery::Withdrawn(incoming));
                }
                self.end_local(query, reason, Executed::Maybe);
            }
            (To::Myself, QueryState::Waiting(_) | QueryState::Numbered { .. }) => {
                self.end_local(query, reason, Executed::No);
            }
        }
    }

    /// A query to this very node fails.
    pub(super) fn end_local(&mut self, query: QueryId, reason: Reason, executed: Executed) {
        let failure = Failure { reason, executed, stage: Stage::Peer, tried: Vec::new() };
        self.end_local_with(query, Verdict::Failed(failure));
    }

    /// A query to this very node has its verdict.
    pub(super) fn end_local_with(&mut self, query: QueryId, verdict: Verdict) {
        if let Some(ended) = self.env.queries.end(query, &mut self.env.timers)
            && !ended.notice
        {
            self.env.deliver(Delivery::Verdict { query, tag: ended.tag, verdict });
        }
    }

    pub(super) fn has_stopped_to_say(&self) -> bool {
        self.stopping == Some(Stopping::Closed)
    }

    pub(super) fn poll_stopped(&mut self) -> Option<Action> {
        if self.stopping != Some(Stopping::Closed) {
            return None;
        }
        self.stopping = Some(Stopping::Said);
        Some(Action::Stopped)
    }

    /// The refusal of whatever is new.
    pub(super) fn may_begin(&self) -> Result<(), Refusal> {
        if self.env.stopping { Err(Refusal::ShuttingDown) } else { Ok(()) }
    }

    /// The clock moves: whatever was due happens first.
    pub(super) fn advance(&mut self, now: Instant) {
        self.env.now = self.env.now.max(now);
        self.env.connections.refill(self.env.now);
        while let Some(timer) = self.env.timers.pop_due(self.env.now) {
            self.fire(timer);
            self.settle();
        }
        self.check_stopped();
        // Whatever the call is refused for afterwards.
        self.env.say_hints();
    }
}
