//! What once went wrong between nodes, each in the smallest scene that shows it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use egtp::{
    Action, Cause, CheckedConfig, Config, Delivery, Ending, Event, Executed, Identity, Instant, Limits, Node,
    PeerRefusal, Rate, Reason, Refusal, ServiceAction, SignedRecord, StoreKey, Stored, Strategies, Throttle, UnixTime,
    Verdict,
};
use egtp_sim::{Directory, Network, NodeIndex};
use egtp_tests::bench::{Between, Party, Side, address, framed};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, Scene, long_body, query};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

const HELLO: u8 = 1;
const RETRY: u8 = 3;
const STALE: u8 = 5;
const BUSY: u8 = 6;

fn limited(limit: impl FnOnce(&mut Limits)) -> CheckedConfig {
    let mut config = Config::default();
    limit(&mut config.limits);
    config.check().unwrap()
}

/// A node with this configuration, and so many others.
fn surrounded<const OTHERS: usize>(config: CheckedConfig) -> (Scene, NodeIndex, [NodeIndex; OTHERS]) {
    let mut scene = Scene::new(1);
    let node = scene.add_node_with(config);
    let others = [(); OTHERS].map(|()| scene.add_node());
    (scene, node, others)
}

/// The connection ends, and both sides see it.
fn hang_up(between: &mut Between) {
    let Between { now, left, right, at_left, at_right, .. } = between;
    left.handle(*now, Event::Closed(*at_left, Ending::Broken));
    right.handle(*now, Event::Closed(*at_right, Ending::Broken));
}

/// A packet that anybody on the way can make up.
fn forged(kind: u8, sid: &[u8], rest: &[u8]) -> Vec<u8> {
    framed(&[&[2, kind], sid, rest].concat())
}

/// The session id in the header of a packet.
fn session_id(packet: &[u8]) -> &[u8] {
    &packet[6..14]
}

fn actions(node: &mut Node) -> Vec<Action> {
    std::iter::from_fn(|| node.poll()).collect()
}

// Sessions, handshakes and what is kept of a peer.

#[test]
fn askers_that_vanish_before_their_query_is_acknowledged_leave_no_session_behind() {
    let (mut scene, node, [first, second, newcomer]) = surrounded(limited(|limits| limits.sessions = 2));
    for vanishing in [first, second] {
        scene.ask(vanishing, node, query(NEVER, b"good bye"));
        scene.run(55 * MILLISECOND);
        scene.world.crash(vanishing);
        scene.run_secs(70);
    }
    assert_eq!(scene.runs(b"good bye"), 2);
    let asked = scene.ask(newcomer, node, query(ECHO, b"is there room?"));
    scene.run_secs(10);
    assert_eq!(scene.reply(newcomer, asked), b"is there room?");
}

#[test]
fn a_node_whose_sessions_are_all_in_use_refuses_its_own_query_at_once() {
    let (mut scene, node, [first, second, third]) = surrounded(limited(|limits| limits.sessions = 2));
    for asker in [first, second] {
        scene.ask(asker, node, query(KEEP, b"a long time"));
    }
    scene.run_secs(1);
    let refused = scene.ask(node, third, query(ECHO, b"me too"));
    scene.run_secs(1);
    let failure = scene.failure(node, refused);
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedHere(Refusal::TooManySessions), Executed::No));
    scene.answer_kept();
    scene.run_secs(1);
    let again = scene.ask(node, third, query(ECHO, b"and now?"));
    scene.run_secs(1);
    assert_eq!(scene.reply(node, again), b"and now?");
}

#[test]
fn a_connection_whose_session_was_given_up_is_not_taken_for_dead() {
    let (mut scene, node, others) = surrounded::<3>(limited(|limits| limits.sessions = 2));
    for &other in &others {
        let asked = scene.ask(other, node, query(ECHO, b"hello"));
        scene.run_secs(2);
        assert_eq!(scene.reply(other, asked), b"hello");
    }
    scene.run_secs(120);
    assert!(scene.world.notes().iter().all(|(_, _, note)| note.cause != Cause::PeerSilent));
    assert_eq!(scene.world.node(node).usage().connections, 3);
}

#[test]
fn a_handshake_that_nobody_answers_does_not_keep_a_peer_for_ever() {
    let right = Party::with_config(2, limited(|limits| limits.peers = 2));
    let mut between = Between::asking(Party::new(1), right, query(ECHO, b"hello"));
    between.converse();
    let (_, packet) = between.seen.iter().rfind(|(side, _)| *side == Side::Right).unwrap().clone();
    between.pass(Side::Left, &forged(STALE, session_id(&packet), &[0; 8]));
    assert_eq!(between.written_by(Side::Right)[0][5], HELLO, "the right one asks about the session");
    hang_up(&mut between);
    between.wait(24 * HOUR);

    let [needed, new] = [7, 8].map(Party::new);
    let Between { now, right, .. } = &mut between;
    right.node.learn(*now, needed.record()).unwrap();
    right.node.query(*now, needed.node.id(), query(ECHO, b"?")).unwrap();
    assert_eq!(right.node.learn(*now, new.record()), Ok(()), "there is a place that nobody needs");
}

#[test]
fn a_forged_word_of_being_busy_does_not_outlast_the_handshake() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let hello = between.written_by(Side::Left).remove(0);
    between.pass(Side::Right, &forged(BUSY, session_id(&hello), &[1, 0, 60]));
    between.pass(Side::Left, &hello);
    between.converse();
    assert_eq!(between.left.verdicts().len(), 1);
    between.ask(query(ECHO, &long_body(1_000_000)));
    hang_up(&mut between);
    assert_eq!(between.left.dialled.len(), 1, "the query goes again at once");
}

#[test]
fn whoever_is_always_busy_at_one_address_is_looked_for_at_the_next() {
    let strategies = Strategies { addresses: vec![address(), ([10, 1, 1, 2], 4000).into()], relays: Vec::new() };
    let record = SignedRecord::sign(&Identity::from_seed(&[7; 32]), 1, strategies).unwrap();
    let mut asker = Party::new(1);
    let mut now = Instant::from_micros(1);
    let to = record.node_id();
    asker.node.learn(now, record).unwrap();
    asker.node.query(now, to, query(ECHO, b"hello").hard_timeout(HOUR)).unwrap();
    asker.settle(now);
    let on = asker.dialled[0];
    asker.handle(now, Event::Connected(on));
    let hello = asker.writes(now, on);
    for _ in 0..10 {
        asker.receives(now, on, &forged(BUSY, session_id(&hello), &[1, 0, 60]));
        now = now + 62 * SECOND;
        asker.handle(now, Event::Tick);
        asker.writes(now, on);
    }
    assert!(asker.closed.contains(&on));
    assert_eq!(asker.dialled.len(), 2);
}

#[test]
fn cookie_after_cookie_is_not_echoed_without_end() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let hello = between.written_by(Side::Left).remove(0);
    let cookies = (0..1000_u128).flat_map(|cookie| forged(RETRY, session_id(&hello), &cookie.to_be_bytes()));
    let cookies: Vec<u8> = cookies.collect();
    between.pass(Side::Right, &cookies);
    let hellos = between.written_by(Side::Left).len();
    assert!((1..10).contains(&hellos), "{hellos}");
}

#[test]
fn a_peer_that_hangs_up_on_whoever_it_has_met_is_not_dialled_without_end() {
    let mut between = Between::asking(Party::new(1), Party::new(2), query(ECHO, b"hello"));
    let mut dials = 1;
    while between.left.verdicts().is_empty() {
        let hello = between.written_by(Side::Left).concat();
        between.pass(Side::Left, &hello);
        let welcome = between.written_by(Side::Right).concat();
        between.pass(Side::Right, &welcome);
        hang_up(&mut between);
        if let Some(connection) = between.left.dialled.pop() {
            dials += 1;
            assert!(dials < 20);
            between.at_left = connection;
            between.at_right = between.right.accepts(between.now);
            between.left.handle(between.now, Event::Connected(connection));
        }
    }
    let [Verdict::Failed(failure)] = between.left.verdicts()[..] else { panic!("a reply") };
    assert_eq!((failure.reason, failure.executed), (Reason::Unreachable, Executed::No));
}

// Connections: opened, left, crossed.

#[test]
fn beside_a_connection_that_is_being_left_a_new_one_works() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(EMPTY, b"hello").hint(egtp::Hint::NoMore));
    // The answer is under way, and makes the asker propose to leave. The peer's query crosses that and keeps the connection.
    scene.run(55 * MILLISECOND);
    scene.ask(peer, asker, query(KEEP, b"crosses").hard_timeout(HOUR));
    scene.run_secs(1);
    let again = scene.ask(asker, peer, query(ECHO, b"again"));
    scene.run_secs(5);
    assert_eq!(scene.reply(asker, again), b"again");
    assert_eq!(scene.world.connects().len(), 2);
    assert_eq!((scene.world.node(asker).usage().connections, scene.told.kept.len()), (2, 1));
}

#[test]
fn a_connection_that_was_to_make_room_and_became_busy_does_not_keep_others_from_it() {
    let (mut scene, node, [first, second, third]) = surrounded(limited(|limits| limits.connections = 2));
    for other in [first, second] {
        scene.ask(node, other, query(EMPTY, b"hello"));
        scene.run_secs(1);
    }
    // The first was used longest ago, so it is to leave; but its query crosses the word.
    scene.ask(first, node, query(KEEP, b"crosses").hard_timeout(HOUR));
    scene.run(5 * MILLISECOND);
    let asked = scene.ask(node, third, query(ECHO, b"room for me?"));
    scene.run_secs(30);
    assert_eq!(scene.reply(node, asked), b"room for me?");
    assert_eq!((scene.world.node(first).usage().connections, scene.world.node(second).usage().connections), (1, 0));
}

#[test]
fn long_messages_whose_connections_cross_run_once_and_end_on_one_connection() {
    let body = [long_body(400_000), long_body(400_001)];
    for seed in 0..3 {
        for delay in (0..80).step_by(10) {
            let (mut scene, one, other) = Scene::of_two(seed);
            let there = scene.ask(one, other, query(ECHO, &body[0]));
            scene.run(delay * MILLISECOND);
            let back = scene.ask(other, one, query(ECHO, &body[1]));
            scene.run_secs(60);
            assert!(scene.reply(one, there) == body[0], "seed {seed}, {delay} ms");
            assert!(scene.reply(other, back) == body[1], "seed {seed}, {delay} ms");
            assert_eq!((scene.runs(&body[0]), scene.runs(&body[1])), (1, 1), "seed {seed}, {delay} ms");
            for node in [one, other] {
                assert_eq!(scene.world.node(node).usage().connections, 1, "seed {seed}, {delay} ms");
            }
        }
    }
}

// One peer does not make others wait.

#[test]
fn a_peer_that_reads_none_of_its_long_answers_stands_in_nobodys_way() {
    let (mut scene, node, [greedy, honest]) = surrounded(limited(|limits| limits.reply_bytes = 4_000_000));
    for _ in 0..10 {
        scene.ask(greedy, node, query(KEEP, b"much"));
    }
    scene.run_secs(1);
    scene.world.set_frozen(greedy, true);
    for (_, token, _) in std::mem::take(&mut scene.told.kept) {
        scene.world.reply(node, token, long_body(1_000_000));
    }
    let asked = scene.ask(honest, node, query(ECHO, &long_body(1_500_000)));
    scene.run_secs(5);
    assert_eq!(scene.reply(honest, asked).len(), 1_500_000);
    assert!(scene.world.node(node).usage().reply_bytes > 1_000_000, "the other's answers still wait");
}

#[test]
fn bytes_that_close_their_connection_do_not_use_up_a_throttle_for_good() {
    let throttle = Throttle { down: Rate::bytes_per_second(7000), ..Throttle::default() };
    let mut party = Party::with_config(1, Config { throttle, ..Config::default() }.check().unwrap());
    let mut now = Instant::from_micros(1_000_000);
    let [garbled, waiting] = [party.accepts(now), party.accepts(now)];
    party.receives(now, garbled, &[0xff; 1750]);
    assert_eq!(party.closed, [garbled]);
    let latest = now + SECOND;
    while party.node.wants_read(waiting) == 0 {
        now = party.node.deadline().unwrap();
        assert!(now <= latest, "nothing wakes the other connection");
        party.handle(now, Event::Tick);
    }
}

#[test]
fn long_queries_over_the_slowest_throttle_do_not_look_like_silence() {
    let slowest = Some(Rate::MIN);
    // Small buffers hide nothing; behind large ones a probe waits for long.
    for (upload, buffer) in [(true, 512), (false, 512), (true, 65_536), (false, 65_536)] {
        let mut scene = Scene::on(1, Network { buffer, ..Network::default() });
        let (asker, peer) = (scene.add_node(), scene.add_node());
        let (throttled, throttle) = if upload {
            (asker, Throttle { up: slowest, ..Throttle::default() })
        } else {
            (peer, Throttle { down: slowest, ..Throttle::default() })
        };
        scene.world.with(throttled, |node, now| node.set_throttle(now, throttle));
        let body = long_body(40_000);
        let asked = [(); 4].map(|()| scene.ask(asker, peer, query(EMPTY, &body).hard_timeout(HOUR)));
        scene.run(HOUR);
        for asked in asked {
            assert_eq!(scene.reply(asker, asked), b"", "upload {upload}, {buffer}");
        }
        assert_eq!(scene.world.connects().len(), 1, "upload {upload}, {buffer}");
    }
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
fn queries_to_oneself_count_as_incoming() {
    let (mut scene, node, []) = surrounded(limited(|limits| limits.incoming = 1));
    let first = scene.ask(node, node, query(KEEP, b"first"));
    let second = scene.ask(node, node, query(KEEP, b"second"));
    scene.run_secs(1);
    let failure = scene.failure(node, second);
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedByPeer(PeerRefusal::Busy), Executed::No));
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(node, first), b"first");
}

// The end of a node, and of its numbers.

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
    let mut node = Between::acquainted().right.node;
    let now = Instant::from_micros(1_000_000);
    let query = node.query(now, node.id(), query(ECHO, b"me")).unwrap();
    node.shut_down(now, HOUR);
    assert!(!actions(&mut node).contains(&Action::Stopped));
    node.cancel(now, query).unwrap();
    node.handle(now + 10 * SECOND, Event::Tick);
    assert!(actions(&mut node).contains(&Action::Stopped));
}

#[test]
fn a_node_that_has_used_its_last_sequence_number_stays_quiet() {
    let last = i64::MAX.to_be_bytes();
    let stored = Stored::parse([(StoreKey::Sequence, &last[..])]).unwrap();
    let (identity, now) = (Identity::from_seed(&[1; 32]), Instant::ZERO);
    let mut node = Node::new(CheckedConfig::default(), identity, [1; 32], stored, now, UnixTime::from_secs(1));
    node.announce(now, Strategies { addresses: vec![address()], relays: Vec::new() }).unwrap();
    let mut saves = 0;
    while let Some(action) = node.poll() {
        if let Action::Service(ServiceAction::Save { save, .. }) = action {
            saves += 1;
            assert!(saves < 10, "it saves without end");
            node.handle(now, Event::Saved(save));
        }
    }
}

#[test]
fn an_idle_connection_whose_probe_is_due_at_the_same_instant_is_closed_all_the_same() {
    let mut scene = Scene::on(1, Network { latency: Duration::ZERO, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.ask(asker, peer, query(ECHO, b"hello"));
    scene.run_secs(610);
    assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [0, 0]);
}
