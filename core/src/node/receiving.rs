//! From bytes to what they mean: packets, then records, then frames.

use alloc::vec::Vec;

use super::Node;
use crate::connection::{Phase, Probe};
use crate::conversation::{Arrival, Asking, QueryState};
use crate::id::{ConnectionId, NodeId};
use crate::note::Cause;
use crate::query::{Executed, Reason, Refusal};
use crate::session::state::{Assembling, Carries, Expected, Session, SessionPhase};
use crate::session::{Assembly, OpenError};
use crate::timer::Timer;
use crate::wire::code::{BreakCode, LeaveStep, PieceOf, RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, parse_frame};
use crate::wire::handshake::Asked;
use crate::wire::packet::{MAX_PACKET, MAX_PACKET_UNAUTHENTICATED, Packet, PacketError, SessionId, put_stale};
use crate::wire::reader::{Malformed, Reader};
use crate::wire::stream::PacketStream;

/// Who is told that a session is unknown, at most so often on one connection.
const STALE_EVERY: core::time::Duration = core::time::Duration::from_secs(1);

/// How much longer pieces may take while bytes still arrive.
const SLOW_PIECE: u32 = 20;

/// A node that only takes in for this long says something, so that the sender of a long message can tell that it is alive.
const SAY_SOMETHING_AFTER: core::time::Duration = core::time::Duration::from_secs(2);

impl Node {
    pub(super) fn received(&mut self, on: ConnectionId, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&on).filter(|connection| connection.phase == Phase::Open)
        else {
            return;
        };
        connection.down.refill(self.now);
        connection.down.take(bytes.len());
        self.down.take(&mut connection.taken_down, bytes.len());
        connection.last_heard = self.now;
        connection.inbound.push(bytes);
        // The bytes are taken out while they are worked on, since any of them may end the connection.
        let inbound = core::mem::take(&mut connection.inbound);
        self.take_packets(on, inbound);
        self.finish_leave(on);
        self.throttle_down(on);
    }

    fn take_packets(&mut self, on: ConnectionId, mut inbound: PacketStream) {
        while let Some(connection) = self.connections.get_mut(&on).filter(|connection| connection.phase == Phase::Open)
        {
            let limit = if connection.peer.is_some() { MAX_PACKET } else { MAX_PACKET_UNAUTHENTICATED };
            match inbound.next(limit) {
                Ok(Some(packet)) => self.packet(on, packet),
                Ok(None) => {
                    connection.inbound = inbound;
                    return;
                }
                Err(_) => {
                    self.note(Cause::PacketTooLong, self.peer_on(on), Some(on));
                    self.close(on);
                }
            }
        }
    }

    fn packet(&mut self, on: ConnectionId, packet: &mut [u8]) {
        match Packet::parse(packet) {
            Ok(Packet::Hello { isid, cookie, noise }) => self.hello(on, isid, &cookie, noise),
            Ok(Packet::Welcome { isid, noise }) => self.welcome(on, isid, noise),
            Ok(Packet::Retry { isid, cookie }) => self.retry(on, isid, cookie),
            Ok(Packet::Sealed { sid, counter }) => self.sealed(on, sid, counter, packet),
            Ok(Packet::Stale { sid, counter }) => self.stale(on, sid, counter),
            Ok(Packet::Busy { isid, wait_secs, .. }) => self.busy(on, isid, wait_secs),
            Err(PacketError::UnknownVersion(_)) => {
                self.note(Cause::UnknownVersion, self.peer_on(on), Some(on));
                self.close(on);
            }
            Err(PacketError::Malformed) => self.violated(on),
        }
    }

    /// The rules of the protocol were broken: nothing more is believed on this connection.
    pub(super) fn violated(&mut self, on: ConnectionId) {
        self.note(Cause::ProtocolViolation, self.peer_on(on), Some(on));
        self.close(on);
    }

    fn sealed(&mut self, on: ConnectionId, sid: SessionId, counter: u64, packet: &mut [u8]) {
        let Some(session) = self.sessions.get_mut(&sid) else {
            self.say_stale(on, sid, counter);
            return;
        };
        let peer = session.peer;
        let (counter, plaintext) = match session.opener.open(packet) {
            Ok(opened) => opened,
            Err(error) => {
                let cause = match error {
                    OpenError::Replayed => Cause::RecordReplayed,
                    OpenError::NotOpened => Cause::RecordNotOpened,
                };
                self.note(cause, Some(peer), Some(on));
                return;
            }
        };
        if !self.authenticated(on, peer) {
            return;
        }
        self.heard(on, sid);
        if !self.sessions.contains_key(&sid) {
            return;
        }
        let arrival = Arrival { on, session: sid, counter };
        let mut reader = Reader::new(plaintext);
        while !reader.is_empty() {
            let handled = parse_frame(&mut reader).and_then(|frame| self.frame(arrival, frame));
            if handled.is_err() {
                self.note(Cause::ProtocolViolation, Some(peer), Some(on));
                self.break_session(sid, BreakCode::RuleBroken);
                self.close_when_written(on);
                return;
            }
            if !self.sessions.contains_key(&sid) || !self.connections.contains_key(&on) {
                return;
            }
        }
        self.pump(peer);
    }

    /// An authentic record has arrived: the session is confirmed, the peer holds it, and the connection lives.
    fn heard(&mut self, on: ConnectionId, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        session.heard_on = Some(on);
        let peer = session.peer;
        if matches!(session.phase, SessionPhase::Tentative { .. }) {
            self.confirm(sid);
        }
        self.touch_session(sid);
        if let Some(connection) = self.connections.get_mut(&on) {
            connection.last_heard = self.now;
            connection.probe = Probe::None;
        }
        if self.peers.get(&peer).is_some_and(|peer| !peer.held.is_empty()) {
            self.reach(peer);
        }
    }

    fn frame(&mut self, arrival: Arrival, frame: Frame<'_>) -> Result<(), Malformed> {
        let Arrival { on, session: sid, .. } = arrival;
        match frame {
            Frame::Query { number, notice, until, total, part } => {
                let asking = Asking { number, notice, until: self.deadline_of(sid, until) };
                self.first_part_of_query(arrival, asking, total, part)
            }
            Frame::Reply { number, code, echo: _, total, part } => {
                self.first_part_of_reply(arrival, number, code, total, part)
            }
            Frame::Piece { of, number, offset, part } => self.piece(arrival, of, number, offset, part),
            Frame::Ack { number, .. } => self.about_own(sid, number, |node| node.acknowledged(sid, number)),
            Frame::Refuse { number, code, .. } => self.about_own(sid, number, |node| node.refused(sid, number, code)),
            Frame::Gone { number, .. } => self.about_own(sid, number, |node| node.gone(sid, number)),
            Frame::Done { base, settled } => {
                for bit in (0..64).filter(|bit| settled & (1 << bit) != 0) {
                    self.withdrawn(sid, base.saturating_add(bit));
                }
                Ok(())
            }
            Frame::Ping { token, asked } => {
                let held = self.held(sid, &asked);
                self.send_urgent(on, sid, &Frame::Pong { token, held });
                Ok(())
            }
            Frame::Pong { token, .. } => {
                self.pong(sid, token);
                Ok(())
            }
            Frame::Break { code, base, taken } => {
                self.broken(on, sid, code, base, taken);
                Ok(())
            }
            Frame::Leave { step } => {
                self.peer_leaves(on, step == LeaveStep::Proposal);
                Ok(())
            }
        }
    }

    /// A frame about one of this node's own numbers; a number that was never used breaks the rules.
    fn about_own(&mut self, sid: SessionId, number: u64, then: impl FnOnce(&mut Self)) -> Result<(), Malformed> {
        let session = self.sessions.get_mut(&sid).ok_or(Malformed)?;
        if number >= session.next_number {
            return Err(Malformed);
        }
        session.unsettled.remove(&number);
        then(self);
        Ok(())
    }

    fn first_part_of_query(
        &mut self,
        arrival: Arrival,
        asking: Asking,
        total: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        if part.len() == total {
            self.asked(arrival, asking, part.to_vec());
            return Ok(());
        }
        if self.admit(arrival, asking) {
            self.assemble(arrival, Expected::Query(asking), total, part)?;
        }
        Ok(())
    }

    fn first_part_of_reply(
        &mut self,
        arrival: Arrival,
        number: u64,
        code: ReplyCode,
        total: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        let session = self.sessions.get_mut(&arrival.session).ok_or(Malformed)?;
        if number >= session.next_number {
            return Err(Malformed);
        }
        session.unsettled.remove(&number);
        if part.len() == total {
            self.replied(arrival, number, code, part.to_vec());
        } else if session.outstanding.contains_key(&number) {
            self.assemble(arrival, Expected::Reply { number, code }, total, part)?;
        } else {
            let peer = session.peer;
            self.note(Cause::ReplyUnexpected, Some(peer), Some(arrival.on));
        }
        Ok(())
    }

    /// Begins to put a message together, if there is room for it.
    fn assemble(&mut self, arrival: Arrival, expected: Expected, total: usize, part: &[u8]) -> Result<(), Malformed> {
        let session = self.sessions.get(&arrival.session).ok_or(Malformed)?;
        let peer = session.peer;
        let key = expected.key();
        if session.assemblies.get(&key).is_some_and(|known| known.pieces.total() == total) {
            // The sender has begun again, after a connection that carried part of it had ended.
            return self.add_piece(arrival, key, 0, part);
        }
        self.drop_assembly(arrival.session, key.0, key.1);
        let pieces = Assembly::new(total, part).map_err(|_| Malformed)?;
        let assembling = Assembling { pieces, progress: self.now, expected };
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

    fn piece(
        &mut self,
        arrival: Arrival,
        of: PieceOf,
        number: u64,
        offset: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        self.say_something(arrival.on, arrival.session);
        let key = match of {
            PieceOf::Query => (Carries::Query, number),
            PieceOf::Reply => (Carries::Reply, number),
        };
        self.add_piece(arrival, key, offset, part)
    }

    fn add_piece(
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
    fn assembly_refused(&mut self, arrival: Arrival, (carries, number): (Carries, u64)) {
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

    /// Drops what has stopped coming. On a slow link one piece may take long, so bytes of it that still arrive put that off; but
    /// not for ever, since they may be anything.
    pub(super) fn assemblies_timeout(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        let patience =
            if self.is_receiving(peer) { self.settings.assembly * SLOW_PIECE } else { self.settings.assembly };
        let stopped: Vec<(Carries, u64)> = session
            .assemblies
            .iter()
            .filter(|(_, assembling)| assembling.progress + patience <= self.now)
            .map(|(&key, _)| key)
            .collect();
        for (carries, number) in stopped {
            self.drop_assembly(sid, carries, number);
            self.note(Cause::MessageAbandoned, Some(peer), None);
            if carries == Carries::Query
                && let Some(on) = self.any_connection(peer)
            {
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
    }

    /// Whether a packet of the peer's is on its way in.
    fn is_receiving(&self, peer: NodeId) -> bool {
        let connections = self.peers.get(&peer).map(|peer| peer.connections.as_slice()).unwrap_or_default();
        let mut connections = connections.iter().filter_map(|id| self.connections.get(id));
        connections.any(|connection| {
            connection.inbound.is_partial() && connection.last_heard + self.settings.assembly > self.now
        })
    }

    /// Which of the sessions that the peer asks about this node still holds.
    pub(super) fn held(&self, sid: SessionId, asked: &Asked) -> u8 {
        self.sessions.get(&sid).map_or(0, |session| self.held_of(session.peer, asked))
    }

    pub(super) fn held_of(&self, peer: NodeId, asked: &Asked) -> u8 {
        let mut held = 0;
        for (bit, sid) in asked.as_slice().iter().enumerate() {
            if self.sessions.get(sid).is_some_and(|session| session.peer == peer) {
                held |= 1 << bit;
            }
        }
        held
    }

    /// Whoever only receives says something now and then.
    fn say_something(&mut self, on: ConnectionId, sid: SessionId) {
        let quiet = self.connections.get(&on).is_some_and(|connection| {
            connection.last_sealed + SAY_SOMETHING_AFTER <= self.now && connection.outbound.is_empty()
        });
        if quiet {
            self.send_urgent_bytes(on, sid, Vec::new(), false);
        }
    }

    fn say_stale(&mut self, on: ConnectionId, sid: SessionId, counter: u64) {
        let Some(connection) = self.connections.get_mut(&on) else { return };
        if connection.stale_sent.is_some_and(|sent| sent + STALE_EVERY > self.now) {
            return;
        }
        connection.stale_sent = Some(self.now);
        put_stale(connection.outbound.tail(), sid, counter);
        self.wrote_raw(on);
    }

    /// The peer ends a session. What it had not taken did not run and cannot any more, so it may go in another one.
    fn broken(&mut self, on: ConnectionId, sid: SessionId, code: BreakCode, base: u64, taken: &[u8; 128]) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        if matches!(code, BreakCode::Memory | BreakCode::RuleBroken) {
            self.note(Cause::SessionEnded, Some(peer), Some(on));
        }
        let is_taken = |number: u64| match number.checked_sub(base) {
            None => true,
            Some(above) => {
                let byte = usize::try_from(above / 8).ok().and_then(|index| taken.get(index));
                byte.is_some_and(|byte| byte & (1 << (above % 8)) != 0)
            }
        };
        if code == BreakCode::Superseded && self.awaits_answers(sid, is_taken) {
            // The peer has answered everything in it. The answers are on their way, perhaps over another connection.
            self.reach(peer);
            return;
        }
        self.end_session(sid, Reason::LostByPeer, |state, number| {
            matches!(state, QueryState::Taken { .. }) || is_taken(number)
        });
        self.reach(peer);
    }

    pub(super) fn peer_on(&self, on: ConnectionId) -> Option<NodeId> {
        self.connections.get(&on).and_then(|connection| connection.peer.or(connection.expected))
    }
}
