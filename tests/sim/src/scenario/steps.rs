//! A step in words, and back.

use std::time::Duration;

use egtp::MAX_HARD_TIMEOUT;

use super::words::{DURATION, Malformed, Words, duration, duration_in_words, size, size_in_words};
use super::{ASKED_FOR, Setup, Step};
use crate::transcript::behaviour;
use crate::{Directory, MAX_DRIFT, Nat, NatBehaviour, usage};

/// What a line may begin with.
const COMMANDS: &str = "seed, network, node, wait, ask, notify, cancel, answer, cut, break-next, crash, power-off, start, wipe, \
                        freeze, thaw, isolate, rejoin, block, unblock, clock, drift, nat, no-nat, open, close, forget, \
                        directory, outdate, expect, trick, manner, ask-adversary, heal";

const BEHAVIOURS: [NatBehaviour; 3] =
    [NatBehaviour::EndpointIndependent, NatBehaviour::AddressDependent, NatBehaviour::AddressAndPortDependent];

/// The hard timeout of a query that names none.
const USUAL_HARD: Duration = Duration::from_secs(20);

impl Step {
    /// As a command about these nodes: what [`Step::read`] reads.
    pub(super) fn in_words(&self, nodes: &[Setup]) -> String {
        let name = |node: usize| nodes.get(node).map_or("nobody", |setup| setup.name.as_str());
        match *self {
            Self::Wait(time) => format!("wait {}", duration_in_words(time)),
            Self::Ask { from, to, type_name, bytes, soft, hard } => {
                let soft = soft.map_or(String::new(), |soft| format!(" soft={}", duration_in_words(soft)));
                let (bytes, hard) = (size_in_words(bytes), duration_in_words(hard));
                format!("ask {} {} {type_name} bytes={bytes}{soft} hard={hard}", name(from), name(to))
            }
            Self::Notify { from, to } => format!("notify {} {}", name(from), name(to)),
            Self::Cancel { node } => format!("cancel {}", name(node)),
            Self::Answer { node } => format!("answer {}", name(node)),
            Self::Cut { one, other } => format!("cut {} {}", name(one), name(other)),
            Self::BreakNext { bytes } => format!("break-next {}", size_in_words(bytes)),
            Self::Crash { node } => format!("crash {}", name(node)),
            Self::PowerOff { node } => format!("power-off {}", name(node)),
            Self::Start { node } => format!("start {}", name(node)),
            Self::Wipe { node } => format!("wipe {}", name(node)),
            Self::Freeze { node } => format!("freeze {}", name(node)),
            Self::Thaw { node } => format!("thaw {}", name(node)),
            Self::Silence { node, silent: true } => format!("isolate {}", name(node)),
            Self::Silence { node, silent: false } => format!("rejoin {}", name(node)),
            Self::Block { from, to, blocked: true } => format!("block {} {}", name(from), name(to)),
            Self::Block { from, to, blocked: false } => format!("unblock {} {}", name(from), name(to)),
            Self::ClockForward { node, by } => format!("clock {} +{}", name(node), duration_in_words(by)),
            Self::ClockBack { node, by } => format!("clock {} -{}", name(node), duration_in_words(by)),
            Self::Drift { node, millionths } => format!("drift {} {millionths:+}ppm", name(node)),
            Self::Nat { node, nat: Some(Nat { mapping, filtering }) } => {
                format!("nat {} {} {}", name(node), behaviour(mapping), behaviour(filtering))
            }
            Self::Nat { node, nat: None } => format!("no-nat {}", name(node)),
            Self::Listen { node, listening: true } => format!("open {}", name(node)),
            Self::Listen { node, listening: false } => format!("close {}", name(node)),
            Self::Forget { node } => format!("forget {}", name(node)),
            Self::Directory(Directory::Honest) => "directory honest".into(),
            Self::Directory(Directory::Silent) => "directory silent".into(),
            Self::Directory(Directory::Slow(by)) => format!("directory slow {}", duration_in_words(by)),
            Self::Directory(Directory::Stale) => "directory stale".into(),
            Self::Directory(Directory::Wrong) => "directory wrong".into(),
            Self::Directory(Directory::Gone) => "directory gone".into(),
            Self::Outdate { node, peer } => format!("outdate {} {}", name(node), name(peer)),
            Self::Expect { node, usage, count } => format!("expect {} {usage}={count}", name(node)),
            Self::Trick { node, trick } => format!("trick {trick} {}", name(node)),
            Self::Manner(manner) => format!("manner {manner}"),
            Self::AskAdversary { from, type_name, bytes, hard } => {
                let (bytes, hard) = (size_in_words(bytes), duration_in_words(hard));
                format!("ask-adversary {} {type_name} bytes={bytes} hard={hard}", name(from))
            }
            Self::Heal => "heal".into(),
        }
    }

    /// Reads the rest of a command about these nodes.
    pub(super) fn read(command: Option<&str>, words: &mut Words<'_>, nodes: &[Setup]) -> Result<Self, Malformed> {
        let step = match command {
            Some("wait") => Self::Wait(words.take(DURATION, duration)?),
            Some("ask") => read_question(words, nodes)?,
            Some("notify") => Self::Notify { from: node(words, nodes)?, to: node(words, nodes)? },
            Some("cancel") => Self::Cancel { node: node(words, nodes)? },
            Some("answer") => Self::Answer { node: node(words, nodes)? },
            Some("cut") => Self::Cut { one: node(words, nodes)?, other: node(words, nodes)? },
            Some("break-next") => {
                Self::BreakNext { bytes: words.take("a size above zero", |word| size(word).filter(|&size| size > 0))? }
            }
            Some("crash") => Self::Crash { node: node(words, nodes)? },
            Some("power-off") => Self::PowerOff { node: node(words, nodes)? },
            Some("start") => Self::Start { node: node(words, nodes)? },
            Some("wipe") => Self::Wipe { node: node(words, nodes)? },
            Some("freeze") => Self::Freeze { node: node(words, nodes)? },
            Some("thaw") => Self::Thaw { node: node(words, nodes)? },
            Some("isolate") => Self::Silence { node: node(words, nodes)?, silent: true },
            Some("rejoin") => Self::Silence { node: node(words, nodes)?, silent: false },
            Some("block") => Self::Block { from: node(words, nodes)?, to: node(words, nodes)?, blocked: true },
            Some("unblock") => Self::Block { from: node(words, nodes)?, to: node(words, nodes)?, blocked: false },
            Some("clock") => read_clock(words, nodes)?,
            Some("drift") => read_drift(words, nodes)?,
            Some("nat") => read_nat(words, nodes)?,
            Some("no-nat") => Self::Nat { node: node(words, nodes)?, nat: None },
            Some("open") => Self::Listen { node: node(words, nodes)?, listening: true },
            Some("close") => Self::Listen { node: node(words, nodes)?, listening: false },
            Some("forget") => Self::Forget { node: node(words, nodes)? },
            Some("directory") => Self::Directory(read_directory(words)?),
            Some("outdate") => Self::Outdate { node: node(words, nodes)?, peer: node(words, nodes)? },
            Some("expect") => read_expectation(words, nodes)?,
            Some("trick") => {
                let trick = words.take("the name of a trick, such as overlapping-pieces", |word| word.parse().ok())?;
                Self::Trick { node: node(words, nodes)?, trick }
            }
            Some("manner") => {
                Self::Manner(words.take("the name of a manner, such as answers-twice", |word| word.parse().ok())?)
            }
            Some("ask-adversary") => read_question_to_adversary(words, nodes)?,
            Some("heal") => Self::Heal,
            _ => return words.fail(command, format!("one of {COMMANDS}")),
        };
        Ok(step)
    }
}

fn read_question(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let (from, to) = (node(words, nodes)?, node(words, nodes)?);
    let type_name = words.one_of(&ASKED_FOR.map(|name| (name, name)))?;
    let (mut bytes, mut soft, mut hard) = (8, None, USUAL_HARD);
    words.settings(|name, value| {
        match name {
            "bytes" => bytes = body_size(value)?,
            "soft" => soft = Some(timeout(value).ok_or("soft= and a duration above zero, up to 1h")?),
            "hard" => hard = hard_timeout(value)?,
            _ => return Err("one of bytes=, soft=, hard=".to_owned()),
        }
        Ok(())
    })?;
    if soft.is_some_and(|soft| soft >= hard) {
        return words.fail(Some("soft="), "a soft timeout shorter than the hard one");
    }
    Ok(Step::Ask { from, to, type_name, bytes, soft, hard })
}

fn read_question_to_adversary(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let from = node(words, nodes)?;
    let type_name = words.one_of(&ASKED_FOR.map(|name| (name, name)))?;
    let (mut bytes, mut hard) = (8, USUAL_HARD);
    words.settings(|name, value| {
        match name {
            "bytes" => bytes = body_size(value)?,
            "hard" => hard = hard_timeout(value)?,
            _ => return Err("one of bytes=, hard=".to_owned()),
        }
        Ok(())
    })?;
    Ok(Step::AskAdversary { from, type_name, bytes, hard })
}

fn body_size(value: &str) -> Result<usize, &'static str> {
    let fits = |&size: &usize| (8..=egtp::MAX_BODY).contains(&size);
    size(value).filter(fits).ok_or("bytes= and a size from 8B to 4000000B")
}

fn hard_timeout(value: &str) -> Result<Duration, &'static str> {
    timeout(value).ok_or("hard= and a duration above zero, up to 1h")
}

fn timeout(value: &str) -> Option<Duration> {
    duration(value).filter(|&time| !time.is_zero() && time <= MAX_HARD_TIMEOUT)
}

fn read_clock(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let node = node(words, nodes)?;
    words.take("+ or - and a duration, such as +2s", |word| match word.strip_prefix('-') {
        Some(by) => Some(Step::ClockBack { node, by: duration(by)? }),
        None => Some(Step::ClockForward { node, by: duration(word.strip_prefix('+')?)? }),
    })
}

fn read_drift(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let node = node(words, nodes)?;
    words.take("a number from -500ppm to +500ppm", |word| {
        let millionths = word.strip_suffix("ppm")?.parse::<i32>().ok()?;
        (-MAX_DRIFT..=MAX_DRIFT).contains(&millionths).then_some(Step::Drift { node, millionths })
    })
}

fn read_nat(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let node = node(words, nodes)?;
    let choices = BEHAVIOURS.map(|known| (behaviour(known), known));
    let (mapping, filtering) = (words.one_of(&choices)?, words.one_of(&choices)?);
    Ok(Step::Nat { node, nat: Some(Nat { mapping, filtering }) })
}

fn read_expectation(words: &mut Words<'_>, nodes: &[Setup]) -> Result<Step, Malformed> {
    let node = node(words, nodes)?;
    let known = usage::names();
    let things = known.join("=, ");
    let (usage, count) = words.take(&format!("a number of something: {things}="), |word| {
        let (name, count) = word.split_once('=')?;
        Some((*known.iter().find(|&&known| known == name)?, count.parse().ok()?))
    })?;
    Ok(Step::Expect { node, usage, count })
}

fn node(words: &mut Words<'_>, nodes: &[Setup]) -> Result<usize, Malformed> {
    let names = nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = if names.is_empty() { "a node, and there is none yet".into() } else { format!("one of {names}") };
    words.take(&wanted, |word| nodes.iter().position(|node| node.name == word))
}

fn read_directory(words: &mut Words<'_>) -> Result<Directory, Malformed> {
    let slow = Directory::Slow(Duration::ZERO);
    let behaviour = words.one_of(&[
        ("honest", Directory::Honest),
        ("silent", Directory::Silent),
        ("slow", slow),
        ("stale", Directory::Stale),
        ("wrong", Directory::Wrong),
        ("gone", Directory::Gone),
    ])?;
    Ok(if behaviour == slow { Directory::Slow(words.take(DURATION, duration)?) } else { behaviour })
}
