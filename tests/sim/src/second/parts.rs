//! A message that comes in parts (section 12).

use std::collections::BTreeSet;
use std::ops::Range;

/// What has come of a message, whatever the order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parts {
    bytes: Vec<u8>,
    missing: BTreeSet<(usize, usize)>,
}

/// A part says something else than another, or lies outside the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contradiction;

impl Parts {
    /// Nothing, of a message of so many bytes.
    pub fn of(total: u32) -> Self {
        let length = usize::try_from(total).unwrap_or(usize::MAX);
        Self { bytes: vec![0; length], missing: BTreeSet::from([(0, length)]) }
    }

    /// Takes a part.
    ///
    /// # Errors
    ///
    /// If it contradicts what has come, or goes beyond the total. Nothing is taken of it then.
    pub fn add(&mut self, total: u32, offset: u32, part: &[u8]) -> Result<(), Contradiction> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let place = from..from.saturating_add(part.len());
        if usize::try_from(total) != Ok(self.bytes.len()) || place.end > self.bytes.len() {
            return Err(Contradiction);
        }
        let is_missing = |at: usize| self.missing.iter().any(|&(from, to)| (from..to).contains(&at));
        let says_otherwise = |&at: &usize| self.bytes[at] != part[at - from] && !is_missing(at);
        if place.clone().any(|at| says_otherwise(&at)) {
            return Err(Contradiction);
        }
        self.bytes[place.clone()].copy_from_slice(part);
        self.fill(&place);
        Ok(())
    }

    fn fill(&mut self, place: &Range<usize>) {
        let touched = |&&(from, to): &&(usize, usize)| from < place.end && place.start < to;
        let touched: Vec<(usize, usize)> = self.missing.iter().filter(touched).copied().collect();
        for (from, to) in touched {
            self.missing.remove(&(from, to));
            let left = [(from, place.start), (place.end, to)];
            self.missing.extend(left.into_iter().filter(|(from, to)| from < to));
        }
    }

    /// The message, once every part of it has come.
    pub fn whole(&self) -> Option<&[u8]> {
        self.missing.is_empty().then_some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_a_whole_in_any_order() {
        let mut parts = Parts::of(10);
        for (offset, part) in [(6, &[6, 7, 8][..]), (0, &[0, 1, 2]), (2, &[2, 3]), (8, &[8, 9]), (0, &[0])] {
            assert_eq!(parts.add(10, offset, part), Ok(()));
            assert_eq!(parts.whole(), None);
        }
        assert_eq!(parts.add(10, 1, &[1, 2, 3, 4, 5, 6, 7]), Ok(()));
        assert_eq!(parts.whole(), Some(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..]));
    }

    #[test]
    fn what_contradicts_is_not_taken() {
        let mut parts = Parts::of(4);
        assert_eq!(parts.add(4, 1, &[0, 2]), Ok(()));
        for (total, offset, part) in [(5, 0, &[0][..]), (4, 2, &[3]), (4, 1, &[1]), (4, 3, &[3, 4]), (4, 5, &[0])] {
            assert_eq!(parts.add(total, offset, part), Err(Contradiction), "{offset}");
        }
        assert_eq!(parts.add(4, 0, &[9, 0, 2, 3]), Ok(()));
        assert_eq!(parts.whole(), Some(&[9, 0, 2, 3][..]));
    }
}
