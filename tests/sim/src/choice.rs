//! One source of every choice.

use chacha20::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// Draws everything that chance decides in a world.
#[derive(Debug)]
pub struct Choice(ChaCha8Rng);

impl Choice {
    /// The choices of this seed.
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// A number below `bound`; zero if that is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.0.next_u64() % bound }
    }

    /// Whether something happens that happens so many times in a thousand.
    pub fn per_mille(&mut self, times: u64) -> bool {
        self.below(1000) < times
    }

    /// 32 bytes: a seed for something else.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
