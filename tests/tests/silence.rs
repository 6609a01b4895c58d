//! Silence: when a peer is asked whether it is there, and when its connection is given up.

use std::time::Duration;

use egtp::{Cause, Instant};
use egtp_sim::NodeIndex;
use egtp_tests::scene::{ECHO, KEEP, Scene, query};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_falls_silent_is_found_out_soon_while_something_is_not_acknowledged() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    scene.world.set_silent(peer, true);
    let asked_at = scene.world.now();
    scene.ask(asker, peer, query(ECHO, b"still there?"));
    scene.run_secs(10);
    // A second until it is asked, and four for the answer.
    assert_eq!(silent_notes(&scene, asker), [asked_at + 5 * SECOND]);
}

#[test]
fn a_peer_that_falls_silent_is_found_out_in_time_while_a_query_waits_for_its_answer() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(KEEP, b"hello"));
    scene.run_secs(1);
    let heard = scene.world.now();
    scene.world.set_silent(peer, true);
    scene.run_secs(30);
    let silent = silent_notes(&scene, asker);
    assert_eq!(silent.len(), 1);
    assert!(silent[0] > heard + 20 * SECOND && silent[0] < heard + 25 * SECOND, "{silent:?}");
}

#[test]
fn nobody_is_asked_while_nothing_is_under_way() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    scene.world.set_silent(peer, true);
    scene.run_secs(500);
    assert_eq!(silent_notes(&scene, asker), []);
    assert_eq!(scene.world.node(asker).usage().connections, 1);
}

fn silent_notes(scene: &Scene, node: NodeIndex) -> Vec<Instant> {
    let silent = scene.world.notes().iter().filter(|(_, at, note)| (*at, note.cause) == (node, Cause::PeerSilent));
    silent.map(|&(at, _, _)| at).collect()
}

#[test]
fn a_living_peers_connection_is_kept_however_long_the_answer_takes() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"take your time").hard_timeout(3600 * SECOND));
    scene.run_secs(3500);
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"take your time");
    assert_eq!(scene.world.connects().len(), 1);
}
