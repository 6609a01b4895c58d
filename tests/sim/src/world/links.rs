//! The links between hosts. A link is forgotten once nobody holds an end of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use egtp::{ConnectionId, Ending, Instant};

use super::NodeIndex;
use super::tap::{Middle, Tap};
use crate::link::{Network, Pipe};
use crate::stranger::{Line, StrangerIndex};

/// A host, whatever it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Party {
    Node(NodeIndex),
    Stranger(StrangerIndex),
}

/// A connection, by the name that its host has for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Socket {
    Node(NodeIndex, ConnectionId),
    Stranger(StrangerIndex, Line),
}

impl Socket {
    pub(super) fn party(self) -> Party {
        match self {
            Self::Node(node, _) => Party::Node(node),
            Self::Stranger(stranger, _) => Party::Stranger(stranger),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LinkId(u64);

/// One end of a link. The dialler has side 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct End {
    pub(super) link: LinkId,
    pub(super) side: usize,
}

impl End {
    pub(super) fn other(self) -> Self {
        Self { link: self.link, side: 1 - self.side }
    }
}

/// Who holds an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Open(Socket),
    /// The host's system has accepted the connection, and its process has not.
    Waiting,
    /// The host has lost its power, and knows nothing of the connection when it is back.
    Vanished,
    Gone,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) parties: [Party; 2],
    pub(super) sides: [Side; 2],
    /// What flows towards each side.
    pub(super) towards: [Pipe; 2],
    /// Who sits on the way towards each side.
    pub(super) taps: [Tap; 2],
    /// Where the accepting side sees the dialler.
    pub(super) dialled_from: SocketAddr,
    /// How many bytes, both ways together, it carries before it breaks.
    pub(super) breaks_after: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    next: u64,
}

impl Links {
    /// Adds a link whose pipes draw what follows from the seed.
    pub(super) fn add(&mut self, seed: u64, dialler: Socket, target: Party, dialled_from: SocketAddr) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        let pipe = |side: u64| Pipe::new(scramble(seed.wrapping_add(scramble(2 * id.0 + side))));
        let link = Link {
            parties: [dialler.party(), target],
            sides: [Side::Open(dialler), Side::Waiting],
            towards: [pipe(0), pipe(1)],
            taps: Default::default(),
            dialled_from,
            breaks_after: None,
        };
        self.links.insert(id, link);
        id
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// Writes as much of `bytes` as one call takes, and returns how much that is. What comes through is in the middle's hands.
    pub(super) fn write(
        &mut self,
        end: End,
        now: Instant,
        network: &Network,
        bytes: &[u8],
        middle: &mut Middle,
    ) -> usize {
        let Some(link) = self.links.get_mut(&end.link) else { return 0 };
        let pipe = &mut link.towards[1 - end.side];
        let most = bytes.len().min(pipe.room(network)).min(link.breaks_after.unwrap_or(usize::MAX));
        if most == 0 {
            return 0;
        }
        let count = pipe.draw(network, most);
        middle.pass(now, link, end.side, network, &bytes[..count]);
        if let Some(left) = &mut link.breaks_after {
            *left -= count;
            if *left == 0 {
                for pipe in &mut link.towards {
                    pipe.finish(now, network, Ending::Broken);
                }
            }
        }
        count
    }

    /// How many bytes may be written at an end.
    pub(super) fn room(&self, end: End, network: &Network) -> usize {
        self.links.get(&end.link).map_or(0, |link| link.towards[1 - end.side].room(network))
    }

    /// Whether whoever holds an end waits for bytes.
    pub(super) fn is_reading(&self, end: End) -> bool {
        self.links.get(&end.link).is_some_and(|link| link.towards[end.side].reading)
    }

    pub(super) fn set_reading(&mut self, end: End, reading: bool) {
        if let Some(link) = self.links.get_mut(&end.link) {
            link.towards[end.side].reading = reading;
        }
    }

    pub(super) fn remove(&mut self, id: LinkId) {
        self.links.remove(&id);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }
}

/// The mixing function of SplitMix64: neighbouring numbers become unrelated ones.
fn scramble(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
