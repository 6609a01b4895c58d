//! What every room works with: the time, the limits, the tables that all peers share, and what is to be said and done.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::action::{Action, TransportAction};
use crate::admission::Charges;
use crate::config::{Limits, Timers};
use crate::connection::{Connections, TIDY_EVERY};
use crate::conversation::{Incomings, Queries};
use crate::id::{ConnectionId, NodeId};
use crate::identity::Identity;
use crate::note::{Cause, Notes};
use crate::query::{AttemptResult, Delivery, Verdict};
use crate::random::Random;
use crate::slab::Key;
use crate::time::Instant;
use crate::timer::{Timer, TimerSet};
use crate::wire::packet::SessionId;

pub(crate) struct Env {
    pub(crate) now: Instant,
    pub(crate) limits: Limits,
    pub(crate) settings: Timers,
    pub(crate) identity: Identity,
    pub(crate) id: NodeId,
    pub(crate) random: Random,
    pub(crate) timers: TimerSet,
    pub(crate) connections: Connections,
    pub(crate) queries: Queries,
    pub(crate) incoming: Incomings,
    pub(crate) charges: Charges,
    /// Handshakes that this node has begun, and with whom: one that comes back shows that an address leads to this very node.
    pub(crate) own_hellos: BTreeMap<SessionId, Key>,
    pub(crate) out: Out,
    pub(crate) effects: Effects,
    /// Nothing new is begun any more.
    pub(crate) stopping: bool,
}

/// What one peer's step means for others, or for the tables that they share. The node sees to it before the call is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// Close this connection now; what came of it, if its peer is still to be reached.
    Close(ConnectionId, AttemptResult),
    /// Close it once everything is written.
    Flush(ConnectionId),
    /// A session with this peer has ended.
    SessionEnded(SessionId),
    /// A session with this peer is used, for the first time or once more.
    SessionUsed(SessionId, Key),
    /// A query was asked of the Lookup Service, for this peer; another may be made room for.
    LookUp(Key),
    /// A connection is wanted for this peer, and there is no place.
    WantsPlace(Key),
}

#[derive(Debug, Default)]
pub(crate) struct Effects {
    waiting: VecDeque<Effect>,
    /// Peers of which something has changed, in that order.
    changed: VecDeque<Key>,
}

impl Effects {
    pub(crate) fn push(&mut self, effect: Effect) {
        self.waiting.push_back(effect);
    }

    pub(crate) fn pop(&mut self) -> Option<Effect> {
        self.waiting.pop_front()
    }

    /// The peer is to be settled before the call is over. Whoever calls it sees to it that it is named once.
    pub(crate) fn changed(&mut self, peer: Key) {
        self.changed.push_back(peer);
    }

    pub(crate) fn pop_changed(&mut self) -> Option<Key> {
        self.changed.pop_front()
    }
}

/// What the world and the application are told.
#[derive(Debug, Default)]
pub(crate) struct Out {
    actions: VecDeque<Action>,
    notes: Notes,
    undelivered_bytes: usize,
    /// Whether a full queue of deliveries has made connections stop reading.
    reading_stopped: bool,
}

impl Out {
    pub(crate) fn push(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(crate) fn deliver(&mut self, delivery: Delivery, limits: &Limits) {
        self.undelivered_bytes = self.undelivered_bytes.saturating_add(delivered_bytes(&delivery));
        self.actions.push_back(Action::Deliver(delivery));
        self.reading_stopped |= self.is_full(limits);
    }

    pub(crate) fn note(&mut self, cause: Cause, peer: Option<NodeId>, connection: Option<ConnectionId>) {
        self.notes.add(cause, peer, connection);
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    pub(crate) fn undelivered_bytes(&self) -> usize {
        self.undelivered_bytes
    }

    /// Whether as much waits to be delivered as may.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.undelivered_bytes > limits.undelivered_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.notes.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<Action> {
        let action = self.actions.pop_front();
        if let Some(Action::Deliver(delivery)) = &action {
            self.undelivered_bytes = self.undelivered_bytes.saturating_sub(delivered_bytes(delivery));
        }
        action.or_else(|| self.notes.pop().map(Action::Note))
    }

    /// Whether connections that have stopped reading may go on.
    pub(crate) fn resumes(&mut self, limits: &Limits) -> bool {
        let resumes = self.reading_stopped && !self.is_full(limits);
        self.reading_stopped &= !resumes;
        resumes
    }
}

impl Env {
    pub(crate) fn deliver(&mut self, delivery: Delivery) {
        self.out.deliver(delivery, &self.limits);
    }

    pub(crate) fn note(&mut self, cause: Cause, peer: Option<NodeId>, connection: Option<ConnectionId>) {
        self.out.note(cause, peer, connection);
    }

    /// Tells the driver which connections to look at.
    pub(crate) fn say_hints(&mut self) {
        for connection in self.connections.take_hints() {
            self.out.push(Action::Transport(TransportAction::Changed { connection }));
        }
    }

    /// Sees to it that surplus connections are looked for.
    pub(crate) fn arm_tidy(&mut self) {
        if self.connections.len() > self.limits.maintained_connections && !self.timers.is_armed(Timer::Tidy) {
            self.timers.arm(self.now, Timer::Tidy, self.now + TIDY_EVERY);
        }
    }

    /// Every connection, the oldest first.
    pub(crate) fn connection_ids(&self) -> Vec<ConnectionId> {
        self.connections.ids()
    }
}

/// What a delivery is charged with while it waits to be polled.
fn delivered_bytes(delivery: &Delivery) -> usize {
    let body = match delivery {
        Delivery::Query { body, .. } | Delivery::Notice { body, .. } => body.len(),
        Delivery::Verdict { verdict: Verdict::Reply(reply), .. } => reply.body.len(),
        Delivery::Verdict { verdict: Verdict::Failed(_), .. }
        | Delivery::Withdrawn(_)
        | Delivery::SoftTimeout { .. }
        | Delivery::Discovered(..) => 0,
    };
    body + 64
}
