//! Whoever sits on a line without keys: where packets begin and end, which of them vanish, and what is put in between.

use std::collections::BTreeMap;

use egtp::Instant;

use super::links::{Link, Party};
use super::recent::Recent;
use super::recorder::Recorder;
use super::{NodeIndex, World};
use crate::choice::Choice;
use crate::link::Network;

/// How many bytes say how long a packet is.
pub(super) const PREFIX: usize = 4;

/// No honest packet is longer. Of whatever is, nothing is remembered.
const LONGEST: usize = 65_535;

/// So many bytes wait at most to be put in between two packets.
const MOST_PUT_IN: usize = 16 << 20;

/// What is known of the packet that passes, in one direction of a link.
#[derive(Debug, Default)]
pub(super) struct Tap {
    prefix: [u8; PREFIX],
    /// How much of that has passed; nothing, between two packets.
    seen: usize,
    /// How much of the packet is still to come.
    left: usize,
    vanishes: bool,
    /// What has passed of it, if it is to be remembered.
    body: Option<Vec<u8>>,
    /// What is put in once it has passed.
    put_in: Vec<u8>,
}

/// What is done to packets on every link.
#[derive(Debug, Default)]
pub(super) struct Middle {
    pub(super) recorder: Recorder,
    /// Of a thousand packets between nodes so many vanish.
    loss: u64,
    /// How many of the next ones vanish, from one node to another.
    next: BTreeMap<(NodeIndex, NodeIndex), u32>,
    lost: Recent<(Instant, NodeIndex, NodeIndex, usize)>,
    /// Room for what comes through.
    through: Vec<u8>,
}

impl Tap {
    /// Takes what belongs to the packet that passes from the front of `bytes`, which is not empty, and gives it back.
    fn follow<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let is_prefix = self.seen < PREFIX;
        let missing = if is_prefix { PREFIX - self.seen } else { self.left };
        let (part, rest) = bytes.split_at(missing.min(bytes.len()));
        if is_prefix {
            self.prefix[self.seen..][..part.len()].copy_from_slice(part);
            self.seen += part.len();
            self.left = usize::try_from(u32::from_be_bytes(self.prefix)).unwrap_or(usize::MAX);
        } else {
            self.left -= part.len();
            if let Some(body) = &mut self.body {
                body.extend_from_slice(part);
            }
        }
        *bytes = rest;
        part
    }

    fn is_between_packets(&self) -> bool {
        self.seen == 0
    }

    fn has_passed(&self) -> bool {
        self.seen == PREFIX && self.left == 0
    }
}

impl Middle {
    /// What comes through of what is written to a link, at its end of this side.
    pub(super) fn pass(&mut self, now: Instant, link: &mut Link, side: usize, network: &Network, mut bytes: &[u8]) {
        let (from, to) = (link.parties[side], link.parties[1 - side]);
        let (pipe, tap) = (&mut link.towards[1 - side], &mut link.taps[1 - side]);
        let mut through = std::mem::take(&mut self.through);
        while !bytes.is_empty() {
            if tap.is_between_packets() {
                tap.vanishes = self.vanishes(from, to, &mut pipe.choice);
                tap.body = self.recorder.remembers(from, to).then(Vec::new);
            }
            let part = tap.follow(&mut bytes);
            if !tap.vanishes {
                through.extend_from_slice(part);
            }
            if tap.left > LONGEST {
                tap.body = None;
            }
            if tap.has_passed() {
                self.has_passed(now, from, to, tap);
                through.append(&mut tap.put_in);
            }
        }
        if !through.is_empty() {
            pipe.push(now, network, &through);
        }
        through.clear();
        self.through = through;
    }

    /// The whole of a packet has passed, or vanished.
    fn has_passed(&mut self, now: Instant, from: Party, to: Party, tap: &mut Tap) {
        tap.seen = 0;
        if let Party::Node(to) = to
            && let Some(body) = tap.body.take()
        {
            self.recorder.remember(to, body);
        }
        if let (true, Party::Node(from), Party::Node(to)) = (tap.vanishes, from, to) {
            let length = usize::try_from(u32::from_be_bytes(tap.prefix)).unwrap_or(usize::MAX);
            self.lost.push((now, from, to, length));
        }
    }

    /// Whether the packet that begins vanishes.
    fn vanishes(&mut self, from: Party, to: Party, choice: &mut Choice) -> bool {
        let (Party::Node(from), Party::Node(to)) = (from, to) else { return false };
        if let Some(next) = self.next.get_mut(&(from, to)) {
            *next -= 1;
            if *next == 0 {
                self.next.remove(&(from, to));
            }
            return true;
        }
        self.loss > 0 && choice.per_mille(self.loss)
    }
}

impl Link {
    /// Puts packets in that flow towards this side: now, or once the packet that has begun has passed.
    pub(super) fn put_in(&mut self, now: Instant, side: usize, network: &Network, packets: &[u8]) {
        let tap = &mut self.taps[side];
        if tap.is_between_packets() {
            self.towards[side].push(now, network, packets);
        } else if tap.put_in.len() + packets.len() <= MOST_PUT_IN {
            tap.put_in.extend_from_slice(packets);
        }
    }
}

impl World {
    /// Of a thousand packets that one node sends another, so many vanish from now on, and their connections live on: as if somebody
    /// without keys sat on the line. With none, those do not vanish either that [`World::lose_next_packet`] was told of.
    pub fn set_loss(&mut self, per_mille: u64) {
        self.middle.loss = per_mille;
        if per_mille == 0 {
            self.middle.next.clear();
        }
    }

    /// Lets the next packet vanish that one node begins to send another, on whichever connection.
    pub fn lose_next_packet(&mut self, from: NodeIndex, to: NodeIndex) {
        *self.middle.next.entry((from, to)).or_default() += 1;
    }

    /// The packets that vanished: when, from whom, to whom, how long. As [`World::lookups_since`].
    pub fn losses_since(&self, seen: &mut u64) -> &[(Instant, NodeIndex, NodeIndex, usize)] {
        self.middle.lost.since(seen)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::world::links::{Links, Socket};
    use crate::{Line, StrangerIndex};

    const NOW: Instant = Instant::from_micros(5);
    const ALICE: NodeIndex = NodeIndex(0);
    const BOB: NodeIndex = NodeIndex(1);

    fn packet(fill: u8, length: usize) -> Vec<u8> {
        [&u32::try_from(length).unwrap().to_be_bytes()[..], &vec![fill; length]].concat()
    }

    /// What comes through to Bob of these packets of Alice's, written in pieces of this size; the last is put in after the first piece.
    fn through(middle: &mut Middle, packets: &[Vec<u8>], put_in: &[u8], size: usize) -> Vec<u8> {
        let (network, mut links) = (Network::default(), Links::default());
        let dialler = Socket::Stranger(StrangerIndex(0), Line(0));
        let id = links.add(1, dialler, Party::Node(BOB), "10.0.0.1:1".parse().unwrap());
        let link = links.get_mut(id).unwrap();
        link.parties[0] = Party::Node(ALICE);
        for (number, piece) in packets.concat().chunks(size).enumerate() {
            middle.pass(NOW, link, 0, &network, piece);
            if number == 0 {
                link.put_in(NOW, 1, &network, put_in);
            }
        }
        let (mut all, mut read) = (Vec::new(), Vec::new());
        while link.towards[1].take(NOW + Duration::from_secs(1), &network, usize::MAX, &mut read) {
            all.append(&mut read);
        }
        all
    }

    fn packets() -> Vec<Vec<u8>> {
        vec![packet(1, 30), packet(2, 0), packet(3, 1), packet(4, 500), packet(5, 7)]
    }

    #[test]
    fn packets_vanish_as_a_whole_in_whatever_pieces_they_come() {
        for size in [1, 2, 3, 5, 34, 35, 600] {
            let mut middle = Middle::default();
            middle.next.insert((ALICE, BOB), 2);
            assert_eq!(through(&mut middle, &packets(), &[], size), packets()[2..].concat(), "in pieces of {size}");
            assert_eq!(middle.lost.latest(), [(NOW, ALICE, BOB, 30), (NOW, ALICE, BOB, 0)]);
            middle.next.insert((BOB, ALICE), 1);
            assert_eq!(through(&mut middle, &packets(), &[], size), packets().concat(), "in pieces of {size}");
            middle.loss = 1000;
            assert_eq!(through(&mut middle, &packets(), &[], size), [0; 0], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_put_in_comes_between_two_packets() {
        let put_in = packet(9, 9);
        for size in [1, 3, 33, 34, 40, 600] {
            let mut expected = packets();
            let after = match size {
                ..=34 => 1,
                40 => 3,
                _ => 5,
            };
            expected.insert(after, put_in.clone());
            let came = through(&mut Middle::default(), &packets(), &put_in, size);
            assert_eq!(came, expected.concat(), "in pieces of {size}");
        }
    }

    #[test]
    fn what_passes_or_vanishes_is_recorded() {
        let mut middle = Middle::default();
        through(&mut middle, &packets(), &[], 3);
        assert_eq!(middle.recorder.count(BOB), 0);
        middle.recorder.begin();
        middle.next.insert((ALICE, BOB), 1);
        through(&mut middle, &packets(), &packet(9, 9), 3);
        let bodies: Vec<Vec<u8>> = packets().iter().map(|packet| packet[PREFIX..].to_vec()).collect();
        assert_eq!((middle.recorder.packets(BOB, 0, 5), middle.recorder.count(BOB)), (bodies, 5));
        assert_eq!(middle.recorder.count(ALICE), 0);
    }
}
