//! How long what went wrong is felt between two nodes after it is over.
//!
//! A cut connection ends nothing and costs time: who waits dials again, more slowly each time in vain. So after the last fault the time in
//! which a query is through has a bound, the sum of what may be under way at that moment. By PROTOCOL.md, sections 7, 11 and 15:
//!
//! | waits | at most |
//! |---|---|
//! | a dial that was not answered, until its system tries again | as long as the trouble has lasted, and a second; `connect` |
//! | a rest after a round in which everything failed | 1, 2, 4 ... 30 s, so about as long as the trouble has lasted |
//! | a pause after a path that ended with nothing got through, or an end without proof | 0.25, 0.5 ... 4 s |
//! | a question to a directory that was silent | `lookup` |
//! | the next handshake | 1 s after the last one |
//! | what was asked of a life of the peer that has ended, until another one is believed that it does not know it | 30 s |
//! | on a slow link: paths that are believed dead, with twice the patience each time | a few times what a record takes |
//!
//! Nothing has to be found dead: a host that has lost its power says so once it is back, and what was held up comes.

use std::time::Duration;

use egtp::Instant;

use super::faults::{Fault, Kind, Place};
use super::model::{Model, Setting};
use crate::NodeIndex;

const LONGEST_REST: Duration = Duration::from_millis(33_750);
const LONGEST_PAUSE: Duration = Duration::from_millis(4_500);

/// The first pause of a quarter of a second, and an eighth of it.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(290);

/// Between two handshakes with one peer.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// A session has to be without a path for so long before what another life of the peer says of it is believed, and it is believed for as
/// long itself.
const ALONE: Duration = Duration::from_secs(30);

/// Paths to one peer, which may all end at once.
const PATHS: u32 = 4;

/// A strategy has failed after so many ends without proof in a row.
const ENDS: usize = 5;

/// A path is not believed dead before this.
const PATIENCE: Duration = Duration::from_secs(4);

impl Model {
    /// When nothing is felt any more of what went wrong before, in what one node asks of another then; `None` while something goes wrong.
    pub(super) fn recovered(&self, from: NodeIndex, to: NodeIndex, asked: Instant) -> Option<Instant> {
        let faults: Vec<&Fault> =
            self.faults.between(from, to).filter(|fault| self.concerns(from, to, fault)).collect();
        let mut recovered = Instant::ZERO;
        for fault in &faults {
            recovered = recovered.max(fault.until? + self.is_felt_for(from, to, fault, &faults));
        }
        let unheard = faults.iter().filter(|fault| self.may_be_unheard_of(from, to, fault, asked));
        if let Some(end) = unheard.filter_map(|end| self.heard_of(from, to, end, asked)).max() {
            recovered = recovered.max(end + self.at_most(from, ALONE + HANDSHAKES + LONGEST_PAUSE));
        }
        Some(recovered)
    }

    /// Whether something may have been asked of a life of the peer that had ended by then: its session is believed for a while, and an
    /// idle connection with a host that had no power until something is written.
    fn may_be_unheard_of(&self, from: NodeIndex, to: NodeIndex, fault: &Fault, asked: Instant) -> bool {
        let idle = if fault.kind == Kind::Off { self.nodes[&from].timers.idle } else { Duration::ZERO };
        let believed = self.at_most(from, idle + ALONE);
        // A clock that jumps beyond a session's life ends it as well.
        from != to
            && (Kind::ENDS.contains(&fault.kind) || fault.kind == Kind::Clock)
            && fault.place == Place::Node(to)
            && self.heard_of(from, to, fault, fault.from).is_none_or(|heard| heard + believed >= asked)
    }

    /// When it is heard of that the peer's process has ended, if that is so: what stalls holds the news up.
    fn heard_of(&self, from: NodeIndex, to: NodeIndex, end: &Fault, asked: Instant) -> Option<Instant> {
        let mut heard = end.until?.max(asked);
        for stall in self.faults.find((from, to), &Kind::STALLS, end.from, heard) {
            heard = heard.max(stall.until?);
        }
        Some(heard)
    }

    /// Whether a fault may keep what one node asks of another from being answered.
    fn concerns(&self, from: NodeIndex, to: NodeIndex, fault: &Fault) -> bool {
        let peer = Place::Node(to);
        match fault.kind {
            // Who asks dials, and knows where.
            Kind::Deaf | Kind::Nat => fault.place == peer,
            Kind::Unknown => fault.place == peer && !self.need_not_look_up(from, to, fault),
            Kind::Directory => !self.need_not_look_up(from, to, fault),
            Kind::Outdated => fault.place == Place::Way(from, to),
            _ => true,
        }
    }

    /// Whether one node has dialled another before the directory failed it, and no dial can have failed since.
    fn need_not_look_up(&self, from: NodeIndex, to: NodeIndex, fault: &Fault) -> bool {
        let dialled = self.reach.first_dial(from, to).is_some_and(|first| first < fault.from);
        let until = fault.until.map(|until| until + self.at_most(from, self.nodes[&from].timers.lookup));
        let trouble = |other: &&Fault| {
            let of_the_directory = matches!(other.kind, Kind::Unknown | Kind::Directory);
            !of_the_directory
                && other.is_within(back(fault.from, LONGEST_REST), until.unwrap_or(Instant::from_micros(u64::MAX)))
        };
        dialled && !self.faults.between(from, to).any(|other| trouble(&other))
    }

    /// How long it is felt after its end.
    fn is_felt_for(&self, from: NodeIndex, to: NodeIndex, fault: &Fault, others: &[&Fault]) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let end = fault.until.unwrap_or(fault.from);
        let trouble = end.saturating_since(trouble_since(fault.from, others));
        let ended = others.iter().filter(|other| other.is_within(back(end, LONGEST_REST), end)).count();
        let pause = pause_after(u32::try_from(ended).unwrap_or(u32::MAX));
        let rest = rest_after(trouble);
        let Setting { timers, .. } = &self.nodes[&from];
        let dial = (trouble + Duration::from_secs(1)).min(timers.connect);
        let felt = match fault.kind {
            Kind::Cut if ended <= ENDS => pause,
            Kind::Cut | Kind::Down | Kind::Deaf | Kind::Unknown | Kind::Outdated => pause + rest,
            Kind::Directory => timers.lookup + pause + rest,
            _ => dial + pause + rest,
        };
        self.at_most(from, felt + HANDSHAKES) + self.pace.ways(8)
    }

    /// How much longer a slow link takes, since its paths are believed dead until patience has grown: by then a record has been sent for
    /// nothing a few times.
    pub(super) fn impatience(&self, from: NodeIndex, to: NodeIndex) -> Duration {
        let takes = self.pace.takes_for_a_record(from, to).max(self.pace.takes_for_a_record(to, from));
        if takes < PATIENCE { Duration::ZERO } else { takes * 6 + PATIENCE * 2 }
    }

    /// How long at most something lasts at a node that is measured by its own clock.
    pub(super) fn at_most(&self, node: NodeIndex, time: Duration) -> Duration {
        self.nodes[&node].at_most(time)
    }
}

/// Since when there has been trouble without a break that is long enough to recover.
fn trouble_since(since: Instant, faults: &[&Fault]) -> Instant {
    let mut began = since;
    loop {
        let touches = |fault: &&&Fault| {
            fault.from < began && fault.until.is_none_or(|until| until + LONGEST_REST + LONGEST_PAUSE >= began)
        };
        match faults.iter().filter(touches).map(|fault| fault.from).min() {
            Some(earlier) => began = earlier,
            None => return began,
        }
    }
}

/// The longest rest that may have begun in so much trouble: each is twice as long as the one before, give or take an eighth.
fn rest_after(trouble: Duration) -> Duration {
    LONGEST_REST.min(trouble * 13 / 10 + Duration::from_millis(1_200))
}

/// The longest pause after so many things in a row that may have ended every path.
fn pause_after(times: u32) -> Duration {
    let doublings = times.saturating_mul(PATHS).saturating_sub(1).min(5);
    LONGEST_PAUSE.min(FIRST_PAUSE * (1 << doublings))
}

pub(super) fn back(at: Instant, by: Duration) -> Instant {
    let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Instant::from_micros(at.as_micros().saturating_sub(by))
}
