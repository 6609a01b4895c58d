//! What a peer is charged with, and all peers together: the budgets that sessions share.

use crate::config::Limits;
use crate::wire::code::RefuseCode;

/// Messages in pieces under way with one peer at a time, in all sessions together.
pub(crate) const MAX_LONG: usize = 4;

/// What a session remembers of queries that are not refused, beyond twice those that may wait for a handler: an honest peer has no more
/// that is on its way, or whose acknowledgement is.
const MORE_ENTRIES: usize = 4096;

/// What is held on somebody's behalf.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Charges {
    /// Bytes of messages that are being put together.
    pub(crate) assembly: usize,
    /// Bytes of replies that are remembered.
    pub(crate) replies: usize,
    /// Queries that wait for a handler.
    pub(crate) incoming: usize,
    /// Messages in pieces that are on their way to it.
    pub(crate) long: usize,
    /// Queries that come, wait for a handler, or were answered without word that the answer has arrived.
    pub(crate) entries: usize,
}

/// The accounts of one peer and of all, with the limits of both.
pub(crate) struct Account<'a> {
    pub(crate) of_peer: &'a mut Charges,
    pub(crate) of_all: &'a mut Charges,
    pub(crate) limits: &'a Limits,
}

impl Account<'_> {
    /// Takes memory for a message that is put together. Says whether there is any.
    pub(crate) fn charge_assembly(&mut self, bytes: usize) -> bool {
        let fits = self.of_peer.assembly.saturating_add(bytes) <= self.limits.assembly_bytes_per_peer
            && self.of_all.assembly.saturating_add(bytes) <= self.limits.assembly_bytes;
        if fits {
            self.of_peer.assembly += bytes;
            self.of_all.assembly += bytes;
        }
        fits
    }

    pub(crate) fn release_assembly(&mut self, bytes: usize) {
        release(&mut self.of_peer.assembly, bytes);
        release(&mut self.of_all.assembly, bytes);
    }

    /// Takes memory for a reply that is remembered. Nobody may have more of it than is left for others. Says whether there is any.
    pub(crate) fn charge_reply(&mut self, bytes: usize) -> bool {
        let of_peer = self.of_peer.replies.saturating_add(bytes);
        let of_all = self.of_all.replies.saturating_add(bytes);
        let left = self.limits.reply_bytes.saturating_sub(of_all);
        let fits = of_peer <= self.limits.reply_bytes_per_peer
            && of_all <= self.limits.reply_bytes
            && of_peer <= left.max(bytes);
        if fits {
            self.of_peer.replies = of_peer;
            self.of_all.replies = of_all;
        }
        fits
    }

    pub(crate) fn release_reply(&mut self, bytes: usize) {
        release(&mut self.of_peer.replies, bytes);
        release(&mut self.of_all.replies, bytes);
    }

    /// A query goes to a handler.
    pub(crate) fn charge_incoming(&mut self) {
        self.of_peer.incoming += 1;
        self.of_all.incoming += 1;
    }

    pub(crate) fn release_incoming(&mut self) {
        release(&mut self.of_peer.incoming, 1);
        release(&mut self.of_all.incoming, 1);
    }

    /// Why one more query may not come, if so: those that were answered take memory as well, until the asker has said that it has the
    /// answer. Nobody may have more of it than is left for others.
    pub(crate) fn refusal_of_entry(&self) -> Option<RefuseCode> {
        let most = |incoming: usize| incoming.saturating_mul(2).saturating_add(MORE_ENTRIES);
        let left = most(self.limits.incoming).saturating_sub(self.of_all.entries);
        if left == 0 {
            return Some(RefuseCode::Busy);
        }
        let is_full = self.of_peer.entries >= most(self.limits.incoming_per_peer).min(left);
        is_full.then_some(RefuseCode::BusyWithYou)
    }

    pub(crate) fn charge_entry(&mut self) {
        self.of_peer.entries += 1;
        self.of_all.entries += 1;
    }

    pub(crate) fn release_entry(&mut self) {
        release(&mut self.of_peer.entries, 1);
        release(&mut self.of_all.entries, 1);
    }

    /// A message in pieces may begin to go.
    pub(crate) fn has_place_for_long(&self) -> bool {
        self.of_peer.long < MAX_LONG
    }

    pub(crate) fn charge_long(&mut self) {
        self.of_peer.long += 1;
        self.of_all.long += 1;
    }

    pub(crate) fn release_long(&mut self) {
        release(&mut self.of_peer.long, 1);
        release(&mut self.of_all.long, 1);
    }
}

fn release(charged: &mut usize, bytes: usize) {
    debug_assert!(*charged >= bytes, "what is released was charged");
    *charged = charged.saturating_sub(bytes);
}
