//! How it treats queries that it is asked.

use std::time::Duration;

use egtp::Instant;

use super::evidence::{Before, Heard};
use super::lines::{Later, Mind};
use super::manner::Manner;
use super::sessions::Sid;
use crate::Line;
use crate::second::frame::{Frame, NOTICE, OF_REPLY};
use crate::second::message::{self, Message};
use crate::second::packet::Packet;

/// How much too late an answer is.
const LATE: Duration = Duration::from_secs(1);
/// How long an honest answer takes that is not given at once.
const SLOW: Duration = Duration::from_millis(300);
/// How long the parts of an honest answer are.
const PART: usize = 1000;
/// What no genuine reply says.
const FORGED: &[u8] = b"forged";
/// The codes of REPLY.
const ANSWER: u8 = 0;
const DECLINED: u8 = 1;
const TOO_LONG: u8 = 2;
const FORGOTTEN: u8 = 3;

impl Mind {
    /// If every byte of a query is here, it is answered, in whatever manner; and once more if something of it comes again.
    pub(super) fn if_whole(&mut self, line: Line, sid: Sid, number: u64) {
        let Some(held) = self.sessions.get_mut(&sid) else { return };
        let Some(assembly) = held.assemblies.get_mut(&number) else { return };
        if let Some(asked) = &assembly.asked {
            let asked = Asked { before: Before::Here, ..asked.clone() };
            return self.answer(line, &asked);
        }
        let (Some((flags, until)), Some(whole)) = (assembly.head, assembly.parts.whole()) else { return };
        let (peer, until) = (held.peer, held.clock + Duration::from_millis(u64::from(until)));
        let kind = if flags == NOTICE { message::NOTICE } else { message::QUERY };
        let to = [self.me.node_id(), self.alias.node_id()];
        let query = Message::parse(whole).filter(|query| query.kind == kind && to.contains(&query.recipient));
        let Some(query) = query else {
            return self.evidence.proof(self.now, "asked with a message that is none, or for somebody else");
        };
        if kind == message::NOTICE {
            return held.settle(number);
        }
        let id = message::id(whole);
        let before = self.evidence.hear(peer, &query.body, Heard::new(id, until, sid, number));
        if before == Before::Taken {
            self.evidence.proof(self.now, "sent a query again elsewhere that may have been taken");
        }
        let asked = Asked { sid, number, peer, id, query, before };
        assembly.asked = Some(asked.clone());
        self.answer(line, &asked);
    }

    fn answer(&mut self, line: Line, asked: &Asked) {
        let &Asked { sid, number, .. } = asked;
        if self.manner.breaks_rules()
            && let Some(held) = self.sessions.get_mut(&sid)
        {
            held.said.words.break_rules();
        }
        match self.manner {
            Manner::Cuts => self.close_line(line),
            Manner::AcknowledgesLate if asked.before != Before::Here => {
                self.owe(asked);
                self.close_line(line);
            }
            Manner::FallsSilent => {
                if let Some(wire) = self.lines.get_mut(&line) {
                    wire.silent = true;
                }
            }
            Manner::Forgets => {
                self.sessions.remove(&sid);
            }
            Manner::BreaksOff if asked.before == Before::Never => {
                self.say(line, sid, &[Frame::Break { code: 1, base: 0, bitmap: [0; 128] }]);
            }
            Manner::BreaksOffWithAll => {
                self.say(line, sid, &[Frame::Break { code: 1, base: 0, bitmap: [0xFF; 128] }]);
            }
            // Slow enough to see whether another query comes before this one is answered.
            Manner::AllowsOne => {
                self.evidence.replied(asked.peer, &asked.query.body);
                self.answer_at(self.now + SLOW, line, asked);
            }
            Manner::AnswersLate => {
                let until = self.evidence.until(asked.peer, &asked.query.body);
                self.answer_at(until.map_or(self.now, |until| until + LATE), line, asked);
            }
            Manner::SaysStale => {
                let opened = self.sessions.get(&sid).and_then(|held| held.session.ledger.opened().last().copied());
                self.send(line, Packet::Stale { sid, counter: opened.unwrap_or(0) }.encode());
                self.evidence.replied(asked.peer, &asked.query.body);
                self.answer_at(self.now + SLOW, line, asked);
            }
            Manner::PassesOver | Manner::AnswersNever => {}
            Manner::WrongNumber => {
                let forged = asked.reply(FORGED).encode();
                self.say(line, sid, &[Frame::reply(number.saturating_add(1000), ANSWER, &forged)]);
            }
            Manner::Refuses => {
                let code = self.next_code();
                self.ended(asked);
                self.say(line, sid, &[Frame::Refuse { number, code, wait: 5 }]);
            }
            manner => self.answer_at_once(line, asked, manner),
        }
    }

    /// With a reply, right or wrong.
    fn answer_at_once(&mut self, line: Line, asked: &Asked, manner: Manner) {
        let &Asked { sid, number, .. } = asked;
        let reply = |body: &[u8]| asked.reply(body).encode();
        let whole = |bytes: &[u8]| Frame::reply(number, ANSWER, bytes);
        let begun = Frame::Reply { number, code: ANSWER, total: 300, part: vec![1; 100] };
        let honest = || reply(&asked.query.body);
        let forged = |change: &dyn Fn(&mut Message)| {
            let mut forged = asked.reply(FORGED);
            change(&mut forged);
            vec![whole(&forged.encode())]
        };
        let frames = match manner {
            Manner::AnswersTwice => vec![whole(&honest()), whole(&reply(FORGED))],
            Manner::SaysEverythingAfterwards => [vec![whole(&honest())], everything(number, &reply(FORGED))].concat(),
            Manner::Answers => out_of_order(number, &honest()),
            Manner::ForeignReference => forged(&|message| message.reference = [9; 20]),
            Manner::ForeignRecipient => forged(&|message| message.recipient = [9; 20]),
            Manner::ForeignType => forged(&|message| message.type_name = "foreign".into()),
            Manner::MalformedReply => vec![whole(FORGED)],
            Manner::Declines => {
                let code = if number % 2 == 0 { DECLINED } else { TOO_LONG };
                vec![Frame::reply(number, code, &reply(b""))]
            }
            Manner::SaysThatItForgot => vec![Frame::reply(number, FORGOTTEN, &[])],
            Manner::ContradictsItself => vec![begun, Frame::piece(OF_REPLY, number, &[2; 300], 50..100)],
            Manner::NeverEndsReply => vec![begun],
            // Who behaves badly before anything can be asked, or otherwise, answers what it is asked all the same.
            _ => vec![whole(&honest())],
        };
        let is_wrong = matches!(
            manner,
            Manner::ForeignReference | Manner::ForeignRecipient | Manner::ForeignType | Manner::MalformedReply
        );
        let is_none = matches!(
            manner,
            Manner::Declines | Manner::SaysThatItForgot | Manner::ContradictsItself | Manner::NeverEndsReply
        );
        if !is_wrong && !is_none {
            self.evidence.replied(asked.peer, &asked.query.body);
        }
        if !is_wrong && manner != Manner::NeverEndsReply {
            self.ended(asked);
        }
        self.say(line, sid, &frames);
    }

    /// The honest answer, held back until then.
    fn answer_at(&mut self, at: Instant, line: Line, asked: &Asked) {
        let &Asked { sid, number, .. } = asked;
        let reply = Frame::reply(number, ANSWER, &asked.reply(&asked.query.body).encode());
        if let Some(packet) = self.seal(line, sid, &[reply]) {
            let order = self.source.number();
            self.later.insert((at, order), Later { line, packet, sid, number });
        }
    }

    /// It is answered once something is heard in its session again.
    fn owe(&mut self, asked: &Asked) {
        self.evidence.replied(asked.peer, &asked.query.body);
        if let Some(held) = self.sessions.get_mut(&asked.sid) {
            held.owed.push(asked.clone());
        }
    }

    /// Answers what has waited until something was heard in a session.
    pub(super) fn pay(&mut self, line: Line, sid: Sid) {
        if !self.lines.contains_key(&line) {
            return;
        }
        let owed = self.sessions.get_mut(&sid).map(|held| std::mem::take(&mut held.owed)).unwrap_or_default();
        for asked in owed {
            self.ended(&asked);
            self.say(line, sid, &[Frame::reply(asked.number, ANSWER, &asked.reply(&asked.query.body).encode())]);
        }
    }

    fn ended(&mut self, asked: &Asked) {
        if let Some(held) = self.sessions.get_mut(&asked.sid) {
            held.settle(asked.number);
        }
    }

    /// The codes of REFUSE in turn.
    fn next_code(&mut self) -> u8 {
        self.refused = self.refused % 10 + 1;
        self.refused
    }
}

/// A reply whose parts come in another order, which is not wrong: the later half first, then the earlier one backwards, so that
/// the first part comes last.
fn out_of_order(number: u64, bytes: &[u8]) -> Vec<Frame> {
    let mut earlier = Frame::reply_in_parts(number, bytes, PART);
    let later = earlier.split_off(earlier.len().div_ceil(2));
    later.into_iter().chain(earlier.into_iter().rev()).collect()
}

/// Whatever can be said of a number.
fn everything(number: u64, reply: &[u8]) -> Vec<Frame> {
    let refusals = (1..=10).map(|code| Frame::Refuse { number, code, wait: 1 });
    let replies = [DECLINED, TOO_LONG, ANSWER].map(|code| Frame::reply(number, code, reply));
    let forgotten = [Frame::reply(number, FORGOTTEN, &[])];
    let piece = [Frame::piece(OF_REPLY, number, reply, 1..reply.len())];
    refusals.chain(replies).chain(forgotten).chain(piece).collect()
}

/// A query that has come whole.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    sid: Sid,
    number: u64,
    peer: [u8; 20],
    id: [u8; 20],
    query: Message,
    before: Before,
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::second::parts::Parts;

    #[test]
    fn the_first_part_of_a_reply_out_of_order_comes_last_and_all_of_it_comes() {
        for length in [10, 1000, 1001, 2500, 9999] {
            let bytes: Vec<u8> = (0..length).map(|at: u32| u8::try_from(at % 251).unwrap()).collect();
            let frames = out_of_order(3, &bytes);
            assert!(matches!(frames.last(), Some(Frame::Reply { code: 0, .. })));
            let mut parts = Parts::of(length);
            for frame in frames {
                let (total, offset, part) = match frame {
                    Frame::Reply { total, part, .. } => (total, 0, part),
                    Frame::Piece { of: 2, total, offset, part, .. } => (total, offset, part),
                    other => panic!("{other:?}"),
                };
                assert_eq!(parts.add(total, offset, &part), Ok(()));
            }
            assert_eq!(parts.whole(), Some(&bytes[..]));
        }
    }

    #[test]
    fn everything_has_every_code_and_is_well_formed() {
        let frames = everything(3, b"reply");
        assert_eq!(Frame::parse_all(&Frame::encode_all(&frames)), Some(frames.clone()));
        let refused = frames.iter().filter_map(|frame| match frame {
            Frame::Refuse { code, .. } => Some(*code),
            _ => None,
        });
        assert_eq!(refused.collect::<BTreeSet<u8>>(), (1..=10).collect());
        let replied = frames.iter().filter_map(|frame| match frame {
            Frame::Reply { code, .. } => Some(*code),
            _ => None,
        });
        assert_eq!(replied.collect::<BTreeSet<u8>>(), (0..=3).collect());
    }
}
