//! Many storms, on many threads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sha1::{Digest as _, Sha1};

use super::{Outcome, Settings, run};

/// What came of many storms. It depends on the seeds and the settings, and not on the number of threads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Total {
    /// A digest of all digests, in the order of the seeds.
    pub digest: [u8; 20],
    /// How many storms there were.
    pub seeds: u64,
    /// How many queries were asked.
    pub queries: u64,
    /// How many verdicts were given.
    pub verdicts: u64,
    /// How many promises were broken.
    pub violations: u64,
    /// How much time passed in all the worlds together.
    pub simulated: Duration,
    /// The seeds with which a promise was broken, in order.
    pub failed: Vec<u64>,
}

impl Total {
    /// What came of a single scenario.
    pub fn of(outcome: &Outcome) -> Self {
        let mut collected = Collected::default();
        collected.take(0, 0, outcome.clone());
        collected.total()
    }
}

/// Lets the storm of each seed pass, on this number of threads (at least one). After each one `on_passed` is called, on
/// whichever thread it was.
pub fn sweep(seeds: Range<u64>, settings: &Settings, threads: usize, on_passed: impl Fn() + Sync) -> Total {
    let next = AtomicU64::new(0);
    let collected = Mutex::new(Collected::default());
    let count = seeds.end.saturating_sub(seeds.start);
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let offset = next.fetch_add(1, Ordering::Relaxed);
                    if offset >= count {
                        return;
                    }
                    let seed = seeds.start + offset;
                    let outcome = run(seed, settings);
                    collected.lock().unwrap_or_else(PoisonError::into_inner).take(offset, seed, outcome);
                    on_passed();
                }
            });
        }
    });
    collected.into_inner().unwrap_or_else(PoisonError::into_inner).total()
}

/// Puts what threads bring in any order into the order of the seeds.
#[derive(Default)]
struct Collected {
    early: BTreeMap<u64, (u64, Outcome)>,
    digests: Sha1,
    seeds: u64,
    queries: u64,
    verdicts: u64,
    violations: u64,
    simulated: Duration,
    failed: Vec<u64>,
}

impl Collected {
    fn take(&mut self, offset: u64, seed: u64, outcome: Outcome) {
        self.early.insert(offset, (seed, outcome));
        while let Some((seed, outcome)) = self.early.remove(&self.seeds) {
            self.digests.update(outcome.digest);
            self.seeds += 1;
            self.queries += outcome.queries;
            self.verdicts += outcome.verdicts;
            self.violations += outcome.violations.len() as u64;
            self.simulated += outcome.simulated;
            if !outcome.violations.is_empty() {
                self.failed.push(seed);
            }
        }
    }

    fn total(self) -> Total {
        Total {
            digest: self.digests.finalize().into(),
            seeds: self.seeds,
            queries: self.queries,
            verdicts: self.verdicts,
            violations: self.violations,
            simulated: self.simulated,
            failed: self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let settings = Settings::default();
        let alone = sweep(10..18, &settings, 1, || {});
        assert_eq!(alone, sweep(10..18, &settings, 3, || {}));
        assert_eq!((alone.seeds, alone.violations), (8, 0));
        assert_ne!(alone.digest, sweep(11..19, &settings, 3, || {}).digest);
    }
}
