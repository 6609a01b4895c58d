//! Network address translators, as RFC 4787 (sections 4.1 and 5) and RFC 5382 tell them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// On what of the other side it depends which outside address a node is given, or who may come in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum NatBehaviour {
    /// On nothing.
    EndpointIndependent,
    /// On its IP address.
    AddressDependent,
    /// On its IP address and its port.
    AddressAndPortDependent,
}

/// A translator in front of one node. The node dials from the port on which it listens, as hole punching wants it, and its peers
/// see the address that the translator has mapped it to. What comes unasked is dropped without an answer (RFC 5382, section
/// 4.3). A mapping lasts as long as the translator does; the RFC demands two hours for one in use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Nat {
    /// For whom one outside address serves: with [`NatBehaviour::EndpointIndependent`], for everybody.
    pub mapping: NatBehaviour,
    /// Who may come in by an outside address: with [`NatBehaviour::EndpointIndependent`], anybody; else whoever the node has dialled
    /// by it.
    pub filtering: NatBehaviour,
}

/// The first port that is given out, and how many there are.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 50_000;

/// The state of a [`Nat`].
#[derive(Debug)]
pub(crate) struct Translator {
    nat: Nat,
    outside: IpAddr,
    /// Outside ports, by what of the other side they are for.
    ports: BTreeMap<Aspect, u16>,
    /// What of whom was dialled by which port.
    dialled: BTreeSet<(u16, Aspect)>,
}

/// What counts of an address.
type Aspect = (Option<IpAddr>, Option<u16>);

impl NatBehaviour {
    fn aspect(self, address: SocketAddr) -> Aspect {
        match self {
            Self::EndpointIndependent => (None, None),
            Self::AddressDependent => (Some(address.ip()), None),
            Self::AddressAndPortDependent => (Some(address.ip()), Some(address.port())),
        }
    }
}

impl Translator {
    pub(crate) fn new(nat: Nat, outside: IpAddr) -> Self {
        Self { nat, outside, ports: BTreeMap::new(), dialled: BTreeSet::new() }
    }

    /// The node dials `to`: the address that it is seen at.
    pub(crate) fn map(&mut self, to: SocketAddr) -> SocketAddr {
        let next = FIRST_PORT + u16::try_from(self.ports.len()).unwrap_or(PORTS) % PORTS;
        let port = *self.ports.entry(self.nat.mapping.aspect(to)).or_insert(next);
        self.dialled.insert((port, self.nat.filtering.aspect(to)));
        SocketAddr::new(self.outside, port)
    }

    /// The address that the node is seen at by `peer`, if it has one.
    pub(crate) fn mapped(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let port = self.ports.get(&self.nat.mapping.aspect(peer))?;
        Some(SocketAddr::new(self.outside, *port))
    }

    /// Whether somebody gets in by an outside address.
    pub(crate) fn admits(&self, by: SocketAddr, from: SocketAddr) -> bool {
        by.ip() == self.outside && self.dialled.contains(&(by.port(), self.nat.filtering.aspect(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::NatBehaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    use super::*;

    const BEHAVIOURS: [NatBehaviour; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn translator(mapping: NatBehaviour, filtering: NatBehaviour) -> Translator {
        Translator::new(Nat { mapping, filtering }, address("198.18.0.1:0").ip())
    }

    /// Whether the same outside address serves for the same peer, for another port of it, and for another peer.
    fn serves(mapping: NatBehaviour) -> [bool; 3] {
        let mut nat = translator(mapping, EndpointIndependent);
        let first = nat.map(address("1.1.1.1:10"));
        ["1.1.1.1:10", "1.1.1.1:11", "2.2.2.2:10"].map(|peer| nat.map(address(peer)) == first)
    }

    /// Whether the peer that was dialled, another port of it, and another peer get in by the outside address of the first.
    fn lets_in(mapping: NatBehaviour, filtering: NatBehaviour) -> [bool; 3] {
        let mut nat = translator(mapping, filtering);
        let outside = nat.map(address("1.1.1.1:10"));
        ["1.1.1.1:10", "1.1.1.1:11", "2.2.2.2:10"].map(|peer| nat.admits(outside, address(peer)))
    }

    #[test]
    fn the_mapping_decides_for_whom_one_outside_address_serves() {
        assert_eq!(serves(EndpointIndependent), [true, true, true]);
        assert_eq!(serves(AddressDependent), [true, true, false]);
        assert_eq!(serves(AddressAndPortDependent), [true, false, false]);
    }

    #[test]
    fn the_filtering_decides_who_gets_in_whatever_the_mapping() {
        for mapping in BEHAVIOURS {
            assert_eq!(lets_in(mapping, EndpointIndependent), [true, true, true], "{mapping:?}");
            assert_eq!(lets_in(mapping, AddressDependent), [true, true, false], "{mapping:?}");
            assert_eq!(lets_in(mapping, AddressAndPortDependent), [true, false, false], "{mapping:?}");
        }
    }

    #[test]
    fn nobody_gets_in_by_an_address_that_was_not_given_out() {
        for filtering in BEHAVIOURS {
            let mut nat = translator(AddressDependent, filtering);
            assert!(!nat.admits(address("198.18.0.1:10000"), address("1.1.1.1:10")), "{filtering:?}");
            let outside = nat.map(address("1.1.1.1:10"));
            assert!(!nat.admits(address("198.18.0.1:10001"), address("1.1.1.1:10")), "{filtering:?}");
            assert_eq!(nat.mapped(address("1.1.1.1:10")), Some(outside));
            assert_eq!(nat.mapped(address("2.2.2.2:10")), None);
        }
    }

    #[test]
    fn whoever_was_dialled_by_one_outside_address_does_not_get_in_by_another() {
        let mut nat = translator(AddressDependent, AddressDependent);
        let (first, second) = (nat.map(address("1.1.1.1:10")), nat.map(address("2.2.2.2:10")));
        assert!(nat.admits(first, address("1.1.1.1:10")) && !nat.admits(second, address("1.1.1.1:10")));
    }
}
