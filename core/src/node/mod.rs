//! The node: the façade over the rooms. It carries what one room says to the next, and decides nothing itself.
//!
//! ```text
//!   commands, facts  -->  a room changes its state, and marks what changed
//!                    -->  settle: every changed peer, once, in order; what that means for others is drained as effects
//!                    -->  actions, hints and notes wait for poll()
//! ```

mod commands;
mod connections;
#[cfg(feature = "internal")]
mod digest;
mod packets;
mod peers;
mod services;
mod sessions;
mod shutdown;
mod store;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use self::peers::Peers;
use self::services::Services;
use self::sessions::SessionTable;
use self::shutdown::Stopping;
use self::store::OwnRecord;
pub use self::store::{CorruptStore, Stored};
use crate::action::{Action, TransportAction};
use crate::admission::{Charges, HandshakeBudget, Tentative};
use crate::config::{CheckedConfig, Throttle};
use crate::connection::Connections;
use crate::conversation::{Incomings, Queries};
use crate::env::{Effect, Effects, Env, Out};
use crate::event::Event;
use crate::id::{ConnectionId, NodeId};
use crate::identity::Identity;
use crate::note::Cause;
use crate::random::Random;
use crate::slab::Key;
use crate::time::{Instant, UnixTime};
use crate::timer::{Timer, TimerSet};

/// An EGTP node: it asks, it answers, and finds its way, without touching a socket or a clock.
///
/// A driver tells it what happened ([`Node::handle`], [`Node::accept`]), the application gives it commands ([`Node::query`],
/// [`Node::reply`], ...), and then somebody does what [`Node::poll`] asks for. Every call does its work at once; `poll` only pops
/// a queue, so that any number of calls between two drains is fine. What must not be lost is a level, to be read at any
/// time: [`Node::deadline`], [`Node::to_write`], [`Node::wants_read`].
///
/// **The loop owns the node.** It may be moved to the thread of its loop; there every call takes it mutably, and whoever is elsewhere posts
/// through the driver's handle.
pub struct Node {
    env: Env,
    peers: Peers,
    sessions: SessionTable,
    tentative: Tentative,
    handshakes: HandshakeBudget,
    services: Services,
    /// Peers that wait for a place for a connection, in the order of their asking.
    place_waiters: VecDeque<Key>,
    own: OwnRecord,
    stopping: Option<Stopping>,
    /// No reply is shortened for want of memory before this.
    next_shortening: Instant,
    /// Room for the plaintext of one packet, used again and again.
    plaintext: Vec<u8>,
}

impl Node {
    /// A node with this identity that knows what was `stored`.
    ///
    /// **The seed must be fresh from the operating system's entropy at every start.** Every key and nonce comes from it: a seed used
    /// twice, by a restart, a fork or a restored snapshot, breaks every promise of the protocol, at most one execution included.
    /// With the same seed and the same calls a node does exactly the same, which is what tests want it for.
    ///
    /// `unix` is the wall-clock time at `now`, a floor under the sequence number of the node's own record.
    pub fn new(
        config: CheckedConfig,
        identity: Identity,
        seed: [u8; 32],
        stored: Stored,
        now: Instant,
        unix: UnixTime,
    ) -> Self {
        let config = config.0;
        let mut random = Random::new(&seed);
        let hash = random.hash_key();
        let handshakes = HandshakeBudget::new(config.limits.handshakes_per_second, &mut random, now);
        let mut node = Self {
            peers: Peers::new(hash),
            sessions: SessionTable::new(hash),
            tentative: Tentative::default(),
            handshakes,
            services: Services::new(),
            place_waiters: VecDeque::new(),
            own: OwnRecord::new(stored.sequence(), unix),
            stopping: None,
            next_shortening: now,
            plaintext: Vec::new(),
            env: Env {
                now,
                id: identity.node_id(),
                identity,
                random,
                timers: TimerSet::default(),
                connections: Connections::new(config.throttle, now),
                queries: Queries::new(),
                incoming: Incomings::new(),
                charges: Charges::default(),
                own_hellos: BTreeMap::new(),
                out: Out::default(),
                effects: Effects::default(),
                stopping: false,
                limits: config.limits,
                settings: config.timers,
            },
        };
        node.restore(stored);
        node.settle();
        node
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.env.id
    }

    /// Tells the node a fact. Whatever was due at `now` happens first; a `now` before an earlier one counts as that.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        if let Event::Written(connection, count) = event {
            // These bytes are gone already: what is due now may not take them for being still here.
            self.wrote(now.max(self.env.now), connection, count);
        }
        self.advance(now);
        match event {
            Event::Tick => {}
            Event::Connected(connection) => self.connected(connection),
            Event::Received(connection, bytes) => self.received(connection, bytes),
            Event::Written(connection, _) => self.room_again(connection),
            Event::Closed(connection, ending) => self.connection_closed(connection, ending),
            Event::Found(lookup, record) => self.found(lookup, record),
            Event::LookupDone(lookup) => self.lookup_done(lookup),
            Event::Discovered(discovery, relays) => self.discovered(discovery, relays),
            Event::Saved(save) => self.saved(save),
        }
        self.finish();
    }

    /// The next thing to do. Only pops a queue; drain it whenever it is convenient.
    pub fn poll(&mut self) -> Option<Action> {
        let Some(action) = self.env.out.pop() else { return self.poll_stopped() };
        match &action {
            Action::Transport(TransportAction::Changed { connection }) => self.env.connections.hint_polled(*connection),
            Action::Deliver(_) => {
                if self.env.out.resumes(&self.env.limits) {
                    self.env.connections.hint_all();
                    self.env.say_hints();
                }
            }
            Action::Transport(_) | Action::Service(_) | Action::Note(_) | Action::Stopped => {}
        }
        Some(action)
    }

    /// When the node wants to be called again at the latest: now while [`Node::poll`] has something, `None` if nothing is due.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = !self.env.out.is_empty() || self.has_stopped_to_say();
        if waiting { Some(self.env.now) } else { self.env.timers.next() }
    }

    /// A level: the bytes to be written to a connection next, already cut to what throttling allows now.
    pub fn to_write(&self, connection: ConnectionId) -> &[u8] {
        self.env.connections.to_write(connection)
    }

    /// A level: how many bytes may be read from a connection now. Zero means not to read: because of throttling, or because as much waits to
    /// be polled as may. A node never stops reading because of what it has to say.
    pub fn wants_read(&self, connection: ConnectionId) -> usize {
        if self.env.out.is_full(&self.env.limits) { 0 } else { self.env.connections.wants_read(connection) }
    }

    /// How fast bytes may go.
    pub fn throttle(&self) -> Throttle {
        self.env.connections.throttle()
    }

    /// Changes how fast bytes may go, for connections that are open as well.
    pub fn set_throttle(&mut self, now: Instant, throttle: Throttle) {
        self.advance(now);
        let timers = (&self.env.settings, &mut self.env.timers);
        self.env.connections.set_throttle(self.env.now, throttle, timers);
        self.finish();
    }

    /// How often something worth noting has happened.
    pub fn count(&self, cause: Cause) -> u64 {
        self.env.out.notes().count(cause)
    }

    /// How many of everything there are now.
    pub fn usage(&self) -> Usage {
        let Env { connections, queries, incoming, charges, out, timers, .. } = &self.env;
        Usage {
            connections: connections.len(),
            unauthenticated_connections: connections.strangers(),
            peers: self.peers.len(),
            sessions: self.sessions.len(),
            tentative_sessions: self.tentative.len(),
            queries: queries.len(),
            query_bytes: queries.bytes(),
            incoming: incoming.len(),
            assembly_bytes: charges.assembly,
            reply_bytes: charges.replies,
            undelivered_bytes: out.undelivered_bytes(),
            lookups: self.services.lookups(),
            timers: timers.len(),
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Query(query) => self.query_due(query),
            Timer::Connection(connection) => self.connection_due(connection),
            Timer::Peer(key) => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.tick(&mut self.env);
                }
            }
            Timer::Lookup(lookup) => self.lookup_timeout(lookup),
            Timer::Discovery(discovery) => self.discovery_timeout(discovery),
            Timer::ThrottleUp => self.env.connections.share_up(self.env.now, &mut self.env.timers),
            Timer::ThrottleDown => self.env.connections.share_down(self.env.now, &mut self.env.timers),
            Timer::Tidy => self.tidy(),
            Timer::Stop => self.stop_timeout(),
        }
    }

    /// The end of every call: what has changed is settled, and what is to be done outside is said.
    fn finish(&mut self) {
        self.settle();
        self.check_stopped();
        self.env.connections.arm_rounds(self.env.now, &mut self.env.timers);
        self.env.say_hints();
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Settles every peer of which something has changed, and what that means for others, until nothing is left.
    fn settle(&mut self) {
        loop {
            self.drain_effects();
            let Some(key) = self.env.effects.pop_changed() else { break };
            if let Some(peer) = self.peers.get_mut(key) {
                peer.settle(&mut self.env);
            }
        }
    }

    /// Does what one peer's step means for others.
    fn drain_effects(&mut self) {
        while let Some(effect) = self.env.effects.pop() {
            match effect {
                Effect::Close(connection, result) => self.close(connection, result),
                Effect::Flush(connection) => self.flush(connection),
                Effect::SessionEnded(sid) => {
                    self.sessions.ended(sid);
                    self.tentative.remove(sid);
                }
                Effect::SessionUsed(sid, key) => {
                    let asked = self.peers.get(key).is_some_and(|peer| peer.is_asked());
                    self.sessions.used(sid, key, asked, self.env.now);
                    self.limit_sessions(sid, key);
                }
                Effect::LookUp(key) => self.look_up(key),
                Effect::WantsPlace(key) => self.wants_place(key),
            }
        }
    }

    /// What must always hold, in every room and between them.
    fn check(&self) {
        self.env.connections.check();
        self.env.queries.check();
        self.peers.check(&self.env);
        let (mut sessions, mut charged) = (0, Charges::default());
        for peer in self.peers.iter() {
            let Charges { assembly, replies, incoming, long, entries } = peer.charges();
            charged.assembly += assembly;
            charged.replies += replies;
            charged.incoming += incoming;
            charged.long += long;
            charged.entries += entries;
            sessions += peer.count_sessions().0;
        }
        debug_assert_eq!(charged, self.env.charges, "what all are charged with is what each is");
        debug_assert_eq!(sessions, self.sessions.len(), "every session is some peer's");
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id())
            .field("now", &self.env.now)
            .field("usage", &self.usage())
            .finish()
    }
}

/// How many of everything a node has at the moment; each is held against one of its [`Limits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Connections, dialled and accepted.
    pub connections: usize,
    /// Those accepted whose peer has not authenticated.
    pub unauthenticated_connections: usize,
    /// Peers that something is known of.
    pub peers: usize,
    /// Sessions, the tentative ones included.
    pub sessions: usize,
    /// Sessions that were offered and not confirmed.
    pub tentative_sessions: usize,
    /// Own queries and notices that have not ended.
    pub queries: usize,
    /// Bytes of those.
    pub query_bytes: usize,
    /// Incoming queries that wait for an answer.
    pub incoming: usize,
    /// Bytes of incomplete messages.
    pub assembly_bytes: usize,
    /// Bytes of replies that are remembered until their askers have them.
    pub reply_bytes: usize,
    /// Bytes of deliveries that wait in [`Node::poll`].
    pub undelivered_bytes: usize,
    /// Open questions to the Lookup Service.
    pub lookups: usize,
    /// Armed timers.
    pub timers: usize,
}
