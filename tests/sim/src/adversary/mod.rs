//! A peer that breaks the rules: it has a real identity, shakes hands as both initiator and responder, and then does to
//! honest nodes what they must survive. It stands on the [second implementation](crate::second) of the protocol, is told
//! what to do by name, and notices itself where a node breaks a rule towards it.
//!
//! ```
//! use core::time::Duration;
//! use egtp::Cause;
//! use egtp_sim::adversary::{Adversary, Target, Trick};
//! use egtp_sim::{Network, World};
//!
//! let mut world = World::new(7, Network::default());
//! let node = world.add_node();
//! let adversary = Adversary::new([1; 32]);
//! adversary.play(Trick::ContradictingPieces, Target::of(&world, node));
//! adversary.enter(&mut world);
//! world.run(Duration::from_secs(60), |_, _, _| {});
//! assert!(world.notes().iter().any(|(_, _, note)| note.cause == Cause::ProtocolViolation));
//! assert_eq!(adversary.evidence(), Vec::<String>::new());
//! ```
//!
//! What honest nodes owe with an adversary among them is said and checked by [`Judge`].

mod answering;
mod evidence;
mod judge;
mod lines;
mod manner;
mod moves;
mod playing;
mod said;
mod sessions;
mod source;
mod trick;
mod words;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use egtp::{Identity, Instant, NodeId, PublicKey, SignedRecord};

use crate::second::Key;
use crate::second::record;
use crate::{NodeIndex, Stranger, StrangerAction, StrangerEvent, StrangerIndex, World};

pub use judge::Judge;
pub use manner::Manner;
pub use trick::{Consequence, Trick, UnknownName};

use lines::Mind;

/// A peer that does what it is told. A clone is another handle to the same one: whoever has put it into a world tells it
/// more by the clone.
#[derive(Clone, Debug)]
pub struct Adversary(Rc<RefCell<Mind>>);

/// A node that a trick is played on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    pub(crate) key: Key,
    pub(crate) address: SocketAddr,
}

impl Target {
    /// A node of this world.
    pub fn of(world: &World, node: NodeIndex) -> Self {
        Self::at(&world.identity(node).public_key(), world.address(node))
    }

    /// A node with this key that listens here.
    pub fn at(key: &PublicKey, address: SocketAddr) -> Self {
        Self { key: *key.as_bytes(), address }
    }
}

/// What came of a trick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Played {
    /// Which it was.
    pub trick: Trick,
    /// The node has closed, or refused, a connection of it.
    pub closed: bool,
    /// The node has acknowledged a PING when it was over.
    pub answered: bool,
}

impl Adversary {
    /// One whose identity and whose every choice follow from this seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self(Rc::new(RefCell::new(Mind::new(seed))))
    }

    /// Puts it into a world, and lets the directory know where it is.
    pub fn enter(&self, world: &mut World) -> StrangerIndex {
        let index = world.add_stranger(Box::new(self.clone()));
        let record = self.record(world.stranger_address(index));
        world.set_record(self.id(), Some(record));
        index
    }

    /// Who it is.
    pub fn id(&self) -> NodeId {
        NodeId::from_bytes(self.0.borrow().me.node_id())
    }

    /// Who it is as well: some tricks need two names.
    pub fn other_id(&self) -> NodeId {
        NodeId::from_bytes(self.0.borrow().alias.node_id())
    }

    /// Its identity, as the first implementation has it.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.0.borrow().me.0)
    }

    /// Its genuine record, with this address.
    ///
    /// # Panics
    ///
    /// If the address is none that a record can hold.
    pub fn record(&self, address: SocketAddr) -> SignedRecord {
        let signed = record::sign(&self.0.borrow().me, 1, &record::value(&[address], &[]));
        SignedRecord::from_bytes(&signed).expect("a record of a usual address")
    }

    /// Tells it to play a trick, at the next instant at which it is [woken](World::wake_stranger) or something happens to it.
    pub fn play(&self, trick: Trick, target: Target) {
        self.0.borrow_mut().begin(trick, target, Instant::ZERO);
    }

    /// Tells it to play a trick at this instant, or later if it is not awake then.
    pub fn play_at(&self, at: Instant, trick: Trick, target: Target) {
        self.0.borrow_mut().begin(trick, target, at);
    }

    /// Tells it how to treat whoever asks it something, from now on.
    pub fn set_manner(&self, manner: Manner) {
        self.0.borrow_mut().manner = manner;
    }

    /// How it treats whoever asks it something.
    pub fn manner(&self) -> Manner {
        self.0.borrow().manner
    }

    /// Tells it to go: it closes every connection, gives its tricks up, and hangs up on whoever comes. It does so when it is
    /// [woken](World::wake_stranger) or something happens to it.
    pub fn leave(&self) {
        self.0.borrow_mut().gone = true;
    }

    /// What came of the tricks that are over, the latest last; at most 1,000 of them.
    pub fn played(&self) -> Vec<Played> {
        self.0.borrow().played.iter().copied().collect()
    }

    /// Whether every trick is over.
    pub fn is_idle(&self) -> bool {
        self.0.borrow().plans.is_empty()
    }

    /// What nodes did towards it that no honest node does, in words; at most 100 of them.
    pub fn evidence(&self) -> Vec<String> {
        self.0.borrow().evidence.proofs().to_vec()
    }

    /// Whether the whole of a query with this body came from this node, and then CANCEL for it.
    pub fn was_told_that_nobody_waits(&self, asker: NodeId, body: &[u8]) -> bool {
        self.0.borrow().evidence.heard(asker, body).is_some_and(|heard| heard.cancelled)
    }
}

impl Stranger for Adversary {
    fn handle(&mut self, now: Instant, event: StrangerEvent<'_>, out: &mut Vec<StrangerAction>) {
        self.0.borrow_mut().handle(now, event, out);
    }
}
