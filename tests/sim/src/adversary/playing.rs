//! Tricks in play: each goes through its moves, one connection at a time.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use egtp::Instant;

use super::lines::{Mind, Recorded};
use super::moves::{Move, NO_PONG, Scope};
use super::sessions::Sid;
use super::trick::Trick;
use super::{Played, Target};
use crate::Line;
use crate::second::crypto::seal;
use crate::second::frame::Frame;
use crate::second::packet::framed;

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
    /// What the node must answer when everything else is done.
    last_ping: Option<u64>,
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
        self.lines.remove(&line);
    }

    /// A handshake of a trick's has succeeded.
    pub(super) fn met(&mut self, line: Line, sid: Sid) {
        if let Some(plan) = self.plan_of(line)
            && plan.awaits == Awaits::Welcome
        {
            plan.sessions.push(sid);
            plan.awaits = Awaits::Nothing;
            // The first record in a session has to be a short one.
            plan.moves.push_front(Move::Say(Vec::new()));
        }
    }

    pub(super) fn ponged(&mut self, token: u64) {
        if let Some(plan) = self.plans.values_mut().find(|plan| plan.last_ping == Some(token)) {
            plan.answered = true;
            plan.awaits = Awaits::Nothing;
        }
    }

    fn plan_of(&mut self, line: Line) -> Option<&mut Plan> {
        let serial = self.lines.get(&line)?.plan?;
        self.plans.get_mut(&serial)
    }

    fn step(&mut self, serial: u64) {
        let Some(plan) = self.plans.get_mut(&serial) else { return };
        let target = plan.target;
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
                let hello = self.plans.get(&serial).map(|plan| plan.hello.clone()).unwrap_or_default();
                self.send(line, hello);
            }
            Move::Bytes(bytes) => self.send_bytes(line, bytes),
            Move::Say(frames) => self.play_record(serial, line, |mind, sid| mind.seal(sid, &frames)),
            Move::SayBytes(bytes) => {
                self.play_record(serial, line, |mind, sid| Some(mind.sessions.get_mut(&sid)?.session.seal(&bytes)));
            }
            Move::SayAltered(frames) => self.play_record(serial, line, |mind, sid| {
                let mut packet = mind.seal(sid, &frames)?;
                *packet.last_mut()? ^= 1;
                Some(packet)
            }),
            Move::SayUnder(counter, frames) => {
                self.play_record(serial, line, |mind, sid| mind.seal_under(sid, counter, &frames));
            }
            Move::PingInFirst => {
                // If the first handshake came to nothing, the only session is the one that belongs here.
                if let [first, _, ..] = plan.sessions[..] {
                    let ping = Frame::Ping { token: self.source.number() | NO_PONG, asked: Vec::new() };
                    self.say(line, first, &[ping]);
                }
            }
            Move::Counter(counter) => {
                if let Some(&sid) = plan.sessions.last()
                    && let Some(held) = self.sessions.get_mut(&sid)
                {
                    held.session.counter = counter;
                }
            }
            Move::RenameSession(name) => {
                if let Some(&sid) = plan.sessions.last()
                    && let Some(held) = self.sessions.get_mut(&sid)
                {
                    held.session.peer_sid = name;
                }
            }
            Move::RecordsAgain => {
                for packet in plan.records.clone() {
                    self.send(line, packet);
                }
            }
            Move::RecordedElsewhere => self.send_recorded(line, |recorded, peer| recorded.peer != peer),
            Move::RecordedFromTarget => {
                self.send_recorded(line, |recorded, peer| recorded.peer == peer && recorded.received);
            }
            Move::Redial => {
                plan.awaits = Awaits::Connection;
                self.close_line(line);
                let line = self.open_line(serial, target);
                self.with_plan(serial, |plan| plan.lines.push(line));
            }
            Move::DialAnother => {
                plan.awaits = Awaits::Connection;
                let line = self.open_line(serial, target);
                self.with_plan(serial, |plan| plan.lines.push(line));
            }
            Move::Wait(time) => plan.awaits = Awaits::Time(self.now + time),
        }
    }

    /// A PING at the end shows whether the node goes on with it; then everything is closed.
    fn finish(&mut self, serial: u64, line: Line) {
        let Some(plan) = self.plans.get(&serial) else { return };
        let session = plan.sessions.last().copied().filter(|sid| self.sessions.contains_key(sid));
        if let (Some(sid), None, true) = (session, plan.last_ping, self.lines.contains_key(&line)) {
            let token = self.source.number() & !NO_PONG;
            let until = self.now + LAST_ANSWER;
            self.with_plan(serial, |plan| {
                plan.last_ping = Some(token);
                plan.awaits = Awaits::Time(until);
            });
            return self.say(line, sid, &[Frame::Ping { token, asked: Vec::new() }]);
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

    /// Seals a record in the trick's present session, sends it, and keeps it to be repeated.
    fn play_record(&mut self, serial: u64, line: Line, seal: impl FnOnce(&mut Self, Sid) -> Option<Vec<u8>>) {
        let sid = self.plans.get(&serial).and_then(|plan| plan.sessions.last().copied());
        if let Some(packet) = sid.and_then(|sid| seal(self, sid)) {
            self.with_plan(serial, |plan| {
                if plan.records.len() < MOST_RECORDS {
                    plan.records.push(packet.clone());
                }
            });
            self.send(line, packet);
        }
    }

    /// A record under any counter, with the key of the first epoch.
    fn seal_under(&self, sid: Sid, counter: u64, frames: &[Frame]) -> Option<Vec<u8>> {
        let session = &self.sessions.get(&sid)?.session;
        let header = [&[2, 4][..], &session.peer_sid, &counter.to_be_bytes()].concat();
        let plaintext: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
        let sealed = seal(&session.send_key, counter, &header, &plaintext);
        Some([header, sealed].concat())
    }

    fn send_recorded(&mut self, line: Line, which: impl Fn(&Recorded, [u8; 20]) -> bool) {
        let Some(peer) = self.lines.get(&line).and_then(|wire| wire.peer) else { return };
        let packets: Vec<Vec<u8>> = self
            .recorded
            .iter()
            .filter(|recorded| which(recorded, peer))
            .map(|recorded| recorded.packet.clone())
            .collect();
        for packet in packets {
            self.send_bytes(line, framed(&packet));
        }
    }

    /// The HELLO that a trick has sent, to be sent again.
    pub(super) fn keep_hello(&mut self, line: Line, hello: &[u8]) {
        if let Some(plan) = self.plan_of(line) {
            plan.hello = hello.to_vec();
        }
    }
}
