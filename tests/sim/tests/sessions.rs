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

use by_hand::{IN_A_MINUTE, PEER_SEED, Peer, dialled, dials_the_peer, take_written, welcomes};

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

/// Two sessions with a peer, of which the worse one drains, and two connections, of which each was the first of one.
struct Draining<'a> {
    peer: Peer<'a>,
    session: Session,
    connections: [ConnectionId; 2],
}

impl<'a> Draining<'a> {
    fn with(node: &'a mut Node, now: Instant, before: impl FnOnce(&mut Peer<'_>, ConnectionId)) -> Self {
        let (mut peer, first) = Peer::meets(node, now);
        before(&mut peer, first);
        let (session, second) = peer.shakes_hands_again();
        Self { peer, session, connections: [first, second] }
    }

    /// What the node says over each connection.
    fn hears(&mut self) -> [Vec<Frame>; 2] {
        let better = self.peer.session.clone();
        self.connections.map(|connection| self.peer.hears_in(&[&self.session, &better], connection))
    }

    /// The peer has the better session, and of the other one says this.
    fn answers(&mut self, held: u8) {
        let [_, second] = self.connections;
        let said = self.hears().concat();
        assert!(!said.contains(&Frame::Drained), "{said:?}");
        let Some(Frame::Ping { token, asked }) = said.iter().find(|frame| matches!(frame, Frame::Ping { .. })) else {
            panic!("the better one is not asked about: {said:?}")
        };
        assert_eq!(asked.len(), 1);
        self.peer.says(second, &[Frame::Pong { token: *token, held }]);
    }

    fn says(&mut self, which: usize, frames: &[Frame]) {
        self.peer.says_in(&mut self.session, self.connections[which], frames);
    }

    fn sessions(&self) -> usize {
        self.peer.node.usage().sessions
    }
}

/// Has the node ask something over this connection, to which the peer will give this answer.
fn asked(peer: &mut Peer<'_>, connection: ConnectionId) -> (QueryId, Frame) {
    let to = peer.id();
    let asked = peer.node.query(peer.now, to, query(ECHO, b"?")).unwrap();
    let said = peer.hears(connection);
    let Some(Frame::Query { number, part, .. }) = said.last() else { panic!("{said:?}") };
    (asked, peer.reply_to(*number, part, b"!"))
}

#[test]
fn a_session_that_drains_ends_once_both_ends_have_said_that_they_wait_for_nothing() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut draining = Draining::with(node, now, |_, _| {});
        // Not before the better one is known to work.
        draining.answers(1);
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
        assert_eq!(draining.sessions(), 2);
        draining.says(0, &[Frame::Drained]);
        assert_eq!(draining.hears().concat(), []);
        assert_eq!(draining.sessions(), 1);
    });
}

#[test]
fn an_answer_that_is_overtaken_by_all_that_is_said_of_its_session_is_waited_for() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut about = None;
        let mut draining = Draining::with(node, now, |peer, first| about = Some(asked(peer, first)));
        let (asked, reply) = about.unwrap();
        draining.answers(1);
        draining.says(1, &[Frame::Drained]);
        assert_eq!(draining.hears().concat(), []);
        assert_eq!((verdicts(draining.peer.node), draining.sessions()), (Vec::new(), 2));
        draining.says(0, &[reply]);
        assert_eq!(verdicts(draining.peer.node), [(asked, Ok(b"!".to_vec()))]);
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
        assert_eq!(draining.sessions(), 1);
    });
}

#[test]
fn whoever_waits_for_nothing_more_is_answered_nothing_more() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut token = None;
        let mut draining = Draining::with(node, now, |peer, first| token = Some(peer.asks(first)));
        let overtaken = draining.peer.query(1, KEEP);
        let [half, rest] = draining.peer.query_in_parts(2);
        draining.says(0, &[half]);
        draining.says(1, &[Frame::Drained]);
        let usage = draining.peer.node.usage();
        assert_eq!((usage.incoming, usage.assembly_bytes), (0, 0));
        assert!(draining.peer.node.reply(now, token.unwrap(), b"!".to_vec()).is_err());
        draining.says(0, &[overtaken]);
        draining.says(0, &[rest]);
        assert!(draining.peer.delivered().is_empty());
        assert!(draining.hears()[0].contains(&Frame::Refuse { number: 1, code: 9, wait: 0 }));
    });
}

#[test]
fn that_a_node_waits_for_nothing_is_said_again_if_it_may_be_lost() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut draining = Draining::with(node, now, |_, _| {});
        draining.answers(1);
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
        let [first, second] = draining.connections;
        draining.peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        draining.connections = [second; 2];
        // An answer to something that was asked before says nothing.
        draining.peer.says(second, &[Frame::Pong { token: 0, held: 0 }]);
        draining.answers(1);
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
        draining.peer.node.handle(now, Event::Closed(second, egtp::Ending::Broken));
        // The next time that the two meet it is asked about first.
        draining.connections = [draining.peer.connects(); 2];
        draining.answers(1);
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
    });
}

#[test]
fn of_a_session_that_drains_and_that_the_peer_has_lost_nothing_is_waited_for() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut about, mut token) = (None, None);
        let mut draining = Draining::with(node, now, |peer, first| {
            token = Some(peer.asks(first));
            about = Some(asked(peer, first));
        });
        draining.answers(0);
        assert_eq!(verdicts(draining.peer.node), [(about.unwrap().0, Err(Reason::LostByPeer))]);
        assert_eq!((draining.sessions(), draining.peer.node.usage().incoming), (1, 0));
    });
}

#[test]
fn what_waits_to_be_said_in_a_session_that_ends_is_said_in_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let mut draining = Draining::with(node, now, |_, _| {});
        draining.answers(1);
        let [first, _] = draining.connections;
        assert_eq!(draining.hears().concat(), [Frame::Drained]);
        // Something is being written.
        draining.peer.says(first, &[Frame::Ping { token: 6, asked: Vec::new() }]);
        draining.says(0, &[Frame::Ping { token: 7, asked: Vec::new() }, Frame::Drained]);
        assert_eq!(draining.sessions(), 1);
        assert_eq!(draining.peer.hears(first), [6, 7].map(|token| Frame::Pong { token, held: 0 }));
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
fn a_session_that_was_offered_is_kept_while_a_long_packet_of_the_peers_comes() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let half = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total: 100_000, part: vec![0; 10_000] };
        let long = framed(&peer.session.seal(&half.encode()));
        let mut offered = peer.shakes_hands_on(connection, 1);
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
        // Two sessions with a peer are enough.
        let (between, third) = peer.shakes_hands_again();
        let best = peer.session.clone();
        for connection in [first, second, third] {
            let said = peer.hears_in(&[&before, &between, &best], connection);
            assert!(said.iter().any(|frame| matches!(frame, Frame::Break { code: 1, .. })), "{said:?}");
        }
    });
}

#[test]
fn a_session_about_which_a_peer_is_asked_over_a_new_connection_is_not_drained_before_the_answer() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        peer.says(first, &[Frame::Leave { step: 0 }]);
        let dial = dials_the_peer(peer.node, now, &[1]);
        let Some(Frame::Ping { token, .. }) = peer.hears(dial).pop() else { panic!("nothing is asked there") };
        let (before, second) = peer.shakes_hands_again();
        let session = peer.session.clone();
        let said = peer.hears_in(&[&session, &before], second);
        let Some(Frame::Ping { token: better, .. }) = said.first() else { panic!("{said:?}") };
        peer.says(second, &[Frame::Pong { token: *better, held: 1 }]);
        let hears = |peer: &mut Peer<'_>, connection| peer.hears_in(&[&before.clone(), &session], connection);
        assert!(![first, dial, second].iter().any(|&on| hears(&mut peer, on).contains(&Frame::Drained)));
        let mut asked_about = before.clone();
        peer.says_in(&mut asked_about, dial, &[Frame::Pong { token, held: 0 }]);
        assert!([first, dial, second].iter().any(|&on| hears(&mut peer, on).contains(&Frame::Drained)));
        // Now the peer has met the node there, and is told there as well if it is given up.
        let (_, third) = peer.shakes_hands_again();
        let best = peer.session.clone();
        for connection in [first, dial, second, third] {
            let said = peer.hears_in(&[&before, &session, &best], connection);
            assert!(said.iter().any(|frame| matches!(frame, Frame::Break { code: 1, .. })), "{said:?}");
        }
    });
}

/// A node that has dialled a peer, which has dialled it as well; queries go over the second connection, in the better of two sessions.
struct Both<'a> {
    peer: Peer<'a>,
    dialled: ConnectionId,
    accepted: ConnectionId,
    worse: Session,
    /// The answer to what the node has asked in that one.
    reply: Frame,
}

impl<'a> Both<'a> {
    fn dial(node: &'a mut Node, now: Instant) -> Self {
        assert!(node.id() > peer_id(), "queries go over what the peer has dialled");
        let dialled = dials_the_peer(node, now, &[1]);
        let hello = unframed(&mut take_written(node, now, dialled)).remove(0);
        let (mut peer, _) = Peer::other_meets(node, now, 8);
        peer.session = peer.answers_hello(dialled, &hello, 0);
        let said = peer.hears(dialled);
        let [Frame::Query { number: 0, part, .. }] = &said[..] else { panic!("{said:?}") };
        let reply = peer.reply_to(0, part, b"!");
        let (worse, accepted) = peer.shakes_hands_again();
        let said = peer.hears(accepted);
        let Some(Frame::Ping { token, .. }) = said.first() else { panic!("{said:?}") };
        peer.says(accepted, &[Frame::Pong { token: *token, held: 1 }]);
        Self { peer, dialled, accepted, worse, reply }
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
fn a_session_is_not_drained_before_it_is_known_which_connection_is_left() {
    let (mut scene, node) = with_a_larger_id(Config::default());
    scene.world.with(node, |node, now| {
        let Both { mut peer, dialled, accepted, mut worse, reply } = Both::dial(node, now);
        let better = peer.session.clone();
        peer.says_in(&mut worse, dialled, &[reply]);
        let sessions = [&worse.clone(), &better];
        let said = [dialled, accepted].map(|connection| peer.hears_in(&sessions, connection)).concat();
        assert!(said.contains(&Frame::Leave { step: 0 }) && !said.contains(&Frame::Drained), "{said:?}");
        peer.says(dialled, &[Frame::Leave { step: 1 }]);
        assert!(peer.hears_in(&sessions, accepted).contains(&Frame::Drained));
    });
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
fn a_session_in_which_nothing_more_is_asked_is_no_better_than_a_worse_one_that_is_confirmed_late() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut late = peer.shakes_hands_on(connection, 1);
        let best = peer.shakes_hands_on(connection, 2);
        let first = std::mem::replace(&mut peer.session, best);
        peer.says(connection, &[]);
        let to = peer.id();
        let asked = peer.node.query(now, to, query(ECHO, b"?")).unwrap();
        let best = peer.session.clone();
        let said = peer.hears_in(&[&first, &best], connection);
        let Some(Frame::Query { number, part, .. }) = said.last() else { panic!("{said:?}") };
        // The clocks have gone apart, so that nothing more is asked in the best one.
        peer.says(connection, &[Frame::Refuse { number: *number, code: 8, wait: 0 }]);
        take_written(peer.node, now, connection);
        peer.says_in(&mut late, connection, &[]);
        let again = peer.hears_in(&[&first, &best, &late], connection);
        assert!(again.iter().any(|frame| matches!(frame, Frame::Query { .. })), "{again:?}");
        let reply = peer.reply_to(0, part, b"!");
        peer.says_in(&mut late, connection, &[reply]);
        assert_eq!(verdicts(peer.node), [(asked, Ok(b"!".to_vec()))]);
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
        assert_eq!(verdicts(peer.node), [(asked, Err(Reason::LostByPeer))]);
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
fn a_peer_is_met_on_a_new_connection_though_it_is_being_asked_on_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let (_, second) = peer.shakes_hands_again();
        peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        let asked = unframed(&mut take_written(peer.node, now, second));
        assert!(!asked.is_empty());
        peer.says(second, &[Frame::Leave { step: 0 }]);
        let dial = dials_the_peer(peer.node, now, &[2]);
        let said = peer.hears(dial);
        assert!(matches!(said[..], [Frame::Ping { .. }]), "{said:?}");
    });
}

#[test]
fn a_peer_that_is_heard_in_a_session_need_not_prove_that_it_holds_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        let dial = dials_the_peer(peer.node, now, &[1]);
        assert!(matches!(peer.hears(dial)[..], [Frame::Ping { .. }]));
        peer.says(dial, &[]);
        assert!(matches!(peer.hears(dial)[..], [Frame::Query { .. }]));
        peer.waits(3);
        assert_eq!(take_written(peer.node, peer.now, dial), []);
    });
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
fn nobody_is_offered_a_session_while_all_that_there_may_be_are_in_use() {
    let mut config = Config::default();
    config.limits.sessions = 2;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let token = peer.asks(first);
        let (_, second) = peer.shakes_hands_again();
        peer.asks(second);
        assert!(!welcomes(peer.node, now, 9));
        peer.node.reply(now, token, b"!".to_vec()).unwrap();
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
