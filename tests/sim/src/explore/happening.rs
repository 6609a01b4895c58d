//! What can happen next.

use std::fmt;

/// One thing that happens. Nodes, queries and connections go by their numbers, connections by the order in which they were opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Happening {
    /// This query is asked.
    Ask(usize),
    /// The oldest dial of this node succeeds.
    Open(usize),
    /// On this connection the next packet reaches this node, or, if there is none, that it has ended.
    Deliver {
        /// Which connection.
        link: usize,
        /// Whom it reaches.
        to: usize,
    },
    /// Time passes until the first of both nodes' deadlines.
    Tick,
    /// The handler of this query answers.
    Answer(usize),
    /// A fault: the asker of this query gives it up.
    Cancel(usize),
    /// A fault: the oldest dial of this node is refused.
    Refuse(usize),
    /// A fault: this connection breaks, and both ends are told.
    Cut {
        /// Which connection.
        link: usize,
        /// What becomes of what is to be written towards the first node and towards the second.
        towards: [Fate; 2],
    },
    /// A fault: on this connection nothing arrives any more, whatever is written, and nobody is told.
    Hang(usize),
    /// A fault: this node crashes and starts again, without anything that it knew.
    Crash {
        /// Which node.
        node: usize,
        /// Whether what it was about to write arrives.
        spoken: bool,
    },
}

/// What becomes of what is to be written when a connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    /// It is never written.
    Unwritten,
    /// It is written, and none of it arrives.
    Lost,
    /// The first half of the bytes is written and arrives.
    Half,
    /// It is written and arrives.
    Delivered,
}

impl Happening {
    /// Whether it counts as a fault.
    pub fn is_fault(self) -> bool {
        match self {
            Self::Ask(_) | Self::Open(_) | Self::Deliver { .. } | Self::Tick | Self::Answer(_) => false,
            Self::Cancel(_) | Self::Refuse(_) | Self::Cut { .. } | Self::Hang(_) | Self::Crash { .. } => true,
        }
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(query) => write!(f, "query {query} is asked"),
            Self::Open(node) => write!(f, "node {node}'s dial succeeds"),
            Self::Deliver { link, to } => write!(f, "connection {link} brings node {to} what is next"),
            Self::Tick => f.write_str("time passes"),
            Self::Answer(query) => write!(f, "query {query} is answered"),
            Self::Cancel(query) => write!(f, "query {query} is cancelled"),
            Self::Refuse(node) => write!(f, "node {node}'s dial is refused"),
            Self::Cut { link, towards: [first, second] } => {
                write!(f, "connection {link} breaks: to node 0 {first}, to node 1 {second}")
            }
            Self::Hang(link) => write!(f, "connection {link} hangs"),
            Self::Crash { node, spoken: false } => write!(f, "node {node} starts again"),
            Self::Crash { node, spoken: true } => {
                write!(f, "node {node} starts again, once what it had to write has arrived")
            }
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unwritten => "nothing was written",
            Self::Lost => "all is lost",
            Self::Half => "half of it arrives",
            Self::Delivered => "all arrives",
        })
    }
}
