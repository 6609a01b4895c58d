//! A query under way, as its asker sees it.

use std::sync::{Arc, OnceLock};
use std::{error, fmt};

use egtp::{Executed, Failure, QueryId, Refusal, Reply, Verdict};
use tokio::sync::oneshot;

use crate::client_loop::Urgent;

/// The asker's end of a query, which cancels it when it is dropped.
pub(crate) struct Asked {
    verdict: oneshot::Receiver<Verdict>,
    id: Arc<OnceLock<QueryId>>,
    urgent: Urgent,
}

impl Asked {
    /// The asker's end, and the end to which the verdict goes.
    pub(crate) fn new(urgent: Urgent) -> (Self, oneshot::Sender<Verdict>) {
        let (sender, verdict) = oneshot::channel();
        (Self { verdict, id: Arc::default(), urgent }, sender)
    }

    /// Where the query's name is put as soon as it has one.
    pub(crate) fn id(&self) -> Arc<OnceLock<QueryId>> {
        Arc::clone(&self.id)
    }

    pub(crate) async fn answer(mut self) -> Result<Reply, QueryError> {
        match (&mut self.verdict).await {
            Ok(Verdict::Reply(reply)) => Ok(reply),
            Ok(Verdict::Failed(failure)) => Err(QueryError::Failed(failure)),
            Err(_) => Err(QueryError::Stopped),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.verdict.is_terminated() {
            return;
        }
        // Closed first: a query that the loop has not begun by then is not begun at all.
        self.verdict.close();
        let id = self.id();
        self.urgent.run(move |client| client.cancel(&id));
    }
}

/// Why a query of an endpoint's has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueryError {
    /// It was not taken, and nothing was sent.
    Refused(Refusal),
    /// It was taken, and this is its verdict.
    Failed(Failure),
    /// The endpoint's thread ended while the query was under way: it may have run.
    Stopped,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the query was not sent: {refusal}"),
            Self::Failed(failure) => {
                let executed = match failure.executed {
                    Executed::No => "it has not run",
                    Executed::Maybe => "it may have run",
                };
                write!(f, "the query failed: {}; {executed}", failure.reason.name())
            }
            Self::Stopped => f.write_str("the endpoint stopped while the query was under way; it may have run"),
        }
    }
}

impl error::Error for QueryError {}
