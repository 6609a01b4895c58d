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
    /// Whether a PING came there: then it has to go there, whatever goes elsewhere.
    pinged: bool,
}

impl Receipt {
    /// The record with the highest counter so far has come.
    pub(super) fn is_newest(&mut self, now: Instant) {
        self.newest = now;
    }

    /// A record has come that asks for an acknowledgement, at once if it holds a PING.
    pub(super) fn owe(&mut self, now: Instant, path: PathId, bytes: usize, pinged: bool) {
        let due = now + DELAY;
        let owed = self.owed.get_or_insert(Owed { due, records: 0, bytes: 0, path, pinged: false });
        owed.records = owed.records.saturating_add(1);
        owed.bytes = owed.bytes.saturating_add(bytes);
        if pinged || !owed.pinged {
            owed.path = path;
        }
        owed.pinged |= pinged;
        if pinged || owed.records >= MOST_RECORDS || owed.bytes >= MOST_BYTES {
            owed.due = owed.due.min(now);
        }
    }

    /// What was to say it on this path does not leave: it is said again, at once.
    pub(super) fn owe_again(&mut self, path: PathId) {
        let due = Instant::ZERO;
        self.owed.get_or_insert(Owed { due, records: 0, bytes: 0, path, pinged: false }).due = due;
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

    /// It is sealed, for this path.
    pub(super) fn sealed(&mut self, path: PathId) {
        self.owed.take_if(|owed| !owed.pinged || owed.path == path);
    }

    /// A path has ended: nobody waits there any more.
    pub(super) fn path_ended(&mut self, path: PathId) {
        if let Some(owed) = self.owed.as_mut().filter(|owed| owed.path == path) {
            owed.pinged = false;
        }
    }

    /// How long ago the newest record came, in tenths of a millisecond.
    pub(super) fn delay(&self, now: Instant) -> u16 {
        u16::try_from(now.saturating_since(self.newest).as_micros() / 100).unwrap_or(u16::MAX)
    }
}
