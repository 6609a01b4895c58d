//! Two nodes, two queries, and everything that can happen between them, up to a depth.
//!
//! A storm draws what happens; here nothing is drawn: every order of deliveries, timers, answers and faults is played against two real
//! nodes, as long as the bounds allow. Nodes cannot be copied, so that a state is reached by playing its [happenings](Happening) from the
//! beginning; one that was seen before, to the byte, is not looked at again.
//!
//! - In every state: a query runs at most once and only where it was asked; it has one verdict at most, and that is one that it may have;
//!   what is said not to have run has not run, and does not later; what never left is not said to have perhaps run; no node's deadline
//!   has passed.
//! - From every state the network behaves, in a copy: dials succeed, all packets arrive, handlers answer. Then each query that has time
//!   left must have its verdict before its deadline, a reply unless something in the path excuses another (a crash of its recipient, a
//!   dial that failed, a cancellation), and nobody may remember anything for ever.
//!
//! A connection that [hangs](Happening::Hang) does so for good: whoever waits on it has to find out.
//!
//! ```
//! use egtp_sim::explore::{Bounds, Setting, explore};
//!
//! let findings = explore(&Setting::default(), Bounds { depth: 4, faults: 1 }, 1);
//! assert_eq!(findings.breach, None);
//! assert!(findings.states > 20);
//! ```

mod ending;
mod happening;
mod ledger;
mod link;
mod pair;
mod playing;
mod search;

use std::fmt;

pub use happening::{Fate, Happening};
pub use search::explore;

/// With what a small world begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Setting {
    /// Everything random that the nodes do follows from it.
    pub seed: u64,
    /// Whether the second query is asked by the other node. Only whoever asks knows where the other is.
    pub mutual: bool,
    /// Whether the nodes have a session and a connection before anything happens.
    pub acquainted: bool,
    /// Whether the first query and its answer take several records.
    pub long: bool,
    /// Whether the first query waits so short a time that its deadline passes while it is under way.
    pub hurried: bool,
}

impl Setting {
    /// One of each kind.
    pub fn all(seed: u64) -> impl Iterator<Item = Self> {
        let usual = Self { seed, ..Self::default() };
        let one_way = [usual, Self { long: true, ..usual }, Self { hurried: true, ..usual }];
        let kinds = [(false, false), (true, false), (false, true), (true, true)];
        let of_kind = move |(mutual, acquainted)| one_way.map(|setting| Self { mutual, acquainted, ..setting });
        kinds.into_iter().flat_map(of_kind)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.mutual { "one query each way" } else { "two queries one way" })?;
        let more = [(self.acquainted, ", acquainted"), (self.long, ", long"), (self.hurried, ", hurried")];
        for (_, text) in more.into_iter().filter(|&(is_set, _)| is_set) {
            f.write_str(text)?;
        }
        Ok(())
    }
}

/// How far an exploration goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// So many things happen one after the other, at most.
    pub depth: usize,
    /// So many of them are faults, at most.
    pub faults: usize,
}

/// What an exploration has seen. It depends on the setting and the bounds, and not on the number of threads, unless a promise was broken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// How many states there are, no two alike. From each of them an end was played.
    pub states: u64,
    /// How many steps lead to them.
    pub steps: u64,
    /// How many of the states are final: nothing is under way and every query has its verdict.
    pub finals: u64,
    /// How many states were new at each depth.
    pub levels: Vec<u64>,
    /// The promise that was broken after the fewest happenings, if any was.
    pub breach: Option<Breach>,
}

/// A promise that was broken, and what led to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Breach {
    /// What happened.
    pub path: Vec<Happening>,
    /// What followed when the network behaved, if it took that.
    pub ending: Vec<Happening>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, happening) in (1..).zip(&self.path) {
            writeln!(f, "{number:3}. {happening}")?;
        }
        if !self.ending.is_empty() {
            writeln!(f, "  then the network behaves:")?;
        }
        for happening in &self.ending {
            writeln!(f, "     {happening}")?;
        }
        write!(f, "  broken: {}", self.what)
    }
}
