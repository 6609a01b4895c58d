//! What is lost goes again: what was on a path that has ended, and what an acknowledgement passes over.

use alloc::vec::Vec;

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};
use crate::session::seal::OpenError;
use crate::session::{Progress, RuleBroken};
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, RunsBuffer};

/// Puts something in flight, from `from` over the second of two paths: the words in which it is said.
type InFlight = (usize, &'static str, fn(&mut Bench));

/// Everything that goes again, in flight and alone there.
const ALL: [InFlight; 7] = [
    (A, "QUERY 0", |bench| {
        bench.ask(A, 10);
    }),
    (A, "NOTICE 0", |bench| {
        bench.notify(A, 10);
    }),
    (B, "REPLY 0 Answer", |bench| {
        bench.ask(A, 10);
        bench.rest();
        bench.answer(B, 0, 5);
    }),
    (B, "REPLY 0 Declined", |bench| {
        bench.ask(A, 10);
        bench.rest();
        let now = bench.now;
        bench.ends[B].answer(now, 0, ReplyCode::Declined, &[]);
    }),
    (B, "REFUSE 0 Busy", |bench| {
        bench.ask(A, 10);
        bench.rest();
        bench.ends[B].refuse_running(0, RefuseCode::Busy);
    }),
    (B, "REPLY 0 Forgotten", |bench| {
        bench.ask_until(A, 10, SEC);
        bench.rest();
        bench.sleep(2 * SEC);
    }),
    (A, "CANCEL 0", |bench| {
        bench.ask(A, 10);
        bench.rest();
        bench.give_up(A, 0, true);
    }),
];

/// The words of the record, without an ACK that goes with it.
fn without_ack(words: &str) -> &str {
    words.split_once(", ").filter(|(ack, _)| ack.starts_with("ACK")).map_or(words, |(_, rest)| rest)
}

#[test]
fn whatever_was_on_a_path_that_ends_goes_again_over_another() {
    for (from, words, act) in ALL {
        let mut bench = Bench::with_two_paths();
        act(&mut bench);
        bench.send(from);
        assert_eq!(bench.flight(from, 1).iter().map(|record| without_ack(record)).collect::<Vec<_>>(), [words]);
        bench.cut(1);
        let again = bench.says(from, 0);
        assert_eq!(again.iter().map(|record| without_ack(record)).collect::<Vec<_>>(), [words]);
        bench.rest();
        assert_eq!(bench.says(from, 0).len(), 0, "{words} has arrived");
    }
}

#[test]
fn whatever_an_acknowledgement_passes_over_on_a_stream_goes_again() {
    for (from, words, act) in ALL {
        let mut bench = Bench::with_two_paths();
        act(&mut bench);
        bench.send(from);
        bench.steal(from, 1);
        bench.ping(from, 1);
        assert_eq!(bench.says(from, 1).iter().map(|record| without_ack(record)).collect::<Vec<_>>(), ["PING"]);
        bench.send(1 - from);
        bench.deliver(1 - from);
        assert_eq!(bench.says(from, 1).iter().map(|record| without_ack(record)).collect::<Vec<_>>(), [words]);
    }
}

#[test]
fn whoever_passes_over_the_same_thing_thrice_breaks_the_rules() {
    for (from, words, act) in ALL {
        let mut bench = Bench::with_two_paths();
        act(&mut bench);
        for strike in 1..=3 {
            bench.send(from);
            bench.steal(from, 1);
            bench.ping(from, 1);
            bench.send(from);
            bench.deliver(from);
            bench.send(1 - from);
            let ack = bench.steal(1 - from, 1);
            let taken = bench.arrives(from, 1, &ack.bytes).unwrap();
            assert_eq!(taken, if strike < 3 { Ok(()) } else { Err(RuleBroken) }, "{words}, {strike}");
        }
    }
}

/// Steals the first record that an end has in flight over the newest path, and lets the other end's acknowledgement pass over it.
fn pass_over(bench: &mut Bench, from: usize) -> Result<(), RuleBroken> {
    let path = bench.main(from).unwrap();
    bench.send(from);
    bench.steal(from, path);
    bench.ping(from, path);
    bench.send(from);
    bench.deliver(from);
    bench.send(1 - from);
    let ack = bench.steal(1 - from, path);
    bench.arrives(from, path, &ack.bytes).unwrap()
}

#[test]
fn the_end_of_a_path_is_no_strike_and_forgives_none() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 10);
    assert_eq!(pass_over(&mut bench, A), Ok(()));
    assert_eq!(pass_over(&mut bench, A), Ok(()));
    bench.send(A);
    bench.cut(1);
    assert_eq!(pass_over(&mut bench, A), Err(RuleBroken));

    let mut bench = Bench::new();
    bench.ask(A, 10);
    for _ in 0..5 {
        let path = bench.connect();
        bench.send(A);
        bench.cut(path);
    }
    assert_eq!(pass_over(&mut bench, A), Ok(()));
}

#[test]
fn one_acknowledgement_over_many_pieces_is_one_strike() {
    let mut bench = Bench::new();
    bench.ask(A, 100_000);
    for _ in 0..2 {
        bench.send(A);
        while !bench.paths[0].flight[A].is_empty() {
            bench.steal(A, 0);
        }
        bench.ping(A, 0);
        bench.send(A);
        bench.deliver(A);
        bench.send(B);
        bench.deliver(B);
    }
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _)]));
}

#[test]
fn what_went_over_another_path_is_not_passed_over() {
    let mut bench = Bench::with_two_paths();
    bench.ends.iter_mut().for_each(|end| end.main = Some(0));
    bench.ask(A, 10);
    bench.send(A);
    bench.ends[A].main = Some(1);
    bench.ask(A, 20);
    bench.send(A);
    bench.deliver_one(A, 1);
    bench.sleep(20 * MS);
    bench.send(B);
    bench.deliver(B);
    assert_eq!(bench.progress(A, 1), Some(Progress::There));
    assert_eq!(bench.says(A, 1), [""; 0], "the first is on its way");
    bench.deliver_one(A, 0);
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(1, _), Heard::Asked(0, _)]));
}

/// An end that has sealed so many queries, each in a record of its own that has left, and the counter of the first.
fn many_records(count: u64) -> (Bench, u64) {
    let mut bench = Bench::new();
    let first = bench.ends[A].session.sealer.counter();
    for _ in 0..count {
        bench.ask(A, 10);
        bench.send(A);
    }
    (bench, first)
}

/// Acknowledges every other counter downwards from this one, in so many runs.
fn every_other(largest: u64, runs: usize) -> (RunsBuffer, u64) {
    let mut buffer = RunsBuffer::new();
    (0..runs).for_each(|_| assert!(buffer.push(1, 1)));
    (buffer, largest)
}

fn acknowledge(bench: &mut Bench, (runs, largest): &(RunsBuffer, u64)) {
    bench.forges(B, 0, &[Frame::Ack { largest: *largest, delay: 0, runs: runs.runs() }]);
}

#[test]
fn a_full_acknowledgement_passes_over_nothing_below_its_last_run() {
    let (mut bench, first) = many_records(70);
    acknowledge(&mut bench, &every_other(first + 69, 32));
    for number in 0..70 {
        let expected = if number >= 7 && number % 2 == 1 { Progress::There } else { Progress::Left };
        assert_eq!(bench.progress(A, number), Some(expected), "{number}");
    }
    let again = bench.says(A, 0).concat();
    assert!((8..69).step_by(2).all(|number| again.contains(&alloc::format!("QUERY {number}"))), "{again}");
    assert!((0..7).all(|number| !again.contains(&alloc::format!("QUERY {number},"))), "{again}");
}

#[test]
fn what_a_full_acknowledgement_leaves_out_again_and_again_goes_again_at_last() {
    let (mut bench, first) = many_records(70);
    let ack = every_other(first + 69, 32);
    acknowledge(&mut bench, &ack);
    bench.says(A, 0);
    bench.sleep(2 * SEC);
    acknowledge(&mut bench, &ack);
    let again = bench.says(A, 0).concat();
    assert!((0..7).all(|number| again.contains(&alloc::format!("QUERY {number}"))), "{again}");
}

#[test]
fn an_acknowledgement_that_is_full_or_reaches_below_the_window_is_no_strike() {
    let (mut bench, first) = many_records(70);
    for largest in [69, 100, 130, 160].map(|at| first + at) {
        while bench.ends[A].session.sealer.counter() <= largest {
            bench.ping(A, 0);
            bench.ends[A].session.lanes.iter_mut().for_each(|lane| lane.is_answered());
            bench.ping(A, 0);
            bench.send(A);
        }
        bench.sleep(2 * SEC);
        acknowledge(&mut bench, &every_other(largest, 32));
    }
}

#[test]
fn a_late_acknowledgement_cancels_the_repeat_that_is_not_sealed_yet() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 10);
    bench.send(A);
    bench.cut_at(A, 1);
    bench.deliver(A);
    bench.cut_at(B, 1);
    bench.sleep(20 * MS);
    assert_eq!(bench.says(B, 0).len(), 1);
    assert_eq!(bench.progress(A, 0), Some(Progress::There));
    assert_eq!(bench.says(A, 0), [""; 0]);
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _)]));
}

#[test]
fn a_repeat_that_was_sealed_already_runs_nothing() {
    let mut bench = Bench::with_two_paths();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    bench.send(A);
    bench.cut_at(A, 1);
    bench.send(A);
    bench.deliver(A);
    bench.cut_at(B, 1);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _), Heard::Repeated]), "{:?}", bench.ends[B].heard);
    assert!(matches!(bench.heard(A)[..], [Heard::Replied(0, ReplyCode::Answer, _)]));
}

#[test]
fn a_path_that_ends_in_the_middle_of_a_record_has_carried_nothing_of_it() {
    let mut bench = Bench::with_two_paths();
    let number = bench.ask(A, 1000);
    bench.seal(A);
    bench.take(A, 1, 500);
    assert_eq!(bench.progress(A, number), Some(Progress::Left), "bytes of all of it are gone");
    bench.cut(1);
    assert_eq!(bench.progress(A, number), Some(Progress::Here));
    assert_eq!(bench.says(A, 0), ["QUERY 0"]);
}

#[test]
fn a_packet_that_comes_twice_means_nothing_the_second_time() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 10);
    bench.send(A);
    let packet = bench.paths[1].flight[A][0].bytes.clone();
    bench.deliver(A);
    let heard = bench.heard(B);
    for path in [0, 1] {
        assert_eq!(bench.arrives(B, path, &packet), Err(OpenError::Replayed));
    }
    assert_eq!((heard.len(), bench.heard(B).len()), (1, 0));
}

#[test]
fn what_was_lost_goes_before_everything_new_though_more_of_its_message_waits() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 100_000);
    for _ in 0..2 {
        bench.seal_one(A, 1, false);
    }
    bench.ask(A, 10);
    bench.take(A, 1, usize::MAX);
    bench.cut(1);
    let again = bench.says(A, 0);
    assert_eq!(again[..2], ["QUERY 0 [0..1024 of 100068]", "QUERY 0 [1024..2048 of 100068]"]);
    assert!(again[2].contains("QUERY 1"), "{again:?}");
}

#[test]
fn a_lost_part_may_be_cut_otherwise_the_second_time() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 9_000);
    bench.send(A);
    bench.cut(1);
    bench.cut(0);
    bench.connect();
    bench.send(A);
    assert_eq!(bench.flight(A, 2)[0], "QUERY 0 [0..3500 of 9068]", "the first record over a new path is short");
    bench.settle();
    assert!(matches!(&bench.heard(B)[..], [Heard::Asked(0, body)] if body.len() == 9_000));
}
