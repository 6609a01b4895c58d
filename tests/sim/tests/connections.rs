//! How long a connection is kept, by what is said of a query.

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{Action, Config, ConnectionId, Hint, Node, TransportAction};
use egtp_sim::scenario::Scenario;
use egtp_sim::scene::{ECHO, KEEP, Scene, query};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::packet::unframed;
use egtp_sim::storm::record_scenario;

use by_hand::{Peer, dials_the_peer, take_written};

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

fn closed(node: &mut Node) -> Vec<ConnectionId> {
    let actions = iter::from_fn(|| node.poll());
    let closed = actions.filter_map(|action| match action {
        Action::Transport(TransportAction::Close { connection }) => Some(connection),
        _ => None,
    });
    closed.collect()
}
