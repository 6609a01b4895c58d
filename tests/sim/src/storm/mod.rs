//! A small world in which everything goes wrong at random, and the promises that hold all the same.
//!
//! A storm has two phases. First, faults come as they may, and what must never happen is checked at every step. Then everything
//! heals: every query must have its one verdict, nothing may be left over, and everybody must be able to reach everybody.
//!
//! ```
//! let outcome = egtp_sim::storm::run(7, &egtp_sim::storm::Settings::default());
//! assert!(outcome.violations.is_empty());
//! assert_eq!(outcome, egtp_sim::storm::run(7, &egtp_sim::storm::Settings::default()));
//! ```

mod oracle;
mod sweep;
mod weather;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use egtp::Instant;

use crate::transcript::Entry;
use weather::Storm;

pub use sweep::{Total, sweep};

/// What a storm is not left to draw for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    nodes: Option<usize>,
    lasts: Option<Duration>,
}

impl Settings {
    /// The fewest nodes of a storm.
    pub const MIN_NODES: usize = 2;
    /// The most nodes of a storm.
    pub const MAX_NODES: usize = 1000;
    /// The longest time that faults go on: a year.
    pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

    /// So many nodes, instead of two to four.
    ///
    /// # Errors
    ///
    /// [`ImpossibleSetting::Nodes`] outside of [`Settings::MIN_NODES`] to [`Settings::MAX_NODES`].
    pub fn nodes(self, nodes: usize) -> Result<Self, ImpossibleSetting> {
        if (Self::MIN_NODES..=Self::MAX_NODES).contains(&nodes) {
            Ok(Self { nodes: Some(nodes), ..self })
        } else {
            Err(ImpossibleSetting::Nodes)
        }
    }

    /// Faults for so much simulated time, instead of forty of them.
    ///
    /// # Errors
    ///
    /// [`ImpossibleSetting::Time`] if that is zero or longer than [`Settings::MAX_TIME`].
    pub fn lasting(self, time: Duration) -> Result<Self, ImpossibleSetting> {
        if time.is_zero() || time > Self::MAX_TIME {
            Err(ImpossibleSetting::Time)
        } else {
            Ok(Self { lasts: Some(time), ..self })
        }
    }
}

/// A setting with which there is no storm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImpossibleSetting {
    /// The number of nodes is out of range.
    Nodes,
    /// The simulated time is out of range.
    Time,
}

impl fmt::Display for ImpossibleSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => write!(f, "the nodes must be {} to {}", Settings::MIN_NODES, Settings::MAX_NODES),
            Self::Time => {
                let hours = Settings::MAX_TIME.as_secs() / 3600;
                write!(f, "the simulated time must be above zero and at most {hours} hours")
            }
        }
    }
}

impl std::error::Error for ImpossibleSetting {}

/// What came of a storm. Equal for equal seeds and settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// A digest of every byte and action.
    pub digest: [u8; 20],
    /// How many queries were asked.
    pub queries: u64,
    /// How many verdicts were given. Whoever crashes is owed none.
    pub verdicts: u64,
    /// How much time passed in the world.
    pub simulated: Duration,
    /// The promises that were broken; none, if all is well. A storm ends with the first step that breaks any.
    pub violations: Vec<Violation>,
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When it was found, in simulated time.
    pub at: Instant,
    /// What is wrong.
    pub what: String,
}

/// A storm and everything that happened in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// From which seed.
    pub seed: u64,
    /// With which settings.
    pub settings: Settings,
    /// What was drawn: the nodes, their limits and the network, in words.
    pub configuration: String,
    /// What happened, in order.
    pub transcript: Vec<Entry>,
    /// How many nodes there were.
    pub nodes: usize,
    /// What came of it.
    pub outcome: Outcome,
}

/// So many lines of a transcript are enough to see how a promise was broken.
const LAST_LINES: usize = 40;

impl Recording {
    /// The command that repeats it.
    pub fn command(&self) -> String {
        let nodes = self.settings.nodes.map_or(String::new(), |nodes| format!(" --nodes {nodes}"));
        let hours =
            self.settings.lasts.map_or(String::new(), |time| format!(" --hours {}", time.as_secs_f64() / 3600.0));
        format!("cargo run --release -p egtp-sim -- --seed {}{nodes}{hours} --trace", self.seed)
    }

    /// What a person needs to know about a storm that broke a promise: the seed, what was drawn, the last lines of the
    /// transcript, what is wrong, and the command that repeats it.
    pub fn report(&self) -> String {
        use fmt::Write as _;
        let mut text = format!("seed {} did it: a promise was broken\n{}\n", self.seed, self.configuration);
        let left_out = self.transcript.len().saturating_sub(LAST_LINES);
        if left_out > 0 {
            let _never = writeln!(text, "... {left_out} lines before these");
        }
        for entry in &self.transcript[left_out..] {
            let _never = writeln!(text, "{entry}");
        }
        for Violation { at, what } in &self.outcome.violations {
            let _never = writeln!(text, "broken at {at}: {what}");
        }
        let _never = writeln!(text, "again: {}", self.command());
        text
    }
}

/// Lets a storm pass over a small world and checks every promise. Everything follows from the seed and the settings.
pub fn run(seed: u64, settings: &Settings) -> Outcome {
    record(seed, settings).outcome
}

/// Does the same as [`run`], and gives back what happened as well.
pub fn record(seed: u64, settings: &Settings) -> Recording {
    let mut storm = Storm::new(seed, settings);
    let passed = catch_unwind(AssertUnwindSafe(|| storm.pass()));
    if let Err(panic) = passed {
        let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        storm.violate(format!("something panicked: {}", message.unwrap_or("it did not say why")));
    }
    storm.recorded(seed, *settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_recording_every_time_and_another_gives_another() {
        let settings = Settings::default();
        let recording = record(3, &settings);
        assert_eq!(recording, record(3, &settings));
        assert_ne!(recording.outcome.digest, run(4, &settings).digest);
        assert_eq!(recording.outcome.violations, []);
        assert!(recording.outcome.queries > 8 && recording.outcome.simulated > Duration::from_secs(1500));
    }

    #[test]
    fn what_is_set_is_not_drawn() {
        let settings = Settings::default().nodes(6).unwrap().lasting(Duration::from_secs(300)).unwrap();
        let recording = record(5, &settings);
        assert_eq!((recording.nodes, &recording.outcome.violations[..]), (6, &[][..]));
        assert!(recording.outcome.simulated > run(5, &Settings::default()).simulated + Duration::from_secs(100));
    }

    #[test]
    fn settings_out_of_range_are_impossible() {
        for nodes in [0, 1, 1001] {
            assert_eq!(Settings::default().nodes(nodes), Err(ImpossibleSetting::Nodes));
        }
        for time in [Duration::ZERO, Settings::MAX_TIME + Duration::from_micros(1)] {
            assert_eq!(Settings::default().lasting(time), Err(ImpossibleSetting::Time));
        }
    }

    #[test]
    fn a_report_says_what_is_wrong_and_how_to_see_it_again() {
        let mut recording = record(3, &Settings::default().nodes(3).unwrap());
        recording.outcome.violations.push(Violation { at: Instant::from_micros(2_000_000), what: "nothing".into() });
        let report = recording.report();
        assert!(report.starts_with("seed 3 did it: "), "{report}");
        assert!(report.contains("\nbroken at 2.000000s: nothing\n"), "{report}");
        assert!(report.ends_with("again: cargo run --release -p egtp-sim -- --seed 3 --nodes 3 --trace\n"), "{report}");
    }
}
