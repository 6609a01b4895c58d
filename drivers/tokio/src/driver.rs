//! The loop: it does what the node asks for and tells it what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io, mem};

use egtp::{Action, ConnectionId, Delivery, Ending, Event, Instant, Node, Note, ServiceAction, TransportAction};
use tokio::runtime;
use tokio::sync::mpsc::Receiver;
use tokio::task::coop;

use crate::alarm::Alarm;
use crate::clock::Clock;
use crate::handle::Handle;
use crate::listeners::Listeners;
use crate::setup::{OpenError, Setup, fresh_seed};
use crate::stream::{Served, Stream};
use crate::woken::Woken;

/// The most bytes that one call reads.
const READ_BUFFER: usize = 64 << 10;

/// How much the application is given before the sockets have their turn.
const STEPS_PER_TURN: usize = 256;

/// How many turns are made before the other tasks of the thread may run.
const TURNS_PER_POLL: usize = 16;

/// Something for the application.
#[derive(PartialEq, Eq, Debug)]
pub enum Step<T> {
    /// For the services around the node: what they find or have done is told to [`Node::handle`].
    Service(ServiceAction),
    /// The node tells the application something.
    Deliver(Delivery),
    /// Something is worth a line in the log.
    Note(Note),
    /// A [`Handle`] posted this.
    Posted(T),
    /// The node has shut down and every socket is closed: nothing else will come.
    Stopped,
}

/// A node with its sockets. It stays on the thread that opened it; dropping it closes everything at once.
pub struct Driver<T> {
    node: Node,
    listeners: Listeners,
    local_addresses: Vec<SocketAddr>,
    streams: BTreeMap<ConnectionId, Stream>,
    changed: BTreeSet<ConnectionId>,
    woken: Arc<Woken>,
    handle: Handle<T>,
    posts: Option<Receiver<T>>,
    alarm: Alarm,
    buffer: Vec<u8>,
    steps_left: usize,
    stopped: bool,
}

impl<T> Driver<T> {
    /// Draws a seed, listens on every address of the setup and starts a node. It runs on the current tokio runtime, of
    /// any flavour.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was started.
    ///
    /// # Panics
    ///
    /// If the runtime was built without I/O or without time.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let Setup { config, identity, stored, listen } = setup;
        runtime::Handle::try_current().map_err(|error| OpenError::Runtime(io::Error::other(error)))?;
        let seed = fresh_seed()?;
        let (listeners, local_addresses) = Listeners::bind(&listen)?;
        let (handle, posts) = Handle::new();
        Ok(Self {
            node: Node::new(config, identity, seed, stored, Clock::now(), Clock::unix_now()),
            listeners,
            local_addresses,
            streams: BTreeMap::new(),
            changed: BTreeSet::new(),
            woken: Arc::default(),
            handle,
            posts: Some(posts),
            alarm: Alarm::new(),
            buffer: vec![0; READ_BUFFER],
            steps_left: STEPS_PER_TURN,
            stopped: false,
        })
    }

    /// The addresses that are listened on, in the order of the setup, with the ports that the system picked.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The node, for commands and for what services found. What they lead to is done by the next call of
    /// [`Driver::next`].
    pub fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    /// What time it is, as every command wants to know.
    pub fn now(&self) -> Instant {
        Clock::now()
    }

    /// A handle by which other tasks and threads post to this loop.
    pub fn handle(&self) -> Handle<T> {
        self.handle.clone()
    }

    /// Turns the loop until there is something for the application. After [`Step::Stopped`] it returns just that.
    ///
    /// Cancel-safe: all state is in the driver, and a future that is dropped loses nothing, so `tokio::time::timeout`
    /// and `select!` may be used on it.
    ///
    /// # Errors
    ///
    /// None at present. The type is that of the driver in `egtp-poll`, which has one.
    pub async fn next(&mut self) -> io::Result<Step<T>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`Driver::next`], for whoever writes a future by hand. If it is pending, the task of `cx` is woken when it is
    /// to be called again.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step<T>>> {
        // A loop that always has something to do still lets the other tasks of its thread run.
        let budget = ready!(coop::poll_proceed(cx));
        self.woken.wake_task(cx.waker());
        for _ in 0..TURNS_PER_POLL {
            if let Some(step) = self.ready_step(cx) {
                budget.made_progress();
                return Poll::Ready(Ok(step));
            }
            if !self.turn(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Does what the node asks for until something is for the application, or the sockets must have their turn.
    fn ready_step(&mut self, cx: &mut Context<'_>) -> Option<Step<T>> {
        loop {
            if self.stopped {
                return Some(Step::Stopped);
            }
            if self.steps_left == 0 {
                return None;
            }
            let step = match self.node.poll() {
                Some(Action::Transport(action)) => {
                    self.transport(action);
                    continue;
                }
                Some(Action::Stopped) => {
                    self.stop();
                    continue;
                }
                Some(Action::Service(action)) => Step::Service(action),
                Some(Action::Deliver(delivery)) => Step::Deliver(delivery),
                Some(Action::Note(note)) => Step::Note(note),
                None => match self.posts.as_mut()?.poll_recv(cx) {
                    Poll::Ready(value) => Step::Posted(value?),
                    Poll::Pending => return None,
                },
            };
            self.steps_left -= 1;
            return Some(step);
        }
    }

    fn transport(&mut self, action: TransportAction) {
        match action {
            TransportAction::Connect { connection, to } => {
                self.streams.insert(connection, Stream::dial(to, self.woken.waker(connection)));
                self.changed.insert(connection);
            }
            TransportAction::Close { connection } => {
                self.streams.remove(&connection);
                self.listeners.connection_closed();
            }
            TransportAction::Changed { connection } => {
                self.changed.insert(connection);
            }
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.streams.clear();
        self.listeners.close();
        self.posts = None;
    }

    /// Does what the sockets and the clock allow now. Returns whether there may be more to do at once; if not, the task
    /// of `cx` is woken when there is.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let had_no_steps_left = mem::replace(&mut self.steps_left, STEPS_PER_TURN) == 0;
        self.changed.append(&mut self.woken.take());
        let changed = mem::take(&mut self.changed);
        for &connection in &changed {
            self.serve(connection);
        }
        let may_be_incoming = self.accept(cx);
        let is_due = self.poll_deadline(cx);
        had_no_steps_left || !changed.is_empty() || may_be_incoming || is_due
    }

    fn serve(&mut self, connection: ConnectionId) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        match stream.serve(connection, &mut self.node, &mut self.buffer) {
            Served::Everything => {}
            Served::ItsShare => {
                self.changed.insert(connection);
            }
            Served::ToItsEnd(ending) => self.closed(connection, ending),
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { listeners, node, streams, changed, woken, .. } = self;
        let now = Clock::now();
        listeners.accept(cx, now, |socket, from| {
            // A connection that the node refuses is closed by being dropped; the node has counted it.
            if let Ok(connection) = node.accept(now, from) {
                streams.insert(connection, Stream::accepted(socket, woken.waker(connection)));
                changed.insert(connection);
            }
        })
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let deadlines = [self.node.deadline(), self.listeners.resting_until()];
        let Some(earliest) = deadlines.into_iter().flatten().min() else { return false };
        let is_due = self.alarm.poll(cx, earliest).is_ready();
        if is_due {
            let now = Clock::now();
            self.listeners.wake(now);
            self.node.handle(now, Event::Tick);
        }
        is_due
    }

    fn closed(&mut self, connection: ConnectionId, ending: Ending) {
        self.streams.remove(&connection);
        self.listeners.connection_closed();
        self.node.handle(Clock::now(), Event::Closed(connection, ending));
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("local_addresses", &self.local_addresses).finish_non_exhaustive()
    }
}
