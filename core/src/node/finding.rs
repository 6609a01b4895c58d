//! The Lookup Service and the Discovery Service (*EGTP Architecture 0.2*, I.C): asked by actions, answered by events, believed
//! only as far as signatures reach.

use alloc::vec::Vec;

use super::Node;
use crate::action::{Action, ServiceAction};
use crate::id::{DiscoveryId, LookupId, NodeId};
use crate::note::Cause;
use crate::query::{Delivery, Refusal};
use crate::record::{SignedRecord, Strategies};
use crate::time::Instant;
use crate::timer::Timer;

/// Open questions to the Discovery Service.
const MOST_DISCOVERIES: usize = 16;

impl Node {
    /// Asks the Discovery Service (DiscoveryMan) for relay servers; the answer is a [`Delivery::Discovered`].
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyDiscoveries`] or [`Refusal::ShuttingDown`].
    pub fn discover(&mut self, now: Instant, count: usize) -> Result<DiscoveryId, Refusal> {
        self.advance(now);
        if self.stopping.is_some() {
            return Err(Refusal::ShuttingDown);
        }
        if self.discoveries.len() >= MOST_DISCOVERIES {
            return Err(Refusal::TooManyDiscoveries);
        }
        let discovery = DiscoveryId(self.fresh_id());
        self.discoveries.insert(discovery);
        let patience = self.settings.discovery;
        self.arm_in(Timer::Discovery(discovery), patience);
        self.actions.push_back(Action::Service(ServiceAction::Discover { discovery, count }));
        Ok(discovery)
    }

    /// Takes over a record that came from outside the services: a contact that somebody pasted, say.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotNewer`] if a record at least as new is known, [`Refusal::NotGenuine`] if it is this node's own,
    /// [`Refusal::TooManyPeers`] if there is no place for it, [`Refusal::ShuttingDown`].
    pub fn learn(&mut self, now: Instant, record: SignedRecord) -> Result<(), Refusal> {
        self.advance(now);
        if self.stopping.is_some() {
            return Err(Refusal::ShuttingDown);
        }
        let peer = record.node_id();
        if peer == self.id {
            return Err(Refusal::NotGenuine);
        }
        if !self.make_peer(peer) {
            return Err(Refusal::TooManyPeers);
        }
        if !self.adopt(record) {
            return Err(Refusal::NotNewer);
        }
        self.reach(peer);
        Ok(())
    }

    /// Asks the Lookup Service for a peer's record, once in an attempt to reach it.
    pub(super) fn look_up(&mut self, peer_id: NodeId) {
        if self.lookups.len() >= self.limits.lookups {
            self.lookup_waiters.insert(peer_id);
            return;
        }
        let lookup = LookupId(self.fresh_id());
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.lookup = Some(lookup);
        peer.looked_up = true;
        self.lookups.insert(lookup, peer_id);
        let patience = self.settings.lookup;
        self.arm_in(Timer::Lookup(lookup), patience);
        self.actions.push_back(Action::Service(ServiceAction::Lookup { lookup, peer: peer_id }));
    }

    pub(super) fn found(&mut self, lookup: LookupId, record: &[u8]) {
        let Some(&peer) = self.lookups.get(&lookup) else { return };
        match SignedRecord::from_bytes(record) {
            Ok(record) if record.node_id() == peer => {
                if self.adopt(record) {
                    self.reach(peer);
                }
            }
            Ok(_) | Err(_) => self.note(Cause::RecordNotGenuine, Some(peer), None),
        }
    }

    pub(super) fn lookup_done(&mut self, lookup: LookupId) {
        let Some(peer) = self.lookups.remove(&lookup) else { return };
        self.timers.disarm(Timer::Lookup(lookup));
        if let Some(state) = self.peers.get_mut(&peer)
            && state.lookup == Some(lookup)
        {
            state.lookup = None;
        }
        self.reach(peer);
        while self.lookups.len() < self.limits.lookups
            && let Some(next) = self.lookup_waiters.pop_first()
        {
            self.reach(next);
        }
    }

    pub(super) fn lookup_timeout(&mut self, lookup: LookupId) {
        let peer = self.lookups.get(&lookup).copied();
        self.note(Cause::LookupTimedOut, peer, None);
        self.lookup_done(lookup);
    }

    pub(super) fn discovered(&mut self, discovery: DiscoveryId, relays: Vec<NodeId>) {
        if self.discoveries.remove(&discovery) {
            self.timers.disarm(Timer::Discovery(discovery));
            let me = self.id;
            let mut relays: Vec<NodeId> = relays.into_iter().filter(|&relay| relay != me).collect();
            relays.truncate(64 * Strategies::MAX_RELAYS);
            self.deliver(Delivery::Discovered(discovery, relays));
        }
    }

    pub(super) fn discovery_timeout(&mut self, discovery: DiscoveryId) {
        self.discovered(discovery, Vec::new());
    }

    /// Only a record with a higher sequence number replaces the one that is known.
    pub(super) fn adopt(&mut self, record: SignedRecord) -> bool {
        let peer_id = record.node_id();
        let Some(peer) = self.peers.get_mut(&peer_id) else { return false };
        if peer.record.as_ref().is_some_and(|known| known.sequence() >= record.sequence()) {
            return false;
        }
        peer.key = Some(*record.key());
        peer.strategies.adopt(&record);
        self.store_record(peer_id, &record);
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.record = Some(record);
        }
        true
    }
}
