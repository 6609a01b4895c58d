//! What a node has to say to a peer, and what it keeps of what the peer says. The peer is played by hand, with the second
//! implementation.

mod by_hand;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::internal::digest;
use egtp::{Cause, Event};
use egtp_sim::scene::{KEEP, Scene, long_body, query};
use egtp_sim::second::frame::{Frame, OF_QUERY, OF_REPLY};
use egtp_sim::second::message::Message;
use egtp_sim::second::packet::framed;
use egtp_sim::second::parts::Parts;

use by_hand::{IN_A_MINUTE, Peer};

#[test]
fn whoever_asks_whether_anybody_is_there_and_does_not_listen_is_read_from_and_fills_no_memory() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        for asked in 0..10_000 {
            assert!(peer.node.wants_read(connection) > 0, "{asked}");
            peer.says(connection, &[Frame::Ping]);
        }
        assert!(peer.node.to_write(connection).len() < 1 << 20);
        peer.hears(connection);
        assert!(peer.session.ledger.is_acknowledged(peer.session.counter - 1));
    });
}

#[test]
fn whoever_asks_and_does_not_listen_is_read_from_until_no_honest_peer_would_have_so_many_refusals_to_acknowledge() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let mut asked = 0;
        while peer.node.usage().sessions > 0 {
            assert!(peer.node.wants_read(connection) > 0, "{asked}");
            assert!(peer.node.to_write(connection).len() < 1 << 20);
            let unknown = peer.query(asked, "unknown");
            peer.says(connection, &[unknown]);
            asked += 1;
        }
        assert_eq!(asked, 4_098, "one was too many, and then it asks again");
        let said = peer.hears(connection);
        assert!(matches!(said[..], [Frame::Break { code: 4, .. }]), "{said:?}");
        assert_eq!(peer.node.usage().connections, 0);
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
        peer.says(connection, &[Frame::Ping]);
        for bytes in [10, 300_000] {
            let asked = [(); 3].map(|()| peer.node.query(now, to, query(KEEP, &long_body(bytes))).unwrap());
            peer.node.cancel(now, asked[1]).unwrap();
        }
        let numbers = peer.hears(connection).into_iter().filter_map(|frame| match frame {
            Frame::Query { number, .. } => Some(number),
            _ => None,
        });
        assert_eq!(numbers.collect::<BTreeSet<u64>>().len(), 4);
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
fn a_message_that_begins_again_goes_on_with_what_was_there() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let Frame::Query { part: message, .. } = peer.query(0, KEEP) else { unreachable!() };
        let total = u32::try_from(message.len()).unwrap();
        let begins = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total, part: message[..10].to_vec() };
        let piece = |from, to| Frame::piece(OF_QUERY, 0, &message, from..to);
        peer.says(connection, &[begins.clone(), piece(10, 20), begins, piece(20, message.len())]);
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn half_a_message_is_kept_while_every_half_minute_another_part_of_it_comes_whole() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, slow) = Peer::meets(node, now);
        let connection = peer.connects();
        let Frame::Query { part: message, .. } = peer.query(0, KEEP) else { unreachable!() };
        let total = u32::try_from(message.len()).unwrap();
        let begins =
            |number| Frame::Query { number, flags: 0, until: IN_A_MINUTE, total, part: message[..10].to_vec() };
        let piece = |number, from, to| Frame::piece(OF_QUERY, number, &message, from..to);
        let listens = |peer: &mut Peer<'_>, seconds| {
            for _ in 0..seconds {
                peer.waits(1);
                // Whoever sends nothing for long is asked whether it is there.
                let said = [connection, slow].map(|on| peer.hears(on)).concat();
                if said.contains(&Frame::Ping) {
                    peer.acknowledges(connection);
                }
            }
        };
        peer.says(connection, &[begins(0), begins(1)]);
        listens(&mut peer, 29);
        peer.says(connection, &[piece(0, 10, 20)]);
        // Of the other one a packet comes slowly, and is too late.
        let late = framed(&peer.session.say(&[piece(1, 10, message.len())]));
        let (first, last) = late.split_at(late.len() - 1);
        peer.node.handle(peer.now, Event::Received(slow, first));
        peer.waits(1);
        assert_eq!(peer.hears(connection), [Frame::Refuse { number: 1, code: 4, wait: 0 }]);
        peer.acknowledges(connection);
        listens(&mut peer, 28);
        peer.node.handle(peer.now, Event::Received(slow, last));
        assert_eq!((peer.delivered().len(), peer.node.usage().connections), (0, 2));
        peer.says(connection, &[piece(0, 20, message.len())]);
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn of_long_messages_four_are_under_way_until_all_of_them_is_acknowledged() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        for _ in 0..6 {
            peer.node.query(now, to, query(KEEP, &long_body(300_000))).unwrap();
        }
        // The body, and what is around it.
        let length = 300_071;
        let (mut begun, mut heard) = (BTreeSet::new(), BTreeMap::<u64, usize>::new());
        for _ in 0..10_000 {
            for frame in peer.hears(connection) {
                let (Frame::Query { number, part, .. } | Frame::Piece { of: OF_QUERY, number, part, .. }) = frame
                else {
                    continue;
                };
                begun.insert(number);
                *heard.entry(number).or_default() += part.len();
            }
            let acknowledged = heard.values().filter(|heard| **heard >= length).count();
            assert!(begun.len() <= acknowledged + 4, "{begun:?}, {heard:?}");
            peer.acknowledges(connection);
            if acknowledged == 6 {
                return;
            }
        }
        panic!("{heard:?}");
    });
}

#[test]
fn what_was_to_be_said_on_a_connection_that_ends_is_said_on_another() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let mut queries: Vec<Frame> = (0..3).map(|number| peer.query(number, KEEP)).collect();
        queries.push(peer.query(3, "unknown"));
        peer.says(first, &queries);
        // Some of it is written, some is sealed, and the rest waits.
        let bodies = [long_body(200_000), long_body(50_000), b"short".to_vec()];
        for (token, body) in peer.delivered().into_iter().zip(&bodies) {
            peer.node.reply(now, token, body.clone()).unwrap();
        }
        peer.node.handle(now, Event::Written(first, 20_000));
        peer.node.handle(now, Event::Closed(first, egtp::Ending::Broken));
        let second = peer.connects();
        let mut replies: BTreeMap<u64, Parts> = BTreeMap::new();
        let mut refused = Vec::new();
        for frame in peer.hears(second) {
            let (number, total, offset, part) = match frame {
                Frame::Reply { number, total, part, .. } => (number, total, 0, part),
                Frame::Piece { of: OF_REPLY, number, total, offset, part } => (number, total, offset, part),
                Frame::Refuse { number, .. } => {
                    refused.push(number);
                    continue;
                }
                other => panic!("{other:?}"),
            };
            replies.entry(number).or_insert_with(|| Parts::of(total)).add(total, offset, &part).unwrap();
        }
        let whole = replies.values().map(|reply| Message::parse(reply.whole().unwrap()).unwrap().body);
        assert!(whole.eq(bodies));
        assert_eq!(refused, [3]);
        peer.acknowledges(second);
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
            peer.node.usage().assembly_bytes / 5_000
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
fn a_message_is_charged_whole_when_the_first_of_it_comes_whichever_part_that_is() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        peer.says(connection, &[Frame::piece(OF_QUERY, 0, &[1; 5_000], 2_000..2_001)]);
        let charged = peer.node.usage().assembly_bytes;
        assert!((5_000..6_000).contains(&charged), "{charged}");
        peer.says(connection, &[Frame::piece(OF_QUERY, 0, &[1; 5_000], 2_001..4_000)]);
        assert_eq!(peer.node.usage().assembly_bytes, charged);
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
        let record = framed(&peer.session.say(&[]));
        peer.node.handle(now, Event::Received(connection, &record));
        let after = digest(peer.node);
        assert_ne!(after, before);
        peer.node.handle(now, Event::Received(connection, &record));
        assert_eq!((digest(peer.node), peer.node.count(Cause::RecordReplayed)), (after, 1));
        let next = framed(&peer.session.say(&[]));
        peer.node.handle(now, Event::Received(connection, &next[..10]));
        assert_eq!(digest(peer.node), after, "half of one says nothing");
        peer.node.handle(now, Event::Received(connection, &next[10..]));
        assert_ne!(digest(peer.node), after, "but is kept until the rest comes");
    });
}

#[test]
fn a_long_answer_in_one_session_begins_when_a_long_query_in_another_is_cancelled() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let token = peer.asks(first);
        let (worse, second) = peer.shakes_hands_again();
        let to = peer.id();
        let mut asks = || peer.node.query(now, to, query(KEEP, &long_body(300_000))).unwrap();
        let [one, ..] = [asks(), asks(), asks(), asks()];
        assert!(peer.hears(second).iter().any(|frame| matches!(frame, Frame::Query { .. })));
        peer.node.reply(now, token, long_body(300_000)).unwrap();
        peer.session = worse;
        assert!(!is_answered(&peer.hears(first)), "four long messages are under way");
        peer.node.cancel(now, one).unwrap();
        assert!(is_answered(&peer.hears(first)));
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
