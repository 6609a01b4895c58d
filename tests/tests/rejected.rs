//! Rejected input leaves the node as it was: the digest of everything that it remembers is the same before and after.

use std::time::Duration;

use egtp::{Config, Ending, Event, NodeId, Query, Refusal, Strategies, TypeName, internal};
use egtp_tests::bench::{Between, Party, Side, framed};
use egtp_tests::scene::{ECHO, query, type_name};

const SEALED: u8 = 4;
const VERSION: u8 = 2;

/// Two nodes of which one waits for the other's answer.
fn under_way() -> Between {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    between.carry();
    between
}

fn digest(party: &Party) -> [u8; 20] {
    internal::digest(&party.node)
}

/// The last record that went over the wire to the right one.
fn last_record(between: &Between) -> Vec<u8> {
    let mut records = between.seen.iter().filter(|(from, packet)| *from == Side::Left && packet[5] == SEALED);
    records.next_back().expect("a query went over it").1.clone()
}

/// The right one is given a packet, which it rejects without ending the connection.
fn rejects(between: &mut Between, packet: &[u8], what: &str) {
    let before = digest(&between.right);
    let told = between.right.deliveries.len();
    between.pass(Side::Left, packet);
    between.written_by(Side::Right);
    assert_eq!(between.right.closed, [], "{what} ended the connection");
    assert_eq!(between.right.deliveries.len(), told, "{what} was told to the application");
    assert_eq!(digest(&between.right), before, "{what} left a trace");
}

#[test]
fn the_digest_knows_what_was_taken_and_forgets_what_has_ended() {
    let mut between = under_way();
    let (asked, asks) = (digest(&between.right), digest(&between.left));
    between.right.answers(between.now);
    assert_ne!(digest(&between.right), asked, "an answer changes who answered");
    between.carry();
    assert_ne!(digest(&between.left), asks, "and who asked");
}

#[test]
fn the_digest_of_two_nodes_with_the_same_past_is_the_same() {
    let (one, other) = (under_way(), under_way());
    assert_eq!(digest(&one.left), digest(&other.left));
    assert_eq!(digest(&one.right), digest(&other.right));
    assert_ne!(digest(&one.left), digest(&one.right));
}

#[test]
fn a_record_that_comes_again_leaves_no_trace() {
    let mut between = under_way();
    let record = last_record(&between);
    rejects(&mut between, &record, "a repeated record");
}

#[test]
fn a_record_with_a_byte_altered_anywhere_behind_its_kind_leaves_no_trace() {
    let mut between = under_way();
    between.ask(query(ECHO, b"again"));
    let record = between.written_by(Side::Left).pop().expect("the query is written");
    for at in 6..record.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut altered = record.clone();
            altered[at] ^= change;
            rejects(&mut between, &altered, &format!("a record altered at {at}"));
        }
    }
    let before = digest(&between.right);
    between.pass(Side::Left, &record);
    assert_ne!(digest(&between.right), before, "and the genuine one is still taken");
    assert_eq!(between.right.asked(), 2);
}

#[test]
fn a_record_that_is_cut_short_leaves_no_trace() {
    let mut between = under_way();
    let record = last_record(&between);
    for length in 34..record.len() - 4 {
        rejects(&mut between, &framed(&record[4..4 + length]), "a record cut short");
    }
}

#[test]
fn answers_to_no_handshake_and_records_of_no_session_leave_no_trace() {
    let mut between = under_way();
    let (name, counter) = ([7; 8], [0; 8]);
    for (kind, rest) in [
        (2, vec![0; 64]),
        (3, vec![0; 16]),
        (SEALED, [&counter[..], &[0; 16]].concat()),
        (5, counter.to_vec()),
        (6, vec![1, 0, 5]),
    ] {
        let packet = framed(&[&[VERSION, kind][..], &name, &rest].concat());
        rejects(&mut between, &packet, &format!("a packet of kind {kind}"));
    }
}

#[test]
fn whatever_ends_a_connection_leaves_nothing_but_its_end() {
    let record = last_record(&under_way());
    let mut other_version = record.clone();
    other_version[4] = 9;
    let mut no_kind = record.clone();
    no_kind[5] = 99;
    let hello_for_nobody = framed(&[&[VERSION, 1][..], &[9; 8 + 16 + 150]].concat());
    for (what, bytes) in [
        ("another version", other_version),
        ("an unknown kind", no_kind),
        ("a packet without bytes", vec![0; 4]),
        ("a packet that is too long", vec![0xff; 4]),
        ("a HELLO for nobody", hello_for_nobody),
    ] {
        let (mut between, mut twin) = (under_way(), under_way());
        between.pass(Side::Left, &bytes);
        assert_eq!(between.right.closed, [between.at_right], "{what}");
        let (now, on) = (twin.now, twin.at_right);
        twin.right.handle(now, Event::Closed(on, Ending::Broken));
        assert_eq!(digest(&between.right), digest(&twin.right), "{what} left more than the end of its connection");
    }
}

#[test]
fn a_stranger_who_never_authenticates_leaves_no_trace() {
    let mut party = Party::new(1);
    let now = egtp::Instant::from_micros(1_000_000);
    party.handle(now, Event::Tick);
    let before = digest(&party);
    let on = party.accepts(now);
    assert_ne!(digest(&party), before, "a connection is remembered while it is open");
    party.receives(now, on, &[0, 0, 0, 100, VERSION, 1]);
    party.handle(now + Duration::from_secs(11), Event::Tick);
    assert_eq!(party.closed, [on]);
    assert_eq!(digest(&party), before);
}

#[test]
fn a_handshake_that_is_put_off_leaves_no_trace() {
    let mut config = Config::default();
    config.limits.handshakes_per_second = 1;
    let config = config.check().expect("one is enough");
    let mut right = Party::with_config(2, config);
    // The first one uses up the second.
    let elsewhere = right.accepts(egtp::Instant::from_micros(1_000_000));
    let now = egtp::Instant::from_micros(1_000_000);
    let hello = framed(&[&[VERSION, 1][..], &[9; 8 + 16 + 150]].concat());
    right.receives(now, elsewhere, &hello);
    let mut between = Between::asking(Party::new(1), right, query(ECHO, b"hello"));
    between.right.closed.clear();
    let hello = between.written_by(Side::Left).pop().expect("a HELLO");
    rejects(&mut between, &hello, "a HELLO beyond the budget");
}

#[test]
fn a_handshake_for_which_there_is_no_room_leaves_no_trace() {
    let mut config = Config::default();
    config.limits.sessions = 2;
    let mut right = Party::with_config(9, config.check().expect("little room is room"));
    for number in [1, 2] {
        let mut between = Between::asking(Party::new(number), right, query(ECHO, b"keep this session"));
        between.carry();
        right = between.right;
    }
    let mut between = Between::asking(Party::new(3), right, query(ECHO, b"hello"));
    let hello = between.written_by(Side::Left).pop().expect("a HELLO");
    rejects(&mut between, &hello, "a HELLO for which there is no room");
    assert_eq!(between.right.node.usage().peers, 2);
}

#[test]
fn a_refused_command_leaves_no_trace() {
    let mut config = Config::default();
    config.limits.queries = 2;
    config.limits.served_types = 1;
    let left = Party::with_config(1, config.check().expect("little room is room"));
    let mut between = Between::asking(left, Party::new(2), query(ECHO, b"hello"));
    between.carry();
    let (now, peer) = (between.now, between.right.node.id());
    let record = between.right.record();
    let echo = || type_name(ECHO);
    let node = &mut between.left.node;
    node.serve(type_name("one")).expect("there is room for one type");
    let before = internal::digest(node);
    let too_long = vec![0; egtp::MAX_BODY + 1];
    let nine = (1..10).map(|port| ([10, 0, 0, 1], port).into()).collect();
    assert!(node.query(now, peer, Query::new(echo(), too_long.clone())).is_err());
    assert!(node.query(now, peer, query(ECHO, b"").hard_timeout(Duration::ZERO)).is_err());
    assert!(node.query(now, peer, query(ECHO, b"").soft_timeout(Duration::from_secs(60))).is_err());
    assert!(node.notify(now, NodeId::from_bytes([9; 20]), echo(), too_long).is_err());
    assert_eq!(node.learn(now, record), Err(Refusal::NotNewer));
    assert_eq!(node.serve(TypeName::new("two").expect("a name")), Err(Refusal::TooManyTypes));
    assert!(node.announce(now, Strategies { addresses: nine, relays: Vec::new() }).is_err());
    assert_eq!(internal::digest(node), before);

    node.query(now, peer, query(ECHO, b"the second")).expect("there is room for two");
    let before = internal::digest(node);
    assert!(node.query(now, NodeId::from_bytes([9; 20]), query(ECHO, b"the third")).is_err());
    assert_eq!(internal::digest(node), before);
}

#[test]
fn an_answer_that_nobody_awaits_leaves_no_trace() {
    let mut between = under_way();
    between.wait(Duration::from_secs(3700));
    let now = between.now;
    let token = between.right.deliveries.iter().position(|told| matches!(told, egtp::Delivery::Query { .. }));
    let told = between.right.deliveries.swap_remove(token.expect("the right one was asked"));
    let egtp::Delivery::Query { token, .. } = told else { panic!("no query: {told:?}") };
    let before = digest(&between.right);
    let unsent = between.right.node.reply(now, token, Vec::new()).expect_err("its time has passed");
    assert_eq!(unsent.why, Refusal::Ended);
    assert_eq!(between.right.node.refuse(now, unsent.token, egtp::PeerRefusal::Declined), Err(Refusal::Ended));
    assert_eq!(digest(&between.right), before);
}
