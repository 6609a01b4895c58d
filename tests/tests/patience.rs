//! What a peer cannot make a node do by saying no, or nothing, for ever (section 3 of `core/SECURITY.md`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use core::time::Duration;

use egtp::{Cause, Executed, PeerRefusal, Reason};

use egtp_sim::second::frame::Frame;
use egtp_sim::second::message;
use egtp_sim::second::packet::Packet;
use talk::{Real, Second, UNTIL, echo};

const STEP: Duration = Duration::from_millis(50);

/// So often a query may be attempted within its 30 s, whatever the peer says.
const MOST_ATTEMPTS: usize = 20;

#[test]
fn whoever_always_says_that_it_is_busy_is_asked_twenty_times_in_thirty_seconds_at_most() {
    // Too many from you, too many in all, no memory: with and without a wait, and the query that was never cancelled.
    for (code, wait) in [(2, 0), (3, 0), (4, 0), (3, 1), (9, 0)] {
        let mut real = Real::new();
        let (mut second, asked) = Second::is_asked(&mut real, b"?");
        let mut attempts = 0;
        while real.deliveries.is_empty() {
            for frame in second.hear(&mut real) {
                if let Frame::Query { number, .. } = frame {
                    attempts += 1;
                    second.say(&mut real, &[Frame::Refuse { number, code, wait }]);
                }
            }
            second.acknowledge(&mut real);
            real.wait(STEP);
        }
        let (query, verdict) = real.verdict();
        assert_eq!(query, asked);
        assert!((5..=MOST_ATTEMPTS).contains(&attempts), "code {code}: {attempts} attempts, {verdict:?}");
    }
}

#[test]
fn whoever_always_ends_the_session_and_has_taken_nothing_is_asked_twenty_times_in_thirty_seconds_at_most() {
    let mut real = Real::new();
    let (mut second, asked) = Second::is_asked(&mut real, b"?");
    let (mut attempts, mut handshakes) = (0, 1);
    while real.deliveries.is_empty() {
        let packets = real.packets(second.on);
        for packet in packets {
            match packet {
                Packet::Sealed { packet, .. } => {
                    let Ok((_, frames)) = second.session.hear(&packet) else { continue };
                    if frames.iter().any(|frame| matches!(frame, Frame::Query { .. })) {
                        attempts += 1;
                        second.say(&mut real, &[Frame::Break { code: 1, base: 0, bitmap: [0; 128] }]);
                    }
                }
                hello @ Packet::Hello { .. } => {
                    handshakes += 1;
                    let on = second.on;
                    second = Second::answers(&mut real, on, &hello, handshakes, handshakes.into(), 0).0;
                }
                other => panic!("{other:?}"),
            }
        }
        real.wait(STEP);
    }
    let failure = {
        let (query, verdict) = real.verdict();
        assert_eq!(query, asked);
        let egtp::Verdict::Failed(failure) = verdict else { panic!("{verdict:?}") };
        failure
    };
    assert_eq!((failure.reason, failure.executed), (Reason::HardTimeout, Executed::No));
    assert!((5..=MOST_ATTEMPTS).contains(&attempts), "{attempts} attempts");
    assert!(usize::from(handshakes) <= MOST_ATTEMPTS, "{handshakes} handshakes");
}

#[test]
fn whoever_asks_and_acknowledges_no_answer_is_refused_before_its_answers_take_much() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let mut answered = 0;
    for number in 0..10_000_u64 {
        let body = number.to_be_bytes();
        let query = second.query(&real, u8::try_from(number % 251).unwrap(), &body);
        second.say(&mut real, &[Frame::Query { number, flags: 0, until: UNTIL, total: length(&query), part: query }]);
        if real.deliveries.is_empty() {
            break;
        }
        echo(&mut real);
        answered += 1;
        // It is heard and not acknowledged.
        second.hear(&mut real);
    }
    // Twice as many as may wait for a handler, and 4,096.
    assert_eq!(answered, 2 * 1_024 + 4_096);
    assert!(real.node.usage().reply_bytes < answered * 200);
    assert_eq!(real.node.count(Cause::QueryRefused), 1);
    assert_eq!(real.node.usage().connections, 1, "that is no breach");
}

#[test]
fn more_refusals_than_an_honest_peer_leaves_unacknowledged_end_the_session() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let mut number = 0;
    while !real.closed.contains(&second.on) {
        assert!(number < 6_000, "refusals are remembered without end");
        let query = second.message(message::QUERY, [9; 20], 1, [0; 20], b"for somebody else");
        second.say(&mut real, &[Frame::Query { number, flags: 0, until: UNTIL, total: length(&query), part: query }]);
        number += 1;
        let on = second.on;
        let ended = real.packets(on).into_iter().any(|packet| {
            let Packet::Sealed { packet, .. } = packet else { return false };
            let frames = second.session.hear(&packet).map(|(_, frames)| frames).unwrap_or_default();
            frames.iter().any(|frame| matches!(frame, Frame::Break { code: 4, .. }))
        });
        if ended {
            break;
        }
    }
    assert!(number > 4_096, "{number}");
    assert_eq!(real.node.usage().sessions, 0);
}

#[test]
fn a_refusal_as_busy_that_lasts_is_what_the_query_ends_with() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"?");
    while real.deliveries.is_empty() {
        for frame in second.hear(&mut real) {
            if let Frame::Query { number, .. } = frame {
                second.say(&mut real, &[Frame::Refuse { number, code: 3, wait: 10 }]);
            }
        }
        second.acknowledge(&mut real);
        real.wait(STEP);
    }
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedByPeer(PeerRefusal::Busy), Executed::No));
}

fn length(message: &[u8]) -> u32 {
    u32::try_from(message.len()).unwrap()
}
