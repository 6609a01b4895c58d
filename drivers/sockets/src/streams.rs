//! The open connections, and which of them have something to do.

use std::mem;

use egtp::ConnectionId;

use crate::stream::Stream;

/// The streams in a row, each at the slot of its connection: the one place that knows how they are kept.
pub(crate) struct Streams<S> {
    row: Vec<Option<Open<S>>>,
    changed: Vec<ConnectionId>,
}

struct Open<S> {
    connection: ConnectionId,
    stream: Stream<S>,
    is_marked: bool,
}

impl<S> Streams<S> {
    pub(crate) fn new() -> Self {
        Self { row: Vec::new(), changed: Vec::new() }
    }

    /// A new stream has something to do at first. What was at its slot is closed: the node has let it go already, and
    /// its [`Close`](egtp::TransportAction::Close) only waits to be polled.
    pub(crate) fn insert(&mut self, connection: ConnectionId, stream: Stream<S>) {
        let slot = connection.slot();
        if slot >= self.row.len() {
            self.row.resize_with(slot + 1, || None);
        }
        self.row[slot] = Some(Open { connection, stream, is_marked: false });
        self.mark(connection);
    }

    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        if self.open(connection).is_none() {
            return;
        }
        self.row[connection.slot()] = None;
        while matches!(self.row.last(), Some(None)) {
            self.row.pop();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.row.clear();
    }

    pub(crate) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Stream<S>> {
        self.open(connection).map(|open| &mut open.stream)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Stream<S>)> {
        self.row.iter().filter_map(|place| place.as_ref().map(|open| (open.connection, &open.stream)))
    }

    /// A connection has something to do. One that is closed is passed over.
    pub(crate) fn mark(&mut self, connection: ConnectionId) {
        if let Some(open) = self.open(connection)
            && !mem::replace(&mut open.is_marked, true)
        {
            self.changed.push(connection);
        }
    }

    /// The connections that have had something to do since the last call, the one that was marked first at the front.
    pub(crate) fn take_changed(&mut self) -> impl ExactSizeIterator<Item = ConnectionId> + use<S> {
        let changed = mem::take(&mut self.changed);
        for &connection in &changed {
            if let Some(open) = self.open(connection) {
                open.is_marked = false;
            }
        }
        changed.into_iter()
    }

    /// A connection that has ended is not taken for its successor at the same slot.
    fn open(&mut self, connection: ConnectionId) -> Option<&mut Open<S>> {
        self.row.get_mut(connection.slot())?.as_mut().filter(|open| open.connection == connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use egtp::{CheckedConfig, Ending, Event, Identity, Node, Stored};

    fn node() -> Node {
        let identity = Identity::from_seed(&[1; 32]);
        Node::new(CheckedConfig::default(), identity, [0; 32], Stored::default(), Clock::now(), Clock::unix_now())
    }

    fn accept(node: &mut Node) -> ConnectionId {
        node.accept(Clock::now(), "192.0.2.1:1".parse().unwrap()).unwrap()
    }

    fn sockets(streams: &Streams<u32>) -> Vec<u32> {
        streams.iter().map(|(_, stream)| *stream.socket()).collect()
    }

    #[test]
    fn a_connection_at_the_slot_of_one_that_has_ended_is_not_taken_for_it() {
        let (mut node, mut streams) = (node(), Streams::new());
        let first = accept(&mut node);
        streams.insert(first, Stream::accepted(1));
        node.handle(Clock::now(), Event::Closed(first, Ending::Broken));
        let second = accept(&mut node);
        assert_eq!(first.slot(), second.slot());
        streams.insert(second, Stream::accepted(2));
        assert_eq!(sockets(&streams), [2]);

        streams.remove(first);
        streams.mark(first);
        assert!(streams.get_mut(first).is_none());
        assert_eq!(sockets(&streams), [2]);
        assert_eq!(streams.take_changed().collect::<Vec<_>>(), [first, second]);
    }

    #[test]
    fn a_connection_is_given_out_once_however_often_it_was_marked_and_again_when_it_is_marked_again() {
        let (mut node, mut streams) = (node(), Streams::new());
        let [first, second] = [accept(&mut node), accept(&mut node)];
        streams.insert(first, Stream::accepted(1));
        streams.insert(second, Stream::accepted(2));
        assert_eq!(streams.take_changed().collect::<Vec<_>>(), [first, second]);
        assert_eq!(streams.take_changed().len(), 0);
        for connection in [second, first, second] {
            streams.mark(connection);
        }
        assert_eq!(streams.take_changed().collect::<Vec<_>>(), [second, first]);
    }

    #[test]
    fn the_row_is_no_longer_than_its_last_stream_needs() {
        let (mut node, mut streams) = (node(), Streams::new());
        let accepted: Vec<_> = (0..5).map(|_| accept(&mut node)).collect();
        for (&connection, socket) in accepted.iter().zip(0..) {
            streams.insert(connection, Stream::accepted(socket));
        }
        for at in [3, 1, 4] {
            streams.remove(accepted[at]);
        }
        assert_eq!((sockets(&streams), streams.row.len()), (vec![0, 2], 3));
        streams.remove(accepted[0]);
        streams.remove(accepted[2]);
        assert_eq!(streams.row.len(), 0);
    }
}
