//! What a node has to say to a peer, and what it keeps of what the peer says. The peer is played by hand, with the second
//! implementation.

mod by_hand;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::internal::digest;
use egtp::{Cause, Event};
use egtp_sim::scene::{KEEP, Scene, long_body, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::message::Message;
use egtp_sim::second::packet::framed;

use by_hand::{IN_A_MINUTE, Peer};

#[test]
fn whoever_asks_and_does_not_listen_is_not_read_from_until_it_does() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut asked = 0;
        while peer.node.wants_read(connection) > 0 {
            assert!(asked < 100_000, "it reads for ever");
            let queries: Vec<Frame> = (asked..asked + 100).map(|number| peer.query(number, "unknown")).collect();
            peer.says(connection, &queries);
            asked += 100;
        }
        assert!(asked > 1_000);
        // A driver that reads on all the same finds it no more willing.
        let queries: Vec<Frame> = (asked..asked + 1_000).map(|number| peer.query(number, "unknown")).collect();
        queries.chunks(100).for_each(|queries| peer.says(connection, queries));
        assert_eq!(peer.node.wants_read(connection), 0);
        let refused = peer.hears(connection);
        assert_eq!(refused.len(), usize::try_from(asked).unwrap() + 1_000);
        assert!(refused.iter().all(|frame| matches!(frame, Frame::Refuse { code: 1, .. })));
        assert!(peer.node.wants_read(connection) > 0);
    });
}

#[test]
fn whoever_asks_whether_anybody_is_there_and_does_not_listen_is_not_read_from_until_it_does() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let questions: Vec<Frame> = (0..4_000).map(|token| Frame::Ping { token, asked: Vec::new() }).collect();
        let mut asked = 0;
        while peer.node.wants_read(connection) > 0 {
            assert!(asked < 100, "it reads for ever");
            peer.says(connection, &questions);
            asked += 1;
        }
        // A driver that reads on all the same finds it no more willing.
        for _ in 0..10 {
            peer.says(connection, &questions);
            assert_eq!(peer.node.wants_read(connection), 0);
        }
        assert_eq!(peer.hears(connection).len(), (asked + 10) * questions.len());
        assert!(peer.node.wants_read(connection) > 0);
    });
}

#[test]
fn a_query_that_is_cancelled_while_others_wait_with_it_takes_none_of_them_with_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        // What is being written keeps all the others waiting.
        peer.says(connection, &[Frame::Ping { token: 1, asked: Vec::new() }]);
        for bytes in [10, 300_000] {
            let asked = [(); 3].map(|()| peer.node.query(now, to, query(KEEP, &long_body(bytes))).unwrap());
            peer.node.cancel(now, asked[1]).unwrap();
        }
        let numbers = peer.hears(connection).into_iter().filter_map(|frame| match frame {
            Frame::Query { number, .. } => Some(number),
            _ => None,
        });
        assert_eq!(numbers.collect::<BTreeSet<u64>>(), BTreeSet::from([0, 2, 3, 5]));
    });
}

#[test]
fn a_query_that_is_cancelled_half_way_leaves_the_others_that_have_begun_to_go() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        let asked = [(); 3].map(|()| peer.node.query(now, to, query(KEEP, &long_body(300_000))).unwrap());
        // The system takes a packet of each.
        for _ in asked {
            let sealed = peer.node.to_write(connection).len();
            peer.node.handle(now, Event::Written(connection, sealed));
        }
        peer.node.cancel(now, asked[1]).unwrap();
        let mut ends = BTreeMap::new();
        for frame in peer.hears(connection) {
            if let Frame::Piece { number, offset, part, .. } = frame {
                ends.insert(number, usize::try_from(offset).unwrap() + part.len());
            }
        }
        ends.remove(&1);
        assert!(ends.len() == 2 && ends.values().all(|&end| end > 300_000), "{ends:?}");
    });
}

#[test]
fn a_message_that_begins_again_with_another_length_takes_the_place_of_what_was_there() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let Frame::Query { part: message, .. } = peer.query(0, KEEP) else { unreachable!() };
        let (first, rest) = message.split_at(10);
        let whole = u32::try_from(message.len()).unwrap();
        let begins = |total| Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total, part: first.to_vec() };
        let rest = Frame::Piece { of: 1, number: 0, offset: 10, part: rest.to_vec() };
        peer.says(connection, &[begins(whole + 1), begins(whole), rest]);
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn a_message_that_begins_again_goes_on_with_what_was_there() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let Frame::Query { part: message, .. } = peer.query(0, KEEP) else { unreachable!() };
        let total = u32::try_from(message.len()).unwrap();
        let begins = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total, part: message[..10].to_vec() };
        let piece = |from: usize, to: usize| Frame::Piece {
            of: 1,
            number: 0,
            offset: u32::try_from(from).unwrap(),
            part: message[from..to].to_vec(),
        };
        peer.says(connection, &[begins.clone(), piece(10, 20), begins, piece(20, message.len())]);
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn half_a_message_is_kept_while_the_rest_comes_slowly() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let [first, rest] = peer.query_in_parts(0);
        peer.says(connection, &[first]);
        for bytes in framed(&peer.session.seal(&rest.encode())).chunks(3) {
            peer.waits(1);
            peer.node.handle(peer.now, Event::Received(connection, bytes));
        }
        assert!(peer.now > now + Duration::from_secs(40));
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn of_long_messages_four_are_under_way_at_a_time() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        for _ in 0..6 {
            peer.node.query(now, to, query(KEEP, &long_body(300_000))).unwrap();
        }
        let (mut under_way, mut most) = (BTreeMap::new(), 0);
        for frame in peer.hears(connection) {
            let (number, sent) = match frame {
                Frame::Query { number, total, part, .. } => {
                    under_way.insert(number, usize::try_from(total).unwrap());
                    (number, part.len())
                }
                Frame::Piece { number, part, .. } => (number, part.len()),
                _ => continue,
            };
            most = most.max(under_way.len());
            let left = under_way.get_mut(&number).unwrap();
            *left -= sent;
            if *left == 0 {
                under_way.remove(&number);
            }
        }
        assert_eq!((under_way.len(), most), (0, 4));
    });
}

#[test]
fn what_was_to_be_said_on_a_connection_that_ends_is_said_on_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let queries: Vec<Frame> = (0..3).map(|number| peer.query(number, KEEP)).collect();
        peer.says(first, &queries);
        let second = peer.connects();
        let kept = peer.delivered();
        // The first one has begun on its connection, the others wait.
        let bodies = [long_body(200_000), long_body(50_000), b"short".to_vec()];
        for (token, body) in kept.into_iter().zip(&bodies) {
            peer.node.reply(now, token, body.clone()).unwrap();
        }
        let unknown = peer.query(3, "unknown");
        peer.says(first, &[unknown]);
        assert_eq!(peer.hears(second), [], "answers take the way of the question");

        peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        let mut replies: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut refused = Vec::new();
        for frame in peer.hears(second) {
            match frame {
                Frame::Reply { number, part, .. } => assert_eq!(replies.insert(number, part), None),
                Frame::Piece { of: 4, number, offset, part } => {
                    let reply = replies.get_mut(&number).unwrap();
                    assert_eq!(reply.len(), usize::try_from(offset).unwrap());
                    reply.extend(part);
                }
                Frame::Refuse { number, .. } => refused.push(number),
                other => assert!(matches!(other, Frame::Ping { .. } | Frame::Ack { .. }), "{other:?}"),
            }
        }
        let replied: Vec<Vec<u8>> = replies.into_values().map(|reply| Message::parse(&reply).unwrap().body).collect();
        assert_eq!(replied.iter().map(Vec::len).collect::<Vec<_>>(), bodies.each_ref().map(Vec::len));
        assert!(replied == bodies);
        assert_eq!(refused, [3]);
        assert_eq!(peer.node.usage().reply_bytes, 0);
    });
}

#[test]
fn what_stops_coming_is_dropped_each_after_its_own_time() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let begun = |number| Frame::Query { number, flags: 0, until: IN_A_MINUTE, total: 5_000, part: vec![1; 1_000] };
        let held = |peer: &mut Peer<'_>, seconds| {
            peer.now = now + Duration::from_secs(seconds);
            peer.node.handle(peer.now, Event::Tick);
            peer.node.usage().assembly_bytes / 1_000
        };
        peer.says(connection, &[begun(0)]);
        assert_eq!(held(&mut peer, 10), 1);
        peer.says(connection, &[begun(1)]);
        assert_eq!(held(&mut peer, 29), 2);
        assert_eq!(held(&mut peer, 30), 1);
        assert_eq!(held(&mut peer, 39), 1);
        assert_eq!(held(&mut peer, 40), 0);
    });
}

#[test]
fn pieces_ahead_of_their_place_are_charged_with_what_it_takes_to_keep_them() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let begun = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total: 5_000, part: vec![1; 1_000] };
        peer.says(connection, &[begun]);
        let mut grows_by = |offset, length| {
            let before = peer.node.usage().assembly_bytes;
            peer.says(connection, &[Frame::Piece { of: 1, number: 0, offset, part: vec![1; length] }]);
            peer.node.usage().assembly_bytes - before
        };
        assert_eq!(grows_by(1_000, 100), 100);
        assert!(grows_by(2_000, 100) > 100);
        assert_eq!(grows_by(2_100, 100), 100, "in a row they wait as one");
        assert!(grows_by(3_000, 1) > 100);
    });
}

#[test]
fn a_driver_that_says_it_has_written_more_than_there_was_has_written_everything() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        for number in 0..3 {
            let unknown = peer.query(number, "unknown");
            peer.says(connection, &[unknown]);
            assert!(!peer.node.to_write(connection).is_empty());
            peer.node.handle(now, Event::Written(connection, 1));
            peer.node.handle(now, Event::Written(connection, usize::MAX));
            assert!(peer.node.to_write(connection).is_empty());
        }
    });
}

#[test]
fn a_record_is_remembered_and_the_same_again_changes_nothing() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let before = digest(peer.node);
        let record = framed(&peer.session.seal(&[]));
        peer.node.handle(now, Event::Received(connection, &record));
        let after = digest(peer.node);
        assert_ne!(after, before);
        peer.node.handle(now, Event::Received(connection, &record));
        assert_eq!((digest(peer.node), peer.node.count(Cause::RecordReplayed)), (after, 1));
        peer.node.handle(now, Event::Received(connection, &record[..10]));
        assert_ne!(digest(peer.node), after, "half of one is kept until the rest comes");
    });
}

#[test]
fn whoever_is_asked_whether_it_is_there_has_ten_seconds_from_when_that_was_written() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        let at = |peer: &mut Peer<'_>, seconds| {
            peer.now = now + Duration::from_secs(seconds);
            peer.node.handle(peer.now, Event::Tick);
        };
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        // The question is going to wait behind the query, and together with the answer to the peer's own.
        peer.says(connection, &[Frame::Ping { token: 1, asked: Vec::new() }]);
        at(&mut peer, 6);
        let heard = peer.hears(connection);
        assert!(matches!(&heard[..], [Frame::Query { .. }, Frame::Pong { .. }, Frame::Ping { .. }]), "{heard:?}");
        at(&mut peer, 10);
        let now = peer.now;
        peer.node.query(now, to, query(KEEP, b"and?")).unwrap();
        assert_eq!(peer.hears(connection).len(), 1, "that the system takes more says nothing");
        at(&mut peer, 15);
        assert_eq!(peer.node.usage().connections, 1);
        at(&mut peer, 16);
        assert_eq!(peer.node.usage().connections, 0);
    });
}

#[test]
fn a_long_answer_on_one_connection_begins_when_a_long_query_on_another_is_cancelled() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let second = peer.connects();
        let to = peer.id();
        let mut asks = || peer.node.query(now, to, query(KEEP, &long_body(300_000))).unwrap();
        let [one, ..] = [asks(), asks(), asks(), asks()];
        let taken = peer.node.to_write(second).len();
        peer.node.handle(now, Event::Written(second, taken));
        let token = peer.asks(first);
        peer.node.reply(now, token, long_body(300_000)).unwrap();
        assert!(!is_answered(&peer.hears(first)), "four long messages are under way");
        peer.node.cancel(now, one).unwrap();
        assert!(is_answered(&peer.hears(first)));
        assert!(!peer.node.to_write(second).is_empty());
    });
}

fn is_answered(said: &[Frame]) -> bool {
    said.iter().any(|frame| matches!(frame, Frame::Reply { .. }))
}

#[test]
fn a_peer_that_has_taken_nothing_gives_no_sign_of_life() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        for _ in 0..40 {
            peer.now = peer.now + Duration::from_secs(1);
            peer.node.handle(peer.now, Event::Written(connection, 0));
        }
        assert_eq!(peer.node.usage().connections, 0);
    });
}
