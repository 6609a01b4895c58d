//! How it ends if nothing more goes wrong.

use std::time::Duration;

use super::Happening;
use super::pair::Pair;

/// So long after the last deadline nobody may remember anything of a query.
const REST: Duration = Duration::from_secs(100);

/// So many things happen until then, at the most.
const MOST_HAPPENINGS: usize = 5_000;

impl Pair {
    /// The network behaves from now on. Gives back what happened then, if that broke a promise.
    pub(super) fn end_well(mut self) -> Option<(Vec<Happening>, String)> {
        let from = self.now;
        let mut played = Vec::new();
        while let Some(happening) = self.next_at_last() {
            played.push(happening);
            self.play(happening);
            if self.ledger.breach().is_some() || played.len() > MOST_HAPPENINGS {
                break;
            }
        }
        let late = || self.ledger.late_since(from).map(|query| format!("query {query} has no verdict in time"));
        let what = self.ledger.breach().cloned().or_else(late).or_else(|| self.left_over())?;
        Some((played, what))
    }

    fn next_at_last(&self) -> Option<Happening> {
        let ask = || self.ledger.next_to_ask().map(Happening::Ask);
        self.undisturbed().or_else(ask).or_else(|| self.wait())
    }

    /// Time passes for as long as something is to come of it.
    fn wait(&self) -> Option<Happening> {
        let until = self.ledger.last_deadline()? + REST;
        let is_over = self.ledger.is_over() && self.left_over().is_none();
        self.deadline().filter(|&deadline| !is_over && deadline <= until).map(|_| Happening::Tick)
    }

    /// What a node remembers of a query, if any.
    fn left_over(&self) -> Option<String> {
        self.hosts.iter().enumerate().find_map(|(number, host)| {
            let usage = host.node.usage();
            let counts = [
                ("queries", usage.queries),
                ("incoming queries", usage.incoming),
                ("bytes of incomplete messages", usage.assembly_bytes),
                ("bytes of replies", usage.reply_bytes),
            ];
            let (what, count) = counts.into_iter().find(|&(_, count)| count > 0)?;
            Some(format!("node {number} has {count} {what} left over"))
        })
    }
}
