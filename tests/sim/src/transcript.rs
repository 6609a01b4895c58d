//! What happened in a storm, in lines that a person can read.

use std::fmt;
use std::time::Duration;

use egtp::{Cause, Failure, Instant};

use crate::world::NodeIndex;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// When.
    pub at: Instant,
    /// At which node, unless it concerns the whole world.
    pub node: Option<NodeIndex>,
    /// What.
    pub what: What,
}

/// What happened. Queries are numbered from zero in the order in which they are asked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum What {
    /// The node asks.
    Asks { query: usize, to: NodeIndex, type_name: &'static str, bytes: usize, hard: Duration },
    /// Its handler is given a query.
    Arrives { query: usize, from: NodeIndex },
    /// Its handler answers.
    Answers { query: usize, bytes: usize },
    /// Its handler says no.
    Declines { query: usize },
    /// The asker of a query that it was given no longer waits.
    Withdrawn { query: usize },
    /// The asker gives up.
    Cancels { query: usize },
    /// The asker gets impatient.
    SoftTimeout { query: usize },
    /// The asker has its verdict.
    Ends { query: usize, ending: Ending },
    /// It sends a notice.
    Notifies { to: NodeIndex },
    /// It is given a notice.
    Noticed { from: NodeIndex },
    /// It asks the directory about a peer.
    LooksUp { peer: NodeIndex },
    /// It opens a connection.
    Dials { peer: NodeIndex },
    /// It has something for its log.
    Noted { cause: Cause, peer: Option<NodeIndex> },
    /// Its connections with another node are cut.
    Cut { other: NodeIndex },
    /// It is gone.
    Crashes,
    /// It is back, with what it had stored.
    Starts,
    /// Its process stands still.
    Freezes,
    /// Its process goes on.
    Thaws,
    /// Whether everything to and from it vanishes.
    Silent(bool),
    /// Whether its port is open.
    Listening(bool),
    /// The directory forgets it.
    Unknown,
    /// Whether the directory leaves every question unanswered.
    DirectorySilent(bool),
    /// The next connection breaks in the middle.
    NextConnectionBreaks { bytes: usize },
    /// Nothing goes wrong from now on.
    Heals,
}

/// How a query ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the field says what it is")]
pub enum Ending {
    /// With a reply.
    Reply { bytes: usize },
    /// Without one.
    Failed(Failure),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_string();
        match self.node {
            Some(node) => write!(f, "{at:>14}  node {:<3} {}", node.number(), self.what),
            None => write!(f, "{at:>14}  {}", self.what),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asks { query, to, type_name, bytes, hard } => {
                let hard = hard.as_secs_f64();
                write!(f, "asks node {} #{query}: {type_name}, {bytes} bytes, within {hard:.6} s", to.number())
            }
            Self::Arrives { query, from } => write!(f, "is asked #{query} by node {}", from.number()),
            Self::Answers { query, bytes } => write!(f, "answers #{query}: {bytes} bytes"),
            Self::Declines { query } => write!(f, "declines #{query}"),
            Self::Withdrawn { query } => write!(f, "is told that nobody waits for #{query}"),
            Self::Cancels { query } => write!(f, "cancels #{query}"),
            Self::SoftTimeout { query } => write!(f, "is told that #{query} takes long"),
            Self::Ends { query, ending } => write!(f, "has the verdict of #{query}: {ending}"),
            Self::Notifies { to } => write!(f, "notifies node {}", to.number()),
            Self::Noticed { from } => write!(f, "is notified by node {}", from.number()),
            Self::LooksUp { peer } => write!(f, "looks up node {}", peer.number()),
            Self::Dials { peer } => write!(f, "dials node {}", peer.number()),
            Self::Noted { cause, peer: Some(peer) } => write!(f, "notes of node {}: {}", peer.number(), cause.text()),
            Self::Noted { cause, peer: None } => write!(f, "notes: {}", cause.text()),
            Self::Cut { other } => write!(f, "loses its connections with node {}", other.number()),
            Self::Crashes => f.write_str("crashes"),
            Self::Starts => f.write_str("starts again"),
            Self::Freezes => f.write_str("freezes"),
            Self::Thaws => f.write_str("goes on"),
            Self::Silent(true) => f.write_str("is cut off: packets to and from it vanish"),
            Self::Silent(false) => f.write_str("is no longer cut off"),
            Self::Listening(true) => f.write_str("opens its port"),
            Self::Listening(false) => f.write_str("closes its port"),
            Self::Unknown => f.write_str("is forgotten by the directory"),
            Self::DirectorySilent(true) => f.write_str("the directory falls silent"),
            Self::DirectorySilent(false) => f.write_str("the directory answers"),
            Self::NextConnectionBreaks { bytes } => write!(f, "the next connection will break after {bytes} bytes"),
            Self::Heals => f.write_str("everything heals"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { bytes } => write!(f, "reply, {bytes} bytes"),
            Self::Failed(failure) => {
                write!(f, "{} at {:?}, executed: {:?}", failure.reason.name(), failure.stage, failure.executed)
            }
        }
    }
}
