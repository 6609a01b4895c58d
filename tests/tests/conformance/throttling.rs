//! Transfers that are throttled, at either end, by either kind of limit.

use std::time::Duration;

use egtp::{Config, Rate, Reason, Throttle};
use egtp_tests::scene::{ECHO, EMPTY, long_body, query};

use crate::drivers::Kind;
use crate::host::{Host, own_address};
use crate::{PROMPT, failure, on_every_pair, reply};

const BODY: usize = 200_000;

/// A quarter of a second's worth may pass at once, and the rest takes its time.
const LEAST: Duration = Duration::from_millis(750);

#[test]
fn a_throttled_transfer_pauses_resumes_and_arrives_no_sooner_than_it_may() {
    let rate = Rate::bytes_per_second(BODY.try_into().unwrap());
    let up =
        [Throttle { up: rate, ..Throttle::default() }, Throttle { up_per_connection: rate, ..Throttle::default() }];
    let down =
        [Throttle { down: rate, ..Throttle::default() }, Throttle { down_per_connection: rate, ..Throttle::default() }];
    on_every_pair(|kinds| {
        for throttle in up {
            takes_its_time(kinds, throttle, Throttle::default());
        }
        for throttle in down {
            takes_its_time(kinds, Throttle::default(), throttle);
        }
    });
}

fn takes_its_time(kinds: [Kind; 2], asker: Throttle, answerer: Throttle) {
    let throttled = |throttle| Config { throttle, ..Config::default() };
    let asker = Host::start(kinds[0], 1, throttled(asker), vec![]);
    let answerer = Host::start(kinds[1], 2, throttled(answerer), vec![own_address()]);
    asker.learn(2, answerer.address());
    let body = long_body(BODY);
    let (elapsed, verdict) = asker.timed_verdict(answerer.id(), query(EMPTY, &body));
    assert_eq!(reply(verdict), b"");
    assert!(elapsed >= LEAST, "{elapsed:?}");
    assert_eq!(answerer.kill().runs(&body), 1);
}

#[test]
fn a_transfer_that_has_come_to_a_halt_goes_on_when_the_throttle_is_opened() {
    let slowest = Some(Rate::MIN);
    let shut = [Throttle { up: slowest, ..Throttle::default() }, Throttle { down: slowest, ..Throttle::default() }];
    on_every_pair(|kinds| {
        for shut in shut {
            let (asker, answerer) = Host::two(kinds);
            let to = answerer.id();
            assert_eq!(reply(asker.timed_verdict(to, query(ECHO, b"open")).1), b"open");
            let body = long_body(BODY);
            let (halted_at, halted) = asker.with({
                let query = query(ECHO, &body);
                move |node, now| {
                    node.set_throttle(now, shut);
                    (now, node.query(now, to, query).unwrap())
                }
            });
            // At this rate even a short one takes longer than it may.
            let short = query(ECHO, &[0; 3000]).hard_timeout(Duration::from_millis(300));
            assert_eq!(failure(asker.timed_verdict(to, short).1).0, Reason::HardTimeout);
            assert_eq!(asker.with(|node, _| node.usage().queries), 1);
            asker.with(|node, now| node.set_throttle(now, Throttle::default()));
            let (arrived_at, verdict) = asker.verdict_and_time(halted);
            assert!(reply(verdict) == body, "the answer differs from the question");
            let elapsed = arrived_at.saturating_since(halted_at);
            assert!(elapsed < PROMPT, "{elapsed:?}");
        }
    });
}
