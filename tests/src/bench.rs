//! Nodes driven by hand, and somebody between two of them who sees, mangles and makes up bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use egtp::{
    Action, CheckedConfig, ConnectionId, Delivery, Ending, Event, Identity, Instant, Node, Query, QueryId,
    ServiceAction, SignedRecord, Stored, Strategies, TransportAction, UnixTime, Verdict,
};

/// How often bytes are carried while time passes.
const STEP: Duration = Duration::from_millis(5);

/// A node without a driver. Whatever it wants saved is; its lookups find nothing.
#[derive(Debug)]
pub struct Party {
    /// The node.
    pub node: Node,
    identity: Identity,
    /// What the application was told and has not looked at.
    pub deliveries: Vec<Delivery>,
    /// The connections that it has asked for.
    pub dialled: Vec<ConnectionId>,
    /// The connections that it has closed.
    pub closed: Vec<ConnectionId>,
}

impl Party {
    /// A node whose identity and randomness follow from a number.
    pub fn new(number: u8) -> Self {
        Self::with_config(number, CheckedConfig::default())
    }

    /// A node whose identity and randomness follow from a number.
    pub fn with_config(number: u8, config: CheckedConfig) -> Self {
        Self::born(number, number, config)
    }

    /// The same node started anew, with other randomness and nothing stored.
    pub fn reborn(number: u8, randomness: u8) -> Self {
        Self::born(number, randomness, CheckedConfig::default())
    }

    fn born(number: u8, randomness: u8, config: CheckedConfig) -> Self {
        let identity = Identity::from_seed(&[number; 32]);
        let (stored, unix) = (Stored::default(), UnixTime::from_secs(0));
        let node = Node::new(config, identity.clone(), [randomness; 32], stored, Instant::ZERO, unix);
        Self { node, identity, deliveries: Vec::new(), dialled: Vec::new(), closed: Vec::new() }
    }

    /// Its record, which says that it is at [`address`].
    pub fn record(&self) -> SignedRecord {
        let strategies = Strategies { addresses: vec![address()], relays: Vec::new() };
        SignedRecord::sign(&self.identity, 1, strategies).expect("one address fits a record")
    }

    /// Takes every action.
    pub fn settle(&mut self, now: Instant) {
        while let Some(action) = self.node.poll() {
            match action {
                Action::Transport(TransportAction::Connect { connection, .. }) => self.dialled.push(connection),
                Action::Transport(TransportAction::Close { connection }) => self.closed.push(connection),
                Action::Transport(TransportAction::Changed { .. }) => {}
                Action::Service(ServiceAction::Save { save, .. }) => self.node.handle(now, Event::Saved(save)),
                Action::Service(ServiceAction::Lookup { lookup, .. }) => {
                    self.node.handle(now, Event::LookupDone(lookup));
                }
                Action::Service(ServiceAction::Discover { .. } | ServiceAction::Publish { .. }) | Action::Note(_) => {}
                Action::Deliver(delivery) => self.deliveries.push(delivery),
                Action::Stopped => {}
            }
        }
    }

    /// Something happens to it.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        self.node.handle(now, event);
        self.settle(now);
    }

    /// Bytes reach it.
    pub fn receives(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) {
        self.handle(now, Event::Received(connection, bytes));
    }

    /// Takes everything that it wants written to a connection.
    pub fn writes(&mut self, now: Instant, connection: ConnectionId) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            let bytes = self.node.to_write(connection).to_vec();
            if bytes.is_empty() {
                return written;
            }
            self.handle(now, Event::Written(connection, bytes.len()));
            written.extend(bytes);
        }
    }

    /// Somebody connects to it.
    ///
    /// # Panics
    ///
    /// If it refuses.
    pub fn accepts(&mut self, now: Instant) -> ConnectionId {
        let connection = self.node.accept(now, address()).expect("there is room for a connection");
        self.settle(now);
        connection
    }

    /// Answers every query that it was asked, with the same body; says how many there were.
    pub fn answers(&mut self, now: Instant) -> usize {
        let mut answered = 0;
        for delivery in std::mem::take(&mut self.deliveries) {
            if let Delivery::Query { token, body, .. } = delivery {
                self.node.reply(now, token, body).expect("the asker waits");
                answered += 1;
            } else {
                self.deliveries.push(delivery);
            }
        }
        self.settle(now);
        answered
    }

    /// How many queries it was asked and has not answered.
    pub fn asked(&self) -> usize {
        self.deliveries.iter().filter(|delivery| matches!(delivery, Delivery::Query { .. })).count()
    }

    /// The verdicts that it was told.
    pub fn verdicts(&self) -> Vec<&Verdict> {
        let verdicts = self.deliveries.iter().filter_map(|delivery| match delivery {
            Delivery::Verdict { verdict, .. } => Some(verdict),
            _ => None,
        });
        verdicts.collect()
    }
}

/// Where everybody seems to be.
pub fn address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 1, 1)), 4000)
}

/// Cuts a stream into packets, each with its length before it.
pub fn packets(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some(prefix) = stream.first_chunk::<4>() {
        let length = 4 + usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX - 4);
        let (packet, rest) = stream.split_at(length.min(stream.len()));
        packets.push(packet.to_vec());
        stream = rest;
    }
    packets
}

/// A packet with its length before it.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let length = u32::try_from(packet.len()).expect("a test's packet is short");
    [&length.to_be_bytes()[..], packet].concat()
}

/// Which of two nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that dials.
    Left,
    /// The one that is dialled.
    Right,
}

/// Two nodes with a connection between them, and somebody on the wire.
#[derive(Debug)]
pub struct Between {
    /// What time it is.
    pub now: Instant,
    /// The one that dials.
    pub left: Party,
    /// The one that is dialled; it serves `echo`.
    pub right: Party,
    /// The connection as the one names it.
    pub at_left: ConnectionId,
    /// And as the other does.
    pub at_right: ConnectionId,
    /// Every packet that went over the wire.
    pub seen: Vec<(Side, Vec<u8>)>,
}

impl Between {
    /// The left one has asked the right one something, and its connection has just opened. Nothing has gone over it.
    ///
    /// # Panics
    ///
    /// If the left one does not dial.
    pub fn asking(mut left: Party, mut right: Party, query: Query) -> Self {
        let now = Instant::from_micros(1_000_000);
        right.node.serve(crate::scene::type_name(crate::scene::ECHO)).expect("there is room for a type");
        left.node.learn(now, right.record()).expect("the record is news");
        left.node.query(now, right.node.id(), query).expect("nothing speaks against the query");
        left.settle(now);
        let at_left = left.dialled.pop().expect("a query makes a node dial");
        let at_right = right.accepts(now);
        left.handle(now, Event::Connected(at_left));
        Self { now, left, right, at_left, at_right, seen: Vec::new() }
    }

    /// Two nodes that have had a conversation: the left one has asked, and has its reply.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn acquainted() -> Self {
        let query = crate::scene::query(crate::scene::ECHO, b"hello");
        let mut between = Self::asking(Party::new(1), Party::new(2), query);
        between.converse();
        assert_eq!(between.left.verdicts().len(), 1, "one query has one verdict");
        between
    }

    /// Asks something more.
    ///
    /// # Panics
    ///
    /// If that is refused.
    pub fn ask(&mut self, query: Query) -> QueryId {
        let to = self.right.node.id();
        let asked = self.left.node.query(self.now, to, query).expect("nothing speaks against the query");
        self.left.settle(self.now);
        asked
    }

    /// Lets time pass for both.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        for party in [&mut self.left, &mut self.right] {
            while let Some(deadline) = party.node.deadline().filter(|&deadline| deadline <= until) {
                party.handle(deadline, Event::Tick);
            }
        }
        self.now = until;
    }

    /// Lets time pass while everything is carried both ways, so that acknowledgements go too.
    pub fn go_on(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.carry();
            self.wait(STEP.min(until.saturating_since(self.now)));
        }
        self.carry();
    }

    /// The connection ends, and both sides see it.
    pub fn hang_up(&mut self) {
        self.left.handle(self.now, Event::Closed(self.at_left, Ending::Broken));
        self.right.handle(self.now, Event::Closed(self.at_right, Ending::Broken));
    }

    /// The packets that one side wants written now.
    pub fn written_by(&mut self, side: Side) -> Vec<Vec<u8>> {
        let (party, connection) = match side {
            Side::Left => (&mut self.left, self.at_left),
            Side::Right => (&mut self.right, self.at_right),
        };
        packets(&party.writes(self.now, connection))
    }

    /// Bytes reach the other side.
    pub fn pass(&mut self, from: Side, bytes: &[u8]) {
        match from {
            Side::Left => self.right.receives(self.now, self.at_right, bytes),
            Side::Right => self.left.receives(self.now, self.at_left, bytes),
        }
    }

    /// Carries everything both ways until nobody has anything to say; the right one answers nothing.
    pub fn carry(&mut self) {
        self.carry_with(|_, packet| vec![packet]);
    }

    /// Carries everything both ways; the right one answers.
    pub fn converse(&mut self) {
        self.carry();
        self.right.answers(self.now);
        self.carry();
    }

    /// Carries everything both ways, with what `meddle` makes of each packet in its place.
    pub fn carry_with(&mut self, mut meddle: impl FnMut(Side, Vec<u8>) -> Vec<Vec<u8>>) {
        loop {
            let mut quiet = true;
            for side in [Side::Left, Side::Right] {
                for packet in self.written_by(side) {
                    quiet = false;
                    self.seen.push((side, packet.clone()));
                    for bytes in meddle(side, packet) {
                        self.pass(side, &bytes);
                    }
                }
            }
            if quiet {
                return;
            }
        }
    }
}
