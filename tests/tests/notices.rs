//! Notices: told once, without an answer, and over when the peer has them.

use std::time::Duration;

use egtp_sim::Network;
use egtp_tests::scene::{ECHO, NEVER, Scene, query, type_name};

#[test]
fn a_notice_is_delivered_once_and_gets_no_verdict() {
    let (mut scene, sender, peer) = Scene::of_two(1);
    let to = scene.world.id(peer);
    for name in [NEVER, "unknown"] {
        scene.world.with(sender, |node, now| node.notify(now, to, type_name(name), b"news".to_vec())).unwrap();
    }
    let (me, own) = (scene.world.id(sender), type_name(NEVER));
    scene.world.with(sender, |node, now| node.notify(now, me, own, b"diary".to_vec())).unwrap();
    scene.run_secs(60);
    assert_eq!(scene.told.notices.len(), 2);
    assert!(scene.told.notices.contains(&(peer, me, b"news".to_vec())));
    assert!(scene.told.notices.contains(&(sender, me, b"diary".to_vec())));
    assert!(scene.told.verdicts.is_empty() && scene.told.asked.is_empty());
    assert_eq!(scene.world.node(sender).usage().queries, 0);
}

#[test]
fn a_notice_that_crosses_a_handshake_of_its_recipient_is_told_once_and_is_over_at_once() {
    for seed in 0..8 {
        let mut scene = Scene::on(seed, Network { latency: Duration::from_micros(142), ..Network::default() });
        let (one, other) = (scene.add_node(), scene.add_node());
        let id = scene.world.id(other);
        scene.world.with(one, |node, now| node.notify(now, id, type_name(NEVER), b"once".to_vec()).unwrap());
        scene.ask(other, one, query(ECHO, b"at the same instant"));
        scene.run_secs(5);
        assert_eq!(scene.told.notices.len(), 1);
        assert_eq!(scene.world.node(one).usage().queries, 0, "seed {seed}");
    }
}

/// An acknowledgement over the old connection, which the peer takes for alive, would be lost.
#[test]
fn a_notice_of_a_node_that_had_lost_its_power_is_over_at_once() {
    for seed in 0..8 {
        let (mut scene, returning, other) = Scene::of_two(seed);
        scene.ask(other, returning, query(ECHO, b"so that there is a connection"));
        scene.run_secs(1);
        scene.world.power_off(returning);
        scene.start(returning);
        let id = scene.world.id(other);
        scene.world.with(returning, |node, now| node.notify(now, id, type_name(NEVER), b"once".to_vec()).unwrap());
        scene.run_secs(1);
        assert_eq!(scene.told.notices.len(), 1);
        assert_eq!(scene.world.node(returning).usage().queries, 0, "seed {seed}");
    }
}
