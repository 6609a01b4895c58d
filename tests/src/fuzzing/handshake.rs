//! Hostile bytes in a handshake, at either of its ends. Genuine handshakes are changed, so that the core looks deep.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use egtp::{Config, ConnectionId, Delivery, Ending, Event, Identity, Instant, NodeId, SignedRecord, internal};
use egtp_sim::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use egtp_sim::second::identity::Identity as SecondIdentity;
use egtp_sim::second::packet::{Packet, framed};
use egtp_sim::second::record;
use egtp_sim::second::session::Session;

use super::Outcome;
use super::edits::{Edit, edited};
use super::rest::{assert_clock_moves, comes_to_rest};
use crate::bench::{Between, Party, Side, address, packets};
use crate::scene::{ECHO, query};

/// One handshake, and what goes wrong in it.
#[derive(Arbitrary, Debug)]
enum Input {
    /// Between two nodes, somebody on the wire.
    OnTheWire { narrow: bool, meddlings: Vec<(u8, Meddling)> },
    /// The initiator means ill, and has keys to seal it with.
    ByTheInitiator { narrow: bool, payload: Vec<Edit>, noise: Vec<Edit>, asked: u8, record: Vec<u8> },
    /// So does the responder.
    ByTheResponder { payload: Vec<Edit>, noise: Vec<Edit>, record: Vec<u8> },
}

/// What somebody on the wire does to one packet.
#[derive(Arbitrary, Debug)]
enum Meddling {
    /// Changes what is behind its length.
    Edit(Vec<Edit>),
    /// Changes it with its length.
    EditWhole(Vec<Edit>),
    /// Lets nothing through.
    Drop,
    /// Lets it through twice.
    Repeat,
    /// Lets an earlier one of the same sender through once more, and then this one.
    RepeatEarlier(u8),
    /// Lets one go ahead that nobody sent, perhaps with the handshake's own name.
    GoAhead { named: bool, forged: Forged },
    /// Holds it back for so many tenths of a second.
    Delay(u8),
}

/// A packet that nobody sent.
#[derive(Arbitrary, Debug)]
enum Forged {
    Hello(u8),
    Welcome(u8),
    Retry(u8),
    Sealed { counter: u64, length: u8 },
    Stale { counter: u64 },
    Busy { code: u8, wait: u16 },
}

/// A handshake that goes wrong.
///
/// # Panics
///
/// If a rejected packet leaves a trace, if a node never comes to rest, or if something is left of it then.
pub fn handshake(bytes: &[u8]) -> Outcome {
    if bytes.is_empty() {
        return Outcome::Unreadable;
    }
    match Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        Err(_) => Outcome::Unreadable,
        Ok(Input::OnTheWire { narrow, meddlings }) => on_the_wire(narrow, &meddlings),
        Ok(Input::ByTheInitiator { narrow, payload, noise, asked, record }) => {
            by_the_initiator(narrow, &payload, &noise, asked, &record)
        }
        Ok(Input::ByTheResponder { payload, noise, record }) => by_the_responder(&payload, &noise, &record),
    }
}

/// A node, with room for next to nothing if that is asked for.
fn party(number: u8, narrow: bool) -> Party {
    let mut config = Config::default();
    if narrow {
        config.limits.tentative_sessions = 1;
        config.limits.sessions = 2;
        config.limits.peers = 2;
        config.limits.handshakes_per_second = 2;
    }
    Party::with_config(number, config.check().expect("little room is room"))
}

fn on_the_wire(narrow: bool, meddlings: &[(u8, Meddling)]) -> Outcome {
    let mut wire = Wire::new(narrow, meddlings, None);
    wire.play();
    if let Some((pass, digest)) = wire.ended {
        let mut twin = Wire::new(narrow, meddlings, Some(pass));
        twin.play();
        assert_eq!(twin.ended, Some((pass, digest)), "a rejected packet left more than the end of its connection");
    }
    let taken = wire.between.right.node.usage().sessions > wire.between.right.node.usage().tentative_sessions;
    comes_to_rest(&mut wire.between.left);
    comes_to_rest(&mut wire.between.right);
    assert_eq!(wire.between.left.verdicts().len(), 1, "one query, one verdict");
    Outcome::taken_if(taken)
}

/// Two nodes and whoever meddles.
struct Wire<'a> {
    between: Between,
    meddlings: &'a [(u8, Meddling)],
    passes: usize,
    /// Whether bytes went to this side that were no whole packet.
    torn: [bool; 2],
    /// Instead of this pass, the node ends the connection for another reason.
    cut: Option<usize>,
    /// Whether it has ended so, and nothing more goes over the wire.
    over: bool,
    /// The first pass that ended a connection although it brought nothing to believe, and the digest then.
    ended: Option<(usize, [u8; 20])>,
}

impl<'a> Wire<'a> {
    fn new(narrow: bool, meddlings: &'a [(u8, Meddling)], cut: Option<usize>) -> Self {
        let between = Between::asking(party(1, false), party(2, narrow), query(ECHO, b"hello"));
        Self { between, meddlings, passes: 0, torn: [false; 2], cut, over: false, ended: None }
    }

    fn play(&mut self) {
        for _ in 0..4 {
            self.carry();
            self.answer();
            self.between.wait(Duration::from_millis(1100));
        }
        for (closed, other) in [(Side::Left, Side::Right), (Side::Right, Side::Left)] {
            let now = self.between.now;
            let (party, on) = self.at(closed);
            if party.closed.contains(&on) {
                let (party, on) = self.at(other);
                party.handle(now, Event::Closed(on, Ending::EndOfStream));
            }
        }
    }

    fn carry(&mut self) {
        // A repeated packet may be answered again, but nothing goes to and fro for ever.
        for _ in 0..64 {
            let mut quiet = true;
            for from in [Side::Left, Side::Right] {
                for packet in self.between.written_by(from) {
                    quiet = false;
                    let number = self.between.seen.len();
                    self.between.seen.push((from, packet.clone()));
                    self.meddle(number, from, &packet);
                }
            }
            if quiet || self.over {
                return;
            }
        }
        panic!("they never stop talking");
    }

    fn meddle(&mut self, number: usize, from: Side, packet: &[u8]) {
        let meddlings = self.meddlings;
        let mut meddling = meddlings.iter().filter(|(at, _)| usize::from(at % 16) == number).map(|(_, what)| what);
        match meddling.next() {
            None => self.pass(from, packet, false),
            Some(Meddling::Edit(edits)) => {
                let genuine = &packet[4..];
                let changed = edited(genuine, edits);
                self.pass(from, &framed(&changed), is_worthless(genuine, &changed));
            }
            Some(Meddling::EditWhole(edits)) => {
                self.pass(from, &edited(packet, edits), false);
                self.torn[from as usize] = true;
            }
            Some(Meddling::Drop) => {}
            Some(Meddling::Repeat) => {
                self.pass(from, packet, false);
                self.pass(from, packet, packet[5] == SEALED);
            }
            Some(Meddling::RepeatEarlier(back)) => {
                let earlier = self.between.seen.iter().rev().filter(|(side, _)| *side == from).nth(usize::from(*back));
                if let Some((_, earlier)) = earlier.cloned() {
                    self.pass(from, &earlier, false);
                }
                self.pass(from, packet, false);
            }
            Some(Meddling::GoAhead { named, forged }) => {
                let name = if *named { self.name() } else { [0xee; 8] };
                self.pass(from, &framed(&forged.packet(name).encode()), false);
                self.pass(from, packet, false);
            }
            Some(Meddling::Delay(tenths)) => {
                self.between.wait(Duration::from_millis(u64::from(*tenths) * 100));
                self.pass(from, packet, false);
            }
        }
    }

    /// The initiator's name of the handshake, in its first packet.
    fn name(&self) -> [u8; 8] {
        let first = self.between.seen.first().and_then(|(_, packet)| packet.get(6..14));
        first.and_then(|name| name.try_into().ok()).unwrap_or_default()
    }

    /// Bytes go to the other side. Whatever they are, its clock moves on; if they are `worthless`, it remembers nothing of them.
    fn pass(&mut self, from: Side, bytes: &[u8], worthless: bool) {
        let (now, number) = (self.between.now, self.passes);
        let to = if from == Side::Left { Side::Right } else { Side::Left };
        let whole = !self.torn[from as usize];
        self.passes += 1;
        if self.over {
            return;
        }
        self.over = self.cut == Some(number);
        let (cut, (party, on)) = (self.over, self.at(to));
        if cut {
            // A length of zero ends a connection as well.
            party.receives(now, on, &[0; 4]);
            self.ended = Some((number, internal::digest(&party.node)));
            return;
        }
        let (before, told) = (internal::digest(&party.node), party.deliveries.len());
        let open = !party.closed.contains(&on);
        party.receives(now, on, bytes);
        assert_clock_moves(&party.node, now);
        if !worthless || !whole || !open {
            return;
        }
        let (after, closed) = (internal::digest(&party.node), party.closed.contains(&on));
        if !closed {
            assert_eq!(after, before, "a rejected packet left a trace");
            assert_eq!(party.deliveries.len(), told, "a rejected packet was told to the application");
        } else if self.ended.is_none() && self.cut.is_none() {
            self.ended = Some((number, after));
        }
    }

    fn at(&mut self, side: Side) -> (&mut Party, ConnectionId) {
        match side {
            Side::Left => (&mut self.between.left, self.between.at_left),
            Side::Right => (&mut self.between.right, self.between.at_right),
        }
    }

    /// The right one answers whom it can.
    fn answer(&mut self) {
        let (now, right) = (self.between.now, &mut self.between.right);
        for delivery in std::mem::take(&mut right.deliveries) {
            if let Delivery::Query { token, body, .. } = delivery {
                // Its asker may be gone.
                let _ = right.node.reply(now, token, body);
            }
        }
        right.settle(now);
    }
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const SEALED: u8 = 4;

/// Whether a packet, without its length, was changed so that nobody can take it for genuine, and still is one of its kind.
fn is_worthless(genuine: &[u8], changed: &[u8]) -> bool {
    let same_kind = genuine.len() == changed.len() && genuine[..2] == changed[..2];
    let same = |range: std::ops::Range<usize>| genuine.get(range.clone()) == changed.get(range);
    same_kind
        && match genuine[1] {
            // The cookie is for whoever made it, and nobody else looks at it.
            HELLO => !same(2..10) || !same(26..176),
            WELCOME | SEALED => genuine != changed,
            _ => false,
        }
}

impl Forged {
    fn packet(&self, name: [u8; 8]) -> Packet {
        match *self {
            Self::Hello(fill) => Packet::Hello { isid: name, cookie: [fill; 16], noise: vec![fill; 150] },
            Self::Welcome(fill) => Packet::Welcome { isid: name, noise: vec![fill; 64] },
            Self::Retry(fill) => Packet::Retry { isid: name, cookie: [fill; 16] },
            Self::Sealed { counter, length } => {
                let text = vec![length; 16 + usize::from(length)];
                let packet = [&[2, SEALED][..], &name, &counter.to_be_bytes(), &text].concat();
                Packet::Sealed { sid: name, packet }
            }
            Self::Stale { counter } => Packet::Stale { sid: name, counter },
            Self::Busy { code, wait } => Packet::Busy { isid: name, code, wait },
        }
    }
}

const NOW: Instant = Instant::from_micros(1_000_000);
const ISID: [u8; 8] = *b"initiate";
const RSID: [u8; 8] = *b"responds";

fn stranger() -> SecondIdentity {
    SecondIdentity([24; 32])
}

/// A node and the one connection to it that matters.
struct Alone {
    party: Party,
    on: ConnectionId,
}

impl Alone {
    fn is_closed(&self) -> bool {
        self.party.closed.contains(&self.on)
    }

    /// A packet reaches it, and is answered by these.
    fn hears(&mut self, packet: &[u8]) -> Vec<Packet> {
        self.party.receives(NOW, self.on, &framed(packet));
        assert_clock_moves(&self.party.node, NOW);
        self.says()
    }

    fn says(&mut self) -> Vec<Packet> {
        let written = packets(&self.party.writes(NOW, self.on));
        written.iter().map(|packet| Packet::parse(&packet[4..]).expect("a node writes packets")).collect()
    }

    /// Has the connection end instead, and gives the digest then.
    fn without_it(mut self) -> [u8; 20] {
        self.party.handle(NOW, Event::Closed(self.on, Ending::Broken));
        internal::digest(&self.party.node)
    }
}

fn by_the_initiator(narrow: bool, payload: &[Edit], noise: &[Edit], asked: u8, text: &[u8]) -> Outcome {
    let accepting = || {
        let mut party = party(1, narrow);
        party.node.serve(crate::scene::type_name(ECHO)).expect("there is room for a type");
        let on = party.accepts(NOW);
        Alone { party, on }
    };
    let mut node = accepting();
    let me = stranger();
    let asked = (0..asked % 3).map(|name| [name; 8]).collect();
    let mut genuine = edited(&HelloPayload { key: me.public_key(), generation: 0, asked }.encode(), payload);
    genuine.resize(54, 0);
    let key = *Identity::from_seed(&[1; 32]).public_key().as_bytes();
    let (initiator, message) = Initiator::start(&me, &key, ISID, [3; 32], &genuine).expect("the node's key is good");
    let hello = Packet::Hello { isid: ISID, cookie: [0; 16], noise: edited(&message, noise) }.encode();

    let before = internal::digest(&node.party.node);
    let answers = node.hears(&hello);
    let after = internal::digest(&node.party.node);
    let mut taken = false;
    match answers.first() {
        Some(Packet::Welcome { isid, noise }) => {
            assert_eq!(*isid, ISID);
            let (keys, welcome) = initiator.finish(noise).expect("an answer that the protocol allows");
            let mut session = Session::of_initiator(&keys, welcome.rsid);
            node.hears(&session.seal(text));
            taken = true;
        }
        Some(_) => assert_eq!(after, before, "a handshake was put off and left a trace"),
        None => assert!(node.is_closed(), "a whole packet is answered or ends its connection"),
    }
    if answers.is_empty() {
        assert_eq!(after, accepting().without_it(), "a rejected handshake left more than the end of its connection");
    }
    comes_to_rest(&mut node.party);
    Outcome::taken_if(taken)
}

fn by_the_responder(payload: &[Edit], noise: &[Edit], text: &[u8]) -> Outcome {
    let me = stranger();
    let dialling = || {
        let mut party = party(1, false);
        let record = record::sign(&me, 1, &record::value(&[address()], &[]));
        let record = SignedRecord::from_bytes(&record).expect("a record that the protocol allows");
        party.node.learn(NOW, record).expect("the record is news");
        party.node.query(NOW, NodeId::from_bytes(me.node_id()), query(ECHO, b"hello")).expect("there is room");
        party.settle(NOW);
        let on = party.dialled.pop().expect("a query makes a node dial");
        party.handle(NOW, Event::Connected(on));
        let mut node = Alone { party, on };
        let hello = node.says();
        (node, hello)
    };
    let (mut node, hello) = dialling();
    let [Packet::Hello { isid, cookie: [0, ..], noise: message }] = &hello[..] else { panic!("no HELLO: {hello:?}") };
    let responder = Responder::open(&me, *isid, message).expect("a HELLO that the protocol allows");
    let answer = WelcomePayload { rsid: RSID, generation: 1, held: 0, max_outstanding: 2 };
    let mut answer = edited(&answer.encode(), payload);
    answer.resize(16, 0);
    let (message, keys) = responder.answer([4; 32], &answer).expect("the node's keys are good");
    node.hears(&Packet::Welcome { isid: *isid, noise: edited(&message, noise) }.encode());
    let taken = !node.is_closed();
    if taken {
        let mut session = Session::of_responder(&keys, *isid);
        node.hears(&session.seal(text));
    } else {
        let after = internal::digest(&node.party.node);
        let mut other = dialling().0;
        other.hears(&Packet::Welcome { isid: *isid, noise: vec![0; 64] }.encode());
        assert_eq!(after, internal::digest(&other.party.node), "of a rejected answer something is left");
    }
    comes_to_rest(&mut node.party);
    assert_eq!(node.party.verdicts().len(), 1, "one query, one verdict");
    Outcome::taken_if(taken)
}
