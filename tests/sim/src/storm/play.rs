//! Plays the steps of a scenario in a world, and lets the oracle see all of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use egtp::{Instant, PeerRefusal, Query, SignedRecord, Strategies, Usage};

use super::intruder::Intruder;
use super::oracle::{Oracle, Question};
use super::weather::LONGEST;
use super::{Outcome, Variation, Violation};
use crate::scenario::{Scenario, Step, USAGES};
use crate::scene::{ECHO, EMPTY, NEVER, NO, TYPES, type_name};
use crate::transcript::{Entry, Names, What};
use crate::{Directory, NodeIndex, World};

/// After a storm each node talks with so many others at most.
const NEIGHBOURS: usize = 20;

/// So much is asked in the calm after a storm, and with such pauses. With few nodes, and what is drawn, that makes fifty queries at
/// most.
const MUCH: usize = 10;
const PAUSE: Duration = Duration::from_millis(53);

/// So many nodes at most ask themselves as well.
const FEW: usize = 5;

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

#[derive(Clone, Copy, Default)]
struct Health {
    crashed: bool,
    frozen: bool,
    /// When it was last able to do what was due, if it ever was not.
    thawed: Instant,
    /// By how much its clock was set forward in all, and back.
    ahead: Duration,
    behind: Duration,
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
        let needed = nodes.len().min(NEIGHBOURS);
        let cramped = scenario.nodes.iter().any(|setup| setup.config.limits.connections < needed);
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
            cramped,
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

    /// What has happened so far.
    pub(super) fn transcript(&mut self) -> &[Entry] {
        self.oracle.watch(&self.world);
        self.oracle.transcript()
    }

    /// What came of it, and what happened.
    pub(super) fn end(mut self) -> (Outcome, Vec<Entry>) {
        self.oracle.watch(&self.world);
        let (digest, simulated) = (self.world.digest(), self.world.now().saturating_since(self.began));
        let (queries, verdicts) = self.oracle.counts();
        let (transcript, violations) = self.oracle.into_findings();
        (Outcome { digest, queries, verdicts, simulated, violations }, transcript)
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
            Step::ClockForward { node, by } => {
                self.health[node].ahead += by;
                self.write(Some(self.nodes[node]), What::ClockForward { by });
                self.world.step_clock(self.nodes[node], by);
            }
            Step::ClockBack { node, by } => self.step_clock_back(node, by),
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

    fn is_able(&self, node: usize) -> bool {
        !self.health[node].crashed && !self.health[node].frozen
    }

    fn write(&mut self, node: Option<NodeIndex>, what: What) {
        self.oracle.observe(&self.world, node, what);
    }

    /// Asks, and gives back the query's number.
    fn ask(
        &mut self,
        from: usize,
        to: usize,
        name: &'static str,
        bytes: usize,
        soft: Option<Duration>,
        hard: Duration,
    ) -> Option<usize> {
        if !self.is_able(from) {
            return None;
        }
        let (from, to) = (self.nodes[from], self.nodes[to]);
        let question = Question { from, to, type_name: name, bytes, soft, hard };
        let (number, body) = self.oracle.asks(&self.world, question);
        let mut query = Query::new(type_name(name), body).hard_timeout(hard);
        if let Some(soft) = soft {
            query = query.soft_timeout(soft);
        }
        match self.world.query(from, to, query) {
            Ok(id) => {
                self.oracle.was_asked(number, id);
                Some(number)
            }
            Err(refusal) => {
                self.violate(format!("{} refuses to ask: {refusal}", self.names.of(from)));
                None
            }
        }
    }

    fn intruder(&mut self) -> (&mut Intruder, &mut World) {
        let Self { intruder, world, seed, .. } = self;
        (intruder.get_or_insert_with(|| Intruder::enter(world, *seed)), world)
    }

    fn ask_adversary(&mut self, from: usize, type_name: &'static str, bytes: usize, hard: Duration) {
        if self.is_able(from) {
            let node = self.nodes[from];
            self.write(Some(node), What::AsksAdversary { type_name, bytes, hard });
            let (intruder, world) = self.intruder();
            if let Err(refusal) = intruder.ask(world, node, type_name, bytes, hard) {
                self.violate(format!("{} refuses to ask: {refusal}", self.names.of(node)));
            }
        }
    }

    fn notify(&mut self, from: usize, to: usize) {
        if self.is_able(from) {
            let (from, to) = (self.nodes[from], self.nodes[to]);
            let body = self.oracle.notifies(&self.world, from, to);
            let id = self.world.id(to);
            let noticed = self.world.with(from, |node, now| node.notify(now, id, type_name(NEVER), body));
            if let Err(refusal) = noticed {
                self.violate(format!("{} refuses to notify: {refusal:?}", self.names.of(from)));
            }
        }
    }

    fn cancel(&mut self, node: usize) {
        let index = self.nodes[node];
        if let (Some((id, query)), true) = (self.oracle.waiting_at(index), self.is_able(node)) {
            self.write(Some(index), What::Cancels { query });
            if let Err(refusal) = self.world.with(index, |node, now| node.cancel(now, id)) {
                // Its verdict may be on its way to the application.
                self.run(Duration::ZERO);
                if self.oracle.waiting_at(index).is_some_and(|(waiting, _)| waiting == id) {
                    self.violate(format!("query {query} has no verdict and cannot be cancelled: {refusal}"));
                }
            }
        }
    }

    fn answer(&mut self, node: usize) {
        if self.is_able(node) {
            for kept in self.oracle.take_kept(self.nodes[node]) {
                self.write(Some(kept.node), What::Answers { query: kept.query, bytes: kept.body.len() });
                self.world.reply(kept.node, kept.token, kept.body);
            }
        }
    }

    /// Its process is killed, or its machine loses its power.
    fn crash(&mut self, node: usize, how: What) {
        if !self.health[node].crashed {
            self.thaw(node);
            self.health[node].crashed = true;
            let is_announced = how == What::Crashes;
            self.write(Some(self.nodes[node]), how);
            if is_announced {
                self.world.crash(self.nodes[node]);
            } else {
                self.world.power_off(self.nodes[node]);
            }
            if let Some(intruder) = &mut self.intruder {
                intruder.forget(self.nodes[node]);
            }
        }
    }

    /// Nobody pulls the disk from under a process that runs.
    fn wipe(&mut self, node: usize) {
        if self.health[node].crashed {
            self.write(Some(self.nodes[node]), What::Wipes);
            self.world.wipe(self.nodes[node]);
        }
    }

    fn start(&mut self, node: usize) {
        if self.health[node].crashed {
            self.health[node].crashed = false;
            self.write(Some(self.nodes[node]), What::Starts);
            self.world.start(self.nodes[node]);
            serve_everything(&mut self.world, self.nodes[node]);
        }
    }

    fn freeze(&mut self, node: usize) {
        if self.is_able(node) {
            self.health[node].frozen = true;
            self.write(Some(self.nodes[node]), What::Freezes);
            self.world.set_frozen(self.nodes[node], true);
        }
    }

    fn thaw(&mut self, node: usize) {
        if self.health[node].frozen {
            self.health[node] = Health { frozen: false, thawed: self.world.now(), ..self.health[node] };
            self.write(Some(self.nodes[node]), What::Thaws);
            self.world.set_frozen(self.nodes[node], false);
        }
    }

    fn block(&mut self, from: usize, to: usize, blocked: bool) {
        let changes = if blocked { self.blocked.insert((from, to)) } else { self.blocked.remove(&(from, to)) };
        if from != to && changes {
            self.write(Some(self.nodes[from]), What::Blocked { to: self.nodes[to], blocked });
            self.world.set_blocked(self.nodes[from], self.nodes[to], blocked);
        }
    }

    /// No clock shows a time before the origin.
    fn step_clock_back(&mut self, node: usize, by: Duration) {
        let Health { ahead, behind, .. } = self.health[node];
        let shown = self.world.now().saturating_since(Instant::ZERO) + ahead;
        if behind + by < shown {
            self.health[node].behind += by;
            self.write(Some(self.nodes[node]), What::ClockBack { by });
            self.world.step_clock_back(self.nodes[node], by);
        }
    }

    /// Older than whatever the peer announces of itself, and with an address at which nobody is.
    fn outdate(&mut self, node: usize, peer: usize) {
        if self.health[node].crashed {
            return;
        }
        let (node, peer) = (self.nodes[node], self.nodes[peer]);
        let nowhere = SocketAddr::from(([10, 9, 9, 9], 4000));
        let strategies = Strategies { addresses: vec![nowhere], relays: Vec::new() };
        let old = SignedRecord::sign(self.world.identity(peer), 1, strategies).expect("one address fits a record");
        self.write(Some(node), What::Outdated { peer });
        let older = SignedRecord::sign(self.world.identity(peer), 0, old.strategies().clone()).expect("it has no more");
        let _knows_better = self.world.with(node, |node, now| node.learn(now, old));
        if self.world.with(node, |node, now| node.learn(now, older)).is_ok() {
            self.violate(format!("{} replaces a record by an older one", self.names.of(node)));
        }
    }

    fn expect(&mut self, node: usize, usage: &str, count: usize) {
        if self.health[node].crashed {
            let name = self.names.of(self.nodes[node]);
            return self.violate(format!("{name} is not running and has no {usage}"));
        }
        let Usage {
            connections,
            unauthenticated_connections,
            peers,
            sessions,
            tentative_sessions,
            queries,
            query_bytes,
            incoming,
            assembly_bytes,
            reply_bytes,
            undelivered_bytes,
            lookups,
            timers,
        } = self.world.node(self.nodes[node]).usage();
        let counts = [
            connections,
            unauthenticated_connections,
            peers,
            sessions,
            tentative_sessions,
            queries,
            query_bytes,
            incoming,
            assembly_bytes,
            reply_bytes,
            undelivered_bytes,
            lookups,
            timers,
        ];
        let found = USAGES.iter().zip(counts).find(|&(&known, _)| known == usage).map_or(0, |(_, count)| count);
        if found != count {
            let name = self.names.of(self.nodes[node]);
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

    /// The second phase: everything heals, and liveness is demanded.
    fn heal(&mut self) {
        self.write(None, What::Heals);
        self.world.set_directory(Directory::Honest);
        self.world.break_next_connection_after(None);
        for (from, to) in std::mem::take(&mut self.blocked) {
            self.world.set_blocked(self.nodes[from], self.nodes[to], false);
        }
        for node in 0..self.nodes.len() {
            self.thaw(node);
            self.start(node);
            let index = self.nodes[node];
            self.world.set_silent(index, false);
            self.world.set_listening(index, true);
            self.world.set_nat(index, None);
            let record = self.world.node(index).record().cloned();
            let id = self.world.id(index);
            self.world.set_record(id, record);
        }
        if let Some(intruder) = &self.intruder {
            intruder.leave(&mut self.world);
        }
        self.run(LONGEST + Duration::from_secs(60));
        self.nothing_leaks();
        self.are_answered(&self.everybody());
        self.much_is_said();
        self.run(Duration::from_secs(1500));
        self.everything_is_at_rest();
        self.are_answered(&self.circle());
        self.nobody_misbehaved();
    }

    fn nothing_leaks(&mut self) {
        if self.all_is_well() {
            for &node in &self.nodes {
                self.oracle.nothing_leaks(&mut self.world, node);
            }
        }
    }

    fn everything_is_at_rest(&mut self) {
        self.nothing_leaks();
        if self.all_is_well() {
            for &node in &self.nodes {
                // The adversary has two names, and two sessions under each may be left.
                let strangers = if self.intruder.is_some() { 4 } else { 0 };
                self.oracle.is_at_rest(&mut self.world, node, self.cramped, strangers);
            }
        }
    }

    /// Each node and itself, if they are few, and its next neighbours around the circle; so each pair talks once.
    fn everybody(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        let first = usize::from(count > FEW);
        let neighbours = first..=(count / 2).min(NEIGHBOURS / 2);
        (0..count).flat_map(|from| neighbours.clone().map(move |step| (from, (from + step) % count))).collect()
    }

    /// Each node and the one before it.
    fn circle(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        (0..count).map(|from| (from, (from + count - 1) % count)).collect()
    }

    /// Whatever happened, a world that has healed works.
    fn are_answered(&mut self, pairs: &[(usize, usize)]) {
        if !self.all_is_well() {
            return;
        }
        let asked: Vec<usize> =
            pairs.iter().filter_map(|&(from, to)| self.ask(from, to, ECHO, 100, None, LONGEST)).collect();
        self.run(LONGEST);
        if self.all_is_well() && !self.cramped {
            self.oracle.all_were_answered(&self.world, &asked);
        }
    }

    /// In a calm world everything is answered soon or given up, and nothing is left of it. A timer that nothing explains shows
    /// when there are many at one node.
    fn much_is_said(&mut self) {
        let count = self.nodes.len();
        let from = usize::try_from(self.seed).unwrap_or(0) % count;
        let to = (from + 1) % count;
        for said in 0..MUCH {
            let name = [ECHO, NO, EMPTY, "unknown", NEVER][said % 5];
            if self.all_is_well() {
                self.ask(from, to, name, 8, None, LONGEST);
                self.run(PAUSE);
            }
        }
        self.run(Duration::from_secs(1));
        while self.all_is_well() && self.is_waiting(from) {
            self.cancel(from);
        }
        // A session that was offered and not needed goes after ten seconds, and the timers of these queries after twenty.
        self.run(Duration::from_secs(13));
        if self.oracle.nobody_waits() {
            self.nothing_leaks();
        }
        self.run(LONGEST);
    }

    fn is_waiting(&self, node: usize) -> bool {
        self.oracle.waiting_at(self.nodes[node]).is_some()
    }

    fn nobody_misbehaved(&mut self) {
        if !self.all_is_well() {
            return;
        }
        // With an adversary, its judge looks at each note.
        for &node in self.nodes.iter().filter(|_| self.intruder.is_none()) {
            self.oracle.nobody_misbehaved(&mut self.world, node);
        }
    }
}

fn serve_everything(world: &mut World, node: NodeIndex) {
    for name in TYPES {
        world.node(node).serve(type_name(name)).expect("there is room for every type");
    }
}
