//! What came and is to be acknowledged: when, and by which path.

use core::time::Duration;

use super::lane::PathId;
use crate::time::Instant;

/// An acknowledgement waits so long for something that it can go with.
const DELAY: Duration = Duration::from_millis(20);
/// After so many records, or bytes, it waits no longer.
const MOST_RECORDS: u32 = 32;
const MOST_BYTES: usize = 256 * 1024;

/// What is owed to the peer in acknowledgements.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipt {
    /// When the record with the highest counter came.
    newest: Instant,
    owed: Option<Owed>,
}

#[derive(Clone, Debug)]
struct Owed {
    due: Instant,
    records: u32,
    bytes: usize,
    /// Where the newest record came that asks for an acknowledgement: there, its sender waits for it.
    path: PathId,
}

impl Receipt {
    /// The record with the highest counter so far has come.
    pub(super) fn is_newest(&mut self, now: Instant) {
        self.newest = now;
    }

    /// A record has come that asks for an acknowledgement, at once or after a while.
    pub(super) fn owe(&mut self, now: Instant, path: PathId, bytes: usize, at_once: bool) {
        let due = now + DELAY;
        let owed = self.owed.get_or_insert(Owed { due, records: 0, bytes: 0, path });
        owed.records = owed.records.saturating_add(1);
        owed.bytes = owed.bytes.saturating_add(bytes);
        owed.path = path;
        if at_once || owed.records >= MOST_RECORDS || owed.bytes >= MOST_BYTES {
            owed.due = owed.due.min(now);
        }
    }

    pub(super) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// When an acknowledgement goes at the latest, and by which path.
    pub(super) fn due(&self) -> Option<(Instant, PathId)> {
        self.owed.as_ref().map(|owed| (owed.due, owed.path))
    }

    /// It goes now, whatever else there is to say.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(owed) = &mut self.owed {
            owed.due = owed.due.min(now);
        }
    }

    /// It is sealed.
    pub(super) fn sealed(&mut self) {
        self.owed = None;
    }

    /// How long ago the newest record came, in tenths of a millisecond.
    pub(super) fn delay(&self, now: Instant) -> u16 {
        u16::try_from(now.saturating_since(self.newest).as_micros() / 100).unwrap_or(u16::MAX)
    }
}
