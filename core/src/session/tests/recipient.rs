//! The recipient's table: what becomes of each number of the peer's.

use alloc::vec;
use alloc::vec::Vec;

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};
use crate::session::answering::Entry;
use crate::session::numbers::Number;
use crate::session::RuleBroken;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, PieceOf};

/// A part of a query that is not whole.
fn part_of(number: u64) -> Frame<'static> {
    Frame::Query { number, notice: false, until: u32::MAX, total: 9, part: b"part" }
}

fn number(bench: &Bench, number: u64) -> Number {
    bench.ends[B].session.answering.number(number)
}

fn entry(bench: &Bench, number: u64) -> Option<&Entry> {
    bench.ends[B].session.answering.get(number)
}

/// Says what B says, without the acknowledgement.
fn words(bench: &mut Bench) -> Vec<alloc::string::String> {
    bench.sleep(20 * MS);
    bench.send(B);
    let words = bench.flight(B, bench.main(B).unwrap()).concat();
    bench.paths.iter_mut().for_each(|path| path.flight[B].clear());
    words.split(", ").filter(|word| !word.starts_with("ACK")).map(Into::into).collect()
}

#[test]
fn a_query_that_is_late_is_refused_whether_it_is_whole_or_its_time_passes_before() {
    let mut bench = Bench::new();
    bench.wait(10 * SEC);
    bench.forges(A, 0, &[Frame::Query { number: 0, notice: false, until: 9_000, total: 4, part: b"late" }]);
    bench.forges(A, 0, &[Frame::Query { number: 1, notice: false, until: 9_000, total: 9, part: b"late" }]);
    assert_eq!(words(&mut bench), ["REFUSE 0 TooLate", "REFUSE 1 TooLate"]);

    bench.forges(A, 0, &[Frame::Query { number: 2, notice: false, until: 11_000, total: 9, part: b"part" }]);
    bench.forges(A, 0, &[Frame::Piece { of: PieceOf::Query, number: 3, total: 9, offset: 4, part: b"parts" }]);
    assert_eq!(bench.ends[B].session.deadline(bench.now + SEC / 2).map(|due| due <= bench.now + SEC), Some(true));
    bench.sleep(SEC);
    bench.forges(A, 0, &[Frame::Query { number: 3, notice: false, until: 11_000, total: 9, part: b"part" }]);
    assert_eq!(words(&mut bench), ["REFUSE 2 TooLate", "REFUSE 3 TooLate"]);
    assert!(bench.heard(B).is_empty() && bench.ends[B].charges.assembly == 0);
    assert!((0..4).all(|at| number(&bench, at) == Number::Refused));
}

#[test]
fn a_taken_number_is_never_taken_again_whatever_comes_of_it() {
    let acts: [fn(&mut Bench); 4] = [
        |_| {},
        |bench| {
            bench.answer(B, 0, 10);
        },
        |bench| {
            bench.answer(B, 0, 10);
            bench.rest();
        },
        |bench| {
            bench.give_up(A, 0, true);
            bench.rest();
        },
    ];
    for act in acts {
        let mut bench = Bench::new();
        bench.ask(A, 10);
        bench.rest();
        act(&mut bench);
        bench.heard(B);
        bench.forges(A, 0, &[part_of(0)]);
        assert_eq!((bench.heard(B), number(&bench, 0)), (vec![Heard::Repeated], Number::Taken));
    }
}

#[test]
fn a_reply_is_remembered_until_all_of_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.rest();
    bench.answer(B, 0, 40_000);
    bench.send(B);
    let last = bench.paths[0].flight[B].pop_back().unwrap();
    bench.deliver(B);
    bench.sleep(20 * MS);
    bench.says(A, 0);
    assert!(matches!(entry(&bench, 0), Some(Entry::Answered(_))));
    assert_eq!(bench.ends[B].charges.replies, 40_068);
    bench.arrives(A, 0, &last.bytes).unwrap().unwrap();
    bench.sleep(20 * MS);
    bench.says(A, 0);
    assert!(entry(&bench, 0).is_none());
    assert_eq!(bench.ends[B].charges, crate::admission::Charges::default());
}

#[test]
fn what_is_taken_and_forgotten_is_said_until_it_is_acknowledged_and_when_it_comes_again() {
    for answers in [false, true] {
        let mut bench = Bench::new();
        bench.ask_until(A, 10, SEC);
        bench.rest();
        if answers {
            bench.answer(B, 0, 100);
            bench.send(B);
            bench.steal(B, 0);
        }
        bench.sleep(2 * SEC);
        assert_eq!(bench.heard(B), if answers { vec![] } else { vec![Heard::Withdrawn(0)] });
        assert_eq!(words(&mut bench), ["REPLY 0 Forgotten"]);
        assert_eq!(number(&bench, 0), Number::Forgotten);
        bench.forges(A, 0, &[part_of(0)]);
        assert_eq!(words(&mut bench), [""; 0], "it is under way");
        bench.ping(B, 0);
        bench.settle();
        assert_eq!(bench.heard(A), [Heard::Forgotten(0)]);
        bench.rest();
        assert!(bench.ends[B].session.is_idle());
        bench.forges(A, 0, &[part_of(0)]);
        assert_eq!(words(&mut bench), ["REPLY 0 Forgotten"]);
        assert!(!bench.answer(B, 0, 10), "nobody waits any more");
    }
}

#[test]
fn a_refused_number_is_refused_again_with_its_reason_while_that_is_remembered() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Refuse(RefuseCode::UnknownType);
    bench.ask(A, 10);
    bench.says(A, 0);
    assert_eq!(words(&mut bench), ["REFUSE 0 UnknownType"]);
    bench.forges(A, 0, &[part_of(0)]);
    assert_eq!(words(&mut bench), [""; 0], "it is under way");
    bench.ping(B, 0);
    bench.settle();
    assert_eq!(bench.heard(A), [Heard::Refused(0, RefuseCode::UnknownType)]);
    bench.rest();
    bench.forges(A, 0, &[part_of(0)]);
    assert_eq!(words(&mut bench), ["REFUSE 0 RefusedBefore"]);
    assert!(bench.heard(B).is_empty());
}

#[test]
fn a_refusal_that_nobody_acknowledges_is_forgotten_with_the_querys_time() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Refuse(RefuseCode::Busy);
    bench.ask_until(A, 10, 10 * SEC);
    bench.says(A, 0);
    assert_eq!(words(&mut bench), ["REFUSE 0 Busy"]);
    bench.cut_at(B, 0);
    bench.sleep(9 * SEC);
    assert!(entry(&bench, 0).is_some());
    bench.sleep(2 * SEC);
    assert!(entry(&bench, 0).is_none() && number(&bench, 0) == Number::Refused);
}

#[test]
fn a_far_number_moves_the_window_and_what_it_leaves_is_as_it_was_if_it_is_remembered() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.ask(A, 10);
    bench.rest();
    bench.ends[B].policy = Policy::Refuse(RefuseCode::Busy);
    bench.ask(A, 10);
    bench.says(A, 0);
    bench.forges(A, 0, &[part_of(3)]);
    bench.ends[B].policy = Policy::Take;
    let mut far = Vec::new();
    super::bench::query(crate::wire::message::Kind::Notice, b"far").put(0, usize::MAX, &mut far);
    bench.forges(A, 0, &[Frame::Query { number: 5000, notice: true, until: u32::MAX, total: far.len(), part: &far }]);
    assert!((0..5).all(|at| number(&bench, at) == Number::Below));
    bench.heard(B);
    assert_eq!(words(&mut bench), ["REFUSE 2 Busy"]);

    for at in 0..5 {
        bench.forges(A, 0, &[part_of(at)]);
    }
    assert_eq!(bench.heard(B), [Heard::Repeated, Heard::Repeated], "they run");
    assert_eq!(words(&mut bench), ["REFUSE 3 BelowWindow", "REFUSE 4 BelowWindow"]);
    assert_eq!(bench.ends[B].charges.assembly, 0, "what was unfinished is dropped");
    bench.answer(B, 0, 10);
    bench.ends[B].refuse_running(1, RefuseCode::Busy);
    assert_eq!(words(&mut bench), ["REFUSE 1 Busy", "REPLY 0 Answer"]);
}

#[test]
fn a_cancelled_number_is_given_up_whatever_had_become_of_it() {
    type Act = fn(&mut Bench);
    let acts: [(Act, &[Heard], Number); 7] = [
        (|_| {}, &[], Number::Refused),
        (|bench| bench.forges(A, 0, &[part_of(0)]), &[], Number::Refused),
        (
            |bench| {
                bench.ask(A, 10);
                bench.says(A, 0);
                bench.heard(B);
            },
            &[Heard::Withdrawn(0)],
            Number::Taken,
        ),
        (
            |bench| {
                bench.ask(A, 10);
                bench.says(A, 0);
                bench.answer(B, 0, 40_000);
                bench.seal_one(B, 0, false);
                bench.heard(B);
            },
            &[],
            Number::Taken,
        ),
        (
            |bench| {
                bench.ends[B].policy = Policy::Refuse(RefuseCode::Busy);
                bench.ask(A, 10);
                bench.says(A, 0);
            },
            &[],
            Number::Refused,
        ),
        (
            |bench| {
                bench.ask_until(A, 10, SEC);
                bench.says(A, 0);
                bench.sleep(2 * SEC);
                bench.heard(B);
            },
            &[],
            Number::Forgotten,
        ),
        (
            |bench| {
                bench.notify(A, 10);
                bench.says(A, 0);
                bench.heard(B);
            },
            &[],
            Number::Taken,
        ),
    ];
    for (at, (act, heard, state)) in acts.into_iter().enumerate() {
        let mut bench = Bench::new();
        act(&mut bench);
        bench.paths[0].waiting[B].clear();
        bench.forges(A, 0, &[Frame::Cancel { number: 0 }]);
        assert_eq!((&bench.heard(B)[..], number(&bench, 0)), (heard, state), "{at}");
        assert_eq!(bench.ends[B].charges, crate::admission::Charges::default(), "{at}");
        assert!(bench.ends[B].session.answering.is_empty(), "{at}");
        assert_eq!(words(&mut bench), [""; 0], "{at}");
        bench.forges(A, 0, &[Frame::Cancel { number: 0 }]);
        assert_eq!((bench.heard(B), number(&bench, 0)), (vec![], state), "{at}: nobody is told twice");
    }
}

#[test]
fn a_handler_that_works_when_the_time_has_passed_is_told_and_its_answer_not_wanted() {
    let mut bench = Bench::new();
    bench.ask_until(A, 10, SEC);
    bench.rest();
    bench.wait(900 * MS);
    assert!(bench.heard(B).is_empty());
    bench.wait(200 * MS);
    assert_eq!(bench.heard(B), [Heard::Withdrawn(0)]);
    assert!(!bench.answer(B, 0, 10));
    assert!(!bench.ends[B].refuse_running(0, RefuseCode::Busy));
}

#[test]
fn without_memory_for_an_answer_the_asker_learns_that_it_does_not_fit() {
    let mut bench = Bench::new();
    bench.ends[B].limits.reply_bytes_per_peer = 1_000;
    for (length, code) in [(1_000, ReplyCode::ReplyTooLong), (900, ReplyCode::Answer), (0, ReplyCode::Answer)] {
        let number = bench.ask(A, 10);
        bench.rest();
        bench.answer(B, number, length);
        bench.settle();
        assert!(matches!(bench.heard(A)[..], [Heard::Replied(_, said, _)] if said == code), "{length}");
        bench.rest();
    }
    bench.ends[B].limits.reply_bytes_per_peer = 10;
    let number = bench.ask(A, 10);
    bench.rest();
    bench.answer(B, number, 0);
    bench.rest();
    assert_eq!(bench.ends[B].charges, crate::admission::Charges::default(), "what is empty goes uncharged");
}

#[test]
fn an_answer_that_is_stuck_for_3_s_gives_up_its_memory_if_asked_to() {
    let mut bench = Bench::with_two_paths();
    bench.ask(A, 10);
    bench.rest();
    bench.answer(B, 0, 40_000);
    bench.seal(B);
    bench.sleep(3 * SEC - MS);
    let shorten = |bench: &mut Bench| {
        let now = bench.now;
        let (session, mut account) = bench.ends[B].parts();
        session.shorten_answers(now, &mut account)
    };
    assert!(!shorten(&mut bench));
    bench.take(B, 1, usize::MAX);
    bench.deliver_one(B, 1);
    bench.sleep(20 * MS);
    bench.says(A, 1);
    bench.sleep(3 * SEC - MS);
    assert!(!shorten(&mut bench), "a part of it was acknowledged");
    bench.sleep(MS);
    assert!(shorten(&mut bench));
    assert!(!shorten(&mut bench), "it is short already");
    assert_eq!(bench.ends[B].charges.replies, 68);
    assert_eq!(bench.ends[B].charges.long, 0);

    // The parts of the long answer that still arrive do not make the short one forgotten.
    bench.send(B);
    while bench.paths[1].flight[B].len() > 1 {
        bench.deliver_one(B, 1);
    }
    assert!(bench.flight(B, 1)[0].contains("REPLY 0 ReplyTooLong"));
    bench.sleep(20 * MS);
    bench.says(A, 1);
    assert!(bench.heard(A).is_empty() || entry(&bench, 0).is_some());
    bench.settle();
    bench.rest();
    assert!(bench.ends[B].session.is_idle() && bench.ends[A].session.is_idle());
}

#[test]
fn no_answer_gives_up_its_memory_while_nobody_can_be_reached() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.rest();
    bench.answer(B, 0, 40_000);
    bench.cut(0);
    bench.sleep(10 * SEC);
    let now = bench.now;
    let (session, mut account) = bench.ends[B].parts();
    assert!(!session.shorten_answers(now, &mut account));
}

#[test]
fn whoever_acknowledges_no_answers_may_ask_no_more_after_a_while() {
    let mut bench = Bench::new();
    bench.ends[B].limits.incoming_per_peer = 10;
    bench.ends[B].policy = Policy::Echo;
    bench.ends[B].is_checked = false;
    let most = 4096 + 20;
    for number in 0..most + 1 {
        let mut query = Vec::new();
        super::bench::query(crate::wire::message::Kind::Query, b"").put(0, usize::MAX, &mut query);
        let (total, part) = (query.len(), &query[..]);
        bench.forges(A, 0, &[Frame::Query { number, notice: false, until: u32::MAX, total, part }]);
        bench.heard(B);
    }
    assert_eq!(u64::try_from(bench.ends[B].charges.entries).unwrap(), most);
    assert!(matches!(entry(&bench, most), Some(Entry::Refused { code: RefuseCode::BusyWithYou, .. })));
    bench.forges(A, 0, &[part_of(most + 1)]);
    assert!(matches!(entry(&bench, most + 1), Some(Entry::Refused { code: RefuseCode::BusyWithYou, .. })));
}

#[test]
fn whoever_lets_refusals_pile_up_breaks_the_rules() {
    let mut bench = Bench::new();
    bench.ends[B].limits.assembly_bytes_per_peer = 0;
    bench.ends[B].is_checked = false;
    for number in 0..4097 {
        bench.forges(A, 0, &[part_of(number)]);
    }
    assert_eq!(bench.forge(A, 0, &[part_of(4097)]), Err(RuleBroken));
}
