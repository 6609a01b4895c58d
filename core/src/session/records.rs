//! What was sealed and is not acknowledged: what each record carried, by which path it went, and what became of it.
//!
//! ```text
//!   sealed --> begun --> left          how much of it the driver has taken
//!      \         |        /
//!       open ----+-------+----> acknowledged      an ACK names it
//!         \                         ^
//!          +----> lost -------------+             its path has ended, or an ACK has passed over it; a late ACK still counts
//!           \
//!            +--> withdrawn                       no byte of it has left, and none will
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::lane::{Lanes, PathId};
use super::ranges::Range;
use super::window::WIDTH;
use crate::time::Instant;
use crate::wire::frame::{PieceOf, Runs};

/// So many things in records that are lost are remembered, in case that a late acknowledgement names them.
const MOST_LOST: usize = 4096;

/// What one frame of a record carries that has to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) what: What,
    /// A query's.
    pub(super) number: u64,
    from: u32,
    to: u32,
    /// How often acknowledgements have passed over it, in this record and in those that it repeats.
    pub(super) strikes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Part(PieceOf),
    /// REPLY 1 or 2, whole.
    NoAnswer,
    Refuse,
    Cancel,
    /// REPLY 3.
    Forgotten,
}

impl Content {
    pub(super) fn part(what: What, number: u64, part: Range, strikes: u8) -> Self {
        let place = |at| u32::try_from(at).expect("a message has at most 4,000,131 bytes");
        Self { what, number, from: place(part.from), to: place(part.to), strikes }
    }

    /// A frame that carries no part of a message.
    pub(super) fn word(what: What, number: u64, strikes: u8) -> Self {
        Self { what, number, from: 0, to: 0, strikes }
    }

    pub(super) fn range(self) -> Range {
        let [from, to] = [self.from, self.to].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        Range::new(from, to)
    }
}

/// What a record holds besides what it carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extras {
    pub(super) ping: bool,
    pub(super) ack: bool,
}

#[derive(Clone, Debug)]
struct Note {
    counter: u64,
    path: PathId,
    /// When it was sealed, and once it has left, when that was.
    since: Instant,
    /// Which of all contents ever carried is its first, and how many there are.
    first: u64,
    contents: u16,
    fate: Fate,
    leaving: Leaving,
    extras: Extras,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Open,
    Acknowledged,
    Lost,
    Withdrawn,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    Sealed,
    Begun,
    Left,
}

impl Note {
    /// A PING alone: it may be sealed whatever waits.
    fn is_exempt(&self) -> bool {
        self.contents == 0
    }

    /// Is settled: its path waits for it no more.
    fn settle(&mut self, fate: Fate, lanes: &mut Lanes) {
        if self.fate == Fate::Open
            && let Some(lane) = lanes.get_mut(self.path)
        {
            lane.settled(self.leaving != Leaving::Sealed, self.leaving == Leaving::Left);
        }
        self.fate = fate;
    }

    /// The peer has opened it, whether or not the driver has said yet that it was written.
    fn arrived(&mut self, ack: &Acknowledgement<'_>, lanes: &mut Lanes, outcome: &mut Outcome) {
        if self.counter == ack.largest && self.leaving == Leaving::Left {
            let taken = ack.delay.and_then(|delay| ack.now.saturating_since(self.since).checked_sub(delay));
            outcome.sample = taken.map(|taken| (self.path, taken));
        }
        if self.fate == Fate::Open
            && let Some(lane) = lanes.get_mut(self.path)
        {
            lane.answered(ack.now);
        }
        self.settle(Fate::Acknowledged, lanes);
        self.leaving = Leaving::Left;
    }

    /// Where its contents are, when so many of all are forgotten.
    fn contents(&self, forgotten: u64) -> core::ops::Range<usize> {
        let from = usize::try_from(self.first.saturating_sub(forgotten)).unwrap_or(usize::MAX);
        from..from + usize::from(self.contents)
    }
}

/// What came of an acknowledgement, of the end of a path, or of a withdrawal.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: Vec<Content>,
    /// What goes again.
    pub(super) lost: Vec<Content>,
    /// By which path the newest record went that is acknowledged now, and how long ago.
    pub(super) sample: Option<(PathId, Duration)>,
    /// Where an acknowledgement was to go that does not leave.
    pub(super) unsaid: Option<PathId>,
    /// Paths by which something that an acknowledgement names has gone.
    later: Vec<PathId>,
}

impl Outcome {
    fn clear(&mut self) {
        self.acknowledged.clear();
        self.lost.clear();
        self.sample = None;
        self.unsaid = None;
        self.later.clear();
    }
}

/// An ACK that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledgement<'a> {
    pub(super) largest: u64,
    /// How long it has waited, if it is not too long to be told.
    pub(super) delay: Option<Duration>,
    pub(super) runs: Runs<'a>,
    pub(super) now: Instant,
    /// The counter of the next record.
    pub(super) next: u64,
}

/// The records of one direction that are not settled.
#[derive(Debug, Default)]
pub(super) struct Records {
    notes: VecDeque<Note>,
    contents: VecDeque<Content>,
    /// How many contents are forgotten.
    forgotten: u64,
    /// Contents of the record that is being put together.
    unsealed: u16,
    /// Counters of which no record has left or will, as far as the peer's window reaches.
    left_out: Vec<u64>,
}

/// The peer acknowledges what it was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NeverSent;

impl Records {
    /// Notes what the record that is being put together carries.
    pub(super) fn carry(&mut self, content: Content) {
        self.contents.push_back(content);
        self.unsealed = self.unsealed.saturating_add(1);
    }

    /// How many things the record that is being put together carries.
    pub(super) fn carried(&self) -> u16 {
        self.unsealed
    }

    /// It is sealed, under this counter.
    pub(super) fn sealed(&mut self, counter: u64, path: PathId, extras: Extras, now: Instant) {
        let contents = core::mem::take(&mut self.unsealed);
        let first = self.forgotten + (self.contents.len() - usize::from(contents)) as u64;
        let (fate, leaving) = (Fate::Open, Leaving::Sealed);
        self.notes.push_back(Note { counter, path, since: now, first, contents, fate, leaving, extras });
    }

    /// This counter is left out.
    pub(super) fn leave_out(&mut self, counter: u64) {
        self.left_out.retain(|before| before.saturating_add(WIDTH) > counter);
        self.left_out.push(counter);
    }

    /// Counters that were sealed, and are left out after all.
    fn leave_out_all(&mut self, withdrawn: &[(PathId, u64)]) {
        let newest = self.notes.back().map_or(0, |note| note.counter);
        self.left_out.retain(|before| before.saturating_add(WIDTH) > newest);
        self.left_out.extend(withdrawn.iter().map(|&(_, counter)| counter));
    }

    /// Whether a record with this counter may be sealed: it must not push one out of the peer's window that is still open.
    pub(super) fn has_room(&self, counter: u64) -> bool {
        let lowest = self.notes.iter().find(|note| note.fate == Fate::Open && !note.is_exempt());
        lowest.is_none_or(|note| counter < note.counter.saturating_add(WIDTH))
    }

    /// Whether everything that was sealed is settled.
    pub(super) fn all_settled(&self) -> bool {
        self.notes.iter().all(|note| note.fate != Fate::Open)
    }

    /// The first bytes of a record have left.
    pub(super) fn begun(&mut self, counter: u64, now: Instant, lanes: &mut Lanes) {
        if let Some(note) = self.find(counter).and_then(|at| self.notes.get_mut(at))
            && note.leaving == Leaving::Sealed
        {
            note.leaving = Leaving::Begun;
            if let Some(lane) = lanes.get_mut(note.path) {
                lane.begun(note.fate == Fate::Open, now);
            }
        }
    }

    /// All of a record has left; gives back what it carried.
    pub(super) fn left(&mut self, counter: u64, now: Instant, lanes: &mut Lanes) -> impl Iterator<Item = Content> {
        self.begun(counter, now, lanes);
        let mut contents = 0..0;
        if let Some(note) = self.find(counter).and_then(|at| self.notes.get_mut(at))
            && note.leaving == Leaving::Begun
        {
            note.leaving = Leaving::Left;
            note.since = now;
            if let Some(lane) = lanes.get_mut(note.path).filter(|_| note.fate == Fate::Open) {
                lane.left(now);
            }
            contents = note.contents(self.forgotten);
        }
        self.contents.range(contents).copied()
    }

    /// The parts of a message that are in records of which some bytes have left, and not all.
    pub(super) fn begun_parts(&self, of: PieceOf, number: u64) -> impl Iterator<Item = Range> {
        let begun = self.notes.iter().filter(|note| note.leaving == Leaving::Begun);
        let begun = begun.flat_map(|note| self.contents.range(note.contents(self.forgotten)));
        begun
            .filter(move |content| content.what == What::Part(of) && content.number == number)
            .map(|content| content.range())
    }

    /// A path has ended: what is open on it is lost, and what has not left whole never will.
    pub(super) fn path_ended(&mut self, path: PathId, lanes: &mut Lanes, outcome: &mut Outcome) {
        self.lose_all(path, lanes, outcome);
        for note in self.notes.iter_mut().filter(|note| note.path == path && note.leaving == Leaving::Begun) {
            note.leaving = Leaving::Sealed;
        }
        self.trim();
    }

    /// What is open on a path is lost.
    pub(super) fn lose_all(&mut self, path: PathId, lanes: &mut Lanes, outcome: &mut Outcome) {
        outcome.clear();
        for note in self.notes.iter_mut().filter(|note| note.fate == Fate::Open && note.path == path) {
            note.settle(Fate::Lost, lanes);
            outcome.lost.extend(self.contents.range(note.contents(self.forgotten)));
        }
    }

    /// Records that carry parts of this message, of which no byte has left, never leave; gives back their counters and paths.
    pub(super) fn withdraw(
        &mut self,
        of: PieceOf,
        number: u64,
        lanes: &mut Lanes,
        outcome: &mut Outcome,
    ) -> Vec<(PathId, u64)> {
        outcome.clear();
        let mut withdrawn = Vec::new();
        let is_of = |content: &Content| content.what == What::Part(of) && content.number == number;
        for note in self.notes.iter_mut().filter(|note| note.fate == Fate::Open && note.leaving == Leaving::Sealed) {
            let contents = note.contents(self.forgotten);
            if !self.contents.range(contents.clone()).any(is_of) {
                continue;
            }
            withdrawn.push((note.path, note.counter));
            note.settle(Fate::Withdrawn, lanes);
            outcome.lost.extend(self.contents.range(contents));
            if note.extras.ack {
                outcome.unsaid = Some(note.path);
            }
            if let Some(lane) = lanes.get_mut(note.path).filter(|_| note.extras.ping) {
                lane.ask_again();
            }
        }
        self.leave_out_all(&withdrawn);
        withdrawn
    }

    /// The peer has opened what an ACK names. On a stream, what went before that and is not named is lost.
    pub(super) fn acknowledged(
        &mut self,
        ack: Acknowledgement<'_>,
        lanes: &mut Lanes,
        outcome: &mut Outcome,
    ) -> Result<(), NeverSent> {
        outcome.clear();
        let never_left = |(low, high)| self.left_out.iter().any(|counter| (low..=high).contains(counter));
        if ack.largest >= ack.next || ack.runs.ranges(ack.largest).any(never_left) {
            return Err(NeverSent);
        }
        let mut ranges = ack.runs.ranges(ack.largest).peekable();
        for note in self.notes.iter_mut().rev() {
            while ranges.next_if(|&(low, _)| note.counter < low).is_some() {}
            let is_named = ranges.peek().is_some_and(|&(low, high)| (low..=high).contains(&note.counter));
            let contents = note.contents(self.forgotten);
            if is_named {
                if !outcome.later.contains(&note.path) {
                    outcome.later.push(note.path);
                }
                if note.fate != Fate::Acknowledged {
                    note.arrived(&ack, lanes, outcome);
                    outcome.acknowledged.extend(self.contents.range(contents));
                }
            } else if note.fate == Fate::Open && outcome.later.contains(&note.path) {
                // A full ACK may just not have had room for it. But it is not left hanging for ever.
                let may_be_left_out = ack.runs.is_full() && ranges.peek().is_none();
                if may_be_left_out && lanes.get(note.path).is_some_and(|lane| lane.is_patient(note.since, ack.now)) {
                    continue;
                }
                note.settle(Fate::Lost, lanes);
                if let Some(lane) = lanes.get_mut(note.path).filter(|_| note.extras.ping) {
                    lane.is_answered();
                }
                let strike = !ack.runs.is_full() && note.counter.saturating_add(WIDTH) > ack.largest;
                outcome.lost.extend(struck(self.contents.range(contents), strike));
            }
        }
        Ok(())
    }

    /// What is acknowledged is forgotten in order; what is lost, once no acknowledgement of it can come any more, or `all` once nothing
    /// that a late one could cancel waits.
    pub(super) fn forget_settled(&mut self, next: u64, all: bool) {
        let all = all && self.all_settled();
        while let Some(note) = self.notes.front() {
            let is_over = match note.fate {
                Fate::Open => false,
                Fate::Acknowledged | Fate::Withdrawn => true,
                Fate::Lost => all || note.counter.saturating_add(WIDTH) < next,
            };
            if !is_over {
                break;
            }
            self.contents.drain(..usize::from(note.contents));
            self.forgotten += u64::from(note.contents);
            self.notes.pop_front();
        }
    }

    /// While no record is remembered, no memory is held for any.
    pub(super) fn rest(&mut self) {
        if self.notes.is_empty() {
            (self.notes, self.contents) = Default::default();
        }
    }

    /// Forgets what is settled if that is much: whoever ends path after path is not to fill the memory.
    fn trim(&mut self) {
        if self.contents.len() <= MOST_LOST {
            return;
        }
        let (notes, mut contents) = (core::mem::take(&mut self.notes), core::mem::take(&mut self.contents));
        for mut note in notes {
            let carried = contents.drain(..usize::from(note.contents));
            if note.fate == Fate::Open {
                note.first = self.contents.len() as u64;
                self.contents.extend(carried);
                self.notes.push_back(note);
            }
        }
        self.forgotten = 0;
    }

    fn find(&self, counter: u64) -> Option<usize> {
        let at = self.notes.partition_point(|note| note.counter < counter);
        self.notes.get(at).filter(|note| note.counter == counter).map(|_| at)
    }

    pub(super) fn check(&self, lanes: &Lanes) {
        let carried: usize = self.notes.iter().map(|note| usize::from(note.contents)).sum();
        debug_assert_eq!(carried + usize::from(self.unsealed), self.contents.len(), "every content is some record's");
        debug_assert!(self.notes.iter().zip(self.notes.iter().skip(1)).all(|(a, b)| a.counter < b.counter));
        for lane in lanes.iter() {
            let open = self.notes.iter().filter(|note| note.path == lane.path() && note.fate == Fate::Open);
            let begun = open.clone().filter(|note| note.leaving != Leaving::Sealed).count();
            lane.check(begun, open.filter(|note| note.leaving == Leaving::Left).count());
        }
    }
}

/// What a record carried that was passed over: all of it takes the most strikes that any of it had, and perhaps one more.
fn struck<'a>(contents: impl Iterator<Item = &'a Content> + Clone, strike: bool) -> impl Iterator<Item = Content> {
    let most = contents.clone().map(|content| content.strikes).max().unwrap_or(0);
    contents.map(move |content| Content { strikes: most.saturating_add(u8::from(strike)), ..*content })
}
