//! The reference model: it hears facts in their order, and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{Config, Executed, Failure, Instant, Limits, Reason, Refusal, Stage, Timers};

use super::clock::{Clock, Due, Window, micros};
use super::faults::{Faults, Kind, Place};
use super::life::{Answer, Life, Question};
use super::notices::Notices;
use crate::storm::Violation;
use crate::transcript::{Ending, What};
use crate::{Directory, Network, NodeIndex};

#[derive(Debug)]
pub(super) struct Model {
    pub(super) faults: Faults,
    pub(super) nodes: BTreeMap<NodeIndex, Setting>,
    pub(super) lives: Vec<Life>,
    pub(super) notices: Notices,
    /// Queries without a verdict whose askers run.
    pub(super) waiting: BTreeSet<usize>,
    /// Queries that handlers have.
    handled: BTreeSet<usize>,
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
}

impl Model {
    pub(super) fn new(_network: Network, nodes: &[(NodeIndex, Config)], now: Instant) -> Self {
        let setting = |(node, config): &(NodeIndex, Config)| {
            let Config { limits, timers, .. } = config.clone();
            (*node, Setting { limits, timers, clock: Clock::default(), thawed: now })
        };
        Self {
            faults: Faults::default(),
            nodes: nodes.iter().map(setting).collect(),
            lives: Vec::new(),
            notices: Notices::default(),
            waiting: BTreeSet::new(),
            handled: BTreeSet::new(),
            violations: Vec::new(),
        }
    }

    /// Something was asked.
    pub(super) fn asks(&mut self, at: Instant, question: Question) {
        let clock = self.clock(question.from);
        let hard = clock.after(at, question.hard);
        let soft = question.soft.map(|soft| clock.after(at, soft));
        let life = Life::new(question, at, soft, hard);
        self.waiting.insert(self.lives.len());
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
            (What::Cut { other }, Some(node)) => {
                self.faults.add_until(Kind::Cut, Place::Way(node, *other), at, at);
            }
            (What::Crashes, Some(node)) => self.crashed(at, node, Kind::Down),
            (What::PowerOff, Some(node)) => self.crashed(at, node, Kind::Off),
            (What::Blocked { to, blocked }, Some(node)) => self.set(Kind::Blocked, Place::Way(node, *to), at, *blocked),
            (What::ClockForward { by }, Some(node)) => self.clock_stepped(at, node, *by, false),
            (What::ClockBack { by }, Some(node)) => self.clock_stepped(at, node, *by, true),
            (What::Nat(nat), _) => self.set(Kind::Nat, place, at, nat.is_some()),
            (What::Starts, Some(node)) => {
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
            (What::Heals, _) => {
                let kinds =
                    [Kind::Silent, Kind::Blocked, Kind::Deaf, Kind::Unknown, Kind::Directory, Kind::Fragile, Kind::Nat];
                for kind in kinds {
                    self.faults.end_everywhere(kind, at);
                }
            }
            _ => {}
        }
    }

    /// A handler is given a query.
    pub(super) fn arrives(&mut self, at: Instant, query: usize, _until: Instant) {
        let life = &mut self.lives[query];
        life.runs += 1;
        life.arrived.get_or_insert(at);
        self.handled.insert(query);
        if let Some(wrong) = self.wrong_arrival(at, query) {
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
        for wrong in self.wrong_ending(at, query, &ending) {
            self.violate(at, query, &wrong);
        }
        self.lives[query].ending = Some((at, ending));
        self.waiting.remove(&query);
    }

    /// A node is about to send a notice: gives back its body.
    pub(super) fn notifies(&mut self, at: Instant, from: NodeIndex, to: NodeIndex) -> Vec<u8> {
        let number = self.notices.sent(at, from, to);
        (number as u64).to_be_bytes().to_vec()
    }

    /// A node hears a notice.
    pub(super) fn noticed(&mut self, at: Instant, number: usize, from: NodeIndex, to: NodeIndex) {
        let wrong = self.notices.heard(at, number, from, to, Duration::ZERO);
        self.violations.extend(wrong);
    }

    /// Nobody waits past a deadline, unless its process stands still, and nobody waits for what is sure to come longer than
    /// it takes. With `all` what is due at this very instant must have happened.
    pub(super) fn nobody_waits_too_long(&mut self, now: Instant, all: bool) {
        let late: Vec<(usize, String)> =
            self.waiting.iter().filter_map(|&query| Some((query, self.overdue(now, all, query)?))).collect();
        for (query, what) in late {
            self.violate(now, query, &what);
        }
    }

    /// When a node's own clock reaches an instant: a process that stands still gets to it when it goes on.
    pub(super) fn window(&self, node: NodeIndex, due: Due) -> Window {
        let Window { earliest, latest } = self.clock(node).window(due);
        Window { earliest, latest: latest.max(self.nodes[&node].thawed) }
    }

    fn crashed(&mut self, at: Instant, node: NodeIndex, kind: Kind) {
        self.faults.begin(kind, Place::Node(node), at);
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
        let life = &mut self.lives[query];
        // To a query that was withdrawn an answer goes nowhere.
        if life.withdrawn.is_none() && life.recipient_gone.is_none() {
            life.answer.get_or_insert((at, answer));
        }
        self.handled.remove(&query);
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

    /// Its own node refuses to ask a query.
    pub(super) fn refuses_to_ask(&mut self, at: Instant, query: usize, refusal: Refusal) -> Ending {
        let reason = Reason::RefusedHere(refusal);
        let ending = Ending::Failed(Failure { reason, executed: Executed::No, stage: Stage::Queue, tried: Vec::new() });
        self.ends(at, query, ending.clone());
        ending
    }

    /// Its own node refuses to send a notice.
    pub(super) fn refuses_to_notify(&mut self, _at: Instant, number: usize, _refusal: Refusal) {
        self.notices.refused(number);
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
            | What::Heals
    )
}
