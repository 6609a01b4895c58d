//! The whole world: a storm whose every choice the fuzzer makes.

use egtp_sim::storm::{record_bytes, run_bytes};

use super::Outcome;

/// A storm over a few nodes, with the oracle watching.
///
/// # Panics
///
/// If a promise is broken, with a report of what happened.
pub fn world(bytes: &[u8]) -> Outcome {
    let outcome = run_bytes(bytes);
    assert!(outcome.violations.is_empty(), "{}", record_bytes(bytes).report());
    Outcome::taken_if(outcome.queries > 0)
}
