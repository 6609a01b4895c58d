//! What is on its way over a connection when that ends, and what is done about that. The peer is played by hand, with the second
//! implementation.

mod by_hand;

use std::collections::BTreeSet;
use std::time::Duration;

use egtp::{Action, Config, ConnectionId, Delivery, Ending, Event, Executed, Reason, Verdict};
use egtp_sim::Directory;
use egtp_sim::scene::{ECHO, KEEP, Scene, query};
use egtp_sim::second::frame::Frame;

use by_hand::{IN_A_MINUTE, Peer, take_written};

const TEN_SECONDS: Duration = Duration::from_secs(10);

#[test]
fn half_a_query_that_was_cut_off_is_put_together_with_the_rest_of_it() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let [half, rest] = peer.query_in_parts(0);
        peer.says(first, &[rest]);
        assert!(peer.node.usage().assembly_bytes > 0);
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        let second = peer.connects();
        peer.says(second, &[half]);
        assert_eq!(peer.delivered().len(), 1);
        assert_eq!(peer.node.usage().assembly_bytes, 0);
    });
}

#[test]
fn half_a_query_of_which_nothing_more_comes_keeps_neither_memory_nor_a_place() {
    let mut config = Config::default();
    config.limits.incoming_per_peer = 1;
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config.check().unwrap());
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let half = Frame::Query { number: 0, flags: 0, until: IN_A_MINUTE, total: 100, part: vec![2; 50] };
        peer.says(first, &[half]);
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        peer.waits(29);
        assert!(peer.node.usage().assembly_bytes > 0);
        peer.waits(2);
        assert_eq!(peer.node.usage().assembly_bytes, 0);
        let second = peer.connects();
        let whole = peer.query(1, KEEP);
        peer.says(second, &[whole]);
        assert_eq!(peer.delivered().len(), 1);
        assert!(peer.hears(second).contains(&Frame::Refuse { number: 0, code: 4, wait: 0 }));
    });
}

#[test]
fn what_was_cancelled_is_said_again_when_a_connection_ends_as_long_as_it_matters() {
    const QUERIES: u64 = 200;
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let to = peer.id();
        let ask = || query(KEEP, b"?").hard_timeout(TEN_SECONDS);
        let asked: Vec<_> = (0..QUERIES).map(|_| peer.node.query(now, to, ask()).unwrap()).collect();
        assert_eq!(cancelled(&mut peer, first), BTreeSet::new());
        for asked in asked {
            peer.node.cancel(now, asked).unwrap();
        }
        take_written(peer.node, now, first);
        let mut connection = first;
        for _ in 0..2 {
            peer.node.handle(now, Event::Closed(connection, Ending::Broken));
            connection = peer.connects();
            assert_eq!(cancelled(&mut peer, connection), (0..QUERIES).collect());
        }
        peer.acknowledges(connection);
        peer.node.handle(now, Event::Closed(connection, Ending::Broken));
        let connection = peer.connects();
        assert_eq!(cancelled(&mut peer, connection), BTreeSet::new());
    });
}

#[test]
fn what_was_cancelled_is_not_said_again_after_its_deadline() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, first) = Peer::meets(node, now);
        let asked = peer.node.query(now, peer.id(), query(KEEP, b"?").hard_timeout(TEN_SECONDS)).unwrap();
        peer.hears(first);
        peer.node.cancel(now, asked).unwrap();
        assert_eq!(cancelled(&mut peer, first), BTreeSet::from([0]));
        peer.node.handle(now, Event::Closed(first, Ending::Broken));
        peer.waits(10);
        let second = peer.connects();
        assert_eq!(cancelled(&mut peer, second), BTreeSet::new());
    });
}

/// The numbers that the node says it does not wait for any more.
fn cancelled(peer: &mut Peer<'_>, on: ConnectionId) -> BTreeSet<u64> {
    let said = peer.hears(on).into_iter().filter_map(|frame| match frame {
        Frame::Cancel { number } => Some(number),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_peer_whose_connections_end_one_after_the_other_is_reached_each_time_where_it_was() {
    const ROUNDS: usize = 20;
    let (mut scene, asker, peer) = Scene::of_two(1);
    let kept = scene.ask(asker, peer, query(KEEP, b"under way all the time"));
    scene.run_secs(1);
    scene.world.set_directory(Directory::Gone);
    for round in 0..ROUNDS {
        // It is on its way when the connection ends.
        let asked = scene.ask(asker, peer, query(ECHO, b"?"));
        scene.world.cut(asker, peer);
        scene.run_secs(1);
        assert_eq!(scene.reply(asker, asked), b"?", "round {round}");
    }
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, kept), b"under way all the time");
    assert_eq!((scene.runs(b"?"), scene.world.connects().len()), (ROUNDS, ROUNDS + 1));
    assert_eq!(scene.world.lookups().len(), 1);
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
        peer.says(connection, &[Frame::Refuse { number: 0, code: 10, wait: 0 }]);
        let verdict = std::iter::from_fn(|| peer.node.poll()).find_map(|action| match action {
            Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Failed(failure), .. }) => {
                Some((query, failure.reason, failure.executed))
            }
            _ => None,
        });
        assert_eq!(verdict, Some((asked, Reason::LostByPeer, Executed::Maybe)));
    });
}
