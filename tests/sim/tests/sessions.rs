//! How sessions live through slow connections, several connections, and their own end. The peer is played by hand, with the second
//! implementation.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use std::collections::BTreeSet;
use std::iter;
use std::time::Duration;

use egtp::{
    Action, Cause, Config, ConnectionId, Delivery, Event, Identity, Instant, Node, NodeId, QueryId, Reason,
    SignedRecord, Strategies, Verdict,
};
use egtp_sim::NodeIndex;
use egtp_sim::scene::{ECHO, KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::{Packet, framed, unframed};
use egtp_sim::second::session::Session;

use by_hand::{IN_A_MINUTE, PEER_SEED, Peer, dialled, dials_the_peer, take_written};

const SECOND: Duration = Duration::from_secs(1);

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
        for _ in 0..120 {
            peer.waits(1);
            peer.node.handle(peer.now, Event::Written(connection, 100));
        }
        assert_eq!(peer.node.usage().connections, 1);
        peer.waits(60);
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
fn each_record_is_opened_once_in_whatever_order_they_come() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let asks = |token| Frame::Ping { token, asked: Vec::new() }.encode();
        let records: Vec<Vec<u8>> = (0..500).map(|token| framed(&peer.session.seal(&asks(token)))).collect();
        let upwards = records.iter().step_by(2);
        let downwards = records.iter().skip(1).step_by(2).rev();
        for record in upwards.chain(downwards).chain(&records) {
            peer.node.handle(now, Event::Received(connection, record));
        }
        let answered = peer.hears(connection).into_iter().map(|frame| match frame {
            Frame::Pong { token, .. } => token,
            other => panic!("{other:?}"),
        });
        assert_eq!(answered.collect::<BTreeSet<u64>>(), (0..500).collect());
        assert_eq!(peer.node.count(Cause::RecordReplayed), 500);
    });
}

#[test]
fn whoever_asks_about_sessions_hears_which_of_them_are_held() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, _) = Peer::meets(node, now);
        let (before, connection) = peer.shakes_hands_again();
        peer.hears(connection);
        let session = peer.session.peer_sid;
        for (asked, held) in [
            (vec![session, before.peer_sid], 3),
            (vec![[9; 8], session], 2),
            (vec![session, [9; 8]], 1),
            (vec![[9; 8]], 0),
        ] {
            peer.says(connection, &[Frame::Ping { token: 1, asked }]);
            assert_eq!(peer.hears(connection), [Frame::Pong { token: 1, held }]);
        }
    });
}

/// A query that the peer has taken in a session, which it then ends; its answer is still to come, in that session and over the first of
/// two connections.
struct Ended<'a> {
    peer: Peer<'a>,
    asked: QueryId,
    connections: [ConnectionId; 2],
    session: Session,
    reply: Frame,
}

impl<'a> Ended<'a> {
    fn after(node: &'a mut Node, now: Instant, before_its_end: impl FnOnce(&mut Peer<'_>, ConnectionId)) -> Self {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        let asked = peer.node.query(now, to, query(ECHO, b"?")).unwrap();
        let unwritten = unframed(&mut peer.node.to_write(first).to_vec());
        let said = Frame::parse_all(&peer.session.open(unwritten.last().unwrap()).unwrap().1).unwrap();
        let Some(Frame::Query { number, part, .. }) = said.last() else { panic!("{said:?}") };
        let reply = peer.reply_to(*number, part, b"!");
        let (mut session, second) = peer.shakes_hands_again();
        before_its_end(&mut peer, first);
        let mut bitmap = [0; 128];
        bitmap[0] = 1;
        peer.says_in(&mut session, second, &[Frame::Break { code: 3, base: 0, bitmap }]);
        Self { peer, asked, connections: [first, second], session, reply }
    }

    fn gets_the_answer(mut self) {
        let [first, _] = self.connections;
        self.peer.says_in(&mut self.session, first, &[self.reply]);
        assert_eq!(verdicts(self.peer.node), [(self.asked, Ok(b"!".to_vec()))]);
        assert_eq!(self.peer.node.usage().sessions - self.peer.node.usage().tentative_sessions, 1);
    }
}

#[test]
fn an_answer_on_its_way_is_waited_for_though_its_session_has_ended() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut ended = Ended::after(node, now, |_, _| {});
        let [_, second] = ended.connections;
        // Something was said in that session before the end was heard of, which nobody could open.
        ended.peer.now = now + 2 * SECOND;
        let stale = Packet::Stale { sid: [0; 8], counter: 0 }.encode();
        ended.peer.node.handle(ended.peer.now, Event::Received(second, &framed(&stale)));
        let said = unframed(&mut take_written(ended.peer.node, ended.peer.now, second));
        assert!(!said.iter().any(|packet| is_hello(packet)));
        ended.gets_the_answer();
    });
}

#[test]
fn nor_does_a_question_about_it_from_before_its_end_make_the_answer_count_as_lost() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut hello = Vec::new();
        let mut ended = Ended::after(node, now, |peer, first| {
            let stale = Packet::Stale { sid: [0; 8], counter: 0 }.encode();
            peer.node.handle(now, Event::Received(first, &framed(&stale)));
            let said = unframed(&mut take_written(peer.node, now, first));
            hello = said.into_iter().find(|packet| is_hello(packet)).unwrap();
        });
        // It holds the better one.
        ended.peer.answers_hello(ended.connections[0], &hello, 1);
        ended.gets_the_answer();
    });
}

#[test]
fn that_a_session_is_unknown_is_believed_only_of_a_record_that_was_sent_in_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let stale = framed(&Packet::Stale { sid: [0; 8], counter: 0 }.encode());
        for sent in [false, true] {
            peer.node.handle(now, Event::Received(connection, &stale));
            let said = unframed(&mut take_written(peer.node, now, connection));
            assert_eq!(said.iter().any(|packet| is_hello(packet)), sent);
            peer.says(connection, &[Frame::Ping { token: 1, asked: Vec::new() }]);
            peer.hears(connection);
        }
    });
}

#[test]
fn a_query_that_was_taken_in_a_session_that_has_ended_does_not_go_again() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let ended = Ended::after(node, now, |_, _| {});
        // The driver has not even said that it was written.
        ended.peer.node.handle(now, Event::Closed(ended.connections[0], egtp::Ending::Broken));
        assert_eq!(verdicts(ended.peer.node), [(ended.asked, Err(Reason::ConnectionLost))]);
    });
}

#[test]
fn what_is_asked_in_a_session_that_has_ended_gets_the_answer_in_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let Ended { mut peer, connections: [first, _], mut session, .. } = Ended::after(node, now, |_, _| {});
        take_written(peer.node, now, first);
        peer.says_in(&mut session, first, &[Frame::Ping { token: 7, asked: Vec::new() }]);
        assert!(peer.hears(first).contains(&Frame::Pong { token: 7, held: 0 }));
    });
}

#[test]
fn a_session_that_was_offered_is_kept_while_a_long_packet_of_the_peers_comes() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let half = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total: 100_000, part: vec![0; 10_000] };
        let long = framed(&peer.session.seal(&half.encode()));
        let mut offered = peer.shakes_hands_on(connection);
        for bytes in long.chunks(400) {
            peer.now = peer.now + SECOND;
            peer.node.handle(peer.now, Event::Received(connection, bytes));
        }
        peer.says_in(&mut offered, connection, &[]);
        assert_eq!(peer.node.usage().tentative_sessions, 0);
        assert_eq!(peer.node.usage().sessions, 2);
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
        let dial = dialled(peer.node).unwrap();
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
        assert!(is_hello(&said[0]));
    });
}

#[test]
fn that_a_session_ends_is_said_over_each_connection_so_that_nothing_overtakes_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let (before, second) = peer.shakes_hands_again();
        let Some(Frame::Ping { token, .. }) = peer.hears(second).pop() else {
            panic!("the better one is not asked about")
        };
        peer.says(second, &[Frame::Pong { token, held: 0 }]);
        for connection in [first, second] {
            let said = peer.hears_in(&[&before], connection);
            assert!(matches!(said[..], [Frame::Break { code: 3, .. }]), "{said:?}");
        }
    });
}

#[test]
fn a_session_about_which_a_peer_is_asked_over_a_new_connection_does_not_end_before_the_answer() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        peer.says(first, &[Frame::Leave { step: 0 }]);
        let dial = dials_the_peer(peer.node, now, &[1]);
        let Some(Frame::Ping { token, .. }) = peer.hears(dial).pop() else { panic!("nothing is asked there") };
        let (mut before, second) = peer.shakes_hands_again();
        let session = peer.session.clone();
        let said = peer.hears_in(&[&session, &before], second);
        let Some(Frame::Ping { token: better, .. }) = said.first() else { panic!("{said:?}") };
        peer.says(second, &[Frame::Pong { token: *better, held: 0 }]);
        assert_eq!(peer.node.usage().sessions, 2);
        // Now the peer has met the node there, and is told that it ends.
        peer.says_in(&mut before, dial, &[Frame::Pong { token, held: 0 }]);
        assert_eq!(peer.node.usage().sessions, 1);
        for connection in [first, dial, second] {
            let said = peer.hears_in(&[&before, &session], connection);
            assert!(said.iter().any(|frame| matches!(frame, Frame::Break { code: 3, .. })), "{said:?}");
        }
    });
}

/// A node that has dialled a peer, which has dialled it as well; queries go over the second connection, in the better of two sessions.
struct Both<'a> {
    peer: Peer<'a>,
    dialled: ConnectionId,
    accepted: ConnectionId,
    worse: Session,
}

impl<'a> Both<'a> {
    fn dial(node: &'a mut Node, now: Instant) -> Self {
        assert!(node.id() > peer_id(), "queries go over what the peer has dialled");
        let dialled = dials_the_peer(node, now, &[1]);
        let hello = unframed(&mut take_written(node, now, dialled)).remove(0);
        let (mut peer, _) = Peer::other_meets(node, now, 8);
        peer.session = peer.answers_hello(dialled, &hello, 0);
        assert!(matches!(peer.hears(dialled)[..], [Frame::Query { number: 0, .. }]));
        let (worse, accepted) = peer.shakes_hands_again();
        let said = peer.hears(accepted);
        let Some(Frame::Ping { token, .. }) = said.first() else { panic!("{said:?}") };
        peer.says(accepted, &[Frame::Pong { token: *token, held: 0 }]);
        Self { peer, dialled, accepted, worse }
    }

    /// Says over the first connection that the session is unknown in which something was said there, and answers the handshake that comes
    /// of it: which of the two it holds.
    fn doubts(&mut self, held: u8) {
        let Self { ref mut peer, dialled, .. } = *self;
        let stale = framed(&Packet::Stale { sid: [5; 8], counter: 0 }.encode());
        peer.node.handle(peer.now, Event::Received(dialled, &stale));
        let said = unframed(&mut take_written(peer.node, peer.now, dialled));
        let hello = said.iter().find(|packet| is_hello(packet)).unwrap();
        peer.session = peer.answers_hello(dialled, hello, held);
    }
}

#[test]
fn a_better_session_is_asked_about_though_the_connection_is_left_over_which_it_was_made() {
    let mut config = Config::default();
    config.timers.session = SECOND;
    let (mut scene, node) = with_a_larger_id(config);
    scene.world.with(node, |node, now| {
        let mut both = Both::dial(node, now);
        both.peer.says_in(&mut both.worse, both.dialled, &[Frame::Leave { step: 1 }]);
        // The better one is old, and is replaced; the worse one is lost, and with it what kept the first connection.
        both.peer.now = now + 2 * SECOND;
        both.doubts(0b01);
        let session = both.peer.session.clone();
        let said = unframed(&mut take_written(both.peer.node, both.peer.now, both.accepted));
        let opened = said.iter().find_map(|packet| session.open(packet));
        let frames = opened.and_then(|(_, plaintext)| Frame::parse_all(&plaintext)).unwrap_or_default();
        assert!(matches!(frames[..], [Frame::Ping { .. }, ..]), "{frames:?}");
    });
}

#[test]
fn a_record_follows_a_handshake_on_its_connection_though_queries_go_over_another() {
    let (mut scene, node) = with_a_larger_id(Config::default());
    scene.world.with(node, |node, now| {
        let mut both = Both::dial(node, now);
        let to = both.peer.id();
        both.peer.node.query(now, to, query(KEEP, b"not written yet")).unwrap();
        both.doubts(0);
        assert_eq!(both.peer.hears_records(&[&both.peer.session.clone()], both.dialled), [Vec::new()]);
    });
}

#[test]
fn that_a_query_is_given_up_is_said_before_another_is_asked_in_a_better_session() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        let asked = peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        peer.hears(first);
        let (before, second) = peer.shakes_hands_again();
        peer.node.handle(now, Event::Closed(first, egtp::Ending::EndOfStream));
        assert_eq!(verdicts(peer.node), [(asked, Err(Reason::ConnectionLost))]);
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        let session = peer.session.clone();
        let said = peer.hears_in(&[&before, &session], second);
        let done = said.iter().position(|frame| matches!(frame, Frame::Done { .. })).unwrap();
        let query = said.iter().position(|frame| matches!(frame, Frame::Query { .. })).unwrap();
        assert!(done < query, "{said:?}");
    });
}

/// A long answer waits in the worse of two sessions, since the peer takes nothing any more; and then the peer is dialled, and in doubt is
/// asked in a handshake which of the two it holds.
fn dials_in_doubt<'a>(node: &'a mut Node, now: Instant) -> (Peer<'a>, Session, ConnectionId, Vec<u8>) {
    let (mut peer, first) = Peer::meets(node, now);
    let to = peer.id();
    let token = peer.asks(first);
    let (worse, second) = peer.shakes_hands_again();
    peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
    peer.node.query(now, to, query(KEEP, b"?")).unwrap();
    take_written(peer.node, now, second);
    peer.says(second, &[Frame::Ping { token: 1, asked: Vec::new() }]);
    peer.node.reply(now, token, long_body(100_000)).unwrap();
    peer.says(second, &[Frame::Leave { step: 0 }]);
    let dial = dials_the_peer(peer.node, now, &[2]);
    let stale = Packet::Stale { sid: 1u64.to_be_bytes(), counter: 0 }.encode();
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
        peer.answers_hello(dial, &hello, 0);
        let said = unframed(&mut take_written(peer.node, now, dial));
        assert!(matches!(Packet::parse(&said[0]), Some(Packet::Sealed { sid: [5, ..], .. })), "{:?}", said[0]);
        assert!(said[0].len() <= 4_096);
    });
}

#[test]
fn a_peer_that_holds_two_sessions_knows_by_the_first_record_in_the_better_one_who_says_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, worse, dial, hello) = dials_in_doubt(node, now);
        peer.answers_hello(dial, &hello, 0b11);
        let better = peer.session.clone();
        let said = unframed(&mut take_written(peer.node, now, dial));
        assert!(better.open(&said[0]).is_some() && said[0].len() <= 4_096);
        // The long answer follows, with nothing between.
        assert!(worse.open(&said[1]).is_some() && said[1].len() > 4_096, "{}", said[1].len());
    });
}

#[test]
fn what_a_peer_was_met_with_counts_for_nothing_once_its_session_has_ended() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let dial = dials_the_peer(node, now, &[1]);
        let hello = unframed(&mut take_written(node, now, dial)).remove(0);
        let (mut peer, _) = Peer::other_meets(node, now, 8);
        peer.session = peer.answers_hello(dial, &hello, 0);
        let Some(Frame::Query { number, part, .. }) = peer.hears(dial).pop() else { panic!("it does not ask") };
        let reply = peer.reply_to(number, &part, b"!");
        // Two better sessions are made while this is under way.
        let (mut first, second) = peer.shakes_hands_again();
        peer.says_in(&mut first, second, &[reply]);
        let (_, third) = peer.shakes_hands_again();
        assert_eq!(peer.node.usage().sessions, 3, "two with this peer");
        for connection in [second, third] {
            peer.says(connection, &[Frame::Leave { step: 0 }]);
        }
        take_written(peer.node, now, dial);
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, &long_body(100_000))).unwrap();
        let said = unframed(&mut take_written(peer.node, now, dial));
        assert!(said[0].len() <= 4_096 && said.len() > 1, "{}", said[0].len());
        assert!(peer.session.open(&said[0]).is_some());
    });
}

#[test]
fn an_old_session_with_a_peer_that_is_not_there_ends() {
    let mut config = Config::default();
    config.timers.session = 15 * SECOND;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        peer.node.handle(now, Event::Closed(connection, egtp::Ending::Broken));
        peer.waits(10);
        assert_eq!(peer.node.usage().sessions, 1);
        peer.waits(60);
        assert_eq!(peer.node.usage().sessions, 0);
    });
}

fn peer_id() -> NodeId {
    Identity::from_seed(&PEER_SEED).node_id()
}

/// A node whose id is larger than the peer's.
fn with_a_larger_id(config: Config) -> (Scene, NodeIndex) {
    let mut scene = Scene::new(1);
    let config = config.check().unwrap();
    loop {
        let node = scene.add_node_with(config.clone());
        if scene.world.id(node) > peer_id() {
            return (scene, node);
        }
    }
}

fn is_hello(packet: &[u8]) -> bool {
    matches!(Packet::parse(packet), Some(Packet::Hello { .. }))
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
