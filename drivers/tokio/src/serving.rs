//! Answering other nodes' queries.

use std::fmt;
use std::time::Duration;

use egtp::{NodeId, PeerRefusal, ReplyToken, TypeName};
use tokio::sync::mpsc::Receiver;

use crate::client_loop::Urgent;

/// The queries of one type, as [`Endpoint::serve`](crate::Endpoint::serve) asked for them. At most 64 wait here, and
/// further ones are refused as [`PeerRefusal::Busy`]. Dropping it ends the service: what comes from then on is refused
/// as [`PeerRefusal::UnknownType`].
#[derive(Debug)]
pub struct Incoming {
    queries: Receiver<IncomingQuery>,
}

impl Incoming {
    pub(crate) fn new(queries: Receiver<IncomingQuery>) -> Self {
        Self { queries }
    }

    /// The next query; `None` when the endpoint has stopped, or serves the type anew. Cancel-safe.
    pub async fn recv(&mut self) -> Option<IncomingQuery> {
        self.queries.recv().await
    }
}

/// A query of another node's. Dropping it means never to answer: the asker's hard timeout ends it.
pub struct IncomingQuery {
    /// Who asks, authenticated.
    pub from: NodeId,
    /// What kind of query it is.
    pub type_name: TypeName,
    /// The question.
    pub body: Vec<u8>,
    /// How long the asker waits, from when it came.
    pub time_left: Duration,
    pub(crate) token: ReplyToken,
    pub(crate) urgent: Urgent,
}

impl IncomingQuery {
    /// Answers. If the asker does not wait any more nothing happens; a body longer than [`egtp::MAX_BODY`] is refused
    /// as [`PeerRefusal::ReplyTooLong`].
    pub fn reply(self, body: Vec<u8>) {
        let Self { token, urgent, .. } = self;
        urgent.run(move |client| client.reply(token, body));
    }

    /// Says no. If the asker does not wait any more nothing happens.
    pub fn refuse(self, why: PeerRefusal) {
        let Self { token, urgent, .. } = self;
        urgent.run(move |client| client.refuse(token, why));
    }
}

impl fmt::Debug for IncomingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingQuery")
            .field("from", &self.from)
            .field("type_name", &self.type_name)
            .field("time_left", &self.time_left)
            .finish_non_exhaustive()
    }
}
