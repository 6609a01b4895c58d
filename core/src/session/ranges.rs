//! Which bytes of a message something is known of.

use alloc::vec::Vec;

/// A set of bytes of one message, as ranges. Ranges that touch are one; the first needs no memory of its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ranges {
    first: Range,
    /// Those above the first, in order.
    more: Vec<Range>,
}

/// The bytes from `from` up to, but not including, `to`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Range {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl Range {
    pub(crate) const fn new(from: usize, to: usize) -> Self {
        Self { from, to }
    }

    pub(crate) fn len(self) -> usize {
        self.to.saturating_sub(self.from)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.from >= self.to
    }

    fn touches(self, other: Self) -> bool {
        self.from <= other.to && other.from <= self.to
    }

    fn joined(self, other: Self) -> Self {
        Self { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// What both have in common; may be empty.
    fn common(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

impl Ranges {
    /// Adds these bytes.
    pub(crate) fn insert(&mut self, new: Range) {
        if new.is_empty() {
            return;
        }
        if self.more.is_empty() && (self.first.is_empty() || self.first.touches(new)) {
            self.first = if self.first.is_empty() { new } else { self.first.joined(new) };
            return;
        }
        let mut joined = new;
        let mut kept = Vec::with_capacity(self.more.len().saturating_add(2));
        for range in core::iter::once(self.first).chain(self.more.drain(..)) {
            if range.touches(joined) {
                joined = joined.joined(range);
            } else {
                kept.push(range);
            }
        }
        let place = kept.partition_point(|range| *range < joined);
        kept.insert(place, joined);
        self.first = kept.remove(0);
        self.more = kept;
    }

    /// Whether all of these bytes are in it.
    pub(crate) fn covers(&self, wanted: Range) -> bool {
        wanted.is_empty() || self.iter().any(|range| range.from <= wanted.from && wanted.to <= range.to)
    }

    /// The bytes of these that are in it, in order.
    pub(crate) fn common(&self, wanted: Range) -> impl Iterator<Item = Range> {
        self.iter().map(move |range| range.common(wanted)).filter(|range| !range.is_empty())
    }

    /// The first of these bytes that are not in it, up to the next that are; empty if all are.
    pub(crate) fn first_gap(&self, wanted: Range) -> Range {
        let mut gap = wanted;
        for range in self.iter() {
            if range.from > gap.from {
                gap.to = gap.to.min(range.from);
                break;
            }
            gap.from = gap.from.max(range.to);
        }
        if gap.is_empty() { Range::new(wanted.to, wanted.to) } else { gap }
    }

    /// How many ranges it consists of.
    pub(crate) fn len(&self) -> usize {
        self.iter().count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = Range> {
        core::iter::once(self.first).filter(|range| !range.is_empty()).chain(self.more.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::Xorshift;

    fn ranges(pairs: &[(usize, usize)]) -> Ranges {
        let mut ranges = Ranges::default();
        for &(from, to) in pairs {
            ranges.insert(Range::new(from, to));
        }
        ranges
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(ranges(&[(0, 3), (3, 5)]), ranges(&[(0, 5)]));
        assert_eq!(ranges(&[(5, 9), (0, 3), (2, 6)]), ranges(&[(0, 9)]));
        assert_eq!(ranges(&[(5, 9), (0, 3)]).len(), 2);
        assert_eq!(ranges(&[(4, 4)]).len(), 0);
    }

    #[test]
    fn what_is_inserted_in_any_order_is_what_a_plain_set_says() {
        let mut random = Xorshift::new();
        for _ in 0..200 {
            let (mut ranges, mut plain) = (Ranges::default(), [false; 40]);
            for _ in 0..12 {
                let from = random.below(40);
                let to = from + random.below(41 - from);
                ranges.insert(Range::new(from, to));
                plain[from..to].fill(true);
                for from in 0..40 {
                    for to in from..=40 {
                        let wanted = Range::new(from, to);
                        assert_eq!(ranges.covers(wanted), plain[from..to].iter().all(|&is| is));
                        let common: usize = ranges.common(wanted).map(Range::len).sum();
                        assert_eq!(common, plain[from..to].iter().filter(|&&is| is).count());
                        let first = (from..to).find(|&at| !plain[at]);
                        let gap = ranges.first_gap(wanted);
                        assert_eq!((!gap.is_empty()).then_some(gap.from), first);
                        if !gap.is_empty() {
                            assert!(plain[gap.from..gap.to].iter().all(|&is| !is) && (gap.to == to || plain[gap.to]));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn one_range_needs_no_memory() {
        let ranges = ranges(&[(0, 10), (10, 20), (5, 30)]);
        assert_eq!(ranges.more.capacity(), 0);
    }
}
