//! How long things take: never less, and at most.
//!
//! Whoever waits, waits because of latency or because somebody works on something that came before. So a message is through, at
//! the latest, once everything that its two ends had to carry meanwhile is, one thing after the other, through throttle, link and
//! throttle. That bound is generous where things overlap, and it is true; without throttles it is little more than latency.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use egtp::{Instant, Throttle};

use crate::{Network, NodeIndex};

/// What is written around a message: its header, frames, records, and the frames about it.
const AROUND: u64 = 700;

/// A throttle shares out its rate in rounds, and not all of it in each; what is cut off in the middle goes again.
const INEFFICIENCY: u64 = 2;

/// What goes in one record at most, and what is under way at once at most.
const RECORD: usize = 16 * 1024;
const BUFFER: usize = 64 * 1024;

/// So many busy times of a node are remembered; a query waits for fewer.
const REMEMBERED: usize = 200;

#[derive(Debug)]
pub(super) struct Pace {
    network: Network,
    throttles: BTreeMap<NodeIndex, Throttle>,
    /// From when to when a node may have been busy carrying what it was given, in order.
    busy: BTreeMap<NodeIndex, VecDeque<(Instant, Instant)>>,
}

impl Pace {
    pub(super) fn new(network: Network, throttles: BTreeMap<NodeIndex, Throttle>) -> Self {
        Self { network, throttles, busy: BTreeMap::new() }
    }

    /// From one end to the other, at least.
    pub(super) fn least(&self) -> Duration {
        self.network.latency
    }

    /// So many times from one end to the other, at most, for something short.
    pub(super) fn ways(&self, times: u32) -> Duration {
        let short = self.network.bandwidth.map_or(Duration::ZERO, |rate| time_for(AROUND, rate));
        (self.network.latency + self.network.jitter + short) * times
    }

    /// A message of so many bytes is to go from one node to the other.
    pub(super) fn carry(&mut self, at: Instant, from: NodeIndex, to: NodeIndex, bytes: usize) {
        let cost = self.cost(from, to, bytes);
        for node in [from, to] {
            self.is_busy(at, node, cost);
        }
    }

    /// Somebody outside this network and a node exchange so many bytes, each way at most. Only its throttle lets others feel that.
    pub(super) fn keeps_busy(&mut self, at: Instant, node: NodeIndex, bytes: usize) {
        let Throttle { up, down, .. } = self.throttle(node);
        let bytes = (bytes as u64 + AROUND) * INEFFICIENCY;
        let cost = [up, down].into_iter().flatten().map(|rate| time_for(bytes, rate.as_bytes_per_second())).sum();
        self.is_busy(at, node, cost);
    }

    fn is_busy(&mut self, at: Instant, node: NodeIndex, cost: Duration) {
        let busy = self.busy.entry(node).or_default();
        match busy.back_mut().filter(|(_, until)| *until >= at) {
            Some((_, until)) => *until = *until + cost,
            None => busy.push_back((at, at + cost)),
        }
        if busy.len() > REMEMBERED {
            busy.pop_front();
        }
    }

    /// How long, from `at` on, two nodes may be busy while something is under way that `takes` so long besides: meanwhile more may be given
    /// to either of the two.
    pub(super) fn busy_during(&self, one: NodeIndex, other: NodeIndex, at: Instant, takes: Duration) -> Duration {
        let times = [one, other].into_iter().filter_map(|node| self.busy.get(&node)).flatten();
        let mut times: Vec<_> = times.filter(|&&(_, until)| until >= at).collect();
        times.sort();
        let mut busy = Duration::ZERO;
        for &(from, until) in times {
            if from <= at + takes + busy {
                busy += until.saturating_since(from.max(at));
            }
        }
        busy
    }

    /// How long it takes at most to carry so many bytes and what goes around them, with nothing in the way.
    fn cost(&self, from: NodeIndex, to: NodeIndex, bytes: usize) -> Duration {
        let bytes = (bytes as u64 + bytes as u64 / 64 + AROUND) * INEFFICIENCY;
        let (sender, receiver) = (self.throttle(from), self.throttle(to));
        let throttles = [sender.up, sender.up_per_connection, receiver.down, receiver.down_per_connection];
        let throttled = throttles.into_iter().flatten().map(|rate| time_for(bytes, rate.as_bytes_per_second()));
        throttled.sum::<Duration>() + self.on_the_link(bytes)
    }

    /// A link takes up one buffer's worth in the time from end to end.
    fn on_the_link(&self, bytes: u64) -> Duration {
        let buffers = bytes / (self.network.buffer as u64).max(1);
        let serialised = self.network.bandwidth.map_or(Duration::ZERO, |rate| time_for(bytes, rate));
        self.ways(u32::try_from(buffers).unwrap_or(u32::MAX)) + serialised
    }

    /// How long it takes at most until a record of the usual length is through, with as much before it as a link holds.
    pub(super) fn takes_for_a_record(&self, from: NodeIndex, to: NodeIndex) -> Duration {
        self.cost(from, to, RECORD + self.network.buffer.min(BUFFER))
    }

    fn throttle(&self, node: NodeIndex) -> Throttle {
        self.throttles.get(&node).copied().unwrap_or_default()
    }
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1))
}
