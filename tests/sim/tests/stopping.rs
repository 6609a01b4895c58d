//! A node that shuts down: it begins nothing new, ends what it has begun, and is gone by its time.

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{Action, Delivery, Executed, Failure, Node, PeerRefusal, Reason, Refusal, Strategies, Usage, Verdict};
use egtp_sim::scene::{ECHO, KEEP, Scene, query, type_name};
use egtp_sim::second::frame::Frame;
use egtp_sim::{Directory, NodeIndex};

use by_hand::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// Two nodes each of which has asked the other something that is not answered yet; the first one shuts down.
fn stopping() -> (Scene, [NodeIndex; 2], [egtp::QueryId; 2]) {
    let (mut scene, node, peer) = Scene::of_two(1);
    let asked = [(node, peer), (peer, node)].map(|(from, to)| {
        scene.ask(from, to, query(ECHO, b"hello"));
        scene.ask(from, to, query(KEEP, b"kept"))
    });
    scene.run_secs(1);
    scene.world.with(node, |node, now| node.shut_down(now, 10 * SECOND));
    (scene, [node, peer], asked)
}

fn is_gone(node: &Node) -> bool {
    node.usage() == Usage { peers: node.usage().peers, ..Usage::default() } && node.deadline().is_none()
}

#[test]
fn what_was_begun_ends_by_itself_and_then_everything_is_closed() {
    let (mut scene, [node, peer], [own, of_peer]) = stopping();
    scene.run_secs(5);
    assert!(!scene.has_ended(node, own) && !scene.has_ended(peer, of_peer));
    scene.answer_kept();
    scene.run(SECOND / 10);
    assert_eq!((scene.reply(node, own), scene.reply(peer, of_peer)), (&b"kept"[..], &b"kept"[..]));
    assert!(is_gone(scene.world.node(node)), "{:?}", scene.world.node(node));
    assert_eq!(scene.world.node(peer).usage().sessions, 0, "its peer knows");
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn what_has_not_left_ends_at_once_and_what_needs_no_answer_keeps_nobody() {
    let (mut scene, node, peer) = Scene::of_two(1);
    scene.ask(node, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    scene.world.set_directory(Directory::Silent);
    let stranger = scene.add_node();
    let waits = scene.ask(node, stranger, query(ECHO, b"where are you?"));
    let to = scene.world.id(peer);
    scene.world.with(node, |node, now| {
        node.notify(now, to, type_name(KEEP), b"by the way".to_vec()).unwrap();
        node.shut_down(now, 10 * SECOND);
    });
    scene.run(SECOND / 10);
    let Failure { reason, executed, .. } = scene.failure(node, waits);
    assert_eq!((reason, executed), (Reason::RefusedHere(Refusal::ShuttingDown), Executed::No));
    scene.run_secs(1);
    assert!(is_gone(scene.world.node(node)), "{:?}", scene.world.node(node));
}

#[test]
fn what_has_not_ended_by_its_time_ends_then() {
    let (mut scene, [node, peer], [own, of_peer]) = stopping();
    let due = scene.world.now() + 10 * SECOND;
    scene.run_secs(12);
    let [ended, of_peer_ended] = [(node, own), (peer, of_peer)].map(|(node, asked)| scene.verdict(node, asked).0);
    assert_eq!((ended, scene.failure(node, own).reason), (due, Reason::Cancelled));
    assert!(of_peer_ended < due + SECOND, "{of_peer_ended}");
    assert_eq!(scene.failure(peer, of_peer).executed, Executed::Maybe, "it ran");
    assert_eq!(scene.told.withdrawn.len(), 2, "neither handler is left in doubt");
    assert!(is_gone(scene.world.node(node)), "{:?}", scene.world.node(node));
}

#[test]
fn nothing_new_is_begun() {
    let (mut scene, [node, peer], _) = stopping();
    let to = scene.world.id(peer);
    let record = scene.world.node(peer).record().unwrap().clone();
    let address = scene.world.address(peer);
    scene.world.with(node, |node, now| {
        let strategies = Strategies { addresses: vec![address], relays: Vec::new() };
        assert_eq!(node.query(now, to, query(ECHO, b"?")).unwrap_err().why, Refusal::ShuttingDown);
        assert_eq!(node.notify(now, to, type_name(ECHO), Vec::new()).unwrap_err().why, Refusal::ShuttingDown);
        assert_eq!(node.announce(now, strategies), Err(Refusal::ShuttingDown));
        assert_eq!(node.learn(now, record), Err(Refusal::ShuttingDown));
        assert_eq!(node.discover(now, 1), Err(Refusal::ShuttingDown));
        assert_eq!(node.accept(now, address), Err(Refusal::ShuttingDown));
    });
    // Who is asked says so, and is asked again while there is time: it might have been started again by then.
    let asked = scene.ask(peer, node, query(ECHO, b"?").hard_timeout(5 * SECOND));
    scene.run_secs(6);
    let refused = scene.failure(peer, asked);
    assert_eq!((refused.reason, refused.executed), (Reason::RefusedByPeer(PeerRefusal::ShuttingDown), Executed::No));
    assert_eq!(scene.runs(b"?"), 0);
}

#[test]
fn it_is_said_once_that_it_is_over() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        node.shut_down(now, SECOND);
        assert_eq!(node.deadline(), Some(now), "there is something to be said");
        assert_eq!(iter::from_fn(|| node.poll()).collect::<Vec<_>>(), [Action::Stopped]);
        node.shut_down(now, SECOND);
        assert_eq!((node.poll(), node.deadline()), (None, None));
    });
}

#[test]
fn a_query_that_would_have_to_go_again_fails_at_once() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (mut peer, connection) = Peer::meets(node, now);
        let to = peer.id();
        peer.node.query(now, to, query(KEEP, b"?")).unwrap();
        peer.hears(connection);
        peer.acknowledges(connection);
        peer.node.shut_down(now, 10 * SECOND);
        assert_eq!(verdict(peer.node), None, "it has left, and may be answered");
        peer.says(connection, &[Frame::Refuse { number: 0, code: 3, wait: 0 }]);
        assert_eq!(verdict(peer.node), Some((Reason::RefusedHere(Refusal::ShuttingDown), Executed::No)));
        // It waits for nothing more than that the peer knows.
        peer.waits(1);
        peer.hears(connection);
        assert!(iter::from_fn(|| peer.node.poll()).any(|action| action == Action::Stopped));
        assert!(is_gone(peer.node));
    });
}

/// What the node says of its query.
fn verdict(node: &mut Node) -> Option<(Reason, Executed)> {
    iter::from_fn(|| node.poll()).find_map(|action| match action {
        Action::Deliver(Delivery::Verdict { verdict: Verdict::Failed(failure), .. }) => {
            Some((failure.reason, failure.executed))
        }
        _ => None,
    })
}

#[test]
fn it_goes_on_with_whatever_call_comes_when_nobody_waits_any_more() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    scene.world.with(node, |node, now| {
        let (peer, _) = Peer::meets(node, now);
        let myself = peer.node.id();
        peer.node.query(now, myself, query(KEEP, b"?").hard_timeout(5 * SECOND)).unwrap();
        peer.node.shut_down(now, 10 * SECOND);
        assert_eq!(peer.node.usage().sessions, 1);
        let refused = peer.node.accept(now + 5 * SECOND, ([10, 9, 9, 9], 1).into());
        assert_eq!((refused, peer.node.usage().sessions), (Err(Refusal::ShuttingDown), 0));
    });
}
