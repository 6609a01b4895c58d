//! A scenario in words, and back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use egtp::MAX_HARD_TIMEOUT;

use super::words::{DURATION, Malformed, Words, duration, duration_in_words, size, size_in_words};
use super::{ASKED_FOR, Scenario, Setup, Step, settings};
use crate::transcript::behaviour;
use crate::{Chunks, Directory, Nat, NatBehaviour, Network, usage};

const CHUNKS: [(&str, Chunks); 4] =
    [("single", Chunks::Single), ("tiny", Chunks::Tiny), ("any", Chunks::Any), ("whole", Chunks::Whole)];

const BEHAVIOURS: [NatBehaviour; 3] =
    [NatBehaviour::EndpointIndependent, NatBehaviour::AddressDependent, NatBehaviour::AddressAndPortDependent];

/// The hard timeout of a query that names none.
const USUAL_HARD: Duration = Duration::from_secs(20);

/// The most nodes of a script.
const MOST_NODES: usize = 1000;

/// As a script: what [`FromStr`] reads.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.setting())?;
        for step in &self.steps {
            writeln!(f, "> {}", self.step_in_words(step))?;
        }
        Ok(())
    }
}

/// Reads a script. What it says is in the lines that begin with `>`; all others are for people: comments, and what is expected to
/// happen. Durations are written `1.5s`, `20ms` or `300us`, sizes `100B` or `64KiB`.
///
/// ```text
/// > seed 7
/// > network latency=10ms jitter=2ms chunks=any buffer=64KiB
/// > node alice connections=2
/// > node bob
/// > ask alice bob echo bytes=100 soft=2s hard=10s
/// > wait 30ms
/// > cut alice bob
/// > wait 1min
/// > expect alice queries=0
/// ```
///
/// Before anything happens come `seed N`, `network` with `latency=`, `jitter=`, `chunks=single|tiny|any|whole`, `buffer=` and
/// `bandwidth=` (bytes a second), and a `node NAME` for each node, with the limits, timers and rates in which it differs from [`egtp::Config::default`]. Then, one line for
/// each [`Step`]:
///
/// | line | step |
/// |---|---|
/// | `wait TIME` | [`Step::Wait`] |
/// | `ask FROM TO TYPE [bytes=SIZE] [soft=TIME] [hard=TIME]` | [`Step::Ask`]; 8 bytes, 20 s |
/// | `notify FROM TO` | [`Step::Notify`] |
/// | `cancel NODE` | [`Step::Cancel`] |
/// | `answer NODE` | [`Step::Answer`] |
/// | `cut ONE OTHER` | [`Step::Cut`] |
/// | `break-next SIZE` | [`Step::BreakNext`] |
/// | `crash`, `power-off`, `start`, `wipe`, `freeze`, `thaw NODE` | the steps of these names |
/// | `isolate NODE`, `rejoin NODE` | [`Step::Silence`] |
/// | `block FROM TO`, `unblock FROM TO` | [`Step::Block`] |
/// | `clock NODE +TIME`, `clock NODE -TIME` | [`Step::ClockForward`], [`Step::ClockBack`] |
/// | `nat NODE MAPPING FILTERING`, `no-nat NODE` | [`Step::Nat`]: `endpoint-independent`, `address-dependent` or `address-and-port-dependent` |
/// | `close NODE`, `open NODE` | [`Step::Listen`]: its port |
/// | `forget NODE` | [`Step::Forget`] |
/// | `directory honest`, `silent`, `slow TIME`, `stale`, `wrong` or `gone` | [`Step::Directory`] |
/// | `outdate NODE PEER` | [`Step::Outdate`] |
/// | `expect NODE THING=COUNT` | [`Step::Expect`] |
/// | `trick TRICK NODE` | [`Step::Trick`]: one of [`Trick`](crate::adversary::Trick) |
/// | `manner MANNER` | [`Step::Manner`]: one of [`Manner`](crate::adversary::Manner) |
/// | `ask-adversary FROM TYPE [bytes=SIZE] [hard=TIME]` | [`Step::AskAdversary`] |
/// | `heal` | [`Step::Heal`] |
impl FromStr for Scenario {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let mut scenario = Self::default();
        for (line, text) in text.lines().enumerate() {
            if let Some(command) = text.strip_prefix('>') {
                scenario.read(Words::new(line + 1, command))?;
            }
        }
        Ok(scenario)
    }
}

impl Scenario {
    /// Who is there, and what links are like: the first lines of the script.
    pub fn setting(&self) -> String {
        let mut lines = vec![format!("> seed {}", self.seed), format!("> {}", self.network_in_words())];
        lines.extend(self.nodes.iter().map(|node| format!("> node {}{}", node.name, settings::in_words(&node.config))));
        lines.join("\n")
    }

    /// What links are like.
    pub fn network_in_words(&self) -> String {
        let Network { latency, jitter, chunks, buffer, bandwidth } = self.network;
        let chunks = CHUNKS.iter().find(|&&(_, known)| known == chunks).map_or("", |&(name, _)| name);
        let (latency, jitter) = (duration_in_words(latency), duration_in_words(jitter));
        let (buffer, bandwidth) =
            (size_in_words(buffer), bandwidth.map_or(String::new(), |rate| format!(" bandwidth={rate}")));
        format!("network latency={latency} jitter={jitter} chunks={chunks} buffer={buffer}{bandwidth}")
    }

    fn step_in_words(&self, step: &Step) -> String {
        let name = |node: usize| self.nodes.get(node).map_or("nobody", |setup| setup.name.as_str());
        match *step {
            Step::Wait(time) => format!("wait {}", duration_in_words(time)),
            Step::Ask { from, to, type_name, bytes, soft, hard } => {
                let soft = soft.map_or(String::new(), |soft| format!(" soft={}", duration_in_words(soft)));
                let (bytes, hard) = (size_in_words(bytes), duration_in_words(hard));
                format!("ask {} {} {type_name} bytes={bytes}{soft} hard={hard}", name(from), name(to))
            }
            Step::Notify { from, to } => format!("notify {} {}", name(from), name(to)),
            Step::Cancel { node } => format!("cancel {}", name(node)),
            Step::Answer { node } => format!("answer {}", name(node)),
            Step::Cut { one, other } => format!("cut {} {}", name(one), name(other)),
            Step::BreakNext { bytes } => format!("break-next {}", size_in_words(bytes)),
            Step::Crash { node } => format!("crash {}", name(node)),
            Step::PowerOff { node } => format!("power-off {}", name(node)),
            Step::Start { node } => format!("start {}", name(node)),
            Step::Wipe { node } => format!("wipe {}", name(node)),
            Step::Freeze { node } => format!("freeze {}", name(node)),
            Step::Thaw { node } => format!("thaw {}", name(node)),
            Step::Silence { node, silent: true } => format!("isolate {}", name(node)),
            Step::Silence { node, silent: false } => format!("rejoin {}", name(node)),
            Step::Block { from, to, blocked: true } => format!("block {} {}", name(from), name(to)),
            Step::Block { from, to, blocked: false } => format!("unblock {} {}", name(from), name(to)),
            Step::ClockForward { node, by } => format!("clock {} +{}", name(node), duration_in_words(by)),
            Step::ClockBack { node, by } => format!("clock {} -{}", name(node), duration_in_words(by)),
            Step::Nat { node, nat: Some(Nat { mapping, filtering }) } => {
                format!("nat {} {} {}", name(node), behaviour(mapping), behaviour(filtering))
            }
            Step::Nat { node, nat: None } => format!("no-nat {}", name(node)),
            Step::Listen { node, listening: true } => format!("open {}", name(node)),
            Step::Listen { node, listening: false } => format!("close {}", name(node)),
            Step::Forget { node } => format!("forget {}", name(node)),
            Step::Directory(Directory::Honest) => "directory honest".into(),
            Step::Directory(Directory::Silent) => "directory silent".into(),
            Step::Directory(Directory::Slow(by)) => format!("directory slow {}", duration_in_words(by)),
            Step::Directory(Directory::Stale) => "directory stale".into(),
            Step::Directory(Directory::Wrong) => "directory wrong".into(),
            Step::Directory(Directory::Gone) => "directory gone".into(),
            Step::Outdate { node, peer } => format!("outdate {} {}", name(node), name(peer)),
            Step::Expect { node, usage, count } => format!("expect {} {usage}={count}", name(node)),
            Step::Trick { node, trick } => format!("trick {trick} {}", name(node)),
            Step::Manner(manner) => format!("manner {manner}"),
            Step::AskAdversary { from, type_name, bytes, hard } => {
                let (bytes, hard) = (size_in_words(bytes), duration_in_words(hard));
                format!("ask-adversary {} {type_name} bytes={bytes} hard={hard}", name(from))
            }
            Step::Heal => "heal".into(),
        }
    }

    fn read(&mut self, mut words: Words<'_>) -> Result<(), Malformed> {
        let step = match words.next() {
            Some("seed") => {
                self.seed = words.take("a whole number", |word| word.parse().ok())?;
                return words.end();
            }
            Some("network") => return self.read_network(&mut words),
            Some("node") => return self.read_node(&mut words),
            Some("wait") => Step::Wait(words.take(DURATION, duration)?),
            Some("ask") => self.read_question(&mut words)?,
            Some("notify") => Step::Notify { from: self.node(&mut words)?, to: self.node(&mut words)? },
            Some("cancel") => Step::Cancel { node: self.node(&mut words)? },
            Some("answer") => Step::Answer { node: self.node(&mut words)? },
            Some("cut") => Step::Cut { one: self.node(&mut words)?, other: self.node(&mut words)? },
            Some("break-next") => {
                Step::BreakNext { bytes: words.take("a size above zero", |word| size(word).filter(|&size| size > 0))? }
            }
            Some("crash") => Step::Crash { node: self.node(&mut words)? },
            Some("power-off") => Step::PowerOff { node: self.node(&mut words)? },
            Some("start") => Step::Start { node: self.node(&mut words)? },
            Some("wipe") => Step::Wipe { node: self.node(&mut words)? },
            Some("freeze") => Step::Freeze { node: self.node(&mut words)? },
            Some("thaw") => Step::Thaw { node: self.node(&mut words)? },
            Some("isolate") => Step::Silence { node: self.node(&mut words)?, silent: true },
            Some("rejoin") => Step::Silence { node: self.node(&mut words)?, silent: false },
            Some("block") => Step::Block { from: self.node(&mut words)?, to: self.node(&mut words)?, blocked: true },
            Some("unblock") => Step::Block { from: self.node(&mut words)?, to: self.node(&mut words)?, blocked: false },
            Some("clock") => self.read_clock(&mut words)?,
            Some("nat") => self.read_nat(&mut words)?,
            Some("no-nat") => Step::Nat { node: self.node(&mut words)?, nat: None },
            Some("open") => Step::Listen { node: self.node(&mut words)?, listening: true },
            Some("close") => Step::Listen { node: self.node(&mut words)?, listening: false },
            Some("forget") => Step::Forget { node: self.node(&mut words)? },
            Some("directory") => Step::Directory(read_directory(&mut words)?),
            Some("outdate") => Step::Outdate { node: self.node(&mut words)?, peer: self.node(&mut words)? },
            Some("expect") => self.read_expectation(&mut words)?,
            Some("trick") => {
                let trick = words.take("the name of a trick, such as overlapping-pieces", |word| word.parse().ok())?;
                Step::Trick { node: self.node(&mut words)?, trick }
            }
            Some("manner") => {
                Step::Manner(words.take("the name of a manner, such as answers-twice", |word| word.parse().ok())?)
            }
            Some("ask-adversary") => self.read_question_to_adversary(&mut words)?,
            Some("heal") => Step::Heal,
            word => return words.fail(word, format!("one of {COMMANDS}")),
        };
        words.end()?;
        self.steps.push(step);
        Ok(())
    }

    fn read_network(&mut self, words: &mut Words<'_>) -> Result<(), Malformed> {
        let Network { latency, jitter, chunks, buffer, bandwidth } = &mut self.network;
        words.settings(|name, value| {
            let time = || duration(value).filter(|&time| time <= Duration::from_secs(3600)).ok_or(DURATION);
            match name {
                "latency" => *latency = time()?,
                "jitter" => *jitter = time()?,
                "buffer" => *buffer = size(value).filter(|&size| size > 0).ok_or("a size above zero, such as 64KiB")?,
                "chunks" => {
                    let known = CHUNKS.iter().find(|&&(known, _)| known == value);
                    *chunks = known.ok_or("chunks= and one of single, tiny, any, whole")?.1;
                }
                "bandwidth" => {
                    let rate = value.parse().ok().filter(|&rate| rate > 0);
                    *bandwidth = Some(rate.ok_or("bandwidth= and a number of bytes a second above zero")?);
                }
                _ => return Err("one of latency=, jitter=, chunks=, buffer=, bandwidth=".to_owned()),
            }
            Ok(())
        })
    }

    fn read_node(&mut self, words: &mut Words<'_>) -> Result<(), Malformed> {
        if !self.steps.is_empty() || self.nodes.len() == MOST_NODES {
            return words.fail(Some("node"), "at most 1000 nodes, all of them before anything happens");
        }
        let is_new = |name: &str| self.nodes.iter().all(|node| node.name != name);
        let is_plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = words.take("a name that no other node has, of letters and digits", |word| {
            (is_new(word) && is_plain(word)).then(|| word.to_owned())
        })?;
        let mut setup = Setup { name, ..Setup::default() };
        words.settings(|name, value| settings::set(&mut setup.config, name, value))?;
        self.nodes.push(setup);
        Ok(())
    }

    fn read_question(&self, words: &mut Words<'_>) -> Result<Step, Malformed> {
        let (from, to) = (self.node(words)?, self.node(words)?);
        let type_name = words.one_of(&ASKED_FOR.map(|name| (name, name)))?;
        let (mut bytes, mut soft, mut hard) = (8, None, USUAL_HARD);
        words.settings(|name, value| {
            let time = || duration(value).filter(|&time| !time.is_zero() && time <= MAX_HARD_TIMEOUT);
            match name {
                "bytes" => {
                    let fits = |&size: &usize| (8..=egtp::MAX_BODY).contains(&size);
                    bytes = size(value).filter(fits).ok_or("bytes= and a size from 8B to 4000000B")?;
                }
                "soft" => soft = Some(time().ok_or("soft= and a duration above zero, up to 1h")?),
                "hard" => hard = time().ok_or("hard= and a duration above zero, up to 1h")?,
                _ => return Err("one of bytes=, soft=, hard=".to_owned()),
            }
            Ok(())
        })?;
        if soft.is_some_and(|soft| soft >= hard) {
            return words.fail(Some("soft="), "a soft timeout shorter than the hard one");
        }
        Ok(Step::Ask { from, to, type_name, bytes, soft, hard })
    }

    fn read_question_to_adversary(&self, words: &mut Words<'_>) -> Result<Step, Malformed> {
        let from = self.node(words)?;
        let type_name = words.one_of(&ASKED_FOR.map(|name| (name, name)))?;
        let (mut bytes, mut hard) = (8, USUAL_HARD);
        words.settings(|name, value| match name {
            "bytes" => {
                let fits = |&size: &usize| (8..=egtp::MAX_BODY).contains(&size);
                bytes = size(value).filter(fits).ok_or("bytes= and a size from 8B to 4000000B")?;
                Ok(())
            }
            "hard" => {
                let fits = |&time: &Duration| !time.is_zero() && time <= MAX_HARD_TIMEOUT;
                hard = duration(value).filter(fits).ok_or("hard= and a duration above zero, up to 1h")?;
                Ok(())
            }
            _ => Err("one of bytes=, hard=".to_owned()),
        })?;
        Ok(Step::AskAdversary { from, type_name, bytes, hard })
    }

    fn read_clock(&self, words: &mut Words<'_>) -> Result<Step, Malformed> {
        let node = self.node(words)?;
        words.take("+ or - and a duration, such as +2s", |word| match word.strip_prefix('-') {
            Some(by) => Some(Step::ClockBack { node, by: duration(by)? }),
            None => Some(Step::ClockForward { node, by: duration(word.strip_prefix('+')?)? }),
        })
    }

    fn read_nat(&self, words: &mut Words<'_>) -> Result<Step, Malformed> {
        let node = self.node(words)?;
        let choices = BEHAVIOURS.map(|known| (behaviour(known), known));
        let (mapping, filtering) = (words.one_of(&choices)?, words.one_of(&choices)?);
        Ok(Step::Nat { node, nat: Some(Nat { mapping, filtering }) })
    }

    fn read_expectation(&self, words: &mut Words<'_>) -> Result<Step, Malformed> {
        let node = self.node(words)?;
        let known = usage::names();
        let things = known.join("=, ");
        let (usage, count) = words.take(&format!("a number of something: {things}="), |word| {
            let (name, count) = word.split_once('=')?;
            Some((*known.iter().find(|&&known| known == name)?, count.parse().ok()?))
        })?;
        Ok(Step::Expect { node, usage, count })
    }

    fn node(&self, words: &mut Words<'_>) -> Result<usize, Malformed> {
        let names = self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ");
        let wanted = if names.is_empty() { "a node, and there is none yet".into() } else { format!("one of {names}") };
        words.take(&wanted, |word| self.nodes.iter().position(|node| node.name == word))
    }
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

const COMMANDS: &str = "seed, network, node, wait, ask, notify, cancel, answer, cut, break-next, crash, power-off, start, wipe, \
                        freeze, thaw, isolate, rejoin, block, unblock, clock, nat, no-nat, open, close, forget, directory, \
                        outdate, expect, trick, manner, ask-adversary, heal";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::{Settings, record};

    #[test]
    fn a_drawn_scenario_is_read_as_it_is_written() {
        for seed in 0..50 {
            let scenario = record(seed, &Settings::default()).scenario;
            assert_eq!(scenario.to_string().parse(), Ok(scenario), "seed {seed}");
        }
    }

    #[test]
    fn every_step_is_read_as_it_is_written() {
        let script = "\
> seed 7
> network latency=10ms jitter=2ms chunks=any buffer=64KiB bandwidth=125000
> node alice connections=2 idle=1s up=2000
> node bob
> wait 1.5s
> ask alice bob echo bytes=100B soft=2s hard=10s
> ask bob bob unknown bytes=8B hard=300us
> notify alice bob
> cancel alice
> answer bob
> cut alice bob
> break-next 77B
> crash alice
> start alice
> wipe alice
> freeze bob
> thaw bob
> isolate bob
> rejoin bob
> close bob
> open bob
> forget bob
> directory silent
> directory slow 1.5s
> directory stale
> directory wrong
> directory gone
> directory honest
> power-off bob
> block alice bob
> unblock alice bob
> clock bob +2s
> clock bob -300ms
> nat alice endpoint-independent address-and-port-dependent
> no-nat alice
> outdate alice bob
> expect alice queries=0
> trick overlapping-pieces bob
> manner answers-twice
> ask-adversary alice keep bytes=20B hard=7s
> heal
";
        let scenario: Scenario = script.parse().unwrap();
        assert_eq!(scenario.to_string(), script);
        assert_eq!(scenario.steps.len(), script.lines().count() - 4);
    }

    #[test]
    fn what_is_no_command_is_for_people() {
        let scenario: Scenario = "# nothing\n\n>node alice\n  1.0s alice crashes\n>  crash   alice\n".parse().unwrap();
        assert_eq!((scenario.nodes.len(), scenario.steps), (1, vec![Step::Crash { node: 0 }]));
    }

    #[test]
    fn a_mistake_is_named_with_its_line_its_word_and_what_would_do() {
        let cases = [
            ("> nod alice", "line 3: \"nod\" will not do, but one of seed, network, node, "),
            ("> node alice", "line 3: \"alice\" will not do, but a name that no other node has"),
            ("> ask alice carol echo", "line 3: \"carol\" will not do, but one of alice, bob"),
            ("> ask alice bob", "line 3 ends too early: there has to follow echo, empty, keep, never, no, unknown"),
            ("> ask alice bob echo hard=2h", "line 3: \"hard=2h\" will not do, but hard= and a duration"),
            ("> ask alice bob echo soft=2s hard=1s", "line 3: \"soft=\" will not do, but a soft timeout shorter"),
            ("> wait 5", "line 3: \"5\" will not do, but a duration such as"),
            ("> network chunks=big", "line 3: \"chunks=big\" will not do, but chunks= and one of single"),
            ("> crash bob now", "line 3: \"now\" will not do, but the end of the line"),
            ("> expect bob cakes=3", "line 3: \"cakes=3\" will not do, but a number of something: connections="),
            ("> heal\n> node carol", "line 4: \"node\" will not do, but at most 1000 nodes, all of them before"),
        ];
        for (text, told) in cases {
            let error = format!("> node alice\n> node bob\n{text}").parse::<Scenario>().unwrap_err().to_string();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }
}
