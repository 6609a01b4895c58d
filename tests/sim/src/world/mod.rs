//! The world: nodes, the links between them, a directory, and a clock that jumps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use egtp::{
    Action, CheckedConfig, ConnectionId, Delivery, Ending, Event, Identity, Instant, Node, NodeId, Note, Query,
    QueryId, Refusal, ReplyToken, ServiceAction, SignedRecord, StoreKey, Stored, Strategies, TransportAction, UnixTime,
};
use sha1::{Digest as _, Sha1};

use crate::choice::Choice;
use crate::link::{Network, Pipe};

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
#[derive(Debug)]
pub struct World {
    now: Instant,
    network: Network,
    choice: Choice,
    hosts: Vec<Host>,
    links: Vec<Link>,
    directory: BTreeMap<NodeId, SignedRecord>,
    /// Dials that have not been decided.
    dials: BTreeMap<(Instant, usize), Dial>,
    next_dial: usize,
    /// The links that frozen nodes are to accept once they go on.
    backlog: Vec<(NodeIndex, usize)>,
    /// The directory answers no question.
    directory_silent: bool,
    /// After how many bytes the next connection breaks.
    next_breaks_after: Option<usize>,
    deliveries: VecDeque<(NodeIndex, Delivery)>,
    transcript: Sha1,
    notes: Vec<(Instant, NodeIndex, Note)>,
    lookups: Vec<(Instant, NodeIndex, NodeId)>,
    connects: Vec<(Instant, NodeIndex, SocketAddr)>,
}

/// So many turns at one instant are a loop without end.
const TURNS_AT_ONE_INSTANT: usize = 100_000;

#[derive(Debug)]
struct Host {
    node: Option<Node>,
    identity: Identity,
    config: CheckedConfig,
    address: SocketAddr,
    listening: bool,
    /// Its process stands still: nothing is read, written or timed.
    frozen: bool,
    /// Packets to and from it vanish.
    silent: bool,
    links: BTreeMap<ConnectionId, End>,
    stored: BTreeMap<StoreKey, Vec<u8>>,
    dirty: BTreeSet<ConnectionId>,
}

/// One end of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct End {
    link: usize,
    side: usize,
}

#[derive(Debug)]
struct Link {
    /// What flows towards each side.
    towards: [Pipe; 2],
    ends: [Option<(NodeIndex, ConnectionId)>; 2],
    /// How many bytes, both ways together, it carries before it breaks.
    breaks_after: Option<usize>,
}

#[derive(Debug)]
struct Dial {
    from: NodeIndex,
    connection: ConnectionId,
    to: SocketAddr,
}

impl World {
    /// An empty world. The same seed and the same calls make the same things happen.
    pub fn new(seed: u64, network: Network) -> Self {
        Self {
            now: Instant::from_micros(1_000_000),
            network,
            choice: Choice::new(seed),
            hosts: Vec::new(),
            links: Vec::new(),
            directory: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_dial: 0,
            backlog: Vec::new(),
            directory_silent: false,
            next_breaks_after: None,
            deliveries: VecDeque::new(),
            transcript: Sha1::new(),
            notes: Vec::new(),
            lookups: Vec::new(),
            connects: Vec::new(),
        }
    }

    /// Adds a node with the default configuration. It listens, and the directory knows it.
    pub fn add_node(&mut self) -> NodeIndex {
        self.add_node_with(CheckedConfig::default())
    }

    /// Adds a node. It listens, and the directory knows it.
    pub fn add_node_with(&mut self, config: CheckedConfig) -> NodeIndex {
        let index = NodeIndex(self.hosts.len());
        let last = u8::try_from(self.hosts.len() % 250).unwrap_or(0) + 1;
        let third = u8::try_from(self.hosts.len() / 250).unwrap_or(0);
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, third, last)), 4000);
        let identity = Identity::from_seed(&self.choice.seed());
        self.hosts.push(Host {
            node: None,
            identity,
            config,
            address,
            listening: true,
            frozen: false,
            silent: false,
            links: BTreeMap::new(),
            stored: BTreeMap::new(),
            dirty: BTreeSet::new(),
        });
        self.start(index);
        index
    }

    /// Starts a node that is not running, with what it has stored and a fresh seed, and announces it.
    pub fn start(&mut self, index: NodeIndex) {
        let seed = self.choice.seed();
        let (now, unix) = (self.now, UnixTime::from_secs(1_700_000_000 + self.now.as_micros() / 1_000_000));
        let host = &mut self.hosts[index.0];
        let entries = host.stored.iter().map(|(&key, value)| (key, value.as_slice()));
        let stored = Stored::parse(entries).expect("what a node stored can be read again");
        let mut node = Node::new(host.config.clone(), host.identity.clone(), seed, stored, now, unix);
        let strategies = Strategies { addresses: vec![host.address], relays: Vec::new() };
        node.announce(now, strategies).expect("one address fits a record");
        host.node = Some(node);
        self.settle();
    }

    /// Kills a node: its connections break, and whatever it knew and did not store is gone.
    pub fn crash(&mut self, index: NodeIndex) {
        let host = &mut self.hosts[index.0];
        host.node = None;
        host.dirty.clear();
        for end in std::mem::take(&mut host.links).into_values() {
            self.cut_end(end);
        }
        for link in self.take_backlog(index) {
            self.cut_end(End { link, side: 1 });
        }
        self.dials.retain(|_, dial| dial.from != index);
        self.deliveries.retain(|&(node, _)| node != index);
        self.settle();
    }

    /// Forgets what a node has stored.
    pub fn wipe(&mut self, index: NodeIndex) {
        self.hosts[index.0].stored.clear();
    }

    /// Cuts every connection between two nodes: both see it break once the news has travelled.
    pub fn cut(&mut self, one: NodeIndex, other: NodeIndex) {
        for link in 0..self.links.len() {
            let nodes = self.links[link].ends.map(|end| end.map(|(node, _)| node));
            if nodes == [Some(one), Some(other)] || nodes == [Some(other), Some(one)] {
                for pipe in &mut self.links[link].towards {
                    *pipe = Pipe::default();
                    pipe.finish(self.now, &self.network, &mut self.choice);
                }
            }
        }
    }

    /// Lets the next connection that opens break as soon as it has carried so many bytes, both ways together; they still arrive.
    /// With `None` neither the next one breaks nor one that is open.
    pub fn break_next_connection_after(&mut self, bytes: Option<usize>) {
        self.next_breaks_after = bytes;
        if bytes.is_none() {
            for link in &mut self.links {
                link.breaks_after = None;
            }
        }
    }

    /// Whether a node's port is open.
    pub fn set_listening(&mut self, index: NodeIndex, listening: bool) {
        self.hosts[index.0].listening = listening;
    }

    /// Whether a node's process stands still. Its peers notice nothing: its system goes on accepting connections for it.
    pub fn set_frozen(&mut self, index: NodeIndex, frozen: bool) {
        self.hosts[index.0].frozen = frozen;
        if !frozen {
            for link in self.take_backlog(index) {
                self.accept(index, link);
            }
            self.settle();
        }
    }

    /// Whether everything to and from a node vanishes, open connections included.
    pub fn set_silent(&mut self, index: NodeIndex, silent: bool) {
        self.hosts[index.0].silent = silent;
        for link in &mut self.links {
            if link.ends.iter().flatten().any(|&(node, _)| node == index) {
                for pipe in &mut link.towards {
                    pipe.silent = silent;
                }
            }
        }
    }

    /// Changes what links are like, for what is sent from now on.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Who a node is.
    pub fn id(&self, index: NodeIndex) -> NodeId {
        self.hosts[index.0].identity.node_id()
    }

    /// Where a node listens.
    pub fn address(&self, index: NodeIndex) -> SocketAddr {
        self.hosts[index.0].address
    }

    /// What the directory says of a node from now on; `None` makes it unknown.
    pub fn set_record(&mut self, id: NodeId, record: Option<SignedRecord>) {
        match record {
            Some(record) => self.directory.insert(id, record),
            None => self.directory.remove(&id),
        };
    }

    /// Whether the directory leaves every question unanswered.
    pub fn set_directory_silent(&mut self, silent: bool) {
        self.directory_silent = silent;
    }

    /// Every question to the directory so far: when, by whom, about whom.
    pub fn lookups(&self) -> &[(Instant, NodeIndex, NodeId)] {
        &self.lookups
    }

    /// Every dial so far: when, by whom, to where.
    pub fn connects(&self) -> &[(Instant, NodeIndex, SocketAddr)] {
        &self.connects
    }

    /// A node's identity, to sign for it.
    pub fn identity(&self, index: NodeIndex) -> &Identity {
        &self.hosts[index.0].identity
    }

    /// A running node.
    ///
    /// # Panics
    ///
    /// If it has crashed.
    pub fn node(&mut self, index: NodeIndex) -> &mut Node {
        self.hosts[index.0].node.as_mut().expect("the node is running")
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
        let now = self.now;
        let asked = self.node(from).query(now, to, query).map_err(|(refusal, _)| refusal);
        self.settle();
        asked
    }

    /// Answers. An answer that nobody waits for any more is dropped.
    pub fn reply(&mut self, node: NodeIndex, token: ReplyToken, body: Vec<u8>) {
        let now = self.now;
        let _nobody_waits = self.node(node).reply(now, token, body);
        self.settle();
    }

    /// Does something with a node at the present instant.
    pub fn with<R>(&mut self, index: NodeIndex, act: impl FnOnce(&mut Node, Instant) -> R) -> R {
        let now = self.now;
        let result = act(self.node(index), now);
        self.settle();
        result
    }

    /// What was noted so far.
    pub fn notes(&self) -> &[(Instant, NodeIndex, Note)] {
        &self.notes
    }

    /// A digest of every byte and action so far: equal for equal runs.
    pub fn digest(&self) -> [u8; 20] {
        self.transcript.clone().finalize().into()
    }

    /// Lets time pass, and hands every delivery to `on_delivery` at the instant at which it is made.
    pub fn run(&mut self, time: Duration, mut on_delivery: impl FnMut(&mut Self, NodeIndex, Delivery)) {
        let until = self.now + time;
        let mut turns = 0;
        loop {
            self.settle();
            while let Some((node, delivery)) = self.deliveries.pop_front() {
                on_delivery(self, node, delivery);
            }
            let Some(next) = self.next_instant().filter(|&next| next <= until) else { break };
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < TURNS_AT_ONE_INSTANT, "the clock stands still at {}", self.now);
            self.now = self.now.max(next);
            self.arrive();
            self.tick();
        }
        self.now = until;
    }

    /// When something happens next.
    fn next_instant(&self) -> Option<Instant> {
        let deadlines = self.hosts.iter().filter(|host| !host.frozen).filter_map(|host| host.node.as_ref()?.deadline());
        let dials = self.next_dial().map(|(at, _)| at);
        let arrivals = (0..self.links.len()).flat_map(|link| [0, 1].map(|side| self.next_arrival(End { link, side })));
        deadlines.chain(dials).chain(arrivals.flatten()).min()
    }

    fn next_arrival(&self, end: End) -> Option<Instant> {
        let link = &self.links[end.link];
        let (host, connection) = link.ends[end.side]?;
        let host = &self.hosts[host.0];
        let pipe = &link.towards[end.side];
        let at = pipe.next_arrival()?;
        // What has arrived and is not wanted yet waits for the node's own timer.
        let wanted = at > self.now
            || pipe.has_ended(at)
            || host.node.as_ref().is_some_and(|node| node.wants_read(connection) > 0);
        (!host.frozen && wanted).then_some(at.max(self.now))
    }

    /// The next dial to be decided whose dialler is able to hear of it.
    fn next_dial(&self) -> Option<(Instant, usize)> {
        self.dials.iter().find(|(_, dial)| !self.hosts[dial.from.0].frozen).map(|(&key, _)| key)
    }

    /// Everything that is due at this instant reaches its node.
    fn arrive(&mut self) {
        while let Some(key) = self.next_dial().filter(|&(at, _)| at <= self.now) {
            if let Some(dial) = self.dials.remove(&key) {
                self.decide(&dial);
            }
        }
        for link in 0..self.links.len() {
            for side in 0..2 {
                self.read(End { link, side });
            }
        }
    }

    fn decide(&mut self, dial: &Dial) {
        let target = self.hosts.iter().position(|host| host.address == dial.to);
        if target.is_some_and(|target| self.hosts[target].silent) || self.hosts[dial.from.0].silent {
            return;
        }
        let accepting = target.filter(|&target| self.hosts[target].listening && self.hosts[target].node.is_some());
        let Some(target) = accepting else {
            self.tell(dial.from, Event::Closed(dial.connection, Ending::Refused));
            self.settle();
            return;
        };
        let link = self.links.len();
        self.links.push(Link {
            towards: [Pipe::default(), Pipe::default()],
            ends: [Some((dial.from, dial.connection)), None],
            breaks_after: self.next_breaks_after.take(),
        });
        self.hosts[dial.from.0].links.insert(dial.connection, End { link, side: 0 });
        if self.hosts[target].frozen {
            self.backlog.push((NodeIndex(target), link));
        } else {
            self.accept(NodeIndex(target), link);
        }
        self.tell(dial.from, Event::Connected(dial.connection));
        self.settle();
    }

    fn accept(&mut self, index: NodeIndex, link: usize) {
        let Some((dialler, _)) = self.links[link].ends[0] else { return };
        let (now, from) = (self.now, self.hosts[dialler.0].address);
        match self.node(index).accept(now, from) {
            Ok(connection) => {
                self.links[link].ends[1] = Some((index, connection));
                self.hosts[index.0].links.insert(connection, End { link, side: 1 });
                self.hosts[index.0].dirty.insert(connection);
            }
            Err(_) => self.cut_end(End { link, side: 1 }),
        }
    }

    /// The links that wait for a frozen node.
    fn take_backlog(&mut self, index: NodeIndex) -> Vec<usize> {
        let (its, others) = std::mem::take(&mut self.backlog).into_iter().partition(|&(node, _)| node == index);
        self.backlog = others;
        Vec::into_iter(its).map(|(_, link)| link).collect()
    }

    fn read(&mut self, end: End) {
        loop {
            let Some((host, connection)) = self.links[end.link].ends[end.side] else { return };
            if self.hosts[host.0].frozen {
                return;
            }
            let Some(node) = &self.hosts[host.0].node else { return };
            let most = node.wants_read(connection);
            let most = if most == 0 { 0 } else { self.network.chunks.draw(&mut self.choice, most) };
            let pipe = &mut self.links[end.link].towards[end.side];
            if let Some(bytes) = pipe.take(self.now, most) {
                self.tell(host, Event::Received(connection, &bytes));
                // There is room again: the writer may go on.
                if let Some((writer, its)) = self.links[end.link].ends[1 - end.side] {
                    self.hosts[writer.0].dirty.insert(its);
                }
                self.settle();
            } else if pipe.has_ended(self.now) {
                self.links[end.link].ends[end.side] = None;
                self.hosts[host.0].links.remove(&connection);
                self.tell(host, Event::Closed(connection, Ending::EndOfStream));
                self.settle();
                return;
            } else {
                return;
            }
        }
    }

    fn tick(&mut self) {
        for index in 0..self.hosts.len() {
            let due = |host: &Host| !host.frozen && host.node.as_ref().and_then(Node::deadline) <= Some(self.now);
            let host = &self.hosts[index];
            if host.node.as_ref().and_then(Node::deadline).is_some() && due(host) {
                self.tell(NodeIndex(index), Event::Tick);
            }
        }
    }

    fn tell(&mut self, index: NodeIndex, event: Event<'_>) {
        let now = self.now;
        if let Some(node) = &mut self.hosts[index.0].node {
            node.handle(now, event);
        }
    }

    /// Drains every node and moves every byte that can move at this instant.
    fn settle(&mut self) {
        let mut moved = true;
        while moved {
            moved = false;
            for index in 0..self.hosts.len() {
                moved |= self.drain(NodeIndex(index));
                moved |= self.write(NodeIndex(index));
            }
        }
        for (index, host) in self.hosts.iter().enumerate() {
            let deadline = host.node.as_ref().filter(|_| !host.frozen).and_then(Node::deadline);
            let explained = deadline.is_none_or(|deadline| deadline > Instant::ZERO);
            assert!(explained, "node {index} has a deadline before time began");
        }
    }

    fn drain(&mut self, index: NodeIndex) -> bool {
        let mut any = false;
        if self.hosts[index.0].frozen {
            return false;
        }
        while let Some(action) = self.hosts[index.0].node.as_mut().and_then(Node::poll) {
            any = true;
            self.transcript.update(format!("{} {} {action:?}\n", self.now, index.0));
            self.perform(index, action);
        }
        any
    }

    fn perform(&mut self, index: NodeIndex, action: Action) {
        match action {
            Action::Transport(TransportAction::Connect { connection, to }) => {
                self.connects.push((self.now, index, to));
                let at = self.now + self.network.latency * 2;
                self.dials.insert((at, self.next_dial), Dial { from: index, connection, to });
                self.next_dial += 1;
            }
            Action::Transport(TransportAction::Close { connection }) => {
                if let Some(end) = self.hosts[index.0].links.remove(&connection) {
                    self.cut_end(end);
                }
                self.dials.retain(|_, dial| (dial.from, dial.connection) != (index, connection));
            }
            Action::Transport(TransportAction::Changed { connection }) => {
                self.hosts[index.0].dirty.insert(connection);
            }
            Action::Service(ServiceAction::Lookup { lookup, peer }) => {
                self.lookups.push((self.now, index, peer));
                if self.directory_silent {
                    return;
                }
                let record = self.directory.get(&peer).cloned();
                if let Some(record) = record {
                    self.tell(index, Event::Found(lookup, record.as_bytes()));
                }
                self.tell(index, Event::LookupDone(lookup));
            }
            Action::Service(ServiceAction::Discover { discovery, .. }) => {
                self.tell(index, Event::Discovered(discovery, Vec::new()));
            }
            Action::Service(ServiceAction::Publish { record }) => {
                self.directory.insert(record.node_id(), record);
            }
            Action::Service(ServiceAction::Save { save, key, value }) => {
                match value {
                    Some(value) => self.hosts[index.0].stored.insert(key, value),
                    None => self.hosts[index.0].stored.remove(&key),
                };
                self.tell(index, Event::Saved(save));
            }
            Action::Deliver(delivery) => self.deliveries.push_back((index, delivery)),
            Action::Note(note) => self.notes.push((self.now, index, note)),
            Action::Stopped => {}
        }
    }

    /// Takes from a node what it wants written, as far as there is room under way.
    fn write(&mut self, index: NodeIndex) -> bool {
        let mut any = false;
        if self.hosts[index.0].frozen {
            return false;
        }
        while let Some(connection) = self.hosts[index.0].dirty.pop_first() {
            let Some(&End { link, side }) = self.hosts[index.0].links.get(&connection) else { continue };
            while let Some(node) = &self.hosts[index.0].node {
                let bytes = node.to_write(connection);
                let Link { towards, breaks_after, .. } = &mut self.links[link];
                let pipe = &mut towards[1 - side];
                let most = bytes.len().min(pipe.room(&self.network)).min(breaks_after.unwrap_or(usize::MAX));
                if most == 0 || pipe.end.is_some() {
                    break;
                }
                let count = self.network.chunks.draw(&mut self.choice, most);
                let bytes = bytes[..count].to_vec();
                self.transcript.update(format!("{} {} writes {} ", self.now, index.0, bytes.len()));
                self.transcript.update(&bytes);
                pipe.push(self.now, &self.network, &mut self.choice, &bytes);
                if let Some(left) = breaks_after {
                    *left -= count;
                    if *left == 0 {
                        for pipe in towards {
                            pipe.finish(self.now, &self.network, &mut self.choice);
                        }
                    }
                }
                self.tell(index, Event::Written(connection, count));
                any = true;
            }
        }
        any
    }

    /// One end is gone: the other one sees the end of the stream once it has read what is under way.
    fn cut_end(&mut self, end: End) {
        let link = &mut self.links[end.link];
        link.ends[end.side] = None;
        let silent = link.towards[1 - end.side].silent;
        link.towards[1 - end.side].finish(self.now, &self.network, &mut self.choice);
        link.towards[1 - end.side].silent = silent;
    }
}
