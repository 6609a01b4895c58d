//! Connections: how many there are, how they end, and who may use them.

use std::thread;
use std::time::Duration;

use egtp::{Cause, Executed, Rate, Reason, Throttle};
use egtp_tests::scene::{ECHO, KEEP, NEVER, long_body, query};

use crate::host::Host;
use crate::proxy::{Manner, Proxy};
use crate::{PROMPT, failure, on_every_pair, reply};

#[test]
fn two_nodes_that_open_connections_to_each_other_at_once_answer_each_other_and_open_no_more() {
    on_every_pair(|kinds| {
        for manner in [Manner::Forward, Manner::Dribble, Manner::Delay(Duration::from_millis(5))] {
            let nodes = [Host::listening(kinds[0], 1), Host::listening(kinds[1], 2)];
            let ids = nodes.each_ref().map(Host::id);
            let ways = nodes.each_ref().map(|node| Proxy::to(node.address(), manner));
            nodes[0].learn(2, ways[1].address());
            nodes[1].learn(1, ways[0].address());
            ways.iter().for_each(Proxy::hold);
            let asked = [nodes[0].ask(ids[1], query(ECHO, b"one")), nodes[1].ask(ids[0], query(ECHO, b"other"))];
            for way in &ways {
                way.wait_for_accepted(1);
            }
            ways.iter().for_each(Proxy::release);
            assert_eq!(reply(nodes[0].verdict(asked[0])), b"one");
            assert_eq!(reply(nodes[1].verdict(asked[1])), b"other");
            for (node, to) in nodes.iter().zip([ids[1], ids[0]]) {
                assert_eq!(reply(node.timed_verdict(to, query(ECHO, b"again")).1), b"again");
                assert!(node.with(|node, _| node.usage().connections) <= 2);
            }
            for node in nodes {
                assert!(node.kill().verdicts.is_empty(), "a query has one verdict");
            }
        }
    });
}

#[test]
fn what_was_sent_before_the_peer_closed_is_read_by_a_node_that_could_not_read_then() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let body = long_body(20_000);
        let asked = asker.ask(answerer.id(), query(KEEP, &body));
        answerer.wait_for_kept(1);
        let down = Some(Rate::MIN);
        asker.with(move |node, now| node.set_throttle(now, Throttle { down, ..Throttle::default() }));
        answerer.answer_kept(vec![0]);
        // It waits no longer for the word that its answer has come.
        answerer.shut_down(Duration::from_millis(300));
        let usage = asker.with(|node, _| node.usage());
        assert_eq!((usage.queries, usage.connections), (1, 1));
        asker.with(|node, now| node.set_throttle(now, Throttle::default()));
        assert!(reply(asker.verdict(asked)) == body, "the answer differs from the question");
        asker.wait_for_connections(0);
    });
}

#[test]
fn queries_posted_from_several_threads_get_their_own_answers() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let (asker, to) = (&asker, answerer.id());
        thread::scope(|scope| {
            for poster in 0..4 {
                scope.spawn(move || {
                    for index in 0..50 {
                        let body = format!("{index} of {poster}").into_bytes();
                        assert_eq!(reply(asker.timed_verdict(to, query(ECHO, &body)).1), body);
                    }
                });
            }
        });
        assert_eq!(asker.with(|node, _| node.usage().connections), 1);
    });
}

#[test]
fn a_node_that_is_killed_starts_again_on_its_port_at_once_again_and_again() {
    on_every_pair(|kinds| {
        let (asker, mut answerer) = Host::two(kinds);
        let (to, address) = (answerer.id(), answerer.address());
        for _ in 0..5 {
            assert_eq!(reply(asker.timed_verdict(to, query(ECHO, b"there")).1), b"there");
            answerer.kill();
            answerer = Host::listening_at(kinds[1], 2, address);
            asker.wait_for_connections(0);
        }
    });
}

#[test]
fn a_node_that_shuts_down_answers_what_is_outstanding_and_runs_nothing_new() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let to = answerer.id();
        let outstanding = asker.ask(to, query(KEEP, b"outstanding"));
        answerer.wait_for_kept(1);
        answerer.with(|node, now| node.shut_down(now, Duration::from_secs(60)));
        let refused = asker.ask(to, query(ECHO, b"new"));
        answerer.wait_for(|node, _| (node.count(Cause::QueryRefused) > 0).then_some(()));
        answerer.answer_kept(vec![0]);
        assert_eq!(reply(asker.verdict(outstanding)), b"outstanding");
        assert_eq!(answerer.join().runs(b"new"), 0);
        assert_eq!(failure(asker.verdict(refused)), (Reason::Unreachable, Executed::No));
        asker.wait_for_connections(0);
    });
}

#[test]
fn what_is_still_outstanding_when_a_shutdown_has_had_its_time_is_failed_on_both_sides() {
    on_every_pair(|kinds| {
        let nodes = [Host::listening(kinds[0], 1), Host::listening(kinds[1], 2)];
        nodes[0].learn(2, nodes[1].address());
        let ids = nodes.each_ref().map(Host::id);
        let theirs = nodes[0].ask(ids[1], query(KEEP, b"from the one"));
        nodes[1].wait_for_kept(1);
        let own = nodes[1].ask(ids[0], query(NEVER, b"from the other"));
        nodes[0].wait_for(|_, told| (told.asked.len() == 1).then_some(()));
        let [one, other] = nodes;
        let within = Duration::from_millis(200);
        let begun_at = one.with(|_, now| now);
        let told = other.shut_down(within);
        let verdicts: Vec<_> = told.verdicts.into_iter().map(|(_, query, verdict)| (query, failure(verdict))).collect();
        assert_eq!(verdicts, [(own, (Reason::Cancelled, Executed::Maybe))]);
        let (told_at, verdict) = one.verdict_and_time(theirs);
        assert_eq!(failure(verdict), (Reason::LostByPeer, Executed::Maybe));
        let elapsed = told_at.saturating_since(begun_at);
        assert!(elapsed >= within && elapsed < within + PROMPT, "{elapsed:?}");
    });
}
