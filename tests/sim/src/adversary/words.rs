//! What a node says of the numbers that were used for queries to it, held against the rules.

use std::collections::BTreeMap;

use super::said::MEMORY;
use crate::second::frame::{Frame, MAX_MESSAGE, OF_QUERY, OF_REPLY};
use crate::second::message::{self, Message};
use crate::second::parts::Parts;

/// What is said of a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// A part of a query of the node's own.
    Query,
    /// That it does not wait for it any more.
    Cancellation,
    /// An answer, or that the handler says no: a part of it.
    Reply,
    /// That the answer does not fit.
    TooLong,
    /// That it was taken, and what became of it is forgotten.
    Forgotten,
    Refusal,
}

/// The REFUSE that says that nothing is known of a number.
const BELOW_WINDOW: u8 = 10;
/// The BREAK that says that the rules were broken.
const RULE_BROKEN: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct Words {
    questions: BTreeMap<u64, Question>,
    /// To whom answers are to be addressed.
    names: Vec<[u8; 20]>,
    /// This end has broken the rules in this session.
    is_broken: bool,
}

/// A number that was used.
#[derive(Debug, Default)]
struct Question {
    /// How often something was said under it.
    times: usize,
    parts: Option<Parts>,
    /// The ids of the whole messages that were sent under it.
    ids: Vec<[u8; 20]>,
    /// What the node has said of it, by counter.
    answers: BTreeMap<u64, Kind>,
    answer: Option<Parts>,
}

impl Kind {
    pub(super) fn of_reply(code: u8) -> Self {
        match code {
            2 => Self::TooLong,
            3 => Self::Forgotten,
            _ => Self::Reply,
        }
    }

    /// Whether this can be said of a number of which that was said before.
    fn may_follow(self, before: Self) -> bool {
        match before {
            Self::Refusal => self == Self::Refusal,
            Self::TooLong => matches!(self, Self::TooLong | Self::Forgotten),
            Self::Forgotten => self == Self::Forgotten,
            _ => self != Self::Refusal,
        }
    }
}

impl Words {
    pub(super) fn addressed_to(names: [[u8; 20]; 2]) -> Self {
        Self { names: names.to_vec(), ..Self::default() }
    }

    /// This end is about to break the rules.
    pub(super) fn break_rules(&mut self) {
        self.is_broken = true;
    }

    /// How often something was said under a number.
    pub(super) fn times(&self, number: u64) -> usize {
        self.questions.get(&number).map_or(0, |question| question.times)
    }

    /// This end says something.
    pub(super) fn ask(&mut self, frame: &Frame) {
        let (number, part) = match frame {
            Frame::Query { number, total, part, .. } => (*number, Some((*total, 0, part))),
            Frame::Piece { of: OF_QUERY, number, total, offset, part } => (*number, Some((*total, *offset, part))),
            Frame::Cancel { number } => (*number, None),
            _ => return,
        };
        let question = self.questions.entry(number).or_default();
        question.times += 1;
        if let Some((total, offset, part)) = part.filter(|(total, ..)| *total <= MAX_MESSAGE) {
            question.add(total, offset, part);
        }
        if self.questions.len() > MEMORY {
            self.questions.pop_first();
        }
    }

    /// The node says something. Gives what is wrong with it.
    pub(super) fn hear(&mut self, counter: u64, frame: &Frame) -> Option<String> {
        match frame {
            Frame::Refuse { number, code, .. } => self.answer(counter, *number, Kind::Refusal, *code == BELOW_WINDOW),
            Frame::Reply { number, code, total, part } => {
                let kind = Kind::of_reply(*code);
                let wrong = self.answer(counter, *number, kind, false);
                match kind {
                    Kind::Forgotten => wrong,
                    // It takes the place of what came before.
                    Kind::TooLong => wrong.or_else(|| self.is_no_answer(*number, part)),
                    _ => wrong.or_else(|| self.part(*number, *total, 0, part)),
                }
            }
            Frame::Piece { of: OF_REPLY, number, total, offset, part } => {
                let wrong = self.answer(counter, *number, Kind::Reply, false);
                wrong.or_else(|| self.part(*number, *total, *offset, part))
            }
            Frame::Break { code, base, bitmap } => self.broken(*code, *base, bitmap),
            _ => None,
        }
    }

    /// It speaks of a number that was used, and contradicts nothing that it has said of it.
    fn answer(&mut self, counter: u64, number: u64, kind: Kind, knows_nothing: bool) -> Option<String> {
        let forgotten = self.questions.len() >= MEMORY && self.questions.first_key_value()?.0 > &number;
        let Some(question) = self.questions.get_mut(&number) else {
            return (!forgotten).then(|| format!("speaks of number {number}, which was never used"));
        };
        if knows_nothing {
            return None;
        }
        let contradicts = |(&other, &said): (&u64, &Kind)| {
            if other < counter { !kind.may_follow(said) } else { !said.may_follow(kind) }
        };
        let wrong = question.answers.iter().any(contradicts);
        question.answers.insert(counter, kind);
        if question.answers.len() > MEMORY {
            question.answers.pop_first();
        }
        wrong.then(|| format!("says {kind:?} of number {number}, and something else another time"))
    }

    fn part(&mut self, number: u64, total: u32, offset: u32, part: &[u8]) -> Option<String> {
        let question = self.questions.get_mut(&number)?;
        let answer = question.answer.get_or_insert_with(|| Parts::of(total));
        if answer.add(total, offset, part).is_err() {
            return Some(format!("contradicts its own answer to number {number}"));
        }
        let whole = answer.whole()?.to_vec();
        self.is_no_answer(number, &whole)
    }

    fn is_no_answer(&self, number: u64, whole: &[u8]) -> Option<String> {
        let question = self.questions.get(&number)?;
        let fits = |reply: Message| {
            reply.kind == message::REPLY
                && self.names.contains(&reply.recipient)
                && question.ids.contains(&reply.reference)
        };
        (!Message::parse(whole).is_some_and(fits)).then(|| format!("answers number {number} with what is no answer"))
    }

    /// A session ends, and the bitmap says what was taken in it.
    fn broken(&self, code: u8, base: u64, bitmap: &[u8; 128]) -> Option<String> {
        if code == RULE_BROKEN && !self.is_broken {
            return Some("says that the rules were broken, and they were not".into());
        }
        let is_set = |at: u64| usize::try_from(at / 8).is_ok_and(|byte| bitmap[byte] >> (at % 8) & 1 == 1);
        let named = (0..1024).filter(|&at| is_set(at)).map(|at| base + at);
        let unused = named.into_iter().find(|number| !self.questions.contains_key(number));
        if let Some(number) = unused.filter(|_| self.questions.len() < MEMORY) {
            return Some(format!("says that it has taken number {number}, which was never used"));
        }
        let taken = |number: u64| number < base || number <= base + 1023 && is_set(number - base);
        let wrong = self.questions.iter().find(|&(&number, question)| {
            let is_refused = question.answers.values().any(|&kind| kind == Kind::Refusal);
            let is_answered = !question.answers.is_empty() && !is_refused;
            is_answered && !taken(number) || is_refused && number >= base && taken(number)
        });
        wrong.map(|(number, _)| format!("says at the end that number {number} was taken or not, and it was otherwise"))
    }
}

impl Question {
    fn add(&mut self, total: u32, offset: u32, part: &[u8]) {
        let parts = self.parts.get_or_insert_with(|| Parts::of(total));
        // What contradicts is the beginning of something else, at best whole by itself.
        if parts.add(total, offset, part).is_err() {
            *parts = Parts::of(total);
            if parts.add(total, offset, part).is_err() {
                return;
            }
        }
        let id = parts.whole().map(message::id);
        self.ids.extend(id.filter(|id| !self.ids.contains(id)));
    }
}
