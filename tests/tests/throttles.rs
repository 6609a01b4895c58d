//! Throttles: rates that are kept, shared fairly, and taken for nothing else.

use std::time::Duration;

use egtp::{Instant, Rate, Throttle};
use egtp_sim::scenario::Scenario;
use egtp_sim::storm::record_scenario;
use egtp_sim::{Network, NodeIndex};
use egtp_tests::bench::Party;
use egtp_tests::scene::{ECHO, EMPTY, KEEP, Scene, long_body, query};
use egtp_tests::settings::{acquainted, configured};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

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
fn bytes_that_close_their_connection_do_not_use_up_a_throttle_for_good() {
    let throttle = Throttle { down: Rate::bytes_per_second(7000), ..Throttle::default() };
    let mut party = Party::with_config(1, configured(|config| config.throttle = throttle));
    let mut now = Instant::from_micros(1_000_000);
    let [garbled, waiting] = [party.accepts(now), party.accepts(now)];
    party.receives(now, garbled, &[0xff; 1750]);
    assert_eq!(party.closed, [garbled]);
    let latest = now + SECOND;
    while party.node.wants_read(waiting) == 0 {
        now = party.node.deadline().unwrap();
        assert!(now <= latest, "nothing wakes the other connection");
        party.handle(now, egtp::Event::Tick);
    }
}

#[test]
fn long_queries_over_the_slowest_throttle_do_not_look_like_silence() {
    let slowest = Some(Rate::MIN);
    // Small buffers hide nothing; behind large ones PING waits for long.
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
fn a_message_that_takes_a_minute_over_the_slowest_throttle_does_not_look_like_silence() {
    let (mut scene, asker, peer) = acquainted(1);
    let throttle = Throttle { up: Some(Rate::MIN), ..Throttle::default() };
    scene.world.with(asker, |node, now| node.set_throttle(now, throttle));
    let body = long_body(16_000);
    let asked = scene.ask(asker, peer, query(EMPTY, &body).hard_timeout(HOUR));
    scene.run(HOUR);
    assert_eq!(scene.reply(asker, asked), b"");
    assert_eq!((scene.runs(&body), scene.world.connects().len()), (1, 1));
}

/// Storm 154366: what a node may read each second was all taken by the connection that it looked at first, round after round. A
/// handshake on another one was not read for ten seconds, and the connection was closed.
#[test]
fn whoever_reads_little_reads_from_everybody() {
    let scenario: Scenario = "> seed 1\n\
        > node alice down=6551\n\
        > node bob\n\
        > node carol\n\
        > ask bob alice echo bytes=23409B hard=13s\n\
        > ask carol alice echo bytes=8B hard=19s\n\
        > ask alice bob echo bytes=35583B hard=3s\n\
        > wait 5s"
        .parse()
        .unwrap();
    let recording = record_scenario(&scenario);
    assert_eq!(recording.broken(), Vec::<String>::new());
    let names = recording.names();
    let lines: Vec<String> = recording.transcript.iter().map(|entry| names.line(entry)).collect();
    let early = lines.iter().any(|line| line.contains("carol    has the verdict of #1: reply"));
    assert!(early, "{lines:#?}");
}
