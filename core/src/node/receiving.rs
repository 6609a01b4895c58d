//! From bytes to what they mean: packets, then records, then frames.

use alloc::vec::Vec;

use super::Node;
use crate::connection::{Phase, Probe};
use crate::conversation::{Arrival, Asking, QueryState};
use crate::id::{ConnectionId, NodeId};
use crate::note::Cause;
use crate::query::Reason;
use crate::session::OpenError;
use crate::session::state::{Carries, Expected, SessionPhase};
use crate::wire::code::{BreakCode, LeaveStep, PieceOf, ReplyCode};
use crate::wire::frame::{Frame, parse_frame};
use crate::wire::packet::{MAX_PACKET, MAX_PACKET_UNAUTHENTICATED, Packet, PacketError, SessionId, put_stale};
use crate::wire::reader::{Malformed, Reader};
use crate::wire::stream::PacketStream;

/// Who is told that a session is unknown, at most so often on one connection.
const STALE_EVERY: core::time::Duration = core::time::Duration::from_secs(1);

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
        self.say_something(on);
        self.finish_leave(on);
        self.throttle_down(on);
    }

    fn take_packets(&mut self, on: ConnectionId, mut inbound: PacketStream) {
        while let Some(connection) = self.connections.get_mut(&on).filter(|connection| connection.phase == Phase::Open)
        {
            let limit = if connection.is_of_stranger() { MAX_PACKET_UNAUTHENTICATED } else { MAX_PACKET };
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
                let is_past = error == OpenError::Replayed && session.opener.is_past(counter);
                self.note(cause, Some(peer), Some(on));
                if is_past && self.connections.get(&on).is_some_and(|connection| connection.peer == Some(peer)) {
                    // More than the window holds has come over another connection meanwhile. What is lost here is lost with the
                    // connection, so that its queries do not wait in vain.
                    self.close(on);
                }
                return;
            }
        };
        if !self.authenticated(on, peer) {
            return;
        }
        let is_first = self.connections.get(&on).is_some_and(|connection| !connection.brought_a_record);
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
        if is_first {
            self.drain(peer);
        }
    }

    /// An authentic record has arrived: the session is confirmed, the peer holds it, and the connection lives.
    fn heard(&mut self, on: ConnectionId, sid: SessionId) {
        self.has_shown(sid, on);
        let Some(session) = self.sessions.get(&sid) else { return };
        let peer = session.peer;
        if matches!(session.phase, SessionPhase::Tentative { .. }) {
            self.confirm(sid);
        }
        self.touch_session(sid);
        if let Some(connection) = self.connections.get_mut(&on) {
            connection.brought_a_record = true;
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
            Frame::Pong { token, held } => {
                self.pong(sid, token, held);
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
            Frame::Drained => {
                self.peer_drained(sid);
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

    fn piece(
        &mut self,
        arrival: Arrival,
        of: PieceOf,
        number: u64,
        offset: usize,
        part: &[u8],
    ) -> Result<(), Malformed> {
        let key = match of {
            PieceOf::Query => (Carries::Query, number),
            PieceOf::Reply => (Carries::Reply, number),
        };
        self.add_piece(arrival, key, offset, part)
    }

    /// Whoever takes in a long message says something now and then, so that its sender can tell slow from dead.
    fn say_something(&mut self, on: ConnectionId) {
        let Some(connection) = self.connections.get(&on) else { return };
        let quiet = connection.outbound.is_empty() && connection.last_sealed + SAY_SOMETHING_AFTER <= self.now;
        let Some(peer) = connection.peer.filter(|_| quiet) else { return };
        let takes_in =
            connection.inbound.is_partial() || self.peers.get(&peer).is_some_and(|peer| peer.assembly_bytes > 0);
        if takes_in && let Some(sid) = self.sealing_session(peer) {
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
        self.taken_notices_end(sid, is_taken);
        self.end_session(sid, Reason::LostByPeer, |state, number| {
            matches!(state, QueryState::Taken { .. }) || is_taken(number)
        });
        self.reach(peer);
    }

    /// A notice that was taken has come to its end: its acknowledgement may have been due only after the session's.
    fn taken_notices_end(&mut self, sid: SessionId, is_taken: impl Fn(u64) -> bool) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let taken = session.outstanding.iter().filter(|&(&number, query)| {
            is_taken(number) && self.queries.get(query).is_some_and(|outstanding| outstanding.notice)
        });
        let taken: Vec<u64> = taken.map(|(&number, _)| number).collect();
        for number in taken {
            self.acknowledged(sid, number);
        }
    }

    pub(super) fn peer_on(&self, on: ConnectionId) -> Option<NodeId> {
        self.connections.get(&on).and_then(|connection| connection.peer.or(connection.expected))
    }
}
