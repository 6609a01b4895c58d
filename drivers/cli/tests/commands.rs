//! The commands of `--on`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::process::Child;
use std::time::Duration;

use common::{Finished, Server, TestDir, lines, noise};
use rustix::process::{Signal, kill_process};

fn ask(dir: &TestDir, server: &Server, rest: &[&str]) -> Finished {
    dir.egtp([&["ask", server.contact.as_str()], rest].concat())
}

fn ask_beside(dir: &TestDir, server: &Server, rest: &[&str]) -> Child {
    dir.command(env!("CARGO_BIN_EXE_egtp")).args(["ask", server.contact.as_str()]).args(rest).spawn().unwrap()
}

#[test]
fn a_command_gets_the_body_and_answers_with_its_output() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "shout=tr a-z A-Z", "--on", "same=cat"]);
    assert_eq!(ask(&dir, &server, &["shout", "hello"]).text(), "HELLO");
    dir.write("body", noise(4_000_000));
    assert!(ask(&dir, &server, &["same", "--body-file", "body"]).stdout == noise(4_000_000));
}

#[test]
fn a_command_knows_the_type_and_the_authenticated_peer() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "who=printf '%s %s' \"$EGTP_TYPE\" \"$EGTP_PEER\""]);
    let id = dir.egtp(["keygen", "--key", "asker"]).text().trim_end().to_owned();
    assert_eq!(ask(&dir, &server, &["who", "--key", "asker"]).text(), format!("who {id}"));
}

#[test]
fn a_command_that_fails_refuses_the_query() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "no=echo something; exit 3"]);
    let asked = ask(&dir, &server, &["no"]);
    asked.assert_failed("refused-by-peer");
    assert!(asked.stdout.is_empty());
}

#[test]
fn a_slow_command_delays_nobody_else() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let server = dir.serve(["--driver", driver, "--on", "slow=echo $$; exec sleep 20"]);
        let mut slow = ask_beside(&dir, &server, &["slow", "--soft", "200ms"]);
        // The soft timeout says that the command is under way.
        let said = lines(slow.stderr.take().unwrap()).recv_timeout(common::LONG).unwrap();
        assert!(said.contains("200ms"), "{said}");
        let echo = ask(&dir, &server, &["echo", "hello"]);
        echo.assert_done();
        assert!(echo.took < Duration::from_secs(10), "{:?}", echo.took);
        slow.kill().unwrap();
        slow.wait().unwrap();
    }
}

#[test]
fn beyond_the_limit_a_query_waits_until_a_command_has_ended() {
    let dir = TestDir::new();
    let server = dir.serve(["--on-limit", "1", "--on", "slow=sleep 0.3; cat"]);
    let asking = ["one", "two", "three"].map(|body| (body, ask_beside(&dir, &server, &["slow", body])));
    for (body, asking) in asking {
        let asked = Finished::wait(asking);
        asked.assert_done();
        assert_eq!(asked.text(), body);
    }
}

#[test]
fn beyond_the_limit_at_its_deadline_the_peer_is_busy() {
    let dir = TestDir::new();
    let server = dir.serve(["--on-limit", "1", "--on", "slow=sleep 20"]);
    let mut slow = ask_beside(&dir, &server, &["slow", "--soft", "200ms"]);
    let said = lines(slow.stderr.take().unwrap()).recv_timeout(common::LONG).unwrap();
    assert!(said.contains("200ms"), "{said}");
    let second = ask(&dir, &server, &["slow", "--hard", "1s"]);
    second.assert_failed("refused-by-peer");
    assert!(second.stderr.contains("too many queries"), "{}", second.stderr);
    slow.kill().unwrap();
    slow.wait().unwrap();
}

#[test]
fn output_longer_than_a_body_is_refused_and_the_command_killed() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "flood=echo $$ > pid; exec cat /dev/zero"]);
    ask(&dir, &server, &["flood"]).assert_failed("refused-by-peer");
    wait_until_dead(&dir);
}

#[test]
fn a_command_is_killed_at_the_deadline_of_its_query() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "slow=echo $$ > pid; exec sleep 1000"]);
    ask(&dir, &server, &["slow", "--hard", "500ms"]).assert_failed("hard-timeout");
    wait_until_dead(&dir);
}

#[test]
fn a_command_is_killed_when_the_server_is_ended() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let server = dir.serve(["--driver", driver, "--on", "slow=echo $$ > pid; exec sleep 1000"]);
        let mut slow = ask_beside(&dir, &server, &["slow", "--soft", "300ms"]);
        let said = lines(slow.stderr.take().unwrap());
        assert!(said.recv_timeout(common::LONG).unwrap().contains("300ms"));
        server.signal(Signal::TERM);
        let ended = server.wait();
        assert_eq!(ended.code, Some(0));
        assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
        assert_eq!(Finished::wait(slow).code, Some(1));
        // It has begun to run, and so must not be asked again.
        let verdict = said.recv_timeout(common::LONG).unwrap();
        assert!(verdict.contains("refused-by-peer") && verdict.contains("may have been executed"), "{verdict}");
        wait_until_dead(&dir);
        std::fs::remove_file(dir.path("pid")).unwrap();
    }
}

/// Waits until the process that wrote its id to the file `pid` is gone.
fn wait_until_dead(dir: &TestDir) {
    let text = std::fs::read_to_string(dir.path("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(text.trim().parse().unwrap()).unwrap();
    for _ in 0..3000 {
        if rustix::process::test_kill_process(pid).is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = kill_process(pid, Signal::KILL);
    panic!("the command is still there");
}
