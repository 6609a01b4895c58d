//! Wrong usage: one line that names the argument, exit code 2, nothing done.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::TestDir;

const ID: &str = "yryonyebyryonyebyryonyebyryonyeb";

#[test]
fn a_wrong_argument_is_named() {
    let dir = TestDir::new();
    let ask = |rest: &[&'static str]| [&["ask", ID, "echo"], rest].concat();
    for (arguments, named) in [
        (vec![], "no command"),
        (vec!["frobnicate"], "frobnicate"),
        (vec!["ask", "nobody", "echo"], "<PEER>"),
        (vec!["ask", "egtp:nonsense", "echo"], "<PEER>"),
        (vec!["ask", ID, "a type"], "<TYPE>"),
        (vec!["ask", ID], "<TYPE>"),
        (ask(&["--soft", "soon"]), "--soft"),
        (ask(&["--hard", "5"]), "--hard"),
        (ask(&["--hard", "0s"]), "--hard"),
        (ask(&["--hard", "3601s"]), "--hard"),
        (ask(&["--hard", "2h"]), "--hard"),
        (ask(&["--soft", "2s", "--hard", "2s"]), "--soft"),
        (ask(&["--soft", "3s", "--hard", "2s"]), "--soft"),
        (ask(&["--driver", "epoll"]), "--driver"),
        (vec!["serve", "--on", "echo"], "--on"),
        (vec!["serve", "--on", "a=cat", "--on", "a=tac"], "--on"),
        (vec!["serve", "--listen", "localhost"], "--listen"),
        (vec!["serve", "--announce", "0.0.0.0:1"], "--announce"),
        (vec!["serve", "--up", "fast"], "--up"),
        (vec!["serve", "--down", "0"], "--down"),
    ] {
        dir.egtp(&arguments).assert_refused(&[named]);
    }
}

#[test]
fn an_id_that_nobody_has_a_contact_for_is_named() {
    let dir = TestDir::new();
    dir.egtp(["ask", ID, "echo"]).assert_refused(&["<PEER>", ID, "--peers"]);
    dir.write("peers", "# nobody\n");
    dir.egtp(["ask", ID, "echo", "--peers", "peers"]).assert_refused(&["<PEER>", ID, "--peers"]);
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let dir = TestDir::new();
    let server = dir.serve([""; 0]);
    let ask = |rest: &[&str]| dir.egtp([&["ask", &server.contact, "echo"], rest].concat());
    ask(&["--body-file", "none"]).assert_refused(&["--body-file", "none"]);
    ask(&["--body-file", "."]).assert_refused(&["--body-file"]);
    ask(&["--out", "no/such/directory"]).assert_refused(&["--out", "no/such/directory"]);
    ask(&["--peers", "none"]).assert_refused(&["--peers", "none"]);
}

#[test]
fn a_bad_line_of_the_peers_file_is_named_or_skipped() {
    let dir = TestDir::new();
    let server = dir.serve([""; 0]);
    dir.write("peers", format!("# friends\n{}\nhello\n", server.contact));
    let ask = ["ask", &server.node, "echo", "hello", "--peers", "peers"];
    dir.egtp(ask).assert_refused(&["--peers", "line 3", "not a contact", "--skip-bad-lines"]);
    dir.egtp(["serve", "--peers", "peers"]).assert_refused(&["--peers", "line 3", "not a contact"]);
    let skipping = dir.egtp(ask.iter().chain(&["--skip-bad-lines"]));
    assert_eq!((skipping.code, skipping.text()), (Some(0), "hello"));
    assert!(skipping.stderr.contains("line 3"), "{}", skipping.stderr);
}

#[test]
fn help_and_version_are_no_errors() {
    let dir = TestDir::new();
    for arguments in [&["--help"][..], &["--version"], &["help"], &["serve", "--help"], &["ask", "--help"]] {
        let finished = dir.egtp(arguments);
        finished.assert_done();
        assert!(!finished.stdout.is_empty());
    }
}
