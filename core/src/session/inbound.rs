//! From a sealed packet to what it means: one record, frame by frame.

use core::time::Duration;

use super::answering::{Asks, Entry};
use super::assembly::{Arrived, Assembly, AssemblyError};
use super::lane::PathId;
use super::numbers::Number;
use super::records::{Content, What};
use super::seal::OpenError;
use super::{Introduction, LATEST_UNTIL, MOST_PASSED_OVER, Session};
use crate::admission::Account;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, PieceOf, Runs};

/// What a frame means to whoever owns the session.
#[derive(Debug)]
pub(crate) enum Happening<'a> {
    /// A query or notice is here, whole. It is to be taken or refused before the next frame is looked at.
    Asked { number: u64, notice: bool, until: Instant, arrived: Arrived<'a> },
    /// What became of a query is here, whole. If it refers to the query, that is to be given up.
    Replied { number: u64, query: Key, code: ReplyCode, arrived: Arrived<'a> },
    /// The query was taken, and what became of it is forgotten.
    Forgotten { number: u64 },
    /// The query did not run under this number.
    Refused { number: u64, query: Key, code: RefuseCode, wait: Duration },
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
    /// Opens a sealed packet that came by a path, in place. Gives back its plaintext, whose frames are to be [taken](Self::take_frame) in
    /// order, and then the record is to be [closed](Self::close_record). After an error everything is as before.
    ///
    /// `short` is said of a path that is new to the session: whether the peer does not know yet whose it is.
    pub(crate) fn open<'p>(
        &mut self,
        now: Instant,
        path: PathId,
        short: bool,
        packet: &'p mut [u8],
    ) -> Result<&'p mut [u8], OpenError> {
        let bytes = packet.len();
        let highest_before = self.opener.highest();
        let (counter, plaintext) = self.opener.open(packet)?;
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
                let until = (self.clock + Duration::from_millis(until.into())).min(now + LATEST_UNTIL);
                Ok(self.query_part(now, number, total, (0, part), Some(Asks { notice, until }), account)?)
            }
            Frame::Piece { of: PieceOf::Query, number, total, offset, part } => {
                Ok(self.query_part(now, number, total, (offset, part), None, account)?)
            }
            Frame::Reply { number, code, total, part } => self.reply_part(number, code, total, (0, part), account),
            Frame::Piece { of: PieceOf::Reply, number, total, offset, part } => {
                self.reply_part(number, ReplyCode::Answer, total, (offset, part), account)
            }
            Frame::Refuse { number, code, wait } => self.own_number(number, |asked| Happening::Refused {
                number,
                query: asked,
                code,
                wait: Duration::from_millis(100) * u32::from(wait),
            }),
            Frame::Cancel { number } => Ok(self.answering.cancel(number, account).map(Happening::Withdrawn)),
            Frame::Ack { largest, delay, runs } => {
                let delay = Duration::from_micros(100) * u32::from(delay);
                self.ack((largest, runs), (now, delay), account).map(|()| None)
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
        match (self.answering.get(number), self.answering.number(number)) {
            (Some(Entry::Coming { .. }), _) => {}
            (Some(Entry::Running { .. } | Entry::Answered(_)), _) | (None, Number::Taken) => {
                return Ok(Some(Happening::Repeated));
            }
            (Some(Entry::Refused { .. } | Entry::Forgotten { .. }), _) => return Ok(None),
            (None, Number::Refused) => return Ok(self.refuses(now, number, RefuseCode::RefusedBefore, account)),
            (None, Number::Below) => return Ok(self.refuses(now, number, RefuseCode::BelowWindow, account)),
            (None, Number::Free) => {
                if let Some(Asks { notice, until }) = asks.filter(|_| part.len() == total) {
                    return Ok(Some(Happening::Asked { number, notice, until, arrived: Arrived::in_one(part) }));
                }
                if !account.charge_assembly(total) {
                    return Ok(self.refuses(now, number, RefuseCode::NoMemory, account));
                }
                self.answering.begin(number, total, now);
            }
        }
        let Some(Entry::Coming { assembly, heading, .. }) = self.answering.get_mut(number) else { return Ok(None) };
        let is_new = add(assembly, total, offset, part)?;
        *heading = heading.or(asks);
        let is_whole = assembly.is_whole();
        if is_new {
            self.answering.progressed(number, now);
        }
        if !is_whole {
            return Ok(None);
        }
        let Some((assembly, Asks { notice, until })) = self.answering.take_whole(number, account) else {
            return Ok(None);
        };
        if self.answering.number(number) == Number::Below {
            return Ok(self.refuses(now, number, RefuseCode::BelowWindow, account));
        }
        Ok(Some(Happening::Asked { number, notice, until, arrived: assembly.finish() }))
    }

    fn refuses<'a>(
        &mut self,
        now: Instant,
        number: u64,
        code: RefuseCode,
        account: &mut Account<'_>,
    ) -> Option<Happening<'a>> {
        self.refuse(number, code, 0, now + LATEST_UNTIL, account);
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
        let Some(asked) = self.asking.get_mut(number) else { return Ok(Some(Happening::Unexpected)) };
        if code == ReplyCode::Forgotten {
            return Ok(Some(Happening::Forgotten { number }));
        }
        if offset == 0 && part.len() == total {
            let query = asked.query;
            return Ok(Some(Happening::Replied { number, query, code, arrived: Arrived::in_one(part) }));
        }
        if asked.reply.is_none() {
            if !account.charge_assembly(total) {
                return Ok(Some(Happening::NoRoom { number }));
            }
            asked.reply = Some(Assembly::new(total));
        }
        let Some(assembly) = &mut asked.reply else { return Ok(None) };
        add(assembly, total, offset, part)?;
        let Some(assembly) = asked.reply.take_if(|assembly| assembly.is_whole()) else { return Ok(None) };
        account.release_assembly(assembly.total());
        Ok(Some(Happening::Replied { number, query: asked.query, code, arrived: assembly.finish() }))
    }

    /// The peer has opened what the runs name; what it passes over on a stream goes again.
    fn ack(
        &mut self,
        ack: (u64, Runs<'_>),
        when: (Instant, Duration),
        account: &mut Account<'_>,
    ) -> Result<(), RuleBroken> {
        let mut outcome = core::mem::take(&mut self.outcome);
        let next = self.sealer.counter();
        let taken = self.records.acknowledged(ack, when, next, &mut self.lanes, &mut outcome);
        for content in &outcome.acknowledged {
            self.arrived(*content, account);
        }
        let mut most_passed_over = 0;
        for content in &outcome.lost {
            most_passed_over = most_passed_over.max(self.passed_over(*content));
            self.goes_again(*content);
        }
        if let Some((path, taken)) = outcome.sample
            && let Some(lane) = self.lanes.get_mut(path)
        {
            lane.rtt().sample(taken);
        }
        self.outcome = outcome;
        if taken.is_err() || most_passed_over > MOST_PASSED_OVER { Err(RuleBroken) } else { Ok(()) }
    }

    /// What a record carried has arrived.
    fn arrived(&mut self, content: Content, account: &mut Account<'_>) {
        let Content { what, number, .. } = content;
        match what {
            What::Part(PieceOf::Query) => self.asking.acknowledged(number, content.range(), account),
            What::Part(PieceOf::Reply) => self.answering.acknowledged(number, content.range(), account),
            What::Refuse | What::Forgotten => self.answering.word_acknowledged(number),
            What::Cancel => self.asking.cancel_acknowledged(number),
        }
    }

    /// How often what it belongs to was passed over. Words are said again without end: an honest peer passes over nothing.
    fn passed_over(&mut self, content: Content) -> u8 {
        match content.what {
            What::Part(PieceOf::Query) => {
                self.asking.get_mut(content.number).map_or(0, |asked| asked.outgoing.passed_over())
            }
            What::Part(PieceOf::Reply) => match self.answering.get_mut(content.number) {
                Some(Entry::Answered(answered)) => answered.outgoing.passed_over(),
                _ => 0,
            },
            What::Refuse | What::Cancel | What::Forgotten => 0,
        }
    }
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
