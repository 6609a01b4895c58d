//! What a calm conversation costs: how often nodes are told something, each of which is a call of the driver's.

use std::time::Duration;

use egtp::{Action, Rate, Throttle};
use egtp_sim::Network;
use egtp_sim::scene::{ECHO, Scene, long_body, query};

/// How many events it takes two nodes that know each other to exchange so many messages of so many bytes, asked at once.
fn events_of(messages: usize, bytes: usize) -> u64 {
    let mut scene = Scene::on(1, Network { buffer: 1 << 20, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.ask(asker, peer, query(ECHO, b"so that there is a session"));
    scene.run_secs(1);
    let before = scene.world.events();
    let body = long_body(bytes);
    let asked: Vec<_> = (0..messages).map(|_| scene.ask(asker, peer, query(ECHO, &body))).collect();
    scene.run(Duration::from_secs(10));
    assert!(asked.into_iter().all(|asked| scene.reply(asker, asked) == body));
    scene.world.events() - before
}

#[test]
fn a_small_query_and_its_reply_are_written_once_and_read_once() {
    // The reply is acknowledged by itself, since nothing follows with which that could go: it falls due, is written, and is read.
    assert!(events_of(1, 8) <= 6 + 3, "{}", events_of(1, 8));
}

#[test]
fn a_million_bytes_there_and_back_go_sixty_four_kibibytes_at_a_time() {
    let calls = 2 * 2 * (1_000_000 / (64 * 1024) + 1);
    assert!(events_of(1, 1_000_000) <= calls + 6 + 3, "{}", events_of(1, 1_000_000));
}

#[test]
fn a_thousand_small_queries_asked_one_by_one_share_what_is_read_and_all_replies_share_what_is_written() {
    assert!(events_of(1000, 8) <= 1000 + 1010 + 6, "{}", events_of(1000, 8));
}

#[test]
fn a_throttled_reader_reads_as_much_at_a_time_as_is_worth_a_call() {
    let rate = Rate::bytes_per_second(4_000);
    let by_node = Throttle { down: rate, ..Throttle::default() };
    let by_connection = Throttle { down_per_connection: rate, ..Throttle::default() };
    for throttle in [by_node, by_connection] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        scene.world.with(peer, |node, now| node.set_throttle(now, throttle));
        let before = scene.world.events();
        let asked = scene.ask(asker, peer, query(ECHO, &long_body(100_000)));
        scene.run(Duration::from_secs(40));
        assert_eq!(scene.reply(asker, asked).len(), 100_000);
        let events = scene.world.events() - before;
        // It waits until 256 bytes may pass: a timer that goes off, a read, and now and then something said. Over a slow path a piece has
        // 1,024 bytes; the word that it has arrived is written and read.
        assert!(events <= 3 * (100_000 / 256) + 2 * (100_000 / 1_024), "{throttle:?}: {events}");
    }
}

#[test]
fn what_is_delivered_calls_for_nothing_on_connections() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"connects"));
    scene.run(Duration::from_secs(1));
    scene.world.with(asker, |node, now| {
        let me = node.id();
        for _ in 0..10 {
            assert!(node.query(now, me, query(ECHO, b"?")).is_ok());
        }
        while let Some(action) = node.poll() {
            assert!(matches!(action, Action::Deliver(_)), "{action:?}");
        }
    });
}
