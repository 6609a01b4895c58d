//! Streams cut and broken anywhere.

use std::time::Duration;

use egtp_sim::{Chunks, Network};
use egtp_tests::scene::{ECHO, EMPTY, NO, Scene, long_body, query};

const ALL_CHUNKS: [Chunks; 4] = [Chunks::Single, Chunks::Tiny, Chunks::Any, Chunks::Whole];

#[test]
fn however_a_stream_is_cut_the_conversation_is_the_same() {
    let conversations = ALL_CHUNKS.map(|chunks| conversation(7, chunks).0);
    for conversation in &conversations {
        assert_eq!(conversation, &conversations[3]);
        assert_eq!(conversation.len(), 6);
    }
}

#[test]
fn one_seed_gives_the_same_bytes_every_time_and_another_gives_others() {
    for chunks in ALL_CHUNKS {
        let (told, digest) = conversation(7, chunks);
        assert_eq!((told, digest), conversation(7, chunks));
        assert_ne!(digest, conversation(8, chunks).1);
    }
}

/// A few queries both ways. What came of them in the order in which they were asked, and the digest of the world.
fn conversation(seed: u64, chunks: Chunks) -> (Vec<String>, [u8; 20]) {
    let jitter = Duration::from_millis(3);
    let mut scene = Scene::on(seed, Network { chunks, jitter, buffer: 3000, ..Network::default() });
    let (one, other) = (scene.add_node(), scene.add_node());
    let queries = [
        (one, other, query(ECHO, b"hello")),
        (one, other, query(ECHO, &long_body(50_000))),
        (other, one, query(ECHO, &long_body(20_000))),
        (other, one, query(EMPTY, b"nothing, please")),
        (one, other, query(NO, b"may I?")),
        (one, other, query("unknown", b"who knows?")),
    ];
    let asked = queries.map(|(from, to, query)| (from, scene.ask(from, to, query)));
    scene.run_secs(60);
    let told = asked.iter().map(|&(node, query)| format!("{:?}", scene.verdict(node, query).1)).collect();
    (told, scene.world.digest())
}

#[test]
fn a_connection_that_breaks_after_any_byte_costs_no_query_its_reply() {
    for bytes in 1..700 {
        let (mut scene, asker, echo) = Scene::of_two(3);
        scene.world.break_next_connection_after(Some(bytes));
        let asked = scene.ask(asker, echo, query(ECHO, b"hello"));
        scene.run_secs(20);
        assert_eq!(scene.reply(asker, asked), b"hello", "broken after {bytes}");
        assert_eq!(scene.runs(b"hello"), 1, "broken after {bytes}");
        scene.world.cut(asker, echo);
        scene.run_secs(1);
        let again = scene.ask(asker, echo, query(ECHO, b"again"));
        scene.run_secs(20);
        assert_eq!(scene.reply(asker, again), b"again", "broken after {bytes}");
    }
}

#[test]
fn a_connection_that_breaks_while_openings_cross_costs_no_query_its_reply() {
    for seed in 0..6 {
        for bytes in (1..1000).step_by(13) {
            let (mut scene, one, other) = Scene::of_two(seed);
            scene.world.break_next_connection_after(Some(bytes));
            let asked =
                [(one, other), (other, one)].map(|(from, to)| (from, scene.ask(from, to, query(ECHO, b"hello"))));
            scene.run_secs(20);
            for (node, query) in asked {
                assert_eq!(scene.reply(node, query), b"hello", "seed {seed}, broken after {bytes}");
            }
            assert_eq!(scene.runs(b"hello"), 2, "seed {seed}, broken after {bytes}");
        }
    }
}

#[test]
fn a_long_message_whose_connection_breaks_anywhere_arrives_once_and_leaves_no_piece_behind() {
    let body = long_body(40_000);
    for bytes in (400..41_500).step_by(997) {
        let (mut scene, asker, echo) = Scene::of_two(4);
        scene.world.break_next_connection_after(Some(bytes));
        let asked = scene.ask(asker, echo, query(ECHO, &body));
        scene.run_secs(20);
        assert!(scene.reply(asker, asked) == body, "broken after {bytes}");
        assert_eq!(scene.runs(&body), 1, "broken after {bytes}");
        for node in [asker, echo] {
            let usage = scene.world.node(node).usage();
            let kept = (usage.queries, usage.incoming, usage.assembly_bytes, usage.reply_bytes);
            assert_eq!(kept, (0, 0, 0, 0), "broken after {bytes}");
        }
    }
}
