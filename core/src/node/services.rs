//! The Lookup Service and the Discovery Service (*EGTP Architecture 0.2*, I.C): asked by actions, answered by events, believed
//! only as far as signatures reach.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Node;
use crate::action::{Action, ServiceAction};
use crate::id::{DiscoveryId, LookupId, NodeId};
use crate::note::Cause;
use crate::peer::Next;
use crate::query::{Delivery, Refusal};
use crate::record::{SignedRecord, Strategies};
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::timer::Timer;

/// Open questions to the Discovery Service.
const MOST_DISCOVERIES: usize = 16;

/// The questions that are open.
#[derive(Debug)]
pub(super) struct Services {
    lookups: Slab<Key>,
    /// Peers that wait for a place among them, in the order of their asking.
    waiting: VecDeque<Key>,
    discoveries: Slab<()>,
}

impl Services {
    pub(super) const fn new() -> Self {
        Self { lookups: Slab::new(), waiting: VecDeque::new(), discoveries: Slab::new() }
    }

    /// Open questions to the Lookup Service.
    pub(super) fn lookups(&self) -> usize {
        self.lookups.len()
    }

    /// What a Lookup Service still finds is of use to nobody.
    pub(super) fn forget_lookups(&mut self) {
        self.lookups = Slab::new();
        self.waiting.clear();
    }
}

impl Node {
    /// Asks the Discovery Service (DiscoveryMan) for relay servers; the answer is a [`Delivery::Discovered`].
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyDiscoveries`] or [`Refusal::ShuttingDown`].
    pub fn discover(&mut self, now: Instant, count: usize) -> Result<DiscoveryId, Refusal> {
        self.advance(now);
        if self.env.stopping {
            return Err(Refusal::ShuttingDown);
        }
        if self.services.discoveries.len() >= MOST_DISCOVERIES {
            return Err(Refusal::TooManyDiscoveries);
        }
        let discovery = DiscoveryId(self.services.discoveries.insert(()));
        let due = self.env.now + self.env.settings.discovery;
        self.env.timers.arm(self.env.now, Timer::Discovery(discovery), due);
        self.env.out.push(Action::Service(ServiceAction::Discover { discovery, count }));
        self.finish();
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
        if self.env.stopping {
            return Err(Refusal::ShuttingDown);
        }
        let id = record.node_id();
        if id == self.env.id {
            return Err(Refusal::NotGenuine);
        }
        let key = self.peers.find_or_make(id, &mut self.env).ok_or(Refusal::TooManyPeers)?;
        if !self.adopt(key, record) {
            return Err(Refusal::NotNewer);
        }
        self.finish();
        Ok(())
    }

    /// Asks the Lookup Service for a peer's record, once in an attempt to reach it; or the peer waits for a place.
    pub(super) fn look_up(&mut self, key: Key) {
        if self.services.lookups.len() >= self.env.limits.lookups {
            self.services.waiting.push_back(key);
            return;
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let lookup = LookupId(self.services.lookups.insert(key));
        if !peer.looks_up(lookup) {
            self.services.lookups.remove(lookup.0);
            return;
        }
        let due = self.env.now + self.env.settings.lookup;
        self.env.timers.arm(self.env.now, Timer::Lookup(lookup), due);
        self.env.out.push(Action::Service(ServiceAction::Lookup { lookup, peer: peer.id() }));
    }

    pub(super) fn found(&mut self, lookup: LookupId, record: &[u8]) {
        let Some(&key) = self.services.lookups.get(lookup.0) else { return };
        let Some(id) = self.peers.get(key).map(|peer| peer.id()) else { return };
        match SignedRecord::from_bytes(record) {
            Ok(record) if record.node_id() == id => {
                self.adopt(key, record);
            }
            Ok(_) | Err(_) => self.env.note(Cause::RecordNotGenuine, Some(id), None),
        }
    }

    pub(super) fn lookup_done(&mut self, lookup: LookupId) {
        let Some(key) = self.services.lookups.remove(lookup.0) else { return };
        self.env.timers.disarm(Timer::Lookup(lookup));
        if let Some(peer) = self.peers.get_mut(key) {
            peer.looked_up(&mut self.env, lookup);
        }
        while let Some(key) = self.services.waiting.pop_front() {
            if self.peers.get_mut(key).is_some_and(|peer| peer.may_go_on(&mut self.env) == Next::LookUp) {
                break;
            }
        }
    }

    pub(super) fn lookup_timeout(&mut self, lookup: LookupId) {
        let peer = self.services.lookups.get(lookup.0).and_then(|&key| self.peers.get(key)).map(|peer| peer.id());
        self.env.note(Cause::LookupTimedOut, peer, None);
        self.lookup_done(lookup);
    }

    pub(super) fn discovered(&mut self, discovery: DiscoveryId, relays: Vec<NodeId>) {
        if self.services.discoveries.remove(discovery.0).is_some() {
            self.env.timers.disarm(Timer::Discovery(discovery));
            let me = self.env.id;
            let mut relays: Vec<NodeId> = relays.into_iter().filter(|&relay| relay != me).collect();
            relays.truncate(64 * Strategies::MAX_RELAYS);
            self.env.deliver(Delivery::Discovered(discovery, relays));
        }
    }

    pub(super) fn discovery_timeout(&mut self, discovery: DiscoveryId) {
        self.discovered(discovery, Vec::new());
    }

    /// Every question to the Discovery Service ends without an answer.
    pub(super) fn end_discoveries(&mut self) {
        for discovery in self.services.discoveries.keys_by_age() {
            self.discovered(DiscoveryId(discovery), Vec::new());
        }
    }

    /// Only a record with a higher sequence number replaces the one that is known.
    fn adopt(&mut self, key: Key, record: SignedRecord) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        let (id, bytes) = (peer.id(), record.as_bytes().to_vec());
        let is_newer = peer.learn(&mut self.env, record);
        if is_newer {
            self.store_record(id, bytes);
        }
        is_newer
    }
}
