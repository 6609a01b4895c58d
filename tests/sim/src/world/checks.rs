//! What holds at every instant, whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{ConnectionId, Instant, Node, Throttle};

use super::{NodeIndex, World};
use crate::usage::beyond_limits;

/// Of so many violations the text is kept.
const KEPT: usize = 100;

/// A host with more connections than this has them looked at in turn.
const CONNECTIONS_AT_ONCE: usize = 8;

/// A throttled node has this long until its timer lets it go on.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Checks {
    violations: Vec<String>,
    /// Hosts at which something happened at this instant.
    touched: BTreeSet<NodeIndex>,
    /// Since when a throttled node has left something to do undone.
    undone: BTreeMap<(NodeIndex, ConnectionId), Instant>,
    /// With which connection the next look begins.
    turn: usize,
}

impl Checks {
    pub(super) fn touched(&mut self, index: NodeIndex) {
        self.touched.insert(index);
    }
}

impl World {
    /// What was found that must never be, with its time; of more than a hundred, the first ones.
    ///
    /// At every instant, after every node was drained: its deadline is in the future; whatever is to be written or read on a
    /// connection has somebody waiting for it, since a hint came or the link is full; nothing is more than its limit allows, no
    /// byte more than the throttle does; and nothing that was forbidden with [`World::forbid_on_links`] was written.
    pub fn violations(&self) -> &[String] {
        &self.checks.violations
    }

    pub(super) fn violate(&mut self, what: &str) {
        if self.checks.violations.len() < KEPT {
            self.checks.violations.push(format!("at {}: {what}", self.now));
        }
    }

    /// Whether so much went wrong that nothing is learned from more of it, and a clock that only crawls may stop.
    pub(super) fn has_failed(&self) -> bool {
        self.checks.violations.len() >= KEPT
    }

    /// Looks at every host at which something happened at this instant. The clock is about to move.
    pub(super) fn check(&mut self) {
        for index in std::mem::take(&mut self.checks.touched) {
            if !self.hosts[index.0].frozen && !self.touched.contains(&index) {
                self.check_limits(index);
                self.check_levels(index);
            }
        }
    }

    /// When a node that was just drained is to be called again.
    pub(super) fn next_deadline(&mut self, index: NodeIndex) -> Option<Instant> {
        let host = &self.hosts[index.0];
        let deadline = host.node.as_ref()?.deadline()?;
        if deadline > host.told {
            return Some(host.clock.reaches(deadline).max(self.now));
        }
        self.violate(&format!("node {} was drained and its deadline, {deadline}, is not in the future", index.0));
        Some(self.now + Duration::from_micros(1))
    }

    fn check_limits(&mut self, index: NodeIndex) {
        let host = &self.hosts[index.0];
        let Some(usage) = host.node.as_ref().map(Node::usage) else { return };
        for what in beyond_limits(&usage, &host.config.config().limits) {
            self.violate(&format!("node {} has {what}", index.0));
        }
    }

    fn check_levels(&mut self, index: NodeIndex) {
        let host = &self.hosts[index.0];
        let Some(node) = &host.node else { return };
        let count = host.sockets.len().max(1);
        let first = self.checks.turn % count;
        self.checks.turn = self.checks.turn.wrapping_add(CONNECTIONS_AT_ONCE);
        let is_throttled = node.throttle() != Throttle::default();
        self.checks
            .undone
            .retain(|(host_index, connection), _| *host_index != index || host.sockets.contains_key(connection));
        let mut found = Vec::new();
        let in_turn = host.sockets.iter().cycle().skip(first).take(count.min(CONNECTIONS_AT_ONCE));
        for (&connection, &end) in in_turn.take(host.sockets.len()) {
            let unwritten = !node.to_write(connection).is_empty() && self.links.room(end, &self.network) > 0;
            let unread = !self.links.is_reading(end) && node.wants_read(connection) > 0;
            let undone = &mut self.checks.undone;
            if !unwritten && !unread {
                undone.remove(&(index, connection));
                continue;
            }
            let since = *undone.entry((index, connection)).or_insert(self.now);
            if !is_throttled || self.now.saturating_since(since) > PATIENCE {
                let what = if unwritten { "has bytes to write" } else { "wants to read" };
                found.push(format!("node {} {what} on {connection:?}, and no hint came", index.0));
            }
        }
        for what in found {
            self.violate(&what);
        }
    }
}
