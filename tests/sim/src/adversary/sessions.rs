//! Its handshakes and sessions, in both roles.

use std::collections::{BTreeMap, BTreeSet};

use egtp::Instant;

use super::answering::Asked;
use super::lines::{Handshake, Mind, Retries, Wire};
use super::manner::{Acks, Manner};
use super::moves::Face;
use super::said::{Opened, Said};
use super::words::Words;
use crate::Line;
use crate::second::Key;
use crate::second::ack::naming;
use crate::second::frame::{Frame, OF_QUERY, Run};
use crate::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use crate::second::identity::node_id;
use crate::second::packet::Packet;
use crate::second::parts::Parts;
use crate::second::session::{Session, Unheard};

/// A session's name.
pub(super) type Sid = [u8; 8];

/// Its end of a session, and what has happened in it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) session: Session,
    pub(super) peer: [u8; 20],
    /// When its session clock started.
    pub(super) clock: Instant,
    /// How many queries it lets the peer have outstanding.
    pub(super) allowed: usize,
    /// The numbers of the queries that the peer waits for.
    pub(super) outstanding: BTreeSet<u64>,
    /// The numbers that it has answered or refused, the latest of them.
    answered: BTreeSet<u64>,
    /// What the peer asks.
    pub(super) assemblies: BTreeMap<u64, Assembly>,
    pub(super) said: Said,
    pub(super) acks: Acks,
    /// The counters of the peer's records that hold nothing but a PING, the latest of them.
    pings: BTreeSet<u64>,
    /// What is to be answered once the peer is heard again.
    pub(super) owed: Vec<Asked>,
}

/// A query of the peer's.
#[derive(Debug)]
pub(super) struct Assembly {
    /// What its first part says of it.
    pub(super) head: Option<(u8, u32)>,
    pub(super) parts: Parts,
    /// It has come whole, and was answered or not.
    pub(super) asked: Option<Asked>,
}

/// The answer to a HELLO.
#[derive(Debug)]
pub(super) struct Welcomed {
    noise: Vec<u8>,
    packet: Vec<u8>,
}

/// What is remembered of whole queries, and of PINGs.
const MEMORY: usize = 64;
/// What is remembered of the numbers that it has answered.
const NUMBERS: usize = 4096;
const SESSIONS: usize = 256;
const WELCOMED: usize = 16;
/// What it gives for a cookie, and how many of those a node takes for one handshake.
const COOKIE: [u8; 16] = [7; 16];
const MOST_RETRIES: usize = 4;
/// As many as a peer may have outstanding unless the manner says otherwise.
const ALLOWED: u16 = 100;
/// How long a WELCOME's Noise message is.
const WELCOME: usize = 64;

impl Mind {
    /// Begins a handshake on a line.
    pub(super) fn shake_hands(&mut self, line: Line, responder: &Key, face: Face) {
        let me = if face == Face::First { self.me } else { self.alias };
        let (isid, ephemeral) = (self.source.number().to_be_bytes(), self.source.bytes());
        let generation = self.generations.get(&node_id(responder)).copied().unwrap_or(0);
        let payload = HelloPayload { key: me.public_key(), generation, asked: Vec::new() }.encode();
        let Some((initiator, noise)) = Initiator::start(&me, responder, isid, ephemeral, &payload) else { return };
        let packet = Packet::Hello { isid, cookie: [0; 16], noise: noise.clone() }.encode();
        self.keep_hello(line, &packet);
        self.send(line, packet);
        if let Some(wire) = self.lines.get_mut(&line) {
            wire.handshake = Some(Handshake { isid, initiator, noise });
        }
    }

    pub(super) fn retry(&mut self, line: Line, isid: Sid, cookie: [u8; 16]) {
        let handshake = self.lines.get(&line).and_then(|wire| wire.handshake.as_ref());
        if let Some(Handshake { noise, .. }) = handshake.filter(|handshake| handshake.isid == isid) {
            let noise = noise.clone();
            self.send(line, Packet::Hello { isid, cookie, noise }.encode());
        }
    }

    pub(super) fn welcome(&mut self, line: Line, isid: Sid, noise: &[u8]) {
        let Some(wire) = self.lines.get_mut(&line) else { return };
        let (Some(peer), Some(handshake)) = (wire.peer, wire.handshake.take_if(|handshake| handshake.isid == isid))
        else {
            return;
        };
        let Some((keys, answer)) = handshake.initiator.finish(noise) else {
            self.evidence.proof(self.now, "answered a HELLO with a WELCOME that does not open");
            return;
        };
        let generation = self.generations.entry(peer).or_default();
        *generation = answer.generation.max(*generation);
        self.keep(isid, Session::of_initiator(&keys, answer.rsid), peer, usize::MAX, Acks::Honest);
        self.met(line, isid);
    }

    pub(super) fn hello(&mut self, line: Line, isid: Sid, noise: &[u8]) {
        if let Some(welcomed) = self.welcomed.iter().find(|welcomed| welcomed.noise == noise) {
            let packet = welcomed.packet.clone();
            return self.send(line, packet);
        }
        let Some(responder) = Responder::open(&self.me, isid, noise) else {
            self.evidence.proof(self.now, "sent a HELLO that does not open");
            return self.close_line(line);
        };
        let hello = responder.payload.clone();
        let peer = node_id(&hello.key);
        if let Some(wire) = self.lines.get_mut(&line) {
            wire.peer = Some(peer);
        }
        if self.manner == Manner::CrossesHello {
            self.shake_hands(line, &hello.key, Face::First);
        }
        if self.is_put_off(line, isid) {
            return;
        }
        let max_outstanding = if self.manner == Manner::AllowsOne { 1 } else { ALLOWED };
        let held = self.held_of(peer, &hello.asked);
        let generation = self.generations.entry(peer).or_default();
        *generation = hello.generation.max(*generation).saturating_add(1);
        let generation = *generation;
        let rsid = self.source.number().to_be_bytes();
        let answer = WelcomePayload { rsid, generation, held, max_outstanding };
        let Some((answer, keys)) = responder.answer(self.source.bytes(), &answer.encode()) else { return };
        let packet = Packet::Welcome { isid, noise: answer }.encode();
        let acks = self.manner.acks();
        self.keep(rsid, Session::of_responder(&keys, isid), peer, usize::from(max_outstanding), acks);
        self.welcomed.push_back(Welcomed { noise: noise.to_vec(), packet: packet.clone() });
        if self.welcomed.len() > WELCOMED {
            self.welcomed.pop_front();
        }
        self.send(line, packet);
    }

    /// Whether a HELLO gets something else than its WELCOME, or nothing.
    fn is_put_off(&mut self, line: Line, isid: Sid) -> bool {
        match self.manner {
            Manner::WelcomesNever => {}
            Manner::BusyForEver => self.say_busy(line, isid),
            Manner::RetryForEver => self.say_retry(line, isid),
            Manner::WelcomesWrongly => self.send(line, Packet::Welcome { isid, noise: vec![7; WELCOME] }.encode()),
            Manner::WelcomesAnother => {
                self.send(line, Packet::Welcome { isid: *b"another.", noise: vec![7; WELCOME] }.encode());
            }
            Manner::PutsOff => {
                let times = self.put_off.entry(isid).or_default();
                *times += 1;
                let times = *times;
                if self.put_off.len() > MEMORY {
                    self.put_off.pop_first();
                }
                match times {
                    1 => self.say_busy(line, isid),
                    2 => self.say_retry(line, isid),
                    _ => return false,
                }
            }
            _ => return false,
        }
        true
    }

    fn say_busy(&mut self, line: Line, isid: Sid) {
        self.send(line, Packet::Busy { isid, code: 1, wait: 10 }.encode());
    }

    fn say_retry(&mut self, line: Line, isid: Sid) {
        if let Some(wire) = self.lines.get_mut(&line) {
            wire.retries.is_last = true;
        }
        self.send(line, Packet::Retry { isid, cookie: COOKIE }.encode());
    }

    /// A HELLO has come. If the last one was answered with RETRY, it comes for that.
    pub(super) fn follows_retry(&mut self, line: Line, isid: Sid, cookie: [u8; 16]) {
        let Some(Wire { retries, .. }) = self.lines.get_mut(&line) else { return };
        if retries.isid != isid {
            *retries = Retries { isid, ..Retries::default() };
        }
        if std::mem::take(&mut retries.is_last) && cookie == COOKIE {
            retries.followed += 1;
            if retries.followed > MOST_RETRIES {
                self.evidence.proof(self.now, "has sent the same HELLO with more cookies than four");
            }
        }
    }

    /// Which of the sessions that a peer asks about it still holds.
    fn held_of(&self, peer: [u8; 20], asked: &[Sid]) -> u8 {
        let holds = |sid: &Sid| self.sessions.get(sid).is_some_and(|held| held.peer == peer);
        asked.iter().enumerate().fold(0, |bits, (at, sid)| bits | u8::from(holds(sid)) << at)
    }

    fn keep(&mut self, sid: Sid, session: Session, peer: [u8; 20], allowed: usize, acks: Acks) {
        if self.sessions.len() >= SESSIONS {
            // Which one goes does not matter: a peer may forget sessions as it likes.
            self.sessions.pop_first();
        }
        let mut words = Words::addressed_to([self.me, self.alias].map(|identity| identity.node_id()));
        if matches!(acks, Acks::PassOver | Acks::Everything) {
            words.break_rules();
        }
        let held = Held {
            session,
            peer,
            clock: self.now,
            allowed,
            outstanding: BTreeSet::new(),
            answered: BTreeSet::new(),
            assemblies: BTreeMap::new(),
            said: Said::with(words),
            acks,
            pings: BTreeSet::new(),
            owed: Vec::new(),
        };
        self.sessions.insert(sid, held);
    }

    /// A record of these frames, for a line.
    pub(super) fn seal(&mut self, line: Line, sid: Sid, frames: &[Frame]) -> Option<Vec<u8>> {
        let held = self.sessions.get_mut(&sid)?;
        held.said.say(line, frames);
        let packet = held.session.say(frames);
        for frame in frames {
            match frame {
                // Whoever is told so may ask the same again under another number, or in another session.
                Frame::Refuse { number, code: 2..=5 | 8 | 9, .. } => self.evidence.give_back(sid, *number),
                Frame::Break { base, bitmap, .. } => {
                    self.evidence.give_back_all(sid, |number| !is_taken(*base, bitmap, number));
                    // What still comes in it is lost.
                    self.sessions.remove(&sid);
                }
                _ => {}
            }
        }
        Some(packet)
    }

    /// Sends a record of these frames.
    pub(super) fn say(&mut self, line: Line, sid: Sid, frames: &[Frame]) {
        if let Some(packet) = self.seal(line, sid, frames) {
            self.send(line, packet);
        }
    }

    pub(super) fn sealed(&mut self, line: Line, sid: Sid, packet: &[u8]) {
        let Some(held) = self.sessions.get_mut(&sid) else {
            let counter = packet.get(10..18).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
            return self.send(line, Packet::Stale { sid, counter }.encode());
        };
        let (counter, frames) = match held.session.hear(packet) {
            Ok(heard) => heard,
            Err(Unheard::Unopened) => return self.evidence.proof(self.now, "sent a record that does not open"),
            Err(Unheard::Dropped(counter)) => {
                let what = format!("sent two records under counter {counter}, or one below the window");
                return self.evidence.proof(self.now, what);
            }
            Err(Unheard::Malformed(counter)) => {
                return self.evidence.proof(self.now, format!("sent record {counter}, which is malformed"));
            }
        };
        let open: BTreeSet<Line> = self.lines.keys().copied().collect();
        let opened = Opened { line, counter, frames: &frames, ledger: &held.session.ledger, open: &open };
        for finding in held.said.hear(&opened) {
            self.evidence.found(self.now, finding);
        }
        if frames == [Frame::Ping] {
            held.pings.insert(counter);
            if held.pings.len() > MEMORY {
                held.pings.pop_first();
            }
        }
        for frame in &frames {
            self.frame(line, sid, frame);
        }
        if frames.iter().any(Frame::asks_for_ack) {
            self.acknowledge(line, sid);
        }
        self.pay(line, sid);
        self.acknowledged(sid);
    }

    /// Says, in its manner, what it has opened.
    pub(super) fn acknowledge(&mut self, line: Line, sid: Sid) {
        let (Some(held), true) = (self.sessions.get(&sid), self.lines.contains_key(&line)) else { return };
        let opened = held.session.ledger.opened();
        let ack = match held.acks {
            Acks::Honest => held.session.ack(),
            Acks::Never => None,
            Acks::PassOver => naming(&(opened & &held.pings), 0),
            Acks::Everything => opened.last().map(|&largest| {
                let length = u16::try_from(largest + 1).unwrap_or(u16::MAX);
                Frame::Ack { largest, delay: 0, runs: vec![Run { length, gap: 0 }] }
            }),
        };
        if let Some(ack) = ack {
            self.say(line, sid, &[ack]);
        }
    }

    fn frame(&mut self, line: Line, sid: Sid, frame: &Frame) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        match frame {
            Frame::Query { number, flags, until, total, part } => {
                if !held.answered.contains(number) {
                    held.outstanding.insert(*number);
                }
                if held.outstanding.len() > held.allowed {
                    let proof =
                        format!("has {} queries outstanding, and may have {}", held.outstanding.len(), held.allowed);
                    self.evidence.proof(self.now, proof);
                }
                self.part(line, sid, *number, Some((*flags, *until)), (*total, 0, part));
            }
            Frame::Piece { of: OF_QUERY, number, total, offset, part } => {
                self.part(line, sid, *number, None, (*total, *offset, part));
            }
            Frame::Cancel { number } => {
                held.outstanding.remove(number);
                held.assemblies.remove(number);
                self.evidence.cancelled(sid, *number);
            }
            Frame::Break { .. } => {
                self.sessions.remove(&sid);
            }
            Frame::Reply { .. } | Frame::Piece { .. } | Frame::Refuse { .. } | Frame::Ack { .. } | Frame::Ping => {}
        }
    }

    /// A part of a query has come, perhaps the first one, which says what it is.
    fn part(&mut self, line: Line, sid: Sid, number: u64, head: Option<(u8, u32)>, part: (u32, u32, &[u8])) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        let (total, offset, bytes) = part;
        if held.assemblies.len() > 2 * MEMORY {
            let is_whole = |assembly: &&u64| held.assemblies[assembly].asked.is_some();
            if let Some(&oldest) = held.assemblies.keys().find(is_whole) {
                held.assemblies.remove(&oldest);
            }
        }
        let new = || Assembly { head: None, parts: Parts::of(total), asked: None };
        let assembly = held.assemblies.entry(number).or_insert_with(new);
        let says_otherwise = head.is_some() && assembly.head.is_some() && head != assembly.head;
        assembly.head = assembly.head.or(head);
        if assembly.parts.add(total, offset, bytes).is_err() || says_otherwise {
            let what = format!("used number {number} twice, or contradicts itself in it");
            return self.evidence.proof(self.now, what);
        }
        self.if_whole(line, sid, number);
    }
}

impl Held {
    /// The peer waits no more for what it has asked under this number, as soon as it hears what is sent now.
    pub(super) fn settle(&mut self, number: u64) {
        self.outstanding.remove(&number);
        self.answered.insert(number);
        if self.answered.len() > NUMBERS {
            self.answered.pop_first();
        }
    }
}

/// Whether a BREAK says that a number was taken.
pub(super) fn is_taken(base: u64, bitmap: &[u8; 128], number: u64) -> bool {
    let Some(at) = number.checked_sub(base) else { return true };
    let byte = usize::try_from(at / 8).ok().and_then(|at| bitmap.get(at));
    byte.is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}
