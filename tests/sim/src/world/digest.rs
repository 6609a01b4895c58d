//! A digest of everything that nodes do.

use std::fmt::Write as _;

use egtp::{Action, Delivery, Instant, Verdict};
use sha1::{Digest as _, Sha1};

use super::NodeIndex;

#[derive(Debug, Default)]
pub(super) struct Digest {
    hash: Sha1,
    text: String,
}

impl Digest {
    pub(super) fn so_far(&self) -> [u8; 20] {
        self.hash.clone().finalize().into()
    }

    pub(super) fn action(&mut self, now: Instant, index: NodeIndex, action: &Action) {
        self.text.clear();
        // Bodies are long, and not worth being formatted.
        let (written, body) = match action {
            Action::Deliver(Delivery::Query { from, type_name, body, token, until }) => {
                (write!(self.text, "query {from:?} {type_name:?} {token:?} {until:?}"), &body[..])
            }
            Action::Deliver(Delivery::Notice { from, type_name, body }) => {
                (write!(self.text, "notice {from:?} {type_name:?}"), &body[..])
            }
            Action::Deliver(Delivery::Verdict { query, verdict: Verdict::Reply(reply), .. }) => {
                (write!(self.text, "reply {query:?}"), &reply.body[..])
            }
            other => (write!(self.text, "{other:?}"), &[][..]),
        };
        written.expect("a string takes everything");
        self.begin(now, index, self.text.len());
        self.hash.update(&self.text);
        self.hash.update((body.len() as u64).to_be_bytes());
        self.hash.update(body);
    }

    pub(super) fn written(&mut self, now: Instant, index: NodeIndex, bytes: &[u8]) {
        self.begin(now, index, bytes.len());
        self.hash.update(bytes);
    }

    fn begin(&mut self, now: Instant, index: NodeIndex, length: usize) {
        let mut header = [0; 24];
        header[..8].copy_from_slice(&now.as_micros().to_be_bytes());
        header[8..16].copy_from_slice(&(index.0 as u64).to_be_bytes());
        header[16..].copy_from_slice(&(length as u64).to_be_bytes());
        self.hash.update(header);
    }
}
