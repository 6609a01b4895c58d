//! Thousands of short runs with every misfortune at once, and what has to hold all the same.

extern crate std;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC, Sealed};
use super::dice::Dice;
use super::promises::{Outcome, Promises};
use crate::admission::Charges;
use crate::session::seal::OpenError;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};

/// How many runs there are, unless `EGTP_SESSION_STORMS` says otherwise; the first seed is `EGTP_SESSION_SEED` or 0.
const STORMS: u64 = 2_000;

/// After so much time without faults everything is answered: what has stalled is given up after 30 s, what is stuck on a path after 60 s.
const CALM: Duration = Duration::from_secs(400);

struct Storm {
    bench: Bench,
    dice: Dice,
    promises: Promises,
    /// When handlers are done, by end and number.
    handlers: BTreeMap<(usize, u64), Instant>,
    /// Packets that have left, and may come once more, or late.
    old: [Vec<Sealed>; 2],
    /// How many more packets may be taken out of a stream: three that carry the same thing would break the rules.
    thefts: [usize; 2],
    /// Since when a path is open at one end only.
    half: BTreeMap<usize, Instant>,
    calm: bool,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut bench = Bench::with_most_outstanding(dice.one_of(&[1, 3, 1000]));
        for end in &mut bench.ends {
            if dice.once_in(4) {
                end.limits.assembly_bytes_per_peer = 150_000;
            }
            if dice.once_in(4) {
                end.limits.reply_bytes_per_peer = 20_000;
            }
        }
        bench.connect();
        let thefts = [2; 2];
        let (promises, handlers, half) = Default::default();
        Self { bench, dice, promises, handlers, old: Default::default(), thefts, half, calm: false }
    }

    fn run(&mut self) {
        for _ in 0..60 + self.dice.below(400) {
            self.step();
            self.after();
        }
        self.calm = true;
        let end = self.bench.now + CALM;
        while !(self.promises.open().is_empty() && self.is_at_rest()) {
            assert!(self.bench.now < end, "it never ends: {:?}", self.promises.open());
            while self.flows() {
                self.after();
            }
            self.advance(20 * SEC);
            self.after();
        }
    }

    /// Nothing is remembered, and nothing is charged.
    fn is_at_rest(&self) -> bool {
        self.bench.ends.iter().all(|end| end.session.is_idle() && end.charges == Charges::default())
    }

    fn step(&mut self) {
        let end = self.dice.below(2);
        let path = self.dice.below(self.bench.paths.len().clamp(1, 3));
        let path = self.bench.paths.len().checked_sub(1 + path);
        match (self.dice.below(32), path) {
            (0..=5, Some(path)) => {
                let leave_out = self.dice.once_in(20);
                self.seal(end, path, leave_out);
            }
            (6..=11, Some(path)) => {
                let most = self.dice.one_of(&[usize::MAX, usize::MAX, 30_000, 5_000, 100]);
                self.take(end, path, most);
            }
            (12..=17, Some(path)) => self.deliver(end, path),
            (18 | 19, _) => self.ask(end),
            (20, _) => self.cancel(end),
            (21, Some(path)) => self.cut(end, path),
            (22, Some(path)) if self.dice.once_in(3) => {
                self.cut(A, path);
                self.cut(B, path);
            }
            (23, Some(path)) if self.thefts[end] > 0 => self.steal(end, path),
            (24, Some(path)) => self.comes_late(end, path),
            (25, _) => self.join(),
            (26..=28, _) => {
                self.flows();
            }
            (29 | 30, _) => {
                let most = self.dice.millis(60);
                self.advance(most);
            }
            _ => {
                let most = self.dice.one_of(&[SEC, 5 * SEC, 40 * SEC]);
                self.advance(most);
            }
        }
    }

    /// Whatever can be sealed, taken and delivered is. Says whether that was anything.
    fn flows(&mut self) -> bool {
        let mut any = false;
        for path in 0..self.bench.paths.len() {
            for end in [A, B] {
                while self.seal(end, path, false) {}
                self.take(end, path, usize::MAX);
            }
            for end in [A, B] {
                while !self.bench.paths[path].flight[end].is_empty() {
                    self.deliver(end, path);
                    any = true;
                }
            }
        }
        any
    }

    fn seal(&mut self, end: usize, path: usize, leave_out: bool) -> bool {
        let counter = self.bench.seal_one(end, path, leave_out);
        if counter.is_some() {
            self.promises.sealed(&self.bench, end, path);
        }
        counter.is_some()
    }

    fn take(&mut self, end: usize, path: usize, most: usize) {
        let before = self.bench.paths[path].flight[end].len();
        self.bench.take(end, path, most);
        for sealed in self.bench.paths[path].flight[end].range(before..) {
            self.promises.left(end, sealed.counter);
            self.old[end].push(sealed.clone());
        }
    }

    fn deliver(&mut self, from: usize, path: usize) {
        let to = 1 - from;
        self.bench.ends[to].policy = match self.dice.below(12) {
            0 => Policy::Refuse(RefuseCode::Busy),
            1 => Policy::Refuse(RefuseCode::UnknownType),
            2 => Policy::Echo,
            _ => Policy::Take,
        };
        let Some(sealed) = self.bench.paths[path].flight[from].pop_front() else { return };
        if self.bench.paths[path].open[to] {
            // Somebody may have shown it before.
            match self.bench.arrives(to, path, &sealed.bytes) {
                Ok(taken) => taken.expect("nobody breaks the rules"),
                Err(error) => assert_eq!(error, OpenError::Replayed),
            }
            self.heard(to);
        }
    }

    fn heard(&mut self, at: usize) {
        for heard in self.bench.heard(at) {
            let now = self.bench.now;
            match &heard {
                Heard::Asked(number, _) => {
                    let time = if self.dice.once_in(8) { self.dice.millis(100_000) } else { self.dice.millis(300) };
                    let is_running = self.bench.ends[at].running.values().any(|(running, _)| running == number);
                    if is_running {
                        self.handlers.insert((at, *number), now + time);
                    }
                }
                Heard::Withdrawn(number) => {
                    self.handlers.remove(&(at, *number));
                }
                _ => {}
            }
            self.promises.heard(at, &heard, now, &mut self.dice);
        }
        self.promises.check(&self.bench);
    }

    fn ask(&mut self, end: usize) {
        let length = match self.dice.below(12) {
            0..=6 => 8 + self.dice.below(100),
            7 | 8 => 3_000 + self.dice.below(14_000),
            9 | 10 => 16_000 + self.dice.below(30_000),
            _ => 100_000,
        };
        let notice = self.dice.once_in(6);
        let timeout = self.dice.one_of(&[300 * MS, 3 * SEC, 50 * SEC, 3000 * SEC, 3000 * SEC, 3000 * SEC]);
        // Clocks go apart: an asker may wait longer than the recipient believes.
        let patience = if self.dice.once_in(8) { timeout + 100 * SEC } else { timeout };
        let now = self.bench.now;
        self.promises.ask(end, length, notice, now + timeout, now + patience);
    }

    fn cancel(&mut self, end: usize) {
        if let Some(question) = self.promises.any_open(end, &mut self.dice) {
            self.promises.give_up(&mut self.bench, question);
        }
    }

    fn cut(&mut self, end: usize, path: usize) {
        self.bench.cut_at(end, path);
        if !self.bench.paths[path].open[1 - end] {
            self.bench.paths[path].flight = Default::default();
            self.half.remove(&path);
        } else {
            let hears_of_it = if self.dice.once_in(6) { self.dice.millis(60_000) } else { self.dice.millis(500) };
            self.half.insert(path, self.bench.now + hears_of_it);
        }
    }

    /// A packet disappears from a stream, which goes on.
    fn steal(&mut self, end: usize, path: usize) {
        if self.bench.paths[path].flight[end].pop_front().is_some() {
            self.thefts[end] -= 1;
        }
    }

    /// A packet comes once more, or though it was lost, over whatever path.
    fn comes_late(&mut self, from: usize, path: usize) {
        if self.old[from].is_empty() || !self.bench.paths[path].open[1 - from] {
            return;
        }
        let at = self.dice.below(self.old[from].len());
        let packet = self.old[from][at].bytes.clone();
        if let Ok(taken) = self.bench.arrives(1 - from, path, &packet) {
            taken.expect("nobody breaks the rules");
            self.heard(1 - from);
        }
        let again = self.bench.arrives(1 - from, path, &packet);
        assert_eq!(again, Err(OpenError::Replayed), "a record is opened once");
    }

    fn join(&mut self) {
        if self.bench.paths.iter().filter(|path| path.open != [false; 2]).count() >= 3 {
            return;
        }
        let dialler = self.dice.below(2);
        let path = self.bench.open(dialler);
        let id = self.bench.paths[path].id;
        self.bench.ends[dialler].session.join(id, true);
        if self.dice.once_in(2) {
            self.bench.ends[1 - dialler].session.join(id, false);
        }
    }

    /// Time passes, until something is due.
    fn advance(&mut self, most: Duration) {
        let now = self.bench.now;
        let due = self.bench.ends.iter().filter_map(|end| end.session.deadline(now)).min();
        let due = due.into_iter().chain(self.promises.deadline(now)).chain(self.half.values().copied());
        let due = due.chain(self.handlers.values().copied()).chain(self.silent().map(|(.., due)| due));
        self.bench.now = due.filter(|due| *due > now).fold(now + most, Instant::min);
        self.bench.tick();
        self.heard(A);
        self.heard(B);
    }

    /// When paths are given up as dead.
    fn silent(&self) -> impl Iterator<Item = (usize, usize, Instant)> {
        let ends = (0..self.bench.paths.len()).flat_map(|path| [(A, path), (B, path)]);
        ends.filter(|&(end, path)| self.bench.paths[path].open[end]).filter_map(|(end, path)| {
            let (id, session) = (self.bench.paths[path].id, &self.bench.ends[end].session);
            let silent = session.silence(id).map(|(asked, patience)| asked + patience);
            let stuck = session.waiting_since(id).map(|since| since + 60 * SEC);
            silent.into_iter().chain(stuck).min().map(|due| (end, path, due))
        })
    }

    /// What nodes and applications do at once.
    fn after(&mut self) {
        let now = self.bench.now;
        self.handlers_are_done(now);
        self.promises.go_on(&mut self.bench);
        let dead: Vec<_> = self.silent().filter(|&(.., due)| due <= now).map(|(end, path, _)| (end, path)).collect();
        let half = self.half.iter().filter(|&(_, &due)| due <= now || self.calm).map(|(&path, _)| path);
        let half: Vec<_> = half.flat_map(|path| [(A, path), (B, path)]).collect();
        for (end, path) in dead.into_iter().chain(half).chain(self.doubted()) {
            if self.bench.paths[path].open[end] {
                self.cut(end, path);
            }
        }
        if self.bench.paths.iter().all(|path| path.open == [false; 2]) {
            self.join();
        }
        self.promises.check(&self.bench);
    }

    /// Paths over which a session has asked in vain, and has no other.
    fn doubted(&self) -> Vec<(usize, usize)> {
        let ends = [A, B].into_iter().filter(|&end| self.bench.ends[end].session.is_doubted());
        ends.flat_map(|end| (0..self.bench.paths.len()).map(move |path| (end, path))).collect()
    }

    fn handlers_are_done(&mut self, now: Instant) {
        let calm = self.calm;
        let done: Vec<_> = self.handlers.iter().filter(|&(_, &due)| due <= now || calm).map(|(&at, _)| at).collect();
        for (at, number) in done {
            self.handlers.remove(&(at, number));
            let kind = self.dice.below(10);
            if kind == 0 {
                self.promises.refuse_running(at, number);
                assert!(self.bench.ends[at].refuse_running(number, RefuseCode::Busy));
                continue;
            }
            let (code, length) = match kind {
                1 => (ReplyCode::Declined, 0),
                2 | 3 => (ReplyCode::Answer, 10_000 + self.dice.below(30_000)),
                4 if self.dice.once_in(4) => (ReplyCode::Answer, 200_000),
                _ => (ReplyCode::Answer, self.dice.below(200)),
            };
            let body = super::bench::body(length);
            assert!(self.bench.ends[at].answer(now, number, code, &body));
            self.bench.ends[at].check(now);
            if self.dice.once_in(10) {
                let (session, mut account) = self.bench.ends[at].parts();
                session.shorten_answers(now, &mut account);
            }
        }
    }
}

#[test]
fn whatever_happens_on_its_paths_a_session_keeps_its_promises() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("it is a whole number"));
    let first = number("EGTP_SESSION_SEED").unwrap_or(0);
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for seed in first..first + number("EGTP_SESSION_STORMS").unwrap_or(STORMS) {
        // What fails names its seed.
        let failed = Named(seed);
        let mut storm = Storm::new(seed);
        storm.run();
        storm.promises.outcomes().for_each(|outcome| *outcomes.entry(outcome).or_default() += 1);
        core::mem::forget(failed);
    }
    std::println!("{outcomes:?}");
    assert!(outcomes.len() == Outcome::ALL.len(), "not everything has happened: {outcomes:?}");
}

struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        std::eprintln!("EGTP_SESSION_SEED={} EGTP_SESSION_STORMS=1", self.0);
    }
}
