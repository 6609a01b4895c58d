//! What the storms found, each reduced to the smallest scenario that shows it.

use std::time::Duration;

use egtp_sim::scene::{ECHO, Scene, query};

/// Storm 150: a node gave up a connection that it had opened, since nothing waited for the peer any more; but the peer had met it
/// there already, in the session that they shared, and had sent a query.
#[test]
fn a_dial_that_is_open_is_not_given_up_with_the_query_it_was_for() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"so that there is a session"));
    // The connection is closed when it has been idle for long; the session stays.
    scene.run_secs(1300);
    let given_up = scene.ask(asker, peer, query(ECHO, b"for which a connection is opened"));
    scene.run(Duration::from_millis(31));
    let asked = scene.ask(peer, asker, query(ECHO, b"over that connection"));
    scene.run(Duration::from_millis(4));
    scene.world.with(asker, |node, now| node.cancel(now, given_up).unwrap());
    scene.run_secs(59);
    assert_eq!(scene.reply(peer, asked), b"over that connection");
}
