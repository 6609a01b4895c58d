//! Whole worlds in which everything goes wrong, by the thousand.
//!
//! They begin with another seed at every commit, which is printed. `EGTP_SEED` sets it, and `EGTP_STORMS` how many there are.

use std::io::Write as _;
use std::num::NonZero;
use std::process::Command;
use std::thread;

use egtp_sim::storm::{Settings, record, sweep};

/// How many storms pass in a test run, unless it is set.
const STORMS: u64 = 2000;

/// After so many, one that failed ends the test.
const BATCH: u64 = 100;

#[test]
fn whatever_happens_every_query_gets_one_true_verdict_in_time_and_nothing_leaks() {
    let storms = number("EGTP_STORMS").unwrap_or(STORMS);
    // Without git or a repository, zero.
    let first = number("EGTP_SEED").or_else(commit).unwrap_or(0);
    // The test harness swallows what is printed as long as all is well, but not this.
    let _nobody_reads_it = writeln!(std::io::stderr(), "storms of {storms} seeds, from EGTP_SEED={first}");
    let settings = Settings::default();
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let mut left = first..first + storms;
    while !left.is_empty() {
        let batch = left.start..left.end.min(left.start + BATCH);
        left.start = batch.end;
        let total = sweep(batch, &settings, threads, || {});
        let reports: Vec<String> = total.failed.iter().take(2).map(|&seed| record(seed, &settings).report()).collect();
        assert!(reports.is_empty(), "from EGTP_SEED={first}, these failed: {:?}\n{}", total.failed, reports.join("\n"));
    }
}

/// What an environment variable is set to.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a whole number: {value}")))
}

/// The first digits of the commit that is checked out; nothing without git or a repository.
fn commit() -> Option<u64> {
    let git = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    let commit = String::from_utf8(git.stdout).ok()?;
    u64::from_str_radix(commit.get(..8)?, 16).ok()
}
