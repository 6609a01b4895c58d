//! What was sealed and is not acknowledged: what each record carried, by which path it went, and what became of it.
//!
//! ```text
//!   sealed --> begun --> left          how much of it the driver has taken
//!      \         |        /
//!       open ----+-------+----> acknowledged      an ACK names it
//!         \                         ^
//!          +----> lost -------------+             its path has ended, or an ACK has passed over it; a late ACK still counts
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::lane::{Lanes, PathId};
use super::ranges::Range;
use super::window::WIDTH;
use crate::time::Instant;
use crate::wire::frame::{PieceOf, Runs};

/// What one frame of a record carries that has to arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Content {
    pub(super) what: What,
    /// A query's.
    pub(super) number: u64,
    from: u32,
    to: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    Part(PieceOf),
    Refuse,
    Cancel,
    /// REPLY 3.
    Forgotten,
}

impl Content {
    pub(super) fn part(of: PieceOf, number: u64, part: Range) -> Self {
        let [from, to] =
            [part.from, part.to].map(|at| u32::try_from(at).expect("a message has at most 4,000,131 bytes"));
        Self { what: What::Part(of), number, from, to }
    }

    /// A frame that carries no part of a message.
    pub(super) fn word(what: What, number: u64) -> Self {
        Self { what, number, from: 0, to: 0 }
    }

    pub(super) fn range(self) -> Range {
        let [from, to] = [self.from, self.to].map(|at| usize::try_from(at).unwrap_or(usize::MAX));
        Range::new(from, to)
    }
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
    /// A PING alone: it may be sealed whatever waits.
    exempt: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Open,
    Acknowledged,
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leaving {
    Sealed,
    Begun,
    Left,
}

/// What came of an acknowledgement, or of the end of a path.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: Vec<Content>,
    /// What goes again, and whether that is since an acknowledgement has passed over it.
    pub(super) lost: Vec<Content>,
    /// By which path the newest record went that is acknowledged now, and how long ago.
    pub(super) sample: Option<(PathId, Duration)>,
}

impl Outcome {
    fn clear(&mut self) {
        self.acknowledged.clear();
        self.lost.clear();
        self.sample = None;
    }
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
    /// Counters that were left out lately.
    left_out: VecDeque<u64>,
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
    pub(super) fn sealed(&mut self, counter: u64, path: PathId, now: Instant) {
        let contents = core::mem::take(&mut self.unsealed);
        let first = self.forgotten + (self.contents.len() - usize::from(contents)) as u64;
        self.notes.push_back(Note {
            counter,
            path,
            since: now,
            first,
            contents,
            fate: Fate::Open,
            leaving: Leaving::Sealed,
            exempt: contents == 0,
        });
    }

    /// This counter is left out.
    pub(super) fn leave_out(&mut self, counter: u64) {
        self.left_out.push_back(counter);
        while self.left_out.front().is_some_and(|first| first.saturating_add(WIDTH) < counter) {
            self.left_out.pop_front();
        }
    }

    /// Whether a record with this counter may be sealed: it must not push one out of the peer's window that is still open.
    pub(super) fn has_room(&self, counter: u64) -> bool {
        let lowest = self.notes.iter().find(|note| note.fate == Fate::Open && !note.exempt);
        lowest.is_none_or(|note| counter < note.counter.saturating_add(WIDTH))
    }

    /// Whether everything that was sealed is settled.
    pub(super) fn all_settled(&self) -> bool {
        self.notes.iter().all(|note| note.fate != Fate::Open)
    }

    /// Whether a record is open that carries something, or asks something, by whichever path.
    pub(super) fn bytes(&self) -> usize {
        self.notes.len() * size_of::<Note>() + self.contents.len() * size_of::<Content>()
    }

    /// The first bytes of a record have left.
    pub(super) fn begun(&mut self, counter: u64) {
        if let Some(at) = self.find(counter)
            && self.notes[at].leaving == Leaving::Sealed
        {
            self.notes[at].leaving = Leaving::Begun;
        }
    }

    /// All of a record has left; gives back what it carried.
    pub(super) fn left(&mut self, counter: u64, now: Instant, lanes: &mut Lanes) -> impl Iterator<Item = Content> {
        let at = self.find(counter).filter(|&at| self.notes[at].leaving != Leaving::Left);
        let range = at.map_or(0..0, |at| {
            let note = &mut self.notes[at];
            note.leaving = Leaving::Left;
            note.since = now;
            if note.fate == Fate::Open
                && let Some(lane) = lanes.get_mut(note.path)
            {
                lane.left(now);
            }
            contents_of(note, self.forgotten)
        });
        self.contents.range(range).copied()
    }

    /// The parts of a message that are in records of which some bytes have left, and not all.
    pub(super) fn begun_parts(&self, of: PieceOf, number: u64) -> impl Iterator<Item = Range> {
        let begun = self.notes.iter().filter(|note| note.leaving == Leaving::Begun && note.fate == Fate::Open);
        let begun = begun.flat_map(|note| self.contents.range(contents_of(note, self.forgotten)));
        begun
            .filter(move |content| content.what == What::Part(of) && content.number == number)
            .map(|content| content.range())
    }

    /// A path has ended: what is open on it is lost.
    pub(super) fn path_ended(&mut self, path: PathId, lanes: &mut Lanes, outcome: &mut Outcome) {
        outcome.clear();
        self.lose(|note| note.path == path, lanes, outcome);
        self.forget_settled();
    }

    /// Records that carry parts of this message, of which no byte has left, are lost; gives back their counters and paths, to be withdrawn.
    pub(super) fn withdraw(
        &mut self,
        of: PieceOf,
        number: u64,
        lanes: &mut Lanes,
        outcome: &mut Outcome,
    ) -> Vec<(PathId, u64)> {
        outcome.clear();
        let mut withdrawn = Vec::new();
        for note in &self.notes {
            let unsent = note.fate == Fate::Open && note.leaving == Leaving::Sealed;
            let is_of = |content: &Content| content.what == What::Part(of) && content.number == number;
            if unsent && self.contents.range(contents_of(note, self.forgotten)).any(is_of) {
                withdrawn.push((note.path, note.counter));
            }
        }
        self.lose(|note| withdrawn.iter().any(|&(_, counter)| counter == note.counter), lanes, outcome);
        withdrawn
    }

    fn lose(&mut self, is_lost: impl Fn(&Note) -> bool, lanes: &mut Lanes, outcome: &mut Outcome) {
        for note in &mut self.notes {
            if note.fate == Fate::Open && is_lost(note) {
                note.fate = Fate::Lost;
                if note.leaving == Leaving::Left
                    && let Some(lane) = lanes.get_mut(note.path)
                {
                    lane.settled();
                }
                outcome.lost.extend(self.contents.range(contents_of(note, self.forgotten)));
            }
        }
    }

    /// The peer has opened what an ACK names. On a stream, what was sealed before it and is not named is lost: an ACK that is full may
    /// just not have had room for it. `next` is the counter of the next record.
    pub(super) fn acknowledged(
        &mut self,
        ack: (u64, Runs<'_>),
        (now, delay): (Instant, Duration),
        next: u64,
        lanes: &mut Lanes,
        outcome: &mut Outcome,
    ) -> Result<(), NeverSent> {
        let (largest, runs) = ack;
        outcome.clear();
        let is_left_out =
            |&(low, high): &(u64, u64)| self.left_out.iter().any(|&counter| (low..=high).contains(&counter));
        if largest >= next || runs.ranges(largest).any(|range| is_left_out(&range)) {
            return Err(NeverSent);
        }
        let mut later: Vec<PathId> = Vec::new();
        let mut ranges = runs.ranges(largest).peekable();
        for note in self.notes.iter_mut().rev() {
            let contents = contents_of(note, self.forgotten);
            while ranges.next_if(|&(low, _)| note.counter < low).is_some() {}
            let is_named = ranges.peek().is_some_and(|&(low, high)| (low..=high).contains(&note.counter));
            let may_be_left_out = runs.is_full() && ranges.peek().is_none();
            if is_named && note.fate != Fate::Acknowledged {
                if note.leaving != Leaving::Left {
                    // The driver has not said yet that it was written; the peer has it all the same.
                    note.leaving = Leaving::Left;
                } else if note.fate == Fate::Open
                    && let Some(lane) = lanes.get_mut(note.path)
                {
                    lane.acknowledged(now);
                }
                note.fate = Fate::Acknowledged;
                outcome.acknowledged.extend(self.contents.range(contents));
                if note.counter == largest {
                    outcome.sample = Some((note.path, now.saturating_since(note.since).saturating_sub(delay)));
                }
            } else if !is_named && note.fate == Fate::Open && !may_be_left_out && later.contains(&note.path) {
                note.fate = Fate::Lost;
                if note.leaving == Leaving::Left
                    && let Some(lane) = lanes.get_mut(note.path)
                {
                    lane.settled();
                }
                outcome.lost.extend(self.contents.range(contents));
            }
            if is_named && !later.contains(&note.path) {
                later.push(note.path);
            }
        }
        self.forget_settled();
        Ok(())
    }

    /// What is acknowledged is forgotten in order; what is lost, once no acknowledgement of it can come any more.
    fn forget_settled(&mut self) {
        let newest = self.notes.back().map_or(0, |note| note.counter);
        while let Some(note) = self.notes.front() {
            let is_over = match note.fate {
                Fate::Open => false,
                Fate::Acknowledged => true,
                Fate::Lost => note.counter.saturating_add(WIDTH) <= newest,
            };
            if !is_over {
                break;
            }
            self.contents.drain(..usize::from(note.contents));
            self.forgotten += u64::from(note.contents);
            self.notes.pop_front();
        }
        if self.notes.is_empty() && self.notes.capacity() > 64 {
            self.notes = VecDeque::new();
            self.contents.shrink_to_fit();
        }
    }

    fn find(&self, counter: u64) -> Option<usize> {
        let at = self.notes.partition_point(|note| note.counter < counter);
        self.notes.get(at).filter(|note| note.counter == counter).map(|_| at)
    }

    pub(super) fn check(&self) {
        let carried: usize = self.notes.iter().map(|note| usize::from(note.contents)).sum();
        debug_assert_eq!(carried + usize::from(self.unsealed), self.contents.len(), "every content is some record's");
        debug_assert!(self.notes.iter().zip(self.notes.iter().skip(1)).all(|(a, b)| a.counter < b.counter));
    }
}

/// Where the contents of a record are, when so many of all are forgotten.
fn contents_of(note: &Note, forgotten: u64) -> core::ops::Range<usize> {
    let from = usize::try_from(note.first.saturating_sub(forgotten)).unwrap_or(usize::MAX);
    from..from + usize::from(note.contents)
}
