//! A node's own record: its sequence number only rises, and is stored before it is told.

use std::net::SocketAddr;

use egtp::{
    Action, CheckedConfig, Event, Identity, Instant, Node, ServiceAction, StoreKey, Stored, Strategies, UnixTime,
};
use egtp_tests::bench::address;
use egtp_tests::scene::Scene;

#[test]
fn a_change_of_strategies_bumps_the_sequence_number_and_the_same_again_does_not() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let at = |port| Strategies { addresses: vec![SocketAddr::from(([10, 0, 0, 1], port))], relays: Vec::new() };
    let first = scene.world.node(node).record().unwrap().sequence();
    scene.world.with(node, |node, now| node.announce(now, at(4000))).unwrap();
    assert_eq!(scene.world.node(node).record().unwrap().sequence(), first);
    scene.world.with(node, |node, now| node.announce(now, at(4001))).unwrap();
    let second = scene.world.node(node).record().unwrap();
    assert_eq!((second.sequence(), second.strategies()), (first + 1, &at(4001)));
    for port in 5000..5200 {
        scene.world.with(node, |node, now| node.announce(now, at(port))).unwrap();
    }
    assert_eq!(scene.world.node(node).record().unwrap().sequence(), first + 201);
}

#[test]
fn a_restart_never_reuses_a_sequence_number() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let mut last = 0;
    for port in 4001..4100 {
        let sequence = scene.world.node(node).record().unwrap().sequence();
        assert!(sequence > last);
        let moved = Strategies { addresses: vec![SocketAddr::from(([10, 0, 0, 1], port))], relays: Vec::new() };
        scene.world.with(node, |node, now| node.announce(now, moved)).unwrap();
        last = scene.world.node(node).record().unwrap().sequence();
        assert!(last > sequence);
        scene.restart(node);
    }
}

#[test]
fn what_is_announced_is_published_only_after_its_number_is_saved() {
    let identity = Identity::from_seed(&[5; 32]);
    let now = Instant::ZERO;
    let mut node =
        Node::new(CheckedConfig::default(), identity, [6; 32], Stored::default(), now, UnixTime::from_secs(77));
    node.announce(now, Strategies { addresses: vec![address()], relays: Vec::new() }).unwrap();
    let Some(Action::Service(ServiceAction::Save { save, .. })) = node.poll() else { panic!("nothing is saved") };
    assert_eq!(node.poll(), None);
    assert_eq!(node.record(), None);
    node.handle(now, Event::Saved(save));
    let Some(Action::Service(ServiceAction::Publish { record })) = node.poll() else { panic!("nothing published") };
    assert_eq!(record.sequence(), 77);
}

#[test]
fn a_node_that_has_used_its_last_sequence_number_stays_quiet() {
    let last = i64::MAX.to_be_bytes();
    let stored = Stored::parse([(StoreKey::Sequence, &last[..])]).unwrap();
    let (identity, now) = (Identity::from_seed(&[1; 32]), Instant::ZERO);
    let mut node = Node::new(CheckedConfig::default(), identity, [1; 32], stored, now, UnixTime::from_secs(1));
    node.announce(now, Strategies { addresses: vec![address()], relays: Vec::new() }).unwrap();
    let mut saves = 0;
    while let Some(action) = node.poll() {
        if let Action::Service(ServiceAction::Save { save, .. }) = action {
            saves += 1;
            assert!(saves < 10, "it saves without end");
            node.handle(now, Event::Saved(save));
        }
    }
}
