//! The thread behind an endpoint: it runs the driver, and whatever the endpoint's handles post to it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use egtp::{
    Delivery, Instant, Node, NodeId, PeerRefusal, Query, QueryId, Refusal, ReplyToken, TypeName, Unasked, Verdict,
};
use egtp_sockets::{OpenError, Setup, Step};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, error::TrySendError, unbounded_channel};
use tokio::sync::oneshot;

use crate::driver::Driver;
use crate::services::{Responder, Services};
use crate::serving::{Answer, IncomingQuery};

/// Something to be done on the endpoint's thread.
pub(crate) type Job = Box<dyn FnOnce(&mut ClientLoop) + Send>;

/// A query's soft timeout has passed.
pub(crate) type OnSoft = Box<dyn FnOnce() + Send>;

/// What a query is called between its asker and the loop.
pub(crate) type Tag = u64;

/// The way to the loop that never waits, for what ends something: a reply, a refusal, a cancellation, a service's
/// answer. Each belongs to something that the node has a limit for, and so they need none of their own.
#[derive(Clone)]
pub(crate) struct Urgent(UnboundedSender<Job>);

impl Urgent {
    pub(crate) fn run(&self, job: impl FnOnce(&mut ClientLoop) + Send + 'static) {
        // A loop that has stopped has ended everything already.
        let _ = self.0.send(Box::new(job));
    }
}

/// The node, and who waits for what.
pub(crate) struct ClientLoop {
    driver: Driver<Job>,
    urgent: Urgent,
    urgent_jobs: UnboundedReceiver<Job>,
    services: Box<dyn Services>,
    responder: Responder,
    asking: HashMap<Tag, Asking>,
    serving: HashMap<TypeName, Sender<IncomingQuery>>,
}

/// Who waits for a verdict.
struct Asking {
    query: QueryId,
    verdict: oneshot::Sender<Verdict>,
    on_soft: Option<OnSoft>,
}

impl ClientLoop {
    pub(crate) fn open(setup: Setup, services: Box<dyn Services>) -> Result<Self, OpenError> {
        let driver = Driver::open(setup)?;
        let (sender, urgent_jobs) = unbounded_channel();
        let urgent = Urgent(sender);
        let responder = Responder::new(urgent.clone());
        let (asking, serving) = (HashMap::new(), HashMap::new());
        Ok(Self { driver, urgent, urgent_jobs, services, responder, asking, serving })
    }

    pub(crate) fn driver(&mut self) -> &mut Driver<Job> {
        &mut self.driver
    }

    /// Gives the node a command.
    pub(crate) fn with<R>(&mut self, command: impl FnOnce(&mut Node, Instant) -> R) -> R {
        self.driver.with(command)
    }

    pub(crate) fn urgent(&self) -> Urgent {
        self.urgent.clone()
    }

    /// Runs until the node has stopped.
    pub(crate) async fn run(mut self) {
        loop {
            let step = poll_fn(|cx| match self.urgent_jobs.poll_recv(cx) {
                Poll::Ready(Some(job)) => Poll::Ready(Ok(Step::Posted(job))),
                _ => self.driver.poll_next(cx),
            });
            match step.await {
                Ok(Step::Posted(job)) => job(&mut self),
                Ok(Step::Deliver(delivery)) => self.deliver(delivery),
                Ok(Step::Service(action)) => self.services.serve(action, &self.responder),
                Ok(Step::Note(note)) => self.services.note(note),
                Ok(Step::Stopped) | Err(_) => return,
            }
        }
    }

    /// Asks, unless the asker has gone in the meantime.
    pub(crate) fn ask(
        &mut self,
        tag: Tag,
        to: NodeId,
        query: Query,
        on_soft: OnSoft,
        verdict: oneshot::Sender<Verdict>,
    ) -> Result<(), Unasked> {
        if verdict.is_closed() {
            return Ok(());
        }
        let query = self.with(|node, now| node.query(now, to, query.tag(tag)))?;
        self.asking.insert(tag, Asking { query, verdict, on_soft: Some(on_soft) });
        Ok(())
    }

    /// Cancels what [`ClientLoop::ask`] began. One that has ended needs no cancellation.
    pub(crate) fn cancel(&mut self, tag: Tag) {
        if let Some(&Asking { query, .. }) = self.asking.get(&tag) {
            let _ = self.with(|node, now| node.cancel(now, query));
        }
    }

    pub(crate) fn serve(&mut self, type_name: TypeName, queries: Sender<IncomingQuery>) -> Result<(), Refusal> {
        self.driver.node().serve(type_name.clone())?;
        self.serving.insert(type_name, queries);
        Ok(())
    }

    pub(crate) fn reply(&mut self, token: ReplyToken, body: Vec<u8>) {
        match self.with(|node, now| node.reply(now, token, body)) {
            Err(unsent) if unsent.why == Refusal::BodyTooLong => self.refuse(unsent.token, PeerRefusal::ReplyTooLong),
            _ => {}
        }
    }

    pub(crate) fn refuse(&mut self, token: ReplyToken, why: PeerRefusal) {
        // An asker that does not wait any more needs no refusal.
        let _ = self.with(|node, now| node.refuse(now, token, why));
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Query { from, type_name, body, token, until } => {
                let answer = Answer::new(token, self.urgent.clone());
                self.hand_over(IncomingQuery { from, type_name, body, until, answer });
            }
            Delivery::SoftTimeout { tag, .. } => {
                if let Some(on_soft) = self.asking.get_mut(&tag).and_then(|asking| asking.on_soft.take()) {
                    on_soft();
                }
            }
            Delivery::Verdict { tag, verdict, .. } => {
                if let Some(asking) = self.asking.remove(&tag) {
                    let _ = asking.verdict.send(verdict);
                }
            }
            // Notices and discovery are for programs that run a driver, and a withdrawn query shows when it is
            // answered.
            _ => {}
        }
    }

    fn hand_over(&mut self, query: IncomingQuery) {
        let Some(queries) = self.serving.get(&query.type_name) else {
            return query.refuse(PeerRefusal::UnknownType);
        };
        match queries.try_send(query) {
            Ok(()) => {}
            Err(TrySendError::Full(query)) => query.refuse(PeerRefusal::Busy),
            Err(TrySendError::Closed(query)) => {
                self.driver.node().unserve(&query.type_name);
                self.serving.remove(&query.type_name);
                query.refuse(PeerRefusal::UnknownType);
            }
        }
    }
}
