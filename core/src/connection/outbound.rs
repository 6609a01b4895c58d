//! What waits to be written to a stream, packet by packet, and which records leave with which byte.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::wire::packet::SessionId;

/// The length that precedes each packet on a stream takes this many bytes.
const PREFIX: usize = 4;

/// A record, named by its session and its counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordName {
    pub(crate) session: SessionId,
    pub(crate) counter: u64,
}

/// How much of a record has left this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handed {
    /// Some bytes have.
    Begun(RecordName),
    /// All have.
    Left(RecordName),
}

/// Where a record lies in the stream, counted from the connection's first byte.
#[derive(Clone, Copy, Debug)]
struct Mark {
    record: RecordName,
    start: u64,
    end: u64,
    begun: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Outbound {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes ever written.
    total_written: u64,
    marks: VecDeque<Mark>,
}

impl Outbound {
    /// A buffer that is written out keeps memory up to this, until it is to [rest](Self::rest).
    const KEPT: usize = 2 * super::FILL_TARGET;

    /// Nothing is under way: gives its memory back, if nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            self.bytes = Vec::new();
            self.marks.shrink_to(4);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Appends the packet that `put` appends, if it does, with its length before it. Gives back what `put` says.
    pub(crate) fn packet<T>(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Option<T>) -> Option<T> {
        let start = self.bytes.len();
        self.bytes.resize(start + PREFIX, 0);
        let said = put(&mut self.bytes);
        let length = self.bytes.len() - start - PREFIX;
        if said.is_none() || length == 0 {
            self.bytes.truncate(start);
            return None;
        }
        let length = u32::try_from(length).expect("no packet is longer than 65,535 bytes");
        self.bytes[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
        said
    }

    /// Appends a packet that is a record.
    pub(crate) fn record(&mut self, put: impl FnOnce(&mut Vec<u8>) -> Option<RecordName>) -> Option<RecordName> {
        let start = self.end();
        let record = self.packet(put)?;
        self.marks.push_back(Mark { record, start, end: self.end(), begun: false });
        Some(record)
    }

    /// Where in the stream that what waits now ends.
    fn end(&self) -> u64 {
        self.total_written + self.len() as u64
    }

    /// Counts bytes as written and adds what leaves with them. More bytes than wait are a driver's mistake and count as all of them.
    pub(crate) fn wrote(&mut self, count: usize, handed: &mut Vec<Handed>) {
        let count = count.min(self.len());
        self.written += count;
        self.total_written += count as u64;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
            self.bytes.shrink_to(Self::KEPT);
        }
        while let Some(mark) = self.marks.front_mut() {
            if mark.end <= self.total_written {
                handed.push(Handed::Left(mark.record));
                self.marks.pop_front();
                continue;
            }
            if mark.start < self.total_written && !mark.begun {
                mark.begun = true;
                handed.push(Handed::Begun(mark.record));
            }
            break;
        }
    }

    /// Takes a record back of which no byte has left.
    pub(crate) fn withdraw(&mut self, record: RecordName) {
        let Some(at) = self.marks.iter().position(|mark| mark.record == record) else { return };
        let Mark { start, end, .. } = self.marks[at];
        let (Some(from), length) = (start.checked_sub(self.total_written), end - start) else {
            debug_assert!(false, "what has begun to leave is not withdrawn");
            return;
        };
        let from = self.written + usize::try_from(from).unwrap_or(usize::MAX);
        self.bytes.drain(from..from + usize::try_from(length).unwrap_or(usize::MAX));
        self.marks.remove(at);
        for mark in self.marks.range_mut(at..) {
            mark.start -= length;
            mark.end -= length;
        }
    }

    /// Takes back every record of a session of which no byte has left.
    pub(crate) fn withdraw_session(&mut self, session: SessionId) {
        let unsent =
            self.marks.iter().filter(|mark| mark.record.session == session && mark.start >= self.total_written);
        let unsent: Vec<RecordName> = unsent.map(|mark| mark.record).collect();
        unsent.into_iter().for_each(|record| self.withdraw(record));
    }

    pub(crate) fn check(&self) {
        debug_assert!(self.marks.iter().zip(self.marks.iter().skip(1)).all(|(a, b)| a.end <= b.start));
        debug_assert!(self.marks.back().is_none_or(|mark| mark.end <= self.end()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(counter: u64) -> RecordName {
        RecordName { session: SessionId([0; 8]), counter }
    }

    fn put(outbound: &mut Outbound, counter: u64, text: &[u8]) {
        outbound.record(|out| {
            out.extend_from_slice(text);
            Some(name(counter))
        });
    }

    fn wrote(outbound: &mut Outbound, count: usize) -> Vec<Handed> {
        let mut handed = Vec::new();
        outbound.wrote(count, &mut handed);
        outbound.check();
        handed
    }

    #[test]
    fn a_record_begins_to_leave_with_its_first_byte_and_has_left_with_its_last() {
        let mut outbound = Outbound::default();
        put(&mut outbound, 1, b"first");
        put(&mut outbound, 2, b"second");
        assert_eq!(wrote(&mut outbound, 1), [Handed::Begun(name(1))]);
        assert_eq!(wrote(&mut outbound, 7), []);
        assert_eq!(wrote(&mut outbound, 1), [Handed::Left(name(1))]);
        assert_eq!(outbound.unwritten(), b"\0\0\0\x06second");
        assert_eq!(wrote(&mut outbound, 99), [Handed::Left(name(2))]);
        assert!(outbound.is_empty());
    }

    #[test]
    fn a_record_that_has_not_begun_to_leave_can_be_taken_back() {
        let mut outbound = Outbound::default();
        for (counter, text) in [(1, &b"one"[..]), (2, b"two two"), (3, b"three")] {
            put(&mut outbound, counter, text);
        }
        assert_eq!(wrote(&mut outbound, 2), [Handed::Begun(name(1))]);
        outbound.withdraw(name(2));
        outbound.check();
        assert_eq!(outbound.unwritten(), b"\0\x03one\0\0\0\x05three");
        assert_eq!(wrote(&mut outbound, 6), [Handed::Left(name(1)), Handed::Begun(name(3))]);
        assert_eq!(wrote(&mut outbound, 8), [Handed::Left(name(3))]);
    }

    #[test]
    fn what_is_not_put_leaves_no_trace() {
        let mut outbound = Outbound::default();
        assert_eq!(outbound.packet(|_| None::<()>), None);
        assert!(outbound.is_empty());
    }

    #[test]
    fn an_empty_buffer_holds_no_memory_while_it_rests() {
        let mut outbound = Outbound::default();
        for counter in 0..10 {
            put(&mut outbound, counter, &[0; 60_000]);
        }
        wrote(&mut outbound, 1_000_000);
        assert!(outbound.bytes.capacity() <= Outbound::KEPT);
        outbound.rest();
        assert_eq!(outbound.bytes.capacity(), 0);
    }
}
