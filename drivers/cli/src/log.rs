//! The log, on standard error: each cause at most once a second, with a count.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use egtp::{Cause, Instant, Note};
use tracing::field::{debug, display};
use tracing::{info, warn};
use tracing_subscriber::filter::LevelFilter;

use crate::output::Output;

/// Sends what is logged from now on to standard error.
pub(crate) fn start(level: LevelFilter, stderr: &Output) {
    let stderr = stderr.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(move || Lines(stderr.clone()))
        .finish();
    // It fails only if there is a log already, which then serves as well.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Takes what the subscriber formats, a whole line at a time.
struct Lines(Output);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.send(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs the node's notes.
#[derive(Default)]
pub(crate) struct Notes(Limiter<Cause>);

impl Notes {
    /// Logs a note, or counts it if its cause has had its line in this second.
    pub(crate) fn note(&mut self, now: Instant, note: &Note) {
        if let Some(count) = self.0.admit(note.cause, note.count, now) {
            let (peer, connection) = (note.peer.map(display), note.connection.map(debug));
            if is_ordinary(note.cause) {
                info!(count, peer, connection, "{}", note.cause.text());
            } else {
                warn!(count, peer, connection, "{}", note.cause.text());
            }
        }
    }

    /// Logs what was only counted so far.
    pub(crate) fn finish(&mut self) {
        for (cause, count) in self.0.take_pending() {
            if is_ordinary(cause) {
                info!(count, "{}", cause.text());
            } else {
                warn!(count, "{}", cause.text());
            }
        }
    }
}

/// An address that is gone, a peer that has restarted: ordinary life.
fn is_ordinary(cause: Cause) -> bool {
    matches!(cause, Cause::StrategyFailed | Cause::SessionEnded)
}

/// Lets each cause through once a second, with the count of what it held back.
pub(crate) struct Limiter<K>(BTreeMap<K, Seen>);

struct Seen {
    next: Instant,
    pending: u64,
}

impl<K> Default for Limiter<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Limiter<K> {
    /// Returns how often it has happened since its last line, if it is time for another one.
    pub(crate) fn admit(&mut self, cause: K, count: u64, now: Instant) -> Option<u64> {
        let seen = self.0.entry(cause).or_insert(Seen { next: now, pending: 0 });
        seen.pending = seen.pending.saturating_add(count);
        if now < seen.next {
            return None;
        }
        seen.next = now + Duration::from_secs(1);
        Some(std::mem::take(&mut seen.pending))
    }

    fn take_pending(&mut self) -> impl Iterator<Item = (K, u64)> {
        self.0
            .iter_mut()
            .map(|(cause, seen)| (*cause, std::mem::take(&mut seen.pending)))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_let_through_once_a_second_with_its_count() {
        let mut limiter = Limiter::default();
        let start = Instant::from_micros(5);
        assert_eq!(limiter.admit("flood", 1, start), Some(1));
        assert_eq!(limiter.admit("flood", 2, start), None);
        assert_eq!(limiter.admit("other", 1, start), Some(1), "causes do not hold each other back");
        assert_eq!(limiter.admit("flood", 3, start + Duration::from_micros(999_999)), None);
        assert_eq!(limiter.admit("flood", 1, start + Duration::from_secs(1)), Some(6));
    }

    #[test]
    fn what_was_held_back_is_not_lost_at_the_end() {
        let mut limiter = Limiter::default();
        limiter.admit("flood", 1, Instant::ZERO);
        limiter.admit("flood", 4, Instant::ZERO);
        assert_eq!(limiter.take_pending().collect::<Vec<_>>(), [("flood", 4)]);
        assert_eq!(limiter.take_pending().count(), 0);
    }
}
