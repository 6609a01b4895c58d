//! A peer that is played by hand, with the second implementation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::iter;
use std::time::Duration;

use egtp::{
    Action, ConnectionId, Delivery, Ending, Event, Instant, Node, NodeId, ReplyToken, SignedRecord, Strategies,
    TransportAction,
};
use egtp_sim::scene::{KEEP, query};
use egtp_sim::second::frame::{Frame, OF_QUERY};
use egtp_sim::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use egtp_sim::second::identity::Identity;
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed, unframed};
use egtp_sim::second::session::{Session, Unheard};

/// Deadlines are in milliseconds of the session's own time.
pub const IN_A_MINUTE: u32 = 60_000;

pub const PEER_SEED: [u8; 32] = [7; 32];

const PEER: Identity = Identity(PEER_SEED);

/// A peer's end of a session with a node, and how it reaches it.
pub struct Peer<'a> {
    pub node: &'a mut Node,
    pub now: Instant,
    pub session: Session,
}

impl<'a> Peer<'a> {
    /// Shakes hands over a new connection.
    pub fn meets(node: &'a mut Node, now: Instant) -> (Self, ConnectionId) {
        Self::meets_as(&PEER, node, now)
    }

    /// The same as another peer.
    pub fn other_meets(node: &'a mut Node, now: Instant, seed: u8) -> (Self, ConnectionId) {
        Self::meets_as(&Identity([seed; 32]), node, now)
    }

    fn meets_as(identity: &Identity, node: &'a mut Node, now: Instant) -> (Self, ConnectionId) {
        let (mut peer, connection) = Self::greets_as(identity, node, now);
        // The first record on a connection is a short one, and asks for nothing.
        peer.says(connection, &[]);
        (peer, connection)
    }

    /// Shakes hands over a new connection as another peer, and says nothing yet.
    pub fn other_greets(node: &'a mut Node, now: Instant, seed: u8) -> (Self, ConnectionId) {
        Self::greets_as(&Identity([seed; 32]), node, now)
    }

    fn greets_as(identity: &Identity, node: &'a mut Node, now: Instant) -> (Self, ConnectionId) {
        let connection = connect(node, now);
        let session = shake_hands(identity, node, now, connection, 0).unwrap();
        (Self { node, now, session }, connection)
    }

    /// Opens another connection, in the same session.
    pub fn connects(&mut self) -> ConnectionId {
        let connection = self.dials();
        self.says(connection, &[]);
        connection
    }

    /// Opens another connection, and says nothing yet.
    pub fn dials(&mut self) -> ConnectionId {
        connect(self.node, self.now)
    }

    /// Shakes hands over another connection, and goes on in the session that this makes, which is better than the one before. That one
    /// is given back.
    pub fn shakes_hands_again(&mut self) -> (Session, ConnectionId) {
        let connection = connect(self.node, self.now);
        let session = shake_hands(&PEER, self.node, self.now, connection, 1).unwrap();
        let before = std::mem::replace(&mut self.session, session);
        self.says(connection, &[]);
        (before, connection)
    }

    /// Shakes hands over a connection that it has, as if the best session so far were of this generation, and says nothing yet in the
    /// session that this makes.
    pub fn shakes_hands_on(&mut self, connection: ConnectionId, generation: u32) -> Session {
        shake_hands(&PEER, self.node, self.now, connection, generation).unwrap()
    }

    /// Asks in a handshake which of these sessions the node holds, and gives back what it says.
    pub fn asks_about(&mut self, connection: ConnectionId, asked: Vec<[u8; 8]>) -> u8 {
        greet(&PEER, self.node, self.now, connection, 4, asked).unwrap().1
    }

    /// Answers the node's handshake, of whose sessions it holds these, and says nothing yet in the session that this makes.
    pub fn answers_hello(&mut self, connection: ConnectionId, packet: &[u8], held: u8) -> Session {
        let Some(Packet::Hello { isid, noise, .. }) = Packet::parse(packet) else { panic!("{packet:?}") };
        let responder = Responder::open(&PEER, isid, &noise).unwrap();
        let payload = WelcomePayload { rsid: [5; 8], generation: 2, held, max_outstanding: 100 };
        let (noise, keys) = responder.answer([6; 32], &payload.encode()).unwrap();
        let welcome = framed(&Packet::Welcome { isid, noise }.encode());
        self.node.handle(self.now, Event::Received(connection, &welcome));
        Session::of_responder(&keys, isid)
    }

    pub fn id(&self) -> NodeId {
        NodeId::from_bytes(PEER.node_id())
    }

    pub fn says(&mut self, connection: ConnectionId, frames: &[Frame]) {
        let packet = seal(&mut self.session, frames);
        self.node.handle(self.now, Event::Received(connection, &packet));
    }

    /// The same in another session.
    pub fn says_in(&mut self, session: &mut Session, connection: ConnectionId, frames: &[Frame]) {
        self.node.handle(self.now, Event::Received(connection, &seal(session, frames)));
    }

    /// Acknowledges everything that it has heard in its session.
    pub fn acknowledges(&mut self, connection: ConnectionId) {
        let ack = self.session.ack().unwrap();
        self.says(connection, &[ack]);
    }

    /// Takes everything that the node has to say on a connection, without ACKs, which are noted.
    pub fn hears(&mut self, connection: ConnectionId) -> Vec<Frame> {
        let mut said = self.hears_records(connection).concat();
        said.retain(|frame| !matches!(frame, Frame::Ack { .. }));
        said
    }

    /// The same record by record, with ACKs. What is said in other sessions is left out.
    pub fn hears_records(&mut self, connection: ConnectionId) -> Vec<Vec<Frame>> {
        let packets = unframed(&mut take_written(self.node, self.now, connection));
        let heard = packets.iter().map(|packet| self.session.hear(packet));
        let heard = heard.filter(|heard| *heard != Err(Unheard::Unopened));
        heard.map(|heard| heard.unwrap().1).collect()
    }

    /// The queries that the node has given to handlers.
    pub fn delivered(&mut self) -> Vec<ReplyToken> {
        let actions = iter::from_fn(|| self.node.poll());
        let queries = actions.filter_map(|action| match action {
            Action::Deliver(Delivery::Query { token, .. }) => Some(token),
            _ => None,
        });
        queries.collect()
    }

    /// Asks something that a handler keeps.
    pub fn asks(&mut self, connection: ConnectionId) -> ReplyToken {
        let asked = self.query(0, KEEP);
        self.says(connection, &[asked]);
        self.delivered().pop().unwrap()
    }

    /// Lets time pass, second by second.
    pub fn waits(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = self.now + Duration::from_secs(1);
            self.node.handle(self.now, Event::Tick);
        }
    }

    pub fn query(&self, number: u64, type_name: &str) -> Frame {
        let message = Message {
            kind: message::QUERY,
            recipient: *self.node.id().as_bytes(),
            nonce: [1; 20],
            reference: [0; 20],
            type_name: type_name.into(),
            body: number.to_be_bytes().to_vec(),
        };
        Frame::query(number, IN_A_MINUTE, &message.encode())
    }

    /// A query that a handler keeps, in two parts of which the first has ten bytes.
    pub fn query_in_parts(&self, number: u64) -> [Frame; 2] {
        let Frame::Query { part, .. } = self.query(number, KEEP) else { unreachable!() };
        let [first, ..] = &Frame::query_in_parts(number, IN_A_MINUTE, &part, 10)[..] else { unreachable!() };
        [first.clone(), Frame::piece(OF_QUERY, number, &part, 10..part.len())]
    }

    /// The answer to a query of the node's.
    pub fn reply_to(&self, number: u64, query: &[u8], body: &[u8]) -> Frame {
        let asked = Message::parse(query).unwrap();
        let message = Message {
            kind: message::REPLY,
            recipient: *self.node.id().as_bytes(),
            nonce: [2; 20],
            reference: message::id(query),
            type_name: asked.type_name,
            body: body.to_vec(),
        };
        Frame::reply(number, 0, &message.encode())
    }
}

/// Whether a node has a place for somebody that it has not met.
pub fn welcomes(node: &mut Node, now: Instant, seed: u8) -> bool {
    let connection = connect(node, now);
    let session = shake_hands(&Identity([seed; 32]), node, now, connection, 0);
    node.handle(now, Event::Closed(connection, Ending::EndOfStream));
    session.is_some()
}

/// What comes of it, if the other end has a place for it.
fn shake_hands(
    identity: &Identity,
    node: &mut Node,
    now: Instant,
    connection: ConnectionId,
    generation: u32,
) -> Option<Session> {
    Some(greet(identity, node, now, connection, generation, Vec::new())?.0)
}

/// The same, with a question about sessions, and what the answer says of them.
fn greet(
    identity: &Identity,
    node: &mut Node,
    now: Instant,
    connection: ConnectionId,
    generation: u32,
    asked: Vec<[u8; 8]>,
) -> Option<(Session, u8)> {
    let key = *node.record().unwrap().key().as_bytes();
    let payload = HelloPayload { key: identity.public_key(), generation, asked }.encode();
    let isid = u64::from(generation).to_be_bytes();
    // Each handshake of each peer has an ephemeral key of its own.
    let ephemeral = iter::repeat_n(isid, 4).flatten().zip(identity.0).map(|(one, other)| one ^ (other + 1));
    let ephemeral = ephemeral.collect::<Vec<u8>>().try_into().unwrap();
    let (initiator, noise) = Initiator::start(identity, &key, isid, ephemeral, &payload).unwrap();
    let hello = Packet::Hello { isid, cookie: [0; 16], noise }.encode();
    node.handle(now, Event::Received(connection, &framed(&hello)));
    let packets = unframed(&mut take_written(node, now, connection));
    let welcome = packets.iter().find_map(|packet| match Packet::parse(packet) {
        Some(Packet::Welcome { noise, .. }) => Some(noise),
        _ => None,
    });
    let (keys, welcome) = initiator.finish(&welcome?).unwrap();
    Some((Session::of_initiator(&keys, welcome.rsid), welcome.held))
}

fn connect(node: &mut Node, now: Instant) -> ConnectionId {
    node.accept(now, ([10, 9, 9, 9], 1).into()).unwrap()
}

fn seal(session: &mut Session, frames: &[Frame]) -> Vec<u8> {
    framed(&session.say(frames))
}

/// Takes from a node everything that it has to write, as a link would.
pub fn take_written(node: &mut Node, now: Instant, connection: ConnectionId) -> Vec<u8> {
    let mut written = Vec::new();
    while !node.to_write(connection).is_empty() {
        let bytes = node.to_write(connection).to_vec();
        node.handle(now, Event::Written(connection, bytes.len()));
        written.extend(bytes);
    }
    written
}

/// Learns of the peer that it has these ports, is asked to ask it something, and opens a connection with it.
pub fn dials_the_peer(node: &mut Node, now: Instant, ports: &[u16]) -> ConnectionId {
    let identity = egtp::Identity::from_seed(&PEER_SEED);
    let addresses = ports.iter().map(|&port| ([10, 9, 9, 9], port).into()).collect();
    let record = SignedRecord::sign(&identity, 1, Strategies { addresses, relays: Vec::new() }).unwrap();
    node.learn(now, record).unwrap();
    node.query(now, identity.node_id(), query(KEEP, b"?")).unwrap();
    let dial = dialled(node).unwrap();
    node.handle(now, Event::Connected(dial));
    dial
}

/// The connection that the node wants opened.
pub fn dialled(node: &mut Node) -> Option<ConnectionId> {
    iter::from_fn(|| node.poll()).find_map(|action| match action {
        Action::Transport(TransportAction::Connect { connection, .. }) => Some(connection),
        _ => None,
    })
}
