//! What waits to be sealed in one session: frames, whole messages, and pieces of large ones, taking turns.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::QueryId;
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
    /// Encoded frames that carry no message, in chunks that fit a record each.
    frames: VecDeque<Vec<u8>>,
    small: VecDeque<Item>,
    large: VecDeque<Item>,
    /// Whether the next record is a large message's turn.
    large_turn: bool,
}

/// A message, or what is left of it.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) content: Content,
    /// How much of it is sealed already.
    pub(crate) offset: usize,
    pub(crate) total: usize,
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
        self.frames.is_empty() && self.small.is_empty() && self.large.is_empty()
    }

    /// Adds a frame that carries no message.
    pub(crate) fn push_frame(&mut self, frame: &Frame<'_>) {
        if self.frames.back().is_none_or(|chunk| chunk.len() >= FRAME_CHUNK) {
            self.frames.push_back(Vec::new());
        }
        if let Some(chunk) = self.frames.back_mut() {
            frame.put(chunk);
        }
    }

    pub(crate) fn take_frames(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// Whether so many frames wait that reading should stop until the peer has taken some.
    pub(crate) fn is_congested(&self) -> bool {
        self.frames.len() > MOST_FRAME_CHUNKS
    }

    /// Whether the next record may be longer than this.
    pub(crate) fn next_exceeds(&self, bytes: usize) -> bool {
        let frames = self.frames.front().map_or(0, Vec::len);
        !self.large.is_empty() || frames.saturating_add(self.next_small().unwrap_or(0)) > bytes
    }

    pub(crate) fn push(&mut self, content: Content, total: usize) {
        let item = Item { content, offset: 0, total };
        if total <= PIECE { self.small.push_back(item) } else { self.large.push_back(item) }
    }

    /// The message whose turn it is: whole small ones and pieces of large ones alternate, record by record; within a record
    /// that has begun with small ones, `continues` asks for more of those.
    pub(crate) fn take(&mut self, continues: bool) -> Option<Item> {
        let large = !continues && !self.large.is_empty() && (self.large_turn || self.small.is_empty());
        if large { self.large.pop_front() } else { self.small.pop_front() }
    }

    /// How long the next small message is, if there is one.
    pub(crate) fn next_small(&self) -> Option<usize> {
        self.small.front().map(|item| item.total)
    }

    /// A record has been sealed; it was a large message's turn or not.
    pub(crate) fn turn_over(&mut self, was_large: bool) {
        self.large_turn = !was_large;
    }

    /// Puts back what is left of a large message, behind the others that take turns with it.
    pub(crate) fn put_back(&mut self, item: Item) {
        self.large.insert(self.large.len().min(INTERLEAVED - 1), item);
    }

    /// Removes the queries of which nothing is sealed yet, and names them.
    pub(crate) fn drain_unstarted_queries(&mut self) -> Vec<QueryId> {
        let mut unstarted = Vec::new();
        for queue in [&mut self.small, &mut self.large] {
            queue.retain(|item| match item.content {
                Content::Query(query) if item.offset == 0 => {
                    unstarted.push(query);
                    false
                }
                Content::Query(_) | Content::Reply { .. } => true,
            });
        }
        unstarted
    }

    /// Removes one query's message.
    pub(crate) fn remove_query(&mut self, query: QueryId) {
        for queue in [&mut self.small, &mut self.large] {
            queue.retain(|item| !matches!(item.content, Content::Query(other) if other == query));
        }
    }

    /// Removes every reply, and says how many bytes they held and how many there were.
    pub(crate) fn drop_replies(&mut self) -> (usize, usize) {
        let (mut bytes, mut count) = (0, 0);
        for queue in [&mut self.small, &mut self.large] {
            queue.retain(|item| match &item.content {
                Content::Query(_) => true,
                Content::Reply { message, .. } => {
                    bytes += message.len();
                    count += 1;
                    false
                }
            });
        }
        (bytes, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(totals: &[usize]) -> Outbox {
        let mut outbox = Outbox::default();
        for (index, &total) in totals.iter().enumerate() {
            outbox.push(Content::Query(QueryId(index as u64)), total);
        }
        outbox
    }

    /// Takes records as a sender does and names the query of each.
    fn order(outbox: &mut Outbox) -> Vec<u64> {
        let mut order = Vec::new();
        while let Some(mut item) = outbox.take(false) {
            let Content::Query(QueryId(id)) = item.content else { unreachable!() };
            order.push(id);
            let large = item.total > PIECE;
            item.offset += PIECE;
            if large && item.offset < item.total {
                outbox.put_back(item);
            }
            outbox.turn_over(large);
        }
        order
    }

    #[test]
    fn small_messages_pass_between_the_pieces_of_a_large_one() {
        assert_eq!(order(&mut outbox(&[5 * PIECE, 1, 1])), [1, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn large_messages_take_turns_but_never_more_than_the_recipient_has_memory_for() {
        let order = order(&mut outbox(&[2 * PIECE; INTERLEAVED + 2]));
        assert_eq!(order, [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 4, 5]);
        let mut open = BTreeSetCounter::default();
        for id in order {
            open.touch(id);
            assert!(open.open() <= INTERLEAVED);
        }
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
