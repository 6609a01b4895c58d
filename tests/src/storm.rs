//! A small world in which everything goes wrong at random, and the promises that hold all the same.

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{
    Cause, Config, Delivery, Executed, Failure, Instant, PeerRefusal, Query, QueryId, Rate, Reason, ReplyToken, Verdict,
};
use egtp_sim::{Choice, Chunks, Network, NodeIndex, World};

use crate::scene::{ECHO, EMPTY, KEEP, NEVER, NO, TYPES, long_body, type_name};

/// The longest hard timeout that is drawn.
const LONGEST: Duration = Duration::from_secs(20);

/// Lets a storm pass over a small world, and checks every promise. Everything follows from the seed.
///
/// # Panics
///
/// If a promise is broken; the message says which.
pub fn weather(seed: u64) {
    let mut storm = Storm::new(seed);
    for _ in 0..40 {
        storm.misfortune();
        let pause = storm.choice.below(2_000_000);
        storm.run(Duration::from_micros(pause));
    }
    storm.heal();
    storm.run(LONGEST + Duration::from_secs(60));
    storm.nothing_leaks();
    storm.everybody_answers_everybody();
    storm.run(Duration::from_secs(1500));
    storm.everything_is_at_rest();
    storm.everybody_answers_everybody();
    storm.verdicts_told_the_truth();
}

struct Storm {
    choice: Choice,
    world: World,
    nodes: Vec<NodeIndex>,
    health: BTreeMap<NodeIndex, Health>,
    told: Told,
    next_serial: u64,
    /// Some node may have so few connections that it cannot talk to everybody.
    cramped: bool,
}

#[derive(Clone, Copy, Default)]
struct Health {
    crashed: bool,
    frozen: bool,
    silent: bool,
    deaf: bool,
    /// When it was last able to do what was due.
    thawed: Instant,
}

/// What nodes were told.
#[derive(Default)]
struct Told {
    /// Queries without a verdict, by who asked: the number in the body, and the hard timeout.
    waiting: BTreeMap<(NodeIndex, QueryId), (u64, Instant)>,
    /// The verdicts, by the number in the body.
    ended: BTreeMap<u64, Verdict>,
    /// How often a handler was given each number.
    runs: BTreeMap<u64, usize>,
    kept: Vec<(NodeIndex, ReplyToken, Vec<u8>)>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut choice = Choice::new(seed ^ 0x5707);
        let chunks = [Chunks::Single, Chunks::Tiny, Chunks::Any, Chunks::Whole][usize_below(&mut choice, 4)];
        let network = Network {
            latency: Duration::from_micros(choice.below(50_000)),
            jitter: Duration::from_micros(choice.below(20_000)),
            chunks,
            buffer: 256 + usize_below(&mut choice, 64 * 1024),
        };
        let mut world = World::new(seed, network);
        let mut nodes = Vec::new();
        let cramped = choice.per_mille(200);
        for _ in 0..2 + choice.below(3) {
            let mut config = Config::default();
            if choice.per_mille(200) {
                config.throttle.up = Rate::bytes_per_second(2_000 + choice.below(100_000));
            }
            if choice.per_mille(200) {
                config.throttle.down_per_connection = Rate::bytes_per_second(2_000 + choice.below(100_000));
            }
            if cramped {
                config.limits.connections = 2;
            }
            let node = world.add_node_with(config.check().expect("the limits are in range"));
            serve_everything(&mut world, node);
            nodes.push(node);
        }
        let health = nodes.iter().map(|&node| (node, Health::default())).collect();
        Self { choice, world, nodes, health, told: Told::default(), next_serial: 0, cramped }
    }

    fn any_node(&mut self) -> NodeIndex {
        self.nodes[usize_below(&mut self.choice, self.nodes.len())]
    }

    fn health(&mut self, node: NodeIndex) -> &mut Health {
        self.health.entry(node).or_default()
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
                self.world.cut(node, other);
            }
            14 => {
                let bytes = usize_below(&mut self.choice, 2000) + 1;
                self.world.break_next_connection_after(Some(bytes));
            }
            15 => self.crash(node),
            16 | 17 => self.revive(node),
            18 => self.freeze(node),
            19 => self.thaw(node),
            20 => {
                self.health(node).silent ^= true;
                let silent = self.health(node).silent;
                self.world.set_silent(node, silent);
            }
            21 => {
                self.health(node).deaf ^= true;
                let deaf = self.health(node).deaf;
                self.world.set_listening(node, !deaf);
            }
            22 => {
                let silent = self.choice.per_mille(500);
                self.world.set_directory_silent(silent);
            }
            _ => {
                let id = self.world.id(node);
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
        self.ask(from, to, name, length, hard);
    }

    fn ask(&mut self, from: NodeIndex, to: NodeIndex, name: &str, length: usize, hard: Duration) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let Health { crashed, frozen, .. } = *self.health(from);
        if crashed || frozen {
            return serial;
        }
        let body = [&serial.to_be_bytes()[..], &long_body(length)].concat();
        let mut query = Query::new(type_name(name), body).hard_timeout(hard);
        if self.choice.per_mille(300) {
            query = query.soft_timeout(hard / 2);
        }
        let deadline = self.world.now() + hard;
        let asked = self.world.query(from, to, query).expect("nothing speaks against the query");
        self.told.waiting.insert((from, asked), (serial, deadline));
        serial
    }

    fn send_a_notice(&mut self, from: NodeIndex) {
        let Health { crashed, frozen, .. } = *self.health(from);
        if !crashed && !frozen {
            let to = self.any_node();
            let to = self.world.id(to);
            let noticed = self.world.with(from, |node, now| node.notify(now, to, type_name(NEVER), vec![0; 8]));
            noticed.expect("nothing speaks against the notice");
        }
    }

    fn cancel_something(&mut self, node: NodeIndex) {
        let Health { crashed, frozen, .. } = *self.health(node);
        let query = self.told.waiting.keys().find(|&&(asker, _)| asker == node).map(|&(_, query)| query);
        if let (Some(query), false, false) = (query, crashed, frozen) {
            self.world.with(node, |node, now| node.cancel(now, query)).expect("the query has no verdict yet");
        }
    }

    fn answer_kept(&mut self) {
        for (node, token, body) in std::mem::take(&mut self.told.kept) {
            if self.health(node).frozen {
                self.told.kept.push((node, token, body));
            } else {
                self.world.reply(node, token, body);
            }
        }
    }

    fn crash(&mut self, node: NodeIndex) {
        if !self.health(node).crashed {
            self.thaw(node);
            self.health(node).crashed = true;
            self.world.crash(node);
            self.told.waiting.retain(|&(asker, _), _| asker != node);
            self.told.kept.retain(|&(keeper, _, _)| keeper != node);
        }
    }

    fn revive(&mut self, node: NodeIndex) {
        if self.health(node).crashed {
            self.health(node).crashed = false;
            self.world.start(node);
            serve_everything(&mut self.world, node);
        }
    }

    fn freeze(&mut self, node: NodeIndex) {
        if !self.health(node).crashed {
            self.health(node).frozen = true;
            self.world.set_frozen(node, true);
        }
    }

    fn thaw(&mut self, node: NodeIndex) {
        if self.health(node).frozen {
            let now = self.world.now();
            let health = self.health(node);
            (health.frozen, health.thawed) = (false, now);
            self.world.set_frozen(node, false);
        }
    }

    fn heal(&mut self) {
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
        let Self { world, told, health, .. } = self;
        world.run(time, |world, node, delivery| told.take(world, health, node, delivery));
        let now = world.now();
        for (&(node, query), &(serial, deadline)) in &told.waiting {
            let may_wait = deadline > now || health[&node].frozen;
            assert!(may_wait, "{query:?} of {node:?} (number {serial}) has no verdict at {now}, due at {deadline}");
        }
    }

    fn nothing_leaks(&mut self) {
        assert!(self.told.waiting.is_empty());
        for node in self.nodes.clone() {
            let usage = self.world.node(node).usage();
            let rests = [
                usage.queries,
                usage.query_bytes,
                usage.incoming,
                usage.assembly_bytes,
                usage.reply_bytes,
                usage.undelivered_bytes,
                usage.lookups,
                usage.tentative_sessions,
                usage.unauthenticated_connections,
            ];
            assert_eq!(rests, [0; 9], "something is left at {node:?}: {usage:?}");
            // A connection is watched for silence and for idleness and may be leaving; a session is renewed; surplus is tidied.
            let explained = 3 * usage.connections + usage.sessions + 1;
            assert!(usage.timers <= explained, "unexplained timers at {node:?}: {usage:?}");
        }
    }

    fn everything_is_at_rest(&mut self) {
        self.nothing_leaks();
        for node in self.nodes.clone() {
            let usage = self.world.node(node).usage();
            assert_eq!(usage.connections, 0, "{node:?} keeps idle connections: {usage:?}");
            assert!(usage.sessions < self.nodes.len(), "more sessions than peers at {node:?}: {usage:?}");
            assert_eq!(usage.timers, usage.sessions, "unexplained timers at {node:?}: {usage:?}");
        }
    }

    /// Whatever happened, a world that has healed works.
    fn everybody_answers_everybody(&mut self) {
        let mut asked = Vec::new();
        for from in self.nodes.clone() {
            for to in self.nodes.clone() {
                asked.push((from, to, self.ask(from, to, ECHO, 100, LONGEST)));
            }
        }
        self.run(LONGEST);
        for (from, to, serial) in asked {
            let verdict = &self.told.ended[&serial];
            assert!(self.cramped || matches!(verdict, Verdict::Reply(_)), "{from:?} asked {to:?} in vain: {verdict:?}");
        }
    }

    /// No query ran twice, and none ran of which somebody was told that it did not.
    fn verdicts_told_the_truth(&mut self) {
        for (serial, verdict) in &self.told.ended {
            let runs = self.told.runs.get(serial).copied().unwrap_or(0);
            match verdict {
                Verdict::Reply(_) => assert_eq!(runs, 1, "query {serial} was answered"),
                Verdict::Failed(Failure { executed: Executed::No, .. }) => {
                    assert_eq!(runs, 0, "query {serial}: {verdict:?}");
                }
                Verdict::Failed(Failure { executed: Executed::Maybe, .. }) => assert!(runs <= 1, "query {serial}"),
            }
        }
        assert!(self.told.runs.values().all(|&runs| runs == 1));
        for node in self.nodes.clone() {
            for cause in [Cause::ProtocolViolation, Cause::UnknownVersion, Cause::PacketTooLong, Cause::RecordNotOpened]
            {
                assert_eq!(self.world.node(node).count(cause), 0, "{} at {node:?}", cause.text());
            }
        }
    }
}

impl Told {
    fn take(&mut self, world: &mut World, health: &BTreeMap<NodeIndex, Health>, node: NodeIndex, delivery: Delivery) {
        match delivery {
            Delivery::Query { type_name, body, token, .. } => {
                *self.runs.entry(serial_of(&body)).or_default() += 1;
                match type_name.as_str() {
                    ECHO => world.reply(node, token, body),
                    EMPTY => world.reply(node, token, Vec::new()),
                    KEEP => self.kept.push((node, token, body)),
                    NO => {
                        let _nobody_waits =
                            world.with(node, |node, now| node.refuse(now, token, PeerRefusal::Declined));
                    }
                    _ => {}
                }
            }
            Delivery::Verdict(query, verdict) => {
                let now = world.now();
                let Some((serial, deadline)) = self.waiting.remove(&(node, query)) else {
                    panic!("{query:?} of {node:?} has a second verdict, or was never asked: {verdict:?}");
                };
                assert!(
                    now <= deadline.max(health[&node].thawed),
                    "{query:?} of {node:?}, due {deadline}, ended {now}"
                );
                if let Verdict::Failed(Failure { reason: Reason::HardTimeout, .. }) = verdict {
                    assert!(now >= deadline, "{query:?} of {node:?}, due {deadline}, timed out {now}");
                }
                self.ended.insert(serial, verdict);
            }
            Delivery::SoftTimeout(query) => {
                assert!(self.waiting.contains_key(&(node, query)), "a soft timeout after the verdict");
            }
            _ => {}
        }
    }
}

fn serial_of(body: &[u8]) -> u64 {
    body.first_chunk().map_or(u64::MAX, |serial| u64::from_be_bytes(*serial))
}

fn serve_everything(world: &mut World, node: NodeIndex) {
    for name in TYPES {
        world.node(node).serve(type_name(name)).expect("there is room for every type");
    }
}

fn usize_below(choice: &mut Choice, bound: usize) -> usize {
    usize::try_from(choice.below(bound as u64)).unwrap_or(0)
}
