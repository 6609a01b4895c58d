//! Ways to a peer: connections, addresses, the Lookup Service, and when to give up.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::time::Duration;

use egtp::{
    AttemptResult, Cause, Config, Event, Executed, Failure, QueryId, Reason, SignedRecord, Stage, Strategies, Verdict,
};
use egtp_sim::{Chunks, Directory, Network, NodeIndex};
use egtp_tests::bench::{Between, Party, Side};
use egtp_tests::scene::{ECHO, EMPTY, Scene, query};
use egtp_tests::settings::{limited, surrounded};

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
fn crossed_openings_lose_nothing_and_leave_at_most_two_connections_and_two_sessions() {
    // Which of two connections and of two sessions is used afterwards depends on ids and keys, and on who is quicker.
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
                assert!(usage.connections <= 2 && usage.sessions <= 2, "seed {seed}, {delay} ms: {usage:?}");
            }
            assert_eq!((scene.runs(b"there"), scene.runs(b"back")), (1, 1), "seed {seed}, {delay} ms");
            let again =
                [(one, other), (other, one)].map(|(from, to)| (from, scene.ask(from, to, query(ECHO, b"again"))));
            scene.run_secs(700);
            for (node, asked) in again {
                assert_eq!(scene.reply(node, asked), b"again", "seed {seed}, {delay} ms");
                assert_eq!(scene.world.node(node).usage().connections, 0, "seed {seed}, {delay} ms: nobody uses them");
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
    let tried: Vec<AttemptResult> = scene.failure(asker, asked).tried.iter().map(|attempt| attempt.result).collect();
    assert_eq!(tried, [AttemptResult::Myself]);
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
fn a_peer_that_hangs_up_on_whoever_it_has_met_is_dialled_less_and_less_often() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let mut dials = 1;
    let until = between.now + 30 * SECOND;
    while between.now < until {
        let hello = between.written_by(Side::Left).concat();
        between.pass(Side::Left, &hello);
        let welcome = between.written_by(Side::Right).concat();
        between.pass(Side::Right, &welcome);
        between.hang_up();
        while between.left.dialled.is_empty() {
            between.wait(10 * MILLISECOND);
        }
        dials += 1;
        between.at_left = between.left.dialled.remove(0);
        between.at_right = between.right.accepts(between.now);
        between.left.handle(between.now, Event::Connected(between.at_left));
    }
    assert!(dials <= 20, "{dials}");
    between.go_on(10 * SECOND);
    between.right.answers(between.now);
    between.go_on(SECOND);
    assert!(matches!(between.left.verdicts()[..], [Verdict::Reply(_)]), "{:?}", between.left.verdicts());
}

#[test]
fn a_peer_that_comes_by_itself_gives_its_turn_at_the_lookup_service_to_the_next() {
    let (mut scene, node, mut others) = surrounded::<3>(limited(|limits| limits.lookups = 1));
    scene.world.set_directory(Directory::Silent);
    // Turns go by the id.
    others[1..].sort_by_key(|&other| scene.world.id(other));
    for other in others {
        scene.ask(node, other, query(ECHO, b"where?"));
    }
    let record = scene.world.node(node).record().unwrap().clone();
    scene.world.with(others[1], |other, now| other.learn(now, record)).unwrap();
    scene.ask(others[1], node, query(EMPTY, b"here I am"));
    scene.run_secs(40);
    let last = scene.world.id(others[2]);
    assert_eq!(scene.world.lookups().last().map(|&(_, _, peer)| peer), Some(last));
}

#[test]
fn beyond_the_limit_of_open_lookups_a_query_waits_its_turn() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.lookups = 1));
    scene.world.set_directory(Directory::Silent);
    let asked: Vec<QueryId> = others.iter().map(|&other| scene.ask(node, other, query(ECHO, b"where?"))).collect();
    scene.run_secs(10);
    assert_eq!((scene.world.lookups().len(), scene.world.node(node).usage().lookups), (1, 1));
    scene.world.set_directory(Directory::Honest);
    scene.run_secs(30);
    assert_eq!(scene.world.lookups().len(), 3);
    let answered = asked.iter().filter(|&&asked| scene.has_ended(node, asked)).count();
    assert_eq!(answered, 3);
    assert_eq!(scene.runs(b"where?"), 2, "two were found");
}

/// Storm 150: a node gave up a connection that it had opened, since nothing waited for the peer any more; but the peer had met it
/// there already, in the session that they shared, and had sent a query.
#[test]
fn a_dial_that_is_open_is_not_given_up_with_the_query_it_was_for() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"so that there is a session"));
    // The connection is closed when it has been idle for long; the session stays.
    scene.run_secs(1300);
    let given_up = scene.ask(asker, peer, query(ECHO, b"for which a connection is opened"));
    scene.run(Duration::from_millis(31));
    let asked = scene.ask(peer, asker, query(ECHO, b"over that connection"));
    scene.run(Duration::from_millis(4));
    scene.world.with(asker, |node, now| node.cancel(now, given_up).unwrap());
    scene.run_secs(59);
    assert_eq!(scene.reply(peer, asked), b"over that connection");
}
