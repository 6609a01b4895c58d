//! The peer's queries: taken at most once, and answered, refused or left.

use super::{Peer, account};
use crate::conversation::{Incoming, Origin};
use crate::env::Env;
use crate::id::{ConnectionId, IncomingId, MessageId};
use crate::note::Cause;
use crate::query::{Delivery, ReplyToken};
use crate::session::Arrived;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::message::{Kind, Message};
use crate::wire::packet::SessionId;

/// Whoever is refused for lack of room is asked to wait so long, in tenths of a second.
const BUSY_TENTHS: u16 = 2;

/// A query or notice that has arrived, whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    pub(super) on: ConnectionId,
    pub(super) sid: SessionId,
    pub(super) number: u64,
    pub(super) notice: bool,
    pub(super) until: Instant,
}

impl Peer {
    /// A query or notice has arrived, whole: it is taken now, once and for all, and goes to its handler; or it is refused.
    pub(super) fn admit(&mut self, env: &mut Env, came: Came, arrived: Arrived<'_>) {
        let Came { on, sid, number, notice, until } = came;
        let served = match self.judge(env, &came, &arrived) {
            Ok(type_name) => type_name,
            Err(code) => {
                env.note(Cause::QueryRefused, Some(self.id), Some(on));
                let busy = matches!(code, RefuseCode::BusyWithYou | RefuseCode::Busy | RefuseCode::NoMemory);
                let wait = if busy { BUSY_TENTHS } else { 0 };
                let Some(held) = self.sessions.get_mut(sid) else { return };
                let mut account = account(&mut self.charges, env);
                return held.session.refuse(number, code, wait, until, &mut account);
            }
        };
        let Some(held) = self.sessions.get_mut(sid) else { return };
        if let Some(connection) = env.connections.get_mut(on) {
            connection.brought_a_message(env.now);
        }
        if notice {
            held.session.take_notice(number);
            let body = arrived.body.into_owned();
            return env.deliver(Delivery::Notice { from: self.id, type_name: served, body });
        }
        let reference = MessageId::of_encoding(&arrived.heading, &arrived.body);
        let origin = Origin::Remote { peer: self.key, session: sid, number };
        let incoming = env.incoming.insert(Incoming { from: self.id, reference, type_name: served.clone(), origin });
        held.session.take_query(number, incoming.0, until, &mut account(&mut self.charges, env));
        let body = arrived.body.into_owned();
        env.deliver(Delivery::Query { from: self.id, type_name: served, body, token: ReplyToken(incoming), until });
    }

    /// Whether a query is taken: gives back its type as it is served here.
    fn judge(&self, env: &Env, came: &Came, arrived: &Arrived<'_>) -> Result<crate::query::TypeName, RefuseCode> {
        let kind = if came.notice { Kind::Notice } else { Kind::Query };
        let heading = arrived.heading().filter(|heading| heading.kind == kind && heading.recipient == env.id);
        let heading = heading.ok_or(RefuseCode::Malformed)?;
        if env.stopping {
            return Err(RefuseCode::ShuttingDown);
        }
        if came.until <= env.now {
            return Err(RefuseCode::TooLate);
        }
        let served = env.incoming.served(heading.type_name).ok_or(RefuseCode::UnknownType)?;
        if came.notice {
            // It waits for no handler, so that it takes no place.
            return Ok(served);
        }
        if self.charges.incoming >= env.limits.incoming_per_peer {
            return Err(RefuseCode::BusyWithYou);
        }
        if env.incoming.len() >= env.limits.incoming {
            return Err(RefuseCode::Busy);
        }
        Ok(served)
    }

    /// The handler has answered, or said no.
    pub(crate) fn answer(
        &mut self,
        env: &mut Env,
        (session, number): (SessionId, u64),
        incoming: Incoming,
        code: ReplyCode,
        body: alloc::vec::Vec<u8>,
    ) {
        let Some(held) = self.sessions.get_mut(session) else {
            return env.note(Cause::ReplyUndeliverable, Some(self.id), None);
        };
        let message = Message {
            kind: Kind::Reply,
            recipient: incoming.from,
            nonce: env.random.nonce(),
            reference: Some(incoming.reference),
            type_name: incoming.type_name,
            body,
        };
        let now = env.now;
        held.session.answer(now, number, code, message, &mut account(&mut self.charges, env));
        self.mark(env);
    }

    /// Memory for replies is short: what this peer has not fetched for a while gives way.
    pub(crate) fn shorten_answers(&mut self, env: &mut Env) {
        let now = env.now;
        for at in 0..self.sessions.len() {
            let mut account = account(&mut self.charges, env);
            if self.sessions.session_mut(at).shorten_answers(now, &mut account) {
                self.mark(env);
            }
        }
    }

    /// The handler says that its query did not run.
    pub(crate) fn refuse(&mut self, env: &mut Env, (session, number): (SessionId, u64), code: RefuseCode) {
        if let Some(held) = self.sessions.get_mut(session) {
            held.session.refuse_running(number, code, &mut account(&mut self.charges, env));
            self.mark(env);
        }
    }

    /// The node shuts down and waits no longer: the handler's query is given up.
    pub(crate) fn abandon(&mut self, env: &mut Env, (session, number): (SessionId, u64)) {
        if let Some(held) = self.sessions.get_mut(session) {
            held.session.abandon(number, &mut account(&mut self.charges, env));
            self.mark(env);
        }
    }

    /// Whether a reply, a refusal, or an acknowledgement waits that the peer should have before this node is gone.
    pub(crate) fn owes(&self) -> bool {
        !self.paths.is_empty() && self.sessions.iter().any(|held| held.session.owes())
    }

    /// What is owed in acknowledgements goes at once.
    pub(crate) fn hurry(&mut self, env: &mut Env) {
        for held in self.sessions.iter_mut() {
            held.session.hurry(env.now);
        }
        self.mark(env);
    }
}

/// Nobody waits for what a handler works at any more.
pub(super) fn withdraw(env: &mut Env, incoming: Key) {
    let incoming = IncomingId(incoming);
    if env.incoming.take(incoming).is_some() {
        env.deliver(Delivery::Withdrawn(incoming));
    }
}
