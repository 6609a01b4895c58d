//! The loop: it does what the node asks for and tells it what happened.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use std::{fmt, io};

use egtp::{Instant, Node};
use egtp_sockets::{Clock, Engine, OpenError, Setup, Step};

use crate::inbox::{Handle, Inbox};
use crate::socket::{self, Socket};
use crate::wait::wait;

/// A node with its sockets. It may be moved to the thread of its loop; dropping it closes everything at once.
pub struct Driver<T> {
    engine: Engine<TcpListener, Socket>,
    inbox: Inbox<T>,
}

impl<T> Driver<T> {
    /// Draws a seed, listens on every address of the setup and starts a node.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; nothing was started.
    pub fn open(setup: Setup) -> Result<Self, OpenError> {
        let engine = Engine::open(setup, Ok)?;
        let inbox = Inbox::new().map_err(OpenError::Wake)?;
        Ok(Self { engine, inbox })
    }

    /// The addresses that are listened on, in the order of the setup, with the ports that the system picked.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        self.engine.local_addresses()
    }

    /// The node.
    pub fn node(&mut self) -> &mut Node {
        self.engine.node()
    }

    /// Gives the node a command, or tells it what services found, together with the time, which nearly every call wants
    /// to know: `driver.with(|node, now| node.query(now, to, query))?`. What it leads to is done by the next call of
    /// [`Driver::next`].
    pub fn with<R>(&mut self, command: impl FnOnce(&mut Node, Instant) -> R) -> R {
        self.engine.with(command)
    }

    /// What time it is.
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

    fn ready_step(&mut self) -> Option<Step<T>> {
        let step = self.engine.next_step(|_, stream| Ok(Socket::new(stream)), || self.inbox.take());
        if matches!(step, Some(Step::Stopped)) {
            self.inbox.close();
        }
        step
    }

    /// Writes what is to be written, waits, and takes what has come.
    fn turn(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.engine.begin_turn();
        for connection in self.engine.take_changed() {
            self.engine.serve(connection, |stream, node, _| socket::send(stream, connection, node));
        }
        let ready = wait(&self.inbox, self.engine.listening(), self.engine.sockets(), self.timeout(until))?;
        if ready.posted {
            self.inbox.answer_bell();
        }
        if ready.incoming {
            self.engine.accept(socket::accept, |_, stream| Socket::new(stream));
        }
        for connection in ready.connections {
            // What it waits for may have changed, whether or not there is more to do.
            self.engine
                .serve(connection, |stream, node, buffer| stream.receive(connection, node, buffer).map(|_| true));
        }
        self.engine.tick();
        Ok(())
    }

    /// How long nothing will have to be done unless a socket is ready or a handle posts.
    fn timeout(&self, until: Option<Instant>) -> Option<Duration> {
        if self.inbox.may_hold_more() {
            return Some(Duration::ZERO);
        }
        self.engine.deadline().into_iter().chain(until).min().map(Clock::sleep_before)
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("local_addresses", &self.local_addresses()).finish_non_exhaustive()
    }
}
