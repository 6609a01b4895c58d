//! What a session says over which path, and what it makes of silence.

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};
use crate::session::PathId;
use crate::wire::code::RefuseCode;
use crate::wire::frame::{Frame, RunsBuffer};

fn id(bench: &Bench, path: usize) -> PathId {
    bench.paths[path].id
}

fn is_heard(bench: &Bench, end: usize, path: usize) -> bool {
    bench.ends[end].session.is_heard_on(id(bench, path))
}

#[test]
fn nothing_but_ping_goes_where_the_peer_was_not_heard() {
    let mut bench = Bench::new();
    let path = bench.join();
    bench.cut(0);
    bench.ask(A, 10);
    bench.ask(B, 10);
    for end in [A, B] {
        bench.ends[end].main = Some(path);
        bench.send(end);
        assert_eq!(bench.flight(end, path), ["PING"]);
    }
    bench.deliver_one(A, path);
    assert!(is_heard(&bench, B, path) && !is_heard(&bench, A, path));
    bench.send(B);
    assert!(bench.flight(B, path)[1].ends_with("QUERY 0"));
    bench.settle();
    assert!(matches!(bench.heard(A)[..], [Heard::Asked(0, _)]));
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _)]));
}

#[test]
fn nothing_is_said_over_a_path_where_the_session_is_not_known() {
    type Act = fn(&mut Bench, usize);
    let acts: [Act; 2] = [
        |bench, path| bench.ends[A].session.stale(bench.paths[path].id),
        |bench, _| {
            bench.sleep(4 * SEC - MS);
            assert!(!bench.ends[A].session.is_idle());
            bench.sleep(MS);
        },
    ];
    for act in acts {
        let mut bench = Bench::new();
        let path = bench.join();
        bench.send(A);
        bench.steal(A, path);
        act(&mut bench, path);
        bench.sleep(SEC);
        let lane = &bench.ends[A].session;
        assert!(lane.is_idle() && !lane.is_doubted(), "neither the session nor the path is judged by it");
        assert_eq!((lane.silence(id(&bench, path)), lane.waiting_since(id(&bench, path))), (None, None));
        assert_eq!(bench.says(A, path), [""; 0]);
        bench.cut_at(A, 0);
        assert!(bench.ends[A].session.is_doubted(), "there is no other path");

        bench.send(B);
        bench.deliver(B);
        assert!(is_heard(&bench, A, path) && !bench.ends[A].session.is_doubted());
    }
}

#[test]
fn a_path_on_which_it_was_heard_is_not_unlearned_by_a_hint() {
    let mut bench = Bench::new();
    bench.ends[A].session.stale(id(&bench, 0));
    bench.ask(A, 10);
    assert_eq!(bench.says(A, 0), ["QUERY 0"]);
}

#[test]
fn the_first_record_over_a_new_path_is_short_until_it_has_begun_to_leave() {
    let mut bench = Bench::apart();
    bench.connect();
    bench.ask(A, 10_000);
    bench.ask(A, 100);
    bench.seal_one(A, 0, false);
    bench.seal_one(A, 0, false);
    assert!(bench.paths[0].waiting[A].iter().all(|sealed| sealed.bytes.len() <= 4_096));
    bench.take(A, 0, 1);
    bench.seal_one(A, 0, false);
    assert_eq!(bench.waiting(A, 0)[0], "QUERY 0 [0..3478 of 10068]");
    assert_eq!(bench.waiting(A, 0)[2], "QUERY 0 [6956..10068 of 10068], QUERY 1");
    bench.settle();
    assert_eq!(bench.heard(B).len(), 2);
}

#[test]
fn if_what_is_short_is_withdrawn_the_next_is_short() {
    let mut bench = Bench::apart();
    bench.connect();
    bench.ask(A, 3_000);
    bench.ask(A, 10_000);
    bench.seal(A);
    bench.give_up(A, 0, true);
    bench.send(A);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(1, _)]));
}

#[test]
fn whoever_has_initiated_a_session_says_something_in_it_until_it_is_answered() {
    let mut bench = Bench::apart();
    bench.connect();
    bench.send(A);
    assert_eq!(bench.flight(A, 0), ["PING"]);
    assert_eq!(bench.seal_one(A, 0, false), None);
    bench.cut(0);
    bench.connect();
    bench.send(A);
    assert_eq!(bench.flight(A, 1), ["PING"], "it was not answered");
    bench.settle();
    bench.cut(1);
    bench.connect();
    assert_eq!(bench.seal_one(A, 2, false), None, "it was");

    let mut bench = Bench::apart();
    bench.connect();
    bench.ask(A, 10);
    bench.send(A);
    assert_eq!(bench.flight(A, 0), ["QUERY 0"], "that says enough");
}

#[test]
fn whoever_can_say_nothing_else_introduces_itself_all_the_same() {
    let mut bench = Bench::apart();
    bench.connect();
    bench.ask(A, 100_000);
    let long = bench.ends[A].charges.long;
    bench.ends[A].charges.long = 4;
    bench.ends[A].is_checked = false;
    bench.send(A);
    assert_eq!(bench.flight(A, 0), ["PING"]);
    bench.ends[A].charges.long = long;
    bench.settle();
    assert_eq!(bench.heard(B).len(), 1);
}

#[test]
fn an_introduction_that_is_withdrawn_is_made_otherwise() {
    let mut bench = Bench::apart();
    bench.connect();
    bench.ask(A, 10);
    bench.seal(A);
    bench.give_up(A, 0, true);
    bench.send(A);
    assert_eq!(bench.flight(A, 0), ["PING"]);
}

#[test]
fn what_is_not_acknowledged_in_time_is_asked_about_over_that_very_path() {
    let mut bench = Bench::with_two_paths();
    bench.ends[A].main = Some(0);
    bench.ask(A, 10);
    bench.send(A);
    bench.steal(A, 0);
    bench.ends[A].main = Some(1);
    bench.sleep(SEC - MS);
    assert!(!bench.send(A));
    bench.sleep(MS);
    bench.send(A);
    assert_eq!((bench.flight(A, 0), bench.flight(A, 1).len()), (alloc::vec!["PING".into()], 0));
    bench.deliver(A);
    bench.send(B);
    assert_eq!((bench.flight(B, 0).len(), bench.flight(B, 1).len()), (1, 0), "and answered there");
    bench.deliver(B);
    assert_eq!(bench.says(A, 1), ["QUERY 0"]);
}

#[test]
fn a_path_is_silent_if_nothing_comes_4_s_after_ping_and_stuck_from_the_first_byte_on() {
    let mut bench = Bench::new();
    let path = id(&bench, 0);
    let start = bench.now;
    bench.ask(A, 10);
    bench.seal(A);
    assert_eq!(bench.ends[A].session.waiting_since(path), None, "nothing has left");
    bench.take(A, 0, 1);
    assert_eq!(bench.ends[A].session.waiting_since(path), Some(start));
    bench.sleep(10 * SEC);
    assert!(bench.ends[A].session.silence(path).is_none() && !bench.seal(A), "it has not left whole");
    bench.take(A, 0, usize::MAX);
    bench.steal(A, 0);
    bench.sleep(SEC);
    let asked = bench.now;
    assert_eq!(bench.ends[A].session.silence(path), None);
    bench.send(A);
    assert_eq!(bench.ends[A].session.silence(path), Some((asked, 4 * SEC)));
    bench.sleep(2 * SEC);
    assert!(!bench.send(A), "it is asked once");
    assert_eq!(bench.ends[A].session.waiting_since(path), Some(start));
    bench.settle();
    assert_eq!(bench.ends[A].session.silence(path), None);
    assert_eq!(bench.ends[A].session.waiting_since(path), Some(bench.now), "something was acknowledged");
    bench.rest();
    assert_eq!(bench.ends[A].session.waiting_since(path), None);
}

#[test]
fn a_question_that_never_leaves_is_asked_again() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.ping(A, 0);
    bench.seal(A);
    assert_eq!(bench.waiting(A, 0), ["QUERY 0, PING"]);
    bench.give_up(A, 0, true);
    assert!(bench.ends[A].session.silence(id(&bench, 0)).is_none());
    assert_eq!(bench.says(A, 0), ["PING"]);
}

#[test]
fn an_acknowledgement_that_never_leaves_is_said_again_and_at_once() {
    let mut bench = Bench::new();
    bench.ask(B, 10);
    bench.says(B, 0);
    bench.ask(A, 10);
    bench.seal(A);
    assert!(bench.waiting(A, 0)[0].starts_with("ACK"));
    bench.give_up(A, 0, true);
    let words = bench.says(A, 0);
    assert!(words[0].starts_with("ACK"), "{words:?}");
}

#[test]
fn a_question_that_is_passed_over_leaves_no_silence_behind() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    bench.ping(A, 0);
    bench.send(A);
    bench.steal(A, 0);
    bench.ask(A, 10);
    bench.send(A);
    bench.settle();
    bench.rest();
    bench.sleep(100 * SEC);
    bench.ask(A, 10);
    bench.send(A);
    assert_eq!(bench.ends[A].session.silence(id(&bench, 0)), None);
}

#[test]
fn whoever_waits_and_hears_nothing_for_20_s_asks_whether_the_session_is_there() {
    for waits in [false, true] {
        let mut bench = Bench::with_two_paths();
        if waits {
            bench.ask(A, 10);
        }
        bench.rest();
        let quiet = bench.now;
        bench.sleep(20 * SEC - 26 * MS);
        assert!(!bench.send(A), "{quiet:?}");
        bench.sleep(26 * MS);
        bench.send(A);
        let asked: &[&str] = if waits { &["PING"] } else { &[] };
        assert_eq!(bench.flight(A, 0), asked);
        assert_eq!(bench.flight(A, 1), asked);
        bench.send(B);
        assert_eq!(bench.flight(B, 1), asked, "so does whoever works for the other");
    }
}

#[test]
fn a_session_lives_while_a_path_is_open_where_the_peer_was_heard_and_30_s_longer() {
    let mut bench = Bench::new();
    bench.sleep(1000 * SEC);
    assert!(bench.ends[A].session.is_live(bench.now));
    bench.cut(0);
    assert!(!bench.ends[A].session.is_live(bench.now));
    bench.connect();
    bench.ping(A, 1);
    bench.settle();
    bench.cut(1);
    for (end, time) in [(A, 30 * SEC), (B, 30 * SEC)] {
        let session = &bench.ends[end].session;
        assert!(session.is_live(bench.now + (time - MS)) && !session.is_live(bench.now + time));
    }
}

#[test]
fn a_session_with_anything_under_way_is_not_idle() {
    let acts: [fn(&mut Bench); 5] = [
        |bench| {
            bench.ask(A, 10);
        },
        |bench| {
            bench.ask(B, 10);
            bench.rest();
        },
        |bench| {
            bench.forges(B, 0, &[Frame::Query { number: 0, notice: false, until: u32::MAX, total: 9, part: b"part" }]);
        },
        |bench| {
            bench.ends[A].policy = Policy::Refuse(RefuseCode::Busy);
            bench.ask(B, 10);
            bench.says(B, 0);
        },
        |bench| {
            bench.ping(A, 0);
            bench.seal(A);
        },
    ];
    for (at, act) in acts.into_iter().enumerate() {
        let mut bench = Bench::new();
        assert!(bench.ends[A].session.is_idle());
        act(&mut bench);
        assert!(!bench.ends[A].session.is_idle(), "{at}");
    }
    let mut bench = Bench::new();
    bench.cut(0);
    bench.ask(A, 10);
    bench.give_up(A, 0, true);
    assert!(bench.ends[A].session.is_idle(), "what nobody waits for is nothing");
}

#[test]
fn an_idle_session_remembers_no_records() {
    let mut bench = Bench::with_two_paths();
    bench.ends[B].policy = Policy::Echo;
    for _ in 0..10 {
        bench.ask(A, 10);
        bench.send(A);
    }
    bench.cut(1);
    bench.rest();
    for end in &bench.ends {
        assert_eq!(end.session.records.notes(), 0);
        assert!(end.session.records.bytes() < 1_000);
    }
}

#[test]
fn whoever_ends_path_after_path_fills_no_memory() {
    let mut bench = Bench::new();
    bench.ends[B].limits.assembly_bytes_per_peer = 0;
    bench.ends[B].is_checked = false;
    for number in 0..1000 {
        let part = Frame::Query { number, notice: false, until: u32::MAX, total: 9, part: b"part" };
        bench.forges(A, 0, &[part]);
    }
    let runs = {
        let mut runs = RunsBuffer::new();
        assert!(runs.push(0, 1));
        runs
    };
    for round in 0..50 {
        let path = bench.open(A);
        bench.forges(A, path, &[Frame::Ack { largest: 0, delay: 0, runs: runs.runs() }]);
        bench.send(B);
        bench.cut(path);
        bench.cut(0);
        assert!(bench.ends[B].session.records.bytes() < 300_000, "{round}");
    }
    let path = bench.open(A);
    bench.forges(A, path, &[Frame::Ping]);
    bench.send(B);
    let said = bench.flight(B, path).concat();
    assert!((0..1000).all(|number| said.contains(&alloc::format!("REFUSE {number} "))));
}
