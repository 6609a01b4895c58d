//! Conversations: a query and its one verdict, seen from either end (*EGTP Architecture 0.2*, I.A and I.B).

mod incoming;
mod query;

pub(crate) use incoming::{Incoming, Incomings, Origin};
pub(crate) use query::{Queries, QueryState, To};
