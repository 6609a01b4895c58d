//! What applications at both ends were promised, held against what comes of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::bench::{A, B, Bench, Heard, MS, body, query};
use super::dice::Dice;
use crate::session::answering::Entry;
use crate::session::numbers::Number;
use crate::session::ranges::{Range, Ranges};
use crate::session::{PieceOf, Progress};
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::Frame;
use crate::wire::message::Kind;

/// What a query has come to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Outcome {
    Answered,
    Declined,
    TooLong,
    Told,
    Refused,
    NoRoom,
    Forgotten,
    /// It was given up and did not run; or may have.
    No,
    Maybe,
}

impl Outcome {
    pub(super) const ALL: [Self; 9] = [
        Self::Answered,
        Self::Declined,
        Self::TooLong,
        Self::Told,
        Self::Refused,
        Self::NoRoom,
        Self::Forgotten,
        Self::No,
        Self::Maybe,
    ];
}

/// Something that an application has asked, or told.
#[derive(Debug)]
pub(super) struct Question {
    end: usize,
    length: usize,
    notice: bool,
    /// What the session is told, and when the application gives up.
    deadline: Instant,
    patience: Instant,
    /// Its number, and those that it had before.
    number: Option<u64>,
    before: Vec<u64>,
    not_before: Instant,
    runs: usize,
    outcome: Option<Outcome>,
}

/// What was asked at both ends, and what is known of it all.
#[derive(Default)]
pub(super) struct Promises {
    questions: Vec<Question>,
    /// Parts of queries in records, by end and counter.
    carried: BTreeMap<(usize, u64), Vec<(u64, Range)>>,
    /// What has left of the queries with these numbers, by end.
    left: BTreeMap<(usize, u64), Ranges>,
}

impl Promises {
    pub(super) fn ask(&mut self, end: usize, length: usize, notice: bool, deadline: Instant, patience: Instant) {
        let (number, before, not_before) = (None, Vec::new(), Instant::ZERO);
        let (runs, outcome) = (0, None);
        let patience = if notice { deadline } else { patience };
        self.questions.push(Question {
            end,
            length,
            notice,
            deadline,
            patience,
            number,
            before,
            not_before,
            runs,
            outcome,
        });
    }

    /// What is not settled.
    pub(super) fn open(&self) -> Vec<&Question> {
        self.questions.iter().filter(|question| question.outcome.is_none()).collect()
    }

    pub(super) fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.questions.iter().filter_map(|question| question.outcome)
    }

    pub(super) fn any_open(&self, end: usize, dice: &mut Dice) -> Option<usize> {
        let is_open = |question: &Question| question.end == end && question.outcome.is_none();
        let open: Vec<_> = (0..self.questions.len()).filter(|&at| is_open(&self.questions[at])).collect();
        (!open.is_empty()).then(|| dice.one_of(&open))
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let open = self.questions.iter().filter(|question| question.outcome.is_none());
        open.flat_map(|question| [question.patience, question.not_before]).filter(|due| *due > now).min()
    }

    /// Gives numbers to what waits, and up what has waited long enough.
    pub(super) fn go_on(&mut self, bench: &mut Bench) {
        let now = bench.now;
        for at in 0..self.questions.len() {
            let question = &mut self.questions[at];
            if question.outcome.is_some() {
                continue;
            }
            if question.patience <= now {
                self.give_up(bench, at);
            } else if question.number.is_none() && question.not_before <= now {
                let end = &mut bench.ends[question.end];
                if end.session.can_ask() {
                    let kind = if question.notice { Kind::Notice } else { Kind::Query };
                    let mut body = body(question.length);
                    body[..8].copy_from_slice(&u64::try_from(at).unwrap().to_be_bytes());
                    let number = end.ask(now, query(kind, &body), question.notice, question.deadline);
                    question.number = Some(number);
                }
            }
        }
    }

    /// The application waits no more: it did not run if some part of it has never left, and only then.
    pub(super) fn give_up(&mut self, bench: &mut Bench, at: usize) {
        let question = &mut self.questions[at];
        let Some(number) = question.number else {
            question.outcome = Some(Outcome::No);
            return;
        };
        let all_left = has_left(&self.left, &self.carried, bench, question.end, number);
        let progress = bench.give_up(question.end, number, true);
        assert_eq!(progress >= Progress::Left, all_left, "{question:?}");
        question.outcome = Some(if all_left { Outcome::Maybe } else { Outcome::No });
        assert!(all_left || question.runs == 0, "it has run: {question:?}");
    }

    /// The last record that an end has sealed for a path.
    pub(super) fn sealed(&mut self, bench: &Bench, end: usize, path: usize) {
        let sealed = bench.paths[path].waiting[end].back().unwrap();
        let parts = bench.frames(end, &sealed.bytes, |frame| match frame {
            Frame::Query { number, part, .. } => Some((number, Range::new(0, part.len()))),
            Frame::Piece { of: PieceOf::Query, number, offset, part, .. } => {
                Some((number, Range::new(offset, offset + part.len())))
            }
            _ => None,
        });
        self.carried.insert((end, sealed.counter), parts.into_iter().flatten().collect());
    }

    pub(super) fn left(&mut self, end: usize, counter: u64) {
        for &(number, part) in self.carried.get(&(end, counter)).into_iter().flatten() {
            self.left.entry((end, number)).or_default().insert(part);
        }
    }

    pub(super) fn refuse_running(&mut self, at: usize, number: u64) {
        let question = self.asked_as(1 - at, number);
        question.runs = 0;
    }

    fn asked_as(&mut self, end: usize, number: u64) -> &mut Question {
        let is_it = |question: &&mut Question| {
            question.end == end && (question.number == Some(number) || question.before.contains(&number))
        };
        self.questions.iter_mut().find(is_it).expect("somebody has asked it")
    }

    pub(super) fn heard(&mut self, at: usize, heard: &Heard, now: Instant, dice: &mut Dice) {
        match *heard {
            Heard::Asked(number, ref body) | Heard::Told(number, ref body) => self.runs(at, number, body),
            Heard::Replied(number, code, _) => {
                let question = self.asked_as(at, number);
                assert_eq!((question.number, question.runs), (Some(number), 1), "{question:?}");
                question.settle(match code {
                    ReplyCode::Answer => Outcome::Answered,
                    ReplyCode::Declined => Outcome::Declined,
                    ReplyCode::ReplyTooLong | ReplyCode::Forgotten => Outcome::TooLong,
                });
            }
            Heard::Forgotten(number) => {
                let question = self.asked_as(at, number);
                assert_eq!(question.runs, 1, "{question:?}");
                question.settle(Outcome::Forgotten);
            }
            Heard::NoRoom(number) => {
                let question = self.asked_as(at, number);
                assert_eq!(question.runs, 1, "{question:?}");
                question.settle(Outcome::NoRoom);
            }
            Heard::Refused(number, code) => {
                let question = self.asked_as(at, number);
                assert_eq!(question.runs, 0, "{question:?}");
                match code {
                    RefuseCode::BelowWindow => panic!("nobody who waits is below the window"),
                    RefuseCode::UnknownType | RefuseCode::TooLate => question.settle(Outcome::Refused),
                    _ if question.notice => question.settle(Outcome::Refused),
                    _ => {
                        question.before.extend(question.number.take());
                        question.not_before = now + 250 * MS + dice.millis(1000);
                    }
                }
            }
            Heard::Withdrawn(_) | Heard::Repeated | Heard::Unexpected => {}
            Heard::Broken(..) => panic!("nobody has said so"),
        }
    }

    fn runs(&mut self, at: usize, number: u64, body: &[u8]) {
        let id = usize::try_from(u64::from_be_bytes(body[..8].try_into().unwrap())).unwrap();
        let question = &mut self.questions[id];
        question.runs += 1;
        assert_eq!((question.runs, question.length), (1, body.len()), "it runs once, as it was asked: {question:?}");
        assert_eq!(question.end, 1 - at);
        assert_ne!(question.outcome, Some(Outcome::No), "it runs though that was denied: {question:?}");
        assert!(question.number == Some(number) || question.outcome.is_some(), "it goes under another number");
    }

    /// What must hold at any time.
    pub(super) fn check(&mut self, bench: &Bench) {
        self.notices_are_told(bench);
        self.replies_are_remembered(bench);
    }

    fn notices_are_told(&mut self, bench: &Bench) {
        for question in self.questions.iter_mut().filter(|question| question.notice && question.outcome.is_none()) {
            let session = &bench.ends[question.end].session;
            if let Some(number) = question.number
                && session.progress(number).is_none()
            {
                let became = bench.ends[1 - question.end].session.answering.number(number);
                assert!(question.runs == 1 || became == Number::Refused, "it has come to something: {question:?}");
                question.outcome = Some(Outcome::Told);
            }
        }
    }

    /// A reply is forgotten only if the asker has it, waits no more, or was too slow.
    fn replies_are_remembered(&mut self, bench: &Bench) {
        for at in [A, B] {
            let (recipient, asker) = (&bench.ends[at].session, &bench.ends[1 - at].session);
            for question in self.questions.iter().filter(|question| question.end == 1 - at && question.runs == 1) {
                let Some(number) = question.number.filter(|_| !question.notice && question.outcome.is_none()) else {
                    continue;
                };
                let entry = recipient.answering.get(number);
                let is_late = question.deadline <= bench.now;
                let is_remembered = match entry {
                    Some(Entry::Running { .. } | Entry::Answered(_)) => true,
                    Some(Entry::Forgotten) => is_late,
                    Some(Entry::Coming { .. } | Entry::Refused { .. }) | None => false,
                };
                assert!(is_remembered || asker.progress(number).is_none(), "{question:?} {entry:?}");
            }
        }
    }
}

impl Question {
    fn settle(&mut self, outcome: Outcome) {
        assert_eq!(self.outcome, None, "it has one outcome: {self:?}");
        self.outcome = Some(outcome);
    }
}

/// Whether every byte of a query has left, or is in a record that has begun to leave by a path that lives.
fn has_left(
    left: &BTreeMap<(usize, u64), Ranges>,
    carried: &BTreeMap<(usize, u64), Vec<(u64, Range)>>,
    bench: &Bench,
    end: usize,
    number: u64,
) -> bool {
    let mut left = left.get(&(end, number)).cloned().unwrap_or_default();
    for path in bench.paths.iter().filter(|path| path.open[end]) {
        for sealed in path.waiting[end].iter().filter(|sealed| sealed.taken > 0) {
            for &(of, part) in carried.get(&(end, sealed.counter)).into_iter().flatten() {
                if of == number {
                    left.insert(part);
                }
            }
        }
    }
    let total = bench.ends[end].session.asking.get(number).expect("it has a number").outgoing.total();
    left.covers(Range::new(0, total))
}
