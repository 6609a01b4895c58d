//! Shutting down: nothing new is taken, what is under way ends, and then nothing more comes.

use std::time::Duration;

use egtp::{Action, Delivery, Event, Instant, LookupId, Node, NodeId, Refusal, ServiceAction, Usage};
use egtp_tests::bench::{Between, Party, Side, address};
use egtp_tests::scene::{ECHO, query};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
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
fn a_shut_down_node_takes_no_new_work_and_says_when_it_has_stopped() {
    let mut between = Between::acquainted();
    let now = between.now;
    let (me, you) = (between.left.node.id(), between.right.node.id());
    between.left.node.shut_down(now, SECOND);
    assert_eq!(between.left.node.query(now, you, query(ECHO, b"?")).unwrap_err().why, Refusal::ShuttingDown);
    assert_eq!(between.left.node.query(now, me, query(ECHO, b"?")).unwrap_err().why, Refusal::ShuttingDown);
    assert_eq!(between.left.node.accept(now, address()), Err(Refusal::ShuttingDown));
    between.carry();
    between.wait(3 * SECOND);
    assert_eq!((between.left.node.usage().connections, between.left.node.usage().timers), (0, 0));
    assert_eq!((between.left.node.poll(), between.left.node.deadline()), (None, None));
}

#[test]
fn nothing_comes_after_the_last_action_of_a_node() {
    let mut node = Party::new(1).node;
    let now = Instant::from_micros(1);
    let discovery = node.discover(now, 3).unwrap();
    actions(&mut node);
    node.shut_down(now, SECOND);
    assert_eq!(actions(&mut node), [Action::Deliver(Delivery::Discovered(discovery, vec![])), Action::Stopped]);

    node.handle(now, Event::Discovered(discovery, vec![]));
    assert_eq!(node.learn(now, Party::new(2).record()), Err(Refusal::ShuttingDown));
    assert_eq!(node.discover(now, 3), Err(Refusal::ShuttingDown));
    node.handle(now + HOUR, Event::Tick);
    assert_eq!((node.poll(), node.deadline()), (None, None));
}

#[test]
fn a_node_that_waits_for_one_last_query_stops_when_it_is_cancelled() {
    let mut between = Between::acquainted();
    between.go_on(SECOND);
    let (now, mut node) = (between.now, between.right.node);
    let query = node.query(now, node.id(), query(ECHO, b"me")).unwrap();
    node.shut_down(now, HOUR);
    assert!(!actions(&mut node).contains(&Action::Stopped));
    node.cancel(now, query).unwrap();
    node.handle(now + 10 * SECOND, Event::Tick);
    assert!(actions(&mut node).contains(&Action::Stopped));
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
