//! The Lookup Service of this program: its peers file. There is no Discovery Service yet.

use egtp::{DiscoveryId, Event, Instant, LookupId, Node, NodeId};
use egtp_services::PeersFile;
use tracing::warn;

use crate::args::Peers;
use crate::trouble::Trouble;

/// Reads the peers file, if one was named.
pub(crate) fn load(peers: &Peers) -> Result<PeersFile, Trouble> {
    let Some(path) = &peers.path else { return Ok(PeersFile::default()) };
    let loaded = if peers.skip_bad_lines {
        PeersFile::load_good_lines(path).map(|(peers, bad_lines)| {
            for bad in bad_lines {
                warn!("the peers file {}, {bad}: skipped", path.display());
            }
            peers
        })
    } else {
        PeersFile::load(path)
    };
    loaded.map_err(|error| Trouble::local("--peers", error))
}

/// Answers the node's question for a peer's record.
pub(crate) fn answer(node: &mut Node, now: Instant, peers: &PeersFile, lookup: LookupId, peer: NodeId) {
    if let Some(record) = peers.lookup(&peer) {
        node.handle(now, Event::Found(lookup, record.as_bytes()));
    }
    node.handle(now, Event::LookupDone(lookup));
}

/// Answers the node's question for relay servers: none is known.
pub(crate) fn answer_discovery(node: &mut Node, now: Instant, discovery: DiscoveryId) {
    node.handle(now, Event::Discovered(discovery, Vec::new()));
}
