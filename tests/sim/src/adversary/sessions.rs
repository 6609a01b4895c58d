//! Its handshakes and sessions, in both roles.

use std::collections::{BTreeMap, BTreeSet};

use egtp::Instant;

use super::lines::{Handshake, Mind, Retries, Wire};
use super::moves::{Face, NO_PONG};
use super::trick::Manner;
use crate::Line;
use crate::second::Key;
use crate::second::frame::Frame;
use crate::second::handshake::{HelloPayload, Initiator, Responder, WelcomePayload};
use crate::second::identity::node_id;
use crate::second::packet::Packet;
use crate::second::session::Session;

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
    /// The counters that have come, the latest of them.
    counters: BTreeSet<u64>,
    /// The numbers that the peer has used, the latest of them.
    pub(super) numbers: BTreeSet<u64>,
    /// Those of them that the peer waits for.
    pub(super) outstanding: BTreeSet<u64>,
    /// What has come in pieces so far.
    pub(super) assemblies: BTreeMap<u64, Assembly>,
    /// The numbers that it has used itself.
    asked: BTreeSet<u64>,
    /// What the peer has answered to them.
    replies: BTreeMap<u64, [u8; 20]>,
}

/// A query that comes in pieces.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) flags: u8,
    pub(super) until: u32,
    pub(super) total: u32,
    pub(super) bytes: Vec<u8>,
}

/// The answer to a HELLO.
#[derive(Debug)]
pub(super) struct Welcomed {
    ephemeral: Key,
    packet: Vec<u8>,
}

/// What is remembered of a session's past, for each kind of thing, and of PINGs in all of them.
const MEMORY: usize = 4096;
const SESSIONS: usize = 256;
const WELCOMED: usize = 16;
/// What it gives for a cookie, and how many of those a node takes for one handshake.
const COOKIE: [u8; 16] = [7; 16];
const MOST_RETRIES: usize = 4;
/// As many as a peer may have outstanding unless the manner says otherwise.
const ALLOWED: u16 = 100;

impl Mind {
    /// Begins a handshake on a line that it has dialled.
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
        self.keep(isid, Session::of_initiator(&keys, answer.rsid), peer, usize::MAX);
        self.met(line, isid);
    }

    pub(super) fn hello(&mut self, line: Line, isid: Sid, noise: &[u8]) {
        let Some(&ephemeral) = noise.first_chunk() else { return };
        if let Some(welcomed) = self.welcomed.iter().find(|welcomed| welcomed.ephemeral == ephemeral) {
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
        let mut max_outstanding = ALLOWED;
        match self.manner {
            Manner::WelcomesNever => return,
            Manner::BusyForEver => return self.send(line, Packet::Busy { isid, code: 1, wait_secs: 1 }.encode()),
            Manner::RetryForEver => return self.say_retry(line, isid),
            Manner::WelcomesWrongly => {
                return self.send(line, Packet::Welcome { isid, noise: vec![7; 72] }.encode());
            }
            Manner::WelcomesAnother => {
                return self.send(line, Packet::Welcome { isid: *b"another.", noise: vec![7; 72] }.encode());
            }
            Manner::AllowsOne => max_outstanding = 1,
            _ => {}
        }
        let held = self.held_of(peer, &hello.asked);
        let generation = self.generations.entry(peer).or_default();
        *generation = hello.generation.max(*generation).saturating_add(1);
        let generation = *generation;
        let rsid = self.source.number().to_be_bytes();
        let answer = WelcomePayload { rsid, generation, held, boot: 1, max_outstanding };
        let Some((noise, keys)) = responder.answer(self.source.bytes(), &answer.encode()) else { return };
        let packet = Packet::Welcome { isid, noise }.encode();
        self.keep(rsid, Session::of_responder(&keys, isid), peer, usize::from(max_outstanding));
        self.welcomed.push_back(Welcomed { ephemeral, packet: packet.clone() });
        if self.welcomed.len() > WELCOMED {
            self.welcomed.pop_front();
        }
        self.send(line, packet);
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
    pub(super) fn held_of(&self, peer: [u8; 20], asked: &[Sid]) -> u8 {
        let holds = |sid: &Sid| self.sessions.get(sid).is_some_and(|held| held.peer == peer);
        asked.iter().enumerate().fold(0, |bits, (at, sid)| bits | u8::from(holds(sid)) << at)
    }

    fn keep(&mut self, sid: Sid, session: Session, peer: [u8; 20], allowed: usize) {
        if self.sessions.len() >= SESSIONS {
            // Which one goes does not matter: a peer may forget sessions as it likes.
            self.sessions.pop_first();
        }
        let held = Held {
            session,
            peer,
            clock: self.now,
            allowed,
            counters: BTreeSet::new(),
            numbers: BTreeSet::new(),
            outstanding: BTreeSet::new(),
            assemblies: BTreeMap::new(),
            asked: BTreeSet::new(),
            replies: BTreeMap::new(),
        };
        self.sessions.insert(sid, held);
    }

    /// A record of these frames.
    pub(super) fn seal(&mut self, sid: Sid, frames: &[Frame]) -> Option<Vec<u8>> {
        let held = self.sessions.get_mut(&sid)?;
        for frame in frames {
            match frame {
                Frame::Query { number, .. } => {
                    insert(&mut held.asked, *number);
                }
                Frame::Ping { token, .. } => {
                    self.pings.push_back(*token);
                    if self.pings.len() > MEMORY {
                        self.pings.pop_front();
                    }
                }
                _ => {}
            }
        }
        let plaintext: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let packet = held.session.seal(&plaintext);
        if frames.iter().any(|frame| matches!(frame, Frame::Break { .. })) {
            // It says that nothing was taken: what came in the session may come again, and what still comes in it is lost.
            self.evidence.give_back(sid);
            self.sessions.remove(&sid);
        }
        Some(packet)
    }

    /// Sends a record of these frames.
    pub(super) fn say(&mut self, line: Line, sid: Sid, frames: &[Frame]) {
        if let Some(packet) = self.seal(sid, frames) {
            self.send(line, packet);
        }
    }

    pub(super) fn sealed(&mut self, line: Line, sid: Sid, packet: &[u8]) {
        let Some(held) = self.sessions.get_mut(&sid) else {
            let counter = packet.get(10..18).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
            return self.send(line, Packet::Stale { sid, counter }.encode());
        };
        let Some((counter, plaintext)) = held.session.open(packet) else {
            return self.evidence.proof(self.now, "sent a record that does not open");
        };
        if !insert(&mut held.counters, counter) {
            self.evidence.proof(self.now, format!("sent two records under counter {counter}"));
        }
        let Some(frames) = Frame::parse_all(&plaintext) else {
            return self.evidence.proof(self.now, "sent a record of no frames that there are");
        };
        for frame in frames {
            self.frame(line, sid, frame);
        }
    }

    fn frame(&mut self, line: Line, sid: Sid, frame: Frame) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        let peer = held.peer;
        match frame {
            Frame::Query { number, flags, until, total, part } => {
                if !insert(&mut held.numbers, number) {
                    self.evidence.proof(self.now, format!("used number {number} twice"));
                    return;
                }
                held.outstanding.insert(number);
                if held.outstanding.len() > held.allowed {
                    let proof =
                        format!("has {} queries outstanding, and may have {}", held.outstanding.len(), held.allowed);
                    self.evidence.proof(self.now, proof);
                }
                held.assemblies.insert(number, Assembly { flags, until, total, bytes: part });
                self.if_whole(line, sid, number);
            }
            Frame::Piece { of: 1, number, offset, part } => {
                if let Some(assembly) = held.assemblies.get_mut(&number) {
                    if assembly.bytes.len() == usize::try_from(offset).unwrap_or(usize::MAX) {
                        assembly.bytes.extend(part);
                    } else {
                        self.evidence.proof(self.now, format!("sent the pieces of query {number} out of order"));
                    }
                    self.if_whole(line, sid, number);
                }
            }
            Frame::Done { base, bitmap } => {
                for number in (0..64).filter(|bit| bitmap & (1 << bit) != 0).map(|bit| base.saturating_add(bit)) {
                    held.outstanding.remove(&number);
                    held.assemblies.remove(&number);
                    self.evidence.done(sid, number);
                }
            }
            Frame::Ping { token, asked } => {
                let held = self.held_of(peer, &asked);
                self.say(line, sid, &[Frame::Pong { token, held }]);
            }
            Frame::Pong { token, held: sessions } => {
                // None of its PINGs that is answered asks about any.
                if sessions != 0 {
                    self.evidence.proof(self.now, "says that it holds sessions that it was not asked about");
                }
                let asked = self.pings.iter().position(|&ping| ping == token).and_then(|at| self.pings.remove(at));
                if asked.is_none() || token & NO_PONG != 0 {
                    self.evidence.proof(self.now, "answered a PING twice, or one in a record that had to be dropped");
                }
                self.ponged(token);
            }
            Frame::Leave { step: 0 } => self.say(line, sid, &[Frame::Leave { step: 1 }]),
            Frame::Break { .. } => {
                self.sessions.remove(&sid);
            }
            Frame::Drained => {
                // It asks nothing more in it either.
                self.say(line, sid, &[Frame::Drained]);
                self.sessions.remove(&sid);
            }
            Frame::Ack { number, .. } | Frame::Refuse { number, .. } | Frame::Gone { number, .. } => {
                self.about(sid, number);
            }
            Frame::Reply { number, part, .. } => {
                let id = crate::second::message::id(&part);
                if *held.replies.entry(number).or_insert(id) != id {
                    self.evidence.proof(self.now, format!("answered number {number} twice"));
                }
                if held.replies.len() > MEMORY {
                    held.replies.pop_first();
                }
                self.about(sid, number);
            }
            Frame::Piece { .. } | Frame::Leave { .. } => {}
        }
    }

    /// The peer says something of a number of this adversary's.
    fn about(&mut self, sid: Sid, number: u64) {
        if self.sessions.get(&sid).is_some_and(|held| !held.asked.contains(&number)) {
            self.evidence.proof(self.now, format!("speaks of number {number}, which was never used"));
        }
    }
}

/// Remembers one more; says whether it is new. The lowest is forgotten when there are too many.
fn insert(set: &mut BTreeSet<u64>, value: u64) -> bool {
    let new = set.insert(value);
    if set.len() > MEMORY {
        set.pop_first();
    }
    new
}
