//! A query under way, as its asker sees it.

use std::{error, fmt};

use egtp::{Executed, Failure, Refusal, Reply, Unasked, Verdict};
use tokio::sync::oneshot;

use crate::client_loop::{Tag, Urgent};

/// The asker's end of a query, which cancels it when it is dropped.
pub(crate) struct Asked {
    verdict: oneshot::Receiver<Verdict>,
    tag: Tag,
    urgent: Urgent,
}

impl Asked {
    /// The asker's end, and the end to which the verdict goes.
    pub(crate) fn new(tag: Tag, urgent: Urgent) -> (Self, oneshot::Sender<Verdict>) {
        let (sender, verdict) = oneshot::channel();
        (Self { verdict, tag, urgent }, sender)
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
        let tag = self.tag;
        self.urgent.run(move |client| client.cancel(tag));
    }
}

/// Why a query of an endpoint's has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
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

impl From<Refusal> for QueryError {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl From<Unasked> for QueryError {
    fn from(unasked: Unasked) -> Self {
        Self::Refused(unasked.why)
    }
}
