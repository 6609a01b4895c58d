//! Sealed records: one direction of a session each. A record carries its counter in clear, so records may be lost, repeated
//! and reordered on the way.
//!
//! The key changes after every 2^20 counters, an *epoch*, and the old one is wiped as soon as no record of it can come
//! any more.

use alloc::vec::Vec;
use core::{fmt, mem};

use super::chacha_poly::{ChaChaPoly, TAG_LEN};
use super::replay::{RecordWindow, Replayed};
use crate::wire::frame::RunsBuffer;
use crate::wire::packet::{SEALED_HEADER, SessionId, sealed_header};

/// Version, kind, the receiver's number for the session, counter; all of it is authenticated.
const HEADER_LEN: usize = SEALED_HEADER;
/// No record has this counter or one above it.
const COUNTER_LIMIT: u64 = 1 << 48;
/// From here on a new session should take over, long before [`COUNTER_LIMIT`].
const REPLACEMENT_COUNTER: u64 = 1 << 40;
const RECORDS_PER_EPOCH: u64 = 1 << 20;

/// Seals the records of the direction from this node to the peer.
#[cfg_attr(test, derive(Clone, PartialEq, Debug))]
pub(crate) struct Sealer {
    counter: u64,
    /// The key of the epoch that `counter` lies in.
    cipher: ChaChaPoly,
}

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { counter: 0, cipher: ChaChaPoly::new(key) }
    }

    /// Turns `packet[start..]`, 18 bytes of any content and then the plaintext, into a sealed record, and returns the
    /// record's counter.
    ///
    /// # Panics
    ///
    /// If there are not 18 bytes after `start`.
    pub(crate) fn seal(&mut self, sid: SessionId, packet: &mut Vec<u8>, start: usize) -> Result<u64, Exhausted> {
        let counter = self.counter;
        if counter >= COUNTER_LIMIT {
            return Err(Exhausted);
        }
        let record = packet.get_mut(start..).and_then(|record| record.split_first_chunk_mut());
        let (header, text) = record.expect("the caller leaves room for the header");
        *header = sealed_header(sid, counter);
        let tag = self.cipher.seal(counter, header, text);
        packet.extend_from_slice(&tag);
        self.advance();
        Ok(counter)
    }

    /// Leaves a counter out: no record ever has it. Whoever acknowledges it lies.
    pub(crate) fn skip(&mut self) {
        if self.counter < COUNTER_LIMIT {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.counter = self.counter.saturating_add(1);
        if self.counter.is_multiple_of(RECORDS_PER_EPOCH) {
            self.cipher = self.cipher.rekeyed();
        }
    }

    /// The counter of the next record; every lower one has been used.
    pub(crate) fn counter(&self) -> u64 {
        self.counter
    }

    /// Whether so many records were sealed that a new session should take over.
    pub(crate) fn wants_replacement(&self) -> bool {
        self.counter >= REPLACEMENT_COUNTER
    }
}

/// Every counter of this direction has been used; nothing can be sealed any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Exhausted;

/// Opens the records of the direction from the peer to this node, each of them once.
#[cfg_attr(test, derive(Clone, PartialEq))]
pub(crate) struct Opener {
    window: RecordWindow,
    /// The epoch of the highest counter that was opened.
    epoch: u64,
    current: ChaChaPoly,
    /// The key of the epoch before, while the window reaches back to it.
    previous: Option<ChaChaPoly>,
}

impl Opener {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { window: RecordWindow::new(), epoch: 0, current: ChaChaPoly::new(key), previous: None }
    }

    /// The highest counter that was opened, if any was.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// The highest counter that was opened, if any was, and the counters that were, as runs for an ACK.
    pub(crate) fn opened(&self, runs: &mut RunsBuffer) -> Option<u64> {
        self.window.runs(runs)
    }

    /// Opens a whole sealed packet, and returns its counter and its plaintext, which is put into `room`. After an error the opener is as
    /// before.
    pub(crate) fn open<'r>(&mut self, packet: &[u8], room: &'r mut Vec<u8>) -> Result<(u64, &'r [u8]), OpenError> {
        let (header, sealed) = packet.split_first_chunk::<HEADER_LEN>().ok_or(OpenError::NotOpened)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(OpenError::NotOpened)?;
        let counter = header.last_chunk().map(|counter| u64::from_be_bytes(*counter)).ok_or(OpenError::NotOpened)?;
        self.window.check(counter)?;
        if counter >= COUNTER_LIMIT {
            return Err(OpenError::NotOpened);
        }

        // A forged counter costs one derivation at most, since only the very next epoch is tried.
        let epoch = counter / RECORDS_PER_EPOCH;
        let next = (epoch == self.epoch.saturating_add(1)).then(|| self.current.rekeyed());
        let cipher = match &next {
            Some(next) => next,
            None if epoch == self.epoch => &self.current,
            None if epoch.saturating_add(1) == self.epoch => self.previous.as_ref().ok_or(OpenError::NotOpened)?,
            None => return Err(OpenError::NotOpened),
        };
        if room.len() < sealed.len() {
            room.resize(sealed.len(), 0);
        }
        let text = room.get_mut(..sealed.len()).ok_or(OpenError::NotOpened)?;
        if !cipher.open(counter, header, sealed, tag, text) {
            return Err(OpenError::NotOpened);
        }

        self.window.mark(counter);
        if let Some(next) = next {
            self.previous = Some(mem::replace(&mut self.current, next));
            self.epoch = epoch;
        }
        if self.window.lowest() / RECORDS_PER_EPOCH == self.epoch {
            self.previous = None;
        }
        Ok((counter, text))
    }
}

impl fmt::Debug for Opener {
    /// All but the keys, which follow from the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, epoch, current: _, previous } = self;
        f.debug_struct("Opener")
            .field("window", window)
            .field("epoch", epoch)
            .field("previous", &previous.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a record was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpenError {
    /// A record with its counter has been opened, or is too old to tell.
    Replayed,
    /// It was not sealed with a key of this session that is still held, or was altered.
    NotOpened,
}

impl From<Replayed> for OpenError {
    fn from(_: Replayed) -> Self {
        Self::Replayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const KEY: [u8; 32] = [7; 32];
    const SID: SessionId = SessionId(*b"receiver");
    const EPOCH: u64 = RECORDS_PER_EPOCH;

    impl Sealer {
        /// As after `counter` records.
        fn at(counter: u64) -> Self {
            Self { counter, cipher: key_of_epoch(counter / EPOCH) }
        }

        fn record(&mut self) -> Vec<u8> {
            let mut packet = vec![0; HEADER_LEN];
            packet.extend_from_slice(b"plaintext");
            self.seal(SID, &mut packet, 0).unwrap();
            packet
        }
    }

    impl Opener {
        /// As after `highest` alone of its epoch and no record before.
        fn at(highest: u64) -> Self {
            let epoch = highest / EPOCH;
            let mut opener = Self { window: RecordWindow::new(), epoch, current: key_of_epoch(epoch), previous: None };
            if highest % EPOCH < 1023 && epoch > 0 {
                opener.previous = Some(key_of_epoch(epoch - 1));
            }
            opener.window.mark(highest);
            opener
        }

        fn opens(&mut self, record: &[u8]) -> Result<u64, OpenError> {
            let mut room = vec![0xee; 3];
            let (counter, text) = self.open(record, &mut room)?;
            assert_eq!(text, b"plaintext");
            Ok(counter)
        }

        fn refuses(&mut self, record: &[u8], reason: OpenError) {
            let before = self.clone();
            assert_eq!(self.open(record, &mut Vec::new()), Err(reason));
            assert_eq!(*self, before, "a refused record changed the opener");
        }
    }

    fn key_of_epoch(epoch: u64) -> ChaChaPoly {
        (0..epoch).fold(ChaChaPoly::new(&KEY), |key, _| key.rekeyed())
    }

    fn record_at(counter: u64) -> Vec<u8> {
        Sealer::at(counter).record()
    }

    #[test]
    fn a_record_is_header_ciphertext_and_tag_after_whatever_was_in_the_packet() {
        let mut packet = b"....".to_vec();
        packet.extend_from_slice(&[0xee; HEADER_LEN]);
        packet.extend_from_slice(b"plaintext");
        let mut sealer = Sealer::at(0x0102_0304);
        assert_eq!(sealer.seal(SID, &mut packet, 4), Ok(0x0102_0304));
        assert_eq!(packet.len(), 4 + 34 + 9);
        assert_eq!(&packet[..22], b"....\x02\x04receiver\0\0\0\0\x01\x02\x03\x04");
        let (mut text, tag) = ([0; 9], packet[31..].try_into().unwrap());
        assert!(key_of_epoch(0x0102_0304 >> 20).open(0x0102_0304, &packet[4..22], &packet[22..31], &tag, &mut text));
        assert_eq!(&text, b"plaintext");
    }

    #[test]
    fn records_are_opened_in_order() {
        let (mut sealer, mut opener) = (Sealer::new(&KEY), Opener::new(&KEY));
        for counter in 0..3000 {
            assert_eq!(opener.opens(&sealer.record()), Ok(counter));
        }
    }

    #[test]
    fn an_empty_record_is_a_record() {
        let mut packet = vec![0; HEADER_LEN];
        Sealer::new(&KEY).seal(SID, &mut packet, 0).unwrap();
        assert_eq!(packet.len(), 34);
        assert_eq!(Opener::new(&KEY).open(&packet, &mut Vec::new()), Ok((0, [].as_slice())));
    }

    #[test]
    fn records_are_opened_in_any_order_and_once_each() {
        let mut opener = Opener::new(&KEY);
        for counter in [5, 0, 900, 4, 1] {
            assert_eq!(opener.opens(&record_at(counter)), Ok(counter));
        }
        for counter in [5, 0, 900, 4, 1] {
            opener.refuses(&record_at(counter), OpenError::Replayed);
        }
    }

    #[test]
    fn a_record_below_the_window_is_refused() {
        let mut opener = Opener::new(&KEY);
        assert_eq!(opener.opens(&record_at(2000)), Ok(2000));
        opener.refuses(&record_at(2000 - 1024), OpenError::Replayed);
        assert_eq!(opener.opens(&record_at(2000 - 1023)), Ok(2000 - 1023));
    }

    #[test]
    fn a_record_altered_anywhere_is_refused_and_the_true_one_opened_afterwards() {
        let mut opener = Opener::at(10);
        let record = record_at(11);
        for at in 0..record.len() {
            let mut altered = record.clone();
            altered[at] ^= 1;
            let reason =
                if altered[10..18] == [0, 0, 0, 0, 0, 0, 0, 10] { OpenError::Replayed } else { OpenError::NotOpened };
            opener.refuses(&altered, reason);
        }
        assert_eq!(opener.opens(&record), Ok(11));
    }

    #[test]
    fn a_record_cut_short_or_lengthened_is_refused() {
        let record = record_at(0);
        for length in 0..record.len() {
            Opener::new(&KEY).refuses(&record[..length], OpenError::NotOpened);
        }
        Opener::new(&KEY).refuses(&[&record[..], &[0]].concat(), OpenError::NotOpened);
    }

    #[test]
    fn the_sealer_and_the_opener_change_their_key_at_the_same_record() {
        let (mut sealer, mut opener) = (Sealer::at(EPOCH - 3), Opener::at(EPOCH - 4));
        for counter in EPOCH - 3..EPOCH + 3 {
            assert_eq!(opener.opens(&sealer.record()), Ok(counter));
        }
        assert_eq!(opener.current, key_of_epoch(1));
        assert_eq!(sealer.cipher, key_of_epoch(1));
    }

    #[test]
    fn the_keys_follow_over_many_epochs() {
        let mut opener = Opener::new(&KEY);
        for epoch in 0..20 {
            for counter in [epoch * EPOCH, epoch * EPOCH + EPOCH / 2, (epoch + 1) * EPOCH - 1] {
                assert_eq!(opener.opens(&record_at(counter)), Ok(counter));
            }
        }
    }

    #[test]
    fn a_late_record_of_the_epoch_before_is_opened_while_the_window_reaches_it() {
        let mut opener = Opener::at(EPOCH - 5);
        assert_eq!(opener.opens(&record_at(EPOCH + 10)), Ok(EPOCH + 10));
        opener.refuses(&record_at(EPOCH - 5), OpenError::Replayed);
        assert_eq!(opener.opens(&record_at(EPOCH - 1)), Ok(EPOCH - 1));
        assert_eq!(opener.opens(&record_at(EPOCH + 1022)), Ok(EPOCH + 1022));
        assert_eq!(opener.opens(&record_at(EPOCH)), Ok(EPOCH));
        assert!(opener.previous.is_some());
        assert_eq!(opener.opens(&record_at(EPOCH + 1023)), Ok(EPOCH + 1023));
        assert_eq!(opener.previous, None, "the old key outlived its last record");
        opener.refuses(&record_at(EPOCH - 1), OpenError::Replayed);
    }

    #[test]
    fn a_long_gap_into_the_next_epoch_leaves_no_old_key() {
        let mut opener = Opener::new(&KEY);
        assert_eq!(opener.opens(&record_at(EPOCH + 5000)), Ok(EPOCH + 5000));
        assert_eq!(opener.previous, None);
        assert_eq!(opener.opens(&record_at(2 * EPOCH)), Ok(2 * EPOCH));
        assert_eq!(opener.previous, Some(key_of_epoch(1)));
    }

    #[test]
    fn a_record_beyond_the_next_epoch_is_refused() {
        let mut opener = Opener::at(100);
        opener.refuses(&record_at(2 * EPOCH), OpenError::NotOpened);
        assert_eq!(opener.opens(&record_at(2 * EPOCH - 1)), Ok(2 * EPOCH - 1));
        assert_eq!(opener.opens(&record_at(2 * EPOCH)), Ok(2 * EPOCH));
    }

    #[test]
    fn a_key_is_good_for_its_own_epoch_only() {
        let mut opener = Opener::at(100);
        for (counter, epoch) in [(101, 1), (EPOCH, 0), (EPOCH, 2), (2 * EPOCH, 1), (5 * EPOCH, 1)] {
            let record = Sealer { counter, cipher: key_of_epoch(epoch) }.record();
            opener.refuses(&record, OpenError::NotOpened);
        }
    }

    #[test]
    fn a_forged_counter_moves_nothing() {
        let mut opener = Opener::at(EPOCH + 5);
        for counter in [EPOCH + 6, EPOCH - 1, 2 * EPOCH, 3 * EPOCH, COUNTER_LIMIT - 1, COUNTER_LIMIT, u64::MAX] {
            let mut forged = record_at(EPOCH + 7);
            forged[10..18].copy_from_slice(&counter.to_be_bytes());
            opener.refuses(&forged, OpenError::NotOpened);
        }
    }

    #[test]
    fn a_record_of_the_other_direction_is_refused() {
        let record = Sealer::new(&[8; 32]).record();
        Opener::new(&KEY).refuses(&record, OpenError::NotOpened);
    }

    #[test]
    fn a_counter_left_out_is_opened_by_nobody_and_the_keys_follow() {
        let (mut sealer, mut opener) = (Sealer::at(EPOCH - 1), Opener::at(EPOCH - 2));
        sealer.skip();
        assert_eq!(opener.opens(&sealer.record()), Ok(EPOCH));
    }

    #[test]
    fn the_sealer_refuses_after_its_last_counter_and_stays_as_it_is() {
        let mut sealer = Sealer { counter: COUNTER_LIMIT - 1, cipher: ChaChaPoly::new(&KEY) };
        assert_eq!(sealer.seal(SID, &mut vec![0; HEADER_LEN], 0), Ok(COUNTER_LIMIT - 1));
        let (before, mut packet) = (sealer.clone(), vec![0; HEADER_LEN]);
        assert_eq!(sealer.seal(SID, &mut packet, 0), Err(Exhausted));
        assert_eq!(sealer, before);
        assert_eq!(packet, [0; HEADER_LEN]);
    }

    #[test]
    fn a_counter_that_no_sealer_uses_is_refused_under_the_right_key_too() {
        let mut opener = Opener { epoch: COUNTER_LIMIT / EPOCH - 1, ..Opener::new(&KEY) };
        for (counter, is_opened) in [(COUNTER_LIMIT, false), (COUNTER_LIMIT - 1, true)] {
            let cipher = if is_opened { ChaChaPoly::new(&KEY) } else { key_of_epoch(1) };
            let mut record = sealed_header(SID, counter).to_vec();
            record.extend_from_slice(&cipher.seal(counter, &sealed_header(SID, counter), &mut []));
            assert_eq!(opener.open(&record, &mut Vec::new()).is_ok(), is_opened);
        }
    }

    #[test]
    fn a_sealer_wants_a_successor_after_2_to_the_40_records() {
        let mut sealer = Sealer { counter: REPLACEMENT_COUNTER - 1, cipher: ChaChaPoly::new(&KEY) };
        assert!(!sealer.wants_replacement());
        sealer.record();
        assert!(sealer.wants_replacement());
    }
}
