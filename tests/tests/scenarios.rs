//! Conversations: every query ends in one verdict, by its time, and the verdict is true.

use std::time::Duration;

use egtp::{Cause, Executed, MAX_BODY, PeerRefusal, Query, Reason, Refusal, Stage, Verdict, Via};
use egtp_sim::{Choice, Network, NodeIndex};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, NO, Scene, long_body, query, type_name};
use egtp_tests::settings::acquainted;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn fails(scene: &Scene, node: NodeIndex, asked: egtp::QueryId, reason: Reason, executed: Executed, stage: Stage) {
    let failure = scene.failure(node, asked);
    assert_eq!((failure.reason, failure.executed, failure.stage), (reason, executed, stage));
}

#[test]
fn a_handler_may_answer_now_later_never_or_say_no() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let now = scene.ask(asker, peer, query(ECHO, b"now"));
    let later = scene.ask(asker, peer, query(KEEP, b"later"));
    let never = scene.ask(asker, peer, query(NEVER, b"never"));
    let no = scene.ask(asker, peer, query(NO, b"no"));
    scene.run_secs(30);
    assert!(!scene.has_ended(asker, later) && !scene.has_ended(asker, never));
    scene.answer_kept();
    scene.run_secs(60);
    assert_eq!(scene.reply(asker, now), b"now");
    assert_eq!(scene.reply(asker, later), b"later");
    fails(&scene, asker, never, Reason::HardTimeout, Executed::Maybe, Stage::Peer);
    fails(&scene, asker, no, Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe, Stage::Peer);
}

#[test]
fn an_empty_body_is_a_query_and_a_reply_like_any_other() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(EMPTY, b""));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"");
    assert_eq!(scene.runs(b""), 1);
}

#[test]
fn an_unknown_type_gets_an_explicit_no_at_once() {
    let (mut scene, asker, peer) = acquainted(1);
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query("unknown", b"?"));
    scene.run_secs(1);
    let (at, _) = scene.verdict(asker, asked);
    assert_eq!(at, began + 20 * MILLISECOND);
    fails(&scene, asker, asked, Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::No, Stage::Peer);
    assert_eq!(scene.runs(b"?"), 0);
}

#[test]
fn a_node_answers_itself_as_it_answers_others() {
    let mut scene = Scene::new(1);
    let node = scene.add_node();
    let echo = scene.ask(node, node, query(ECHO, b"me"));
    let later = scene.ask(node, node, query(KEEP, b"later"));
    let no = scene.ask(node, node, query(NO, b"no"));
    let unknown = scene.ask(node, node, query("unknown", b"?"));
    let never = scene.ask(node, node, query(NEVER, b"never").soft_timeout(SECOND));
    let cancelled = scene.ask(node, node, query(NEVER, b"cancelled"));
    scene.run_secs(5);
    scene.answer_kept();
    scene.world.with(node, |node, now| node.cancel(now, cancelled)).unwrap();
    scene.run_secs(60);
    let Verdict::Reply(reply) = scene.verdict(node, echo).1 else { panic!("no answer from myself") };
    assert_eq!((reply.body.as_slice(), reply.via), (&b"me"[..], Via::Myself));
    assert_eq!(scene.reply(node, later), b"later");
    assert_eq!(scene.failure(node, no).reason, Reason::RefusedByPeer(PeerRefusal::Declined));
    assert_eq!(scene.failure(node, unknown).reason, Reason::RefusedByPeer(PeerRefusal::UnknownType));
    assert_eq!(scene.failure(node, unknown).executed, Executed::No);
    fails(&scene, node, never, Reason::HardTimeout, Executed::Maybe, Stage::Peer);
    fails(&scene, node, cancelled, Reason::Cancelled, Executed::Maybe, Stage::Peer);
    assert_eq!(scene.told.withdrawn.len(), 2);
    assert!(scene.world.connects().is_empty() && scene.world.lookups().is_empty());
    assert_eq!((scene.world.node(node).usage().incoming, scene.world.node(node).usage().timers), (0, 0));
}

#[test]
fn after_the_soft_timeout_a_reply_is_delivered_as_if_in_time() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let began = scene.world.now();
    let asked = scene.ask(asker, peer, query(KEEP, b"slow").soft_timeout(2 * SECOND));
    scene.run_secs(30);
    assert_eq!(scene.told.soft_timeouts, [(began + 2 * SECOND, asker, asked)]);
    assert!(!scene.has_ended(asker, asked));
    scene.answer_kept();
    scene.run_secs(60);
    assert_eq!(scene.reply(asker, asked), b"slow");
    assert_eq!(scene.told.soft_timeouts.len(), 1);
}

#[test]
fn a_reply_in_time_leaves_no_soft_timeout_behind() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"fast").soft_timeout(2 * SECOND));
    scene.run_secs(60);
    assert!(scene.told.soft_timeouts.is_empty());
}

#[test]
fn soft_and_hard_timeouts_are_exact_to_the_microsecond_while_the_peer_stands_still() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.world.set_frozen(peer, true);
    let (soft, hard) = (Duration::from_micros(1_234_567), Duration::from_micros(3_456_789));
    let began = scene.world.now();
    let asked =
        scene.ask(asker, peer, Query::new(type_name(ECHO), b"hello?".to_vec()).soft_timeout(soft).hard_timeout(hard));
    scene.run_secs(10);
    assert_eq!(scene.told.soft_timeouts, [(began + soft, asker, asked)]);
    assert_eq!(scene.verdict(asker, asked).0, began + hard);
    fails(&scene, asker, asked, Reason::HardTimeout, Executed::Maybe, Stage::Wire);
    scene.world.set_frozen(peer, false);
    scene.run_secs(10);
    assert_eq!(scene.told.verdicts.len(), 2, "the late reply makes no second verdict");
}

#[test]
fn a_reply_after_the_hard_timeout_is_dropped_and_counted() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"late").hard_timeout(SECOND));
    // The answer leaves five milliseconds before the end, and takes ten.
    scene.run(Duration::from_millis(995));
    scene.answer_kept();
    scene.run_secs(60);
    fails(&scene, asker, asked, Reason::HardTimeout, Executed::Maybe, Stage::Peer);
    assert_eq!(scene.world.node(asker).count(Cause::ReplyUnexpected), 1);
    assert_eq!(scene.world.node(asker).usage().query_bytes, 0);
}

#[test]
fn the_hard_timeout_frees_what_has_come_of_a_long_answer() {
    let (mut scene, asker, peer) = acquainted(1);
    let asked = scene.ask(asker, peer, query(ECHO, &long_body(MAX_BODY)).hard_timeout(SECOND));
    scene.run(Duration::from_micros(999_999));
    let usage = scene.world.node(asker).usage();
    assert!(usage.assembly_bytes > 100_000, "{usage:?}");
    scene.run_secs(1);
    assert_eq!(scene.failure(asker, asked).reason, Reason::HardTimeout);
    let usage = scene.world.node(asker).usage();
    assert_eq!((usage.query_bytes, usage.assembly_bytes), (0, 0));
}

#[test]
fn when_the_asker_stops_waiting_the_handler_is_told_and_its_answer_is_refused() {
    let (mut scene, asker, peer) = acquainted(1);
    scene.ask(asker, peer, query(KEEP, b"late").hard_timeout(SECOND));
    scene.run_secs(5);
    let (_, token, body) = scene.told.kept.pop().unwrap();
    assert_eq!(scene.told.withdrawn, [(peer, token.incoming())]);
    let unsent = scene.world.with(peer, |node, now| node.reply(now, token, body)).unwrap_err();
    assert_eq!((unsent.why, unsent.body.as_slice()), (Refusal::Ended, &b"late"[..]));
    assert_eq!(scene.world.node(peer).usage().incoming, 0);
}

#[test]
fn a_query_cancelled_before_it_left_surely_did_not_run() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"never mind"));
    scene.run(MILLISECOND);
    scene.world.with(asker, |node, now| node.cancel(now, asked)).unwrap();
    scene.run_secs(60);
    fails(&scene, asker, asked, Reason::Cancelled, Executed::No, Stage::Dial);
    assert_eq!(scene.runs(b"never mind"), 0);
    assert_eq!(scene.world.with(asker, |node, now| node.cancel(now, asked)), Err(Refusal::Ended));
}

#[test]
fn a_query_that_ends_while_its_last_bytes_wait_to_be_written_does_not_claim_that_it_will_not_run() {
    for cancels in [true, false] {
        let mut scene = Scene::on(1, Network { buffer: 64, ..Network::default() });
        let (asker, peer) = (scene.add_node(), scene.add_node());
        scene.ask(asker, peer, query(EMPTY, b"hello"));
        scene.run_secs(5);
        scene.world.set_frozen(peer, true);
        let hard = if cancels { 60 * SECOND } else { SECOND };
        let asked = scene.ask(asker, peer, query(ECHO, b"too late?").hard_timeout(hard));
        scene.run_secs(1);
        if cancels {
            scene.world.with(asker, |node, now| node.cancel(now, asked)).unwrap();
        }
        scene.world.set_frozen(peer, false);
        scene.run_secs(60);
        let failure = scene.failure(asker, asked);
        let surely_not = failure.executed == Executed::No;
        assert!(!surely_not || scene.runs(b"too late?") == 0, "it ran, in spite of {failure:?}");
    }
}

#[test]
fn a_query_cancelled_after_it_left_may_have_run_and_its_handler_is_told() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(KEEP, b"never mind"));
    scene.run_secs(1);
    scene.world.with(asker, |node, now| node.cancel(now, asked)).unwrap();
    scene.run_secs(1);
    fails(&scene, asker, asked, Reason::Cancelled, Executed::Maybe, Stage::Peer);
    assert_eq!(scene.told.withdrawn.len(), 1);
}

#[test]
fn the_largest_body_goes_and_comes_back_and_one_byte_more_is_refused_before_anything_is_sent() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let longer = long_body(MAX_BODY + 1);
    assert_eq!(scene.world.query(asker, peer, query(ECHO, &longer)), Err(Refusal::BodyTooLong));
    scene.run_secs(1);
    assert!(scene.world.connects().is_empty() && scene.world.lookups().is_empty());

    let asked = scene.ask(asker, peer, query(ECHO, &longer[..MAX_BODY]));
    let kept = scene.ask(asker, peer, query(KEEP, b"a long answer"));
    scene.run_secs(30);
    assert!(scene.reply(asker, asked) == &longer[..MAX_BODY]);

    let (_, token, _) = scene.told.kept.pop().unwrap();
    let unsent = scene.world.with(peer, |node, now| node.reply(now, token, longer)).unwrap_err();
    assert_eq!(unsent.why, Refusal::BodyTooLong);
    let shorter = unsent.body[..MAX_BODY].to_vec();
    scene.world.with(peer, |node, now| node.reply(now, unsent.token, shorter)).unwrap();
    scene.run_secs(30);
    assert_eq!(scene.reply(asker, kept).len(), MAX_BODY);
}

#[test]
fn a_first_query_of_any_length_gets_through() {
    for length in [1, 1000, 4000, 4096, 5000, 16_384, 20_000, 70_000] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let body = long_body(length);
        let asked = scene.ask(asker, peer, query(ECHO, &body));
        scene.run_secs(5);
        assert!(scene.reply(asker, asked) == body, "{length} bytes");
        assert_eq!(scene.world.connects().len(), 1, "{length} bytes");
    }
}

#[test]
fn a_thousand_queries_in_flight_on_one_connection_answered_in_random_order_are_all_matched() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let body = |number: usize| format!("query {number}").into_bytes();
    let asked: Vec<_> = (0..1000).map(|number| scene.ask(asker, peer, query(KEEP, &body(number)))).collect();
    scene.run_secs(5);
    assert_eq!(scene.told.kept.len(), 1000);
    let mut choice = Choice::from_seed(9);
    for last in (1..1000).rev() {
        let other = usize::try_from(choice.below(last as u64 + 1)).unwrap();
        scene.told.kept.swap(last, other);
    }
    scene.answer_kept();
    scene.run_secs(5);
    for (number, &asked) in asked.iter().enumerate() {
        assert_eq!(scene.reply(asker, asked), body(number));
    }
    assert_eq!(scene.world.connects().len(), 1);
}

#[test]
fn small_queries_pass_while_a_large_body_is_under_way() {
    let (mut scene, asker, peer) = acquainted(1);
    let large = scene.ask(asker, peer, query(EMPTY, &long_body(MAX_BODY)));
    scene.run(50 * MILLISECOND);
    let began = scene.world.now();
    let small = scene.ask(asker, peer, query(ECHO, b"small"));
    scene.run_secs(30);
    let (at, _) = scene.verdict(asker, small);
    let (done, _) = scene.verdict(asker, large);
    assert!(at <= began + 60 * MILLISECOND, "the small one took {:?}", at.saturating_since(began));
    assert!(done > began + 200 * MILLISECOND, "the large one was no obstacle");
    assert_eq!(scene.reply(asker, large), b"");
}

#[test]
fn a_small_answer_passes_while_a_large_one_is_under_way() {
    let (mut scene, asker, peer) = acquainted(1);
    let kept = scene.ask(asker, peer, query(KEEP, b"a long answer"));
    scene.run_secs(1);
    let (_, token, _) = scene.told.kept.pop().unwrap();
    scene.world.reply(peer, token, long_body(MAX_BODY));
    scene.run(50 * MILLISECOND);
    let began = scene.world.now();
    let small = scene.ask(asker, peer, query(ECHO, b"small"));
    scene.run_secs(30);
    let (at, _) = scene.verdict(asker, small);
    assert!(at <= began + 60 * MILLISECOND, "the small one took {:?}", at.saturating_since(began));
    assert_eq!(scene.reply(asker, kept).len(), MAX_BODY);
}

#[test]
fn bytes_that_trickle_change_nothing_but_the_time() {
    let mut scene = Scene::on(1, Network { buffer: 1, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    let asked = scene.ask(asker, peer, query(ECHO, b"byte by byte"));
    scene.run_secs(30);
    assert_eq!(scene.reply(asker, asked), b"byte by byte");
}
