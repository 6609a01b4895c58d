//! A message that comes in pieces.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// How many stretches of a message may wait for what comes before them.
const MAX_WAITING: usize = 256;

/// The part of a message that has come so far, in whatever order.
///
/// It allocates for bytes that came, never for the total that was announced: for the beginning of the message at most
/// twice its bytes and never more than the total, for the rest at most twice its bytes and 256 small allocations.
#[derive(PartialEq, Eq, Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Assembly {
    total: usize,
    held: usize,
    /// Everything up to the first gap.
    beginning: Vec<u8>,
    /// Stretches after the first gap, by offset; none overlaps another.
    waiting: BTreeMap<usize, Vec<u8>>,
}

impl Assembly {
    /// A message of `total` bytes that begins with `first`.
    pub(crate) fn new(total: usize, first: &[u8]) -> Result<Self, AssemblyError> {
        if first.is_empty() || first.len() > total {
            return Err(AssemblyError::OutOfRange);
        }
        Ok(Self { total, held: first.len(), beginning: first.to_vec(), waiting: BTreeMap::new() })
    }

    /// Adds the bytes from `offset` on. A piece that repeats what has come already is ignored. After an error everything
    /// is as before.
    pub(crate) fn add(&mut self, offset: usize, part: &[u8]) -> Result<(), AssemblyError> {
        let end = offset.checked_add(part.len()).filter(|&end| end <= self.total).ok_or(AssemblyError::OutOfRange)?;
        if part.is_empty() {
            return Err(AssemblyError::OutOfRange);
        }
        if offset < self.beginning.len() {
            return repeats(&self.beginning, offset, end, part);
        }
        if let Some((start, stretch)) = self.waiting.range(..=offset).next_back() {
            let within = offset.saturating_sub(*start);
            if within < stretch.len() {
                return repeats(stretch, within, within.saturating_add(part.len()), part);
            }
        }
        if self.waiting.range(offset..end).next().is_some() {
            return Err(AssemblyError::Overlap);
        }

        if offset == self.beginning.len() {
            self.lengthen_beginning(part);
        } else {
            self.keep_waiting(offset, part)?;
        }
        self.held = self.held.saturating_add(part.len());
        Ok(())
    }

    /// How many stretches of it came ahead of their place.
    pub(crate) fn stretches(&self) -> usize {
        self.waiting.len()
    }

    /// How many bytes it will have.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Whether every byte has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.beginning.len() == self.total
    }

    /// How many of its bytes have come.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held
    }

    /// The message, if it is whole; else no more than its beginning.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.beginning
    }

    fn lengthen_beginning(&mut self, part: &[u8]) {
        append(&mut self.beginning, part, self.total);
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() == self.beginning.len()) {
            append(&mut self.beginning, &entry.remove(), self.total);
        }
    }

    /// A piece that follows a waiting stretch lengthens it, so that a message in order but for one gap waits as one stretch.
    fn keep_waiting(&mut self, offset: usize, part: &[u8]) -> Result<(), AssemblyError> {
        if let Some((start, stretch)) = self.waiting.range_mut(..offset).next_back()
            && start.saturating_add(stretch.len()) == offset
        {
            stretch.extend_from_slice(part);
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(AssemblyError::Scattered);
        }
        self.waiting.insert(offset, part.to_vec());
        Ok(())
    }
}

/// Why a piece was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AssemblyError {
    /// It is empty or does not lie within the message.
    OutOfRange,
    /// It contradicts what has come, or repeats only a part of it.
    Overlap,
    /// Too many stretches wait for what comes before them.
    Scattered,
}

/// Accepts `part` if it is what `held[from..to]` says already.
fn repeats(held: &[u8], from: usize, to: usize, part: &[u8]) -> Result<(), AssemblyError> {
    if held.get(from..to) == Some(part) { Ok(()) } else { Err(AssemblyError::Overlap) }
}

/// Appends with room for as much again, but never for more than `total`.
fn append(bytes: &mut Vec<u8>, part: &[u8], total: usize) {
    if bytes.capacity().saturating_sub(bytes.len()) < part.len() {
        let spare = bytes.len().min(total.saturating_sub(bytes.len()));
        bytes.reserve_exact(spare.max(part.len()));
    }
    bytes.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    /// Adds `message[from..to]`.
    fn add(assembly: &mut Assembly, message: &[u8], from: usize, to: usize) {
        assert_eq!(assembly.add(from, &message[from..to]), Ok(()), "{from}..{to}");
    }

    fn refuses(assembly: &mut Assembly, offset: usize, part: &[u8], reason: AssemblyError) {
        let before = assembly.clone();
        assert_eq!(assembly.add(offset, part), Err(reason));
        assert_eq!(*assembly, before, "a refused piece changed the assembly");
    }

    #[test]
    fn a_message_in_one_piece_is_whole_at_once() {
        let assembly = Assembly::new(3, b"abc").unwrap();
        assert!(assembly.is_whole());
        assert_eq!(assembly.into_bytes(), b"abc");
    }

    #[test]
    fn pieces_make_the_message_in_every_order() {
        let message = message(100);
        let pieces = [(10, 30), (30, 31), (31, 60), (60, 99), (99, 100)];
        for order in permutations(pieces.len()) {
            let mut assembly = Assembly::new(100, &message[..10]).unwrap();
            let mut held = 10;
            for at in &order {
                assert!(!assembly.is_whole());
                let (from, to) = pieces[*at];
                add(&mut assembly, &message, from, to);
                held += to - from;
                assert_eq!(assembly.held_bytes(), held);
            }
            assert!(assembly.is_whole(), "{order:?}");
            assert_eq!(assembly.into_bytes(), message, "{order:?}");
        }
    }

    #[test]
    fn a_piece_that_came_before_is_ignored_wherever_it_is_kept() {
        let message = message(100);
        let mut assembly = Assembly::new(100, &message[..10]).unwrap();
        for (from, to) in [(50, 60), (60, 70), (80, 90), (10, 20)] {
            add(&mut assembly, &message, from, to);
        }
        let before = assembly.clone();
        for (from, to) in [(0, 10), (10, 20), (50, 60), (60, 70), (80, 90), (5, 15)] {
            add(&mut assembly, &message, from, to);
        }
        assert_eq!(assembly, before);
    }

    #[test]
    fn a_piece_that_says_something_else_is_refused() {
        let message = message(100);
        let mut assembly = Assembly::new(100, &message[..10]).unwrap();
        add(&mut assembly, &message, 50, 60);
        refuses(&mut assembly, 0, &[0xff; 10], AssemblyError::Overlap);
        refuses(&mut assembly, 50, &[0xff; 10], AssemblyError::Overlap);
    }

    #[test]
    fn a_piece_that_overlaps_in_part_is_refused() {
        let message = message(100);
        let mut assembly = Assembly::new(100, &message[..10]).unwrap();
        add(&mut assembly, &message, 50, 60);
        for (from, to) in [(5, 11), (0, 100), (10, 51), (10, 100), (45, 55), (49, 60), (50, 61), (55, 65), (59, 61)] {
            refuses(&mut assembly, from, &message[from..to], AssemblyError::Overlap);
        }
        for (from, to) in [(60, 100), (10, 50)] {
            add(&mut assembly, &message, from, to);
        }
        assert_eq!(assembly.into_bytes(), message);
    }

    #[test]
    fn a_piece_outside_the_message_or_empty_is_refused() {
        let mut assembly = Assembly::new(10, &[0; 4]).unwrap();
        for offset in [10, 11, usize::MAX] {
            refuses(&mut assembly, offset, &[0], AssemblyError::OutOfRange);
        }
        refuses(&mut assembly, 4, &[0; 7], AssemblyError::OutOfRange);
        refuses(&mut assembly, 4, &[], AssemblyError::OutOfRange);
        assert_eq!(Assembly::new(3, &[0; 4]), Err(AssemblyError::OutOfRange));
        assert_eq!(Assembly::new(3, &[]), Err(AssemblyError::OutOfRange));
    }

    #[test]
    fn the_announced_total_costs_nothing() {
        let mut assembly = Assembly::new(usize::MAX, &[0; 100]).unwrap();
        assert_eq!(assembly.add(100, &[1; 100]), Ok(()));
        assert_eq!(assembly.held_bytes(), 200);
        assert!(assembly.beginning.capacity() <= 400);
    }

    #[test]
    fn the_beginning_never_has_room_for_more_than_the_total() {
        let message = message(1000);
        let mut assembly = Assembly::new(1000, &message[..10]).unwrap();
        for from in (10..1000).step_by(90) {
            add(&mut assembly, &message, from, from + 90);
            assert!(assembly.beginning.capacity() <= 1000);
        }
        assert_eq!(assembly.into_bytes(), message);
    }

    #[test]
    fn scattered_pieces_are_bounded_and_pieces_in_a_row_wait_as_one() {
        let message = message(4000);
        let mut assembly = Assembly::new(4000, &message[..1]).unwrap();
        for at in 0..MAX_WAITING {
            add(&mut assembly, &message, 2 + 2 * at, 3 + 2 * at);
        }
        refuses(&mut assembly, 3000, &message[3000..3001], AssemblyError::Scattered);
        for from in 2 * MAX_WAITING + 1..4000 {
            add(&mut assembly, &message, from, from + 1);
        }
        assert_eq!(assembly.waiting.len(), MAX_WAITING);
        for at in 0..MAX_WAITING {
            add(&mut assembly, &message, 1 + 2 * at, 2 + 2 * at);
        }
        assert_eq!(assembly.into_bytes(), message);
    }

    fn permutations(length: usize) -> Vec<Vec<usize>> {
        let mut all = alloc::vec![Vec::new()];
        for next in 0..length {
            all = all
                .iter()
                .flat_map(|order: &Vec<usize>| {
                    (0..=order.len()).map(move |at| {
                        let mut order = order.clone();
                        order.insert(at, next);
                        order
                    })
                })
                .collect();
        }
        all
    }
}
