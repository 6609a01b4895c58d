//! The specification by scenario: every script in `tests/scripts` plays as it is written.
//!
//! A script that is new, or whose transcript is to change, is written by
//!
//! ```text
//! EGTP_REWRITE=1 cargo test -p egtp-sim --test scripts
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::PathBuf;

use egtp_sim::script::{difference, replay};

/// Every script: its path and its text, by name.
fn scripts() -> Vec<(PathBuf, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_script_plays_as_it_is_written() {
    let rewrites = std::env::var_os("EGTP_REWRITE").is_some();
    let mut wrong = Vec::new();
    for (path, script) in scripts() {
        let played = match replay(&script) {
            Ok(played) => played,
            Err(malformed) => {
                wrong.push(format!("{}: {malformed}\n", path.display()));
                continue;
            }
        };
        if played.contains("\nbroken at ") {
            wrong.push(format!("{} breaks a promise:\n{}", path.display(), difference(&script, &played)));
        } else if played != script && rewrites {
            fs::write(path, played).unwrap();
        } else if played != script {
            wrong.push(format!("{} (-) plays otherwise (+):\n{}", path.display(), difference(&script, &played)));
        }
    }
    assert!(wrong.is_empty(), "{}EGTP_REWRITE=1 takes the new transcripts for right", wrong.join("\n"));
}

#[test]
fn every_script_says_which_promise_it_shows() {
    let scripts = scripts();
    assert!(scripts.len() > 20);
    for (path, script) in scripts {
        let cites = script.lines().take_while(|line| line.starts_with('#')).any(|line| line.starts_with("# Promise: "));
        assert!(cites, "{} does not begin with a comment that has \"# Promise: \"", path.display());
    }
}
