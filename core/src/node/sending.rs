//! From what waits to bytes: records are sealed when a connection has nothing left to write, so that what comes up meanwhile
//! shares one.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::connection::{Carried, Connection, FILL_TARGET, Phase, Probe, Urgent};
use crate::conversation::QueryState;
use crate::id::{ConnectionId, NodeId, QueryId};
use crate::outbox::{Content, FRAME_CHUNK, Item, Outbox, PIECE};
use crate::query::{Hint, MAX_BODY, TypeName};
use crate::session::state::{NUMBER_WINDOW, SessionPhase};
use crate::throttle::NextRound;
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::PieceOf;
use crate::wire::frame::{Frame, REPLY_OVERHEAD};
use crate::wire::packet::{MAX_PACKET_UNAUTHENTICATED, MAX_PLAINTEXT, SEALED_HEADER, SessionId};

/// The length in front of every packet on a stream.
const LENGTH: usize = 4;

/// Messages and frames up to here fit a packet that is taken from a stranger, with all that goes around them.
const SHORT: usize = 2048;
const _: () =
    assert!(SHORT + 256 + SEALED_HEADER <= MAX_PACKET_UNAUTHENTICATED, "a first record is taken from a stranger");

/// A record never outgrows a packet: its frames stop growing once they have a chunk's size, and messages take a piece's room.
const _: () = assert!(FRAME_CHUNK + 256 + PIECE + TypeName::MAX + 1024 <= MAX_PLAINTEXT, "a record fits a packet");

/// A peer that takes nothing for so long, of much that waits for it, has stopped taking it.
const STALLED_AFTER: Duration = Duration::from_secs(2);

impl Node {
    /// Gives numbers to what waits and seals what may go.
    pub(super) fn pump(&mut self, peer: NodeId) {
        self.promote(peer);
        if let Some(main) = self.any_connection(peer) {
            self.fill(main);
            self.fill_others(peer, main);
        }
    }

    /// What has ended on one connection may have kept a message waiting that goes over another.
    fn fill_others(&mut self, peer: NodeId, than: ConnectionId) {
        let peer = self.peers.get(&peer).filter(|peer| peer.connections.len() > 1);
        let all: Vec<ConnectionId> = peer.map(|peer| peer.connections.clone()).unwrap_or_default();
        for other in all.into_iter().filter(|&other| other != than) {
            self.fill(other);
        }
    }

    /// The connection for new queries: open, authenticated, with no intention to leave.
    pub(super) fn path(&self, peer: NodeId) -> Option<ConnectionId> {
        let of_peer = &self.peers.get(&peer)?.connections;
        let usable =
            of_peer.iter().filter_map(|id| self.connections.get(id)).filter(|connection| connection.takes_queries());
        usable.max_by_key(|connection| self.preference(connection.id)).map(|connection| connection.id)
    }

    /// The connection for everything else: the same, or else one that is about to be closed.
    pub(super) fn any_connection(&self, peer: NodeId) -> Option<ConnectionId> {
        self.path(peer).or_else(|| self.peers.get(&peer)?.connections.last().copied())
    }

    /// Moves queries that wait into the session, as far as its window and the peer's limit reach.
    fn promote(&mut self, peer: NodeId) {
        if self.peers.get(&peer).is_none_or(|peer| peer.held.is_empty()) || self.path(peer).is_none() {
            return;
        }
        let Some(sid) = self.live_session(peer) else { return };
        // The peer counts what waits in all sessions.
        let sessions = self.peers.get(&peer).map(|peer| peer.sessions.as_slice()).unwrap_or_default();
        let others = sessions.iter().filter(|&&other| other != sid).filter_map(|other| self.sessions.get(other));
        let in_others: usize = others.filter(|other| other.is_good()).map(|other| other.outstanding.len()).sum();
        let (Some(peer), Some(session)) = (self.peers.get_mut(&peer), self.sessions.get_mut(&sid)) else { return };
        while let Some(&query) = peer.held.first() {
            let lowest = session.unsettled.first().copied().unwrap_or(session.next_number);
            let in_window = session.next_number < lowest.saturating_add(NUMBER_WINDOW);
            if !in_window || session.outstanding.len().saturating_add(in_others) >= session.most_outstanding {
                break;
            }
            peer.held.remove(&query);
            let Some(outstanding) = self.queries.get_mut(&query) else { continue };
            let number = session.next_number;
            session.next_number += 1;
            session.unsettled.insert(number);
            session.outstanding.insert(number, query);
            session.outbox.push(Content::Query(query), outstanding.message.len(), None);
            outstanding.state = QueryState::Sending { session: sid, number, connection: None };
        }
    }

    /// The best confirmed session, if the peer was heard in it over a connection that is still open.
    pub(super) fn live_session(&self, peer: NodeId) -> Option<SessionId> {
        let session = self.sessions.get(&self.best_session(peer)?)?;
        let live = session.heard_on.is_some_and(|on| self.connections.contains_key(&on));
        live.then_some(session.id)
    }

    /// The best confirmed session.
    pub(super) fn best_session(&self, peer: NodeId) -> Option<SessionId> {
        let sessions = &self.peers.get(&peer)?.sessions;
        let mut sessions = sessions.iter().filter_map(|sid| self.sessions.get(sid));
        sessions.find(|session| matches!(session.phase, SessionPhase::Confirmed)).map(|session| session.id)
    }

    /// The session for what belongs to none in particular: the best one that is confirmed.
    pub(super) fn sealing_session(&self, peer: NodeId) -> Option<SessionId> {
        let sessions = &self.peers.get(&peer)?.sessions;
        let mut sessions = sessions.iter().filter_map(|sid| self.sessions.get(sid));
        sessions.find(|session| session.is_good()).map(|session| session.id)
    }

    /// Adds a frame that may go over any connection.
    pub(super) fn push_frame(&mut self, session: SessionId, frame: &Frame<'_>) {
        self.push_frame_via(session, frame, None);
    }

    /// Adds a frame about a query or notice that came over this connection. It takes the same way back, which the asker watches: one
    /// that goes over another may be lost there unnoticed, while nobody says anything more of the query.
    pub(super) fn push_frame_back(&mut self, session: SessionId, frame: &Frame<'_>, on: ConnectionId) {
        self.push_frame_via(session, frame, self.connections.contains_key(&on).then_some(on));
    }

    fn push_frame_via(&mut self, session: SessionId, frame: &Frame<'_>, via: Option<ConnectionId>) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.outbox.push_frame(frame, via);
            let peer = session.peer;
            self.check_congestion(peer);
        }
    }

    /// Sends a frame over this very connection, ahead of everything that waits.
    pub(super) fn send_urgent(&mut self, on: ConnectionId, session: SessionId, frame: &Frame<'_>) {
        let mut frames = Vec::new();
        frame.put(&mut frames);
        self.send_urgent_bytes(on, session, frames, false);
    }

    pub(super) fn send_urgent_bytes(&mut self, on: ConnectionId, session: SessionId, frames: Vec<u8>, probe: bool) {
        let Some(connection) = self.connections.get_mut(&on) else { return };
        match connection.urgent.back_mut() {
            Some(last) if last.session == session && last.frames.len() < FRAME_CHUNK => {
                last.frames.extend_from_slice(&frames);
                last.probe |= probe;
            }
            Some(_) | None => connection.urgent.push_back(Urgent { session, frames, probe }),
        }
        self.fill(on);
    }

    /// Whether reading on would only make more wait for a peer that does not take it.
    pub(super) fn is_congested(&self, connection: &Connection) -> bool {
        connection.peer.and_then(|peer| self.peers.get(&peer)).is_some_and(|peer| peer.congested)
    }

    /// More or less waits to go to a peer than before. What goes over one connection lets all others be read as well. While the peer
    /// takes replies, half of the memory for them may be full before nothing more is read; if it has stopped, all but the room for one.
    pub(super) fn check_congestion(&mut self, peer: NodeId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let outboxes = || state.sessions.iter().filter_map(|sid| self.sessions.get(sid)).map(|session| &session.outbox);
        let most = self.limits.reply_bytes_per_peer;
        let many = state.reply_bytes > most / 2 || outboxes().any(Outbox::is_congested);
        let room_for_one = MAX_BODY.min(most / 4);
        let too_many = state.reply_bytes > most - room_for_one || outboxes().any(Outbox::is_overfull);
        state.stalled &= many;
        let congested = if state.stalled { too_many } else { many };
        let reads_again = core::mem::replace(&mut state.congested, congested) && !congested;
        let hinted = if reads_again { state.connections.clone() } else { Vec::new() };
        if state.stalled || !many {
            self.timers.disarm(Timer::Stalled(peer));
        } else if !self.timers.is_armed(Timer::Stalled(peer)) {
            self.arm_in(Timer::Stalled(peer), self.stalled_after(peer));
        }
        for connection in hinted {
            self.hint(connection);
        }
    }

    /// Replies wait for a peer that may have stopped taking them: because it has as much for this node, and does not read either. One of
    /// the two has to begin.
    pub(super) fn stalled_timeout(&mut self, peer: NodeId) {
        let patience = self.stalled_after(peer);
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let connections = state.connections.iter().filter_map(|on| self.connections.get(on));
        let taken = connections.map(|connection| connection.last_written).max();
        match taken.map(|taken| taken + patience).filter(|&due| due > self.now) {
            Some(due) => self.timers.arm(self.now, Timer::Stalled(peer), due),
            None => {
                state.stalled = true;
                self.check_congestion(peer);
            }
        }
    }

    /// If both began at once, each would stop again with the first bytes that the other has taken.
    fn stalled_after(&self, peer: NodeId) -> Duration {
        if self.id < peer { STALLED_AFTER } else { STALLED_AFTER * 2 }
    }

    fn peer_takes(&mut self, peer: NodeId) {
        if let Some(state) = self.peers.get_mut(&peer).filter(|state| state.stalled) {
            state.stalled = false;
            self.check_congestion(peer);
        }
    }

    /// Bytes that are not sealed were appended to what is to be written.
    pub(super) fn wrote_raw(&mut self, on: ConnectionId) {
        self.writers.insert(on);
        self.hint(on);
        self.throttle_up(on);
    }

    /// So many bytes have left by `now`, and with them whatever ends there.
    pub(super) fn count_written(&mut self, now: Instant, on: ConnectionId, count: usize) {
        let Some(connection) = self.connections.get_mut(&on) else { return };
        if connection.phase == Phase::Dialling {
            return;
        }
        let count = count.min(connection.outbound.len());
        if count == 0 {
            return;
        }
        let was_overfull = connection.is_overfull();
        self.up.refill(now);
        self.up.take(&mut connection.taken_up, count);
        connection.up.refill(now);
        connection.up.take(count);
        connection.last_written = now;
        let handed_over = connection.outbound.wrote(count);
        if connection.probe_ends.take_if(|end| *end <= connection.outbound.total_written()).is_some() {
            connection.probe = Probe::Asked { since: now };
        }
        let reads_again = was_overfull && !connection.is_overfull();
        let peer = connection.peer;
        for Carried { query, session, number } in handed_over {
            self.handed_over(query, session, number);
        }
        if reads_again {
            self.hint(on);
        }
        if let Some(peer) = peer {
            self.peer_takes(peer);
        }
    }

    /// Bytes have left a connection, and others may follow.
    pub(super) fn room_again(&mut self, on: ConnectionId) {
        if self.connections.get(&on).is_none_or(|connection| connection.phase == Phase::Dialling) {
            return;
        }
        self.fill(on);
        self.throttle_up(on);
        if let Some(peer) = self.peer_on(on) {
            self.fill_others(peer, on);
        }
        if self.connections.get(&on).is_some_and(|connection| connection.outbound.is_empty()) {
            self.writers.remove(&on);
            self.all_written(on);
        }
        self.resume_reading();
    }

    /// Seals what waits, once everything before it is written.
    pub(super) fn fill(&mut self, on: ConnectionId) {
        let Some(connection) = self.connections.get(&on) else { return };
        if connection.phase == Phase::Dialling || !connection.outbound.is_empty() {
            return;
        }
        let target = connection.up.allowance().min(self.up.allowance(&connection.taken_up)).clamp(1, FILL_TARGET);
        while let Some(connection) = self.connections.get_mut(&on)
            && connection.outbound.len() < target
        {
            if let Some(urgent) = connection.urgent.pop_front() {
                let session = self.said_in(urgent.session, on);
                self.seal(on, session, |_, _, plaintext| {
                    plaintext.extend_from_slice(&urgent.frames);
                    Vec::new()
                });
                if urgent.probe
                    && let Some(connection) = self.connections.get_mut(&on)
                {
                    connection.probe_ends = Some(connection.outbound.end());
                }
                continue;
            }
            let Some(peer) = connection.peer else { break };
            if connection.phase != Phase::Open || !self.seal_next(on, peer) {
                break;
            }
        }
        if self.connections.get(&on).is_some_and(|connection| !connection.outbound.is_empty()) {
            self.writers.insert(on);
            self.hint(on);
            self.throttle_up(on);
        }
    }

    /// What was to be said in a session that has ended meanwhile is said in another.
    fn said_in(&self, session: SessionId, on: ConnectionId) -> SessionId {
        let has_ended = !self.sessions.contains_key(&session);
        let other = self.peer_on(on).filter(|_| has_ended).and_then(|peer| self.sealing_session(peer));
        other.unwrap_or(session)
    }

    /// Seals one record of what waits in the peer's sessions, the best session first. But what is said in few words in any of them goes
    /// before all messages: that a place is free, say, before the query that takes it.
    fn seal_next(&mut self, on: ConnectionId, peer: NodeId) -> bool {
        let Some(sessions) = self.peers.get(&peer).map(|peer| peer.sessions.as_slice()) else { return false };
        let main = self.any_connection(peer) == Some(on);
        let good = || sessions.iter().filter_map(|sid| self.sessions.get(sid)).filter(|session| session.is_good());
        let brief = good().find(|session| session.outbox.has_frames(on, main));
        let next = brief.or_else(|| good().find(|session| session.outbox.has_something(on, main)));
        let Some(sid) = next.map(|session| session.id) else { return false };
        self.introduce(on, main, sid)
            && self.seal(on, sid, |node, session, plaintext| node.compose(on, main, session, plaintext))
    }

    /// Before a peer that was dialled has opened a record it takes no long packet. So a short one goes first, in a session that the
    /// peer has shown there to hold: it may have started again since it was heard in another one elsewhere. Says whether it is met.
    fn introduce(&mut self, on: ConnectionId, main: bool, sid: SessionId) -> bool {
        let Some(connection) = self.connections.get(&on) else { return false };
        let long = self.sessions.get(&sid).is_some_and(|session| session.outbox.next_exceeds(SHORT, on, main));
        if connection.takes_long_packets() || !long {
            return true;
        }
        // Until it has shown any, nothing long goes: what it has answered is still being looked at.
        let Some(shown) = connection.heard_in else { return false };
        let is_kept = self.sessions.get(&shown).is_some_and(|session| !session.said_drained);
        let held = if is_kept { shown } else { sid };
        self.seal(on, held, |_, _, _| Vec::new());
        true
    }

    /// Appends a packet with one record to the connection; says whether there was anything to put into it. `compose` writes the
    /// plaintext and names the queries that are complete with it.
    pub(super) fn seal(
        &mut self,
        on: ConnectionId,
        sid: SessionId,
        compose: impl FnOnce(&mut Self, SessionId, &mut Vec<u8>) -> Vec<Carried>,
    ) -> bool {
        let (Some(connection), true) = (self.connections.get_mut(&on), self.sessions.contains_key(&sid)) else {
            return false;
        };
        // The buffer is taken out so that composing can use the rest of the node.
        let mut out = core::mem::take(connection.outbound.tail());
        let start = out.len();
        out.resize(start + LENGTH + SEALED_HEADER, 0);
        let complete = compose(self, sid, &mut out);
        let (Some(connection), Some(session)) = (self.connections.get_mut(&on), self.sessions.get_mut(&sid)) else {
            return false;
        };
        let sealed = session.sealer.seal(session.peer_id.0, &mut out, start + LENGTH);
        if sealed.is_err() {
            out.truncate(start);
        } else {
            let length = u32::try_from(out.len() - start - LENGTH).unwrap_or(u32::MAX);
            if let Some(prefix) = out.get_mut(start..start + LENGTH) {
                prefix.copy_from_slice(&length.to_be_bytes());
            }
        }
        *connection.outbound.tail() = out;
        connection.last_sealed = self.now;
        connection.introduced |= connection.heard_in == Some(sid);
        for carried in complete {
            connection.outbound.mark(carried);
        }
        sealed.is_ok()
    }

    /// Fills one record: frames, then whole messages, or one piece of a larger one.
    fn compose(&mut self, on: ConnectionId, main: bool, sid: SessionId, plaintext: &mut Vec<u8>) -> Vec<Carried> {
        let mut complete = Vec::new();
        let Some(session) = self.sessions.get_mut(&sid) else { return complete };
        if let Some(frames) = session.outbox.take_frames(on, main) {
            plaintext.extend_from_slice(&frames);
            let peer = session.peer;
            self.check_congestion(peer);
        }
        let takes_long = self.connections.get(&on).is_some_and(Connection::takes_long_packets);
        let mut room = if takes_long { PIECE } else { SHORT };
        let mut continues = false;
        while let Some(item) = self.sessions.get_mut(&sid).and_then(|session| session.outbox.take(on, main, continues))
        {
            let large = item.total > PIECE;
            let size = item.total.saturating_add(REPLY_OVERHEAD);
            match item.content {
                Content::Query(query) => self.compose_query(on, sid, query, item, plaintext, &mut complete),
                Content::Reply { .. } => self.compose_reply(on, sid, item, plaintext),
            }
            let Some(session) = self.sessions.get_mut(&sid) else { break };
            session.outbox.turn_over(large);
            if large {
                break;
            }
            continues = true;
            room = room.saturating_sub(size);
            let next = session.outbox.next_small(on, main);
            if next.is_none_or(|next| next.saturating_add(REPLY_OVERHEAD) > room) {
                break;
            }
        }
        complete
    }

    fn compose_query(
        &mut self,
        on: ConnectionId,
        sid: SessionId,
        query: QueryId,
        mut item: Item,
        plaintext: &mut Vec<u8>,
        complete: &mut Vec<Carried>,
    ) {
        let until = self.until(sid, query);
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        let QueryState::Sending { session, number, .. } = outstanding.state else { return };
        let end = item.total.min(item.offset + PIECE);
        let part = &outstanding.message[item.offset..end];
        let frame = if item.offset == 0 {
            Frame::Query { number, notice: outstanding.notice, until, total: item.total, part }
        } else {
            Frame::Piece { of: PieceOf::Query, number, offset: item.offset, part }
        };
        frame.put(plaintext);
        outstanding.state = if end == item.total {
            QueryState::Sealed { session, number, connection: on }
        } else {
            QueryState::Sending { session, number, connection: Some(on) }
        };
        let hint = outstanding.hint;
        item.offset = end;
        if end == item.total {
            complete.push(Carried { query, session, number });
        } else if let Some(session) = self.sessions.get_mut(&sid) {
            session.outbox.put_back(on, item);
        }
        let probe_at = self.now + self.settings.probe_waiting;
        if let Some(connection) = self.connections.get_mut(&on) {
            connection.carried.insert(query);
            connection.last_used = self.now;
            if hint != Hint::None {
                connection.hint = hint;
            }
            self.timers.arm_no_later(self.now, Timer::Probe(on), probe_at);
        }
    }

    fn compose_reply(&mut self, on: ConnectionId, sid: SessionId, mut item: Item, plaintext: &mut Vec<u8>) {
        let Content::Reply { number, code, echo, message } = &item.content else { return };
        let end = item.total.min(item.offset + PIECE);
        let part = &message[item.offset..end];
        let frame = if item.offset == 0 {
            Frame::Reply { number: *number, code: *code, echo: *echo, total: item.total, part }
        } else {
            Frame::Piece { of: PieceOf::Reply, number: *number, offset: item.offset, part }
        };
        frame.put(plaintext);
        item.offset = end;
        if end == item.total {
            let peer = self.sessions.get(&sid).map(|session| session.peer);
            if let Some(peer) = peer {
                self.uncharge_reply(peer, item.total);
            }
        } else if let Some(session) = self.sessions.get_mut(&sid) {
            session.outbox.put_back(on, item);
        }
    }

    /// Arms what wakes a connection that the throttle holds back.
    pub(super) fn throttle_up(&mut self, on: ConnectionId) {
        if let Some(connection) = self.connections.get(&on)
            && !connection.outbound.is_empty()
            && let Some(resumes) = connection.up.resumes()
        {
            self.timers.arm_no_later(self.now, Timer::ThrottleConnection(on), resumes);
        }
        self.arm_throttle();
    }

    pub(super) fn throttle_down(&mut self, on: ConnectionId) {
        if let Some(resumes) = self.connections.get(&on).and_then(|connection| connection.down.resumes()) {
            self.timers.arm_no_later(self.now, Timer::ThrottleConnection(on), resumes);
        }
        self.arm_throttle();
    }

    pub(super) fn arm_throttle(&mut self) {
        let writers = self.writers.len();
        let up = if writers == 0 { None } else { self.up.next_round(writers, self.now) };
        for (timer, round) in [(Timer::ThrottleUp, up), (Timer::ThrottleDown, self.down.next_round(1, self.now))] {
            match round {
                Some(NextRound::Saved(at)) => self.timers.arm(self.now, timer, at),
                Some(NextRound::Over(at)) => self.timers.arm_no_later(self.now, timer, at),
                None => {}
            }
        }
    }

    pub(super) fn share_up(&mut self) {
        self.up.begin_round(self.writers.len());
        self.hint_in_turn(self.up.round());
        self.arm_throttle();
    }

    pub(super) fn share_down(&mut self) {
        self.down.begin_round(1);
        self.hint_in_turn(self.down.round());
        self.arm_throttle();
    }

    /// Hints every connection, each round beginning with another one, so that what does not divide goes to each in turn.
    fn hint_in_turn(&mut self, round: u64) {
        let mut all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        if let Some(first) = usize::try_from(round).ok().and_then(|round| round.checked_rem(all.len())) {
            all.rotate_left(first);
        }
        for connection in all {
            self.hint(connection);
        }
    }

    pub(super) fn throttle_connection_timeout(&mut self, on: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&on) else { return };
        connection.up.refill(self.now);
        connection.down.refill(self.now);
        self.hint(on);
        self.throttle_up(on);
        self.throttle_down(on);
    }
}
