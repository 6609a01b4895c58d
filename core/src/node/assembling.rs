//! Messages that come in pieces: put together, charged to whom they come from, given up when they stop.

use alloc::vec::Vec;

use super::Node;
use crate::conversation::Arrival;
use crate::id::{ConnectionId, NodeId};
use crate::note::Cause;
use crate::query::{Executed, Reason, Refusal};
use crate::session::Assembly;
use crate::session::state::{Assembling, Carries, Expected, Session};
use crate::timer::Timer;
use crate::wire::code::RefuseCode;
use crate::wire::packet::SessionId;
use crate::wire::reader::Malformed;

/// How much longer pieces may take while bytes still arrive.
const SLOW_PIECE: u32 = 20;

impl Node {
    /// Begins to put a message together, if there is room for it.
    pub(super) fn assemble(
        &mut self,
        arrival: Arrival,
        expected: Expected,
        total: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        let session = self.sessions.get(&arrival.session).ok_or(Malformed)?;
        let peer = session.peer;
        let key = expected.key();
        if session.assemblies.get(&key).is_some_and(|known| known.pieces.total() == total) {
            // The sender has begun again, after a connection that carried part of it had ended.
            return self.add_piece(arrival, key, 0, part);
        }
        self.drop_assembly(arrival.session, key.0, key.1);
        let pieces = Assembly::new(total, part).map_err(|_| Malformed)?;
        let assembling = Assembling { pieces, progress: self.now, expected, on: arrival.on };
        if !self.charge_assembly(peer, assembling.charge()) {
            self.assembly_refused(arrival, key);
            return Ok(());
        }
        let stale_at = self.now + self.settings.assembly;
        let session = self.sessions.get_mut(&arrival.session).ok_or(Malformed)?;
        session.assemblies.insert(key, assembling);
        self.timers.arm_no_later(self.now, Timer::Assemblies(arrival.session), stale_at);
        Ok(())
    }

    pub(super) fn add_piece(
        &mut self,
        arrival: Arrival,
        key: (Carries, u64),
        offset: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        let session = self.sessions.get_mut(&arrival.session).ok_or(Malformed)?;
        let peer = session.peer;
        let Some(assembling) = session.assemblies.get_mut(&key) else {
            // What is left of a message that was refused, withdrawn or given up on the way.
            return Ok(());
        };
        let before = assembling.charge();
        assembling.pieces.add(offset, part).map_err(|_| Malformed)?;
        assembling.progress = self.now;
        let after = assembling.charge();
        let whole = assembling.pieces.is_whole();
        self.uncharge_assembly(peer, before);
        if !self.charge_assembly(peer, after) {
            // The piece goes with the rest of its message, so it is charged like the rest first.
            self.charge_anyway(peer, after);
            self.assembly_refused(arrival, key);
        } else if whole {
            self.whole(arrival, key);
        }
        Ok(())
    }

    fn whole(&mut self, arrival: Arrival, key: (Carries, u64)) {
        let Some(session) = self.sessions.get_mut(&arrival.session) else { return };
        let Some(assembling) = session.assemblies.remove(&key) else { return };
        let peer = session.peer;
        self.uncharge_assembly(peer, assembling.charge());
        let bytes = assembling.pieces.into_bytes();
        match assembling.expected {
            Expected::Query(asking) => self.asked(arrival, asking, bytes),
            Expected::Reply { number, code } => self.replied(arrival, number, code, bytes),
        }
    }

    fn charge_assembly(&mut self, peer: NodeId, bytes: usize) -> bool {
        let of_peer = self.peers.get(&peer).map_or(usize::MAX, |peer| peer.assembly_bytes);
        let fits = of_peer.saturating_add(bytes) <= self.limits.assembly_bytes_per_peer
            && self.assembly_bytes.saturating_add(bytes) <= self.limits.assembly_bytes;
        if fits {
            self.charge_anyway(peer, bytes);
        }
        fits
    }

    fn charge_anyway(&mut self, peer: NodeId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.assembly_bytes += bytes;
            self.assembly_bytes += bytes;
        }
    }

    pub(super) fn uncharge_assembly(&mut self, peer: NodeId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.assembly_bytes -= bytes;
            self.assembly_bytes -= bytes;
        }
    }

    /// There is no room for a message: a query is refused, and of a query of this node's the answer is lost.
    pub(super) fn assembly_refused(&mut self, arrival: Arrival, (carries, number): (Carries, u64)) {
        self.drop_assembly(arrival.session, carries, number);
        self.note(Cause::MessageAbandoned, self.peer_on(arrival.on), Some(arrival.on));
        match carries {
            Carries::Query => self.refuse_number(arrival.session, number, RefuseCode::NoMemory, arrival.on),
            Carries::Reply => {
                let session = self.sessions.get(&arrival.session);
                if let Some(query) = session.and_then(|session| session.outstanding.get(&number).copied()) {
                    self.fail_as(query, Reason::RefusedHere(Refusal::TooManyQueryBytes), Executed::Maybe);
                }
            }
        }
    }

    pub(super) fn drop_assembly(&mut self, sid: SessionId, carries: Carries, number: u64) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let peer = session.peer;
        if let Some(assembling) = session.assemblies.remove(&(carries, number)) {
            self.uncharge_assembly(peer, assembling.charge());
        }
    }

    /// A connection has ended, and the rest of the queries of which it has brought a part does not come: they go again under other numbers.
    pub(super) fn drop_cut_off_queries(&mut self, sid: SessionId, ended: ConnectionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let cut_off =
            session.assemblies.iter().filter(|(key, assembling)| key.0 == Carries::Query && assembling.on == ended);
        let numbers: Vec<u64> = cut_off.map(|(&(_, number), _)| number).collect();
        for number in numbers {
            self.drop_assembly(sid, Carries::Query, number);
        }
    }

    /// Drops what has stopped coming. On a slow link one piece may take long, so bytes of it that still arrive put that off, or that this
    /// node does not read them; but not for ever, since they may be anything.
    pub(super) fn assemblies_timeout(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        let patience =
            if self.is_receiving(peer) { self.settings.assembly * SLOW_PIECE } else { self.settings.assembly };
        let stopped: Vec<((Carries, u64), ConnectionId)> = session
            .assemblies
            .iter()
            .filter(|(_, assembling)| assembling.progress + patience <= self.now)
            .map(|(&key, assembling)| (key, assembling.on))
            .collect();
        for ((carries, number), on) in stopped {
            self.drop_assembly(sid, carries, number);
            self.note(Cause::MessageAbandoned, Some(peer), None);
            if carries == Carries::Query {
                self.refuse_number(sid, number, RefuseCode::NoMemory, on);
            }
        }
        let progress = |session: &Session| session.assemblies.values().map(|assembling| assembling.progress).min();
        if let Some(longest_ago) = self.sessions.get(&sid).and_then(|session| progress(session)) {
            let due = longest_ago + self.settings.assembly;
            let at = if due > self.now { due } else { self.now + self.settings.assembly };
            self.timers.arm(self.now, Timer::Assemblies(sid), at);
        }
        self.pump(peer);
        self.drain_session(sid);
    }

    /// Whether a packet of the peer's is on its way in, or may be there and is not read.
    fn is_receiving(&self, peer: NodeId) -> bool {
        let Some(peer) = self.peers.get(&peer) else { return false };
        let unread = peer.congested || self.is_full();
        let mut connections = peer.connections.iter().filter_map(|id| self.connections.get(id));
        connections.any(|connection| {
            unread || connection.inbound.is_partial() && connection.last_heard + self.settings.assembly > self.now
        })
    }
}
