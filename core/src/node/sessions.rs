//! Every session of the node: whose it is, and in which order sessions would be given up.

use alloc::collections::BTreeSet;

use hashbrown::HashMap;

use super::Node;
use crate::hashing::KeyedHash;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::BreakCode;
use crate::wire::packet::SessionId;

pub(super) struct SessionTable {
    by_id: HashMap<SessionId, Place, KeyedHash>,
    /// Confirmed ones in the order in which they would be given up: strangers' first, then those that were used longest ago.
    order: BTreeSet<(bool, Instant, SessionId)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    peer: Key,
    /// Where it stands in the order, once it is confirmed.
    used: Option<(bool, Instant)>,
}

impl SessionTable {
    pub(super) fn new(hash: KeyedHash) -> Self {
        Self { by_id: HashMap::with_hasher(hash), order: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn confirmed(&self) -> usize {
        self.order.len()
    }

    /// Whose session it is.
    pub(super) fn peer(&self, sid: SessionId) -> Option<Key> {
        self.by_id.get(&sid).map(|place| place.peer)
    }

    /// A session was offered, and may be a replay.
    pub(super) fn offered(&mut self, sid: SessionId, peer: Key) {
        self.by_id.insert(sid, Place { peer, used: None });
    }

    /// A session is used: for the first time, or once more.
    pub(super) fn used(&mut self, sid: SessionId, peer: Key, asked: bool, now: Instant) {
        let place = self.by_id.entry(sid).or_insert(Place { peer, used: None });
        if let Some((asked, used)) = place.used.replace((asked, now)) {
            self.order.remove(&(asked, used, sid));
        }
        self.order.insert((asked, now, sid));
    }

    pub(super) fn ended(&mut self, sid: SessionId) {
        if let Some((asked, used)) = self.by_id.remove(&sid).and_then(|place| place.used) {
            self.order.remove(&(asked, used, sid));
        }
    }

    /// Confirmed sessions, the first to be given up first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (SessionId, Key)> {
        self.order.iter().filter_map(|&(_, _, sid)| Some((sid, self.peer(sid)?)))
    }

    /// All of them.
    pub(super) fn ids(&self) -> alloc::vec::Vec<(SessionId, Key)> {
        let mut all: alloc::vec::Vec<(SessionId, Key)> =
            self.by_id.iter().map(|(&sid, place)| (sid, place.peer)).collect();
        all.sort_unstable();
        all
    }
}

impl Node {
    /// Makes room for one more confirmed session, if need be by giving up the longest unused one in which nothing is under way.
    pub(super) fn make_room_for_session(&mut self, newcomer: SessionId) -> bool {
        if self.sessions.confirmed() < self.env.limits.sessions {
            return true;
        }
        let Some((victim, key)) = self.least_needed_session(newcomer) else { return false };
        if let Some(peer) = self.peers.get_mut(key) {
            peer.break_session(&mut self.env, victim, BreakCode::Memory);
        }
        self.drain_effects();
        true
    }

    /// A session that this node has initiated may be one too many: another gives way, or it ends again before anything is asked in it.
    pub(super) fn limit_sessions(&mut self, newest: SessionId, of: Key) {
        if self.sessions.confirmed() <= self.env.limits.sessions {
            return;
        }
        let victim = self.least_needed_session(newest);
        let (sid, key) = victim.unwrap_or((newest, of));
        if let Some(peer) = self.peers.get_mut(key) {
            peer.break_session(&mut self.env, sid, BreakCode::Memory);
            if victim.is_none() {
                peer.finds_no_session(&mut self.env);
            }
        }
    }

    /// Whether one more session could be confirmed.
    pub(super) fn has_room_for_session(&self) -> bool {
        self.sessions.confirmed() < self.env.limits.sessions || self.least_needed_session(SessionId([0; 8])).is_some()
    }

    fn least_needed_session(&self, except: SessionId) -> Option<(SessionId, Key)> {
        let may_go = |&(sid, key): &(SessionId, Key)| {
            sid != except && self.peers.get(key).is_some_and(|peer| peer.may_erase(&self.env, sid))
        };
        self.sessions.in_order().find(may_go)
    }
}
