//! The way to a peer: its comm strategies and their standing (*EGTP Architecture 0.2*, III.A), and what comes next when it is to be reached.
//!
//! A strategy is a transport: a TCP address here; an open connection is one as well and always comes first; relays follow.
//! Encryption is none of them: the session is the layer above, as the founding document wished it had been.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::id::{ConnectionId, LookupId};
use crate::query::{Attempt, AttemptResult, Failure, Strategy};
use crate::record::SignedRecord;
use crate::time::Instant;

/// Whoever opens a connection and ends it before anything is proved has no room now: the address is tried again after this, then twice that,
/// up to the longest, and has failed after so many times in a row.
const TURNED_AWAY_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
const MOST_TURNED_AWAY: u32 = 5;

/// Between rounds in which every strategy has failed, while something is still awaited from the peer.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Way {
    addresses: Vec<Standing>,
    failures: u64,
    dial: Option<Dial>,
    lookup: Lookup,
    /// What was tried since the peer was last reached or given up, the oldest first.
    tried: VecDeque<Attempt>,
    /// Nothing is tried before this.
    rests_until: Option<Instant>,
    rounds: u32,
    /// How many paths, or sessions, have ended in a row without anything having been acknowledged.
    fruitless: u32,
}

#[derive(Clone, Debug)]
struct Standing {
    address: SocketAddr,
    /// Of the record that names it, and its place in that.
    sequence: u64,
    place: usize,
    /// Zero, or the running number of its latest failure: the later it failed, the further back it is put.
    failed: u64,
    state: State,
}

/// How far an address was tried in this round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Untried,
    /// It had no room so often, and is tried again then.
    TurnedAway {
        times: u32,
        again: Instant,
    },
    Failed(AttemptResult),
}

/// The connection that is being opened, or on which the peer has not been met yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dial {
    pub(crate) connection: ConnectionId,
    pub(crate) address: SocketAddr,
    pub(crate) since: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Lookup {
    #[default]
    NotAsked,
    /// For a place among the questions to the Lookup Service.
    Waits,
    Asked(LookupId),
    Answered,
}

/// What is to be done next to reach the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Dial(SocketAddr),
    LookUp,
    /// Something is under way, or there is a pause: until then, if that is known.
    Wait(Option<Instant>),
    /// Nothing is left to try.
    GiveUp,
}

impl Way {
    /// Takes over what a newer record says: what it names no longer is forgotten, what it still names keeps its standing.
    pub(crate) fn adopt(&mut self, record: &SignedRecord) {
        let named = record.strategies().addresses.iter().enumerate().map(|(place, &address)| {
            let known = self.addresses.iter().find(|standing| standing.address == address);
            Standing {
                address,
                sequence: record.sequence(),
                place,
                failed: known.map_or(0, |standing| standing.failed),
                state: known.map_or(State::Untried, |standing| standing.state),
            }
        });
        self.addresses = named.collect();
        self.sort();
    }

    /// What failed least recently comes first, then what is newer, routable, and named earlier by the peer itself.
    fn sort(&mut self) {
        self.addresses.sort_by_key(|standing| {
            let routable = is_routable(standing.address.ip());
            (standing.failed, Reverse(standing.sequence), Reverse(routable), standing.place)
        });
    }

    pub(crate) fn dial(&self) -> Option<Dial> {
        self.dial
    }

    /// Whether the Lookup Service is being asked, or nothing is known that could be dialled.
    pub(crate) fn is_looked_up(&self) -> bool {
        matches!(self.lookup, Lookup::Waits | Lookup::Asked(_)) || self.addresses.is_empty()
    }

    /// The question to the Lookup Service that is open.
    pub(crate) fn lookup(&self) -> Option<LookupId> {
        match self.lookup {
            Lookup::Asked(lookup) => Some(lookup),
            Lookup::NotAsked | Lookup::Waits | Lookup::Answered => None,
        }
    }

    /// What comes next, by now.
    pub(crate) fn next(&self, now: Instant) -> Next {
        if self.dial.is_some() {
            return Next::Wait(None);
        }
        if let Some(until) = self.rests_until.filter(|until| *until > now) {
            return Next::Wait(Some(until));
        }
        let ready = |standing: &&Standing| match standing.state {
            State::Untried => true,
            State::TurnedAway { again, .. } => again <= now,
            State::Failed(_) => false,
        };
        if let Some(standing) = self.addresses.iter().find(ready) {
            return Next::Dial(standing.address);
        }
        let pauses = self.addresses.iter().filter_map(|standing| match standing.state {
            State::TurnedAway { again, .. } => Some(again),
            State::Untried | State::Failed(_) => None,
        });
        match (self.lookup, pauses.min()) {
            (Lookup::NotAsked, _) => Next::LookUp,
            (Lookup::Waits | Lookup::Asked(_), pause) => Next::Wait(pause),
            (Lookup::Answered, Some(pause)) => Next::Wait(Some(pause)),
            (Lookup::Answered, None) => Next::GiveUp,
        }
    }

    pub(crate) fn dials(&mut self, connection: ConnectionId, address: SocketAddr, now: Instant) {
        debug_assert!(self.dial.is_none(), "one connection is opened at a time");
        self.dial = Some(Dial { connection, address, since: now });
    }

    /// A dial is not wanted any more; nothing is concluded from it.
    pub(crate) fn abandon_dial(&mut self) -> Option<ConnectionId> {
        self.dial.take().map(|dial| dial.connection)
    }

    /// The connection that was dialled has ended, before the peer was met on it. `pause` is a part of the pause that follows, by chance.
    pub(crate) fn dial_failed(
        &mut self,
        connection: ConnectionId,
        result: AttemptResult,
        now: Instant,
        mut pause: impl FnMut(Duration) -> Duration,
    ) -> bool {
        let Some(dial) = self.dial.take_if(|dial| dial.connection == connection) else { return false };
        self.tried(Attempt {
            strategy: Strategy::Address(dial.address),
            result,
            took: now.saturating_since(dial.since),
        });
        let Some(standing) = self.addresses.iter_mut().find(|standing| standing.address == dial.address) else {
            return true;
        };
        let times = match standing.state {
            State::TurnedAway { times, .. } => times + 1,
            State::Untried | State::Failed(_) => 1,
        };
        let turned_away = result == AttemptResult::TurnedAway && times <= MOST_TURNED_AWAY;
        if turned_away || result == AttemptResult::Busy {
            let about = (TURNED_AWAY_PAUSE * (1 << (times - 1).min(4))).min(LONGEST_PAUSE);
            standing.state = State::TurnedAway { times, again: now + pause(about) };
        } else {
            self.failures = self.failures.saturating_add(1);
            standing.failed = self.failures;
            standing.state = State::Failed(result);
            self.sort();
        }
        true
    }

    /// Whoever is at the other end of the dial has no room before then. If another address may be tried meanwhile, the dial is over.
    pub(crate) fn is_busy(&mut self, connection: ConnectionId, until: Instant, now: Instant) -> bool {
        let Some(dial) = self.dial.filter(|dial| dial.connection == connection) else { return false };
        let is_ready = |standing: &Standing| match standing.state {
            State::Untried => true,
            State::TurnedAway { again, .. } => again <= now,
            State::Failed(_) => false,
        };
        let has_other = self.addresses.iter().any(|standing| standing.address != dial.address && is_ready(standing));
        if has_other {
            self.dial = None;
            let took = now.saturating_since(dial.since);
            self.tried(Attempt { strategy: Strategy::Address(dial.address), result: AttemptResult::Busy, took });
            if let Some(standing) = self.addresses.iter_mut().find(|standing| standing.address == dial.address) {
                standing.state = State::TurnedAway { times: 1, again: until };
            }
        }
        has_other
    }

    /// Notes what came of an attempt.
    pub(crate) fn tried(&mut self, attempt: Attempt) {
        if self.tried.len() >= Failure::MAX_TRIED {
            self.tried.pop_front();
        }
        self.tried.push_back(attempt);
    }

    /// What was tried since the peer was last reached or given up.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.tried.iter().copied().collect()
    }

    /// Whether this very address has refused a connection at once in this round.
    pub(crate) fn has_refused(&self, address: SocketAddr) -> bool {
        let standing = self.addresses.iter().find(|standing| standing.address == address);
        standing.is_some_and(|standing| standing.state == State::Failed(AttemptResult::Refused))
    }

    /// The peer was met, on a connection that was dialled to this address if it was. Everything may be tried again when that ends.
    pub(crate) fn reached(&mut self, connection: ConnectionId, address: Option<SocketAddr>) {
        self.dial.take_if(|dial| dial.connection == connection);
        if let Some(standing) = self.addresses.iter_mut().find(|standing| Some(standing.address) == address) {
            standing.failed = 0;
        }
        self.sort();
        self.start_over();
        self.tried.clear();
        self.rounds = 0;
    }

    /// Something has got through: what follows an end is not in vain.
    pub(crate) fn bears_fruit(&mut self) {
        self.fruitless = 0;
    }

    /// A path or a session has ended. If nothing got through, the next attempt waits a while, longer each time.
    pub(crate) fn ended(&mut self, now: Instant, mut pause: impl FnMut(Duration) -> Duration) {
        let about = match self.fruitless {
            0 => Duration::ZERO,
            times => (TURNED_AWAY_PAUSE * (1 << (times - 1).min(4))).min(LONGEST_PAUSE),
        };
        self.fruitless = self.fruitless.saturating_add(1);
        if !about.is_zero() {
            let until = now + pause(about);
            self.rests_until = Some(self.rests_until.map_or(until, |before| before.max(until)));
        }
    }

    /// Nothing is tried before then.
    pub(crate) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.rests_until.filter(|until| *until > now)
    }

    /// Nothing is left to try. The next attempt may try everything again; while something is awaited still, after a rest.
    pub(crate) fn give_up(&mut self, awaited: bool, now: Instant, mut pause: impl FnMut(Duration) -> Duration) {
        self.start_over();
        self.tried.clear();
        if awaited {
            let about = (FIRST_REST * (1 << self.rounds.min(5))).min(LONGEST_REST);
            self.rounds = self.rounds.saturating_add(1);
            self.rests_until = Some(now + pause(about));
        }
    }

    /// Nobody waits for the peer any more.
    pub(crate) fn rest(&mut self) {
        self.start_over();
        self.tried.clear();
        self.rests_until = None;
        self.rounds = 0;
    }

    fn start_over(&mut self) {
        for standing in &mut self.addresses {
            standing.state = State::Untried;
        }
        if self.lookup == Lookup::Answered {
            self.lookup = Lookup::NotAsked;
        }
    }

    /// A query that was never tried begins: it does not wait for the rest of those that are.
    pub(crate) fn wake(&mut self) {
        // The first end in vain is followed by no pause: what rests then rests after a round.
        if self.fruitless <= 1 {
            self.rests_until = None;
        }
    }

    /// It waits for a place among the questions to the Lookup Service.
    pub(crate) fn waits_for_lookup(&mut self) {
        self.lookup = Lookup::Waits;
    }

    /// It may ask again: there is a place.
    pub(crate) fn may_look_up(&mut self) {
        if self.lookup == Lookup::Waits {
            self.lookup = Lookup::NotAsked;
        }
    }

    /// The question is asked, if it still waits for that. Says whether it does.
    pub(crate) fn looks_up(&mut self, lookup: LookupId) -> bool {
        let waits = self.lookup == Lookup::Waits;
        if waits {
            self.lookup = Lookup::Asked(lookup);
        }
        waits
    }

    /// The Lookup Service knows nothing more.
    pub(crate) fn looked_up(&mut self, lookup: LookupId) {
        if self.lookup == Lookup::Asked(lookup) {
            self.lookup = Lookup::Answered;
        }
    }
}

/// Whether packets to this address find their way across the public internet.
pub(crate) fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240;
            let benchmark = a == 198 && (b == 18 || b == 19);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || shared
                || reserved
                || benchmark)
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            let global_unicast = first & 0xe000 == 0x2000;
            let documentation = first == 0x2001 && ip.segments()[1] == 0x0db8;
            global_unicast && !documentation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::record::Strategies;
    use crate::slab::Slab;

    const MS: Duration = Duration::from_millis(1);

    fn record(sequence: u64, addresses: &[&str]) -> SignedRecord {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let identity = Identity::from_seed(&[1; 32]);
        SignedRecord::sign(&identity, sequence, Strategies { addresses, relays: Vec::new() }).unwrap()
    }

    fn way(addresses: &[&str]) -> Way {
        let mut way = Way::default();
        way.adopt(&record(1, addresses));
        way
    }

    fn order(way: &Way) -> Vec<SocketAddr> {
        way.addresses.iter().map(|standing| standing.address).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn connection() -> ConnectionId {
        ConnectionId(Slab::<()>::new().next_key())
    }

    /// Dials what comes next, and it ends like this.
    fn dial(way: &mut Way, now: Instant, result: AttemptResult) -> SocketAddr {
        let Next::Dial(address) = way.next(now) else { panic!("{:?}", way.next(now)) };
        way.dials(connection(), address, now);
        assert_eq!(way.next(now), Next::Wait(None));
        assert!(way.dial_failed(connection(), result, now + MS, |pause| pause));
        address
    }

    fn looks_up(way: &mut Way, now: Instant) {
        assert_eq!(way.next(now), Next::LookUp);
        let lookup = LookupId(Slab::<()>::new().next_key());
        way.waits_for_lookup();
        assert!(way.looks_up(lookup));
        assert!(matches!(way.next(now), Next::Wait(_)));
        way.looked_up(lookup);
    }

    #[test]
    fn a_routable_address_comes_before_one_that_is_not() {
        let way = way(&["10.0.0.1:1", "9.9.9.9:1", "127.0.0.1:1"]);
        assert_eq!(order(&way), addresses(&["9.9.9.9:1", "10.0.0.1:1", "127.0.0.1:1"]));
    }

    #[test]
    fn each_address_is_tried_once_and_then_the_lookup_service_and_then_it_is_given_up() {
        let mut way = way(&["9.9.9.1:1", "9.9.9.2:1"]);
        assert_eq!(dial(&mut way, at(0), AttemptResult::Refused), "9.9.9.1:1".parse().unwrap());
        assert_eq!(dial(&mut way, at(0), AttemptResult::Silent), "9.9.9.2:1".parse().unwrap());
        looks_up(&mut way, at(0));
        assert_eq!(way.next(at(0)), Next::GiveUp);
        assert!(way.has_refused("9.9.9.1:1".parse().unwrap()));
        assert!(!way.has_refused("9.9.9.2:1".parse().unwrap()), "nobody answered there: that is no refusal");
        let tried: Vec<AttemptResult> = way.attempts().iter().map(|attempt| attempt.result).collect();
        assert_eq!(tried, [AttemptResult::Refused, AttemptResult::Silent]);
        way.adopt(&record(2, &["9.9.9.2:1", "9.9.9.4:1"]));
        assert_eq!(
            way.next(at(0)),
            Next::Dial("9.9.9.4:1".parse().unwrap()),
            "a newer record brings what was not tried"
        );
    }

    #[test]
    fn the_one_that_failed_last_is_put_behind_all_others() {
        let mut way = way(&["9.9.9.1:1", "9.9.9.2:1", "9.9.9.3:1"]);
        dial(&mut way, at(0), AttemptResult::Refused);
        assert_eq!(order(&way), addresses(&["9.9.9.2:1", "9.9.9.3:1", "9.9.9.1:1"]));
        way.dials(connection(), "9.9.9.1:1".parse().unwrap(), at(0));
        way.reached(connection(), Some("9.9.9.1:1".parse().unwrap()));
        assert_eq!(order(&way)[0], "9.9.9.1:1".parse().unwrap());
    }

    #[test]
    fn whoever_turns_away_is_tried_again_five_times_with_growing_pauses() {
        let mut way = way(&["9.9.9.1:1"]);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..5 {
            dial(&mut way, now, AttemptResult::TurnedAway);
            looks_up(&mut way, now);
            let Next::Wait(Some(again)) = way.next(now + MS) else { panic!("it pauses") };
            pauses.push(again.saturating_since(now + MS).as_millis());
            now = again;
            way.lookup = Lookup::NotAsked;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000]);
        dial(&mut way, now, AttemptResult::TurnedAway);
        looks_up(&mut way, now);
        assert_eq!(way.next(now), Next::GiveUp);
    }

    #[test]
    fn whoever_is_busy_is_never_given_up() {
        let mut way = way(&["9.9.9.1:1"]);
        let mut now = at(0);
        for _ in 0..20 {
            dial(&mut way, now, AttemptResult::Busy);
            now = now + 5000 * MS;
        }
    }

    #[test]
    fn what_ends_in_vain_again_and_again_is_begun_less_and_less_often() {
        let mut way = way(&["9.9.9.1:1"]);
        way.ended(at(0), |pause| pause);
        assert!(matches!(way.next(at(0)), Next::Dial(_)), "once is chance");
        way.ended(at(0), |pause| pause);
        assert_eq!(way.next(at(0)), Next::Wait(Some(at(250))));
        way.bears_fruit();
        way.ended(at(1000), |pause| pause);
        assert!(matches!(way.next(at(1000)), Next::Dial(_)));
    }

    #[test]
    fn while_something_is_awaited_rounds_follow_each_other_with_rests() {
        let mut way = way(&["9.9.9.1:1"]);
        let mut now = at(0);
        for rest in [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            dial(&mut way, now, AttemptResult::Silent);
            looks_up(&mut way, now);
            assert_eq!(way.next(now), Next::GiveUp);
            way.give_up(true, now, |pause| pause);
            assert_eq!(way.next(now), Next::Wait(Some(now + rest * MS)));
            now = now + rest * MS;
        }
        way.wake();
        assert!(matches!(way.next(now), Next::Dial(_)));
    }

    #[test]
    fn what_the_registries_reserve_is_not_routable() {
        let not = [
            "0.1.2.3",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
            "ff02::1",
            "::",
        ];
        for text in not {
            assert!(!is_routable(text.parse().unwrap()), "{text}");
        }
        for text in ["9.9.9.9", "100.128.0.1", "172.32.0.1", "2606:4700::1"] {
            assert!(is_routable(text.parse().unwrap()), "{text}");
        }
    }
}
