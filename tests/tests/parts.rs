//! Messages in parts: put together within limits, and given up when nothing comes any more.

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use std::time::Duration;

use egtp::{Cause, Executed, Limits, PeerRefusal, Reason, Refusal, Verdict};
use egtp_sim::second::frame::{Frame, OF_REPLY};
use egtp_tests::bench::{Between, Side};
use egtp_tests::scene::{ECHO, KEEP, long_body, query};
use egtp_tests::settings::{limited, surrounded};
use talk::{Real, Second, UNTIL};

/// Codes of REFUSE.
const BUSY_WITH_YOU: u8 = 2;
const NO_MEMORY: u8 = 4;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_that_finds_no_room_for_its_pieces_is_refused_and_others_pass() {
    let limits: [fn(&mut Limits); 2] =
        [|limits| limits.assembly_bytes = 100_000, |limits| limits.assembly_bytes_per_peer = 100_000];
    for limit in limits {
        let (mut scene, node, others) = surrounded::<1>(limited(limit));
        let large = scene.ask(others[0], node, query(ECHO, &long_body(200_000)).hard_timeout(5 * SECOND));
        let fits = scene.ask(others[0], node, query(ECHO, &long_body(20_000)));
        scene.run_secs(10);
        let failure = scene.failure(others[0], large);
        let no_memory = Reason::RefusedByPeer(PeerRefusal::NoMemory);
        assert_eq!((failure.reason, failure.executed), (no_memory, Executed::No));
        assert_eq!(scene.reply(others[0], fits).len(), 20_000);

        let answer = scene.ask(node, others[0], query(KEEP, b"a long answer"));
        scene.run_secs(1);
        let (_, token, _) = scene.told.kept.pop().unwrap();
        scene.world.reply(others[0], token, long_body(200_000));
        scene.run_secs(10);
        let failure = scene.failure(node, answer);
        let no_memory = Reason::RefusedHere(Refusal::NoMemoryForReply);
        assert_eq!((failure.reason, failure.executed), (no_memory, Executed::Maybe));
        assert_eq!(scene.world.node(node).usage().assembly_bytes, 0);
    }
}

#[test]
fn pieces_that_never_complete_are_dropped_after_their_time() {
    let mut between = Between::acquainted();
    between.go_on(SECOND);
    between.ask(query(ECHO, &long_body(100_000)));
    let pieces = between.written_by(Side::Left);
    assert!(pieces.len() >= 3);
    between.pass(Side::Left, &pieces[0]);
    between.pass(Side::Left, &pieces[1]);
    assert!(between.right.node.usage().assembly_bytes > 20_000);
    for _ in 0..62 {
        between.wait(SECOND / 2);
        // The peer lives, and says so.
        for packet in between.written_by(Side::Right) {
            between.pass(Side::Right, &packet);
        }
        for packet in between.written_by(Side::Left).into_iter().filter(|packet| packet.len() < 100) {
            between.pass(Side::Left, &packet);
        }
    }
    assert_eq!(between.right.node.usage().assembly_bytes, 0);
    assert_eq!(between.right.node.count(Cause::MessageAbandoned), 1);
    assert_eq!(between.right.closed, []);
}

/// The first `length` bytes of a query.
fn first_part(number: u64, query: &[u8], length: usize) -> Frame {
    let total = u32::try_from(query.len()).unwrap();
    Frame::Query { number, flags: 0, until: 10 * UNTIL, total, part: query[..length].to_vec() }
}

/// The first part of so many queries, one byte of each. Gives the codes with which some were refused.
fn begins_many(real: &mut Real, second: &mut Second, queries: u64) -> Vec<u8> {
    let query = second.query(real, 5, &[1; 1000]);
    let mut refused = Vec::new();
    for number in 0..queries {
        second.say(real, &[first_part(number, &query, 1)]);
        refused.extend(second.hear(real).into_iter().filter_map(|frame| match frame {
            Frame::Refuse { code, .. } => Some(code),
            _ => None,
        }));
    }
    refused
}

#[test]
fn queries_that_have_only_begun_count_as_waiting() {
    let mut real = Real::with(limited(|limits| limits.incoming_per_peer = 100));
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let refused = begins_many(&mut real, &mut second, 150);
    assert_eq!(refused, [BUSY_WITH_YOU; 50]);
}

#[test]
fn a_query_of_which_one_byte_has_come_is_charged_with_all_that_it_announces() {
    let mut real = Real::with(limited(|limits| limits.assembly_bytes_per_peer = 20_000));
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let refused = begins_many(&mut real, &mut second, 100);
    assert!(refused.len() > 80, "{} of 100 were kept in 20,000 bytes", 100 - refused.len());
    assert!(refused.iter().all(|&code| code == NO_MEMORY));
    assert!(real.node.usage().assembly_bytes <= 20_000);
}

#[test]
fn a_reply_that_begins_again_is_put_together_all_the_same() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"much, please");
    let (number, asked) = second.hears_query(&mut real);
    let reply = second.reply(&real, &asked, &[7; 50_000]);
    let total = u32::try_from(reply.len()).unwrap();
    let begin = Frame::Reply { number, code: 0, total, part: reply[..20_000].to_vec() };
    let rest = Frame::piece(OF_REPLY, number, &reply, 19_000..reply.len());
    for frame in [begin.clone(), begin, rest] {
        second.say(&mut real, &[frame]);
    }
    let (_, Verdict::Reply(reply)) = real.verdict() else { panic!("no reply") };
    assert_eq!(reply.body, [7; 50_000]);
}
