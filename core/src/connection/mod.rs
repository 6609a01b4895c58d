//! One connection (TCPConnection in *EGTP Architecture 0.2*, III.C): its buffers, its standing, its share of the throttle.

mod outbound;
mod stream;
mod table;
mod throttle;

use core::net::SocketAddr;
use core::time::Duration;

use self::outbound::Outbound;
pub(crate) use self::outbound::{Handed, RecordName};
use self::stream::PacketStream;
pub(crate) use self::table::{Connections, TIDY_EVERY};
use self::throttle::{Bucket, Taken};
use crate::config::Timers;
use crate::id::ConnectionId;
use crate::query::Hint;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::packet::{MAX_PACKET, MAX_PACKET_UNAUTHENTICATED};

/// While at least this much waits to be written, nothing more is sealed.
pub(crate) const FILL_TARGET: usize = 64 * 1024;

/// Beyond this, answers to packets that are not sealed are not given any more: whoever asks reads nothing.
const MOST_UNREAD: usize = 4 * FILL_TARGET;

/// Who is told that a session is unknown, at most so often on one connection.
const STALE_EVERY: Duration = Duration::from_secs(1);

/// What is to be said before the end is given so long to be written.
const FLUSH: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Connection {
    id: ConnectionId,
    /// Where it leads: the address that was dialled, or that the peer came from.
    remote: SocketAddr,
    dialled: bool,
    phase: Phase,
    owner: Owner,
    /// Since when it is in this phase.
    since: Instant,
    inbound: PacketStream,
    outbound: Outbound,
    /// Whether a record of the peer's has been opened that came by it.
    brought_a_record: bool,
    /// Whether a record of this node's has been put on it, by which the peer will know whose packets these are.
    introduced: bool,
    /// Whether nothing is under way on it.
    idle: bool,
    hint: Hint,
    used: Instant,
    heard: Instant,
    /// When bytes last left it, or began to wait.
    taken: Instant,
    messages: u64,
    up: Bucket,
    down: Bucket,
    /// What it has taken of what all connections share.
    taken_up: Taken,
    taken_down: Taken,
    stale_said: Option<Instant>,
    /// Whether a hint that its levels changed waits to be polled.
    hinted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Dialling,
    Open,
    /// To be closed once everything is written.
    Flushing,
}

/// Whose a connection is. It is a stranger's until it is proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Stranger,
    /// It was dialled to meet this peer, which has not proved yet that it is there.
    Meant(Key),
    Peer(Key),
}

/// What has become due on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionDue {
    /// It was not opened in time.
    NotOpened,
    /// Nobody has proved in time whose it is.
    NotProved,
    /// What was to be said before its end is written, or is not in time.
    Flushed,
    /// Nothing was said on it for long.
    Idle,
    /// Its own throttle may let bytes pass again.
    Throttle,
}

impl Connection {
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) fn is_dialled(&self) -> bool {
        self.dialled
    }

    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether the peer does not know yet whose packets these are, so that it takes only short ones.
    pub(crate) fn is_short(&self) -> bool {
        self.dialled && !self.introduced && !self.brought_a_record
    }

    /// When a byte last came or left.
    pub(crate) fn moved(&self) -> Instant {
        self.heard.max(self.taken)
    }

    /// Since when bytes wait and none is taken.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        (!self.outbound.is_empty()).then_some(self.taken)
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_written(&self) -> bool {
        self.outbound.is_empty()
    }

    /// Whether it is to be closed, and nothing waits to be written any more.
    pub(crate) fn is_flushed(&self) -> bool {
        self.phase == Phase::Flushing && self.outbound.is_empty()
    }

    pub(crate) fn unwritten(&self) -> usize {
        self.outbound.len()
    }

    /// A record came by it that was opened.
    pub(crate) fn brought_a_record(&mut self) {
        self.brought_a_record = true;
    }

    /// A message came by it.
    pub(crate) fn brought_a_message(&mut self, now: Instant) {
        self.messages = self.messages.saturating_add(1);
        self.used = now;
    }

    /// Whether anything is under way on it, and what is expected to follow.
    pub(crate) fn set_use(&mut self, now: Instant, idle: bool) {
        if !idle {
            self.used = now;
        }
        self.idle = idle;
        self.rest();
    }

    /// While nothing is under way on it, it holds no memory.
    fn rest(&mut self) {
        if self.idle {
            self.inbound.rest();
            self.outbound.rest();
        }
    }

    pub(crate) fn expect(&mut self, hint: Hint) {
        if hint != Hint::None {
            self.hint = hint;
        }
    }

    /// A new session was made over it: whatever was sent on it before may have been in one that the peer did not know.
    pub(crate) fn is_introduced_anew(&mut self) {
        self.introduced = false;
    }

    /// Whether nothing is under way on it, whatever half a packet may be there.
    pub(crate) fn is_unused(&self) -> bool {
        self.is_open() && matches!(self.owner, Owner::Peer(_)) && self.idle && self.outbound.is_empty()
    }

    /// Whether it may be closed without anybody missing it.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_unused() && !self.inbound.is_partial()
    }

    /// Whether it was said to be the last for now.
    pub(crate) fn is_no_more(&self) -> bool {
        self.hint == Hint::NoMore
    }

    /// The least useful come first: what is said to be the last for now, then what has brought the fewest messages, then what was used
    /// longest ago.
    pub(crate) fn usefulness(&self) -> (bool, u64, Instant, ConnectionId) {
        (
            self.hint != Hint::NoMore,
            if self.hint == Hint::MoreToCome { u64::MAX } else { self.messages },
            self.used,
            self.id,
        )
    }

    /// Lends out the stream whose packets are worked on, since any of them may end the connection.
    pub(crate) fn take_stream(&mut self) -> PacketStream {
        core::mem::take(&mut self.inbound)
    }

    pub(crate) fn return_stream(&mut self, stream: PacketStream) {
        self.inbound = stream;
        self.rest();
    }

    /// The longest packet that it may bring now.
    pub(crate) fn longest_packet(&self) -> usize {
        let of_stranger = !self.dialled && !self.brought_a_record;
        if of_stranger { MAX_PACKET_UNAUTHENTICATED } else { MAX_PACKET }
    }

    /// Whether the peer is to be told that it has used a session that is not known: now and then.
    pub(crate) fn may_say_stale(&mut self, now: Instant) -> bool {
        let may = self.stale_said.is_none_or(|said| said + STALE_EVERY <= now);
        if may {
            self.stale_said = Some(now);
        }
        may
    }

    /// When something is due on it.
    fn deadline(&self, timers: &Timers) -> Option<Instant> {
        let due = match (self.phase, self.owner) {
            (Phase::Dialling, _) => self.since + timers.connect,
            (Phase::Flushing, _) => self.since + FLUSH,
            (Phase::Open, Owner::Peer(_)) => self.used + timers.idle,
            (Phase::Open, Owner::Stranger | Owner::Meant(_)) => self.since + timers.authenticate,
        };
        [Some(due), self.up.resumes(), self.down.resumes()].into_iter().flatten().min()
    }

    fn due(&self, now: Instant, timers: &Timers) -> Option<ConnectionDue> {
        match (self.phase, self.owner) {
            (Phase::Dialling, _) => (self.since + timers.connect <= now).then_some(ConnectionDue::NotOpened),
            (Phase::Flushing, _) => (self.since + FLUSH <= now).then_some(ConnectionDue::Flushed),
            (Phase::Open, Owner::Peer(_)) => (self.used + timers.idle <= now).then_some(ConnectionDue::Idle),
            (Phase::Open, Owner::Stranger | Owner::Meant(_)) => {
                (self.since + timers.authenticate <= now).then_some(ConnectionDue::NotProved)
            }
        }
        .or_else(|| {
            let resumes = [self.up.resumes(), self.down.resumes()];
            resumes.into_iter().flatten().any(|at| at <= now).then_some(ConnectionDue::Throttle)
        })
    }
}
