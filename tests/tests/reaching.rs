//! Ways to a peer: connections, addresses, the Lookup Service, the throttle, and when to give up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::time::Duration;

use egtp::{Cause, Config, Executed, Failure, QueryId, Rate, Reason, SignedRecord, Stage, Strategies, Throttle};
use egtp_sim::{Chunks, Directory, Network, NodeIndex};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, Scene, long_body, query, type_name};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A record of a node's, newer than any that it signs itself, which says that it is at these addresses.
fn newer_record(scene: &Scene, node: NodeIndex, by: u64, addresses: &[SocketAddr]) -> SignedRecord {
    let strategies = Strategies { addresses: addresses.to_vec(), relays: Vec::new() };
    SignedRecord::sign(scene.world.identity(node), 1_800_000_000 + by, strategies).unwrap()
}

fn nobody() -> SocketAddr {
    "10.9.9.9:4000".parse().unwrap()
}

fn is_unreachable(scene: &Scene, node: NodeIndex, asked: QueryId) {
    let Failure { reason, executed, .. } = scene.failure(node, asked);
    assert_eq!((reason, executed), (Reason::Unreachable, Executed::No));
}

#[test]
fn a_node_opens_a_connection_asks_keeps_it_and_gets_the_reply_on_it() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    for body in [&b"one"[..], b"two", b"three"] {
        let asked = scene.ask(asker, peer, query(ECHO, body));
        scene.run_secs(100);
        assert_eq!(scene.reply(asker, asked), body);
    }
    assert_eq!(scene.world.connects().len(), 1);
    assert_eq!(scene.world.lookups().len(), 1);
    assert_eq!(scene.world.node(asker).usage().connections, 1);
}

#[test]
fn whoever_was_dialled_answers_and_asks_on_the_same_connection() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(1);
    let back = scene.ask(peer, asker, query(ECHO, b"and you?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(peer, back), b"and you?");
    assert_eq!((scene.world.connects().len(), scene.world.lookups().len()), (1, 1));
}

#[test]
fn the_first_failure_leads_to_one_lookup_and_its_newer_record_to_the_peer() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let stale = newer_record(&scene, peer, 1, &[nobody()]);
    scene.world.with(asker, |node, now| node.learn(now, stale)).unwrap();
    let fresh = newer_record(&scene, peer, 2, &[scene.world.address(peer)]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(fresh));
    let asked = scene.ask(asker, peer, query(ECHO, b"found you"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"found you");
    assert_eq!(scene.world.lookups().len(), 1);
    let dialled: Vec<_> = scene.world.connects().iter().map(|&(_, _, to)| to).collect();
    assert_eq!(dialled, [nobody(), scene.world.address(peer)]);
}

#[test]
fn the_second_failure_makes_the_peer_unreachable() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let stale = newer_record(&scene, peer, 1, &[nobody()]);
    scene.world.with(asker, |node, now| node.learn(now, stale)).unwrap();
    let fresh = newer_record(&scene, peer, 2, &["10.9.9.8:4000".parse().unwrap()]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(fresh));
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert_eq!(scene.verdict(asker, asked).0, began + 40 * MILLISECOND, "two refused dials take two round trips");
    assert_eq!((scene.world.lookups().len(), scene.world.connects().len()), (1, 2));
}

#[test]
fn a_lookup_that_finds_nothing_fails_the_query_at_once() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let id = scene.world.id(peer);
    scene.world.set_record(id, None);
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert_eq!(scene.verdict(asker, asked).0, began);
    assert!(scene.world.connects().is_empty());
}

#[test]
fn many_queries_to_one_unreachable_peer_cost_one_lookup_and_the_next_tries_again() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.set_listening(peer, false);
    let asked: Vec<QueryId> = (0..100).map(|_| scene.ask(asker, peer, query(ECHO, b"?"))).collect();
    scene.run_secs(1);
    for asked in asked {
        is_unreachable(&scene, asker, asked);
    }
    assert_eq!(scene.world.lookups().len(), 1);
    scene.world.set_listening(peer, true);
    let again = scene.ask(asker, peer, query(ECHO, b"!"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, again), b"!");
}

#[test]
fn a_dial_into_silence_is_given_up_after_its_time_and_the_next_address_tried() {
    let mut scene = Scene::new(1);
    let (asker, peer, silent) = (scene.add_node(), scene.add_node(), scene.add_node());
    scene.world.set_silent(silent, true);
    let record = newer_record(&scene, peer, 1, &[scene.world.address(silent), scene.world.address(peer)]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(record));
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(ECHO, b"at last"));
    scene.run_secs(60);
    assert_eq!(scene.reply(asker, asked), b"at last");
    let connect = Config::default().timers.connect;
    assert_eq!(scene.world.connects()[1].0, began + connect);
    assert_eq!(scene.world.node(asker).count(Cause::StrategyFailed), 1);
}

#[test]
fn a_host_that_stays_silent_is_unreachable_in_the_end() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.set_silent(peer, true);
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert_eq!(scene.verdict(asker, asked).0, began + Config::default().timers.connect);
}

#[test]
fn the_deadline_covers_the_lookup_and_the_dial() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.set_directory(Directory::Silent);
    scene.world.set_silent(peer, true);
    let hard = Duration::from_micros(4_999_999);
    let began = scene.world.now();
    let looking = scene.ask(asker, peer, query(ECHO, b"?").hard_timeout(hard));
    scene.run_secs(10);
    let tried = Vec::new();
    let expected = Failure { reason: Reason::HardTimeout, executed: Executed::No, stage: Stage::Lookup, tried };
    assert_eq!((scene.verdict(asker, looking).0, scene.failure(asker, looking)), (began + hard, expected.clone()));

    // The question to the directory is still open, but it is the dial that the query waits for now.
    let record = newer_record(&scene, peer, 1, &[scene.world.address(peer)]);
    scene.world.with(asker, |node, now| node.learn(now, record)).unwrap();
    let began = scene.world.now();
    let dialling = scene.ask(asker, peer, query(ECHO, b"?").hard_timeout(hard));
    scene.run_secs(60);
    let expected = Failure { stage: Stage::Dial, ..expected };
    assert_eq!((scene.verdict(asker, dialling).0, scene.failure(asker, dialling)), (began + hard, expected));
    let usage = scene.world.node(asker).usage();
    assert_eq!((usage.lookups, usage.connections, usage.timers), (0, 0, 0));
}

#[test]
fn a_directory_that_never_answers_is_given_up_after_its_time() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.world.set_directory(Directory::Silent);
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert_eq!(scene.verdict(asker, asked).0, began + Config::default().timers.lookup);
    assert_eq!(scene.world.node(asker).count(Cause::LookupTimedOut), 1);
}

#[test]
fn crossed_openings_settle_on_one_connection_and_one_session_and_lose_nothing() {
    // Which of two connections and of two sessions goes on depends on ids and keys, and on who is quicker.
    for seed in 0..20 {
        for delay in [0, 5, 15, 20, 25, 30, 35] {
            let mut scene =
                Scene::on(seed, Network { jitter: 3 * MILLISECOND, chunks: Chunks::Any, ..Network::default() });
            let (one, other) = (scene.add_node(), scene.add_node());
            let there = scene.ask(one, other, query(ECHO, b"there"));
            scene.run(delay * MILLISECOND);
            let back = scene.ask(other, one, query(ECHO, b"back"));
            scene.run_secs(60);
            assert_eq!(scene.reply(one, there), b"there", "seed {seed}, {delay} ms");
            assert_eq!(scene.reply(other, back), b"back", "seed {seed}, {delay} ms");
            for node in [one, other] {
                let usage = scene.world.node(node).usage();
                assert_eq!((usage.connections, usage.sessions), (1, 1), "seed {seed}, {delay} ms");
            }
        }
    }
}

#[test]
fn an_address_that_belongs_to_another_node_is_dropped_and_the_next_one_tried() {
    let mut scene = Scene::new(1);
    let (asker, peer, other) = (scene.add_node(), scene.add_node(), scene.add_node());
    let record = newer_record(&scene, peer, 1, &[scene.world.address(other), scene.world.address(peer)]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(record));
    let asked = scene.ask(asker, peer, query(ECHO, b"for you alone"));
    scene.run_secs(60);
    assert_eq!(scene.reply(asker, asked), b"for you alone");
    assert_eq!(scene.told.asked[0].node, peer);
    assert_eq!(scene.world.node(other).count(Cause::HandshakeNotForMe), 1);
    assert_eq!(scene.world.node(asker).count(Cause::StrategyFailed), 1);
    assert_eq!(scene.world.node(other).usage().connections, 0);
}

#[test]
fn an_address_that_leads_back_to_oneself_is_dropped() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let record = newer_record(&scene, peer, 1, &[scene.world.address(asker)]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(record));
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert!(scene.told.asked.is_empty());
    assert_eq!(scene.world.node(asker).count(Cause::StrategyFailed), 1);
    assert_eq!(scene.world.node(asker).usage().connections, 0);
}

#[test]
fn a_record_of_another_node_is_not_believed() {
    let mut scene = Scene::new(1);
    let (asker, peer, other) = (scene.add_node(), scene.add_node(), scene.add_node());
    let record = newer_record(&scene, other, 1, &[scene.world.address(other)]);
    let id = scene.world.id(peer);
    scene.world.set_record(id, Some(record));
    let asked = scene.ask(asker, peer, query(ECHO, b"?"));
    scene.run_secs(60);
    is_unreachable(&scene, asker, asked);
    assert_eq!(scene.world.node(asker).count(Cause::RecordNotGenuine), 1);
    assert!(scene.world.connects().is_empty());
}

#[test]
fn a_change_of_strategies_bumps_the_sequence_number_and_the_same_again_does_not() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let at = |port| Strategies { addresses: vec![SocketAddr::from(([10, 0, 0, 1], port))], relays: Vec::new() };
    let first = scene.world.node(node).record().unwrap().sequence();
    scene.world.with(node, |node, now| node.announce(now, at(4000))).unwrap();
    assert_eq!(scene.world.node(node).record().unwrap().sequence(), first);
    scene.world.with(node, |node, now| node.announce(now, at(4001))).unwrap();
    let second = scene.world.node(node).record().unwrap();
    assert_eq!((second.sequence(), second.strategies()), (first + 1, &at(4001)));
    for port in 5000..5200 {
        scene.world.with(node, |node, now| node.announce(now, at(port))).unwrap();
    }
    assert_eq!(scene.world.node(node).record().unwrap().sequence(), first + 201);
}

#[test]
fn a_restart_never_reuses_a_sequence_number() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let mut last = 0;
    for port in 4001..4100 {
        let sequence = scene.world.node(node).record().unwrap().sequence();
        assert!(sequence > last);
        let moved = Strategies { addresses: vec![SocketAddr::from(([10, 0, 0, 1], port))], relays: Vec::new() };
        scene.world.with(node, |node, now| node.announce(now, moved)).unwrap();
        last = scene.world.node(node).record().unwrap().sequence();
        assert!(last > sequence);
        scene.restart(node);
    }
}

#[test]
fn an_old_record_does_not_replace_a_newer_one_and_a_move_is_followed() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let old = scene.world.node(peer).record().unwrap().clone();
    let newer = newer_record(&scene, peer, 1, &[nobody()]);
    scene.world.with(asker, |node, now| node.learn(now, newer.clone())).unwrap();
    let refused = scene.world.with(asker, |node, now| node.learn(now, old));
    assert_eq!(refused, Err(egtp::Refusal::NotNewer));
    assert_eq!(scene.world.with(asker, |node, now| node.learn(now, newer)), Err(egtp::Refusal::NotNewer));
}

#[test]
fn a_throttled_node_resumes_by_itself_and_keeps_its_rate_in_the_long_run() {
    let rate = |bytes| Rate::bytes_per_second(bytes);
    let throttles = [
        Throttle { up: rate(1000), ..Throttle::default() },
        Throttle { down: rate(1000), ..Throttle::default() },
        Throttle { up_per_connection: rate(1000), ..Throttle::default() },
        Throttle { down_per_connection: rate(1000), ..Throttle::default() },
        Throttle { up: rate(1000), down: rate(1000), up_per_connection: rate(1000), down_per_connection: rate(1000) },
    ];
    for throttle in throttles {
        // Buffers so small that they hide nothing.
        let mut scene = Scene::on(1, Network { buffer: 512, ..Network::default() });
        let (asker, peer) = (scene.add_node(), scene.add_node());
        scene.world.with(asker, |node, now| node.set_throttle(now, throttle));
        let began = scene.world.now();
        let outwards = throttle.up.or(throttle.up_per_connection).is_some();
        let asked = if outwards {
            scene.ask(asker, peer, query(EMPTY, &long_body(20_000)))
        } else {
            let asked = scene.ask(asker, peer, query(KEEP, b""));
            scene.run_secs(5);
            let (_, token, _) = scene.told.kept.pop().unwrap();
            scene.world.reply(peer, token, long_body(20_000));
            asked
        };
        scene.run_secs(60);
        scene.reply(asker, asked);
        let took = scene.verdict(asker, asked).0.saturating_since(began);
        let expected = 18 * SECOND..27 * SECOND;
        assert!(expected.contains(&took), "{throttle:?}: {took:?}");
    }
}

#[test]
fn the_slowest_rate_there_is_still_gets_a_query_through() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let slowest = Some(Rate::MIN);
    let throttle = Throttle { up: slowest, down: slowest, up_per_connection: slowest, down_per_connection: slowest };
    for node in [asker, peer] {
        scene.world.with(node, |node, now| node.set_throttle(now, throttle));
    }
    let asked = scene.ask(asker, peer, query(ECHO, &long_body(5000)).hard_timeout(120 * SECOND));
    scene.run_secs(120);
    assert_eq!(scene.reply(asker, asked).len(), 5000);
}

#[test]
fn a_throttle_is_lifted_while_it_holds_back() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let throttle = Throttle { up: Some(Rate::MIN), down_per_connection: Some(Rate::MIN), ..Throttle::default() };
    scene.world.with(asker, |node, now| node.set_throttle(now, throttle));
    let asked = scene.ask(asker, peer, query(ECHO, &long_body(1_000_000)));
    scene.run_secs(10);
    assert!(!scene.has_ended(asker, asked));
    scene.world.with(asker, |node, now| node.set_throttle(now, Throttle::default()));
    scene.run_secs(5);
    assert_eq!(scene.reply(asker, asked).len(), 1_000_000);
}

#[test]
fn connections_share_a_throttle_fairly() {
    let mut scene = Scene::on(1, Network { buffer: 512, ..Network::default() });
    let asker = scene.add_node();
    let peers: Vec<NodeIndex> = (0..4).map(|_| scene.add_node()).collect();
    let throttle = Throttle { up: Rate::bytes_per_second(4000), ..Throttle::default() };
    scene.world.with(asker, |node, now| node.set_throttle(now, throttle));
    let began = scene.world.now();
    let asked: Vec<_> = peers.iter().map(|&peer| scene.ask(asker, peer, query(EMPTY, &long_body(10_000)))).collect();
    scene.run_secs(60);
    for &asked in &asked {
        scene.reply(asker, asked);
        let took = scene.verdict(asker, asked).0.saturating_since(began);
        assert!((7 * SECOND..13 * SECOND).contains(&took), "{took:?}");
    }
}

#[test]
fn what_is_announced_is_published_only_after_its_number_is_saved() {
    use egtp::{Action, CheckedConfig, Event, Identity, Instant, Node, ServiceAction, Stored, UnixTime};
    let identity = Identity::from_seed(&[5; 32]);
    let now = Instant::ZERO;
    let mut node =
        Node::new(CheckedConfig::default(), identity, [6; 32], Stored::default(), now, UnixTime::from_secs(77));
    node.announce(now, Strategies { addresses: vec![nobody()], relays: Vec::new() }).unwrap();
    let Some(Action::Service(ServiceAction::Save { save, .. })) = node.poll() else { panic!("nothing is saved") };
    assert_eq!(node.poll(), None);
    assert_eq!(node.record(), None);
    node.handle(now, Event::Saved(save));
    let Some(Action::Service(ServiceAction::Publish { record })) = node.poll() else { panic!("nothing published") };
    assert_eq!(record.sequence(), 77);
    node.serve(type_name(NEVER)).unwrap();
}
