//! What fuzzing found, each bug as the smallest scenario that shows it.

use std::time::Duration;

use egtp::{Action, Event, Instant, LookupId, Node, NodeId, ServiceAction, Usage};
use egtp_tests::bench::{Between, Party, Side};
use egtp_tests::scene::{ECHO, query};

const NOW: Instant = Instant::from_micros(1_000_000);

/// Everything that a node has to say.
fn actions(node: &mut Node) -> Vec<Action> {
    std::iter::from_fn(|| node.poll()).collect()
}

/// The question to the Lookup Service that a node asks.
fn lookup(node: &mut Node) -> LookupId {
    let asked = actions(node).into_iter().find_map(|action| match action {
        Action::Service(ServiceAction::Lookup { lookup, .. }) => Some(lookup),
        _ => None,
    });
    asked.expect("whoever is unknown is looked up")
}

#[test]
fn nothing_that_a_lookup_finds_comes_after_the_end() {
    let (mut asker, sought) = (Party::new(1), Party::new(2));
    asker.node.query(NOW, sought.node.id(), query(ECHO, b"anybody?")).expect("there is room");
    let lookup = lookup(&mut asker.node);
    asker.node.shut_down(NOW, Duration::ZERO);
    assert_eq!(actions(&mut asker.node).last(), Some(&Action::Stopped));
    asker.node.handle(NOW, Event::Found(lookup, sought.record().as_bytes()));
    assert_eq!(actions(&mut asker.node), []);
}

#[test]
fn a_node_that_has_stopped_keeps_no_question_open() {
    let mut asker = Party::new(1);
    asker.node.query(NOW, NodeId::from_bytes([9; 20]), query(ECHO, b"anybody?")).expect("there is room");
    lookup(&mut asker.node);
    asker.node.shut_down(NOW, Duration::ZERO);
    assert_eq!(actions(&mut asker.node).last(), Some(&Action::Stopped));
    assert_eq!(asker.node.usage().lookups, 0);
}

#[test]
fn a_node_that_has_stopped_keeps_no_session_of_a_peer_that_was_away() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    between.carry();
    between.right.answers(between.now);
    between.carry();
    let (now, on) = (between.now, between.at_left);
    between.left.handle(now, Event::Closed(on, egtp::Ending::Broken));
    assert_eq!(between.left.node.usage().sessions, 1, "a session outlives its connection");
    between.left.node.shut_down(now, Duration::ZERO);
    assert_eq!(actions(&mut between.left.node).last(), Some(&Action::Stopped));
    assert_eq!(between.left.node.usage(), Usage { peers: 1, ..Usage::default() });
    assert!(between.written_by(Side::Left).is_empty());
}
