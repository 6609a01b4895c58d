//! Plays the steps of a scenario in a world, and lets the oracle see all of it.

mod asking;
mod faults;
mod healing;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use egtp::{Instant, PeerRefusal};

use self::faults::Health;
use super::intruder::Intruder;
use super::oracle::Oracle;
use super::{Outcome, Variation, Violation};
use crate::scenario::{Scenario, Step};
use crate::scene::{TYPES, type_name};
use crate::transcript::{Entry, Names, What};
use crate::{NodeIndex, World, usage};

pub(super) struct Play {
    world: World,
    nodes: Vec<NodeIndex>,
    names: Names,
    health: Vec<Health>,
    oracle: Oracle,
    /// The adversary, from the first step that mentions it.
    intruder: Option<Intruder>,
    seed: u64,
    began: Instant,
    /// From whom nothing gets to whom.
    blocked: BTreeSet<(usize, usize)>,
    /// Some node may have so few connections that it cannot talk to everybody.
    cramped: bool,
}

impl Play {
    /// The world of a scenario, before its first step.
    pub(super) fn new(scenario: &Scenario) -> Self {
        let mut world = World::new(scenario.seed, scenario.network);
        let mut nodes = Vec::new();
        for setup in &scenario.nodes {
            let node = world.add_node_with(setup.config.clone().check().expect("a scenario's limits are in range"));
            serve_everything(&mut world, node);
            nodes.push(node);
        }
        let settings = nodes.iter().zip(&scenario.nodes).map(|(&node, setup)| (node, setup.config.clone()));
        let oracle = Oracle::new(&world, scenario.network, &settings.collect::<Vec<_>>());
        let began = world.now();
        let names = Names::new(&scenario.nodes);
        Self {
            world,
            names,
            health: vec![Health::default(); nodes.len()],
            nodes,
            oracle,
            intruder: None,
            seed: scenario.seed,
            began,
            blocked: BTreeSet::new(),
            cramped: healing::is_cramped(&scenario.nodes),
        }
    }

    pub(super) fn set_variation(&mut self, variation: Variation) {
        self.world.set_restless(variation.restless);
        self.world.set_lazy(variation.lazy);
    }

    /// Does one thing. A panic is a broken promise.
    pub(super) fn step(&mut self, step: &Step) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.perform(step))) {
            let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            self.violate(format!("something panicked: {}", message.unwrap_or("it did not say why")));
        }
    }

    pub(super) fn all_is_well(&self) -> bool {
        self.oracle.violations().is_empty()
    }

    pub(super) fn violations(&self) -> &[Violation] {
        self.oracle.violations()
    }

    /// What has happened since the last call.
    pub(super) fn take_transcript(&mut self) -> Vec<Entry> {
        self.oracle.take_transcript(&self.world)
    }

    /// What came of it.
    pub(super) fn end(self) -> Outcome {
        let (digest, simulated) = (self.world.digest(), self.world.now().saturating_since(self.began));
        let (queries, verdicts) = self.oracle.counts();
        Outcome { digest, queries, verdicts, simulated, violations: self.oracle.into_violations() }
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Wait(time) => self.run(time),
            Step::Ask { from, to, type_name, bytes, soft, hard } => {
                self.ask(from, to, type_name, bytes, soft, hard);
            }
            Step::Notify { from, to } => self.notify(from, to),
            Step::Cancel { node } => self.cancel(node),
            Step::Answer { node } => self.answer(node),
            Step::Cut { one, other } => {
                let (node, other) = (self.nodes[one], self.nodes[other]);
                self.write(Some(node), What::Cut { other });
                self.world.cut(node, other);
            }
            Step::BreakNext { bytes } => {
                self.write(None, What::NextConnectionBreaks { bytes });
                self.world.break_next_connection_after(Some(bytes));
            }
            Step::Crash { node } => self.crash(node, What::Crashes),
            Step::PowerOff { node } => self.crash(node, What::PowerOff),
            Step::Start { node } => self.start(node),
            Step::Wipe { node } => self.wipe(node),
            Step::Freeze { node } => self.freeze(node),
            Step::Thaw { node } => self.thaw(node),
            Step::Silence { node, silent } => {
                self.write(Some(self.nodes[node]), What::Silent(silent));
                self.world.set_silent(self.nodes[node], silent);
            }
            Step::Block { from, to, blocked } => self.block(from, to, blocked),
            Step::ClockForward { node, by } => self.step_clock(node, by),
            Step::ClockBack { node, by } => self.step_clock_back(node, by),
            Step::Drift { node, millionths } => {
                self.write(Some(self.nodes[node]), What::Drifts { millionths });
                self.world.set_drift(self.nodes[node], millionths);
            }
            Step::Nat { node, nat } => {
                self.write(Some(self.nodes[node]), What::Nat(nat));
                self.world.set_nat(self.nodes[node], nat);
            }
            Step::Listen { node, listening } => {
                self.write(Some(self.nodes[node]), What::Listening(listening));
                self.world.set_listening(self.nodes[node], listening);
            }
            Step::Forget { node } => {
                let id = self.world.id(self.nodes[node]);
                self.write(Some(self.nodes[node]), What::Unknown);
                self.world.set_record(id, None);
            }
            Step::Directory(directory) => {
                self.write(None, What::Directory(directory));
                self.world.set_directory(directory);
            }
            Step::Outdate { node, peer } => self.outdate(node, peer),
            Step::Expect { node, usage, count } => self.expect(node, usage, count),
            Step::Trick { node, trick } => {
                let node = self.nodes[node];
                self.write(Some(node), What::Tricked(trick));
                let (intruder, world) = self.intruder();
                intruder.play(world, trick, node);
            }
            Step::Manner(manner) => {
                self.write(None, What::Manner(manner));
                self.intruder().0.set_manner(manner);
            }
            Step::AskAdversary { from, type_name, bytes, hard } => self.ask_adversary(from, type_name, bytes, hard),
            Step::Heal => self.heal(),
        }
    }

    fn violate(&mut self, what: String) {
        self.oracle.violate(&self.world, what);
    }

    fn write(&mut self, node: Option<NodeIndex>, what: What) {
        self.oracle.observe(&self.world, node, what);
    }

    fn intruder(&mut self) -> (&mut Intruder, &mut World) {
        let Self { intruder, world, seed, .. } = self;
        (intruder.get_or_insert_with(|| Intruder::enter(world, *seed)), world)
    }

    fn expect(&mut self, node: usize, usage: &str, count: usize) {
        let name = self.names.of(self.nodes[node]);
        if !self.is_running(node) {
            return self.violate(format!("{name} is not running and has no {usage}"));
        }
        let counts = usage::counts(&self.world.node(self.nodes[node]).usage());
        let found = counts.into_iter().find(|&(known, _)| known == usage).map(|(_, found)| found);
        if found != Some(count) {
            let found = found.map_or_else(|| "no such thing".to_owned(), |found| found.to_string());
            self.violate(format!("{name} was expected to have {usage}={count} and has {found}"));
        }
    }

    fn run(&mut self, time: Duration) {
        if !self.all_is_well() {
            return;
        }
        let Self { world, oracle, intruder, health, .. } = self;
        world.run(time, |world, node, delivery| {
            let able = health[node.number()].thawed;
            let others = match intruder {
                Some(intruder) => intruder.take(world, node, able, delivery),
                None => Some(delivery),
            };
            let Some(delivery) = others else { return };
            if let Some((token, answer)) = oracle.take(world, node, delivery) {
                match answer {
                    Some(body) => world.reply(node, token, body),
                    None => {
                        let _nobody_waits =
                            world.with(node, |node, now| node.refuse(now, token, PeerRefusal::Declined));
                    }
                }
            }
        });
        if let Some(intruder) = &mut self.intruder {
            for finding in intruder.findings(&self.world, |node| !self.health[node.number()].frozen) {
                self.violate(finding);
            }
        }
        self.oracle.nobody_waits_too_long(&self.world);
        for node in 0..self.nodes.len() {
            if self.is_able(node) {
                self.oracle.is_in_order(&mut self.world, self.nodes[node]);
            }
        }
        if let Some(what) = self.world.violations().first().cloned() {
            self.violate(what);
        }
    }
}

fn serve_everything(world: &mut World, node: NodeIndex) {
    for name in TYPES {
        world.node(node).serve(type_name(name)).expect("there is room for every type");
    }
}
