//! The two ends of a conversation in memory: a real node, and the second implementation as its peer.
#![allow(clippy::unwrap_used, reason = "it is a part of a test")]

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use egtp::{
    Action, CheckedConfig, ConnectionId, Delivery, Event, Failure, Identity, Instant, Node, NodeId, Query, QueryId,
    SignedRecord, Stored, TransportAction, TypeName, UnixTime, Verdict,
};

use egtp_sim::second::frame::Frame;
use egtp_sim::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use egtp_sim::second::identity::Identity as SecondIdentity;
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed, unframed};
use egtp_sim::second::record;
use egtp_sim::second::session::Session;

pub(crate) const UNTIL: u32 = 30_060;
pub(crate) const ISID: [u8; 8] = *b"initiate";
pub(crate) const RSID: [u8; 8] = *b"responds";

/// A node with everything that it has asked for.
pub(crate) struct Real {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) connects: Vec<ConnectionId>,
    pub(crate) closed: BTreeSet<ConnectionId>,
    /// What a connection wrote that is no whole packet yet.
    pub(crate) partial: Vec<u8>,
}

impl Real {
    pub(crate) fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let (config, identity) = (CheckedConfig::default(), Identity::from_seed(&[1; 32]));
        let mut node = Node::new(config, identity, [2; 32], Stored::default(), now, UnixTime::from_secs(0));
        node.serve(type_name()).unwrap();
        let (deliveries, connects, closed, partial) = (Vec::new(), Vec::new(), BTreeSet::new(), Vec::new());
        Self { node, now, deliveries, connects, closed, partial }
    }

    pub(crate) fn id(&self) -> [u8; 20] {
        *self.node.id().as_bytes()
    }

    pub(crate) fn key(&self) -> [u8; 32] {
        *Identity::from_seed(&[1; 32]).public_key().as_bytes()
    }

    pub(crate) fn accept(&mut self) -> ConnectionId {
        self.node.accept(self.now, "192.0.2.9:9".parse().unwrap()).unwrap()
    }

    pub(crate) fn receive(&mut self, on: ConnectionId, packet: &[u8]) {
        self.receive_bytes(on, &framed(packet));
    }

    pub(crate) fn receive_bytes(&mut self, on: ConnectionId, bytes: &[u8]) {
        self.node.handle(self.now, Event::Received(on, bytes));
        self.drain();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.node.handle(self.now, Event::Tick);
        self.drain();
    }

    pub(crate) fn drain(&mut self) {
        while let Some(action) = self.node.poll() {
            match action {
                Action::Deliver(delivery) => self.deliveries.push(delivery),
                Action::Transport(TransportAction::Connect { connection, .. }) => self.connects.push(connection),
                Action::Transport(TransportAction::Close { connection }) => {
                    self.closed.insert(connection);
                }
                _ => {}
            }
        }
    }

    /// Every packet that the node wants written to a connection.
    pub(crate) fn packets(&mut self, on: ConnectionId) -> Vec<Packet> {
        loop {
            self.drain();
            let bytes = self.node.to_write(on).to_vec();
            if bytes.is_empty() {
                break;
            }
            self.node.handle(self.now, Event::Written(on, bytes.len()));
            self.partial.extend(bytes);
        }
        let packets = unframed(&mut self.partial);
        assert!(self.partial.is_empty(), "half a packet was written");
        packets.iter().map(|packet| Packet::parse(packet).expect("a packet of a known kind and length")).collect()
    }

    /// The first packet that the node wants written, and no byte more.
    pub(crate) fn next_packet(&mut self, on: ConnectionId) -> Packet {
        let bytes = self.node.to_write(on);
        let length: [u8; 4] = bytes[..4].try_into().unwrap();
        let packet = bytes[4..][..usize::try_from(u32::from_be_bytes(length)).unwrap()].to_vec();
        self.node.handle(self.now, Event::Written(on, 4 + packet.len()));
        self.drain();
        Packet::parse(&packet).expect("a packet of a known kind and length")
    }

    /// The node dials, at once or after a pause, and has its connection.
    pub(crate) fn dialled_again(&mut self) -> ConnectionId {
        for _ in 0..10 {
            if let Some(on) = self.connects.pop() {
                self.node.handle(self.now, Event::Connected(on));
                return on;
            }
            self.wait(Duration::from_millis(100));
        }
        panic!("the node does not dial again");
    }

    /// The only packet that it wants written.
    pub(crate) fn packet(&mut self, on: ConnectionId) -> Packet {
        let mut packets = self.packets(on);
        assert_eq!(packets.len(), 1, "{packets:?}");
        packets.remove(0)
    }

    pub(crate) fn delivered(&mut self) -> Delivery {
        assert_eq!(self.deliveries.len(), 1, "{:?}", self.deliveries);
        self.deliveries.remove(0)
    }

    pub(crate) fn verdict(&mut self) -> (QueryId, Verdict) {
        match self.delivered() {
            Delivery::Verdict { query, verdict, .. } => (query, verdict),
            other => panic!("no verdict: {other:?}"),
        }
    }

    pub(crate) fn failure(&mut self) -> Failure {
        match self.verdict() {
            (_, Verdict::Failed(failure)) => failure,
            (_, Verdict::Reply(reply)) => panic!("no failure: {reply:?}"),
        }
    }
}

/// The second implementation at its end of one session with a node.
pub(crate) struct Second {
    pub(crate) me: SecondIdentity,
    pub(crate) session: Session,
    pub(crate) on: ConnectionId,
}

impl Second {
    /// Shakes hands over a new connection, as the initiator.
    pub(crate) fn meets(real: &mut Real) -> Self {
        let on = real.accept();
        let (second, welcome) = Self::meets_over(real, on, 3, &[]);
        assert_eq!((welcome.generation, welcome.held, welcome.max_outstanding), (1, 0, 1024));
        second
    }

    pub(crate) fn meets_over(
        real: &mut Real,
        on: ConnectionId,
        ephemeral: u8,
        asked: &[[u8; 8]],
    ) -> (Self, WelcomePayload) {
        let (initiator, hello) = Self::hello(real, ephemeral, asked);
        real.receive(on, &hello);
        let Packet::Welcome { isid: ISID, noise } = real.packet(on) else { panic!("no answer to the HELLO") };
        let (keys, welcome) = initiator.finish(&noise).expect("the answer to this HELLO");
        (Self { me: stranger(), session: Session::of_initiator(&keys, welcome.rsid), on }, welcome)
    }

    pub(crate) fn hello(real: &Real, ephemeral: u8, asked: &[[u8; 8]]) -> (Initiator, Vec<u8>) {
        let me = stranger();
        let payload = HelloPayload { key: me.public_key(), generation: 0, asked: asked.to_vec() }.encode();
        let (initiator, noise) = Initiator::start(&me, &real.key(), ISID, [ephemeral; 32], &payload).unwrap();
        (initiator, Packet::Hello { isid: ISID, cookie: [0; 16], noise }.encode())
    }

    /// Lets a node ask, and shakes hands over the connection that it opens, as the responder.
    pub(crate) fn is_asked(real: &mut Real, body: &[u8]) -> (Self, QueryId) {
        let (on, query) = Self::is_dialled(real, body);
        (Self::welcomes(real, on, 0, 1, 0).0, query)
    }

    /// Lets a node ask, and accepts the connection that it opens.
    pub(crate) fn is_dialled(real: &mut Real, body: &[u8]) -> (ConnectionId, QueryId) {
        let record = record::sign(&stranger(), 1, &record::value(&[address()], &[]));
        real.node.learn(real.now, SignedRecord::from_bytes(&record).unwrap()).unwrap();
        let query = ask(real, body);
        real.drain();
        let on = real.connects.pop().expect("the node dials");
        real.node.handle(real.now, Event::Connected(on));
        (on, query)
    }

    pub(crate) fn welcomes(
        real: &mut Real,
        on: ConnectionId,
        seed: u8,
        generation: u32,
        held: u8,
    ) -> (Self, HelloPayload) {
        let hello = real.packet(on);
        Self::answers(real, on, &hello, seed, generation, held)
    }

    /// Answers a HELLO.
    pub(crate) fn answers(
        real: &mut Real,
        on: ConnectionId,
        hello: &Packet,
        seed: u8,
        generation: u32,
        held: u8,
    ) -> (Self, HelloPayload) {
        let Packet::Hello { isid, cookie: [0, ..], noise } = hello else { panic!("no HELLO: {hello:?}") };
        let responder = Responder::open(&stranger(), *isid, noise).expect("a HELLO for this node");
        let hello = responder.payload.clone();
        assert_eq!(hello.key, real.key());
        let mut rsid = RSID;
        rsid[7] = seed;
        let answer = WelcomePayload { rsid, generation, held, max_outstanding: 100 };
        let (noise, keys) = responder.answer([0x40 + seed; 32], &answer.encode()).unwrap();
        real.receive(on, &Packet::Welcome { isid: *isid, noise }.encode());
        (Self { me: stranger(), session: Session::of_responder(&keys, *isid), on }, hello)
    }

    pub(crate) fn id(&self) -> [u8; 20] {
        self.me.node_id()
    }

    /// Sends a record of these frames; gives its counter.
    pub(crate) fn say(&mut self, real: &mut Real, frames: &[Frame]) -> u64 {
        self.say_bytes(real, &Frame::encode_all(frames))
    }

    pub(crate) fn say_bytes(&mut self, real: &mut Real, plaintext: &[u8]) -> u64 {
        let packet = self.session.seal(plaintext);
        real.receive(self.on, &packet);
        self.session.counter - 1
    }

    /// Acknowledges everything that it has heard.
    pub(crate) fn acknowledge(&mut self, real: &mut Real) {
        if let Some(ack) = self.session.ack() {
            self.say(real, &[ack]);
        }
    }

    /// Every record that the node has for it.
    pub(crate) fn hear_records(&mut self, real: &mut Real) -> Vec<Vec<Frame>> {
        let packets = real.packets(self.on).into_iter();
        let records = packets.map(|packet| {
            let Packet::Sealed { packet, .. } = packet else { panic!("not sealed: {packet:?}") };
            self.session.hear(&packet).expect("a record of this session that it has not heard").1
        });
        records.collect()
    }

    /// All frames that the node has for it, without ACKs, which are noted, and PINGs.
    pub(crate) fn hear(&mut self, real: &mut Real) -> Vec<Frame> {
        let mut frames = self.hear_records(real).concat();
        frames.retain(|frame| !matches!(frame, Frame::Ack { .. } | Frame::Ping));
        frames
    }

    /// The only frame that the node has for it.
    pub(crate) fn hears(&mut self, real: &mut Real) -> Frame {
        let mut frames = self.hear(real);
        assert_eq!(frames.len(), 1, "{frames:?}");
        frames.remove(0)
    }

    /// Whether everything that it has said was acknowledged.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.session.ledger.unacknowledged().next().is_none()
    }

    /// Lets time pass in steps in which it hears and acknowledges; gives all frames that it hears.
    pub(crate) fn talks(&mut self, real: &mut Real, seconds: u32) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..4 * seconds {
            real.wait(Duration::from_millis(250));
            frames.extend(self.hear(real));
            self.acknowledge(real);
        }
        frames
    }

    /// A query, and what the reply will have to refer to.
    pub(crate) fn query(&self, real: &Real, nonce: u8, body: &[u8]) -> Vec<u8> {
        self.message(message::QUERY, real.id(), nonce, [0; 20], body)
    }

    pub(crate) fn message(
        &self,
        kind: u8,
        recipient: [u8; 20],
        nonce: u8,
        reference: [u8; 20],
        body: &[u8],
    ) -> Vec<u8> {
        let type_name = type_name().as_str().to_owned();
        Message { kind, recipient, nonce: [nonce; 20], reference, type_name, body: body.to_vec() }.encode()
    }

    /// The reply to a query with these bytes.
    pub(crate) fn reply(&self, real: &Real, query: &[u8], body: &[u8]) -> Vec<u8> {
        self.message(message::REPLY, real.id(), 99, message::id(query), body)
    }

    /// The query that the node has for it: its number and its message.
    pub(crate) fn hears_query(&mut self, real: &mut Real) -> (u64, Vec<u8>) {
        match self.hears(real) {
            Frame::Query { number, flags: 0, total, part, .. } if part.len() == usize::try_from(total).unwrap() => {
                (number, part)
            }
            other => panic!("no query: {other:?}"),
        }
    }
}

/// Its id is smaller than that of the real node, which decides between two connections.
pub(crate) fn stranger() -> SecondIdentity {
    SecondIdentity([24; 32])
}

pub(crate) fn address() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

pub(crate) fn type_name() -> TypeName {
    TypeName::new("echo").unwrap()
}

pub(crate) fn ask(real: &mut Real, body: &[u8]) -> QueryId {
    let query = Query::new(type_name(), body.to_vec()).hard_timeout(Duration::from_secs(30));
    real.node.query(real.now, NodeId::from_bytes(stranger().node_id()), query).unwrap()
}

/// Answers the query that was delivered with its own body.
pub(crate) fn echo(real: &mut Real) -> Vec<u8> {
    let Delivery::Query { from, body, token, .. } = real.delivered() else { panic!("no query was delivered") };
    assert_eq!(*from.as_bytes(), stranger().node_id());
    real.node.reply(real.now, token, body.clone()).unwrap();
    body
}
