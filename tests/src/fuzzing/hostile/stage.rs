//! The node, its application and its world. What holds of a node is checked after everything that happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use egtp::{
    Action, Config, ConnectionId, Delivery, DiscoveryId, Ending, Event, Hint, Identity, Instant, Limits, LookupId,
    Node, NodeId, PeerRefusal, Query, QueryId, ReplyToken, ServiceAction, SignedRecord, Stored, Strategies, Throttle,
    TransportAction, UnixTime, internal,
};
use egtp_sim::beyond_limits;
use egtp_sim::second::packet::{framed, unframed};
use egtp_sim::second::record;

use super::super::edits::{Edit, edited};
use super::super::rest::{assert_clock_moves, assert_nothing_is_left};
use super::peer::{Peer, TYPES, Word, identity};
use crate::bench::address;
use crate::scene::{long_body, type_name};

/// More deadlines than are waited for at a time: throttled connections have one every few milliseconds.
const MOST_DEADLINES: usize = 2000;

/// More than ever waits to be read.
const MOST_UNREAD: usize = 1 << 20;

pub(super) struct Stage {
    node: Node,
    me: NodeId,
    now: Instant,
    limits: Limits,
    lines: Vec<Line>,
    peer: Peer,
    /// The node's own queries and when they have ended at the latest.
    pending: BTreeMap<QueryId, Instant>,
    tokens: Vec<ReplyToken>,
    lookups: VecDeque<(LookupId, NodeId)>,
    discoveries: VecDeque<DiscoveryId>,
    served: BTreeSet<&'static str>,
    has_stopped: bool,
    /// How many bytes the node is given at a time.
    pub(super) chunk: usize,
    /// How many bytes are taken of what it writes each time.
    pub(super) takes: usize,
}

/// One connection.
struct Line {
    id: ConnectionId,
    dialling: bool,
    over: bool,
    /// What was sent to the node and not read.
    unread: Vec<u8>,
    /// What the node wrote that is no whole packet yet.
    written: Vec<u8>,
    /// Whether what the node has read may end within a packet.
    torn: bool,
}

impl Line {
    fn new(id: ConnectionId, dialling: bool) -> Self {
        Self { id, dialling, over: false, unread: Vec::new(), written: Vec::new(), torn: false }
    }

    fn is_open(&self) -> bool {
        !self.dialling && !self.over
    }
}

/// The longest messages, byte by byte, take fewer turns.
const MOST_TURNS: usize = 1_000_000;

/// The body that a number stands for.
pub(super) fn body(number: u8) -> Vec<u8> {
    long_body([0, 1, 10, 300, 2500, 17_000, 40_000, 70_000][usize::from(number % 8)])
}

impl Stage {
    pub(super) fn new(config: Config) -> Self {
        let limits = config.limits.clone();
        let (own, now) = (Identity::from_seed(&[1; 32]), Instant::from_micros(1_000_000));
        let (key, me) = (*own.public_key().as_bytes(), own.node_id());
        let config = config.check().expect("little room is room");
        let mut node = Node::new(config, own, [2; 32], Stored::default(), now, UnixTime::from_secs(1));
        node.serve(type_name(TYPES[0])).expect("there is room for a type");
        let mut stage = Self {
            node,
            me,
            now,
            limits,
            lines: Vec::new(),
            peer: Peer::new(key, *me.as_bytes()),
            pending: BTreeMap::new(),
            tokens: Vec::new(),
            lookups: VecDeque::new(),
            discoveries: VecDeque::new(),
            served: BTreeSet::from([TYPES[0]]),
            has_stopped: false,
            chunk: usize::MAX,
            takes: usize::MAX,
        };
        stage.learns(1);
        stage
    }

    /// Whether the peer and the node have shaken hands.
    pub(super) fn met(&self) -> bool {
        !self.peer.sessions.is_empty()
    }

    /// Lets bytes flow both ways until nobody has anything to say.
    pub(super) fn settle(&mut self) {
        self.drain();
        for _ in 0..MOST_TURNS {
            let moved = (0..self.lines.len()).fold(false, |moved, line| self.read(line) | self.write(line) | moved);
            if !moved {
                return;
            }
        }
        panic!("bytes flow for ever: {:?}", self.node);
    }

    /// Everybody hangs up, and all the time passes that the node wants.
    pub(super) fn end(&mut self) {
        for line in 0..self.lines.len() {
            self.hang_up(line);
        }
        while let Some(deadline) = self.node.deadline() {
            self.now = deadline;
            self.handle(Event::Tick);
            while self.lines.iter().any(|line| line.dialling && !line.over) {
                self.dial_ends(false);
            }
        }
        assert_nothing_is_left(&self.node);
        assert!(self.pending.is_empty(), "a query has no verdict: {:?}", self.pending);
        assert!(self.tokens.is_empty(), "a query waits for an answer that nobody awaits: {:?}", self.tokens);
    }

    fn handle(&mut self, event: Event<'_>) {
        self.node.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.node.poll() {
            assert!(!self.has_stopped, "something comes after the end: {action:?}");
            match action {
                Action::Transport(TransportAction::Connect { connection, .. }) => {
                    self.lines.push(Line::new(connection, true));
                }
                Action::Transport(TransportAction::Close { connection }) => {
                    let line = self.lines.iter_mut().find(|line| line.id == connection && !line.over);
                    line.expect("only what is open is closed").over = true;
                }
                Action::Service(ServiceAction::Save { save, .. }) => self.node.handle(self.now, Event::Saved(save)),
                Action::Service(ServiceAction::Lookup { lookup, peer }) => self.lookups.push_back((lookup, peer)),
                Action::Service(ServiceAction::Discover { discovery, .. }) => self.discoveries.push_back(discovery),
                Action::Deliver(delivery) => self.told(delivery),
                Action::Stopped => self.has_stopped = true,
                Action::Transport(TransportAction::Changed { .. })
                | Action::Service(ServiceAction::Publish { .. })
                | Action::Note(_) => {}
            }
        }
        assert_clock_moves(&self.node, self.now);
        self.assert_within_limits();
        let late = self.pending.iter().find(|&(_, &deadline)| deadline <= self.now);
        assert!(late.is_none(), "at {} a query has no verdict yet: {late:?}", self.now);
    }

    fn told(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Query { from, type_name, token, .. } => {
                self.assert_known(from);
                assert!(self.served.contains(type_name.as_str()), "{type_name} is not served");
                assert!(self.tokens.iter().all(|other| *other != token), "the same query twice");
                self.tokens.push(token);
            }
            Delivery::Notice { from, type_name, .. } => {
                self.assert_known(from);
                assert!(self.served.contains(type_name.as_str()), "{type_name} is not served");
            }
            Delivery::Withdrawn(incoming) => {
                let at = self.tokens.iter().position(|token| token.incoming() == incoming);
                self.tokens.swap_remove(at.expect("only what waits is withdrawn"));
            }
            Delivery::SoftTimeout { query, .. } => assert!(self.pending.contains_key(&query), "it has ended already"),
            Delivery::Verdict { query, verdict, .. } => {
                let deadline = self.pending.remove(&query);
                assert!(deadline >= Some(self.now), "a verdict too many or too late: {query:?} {verdict:?}");
            }
            Delivery::Discovered(discovery, _) => {
                let at = self.discoveries.iter().position(|&other| other == discovery);
                self.discoveries.remove(at.expect("one answer to each question"));
            }
            _ => {}
        }
    }

    fn assert_known(&self, from: NodeId) {
        let known = [false, true].map(|another| NodeId::from_bytes(identity(another).node_id()));
        assert!(from == self.me || known.contains(&from), "nobody is called {from}");
    }

    fn assert_within_limits(&self) {
        let usage = self.node.usage();
        assert_eq!(beyond_limits(&usage, &self.limits), Vec::<String>::new());
        assert_eq!(usage.undelivered_bytes, 0, "everything was polled");
    }
}

/// What the peer does.
impl Stage {
    pub(super) fn connects(&mut self) {
        let before = internal::digest(&self.node);
        match self.node.accept(self.now, address()) {
            Ok(id) => self.lines.push(Line::new(id, false)),
            // Somebody may have been asked to make room.
            Err(egtp::Refusal::TooManyConnections) => {}
            Err(_) => self.assert_unchanged(before),
        }
    }

    pub(super) fn greets(&mut self, on: u8, as_another: bool, generation: u8, asks: u8) {
        let packet = self.peer.greeting(as_another, generation, asks);
        self.send(on, &framed(&packet));
    }

    pub(super) fn welcomes(&mut self, generation: u8, held: u8, room: u8) {
        let Some(packet) = self.peer.welcome(generation, held, room) else { return };
        // It goes where the node has spoken last.
        let last = self.lines.iter().filter(|line| line.is_open()).count().saturating_sub(1);
        self.send(u8::try_from(last).unwrap_or(0), &framed(&packet));
    }

    pub(super) fn says(&mut self, on: u8, session: u8, words: &[Word]) {
        if let Some(packet) = self.peer.record(session, words) {
            self.send(on, &framed(&packet));
        }
    }

    pub(super) fn babbles(&mut self, on: u8, session: u8, text: &[u8]) {
        if let Some(packet) = self.peer.seal(session, text) {
            self.send(on, &framed(&packet));
        }
    }

    pub(super) fn sends(&mut self, on: u8, bytes: &[u8]) {
        if let Some(line) = self.line(on) {
            self.lines[line].torn = true;
        }
        self.send(on, bytes);
    }

    pub(super) fn repeats(&mut self, on: u8, back: u8) {
        let Some(packet) = self.peer.earlier(back) else { return };
        self.send(on, &framed(&packet));
        self.settle();
        self.send_worthless(on, &packet);
    }

    pub(super) fn damages(&mut self, on: u8, back: u8, edits: &[Edit]) {
        let Some(genuine) = self.peer.earlier(back) else { return };
        // Version and kind stay, so that it is taken for a record.
        let packet = [&genuine[..2], &edited(&genuine[2..], edits)].concat();
        if !self.peer.sealed.contains(&packet) {
            self.send_worthless(on, &packet);
        }
    }

    pub(super) fn hangs(&mut self, on: u8) {
        if let Some(line) = self.line(on) {
            self.hang_up(line);
        }
    }

    fn hang_up(&mut self, line: usize) {
        let line = &mut self.lines[line];
        if !line.over {
            line.over = true;
            let id = line.id;
            self.handle(Event::Closed(id, Ending::Broken));
        }
    }

    /// An open connection.
    fn line(&self, on: u8) -> Option<usize> {
        let open: Vec<usize> = (0..self.lines.len()).filter(|&line| self.lines[line].is_open()).collect();
        open.get(usize::from(on).checked_rem(open.len())?).copied()
    }

    fn send(&mut self, on: u8, bytes: &[u8]) {
        if let Some(line) = self.line(on)
            && self.lines[line].unread.len() < MOST_UNREAD
        {
            self.lines[line].unread.extend(bytes);
        }
    }

    /// Sends a record that the node cannot believe: it may end its connection, but leaves no other trace.
    fn send_worthless(&mut self, on: u8, packet: &[u8]) {
        let Some(line) = self.line(on) else { return };
        let (line, bytes) = (&self.lines[line], framed(packet));
        if line.torn || !line.unread.is_empty() || self.node.wants_read(line.id) < bytes.len() {
            return;
        }
        let id = line.id;
        let before = internal::digest(&self.node);
        self.node.handle(self.now, Event::Received(id, &bytes));
        let after = internal::digest(&self.node);
        self.drain();
        if self.lines.iter().any(|line| line.id == id && !line.over) {
            assert_eq!(after, before, "a rejected record left a trace");
        }
    }

    /// Gives the node what it wants to read.
    fn read(&mut self, line: usize) -> bool {
        let chunk = self.chunk;
        let line = &mut self.lines[line];
        let most = self.node.wants_read(line.id).min(chunk).min(line.unread.len());
        if most == 0 || !line.is_open() {
            return false;
        }
        let (id, bytes) = (line.id, line.unread.drain(..most).collect::<Vec<u8>>());
        self.handle(Event::Received(id, &bytes));
        true
    }

    /// Takes what the node wants written.
    fn write(&mut self, line: usize) -> bool {
        let line = &mut self.lines[line];
        let waiting = self.node.to_write(line.id);
        let taken = waiting[..waiting.len().min(self.takes)].to_vec();
        if taken.is_empty() || !line.is_open() {
            return false;
        }
        line.written.extend(&taken);
        for packet in unframed(&mut line.written) {
            self.peer.hears(&packet);
        }
        let id = line.id;
        self.handle(Event::Written(id, taken.len()));
        // A socket that takes little does so once, or it would take all.
        self.takes == usize::MAX
    }
}

/// What the world does.
impl Stage {
    pub(super) fn dial_ends(&mut self, well: bool) {
        let Some(line) = self.lines.iter_mut().find(|line| line.dialling && !line.over) else { return };
        line.dialling = false;
        line.over = !well;
        let id = line.id;
        self.handle(if well { Event::Connected(id) } else { Event::Closed(id, Ending::Refused) });
    }

    pub(super) fn waits(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..MOST_DEADLINES {
            let Some(deadline) = self.node.deadline().filter(|&deadline| deadline <= until) else {
                self.now = until;
                self.handle(Event::Tick);
                return;
            };
            self.now = deadline;
            self.handle(Event::Tick);
            self.settle();
        }
    }

    pub(super) fn found(&mut self, sequence: u8, edits: &[Edit]) {
        let Some(&(lookup, _)) = self.lookups.front() else { return };
        let value = record::value(&[address()], &[]);
        let record = edited(&record::sign(&identity(false), u64::from(sequence), &value), edits);
        self.handle(Event::Found(lookup, &record));
    }

    pub(super) fn lookup_done(&mut self) {
        if let Some((lookup, _)) = self.lookups.pop_front() {
            self.handle(Event::LookupDone(lookup));
        }
    }

    pub(super) fn discovered(&mut self, count: u8) {
        if let Some(&discovery) = self.discoveries.front() {
            let relays = (0..count).map(|number| NodeId::from_bytes([number; 20])).collect();
            self.handle(Event::Discovered(discovery, relays));
        }
    }
}

/// What the application wants.
impl Stage {
    pub(super) fn asks(&mut self, whom: u8, what: u8, length: u8, hard: Duration, soft: bool, hint: Hint) {
        let mut query = Query::new(type_name(kind(what)), body(length)).hard_timeout(hard).hint(hint);
        if soft {
            query = query.soft_timeout(hard / 2);
        }
        let before = internal::digest(&self.node);
        match self.node.query(self.now, self.named(whom), query) {
            Ok(query) => {
                self.pending.insert(query, self.now + hard);
            }
            Err(_) => self.assert_unchanged(before),
        }
    }

    pub(super) fn notifies(&mut self, whom: u8, what: u8, length: u8) {
        let before = internal::digest(&self.node);
        if self.node.notify(self.now, self.named(whom), type_name(kind(what)), body(length)).is_err() {
            self.assert_unchanged(before);
        }
    }

    pub(super) fn answers(&mut self, which: u8, length: u8) {
        if let Some(token) = self.token(which) {
            let answered = self.node.reply(self.now, token, body(length));
            assert!(answered.is_ok(), "its asker waits: {answered:?}");
        }
    }

    pub(super) fn refuses(&mut self, which: u8, why: PeerRefusal) {
        if let Some(token) = self.token(which) {
            assert_eq!(self.node.refuse(self.now, token, why), Ok(()), "its asker waits");
        }
    }

    /// One that has ended can be cancelled no more.
    pub(super) fn cancels(&mut self, which: u8) {
        let query = self.pending.keys().nth(usize::from(which)).copied();
        if let Some(query) = query {
            assert_eq!(self.node.cancel(self.now, query), Ok(()), "it has not ended");
            self.drain();
            let before = internal::digest(&self.node);
            assert!(self.node.cancel(self.now, query).is_err(), "it has ended");
            self.assert_unchanged(before);
        }
    }

    pub(super) fn serves(&mut self, what: u8) {
        let before = internal::digest(&self.node);
        if self.node.serve(type_name(kind(what))).is_ok() {
            self.served.insert(kind(what));
        } else {
            self.assert_unchanged(before);
        }
    }

    pub(super) fn unserves(&mut self, what: u8) {
        self.node.unserve(&type_name(kind(what)));
        self.served.remove(kind(what));
    }

    pub(super) fn throttles(&mut self, throttle: Throttle) {
        self.node.set_throttle(self.now, throttle);
    }

    pub(super) fn announces(&mut self, count: u8) {
        let addresses = (0..u16::from(count % 10)).map(|port| ([10, 0, 0, 1], port + 1).into()).collect();
        let before = internal::digest(&self.node);
        if self.node.announce(self.now, Strategies { addresses, relays: Vec::new() }).is_err() {
            self.assert_unchanged(before);
        }
    }

    pub(super) fn learns(&mut self, sequence: u8) {
        let record = record::sign(&identity(false), u64::from(sequence), &record::value(&[address()], &[]));
        let record = SignedRecord::from_bytes(&record).expect("a record that the protocol allows");
        let before = internal::digest(&self.node);
        if self.node.learn(self.now, record).is_err() {
            self.assert_unchanged(before);
        }
    }

    pub(super) fn discovers(&mut self) {
        let before = internal::digest(&self.node);
        if self.node.discover(self.now, 3).is_err() {
            self.assert_unchanged(before);
        }
    }

    pub(super) fn shuts_down(&mut self, within: Duration) {
        self.node.shut_down(self.now, within);
    }

    fn token(&mut self, which: u8) -> Option<ReplyToken> {
        let at = usize::from(which).checked_rem(self.tokens.len())?;
        Some(self.tokens.swap_remove(at))
    }

    /// The peer under its two names, the node itself, or somebody whom nobody knows.
    fn named(&self, whom: u8) -> NodeId {
        match whom % 8 {
            0..=4 => NodeId::from_bytes(identity(false).node_id()),
            5 => NodeId::from_bytes(identity(true).node_id()),
            6 => self.me,
            _ => NodeId::from_bytes([whom; 20]),
        }
    }

    fn assert_unchanged(&self, before: [u8; 20]) {
        assert_eq!(internal::digest(&self.node), before, "a refused command left a trace");
    }
}

fn kind(what: u8) -> &'static str {
    TYPES[usize::from(what) % TYPES.len()]
}
