//! The sessions with a peer: ranked, doubted, replaced, given up. A session belongs to the pair, not to a connection.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::{Peer, account, answered};
use crate::conversation::QueryState;
use crate::env::{Effect, Env};
use crate::id::QueryId;
use crate::note::Cause;
use crate::session::{Ended, PathId, Progress, Session, Unanswered};
use crate::time::Instant;
use crate::wire::code::BreakCode;
use crate::wire::packet::SessionId;

/// Confirmed sessions with one peer.
const MOST: usize = 64;

/// A session without a path for so long may be given up though something is under way in it, and what another life of the peer says of it
/// is believed.
const ALONE: Duration = Duration::from_secs(30);

/// A session that is replaced goes on until what was asked last in it has had its time.
const LONGEST_QUERY: Duration = Duration::from_secs(3_660);

/// Whoever did not initiate a session that is due to be replaced waits so long for its initiator to do it.
const AFTER_INITIATOR: Duration = Duration::from_secs(20);

/// A session, and what its peer knows of it that it does not know itself.
pub(super) struct Held {
    pub(super) session: Box<Session>,
    /// The addresses over which it went, the newest last: where they lead, the same life of the peer is expected.
    addresses: Vec<SocketAddr>,
    /// Whether its last path was one that this node had dialled.
    dialled: bool,
    /// Since when it has had no path.
    alone_since: Option<Instant>,
    /// Somebody on a path says that the peer does not know it.
    pub(super) stale: bool,
    /// Somebody who may be another life of the peer has said so in answer to a HELLO: nobody is asked again before then.
    asked_again: Option<Instant>,
    /// When it was last used, to the second.
    used: Instant,
}

/// All of them, the best first.
#[derive(Default)]
pub(super) struct Sessions(Vec<Held>);

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Held> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Held> {
        self.0.iter_mut()
    }

    pub(super) fn session_mut(&mut self, at: usize) -> &mut Session {
        &mut self.0[at].session
    }

    pub(super) fn position(&self, sid: SessionId) -> Option<usize> {
        self.0.iter().position(|held| held.session.id() == sid)
    }

    pub(super) fn get(&self, sid: SessionId) -> Option<&Held> {
        self.0.iter().find(|held| held.session.id() == sid)
    }

    pub(super) fn get_mut(&mut self, sid: SessionId) -> Option<&mut Held> {
        self.0.iter_mut().find(|held| held.session.id() == sid)
    }

    /// The one in which new queries go, if there is any.
    pub(super) fn best(&self) -> Option<&Held> {
        self.0.iter().find(|held| held.session.is_confirmed() && !held.session.wants_replacement())
    }

    pub(super) fn add(&mut self, session: Session, now: Instant) {
        let session = Box::new(session);
        self.0.reserve_exact(1);
        self.0.push(Held {
            session,
            addresses: Vec::new(),
            dialled: false,
            alone_since: Some(now),
            stale: false,
            asked_again: None,
            used: now,
        });
        self.sort();
    }

    /// Both ends rank alike.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|held| held.session.rank());
    }

    fn take(&mut self, sid: SessionId) -> Option<Held> {
        let at = self.position(sid)?;
        let held = self.0.remove(at);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(held)
    }

    fn confirmed(&self) -> usize {
        self.0.iter().filter(|held| held.session.is_confirmed()).count()
    }
}

impl Held {
    /// It goes over a path that leads to an address, if it was dialled.
    pub(super) fn goes_over(&mut self, dialled_to: Option<SocketAddr>) {
        const KEPT: usize = 4;
        (self.alone_since, self.asked_again) = (None, None);
        self.dialled = dialled_to.is_some();
        if let Some(address) = dialled_to {
            self.addresses.retain(|known| *known != address);
            if self.addresses.len() >= KEPT {
                self.addresses.remove(0);
            }
            self.addresses.reserve_exact(1);
            self.addresses.push(address);
        }
    }

    /// The address over which it went last, if this node had dialled it.
    pub(super) fn last_dialled(&self) -> Option<SocketAddr> {
        self.addresses.last().copied().filter(|_| self.dialled)
    }

    /// Whether what is said of it on this path, which was dialled to an address or not, is said by the life of the peer that it is shared
    /// with: another one truthfully does not know it.
    fn is_known_by(&self, path: PathId, dialled_to: Option<SocketAddr>, now: Instant) -> bool {
        self.session.is_heard_on(path)
            || dialled_to.is_some_and(|address| self.addresses.contains(&address))
            || self.alone_since.is_some_and(|since| since + ALONE <= now)
    }

    /// Whether something is under way in it, or to be said, so that it needs a path.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        !self.session.is_idle() || self.session.cancels(now)
    }

    /// Whether this node has something to say or waits for something in it, and would dial for that.
    pub(super) fn wants_path(&self, now: Instant) -> bool {
        self.session.outstanding() > 0 || self.dialled && self.is_busy(now)
    }

    /// Whether something is under way in it and the peer may not hold it any more, and is to be asked now.
    pub(super) fn is_in_doubt(&self, now: Instant) -> bool {
        let doubted = self.session.is_doubted() || self.stale;
        self.session.is_confirmed() && self.is_busy(now) && doubted && self.asked_again.is_none_or(|at| at <= now)
    }

    /// Whether it may be erased: nothing is under way in it, or it has had no path for long.
    fn may_be_erased(&self, now: Instant) -> bool {
        self.session.is_idle() || self.alone_since.is_some_and(|since| since + ALONE <= now)
    }
}

impl Peer {
    /// How many sessions there are, and how many of them are confirmed.
    pub(crate) fn count_sessions(&self) -> (usize, usize) {
        (self.sessions.len(), self.sessions.confirmed())
    }

    /// The names of all sessions.
    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        super::collect(self.sessions.iter().map(|held| held.session.id()))
    }

    /// Whether a session may be erased for another.
    pub(crate) fn may_erase(&self, env: &Env, sid: SessionId) -> bool {
        self.sessions.get(sid).is_some_and(|held| held.session.is_confirmed() && held.may_be_erased(env.now))
    }

    /// The generation of the best session that is confirmed.
    pub(super) fn generation(&self) -> u32 {
        let confirmed = self.sessions.iter().filter(|held| held.session.is_confirmed());
        confirmed.map(|held| held.session.generation()).max().unwrap_or(0)
    }

    /// Which of the peer's names of sessions that it asks about are held, bit by bit.
    pub(super) fn held_of(&self, asked: &[SessionId]) -> u8 {
        let mut held = 0;
        for (bit, &sid) in asked.iter().enumerate() {
            if self.sessions.get(sid).is_some() {
                held |= 1 << bit;
            }
        }
        held
    }

    /// A record has come in a session for the first time. The newcomer has a place, or another gives way, or it ends again: with nothing
    /// taken in it, so that what was asked in it goes again. Says whether it goes on.
    pub(super) fn make_place(&mut self, env: &mut Env, sid: SessionId) -> bool {
        if self.sessions.confirmed() <= MOST {
            return true;
        }
        let idle =
            |held: &&Held| held.session.id() != sid && held.session.is_confirmed() && held.may_be_erased(env.now);
        let worst = self.sessions.iter().rev().find(idle).map(|held| held.session.id());
        self.break_session(env, worst.unwrap_or(sid), BreakCode::Memory);
        worst.is_some()
    }

    /// A session is used: at most once a second it gets a new place in the order in which sessions are given up.
    pub(super) fn touch_session(&mut self, env: &mut Env, sid: SessionId) {
        if let Some(held) = self.sessions.get_mut(sid)
            && held.used + Duration::from_secs(1) <= env.now
        {
            held.used = env.now;
            env.effects.push(Effect::SessionUsed(sid, self.key));
        }
    }

    /// The peer says on a path that it does not hold a session, in answer to a question that was asked about it.
    pub(super) fn not_held(&mut self, env: &mut Env, sid: SessionId, path: PathId, dialled_to: Option<SocketAddr>) {
        let Some(held) = self.sessions.get_mut(sid) else { return };
        if held.is_known_by(path, dialled_to, env.now) {
            self.lose_session(env, sid);
        } else {
            held.asked_again = held.alone_since.map(|since| since + ALONE);
            held.session.stale(path);
        }
    }

    /// The peer does not hold a session any more: what may have been taken in it is lost, and what never left goes again.
    fn lose_session(&mut self, env: &mut Env, sid: SessionId) {
        let Some(held) = self.sessions.get(sid) else { return };
        if !held.session.is_idle() {
            env.note(Cause::SessionEnded, Some(self.id), None);
        }
        self.end_session(env, sid, |unanswered| unanswered.progress != Progress::Here);
    }

    /// The peer ends a session. What it had not taken did not run and cannot any more, so it goes again in another one.
    pub(super) fn session_broken(&mut self, env: &mut Env, sid: SessionId, base: u64, taken: &[u8; 128]) {
        env.note(Cause::SessionEnded, Some(self.id), None);
        let is_taken = |number: u64| match number.checked_sub(base) {
            None => true,
            Some(above) => {
                let byte = usize::try_from(above / 8).ok().and_then(|index| taken.get(index));
                byte.is_some_and(|byte| byte & (1 << (above % 8)) != 0)
            }
        };
        self.rests_after_end(env);
        self.end_session(env, sid, |unanswered| unanswered.progress != Progress::Here && is_taken(unanswered.number));
    }

    /// A session that was offered and not confirmed makes way for another.
    pub(crate) fn drop_tentative(&mut self, env: &mut Env, sid: SessionId) {
        self.end_session(env, sid, |_| true);
    }

    /// Ends a session and says so on each of its paths, in the same step in which its keys are erased.
    pub(crate) fn break_session(&mut self, env: &mut Env, sid: SessionId, code: BreakCode) {
        let Some(held) = self.sessions.get_mut(sid) else { return };
        for on in self.paths.ids() {
            env.connections.withdraw_session(on, sid);
            if held.session.is_heard_on(PathId::Stream(on)) {
                env.connections.put(env.now, on, |out| held.session.seal_end(code, out));
            }
        }
        self.end_session(env, sid, |unanswered| unanswered.progress != Progress::Here);
    }

    /// Erases a session's keys and its memory of numbers in one step. Queries that are `lost` end with it; the others go again in another.
    fn end_session(&mut self, env: &mut Env, sid: SessionId, lost: impl Fn(&Unanswered) -> bool) {
        let Some(held) = self.sessions.take(sid) else { return };
        env.effects.push(Effect::SessionEnded(sid));
        self.withdraw_all_of(env, &held.session);
        let Ended { withdrawn, asked, told } = held.session.end(&mut account(&mut self.charges, env));
        for incoming in withdrawn {
            answered::withdraw(env, incoming);
        }
        for notice in told {
            self.end_notice(env, QueryId(notice));
        }
        for unanswered in asked {
            let lost = lost(&unanswered);
            self.session_has_ended(env, unanswered, lost);
        }
        self.mark(env);
    }

    /// What was sealed in a session that has ended, and has not begun to leave, does not leave: nobody could open it, or it goes again.
    fn withdraw_all_of(&mut self, env: &mut Env, session: &Session) {
        let ended = session.id();
        for on in self.paths.ids() {
            env.connections.withdraw_session(on, ended);
        }
    }

    /// The sessions that are due to be replaced end when what was asked last in them has had its time.
    pub(super) fn end_old_sessions(&mut self, env: &mut Env) {
        let life = env.settings.session + LONGEST_QUERY;
        let old = self.sessions.iter().filter(|held| held.session.made() + life <= env.now);
        for sid in super::collect(old.map(|held| held.session.id())) {
            self.break_session(env, sid, BreakCode::Memory);
        }
    }

    /// Whether the best session is due to be replaced while it is used, and this node is to do it: its initiator, or after a while the other.
    pub(super) fn renews(&self, env: &Env) -> bool {
        let best = self.sessions.iter().find(|held| held.session.is_confirmed());
        let is_due = |held: &Held| self.renewal(env, held) <= env.now || held.session.wants_replacement();
        self.is_in_use() && best.is_some_and(is_due)
    }

    /// Whether anything is under way between the two, or waits to be.
    fn is_in_use(&self) -> bool {
        self.waits() || self.sessions.iter().any(|held| !held.session.is_idle())
    }

    fn renewal(&self, env: &Env, held: &Held) -> Instant {
        let due = held.session.made() + env.settings.session;
        if held.session.initiated() { due } else { due + AFTER_INITIATOR }
    }

    pub(super) fn sessions_deadline(&self, env: &Env) -> Option<Instant> {
        let renewal = self.sessions.iter().find(|held| held.session.is_confirmed());
        let renewal =
            renewal.filter(|_| !self.paths.is_empty() && self.is_in_use()).map(|held| self.renewal(env, held));
        let life = env.settings.session + LONGEST_QUERY;
        let ends = self.sessions.iter().map(|held| held.session.made() + life);
        let asked_again = self.sessions.iter().filter_map(|held| held.asked_again);
        renewal.into_iter().chain(ends).chain(asked_again).filter(|due| *due > env.now).min()
    }

    /// A path is gone: sessions that have no other are alone from now on.
    pub(super) fn sessions_left_alone(&mut self, env: &Env, path: PathId) {
        let paths = self.paths.ids();
        for held in self.sessions.iter_mut() {
            let had = held.session.lane(path).is_some();
            held.session.path_ended(path);
            let has_other = paths.iter().any(|&on| held.session.is_heard_on(PathId::Stream(on)));
            if had && !has_other && held.alone_since.is_none() {
                held.alone_since = Some(env.now);
            }
        }
    }

    /// The session in which a query has its number.
    pub(super) fn session_of(&self, env: &Env, query: QueryId) -> Option<(SessionId, u64)> {
        match env.queries.get(query)?.state() {
            &QueryState::Numbered { session, number } => Some((session, number)),
            QueryState::Waiting(_) | QueryState::Local(_) => None,
        }
    }
}
