//! The node: all control flow. Each file is one concern; all of them work on the state that is declared here.

mod answering;
mod asking;
mod assembling;
mod connecting;
mod digest;
mod finding;
mod handshaking;
mod leaving;
mod reaching;
mod receiving;
mod sending;
mod sessions;
mod stopping;
mod storing;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use hashbrown::HashMap;

use crate::action::{Action, TransportAction};
use crate::config::{CheckedConfig, Limits, Throttle, Timers};
use crate::connection::{Connection, MAX_URGENT, Phase};
use crate::conversation::{Incoming, Outstanding};
use crate::event::Event;
use crate::hashing::KeyedHash;
use crate::id::{ConnectionId, DiscoveryId, IncomingId, LookupId, NodeId, QueryId};
use crate::identity::Identity;
use crate::note::{Cause, Notes};
use crate::peer::Peer;
use crate::query::{Delivery, Refusal, TypeName, Verdict};
use crate::random::Random;
use crate::session::CookieJar;
use crate::session::state::Session;
use crate::throttle::SharedBucket;
use crate::time::{Instant, UnixTime};
use crate::timer::{Timer, TimerSet};
use crate::wire::packet::SessionId;

use self::handshaking::HandshakeBudget;
use self::stopping::Stopping;
use self::storing::OwnRecord;
pub use self::storing::{CorruptStore, Stored};

/// An EGTP node: it asks, it answers, and finds its way, without touching a socket or a clock.
///
/// A driver tells it what happened ([`Node::handle`], [`Node::accept`]), the application gives it commands ([`Node::query`],
/// [`Node::reply`], ...), and then somebody does what [`Node::poll`] asks for. Every call does its work at once; `poll` only pops
/// a queue, so that any number of calls between two drains is fine. What must not be lost is a level, to be read at any
/// time: [`Node::deadline`], [`Node::to_write`], [`Node::wants_read`].
///
/// **The loop owns the node**: it can be neither sent to another thread nor shared with one.
///
/// ```compile_fail
/// fn elsewhere(node: egtp::Node) {
///     std::thread::spawn(move || node.id());
/// }
/// ```
pub struct Node {
    limits: Limits,
    settings: Timers,
    identity: Identity,
    id: NodeId,
    now: Instant,
    random: Random,
    /// Random for each start; peers see it change when this node has restarted.
    boot: u64,
    timers: TimerSet,
    actions: VecDeque<Action>,
    undelivered_bytes: usize,
    /// Whether a full queue of deliveries has made connections stop reading.
    reading_stopped: bool,
    notes: Notes,
    next_id: u64,

    served: BTreeSet<TypeName>,
    queries: BTreeMap<QueryId, Outstanding>,
    query_bytes: usize,
    incoming: BTreeMap<IncomingId, Incoming>,
    reply_bytes: usize,

    peers: HashMap<NodeId, Box<Peer>, KeyedHash>,
    /// Peers in the order in which they would be forgotten.
    peer_order: BTreeSet<(bool, u64, NodeId)>,
    next_stamp: u64,

    sessions: HashMap<SessionId, Box<Session>, KeyedHash>,
    /// Sessions in the order in which they would be given up.
    session_order: BTreeSet<(bool, Instant, SessionId)>,
    /// Sessions that were offered and not confirmed, the oldest first.
    tentative: VecDeque<SessionId>,
    assembly_bytes: usize,
    cookies: CookieJar,
    handshakes: HandshakeBudget,

    connections: BTreeMap<ConnectionId, Connection>,
    unauthenticated: BTreeSet<ConnectionId>,
    /// Connections with something to write.
    writers: BTreeSet<ConnectionId>,
    /// Peers that wait for a connection to become free.
    slot_waiters: BTreeSet<NodeId>,
    throttle: Throttle,
    up: SharedBucket,
    down: SharedBucket,

    lookups: BTreeMap<LookupId, NodeId>,
    lookup_waiters: BTreeSet<NodeId>,
    discoveries: BTreeSet<DiscoveryId>,
    own: OwnRecord,
    /// Peers whose records are stored, in the order in which they would be deleted.
    stored_records: VecDeque<NodeId>,

    stopping: Option<Stopping>,
    _the_loop_owns_it: PhantomData<*mut ()>,
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
        let boot = random.token();
        let cookies = CookieJar::new(random.cookie_secret());
        let mut node = Self {
            id: identity.node_id(),
            identity,
            now,
            boot,
            timers: TimerSet::new(hash),
            actions: VecDeque::new(),
            undelivered_bytes: 0,
            reading_stopped: false,
            notes: Notes::default(),
            next_id: 1,
            served: BTreeSet::new(),
            queries: BTreeMap::new(),
            query_bytes: 0,
            incoming: BTreeMap::new(),
            reply_bytes: 0,
            peers: HashMap::with_hasher(hash),
            peer_order: BTreeSet::new(),
            next_stamp: 0,
            sessions: HashMap::with_hasher(hash),
            session_order: BTreeSet::new(),
            tentative: VecDeque::new(),
            assembly_bytes: 0,
            cookies,
            handshakes: HandshakeBudget::new(config.limits.handshakes_per_second, now),
            connections: BTreeMap::new(),
            unauthenticated: BTreeSet::new(),
            writers: BTreeSet::new(),
            slot_waiters: BTreeSet::new(),
            up: SharedBucket::new(config.throttle.up, now),
            down: SharedBucket::new(config.throttle.down, now),
            throttle: config.throttle,
            lookups: BTreeMap::new(),
            lookup_waiters: BTreeSet::new(),
            discoveries: BTreeSet::new(),
            own: OwnRecord::new(stored.sequence(), unix),
            stored_records: VecDeque::new(),
            stopping: None,
            limits: config.limits,
            settings: config.timers,
            random,
            _the_loop_owns_it: PhantomData,
        };
        node.restore(stored);
        node
    }

    /// Who this node is.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Tells the node a fact. Whatever was due at `now` happens first; a `now` before an earlier one counts as that.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        if let Event::Written(connection, count) = event {
            // These bytes are gone already: what is due now may not take them for being still here.
            self.count_written(now.max(self.now), connection, count);
        }
        self.advance(now);
        match event {
            Event::Tick => {}
            Event::Connected(connection) => self.connected(connection),
            Event::Received(connection, bytes) => self.received(connection, bytes),
            Event::Written(connection, _) => self.room_again(connection),
            Event::Closed(connection, _) => self.connection_ended(connection),
            Event::Found(lookup, record) => self.found(lookup, record),
            Event::LookupDone(lookup) => self.lookup_done(lookup),
            Event::Discovered(discovery, relays) => self.discovered(discovery, relays),
            Event::Saved(save) => self.saved(save),
        }
        self.check_stopped();
    }

    /// The next thing to do. Only pops a queue; drain it whenever it is convenient.
    pub fn poll(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            match &action {
                Action::Transport(TransportAction::Changed { connection }) => {
                    if let Some(connection) = self.connections.get_mut(connection) {
                        connection.hinted = false;
                    }
                }
                Action::Deliver(delivery) => {
                    self.undelivered_bytes = self.undelivered_bytes.saturating_sub(delivered_bytes(delivery));
                    self.resume_reading();
                }
                Action::Transport(_) | Action::Service(_) | Action::Note(_) | Action::Stopped => {}
            }
            return Some(action);
        }
        if let Some(note) = self.notes.pop() {
            return Some(Action::Note(note));
        }
        self.poll_stopped()
    }

    /// When the node wants to be called again at the latest: now while [`Node::poll`] has something, `None` if nothing is due.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = !self.actions.is_empty() || !self.notes.is_empty() || self.has_stopped_to_say();
        if waiting { Some(self.now) } else { self.timers.next() }
    }

    /// A level: the bytes to be written to a connection next, already cut to what throttling allows now.
    pub fn to_write(&self, connection: ConnectionId) -> &[u8] {
        let Some(connection) = self.connections.get(&connection) else { return &[] };
        if connection.phase == Phase::Dialling {
            return &[];
        }
        let bytes = connection.outbound.unwritten();
        let allowed = self.up.allowance(&connection.taken_up).min(connection.up.allowance());
        &bytes[..bytes.len().min(allowed)]
    }

    /// A level: how many bytes may be read from a connection now. Zero means not to read: because of throttling, or because the node
    /// has taken in as much as it can hold.
    pub fn wants_read(&self, connection: ConnectionId) -> usize {
        let Some(connection) = self.connections.get(&connection) else { return 0 };
        let blocked = connection.urgent.len() > MAX_URGENT || connection.is_overfull();
        if connection.phase != Phase::Open || blocked || self.is_full() || self.is_congested(connection) {
            return 0;
        }
        let allowance = self.down.allowance(&connection.taken_down).min(connection.down.allowance());
        if connection.down.is_dry() { 0 } else { allowance.min(READ_AT_MOST) }
    }

    /// Queries and notices of this type are delivered from now on; of other types queries are refused and notices dropped.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyTypes`] if as many types are served as [`Limits::served_types`] allows.
    pub fn serve(&mut self, type_name: TypeName) -> Result<(), Refusal> {
        if self.served.len() >= self.limits.served_types && !self.served.contains(&type_name) {
            return Err(Refusal::TooManyTypes);
        }
        self.served.insert(type_name);
        Ok(())
    }

    /// Queries of this type are refused from now on. What was delivered already can still be answered.
    pub fn unserve(&mut self, type_name: &TypeName) {
        self.served.remove(type_name);
    }

    /// How fast bytes may go.
    pub fn throttle(&self) -> Throttle {
        self.throttle
    }

    /// Changes how fast bytes may go, for connections that are open as well.
    pub fn set_throttle(&mut self, now: Instant, throttle: Throttle) {
        self.advance(now);
        self.throttle = throttle;
        self.up.set_rate(throttle.up, self.now);
        self.down.set_rate(throttle.down, self.now);
        for connection in self.connections.values_mut() {
            connection.up.set_rate(throttle.up_per_connection, self.now);
            connection.down.set_rate(throttle.down_per_connection, self.now);
        }
        self.hint_all();
        // What was plenty at the old rate may be too little at the new one to be worth a call.
        let connections: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in connections {
            self.throttle_up(connection);
            self.throttle_down(connection);
        }
        self.arm_throttle();
    }

    /// How often something worth noting has happened.
    pub fn count(&self, cause: Cause) -> u64 {
        self.notes.count(cause)
    }

    /// How many of everything there are now.
    pub fn usage(&self) -> Usage {
        Usage {
            connections: self.connections.len(),
            unauthenticated_connections: self.unauthenticated.len(),
            peers: self.peers.len(),
            sessions: self.sessions.len(),
            tentative_sessions: self.tentative.len(),
            queries: self.queries.len(),
            query_bytes: self.query_bytes,
            incoming: self.incoming.len(),
            assembly_bytes: self.assembly_bytes,
            reply_bytes: self.reply_bytes,
            undelivered_bytes: self.undelivered_bytes,
            lookups: self.lookups.len(),
            timers: self.timers.len(),
        }
    }

    /// Moves the clock and does everything that has become due.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.up.refill(self.now);
        self.down.refill(self.now);
        while let Some(timer) = self.timers.pop_due(self.now) {
            self.fire(timer);
        }
        self.check_stopped();
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::QueryHard(query) => self.hard_timeout(query),
            Timer::QuerySoft(query) => self.soft_timeout(query),
            Timer::IncomingUntil(incoming) => self.incoming_expired(incoming),
            Timer::Connect(connection) => self.connect_timeout(connection),
            Timer::Authenticate(connection) => self.authenticate_timeout(connection),
            Timer::Probe(connection) => self.probe(connection),
            Timer::Idle(connection) => self.idle(connection),
            Timer::Linger(connection) => self.linger_timeout(connection),
            Timer::ThrottleConnection(connection) => self.throttle_connection_timeout(connection),
            Timer::ThrottleUp => self.share_up(),
            Timer::ThrottleDown => self.share_down(),
            Timer::Tentative(session) => self.tentative_timeout(session),
            Timer::Renew(session) => self.renew_timeout(session),
            Timer::Acknowledge(session) => self.acknowledge(session),
            Timer::Assemblies(session) => self.assemblies_timeout(session),
            Timer::Prove(peer) => self.prove_timeout(peer),
            Timer::HandshakeAgain(peer) => self.handshake_again(peer),
            Timer::Stalled(peer) => self.stalled_timeout(peer),
            Timer::Lookup(lookup) => self.lookup_timeout(lookup),
            Timer::Discovery(discovery) => self.discovery_timeout(discovery),
            Timer::Tidy => self.tidy(),
            Timer::Stop => self.stop_timeout(),
        }
    }

    fn arm_in(&mut self, timer: Timer, after: Duration) {
        self.timers.arm(self.now, timer, self.now + after);
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn note(&mut self, cause: Cause, peer: Option<NodeId>, connection: Option<ConnectionId>) {
        self.notes.add(cause, peer, connection);
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.undelivered_bytes = self.undelivered_bytes.saturating_add(delivered_bytes(&delivery));
        self.actions.push_back(Action::Deliver(delivery));
        self.reading_stopped |= self.is_full();
    }

    /// Says that a connection's levels may have changed, once until that is polled.
    fn hint(&mut self, connection: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&connection)
            && connection.phase != Phase::Dialling
            && !connection.hinted
        {
            connection.hinted = true;
            let connection = connection.id;
            self.actions.push_back(Action::Transport(TransportAction::Changed { connection }));
        }
    }

    fn hint_all(&mut self) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for connection in all {
            self.hint(connection);
        }
    }

    /// Whether as much waits to be delivered as may.
    fn is_full(&self) -> bool {
        self.undelivered_bytes > self.limits.undelivered_bytes
    }

    fn resume_reading(&mut self) {
        if self.reading_stopped && !self.is_full() {
            self.reading_stopped = false;
            self.hint_all();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("id", &self.id).field("now", &self.now).field("usage", &self.usage()).finish()
    }
}

/// The most that one read is asked to bring.
const READ_AT_MOST: usize = 64 * 1024;

/// What a delivery is charged with while it waits to be polled.
fn delivered_bytes(delivery: &Delivery) -> usize {
    let body = match delivery {
        Delivery::Query { body, .. } | Delivery::Notice { body, .. } => body.len(),
        Delivery::Verdict(_, Verdict::Reply(reply)) => reply.body.len(),
        Delivery::Verdict(_, Verdict::Failed(_))
        | Delivery::Withdrawn(_)
        | Delivery::SoftTimeout(_)
        | Delivery::Discovered(..) => 0,
    };
    body + 64
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
    /// Bytes of replies that wait to be sealed.
    pub reply_bytes: usize,
    /// Bytes of deliveries that wait in [`Node::poll`].
    pub undelivered_bytes: usize,
    /// Open questions to the Lookup Service.
    pub lookups: usize,
    /// Armed timers.
    pub timers: usize,
}
