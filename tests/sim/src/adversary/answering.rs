//! How it treats queries that it is asked.

use std::time::Duration;

use egtp::Instant;

use super::evidence::Heard;
use super::lines::{Later, Mind};
use super::sessions::{Assembly, Sid};
use super::trick::Manner;
use crate::Line;
use crate::second::frame::Frame;
use crate::second::message::{self, Message};

/// The flag of a QUERY that brings a notice.
const NOTICE: u8 = 1;
/// How much too late an answer is.
const LATE: Duration = Duration::from_secs(1);
/// How long an honest answer takes when only one query may be outstanding.
const SLOW: Duration = Duration::from_millis(300);
/// How long the pieces of an honest answer are.
const PIECE: usize = 1000;
/// What no genuine reply says.
const FORGED: &[u8] = b"forged";

impl Mind {
    /// If every byte of a query is here, it is answered, in whatever manner.
    pub(super) fn if_whole(&mut self, line: Line, sid: Sid, number: u64) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        let is_whole =
            |assembly: &Assembly| u32::try_from(assembly.bytes.len()).is_ok_and(|have| have >= assembly.total);
        if !held.assemblies.get(&number).is_some_and(is_whole) {
            return;
        }
        let Some(assembly) = held.assemblies.remove(&number) else { return };
        let (peer, until) = (held.peer, held.clock + Duration::from_millis(u64::from(assembly.until)));
        let kind = if assembly.flags & NOTICE == 0 { message::QUERY } else { message::NOTICE };
        let to = [self.me.node_id(), self.alias.node_id()];
        let query = Message::parse(&assembly.bytes).filter(|query| query.kind == kind && to.contains(&query.recipient));
        let Some(query) = query else {
            return self.evidence.proof(self.now, "asked with a message that is none, or for somebody else");
        };
        if kind == message::NOTICE {
            held.outstanding.remove(&number);
            return self.say(line, sid, &[Frame::Ack { number, echo: 0 }]);
        }
        let id = message::id(&assembly.bytes);
        let before = self.evidence.hear(peer, &query.body, Heard::new(id, until, sid, number));
        let again = before.is_some_and(|before| before.id == id);
        if before.is_some_and(|before| before.id == id && !before.given_back) {
            self.evidence.proof(self.now, "sent a query again that had come whole");
        }
        self.answer(line, &Asked { sid, number, peer, id, query, again });
    }

    fn answer(&mut self, line: Line, asked: &Asked) {
        let &Asked { sid, number, peer, .. } = asked;
        let reply = |body: &[u8]| asked.reply(body).encode();
        let whole = |bytes: &[u8]| Frame::reply(number, 0, 0, bytes);
        let begun = |bytes: &[u8]| Frame::Reply { number, code: 0, echo: 0, total: 300, part: bytes.to_vec() };
        match self.manner {
            Manner::AnswersTwice => {
                let replies = [whole(&reply(&asked.query.body)), whole(&reply(FORGED))];
                self.replied(asked);
                self.say(line, sid, &replies);
            }
            Manner::AnswersLate => {
                self.say(line, sid, &[Frame::Ack { number, echo: 0 }]);
                let at = self.evidence.until(peer, &asked.query.body).map_or(self.now, |until| until + LATE);
                self.answer_at(at, line, asked);
            }
            Manner::AllowsOne => {
                // Slow enough to see whether another query comes before this one is answered.
                self.evidence.replied(peer, &asked.query.body);
                self.answer_at(self.now + SLOW, line, asked);
            }
            Manner::AnswersNever => self.say(line, sid, &[Frame::Ack { number, echo: 0 }]),
            Manner::ForeignReference => {
                let foreign = Message { reference: [9; 20], ..asked.reply(FORGED) };
                self.say(line, sid, &[whole(&foreign.encode())]);
            }
            Manner::ForeignRecipient => {
                let foreign = Message { recipient: self.me.node_id(), ..asked.reply(FORGED) };
                self.say(line, sid, &[whole(&foreign.encode())]);
            }
            Manner::ForeignType => {
                let foreign = Message { type_name: "foreign".into(), ..asked.reply(FORGED) };
                self.say(line, sid, &[whole(&foreign.encode())]);
            }
            Manner::MalformedReply => self.say(line, sid, &[whole(FORGED)]),
            Manner::WrongNumber => {
                self.say(line, sid, &[Frame::reply(number.saturating_add(1000), 0, 0, &reply(FORGED))]);
            }
            Manner::AcknowledgesAndRefuses => {
                self.ended(asked);
                self.say(line, sid, &[Frame::Ack { number, echo: 0 }, Frame::Refuse { number, code: 2, wait: 0 }]);
            }
            Manner::ContradictsItself => {
                let other = Frame::Piece { of: 4, number, offset: 50, part: vec![2; 50] };
                self.say(line, sid, &[begun(&[1; 100]), other]);
            }
            Manner::NeverEndsReply => self.say(line, sid, &[begun(&[1; 100])]),
            Manner::Cuts => self.close_line(line),
            Manner::FallsSilent => {
                if let Some(wire) = self.lines.get_mut(&line) {
                    wire.silent = true;
                }
            }
            Manner::Forgets => {
                self.sessions.remove(&sid);
            }
            Manner::BreaksOff if !asked.again => {
                self.say(line, sid, &[Frame::Break { code: 1, base: 0, bitmap: [0; 128] }]);
            }
            Manner::Answers => {
                self.replied(asked);
                self.say(line, sid, &out_of_order(number, &reply(&asked.query.body)));
            }
            // Who behaves badly before anything can be asked answers what was asked before it did.
            Manner::BreaksOff
            | Manner::WelcomesNever
            | Manner::WelcomesWrongly
            | Manner::WelcomesAnother
            | Manner::BusyForEver
            | Manner::RetryForEver => {
                self.replied(asked);
                self.say(line, sid, &[whole(&reply(&asked.query.body))]);
            }
        }
    }

    /// The honest answer, held back until then.
    fn answer_at(&mut self, at: Instant, line: Line, asked: &Asked) {
        let &Asked { sid, number, .. } = asked;
        let reply = Frame::reply(number, 0, 0, &asked.reply(&asked.query.body).encode());
        if let Some(packet) = self.seal(sid, &[reply]) {
            let order = self.source.number();
            self.later.insert((at, order), Later { line, packet, sid, number });
        }
    }

    /// A genuine answer goes out.
    fn replied(&mut self, asked: &Asked) {
        self.evidence.replied(asked.peer, &asked.query.body);
        self.ended(asked);
    }

    fn ended(&mut self, asked: &Asked) {
        if let Some(held) = self.sessions.get_mut(&asked.sid) {
            held.outstanding.remove(&asked.number);
        }
    }
}

/// A reply whose pieces come in another order, which is not wrong: first the later half, then the earlier one backwards.
fn out_of_order(number: u64, bytes: &[u8]) -> Vec<Frame> {
    let (first, rest) = bytes.split_at(bytes.len().min(PIECE));
    let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let pieces = rest.chunks(PIECE).enumerate().map(|(at, part)| {
        let offset = u32::try_from((at + 1) * PIECE).unwrap_or(u32::MAX);
        Frame::Piece { of: 4, number, offset, part: part.to_vec() }
    });
    let mut earlier: Vec<Frame> = pieces.collect();
    let later = earlier.split_off(earlier.len() / 2);
    let first = Frame::Reply { number, code: 0, echo: 0, total, part: first.to_vec() };
    [first].into_iter().chain(later).chain(earlier.into_iter().rev()).collect()
}

/// A query that has come whole.
struct Asked {
    sid: Sid,
    number: u64,
    peer: [u8; 20],
    id: [u8; 20],
    query: Message,
    /// It had come before.
    again: bool,
}

impl Asked {
    fn reply(&self, body: &[u8]) -> Message {
        Message {
            kind: message::REPLY,
            recipient: self.peer,
            nonce: [8; 20],
            reference: self.id,
            type_name: self.query.type_name.clone(),
            body: body.to_vec(),
        }
    }
}
