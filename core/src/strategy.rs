//! The comm strategies of one peer and their standing (*EGTP Architecture 0.2*, III.A).
//!
//! A strategy is a transport: a TCP address here; an open connection is one as well and always comes first; relays follow.
//! Encryption is none of them: the session is the layer above, as the founding document wished it had been.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

use crate::record::SignedRecord;

/// The TCP addresses of one peer, in the order in which they are to be tried.
#[derive(Clone, Debug, Default)]
pub(crate) struct StrategySet {
    strategies: Vec<Strategy>,
    failures: u64,
}

#[derive(Clone, Debug)]
struct Strategy {
    address: SocketAddr,
    /// Of the record that names it.
    sequence: u64,
    /// Its place in that record.
    place: usize,
    /// Zero, or the running number of its latest failure: the later it failed, the further back it is put.
    failed: u64,
    /// Whether it was tried since the peer was last reached or given up.
    tried: bool,
}

impl StrategySet {
    /// Takes over what a newer record says: what it names no longer is forgotten, what it still names keeps its standing.
    pub(crate) fn adopt(&mut self, record: &SignedRecord) {
        let named = record.strategies().addresses.iter().enumerate().map(|(place, &address)| {
            let known = self.strategies.iter().find(|strategy| strategy.address == address);
            Strategy {
                address,
                sequence: record.sequence(),
                place,
                failed: known.map_or(0, |strategy| strategy.failed),
                tried: known.is_some_and(|strategy| strategy.tried),
            }
        });
        self.strategies = named.collect();
        self.sort();
    }

    /// The best one that was not tried yet; it counts as tried from now on.
    pub(crate) fn try_next(&mut self) -> Option<SocketAddr> {
        let strategy = self.strategies.iter_mut().find(|strategy| !strategy.tried)?;
        strategy.tried = true;
        Some(strategy.address)
    }

    /// Whether no address is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.strategies.is_empty()
    }

    pub(crate) fn has_untried(&self) -> bool {
        self.strategies.iter().any(|strategy| !strategy.tried)
    }

    /// Puts one behind all others.
    pub(crate) fn failed(&mut self, address: SocketAddr) {
        self.failures = self.failures.saturating_add(1);
        if let Some(strategy) = self.strategies.iter_mut().find(|strategy| strategy.address == address) {
            strategy.failed = self.failures;
        }
        self.sort();
    }

    /// The peer was reached there.
    pub(crate) fn succeeded(&mut self, address: SocketAddr) {
        if let Some(strategy) = self.strategies.iter_mut().find(|strategy| strategy.address == address) {
            strategy.failed = 0;
        }
        self.sort();
    }

    /// A new attempt to reach the peer may try everything again.
    pub(crate) fn start_over(&mut self) {
        for strategy in &mut self.strategies {
            strategy.tried = false;
        }
    }

    /// What failed least recently comes first, then what is newer, routable, and named earlier by the peer itself.
    fn sort(&mut self) {
        self.strategies.sort_by_key(|strategy| {
            let routable = is_routable(strategy.address.ip());
            (strategy.failed, Reverse(strategy.sequence), Reverse(routable), strategy.place)
        });
    }
}

/// Whether packets to this address find their way across the public internet.
pub(crate) fn is_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b);
            let reserved = a == 0 || a >= 240;
            let benchmark = a == 198 && (b == 18 || b == 19);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_documentation()
                || shared
                || reserved
                || benchmark)
        }
        IpAddr::V6(ip) => {
            let first = ip.segments()[0];
            let global_unicast = first & 0xe000 == 0x2000;
            let documentation = first == 0x2001 && ip.segments()[1] == 0x0db8;
            global_unicast && !documentation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::record::Strategies;

    fn record(sequence: u64, addresses: &[&str]) -> SignedRecord {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let identity = Identity::from_seed(&[1; 32]);
        SignedRecord::sign(&identity, sequence, Strategies { addresses, relays: Vec::new() }).unwrap()
    }

    fn order(set: &StrategySet) -> Vec<SocketAddr> {
        set.strategies.iter().map(|strategy| strategy.address).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_routable_address_comes_before_one_that_is_not() {
        let mut set = StrategySet::default();
        set.adopt(&record(1, &["10.0.0.1:1", "9.9.9.9:1", "127.0.0.1:1"]));
        assert_eq!(order(&set), addresses(&["9.9.9.9:1", "10.0.0.1:1", "127.0.0.1:1"]));
    }

    #[test]
    fn the_one_that_failed_last_is_put_behind_all_others() {
        let mut set = StrategySet::default();
        set.adopt(&record(1, &["9.9.9.1:1", "9.9.9.2:1", "9.9.9.3:1"]));
        set.failed("9.9.9.2:1".parse().unwrap());
        set.failed("9.9.9.1:1".parse().unwrap());
        assert_eq!(order(&set), addresses(&["9.9.9.3:1", "9.9.9.2:1", "9.9.9.1:1"]));
        set.succeeded("9.9.9.1:1".parse().unwrap());
        assert_eq!(order(&set)[0], "9.9.9.1:1".parse().unwrap());
    }

    #[test]
    fn each_is_tried_once_until_a_new_attempt_starts() {
        let mut set = StrategySet::default();
        set.adopt(&record(1, &["9.9.9.1:1", "9.9.9.2:1"]));
        assert_eq!(set.try_next(), Some("9.9.9.1:1".parse().unwrap()));
        assert_eq!(set.try_next(), Some("9.9.9.2:1".parse().unwrap()));
        assert_eq!(set.try_next(), None);
        set.adopt(&record(2, &["9.9.9.2:1", "9.9.9.4:1"]));
        assert_eq!(set.try_next(), Some("9.9.9.4:1".parse().unwrap()), "a newer record brings what was not tried");
        set.start_over();
        assert!(set.has_untried());
    }

    #[test]
    fn what_the_registries_reserve_is_not_routable() {
        let not = [
            "0.1.2.3",
            "10.1.1.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "fe80::1",
            "fc00::1",
            "2001:db8::1",
            "ff02::1",
            "::",
        ];
        for text in not {
            assert!(!is_routable(text.parse().unwrap()), "{text}");
        }
        for text in ["9.9.9.9", "100.128.0.1", "172.32.0.1", "2606:4700::1"] {
            assert!(is_routable(text.parse().unwrap()), "{text}");
        }
    }
}
