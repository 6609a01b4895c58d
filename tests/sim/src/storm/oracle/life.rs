//! The life of one query, as it is known so far.

use std::time::Duration;

use egtp::{Executed, Failure, Instant, PeerRefusal, Reason};

use super::clock::Due;
use crate::NodeIndex;
use crate::scene::{ECHO, EMPTY, KEEP, NO, TYPES};
use crate::transcript::Ending;

/// What is in front of a message's body, but for the name of its type.
pub(super) const MESSAGE_HEADER: usize = 67;

/// A query that is asked.
#[derive(Clone, Copy, Debug)]
pub(in crate::storm) struct Question {
    /// Who asks.
    pub(in crate::storm) from: NodeIndex,
    /// Whom.
    pub(in crate::storm) to: NodeIndex,
    /// One of the types of a scene, or one that nobody serves.
    pub(in crate::storm) type_name: &'static str,
    /// How many bytes its body has, of which the first eight are its number.
    pub(in crate::storm) bytes: usize,
    pub(in crate::storm) soft: Option<Duration>,
    pub(in crate::storm) hard: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) question: Question,
    pub(super) asked: Instant,
    /// How many bytes its asker had written to its recipient by then.
    pub(super) written: u64,
    pub(super) soft: Option<Due>,
    pub(super) hard: Due,
    pub(super) soft_told: bool,
    pub(super) cancelled: Option<Instant>,
    /// When a handler was given it.
    pub(super) arrived: Option<Instant>,
    pub(super) runs: u32,
    /// What the handler said, and when.
    pub(super) answer: Option<(Instant, Answer)>,
    /// When its handler was told that nobody waits.
    pub(super) withdrawn: Option<Instant>,
    /// When the recipient crashed that a handler of had been given it.
    pub(super) recipient_gone: Option<Instant>,
    /// When the asker crashed that had no verdict yet, or one that leaves it open whether the query ran.
    pub(super) asker_gone: Option<Instant>,
    pub(super) ending: Option<(Instant, Ending)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    Reply,
    Declined,
}

/// What a handler is expected to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    Reply,
    Declined,
    /// Nobody serves the type.
    UnknownType,
    /// Nothing.
    Nothing,
}

impl Life {
    pub(super) fn new(question: Question, asked: Instant, soft: Option<Due>, hard: Due, written: u64) -> Self {
        Self {
            question,
            asked,
            written,
            soft,
            hard,
            soft_told: false,
            cancelled: None,
            arrived: None,
            runs: 0,
            answer: None,
            withdrawn: None,
            recipient_gone: None,
            asker_gone: None,
            ending: None,
        }
    }

    pub(super) fn is_to_itself(&self) -> bool {
        self.question.from == self.question.to
    }

    /// How many bytes its body has.
    pub(super) fn body(&self) -> usize {
        self.question.bytes.max(8)
    }

    /// How many bytes the body of its reply has.
    pub(super) fn reply_body(&self) -> usize {
        if self.question.type_name == ECHO || self.question.type_name == KEEP { self.body() } else { 0 }
    }

    /// How many bytes it has as a message.
    pub(super) fn message(&self) -> usize {
        MESSAGE_HEADER + self.question.type_name.len() + self.body()
    }

    /// How many bytes its reply has.
    pub(super) fn reply_message(&self) -> usize {
        MESSAGE_HEADER + self.question.type_name.len() + self.reply_body()
    }

    /// When its handler gave a reply.
    pub(super) fn replied(&self) -> Option<Instant> {
        self.answer.and_then(|(at, answer)| (answer == Answer::Reply).then_some(at))
    }

    /// Whether its asker had what the handler said before then, or that it was too long.
    pub(super) fn was_told_before(&self, then: Instant) -> bool {
        let Some((at, ending)) = &self.ending else { return false };
        let is_told = match ending {
            Ending::Reply { .. } => true,
            Ending::Failed(Failure { reason: Reason::RefusedByPeer(refusal), .. }) => {
                matches!(refusal, PeerRefusal::Declined | PeerRefusal::ReplyTooLong)
            }
            Ending::Failed(_) => false,
        };
        is_told && *at < then
    }

    /// Whether its handler may have had it at some time since then and not have spoken.
    pub(super) fn may_be_taken(&self, since: Instant) -> bool {
        let over = [self.answer.map(|(at, _)| at), self.withdrawn, self.recipient_gone];
        self.arrived.is_some() && over.into_iter().flatten().all(|over| over >= since)
    }

    /// What its handler says, and since when it depends on nobody else.
    pub(super) fn expected(&self) -> (Expected, Instant) {
        match self.question.type_name {
            ECHO | EMPTY => (Expected::Reply, self.asked),
            NO => (Expected::Declined, self.asked),
            KEEP => self.answer.map_or((Expected::Nothing, self.asked), |(at, _)| (Expected::Reply, at)),
            name if TYPES.contains(&name) => (Expected::Nothing, self.asked),
            _ => (Expected::UnknownType, self.asked),
        }
    }

    /// Whether its handler has it and may still say something.
    pub(super) fn is_with_handler(&self) -> bool {
        self.arrived.is_some() && self.answer.is_none() && self.withdrawn.is_none() && self.recipient_gone.is_none()
    }

    /// Whether, as far as its asker knows, its handler may have it and not have said anything.
    pub(super) fn may_wait_for_its_handler(&self) -> bool {
        match &self.ending {
            None => true,
            Some((_, Ending::Reply { .. })) => false,
            Some((_, Ending::Failed(failure))) => failure.executed == Executed::Maybe,
        }
    }

    pub(super) fn describe(&self, query: usize) -> String {
        let Question { from, to, type_name, .. } = self.question;
        let (from, to, bytes, asked) = (from.number(), to.number(), self.body(), self.asked);
        format!("query {query} ({type_name}, {bytes} bytes, asked by node {from} of node {to} at {asked})")
    }
}
