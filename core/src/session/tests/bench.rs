//! Two sessions with crossed keys, paths between them, and a tiny application at each end.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroizing;

use super::frames::describe;
use crate::admission::{Account, Charges};
use crate::config::Limits;
use crate::id::{ConnectionId, MessageId, NodeId, Nonce};
use crate::query::TypeName;
use crate::session::{
    Agreement, Arrived, Established, GivenUp, Happening, OpenError, PathId, Progress, RuleBroken, Session,
};
use crate::slab::{Key, Slab};
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::{Frame, parse_frame};
use crate::wire::message::{Kind, Message};
use crate::wire::packet::{SEALED_HEADER, SessionId};
use crate::wire::reader::Reader;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SEC: Duration = Duration::from_secs(1);

/// The end that has initiated the session, and the other.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// What an end was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Heard {
    Asked(u64, Vec<u8>),
    Told(u64, Vec<u8>),
    Replied(u64, ReplyCode, Vec<u8>),
    Forgotten(u64),
    Refused(u64, RefuseCode),
    NoRoom(u64),
    Withdrawn(u64),
    Repeated,
    Unexpected,
    Broken(u64, [u8; 128]),
}

/// A sealed packet on its way.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) counter: u64,
    pub(super) bytes: Vec<u8>,
    /// How many bytes the driver has taken.
    pub(super) taken: usize,
}

/// A connection. What an end has sealed for it waits, is taken by the driver, and is then in flight to the other end.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) id: PathId,
    /// Who has dialled it. The first packet of it is at most 4,096 bytes.
    pub(super) dialler: usize,
    pub(super) is_fresh: bool,
    pub(super) open: [bool; 2],
    pub(super) waiting: [VecDeque<Sealed>; 2],
    pub(super) flight: [VecDeque<Sealed>; 2],
}

/// What becomes of a query that has arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Policy {
    /// A handler has it until the test answers.
    Take,
    /// It is answered at once, with its own body.
    Echo,
    Refuse(RefuseCode),
}

pub(super) struct End {
    pub(super) session: Session,
    pub(super) charges: Charges,
    pub(super) all: Charges,
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    pub(super) heard: Vec<Heard>,
    /// What has a number, by the node's name for it.
    pub(super) asked: BTreeMap<Key, (u64, MessageId)>,
    /// What a handler has, by the node's name for it.
    pub(super) running: BTreeMap<Key, (u64, MessageId)>,
    /// Over which path it speaks, if not over the newest.
    pub(super) main: Option<usize>,
    queries: Slab<()>,
    incoming: Slab<()>,
}

pub(super) struct Bench {
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) paths: Vec<Path>,
    connections: Slab<()>,
}

impl End {
    fn new(initiated: bool, most_outstanding: usize, now: Instant) -> Self {
        let [mine, other] = if initiated { [1, 2] } else { [2, 1] };
        let keys = Established {
            send_key: Zeroizing::new([mine; 32]),
            receive_key: Zeroizing::new([other; 32]),
            handshake_hash: [3; 32],
        };
        let (id, peer_id) = (SessionId([mine; 8]), SessionId([other; 8]));
        let agreement = Agreement { id, peer_id, initiated, generation: 1, peer_clock: now, most_outstanding, keys };
        Self {
            session: Session::new(agreement, now),
            charges: Charges::default(),
            all: Charges::default(),
            limits: Limits::default(),
            policy: Policy::Take,
            heard: Vec::new(),
            asked: BTreeMap::new(),
            running: BTreeMap::new(),
            main: None,
            queries: Slab::new(),
            incoming: Slab::new(),
        }
    }

    /// The session, and the account that is handed to its calls.
    pub(super) fn parts(&mut self) -> (&mut Session, Account<'_>) {
        (&mut self.session, Account { of_peer: &mut self.charges, of_all: &mut self.all, limits: &self.limits })
    }

    pub(super) fn ask(&mut self, now: Instant, message: Message, notice: bool, deadline: Instant) -> u64 {
        assert!(self.session.can_ask(), "no number may be given");
        let (key, id) = (self.queries.insert(()), message.id());
        let number = self.session.ask(now, key, message, notice, deadline);
        self.asked.insert(key, (number, id));
        number
    }

    pub(super) fn number_of(&self, query: Key) -> u64 {
        self.asked[&query].0
    }

    /// Ends a query under its number; what is withdrawn is for whoever has the paths.
    pub(super) fn give_up(&mut self, number: u64, cancelled: bool) -> (Progress, GivenUp) {
        let progress = self.session.progress(number).expect("it has a number");
        let (session, mut account) = self.parts();
        let given_up = session.give_up(number, cancelled, &mut account).expect("it has a number");
        self.asked.retain(|_, (asked, _)| *asked != number);
        (progress, given_up)
    }

    pub(super) fn answer(&mut self, now: Instant, number: u64, code: ReplyCode, body: &[u8]) -> bool {
        let id = self.running.values().find(|(running, _)| *running == number).map(|(_, id)| *id);
        self.running.retain(|_, (running, _)| *running != number);
        let id = id.unwrap_or(MessageId::from_bytes([0; 20]));
        let (session, mut account) = self.parts();
        session.answer(now, number, code, reply(id, body), &mut account)
    }

    pub(super) fn refuse_running(&mut self, number: u64, code: RefuseCode) -> bool {
        self.running.retain(|_, (running, _)| *running != number);
        let (session, mut account) = self.parts();
        session.refuse_running(number, code, &mut account)
    }

    pub(super) fn tick(&mut self, now: Instant) {
        let (session, mut account) = self.parts();
        let withdrawn = session.tick(now, &mut account);
        for key in withdrawn {
            self.withdrawn(key);
        }
        self.check(now);
    }

    /// What must hold after every step.
    pub(super) fn check(&self, now: Instant) {
        self.session.check();
        let Charges { assembly, replies, incoming, long, entries } = self.charges;
        assert_eq!(self.session.charged(), [assembly, replies, incoming, long, entries]);
        assert_eq!(self.charges, self.all);
        assert!(self.session.deadline(now).is_none_or(|due| due > now));
    }

    fn withdrawn(&mut self, key: Key) {
        let (number, _) = self.running.remove(&key).expect("a handler is told once");
        self.heard.push(Heard::Withdrawn(number));
    }

    fn happened(&mut self, now: Instant, happening: Happening<'_>) {
        match happening {
            Happening::Asked { number, notice, until, arrived } => self.asks(now, number, notice, until, &arrived),
            Happening::Replied { query, code, arrived, .. } => self.replied(query, code, &arrived),
            Happening::Forgotten { number } => {
                self.heard.push(Heard::Forgotten(number));
                self.give_up(number, false);
            }
            Happening::Refused { query, code, .. } => {
                let number = self.number_of(query);
                self.heard.push(Heard::Refused(number, code));
                self.give_up(number, false);
            }
            Happening::NoRoom { number } => {
                self.heard.push(Heard::NoRoom(number));
                self.give_up(number, true);
            }
            Happening::Withdrawn(key) => self.withdrawn(key),
            Happening::Repeated => self.heard.push(Heard::Repeated),
            Happening::Unexpected => self.heard.push(Heard::Unexpected),
            Happening::Broken { base, taken } => self.heard.push(Heard::Broken(base, *taken)),
        }
    }

    fn asks(&mut self, now: Instant, number: u64, notice: bool, until: Instant, arrived: &Arrived<'_>) {
        assert!(until > now && arrived.heading().is_some());
        let body = arrived.body.to_vec();
        let (key, policy) = (self.incoming.insert(()), self.policy);
        let id = MessageId::of_encoding(&arrived.heading, &arrived.body);
        let (session, mut account) = self.parts();
        if let Policy::Refuse(code) = policy {
            session.refuse(number, code, 7, until, &mut account);
        } else if notice {
            session.take_notice(number);
            self.heard.push(Heard::Told(number, body));
        } else {
            session.take_query(number, key, until, &mut account);
            self.running.insert(key, (number, id));
            self.heard.push(Heard::Asked(number, body.clone()));
            if policy == Policy::Echo {
                self.answer(now, number, ReplyCode::Answer, &body);
            }
        }
    }

    fn replied(&mut self, query: Key, code: ReplyCode, arrived: &Arrived<'_>) {
        let (number, id) = self.asked[&query];
        assert_eq!(arrived.heading().and_then(|heading| heading.reference), Some(id), "it refers to the query");
        self.heard.push(Heard::Replied(number, code, arrived.body.to_vec()));
        self.give_up(number, false);
    }
}

impl Bench {
    /// Two ends without a path.
    pub(super) fn apart() -> Self {
        Self::with_most_outstanding(4096)
    }

    pub(super) fn with_most_outstanding(most: usize) -> Self {
        let now = Instant::ZERO + 1000 * SEC;
        let ends = [End::new(true, most, now), End::new(false, most, now)];
        Self { now, ends, paths: Vec::new(), connections: Slab::new() }
    }

    /// Two ends that have heard each other over one path, and wait for nothing.
    pub(super) fn new() -> Self {
        let mut bench = Self::apart();
        bench.connect();
        bench.rest();
        bench
    }

    /// Opens a path on which nobody was heard yet.
    pub(super) fn open(&mut self, dialler: usize) -> usize {
        let id = PathId::Stream(ConnectionId(self.connections.insert(())));
        let (waiting, flight) = Default::default();
        self.paths.push(Path { id, dialler, is_fresh: true, open: [true; 2], waiting, flight });
        self.paths.len() - 1
    }

    /// Opens a path over which the WELCOME of the session has come.
    pub(super) fn connect(&mut self) -> usize {
        let path = self.open(A);
        let (now, id) = (self.now, self.paths[path].id);
        self.ends[A].session.hear(now, id, true, Some(10 * MS));
        path
    }

    /// Two ends that have heard each other over two paths, of which they speak over the second, and wait for nothing.
    pub(super) fn with_two_paths() -> Self {
        let mut bench = Self::new();
        bench.join();
        bench.rest();
        bench
    }

    /// Opens a path that both ends join.
    pub(super) fn join(&mut self) -> usize {
        let path = self.open(A);
        for (end, short) in [(A, true), (B, false)] {
            self.ends[end].session.join(self.paths[path].id, short);
        }
        path
    }

    /// Lets everything happen that happens without anybody's doing, until nothing is owed.
    pub(super) fn rest(&mut self) {
        self.settle();
        self.wait(25 * MS);
        self.ends.iter_mut().for_each(|end| end.heard.clear());
    }

    /// The path over which an end speaks: the newest on which it has heard the other.
    pub(super) fn main(&self, end: usize) -> Option<usize> {
        let is_heard = |path: &Path| path.open[end] && self.ends[end].session.is_heard_on(path.id);
        self.ends[end].main.or_else(|| self.paths.iter().rposition(is_heard))
    }

    /// Seals one record for a path, if there is anything to say on it. Gives back its counter.
    pub(super) fn seal_one(&mut self, end: usize, path: usize, leave_out: bool) -> Option<u64> {
        let (now, id, main) = (self.now, self.paths[path].id, self.main(end) == Some(path));
        if !self.paths[path].open[end] {
            return None;
        }
        let mut bytes = Vec::new();
        let (session, mut account) = self.ends[end].parts();
        let counter = session.seal(now, id, main, leave_out, &mut account, &mut bytes);
        self.ends[end].check(now);
        assert_eq!(counter.is_some(), !bytes.is_empty());
        if counter.is_some() && !self.ends[end].session.is_heard_on(id) {
            assert_eq!(self.words(end, &bytes), "PING", "nothing else goes where nobody was heard");
        }
        self.paths[path].waiting[end].push_back(Sealed { counter: counter?, bytes, taken: 0 });
        counter
    }

    /// Seals whatever an end has to say, on each path.
    pub(super) fn seal(&mut self, end: usize) -> bool {
        let mut any = false;
        for path in 0..self.paths.len() {
            while self.seal_one(end, path, false).is_some() {
                any = true;
            }
        }
        any
    }

    /// The driver takes so many bytes of what waits on a path.
    pub(super) fn take(&mut self, end: usize, path: usize, mut most: usize) {
        let now = self.now;
        while let Some(first) = self.paths[path].waiting[end].front_mut().filter(|_| most > 0) {
            let bytes = most.min(first.bytes.len() - first.taken);
            (most, first.taken) = (most - bytes, first.taken + bytes);
            let (counter, is_whole) = (first.counter, first.taken == first.bytes.len());
            self.ends[end].session.begun(counter, now);
            if is_whole {
                self.ends[end].session.left(counter, now);
                let path = &mut self.paths[path];
                let sealed = path.waiting[end].pop_front().unwrap();
                let is_first = path.dialler == end && core::mem::take(&mut path.is_fresh);
                assert!(sealed.bytes.len() <= if is_first { 4_096 } else { 65_535 });
                path.flight[end].push_back(sealed);
            }
            self.ends[end].check(now);
        }
    }

    /// Seals and hands over whatever an end has to say.
    pub(super) fn send(&mut self, end: usize) -> bool {
        let any = self.seal(end);
        for path in 0..self.paths.len() {
            self.take(end, path, usize::MAX);
        }
        any
    }

    /// The first packet that is in flight from an end arrives at the other.
    pub(super) fn deliver_one(&mut self, from: usize, path: usize) -> Option<u64> {
        let sealed = self.paths[path].flight[from].pop_front()?;
        if self.paths[path].open[1 - from] {
            self.arrives(1 - from, path, &sealed.bytes).expect("it opens").expect("it breaks no rule");
        }
        Some(sealed.counter)
    }

    /// Everything in flight from an end arrives at the other.
    pub(super) fn deliver(&mut self, from: usize) -> bool {
        let mut any = false;
        for path in 0..self.paths.len() {
            while self.deliver_one(from, path).is_some() {
                any = true;
            }
        }
        any
    }

    /// A packet arrives at an end.
    pub(super) fn arrives(
        &mut self,
        at: usize,
        path: usize,
        packet: &[u8],
    ) -> Result<Result<(), RuleBroken>, OpenError> {
        let (now, id) = (self.now, self.paths[path].id);
        let end = &mut self.ends[at];
        let mut room = Vec::new();
        let mut reader = Reader::new(end.session.open(now, id, false, packet, &mut room)?);
        while !reader.is_empty() {
            let frame = parse_frame(&mut reader).expect("it is well-formed");
            let (session, mut account) = end.parts();
            match session.take_frame(now, frame, &mut account) {
                Ok(Some(happening)) => end.happened(now, happening),
                Ok(None) => {}
                Err(broken) => return Ok(Err(broken)),
            }
            end.check(now);
        }
        end.session.close_record(now);
        end.check(now);
        Ok(Ok(()))
    }

    /// A packet with these frames, as the peer of an end would seal it, arrives there.
    pub(super) fn forge(&mut self, from: usize, path: usize, frames: &[Frame<'_>]) -> Result<(), RuleBroken> {
        let mut packet = vec![0; SEALED_HEADER];
        frames.iter().for_each(|frame| frame.put(&mut packet));
        let session = &mut self.ends[from].session;
        session.sealer.seal(session.peer_id, &mut packet, 0).unwrap();
        self.arrives(1 - from, path, &packet).expect("it opens")
    }

    /// The same, where no rule may be broken.
    pub(super) fn forges(&mut self, from: usize, path: usize, frames: &[Frame<'_>]) {
        self.forge(from, path, frames).expect("it breaks no rule");
    }

    /// The first packet that is in flight from an end disappears, and the path goes on.
    pub(super) fn steal(&mut self, from: usize, path: usize) -> Sealed {
        self.paths[path].flight[from].pop_front().expect("something is in flight")
    }

    /// Both ends say what they have to say, and it arrives, until there is nothing more; no time passes.
    pub(super) fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 10_000, "they never stop");
            let [a, b] = [A, B].map(|end| self.send(end));
            if !(a | b | self.deliver(A) | self.deliver(B)) {
                return;
            }
        }
    }

    /// Time passes, and whatever is due is done; nothing is sealed before it is.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = self.ends.iter().filter_map(|end| end.session.deadline(self.now)).min();
            self.now = due.map_or(end, |due| due.min(end));
            self.tick();
            self.settle();
            if self.now == end {
                return;
            }
        }
    }

    /// Time passes, and nobody does anything.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let now = self.now;
        self.ends.iter_mut().for_each(|end| end.tick(now));
    }

    /// A path ends for one end. What it had not sent is gone, and what comes finds nobody.
    pub(super) fn cut_at(&mut self, end: usize, path: usize) {
        if core::mem::take(&mut self.paths[path].open[end]) {
            self.paths[path].waiting[end].clear();
            self.ends[end].session.path_ended(self.paths[path].id);
            self.ends[end].check(self.now);
        }
    }

    /// A path ends for both, with everything on it.
    pub(super) fn cut(&mut self, path: usize) {
        self.cut_at(A, path);
        self.cut_at(B, path);
        self.paths[path].flight = Default::default();
    }

    /// Asks with a body of this length.
    pub(super) fn ask(&mut self, end: usize, length: usize) -> u64 {
        self.ask_until(end, length, 3000 * SEC)
    }

    pub(super) fn ask_until(&mut self, end: usize, length: usize, timeout: Duration) -> u64 {
        let now = self.now;
        self.ends[end].ask(now, query(Kind::Query, &body(length)), false, now + timeout)
    }

    pub(super) fn notify(&mut self, end: usize, length: usize) -> u64 {
        let now = self.now;
        self.ends[end].ask(now, query(Kind::Notice, &body(length)), true, now + 3000 * SEC)
    }

    /// A query has its verdict: what of it has not begun to leave does not.
    pub(super) fn give_up(&mut self, end: usize, number: u64, cancelled: bool) -> Progress {
        let (progress, given_up) = self.ends[end].give_up(number, cancelled);
        self.withdraw(end, &given_up);
        self.ends[end].check(self.now);
        progress
    }

    pub(super) fn withdraw(&mut self, end: usize, given_up: &GivenUp) {
        for &(id, counter) in &given_up.withdrawn {
            let path = self.paths.iter_mut().find(|path| path.id == id).expect("it is open");
            let waiting = &mut path.waiting[end];
            let at = waiting.iter().position(|sealed| sealed.counter == counter).expect("it waits there");
            assert_eq!(waiting.remove(at).map(|sealed| sealed.taken), Some(0), "no byte of it has left");
        }
    }

    pub(super) fn answer(&mut self, end: usize, number: u64, length: usize) -> bool {
        let now = self.now;
        self.ends[end].answer(now, number, ReplyCode::Answer, &body(length))
    }

    pub(super) fn progress(&self, end: usize, number: u64) -> Option<Progress> {
        self.ends[end].session.progress(number)
    }

    /// What an end was told since this was last asked.
    pub(super) fn heard(&mut self, end: usize) -> Vec<Heard> {
        core::mem::take(&mut self.ends[end].heard)
    }

    /// What is in flight on a path, in words.
    pub(super) fn flight(&self, end: usize, path: usize) -> Vec<String> {
        self.paths[path].flight[end].iter().map(|sealed| self.words(end, &sealed.bytes)).collect()
    }

    /// What an end says now on a path, in words; it arrives.
    pub(super) fn says(&mut self, end: usize, path: usize) -> Vec<String> {
        self.send(end);
        let words = self.flight(end, path);
        self.deliver(end);
        words
    }

    /// An end asks whether anybody is there, over a path.
    pub(super) fn ping(&mut self, end: usize, path: usize) {
        self.ends[end].session.lanes.get_mut(self.paths[path].id).expect("it is open").ask();
    }

    /// The frames of a packet that the other end has not opened yet.
    pub(super) fn frames<T>(&self, from: usize, packet: &[u8], of: impl Fn(Frame<'_>) -> T) -> Vec<T> {
        let mut room = Vec::new();
        let (_, plaintext) = self.ends[1 - from].session.opener.clone().open(packet, &mut room).expect("it opens");
        let mut reader = Reader::new(plaintext);
        let mut frames = Vec::new();
        while !reader.is_empty() {
            frames.push(of(parse_frame(&mut reader).unwrap()));
        }
        frames
    }

    fn words(&self, from: usize, packet: &[u8]) -> String {
        self.frames(from, packet, describe).join(", ")
    }
}

pub(super) fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

pub(super) fn query(kind: Kind, body: &[u8]) -> Message {
    Message {
        kind,
        recipient: NodeId::from_bytes([1; 20]),
        nonce: Nonce::from_bytes([2; 20]),
        reference: None,
        type_name: TypeName::new("t").unwrap(),
        body: body.to_vec(),
    }
}

pub(super) fn reply(id: MessageId, body: &[u8]) -> Message {
    Message { reference: Some(id), ..query(Kind::Reply, body) }
}
