//! What the application says: queries, notices, answers, cancellations.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::conversation::{Incoming, Origin, To};
use crate::id::{NodeId, QueryId};
use crate::query::{
    DEFAULT_HARD_TIMEOUT, Delivery, Executed, MAX_BODY, MAX_HARD_TIMEOUT, PeerRefusal, Query, Reason, Refusal, Reply,
    ReplyToken, TypeName, Unasked, Unsaid, Unsent, Verdict, Via,
};
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::message::{self, Kind, Message};

/// Replies that nobody fetches are looked for at most so often.
const SHORTEN_EVERY: Duration = Duration::from_millis(500);

impl Node {
    /// Sends a query to a peer, or to this very node. It ends in exactly one [`Delivery::Verdict`], by its hard timeout.
    ///
    /// # Errors
    ///
    /// [`Unasked`] hands the query back and says why: a limit is reached, its settings are out of range, or the node is
    /// shutting down. Nothing was sent.
    pub fn query(&mut self, now: Instant, to: NodeId, query: Query) -> Result<QueryId, Unasked> {
        self.advance(now);
        match self.may_ask(to, &query) {
            Ok(to_whom) => Ok(self.begin(to, to_whom, query, Kind::Query)),
            Err(why) => Err(Unasked { why, query }),
        }
    }

    /// Sends a notice: a message that asks for no answer and gets no verdict. It is given up after [`DEFAULT_HARD_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`Unsaid`] hands the body back and says why, as for [`Node::query`].
    pub fn notify(&mut self, now: Instant, to: NodeId, type_name: TypeName, body: Vec<u8>) -> Result<(), Unsaid> {
        self.advance(now);
        let notice = Query::new(type_name, body).hard_timeout(DEFAULT_HARD_TIMEOUT);
        match self.may_ask(to, &notice) {
            Ok(to_whom) => {
                self.begin(to, to_whom, notice, Kind::Notice);
                Ok(())
            }
            Err(why) => Err(Unsaid { why, body: notice.body }),
        }
    }

    /// Gives a query up. Its verdict, [`Reason::Cancelled`], follows; a reply that still comes is ignored.
    ///
    /// # Errors
    ///
    /// [`Refusal::Ended`] if the query has its verdict already.
    pub fn cancel(&mut self, now: Instant, query: QueryId) -> Result<(), Refusal> {
        self.advance(now);
        if self.env.queries.get(query).is_none_or(|asked| asked.is_notice()) {
            return Err(Refusal::Ended);
        }
        self.give_up(query, Reason::Cancelled);
        self.finish();
        Ok(())
    }

    /// Answers a query. An empty body is an answer like any other.
    ///
    /// Success means that the answer is on its way, not that it arrives: it goes again until its asker has it, or does not wait any more.
    /// Without memory for it ([`Limits::reply_bytes`](crate::Limits::reply_bytes)) its asker learns that it was too long.
    ///
    /// # Errors
    ///
    /// [`Unsent`] hands token and body back: [`Refusal::BodyTooLong`], or [`Refusal::Ended`] if nobody waits any more.
    pub fn reply(&mut self, now: Instant, token: ReplyToken, body: Vec<u8>) -> Result<(), Unsent> {
        self.advance(now);
        if body.len() > MAX_BODY {
            return Err(Unsent { why: Refusal::BodyTooLong, token, body });
        }
        let Some(incoming) = self.env.incoming.take(token.0) else {
            return Err(Unsent { why: Refusal::Ended, token, body });
        };
        match incoming.origin {
            Origin::Local(query) => self.end_local_with(query, Verdict::Reply(Reply { body, via: Via::Myself })),
            Origin::Remote { .. } => self.answer(incoming, ReplyCode::Answer, body),
        }
        self.finish();
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
        let incoming = self.env.incoming.take(token.0).ok_or(Refusal::Ended)?;
        match (incoming.origin, RefuseCode::of(why)) {
            (Origin::Local(query), code) => {
                let executed = if code.is_some() { Executed::No } else { Executed::Maybe };
                self.end_local(query, Reason::RefusedByPeer(why), executed);
            }
            (Origin::Remote { peer, session, number }, Some(code)) => {
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.refuse(&mut self.env, (session, number), code);
                }
            }
            (Origin::Remote { .. }, None) => {
                let code = if why == PeerRefusal::Declined { ReplyCode::Declined } else { ReplyCode::ReplyTooLong };
                self.answer(incoming, code, Vec::new());
            }
        }
        self.finish();
        Ok(())
    }

    /// Queries and notices of this type are delivered from now on; of other types they are refused.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyTypes`] if as many types are served as [`Limits::served_types`](crate::Limits::served_types) allows.
    pub fn serve(&mut self, type_name: TypeName) -> Result<(), Refusal> {
        let is_served = self.env.incoming.serve(type_name, self.env.limits.served_types);
        if is_served { Ok(()) } else { Err(Refusal::TooManyTypes) }
    }

    /// Queries of this type are refused from now on. What was delivered already can still be answered.
    pub fn unserve(&mut self, type_name: &TypeName) {
        self.env.incoming.unserve(type_name);
    }

    fn answer(&mut self, incoming: Incoming, code: ReplyCode, body: Vec<u8>) {
        self.make_room_for_reply(body.len());
        if let Origin::Remote { peer, session, number } = incoming.origin
            && let Some(peer) = self.peers.get_mut(peer)
        {
            peer.answer(&mut self.env, (session, number), incoming, code, body);
        }
    }

    /// Where memory for replies is short, those that nobody has fetched for a while give way. That is looked at now and then.
    fn make_room_for_reply(&mut self, bytes: usize) {
        let fits = self.env.charges.replies.saturating_add(bytes) <= self.env.limits.reply_bytes;
        if fits || self.next_shortening > self.env.now {
            return;
        }
        self.next_shortening = self.env.now + SHORTEN_EVERY;
        for key in self.peers.keys() {
            if let Some(peer) = self.peers.get_mut(key) {
                peer.shorten_answers(&mut self.env);
            }
        }
    }

    fn may_ask(&mut self, to: NodeId, query: &Query) -> Result<To, Refusal> {
        self.may_begin()?;
        if query.body.len() > MAX_BODY {
            return Err(Refusal::BodyTooLong);
        }
        if query.hard.is_zero() || query.hard > MAX_HARD_TIMEOUT {
            return Err(Refusal::HardTimeoutOutOfRange);
        }
        if query.soft.is_some_and(|soft| soft >= query.hard) {
            return Err(Refusal::SoftTimeoutNotShorter);
        }
        if self.env.queries.len() >= self.env.limits.queries {
            return Err(Refusal::TooManyQueries);
        }
        let bytes = message::header_len(&query.type_name) + query.body.len();
        if self.env.queries.bytes().saturating_add(bytes) > self.env.limits.query_bytes {
            return Err(Refusal::TooManyQueryBytes);
        }
        if to == self.env.id {
            return Ok(To::Myself);
        }
        self.peers.find_or_make(to, &mut self.env).map(To::Peer).ok_or(Refusal::TooManyPeers)
    }

    fn begin(&mut self, to: NodeId, to_whom: To, mut query: Query, kind: Kind) -> QueryId {
        let message = Message {
            kind,
            recipient: to,
            nonce: self.env.random.nonce(),
            reference: None,
            type_name: query.type_name.clone(),
            body: core::mem::take(&mut query.body),
        };
        let now = self.env.now;
        let id = self.env.queries.begin(now, to_whom, &query, message, &mut self.env.timers);
        match to_whom {
            To::Myself => self.ask_myself(id),
            To::Peer(key) => {
                self.peers.touch(key, true);
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.ask(&mut self.env, id);
                }
            }
        }
        self.finish();
        id
    }

    /// A query to oneself goes through the same handler, without cryptography or limits on the wire.
    fn ask_myself(&mut self, query: QueryId) {
        let Some(asked) = self.env.queries.get_mut(query) else { return };
        let Some(message) = asked.take_message() else { return };
        let (reference, until, notice) = (asked.reference(), asked.deadline(), asked.is_notice());
        let from = self.env.id;
        let served = self.env.incoming.served(message.type_name.as_str());
        let refusal = if served.is_none() {
            Some(PeerRefusal::UnknownType)
        } else if !notice && self.env.incoming.len() >= self.env.limits.incoming {
            Some(PeerRefusal::Busy)
        } else {
            None
        };
        match (refusal, served) {
            (None, Some(type_name)) if notice => {
                self.env.deliver(Delivery::Notice { from, type_name, body: message.body });
                self.end_local(query, Reason::Cancelled, Executed::Maybe);
            }
            (None, Some(type_name)) => {
                let origin = Origin::Local(query);
                let waiting = Incoming { from, reference, type_name: type_name.clone(), origin };
                let incoming = self.env.incoming.insert(waiting);
                if let Some(asked) = self.env.queries.get_mut(query) {
                    asked.local(incoming);
                }
                let token = ReplyToken(incoming);
                self.env.deliver(Delivery::Query { from, type_name, body: message.body, token, until });
            }
            (refusal, _) => {
                let refusal = refusal.unwrap_or(PeerRefusal::UnknownType);
                self.end_local(query, Reason::RefusedByPeer(refusal), Executed::No);
            }
        }
    }

    /// A query's timer went off.
    pub(super) fn query_due(&mut self, query: QueryId) {
        let now = self.env.now;
        if let Some(tag) = self.env.queries.soft_timeout(now, query, &mut self.env.timers) {
            self.env.deliver(Delivery::SoftTimeout { query, tag });
        }
        // Whoever was held up finds both at once.
        if self.env.queries.get(query).is_some_and(|asked| asked.deadline() <= now) {
            self.give_up(query, Reason::HardTimeout);
        }
    }
}
