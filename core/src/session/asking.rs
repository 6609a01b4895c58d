//! The asker's end of a session: its own numbers, and the queries that have one.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::assembly::Assembly;
use super::outgoing::Outgoing;
use super::window::WIDTH;
use crate::admission::Account;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::message::Message;

/// A query or notice that has a number.
#[derive(Debug)]
pub(super) struct Asked {
    /// The node's name for it.
    pub(super) query: Key,
    pub(super) outgoing: Outgoing,
    pub(super) notice: bool,
    /// On the peer's session clock.
    pub(super) until: u32,
    /// On this node's clock.
    pub(super) deadline: Instant,
    /// The reply, as far as it has come.
    pub(super) reply: Option<Assembly>,
    /// Whether it is counted among the long messages under way.
    pub(super) counts_as_long: bool,
}

/// It goes once at least, and again when it is lost until the query's deadline.
#[derive(Clone, Copy, Debug)]
struct Cancelled {
    deadline: Instant,
    was_said: bool,
}

#[derive(Debug)]
pub(super) struct Asking {
    next: u64,
    /// By number. Each has memory of its own, so that the others need not move when one comes or goes.
    outstanding: BTreeMap<u64, Box<Asked>>,
    /// How many the peer lets wait at a time.
    most: usize,
    /// No number below this one is both outstanding and not wholly acknowledged.
    lowest_open: u64,
    /// Numbers to be cancelled at the peer, until that is acknowledged.
    cancelled: BTreeMap<u64, Cancelled>,
    /// Notices that the peer has.
    told: Vec<Key>,
}

impl Asking {
    pub(super) fn new(most: usize) -> Self {
        Self {
            next: 0,
            outstanding: BTreeMap::new(),
            most,
            lowest_open: 0,
            cancelled: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Whether one more may have a number: none is used so far above the lowest one of which the peer does not have all parts that it would
    /// push that below the peer's table.
    pub(super) fn has_room(&mut self) -> bool {
        while self.lowest_open < self.next
            && self.outstanding.get(&self.lowest_open).is_none_or(|asked| asked.outgoing.is_acknowledged())
        {
            self.lowest_open += 1;
        }
        self.outstanding.len() < self.most && self.next < self.lowest_open.saturating_add(WIDTH) && self.next < u64::MAX
    }

    /// Gives the next number.
    pub(super) fn number(&mut self, asked: Asked) -> u64 {
        let number = self.next;
        self.next += 1;
        self.outstanding.insert(number, Box::new(asked));
        number
    }

    /// Whether a number was ever given.
    pub(super) fn was_used(&self, number: u64) -> bool {
        number < self.next
    }

    pub(super) fn get(&self, number: u64) -> Option<&Asked> {
        self.outstanding.get(&number).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Asked> {
        self.outstanding.get_mut(&number).map(Box::as_mut)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.outstanding.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Asked)> {
        self.outstanding.iter().map(|(&number, asked)| (number, asked.as_ref()))
    }

    /// The query is settled, or goes again under another number; what was held for it is given back.
    pub(super) fn remove(&mut self, number: u64, account: &mut Account<'_>) -> Option<(Key, Message)> {
        let asked = *self.outstanding.remove(&number)?;
        if let Some(reply) = asked.reply {
            account.release_assembly(reply.total());
        }
        if asked.counts_as_long {
            account.release_long();
        }
        Some((asked.query, asked.outgoing.into_message()))
    }

    /// Everything that has a number, in the order of numbers.
    pub(super) fn remove_all(&mut self, account: &mut Account<'_>) -> Vec<(u64, Key, Message)> {
        let numbers: Vec<u64> = self.outstanding.keys().copied().collect();
        let remove = |number| self.remove(number, account).map(|(query, message)| (number, query, message));
        numbers.into_iter().filter_map(remove).collect()
    }

    /// The peer is to be told that nobody waits for this number. Of many, the oldest is left to its deadline there.
    pub(super) fn cancel(&mut self, number: u64, deadline: Instant) {
        self.cancelled.insert(number, Cancelled { deadline, was_said: false });
        if self.cancelled.len() > usize::try_from(WIDTH).unwrap_or(usize::MAX) {
            self.cancelled.pop_first();
        }
    }

    /// Whether the peer is to be told that now; if so, it is.
    pub(super) fn says_cancel(&mut self, number: u64, now: Instant) -> bool {
        let Some(cancelled) = self.cancelled.get_mut(&number) else { return false };
        let says = !cancelled.was_said || cancelled.deadline > now;
        cancelled.was_said = true;
        if !says {
            self.cancelled.remove(&number);
        }
        says
    }

    /// Whether the peer is to be told of any, and it is not too late for that.
    pub(super) fn cancels(&self, now: Instant) -> bool {
        self.cancelled.values().any(|cancelled| cancelled.deadline > now)
    }

    pub(super) fn cancel_acknowledged(&mut self, number: u64) {
        self.cancelled.remove(&number);
    }

    /// The peer has a part of a message.
    pub(super) fn acknowledged(&mut self, number: u64, part: super::ranges::Range, account: &mut Account<'_>) {
        let Some(asked) = self.outstanding.get_mut(&number) else { return };
        asked.outgoing.left(part);
        if !asked.outgoing.acknowledged(part) {
            return;
        }
        if core::mem::take(&mut asked.counts_as_long) {
            account.release_long();
        }
        if asked.notice {
            self.told.push(asked.query);
            self.remove(number, account);
        }
    }

    /// Notices that the peer has, each once.
    pub(super) fn take_told(&mut self) -> Vec<Key> {
        core::mem::take(&mut self.told)
    }

    /// What is empty holds no memory.
    pub(super) fn rest(&mut self) {
        self.outstanding = BTreeMap::new();
        if self.cancelled.is_empty() {
            self.cancelled = BTreeMap::new();
        }
    }

    pub(super) fn check(&self) {
        debug_assert!(self.outstanding.last_key_value().is_none_or(|(&last, _)| last < self.next));
        debug_assert!(self.outstanding.len() <= self.most);
    }

    /// The memory for replies that are coming.
    pub(super) fn assembly_bytes(&self) -> usize {
        self.outstanding.values().filter_map(|asked| asked.reply.as_ref()).map(Assembly::total).sum()
    }

    pub(super) fn long(&self) -> usize {
        self.outstanding.values().filter(|asked| asked.counts_as_long).count()
    }
}
