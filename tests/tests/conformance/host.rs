//! A node on a thread of its own, over real sockets, and what its application was told.

use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use egtp::{
    Config, Delivery, Event, Identity, Instant, Node, NodeId, PeerRefusal, Query, QueryId, Refusal, ReplyToken,
    ServiceAction, SignedRecord, Strategies, Verdict,
};
use egtp_poll::Step;
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NO, TYPES, type_name};

use crate::drivers::{Handle, Kind, Loop, open};

/// Longer than anything takes that a test waits for, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at while nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a node's application was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Verdicts that nobody has taken yet, with their times.
    pub(crate) verdicts: Vec<(Instant, QueryId, Verdict)>,
    /// Soft timeouts, with their times.
    pub(crate) soft_timeouts: Vec<(Instant, QueryId)>,
    /// The bodies of the queries that a handler was given.
    pub(crate) asked: Vec<Vec<u8>>,
    /// Those that wait for an answer.
    pub(crate) kept: Vec<(ReplyToken, Vec<u8>)>,
    /// How many incoming queries were withdrawn.
    pub(crate) withdrawn: usize,
    /// Whether the node has stopped.
    pub(crate) stopped: bool,
}

/// A running node. Dropped, it is killed.
pub(crate) struct Host {
    number: u8,
    addresses: Vec<SocketAddr>,
    handle: Handle<Job>,
    thread: Option<JoinHandle<Told>>,
}

type Job = Box<dyn FnOnce(&mut Application, &mut Node, Instant) + Send>;
type Watch = Box<dyn FnMut(&mut Node, &mut Told) -> bool + Send>;

impl Host {
    /// A node that cannot be dialled.
    pub(crate) fn dialling(kind: Kind, number: u8) -> Self {
        Self::start(kind, number, Config::default(), vec![])
    }

    /// A node that can be dialled at an address which nobody else uses.
    pub(crate) fn listening(kind: Kind, number: u8) -> Self {
        Self::start(kind, number, Config::default(), vec![own_address()])
    }

    /// A node that can be dialled at this address.
    pub(crate) fn listening_at(kind: Kind, number: u8, address: SocketAddr) -> Self {
        Self::start(kind, number, Config::default(), vec![address])
    }

    /// A node that knows where the other one is.
    pub(crate) fn two(kinds: [Kind; 2]) -> (Self, Self) {
        let (asker, answerer) = (Self::dialling(kinds[0], 1), Self::listening(kinds[1], 2));
        asker.learn(2, answerer.address());
        (asker, answerer)
    }

    /// The number stands for an identity. Every type of a scene is served.
    pub(crate) fn start(kind: Kind, number: u8, config: Config, listen: Vec<SocketAddr>) -> Self {
        let (opened, outcome) = sync_channel(1);
        let run = move || {
            let mut turning = open(kind, identity(number), config.check().unwrap(), listen);
            opened.send((turning.local_addresses().to_vec(), turning.handle())).unwrap();
            for name in TYPES {
                turning.node().serve(type_name(name)).unwrap();
            }
            Application::default().run(&mut *turning)
        };
        let name = format!("{}, node {number} on {kind:?}", thread::current().name().unwrap_or_default());
        let thread = thread::Builder::new().name(name).spawn(run).unwrap();
        let (addresses, handle) = outcome.recv().expect("the driver opens");
        Self { number, addresses, handle, thread: Some(thread) }
    }

    pub(crate) fn id(&self) -> NodeId {
        id_of(self.number)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Teaches it that the node of this number is to be found at this address.
    #[track_caller]
    pub(crate) fn learn(&self, number: u8, address: SocketAddr) {
        let strategies = Strategies { addresses: vec![address], relays: vec![] };
        let record = SignedRecord::sign(&identity(number), 1, strategies).unwrap();
        self.with(move |node, now| node.learn(now, record)).unwrap();
    }

    /// Does something with the node, on its thread.
    #[track_caller]
    pub(crate) fn with<R: Send + 'static>(&self, act: impl FnOnce(&mut Node, Instant) -> R + Send + 'static) -> R {
        let (sender, result) = sync_channel(1);
        self.post(Box::new(move |_, node, now| sender.send(act(node, now)).unwrap()));
        result.recv_timeout(PATIENCE).expect("the node's thread does what is posted to it")
    }

    /// Waits until `look` sees what it looks for.
    #[track_caller]
    pub(crate) fn wait_for<R: Send + 'static>(
        &self,
        mut look: impl FnMut(&mut Node, &mut Told) -> Option<R> + Send + 'static,
    ) -> R {
        let (sender, seen) = sync_channel(1);
        let watch: Watch = Box::new(move |node, told| match look(node, told) {
            Some(found) => {
                sender.send(found).unwrap();
                true
            }
            None => false,
        });
        self.post(Box::new(move |application, _, _| application.watches.push(watch)));
        seen.recv_timeout(PATIENCE).expect("what is waited for happens while the node runs")
    }

    /// Waits until the node has exactly so many connections.
    #[track_caller]
    pub(crate) fn wait_for_connections(&self, count: usize) {
        self.wait_for(move |node, _| (node.usage().connections == count).then_some(()));
    }

    /// Asks something that is not refused.
    #[track_caller]
    pub(crate) fn ask(&self, to: NodeId, query: Query) -> QueryId {
        self.ask_all(to, vec![query])[0].unwrap()
    }

    /// Asks several things at once, before the loop turns.
    #[track_caller]
    pub(crate) fn ask_all(&self, to: NodeId, queries: Vec<Query>) -> Vec<Result<QueryId, Refusal>> {
        self.with(move |node, now| {
            queries.into_iter().map(|query| node.query(now, to, query).map_err(|unasked| unasked.why)).collect()
        })
    }

    /// Waits for the query's verdict, and takes it.
    #[track_caller]
    pub(crate) fn verdict(&self, query: QueryId) -> Verdict {
        self.verdict_and_time(query).1
    }

    /// Asks, waits for the verdict, takes it, and says how long it took.
    #[track_caller]
    pub(crate) fn timed_verdict(&self, to: NodeId, query: Query) -> (Duration, Verdict) {
        let (asked_at, query) = self.with(move |node, now| (now, node.query(now, to, query).unwrap()));
        let (told_at, verdict) = self.verdict_and_time(query);
        (told_at.saturating_since(asked_at), verdict)
    }

    /// Waits for the query's verdict, takes it, and says when it came.
    #[track_caller]
    pub(crate) fn verdict_and_time(&self, query: QueryId) -> (Instant, Verdict) {
        self.wait_for(move |_, told| {
            let index = told.verdicts.iter().position(|&(_, of, _)| of == query)?;
            let (at, _, verdict) = told.verdicts.remove(index);
            Some((at, verdict))
        })
    }

    /// Waits until the node has been told so many verdicts, and takes them in the order in which they came.
    #[track_caller]
    pub(crate) fn verdicts(&self, count: usize) -> Vec<(QueryId, Verdict)> {
        self.wait_for(move |_, told| (told.verdicts.len() >= count).then(|| mem::take(&mut told.verdicts)))
            .into_iter()
            .map(|(_, query, verdict)| (query, verdict))
            .collect()
    }

    /// Waits until the node keeps so many queries.
    #[track_caller]
    pub(crate) fn wait_for_kept(&self, count: usize) {
        self.wait_for(move |_, told| (told.kept.len() == count).then_some(()));
    }

    /// Answers the queries that are kept with the same bodies, in this order.
    #[track_caller]
    pub(crate) fn answer_kept(&self, order: Vec<usize>) {
        self.post(Box::new(move |application, node, now| {
            let mut kept: Vec<_> = mem::take(&mut application.told.kept).into_iter().map(Some).collect();
            for index in order {
                let (token, body) = kept[index].take().unwrap();
                node.reply(now, token, body).unwrap();
            }
        }));
    }

    /// Has the node's thread stand still until what is returned is dropped. Its system goes on.
    pub(crate) fn freeze(&self) -> SyncSender<()> {
        let (thaw, thawed) = sync_channel(0);
        let (sender, standing) = sync_channel(1);
        self.post(Box::new(move |_, _, _| {
            sender.send(()).unwrap();
            let _ = thawed.recv();
        }));
        standing.recv_timeout(PATIENCE).expect("the node's thread stands still");
        thaw
    }

    /// Ends the thread, whatever it is doing: its sockets are closed as they are when a process is killed.
    pub(crate) fn kill(mut self) -> Told {
        self.end(Box::new(|application, _, _| application.killed = true))
    }

    /// Shuts the node down and waits until it says that it has stopped.
    pub(crate) fn shut_down(mut self, within: Duration) -> Told {
        let told = self.end(Box::new(move |_, node, now| node.shut_down(now, within)));
        assert!(told.stopped);
        told
    }

    /// Waits until a node that is shutting down says that it has stopped.
    pub(crate) fn join(mut self) -> Told {
        let told = self.end(Box::new(|_, _, _| {}));
        assert!(told.stopped);
        told
    }

    fn end(&mut self, job: Job) -> Told {
        // A loop that has stopped already takes no jobs.
        let _ = self.handle.post(job);
        self.thread.take().unwrap().join().expect("the node's thread does not panic")
    }

    #[track_caller]
    fn post(&self, job: Job) {
        assert!(self.handle.post(job).is_ok(), "the node's loop has ended");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.handle.post(Box::new(|application, _, _| application.killed = true));
            let _ = thread.join();
        }
    }
}

/// What runs on the node's thread.
#[derive(Default)]
struct Application {
    told: Told,
    watches: Vec<Watch>,
    killed: bool,
}

impl Application {
    fn run(mut self, turning: &mut dyn Loop<Job>) -> Told {
        while !self.told.stopped && !self.killed {
            let step = if self.watches.is_empty() {
                Some(turning.next())
            } else {
                turning.next_before(turning.now() + LOOK_EVERY)
            };
            let now = turning.now();
            let node = turning.node();
            match step {
                Some(Step::Posted(job)) => job(&mut self, node, now),
                Some(Step::Deliver(delivery)) => self.told.take(node, now, delivery),
                Some(Step::Service(action)) => serve(node, now, &action),
                Some(Step::Stopped) => self.told.stopped = true,
                Some(Step::Note(_)) | None => {}
            }
            self.watches.retain_mut(|watch| !watch(node, &mut self.told));
        }
        self.told
    }
}

impl Told {
    fn take(&mut self, node: &mut Node, now: Instant, delivery: Delivery) {
        match delivery {
            Delivery::Query { type_name, body, token, .. } => {
                self.asked.push(body.clone());
                // An answer that was not taken has nobody left who waits for it.
                match type_name.as_str() {
                    ECHO => _ = node.reply(now, token, body),
                    EMPTY => _ = node.reply(now, token, vec![]),
                    KEEP => self.kept.push((token, body)),
                    NO => _ = node.refuse(now, token, PeerRefusal::Declined),
                    _ => {}
                }
            }
            Delivery::Withdrawn(incoming) => {
                self.withdrawn += 1;
                self.kept.retain(|(token, _)| token.incoming() != incoming);
            }
            Delivery::SoftTimeout { query, .. } => self.soft_timeouts.push((now, query)),
            Delivery::Verdict { query, verdict, .. } => self.verdicts.push((now, query, verdict)),
            _ => {}
        }
    }

    /// How often a handler was given this body.
    pub(crate) fn runs(&self, body: &[u8]) -> usize {
        self.asked.iter().filter(|asked| asked.as_slice() == body).count()
    }
}

/// Services that know nothing and store everything.
fn serve(node: &mut Node, now: Instant, action: &ServiceAction) {
    match *action {
        ServiceAction::Lookup { lookup, .. } => node.handle(now, Event::LookupDone(lookup)),
        ServiceAction::Discover { discovery, .. } => node.handle(now, Event::Discovered(discovery, vec![])),
        ServiceAction::Save { save, .. } => node.handle(now, Event::Saved(save)),
        ServiceAction::Publish { .. } => {}
    }
}

/// Who has this number.
pub(crate) fn id_of(number: u8) -> NodeId {
    identity(number).node_id()
}

fn identity(number: u8) -> Identity {
    Identity::from_seed(&[number; 32])
}

/// A loopback address that no other test binds a port of, where the system has more than one: a port that is free for a
/// moment, since its node was killed, is not given to somebody else.
pub(crate) fn own_address() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let ip = if cfg!(target_os = "linux") {
        let [_, _, high, low] = (TAKEN.fetch_add(1, Ordering::Relaxed) + 256).to_be_bytes();
        Ipv4Addr::new(127, 64, high, low)
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::new(IpAddr::V4(ip), 0)
}
