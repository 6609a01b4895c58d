//! Bytes that are not what they should be: dropped or the end of their connection, counted, and nothing else.

use std::time::Duration;

use egtp::{
    Cause, CheckedConfig, Event, Executed, Instant, MAX_HARD_TIMEOUT, Query, Reason, Refusal, Strategies, Usage,
    Verdict,
};
use egtp_sim::Choice;
use egtp_tests::bench::{Between, Party, Side, address, framed};
use egtp_tests::scene::{ECHO, long_body, query, type_name};

const SECOND: Duration = Duration::from_secs(1);
const VERSION: u8 = 2;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const RETRY: u8 = 3;
const SEALED: u8 = 4;
const STALE: u8 = 5;
const BUSY: u8 = 6;

/// Whether the two still understand each other on the same connection.
fn still_talk(between: &mut Between) {
    let before = between.left.verdicts().len();
    between.ask(query(ECHO, b"still there?"));
    between.converse();
    let verdicts = between.left.verdicts();
    assert_eq!(verdicts.len(), before + 1);
    assert!(matches!(verdicts[before], Verdict::Reply(reply) if reply.body == b"still there?"));
    assert!(between.left.closed.is_empty() && between.right.closed.is_empty());
}

fn usages(between: &Between) -> [Usage; 2] {
    [between.left.node.usage(), between.right.node.usage()]
}

fn kind(packet: &[u8]) -> u8 {
    packet[5]
}

#[test]
fn garbage_closes_its_connection_and_is_counted() {
    let mut choice = Choice::from_seed(1);
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let before = party.node.usage();
    for round in 0..500 {
        let connection = party.accepts(now);
        let mut garbage = Vec::new();
        for _ in 0..10 {
            garbage.extend(choice.seed());
        }
        party.receives(now, connection, &garbage);
        assert_eq!(party.closed.len(), round + 1, "{garbage:?}");
    }
    assert_eq!(party.node.usage(), before);
    let counted: u64 =
        [Cause::PacketTooLong, Cause::UnknownVersion, Cause::ProtocolViolation, Cause::HandshakeNotForMe]
            .iter()
            .map(|&cause| party.node.count(cause))
            .sum();
    assert_eq!(counted, 500);
}

#[test]
fn packets_of_no_known_shape_close_their_connection_and_leave_nothing_behind() {
    let mut choice = Choice::from_seed(2);
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let before = party.node.usage();
    for _ in 0..2000 {
        let connection = party.accepts(now);
        let kind = u8::try_from(choice.below(9)).unwrap();
        let length = [1, 8, 11, 16, 24, 32, 40, 80, 174][usize::try_from(choice.below(9)).unwrap()];
        let mut packet = vec![VERSION, kind];
        while packet.len() < 2 + length {
            packet.extend(choice.seed());
        }
        packet.truncate(2 + length);
        party.receives(now, connection, &framed(&packet));
        party.writes(now, connection);
        party.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        assert_eq!(party.node.usage(), before, "{packet:?}");
    }
}

#[test]
fn an_unknown_version_is_counted_and_closes_the_connection() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    for version in (0..=u8::MAX).filter(|&version| version != VERSION) {
        let connection = party.accepts(now);
        party.receives(now, connection, &framed(&[version, HELLO, 0, 0]));
        assert_eq!(party.closed.last(), Some(&connection));
    }
    assert_eq!(party.node.count(Cause::UnknownVersion), 255);
    assert_eq!(party.node.usage(), Usage::default());
}

#[test]
fn a_record_with_any_bit_altered_is_dropped_and_the_true_one_taken_afterwards() {
    let mut between = Between::acquainted();
    between.ask(query(ECHO, b"a question"));
    let packets = between.written_by(Side::Left);
    let [packet] = packets.as_slice() else { panic!("more than one packet") };
    let before = usages(&between);
    let mut dropped = 0;
    // The length, the version and the kind are another matter.
    for at in 6..packet.len() {
        let mut altered = packet.clone();
        altered[at] ^= 1 << (at % 8);
        between.pass(Side::Left, &altered);
        dropped += 1;
        assert_eq!(usages(&between), before, "byte {at}");
        assert_eq!((between.right.asked(), between.right.closed.len()), (0, 0), "byte {at}");
    }
    // Those with another session's id are answered by a hint that it is unknown.
    let not_opened = between.right.node.count(Cause::RecordNotOpened) + between.right.node.count(Cause::RecordReplayed);
    assert_eq!(not_opened, dropped - 8);
    between.pass(Side::Left, packet);
    assert_eq!(between.right.asked(), 1);
    between.converse();
    assert_eq!(between.left.verdicts().len(), 2);
}

#[test]
fn replayed_packets_are_dropped_whichever_way_they_went() {
    let mut between = Between::acquainted();
    still_talk(&mut between);
    let before = usages(&between);
    for (side, packet) in between.seen.clone() {
        if kind(&packet) == SEALED {
            between.pass(side, &packet);
            between.pass(side, &packet);
        }
    }
    assert_eq!(usages(&between), before);
    assert_eq!((between.right.asked(), between.left.verdicts().len()), (0, 2));
    assert!(between.right.node.count(Cause::RecordReplayed) >= 4);
    assert!(between.left.node.count(Cause::RecordReplayed) >= 4);
    still_talk(&mut between);
}

#[test]
fn a_recorded_conversation_replayed_on_another_connection_runs_no_query_again() {
    let mut between = Between::acquainted();
    let now = between.now + SECOND;
    let other = between.right.accepts(now);
    for (side, packet) in between.seen.clone() {
        if side == Side::Left {
            between.right.receives(now, other, &packet);
        }
    }
    assert_eq!(between.right.asked(), 0);
    between.now = now;
    still_talk(&mut between);
    between.wait(11 * SECOND);
    let usage = between.right.node.usage();
    assert_eq!((usage.unauthenticated_connections, usage.sessions - usage.tentative_sessions), (0, 1), "{usage:?}");
}

#[test]
fn a_recorded_conversation_replayed_to_a_restarted_node_runs_no_query() {
    let between = Between::acquainted();
    let mut reborn = Party::reborn(2, 77);
    reborn.node.serve(type_name(ECHO)).unwrap();
    let connection = reborn.accepts(between.now);
    for (side, packet) in &between.seen {
        if *side == Side::Left {
            reborn.receives(between.now, connection, packet);
        }
    }
    assert_eq!(reborn.asked(), 0);
    reborn.handle(between.now + 11 * SECOND, Event::Tick);
    let usage = reborn.node.usage();
    assert_eq!((usage.connections, usage.sessions - usage.tentative_sessions), (0, 0), "{usage:?}");
}

#[test]
fn a_reply_that_comes_twice_is_one_verdict() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    between.carry();
    between.right.answers(between.now);
    between.carry_with(|_, packet| vec![packet.clone(), packet.clone(), packet]);
    assert_eq!(between.left.verdicts().len(), 1);
    assert!(between.left.node.count(Cause::RecordReplayed) >= 2);
    still_talk(&mut between);
}

#[test]
fn a_reply_that_comes_over_another_nodes_connection_answers_nothing_that_was_asked_there() {
    let mut one = Between::acquainted();
    let (_, reply) = one.seen.iter().rfind(|(side, _)| *side == Side::Right).unwrap().clone();
    let mut other = Between::asking(Party::new(3), Party::new(4), query(ECHO, b"hello"));
    other.carry();
    other.pass(Side::Right, &reply);
    assert!(other.left.verdicts().is_empty());
    other.right.answers(other.now);
    other.carry();
    assert_eq!(other.left.verdicts().len(), 1);
    still_talk(&mut one);
}

#[test]
fn a_handshake_said_many_times_makes_one_session() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    between.carry_with(|_, packet| vec![packet; 5]);
    between.right.answers(between.now);
    between.carry();
    assert_eq!(between.left.verdicts().len(), 1);
    assert_eq!(between.right.node.usage().sessions, 1);
    still_talk(&mut between);
}

#[test]
fn a_handshake_altered_anywhere_is_refused_and_says_so() {
    let probe = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello")).written_by(Side::Left);
    let [hello] = probe.as_slice() else { panic!("more than a first message") };
    // Session id and message; the cookie in between says nothing as long as none is asked for.
    for at in (6..14).chain(30..hello.len()) {
        let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
        let mut altered = hello.clone();
        altered[at] ^= 0x40;
        between.pass(Side::Left, &altered);
        assert_eq!(between.right.closed, [between.at_right], "byte {at}");
        assert_eq!(between.right.node.count(Cause::HandshakeNotForMe), 1, "byte {at}");
        let usage = between.right.node.usage();
        assert_eq!((usage.connections, usage.sessions, usage.peers), (0, 0, 0), "byte {at}");
    }
}

#[test]
fn an_altered_welcome_is_dropped_or_closes_the_connection_and_the_query_fails_fast() {
    for at in 6..78 {
        let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
        between.carry_with(|_, mut packet| {
            if kind(&packet) == WELCOME {
                packet[at] ^= 0x10;
            }
            vec![packet]
        });
        between.wait(11 * SECOND);
        let verdicts = between.left.verdicts();
        let [Verdict::Failed(failure)] = verdicts.as_slice() else { panic!("byte {at}: {verdicts:?}") };
        assert_eq!((failure.reason, failure.executed), (Reason::Unreachable, Executed::No), "byte {at}");
        assert!(between.left.node.count(Cause::HandshakeAnswerUnexpected) > 0, "byte {at}");
        assert_eq!(between.right.asked(), 0, "byte {at}");
    }
}

/// A packet that anybody on the way can make up.
fn forged(kind: u8, sid: &[u8], rest: &[u8]) -> Vec<u8> {
    framed(&[&[VERSION, kind], sid, rest].concat())
}

#[test]
fn forged_hints_about_a_session_change_nothing() {
    let mut between = Between::acquainted();
    for round in 0..20_u64 {
        // A hint may make a node ask whether the session is held, but not sooner than a second after the last handshake.
        between.wait(SECOND);
        between.carry();
        // The session ids that the left one is known by are in the records that it was sent, and the other way round.
        for (side, packet) in between.seen.clone() {
            let (sid, back) = (&packet[6..14], if side == Side::Left { Side::Right } else { Side::Left });
            for counter in [0, 1, round, u64::MAX] {
                between.pass(back, &forged(STALE, sid, &counter.to_be_bytes()));
                between.pass(side, &forged(STALE, sid, &counter.to_be_bytes()));
            }
            between.pass(back, &forged(RETRY, sid, &[9; 16]));
            between.pass(back, &forged(BUSY, sid, &[1, 0xff, 0xff]));
        }
        still_talk(&mut between);
    }
    for node in [&between.left.node, &between.right.node] {
        let usage = node.usage();
        assert_eq!(
            usage.sessions - usage.tentative_sessions,
            1,
            "whatever was offered on account of a hint is not used"
        );
        assert_eq!((node.count(Cause::SessionEnded), node.count(Cause::ProtocolViolation)), (0, 0));
    }
}

#[test]
fn forged_hints_during_the_handshake_cost_no_more_than_a_little_time() {
    for (kind, rest) in [(RETRY, &[9_u8; 16][..]), (BUSY, &[1, 0xff, 0xff]), (STALE, &[0; 8])] {
        let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
        let hello = between.written_by(Side::Left);
        let sid = hello[0][6..14].to_vec();
        for _ in 0..10 {
            between.pass(Side::Right, &forged(kind, &sid, rest));
        }
        between.pass(Side::Left, &hello[0]);
        between.converse();
        assert_eq!(between.left.verdicts().len(), 1, "kind {kind}");
        still_talk(&mut between);
    }
}

#[test]
fn whatever_is_mangled_on_the_way_the_verdict_comes_in_time_and_is_true() {
    for seed in 0..300 {
        let mut choice = Choice::from_seed(seed);
        let body = long_body(usize::try_from(choice.below(30_000)).unwrap());
        let ask = Query::new(type_name(ECHO), body.clone()).hard_timeout(20 * SECOND);
        let mut between = Between::asking(Party::new(1), Party::new(2), ask);
        let mut asked = 0;
        for _ in 0..60 {
            between.carry_with(|_, packet| mangled(&mut choice, packet));
            asked += between.right.answers(between.now);
            between.wait(SECOND / 2);
        }
        between.wait(60 * SECOND);
        let verdicts = between.left.verdicts();
        assert_eq!(verdicts.len(), 1, "seed {seed}");
        match verdicts[0] {
            Verdict::Reply(reply) => assert!(reply.body == body && asked == 1, "seed {seed}"),
            Verdict::Failed(failure) if failure.executed == Executed::No => assert_eq!(asked, 0, "seed {seed}"),
            Verdict::Failed(_) => assert!(asked <= 1, "seed {seed}"),
        }
        let usage = between.left.node.usage();
        assert_eq!((usage.queries, usage.query_bytes, usage.assembly_bytes), (0, 0, 0), "seed {seed}");
    }
}

/// What the wire makes of a packet: mostly itself.
fn mangled(choice: &mut Choice, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    let at = usize::try_from(choice.below(packet.len() as u64)).unwrap_or(0);
    match choice.below(16) {
        0 => vec![],
        1 => vec![packet.clone(), packet],
        2 => {
            packet[at] ^= 1 << choice.below(8);
            vec![packet]
        }
        3 => vec![packet[..at].to_vec(), packet[at..].to_vec()],
        4 => vec![forged(STALE, &[0; 8], &[0; 8]), packet],
        _ => vec![packet],
    }
}

#[test]
fn a_refused_command_leaves_everything_as_it_was() {
    let mut party = Party::with_config(1, CheckedConfig::default());
    let now = Instant::from_micros(1);
    let to = Party::new(2).node.id();
    let refused = [
        (query(ECHO, b"?").hard_timeout(Duration::ZERO), Refusal::HardTimeoutOutOfRange),
        (query(ECHO, b"?").hard_timeout(MAX_HARD_TIMEOUT + SECOND), Refusal::HardTimeoutOutOfRange),
        (query(ECHO, b"?").soft_timeout(60 * SECOND), Refusal::SoftTimeoutNotShorter),
        (query(ECHO, &long_body(egtp::MAX_BODY + 1)), Refusal::BodyTooLong),
    ];
    for (query, why) in refused {
        let unasked = party.node.query(now, to, query.clone()).unwrap_err();
        assert!(unasked.why == why && unasked.query == query);
    }
    let unsaid = party.node.notify(now, to, type_name(ECHO), long_body(egtp::MAX_BODY + 1)).unwrap_err();
    assert_eq!((unsaid.why, unsaid.body.len()), (Refusal::BodyTooLong, egtp::MAX_BODY + 1));
    let addresses = (1..=9).map(|port| std::net::SocketAddr::new(address().ip(), port)).collect();
    let too_many = Strategies { addresses, relays: Vec::new() };
    assert_eq!(party.node.announce(now, too_many), Err(Refusal::RecordTooLong));
    assert_eq!(party.node.learn(now, party.record()), Err(Refusal::NotGenuine));
    assert_eq!(party.node.usage(), Usage::default());
    assert_eq!((party.node.poll(), party.node.deadline()), (None, None));
}

#[test]
fn facts_about_what_has_ended_are_ignored() {
    let mut between = Between::acquainted();
    let (now, gone) = (between.now, between.at_left);
    let asked = between.ask(query(ECHO, b"hello?"));
    between.left.handle(now, Event::Closed(gone, egtp::Ending::Broken));
    let before = between.left.node.usage();
    for event in [
        Event::Connected(gone),
        Event::Received(gone, b"anything"),
        Event::Written(gone, 1000),
        Event::Closed(gone, egtp::Ending::EndOfStream),
    ] {
        between.left.handle(now, event);
        assert_eq!(between.left.node.usage(), before);
    }
    assert!(between.left.node.to_write(gone).is_empty());
    assert_eq!(between.left.node.wants_read(gone), 0);
    assert_eq!(between.left.node.cancel(now, asked), Ok(()));
    assert_eq!(between.left.node.cancel(now, asked), Err(Refusal::Ended));
}

#[test]
fn a_clock_that_steps_back_is_harmless() {
    let mut between = Between::acquainted();
    let later = between.now;
    between.now = Instant::ZERO;
    still_talk(&mut between);
    between.now = later;
    still_talk(&mut between);
}
