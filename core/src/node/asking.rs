//! The asker's end of a conversation (*EGTP Architecture 0.2*, I.A and I.B): from a query to its one verdict.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::conversation::{Arrival, Outstanding, QueryState};
use crate::id::{ConnectionId, MessageId, NodeId, QueryId};
use crate::note::Cause;
use crate::query::{
    DEFAULT_HARD_TIMEOUT, Delivery, Executed, Failure, Hint, MAX_BODY, MAX_HARD_TIMEOUT, PeerRefusal, Query, Reason,
    Refusal, Reply, Stage, TypeName, Verdict, Via,
};
use crate::session::state::Carries;
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::Frame;
use crate::wire::message::{self, Kind, Message};
use crate::wire::packet::SessionId;

/// So many of the numbers that were last given up in a session are said again when a connection ends.
const GIVEN_UP_KEPT: usize = 1024;

impl Node {
    /// Sends a query to a peer, or to this very node. It ends in exactly one [`Delivery::Verdict`], by its hard timeout.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], with the query handed back, if a limit is reached, its settings are out of range, or the node is
    /// shutting down. Nothing was sent.
    pub fn query(&mut self, now: Instant, to: NodeId, query: Query) -> Result<QueryId, (Refusal, Query)> {
        self.advance(now);
        if let Err(refusal) = self.may_ask(to, &query) {
            return Err((refusal, query));
        }
        Ok(self.begin(to, query, Kind::Query))
    }

    /// Sends a notice: a message that asks for no answer and gets no verdict. It is given up after [`DEFAULT_HARD_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// As for [`Node::query`].
    pub fn notify(
        &mut self,
        now: Instant,
        to: NodeId,
        type_name: TypeName,
        body: Vec<u8>,
    ) -> Result<(), (Refusal, Vec<u8>)> {
        self.advance(now);
        let notice = Query::new(type_name, body).hard_timeout(DEFAULT_HARD_TIMEOUT);
        if let Err(refusal) = self.may_ask(to, &notice) {
            return Err((refusal, notice.body));
        }
        self.begin(to, notice, Kind::Notice);
        Ok(())
    }

    /// Gives a query up. Its verdict, [`Reason::Cancelled`], follows; a reply that still comes is ignored.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ended`] if the query has its verdict already.
    pub fn cancel(&mut self, now: Instant, query: QueryId) -> Result<(), Refusal> {
        self.advance(now);
        if self.queries.get(&query).is_none_or(|outstanding| outstanding.notice) {
            return Err(Refusal::Ended);
        }
        self.fail(query, Reason::Cancelled);
        self.check_stopped();
        Ok(())
    }

    fn may_ask(&mut self, to: NodeId, query: &Query) -> Result<(), Refusal> {
        if self.stopping.is_some() {
            return Err(Refusal::ShuttingDown);
        }
        if query.body.len() > MAX_BODY {
            return Err(Refusal::BodyTooLong);
        }
        if query.hard.is_zero() || query.hard > MAX_HARD_TIMEOUT {
            return Err(Refusal::HardTimeoutOutOfRange);
        }
        if query.soft.is_some_and(|soft| soft >= query.hard) {
            return Err(Refusal::SoftTimeoutNotShorter);
        }
        if self.queries.len() >= self.limits.queries {
            return Err(Refusal::TooManyQueries);
        }
        let bytes = message::header_len(&query.type_name) + query.body.len();
        if self.query_bytes.saturating_add(bytes) > self.limits.query_bytes {
            return Err(Refusal::TooManyQueryBytes);
        }
        if to != self.id && !self.make_peer(to) {
            return Err(Refusal::TooManyPeers);
        }
        Ok(())
    }

    fn begin(&mut self, to: NodeId, query: Query, kind: Kind) -> QueryId {
        let id = QueryId(self.fresh_id());
        let message = message::encode(kind, to, self.random.nonce(), None, &query.type_name, &query.body);
        let notice = kind == Kind::Notice;
        let deadline = self.now + query.hard;
        self.query_bytes += message.len();
        self.arm_in(Timer::QueryHard(id), query.hard);
        if let Some(soft) = query.soft {
            self.arm_in(Timer::QuerySoft(id), soft);
        }
        let outstanding = Outstanding {
            to,
            reference: MessageId::of_encoding(&message),
            message,
            type_name: query.type_name,
            deadline,
            notice,
            hint: query.hint,
            came_too_late: false,
            state: QueryState::Held,
        };
        self.queries.insert(id, outstanding);
        if to == self.id {
            self.ask_myself(id, query.body);
            return id;
        }
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.outstanding += 1;
            peer.held.insert(id);
        }
        self.touch_peer(to, true);
        self.reach(to);
        id
    }

    pub(super) fn soft_timeout(&mut self, query: QueryId) {
        if self.queries.contains_key(&query) {
            self.deliver(Delivery::SoftTimeout(query));
        }
    }

    pub(super) fn hard_timeout(&mut self, query: QueryId) {
        self.fail(query, Reason::HardTimeout);
    }

    /// Ends a query for this reason, with what its state says about whether it may have run.
    pub(super) fn fail(&mut self, query: QueryId, reason: Reason) {
        if let Some(outstanding) = self.queries.get(&query) {
            let executed = outstanding.state.executed();
            self.fail_as(query, reason, executed);
        }
    }

    /// Ends a query for this reason.
    pub(super) fn fail_as(&mut self, query: QueryId, reason: Reason, executed: Executed) {
        let Some(stage) = self.stage(query) else { return };
        self.end(query, Verdict::Failed(Failure { reason, executed, stage }));
    }

    fn stage(&self, query: QueryId) -> Option<Stage> {
        let outstanding = self.queries.get(&query)?;
        let waiting = || {
            let Some(peer) = self.peers.get(&outstanding.to) else { return Stage::Dial };
            if peer.handshake.as_ref().is_some_and(|handshake| handshake.sent_on.is_some()) {
                Stage::Handshake
            } else if self.path(outstanding.to).is_some() {
                Stage::Queue
            } else if peer.dial.is_none() && (peer.lookup.is_some() || peer.strategies.is_empty()) {
                Stage::Lookup
            } else {
                Stage::Dial
            }
        };
        Some(outstanding.state.stage().unwrap_or_else(waiting))
    }

    /// The one place where a query ends: frees all its storage and says the verdict.
    pub(super) fn end(&mut self, query: QueryId, verdict: Verdict) {
        let Some(outstanding) = self.queries.remove(&query) else { return };
        self.query_bytes -= outstanding.message.len();
        self.timers.disarm(Timer::QueryHard(query));
        self.timers.disarm(Timer::QuerySoft(query));
        if let Some(peer) = self.peers.get_mut(&outstanding.to) {
            peer.outstanding -= 1;
            peer.held.remove(&query);
        }
        let may_still_run = match &verdict {
            Verdict::Reply(_) => false,
            Verdict::Failed(failure) => !outstanding.notice && failure.executed == Executed::Maybe,
        };
        match outstanding.state {
            QueryState::Held => {}
            QueryState::Local(incoming) => self.forget_local(incoming),
            QueryState::Sending { session, number, connection } => {
                self.settle(session, number);
                self.drop_unsent(session, query);
                if connection.is_some() {
                    self.tell_done(session, number, outstanding.deadline);
                }
            }
            QueryState::Sealed { session, number, .. }
            | QueryState::Sent { session, number, .. }
            | QueryState::Taken { session, number, .. } => {
                if self.settle(session, number) && may_still_run {
                    self.tell_done(session, number, outstanding.deadline);
                }
                // Of an answer that is no longer awaited nothing is kept.
                self.drop_assembly(session, Carries::Reply, number);
            }
        }
        if !outstanding.notice {
            self.deliver(Delivery::Verdict(query, verdict));
        }
        self.after_query(&outstanding, query);
    }

    /// The numbers of a session's outstanding queries no longer include this one. Says whether they did.
    fn settle(&mut self, session: SessionId, number: u64) -> bool {
        let Some(session) = self.sessions.get_mut(&session) else { return false };
        session.unsettled.remove(&number);
        session.outstanding.remove(&number).is_some()
    }

    /// Takes a message that is not wholly sent out of the queue.
    fn drop_unsent(&mut self, session: SessionId, query: QueryId) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.outbox.remove_query(query);
        }
    }

    /// The peer is not to work any more at a number of which it may have some, or all.
    pub(super) fn tell_done(&mut self, session: SessionId, number: u64, deadline: Instant) {
        if let Some(session) = self.sessions.get_mut(&session).filter(|_| deadline > self.now) {
            session.given_up.insert(number, deadline);
            if session.given_up.len() > GIVEN_UP_KEPT {
                session.given_up.pop_first();
            }
        }
        self.push_done(session, number, 1);
    }

    /// What was said on a connection may be lost with it. Until its deadline each of the numbers would keep a place at the peer.
    pub(super) fn tell_done_again(&mut self, session: SessionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.given_up.retain(|_, deadline| *deadline > self.now);
        let mut frames: Vec<(u64, u64)> = Vec::new();
        for &number in state.given_up.keys() {
            match frames.last_mut() {
                Some((base, settled)) if number - *base < 64 => *settled |= 1 << (number - *base),
                Some(_) | None => frames.push((number, 1)),
            }
        }
        for (base, settled) in frames {
            self.push_done(session, base, settled);
        }
    }

    fn push_done(&mut self, session: SessionId, base: u64, settled: u64) {
        // Sixty-three numbers above the last one there is no number, so the base moves down with the bits.
        let shift = base.saturating_sub(u64::MAX - 63);
        self.push_frame(session, &Frame::Done { base: base - shift, settled: settled << shift });
    }

    fn after_query(&mut self, outstanding: &Outstanding, query: QueryId) {
        if let Some(connection) = outstanding.state.connection() {
            self.put_down(connection, query);
        }
        self.pump(outstanding.to);
        if let Some((session, _)) = outstanding.state.numbered() {
            self.drain_session(session);
        }
        self.abandon_reach_if_idle(outstanding.to);
    }

    /// The query is no longer this connection's to carry.
    pub(super) fn put_down(&mut self, connection: ConnectionId, query: QueryId) {
        let Some(carrier) = self.connections.get_mut(&connection) else { return };
        carrier.carried.remove(&query);
        carrier.last_used = self.now;
        if carrier.hint == Hint::NoMore && !carrier.is_busy() && self.is_surplus(connection) {
            self.propose_leave(connection);
        }
        self.finish_leave(connection);
    }

    /// Back to waiting with its peer: no byte of it counts as sent, and it will go under another number.
    pub(super) fn hold(&mut self, query: QueryId) {
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        outstanding.state = QueryState::Held;
        if let Some(peer) = self.peers.get_mut(&outstanding.to) {
            peer.held.insert(query);
        }
    }

    /// Everything of the query has left this machine.
    pub(super) fn handed_over(&mut self, query: QueryId, session: SessionId, number: u64) {
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        if let QueryState::Sealed { session: in_session, number: under, connection } = outstanding.state
            && (in_session, under) == (session, number)
        {
            outstanding.state = QueryState::Sent { session, number, connection };
            // The peer has been reached: whatever was tried in vain before may be tried again when this way ends.
            if let Some(peer) = self.peers.get_mut(&outstanding.to)
                && peer.met > 0
            {
                peer.met = 0;
                peer.strategies.start_over();
                peer.looked_up = false;
            }
        }
    }

    /// The outstanding query that a number stands for in a session.
    fn numbered(&self, session: SessionId, number: u64) -> Option<QueryId> {
        self.sessions.get(&session)?.outstanding.get(&number).copied()
    }

    pub(super) fn acknowledged(&mut self, session: SessionId, number: u64) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        state.unsettled.remove(&number);
        let peer = state.peer;
        if let Some(query) = self.numbered(session, number) {
            self.was_taken(query);
            if self.queries.get(&query).is_some_and(|outstanding| outstanding.notice) {
                // Whatever the verdict says, a notice ends without it being told.
                self.fail(query, Reason::Cancelled);
            }
        }
        self.pump(peer);
    }

    /// The peer has said so; it may be that the driver has not said yet that everything of the query was written.
    pub(super) fn was_taken(&mut self, query: QueryId) {
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        if let QueryState::Sealed { session, number, connection } | QueryState::Sent { session, number, connection } =
            outstanding.state
        {
            outstanding.state = QueryState::Taken { session, number, connection };
        }
    }

    /// A whole reply is here. It counts only if it refers to the query that has this number; else nothing changes.
    pub(super) fn replied(&mut self, arrival: Arrival, number: u64, code: ReplyCode, bytes: Vec<u8>) {
        let Arrival { on, session, .. } = arrival;
        let Some(peer) = self.sessions.get(&session).map(|session| session.peer) else { return };
        let Some(query) = self.numbered(session, number) else {
            self.note(Cause::ReplyUnexpected, Some(peer), Some(on));
            return;
        };
        let Some(outstanding) = self.queries.get(&query) else { return };
        let reply = Message::parse(bytes).ok().filter(|reply| {
            !outstanding.notice
                && reply.kind == Kind::Reply
                && reply.recipient == self.id
                && reply.reference == Some(outstanding.reference)
                && reply.type_name == outstanding.type_name
        });
        let Some(reply) = reply else {
            self.note(Cause::ReplyMismatched, Some(peer), Some(on));
            return;
        };
        match code {
            ReplyCode::Answer => self.end(query, Verdict::Reply(Reply { body: reply.body, via: Via::Direct })),
            ReplyCode::Declined => {
                self.fail_as(query, Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe);
            }
            ReplyCode::ReplyTooLong => {
                self.fail_as(query, Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe);
            }
        }
    }

    /// The peer says that the query did not run and never will. If it calls it late while this node still waits, their clocks have
    /// gone apart, and the query goes again in a session that starts them anew; but only once.
    pub(super) fn refused(&mut self, session: SessionId, number: u64, code: RefuseCode) {
        let Some(query) = self.numbered(session, number) else { return };
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        if code != RefuseCode::TooLate || outstanding.came_too_late {
            self.fail_as(query, Reason::RefusedByPeer(code.into()), Executed::No);
            return;
        }
        outstanding.came_too_late = true;
        let (peer, state) = (outstanding.to, outstanding.state);
        self.settle(session, number);
        self.drop_unsent(session, query);
        self.hold(query);
        if let Some(connection) = state.connection() {
            self.put_down(connection, query);
        }
        self.retire_session(session);
        self.drain_session(session);
        self.reach(peer);
    }

    /// The peer can no longer say what became of the query.
    pub(super) fn gone(&mut self, session: SessionId, number: u64) {
        if let Some(query) = self.numbered(session, number) {
            self.fail_as(query, Reason::LostByPeer, Executed::Maybe);
        }
    }

    /// How long the peer may still work at a query, on its own session clock: never less than the asker waits.
    pub(super) fn until(&self, session: SessionId, query: QueryId) -> u32 {
        let (Some(session), Some(outstanding)) = (self.sessions.get(&session), self.queries.get(&query)) else {
            return 0;
        };
        let until = outstanding.deadline.saturating_since(session.peer_clock);
        // Two clocks may drift apart by a thousandth of the session's age.
        let drift = self.now.saturating_since(session.peer_clock) / 1024;
        let millis = (until + drift + Duration::from_millis(1)).as_millis();
        u32::try_from(millis).unwrap_or(u32::MAX)
    }
}
