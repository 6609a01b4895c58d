//! The open connections, and which of them have something to do.

use std::collections::{BTreeMap, BTreeSet};

use egtp::ConnectionId;

use crate::stream::Stream;

/// The streams by their connections: the one place that knows how they are kept.
pub(crate) struct Streams<S> {
    open: BTreeMap<ConnectionId, Stream<S>>,
    changed: BTreeSet<ConnectionId>,
}

impl<S> Streams<S> {
    pub(crate) fn new() -> Self {
        Self { open: BTreeMap::new(), changed: BTreeSet::new() }
    }

    /// A new stream has something to do at first.
    pub(crate) fn insert(&mut self, connection: ConnectionId, stream: Stream<S>) {
        self.open.insert(connection, stream);
        self.changed.insert(connection);
    }

    pub(crate) fn remove(&mut self, connection: ConnectionId) {
        self.open.remove(&connection);
    }

    pub(crate) fn clear(&mut self) {
        self.open.clear();
    }

    pub(crate) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Stream<S>> {
        self.open.get_mut(&connection)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Stream<S>)> {
        self.open.iter().map(|(&connection, stream)| (connection, stream))
    }

    /// A connection has something to do. One that is closed by then is passed over.
    pub(crate) fn mark(&mut self, connection: ConnectionId) {
        self.changed.insert(connection);
    }

    /// The connections that have had something to do since the last call.
    pub(crate) fn take_changed(&mut self) -> impl ExactSizeIterator<Item = ConnectionId> + use<S> {
        std::mem::take(&mut self.changed).into_iter()
    }
}
