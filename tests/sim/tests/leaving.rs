//! How connections are left, and sessions replaced, that something still waits for. The peer is played by hand, with the second
//! implementation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{Action, Config, Delivery, Event, Node, ServiceAction};
use egtp_sim::scene::{KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;

use by_hand::{IN_A_MINUTE, Peer};

#[test]
fn a_query_that_waits_on_a_connection_that_is_left_looks_for_another_at_once() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        for _ in 0..2 {
            // The first one is on its way, and nobody takes it.
            peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        }
        let looks_it_up = |node: &mut Node| {
            let mut actions = iter::from_fn(|| node.poll());
            actions.any(|action| matches!(action, Action::Service(ServiceAction::Lookup { .. })))
        };
        assert!(!looks_it_up(peer.node));
        peer.says(connection, &[Frame::Leave { step: 0 }]);
        assert!(looks_it_up(peer.node));
    });
}

#[test]
fn a_connection_that_is_left_stays_open_for_the_query_that_it_carries() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let Frame::Query { part: message, .. } = peer.query(0, KEEP) else { unreachable!() };
        let total = u32::try_from(message.len()).unwrap();
        let first = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total, part: message[..1].to_vec() };
        peer.says(connection, &[first, Frame::Leave { step: 0 }]);
        let pieces = message[1..].chunks(10).zip((1..).step_by(10));
        for (part, offset) in pieces {
            peer.now = peer.now + Duration::from_secs(4);
            peer.node.handle(peer.now, Event::Tick);
            peer.says(connection, &[Frame::Piece { of: 1, number: 0, offset, part: part.to_vec() }]);
        }
        assert!(peer.now > now + Duration::from_secs(20));
        let mut actions = iter::from_fn(|| peer.node.poll());
        assert!(actions.any(|action| matches!(action, Action::Deliver(Delivery::Query { .. }))));
        assert_eq!(peer.node.usage().connections, 1);
    });
}

#[test]
fn whoever_proposes_to_leave_and_stays_is_left_in_the_end() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        peer.says(connection, &[Frame::Leave { step: 0 }]);
        assert_eq!(peer.hears(connection).last(), Some(&Frame::Leave { step: 1 }));
        for (seconds, connections) in [(9, 1), (10, 0)] {
            peer.node.handle(now + Duration::from_secs(seconds), Event::Tick);
            assert_eq!(peer.node.usage().connections, connections, "it is for the peer to close it: {seconds} s");
        }
    });
}

/// Where every connection is left after ten seconds in which nothing is under way on it.
fn leaves_soon() -> egtp::CheckedConfig {
    let mut config = Config::default();
    config.timers.idle = Duration::from_secs(10);
    config.check().unwrap()
}

#[test]
fn a_connection_that_both_have_left_stays_open_for_a_reply_that_waits_its_turn_and_no_other() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(leaves_soon());
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let [second, third] = [(); 2].map(|()| peer.connects());
        let asked: Vec<Frame> = (0..4).map(|number| peer.query(number, KEEP)).collect();
        peer.says(first, &asked);
        peer.now = now + Duration::from_secs(10);
        peer.node.handle(peer.now, Event::Tick);
        for left in [second, third] {
            assert_eq!(peer.hears(left).last(), Some(&Frame::Leave { step: 0 }));
        }
        // A query was under way when the peer heard it.
        let late = peer.query(4, KEEP);
        peer.says(second, &[late, Frame::Leave { step: 1 }]);
        let mut tokens = peer.delivered();
        let last = tokens.pop().unwrap();
        for token in tokens {
            peer.node.reply(peer.now, token, long_body(300_000)).unwrap();
            // The system takes what is sealed so far, and the next reply begins.
            let sealed = peer.node.to_write(first).len();
            peer.node.handle(peer.now, Event::Written(first, sealed));
        }
        peer.node.reply(peer.now, last, long_body(300_000)).unwrap();
        peer.says(third, &[Frame::Leave { step: 1 }]);
        assert_eq!(peer.node.usage().connections, 2, "nothing is meant for the third");
        // While four long replies are under way on the first one, the fifth waits.
        assert!(peer.hears(second).is_empty());
        assert_eq!(peer.node.usage().connections, 2);
        peer.hears(first);
        assert!(matches!(peer.hears(second)[0], Frame::Reply { number: 4, .. }));
        assert_eq!(peer.node.usage().connections, 1);
    });
}

#[test]
fn a_connection_that_both_have_left_stays_open_for_what_is_to_be_said_of_the_last_query() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(leaves_soon());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        peer.now = now + Duration::from_secs(10);
        peer.node.handle(peer.now, Event::Tick);
        assert_eq!(peer.hears(connection).last(), Some(&Frame::Leave { step: 0 }));
        let late = peer.query(0, "unknown");
        peer.says(connection, &[late, Frame::Leave { step: 1 }]);
        assert!(matches!(peer.hears(connection)[..], [Frame::Refuse { number: 0, .. }]));
        assert_eq!(peer.node.usage().connections, 0);
    });
}

#[test]
fn a_session_that_another_replaces_ends_once_everything_in_it_is_said() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        // The node's answer to this is on its way, and all else waits.
        peer.says(first, &[Frame::Ping { token: 1, asked: Vec::new() }]);
        let unknown = peer.query(0, "unknown");
        peer.says(first, &[unknown]);
        let (before, second) = peer.shakes_hands_again();
        let Some(&Frame::Ping { token, .. }) = peer.hears(second).last() else { panic!("it does not ask") };
        peer.says(second, &[Frame::Pong { token, held: 1 }]);
        let better = peer.session.clone();
        assert_eq!(peer.hears_in(&[&before, &better], second), [Frame::Drained]);
        let mut drained = before.clone();
        peer.says_in(&mut drained, second, &[Frame::Drained]);
        assert_eq!(peer.node.usage().sessions, 2);
        let said = peer.hears_in(&[&before], first);
        assert!(matches!(said[..], [Frame::Pong { .. }, Frame::Refuse { number: 0, .. }]), "{said:?}");
        assert_eq!(peer.node.usage().sessions, 1);
    });
}

#[test]
fn a_question_that_was_lost_with_its_connection_is_asked_again_on_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let (_, second) = peer.shakes_hands_again();
        assert!(matches!(peer.hears(second).last(), Some(Frame::Ping { .. })));
        assert_eq!(peer.hears(first), []);
        peer.node.handle(now, Event::Closed(second, egtp::Ending::Broken));
        assert!(matches!(peer.hears(first)[..], [Frame::Ping { .. }]));
    });
}

#[test]
fn a_session_that_the_peer_has_said_it_holds_is_not_asked_about_when_a_connection_ends() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let (mut before, second) = peer.shakes_hands_again();
        let Some(&Frame::Ping { token, .. }) = peer.hears(second).last() else { panic!("it does not ask") };
        peer.says(second, &[Frame::Pong { token, held: 1 }]);
        let better = peer.session.clone();
        assert_eq!(peer.hears_in(&[&before, &better], second), [Frame::Drained]);
        peer.says_in(&mut before, first, &[Frame::Drained]);
        peer.node.handle(now, Event::Closed(second, egtp::Ending::Broken));
        assert_eq!(peer.hears(first), []);
    });
}

#[test]
fn a_session_that_is_old_does_not_end_while_a_handler_has_a_query_of_it() {
    let mut config = Config::default();
    config.timers.session = Duration::from_secs(15);
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let token = peer.asks(connection);
        peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        peer.waits(39);
        let again = peer.connects();
        peer.node.reply(peer.now, token, b"late".to_vec()).unwrap();
        assert!(peer.hears(again).iter().any(|frame| matches!(frame, Frame::Reply { number: 0, .. })));
    });
}

#[test]
fn whoever_is_looked_for_and_comes_by_itself_in_a_session_that_was_replaced_is_asked_about_the_better_one() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let (mut before, second) = peer.shakes_hands_again();
        for connection in [first, second] {
            peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        }
        peer.node.query(now, peer.id(), query(KEEP, b"?")).unwrap();
        let again = peer.dials();
        peer.says_in(&mut before, again, &[]);
        let said = peer.hears(again);
        assert!(matches!(said[..], [Frame::Ping { .. }]), "{said:?}");
    });
}

#[test]
fn a_query_does_not_fall_back_on_a_connection_that_was_left() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, left) = Peer::meets(node, now);
        let other = peer.connects();
        peer.says(left, &[Frame::Leave { step: 0 }]);
        assert_eq!(peer.hears(left), [Frame::Leave { step: 1 }]);
        let to = peer.id();
        for _ in 0..2 {
            // The first one is sealed, and the second one waits for that to be written.
            peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        }
        peer.node.handle(now, Event::Closed(other, egtp::Ending::Broken));
        let said = peer.hears(left);
        assert!(!said.iter().any(|frame| matches!(frame, Frame::Query { .. })), "{said:?}");
        let mut actions = iter::from_fn(|| peer.node.poll());
        assert!(actions.any(|action| matches!(action, Action::Service(ServiceAction::Lookup { .. }))));
    });
}

#[test]
fn a_connection_that_is_left_stays_open_for_a_reply_that_is_still_taken() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let asked = peer.query(0, KEEP);
        peer.says(connection, &[asked, Frame::Leave { step: 0 }]);
        let token = peer.delivered().pop().unwrap();
        peer.node.reply(now, token, long_body(1_000_000)).unwrap();
        let mut taken = 0;
        while peer.node.usage().reply_bytes > 0 {
            peer.now = peer.now + Duration::from_secs(2);
            peer.node.handle(peer.now, Event::Tick);
            peer.node.handle(peer.now, Event::Written(connection, 20_000));
            peer.says(connection, &[]);
            taken += 20_000;
        }
        assert!(taken > 900_000, "cut off after {taken} bytes");
        peer.waits(15);
        assert_eq!(peer.node.usage().connections, 0, "nothing is taken any more");
    });
}
