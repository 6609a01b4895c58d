//! One connection (TCPConnection in *EGTP Architecture 0.2*, III.C): its buffers, its standing, its share of the throttle.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::id::{ConnectionId, IncomingId, NodeId, QueryId};
use crate::query::Hint;
use crate::throttle::{Bucket, Taken};
use crate::time::Instant;
use crate::wire::packet::SessionId;
use crate::wire::stream::PacketStream;

/// While at least this much waits to be written, nothing more is sealed.
pub(crate) const FILL_TARGET: usize = 64 * 1024;

/// The most frames meant for this very connection that may wait; beyond it reading stops.
pub(crate) const MAX_URGENT: usize = 64;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Where it leads: the address that was dialled, or that the peer came from.
    pub(crate) remote: SocketAddr,
    pub(crate) dialled: bool,
    pub(crate) phase: Phase,
    /// The only node that it may turn out to belong to.
    pub(crate) expected: Option<NodeId>,
    /// Whose it is, proved.
    pub(crate) peer: Option<NodeId>,
    /// The session that the peer has last shown to hold, over this very connection.
    pub(crate) heard_in: Option<SessionId>,
    /// Whether a record of the peer's has come over it.
    pub(crate) brought_a_record: bool,
    pub(crate) inbound: PacketStream,
    pub(crate) outbound: Outbound,
    /// Sealed records that must go over this connection and no other.
    pub(crate) urgent: VecDeque<Urgent>,
    /// Outstanding queries that were put on it.
    pub(crate) carried: BTreeSet<QueryId>,
    /// Incoming queries that came over it and are not answered.
    pub(crate) owed: BTreeSet<IncomingId>,
    /// Whether a record of this node's has gone over it, from which the peer that was dialled knows whose packets these are.
    pub(crate) introduced: bool,
    pub(crate) leave: Leave,
    pub(crate) hint: Hint,
    pub(crate) last_used: Instant,
    pub(crate) last_heard: Instant,
    pub(crate) last_sealed: Instant,
    pub(crate) last_written: Instant,
    pub(crate) probe: Probe,
    /// Where in the stream the PING of a probe ends, until it is written.
    pub(crate) probe_ends: Option<u64>,
    pub(crate) messages_received: u64,
    pub(crate) up: Bucket,
    pub(crate) down: Bucket,
    /// What it has taken of what all connections share.
    pub(crate) taken_up: Taken,
    pub(crate) taken_down: Taken,
    pub(crate) stale_sent: Option<Instant>,
    /// Whether a hint that its levels changed waits to be polled.
    pub(crate) hinted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Dialling,
    Open,
    /// To be closed once everything is written.
    Flushing,
}

/// How far a probe of a silent connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Probe {
    None,
    /// The PING waits behind other bytes; as long as those are taken, the connection is slow and not dead.
    Waiting {
        since: Instant,
    },
    /// The PING is written, and an answer is due.
    Asked {
        since: Instant,
    },
}

/// Frames that are sealed as a record of their own, in this session.
#[derive(Clone, Debug)]
pub(crate) struct Urgent {
    pub(crate) session: SessionId,
    pub(crate) frames: Vec<u8>,
    /// Whether the PING of a probe is among them.
    pub(crate) probe: bool,
}

/// How far the two ends have agreed to close the connection. Closing one that looks idle would cut off a query that the peer
/// has just sent; so both say first that no new query of theirs will come over it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Leave {
    /// We shall send no new query over it.
    pub(crate) sent: bool,
    /// The peer will send no new query over it.
    pub(crate) received: bool,
    /// We asked first, so it is ours to close.
    pub(crate) ours: bool,
    /// Its time was over, and something was still under way on it.
    pub(crate) overdue: bool,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, remote: SocketAddr, now: Instant, up: Bucket, down: Bucket) -> Self {
        Self {
            id,
            remote,
            dialled: false,
            phase: Phase::Open,
            expected: None,
            peer: None,
            heard_in: None,
            brought_a_record: false,
            inbound: PacketStream::default(),
            outbound: Outbound::default(),
            urgent: VecDeque::new(),
            carried: BTreeSet::new(),
            owed: BTreeSet::new(),
            introduced: false,
            leave: Leave::default(),
            hint: Hint::None,
            last_used: now,
            last_heard: now,
            last_sealed: now,
            last_written: now,
            probe: Probe::None,
            probe_ends: None,
            messages_received: 0,
            up,
            down,
            taken_up: Taken::default(),
            taken_down: Taken::default(),
            stale_sent: None,
            hinted: false,
        }
    }

    /// Whether somebody has opened it who has not shown yet who that is.
    pub(crate) fn is_of_stranger(&self) -> bool {
        !self.dialled && self.peer.is_none()
    }

    /// Whether long packets may go over it: whoever has dialled takes them, and whoever was dialled does so from the first record on; before
    /// that it says nothing in a record of its own.
    pub(crate) fn takes_long_packets(&self) -> bool {
        !self.dialled || self.introduced || self.brought_a_record
    }

    /// Whether new queries may go over it.
    pub(crate) fn takes_queries(&self) -> bool {
        self.phase == Phase::Open && self.peer.is_some() && !self.leave.sent && !self.leave.received
    }

    /// Whether so much waits to be written that nothing is read which would add to it.
    pub(crate) fn is_overfull(&self) -> bool {
        self.outbound.len() > 2 * FILL_TARGET
    }

    /// Whether what does not wait in an outbox may be added. Reading stops long before, but a driver may go on with it, and what comes
    /// over another connection may have to be said here.
    pub(crate) fn has_room(&self) -> bool {
        self.outbound.len() <= 4 * FILL_TARGET
    }

    /// Whether anything is under way: such a connection is never closed for being idle.
    pub(crate) fn is_busy(&self) -> bool {
        !self.carried.is_empty()
            || !self.owed.is_empty()
            || !self.outbound.is_empty()
            || !self.urgent.is_empty()
            || self.inbound.is_partial()
    }
}

/// One try at sending a query: it may be sent again under another number, when this one no longer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Carried {
    pub(crate) query: QueryId,
    pub(crate) session: SessionId,
    pub(crate) number: u64,
}

/// What waits to be written, and which queries are handed over with which byte.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes ever written.
    total_written: u64,
    /// The last byte of each query's last record, counted from the connection's first byte.
    marks: VecDeque<(u64, Carried)>,
}

impl Outbound {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Where encoders append.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Where in the stream that what waits now ends, counted from the connection's first byte.
    pub(crate) fn end(&self) -> u64 {
        self.total_written + self.len() as u64
    }

    /// How many bytes were ever written.
    pub(crate) fn total_written(&self) -> u64 {
        self.total_written
    }

    /// The query is handed over once everything that waits now is written.
    pub(crate) fn mark(&mut self, query: Carried) {
        self.marks.push_back((self.end(), query));
    }

    /// Counts bytes as written; yields the queries that are handed over whole with them. More bytes than wait are a driver's
    /// mistake and count as all of them.
    pub(crate) fn wrote(&mut self, count: usize) -> Vec<Carried> {
        let count = count.min(self.len());
        self.written += count;
        self.total_written += count as u64;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.written = 0;
            if self.bytes.capacity() > 4 * FILL_TARGET || self.marks.is_empty() {
                self.bytes.shrink_to(0);
            }
        }
        let mut handed_over = Vec::new();
        while let Some(&(end, query)) = self.marks.front() {
            if end > self.total_written {
                break;
            }
            self.marks.pop_front();
            handed_over.push(query);
        }
        handed_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(id: u64) -> Carried {
        Carried { query: QueryId(id), session: SessionId([0; 8]), number: id }
    }

    #[test]
    fn a_query_is_handed_over_with_its_last_byte_and_not_before() {
        let mut outbound = Outbound::default();
        outbound.tail().extend_from_slice(b"first");
        outbound.mark(carried(1));
        outbound.tail().extend_from_slice(b"second");
        outbound.mark(carried(2));
        assert_eq!(outbound.wrote(4), []);
        assert_eq!(outbound.wrote(1), [carried(1)]);
        assert_eq!(outbound.unwritten(), b"second");
        assert_eq!(outbound.wrote(5), []);
        assert_eq!(outbound.wrote(99), [carried(2)]);
        assert!(outbound.is_empty());
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut outbound = Outbound::default();
        outbound.tail().extend_from_slice(&[0; 100_000]);
        outbound.wrote(100_000);
        assert_eq!(outbound.bytes.capacity(), 0);
    }
}
