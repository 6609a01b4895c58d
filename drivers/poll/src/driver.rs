//! The loop: it does what the node asks for and tells it what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use std::{fmt, io, mem};

use egtp::{Action, ConnectionId, Delivery, Ending, Event, Instant, Node, Note, ServiceAction, TransportAction};

use crate::clock::Clock;
use crate::inbox::{Handle, Inbox};
use crate::listeners::Listeners;
use crate::setup::{OpenError, Setup, fresh_seed};
use crate::stream::{Stream, dial_ending};
use crate::wait::wait;

/// The most bytes that one call reads.
const READ_BUFFER: usize = 64 << 10;

/// How much the application is given before the sockets have their turn.
const STEPS_PER_TURN: usize = 256;

/// poll(2) does not count the time for which the machine is suspended, and [`Clock`] does: a deadline that passed in
/// the meantime is found this late at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

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
    inbox: Inbox<T>,
    buffer: Vec<u8>,
    steps_left: usize,
    stopped: bool,
}

impl<T> Driver<T> {
    /// Draws a seed, listens on every address of the setup and starts a node.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was started.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let Setup { config, identity, stored, listen } = setup;
        let seed = fresh_seed()?;
        let (listeners, local_addresses) = Listeners::bind(&listen)?;
        let inbox = Inbox::new().map_err(OpenError::Wake)?;
        Ok(Self {
            node: Node::new(config, identity, seed, stored, Clock::now(), Clock::unix_now()),
            listeners,
            local_addresses,
            streams: BTreeMap::new(),
            changed: BTreeSet::new(),
            inbox,
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

    /// A handle by which other threads post to this loop.
    pub fn handle(&self) -> Handle<T> {
        self.inbox.handle()
    }

    /// Turns the loop until there is something for the application. After [`Step::Stopped`] it returns just that.
    ///
    /// # Errors
    ///
    /// The operating system cannot wait for so many sockets, or has no memory for it. Nothing is lost, and it may be
    /// called again.
    #[expect(clippy::should_implement_trait, reason = "an iterator that never ends and can fail invites misuse")]
    pub fn next(&mut self) -> io::Result<Step<T>> {
        loop {
            if let Some(step) = self.ready_step() {
                return Ok(step);
            }
            self.turn(None)?;
        }
    }

    /// As [`Driver::next`], and returns `None` once it is later than `deadline`. The loop turns at least once if
    /// nothing is ready, so a deadline in the past serves whoever has a loop of his own.
    ///
    /// # Errors
    ///
    /// As [`Driver::next`].
    pub fn next_before(&mut self, deadline: Instant) -> io::Result<Option<Step<T>>> {
        loop {
            let is_last_turn = deadline <= Clock::now();
            if let Some(step) = self.ready_step() {
                return Ok(Some(step));
            }
            self.turn(Some(deadline))?;
            if is_last_turn {
                return Ok(self.ready_step());
            }
        }
    }

    /// Does what the node asks for until something is for the application, or the sockets must have their turn.
    fn ready_step(&mut self) -> Option<Step<T>> {
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
                None => Step::Posted(self.inbox.take()?),
            };
            self.steps_left -= 1;
            return Some(step);
        }
    }

    fn transport(&mut self, action: TransportAction) {
        match action {
            TransportAction::Connect { connection, to } => match Stream::dial(to) {
                Ok(stream) => {
                    self.streams.insert(connection, stream);
                }
                Err(error) => self.closed(connection, dial_ending(&error)),
            },
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
        self.inbox.close();
    }

    /// Writes what is to be written, waits, and takes what has come.
    fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        for connection in mem::take(&mut self.changed) {
            self.send(connection);
        }
        let ready = wait(&self.inbox, self.listeners.sockets(), &self.streams, self.timeout(until))?;
        let now = Clock::now();
        self.listeners.wake(now);
        if ready.posted {
            self.inbox.answer_bell();
        }
        if ready.incoming {
            self.accept(now);
        }
        for connection in ready.streams {
            self.receive(connection);
        }
        self.node.handle(Clock::now(), Event::Tick);
        self.steps_left = STEPS_PER_TURN;
        Ok(())
    }

    /// How long nothing will have to be done unless a socket is ready or a handle posts.
    fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        if self.inbox.may_hold_more() {
            return Some(Duration::ZERO);
        }
        let earliest = [self.node.deadline(), self.listeners.resting_until(), until].into_iter().flatten().min()?;
        Some(earliest.saturating_since(Clock::now()).min(LONGEST_SLEEP))
    }

    fn accept(&mut self, now: Instant) {
        let Self { listeners, node, streams, changed, .. } = self;
        listeners.accept(now, |socket, from| {
            // A connection that the node refuses is closed by being dropped; the node has counted it.
            if let Ok(connection) = node.accept(now, from) {
                streams.insert(connection, Stream::accepted(socket));
                changed.insert(connection);
            }
        });
    }

    fn receive(&mut self, connection: ConnectionId) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        match stream.receive(connection, &mut self.node, &mut self.buffer) {
            // What it waits for may have changed.
            Ok(()) => _ = self.changed.insert(connection),
            Err(ending) => self.closed(connection, ending),
        }
    }

    fn send(&mut self, connection: ConnectionId) {
        let Some(stream) = self.streams.get_mut(&connection) else { return };
        if let Err(ending) = stream.send(connection, &mut self.node) {
            self.closed(connection, ending);
        }
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
