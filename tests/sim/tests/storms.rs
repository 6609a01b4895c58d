//! Whole worlds in which everything goes wrong, by the thousand.
//!
//! They begin with another seed at every commit, which is printed. `EGTP_SEED` sets it.

use std::io::Write as _;
use std::num::NonZero;
use std::process::Command;
use std::thread;

use egtp_sim::storm::{Settings, record, sweep};

/// How many storms pass in a test run.
const STORMS: u64 = 2000;

/// After so many, one that failed ends the test.
const BATCH: u64 = 100;

#[test]
fn whatever_happens_every_query_gets_one_true_verdict_in_time_and_nothing_leaks() {
    let first = first_seed();
    // The test harness swallows what is printed as long as all is well, but not this.
    let _nobody_reads_it = writeln!(std::io::stderr(), "storms of {STORMS} seeds, from EGTP_SEED={first}");
    let settings = Settings::default();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut left = first..first + STORMS;
    while !left.is_empty() {
        let batch = left.start..left.end.min(left.start + BATCH);
        left.start = batch.end;
        let total = sweep(batch, &settings, threads, || {});
        let reports: Vec<String> = total.failed.iter().take(2).map(|&seed| record(seed, &settings).report()).collect();
        assert!(reports.is_empty(), "from EGTP_SEED={first}, these failed: {:?}\n{}", total.failed, reports.join("\n"));
    }
}

/// What is set, else a number that changes with the commit, else zero.
fn first_seed() -> u64 {
    match std::env::var("EGTP_SEED") {
        Ok(seed) => seed.parse().expect("EGTP_SEED is a whole number"),
        Err(_) => commit().unwrap_or(0),
    }
}

/// The first digits of the commit that is checked out; nothing without git or a repository.
fn commit() -> Option<u64> {
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let commit = String::from_utf8(git.stdout).ok()?;
    u64::from_str_radix(commit.get(..8)?, 16).ok()
}
