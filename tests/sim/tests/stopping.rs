//! A node that shuts down: it begins nothing new, ends what it has begun, and is gone by its time.

mod by_hand;

use std::iter;
use std::time::Duration;

use egtp::{Action, Executed, Failure, Node, Reason, Refusal, Usage};
use egtp_sim::scene::{ECHO, KEEP, Scene, query, type_name};
use egtp_sim::{Directory, NodeIndex};

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
