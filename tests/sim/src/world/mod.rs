//! The world: hosts, the links between them, a directory, and a clock that jumps. Each file is one concern; all of them work on
//! the state that is declared here.

mod checks;
mod dialling;
mod digest;
mod directory;
mod driving;
mod faults;
mod host;
mod links;
mod plaintext;
mod rates;
mod recent;
mod recorder;
mod schedule;
mod strangers;
mod streams;
mod tap;
mod traffic;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use egtp::{
    CheckedConfig, ConnectionId, Delivery, Event, Identity, Instant, Node, NodeId, Note, Query, QueryId, Refusal,
    ReplyToken, SignedRecord,
};

use self::checks::Checks;
use self::dialling::{Dial, Place};
use self::digest::Digest;
use self::directory::DirectoryService;
use self::host::Host;
use self::links::{LinkId, Links, Socket};
use self::plaintext::Markers;
use self::rates::Rates;
use self::recent::Recent;
use self::schedule::{Due, Schedule};
use self::strangers::StrangerHost;
use self::tap::Middle;
use self::traffic::Traffic;
use crate::choice::Choice;
use crate::link::Network;

pub use self::directory::Directory;
pub use self::recorder::Recorder;

/// The name of a node in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeIndex(usize);

impl NodeIndex {
    /// Its number: the first node of a world is node 0.
    pub fn number(self) -> usize {
        self.0
    }
}

/// A network of nodes, and everything that happens between them.
///
/// An event costs what happens at the hosts that it touches, and the logarithm of how many there are: nothing is ever looked for
/// among all of them. The world relies on the hints of its nodes just as a driver does, and what a hint is lost for stands
/// still, to be found by its checks: see [`World::violations`].
#[derive(Debug)]
pub struct World {
    now: Instant,
    seed: u64,
    choice: Choice,
    network: Network,
    schedule: Schedule,
    hosts: Vec<Host>,
    strangers: Vec<StrangerHost>,
    places: BTreeMap<IpAddr, Place>,
    links: Links,
    dials: BTreeMap<Socket, Dial>,
    /// Pairs of nodes the first of which cannot reach the second.
    blocked: BTreeSet<(NodeIndex, NodeIndex)>,
    /// After how many bytes the next connection breaks, and those that are going to.
    next_breaks_after: Option<usize>,
    breaking: BTreeSet<LinkId>,
    directory: DirectoryService,
    /// Nodes that were told something and not drained since.
    touched: BTreeSet<NodeIndex>,
    deliveries: VecDeque<(NodeIndex, Delivery)>,
    buffer: Vec<u8>,
    events: u64,
    restless: bool,
    lazy: bool,
    digest: Digest,
    checks: Checks,
    rates: Rates,
    markers: Markers,
    middle: Middle,
    traffic: Traffic,
    notes: Recent<(Instant, NodeIndex, Note)>,
    lookups: Recent<(Instant, NodeIndex, NodeId)>,
    connects: Recent<(Instant, NodeIndex, SocketAddr)>,
}

/// So many things at one instant for each host are a loop without end.
const STEPS_AT_ONE_INSTANT: usize = 100_000;

impl World {
    /// An empty world. The same seed and the same calls make the same things happen.
    pub fn new(seed: u64, network: Network) -> Self {
        Self {
            now: Instant::from_micros(1_000_000),
            seed,
            choice: Choice::from_seed(seed),
            network,
            schedule: Schedule::default(),
            hosts: Vec::new(),
            strangers: Vec::new(),
            places: BTreeMap::new(),
            links: Links::default(),
            dials: BTreeMap::new(),
            blocked: BTreeSet::new(),
            next_breaks_after: None,
            breaking: BTreeSet::new(),
            directory: DirectoryService::new(seed),
            touched: BTreeSet::new(),
            deliveries: VecDeque::new(),
            buffer: Vec::new(),
            events: 0,
            restless: false,
            lazy: false,
            digest: Digest::default(),
            checks: Checks::default(),
            rates: Rates::default(),
            markers: Markers::default(),
            middle: Middle::default(),
            traffic: Traffic::default(),
            notes: Recent::default(),
            lookups: Recent::default(),
            connects: Recent::default(),
        }
    }

    /// Adds a node with the default configuration. It listens, and the directory knows it.
    pub fn add_node(&mut self) -> NodeIndex {
        self.add_node_with(CheckedConfig::default())
    }

    /// Adds a node. It listens, and the directory knows it.
    pub fn add_node_with(&mut self, config: CheckedConfig) -> NodeIndex {
        let index = NodeIndex(self.hosts.len());
        let address = dialling::node_address(index.0);
        self.places.insert(address.ip(), Place::Node(index));
        self.hosts.push(Host::new(Identity::from_seed(&self.choice.seed()), config, address));
        self.start(index);
        index
    }

    /// Changes what links are like, for what is sent from now on.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
        self.wake_writers();
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Who a node is.
    pub fn id(&self, index: NodeIndex) -> NodeId {
        self.hosts[index.0].identity.node_id()
    }

    /// Where a node listens. Behind a [`Nat`](crate::Nat) that address cannot be reached from outside.
    pub fn address(&self, index: NodeIndex) -> SocketAddr {
        self.hosts[index.0].address
    }

    /// A node's identity, to sign for it.
    pub fn identity(&self, index: NodeIndex) -> &Identity {
        &self.hosts[index.0].identity
    }

    /// A running node. Whatever is done with it has effect at the latest when time passes.
    ///
    /// # Panics
    ///
    /// If it has crashed.
    pub fn node(&mut self, index: NodeIndex) -> &mut Node {
        self.touched.insert(index);
        self.hosts[index.0].node.as_mut().expect("the node is running")
    }

    /// Does something with a node at the present instant, as its own clock tells it.
    pub fn with<R>(&mut self, index: NodeIndex, act: impl FnOnce(&mut Node, Instant) -> R) -> R {
        let host = &mut self.hosts[index.0];
        let now = host.clock.at(self.now);
        host.commanded = host.commanded.max(now);
        let result = act(self.node(index), now);
        self.commanded();
        result
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// As [`Node::query`].
    pub fn query(&mut self, from: NodeIndex, to: NodeIndex, query: Query) -> Result<QueryId, Refusal> {
        let to = self.id(to);
        self.query_id(from, to, query)
    }

    /// Asks whoever has this id.
    ///
    /// # Errors
    ///
    /// As [`Node::query`].
    pub fn query_id(&mut self, from: NodeIndex, to: NodeId, query: Query) -> Result<QueryId, Refusal> {
        self.with(from, |node, now| node.query(now, to, query).map_err(|unasked| unasked.why))
    }

    /// Answers. An answer that nobody waits for any more is dropped.
    pub fn reply(&mut self, node: NodeIndex, token: ReplyToken, body: Vec<u8>) {
        let _nobody_waits = self.with(node, |node, now| node.reply(now, token, body));
    }

    /// What the directory says of a node from now on; `None` makes it unknown.
    pub fn set_record(&mut self, id: NodeId, record: Option<SignedRecord>) {
        self.directory.set(id, record);
    }

    /// The latest questions to the directory: when, by whom, about whom. The world remembers the last 65,536 of them at least, and
    /// twice as many at most; so it does with dials and notes. A run that lasts for long asks for [`World::lookups_since`].
    pub fn lookups(&self) -> &[(Instant, NodeIndex, NodeId)] {
        self.lookups.latest()
    }

    /// The questions to the directory that came after the first `seen` of all; `seen` then counts them too. Whoever begins with
    /// zero, and asks again before 65,536 more have come, misses none.
    pub fn lookups_since(&self, seen: &mut u64) -> &[(Instant, NodeIndex, NodeId)] {
        self.lookups.since(seen)
    }

    /// The latest dials of nodes: when, by whom, to where. As many are remembered as of [`World::lookups`].
    pub fn connects(&self) -> &[(Instant, NodeIndex, SocketAddr)] {
        self.connects.latest()
    }

    /// The dials that came after the first `seen` of all, as [`World::lookups_since`].
    pub fn connects_since(&self, seen: &mut u64) -> &[(Instant, NodeIndex, SocketAddr)] {
        self.connects.since(seen)
    }

    /// The latest notes: when, whose, what. As many are remembered as of [`World::lookups`].
    pub fn notes(&self) -> &[(Instant, NodeIndex, Note)] {
        self.notes.latest()
    }

    /// The notes that came after the first `seen` of all, as [`World::lookups_since`].
    pub fn notes_since(&self, seen: &mut u64) -> &[(Instant, NodeIndex, Note)] {
        self.notes.since(seen)
    }

    /// A node's open connections, under the names that it has for them.
    pub fn connections(&self, index: NodeIndex) -> Vec<ConnectionId> {
        self.hosts[index.0].sockets.keys().copied().collect()
    }

    /// How many events nodes and strangers were told so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How many links there are between hosts, those included that only one end still holds.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// A digest of every byte and action so far: equal for equal runs.
    pub fn digest(&self) -> [u8; 20] {
        self.digest.so_far()
    }

    /// Whether every running node at which nothing is due is told [`Event::Tick`] before each thing that happens, and once between two
    /// of them. A node that keeps its promises does exactly the same with it, to the byte.
    pub fn set_restless(&mut self, restless: bool) {
        self.restless = restless;
    }

    /// Whether commands that are given at one instant have effect together when time passes, instead of each at once. A node that
    /// keeps its promises says the same to its application.
    pub fn set_lazy(&mut self, lazy: bool) {
        self.lazy = lazy;
    }

    /// Lets time pass, and hands every delivery to `on_delivery` at the instant at which it is made. In a world with as many
    /// violations as are kept, nothing happens any more.
    pub fn run(&mut self, time: Duration, mut on_delivery: impl FnMut(&mut Self, NodeIndex, Delivery)) {
        let until = self.now + time;
        let mut steps = 0;
        loop {
            self.settle();
            while let Some((node, delivery)) = self.deliveries.pop_front() {
                on_delivery(self, node, delivery);
                if !self.lazy {
                    self.settle();
                }
            }
            self.settle();
            if !self.deliveries.is_empty() {
                continue;
            }
            let next = self.schedule.next().filter(|&next| next <= until);
            if next.is_none_or(|next| next > self.now) {
                self.check();
                steps = 0;
            }
            let Some(next) = next else { break };
            if self.has_failed() {
                break;
            }
            steps += 1;
            if steps > STEPS_AT_ONE_INSTANT * (self.hosts.len() + self.strangers.len()) {
                self.violate("the clock stands still");
                break;
            }
            if self.restless {
                self.disturb(next);
            }
            self.now = self.now.max(next);
            if let Some(due) = self.schedule.pop(self.now) {
                self.happen(due);
            }
        }
        self.now = self.now.max(until);
    }

    /// One thing happens.
    fn happen(&mut self, due: Due) {
        match due {
            Due::Dial(socket) => self.decide(socket),
            Due::Arrival(end) => self.arrive(end),
            Due::Answer(number) => self.answer(number),
            Due::Wake(stranger) => self.wake(stranger),
            Due::Deadline(node) => self.tick(node),
        }
    }

    /// A command was given.
    fn commanded(&mut self) {
        if !self.lazy {
            self.settle();
        }
    }

    /// Ticks that nobody needs: half-way to what happens next, and right before it.
    fn disturb(&mut self, next: Instant) {
        let half_way = self.now + next.saturating_since(self.now) / 2;
        for at in [half_way, next] {
            self.now = self.now.max(at);
            for (index, host) in self.hosts.iter().enumerate() {
                let deadline = host.node.as_ref().filter(|_| !host.frozen).map(Node::deadline);
                if deadline.is_some_and(|deadline| deadline.is_none_or(|deadline| deadline > host.clock.at(self.now))) {
                    self.touched.insert(NodeIndex(index));
                }
            }
            for index in self.touched.clone() {
                self.tell(index, Event::Tick);
            }
            self.settle();
        }
    }
}
