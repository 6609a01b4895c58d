//! What has left this machine, and what never does: between them "no" and "maybe" are decided.

use super::bench::{A, B, Bench, Heard, Policy};
use crate::session::Progress;

#[test]
fn a_query_has_left_from_its_first_byte_on_unless_its_path_ends_in_the_middle() {
    let mut bench = Bench::with_two_paths();
    let number = bench.ask(A, 10);
    bench.seal(A);
    assert_eq!(bench.progress(A, number), Some(Progress::Here), "sealed is not left");
    bench.take(A, 1, 1);
    assert_eq!(bench.progress(A, number), Some(Progress::Left));
    bench.cut(1);
    assert_eq!(bench.progress(A, number), Some(Progress::Here));
    bench.seal(A);
    bench.take(A, 0, usize::MAX);
    bench.cut(0);
    assert_eq!(bench.progress(A, number), Some(Progress::Left), "whole, and then the path ended");
}

#[test]
fn parts_that_left_by_different_paths_and_at_different_times_make_a_whole() {
    let mut bench = Bench::with_two_paths();
    let number = bench.ask(A, 40_000);
    bench.seal(A);
    bench.take(A, 1, 20_000);
    bench.cut(1);
    bench.seal(A);
    let sealed: alloc::vec::Vec<_> = bench.waiting(A, 0);
    assert_eq!(sealed, ["QUERY 0 [16384..32768 of 40068]", "QUERY 0 [0..16384 of 40068]", "QUERY 0 [32768..40068 of 40068]"]);
    bench.take(A, 0, 17_000);
    assert_eq!(bench.progress(A, number), Some(Progress::Here));
    bench.take(A, 0, 17_000);
    assert_eq!(bench.progress(A, number), Some(Progress::Left));
}

#[test]
fn what_is_given_up_before_it_has_begun_to_leave_never_leaves_and_its_company_goes_again() {
    let mut bench = Bench::new();
    bench.ask(B, 10);
    bench.rest();
    let given_up = bench.ask(A, 10);
    bench.ask(A, 20);
    bench.answer(A, 0, 30);
    bench.seal(A);
    assert_eq!(bench.waiting(A, 0), ["QUERY 0, QUERY 1, REPLY 0 Answer"]);
    assert_eq!(bench.give_up(A, given_up, true), Progress::Here);
    assert!(bench.paths[0].waiting[A].is_empty());
    assert_eq!(bench.says(A, 0), ["QUERY 1, REPLY 0 Answer"]);
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(1, _), Heard::Replied(0, ..)]));
}

#[test]
fn what_has_begun_to_leave_goes_on_and_is_cancelled() {
    let mut bench = Bench::new();
    let number = bench.ask(A, 10);
    bench.seal(A);
    bench.take(A, 0, 1);
    assert_eq!(bench.give_up(A, number, true), Progress::Left);
    bench.send(A);
    assert_eq!(bench.flight(A, 0), ["QUERY 0", "CANCEL 0"]);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _), Heard::Withdrawn(0)]));
}

#[test]
fn of_a_long_query_only_what_has_not_begun_to_leave_is_withdrawn() {
    let mut bench = Bench::new();
    let number = bench.ask(A, 100_000);
    bench.seal(A);
    bench.take(A, 0, 20_000);
    assert_eq!(bench.give_up(A, number, true), Progress::Here);
    bench.send(A);
    assert_eq!(
        bench.flight(A, 0),
        ["QUERY 0 [0..16384 of 100068]", "QUERY 0 [16384..32768 of 100068]", "CANCEL 0"]
    );
    bench.settle();
    assert!(bench.heard(B).is_empty() && bench.ends[B].session.answering.is_empty());
    assert_eq!(bench.ends[A].charges.long, 0);
}

#[test]
fn what_was_lost_and_waits_goes_nowhere_once_it_is_given_up() {
    let mut bench = Bench::with_two_paths();
    let number = bench.ask(A, 10);
    bench.send(A);
    bench.cut(1);
    assert_eq!(bench.give_up(A, number, false), Progress::Left);
    assert_eq!(bench.says(A, 0), [""; 0]);
}

#[test]
fn what_the_peer_has_wholly_is_not_withdrawn_though_a_repeat_waits_to_leave() {
    let mut bench = Bench::with_two_paths();
    bench.ends[B].policy = Policy::Take;
    let number = bench.ask(A, 10);
    bench.send(A);
    bench.cut_at(A, 1);
    bench.seal(A);
    bench.deliver(A);
    bench.cut_at(B, 1);
    bench.sleep(super::bench::SEC);
    bench.send(B);
    bench.deliver(B);
    assert_eq!(bench.progress(A, number), Some(Progress::There));
    assert_eq!(bench.give_up(A, number, true), Progress::There);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _), Heard::Repeated, Heard::Withdrawn(0)]));
}
