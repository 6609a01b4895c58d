//! What flows over links, and how they end.

use egtp::Ending;

use super::links::{End, LinkId, Party, Side, Socket};
use super::schedule::Due;
use super::{NodeIndex, World};
use crate::stranger::StrangerIndex;

impl World {
    /// Bytes, or the end of a stream, have reached an end.
    pub(super) fn arrive(&mut self, end: End) {
        let Some(link) = self.links.get(end.link) else { return };
        match (link.sides[end.side], link.parties[end.side]) {
            (Side::Open(Socket::Node(index, connection)), _) => self.read(index, connection, end),
            (Side::Open(Socket::Stranger(index, line)), _) => self.read_for(index, line, end),
            (Side::Vanished, Party::Node(index)) if self.hosts[index.0].node.is_some() => self.reset(end),
            _ => {}
        }
    }

    /// Reads into the world's buffer what one call brings, and at most `most` bytes. Whoever waits for room writes again.
    pub(super) fn take(&mut self, end: End, most: usize) -> bool {
        let Some(link) = self.links.get_mut(end.link) else { return false };
        let pipe = &mut link.towards[end.side];
        let was_full = pipe.room(&self.network) == 0;
        self.buffer.clear();
        if !pipe.take(self.now, &self.network, most, &mut self.buffer) {
            return false;
        }
        if was_full {
            self.wake_writer(end.other());
        }
        true
    }

    /// How the stream towards an end has ended, if it has.
    pub(super) fn ended(&self, end: End) -> Option<Ending> {
        self.links.get(end.link)?.towards[end.side].ended(self.now)
    }

    /// Schedules what happens next at an end.
    pub(super) fn rearm(&mut self, end: End) {
        let Some(link) = self.links.get(end.link) else { return };
        let pipe = &link.towards[end.side];
        let reading = match link.sides[end.side] {
            Side::Open(_) => pipe.reading,
            Side::Vanished => true,
            Side::Waiting | Side::Gone => return self.schedule.set(Due::Arrival(end), None),
        };
        let is_cut_off = self.is_cut_off(link.parties[1 - end.side], link.parties[end.side]);
        let is_awaited = |at| reading || at > self.now || pipe.ended(self.now).is_some();
        let next = pipe.next_arrival().filter(|&at| !is_cut_off && is_awaited(at));
        self.schedule.set(Due::Arrival(end), next.map(|at| at.max(self.now)));
    }

    /// Schedules anew what happens at both ends of every link of a host.
    pub(super) fn rearm_links(&mut self, index: NodeIndex) {
        for link in self.hosts[index.0].links.clone() {
            for side in 0..2 {
                self.rearm(End { link, side });
            }
        }
    }

    /// Whether nothing gets from one host to another.
    pub(super) fn is_cut_off(&self, from: Party, to: Party) -> bool {
        let is_silent = |party| matches!(party, Party::Node(index) if self.hosts[index.0].silent);
        let is_off = matches!(to, Party::Node(index) if !self.hosts[index.0].powered);
        let is_blocked =
            matches!((from, to), (Party::Node(from), Party::Node(to)) if self.blocked.contains(&(from, to)));
        is_silent(from) || is_silent(to) || is_off || is_blocked
    }

    /// A host closes its end: the other one sees the end of the stream once it has read what is under way.
    pub(super) fn close_end(&mut self, end: End) {
        let (now, network) = (self.now, self.network);
        if let Some(link) = self.links.get_mut(end.link) {
            link.towards[1 - end.side].finish(now, &network, Ending::EndOfStream);
        }
        self.rearm(end.other());
        self.leave_end(end, Side::Gone);
    }

    /// An end is no longer held. Once both are, the link is forgotten.
    pub(super) fn leave_end(&mut self, end: End, side: Side) {
        let Some(link) = self.links.get_mut(end.link) else { return };
        link.sides[end.side] = side;
        if link.sides.iter().any(|side| matches!(side, Side::Open(_) | Side::Waiting)) {
            self.rearm(end);
        } else {
            self.forget(end.link);
        }
    }

    /// A host that knows nothing of a connection answers what came on it.
    fn reset(&mut self, end: End) {
        let (now, network) = (self.now, self.network);
        if let Some(link) = self.links.get_mut(end.link) {
            link.towards[1 - end.side].break_off(now, &network);
        }
        self.rearm(end.other());
        self.leave_end(end, Side::Gone);
    }

    fn forget(&mut self, id: LinkId) {
        let Some(link) = self.links.get(id) else { return };
        for party in link.parties {
            if let Party::Node(index) = party {
                self.hosts[index.0].links.remove(&id);
            }
        }
        for side in 0..2 {
            self.schedule.set(Due::Arrival(End { link: id, side }), None);
        }
        self.breaking.remove(&id);
        self.markers.forget(id);
        self.links.remove(id);
    }

    /// There is room again for what is written at this end.
    fn wake_writer(&mut self, end: End) {
        match self.links.get(end.link).map(|link| link.sides[end.side]) {
            Some(Side::Open(Socket::Node(index, connection))) => {
                self.hosts[index.0].changed.insert(connection);
                self.touched.insert(index);
            }
            Some(Side::Open(Socket::Stranger(index, line))) => self.flush(index, line),
            _ => {}
        }
    }

    /// There may be more room on every link.
    pub(super) fn wake_writers(&mut self) {
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.changed.extend(host.sockets.keys());
            self.touched.insert(NodeIndex(index));
        }
        for index in 0..self.strangers.len() {
            self.flush_all(StrangerIndex(index));
        }
    }
}
