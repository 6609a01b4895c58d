//! What is closed, dropped or renewed when its time has come, and what is kept.

use std::time::Duration;

use egtp::{Cause, Config, Event, Instant};
use egtp_sim::NodeIndex;
use egtp_tests::bench::{Between, Party, Side};
use egtp_tests::scene::{ECHO, KEEP, Scene, long_body, query};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn half_a_packet_and_then_silence_is_closed_before_and_after_the_peer_is_known() {
    let mut party = Party::new(1);
    let now = Instant::from_micros(1);
    let connection = party.accepts(now);
    party.receives(now, connection, &[0, 0, 0, 176, 2, 1, 7]);
    party.handle(now + 10 * SECOND, Event::Tick);
    assert_eq!(party.closed, [connection]);

    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    between.carry();
    between.right.answers(between.now);
    between.carry();
    between.pass(Side::Left, &[0, 0, 200, 0, 2, 4, 7]);
    between.wait(31 * SECOND);
    assert_eq!(between.right.closed, [between.at_right]);
    assert_eq!(between.right.node.count(Cause::PeerSilent), 1);
}

#[test]
fn pieces_that_never_complete_are_dropped_after_their_time() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"first"));
    between.carry();
    between.right.answers(between.now);
    between.carry();
    between.ask(query(ECHO, &long_body(100_000)));
    let pieces = between.written_by(Side::Left);
    assert!(pieces.len() >= 3);
    between.pass(Side::Left, &pieces[0]);
    between.pass(Side::Left, &pieces[1]);
    assert!(between.right.node.usage().assembly_bytes > 20_000);
    for _ in 0..62 {
        between.wait(SECOND / 2);
        // The peer lives, and says so.
        for packet in between.written_by(Side::Right) {
            between.pass(Side::Right, &packet);
        }
        for packet in between.written_by(Side::Left).into_iter().filter(|packet| packet.len() < 100) {
            between.pass(Side::Left, &packet);
        }
    }
    assert_eq!(between.right.node.usage().assembly_bytes, 0);
    assert_eq!(between.right.node.count(Cause::MessageAbandoned), 1);
    assert_eq!(between.right.closed, []);
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
fn a_silent_peers_connection_is_closed_by_the_probe_sooner_while_a_query_waits() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    let heard = scene.world.now();
    scene.world.set_silent(peer, true);
    scene.run_secs(40);
    let silent: Vec<Instant> = silent_notes(&scene, asker);
    assert_eq!(silent.len(), 1);
    assert!(silent[0] <= heard + 30 * SECOND && silent[0] > heard + 20 * SECOND, "{silent:?}");

    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(KEEP, b"hello"));
    scene.run_secs(1);
    let heard = scene.world.now();
    scene.world.set_silent(peer, true);
    scene.run_secs(40);
    eprintln!("{:?}", silent_notes(&scene, asker));
    assert!(silent_notes(&scene, asker)[0] <= heard + 15 * SECOND);
}

fn silent_notes(scene: &Scene, node: NodeIndex) -> Vec<Instant> {
    let silent = scene.world.notes().iter().filter(|(_, at, note)| (*at, note.cause) == (node, Cause::PeerSilent));
    silent.map(|&(at, _, _)| at).collect()
}

#[test]
fn a_living_peers_connection_survives_the_probe_however_long_the_answer_takes() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"take your time").hard_timeout(3600 * SECOND));
    scene.run_secs(3500);
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"take your time");
    assert_eq!(scene.world.connects().len(), 1);
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
    for node in [asker, peer] {
        assert_eq!(scene.world.node(node).usage().sessions, 1);
    }
}
