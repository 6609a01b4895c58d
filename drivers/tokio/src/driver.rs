//! The loop: it does what the node asks for and tells it what happened.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use egtp::{Instant, Node};
use egtp_sockets::{Clock, Engine, OpenError, Setup, Step};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc::Receiver;
use tokio::task::coop;

use crate::alarm::Alarm;
use crate::handle::Handle;
use crate::socket::Socket;
use crate::woken::Woken;

/// How many turns are made before the other tasks of the thread may run.
const TURNS_PER_POLL: usize = 16;

/// A node with its sockets. It may be moved to the task that runs it; dropping it closes everything at once.
pub struct Driver<T> {
    engine: Engine<TcpListener, Socket>,
    woken: Arc<Woken>,
    handle: Handle<T>,
    posts: Option<Receiver<T>>,
    alarm: Alarm,
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
        runtime::Handle::try_current().map_err(|error| OpenError::Runtime(io::Error::other(error)))?;
        let engine = Engine::open(setup, TcpListener::from_std)?;
        let (handle, posts) = Handle::new();
        Ok(Self { engine, woken: Arc::default(), handle, posts: Some(posts), alarm: Alarm::new() })
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

    fn ready_step(&mut self, cx: &mut Context<'_>) -> Option<Step<T>> {
        let Self { engine, woken, posts, .. } = self;
        let step = engine.next_step(
            |connection, stream| Ok(Socket::new(TcpStream::from_std(stream)?, woken.waker(connection))),
            || match posts.as_mut()?.poll_recv(cx) {
                Poll::Ready(value) => value,
                Poll::Pending => None,
            },
        );
        if matches!(step, Some(Step::Stopped)) {
            self.posts = None;
        }
        step
    }

    /// Does what the sockets and the clock allow now. Returns whether there may be more to do at once; if not, the task
    /// of `cx` is woken when there is.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let Self { engine, woken, .. } = self;
        let had_no_steps_left = engine.begin_turn();
        for connection in woken.take() {
            engine.mark(connection);
        }
        let changed = engine.take_changed();
        let has_changed = changed.len() > 0;
        for connection in changed {
            engine.serve(connection, |stream, node, buffer| {
                let may_receive = stream.receive(connection, node, buffer)?;
                Ok(stream.send(connection, node)? || may_receive)
            });
        }
        let may_be_incoming = engine.accept(
            |listener| listener.poll_accept(cx),
            |connection, stream| Socket::new(stream, woken.waker(connection)),
        );
        let is_due = self.poll_deadline(cx);
        had_no_steps_left || has_changed || may_be_incoming || is_due
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(earliest) = self.engine.deadline() else { return false };
        let is_due = self.alarm.poll(cx, earliest).is_ready();
        if is_due {
            self.engine.tick();
        }
        is_due
    }
}

impl<T> fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("local_addresses", &self.local_addresses()).finish_non_exhaustive()
    }
}
