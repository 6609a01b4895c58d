//! Everything that can happen between two nodes with two queries, as deep as the time of a test run allows.
//!
//! `EGTP_EXPLORE` sets another depth, `EGTP_FAULTS` how many faults there may be on the way, and `EGTP_SEED` what is random in the nodes.
//! By hand, `egtp-sim --explore DEPTH` does the same.

use std::io::Write as _;
use std::num::NonZero;
use std::thread;

use egtp_sim::explore::{Bounds, Setting, explore};

/// With two faults. Nodes that have not met need more steps until something can go wrong.
const STRANGERS: Bounds = Bounds { depth: 6, faults: 2 };
const ACQUAINTED: Bounds = Bounds { depth: 4, faults: 2 };

/// Without any, so many more.
const UNDISTURBED: usize = 3;

#[test]
fn whatever_happens_next_two_queries_keep_every_promise() {
    let (depth, faults) = (number("EGTP_EXPLORE"), number("EGTP_FAULTS"));
    for setting in settings() {
        let usual = usual(&setting);
        let depth = depth.map_or(usual.depth, |depth| usize::try_from(depth).unwrap());
        let faults = faults.map_or(usual.faults, |faults| usize::try_from(faults).unwrap());
        everything_is_well(&setting, Bounds { depth, faults });
    }
}

#[test]
fn whatever_the_order_two_queries_are_answered_where_nothing_goes_wrong() {
    for setting in settings() {
        let depth = usual(&setting).depth + UNDISTURBED;
        everything_is_well(&setting, Bounds { depth, faults: 0 });
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let bounds = Bounds { depth: 5, faults: 1 };
    let setting = Setting { mutual: true, ..Setting::default() };
    assert_eq!(explore(&setting, bounds, 1), explore(&setting, bounds, 3));
}

fn settings() -> impl Iterator<Item = Setting> {
    Setting::all(number("EGTP_SEED").unwrap_or(0))
}

fn usual(setting: &Setting) -> Bounds {
    if setting.acquainted { ACQUAINTED } else { STRANGERS }
}

fn everything_is_well(setting: &Setting, bounds: Bounds) {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let findings = explore(setting, bounds, threads);
    let Bounds { depth, faults } = bounds;
    // The test harness swallows what is printed as long as all is well, but not this.
    let _nobody_reads_it =
        writeln!(std::io::stderr(), "{setting}, depth {depth}, faults {faults}: {} states", findings.states);
    assert!(findings.breach.is_none(), "{setting}:\n{}", findings.breach.unwrap());
    assert!(findings.states > 50, "{findings:?}");
}

/// What an environment variable is set to.
fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{variable} is not a whole number: {value}")))
}
