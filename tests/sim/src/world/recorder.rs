//! Whoever has recorded what passed, and sends it again: on a connection on which it sits, or on one of its own.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use egtp::Instant;

use super::links::{End, Party, Side};
use super::tap::PREFIX;
use super::{NodeIndex, World};
use crate::stranger::{Line, Stranger, StrangerAction, StrangerEvent, StrangerIndex};

/// Every packet that was ever sent to a node, on whichever connection and by whomever, vanished ones included; if that is more than
/// [`Recorder::MOST_BYTES`], the latest. What it sends again itself it does not record.
#[derive(Debug, Default)]
pub struct Recorder {
    is_recording: bool,
    packets: BTreeMap<NodeIndex, VecDeque<Vec<u8>>>,
    /// To whom they were sent, the oldest first.
    order: VecDeque<NodeIndex>,
    bytes: usize,
    /// What it is on connections of its own.
    stranger: Option<(StrangerIndex, Replayer)>,
}

impl Recorder {
    /// As many bytes of packets are remembered.
    pub const MOST_BYTES: usize = 256 << 20;

    /// How many packets that were sent to a node are remembered.
    pub fn count(&self, to: NodeIndex) -> usize {
        self.packets.get(&to).map_or(0, VecDeque::len)
    }

    /// So many of them, from the one of this number on. The oldest is number 0, and comes after the latest again.
    pub fn packets(&self, to: NodeIndex, first: usize, count: usize) -> Vec<Vec<u8>> {
        let Some(known) = self.packets.get(&to).filter(|known| !known.is_empty()) else { return Vec::new() };
        (0..count).map(|number| known[(first % known.len() + number) % known.len()].clone()).collect()
    }

    pub(super) fn begin(&mut self) {
        self.is_recording = true;
    }

    /// Whether what one host sends another is remembered.
    pub(super) fn remembers(&self, from: Party, to: Party) -> bool {
        let is_its_own = |&(stranger, _): &(StrangerIndex, Replayer)| from == Party::Stranger(stranger);
        self.is_recording && matches!(to, Party::Node(_)) && !self.stranger.as_ref().is_some_and(is_its_own)
    }

    pub(super) fn remember(&mut self, to: NodeIndex, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.packets.entry(to).or_default().push_back(packet);
        self.order.push_back(to);
        while self.bytes > Self::MOST_BYTES
            && let Some(oldest) = self.order.pop_front()
        {
            let forgotten = self.packets.get_mut(&oldest).and_then(VecDeque::pop_front);
            self.bytes -= forgotten.map_or(0, |packet| packet.len());
        }
    }
}

impl World {
    /// Remembers every packet from now on, those excepted that have begun.
    pub fn record_packets(&mut self) {
        self.middle.recorder.begin();
    }

    /// What was recorded.
    pub fn recorder(&self) -> &Recorder {
        &self.middle.recorder
    }

    /// Sends packets to a node on its newest connection with another, between two packets of that one's. Says whether there is one.
    pub fn replay(&mut self, from: NodeIndex, to: NodeIndex, packets: &[Vec<u8>]) -> bool {
        let Some(end) = self.newest_between(from, to) else { return false };
        let (now, network) = (self.now, self.network);
        if let Some(link) = self.links.get_mut(end.link) {
            link.put_in(now, end.side, &network, &framed(packets));
        }
        self.rearm(end);
        true
    }

    /// Dials a node as a stranger, and sends it packets. The connection is the node's to close.
    pub fn replay_as_stranger(&mut self, to: NodeIndex, packets: &[Vec<u8>]) {
        let stranger = self.middle.recorder.stranger.clone();
        let (index, replayer) = stranger.unwrap_or_else(|| {
            let replayer = Replayer::default();
            let index = self.add_stranger(Box::new(replayer.clone()));
            self.middle.recorder.stranger = Some((index, replayer.clone()));
            (index, replayer)
        });
        replayer.0.borrow_mut().asked.push((self.address(to), framed(packets)));
        self.wake_stranger(index);
    }

    /// Where a node has its newest connection with another.
    fn newest_between(&self, from: NodeIndex, to: NodeIndex) -> Option<End> {
        self.hosts[to.0].links.iter().rev().find_map(|&id| {
            let link = self.links.get(id)?;
            let side = link.parties.iter().position(|&party| party == Party::Node(to))?;
            let is_open = link.sides.iter().all(|side| matches!(side, Side::Open(_)));
            (is_open && link.parties[1 - side] == Party::Node(from)).then_some(End { link: id, side })
        })
    }
}

fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packets.iter().map(|packet| PREFIX + packet.len()).sum());
    for packet in packets {
        let length = u32::try_from(packet.len()).expect("no packet is remembered that is longer");
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(packet);
    }
    bytes
}

/// A stranger that sends what it is given and does not listen.
#[derive(Clone, Debug, Default)]
struct Replayer(Rc<RefCell<Replays>>);

#[derive(Debug, Default)]
struct Replays {
    asked: Vec<(SocketAddr, Vec<u8>)>,
    dialled: BTreeMap<Line, Vec<u8>>,
    lines: u64,
}

impl Stranger for Replayer {
    fn handle(&mut self, _: Instant, event: StrangerEvent<'_>, out: &mut Vec<StrangerAction>) {
        let Replays { asked, dialled, lines } = &mut *self.0.borrow_mut();
        match event {
            StrangerEvent::Wake => {
                for (to, bytes) in asked.drain(..) {
                    let line = Line(2 * *lines);
                    *lines += 1;
                    dialled.insert(line, bytes);
                    out.push(StrangerAction::Dial(line, to));
                }
            }
            StrangerEvent::Connected(line) => {
                out.extend(dialled.remove(&line).map(|bytes| StrangerAction::Send(line, bytes)));
            }
            StrangerEvent::Refused(line) => _ = dialled.remove(&line),
            StrangerEvent::Accepted(line, _) => out.push(StrangerAction::Close(line)),
            StrangerEvent::Start | StrangerEvent::Received(..) | StrangerEvent::Closed(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_packets_are_remembered_and_counting_goes_on_with_the_oldest() {
        let (mut recorder, to) = (Recorder::default(), NodeIndex(0));
        assert_eq!((recorder.count(to), recorder.packets(to, 7, 2)), (0, Vec::new()));
        for length in [100, 2, 3, Recorder::MOST_BYTES - 5] {
            recorder.remember(to, vec![7; length]);
        }
        let lengths: Vec<usize> = recorder.packets(to, 4, 3).iter().map(Vec::len).collect();
        assert_eq!((recorder.count(to), lengths), (3, vec![3, Recorder::MOST_BYTES - 5, 2]));
    }
}
