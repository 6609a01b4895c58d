//! Every peer that something is known of, by place, by id, and in the order in which they would be forgotten.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;

use hashbrown::HashMap;

use crate::env::{Effect, Env};
use crate::hashing::KeyedHash;
use crate::id::NodeId;
use crate::peer::Peer;
use crate::slab::{Key, Slab};
use crate::timer::Timer;

/// So many peers are looked at when one is to be forgotten.
const LOOKED_AT: usize = 64;

pub(super) struct Peers {
    slab: Slab<Box<Peer>>,
    by_id: HashMap<NodeId, Key, KeyedHash>,
    /// In the order in which they would be forgotten: strangers first, then whoever was of use longest ago.
    order: BTreeSet<(bool, u64, Key)>,
    next_stamp: u64,
}

impl Peers {
    pub(super) fn new(hash: KeyedHash) -> Self {
        Self { slab: Slab::new(), by_id: HashMap::with_hasher(hash), order: BTreeSet::new(), next_stamp: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn find(&self, id: NodeId) -> Option<Key> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, key: Key) -> Option<&Peer> {
        self.slab.get(key).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Peer> {
        self.slab.get_mut(key).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.slab.iter().map(|(_, peer)| peer.as_ref())
    }

    /// The oldest first.
    pub(super) fn keys(&self) -> alloc::vec::Vec<Key> {
        self.slab.keys_by_age()
    }

    /// The peer of this id, made if there is none and a place for it, if need be by forgetting another that is not needed.
    pub(super) fn find_or_make(&mut self, id: NodeId, env: &mut Env) -> Option<Key> {
        if let Some(key) = self.find(id) {
            return Some(key);
        }
        let full = self.len() >= env.limits.peers;
        if full && !(self.forget_one_of(false, env) || self.forget_one_of(true, env)) {
            return None;
        }
        let key = self.slab.next_key();
        self.slab.insert(Box::new(Peer::new(key, id)));
        self.by_id.insert(id, key);
        self.order.insert((false, 0, key));
        self.touch(key, false);
        Some(key)
    }

    /// Forgets the peer that was of use longest ago, of the strangers or of those that this node has `asked` something.
    fn forget_one_of(&mut self, asked: bool, env: &mut Env) -> bool {
        // One that is needed counts as used, so that the next search does not come upon it again first.
        for _ in 0..LOOKED_AT {
            let place = self.order.iter().find(|place| place.0 == asked).copied();
            let Some((_, _, key)) = place else { return false };
            if self.get(key).is_some_and(Peer::is_needed) {
                self.touch(key, false);
                continue;
            }
            if let Some(peer) = self.slab.remove(key) {
                self.order.remove(&peer.place());
                self.by_id.remove(&peer.id());
                env.timers.disarm(Timer::Peer(key));
                peer.session_ids().into_iter().for_each(|sid| env.effects.push(Effect::SessionEnded(sid)));
            }
            return true;
        }
        false
    }

    /// A peer is of use; one that this node has `asked` something is forgotten after all strangers.
    pub(super) fn touch(&mut self, key: Key, asked: bool) {
        let Some(peer) = self.slab.get_mut(key) else { return };
        self.order.remove(&peer.place());
        peer.touch(self.next_stamp, asked);
        self.next_stamp += 1;
        self.order.insert(peer.place());
    }

    pub(super) fn check(&self, env: &Env) {
        if cfg!(debug_assertions) {
            debug_assert_eq!((self.slab.len(), self.slab.len()), (self.by_id.len(), self.order.len()));
            for peer in self.iter() {
                debug_assert!(self.order.contains(&peer.place()), "every peer has its place in the order of use");
                peer.check(env);
            }
        }
    }
}
