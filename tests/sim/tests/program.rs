//! The program `egtp-sim`, as a person runs it.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_egtp-sim")).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_last_line_says_what_came_of_it_and_is_the_same_every_time() {
    let output = run(&["--seed", "11", "--seeds", "6"]);
    let out = text(&output.stdout);
    let words: Vec<&str> = out.trim_end().split("  ").collect();
    let [digest, "seeds: 6", queries, verdicts, "violations: 0"] = words[..] else { panic!("{out}") };
    assert_eq!(digest.strip_prefix("digest: ").map(str::len), Some(40), "{out}");
    assert!(queries.starts_with("queries: ") && verdicts.starts_with("verdicts: "), "{out}");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    assert_eq!(text(&run(&["--seed", "11", "--seeds", "6"]).stdout), out);
    assert_ne!(text(&run(&["--seed", "12", "--seeds", "6"]).stdout), out);
}

#[test]
fn impossible_settings_end_with_two_and_are_named() {
    let impossible: [&[&str]; 8] = [
        &["--nodes", "1"],
        &["--nodes", "many"],
        &["--hours", "0"],
        &["--hours", "-1"],
        &["--hours", "inf"],
        &["--seeds", "0"],
        &["--trace", "--seeds", "2"],
        &["--svg", "/no/such/directory/storm.svg"],
    ];
    for settings in impossible {
        let output = run(&[&["--seed", "1"], settings].concat());
        assert_eq!(output.status.code(), Some(2), "{settings:?}");
        let told = text(&output.stderr);
        assert!(told.contains(settings[0]), "{settings:?}: {told}");
        assert!(output.stdout.is_empty(), "{settings:?}");
    }
}

#[test]
fn a_trace_tells_of_every_query() {
    let out = text(&run(&["--seed", "3", "--trace"]).stdout);
    assert!(out.contains(" asks bob #") && out.contains(" has the verdict of #"), "{out}");
    assert!(out.trim_end().lines().last().unwrap().starts_with("digest: "), "{out}");
}
