//! What nodes hold, and what may not be left over, in a world that is real.

use std::time::Duration;

use egtp::{Config, Delivery, Query, QueryId};

use crate::scene::{ECHO, NEVER, type_name};
use crate::storm::oracle::Oracle;
use crate::storm::oracle::life::Question;
use crate::{Network, NodeIndex, World};

/// Two nodes of which the first asks the second, and whoever watches them.
struct Watched {
    world: World,
    oracle: Oracle,
    nodes: [NodeIndex; 2],
    asked: QueryId,
    deliveries: Vec<(NodeIndex, Delivery)>,
}

fn watched(name: &'static str) -> Watched {
    let mut world = World::new(1, Network::default());
    let nodes = [(); 2].map(|()| world.add_node());
    for node in nodes {
        world.node(node).serve(type_name(name)).unwrap();
    }
    let settings = nodes.map(|node| (node, Config::default()));
    let mut oracle = Oracle::new(&world, Network::default(), &settings);
    let [from, to] = nodes;
    let hard = Duration::from_secs(20);
    let (number, body) = oracle.asks(&world, Question { from, to, type_name: name, bytes: 8, soft: None, hard });
    let asked = world.query(from, to, Query::new(type_name(name), body).hard_timeout(hard)).unwrap();
    oracle.was_asked(number, asked);
    let mut deliveries = Vec::new();
    world.run(Duration::from_millis(200), |world, node, delivery| {
        if let Delivery::Verdict { query, tag, ref verdict } = delivery {
            deliveries.push((node, Delivery::Verdict { query, tag, verdict: verdict.clone() }));
        }
        if let Some((token, Some(body))) = oracle.take(world, node, delivery) {
            world.reply(node, token, body);
        }
    });
    Watched { world, oracle, nodes, asked, deliveries }
}

impl Watched {
    #[track_caller]
    fn is_wrong(&self, words: &str) {
        let wrong: Vec<&str> = self.oracle.violations().iter().map(|violation| violation.what.as_str()).collect();
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{words}: {wrong:?}");
    }
}

#[test]
fn a_second_verdict_is_wrong() {
    let mut watched = watched(ECHO);
    assert_eq!(watched.oracle.violations(), []);
    let Some((node, verdict)) = watched.deliveries.pop() else { panic!("{:?} has no verdict", watched.asked) };
    watched.oracle.take(&watched.world, node, verdict);
    watched.is_wrong("has a second verdict, or was never asked");
}

#[test]
fn a_query_that_is_left_over_is_wrong_at_both_ends() {
    for at in [0, 1] {
        let mut watched = watched(NEVER);
        let node = watched.nodes[at];
        watched.oracle.is_in_order(&mut watched.world, node);
        assert_eq!(watched.oracle.violations(), []);
        watched.oracle.nothing_leaks(&mut watched.world, node);
        watched.is_wrong("something is left at node");
    }
}

#[test]
fn a_connection_is_wrong_long_after_everything_was_said() {
    let mut watched = watched(ECHO);
    let node = watched.nodes[0];
    watched.oracle.nothing_leaks(&mut watched.world, node);
    assert_eq!(watched.oracle.violations(), []);
    watched.oracle.is_at_rest(&mut watched.world, node);
    assert!(watched.oracle.violations().iter().any(|wrong| wrong.what.contains("keeps idle connections")));
    watched.world.run(Duration::from_secs(700), |_, _, _| {});
    let before = watched.oracle.violations().len();
    watched.oracle.is_at_rest(&mut watched.world, node);
    assert_eq!(watched.oracle.violations().len(), before);
}

#[test]
fn a_record_number_that_is_used_again_is_wrong() {
    let mut watched = watched(ECHO);
    let node = watched.nodes[0];
    watched.oracle.is_in_order(&mut watched.world, node);
    watched.oracle.observe(&watched.world, Some(node), crate::transcript::What::Starts);
    watched.oracle.is_in_order(&mut watched.world, node);
    watched.is_wrong("uses the number of its record again");
}
