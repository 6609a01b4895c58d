//! What must not make a difference: the same scenario, played in another manner, has the same transcript.

use std::time::Duration;

use egtp::{Limits, Throttle};
use egtp_sim::scenario::{Scenario, Step};
use egtp_sim::script::difference;
use egtp_sim::storm::{Recording, Settings, Variation, record, record_scenario, record_scenario_in};
use egtp_sim::transcript::What;
use egtp_sim::{Chunks, Network};

/// So many scenarios are drawn.
const SCENARIOS: u64 = 100;

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_same_transcript() {
    for seed in 0..SCENARIOS {
        let recording = record(seed, &Settings::default());
        assert_eq!(recording, record(seed, &Settings::default()), "seed {seed}");
    }
}

#[test]
fn a_scenario_that_was_written_down_and_read_again_plays_the_same() {
    for seed in 0..SCENARIOS {
        let drawn = record(seed, &Settings::default());
        let read: Scenario = drawn.scenario.to_string().parse().unwrap();
        assert_eq!(record_scenario(&read).outcome, drawn.outcome, "seed {seed}");
    }
}

#[test]
fn however_streams_are_cut_the_same_happens_at_the_same_time() {
    for seed in 0..SCENARIOS {
        let mut scenario = smooth(seed);
        scenario.network.chunks = Chunks::Whole;
        let whole = events(&record_scenario(&scenario));
        for chunks in [Chunks::Single, Chunks::Tiny, Chunks::Any] {
            scenario.network.chunks = chunks;
            let cut = events(&record_scenario(&scenario));
            assert!(cut == whole, "seed {seed}, {chunks:?}:\n{}", difference(&whole, &cut));
        }
    }
}

#[test]
fn extra_ticks_change_not_a_single_byte() {
    for seed in 0..SCENARIOS {
        let mut scenario = record(seed, &Settings::default()).scenario;
        // A node that stood still is late, and a tick is what it waits for. One whose clock is set back goes by the latest time that it
        // has read, and a tick lets it read.
        scenario.steps.retain(|step| !matches!(step, Step::Freeze { .. } | Step::ClockBack { .. }));
        let restless = record_scenario_in(&scenario, Variation { restless: true, ..Variation::default() });
        let calm = record_scenario(&scenario);
        let difference = difference(&events(&calm), &events(&restless));
        assert_eq!(restless.outcome, calm.outcome, "seed {seed}:\n{}{difference}", scenario.setting());
    }
}

#[test]
fn commands_at_one_instant_may_be_given_together_or_one_by_one() {
    for seed in 0..SCENARIOS {
        let mut scenario = smooth(seed);
        // How many bytes are under way depends on what is sent together.
        scenario.network.buffer = 1 << 20;
        scenario.steps.retain(is_said_or_passes);
        let one_by_one = events(&record_scenario(&scenario));
        let together = events(&record_scenario_in(&scenario, Variation { lazy: true, ..Variation::default() }));
        assert!(together == one_by_one, "seed {seed}:\n{}", difference(&one_by_one, &together));
    }
}

/// What goes wrong at the very instant of a command comes before its effect or after it, and that makes a difference.
fn is_said_or_passes(step: &Step) -> bool {
    matches!(step, Step::Wait(_) | Step::Ask { .. } | Step::Notify { .. } | Step::Answer { .. } | Step::Heal)
}

/// A drawn scenario on links without jitter, which is drawn for each chunk, without anything that measures bytes, and with places enough
/// for everybody: who finds the last one taken is a matter of which byte comes first.
fn smooth(seed: u64) -> Scenario {
    let mut scenario = record(seed, &Settings::default()).scenario;
    scenario.network = Network { jitter: Duration::ZERO, bandwidth: None, ..scenario.network };
    for setup in &mut scenario.nodes {
        setup.config.throttle = Throttle::default();
        setup.config.limits = Limits::default();
    }
    scenario
}

/// What nodes did and were told, in lines, without what they noted for themselves: how many notes it makes depends on how the bytes
/// come. What happens at one instant is sorted: the order is chance's.
fn events(recording: &Recording) -> String {
    let names = recording.names();
    let told = recording.transcript.iter().filter(|entry| !matches!(entry.what, What::Noted { .. }));
    let mut lines: Vec<_> = told.map(|entry| (entry.at, names.line(entry))).collect();
    lines.sort();
    lines.dedup();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}
