//! Deadlines, and clocks that go apart.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use std::time::Duration;

use egtp::{Executed, PeerRefusal, Reason};
use egtp_sim::second::frame::Frame;
use egtp_tests::scene::{ECHO, Scene, long_body, query};
use talk::{Real, Second};

/// A code of REFUSE.
const TOO_LATE: u8 = 8;

/// A clock jumps ahead by more than a query's hard timeout, as the asker's does the other way when its machine was suspended.
#[test]
fn a_query_that_is_called_late_too_early_goes_again_where_clocks_agree() {
    for asker_has_dialled in [true, false] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let (dialler, other) = if asker_has_dialled { (asker, peer) } else { (peer, asker) };
        scene.ask(dialler, other, query(ECHO, b"so that there is a session"));
        scene.run_secs(1);
        scene.world.step_clock(peer, Duration::from_secs(61));
        let asked = [0, 1].map(|body| scene.ask(asker, peer, query(ECHO, &[body])));
        let long = scene.ask(asker, peer, query(ECHO, &long_body(100_000)));
        scene.run_secs(5);
        for (query, body) in asked.into_iter().zip(0..) {
            assert_eq!((scene.reply(asker, query), scene.runs(&[body])), (&[body][..], 1));
        }
        assert_eq!(scene.runs(scene.reply(asker, long)), 1);
    }
}

#[test]
fn a_query_that_is_called_late_goes_again_once() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"in time");
    let (number, asked) = second.hears_query(&mut real);
    second.say(&mut real, &[second.session.ack().unwrap(), Frame::Refuse { number, code: TOO_LATE, wait: 0 }]);
    assert!(real.deliveries.is_empty(), "{:?}", real.deliveries);

    // The peer still holds the session, but another one is made, a second after the first at the earliest.
    real.wait(Duration::from_secs(1));
    let (mut second, _) = Second::welcomes(&mut real, second.on, 1, 2, 1);
    let again = second.hear(&mut real).into_iter().find_map(|frame| match frame {
        Frame::Query { number, part, .. } => Some((number, part)),
        _ => None,
    });
    assert_eq!(again, Some((0, asked)));
    second.say(&mut real, &[Frame::Refuse { number: 0, code: TOO_LATE, wait: 0 }]);
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::RefusedByPeer(PeerRefusal::TooLate), Executed::No));
}
