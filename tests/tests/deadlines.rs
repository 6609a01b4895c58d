//! Deadlines, and clocks that go apart.

use std::time::Duration;

use egtp_tests::scene::{ECHO, Scene, long_body, query};

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
