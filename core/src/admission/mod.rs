//! Who may have how much of what is shared.

mod charges;
mod handshakes;

pub(crate) use charges::{Account, Charges};
pub(crate) use handshakes::{HandshakeBudget, Verdict as HandshakeVerdict};
