//! How a peer is reached: by an open connection, by its addresses in turn, by asking the Lookup Service once, or not at all.
//!
//! Fast fail (*EGTP Architecture 0.2*, III.C): a query ends at once when, and only when, its data could not leave this machine.

use alloc::boxed::Box;

use super::Node;
use crate::connection::Phase;
use crate::id::NodeId;
use crate::query::{Executed, Reason, Refusal};
use crate::timer::Timer;

impl Node {
    /// Does the next thing that brings a peer's waiting queries on their way. Harmless to call at any time.
    pub(super) fn reach(&mut self, peer_id: NodeId) {
        if self.peers.get(&peer_id).is_none_or(|peer| peer.held.is_empty()) {
            return;
        }
        if let Some(on) = self.path(peer_id) {
            self.ensure_session(peer_id, on);
            self.pump(peer_id);
            return;
        }
        if self.stopping.is_some() {
            // Nothing is opened any more.
            self.fail_held(peer_id, Reason::RefusedHere(Refusal::ShuttingDown));
            return;
        }
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if let Some(dial) = peer.dial {
            if self.connections.get(&dial).is_some_and(|dial| dial.phase == Phase::Open) {
                // It may have been opened for another query, and what was said on it given up with that one.
                self.ensure_session(peer_id, dial);
            }
            return;
        }
        if peer.busy_until.is_some_and(|until| until > self.now) {
            return;
        }
        if self.connections.len() >= self.limits.connections && peer.strategies.has_untried() {
            if self.make_one_leave() {
                self.slot_waiters.insert(peer_id);
            } else {
                self.fail_held(peer_id, Reason::RefusedHere(Refusal::TooManyConnections));
            }
            return;
        }
        if let Some(address) = peer.strategies.try_next() {
            self.dial(peer_id, address);
        } else if peer.lookup.is_none() {
            if peer.looked_up {
                self.give_up(peer_id);
            } else {
                self.look_up(peer_id);
            }
        }
    }

    /// Nothing is left to try: what waits fails fast. The next query may try everything again.
    fn give_up(&mut self, peer: NodeId) {
        self.start_over(peer);
        self.fail_held(peer, Reason::Unreachable);
    }

    fn start_over(&mut self, peer: NodeId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.strategies.start_over();
            peer.looked_up = false;
            peer.met = 0;
            peer.handshake = None;
            peer.busy_until = None;
        }
        self.timers.disarm(Timer::HandshakeAgain(peer));
        self.timers.disarm(Timer::Prove(peer));
    }

    pub(super) fn fail_held(&mut self, peer: NodeId, reason: Reason) {
        let held = self.peers.get(&peer).map(|peer| peer.held.clone()).unwrap_or_default();
        for query in held {
            self.fail_as(query, reason, Executed::No);
        }
    }

    /// Nobody waits for the peer any more: a dial that goes on would be for nothing. But once it is open the peer may have met
    /// this node on it and sent a query; then it goes on like any other connection.
    pub(super) fn abandon_reach_if_idle(&mut self, peer_id: NodeId) {
        let Some(peer) = self.peers.get(&peer_id) else { return };
        if peer.outstanding > 0 || !peer.connections.is_empty() {
            return;
        }
        self.slot_waiters.remove(&peer_id);
        self.lookup_waiters.remove(&peer_id);
        if let Some(dial) = peer.dial {
            if self.connections.get(&dial).is_some_and(|dial| dial.phase != Phase::Dialling) {
                return;
            }
            self.abandon_dial(peer_id, dial);
        }
        self.start_over(peer_id);
    }

    /// Makes sure that there is a place for what is known of a peer, if need be by forgetting another that is not needed.
    pub(super) fn make_peer(&mut self, id: NodeId) -> bool {
        if self.peers.contains_key(&id) {
            return true;
        }
        if self.peers.len() >= self.limits.peers && !self.forget_a_peer() {
            return false;
        }
        self.peers.insert(id, Box::default());
        self.peer_order.insert((false, 0, id));
        self.touch_peer(id, false);
        true
    }

    fn forget_a_peer(&mut self) -> bool {
        self.forget_one_of(false) || self.forget_one_of(true)
    }

    /// Forgets the peer that was of use longest ago, of the strangers or of those that this node has `asked` something.
    fn forget_one_of(&mut self, asked: bool) -> bool {
        // One that is needed counts as used, so that the next search does not come upon it again first.
        for _ in 0..64 {
            let first = self.peer_order.range((asked, 0, NodeId::from_bytes([0; 20]))..).next().copied();
            let Some(place) = first.filter(|place| place.0 == asked) else { return false };
            let (_, _, id) = place;
            if self.peers.get(&id).is_some_and(|peer| peer.is_needed()) {
                self.touch_peer(id, false);
            } else {
                self.peer_order.remove(&place);
                self.peers.remove(&id);
                return true;
            }
        }
        false
    }

    /// Notes that a peer is of use; one that this node has `asked` something is forgotten after all strangers.
    pub(super) fn touch_peer(&mut self, id: NodeId, asked: bool) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        self.peer_order.remove(&(peer.asked, peer.stamp, id));
        peer.asked |= asked;
        peer.stamp = self.next_stamp;
        self.next_stamp += 1;
        self.peer_order.insert((peer.asked, peer.stamp, id));
    }
}
