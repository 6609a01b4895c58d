//! What outlives `egtp serve`, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::time::Duration;

use common::{Finished, TestDir};
use rustix::process::Signal;

const NOTHING: [&str; 0] = [];

#[test]
fn both_signals_end_the_server_in_order() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        for signal in [Signal::TERM, Signal::INT] {
            let server = dir.serve(["--driver", driver]);
            server.signal(signal);
            // Whoever is impatient does not make it worse.
            server.signal(signal);
            let ended = server.wait();
            assert_eq!((ended.code, ended.text()), (Some(0), ""));
            assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        }
    }
}

#[test]
fn a_killed_server_starts_again_on_its_port_with_its_id_and_a_newer_contact() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let first = dir.serve(["--driver", driver]);
        dir.egtp(["ask", &first.contact, "echo", "hello"]).assert_done();
        first.signal(Signal::KILL);
        let (node, address, contact) = (first.node.clone(), first.address.clone(), first.contact.clone());
        first.wait();
        let second = dir.serve(["--driver", driver, "--listen", &address]);
        assert_eq!((&second.node, &second.address), (&node, &address));
        assert_ne!(second.contact, contact, "the sequence number is a higher one");
        // The older contact names the same address.
        assert_eq!(dir.egtp(["ask", &contact, "echo", "hello"]).text(), "hello");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    for driver in ["poll", "tokio"] {
        let second = dir.egtp(["serve", "--state", "other", "--listen", &server.address, "--driver", driver]);
        second.assert_refused(&["--listen", &server.address]);
    }
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let dir = TestDir::new();
    let _server = dir.serve(NOTHING);
    dir.egtp(["serve"]).assert_refused(&["--state", "key.state", "in use"]);
}

#[test]
fn damaged_or_newer_state_is_refused_and_left_alone() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    server.signal(Signal::TERM);
    server.wait();
    let file = dir.path("egtp/key.state/sequence");
    assert!(file.exists());
    for (bytes, mentioned) in [("damaged", "damaged"), ("egtp-state-2 sequence", "version")] {
        fs::write(&file, bytes).unwrap();
        dir.egtp(["serve"]).assert_refused(&["--state", "sequence", mentioned]);
        assert_eq!(fs::read(&file).unwrap(), bytes.as_bytes());
    }
}

#[test]
fn a_full_disk_is_refused_and_leaves_the_state_as_it_was() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    server.signal(Signal::TERM);
    server.wait();
    let before = fs::read(dir.path("egtp/key.state/sequence")).unwrap();
    let mut command = dir.command("/bin/sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" serve --json", env!("CARGO_BIN_EXE_egtp")]);
    Finished::wait(command.spawn().unwrap()).assert_refused(&["--state", "sequence", "unharmed"]);
    assert_eq!(fs::read(dir.path("egtp/key.state/sequence")).unwrap(), before);
}

#[test]
fn the_first_use_makes_a_key_and_says_so() {
    let dir = TestDir::new();
    let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
    let mut child = command.args(["serve", "--json"]).spawn().unwrap();
    let said = common::lines(child.stderr.take().unwrap()).recv_timeout(common::LONG).unwrap();
    assert!(said.contains("new identity") && said.contains("egtp/key"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(dir.path("egtp/key").exists());
}

#[test]
fn a_closed_standard_output_does_not_stop_the_server() {
    let dir = TestDir::new();
    let mut server = dir.serve(["--events"]);
    server.close_stdout();
    for _ in 0..3 {
        dir.egtp(["ask", &server.contact, "echo", "hello"]).assert_done();
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code, Some(0));
}

#[test]
fn a_blocked_standard_output_stops_neither_the_server_nor_its_end() {
    let dir = TestDir::new();
    let server = dir.serve(["--events"]);
    // Nobody reads the lines, two of some hundred bytes for each query, and the pipe holds few of them.
    rustix::pipe::fcntl_setpipe_size(server.stdout_pipe(), 4096).unwrap();
    for _ in 0..40 {
        dir.egtp(["ask", &server.contact, "echo", "hello"]).assert_done();
    }
    server.signal(Signal::TERM);
    let ended = server.wait_unread();
    assert_eq!(ended.code, Some(0));
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
}

#[test]
fn events_are_further_lines() {
    let dir = TestDir::new();
    let mut server = dir.serve(["--events"]);
    let asker = dir.egtp(["keygen", "--key", "asker"]).text().trim_end().to_owned();
    dir.egtp(["ask", &server.contact, "echo", "hello", "--key", "asker"]).assert_done();
    let query = format!("{{\"event\":\"query\",\"peer\":\"{asker}\",\"type\":\"echo\",\"bytes\":5}}\n");
    assert_eq!(server.next_line(), query);
    assert_eq!(server.next_line(), query.replace("query", "reply"));
}
