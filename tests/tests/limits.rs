//! Every limit, hit once: it does what its documentation says, and whoever stays within it notices nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use egtp::{
    Action, Cause, CheckedConfig, Config, Delivery, Event, Executed, Failure, Hint, Identity, Instant, Limits,
    PeerRefusal, QueryId, Reason, Refusal, ServiceAction, SignedRecord, Strategies, TransportAction, Verdict,
};
use egtp_sim::{Directory, NodeIndex};
use egtp_tests::bench::{Between, Party, Side, address, framed};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, NO, Scene, long_body, query, type_name};

const SECOND: Duration = Duration::from_secs(1);

fn limited(limit: impl FnOnce(&mut Limits)) -> CheckedConfig {
    configured(|config| limit(&mut config.limits))
}

fn configured(change: impl FnOnce(&mut Config)) -> CheckedConfig {
    let mut config = Config::default();
    change(&mut config);
    config.check().unwrap()
}

/// A node with this configuration, and so many others.
fn surrounded(config: CheckedConfig, others: usize) -> (Scene, NodeIndex, Vec<NodeIndex>) {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config);
    let others = (0..others).map(|_| scene.add_node()).collect();
    (scene, node, others)
}

fn why(scene: &Scene, node: NodeIndex, asked: QueryId) -> (Reason, Executed) {
    let Failure { reason, executed, .. } = scene.failure(node, asked);
    (reason, executed)
}

#[test]
fn beyond_the_limit_of_connections_newcomers_are_refused_while_all_are_busy() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.connections = 2), 3);
    let asked: Vec<QueryId> = others.iter().map(|&other| scene.ask(other, node, query(KEEP, b"busy"))).collect();
    scene.run_secs(5);
    assert_eq!(scene.told.kept.len(), 2);
    assert_eq!(why(&scene, others[2], asked[2]), (Reason::Unreachable, Executed::No));
    assert!(scene.world.node(node).count(Cause::ConnectionRefused) >= 1);
    let own = scene.ask(node, others[2], query(ECHO, b"?"));
    scene.run_secs(1);
    let full = Reason::RefusedHere(Refusal::TooManyConnections);
    assert_eq!(why(&scene, node, own), (full, Executed::No));
    scene.answer_kept();
    scene.run_secs(5);
    assert_eq!(scene.reply(others[0], asked[0]), b"busy");
}

#[test]
fn at_the_limit_of_connections_an_idle_one_makes_room() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.connections = 2), 4);
    for &other in &others {
        let asked = scene.ask(node, other, query(ECHO, b"next, please"));
        scene.run_secs(10);
        assert_eq!(scene.reply(node, asked), b"next, please");
        assert!(scene.world.node(node).usage().connections <= 2);
    }
}

#[test]
fn idle_connections_beyond_the_maintained_number_are_closed_the_least_useful_first() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.maintained_connections = 2), 5);
    let hints = [Hint::None, Hint::MoreToCome, Hint::NoMore, Hint::None, Hint::None];
    for (&other, hint) in others.iter().zip(hints) {
        scene.ask(node, other, query(ECHO, b"hello").hint(hint));
        scene.run(SECOND / 10);
    }
    let busy = scene.ask(node, others[0], query(NEVER, b"busy").hard_timeout(100 * SECOND));
    scene.run_secs(60);
    assert!(!scene.has_ended(node, busy), "a busy connection was closed");
    let connected: Vec<usize> =
        (0..5).filter(|&other| scene.world.node(others[other]).usage().connections == 1).collect();
    assert_eq!(connected, [0, 1, 4], "the busy one, the one with more to come, the one used last");
    scene.run_secs(100);
    assert_eq!(scene.world.node(node).usage().connections, 2);
}

#[test]
fn beyond_the_limit_of_unauthenticated_connections_newcomers_are_refused_until_the_silent_are_closed() {
    let mut party = Party::with_config(1, limited(|limits| limits.unauthenticated_connections = 2));
    let mut now = Instant::from_micros(1);
    let silent = [party.accepts(now), party.accepts(now)];
    assert_eq!(party.node.accept(now, address()), Err(Refusal::TooManyConnections));
    assert_eq!(party.node.count(Cause::ConnectionRefused), 1);
    now = now + Config::default().timers.authenticate;
    party.handle(Instant::from_micros(now.as_micros() - 1), Event::Tick);
    assert_eq!(party.closed, []);
    party.handle(now, Event::Tick);
    assert_eq!(party.closed, silent);
    assert_eq!(party.node.count(Cause::NotAuthenticatedInTime), 2);
    party.accepts(now);
    assert_eq!(party.node.usage().unauthenticated_connections, 1);
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
    let (mut scene, node, others) = surrounded(limited(|limits| limits.peers = 2), 3);
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
fn beyond_the_limit_of_sessions_the_longest_unused_ends() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.sessions = 2), 5);
    for round in 0..2 {
        for &other in &others {
            let asked = scene.ask(other, node, query(ECHO, b"me too"));
            scene.run_secs(10);
            assert_eq!(scene.reply(other, asked), b"me too", "round {round}");
            assert!(scene.world.node(node).usage().sessions <= 2);
        }
    }
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
    assert_eq!((usage.tentative_sessions, usage.sessions, usage.unauthenticated_connections), (0, 1, 0));
}

#[test]
fn beyond_the_limit_of_handshakes_in_a_second_the_peer_comes_back() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.handshakes_per_second = 1), 5);
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
fn own_queries_are_limited_in_number_and_in_bytes() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.queries = 2), 1);
    let first = scene.ask(node, others[0], query(ECHO, b"1"));
    scene.ask(node, others[0], query(ECHO, b"2"));
    assert_eq!(scene.world.query(node, others[0], query(ECHO, b"3")), Err(Refusal::TooManyQueries));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"1");
    assert!(scene.world.query(node, others[0], query(ECHO, b"3")).is_ok());

    let (mut scene, node, others) = surrounded(limited(|limits| limits.query_bytes = 1000), 1);
    let first = scene.ask(node, others[0], query(EMPTY, &[0; 800]));
    assert_eq!(scene.world.query(node, others[0], query(EMPTY, &[0; 200])), Err(Refusal::TooManyQueryBytes));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"");
    assert_eq!(scene.world.node(node).usage().query_bytes, 0);
    assert!(scene.world.query(node, others[0], query(EMPTY, &[0; 200])).is_ok());
}

#[test]
fn beyond_the_limit_of_incoming_queries_new_ones_are_refused_as_busy() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.incoming = 2), 3);
    let asked: Vec<QueryId> = others
        .iter()
        .map(|&other| {
            let asked = scene.ask(other, node, query(KEEP, b"wait"));
            scene.run_secs(1);
            asked
        })
        .collect();
    let busy = Reason::RefusedByPeer(PeerRefusal::Busy);
    assert_eq!(why(&scene, others[2], asked[2]), (busy, Executed::No));
    scene.answer_kept();
    scene.run_secs(1);
    let again = scene.ask(others[2], node, query(ECHO, b"now?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(others[0], asked[0]), b"wait");
    assert_eq!(scene.reply(others[2], again), b"now?");
}

#[test]
fn a_peer_that_may_have_so_many_queries_waiting_sends_no_more_until_one_is_answered() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.incoming_per_peer = 2), 1);
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
fn a_message_that_finds_no_room_for_its_pieces_is_refused_and_others_pass() {
    let limits: [fn(&mut Limits); 2] =
        [|limits| limits.assembly_bytes = 100_000, |limits| limits.assembly_bytes_per_peer = 100_000];
    for limit in limits {
        let (mut scene, node, others) = surrounded(limited(limit), 1);
        let large = scene.ask(others[0], node, query(ECHO, &long_body(200_000)));
        let fits = scene.ask(others[0], node, query(ECHO, &long_body(20_000)));
        scene.run_secs(10);
        let no_memory = Reason::RefusedByPeer(PeerRefusal::NoMemory);
        assert_eq!(why(&scene, others[0], large), (no_memory, Executed::No));
        assert_eq!(scene.reply(others[0], fits).len(), 20_000);
        assert_eq!(scene.world.node(node).count(Cause::MessageAbandoned), 1);

        let answer = scene.ask(node, others[0], query(KEEP, b"a long answer"));
        scene.run_secs(1);
        let (_, token, _) = scene.told.kept.pop().unwrap();
        scene.world.reply(others[0], token, long_body(200_000));
        scene.run_secs(10);
        let (reason, executed) = why(&scene, node, answer);
        assert!(matches!(reason, Reason::RefusedHere(_)), "{reason:?}");
        assert_eq!(executed, Executed::Maybe);
        assert_eq!(scene.world.node(node).usage().assembly_bytes, 0);
    }
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
fn while_too_many_replies_to_a_peer_wait_nothing_is_read_from_it_and_then_reading_resumes() {
    let config = limited(|limits| limits.reply_bytes_per_peer = 700_000);
    let mut between = Between::asking(Party::new(1), Party::with_config(2, config), query(ECHO, b"first"));
    between.carry();
    for _ in 0..10 {
        between.ask(query(ECHO, &long_body(60_000)));
    }
    between.carry();
    assert!(between.right.node.wants_read(between.at_right) > 0);
    assert_eq!(between.right.answers(between.now), 11);
    assert!(between.right.node.usage().reply_bytes > 350_000);
    assert_eq!(between.right.node.wants_read(between.at_right), 0);
    between.carry();
    assert_eq!(between.right.node.usage().reply_bytes, 0);
    assert!(between.right.node.wants_read(between.at_right) > 0);
    assert_eq!(between.left.verdicts().len(), 11);
}

#[test]
fn a_reply_without_a_body_goes_even_if_there_is_no_memory_for_it() {
    let config = limited(|limits| limits.reply_bytes = 100);
    let mut between = Between::asking(Party::new(1), Party::with_config(2, config), query(ECHO, b"first"));
    between.carry();
    for _ in 0..10 {
        between.ask(query(ECHO, b""));
    }
    between.carry();
    assert_eq!(between.right.answers(between.now), 11);
    assert!(between.right.node.usage().reply_bytes <= 100);
    between.carry();
    let verdicts = between.left.verdicts();
    assert!(
        verdicts.len() == 11 && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Reply(_))),
        "{verdicts:?}"
    );
}

#[test]
fn a_reply_that_finds_no_memory_goes_as_one_that_is_too_long() {
    let settings: [fn(&mut Limits); 2] =
        [|limits| limits.reply_bytes = 200_000, |limits| limits.reply_bytes_per_peer = 200_000];
    for set in settings {
        let mut between = Between::asking(Party::new(1), Party::with_config(2, limited(set)), query(ECHO, b"first"));
        between.carry();
        for _ in 0..10 {
            between.ask(query(ECHO, &long_body(60_000)));
        }
        between.carry();
        assert_eq!(between.right.answers(between.now), 11);
        assert!(between.right.node.usage().reply_bytes <= 200_000);
        between.carry();
        let verdicts = between.left.verdicts();
        let too_long = Reason::RefusedByPeer(PeerRefusal::ReplyTooLong);
        let refused =
            verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Failed(failure) if failure.reason == too_long));
        assert_eq!((verdicts.len(), refused.count() > 0), (11, true));
    }
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
fn beyond_the_limit_of_open_lookups_a_query_waits_its_turn() {
    let (mut scene, node, others) = surrounded(limited(|limits| limits.lookups = 1), 3);
    scene.world.set_directory(Directory::Silent);
    let asked: Vec<QueryId> = others.iter().map(|&other| scene.ask(node, other, query(ECHO, b"where?"))).collect();
    scene.run_secs(10);
    assert_eq!((scene.world.lookups().len(), scene.world.node(node).usage().lookups), (1, 1));
    scene.world.set_directory(Directory::Honest);
    scene.run_secs(30);
    assert_eq!(scene.world.lookups().len(), 3);
    let answered = asked.iter().filter(|&&asked| scene.has_ended(node, asked)).count();
    assert_eq!(answered, 3);
    assert_eq!(scene.runs(b"where?"), 2, "two were found");
}

#[test]
fn a_stream_of_empty_packets_is_no_packet() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let connection = party.accepts(now);
    party.receives(now, connection, &framed(&[]));
    assert_eq!(party.closed, [connection]);
}
