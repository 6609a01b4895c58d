//! The world as a driver of its nodes: it does what they ask for, and relies on their hints.

use egtp::{Action, ConnectionId, Event, Node, ServiceAction, TransportAction};

use super::links::{End, Side, Socket};
use super::rates::Way;
use super::schedule::Due;
use super::{NodeIndex, World};

impl World {
    /// Drains every node that was told something, and moves what it wants moved.
    pub(super) fn settle(&mut self) {
        while let Some(index) = self.touched.pop_first() {
            self.drive(index);
        }
    }

    /// Tells a node something, at the present instant as its own clock shows it.
    pub(super) fn tell(&mut self, index: NodeIndex, event: Event<'_>) {
        let host = &mut self.hosts[index.0];
        if let Some(node) = &mut host.node {
            host.told = host.told.max(host.clock.at(self.now));
            node.handle(host.clock.at(self.now), event);
            self.events += 1;
            self.touched.insert(index);
        }
    }

    /// A node's deadline has come.
    pub(super) fn tick(&mut self, index: NodeIndex) {
        if !self.is_held_back(index, Due::Deadline(index)) {
            self.tell(index, Event::Tick);
        }
    }

    /// A node reads what has arrived on a connection, as long as it wants to, or is told that the stream has ended.
    pub(super) fn read(&mut self, index: NodeIndex, connection: ConnectionId, end: End) {
        if self.is_held_back(index, Due::Arrival(end)) {
            return;
        }
        let is_reading = self.links.is_reading(end);
        while is_reading
            && let Some(most) = self.hosts[index.0].node.as_ref().map(|node| node.wants_read(connection))
            && self.take(end, most)
        {
            let bytes = std::mem::take(&mut self.buffer);
            self.passes(index, connection, Way::Down, bytes.len());
            self.tell(index, Event::Received(connection, &bytes));
            self.buffer = bytes;
            self.drain(index);
        }
        if let Some(ending) = self.ended(end)
            && self.hosts[index.0].sockets.remove(&connection).is_some()
        {
            self.leave_end(end, Side::Gone);
            self.tell(index, Event::Closed(connection, ending));
        }
        self.hosts[index.0].changed.insert(connection);
        self.touched.insert(index);
    }

    /// Does everything that a node asks for, and finds out when it wants to be called again.
    fn drive(&mut self, index: NodeIndex) {
        if self.hosts[index.0].frozen || self.hosts[index.0].node.is_none() {
            return;
        }
        self.drain(index);
        while let Some(connection) = self.hosts[index.0].changed.pop_first() {
            self.send(index, connection);
            self.drain(index);
        }
        let deadline = self.next_deadline(index);
        self.schedule.set(Due::Deadline(index), deadline);
        self.checks.touched(index);
    }

    fn drain(&mut self, index: NodeIndex) {
        while let Some(action) = self.hosts[index.0].node.as_mut().and_then(Node::poll) {
            self.digest.action(self.now, index, &action);
            self.perform(index, action);
        }
    }

    fn perform(&mut self, index: NodeIndex, action: Action) {
        match action {
            Action::Transport(TransportAction::Connect { connection, to }) => {
                self.connects.push((self.now, index, to));
                self.dial(Socket::Node(index, connection), to);
            }
            Action::Transport(TransportAction::Close { connection }) => {
                self.hang_up(Socket::Node(index, connection));
                if let Some(end) = self.hosts[index.0].sockets.remove(&connection) {
                    self.close_end(end);
                }
            }
            Action::Transport(TransportAction::Changed { connection }) => {
                self.hosts[index.0].changed.insert(connection);
            }
            Action::Service(ServiceAction::Lookup { lookup, peer }) => {
                self.lookups.push((self.now, index, peer));
                self.look_up(index, lookup, peer);
            }
            Action::Service(ServiceAction::Discover { discovery, .. }) => self.discover(index, discovery),
            Action::Service(ServiceAction::Publish { record }) => self.directory.publish(record),
            Action::Service(ServiceAction::Save { save, key, value }) => {
                match value {
                    Some(value) => self.hosts[index.0].stored.insert(key, value),
                    None => self.hosts[index.0].stored.remove(&key),
                };
                self.tell(index, Event::Saved(save));
            }
            Action::Deliver(delivery) => self.deliveries.push_back((index, delivery)),
            Action::Note(note) => self.notes.push((self.now, index, note)),
            Action::Stopped => {}
        }
    }

    /// Takes from a node what it wants written, as far as there is room, and notes whether it waits for bytes.
    fn send(&mut self, index: NodeIndex, connection: ConnectionId) {
        let Some(&end) = self.hosts[index.0].sockets.get(&connection) else { return };
        while let Some(node) = &self.hosts[index.0].node {
            let bytes = node.to_write(connection);
            let count = self.links.write(end, self.now, &self.network, bytes, &mut self.middle);
            if count == 0 {
                break;
            }
            self.digest.written(self.now, index, &bytes[..count]);
            if let Some(marker) = self.markers.find(end, &bytes[..count]) {
                self.violate(&format!("node {} writes {marker} to a link", index.0));
            }
            self.carried(end, count);
            self.passes(index, connection, Way::Up, count);
            self.tell(index, Event::Written(connection, count));
        }
        let reading = self.hosts[index.0].node.as_ref().is_some_and(|node| node.wants_read(connection) > 0);
        self.links.set_reading(end, reading);
        self.rearm(end);
        self.rearm(end.other());
    }
}
