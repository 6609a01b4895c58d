//! The paths to a peer: which of them is used, how records leave by them, and when one is dead.

use alloc::vec::Vec;
use core::time::Duration;

use super::Peer;
use crate::connection::{Connection, Handed, Owner, RecordName};
use crate::env::{Effect, Env};
use crate::id::{ConnectionId, NodeId};
use crate::note::Cause;
use crate::query::AttemptResult;
use crate::session::PathId;
use crate::time::Instant;

/// A path whose peer takes nothing for so long is not used for what waits, if there is another.
const STUCK: Duration = Duration::from_secs(2);

/// What waits to be written has to move within this time, whatever else the peer does.
const MUST_MOVE: Duration = Duration::from_secs(15);

/// A stream on which a record has waited so long while nothing was acknowledged is of no use, whatever comes over it.
const NO_PROGRESS: Duration = Duration::from_secs(60);

/// Each dead path in a row on which nothing was acknowledged doubles the patience with the next, so often: a slow link may take longer for
/// one record than a fast one is given.
const MOST_DOUBLINGS: u32 = 4;

/// How soon silence is looked at again on a path that this node does not read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Connections on which one session is heard.
const PER_SESSION: usize = 4;

/// One in so many counters is left out.
const LEFT_OUT: u64 = 512;

/// Open connections on which the peer is proved.
#[derive(Debug, Default)]
pub(super) struct Paths {
    connections: Vec<ConnectionId>,
    /// How many have been found dead in a row.
    died: u32,
    /// Which session seals first: the one after that which sealed last.
    turn: usize,
    /// Whether the next record leaves a counter out before it.
    leaves_out: bool,
}

impl Paths {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    pub(super) fn ids(&self) -> Vec<ConnectionId> {
        self.connections.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(super) fn nth(&self, at: usize) -> Option<ConnectionId> {
        self.connections.get(at).copied()
    }

    pub(super) fn contains(&self, on: ConnectionId) -> bool {
        self.connections.contains(&on)
    }

    fn remove(&mut self, on: ConnectionId) -> bool {
        let before = self.connections.len();
        self.connections.retain(|&other| other != on);
        before != self.connections.len()
    }

    /// Something has got through.
    pub(super) fn bears_fruit(&mut self) {
        self.died = 0;
    }
}

impl Peer {
    /// Whether a connection is this peer's, or nobody's and not dialled to meet another.
    pub(super) fn may_own(&self, connection: &Connection) -> bool {
        match connection.owner() {
            Owner::Stranger => true,
            Owner::Meant(peer) | Owner::Peer(peer) => peer == self.key,
        }
    }

    /// An authentic packet of this peer's has come by a connection. Says whether the connection goes on: it belongs to one node, and if it
    /// was dialled to that very node.
    pub(super) fn prove(&mut self, env: &mut Env, on: ConnectionId) -> bool {
        let Some(connection) = env.connections.get(on) else { return false };
        if connection.owner() == Owner::Peer(self.key) {
            return true;
        }
        if !self.may_own(connection) {
            env.note(Cause::ConnectedToAnother, Some(self.id), Some(on));
            env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
            return false;
        }
        let address = connection.is_dialled().then(|| connection.remote());
        env.connections.prove(env.now, on, self.key, (&env.settings, &mut env.timers));
        self.paths.connections.reserve_exact(1);
        self.paths.connections.push(on);
        let dialling = self.way.dial().filter(|dial| dial.connection != on).map(|dial| dial.connection);
        self.way.reached(on, address);
        if let Some(other) = dialling {
            // The peer was quicker. What becomes of the dial says nothing about its address any more.
            self.way.abandon_dial();
            if env.connections.get(other).is_some_and(|other| !other.is_open()) {
                env.effects.push(Effect::Close(other, AttemptResult::Ended));
            }
        }
        self.mark(env);
        true
    }

    /// A connection that was this peer's, or meant for it, has ended.
    pub(crate) fn path_ended(&mut self, env: &mut Env, connection: &Connection, result: AttemptResult) {
        let on = connection.id();
        self.handshake_lost_path(on);
        // A session may have asked on it whether the peer knows it, though nobody has proved to be there.
        self.sessions_left_alone(env, PathId::Stream(on));
        if self.paths.remove(on) {
            self.rests_after_end(env);
        } else {
            let Env { now, random, .. } = env;
            let mut jitter = |about: Duration| jittered(random, about);
            if self.way.dial_failed(on, result, *now, &mut jitter) {
                env.note(Cause::StrategyFailed, Some(self.id), Some(on));
            }
        }
        self.mark(env);
    }

    /// A path or a session has ended: the next attempt waits a little if nothing got through lately.
    pub(super) fn rests_after_end(&mut self, env: &mut Env) {
        let Env { now, random, .. } = env;
        self.way.ended(*now, |about| jittered(random, about));
        if let Some(until) = self.way.rests_until(env.now) {
            self.next_handshake = self.next_handshake.max(until);
        }
    }

    /// So much of some records has left by a connection by `now`, before what is due then.
    pub(crate) fn handed(&mut self, env: &mut Env, now: Instant, handed: &[Handed]) {
        for &handed in handed {
            let (name, left) = match handed {
                Handed::Begun(name) => (name, false),
                Handed::Left(name) => (name, true),
            };
            let Some(held) = self.sessions.get_mut(name.session) else { continue };
            if left { held.session.left(name.counter, now) } else { held.session.begun(name.counter, now) }
        }
        self.mark(env);
    }

    /// Takes records back from their connections.
    pub(super) fn withdraw_records(
        env: &mut Env,
        session: crate::wire::packet::SessionId,
        withdrawn: Vec<(PathId, u64)>,
    ) {
        for (PathId::Stream(on), counter) in withdrawn {
            env.connections.withdraw(on, RecordName { session, counter });
        }
    }

    /// Seals what waits, for each path that has room.
    pub(super) fn seal(&mut self, env: &mut Env) {
        for at in 0..self.paths.len() {
            if let Some(on) = self.paths.nth(at) {
                self.fill(env, on);
            }
        }
        // On the one that was dialled a session that is there already may ask whether the peer knows it.
        if let Some(dial) = self.way.dial() {
            self.fill(env, dial.connection);
        }
    }

    fn fill(&mut self, env: &mut Env, on: ConnectionId) {
        let target = env.connections.fill_target(on);
        while env.connections.get(on).is_some_and(|connection| connection.unwritten() < target) {
            if !self.seal_next(env, on) {
                break;
            }
        }
    }

    /// Seals one record for a path, in the session whose turn it is. Says whether there was anything to say.
    fn seal_next(&mut self, env: &mut Env, on: ConnectionId) -> bool {
        let path = PathId::Stream(on);
        let count = self.sessions.len();
        for step in 0..count {
            let at = (self.paths.turn + step) % count;
            let main = self.main_path(env, at) == Some(on);
            let leaves_out = self.paths.leaves_out;
            let Env { now, connections, charges, limits, .. } = env;
            let mut account =
                crate::admission::Account { of_peer: &mut self.charges, of_all: charges, limits: &*limits };
            let session = self.sessions.session_mut(at);
            let name = session.id();
            let sealed = connections.put_record(*now, on, |out| {
                let counter = session.seal(*now, path, main, leaves_out, &mut account, out)?;
                Some(RecordName { session: name, counter })
            });
            if sealed {
                // It is drawn once for each record, and not for each look at what waits: so nothing depends on how often that is.
                self.paths.leaves_out = env.random.leaves_out(LEFT_OUT);
                self.paths.turn = (at + 1) % count;
                return true;
            }
        }
        false
    }

    /// The path that a session uses for what waits: of those on which the peer was heard in it the best that takes something.
    fn main_path(&self, env: &Env, at: usize) -> Option<ConnectionId> {
        let held = self.sessions.iter().nth(at)?;
        let heard = |on: &&ConnectionId| held.session.is_heard_on(PathId::Stream(**on));
        if let [only] = self.paths.connections.as_slice() {
            return heard(&only).then_some(*only);
        }
        let rank = |on: &&ConnectionId| self.path_rank(env, **on);
        self.paths.connections.iter().filter(heard).max_by_key(rank).copied()
    }

    /// Paths that take something come first; of two nodes' dials that crossed, the one of the node with the smaller id; then the newest.
    fn path_rank(&self, env: &Env, on: ConnectionId) -> (bool, bool, bool, ConnectionId) {
        let connection = env.connections.get(on);
        let stuck = connection.and_then(Connection::stuck_since).is_some_and(|since| since + STUCK <= env.now);
        let by_smaller = connection.is_some_and(|connection| connection.is_dialled() == is_smaller(env.id, self.id));
        (connection.is_some_and(Connection::is_open), !stuck, by_smaller, on)
    }

    /// The best path of all, whichever sessions are heard on it.
    pub(super) fn best_path(&self, env: &Env) -> Option<ConnectionId> {
        self.paths.connections.iter().max_by_key(|on| self.path_rank(env, **on)).copied()
    }

    /// Paths on which nobody answers are dead.
    pub(super) fn watch_silence(&mut self, env: &mut Env) {
        let dead = self.paths.connections.iter().filter(|on| self.dies_at(env, **on).is_some_and(|at| at <= env.now));
        for on in super::collect(dead.copied()) {
            self.paths.died = self.paths.died.saturating_add(1);
            env.note(Cause::PeerSilent, Some(self.id), Some(on));
            env.effects.push(Effect::Close(on, AttemptResult::Silent));
        }
    }

    pub(super) fn silence_deadline(&self, env: &Env) -> Option<Instant> {
        self.paths.connections.iter().filter_map(|on| self.dies_at(env, *on)).min()
    }

    /// When a path is found dead, unless something changes.
    fn dies_at(&self, env: &Env, on: ConnectionId) -> Option<Instant> {
        let connection = env.connections.get(on)?;
        let path = PathId::Stream(on);
        let lanes = self.sessions.iter();
        let silent = lanes.clone().filter_map(|held| held.session.silence(path));
        let silent = silent.map(|(asked, patience)| {
            connection.moved().max(asked) + patience * (1 << self.paths.died.min(MOST_DOUBLINGS))
        });
        // What this node's own throttle takes does not count.
        let own_time = env.connections.throttled_for();
        let no_progress =
            lanes.filter_map(|held| held.session.waiting_since(path)).map(|since| since + NO_PROGRESS + own_time);
        let throttled = env.connections.is_throttled_up(on);
        let stuck = connection.stuck_since().filter(|_| !throttled).map(|since| since + MUST_MOVE);
        // While this node does not read, the answer may be there; that is looked at again.
        let reads = !env.out.is_full(&env.limits) && !env.connections.is_throttled_down(on);
        let unheard = silent.chain(no_progress).map(|at| if reads { at } else { at.max(env.now + LOOK_AGAIN) });
        unheard.chain(stuck).min()
    }

    /// What is under way on each path, so that the node knows which may be closed.
    pub(super) fn show_use(&mut self, env: &mut Env) {
        let waits = self.waits();
        let reads = self.charges.assembly > 0;
        for at in 0..self.paths.connections.len() {
            let on = self.paths.connections[at];
            let idle = !waits && !reads && !self.is_used(env, on);
            let Some(connection) = env.connections.get_mut(on) else { continue };
            connection.set_use(env.now, idle);
            if connection.is_no_more() && connection.is_idle() {
                env.effects.push(Effect::Close(on, AttemptResult::Ended));
            }
        }
    }

    /// Whether a session in which something is under way uses this path: what waits goes over it, or what has gone is not acknowledged. Others
    /// are spare.
    fn is_used(&self, env: &Env, on: ConnectionId) -> bool {
        self.sessions.iter().enumerate().any(|(at, held)| {
            let under_way = !held.session.is_idle() || held.session.owes();
            let goes_over = || self.main_path(env, at) == Some(on);
            under_way && (goes_over() || held.session.waiting_since(PathId::Stream(on)).is_some())
        })
    }

    /// A session is heard on one connection more: of many the oldest on which no other is heard goes.
    pub(super) fn limit_paths(&mut self, env: &mut Env, sid: crate::wire::packet::SessionId) {
        let heard_in = |sid, on: ConnectionId| {
            self.sessions.get(sid).is_some_and(|held| held.session.is_heard_on(PathId::Stream(on)))
        };
        let heard = super::collect(self.paths.connections.iter().copied().filter(|&on| heard_in(sid, on)));
        if heard.len() <= PER_SESSION {
            return;
        }
        let others = self.session_ids();
        let alone = |on: &&ConnectionId| others.iter().all(|&other| other == sid || !heard_in(other, **on));
        if let Some(&oldest) = heard.iter().filter(alone).min() {
            env.effects.push(Effect::Close(oldest, AttemptResult::Ended));
        }
    }
}

fn is_smaller(own: NodeId, other: NodeId) -> bool {
    own < other
}

/// A part of so much, more or less by an eighth.
pub(super) fn jittered(random: &mut crate::random::Random, about: Duration) -> Duration {
    let micros = u64::try_from(about.as_micros()).unwrap_or(u64::MAX / 2);
    let eighth = micros / 8;
    Duration::from_micros(micros - eighth + random.below(2 * eighth + 1))
}
