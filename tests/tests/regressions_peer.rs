//! What once went wrong when a peer said what a node of this implementation would not have said, or not then. The second
//! implementation is that peer.
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use core::time::Duration;

use egtp::{
    Config, ConnectionId, Executed, Identity, Instant, Limits, Node, PeerRefusal, Reason, Stored, UnixTime, Verdict,
};

use egtp_sim::second::frame::{Frame, OF_REPLY};
use egtp_sim::second::packet::Packet;
use talk::{Real, Second, UNTIL, ask, type_name};

/// An acknowledgement that nothing goes with goes after so long.
const ACK: Duration = Duration::from_millis(20);

/// Codes of REFUSE.
const BUSY_WITH_YOU: u8 = 2;
const NO_MEMORY: u8 = 4;
const TOO_LATE: u8 = 8;

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

/// The peer is heard over another connection too.
fn comes_over_another(real: &mut Real, second: &mut Second) -> ConnectionId {
    let other = real.accept();
    let ping = second.session.say(&[Frame::Ping]);
    real.receive(other, &ping);
    other
}

/// An honest peer begins no more than twice as many as may wait, and those whose acknowledgement is on its way.
#[test]
fn queries_that_have_only_begun_are_refused_beyond_their_limit() {
    let mut real = limited(|limits| limits.incoming_per_peer = 100);
    let mut second = acquainted(&mut real);
    let refused = begins_many(&mut real, &mut second, 2 * 100 + 4096 + 50);
    assert_eq!(refused, [BUSY_WITH_YOU; 50]);
}

#[test]
fn a_query_of_which_one_byte_has_come_is_charged_with_all_that_it_announces() {
    let mut real = limited(|limits| limits.assembly_bytes_per_peer = 20_000);
    let mut second = acquainted(&mut real);
    let refused = begins_many(&mut real, &mut second, 100);
    assert!(refused.len() > 80, "{} of 100 were kept in 20,000 bytes", 100 - refused.len());
    assert!(refused.iter().all(|&code| code == NO_MEMORY));
    assert!(real.node.usage().assembly_bytes <= 20_000);
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
fn what_is_sealed_in_a_session_that_is_broken_never_leaves_and_goes_again_in_the_next() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let on = second.on;
    let (_, asked) = second.hears_query(&mut real);
    let reply = second.reply(&real, &asked, b"world");
    second.say(&mut real, &[second.session.ack().unwrap(), Frame::reply(0, 0, &reply)]);
    real.verdict();

    ask(&mut real, b"sealed, and not yet written");
    second.say_bytes(&mut real, b"no frame");
    assert!(real.deliveries.is_empty(), "{:?}", real.deliveries);
    let said = second.hear(&mut real);
    assert!(!said.iter().any(|frame| matches!(frame, Frame::Query { .. })), "{said:?}");
    assert!(real.closed.contains(&on));
    real.wait(Duration::from_secs(1));
    let on = real.dialled_again();
    let (mut second, _) = Second::welcomes(&mut real, on, 1, 2, 0);
    assert_eq!(second.hears_query(&mut real).0, 0);
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

#[test]
fn a_query_that_is_called_late_goes_again_once() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"in time");
    let (number, asked) = second.hears_query(&mut real);
    second.say(&mut real, &[second.session.ack().unwrap(), Frame::Refuse { number, code: TOO_LATE, wait: 0 }]);
    assert!(real.deliveries.is_empty(), "{:?}", real.deliveries);
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), []);

    // The peer still holds the session, but another one is made, a second after the first at the earliest.
    real.wait(Duration::from_secs(1));
    let (mut second, _) = Second::welcomes(&mut real, second.on, 1, 2, 1);
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
    real.receive(on, &Packet::Busy { isid, code: 1, wait: 10 }.encode());
    real.node.cancel(real.now, given_up).unwrap();
    real.drain();
    assert_eq!(real.failure().reason, Reason::Cancelled);
    real.wait(Duration::from_secs(3));
    assert!(real.packets(on).is_empty(), "nobody waits");

    ask(&mut real, b"hello");
    let (mut second, _) = Second::welcomes(&mut real, on, 0, 1, 0);
    second.hears_query(&mut real);
}
