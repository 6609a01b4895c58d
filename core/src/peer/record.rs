//! A sealed packet of the peer's: opened, and what its frames mean.

use alloc::vec::Vec;

use super::{Peer, answered};
use crate::connection::Connection;
use crate::env::{Effect, Env};
use crate::id::{ConnectionId, QueryId};
use crate::note::Cause;
use crate::query::{AttemptResult, Executed, Reason, Refusal};
use crate::session::{Happening, OpenError, PathId, Refusals, RuleBroken};
use crate::wire::code::BreakCode;
use crate::wire::frame::parse_frame;
use crate::wire::packet::SessionId;
use crate::wire::reader::Reader;

/// A record that was opened.
pub(crate) struct Opened<'r> {
    plaintext: &'r [u8],
    /// Whether it is the first one in its session.
    pub(crate) confirms: bool,
}

impl Peer {
    /// Opens a sealed packet into `room`. Nothing that it says has taken effect yet.
    pub(crate) fn open<'r>(
        &mut self,
        env: &mut Env,
        on: ConnectionId,
        sid: SessionId,
        packet: &[u8],
        room: &'r mut Vec<u8>,
    ) -> Option<Opened<'r>> {
        let connection = env.connections.get(on)?;
        if !self.may_own(connection) {
            // It is not opened, since what was opened and has no effect would be acknowledged.
            env.note(Cause::ConnectedToAnother, Some(self.id), Some(on));
            env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
            return None;
        }
        let short = connection.is_short();
        let dialled_to = connection.is_dialled().then(|| connection.remote());
        let held = self.sessions.get_mut(sid)?;
        let confirms = !held.session.is_confirmed();
        let plaintext = match held.session.open(env.now, PathId::Stream(on), short, packet, room) {
            Ok(plaintext) => plaintext,
            Err(error) => {
                let cause = match error {
                    OpenError::Replayed => Cause::RecordReplayed,
                    OpenError::NotOpened => Cause::RecordNotOpened,
                };
                env.note(cause, Some(self.id), Some(on));
                return None;
            }
        };
        held.stale = false;
        held.goes_over(dialled_to);
        if confirms {
            self.sessions.sort();
        }
        if !self.prove(env, on) {
            return None;
        }
        if let Some(connection) = env.connections.get_mut(on) {
            connection.brought_a_record();
        }
        self.limit_paths(env, sid);
        Some(Opened { plaintext, confirms })
    }

    /// Lets a record that was opened take effect.
    pub(crate) fn take(&mut self, env: &mut Env, on: ConnectionId, sid: SessionId, opened: &Opened<'_>) {
        if opened.confirms && !self.make_place(env, sid) {
            return;
        }
        if opened.confirms {
            env.effects.push(Effect::SessionUsed(sid, self.key));
        }
        let mut reader = Reader::new(opened.plaintext);
        while !reader.is_empty() {
            let taken = parse_frame(&mut reader).map_err(|_| RuleBroken).and_then(|frame| {
                let Some(held) = self.sessions.get_mut(sid) else { return Ok(None) };
                let mut account = crate::admission::Account {
                    of_peer: &mut self.charges,
                    of_all: &mut env.charges,
                    limits: &env.limits,
                };
                held.session.take_frame(env.now, frame, &mut account)
            });
            match taken {
                Ok(None) => {}
                Ok(Some(happening)) => self.happens(env, on, sid, happening),
                Err(RuleBroken) => return self.breaks_rules(env, on, sid),
            }
            if self.sessions.get(sid).is_none() {
                return;
            }
        }
        if let Some(held) = self.sessions.get_mut(sid) {
            held.session.close_record(env.now);
            let (told, refusals) = (held.session.take_told(), held.session.take_refusals());
            if held.session.has_borne_fruit() {
                self.way.bears_fruit();
                self.paths.bears_fruit();
            }
            self.note_refusals(env, Some(on), refusals);
            told.into_iter().for_each(|notice| self.end_notice(env, QueryId(notice)));
        }
        self.touch_session(env, sid);
        self.mark(env);
    }

    pub(super) fn note_refusals(&self, env: &mut Env, on: Option<ConnectionId>, refusals: Refusals) {
        (0..refusals.refused).for_each(|_| env.note(Cause::QueryRefused, Some(self.id), on));
        (0..refusals.abandoned).for_each(|_| env.note(Cause::MessageAbandoned, Some(self.id), on));
    }

    /// The rules of the protocol were broken: the session ends, and nothing more is believed on this connection.
    fn breaks_rules(&mut self, env: &mut Env, on: ConnectionId, sid: SessionId) {
        env.note(Cause::ProtocolViolation, Some(self.id), Some(on));
        self.break_session(env, sid, BreakCode::RuleBroken);
        self.rests_after_end(env);
        env.effects.push(Effect::Flush(on));
    }

    fn happens(&mut self, env: &mut Env, on: ConnectionId, sid: SessionId, happening: Happening<'_>) {
        match happening {
            Happening::Asked { number, notice, until, arrived } => {
                let came = answered::Came { on, sid, number, notice, until };
                self.admit(env, came, arrived);
            }
            Happening::Replied { query, code, arrived } => {
                if !self.replied(env, QueryId(query), code, arrived) {
                    env.note(Cause::ReplyMismatched, Some(self.id), Some(on));
                } else if let Some(connection) = env.connections.get_mut(on) {
                    connection.brought_a_message(env.now);
                }
            }
            Happening::Forgotten { number } => {
                if let Some(query) = self.asked_under(sid, number) {
                    self.fail(env, query, Reason::LostByPeer, Executed::Maybe);
                }
            }
            Happening::Refused { query, code, wait } => self.refused(env, QueryId(query), code, wait),
            Happening::NoRoom { number } => {
                if let Some(query) = self.asked_under(sid, number) {
                    let reason = Reason::RefusedHere(Refusal::NoMemoryForReply);
                    self.fail(env, query, reason, Executed::Maybe);
                }
            }
            Happening::Withdrawn(incoming) => answered::withdraw(env, incoming),
            Happening::Repeated => env.note(Cause::QueryRepeated, Some(self.id), Some(on)),
            Happening::Unexpected => env.note(Cause::ReplyUnexpected, Some(self.id), Some(on)),
            Happening::Broken { base, taken } => self.session_broken(env, sid, base, taken),
        }
    }

    /// Whether a connection may be closed that is not one of this peer's paths any more.
    pub(crate) fn turned_away(&self, connection: &Connection) -> AttemptResult {
        if self.is_busy_on(connection.id()) { AttemptResult::Busy } else { AttemptResult::TurnedAway }
    }
}
