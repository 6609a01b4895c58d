//! A scenario in words, and back.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::words::{DURATION, Malformed, Words, duration, duration_in_words, size, size_in_words};
use super::{Scenario, Setup, Step, settings};
use crate::{Chunks, Network};

const CHUNKS: [(&str, Chunks); 4] =
    [("single", Chunks::Single), ("tiny", Chunks::Tiny), ("any", Chunks::Any), ("whole", Chunks::Whole)];

/// The most nodes of a script.
const MOST_NODES: usize = 1000;

/// As a script: what [`FromStr`] reads.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.setting())?;
        for step in &self.steps {
            writeln!(f, "> {}", step.in_words(&self.nodes))?;
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
/// | `drift NODE -300ppm` | [`Step::Drift`]: up to 500 millionths either way |
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

    fn read(&mut self, mut words: Words<'_>) -> Result<(), Malformed> {
        match words.next() {
            Some("seed") => self.seed = words.take("a whole number", |word| word.parse().ok())?,
            Some("network") => self.read_network(&mut words)?,
            Some("node") => self.read_node(&mut words)?,
            command => {
                let step = Step::read(command, &mut words, &self.nodes)?;
                self.steps.push(step);
            }
        }
        words.end()
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
}

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
> drift bob +500ppm
> drift bob -1ppm
> drift bob +0ppm
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
            ("> drift bob +501ppm", "line 3: \"+501ppm\" will not do, but a number from -500ppm to +500ppm"),
            ("> expect bob cakes=3", "line 3: \"cakes=3\" will not do, but a number of something: connections="),
            ("> heal\n> node carol", "line 4: \"node\" will not do, but at most 1000 nodes, all of them before"),
        ];
        for (text, told) in cases {
            let error = format!("> node alice\n> node bob\n{text}").parse::<Scenario>().unwrap_err().to_string();
            assert!(error.starts_with(told), "{text}: {error}");
        }
    }
}
