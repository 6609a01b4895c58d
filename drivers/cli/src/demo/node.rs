//! A node of the demonstration: a driver on a thread of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use egtp::{
    Delivery, Event, Identity, Instant, NodeId, Query, ReplyToken, ServiceAction, SignedRecord, Strategies, TypeName,
    Verdict,
};
use egtp_poll::{Driver, Handle, Setup, Step};
use tracing::debug;

use crate::lookup;

/// How late the type `slow` is answered.
pub(super) const SLOWNESS: Duration = Duration::from_millis(600);

/// Nothing of the demonstration takes this long, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has gone wrong, in words.
pub(super) type Problem = Box<dyn Error>;

/// The demonstration's Lookup Service: what everybody has published.
#[derive(Clone, Default)]
pub(super) struct Directory(Arc<Mutex<BTreeMap<NodeId, SignedRecord>>>);

impl Directory {
    pub(super) fn publish(&self, record: SignedRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(record.node_id(), record);
    }

    fn find(&self, id: NodeId) -> Option<SignedRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

/// What a node tells the story.
pub(super) enum Told {
    /// It listens there, and has published this.
    Listening(SocketAddr, SignedRecord),
    /// It was asked something of this type.
    Asked(TypeName),
    /// A query has had its soft timeout, so long after it was asked.
    SoftTimeout(Duration),
    /// The query of this number has ended, so long after it was asked.
    Verdict(u64, Verdict, Duration),
    /// Something of the system's failed.
    Broken(String),
}

enum Order {
    Ask(u64, NodeId, Query),
    Reply(ReplyToken, Vec<u8>),
    ShutDown,
    Vanish,
}

/// A running node.
pub(super) struct DemoNode {
    pub(super) id: NodeId,
    pub(super) address: SocketAddr,
    pub(super) record: SignedRecord,
    told: Receiver<Told>,
    handle: Handle<Order>,
    thread: JoinHandle<()>,
}

impl DemoNode {
    /// Starts a node that listens on `listen`, and waits until it has published its record.
    pub(super) fn start(identity: Identity, listen: SocketAddr, directory: &Directory) -> Result<Self, Problem> {
        let id = identity.node_id();
        let directory = directory.clone();
        let (story, told) = channel();
        let (send_handle, handle) = channel();
        let thread = thread::Builder::new().name("egtp-demo".into()).spawn(move || {
            match Driver::open(Setup { listen: vec![listen], ..Setup::new(identity) }) {
                Ok(driver) => {
                    // Nobody waits for it only if the demonstration has ended.
                    let _ = send_handle.send(Ok(driver.handle()));
                    Loop { driver, directory, story, asked: BTreeMap::new(), unanswered: Vec::new() }.run();
                }
                Err(error) => drop(send_handle.send(Err(error))),
            }
        });
        let thread = thread?;
        let handle = handle.recv()??;
        match next(&told)? {
            Told::Listening(address, record) => Ok(Self { id, address, record, told, handle, thread }),
            _ => Err("a node did not publish its record first".into()),
        }
    }

    /// Has it ask a query, which it will tell of by this number.
    pub(super) fn ask(&self, number: u64, to: NodeId, query: Query) {
        // A node that has ended has told why.
        let _ = self.handle.post(Order::Ask(number, to, query));
    }

    /// Waits for what it tells next.
    pub(super) fn told(&self) -> Result<Told, Problem> {
        next(&self.told)
    }

    /// Shuts it down in order.
    pub(super) fn shut_down(self) {
        self.end(Order::ShutDown);
    }

    /// Ends it at once, as if its process had been killed.
    pub(super) fn vanish(self) {
        self.end(Order::Vanish);
    }

    fn end(self, order: Order) {
        let _ = self.handle.post(order);
        let _ = self.thread.join();
    }
}

fn next(told: &Receiver<Told>) -> Result<Told, Problem> {
    match told.recv_timeout(PATIENCE) {
        Ok(Told::Broken(problem)) => Err(problem.into()),
        Ok(told) => Ok(told),
        Err(_) => Err(format!("nothing has happened for {PATIENCE:?}").into()),
    }
}

struct Loop {
    driver: Driver<Order>,
    directory: Directory,
    story: Sender<Told>,
    /// When each query was asked, by its number.
    asked: BTreeMap<u64, Instant>,
    unanswered: Vec<ReplyToken>,
}

impl Loop {
    fn run(mut self) {
        if let Err(problem) = self.turn_until_stopped() {
            self.tell(Told::Broken(problem.to_string()));
        }
    }

    fn turn_until_stopped(&mut self) -> Result<(), Problem> {
        for name in ["ping", "echo", "slow", "never"] {
            self.driver.node().serve(TypeName::new(name)?)?;
        }
        let strategies = Strategies { addresses: self.driver.local_addresses().to_vec(), ..Strategies::default() };
        self.driver.with(|node, now| node.announce(now, strategies))?;
        loop {
            match self.driver.next()? {
                Step::Service(action) => self.service(action),
                Step::Deliver(delivery) => self.deliver(delivery),
                Step::Note(note) => debug!("{}", note.cause.text()),
                Step::Posted(Order::Ask(number, to, query)) => self.ask(number, to, query)?,
                Step::Posted(Order::Reply(token, body)) => self.reply(token, body),
                Step::Posted(Order::ShutDown) => {
                    self.driver.with(|node, now| node.shut_down(now, Duration::from_secs(2)));
                }
                Step::Posted(Order::Vanish) | Step::Stopped => return Ok(()),
            }
        }
    }

    fn service(&mut self, action: ServiceAction) {
        match action {
            ServiceAction::Lookup { lookup, peer } => {
                let found = self.directory.find(peer);
                self.driver.with(|node, now| {
                    if let Some(record) = found {
                        node.handle(now, Event::Found(lookup, record.as_bytes()));
                    }
                    node.handle(now, Event::LookupDone(lookup));
                });
            }
            ServiceAction::Discover { discovery, .. } => {
                self.driver.with(|node, now| lookup::answer_discovery(node, now, discovery));
            }
            ServiceAction::Publish { record } => {
                self.directory.publish(record.clone());
                if let Some(address) = self.driver.local_addresses().first() {
                    self.tell(Told::Listening(*address, record));
                }
            }
            // Nothing of the demonstration has to outlive it.
            ServiceAction::Save { save, .. } => self.driver.with(|node, now| node.handle(now, Event::Saved(save))),
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Query { type_name, body, token, .. } => {
                match type_name.as_str() {
                    "echo" => self.reply(token, body),
                    "slow" => self.reply_late(token, body),
                    "never" => self.unanswered.push(token),
                    _ => self.reply(token, Vec::new()),
                }
                self.tell(Told::Asked(type_name));
            }
            Delivery::SoftTimeout { tag, .. } => {
                if let Some(asked) = self.asked.get(&tag) {
                    self.tell(Told::SoftTimeout(self.driver.now().saturating_since(*asked)));
                }
            }
            Delivery::Verdict { tag, verdict, .. } => {
                if let Some(asked) = self.asked.remove(&tag) {
                    self.tell(Told::Verdict(tag, verdict, self.driver.now().saturating_since(asked)));
                }
            }
            other => debug!("ignored: {other:?}"),
        }
    }

    fn ask(&mut self, number: u64, to: NodeId, query: Query) -> Result<(), Problem> {
        self.asked.insert(number, self.driver.now());
        self.driver.with(|node, now| node.query(now, to, query.tag(number)))?;
        Ok(())
    }

    fn reply(&mut self, token: ReplyToken, body: Vec<u8>) {
        if let Err(unsent) = self.driver.with(|node, now| node.reply(now, token, body)) {
            debug!("{unsent}");
        }
    }

    fn reply_late(&mut self, token: ReplyToken, body: Vec<u8>) {
        let handle = self.driver.handle();
        thread::spawn(move || {
            thread::sleep(SLOWNESS);
            let _ = handle.post(Order::Reply(token, body));
        });
    }

    /// Nobody listens only if the demonstration has ended.
    fn tell(&self, told: Told) {
        let _ = self.story.send(told);
    }
}
