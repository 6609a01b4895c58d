//! `egtp serve` in one process, `egtp ask` in another.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use common::{Finished, LONG, Proxy, TestDir, dead_address, feed, lines, noise, number_member, text_member};
use rustix::process::Signal;

const NOTHING: [&str; 0] = [];

#[test]
fn bodies_of_every_size_come_back_byte_for_byte_between_any_two_drivers() {
    let dir = TestDir::new();
    for serving in ["poll", "tokio"] {
        let server = dir.serve(["--driver", serving]);
        for asking in ["poll", "tokio"] {
            for length in [0, 1, 64 << 10, 1 << 20, 4_000_000] {
                dir.write("body", noise(length));
                let asked = dir.egtp(["ask", &server.contact, "echo", "--driver", asking, "--body-file", "body"]);
                asked.assert_done();
                assert!(asked.stdout == noise(length), "{asking} to {serving}, {length} bytes");
            }
        }
    }
}

#[test]
fn one_byte_more_than_a_body_holds_is_refused_here() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    dir.write("body", noise(4_000_001));
    let asked = dir.egtp(["ask", &server.contact, "echo", "--body-file", "body", "--json"]);
    asked.assert_failed("refused-here");
    assert_eq!(asked.text(), "{\"event\":\"failed\",\"reason\":\"refused-here\",\"executed\":\"no\"}\n");
    assert!(asked.stderr.contains("4,000,000"), "{}", asked.stderr);
}

#[test]
fn the_first_line_of_serve_says_who_where_and_how_in_one_word() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    let (node, address, contact) = (&server.node, &server.address, &server.contact);
    let expected =
        format!("{{\"event\":\"listening\",\"node\":\"{node}\",\"addr\":\"{address}\",\"contact\":\"{contact}\"}}\n");
    assert_eq!(server.line, expected);
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    assert!(contact.starts_with("egtp:") && !contact.contains(char::is_whitespace));
    assert_eq!(dir.egtp(["id"]).text().trim_end(), node);
}

#[test]
fn a_ping_has_an_empty_reply_and_an_unknown_type_a_refusal() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    let ping = dir.egtp(["ask", &server.contact, "ping", "whatever"]);
    ping.assert_done();
    assert!(ping.stdout.is_empty());
    let unknown = dir.egtp(["ask", &server.contact, "no-such-type", "--json"]);
    unknown.assert_failed("refused-by-peer");
    assert!(unknown.text().starts_with("{\"event\":\"failed\",\"reason\":\"refused-by-peer\",\"executed\":\"no\"}"));
}

#[test]
fn a_peer_is_found_by_its_id_in_the_peers_file() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    dir.write("peers", format!("{}\n", server.contact));
    let asked = dir.egtp(["ask", &server.node, "echo", "hello", "--peers", "peers"]);
    asked.assert_done();
    assert_eq!(asked.text(), "hello");
}

#[test]
fn with_json_the_body_goes_to_the_named_file_only() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    dir.write("out", "what was there before, longer than the reply");
    let asked = dir.egtp(["ask", &server.contact, "echo", "hello", "--json", "--out", "out"]);
    asked.assert_done();
    assert!(asked.text().starts_with("{\"event\":\"reply\",\"bytes\":5,\"ms\":"), "{}", asked.text());
    assert!(asked.text().ends_with(",\"via\":\"direct\"}\n"), "{}", asked.text());
    assert_eq!(std::fs::read(dir.path("out")).unwrap(), b"hello");
    let without_file = dir.egtp(["ask", &server.contact, "echo", "hello", "--json"]);
    assert!(without_file.text().starts_with("{\"event\":\"reply\""), "{}", without_file.text());
}

#[test]
fn a_failure_leaves_the_named_file_as_it_was() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    dir.write("old", "old");
    for out in ["old", "new"] {
        dir.egtp(["ask", &server.contact, "none", "--out", out]).assert_failed("refused-by-peer");
    }
    assert_eq!(std::fs::read(dir.path("old")).unwrap(), b"old");
    assert!(!dir.path("new").exists());
}

#[test]
fn a_body_can_come_from_standard_input() {
    let dir = TestDir::new();
    let server = dir.serve(NOTHING);
    let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
    command.args(["ask", &server.contact, "echo", "--body-file", "-"]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    feed(&mut child, b"from a pipe");
    assert_eq!(Finished::wait(child).stdout, b"from a pipe");
}

#[test]
fn a_dead_port_is_reported_at_once() {
    let dir = TestDir::new();
    let dead = dead_address();
    let contact = dir.serve(["--announce", &dead]).contact.clone();
    for driver in ["poll", "tokio"] {
        let asked = dir.egtp(["ask", &contact, "echo", "--json", "--driver", driver]);
        asked.assert_failed("unreachable");
        assert_eq!(text_member(asked.text(), "executed").as_deref(), Some("no"));
        let tried = format!(",\"tried\":[{{\"strategy\":\"{dead}\",\"result\":\"refused\",\"ms\":");
        assert!(asked.text().contains(&tried), "{}", asked.text());
        assert!(asked.stderr.starts_with(&format!("egtp: tried {dead} for ")), "{}", asked.stderr);
        assert!(asked.took < Duration::from_secs(1), "{:?}", asked.took);
    }
}

#[test]
fn when_the_server_is_killed_the_outstanding_query_fails_at_once() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        // The command says through a file that the query has arrived.
        let server =
            dir.serve(["--driver", driver, "--on", "wait=echo > arrived.tmp; mv arrived.tmp arrived; exec sleep 2"]);
        let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
        command.args(["ask", &server.contact, "wait", "--json", "--driver", driver]);
        let asking = command.spawn().unwrap();
        wait_for_file(&dir, "arrived");
        server.signal(Signal::KILL);
        let asked = Finished::wait(asking);
        asked.assert_failed("unreachable");
        assert_eq!(text_member(asked.text(), "executed").as_deref(), Some("maybe"));
        assert!(asked.text().contains(&format!("\"strategy\":\"{}\",\"result\":\"refused\"", server.address)));
        assert!(asked.took < Duration::from_secs(1), "{:?}", asked.took);
        std::fs::remove_file(dir.path("arrived")).unwrap();
    }
}

#[test]
fn a_query_whose_connection_is_cut_is_answered_over_another_and_runs_once() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let proxy = Proxy::bind();
        let slow = "slow=echo run >> runs; sleep 0.5; cat";
        let server = dir.serve(["--driver", driver, "--announce", &proxy.address, "--on", slow]);
        proxy.pass_on_to(&server.address, 0);
        let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
        command.args(["ask", &server.contact, "slow", "hello", "--driver", driver]);
        let asking = command.spawn().unwrap();
        wait_for_file(&dir, "runs");
        proxy.cut();
        let asked = Finished::wait(asking);
        asked.assert_done();
        assert_eq!(asked.text(), "hello");
        assert_eq!(proxy.passed_on(), 2, "it took a second connection");
        assert_eq!(std::fs::read(dir.path("runs")).unwrap(), b"run\n");
        std::fs::remove_file(dir.path("runs")).unwrap();
    }
}

#[test]
fn a_server_that_closes_at_once_is_tried_again() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let proxy = Proxy::bind();
        let server = dir.serve(["--announce", &proxy.address]);
        proxy.pass_on_to(&server.address, 2);
        let asked = dir.egtp(["ask", &server.contact, "echo", "hello", "--driver", driver]);
        asked.assert_done();
        assert_eq!(asked.text(), "hello");
        // The second pause is twice the first one, each by chance a little shorter or longer.
        assert!(asked.took > Duration::from_millis(500), "{:?}", asked.took);
    }
}

#[test]
fn a_server_that_goes_on_closing_at_once_is_tried_until_the_deadline() {
    let dir = TestDir::new();
    let proxy = Proxy::bind();
    let server = dir.serve(["--announce", &proxy.address]);
    proxy.pass_on_to(&server.address, usize::MAX);
    let asked = dir.egtp(["ask", &server.contact, "echo", "--hard", "1s", "--json"]);
    asked.assert_failed("hard-timeout");
    assert_eq!(text_member(asked.text(), "executed").as_deref(), Some("no"));
    assert!(asked.text().matches("\"result\":\"turned-away\"").count() >= 2, "{}", asked.text());
}

#[test]
fn ten_processes_with_one_key_are_each_told_their_own() {
    let dir = TestDir::new();
    dir.egtp(["keygen", "--key", "asker"]).assert_done();
    for driver in ["poll", "tokio"] {
        let mut server = dir.serve(["--driver", driver, "--events", "--on", "slow=sleep 0.2; cat"]);
        let ask = |number: u32| {
            let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
            command.args(["ask", &server.contact, "slow", &number.to_string(), "--key", "asker"]);
            command.spawn().unwrap()
        };
        let asking: Vec<_> = (0..10).map(ask).collect();
        for (number, asking) in (0..).zip(asking) {
            let asked = Finished::wait(asking);
            asked.assert_done();
            assert_eq!(asked.text(), number.to_string());
        }
        let events: Vec<_> = (0..20).map(|_| text_member(&server.next_line(), "event").unwrap()).collect();
        for kind in ["query", "reply"] {
            assert_eq!(events.iter().filter(|event| *event == kind).count(), 10, "{events:?}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait().text(), "", "each query has run once");
    }
}

#[test]
fn when_the_server_is_frozen_both_timeouts_fire_at_their_times() {
    let dir = TestDir::new();
    for driver in ["poll", "tokio"] {
        let server = dir.serve(["--driver", driver]);
        server.signal(Signal::STOP);
        let asked = dir.egtp([
            "ask",
            &server.contact,
            "echo",
            "--soft",
            "300ms",
            "--hard",
            "900ms",
            "--json",
            "--driver",
            driver,
        ]);
        asked.assert_failed("hard-timeout");
        let events: Vec<_> = asked.text().lines().collect();
        assert_eq!(events.len(), 2, "{}", asked.text());
        assert_eq!(events[0], "{\"event\":\"soft-timeout\"}");
        assert!(events[1].starts_with("{\"event\":\"failed\",\"reason\":\"hard-timeout\""), "{}", events[1]);
        assert!(asked.stderr.lines().next().is_some_and(|line| line.contains("300ms")), "{}", asked.stderr);
        assert!((Duration::from_millis(900)..Duration::from_secs(10)).contains(&asked.took), "{:?}", asked.took);
    }
}

#[test]
fn a_reply_after_the_soft_timeout_is_as_good_as_any() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "slow=sleep 0.6; cat"]);
    let asked = dir.egtp(["ask", &server.contact, "slow", "late", "--soft", "200ms"]);
    assert_eq!((asked.code, asked.text()), (Some(0), "late"));
    assert_eq!(asked.stderr.lines().count(), 1, "{}", asked.stderr);
}

#[test]
fn an_interrupted_query_is_cancelled() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "wait=sleep 30"]);
    let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
    command.args(["ask", &server.contact, "wait", "--soft", "100ms", "--json"]);
    let mut asking = command.spawn().unwrap();
    let events = lines(asking.stdout.take().unwrap());
    assert_eq!(events.recv_timeout(LONG).unwrap(), "{\"event\":\"soft-timeout\"}");
    rustix::process::kill_process(common::pid(&asking), Signal::INT).unwrap();
    Finished::wait(asking).assert_failed("cancelled");
    assert!(events.recv_timeout(LONG).unwrap().contains("\"reason\":\"cancelled\""));
}

#[test]
fn throttled_nodes_still_deliver() {
    let dir = TestDir::new();
    let server = dir.serve(["--up", "200k", "--down", "200k"]);
    dir.write("body", noise(100_000));
    let asked = dir.egtp(["ask", &server.contact, "echo", "--body-file", "body"]);
    asked.assert_done();
    assert!(asked.stdout == noise(100_000));
}

#[test]
fn the_time_of_a_reply_is_in_milliseconds() {
    let dir = TestDir::new();
    let server = dir.serve(["--on", "slow=sleep 0.3"]);
    let asked = dir.egtp(["ask", &server.contact, "slow", "--json"]);
    assert!(number_member(asked.text(), "ms").is_some_and(|ms| (300..30_000).contains(&ms)), "{}", asked.text());
}

fn wait_for_file(dir: &TestDir, name: &str) {
    for _ in 0..6000 {
        if dir.path(name).exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{name} does not appear");
}
