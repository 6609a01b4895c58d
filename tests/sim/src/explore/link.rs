//! A connection between the two nodes.

use egtp::{ConnectionId, Ending, Instant};

/// What a node has to write stays with it until it is delivered, so that there is nothing under way but what nodes hold.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// What each node calls it; nothing once it has closed it.
    pub(super) ends: [Option<ConnectionId>; 2],
    /// What each node is still to be told about its end.
    pub(super) endings: [Option<Ending>; 2],
    /// Whatever is written is lost.
    pub(super) hangs: bool,
    /// Until when a node that has heard nothing waits for a word.
    silent_until: Instant,
    pub(super) heard: [bool; 2],
}

impl Link {
    pub(super) fn new(ends: [Option<ConnectionId>; 2], silent_until: Instant) -> Self {
        let endings = [0, 1].map(|node: usize| ends[1 - node].is_none().then_some(Ending::EndOfStream));
        Self { ends, endings, hangs: false, silent_until, heard: [false; 2] }
    }

    /// A node no longer holds its end.
    pub(super) fn leave(&mut self, node: usize, ending: Ending) {
        self.ends[node] = None;
        self.endings[1 - node].get_or_insert(ending);
    }

    pub(super) fn hang(&mut self) {
        self.hangs = true;
        self.endings = [Some(Ending::Broken); 2];
    }

    /// Whether a node has waited in vain for a word.
    pub(super) fn is_silent(&self, to: usize, now: Instant) -> bool {
        !self.heard[to] && now >= self.silent_until
    }

    pub(super) fn is_over(&self) -> bool {
        self.ends == [None, None]
    }
}
