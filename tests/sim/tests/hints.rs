//! What anybody on the path can say without a key may cause a question, and never ends anything.

use std::time::Duration;

use egtp::{Config, Event};
use egtp_sim::scene::{ECHO, KEEP, Scene, query};

/// Where the id of the recipient's session and the record's counter are in a sealed packet, behind its length, version and kind.
const SESSION_AND_COUNTER: std::ops::Range<usize> = 6..22;

#[test]
fn a_session_that_somebody_says_is_lost_goes_on_and_so_does_the_one_before_it() {
    let mut config = Config::default();
    config.timers.session = Duration::from_secs(60);
    let config = config.check().unwrap();
    let mut scene = Scene::new(1);
    let (asker, peer) = (scene.add_node_with(config.clone()), scene.add_node_with(config));
    let kept = scene.ask(asker, peer, query(KEEP, b"in the first session").hard_timeout(Duration::from_secs(100)));
    scene.run_secs(62);
    assert_eq!(scene.world.node(asker).usage().sessions, 2);
    let (to, connection) = (scene.world.id(peer), scene.world.connections(asker)[0]);
    let asked = scene.world.with(asker, |node, now| {
        let asked = node.query(now, to, query(ECHO, b"in the second session")).unwrap();
        let sealed = node.to_write(connection)[SESSION_AND_COUNTER].to_vec();
        let stale = [&[0, 0, 0, 18, 2, 5], &sealed[..]].concat();
        node.handle(now, Event::Received(connection, &stale));
        asked
    });
    scene.run_secs(12);
    assert_eq!(scene.reply(asker, asked), b"in the second session");
    let mut held = |node| {
        let usage = scene.world.node(node).usage();
        usage.sessions - usage.tentative_sessions
    };
    assert_eq!([asker, peer].map(&mut held), [2, 2]);
    assert_eq!(scene.world.node(peer).usage().tentative_sessions, 1, "it was asked about");
    scene.answer_kept();
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, kept), b"in the first session");
    assert_eq!((scene.world.connects().len(), scene.world.violations()), (1, &[][..]));
}
