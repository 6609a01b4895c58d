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
    let told = text(&output.stderr);
    assert!(
        output.status.success() && told.ends_with(" hours were simulated\n") && told.lines().count() == 1,
        "{told}"
    );
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

/// A file of this name with this text, in the directory for what tests write.
fn file(name: &str, text: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("the directory for tests can be written");
    path.display().to_string()
}

#[test]
fn a_script_is_played_and_says_what_is_not_as_expected() {
    let good =
        file("good.txt", "> node alice\n> node bob\n> ask alice bob echo\n> wait 1s\n> expect alice queries=0\n");
    let output = run(&["--script", &good, "--trace"]);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    assert!(out.contains("alice    has the verdict of #0: reply, 8 bytes\n"), "{out}");
    assert!(out.trim_end().ends_with("  seeds: 1  queries: 1  verdicts: 1  violations: 0"), "{out}");

    let bad = file("bad.txt", "> node alice\n> expect alice queries=1\n");
    let output = run(&["--script", &bad]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "broken at 0.000000s: alice was expected to have queries=1 and has 0\n");
}

#[test]
fn a_script_that_cannot_be_read_ends_with_two_and_names_line_and_word() {
    let script = file("malformed.txt", "> node alice\n> crash bob\n");
    let output = run(&["--script", &script]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("line 2: \"bob\" will not do, but one of alice. Nothing was played."), "{told}");
    for arguments in [&["--script", "/no/such/file"][..], &["--script", &script, "--seed", "3"], &[]] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
