//! From a sealed packet to what it means: one record, frame by frame.

use alloc::vec::Vec;
use core::time::Duration;

use super::answering::{Asks, Entry};
use super::assembly::{Arrived, Assembly, AssemblyError};
use super::lane::PathId;
use super::numbers::Number;
use super::records::{Acknowledgement, Content, What};
use super::seal::OpenError;
use super::{Introduction, LATEST_UNTIL, MOST_STRIKES, Session};
use crate::admission::Account;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, PieceOf};

/// What a frame means to whoever owns the session.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// A query or notice is here, whole. It is to be taken or refused before the next frame is looked at.
    Asked { number: u64, notice: bool, until: Instant, arrived: Arrived<'a> },
    /// What became of a query is here, whole. If it refers to the query, that is to be given up.
    Replied { query: Key, code: ReplyCode, arrived: Arrived<'a> },
    /// The query was taken, and what became of it is forgotten.
    Forgotten { number: u64 },
    /// The query did not run under this number.
    Refused { query: Key, code: RefuseCode, wait: Duration },
    /// A reply begins to come and there is no memory for it.
    NoRoom { number: u64 },
    /// Nobody waits for what a handler works at.
    Withdrawn(Key),
    /// A query that was taken before has come again.
    Repeated,
    /// A reply has come for which nobody waits.
    Unexpected,
    /// The session ends. All numbers below `base` were taken, and those whose bits are set.
    Broken { base: u64, taken: &'a [u8; 128] },
}

/// The peer has broken the rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuleBroken;

/// The record that is being looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arriving {
    path: Option<PathId>,
    bytes: usize,
    asks: bool,
    at_once: bool,
}

impl Session {
    /// Opens a sealed packet that came by a path, into `room`. Gives back its plaintext, whose frames are to be [taken](Self::take_frame) in
    /// order, and then the record is to be [closed](Self::close_record). After an error everything is as before.
    ///
    /// `short` is said of a path that is new to the session: whether the peer does not know yet whose it is.
    pub(crate) fn open<'r>(
        &mut self,
        now: Instant,
        path: PathId,
        short: bool,
        packet: &[u8],
        room: &'r mut Vec<u8>,
    ) -> Result<&'r [u8], OpenError> {
        let bytes = packet.len();
        let highest_before = self.opener.highest();
        let (counter, plaintext) = self.opener.open(packet, room)?;
        if highest_before.is_none_or(|highest| counter > highest) {
            self.receipt.is_newest(now);
        }
        self.confirmed = true;
        self.introduction = Introduction::Done;
        self.was_heard(now);
        self.lanes.join(path, short).hear();
        self.arriving = Arriving { path: Some(path), bytes, asks: false, at_once: false };
        Ok(plaintext)
    }

    /// Takes one frame of the record that was opened.
    pub(crate) fn take_frame<'a>(
        &mut self,
        now: Instant,
        frame: Frame<'a>,
        account: &mut Account<'_>,
    ) -> Result<Option<Happening<'a>>, RuleBroken> {
        self.arriving.asks |= !matches!(frame, Frame::Ack { .. } | Frame::Break { .. });
        match frame {
            Frame::Query { number, notice, until, total, part } => {
                let until = self.clock + Duration::from_millis(until.into());
                self.query_part(now, number, total, (0, part), Some(Asks { notice, until }), account)
            }
            Frame::Piece { of: PieceOf::Query, number, total, offset, part } => {
                self.query_part(now, number, total, (offset, part), None, account)
            }
            Frame::Reply { number, code, total, part } => self.reply_part(number, code, total, (0, part), account),
            Frame::Piece { of: PieceOf::Reply, number, total, offset, part } => {
                self.reply_part(number, ReplyCode::Answer, total, (offset, part), account)
            }
            Frame::Refuse { number, code, wait } => self.own_number(number, |asked| Happening::Refused {
                query: asked,
                code,
                wait: Duration::from_millis(100) * u32::from(wait),
            }),
            Frame::Cancel { number } => Ok(self.answering.cancel(number, account).map(Happening::Withdrawn)),
            Frame::Ack { largest, delay, runs } => {
                let delay = (delay < u16::MAX).then(|| Duration::from_micros(100) * u32::from(delay));
                let next = self.sealer.counter();
                self.ack(Acknowledgement { largest, delay, runs, now, next }, account).map(|()| None)
            }
            Frame::Ping => {
                self.arriving.at_once = true;
                Ok(None)
            }
            Frame::Break { base, taken, .. } => Ok(Some(Happening::Broken { base, taken })),
        }
    }

    /// Everything of the record has taken effect: from here on it may be acknowledged.
    pub(crate) fn close_record(&mut self, now: Instant) {
        let Arriving { path, bytes, asks, at_once } = core::mem::take(&mut self.arriving);
        if let Some(path) = path.filter(|_| asks) {
            self.receipt.owe(now, path, bytes, at_once);
        }
    }

    /// Something about one of this node's own numbers. Of one that is settled it means nothing; one that was never used breaks the rules.
    fn own_number<'a>(
        &self,
        number: u64,
        happening: impl FnOnce(Key) -> Happening<'a>,
    ) -> Result<Option<Happening<'a>>, RuleBroken> {
        if !self.asking.was_used(number) {
            return Err(RuleBroken);
        }
        Ok(self.asking.get(number).map(|asked| happening(asked.query)))
    }

    fn query_part<'a>(
        &mut self,
        now: Instant,
        number: u64,
        total: usize,
        (offset, part): (usize, &'a [u8]),
        asks: Option<Asks>,
        account: &mut Account<'_>,
    ) -> Result<Option<Happening<'a>>, RuleBroken> {
        if self.answering.is_flooded() {
            return Err(RuleBroken);
        }
        match (self.answering.get(number), self.answering.number(number)) {
            (Some(Entry::Coming { .. }), Number::Free) => {}
            (Some(Entry::Running { .. } | Entry::Answered(_)), _) | (None, Number::Taken) => {
                return Ok(Some(Happening::Repeated));
            }
            (Some(Entry::Refused { .. } | Entry::Forgotten), _) => return Ok(None),
            (None, Number::Forgotten) => {
                self.forget(number, account);
                return Ok(None);
            }
            (None, Number::Refused) => return Ok(self.refuses(now, number, RefuseCode::RefusedBefore, account)),
            (_, _) if self.answering.number(number) == Number::Below => {
                return Ok(self.refuses(now, number, RefuseCode::BelowWindow, account));
            }
            (_, _) => {
                if let Some(code) = self.refusal_of_new(now, total, asks, part.len() == total, account) {
                    return Ok(self.refuses(now, number, code, account));
                }
                if let Some(asks) = asks.filter(|_| part.len() == total) {
                    return Ok(Some(asked(now, number, asks, Arrived::in_one(part))));
                }
                self.answering.begin(number, total, now, account);
            }
        }
        let Some(Entry::Coming { assembly, heading, .. }) = self.answering.get_mut(number) else { return Ok(None) };
        if heading.zip(asks).is_some_and(|(before, now)| before != now) {
            return Err(RuleBroken);
        }
        let is_new = add(assembly, total, offset, part)?;
        self.fruit |= is_new;
        let is_whole = assembly.is_whole();
        if is_new {
            self.answering.progressed(number, now, asks);
        }
        if !is_whole {
            return Ok(None);
        }
        let Some((assembly, asks)) = self.answering.take_whole(number, account) else { return Ok(None) };
        if asks.until <= now {
            return Ok(self.refuses(now, number, RefuseCode::TooLate, account));
        }
        Ok(Some(asked(now, number, asks, assembly.finish())))
    }

    /// Why a query that begins to come is refused, if so; else its memory is charged, unless it is there at once.
    fn refusal_of_new(
        &self,
        now: Instant,
        total: usize,
        asks: Option<Asks>,
        is_whole: bool,
        account: &mut Account<'_>,
    ) -> Option<RefuseCode> {
        if asks.is_some_and(|asks| asks.until <= now) {
            return Some(RefuseCode::TooLate);
        }
        let has_entry = !is_whole || asks.is_none_or(|asks| !asks.notice);
        let refusal = account.refusal_of_entry().filter(|_| has_entry);
        refusal.or_else(|| (!is_whole && !account.charge_assembly(total)).then_some(RefuseCode::NoMemory))
    }

    fn refuses<'a>(
        &mut self,
        now: Instant,
        number: u64,
        code: RefuseCode,
        account: &mut Account<'_>,
    ) -> Option<Happening<'a>> {
        self.refuses_itself(now, number, code, account);
        None
    }

    fn reply_part<'a>(
        &mut self,
        number: u64,
        code: ReplyCode,
        total: usize,
        (offset, part): (usize, &'a [u8]),
        account: &mut Account<'_>,
    ) -> Result<Option<Happening<'a>>, RuleBroken> {
        if !self.asking.was_used(number) {
            return Err(RuleBroken);
        }
        let asked = self.asking.get_mut(number).filter(|asked| !asked.notice);
        let Some(asked) = asked else { return Ok(Some(Happening::Unexpected)) };
        let query = asked.query;
        match code {
            ReplyCode::Forgotten => return Ok(Some(Happening::Forgotten { number })),
            ReplyCode::Declined if asked.reply.is_some() => return Err(RuleBroken),
            ReplyCode::Answer if asked.reply.is_some() || part.len() < total => {}
            ReplyCode::Answer | ReplyCode::Declined | ReplyCode::ReplyTooLong => {
                return Ok(Some(Happening::Replied { query, code, arrived: Arrived::in_one(part) }));
            }
        }
        if asked.reply.is_none() {
            if !account.charge_assembly(total) {
                return Ok(Some(Happening::NoRoom { number }));
            }
            asked.reply = Some(Assembly::new(total));
        }
        let Some(assembly) = &mut asked.reply else { return Ok(None) };
        self.fruit |= add(assembly, total, offset, part)?;
        let Some(assembly) = asked.reply.take_if(|assembly| assembly.is_whole()) else { return Ok(None) };
        account.release_assembly(assembly.total());
        Ok(Some(Happening::Replied { query, code, arrived: assembly.finish() }))
    }

    /// The peer has opened what the runs name; what it passes over on a stream goes again.
    fn ack(&mut self, ack: Acknowledgement<'_>, account: &mut Account<'_>) -> Result<(), RuleBroken> {
        let mut outcome = core::mem::take(&mut self.outcome);
        let taken = self.records.acknowledged(ack, &mut self.lanes, &mut outcome);
        for content in &outcome.acknowledged {
            self.arrived(*content, ack.now, account);
        }
        let most_strikes = outcome.lost.iter().map(|content| content.strikes).max().unwrap_or(0);
        for content in &outcome.lost {
            self.goes_again(*content);
        }
        if let Some((path, taken)) = outcome.sample
            && let Some(lane) = self.lanes.get_mut(path)
        {
            lane.rtt().sample(taken);
        }
        self.outcome = outcome;
        self.records.forget_settled(ack.next, self.queue.is_empty());
        if taken.is_err() || most_strikes >= MOST_STRIKES { Err(RuleBroken) } else { Ok(()) }
    }

    /// What a record carried has arrived.
    fn arrived(&mut self, content: Content, now: Instant, account: &mut Account<'_>) {
        let Content { what, number, .. } = content;
        self.fruit |= matches!(what, What::Part(_));
        match what {
            What::Part(PieceOf::Query) => self.asking.acknowledged(number, content.range(), account),
            What::Part(PieceOf::Reply) => self.answering.part_acknowledged(number, content.range(), now, account),
            What::Refuse | What::Forgotten | What::NoAnswer => self.answering.word_acknowledged(number, what, account),
            What::Cancel => self.asking.cancel_acknowledged(number),
        }
    }
}

/// A query or notice that is whole.
fn asked(now: Instant, number: u64, asks: Asks, arrived: Arrived<'_>) -> Happening<'_> {
    let until = asks.until.min(now + LATEST_UNTIL);
    Happening::Asked { number, notice: asks.notice, until, arrived }
}

/// Adds a part to what has come of a message; its total must not change. Says whether it is new.
fn add(assembly: &mut Assembly, total: usize, offset: usize, part: &[u8]) -> Result<bool, RuleBroken> {
    if assembly.total() != total {
        return Err(RuleBroken);
    }
    assembly.add(offset, part).map_err(|error| match error {
        AssemblyError::OutOfRange | AssemblyError::Contradiction | AssemblyError::Scattered => RuleBroken,
    })
}
