//! The bodies of the fuzz targets, so that the stable tests can run them too.

use std::net::{Ipv4Addr, SocketAddr};

use egtp::{
    Action, CheckedConfig, Event, Identity, Instant, Node, SignedRecord, Stored, TransportAction, TypeName, UnixTime,
};

/// Any bytes as a record, and any text as a contact: refused, or taken and given back unchanged.
pub fn contact(bytes: &[u8]) {
    if let Ok(record) = SignedRecord::from_bytes(bytes) {
        assert_eq!(record.as_bytes(), bytes, "a record has one encoding");
        let contact = record.to_string();
        assert_eq!(contact.parse().as_ref(), Ok(&record), "a contact stands for its record");
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(record) = text.parse::<SignedRecord>()
    {
        assert_eq!(record.to_string(), text, "a record has one contact");
    }
}

/// Any bytes from a stranger, cut in any way: the node stays within its limits and comes to rest.
pub fn stranger(chunks: &[Vec<u8>]) {
    let mut now = Instant::from_micros(1);
    let identity = Identity::from_seed(&[1; 32]);
    let mut node =
        Node::new(CheckedConfig::default(), identity, [2; 32], Stored::default(), now, UnixTime::from_secs(1));
    node.serve(TypeName::new("echo").expect("a type name")).expect("the first type");
    let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let Ok(connection) = node.accept(now, from) else { panic!("the first connection is taken") };
    let mut open = true;
    for chunk in chunks {
        if node.wants_read(connection) == 0 {
            break;
        }
        node.handle(now, Event::Received(connection, chunk));
        let written = node.to_write(connection).len();
        node.handle(now, Event::Written(connection, written));
        while let Some(action) = node.poll() {
            open &= !matches!(action, Action::Transport(TransportAction::Close { .. }));
            assert!(!matches!(action, Action::Deliver(_)), "a stranger's bytes are no message");
        }
    }
    while let Some(deadline) = node.deadline() {
        assert!(deadline >= now, "no deadline lies in the past");
        now = deadline;
        node.handle(now, Event::Tick);
        while let Some(action) = node.poll() {
            open &= !matches!(action, Action::Transport(TransportAction::Close { .. }));
        }
    }
    assert!(!open, "who does not authenticate is closed in the end");
    let usage = node.usage();
    assert_eq!((usage.connections, usage.sessions, usage.timers), (0, 0, 0), "nothing is left of a stranger");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_run_on_small_inputs() {
        for length in 0..200u8 {
            let bytes: Vec<u8> = (0..length).map(|index| index.wrapping_mul(length)).collect();
            contact(&bytes);
            stranger(&[bytes.clone(), vec![0, 0, 0, 2, 2, 1], bytes]);
        }
    }
}
