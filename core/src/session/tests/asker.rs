//! The asker's table: what becomes of a query that has a number.

use alloc::vec::Vec;

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};
use crate::session::{Progress, RuleBroken};
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, PieceOf};

#[test]
fn a_query_that_was_asked_is_answered_once_and_nothing_is_left_of_it() {
    let mut bench = Bench::new();
    let number = bench.ask(A, 10);
    bench.settle();
    assert!(matches!(&bench.heard(B)[..], [Heard::Asked(0, body)] if body.len() == 10));
    assert!(bench.answer(B, number, 20));
    assert!(!bench.answer(B, number, 20), "a query is answered once");
    bench.settle();
    assert!(matches!(&bench.heard(A)[..], [Heard::Replied(0, ReplyCode::Answer, body)] if body.len() == 20));
    assert!(!bench.ends[B].session.is_idle(), "the reply is remembered until it is acknowledged");
    bench.rest();
    for end in &bench.ends {
        assert!(end.session.is_idle() && !end.session.is_in_use());
        assert_eq!(end.session.charged(), [0; 5]);
    }
}

#[test]
fn whatever_its_handler_says_the_asker_hears() {
    for code in [ReplyCode::Declined, ReplyCode::ReplyTooLong] {
        let mut bench = Bench::new();
        bench.ask(A, 10);
        bench.settle();
        let now = bench.now;
        bench.ends[B].answer(now, 0, code, &[]);
        bench.settle();
        assert_eq!(bench.heard(A), [Heard::Replied(0, code, Vec::new())]);
    }
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.settle();
    assert!(bench.ends[B].refuse_running(0, RefuseCode::Malformed));
    assert!(!bench.ends[B].refuse_running(0, RefuseCode::Malformed));
    bench.settle();
    assert_eq!(bench.heard(A), [Heard::Refused(0, RefuseCode::Malformed)]);
}

#[test]
fn a_refusal_says_why_and_for_how_long() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Refuse(RefuseCode::BusyWithYou);
    bench.ask(A, 10);
    bench.settle();
    assert_eq!(bench.heard(A), [Heard::Refused(0, RefuseCode::BusyWithYou)]);
    assert_eq!(bench.ask(A, 10), 1, "it goes again under another number");
}

#[test]
fn a_reply_or_refusal_of_a_settled_number_means_nothing_and_of_a_number_never_used_breaks_the_rules() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    bench.rest();
    let frames = |number| {
        [
            Frame::Reply { number, code: ReplyCode::Answer, total: 5, part: b"reply" },
            Frame::Reply { number, code: ReplyCode::Forgotten, total: 0, part: b"" },
            Frame::Piece { of: PieceOf::Reply, number, total: 5, offset: 1, part: b"ply" },
            Frame::Refuse { number, code: RefuseCode::Busy, wait: 0 },
        ]
    };
    for frame in frames(0) {
        bench.forges(B, 0, &[frame]);
        assert!(matches!(bench.heard(A)[..], [] | [Heard::Unexpected]), "{frame:?}");
    }
    for frame in frames(1) {
        assert_eq!(bench.forge(B, 0, &[frame]), Err(RuleBroken), "{frame:?}");
    }
}

#[test]
fn a_query_is_here_until_all_of_it_has_left_and_there_once_all_is_acknowledged() {
    let mut bench = Bench::new();
    let number = bench.ask(A, 40_000);
    for progress in [Progress::Here, Progress::Here, Progress::Left] {
        assert_eq!(bench.progress(A, number), Some(Progress::Here));
        bench.seal_one(A, 0, false);
        bench.take(A, 0, usize::MAX);
        assert_eq!(bench.progress(A, number), Some(progress));
    }
    bench.deliver(A);
    bench.sleep(20 * MS);
    assert_eq!(bench.progress(A, number), Some(Progress::Left));
    bench.says(B, 0);
    assert_eq!(bench.progress(A, number), Some(Progress::There));
    bench.give_up(A, number, false);
    assert_eq!(bench.progress(A, number), None);
}

#[test]
fn no_number_is_used_1024_above_one_that_the_peer_has_not_wholly() {
    let mut bench = Bench::new();
    bench.ends.iter_mut().for_each(|end| end.is_checked = false);
    for number in 0..1024 {
        assert_eq!(bench.ask(A, 10), number);
    }
    assert!(!bench.ends[A].session.can_ask());
    bench.rest();
    assert!(bench.ends[A].session.can_ask(), "that they are not answered is no hindrance");

    let mut bench = Bench::with_two_paths();
    bench.ends.iter_mut().for_each(|end| end.is_checked = false);
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 40_000);
    bench.send(A);
    assert!((0..2).all(|_| bench.deliver_one(A, 1).is_some()));
    bench.ends.iter_mut().for_each(|end| end.main = Some(0));
    for _ in 1..1024 {
        bench.ask(A, 10);
    }
    for from in [A, B, A] {
        bench.send(from);
        while bench.deliver_one(from, 0).is_some() {}
    }
    assert_eq!(bench.ends[A].session.outstanding(), 1);
    assert!(!bench.ends[A].session.can_ask(), "a part of the first has not come");
    bench.give_up(A, 0, true);
    assert!(bench.ends[A].session.can_ask(), "it is settled");
}

#[test]
fn no_more_wait_at_a_time_than_the_peer_allows() {
    let mut bench = Bench::with_most_outstanding(2);
    bench.connect();
    bench.rest();
    bench.ends[B].policy = Policy::Echo;
    bench.ask(A, 10);
    bench.notify(A, 10);
    assert!(!bench.ends[A].session.can_ask());
    bench.settle();
    assert!(bench.ends[A].session.can_ask(), "one was answered");
}

#[test]
fn a_notice_ends_when_the_peer_has_it_and_leaves_nothing_there() {
    let mut bench = Bench::new();
    for length in [10, 40_000] {
        bench.notify(A, length);
        bench.settle();
        assert!(matches!(&bench.heard(B)[..], [Heard::Told(_, body)] if body.len() == length));
        assert!(bench.ends[B].session.answering.is_empty());
        bench.rest();
        assert_eq!(bench.ends[A].session.take_told().len(), 1);
        assert_eq!(bench.ends[A].session.take_told().len(), 0, "that is said once");
        assert!(bench.ends[A].session.is_idle());
    }
}

#[test]
fn a_reply_to_a_notice_means_nothing() {
    let mut bench = Bench::new();
    let number = bench.notify(A, 10);
    for code in [ReplyCode::Answer, ReplyCode::Declined, ReplyCode::ReplyTooLong] {
        bench.forges(B, 0, &[Frame::Reply { number, code, total: 5, part: b"reply" }]);
    }
    bench.forges(B, 0, &[Frame::Reply { number, code: ReplyCode::Forgotten, total: 0, part: b"" }]);
    assert_eq!(bench.heard(A), [const { Heard::Unexpected }; 4]);
    assert_eq!(bench.ends[A].session.outstanding(), 1);
}

#[test]
fn a_notice_that_is_refused_ends() {
    let mut bench = Bench::new();
    let number = bench.notify(A, 10);
    bench.forges(B, 0, &[Frame::Refuse { number, code: RefuseCode::UnknownType, wait: 0 }]);
    assert_eq!(bench.heard(A), [Heard::Refused(number, RefuseCode::UnknownType)]);
}

#[test]
fn whoever_waits_no_more_says_so_if_any_part_has_left() {
    for (records, expected) in [(0, &[][..]), (1, &["CANCEL 0"]), (3, &["CANCEL 0"])] {
        let mut bench = Bench::new();
        bench.ask(A, 40_000);
        for _ in 0..records {
            bench.seal_one(A, 0, false);
            bench.take(A, 0, usize::MAX);
        }
        bench.deliver(A);
        bench.give_up(A, 0, true);
        assert_eq!(bench.says(A, 0), expected, "{records}");
        bench.rest();
        assert!(bench.ends.iter().all(|end| end.session.is_idle() && end.session.charged() == [0; 5]));
    }
}

#[test]
fn whoever_has_a_verdict_from_the_peer_says_nothing() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.rest();
    bench.give_up(A, 0, false);
    assert_eq!(bench.says(A, 0), [""; 0]);
}

#[test]
fn at_the_deadline_it_is_said_once_and_before_it_until_it_is_acknowledged() {
    for (timeout, again) in [(10 * SEC, 0), (3000 * SEC, 1)] {
        let mut bench = Bench::with_two_paths();
        bench.ask_until(A, 10, timeout);
        bench.rest();
        bench.wait(10 * SEC - 25 * MS);
        bench.give_up(A, 0, true);
        bench.send(A);
        assert_eq!(bench.flight(A, 1), ["CANCEL 0"]);
        bench.cut(1);
        assert_eq!(bench.says(A, 0).len(), again, "{timeout:?}");
        bench.rest();
        assert_eq!(bench.says(A, 0), [""; 0]);
    }
}

#[test]
fn a_notice_that_has_partly_left_is_cancelled_as_well() {
    let mut bench = Bench::new();
    let number = bench.notify(A, 40_000);
    bench.seal_one(A, 0, false);
    bench.take(A, 0, usize::MAX);
    bench.deliver(A);
    assert!(!bench.ends[B].session.answering.is_empty());
    bench.give_up(A, number, true);
    assert_eq!(bench.says(A, 0), ["CANCEL 0"]);
    assert!(bench.ends[B].session.answering.is_empty());
}

#[test]
fn of_very_many_that_are_cancelled_some_are_left_to_their_deadline() {
    let mut bench = Bench::new();
    bench.ends.iter_mut().for_each(|end| end.is_checked = false);
    for _ in 0..3 {
        for _ in 0..1000 {
            bench.ask(A, 1);
        }
        bench.rest();
    }
    for number in 0..3000 {
        bench.give_up(A, number, true);
    }
    bench.rest();
    assert_eq!(bench.ends[B].running.len(), 3000 - 1024);
    assert!(bench.ends[A].session.is_idle());
}

#[test]
fn without_memory_for_its_reply_a_query_is_given_up_and_the_peer_told_so() {
    let mut bench = Bench::new();
    bench.ends[A].limits.assembly_bytes_per_peer = 30_000;
    bench.ask(A, 10);
    bench.rest();
    bench.answer(B, 0, 40_000);
    bench.seal_one(B, 0, false);
    bench.take(B, 0, usize::MAX);
    bench.deliver(B);
    assert_eq!(bench.heard(A), [Heard::NoRoom(0)]);
    assert!(bench.says(A, 0).concat().contains("CANCEL 0"));
    bench.rest();
    assert!(bench.ends[B].session.is_idle(), "the reply is forgotten");
}

#[test]
fn a_deadline_is_never_too_early_on_the_peers_clock_and_an_hour_later_late_by_seconds() {
    for (timeout, late) in [(MS, 3 * MS), (SEC, 5 * MS), (3600 * SEC, 8 * SEC)] {
        let mut bench = Bench::new();
        bench.wait(100 * MS);
        let deadline = bench.now + timeout;
        bench.ask_until(A, 10, timeout);
        bench.settle();
        let Some(&crate::session::Entry::Running { until, .. }) = bench.ends[B].session.answering.get(0) else {
            panic!("it runs");
        };
        assert!(until >= deadline && until <= deadline + late, "{timeout:?}");
    }
}

#[test]
fn a_session_that_ends_tells_how_far_each_query_had_come() {
    let mut bench = Bench::new();
    bench.ask(A, 10);
    bench.rest();
    bench.ask(A, 10);
    bench.notify(A, 10);
    bench.send(A);
    bench.ask(A, 10);
    bench.ask(B, 10);
    bench.send(B);
    bench.deliver(B);
    let Bench { ends: [mut asker, _], .. } = bench;
    let mut account = crate::admission::Account {
        of_peer: &mut asker.charges,
        of_all: &mut asker.all,
        limits: &asker.limits,
    };
    let ended = asker.session.end(&mut account);
    let progress: Vec<_> = ended.asked.iter().map(|asked| (asked.number, asked.progress)).collect();
    let [here, left, there] = [Progress::Here, Progress::Left, Progress::There];
    assert_eq!(progress, [(0, there), (1, left), (2, left), (3, here)]);
    assert_eq!((ended.withdrawn.len(), ended.told.len()), (1, 0));
    assert_eq!(asker.charges, crate::admission::Charges::default());
}

#[test]
fn nothing_is_asked_before_the_peer_was_heard_nor_once_the_clocks_have_parted() {
    let mut bench = Bench::apart();
    assert!(bench.ends[A].session.can_ask(), "its WELCOME was heard");
    assert!(!bench.ends[B].session.can_ask());
    bench.connect();
    bench.settle();
    assert!(bench.ends[B].session.can_ask());
    bench.ends[A].session.clocks_have_parted();
    assert!(!bench.ends[A].session.can_ask() && bench.ends[A].session.wants_replacement());
}

#[test]
fn a_break_names_the_numbers_that_were_taken() {
    let mut bench = Bench::new();
    let policies = [Policy::Take, Policy::Echo, Policy::Refuse(RefuseCode::Busy), Policy::Take, Policy::Take];
    for policy in policies {
        bench.ends[B].policy = policy;
        bench.ask(A, 10);
        bench.settle();
    }
    bench.notify(A, 10);
    bench.ask_until(A, 10, 100 * MS);
    bench.settle();
    bench.forges(A, 0, &[Frame::Query { number: 7, notice: false, until: u32::MAX, total: 9, part: b"part" }]);
    bench.ends[B].refuse_running(3, RefuseCode::Busy);
    bench.give_up(A, 4, true);
    bench.wait(SEC);
    bench.heard(A);
    let mut packet = Vec::new();
    bench.ends[B].session.seal_end(crate::wire::code::BreakCode::ShuttingDown, &mut packet);
    bench.arrives(A, 0, &packet).unwrap().unwrap();
    let heard = bench.heard(A);
    let [Heard::Broken(0, taken)] = &heard[..] else { panic!("{heard:?}") };
    // Waits, was answered, refused, refused by its handler, cancelled, told, forgotten, unfinished.
    assert_eq!((taken[0], &taken[1..]), (0b0111_0011, &[0; 127][..]));
}
