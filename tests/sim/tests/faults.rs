//! What goes wrong in a world goes wrong in the way in which it is described.

use std::time::Duration;

use egtp::{Cause, Executed, Instant, Reason};
use egtp_sim::scene::{ECHO, NEVER, Scene, long_body, query};
use egtp_sim::{Directory, Network, NodeIndex};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Two nodes that are connected, and the first one's clock.
fn connected() -> (Scene, NodeIndex, NodeIndex, Instant) {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"hello");
    let now = scene.world.now();
    (scene, asker, peer, now)
}

#[test]
fn a_slow_link_takes_its_time_for_a_long_body() {
    let mut scene = Scene::on(1, Network { bandwidth: Some(50_000), ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    let began = scene.world.now();
    let body = long_body(500_000);
    let asked = scene.ask(asker, peer, query(ECHO, &body));
    scene.run_secs(60);
    assert_eq!(scene.reply(asker, asked), body);
    let took = scene.verdict(asker, asked).0.saturating_since(began);
    assert!((20 * SECOND..24 * SECOND).contains(&took), "{took:?}");
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn a_blocked_direction_holds_everything_up_and_the_other_one_nothing() {
    let (mut scene, asker, peer, began) = connected();
    scene.world.set_blocked(peer, asker, true);
    let asked = scene.ask(asker, peer, query(ECHO, b"one way"));
    scene.run_secs(2);
    assert_eq!((scene.runs(b"one way"), scene.has_ended(asker, asked)), (1, false));
    scene.world.set_blocked(peer, asker, false);
    scene.run(MILLISECOND);
    assert_eq!(scene.verdict(asker, asked).0, began + 2 * SECOND);

    scene.world.set_blocked(asker, peer, true);
    let asked = scene.ask(asker, peer, query(ECHO, b"the other way"));
    scene.run_secs(2);
    assert_eq!(scene.runs(b"the other way"), 0);
    scene.world.set_blocked(asker, peer, false);
    scene.run(20 * MILLISECOND);
    assert_eq!(scene.reply(asker, asked), b"the other way");
}

#[test]
fn a_dial_across_a_blocked_direction_is_tried_again_until_it_gets_through() {
    for towards_the_peer in [true, false] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let began = scene.world.now();
        let (from, to) = if towards_the_peer { (asker, peer) } else { (peer, asker) };
        scene.world.set_blocked(from, to, true);
        let asked = scene.ask(asker, peer, query(ECHO, b"?"));
        scene.run(1500 * MILLISECOND);
        scene.world.set_blocked(from, to, false);
        scene.run_secs(5);
        assert_eq!(scene.reply(asker, asked), b"?");
        let ended = scene.verdict(asker, asked).0;
        assert!(ended > began + 3 * SECOND && ended < began + 3200 * MILLISECOND, "after 1 s and 2 s: {ended}");
        assert_eq!(scene.world.connects().len(), 1);
    }
}

#[test]
fn whoever_loses_power_is_missed_by_nobody_until_it_is_back() {
    let (mut scene, asker, peer, _) = connected();
    scene.world.power_off(peer);
    let asked = scene.ask(asker, peer, query(ECHO, b"into the void"));
    scene.run_secs(1);
    assert!(!scene.has_ended(asker, asked));
    assert_eq!((scene.world.node(asker).usage().connections, scene.world.connects().len()), (1, 1));

    // What was sent is answered by the end of the connection, as soon as somebody is there to do so; and over the next one the peer says
    // that it knows nothing of it.
    scene.start(peer);
    scene.run(100 * MILLISECOND);
    let failure = scene.failure(asker, asked);
    assert_eq!((failure.reason, failure.executed), (Reason::LostByPeer, Executed::Maybe));
    assert_eq!(scene.runs(b"into the void"), 0);
    let asked = scene.ask(asker, peer, query(ECHO, b"again"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"again");
}

#[test]
fn whoever_lost_power_and_hears_nothing_says_nothing() {
    let (mut scene, asker, peer, _) = connected();
    scene.world.power_off(peer);
    scene.start(peer);
    scene.run_secs(1);
    assert_eq!(scene.world.node(asker).usage().connections, 1);
    assert_eq!(scene.world.links(), 1);
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(1);
    assert!(scene.has_ended(asker, asked));
}

#[test]
fn a_dial_to_a_host_without_power_is_not_refused_but_unanswered() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.power_off(peer);
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(5);
    assert!(!scene.has_ended(asker, asked));
    scene.start(peer);
    scene.run_secs(3);
    assert_eq!(scene.reply(asker, asked), b"?");
}

#[test]
fn a_clock_that_is_set_forward_lets_time_run_out() {
    let (mut scene, asker, peer, began) = connected();
    let asked = scene.ask(asker, peer, query(NEVER, b"?"));
    scene.world.step_clock(asker, 59 * SECOND);
    scene.run(SECOND - MILLISECOND);
    assert!(!scene.has_ended(asker, asked));
    scene.run(MILLISECOND);
    assert_eq!(scene.verdict(asker, asked).0, began + SECOND);
    assert_eq!(scene.failure(asker, asked).reason, Reason::HardTimeout);
}

#[test]
fn a_clock_that_is_set_back_makes_its_own_node_wait_longer_and_no_other() {
    let (mut scene, asker, peer, began) = connected();
    let backwards = scene.ask(peer, asker, query(NEVER, b"other"));
    scene.run(100 * MILLISECOND);
    scene.world.set_directory(Directory::Silent);
    let stranger = scene.add_node();
    let asked = scene.ask(asker, stranger, query(NEVER, b"one").hard_timeout(20 * SECOND));
    scene.world.step_clock_back(asker, 30 * SECOND);
    scene.run_secs(100);
    assert_eq!(scene.verdict(asker, asked).0, began + 100 * MILLISECOND + 50 * SECOND);
    assert_eq!(scene.verdict(peer, backwards).0, began + 60 * SECOND);
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn whoever_waits_longer_than_it_has_said_since_its_clock_was_set_back_hears_that_it_is_waited_for_no_more() {
    let (mut scene, asker, peer, began) = connected();
    let asked = scene.ask(asker, peer, query(NEVER, b"?"));
    scene.world.step_clock_back(asker, 30 * SECOND);
    scene.run_secs(100);
    let failure = scene.failure(asker, asked);
    assert_eq!((failure.reason, failure.executed), (Reason::LostByPeer, Executed::Maybe));
    let ended = scene.verdict(asker, asked).0;
    assert!(ended > began + 60 * SECOND && ended < began + 61 * SECOND, "{ended}");
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn a_clock_that_goes_too_fast_or_too_slow_is_gone_by_and_no_other() {
    let (mut scene, asker, peer, began) = connected();
    scene.world.set_drift(asker, 500);
    scene.world.set_drift(peer, -500);
    let asked = scene.ask(asker, peer, query(NEVER, b"one"));
    let backwards = scene.ask(peer, asker, query(NEVER, b"other"));
    scene.run_secs(100);
    assert_eq!(scene.verdict(asker, asked).0, began + Duration::from_micros(59_970_015));
    assert_eq!(scene.verdict(peer, backwards).0, began + Duration::from_micros(60_030_016));
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn a_slow_directory_answers_after_its_time() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let began = scene.world.now();
    scene.world.set_directory(Directory::Slow(3 * SECOND));
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(5);
    assert_eq!(scene.reply(asker, asked), b"?");
    assert_eq!(scene.world.connects()[0].0, began + 3 * SECOND);
}

#[test]
fn a_slow_answer_is_not_for_the_successor_of_whoever_asked() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.set_directory(Directory::Slow(3 * SECOND));
    scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(1);
    scene.restart(asker);
    scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run(2500 * MILLISECOND);
    assert_eq!(scene.world.connects(), []);
}

#[test]
fn a_stale_directory_tells_what_it_knew_first() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let first = scene.world.address(peer);
    let moved = egtp::Strategies { addresses: vec!["10.9.9.9:4000".parse().unwrap()], relays: Vec::new() };
    scene.world.with(peer, |node, now| node.announce(now, moved)).unwrap();
    scene.world.set_directory(Directory::Stale);
    scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(1);
    assert_eq!(scene.world.connects()[0].2, first);
}

#[test]
fn a_wrong_directory_convinces_nobody() {
    let mut scene = Scene::new(1);
    let nodes: Vec<NodeIndex> = (0..6).map(|_| scene.add_node()).collect();
    scene.world.set_directory(Directory::Wrong);
    let asked: Vec<_> = (1..6).map(|peer| scene.ask(nodes[0], nodes[peer], query(ECHO, b"?"))).collect();
    scene.run_secs(60);
    for asked in asked {
        assert_eq!(scene.failure(nodes[0], asked).reason, Reason::Unreachable);
    }
    assert_eq!(scene.world.node(nodes[0]).count(Cause::RecordNotGenuine), 5);
    assert_eq!(scene.world.connects(), []);
}

#[test]
fn a_directory_that_is_gone_says_so_at_once() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let began = scene.world.now();
    scene.world.set_directory(Directory::Gone);
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(1);
    assert_eq!(scene.verdict(asker, asked).0, began);
    assert_eq!(scene.world.lookups().len(), 1);
}

#[test]
fn what_arrives_at_a_frozen_node_waits_for_it() {
    let (mut scene, asker, peer, _) = connected();
    scene.world.set_frozen(peer, true);
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(3);
    assert_eq!(scene.runs(b"?"), 0);
    scene.world.set_frozen(peer, false);
    scene.run(20 * MILLISECOND);
    assert_eq!(scene.reply(asker, asked), b"?");
}

#[test]
fn links_are_forgotten_once_both_ends_are_gone() {
    let mut scene = Scene::new(1);
    let nodes: Vec<NodeIndex> = (0..4).map(|_| scene.add_node()).collect();
    for round in 0..10 {
        for from in 0..4 {
            for to in 0..4 {
                scene.ask(nodes[from], nodes[to], query(ECHO, b"?"));
            }
        }
        scene.run_secs(1);
        assert!(scene.world.links() >= 6, "round {round}");
        match round % 3 {
            0 => nodes.iter().for_each(|&node| scene.restart(node)),
            1 => scene.world.cut(nodes[0], nodes[1]),
            _ => nodes.iter().for_each(|&node| {
                scene.world.power_off(node);
                scene.start(node);
            }),
        }
    }
    scene.run_secs(1500);
    assert_eq!(scene.world.links(), 0);
    assert_eq!(scene.world.violations(), [""; 0]);
}

#[test]
fn a_peer_whose_connections_always_break_before_it_is_met_is_given_up_after_a_few() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"?").hard_timeout(60 * SECOND));
    for _ in 0..300 {
        scene.world.break_next_connection_after(Some(100));
        scene.run(50 * MILLISECOND);
    }
    scene.world.break_next_connection_after(None);
    let failure = scene.failure(asker, asked);
    assert_eq!((failure.reason, failure.executed), (Reason::Unreachable, Executed::No));
    assert!((3..20).contains(&scene.world.connects().len()), "{:?}", scene.world.connects());
    let again = scene.ask(asker, peer, query(ECHO, b"and now?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, again), b"and now?");
}

#[test]
fn a_long_message_gets_through_connections_that_always_break() {
    let mut scene = Scene::on(1, Network { bandwidth: Some(20_000), buffer: 4096, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    let body = long_body(60_000);
    let asked = scene.ask(asker, peer, query(ECHO, &body).hard_timeout(60 * SECOND));
    // Each carries less than a tenth of it.
    for _ in 0..80 {
        scene.run(300 * MILLISECOND);
        scene.world.cut(asker, peer);
    }
    assert_eq!((scene.reply(asker, asked), scene.runs(&body)), (&body[..], 1));
    assert!(scene.world.connects().len() > 20, "{:?}", scene.world.connects());
    assert_eq!(scene.world.violations(), [""; 0]);
}
