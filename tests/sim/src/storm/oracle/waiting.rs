//! The queries that have no verdict yet.

use std::collections::{BTreeMap, BTreeSet};

use super::life::{Life, Question};
use crate::NodeIndex;

/// Queries without a verdict whose askers run, and how many of them there are from whom to whom.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queries: BTreeSet<usize>,
    between: BTreeMap<(NodeIndex, NodeIndex), usize>,
}

impl Waiting {
    pub(super) fn insert(&mut self, query: usize, Question { from, to, .. }: Question) {
        if self.queries.insert(query) {
            *self.between.entry((from, to)).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, query: usize, Question { from, to, .. }: Question) {
        if self.queries.remove(&query)
            && let Some(count) = self.between.get_mut(&(from, to))
        {
            *count -= 1;
        }
    }

    /// Whoever is gone does not wait any more.
    pub(super) fn asker_is_gone(&mut self, node: NodeIndex, lives: &[Life]) {
        let its: Vec<usize> = self.iter().filter(|&query| lives[query].question.from == node).collect();
        for query in its {
            self.remove(query, lives[query].question);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.queries.iter().copied()
    }

    /// How many there are from one node to another.
    pub(super) fn between(&self, from: NodeIndex, to: NodeIndex) -> usize {
        self.between.get(&(from, to)).copied().unwrap_or_default()
    }
}
