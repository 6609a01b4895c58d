//! What happens at once, and what happens at its time.

use std::net::TcpListener;
use std::time::Duration;

use egtp::{Executed, MAX_BODY, Reason};
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, long_body, query};

use crate::host::{Host, id_of, own_address};
use crate::{PROMPT, failure, on_every_pair, reply};

#[test]
fn a_dead_port_is_found_at_once() {
    on_every_pair(|[kind, _]| {
        let dead = TcpListener::bind(own_address()).unwrap().local_addr().unwrap();
        let asker = Host::dialling(kind, 1);
        asker.learn(2, dead);
        let (elapsed, verdict) = asker.timed_verdict(id_of(2), query(ECHO, b"anybody there?"));
        assert_eq!(failure(verdict), (Reason::Unreachable, Executed::No));
        assert!(elapsed < PROMPT, "{elapsed:?}");
    });
}

#[test]
fn the_loss_of_a_node_that_is_killed_is_found_at_once() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let to = answerer.id();
        let lost = asker.ask(to, query(KEEP, b"lost"));
        answerer.wait_for_kept(1);
        let killed_at = asker.with(|_, now| now);
        answerer.kill();
        let (found_at, verdict) = asker.verdict_and_time(lost);
        assert_eq!(failure(verdict), (Reason::Unreachable, Executed::Maybe));
        let elapsed = found_at.saturating_since(killed_at);
        assert!(elapsed < PROMPT, "{elapsed:?}");
    });
}

#[test]
fn bytes_that_a_full_socket_held_up_go_on_as_soon_as_the_peer_reads() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let to = answerer.id();
        assert_eq!(reply(asker.timed_verdict(to, query(ECHO, b"before")).1), b"before");
        let frozen = answerer.freeze();
        let body = long_body(MAX_BODY);
        // More than the system's buffers take.
        let held_up = asker.ask_all(to, vec![query(EMPTY, &body); 3]);
        let meanwhile = query(ECHO, b"during").hard_timeout(Duration::from_millis(300));
        assert_eq!(failure(asker.timed_verdict(to, meanwhile).1).0, Reason::HardTimeout);
        let thawed_at = asker.with(|_, now| now);
        drop(frozen);
        for query in held_up {
            let (told_at, verdict) = asker.verdict_and_time(query.unwrap());
            assert_eq!(reply(verdict), b"");
            let elapsed = told_at.saturating_since(thawed_at);
            assert!(elapsed < PROMPT, "{elapsed:?}");
        }
    });
}

#[test]
fn both_timeouts_come_at_their_times() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let (soft, hard) = (Duration::from_millis(200), Duration::from_millis(400));
        let never = query(NEVER, b"never").soft_timeout(soft).hard_timeout(hard);
        let (asked_at, to) = (asker.with(|_, now| now), answerer.id());
        let (elapsed, verdict) = asker.timed_verdict(to, never);
        assert_eq!(failure(verdict), (Reason::HardTimeout, Executed::Maybe));
        assert!(elapsed >= hard && elapsed < hard + PROMPT, "{elapsed:?}");
        let told_at = asker.wait_for(|_, told| told.soft_timeouts.pop()).0;
        let elapsed = told_at.saturating_since(asked_at);
        assert!(elapsed >= soft && elapsed < soft + PROMPT, "{elapsed:?}");
    });
}

#[test]
fn a_node_that_stands_still_costs_its_asker_a_hard_timeout_and_its_late_answer_changes_nothing() {
    on_every_pair(|kinds| {
        let (asker, answerer) = Host::two(kinds);
        let to = answerer.id();
        assert_eq!(reply(asker.timed_verdict(to, query(ECHO, b"before")).1), b"before");
        let frozen = answerer.freeze();
        let hard = Duration::from_millis(300);
        let (elapsed, verdict) = asker.timed_verdict(to, query(ECHO, b"during").hard_timeout(hard));
        assert_eq!(failure(verdict).0, Reason::HardTimeout);
        assert!(elapsed >= hard && elapsed < hard + PROMPT, "{elapsed:?}");
        drop(frozen);
        assert_eq!(reply(asker.timed_verdict(to, query(ECHO, b"after")).1), b"after");
        assert!(asker.kill().verdicts.is_empty(), "a query has one verdict");
    });
}
