//! Small worlds with an adversary that draws what it does: between honest nodes everything goes as if it were not there.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use egtp::{Delivery, Instant, QueryId, Verdict};
use egtp_sim::adversary::{Adversary, Judge, Manner, Target, Trick};
use egtp_sim::scene::{ECHO, KEEP, TYPES, long_body, query, type_name};
use egtp_sim::{Choice, Chunks, Network, NodeIndex, StrangerIndex, World};

#[test]
fn the_honest_are_served_whatever_an_adversary_does() {
    for seed in 0..30 {
        let mut skirmish = Skirmish::new(seed);
        (0..30).for_each(|_| skirmish.step());
        skirmish.ends();
        assert_eq!(skirmish.violations, Vec::<String>::new(), "seed {seed} did it:\n{}", skirmish.transcript);
    }
}

struct Skirmish {
    choice: Choice,
    world: World,
    nodes: Vec<NodeIndex>,
    adversary: Adversary,
    stranger: StrangerIndex,
    judge: Judge,
    /// Queries between the honest: what was asked, and by when it is answered.
    asked: BTreeMap<(NodeIndex, QueryId), (Vec<u8>, Instant)>,
    serial: u64,
    transcript: String,
    violations: Vec<String>,
}

/// What is asked of the honest is answered by then, since nothing is wrong with them.
const PROMPT: Duration = Duration::from_secs(15);

impl Skirmish {
    fn new(seed: u64) -> Self {
        let mut choice = Choice::from_seed(seed);
        let network = Network {
            latency: Duration::from_micros(choice.below(50_000)),
            jitter: Duration::from_micros(choice.below(20_000)),
            chunks: [Chunks::Whole, Chunks::Any, Chunks::Tiny, Chunks::Single][choice.index(4)],
            buffer: 64 * 1024 + 256 - choice.index(64 * 1024),
            ..Network::default()
        };
        let mut world = World::new(seed, network);
        let nodes: Vec<NodeIndex> = (0..3).map(|_| world.add_node()).collect();
        for &node in &nodes {
            for name in TYPES {
                world.node(node).serve(type_name(name)).unwrap();
            }
        }
        let adversary = Adversary::new(choice.seed());
        let stranger = adversary.enter(&mut world);
        let judge = Judge::of(&adversary);
        let (asked, transcript) = (BTreeMap::new(), format!("{network:?}\n"));
        Self { choice, world, nodes, adversary, stranger, judge, asked, serial: 0, transcript, violations: Vec::new() }
    }

    fn step(&mut self) {
        let node = self.any_node();
        match self.choice.below(10) {
            0..3 => {
                let (to, body) = (self.any_node(), self.body());
                let hard = query(ECHO, &body).hard_timeout(PROMPT);
                self.write(&format!("{node:?} asks {to:?} #{}", self.serial));
                let id = self.world.query(node, to, hard).unwrap();
                self.asked.insert((node, id), (body, self.world.now() + PROMPT));
            }
            3 | 4 => {
                let body = self.body();
                let name = [ECHO, KEEP][self.choice.index(2)];
                let hard = Duration::from_micros(1 + self.choice.below(20_000_000));
                self.write(&format!("{node:?} asks the adversary #{} within {hard:?}", self.serial));
                self.judge.ask(&mut self.world, node, type_name(name), body, hard).unwrap();
            }
            5 => {
                let manner = Manner::ALL[self.choice.index(Manner::ALL.len())];
                self.write(&format!("the adversary {manner}"));
                self.adversary.set_manner(manner);
            }
            6..8 => {
                let trick = Trick::ALL[self.choice.index(Trick::ALL.len())];
                if !trick.crowds_others_out() {
                    self.write(&format!("the adversary plays {trick} on {node:?}"));
                    self.adversary.play(trick, Target::of(&self.world, node));
                    self.world.wake_stranger(self.stranger);
                }
            }
            _ => {
                let pause = Duration::from_micros(self.choice.below(5_000_000));
                self.run(pause);
            }
        }
    }

    fn ends(&mut self) {
        self.run(Duration::from_secs(60));
        self.write("the adversary leaves");
        self.adversary.leave();
        self.world.wake_stranger(self.stranger);
        self.run(Duration::from_secs(1300));
        for &node in &self.nodes {
            let usage = self.world.node(node).usage();
            self.violations.extend(Judge::nothing_is_left(&usage).err());
            if usage.connections > 0 {
                self.violations.push(format!("{node:?} keeps connections: {usage:?}"));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        if !self.violations.is_empty() {
            return;
        }
        let Self { world, judge, asked, violations, transcript, .. } = self;
        world.run(time, |world, node, delivery| {
            let told: String = format!("{delivery:?}").chars().take(200).collect();
            let _never = writeln!(transcript, "{} {node:?} {told}", world.now());
            let able = world.now();
            match judge.take(world, node, able, delivery) {
                Some(Delivery::Query { body, token, .. }) => world.reply(node, token, body),
                Some(Delivery::Verdict { query: id, verdict, .. }) => match (asked.remove(&(node, id)), verdict) {
                    (Some((body, due)), Verdict::Reply(reply)) if reply.body == body && world.now() <= due => {}
                    (_, Verdict::Failed(failure)) => violations.push(format!("between the honest: {failure:?}")),
                    (asked, _) => violations.push(format!("a wrong or late reply to {:?}", asked.map(|(_, due)| due))),
                },
                Some(other) => violations.push(format!("{node:?} is told {other:?}")),
                None => {}
            }
        });
        self.judge.look(&self.world, |_| true);
        let now = self.world.now();
        self.violations.extend(self.judge.violations().iter().cloned());
        self.violations.extend(
            self.asked.values().filter(|(_, due)| *due < now).map(|(_, due)| format!("no verdict, due at {due}")),
        );
    }

    fn write(&mut self, what: &str) {
        let _never = writeln!(self.transcript, "{} {what}", self.world.now());
    }

    fn any_node(&mut self) -> NodeIndex {
        self.nodes[self.choice.index(self.nodes.len())]
    }

    /// A body that no other query has.
    fn body(&mut self) -> Vec<u8> {
        self.serial += 1;
        let length = [0, 100, 40_000][self.choice.index(3)];
        [&self.serial.to_be_bytes()[..], &long_body(length)].concat()
    }
}
