//! What became of the numbers of a peer's queries: the memory that keeps a query from running twice.

use super::window::{WIDTH, WindowBits};

/// The 1024 numbers up to the highest one seen, each free, taken, refused or forgotten. Numbers above it are free.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NumberWindow {
    top: u64,
    taken: WindowBits,
    /// A number that is taken and refused was taken and is forgotten.
    refused: WindowBits,
}

/// What became of one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Number {
    /// No query with this number was taken or refused.
    Free,
    /// Its query was given to a handler.
    Taken,
    /// Its query did not run and never will.
    Refused,
    /// Its query was given to a handler, and what became of it was forgotten before the asker had it.
    Forgotten,
    /// It lies so far below the highest number that nothing is remembered of it; its query never runs from now on.
    Below,
}

impl NumberWindow {
    pub(crate) const fn new() -> Self {
        Self { top: 0, taken: WindowBits::clear(), refused: WindowBits::clear() }
    }

    pub(crate) fn state(&self, number: u64) -> Number {
        if number > self.top {
            Number::Free
        } else if number < self.base() {
            Number::Below
        } else {
            match (self.taken.get(number), self.refused.get(number)) {
                (false, false) => Number::Free,
                (true, false) => Number::Taken,
                (false, true) => Number::Refused,
                (true, true) => Number::Forgotten,
            }
        }
    }

    /// Takes a free number, for ever. A number that is not free stays what it is.
    pub(crate) fn take(&mut self, number: u64) {
        if self.state(number) == Number::Free {
            self.reach(number);
            self.taken.set(number);
        }
    }

    /// Refuses a free number, for ever. A number that is not free stays what it is.
    pub(crate) fn refuse(&mut self, number: u64) {
        if self.state(number) == Number::Free {
            self.reach(number);
            self.refused.set(number);
        }
    }

    /// What a handler had did not run after all.
    pub(crate) fn refuse_taken(&mut self, number: u64) {
        if self.state(number) == Number::Taken {
            self.taken.unset(number);
            self.refused.set(number);
        }
    }

    /// What became of a taken number is forgotten.
    pub(crate) fn forget(&mut self, number: u64) {
        if self.state(number) == Number::Taken {
            self.refused.set(number);
        }
    }

    /// The lowest number of the window, and a bitmap in which bit `i mod 8` of byte `i div 8` says whether the number
    /// `i` above it was taken. Every number below it counts as taken.
    pub(crate) fn taken_bitmap(&self) -> (u64, [u8; 128]) {
        let base = self.base();
        let mut bitmap = [0; 128];
        for (byte, first) in bitmap.iter_mut().zip((base..=base.saturating_add(WIDTH - 1)).step_by(8)) {
            for (bit, number) in [1, 2, 4, 8, 16, 32, 64, 128].into_iter().zip(first..=first.saturating_add(7)) {
                if matches!(self.state(number), Number::Taken | Number::Forgotten) {
                    *byte |= bit;
                }
            }
        }
        (base, bitmap)
    }

    /// Moves the window up so that it covers `number`. The numbers that it passes over are free.
    fn reach(&mut self, number: u64) {
        if number > self.top {
            self.taken.slide(self.top, number);
            self.refused.slide(self.top, number);
            self.top = number;
        }
    }

    fn base(&self) -> u64 {
        self.top.saturating_sub(WIDTH - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [u64; 9] = [0, 1, 511, 1023, 1024, 1025, 1 << 40, u64::MAX - 1, u64::MAX];

    #[test]
    fn every_number_is_free_at_first() {
        for number in NUMBERS {
            assert_eq!(NumberWindow::new().state(number), Number::Free, "{number}");
        }
    }

    #[test]
    fn what_became_of_a_number_is_remembered_and_its_neighbours_stay_free() {
        for number in NUMBERS {
            let (mut taken, mut refused) = (NumberWindow::new(), NumberWindow::new());
            taken.take(number);
            refused.refuse(number);
            assert_eq!(taken.state(number), Number::Taken, "{number}");
            assert_eq!(refused.state(number), Number::Refused, "{number}");
            for neighbour in [number.checked_sub(1), number.checked_add(1)].into_iter().flatten() {
                assert_eq!(taken.state(neighbour), Number::Free, "{neighbour}");
                assert_eq!(refused.state(neighbour), Number::Free, "{neighbour}");
            }
        }
    }

    #[test]
    fn what_became_of_a_number_is_never_changed() {
        let mut window = NumberWindow::new();
        window.take(7);
        window.refuse(8);
        let before = window.clone();
        window.refuse(7);
        window.take(7);
        window.take(8);
        assert_eq!(window, before);
        window.take(7 + 1024);
        let before = window.clone();
        window.take(7);
        window.refuse(7);
        assert_eq!(window, before);
        assert_eq!(window.state(7), Number::Below);
    }

    #[test]
    fn the_window_is_exactly_1024_numbers_wide() {
        for top in [1023, 1024, 5000, u64::MAX] {
            let mut window = NumberWindow::new();
            window.take(top);
            assert_eq!(window.state(top - 1023), Number::Free, "{top}");
            if let Some(below) = top.checked_sub(1024) {
                assert_eq!(window.state(below), Number::Below, "{top}");
                assert_eq!(window.state(0), Number::Below, "{top}");
            }
            window.refuse(top - 1023);
            assert_eq!(window.state(top - 1023), Number::Refused, "{top}");
        }
    }

    #[test]
    fn numbers_passed_over_are_free_whatever_was_known_of_the_numbers_that_left() {
        let mut window = NumberWindow::new();
        for number in 0..1024 {
            if number % 2 == 0 { window.take(number) } else { window.refuse(number) }
        }
        window.take(1100);
        for number in 1024..1100 {
            assert_eq!(window.state(number), Number::Free, "{number}");
        }
        for number in 77..1024 {
            assert_eq!(window.state(number), if number % 2 == 0 { Number::Taken } else { Number::Refused }, "{number}");
        }
        assert_eq!(window.state(76), Number::Below);
    }

    #[test]
    fn a_far_jump_forgets_everything_below() {
        let mut window = NumberWindow::new();
        window.take(0);
        window.take(u64::MAX);
        assert_eq!(window.state(0), Number::Below);
        for number in u64::MAX - 1023..u64::MAX {
            assert_eq!(window.state(number), Number::Free, "{number}");
        }
    }

    #[test]
    fn only_a_taken_number_is_refused_after_all_or_forgotten() {
        let mut window = NumberWindow::new();
        for number in 1..4 {
            window.take(number);
        }
        window.refuse(4);
        for number in [0, 1, 4, 5] {
            window.refuse_taken(number);
        }
        for number in [0, 1, 2, 4, 5] {
            window.forget(number);
        }
        let states = [Number::Free, Number::Refused, Number::Forgotten, Number::Taken, Number::Refused, Number::Free];
        for (number, state) in (0..).zip(states) {
            assert_eq!(window.state(number), state, "{number}");
        }
        window.take(2);
        window.refuse(2);
        assert_eq!(window.state(2), Number::Forgotten);
        assert_eq!(window.taken_bitmap().1[0], 0b1100);
    }

    #[test]
    fn the_bitmap_names_the_taken_numbers_and_no_others() {
        for (top, base) in [(10, 0), (1023, 0), (1024, 1), (2000, 977), (u64::MAX, u64::MAX - 1023)] {
            let mut window = NumberWindow::new();
            window.take(top);
            window.take(base);
            window.take(base + 9);
            window.refuse(base + 3);
            let (first, bitmap) = window.taken_bitmap();
            assert_eq!(first, base);
            for at in 0..1024 {
                let is_taken = bitmap[at / 8] & (1 << (at % 8)) != 0;
                let offset = u64::try_from(at).unwrap();
                assert_eq!(is_taken, [0, 9, top - base].contains(&offset), "{top}: {at}");
            }
        }
    }

    #[test]
    fn an_unused_window_names_no_number() {
        assert_eq!(NumberWindow::new().taken_bitmap(), (0, [0; 128]));
    }

    #[test]
    fn the_window_costs_256_bytes_and_its_top() {
        assert_eq!(size_of::<NumberWindow>(), 264);
    }
}
