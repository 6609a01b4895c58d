//! From what waits to a sealed packet.

use alloc::vec::Vec;

use super::answering::{Answered, Entry};
use super::asking::Asked;
use super::lane::PathId;
use super::outgoing::{Outgoing, PIECE};
use super::queue::{Row, Thing, Waiting};
use super::ranges::Range;
use super::records::{Content, Extras, What};
use super::{Introduction, Session};
use crate::admission::Account;
use crate::time::Instant;
use crate::wire::code::{BreakCode, ReplyCode};
use crate::wire::frame::{
    Frame, PIECE_OVERHEAD, PieceOf, REFUSE_LEN, REPLY_OVERHEAD, RunsBuffer, put_piece, put_query, put_reply,
};
use crate::wire::packet::SEALED_HEADER;

/// A message is cut in so many pieces, and in more only if some of them were cut otherwise before.
const MOST_PIECES: usize = 1_024;

/// One record is being put together.
struct Draft<'a> {
    out: &'a mut Vec<u8>,
    /// Where what waits begins in it, and where that may end.
    start: usize,
    end: usize,
    /// How much of a long message it may hold; once there is as much in it, it is full.
    piece: usize,
}

impl Draft<'_> {
    fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }

    fn is_empty(&self) -> bool {
        self.out.len() == self.start
    }

    fn is_full(&self) -> bool {
        self.room() < REFUSE_LEN || self.out.len() >= self.start + self.piece
    }
}

/// There was no room in the record for something that was to be put into it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Full;

impl Session {
    /// Seals the next record for a path, if there is anything to say on it, and appends it to `out`. Gives back its counter.
    ///
    /// Messages and words go only by the path that is the `main` one at this moment; acknowledgements where they are waited for. `leave_out`
    /// leaves a counter out before it, so that whoever acknowledges what it did not get betrays itself.
    pub(crate) fn seal(
        &mut self,
        now: Instant,
        path: PathId,
        main: bool,
        leave_out: bool,
        account: &mut Account<'_>,
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let lane = self.lanes.get(path)?;
        let (heard, room, piece, mut pings) = (lane.is_heard(), lane.room(), lane.piece(), lane.wants_ping());
        let speaks = main && heard && self.queue.has_next(account.has_place_for_long());
        let speaks = speaks && self.records.has_room(self.sealer.counter().saturating_add(u64::from(leave_out)));
        let introduces = main && heard && self.introduction == Introduction::Owed;
        let acknowledges = heard && self.acknowledges_on(now, path, main);
        if !(pings || speaks || introduces || acknowledges) {
            return None;
        }
        let start = out.len();
        out.resize(start + SEALED_HEADER, 0);
        let ack = heard && self.receipt.is_owed();
        if ack {
            self.put_ack(now, out);
        }
        if speaks {
            let (start, end) = (out.len(), out.len() + room + PIECE_OVERHEAD);
            self.compose(now, account, &mut Draft { out, start, end, piece });
        }
        pings |= introduces && self.records.carried() == 0;
        if pings {
            Frame::Ping.put(out);
        }
        let asks = pings || self.records.carried() > 0;
        if !asks && !acknowledges {
            out.truncate(start);
            return None;
        }
        if leave_out {
            self.records.leave_out(self.sealer.counter());
            self.sealer.skip();
        }
        let Ok(counter) = self.sealer.seal(self.peer_id, out, start) else {
            // Every counter is used: another session has taken over long ago.
            out.truncate(start);
            return None;
        };
        self.note_sealed(now, path, counter, asks, Extras { ping: pings, ack });
        Some(counter)
    }

    fn note_sealed(&mut self, now: Instant, path: PathId, counter: u64, asks: bool, extras: Extras) {
        if asks {
            self.records.sealed(counter, path, extras, now);
            if self.introduction == Introduction::Owed {
                self.introduction = Introduction::Sealed;
            }
        }
        if extras.ack {
            self.receipt.sealed(path);
        }
        if let Some(lane) = self.lanes.get_mut(path).filter(|_| extras.ping) {
            lane.pinged(now);
        }
    }

    /// Whether an acknowledgement is to go by this path in a record of its own: it goes where its newest record came, while that is open.
    fn acknowledges_on(&self, now: Instant, path: PathId, main: bool) -> bool {
        let Some((due, wanted)) = self.receipt.due() else { return false };
        due <= now && (wanted == path || main && self.lanes.get(wanted).is_none())
    }

    /// Seals the end of the session for one path: which of the peer's numbers were taken, once and for all.
    pub(crate) fn seal_end(&mut self, code: BreakCode, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + SEALED_HEADER, 0);
        let (base, taken) = self.answering.taken_bitmap();
        Frame::Break { code, base, taken: &taken }.put(out);
        if self.sealer.seal(self.peer_id, out, start).is_err() {
            out.truncate(start);
        }
    }

    fn put_ack(&mut self, now: Instant, out: &mut Vec<u8>) {
        let mut runs = RunsBuffer::new();
        if let Some(largest) = self.opener.opened(&mut runs) {
            Frame::Ack { largest, delay: self.receipt.delay(now), runs: runs.runs() }.put(out);
        }
    }

    /// Fills one record: words, then whole messages, or one piece of a longer one.
    fn compose(&mut self, now: Instant, account: &mut Account<'_>, draft: &mut Draft<'_>) {
        while !draft.is_full() && self.records.carried() < u16::MAX {
            let next =
                if draft.is_empty() { self.queue.take(account.has_place_for_long()) } else { self.queue.take_more() };
            let Some((row, waiting)) = next else { break };
            let put = match waiting.what {
                Thing::Query => self.put_query(row, waiting, account, draft),
                Thing::Reply => self.put_reply(row, waiting, account, draft),
                Thing::Refuse | Thing::Cancel | Thing::Forgotten => self.put_word(now, waiting, draft),
            };
            if put == Err(Full) {
                self.queue.put_back(row, waiting);
                break;
            }
        }
    }

    fn put_word(&mut self, now: Instant, waiting: Waiting, draft: &mut Draft<'_>) -> Result<(), Full> {
        let Waiting { number, strikes, .. } = waiting;
        let what = match (waiting.what, self.answering.get(number)) {
            (Thing::Refuse, Some(&Entry::Refused { code, wait, .. })) => {
                Frame::Refuse { number, code, wait }.put(draft.out);
                What::Refuse
            }
            (Thing::Forgotten, Some(Entry::Forgotten)) => {
                if draft.room() < REPLY_OVERHEAD {
                    return Err(Full);
                }
                put_reply(draft.out, number, ReplyCode::Forgotten, 0, 0);
                What::Forgotten
            }
            (Thing::Cancel, _) if self.asking.says_cancel(number, now) => {
                Frame::Cancel { number }.put(draft.out);
                What::Cancel
            }
            _ => return Ok(()),
        };
        self.records.carry(Content::word(what, number, strikes));
        Ok(())
    }

    fn put_query(
        &mut self,
        row: Row,
        waiting: Waiting,
        account: &mut Account<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), Full> {
        let number = waiting.number;
        let Some(asked) = self.asking.get_mut(number) else { return Ok(()) };
        let Asked { outgoing, notice, until, counts_as_long, .. } = asked;
        let Some(part) = next_part(row, outgoing, draft)? else { return Ok(()) };
        if part.from == 0 {
            put_query(draft.out, number, *notice, *until, outgoing.total(), part.len());
        } else {
            put_piece(draft.out, PieceOf::Query, number, outgoing.total(), part.from, part.len());
        }
        let strikes = put_part(outgoing, counts_as_long, part, account, draft);
        self.records.carry(Content::part(What::Part(PieceOf::Query), number, part, strikes));
        self.queue.line_up(outgoing, waiting);
        Ok(())
    }

    fn put_reply(
        &mut self,
        row: Row,
        waiting: Waiting,
        account: &mut Account<'_>,
        draft: &mut Draft<'_>,
    ) -> Result<(), Full> {
        let number = waiting.number;
        let Some(Entry::Answered(answered)) = self.answering.get_mut(number) else { return Ok(()) };
        let Answered { code, outgoing, counts_as_long, .. } = answered.as_mut();
        let Some(part) = next_part(row, outgoing, draft)? else { return Ok(()) };
        if part.from == 0 {
            put_reply(draft.out, number, *code, outgoing.total(), part.len());
        } else {
            put_piece(draft.out, PieceOf::Reply, number, outgoing.total(), part.from, part.len());
        }
        let what = if *code == ReplyCode::Answer { What::Part(PieceOf::Reply) } else { What::NoAnswer };
        let strikes = put_part(outgoing, counts_as_long, part, account, draft);
        self.records.carry(Content::part(what, number, part, strikes));
        self.queue.line_up(outgoing, waiting);
        Ok(())
    }
}

/// What goes of a message that stood in this row in the room that a record has left, if it waits still. Short messages are not cut unless
/// they are too long for any record on this path, and a piece of a long one has a record of its own.
fn next_part(row: Row, outgoing: &mut Outgoing, draft: &Draft<'_>) -> Result<Option<Range>, Full> {
    let waits = if row == Row::First { outgoing.has_lost() } else { outgoing.has_fresh() };
    let most = if outgoing.is_long() { draft.piece.max(outgoing.total().div_ceil(MOST_PIECES)) } else { PIECE };
    let room = draft.room().saturating_sub(PIECE_OVERHEAD).min(most);
    let part = outgoing.next_part(room);
    let is_cut = part.len() < outgoing.next_part(usize::MAX).len();
    if waits && !draft.is_empty() && (is_cut || outgoing.is_long()) {
        return Err(Full);
    }
    if row == Row::First {
        outgoing.queued_again = false;
    } else {
        outgoing.queued = false;
    }
    Ok(waits.then_some(part))
}

/// Puts a part of a message where its bytes go. A record holds one piece of a long message at most, so that others get in between. Says
/// how often the part was passed over before.
fn put_part(
    outgoing: &mut Outgoing,
    counts_as_long: &mut bool,
    part: Range,
    account: &mut Account<'_>,
    draft: &mut Draft<'_>,
) -> u8 {
    outgoing.message().put(part.from, part.len(), draft.out);
    if outgoing.is_long() {
        draft.end = draft.out.len();
        if !core::mem::replace(counts_as_long, true) {
            account.charge_long();
        }
    }
    outgoing.sealed(part)
}
