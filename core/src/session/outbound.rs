//! From what waits to a sealed packet.

use alloc::vec::Vec;

use super::answering::{Answered, Entry};
use super::lane::PathId;
use super::outgoing::{Outgoing, PIECE};
use super::queue::{Row, Thing, Waiting};
use super::records::{Content, What};
use super::{Introduction, Session};
use crate::admission::Account;
use crate::time::Instant;
use crate::wire::code::{BreakCode, ReplyCode};
use crate::wire::frame::{Frame, PIECE_OVERHEAD, PieceOf, REFUSE_LEN, RunsBuffer, put_piece, put_query, put_reply};
use crate::wire::packet::SEALED_HEADER;

/// What a short record holds: with an ACK it is well within the 4,096 bytes of a packet that a stranger may send.
const SHORT: usize = 3_500;

/// Parts are not cut smaller than this to fill a record up.
const LEAST_PART: usize = 1_024;

/// One record is being put together.
struct Draft<'a> {
    out: &'a mut Vec<u8>,
    /// Where its plaintext may end.
    end: usize,
}

impl Draft<'_> {
    fn room(&self) -> usize {
        self.end.saturating_sub(self.out.len())
    }
}

/// What became of something that was to be put into a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Put {
    /// It is in, or no longer needed.
    Done,
    /// A part of it is in, and more waits.
    Part,
    /// There was no room.
    Full,
}

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
        let (heard, short, pings) = (lane.is_heard(), lane.is_short(), lane.wants_ping());
        let pings = pings || main && heard && self.introduction == Introduction::Owed && self.queue.is_empty();
        let speaks =
            main && heard && !self.queue.is_empty() && self.records.has_room(self.sealer.counter().saturating_add(1));
        let speaks = speaks && self.queue.has_next(account.has_place_for_long());
        let acknowledges = heard && self.acknowledges_on(now, path, main);
        if !(pings || speaks || acknowledges) {
            return None;
        }
        if leave_out {
            self.records.leave_out(self.sealer.counter());
            self.sealer.skip();
        }
        let start = out.len();
        out.resize(start + SEALED_HEADER, 0);
        if heard && self.receipt.is_owed() {
            self.put_ack(now, out);
        }
        if pings {
            Frame::Ping.put(out);
        }
        let mut said = pings;
        if speaks {
            let end = out.len() + if short { SHORT } else { PIECE + PIECE_OVERHEAD };
            self.compose(now, account, &mut Draft { out, end });
            said |= self.records.carried() > 0;
        }
        if !said && !acknowledges {
            out.truncate(start);
            return None;
        }
        let Ok(counter) = self.sealer.seal(self.peer_id, out, start) else {
            // Every counter is used: another session has taken over long ago.
            out.truncate(start);
            return None;
        };
        self.note_sealed(now, path, counter, said, pings);
        Some(counter)
    }

    fn note_sealed(&mut self, now: Instant, path: PathId, counter: u64, said: bool, pings: bool) {
        if said {
            self.records.sealed(counter, path, now);
            if self.introduction == Introduction::Owed {
                self.introduction = Introduction::Sealed;
            }
        }
        let Some(lane) = self.lanes.get_mut(path) else { return };
        if lane.is_heard() {
            self.receipt.sealed();
        }
        lane.sealed();
        if pings {
            lane.pinged(now);
        }
    }

    /// Whether an acknowledgement is to go by this path in a record of its own: it goes where its newest record came, while that is open.
    fn acknowledges_on(&self, now: Instant, path: PathId, main: bool) -> bool {
        let Some((due, wanted)) = self.receipt.due() else { return false };
        due <= now && (wanted == path || main && self.lanes.get(wanted).is_none())
    }

    /// Whether something waits to be said by the main path.
    pub(crate) fn has_to_say(&self, account: &Account<'_>) -> bool {
        self.queue.has_next(account.has_place_for_long()) || self.introduction == Introduction::Owed
    }

    /// Seals the end of the session for one path: which of the peer's numbers were taken, once and for all.
    pub(crate) fn seal_end(&mut self, code: BreakCode, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.resize(start + SEALED_HEADER, 0);
        let (base, taken) = self.answering.taken_bitmap();
        Frame::Break { code, base, taken: &taken }.put(out);
        let sealed = self.sealer.seal(self.peer_id, out, start).is_ok();
        if !sealed {
            out.truncate(start);
        }
        sealed
    }

    fn put_ack(&mut self, now: Instant, out: &mut Vec<u8>) {
        let mut runs = RunsBuffer::new();
        if let Some(largest) = self.opener.opened(&mut runs) {
            Frame::Ack { largest, delay: self.receipt.delay(now), runs: runs.runs() }.put(out);
        }
    }

    /// Fills one record: words, then whole messages, or one piece of a longer one.
    fn compose(&mut self, now: Instant, account: &mut Account<'_>, draft: &mut Draft<'_>) {
        while draft.room() >= REFUSE_LEN && self.records.carried() < u16::MAX {
            let Some((row, waiting)) = self.queue.take(account.has_place_for_long()) else { break };
            match self.put(now, waiting, account, draft) {
                Put::Done => {}
                Put::Part => {
                    self.wait_again(row, waiting);
                    break;
                }
                Put::Full => {
                    self.queue.put_back(row, waiting);
                    break;
                }
            }
        }
    }

    /// More of a message waits: what was lost of it first, then among the others.
    fn wait_again(&mut self, row: Row, waiting: Waiting) {
        let Some(outgoing) = self.outgoing(waiting) else { return };
        outgoing.queued = true;
        let next = if outgoing.has_lost() && row == Row::First {
            Row::First
        } else if outgoing.is_long() {
            Row::Pieces
        } else {
            return self.queue.put_back(Row::Short, waiting);
        };
        self.queue.push(next, waiting);
    }

    fn outgoing(&mut self, waiting: Waiting) -> Option<&mut Outgoing> {
        match waiting.what {
            Thing::Query => self.asking.get_mut(waiting.number).map(|asked| &mut asked.outgoing),
            Thing::Reply => match self.answering.get_mut(waiting.number) {
                Some(Entry::Answered(answered)) => Some(&mut answered.outgoing),
                _ => None,
            },
            Thing::Refuse | Thing::Cancel | Thing::Forgotten => None,
        }
    }

    fn put(&mut self, now: Instant, waiting: Waiting, account: &mut Account<'_>, draft: &mut Draft<'_>) -> Put {
        let number = waiting.number;
        match waiting.what {
            Thing::Query => self.put_query(number, account, draft),
            Thing::Reply => self.put_reply(number, account, draft),
            Thing::Refuse => {
                if let Some(&Entry::Refused { code, wait, .. }) = self.answering.get(number) {
                    Frame::Refuse { number, code, wait }.put(draft.out);
                    self.records.carry(Content::word(What::Refuse, number));
                }
                Put::Done
            }
            Thing::Cancel => {
                if self.asking.is_to_be_cancelled(number, now) {
                    Frame::Cancel { number }.put(draft.out);
                    self.records.carry(Content::word(What::Cancel, number));
                }
                Put::Done
            }
            Thing::Forgotten => {
                if let Some(Entry::Forgotten { .. }) = self.answering.get(number) {
                    if draft.room() < PIECE_OVERHEAD {
                        return Put::Full;
                    }
                    put_reply(draft.out, number, ReplyCode::Forgotten, 0, 0);
                    self.records.carry(Content::word(What::Forgotten, number));
                }
                Put::Done
            }
        }
    }

    fn put_query(&mut self, number: u64, account: &mut Account<'_>, draft: &mut Draft<'_>) -> Put {
        let Some(asked) = self.asking.get_mut(number) else { return Put::Done };
        let Some(part) = next_part(&asked.outgoing, false, draft) else { return Put::Full };
        if part.is_empty() {
            asked.outgoing.queued = false;
            return Put::Done;
        }
        let total = asked.outgoing.total();
        if part.from == 0 {
            put_query(draft.out, number, asked.notice, asked.until, total, part.len());
        } else {
            put_piece(draft.out, PieceOf::Query, number, total, part.from, part.len());
        }
        put_part(&mut asked.outgoing, part, draft);
        let begins = asked.outgoing.is_long() && !asked.counts_as_long && !asked.outgoing.is_acknowledged();
        if begins {
            asked.counts_as_long = true;
            account.charge_long();
        }
        let put = after_part(&mut asked.outgoing, draft);
        self.records.carry(Content::part(PieceOf::Query, number, part));
        put
    }

    fn put_reply(&mut self, number: u64, account: &mut Account<'_>, draft: &mut Draft<'_>) -> Put {
        let Some(Entry::Answered(answered)) = self.answering.get_mut(number) else { return Put::Done };
        let Answered { code, outgoing, counts_as_long, .. } = answered;
        let Some(part) = next_part(outgoing, *code != ReplyCode::Answer, draft) else { return Put::Full };
        if part.is_empty() {
            outgoing.queued = false;
            return Put::Done;
        }
        if part.from == 0 {
            put_reply(draft.out, number, *code, outgoing.total(), part.len());
        } else {
            put_piece(draft.out, PieceOf::Reply, number, outgoing.total(), part.from, part.len());
        }
        put_part(outgoing, part, draft);
        if outgoing.is_long() && !*counts_as_long {
            *counts_as_long = true;
            account.charge_long();
        }
        let put = after_part(outgoing, draft);
        self.records.carry(Content::part(PieceOf::Reply, number, part));
        put
    }
}

/// What goes of a message in the room that a record has left; `None` if it had better wait for the next record. Short messages are not cut
/// unless they are too long for any record on this path; some never are.
fn next_part(outgoing: &Outgoing, whole: bool, draft: &Draft<'_>) -> Option<super::ranges::Range> {
    let room = draft.room().saturating_sub(PIECE_OVERHEAD).min(PIECE);
    let part = outgoing.next_part(room);
    let all = outgoing.next_part(usize::MAX).len();
    let is_cut = part.len() < all;
    let is_empty_record = draft.room() >= SHORT;
    let may_be_cut = !whole && (is_empty_record || outgoing.is_long() && room >= LEAST_PART);
    if is_cut && !may_be_cut { None } else { Some(part) }
}

fn put_part(outgoing: &mut Outgoing, part: super::ranges::Range, draft: &mut Draft<'_>) {
    outgoing.message().put(part.from, part.len(), draft.out);
    outgoing.sealed(part);
}

/// After a piece of a long message a record is full, so that others get in between.
fn after_part(outgoing: &mut Outgoing, draft: &mut Draft<'_>) -> Put {
    let waits = !outgoing.next_part(1).is_empty();
    outgoing.queued = waits;
    if outgoing.is_long() {
        draft.end = draft.out.len();
    }
    if waits { Put::Part } else { Put::Done }
}
