//! What happens while much waits to go to a peer. It is not read from then, since that would only make more wait, but neither end may
//! wait for the other for ever.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use std::iter;

use egtp::{Action, CheckedConfig, Config, ConnectionId, Delivery, Event, Instant, Node};
use egtp_sim::scene::{KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::identity::Identity;

use by_hand::{IN_A_MINUTE, PEER_SEED, Peer, take_written};

/// Half of it may wait for a peer that is read from.
fn a_million_bytes_for_a_peer() -> CheckedConfig {
    let mut config = Config::default();
    config.limits.reply_bytes_per_peer = 1_000_000;
    config.check().unwrap()
}

/// A peer has asked, is answered at length, and takes nothing of it: it is not read from any more.
fn asks_for_much(node: &mut Node, now: Instant) -> (Peer<'_>, ConnectionId) {
    other_asks_for_much(node, now, PEER_SEED[0])
}

fn other_asks_for_much(node: &mut Node, now: Instant, seed: u8) -> (Peer<'_>, ConnectionId) {
    let (mut peer, connection) = Peer::other_meets(node, now, seed);
    let queries: Vec<Frame> = (0..4).map(|number| peer.query(number, KEEP)).collect();
    peer.says(connection, &queries);
    for token in peer.delivered() {
        peer.node.reply(now, token, long_body(180_000)).unwrap();
    }
    assert_eq!(peer.node.wants_read(connection), 0);
    (peer, connection)
}

#[test]
fn two_nodes_that_have_much_for_each_other_do_not_wait_for_each_other() {
    let mut scene = Scene::new(1);
    let config = a_million_bytes_for_a_peer();
    let nodes = [scene.add_node_with(config.clone()), scene.add_node_with(config)];
    let mut asked = Vec::new();
    for _ in 0..40 {
        for (from, to) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
            asked.push((from, scene.ask(from, to, query(KEEP, &long_body(20_000)))));
        }
    }
    scene.run_secs(5);
    scene.answer_kept();
    scene.run_secs(10);
    for (from, query) in asked {
        assert_eq!(scene.reply(from, query).len(), 20_000);
    }
}

#[test]
fn a_peer_that_takes_nothing_is_found_dead_although_it_is_not_read_from() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, _) = asks_for_much(node, now);
        peer.waits(60);
        assert_eq!(peer.node.usage().connections, 0);
    });
}

#[test]
fn a_peer_that_takes_nothing_is_read_from_after_a_while_until_no_answer_would_find_room() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = asks_for_much(node, now);
        peer.waits(5);
        assert!(peer.node.wants_read(connection) > 0);
        peer.node.handle(peer.now, Event::Written(connection, 1));
        assert_eq!(peer.node.wants_read(connection), 0, "it takes something again");
        peer.waits(5);
        let mut asked = 4;
        while peer.node.wants_read(connection) > 0 {
            assert!(asked < 1_000, "it reads for ever");
            let another = peer.query(asked, KEEP);
            peer.says(connection, &[another]);
            for token in peer.delivered() {
                peer.node.reply(peer.now, token, long_body(10_000)).unwrap();
            }
            asked += 1;
        }
        assert!(peer.node.usage().reply_bytes < 800_000);
        take_written(peer.node, peer.now, connection);
        assert!(peer.node.wants_read(connection) > 0, "it has taken everything");
    });
}

#[test]
fn of_two_that_wait_for_each_other_the_one_with_the_smaller_id_begins() {
    let mut begins = Vec::new();
    for seed in 1..17 {
        let mut scene = Scene::new(1);
        let node = scene.add_node_with(a_million_bytes_for_a_peer());
        scene.world.with(node, |node, now| {
            let (mut peer, connection) = other_asks_for_much(node, now, seed);
            let is_smaller = *peer.node.id().as_bytes() < Identity([seed; 32]).node_id();
            let reads = [1, 2, 2].map(|seconds| {
                peer.waits(seconds);
                peer.node.wants_read(connection) > 0
            });
            assert_eq!(reads, [false, is_smaller, true], "after one, three and five seconds");
            begins.push(is_smaller);
        });
    }
    assert!(begins.contains(&true) && begins.contains(&false));
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_is_waited_for() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = asks_for_much(node, now);
        for _ in 0..100 {
            peer.waits(1);
            assert_eq!(peer.node.wants_read(connection), 0);
            peer.node.handle(peer.now, Event::Written(connection, 100));
            assert_eq!((peer.node.wants_read(connection), peer.node.usage().connections), (0, 1));
        }
    });
}

#[test]
fn a_peer_that_was_asked_whether_it_is_there_is_waited_for_while_it_takes_what_keeps_its_answer_from_being_read() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = asks_for_much(node, now);
        peer.waits(20);
        // The question goes with the second of these.
        for _ in 0..2 {
            let sealed = peer.node.to_write(connection).len();
            peer.node.handle(peer.now, Event::Written(connection, sealed));
        }
        for _ in 0..60 {
            peer.waits(1);
            peer.node.handle(peer.now, Event::Written(connection, 100));
            assert_eq!((peer.node.wants_read(connection), peer.node.usage().connections), (0, 1));
        }
        peer.waits(20);
        assert_eq!(peer.node.usage().connections, 0, "it takes nothing any more");
    });
}

#[test]
fn a_peer_that_takes_no_refusals_is_read_from_after_a_while_as_well() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut asked = 0;
        let mut asks_until_it_is_not_read = |peer: &mut Peer<'_>| {
            while peer.node.wants_read(connection) > 0 {
                assert!(asked < 100_000, "it reads for ever");
                let unknown: Vec<Frame> = (asked..asked + 100).map(|number| peer.query(number, "unknown")).collect();
                peer.says(connection, &unknown);
                asked += 100;
            }
        };
        asks_until_it_is_not_read(&mut peer);
        peer.waits(5);
        assert!(peer.node.wants_read(connection) > 0);
        asks_until_it_is_not_read(&mut peer);
        take_written(peer.node, peer.now, connection);
        assert!(peer.node.wants_read(connection) > 0, "it has taken everything");
    });
}

#[test]
fn half_a_message_is_kept_while_the_rest_of_it_is_not_read() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let [first, rest] = peer.query_in_parts(9);
        peer.says(connection, &[first]);
        let queries: Vec<Frame> = (0..4).map(|number| peer.query(number, KEEP)).collect();
        peer.says(connection, &queries);
        for token in peer.delivered() {
            peer.node.reply(now, token, long_body(180_000)).unwrap();
        }
        for _ in 0..50 {
            peer.waits(1);
            peer.node.handle(peer.now, Event::Written(connection, 100));
        }
        assert_eq!(peer.node.wants_read(connection), 0);
        take_written(peer.node, peer.now, connection);
        peer.says(connection, &[rest]);
        let mut actions = iter::from_fn(|| peer.node.poll());
        assert!(actions.any(|action| matches!(action, Action::Deliver(Delivery::Query { .. }))));
    });
}

#[test]
fn half_a_message_is_not_kept_for_a_peer_that_has_gone() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let half = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total: 100_000, part: vec![0; 10_000] };
        peer.says(connection, &[half]);
        let mut number = 1;
        while peer.node.wants_read(connection) > 0 {
            let unknown: Vec<Frame> = (number..number + 100).map(|number| peer.query(number, "unknown")).collect();
            peer.says(connection, &unknown);
            number += 100;
        }
        peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        peer.waits(60);
        assert_eq!(peer.node.usage().assembly_bytes, 0);
    });
}
