//! Handshakes with a peer: two messages that give both nodes a session.
//!
//! ```text
//!   initiator                                     responder
//!      | HELLO (asks about sessions in doubt) ------> |  computes, makes a tentative session; nothing that it asks is done
//!      | <---------------------- WELCOME (held bits)  |
//!   confirmed: what waits goes                        |
//!      | a record ----------------------------------> |  confirmed: from here on it is the initiator's word
//! ```

use alloc::vec::Vec;
use core::time::Duration;

use super::Peer;
use super::sessions::Held;
use crate::env::{Effect, Env};
use crate::id::ConnectionId;
use crate::identity::PublicKey;
use crate::note::Cause;
use crate::query::AttemptResult;
use crate::session::{Agreement, Established, Initiator, PathId, Session};
use crate::time::Instant;
use crate::wire::handshake::{Asked, HelloPayload, WelcomePayload};
use crate::wire::packet::{SessionId, put_hello};

/// With one peer a handshake is begun at most so often.
const EVERY: Duration = Duration::from_secs(1);

/// How many cookies one handshake accepts on one connection.
const MOST_COOKIES: u32 = 4;

/// How much longer an answer may take while other bytes still arrive.
const SLOW_ANSWER: u32 = 20;

/// The wait of a BUSY, in tenths of a second.
const MOST_TENTHS: u16 = 600;

/// A handshake that this node has begun.
pub(super) struct Handshake {
    id: SessionId,
    initiator: Initiator,
    /// The Noise message: made once, repeated unchanged.
    noise: [u8; 150],
    /// The sessions that it asks about; all of them are older than it.
    asked: Vec<SessionId>,
    generation: u32,
    made: Instant,
    sent: Vec<Sent>,
}

/// Where it was sent.
struct Sent {
    on: ConnectionId,
    at: Instant,
    cookie: [u8; 16],
    cookies: u32,
    /// The responder has no room: it is sent again then.
    busy_until: Option<Instant>,
}

/// What the first message of somebody else's handshake has said, checked.
pub(crate) struct Offer {
    pub(crate) isid: SessionId,
    /// What this node calls the new session.
    pub(crate) sid: SessionId,
    pub(crate) public_key: PublicKey,
    pub(crate) generation: u32,
    pub(crate) keys: Established,
}

impl Peer {
    /// What a WELCOME is to say of the sessions that a HELLO asks about, and the new session's generation.
    pub(crate) fn answer_to(&self, payload: &HelloPayload) -> (u8, u32) {
        let held = self.held_of(payload.asked.as_slice());
        (held, payload.generation.max(self.generation()).saturating_add(1))
    }

    /// The peer, or somebody who replays what it once said, has been offered a session: tentative until a record comes in it.
    pub(crate) fn offered(&mut self, env: &mut Env, offer: Offer) {
        let Offer { isid, sid, public_key, generation, keys } = offer;
        self.public_key = Some(public_key);
        let agreement = Agreement {
            id: sid,
            peer_id: isid,
            initiated: false,
            generation,
            peer_clock: env.now,
            // The initiator names no limit; it holds this node's queries to its own.
            most_outstanding: usize::MAX,
            keys,
        };
        self.sessions.add(Session::new(agreement, env.now), env.now);
        self.mark(env);
    }

    /// Begins a handshake, or repeats the one that is under way, unchanged, over this connection.
    pub(super) fn shake_hands(&mut self, env: &mut Env, on: ConnectionId) {
        if self.handshake.is_none() && (self.next_handshake > env.now || !self.begin_handshake(env)) {
            return;
        }
        let Some(handshake) = &mut self.handshake else { return };
        if handshake.sent.iter().any(|sent| sent.on == on) {
            return;
        }
        // The connection may have been open for a while with nobody waiting.
        env.connections.give_time(env.now, on);
        let sent = Sent { on, at: env.now, cookie: [0; 16], cookies: 0, busy_until: None };
        handshake.send(env, &sent);
        handshake.sent.push(sent);
    }

    fn begin_handshake(&mut self, env: &mut Env) -> bool {
        let Some(key) = self.public_key else { return false };
        let (id, ephemeral) = (env.random.session_id(), env.random.ephemeral());
        let mut confirmed: Vec<&Held> = self.sessions.iter().filter(|held| held.session.is_confirmed()).collect();
        // Those in which something is under way that the peer may have lost come first, then the best.
        confirmed.sort_by_key(|held| !held.is_in_doubt(env.now));
        let asked = confirmed.iter().take(Asked::MAX).map(|held| (held.session.id(), held.session.peer_id()));
        let (asked, names): (Vec<SessionId>, Vec<SessionId>) = asked.unzip();
        let payload = HelloPayload {
            key: *env.identity.public_key().as_bytes(),
            generation: self.generation(),
            asked: Asked::about(&names),
        };
        let Ok((initiator, noise)) = Initiator::start(&env.identity, &key, id.0, ephemeral, &payload.encode()) else {
            return false;
        };
        self.next_handshake = env.now + EVERY;
        env.own_hellos.insert(id, self.key);
        self.handshake = Some(alloc::boxed::Box::new(Handshake {
            id,
            initiator,
            noise,
            asked,
            generation: payload.generation,
            made: env.now,
            sent: Vec::new(),
        }));
        true
    }

    /// The second handshake message, which proves the peer and says what it still holds.
    pub(crate) fn welcome(&mut self, env: &mut Env, on: ConnectionId, isid: SessionId, noise: &[u8; 64]) {
        let handshake = self.handshake.as_mut().filter(|handshake| handshake.id == isid);
        let Some(handshake) = handshake else {
            return env.note(Cause::HandshakeAnswerUnexpected, Some(self.id), Some(on));
        };
        let opened = handshake.initiator.finish(noise).ok();
        let opened = opened.and_then(|(keys, payload)| Some((keys, WelcomePayload::parse(&payload).ok()?)));
        let Some((keys, payload)) = opened else {
            // Whoever answers with something else than an answer might do so for ever, and each try costs a computation.
            env.note(Cause::HandshakeAnswerUnexpected, Some(self.id), Some(on));
            return env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
        };
        if !self.prove(env, on) {
            return;
        }
        let Some(handshake) = self.handshake.take() else { return };
        env.own_hellos.remove(&handshake.id);
        if let Some(connection) = env.connections.get_mut(on) {
            connection.is_introduced_anew();
        }
        let (path, connection) = (PathId::Stream(on), env.connections.get(on));
        let short = connection.is_some_and(crate::connection::Connection::is_short);
        let dialled_to = connection.filter(|connection| connection.is_dialled()).map(|connection| connection.remote());
        let mut kept = false;
        let best = self.sessions.best().map(|held| held.session.id());
        for (bit, &sid) in handshake.asked.iter().enumerate() {
            if payload.held & (1 << bit) == 0 {
                self.not_held(env, sid, path, dialled_to);
            } else if let Some(held) = self.sessions.get_mut(sid) {
                held.stale = false;
                held.session.is_held(env.now, path, short);
                held.goes_over(dialled_to);
                // The best session was only doubted and is kept, unless it is due to be replaced.
                kept |= best == Some(sid) && held.session.made() + env.settings.session > env.now;
            }
        }
        if !kept {
            self.new_session(env, on, &handshake, &payload, keys);
        }
        self.mark(env);
    }

    fn new_session(
        &mut self,
        env: &mut Env,
        on: ConnectionId,
        handshake: &Handshake,
        payload: &WelcomePayload,
        keys: Established,
    ) {
        let agreement = Agreement {
            id: handshake.id,
            peer_id: payload.rsid,
            initiated: true,
            generation: payload.generation.max(handshake.generation),
            peer_clock: handshake.made,
            most_outstanding: usize::from(payload.max_outstanding).max(1),
            keys,
        };
        let sid = handshake.id;
        let mut session = Session::new(agreement, env.now);
        let connection = env.connections.get(on);
        let short = connection.is_some_and(crate::connection::Connection::is_short);
        let dialled_to = connection.filter(|connection| connection.is_dialled()).map(|connection| connection.remote());
        let sent = handshake.sent.iter().find(|sent| sent.on == on);
        let taken = sent.map(|sent| env.now.saturating_since(sent.at));
        session.hear(env.now, PathId::Stream(on), short, taken);
        self.sessions.add(session, env.now);
        if let Some(held) = self.sessions.get_mut(sid) {
            held.goes_over(dialled_to);
        }
        env.effects.push(Effect::SessionUsed(sid, self.key));
        self.make_place(env, sid);
    }

    /// The responder wants a cookie first.
    pub(crate) fn retry(&mut self, env: &mut Env, on: ConnectionId, isid: SessionId, cookie: [u8; 16]) {
        let Some(handshake) = self.handshake.as_mut().filter(|handshake| handshake.id == isid) else { return };
        let Some(at) = handshake.sent.iter().position(|sent| sent.on == on) else { return };
        let sent = &mut handshake.sent[at];
        if sent.cookies >= MOST_COOKIES {
            return;
        }
        sent.cookie = cookie;
        sent.cookies += 1;
        if sent.busy_until.is_none() {
            sent.at = env.now;
            handshake.send(env, &handshake.sent[at]);
        }
    }

    /// The responder has no room now.
    pub(crate) fn busy(&mut self, env: &mut Env, on: ConnectionId, isid: SessionId, wait: u16) {
        let Some(handshake) = self.handshake.as_mut().filter(|handshake| handshake.id == isid) else { return };
        let Some(sent) = handshake.sent.iter_mut().find(|sent| sent.on == on) else { return };
        let wait = Duration::from_millis(100) * u32::from(wait.clamp(1, MOST_TENTHS));
        let spread = env.random.below(u64::try_from(wait.as_micros()).unwrap_or(0) / 4 + 1);
        let until = env.now + wait + Duration::from_micros(spread);
        sent.busy_until = Some(sent.busy_until.map_or(until, |before| before.max(until)));
        if self.way.is_busy(on, until, env.now) {
            // Another strategy has its turn.
            env.effects.push(Effect::Close(on, AttemptResult::Busy));
        }
        self.mark(env);
    }

    /// Somebody on the path says that the peer does not know a session. That proves nothing, but it is a reason to ask.
    pub(crate) fn stale(&mut self, env: &mut Env, on: ConnectionId, peer_sid: SessionId, counter: u64) {
        let path = PathId::Stream(on);
        let known = |held: &&mut Held| held.session.peer_id() == peer_sid && held.session.has_sealed(counter);
        if let Some(held) = self.sessions.iter_mut().find(known)
            && held.session.lane(path).is_some()
        {
            held.stale |= held.session.is_heard_on(path);
            held.session.stale(path);
            self.mark(env);
        }
    }

    /// A connection over which a handshake was sent has ended.
    pub(super) fn handshake_lost_path(&mut self, on: ConnectionId) {
        if let Some(handshake) = &mut self.handshake {
            handshake.sent.retain(|sent| sent.on != on);
        }
    }

    /// Sends again what the responder had no room for; gives up a connection on which there is no answer.
    pub(super) fn tick_handshake(&mut self, env: &mut Env) {
        let patience = env.settings.authenticate;
        let Some(handshake) = &mut self.handshake else { return };
        for at in 0..handshake.sent.len() {
            let sent = &mut handshake.sent[at];
            if sent.busy_until.is_some_and(|until| until <= env.now) {
                sent.busy_until = None;
                sent.at = env.now;
                handshake.send(env, &handshake.sent[at]);
            } else if sent.busy_until.is_none() && gives_up_at(env, sent, patience) <= env.now {
                env.note(Cause::NotAuthenticatedInTime, Some(self.id), Some(sent.on));
                env.effects.push(Effect::Close(sent.on, AttemptResult::Silent));
            }
        }
    }

    pub(super) fn handshake_deadline(&self, env: &Env) -> Option<Instant> {
        let patience = env.settings.authenticate;
        let sent = self.handshake.as_ref()?.sent.iter();
        sent.map(|sent| sent.busy_until.unwrap_or_else(|| gives_up_at(env, sent, patience))).min()
    }

    /// Whether the responder has said on this connection that it has no room, or has that been said lately on any.
    pub(crate) fn is_busy_on(&self, on: ConnectionId) -> bool {
        let handshake = self.handshake.as_ref();
        handshake.is_some_and(|handshake| handshake.sent.iter().any(|sent| sent.on == on && sent.busy_until.is_some()))
    }

    /// Nobody waits for it any more.
    pub(super) fn drop_handshake(&mut self, env: &mut Env) {
        if let Some(handshake) = self.handshake.take() {
            env.own_hellos.remove(&handshake.id);
        }
    }

    /// The handshake has come back to this very node: the address that it went to is its own.
    pub(crate) fn meets_this_node(&mut self, env: &mut Env) {
        for sent in self.handshake.iter().flat_map(|handshake| &handshake.sent) {
            env.effects.push(Effect::Close(sent.on, AttemptResult::Myself));
        }
    }

    /// Whether a handshake was sent, and its answer is awaited.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| !handshake.sent.is_empty())
    }
}

impl Handshake {
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    fn send(&self, env: &mut Env, sent: &Sent) {
        env.connections.put(env.now, sent.on, |out| put_hello(out, self.id, &sent.cookie, &self.noise));
    }
}

/// When a connection is given up on which a handshake was sent: it is slow and not dead while bytes still move, but not for ever, since they
/// may be anything.
fn gives_up_at(env: &Env, sent: &Sent, patience: Duration) -> Instant {
    let moved = env.connections.get(sent.on).map_or(sent.at, crate::connection::Connection::moved);
    (moved.max(sent.at) + patience).min(sent.at + patience * SLOW_ANSWER)
}
