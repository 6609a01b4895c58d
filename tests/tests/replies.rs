//! Replies: remembered until their askers have them, within what each peer and all together may have.

use std::time::Duration;

use egtp::{Limits, PeerRefusal, Reason, Verdict};
use egtp_tests::bench::{Between, Party, Side};
use egtp_tests::scene::{ECHO, KEEP, long_body, query};
use egtp_tests::settings::{limited, surrounded};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_to_which_many_replies_wait_is_read_from_all_the_same() {
    let config = limited(|limits| limits.reply_bytes_per_peer = 700_000);
    let mut between = Between::asking(Party::new(1), Party::with_config(2, config), query(ECHO, b"first"));
    between.carry();
    for _ in 0..10 {
        between.ask(query(ECHO, &long_body(60_000)));
    }
    between.go_on(SECOND);
    assert_eq!(between.right.answers(between.now), 11);
    assert!(between.right.node.usage().reply_bytes > 600_000);
    assert!(between.right.node.wants_read(between.at_right) > 0);
    between.ask(query(ECHO, b"meanwhile"));
    for packet in between.written_by(Side::Left) {
        between.pass(Side::Left, &packet);
    }
    assert_eq!(between.right.answers(between.now), 1, "no node stops reading because of what it has to say");
    between.go_on(SECOND);
    assert_eq!(between.right.node.usage().reply_bytes, 0);
    assert_eq!(between.left.verdicts().len(), 12);
}

#[test]
fn a_reply_without_a_body_goes_even_if_there_is_no_memory_for_it() {
    let config = limited(|limits| limits.reply_bytes = 100);
    let mut between = Between::asking(Party::new(1), Party::with_config(2, config), query(ECHO, b"first"));
    between.carry();
    for _ in 0..10 {
        between.ask(query(ECHO, b""));
    }
    between.carry();
    assert_eq!(between.right.answers(between.now), 11);
    assert!(between.right.node.usage().reply_bytes <= 100);
    between.carry();
    let verdicts = between.left.verdicts();
    assert!(
        verdicts.len() == 11 && verdicts.iter().all(|verdict| matches!(verdict, Verdict::Reply(_))),
        "{verdicts:?}"
    );
}

#[test]
fn a_reply_that_finds_no_memory_goes_as_one_that_is_too_long() {
    let settings: [fn(&mut Limits); 2] =
        [|limits| limits.reply_bytes = 200_000, |limits| limits.reply_bytes_per_peer = 200_000];
    for set in settings {
        let mut between = Between::asking(Party::new(1), Party::with_config(2, limited(set)), query(ECHO, b"first"));
        between.carry();
        for _ in 0..10 {
            between.ask(query(ECHO, &long_body(60_000)));
        }
        between.go_on(SECOND);
        assert_eq!(between.right.answers(between.now), 11);
        assert!(between.right.node.usage().reply_bytes <= 200_000);
        between.go_on(SECOND);
        let verdicts = between.left.verdicts();
        let too_long = Reason::RefusedByPeer(PeerRefusal::ReplyTooLong);
        let refused =
            verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Failed(failure) if failure.reason == too_long));
        assert_eq!((verdicts.len(), refused.count() > 0), (11, true));
    }
}

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
