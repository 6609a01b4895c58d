//! Queries of others' that wait for this node's answer.

use alloc::collections::BTreeSet;

use crate::id::{IncomingId, MessageId, NodeId, QueryId};
use crate::query::TypeName;
use crate::slab::{Key, Slab};
use crate::wire::packet::SessionId;

#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) from: NodeId,
    pub(crate) reference: MessageId,
    pub(crate) type_name: TypeName,
    pub(crate) origin: Origin,
}

/// Where an incoming query came from, and so where its answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// From this very node.
    Local(QueryId),
    Remote {
        peer: Key,
        session: SessionId,
        number: u64,
    },
}

/// All of them, and the types that there are handlers for.
#[derive(Debug)]
pub(crate) struct Incomings {
    waiting: Slab<Incoming>,
    served: BTreeSet<TypeName>,
}

impl Incomings {
    pub(crate) const fn new() -> Self {
        Self { waiting: Slab::new(), served: BTreeSet::new() }
    }

    /// The type of this name, if it is served.
    pub(crate) fn served(&self, name: &str) -> Option<TypeName> {
        self.served.get(name).cloned()
    }

    /// Serves a type, unless there are so many already. Says whether it is served now.
    pub(crate) fn serve(&mut self, type_name: TypeName, most: usize) -> bool {
        let fits = self.served.len() < most || self.served.contains(&type_name);
        if fits {
            self.served.insert(type_name);
        }
        fits
    }

    pub(crate) fn unserve(&mut self, type_name: &TypeName) {
        self.served.remove(type_name);
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn insert(&mut self, incoming: Incoming) -> IncomingId {
        IncomingId(self.waiting.insert(incoming))
    }

    pub(crate) fn take(&mut self, id: IncomingId) -> Option<Incoming> {
        self.waiting.remove(id.0)
    }

    /// All of them, the oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = IncomingId> {
        self.waiting.keys_by_age().into_iter().map(IncomingId)
    }
}
