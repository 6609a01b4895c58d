//! Handshakes: two messages that give two nodes a session, with a defence against floods of the first.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::connection::Connection;
use crate::id::{ConnectionId, NodeId};
use crate::identity::PublicKey;
use crate::note::Cause;
use crate::peer::PendingHandshake;
use crate::query::{Reason, Refusal};
use crate::session::state::{Agreement, Session, SessionPhase};
use crate::session::{Initiator, Responder};
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::handshake::{Asked, HelloPayload, WelcomePayload};
use crate::wire::packet::{SessionId, put_busy, put_hello, put_retry, put_welcome};

/// Tentative sessions over one connection: of one node, and in all.
const TENTATIVE_PER_PEER: usize = 2;
const TENTATIVE_PER_CONNECTION: usize = 4;

/// Above so many handshakes in a second, the initiator has to show a cookie first.
const COOKIES_ABOVE: u32 = 100;

/// How long a cookie secret is used; cookies made with the one before are still good.
const COOKIE_SECRET_LIFE: Duration = Duration::from_secs(60);

/// How many cookies one handshake accepts.
const MOST_COOKIES: u32 = 4;

/// How much longer an answer may take while other bytes still arrive.
const SLOW_ANSWER: u32 = 20;

/// How often a handshake is put off.
const MOST_BUSIES: u32 = 5;

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
            .filter_map(|sid| self.sessions.get(sid).map(Box::as_ref))
            .filter(|session| session.is_good())
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
        peer.handshake = Some(Box::new(PendingHandshake {
            id,
            initiator,
            noise,
            cookie: [0; 16],
            cookies: 0,
            busies: 0,
            asked,
            generation: peer.generation,
            first_sent: self.now,
            sent_on: None,
        }));
        true
    }

    /// Whether a handshake with a peer that has been met waits behind other bytes, at either end: as long as some of them arrive, the
    /// connection is slow and not dead. But not for ever, since they may be anything.
    fn is_slow(&self, peer: NodeId, on: ConnectionId) -> bool {
        let Some(connection) = self.connections.get(&on).filter(|connection| connection.peer == Some(peer)) else {
            return false;
        };
        let handshake = self.peers.get(&peer).and_then(|peer| peer.handshake.as_ref());
        handshake.is_some_and(|handshake| self.still_moves(connection, handshake.first_sent))
    }

    fn still_moves(&self, connection: &Connection, since: Instant) -> bool {
        let patience = self.settings.authenticate;
        let moved = connection.last_heard.max(connection.last_written);
        moved + patience > self.now && since + patience * SLOW_ANSWER > self.now
    }

    /// Nothing has come in a session that was offered. As with the handshake itself, that may wait behind other bytes: in a packet that is
    /// on its way in, or out.
    pub(super) fn tentative_timeout(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let SessionPhase::Tentative { on, .. } = session.phase else { return };
        let connection = self.connections.get(&on).filter(|connection| connection.peer == Some(session.peer));
        let is_slow = |connection: &Connection| {
            let under_way = connection.inbound.is_partial() || !connection.outbound.is_empty();
            under_way && self.still_moves(connection, session.clock)
        };
        if connection.is_some_and(is_slow) {
            let patience = self.settings.authenticate;
            self.arm_in(Timer::Tentative(sid), patience);
        } else {
            self.end_session(sid, Reason::ConnectionLost, |_, _| true);
        }
    }

    /// A handshake was not answered for long, or the peer was too busy for it a while ago.
    pub(super) fn handshake_again(&mut self, peer: NodeId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let was_busy = state.busy_until.take().is_some();
        if state.held.is_empty() && state.connections.is_empty() {
            // Nobody waits for it.
            state.handshake = None;
            return;
        }
        let sent_on = state.handshake.as_mut().and_then(|handshake| handshake.sent_on.take());
        match sent_on {
            Some(on) if was_busy && self.connections.contains_key(&on) => self.shake_hands(peer, on),
            Some(on) if !was_busy && self.is_slow(peer, on) => {
                if let Some(handshake) = self.peers.get_mut(&peer).and_then(|peer| peer.handshake.as_mut()) {
                    handshake.sent_on = Some(on);
                }
                let patience = self.settings.authenticate;
                self.arm_in(Timer::HandshakeAgain(peer), patience);
            }
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
        if !self.has_room_for_session() || !self.make_peer(peer) {
            self.note(Cause::HandshakeRefused, Some(peer), Some(on));
            return self.write_raw(on, |out| put_busy(out, isid, BUSY_CODE, BUSY_SECS));
        }
        self.forget_surplus_tentative(peer, on);
        let held = self.held_of(peer, &payload.asked);
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
                made_on: on,
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
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.busy_until = None;
        let Some(handshake) = state.handshake.take() else { return };
        self.timers.disarm(Timer::HandshakeAgain(peer));
        self.timers.disarm(Timer::Prove(peer));
        if !self.authenticated(on, peer) {
            return;
        }
        let mut kept = false;
        // The best one last, so that it is in this one that the peer has shown itself here.
        for (bit, &sid) in handshake.asked.iter().enumerate().rev() {
            if payload.held & (1 << bit) == 0 {
                self.lose_session(sid);
            } else if self.sessions.contains_key(&sid) {
                self.has_shown(sid, on);
                // The best session was only doubted and is kept, unless it is due to be replaced.
                kept |= !self.is_old(sid) && self.best_session(peer) == Some(sid);
            }
        }
        if !kept && !self.make_room_for_session() {
            self.fail_held(peer, Reason::RefusedHere(Refusal::TooManySessions));
        } else if !kept {
            let agreement = Agreement {
                id: handshake.id,
                peer_id: payload.rsid,
                peer,
                initiated: true,
                made_on: on,
                generation: payload.generation.max(handshake.generation),
                peer_clock: handshake.first_sent,
                most_outstanding: usize::from(payload.max_outstanding).max(1),
                keys,
            };
            self.new_session(agreement, SessionPhase::Confirmed);
            self.has_shown(handshake.id, on);
            self.confirmed(handshake.id, on);
        }
        self.reach(peer);
        self.pump(peer);
    }

    pub(super) fn retry(&mut self, on: ConnectionId, isid: SessionId, cookie: [u8; 16]) {
        let Some(peer) = self.peer_on(on) else { return };
        let handshake = self.peers.get_mut(&peer).and_then(|peer| peer.handshake.as_mut());
        // Secrets rotate while a handshake waits, so it may take more than one; but it must not become an echo without end.
        let handshake = handshake.filter(|handshake| handshake.id == isid && handshake.cookies < MOST_COOKIES);
        if let Some(handshake) = handshake {
            handshake.cookie = cookie;
            handshake.cookies += 1;
            handshake.sent_on = None;
            self.shake_hands(peer, on);
        }
    }

    pub(super) fn busy(&mut self, on: ConnectionId, isid: SessionId, wait_secs: u16) {
        let Some(peer) = self.peer_on(on) else { return };
        let wait = Duration::from_secs(u64::from(wait_secs.clamp(1, 60)));
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(handshake) = state.handshake.as_mut().filter(|handshake| handshake.id == isid) else { return };
        if state.busy_until.is_some() {
            return;
        }
        handshake.busies += 1;
        if handshake.busies > MOST_BUSIES {
            // There may be another way to the peer, or to somebody who only pretends to be it.
            self.close(on);
        } else {
            state.busy_until = Some(self.now + wait);
            let jitter = Duration::from_millis(self.random.below(1000));
            self.arm_in(Timer::HandshakeAgain(peer), wait + jitter);
            let patience = self.settings.authenticate + wait + jitter;
            if self.timers.is_armed(Timer::Authenticate(on)) {
                self.arm_in(Timer::Authenticate(on), patience);
            }
        }
    }

    /// Nothing was promised in a tentative session, so one makes way. What comes over one connection never pushes out what came
    /// over another, until the table is full; and then the connection that fills it most gives way.
    fn forget_surplus_tentative(&mut self, peer: NodeId, on: ConnectionId) {
        let mut of_peer = Vec::new();
        let mut by_path: BTreeMap<ConnectionId, Vec<SessionId>> = BTreeMap::new();
        for session in self.tentative.iter().filter_map(|sid| self.sessions.get(sid)) {
            if let SessionPhase::Tentative { on: path, .. } = session.phase {
                by_path.entry(path).or_default().push(session.id);
                if path == on && session.peer == peer {
                    of_peer.push(session.id);
                }
            }
        }
        let over = by_path.remove(&on).unwrap_or_default();
        let fullest = by_path.values().max_by_key(|sessions| sessions.len());
        let victim = if of_peer.len() >= TENTATIVE_PER_PEER {
            of_peer.first()
        } else if over.len() >= TENTATIVE_PER_CONNECTION {
            over.first()
        } else if self.tentative.len() >= self.limits.tentative_sessions {
            fullest.filter(|fullest| fullest.len() > over.len()).unwrap_or(&over).first().or(self.tentative.front())
        } else {
            None
        };
        if let Some(&victim) = victim {
            self.end_session(victim, Reason::ConnectionLost, |_, _| true);
        }
    }
}

/// The initiator's ephemeral key, in front of a first handshake message.
fn first_32(noise: &[u8; 150]) -> [u8; 32] {
    core::array::from_fn(|index| noise[index])
}
