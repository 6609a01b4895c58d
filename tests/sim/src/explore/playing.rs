//! How each thing happens.

use egtp::{Action, ConnectionId, Delivery, Ending, Event, ServiceAction, TransportAction};

use super::link::Link;
use super::pair::{Pair, address};
use super::{Fate, Happening};

/// Of a packet, how many bytes say how long it is, and what kind a record is.
const LENGTH: usize = 4;
const SEALED: u8 = 4;

impl Pair {
    /// Lets something happen that can happen now.
    pub(super) fn play(&mut self, happening: Happening) {
        self.faults += usize::from(happening.is_fault());
        match happening {
            Happening::Ask(query) => self.ask(query),
            Happening::Open(node) => self.open(node),
            Happening::Deliver { link, to } => self.deliver(link, to),
            Happening::Tick => self.tick(),
            Happening::Answer(query) => self.reply(query),
            Happening::Cancel(query) => self.cancel(query),
            Happening::Refuse(node) => {
                let (connection, _) = self.hosts[node].dials.remove(0);
                self.ledger.fail_dial(node);
                self.tell(node, Event::Closed(connection, Ending::Refused));
            }
            Happening::Cut { link, towards } => self.cut(link, towards),
            Happening::Hang(link) => self.links[link].hang(),
            Happening::Crash { node, spoken } => self.crash(node, spoken),
        }
        self.drain();
        if self.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.ledger.break_with("a node's deadline has passed".into());
        }
    }

    fn tell(&mut self, node: usize, event: Event<'_>) {
        let now = self.now;
        self.hosts[node].node.handle(now, event);
    }

    fn ask(&mut self, query: usize) {
        let asker = self.ledger.asked[query].asker;
        let (now, to, asked) = (self.now, self.id(1 - asker), self.query(query));
        let deadline = now + self.patience(query);
        match self.hosts[asker].node.query(now, to, asked) {
            Ok(id) => self.ledger.ask(query, id, deadline),
            Err(refused) => self.ledger.break_with(format!("query {query} is refused: {:?}", refused.why)),
        }
    }

    fn open(&mut self, node: usize) {
        let (connection, _) = self.hosts[node].dials.remove(0);
        let port = 50_000 + u16::try_from(self.links.len()).unwrap_or(0);
        let accepted = self.hosts[1 - node].node.accept(self.now, address(node, port));
        let mut ends = [Some(connection), accepted.ok()];
        if node == 1 {
            ends.reverse();
        }
        self.links.push(Link::new(ends, self.patience_ends()));
        self.tell(node, Event::Connected(connection));
    }

    /// The next packet, or the end if there is none.
    fn deliver(&mut self, link: usize, to: usize) {
        let pending = self.to_write(&self.links[link], 1 - to);
        let packet = pending.first_chunk().map_or(0, |length| LENGTH + u32::from_be_bytes(*length) as usize);
        let count = packet.clamp(LENGTH.min(pending.len()), pending.len());
        if count == 0 || self.links[link].hangs {
            self.end(link, to);
        } else {
            let bytes = self.write(link, to, count);
            self.bring(link, to, &bytes);
        }
    }

    /// So many of the bytes that are to go to a node are written.
    fn write(&mut self, link: usize, to: usize, count: usize) -> Vec<u8> {
        let from = 1 - to;
        let bytes = self.to_write(&self.links[link], from)[..count].to_vec();
        if says_something(&bytes) {
            self.ledger.spoke(from);
        }
        if let Some(connection) = self.links[link].ends[from].filter(|_| count > 0) {
            self.tell(from, Event::Written(connection, count));
        }
        bytes
    }

    fn bring(&mut self, link: usize, to: usize, bytes: &[u8]) {
        if let Some(connection) = self.links[link].ends[to].filter(|_| !bytes.is_empty()) {
            // What a node does not wait for any more proves nothing to it.
            self.links[link].heard[to] |= self.ledger.waits(to);
            self.tell(to, Event::Received(connection, bytes));
            self.drain();
        }
    }

    /// A node is told that a connection has ended.
    fn end(&mut self, link: usize, to: usize) {
        let ending = self.links[link].endings[to].unwrap_or(Ending::Broken);
        if let Some(connection) = self.links[link].ends[to] {
            self.links[link].leave(to, ending);
            self.tell(to, Event::Closed(connection, ending));
        }
    }

    fn tick(&mut self) {
        let Some(deadline) = self.deadline() else { return };
        self.now = self.now.max(deadline);
        for node in 0..2 {
            let dials = &self.hosts[node].dials;
            let is_in_vain = dials.iter().any(|&(_, until)| until <= self.now);
            if is_in_vain || self.links.iter().any(|link| link.is_silent(node, self.now)) {
                self.ledger.fail_dial(node);
            }
            self.tell(node, Event::Tick);
        }
    }

    fn reply(&mut self, query: usize) {
        let (now, body) = (self.now, self.answer(query));
        let host = &mut self.hosts[1 - self.ledger.asked[query].asker];
        let Some(at) = host.waiting.iter().position(|&(waiting, _)| waiting == query) else { return };
        let (_, token) = host.waiting.remove(at);
        match host.node.reply(now, token, body) {
            Ok(()) => self.ledger.answer(query),
            Err(unsent) => self.ledger.break_with(format!("query {query} cannot be answered: {:?}", unsent.why)),
        }
    }

    fn cancel(&mut self, query: usize) {
        let asked = self.ledger.asked[query];
        let Some((id, _)) = asked.outstanding else { return };
        self.ledger.cancel(query);
        if self.hosts[asked.asker].node.cancel(self.now, id).is_err() {
            self.ledger.break_with(format!("query {query} has no verdict and cannot be cancelled"));
        }
    }

    fn cut(&mut self, link: usize, towards: [Fate; 2]) {
        let written = [0, 1].map(|to: usize| {
            let pending = self.to_write(&self.links[link], 1 - to).len();
            match towards[to] {
                Fate::Unwritten => Vec::new(),
                Fate::Half => self.write(link, to, pending / 2),
                Fate::Lost => {
                    self.write(link, to, pending);
                    Vec::new()
                }
                Fate::Delivered => self.write(link, to, pending),
            }
        });
        for (to, bytes) in written.iter().enumerate() {
            self.bring(link, to, bytes);
        }
        for node in 0..2 {
            self.links[link].endings[node] = Some(Ending::Broken);
            self.end(link, node);
        }
    }

    fn crash(&mut self, node: usize, spoken: bool) {
        for link in (0..self.links.len()).filter(|_| spoken) {
            let pending = self.to_write(&self.links[link], node).len();
            let bytes = self.write(link, 1 - node, pending);
            self.bring(link, 1 - node, &bytes);
        }
        for link in &mut self.links {
            link.leave(node, Ending::Broken);
        }
        self.ledger.crash(node);
        self.restart(node);
    }

    /// Both nodes are asked what they want until they want nothing more.
    pub(super) fn drain(&mut self) {
        loop {
            let mut is_quiet = true;
            for node in 0..2 {
                while let Some(action) = self.hosts[node].node.poll() {
                    is_quiet = false;
                    self.act(node, action);
                }
            }
            is_quiet &= !self.swallow();
            if is_quiet {
                return;
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Transport(TransportAction::Connect { connection, .. }) => {
                let until = self.patience_ends();
                self.hosts[node].dials.push((connection, until));
            }
            Action::Transport(TransportAction::Close { connection }) => self.close(node, connection),
            Action::Transport(TransportAction::Changed { .. }) | Action::Note(_) => {}
            Action::Service(service) => self.serve(node, service),
            Action::Deliver(delivery) => self.hear(node, delivery),
            Action::Stopped => self.ledger.break_with(format!("node {node} has stopped")),
        }
    }

    fn close(&mut self, node: usize, connection: ConnectionId) {
        self.hosts[node].dials.retain(|&(dial, _)| dial != connection);
        if let Some(link) = self.links.iter_mut().find(|link| link.ends[node] == Some(connection)) {
            link.leave(node, Ending::EndOfStream);
        }
    }

    /// The Lookup Service knows nothing new.
    fn serve(&mut self, node: usize, service: ServiceAction) {
        match service {
            ServiceAction::Lookup { lookup, .. } => self.tell(node, Event::LookupDone(lookup)),
            ServiceAction::Discover { discovery, .. } => self.tell(node, Event::Discovered(discovery, Vec::new())),
            ServiceAction::Publish { .. } => {}
            ServiceAction::Save { save, .. } => self.tell(node, Event::Saved(save)),
        }
    }

    fn hear(&mut self, node: usize, delivery: Delivery) {
        match delivery {
            Delivery::Query { body, token, .. } => {
                let query = usize::from(body.first().copied().unwrap_or(0)).min(1);
                if body != self.query(query).body() {
                    self.ledger.break_with(format!("query {query} is not what was asked"));
                }
                self.ledger.run(query, node);
                self.hosts[node].waiting.push((query, token));
            }
            Delivery::Withdrawn(incoming) => {
                self.hosts[node].waiting.retain(|(_, token)| token.incoming() != incoming);
            }
            Delivery::Verdict { tag, verdict, .. } => {
                let query = usize::try_from(tag).unwrap_or(0).min(1);
                let (now, expected) = (self.now, self.answer(query));
                self.ledger.end(query, node, now, &verdict, &expected);
            }
            _ => {}
        }
    }

    /// What is written to a connection that hangs is taken, and lost. Gives back whether there was any.
    fn swallow(&mut self) -> bool {
        let mut was_any = false;
        for link in (0..self.links.len()).filter(|&link| self.links[link].hangs).collect::<Vec<_>>() {
            for to in 0..2 {
                let pending = self.to_write(&self.links[link], 1 - to).len();
                if pending > 0 {
                    was_any = true;
                    self.write(link, to, pending);
                }
            }
        }
        was_any
    }
}

/// Whether a record, or part of one, is among these bytes, which begin with a packet.
fn says_something(mut bytes: &[u8]) -> bool {
    while let Some(length) = bytes.first_chunk() {
        if bytes.get(LENGTH + 1) == Some(&SEALED) {
            return true;
        }
        let packet = LENGTH + u32::from_be_bytes(*length) as usize;
        bytes = bytes.get(packet..).unwrap_or_default();
    }
    false
}
