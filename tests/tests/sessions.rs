//! Sessions: how many there are, which of them go, and what survives that.

use std::time::Duration;

use egtp::{Cause, Config, Executed, Reason, Refusal};
use egtp_tests::scene::{ECHO, KEEP, NEVER, Scene, query};
use egtp_tests::settings::{limited, surrounded};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn beyond_the_limit_of_sessions_the_longest_unused_ends() {
    let (mut scene, node, others) = surrounded::<5>(limited(|limits| limits.sessions = 2));
    for round in 0..2 {
        for &other in &others {
            let asked = scene.ask(other, node, query(ECHO, b"me too"));
            scene.run_secs(10);
            assert_eq!(scene.reply(other, asked), b"me too", "round {round}");
            assert!(scene.world.node(node).usage().sessions <= 2);
        }
    }
}

#[test]
fn askers_that_vanish_before_their_query_is_acknowledged_leave_no_session_behind() {
    let (mut scene, node, [first, second, newcomer]) = surrounded(limited(|limits| limits.sessions = 2));
    for vanishing in [first, second] {
        scene.ask(vanishing, node, query(NEVER, b"good bye"));
        scene.run(55 * MILLISECOND);
        scene.world.crash(vanishing);
        scene.run_secs(70);
    }
    assert_eq!(scene.runs(b"good bye"), 2);
    let asked = scene.ask(newcomer, node, query(ECHO, b"is there room?"));
    scene.run_secs(10);
    assert_eq!(scene.reply(newcomer, asked), b"is there room?");
}

#[test]
fn a_node_whose_sessions_are_all_in_use_refuses_its_own_query_at_once() {
    let (mut scene, node, [first, second, third]) = surrounded(limited(|limits| limits.sessions = 2));
    for asker in [first, second] {
        scene.ask(asker, node, query(KEEP, b"a long time"));
    }
    scene.run_secs(1);
    let refused = scene.ask(node, third, query(ECHO, b"me too"));
    scene.run_secs(1);
    let failure = scene.failure(node, refused);
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedHere(Refusal::TooManySessions), Executed::No));
    scene.answer_kept();
    scene.run_secs(1);
    let again = scene.ask(node, third, query(ECHO, b"and now?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, again), b"and now?");
}

#[test]
fn a_connection_whose_session_was_given_up_is_not_taken_for_dead() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.sessions = 2));
    for &other in &others {
        let asked = scene.ask(other, node, query(ECHO, b"hello"));
        scene.run_secs(2);
        assert_eq!(scene.reply(other, asked), b"hello");
    }
    scene.run_secs(120);
    assert!(scene.world.notes().iter().all(|(_, _, note)| note.cause != Cause::PeerSilent));
    assert_eq!(scene.world.node(node).usage().connections, 3);
}

#[test]
fn a_session_is_renewed_after_its_time_without_losing_a_query() {
    let mut config = Config::default();
    config.timers.session = 60 * SECOND;
    let config = config.check().unwrap();
    let mut scene = Scene::new(1);
    let (asker, peer) = (scene.add_node_with(config.clone()), scene.add_node_with(config));
    scene.run_secs(30);
    let kept = scene.ask(asker, peer, query(KEEP, b"across").hard_timeout(1000 * SECOND));
    for round in 0..600_u32 {
        if round == 60 {
            scene.answer_kept();
        }
        let (from, to) = if round % 2 == 0 { (asker, peer) } else { (peer, asker) };
        let asked = scene.ask(from, to, query(ECHO, &round.to_be_bytes()));
        scene.run_secs(1);
        assert_eq!(scene.reply(from, asked), round.to_be_bytes());
    }
    assert_eq!(scene.reply(asker, kept), b"across");
    // They are renewed until the connection has been idle for ten minutes. An old one stays until what was asked last in it has had its
    // time.
    scene.run_secs(600 + 60 + 3_720);
    for node in [asker, peer] {
        assert_eq!(scene.world.node(node).usage().sessions, 0);
    }
}
