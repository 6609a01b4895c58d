//! Handshakes and the sessions that come of them: made, ranked, doubted, replaced, ended.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::Node;
use crate::connection::Phase;
use crate::conversation::QueryState;
use crate::id::{ConnectionId, NodeId, QueryId};
use crate::identity::PublicKey;
use crate::note::Cause;
use crate::peer::PendingHandshake;
use crate::query::{Executed, Reason};
use crate::session::state::{Agreement, Question, Session, SessionPhase};
use crate::session::{Initiator, Responder};
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::BreakCode;
use crate::wire::frame::Frame;
use crate::wire::handshake::{Asked, HelloPayload, WelcomePayload};
use crate::wire::packet::{SessionId, put_busy, put_hello, put_retry, put_welcome};

/// How long a peer that should still hold a session has to say so before a handshake asks about it.
const PROVE_WITHIN: Duration = Duration::from_secs(1);

/// Tentative sessions of one node, and over one connection.
const TENTATIVE_PER_PEER: usize = 2;
const TENTATIVE_PER_CONNECTION: usize = 4;

/// Confirmed sessions with one node besides the best.
const DRAINING_PER_PEER: usize = 1;

/// Above so many handshakes in a second, the initiator has to show a cookie first.
const COOKIES_ABOVE: u32 = 100;

/// How long a cookie secret is used; cookies made with the one before are still good.
const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(60);

/// Code and seconds of the answer that says that this node is too busy for a handshake.
const BUSY_CODE: u8 = 1;
const BUSY_SECS: u16 = 1;

/// How many handshakes are computed in a second.
#[derive(Debug)]
pub(super) struct HandshakeBudget {
    per_second: u32,
    second_began: Instant,
    computed: u32,
    cookie_secret_since: Instant,
}

impl HandshakeBudget {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, second_began: now, computed: 0, cookie_secret_since: now }
    }

    fn computed_in_this_second(&mut self, now: Instant) -> u32 {
        if now.saturating_since(self.second_began) >= Duration::from_secs(1) {
            self.second_began = now;
            self.computed = 0;
        }
        self.computed
    }
}

impl Node {
    /// Makes sure that the peer and this node share a session that the peer still holds, over this connection.
    pub(super) fn ensure_session(&mut self, peer: NodeId, on: ConnectionId) {
        let Some(sid) = self.best_session(peer) else {
            self.shake_hands(peer, on);
            return;
        };
        if self.live_session(peer).is_some() {
            return;
        }
        let pending = self.peers.get(&peer).is_some_and(|peer| peer.handshake.is_some());
        if pending {
            self.shake_hands(peer, on);
            return;
        }
        let asks = self.sessions.get(&sid).and_then(|session| session.question.as_ref());
        if asks.is_none_or(|question| question.on != on) {
            self.ask(on, sid, Vec::new());
            self.arm_in(Timer::Prove(peer), PROVE_WITHIN);
        }
    }

    /// Asks the peer whether it still holds this session, and others.
    fn ask(&mut self, on: ConnectionId, sid: SessionId, others: Vec<SessionId>) {
        let token = self.random.token();
        let name = |own: &SessionId| self.sessions.get(own).map(|session| session.peer_id);
        let names: Vec<SessionId> = others.iter().filter_map(name).collect();
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.question = Some(Question { token, on, asked: others });
        }
        self.send_urgent(on, sid, &Frame::Ping { token, asked: Asked::about(&names) });
    }

    /// The peer has not shown that it still holds the session: ask about it in a handshake.
    pub(super) fn prove_timeout(&mut self, peer: NodeId) {
        let doubtful = self.best_session(peer).is_some() && self.live_session(peer).is_none();
        if doubtful && let Some(on) = self.connection_to(peer) {
            self.shake_hands(peer, on);
        }
    }

    /// Begins a handshake, or repeats the one that is under way, unchanged, over this connection.
    pub(super) fn shake_hands(&mut self, peer_id: NodeId, on: ConnectionId) {
        if self.peers.get(&peer_id).is_some_and(|peer| peer.handshake.is_none()) && !self.begin_handshake(peer_id) {
            self.close(on);
            return;
        }
        let (Some(peer), Some(connection)) = (self.peers.get_mut(&peer_id), self.connections.get_mut(&on)) else {
            return;
        };
        let Some(handshake) = &mut peer.handshake else { return };
        if handshake.sent_on == Some(on) {
            return;
        }
        handshake.sent_on = Some(on);
        put_hello(connection.outbound.tail(), handshake.id, &handshake.cookie, &handshake.noise);
        self.wrote_raw(on);
        let patience = self.settings.authenticate;
        self.arm_in(Timer::HandshakeAgain(peer_id), patience);
    }

    fn begin_handshake(&mut self, peer_id: NodeId) -> bool {
        let id = self.random.session_id();
        let ephemeral = self.random.ephemeral();
        let Some(peer) = self.peers.get_mut(&peer_id) else { return false };
        let Some(key) = peer.key else { return false };
        let doubted: Vec<&Session> = peer
            .sessions
            .iter()
            .filter_map(|sid| self.sessions.get(sid))
            .filter(|session| !matches!(session.phase, SessionPhase::Tentative { .. }))
            .take(Asked::MAX)
            .collect();
        let names: Vec<SessionId> = doubted.iter().map(|session| session.peer_id).collect();
        let asked: Vec<SessionId> = doubted.iter().map(|session| session.id).collect();
        let payload = HelloPayload {
            key: *self.identity.public_key().as_bytes(),
            generation: peer.generation,
            asked: Asked::about(&names),
        };
        let Ok((initiator, noise)) = Initiator::start(&self.identity, &key, id.0, ephemeral, &payload.encode()) else {
            return false;
        };
        peer.handshake = Some(PendingHandshake {
            id,
            initiator,
            noise,
            cookie: [0; 16],
            asked,
            generation: peer.generation,
            first_sent: self.now,
            sent_on: None,
        });
        true
    }

    /// A handshake was not answered for long, or the peer was too busy for it a while ago.
    pub(super) fn handshake_again(&mut self, peer: NodeId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let was_busy = state.busy_until.take().is_some();
        let Some(handshake) = &mut state.handshake else { return };
        let sent_on = handshake.sent_on.take();
        match sent_on {
            Some(on) if was_busy && self.connections.contains_key(&on) => self.shake_hands(peer, on),
            Some(on) if !was_busy && self.connections.contains_key(&on) => {
                self.note(Cause::NotAuthenticatedInTime, Some(peer), Some(on));
                self.close(on);
            }
            _ => self.reach(peer),
        }
    }

    /// A first handshake message. Whatever it says can be a replay; nothing it asks for is done before a record confirms it.
    pub(super) fn hello(&mut self, on: ConnectionId, isid: SessionId, cookie: &[u8; 16], noise: &[u8; 150]) {
        let ephemeral = first_32(noise);
        if let Some(welcome) = self.welcome_given(&ephemeral) {
            self.write_raw(on, |out| out.extend_from_slice(&welcome));
            return;
        }
        if !self.afford_handshake(on, isid, cookie, &ephemeral) {
            self.note(Cause::HandshakeRefused, None, Some(on));
            return;
        }
        let own_ephemeral = self.random.ephemeral();
        let Ok((responder, payload)) = Responder::open(&self.identity, isid.0, own_ephemeral, noise) else {
            self.note(Cause::HandshakeNotForMe, None, Some(on));
            self.close(on);
            return;
        };
        let Ok(payload) = HelloPayload::parse(&payload) else { return self.violated(on) };
        let Ok(key) = PublicKey::from_bytes(&payload.key) else { return self.violated(on) };
        if !responder.claims(&key) {
            return self.violated(on);
        }
        let peer = NodeId::of(&key);
        if peer == self.id {
            self.note(Cause::ConnectedToMyself, None, Some(on));
            return self.close(on);
        }
        if self.peer_on(on).is_some_and(|expected| expected != peer) {
            self.note(Cause::ConnectedToAnother, Some(peer), Some(on));
            return self.close(on);
        }
        let held = self.held_of(peer, &payload.asked);
        if !self.make_peer(peer) || !self.make_room_for_session() {
            self.note(Cause::HandshakeRefused, Some(peer), Some(on));
            return self.write_raw(on, |out| put_busy(out, isid, BUSY_CODE, BUSY_SECS));
        }
        self.forget_surplus_tentative(peer, on);
        let known = self.peers.get(&peer).map_or(0, |peer| peer.generation);
        let generation = payload.generation.max(known).saturating_add(1);
        let sid = self.random.session_id();
        let most = u16::try_from(self.limits.incoming_per_peer).unwrap_or(u16::MAX);
        let answer = WelcomePayload { rsid: sid, generation, held, boot: self.boot, max_outstanding: most };
        let Ok((message, keys)) = responder.answer(&answer.encode()) else { return self.violated(on) };
        let mut welcome = Vec::new();
        put_welcome(&mut welcome, isid, &message);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.key = Some(key);
        }
        let phase = SessionPhase::Tentative { ephemeral, welcome: welcome.clone(), on };
        self.new_session(
            Agreement {
                id: sid,
                peer_id: isid,
                peer,
                initiated: false,
                generation,
                peer_clock: self.now,
                // The initiator names no limit; it holds this node's queries to its own.
                most_outstanding: usize::MAX,
                keys,
            },
            phase,
        );
        self.tentative.push_back(sid);
        let life = self.settings.tentative;
        self.arm_in(Timer::Tentative(sid), life);
        self.write_raw(on, |out| out.extend_from_slice(&welcome));
    }

    /// The same first message again, while its session is tentative, gets the same answer again.
    fn welcome_given(&self, shown: &[u8; 32]) -> Option<Vec<u8>> {
        self.tentative.iter().filter_map(|sid| self.sessions.get(sid)).find_map(|session| match &session.phase {
            SessionPhase::Tentative { ephemeral, welcome, .. } if ephemeral == shown => Some(welcome.clone()),
            SessionPhase::Tentative { .. } | SessionPhase::Confirmed | SessionPhase::Draining => None,
        })
    }

    /// Whether this node computes a handshake now. Under pressure the initiator has to come back with a cookie first, and beyond
    /// the budget it is told to wait. Both answers are smaller than the question.
    fn afford_handshake(&mut self, on: ConnectionId, isid: SessionId, cookie: &[u8; 16], ephemeral: &[u8; 32]) -> bool {
        if self.now.saturating_since(self.handshakes.cookie_secret_since) >= COOKIE_SECRET_LIFE {
            self.handshakes.cookie_secret_since = self.now;
            let secret = self.random.cookie_secret();
            self.cookies.rotate(secret);
        }
        let computed = self.handshakes.computed_in_this_second(self.now);
        let pressed = computed >= COOKIES_ABOVE || self.tentative.len() >= self.limits.tentative_sessions.div_ceil(2);
        if pressed && !self.cookies.check(cookie, on.0, isid.0, ephemeral) {
            let fresh = self.cookies.make(on.0, isid.0, ephemeral);
            self.write_raw(on, |out| put_retry(out, isid, &fresh));
            return false;
        }
        if computed >= self.handshakes.per_second || self.stopping.is_some() {
            self.write_raw(on, |out| put_busy(out, isid, BUSY_CODE, BUSY_SECS));
            return false;
        }
        self.handshakes.computed += 1;
        true
    }

    /// The second handshake message, which proves the peer and says what it still holds.
    pub(super) fn welcome(&mut self, on: ConnectionId, isid: SessionId, noise: &[u8; 72]) {
        let peer_id = self.peer_on(on);
        let peer = peer_id.and_then(|peer| self.peers.get_mut(&peer));
        let handshake = peer.and_then(|peer| peer.handshake.as_mut()).filter(|handshake| handshake.id == isid);
        let (Some(peer), Some(handshake)) = (peer_id, handshake) else {
            self.note(Cause::HandshakeAnswerUnexpected, peer_id, Some(on));
            return;
        };
        let Ok((keys, payload)) = handshake.initiator.finish(noise) else {
            // Whoever answers with something else than an answer might do so for ever, and each try costs a computation.
            self.note(Cause::HandshakeAnswerUnexpected, peer_id, Some(on));
            return self.close(on);
        };
        let Ok(payload) = WelcomePayload::parse(&payload) else { return self.violated(on) };
        let Some(handshake) = self.peers.get_mut(&peer).and_then(|peer| peer.handshake.take()) else { return };
        self.timers.disarm(Timer::HandshakeAgain(peer));
        self.timers.disarm(Timer::Prove(peer));
        if !self.authenticated(on, peer) {
            return;
        }
        let mut kept = false;
        for (bit, &sid) in handshake.asked.iter().enumerate() {
            if payload.held & (1 << bit) == 0 {
                self.lose_session(sid);
            } else if let Some(session) = self.sessions.get_mut(&sid) {
                session.heard_on = Some(on);
                // A session that was only doubted is kept; one that is due to be replaced is not.
                kept |= !self.is_old(sid);
            }
        }
        if !kept && self.make_room_for_session() {
            let agreement = Agreement {
                id: handshake.id,
                peer_id: payload.rsid,
                peer,
                initiated: true,
                generation: payload.generation.max(handshake.generation),
                peer_clock: handshake.first_sent,
                most_outstanding: usize::from(payload.max_outstanding).max(1),
                keys,
            };
            self.new_session(agreement, SessionPhase::Confirmed);
            if let Some(session) = self.sessions.get_mut(&handshake.id) {
                session.heard_on = Some(on);
            }
            self.confirmed(handshake.id, on);
        }
        self.reach(peer);
        self.pump(peer);
    }

    fn is_old(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).is_none_or(|session| {
            session.sealer.wants_replacement() || session.clock + self.settings.session <= self.now
        })
    }

    pub(super) fn retry(&mut self, on: ConnectionId, isid: SessionId, cookie: [u8; 16]) {
        let Some(peer) = self.peer_on(on) else { return };
        let handshake = self.peers.get_mut(&peer).and_then(|peer| peer.handshake.as_mut());
        // One cookie a handshake and connection: a second one would be an echo without end.
        if let Some(handshake) = handshake.filter(|handshake| handshake.id == isid && handshake.cookie != cookie) {
            handshake.cookie = cookie;
            handshake.sent_on = None;
            self.shake_hands(peer, on);
        }
    }

    pub(super) fn busy(&mut self, on: ConnectionId, isid: SessionId, wait_secs: u16) {
        let Some(peer) = self.peer_on(on) else { return };
        let wait = Duration::from_secs(u64::from(wait_secs.clamp(1, 60)));
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if state.handshake.as_ref().is_some_and(|handshake| handshake.id == isid) {
            state.busy_until = Some(self.now + wait);
            let jitter = Duration::from_millis(self.random.below(1000));
            self.arm_in(Timer::HandshakeAgain(peer), wait + jitter);
            let patience = self.settings.authenticate + wait + jitter;
            if self.timers.is_armed(Timer::Authenticate(on)) {
                self.arm_in(Timer::Authenticate(on), patience);
            }
        }
    }

    /// Somebody on the path says that the peer does not know a session. That proves nothing, but it is a reason to ask.
    pub(super) fn stale(&mut self, on: ConnectionId, sid: SessionId, counter: u64) {
        let Some(peer) = self.peer_on(on) else { return };
        let Some(state) = self.peers.get(&peer) else { return };
        let session =
            state.sessions.iter().filter_map(|own| self.sessions.get(own)).find(|session| session.peer_id == sid);
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

    /// The peer holds this session; of the others that it was asked about, it has lost those of which it does not say so.
    pub(super) fn pong(&mut self, sid: SessionId, token: u64, held: u8) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let Some(question) = session.question.take_if(|question| question.token == token) else { return };
        session.answered = true;
        let peer = session.peer;
        self.timers.disarm(Timer::Prove(peer));
        for (bit, &other) in question.asked.iter().enumerate() {
            if held & (1 << bit) == 0 {
                self.lose_session(other);
            }
        }
        self.close_drained(peer);
    }

    fn new_session(&mut self, agreement: Agreement, phase: SessionPhase) {
        let (id, peer) = (agreement.id, agreement.peer);
        self.sessions.insert(id, Session::new(agreement, phase, self.now));
        let asked = self.peers.get(&peer).is_some_and(|peer| peer.asked);
        self.session_order.insert((asked, self.now, id));
        if let Some(state) = self.peers.get_mut(&peer) {
            state.sessions.push(id);
        }
    }

    /// The initiator has been heard in a tentative session.
    pub(super) fn confirm(&mut self, sid: SessionId) {
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
    fn confirmed(&mut self, sid: SessionId, on: ConnectionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let (peer_id, generation, initiated) = (session.peer, session.generation, session.initiated);
        self.arm_in(Timer::Renew(sid), self.settings.session);
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.generation = peer.generation.max(generation);
        let sessions = &self.sessions;
        peer.sessions.sort_by_key(|sid| {
            sessions.get(sid).map(|session| {
                let tentative = matches!(session.phase, SessionPhase::Tentative { .. });
                (tentative, Reverse(session.generation), session.handshake_hash)
            })
        });
        let ranked: Vec<SessionId> = peer.sessions.clone();
        let mut others = Vec::new();
        for (rank, other) in ranked.iter().enumerate() {
            if let Some(session) = self.sessions.get_mut(other)
                && !matches!(session.phase, SessionPhase::Tentative { .. })
            {
                session.phase = if rank == 0 { SessionPhase::Confirmed } else { SessionPhase::Draining };
                if rank > 0 {
                    others.push(*other);
                    self.hold_unsent(*other);
                }
            }
        }
        for worst in others.split_off(others.len().min(DRAINING_PER_PEER)) {
            self.break_session(worst, BreakCode::Superseded);
        }
        if let (false, Some(&best)) = (others.is_empty(), ranked.first()) {
            if let Some(session) = self.sessions.get_mut(&best) {
                session.answered = false;
            }
            self.ask(on, best, others);
        } else if initiated {
            // A record must follow the handshake, or the peer's half of the session expires.
            let waiting = self.peers.get(&peer_id).is_some_and(|peer| !peer.held.is_empty());
            if !waiting {
                self.send_urgent_bytes(on, sid, Vec::new());
            }
        }
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

    fn close_drained(&mut self, peer: NodeId) {
        let sessions = self.peers.get(&peer).map(|peer| peer.sessions.clone()).unwrap_or_default();
        for sid in sessions {
            self.close_if_drained(sid);
        }
    }

    pub(super) fn close_if_drained(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        if !matches!(session.phase, SessionPhase::Draining) || !session.is_at_rest() {
            return;
        }
        let best = self.best_session(session.peer).and_then(|best| self.sessions.get(&best));
        if best.is_some_and(|best| best.answered) {
            self.break_session(sid, BreakCode::Superseded);
        }
    }

    /// Ends a session and tells the peer, if a connection is open, in the same step.
    pub(super) fn break_session(&mut self, sid: SessionId, code: BreakCode) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        let (base, taken) = session.numbers.taken_bitmap();
        if let Some(on) = self.any_connection(peer) {
            self.seal_now(on, sid, &Frame::Break { code, base, taken: &taken });
        }
        self.end_session(sid, Reason::ConnectionLost, |_, _| true);
    }

    /// The peer has said that it no longer knows this session.
    fn lose_session(&mut self, sid: SessionId) {
        let Some(peer) = self.sessions.get(&sid).map(|session| session.peer) else { return };
        self.note(Cause::SessionEnded, Some(peer), None);
        self.end_session(sid, Reason::LostByPeer, |_, _| true);
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
        for assembling in session.assemblies.values() {
            self.uncharge_assembly(session.peer, assembling.pieces.held_bytes());
        }
        self.reply_bytes -= session.outbox.drop_replies().0;
        for &incoming in session.incoming.values() {
            self.withdraw(incoming);
        }
        let outstanding: Vec<(u64, QueryId)> =
            session.outstanding.iter().map(|(&number, &query)| (number, query)).collect();
        for (number, query) in outstanding {
            let Some(state) = self.queries.get(&query).map(|outstanding| outstanding.state) else { continue };
            let gone = match state {
                QueryState::Sent { .. } | QueryState::Taken { .. } => lost(state, number),
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

    pub(super) fn tentative_timeout(&mut self, sid: SessionId) {
        self.end_session(sid, Reason::ConnectionLost, |_, _| true);
    }

    /// A session is old or has sealed much: another takes its place, or, with nobody there, it just ends.
    pub(super) fn renew_timeout(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let (peer, at_rest) = (session.peer, session.is_at_rest());
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
            None if at_rest => self.end_session(sid, Reason::ConnectionLost, |_, _| true),
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

    /// Whether there is room for one more session, if need be after giving up the longest unused one in which nothing is under way.
    fn make_room_for_session(&mut self) -> bool {
        if self.sessions.len() < self.limits.sessions {
            return true;
        }
        let candidates = self.session_order.iter().map(|&(_, _, sid)| sid).filter(|sid| {
            self.sessions
                .get(sid)
                .is_some_and(|session| !matches!(session.phase, SessionPhase::Tentative { .. }) && session.is_at_rest())
        });
        let victim = candidates.take(1).next();
        if let Some(victim) = victim {
            self.break_session(victim, BreakCode::Memory);
        }
        victim.is_some()
    }

    /// Nothing was promised in a tentative session, so the oldest makes way: of the same node, of the same connection, of all.
    fn forget_surplus_tentative(&mut self, peer: NodeId, on: ConnectionId) {
        let of = |node: &Self, wanted: &dyn Fn(&Session) -> bool| -> Vec<SessionId> {
            let sessions = node.tentative.iter().filter_map(|sid| node.sessions.get(sid));
            sessions.filter(|session| wanted(session)).map(|session| session.id).collect()
        };
        let over = |session: &Session| matches!(session.phase, SessionPhase::Tentative { on: path, .. } if path == on);
        let groups = [
            (of(self, &|session| session.peer == peer), TENTATIVE_PER_PEER),
            (of(self, &over), TENTATIVE_PER_CONNECTION),
            (of(self, &|_| true), self.limits.tentative_sessions),
        ];
        for (sessions, most) in groups {
            if sessions.len() >= most
                && let Some(&oldest) = sessions.first()
            {
                self.end_session(oldest, Reason::ConnectionLost, |_, _| true);
            }
        }
    }

    /// The connection over which a session with the peer can be settled: an open one, or the one that is being opened.
    fn connection_to(&self, peer: NodeId) -> Option<ConnectionId> {
        let dial = self.peers.get(&peer)?.dial;
        let open =
            |on: &ConnectionId| self.connections.get(on).is_some_and(|connection| connection.phase == Phase::Open);
        self.any_connection(peer).or(dial).filter(open)
    }
}

/// The initiator's ephemeral key, in front of a first handshake message.
fn first_32(noise: &[u8; 150]) -> [u8; 32] {
    core::array::from_fn(|index| noise[index])
}
