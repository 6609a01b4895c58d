//! Sessions that were offered and not confirmed: what a stranger's first message, or the replay of one, costs this node.
//!
//! Nothing was promised in them, so they have no time of their own: each ends when its place is needed. What comes over one connection pushes
//! out what came over it before; only when the table is full, the connection that fills it most gives way.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::ConnectionId;
use crate::slab::Key;
use crate::wire::packet::SessionId;

/// Over one connection: of one node, and in all.
const PER_PEER: usize = 2;
const PER_CONNECTION: usize = 4;

#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) sid: SessionId,
    pub(crate) peer: Key,
    pub(crate) on: ConnectionId,
    /// What it answers: the same question gets the same answer again.
    pub(crate) isid: SessionId,
    pub(crate) hello: Box<[u8; 150]>,
    pub(crate) welcome: Vec<u8>,
}

/// The oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tentative(VecDeque<Offered>);

impl Tentative {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The answer that this very question was given.
    pub(crate) fn welcome(&self, isid: SessionId, hello: &[u8; 150]) -> Option<&[u8]> {
        let is_asked = |offered: &&Offered| offered.isid == isid && *offered.hello == *hello;
        self.0.iter().find(is_asked).map(|offered| offered.welcome.as_slice())
    }

    /// Which one makes way for another of this peer, over this connection, if one has to.
    pub(crate) fn makes_way(&self, peer: Key, on: ConnectionId, most: usize) -> Option<(SessionId, Key)> {
        let over = || self.0.iter().filter(move |offered| offered.on == on);
        let of_peer = || over().filter(move |offered| offered.peer == peer);
        let victim = if of_peer().count() >= PER_PEER {
            of_peer().next()
        } else if over().count() >= PER_CONNECTION {
            over().next()
        } else if self.0.len() >= most {
            self.fullest()
        } else {
            None
        };
        victim.map(|offered| (offered.sid, offered.peer))
    }

    /// The oldest over the connection that fills the table most.
    fn fullest(&self) -> Option<&Offered> {
        let mut counts: BTreeMap<ConnectionId, usize> = BTreeMap::new();
        for offered in &self.0 {
            *counts.entry(offered.on).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        self.0.iter().find(|offered| counts.get(&offered.on) == Some(&most))
    }

    pub(crate) fn add(&mut self, offered: Offered) {
        self.0.push_back(offered);
    }

    /// It is confirmed, or has ended.
    pub(crate) fn remove(&mut self, sid: SessionId) {
        self.0.retain(|offered| offered.sid != sid);
    }
}
