//! What goes again when it is lost, and what does not: a session carries, a path only transports.

use std::time::Duration;

use egtp::{Executed, PeerRefusal, Reason, Stage};
use egtp_sim::{Network, NodeIndex};
use egtp_tests::scene::{ECHO, KEEP, Scene, long_body, query};
use egtp_tests::settings::acquainted;

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_query_whose_connection_breaks_while_it_is_worked_on_is_answered_over_the_next_one() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"take your time"));
    scene.run_secs(1);
    scene.world.cut(asker, peer);
    scene.run_secs(1);
    assert!(!scene.has_ended(asker, asked));
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"take your time");
    assert_eq!((scene.runs(b"take your time"), scene.world.connects().len()), (1, 2));
}

#[test]
fn a_reply_that_is_lost_with_its_connection_goes_again_over_the_next_one() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"there and back"));
    // The query takes ten milliseconds, and its answer as long.
    scene.run(15 * MILLISECOND);
    assert_eq!(scene.runs(b"there and back"), 1);
    scene.world.cut(asker, peer);
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"there and back");
    assert_eq!((scene.runs(b"there and back"), scene.world.connects().len()), (1, 2));
}

#[test]
fn a_query_that_was_only_partly_written_when_its_connection_broke_goes_again() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.world.set_frozen(peer, true);
    let body = long_body(1_000_000);
    let partial = scene.ask(asker, peer, query(ECHO, &body));
    let queued = scene.ask(asker, peer, query(ECHO, &body[1..]));
    scene.run_secs(1);
    scene.world.set_frozen(peer, false);
    scene.world.cut(asker, peer);
    scene.run_secs(30);
    assert!(scene.reply(asker, partial) == body);
    assert!(scene.reply(asker, queued) == &body[1..]);
    assert_eq!((scene.runs(&body), scene.runs(&body[1..])), (1, 1));
}

#[test]
fn what_was_not_handed_over_is_unreachable_and_did_not_run_once_the_peer_is_gone() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.world.set_frozen(peer, true);
    let partial = scene.ask(asker, peer, query(ECHO, &long_body(1_000_000)));
    let queued = scene.ask(asker, peer, query(ECHO, &long_body(900_000)));
    scene.run_secs(1);
    scene.world.crash(peer);
    let began = scene.world.now();
    scene.run_secs(30);
    for asked in [partial, queued] {
        assert_eq!(scene.failure(asker, asked).reason, Reason::Unreachable);
        assert_eq!(scene.failure(asker, asked).executed, Executed::No);
        assert!(scene.verdict(asker, asked).0 <= began + 100 * MILLISECOND);
    }
}

#[test]
fn a_peer_that_restarts_loses_the_queries_in_flight_at_once_and_answers_the_next() {
    let (mut scene, asker, peer) = acquainted(1);
    let lost = scene.ask(asker, peer, query(KEEP, b"lost"));
    scene.run_secs(1);
    let began = scene.world.now();
    scene.restart(peer);
    scene.told.kept.clear();
    scene.run_secs(1);
    // The news that the connection has ended, a dial, a hint that the session is unknown, and a handshake that asks about it.
    assert_eq!(scene.verdict(asker, lost).0, began + 70 * MILLISECOND);
    let failure = scene.failure(asker, lost);
    assert_eq!((failure.reason, failure.executed, failure.stage), (Reason::LostByPeer, Executed::Maybe, Stage::Peer));
    let next = scene.ask(asker, peer, query(ECHO, b"next"));
    scene.run_secs(2);
    assert_eq!(scene.reply(asker, next), b"next");
    assert_eq!((scene.runs(b"lost"), scene.runs(b"next")), (1, 1));
    assert_eq!(scene.world.node(asker).usage().sessions, 1);
}

#[test]
fn a_long_query_reaches_a_peer_that_has_lost_the_session_at_the_first_try() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.restart(peer);
    scene.run_secs(1);
    let body = long_body(20_000);
    let asked = scene.ask(asker, peer, query(ECHO, &body));
    scene.run_secs(5);
    assert!(scene.reply(asker, asked) == body);
    assert_eq!(scene.world.connects().len(), 2);
}

#[test]
fn an_asker_that_restarts_is_answered_anew_and_its_old_queries_are_withdrawn() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.ask(asker, peer, query(KEEP, b"old"));
    scene.run_secs(1);
    scene.restart(asker);
    scene.run_secs(1);
    // A restarted node names its queries from the start again.
    scene.told.verdicts.clear();
    let next = scene.ask(asker, peer, query(ECHO, b"next"));
    scene.run_secs(120);
    assert_eq!(scene.reply(asker, next), b"next");
    assert_eq!((scene.runs(b"old"), scene.runs(b"next")), (1, 1));
    assert_eq!(scene.told.withdrawn.len(), 1);
    assert_eq!(scene.world.node(peer).usage().incoming, 0);
}

/// A node that has lost its power and is back, and another one, which takes the connection that they had for alive.
fn returned(seed: u64) -> (Scene, NodeIndex, NodeIndex) {
    let (mut scene, returning, other) = Scene::of_two(seed);
    scene.ask(other, returning, query(ECHO, b"so that there is a connection"));
    scene.run_secs(1);
    scene.world.power_off(returning);
    scene.start(returning);
    (scene, returning, other)
}

/// Over a path that is dead, and not yet known to be, it would be lost.
#[test]
fn a_refusal_reaches_a_node_that_had_lost_its_power() {
    for seed in 0..8 {
        let (mut scene, returning, other) = returned(seed);
        let asked = scene.ask(returning, other, query("unknown", b"of a type that is not served"));
        scene.run_secs(1);
        let refused = Reason::RefusedByPeer(PeerRefusal::UnknownType);
        assert_eq!(scene.failure(returning, asked).reason, refused, "seed {seed}");
    }
}

/// A process stands still with half of a query in its socket. When it goes on, the other half leaves, and at the same instant the connection
/// is due to be given up.
#[test]
fn what_leaves_at_the_instant_at_which_its_connection_is_given_up_runs_once() {
    let mut scene = Scene::on(1, Network { buffer: 900, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.ask(asker, peer, query(ECHO, b"so that there is a connection"));
    scene.run_secs(1);
    let body = long_body(900);
    let asked = scene.ask(asker, peer, query(ECHO, &body));
    scene.world.set_silent(peer, true);
    // The asker has become suspicious, and waits for a sign of life.
    scene.run_secs(6);
    scene.world.set_frozen(asker, true);
    scene.run_secs(20);
    scene.world.set_silent(peer, false);
    scene.run_secs(1);
    scene.world.set_frozen(asker, false);
    scene.run_secs(10);
    assert_eq!(scene.reply(asker, asked), body);
    assert_eq!(scene.runs(&body), 1);
}

#[test]
fn a_handler_is_told_that_nobody_waits_even_if_the_first_word_of_it_is_lost() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"never mind"));
    scene.run_secs(1);
    scene.world.with(asker, |node, now| node.cancel(now, asked)).unwrap();
    scene.run(5 * MILLISECOND);
    scene.world.cut(asker, peer);
    scene.run_secs(1);
    assert_eq!(scene.told.withdrawn.len(), 1);
    assert_eq!(scene.world.node(peer).usage().incoming, 0);
}

#[test]
fn a_refusal_that_is_lost_with_its_connection_goes_again() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query("unknown", b"?"));
    scene.run(15 * MILLISECOND);
    scene.world.cut(asker, peer);
    scene.run_secs(1);
    let failure = scene.failure(asker, asked);
    let unknown = Reason::RefusedByPeer(PeerRefusal::UnknownType);
    assert_eq!((failure.reason, failure.executed), (unknown, Executed::No));
}

#[test]
fn a_connection_that_is_cut_again_and_again_costs_a_long_query_only_time() {
    let (mut scene, asker, peer) = acquainted(1);
    let body = long_body(3_000_000);
    let asked = scene.ask(asker, peer, query(ECHO, &body));
    for _ in 0..20 {
        scene.run(60 * MILLISECOND);
        scene.world.cut(asker, peer);
    }
    scene.run_secs(30);
    assert!(scene.reply(asker, asked) == body);
    assert_eq!(scene.runs(&body), 1);
}

#[test]
fn when_both_have_restarted_again_and_again_nothing_waits_for_what_is_lost() {
    for seed in 0..8 {
        let (mut scene, one, other) = Scene::of_two(seed);
        for round in 0..4 {
            scene.ask(one, other, query(KEEP, b"lost"));
            scene.ask(other, one, query(ECHO, b"answered or lost"));
            scene.run(Duration::from_millis(37 * (round + 1)));
            scene.restart(if round % 2 == 0 { one } else { other });
        }
        // What leaves before the news that the peer is gone is lost with the session.
        scene.run_secs(1);
        scene.told.verdicts.clear();
        let asked = [(one, other), (other, one)].map(|(from, to)| (from, scene.ask(from, to, query(ECHO, b"now"))));
        scene.run_secs(5);
        for (node, query) in asked {
            assert_eq!(scene.reply(node, query), b"now", "seed {seed}");
        }
        scene.run_secs(120);
        for node in [one, other] {
            let usage = scene.world.node(node).usage();
            assert_eq!((usage.queries, usage.incoming, usage.reply_bytes), (0, 0, 0), "seed {seed}: {usage:?}");
        }
    }
}
