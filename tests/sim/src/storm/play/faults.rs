//! What goes wrong with a node: its process, its machine, its clock, its links and what it knows.

use std::net::SocketAddr;
use std::time::Duration;

use egtp::{Instant, SignedRecord, Strategies};

use super::{Play, serve_everything};
use crate::transcript::What;

/// How a node is.
#[derive(Clone, Copy, Default)]
pub(super) struct Health {
    crashed: bool,
    pub(super) frozen: bool,
    /// When it was last able to do what was due, if it ever was not.
    pub(super) thawed: Instant,
}

impl Play {
    pub(super) fn is_running(&self, node: usize) -> bool {
        !self.health[node].crashed
    }

    /// Whether it does what is due.
    pub(super) fn is_able(&self, node: usize) -> bool {
        self.is_running(node) && !self.health[node].frozen
    }

    /// Its process is killed, or its machine loses its power.
    pub(super) fn crash(&mut self, node: usize, how: What) {
        if self.is_running(node) {
            self.thaw(node);
            self.health[node].crashed = true;
            let is_announced = how == What::Crashes;
            self.write(Some(self.nodes[node]), how);
            if is_announced {
                self.world.crash(self.nodes[node]);
            } else {
                self.world.power_off(self.nodes[node]);
            }
            if let Some(intruder) = &mut self.intruder {
                intruder.forget(self.nodes[node]);
            }
        }
    }

    /// Nobody pulls the disk from under a process that runs.
    pub(super) fn wipe(&mut self, node: usize) {
        if !self.is_running(node) {
            self.write(Some(self.nodes[node]), What::Wipes);
            self.world.wipe(self.nodes[node]);
        }
    }

    pub(super) fn start(&mut self, node: usize) {
        if !self.is_running(node) {
            self.health[node].crashed = false;
            self.write(Some(self.nodes[node]), What::Starts);
            self.world.start(self.nodes[node]);
            serve_everything(&mut self.world, self.nodes[node]);
        }
    }

    pub(super) fn freeze(&mut self, node: usize) {
        if self.is_able(node) {
            self.health[node].frozen = true;
            self.write(Some(self.nodes[node]), What::Freezes);
            self.world.set_frozen(self.nodes[node], true);
        }
    }

    pub(super) fn thaw(&mut self, node: usize) {
        if self.health[node].frozen {
            self.health[node] = Health { frozen: false, thawed: self.world.now(), ..self.health[node] };
            self.write(Some(self.nodes[node]), What::Thaws);
            self.world.set_frozen(self.nodes[node], false);
        }
    }

    pub(super) fn block(&mut self, from: usize, to: usize, blocked: bool) {
        let changes = if blocked { self.blocked.insert((from, to)) } else { self.blocked.remove(&(from, to)) };
        if from != to && changes {
            self.write(Some(self.nodes[from]), What::Blocked { to: self.nodes[to], blocked });
            self.world.set_blocked(self.nodes[from], self.nodes[to], blocked);
        }
    }

    pub(super) fn step_clock(&mut self, node: usize, by: Duration) {
        self.write(Some(self.nodes[node]), What::ClockForward { by });
        self.world.step_clock(self.nodes[node], by);
    }

    /// No clock shows a time before the origin.
    pub(super) fn step_clock_back(&mut self, node: usize, by: Duration) {
        if by < self.world.clock(self.nodes[node]).saturating_since(Instant::ZERO) {
            self.write(Some(self.nodes[node]), What::ClockBack { by });
            self.world.step_clock_back(self.nodes[node], by);
        }
    }

    /// Older than whatever the peer announces of itself, and with an address at which nobody is.
    pub(super) fn outdate(&mut self, node: usize, peer: usize) {
        if !self.is_running(node) {
            return;
        }
        let (node, peer) = (self.nodes[node], self.nodes[peer]);
        let nowhere = SocketAddr::from(([10, 9, 9, 9], 4000));
        let strategies = Strategies { addresses: vec![nowhere], relays: Vec::new() };
        let old = SignedRecord::sign(self.world.identity(peer), 1, strategies).expect("one address fits a record");
        self.write(Some(node), What::Outdated { peer });
        let older = SignedRecord::sign(self.world.identity(peer), 0, old.strategies().clone()).expect("it has no more");
        let _knows_better = self.world.with(node, |node, now| node.learn(now, old));
        if self.world.with(node, |node, now| node.learn(now, older)).is_ok() {
            self.violate(format!("{} replaces a record by an older one", self.names.of(node)));
        }
    }
}
