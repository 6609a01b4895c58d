//! Which connections there are (TCPCommsHandler in *EGTP Architecture 0.2*, III.B): opened lazily, kept while they are of use,
//! closed in order, watched for silence.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::Node;
use crate::action::{Action, TransportAction};
use crate::connection::{Connection, Phase, Probe};
use crate::conversation::{Outstanding, QueryState};
use crate::id::{ConnectionId, NodeId, QueryId};
use crate::note::Cause;
use crate::query::{Executed, Reason, Refusal};
use crate::throttle::Bucket;
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::frame::Frame;
use crate::wire::handshake::Asked;
use crate::wire::packet::SessionId;

/// How often a peer is met again before a query is handed over to it.
const MEETINGS: u32 = 8;

/// Connections of one peer: two that have opened one to each other, and what has not been found dead yet. The oldest gives way.
const CONNECTIONS_PER_PEER: usize = 4;

impl Node {
    /// An incoming connection is there. The node takes it, under the name that it returns.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyConnections`] or [`Refusal::ShuttingDown`]: the driver closes it, and nothing has changed.
    pub fn accept(&mut self, now: Instant, from: SocketAddr) -> Result<ConnectionId, Refusal> {
        self.advance(now);
        if self.stopping.is_some() {
            return Err(Refusal::ShuttingDown);
        }
        let full = self.connections.len() >= self.limits.connections;
        if full {
            self.make_one_leave();
        }
        if full || self.unauthenticated.len() >= self.limits.unauthenticated_connections {
            self.note(Cause::ConnectionRefused, None, None);
            return Err(Refusal::TooManyConnections);
        }
        let id = self.new_connection(from);
        let patience = self.settings.authenticate;
        self.arm_in(Timer::Authenticate(id), patience);
        self.hint(id);
        Ok(id)
    }

    /// Opens a connection to a peer.
    pub(super) fn dial(&mut self, peer: NodeId, to: SocketAddr) {
        let id = self.new_connection(to);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.dialled = true;
            connection.phase = Phase::Dialling;
            connection.expected = Some(peer);
        }
        // What this node opens itself must not keep others out.
        self.unauthenticated.remove(&id);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.dial = Some(id);
        }
        let patience = self.settings.connect;
        self.arm_in(Timer::Connect(id), patience);
        self.actions.push_back(Action::Transport(TransportAction::Connect { connection: id, to }));
    }

    fn new_connection(&mut self, remote: SocketAddr) -> ConnectionId {
        let id = ConnectionId(self.fresh_id());
        let up = Bucket::new(self.throttle.up_per_connection, self.now);
        let down = Bucket::new(self.throttle.down_per_connection, self.now);
        self.connections.insert(id, Connection::new(id, remote, self.now, up, down));
        self.unauthenticated.insert(id);
        if self.connections.len() > self.limits.maintained_connections && !self.timers.is_armed(Timer::Tidy) {
            self.arm_in(Timer::Tidy, super::leaving::TIDY_EVERY);
        }
        id
    }

    pub(super) fn connected(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.phase != Phase::Dialling {
            return;
        }
        connection.phase = Phase::Open;
        connection.last_heard = self.now;
        let expected = connection.expected;
        self.timers.disarm(Timer::Connect(id));
        let patience = self.settings.authenticate;
        self.arm_in(Timer::Authenticate(id), patience);
        self.hint(id);
        if let Some(peer) = expected {
            self.ensure_session(peer, id);
        }
    }

    pub(super) fn connect_timeout(&mut self, id: ConnectionId) {
        self.close(id);
    }

    pub(super) fn authenticate_timeout(&mut self, id: ConnectionId) {
        self.note(Cause::NotAuthenticatedInTime, self.peer_on(id), Some(id));
        self.close(id);
    }

    /// An authentic packet from this peer has come over the connection. Says whether the connection goes on: it belongs to one node,
    /// and if it was dialled to that very node.
    pub(super) fn authenticated(&mut self, id: ConnectionId, peer: NodeId) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if connection.peer == Some(peer) {
            return true;
        }
        if connection.peer.or(connection.expected).is_some_and(|other| other != peer) {
            self.note(Cause::ConnectedToAnother, Some(peer), Some(id));
            self.close(id);
            return false;
        }
        connection.peer = Some(peer);
        let (dialled, remote) = (connection.dialled, connection.remote);
        self.unauthenticated.remove(&id);
        self.timers.disarm(Timer::Authenticate(id));
        let (idle, probe) = (self.settings.idle, self.settings.probe_idle);
        self.arm_in(Timer::Idle(id), idle);
        self.arm_in(Timer::Probe(id), probe);
        self.touch_peer(peer, false);
        let Some(state) = self.peers.get_mut(&peer) else { return true };
        state.connections.push(id);
        if dialled {
            state.strategies.succeeded(remote);
        }
        // It can be reached, so everything may be tried again when this connection ends. But a peer that hangs up on
        // whoever it has met is not redialled without end.
        if state.met < MEETINGS {
            state.met += 1;
            state.strategies.start_over();
            state.looked_up = false;
        }
        let surplus = state.connections.len() > CONNECTIONS_PER_PEER;
        let oldest_surplus = state.connections.first().copied().filter(|_| surplus);
        let dial = state.dial;
        if dial == Some(id) {
            state.dial = None;
        } else if let Some(other) = dial
            && self.connections.get(&other).is_some_and(|other| other.phase == Phase::Dialling)
        {
            // The peer was quicker; nothing has been sent on the other one.
            self.abandon_dial(peer, other);
        }
        if let Some(oldest) = oldest_surplus {
            self.close(oldest);
        }
        self.settle_on_one(peer);
        true
    }

    pub(super) fn abandon_dial(&mut self, peer: NodeId, id: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.dial = None;
        }
        self.forget_connection(id);
        self.actions.push_back(Action::Transport(TransportAction::Close { connection: id }));
        self.reach_waiters();
    }

    /// Which of several connections between two nodes is the one to use, by a rule that both ends share: the one that the node with
    /// the smaller id has dialled, and of those the newest.
    pub(super) fn preference(&self, id: ConnectionId) -> (bool, ConnectionId) {
        let by_smaller = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.peer.is_some_and(|peer| connection.dialled == (self.id < peer)));
        (by_smaller, id)
    }

    /// Closes a connection now.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if self.connections.contains_key(&id) {
            self.actions.push_back(Action::Transport(TransportAction::Close { connection: id }));
            self.connection_over(id);
        }
    }

    /// The world says that a connection has ended.
    pub(super) fn connection_ended(&mut self, id: ConnectionId) {
        self.connection_over(id);
    }

    /// Draws the consequences of a connection's end: what was handed over on it is lost, what was not goes another way.
    fn connection_over(&mut self, id: ConnectionId) {
        let Some(connection) = self.forget_connection(id) else { return };
        let Some(peer) = connection.peer.or(connection.expected) else { return };
        if let Some(state) = self.peers.get_mut(&peer) {
            state.connections.retain(|&other| other != id);
            if let Some(handshake) = state.handshake.as_mut().filter(|handshake| handshake.sent_on == Some(id)) {
                handshake.sent_on = None;
            }
            if state.dial == Some(id) {
                state.dial = None;
                state.strategies.failed(connection.remote);
                self.note(Cause::StrategyFailed, Some(peer), Some(id));
            }
        }
        let sessions = self.sessions_of(peer);
        for &sid in &sessions {
            if let Some(session) = self.sessions.get_mut(&sid)
                && session.heard_on == Some(id)
            {
                session.heard_on = None;
            }
        }
        for &sid in &sessions {
            self.drop_cut_off_queries(sid, id);
            self.say_again(sid, connection.peer.is_some());
        }
        for &query in &connection.carried {
            self.lost_on_the_way(query);
        }
        if self.path(peer).is_none() {
            for &sid in &sessions {
                self.hold_unsent(sid);
            }
        }
        if self.any_connection(peer).is_none() {
            self.nothing_open(peer, &sessions);
        }
        for sid in sessions {
            if let Some(session) = self.sessions.get_mut(&sid) {
                session.outbox.release(id);
            }
        }
        self.ask_again(peer, id);
        self.reach(peer);
        self.pump(peer);
        if self.any_connection(peer).is_some() {
            self.drain(peer);
        }
        self.abandon_reach_if_idle(peer);
        self.reach_waiters();
    }

    /// Peers that wait for a connection to become free may have one now.
    pub(super) fn reach_waiters(&mut self) {
        for waiter in core::mem::take(&mut self.slot_waiters) {
            self.reach(waiter);
        }
    }

    /// The connection that carried a query has ended.
    fn lost_on_the_way(&mut self, query: QueryId) {
        let Some(&Outstanding { state, deadline, .. }) = self.queries.get(&query) else { return };
        match state {
            QueryState::Sent { .. } | QueryState::Taken { .. } => {
                self.fail_as(query, Reason::ConnectionLost, Executed::Maybe);
            }
            QueryState::Sending { session, number, .. } | QueryState::Sealed { session, number, .. } => {
                // A byte of it is missing, so it cannot have been opened. Its number is burnt: the peer is told to expect nothing
                // under it, and the query goes again under another.
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.outbox.remove_query(query);
                    state.unsettled.remove(&number);
                    state.outstanding.remove(&number);
                }
                self.tell_done(session, number, deadline);
                self.hold(query);
            }
            QueryState::Held | QueryState::Local(_) => {}
        }
    }

    /// The last connection to a peer has ended, and replies have no way to go.
    fn nothing_open(&mut self, peer: NodeId, sessions: &[SessionId]) {
        for &sid in sessions {
            if let Some(session) = self.sessions.get_mut(&sid) {
                let (bytes, count) = session.outbox.drop_replies();
                self.uncharge_reply(peer, bytes);
                for _ in 0..count {
                    self.note(Cause::ReplyUndeliverable, Some(peer), None);
                }
            }
        }
        self.resume_reading();
    }

    /// Takes a connection out of every table.
    fn forget_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.unauthenticated.remove(&id);
        self.writers.remove(&id);
        for timer in [
            Timer::Connect(id),
            Timer::Authenticate(id),
            Timer::Probe(id),
            Timer::Idle(id),
            Timer::Linger(id),
            Timer::ThrottleConnection(id),
        ] {
            self.timers.disarm(timer);
        }
        Some(connection)
    }

    /// A silent connection is asked whether anybody is there; who does not answer is taken for dead. Bytes that come in are a sign of
    /// life, and so are bytes that are taken ahead of the question: on a slow link it may wait for long.
    pub(super) fn probe(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(peer) = connection.peer else { return };
        let asked = match connection.probe {
            Probe::None => None,
            Probe::Waiting { since } => Some((since, since.max(connection.last_written))),
            Probe::Asked { since } => Some((since, since)),
        };
        let heard = connection.last_heard;
        let nothing_waits = connection.outbound.is_empty();
        let taken_until = connection.last_written + self.settings.probe_answer;
        if let Some((_, sign_of_life)) = asked.filter(|&(since, _)| heard < since) {
            let due = sign_of_life + self.settings.probe_answer;
            if due > self.now {
                self.timers.arm(self.now, Timer::Probe(id), due);
            } else if self.wants_read(id) == 0 && (nothing_waits || taken_until > self.now) {
                // The answer may be there; it is this node that does not read.
                let patience = self.settings.probe_answer;
                self.arm_in(Timer::Probe(id), patience);
            } else {
                self.note(Cause::PeerSilent, Some(peer), Some(id));
                self.close(id);
            }
            return;
        }
        connection.probe = Probe::None;
        let waits = !connection.carried.is_empty();
        let patience = if waits { self.settings.probe_waiting } else { self.settings.probe_idle };
        let due = heard + patience;
        if due > self.now {
            self.timers.arm(self.now, Timer::Probe(id), due);
            return;
        }
        connection.probe = Probe::Waiting { since: self.now };
        let answer_within = self.settings.probe_answer;
        self.arm_in(Timer::Probe(id), answer_within);
        let token = self.random.token();
        if let Some(session) = self.sealing_session(peer) {
            let mut frames = Vec::new();
            Frame::Ping { token, asked: Asked::None }.put(&mut frames);
            self.send_urgent_bytes(id, session, frames, true);
        } else {
            self.shake_hands(peer, id);
        }
    }

    /// Appends a packet that is not sealed.
    pub(super) fn write_raw(&mut self, on: ConnectionId, put: impl FnOnce(&mut Vec<u8>)) {
        let Some(connection) = self.connections.get_mut(&on).filter(|connection| connection.has_room()) else { return };
        put(connection.outbound.tail());
        self.wrote_raw(on);
    }

    /// Seals a frame at once, whatever waits.
    pub(super) fn seal_now(&mut self, on: ConnectionId, session: SessionId, frame: &Frame<'_>) {
        if self.connections.get(&on).is_none_or(|connection| !connection.has_room()) {
            return;
        }
        self.seal(on, session, |_, _, plaintext| {
            frame.put(plaintext);
            Vec::new()
        });
        self.wrote_raw(on);
    }
}
