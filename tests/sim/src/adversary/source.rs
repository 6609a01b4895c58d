//! An adversary's own source of secrets and numbers: everything follows from its seed.

use crate::second::Key;
use crate::second::crypto::sha256;

#[derive(Clone, Debug)]
pub(super) struct Source {
    seed: Key,
    drawn: u64,
}

impl Source {
    pub(super) fn new(seed: Key) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn bytes(&mut self) -> Key {
        self.drawn += 1;
        sha256(&[&self.seed, &self.drawn.to_be_bytes()])
    }

    pub(super) fn number(&mut self) -> u64 {
        self.bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}
