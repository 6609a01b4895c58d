//! Shutting down: no new work, an end to the old by a deadline, and a word that it is over.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::action::Action;
use crate::connection::Phase;
use crate::conversation::QueryState;
use crate::id::{ConnectionId, IncomingId, QueryId};
use crate::query::{Delivery, Executed, Reason, Refusal};
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::BreakCode;
use crate::wire::packet::SessionId;

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
        self.arm_in(Timer::Stop, within);
        let not_left =
            |state: QueryState| matches!(state, QueryState::Held | QueryState::Sending { connection: None, .. });
        let outstanding = self.queries.iter().filter(|(_, query)| not_left(query.state) || query.notice);
        let waiting: Vec<QueryId> = outstanding.map(|(&id, _)| id).collect();
        for query in waiting {
            self.fail_as(query, Reason::RefusedHere(Refusal::ShuttingDown), Executed::No);
        }
        self.check_stopped();
    }

    /// Outstanding work has had its time.
    pub(super) fn stop_timeout(&mut self) {
        match self.stopping {
            Some(Stopping::Finishing) => {
                let incoming: Vec<IncomingId> = self.incoming.keys().copied().collect();
                for id in incoming {
                    self.withdraw(id);
                }
                let queries: Vec<QueryId> = self.queries.keys().copied().collect();
                for id in queries {
                    self.fail(id, Reason::Cancelled);
                }
                self.close_all();
            }
            Some(Stopping::Closing) => {
                let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
                for id in connections {
                    self.close(id);
                }
                self.check_stopped();
            }
            Some(Stopping::Closed | Stopping::Said) | None => {}
        }
    }

    /// Takes the next step once everything before it is done.
    pub(super) fn check_stopped(&mut self) {
        if self.stopping == Some(Stopping::Finishing) && self.is_done() {
            self.close_all();
        }
        if self.stopping == Some(Stopping::Closing) && self.connections.is_empty() {
            self.stopping = Some(Stopping::Closed);
            self.timers.clear();
            // What a Lookup Service still finds is of use to nobody.
            self.lookups.clear();
        }
    }

    fn is_done(&self) -> bool {
        let unsent = || {
            self.connections
                .values()
                .any(|connection| connection.phase == Phase::Open && !connection.outbound.is_empty())
        };
        self.queries.is_empty() && self.incoming.is_empty() && self.reply_bytes == 0 && !unsent()
    }

    /// Ends every session, and every connection once that is said.
    fn close_all(&mut self) {
        self.stopping = Some(Stopping::Closing);
        self.arm_in(Timer::Stop, Duration::from_secs(1));
        for discovery in core::mem::take(&mut self.discoveries) {
            self.deliver(Delivery::Discovered(discovery, Vec::new()));
        }
        let sessions: Vec<SessionId> = self.session_order.iter().map(|&(_, _, sid)| sid).collect();
        for sid in sessions {
            self.break_session(sid, BreakCode::ShuttingDown);
        }
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in connections {
            self.close_when_written(id);
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
}
