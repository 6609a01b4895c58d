//! What waits to be sealed in one session, in which order.

use alloc::collections::VecDeque;
use core::mem::replace;

use super::outgoing::Outgoing;

/// Something that waits to be sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Waiting {
    pub(super) what: Thing,
    /// A query's.
    pub(super) number: u64,
    /// How often acknowledgements have passed over it, if it is in one word.
    pub(super) strikes: u8,
}

impl Waiting {
    pub(super) fn new(what: Thing, number: u64) -> Self {
        Self { what, number, strikes: 0 }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Thing {
    Query,
    Reply,
    Refuse,
    Cancel,
    /// REPLY 3.
    Forgotten,
}

/// Four rows. What is in few words, and what was lost, goes before everything; short messages and pieces of long ones take turns, and each
/// long message that is under way has its turn. A message of which something was lost, and something was never sealed, stands in two.
#[derive(Debug, Default)]
pub(super) struct Queue {
    first: VecDeque<Waiting>,
    short: VecDeque<Waiting>,
    /// Long messages of which nothing has gone.
    long: VecDeque<Waiting>,
    /// Long messages of which something has.
    pieces: VecDeque<Waiting>,
    pieces_next: bool,
}

/// From which row something was taken, and so where it goes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Row {
    First,
    Short,
    Long,
    Pieces,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.short.is_empty() && self.long.is_empty() && self.pieces.is_empty()
    }

    pub(super) fn push(&mut self, row: Row, waiting: Waiting) {
        self.row(row).push_back(waiting);
    }

    /// It was taken and did not fit.
    pub(super) fn put_back(&mut self, row: Row, waiting: Waiting) {
        self.row(row).push_front(waiting);
    }

    /// A message stands in each row that it has to stand in, and no more than once.
    pub(super) fn line_up(&mut self, outgoing: &mut Outgoing, waiting: Waiting) {
        if outgoing.has_lost() && !replace(&mut outgoing.queued_again, true) {
            self.first.push_back(waiting);
        }
        if outgoing.has_fresh() && !replace(&mut outgoing.queued, true) {
            match (outgoing.is_long(), outgoing.is_untouched()) {
                (true, true) => self.long.push_back(waiting),
                (true, false) => self.pieces.push_back(waiting),
                (false, true) => self.short.push_back(waiting),
                (false, false) => self.short.push_front(waiting),
            }
        }
    }

    /// Nothing waits, and no memory is held for it.
    pub(super) fn rest(&mut self) {
        debug_assert!(self.is_empty());
        *self = Self { pieces_next: self.pieces_next, ..Self::default() };
    }

    /// Whether something may be taken, if a long message may begin or not.
    pub(super) fn has_next(&self, may_begin_long: bool) -> bool {
        self.next_row(may_begin_long).is_some()
    }

    /// Takes what begins a record.
    pub(super) fn take(&mut self, may_begin_long: bool) -> Option<(Row, Waiting)> {
        self.take_from(self.next_row(may_begin_long)?)
    }

    /// Takes what goes on in a record that something is in: no piece of a long message does, for nothing that is in few bytes is to arrive
    /// only with the last byte of many.
    pub(super) fn take_more(&mut self) -> Option<(Row, Waiting)> {
        self.take_from(if self.first.is_empty() { Row::Short } else { Row::First })
    }

    fn take_from(&mut self, row: Row) -> Option<(Row, Waiting)> {
        let waiting = self.row(row).pop_front()?;
        if row != Row::First {
            self.pieces_next = row == Row::Short;
        }
        Some((row, waiting))
    }

    fn next_row(&self, may_begin_long: bool) -> Option<Row> {
        if !self.first.is_empty() {
            return Some(Row::First);
        }
        let begins = may_begin_long && !self.long.is_empty();
        let long = if begins { Some(Row::Long) } else { (!self.pieces.is_empty()).then_some(Row::Pieces) };
        let short = (!self.short.is_empty()).then_some(Row::Short);
        if self.pieces_next { long.or(short) } else { short.or(long) }
    }

    fn row(&mut self, row: Row) -> &mut VecDeque<Waiting> {
        match row {
            Row::First => &mut self.first,
            Row::Short => &mut self.short,
            Row::Long => &mut self.long,
            Row::Pieces => &mut self.pieces,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(number: u64) -> Waiting {
        Waiting::new(Thing::Query, number)
    }

    #[test]
    fn short_messages_and_pieces_take_turns_and_each_long_message_has_its_turn() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push(Row::Short, query(number));
            queue.push(Row::Long, query(10 + number));
        }
        let mut order = alloc::vec::Vec::new();
        for _ in 0..8 {
            let (row, waiting) = queue.take(true).unwrap();
            order.push(waiting.number);
            if row != Row::Short {
                queue.push(Row::Pieces, waiting);
            }
        }
        assert_eq!(order, [0, 10, 1, 11, 2, 12, 10, 11]);
    }

    #[test]
    fn short_messages_go_together_and_pieces_alone() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push(Row::Short, query(number));
        }
        queue.push(Row::Pieces, query(10));
        assert_eq!(queue.take(true), Some((Row::Short, query(0))));
        assert_eq!(queue.take_more(), Some((Row::Short, query(1))));
        assert_eq!(queue.take(true), Some((Row::Pieces, query(10))), "it is its turn after a record");
        queue.push(Row::Pieces, query(10));
        assert_eq!(queue.take(true), Some((Row::Short, query(2))));
        assert_eq!(queue.take_more(), None);
    }

    #[test]
    fn no_long_message_begins_while_none_may() {
        let mut queue = Queue::default();
        queue.push(Row::Long, query(1));
        assert!(!queue.has_next(false));
        assert_eq!(queue.take(false), None);
        assert_eq!(queue.take(true), Some((Row::Long, query(1))));
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_lost_goes_before_everything() {
        let mut queue = Queue::default();
        queue.push(Row::Short, query(1));
        queue.push(Row::First, query(2));
        assert_eq!(queue.take(true), Some((Row::First, query(2))));
    }
}
