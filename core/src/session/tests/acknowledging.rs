//! When an acknowledgement goes, by which path, what it names; and what it may not name.

use alloc::vec::Vec;
use core::time::Duration;

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};
use crate::session::rtt::Rtt;
use crate::session::{Progress, RuleBroken};
use crate::wire::code::{BreakCode, RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, PieceOf, RunsBuffer};

fn run(length: u16) -> RunsBuffer {
    let mut runs = RunsBuffer::new();
    assert!(runs.push(0, length));
    runs
}

#[test]
fn an_acknowledgement_goes_with_whatever_is_sealed() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    let counter = bench.ends[A].session.sealer.counter();
    bench.says(A, 0);
    assert_eq!(bench.says(B, 0), [alloc::format!("ACK 0-{counter}, REPLY 0 Answer")]);
}

#[test]
fn an_acknowledgement_waits_20_ms_for_company() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.says(A, 0);
    let due = bench.now + 20 * MS;
    assert_eq!(bench.says(B, 0), [""; 0]);
    assert_eq!(bench.ends[B].session.deadline(bench.now), Some(due));
    bench.sleep(20 * MS - Duration::from_micros(1));
    assert_eq!(bench.says(B, 0), [""; 0]);
    bench.sleep(Duration::from_micros(1));
    assert_eq!(bench.says(B, 0).len(), 1);
    assert_eq!(bench.progress(A, 0), Some(Progress::There));
}

#[test]
fn the_32nd_record_is_acknowledged_at_once() {
    let mut bench = Bench::new();
    for record in 1..=32 {
        assert_eq!(bench.says(B, 0), [""; 0], "{record}");
        bench.ask(A, 10);
        bench.says(A, 0);
    }
    assert_eq!(bench.says(B, 0).len(), 1);
}

#[test]
fn after_256_kib_it_is_acknowledged_at_once() {
    let mut bench = Bench::new();
    for record in 1..=17 {
        assert_eq!(bench.says(B, 0), [""; 0], "{record}");
        bench.ask(A, 16_000);
        bench.seal_one(A, 0, false);
        bench.take(A, 0, usize::MAX);
        bench.deliver(A);
    }
    assert_eq!(bench.says(B, 0).len(), 1);
}

#[test]
fn a_notice_is_over_for_both_when_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.notify(A, 10);
    bench.says(A, 0);
    assert!(matches!(bench.heard(B)[..], [Heard::Told(0, _)]));
    assert!(bench.ends[A].session.take_told().is_empty());
    bench.rest();
    assert_eq!(bench.ends[A].session.take_told().len(), 1);
    assert!(bench.ends.iter().all(|end| end.session.is_idle() && !end.session.owes()));
}

#[test]
fn owed_acknowledgements_go_at_once_when_there_is_a_hurry() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.says(A, 0);
    let now = bench.now;
    bench.ends[B].session.hurry(now);
    assert_eq!(bench.says(B, 0).len(), 1);
}

#[test]
fn a_ping_is_answered_at_once_over_its_own_path_whatever_goes_elsewhere() {
    let mut bench = Bench::with_two_paths();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    bench.ping(A, 0);
    bench.send(A);
    bench.deliver_one(A, 0);
    bench.deliver_one(A, 1);
    bench.seal_one(B, 1, false);
    bench.send(B);
    let counter = bench.ends[A].session.sealer.counter() - 1;
    assert_eq!(bench.flight(B, 1), [alloc::format!("ACK 0-{counter}, REPLY 0 Answer")]);
    assert_eq!(bench.flight(B, 0), [alloc::format!("ACK 0-{counter}")]);
    bench.rest();
    assert_eq!(bench.says(B, 0), [""; 0], "it is said once there");
}

#[test]
fn a_ping_whose_path_is_gone_is_answered_over_another() {
    let mut bench = Bench::with_two_paths();
    bench.ping(A, 0);
    bench.says(A, 0);
    bench.cut_at(B, 0);
    assert_eq!(bench.says(B, 1).len(), 1);
    assert_eq!(bench.says(B, 1), [""; 0]);
}

#[test]
fn an_acknowledgement_alone_goes_where_its_newest_record_came() {
    let mut bench = Bench::with_two_paths();
    for (first, second) in [(0, 1), (1, 0)] {
        for path in [first, second] {
            bench.ends[A].main = Some(path);
            bench.ask(A, 10);
            bench.says(A, path);
        }
        bench.sleep(20 * MS);
        bench.send(B);
        assert_eq!((bench.flight(B, second).len(), bench.flight(B, first).len()), (1, 0));
        bench.rest();
    }
}

#[test]
fn if_the_path_of_the_newest_record_is_gone_its_acknowledgement_goes_over_the_best() {
    let mut bench = Bench::with_two_paths();
    bench.ends[A].main = Some(0);
    bench.ask(A, 10);
    bench.says(A, 0);
    bench.cut_at(B, 0);
    bench.sleep(20 * MS);
    assert_eq!(bench.says(B, 1).len(), 1);
}

#[test]
fn what_asks_for_no_acknowledgement_has_none() {
    let mut bench = Bench::new();
    let runs = run(1);
    let frames: [&[Frame<'_>]; 3] = [
        &[],
        &[Frame::Ack { largest: 0, delay: 0, runs: runs.runs() }],
        &[Frame::Break { code: BreakCode::Memory, base: 0, taken: &[0; 128] }],
    ];
    for frames in frames {
        bench.forges(A, 0, frames);
        bench.sleep(SEC);
        assert_eq!(bench.says(B, 0), [""; 0], "{frames:?}");
    }
}

#[test]
fn everything_else_has_one() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.ask(B, 10);
    bench.rest();
    let part = b"part";
    let frames = [
        Frame::Query { number: 0, notice: false, until: u32::MAX, total: 9, part },
        Frame::Piece { of: PieceOf::Query, number: 0, total: 9, offset: 1, part },
        Frame::Reply { number: 0, code: ReplyCode::Answer, total: 9, part },
        Frame::Piece { of: PieceOf::Reply, number: 0, total: 9, offset: 1, part: b"art" },
        Frame::Refuse { number: 0, code: RefuseCode::Busy, wait: 0 },
        Frame::Cancel { number: 0 },
        Frame::Ping,
    ];
    for frame in frames {
        bench.forges(A, 0, &[frame]);
        bench.sleep(20 * MS);
        assert!(bench.says(B, 0).concat().starts_with("ACK"), "{frame:?}");
    }
}

#[test]
fn an_acknowledgement_names_what_was_opened_the_newest_first_in_32_runs() {
    let mut bench = Bench::new();
    let first = bench.ends[A].session.sealer.counter();
    for _ in 0..80 {
        bench.ping(A, 0);
        bench.ends[A].session.lanes.iter_mut().for_each(|lane| lane.is_answered());
        bench.ping(A, 0);
        bench.send(A);
        if bench.paths[0].flight[A].back().is_some_and(|sealed| sealed.counter % 2 == 0) {
            bench.paths[0].flight[A].pop_back();
        }
    }
    bench.deliver(A);
    let largest = (first + 79) | 1;
    let largest = if largest > first + 79 { largest - 2 } else { largest };
    let expected: Vec<_> = (0..32).map(|run| alloc::format!("{}", largest - 2 * run)).collect();
    assert_eq!(bench.says(B, 0), [alloc::format!("ACK {}", expected.join(" "))]);
}

#[test]
fn whoever_acknowledges_what_was_never_sealed_left_out_or_withdrawn_breaks_the_rules() {
    type Act = fn(&mut Bench) -> u64;
    let acts: [Act; 3] = [
        |bench| bench.ends[A].session.sealer.counter(),
        |bench| {
            let counter = bench.ends[A].session.sealer.counter();
            bench.ask(A, 10);
            assert_eq!(bench.seal_one(A, 0, true), Some(counter + 1));
            counter
        },
        |bench| {
            let number = bench.ask(A, 10);
            let counter = bench.seal_one(A, 0, false).unwrap();
            bench.give_up(A, number, false);
            counter
        },
    ];
    for act in acts {
        for above in 0..2 {
            let mut bench = Bench::new();
            let counter = act(&mut bench);
            (0..3).for_each(|_| {
                bench.ask(A, 10);
                bench.send(A);
            });
            let next = bench.ends[A].session.sealer.counter();
            let largest = if counter + 4 > next { next + above } else { counter + above };
            let runs = run(2);
            let ack = Frame::Ack { largest, delay: 0, runs: runs.runs() };
            assert_eq!(bench.forge(B, 0, &[ack]), Err(RuleBroken));
        }
    }
}

#[test]
fn nothing_is_sealed_1024_above_what_is_not_acknowledged_but_ping_and_acknowledgements() {
    let mut bench = Bench::new();
    bench.ends[A].policy = Policy::Refuse(RefuseCode::Busy);
    for record in 0..1024 {
        bench.ask(A, 10);
        assert!(bench.send(A), "{record}");
    }
    bench.ask(B, 10);
    bench.says(B, 0);
    assert_eq!(bench.seal_one(A, 0, false), None, "the refusal waits");
    bench.sleep(20 * MS);
    bench.seal(A);
    bench.ping(A, 0);
    bench.seal(A);
    let waiting = bench.paths[0].waiting[A].len();
    assert_eq!(waiting, 2, "an acknowledgement, and PING");
    bench.take(A, 0, usize::MAX);
    let first = bench.paths[0].flight[A][0].counter;
    for acknowledged in 1..=3 {
        assert_eq!(bench.seal_one(A, 0, false), None, "{acknowledged}");
        bench.deliver_one(A, 0);
        bench.sleep(20 * MS);
        bench.says(B, 0);
    }
    assert_eq!(bench.seal_one(A, 0, false), Some(first + 1026), "less than 1,024 above the lowest");
}

#[test]
fn the_place_of_a_counter_that_is_left_out_is_reckoned_with() {
    let mut bench = Bench::new();
    let first = bench.ask(A, 10);
    bench.send(A);
    let lowest = bench.paths[0].flight[A][0].counter;
    bench.steal(A, 0);
    for _ in 1..1024 {
        bench.ask(A, 10);
        if bench.seal_one(A, 0, true).is_none() {
            break;
        }
    }
    let highest = bench.paths[0].waiting[A].back().unwrap().counter;
    assert_eq!((first, highest), (0, lowest + 1022));
}

#[test]
fn a_round_trip_is_measured_without_the_delay_of_the_acknowledgement() {
    let mut bench = Bench::new();
    let id = bench.paths[0].id;
    let mut expected: Rtt = *bench.ends[A].session.lanes.get_mut(id).unwrap().rtt();
    bench.ask(A, 10);
    bench.send(A);
    bench.sleep(100 * MS);
    bench.deliver(A);
    bench.sleep(20 * MS);
    bench.send(B);
    bench.sleep(150 * MS);
    bench.deliver(B);
    expected.sample(250 * MS);
    assert_eq!(*bench.ends[A].session.lanes.get_mut(id).unwrap().rtt(), expected);
}

#[test]
fn no_round_trip_is_measured_with_a_delay_that_is_too_long_to_be_told_or_true() {
    for delay in [u16::MAX, 2000] {
        let mut bench = Bench::new();
        let id = bench.paths[0].id;
        let expected = *bench.ends[A].session.lanes.get_mut(id).unwrap().rtt();
        bench.ask(A, 10);
        bench.send(A);
        bench.sleep(if delay == 2000 { 199 * MS } else { 10 * SEC });
        let largest = bench.ends[A].session.sealer.counter() - 1;
        bench.forges(B, 0, &[Frame::Ack { largest, delay, runs: run(1).runs() }]);
        assert_eq!(bench.progress(A, 0), Some(Progress::There));
        assert_eq!(*bench.ends[A].session.lanes.get_mut(id).unwrap().rtt(), expected);
    }
}

#[test]
fn what_is_acknowledged_before_the_driver_has_said_that_it_has_left_has_left() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.ping(A, 0);
    bench.seal(A);
    let sealed = bench.paths[0].waiting[A][0].clone();
    bench.arrives(B, 0, &sealed.bytes).unwrap().unwrap();
    bench.send(B);
    bench.deliver(B);
    assert_eq!(bench.progress(A, 0), Some(Progress::There));
    bench.take(A, 0, usize::MAX);
    bench.sleep(10 * SEC);
    assert_eq!(bench.ends[A].session.silence(bench.paths[0].id), None);
    assert_eq!(bench.ends[A].session.waiting_since(bench.paths[0].id), None);
}
