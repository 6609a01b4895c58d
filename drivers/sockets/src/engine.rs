//! What every driver does between two sleeps: what the node asks for, and telling it what happened.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::task::Poll;

use egtp::{Action, ConnectionId, Ending, Event, Instant, Node, TransportAction};

use crate::clock::Clock;
use crate::dial::{dial, dial_ending};
use crate::listeners::Listeners;
use crate::setup::{OpenError, Setup, fresh_seed};
use crate::step::Step;
use crate::stream::{Socket, Stream};
use crate::streams::Streams;

/// The most bytes that one call reads.
const READ_BUFFER: usize = 64 << 10;

/// How much the application is given before the sockets have their turn.
const STEPS_PER_TURN: usize = 256;

/// A node with its listening sockets and its streams. It sleeps never and waits for nothing: that is the driver's part.
pub struct Engine<L, S> {
    node: Node,
    listeners: Listeners<L>,
    streams: Streams<S>,
    buffer: Vec<u8>,
    steps_left: usize,
    stopped: bool,
}

impl<L, S: Socket> Engine<L, S> {
    /// Draws a seed, listens on every address of the setup and starts a node. `convert` makes the driver's own kind of
    /// each listening socket, which does not block.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was started.
    pub fn open(setup: Setup, convert: impl FnMut(TcpListener) -> io::Result<L>) -> Result<Self, OpenError> {
        let Setup { config, identity, stored, listen } = setup;
        let seed = fresh_seed()?;
        let listeners = Listeners::bind(&listen, convert)?;
        Ok(Self {
            node: Node::new(config, identity, seed, stored, Clock::now(), Clock::unix_now()),
            listeners,
            streams: Streams::new(),
            buffer: vec![0; READ_BUFFER],
            steps_left: STEPS_PER_TURN,
            stopped: false,
        })
    }

    /// The addresses that are listened on, in the order of the setup, with the ports that the system picked.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.listeners.local_addresses()
    }

    /// The node.
    pub fn node(&mut self) -> &mut Node {
        &mut self.node
    }

    /// Gives the node a command, together with the time, which nearly every command wants to know.
    pub fn with<R>(&mut self, command: impl FnOnce(&mut Node, Instant) -> R) -> R {
        command(&mut self.node, Clock::now())
    }

    /// Does what the node asks for until something is for the application, or the sockets must have their turn. `open`
    /// makes the driver's own kind of each socket that was dialled, and `posted` takes the next value from its handles.
    pub fn next_step<T>(
        &mut self,
        mut open: impl FnMut(ConnectionId, TcpStream) -> io::Result<S>,
        posted: impl FnOnce() -> Option<T>,
    ) -> Option<Step<T>> {
        loop {
            if self.stopped {
                return Some(Step::Stopped);
            }
            if self.steps_left == 0 {
                return None;
            }
            let step = match self.node.poll() {
                Some(Action::Transport(action)) => {
                    self.transport(action, &mut open);
                    continue;
                }
                Some(Action::Stopped) => {
                    self.stop();
                    continue;
                }
                Some(Action::Service(action)) => Step::Service(action),
                Some(Action::Deliver(delivery)) => Step::Deliver(delivery),
                Some(Action::Note(note)) => Step::Note(note),
                None => Step::Posted(posted()?),
            };
            self.steps_left -= 1;
            return Some(step);
        }
    }

    fn transport(&mut self, action: TransportAction, open: &mut impl FnMut(ConnectionId, TcpStream) -> io::Result<S>) {
        match action {
            TransportAction::Connect { connection, to } => match dial(to).and_then(|stream| open(connection, stream)) {
                Ok(socket) => self.streams.insert(connection, Stream::dialling(socket)),
                Err(error) => self.closed(connection, dial_ending(&error)),
            },
            TransportAction::Close { connection } => self.remove(connection),
            TransportAction::Changed { connection } => self.streams.mark(connection),
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        self.streams.clear();
        self.listeners.close();
    }

    /// Gives the application its share again: from here on it is the sockets' turn. Returns whether it had used up all
    /// of the last one.
    pub fn begin_turn(&mut self) -> bool {
        std::mem::replace(&mut self.steps_left, STEPS_PER_TURN) == 0
    }

    /// The listening sockets to wait for: none while accepting rests.
    pub fn listening(&self) -> &[L] {
        self.listeners.sockets()
    }

    /// The streams to wait for.
    pub fn sockets(&self) -> impl Iterator<Item = (ConnectionId, &S)> {
        self.streams.iter().map(|(connection, stream)| (connection, stream.socket()))
    }

    /// Accepts what has come, up to a limit. `open` makes the driver's own kind of each socket. Returns whether there
    /// may be more; if not, `accept` was pending on every listening socket, or accepting rests until the deadline.
    pub fn accept<A: AsFd>(
        &mut self,
        accept: impl FnMut(&L) -> Poll<io::Result<(A, SocketAddr)>>,
        mut open: impl FnMut(ConnectionId, A) -> S,
    ) -> bool {
        let Self { listeners, node, streams, .. } = self;
        let now = Clock::now();
        listeners.accept(accept, now, |accepted, from| {
            // A connection that the node refuses is closed by being dropped; the node has counted it.
            if let Ok(connection) = node.accept(now, from) {
                streams.insert(connection, Stream::accepted(open(connection, accepted)));
            }
        })
    }

    /// A connection has something to do.
    pub fn mark(&mut self, connection: ConnectionId) {
        self.streams.mark(connection);
    }

    /// The connections that have had something to do since the last call, each to be given to [`Engine::serve`].
    pub fn take_changed(&mut self) -> impl ExactSizeIterator<Item = ConnectionId> + use<L, S> {
        self.streams.take_changed()
    }

    /// Serves a stream by [`Stream::receive`] and [`Stream::send`], unless it is closed. It has something to do again
    /// if `serve` says so.
    pub fn serve(
        &mut self,
        connection: ConnectionId,
        serve: impl FnOnce(&mut Stream<S>, &mut Node, &mut [u8]) -> Result<bool, Ending>,
    ) {
        let Some(stream) = self.streams.get_mut(connection) else { return };
        match serve(stream, &mut self.node, &mut self.buffer) {
            Ok(true) => self.streams.mark(connection),
            Ok(false) => {}
            Err(ending) => self.closed(connection, ending),
        }
    }

    fn closed(&mut self, connection: ConnectionId, ending: Ending) {
        self.remove(connection);
        self.node.handle(Clock::now(), Event::Closed(connection, ending));
    }

    fn remove(&mut self, connection: ConnectionId) {
        self.streams.remove(connection);
        self.listeners.connection_closed();
    }

    /// When [`Engine::tick`] is to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.node.deadline(), self.listeners.resting_until()].into_iter().flatten().min()
    }

    /// Does what the clock allows.
    pub fn tick(&mut self) {
        let now = Clock::now();
        self.listeners.wake(now);
        self.node.handle(now, Event::Tick);
    }
}
