//! Connections: how many there are, which of them are kept, and which are closed. Whoever closes one loses nothing but time.

use std::time::Duration;

use egtp::{Cause, Config, Event, Executed, Hint, Instant, QueryId, Reason, Refusal};
use egtp_sim::Network;
use egtp_tests::bench::{Between, Party, Side, address};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, Scene, long_body, query};
use egtp_tests::settings::{limited, surrounded};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn beyond_the_limit_of_connections_newcomers_are_turned_away_while_all_are_busy() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.connections = 2));
    let asked: Vec<QueryId> = others.iter().map(|&other| scene.ask(other, node, query(KEEP, b"busy"))).collect();
    scene.run_secs(5);
    assert_eq!(scene.told.kept.len(), 2);
    assert!(!scene.has_ended(others[2], asked[2]), "whoever is turned away tries again");
    assert!(scene.world.node(node).count(Cause::ConnectionRefused) >= 1);
    let own = scene.ask(node, others[2], query(ECHO, b"?"));
    scene.run_secs(1);
    let full = Reason::RefusedHere(Refusal::TooManyConnections);
    let failure = scene.failure(node, own);
    assert_eq!((failure.reason, failure.executed), (full, Executed::No));
    for _ in 0..2 {
        scene.answer_kept();
        scene.run_secs(5);
    }
    for (other, asked) in others.into_iter().zip(asked) {
        assert_eq!(scene.reply(other, asked), b"busy");
    }
}

#[test]
fn at_the_limit_of_connections_an_idle_one_makes_room() {
    let (mut scene, node, others) = surrounded::<4>(limited(|limits| limits.connections = 2));
    for &other in &others {
        let asked = scene.ask(node, other, query(ECHO, b"next, please"));
        scene.run_secs(10);
        assert_eq!(scene.reply(node, asked), b"next, please");
        assert!(scene.world.node(node).usage().connections <= 2);
    }
}

#[test]
fn idle_connections_beyond_the_maintained_number_are_closed_the_least_useful_first() {
    let (mut scene, node, others) = surrounded::<5>(limited(|limits| limits.maintained_connections = 2));
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
fn a_connection_that_brings_half_a_packet_and_nothing_more_is_closed_whether_the_peer_is_known_or_not() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let connection = party.accepts(now);
    party.receives(now, connection, &[0, 0, 0, 176, 2, 1, 7]);
    party.handle(now + 10 * SECOND, Event::Tick);
    assert_eq!(party.closed, [connection]);

    let mut between = Between::acquainted();
    between.go_on(SECOND);
    between.pass(Side::Left, &[0, 0, 200, 0, 2, 4, 7]);
    between.wait(610 * SECOND);
    assert_eq!(between.right.closed, [between.at_right], "nothing is under way on it");
}

#[test]
fn an_idle_connection_is_closed_in_order_after_its_time() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(598);
    assert_eq!(scene.world.node(asker).usage().connections, 1);
    scene.run_secs(12);
    for node in [asker, peer] {
        assert_eq!(scene.world.node(node).usage().connections, 0);
        assert_eq!(scene.world.node(node).count(Cause::PeerSilent), 0);
    }
    let again = scene.ask(asker, peer, query(ECHO, b"still there?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, again), b"still there?");
}

#[test]
fn an_idle_connection_between_two_nodes_without_any_latency_is_closed_all_the_same() {
    let mut scene = Scene::on(1, Network { latency: Duration::ZERO, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(610);
    assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [0, 0]);
}

#[test]
fn a_query_that_crosses_the_end_of_its_connection_is_answered_over_another() {
    let (mut scene, node, [first, second, third]) = surrounded(limited(|limits| limits.connections = 2));
    for other in [first, second] {
        scene.ask(node, other, query(EMPTY, b"hello"));
        scene.run_secs(1);
    }
    // The first was used longest ago, so its connection makes room, while a query is on its way there.
    let crosses = scene.ask(first, node, query(ECHO, b"crosses"));
    scene.run(5 * MILLISECOND);
    let asked = scene.ask(node, third, query(ECHO, b"room for me?"));
    scene.run_secs(30);
    assert_eq!(scene.reply(node, asked), b"room for me?");
    assert_eq!((scene.reply(first, crosses), scene.runs(b"crosses")), (&b"crosses"[..], 1));
}

#[test]
fn long_messages_whose_connections_cross_run_once() {
    let body = [long_body(400_000), long_body(400_001)];
    for seed in 0..3 {
        for delay in (0..80).step_by(10) {
            let (mut scene, one, other) = Scene::of_two(seed);
            let there = scene.ask(one, other, query(ECHO, &body[0]));
            scene.run(delay * MILLISECOND);
            let back = scene.ask(other, one, query(ECHO, &body[1]));
            scene.run_secs(60);
            assert!(scene.reply(one, there) == body[0], "seed {seed}, {delay} ms");
            assert!(scene.reply(other, back) == body[1], "seed {seed}, {delay} ms");
            assert_eq!((scene.runs(&body[0]), scene.runs(&body[1])), (1, 1), "seed {seed}, {delay} ms");
        }
    }
}
