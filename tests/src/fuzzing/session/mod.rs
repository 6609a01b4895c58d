//! Two nodes and the connections between them: bytes are delivered, held back, lost and repeated as the input says, and queries go both
//! ways. When the faults stop, everything ends well.

mod link;
mod node;

use std::collections::BTreeMap;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use egtp::{Config, Ending, Event, Instant, Query, QueryId};

use self::link::Line;
use self::node::{Asked, Told, Worker};
use super::Outcome;
use super::rest::assert_nothing_is_left;
use crate::scene::{ECHO, KEEP, long_body, type_name};

/// What happens, one thing after the other.
#[derive(Arbitrary, Debug)]
struct Input {
    /// Whether the two have room for next to nothing.
    narrow: bool,
    steps: Vec<Step>,
}

/// One thing that happens. Sides are even or odd, other numbers wrap around, so that each of them names something that is there.
#[derive(Arbitrary, Debug)]
enum Step {
    Ask {
        side: u8,
        keep: bool,
        length: u8,
        seconds: u16,
    },
    Notify {
        side: u8,
        length: u8,
    },
    Answer {
        side: u8,
        which: u8,
    },
    Refuse {
        side: u8,
        which: u8,
        why: u8,
    },
    Cancel {
        side: u8,
        which: u8,
    },
    /// A dial succeeds, or is refused.
    Connect {
        line: u8,
        well: bool,
    },
    /// The operating system takes so many bytes of what a node wants written.
    Write {
        line: u8,
        side: u8,
        bytes: u16,
    },
    /// So many bytes reach the other side.
    Read {
        line: u8,
        side: u8,
        bytes: u16,
    },
    /// Everything that is on one connection or wants to be goes both ways.
    Flow {
        line: u8,
    },
    /// The packet that would be read next is taken out.
    Lose {
        line: u8,
        side: u8,
    },
    /// A packet that this side sent before, on whatever connection, goes once more.
    Repeat {
        line: u8,
        side: u8,
        back: u8,
    },
    /// The connection ends for both, with everything on it.
    Cut {
        line: u8,
    },
    /// It ends for one; what that one has written still arrives.
    CutOne {
        line: u8,
        side: u8,
    },
    Wait {
        millis: u16,
    },
    WaitLong {
        seconds: u8,
    },
}

/// The body that a number of a message stands for begins with it.
fn body(number: u32, length: u8) -> Vec<u8> {
    let mut body = long_body([4, 5, 300, 2500, 17_000, 40_000, 70_000][usize::from(length) % 7]);
    body[..4].copy_from_slice(&number.to_be_bytes());
    body
}

/// More than a connection that is dead, a peer that rests and a query that pauses take together.
const ENOUGH: Duration = Duration::from_secs(300);

/// More deadlines than any input sets off while time passes.
const MOST_DEADLINES: usize = 20_000;

/// Conversations over any connections.
///
/// # Panics
///
/// If a query runs twice, has not exactly one verdict by its deadline, runs although it was said not to have, is answered with another one's
/// answer, or waits for its deadline though the faults have stopped; or if something is left in the end.
pub fn session(bytes: &[u8]) -> Outcome {
    if bytes.is_empty() {
        return Outcome::Unreadable;
    }
    let Ok(Input { narrow, steps }) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Outcome::Unreadable;
    };
    let mut stage = Stage::new(&config(narrow));
    for step in &steps {
        stage.plays(step);
    }
    stage.heals();
    stage.ends();
    Outcome::taken_if(stage.answered > 0)
}

fn config(narrow: bool) -> Config {
    let mut config = Config::default();
    if narrow {
        let limits = &mut config.limits;
        limits.connections = 3;
        limits.maintained_connections = 1;
        limits.unauthenticated_connections = 2;
        limits.peers = 2;
        limits.sessions = 2;
        limits.tentative_sessions = 2;
        limits.queries = 6;
        limits.incoming = 3;
        limits.incoming_per_peer = 2;
        limits.assembly_bytes = 90_000;
        limits.assembly_bytes_per_peer = 80_000;
        limits.reply_bytes = 150_000;
        limits.reply_bytes_per_peer = 100_000;
    }
    config
}

struct Stage {
    now: Instant,
    workers: [Worker; 2],
    lines: Vec<Line>,
    /// Every message that was ever begun, by its number.
    asked: BTreeMap<u32, Asked>,
    answered: usize,
}

impl Stage {
    fn new(config: &Config) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut workers = [1, 2].map(|number| Worker::new(number, config.clone(), now));
        let records = workers.each_ref().map(Worker::record);
        for (worker, record) in workers.iter_mut().zip(records.into_iter().rev()) {
            worker.node.learn(now, record).expect("the record is news");
        }
        let mut stage = Self { now, workers, lines: Vec::new(), asked: BTreeMap::new(), answered: 0 };
        (0..2).for_each(|side| stage.drains(side));
        stage
    }

    fn plays(&mut self, step: &Step) {
        match *step {
            Step::Ask { side, keep, length, seconds } => {
                let hard = Duration::from_secs(u64::from(seconds % 3600) + 1);
                self.asks(usize::from(side % 2), if keep { KEEP } else { ECHO }, length, hard);
            }
            Step::Notify { side, length } => self.notifies(usize::from(side % 2), length),
            Step::Answer { side, which } => self.answers(usize::from(side % 2), which, None),
            Step::Refuse { side, which, why } => self.answers(usize::from(side % 2), which, Some(why)),
            Step::Cancel { side, which } => self.cancels(usize::from(side % 2), which),
            Step::Connect { line, well } => self.dial_ends(line, well),
            Step::Write { line, side, bytes } => {
                if let Some(line) = self.line(line) {
                    self.writes(line, usize::from(side % 2), bytes.into());
                }
            }
            Step::Read { line, side, bytes } => {
                if let Some(line) = self.line(line) {
                    self.reads(line, usize::from(side % 2), bytes.into());
                }
            }
            Step::Flow { line } => {
                if let Some(line) = self.line(line) {
                    self.flows(line);
                }
            }
            Step::Lose { line, side } => {
                if let Some(line) = self.line(line) {
                    self.lines[line].loses(usize::from(side % 2));
                }
            }
            Step::Repeat { line, side, back } => self.repeats(line, usize::from(side % 2), back),
            Step::Cut { line } => {
                if let Some(line) = self.line(line) {
                    self.cuts(line);
                }
            }
            Step::CutOne { line, side } => {
                if let Some(line) = self.line(line) {
                    self.ends_for(line, usize::from(side % 2), Ending::Broken);
                }
            }
            Step::Wait { millis } => self.waits(Duration::from_millis(millis.into()), false),
            Step::WaitLong { seconds } => self.waits(Duration::from_secs(seconds.into()), false),
        }
    }

    /// The faults stop, and all handlers work: soon everybody has a verdict, and is answered again.
    fn heals(&mut self) {
        self.waits(ENOUGH, true);
        let waiting: Vec<&Asked> = self.asked.values().filter(|asked| asked.is_waiting()).collect();
        assert!(waiting.is_empty(), "nothing is wrong any more, and they have no verdict: {waiting:?}");
        for side in 0..2 {
            let before = self.answered;
            self.asks(side, ECHO, 1, ENOUGH / 2);
            self.waits(ENOUGH, true);
            assert_eq!(self.answered, before + 1, "nothing is wrong any more, and there is no answer");
        }
    }

    /// All the time passes that the nodes want.
    fn ends(&mut self) {
        for _ in 0..MOST_DEADLINES {
            let Some(deadline) = self.next_deadline() else {
                return self.workers.iter().for_each(|worker| assert_nothing_is_left(&worker.node));
            };
            self.passes_to(deadline);
            self.everything_flows();
        }
        panic!("no rest after {MOST_DEADLINES} deadlines: {:?}", self.workers.each_ref().map(|worker| &worker.node));
    }

    /// Lets time pass, in which everything may flow.
    fn waits(&mut self, time: Duration, flowing: bool) {
        let until = self.now + time;
        for _ in 0..MOST_DEADLINES {
            if flowing {
                self.everything_flows();
            }
            let next = self.next_deadline().filter(|&next| next <= until);
            self.passes_to(next.unwrap_or(until));
            if next.is_none() {
                break;
            }
        }
        self.passes_to(until);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.workers.iter().filter_map(|worker| worker.node.deadline()).min()
    }

    fn passes_to(&mut self, now: Instant) {
        self.now = now;
        (0..2).for_each(|side| self.happens(side, Event::Tick));
    }

    fn happens(&mut self, side: usize, event: Event<'_>) {
        self.workers[side].node.handle(self.now, event);
        self.drains(side);
    }

    /// Takes everything that a node has to say, and keeps account of it.
    fn drains(&mut self, side: usize) {
        for told in self.workers[side].drains(self.now) {
            match told {
                Told::Dials(id) => self.lines.push(Line::dialled(side, id)),
                Told::Closes(id) => {
                    if let Some(line) = self.lines.iter_mut().find(|line| line.id(side) == Some(id)) {
                        line.ends(side);
                    }
                }
                Told::Runs(number) => {
                    let asked = self.asked.get_mut(&number).expect("nobody makes up messages");
                    asked.runs();
                }
                Told::Verdict(number, verdict) => {
                    let asked = self.asked.get_mut(&number).expect("nobody makes up queries");
                    self.answered += usize::from(asked.ends(self.now, verdict));
                }
            }
        }
        let late = self.asked.values().find(|asked| asked.is_late(side, self.now));
        assert!(late.is_none(), "at {} a query has no verdict yet: {late:?}", self.now);
    }
}

/// What the applications do.
impl Stage {
    fn asks(&mut self, side: usize, name: &str, length: u8, hard: Duration) {
        let number = self.next_number();
        let body = body(number, length);
        let query = Query::new(type_name(name), body.clone()).hard_timeout(hard).tag(number.into());
        let to = self.workers[1 - side].node.id();
        if let Ok(query) = self.workers[side].node.query(self.now, to, query) {
            self.asked.insert(number, Asked::query(side, body, query, self.now + hard));
        }
        self.drains(side);
    }

    fn notifies(&mut self, side: usize, length: u8) {
        let number = self.next_number();
        let body = body(number, length);
        let to = self.workers[1 - side].node.id();
        if self.workers[side].node.notify(self.now, to, type_name(ECHO), body.clone()).is_ok() {
            self.asked.insert(number, Asked::notice(side, body));
        }
        self.drains(side);
    }

    fn next_number(&self) -> u32 {
        self.asked.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    /// A handler answers, or says why it does not.
    fn answers(&mut self, side: usize, which: u8, why: Option<u8>) {
        let Some((number, executed)) = self.workers[side].answers(self.now, which, why) else { return };
        if !executed {
            self.asked.get_mut(&number).expect("it was asked").did_not_run();
        }
        self.drains(side);
    }

    fn cancels(&mut self, side: usize, which: u8) {
        let own: Vec<QueryId> = self.asked.values().filter_map(|asked| asked.waits_at(side)).collect();
        if let Some(&query) = usize::from(which).checked_rem(own.len()).and_then(|at| own.get(at)) {
            self.workers[side].node.cancel(self.now, query).expect("it has no verdict");
            self.drains(side);
        }
    }
}

/// What happens to connections.
impl Stage {
    /// One that is not over.
    fn line(&self, which: u8) -> Option<usize> {
        let open: Vec<usize> = (0..self.lines.len()).filter(|&line| !self.lines[line].is_over()).collect();
        open.get(usize::from(which).checked_rem(open.len())?).copied()
    }

    fn dial_ends(&mut self, which: u8, well: bool) {
        let dialling: Vec<usize> = (0..self.lines.len()).filter(|&line| self.lines[line].is_dialling()).collect();
        let Some(&line) = usize::from(which).checked_rem(dialling.len()).and_then(|at| dialling.get(at)) else {
            return;
        };
        self.connects(line, well);
    }

    fn connects(&mut self, line: usize, well: bool) {
        let (dialler, id) = self.lines[line].dialler();
        let accepted =
            well.then(|| self.workers[1 - dialler].node.accept(self.now, self.workers[dialler].address).ok());
        self.drains(1 - dialler);
        match accepted {
            Some(Some(other)) => {
                self.lines[line].opens(other);
                self.happens(dialler, Event::Connected(id));
            }
            // Whoever has no room takes the connection and closes it.
            Some(None) => {
                self.happens(dialler, Event::Connected(id));
                self.ends_for(line, dialler, Ending::EndOfStream);
            }
            None => self.ends_for(line, dialler, Ending::Refused),
        }
    }

    /// The operating system takes so many bytes at most. Says whether there were any.
    fn writes(&mut self, line: usize, side: usize, most: usize) -> bool {
        let Some(id) = self.lines[line].id(side).filter(|_| self.lines[line].is_open()) else { return false };
        let waiting = self.workers[side].node.to_write(id);
        let taken = waiting[..waiting.len().min(most)].to_vec();
        if taken.is_empty() {
            return false;
        }
        self.workers[side].sends(self.lines[line].takes(side, &taken));
        self.happens(side, Event::Written(id, taken.len()));
        true
    }

    /// So many bytes that the one side has written reach the other. Says whether there were any.
    fn reads(&mut self, line: usize, side: usize, most: usize) -> bool {
        let other = 1 - side;
        let Some(id) = self.lines[line].id(other).filter(|_| !self.lines[line].is_dialling()) else { return false };
        let most = most.min(self.workers[other].node.wants_read(id));
        let bytes = self.lines[line].gives(side, most);
        if !bytes.is_empty() {
            self.happens(other, Event::Received(id, &bytes));
            return true;
        }
        let ends = self.lines[line].has_ended(side) && self.lines[line].is_drained(side);
        if ends {
            self.ends_for(line, other, Ending::EndOfStream);
        }
        ends
    }

    fn flows(&mut self, line: usize) -> bool {
        let mut moved = false;
        // Nothing goes to and fro for ever at one instant.
        for _ in 0..1000 {
            let more = (0..2).fold(false, |more, side| {
                self.writes(line, side, usize::MAX) | self.reads(line, side, usize::MAX) | more
            });
            if !more {
                return moved;
            }
            moved = true;
        }
        panic!("they never stop talking at {}", self.now);
    }

    fn everything_flows(&mut self) {
        for _ in 0..1000 {
            let mut moved = false;
            for side in 0..2 {
                while self.workers[side].is_asked() {
                    self.answers(side, 0, None);
                }
            }
            for line in 0..self.lines.len() {
                if self.lines[line].is_dialling() {
                    self.connects(line, true);
                    moved = true;
                }
                moved |= self.flows(line);
            }
            self.lines.retain(|line| !line.is_over());
            if !moved && !self.workers.iter().any(Worker::is_asked) {
                return;
            }
        }
        panic!("they never stop talking at {}", self.now);
    }

    fn repeats(&mut self, line: u8, side: usize, back: u8) {
        if let Some(line) = self.line(line)
            && let Some(packet) = self.workers[side].sent_before(back)
        {
            self.lines[line].repeats(side, &packet);
        }
    }

    fn cuts(&mut self, line: usize) {
        for side in 0..2 {
            self.lines[line].empties();
            self.ends_for(line, side, Ending::Broken);
        }
    }

    /// The connection ends for one side, if it has not.
    fn ends_for(&mut self, line: usize, side: usize, ending: Ending) {
        let id = self.lines[line].id(side);
        self.lines[line].ends(side);
        if let Some(id) = id {
            self.happens(side, Event::Closed(id, ending));
        }
    }
}
