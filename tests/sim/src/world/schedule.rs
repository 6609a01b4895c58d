//! What happens when.

use std::collections::{BTreeMap, BTreeSet};

use egtp::Instant;

use super::NodeIndex;
use super::links::{End, Socket};
use crate::stranger::StrangerIndex;

/// Something that happens at an instant. The order is that in which things happen that are due at the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Due {
    /// It is decided what comes of a dial.
    Dial(Socket),
    /// Bytes, or the end of a stream, reach this end.
    Arrival(End),
    /// The directory answers the question of this number.
    Answer(u64),
    /// A stranger wanted to be woken.
    Wake(StrangerIndex),
    /// A node's deadline has come.
    Deadline(NodeIndex),
}

/// Everything that is due, each thing once.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    order: BTreeSet<(Instant, Due)>,
    when: BTreeMap<Due, Instant>,
}

impl Schedule {
    /// Moves something to an instant, or takes it out.
    pub(super) fn set(&mut self, due: Due, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.when.insert(due, at),
            None => self.when.remove(&due),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, due));
        }
        if let Some(at) = at {
            self.order.insert((at, due));
        }
    }

    /// When the next thing is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes out the first thing that is due by `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Due> {
        let &(_, due) = self.order.first().filter(|&&(at, _)| at <= now)?;
        self.set(due, None);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn things_happen_in_order_and_once() {
        let mut schedule = Schedule::default();
        schedule.set(Due::Answer(1), Some(at(20)));
        schedule.set(Due::Answer(2), Some(at(10)));
        schedule.set(Due::Answer(0), Some(at(20)));
        assert_eq!((schedule.next(), schedule.pop(at(9))), (Some(at(10)), None));
        let all: Vec<_> = std::iter::from_fn(|| schedule.pop(at(20))).collect();
        assert_eq!(all, [Due::Answer(2), Due::Answer(0), Due::Answer(1)]);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn what_is_set_again_moves() {
        let mut schedule = Schedule::default();
        schedule.set(Due::Answer(1), Some(at(10)));
        schedule.set(Due::Answer(1), Some(at(30)));
        assert_eq!((schedule.pop(at(29)), schedule.pop(at(30))), (None, Some(Due::Answer(1))));
        schedule.set(Due::Answer(1), Some(at(40)));
        schedule.set(Due::Answer(1), None);
        assert_eq!(schedule.next(), None);
    }
}
