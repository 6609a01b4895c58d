//! Notices: said once, heard once at most, and heard in a calm world.

use std::collections::BTreeSet;
use std::time::Duration;

use egtp::{DEFAULT_HARD_TIMEOUT, Instant};

use super::life::MESSAGE_HEADER;
use crate::NodeIndex;
use crate::scene::NEVER;
use crate::storm::Violation;

/// A notice goes by the clocks of two nodes and may have waited as long as a handshake takes.
const LATE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Notices {
    sent: Vec<Notice>,
    /// Those that may still come.
    under_way: BTreeSet<usize>,
}

#[derive(Debug)]
struct Notice {
    from: NodeIndex,
    to: NodeIndex,
    sent: Instant,
    heard: Option<Instant>,
    /// Whether its sender still exists, and took it on.
    owned: bool,
}

/// How many bytes a notice's body has: its number. And how many all of it.
pub(super) const BODY: usize = 8;
pub(super) const MESSAGE: usize = MESSAGE_HEADER + NEVER.len() + BODY;

impl Notices {
    /// One is sent: gives back its number.
    pub(super) fn sent(&mut self, at: Instant, from: NodeIndex, to: NodeIndex) -> usize {
        let number = self.sent.len();
        self.under_way.insert(number);
        self.sent.push(Notice { from, to, sent: at, heard: None, owned: true });
        number
    }

    /// Says what is wrong about a notice that is heard, if anything is. It cannot be on its way for less than `least`.
    pub(super) fn heard(
        &mut self,
        at: Instant,
        number: usize,
        from: NodeIndex,
        to: NodeIndex,
        least: Duration,
    ) -> Option<Violation> {
        self.under_way.remove(&number);
        let what = match self.sent.get_mut(number) {
            None => format!("node {} has a notice that nobody sent", to.number()),
            Some(notice) => {
                let heard_before = notice.heard.replace(at).is_some();
                let least = if from == to { Duration::ZERO } else { least };
                let wrong = if (notice.from, notice.to) != (from, to) {
                    "came to somebody else, or from somebody else"
                } else if heard_before {
                    "came twice"
                } else if at < notice.sent + least {
                    "came before it can have come"
                } else if at > notice.sent + DEFAULT_HARD_TIMEOUT + LATE {
                    "came long after it was given up"
                } else {
                    return None;
                };
                format!("notice {number} {wrong}: from node {} to node {}", from.number(), to.number())
            }
        };
        Some(Violation { at, what })
    }

    /// What a node wanted to say is gone with it.
    pub(super) fn crashed(&mut self, node: NodeIndex) {
        let Self { sent, under_way } = self;
        under_way.retain(|&number| sent[number].from != node);
        for notice in sent.iter_mut().filter(|notice| notice.from == node) {
            notice.owned = false;
        }
    }

    /// One was not sent after all: gives back who was to send it, and to whom.
    pub(super) fn refused(&mut self, number: usize) -> Option<(NodeIndex, NodeIndex)> {
        self.under_way.remove(&number);
        let notice = self.sent.get_mut(number)?;
        notice.owned = false;
        Some((notice.from, notice.to))
    }

    /// What a node has sent to others since it was started: to whom, when, and when it was heard.
    pub(super) fn sent_by(&self, node: NodeIndex) -> impl Iterator<Item = (NodeIndex, Instant, Option<Instant>)> {
        let owned = self.sent.iter().filter(move |notice| notice.owned && notice.from == node && notice.to != node);
        owned.map(|notice| (notice.to, notice.sent, notice.heard))
    }

    /// Those that must have come: `due` says when, if that is sure.
    pub(super) fn overdue(
        &mut self,
        now: Instant,
        due: impl Fn(NodeIndex, NodeIndex, Instant) -> Option<Instant>,
    ) -> Vec<Violation> {
        let mut late = Vec::new();
        let Self { sent, under_way } = self;
        under_way.retain(|&number| {
            let Notice { from, to, sent, .. } = sent[number];
            let (Some(due), given_up) = (due(from, to, sent), sent + DEFAULT_HARD_TIMEOUT) else {
                return now < sent + DEFAULT_HARD_TIMEOUT;
            };
            if due < now.min(given_up) {
                let (from, to) = (from.number(), to.number());
                let what = format!("notice {number} from node {from} to node {to}, sent at {sent}, was due by {due}");
                late.push(Violation { at: now, what });
                return false;
            }
            now < given_up
        });
        late
    }
}
