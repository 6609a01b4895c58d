//! What goes wrong, and when: steps drawn one after the other from one source of choice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{Limits, Rate, Throttle, Timers};

use super::Settings;
use crate::adversary::{Manner, Trick};
use crate::scenario::{ASKED_FOR, Scenario, Setup, Step};
use crate::scene::{ECHO, KEEP};
use crate::{Choice, Chunks, Directory, MAX_DRIFT, Nat, NatBehaviour, Network};

/// The longest hard timeout that is drawn: long enough that trouble is over well before, and an answer is owed.
pub(super) const LONGEST: Duration = Duration::from_micros(LONGEST_MICROS);
const LONGEST_MICROS: u64 = 300_000_000;

/// Most are shorter.
const SHORT_MICROS: u64 = 20_000_000;

/// So many things happen in the storm of a seed, and so many queries are asked among them, unless a time is set.
const HAPPENINGS: usize = 40;
const QUERIES: usize = 20;

/// As many if two nodes have much to say to each other; of few nodes, so that it is still fifty queries with those in the calm.
const LADEN_HAPPENINGS: usize = 60;
const LADEN_QUERIES: usize = 30;
const LADEN_NODES: usize = 3;
const LADEN_BODY: usize = 20_000;

/// A partition lasts so long at least.
const LEAST_PARTITION: Duration = Duration::from_secs(1);

/// Only the first so many nodes are parted from each other.
const MOST_PARTITIONED: usize = 16;

/// Draws the steps of a scenario. They end with [`Step::Heal`].
pub(super) struct Weather {
    choice: Choice,
    nodes: usize,
    /// So long is what is asked at most.
    longest: usize,
    lasts: Option<Duration>,
    /// Unless a time is set, so many things happen, and so many queries are asked among them.
    happenings: usize,
    queries: usize,
    happened: usize,
    asked: usize,
    /// How much time all the waits together have taken.
    elapsed: Duration,
    /// What is to come: by when, and in which order.
    due: BTreeMap<(Duration, usize), Step>,
    scheduled: usize,
    /// Whether the last step was to wait.
    waits: bool,
    over: bool,
    /// Whether there is an adversary.
    hostile: bool,
    /// Whether nodes' clocks are set.
    clocks_jump: bool,
    /// Whether nodes' clocks go too fast or too slow.
    clocks_drift: bool,
    /// Whether two nodes have more to say to each other than their link soon carries.
    laden: bool,
}

impl Weather {
    /// A scenario without steps, and the steps to come. Every number is worth a world of its own.
    pub(super) fn from_seed(seed: u64, settings: &Settings) -> (Scenario, Self) {
        let mut choice = Choice::from_seed(seed ^ 0x5707);
        let count = 3 + choice.index(3);
        Self::new(choice, seed, count, settings)
    }

    /// The same from bytes: with none at all, two nodes and nothing to happen.
    pub(super) fn from_bytes(bytes: &[u8]) -> (Scenario, Self) {
        let mut choice = Choice::from_bytes(bytes);
        let count = 2 + choice.index(4);
        let seed = choice.below(1 << 8);
        let (scenario, weather) = Self::new(choice, seed, count, &Settings::default());
        (scenario, Self { happenings: 100, queries: 100, ..weather })
    }

    fn new(mut choice: Choice, seed: u64, count: usize, settings: &Settings) -> (Scenario, Self) {
        let mut network = draw_network(&mut choice);
        let cramped = choice.per_mille(200);
        let guest = choice.below(1000);
        // Where places are few, an adversary may take those of others.
        let hostile = guest < 250 && !cramped;
        let clocks_jump = (250..400).contains(&guest);
        let laden = (400..550).contains(&guest);
        if laden {
            make_slow(&mut choice, &mut network);
        }
        let brisk = choice.per_mille(300) && network.bandwidth.is_none();
        let count = settings.nodes.unwrap_or(if laden { LADEN_NODES } else { count });
        let mut nodes: Vec<Setup> =
            (0..count).map(|number| draw_setup(&mut choice, number, cramped, brisk, hostile)).collect();
        for setup in nodes.iter_mut().filter(|_| laden) {
            // Room for an answer or two: nothing is read while more than half of it is taken.
            setup.config.limits.reply_bytes_per_peer = LADEN_BODY + choice.index(LADEN_BODY);
        }
        for setup in nodes.iter_mut().filter(|_| clocks_jump) {
            // What is asked by a clock that jumps may keep its place for long.
            let Limits { incoming, incoming_per_peer, .. } = Limits::default();
            setup.config.limits.incoming = incoming;
            setup.config.limits.incoming_per_peer = incoming_per_peer;
        }
        // An adversary's judge knows one clock only.
        let clocks_drift = choice.per_mille(300) && !hostile;
        let scenario = Scenario { seed, network, nodes, steps: Vec::new() };
        let mut weather = Self {
            choice,
            nodes: count,
            longest: if network.chunks == Chunks::Single { 3_000 } else { 60_000 },
            lasts: settings.lasts,
            happenings: if laden { LADEN_HAPPENINGS } else { HAPPENINGS },
            queries: if laden { LADEN_QUERIES } else { QUERIES },
            elapsed: Duration::ZERO,
            due: BTreeMap::new(),
            scheduled: 0,
            happened: 0,
            asked: 0,
            waits: true,
            over: false,
            hostile,
            clocks_jump,
            clocks_drift,
            laden,
        };
        for node in (0..count).filter(|_| clocks_drift) {
            let step = weather.drift(node);
            weather.later(Duration::ZERO, step);
        }
        (scenario, weather)
    }

    fn rages(&self) -> bool {
        let time_is_left = match self.lasts {
            Some(time) => self.elapsed < time,
            None => self.happened < self.happenings,
        };
        time_is_left && !self.choice.is_exhausted()
    }

    /// Some of what happens comes all at once, some while the last thing is still under way.
    fn wait(&mut self) -> Duration {
        let mut pause = match self.choice.below(4) {
            _ if self.laden => Duration::from_micros(self.choice.below(1_000_000)),
            0 => Duration::ZERO,
            1 => Duration::from_micros(self.choice.below(50_000)),
            _ => Duration::from_micros(self.choice.below(2_000_000)),
        };
        // It never passes what is to come.
        if let Some((&(at, _), _)) = self.due.first_key_value() {
            pause = pause.min(at.saturating_sub(self.elapsed));
        }
        self.elapsed += pause;
        pause
    }

    /// What is due by now: above all the ends of misfortunes.
    fn due(&mut self) -> Option<Step> {
        let entry = self.due.first_entry().filter(|entry| entry.key().0 <= self.elapsed)?;
        Some(entry.remove())
    }

    /// Something happens: more often a query than a misfortune.
    fn happening(&mut self) -> Step {
        self.happened += 1;
        let node = if self.laden { self.choice.index(2) } else { self.any_node() };
        let happenings = match (self.hostile, self.clocks_jump) {
            _ if self.laden => 24,
            (true, _) => 50,
            (false, true) => 43,
            (false, false) => 40,
        };
        match self.choice.below(happenings) {
            40..43 if self.clocks_jump => self.jump(node),
            0..14 => self.ask(node),
            14..16 => Step::Notify { from: node, to: self.any_node() },
            16 => Step::Cancel { node },
            17 => Step::Answer { node },
            18..20 => Step::Cut { one: node, other: self.any_node() },
            20 => Step::BreakNext { bytes: self.choice.index(2000) + 1 },
            21..23 => self.passing(Step::Crash { node }, &[Step::Start { node }]),
            23 => self.passing(Step::Crash { node }, &[Step::Wipe { node }, Step::Start { node }]),
            24..26 => self.passing(Step::PowerOff { node }, &[Step::Start { node }]),
            26..28 => self.passing(Step::Freeze { node }, &[Step::Thaw { node }]),
            28..30 => self.passing(Step::Silence { node, silent: true }, &[Step::Silence { node, silent: false }]),
            30 => self.passing(Step::Listen { node, listening: false }, &[Step::Listen { node, listening: true }]),
            31..33 => self.lying(),
            33..36 => self.partition(node),
            36 => self.translate(node),
            37 => Step::Outdate { node, peer: self.any_node() },
            38 if self.clocks_drift => self.drift(node),
            40..45 => self.trick(node),
            45 => Step::Manner(Manner::ALL[self.choice.index(Manner::ALL.len())]),
            46..50 if !self.is_enough_asked() => {
                self.asked += 1;
                let type_name = [ECHO, KEEP][self.choice.index(2)];
                let bytes = 8 + [0, 3_000, 40_000][self.choice.index(3)];
                let hard = Duration::from_micros(SHORT_MICROS - self.choice.below(SHORT_MICROS));
                Step::AskAdversary { from: node, type_name, bytes, hard }
            }
            _ => Step::Forget { node },
        }
    }

    /// A clock is set ahead, mostly by little, or back by little: for as long as it shows a time that has been, nothing is due there.
    fn jump(&mut self, node: usize) -> Step {
        let most = [2, 2, 30, 3600, 24 * 3600][self.choice.index(5)];
        let by = Duration::from_micros(self.choice.below(most * 1_000_000));
        if most > 2 || self.choice.per_mille(500) {
            Step::ClockForward { node, by }
        } else {
            Step::ClockBack { node, by }
        }
    }

    /// A clock goes too fast or too slow from now on, by as much as is allowed at most.
    fn drift(&mut self, node: usize) -> Step {
        let millionths = i32::try_from(self.choice.below(2 * MAX_DRIFT.unsigned_abs() as u64 + 1)).unwrap_or(0);
        Step::Drift { node, millionths: millionths - MAX_DRIFT }
    }

    fn trick(&mut self, node: usize) -> Step {
        let trick = Trick::ALL[self.choice.index(Trick::ALL.len())];
        if trick.crowds_others_out() { Step::Manner(Manner::Answers) } else { Step::Trick { node, trick } }
    }

    fn lying(&mut self) -> Step {
        let slow = Directory::Slow(Duration::from_micros(self.choice.below(3_000_000)));
        let behaviours = [Directory::Silent, slow, Directory::Stale, Directory::Wrong, Directory::Gone];
        let directory = behaviours[self.choice.index(behaviours.len())];
        self.passing(Step::Directory(directory), &[Step::Directory(Directory::Honest)])
    }

    fn translate(&mut self, node: usize) -> Step {
        let behaviours =
            [NatBehaviour::EndpointIndependent, NatBehaviour::AddressDependent, NatBehaviour::AddressAndPortDependent];
        let [mapping, filtering] = [(); 2].map(|()| behaviours[self.choice.index(behaviours.len())]);
        let nat = Some(Nat { mapping, filtering });
        self.passing(Step::Nat { node, nat }, &[Step::Nat { node, nat: None }])
    }

    /// Some nodes, this one among them, do not reach the others for a while, nor perhaps the others them.
    fn partition(&mut self, node: usize) -> Step {
        let sides = self.choice.below(1 << self.nodes.min(MOST_PARTITIONED));
        let is_here = |other: usize| other == node || (other < MOST_PARTITIONED && sides >> other & 1 == 1);
        let both_ways = self.choice.per_mille(500);
        let lasts = LEAST_PARTITION + Duration::from_micros(self.choice.below(8_000_000));
        let concerned: BTreeSet<usize> = (0..self.nodes.min(MOST_PARTITIONED)).chain([node]).collect();
        let (here, there): (Vec<usize>, Vec<usize>) = concerned.into_iter().partition(|&other| is_here(other));
        for (from, to) in here.iter().flat_map(|&from| there.iter().map(move |&to| (from, to))) {
            for (from, to) in [(from, to), (to, from)].into_iter().take(1 + usize::from(both_ways)) {
                self.later(Duration::ZERO, Step::Block { from, to, blocked: true });
                self.later(lasts, Step::Block { from, to, blocked: false });
            }
        }
        self.due().unwrap_or(Step::Cut { one: node, other: node })
    }

    fn ask(&mut self, from: usize) -> Step {
        if self.is_enough_asked() {
            return Step::Answer { node: from };
        }
        if self.laden {
            return self.ask_much(from);
        }
        self.asked += 1;
        let to = self.any_node();
        let type_name = if self.choice.per_mille(500) { ASKED_FOR[self.choice.index(ASKED_FOR.len())] } else { ECHO };
        let bytes = match self.choice.below(16) {
            9..13 => self.choice.index(3_000),
            13 => self.choice.index(20_000.min(self.longest)),
            14..16 => self.choice.index(self.longest),
            _ => 0,
        } + 8;
        let hard = self.hard();
        // Scenarios are written in whole microseconds.
        let half = Duration::from_micros(u64::try_from(hard.as_micros() / 2).unwrap_or(u64::MAX));
        let soft = self.choice.per_mille(300).then_some(half);
        // Who is asked asks too: both dial, and have two connections with each other.
        if self.choice.per_mille(150) {
            let bytes = self.choice.index(self.longest) + 8;
            self.asked += 1;
            self.later(Duration::ZERO, Step::Ask { from: to, to: from, type_name, bytes, soft, hard });
        }
        Step::Ask { from, to, type_name, bytes, soft, hard }
    }

    /// Something long is asked of the first or the second node by the other, and mostly the same the other way.
    fn ask_much(&mut self, from: usize) -> Step {
        let (to, type_name, soft) = (1 - from, ECHO, None);
        let hard = self.hard();
        let [bytes, back] = [(); 2].map(|()| 8 + self.choice.index(LADEN_BODY.min(self.longest)));
        self.asked += 1;
        if self.choice.per_mille(900) {
            self.asked += 1;
            self.later(Duration::ZERO, Step::Ask { from: to, to: from, type_name, bytes: back, soft, hard });
        }
        Step::Ask { from, to, type_name, bytes, soft, hard }
    }

    fn hard(&mut self) -> Duration {
        let most = if self.choice.per_mille(400) { LONGEST_MICROS } else { SHORT_MICROS };
        Duration::from_micros(most - self.choice.below(most))
    }

    fn is_enough_asked(&self) -> bool {
        self.lasts.is_none() && self.asked >= self.queries
    }

    /// A misfortune that mostly ends by itself. What does not is healed in the end.
    fn passing(&mut self, begins: Step, ends: &[Step]) -> Step {
        if !self.choice.per_mille(100) {
            let most = if self.choice.per_mille(250) { 300_000 } else { 8_000_000 };
            let lasts = Duration::from_micros(self.choice.below(most));
            for &step in ends {
                self.later(lasts, step);
            }
        }
        begins
    }

    fn later(&mut self, after: Duration, step: Step) {
        self.due.insert((self.elapsed + after, self.scheduled), step);
        self.scheduled += 1;
    }

    fn any_node(&mut self) -> usize {
        self.choice.index(self.nodes)
    }
}

impl Iterator for Weather {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.over {
            return None;
        }
        if let Some(step) = self.due() {
            return Some(step);
        }
        if !self.rages() {
            self.over = true;
            return Some(Step::Heal);
        }
        self.waits ^= true;
        if self.waits {
            let pause = self.wait();
            if !pause.is_zero() {
                return Some(Step::Wait(pause));
            }
            self.waits = false;
        }
        Some(self.due().unwrap_or_else(|| self.happening()))
    }
}

fn draw_network(choice: &mut Choice) -> Network {
    let chunks = match choice.below(8) {
        0..3 => Chunks::Whole,
        3..6 => Chunks::Any,
        6 => Chunks::Tiny,
        _ => Chunks::Single,
    };
    Network {
        latency: Duration::from_micros(choice.below(50_000)),
        jitter: Duration::from_micros(choice.below(20_000)),
        chunks,
        buffer: draw_buffer(choice),
        bandwidth: choice.per_mille(250).then(|| 2_000 + choice.below(2_000_000)),
    }
}

/// So that what is said at once takes seconds, and little of it is under way.
fn make_slow(choice: &mut Choice, network: &mut Network) {
    network.bandwidth = Some(2_000 + choice.below(18_000));
    network.buffer = 256 + choice.index(8 * 1024);
}

/// In a small one a message is under way for long, and may be cut off in the middle.
fn draw_buffer(choice: &mut Choice) -> usize {
    let most = if choice.per_mille(300) { 4 * 1024 } else { 64 * 1024 };
    most + 256 - choice.index(most)
}

/// With a cramped one nobody can be connected with everybody. What is brisk gives up soon, and nothing is slow there.
fn draw_setup(choice: &mut Choice, number: usize, cramped: bool, brisk: bool, hostile: bool) -> Setup {
    let mut setup = Setup::usual(number);
    let config = &mut setup.config;
    draw_limits(choice, &mut config.limits);
    if !hostile {
        draw_own_limits(choice, &mut config.limits);
    }
    if brisk {
        config.timers = brisk_timers(choice);
    } else {
        config.timers.idle = Duration::from_secs(100);
        draw_throttle(choice, &mut config.throttle);
    }
    if cramped {
        config.limits.connections = 2;
    }
    setup
}

/// Places that are soon taken.
fn draw_limits(choice: &mut Choice, limits: &mut Limits) {
    if choice.per_mille(150) {
        limits.incoming_per_peer = 1 + choice.index(3);
    }
    let Limits { incoming, lookups, stored_records, tentative_sessions, unauthenticated_connections, .. } = limits;
    let few =
        [(incoming, 1), (lookups, 1), (stored_records, 1), (tentative_sessions, 2), (unauthenticated_connections, 2)];
    for (limit, least) in few {
        if choice.per_mille(60) {
            *limit = least + choice.index(3);
        }
    }
    let Limits {
        assembly_bytes, assembly_bytes_per_peer, reply_bytes, reply_bytes_per_peer, undelivered_bytes, ..
    } = limits;
    let small = [
        (assembly_bytes, 17_000),
        (assembly_bytes_per_peer, 17_000),
        (reply_bytes, 200),
        (reply_bytes_per_peer, 200),
        (undelivered_bytes, 1),
    ];
    for (limit, least) in small {
        if choice.per_mille(50) {
            *limit = least + choice.index(30_000);
        }
    }
    if choice.per_mille(100) {
        limits.maintained_connections = choice.index(3);
    }
}

/// So small that they are soon reached by what a node does itself. An adversary would reach them for it.
fn draw_own_limits(choice: &mut Choice, limits: &mut Limits) {
    let Limits { queries, query_bytes, peers, sessions, .. } = limits;
    for (limit, least, steps) in [(queries, 1, 4), (query_bytes, 100, 40_000), (peers, 2, 4), (sessions, 2, 4)] {
        if choice.per_mille(40) {
            *limit = least + choice.index(steps);
        }
    }
    if choice.per_mille(40) {
        limits.handshakes_per_second = 1 + u32::try_from(choice.below(4)).unwrap_or(0);
    }
}

/// With the usual ones much takes longer than most queries wait.
fn brisk_timers(choice: &mut Choice) -> Timers {
    let mut timers = Timers::default();
    // A session is replaced while messages are under way in it, and not before the one that it has replaced is done with.
    if choice.per_mille(500) {
        timers.session = Duration::from_secs(10 + choice.below(60));
    }
    timers.connect = Duration::from_secs(2);
    timers.authenticate = Duration::from_secs(2);
    timers.lookup = Duration::from_secs(4);
    timers.idle = Duration::from_secs(30);
    timers
}

fn draw_throttle(choice: &mut Choice, throttle: &mut Throttle) {
    let Throttle { up, down, up_per_connection, down_per_connection } = throttle;
    for rate in [up, down, up_per_connection, down_per_connection] {
        if choice.per_mille(120) {
            *rate = Rate::bytes_per_second(2_000 + choice.below(100_000));
        }
    }
}
