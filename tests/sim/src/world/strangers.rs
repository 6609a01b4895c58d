//! The hosts of strangers: their connections, and what waits to be sent on them.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::World;
use super::dialling::{self, Place};
use super::links::{End, Side, Socket};
use super::schedule::Due;
use crate::stranger::{Line, MAX_UNSENT, Stranger, StrangerAction, StrangerEvent, StrangerIndex};

#[derive(Debug)]
pub(super) struct StrangerHost {
    stranger: Box<dyn Stranger>,
    lines: BTreeMap<Line, OpenLine>,
    /// The name of the next connection that it accepts.
    next_accepted: u64,
}

#[derive(Debug)]
struct OpenLine {
    end: End,
    unsent: VecDeque<u8>,
    /// It has been closed, and nothing is told of it any more, but something is left to be sent.
    closing: bool,
}

impl World {
    /// Adds a host that is no node, and starts it. The directory knows nothing of it, until it publishes a record.
    pub fn add_stranger(&mut self, stranger: Box<dyn Stranger>) -> StrangerIndex {
        let index = StrangerIndex(self.strangers.len());
        self.places.insert(self.stranger_address(index).ip(), Place::Stranger(index));
        let lines = BTreeMap::new();
        self.strangers.push(StrangerHost { stranger, lines, next_accepted: 1 });
        self.tell_stranger(index, StrangerEvent::Start);
        index
    }

    /// Where a stranger can be reached.
    pub fn stranger_address(&self, index: StrangerIndex) -> SocketAddr {
        dialling::stranger_address(index.0)
    }

    /// Wakes a stranger now, whatever it wished: whoever has told it something lets it begin.
    pub fn wake_stranger(&mut self, index: StrangerIndex) {
        self.wake(index);
        self.settle();
    }

    pub(super) fn wake(&mut self, index: StrangerIndex) {
        self.tell_stranger(index, StrangerEvent::Wake);
    }

    pub(super) fn connected(&mut self, index: StrangerIndex, line: Line, end: End) {
        self.open(index, line, end);
        self.tell_stranger(index, StrangerEvent::Connected(line));
    }

    pub(super) fn refused(&mut self, index: StrangerIndex, line: Line) {
        self.tell_stranger(index, StrangerEvent::Refused(line));
    }

    pub(super) fn accepted(&mut self, index: StrangerIndex, end: End, from: SocketAddr) {
        let host = &mut self.strangers[index.0];
        let line = Line(host.next_accepted);
        host.next_accepted += 2;
        if let Some(link) = self.links.get_mut(end.link) {
            link.sides[end.side] = Side::Open(Socket::Stranger(index, line));
        }
        self.open(index, line, end);
        self.tell_stranger(index, StrangerEvent::Accepted(line, from));
    }

    /// A stranger is given everything that has arrived on a line, and the end of the stream if that has.
    pub(super) fn read_for(&mut self, index: StrangerIndex, line: Line, end: End) {
        while self.take(end, usize::MAX) {
            let bytes = std::mem::take(&mut self.buffer);
            if self.is_told_of(index, line) {
                self.tell_stranger(index, StrangerEvent::Received(line, &bytes));
            }
            self.buffer = bytes;
        }
        if self.ended(end).is_some() {
            let is_told = self.is_told_of(index, line);
            if self.strangers[index.0].lines.remove(&line).is_some() {
                self.leave_end(end, Side::Gone);
            }
            if is_told {
                self.tell_stranger(index, StrangerEvent::Closed(line));
            }
        }
        self.rearm(end);
    }

    /// There may be room again for what a stranger wants to send on a line.
    pub(super) fn flush(&mut self, index: StrangerIndex, line: Line) {
        let Some(OpenLine { end, unsent, closing }) = self.strangers[index.0].lines.get_mut(&line) else { return };
        let (end, bytes) = (*end, unsent.make_contiguous());
        let mut sent = 0;
        while sent < bytes.len() {
            match self.links.write(end, self.now, &self.network, &bytes[sent..], &mut self.middle) {
                0 => break,
                count => sent += count,
            }
        }
        unsent.drain(..sent);
        let is_done = *closing && unsent.is_empty();
        self.rearm(end);
        self.rearm(end.other());
        if is_done {
            self.close_line(index, line);
        }
    }

    pub(super) fn flush_all(&mut self, index: StrangerIndex) {
        let lines: Vec<Line> = self.strangers[index.0].lines.keys().copied().collect();
        for line in lines {
            self.flush(index, line);
        }
    }

    fn open(&mut self, index: StrangerIndex, line: Line, end: End) {
        let open = OpenLine { end, unsent: VecDeque::new(), closing: false };
        self.strangers[index.0].lines.insert(line, open);
        self.links.set_reading(end, true);
        self.rearm(end);
    }

    fn close_line(&mut self, index: StrangerIndex, line: Line) {
        if let Some(OpenLine { end, .. }) = self.strangers[index.0].lines.remove(&line) {
            self.close_end(end);
        }
    }

    fn is_told_of(&self, index: StrangerIndex, line: Line) -> bool {
        self.strangers[index.0].lines.get(&line).is_some_and(|line| !line.closing)
    }

    fn tell_stranger(&mut self, index: StrangerIndex, event: StrangerEvent<'_>) {
        self.events += 1;
        let mut actions = Vec::new();
        self.strangers[index.0].stranger.handle(self.now, event, &mut actions);
        for action in actions {
            self.act(index, action);
        }
    }

    fn act(&mut self, index: StrangerIndex, action: StrangerAction) {
        match action {
            StrangerAction::Dial(line, to) => {
                let socket = Socket::Stranger(index, line);
                let is_taken = self.strangers[index.0].lines.contains_key(&line) || self.dials.contains_key(&socket);
                if line.0 % 2 == 0 && !is_taken {
                    self.dial(socket, to);
                }
            }
            StrangerAction::Send(line, bytes) => self.send_for(index, line, &bytes),
            StrangerAction::Close(line) => {
                self.hang_up(Socket::Stranger(index, line));
                if let Some(open) = self.strangers[index.0].lines.get_mut(&line) {
                    open.closing = true;
                    self.flush(index, line);
                }
            }
            StrangerAction::WakeAt(at) => self.schedule.set(Due::Wake(index), Some(at.max(self.now))),
            StrangerAction::Publish(record) => self.directory.publish(record),
        }
    }

    fn send_for(&mut self, index: StrangerIndex, line: Line, bytes: &[u8]) {
        let Some(open) = self.strangers[index.0].lines.get_mut(&line).filter(|open| !open.closing) else { return };
        if open.unsent.len() + bytes.len() > MAX_UNSENT {
            self.close_line(index, line);
            return self.tell_stranger(index, StrangerEvent::Closed(line));
        }
        open.unsent.extend(bytes);
        self.flush(index, line);
    }
}
