//! Every limit, hit once: it does what its documentation says, and whoever stays within it notices nothing.

use std::time::Duration;

use egtp::{
    Action, Cause, Config, Delivery, Event, Executed, Failure, Identity, Instant, PeerRefusal, QueryId, Reason,
    Refusal, ServiceAction, SignedRecord, Strategies, TransportAction,
};
use egtp_sim::{Directory, NodeIndex};
use egtp_tests::bench::{Between, Party, Side, address, framed};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NO, Scene, query, type_name};
use egtp_tests::settings::{limited, surrounded};

const SECOND: Duration = Duration::from_secs(1);

fn why(scene: &Scene, node: NodeIndex, asked: QueryId) -> (Reason, Executed) {
    let Failure { reason, executed, .. } = scene.failure(node, asked);
    (reason, executed)
}

#[test]
fn a_packet_is_4096_bytes_at_most_of_whoever_has_connected_and_not_authenticated_and_65535_otherwise() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    for (length, allowed) in [(4096_u32, true), (4097, false), (0, false), (u32::MAX, false)] {
        let connection = party.accepts(now);
        party.receives(now, connection, &length.to_be_bytes());
        assert_eq!(!party.closed.contains(&connection), allowed, "{length}");
    }
    assert_eq!(party.node.count(Cause::PacketTooLong), 3);

    for (length, allowed) in [(65_535_u32, true), (65_536, false)] {
        let met = || Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
        let mut between = met();
        between.carry();
        between.pass(Side::Left, &length.to_be_bytes());
        assert_eq!(between.right.closed.is_empty(), allowed, "{length} of whoever has authenticated");
        let mut between = met();
        between.pass(Side::Right, &length.to_be_bytes());
        assert_eq!(between.left.closed.is_empty(), allowed, "{length} of whoever was dialled");
    }
}

#[test]
fn beyond_the_limit_of_peers_a_new_one_takes_the_place_of_one_that_is_not_needed() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.peers = 2));
    scene.world.set_directory(Directory::Silent);
    let waiting = [scene.ask(node, others[0], query(ECHO, b"1")), scene.ask(node, others[1], query(ECHO, b"2"))];
    assert_eq!(scene.world.query(node, others[2], query(ECHO, b"3")), Err(Refusal::TooManyPeers));
    let record = scene.world.node(others[2]).record().unwrap().clone();
    let learned = scene.world.with(node, |node, now| node.learn(now, record));
    assert_eq!(learned, Err(Refusal::TooManyPeers));
    scene.run_secs(60);
    for asked in waiting {
        assert_eq!(why(&scene, node, asked), (Reason::Unreachable, Executed::No));
    }
    scene.world.set_directory(Directory::Honest);
    let asked = scene.ask(node, others[2], query(ECHO, b"3"));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, asked), b"3");
    assert_eq!(scene.world.node(node).usage().peers, 2);
}

#[test]
fn own_queries_are_limited_in_number_and_in_bytes() {
    let (mut scene, node, others) = surrounded::<1>(limited(|limits| limits.queries = 2));
    let first = scene.ask(node, others[0], query(ECHO, b"1"));
    scene.ask(node, others[0], query(ECHO, b"2"));
    assert_eq!(scene.world.query(node, others[0], query(ECHO, b"3")), Err(Refusal::TooManyQueries));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"1");
    assert!(scene.world.query(node, others[0], query(ECHO, b"3")).is_ok());

    let (mut scene, node, others) = surrounded::<1>(limited(|limits| limits.query_bytes = 1000));
    let first = scene.ask(node, others[0], query(EMPTY, &[0; 800]));
    assert_eq!(scene.world.query(node, others[0], query(EMPTY, &[0; 200])), Err(Refusal::TooManyQueryBytes));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"");
    assert_eq!(scene.world.node(node).usage().query_bytes, 0);
    assert!(scene.world.query(node, others[0], query(EMPTY, &[0; 200])).is_ok());
}

#[test]
fn beyond_the_limit_of_incoming_queries_new_ones_wait_until_there_is_room() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.incoming = 2));
    let asked: Vec<QueryId> = others
        .iter()
        .map(|&other| {
            let asked = scene.ask(other, node, query(KEEP, b"wait"));
            scene.run_secs(1);
            asked
        })
        .collect();
    assert_eq!((scene.told.kept.len(), scene.world.node(node).usage().incoming), (2, 2));
    assert!(scene.world.node(node).count(Cause::QueryRefused) > 0);
    let hopeless = scene.ask(others[2], node, query(ECHO, b"now?").hard_timeout(SECOND));
    scene.run_secs(2);
    let busy = Reason::RefusedByPeer(PeerRefusal::Busy);
    assert_eq!(why(&scene, others[2], hopeless), (busy, Executed::No));
    for _ in 0..2 {
        scene.answer_kept();
        scene.run_secs(5);
    }
    for (other, asked) in others.into_iter().zip(asked) {
        assert_eq!(scene.reply(other, asked), b"wait", "whoever is refused as busy asks again");
    }
}

#[test]
fn a_peer_that_may_have_so_many_queries_waiting_sends_no_more_until_one_is_answered() {
    let (mut scene, node, others) = surrounded::<1>(limited(|limits| limits.incoming_per_peer = 2));
    let asked: Vec<QueryId> = (0..5_u8).map(|number| scene.ask(others[0], node, query(KEEP, &[number]))).collect();
    for _ in 0..5 {
        scene.run_secs(1);
        assert!(scene.world.node(node).usage().incoming <= 2);
        scene.answer_kept();
    }
    scene.run_secs(1);
    for (number, asked) in (0..).zip(asked) {
        assert_eq!(scene.reply(others[0], asked), [number]);
    }
    assert_eq!(scene.world.node(node).count(Cause::QueryRefused), 0);
}

#[test]
fn while_too_many_deliveries_wait_nothing_is_read_and_then_reading_resumes() {
    let config = limited(|limits| limits.undelivered_bytes = 10_000);
    let mut between = Between::asking(Party::new(1), Party::with_config(2, config), query(ECHO, b"first"));
    between.carry();
    for _ in 0..20 {
        between.ask(query(ECHO, &[7; 1000]));
    }
    let packets = between.written_by(Side::Left);
    for packet in packets {
        between.right.node.handle(between.now, Event::Received(between.at_right, &packet));
    }
    assert_eq!(between.right.node.wants_read(between.at_right), 0);
    let mut hinted = false;
    let mut delivered = 0;
    while let Some(action) = between.right.node.poll() {
        let changed = TransportAction::Changed { connection: between.at_right };
        hinted |= action == Action::Transport(changed) && between.right.node.wants_read(between.at_right) > 0;
        delivered += usize::from(matches!(action, Action::Deliver(Delivery::Query { .. })));
    }
    assert_eq!((hinted, delivered), (true, 20));
    assert!(between.right.node.wants_read(between.at_right) > 0);
}

#[test]
fn beyond_the_limit_of_stored_records_the_longest_unchanged_one_is_deleted() {
    let mut party = Party::with_config(1, limited(|limits| limits.stored_records = 1));
    let now = Instant::ZERO;
    let mut saved = Vec::new();
    for number in [2, 3] {
        let identity = Identity::from_seed(&[number; 32]);
        let strategies = Strategies { addresses: vec![address()], relays: Vec::new() };
        party.node.learn(now, SignedRecord::sign(&identity, 1, strategies).unwrap()).unwrap();
        while let Some(action) = party.node.poll() {
            if let Action::Service(ServiceAction::Save { value, .. }) = action {
                saved.push(value.is_some());
            }
        }
    }
    assert_eq!(saved, [true, true, false]);
}

#[test]
fn served_types_and_open_discoveries_are_limited() {
    let mut party = Party::with_config(1, limited(|limits| limits.served_types = 1));
    party.node.serve(type_name(ECHO)).unwrap();
    party.node.serve(type_name(ECHO)).unwrap();
    assert_eq!(party.node.serve(type_name(NO)), Err(Refusal::TooManyTypes));
    party.node.unserve(&type_name(ECHO));
    party.node.serve(type_name(NO)).unwrap();

    let now = Instant::from_micros(1);
    for _ in 0..16 {
        party.node.discover(now, 3).unwrap();
    }
    assert_eq!(party.node.discover(now, 3), Err(Refusal::TooManyDiscoveries));
    party.handle(now + Config::default().timers.discovery, Event::Tick);
    assert_eq!(party.deliveries.len(), 16, "each ends by itself");
}

#[test]
fn a_stream_of_empty_packets_is_no_packet() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let connection = party.accepts(now);
    party.receives(now, connection, &framed(&[]));
    assert_eq!(party.closed, [connection]);
}

#[test]
fn queries_to_oneself_count_as_incoming() {
    let (mut scene, node, []) = surrounded(limited(|limits| limits.incoming = 1));
    let first = scene.ask(node, node, query(KEEP, b"first"));
    let second = scene.ask(node, node, query(KEEP, b"second"));
    scene.run_secs(1);
    let failure = scene.failure(node, second);
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedByPeer(PeerRefusal::Busy), Executed::No));
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"first");
}
