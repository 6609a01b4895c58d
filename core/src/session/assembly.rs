//! A message that comes in parts, in any order, by any path.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use super::ranges::{Range, Ranges};
use crate::wire::message::Heading;

/// How many stretches of a message may be there with gaps between them.
const MAX_STRETCHES: usize = 1024;

/// The parts of a message that have come so far.
///
/// Its memory is the announced total, taken when the first part comes and never more; whoever admits it charges for that.
#[derive(PartialEq, Eq, Debug)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Assembly {
    total: usize,
    come: Ranges,
    /// What comes before the body, if that was known when the first part came: so that the body lies in memory of its own.
    heading: Vec<u8>,
    /// The rest.
    bytes: Vec<u8>,
}

/// A message that is there, whole.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Arrived<'a> {
    /// What comes before the body, unless it is malformed: then all of it.
    pub(crate) heading: Cow<'a, [u8]>,
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Arrived<'a> {
    /// A message that came in one part.
    pub(crate) fn in_one(part: &'a [u8]) -> Self {
        let before_body = Heading::parse_whole(part).map_or(part.len(), |(heading, _)| heading.len());
        let (heading, body) = part.split_at_checked(before_body).unwrap_or((part, &[]));
        Self { heading: Cow::Borrowed(heading), body: Cow::Borrowed(body) }
    }

    /// What it says before its body; `None` if it is malformed.
    pub(crate) fn heading(&self) -> Option<Heading<'_>> {
        let heading = Heading::parse(&self.heading).ok()?;
        let fits = heading.len() == self.heading.len() && heading.body_length == self.body.len();
        fits.then_some(heading)
    }
}

impl Assembly {
    /// A message of `total` bytes of which nothing has come.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, come: Ranges::default(), heading: Vec::new(), bytes: Vec::new() }
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Adds the bytes from `offset` on, and says whether any of them is new. They may repeat what has come. After an error everything
    /// is as before.
    pub(crate) fn add(&mut self, offset: usize, part: &[u8]) -> Result<bool, AssemblyError> {
        let end = offset.checked_add(part.len()).filter(|&end| end <= self.total).ok_or(AssemblyError::OutOfRange)?;
        let new = Range::new(offset, end);
        if new.is_empty() {
            return Err(AssemblyError::OutOfRange);
        }
        if self.come.is_empty() {
            self.make_room(offset, part);
        }
        for known in self.come.common(new) {
            let repeated = part.get(known.from - offset..known.to - offset).unwrap_or_default();
            if !self.says(known, repeated) {
                return Err(AssemblyError::Contradiction);
            }
        }
        if self.come.covers(new) {
            return Ok(false);
        }
        if self.come.len() >= MAX_STRETCHES {
            return Err(AssemblyError::Scattered);
        }
        self.put(offset, part);
        self.come.insert(new);
        Ok(true)
    }

    /// Whether every byte has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.come.covers(Range::new(0, self.total))
    }

    /// The message, which is whole.
    pub(crate) fn finish(mut self) -> Arrived<'static> {
        debug_assert!(self.is_whole());
        if self.heading.is_empty()
            && let Ok((heading, _)) = Heading::parse_whole(&self.bytes)
        {
            let before_body = heading.len();
            self.heading = self.bytes.drain(..before_body).collect();
        }
        if self.heading.is_empty() {
            return Arrived { heading: Cow::Owned(self.bytes), body: Cow::Borrowed(&[]) };
        }
        Arrived { heading: Cow::Owned(self.heading), body: Cow::Owned(self.bytes) }
    }

    /// Takes the memory. If the message begins to come with its beginning, its body gets memory of its own.
    fn make_room(&mut self, offset: usize, part: &[u8]) {
        if offset == 0
            && let Ok(heading) = Heading::parse(part)
            && heading.len().saturating_add(heading.body_length) == self.total
        {
            self.heading = part.get(..heading.len()).unwrap_or_default().to_vec();
        }
        self.bytes = vec![0; self.total - self.heading.len()];
    }

    fn says(&self, range: Range, expected: &[u8]) -> bool {
        let (in_heading, in_bytes) = self.places(range);
        let (first, rest) = expected.split_at(in_heading.len().min(expected.len()));
        self.heading.get(in_heading.from..in_heading.to) == Some(first)
            && self.bytes.get(in_bytes.from..in_bytes.to) == Some(rest)
    }

    fn put(&mut self, offset: usize, part: &[u8]) {
        let (in_heading, in_bytes) = self.places(Range::new(offset, offset + part.len()));
        let (first, rest) = part.split_at(in_heading.len().min(part.len()));
        if let Some(place) = self.heading.get_mut(in_heading.from..in_heading.to) {
            place.copy_from_slice(first);
        }
        if let Some(place) = self.bytes.get_mut(in_bytes.from..in_bytes.to) {
            place.copy_from_slice(rest);
        }
    }

    /// Where bytes of the message are kept: those of the heading, and the others.
    fn places(&self, range: Range) -> (Range, Range) {
        let shift = self.heading.len();
        let in_heading = Range::new(range.from.min(shift), range.to.min(shift));
        let in_bytes = Range::new(range.from.max(shift) - shift, range.to.max(shift) - shift);
        (in_heading, in_bytes)
    }
}

/// Why a part was not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AssemblyError {
    /// It is empty or does not lie within the message.
    OutOfRange,
    /// It says something else than what has come.
    Contradiction,
    /// Too many stretches wait for what lies between them.
    Scattered,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{NodeId, Nonce};
    use crate::query::TypeName;
    use crate::wire::message::{Kind, Message};

    /// A message whose encoding has this length.
    fn message(length: usize) -> Vec<u8> {
        let body = (0..length - 68).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
        let message = Message {
            kind: Kind::Query,
            recipient: NodeId::from_bytes([1; 20]),
            nonce: Nonce::from_bytes([2; 20]),
            reference: None,
            type_name: TypeName::new("t").unwrap(),
            body,
        };
        let mut out = Vec::new();
        message.put(0, usize::MAX, &mut out);
        out
    }

    /// Adds `message[from..to]`.
    fn add(assembly: &mut Assembly, message: &[u8], from: usize, to: usize) -> bool {
        assembly.add(from, &message[from..to]).unwrap()
    }

    fn refuses(assembly: &mut Assembly, offset: usize, part: &[u8], reason: AssemblyError) {
        let before = assembly.clone();
        assert_eq!(assembly.add(offset, part), Err(reason));
        assert_eq!(*assembly, before, "a refused part changed the assembly");
    }

    #[test]
    fn parts_make_the_message_in_every_order() {
        let message = message(200);
        let parts = [(0, 30), (30, 31), (31, 90), (90, 199), (199, 200)];
        for order in permutations(parts.len()) {
            let mut assembly = Assembly::new(200);
            for at in &order {
                assert!(!assembly.is_whole());
                assert!(add(&mut assembly, &message, parts[*at].0, parts[*at].1));
            }
            assert!(assembly.is_whole(), "{order:?}");
            let arrived = assembly.finish();
            assert_eq!([&arrived.heading[..], &arrived.body[..]].concat(), message);
            assert_eq!(arrived.heading().map(|heading| heading.body_length), Some(132));
        }
    }

    #[test]
    fn a_message_that_begins_with_its_beginning_is_taken_without_moving_its_body() {
        let message = message(1000);
        let mut assembly = Assembly::new(1000);
        add(&mut assembly, &message, 0, 100);
        let body = assembly.bytes.as_ptr();
        add(&mut assembly, &message, 100, 1000);
        let Cow::Owned(arrived) = assembly.finish().body else { panic!("it is its own") };
        assert_eq!((arrived.as_ptr(), arrived.len(), arrived.capacity()), (body, 932, 932));
    }

    #[test]
    fn parts_may_repeat_and_overlap_as_long_as_they_agree() {
        let message = message(200);
        let mut assembly = Assembly::new(200);
        assert!(add(&mut assembly, &message, 50, 60));
        assert!(!add(&mut assembly, &message, 50, 60));
        assert!(!add(&mut assembly, &message, 52, 58));
        assert!(add(&mut assembly, &message, 40, 55));
        assert!(add(&mut assembly, &message, 0, 200));
        assert!(assembly.is_whole());
        let arrived = assembly.finish();
        assert_eq!([&arrived.heading[..], &arrived.body[..]].concat(), message);
    }

    #[test]
    fn a_part_that_says_something_else_is_refused_wherever_it_differs() {
        let message = message(200);
        for first in [(0, 100), (50, 60)] {
            let mut assembly = Assembly::new(200);
            add(&mut assembly, &message, first.0, first.1);
            for at in first.0..first.1 {
                let mut other = message.clone();
                other[at] ^= 1;
                refuses(&mut assembly, 0, &other, AssemblyError::Contradiction);
            }
            assert!(add(&mut assembly, &message, 0, 200));
        }
    }

    #[test]
    fn a_part_outside_the_message_or_empty_is_refused() {
        let mut assembly = Assembly::new(10);
        for offset in [10, 11, usize::MAX] {
            refuses(&mut assembly, offset, &[0], AssemblyError::OutOfRange);
        }
        refuses(&mut assembly, 4, &[0; 7], AssemblyError::OutOfRange);
        refuses(&mut assembly, 4, &[], AssemblyError::OutOfRange);
    }

    #[test]
    fn scattered_parts_are_bounded() {
        let message = message(4000);
        let mut assembly = Assembly::new(4000);
        for at in 0..MAX_STRETCHES {
            add(&mut assembly, &message, 2 * at, 2 * at + 1);
        }
        refuses(&mut assembly, 3000, &message[3000..3001], AssemblyError::Scattered);
    }

    #[test]
    fn a_malformed_message_is_there_as_it_came() {
        let mut assembly = Assembly::new(3);
        assert_eq!(assembly.add(0, b"abc"), Ok(true));
        let arrived = assembly.finish();
        assert_eq!((&arrived.heading[..], arrived.heading()), (&b"abc"[..], None));
        let in_one = Arrived::in_one(b"abc");
        assert_eq!((&in_one.heading[..], in_one.heading()), (&b"abc"[..], None));
    }

    #[test]
    fn a_message_in_one_part_is_split_where_it_lies() {
        let message = message(100);
        let arrived = Arrived::in_one(&message);
        assert!(matches!((&arrived.heading, &arrived.body), (Cow::Borrowed(_), Cow::Borrowed(_))));
        assert_eq!(arrived.heading().map(|heading| heading.body_length), Some(32));
    }

    fn permutations(count: usize) -> Vec<Vec<usize>> {
        if count == 0 {
            return vec![Vec::new()];
        }
        let shorter = permutations(count - 1);
        let insert = |order: &Vec<usize>| {
            let order = order.clone();
            (0..count).map(move |at| {
                let mut order = order.clone();
                order.insert(at, count - 1);
                order
            })
        };
        shorter.iter().flat_map(insert).collect()
    }
}
