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

    /// Clears the bits of the numbers that come in as the window's top moves up from `old_top` to `new_top`.
    pub(super) fn slide(&mut self, old_top: u64, new_top: u64) {
        if new_top.saturating_sub(old_top) >= WIDTH {
            *self = Self::clear();
            return;
        }
        for number in (old_top..new_top).filter_map(|below| below.checked_add(1)) {
            let (word, bit) = place(number);
            if let Some(word) = self.0.get_mut(word) {
                *word &= !bit;
            }
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
    fn sliding_clears_exactly_the_numbers_that_come_in() {
        let mut bits = WindowBits([u64::MAX; 16]);
        bits.slide(4095, 4100);
        for number in 4100 - (WIDTH - 1)..=4100 {
            assert_eq!(bits.get(number), number <= 4095, "{number}");
        }
    }
}
