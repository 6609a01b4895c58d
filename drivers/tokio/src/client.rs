//! A node on a thread of its own, behind a handle with `async` calls.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;
use std::{fmt, io, thread};

use egtp::{NodeId, Query, Refusal, Reply, SignedRecord, Strategies, TypeName};
use egtp_sockets::{OpenError, Setup};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::asked::{Asked, QueryError};
use crate::client_loop::{ClientLoop, Job, Urgent};
use crate::handle::Handle;
use crate::services::Services;
use crate::serving::Incoming;

/// How many incoming queries of one type may wait for [`Incoming::recv`].
const INCOMING_QUEUE: usize = 64;

/// A node that runs on a thread of its own. Cheap to clone; the node is closed at once when the last clone is dropped,
/// and in order by [`Endpoint::shut_down`]. Its calls work on any runtime.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    id: NodeId,
    local_addresses: Vec<SocketAddr>,
    jobs: Handle<Job>,
    urgent: Urgent,
    /// The tag of the latest query.
    latest_tag: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.urgent.run(|client| client.with(|node, now| node.shut_down(now, Duration::ZERO)));
    }
}

impl Endpoint {
    /// Starts a thread with a node and returns when it listens on every address. Use [`NoServices`](crate::NoServices)
    /// if there are none.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was started.
    pub fn start(setup: Setup, services: impl Services) -> Result<Self, OpenError> {
        let (opened, outcome) = std_mpsc::sync_channel(1);
        let run = move || {
            let runtime = match Builder::new_current_thread().enable_io().enable_time().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = opened.send(Err(OpenError::Runtime(error)));
                    return;
                }
            };
            runtime.block_on(async move {
                match ClientLoop::open(setup, Box::new(services)) {
                    Ok(mut client) => {
                        let shared = Arc::new(Shared::of(&mut client));
                        let _ = opened.send(Ok(Self { shared }));
                        client.run().await;
                    }
                    Err(error) => {
                        let _ = opened.send(Err(error));
                    }
                }
            });
        };
        thread::Builder::new().name("egtp".into()).spawn(run).map_err(OpenError::Runtime)?;
        outcome.recv().unwrap_or_else(|_| Err(OpenError::Runtime(io::Error::other("its thread ended"))))
    }

    /// The node's own id.
    pub fn id(&self) -> NodeId {
        self.shared.id
    }

    /// The addresses that are listened on, in the order of the setup, with the ports that the system picked.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.shared.local_addresses
    }

    /// Asks a node and waits for the verdict, at most for the query's hard timeout. Dropping the future cancels the
    /// query. Its [tag](Query::tag) is the endpoint's own.
    ///
    /// # Errors
    ///
    /// [`QueryError`] says whose fault it is, and whether the query may have run.
    pub async fn query(&self, to: NodeId, query: Query) -> Result<Reply, QueryError> {
        self.query_with(to, query, || {}).await
    }

    /// As [`Endpoint::query`]. If the query's soft timeout passes, `on_soft` is called on the endpoint's thread, which
    /// it must not block.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::query`].
    pub async fn query_with(
        &self,
        to: NodeId,
        query: Query,
        on_soft: impl FnOnce() + Send + 'static,
    ) -> Result<Reply, QueryError> {
        let tag = self.shared.latest_tag.fetch_add(1, Ordering::Relaxed) + 1;
        let (asked, verdict) = Asked::new(tag, self.shared.urgent.clone());
        self.on_loop(move |client| client.ask(tag, to, query, Box::new(on_soft), verdict)).await??;
        asked.answer().await
    }

    /// Serves a type of query from now on. If it is served already, the earlier [`Incoming`] ends.
    ///
    /// # Errors
    ///
    /// The node's [`Refusal`].
    pub async fn serve(&self, type_name: TypeName) -> Result<Incoming, Refusal> {
        let (sender, queries) = mpsc::channel(INCOMING_QUEUE);
        self.on_loop(move |client| client.serve(type_name, sender)).await??;
        Ok(Incoming::new(queries))
    }

    /// Learns how to reach a peer, for example from a contact that somebody pasted.
    ///
    /// # Errors
    ///
    /// The node's [`Refusal`].
    pub async fn learn(&self, record: SignedRecord) -> Result<(), Refusal> {
        self.on_loop(move |client| client.with(|node, now| node.learn(now, record))).await?
    }

    /// Sets how this node can be reached. The record is there when the services have saved its sequence number.
    ///
    /// # Errors
    ///
    /// The node's [`Refusal`].
    pub async fn announce(&self, strategies: Strategies) -> Result<(), Refusal> {
        self.on_loop(move |client| client.with(|node, now| node.announce(now, strategies))).await?
    }

    /// The node's own record, once one has been published; `None` as well when the endpoint has stopped.
    pub async fn record(&self) -> Option<SignedRecord> {
        self.on_loop(|client| client.with(|node, _| node.record().cloned())).await.ok().flatten()
    }

    /// Refuses new work, waits at most `within` for what is outstanding, and returns when everything is closed.
    pub async fn shut_down(&self, within: Duration) {
        self.shared.urgent.run(move |client| client.with(|node, now| node.shut_down(now, within)));
        self.shared.jobs.stopped().await;
    }

    /// Runs a job on the endpoint's thread and returns what it does; a loop that has stopped refuses.
    async fn on_loop<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut ClientLoop) -> R + Send + 'static,
    ) -> Result<R, Refusal> {
        let (sender, result) = oneshot::channel();
        let job: Job = Box::new(move |client| drop(sender.send(job(client))));
        self.shared.jobs.post(job).await.map_err(|_| Refusal::ShuttingDown)?;
        result.await.map_err(|_| Refusal::ShuttingDown)
    }
}

impl Shared {
    fn of(client: &mut ClientLoop) -> Self {
        let urgent = client.urgent();
        let driver = client.driver();
        Self {
            id: driver.node().id(),
            local_addresses: driver.local_addresses().to_vec(),
            jobs: driver.handle(),
            urgent,
            latest_tag: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({:?})", self.shared.id)
    }
}
