//! What outlives the process: the node's own sequence number, reserved ahead, and the highest record seen of each peer.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;

use super::Node;
use crate::action::{Action, ServiceAction, StoreKey};
use crate::id::{NodeId, SaveId};
use crate::query::Refusal;
use crate::record::{SignedRecord, Strategies};
use crate::time::{Instant, UnixTime};

/// How many sequence numbers are reserved with one save: a crash loses at most so many, and reuses none.
const RESERVED_AHEAD: u64 = 64;

/// BEP44 sequence numbers are signed.
const LAST_SEQUENCE: u64 = i64::MAX as u64;

/// What an earlier run stored, checked.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    sequence: u64,
    records: BTreeMap<NodeId, SignedRecord>,
}

impl Stored {
    /// Checks and takes what was stored by [`ServiceAction::Save`].
    ///
    /// # Errors
    ///
    /// [`CorruptStore`] names the first entry that cannot be what was stored. Nothing should be overwritten then: without its
    /// sequence number a node would announce itself with numbers that others have seen.
    pub fn parse<'a>(entries: impl IntoIterator<Item = (StoreKey, &'a [u8])>) -> Result<Self, CorruptStore> {
        let mut stored = Self::default();
        for (key, value) in entries {
            let corrupt = CorruptStore(key);
            match key {
                StoreKey::Sequence => {
                    let bytes: [u8; 8] = value.try_into().map_err(|_| corrupt)?;
                    stored.sequence = u64::from_be_bytes(bytes);
                    if stored.sequence > LAST_SEQUENCE {
                        return Err(corrupt);
                    }
                }
                StoreKey::Record(peer) => {
                    let record = SignedRecord::from_bytes(value).map_err(|_| corrupt)?;
                    if record.node_id() != peer {
                        return Err(corrupt);
                    }
                    stored.records.insert(peer, record);
                }
            }
        }
        Ok(stored)
    }

    /// All numbers below this one may have been used.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }
}

/// An entry of the store is not what was stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CorruptStore(pub StoreKey);

impl fmt::Display for CorruptStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            StoreKey::Sequence => f.write_str("the stored sequence number is damaged"),
            StoreKey::Record(peer) => write!(f, "the stored record of {peer} is damaged"),
        }
    }
}

impl core::error::Error for CorruptStore {}

/// The node's own record, and the numbers it may use for it.
#[derive(Debug)]
pub(super) struct OwnRecord {
    wanted: Option<Strategies>,
    current: Option<SignedRecord>,
    next: u64,
    /// Numbers below this one are reserved durably.
    reserved: u64,
    reserving: Option<(SaveId, u64)>,
    next_save: u64,
    /// Peers whose records are stored, in the order in which they would be deleted.
    stored: VecDeque<NodeId>,
}

impl OwnRecord {
    pub(super) fn new(stored: u64, unix: UnixTime) -> Self {
        let next = stored.max(unix.as_secs()).min(LAST_SEQUENCE - RESERVED_AHEAD).max(stored);
        Self {
            wanted: None,
            current: None,
            next,
            reserved: next,
            reserving: None,
            next_save: 1,
            stored: VecDeque::new(),
        }
    }
}

impl Node {
    /// Says how this node can be reached. Unless that is what its record says already, a new record follows as
    /// [`ServiceAction::Publish`], after its sequence number has been saved.
    ///
    /// # Errors
    ///
    /// [`Refusal::RecordTooLong`] if there are more addresses or relays than a record holds, or one that cannot be in a record;
    /// [`Refusal::ShuttingDown`].
    pub fn announce(&mut self, now: Instant, strategies: Strategies) -> Result<(), Refusal> {
        self.advance(now);
        if self.env.stopping {
            return Err(Refusal::ShuttingDown);
        }
        if SignedRecord::sign(&self.env.identity, 0, strategies.clone()).is_err() {
            return Err(Refusal::RecordTooLong);
        }
        if self.own.current.as_ref().is_some_and(|current| *current.strategies() == strategies) {
            self.own.wanted = None;
            return Ok(());
        }
        self.own.wanted = Some(strategies);
        self.publish();
        self.finish();
        Ok(())
    }

    /// The node's own record, once it has been published.
    pub fn record(&self) -> Option<&SignedRecord> {
        self.own.current.as_ref()
    }

    pub(super) fn saved(&mut self, save: SaveId) {
        if let Some((reserving, reserved)) = self.own.reserving
            && reserving == save
        {
            self.own.reserving = None;
            self.own.reserved = reserved;
            self.publish();
        }
    }

    /// Signs and publishes the wanted record, as soon as there is a number for it that no later run can use again.
    fn publish(&mut self) {
        if self.own.wanted.is_none() {
            return;
        }
        if self.own.next >= self.own.reserved {
            self.reserve();
            return;
        }
        let Some(strategies) = self.own.wanted.take() else { return };
        let sequence = self.own.next;
        self.own.next += 1;
        if let Ok(record) = SignedRecord::sign(&self.env.identity, sequence, strategies) {
            self.own.current = Some(record.clone());
            self.env.out.push(Action::Service(ServiceAction::Publish { record }));
        }
    }

    fn reserve(&mut self) {
        if self.own.reserving.is_some() || self.own.next >= LAST_SEQUENCE {
            return;
        }
        let reserved = self.own.next.saturating_add(RESERVED_AHEAD).min(LAST_SEQUENCE);
        let save = self.save(StoreKey::Sequence, Some(reserved.to_be_bytes().to_vec()));
        self.own.reserving = Some((save, reserved));
    }

    fn save(&mut self, key: StoreKey, value: Option<Vec<u8>>) -> SaveId {
        let save = SaveId(self.own.next_save);
        self.own.next_save += 1;
        self.env.out.push(Action::Service(ServiceAction::Save { save, key, value }));
        save
    }

    /// Stores the newest record of a peer; beyond the limit the longest unchanged one is deleted.
    pub(super) fn store_record(&mut self, peer: NodeId, record: Vec<u8>) {
        if self.env.limits.stored_records == 0 {
            return;
        }
        self.own.stored.retain(|&other| other != peer);
        self.own.stored.push_back(peer);
        self.save(StoreKey::Record(peer), Some(record));
        self.delete_surplus_records();
    }

    fn delete_surplus_records(&mut self) {
        while self.own.stored.len() > self.env.limits.stored_records {
            if let Some(oldest) = self.own.stored.pop_front() {
                self.save(StoreKey::Record(oldest), None);
            }
        }
    }

    pub(super) fn restore(&mut self, stored: Stored) {
        for (id, record) in stored.records {
            if id == self.env.id {
                continue;
            }
            if let Some(key) = self.peers.find_or_make(id, &mut self.env) {
                self.own.stored.push_back(id);
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.learn(&mut self.env, record);
                }
            }
        }
        self.delete_surplus_records();
    }
}
