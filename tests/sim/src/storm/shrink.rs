//! A smaller scenario that breaks a promise as well.

use std::time::Duration;

use super::record_scenario;
use crate::Network;
use crate::scenario::{Scenario, Setup, Step};

/// Drops steps and nodes, shortens waits and bodies, and makes everything ordinary that can be, as long as a promise is still broken
/// (perhaps another one). It plays so many scenarios at most. One that breaks nothing is given back as it is.
pub fn shrink(scenario: &Scenario, attempts: usize) -> Scenario {
    let mut search = Search { best: scenario.clone(), attempts };
    // Whatever comes after the step that breaks a promise is not needed.
    let played = record_scenario(scenario);
    if !played.outcome.violations.is_empty() {
        search.best = played.scenario;
        let mut before = None;
        while search.attempts > 0 && before.as_ref() != Some(&search.best) {
            before = Some(search.best.clone());
            search.drop_steps();
            search.drop_nodes();
            search.make_ordinary();
            search.shorten();
        }
    }
    search.best
}

struct Search {
    best: Scenario,
    attempts: usize,
}

impl Search {
    /// Takes a change if a promise is still broken. Says whether it did.
    fn attempt(&mut self, change: impl FnOnce(&mut Scenario)) -> bool {
        let mut scenario = self.best.clone();
        change(&mut scenario);
        if self.attempts == 0 || scenario == self.best {
            return false;
        }
        self.attempts -= 1;
        let played = record_scenario(&scenario);
        let is_broken = !played.outcome.violations.is_empty();
        if is_broken {
            self.best = played.scenario;
        }
        is_broken
    }

    /// First in large portions, then one by one, from the end.
    fn drop_steps(&mut self) {
        let mut portion = self.best.steps.len() / 2;
        while portion > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(portion);
                self.attempt(|scenario| _ = scenario.steps.drain(start..end));
                end = start.min(self.best.steps.len());
            }
            portion /= 2;
        }
    }

    fn drop_nodes(&mut self) {
        for node in (0..self.best.nodes.len()).rev() {
            if self.best.nodes.len() > 1 {
                self.attempt(|scenario| drop_node(scenario, node));
            }
        }
    }

    fn make_ordinary(&mut self) {
        self.attempt(|scenario| scenario.network = Network::default());
        let usual = Network::default();
        self.attempt(|scenario| scenario.network.jitter = usual.jitter);
        self.attempt(|scenario| scenario.network.chunks = usual.chunks);
        self.attempt(|scenario| scenario.network.buffer = usual.buffer);
        for node in 0..self.best.nodes.len() {
            self.attempt(|scenario| {
                let setup = &mut scenario.nodes[node];
                *setup = Setup { name: std::mem::take(&mut setup.name), ..Setup::default() };
            });
        }
    }

    fn shorten(&mut self) {
        for at in (0..self.best.steps.len()).rev() {
            let Some(&step) = self.best.steps.get(at) else { continue };
            for shorter in shorter(step) {
                if self.attempt(|scenario| scenario.steps[at] = shorter) {
                    break;
                }
            }
        }
    }
}

/// What might do instead of a step, the simplest first.
fn shorter(step: Step) -> Vec<Step> {
    match step {
        Step::Wait(time) => {
            let rounded = [1_000_000, 1_000].map(|unit| u64::try_from(time.as_micros()).unwrap_or(0) / unit * unit);
            let [seconds, millis] = rounded.map(Duration::from_micros);
            [time / 8, time / 2, seconds, millis].map(whole_micros).map(Step::Wait).to_vec()
        }
        Step::Ask { from, to, type_name, bytes, soft, hard } => {
            let with = |bytes, soft| Step::Ask { from, to, type_name, bytes, soft, hard };
            vec![with(8, None), with(bytes, None), with(8, soft), with(bytes / 2 + 4, soft)]
        }
        Step::BreakNext { bytes } => vec![Step::BreakNext { bytes: bytes.div_ceil(2) }],
        _ => Vec::new(),
    }
}

fn whole_micros(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(0))
}

/// With everything that mentions it.
fn drop_node(scenario: &mut Scenario, node: usize) {
    scenario.nodes.remove(node);
    scenario.steps.retain_mut(|step| {
        let mut mentioned = step.nodes_mut();
        let is_needed = mentioned.iter().all(|number| **number != node);
        for number in mentioned.iter_mut().filter(|number| ***number > node) {
            **number -= 1;
        }
        is_needed
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::{Settings, record};

    /// Much that happens, and at the end something that breaks whatever happened before.
    fn broken() -> Scenario {
        let noise =
            "> wait 1.234567s\n> cut alice dave\n> freeze alice\n> ask bob dave never soft=1s\n> directory slow 2s\n";
        let script = format!(
            "> network chunks=tiny jitter=3ms\n> node alice connections=2\n> node bob\n> node carol\n> node dave\n{}\
             > ask carol bob echo bytes=3000B hard=9s\n> expect carol queries=0\n> heal\n",
            noise.repeat(8)
        );
        script.parse().unwrap()
    }

    #[test]
    fn what_is_left_is_what_breaks_the_promise() {
        let shrunk = shrink(&broken(), 300);
        let text = shrunk.to_string();
        assert!(!record_scenario(&shrunk).outcome.violations.is_empty(), "{text}");
        assert_eq!(shrunk.steps.len(), 2, "{text}");
        assert_eq!((shrunk.nodes.len(), shrunk.network), (2, Network::default()), "{text}");
        assert!(text.contains("> ask carol bob echo bytes=8B hard=9s\n> expect carol queries=0\n"), "{text}");
        assert_eq!(shrunk, shrink(&broken(), 300));
    }

    #[test]
    fn it_tries_no_more_often_than_it_may_and_leaves_what_is_whole_alone() {
        let one = shrink(&broken(), 1);
        assert!(one.steps.len() > broken().steps.len() / 3);
        let whole = record(5, &Settings::default()).scenario;
        assert_eq!(shrink(&whole, 300), whole);
    }
}
