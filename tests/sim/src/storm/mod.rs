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

mod intruder;
mod oracle;
mod play;
mod shrink;
mod sweep;
mod weather;

use std::fmt;
use std::time::Duration;

use egtp::Instant;

use crate::scenario::{Scenario, Step};
use crate::transcript::{Entry, Names, since_beginning};
use play::Play;
use weather::Weather;

pub use shrink::shrink;
pub use sweep::{Total, sweep};

/// What a storm is not left to draw for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    nodes: Option<usize>,
    lasts: Option<Duration>,
    loses: bool,
}

impl Settings {
    /// The fewest nodes of a storm.
    pub const MIN_NODES: usize = 2;
    /// The most nodes of a storm.
    pub const MAX_NODES: usize = 1000;
    /// The longest time that faults go on: a year.
    pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

    /// So many nodes, instead of three to five.
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

    /// In some storms packets vanish from connections that live on.
    pub fn losing(self) -> Self {
        Self { loses: true, ..self }
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
#[derive(Clone, PartialEq, Debug)]
pub struct Recording {
    /// Where it came from.
    pub source: Source,
    /// Who was there and what was done, up to the step that broke a promise.
    pub scenario: Scenario,
    /// What happened, in order.
    pub transcript: Vec<Entry>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Where a storm came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// It was drawn from a seed, with these settings.
    Seed(u64, Settings),
    /// It was drawn from a fuzzer's bytes.
    Bytes,
    /// Somebody wrote it, or shrank it.
    Script,
}

/// In what manner a scenario is played. It must make no difference.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Variation {
    /// Nodes are told what time it is more often than they asked for: [`World::set_restless`](crate::World::set_restless).
    pub restless: bool,
    /// What is asked of a node at one instant is done together: [`World::set_lazy`](crate::World::set_lazy).
    pub lazy: bool,
}

/// So many lines of a transcript are enough to see how a promise was broken.
const LAST_LINES: usize = 40;

/// So many scenarios are played to find a smaller one, with so many lines of transcript together.
const MOST_ATTEMPTS: usize = 300;
const MOST_PLAYED: usize = 100_000;

impl Recording {
    /// What people call the nodes.
    pub fn names(&self) -> Names {
        Names::new(&self.scenario.nodes)
    }

    /// What is wrong, in one line for each promise that was broken.
    pub fn broken(&self) -> Vec<String> {
        self.outcome.violations.iter().map(broken).collect()
    }

    /// What a person needs to know about a storm that broke a promise: the seed, what was drawn, the last lines of the
    /// transcript, what is wrong, the command that repeats it, and a smaller case as a script. To find that, a few hundred others
    /// are played.
    pub fn report(&self) -> String {
        let mut lines = vec![format!("{} did it: a promise was broken", self.source), self.scenario.setting()];
        let left_out = self.transcript.len().saturating_sub(LAST_LINES);
        if left_out > 0 {
            lines.push(format!("... {left_out} lines before these"));
        }
        let names = self.names();
        lines.extend(self.transcript[left_out..].iter().map(|entry| names.line(entry)));
        lines.extend(self.broken());
        lines.extend(self.source.command().map(|command| format!("again: {command}")));
        lines.push(self.smaller_case());
        lines.join("\n") + "\n"
    }

    fn smaller_case(&self) -> String {
        let attempts = MOST_PLAYED / self.transcript.len().max(1);
        let shrunk = record_scenario(&shrink(&self.scenario, attempts.min(MOST_ATTEMPTS)));
        if shrunk.outcome.violations.is_empty() {
            return "played again as a script, it keeps every promise".into();
        }
        let command = "cargo run --release -p egtp-sim -- --trace --script FILE";
        format!(
            "a smaller case, to be saved as FILE, and then: {command}\n{}{}",
            shrunk.scenario,
            shrunk.broken().join("\n")
        )
    }
}

impl Source {
    /// The command that repeats it.
    pub fn command(&self) -> Option<String> {
        let Self::Seed(seed, Settings { nodes, lasts, loses }) = self else { return None };
        let nodes = nodes.map_or(String::new(), |nodes| format!(" --nodes {nodes}"));
        let hours = lasts.map_or(String::new(), |time| format!(" --hours {}", time.as_secs_f64() / 3600.0));
        let losses = if *loses { " --losses" } else { "" };
        Some(format!("cargo run --release -p egtp-sim -- --seed {seed}{nodes}{hours}{losses} --trace"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(seed, _) => write!(f, "seed {seed}"),
            Self::Bytes => f.write_str("this input"),
            Self::Script => f.write_str("this script"),
        }
    }
}

/// Lets a storm pass over a small world and checks every promise. Everything follows from the seed and the settings.
pub fn run(seed: u64, settings: &Settings) -> Outcome {
    let (scenario, mut weather) = Weather::from_seed(seed, settings);
    play_steps(Play::new(&scenario), &mut weather, drop)
}

/// Does the same from bytes: a shorter input is a smaller storm, and with none at all nothing goes wrong.
pub fn run_bytes(bytes: &[u8]) -> Outcome {
    let (scenario, mut weather) = Weather::from_bytes(bytes);
    play_steps(Play::new(&scenario), &mut weather, drop)
}

/// Does the same as [`run`], and gives back what happened as well.
pub fn record(seed: u64, settings: &Settings) -> Recording {
    let (scenario, weather) = Weather::from_seed(seed, settings);
    let play = Play::new(&scenario);
    record_steps(Source::Seed(seed, *settings), scenario, play, weather)
}

/// Does the same as [`run_bytes`], and gives back what happened as well.
pub fn record_bytes(bytes: &[u8]) -> Recording {
    let (scenario, weather) = Weather::from_bytes(bytes);
    let play = Play::new(&scenario);
    record_steps(Source::Bytes, scenario, play, weather)
}

/// Plays a scenario, and gives back what happened.
pub fn record_scenario(scenario: &Scenario) -> Recording {
    record_scenario_in(scenario, Variation::default())
}

/// Plays a scenario in a manner that must make no difference, and gives back what happened.
pub fn record_scenario_in(scenario: &Scenario, variation: Variation) -> Recording {
    let stage = Scenario { steps: Vec::new(), ..scenario.clone() };
    let mut play = Play::new(&stage);
    play.set_variation(variation);
    record_steps(Source::Script, stage, play, scenario.steps.iter().copied())
}

fn record_steps(source: Source, mut scenario: Scenario, play: Play, steps: impl Iterator<Item = Step>) -> Recording {
    let (mut played, mut transcript) = (Vec::new(), Vec::new());
    let steps = steps.inspect(|&step| played.push(step));
    let outcome = play_steps(play, steps, |entries| transcript.extend(entries));
    scenario.steps = played;
    Recording { source, scenario, transcript, outcome }
}

/// Plays these steps until a promise is broken. What happened in each is handed on and not kept: that of many days fills a memory.
fn play_steps(mut play: Play, steps: impl Iterator<Item = Step>, mut on_played: impl FnMut(Vec<Entry>)) -> Outcome {
    for step in steps {
        play.step(&step);
        on_played(play.take_transcript());
        if !play.all_is_well() {
            break;
        }
    }
    play.end()
}

/// The world of a scenario, in which steps are played one by one.
pub struct Stage {
    play: Play,
    names: Names,
    over: bool,
}

impl Stage {
    /// A world before the first step. The steps of the scenario are not played.
    ///
    /// # Panics
    ///
    /// If the configuration of a node is out of range.
    pub fn new(scenario: &Scenario) -> Self {
        Self { play: Play::new(scenario), names: Names::new(&scenario.nodes), over: false }
    }

    /// Plays one step, and gives back what happened, line by line; nothing more once a promise is broken.
    pub fn play(&mut self, step: &Step) -> Vec<String> {
        if self.over {
            return Vec::new();
        }
        self.play.step(step);
        let mut lines: Vec<String> = self.play.take_transcript().iter().map(|entry| self.names.line(entry)).collect();
        lines.extend(self.play.violations().iter().map(broken));
        self.over = !self.play.all_is_well();
        lines
    }
}

fn broken(Violation { at, what }: &Violation) -> String {
    format!("broken at {}: {what}", since_beginning(*at))
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
    fn a_shorter_input_is_a_smaller_storm_and_none_at_all_is_a_tiny_one() {
        let nothing = record_bytes(&[]);
        assert_eq!((nothing.scenario.nodes.len(), &nothing.scenario.steps[..]), (2, &[Step::Heal][..]));
        let bytes: Vec<u8> = (0..300u32).map(|at| (at * 131 % 251) as u8).collect();
        let (longer, shorter) = (record_bytes(&bytes), record_bytes(&bytes[..150]));
        assert!(longer.scenario.steps.len() > shorter.scenario.steps.len() + 5);
        let common = shorter.scenario.steps.len() - 3;
        assert_eq!(longer.scenario.steps[..common], shorter.scenario.steps[..common]);
        for recording in [nothing, longer, shorter] {
            assert_eq!(recording.outcome.violations, [], "{}", recording.report());
        }
        assert_eq!(run_bytes(&bytes), record_bytes(&bytes).outcome);
    }

    #[test]
    fn a_recorded_scenario_plays_as_the_seed_that_it_was_drawn_from() {
        let recording = record(4, &Settings::default());
        assert_eq!(record_scenario(&recording.scenario).outcome, recording.outcome);
    }

    #[test]
    fn a_storm_has_three_to_five_nodes_and_at_most_fifty_queries() {
        for seed in 0..50 {
            let recording = record(seed, &Settings::default());
            let to_adversary = recording.scenario.steps.iter().filter(|step| matches!(step, Step::AskAdversary { .. }));
            let asked = recording.outcome.queries + to_adversary.count() as u64;
            let count = recording.scenario.nodes.len();
            assert!((3..=5).contains(&count) && asked <= 50, "seed {seed}: {count} nodes, {asked} queries");
        }
    }

    #[test]
    fn what_is_set_is_not_drawn() {
        let settings = Settings::default().nodes(6).unwrap().lasting(Duration::from_secs(300)).unwrap();
        let recording = record(5, &settings);
        assert_eq!((recording.scenario.nodes.len(), &recording.outcome.violations[..]), (6, &[][..]));
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
        assert!(report.contains("\nbroken at 1.000000s: nothing\n"), "{report}");
        assert!(
            report.contains("\nagain: cargo run --release -p egtp-sim -- --seed 3 --nodes 3 --trace\n"),
            "{report}"
        );
        assert!(report.ends_with("\nplayed again as a script, it keeps every promise\n"), "{report}");
    }

    #[test]
    fn a_report_ends_with_a_smaller_case_that_breaks_a_promise_as_well() {
        let mut scenario = record(3, &Settings::default()).scenario;
        scenario.steps.insert(9, Step::Expect { node: 1, usage: "lookups", count: 3 });
        let report = record_scenario(&scenario).report();
        let (_, smaller) = report.split_once("a smaller case").unwrap();
        assert!(smaller.ends_with("\nbroken at 0.000000s: bob was expected to have lookups=3 and has 0\n"), "{report}");
        let smaller: Scenario = smaller.parse().unwrap();
        assert_eq!(smaller.steps, [Step::Expect { node: 0, usage: "lookups", count: 3 }]);
    }
}
