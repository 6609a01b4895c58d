//! What `egtp serve` prints.

use egtp::{NodeId, PeerRefusal, SignedRecord, TypeName};

use crate::json::Line;
use crate::output::Output;

/// Says on standard output what a server is and, if asked to, what it does.
pub(crate) struct Report {
    stdout: Output,
    json: bool,
    events: bool,
}

impl Report {
    /// `events` has effect with `json` only.
    pub(crate) fn new(stdout: Output, json: bool, events: bool) -> Self {
        Self { stdout, json, events: json && events }
    }

    /// The node listens at this address, and has published this record.
    pub(crate) fn listening(&self, address: &str, record: &SignedRecord) {
        let (node, contact) = (record.node_id().to_string(), record.to_string());
        self.stdout.send(if self.json {
            Line::event("listening").text("node", &node).text("addr", address).text("contact", &contact).end()
        } else {
            format!("node {node}\nlistens on {address}\nits contact, for `egtp ask`, is\n{contact}\n")
        });
    }

    /// A query has come.
    pub(crate) fn query(&self, from: NodeId, type_name: &TypeName, bytes: usize) {
        self.message("query", from, type_name, |line| line.number("bytes", count(bytes)));
    }

    /// A notice has come; nobody waits for an answer.
    pub(crate) fn notice(&self, from: NodeId, type_name: &TypeName, bytes: usize) {
        self.message("notice", from, type_name, |line| line.number("bytes", count(bytes)));
    }

    /// A query was answered.
    pub(crate) fn reply(&self, to: NodeId, type_name: &TypeName, bytes: usize) {
        self.message("reply", to, type_name, |line| line.number("bytes", count(bytes)));
    }

    /// A query was refused.
    pub(crate) fn refusal(&self, to: NodeId, type_name: &TypeName, why: PeerRefusal) {
        self.message("refusal", to, type_name, |line| line.text("why", &why.to_string()));
    }

    fn message(&self, event: &str, peer: NodeId, type_name: &TypeName, rest: impl FnOnce(Line) -> Line) {
        if self.events {
            let line = Line::event(event).text("peer", &peer.to_string()).text("type", type_name.as_str());
            self.stdout.send(rest(line).end());
        }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
