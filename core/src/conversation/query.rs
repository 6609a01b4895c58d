//! Own queries and notices, each from the call that made it to its one verdict.

use core::time::Duration;

use crate::id::{IncomingId, MessageId, QueryId};
use crate::query::{Hint, PeerRefusal, Query, TypeName};
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::timer::{Timer, TimerSet};
use crate::wire::message::Message;
use crate::wire::packet::SessionId;

/// Pauses before the second and later times that a query goes again; the first is a quarter of a second, or none.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A query or notice of this node's that has not ended.
#[derive(Debug)]
pub(crate) struct Asked {
    to: To,
    tag: u64,
    type_name: TypeName,
    reference: MessageId,
    deadline: Instant,
    soft: Option<Instant>,
    /// A notice ends in silence.
    notice: bool,
    hint: Hint,
    /// What it is charged with.
    bytes: usize,
    state: QueryState,
    /// How often it went again.
    again: u32,
    /// Whether the peer has refused it as late once.
    was_late: bool,
    /// What the peer said when it had no room for it.
    busy: Option<PeerRefusal>,
}

/// Whom a query is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum To {
    Myself,
    Peer(Key),
}

/// Where a query is.
#[derive(Debug)]
pub(crate) enum QueryState {
    /// With its peer, without a number.
    Waiting(Message),
    /// In a session of its peer's, which has the message as well.
    Numbered { session: SessionId, number: u64 },
    /// With a handler of this very node's.
    Local(IncomingId),
}

impl Asked {
    pub(crate) fn to(&self) -> To {
        self.to
    }

    pub(crate) fn is_notice(&self) -> bool {
        self.notice
    }

    pub(crate) fn hint(&self) -> Hint {
        self.hint
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn reference(&self) -> MessageId {
        self.reference
    }

    pub(crate) fn type_name(&self) -> &TypeName {
        &self.type_name
    }

    pub(crate) fn state(&self) -> &QueryState {
        &self.state
    }

    /// Takes the message out of a query that waits: it gets this number.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        let settled = QueryState::Numbered { session: SessionId([0; 8]), number: 0 };
        match core::mem::replace(&mut self.state, settled) {
            QueryState::Waiting(message) => Some(message),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// It has a number.
    pub(crate) fn numbered(&mut self, session: SessionId, number: u64) {
        self.state = QueryState::Numbered { session, number };
    }

    /// A handler of this node's has it.
    pub(crate) fn local(&mut self, incoming: IncomingId) {
        self.state = QueryState::Local(incoming);
    }

    /// It waits again, for another number.
    pub(crate) fn waits_again(&mut self, message: Message) {
        self.state = QueryState::Waiting(message);
    }

    /// How long it pauses before it goes again: longer each time, and at first not at all unless it `pauses` always.
    pub(crate) fn pause(&mut self, pauses: bool) -> Duration {
        let times = if pauses { self.again + 1 } else { self.again };
        self.again = self.again.saturating_add(1);
        match times {
            0 => Duration::ZERO,
            _ => (FIRST_PAUSE * (1 << (times - 1).min(4))).min(LONGEST_PAUSE),
        }
    }

    /// Notes that the peer calls it late, and says whether it has before.
    pub(crate) fn was_late(&mut self) -> bool {
        core::mem::replace(&mut self.was_late, true)
    }

    /// The peer has no room for it now.
    pub(crate) fn was_busy(&mut self, refusal: PeerRefusal) {
        self.busy = Some(refusal);
    }

    /// What the peer said last, if it had no room.
    pub(crate) fn busy(&self) -> Option<PeerRefusal> {
        self.busy
    }
}

/// All own queries.
#[derive(Debug)]
pub(crate) struct Queries {
    slab: Slab<Asked>,
    bytes: usize,
}

/// What a query leaves when it ends.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) tag: u64,
    pub(crate) notice: bool,
}

impl Queries {
    pub(crate) const fn new() -> Self {
        Self { slab: Slab::new(), bytes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Bytes of them all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, id: QueryId) -> Option<&Asked> {
        self.slab.get(id.0)
    }

    pub(crate) fn get_mut(&mut self, id: QueryId) -> Option<&mut Asked> {
        self.slab.get_mut(id.0)
    }

    /// All of them, the oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = QueryId> {
        self.slab.keys_by_age().into_iter().map(QueryId)
    }

    /// Takes a query. Its message is made by the caller, since it takes a nonce.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        to: To,
        query: &Query,
        message: Message,
        timers: &mut TimerSet,
    ) -> QueryId {
        let notice = message.kind == crate::wire::message::Kind::Notice;
        let bytes = message.len();
        self.bytes += bytes;
        let deadline = now + query.hard;
        let soft = query.soft.map(|soft| now + soft);
        let id = QueryId(self.slab.insert(Asked {
            to,
            tag: query.tag,
            type_name: message.type_name.clone(),
            reference: message.id(),
            deadline,
            soft,
            notice,
            hint: query.hint,
            bytes,
            state: QueryState::Waiting(message),
            again: 0,
            was_late: false,
            busy: None,
        }));
        timers.arm(now, Timer::Query(id), soft.unwrap_or(deadline));
        id
    }

    /// The query's timer went off. Gives back its tag if its soft timeout has passed; else its time has come.
    pub(crate) fn soft_timeout(&mut self, now: Instant, id: QueryId, timers: &mut TimerSet) -> Option<u64> {
        let asked = self.slab.get_mut(id.0)?;
        asked.soft.take()?;
        timers.arm(now, Timer::Query(id), asked.deadline);
        Some(asked.tag)
    }

    /// Takes a query out: the one place where one ends, and all its storage with it.
    pub(crate) fn end(&mut self, id: QueryId, timers: &mut TimerSet) -> Option<Ended> {
        let asked = self.slab.remove(id.0)?;
        timers.disarm(Timer::Query(id));
        self.bytes -= asked.bytes;
        Some(Ended { tag: asked.tag, notice: asked.notice })
    }

    pub(crate) fn check(&self) {
        if cfg!(debug_assertions) {
            let bytes: usize = self.slab.iter().map(|(_, asked)| asked.bytes).sum();
            debug_assert_eq!(bytes, self.bytes, "queries are charged for what they hold");
        }
    }
}
