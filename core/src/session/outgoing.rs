//! A message on its way out: which parts of it have left, are acknowledged, or have to go again.

use super::ranges::{Range, Ranges};
use crate::wire::message::Message;

/// A message that is longer goes in pieces, one to a record, so that others get in between.
pub(crate) const PIECE: usize = 16_384;

/// Pieces are not cut smaller than this, unless there is no more.
pub(crate) const LEAST_PIECE: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Outgoing {
    message: Message,
    total: usize,
    /// Where what was never sealed begins.
    fresh: usize,
    /// What was sealed and lost, and is to be sealed again before anything fresh.
    again: Ranges,
    /// What has left this machine whole, at least once.
    left: Ranges,
    acknowledged: Ranges,
    /// How often acknowledgements have passed over what has to go again.
    strikes: u8,
    /// Whether it stands in the queue for what was never sealed of it, and for what has to go again.
    pub(super) queued: bool,
    pub(super) queued_again: bool,
}

impl Outgoing {
    pub(crate) fn new(message: Message) -> Self {
        let total = message.len();
        Self {
            message,
            total,
            fresh: 0,
            again: Ranges::default(),
            left: Ranges::default(),
            acknowledged: Ranges::default(),
            strikes: 0,
            queued: false,
            queued_again: false,
        }
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    pub(crate) fn into_message(self) -> Message {
        self.message
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Whether it goes in pieces.
    pub(crate) fn is_long(&self) -> bool {
        self.total > PIECE
    }

    /// Whether nothing of it was sealed yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.fresh == 0
    }

    /// What is to be sealed next of it; empty if nothing waits.
    pub(crate) fn next_part(&self, most: usize) -> Range {
        let end = |from: usize, to: usize| Range::new(from, to.min(from.saturating_add(most)));
        if let Some(lost) = self.again.common(Range::new(0, self.total)).next() {
            return end(lost.from, lost.to);
        }
        end(self.fresh, self.total)
    }

    /// This part was sealed. Says how often it was passed over before.
    pub(crate) fn sealed(&mut self, part: Range) -> u8 {
        if part.from >= self.fresh {
            self.fresh = part.to;
            return 0;
        }
        self.take_out(part);
        self.strikes
    }

    /// It is lost, and was passed over so often: unless it was acknowledged meanwhile it goes again.
    pub(crate) fn lost(&mut self, part: Range, strikes: u8) {
        let before = if self.has_lost() { self.strikes } else { 0 };
        self.strikes = before.max(strikes);
        let mut rest = part;
        loop {
            let gap = self.acknowledged.first_gap(rest);
            if gap.is_empty() {
                break;
            }
            self.again.insert(gap);
            rest.from = gap.to;
        }
    }

    /// Whether something that was lost waits.
    pub(super) fn has_lost(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether something waits that was never sealed.
    pub(super) fn has_fresh(&self) -> bool {
        self.fresh < self.total
    }

    /// The peer has it. Says whether it now has all of the message, and did not before.
    pub(crate) fn acknowledged(&mut self, part: Range) -> bool {
        let before = self.is_acknowledged();
        self.acknowledged.insert(part);
        self.take_out(part);
        !before && self.is_acknowledged()
    }

    /// All of a record that carried it has left.
    pub(crate) fn left(&mut self, part: Range) {
        self.left.insert(part);
    }

    /// Whether the peer has all of it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.acknowledged.covers(self.whole())
    }

    /// Whether every byte of it has left this machine, counting these parts as well, of which some bytes have.
    pub(crate) fn has_left(&self, begun: impl Iterator<Item = Range>) -> bool {
        if self.left.covers(self.whole()) {
            return true;
        }
        let mut left = self.left.clone();
        begun.for_each(|part| left.insert(part));
        left.covers(self.whole())
    }

    /// Whether a part of it has left whole.
    pub(crate) fn has_begun_to_leave(&self) -> bool {
        !self.left.is_empty()
    }

    fn whole(&self) -> Range {
        Range::new(0, self.total)
    }

    /// These bytes need not go again.
    fn take_out(&mut self, part: Range) {
        if self.again.common(part).next().is_none() {
            return;
        }
        let mut kept = Ranges::default();
        for range in [Range::new(0, part.from), Range::new(part.to, self.total)] {
            self.again.common(range).for_each(|range| kept.insert(range));
        }
        self.again = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, Nonce};
    use crate::query::TypeName;
    use crate::wire::message::Kind;
    use alloc::vec;

    /// A message whose encoding has this length.
    fn outgoing(length: usize) -> Outgoing {
        Outgoing::new(Message {
            kind: Kind::Query,
            recipient: NodeId::from_bytes([1; 20]),
            nonce: Nonce::from_bytes([2; 20]),
            reference: None,
            type_name: TypeName::new("t").unwrap(),
            body: vec![0; length - 68],
        })
    }

    fn seal(outgoing: &mut Outgoing, most: usize) -> Range {
        let part = outgoing.next_part(most);
        outgoing.sealed(part);
        part
    }

    #[test]
    fn what_is_lost_goes_before_what_is_fresh() {
        let mut message = outgoing(300);
        let (first, second) = (seal(&mut message, 100), seal(&mut message, 100));
        assert_eq!((first, second), (Range::new(0, 100), Range::new(100, 200)));
        message.lost(first, 0);
        assert_eq!(seal(&mut message, 60), Range::new(0, 60));
        assert_eq!(seal(&mut message, 60), Range::new(60, 100));
        assert_eq!(seal(&mut message, 100), Range::new(200, 300));
        assert!(message.next_part(100).is_empty());
    }

    #[test]
    fn what_was_acknowledged_after_it_was_given_up_does_not_go_again() {
        let mut message = outgoing(300);
        let (first, second) = (seal(&mut message, 200), seal(&mut message, 100));
        message.lost(first, 0);
        assert!(!message.acknowledged(first));
        assert!(message.next_part(100).is_empty());
        message.lost(first, 0);
        assert!(message.next_part(100).is_empty(), "what the peer has is never lost");
        assert!(message.acknowledged(second));
        assert!(message.is_acknowledged());
        assert!(!message.acknowledged(second), "that is said once");
    }

    #[test]
    fn what_goes_again_inherits_the_most_strikes_of_what_it_repeats_and_what_is_fresh_has_none() {
        let mut message = outgoing(300);
        let (first, second) = (seal(&mut message, 100), seal(&mut message, 100));
        message.lost(first, 2);
        message.lost(second, 1);
        assert_eq!(message.sealed(Range::new(0, 200)), 2);
        message.lost(second, 1);
        assert_eq!(message.sealed(second), 1);
        assert_eq!(message.sealed(Range::new(200, 300)), 0);
    }

    #[test]
    fn it_has_left_once_each_part_has_whichever_copy() {
        let mut message = outgoing(300);
        message.left(Range::new(100, 300));
        assert!(!message.has_left(core::iter::empty()));
        assert!(message.has_left([Range::new(0, 100)].into_iter()), "a record of which a byte is gone counts");
        assert!(!message.has_left(core::iter::empty()), "until it turns out to be torn");
        message.left(Range::new(0, 100));
        assert!(message.has_left(core::iter::empty()));
    }
}
