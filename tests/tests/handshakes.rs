//! Handshakes: how many at once, how often, and what anybody on the way can make of them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use egtp::{Cause, ConnectionId, Ending, Event, Identity, Instant, QueryId, SignedRecord, Strategies};
use egtp_tests::bench::{Between, Party, Side, address, framed};
use egtp_tests::scene::{ECHO, long_body, query};
use egtp_tests::settings::{limited, surrounded};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const HELLO: u8 = 1;
const RETRY: u8 = 3;
const STALE: u8 = 5;
const BUSY: u8 = 6;

/// A packet that anybody on the way can make up.
fn forged(kind: u8, sid: &[u8], rest: &[u8]) -> Vec<u8> {
    framed(&[&[2, kind], sid, rest].concat())
}

/// The session id in the header of a packet.
fn session_id(packet: &[u8]) -> &[u8] {
    &packet[6..14]
}

/// A node is told, in answer to its HELLO, that there is no room for a minute. Says whether it closes the connection.
fn says_busy(asker: &mut Party, now: Instant, on: ConnectionId) -> bool {
    let hello = asker.writes(now, on);
    asker.receives(now, on, &forged(BUSY, session_id(&hello), &[1, 2, 88]));
    asker.closed.contains(&on)
}

/// So many nodes' first messages to a node, and the connections over which they come.
fn hellos(to: &Party, count: u8) -> Vec<Vec<u8>> {
    let now = Instant::from_micros(1_000_000);
    let hello = |number| {
        let mut party = Party::new(number);
        party.node.learn(now, to.record()).unwrap();
        party.node.query(now, to.node.id(), query(ECHO, b"flood")).unwrap();
        party.settle(now);
        let connection = party.dialled[0];
        party.handle(now, Event::Connected(connection));
        party.writes(now, connection)
    };
    (100..100 + count).map(hello).collect()
}

#[test]
fn a_flood_of_half_open_handshakes_takes_bounded_memory_and_lets_an_honest_node_in() {
    let config = limited(|limits| limits.tentative_sessions = 4);
    let mut target = Party::with_config(1, config);
    let now = Instant::from_micros(1_000_000);
    for hello in hellos(&target, 40) {
        let connection = target.accepts(now);
        target.receives(now, connection, &hello);
        assert!(target.node.usage().tentative_sessions <= 4);
        assert!(target.writes(now, connection).len() < hello.len(), "an answer is no longer than the question");
    }
    assert!(target.node.count(Cause::HandshakeRefused) > 0, "cookies are asked for under pressure");
    let mut between = Between::asking(Party::new(2), target, query(ECHO, b"let me in"));
    between.carry();
    assert_eq!(between.right.asked(), 1);
    between.wait(11 * SECOND);
    let usage = between.right.node.usage();
    assert_eq!((usage.sessions - usage.tentative_sessions, usage.unauthenticated_connections), (1, 0));
    assert!(usage.tentative_sessions <= 4, "they have no timer, and make way for others");
}

#[test]
fn beyond_the_limit_of_handshakes_in_a_second_the_peer_comes_back() {
    let (mut scene, node, others) = surrounded::<5>(limited(|limits| limits.handshakes_per_second = 1));
    let asked: Vec<QueryId> = others.iter().map(|&other| scene.ask(other, node, query(ECHO, b"me too"))).collect();
    scene.run(SECOND / 2);
    assert_eq!(scene.runs(b"me too"), 1);
    assert_eq!(scene.world.node(node).count(Cause::HandshakeRefused), 4);
    scene.run_secs(59);
    for (&other, asked) in others.iter().zip(asked) {
        assert_eq!(scene.reply(other, asked), b"me too");
    }
}

#[test]
fn a_handshake_that_nobody_answers_does_not_keep_a_peer_for_ever() {
    let right = Party::with_config(2, limited(|limits| limits.peers = 2));
    let mut between = Between::asking(Party::new(1), right, query(ECHO, b"hello"));
    between.converse();
    let (_, packet) = between.seen.iter().rfind(|(side, _)| *side == Side::Right).unwrap().clone();
    between.pass(Side::Left, &forged(STALE, session_id(&packet), &[0; 8]));
    assert_eq!(between.written_by(Side::Right)[0][5], HELLO, "the right one asks about the session");
    between.hang_up();
    between.wait(24 * HOUR);

    let [needed, new] = [7, 8].map(Party::new);
    let Between { now, right, .. } = &mut between;
    right.node.learn(*now, needed.record()).unwrap();
    right.node.query(*now, needed.node.id(), query(ECHO, b"?")).unwrap();
    assert_eq!(right.node.learn(*now, new.record()), Ok(()), "there is a place that nobody needs");
}

#[test]
fn a_forged_word_of_being_busy_does_not_outlast_the_handshake() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let hello = between.written_by(Side::Left).remove(0);
    between.pass(Side::Right, &forged(BUSY, session_id(&hello), &[1, 2, 88]));
    between.pass(Side::Left, &hello);
    between.converse();
    assert_eq!(between.left.verdicts().len(), 1);
    between.ask(query(ECHO, &long_body(1_000_000)));
    between.hang_up();
    assert_eq!(between.left.dialled.len(), 1, "the query goes again at once");
}

#[test]
fn whoever_is_always_busy_at_one_address_is_looked_for_at_the_next() {
    let strategies = Strategies { addresses: vec![address(), ([10, 1, 1, 2], 4000).into()], relays: Vec::new() };
    let record = SignedRecord::sign(&Identity::from_seed(&[7; 32]), 1, strategies).unwrap();
    let mut asker = Party::new(1);
    let mut now = Instant::from_micros(1);
    let to = record.node_id();
    asker.node.learn(now, record).unwrap();
    asker.node.query(now, to, query(ECHO, b"hello").hard_timeout(HOUR)).unwrap();
    asker.settle(now);
    let first = asker.dialled[0];
    asker.handle(now, Event::Connected(first));
    assert!(says_busy(&mut asker, now, first), "the next address has its turn");
    asker.handle(now, Event::Closed(asker.dialled[1], Ending::Refused));
    // The wait is a minute, and longer by a quarter at the most.
    now = now + 59 * SECOND;
    asker.handle(now, Event::Tick);
    assert_eq!(asker.dialled.len(), 2);
    now = now + 17 * SECOND;
    asker.handle(now, Event::Tick);
    let again = asker.dialled[2];
    asker.handle(now, Event::Connected(again));
    for _ in 0..10 {
        assert!(!says_busy(&mut asker, now, again), "there is no other");
        now = now + 76 * SECOND;
        asker.handle(now, Event::Tick);
    }
    assert_eq!(asker.verdicts().len(), 0);
}

#[test]
fn cookie_after_cookie_is_not_echoed_without_end() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let hello = between.written_by(Side::Left).remove(0);
    let cookies = (0..1000_u128).flat_map(|cookie| forged(RETRY, session_id(&hello), &cookie.to_be_bytes()));
    let cookies: Vec<u8> = cookies.collect();
    between.pass(Side::Right, &cookies);
    let hellos = between.written_by(Side::Left).len();
    assert!((1..10).contains(&hellos), "{hellos}");
}
