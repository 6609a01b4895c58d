//! How sessions live through several connections and their own end. The peer is played by hand, with the second implementation.

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{
    Action, Cause, Config, ConnectionId, Delivery, Ending, Event, Instant, Node, PeerRefusal, QueryId, Reason, Verdict,
};
use egtp_sim::scene::{ECHO, KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::{Packet, framed, unframed};
use egtp_sim::second::session::Session;

use by_hand::{Peer, dials_the_peer, take_written, welcomes};

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
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        let dial = dials_the_peer(peer.node, now, &[1]);
        assert_eq!(peer.hears(dial), [Frame::Ping]);
        peer.acknowledges(dial);
        assert!(matches!(peer.hears(dial)[..], [Frame::Query { .. }]));
        peer.acknowledges(dial);
        peer.waits(3);
        assert_eq!(take_written(peer.node, peer.now, dial), []);
    });
}

#[test]
fn a_handshake_that_waits_behind_other_bytes_is_waited_for_while_some_of_them_go() {
    let mut config = Config::default();
    config.timers.session = 15 * SECOND;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let token = peer.asks(connection);
        peer.node.reply(now, token, long_body(500_000)).unwrap();
        let mut taken = Vec::new();
        for _ in 0..120 {
            peer.waits(1);
            let bytes = peer.node.to_write(connection)[..100].to_vec();
            peer.node.handle(peer.now, Event::Written(connection, bytes.len()));
            taken.extend(bytes);
            for packet in unframed(&mut taken) {
                assert!(!is_hello(&packet));
                peer.session.hear(&packet).unwrap();
                peer.acknowledges(connection);
            }
        }
        assert_eq!(peer.node.usage().connections, 1);
        peer.waits(60);
        assert_eq!(peer.node.usage().connections, 0, "none of them goes any more");
    });
}

#[test]
fn whoever_asks_about_sessions_hears_which_of_them_are_held() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, _) = Peer::meets(node, now);
        let (before, connection) = peer.shakes_hands_again();
        let (session, tentative) = (peer.session.peer_sid, peer.shakes_hands_on(connection, 3).peer_sid);
        for (asked, held) in [
            (vec![tentative], 1),
            (vec![session, before.peer_sid], 3),
            (vec![[9; 8], session], 2),
            (vec![session, [9; 8]], 1),
            (vec![[9; 8]], 0),
            (vec![], 0),
        ] {
            assert_eq!(peer.asks_about(connection, asked), held);
        }
        let (other, _) = Peer::other_meets(peer.node, now, 8);
        let of_another = other.session.peer_sid;
        assert_eq!(peer.asks_about(connection, vec![of_another]), 0);
    });
}

#[test]
fn that_a_session_is_unknown_is_believed_only_of_a_record_that_was_sent_in_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        let isid = 0u64.to_be_bytes();
        for (sid, counter, is_believed) in [(isid, 1, false), ([9; 8], 0, false), (isid, 0, true)] {
            peer.node.query(now, to, query(KEEP, b"?")).unwrap();
            peer.hears(connection);
            let stale = framed(&Packet::Stale { sid, counter }.encode());
            peer.node.handle(now, Event::Received(connection, &stale));
            let said = unframed(&mut take_written(peer.node, now, connection));
            assert_eq!(said.iter().any(|packet| is_hello(packet)), is_believed, "{counter}");
        }
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
        peer.node.handle(now, Event::Closed(connection, Ending::Broken));
        peer.waits(30);
        let now = peer.now;
        let dial = dials_the_peer(peer.node, now, &[2]);
        assert_eq!(peer.hears(dial), [Frame::Ping]);
        // There is room for two sessions, and the other two are in use.
        for seed in [8, 9] {
            let (mut other, connection) = Peer::other_meets(peer.node, now, seed);
            other.asks(connection);
        }
        assert_eq!(peer.node.usage().sessions, 2);
        peer.waits(2);
        let said = unframed(&mut take_written(peer.node, peer.now, dial));
        assert!(said.first().is_some_and(|packet| is_hello(packet)), "{said:?}");
    });
}

#[test]
fn nobody_is_offered_a_session_while_all_that_there_may_be_are_in_use() {
    let mut config = Config::default();
    config.limits.sessions = 2;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let token = peer.asks(first);
        let (worse, second) = peer.shakes_hands_again();
        peer.asks(second);
        assert!(!welcomes(peer.node, now, 9));
        peer.node.reply(now, token, b"!".to_vec()).unwrap();
        assert!(!welcomes(peer.node, now, 9), "the peer may not have it yet");
        peer.session = worse;
        for connection in [first, second] {
            peer.hears(connection);
            peer.acknowledges(connection);
        }
        assert!(welcomes(peer.node, now, 9));
    });
}

#[test]
fn an_old_session_with_a_peer_that_is_not_there_ends() {
    let mut config = Config::default();
    config.timers.session = 15 * SECOND;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (peer, connection) = Peer::meets(node, now);
        peer.node.handle(now, Event::Closed(connection, Ending::Broken));
        // After its time there is as much again as a query may have.
        for (seconds, sessions) in [(15 + 3_659, 1), (15 + 3_660, 0)] {
            peer.node.handle(now + seconds * SECOND, Event::Tick);
            assert_eq!(peer.node.usage().sessions, sessions);
        }
    });
}

/// A long answer waits in the worse of two sessions while no connection is there; and then the peer is dialled, and whoever is there says that
/// the better one is unknown.
fn dials_in_doubt<'a>(node: &'a mut Node, now: Instant) -> (Peer<'a>, Session, ConnectionId, Vec<u8>) {
    let (mut peer, first) = Peer::meets(node, now);
    let token = peer.asks(first);
    let (worse, second) = peer.shakes_hands_again();
    for connection in [first, second] {
        peer.node.handle(now, Event::Closed(connection, Ending::Broken));
    }
    peer.waits(30);
    let now = peer.now;
    peer.node.reply(now, token, long_body(100_000)).unwrap();
    let dial = dials_the_peer(peer.node, now, &[2]);
    assert_eq!(peer.hears(dial), [Frame::Ping]);
    let counter = peer.session.ledger.opened().iter().next_back().copied().unwrap();
    let stale = Packet::Stale { sid: 1u64.to_be_bytes(), counter }.encode();
    peer.node.handle(now, Event::Received(dial, &framed(&stale)));
    let said = unframed(&mut take_written(peer.node, now, dial));
    let hello = said.into_iter().find(|packet| is_hello(packet)).unwrap();
    (peer, worse, dial, hello)
}

#[test]
fn nothing_long_is_said_to_a_peer_that_was_dialled_before_it_can_know_who_says_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        // It has started again.
        let (mut peer, _, dial, hello) = dials_in_doubt(node, now);
        let to = peer.id();
        for _ in 0..100 {
            peer.node.query(peer.now, to, query(KEEP, &long_body(100))).unwrap();
        }
        let session = peer.answers_hello(dial, &hello, 0);
        let said = unframed(&mut take_written(peer.node, peer.now, dial));
        assert!(said.len() > 1 && said.iter().all(|packet| session.open(packet).is_some()));
        assert!(said[0].len() <= 4_096, "{}", said[0].len());
    });
}

#[test]
fn a_peer_that_holds_two_sessions_knows_by_the_first_record_in_one_of_them_who_says_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, worse, dial, hello) = dials_in_doubt(node, now);
        let to = peer.id();
        for _ in 0..100 {
            peer.node.query(peer.now, to, query(KEEP, &long_body(100))).unwrap();
        }
        peer.answers_hello(dial, &hello, 0b11);
        let said = unframed(&mut take_written(peer.node, peer.now, dial));
        assert!(said[0].len() <= 4_096, "{}", said[0].len());
        for session in [&worse, &peer.session] {
            assert!(said.iter().any(|packet| session.open(packet).is_some()));
        }
    });
}

/// A query of the node's, and one of its peer's, are under way in a session of which somebody says that it is unknown: gives back the
/// handshake that comes of it.
fn doubts<'a>(node: &'a mut Node, now: Instant) -> (Peer<'a>, ConnectionId, QueryId, Vec<u8>) {
    let (mut peer, connection) = Peer::meets(node, now);
    let to = peer.id();
    let asked = peer.node.query(now, to, query(KEEP, b"?")).unwrap();
    peer.asks(connection);
    peer.hears(connection);
    let stale = Packet::Stale { sid: 0u64.to_be_bytes(), counter: 0 }.encode();
    peer.node.handle(now, Event::Received(connection, &framed(&stale)));
    let said = unframed(&mut take_written(peer.node, now, connection));
    let hello = said.into_iter().find(|packet| is_hello(packet)).unwrap();
    (peer, connection, asked, hello)
}

#[test]
fn of_a_session_that_the_peer_has_lost_nothing_is_waited_for_and_a_record_follows_in_the_next_one() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection, asked, hello) = doubts(node, now);
        peer.session = peer.answers_hello(connection, &hello, 0);
        assert_eq!(verdicts(peer.node), [(asked, Err(Reason::LostByPeer))]);
        assert_eq!((peer.node.usage().sessions, peer.node.usage().incoming), (1, 0));
        assert_eq!(peer.hears(connection), [Frame::Ping], "though there is nothing to say");
    });
}

#[test]
fn a_session_that_the_peer_says_it_holds_goes_on() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection, _, hello) = doubts(node, now);
        peer.answers_hello(connection, &hello, 1);
        assert_eq!(verdicts(peer.node), []);
        assert_eq!((peer.node.usage().sessions, peer.node.usage().incoming), (1, 1));
    });
}

#[test]
fn what_the_peer_calls_late_goes_again_in_a_session_that_is_made_after_that() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut made_before = peer.shakes_hands_on(connection, 1);
        let to = peer.id();
        let asked = peer.node.query(now, to, query(ECHO, b"?")).unwrap();
        peer.hears(connection);
        let late = Frame::Refuse { number: 0, code: 8, wait: 0 };
        peer.says(connection, std::slice::from_ref(&late));
        peer.says_in(&mut made_before, connection, &[]);
        let said = unframed(&mut take_written(peer.node, now, connection));
        assert!(said.iter().all(|packet| made_before.open(packet).is_none()), "its clocks started before as well");
        let hello = said.iter().find(|packet| is_hello(packet)).unwrap();
        peer.session = peer.answers_hello(connection, hello, 0b11);
        assert!(matches!(peer.hears(connection)[..], [Frame::Query { number: 0, .. }]));
        peer.says(connection, &[late]);
        let refused = Err(Reason::RefusedByPeer(PeerRefusal::TooLate));
        assert_eq!(verdicts(peer.node), [(asked, refused)], "once is enough");
    });
}

fn is_hello(packet: &[u8]) -> bool {
    matches!(Packet::parse(packet), Some(Packet::Hello { .. }))
}

fn verdicts(node: &mut Node) -> Vec<(QueryId, Result<Vec<u8>, Reason>)> {
    let actions = iter::from_fn(|| node.poll());
    let verdicts = actions.filter_map(|action| match action {
        Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Reply(reply), .. }) => {
            Some((query, Ok(reply.body)))
        }
        Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Failed(failure), .. }) => {
            Some((query, Err(failure.reason)))
        }
        _ => None,
    });
    verdicts.collect()
}
