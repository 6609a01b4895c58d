//! Clocks that go too fast or too slow.

/// A clock goes so many millionths too fast at most, or too slow: two are then a thousandth apart.
pub const MAX_DRIFT: i32 = 500;

/// By how many millionths a clock goes too fast, or too slow if that is negative.
///
/// All of it is whole numbers, so that a deadline that a clock shows for the first time at one instant is reached at that very instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Drift(i32);

const MILLION: i128 = 1_000_000;

impl Drift {
    /// # Panics
    ///
    /// If that is more than [`MAX_DRIFT`] either way.
    pub(crate) fn new(millionths: i32) -> Self {
        assert!(millionths.abs() <= MAX_DRIFT, "no clock goes {millionths} millionths too fast or too slow");
        Self(millionths)
    }

    /// How far the clock gets in so much time.
    pub(crate) fn shows(self, time: i128) -> i128 {
        (time * self.speed()).div_euclid(MILLION)
    }

    /// The least time in which the clock gets so far.
    pub(crate) fn reaches(self, shown: i128) -> i128 {
        -(-shown * MILLION).div_euclid(self.speed())
    }

    fn speed(self) -> i128 {
        MILLION + i128::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Choice;

    #[test]
    fn two_clocks_are_up_to_a_thousandth_apart() {
        let hour = 3_600 * MILLION;
        let [slow, right, fast] = [-MAX_DRIFT, 0, MAX_DRIFT].map(|millionths| Drift::new(millionths).shows(hour));
        assert_eq!((slow - right, fast - right), (-1_800_000, 1_800_000));
    }

    #[test]
    fn what_a_clock_shows_is_reached_at_the_first_instant_at_which_it_does_and_not_before() {
        let mut choice = Choice::from_seed(7);
        let bound = 2 * MAX_DRIFT.unsigned_abs() + 1;
        for _ in 0..10_000 {
            let millionths = i32::try_from(choice.below(u64::from(bound))).unwrap() - MAX_DRIFT;
            let (drift, shown) = (Drift::new(millionths), i128::from(choice.below(1 << 50)) - (1 << 49));
            let at = drift.reaches(shown);
            assert!(drift.shows(at) >= shown && drift.shows(at - 1) < shown, "{millionths} {shown}");
            assert!(drift.reaches(drift.shows(at)) == at, "{millionths} {shown}");
        }
    }

    #[test]
    #[should_panic(expected = "no clock goes 501 millionths too fast")]
    fn no_clock_is_worse_than_that() {
        Drift::new(MAX_DRIFT + 1);
    }
}
