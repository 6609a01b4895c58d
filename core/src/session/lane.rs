//! A path as one session knows it.
//!
//! Another process with the same key may be at the other end, which knows nothing of this session. So a session says nothing over a path
//! but PING until the peer was heard on it *in that very session*.

use alloc::vec::Vec;
use core::time::Duration;

use super::outgoing::{LEAST_PIECE, PIECE};
use super::rtt::Rtt;
use crate::id::ConnectionId;
use crate::time::Instant;

/// Something that carries packets to the peer. A relay on the way will be another kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum PathId {
    /// An open connection: it keeps the order, loses nothing, and says when it ends.
    Stream(ConnectionId),
}

/// Pieces of long messages are small until acknowledgements have followed each other soon. If they come late, no record is longer: over a slow
/// link nobody is to wait long for the next piece, or for what is behind it.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(3);

/// What a short record holds: with an ACK it is well within the 4,096 bytes of a packet that a stranger may send.
const SHORT: usize = 3_500;

/// Silence for so long is a reason to ask, if the path's own time is not longer.
const ASK_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    path: PathId,
    /// Whether the peer was heard on it in this session.
    heard: bool,
    /// Whether the next record has to be short: the peer does not know yet whose path it is.
    short: bool,
    rtt: Rtt,
    piece: usize,
    slow: bool,
    /// How many records that ask for an acknowledgement and have none have begun to leave by it, and how many have left whole.
    begun: usize,
    left: usize,
    /// Since when such a record has begun to leave, or left whole, and none was acknowledged.
    stuck_since: Option<Instant>,
    waiting_since: Option<Instant>,
    ping: Ping,
}

/// How far the session has come in asking whether anybody is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ping {
    None,
    Due,
    /// It is sealed.
    Asked(Instant),
    /// It was not answered in time, or by STALE: this session is not known at the other end.
    InVain,
}

impl Lane {
    fn new(path: PathId, short: bool) -> Self {
        Self {
            path,
            heard: false,
            short,
            rtt: Rtt::default(),
            piece: LEAST_PIECE,
            slow: false,
            begun: 0,
            left: 0,
            stuck_since: None,
            waiting_since: None,
            ping: Ping::None,
        }
    }

    pub(super) fn path(&self) -> PathId {
        self.path
    }

    pub(crate) fn is_heard(&self) -> bool {
        self.heard
    }

    /// How much of a long message goes in one record.
    pub(super) fn piece(&self) -> usize {
        self.piece
    }

    /// How much of whatever waits goes in one record.
    pub(super) fn room(&self) -> usize {
        match (self.short, self.slow) {
            (true, _) => SHORT,
            (false, true) => LEAST_PIECE,
            (false, false) => PIECE,
        }
    }

    pub(crate) fn rtt(&mut self) -> &mut Rtt {
        &mut self.rtt
    }

    /// The peer was heard on it, in a record or a WELCOME of this session.
    pub(super) fn hear(&mut self) {
        self.heard = true;
        if self.ping == Ping::InVain {
            self.ping = Ping::None;
        }
    }

    /// What has gone by it so far may not have told the peer whose path it is.
    pub(super) fn is_short_again(&mut self, short: bool) {
        self.short |= short;
    }

    pub(super) fn wants_ping(&self) -> bool {
        self.ping == Ping::Due
    }

    /// Asks whether anybody is there who knows the session, unless that is being asked, or was in vain.
    pub(super) fn ask(&mut self) {
        if self.ping == Ping::None {
            self.ping = Ping::Due;
        }
    }

    pub(super) fn has_asked_in_vain(&self) -> bool {
        self.ping == Ping::InVain
    }

    /// Nothing of the session is known where it leads to, as it seems. Says whether that is news.
    pub(super) fn answered_in_vain(&mut self) -> bool {
        let is_news = !self.heard && self.ping != Ping::InVain;
        if is_news {
            self.ping = Ping::InVain;
        }
        is_news
    }

    pub(super) fn pinged(&mut self, now: Instant) {
        self.ping = Ping::Asked(now);
    }

    /// The question never leaves.
    pub(super) fn ask_again(&mut self) {
        if matches!(self.ping, Ping::Asked(_)) {
            self.ping = Ping::Due;
        }
    }

    /// The first bytes of a record have left; it may be `open` still.
    pub(super) fn begun(&mut self, open: bool, now: Instant) {
        self.short = false;
        if open {
            self.begun += 1;
            self.stuck_since.get_or_insert(now);
        }
    }

    /// All of an open record has left.
    pub(super) fn left(&mut self, now: Instant) {
        if self.stuck_since.is_some_and(|since| since + LATE < now) {
            (self.piece, self.slow) = (LEAST_PIECE, true);
        }
        self.left += 1;
        self.waiting_since.get_or_insert(now);
    }

    /// The peer has acknowledged a record that was open: whoever is at the other end holds the session, wherever it says so.
    pub(super) fn answered(&mut self, now: Instant) {
        self.hear();
        self.short = false;
        match self.stuck_since.replace(now).map(|since| now.saturating_since(since)) {
            Some(taken) if taken > LATE => (self.piece, self.slow) = (LEAST_PIECE, true),
            Some(taken) if taken < SOON && !taken.is_zero() => {
                (self.piece, self.slow) = ((self.piece * 2).min(PIECE), false);
            }
            Some(_) => {}
            None => self.stuck_since = None,
        }
        self.waiting_since = self.waiting_since.map(|_| now);
        self.is_answered();
    }

    /// Somebody is there, so that the question has its answer.
    pub(super) fn is_answered(&mut self) {
        if matches!(self.ping, Ping::Asked(_)) {
            self.ping = Ping::None;
        }
    }

    /// A record is acknowledged, lost or withdrawn, of which bytes had `begun` to leave, and all had `left`.
    pub(super) fn settled(&mut self, begun: bool, left: bool) {
        debug_assert!(self.begun >= usize::from(begun) && self.left >= usize::from(left), "a record is settled once");
        self.begun = self.begun.saturating_sub(usize::from(begun));
        self.left = self.left.saturating_sub(usize::from(left));
        if self.begun == 0 {
            self.stuck_since = None;
        }
        if self.left == 0 {
            self.waiting_since = None;
        }
    }

    /// Whether the answer to what has left at this moment may still come.
    pub(super) fn is_patient(&self, since: Instant, now: Instant) -> bool {
        since + self.patience() > now
    }

    /// How long silence may last before the peer is asked.
    fn patience(&self) -> Duration {
        ASK_AFTER.max(self.rtt.timeout() * 4)
    }

    /// How long a question may go without an answer before the path is dead.
    fn patience_asked(&self) -> Duration {
        ASK_AFTER.max(self.rtt.timeout() * 2) * 4
    }

    /// When the peer is to be asked, or has been asked in vain.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let since = self.waiting_since?;
        match self.ping {
            Ping::None => Some(since + self.patience()),
            Ping::Asked(at) if !self.heard => Some(at.max(since) + self.patience()),
            Ping::Due | Ping::Asked(_) | Ping::InVain => None,
        }
    }

    /// Does what is due. Says whether it was asked in vain just now.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        if self.deadline().is_none_or(|due| due > now) {
            return false;
        }
        if self.ping == Ping::None {
            self.ping = Ping::Due;
            return false;
        }
        self.answered_in_vain()
    }

    /// When the peer was asked on this path, on which it was heard, if it owes the answer; and how long it may be silent.
    pub(super) fn silence(&self) -> Option<(Instant, Duration)> {
        match (self.ping, self.waiting_since) {
            (Ping::Asked(at), Some(_)) if self.heard => Some((at, self.patience_asked())),
            _ => None,
        }
    }

    /// Since when something that has begun to leave waits for an acknowledgement and none has come.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    pub(super) fn check(&self, begun: usize, left: usize) {
        debug_assert!(self.heard || self.ping != Ping::None, "who is there is known, or asked, or was asked in vain");
        debug_assert_eq!((self.begun, self.left), (begun, left), "each open record is counted");
        debug_assert_eq!(begun > 0, self.stuck_since.is_some(), "whoever waits knows since when");
        debug_assert_eq!(left > 0, self.waiting_since.is_some(), "whoever waits knows since when");
    }
}

/// The paths of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lanes(Vec<Lane>);

impl Lanes {
    pub(super) fn get(&self, path: PathId) -> Option<&Lane> {
        self.0.iter().find(|lane| lane.path == path)
    }

    pub(super) fn get_mut(&mut self, path: PathId) -> Option<&mut Lane> {
        self.0.iter_mut().find(|lane| lane.path == path)
    }

    /// The lane of a path, which is made if there is none.
    pub(super) fn join(&mut self, path: PathId, short: bool) -> &mut Lane {
        let at = self.0.iter().position(|lane| lane.path == path);
        let at = at.unwrap_or_else(|| {
            // There is mostly one, and it stays.
            self.0.reserve_exact(1);
            self.0.push(Lane::new(path, short));
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    pub(super) fn remove(&mut self, path: PathId) {
        self.0.retain(|lane| lane.path != path);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Lane> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> core::slice::IterMut<'_, Lane> {
        self.0.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pieces_grow_while_acknowledgements_come_soon_and_no_record_is_long_where_they_come_late() {
        let path = PathId::Stream(ConnectionId(Slab::new().insert(())));
        let (mut lane, mut now) = (Lane::new(path, false), Instant::ZERO);
        assert_eq!((lane.piece(), lane.room()), (LEAST_PIECE, PIECE));
        lane.begun(true, now);
        for pieces in [2, 4, 8, 16, 16] {
            now = now + 400 * MS;
            lane.answered(now);
            lane.answered(now);
            assert_eq!((lane.piece(), lane.room()), (pieces * LEAST_PIECE, PIECE), "one ACK may name many records");
        }
        lane.answered(now + 1000 * MS);
        assert_eq!((lane.piece(), lane.room()), (PIECE, PIECE));
        lane.answered(now + 4001 * MS);
        assert_eq!((lane.piece(), lane.room()), (LEAST_PIECE, LEAST_PIECE));
        lane.answered(now + 4002 * MS);
        assert_eq!((lane.piece(), lane.room()), (2 * LEAST_PIECE, PIECE));
    }
}
