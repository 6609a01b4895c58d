//! A memory of many things, with an end.

/// The latest of many things that happened one after the other.
#[derive(Debug)]
pub(super) struct Recent<T> {
    latest: Vec<T>,
    /// How many came before those.
    forgotten: u64,
}

/// So many are remembered at least, and twice as many at most.
const MEMORY: usize = 65_536;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { latest: Vec::new(), forgotten: 0 }
    }
}

impl<T> Recent<T> {
    pub(super) fn push(&mut self, item: T) {
        if self.latest.len() == 2 * MEMORY {
            self.latest.drain(..MEMORY);
            self.forgotten += MEMORY as u64;
        }
        self.latest.push(item);
    }

    /// Those that are remembered, in order.
    pub(super) fn latest(&self) -> &[T] {
        &self.latest
    }

    /// Those of them that came after the first `seen` of all. `seen` then counts them too.
    pub(super) fn since(&self, seen: &mut u64) -> &[T] {
        let known = usize::try_from(seen.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        *seen = self.forgotten + self.latest.len() as u64;
        self.latest.get(known..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_seen_once() {
        let (mut recent, mut seen) = (Recent::default(), 0);
        assert_eq!(recent.since(&mut seen), [0; 0]);
        for number in [1, 2] {
            recent.push(number);
        }
        assert_eq!((recent.since(&mut seen), seen), (&[1, 2][..], 2));
        recent.push(3);
        assert_eq!((recent.since(&mut seen), recent.since(&mut seen)), (&[3][..], &[][..]));
        assert_eq!(recent.latest(), [1, 2, 3]);
    }

    #[test]
    fn the_oldest_are_forgotten_and_whoever_looks_often_enough_has_seen_them() {
        let (mut recent, mut seen, mut next) = (Recent::default(), 0, 0);
        for number in 0..5 * MEMORY {
            recent.push(number);
            assert!(recent.latest().len() <= 2 * MEMORY);
            if number % MEMORY == 7 {
                for &found in recent.since(&mut seen) {
                    assert_eq!(found, next);
                    next += 1;
                }
                assert_eq!(next, number + 1);
            }
        }
        assert!(recent.latest().len() >= MEMORY);
        assert_eq!(recent.since(&mut 0).first(), recent.latest().first(), "whoever comes late has missed the others");
    }
}
