//! What a node holds for others, as long as nobody takes it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::internal::digest;
use egtp::{
    Action, CheckedConfig, Config, ConnectionId, Delivery, Event, Identity, Limits, MAX_BODY, MAX_HARD_TIMEOUT, Node,
    NodeId, PeerRefusal, Query, QueryId, Rate, Reason, Refusal, ServiceAction, SignedRecord, StoreKey, Strategies,
    Throttle, TransportAction, TypeName, Unasked, Verdict,
};
use egtp_sim::NodeIndex;
use egtp_sim::scene::{ECHO, KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;

use by_hand::{Peer, take_written};

const MICROSECOND: Duration = Duration::from_micros(1);
const SECOND: Duration = Duration::from_secs(1);

/// Where a packet says of which kind it is, and where a HELLO or a RETRY has its cookie.
const KIND: usize = 5;
const COOKIE: std::ops::Range<usize> = 14..30;

/// One node, and one that is connected with it and has these limits, with the names of their connection at either end.
fn connected(limit: impl FnOnce(&mut Limits)) -> (Scene, [(NodeIndex, ConnectionId); 2]) {
    let mut scene = Scene::new(1);
    let nodes = [scene.add_node(), scene.add_node_with(limited(limit))];
    scene.ask(nodes[0], nodes[1], query(ECHO, b"connects"));
    scene.run_secs(1);
    let ends = nodes.map(|node| (node, scene.world.connections(node)[0]));
    (scene, ends)
}

fn limited(limit: impl FnOnce(&mut Limits)) -> CheckedConfig {
    let mut config = Config::default();
    limit(&mut config.limits);
    config.check().unwrap()
}

/// What a node says first to a peer that it dials.
fn first_message(scene: &mut Scene, from: NodeIndex, to: NodeIndex) -> Vec<u8> {
    scene.run_secs(1);
    let record = scene.world.node(to).record().unwrap().clone();
    scene.world.with(from, |node, now| {
        let to = record.node_id();
        node.learn(now, record).unwrap();
        node.query(now, to, query(ECHO, b"?")).unwrap();
        let connection = iter::from_fn(|| node.poll()).find_map(|action| match action {
            Action::Transport(TransportAction::Connect { connection, .. }) => Some(connection),
            _ => None,
        });
        let connection = connection.unwrap();
        node.handle(now, Event::Connected(connection));
        take_written(node, now, connection)
    })
}

#[test]
fn while_too_many_deliveries_wait_nothing_is_read_and_then_reading_resumes() {
    let (mut scene, [(asker, to_peer), (peer, to_asker)]) = connected(|limits| limits.undelivered_bytes = 10_000);
    let to = scene.world.id(peer);
    let bytes = scene.world.with(asker, |node, now| {
        for _ in 0..20 {
            node.query(now, to, query(ECHO, &[7; 1000])).unwrap();
        }
        take_written(node, now, to_peer)
    });
    scene.world.with(peer, |node, now| {
        node.handle(now, Event::Received(to_asker, &bytes));
        assert_eq!(node.wants_read(to_asker), 0);
        let (mut delivered, mut hinted) = (Vec::new(), false);
        while let Some(action) = node.poll() {
            match action {
                Action::Deliver(Delivery::Query { token, body, .. }) => delivered.push((token, body)),
                Action::Transport(TransportAction::Changed { .. }) => hinted |= node.wants_read(to_asker) > 0,
                _ => {}
            }
        }
        assert_eq!((delivered.len(), hinted), (20, true));
        for (token, body) in delivered {
            node.reply(now, token, body).unwrap();
        }
    });
    scene.run_secs(1);
    assert_eq!(scene.told.verdicts.len(), 21);
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn a_stranger_that_takes_no_answers_is_read_from_and_fills_no_memory() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let hello = first_message(&mut scene, asker, peer);
    let from = scene.world.address(asker);
    scene.world.with(peer, |node, now| {
        let connection = node.accept(now, from).unwrap();
        for said in 0..10_000 {
            assert!(node.wants_read(connection) > 0, "{said}");
            node.handle(now, Event::Received(connection, &hello));
        }
        assert!((1 << 18..1 << 19).contains(&node.to_write(connection).len()));
        take_written(node, now, connection);
        node.handle(now, Event::Received(connection, &hello));
        assert!(!node.to_write(connection).is_empty(), "whoever listens again is answered again");
    });
}

#[test]
fn under_pressure_a_cookie_is_asked_for_and_good_only_as_it_was_given() {
    let mut scene = Scene::new(1);
    let others = [scene.add_node(), scene.add_node()];
    let node = scene.add_node_with(limited(|limits| limits.tentative_sessions = 2));
    let hellos = others.map(|other| first_message(&mut scene, other, node));
    let from = scene.world.address(others[0]);
    scene.world.with(node, |node, now| {
        let [first, second] = [(); 2].map(|()| node.accept(now, from).unwrap());
        let mut answer = |connection, packet: &[u8]| {
            node.handle(now, Event::Received(connection, packet));
            take_written(node, now, connection)
        };
        assert_eq!(answer(first, &hellos[0])[KIND], 2, "there is room");
        let retry = answer(second, &hellos[1]);
        assert_eq!(retry[KIND], 3);
        let mut again = hellos[1].clone();
        again[COOKIE].copy_from_slice(&retry[COOKIE]);
        for (at, other) in [(0, 1), (3, 4), (7, 15)] {
            let mut altered = again.clone();
            altered[COOKIE.start + at] ^= 0x55;
            assert_eq!(answer(second, &altered)[KIND], 3);
            altered[COOKIE.start + other] ^= 0x55;
            assert_eq!(answer(second, &altered)[KIND], 3, "two differences do not make up for each other");
        }
        assert_eq!(answer(second, &again)[KIND], 2);
    });
}

#[test]
fn a_cookie_is_worth_something_for_a_minute_and_nothing_after_two() {
    let mut config = Config::default();
    config.limits.tentative_sessions = 2;
    config.timers.authenticate = Duration::from_secs(300);
    let mut scene = Scene::new(1);
    let others = [(); 2].map(|()| scene.add_node());
    let node = scene.add_node_with(config.check().unwrap());
    let hellos = others.map(|other| first_message(&mut scene, other, node));
    let from = scene.world.address(others[0]);
    let start = scene.world.now();
    scene.world.with(node, |node, _| {
        let [first, second] = [(); 2].map(|()| node.accept(start, from).unwrap());
        let mut answer = |seconds, connection, packet: &[u8]| {
            let now = start + seconds * SECOND;
            node.handle(now, Event::Received(connection, packet));
            take_written(node, now, connection)
        };
        assert_eq!(answer(0, first, &hellos[0])[KIND], 2, "there is room");
        let cookie = answer(0, second, &hellos[1])[COOKIE].to_vec();
        let mut again = hellos[1].clone();
        again[COOKIE].copy_from_slice(&cookie);
        // Each of these is with an old one, and begins a new minute.
        let mut foreign = again.clone();
        foreign[COOKIE][0] ^= 1;
        assert_eq!(answer(61, second, &foreign)[KIND], 3);
        assert_eq!(answer(122, second, &foreign)[KIND], 3);
        assert_eq!(answer(122, second, &again)[KIND], 3, "it is too old");
        again[COOKIE].copy_from_slice(&answer(122, second, &hellos[1])[COOKIE]);
        assert_eq!(answer(183, second, &foreign)[KIND], 3);
        assert_eq!(answer(183, second, &again)[KIND], 2, "it is a minute old");
    });
}

#[test]
fn over_one_connection_few_handshakes_wait_to_be_confirmed() {
    let (mut scene, node, one) = Scene::of_two(1);
    let others = [(); 3].map(|()| scene.add_node());
    let of_one = [(); 3].map(|()| {
        scene.restart(one);
        first_message(&mut scene, one, node)
    });
    let of_others = others.map(|other| first_message(&mut scene, other, node));
    let from = scene.world.address(one);
    let waiting: Vec<usize> = scene.world.with(node, |node, now| {
        let connection = node.accept(now, from).unwrap();
        let mut waiting_after = |hello: &Vec<u8>| {
            node.handle(now, Event::Received(connection, hello));
            node.usage().tentative_sessions
        };
        of_one.iter().chain(&of_others).map(&mut waiting_after).collect()
    });
    assert_eq!(waiting, [1, 2, 2, 3, 4, 4], "two of one node, four in all");
}

#[test]
fn that_sessions_end_fills_no_memory_where_nobody_takes_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, unread) = Peer::meets(node, now);
        let read = peer.connects();
        for _ in 0..30 {
            for _ in 0..70 {
                let mut session = peer.shakes_hands_on(read, 1);
                for connection in [read, unread] {
                    peer.says_in(&mut session, connection, &[]);
                }
            }
            peer.waits(1);
            peer.hears(read);
            // So that it is not found dead.
            peer.node.handle(peer.now, Event::Written(unread, 1));
        }
        assert_eq!((peer.node.usage().connections, peer.node.usage().sessions), (2, 64));
        let unwritten = peer.node.to_write(unread).len();
        assert!((1 << 18..(1 << 18) + 1_000).contains(&unwritten), "{unwritten}");
    });
}

#[test]
fn what_is_out_of_range_is_handed_back_and_nothing_has_happened() {
    let (mut scene, [(asker, _), (peer, _)]) = connected(|_| {});
    let to = scene.world.id(peer);
    let cases: [(Query, Refusal); 5] = [
        (query(ECHO, &[7; MAX_BODY + 1]), Refusal::BodyTooLong),
        (query(ECHO, b"?").hard_timeout(Duration::ZERO), Refusal::HardTimeoutOutOfRange),
        (query(ECHO, b"?").hard_timeout(MAX_HARD_TIMEOUT + MICROSECOND), Refusal::HardTimeoutOutOfRange),
        (query(ECHO, b"?").hard_timeout(SECOND).soft_timeout(SECOND), Refusal::SoftTimeoutNotShorter),
        (query(ECHO, b"?").hard_timeout(SECOND).soft_timeout(2 * SECOND), Refusal::SoftTimeoutNotShorter),
    ];
    for (query, why) in cases {
        let before = digest(scene.world.node(asker));
        let refused = scene.world.with(asker, |node, now| node.query(now, to, query.clone()));
        assert_eq!(refused, Err(Unasked { why, query }));
        assert_eq!(digest(scene.world.node(asker)), before, "{why:?}");
    }
    let before = digest(scene.world.node(asker));
    let longest = query(KEEP, &long_body(MAX_BODY)).hard_timeout(MAX_HARD_TIMEOUT).soft_timeout(MAX_HARD_TIMEOUT / 2);
    let asked = scene.ask(asker, peer, longest);
    assert_ne!(digest(scene.world.node(asker)), before, "what is in range is remembered");
    scene.run_secs(10);
    let (_, token, body) = scene.told.kept.pop().unwrap();
    let too_long = [&body[..], b"!"].concat();
    let unsent = scene.world.with(peer, |node, now| node.reply(now, token, too_long).unwrap_err());
    assert_eq!((unsent.why, unsent.body.len()), (Refusal::BodyTooLong, MAX_BODY + 1));
    scene.world.reply(peer, unsent.token, body.clone());
    scene.run_secs(10);
    assert_eq!(scene.reply(asker, asked), body);
}

#[test]
fn whoever_asks_faster_than_it_takes_the_answers_is_read_from_and_they_take_no_more_room_than_there_is() {
    let (mut scene, [(asker, _), (peer, to_asker)]) = connected(|limits| limits.reply_bytes_per_peer = 200_000);
    let slow = Throttle { up_per_connection: Rate::bytes_per_second(20_000), ..Throttle::default() };
    scene.world.with(peer, |node, now| node.set_throttle(now, slow));
    let asked: Vec<QueryId> = (0..40).map(|_| scene.ask(asker, peer, query(ECHO, &[7; 10_000]))).collect();
    for _ in 0..300 {
        scene.run(SECOND / 10);
        assert!(scene.world.node(peer).wants_read(to_asker) > 0);
        assert!(scene.world.node(peer).usage().reply_bytes <= 200_000);
    }
    let too_long = Reason::RefusedByPeer(PeerRefusal::ReplyTooLong);
    let is_reply = |&&asked: &&QueryId| match scene.verdict(asker, asked).1 {
        Verdict::Reply(reply) => reply.body == [7; 10_000],
        Verdict::Failed(failure) => {
            assert_eq!(failure.reason, too_long);
            false
        }
    };
    let answered = asked.iter().filter(is_reply).count();
    assert!(answered > 10, "{answered}");
    assert_eq!(scene.world.node(peer).usage().reply_bytes, 0);
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn an_answer_that_finds_no_room_to_wait_in_goes_as_one_that_is_too_long() {
    let too_long = Reason::RefusedByPeer(PeerRefusal::ReplyTooLong);
    for (limit, answered) in [
        // Nobody has more of it than is left for others.
        ((|limits| limits.reply_bytes = 50_000) as fn(&mut Limits), 1),
        (|limits| limits.reply_bytes_per_peer = 50_000, 2),
    ] {
        let (mut scene, [(asker, _), (peer, _)]) = connected(limit);
        let third = scene.add_node();
        let slow = Throttle { up_per_connection: Rate::bytes_per_second(4_000), ..Throttle::default() };
        scene.world.with(peer, |node, now| node.set_throttle(now, slow));
        let asked: Vec<QueryId> = (0..4).map(|_| scene.ask(asker, peer, query(KEEP, &[7; 20_000]))).collect();
        scene.run_secs(1);
        scene.answer_kept();
        let other = scene.ask(third, peer, query(ECHO, b"and I?"));
        scene.run_secs(50);
        for (number, asked) in (0..).zip(asked) {
            match scene.verdict(asker, asked).1 {
                Verdict::Reply(reply) => assert!(number < answered && reply.body == [7; 20_000]),
                Verdict::Failed(failure) => assert_eq!((number >= answered, failure.reason), (true, too_long)),
            }
        }
        assert_eq!(scene.reply(third, other), b"and I?");
        assert_eq!(scene.world.node(peer).usage().reply_bytes, 0);
        assert_eq!(scene.world.violations(), [""; 0]);
    }
}

#[test]
fn of_stored_records_the_longest_unchanged_makes_room() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(limited(|limits| limits.stored_records = 2));
    let saved: Vec<(StoreKey, bool)> = scene.world.with(node, |node, now| {
        let mut saved = Vec::new();
        for (number, sequence) in [(0, 1), (1, 1), (0, 2), (2, 1)] {
            let strategies = Strategies { addresses: vec![([10, 9, 9, 9], 1).into()], relays: Vec::new() };
            let identity = Identity::from_seed(&seed(number));
            node.learn(now, SignedRecord::sign(&identity, sequence, strategies).unwrap()).unwrap();
            saved.extend(iter::from_fn(|| node.poll()).filter_map(|action| match action {
                Action::Service(ServiceAction::Save { key, value, .. }) => Some((key, value.is_some())),
                _ => None,
            }));
        }
        saved
    });
    let [first, second, third] = [0, 1, 2].map(|number| StoreKey::Record(Identity::from_seed(&seed(number)).node_id()));
    assert_eq!(saved, [(first, true), (second, true), (first, true), (third, true), (second, false)]);
}

#[test]
fn as_many_types_are_served_as_may_be_and_any_of_them_once_more() {
    let mut scene = Scene::new(1);
    // What a scene serves by itself leaves room for some more.
    let node = scene.add_node_with(limited(|limits| limits.served_types = 8));
    scene.world.with(node, |node, _| {
        let name = |number: u32| TypeName::new(&number.to_string()).unwrap();
        let served = (0..9).take_while(|&number| node.serve(name(number)).is_ok()).count();
        assert!((1..9).contains(&served), "{served}");
        assert_eq!(node.serve(name(0)), Ok(()));
        assert_eq!(node.serve(name(9)), Err(Refusal::TooManyTypes));
        node.unserve(&name(0));
        assert_eq!(node.serve(name(9)), Ok(()));
    });
}

#[test]
fn relays_that_were_asked_for_are_delivered_and_no_flood_of_them() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let me = scene.world.id(node);
    let relays = |count: u32| (0..count).map(|number| Identity::from_seed(&seed(number)).node_id());
    let delivered = |node: &mut Node, now, named: Vec<NodeId>| {
        let asked = node.discover(now, 100).unwrap();
        node.handle(now, Event::Discovered(asked, named));
        let mut actions = iter::from_fn(|| node.poll());
        let told = actions.find_map(|action| match action {
            Action::Deliver(Delivery::Discovered(discovery, relays)) if discovery == asked => Some(relays),
            _ => None,
        });
        told.unwrap()
    };
    scene.world.with(node, |node, now| {
        let named: Vec<NodeId> = relays(100).collect();
        assert_eq!(delivered(node, now, [&[me], &named[..]].concat()), named, "all but the node itself");
        assert!(delivered(node, now, relays(1_000).collect()).len() < 1_000);
    });
}

#[test]
fn relays_that_nobody_names_in_time_are_none() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let asked = node.discover(now, 1).unwrap();
        while node.poll().is_some() {}
        assert_eq!(node.deadline(), Some(now + 30 * SECOND));
        node.handle(now + 30 * SECOND, Event::Tick);
        let told = node.poll();
        assert!(
            matches!(&told, Some(Action::Deliver(Delivery::Discovered(discovery, relays)))
                if *discovery == asked && relays.is_empty()),
            "{told:?}"
        );
    });
}

#[test]
fn an_answer_that_is_under_way_takes_no_place_of_a_query() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(limited(|limits| limits.incoming_per_peer = 1));
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        let Some(Frame::Query { number, .. }) = peer.hears(connection).pop() else { panic!("it has not asked") };
        let half = Frame::Reply { number, code: 0, total: 100_000, part: vec![0; 10_000] };
        peer.says(connection, &[half]);
        for part in peer.query_in_parts(1) {
            peer.says(connection, &[part]);
        }
        assert_eq!(peer.delivered().len(), 1);
    });
}

fn seed(number: u32) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    seed
}

#[test]
fn a_connection_that_may_read_faster_than_before_reads_on() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (peer, connection) = Peer::meets(node, now);
        for rate in [2_000, 100_000] {
            let throttle = Throttle { down_per_connection: Rate::bytes_per_second(rate), ..Throttle::default() };
            peer.node.set_throttle(now, throttle);
        }
        let mut actions = iter::from_fn(|| peer.node.poll());
        assert!(actions.all(|action| matches!(action, Action::Transport(TransportAction::Changed { .. }))));
        let due = peer.node.deadline().unwrap();
        assert!(due < now + SECOND, "{due}");
        peer.node.handle(due, Event::Tick);
        assert!(peer.node.wants_read(connection) > 0);
    });
}

#[test]
fn an_answer_without_a_body_keeps_its_session_even_if_there_is_no_memory_for_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(limited(|limits| (limits.reply_bytes, limits.sessions) = (1, 2)));
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let token = peer.asks(connection);
        // It waits behind what this is told.
        peer.says(connection, &[Frame::Ping]);
        peer.node.reply(now, token, Vec::new()).unwrap();
        assert_eq!(peer.node.usage().reply_bytes, 0);
        let session = peer.session.clone();
        let (Peer { node, session: newcomer, .. }, from) = Peer::other_greets(peer.node, now, 10);
        let (mut busy, other) = Peer::other_meets(node, now, 9);
        busy.asks(other);
        busy.session = newcomer;
        busy.says(from, &[]);
        let mut peer = Peer { node: busy.node, now, session };
        let said = peer.hears(connection);
        assert!(matches!(said[..], [Frame::Reply { number: 0, .. }]), "{said:?}");
    });
}

#[test]
fn a_query_that_just_fits_is_asked_and_one_byte_more_is_refused() {
    // The fixed part of a message, and its type's name.
    let most = 67 + ECHO.len() + 100;
    for (body, refusal) in [(100, None), (101, Some(Refusal::TooManyQueryBytes))] {
        let mut scene = Scene::new(1);
        let node = scene.add_node_with(limited(|limits| limits.query_bytes = most));
        assert_eq!(scene.world.query(node, node, query(ECHO, &long_body(body))).err(), refusal, "{body}");
    }
}

#[test]
fn what_a_throttle_held_back_goes_once_it_is_lifted() {
    let (mut scene, [(asker, _), (peer, _)]) = connected(|_| {});
    let slow = Throttle { up: Rate::bytes_per_second(1_000), ..Throttle::default() };
    scene.world.with(asker, |node, now| node.set_throttle(now, slow));
    let asked = scene.ask(asker, peer, query(ECHO, &long_body(100_000)));
    scene.run_secs(10);
    assert!(scene.told.verdicts.iter().all(|&(_, _, query, _)| query != asked));
    scene.world.with(asker, |node, now| node.set_throttle(now, Throttle::default()));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked).len(), 100_000);
}
