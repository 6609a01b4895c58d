//! The reference model: it hears facts in their order, and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{Cause, Config, Instant, Limits, Timers};

use super::clock::{Clock, Due, Window, micros};
use super::faults::{Fault, Faults, Kind, Place};
use super::life::{Answer, Life, Question};
use super::limits::is_cramped;
use super::notices::{self, Notices};
use super::pace::Pace;
use super::reach::Reach;
use super::verdicts::back;
use super::waiting::Waiting;
use crate::drift::Drift;
use crate::storm::Violation;
use crate::transcript::{Ending, What};
use crate::{Directory, Network, NodeIndex};

/// How much longer than its asker a recipient may hold a query: as long as a handshake may have taken.
const HANDSHAKE_AT_MOST: Duration = Duration::from_secs(60);

/// So many places for queries may all be taken at some time.
const FEW_PLACES: usize = 64;

/// No trick sends more, or is answered with more.
pub(in crate::storm) const BYTES_OF_A_TRICK: usize = 250_000;

#[derive(Debug)]
pub(super) struct Model {
    pub(super) pace: Pace,
    pub(super) faults: Faults,
    pub(super) reach: Reach,
    pub(super) nodes: BTreeMap<NodeIndex, Setting>,
    pub(super) lives: Vec<Life>,
    pub(super) notices: Notices,
    pub(super) waiting: Waiting,
    /// Nodes on whom the adversary has played a trick.
    tricked: BTreeSet<NodeIndex>,
    /// When one node waited last for as many answers of another as that takes queries at a time.
    crowded: BTreeMap<(NodeIndex, NodeIndex), Instant>,
    /// Queries that handlers have.
    handled: BTreeSet<usize>,
    /// Nodes that have heard what others had said before, and those on whose connections it was said.
    replayed: BTreeSet<NodeIndex>,
    /// Nodes to which a longer packet came than a stranger may send, for no reason.
    pub(super) unexpected_long_packets: BTreeSet<NodeIndex>,
    pub(super) violations: Vec<Violation>,
}

/// What is known of a node.
#[derive(Debug)]
pub(super) struct Setting {
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

    /// How long it lasts at least.
    pub(super) fn at_least(&self, time: Duration) -> Duration {
        self.clock.at_least(time)
    }

    /// How much passes by its own clock between two instants of the world.
    pub(super) fn between(&self, from: Instant, until: Instant) -> Duration {
        self.clock.between(from, until)
    }
}

impl Model {
    pub(super) fn new(network: Network, nodes: &[(NodeIndex, Config)], now: Instant) -> Self {
        let throttles = nodes.iter().map(|(node, config)| (*node, config.throttle)).collect();
        let mut faults = Faults::default();
        for (node, config) in nodes {
            if is_cramped(&config.limits, nodes.len()) {
                faults.begin(Kind::Cramped, Place::Node(*node), now);
            }
        }
        let setting = |(node, config): &(NodeIndex, Config)| {
            let Config { limits, timers, .. } = config.clone();
            (*node, Setting { limits, timers, clock: Clock::default(), thawed: now })
        };
        Self {
            pace: Pace::new(network, throttles),
            faults,
            reach: Reach::default(),
            nodes: nodes.iter().map(setting).collect(),
            lives: Vec::new(),
            notices: Notices::default(),
            waiting: Waiting::default(),
            tricked: BTreeSet::new(),
            crowded: BTreeMap::new(),
            handled: BTreeSet::new(),
            replayed: BTreeSet::new(),
            unexpected_long_packets: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// Something was asked.
    pub(super) fn asks(&mut self, at: Instant, question: Question) {
        let clock = self.clock(question.from);
        let hard = clock.after(at, question.hard);
        let soft = question.soft.map(|soft| clock.after(at, soft));
        let life = Life::new(question, at, soft, hard);
        self.carry(at, &life);
        self.reach.asked(at, question.from, question.to);
        self.waiting.insert(self.lives.len(), question);
        self.lives.push(life);
    }

    /// Anything else that is no delivery.
    pub(super) fn hears(&mut self, at: Instant, node: Option<NodeIndex>, what: &What) {
        let disturbs = disturbs(what);
        if disturbs {
            // What was due before is due all the same.
            self.nobody_waits_too_long(at, false);
        }
        let place = node.map_or(Place::World, Place::Node);
        match (what, node) {
            (What::Cancels { query }, _) => self.lives[*query].cancelled = Some(at),
            (What::Answers { query, .. }, _) => self.answered(at, *query, Answer::Reply),
            (What::Declines { query }, _) => self.answered(at, *query, Answer::Declined),
            (What::LooksUp { peer }, Some(node)) => {
                let wrong = self.reach.looks_up(at, node, *peer, self.waiting.between(node, *peer));
                self.violations.extend(wrong);
            }
            (What::Dials { peer }, Some(node)) => {
                if self.reach.a_break_is_due() {
                    self.faults.begin(Kind::Fragile, Place::Way(node, *peer), at);
                }
                let wrong = self.reach.dials(at, node, *peer);
                self.violations.extend(wrong);
            }
            (What::Tricked(_), Some(node)) => {
                self.tricked.insert(node);
                self.pace.keeps_busy(at, node, BYTES_OF_A_TRICK);
            }
            (What::AsksAdversary { bytes, .. }, Some(node)) => self.pace.keeps_busy(at, node, *bytes),
            (What::Outdated { peer }, Some(node)) => self.reach.was_told(at, node, *peer),
            (What::Noted { cause: Cause::PacketTooLong, .. }, Some(node)) if !self.may_be_of_lost_session(at, node) => {
                self.unexpected_long_packets.insert(node);
            }
            (What::Cut { other }, Some(node)) => {
                let news = at + self.pace.ways(1);
                self.faults.add_until(Kind::Cut, Place::Way(node, *other), at, news);
                self.reach.parted(at, node, Some(*other));
            }
            (What::Lost { to, .. }, Some(node)) => self.faults.add_until(Kind::Lost, Place::Way(node, *to), at, at),
            (What::Replayed { from, bytes, .. }, Some(node)) => self.replayed(at, *from, node, *bytes),
            (What::Crashes, Some(node)) => self.crashed(at, node, Kind::Down),
            (What::PowerOff, Some(node)) => self.crashed(at, node, Kind::Off),
            (What::Blocked { to, blocked }, Some(node)) => self.set(Kind::Blocked, Place::Way(node, *to), at, *blocked),
            (What::ClockForward { by }, Some(node)) => self.clock_stepped(at, node, *by, false),
            (What::ClockBack { by }, Some(node)) => self.clock_stepped(at, node, *by, true),
            (What::Drifts { millionths }, Some(node)) => {
                self.setting(node).clock.set_drift(at, Drift::new(*millionths));
            }
            (What::Nat(nat), _) => self.set(Kind::Nat, place, at, nat.is_some()),
            (What::Starts, Some(node)) => {
                if self.faults.goes_on(Kind::Off, place) {
                    // Whoever still talks to the process that was is refused now, as if it had just been killed.
                    self.faults.add_until(Kind::Down, place, at, at + self.pace.ways(2));
                }
                for kind in [Kind::Down, Kind::Off, Kind::Unknown] {
                    self.faults.end(kind, place, at);
                }
                self.setting(node).clock.restart(at);
                self.setting(node).thawed = at;
            }
            (What::Freezes, _) => self.faults.begin(Kind::Frozen, place, at),
            (What::Thaws, Some(node)) => {
                self.faults.end(Kind::Frozen, place, at);
                self.setting(node).thawed = at;
            }
            (What::Silent(silent), _) => self.set(Kind::Silent, place, at, *silent),
            (What::Listening(listening), _) => self.set(Kind::Deaf, place, at, !*listening),
            (What::Unknown, _) => self.faults.begin(Kind::Unknown, place, at),
            (What::Directory(directory), _) => {
                self.set(Kind::Directory, Place::World, at, *directory != Directory::Honest);
            }
            (What::NextConnectionBreaks { .. }, _) => {
                // A dial may hang until it is given up.
                let hangs = self.nodes.values().map(|node| node.at_most(node.timers.connect)).max().unwrap_or_default();
                for (one, other) in self.reach.a_connection_will_break(at, hangs + self.pace.ways(4)) {
                    self.faults.begin(Kind::Fragile, Place::Way(one, other), at);
                }
            }
            (What::Heals, _) => {
                self.reach.no_connection_breaks();
                let kinds =
                    [Kind::Silent, Kind::Blocked, Kind::Deaf, Kind::Unknown, Kind::Directory, Kind::Fragile, Kind::Nat];
                for kind in kinds {
                    self.faults.end_everywhere(kind, at);
                }
            }
            _ => {}
        }
        if disturbs {
            self.goes_again(at, node);
        }
    }

    /// A handler is given a query.
    pub(super) fn arrives(&mut self, at: Instant, query: usize, time_left: Duration) {
        let life = &mut self.lives[query];
        life.runs += 1;
        life.arrived.get_or_insert(at);
        self.handled.insert(query);
        if let Some(wrong) = self.wrong_arrival(at, query, time_left) {
            self.violate(at, query, &wrong);
        }
    }

    /// A handler is told that nobody waits any more.
    pub(super) fn withdrawn(&mut self, at: Instant, query: usize) {
        if let Some(wrong) = self.wrong_withdrawal(at, query) {
            self.violate(at, query, &wrong);
        }
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

    /// A query has its verdict.
    pub(super) fn ends(&mut self, at: Instant, query: usize, ending: Ending) {
        for wrong in self.wrong_ending(at, query, ending) {
            self.violate(at, query, &wrong);
        }
        let question = self.lives[query].question;
        if self.is_crowded(question.from, question.to) {
            self.crowded.insert((question.from, question.to), at);
        }
        let wrong = self.reach.ended(at, question.from, question.to, ending);
        self.violations.extend(wrong);
        self.lives[query].ending = Some((at, ending));
        self.waiting.remove(query, question);
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
            .filter_map(|query| Some((query, self.overdue(now, all, query)?)))
            .chain(self.handled.iter().filter_map(|&query| Some((query, self.overdue_withdrawal(now, query)?))))
            .collect();
        for (query, what) in late {
            self.violate(now, query, &what);
        }
        let mut notices = std::mem::take(&mut self.notices);
        // A notice takes a place as a query does, and nobody is told when it has it.
        let late = notices.overdue(now, |from, to, sent| {
            let limits = &self.nodes[&to].limits;
            let has_room = limits.incoming_per_peer.min(limits.incoming) > FEW_PLACES;
            if has_room { self.said_by(from, to, sent) } else { None }
        });
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
        HANDSHAKE_AT_MOST + age / 1024 + self.pace.ways(1)
    }

    /// How long before its asker's deadline a recipient may give a query up whose clock goes faster: the core allows for what two clocks
    /// have drifted apart when it goes, by a little less than a thousandth, and not for the time that it waits.
    pub(super) fn early_by_drift(&self, life: &Life) -> Duration {
        let (from, to) = (life.question.from, life.question.to);
        let [asker, peer] = [from, to].map(|node| &self.nodes[&node].clock);
        let age = self.nodes[&from].timers.session * 2;
        if asker.has_drifted() || peer.has_drifted() {
            life.question.hard / 1000 + age / 40_000
        } else {
            Duration::ZERO
        }
    }

    /// Whether one node waits for as many answers of another as that takes queries at a time.
    pub(super) fn is_crowded(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let limits = &self.nodes[&to].limits;
        self.waiting.between(from, to) >= limits.incoming_per_peer.min(limits.incoming / 4)
    }

    /// When that was so last.
    pub(super) fn was_crowded(&self, from: NodeIndex, to: NodeIndex) -> Instant {
        self.crowded.get(&(from, to)).copied().unwrap_or(Instant::ZERO)
    }

    /// How many queries a node's handlers may have for long though nobody waits: by a clock that has jumped, they are not due yet.
    pub(super) fn kept_too_long(&self, node: NodeIndex) -> usize {
        let kept = |&&query: &&usize| {
            let question = self.lives[query].question;
            question.to == node && !self.clocks_go_right(question.from, node)
        };
        self.handled.iter().filter(kept).count()
    }

    /// How many of a node's places an adversary may have taken, under both of its names.
    pub(super) fn taken_by_adversary(&self, node: NodeIndex) -> usize {
        if self.tricked.contains(&node) { 2 * self.nodes[&node].limits.incoming_per_peer } else { 0 }
    }

    /// What comes again may end the connection on which it does, and costs whoever reads it its time.
    fn replayed(&mut self, at: Instant, from: Option<NodeIndex>, to: NodeIndex, bytes: usize) {
        self.replayed.extend(from.into_iter().chain([to]));
        self.pace.keeps_busy(at, to, bytes);
        if let Some(from) = from {
            let until = at + self.settles(from, to);
            self.faults.add_until(Kind::Fragile, Place::Way(from, to), at, until);
        }
    }

    /// Whether a node may have noted what nobody has done but who replays.
    pub(super) fn has_heard_replays(&self, node: NodeIndex) -> bool {
        self.replayed.contains(&node)
    }

    fn crashed(&mut self, at: Instant, node: NodeIndex, kind: Kind) {
        self.faults.begin(kind, Place::Node(node), at);
        self.reach.parted(at, node, None);
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
        self.waiting.asker_is_gone(node, lives);
        self.handled.retain(|&query| lives[query].recipient_gone.is_none());
    }

    /// Whether what came to a node from somebody unknown may go on in a session of which it knows no more: it had few places for
    /// sessions; or a peer has started again and said that it holds none, before all was there that it had sent until then.
    fn may_be_of_lost_session(&self, at: Instant, node: NodeIndex) -> bool {
        let started_again = |other: NodeIndex| {
            let lately = back(at, self.settles(node, other));
            let mut crashes = self.faults.find((node, other), &[Kind::Down, Kind::Off], lately, at);
            crashes.any(|fault| fault.place == Place::Node(other))
        };
        self.has_few_places_for_handshakes(node) || self.reach.met(node).any(started_again)
    }

    fn answered(&mut self, at: Instant, query: usize, answer: Answer) {
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
            .map(|query| &self.lives[query])
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

    /// The clock of a node is put forward, or back if `by` is negative.
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

    fn clock(&self, node: NodeIndex) -> Clock {
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

    /// A fault that concerns two nodes, other than what a verdict does not depend on.
    pub(super) fn well_since(&self, life: &Life, concerns: impl Fn(&Fault) -> bool) -> Option<Instant> {
        self.faults.well_since(life.question.from, life.question.to, concerns)
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
            | What::NextConnectionBreaks { .. }
            | What::Lost { .. }
            | What::Replayed { .. }
            | What::Heals
    )
}
