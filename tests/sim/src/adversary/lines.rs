//! Its connections: what comes in is cut into packets, and goes to whom it concerns.

use std::collections::{BTreeMap, VecDeque};

use egtp::Instant;

use super::evidence::Evidence;
use super::manner::Manner;
use super::playing::Plan;
use super::sessions::{Held, Sid, Welcomed};
use super::source::Source;
use super::{Played, Target};
use crate::second::handshake::Initiator;
use crate::second::identity::Identity;
use crate::second::packet::{Packet, framed, unframed};
use crate::{Line, StrangerAction, StrangerEvent};

/// Everything that an adversary knows.
#[derive(Debug)]
pub(super) struct Mind {
    pub(super) me: Identity,
    /// Its second name.
    pub(super) alias: Identity,
    pub(super) source: Source,
    pub(super) manner: Manner,
    pub(super) now: Instant,
    pub(super) out: Vec<StrangerAction>,
    pub(super) lines: BTreeMap<Line, Wire>,
    pub(super) next_line: u64,
    pub(super) sessions: BTreeMap<Sid, Held>,
    /// What it has answered to which HELLO, the latest last.
    pub(super) welcomed: VecDeque<Welcomed>,
    /// How often a handshake was told to come again.
    pub(super) put_off: BTreeMap<Sid, u32>,
    /// The code with which it has refused last.
    pub(super) refused: u8,
    pub(super) generations: BTreeMap<[u8; 20], u32>,
    pub(super) plans: BTreeMap<u64, Plan>,
    pub(super) next_plan: u64,
    pub(super) targets: Vec<Target>,
    /// What is to be sent later, and where.
    pub(super) later: BTreeMap<(Instant, u64), Later>,
    /// Every packet of this run, to be replayed.
    pub(super) recorded: Vec<Recorded>,
    recorded_bytes: usize,
    pub(super) played: VecDeque<Played>,
    pub(super) evidence: Evidence,
    /// It wants no more to do with anybody.
    pub(super) gone: bool,
}

/// Its end of a connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    stream: Vec<u8>,
    /// For whom it was opened.
    pub(super) plan: Option<u64>,
    /// Who is at the other end, as far as that is known.
    pub(super) peer: Option<[u8; 20]>,
    /// A handshake that waits for its WELCOME.
    pub(super) handshake: Option<Handshake>,
    /// What the handshake of a peer was told instead of an answer.
    pub(super) retries: Retries,
    /// It says nothing more on it.
    pub(super) silent: bool,
}

#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) isid: Sid,
    pub(super) initiator: Initiator,
    pub(super) noise: Vec<u8>,
}

/// The RETRYs that one handshake was given.
#[derive(Debug, Default)]
pub(super) struct Retries {
    pub(super) isid: Sid,
    /// The HELLO that came last was answered with one.
    pub(super) is_last: bool,
    /// How many of them the peer has followed.
    pub(super) followed: usize,
}

/// An answer that is held back, and the query that it settles.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) line: Line,
    pub(super) packet: Vec<u8>,
    pub(super) sid: Sid,
    pub(super) number: u64,
}

/// A packet that was sent or received.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) peer: [u8; 20],
    pub(super) received: bool,
    pub(super) packet: Vec<u8>,
}

/// So many bytes of packets are remembered for the rest of the run, 64 MiB, the first ones. No trick fills that.
const MOST_RECORDED: usize = 1 << 26;

impl Mind {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        let mut source = Source::new(seed);
        Self {
            me: Identity(source.bytes()),
            alias: Identity(source.bytes()),
            source,
            manner: Manner::default(),
            now: Instant::ZERO,
            out: Vec::new(),
            lines: BTreeMap::new(),
            next_line: 0,
            sessions: BTreeMap::new(),
            welcomed: VecDeque::new(),
            put_off: BTreeMap::new(),
            refused: 0,
            generations: BTreeMap::new(),
            plans: BTreeMap::new(),
            next_plan: 0,
            targets: Vec::new(),
            later: BTreeMap::new(),
            recorded: Vec::new(),
            recorded_bytes: 0,
            played: VecDeque::new(),
            evidence: Evidence::default(),
            gone: false,
        }
    }

    pub(super) fn handle(&mut self, now: Instant, event: StrangerEvent<'_>, out: &mut Vec<StrangerAction>) {
        self.now = now;
        match event {
            StrangerEvent::Start | StrangerEvent::Wake => {}
            StrangerEvent::Accepted(line, _) => {
                self.lines.insert(line, Wire::default());
            }
            StrangerEvent::Connected(line) => self.connected(line),
            StrangerEvent::Refused(line) | StrangerEvent::Closed(line) => self.lost(line),
            StrangerEvent::Received(line, bytes) => self.received(line, bytes),
        }
        self.evidence.look(now);
        if self.gone {
            self.hang_up();
        }
        self.send_what_is_due();
        self.go_on();
        if let Some(next) = self.next_instant() {
            self.out.push(StrangerAction::WakeAt(next));
        }
        out.append(&mut self.out);
    }

    fn hang_up(&mut self) {
        self.plans.clear();
        self.later.clear();
        let lines: Vec<Line> = self.lines.keys().copied().collect();
        for line in lines {
            self.close_line(line);
        }
    }

    pub(super) fn open_line(&mut self, plan: u64, target: Target) -> Line {
        let line = Line(self.next_line);
        self.next_line += 2;
        let peer = Some(crate::second::identity::node_id(&target.key));
        self.lines.insert(line, Wire { plan: Some(plan), peer, ..Wire::default() });
        self.out.push(StrangerAction::Dial(line, target.address));
        line
    }

    pub(super) fn close_line(&mut self, line: Line) {
        if self.lines.remove(&line).is_some() {
            self.evidence.gone(line);
            self.out.push(StrangerAction::Close(line));
        }
    }

    /// Sends a packet on a line, and remembers it.
    pub(super) fn send(&mut self, line: Line, packet: Vec<u8>) {
        self.send_bytes(line, framed(&packet));
        self.record(line, false, packet);
    }

    pub(super) fn send_bytes(&mut self, line: Line, bytes: Vec<u8>) {
        if self.lines.get(&line).is_some_and(|wire| !wire.silent) {
            self.out.push(StrangerAction::Send(line, bytes));
        }
    }

    fn record(&mut self, line: Line, received: bool, packet: Vec<u8>) {
        if let Some(peer) = self.lines.get(&line).and_then(|wire| wire.peer)
            && self.recorded_bytes + packet.len() <= MOST_RECORDED
        {
            self.recorded_bytes += packet.len();
            self.recorded.push(Recorded { peer, received, packet });
        }
    }

    fn received(&mut self, line: Line, bytes: &[u8]) {
        let Some(wire) = self.lines.get_mut(&line) else { return };
        wire.stream.extend(bytes);
        for packet in unframed(&mut wire.stream) {
            if self.lines.get(&line).is_none_or(|wire| wire.silent) {
                return;
            }
            self.packet(line, &packet);
            self.record(line, true, packet);
        }
    }

    fn packet(&mut self, line: Line, packet: &[u8]) {
        match Packet::parse(packet) {
            Some(Packet::Hello { isid, cookie, noise }) => {
                self.follows_retry(line, isid, cookie);
                self.hello(line, isid, &noise);
            }
            Some(Packet::Welcome { isid, noise }) => self.welcome(line, isid, &noise),
            Some(Packet::Retry { isid, cookie }) => self.retry(line, isid, cookie),
            Some(Packet::Sealed { sid, packet }) => self.sealed(line, sid, &packet),
            Some(Packet::Stale { .. } | Packet::Busy { .. }) => {}
            None => self.evidence.proof(self.now, "sent what is no packet"),
        }
    }

    fn send_what_is_due(&mut self) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let Later { line, packet, sid, number } = entry.remove();
            if let Some(held) = self.sessions.get_mut(&sid) {
                held.settle(number);
            }
            self.send(line, packet);
        }
    }

    fn next_instant(&self) -> Option<Instant> {
        let plans = self.plans.values().filter_map(Plan::next_instant);
        plans.chain(self.later.keys().map(|&(at, _)| at)).chain(self.evidence.next_instant()).min()
    }
}
