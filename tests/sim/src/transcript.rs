//! What happened in a scenario, in lines that a person can read.

use std::fmt;
use std::time::Duration;

use egtp::{Cause, Failure, Instant, Reason};

use crate::adversary::{Manner, Trick};
use crate::scenario::Setup;
use crate::{Directory, Nat, NatBehaviour, NodeIndex};

/// What time it is in a world in which nothing has happened yet. People are told the time since then.
pub const BEGINNING: Instant = Instant::from_micros(1_000_000);

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
    /// Its machine has lost its power; its peers hear nothing of it.
    PowerOff,
    /// It is back, with what it has stored.
    Starts,
    /// What it has stored is lost.
    Wipes,
    /// Its process stands still.
    Freezes,
    /// Its process goes on.
    Thaws,
    /// Whether everything to and from it vanishes.
    Silent(bool),
    /// Whether everything from it to another is held up.
    Blocked { to: NodeIndex, blocked: bool },
    /// Its clock jumps ahead.
    ClockForward { by: Duration },
    /// Its clock jumps back.
    ClockBack { by: Duration },
    /// Its clock goes so many millionths too fast from now on, or too slow.
    Drifts { millionths: i32 },
    /// What translator of addresses stands in front of it.
    Nat(Option<Nat>),
    /// Whether its port is open.
    Listening(bool),
    /// The directory forgets it.
    Unknown,
    /// It is told where a peer was before it moved.
    Outdated { peer: NodeIndex },
    /// How the directory answers from now on.
    Directory(Directory),
    /// Its connection with another node breaks, having carried so much.
    Breaks { other: NodeIndex },
    /// The next connection breaks in the middle.
    NextConnectionBreaks { bytes: usize },
    /// The adversary plays a trick on it.
    Tricked(Trick),
    /// How the adversary treats whoever asks it something, from now on.
    Manner(Manner),
    /// It asks the adversary.
    AsksAdversary { type_name: &'static str, bytes: usize, hard: Duration },
    /// Nothing goes wrong from now on.
    Heals,
}

/// How a query ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the field says what it is")]
pub enum Ending {
    /// With a reply.
    Reply { bytes: usize },
    /// Without one.
    Failed(Failure),
}

/// What people call the nodes of a world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names(Vec<String>);

impl Names {
    /// The names of these nodes, in the order in which they are added to their world.
    pub fn new(nodes: &[Setup]) -> Self {
        Self(nodes.iter().map(|setup| setup.name.clone()).collect())
    }

    /// The name of a node.
    pub fn of(&self, node: NodeIndex) -> &str {
        self.0.get(node.number()).map_or("somebody", String::as_str)
    }

    /// An entry as a line: when, who, what.
    pub fn line(&self, entry: &Entry) -> String {
        let at = since_beginning(entry.at).to_string();
        let what = self.what(&entry.what);
        match entry.node {
            Some(node) => format!("{at:>14}  {:<8} {what}", self.of(node)),
            None => format!("{at:>14}  {what}"),
        }
    }

    /// What happened, in words.
    pub fn what(&self, what: &What) -> String {
        match what {
            What::Asks { query, to, type_name, bytes, hard } => {
                let within = Instant::ZERO + *hard;
                format!("asks {} #{query}: {type_name}, {bytes} bytes, within {within}", self.of(*to))
            }
            What::Arrives { query, from } => format!("is asked #{query} by {}", self.of(*from)),
            What::Answers { query, bytes } => format!("answers #{query}: {bytes} bytes"),
            What::Declines { query } => format!("declines #{query}"),
            What::Withdrawn { query } => format!("is told that nobody waits for #{query}"),
            What::Cancels { query } => format!("cancels #{query}"),
            What::SoftTimeout { query } => format!("is told that #{query} takes long"),
            What::Ends { query, ending } => format!("has the verdict of #{query}: {ending}"),
            What::Notifies { to } => format!("notifies {}", self.of(*to)),
            What::Noticed { from } => format!("is notified by {}", self.of(*from)),
            What::LooksUp { peer } => format!("looks up {}", self.of(*peer)),
            What::Dials { peer } => format!("dials {}", self.of(*peer)),
            What::Noted { cause, peer: Some(peer) } => format!("notes of {}: {}", self.of(*peer), cause.text()),
            What::Noted { cause, peer: None } => format!("notes: {}", cause.text()),
            What::Cut { other } => format!("loses its connections with {}", self.of(*other)),
            What::Crashes => "crashes".into(),
            What::PowerOff => "loses its power".into(),
            What::Starts => "starts again".into(),
            What::Wipes => "loses what it has stored".into(),
            What::Freezes => "freezes".into(),
            What::Thaws => "goes on".into(),
            What::Silent(true) => "is cut off: packets to and from it vanish".into(),
            What::Silent(false) => "is no longer cut off".into(),
            What::Blocked { to, blocked: true } => format!("reaches {} no more", self.of(*to)),
            What::Blocked { to, blocked: false } => format!("reaches {} again", self.of(*to)),
            What::ClockForward { by } => format!("has a clock that jumps ahead by {}", Instant::ZERO + *by),
            What::ClockBack { by } => format!("has a clock that jumps back by {}", Instant::ZERO + *by),
            What::Drifts { millionths: 0 } => "has a clock that goes right".into(),
            What::Drifts { millionths } => {
                let how = if *millionths > 0 { "fast" } else { "slow" };
                format!("has a clock that goes {} millionths too {how}", millionths.abs())
            }
            What::Nat(Some(Nat { mapping, filtering })) => {
                format!("is behind a translator, mapping {}, filtering {}", behaviour(*mapping), behaviour(*filtering))
            }
            What::Nat(None) => "is behind no translator".into(),
            What::Listening(true) => "opens its port".into(),
            What::Listening(false) => "closes its port".into(),
            What::Unknown => "is forgotten by the directory".into(),
            What::Outdated { peer } => format!("is told where {} was before it moved", self.of(*peer)),
            What::Directory(Directory::Honest) => "the directory answers".into(),
            What::Directory(Directory::Silent) => "the directory falls silent".into(),
            What::Directory(Directory::Slow(by)) => format!("the directory answers after {}", Instant::ZERO + *by),
            What::Directory(Directory::Stale) => "the directory says what was true long ago".into(),
            What::Directory(Directory::Wrong) => "the directory answers what is wrong".into(),
            What::Directory(Directory::Gone) => "the directory has forgotten everybody".into(),
            What::Breaks { other } => format!("has a connection that breaks, with {}", self.of(*other)),
            What::NextConnectionBreaks { bytes } => format!("the next connection will break after {bytes} bytes"),
            What::Tricked(trick) => format!("suffers a trick of the adversary's: {trick}"),
            What::Manner(manner) => format!("the adversary {manner} from now on"),
            What::AsksAdversary { type_name, bytes, hard } => {
                let within = Instant::ZERO + *hard;
                format!("asks the adversary: {type_name}, {bytes} bytes, within {within}")
            }
            What::Heals => "everything heals".into(),
        }
    }
}

/// The RFC's word for it.
pub(crate) fn behaviour(behaviour: NatBehaviour) -> &'static str {
    match behaviour {
        NatBehaviour::EndpointIndependent => "endpoint-independent",
        NatBehaviour::AddressDependent => "address-dependent",
        NatBehaviour::AddressAndPortDependent => "address-and-port-dependent",
    }
}

/// The time since the world began.
pub(crate) fn since_beginning(at: Instant) -> Instant {
    Instant::ZERO + at.saturating_since(BEGINNING)
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { bytes } => write!(f, "reply, {bytes} bytes"),
            Self::Failed(Failure { reason, executed, stage, .. }) => {
                write!(f, "{}", reason.name())?;
                match reason {
                    Reason::RefusedByPeer(why) => write!(f, ", {why}")?,
                    Reason::RefusedHere(why) => write!(f, ", {why}")?,
                    _ => {}
                }
                write!(f, " (stage: {stage:?}, executed: {executed:?})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Network, World};

    #[test]
    fn a_line_says_when_and_who_and_what() {
        let mut world = World::new(1, Network::default());
        assert_eq!(world.now(), BEGINNING);
        let (one, other) = (world.add_node(), world.add_node());
        let names = Names::new(&[Setup::usual(0), Setup::usual(1)]);
        let at = BEGINNING + Duration::from_millis(20);
        let entry = Entry { at, node: Some(other), what: What::Arrives { query: 3, from: one } };
        assert_eq!(names.line(&entry), "     0.020000s  bob      is asked #3 by alice");
        assert_eq!(names.line(&Entry { at, node: None, what: What::Heals }), "     0.020000s  everything heals");
    }
}
