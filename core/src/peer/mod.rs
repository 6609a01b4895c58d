//! One peer: everything that belongs to the pair. Its sessions, the paths to it, the way to it, and what is asked either way.
//!
//! Whatever happens changes state and marks the peer as changed. At the end of each call to the node every changed peer is *settled*, once,
//! in a fixed order: what has ended is taken leave of, the peer is reached, queries get numbers, records are sealed.
//!
//! ```text
//!   receive, ask, answer, path_ended, tick ...          change state, mark
//!                       |
//!                       v
//!   settle:   end  ->  reach  ->  number  ->  seal      once for each changed peer
//!                       |
//!                       v
//!   effects                                             what it means for others: the node drains them
//! ```

mod answered;
mod asked;
mod handshake;
mod paths;
mod reach;
mod record;
mod sessions;
mod way;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use self::handshake::Handshake;
pub(crate) use self::handshake::Offer;
use self::paths::Paths;
use self::sessions::Sessions;
pub(crate) use self::way::Next;
use self::way::Way;
use crate::admission::{Account, Charges};
use crate::env::Env;
use crate::id::{LookupId, NodeId, QueryId};
use crate::identity::PublicKey;
use crate::record::SignedRecord;
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::Timer;

pub(crate) struct Peer {
    key: Key,
    id: NodeId,
    /// Known from its record or from a session with it.
    public_key: Option<PublicKey>,
    record: Option<Box<SignedRecord>>,
    way: Way,
    paths: Paths,
    sessions: Sessions,
    handshake: Option<Box<Handshake>>,
    /// No handshake is begun before this.
    next_handshake: Instant,
    /// Own queries without a number, the oldest first, and those that pause.
    waiting: BTreeSet<QueryId>,
    paused: BTreeSet<(Instant, QueryId)>,
    charges: Charges,
    /// Whether it is to be settled before the call is over.
    changed: bool,
    /// Whether this node ever asked it something: such peers are forgotten last.
    asked: bool,
    /// Its place in the order of use.
    stamp: u64,
}

impl Peer {
    pub(crate) fn new(key: Key, id: NodeId) -> Self {
        Self {
            key,
            id,
            public_key: None,
            record: None,
            way: Way::default(),
            paths: Paths::default(),
            sessions: Sessions::default(),
            handshake: None,
            next_handshake: Instant::ZERO,
            waiting: BTreeSet::new(),
            paused: BTreeSet::new(),
            charges: Charges::default(),
            changed: false,
            asked: false,
            stamp: 0,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Its place in the order in which peers are forgotten.
    pub(crate) fn place(&self) -> (bool, u64, Key) {
        (self.asked, self.stamp, self.key)
    }

    /// It is of use; whether this node asks it something.
    pub(crate) fn touch(&mut self, stamp: u64, asked: bool) {
        self.stamp = stamp;
        self.asked |= asked;
    }

    /// Whether this node ever asked it something.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Whether anything keeps the node from forgetting it. Sessions in which nothing is under way do not: they are found to be gone when they
    /// are next used.
    pub(crate) fn is_needed(&self) -> bool {
        !self.paths.is_empty()
            || self.way.dial().is_some()
            || self.sessions.iter().any(|held| !held.session.is_idle())
            || self.handshake.is_some()
            || self.way.lookup().is_some()
            || self.waits()
            || self.changed
    }

    /// Whether an own query is without a number.
    fn waits(&self) -> bool {
        !self.waiting.is_empty() || !self.paused.is_empty()
    }

    /// Takes over a record, if it is newer than the one that is known. Says whether it is.
    pub(crate) fn learn(&mut self, env: &mut Env, record: SignedRecord) -> bool {
        if self.record.as_ref().is_some_and(|known| known.sequence() >= record.sequence()) {
            return false;
        }
        self.public_key = Some(*record.key());
        self.way.adopt(&record);
        self.record = Some(Box::new(record));
        self.mark(env);
        true
    }

    /// A question to the Lookup Service is asked for it, if it still waits for one. Says whether it does.
    pub(crate) fn looks_up(&mut self, lookup: LookupId) -> bool {
        self.way.looks_up(lookup)
    }

    /// There is a place for a question to the Lookup Service, or for a connection. Gives back what it will do: it may not need one any more.
    pub(crate) fn may_go_on(&mut self, env: &mut Env) -> Next {
        self.way.may_look_up();
        self.mark(env);
        let is_sought = self.paths.is_empty() && self.wants_path(env.now);
        if is_sought { self.way.next(env.now) } else { Next::Wait(None) }
    }

    /// The Lookup Service knows nothing more.
    pub(crate) fn looked_up(&mut self, env: &mut Env, lookup: LookupId) {
        self.way.looked_up(lookup);
        self.mark(env);
    }

    /// The peer is to be settled before the call is over.
    fn mark(&mut self, env: &mut Env) {
        if !self.changed {
            self.changed = true;
            env.effects.changed(self.key);
        }
    }

    /// Draws the consequences of what has changed.
    pub(crate) fn settle(&mut self, env: &mut Env) {
        self.changed = false;
        self.reach(env);
        self.number(env);
        self.seal(env);
        self.show_use(env);
        self.rest();
        // Where much is due at once, what is next is known when all of it is done.
        if !env.timers.is_due(env.now, Timer::Peer(self.key)) {
            let deadline = self.deadline(env);
            env.timers.set(env.now, Timer::Peer(self.key), deadline);
        }
        self.check(env);
    }

    /// While nothing waits or is under way, no memory is held for it.
    fn rest(&mut self) {
        self.sessions.iter_mut().for_each(|held| held.session.rest());
        if !self.waits() && !self.sessions.iter().any(|held| held.session.outstanding() > 0) {
            (self.waiting, self.paused) = Default::default();
        }
    }

    /// Something has become due.
    pub(crate) fn tick(&mut self, env: &mut Env) {
        self.mark(env);
        for at in 0..self.sessions.len() {
            let now = env.now;
            let mut account = account(&mut self.charges, env);
            let withdrawn = self.sessions.session_mut(at).tick(now, &mut account);
            withdrawn.into_iter().for_each(|incoming| answered::withdraw(env, incoming));
            let refusals = self.sessions.session_mut(at).take_refusals();
            self.note_refusals(env, None, refusals);
        }
        self.watch_silence(env);
        self.resume_paused(env);
        self.tick_handshake(env);
        self.end_old_sessions(env);
    }

    fn deadline(&self, env: &Env) -> Option<Instant> {
        let sessions = self.sessions.iter().filter_map(|held| held.session.deadline(env.now));
        let others = [
            self.paused.first().map(|&(until, _)| until),
            self.silence_deadline(env),
            self.reach_deadline(env),
            self.handshake_deadline(env),
            self.sessions_deadline(env),
        ];
        sessions.chain(others.into_iter().flatten()).filter(|due| *due > env.now).min()
    }

    /// What must always hold.
    pub(crate) fn check(&self, env: &Env) {
        if !cfg!(debug_assertions) {
            return;
        }
        let mut charged = [0; 5];
        for held in self.sessions.iter() {
            held.session.check();
            charged.iter_mut().zip(held.session.charged()).for_each(|(sum, of_session)| *sum += of_session);
        }
        let Charges { assembly, replies, incoming, long, entries } = self.charges;
        debug_assert_eq!(
            charged,
            [assembly, replies, incoming, long, entries],
            "what a peer is charged with is what is held for it"
        );
        for path in self.paths.ids() {
            let connection = env.connections.get(path);
            debug_assert!(connection.is_some(), "a path that has ended is forgotten");
        }
        let unnumbered = self.waiting.iter().chain(self.paused.iter().map(|(_, query)| query));
        let waits = |query| {
            env.queries
                .get(query)
                .is_some_and(|asked| matches!(asked.state(), crate::conversation::QueryState::Waiting(_)))
        };
        debug_assert!(unnumbered.copied().all(waits), "whoever waits with its peer has no number");
    }

    /// Everything that it is charged with.
    pub(crate) fn charges(&self) -> Charges {
        self.charges
    }
}

impl core::fmt::Debug for Peer {
    /// What is remembered of it, but for its place in the order of use.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("Peer");
        shown.field("id", &self.id).field("record", &self.record).field("way", &self.way).field("paths", &self.paths);
        for held in self.sessions.iter() {
            shown.field("session", &held.session);
        }
        let handshake = self.handshake.as_ref().map(|handshake| handshake.id());
        shown.field("handshake", &handshake).field("waiting", &self.waiting).field("paused", &self.paused);
        shown.field("charges", &self.charges).finish_non_exhaustive()
    }
}

/// The accounts that a session with a peer is charged to.
fn account<'a>(charges: &'a mut Charges, env: &'a mut Env) -> Account<'a> {
    Account { of_peer: charges, of_all: &mut env.charges, limits: &env.limits }
}

/// Those of a row that a test holds for, to be worked on while the row changes.
fn collect<T: Copy>(row: impl Iterator<Item = T>) -> Vec<T> {
    row.collect()
}
