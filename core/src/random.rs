//! Everything random comes from one seed, in three streams, so that an added choice never shifts the keys of a recorded run, and what is
//! drawn for each record shifts no choice: how many records there are depends on how bytes are written.

use chacha20::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

use crate::hashing::KeyedHash;
use crate::id::Nonce;
use crate::wire::packet::SessionId;

/// The three streams.
pub(crate) struct Random {
    secrets: ChaCha20Rng,
    choices: ChaCha20Rng,
    counters: ChaCha20Rng,
}

impl Random {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        let stream = |label: &[u8]| {
            let mut hash = Sha256::new();
            hash.update(b"egtp random ");
            hash.update(label);
            hash.update(seed);
            ChaCha20Rng::from_seed(hash.finalize().into())
        };
        Self { secrets: stream(b"secrets"), choices: stream(b"choices"), counters: stream(b"counters") }
    }

    /// The X25519 secret of one handshake.
    pub(crate) fn ephemeral(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.secrets.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn cookie_secret(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.secrets.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn nonce(&mut self) -> Nonce {
        let mut bytes = [0; 20];
        self.secrets.fill_bytes(&mut bytes);
        Nonce::from_bytes(bytes)
    }

    pub(crate) fn session_id(&mut self) -> SessionId {
        let mut bytes = [0; 8];
        self.secrets.fill_bytes(&mut bytes);
        SessionId(bytes)
    }

    pub(crate) fn hash_key(&mut self) -> KeyedHash {
        KeyedHash::new(self.secrets.next_u64(), self.secrets.next_u64())
    }

    /// A number below `bound`, which is above zero, for choices that others may see.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.choices.next_u64() % bound.max(1)
    }

    /// Whether the next record leaves out a counter before it, as one of so many does.
    pub(crate) fn leaves_out(&mut self, one_of: u64) -> bool {
        self.counters.next_u64().is_multiple_of(one_of.max(1))
    }
}

impl core::fmt::Debug for Random {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_does_not_shift_the_secrets() {
        let mut plain = Random::new(&[1; 32]);
        let mut chooses = Random::new(&[1; 32]);
        chooses.below(6);
        chooses.leaves_out(6);
        assert_eq!(plain.nonce(), chooses.nonce());
        assert_ne!(plain.nonce(), Random::new(&[2; 32]).nonce());
    }
}
