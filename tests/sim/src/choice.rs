//! One source of every choice.

use chacha20::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Draws everything that chance decides: from a seed without end, or from bytes until they run out.
///
/// Bytes are taken by position, one to eight for each draw, and after the last every draw is zero: a shorter input makes a
/// smaller world. A fuzzer that changes a byte changes one decision.
///
/// ```
/// use egtp_sim::Choice;
///
/// let mut choice = Choice::from_bytes(&[7, 1]);
/// assert_eq!((choice.below(10), choice.below(10), choice.is_exhausted()), (7, 1, true));
/// assert_eq!(choice.below(10), 0);
/// ```
#[derive(Debug)]
pub struct Choice(Source);

#[derive(Debug)]
enum Source {
    Seed(Box<ChaCha8Rng>),
    Bytes { bytes: Vec<u8>, taken: usize },
}

impl Choice {
    /// The choices of this seed.
    pub fn from_seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self(Source::Seed(Box::new(ChaCha8Rng::from_seed(bytes))))
    }

    /// The choices that these bytes spell.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(Source::Bytes { bytes: bytes.to_vec(), taken: 0 })
    }

    /// Whether only zeros are left. A seed never runs out.
    pub fn is_exhausted(&self) -> bool {
        matches!(&self.0, Source::Bytes { bytes, taken } if *taken >= bytes.len())
    }

    /// A number below `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        let Some(most) = bound.checked_sub(1) else { return 0 };
        let drawn = match &mut self.0 {
            Source::Seed(rng) => rng.next_u64(),
            Source::Bytes { bytes, taken } => {
                let width = (u64::BITS - most.leading_zeros()).div_ceil(8);
                (0..width).fold(0, |drawn, _| drawn << 8 | u64::from(next(bytes, taken)))
            }
        };
        drawn % bound
    }

    /// As [`Choice::below`], for what is counted in memory.
    pub fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// Whether something happens that happens so many times in a thousand. The rarer case is no when zeros are all that is left.
    pub fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) >= 1000 - times.min(1000)
    }

    /// 32 bytes: a seed for something else.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        match &mut self.0 {
            Source::Seed(rng) => rng.fill_bytes(&mut seed),
            Source::Bytes { bytes, taken } => seed.fill_with(|| next(bytes, taken)),
        }
        seed
    }
}

fn next(bytes: &[u8], taken: &mut usize) -> u8 {
    let byte = bytes.get(*taken).copied().unwrap_or(0);
    *taken += 1;
    byte
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_every_time_and_never_runs_out() {
        let draws = |seed| {
            let mut choice = Choice::from_seed(seed);
            let drawn = (0..1000).map(|_| choice.below(1000)).collect::<Vec<_>>();
            assert!(!choice.is_exhausted());
            drawn
        };
        assert_eq!(draws(7), draws(7));
        assert_ne!(draws(7), draws(8));
    }

    #[test]
    fn a_draw_takes_as_many_bytes_as_it_needs_and_no_more() {
        let mut choice = Choice::from_bytes(&[200, 1, 2, 3, 0, 0, 0, 0, 0, 0, 1, 4]);
        assert_eq!(choice.below(1), 0);
        assert_eq!(choice.below(256), 200);
        assert_eq!(choice.below(65_536), 0x0102);
        assert_eq!(choice.below(u64::MAX), 3 << 56 | 1);
        assert!(!choice.is_exhausted());
        assert_eq!(choice.below(200), 4);
        assert!(choice.is_exhausted());
    }

    #[test]
    fn after_the_last_byte_everything_is_zero() {
        let mut choice = Choice::from_bytes(&[]);
        assert_eq!((choice.below(0), choice.below(9), choice.index(9), choice.seed()), (0, 0, 0, [0; 32]));
        assert!(!choice.per_mille(999) && choice.per_mille(1000));
    }
}
