//! Every input in the corpora, through the body of its fuzz target.
//!
//! The name of an input says what becomes of it: the core takes something of what is called `taken-...`, and nothing of what is called
//! `refused-...`. With `EGTP_REWRITE=1` in the environment inputs are given the names that are right now.

use std::fs;
use std::path::{Path, PathBuf};

use egtp_tests::fuzzing::{Outcome, TARGETS, Target};

const TAKEN: &str = "taken-";
const REFUSED: &str = "refused-";

/// As many characters of a name as tell inputs apart.
const NAME: usize = 12;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpora")
}

/// The inputs in a folder, in the order of their names. One that is missing or empty is a fault.
fn inputs(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut inputs: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder is read").path()).collect();
    inputs.retain(|input| input.is_file());
    inputs.sort();
    if inputs.is_empty() { Err(format!("{}: there are no inputs here", folder.display())) } else { Ok(inputs) }
}

fn named(input: &Path) -> &str {
    input.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The prefix of inputs of which this becomes.
fn prefix(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Taken => TAKEN,
        Outcome::Refused | Outcome::Unreadable => REFUSED,
    }
}

/// What is wrong with an input that the body of its target runs through.
fn fault(name: &str, outcome: Outcome) -> Option<String> {
    if outcome == Outcome::Unreadable {
        Some("it can no longer be read as an input of its target".to_owned())
    } else if !name.starts_with(prefix(outcome)) {
        Some(format!("it should be called {}...", prefix(outcome)))
    } else {
        None
    }
}

fn rename(input: &Path, outcome: Outcome) {
    let name = named(input);
    let name = name.strip_prefix(TAKEN).or(name.strip_prefix(REFUSED)).unwrap_or(name);
    let name = format!("{}{}", prefix(outcome), name.get(..NAME).unwrap_or(name));
    fs::rename(input, input.with_file_name(name)).expect("an input is renamed");
}

fn replay(name: &str) {
    let target = target(name);
    let inputs = inputs(&corpora().join(name)).unwrap_or_else(|problem| panic!("{problem}"));
    let (mut faults, mut taken) = (Vec::new(), 0);
    for input in &inputs {
        let bytes = fs::read(input).unwrap_or_else(|error| panic!("{}: {error}", input.display()));
        // If the body panics, the last line that the test has printed says on which input.
        println!("{}", input.display());
        let outcome = (target.run)(&bytes);
        taken += usize::from(outcome == Outcome::Taken);
        if std::env::var_os("EGTP_REWRITE").is_some() && outcome != Outcome::Unreadable {
            rename(input, outcome);
        } else {
            faults.extend(fault(named(input), outcome).map(|fault| format!("{}: {fault}", input.display())));
        }
    }
    assert!(faults.is_empty(), "{} of {} inputs are at fault:\n{}", faults.len(), inputs.len(), faults.join("\n"));
    assert!(taken > 0, "{name}: the core takes nothing of any input");
}

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}

#[test]
fn the_corpus_of_frame_holds() {
    replay("frame");
}

#[test]
fn the_corpus_of_message_holds() {
    replay("message");
}

#[test]
fn the_corpus_of_record_holds() {
    replay("record");
}

#[test]
fn the_corpus_of_handshake_holds() {
    replay("handshake");
}

#[test]
fn the_corpus_of_hostile_holds() {
    replay("hostile");
}

#[test]
fn the_corpus_of_session_holds() {
    replay("session");
}

#[test]
fn the_corpus_of_world_holds() {
    replay("world");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut targets: Vec<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    targets.sort_unstable();
    let folders = fs::read_dir(corpora()).expect("the corpora are here");
    let mut folders: Vec<String> =
        folders.map(|folder| named(&folder.expect("a folder is read").path()).to_owned()).collect();
    folders.sort_unstable();
    assert_eq!(folders, targets);
}

#[test]
fn a_corpus_that_is_missing_or_empty_is_a_fault() {
    assert!(inputs(&corpora().join("nowhere")).is_err_and(|problem| problem.contains("nowhere")));
    // There are only folders in it.
    assert!(inputs(&corpora()).is_err_and(|problem| problem.contains("there are no inputs")));
}

#[test]
fn an_input_of_which_something_else_becomes_is_a_fault() {
    assert_eq!(fault("taken-1", Outcome::Taken), None);
    assert_eq!(fault("refused-1", Outcome::Refused), None);
    assert!(fault("taken-1", Outcome::Refused).is_some());
    assert!(fault("refused-1", Outcome::Taken).is_some());
    assert!(fault("refused-1", Outcome::Unreadable).is_some());
    assert_eq!((target("hostile").run)(&[]), Outcome::Unreadable);
}
