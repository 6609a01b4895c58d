//! Where hosts are, and how connections come about.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use egtp::{Ending, Event};

use super::links::{End, LinkId, Party, Side, Socket};
use super::schedule::Due;
use super::{NodeIndex, World};
use crate::nat::{Nat, Translator};
use crate::stranger::StrangerIndex;

/// What an address leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Node(NodeIndex),
    NatOf(NodeIndex),
    Stranger(StrangerIndex),
}

/// A dial that has not been decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dial {
    to: SocketAddr,
    /// How often it was tried in vain.
    tries: u32,
}

/// A dial that nobody answers is tried again after one second, two, four, and so on, so many times; then the system gives it up,
/// as Linux does.
const TRIES: u32 = 6;

/// The port on which everybody listens.
const PORT: u16 = 4000;

pub(super) fn node_address(number: usize) -> SocketAddr {
    address([10, 0], number)
}

pub(super) fn stranger_address(number: usize) -> SocketAddr {
    address([10, 1], number)
}

fn address([first, second]: [u8; 2], number: usize) -> SocketAddr {
    let third = u8::try_from(number / 250).expect("a world has at most 64,000 hosts of a kind");
    let last = u8::try_from(number % 250).unwrap_or(0) + 1;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(first, second, third, last)), PORT)
}

fn nat_address(number: usize) -> IpAddr {
    address([198, 18], number).ip()
}

/// What becomes of a dial.
enum Route {
    Target(Party),
    Refused,
    Nowhere,
}

impl World {
    /// Puts a node behind a network address translator of its own, or takes that away. Connections that are open stay as they are;
    /// mappings of an earlier translator are forgotten.
    pub fn set_nat(&mut self, index: NodeIndex, nat: Option<Nat>) {
        let outside = nat_address(index.0);
        let host = &mut self.hosts[index.0];
        host.nat = nat.map(|nat| Translator::new(nat, outside));
        match nat {
            Some(_) => self.places.insert(outside, Place::NatOf(index)),
            None => self.places.remove(&outside),
        };
    }

    /// Under which address whoever is at `peer` sees a node: its own, or the one that its translator maps it to. `None` if
    /// its translator has no such mapping, since the node has not dialled there.
    pub fn seen_address(&self, index: NodeIndex, peer: SocketAddr) -> Option<SocketAddr> {
        let host = &self.hosts[index.0];
        match &host.nat {
            Some(nat) => nat.mapped(peer),
            None => Some(host.address),
        }
    }

    pub(super) fn dial(&mut self, socket: Socket, to: SocketAddr) {
        self.source(socket.party(), to);
        self.dials.insert(socket, Dial { to, tries: 0 });
        self.schedule.set(Due::Dial(socket), Some(self.now + self.network.latency * 2));
    }

    pub(super) fn hang_up(&mut self, socket: Socket) {
        self.dials.remove(&socket);
        self.schedule.set(Due::Dial(socket), None);
    }

    pub(super) fn decide(&mut self, socket: Socket) {
        if let Socket::Node(index, _) = socket
            && self.is_held_back(index, Due::Dial(socket))
        {
            return;
        }
        let Some(&Dial { to, tries }) = self.dials.get(&socket) else { return };
        let source = self.source(socket.party(), to);
        match self.route(socket.party(), source, to) {
            Route::Target(target) => self.connect(socket, source, target),
            Route::Refused => self.fail(socket, Ending::Refused),
            Route::Nowhere if tries == TRIES => self.fail(socket, Ending::Broken),
            Route::Nowhere => {
                self.dials.insert(socket, Dial { to, tries: tries + 1 });
                self.schedule.set(Due::Dial(socket), Some(self.now + Duration::from_secs(1 << tries)));
            }
        }
    }

    fn connect(&mut self, socket: Socket, source: SocketAddr, target: Party) {
        self.dials.remove(&socket);
        let id = self.links.add(self.seed, socket, target, source);
        for party in [socket.party(), target] {
            if let Party::Node(index) = party {
                self.hosts[index.0].links.insert(id);
            }
        }
        if let Some(bytes) = self.next_breaks_after.take()
            && let Some(link) = self.links.get_mut(id)
        {
            link.breaks_after = Some(bytes);
            self.breaking.insert(id);
        }
        let end = End { link: id, side: 0 };
        match socket {
            Socket::Node(index, connection) => {
                let host = &mut self.hosts[index.0];
                host.sockets.insert(connection, end);
                host.changed.insert(connection);
                self.accept(id);
                self.tell(index, Event::Connected(connection));
            }
            Socket::Stranger(index, line) => {
                self.accept(id);
                self.connected(index, line, end);
            }
        }
    }

    /// The target of a link takes it, unless its process stands still.
    pub(super) fn accept(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(id) else { return };
        let (end, from) = (End { link: id, side: 1 }, link.dialled_from);
        match link.parties[1] {
            Party::Node(index) if self.hosts[index.0].frozen => {}
            Party::Node(index) => {
                let host = &mut self.hosts[index.0];
                let now = host.clock.at(self.now);
                self.events += 1;
                self.touched.insert(index);
                match host.node.as_mut().map(|node| node.accept(now, from)) {
                    Some(Ok(connection)) => {
                        link.sides[1] = Side::Open(Socket::Node(index, connection));
                        host.sockets.insert(connection, end);
                        host.changed.insert(connection);
                    }
                    Some(Err(_)) | None => self.close_end(end),
                }
            }
            Party::Stranger(index) => self.accepted(index, end, from),
        }
    }

    fn fail(&mut self, socket: Socket, ending: Ending) {
        self.dials.remove(&socket);
        match socket {
            Socket::Node(index, connection) => self.tell(index, Event::Closed(connection, ending)),
            Socket::Stranger(index, line) => self.refused(index, line),
        }
    }

    /// Where a dial comes from, as seen by whoever it goes to. A translator opens itself for the answers.
    fn source(&mut self, from: Party, to: SocketAddr) -> SocketAddr {
        match from {
            Party::Node(index) => {
                let host = &mut self.hosts[index.0];
                host.nat.as_mut().map_or(host.address, |nat| nat.map(to))
            }
            Party::Stranger(index) => stranger_address(index.0),
        }
    }

    fn route(&self, from: Party, source: SocketAddr, to: SocketAddr) -> Route {
        let target = match self.places.get(&to.ip()) {
            Some(&Place::NatOf(index)) => {
                let is_admitted = self.hosts[index.0].nat.as_ref().is_some_and(|nat| nat.admits(to, source));
                is_admitted.then_some(Party::Node(index))
            }
            Some(&Place::Node(index)) => {
                let is_inside = self.hosts[index.0].nat.is_some() && from != Party::Node(index);
                (!is_inside).then_some(Party::Node(index))
            }
            Some(&Place::Stranger(index)) => Some(Party::Stranger(index)),
            None => return Route::Refused,
        };
        let reachable = |&target: &Party| !self.is_cut_off(from, target) && !self.is_cut_off(target, from);
        let Some(target) = target.filter(reachable) else { return Route::Nowhere };
        let is_open = match target {
            Party::Node(index) => self.hosts[index.0].listening && self.hosts[index.0].node.is_some(),
            Party::Stranger(_) => true,
        };
        let is_mapped = matches!(self.places.get(&to.ip()), Some(Place::NatOf(_)));
        if is_open && (is_mapped || to.port() == PORT) { Route::Target(target) } else { Route::Refused }
    }
}
