//! How sessions live through several connections and their own end. The peer is played by hand, with the second implementation.

mod by_hand;

use std::time::Duration;

use egtp::{Cause, Event};
use egtp_sim::scene::{KEEP, Scene, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::framed;

use by_hand::{Peer, dials_the_peer, take_written};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_record_that_comes_too_late_for_the_window_is_dropped_and_closes_nothing() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, slow) = Peer::meets(node, now);
        let quick = peer.connects();
        let late = framed(&peer.session.say(&[Frame::Ping]));
        for _ in 0..1_023 {
            peer.says(quick, &[]);
        }
        let just_in_time = framed(&peer.session.say(&[]));
        peer.node.handle(now, Event::Received(quick, &just_in_time));
        peer.node.handle(now, Event::Received(slow, &late));
        assert_eq!((peer.node.usage().connections, peer.node.count(Cause::RecordReplayed)), (2, 1));
        assert_eq!([quick, slow].map(|on| peer.hears_records(on).len()), [0, 0]);
    });
}

#[test]
fn each_record_is_opened_once_in_whatever_order_they_come() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let records: Vec<Vec<u8>> = (0..500).map(|_| framed(&peer.session.say(&[Frame::Ping]))).collect();
        let upwards = records.iter().step_by(2);
        let downwards = records.iter().skip(1).step_by(2).rev();
        for record in upwards.chain(downwards).chain(&records) {
            peer.node.handle(now, Event::Received(connection, record));
        }
        assert_eq!(peer.hears(connection), []);
        assert_eq!(peer.session.ledger.unacknowledged().count(), 0);
        assert_eq!(peer.node.count(Cause::RecordReplayed), 500);
    });
}

#[test]
fn a_session_that_was_offered_is_kept_until_its_place_is_needed() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut offered = peer.shakes_hands_on(connection, 1);
        peer.waits(100);
        peer.says_in(&mut offered, connection, &[]);
        assert_eq!(peer.node.usage().tentative_sessions, 0);
        assert_eq!(peer.node.usage().sessions, 2);
    });
}

#[test]
fn what_has_a_number_stays_in_its_session_and_new_queries_go_in_the_better_one() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        assert!(matches!(peer.hears(first)[..], [Frame::Query { number: 0, .. }]));
        let token = peer.asks(first);
        let (worse, second) = peer.shakes_hands_again();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        assert!(matches!(peer.hears(second)[..], [Frame::Query { number: 0, .. }]));
        peer.node.reply(now, token, b"!".to_vec()).unwrap();
        let better = std::mem::replace(&mut peer.session, worse);
        let said = peer.hears(first);
        assert!(said.iter().any(|frame| matches!(frame, Frame::Reply { number: 0, .. })), "{said:?}");
        peer.session = better;
        assert_eq!(peer.node.usage().sessions, 2);
    });
}

#[test]
fn that_a_session_ends_is_said_over_each_connection_so_that_nothing_overtakes_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let second = peer.connects();
        peer.asks(first);
        peer.node.shut_down(now, SECOND);
        for connection in [first, second] {
            peer.hears(connection);
        }
        peer.now = now + SECOND;
        peer.node.handle(peer.now, Event::Tick);
        for connection in [first, second] {
            let said = peer.hears(connection);
            assert!(said.iter().any(|frame| matches!(frame, Frame::Break { code: 2, .. })), "{said:?}");
        }
    });
}

#[test]
fn over_a_connection_on_which_a_session_was_not_heard_nothing_but_a_ping_goes() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        let dial = dials_the_peer(peer.node, now, &[1]);
        assert_eq!(peer.hears(dial), [Frame::Ping]);
        peer.acknowledges(dial);
        assert!(matches!(peer.hears(dial)[..], [Frame::Query { .. }]));
        peer.acknowledges(dial);
        peer.waits(3);
        assert_eq!(take_written(peer.node, peer.now, dial), []);
    });
}
