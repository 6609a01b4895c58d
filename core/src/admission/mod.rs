//! Who may have how much of what is shared.

mod charges;
mod handshakes;
mod tentative;

pub(crate) use charges::{Account, Charges};
pub(crate) use handshakes::{HandshakeBudget, Verdict as HandshakeVerdict};
pub(crate) use tentative::{Offered, Tentative};
