//! What waits to be sealed in one session: frames, whole messages, and pieces of large ones, taking turns.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::{ConnectionId, QueryId};
use crate::wire::frame::{Frame, ReplyCode};

/// A message longer than this goes in pieces of this size, each a record of its own, so that others get in between.
pub(crate) const PIECE: usize = 16 * 1024;

/// The most messages that go in pieces at the same time; further ones wait, so that the recipient's memory suffices.
pub(crate) const INTERLEAVED: usize = 4;

/// How many bytes of frames go in one record.
pub(crate) const FRAME_CHUNK: usize = 8 * 1024;

/// Beyond this many chunks of frames the node stops reading what would add to them.
const MOST_FRAME_CHUNKS: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Encoded frames that carry no message, or one without a body, in chunks that fit a record each.
    frames: VecDeque<Chunk>,
    small: VecDeque<Item>,
    large: VecDeque<Item>,
    /// Large messages that are under way.
    started: VecDeque<Item>,
    /// Whether the next record is a large message's turn.
    large_turn: bool,
}

/// Encoded frames for one record, and the connection that they are meant for, like an [`Item`].
#[derive(Debug)]
struct Chunk {
    frames: Vec<u8>,
    /// Whether an answer is among them.
    answers: bool,
    via: Option<ConnectionId>,
}

/// A message, or what is left of it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) content: Content,
    /// How much of it is sealed already.
    pub(crate) offset: usize,
    pub(crate) total: usize,
    /// The one connection over which it goes: a reply takes that of its query, which the asker watches, and whatever has begun
    /// stays where it is, so that no piece overtakes another. All else goes over the main connection.
    via: Option<ConnectionId>,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// A query's message stays with the query, which may end meanwhile.
    Query(QueryId),
    Reply {
        number: u64,
        code: ReplyCode,
        echo: u64,
        message: Vec<u8>,
    },
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.small.is_empty() && self.large.is_empty() && self.started.is_empty()
    }

    /// Whether a message waits, or what is left of one.
    pub(crate) fn has_messages(&self) -> bool {
        let queued = !(self.small.is_empty() && self.large.is_empty() && self.started.is_empty());
        queued || self.frames.iter().any(|chunk| chunk.answers)
    }

    /// Whether something waits that can go over this connection; the `main` one is for all that is not meant for another.
    pub(crate) fn has_something(&self, on: ConnectionId, main: bool) -> bool {
        let fits = |item: &Item| item.fits(on, main);
        self.has_frames(on, main)
            || self.small.iter().any(fits)
            || self.started.iter().any(fits)
            || (self.started.len() < INTERLEAVED && self.large.iter().any(fits))
    }

    /// Whether something waits that is meant for this very connection.
    pub(crate) fn is_meant_for(&self, on: ConnectionId) -> bool {
        let mut messages = [&self.small, &self.large, &self.started].into_iter().flatten();
        messages.any(|item| item.via == Some(on)) || self.frames.iter().any(|chunk| chunk.via == Some(on))
    }

    /// Adds a frame that carries no message, meant for one connection or for the main one.
    pub(crate) fn push_frame(&mut self, frame: &Frame<'_>, via: Option<ConnectionId>) {
        let answers = matches!(frame, Frame::Reply { .. });
        match self.frames.iter_mut().rfind(|chunk| chunk.via == via) {
            Some(last) if last.frames.len() < FRAME_CHUNK => {
                frame.put(&mut last.frames);
                last.answers |= answers;
            }
            Some(_) | None => {
                let mut frames = Vec::new();
                frame.put(&mut frames);
                self.frames.push_back(Chunk { frames, answers, via });
            }
        }
    }

    pub(crate) fn take_frames(&mut self, on: ConnectionId, main: bool) -> Option<Vec<u8>> {
        let index = self.frames.iter().position(|chunk| is_for(chunk.via, on, main))?;
        self.frames.remove(index).map(|chunk| chunk.frames)
    }

    /// Whether so many frames wait that reading should stop until the peer has taken some.
    pub(crate) fn is_congested(&self) -> bool {
        self.frames.len() > MOST_FRAME_CHUNKS
    }

    /// Whether so many wait that it should stop even if the peer has stopped as well.
    pub(crate) fn is_overfull(&self) -> bool {
        self.frames.len() > 4 * MOST_FRAME_CHUNKS
    }

    /// Whether frames wait that can go over this connection.
    pub(crate) fn has_frames(&self, on: ConnectionId, main: bool) -> bool {
        self.frames.iter().any(|chunk| is_for(chunk.via, on, main))
    }

    /// Whether the next record on this connection may be longer than this.
    pub(crate) fn next_exceeds(&self, bytes: usize, on: ConnectionId, main: bool) -> bool {
        let frames = self.frames.iter().map(|chunk| chunk.frames.len()).max().unwrap_or(0);
        let pieces = !self.large.is_empty() || !self.started.is_empty();
        pieces || frames.saturating_add(self.next_small(on, main).unwrap_or(0)) > bytes
    }

    /// Adds a message, meant for one connection or for the main one.
    pub(crate) fn push(&mut self, content: Content, total: usize, via: Option<ConnectionId>) {
        let item = Item { content, offset: 0, total, via };
        if total <= PIECE { self.small.push_back(item) } else { self.large.push_back(item) }
    }

    /// The message whose turn it is on this connection: whole small ones and pieces of large ones alternate, record by record;
    /// within a record that has begun with small ones, `continues` asks for more of those.
    pub(crate) fn take(&mut self, on: ConnectionId, main: bool, continues: bool) -> Option<Item> {
        if continues {
            return take_fitting(&mut self.small, on, main);
        }
        if self.large_turn
            && let Some(item) = self.take_large(on, main)
        {
            return Some(item);
        }
        take_fitting(&mut self.small, on, main).or_else(|| self.take_large(on, main))
    }

    fn take_large(&mut self, on: ConnectionId, main: bool) -> Option<Item> {
        if self.started.len() < INTERLEAVED
            && let Some(item) = take_fitting(&mut self.large, on, main)
        {
            return Some(item);
        }
        take_fitting(&mut self.started, on, main)
    }

    /// How long the next small message is that goes over this connection, if there is one.
    pub(crate) fn next_small(&self, on: ConnectionId, main: bool) -> Option<usize> {
        self.small.iter().find(|item| item.fits(on, main)).map(|item| item.total)
    }

    /// A record has been sealed; it was a large message's turn or not.
    pub(crate) fn turn_over(&mut self, was_large: bool) {
        self.large_turn = !was_large;
    }

    /// Puts back what is left of a large message that has begun on this connection, behind the others that take turns with it.
    pub(crate) fn put_back(&mut self, on: ConnectionId, mut item: Item) {
        item.via = Some(on);
        self.started.push_back(item);
    }

    /// A connection has ended: replies and frames that were meant for it go over another, and replies that were under way begin again.
    pub(crate) fn release(&mut self, ended: ConnectionId) {
        let (begun, others): (VecDeque<Item>, VecDeque<Item>) =
            core::mem::take(&mut self.started).into_iter().partition(|item| item.via == Some(ended));
        self.started = others;
        for mut item in begun.into_iter().rev() {
            if matches!(item.content, Content::Reply { .. }) {
                item.offset = 0;
                self.large.push_front(item);
            }
        }
        for item in self.small.iter_mut().chain(&mut self.large) {
            item.via.take_if(|via| *via == ended);
        }
        for chunk in &mut self.frames {
            chunk.via.take_if(|via| *via == ended);
        }
    }

    /// Removes the queries of which nothing is sealed yet, and names them.
    pub(crate) fn drain_unstarted_queries(&mut self) -> Vec<QueryId> {
        let mut unstarted = Vec::new();
        for queue in [&mut self.small, &mut self.large] {
            queue.retain(|item| match item.content {
                Content::Query(query) => {
                    unstarted.push(query);
                    false
                }
                Content::Reply { .. } => true,
            });
        }
        unstarted
    }

    /// Removes one query's message.
    pub(crate) fn remove_query(&mut self, query: QueryId) {
        for queue in [&mut self.small, &mut self.large] {
            queue.retain(|item| !item.is_query(query));
        }
        self.started.retain(|item| !item.is_query(query));
    }

    /// Removes every reply, and says how many bytes they held and how many there were.
    pub(crate) fn drop_replies(&mut self) -> (usize, usize) {
        let (mut bytes, mut count) = (0, 0);
        let mut keep = |item: &Item| match &item.content {
            Content::Query(_) => true,
            Content::Reply { message, .. } => {
                bytes += message.len();
                count += 1;
                false
            }
        };
        self.small.retain(&mut keep);
        self.large.retain(&mut keep);
        self.started.retain(&mut keep);
        (bytes, count)
    }
}

/// Takes the first message that goes over this connection.
fn take_fitting(queue: &mut VecDeque<Item>, on: ConnectionId, main: bool) -> Option<Item> {
    let index = queue.iter().position(|item| item.fits(on, main))?;
    queue.remove(index)
}

/// Whether what is meant for one connection, or for the main one, goes over this one.
fn is_for(via: Option<ConnectionId>, on: ConnectionId, main: bool) -> bool {
    via.map_or(main, |via| via == on)
}

impl Item {
    fn fits(&self, on: ConnectionId, main: bool) -> bool {
        is_for(self.via, on, main)
    }

    fn is_query(&self, query: QueryId) -> bool {
        matches!(self.content, Content::Query(other) if other == query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::code::RefuseCode;

    fn outbox(totals: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (index, &total) in totals.iter().enumerate() {
            outbox.push(Content::Query(QueryId(index as u64)), total, None);
        }
        outbox
    }

    const MAIN: ConnectionId = ConnectionId(1);
    const OTHER: ConnectionId = ConnectionId(2);

    /// Takes one record as a sender does and names the query in it.
    fn next(outbox: &mut Outbox, on: ConnectionId, main: bool) -> Option<u64> {
        let mut item = outbox.take(on, main, false)?;
        let Content::Query(QueryId(id)) = item.content else { unreachable!() };
        let large = item.total > PIECE;
        item.offset += PIECE;
        if large && item.offset < item.total {
            outbox.put_back(on, item);
        }
        outbox.turn_over(large);
        Some(id)
    }

    fn order(outbox: &mut Outbox) -> Vec<u64> {
        core::iter::from_fn(|| next(outbox, MAIN, true)).collect()
    }

    #[test]
    fn how_long_the_next_record_may_be_does_not_depend_on_what_goes_over_another_connection() {
        let [this, other] = [ConnectionId(1), ConnectionId(2)];
        let mut outbox = Outbox::default();
        outbox.push(Content::Query(QueryId(1)), 10, Some(other));
        outbox.push(Content::Query(QueryId(2)), 10_000, None);
        assert_eq!([this, other].map(|on| outbox.next_small(on, on == this)), [Some(10_000), Some(10)]);
        assert_eq!([this, other].map(|on| outbox.next_exceeds(2_000, on, on == this)), [true, false]);
    }

    #[test]
    fn small_messages_pass_between_the_pieces_of_a_large_one() {
        assert_eq!(order(&mut outbox(&[5 * PIECE, 1, 1])), [1, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn large_messages_take_turns_but_never_more_than_the_recipient_has_memory_for() {
        let order = order(&mut outbox(&[2 * PIECE; INTERLEAVED + 2]));
        assert_eq!(order, [0, 1, 2, 3, 0, 4, 1, 5, 2, 3, 4, 5]);
        let mut open = BTreeSetCounter::default();
        for id in order {
            open.touch(id);
            assert!(open.open() <= INTERLEAVED);
        }
    }

    #[test]
    fn a_message_that_has_begun_on_a_connection_stays_on_it() {
        let mut outbox = outbox(&[3 * PIECE, 3 * PIECE]);
        assert_eq!(next(&mut outbox, OTHER, true), Some(0));
        assert_eq!(next(&mut outbox, MAIN, true), Some(1), "the other one is the main connection now");
        assert_eq!(next(&mut outbox, MAIN, true), Some(1));
        assert_eq!(next(&mut outbox, OTHER, false), Some(0));
        assert_eq!(next(&mut outbox, MAIN, true), Some(1));
        assert_eq!(next(&mut outbox, MAIN, true), None);
        assert!(!outbox.has_something(MAIN, true) && outbox.has_something(OTHER, false));
        assert_eq!(next(&mut outbox, OTHER, false), Some(0));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_reply_that_was_under_way_on_an_ended_connection_begins_again() {
        let mut outbox = Outbox::default();
        let reply = Content::Reply { number: 1, code: ReplyCode::Answer, echo: 0, message: alloc::vec![0; 2 * PIECE] };
        outbox.push(reply, 2 * PIECE, Some(OTHER));
        assert!(outbox.take(MAIN, true, false).is_none(), "it is meant for the other connection");
        let mut item = outbox.take(OTHER, false, false).unwrap();
        item.offset = PIECE;
        outbox.put_back(OTHER, item);
        outbox.release(OTHER);
        assert_eq!(outbox.take(MAIN, true, false).unwrap().offset, 0);
    }

    #[test]
    fn a_frame_goes_over_the_connection_that_it_is_meant_for_while_that_is_open() {
        let mut outbox = Outbox::default();
        let refuse = |number| Frame::Refuse { number, code: RefuseCode::Busy, wait_secs: 0 };
        outbox.push_frame(&refuse(1), Some(OTHER));
        assert!(outbox.is_meant_for(OTHER) && outbox.has_something(OTHER, false));
        assert!(!outbox.has_something(MAIN, true) && outbox.take_frames(MAIN, true).is_none());
        assert!(outbox.take_frames(OTHER, false).is_some());
        outbox.push_frame(&refuse(2), Some(OTHER));
        outbox.release(OTHER);
        assert!(outbox.take_frames(MAIN, true).is_some());
    }

    #[derive(Default)]
    struct BTreeSetCounter(alloc::collections::BTreeMap<u64, u32>);

    impl BTreeSetCounter {
        fn touch(&mut self, id: u64) {
            *self.0.entry(id).or_default() += 1;
        }
        fn open(&self) -> usize {
            self.0.values().filter(|&&seen| seen == 1).count()
        }
    }
}
