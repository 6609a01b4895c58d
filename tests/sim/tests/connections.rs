//! How long a connection is kept, by what is said of a query.

use egtp::Hint;
use egtp_sim::scene::{ECHO, KEEP, Scene, query};

#[test]
fn after_the_last_query_for_now_a_connection_is_closed_at_once() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    let asked = scene.ask(asker, peer, query(ECHO, b"that is all").hint(Hint::NoMore));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"that is all");
    assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [0, 0]);
}

#[test]
fn but_not_while_either_end_waits_for_an_answer() {
    for asker_waits in [true, false] {
        let (mut scene, asker, peer) = Scene::of_two(1);
        let (from, to) = if asker_waits { (asker, peer) } else { (peer, asker) };
        let kept = scene.ask(from, to, query(KEEP, b"take your time"));
        scene.run_secs(1);
        let asked = scene.ask(asker, peer, query(ECHO, b"that is all").hint(Hint::NoMore));
        scene.run_secs(1);
        assert_eq!(scene.reply(asker, asked), b"that is all");
        assert_eq!([asker, peer].map(|node| scene.world.node(node).usage().connections), [1, 1]);
        scene.answer_kept();
        scene.run_secs(1);
        assert_eq!(scene.reply(from, kept), b"take your time");
        assert_eq!(scene.world.connects().len(), 1);
    }
}
