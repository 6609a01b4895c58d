//! Whether throttled nodes keep to their rates.

use std::collections::BTreeMap;

use egtp::{ConnectionId, Instant, Node, Rate, Throttle};

use super::{NodeIndex, World};

/// Which way bytes go, as the node sees it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    Up,
    Down,
}

/// What has passed at throttled nodes lately.
#[derive(Debug, Default)]
pub(super) struct Rates {
    hosts: BTreeMap<NodeIndex, Passed>,
}

#[derive(Debug, Default)]
struct Passed {
    throttle: Throttle,
    all: [Meter; 2],
    connections: BTreeMap<ConnectionId, [Meter; 2]>,
}

/// How many millionths of a byte have passed beyond what the rate allows in the time since, and when that was reckoned.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    ahead: u128,
    at: Instant,
}

const MICRO: u128 = 1_000_000;

impl Meter {
    /// So many bytes pass. Whether that is more than the rate allows, with a burst of a quarter of a second's worth, or of 1,024 bytes.
    fn passes(&mut self, rate: Option<Rate>, now: Instant, bytes: usize) -> bool {
        let Some(rate) = rate.map(|rate| u128::from(rate.as_bytes_per_second())) else { return false };
        let earned = now.saturating_since(self.at).as_micros() * rate;
        self.ahead = self.ahead.saturating_sub(earned) + bytes as u128 * MICRO;
        self.at = self.at.max(now);
        self.ahead > (rate / 4).max(1024) * MICRO
    }
}

impl Rates {
    /// What passed before a node was started is nothing to it.
    pub(super) fn restart(&mut self, index: NodeIndex) {
        self.hosts.remove(&index);
    }
}

impl World {
    /// So many bytes of a connection are written or read by a node.
    pub(super) fn passes(&mut self, index: NodeIndex, connection: ConnectionId, way: Way, bytes: usize) {
        let host = &self.hosts[index.0];
        let Some(throttle) = host.node.as_ref().map(Node::throttle).filter(|&all| all != Throttle::default()) else {
            return;
        };
        let now = host.told.max(host.commanded).max(host.clock.at(self.now));
        let passed = self.rates.hosts.entry(index).or_default();
        if passed.throttle != throttle {
            *passed = Passed { throttle, ..Passed::default() };
        }
        passed.connections.retain(|connection, _| host.sockets.contains_key(connection));
        let (all, each) = match way {
            Way::Up => (throttle.up, throttle.up_per_connection),
            Way::Down => (throttle.down, throttle.down_per_connection),
        };
        let of_this = &mut passed.connections.entry(connection).or_default()[way as usize];
        let too_fast = [passed.all[way as usize].passes(all, now, bytes), of_this.passes(each, now, bytes)];
        if too_fast.contains(&true) {
            self.violate(&format!("node {} is faster than {throttle:?} allows", index.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let rate = Rate::bytes_per_second(8000);
        let mut meter = Meter::default();
        assert!(!meter.passes(rate, at(5), 2000));
        assert!(!meter.passes(rate, at(505), 2000));
        assert!(!meter.passes(rate, at(506), 8));
        assert!(meter.passes(rate, at(507), 9));
        assert!(!Meter::default().passes(None, at(5), usize::MAX));
    }
}
