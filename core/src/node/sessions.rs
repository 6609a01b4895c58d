//! Sessions with a peer: made, ranked, doubted, replaced, given up. A session belongs to the pair, not to a connection.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::Node;
use crate::connection::{Connection, Phase};
use crate::conversation::QueryState;
use crate::id::{ConnectionId, IncomingId, NodeId, QueryId};
use crate::note::Cause;
use crate::query::{Executed, Reason};
use crate::session::state::{Agreement, Carries, Question, Session, SessionPhase};
use crate::timer::Timer;
use crate::wire::code::BreakCode;
use crate::wire::frame::Frame;
use crate::wire::handshake::Asked;
use crate::wire::packet::SessionId;

/// How long a peer that should still hold a session has to say so before a handshake asks about it.
const PROVE_WITHIN: Duration = Duration::from_secs(1);

/// Confirmed sessions with one node besides the best.
const DRAINING_PER_PEER: usize = 1;

impl Node {
    /// The sessions with a peer, the best first.
    pub(super) fn sessions_of(&self, peer: NodeId) -> Vec<SessionId> {
        self.peers.get(&peer).map(|peer| peer.sessions.clone()).unwrap_or_default()
    }

    fn sessions_that(&self, peer: NodeId, holds: fn(&Session) -> bool) -> Vec<SessionId> {
        let mut sessions = self.sessions_of(peer);
        sessions.retain(|sid| self.sessions.get(sid).is_some_and(|session| holds(session)));
        sessions
    }

    /// Makes sure that the peer and this node share a session that the peer still holds, over this connection.
    pub(super) fn ensure_session(&mut self, peer: NodeId, on: ConnectionId) {
        let Some(sid) = self.best_session(peer) else {
            self.shake_hands(peer, on);
            return;
        };
        // On a connection that is new the peer has to be met even if it is heard on another.
        let met = self.connections.get(&on).is_some_and(|connection| connection.peer.is_some());
        if met && self.live_session(peer).is_some() {
            return;
        }
        let pending = self.peers.get(&peer).is_some_and(|peer| peer.handshake.is_some());
        if pending {
            self.shake_hands(peer, on);
            return;
        }
        let asks = self.sessions.get(&sid).and_then(|session| session.question.as_ref());
        if asks.is_none_or(|question| question.on != on) {
            self.ask(on, sid);
            self.arm_in(Timer::Prove(peer), PROVE_WITHIN);
        }
    }

    /// A connection has ended with questions unanswered: they are asked again on another, if there is one.
    pub(super) fn ask_again(&mut self, peer: NodeId, ended: ConnectionId) {
        let sessions = self.sessions_of(peer);
        for sid in sessions {
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            if session.question.take_if(|question| question.on == ended).is_some()
                && let Some(on) = self.any_connection(peer)
            {
                self.ask(on, sid);
            }
        }
    }

    /// Asks the peer whether it still holds this session, and those that drain for it.
    fn ask(&mut self, on: ConnectionId, sid: SessionId) {
        let Some(peer) = self.sessions.get(&sid).map(|session| session.peer) else { return };
        // What has just been settled over a connection may have been all that kept it.
        let open = Some(on).filter(|on| self.connections.contains_key(on));
        let Some(on) = open.or_else(|| self.any_connection(peer)) else { return };
        let token = self.random.token();
        let mut asked = self.sessions_that(peer, Session::drains);
        asked.retain(|&other| other != sid);
        asked.truncate(Asked::MAX);
        let names: Vec<SessionId> =
            asked.iter().filter_map(|sid| self.sessions.get(sid)).map(|session| session.peer_id).collect();
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.question = Some(Question { token, on, asked });
            self.send_urgent(on, sid, &Frame::Ping { token, asked: Asked::about(&names) });
        }
    }

    /// The peer has not shown that it still holds the session: ask about it in a handshake. Or the session was given up meanwhile, and
    /// something waits for another.
    pub(super) fn prove_timeout(&mut self, peer: NodeId) {
        let waits = self.peers.get(&peer).is_some_and(|peer| !peer.held.is_empty());
        let doubtful = self.live_session(peer).is_none() && (waits || self.best_session(peer).is_some());
        if doubtful && let Some(on) = self.connection_to(peer) {
            self.shake_hands(peer, on);
        }
    }

    pub(super) fn is_old(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).is_none_or(|session| {
            session.sealer.wants_replacement() || session.clock + self.settings.session <= self.now
        })
    }

    /// Somebody on the path says that the peer does not know a session. That proves nothing, but it is a reason to ask.
    pub(super) fn stale(&mut self, on: ConnectionId, sid: SessionId, counter: u64) {
        let Some(peer) = self.peer_on(on) else { return };
        let Some(state) = self.peers.get(&peer) else { return };
        let mut sessions = state.sessions.iter().filter_map(|own| self.sessions.get(own));
        let session = sessions.find(|session| session.peer_id == sid);
        let sent_there = session.is_some_and(|session| counter < session.sealer.counter());
        let asked_lately = state.doubted.is_some_and(|doubted| doubted + PROVE_WITHIN > self.now);
        if !sent_there || asked_lately {
            return;
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.doubted = Some(self.now);
        }
        self.shake_hands(peer, on);
    }

    /// The peer has shown over this connection that it holds the session.
    pub(super) fn has_shown(&mut self, sid: SessionId, on: ConnectionId) {
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.heard_on = Some(on);
        }
        if let Some(connection) = self.connections.get_mut(&on) {
            connection.heard_in = Some(sid);
        }
    }

    /// The peer holds this session, and of those that it was asked about the ones whose bits are set.
    pub(super) fn pong(&mut self, sid: SessionId, token: u64, held: u8) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let peer = session.peer;
        self.timers.disarm(Timer::Prove(peer));
        let question = session.question.take_if(|question| question.token == token);
        session.answered |= question.is_some();
        for (bit, sid) in question.map(|question| question.asked).unwrap_or_default().into_iter().enumerate() {
            if held & (1 << bit) == 0 {
                self.lose_session(sid);
                self.ask_where_heard(peer, sid);
            }
        }
        self.reach(peer);
        self.drain(peer);
    }

    /// A connection on which the peer was last heard in a session that it has lost since may be left over from before it started again.
    fn ask_where_heard(&mut self, peer: NodeId, lost: SessionId) {
        let mut doubtful = self.peers.get(&peer).map(|peer| peer.connections.clone()).unwrap_or_default();
        doubtful.retain(|on| self.connections.get(on).is_some_and(|connection| connection.heard_in == Some(lost)));
        let Some(session) = self.sealing_session(peer) else { return };
        for on in doubtful {
            let token = self.random.token();
            self.send_urgent(on, session, &Frame::Ping { token, asked: Asked::None });
        }
    }

    pub(super) fn new_session(&mut self, agreement: Agreement, phase: SessionPhase) {
        let (id, peer) = (agreement.id, agreement.peer);
        self.sessions.insert(id, Box::new(Session::new(agreement, phase, self.now)));
        let asked = self.peers.get(&peer).is_some_and(|peer| peer.asked);
        self.session_order.insert((asked, self.now, id));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.sessions.push(id);
        }
    }

    /// The initiator has been heard in a tentative session.
    pub(super) fn confirm(&mut self, sid: SessionId) {
        if !self.make_room_for_session() {
            self.break_session(sid, BreakCode::Memory);
            return;
        }
        self.tentative.retain(|&other| other != sid);
        self.timers.disarm(Timer::Tentative(sid));
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        session.phase = SessionPhase::Confirmed;
        if let Some(on) = session.heard_on {
            self.confirmed(sid, on);
        }
    }

    /// A session has become good. If there are others, the best by a rule that both ends share goes on; the rest drains, and is
    /// given up once the best has been seen to work: else a session that the peer has lost would kill its own successor.
    pub(super) fn confirmed(&mut self, sid: SessionId, on: ConnectionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let (peer_id, generation, initiated) = (session.peer, session.generation, session.initiated);
        self.arm_in(Timer::Renew(sid), self.settings.session);
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.generation = peer.generation.max(generation);
        let sessions = &self.sessions;
        peer.sessions.sort_by_key(|sid| {
            let rank = |session: &Session| (Reverse(session.generation), session.handshake_hash);
            sessions.get(sid).map(|session| (!session.is_good(), session.drains(), rank(session)))
        });
        let good = self.sessions_that(peer_id, Session::is_good);
        for (rank, sid) in good.iter().enumerate() {
            if let Some(session) = self.sessions.get_mut(sid) {
                // What drains is never the best one again: that nothing more is asked in it may have been said.
                let drains = rank > 0 || session.drains();
                session.phase = if drains { SessionPhase::Draining } else { SessionPhase::Confirmed };
            }
        }
        let draining: Vec<SessionId> = good.iter().skip(1).copied().collect();
        for &sid in &draining {
            self.hold_unsent(sid);
        }
        let drains = self.give_up_surplus(draining, DRAINING_PER_PEER);
        if let (true, Some(&best)) = (drains, good.first()) {
            if let Some(session) = self.sessions.get_mut(&best) {
                session.answered = false;
            }
            self.ask(on, best);
        } else if initiated {
            // A record must follow the handshake, on the same way, or the peer's half of the session expires.
            let waiting = self.peers.get(&peer_id).is_some_and(|peer| !peer.held.is_empty());
            if !waiting || self.path(peer_id) != Some(on) {
                self.send_urgent_bytes(on, sid, Vec::new(), false);
            }
        }
    }

    /// Gives up sessions, the worst first, but before it one in which the peer waits for nothing, and else an idle one, until there are so
    /// many. Says whether any are left.
    fn give_up_surplus(&mut self, mut sessions: Vec<SessionId>, most: usize) -> bool {
        while sessions.len() > most {
            let idle = |sid: &SessionId| self.sessions.get(sid).filter(|session| session.can_be_given_up());
            let unwanted = |sid: &SessionId| idle(sid).is_some_and(|session| session.heard_drained);
            let worst = sessions.iter().rposition(unwanted);
            let worst = worst.or_else(|| sessions.iter().rposition(|sid| idle(sid).is_some()));
            let worst = worst.unwrap_or(sessions.len() - 1);
            self.break_session(sessions.remove(worst), BreakCode::Memory);
        }
        !sessions.is_empty()
    }

    /// Queries that were to go in a session that drains, and of which nothing has gone, go in a better one.
    pub(super) fn hold_unsent(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let unstarted = session.outbox.drain_unstarted_queries();
        for query in unstarted {
            if let Some(QueryState::Sending { number, .. }) = self.queries.get(&query).map(|query| query.state)
                && let Some(session) = self.sessions.get_mut(&sid)
            {
                session.unsettled.remove(&number);
                session.outstanding.remove(&number);
            }
            self.hold(query);
        }
    }

    /// Nothing more is asked in a session, though there is no better one yet: the next query makes one.
    pub(super) fn retire_session(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        if matches!(session.phase, SessionPhase::Confirmed) {
            session.phase = SessionPhase::Draining;
            self.hold_unsent(sid);
        }
    }

    /// Does what is due in the sessions with a peer that drain.
    pub(super) fn drain(&mut self, peer: NodeId) {
        let sessions = self.sessions_of(peer);
        for sid in sessions {
            self.drain_session(sid);
        }
    }

    /// Says in a session that drains that this node waits for nothing in it, once that is so, and ends it once the peer has said so as
    /// well. Then nothing is under way in it, whichever connections it went by.
    pub(super) fn drain_session(&mut self, sid: SessionId) {
        if self.may_say_drained(sid) {
            let Some(session) = self.sessions.get_mut(&sid) else { return };
            session.said_drained = true;
            let peer = session.peer;
            self.push_frame(sid, &Frame::Drained);
            self.pump(peer);
        }
        if self.sessions.get(&sid).is_some_and(|session| session.is_drained()) {
            self.end_session(sid, Reason::ConnectionLost, |_, _| true);
        }
    }

    fn may_say_drained(&mut self, sid: SessionId) -> bool {
        let Some(session) = self.sessions.get(&sid) else { return false };
        if !session.drains()
            || session.said_drained
            || !session.outstanding.is_empty()
            || self.says_something_first(session)
        {
            return false;
        }
        let peer = session.peer;
        let Some(on) = self.any_connection(peer) else { return false };
        let Some(best) = self.best_session(peer) else { return false };
        let Some(state) = self.sessions.get(&best) else { return false };
        if !state.answered && state.question.is_none() {
            self.ask(on, best);
        }
        self.sessions.get(&best).is_some_and(|best| best.answered)
    }

    /// Whether something may be under way in a session that the peer has to open in it: what was said first on a connection, and with it
    /// whose that is, or that this node leaves one.
    fn says_something_first(&self, session: &Session) -> bool {
        let asked_on = session.question.as_ref().map(|question| question.on);
        let mut first = asked_on.into_iter().chain([session.made_on]).filter_map(|on| self.connections.get(&on));
        let of_peer = self.peers.get(&session.peer).map(|peer| peer.connections.as_slice()).unwrap_or_default();
        let mut others = of_peer.iter().filter_map(|on| self.connections.get(on));
        first.any(|on| !on.brought_a_record)
            || others.any(|on| {
                let is_met_in_it = !on.brought_a_record && on.heard_in == Some(session.id);
                is_met_in_it || on.leave.sent && !on.leave.received
            })
    }

    /// The peer asks nothing more in this session, and waits for nothing.
    pub(super) fn peer_drained(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        session.heard_drained = true;
        session.acknowledge.clear();
        let peer = session.peer;
        let incoming: Vec<IncomingId> = session.incoming.values().copied().collect();
        let begun: Vec<u64> =
            session.assemblies.keys().filter(|key| key.0 == Carries::Query).map(|key| key.1).collect();
        let (bytes, _) = session.outbox.drop_replies();
        self.uncharge_reply(peer, bytes);
        for number in begun {
            self.drop_assembly(sid, Carries::Query, number);
        }
        for incoming in incoming {
            self.withdraw(incoming);
        }
        self.drain_session(sid);
    }

    /// What was said in a session on a connection that has ended may be lost with it, and is said again.
    pub(super) fn say_again(&mut self, sid: SessionId, was_met: bool) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        if !core::mem::take(&mut session.said_drained) {
            if was_met {
                self.tell_done_again(sid);
            }
            return;
        }
        // If the peer has heard it, it may not hold the session any more: it is asked first.
        let best = self.sessions.get(&sid).and_then(|session| self.best_session(session.peer));
        if let Some(best) = best.and_then(|best| self.sessions.get_mut(&best)) {
            best.answered = false;
            best.question = None;
        }
    }

    /// Ends a session and tells the peer, if a connection is open, in the same step.
    pub(super) fn break_session(&mut self, sid: SessionId, code: BreakCode) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        let (base, taken) = session.numbers.taken_bitmap();
        for on in self.connections_to_end_on(peer) {
            self.seal_now(on, sid, &Frame::Break { code, base, taken: &taken });
        }
        self.end_session(sid, Reason::ConnectionLost, |_, _| true);
    }

    /// Where the end of a session is said: over each connection on which the peer has met this node, since whatever comes over one of
    /// them later says of the session only that there is none, and not what was taken in it. On any other the peer may hear of it last,
    /// and what it could not open any more would not tell it whose connection that is.
    fn connections_to_end_on(&self, peer: NodeId) -> Vec<ConnectionId> {
        let mut all = self.peers.get(&peer).map(|peer| peer.connections.clone()).unwrap_or_default();
        all.retain(|on| self.connections.get(on).is_some_and(Connection::takes_long_packets));
        if all.is_empty() { self.any_connection(peer).into_iter().collect() } else { all }
    }

    /// The peer has said that it no longer knows this session.
    pub(super) fn lose_session(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        if !(session.drains() && session.can_be_given_up()) {
            let peer = session.peer;
            self.note(Cause::SessionEnded, Some(peer), None);
        }
        // What was not written yet cannot be opened any more.
        self.end_session(sid, Reason::LostByPeer, |state, _| !matches!(state, QueryState::Sealed { .. }));
    }

    /// Erases a session's keys and its memory of numbers in one step. Queries that were handed over in it end if they are `lost`; all
    /// others wait for another session.
    pub(super) fn end_session(&mut self, sid: SessionId, reason: Reason, lost: impl Fn(QueryState, u64) -> bool) {
        let Some(mut session) = self.sessions.remove(&sid) else { return };
        self.tentative.retain(|&other| other != sid);
        for timer in [Timer::Tentative(sid), Timer::Renew(sid), Timer::Acknowledge(sid), Timer::Assemblies(sid)] {
            self.timers.disarm(timer);
        }
        for asked in [false, true] {
            self.session_order.remove(&(asked, session.last_used, sid));
        }
        if let Some(peer) = self.peers.get_mut(&session.peer) {
            peer.sessions.retain(|&other| other != sid);
        }
        self.forget_introductions(session.peer, sid);
        for assembling in session.assemblies.values() {
            self.uncharge_assembly(session.peer, assembling.charge());
        }
        let (bytes, _) = session.outbox.drop_replies();
        self.uncharge_reply(session.peer, bytes);
        for &incoming in session.incoming.values() {
            self.withdraw(incoming);
        }
        let outstanding: Vec<(u64, QueryId)> =
            session.outstanding.iter().map(|(&number, &query)| (number, query)).collect();
        for (number, query) in outstanding {
            let Some(state) = self.queries.get(&query).map(|outstanding| outstanding.state) else { continue };
            let gone = match state {
                QueryState::Sealed { .. } | QueryState::Sent { .. } | QueryState::Taken { .. } => lost(state, number),
                QueryState::Held | QueryState::Sending { .. } | QueryState::Local(_) => false,
            };
            if gone {
                self.fail_as(query, reason, Executed::Maybe);
            } else {
                self.hold(query);
                if let Some(connection) = state.connection() {
                    self.put_down(connection, query);
                }
            }
        }
    }

    /// What the peer was met with in a session that has ended may still be on its way, and cannot be opened any more when it comes.
    fn forget_introductions(&mut self, peer: NodeId, sid: SessionId) {
        for on in self.peers.get(&peer).map(|peer| peer.connections.as_slice()).unwrap_or_default() {
            if let Some(connection) = self.connections.get_mut(on).filter(|connection| connection.heard_in == Some(sid))
            {
                connection.introduced = false;
            }
        }
    }

    /// Which of the sessions that the peer asks about this node still holds.
    pub(super) fn held(&self, sid: SessionId, asked: &Asked) -> u8 {
        self.sessions.get(&sid).map_or(0, |session| self.held_of(session.peer, asked))
    }

    pub(super) fn held_of(&self, peer: NodeId, asked: &Asked) -> u8 {
        let mut held = 0;
        for (bit, sid) in asked.as_slice().iter().enumerate() {
            if self.sessions.get(sid).is_some_and(|session| session.peer == peer) {
                held |= 1 << bit;
            }
        }
        held
    }

    /// A session is old or has sealed much: another takes its place, or, with nobody there, it just ends.
    pub(super) fn renew_timeout(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        // A peer that is being asked about it sees that it is held, and may ask something in it.
        let (peer, idle) = (session.peer, session.can_be_given_up() && session.question.is_none());
        match self.any_connection(peer) {
            Some(on) if session.initiated => {
                self.arm_in(Timer::Renew(sid), self.settings.session);
                self.shake_hands(peer, on);
            }
            Some(_) => {
                // Its initiator does it; if that has gone wrong, this end does, a little later.
                if let Some(session) = self.sessions.get_mut(&sid) {
                    session.initiated = true;
                }
                self.arm_in(Timer::Renew(sid), self.settings.authenticate * 2);
            }
            None if idle => self.end_session(sid, Reason::ConnectionLost, |_, _| true),
            None => self.arm_in(Timer::Renew(sid), self.settings.authenticate),
        }
    }

    /// Notes that a session is used, to the second.
    pub(super) fn touch_session(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        if session.last_used + Duration::from_secs(1) > self.now {
            return;
        }
        let asked = self.peers.get(&session.peer).is_some_and(|peer| peer.asked);
        for asked in [false, true] {
            self.session_order.remove(&(asked, session.last_used, sid));
        }
        session.last_used = self.now;
        self.session_order.insert((asked, self.now, sid));
    }

    /// Whether one more session could be confirmed. A tentative one does not push anything out: it may be a replay.
    pub(super) fn has_room_for_session(&self) -> bool {
        self.confirmed_sessions() < self.limits.sessions || self.least_needed_session().is_some()
    }

    /// Makes room for one more confirmed session, if need be by giving up the longest unused one in which nothing is under way.
    pub(super) fn make_room_for_session(&mut self) -> bool {
        if self.confirmed_sessions() < self.limits.sessions {
            return true;
        }
        let victim = self.least_needed_session();
        if let Some(victim) = victim {
            self.break_session(victim, BreakCode::Memory);
        }
        victim.is_some()
    }

    fn confirmed_sessions(&self) -> usize {
        self.sessions.len() - self.tentative.len()
    }

    fn least_needed_session(&self) -> Option<SessionId> {
        let sessions = self.session_order.iter().filter_map(|(_, _, sid)| self.sessions.get(sid));
        let mut confirmed = sessions.filter(|session| !matches!(session.phase, SessionPhase::Tentative { .. }));
        confirmed.find(|session| session.can_be_given_up()).map(|session| session.id)
    }

    /// The connection over which a session with the peer can be settled: an open one, or the one that is being opened.
    fn connection_to(&self, peer: NodeId) -> Option<ConnectionId> {
        let dial = self.peers.get(&peer)?.dial;
        let open =
            |on: &ConnectionId| self.connections.get(on).is_some_and(|connection| connection.phase == Phase::Open);
        self.any_connection(peer).or(dial).filter(open)
    }
}
