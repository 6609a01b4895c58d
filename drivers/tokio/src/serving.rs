//! Answering other nodes' queries.

use std::fmt;

use egtp::{Instant, NodeId, PeerRefusal, ReplyToken, TypeName};
use tokio::sync::mpsc::Receiver;

use crate::client_loop::{ClientLoop, Urgent};

/// The queries of one type, as [`Endpoint::serve`](crate::Endpoint::serve) asked for them. At most 64 wait here, and
/// further ones are refused as [`PeerRefusal::Busy`], whereupon their askers try again. Dropping it ends the service:
/// what waits here and what comes from then on is refused as [`PeerRefusal::UnknownType`].
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

impl Drop for Incoming {
    fn drop(&mut self) {
        self.queries.close();
        while let Ok(query) = self.queries.try_recv() {
            query.refuse(PeerRefusal::UnknownType);
        }
    }
}

/// A query of another node's. Dropping it without an answer, as a handler does that panics, refuses it as
/// [`PeerRefusal::Declined`]: its asker is told that the handler may have run, and waits no longer.
pub struct IncomingQuery {
    /// Who asks, authenticated.
    pub from: NodeId,
    /// What kind of query it is.
    pub type_name: TypeName,
    /// The question.
    pub body: Vec<u8>,
    /// When the asker stops waiting, by the [`Clock`](crate::Clock).
    pub until: Instant,
    pub(crate) answer: Answer,
}

impl IncomingQuery {
    /// Answers. If the asker does not wait any more nothing happens; a body longer than [`egtp::MAX_BODY`] is refused
    /// as [`PeerRefusal::ReplyTooLong`].
    pub fn reply(mut self, body: Vec<u8>) {
        self.answer.give(move |client, token| client.reply(token, body));
    }

    /// Says no. If the asker does not wait any more nothing happens.
    pub fn refuse(mut self, why: PeerRefusal) {
        self.answer.give(move |client, token| client.refuse(token, why));
    }
}

impl fmt::Debug for IncomingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingQuery")
            .field("from", &self.from)
            .field("type_name", &self.type_name)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// The right to answer, until it is used.
pub(crate) struct Answer {
    token: Option<ReplyToken>,
    urgent: Urgent,
}

impl Answer {
    pub(crate) fn new(token: ReplyToken, urgent: Urgent) -> Self {
        Self { token: Some(token), urgent }
    }

    fn give(&mut self, answer: impl FnOnce(&mut ClientLoop, ReplyToken) + Send + 'static) {
        if let Some(token) = self.token.take() {
            self.urgent.run(move |client| answer(client, token));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.give(|client, token| client.refuse(token, PeerRefusal::Declined));
    }
}
