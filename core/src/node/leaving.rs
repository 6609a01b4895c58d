//! How connections are closed in order: nobody's query is cut off.
//!
//! Closing a connection that looks idle would cut off a query that the peer has just sent. So each end first says that it will
//! send no new query over it; once both have, and nothing is under way on it any more, whoever proposed it closes it.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::Node;
use crate::connection::{Connection, Leave, Phase};
use crate::id::{ConnectionId, NodeId};
use crate::query::Hint;
use crate::timer::Timer;
use crate::wire::code::LeaveStep;
use crate::wire::frame::Frame;

/// How often surplus connections are looked for, while there are any.
pub(super) const TIDY_EVERY: Duration = Duration::from_secs(5);

impl Node {
    /// When two nodes have opened connections to each other at once, the superfluous one is closed by whoever dialled it.
    pub(super) fn settle_on_one(&mut self, peer: NodeId) {
        let Some(best) = self.path(peer) else { return };
        let Some(state) = self.peers.get(&peer) else { return };
        let others: Vec<ConnectionId> = state.connections.iter().copied().filter(|&other| other != best).collect();
        for other in others {
            if self.connections.get(&other).is_some_and(|other| other.dialled && other.takes_queries()) {
                self.propose_leave(other);
            }
        }
    }

    /// Says to the peer that no new query will come over the connection, so that it can be closed without cutting anything off.
    pub(super) fn propose_leave(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(peer) = connection.peer else { return };
        if connection.leave.sent {
            return;
        }
        connection.leave.sent = true;
        connection.leave.ours = true;
        self.say_leave(id, peer, LeaveStep::Proposal);
        let patience = self.settings.linger;
        self.arm_in(Timer::Linger(id), patience);
    }

    fn say_leave(&mut self, id: ConnectionId, peer: NodeId, step: LeaveStep) {
        let sessions = self.sessions_of(peer);
        for &sid in &sessions {
            self.hold_unsent(sid);
        }
        if let Some(sid) = self.sealing_session(peer) {
            self.send_urgent(id, sid, &Frame::Leave { step });
        }
        if self.peers.get(&peer).is_some_and(|peer| !peer.held.is_empty()) {
            self.reach(peer);
        }
    }

    pub(super) fn peer_leaves(&mut self, id: ConnectionId, proposal: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(peer) = connection.peer else { return };
        connection.leave.received = true;
        connection.leave.sent = true;
        // Whoever proposed it closes it; if that does not happen, this end does.
        let patience = self.settings.linger * 2;
        self.timers.arm_no_later(self.now, Timer::Linger(id), self.now + patience);
        if proposal {
            self.say_leave(id, peer, LeaveStep::Answer);
        }
        self.drain(peer);
        self.finish_leave(id);
    }

    /// Whether anything is under way on a connection: such a one is never closed for being idle.
    pub(super) fn is_busy(&self, connection: &Connection) -> bool {
        let assembles =
            connection.peer.and_then(|peer| self.peers.get(&peer)).is_some_and(|peer| peer.assembly_bytes > 0);
        connection.is_busy() || assembles || self.something_is_meant_for(connection)
    }

    /// Whether something waits in a session that goes over this very connection.
    fn something_is_meant_for(&self, connection: &Connection) -> bool {
        let sessions = connection.peer.and_then(|peer| self.peers.get(&peer)).map(|peer| peer.sessions.as_slice());
        let mut sessions = sessions.unwrap_or_default().iter().filter_map(|sid| self.sessions.get(sid));
        sessions.any(|session| session.outbox.is_meant_for(connection.id))
    }

    /// Closes a connection that both ends have left, once nothing is under way on it any more.
    pub(super) fn finish_leave(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Leave { sent, received, ours, overdue: _ } = connection.leave;
        if sent && received && ours && connection.phase == Phase::Open && !self.is_busy(connection) {
            self.close(id);
        }
    }

    pub(super) fn linger_timeout(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.phase == Phase::Open && (self.is_awaited(connection) || self.is_taken_from(connection)) {
            let patience = self.settings.linger;
            self.arm_in(Timer::Linger(id), patience);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.leave.overdue = true;
            }
            // Whoever hoped for its place looks for another.
            self.reach_waiters();
        } else {
            self.close(id);
        }
    }

    /// Whether the peer still takes what this very connection has for it: a pause of as long as it would be waited for is none.
    fn is_taken_from(&self, connection: &Connection) -> bool {
        let waits = !connection.outbound.is_empty() || self.something_is_meant_for(connection);
        let patience = (self.settings.linger * 2).max(self.settings.probe_answer);
        waits && connection.last_written + patience > self.now
    }

    /// Whether a connection that is being closed in order is given more time than it has.
    fn is_awaited(&self, connection: &Connection) -> bool {
        let peer = connection.peer.and_then(|peer| self.peers.get(&peer));
        let assembles = peer.is_some_and(|peer| peer.assembly_bytes > 0);
        !connection.carried.is_empty() || !connection.owed.is_empty() || assembles
    }

    /// Nothing waits to be written any more.
    pub(super) fn all_written(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        if connection.phase == Phase::Flushing {
            self.close(id);
            return;
        }
        if let Some(peer) = connection.peer {
            self.drain(peer);
        }
        self.finish_leave(id);
    }

    /// Closes a connection as soon as what waits is written, or after a while in any case.
    pub(super) fn close_when_written(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.phase == Phase::Dialling || connection.outbound.is_empty() {
            self.close(id);
            return;
        }
        connection.phase = Phase::Flushing;
        let patience = self.settings.linger.min(Duration::from_secs(1));
        self.arm_in(Timer::Linger(id), patience);
    }

    pub(super) fn idle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let due = connection.last_used + self.settings.idle;
        if due > self.now {
            self.timers.arm(self.now, Timer::Idle(id), due);
        } else {
            if !self.is_busy(connection) {
                self.propose_leave(id);
            }
            let again = self.settings.idle;
            self.arm_in(Timer::Idle(id), again);
        }
    }

    /// Closes idle connections beyond the number that is maintained, the least useful first.
    pub(super) fn tidy(&mut self) {
        let candidates = self.idle_connections();
        let surplus = candidates.len().saturating_sub(self.limits.maintained_connections);
        for id in candidates.into_iter().take(surplus) {
            self.propose_leave(id);
        }
        if self.connections.len() > self.limits.maintained_connections {
            self.arm_in(Timer::Tidy, TIDY_EVERY);
        }
    }

    /// One more connection is wanted than there may be. Says whether one that is not needed will make room.
    pub(super) fn make_one_leave(&mut self) -> bool {
        let leaves = |connection: &Connection| {
            connection.leave.ours && !connection.leave.overdue && !self.is_awaited(connection)
        };
        let leaving = self.connections.values().any(leaves);
        let least_useful = self.idle_connections().first().copied();
        if let (false, Some(id)) = (leaving, least_useful) {
            self.propose_leave(id);
        }
        leaving || least_useful.is_some()
    }

    /// Connections on which nothing is under way, the least useful first: what is said to be the last for now, then what has
    /// brought the fewest messages, then what was used longest ago.
    fn idle_connections(&self) -> Vec<ConnectionId> {
        let mut idle: Vec<&Connection> = self
            .connections
            .values()
            .filter(|connection| connection.takes_queries() && !self.is_busy(connection))
            .collect();
        idle.sort_by_key(|connection| {
            let usefulness = match connection.hint {
                Hint::NoMore => 0,
                Hint::None => 1,
                Hint::MoreToCome => 2,
            };
            (usefulness, connection.messages_received, connection.last_used, Reverse(connection.id))
        });
        idle.into_iter().map(|connection| connection.id).collect()
    }

    /// Whether nothing waits for the connection's peer.
    pub(super) fn is_surplus(&self, id: ConnectionId) -> bool {
        let peer = self.connections.get(&id).and_then(|connection| connection.peer);
        peer.and_then(|peer| self.peers.get(&peer)).is_some_and(|peer| peer.outstanding == 0 && peer.incoming == 0)
    }
}
