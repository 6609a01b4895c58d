//! How much nodes have written to each other, and which connections have broken after a number of bytes.

use std::collections::BTreeMap;

use egtp::Instant;

use super::links::{End, Link, Party};
use super::recent::Recent;
use super::{NodeIndex, World};

#[derive(Debug, Default)]
pub(super) struct Traffic {
    written: BTreeMap<(NodeIndex, NodeIndex), u64>,
    broken: Recent<(Instant, NodeIndex, NodeIndex)>,
}

impl World {
    /// How many bytes one node has written to another so far, on all connections together, in all its lives.
    pub fn written(&self, from: NodeIndex, to: NodeIndex) -> u64 {
        self.traffic.written.get(&(from, to)).copied().unwrap_or(0)
    }

    /// The connections between nodes that have broken since they had carried as much as [`World::break_next_connection_after`] says: when,
    /// and between whom. As [`World::lookups_since`].
    pub fn breaks_since(&self, seen: &mut u64) -> &[(Instant, NodeIndex, NodeIndex)] {
        self.traffic.broken.since(seen)
    }

    /// So many bytes were written at an end of a link.
    pub(super) fn carried(&mut self, end: End, bytes: usize) {
        let Some(&Link { parties, breaks_after, .. }) = self.links.get(end.link) else { return };
        let (Party::Node(from), Party::Node(to)) = (parties[end.side], parties[1 - end.side]) else { return };
        *self.traffic.written.entry((from, to)).or_default() += bytes as u64;
        if breaks_after == Some(0) {
            self.traffic.broken.push((self.now, from, to));
        }
    }
}
