//! Which connections there are (TCPCommsHandler in *EGTP Architecture 0.2*, III.B): accepted, closed, and kept while they are of use.
//!
//! Anybody may close any connection at any time: no message, no verdict and no certainty is lost with it, only time.

use core::net::SocketAddr;

use super::Node;
use crate::action::{Action, TransportAction};
use crate::connection::{ConnectionDue, Owner, TIDY_EVERY};
use crate::event::Ending;
use crate::id::ConnectionId;
use crate::note::Cause;
use crate::peer::Next;
use crate::query::{AttemptResult, Refusal};
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::Timer;

impl Node {
    /// An incoming connection is there. The node takes it, under the name that it returns.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyConnections`] or [`Refusal::ShuttingDown`]: the driver closes it, and nothing has changed.
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> Result<ConnectionId, Refusal> {
        self.advance(now);
        if self.env.stopping {
            return Err(Refusal::ShuttingDown);
        }
        let crowded = self.env.connections.strangers() >= self.env.limits.unauthenticated_connections;
        if crowded || !self.make_place_for_connection() {
            self.env.note(Cause::ConnectionRefused, None, None);
            return Err(Refusal::TooManyConnections);
        }
        let timers = (&self.env.settings, &mut self.env.timers);
        let id = self.env.connections.accept(self.env.now, from, timers);
        self.env.arm_tidy();
        self.finish();
        Ok(id)
    }

    /// Sees to it that one more connection may be there: if need be, the least useful one on which nothing is under way is closed.
    fn make_place_for_connection(&mut self) -> bool {
        if self.env.connections.len() < self.env.limits.connections {
            return true;
        }
        let least_useful = self.env.connections.least_useful();
        if let Some(id) = least_useful {
            self.close(id, AttemptResult::Ended);
        }
        least_useful.is_some()
    }

    /// A peer wants a connection and there was no place.
    pub(super) fn wants_place(&mut self, key: Key) {
        let has_place = self.make_place_for_connection();
        let waits = self.env.connections.has_leaving();
        let Some(peer) = self.peers.get_mut(key) else { return };
        if has_place {
            peer.may_go_on(&mut self.env);
            return;
        }
        if !waits {
            peer.finds_no_place(&mut self.env);
        }
        if !self.place_waiters.contains(&key) {
            self.place_waiters.push_back(key);
        }
    }

    /// A dialled connection is open.
    pub(super) fn connected(&mut self, id: ConnectionId) {
        let timers = (&self.env.settings, &mut self.env.timers);
        if self.env.connections.opened(self.env.now, id, timers)
            && let Some(peer) = self.peer_on(id).and_then(|key| self.peers.get_mut(key))
        {
            peer.connected(&mut self.env);
        }
    }

    /// So many bytes have left by `now`.
    pub(super) fn wrote(&mut self, now: Instant, id: ConnectionId, count: usize) {
        let handed = self.env.connections.wrote(now, id, count);
        if let Some(peer) = self.peer_on(id).and_then(|key| self.peers.get_mut(key)) {
            peer.handed(&mut self.env, now, &handed);
        }
        self.env.connections.return_row(handed);
    }

    /// Bytes have left a connection, and others may follow.
    pub(super) fn room_again(&mut self, id: ConnectionId) {
        if self.env.connections.get(id).is_some_and(|connection| connection.is_flushed()) {
            self.close(id, AttemptResult::Ended);
        }
        self.arm_connection(id);
    }

    /// Closes a connection now.
    pub(super) fn close(&mut self, id: ConnectionId, result: AttemptResult) {
        if self.env.connections.get(id).is_some() {
            self.env.out.push(Action::Transport(TransportAction::Close { connection: id }));
            self.end_connection_of(id, result);
        }
    }

    /// Closes a connection that has done something wrong, from within a loop that the caller ends.
    pub(super) fn end_connection(&mut self, id: ConnectionId, result: AttemptResult) {
        self.close(id, result);
        self.drain_effects();
    }

    /// Closes a connection as soon as what waits is written.
    pub(super) fn flush(&mut self, id: ConnectionId) {
        let timers = (&self.env.settings, &mut self.env.timers);
        if self.env.connections.flush(self.env.now, id, timers) {
            self.close(id, AttemptResult::Ended);
        }
    }

    /// The world says that a connection has ended.
    pub(super) fn connection_closed(&mut self, id: ConnectionId, ending: Ending) {
        let Some(connection) = self.env.connections.get(id) else { return };
        let result = match (connection.owner(), ending) {
            (Owner::Meant(_), Ending::Refused) => AttemptResult::Refused,
            (Owner::Meant(key), _) if connection.is_open() => {
                let peer = self.peers.get(key);
                peer.map_or(AttemptResult::TurnedAway, |peer| peer.turned_away(connection))
            }
            (Owner::Meant(_), _) => AttemptResult::Silent,
            (Owner::Stranger | Owner::Peer(_), _) => AttemptResult::Ended,
        };
        self.end_connection_of(id, result);
    }

    /// Draws the consequences of a connection's end.
    fn end_connection_of(&mut self, id: ConnectionId, result: AttemptResult) {
        let Some(connection) = self.env.connections.remove(id, &mut self.env.timers) else { return };
        let owner = match connection.owner() {
            Owner::Stranger => None,
            Owner::Meant(key) | Owner::Peer(key) => Some(key),
        };
        if let Some(peer) = owner.and_then(|key| self.peers.get_mut(key)) {
            peer.path_ended(&mut self.env, &connection, result);
        }
        // There is a place for the first who still waits for one.
        while let Some(key) = self.place_waiters.pop_front() {
            let next = self.peers.get_mut(key).map(|peer| peer.may_go_on(&mut self.env));
            if matches!(next, Some(Next::Dial(_))) {
                break;
            }
        }
    }

    pub(super) fn arm_connection(&mut self, id: ConnectionId) {
        let timers = (&self.env.settings, &mut self.env.timers);
        self.env.connections.arm(self.env.now, id, timers);
    }

    /// Something is due on a connection.
    pub(super) fn connection_due(&mut self, id: ConnectionId) {
        let timers = (&self.env.settings, &mut self.env.timers);
        match self.env.connections.due(self.env.now, id, timers) {
            None | Some(ConnectionDue::Throttle) => {}
            Some(ConnectionDue::NotOpened) => self.close(id, AttemptResult::Silent),
            Some(ConnectionDue::NotProved) => {
                let peer = self.peer_on(id).and_then(|key| self.peers.get(key));
                let busy = peer.is_some_and(|peer| peer.is_busy_on(id));
                let peer_id = peer.map(|peer| peer.id());
                if !busy {
                    self.env.note(Cause::NotAuthenticatedInTime, peer_id, Some(id));
                    self.close(id, AttemptResult::Silent);
                } else {
                    self.env.connections.give_time(self.env.now, id);
                    self.arm_connection(id);
                }
            }
            Some(ConnectionDue::Flushed) => self.close(id, AttemptResult::Ended),
            Some(ConnectionDue::Idle) => {
                if self.env.connections.get(id).is_some_and(|connection| connection.is_unused()) {
                    self.close(id, AttemptResult::Ended);
                } else {
                    self.env.connections.is_used(self.env.now, id);
                    self.arm_connection(id);
                }
            }
        }
    }

    /// Closes idle connections beyond the number that is maintained, the least useful first.
    pub(super) fn tidy(&mut self) {
        let idle = self.env.connections.idle();
        let surplus = idle.len().saturating_sub(self.env.limits.maintained_connections);
        for id in idle.into_iter().take(surplus) {
            self.close(id, AttemptResult::Ended);
        }
        if self.env.connections.len() > self.env.limits.maintained_connections {
            self.env.timers.arm(self.env.now, Timer::Tidy, self.env.now + TIDY_EVERY);
        }
    }
}
