//! The reference model: it hears facts in their order, and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use egtp::{Cause, Config, Instant, Limits, Timers};

use super::clock::{Clock, Due, Window, micros};
use super::faults::{Faults, Kind, Place};
use super::life::{Answer, Life, Question};
use super::limits::is_cramped;
use super::notices::{self, Notices};
use super::pace::Pace;
use super::reach::Reach;
use crate::drift::Drift;
use crate::storm::Violation;
use crate::transcript::{Ending, What};
use crate::{Directory, Network, NodeIndex};

/// How much longer than its asker a recipient may hold a query: as long as a handshake may have taken.
const HANDSHAKE_AT_MOST: Duration = Duration::from_secs(60);

/// No trick sends more, or is answered with more.
const BYTES_OF_A_TRICK: usize = 250_000;

#[derive(Debug)]
pub(super) struct Model {
    pub(super) pace: Pace,
    pub(super) faults: Faults,
    pub(super) reach: Reach,
    pub(super) nodes: BTreeMap<NodeIndex, Setting>,
    pub(super) lives: Vec<Life>,
    pub(super) notices: Notices,
    /// Queries without a verdict whose askers run.
    pub(super) waiting: BTreeSet<usize>,
    /// Queries that handlers have.
    pub(super) handled: BTreeSet<usize>,
    /// When what one node waited for from another took all the places there last.
    pub(super) crowded: BTreeMap<(NodeIndex, NodeIndex), Instant>,
    /// Nodes on whom the adversary has played a trick.
    tricked: BTreeSet<NodeIndex>,
    /// Nodes to which a longer packet came than a stranger may send, for no reason.
    pub(super) unexpected_long_packets: BTreeSet<NodeIndex>,
    pub(super) violations: Vec<Violation>,
}

/// What is known of a node.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) address: SocketAddr,
    pub(super) limits: Limits,
    pub(super) timers: Timers,
    clock: Clock,
    /// Since when it has been able to do what is due.
    thawed: Instant,
}

impl Setting {
    /// When its own clock reaches an instant.
    pub(super) fn deadline(&self, due: Due) -> Window {
        self.clock.window(due)
    }

    /// How long at most something lasts that lasts so long by its own clock.
    pub(super) fn at_most(&self, time: Duration) -> Duration {
        self.clock.at_most(time)
    }

    /// What its own clock shows at an instant of the world.
    pub(super) fn shows(&self, at: Instant) -> Instant {
        self.clock.at(at)
    }
}

impl Model {
    pub(super) fn new(network: Network, nodes: &[(NodeIndex, SocketAddr, Config)], now: Instant) -> Self {
        let throttles = nodes.iter().map(|(node, _, config)| (*node, config.throttle)).collect();
        let mut faults = Faults::default();
        for (node, _, config) in nodes {
            if is_cramped(&config.limits, nodes.len()) {
                faults.begin(Kind::Cramped, Place::Node(*node), now);
            }
        }
        let setting = |(node, address, config): &(NodeIndex, SocketAddr, Config)| {
            let (address, Config { limits, timers, .. }) = (*address, config.clone());
            (*node, Setting { address, limits, timers, clock: Clock::default(), thawed: now })
        };
        Self {
            pace: Pace::new(network, throttles),
            faults,
            reach: Reach::default(),
            nodes: nodes.iter().map(setting).collect(),
            lives: Vec::new(),
            notices: Notices::default(),
            waiting: BTreeSet::new(),
            handled: BTreeSet::new(),
            crowded: BTreeMap::new(),
            tricked: BTreeSet::new(),
            unexpected_long_packets: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// Something was asked, when its asker had written so many bytes to its recipient.
    pub(super) fn asks(&mut self, at: Instant, question: Question, written: u64) {
        let clock = self.clock(question.from);
        let hard = clock.after(at, question.hard);
        let soft = question.soft.map(|soft| clock.after(at, soft));
        let life = Life::new(question, at, soft, hard, written);
        self.carry(at, &life);
        self.reach.asked(at, question.from, question.to);
        self.waiting.insert(self.lives.len());
        self.lives.push(life);
    }

    /// Whether the adversary has played a trick on a node.
    pub(super) fn was_tricked(&self, node: NodeIndex) -> bool {
        self.tricked.contains(&node)
    }

    /// Anything else that is no delivery.
    pub(super) fn hears(&mut self, at: Instant, node: Option<NodeIndex>, what: &What) {
        let disturbs = disturbs(what);
        if disturbs {
            // What was due before is due all the same.
            self.nobody_waits_too_long(at, false);
        }
        match (what, node) {
            (What::Cancels { query }, _) => self.lives[*query].cancelled = Some(at),
            (What::Answers { query, .. }, _) => self.answered(at, *query, Answer::Reply),
            (What::Declines { query }, _) => self.answered(at, *query, Answer::Declined),
            (What::LooksUp { peer }, Some(node)) => {
                let wrong = self.reach.looks_up(at, node, *peer, self.outstanding(node, *peer));
                self.violations.extend(wrong);
            }
            (What::Dials { peer }, Some(node)) => self.violations.extend(self.reach.dials(at, node, *peer)),
            (What::Tricked(_), Some(node)) => {
                self.tricked.insert(node);
                self.pace.keeps_busy(at, node, BYTES_OF_A_TRICK);
            }
            (What::AsksAdversary { bytes, .. }, Some(node)) => self.pace.keeps_busy(at, node, *bytes),
            (What::Noted { cause: Cause::PacketTooLong, .. }, Some(node))
                if !self.has_few_places_for_handshakes(node) =>
            {
                self.unexpected_long_packets.insert(node);
            }
            (What::Directory(directory), _) => {
                self.set(Kind::Directory, Place::World, at, *directory != Directory::Honest);
            }
            (What::Heals, _) => self.heals(at),
            (what, Some(node)) => self.goes_wrong(at, node, what),
            _ => {}
        }
        if disturbs {
            self.goes_again(at, node);
        }
    }

    /// Something goes wrong with a node, or is well again.
    fn goes_wrong(&mut self, at: Instant, node: NodeIndex, what: &What) {
        let place = Place::Node(node);
        match what {
            What::Cut { other } | What::Breaks { other } => {
                self.faults.add_until(Kind::Cut, Place::Way(node, *other), at, at + self.pace.ways(1));
            }
            What::Outdated { peer } => {
                self.reach.was_told(at, node, *peer);
                self.faults.add_until(Kind::Outdated, Place::Way(node, *peer), at, at);
            }
            What::Crashes => self.crashed(at, node, Kind::Down),
            What::PowerOff => self.crashed(at, node, Kind::Off),
            What::Starts => self.starts(at, node),
            What::Blocked { to, blocked } => self.set(Kind::Blocked, Place::Way(node, *to), at, *blocked),
            What::ClockForward { by } => self.clock_stepped(at, node, *by, false),
            What::ClockBack { by } => self.clock_stepped(at, node, *by, true),
            What::Drifts { millionths } => self.setting(node).clock.set_drift(at, Drift::new(*millionths)),
            What::Nat(nat) => self.set(Kind::Nat, place, at, nat.is_some()),
            What::Freezes => self.faults.begin(Kind::Frozen, place, at),
            What::Thaws => {
                self.faults.end(Kind::Frozen, place, at);
                self.setting(node).thawed = at;
            }
            What::Silent(silent) => self.set(Kind::Silent, place, at, *silent),
            What::Listening(listening) => self.set(Kind::Deaf, place, at, !*listening),
            What::Unknown => self.faults.begin(Kind::Unknown, place, at),
            _ => {}
        }
    }

    /// All is well from now on, but for processes that do not run: these are started, and those that stand still go on.
    fn heals(&mut self, at: Instant) {
        for kind in [Kind::Silent, Kind::Blocked, Kind::Deaf, Kind::Unknown, Kind::Directory, Kind::Nat] {
            self.faults.end_everywhere(kind, at);
        }
    }

    /// A handler is given a query, which it may answer until then by its node's clock.
    pub(super) fn arrives(&mut self, at: Instant, query: usize, until: Instant) {
        let life = &mut self.lives[query];
        life.runs += 1;
        life.arrived.get_or_insert(at);
        self.handled.insert(query);
        if let Some(wrong) = self.wrong_arrival(at, query, until) {
            self.violate(at, query, &wrong);
        }
    }

    /// A handler is told that nobody waits any more.
    pub(super) fn withdrawn(&mut self, at: Instant, query: usize) {
        if let Some(wrong) = self.wrong_withdrawal(at, query) {
            self.violate(at, query, &wrong);
        }
        self.is_crowded_until(at, query);
        self.lives[query].withdrawn = Some(at);
        self.handled.remove(&query);
    }

    pub(super) fn soft_timeout(&mut self, at: Instant, query: usize) {
        let life = &self.lives[query];
        let window = life.soft.map(|soft| self.window(life.question.from, soft));
        let wrong = match window {
            None => Some("is impatient and was not asked to be".to_owned()),
            Some(_) if life.soft_told => Some("is impatient twice".to_owned()),
            Some(_) if life.ending.is_some() => Some("is impatient after its verdict".to_owned()),
            Some(window) if !window.contains(at) => {
                Some(format!("is impatient at {at}, which was due {}", told(window)))
            }
            Some(_) => None,
        };
        self.lives[query].soft_told = true;
        if let Some(wrong) = wrong {
            self.violate(at, query, &wrong);
        }
    }

    /// A query has its verdict, when its asker had written so many bytes to its recipient.
    pub(super) fn ends(&mut self, at: Instant, query: usize, ending: Ending, written: u64) {
        for wrong in self.wrong_ending(at, query, &ending, written) {
            self.violate(at, query, &wrong);
        }
        let question = self.lives[query].question;
        self.is_crowded_until(at, query);
        let wrong = self.reach.ended(at, question.from, question.to, &ending);
        self.violations.extend(wrong);
        self.lives[query].ending = Some((at, ending));
        self.waiting.remove(&query);
    }

    /// A node is about to send a notice: gives back its body.
    pub(super) fn notifies(&mut self, at: Instant, from: NodeIndex, to: NodeIndex) -> Vec<u8> {
        let number = self.notices.sent(at, from, to);
        self.reach.asked(at, from, to);
        self.pace.carry(at, from, to, notices::BODY);
        (number as u64).to_be_bytes().to_vec()
    }

    /// A node hears a notice.
    pub(super) fn noticed(&mut self, at: Instant, number: usize, from: NodeIndex, to: NodeIndex) {
        let wrong = self.notices.heard(at, number, from, to, self.pace.least());
        self.violations.extend(wrong);
    }

    /// Nobody waits past a deadline, unless its process stands still, and nobody waits for what is sure to come longer than
    /// it takes. With `all` what is due at this very instant must have happened.
    pub(super) fn nobody_waits_too_long(&mut self, now: Instant, all: bool) {
        let late: Vec<(usize, String)> = self
            .waiting
            .iter()
            .filter_map(|&query| Some((query, self.overdue(now, all, query)?)))
            .chain(self.handled.iter().filter_map(|&query| Some((query, self.overdue_withdrawal(now, query)?))))
            .collect();
        for (query, what) in late {
            self.violate(now, query, &what);
        }
        let mut notices = std::mem::take(&mut self.notices);
        let late = notices.overdue(now, |from, to, sent| self.notice_due(now, from, to, sent));
        self.notices = notices;
        self.violations.extend(late);
    }

    /// When a node's own clock reaches an instant: a process that stands still gets to it when it goes on.
    pub(super) fn window(&self, node: NodeIndex, due: Due) -> Window {
        let Window { earliest, latest } = self.clock(node).window(due);
        Window { earliest, latest: latest.max(self.nodes[&node].thawed) }
    }

    pub(super) fn clocks_go_right(&self, one: NodeIndex, other: NodeIndex) -> bool {
        !self.clock(one).was_stepped() && !self.clock(other).was_stepped()
    }

    /// How long after its asker's deadline a recipient gives a query up at the latest.
    pub(super) fn late_until(&self, life: &Life) -> Duration {
        let age = self.nodes[&life.question.from].timers.session * 2;
        HANDSHAKE_AT_MOST + age / 256 + self.pace.ways(1)
    }

    /// How many queries a node's handlers may have for long though nobody waits: by a clock that has jumped, they are not due yet.
    pub(super) fn kept_too_long(&self, node: NodeIndex) -> usize {
        let kept = |&&query: &&usize| {
            let question = self.lives[query].question;
            question.to == node && !self.clocks_go_right(question.from, node)
        };
        self.handled.iter().filter(kept).count()
    }

    /// Whether a node may remember a reply for long though nobody waits for it, for the same reason.
    pub(super) fn remembers_too_long(&self, node: NodeIndex) -> bool {
        let others = self.nodes.keys().filter(|&&other| other != node);
        others.into_iter().any(|&other| !self.clocks_go_right(other, node))
    }

    /// How many of a node's places an adversary may have taken, under both of its names.
    pub(super) fn taken_by_adversary(&self, node: NodeIndex) -> usize {
        if self.tricked.contains(&node) { 2 * self.nodes[&node].limits.incoming_per_peer } else { 0 }
    }

    /// Queries from one node to another without a verdict.
    fn outstanding(&self, from: NodeIndex, to: NodeIndex) -> usize {
        let between = |&&query: &&usize| {
            let question = self.lives[query].question;
            (question.from, question.to) == (from, to)
        };
        self.waiting.iter().filter(between).count()
    }

    /// Until now a query may have taken the place of another.
    fn is_crowded_until(&mut self, at: Instant, query: usize) {
        let to = self.lives[query].question.to;
        let askers: BTreeSet<NodeIndex> = self.waiting.iter().map(|&query| self.lives[query].question.from).collect();
        for from in askers {
            if self.is_crowded(from, to, 0) {
                self.crowded.insert((from, to), at);
            }
        }
    }

    fn starts(&mut self, at: Instant, node: NodeIndex) {
        for kind in [Kind::Down, Kind::Off, Kind::Unknown] {
            self.faults.end(kind, Place::Node(node), at);
        }
        self.setting(node).clock.restart(at);
        self.setting(node).thawed = at;
    }

    fn crashed(&mut self, at: Instant, node: NodeIndex, kind: Kind) {
        self.faults.begin(kind, Place::Node(node), at);
        self.reach.crashed(at, node);
        self.notices.crashed(node);
        for life in &mut self.lives {
            if life.question.from == node && life.may_wait_for_its_handler() {
                life.asker_gone.get_or_insert(at);
            }
            if life.question.to == node && life.arrived.is_some() {
                life.recipient_gone.get_or_insert(at);
            }
        }
        let lives = &self.lives;
        self.waiting.retain(|&query| lives[query].asker_gone.is_none());
        self.handled.retain(|&query| lives[query].recipient_gone.is_none());
    }

    fn answered(&mut self, at: Instant, query: usize, answer: Answer) {
        self.is_crowded_until(at, query);
        let life = &mut self.lives[query];
        // To a query that was withdrawn an answer goes nowhere.
        if life.withdrawn.is_none() && life.recipient_gone.is_none() {
            life.answer.get_or_insert((at, answer));
        }
        self.handled.remove(&query);
        let (from, to, bytes) = (life.question.from, life.question.to, life.reply_body());
        self.pace.carry(at, to, from, bytes);
    }

    /// What had been sent may have to be sent again.
    fn goes_again(&mut self, at: Instant, node: Option<NodeIndex>) {
        let concerned: Vec<Life> = self
            .waiting
            .iter()
            .map(|&query| &self.lives[query])
            .filter(|life| node.is_none_or(|node| [life.question.from, life.question.to].contains(&node)))
            .cloned()
            .collect();
        for life in &concerned {
            self.carry(at, life);
        }
    }

    fn carry(&mut self, at: Instant, life: &Life) {
        let Question { from, to, .. } = life.question;
        if !life.is_to_itself() {
            self.pace.carry(at, from, to, life.body());
            self.pace.carry(at, to, from, life.reply_body());
        }
    }

    fn set(&mut self, kind: Kind, place: Place, at: Instant, wrong: bool) {
        if wrong {
            self.faults.begin(kind, place, at);
        } else {
            self.faults.end(kind, place, at);
        }
    }

    /// The clock of a node is put forward or back.
    pub(super) fn clock_stepped(&mut self, at: Instant, node: NodeIndex, by: Duration, back: bool) {
        self.nobody_waits_too_long(at, false);
        // Until it shows a new time again, nothing that is timed happens.
        let until = if back { at + by } else { at };
        self.faults.add_until(Kind::Clock, Place::Node(node), at, until);
        let by = micros(by);
        self.setting(node).clock.step(at, if back { -by } else { by });
    }

    fn setting(&mut self, node: NodeIndex) -> &mut Setting {
        self.nodes.get_mut(&node).expect("every node of the world is known")
    }

    pub(super) fn clock(&self, node: NodeIndex) -> Clock {
        self.nodes[&node].clock
    }

    /// Since when a node has been able to do what is due.
    pub(super) fn thawed(&self, node: NodeIndex) -> Instant {
        self.nodes[&node].thawed
    }

    pub(super) fn is_frozen(&self, node: NodeIndex) -> bool {
        self.faults.goes_on(Kind::Frozen, Place::Node(node))
    }

    pub(super) fn is_unknown(&self, node: NodeIndex) -> bool {
        self.faults.goes_on(Kind::Unknown, Place::Node(node))
    }

    pub(super) fn violate(&mut self, at: Instant, query: usize, wrong: &str) {
        let what = format!("{} {wrong}", self.lives[query].describe(query));
        self.violations.push(Violation { at, what });
    }
}

pub(super) fn told(Window { earliest, latest }: Window) -> String {
    if earliest == latest { format!("at {earliest}") } else { format!("from {earliest} to {latest}") }
}

/// Whether something goes wrong by it, or is well again.
fn disturbs(what: &What) -> bool {
    matches!(
        what,
        What::Cut { .. }
            | What::Breaks { .. }
            | What::Crashes
            | What::Starts
            | What::Freezes
            | What::Thaws
            | What::Silent(_)
            | What::Listening(_)
            | What::Unknown
            | What::PowerOff
            | What::Blocked { .. }
            | What::ClockForward { .. }
            | What::ClockBack { .. }
            | What::Nat(_)
            | What::Directory(_)
            | What::Heals
    )
}
