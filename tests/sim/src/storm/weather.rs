//! What goes wrong, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{Config, Instant, PeerRefusal, Query, Rate};

use super::oracle::Oracle;
use super::{Outcome, Recording, Settings, Violation};
use crate::scene::{ECHO, EMPTY, KEEP, NEVER, NO, TYPES, long_body, type_name};
use crate::transcript::{Entry, What};
use crate::{Choice, Chunks, Network, NodeIndex, World};

/// The longest hard timeout that is drawn.
const LONGEST: Duration = Duration::from_secs(20);

/// So many things happen, unless a time is set.
const MISFORTUNES: usize = 40;

/// At most so many peers are asked at once by everybody.
const NEIGHBOURS: usize = 20;

pub(super) struct Storm {
    choice: Choice,
    world: World,
    nodes: Vec<NodeIndex>,
    health: BTreeMap<NodeIndex, Health>,
    oracle: Oracle,
    configuration: String,
    began: Instant,
    lasts: Option<Duration>,
    /// Some node may have so few connections that it cannot talk to everybody.
    cramped: bool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Health {
    crashed: bool,
    pub(super) frozen: bool,
    silent: bool,
    deaf: bool,
    /// When it was last able to do what was due.
    pub(super) thawed: Instant,
}

impl Storm {
    pub(super) fn new(seed: u64, settings: &Settings) -> Self {
        let mut choice = Choice::new(seed ^ 0x5707);
        let network = draw_network(&mut choice);
        let mut world = World::new(seed, network);
        let cramped = choice.per_mille(200);
        let drawn = 2 + usize_below(&mut choice, 3);
        let count = settings.nodes.unwrap_or(drawn);
        let mut configuration = format!("{count} nodes, {network:?}");
        let mut nodes = Vec::new();
        for _ in 0..count {
            let (config, peculiarities) = draw_config(&mut choice, cramped);
            let node = world.add_node_with(config.check().expect("the limits are in range"));
            serve_everything(&mut world, node);
            if !peculiarities.is_empty() {
                configuration += &format!("\nnode {}:{peculiarities}", node.number());
            }
            nodes.push(node);
        }
        let health = nodes.iter().map(|&node| (node, Health::default())).collect();
        let oracle = Oracle::new(&world, &nodes);
        let began = world.now();
        Self { choice, world, nodes, health, oracle, configuration, began, lasts: settings.lasts, cramped }
    }

    /// Both phases. It ends early once a promise is broken.
    pub(super) fn pass(&mut self) {
        let mut misfortunes = 0;
        while self.rages(misfortunes) {
            misfortunes += 1;
            self.misfortune();
            let pause = self.choice.below(2_000_000);
            self.run(Duration::from_micros(pause));
        }
        self.heal();
        self.run(LONGEST + Duration::from_secs(60));
        self.nothing_leaks();
        self.everybody_answers_everybody();
        self.run(Duration::from_secs(1500));
        self.everything_is_at_rest();
        self.everybody_answers_everybody();
        self.verdicts_told_the_truth();
    }

    pub(super) fn violate(&mut self, what: String) {
        let at = self.world.now();
        self.oracle.violations.push(Violation { at, what });
    }

    pub(super) fn recorded(mut self, seed: u64, settings: Settings) -> Recording {
        self.oracle.watch(&self.world);
        let outcome = Outcome {
            digest: self.world.digest(),
            queries: self.oracle.asked.len() as u64,
            verdicts: self.oracle.verdicts,
            simulated: self.world.now().saturating_since(self.began),
            violations: self.oracle.violations,
        };
        let (nodes, transcript) = (self.nodes.len(), self.oracle.transcript);
        Recording { seed, settings, configuration: self.configuration, transcript, nodes, outcome }
    }

    fn rages(&self, misfortunes: usize) -> bool {
        let over = match self.lasts {
            Some(time) => self.world.now().saturating_since(self.began) >= time,
            None => misfortunes == MISFORTUNES,
        };
        !over && self.all_is_well()
    }

    fn all_is_well(&self) -> bool {
        self.oracle.violations.is_empty()
    }

    fn any_node(&mut self) -> NodeIndex {
        self.nodes[usize_below(&mut self.choice, self.nodes.len())]
    }

    fn health(&mut self, node: NodeIndex) -> &mut Health {
        self.health.entry(node).or_default()
    }

    fn is_able(&mut self, node: NodeIndex) -> bool {
        let Health { crashed, frozen, .. } = *self.health(node);
        !crashed && !frozen
    }

    fn write(&mut self, node: Option<NodeIndex>, what: What) {
        self.oracle.watch(&self.world);
        self.oracle.transcript.push(Entry { at: self.world.now(), node, what });
    }

    /// One thing happens, more often a query than a misfortune.
    fn misfortune(&mut self) {
        let node = self.any_node();
        match self.choice.below(24) {
            0..9 => self.ask_something(node),
            9 => self.send_a_notice(node),
            10 => self.cancel_something(node),
            11 => self.answer_kept(),
            12 | 13 => {
                let other = self.any_node();
                self.write(Some(node), What::Cut { other });
                self.world.cut(node, other);
            }
            14 => {
                let bytes = usize_below(&mut self.choice, 2000) + 1;
                self.write(None, What::NextConnectionBreaks { bytes });
                self.world.break_next_connection_after(Some(bytes));
            }
            15 => self.crash(node),
            16 | 17 => self.revive(node),
            18 => self.freeze(node),
            19 => self.thaw(node),
            20 => {
                self.health(node).silent ^= true;
                let silent = self.health(node).silent;
                self.write(Some(node), What::Silent(silent));
                self.world.set_silent(node, silent);
            }
            21 => {
                self.health(node).deaf ^= true;
                let deaf = self.health(node).deaf;
                self.write(Some(node), What::Listening(!deaf));
                self.world.set_listening(node, !deaf);
            }
            22 => {
                let silent = self.choice.per_mille(500);
                self.write(None, What::DirectorySilent(silent));
                self.world.set_directory_silent(silent);
            }
            _ => {
                let id = self.world.id(node);
                self.write(Some(node), What::Unknown);
                self.world.set_record(id, None);
            }
        }
    }

    fn ask_something(&mut self, from: NodeIndex) {
        let to = self.any_node();
        let name = [ECHO, ECHO, ECHO, EMPTY, KEEP, NEVER, NO, "unknown"][usize_below(&mut self.choice, 8)];
        let length = match self.choice.below(8) {
            0 => usize_below(&mut self.choice, 60_000),
            1 | 2 => usize_below(&mut self.choice, 3_000),
            _ => 0,
        };
        let hard = Duration::from_micros(1 + self.choice.below(u64::try_from(LONGEST.as_micros()).unwrap_or(1)));
        if self.is_able(from) {
            self.ask(from, to, name, length, hard);
        }
    }

    /// Asks, and gives back the query's number.
    fn ask(
        &mut self,
        from: NodeIndex,
        to: NodeIndex,
        name: &'static str,
        length: usize,
        hard: Duration,
    ) -> Option<usize> {
        let serial = self.oracle.asked.len();
        let body = [&(serial as u64).to_be_bytes()[..], &long_body(length)].concat();
        let bytes = body.len();
        let mut query = Query::new(type_name(name), body).hard_timeout(hard);
        if self.choice.per_mille(300) {
            query = query.soft_timeout(hard / 2);
        }
        self.write(Some(from), What::Asks { query: serial, to, type_name: name, bytes, hard });
        let now = self.world.now();
        match self.world.query(from, to, query) {
            Ok(id) => {
                self.oracle.was_asked(id, from, to, name, length, now + hard);
                Some(serial)
            }
            Err(refusal) => {
                self.violate(format!("node {} refuses to ask: {refusal}", from.number()));
                None
            }
        }
    }

    fn send_a_notice(&mut self, from: NodeIndex) {
        if self.is_able(from) {
            let to = self.any_node();
            self.write(Some(from), What::Notifies { to });
            let id = self.world.id(to);
            let noticed = self.world.with(from, |node, now| node.notify(now, id, type_name(NEVER), vec![0; 8]));
            if let Err(refusal) = noticed {
                self.violate(format!("node {} refuses to notify: {refusal:?}", from.number()));
            }
        }
    }

    fn cancel_something(&mut self, node: NodeIndex) {
        if let (Some((id, query)), true) = (self.oracle.waiting_at(node), self.is_able(node)) {
            self.write(Some(node), What::Cancels { query });
            if let Err(refusal) = self.world.with(node, |node, now| node.cancel(now, id)) {
                self.violate(format!("query {query} has no verdict and cannot be cancelled: {refusal}"));
            }
        }
    }

    fn answer_kept(&mut self) {
        for kept in std::mem::take(&mut self.oracle.kept) {
            if self.health(kept.node).frozen {
                self.oracle.kept.push(kept);
            } else {
                self.write(Some(kept.node), What::Answers { query: kept.query, bytes: kept.body.len() });
                self.world.reply(kept.node, kept.token, kept.body);
            }
        }
    }

    fn crash(&mut self, node: NodeIndex) {
        if !self.health(node).crashed {
            self.thaw(node);
            self.health(node).crashed = true;
            self.write(Some(node), What::Crashes);
            self.world.crash(node);
            self.oracle.forget(node);
        }
    }

    fn revive(&mut self, node: NodeIndex) {
        if self.health(node).crashed {
            self.health(node).crashed = false;
            self.write(Some(node), What::Starts);
            self.world.start(node);
            serve_everything(&mut self.world, node);
        }
    }

    fn freeze(&mut self, node: NodeIndex) {
        if self.is_able(node) {
            self.health(node).frozen = true;
            self.write(Some(node), What::Freezes);
            self.world.set_frozen(node, true);
        }
    }

    fn thaw(&mut self, node: NodeIndex) {
        if self.health(node).frozen {
            let now = self.world.now();
            let health = self.health(node);
            (health.frozen, health.thawed) = (false, now);
            self.write(Some(node), What::Thaws);
            self.world.set_frozen(node, false);
        }
    }

    fn heal(&mut self) {
        if !self.all_is_well() {
            return;
        }
        self.write(None, What::Heals);
        self.world.set_directory_silent(false);
        self.world.break_next_connection_after(None);
        for node in self.nodes.clone() {
            self.thaw(node);
            self.revive(node);
            self.world.set_silent(node, false);
            self.world.set_listening(node, true);
            *self.health(node) = Health { thawed: self.health(node).thawed, ..Health::default() };
            let record = self.world.node(node).record().cloned();
            let id = self.world.id(node);
            self.world.set_record(id, record);
        }
    }

    fn run(&mut self, time: Duration) {
        if !self.all_is_well() {
            return;
        }
        let Self { world, oracle, health, .. } = self;
        world.run(time, |world, node, delivery| {
            if let Some((token, answer)) = oracle.take(world, health[&node].thawed, node, delivery) {
                match answer {
                    Some(body) => world.reply(node, token, body),
                    None => {
                        let _nobody_waits =
                            world.with(node, |node, now| node.refuse(now, token, PeerRefusal::Declined));
                    }
                }
            }
        });
        self.oracle.nobody_waits_too_long(self.world.now(), |node| self.health[&node].frozen);
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
                self.oracle.is_at_rest(&mut self.world, node, self.nodes.len());
            }
        }
    }

    /// Whatever happened, a world that has healed works.
    fn everybody_answers_everybody(&mut self) {
        if !self.all_is_well() {
            return;
        }
        let mut asked = Vec::new();
        let count = self.nodes.len();
        for from in 0..count {
            for step in 0..count.min(NEIGHBOURS + 1) {
                let (from, to) = (self.nodes[from], self.nodes[(from + step) % count]);
                asked.extend(self.ask(from, to, ECHO, 100, LONGEST));
            }
        }
        self.run(LONGEST);
        if self.all_is_well() && !self.cramped {
            self.oracle.all_were_answered(self.world.now(), &asked);
        }
    }

    fn verdicts_told_the_truth(&mut self) {
        if !self.all_is_well() {
            return;
        }
        self.oracle.verdicts_told_the_truth(self.world.now());
        for &node in &self.nodes {
            self.oracle.nobody_misbehaved(&mut self.world, node);
        }
    }
}

fn draw_network(choice: &mut Choice) -> Network {
    let chunks = [Chunks::Single, Chunks::Tiny, Chunks::Any, Chunks::Whole][usize_below(choice, 4)];
    Network {
        latency: Duration::from_micros(choice.below(50_000)),
        jitter: Duration::from_micros(choice.below(20_000)),
        chunks,
        buffer: 256 + usize_below(choice, 64 * 1024),
    }
}

/// A configuration, and how it differs from the default one.
fn draw_config(choice: &mut Choice, cramped: bool) -> (Config, String) {
    let mut config = Config::default();
    let mut peculiarities = String::new();
    if choice.per_mille(200) {
        let rate = 2_000 + choice.below(100_000);
        config.throttle.up = Rate::bytes_per_second(rate);
        peculiarities += &format!(" sends at most {rate} bytes a second;");
    }
    if choice.per_mille(200) {
        let rate = 2_000 + choice.below(100_000);
        config.throttle.down_per_connection = Rate::bytes_per_second(rate);
        peculiarities += &format!(" receives at most {rate} bytes a second on each connection;");
    }
    if cramped {
        config.limits.connections = 2;
        peculiarities += " has at most two connections;";
    }
    (config, peculiarities)
}

fn serve_everything(world: &mut World, node: NodeIndex) {
    for name in TYPES {
        world.node(node).serve(type_name(name)).expect("there is room for every type");
    }
}

fn usize_below(choice: &mut Choice, bound: usize) -> usize {
    usize::try_from(choice.below(bound as u64)).unwrap_or(0)
}
