//! Messages in parts.

use alloc::vec::Vec;

use super::bench::{A, B, Bench, Heard, MS, SEC, body, query};
use crate::admission::Charges;
use crate::session::RuleBroken;
use crate::wire::code::ReplyCode;
use crate::wire::frame::{Frame, PieceOf};
use crate::wire::message::{Kind, Message};

fn encoding(message: &Message) -> Vec<u8> {
    let mut encoding = Vec::new();
    message.put(0, usize::MAX, &mut encoding);
    encoding
}

/// A part of the query number 0, which is `message`.
fn query_part(message: &[u8], from: usize, to: usize) -> Frame<'_> {
    let (total, part) = (message.len(), &message[from..to]);
    if from == 0 {
        Frame::Query { number: 0, notice: false, until: u32::MAX, total, part }
    } else {
        Frame::Piece { of: PieceOf::Query, number: 0, total, offset: from, part }
    }
}

fn reply_part(message: &[u8], from: usize, to: usize) -> Frame<'_> {
    let (total, part) = (message.len(), &message[from..to]);
    if from == 0 {
        Frame::Reply { number: 0, code: ReplyCode::Answer, total, part }
    } else {
        Frame::Piece { of: PieceOf::Reply, number: 0, total, offset: from, part }
    }
}

/// Parts of 100 bytes of a message of 500, in any order, some of them twice, some overlapping.
const ORDERS: [&[(usize, usize)]; 4] = [
    &[(400, 500), (0, 100), (300, 400), (100, 200), (200, 300)],
    &[(100, 200), (150, 450), (100, 200), (0, 500)],
    &[(0, 100), (0, 100), (50, 500)],
    &[(499, 500), (1, 499), (0, 1)],
];

#[test]
fn a_query_is_put_together_whatever_order_and_path_its_parts_come_by() {
    let message = encoding(&query(Kind::Query, &body(432)));
    for order in ORDERS {
        let mut bench = Bench::with_two_paths();
        for (at, &(from, to)) in order.iter().enumerate() {
            assert!(bench.heard(B).is_empty());
            bench.forges(A, at % 2, &[query_part(&message, from, to)]);
        }
        assert_eq!(bench.heard(B), [Heard::Asked(0, body(432))]);
        assert_eq!(bench.ends[B].charges.assembly, 0);
    }
}

#[test]
fn a_reply_is_put_together_whatever_order_and_path_its_parts_come_by() {
    for order in ORDERS {
        let mut bench = Bench::with_two_paths();
        bench.ask(A, 10);
        bench.rest();
        let id = query(Kind::Query, &body(10)).id();
        let message = encoding(&super::bench::reply(id, &body(432)));
        for (at, &(from, to)) in order.iter().enumerate() {
            assert!(bench.heard(A).is_empty());
            bench.forges(B, at % 2, &[reply_part(&message, from, to)]);
        }
        assert_eq!(bench.heard(A), [Heard::Replied(0, ReplyCode::Answer, body(432))]);
        assert_eq!(bench.ends[A].charges, Charges::default());
    }
}

#[test]
fn parts_that_contradict_each_other_break_the_rules() {
    let message = encoding(&query(Kind::Query, &body(432)));
    let (mut other, longer) = (message.clone(), encoding(&query(Kind::Query, &body(433))));
    other[50] ^= 1;
    let (total, part) = (message.len(), &message[..100]);
    let frames = [
        query_part(&other, 0, 100),
        query_part(&other, 40, 100),
        query_part(&other, 0, 500),
        query_part(&longer, 0, 100),
        query_part(&longer, 200, 300),
        Frame::Query { number: 0, notice: true, until: u32::MAX, total, part },
        Frame::Query { number: 0, notice: false, until: u32::MAX - 1, total, part },
    ];
    for frame in frames {
        let mut bench = Bench::new();
        bench.forges(A, 0, &[query_part(&message, 0, 100)]);
        assert_eq!(bench.forge(A, 0, &[frame]), Err(RuleBroken), "{frame:?}");
    }
}

#[test]
fn a_reply_that_contradicts_its_parts_breaks_the_rules_unless_it_is_that_there_is_none() {
    let whole = encoding(&super::bench::reply(query(Kind::Query, &body(10)).id(), b""));
    let part = [7; 100];
    let codes = [
        (ReplyCode::Answer, false),
        (ReplyCode::Declined, false),
        (ReplyCode::ReplyTooLong, true),
        (ReplyCode::Forgotten, true),
    ];
    for (code, may) in codes {
        let mut bench = Bench::new();
        bench.ask(A, 10);
        bench.rest();
        bench.forges(B, 0, &[Frame::Reply { number: 0, code: ReplyCode::Answer, total: 500, part: &part }]);
        let part = if code == ReplyCode::Forgotten { &[] } else { &whole[..] };
        let taken = bench.forge(B, 0, &[Frame::Reply { number: 0, code, total: part.len(), part }]);
        assert_eq!(taken.is_ok(), may, "{code:?}");
        assert_eq!(bench.heard(A).len(), usize::from(may));
        assert_eq!(bench.ends[A].charges.assembly, if may { 0 } else { 500 });
    }
}

#[test]
fn a_message_in_more_than_1024_stretches_breaks_the_rules() {
    let message = encoding(&query(Kind::Query, &body(4000)));
    let mut bench = Bench::new();
    for at in 0..1024 {
        bench.forges(A, 0, &[query_part(&message, 2 * at + 1, 2 * at + 2)]);
    }
    assert_eq!(bench.forge(A, 0, &[query_part(&message, 3000, 3001)]), Err(RuleBroken));
}

#[test]
fn a_query_whose_parts_stop_coming_is_refused_after_30_s() {
    let message = encoding(&query(Kind::Query, &body(432)));
    let mut bench = Bench::new();
    bench.forges(A, 0, &[query_part(&message, 0, 100)]);
    bench.sleep(29 * SEC);
    bench.forges(A, 0, &[query_part(&message, 100, 200)]);
    bench.sleep(29 * SEC);
    bench.forges(A, 0, &[query_part(&message, 100, 200)]);
    assert_eq!(bench.ends[B].charges.assembly, 500);
    bench.sleep(SEC);
    assert_eq!(bench.ends[B].charges.assembly, 0, "what has come before is nothing new");
    bench.send(B);
    assert!(bench.flight(B, 0).concat().contains("REFUSE 0 NoMemory"));
}

#[test]
fn what_stalls_is_refused_each_in_its_time() {
    let mut bench = Bench::new();
    for number in 0..3 {
        bench.forges(A, 0, &[Frame::Query { number, notice: false, until: u32::MAX, total: 9, part: b"part" }]);
        bench.sleep(SEC);
    }
    bench.cut_at(B, 0);
    let mut due = Vec::new();
    while let Some(next) = bench.ends[B].session.deadline(bench.now).filter(|_| due.len() < 9) {
        bench.now = next;
        bench.tick();
        due.push((bench.now, bench.ends[B].charges.entries));
    }
    let start = bench.now;
    assert_eq!(due.iter().map(|&(_, entries)| entries).take(3).collect::<Vec<_>>(), [2, 1, 0], "{due:?} {start:?}");
    assert_eq!(due[1].0, due[0].0 + SEC);
}

#[test]
fn a_query_for_which_there_is_no_memory_is_refused_and_its_other_parts_as_well() {
    let mut bench = Bench::new();
    bench.ends[B].limits.assembly_bytes_per_peer = 100_000;
    bench.ask(A, 60_000);
    bench.ask(A, 60_000);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(..)]));
    assert!(matches!(bench.heard(A)[..], [Heard::Refused(_, crate::wire::code::RefuseCode::NoMemory)]));
    bench.rest();
    assert_eq!(bench.ends[B].charges.assembly, 0);
    assert!(bench.ends[A].session.outstanding() == 1 && bench.ends[A].charges.long == 0);
}

#[test]
fn at_most_four_long_messages_are_under_way_until_the_peer_has_all_of_one() {
    let mut bench = Bench::new();
    for _ in 0..6 {
        bench.ask(A, 40_000);
    }
    bench.seal(A);
    assert_eq!((bench.ends[A].charges.long, bench.paths[0].waiting[A].len()), (4, 12));
    bench.take(A, 0, usize::MAX);
    bench.deliver(A);
    assert!(!bench.send(A), "they are all there, but that is not known here");
    bench.sleep(20 * MS);
    bench.says(B, 0);
    bench.seal(A);
    assert_eq!((bench.ends[A].charges.long, bench.paths[0].waiting[A].len()), (2, 6));
    bench.give_up(A, 5, true);
    assert_eq!(bench.ends[A].charges.long, 1);
}

#[test]
fn long_replies_have_four_places_as_well_and_what_is_short_needs_none() {
    let mut bench = Bench::new();
    for _ in 0..7 {
        bench.ask(A, 10);
    }
    bench.rest();
    for number in 0..6 {
        bench.answer(B, number, 40_000);
    }
    bench.answer(B, 6, 16_384 - 68);
    bench.seal(B);
    assert_eq!(bench.ends[B].charges.long, 4);
    let sealed = bench.waiting(B, 0);
    assert_eq!(sealed[0], "REPLY 6 Answer");
    assert_eq!(sealed.len(), 13);
    bench.settle();
    bench.rest();
    assert_eq!((bench.ends[B].charges, bench.ends[A].session.outstanding()), (Charges::default(), 0));
}

#[test]
fn a_record_holds_one_piece_and_short_messages_go_in_between() {
    let mut bench = Bench::new();
    bench.ask(A, 60_000);
    bench.seal_one(A, 0, false);
    for _ in 0..3 {
        bench.ask(A, 10);
    }
    bench.ask(A, 10_000);
    bench.ask(A, 10_000);
    bench.seal(A);
    let sealed = bench.waiting(A, 0);
    assert_eq!(sealed[0], "QUERY 0 [0..16384 of 60068]");
    let all = sealed.join("; ");
    assert!(sealed.iter().all(|record| record.matches("QUERY 0").count() <= 1), "{all}");
    let (shorts, rest) = (all.find("QUERY 1").unwrap(), all.find("of 60068], ").or(all.rfind("QUERY 0 [")).unwrap());
    assert!(shorts < rest, "{all}");
    assert!(!all.contains("of 10068"), "what fits a record is not cut: {all}");
}
