//! Whom a node knows: whoever it has something to do with is not forgotten for a stranger. There is room for two here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use std::iter;

use egtp::{Action, CheckedConfig, Config, Ending, Event, LookupId, Node, NodeId, Refusal, ServiceAction};
use egtp_sim::scene::{KEEP, Scene, query};
use egtp_sim::second::frame::Frame;

use by_hand::{Peer, welcomes};

const OTHER: u8 = 8;
const STRANGER: u8 = 9;

fn knows_two() -> CheckedConfig {
    let mut config = Config::default();
    config.limits.peers = 2;
    config.limits.lookups = 1;
    config.check().unwrap()
}

fn somebody(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

fn looked_up(node: &mut Node) -> Option<LookupId> {
    iter::from_fn(|| node.poll()).find_map(|action| match action {
        Action::Service(ServiceAction::Lookup { lookup, .. }) => Some(lookup),
        _ => None,
    })
}

#[test]
fn a_peer_with_a_connection_is_kept() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(knows_two());
    scene.world.with(node, |node, now| {
        let (Peer { node, .. }, _) = Peer::other_meets(node, now, OTHER);
        let (mut peer, connection) = Peer::meets(node, now);
        peer.says(connection, &[Frame::Break { code: 1, base: 0, bitmap: [0; 128] }]);
        assert_eq!((peer.node.usage().sessions, peer.node.usage().connections), (1, 2));
        assert!(!welcomes(peer.node, now, STRANGER));
        peer.node.handle(now, Event::Closed(connection, Ending::EndOfStream));
        assert!(welcomes(peer.node, now, STRANGER));
    });
}

#[test]
fn a_peer_with_a_session_in_which_something_is_under_way_is_kept_and_one_with_an_idle_session_makes_room() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(knows_two());
    scene.world.with(node, |node, now| {
        let (Peer { node, .. }, _) = Peer::other_meets(node, now, OTHER);
        let (mut peer, connection) = Peer::meets(node, now);
        let token = peer.asks(connection);
        peer.node.handle(now, Event::Closed(connection, Ending::EndOfStream));
        assert_eq!((peer.node.usage().sessions, peer.node.usage().connections), (2, 1));
        assert!(!welcomes(peer.node, now, STRANGER));
        // What the peer is answered goes as soon as it is there again, and then nothing is left that keeps it.
        let connection = peer.connects();
        peer.node.reply(now, token, b"!".to_vec()).unwrap();
        let said = peer.hears(connection);
        assert!(matches!(said[..], [Frame::Reply { number: 0, .. }]), "{said:?}");
        peer.acknowledges(connection);
        peer.node.handle(now, Event::Closed(connection, Ending::EndOfStream));
        assert!(welcomes(peer.node, now, STRANGER));
        assert_eq!((peer.node.usage().sessions, peer.node.usage().peers), (2, 2), "its session has gone with it");
    });
}

#[test]
fn a_peer_that_is_looked_up_is_kept_though_nobody_asks_it_anything_any_more() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(knows_two());
    scene.world.with(node, |node, now| {
        let (Peer { node, .. }, _) = Peer::other_meets(node, now, OTHER);
        let asked = node.query(now, somebody(1), query(KEEP, b"?")).unwrap();
        let lookup = looked_up(node).unwrap();
        node.cancel(now, asked).unwrap();
        assert!(!welcomes(node, now, STRANGER));
        node.handle(now, Event::LookupDone(lookup));
        assert!(welcomes(node, now, STRANGER));
    });
}

#[test]
fn a_peer_that_is_asked_something_is_kept_before_it_is_looked_up() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(knows_two());
    scene.world.with(node, |node, now| {
        let [_, waits] = [1, 2].map(|number| node.query(now, somebody(number), query(KEEP, b"?")).unwrap());
        assert!(looked_up(node).is_some());
        assert!(!welcomes(node, now, STRANGER));
        node.cancel(now, waits).unwrap();
        assert!(welcomes(node, now, STRANGER));
    });
}

#[test]
fn a_peer_that_was_asked_something_once_makes_room_though_strangers_are_needed() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(knows_two());
    scene.world.with(node, |node, now| {
        let (Peer { node, .. }, _) = Peer::other_meets(node, now, OTHER);
        for number in 1..9 {
            let asked = node.query(now, somebody(number), query(KEEP, b"?")).unwrap();
            let lookup = looked_up(node).unwrap();
            node.handle(now, Event::LookupDone(lookup));
            assert_eq!(node.cancel(now, asked), Err(Refusal::Ended), "it is unreachable");
        }
    });
}
