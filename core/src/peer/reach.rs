//! Reaching a peer: by an open connection, by its addresses in turn, by asking the Lookup Service once, or not at all.
//!
//! Fast fail (*EGTP Architecture 0.2*, III.C): a query ends at once when, and only when, every way has failed and nothing newer is known.

use core::time::Duration;

use super::way::Next;
use super::{Peer, paths};
use crate::action::{Action, TransportAction};
use crate::connection::Connection;
use crate::env::{Effect, Env};
use crate::id::{ConnectionId, QueryId};
use crate::query::{AttemptResult, Executed, Reason, Refusal, Stage};
use crate::session::{PathId, Progress};
use crate::time::Instant;

impl Peer {
    /// A connection that was dialled to meet the peer is open.
    pub(crate) fn connected(&mut self, env: &mut Env) {
        self.mark(env);
    }

    /// Does the next thing that brings what waits on its way.
    pub(super) fn reach(&mut self, env: &mut Env) {
        if !self.paths.is_empty() {
            for at in 0..self.paths.len() {
                if let Some(on) = self.paths.nth(at) {
                    self.meet(env, on);
                }
            }
            return;
        }
        if !self.wants_path(env.now) {
            return self.stop_reaching(env);
        }
        if env.stopping {
            // Nothing is opened any more, and nothing waits.
            return;
        }
        if let Some(dial) = self.way.dial() {
            if env.connections.get(dial.connection).is_some_and(Connection::is_open) {
                self.meet(env, dial.connection);
            }
            return;
        }
        match self.way.next(env.now) {
            Next::Dial(address) => self.dial(env, address),
            Next::LookUp => {
                self.way.waits_for_lookup();
                env.effects.push(Effect::LookUp(self.key));
            }
            Next::Wait(_) => {}
            Next::GiveUp => self.give_up_reaching(env),
        }
    }

    /// Whether anything is to go to the peer that would be worth a dial.
    pub(super) fn wants_path(&self, now: Instant) -> bool {
        self.waits() || self.sessions.iter().any(|held| held.wants_path(now))
    }

    pub(super) fn reach_deadline(&self, env: &Env) -> Option<Instant> {
        let dial = self.way.dial().and_then(|dial| env.connections.get(dial.connection));
        if !self.paths.is_empty() || dial.is_some_and(Connection::is_open) {
            // A handshake that is due may not be begun yet.
            let wanted = self.handshake.is_none() && (self.paths.is_empty() || self.wants_session(env));
            return Some(self.next_handshake).filter(|at| *at > env.now && wanted);
        }
        match self.way.next(env.now) {
            Next::Wait(until) if self.wants_path(env.now) => until,
            Next::Dial(_) | Next::LookUp | Next::Wait(_) | Next::GiveUp => None,
        }
    }

    fn dial(&mut self, env: &mut Env, address: core::net::SocketAddr) {
        if env.connections.len() >= env.limits.connections {
            env.effects.push(Effect::WantsPlace(self.key));
            return;
        }
        let connection = env.connections.dial(env.now, address, self.key, (&env.settings, &mut env.timers));
        env.arm_tidy();
        self.way.dials(connection, address, env.now);
        env.out.push(Action::Transport(TransportAction::Connect { connection, to: address }));
    }

    /// There is no place for a connection, and none will be made.
    pub(crate) fn finds_no_place(&mut self, env: &mut Env) {
        self.fail_waiting(env, Reason::RefusedHere(Refusal::TooManyConnections));
    }

    /// There is no place for a session with it, and none will be made.
    pub(crate) fn finds_no_session(&mut self, env: &mut Env) {
        self.fail_waiting(env, Reason::RefusedHere(Refusal::TooManySessions));
    }

    /// A connection is open: sees to it that the two share a session that the peer still holds, and that sessions in which something is
    /// under way may go by it.
    fn meet(&mut self, env: &mut Env, on: ConnectionId) {
        let Some(connection) = env.connections.get(on).filter(|connection| connection.is_open()) else { return };
        let (path, short, proved) = (PathId::Stream(on), connection.is_short(), self.paths.contains(on));
        let waits = self.waits();
        let best = self.sessions.best().map(|held| held.session.id());
        let mut asks = false;
        for held in self.sessions.iter_mut().filter(|held| held.session.is_confirmed()) {
            let is_best = best == Some(held.session.id());
            let needs = held.is_busy(env.now) || is_best && waits;
            if needs && held.session.lane(path).is_none() && (proved || is_best) {
                held.session.join(path, short);
            }
            asks |= held.session.lane(path).is_some();
        }
        let is_met = proved
            || asks && !self.sessions.iter().all(|held| held.session.is_doubted() || held.session.lane(path).is_none());
        if self.wants_session(env) || !is_met {
            self.shake_hands(env, on);
        }
    }

    /// Whether a handshake is to be made: there is no session for what waits, one is in doubt, or the best is due to be replaced.
    fn wants_session(&self, env: &Env) -> bool {
        let best = self.sessions.best();
        let lacks = self.waits() && best.is_none_or(|held| held.stale || held.session.is_doubted());
        lacks || self.sessions.iter().any(|held| held.is_in_doubt(env.now)) || self.renews(env)
    }

    /// Nobody waits for the peer any more: a dial that goes on would be for nothing. But once it is open the peer may have met this node on it
    /// and sent a query; then it goes on like any other connection.
    fn stop_reaching(&mut self, env: &mut Env) {
        self.drop_handshake(env);
        if let Some(dial) = self.way.dial() {
            if env.connections.get(dial.connection).is_some_and(Connection::is_open) {
                return;
            }
            self.way.abandon_dial();
            env.effects.push(Effect::Close(dial.connection, AttemptResult::Ended));
        }
        self.way.rest();
    }

    /// Nothing is left to try: what never left fails fast. What has left does so only if the very address over which it went refuses now:
    /// else whoever had dialled this node comes back if it lives.
    fn give_up_reaching(&mut self, env: &mut Env) {
        self.fail_waiting(env, Reason::Unreachable);
        let mut lost = alloc::vec::Vec::new();
        for held in self.sessions.iter() {
            let refuses = held.last_dialled().is_some_and(|address| self.way.has_refused(address));
            for (number, query) in held.session.asked() {
                match held.session.progress(number) {
                    Some(Progress::Here) => lost.push((QueryId(query), Executed::No)),
                    Some(Progress::Left | Progress::There) if refuses => lost.push((QueryId(query), Executed::Maybe)),
                    Some(Progress::Left | Progress::There) | None => {}
                }
            }
        }
        for (query, executed) in lost {
            self.fail(env, query, Reason::Unreachable, executed);
        }
        let awaited = self.wants_path(env.now);
        let Env { now, random, .. } = env;
        self.way.give_up(awaited, *now, |about: Duration| paths::jittered(random, about));
        self.drop_handshake(env);
    }

    /// Every query that has no number ends for this reason.
    pub(super) fn fail_waiting(&mut self, env: &mut Env, reason: Reason) {
        let paused = self.paused.iter().map(|&(_, query)| query);
        for query in super::collect(self.waiting.iter().copied().chain(paused)) {
            self.fail(env, query, reason, Executed::No);
        }
    }

    /// How far a query without a number has come.
    pub(super) fn stage(&self, env: &Env) -> Stage {
        if self.is_shaking_hands() {
            Stage::Handshake
        } else if self.sessions.best().is_some_and(|held| held.session.is_live(env.now)) || !self.paused.is_empty() {
            Stage::Queue
        } else if !self.paths.is_empty() {
            Stage::Handshake
        } else if self.way.dial().is_none() && self.way.is_looked_up() {
            Stage::Lookup
        } else {
            Stage::Dial
        }
    }
}
