//! Which address a node tells others, given the one that it listens on.

use std::net::{IpAddr, SocketAddr};

/// The address that others can use for a listener bound to `bound`, or `None` if they can use none as it stands.
///
/// There is none for a listener on *every* address (`0.0.0.0`, `::`), since only its owner knows which of them others reach; for a
/// link-local IPv6 address, which means something on its own link only; and for port 0. Such a node has to be told what to
/// announce. Loopback and private addresses are announced: a contact is handed from hand to hand, and who receives it may well
/// be on the same machine or network.
pub fn announceable(bound: SocketAddr) -> Option<SocketAddr> {
    let ip = bound.ip().to_canonical();
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let usable = bound.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !link_local;
    usable.then(|| SocketAddr::new(ip, bound.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announced(bound: &str) -> Option<String> {
        announceable(bound.parse().unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn a_listener_on_one_address_announces_it() {
        assert_eq!(announced("127.0.0.1:7").as_deref(), Some("127.0.0.1:7"));
        assert_eq!(announced("10.1.2.3:7").as_deref(), Some("10.1.2.3:7"));
        assert_eq!(announced("[2001:db8::1]:7").as_deref(), Some("[2001:db8::1]:7"));
        assert_eq!(announced("[::ffff:10.1.2.3]:7").as_deref(), Some("10.1.2.3:7"));
    }

    #[test]
    fn a_listener_that_others_cannot_address_announces_nothing() {
        for bound in ["0.0.0.0:7", "[::]:7", "[fe80::1]:7", "[ff02::1]:7", "127.0.0.1:0"] {
            assert_eq!(announced(bound), None, "{bound}");
        }
    }
}
