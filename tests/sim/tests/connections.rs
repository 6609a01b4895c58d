//! How long a connection is kept, by what is said of a query.

mod by_hand;

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use egtp::{
    Action, CheckedConfig, Config, ConnectionId, Delivery, Ending, Event, Executed, Hint, Identity, Instant, Node,
    QueryId, Reason, Refusal, SignedRecord, Strategies, TransportAction, Verdict,
};
use egtp_sim::scenario::Scenario;
use egtp_sim::scene::{ECHO, KEEP, Scene, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::{Packet, framed, unframed};
use egtp_sim::storm::record_scenario;

use by_hand::{Peer, dials_the_peer, take_written};

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn of_more_than_four_connections_with_one_peer_the_oldest_is_closed() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, oldest) = Peer::meets(node, now);
        let others = [(); 3].map(|()| peer.connects());
        assert_eq!(closed(peer.node), []);
        assert_eq!(peer.node.usage().connections, 4);
        let fifth = peer.connects();
        assert_eq!(closed(peer.node), [oldest]);
        for connection in others.into_iter().chain([fifth]) {
            peer.says(connection, &[Frame::Ping]);
            let said = peer.hears_records(connection);
            assert!(matches!(said.last().map(Vec::as_slice), Some([Frame::Ack { .. }])), "{said:?}");
        }
    });
}

#[test]
fn of_two_connections_the_one_that_the_smaller_id_has_dialled_is_for_queries() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let dialled = dials_the_peer(node, now, &[1]);
        let said = unframed(&mut take_written(node, now, dialled));
        let (mut peer, _) = Peer::other_meets(node, now, 8);
        peer.session = peer.answers_hello(dialled, &said[0], 0);
        let accepted = peer.connects();
        let preferred = if peer.node.id() < peer.id() { dialled } else { accepted };
        for connection in [dialled, accepted] {
            peer.hears(connection);
        }
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        assert!(peer.hears(preferred).iter().any(|frame| matches!(frame, Frame::Query { .. })));
    });
}

#[test]
fn whoever_is_too_busy_at_one_address_is_dialled_at_the_next_and_not_there_again_before_the_time_that_it_has_named() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let first = dials_the_peer(node, now, &[1, 2]);
        let said = unframed(&mut take_written(node, now, first));
        let Some(Packet::Hello { isid, .. }) = Packet::parse(&said[0]) else { panic!("{said:?}") };
        let busy = Packet::Busy { isid, code: 1, wait: 50 }.encode();
        node.handle(now, Event::Received(first, &framed(&busy)));
        let [(second, address)] = dialled(node)[..] else { panic!("another strategy has its turn") };
        assert_eq!(address, ([10, 9, 9, 9], 2).into());
        node.handle(now, Event::Closed(second, Ending::Refused));
        node.handle(now + 4_999 * MILLISECOND, Event::Tick);
        assert_eq!(dialled(node), []);
        // And up to a quarter more.
        node.handle(now + 6_250 * MILLISECOND, Event::Tick);
        assert_eq!(dialled(node)[0].1, ([10, 9, 9, 9], 1).into());
    });
}

#[test]
fn after_the_last_query_for_now_a_connection_is_closed_at_once() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"that is all").hint(Hint::NoMore));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"that is all");
    assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [0, 0]);
}

#[test]
fn but_not_while_either_end_waits_for_an_answer() {
    for asker_waits in [true, false] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let (from, to) = if asker_waits { (asker, peer) } else { (peer, asker) };
        let kept = scene.ask(from, to, query(KEEP, b"take your time"));
        scene.run_secs(1);
        let asked = scene.ask(asker, peer, query(ECHO, b"that is all").hint(Hint::NoMore));
        scene.run_secs(1);
        assert_eq!(scene.reply(asker, asked), b"that is all");
        assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [1, 1]);
        scene.answer_kept();
        scene.run_secs(1);
        assert_eq!(scene.reply(from, kept), b"take your time");
        assert_eq!(scene.world.connects().len(), 1);
    }
}

/// A node with room for two connections, of which one is in use, and the other is to be closed once its last words are written, which nobody
/// takes.
fn with_one_that_leaves<'a>(node: &'a mut Node, now: Instant) -> (Peer<'a>, ConnectionId) {
    let (mut busy, used) = Peer::other_meets(node, now, 8);
    busy.asks(used);
    let (mut peer, leaving) = Peer::meets(busy.node, now);
    peer.says(leaving, &[Frame::Refuse { number: 1_000_000, code: 1, wait: 0 }]);
    assert_eq!((peer.node.usage().connections, peer.node.wants_read(leaving)), (2, 0));
    (peer, leaving)
}

/// Asks somebody something whose address ends with this number.
fn asks_at(node: &mut Node, now: Instant, number: u8) -> QueryId {
    let identity = Identity::from_seed(&[number; 32]);
    let strategies = Strategies { addresses: vec![([10, 0, 0, number], 1).into()], relays: Vec::new() };
    node.learn(now, SignedRecord::sign(&identity, 1, strategies).unwrap()).unwrap();
    node.query(now, identity.node_id(), query(ECHO, b"?")).unwrap()
}

fn two_connections() -> CheckedConfig {
    let mut config = Config::default();
    config.limits.connections = 2;
    config.check().unwrap()
}

#[test]
fn whoever_waits_for_a_connection_has_the_place_of_one_that_is_not_wanted_any_more() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(two_connections());
    scene.world.with(node, |node, now| {
        let (peer, leaving) = with_one_that_leaves(node, now);
        let [first, _] = [11, 12].map(|number| asks_at(peer.node, now, number));
        assert_eq!(dialled(peer.node), []);
        take_written(peer.node, now, leaving);
        assert_eq!(addresses(dialled(peer.node)), [([10, 0, 0, 11], 1).into()]);
        peer.node.cancel(now, first).unwrap();
        assert_eq!(addresses(dialled(peer.node)), [([10, 0, 0, 12], 1).into()]);
    });
}

#[test]
fn a_connection_that_makes_room_and_whose_last_words_nobody_takes_is_not_waited_for_for_long() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(two_connections());
    scene.world.with(node, |node, now| {
        let (mut peer, leaving) = with_one_that_leaves(node, now);
        asks_at(peer.node, now, 11);
        assert_eq!(dialled(peer.node), []);
        peer.waits(1);
        assert!(peer.node.to_write(leaving).is_empty());
        assert_eq!(addresses(dialled(peer.node)), [([10, 0, 0, 11], 1).into()]);
    });
}

#[test]
fn whoever_needs_a_connection_where_all_are_in_use_is_refused_at_once() {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(two_connections());
    scene.world.with(node, |node, now| {
        for seed in [8, 9] {
            let (mut busy, used) = Peer::other_meets(node, now, seed);
            busy.asks(used);
        }
        let asked = asks_at(node, now, 11);
        let verdict = iter::from_fn(|| node.poll()).find_map(|action| match action {
            Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Failed(failure), .. }) => {
                Some((query, failure.reason, failure.executed))
            }
            _ => None,
        });
        let refused = Reason::RefusedHere(Refusal::TooManyConnections);
        assert_eq!(verdict, Some((asked, refused, Executed::No)));
    });
}

#[test]
fn what_a_peer_lets_wait_counts_in_all_sessions_with_it() {
    let mut config = Config::default();
    config.timers.session = Duration::from_secs(20);
    let asker_config = config.check().unwrap();
    let mut config = Config::default();
    config.limits.incoming_per_peer = 1;
    let mut scene = Scene::new(1);
    let (asker, peer) = (scene.add_node_with(asker_config), scene.add_node_with(config.check().unwrap()));
    let kept = scene.ask(asker, peer, query(KEEP, b"in the first session"));
    scene.run_secs(25);
    assert_eq!(scene.world.node(asker).usage().sessions, 2);
    let asked = scene.ask(asker, peer, query(ECHO, b"in the second session"));
    scene.run_secs(1);
    assert!(!scene.has_ended(asker, asked));
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, kept), b"in the first session");
    assert_eq!(scene.reply(asker, asked), b"in the second session");
}

/// Storm 842 of those with slow links: what a peer had sent before it started again arrived after it had been dialled anew, so that the
/// session that it had lost seemed the best one. The short record that goes first was sealed in that, and the long one behind it ended
/// the connection.
#[test]
fn a_peer_is_met_in_a_session_that_it_has_shown_to_hold_on_that_connection() {
    let scenario: Scenario = "> seed 842\n\
        > network latency=36.279ms jitter=0us chunks=whole buffer=64KiB bandwidth=1316\n\
        > node bob\n\
        > node carol\n\
        > notify bob bob\n\
        > ask carol bob echo bytes=3898B hard=6.109372s\n\
        > wait 485ms\n\
        > wait 29ms\n\
        > wait 346ms\n\
        > crash carol\n\
        > wait 192ms\n\
        > start carol\n\
        > wait 96ms\n\
        > notify bob carol\n\
        > wait 391ms\n\
        > ask bob carol echo bytes=4797B hard=12.345187s\n\
        > heal"
        .parse()
        .unwrap();
    assert_eq!(record_scenario(&scenario).broken(), Vec::<String>::new());
}

/// The connections that the node wants opened, and where they lead.
fn dialled(node: &mut Node) -> Vec<(ConnectionId, SocketAddr)> {
    let actions = iter::from_fn(|| node.poll());
    let dialled = actions.filter_map(|action| match action {
        Action::Transport(TransportAction::Connect { connection, to }) => Some((connection, to)),
        _ => None,
    });
    dialled.collect()
}

fn addresses(dialled: Vec<(ConnectionId, SocketAddr)>) -> Vec<SocketAddr> {
    dialled.into_iter().map(|(_, address)| address).collect()
}

fn closed(node: &mut Node) -> Vec<ConnectionId> {
    let actions = iter::from_fn(|| node.poll());
    let closed = actions.filter_map(|action| match action {
        Action::Transport(TransportAction::Close { connection }) => Some(connection),
        _ => None,
    });
    closed.collect()
}
