//! What a connection takes with it when it ends, and what is done about that. The peer is played by hand, with the second
//! implementation.

mod by_hand;

use std::collections::BTreeSet;
use std::time::Duration;

use egtp::{Action, Config, ConnectionId, Delivery, Ending, Event, Executed, Reason, Verdict};
use egtp_sim::Directory;
use egtp_sim::scene::{KEEP, Scene, query};
use egtp_sim::second::frame::Frame;

use by_hand::{IN_A_MINUTE, Peer, take_written};

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[test]
fn half_a_query_that_was_cut_off_keeps_neither_memory_nor_a_place() {
    let mut config = Config::default();
    config.limits.incoming_per_peer = 1;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let second = peer.connects();
        let half = |number| Frame::Query { number, flags: 0, until: IN_A_MINUTE, total: 100, part: vec![2; 50] };
        peer.says(first, &[half(0)]);
        assert!(peer.node.usage().assembly_bytes > 0);
        peer.node.handle(now, Event::Closed(second, Ending::Broken));
        assert!(peer.node.usage().assembly_bytes > 0, "it came over the other one");
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        assert_eq!(peer.node.usage().assembly_bytes, 0);
        let third = peer.connects();
        let whole = peer.query(1, KEEP);
        peer.says(third, &[whole]);
        assert_eq!(peer.delivered().len(), 1);
    });
}

#[test]
fn what_was_given_up_is_said_again_when_a_connection_ends_as_long_as_it_matters() {
    const QUERIES: u64 = 200;
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        let ask = || query(KEEP, b"?").hard_timeout(TEN_SECONDS);
        let asked: Vec<_> = (0..QUERIES).map(|_| peer.node.query(now, to, ask()).unwrap()).collect();
        assert_eq!(given_up(&mut peer, first), BTreeSet::new());
        for asked in asked {
            peer.node.cancel(now, asked).unwrap();
        }
        take_written(peer.node, now, first);
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        let second = peer.connects();
        assert_eq!(given_up(&mut peer, second), (0..QUERIES).collect());

        peer.waits(9);
        peer.node.handle(peer.now, Event::Closed(second, Ending::Broken));
        let third = peer.connects();
        assert_eq!(given_up(&mut peer, third), (0..QUERIES).collect(), "its time is not over");
        peer.waits(1);
        peer.node.handle(peer.now, Event::Closed(third, Ending::Broken));
        let fourth = peer.connects();
        assert_eq!(given_up(&mut peer, fourth), BTreeSet::new());
    });
}

/// The numbers that the node says it has given up.
fn given_up(peer: &mut Peer<'_>, on: ConnectionId) -> BTreeSet<u64> {
    let said = peer.hears(on).into_iter().filter_map(|frame| match frame {
        Frame::Done { base, bitmap } => {
            Some((0..64).filter(move |bit| bitmap >> bit & 1 == 1).map(move |bit| base + bit))
        }
        _ => None,
    });
    said.flatten().collect()
}

#[test]
fn a_peer_whose_connections_end_one_after_the_other_is_reached_each_time_where_it_was() {
    let mut config = Config::default();
    config.limits.incoming_per_peer = 1;
    let mut scene = Scene::new(1);
    let (asker, peer) = (scene.add_node(), scene.add_node_with(config.check().unwrap()));
    let mut lost = scene.ask(asker, peer, query(KEEP, b"the first"));
    scene.run_secs(1);
    scene.world.set_directory(Directory::Gone);
    for round in 0..20 {
        // It waits for its turn, so that the peer is looked for as soon as the connection has ended.
        let waits = scene.ask(asker, peer, query(KEEP, b"the next"));
        scene.world.cut(asker, peer);
        scene.run_secs(1);
        assert_eq!(scene.failure(asker, lost).reason, Reason::LostByPeer, "round {round}");
        lost = waits;
    }
}

#[test]
fn a_session_that_is_heard_on_one_connection_is_not_doubted_when_another_ends() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let second = peer.connects();
        peer.says(first, &[]);
        peer.hears(first);
        peer.node.handle(now, Event::Closed(second, Ending::Broken));
        peer.node.query(now, peer.id(), query(KEEP, b"?")).unwrap();
        let said = peer.hears(first);
        assert!(matches!(said[..], [Frame::Query { .. }]), "{said:?}");
    });
}

#[test]
fn a_query_of_which_the_peer_knows_nothing_any_more_is_lost_by_the_peer() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let asked = peer.node.query(now, peer.id(), query(KEEP, b"?")).unwrap();
        peer.hears(connection);
        peer.says(connection, &[Frame::Gone { number: 0, reason: 1 }]);
        let verdict = std::iter::from_fn(|| peer.node.poll()).find_map(|action| match action {
            Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Failed(failure), .. }) => {
                Some((query, failure.reason, failure.executed))
            }
            _ => None,
        });
        assert_eq!(verdict, Some((asked, Reason::LostByPeer, Executed::Maybe)));
    });
}
