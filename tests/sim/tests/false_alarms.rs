//! Scenarios in which nothing is wrong, and in which a check once said that something was.

use std::fs;

use egtp_sim::scenario::Scenario;
use egtp_sim::storm::record_scenario;

#[test]
fn what_is_not_wrong_is_not_said_to_be() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/false_alarms");
    let mut wrong = Vec::new();
    let mut scenarios = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let scenario: Scenario = fs::read_to_string(&path).unwrap().parse().unwrap();
        wrong.extend(
            record_scenario(&scenario).broken().into_iter().map(|broken| format!("{}: {broken}", path.display())),
        );
        scenarios += 1;
    }
    assert!(scenarios > 0);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
