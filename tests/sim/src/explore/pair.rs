//! Two nodes, the connections between them, and what they were asked.

use std::net::SocketAddr;
use std::time::Duration;

use egtp::{
    CheckedConfig, ConnectionId, Identity, Instant, Node, NodeId, Query, ReplyToken, SignedRecord, Stored, Strategies,
    Timers, UnixTime, internal,
};
use sha1::{Digest as _, Sha1};

use super::ledger::Ledger;
use super::link::Link;
use super::{Fate, Happening, Setting};
use crate::scene::{KEEP, type_name};

/// Longer than anything takes, and shorter.
const PATIENT: Duration = Duration::from_secs(300);
const HURRIED: Duration = Duration::from_millis(50);

/// The body of a long message: more than a record takes.
const LONG: usize = 20_000;

/// A small world.
pub(super) struct Pair {
    pub(super) setting: Setting,
    pub(super) now: Instant,
    pub(super) hosts: [Host; 2],
    /// In the order in which they were opened, those included that are over.
    pub(super) links: Vec<Link>,
    pub(super) ledger: Ledger,
    pub(super) faults: usize,
}

/// Where a node lives.
pub(super) struct Host {
    pub(super) node: Node,
    lives: u8,
    /// Dials that were neither opened nor refused, and until when they may be, the oldest first.
    pub(super) dials: Vec<(ConnectionId, Instant)>,
    /// What waits at its handlers.
    pub(super) waiting: Vec<(usize, ReplyToken)>,
}

impl Pair {
    pub(super) fn new(setting: Setting) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut pair = Self {
            setting,
            now,
            hosts: [0, 1].map(|number| Host::new(&setting, number, 0, now)),
            links: Vec::new(),
            ledger: Ledger::new(&setting),
            faults: 0,
        };
        pair.drain();
        if setting.acquainted {
            pair.meet();
        }
        pair
    }

    /// Node 0 says something, and all is quiet again.
    fn meet(&mut self) {
        let (to, now) = (self.id(1), self.now);
        let said = self.hosts[0].node.notify(now, to, type_name(KEEP), Vec::new());
        if said.is_err() {
            self.ledger.break_with("a node that has nothing to do says nothing".into());
        }
        self.drain();
        let quiet = now + Duration::from_secs(1);
        while let Some(happening) = self.undisturbed().or_else(|| self.tick_before(quiet)) {
            self.play(happening);
        }
    }

    pub(super) fn id(&self, number: usize) -> NodeId {
        self.hosts[number].node.id()
    }

    /// Until when a node waits that begins now to wait for a dial, or for the first word on a connection.
    pub(super) fn patience_ends(&self) -> Instant {
        let config = CheckedConfig::default();
        let Timers { connect, authenticate, .. } = &config.config().timers;
        self.now + *connect.min(authenticate)
    }

    /// A node is a new process, with the same key.
    pub(super) fn restart(&mut self, number: usize) {
        let lives = self.hosts[number].lives + 1;
        self.hosts[number] = Host::new(&self.setting, number, lives, self.now);
    }

    pub(super) fn query(&self, number: usize) -> Query {
        let tag = u64::try_from(number).unwrap_or(u64::MAX);
        Query::new(type_name(KEEP), self.body(number, b'?')).hard_timeout(self.patience(number)).tag(tag)
    }

    /// How long a query waits.
    pub(super) fn patience(&self, number: usize) -> Duration {
        if number == 0 && self.setting.hurried { HURRIED } else { PATIENT }
    }

    pub(super) fn answer(&self, number: usize) -> Vec<u8> {
        self.body(number, b'!')
    }

    /// It begins with the number of the query.
    fn body(&self, number: usize, filling: u8) -> Vec<u8> {
        let length = if number == 0 && self.setting.long { LONG } else { 8 };
        let mut body = vec![filling; length];
        body[0] = u8::try_from(number).unwrap_or(u8::MAX);
        body
    }

    pub(super) fn to_write(&self, link: &Link, from: usize) -> &[u8] {
        link.ends[from].map_or(&[], |connection| self.hosts[from].node.to_write(connection))
    }

    /// Whether there is something that this connection can bring a node.
    fn brings(&self, link: &Link, to: usize) -> bool {
        let is_spoken_to = !link.hangs && !self.to_write(link, 1 - to).is_empty();
        link.ends[to].is_some() && (is_spoken_to || link.endings[to].is_some())
    }

    /// The first of both deadlines.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.hosts.iter().filter_map(|host| host.node.deadline()).min()
    }

    fn tick_before(&self, until: Instant) -> Option<Happening> {
        self.deadline().filter(|&deadline| deadline <= until).map(|_| Happening::Tick)
    }

    /// Whether nothing is left to be seen: every query is over, and neither node has anything to say or to do.
    pub(super) fn is_final(&self) -> bool {
        let is_quiet = |host: &Host| host.waiting.is_empty() && host.dials.is_empty();
        let says_nothing = |link: &Link| [0, 1].iter().all(|&node| self.to_write(link, node).is_empty());
        self.ledger.is_over() && self.hosts.iter().all(is_quiet) && self.links.iter().all(says_nothing)
    }

    /// Everything that can happen next.
    pub(super) fn choices(&self, faults: usize) -> Vec<Happening> {
        if self.is_final() {
            return Vec::new();
        }
        let mut choices: Vec<Happening> = self.deliveries().collect();
        choices.extend(self.opens().map(Happening::Open));
        choices.extend(self.ledger.next_to_ask().map(Happening::Ask));
        choices.extend(self.hosts.iter().flat_map(|host| &host.waiting).map(|&(query, _)| Happening::Answer(query)));
        choices.extend(self.deadline().map(|_| Happening::Tick));
        if self.faults < faults {
            self.add_faults(&mut choices);
        }
        choices
    }

    /// What happens next where nothing goes wrong and nobody is slow; nothing if that takes time. What hangs goes on to hang.
    pub(super) fn undisturbed(&self) -> Option<Happening> {
        let hangs =
            |happening: &Happening| matches!(happening, Happening::Deliver { link, .. } if self.links[*link].hangs);
        let delivery = self.deliveries().find(|happening| !hangs(happening));
        let open = || self.opens().next().map(Happening::Open);
        let answer = || {
            let mut waiting = self.hosts.iter().flat_map(|host| &host.waiting);
            waiting.next().map(|&(query, _)| Happening::Answer(query))
        };
        delivery.or_else(open).or_else(answer)
    }

    fn deliveries(&self) -> impl Iterator<Item = Happening> {
        let ends = self.links.iter().enumerate().flat_map(|(number, link)| [(number, link, 0), (number, link, 1)]);
        ends.filter(|&(_, link, to)| self.brings(link, to)).map(|(link, _, to)| Happening::Deliver { link, to })
    }

    fn opens(&self) -> impl Iterator<Item = usize> {
        [0, 1].into_iter().filter(|&number: &usize| !self.hosts[number].dials.is_empty())
    }

    fn add_faults(&self, choices: &mut Vec<Happening>) {
        choices.extend(self.opens().map(Happening::Refuse));
        let outstanding = [0, 1].into_iter().filter(|&query: &usize| self.ledger.asked[query].outstanding.is_some());
        choices.extend(outstanding.map(Happening::Cancel));
        for (number, link) in self.links.iter().enumerate().filter(|(_, link)| !link.hangs && !link.is_over()) {
            let has_both = link.ends.iter().all(Option::is_some);
            if has_both {
                choices.extend(self.fates(link).into_iter().map(|towards| Happening::Cut { link: number, towards }));
            }
            choices.push(Happening::Hang(number));
        }
        for node in 0..2 {
            choices.push(Happening::Crash { node, spoken: false });
            if self.links.iter().any(|link| self.brings(link, 1 - node)) {
                choices.push(Happening::Crash { node, spoken: true });
            }
        }
    }

    /// What can become of what is to be written when a connection breaks. If both nodes have something to write, not everything is
    /// combined with everything.
    fn fates(&self, link: &Link) -> Vec<[Fate; 2]> {
        use Fate::{Delivered, Half, Lost, Unwritten};
        let [first, second] = [0, 1].map(|to| self.brings(link, to));
        match (first, second) {
            (false, false) => vec![[Unwritten; 2]],
            (true, false) => [Unwritten, Lost, Half, Delivered].map(|fate| [fate, Unwritten]).to_vec(),
            (false, true) => [Unwritten, Lost, Half, Delivered].map(|fate| [Unwritten, fate]).to_vec(),
            (true, true) => {
                let alike = [Unwritten, Lost, Half, Delivered].map(|fate| [fate; 2]);
                [&alike[..], &[[Delivered, Lost], [Lost, Delivered]]].concat()
            }
        }
    }

    /// Equal for states from which the same follows.
    pub(super) fn key(&self) -> [u8; 20] {
        let mut digest = Sha1::new();
        let mut add = |what: &dyn std::fmt::Debug| digest.update(format!("{what:?};"));
        for host in &self.hosts {
            let Host { node, lives, dials, waiting } = host;
            add(&(internal::digest(node), node.usage(), node.deadline(), lives, dials, waiting));
        }
        add(&(self.now, &self.links, &self.ledger, self.faults));
        for link in &self.links {
            add(&[0, 1].map(|node| self.to_write(link, node)));
        }
        digest.finalize().into()
    }
}

impl Host {
    fn new(setting: &Setting, number: usize, lives: u8, now: Instant) -> Self {
        let mut seed = [lives; 32];
        seed[0] = u8::try_from(number).unwrap_or(u8::MAX);
        seed[1..9].copy_from_slice(&setting.seed.to_be_bytes());
        let config = CheckedConfig::default();
        let mut node = Node::new(config, identity(number), seed, Stored::default(), now, UnixTime::default());
        let served = node.serve(type_name(KEEP));
        debug_assert_eq!(served, Ok(()));
        // Node 0 always asks.
        if number == 0 || setting.mutual {
            let record = record(1 - number);
            let learned = node.learn(now, record);
            debug_assert_eq!(learned, Ok(()));
        }
        Self { node, lives, dials: Vec::new(), waiting: Vec::new() }
    }
}

fn identity(number: usize) -> Identity {
    Identity::from_seed(&[u8::try_from(number + 1).unwrap_or(u8::MAX); 32])
}

/// Where a node listens, or where it dials from.
pub(super) fn address(number: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(number + 1).unwrap_or(u8::MAX)], port))
}

fn record(number: usize) -> SignedRecord {
    let strategies = Strategies { addresses: vec![address(number, 4000)], relays: Vec::new() };
    SignedRecord::sign(&identity(number), 1, strategies).expect("one address is no long record")
}
