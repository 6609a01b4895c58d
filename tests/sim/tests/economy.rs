//! What a calm conversation costs: how often nodes are told something, each of which is a call of the driver's.

use std::time::Duration;

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
    // And both nodes look once more, whether anything is left to be acknowledged.
    assert!(events_of(1, 8) <= 6, "{}", events_of(1, 8));
}

#[test]
fn a_million_bytes_there_and_back_go_sixty_four_kibibytes_at_a_time() {
    let calls = 2 * 2 * (1_000_000 / (64 * 1024) + 1);
    assert!(events_of(1, 1_000_000) <= calls + 6, "{}", events_of(1, 1_000_000));
}

#[test]
fn a_thousand_small_queries_asked_one_by_one_share_what_is_read_and_all_replies_share_what_is_written() {
    assert!(events_of(1000, 8) <= 1000 + 1010, "{}", events_of(1000, 8));
}
