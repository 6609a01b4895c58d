//! All connections of a node, and what they share.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::outbound::{Handed, Outbound, RecordName};
use super::stream::PacketStream;
use super::throttle::{Bucket, NextRound, SharedBucket, Taken};
use super::{Connection, ConnectionDue, FILL_TARGET, MOST_UNREAD, Owner, Phase};
use crate::config::{Rate, Throttle, Timers};
use crate::id::ConnectionId;
use crate::query::Hint;
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::timer::{Timer, TimerSet};
use crate::wire::packet::SessionId;

/// How often surplus connections are looked for, while there are any.
pub(crate) const TIDY_EVERY: Duration = Duration::from_secs(5);

/// The most that one read is asked to bring.
const READ_AT_MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Connections {
    slab: Slab<Connection>,
    /// How many were accepted and not proved.
    strangers: usize,
    /// Those with something to write.
    writers: BTreeSet<ConnectionId>,
    /// Those that read more as soon as the shared throttle lets them.
    readers: BTreeSet<ConnectionId>,
    throttle: Throttle,
    up: SharedBucket,
    down: SharedBucket,
    handed: Vec<Handed>,
    /// Those whose levels have changed, to be told to the driver.
    hints: Vec<ConnectionId>,
}

impl Connections {
    pub(crate) fn new(throttle: Throttle, now: Instant) -> Self {
        Self {
            slab: Slab::new(),
            strangers: 0,
            writers: BTreeSet::new(),
            readers: BTreeSet::new(),
            up: SharedBucket::new(throttle.up, now),
            down: SharedBucket::new(throttle.down, now),
            throttle,
            handed: Vec::new(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// How many were accepted and not proved.
    pub(crate) fn strangers(&self) -> usize {
        self.strangers
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.slab.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slab.get_mut(id.0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.slab.iter().map(|(_, connection)| connection)
    }

    pub(crate) fn ids(&self) -> Vec<ConnectionId> {
        self.slab.keys_by_age().into_iter().map(ConnectionId).collect()
    }

    /// A connection that somebody has opened.
    pub(crate) fn accept(&mut self, now: Instant, from: SocketAddr, timers: (&Timers, &mut TimerSet)) -> ConnectionId {
        let id = self.insert(now, from, false, Phase::Open, Owner::Stranger);
        self.strangers += 1;
        self.hint(id);
        self.arm(now, id, timers);
        id
    }

    /// A connection that is to be opened to meet this peer.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        to: SocketAddr,
        peer: Key,
        timers: (&Timers, &mut TimerSet),
    ) -> ConnectionId {
        let id = self.insert(now, to, true, Phase::Dialling, Owner::Meant(peer));
        self.arm(now, id, timers);
        id
    }

    fn insert(&mut self, now: Instant, remote: SocketAddr, dialled: bool, phase: Phase, owner: Owner) -> ConnectionId {
        let id = ConnectionId(self.slab.next_key());
        let key = self.slab.insert(Connection {
            id,
            remote,
            dialled,
            phase,
            owner,
            since: now,
            inbound: PacketStream::default(),
            outbound: Outbound::default(),
            brought_a_record: false,
            introduced: false,
            idle: true,
            hint: Hint::None,
            used: now,
            heard: now,
            taken: now,
            messages: 0,
            up: Bucket::new(self.throttle.up_per_connection, now),
            down: Bucket::new(self.throttle.down_per_connection, now),
            taken_up: Taken::default(),
            taken_down: Taken::default(),
            stale_said: None,
            hinted: false,
        });
        debug_assert_eq!(key, id.0);
        id
    }

    /// A dialled connection is open. Says whether it was being dialled.
    pub(crate) fn opened(&mut self, now: Instant, id: ConnectionId, timers: (&Timers, &mut TimerSet)) -> bool {
        let Some(connection) = self.get_mut(id).filter(|connection| connection.phase == Phase::Dialling) else {
            return false;
        };
        connection.phase = Phase::Open;
        (connection.since, connection.heard) = (now, now);
        self.hint(id);
        self.arm(now, id, timers);
        true
    }

    /// It is proved whose it is.
    pub(crate) fn prove(&mut self, now: Instant, id: ConnectionId, peer: Key, timers: (&Timers, &mut TimerSet)) {
        let Some(connection) = self.slab.get_mut(id.0) else { return };
        if connection.owner == Owner::Stranger {
            self.strangers -= 1;
        }
        connection.owner = Owner::Peer(peer);
        connection.used = now;
        self.arm(now, id, timers);
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId, timers: &mut TimerSet) -> Option<Connection> {
        let connection = self.slab.remove(id.0)?;
        if connection.owner == Owner::Stranger {
            self.strangers -= 1;
        }
        self.writers.remove(&id);
        self.readers.remove(&id);
        timers.disarm(Timer::Connection(id));
        Some(connection)
    }

    /// It is to be closed once everything is written. Says whether that is so already.
    pub(crate) fn flush(&mut self, now: Instant, id: ConnectionId, timers: (&Timers, &mut TimerSet)) -> bool {
        let Some(connection) = self.get_mut(id) else { return false };
        if connection.phase == Phase::Dialling || connection.outbound.is_empty() {
            return true;
        }
        if connection.phase == Phase::Open {
            connection.phase = Phase::Flushing;
            connection.since = now;
            self.arm(now, id, timers);
        }
        false
    }

    /// Whether one is being closed: its place is free soon.
    pub(crate) fn has_leaving(&self) -> bool {
        self.iter().any(|connection| connection.phase == Phase::Flushing)
    }

    /// Whoever was asked for a handshake just now, or has no room for one, has all the time to answer.
    pub(crate) fn give_time(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.since = now;
        }
    }

    /// Something is under way on it.
    pub(crate) fn is_used(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.used = now;
        }
    }

    // Writing.

    /// The bytes to be written next, cut to what throttling allows now.
    pub(crate) fn to_write(&self, id: ConnectionId) -> &[u8] {
        let Some(connection) = self.get(id).filter(|connection| connection.phase != Phase::Dialling) else {
            return &[];
        };
        let bytes = connection.outbound.unwritten();
        &bytes[..bytes.len().min(self.may_write(connection))]
    }

    fn may_write(&self, connection: &Connection) -> usize {
        self.up.allowance(&connection.taken_up).min(connection.up.allowance())
    }

    /// How much may be sealed for it at once: nothing while anything waits to be written.
    pub(crate) fn fill_target(&self, id: ConnectionId) -> usize {
        let open = self.get(id).filter(|connection| connection.is_open() && connection.outbound.is_empty());
        open.map_or(0, |connection| self.may_write(connection).clamp(1, FILL_TARGET))
    }

    /// Puts a packet on a connection that is not sealed, unless nobody reads there.
    pub(crate) fn put(&mut self, now: Instant, id: ConnectionId, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(connection) = self.get_mut(id).filter(|connection| connection.outbound.len() <= MOST_UNREAD) else {
            return false;
        };
        if connection.phase == Phase::Dialling {
            return false;
        }
        let was_empty = connection.outbound.is_empty();
        connection.outbound.packet(|out| {
            put(out);
            Some(())
        });
        self.waits_to_be_written(now, id, was_empty);
        true
    }

    /// Puts a record on a connection, if `seal` makes one.
    pub(crate) fn put_record(
        &mut self,
        now: Instant,
        id: ConnectionId,
        seal: impl FnOnce(&mut Vec<u8>) -> Option<RecordName>,
    ) -> bool {
        let Some(connection) = self.get_mut(id).filter(|connection| connection.is_open()) else { return false };
        let was_empty = connection.outbound.is_empty();
        if connection.outbound.record(seal).is_none() {
            return false;
        }
        connection.introduced = true;
        self.waits_to_be_written(now, id, was_empty);
        true
    }

    fn waits_to_be_written(&mut self, now: Instant, id: ConnectionId, was_empty: bool) {
        if was_empty {
            if let Some(connection) = self.get_mut(id) {
                connection.taken = now;
            }
            self.writers.insert(id);
        }
        self.hint(id);
    }

    /// Takes a record back of which no byte has left.
    pub(crate) fn withdraw(&mut self, id: ConnectionId, record: RecordName) {
        if let Some(connection) = self.get_mut(id) {
            connection.outbound.withdraw(record);
            self.may_be_written(id);
        }
    }

    /// Takes back every record of a session of which no byte has left.
    pub(crate) fn withdraw_session(&mut self, id: ConnectionId, session: SessionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.outbound.withdraw_session(session);
            self.may_be_written(id);
        }
    }

    fn may_be_written(&mut self, id: ConnectionId) {
        if self.get(id).is_some_and(Connection::is_written) {
            self.writers.remove(&id);
        }
    }

    /// So many bytes have left by `now`; gives back which records left with them.
    pub(crate) fn wrote(&mut self, now: Instant, id: ConnectionId, count: usize) -> Vec<Handed> {
        let mut handed = core::mem::take(&mut self.handed);
        handed.clear();
        let Some(connection) = self.slab.get_mut(id.0).filter(|connection| connection.phase != Phase::Dialling) else {
            return handed;
        };
        let count = count.min(connection.outbound.len());
        if count == 0 {
            return handed;
        }
        self.up.refill(now);
        self.up.take(&mut connection.taken_up, count);
        connection.up.refill(now);
        connection.up.take(count);
        connection.taken = now;
        connection.outbound.wrote(count, &mut handed);
        connection.rest();
        if connection.outbound.is_empty() {
            self.writers.remove(&id);
        }
        handed
    }

    /// Gives back the row that [`wrote`](Self::wrote) lent, to be used again.
    pub(crate) fn return_row(&mut self, handed: Vec<Handed>) {
        self.handed = handed;
    }

    // Reading.

    /// How many bytes may be read now.
    pub(crate) fn wants_read(&self, id: ConnectionId) -> usize {
        let Some(connection) = self.get(id).filter(|connection| connection.is_open()) else { return 0 };
        let allowance = self.down.allowance(&connection.taken_down).min(connection.down.allowance());
        if connection.down.is_dry() { 0 } else { allowance.min(READ_AT_MOST) }
    }

    /// So many bytes have come. Says whether they are to be looked at.
    pub(crate) fn received(&mut self, now: Instant, id: ConnectionId, bytes: usize) -> bool {
        let Some(connection) = self.slab.get_mut(id.0).filter(|connection| connection.is_open()) else { return false };
        connection.down.refill(now);
        connection.down.take(bytes);
        self.down.take(&mut connection.taken_down, bytes);
        connection.heard = now;
        if self.throttle.down.is_some() {
            self.readers.insert(id);
        }
        true
    }

    // Throttle and time.

    pub(crate) fn throttle(&self) -> Throttle {
        self.throttle
    }

    pub(crate) fn set_throttle(&mut self, now: Instant, throttle: Throttle, (timers, set): (&Timers, &mut TimerSet)) {
        self.throttle = throttle;
        self.up.set_rate(throttle.up, now);
        self.down.set_rate(throttle.down, now);
        for (_, connection) in self.slab.iter_mut() {
            connection.up.set_rate(throttle.up_per_connection, now);
            connection.down.set_rate(throttle.down_per_connection, now);
        }
        for id in self.ids() {
            self.hint(id);
            self.arm(now, id, (timers, set));
        }
        self.arm_rounds(now, set);
    }

    pub(crate) fn refill(&mut self, now: Instant) {
        if self.throttle.up.is_some() || self.throttle.down.is_some() {
            self.up.refill(now);
            self.down.refill(now);
        }
    }

    /// Whether its own or the common throttle holds back what waits to be written.
    pub(crate) fn is_throttled_up(&self, id: ConnectionId) -> bool {
        self.throttle.up.is_some() && self.get(id).is_some_and(|connection| self.may_write(connection) == 0)
            || self.throttle.up_per_connection.is_some()
                && self.get(id).is_some_and(|connection| connection.up.is_dry())
    }

    /// How long the throttle may take at the most for what is sealed at once.
    pub(crate) fn throttled_for(&self) -> Duration {
        let takes = |rate: Option<Rate>, sharers: usize| {
            let bytes = FILL_TARGET.saturating_mul(sharers) as u64;
            rate.map_or(Duration::ZERO, |rate| Duration::from_secs(bytes.div_ceil(rate.as_bytes_per_second())))
        };
        let Throttle { up, up_per_connection, .. } = self.throttle;
        takes(up, self.writers.len().max(1)).max(takes(up_per_connection, 1))
    }

    /// Whether its own or the common throttle keeps it from being read.
    pub(crate) fn is_throttled_down(&self, id: ConnectionId) -> bool {
        (self.throttle.down.is_some() || self.throttle.down_per_connection.is_some()) && self.wants_read(id) == 0
    }

    /// Arms what wakes a connection.
    pub(crate) fn arm(&mut self, now: Instant, id: ConnectionId, (timers, set): (&Timers, &mut TimerSet)) {
        if let Some(connection) = self.get(id) {
            let due = connection.deadline(timers);
            match due {
                // What only pushes its end further away is found when it goes off.
                Some(due) => set.arm_no_later(now, Timer::Connection(id), due),
                None => set.disarm(Timer::Connection(id)),
            }
        }
    }

    /// What has become due on a connection.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        id: ConnectionId,
        (timers, set): (&Timers, &mut TimerSet),
    ) -> Option<ConnectionDue> {
        let connection = self.get_mut(id)?;
        connection.up.refill(now);
        connection.down.refill(now);
        let due = connection.due(now, timers);
        if let Some(at) = connection.deadline(timers) {
            set.arm(now, Timer::Connection(id), at);
        }
        let may_move = connection.up.allowance() > 0 || !connection.down.is_dry();
        if may_move && self.throttle != Throttle::default() {
            self.hint(id);
        }
        due
    }

    /// Arms what shares out anew what all connections may write and read.
    pub(crate) fn arm_rounds(&mut self, now: Instant, set: &mut TimerSet) {
        if self.throttle.up.is_none() && self.throttle.down.is_none() {
            return;
        }
        let up = if self.writers.is_empty() { None } else { self.up.next_round(self.writers.len(), now) };
        let down = self.down.next_round(1, now);
        for (timer, round) in [(Timer::ThrottleUp, up), (Timer::ThrottleDown, down)] {
            match round {
                Some(NextRound::Saved(at)) => set.arm(now, timer, at),
                Some(NextRound::Over(at)) => set.arm_no_later(now, timer, at),
                None => {}
            }
        }
    }

    /// What may be written is shared out anew among those who have something to write.
    pub(crate) fn share_up(&mut self, now: Instant, set: &mut TimerSet) {
        self.up.begin_round(self.writers.len());
        let round = self.up.round();
        let writers: Vec<ConnectionId> = self.writers.iter().copied().collect();
        self.hint_in_turn(writers, round);
        self.arm_rounds(now, set);
    }

    /// What may be read is shared out anew among those who have read lately, and among all if others may have been told to wait.
    pub(crate) fn share_down(&mut self, now: Instant, set: &mut TimerSet) {
        let ran_dry = self.down.begin_round(1);
        let round = self.down.round();
        let readers: Vec<ConnectionId> = core::mem::take(&mut self.readers).into_iter().collect();
        self.hint_in_turn(readers, round);
        if ran_dry {
            self.hint_all();
        }
        self.arm_rounds(now, set);
    }

    /// Each round begins with another connection, so that what does not divide goes to each in turn.
    fn hint_in_turn(&mut self, mut ids: Vec<ConnectionId>, round: u64) {
        if let Some(first) = usize::try_from(round).ok().and_then(|round| round.checked_rem(ids.len())) {
            ids.rotate_left(first);
        }
        ids.into_iter().for_each(|id| self.hint(id));
    }

    // Hints.

    /// Says that a connection's levels may have changed, once until that is polled.
    pub(crate) fn hint(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id)
            && connection.phase != Phase::Dialling
            && !connection.hinted
        {
            connection.hinted = true;
            self.hints.push(id);
        }
    }

    pub(crate) fn hint_all(&mut self) {
        self.ids().into_iter().for_each(|id| self.hint(id));
    }

    /// Hints that were not taken yet, in their order.
    pub(crate) fn take_hints(&mut self) -> impl Iterator<Item = ConnectionId> + '_ {
        self.hints.drain(..)
    }

    /// A hint was polled.
    pub(crate) fn hint_polled(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id) {
            connection.hinted = false;
        }
    }

    // Idle ones.

    /// Those on which nothing is under way, the least useful first.
    pub(crate) fn idle(&self) -> Vec<ConnectionId> {
        let mut idle: Vec<&Connection> = self.iter().filter(|connection| connection.is_idle()).collect();
        idle.sort_by_key(|connection| connection.usefulness());
        idle.into_iter().map(Connection::id).collect()
    }

    /// The least useful one on which nothing is under way.
    pub(crate) fn least_useful(&self) -> Option<ConnectionId> {
        let idle = self.iter().filter(|connection| connection.is_idle());
        idle.min_by_key(|connection| connection.usefulness()).map(Connection::id)
    }

    pub(crate) fn check(&self) {
        if cfg!(debug_assertions) {
            self.iter().for_each(|connection| connection.outbound.check());
            let strangers = self.iter().filter(|connection| connection.owner == Owner::Stranger).count();
            debug_assert_eq!(strangers, self.strangers, "whoever is not proved is counted");
            for connection in self.iter() {
                let writes = !connection.outbound.is_empty();
                debug_assert_eq!(
                    writes,
                    self.writers.contains(&connection.id),
                    "whoever has something to write is known"
                );
            }
        }
    }
}
