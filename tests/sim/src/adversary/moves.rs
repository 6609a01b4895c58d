//! What each trick consists of.

use std::time::Duration;

use super::manner::Acks;
use super::source::Source;
use super::trick::Trick;
use crate::scene::{ECHO, NEVER};
use crate::second::frame::{Frame, MAX_MESSAGE, OF_QUERY, OF_REPLY, Run};
use crate::second::handshake::{HelloPayload, Initiator};
use crate::second::identity::{Identity, node_id};
use crate::second::message::{self, Message};
use crate::second::packet::{Packet, framed};
use crate::second::{Key, length_of};

/// One step of a trick.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// Shake hands, as itself or under its other name, and confirm the session with a PING.
    Meet(Face),
    /// Send the HELLO of the latest handshake again.
    HelloAgain,
    /// These bytes, as they are.
    Bytes(Vec<u8>),
    /// A record of these frames in the latest session.
    Say(Vec<Frame>),
    /// A record of these bytes in the latest session.
    SayBytes(Vec<u8>),
    /// A PING in the session that was made first.
    PingInFirst,
    /// A record that is altered once it is sealed.
    SayAltered(Vec<Frame>),
    /// A record that the node must drop.
    SayInVain(Vec<Frame>),
    /// A record that is sealed with the first epoch's key under this counter, and that the node must drop.
    SayUnder(u64, Vec<Frame>),
    /// The next record has this counter.
    Counter(u64),
    /// From now on what comes in the latest session is acknowledged so.
    Acknowledge(Acks),
    /// Everything that has come in the latest session is acknowledged now.
    AcknowledgeNow,
    /// STALE of the latest record that has come in the latest session.
    SayStale,
    /// Every record sent so far, unchanged.
    RecordsAgain,
    /// The latest session's name is another from now on.
    RenameSession([u8; 8]),
    /// What was recorded on connections with others than the target.
    RecordedElsewhere,
    /// What the target has sent.
    RecordedFromTarget,
    /// Records that were ever sent to the target, so many of them, drawn.
    RecordedEver(usize),
    /// Close the connection and open another.
    Redial,
    /// Open another connection and leave the first as it is.
    DialAnother,
    /// Let time pass.
    Wait(Duration),
}

/// Under which of an adversary's two names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Face {
    First,
    Second,
}

/// Long enough for an answer over any of the world's networks.
const MOMENT: Duration = Duration::from_secs(2);
/// Longer than a connection may stay unauthenticated.
const PATIENCE: Duration = Duration::from_secs(12);
/// Longer than a message in parts may stand still.
const PARTS_PATIENCE: Duration = Duration::from_secs(35);
/// Longer than anything may wait to be acknowledged.
const ACKS_PATIENCE: Duration = Duration::from_secs(70);
/// The deadline of what is asked, in milliseconds on the session clock: long after every trick is over.
const UNTIL: u32 = 600_000;
/// Under which of its names a trick meets a node, if it does not matter.
const ME: Face = Face::First;

/// Who plays a trick on whom, and with what names and numbers.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) me: &'a Identity,
    /// The key of whom the trick is played on.
    pub(super) target: Key,
    /// The key of somebody else.
    pub(super) another: Key,
    /// Tells this trick from every other one of this adversary.
    pub(super) serial: u64,
    pub(super) source: &'a mut Source,
}

impl Scope<'_> {
    pub(super) fn moves(&mut self, trick: Trick) -> Vec<Move> {
        let moves = self.of_connections(trick).or_else(|| self.of_handshakes(trick));
        let moves = moves.or_else(|| self.of_frames(trick)).or_else(|| self.of_acknowledgements(trick));
        let moves = moves.or_else(|| self.of_parts(trick)).or_else(|| self.of_messages(trick));
        let moves = moves.or_else(|| self.of_numbers(trick)).or_else(|| self.of_counters(trick));
        moves.or_else(|| self.of_replays(trick)).or_else(|| self.of_floods(trick)).unwrap_or_default()
    }

    fn of_connections(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Bytes, Meet, Wait};
        Some(match trick {
            Trick::SilentAfterConnect => vec![Wait(PATIENCE)],
            Trick::HalfPacket => {
                let hello = self.hello(|_| {});
                vec![Bytes(hello[..hello.len() / 2].to_vec()), Wait(PATIENCE)]
            }
            Trick::SilentAfterWelcome => vec![Bytes(self.hello(|_| {})), Wait(PATIENCE)],
            Trick::EmptyPacket => vec![Bytes(framed(&[])), Wait(MOMENT)],
            Trick::LongPacketOfStranger => vec![Bytes(4097_u32.to_be_bytes().to_vec()), Wait(MOMENT)],
            Trick::LongPacket => vec![Meet(ME), Bytes(65_536_u32.to_be_bytes().to_vec()), Wait(MOMENT)],
            Trick::OtherVersion => {
                let mut hello = self.hello(|_| {});
                hello[4] = 3;
                vec![Bytes(hello), Wait(MOMENT)]
            }
            Trick::UnknownKind => vec![Bytes(framed(&[2, 7, 0, 0, 0, 0, 0, 0, 0, 0])), Wait(MOMENT)],
            Trick::WrongLength => {
                let hello = self.hello(|_| {});
                vec![Bytes(framed(&hello[4..hello.len() - 1])), Wait(MOMENT)]
            }
            Trick::RecordBeforeHandshake => vec![Bytes(record_of_nothing(self.source)), Wait(PATIENCE)],
            Trick::TwoFaces => {
                vec![Meet(ME), Move::DialAnother, Meet(Face::Second), Move::PingInFirst, Wait(MOMENT)]
            }
            _ => return None,
        })
    }

    fn of_handshakes(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Bytes, Meet, Say, Wait};
        Some(match trick {
            Trick::HelloForAnother => {
                let hello = self.hello_to(&self.another.clone(), |_| {});
                vec![Bytes(hello), Wait(MOMENT)]
            }
            Trick::AlteredHello => {
                let mut hello = self.hello(|_| {});
                hello[100] ^= 1;
                vec![Bytes(hello), Wait(MOMENT)]
            }
            Trick::ClaimedKey => {
                let another = self.another;
                vec![Bytes(self.hello(|payload| payload[..32].copy_from_slice(&another))), Wait(MOMENT)]
            }
            Trick::WeakKey => {
                let weak = |payload: &mut Vec<u8>| payload[..32].copy_from_slice(&[&[1][..], &[0; 31]].concat());
                vec![Bytes(self.hello(weak)), Wait(MOMENT)]
            }
            Trick::HelloFlag => vec![Bytes(self.hello(|payload| payload[36] = 1)), Wait(MOMENT)],
            Trick::HelloAgain => vec![Meet(ME), Move::HelloAgain, Move::HelloAgain, Wait(PATIENCE)],
            Trick::TwoHandshakes => {
                let asks = Say(vec![self.asks(0)]);
                vec![Meet(ME), Meet(ME), Move::PingInFirst, asks, Wait(MOMENT)]
            }
            Trick::WelcomeUnasked => {
                let welcome = Packet::Welcome { isid: *b"unasked.", noise: vec![7; 64] };
                vec![Meet(ME), Bytes(framed(&welcome.encode())), Wait(MOMENT)]
            }
            Trick::HintsUnasked => vec![Meet(ME), Bytes(hints()), Wait(MOMENT)],
            Trick::StaleHint => {
                vec![Meet(ME), Wait(MOMENT), Move::SayStale, Wait(MOMENT), Move::SayStale, Wait(MOMENT)]
            }
            _ => return None,
        })
    }

    fn of_frames(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Meet, Say, SayBytes, Wait};
        let frame = match trick {
            Trick::UnknownFrame => return Some(vec![Meet(ME), SayBytes(vec![9]), Wait(MOMENT)]),
            Trick::TruncatedFrame => {
                let mut frame = self.asks(0).encode();
                frame.pop();
                return Some(vec![Meet(ME), SayBytes(frame), Wait(MOMENT)]);
            }
            Trick::MeaninglessFlag => self.query(0, 2, 1, &[1]),
            Trick::EmptyPart => self.query(0, 0, 1, &[]),
            Trick::OversizedPart => self.query(0, 0, 1, &[1, 2]),
            Trick::OversizedMessage => self.query(0, 0, MAX_MESSAGE + 1, &[1]),
            Trick::ValueOutOfRange => {
                let outside = out_of_range();
                let which = self.source.number() % outside.len() as u64;
                outside.into_iter().nth(usize::try_from(which).unwrap_or(0))?
            }
            Trick::BreakBeyondNumbers => Frame::Break { code: 1, base: u64::MAX - 1022, bitmap: [0; 128] },
            Trick::BreakOfAnything => {
                let bitmap = [self.source.bytes(), self.source.bytes(), self.source.bytes(), self.source.bytes()];
                let bitmap = bitmap.concat().try_into().unwrap_or([0; 128]);
                let (code, base) =
                    ([1, 2, 4][usize::from(bitmap[0] % 3)], self.source.number() >> (bitmap[1] % 64) >> 1);
                let end = Frame::Break { code, base, bitmap };
                let asks = Say(vec![self.asks(0)]);
                return Some(vec![Meet(ME), asks, Wait(MOMENT), Say(vec![end]), Wait(MOMENT), Meet(ME)]);
            }
            Trick::UnknownReply => {
                let code = u8::try_from(self.source.number() % 4).unwrap_or(0);
                let reply = self.message(message::REPLY, [9; 20], b"forged");
                Frame::reply(UNUSED, code, if code == 3 { &[] } else { &reply })
            }
            Trick::UnknownPiece => Frame::piece(OF_REPLY, UNUSED, &[1; 100], 50..60),
            Trick::UnknownRefuse => {
                let code = u8::try_from(self.source.number() % 10).unwrap_or(0) + 1;
                Frame::Refuse { number: UNUSED, code, wait: 0 }
            }
            _ => return None,
        };
        Some(vec![Meet(ME), Say(vec![frame]), Wait(MOMENT)])
    }

    fn of_acknowledgements(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Acknowledge, Meet, Redial, Say, Wait};
        let run = |length, gap| Run { length, gap };
        Some(match trick {
            Trick::UnknownAck => {
                let ack = Frame::Ack { largest: UNUSED, delay: 0, runs: vec![run(1, 0)] };
                vec![Meet(ME), Say(vec![ack]), Wait(MOMENT)]
            }
            Trick::MalformedAck => {
                let malformed = [vec![run(2, 0)], vec![run(1, 1)], vec![run(1, 0), run(1, 0)], vec![run(0, 0)], vec![]];
                let which = usize::try_from(self.source.number() % 5).unwrap_or(0);
                let ack = Frame::Ack { largest: 0, delay: 0, runs: malformed[which].clone() };
                vec![Meet(ME), Say(vec![ack]), Wait(MOMENT)]
            }
            Trick::AckFlood => {
                [vec![Meet(ME), Wait(MOMENT)], vec![Move::AcknowledgeNow; 1000], vec![Wait(MOMENT)]].concat()
            }
            Trick::AcknowledgesNothing => {
                let asks = Say(vec![self.asks(0)]);
                vec![Meet(ME), Acknowledge(Acks::Never), asks, Wait(ACKS_PATIENCE)]
            }
            Trick::AcknowledgesLate => {
                let asks = Say(vec![self.asks(0), self.asks(1)]);
                let back = [Acknowledge(Acks::Honest), Move::AcknowledgeNow, Wait(MOMENT)];
                let away = vec![Meet(ME), Acknowledge(Acks::Never), asks, Wait(MOMENT), Redial];
                [away, back.to_vec()].concat()
            }
            _ => return None,
        })
    }

    fn of_parts(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Meet, Say, Wait};
        Some(match trick {
            Trick::OverlappingPieces => {
                let whole = self.message(message::QUERY, [0; 20], &self.body(0));
                let first = self.query(0, 0, length_of(&whole), &whole[..10]);
                let piece = |from, to| Frame::piece(OF_QUERY, 0, &whole, from..to);
                vec![Meet(ME), Say(vec![piece(50, whole.len()), piece(5, 40), piece(30, 60), first]), Wait(MOMENT)]
            }
            Trick::ContradictingPieces => self.pieces(&[(10, 20), (10, 20)], true),
            Trick::PieceBeyondTotal => {
                let beyond = Frame::Piece { of: OF_QUERY, number: 0, total: 200, offset: 190, part: vec![1; 11] };
                vec![Meet(ME), Say(vec![self.query(0, 0, 200, &[1; 10]), beyond]), Wait(MOMENT)]
            }
            Trick::OtherTotal => {
                let other = Frame::piece(OF_QUERY, 0, &[1; 201], 10..20);
                vec![Meet(ME), Say(vec![self.query(0, 0, 200, &[1; 10]), other]), Wait(MOMENT)]
            }
            Trick::OtherDeadline => {
                let first = |until| Frame::Query { number: 0, flags: 0, until, total: 200, part: vec![1; 10] };
                vec![Meet(ME), Say(vec![first(UNTIL), first(UNTIL + 1)]), Wait(MOMENT)]
            }
            Trick::ScatteredPieces => {
                let stretches: Vec<(usize, usize)> = (0..1025).map(|at| (20 + 2 * at, 21 + 2 * at)).collect();
                self.pieces(&stretches, false)
            }
            Trick::PieceOfNothing => {
                let nothing = Frame::piece(OF_QUERY, 3, &[1; 100], 9..19);
                vec![Meet(ME), Say(vec![nothing]), Wait(PARTS_PATIENCE)]
            }
            Trick::UnfinishedPieces => {
                let begun = (0..4).map(|number| self.query(number, 0, 100_000, &[1; 100])).collect();
                vec![Meet(ME), Say(begun), Wait(PARTS_PATIENCE)]
            }
            Trick::CrowdingPieces => {
                let begun = (0..100).map(|number| self.query(number, 0, MAX_MESSAGE, &[1; 100])).collect();
                vec![Meet(ME), Say(begun), Wait(PARTS_PATIENCE)]
            }
            Trick::BrokenOffPieces => {
                let begun = self.query(0, 0, 100_000, &[1; 100]);
                let end = Frame::Break { code: 1, base: 0, bitmap: [0; 128] };
                // What follows the end in its record is not read.
                let more = Frame::piece(OF_QUERY, 0, &[1; 100_000], 100..200);
                vec![Meet(ME), Say(vec![begun]), Wait(MOMENT), Say(vec![end, more]), Wait(MOMENT), Meet(ME)]
            }
            _ => return None,
        })
    }

    fn of_messages(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Meet, Say, Wait};
        let message = match trick {
            Trick::ForAnother => {
                let another = self.another;
                Message { recipient: node_id(&another), ..self.parsed(0) }.encode()
            }
            Trick::MalformedMessage => b"no message".to_vec(),
            Trick::MessageLeftOver => [&self.message(message::QUERY, [0; 20], &self.body(0))[..], b"more"].concat(),
            Trick::NoticeAsQuery => self.message(message::NOTICE, [0; 20], &self.body(0)),
            Trick::ReplyAsQuery => self.message(message::REPLY, [1; 20], &self.body(0)),
            Trick::UnknownType => Message { type_name: "unserved".into(), ..self.parsed(0) }.encode(),
            Trick::PastDeadline => {
                let message = self.message(message::QUERY, [0; 20], &self.body(0));
                return Some(vec![Meet(ME), Wait(MOMENT), Say(vec![Frame::query(0, 1, &message)]), Wait(MOMENT)]);
            }
            _ => return None,
        };
        Some(vec![Meet(ME), Say(vec![Frame::query(0, UNTIL, &message)]), Wait(MOMENT)])
    }

    fn of_numbers(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Meet, Redial, Say, Wait};
        Some(match trick {
            Trick::NumberTwice => {
                let other = Frame::query(0, UNTIL, &self.message(message::QUERY, [0; 20], &self.body(1)));
                vec![Meet(ME), Say(vec![self.asks(0), other.clone()]), Wait(MOMENT), Say(vec![other])]
            }
            Trick::NumberBelow => {
                vec![Meet(ME), Say(vec![self.asks(1), self.asks(1 << 40), self.asks((1 << 40) - 1024), self.asks(0)])]
            }
            Trick::LastNumber => {
                vec![Meet(ME), Say(vec![self.asks(u64::MAX)]), Wait(MOMENT), Say(vec![self.asks(u64::MAX - 1)])]
            }
            Trick::WithdrawnNumber => vec![Meet(ME), Say(vec![Frame::Cancel { number: 1 }, self.asks(1)])],
            Trick::WithdrawnLastNumber => {
                vec![Meet(ME), Say(vec![Frame::Cancel { number: u64::MAX }, self.asks(0)])]
            }
            Trick::WithdrawnWhileRunning => {
                let message = Message { type_name: NEVER.into(), ..self.parsed(0) }.encode();
                let (asks, cancel) = (Frame::query(0, UNTIL, &message), Frame::Cancel { number: 0 });
                vec![Meet(ME), Say(vec![asks]), Wait(MOMENT), Say(vec![cancel.clone(), cancel])]
            }
            Trick::NumberAgainAfterRedial => {
                let ask = || Say(vec![self.asks(5)]);
                let (first, again) = (ask(), ask());
                vec![Meet(ME), first, Wait(MOMENT), Redial, Say(vec![]), again]
            }
            _ => return None,
        })
    }

    fn of_counters(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Counter, Meet, Say, SayInVain, SayUnder, Wait};
        let in_vain = || SayInVain(vec![self.asks(0), Frame::Ping]);
        let under = |counter| SayUnder(counter, vec![self.asks(0), Frame::Ping]);
        let ping = || Say(vec![Frame::Ping]);
        Some(match trick {
            Trick::CounterTwice => vec![Meet(ME), Counter(7), ping(), Counter(7), in_vain(), Counter(8)],
            Trick::CounterBelow => {
                let below = [Counter(2000 - 1025), in_vain(), Counter(2000 - 1024), in_vain(), Counter(2001)];
                [vec![Meet(ME), Counter(2000), ping()], below.to_vec()].concat()
            }
            Trick::CounterFarAhead => vec![Meet(ME), Counter(2 << 20), in_vain(), Counter(2)],
            Trick::CounterBeyondLast => vec![Meet(ME), under(1 << 48), under(u64::MAX)],
            Trick::AlteredRecord => vec![Meet(ME), Move::SayAltered(vec![self.asks(0)]), Wait(MOMENT)],
            Trick::UnknownSession => {
                vec![Meet(ME), Move::RenameSession(*b"no such."), in_vain(), Wait(MOMENT), Meet(ME)]
            }
            _ => return None,
        })
    }

    fn of_replays(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{HelloAgain, Meet, RecordsAgain, Redial, Wait};
        Some(match trick {
            Trick::ReplayElsewhere => vec![Move::RecordedElsewhere, Wait(PATIENCE)],
            Trick::Reflection => vec![Move::RecordedFromTarget, Wait(PATIENCE)],
            Trick::Replay => [self.talks(), vec![RecordsAgain, RecordsAgain]].concat(),
            Trick::ReplayAfterRedial => [self.talks(), vec![Redial, RecordsAgain, Wait(PATIENCE)]].concat(),
            Trick::ReplayInNewSession => [self.talks(), vec![Redial, Meet(ME), RecordsAgain, RecordsAgain]].concat(),
            Trick::ReplayAnything => {
                let everything = vec![Redial, Meet(ME), Move::RecordedEver(500), RecordsAgain, Wait(MOMENT)];
                [self.talks(), everything].concat()
            }
            Trick::ReplayedHello => [self.talks(), vec![Redial, HelloAgain, Wait(PATIENCE)]].concat(),
            _ => return None,
        })
    }

    fn of_floods(&mut self, trick: Trick) -> Option<Vec<Move>> {
        use Move::{Meet, Say, Wait};
        Some(match trick {
            Trick::HelloFlood => {
                let flood: Vec<u8> = (0..150).flat_map(|_| self.hello(|_| {})).collect();
                vec![Meet(ME), Move::Bytes(flood), Wait(PATIENCE)]
            }
            Trick::ConnectionFlood => [vec![Move::DialAnother; 139], vec![Wait(PATIENCE)]].concat(),
            Trick::QueryFlood => {
                let ask = |number| {
                    let message = Message { type_name: NEVER.into(), ..self.parsed(number) }.encode();
                    Frame::query(number, 30_000, &message)
                };
                let asks: Vec<Frame> = (0..1100).map(ask).collect();
                let says = asks.chunks(100).map(|chunk| Say(chunk.to_vec()));
                [vec![Meet(ME)], says.collect(), vec![Wait(PARTS_PATIENCE)]].concat()
            }
            Trick::PingFlood => [vec![Meet(ME)], vec![Say(vec![Frame::Ping]); 1000]].concat(),
            _ => return None,
        })
    }

    /// A query of this trick's that an honest node may answer.
    fn asks(&self, number: u64) -> Frame {
        Frame::query(number, UNTIL, &self.message(message::QUERY, [0; 20], &self.body(number)))
    }

    fn query(&self, number: u64, flags: u8, total: u32, part: &[u8]) -> Frame {
        Frame::Query { number, flags, until: UNTIL, total, part: part.to_vec() }
    }

    /// A message of 4,000 bytes that begins with its first ten; then these stretches of it, altered if so said the second time.
    fn pieces(&self, stretches: &[(usize, usize)], altered: bool) -> Vec<Move> {
        let text: Vec<u8> = (0..4000_u32).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
        let mut frames = vec![self.query(0, 0, length_of(&text), &text[..10])];
        for (times, &(from, to)) in stretches.iter().enumerate() {
            let mut text = text.clone();
            text[from] ^= u8::from(altered && times > 0);
            frames.push(Frame::piece(OF_QUERY, 0, &text, from..to));
        }
        vec![Move::Meet(ME), Move::Say(frames), Move::Wait(MOMENT)]
    }

    /// Some PINGs and queries, each in a record of its own.
    fn talks(&self) -> Vec<Move> {
        let says = (0..4).map(|number| Move::Say(vec![self.asks(number), Frame::Ping]));
        [vec![Move::Meet(ME)], says.collect(), vec![Move::Wait(MOMENT)]].concat()
    }

    /// Says who asks what, so that what runs twice is noticed.
    fn body(&self, number: u64) -> Vec<u8> {
        body_of(self.serial, number)
    }

    fn parsed(&self, number: u64) -> Message {
        Message {
            kind: message::QUERY,
            recipient: node_id(&self.target),
            nonce: [self.serial.to_be_bytes()[7]; 20],
            reference: [0; 20],
            type_name: ECHO.into(),
            body: self.body(number),
        }
    }

    fn message(&self, kind: u8, reference: [u8; 20], body: &[u8]) -> Vec<u8> {
        Message { kind, reference, body: body.to_vec(), ..self.parsed(0) }.encode()
    }

    /// A HELLO with its length, whose payload was changed so.
    fn hello(&mut self, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        self.hello_to(&self.target.clone(), change)
    }

    fn hello_to(&mut self, responder: &Key, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let isid = self.source.number().to_be_bytes();
        let mut payload = HelloPayload { key: self.me.public_key(), generation: 0, asked: Vec::new() }.encode();
        change(&mut payload);
        let begun = Initiator::start(self.me, responder, isid, self.source.bytes(), &payload);
        let (_, noise) = begun.expect("a node's key is usable");
        framed(&Packet::Hello { isid, cookie: [0; 16], noise }.encode())
    }
}

/// A number that a node has not used in a new session.
const UNUSED: u64 = 1_000_000;

/// What every query of an adversary begins with.
const MARK: &[u8; 9] = b"adversary";

fn body_of(serial: u64, number: u64) -> Vec<u8> {
    [&MARK[..], &serial.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// Whether a body is that of an adversary's query.
pub(super) fn is_marked(body: &[u8]) -> bool {
    body.starts_with(MARK)
}

/// Frames each of which has one value that it must not have.
fn out_of_range() -> Vec<Frame> {
    let piece = |of, total, offset, part| Frame::Piece { of, number: 0, total, offset, part };
    let reply = |code, total, part| Frame::Reply { number: 0, code, total, part };
    vec![
        piece(0, 10, 1, vec![1]),
        piece(3, 10, 1, vec![1]),
        piece(OF_QUERY, 10, 0, vec![1]),
        piece(OF_QUERY, 10, 1, vec![]),
        piece(OF_QUERY, MAX_MESSAGE + 1, 1, vec![1]),
        piece(OF_QUERY, 10, u32::MAX, vec![1]),
        reply(1, 2, vec![1]),
        reply(2, 0, vec![]),
        reply(3, 1, vec![1]),
        reply(4, 1, vec![1]),
        Frame::Refuse { number: 0, code: 0, wait: 0 },
        Frame::Refuse { number: 0, code: 11, wait: 0 },
        Frame::Break { code: 0, base: 0, bitmap: [0; 128] },
        Frame::Break { code: 3, base: 0, bitmap: [0; 128] },
    ]
}

fn hints() -> Vec<u8> {
    let hints = [
        Packet::Retry { isid: *b"unasked.", cookie: [1; 16] },
        Packet::Busy { isid: *b"unasked.", code: 1, wait: 600 },
        Packet::Stale { sid: *b"unasked.", counter: 0 },
    ];
    hints.iter().flat_map(|hint| framed(&hint.encode())).collect()
}

fn record_of_nothing(source: &mut Source) -> Vec<u8> {
    framed(&[&[2, 4][..], &source.bytes(), &source.bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(trick: Trick, seed: u8) -> Vec<Move> {
        let me = Identity([1; 32]);
        let [target, another] = [2, 3].map(|seed| Identity([seed; 32]).public_key());
        let mut source = Source::new([seed; 32]);
        Scope { me: &me, target, another, serial: 9, source: &mut source }.moves(trick)
    }

    /// What is sealed in them, with whether the node is to open it.
    fn records(moves: &[Move]) -> Vec<(Vec<u8>, bool)> {
        let records = moves.iter().filter_map(|next| match next {
            Move::Say(frames) => Some((Frame::encode_all(frames), true)),
            Move::SayBytes(bytes) => Some((bytes.clone(), true)),
            Move::SayAltered(frames) | Move::SayInVain(frames) | Move::SayUnder(_, frames) => {
                Some((Frame::encode_all(frames), false))
            }
            _ => None,
        });
        records.collect()
    }

    #[test]
    fn every_trick_consists_of_something() {
        for &trick in Trick::ALL {
            assert!(!moves(trick, 0).is_empty(), "{trick}");
        }
    }

    #[test]
    fn only_tricks_that_break_rules_say_what_is_malformed() {
        for &trick in Trick::ALL.iter().filter(|trick| !trick.breaks_rules()) {
            for (plaintext, _) in records(&moves(trick, 0)) {
                assert!(Frame::parse_all(&plaintext).is_some(), "{trick}");
                assert!(plaintext.len() <= 65_501, "{trick}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_malformed() {
        for frame in out_of_range() {
            assert_eq!(Frame::parse_all(&frame.encode()), None, "{frame:?}");
        }
        let malformed = [
            Trick::UnknownFrame,
            Trick::TruncatedFrame,
            Trick::MeaninglessFlag,
            Trick::EmptyPart,
            Trick::OversizedPart,
            Trick::OversizedMessage,
            Trick::ValueOutOfRange,
            Trick::BreakBeyondNumbers,
            Trick::PieceBeyondTotal,
            Trick::MalformedAck,
        ];
        for trick in malformed {
            for seed in 0..8 {
                let records = records(&moves(trick, seed));
                assert!(records.iter().any(|(plaintext, _)| Frame::parse_all(plaintext).is_none()), "{trick}");
            }
        }
    }

    #[test]
    fn what_is_forged_has_codes_of_every_kind() {
        let codes = |trick| -> std::collections::BTreeSet<u8> {
            let said = (0..100).flat_map(|seed| records(&moves(trick, seed)));
            said.map(|(plaintext, _)| plaintext[9]).collect()
        };
        assert_eq!(codes(Trick::UnknownReply), (0..=3).collect());
        assert_eq!(codes(Trick::UnknownRefuse), (1..=10).collect());
    }
}
