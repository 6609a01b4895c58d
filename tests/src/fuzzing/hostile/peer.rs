//! What the hostile peer knows and says: it follows the protocol as far as it likes.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use egtp_sim::second::frame::{Frame, OF_QUERY, OF_REPLY, Run};
use egtp_sim::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use egtp_sim::second::identity::Identity;
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::Packet;
use egtp_sim::second::session::{Session, Unheard};
use egtp_sim::second::{Key, ack};

use super::super::edits::{Edit, edited};
use super::stage::body;

/// The names of the types that are spoken of.
pub(super) const TYPES: [&str; 3] = ["echo", "keep", "other"];

/// One frame. A message that is begun is remembered, so that pieces of it fit.
#[derive(Arbitrary, Debug)]
pub(super) enum Word {
    /// A query or notice, whole or only the first so many 256ths of it.
    Query {
        number: Number,
        notice: bool,
        seconds: u8,
        what: u8,
        length: u8,
        part: u8,
        edits: Vec<Edit>,
    },
    /// An answer to one of the node's queries, whole or only its beginning.
    Reply {
        which: u8,
        code: u8,
        length: u8,
        part: u8,
        edits: Vec<Edit>,
    },
    /// A part of a message that was begun.
    Piece {
        of_query: bool,
        which: u8,
        from: u16,
        length: u16,
        off: u8,
    },
    /// What is left of a message that was begun, in pieces.
    Rest {
        of_query: bool,
        which: u8,
    },
    Refuse {
        which: u8,
        code: u8,
    },
    Cancel {
        number: Number,
    },
    Ack(Acked),
    Ping,
    Break {
        code: u8,
        base: Number,
        bits: u8,
    },
}

/// What an ACK names.
#[derive(Arbitrary, Debug)]
pub(super) enum Acked {
    /// What has come.
    Heard,
    /// What has come, without some of it.
    Some(u64),
    /// Everything up to what has come last.
    Everything,
    /// Anything.
    Any { largest: u64, delay: u16, runs: Vec<(u16, u16)> },
}

/// The number of a query.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Number {
    Next,
    Small(u8),
    Any(u64),
}

/// One end of one session, and what is under way in it.
pub(super) struct Told {
    session: Session,
    next: u64,
    /// Messages of its own and answers, by number, and how much of each was said at once.
    begun: [BTreeMap<u64, (Vec<u8>, usize)>; 2],
    /// The node's queries, with their bytes.
    asked: Vec<(u64, Vec<u8>)>,
}

/// The peer: two identities, and all that it has agreed upon with the node.
pub(super) struct Peer {
    node_key: Key,
    node_id: [u8; 20],
    /// Handshakes that it has begun, by the name in them.
    greeted: Vec<([u8; 8], Initiator)>,
    /// The HELLO that the node sent last.
    hello: Option<([u8; 8], Vec<u8>)>,
    pub(super) sessions: Vec<Told>,
    /// Every record that it has sealed.
    pub(super) sealed: Vec<Vec<u8>>,
    handshakes: u8,
}

/// Whose names the peer goes by. The first id is smaller than the node's, and the second is greater.
pub(super) fn identity(another: bool) -> Identity {
    Identity([if another { 3 } else { 24 }; 32])
}

impl Peer {
    pub(super) fn new(node_key: Key, node_id: [u8; 20]) -> Self {
        let (greeted, sessions, sealed) = (Vec::new(), Vec::new(), Vec::new());
        Self { node_key, node_id, greeted, hello: None, sessions, sealed, handshakes: 0 }
    }

    /// A first handshake message.
    pub(super) fn greeting(&mut self, another: bool, generation: u8, asks: u8) -> Vec<u8> {
        let (isid, ephemeral) = self.fresh();
        let me = identity(another);
        let asked = self.sessions.iter().rev().take(usize::from(asks % 3)).map(|told| told.session.peer_sid).collect();
        let payload = HelloPayload { key: me.public_key(), generation: u32::from(generation), asked }.encode();
        let (initiator, noise) =
            Initiator::start(&me, &self.node_key, isid, ephemeral, &payload).expect("the node's key is good");
        self.greeted.push((isid, initiator));
        Packet::Hello { isid, cookie: [0; 16], noise }.encode()
    }

    /// The answer to the node's own HELLO.
    pub(super) fn welcome(&mut self, generation: u8, held: u8, room: u8) -> Option<Vec<u8>> {
        let (isid, noise) = self.hello.take()?;
        let responder = Responder::open(&identity(false), isid, &noise)?;
        let (rsid, ephemeral) = self.fresh();
        let payload = WelcomePayload {
            rsid,
            generation: u32::from(generation),
            held: held % 4,
            max_outstanding: u16::from(room),
        };
        let (noise, keys) = responder.answer(ephemeral, &payload.encode())?;
        self.met(Session::of_responder(&keys, isid));
        Some(Packet::Welcome { isid, noise }.encode())
    }

    /// A record of these words.
    pub(super) fn record(&mut self, session: u8, words: &[Word]) -> Option<Vec<u8>> {
        let (count, recipient) = (self.sessions.len(), self.node_id);
        let told = self.sessions.get_mut(usize::from(session).checked_rem(count)?)?;
        let frames: Vec<u8> = words.iter().flat_map(|word| told.frames(recipient, word)).collect();
        self.seal(session, &frames)
    }

    /// A record of these bytes.
    pub(super) fn seal(&mut self, session: u8, text: &[u8]) -> Option<Vec<u8>> {
        let count = self.sessions.len();
        let told = self.sessions.get_mut(usize::from(session).checked_rem(count)?)?;
        let packet = told.session.seal(text);
        self.sealed.push(packet.clone());
        Some(packet)
    }

    /// The record that was sealed so many before the last.
    pub(super) fn earlier(&self, back: u8) -> Option<Vec<u8>> {
        self.sealed.iter().rev().nth(usize::from(back)).cloned()
    }

    /// What the node writes.
    ///
    /// # Panics
    ///
    /// If it does not follow the protocol.
    pub(super) fn hears(&mut self, packet: &[u8]) {
        match Packet::parse(packet).expect("a node writes packets") {
            Packet::Hello { isid, noise, .. } => self.hello = Some((isid, noise)),
            Packet::Welcome { isid, noise } => {
                let Some(at) = self.greeted.iter().position(|(name, _)| *name == isid) else { return };
                let (_, initiator) = self.greeted.swap_remove(at);
                let (keys, welcome) = initiator.finish(&noise).expect("an answer that the protocol allows");
                self.met(Session::of_initiator(&keys, welcome.rsid));
            }
            Packet::Sealed { packet, .. } => {
                // It may be sealed in a session of which the peer was never told.
                let opened = |told: &&mut Told| told.session.open(&packet).is_some();
                if let Some(told) = self.sessions.iter_mut().find(opened) {
                    told.hears(&packet);
                }
            }
            Packet::Retry { .. } | Packet::Stale { .. } | Packet::Busy { .. } => {}
        }
    }

    fn met(&mut self, session: Session) {
        self.sessions.push(Told { session, next: 0, begun: Default::default(), asked: Vec::new() });
    }

    /// A name and a secret that were never used.
    fn fresh(&mut self) -> ([u8; 8], Key) {
        self.handshakes = self.handshakes.wrapping_add(1);
        ([self.handshakes; 8], [self.handshakes; 32])
    }
}

impl Told {
    fn hears(&mut self, packet: &[u8]) {
        let (_, frames) = match self.session.hear(packet) {
            Ok(heard) => heard,
            // A connection may be so much slower than the others.
            Err(Unheard::Dropped(counter)) if !self.session.ledger.opened().contains(&counter) => return,
            Err(unheard) => panic!("a node says frames, each of them once: {unheard:?}"),
        };
        for frame in frames {
            // A message in parts is answered only in ways that its reference does not matter for.
            if let Frame::Query { number, part, .. } = frame {
                self.asked.push((number, part));
            }
        }
    }

    fn frames(&mut self, recipient: [u8; 20], word: &Word) -> Vec<u8> {
        let frame = match word {
            Word::Query { number, notice, seconds, what, length, part, edits } => {
                let kind = if *notice { message::NOTICE } else { message::QUERY };
                let number = self.number(*number);
                let nonce = [u8::try_from(number % 251).unwrap_or(0); 20];
                let message = encoded(kind, recipient, nonce, [0; 20], *what, *length);
                let message = edited(&message, edits);
                let (total, part) = begins(&message, *part);
                self.begun[0].insert(number, (message, part.len()));
                Frame::Query { number, flags: u8::from(*notice), until: u32::from(*seconds) * 1000, total, part }
            }
            Word::Reply { which, code, length, part, edits } => {
                let (number, query) = self.asked(*which);
                let what =
                    Message::parse(&query).and_then(|query| TYPES.iter().position(|&name| name == query.type_name));
                let what = u8::try_from(what.unwrap_or(0)).unwrap_or(0);
                let message = encoded(message::REPLY, recipient, [9; 20], message::id(&query), what, *length);
                let message = edited(&message, edits);
                let (total, part) = begins(&message, *part);
                self.begun[1].insert(number, (message, part.len()));
                Frame::Reply { number, code: *code, total, part }
            }
            Word::Piece { of_query, which, from, length, off } => {
                let Some((number, message, _)) = self.begun(*of_query, *which) else { return Vec::new() };
                let from = usize::from(*from).min(message.len());
                let to = from.saturating_add(usize::from(*length)).min(message.len());
                piece(*of_query, number, &message, from.saturating_add(usize::from(off / 64)), &message[from..to])
            }
            Word::Rest { of_query, which } => {
                let Some((number, message, said)) = self.begun(*of_query, *which) else { return Vec::new() };
                let pieces = message[said..].chunks(1000).take(50).enumerate();
                let pieces =
                    pieces.map(|(at, part)| piece(*of_query, number, &message, said + at * 1000, part).encode());
                return pieces.flatten().collect();
            }
            Word::Refuse { which, code } => Frame::Refuse { number: self.asked(*which).0, code: *code, wait: 1 },
            Word::Cancel { number } => Frame::Cancel { number: self.number(*number) },
            Word::Ack(acked) => self.ack(acked),
            Word::Ping => Frame::Ping,
            Word::Break { code, base, bits } => {
                Frame::Break { code: *code, base: self.number(*base), bitmap: [*bits; 128] }
            }
        };
        frame.encode()
    }

    /// What has not come yet cannot be acknowledged: then it is a PING.
    fn ack(&self, acked: &Acked) -> Frame {
        let opened = self.session.ledger.opened();
        let ack = match acked {
            Acked::Heard => self.session.ack(),
            Acked::Some(which) => {
                let some = opened.iter().filter(|&counter| which >> (counter % 64) & 1 == 1);
                ack::naming(&some.copied().collect(), 0)
            }
            Acked::Everything => opened.last().map(|&largest| {
                let length = u16::try_from(largest + 1).unwrap_or(u16::MAX);
                Frame::Ack { largest, delay: 0, runs: vec![Run { length, gap: 0 }] }
            }),
            Acked::Any { largest, delay, runs } => {
                let runs = runs.iter().take(40).map(|&(length, gap)| Run { length, gap });
                Some(Frame::Ack { largest: *largest, delay: *delay, runs: runs.collect() })
            }
        };
        ack.unwrap_or(Frame::Ping)
    }

    fn number(&mut self, number: Number) -> u64 {
        match number {
            Number::Next => {
                self.next += 1;
                self.next - 1
            }
            Number::Small(number) => u64::from(number),
            Number::Any(number) => number,
        }
    }

    /// One of the node's queries; a number that it may never have used, if there is none.
    fn asked(&self, which: u8) -> (u64, Vec<u8>) {
        let at = usize::from(which).checked_rem(self.asked.len());
        at.and_then(|at| self.asked.get(at).cloned()).unwrap_or((u64::from(which), Vec::new()))
    }

    fn begun(&self, of_query: bool, which: u8) -> Option<(u64, Vec<u8>, usize)> {
        let begun = &self.begun[usize::from(!of_query)];
        let at = usize::from(which).checked_rem(begun.len())?;
        begun.iter().nth(at).map(|(&number, (message, said))| (number, message.clone(), *said))
    }
}

fn encoded(kind: u8, recipient: [u8; 20], nonce: [u8; 20], reference: [u8; 20], what: u8, length: u8) -> Vec<u8> {
    let type_name = TYPES[usize::from(what) % TYPES.len()].to_owned();
    Message { kind, recipient, nonce, reference, type_name, body: body(length) }.encode()
}

/// The whole length of a message, and its first so many 256ths; zero stands for all of it, as far as a record takes it.
fn begins(message: &[u8], part: u8) -> (u32, Vec<u8>) {
    let length = if part == 0 { message.len().min(40_000) } else { message.len() * usize::from(part) / 256 };
    (u32::try_from(message.len()).unwrap_or(u32::MAX), message[..length].to_vec())
}

fn piece(of_query: bool, number: u64, message: &[u8], offset: usize, part: &[u8]) -> Frame {
    let [total, offset] = [message.len(), offset].map(|length| u32::try_from(length).unwrap_or(u32::MAX));
    Frame::Piece { of: if of_query { OF_QUERY } else { OF_REPLY }, number, total, offset, part: part.to_vec() }
}
