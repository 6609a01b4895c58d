//! The recipient's end of a conversation: queries come in, are taken at most once, and are answered, refused or left.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::conversation::{Arrival, Asking, Incoming, Origin, QueryState};
use crate::id::{ConnectionId, IncomingId, MessageId, NodeId, QueryId};
use crate::note::Cause;
use crate::outbox::Content;
use crate::query::{
    Delivery, Executed, MAX_BODY, MAX_HARD_TIMEOUT, PeerRefusal, Reason, Refusal, Reply, ReplyToken, Unsent, Verdict,
    Via,
};
use crate::session::Number;
use crate::session::state::{Acknowledgement, Carries};
use crate::time::Instant;
use crate::timer::Timer;
use crate::wire::code::{GoneReason, RefuseCode, ReplyCode};
use crate::wire::frame::Frame;
use crate::wire::message::{self, Kind, Message};
use crate::wire::packet::SessionId;

/// A deadline further away than any query's is cut to this: the longest hard timeout, and a minute for the clocks.
const LATEST_UNTIL: Duration = Duration::from_secs(MAX_HARD_TIMEOUT.as_secs() + 60);

impl Node {
    /// Answers a query. An empty body is an answer like any other.
    ///
    /// Success means that the answer is on its way, not that it arrives. If the asker cannot be reached any more it is dropped, counted as
    /// [`Cause::ReplyUndeliverable`].
    ///
    /// # Errors
    ///
    /// [`Unsent`] hands token and body back: [`Refusal::BodyTooLong`], or [`Refusal::Ended`] if nobody waits any more.
    pub fn reply(&mut self, now: Instant, token: ReplyToken, body: Vec<u8>) -> Result<(), Unsent> {
        self.advance(now);
        if body.len() > MAX_BODY {
            return Err(Unsent { why: Refusal::BodyTooLong, token, body });
        }
        let Some(incoming) = self.take_incoming(token.0) else {
            return Err(Unsent { why: Refusal::Ended, token, body });
        };
        match incoming.origin {
            Origin::Local(query) => self.end(query, Verdict::Reply(Reply { body, via: Via::Myself })),
            Origin::Remote { .. } => self.send_reply(&incoming, ReplyCode::Answer, &body),
        }
        self.check_stopped();
        Ok(())
    }

    /// Answers a query with a no. [`PeerRefusal::Declined`] says that the handler has run; other reasons promise that it has not.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ended`] if nobody waits any more.
    #[expect(clippy::needless_pass_by_value, reason = "a token is used up by its one use")]
    pub fn refuse(&mut self, now: Instant, token: ReplyToken, why: PeerRefusal) -> Result<(), Refusal> {
        self.advance(now);
        let ReplyToken(incoming) = token;
        let incoming = self.take_incoming(incoming).ok_or(Refusal::Ended)?;
        match (incoming.origin, RefuseCode::of(why)) {
            (Origin::Local(query), code) => {
                let executed = if code.is_some() { Executed::No } else { Executed::Maybe };
                self.fail_as(query, Reason::RefusedByPeer(why), executed);
            }
            (Origin::Remote { session, number, connection, .. }, Some(code)) => {
                // The number stays taken: this node will not run it, and says so.
                self.push_frame_back(session, &Frame::Refuse { number, code, wait_secs: 0 }, connection);
                self.after_answer(&incoming, session, connection);
            }
            (Origin::Remote { .. }, None) => {
                let code = if why == PeerRefusal::Declined { ReplyCode::Declined } else { ReplyCode::ReplyTooLong };
                self.send_reply(&incoming, code, &[]);
            }
        }
        self.check_stopped();
        Ok(())
    }

    /// A query to oneself goes through the same handler, without cryptography or limits on the wire.
    pub(super) fn ask_myself(&mut self, query: QueryId, body: Vec<u8>) {
        let Some(outstanding) = self.queries.get_mut(&query) else { return };
        let (notice, type_name) = (outstanding.notice, outstanding.type_name.clone());
        let time_left = outstanding.deadline.saturating_since(self.now);
        let reference = outstanding.reference;
        let served = self.served.contains(&type_name);
        if notice {
            if served {
                self.deliver(Delivery::Notice { from: self.id, type_name, body });
            }
            self.fail(query, Reason::Cancelled);
        } else if !served {
            self.fail_as(query, Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::No);
        } else if self.incoming.len() >= self.limits.incoming {
            self.fail_as(query, Reason::RefusedByPeer(PeerRefusal::Busy), Executed::No);
        } else {
            let incoming = IncomingId(self.fresh_id());
            if let Some(outstanding) = self.queries.get_mut(&query) {
                outstanding.state = QueryState::Local(incoming);
            }
            let origin = Origin::Local(query);
            self.incoming.insert(incoming, Incoming { from: self.id, reference, type_name: type_name.clone(), origin });
            let token = ReplyToken(incoming);
            self.deliver(Delivery::Query { from: self.id, type_name, body, token, time_left });
        }
    }

    pub(super) fn forget_local(&mut self, incoming: IncomingId) {
        if self.incoming.remove(&incoming).is_some() {
            self.deliver(Delivery::Withdrawn(incoming));
        }
    }

    /// Whether a message that begins to arrive is to be put together at all. If not, its number is refused, for ever.
    pub(super) fn admit(&mut self, arrival: Arrival, asking: Asking) -> bool {
        let (Arrival { on, session, .. }, Asking { number, until, .. }) = (arrival, asking);
        let Some(state) = self.sessions.get_mut(&session) else { return false };
        let (peer, is_over) = (state.peer, state.heard_drained);
        let others = state.assemblies.keys().filter(|&&(carries, other)| carries == Carries::Query && other != number);
        let beginning = others.count();
        let code = match state.numbers.state(number) {
            Number::Free => None,
            Number::Taken => {
                let running = state.incoming.contains_key(&number);
                let frame = if running {
                    Frame::Ack { number, echo: 0 }
                } else {
                    Frame::Gone { number, reason: GoneReason::Released }
                };
                self.push_frame_back(session, &frame, on);
                self.note(Cause::QueryRepeated, Some(peer), Some(on));
                return false;
            }
            Number::Refused => Some(RefuseCode::Cancelled),
            Number::Below => {
                self.push_frame_back(session, &Frame::Gone { number, reason: GoneReason::BelowWindow }, on);
                self.note(Cause::QueryRepeated, Some(peer), Some(on));
                return false;
            }
        };
        let waiting = self.peers.get(&peer).map_or(0, |peer| peer.incoming) + beginning;
        let code = if code.is_some() {
            code
        } else if self.stopping.is_some() {
            Some(RefuseCode::ShuttingDown)
        } else if is_over {
            // It was overtaken: its asker has given it up.
            Some(RefuseCode::Cancelled)
        } else if until <= self.now {
            Some(RefuseCode::TooLate)
        } else if waiting >= self.limits.incoming_per_peer {
            Some(RefuseCode::BusyWithYou)
        } else if self.incoming.len() >= self.limits.incoming {
            Some(RefuseCode::Busy)
        } else {
            None
        };
        if let Some(code) = code {
            self.refuse_number(session, number, code, on);
        }
        code.is_none()
    }

    /// Marks the number first and says it then, so that what was refused cannot run later.
    pub(super) fn refuse_number(&mut self, session: SessionId, number: u64, code: RefuseCode, on: ConnectionId) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        match state.numbers.state(number) {
            Number::Free => state.numbers.refuse(number),
            Number::Refused => {}
            // It has run or may be running, and nothing else is said of it.
            Number::Taken | Number::Below => return,
        }
        let peer = state.peer;
        self.push_frame_back(session, &Frame::Refuse { number, code, wait_secs: 0 }, on);
        self.note(Cause::QueryRefused, Some(peer), Some(on));
    }

    /// The instant on this node's clock that a deadline on its session clock stands for.
    pub(super) fn deadline_of(&self, session: SessionId, until: u32) -> Instant {
        let latest = self.now + LATEST_UNTIL;
        self.sessions
            .get(&session)
            .map_or(self.now, |session| (session.clock + Duration::from_millis(u64::from(until))).min(latest))
    }

    /// A whole query or notice is here, and was admitted when it began. It is taken now, and delivered, once.
    pub(super) fn asked(&mut self, arrival: Arrival, asking: Asking, bytes: Vec<u8>) {
        if !self.admit(arrival, asking) {
            return;
        }
        let Arrival { on, session, counter: echo } = arrival;
        let Asking { number, notice, until } = asking;
        // A number stands for one message; what else was begun under it is not waited for.
        self.drop_assembly(session, Carries::Query, number);
        let reference = MessageId::of_encoding(&bytes);
        let kind = if notice { Kind::Notice } else { Kind::Query };
        let message = Message::parse(bytes).ok().filter(|message| message.kind == kind && message.recipient == self.id);
        let Some(message) = message else {
            self.refuse_number(session, number, RefuseCode::Malformed, on);
            return;
        };
        if !self.served.contains(&message.type_name) {
            self.refuse_number(session, number, RefuseCode::UnknownType, on);
            return;
        }
        let incoming = IncomingId(self.fresh_id());
        let acknowledge = self.now + self.settings.acknowledge;
        let Some(state) = self.sessions.get_mut(&session) else { return };
        let from = state.peer;
        state.numbers.take(number);
        let waits = (!notice).then_some(incoming);
        state.acknowledge.push_back(Acknowledgement { due: acknowledge, number, echo, on, incoming: waits });
        if !notice {
            state.incoming.insert(number, incoming);
        }
        self.timers.arm_no_later(self.now, Timer::Acknowledge(session), acknowledge);
        if let Some(connection) = self.connections.get_mut(&on) {
            connection.messages_received += 1;
            connection.last_used = self.now;
            if !notice {
                connection.owed.insert(incoming);
            }
        }
        let Message { type_name, body, .. } = message;
        if notice {
            self.deliver(Delivery::Notice { from, type_name, body });
            return;
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.incoming += 1;
        }
        self.timers.arm(self.now, Timer::IncomingUntil(incoming), until);
        let origin = Origin::Remote { session, number, connection: on, echo };
        self.incoming.insert(incoming, Incoming { from, reference, type_name: type_name.clone(), origin });
        let time_left = until.saturating_since(self.now);
        self.deliver(Delivery::Query { from, type_name, body, token: ReplyToken(incoming), time_left });
    }

    /// The asker says that it no longer waits for this number.
    pub(super) fn withdrawn(&mut self, session: SessionId, number: u64) {
        let Some(state) = self.sessions.get_mut(&session) else { return };
        if state.numbers.state(number) == Number::Free {
            state.numbers.refuse(number);
        }
        let incoming = state.incoming.get(&number).copied();
        self.drop_assembly(session, Carries::Query, number);
        if let Some(incoming) = incoming {
            self.withdraw(incoming);
        }
    }

    pub(super) fn incoming_expired(&mut self, incoming: IncomingId) {
        self.withdraw(incoming);
    }

    /// Nobody waits for the answer any more.
    pub(super) fn withdraw(&mut self, incoming: IncomingId) {
        if let Some(taken) = self.take_incoming(incoming) {
            self.deliver(Delivery::Withdrawn(incoming));
            if let Origin::Remote { session, connection, .. } = taken.origin {
                self.after_answer(&taken, session, connection);
            }
        }
    }

    /// Says to the peers which queries have been taken and not answered yet.
    pub(super) fn acknowledge(&mut self, session: SessionId) {
        while let Some(state) = self.sessions.get_mut(&session)
            && let Some(&Acknowledgement { due, number, echo, on, incoming }) = state.acknowledge.front()
        {
            if due > self.now {
                self.timers.arm(self.now, Timer::Acknowledge(session), due);
                break;
            }
            state.acknowledge.pop_front();
            if incoming.is_none_or(|incoming| self.incoming.contains_key(&incoming)) {
                self.push_frame_back(session, &Frame::Ack { number, echo }, on);
            }
        }
        if let Some(peer) = self.sessions.get(&session).map(|session| session.peer) {
            self.pump(peer);
        }
    }

    /// Removes an incoming query from everything that knows it, save the session's window, which remembers its number.
    fn take_incoming(&mut self, id: IncomingId) -> Option<Incoming> {
        let incoming = self.incoming.remove(&id)?;
        self.timers.disarm(Timer::IncomingUntil(id));
        if let Origin::Remote { session, number, connection, .. } = incoming.origin {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.incoming.remove(&number);
            }
            if let Some(connection) = self.connections.get_mut(&connection) {
                connection.owed.remove(&id);
                connection.last_used = self.now;
            }
            if let Some(peer) = self.peers.get_mut(&incoming.from) {
                peer.incoming -= 1;
            }
        }
        Some(incoming)
    }

    fn send_reply(&mut self, incoming: &Incoming, code: ReplyCode, body: &[u8]) {
        let Origin::Remote { session, number, connection, echo } = incoming.origin else { return };
        let peer = incoming.from;
        if !self.sessions.contains_key(&session) || self.peers.get(&peer).is_none_or(|peer| peer.connections.is_empty())
        {
            self.note(Cause::ReplyUndeliverable, Some(peer), None);
            self.after_answer(incoming, session, connection);
            return;
        }
        let nonce = self.random.nonce();
        let saying = |body| {
            message::encode(Kind::Reply, incoming.from, nonce, Some(incoming.reference), &incoming.type_name, body)
        };
        let (mut code, mut message) = (code, saying(body));
        if !body.is_empty() && !self.has_room_for_reply(peer, message.len()) {
            (code, message) = (ReplyCode::ReplyTooLong, saying(&[]));
        }
        let total = message.len();
        if self.has_room_for_reply(peer, total) {
            self.charge_reply(peer, total);
            let via = self.connections.contains_key(&connection).then_some(connection);
            let Some(state) = self.sessions.get_mut(&session) else { return };
            state.outbox.push(Content::Reply { number, code, echo, message }, total, via);
        } else {
            // It is as short as what else is said of a query, and waits with that: it has a limit of its own.
            self.push_frame_back(session, &Frame::Reply { number, code, echo, total, part: &message }, connection);
        }
        self.after_answer(incoming, session, connection);
    }

    /// A peer that asks for much and reads nothing must not take the memory that others need: nobody gets more than what is left
    /// for the others after that.
    fn has_room_for_reply(&self, peer: NodeId, bytes: usize) -> bool {
        let of_peer = self.peers.get(&peer).map_or(0, |peer| peer.reply_bytes).saturating_add(bytes);
        let left = self.limits.reply_bytes.saturating_sub(self.reply_bytes);
        of_peer <= self.limits.reply_bytes_per_peer && of_peer <= left
    }

    fn charge_reply(&mut self, of: NodeId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&of) {
            peer.reply_bytes += bytes;
            self.reply_bytes += bytes;
            self.check_congestion(of);
        }
    }

    pub(super) fn uncharge_reply(&mut self, of: NodeId, bytes: usize) {
        if let Some(peer) = self.peers.get_mut(&of) {
            peer.reply_bytes -= bytes;
            self.reply_bytes -= bytes;
            self.check_congestion(of);
        }
    }

    fn after_answer(&mut self, incoming: &Incoming, session: SessionId, connection: ConnectionId) {
        self.pump(incoming.from);
        self.drain_session(session);
        self.finish_leave(connection);
    }
}
