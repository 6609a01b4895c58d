//! What an endpoint's node needs from around it.

use std::fmt;

use egtp::{DiscoveryId, Event, LookupId, NodeId, Note, SaveId, ServiceAction};

use crate::client_loop::Urgent;

/// The Lookup Service, the Discovery Service and the store of an [`Endpoint`](crate::Endpoint)'s node.
pub trait Services: Send + 'static {
    /// Does what the node asks, or has it done elsewhere; the answer goes to the responder, now or later, from any
    /// thread. This is called on the endpoint's thread and must not block it.
    fn serve(&mut self, action: ServiceAction, responder: &Responder);

    /// Something is worth a line in the log. It is ignored unless this is overridden.
    fn note(&mut self, note: Note) {
        let _ = note;
    }
}

/// Services that know nobody and store nothing: peers are known by [`Endpoint::learn`](crate::Endpoint::learn) alone,
/// and a restart forgets the node's own sequence number, so a node that announces itself wants better ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn serve(&mut self, action: ServiceAction, responder: &Responder) {
        match action {
            ServiceAction::Lookup { lookup, .. } => responder.lookup_done(lookup),
            ServiceAction::Discover { discovery, .. } => responder.discovered(discovery, Vec::new()),
            ServiceAction::Save { save, .. } => responder.saved(save),
            ServiceAction::Publish { .. } => {}
        }
    }
}

/// Tells an endpoint's node what its [`Services`] found. It never blocks, so its queue is as long as the services make
/// it: answer what was asked, once. An answer that comes late, or after the endpoint has stopped, is ignored.
#[derive(Clone)]
pub struct Responder(Urgent);

impl Responder {
    pub(crate) fn new(urgent: Urgent) -> Self {
        Self(urgent)
    }

    /// The Lookup Service found this record, in its signed form. Others may follow until [`Responder::lookup_done`].
    pub fn found(&self, lookup: LookupId, record: Vec<u8>) {
        self.0.run(move |client| client.with(|node, now| node.handle(now, Event::Found(lookup, &record))));
    }

    /// The Lookup Service knows nothing more.
    pub fn lookup_done(&self, lookup: LookupId) {
        self.tell(Event::LookupDone(lookup));
    }

    /// The Discovery Service named these relay servers, and knows no more.
    pub fn discovered(&self, discovery: DiscoveryId, relays: Vec<NodeId>) {
        self.tell(Event::Discovered(discovery, relays));
    }

    /// What was to be stored is stored, durably.
    pub fn saved(&self, save: SaveId) {
        self.tell(Event::Saved(save));
    }

    fn tell(&self, event: Event<'static>) {
        self.0.run(move |client| client.with(|node, now| node.handle(now, event)));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responder")
    }
}
