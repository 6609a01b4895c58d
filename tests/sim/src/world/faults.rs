//! What goes wrong between hosts.

use super::links::{End, Party};
use super::{NodeIndex, World};

impl World {
    /// Cuts every connection between two nodes: what is under way is lost, and both see it break once the news has travelled.
    pub fn cut(&mut self, one: NodeIndex, other: NodeIndex) {
        let parties = [Party::Node(one), Party::Node(other)];
        let (now, network) = (self.now, self.network);
        for id in self.hosts[one.0].links.clone() {
            let Some(link) = self.links.get_mut(id) else { continue };
            if link.parties != parties && link.parties != [parties[1], parties[0]] {
                continue;
            }
            for pipe in &mut link.towards {
                pipe.break_off(now, &network);
            }
            for side in 0..2 {
                self.rearm(End { link: id, side });
            }
        }
    }

    /// Lets the next connection that opens break as soon as it has carried so many bytes, both ways together; they still arrive.
    /// With `None` neither the next one breaks nor one that is open.
    pub fn break_next_connection_after(&mut self, bytes: Option<usize>) {
        self.next_breaks_after = bytes;
        if bytes.is_some() {
            return;
        }
        for id in std::mem::take(&mut self.breaking) {
            if let Some(link) = self.links.get_mut(id) {
                link.breaks_after = None;
            }
        }
    }

    /// Whether a node's port is open.
    pub fn set_listening(&mut self, index: NodeIndex, listening: bool) {
        self.hosts[index.0].listening = listening;
    }

    /// Whether everything to and from a node is held up, open connections included. It arrives once that is over, as TCP sends it
    /// again.
    pub fn set_silent(&mut self, index: NodeIndex, silent: bool) {
        self.hosts[index.0].silent = silent;
        self.rearm_links(index);
    }

    /// Whether everything from one node to another is held up; the other direction is not affected. It arrives once that is over, as
    /// TCP sends it again. While either direction is blocked, a dial between the two is not answered; it is tried again as
    /// long as the dialler waits.
    pub fn set_blocked(&mut self, from: NodeIndex, to: NodeIndex, blocked: bool) {
        if blocked {
            self.blocked.insert((from, to));
        } else {
            self.blocked.remove(&(from, to));
        }
        self.rearm_links(to);
    }
}
