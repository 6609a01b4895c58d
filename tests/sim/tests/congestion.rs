//! What happens while much waits to go to a peer. It is read from all the same, since two that stop reading wait for each other for
//! ever; what finds no room is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use egtp::{CheckedConfig, Config, ConnectionId, Event, Instant, Node};
use egtp_sim::scene::{KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;

use by_hand::{IN_A_MINUTE, Peer};

fn a_million_bytes_for_a_peer() -> CheckedConfig {
    let mut config = Config::default();
    config.limits.reply_bytes_per_peer = 1_000_000;
    config.check().unwrap()
}

/// A peer has asked, is answered at length, and takes nothing of it.
fn asks_for_much(node: &mut Node, now: Instant) -> (Peer<'_>, ConnectionId) {
    let (mut peer, connection) = Peer::meets(node, now);
    let queries: Vec<Frame> = (0..4).map(|number| peer.query(number, KEEP)).collect();
    peer.says(connection, &queries);
    for token in peer.delivered() {
        peer.node.reply(now, token, long_body(180_000)).unwrap();
    }
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
fn a_peer_that_takes_nothing_is_found_dead() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, _) = asks_for_much(node, now);
        peer.waits(60);
        assert_eq!(peer.node.usage().connections, 0);
    });
}

#[test]
fn a_peer_that_takes_a_little_and_acknowledges_nothing_for_a_minute_is_left() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = asks_for_much(node, now);
        for second in 1..=60 {
            assert_eq!(peer.node.usage().connections, 1, "{second}");
            peer.node.handle(peer.now, Event::Written(connection, 100));
            peer.says(connection, &[]);
            peer.waits(1);
        }
        assert_eq!(peer.node.usage().connections, 0);
    });
}

#[test]
fn a_peer_that_takes_no_answers_is_read_from_and_what_finds_no_room_is_refused() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(a_million_bytes_for_a_peer());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = asks_for_much(node, now);
        for number in 4..1_000 {
            assert!(peer.node.wants_read(connection) > 0, "{number}");
            let another = peer.query(number, KEEP);
            peer.says(connection, &[another]);
            for token in peer.delivered() {
                peer.node.reply(peer.now, token, long_body(10_000)).unwrap();
            }
            assert!(peer.node.usage().reply_bytes <= 1_000_000);
        }
        let said = peer.hears(connection);
        let has_no_room =
            |frame: &Frame| matches!(frame, Frame::Refuse { code: 2 | 4, .. } | Frame::Reply { code: 2, .. });
        assert!(said.iter().filter(|frame| has_no_room(frame)).count() > 900);
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
        peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        peer.waits(60);
        assert_eq!(peer.node.usage().assembly_bytes, 0);
    });
}
