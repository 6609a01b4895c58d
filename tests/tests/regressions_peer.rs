//! What once went wrong when a peer said what a node of this implementation would not have said, or not then. The second
//! implementation is that peer.
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use core::time::Duration;

use egtp::{
    Config, ConnectionId, Executed, Identity, Instant, Limits, Node, PeerRefusal, Reason, Refusal, Stored, UnixTime,
    Verdict,
};

use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::Packet;
use talk::{Real, Second, UNTIL, ask, echo, type_name};

const LEAVE_PROPOSAL: Frame = Frame::Leave { step: 0 };
const LEAVE_ANSWER: Frame = Frame::Leave { step: 1 };

/// Codes of REFUSE and BREAK, and what a PIECE continues.
const BUSY_WITH_YOU: u8 = 2;
const NO_MEMORY: u8 = 4;
const TOO_LATE: u8 = 8;
const MEMORY: u8 = 1;
const OF_QUERY: u8 = 1;
const OF_REPLY: u8 = 4;

fn limited(limit: impl FnOnce(&mut Limits)) -> Real {
    let mut config = Config::default();
    limit(&mut config.limits);
    let (config, identity) = (config.check().unwrap(), Identity::from_seed(&[1; 32]));
    let now = Instant::from_micros(1_000_000);
    let mut node = Node::new(config, identity, [2; 32], Stored::default(), now, UnixTime::from_secs(0));
    node.serve(type_name()).unwrap();
    Real { node, ..Real::new() }
}

/// A peer that has opened a connection and a session, and has been heard in it.
fn acquainted(real: &mut Real) -> Second {
    let on = real.accept();
    let (mut second, _) = Second::meets_over(real, on, 3, &[]);
    second.say(real, &[]);
    second
}

/// The first `length` bytes of a query.
fn first_part(number: u64, query: &[u8], length: usize) -> Frame {
    let total = u32::try_from(query.len()).unwrap();
    Frame::Query { number, flags: 0, until: 10 * UNTIL, total, part: query[..length].to_vec() }
}

/// The first part of so many queries, one byte of each. Gives the codes with which some were refused.
fn begins_many(real: &mut Real, second: &mut Second, queries: u64) -> Vec<u8> {
    let query = second.query(real, 5, b"one of many");
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

/// The peer is heard over another connection too; whoever dialled the first one then proposes to leave it.
fn comes_over_another(real: &mut Real, second: &mut Second) -> ConnectionId {
    let other = real.accept();
    let ping = second.session.seal(&Frame::Ping { token: 1, asked: vec![] }.encode());
    real.receive(other, &ping);
    other
}

#[test]
fn queries_that_have_only_begun_count_as_waiting() {
    let mut real = limited(|limits| limits.incoming_per_peer = 100);
    let mut second = acquainted(&mut real);
    let refused = begins_many(&mut real, &mut second, 150);
    assert_eq!(refused, [BUSY_WITH_YOU; 50]);
}

#[test]
fn a_query_of_which_one_byte_has_come_is_charged_with_what_it_takes_to_keep_it() {
    let mut real = limited(|limits| limits.assembly_bytes_per_peer = 10_000);
    let mut second = acquainted(&mut real);
    let refused = begins_many(&mut real, &mut second, 100);
    assert!(refused.len() > 50, "{} of 100 were kept in 10,000 bytes", 100 - refused.len());
    assert!(refused.iter().all(|&code| code == NO_MEMORY));
    assert!(real.node.usage().assembly_bytes <= 10_000);
}

#[test]
fn leaving_never_cuts_off_a_query_that_is_coming_in() {
    let mut real = limited(|limits| limits.connections = 1);
    let mut second = acquainted(&mut real);
    let on = second.on;
    let newcomer = real.node.accept(real.now, "192.0.2.8:8".parse().unwrap());
    assert_eq!(newcomer, Err(Refusal::TooManyConnections));
    assert_eq!(second.hears(&mut real), LEAVE_PROPOSAL);
    // The query crosses that, and goes on coming for longer than leaving may take.
    let query = second.query(&real, 5, &[7; 500]);
    second.say(&mut real, &[first_part(0, &query, 100)]);
    second.say(&mut real, &[LEAVE_ANSWER]);
    for (offset, part) in (100..).step_by(50).zip(query[100..].chunks(50)) {
        assert!(!real.closed.contains(&on), "closed before byte {offset}");
        second.say(&mut real, &[Frame::Piece { of: OF_QUERY, number: 0, offset, part: part.to_vec() }]);
        real.wait(Duration::from_secs(2));
    }
    assert_eq!(echo(&mut real), [7; 500]);
    assert!(second.hear(&mut real).iter().any(|frame| matches!(frame, Frame::Reply { number: 0, .. })));
    assert!(real.closed.contains(&on), "then it is closed");
}

#[test]
fn an_answer_goes_over_the_connection_that_is_being_left_before_that_is_closed() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let on = second.on;
    let (number, asked) = second.hears_query(&mut real);
    let reply = second.reply(&real, &asked, b"world");
    second.say(&mut real, &[Frame::reply(number, 0, 0, &reply)]);
    real.verdict();

    let query = second.query(&real, 5, b"slow");
    second.say(&mut real, &[Frame::query(0, UNTIL, &query)]);
    let other = comes_over_another(&mut real, &mut second);
    assert!(second.hear(&mut real).contains(&LEAVE_PROPOSAL));
    second.say(&mut real, &[LEAVE_ANSWER]);
    assert!(!real.closed.contains(&on), "an answer is owed there");
    real.packets(other);
    echo(&mut real);
    assert!(matches!(second.hears(&mut real), Frame::Reply { number: 0, .. }));
    assert!(real.closed.contains(&on) && !real.closed.contains(&other));
}

#[test]
fn a_connection_that_is_being_left_is_closed_once_its_long_query_is_answered() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, &[7; 300_000]);
    let on = second.on;
    comes_over_another(&mut real, &mut second);
    let mut query = Vec::new();
    for frame in second.hear(&mut real) {
        match frame {
            Frame::Query { part, .. } | Frame::Piece { part, .. } => query.extend(part),
            other => assert_eq!(other, LEAVE_PROPOSAL),
        }
    }
    second.say(&mut real, &[LEAVE_ANSWER]);
    assert!(!real.closed.contains(&on), "an answer is awaited there");
    let reply = second.reply(&real, &query, b"all of it");
    second.say(&mut real, &[Frame::reply(0, 0, 0, &reply)]);
    assert!(matches!(real.verdict().1, Verdict::Reply(_)));
    assert!(real.closed.contains(&on));
}

#[test]
fn a_peer_that_opens_one_connection_after_another_keeps_only_a_few() {
    let mut real = Real::new();
    let mut second = acquainted(&mut real);
    let latest = (0..50).map(|_| comes_over_another(&mut real, &mut second)).last().unwrap();
    assert_eq!(real.node.usage().connections, 4);
    assert!(!real.closed.contains(&latest), "the oldest gives way");
}

#[test]
fn a_new_session_replaces_one_that_is_held_only_for_an_answer() {
    let mut real = Real::new();
    let (mut old, _) = Second::is_asked(&mut real, b"take your time");
    let (number, slow) = old.hears_query(&mut real);
    let (mut better, _) = Second::meets_over(&mut real, old.on, 4, &[]);
    better.say(&mut real, &[]);
    better.say(&mut real, &[Frame::Break { code: MEMORY, base: 0, bitmap: [0; 128] }]);
    real.packets(old.on);

    ask(&mut real, b"next");
    let on = old.on;
    let (mut newest, hello) = Second::welcomes(&mut real, on, 1, 3, 1);
    assert_eq!(hello.asked.len(), 1, "the old one is asked about, and is held");
    let mut frames = newest.hear(&mut real);
    frames.retain(|frame| matches!(frame, Frame::Query { .. }));
    let [Frame::Query { part: next, .. }] = &frames[..] else { panic!("the query does not go: {frames:?}") };
    let replies = [old.reply(&real, &slow, b"at last"), newest.reply(&real, next, b"at once")];
    old.say(&mut real, &[Frame::reply(number, 0, 0, &replies[0])]);
    newest.say(&mut real, &[Frame::reply(0, 0, 0, &replies[1])]);
    assert_eq!(real.deliveries.len(), 2);
}

#[test]
fn a_node_that_breaks_a_session_does_not_send_again_what_is_sealed_in_it() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let on = second.on;
    let (_, asked) = second.hears_query(&mut real);
    let reply = second.reply(&real, &asked, b"world");
    second.say(&mut real, &[Frame::reply(0, 0, 0, &reply)]);
    real.verdict();

    ask(&mut real, b"sealed, and not yet written");
    second.say_bytes(&mut real, b"no frame");
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::ConnectionLost, Executed::Maybe));
    let queries = second.hear(&mut real).into_iter().filter(|frame| matches!(frame, Frame::Query { .. }));
    assert_eq!(queries.count(), 1, "what is sealed is still written");
    assert!(real.closed.contains(&on) && real.connects.is_empty());
}

#[test]
fn a_reply_that_begins_again_is_put_together_all_the_same() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"much, please");
    let (number, asked) = second.hears_query(&mut real);
    let reply = second.reply(&real, &asked, &[7; 50_000]);
    let total = u32::try_from(reply.len()).unwrap();
    let begin = Frame::Reply { number, code: 0, echo: 0, total, part: reply[..20_000].to_vec() };
    let offset = 20_000;
    let rest = Frame::Piece { of: OF_REPLY, number, offset, part: reply[20_000..].to_vec() };
    for frame in [begin.clone(), begin, rest] {
        second.say(&mut real, &[frame]);
    }
    let (_, Verdict::Reply(reply)) = real.verdict() else { panic!("no reply") };
    assert_eq!(reply.body, [7; 50_000]);
}

#[test]
fn a_query_that_is_called_late_goes_again_once() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"in time");
    let (number, asked) = second.hears_query(&mut real);
    second.say(&mut real, &[Frame::Refuse { number, code: TOO_LATE, wait: 0 }]);
    assert!(real.deliveries.is_empty(), "{:?}", real.deliveries);

    // The peer still holds the session, but another one is made.
    let (mut second, hello) = Second::welcomes(&mut real, second.on, 1, 2, 1);
    assert_eq!(hello.asked.len(), 1);
    let again = second.hear(&mut real).into_iter().find_map(|frame| match frame {
        Frame::Query { number, part, .. } => Some((number, part)),
        _ => None,
    });
    assert_eq!(again, Some((0, asked)));
    second.say(&mut real, &[Frame::Refuse { number: 0, code: TOO_LATE, wait: 0 }]);
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedByPeer(PeerRefusal::TooLate), Executed::No));
}

/// A connection that is open outlives the query that it was opened for; but nothing was said on it any more, and the next query
/// waited there in vain until it was closed.
#[test]
fn a_query_asks_for_a_session_on_the_connection_that_another_has_left_behind() {
    let mut real = Real::new();
    let (on, given_up) = Second::is_dialled(&mut real, b"given up");
    let Packet::Hello { isid, .. } = real.packet(on) else { panic!("no HELLO") };
    real.receive(on, &Packet::Busy { isid, code: 1, wait_secs: 1 }.encode());
    real.node.cancel(real.now, given_up).unwrap();
    real.drain();
    assert_eq!(real.failure().reason, Reason::Cancelled);
    real.wait(Duration::from_secs(3));
    assert!(real.packets(on).is_empty(), "nobody waits");

    ask(&mut real, b"hello");
    let (second, _) = Second::welcomes(&mut real, on, 0, 1, 0);
    second.hears_query(&mut real);
}
