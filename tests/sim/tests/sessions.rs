//! How sessions live through slow connections, several connections, and their own end. The peer is played by hand, with the second
//! implementation.

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{
    Action, Cause, Config, ConnectionId, Delivery, Event, Identity, Node, QueryId, Reason, SignedRecord, Strategies,
    TransportAction, Verdict,
};
use egtp_sim::scene::{ECHO, KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::{Packet, framed, unframed};

use by_hand::{PEER_SEED, Peer, take_written};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_handshake_that_waits_behind_other_bytes_is_waited_for_while_some_of_them_go() {
    let mut config = Config::default();
    config.timers.session = 15 * SECOND;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let asked = peer.query(0, KEEP);
        peer.says(connection, &[asked]);
        let token = peer.delivered().pop().unwrap();
        peer.node.reply(now, token, long_body(500_000)).unwrap();
        for _ in 0..120 {
            peer.now = peer.now + SECOND;
            peer.node.handle(peer.now, Event::Tick);
            peer.node.handle(peer.now, Event::Written(connection, 100));
        }
        assert_eq!(peer.node.usage().connections, 1);
        for _ in 0..60 {
            peer.now = peer.now + SECOND;
            peer.node.handle(peer.now, Event::Tick);
        }
        assert_eq!(peer.node.usage().connections, 0, "none of them goes any more");
    });
}

#[test]
fn a_record_that_comes_too_late_for_the_window_ends_its_connection() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, slow) = Peer::meets(node, now);
        let quick = peer.connects();
        let late = framed(&peer.session.seal(&[]));
        for _ in 0..1_023 {
            peer.says(quick, &[]);
        }
        let just_in_time = framed(&peer.session.seal(&[]));
        peer.node.handle(now, Event::Received(quick, &just_in_time));
        peer.node.handle(now, Event::Received(slow, &late));
        assert_eq!((peer.node.usage().connections, peer.node.count(Cause::RecordReplayed)), (1, 1));
    });
}

#[test]
fn an_answer_on_its_way_is_waited_for_though_its_session_has_ended() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        let asked = peer.node.query(now, to, query(ECHO, b"?")).unwrap();
        let said = peer.hears(first);
        let Some(Frame::Query { number, part, .. }) = said.last() else { panic!("{said:?}") };
        let reply = peer.reply_to(*number, part, b"!");
        let (mut before, second) = peer.shakes_hands_again();
        let mut bitmap = [0; 128];
        bitmap[0] = 1;
        let late = framed(&before.seal(&reply.encode()));
        peer.says_in(&mut before, second, &[Frame::Break { code: 3, base: 0, bitmap }]);
        // It said something in that session before it heard of the end, which nobody could open.
        peer.now = peer.now + 2 * SECOND;
        let stale = Packet::Stale { sid: [0; 8], counter: 0 }.encode();
        peer.node.handle(peer.now, Event::Received(second, &framed(&stale)));
        let said = unframed(&mut take_written(peer.node, peer.now, second));
        assert!(!said.iter().any(|packet| matches!(Packet::parse(packet), Some(Packet::Hello { .. }))));
        peer.node.handle(peer.now, Event::Received(first, &late));
        assert_eq!(verdicts(peer.node), [(asked, Ok(b"!".to_vec()))]);
        assert_eq!(peer.node.usage().sessions, 1);
    });
}

#[test]
fn a_query_whose_session_was_given_up_while_the_peer_was_asked_about_it_has_another_made() {
    let mut config = Config::default();
    config.limits.sessions = 2;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        let identity = Identity::from_seed(&PEER_SEED);
        let strategies = Strategies { addresses: vec![([10, 9, 9, 9], 2).into()], relays: Vec::new() };
        peer.node.learn(now, SignedRecord::sign(&identity, 1, strategies).unwrap()).unwrap();
        peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        peer.node.query(now, to, query(ECHO, b"?")).unwrap();
        let dial = dials(peer.node).unwrap();
        peer.node.handle(now, Event::Connected(dial));
        assert!(matches!(peer.hears(dial)[..], [Frame::Ping { .. }]));
        // There is room for two sessions, and the other two are in use.
        for seed in [8, 9] {
            let (mut other, connection) = Peer::other_meets(peer.node, now, seed);
            let asks = other.query(0, KEEP);
            other.says(connection, &[asks]);
        }
        assert_eq!(peer.node.usage().sessions, 2);
        let due = now + SECOND;
        peer.node.handle(due, Event::Tick);
        let said = unframed(&mut take_written(peer.node, due, dial));
        assert!(matches!(Packet::parse(&said[0]), Some(Packet::Hello { .. })));
    });
}

fn dials(node: &mut Node) -> Option<ConnectionId> {
    iter::from_fn(|| node.poll()).find_map(|action| match action {
        Action::Transport(TransportAction::Connect { connection, .. }) => Some(connection),
        _ => None,
    })
}

fn verdicts(node: &mut Node) -> Vec<(QueryId, Result<Vec<u8>, Reason>)> {
    let actions = iter::from_fn(|| node.poll());
    let verdicts = actions.filter_map(|action| match action {
        Action::Deliver(Delivery::Verdict(query, Verdict::Reply(reply))) => Some((query, Ok(reply.body))),
        Action::Deliver(Delivery::Verdict(query, Verdict::Failed(failure))) => Some((query, Err(failure.reason))),
        _ => None,
    });
    verdicts.collect()
}
