//! Messages in parts: put together within limits, and given up when nothing comes any more.

use std::time::Duration;

use egtp::{Cause, Executed, Limits, PeerRefusal, Reason, Refusal};
use egtp_tests::bench::{Between, Side};
use egtp_tests::scene::{ECHO, KEEP, long_body, query};
use egtp_tests::settings::{limited, surrounded};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_that_finds_no_room_for_its_pieces_is_refused_and_others_pass() {
    let limits: [fn(&mut Limits); 2] =
        [|limits| limits.assembly_bytes = 100_000, |limits| limits.assembly_bytes_per_peer = 100_000];
    for limit in limits {
        let (mut scene, node, others) = surrounded::<1>(limited(limit));
        let large = scene.ask(others[0], node, query(ECHO, &long_body(200_000)).hard_timeout(5 * SECOND));
        let fits = scene.ask(others[0], node, query(ECHO, &long_body(20_000)));
        scene.run_secs(10);
        let failure = scene.failure(others[0], large);
        let no_memory = Reason::RefusedByPeer(PeerRefusal::NoMemory);
        assert_eq!((failure.reason, failure.executed), (no_memory, Executed::No));
        assert_eq!(scene.reply(others[0], fits).len(), 20_000);

        let answer = scene.ask(node, others[0], query(KEEP, b"a long answer"));
        scene.run_secs(1);
        let (_, token, _) = scene.told.kept.pop().unwrap();
        scene.world.reply(others[0], token, long_body(200_000));
        scene.run_secs(10);
        let failure = scene.failure(node, answer);
        let no_memory = Reason::RefusedHere(Refusal::NoMemoryForReply);
        assert_eq!((failure.reason, failure.executed), (no_memory, Executed::Maybe));
        assert_eq!(scene.world.node(node).usage().assembly_bytes, 0);
    }
}

#[test]
fn pieces_that_never_complete_are_dropped_after_their_time() {
    let mut between = Between::acquainted();
    between.go_on(SECOND);
    between.ask(query(ECHO, &long_body(100_000)));
    let pieces = between.written_by(Side::Left);
    assert!(pieces.len() >= 3);
    between.pass(Side::Left, &pieces[0]);
    between.pass(Side::Left, &pieces[1]);
    assert!(between.right.node.usage().assembly_bytes > 20_000);
    for _ in 0..62 {
        between.wait(SECOND / 2);
        // The peer lives, and says so.
        for packet in between.written_by(Side::Right) {
            between.pass(Side::Right, &packet);
        }
        for packet in between.written_by(Side::Left).into_iter().filter(|packet| packet.len() < 100) {
            between.pass(Side::Left, &packet);
        }
    }
    assert_eq!(between.right.node.usage().assembly_bytes, 0);
    assert_eq!(between.right.node.count(Cause::MessageAbandoned), 1);
    assert_eq!(between.right.closed, []);
}
