//! One depth after the other.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::pair::Pair;
use super::{Bounds, Breach, Findings, Happening, Setting};

/// A state from which something can happen.
struct Open {
    path: Vec<Happening>,
    choices: Vec<Happening>,
}

/// What a thread has found at one depth.
#[derive(Default)]
struct Found {
    open: Vec<Open>,
    steps: u64,
    states: u64,
    finals: u64,
    breach: Option<Breach>,
}

/// What all threads of an exploration share.
struct Search {
    setting: Setting,
    bounds: Bounds,
    seen: Mutex<HashSet<[u8; 20]>>,
}

/// Plays everything that can happen within these bounds, on so many threads. It stops at the depth at which a promise is broken.
pub fn explore(setting: &Setting, bounds: Bounds, threads: usize) -> Findings {
    let search = Search { setting: *setting, bounds, seen: Mutex::default() };
    let mut findings = Findings::default();
    let mut found = Found::default();
    search.arrive(Pair::new(*setting), Vec::new(), &mut found);
    for _ in 0..=bounds.depth {
        findings.states += found.states;
        findings.steps += found.steps;
        findings.finals += found.finals;
        findings.levels.push(found.states);
        findings.breach = found.breach;
        if findings.breach.is_some() || findings.levels.len() > bounds.depth || found.open.is_empty() {
            break;
        }
        found = search.deepen(&found.open, threads);
    }
    findings
}

impl Search {
    /// Everything that can happen in these states.
    fn deepen(&self, open: &[Open], threads: usize) -> Found {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Found::default();
            while let Some(open) = open.get(next.fetch_add(1, Ordering::Relaxed)) {
                for &choice in &open.choices {
                    self.follow(&open.path, choice, &mut found);
                }
            }
            found
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut found = work();
            for other in others {
                match other.join() {
                    Ok(more) => found.add(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            found
        })
    }

    fn follow(&self, before: &[Happening], choice: Happening, found: &mut Found) {
        let mut pair = Pair::new(self.setting);
        let path = [before, &[choice]].concat();
        for &happening in &path {
            pair.play(happening);
        }
        found.steps += 1;
        self.arrive(pair, path, found);
    }

    /// A state that was not seen before is looked at.
    fn arrive(&self, pair: Pair, path: Vec<Happening>, found: &mut Found) {
        if let Some(what) = pair.ledger.breach().cloned() {
            return found.broke(Breach { path, ending: Vec::new(), what });
        }
        if !self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(pair.key()) {
            return;
        }
        found.states += 1;
        let choices = pair.choices(self.bounds.faults);
        found.finals += u64::from(choices.is_empty());
        match pair.end_well() {
            Some((ending, what)) => found.broke(Breach { path, ending, what }),
            None if choices.is_empty() => {}
            None => found.open.push(Open { path, choices }),
        }
    }
}

impl Found {
    /// Of several the least is kept, so that it is the same with any number of threads.
    fn broke(&mut self, breach: Breach) {
        self.breach = Some(self.breach.take().map_or(breach.clone(), |other| other.min(breach)));
    }

    fn add(&mut self, more: Self) {
        self.open.extend(more.open);
        self.steps += more.steps;
        self.states += more.states;
        self.finals += more.finals;
        if let Some(breach) = more.breach {
            self.broke(breach);
        }
    }
}
