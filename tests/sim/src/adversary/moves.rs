//! What each trick consists of.

use std::time::Duration;

use super::source::Source;
use super::trick::Trick;
use crate::scene::{ECHO, NEVER};
use crate::second::Key;
use crate::second::frame::Frame;
use crate::second::handshake::{HelloPayload, Initiator};
use crate::second::identity::{Identity, node_id};
use crate::second::message::{self, Message};
use crate::second::packet::{Packet, framed};

/// One step of a trick.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Move {
    /// Shake hands, as itself or under its other name, and confirm the session with an empty record.
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
    /// A record that is sealed with the first epoch's key under this counter.
    SayUnder(u64, Vec<Frame>),
    /// The next record has this counter.
    Counter(u64),
    /// Every record sent so far, unchanged.
    RecordsAgain,
    /// The latest session's name is another from now on.
    RenameSession([u8; 8]),
    /// What was recorded on connections with others than the target.
    RecordedElsewhere,
    /// What the target has sent.
    RecordedFromTarget,
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
/// Longer than a message in pieces may stand still.
const PIECES_PATIENCE: Duration = Duration::from_secs(35);
/// The deadline of what is asked, in milliseconds on the session clock: long after every trick is over.
const UNTIL: u32 = 600_000;
/// A PING with this bit in its token must not be answered.
pub(super) const NO_PONG: u64 = 1 << 63;
/// The longest message there is.
const MAX_MESSAGE: u32 = 4_000_131;

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
        use Move::{Counter, Meet, RecordsAgain, Redial, Say, SayBytes, Wait};
        const ME: Face = Face::First;
        match trick {
            Trick::SilentAfterConnect => vec![Wait(PATIENCE)],
            Trick::HalfPacket => {
                let hello = self.hello(|_| {});
                vec![Move::Bytes(hello[..hello.len() / 2].to_vec()), Wait(PATIENCE)]
            }
            Trick::SilentAfterWelcome => vec![Move::Bytes(self.hello(|_| {})), Wait(PATIENCE)],
            Trick::EmptyPacket => vec![Move::Bytes(framed(&[])), Wait(MOMENT)],
            Trick::LongPacketOfStranger => vec![Move::Bytes(4097_u32.to_be_bytes().to_vec()), Wait(MOMENT)],
            Trick::LongPacket => vec![Meet(ME), Move::Bytes(65_536_u32.to_be_bytes().to_vec()), Wait(MOMENT)],
            Trick::OtherVersion => {
                let mut hello = self.hello(|_| {});
                hello[4] = 3;
                vec![Move::Bytes(hello), Wait(MOMENT)]
            }
            Trick::UnknownKind => vec![Move::Bytes(framed(&[2, 7, 0, 0, 0, 0, 0, 0, 0, 0])), Wait(MOMENT)],
            Trick::WrongLength => {
                let hello = self.hello(|_| {});
                vec![Move::Bytes(framed(&hello[4..hello.len() - 1])), Wait(MOMENT)]
            }
            Trick::HelloForAnother => {
                let hello = self.hello_to(&self.another.clone(), |_| {});
                vec![Move::Bytes(hello), Wait(MOMENT)]
            }
            Trick::AlteredHello => {
                let mut hello = self.hello(|_| {});
                hello[100] ^= 1;
                vec![Move::Bytes(hello), Wait(MOMENT)]
            }
            Trick::ClaimedKey => {
                let another = self.another;
                vec![Move::Bytes(self.hello(|payload| payload[..32].copy_from_slice(&another))), Wait(MOMENT)]
            }
            Trick::WeakKey => {
                let weak = |payload: &mut Vec<u8>| payload[..32].copy_from_slice(&[&[1][..], &[0; 31]].concat());
                vec![Move::Bytes(self.hello(weak)), Wait(MOMENT)]
            }
            Trick::HelloFlag => vec![Move::Bytes(self.hello(|payload| payload[36] = 1)), Wait(MOMENT)],
            Trick::HelloAgain => vec![Meet(ME), Move::HelloAgain, Move::HelloAgain, Wait(PATIENCE)],
            Trick::WelcomeUnasked => {
                let welcome = Packet::Welcome { isid: *b"unasked.", noise: vec![7; 72] };
                vec![Meet(ME), Move::Bytes(framed(&welcome.encode())), Wait(MOMENT)]
            }
            Trick::HintsUnasked => vec![Meet(ME), Move::Bytes(hints()), Wait(MOMENT)],
            Trick::RecordBeforeHandshake => vec![Move::Bytes(record_of_nothing(self.source)), Wait(PATIENCE)],
            Trick::ReplayElsewhere => vec![Move::RecordedElsewhere, Wait(PATIENCE)],
            Trick::Reflection => vec![Move::RecordedFromTarget, Wait(PATIENCE)],
            Trick::TwoFaces => {
                vec![Meet(ME), Move::DialAnother, Meet(Face::Second), Move::PingInFirst, Wait(MOMENT)]
            }
            Trick::UnknownFrame => vec![Meet(ME), SayBytes(vec![2]), Wait(MOMENT)],
            Trick::TruncatedFrame => {
                let mut frame = self.asks(0).encode();
                frame.pop();
                vec![Meet(ME), SayBytes(frame), Wait(MOMENT)]
            }
            Trick::MeaninglessFlag => vec![Meet(ME), Say(vec![self.query(0, 2, 1, &[1])]), Wait(MOMENT)],
            Trick::EmptyPart => vec![Meet(ME), Say(vec![self.query(0, 0, 1, &[])]), Wait(MOMENT)],
            Trick::OversizedPart => vec![Meet(ME), Say(vec![self.query(0, 0, 1, &[1, 2])]), Wait(MOMENT)],
            Trick::OversizedMessage => vec![Meet(ME), Say(vec![self.query(0, 0, MAX_MESSAGE + 1, &[1])]), Wait(MOMENT)],
            Trick::DoneBeyondNumbers => {
                vec![Meet(ME), Say(vec![Frame::Done { base: u64::MAX - 62, bitmap: 1 }]), Wait(MOMENT)]
            }
            Trick::BreakBeyondNumbers => {
                let beyond = Frame::Break { code: 1, base: u64::MAX - 1022, bitmap: [0; 128] };
                vec![Meet(ME), Say(vec![beyond]), Wait(MOMENT)]
            }
            Trick::LongPing => {
                let asked = vec![[1; 8], [2; 8], [3; 8]];
                vec![Meet(ME), Say(vec![Frame::Ping { token: NO_PONG, asked }]), Wait(MOMENT)]
            }
            Trick::PongUnasked => vec![Meet(ME), Say(vec![Frame::Pong { token: 7, held: 3 }]), Wait(MOMENT)],
            Trick::LeaveUnasked => vec![Meet(ME), Say(vec![Frame::Leave { step: 1 }]), Wait(PATIENCE)],
            Trick::LeaveAndStay => vec![Meet(ME), Say(vec![Frame::Leave { step: 0 }]), Wait(PATIENCE)],
            Trick::UnknownAck => vec![Meet(ME), Say(vec![Frame::Ack { number: UNUSED, echo: 0 }]), Wait(MOMENT)],
            Trick::UnknownReply => {
                let reply = self.message(message::REPLY, [9; 20], b"forged");
                vec![Meet(ME), Say(vec![Frame::reply(UNUSED, 0, 0, &reply)]), Wait(MOMENT)]
            }
            Trick::UnknownRefuse => {
                vec![Meet(ME), Say(vec![Frame::Refuse { number: UNUSED, code: 2, wait: 0 }]), Wait(MOMENT)]
            }
            Trick::UnknownGone => vec![Meet(ME), Say(vec![Frame::Gone { number: UNUSED, reason: 1 }]), Wait(MOMENT)],
            Trick::OverlappingPieces => self.pieces(&[(10, 20), (15, 25)], false),
            Trick::ContradictingPieces => self.pieces(&[(10, 20), (10, 20)], true),
            Trick::PieceBeyondTotal => self.pieces(&[(90, 201)], false),
            Trick::ScatteredPieces => {
                let stretches: Vec<(u32, u32)> = (0..257).map(|at| (20 + 2 * at, 21 + 2 * at)).collect();
                self.pieces(&stretches, false)
            }
            Trick::PieceOfNothing => {
                let nothing = |of| Frame::Piece { of, number: 3, offset: 9, part: vec![1; 10] };
                vec![Meet(ME), Say(vec![nothing(1), nothing(4)]), Wait(MOMENT)]
            }
            Trick::UnfinishedPieces => {
                let begun = (0..4).map(|number| self.query(number, 0, 100_000, &[1; 100])).collect();
                vec![Meet(ME), Say(begun), Wait(PIECES_PATIENCE)]
            }
            Trick::BrokenOffPieces => {
                let begun = self.query(0, 0, 100_000, &[1; 100]);
                let end = Frame::Break { code: 1, base: 0, bitmap: [0; 128] };
                // What follows the end in its record is not read.
                let more = Frame::Piece { of: 1, number: 0, offset: 100, part: vec![1; 100] };
                vec![Meet(ME), Say(vec![begun]), Wait(MOMENT), Say(vec![end, more]), Wait(MOMENT), Meet(ME)]
            }
            Trick::ForAnother => {
                let another = self.another;
                let message = Message { recipient: node_id(&another), ..self.parsed(0) }.encode();
                self.asks_wrongly(&message)
            }
            Trick::MalformedMessage => self.asks_wrongly(b"no message"),
            Trick::MessageLeftOver => {
                let message = [&self.message(message::QUERY, [0; 20], &self.body(0))[..], b"more"].concat();
                self.asks_wrongly(&message)
            }
            Trick::NoticeAsQuery => {
                let message = self.message(message::NOTICE, [0; 20], &self.body(0));
                self.asks_wrongly(&message)
            }
            Trick::ReplyAsQuery => {
                let message = self.message(message::REPLY, [1; 20], &self.body(0));
                self.asks_wrongly(&message)
            }
            Trick::PastDeadline => {
                let message = self.message(message::QUERY, [0; 20], &self.body(0));
                vec![Meet(ME), Wait(MOMENT), Say(vec![Frame::query(0, 1, &message)]), Wait(MOMENT)]
            }
            Trick::UnknownType => {
                let message = Message { type_name: "unserved".into(), ..self.parsed(0) }.encode();
                self.asks_wrongly(&message)
            }
            Trick::NumberTwice => {
                vec![Meet(ME), Say(vec![self.asks(0), self.asks(0)]), Wait(MOMENT), Say(vec![self.asks(0)])]
            }
            Trick::NumberBelow => {
                vec![Meet(ME), Say(vec![self.asks(0), self.asks(1 << 40), self.asks((1 << 40) - 1024), self.asks(0)])]
            }
            Trick::LastNumber => {
                vec![Meet(ME), Say(vec![self.asks(u64::MAX)]), Wait(MOMENT), Say(vec![self.asks(u64::MAX - 1)])]
            }
            Trick::WithdrawnNumber => vec![Meet(ME), Say(vec![Frame::Done { base: 0, bitmap: 2 }, self.asks(1)])],
            Trick::NumberAgainAfterRedial => {
                let ask = || Say(vec![self.asks(5)]);
                let (first, again) = (ask(), ask());
                vec![Meet(ME), first, Wait(MOMENT), Redial, Say(vec![]), again]
            }
            Trick::CounterTwice => {
                vec![Meet(ME), Counter(7), Say(vec![]), Counter(7), Say(vec![self.no_pong()]), Counter(8)]
            }
            Trick::CounterBelow => {
                vec![
                    Meet(ME),
                    Counter(2000),
                    Say(vec![]),
                    Counter(2000 - 1025),
                    Say(vec![self.no_pong()]),
                    Counter(2000 - 1024),
                    Say(vec![self.no_pong()]),
                    Counter(2001),
                ]
            }
            Trick::CounterFarAhead => vec![Meet(ME), Counter(2 << 20), Say(vec![self.no_pong()]), Counter(2)],
            Trick::CounterBeyondLast => {
                vec![
                    Meet(ME),
                    Move::SayUnder(1 << 48, vec![self.no_pong()]),
                    Move::SayUnder(u64::MAX, vec![self.no_pong()]),
                ]
            }
            Trick::AlteredRecord => vec![Meet(ME), Move::SayAltered(vec![self.no_pong()]), Wait(MOMENT)],
            Trick::UnknownSession => {
                vec![Meet(ME), Move::RenameSession(*b"no such."), Say(vec![self.no_pong()]), Wait(MOMENT), Meet(ME)]
            }
            Trick::Replay => [self.talks(), vec![RecordsAgain, RecordsAgain]].concat(),
            Trick::ReplayAfterRedial => [self.talks(), vec![Redial, RecordsAgain, Wait(PATIENCE)]].concat(),
            Trick::ReplayInNewSession => [self.talks(), vec![Redial, Meet(ME), RecordsAgain, RecordsAgain]].concat(),
            Trick::ReplayedHello => [self.talks(), vec![Redial, Move::HelloAgain, Wait(PATIENCE)]].concat(),
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
                [vec![Meet(ME)], says.collect(), vec![Wait(PIECES_PATIENCE)]].concat()
            }
            Trick::PingFlood => {
                let pings: Vec<Frame> = (0..1000).map(|_| self.ping()).collect();
                let says = pings.chunks(100).map(|chunk| Say(chunk.to_vec()));
                [vec![Meet(ME)], says.collect()].concat()
            }
        }
    }

    /// A query of this trick's that an honest node may answer.
    fn asks(&self, number: u64) -> Frame {
        Frame::query(number, UNTIL, &self.message(message::QUERY, [0; 20], &self.body(number)))
    }

    fn asks_wrongly(&self, message: &[u8]) -> Vec<Move> {
        vec![Move::Meet(Face::First), Move::Say(vec![Frame::query(0, UNTIL, message)]), Move::Wait(MOMENT)]
    }

    fn query(&self, number: u64, flags: u8, total: u32, part: &[u8]) -> Frame {
        Frame::Query { number, flags, until: UNTIL, total, part: part.to_vec() }
    }

    /// A message of 600 bytes that begins with its first ten; then these stretches of it, altered if so said the second time.
    fn pieces(&self, stretches: &[(u32, u32)], altered: bool) -> Vec<Move> {
        let text: Vec<u8> = (0..1000_u32).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
        let total = if stretches.iter().any(|&(_, end)| end == 201) { 200 } else { 600 };
        let mut frames = vec![self.query(0, 0, total, &text[..10])];
        for (times, &(from, to)) in stretches.iter().enumerate() {
            let mut part = text[from as usize..to as usize].to_vec();
            part[0] ^= u8::from(altered && times > 0);
            frames.push(Frame::Piece { of: 1, number: 0, offset: from, part });
        }
        vec![Move::Meet(Face::First), Move::Say(frames), Move::Wait(MOMENT)]
    }

    /// Some PINGs and queries, each in a record of its own.
    fn talks(&mut self) -> Vec<Move> {
        let mut moves = vec![Move::Meet(Face::First)];
        for number in 0..4 {
            let ping = self.ping();
            moves.push(Move::Say(vec![self.asks(number), ping]));
        }
        moves.push(Move::Wait(MOMENT));
        moves
    }

    pub(super) fn ping(&mut self) -> Frame {
        Frame::Ping { token: self.source.number() & !NO_PONG, asked: Vec::new() }
    }

    fn no_pong(&mut self) -> Frame {
        Frame::Ping { token: self.source.number() | NO_PONG, asked: Vec::new() }
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

fn hints() -> Vec<u8> {
    let hints = [
        Packet::Retry { isid: *b"unasked.", cookie: [1; 16] },
        Packet::Busy { isid: *b"unasked.", code: 1, wait_secs: 60 },
        Packet::Stale { sid: *b"unasked.", counter: 0 },
    ];
    hints.iter().flat_map(|hint| framed(&hint.encode())).collect()
}

fn record_of_nothing(source: &mut Source) -> Vec<u8> {
    framed(&[&[2, 4][..], &source.bytes(), &source.bytes()].concat())
}
