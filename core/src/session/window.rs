//! One bit for each number that a sliding window covers.

/// How many numbers in a row a window covers.
pub(super) const WIDTH: u64 = 1024;

/// Number `n` has the bit `n mod` [`WIDTH`], so that nothing moves when the window does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct WindowBits([u64; 16]);

impl WindowBits {
    pub(super) const fn clear() -> Self {
        Self([0; 16])
    }

    pub(super) fn get(&self, number: u64) -> bool {
        let (word, bit) = place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(super) fn set(&mut self, number: u64) {
        let (word, bit) = place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    pub(super) fn unset(&mut self, number: u64) {
        let (word, bit) = place(number);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// How many numbers in a row, from this one downwards, have their bit set, or clear; [`WIDTH`] at most.
    pub(super) fn run_down(&self, from: u64, set: bool) -> u64 {
        let (mut run, mut number) = (0_u64, from);
        while run < WIDTH {
            let (word, _) = place(number);
            let bits = self.0.get(word).map_or(0, |&word| if set { word } else { !word });
            let in_word = number % 64;
            let shifted = bits << (63 - in_word);
            let here = u64::from(shifted.leading_ones()).min(in_word + 1);
            run += here;
            if here <= in_word {
                break;
            }
            let Some(below) = number.checked_sub(here) else { break };
            number = below;
        }
        run.min(WIDTH)
    }

    /// Clears the bits of the numbers that come in as the window's top moves up from `old_top` to `new_top`.
    pub(super) fn slide(&mut self, old_top: u64, new_top: u64) {
        if new_top.saturating_sub(old_top) >= WIDTH {
            *self = Self::clear();
            return;
        }
        for number in (old_top..new_top).filter_map(|below| below.checked_add(1)) {
            self.unset(number);
        }
    }
}

/// The word that holds a number's bit, and the bit.
fn place(number: u64) -> (usize, u64) {
    let word = usize::try_from((number / 64) % 16).expect("less than 16");
    let bit = u32::try_from(number % 64).expect("less than 64");
    (word, 1u64.rotate_left(bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_window_has_a_bit_of_its_own() {
        let mut bits = WindowBits::clear();
        for number in 5000..5000 + WIDTH {
            assert!(!bits.get(number));
            bits.set(number);
        }
        assert_eq!(bits, WindowBits([u64::MAX; 16]));
    }

    #[test]
    fn runs_are_counted_downwards_over_the_edges_of_words() {
        let mut bits = WindowBits::clear();
        assert_eq!(bits.run_down(5000, true), 0);
        assert_eq!(bits.run_down(5000, false), WIDTH);
        for number in 4900..4990 {
            bits.set(number);
        }
        assert_eq!(bits.run_down(4989, true), 90);
        assert_eq!(bits.run_down(4950, true), 51);
        assert_eq!(bits.run_down(5000, false), 11);
        assert_eq!(bits.run_down(4899, false), WIDTH - 90);
        assert_eq!(bits.run_down(3, false), 4, "there is nothing below zero");
    }

    #[test]
    fn sliding_clears_exactly_the_numbers_that_come_in() {
        let mut bits = WindowBits([u64::MAX; 16]);
        bits.slide(4095, 4100);
        for number in 4100 - (WIDTH - 1)..=4100 {
            assert_eq!(bits.get(number), number <= 4095, "{number}");
        }
    }
}
