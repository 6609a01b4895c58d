//! Tricks in play: each goes through its moves, one connection at a time.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use egtp::Instant;

use super::lines::{Mind, Recorded};
use super::moves::{Move, Scope};
use super::sessions::Sid;
use super::trick::Trick;
use super::{Played, Target};
use crate::Line;
use crate::second::frame::Frame;
use crate::second::packet::{Packet, framed};

/// A trick that is not over.
#[derive(Debug)]
pub(super) struct Plan {
    trick: Trick,
    target: Target,
    moves: VecDeque<Move>,
    awaits: Awaits,
    /// Every connection that it has opened, the present one last.
    lines: Vec<Line>,
    /// Every session that it has made, the present one last.
    sessions: Vec<Sid>,
    /// Its latest HELLO.
    hello: Vec<u8>,
    /// The records that it has sent.
    records: Vec<Vec<u8>>,
    /// What the node must acknowledge when everything else is done.
    last_ping: Option<(Sid, u64)>,
    closed: bool,
    answered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Awaits {
    /// Its beginning, or the end of a pause.
    Time(Instant),
    Connection,
    Welcome,
    Nothing,
}

/// So long the node has to answer the PING at the end.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// So many records are repeated.
const MOST_RECORDS: usize = 64;
/// So many packets of other connections go out at once, the latest ones.
const MOST_REPLAYED: usize = 256;
/// So many results are kept.
const MOST_PLAYED: usize = 1000;

impl Plan {
    pub(super) fn next_instant(&self) -> Option<Instant> {
        match self.awaits {
            Awaits::Time(at) => Some(at),
            Awaits::Connection | Awaits::Welcome | Awaits::Nothing => None,
        }
    }

    fn line(&self) -> Option<Line> {
        self.lines.last().copied()
    }
}

impl Mind {
    /// Takes up a trick.
    pub(super) fn begin(&mut self, trick: Trick, target: Target, at: Instant) {
        if !self.targets.contains(&target) {
            self.targets.push(target);
        }
        let other = self.targets.iter().rfind(|other| other.key != target.key);
        let another = other.map_or_else(|| self.alias.public_key(), |other| other.key);
        let (serial, target_key) = (self.next_plan, target.key);
        self.next_plan += 1;
        let mut scope = Scope { me: &self.me, target: target_key, another, serial, source: &mut self.source };
        let moves = scope.moves(trick).into();
        let plan = Plan {
            trick,
            target,
            moves,
            awaits: Awaits::Time(at),
            lines: Vec::new(),
            sessions: Vec::new(),
            hello: Vec::new(),
            records: Vec::new(),
            last_ping: None,
            closed: false,
            answered: false,
        };
        self.plans.insert(serial, plan);
    }

    /// Every trick that waits for nothing any more goes on.
    pub(super) fn go_on(&mut self) {
        let serials: Vec<u64> = self.plans.keys().copied().collect();
        for serial in serials {
            if let Some(plan) = self.plans.get_mut(&serial)
                && let Awaits::Time(at) = plan.awaits
                && at <= self.now
            {
                plan.awaits = Awaits::Nothing;
            }
            while self.plans.get(&serial).is_some_and(|plan| plan.awaits == Awaits::Nothing) {
                self.step(serial);
            }
        }
    }

    pub(super) fn connected(&mut self, line: Line) {
        if let Some(plan) = self.plan_of(line)
            && (plan.line(), plan.awaits) == (Some(line), Awaits::Connection)
        {
            plan.awaits = Awaits::Nothing;
        }
    }

    /// A connection is gone. What the trick still had in mind for it is left out.
    pub(super) fn lost(&mut self, line: Line) {
        if let Some(plan) = self.plan_of(line) {
            plan.closed = true;
            if plan.line() == Some(line) {
                plan.moves = mem::take(&mut plan.moves)
                    .into_iter()
                    .skip_while(|next| !matches!(next, Move::Redial | Move::DialAnother))
                    .collect();
                plan.awaits = Awaits::Nothing;
            }
        }
        self.evidence.gone(line);
        self.lines.remove(&line);
    }

    /// A handshake has succeeded. A record must follow, and a short one.
    pub(super) fn met(&mut self, line: Line, sid: Sid) {
        let Some(plan) = self.plan_of(line).filter(|plan| plan.awaits == Awaits::Welcome) else {
            return self.say(line, sid, &[Frame::Ping]);
        };
        plan.sessions.push(sid);
        plan.awaits = Awaits::Nothing;
        plan.moves.push_front(Move::Say(vec![Frame::Ping]));
        if plan.trick.breaks_rules()
            && let Some(held) = self.sessions.get_mut(&sid)
        {
            held.said.words.break_rules();
        }
    }

    /// Something was heard in a session, perhaps an ACK.
    pub(super) fn acknowledged(&mut self, sid: Sid) {
        let Some(held) = self.sessions.get(&sid) else { return };
        for plan in self.plans.values_mut() {
            if let Some((session, counter)) = plan.last_ping
                && session == sid
                && held.session.ledger.is_acknowledged(counter)
            {
                plan.answered = true;
                plan.awaits = Awaits::Nothing;
            }
        }
    }

    fn plan_of(&mut self, line: Line) -> Option<&mut Plan> {
        let serial = self.lines.get(&line)?.plan?;
        self.plans.get_mut(&serial)
    }

    fn step(&mut self, serial: u64) {
        let Some(plan) = self.plans.get_mut(&serial) else { return };
        let (target, session) = (plan.target, plan.sessions.last().copied());
        let Some(line) = plan.line() else {
            plan.awaits = Awaits::Connection;
            let line = self.open_line(serial, target);
            return self.with_plan(serial, |plan| plan.lines.push(line));
        };
        let Some(next) = plan.moves.pop_front() else { return self.finish(serial, line) };
        match next {
            Move::Meet(face) => {
                plan.awaits = Awaits::Welcome;
                self.shake_hands(line, &target.key, face);
            }
            Move::HelloAgain => {
                let hello = plan.hello.clone();
                self.send(line, hello);
            }
            Move::Bytes(bytes) => self.send_bytes(line, bytes),
            Move::Redial | Move::DialAnother => {
                plan.awaits = Awaits::Connection;
                if next == Move::Redial {
                    self.close_line(line);
                }
                let line = self.open_line(serial, target);
                self.with_plan(serial, |plan| plan.lines.push(line));
            }
            Move::Wait(time) => plan.awaits = Awaits::Time(self.now + time),
            Move::PingInFirst => {
                // If the first handshake came to nothing, the only session is the one that belongs here.
                if let [first, _, ..] = plan.sessions[..] {
                    self.say(line, first, &[Frame::Ping]);
                }
            }
            Move::RecordsAgain => {
                let records = plan.records.clone();
                self.replay(line, records);
            }
            Move::RecordedElsewhere => self.send_recorded(line, |recorded, peer| recorded.peer != peer),
            Move::RecordedFromTarget => {
                self.send_recorded(line, |recorded, peer| recorded.peer == peer && recorded.received);
            }
            Move::RecordedEver(count) => self.send_drawn(line, count),
            next => {
                if let Some(sid) = session {
                    self.step_in_session(serial, line, sid, next);
                }
            }
        }
    }

    fn step_in_session(&mut self, serial: u64, line: Line, sid: Sid, next: Move) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        let session = &mut held.session;
        match next {
            Move::Say(frames) => {
                let packet = self.seal(line, sid, &frames);
                self.play_record(serial, line, packet);
            }
            Move::SayBytes(bytes) => {
                let packet = session.seal(&bytes);
                self.play_record(serial, line, Some(packet));
            }
            Move::SayAltered(frames) => {
                let mut packet = session.seal_under(session.counter, &Frame::encode_all(&frames));
                packet[20] ^= 1;
                session.counter += 1;
                self.play_record(serial, line, Some(packet));
            }
            Move::SayInVain(frames) => {
                let packet = session.seal_under(session.counter, &Frame::encode_all(&frames));
                session.counter += 1;
                self.play_record(serial, line, Some(packet));
            }
            Move::SayUnder(counter, frames) => {
                let packet = session.seal_under(counter, &Frame::encode_all(&frames));
                self.play_record(serial, line, Some(packet));
            }
            Move::Counter(counter) => session.counter = counter,
            Move::RenameSession(name) => session.peer_sid = name,
            Move::Acknowledge(acks) => held.acks = acks,
            Move::AcknowledgeNow => self.acknowledge(line, sid),
            Move::SayStale => {
                let counter = session.ledger.opened().last().copied().unwrap_or(0);
                self.send(line, Packet::Stale { sid, counter }.encode());
            }
            _ => {}
        }
    }

    /// A PING at the end shows whether the node goes on with it; then everything is closed.
    fn finish(&mut self, serial: u64, line: Line) {
        let Some(plan) = self.plans.get_mut(&serial) else { return };
        if let (Some(&sid), None, true) = (plan.sessions.last(), plan.last_ping, self.lines.contains_key(&line))
            && let Some(held) = self.sessions.get(&sid)
        {
            plan.last_ping = Some((sid, held.session.counter));
            plan.awaits = Awaits::Time(self.now + LAST_ANSWER);
            return self.say(line, sid, &[Frame::Ping]);
        }
        let Some(plan) = self.plans.remove(&serial) else { return };
        for line in plan.lines {
            self.close_line(line);
        }
        self.played.push_back(Played { trick: plan.trick, closed: plan.closed, answered: plan.answered });
        if self.played.len() > MOST_PLAYED {
            self.played.pop_front();
        }
    }

    fn with_plan(&mut self, serial: u64, change: impl FnOnce(&mut Plan)) {
        if let Some(plan) = self.plans.get_mut(&serial) {
            change(plan);
        }
    }

    /// Sends a record, and keeps it to be repeated.
    fn play_record(&mut self, serial: u64, line: Line, packet: Option<Vec<u8>>) {
        let Some(packet) = packet else { return };
        self.with_plan(serial, |plan| {
            if plan.records.len() < MOST_RECORDS {
                plan.records.push(packet.clone());
            }
        });
        self.send(line, packet);
    }

    /// Sends what was sent before. Whatever of it the node has not opened it may open now.
    fn replay(&mut self, line: Line, packets: Vec<Vec<u8>>) {
        let peer = self.lines.get(&line).and_then(|wire| wire.peer);
        for held in self.sessions.values_mut().filter(|held| Some(held.peer) == peer) {
            held.said.replay(line);
        }
        for packet in packets {
            self.send_bytes(line, framed(&packet));
        }
    }

    /// The latest packets of those that were recorded.
    fn send_recorded(&mut self, line: Line, which: impl Fn(&Recorded, [u8; 20]) -> bool) {
        let Some(peer) = self.lines.get(&line).and_then(|wire| wire.peer) else { return };
        let recorded = self.recorded.iter().rev().filter(|recorded| which(recorded, peer)).take(MOST_REPLAYED);
        let mut packets: Vec<Vec<u8>> = recorded.map(|recorded| recorded.packet.clone()).collect();
        packets.reverse();
        self.replay(line, packets);
    }

    /// So many of all the records that were ever sent to whom this line leads, in any order.
    fn send_drawn(&mut self, line: Line, count: usize) {
        let peer = self.lines.get(&line).and_then(|wire| wire.peer);
        let is_sealed = |packet: &[u8]| matches!(Packet::parse(packet), Some(Packet::Sealed { .. }));
        let all: Vec<usize> = (0..self.recorded.len())
            .filter(|&at| {
                let recorded = &self.recorded[at];
                Some(recorded.peer) == peer && !recorded.received && is_sealed(&recorded.packet)
            })
            .collect();
        let mut packets = Vec::new();
        for _ in 0..count.min(all.len()) {
            let drawn = self.source.number() % all.len() as u64;
            let at = all[usize::try_from(drawn).unwrap_or(0)];
            packets.push(self.recorded[at].packet.clone());
        }
        self.replay(line, packets);
    }

    /// The HELLO that a trick has sent, to be sent again.
    pub(super) fn keep_hello(&mut self, line: Line, hello: &[u8]) {
        if let Some(plan) = self.plan_of(line) {
            plan.hello = hello.to_vec();
        }
    }
}
