//! What must change nothing changes nothing, and what must never be is found.

use std::collections::BTreeSet;
use std::time::Duration;

use egtp::internal::digest;
use egtp::{Action, Config, Identity, Instant, Node, NodeId, QueryId, Rate, SignedRecord, Strategies, Verdict};
use egtp_sim::scene::{ECHO, NEVER, Scene, long_body, query, type_name};
use egtp_sim::{Chunks, Network, NodeIndex, World};

/// Three nodes, one of them throttled, that have a lot to say to each other.
fn busy(network: Network, prepare: impl Fn(&mut World), cuts: bool) -> (Scene, Vec<(NodeIndex, QueryId)>) {
    let mut scene = Scene::on(3, network);
    let mut config = Config::default();
    config.throttle.up = Rate::bytes_per_second(20_000);
    let throttled = scene.add_node_with(config.check().expect("the rate is in range"));
    let nodes = [throttled, scene.add_node(), scene.add_node()];
    prepare(&mut scene.world);
    let mut asked = Vec::new();
    for round in 0..20 {
        for (number, &from) in nodes.iter().enumerate() {
            let to = nodes[(number + 1 + round % 3) % 3];
            let impatient = query(NEVER, b"never").hard_timeout(Duration::from_millis(700));
            for query in [query(ECHO, &long_body(300 * round)), impatient] {
                asked.push((from, scene.ask(from, to, query)));
            }
        }
        if cuts && round % 7 == 3 {
            scene.world.cut(nodes[0], nodes[1]);
        }
        scene.run(Duration::from_millis(300));
    }
    scene.run_secs(100);
    assert_eq!(scene.world.violations(), [""; 0]);
    (scene, asked)
}

#[test]
fn ticks_that_nobody_needs_change_nothing() {
    for chunks in [Chunks::Tiny, Chunks::Any, Chunks::Whole] {
        let network = Network { chunks, jitter: Duration::from_millis(3), ..Network::default() };
        let (quiet, _) = busy(network, |_| {}, true);
        let (restless, _) = busy(network, |world| world.set_restless(true), true);
        assert!(restless.world.events() > quiet.world.events());
        assert_eq!(restless.world.digest(), quiet.world.digest());
        assert_eq!(restless.told.verdicts, quiet.told.verdicts);
    }
}

#[test]
fn commands_before_one_drain_do_the_same_as_with_a_drain_after_each() {
    let endings = |lazy: bool| {
        let (scene, asked) = busy(Network::default(), |world| world.set_lazy(lazy), false);
        let endings = asked.iter().map(|&(node, query)| match scene.verdict(node, query).1 {
            Verdict::Reply(reply) => format!("{} bytes", reply.body.len()),
            Verdict::Failed(failure) => format!("{failure:?}"),
        });
        (endings.collect::<Vec<_>>(), scene.world.digest())
    };
    let (eager, lazy) = (endings(false), endings(true));
    assert_eq!(lazy.0, eager.0);
    assert_ne!(lazy.1, eager.1, "one drain brings fewer and longer packets");
}

#[test]
fn what_happens_on_one_link_changes_nothing_on_another() {
    let network = Network { chunks: Chunks::Any, jitter: Duration::from_millis(5), ..Network::default() };
    let talk = |others_talk: bool| {
        let mut scene = Scene::on(5, network);
        let nodes: Vec<NodeIndex> = (0..4).map(|_| scene.add_node()).collect();
        scene.ask(nodes[0], nodes[1], query(ECHO, &long_body(9000)));
        scene.run_secs(1);
        if others_talk {
            scene.ask(nodes[2], nodes[3], query(ECHO, &long_body(9000)));
        }
        let asked = scene.ask(nodes[0], nodes[1], query(ECHO, &long_body(9000)));
        scene.run_secs(1);
        scene.verdict(nodes[0], asked).0
    };
    assert_eq!(talk(true), talk(false));
}

/// Something that makes a node another than it was, once it has an address and a peer.
type Change = fn(&mut Node, Instant, NodeId);

const CHANGES: [Change; 7] = [
    |node, now, _| node.learn(now, record(1)).expect("there is room"),
    |node, now, _| node.learn(now, record(2)).expect("there is room"),
    |node, _, _| node.serve(type_name("another")).expect("there is room"),
    |node, now, peer| assert!(node.query(now, peer, query(ECHO, b"?")).is_ok()),
    |node, now, _| assert!(node.accept(now, ([10, 9, 9, 9], 1).into()).is_ok()),
    |node, now, _| node.shut_down(now, Duration::from_secs(5)),
    |node, now, _| node.shut_down(now, Duration::from_secs(6)),
];

/// What somebody says of itself.
fn record(sequence: u64) -> SignedRecord {
    let strategies = Strategies { addresses: vec![([10, 9, 9, 9], 1).into()], relays: Vec::new() };
    SignedRecord::sign(&Identity::from_seed(&[9; 32]), sequence, strategies).expect("one address fits a record")
}

#[test]
fn nodes_that_remember_something_else_are_not_the_same() {
    let digest_after = |change: Option<Change>| {
        let (mut scene, asker, peer) = Scene::of_two(1);
        scene.ask(asker, peer, query(NEVER, b"?"));
        scene.run_secs(1);
        let to = scene.world.id(peer);
        if let Some(change) = change {
            scene.world.with(asker, |node, now| change(node, now, to));
        }
        digest(scene.world.node(asker))
    };
    assert_eq!(digest_after(None), digest_after(None));
    let changed = CHANGES.into_iter().map(|change| digest_after(Some(change)));
    let digests: BTreeSet<[u8; 20]> = changed.chain([digest_after(None)]).collect();
    assert_eq!(digests.len(), CHANGES.len() + 1);
}

#[test]
fn a_hint_that_is_lost_is_found_out() {
    let (mut scene, asker, peer) = Scene::of_two(1);
    scene.ask(asker, peer, query(ECHO, b"connects"));
    scene.run_secs(1);
    let to = scene.world.id(peer);
    scene.world.with(asker, |node, now| {
        node.query(now, to, query(ECHO, b"stuck")).unwrap();
        while let Some(action) = node.poll() {
            assert!(matches!(action, Action::Transport(_)));
        }
    });
    scene.run_secs(1);
    let violations = scene.world.violations();
    assert!(violations.len() == 1 && violations[0].contains("has bytes to write"), "{violations:?}");
}

#[test]
fn what_nodes_say_cannot_be_read_on_any_link() {
    let mut scene = Scene::on(1, Network { chunks: Chunks::Any, ..Network::default() });
    let (asker, peer) = (scene.add_node(), scene.add_node());
    scene.world.forbid_on_links(b"a secret".to_vec());
    let asked = scene.ask(asker, peer, query(ECHO, b"this is a secret"));
    scene.run_secs(1);
    assert_eq!(scene.reply(asker, asked), b"this is a secret");
    assert_eq!(scene.world.violations(), [""; 0]);
}
