//! A scenario: a small world and what happens in it, as data.
//!
//! It has a form in words, in which people write scripts and in which a storm that broke a promise is reported; see
//! [`Scenario`'s `FromStr`](Scenario#impl-FromStr-for-Scenario) and [`crate::script`].

mod settings;
mod steps;
mod text;
mod words;

use std::time::Duration;

use egtp::Config;

pub use words::Malformed;

use crate::adversary::{Manner, Trick};
use crate::{Directory, Nat, Network};

/// A world and what happens in it. The same scenario plays the same way every time.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Scenario {
    /// The world's seed: keys, jitter and the sizes of chunks follow from it.
    pub seed: u64,
    /// What links are like.
    pub network: Network,
    /// Who is there. Steps name nodes by their place in this list.
    pub nodes: Vec<Setup>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A node as it is set up.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Setup {
    /// What people call it: one word.
    pub name: String,
    /// Its limits, timers and throttle.
    pub config: Config,
}

/// One thing that is done, or time that passes. Whatever makes no sense at the time, such as a question from a node that has
/// crashed, is skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum Step {
    /// Time passes.
    Wait(Duration),
    /// A node asks, with a body of so many bytes, at least eight: a query carries its number.
    Ask { from: usize, to: usize, type_name: &'static str, bytes: usize, soft: Option<Duration>, hard: Duration },
    /// A node says something that needs no answer.
    Notify { from: usize, to: usize },
    /// A node gives up the oldest query that it waits for.
    Cancel { node: usize },
    /// A node answers everything that it has kept.
    Answer { node: usize },
    /// All connections between two nodes break.
    Cut { one: usize, other: usize },
    /// The next connection that opens breaks once it has carried so many bytes.
    BreakNext { bytes: usize },
    /// A node's process is killed: its connections break.
    Crash { node: usize },
    /// A node's machine loses its power: its peers hear nothing of it.
    PowerOff { node: usize },
    /// A node that is not running starts, with what it had stored.
    Start { node: usize },
    /// What a node that is not running has stored is lost.
    Wipe { node: usize },
    /// A node's process stands still.
    Freeze { node: usize },
    /// A node's process goes on.
    Thaw { node: usize },
    /// Whether everything to and from a node vanishes.
    Silence { node: usize, silent: bool },
    /// Whether everything from one node to another is held up.
    Block { from: usize, to: usize, blocked: bool },
    /// A node's own clock jumps ahead.
    ClockForward { node: usize, by: Duration },
    /// A node's own clock jumps back.
    ClockBack { node: usize, by: Duration },
    /// A node's own clock goes so many millionths too fast, or too slow if that is negative.
    Drift { node: usize, millionths: i32 },
    /// What translator of addresses stands in front of a node.
    Nat { node: usize, nat: Option<Nat> },
    /// Whether a node's port is open.
    Listen { node: usize, listening: bool },
    /// The directory forgets a node.
    Forget { node: usize },
    /// How the directory answers.
    Directory(Directory),
    /// A node has so many of something: of what this field of [`egtp::Usage`] counts.
    Expect { node: usize, usage: &'static str, count: usize },
    /// A node that knows nothing of another is told where that one was before it moved.
    Outdate { node: usize, peer: usize },
    /// The adversary plays a trick on a node. It is there from the first step that mentions it.
    Trick { node: usize, trick: Trick },
    /// How the adversary treats whoever asks it something, from now on.
    Manner(Manner),
    /// A node asks the adversary, with a body of so many bytes, at least eight.
    AskAdversary { from: usize, type_name: &'static str, bytes: usize, hard: Duration },
    /// Everything heals; then nothing may be left over, and everybody must be able to reach everybody.
    Heal,
}

/// What a node can be asked for: the types of [`crate::scene::TYPES`], and one that nobody serves.
pub const ASKED_FOR: [&str; 6] =
    [crate::scene::ECHO, crate::scene::EMPTY, crate::scene::KEEP, crate::scene::NEVER, crate::scene::NO, "unknown"];

impl Setup {
    /// The node of this number under its usual name, with the default configuration.
    pub fn usual(number: usize) -> Self {
        const NAMES: [&str; 12] =
            ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken", "laura"];
        let name = NAMES.get(number).map_or_else(|| format!("node{number}"), |&name| name.to_owned());
        Self { name, config: Config::default() }
    }
}

impl Step {
    /// The nodes that it mentions.
    pub(crate) fn nodes_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Self::Wait(_) | Self::BreakNext { .. } | Self::Directory(_) | Self::Manner(_) | Self::Heal => Vec::new(),
            Self::Ask { from: one, to: other, .. }
            | Self::Notify { from: one, to: other }
            | Self::Cut { one, other }
            | Self::Block { from: one, to: other, .. }
            | Self::Outdate { node: one, peer: other } => vec![one, other],
            Self::Cancel { node }
            | Self::Answer { node }
            | Self::Crash { node }
            | Self::PowerOff { node }
            | Self::Start { node }
            | Self::ClockForward { node, .. }
            | Self::ClockBack { node, .. }
            | Self::Drift { node, .. }
            | Self::Nat { node, .. }
            | Self::Wipe { node }
            | Self::Freeze { node }
            | Self::Thaw { node }
            | Self::Silence { node, .. }
            | Self::Listen { node, .. }
            | Self::Forget { node }
            | Self::Expect { node, .. }
            | Self::Trick { node, .. }
            | Self::AskAdversary { from: node, .. } => vec![node],
        }
    }
}
