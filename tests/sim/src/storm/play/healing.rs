//! The second phase: everything heals, and liveness is demanded.

use std::time::Duration;

use super::Play;
use crate::Directory;
use crate::scenario::Setup;
use crate::scene::{ECHO, EMPTY, NEVER, NO};
use crate::storm::weather::LONGEST;
use crate::transcript::What;

/// After a storm each node talks with so many others at most.
const NEIGHBOURS: usize = 20;

/// So much is asked in the calm after a storm, and with such pauses. With few nodes, and what is drawn, that makes fifty queries at
/// most.
const MUCH: usize = 10;
const PAUSE: Duration = Duration::from_millis(53);

/// So long whoever asks waits in the calm.
const CALM: Duration = Duration::from_secs(20);

/// So many nodes at most ask themselves as well.
const FEW: usize = 5;

/// Whether some node may have so few connections that it cannot talk to everybody.
pub(super) fn is_cramped(nodes: &[Setup]) -> bool {
    let needed = nodes.len().min(NEIGHBOURS);
    nodes.iter().any(|setup| setup.config.limits.connections < needed)
}

impl Play {
    pub(super) fn heal(&mut self) {
        self.write(None, What::Heals);
        self.world.set_directory(Directory::Honest);
        self.world.break_next_connection_after(None);
        for (from, to) in std::mem::take(&mut self.blocked) {
            self.world.set_blocked(self.nodes[from], self.nodes[to], false);
        }
        for node in 0..self.nodes.len() {
            self.thaw(node);
            self.start(node);
            let index = self.nodes[node];
            self.world.set_silent(index, false);
            self.world.set_listening(index, true);
            self.world.set_nat(index, None);
            let record = self.world.node(index).record().cloned();
            let id = self.world.id(index);
            self.world.set_record(id, record);
        }
        if let Some(intruder) = &self.intruder {
            intruder.leave(&mut self.world);
        }
        for _ in 0..LONGEST.as_secs() {
            if !self.oracle.nobody_waits() {
                self.run(Duration::from_secs(1));
            }
        }
        // Nobody tells a handler whose asker has crashed.
        self.run(LONGEST + Duration::from_secs(60));
        self.nothing_leaks();
        self.are_answered(&self.everybody());
        self.much_is_said();
        self.run(Duration::from_secs(1500));
        self.everything_is_at_rest();
        self.are_answered(&self.circle());
        self.nobody_misbehaved();
    }

    fn nothing_leaks(&mut self) {
        if self.all_is_well() {
            for &node in &self.nodes {
                self.oracle.nothing_leaks(&mut self.world, node);
            }
        }
    }

    fn everything_is_at_rest(&mut self) {
        self.nothing_leaks();
        if self.all_is_well() {
            for &node in &self.nodes {
                self.oracle.is_at_rest(&mut self.world, node);
            }
        }
    }

    /// Each node and itself, if they are few, and its next neighbours around the circle; so each pair talks once.
    fn everybody(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        let first = usize::from(count > FEW);
        let neighbours = first..=(count / 2).min(NEIGHBOURS / 2);
        (0..count).flat_map(|from| neighbours.clone().map(move |step| (from, (from + step) % count))).collect()
    }

    /// Each node and the one before it.
    fn circle(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        (0..count).map(|from| (from, (from + count - 1) % count)).collect()
    }

    /// Whatever happened, a world that has healed works.
    fn are_answered(&mut self, pairs: &[(usize, usize)]) {
        if !self.all_is_well() {
            return;
        }
        let asked: Vec<usize> =
            pairs.iter().filter_map(|&(from, to)| self.ask(from, to, ECHO, 100, None, CALM)).collect();
        self.run(CALM);
        if self.all_is_well() && !self.cramped {
            self.oracle.all_were_answered(&self.world, &asked);
        }
    }

    /// In a calm world everything is answered soon or given up, and nothing is left of it. A timer that nothing explains shows
    /// when there are many at one node.
    fn much_is_said(&mut self) {
        let count = self.nodes.len();
        let from = usize::try_from(self.seed).unwrap_or(0) % count;
        let to = (from + 1) % count;
        for said in 0..MUCH {
            let name = [ECHO, NO, EMPTY, "unknown", NEVER][said % 5];
            if self.all_is_well() {
                self.ask(from, to, name, 8, None, CALM);
                self.run(PAUSE);
            }
        }
        self.run(Duration::from_secs(1));
        while self.all_is_well() && self.is_waiting(from) {
            self.cancel(from);
        }
        self.run(Duration::from_secs(13));
        if self.oracle.nobody_waits() {
            self.nothing_leaks();
        }
        self.run(CALM);
    }

    fn is_waiting(&self, node: usize) -> bool {
        self.oracle.waiting_at(self.nodes[node]).is_some()
    }

    fn nobody_misbehaved(&mut self) {
        if !self.all_is_well() {
            return;
        }
        // With an adversary, its judge looks at each note.
        for &node in self.nodes.iter().filter(|_| self.intruder.is_none()) {
            self.oracle.nobody_misbehaved(&mut self.world, node);
        }
    }
}
