//! Hash tables over what strangers choose, keyed so that they cannot choose what collides.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 under a key drawn from the node's seed.
#[derive(Clone, Copy)]
pub(crate) struct KeyedHash {
    key: (u64, u64),
}

impl KeyedHash {
    pub(crate) fn new(first: u64, second: u64) -> Self {
        Self { key: (first, second) }
    }
}

impl core::fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyedHash")
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        #[cfg(feature = "internal")]
        counted::HASHES.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        SipHasher13::new_with_keys(self.key.0, self.key.1)
    }
}

/// How many hashes were made by all nodes together, for a benchmark.
#[cfg(feature = "internal")]
pub(crate) mod counted {
    pub(crate) static HASHES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
}
