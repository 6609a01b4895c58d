//! What must not make a difference: the same scenario, played in another manner, has the same transcript.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use egtp::Throttle;
use egtp_sim::Chunks;
use egtp_sim::scenario::Scenario;
use egtp_sim::script::difference;
use egtp_sim::storm::{Recording, Settings, record, record_scenario};

/// So many scenarios are drawn.
const SCENARIOS: u64 = 60;

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

/// A drawn scenario on links without jitter, which is drawn for each chunk, and without throttles, which measure them.
fn smooth(seed: u64) -> Scenario {
    let mut scenario = record(seed, &Settings::default()).scenario;
    scenario.network.jitter = Duration::ZERO;
    for setup in &mut scenario.nodes {
        setup.config.throttle = Throttle::default();
    }
    scenario
}

/// What happened, in lines. What happens at one instant is sorted: the order is chance's. What is noted again and again at one
/// instant is said once: how many notes it makes depends on how the bytes come.
fn events(recording: &Recording) -> String {
    let names = recording.names();
    let mut lines: Vec<_> = recording.transcript.iter().map(|entry| (entry.at, names.line(entry))).collect();
    lines.sort();
    lines.dedup();
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}
