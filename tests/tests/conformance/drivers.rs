//! Both drivers behind one trait: whoever uses it does not know which one it is.

use std::net::SocketAddr;

use egtp::{CheckedConfig, Identity, Instant, Node, Stored};
use egtp_poll::{Setup, Step};
use tokio::runtime::{self, Builder, Runtime};
use tokio::time::timeout;

/// Which driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Poll,
    Tokio,
}

/// A driver and, if it needs one, its runtime.
pub(crate) trait Loop<T> {
    /// Turns until there is something for the application.
    fn next(&mut self) -> Step<T>;
    /// As `next`, until a deadline at the latest.
    fn next_before(&mut self, deadline: Instant) -> Option<Step<T>>;
    /// The node.
    fn node(&mut self) -> &mut Node;
    /// What time it is.
    fn now(&self) -> Instant;
    /// Posts to the loop from other threads.
    fn handle(&self) -> Handle<T>;
    /// Where it listens.
    fn local_addresses(&self) -> &[SocketAddr];
}

/// Opens a driver of this kind on the present thread.
pub(crate) fn open<T: 'static>(
    kind: Kind,
    identity: Identity,
    config: CheckedConfig,
    listen: Vec<SocketAddr>,
) -> Box<dyn Loop<T>> {
    let setup = Setup { config, identity, stored: Stored::default(), listen };
    match kind {
        Kind::Poll => Box::new(egtp_poll::Driver::open(setup).unwrap()),
        Kind::Tokio => {
            let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
            let within = runtime.enter();
            let driver = egtp_tokio::Driver::open(setup).unwrap();
            drop(within);
            Box::new(OnTokio { driver, runtime })
        }
    }
}

/// A driver's handle.
pub(crate) enum Handle<T> {
    Poll(egtp_poll::Handle<T>),
    Tokio(egtp_tokio::Handle<T>, runtime::Handle),
}

impl<T> Handle<T> {
    /// Posts a value, or hands it back if the loop has stopped.
    pub(crate) fn post(&self, value: T) -> Result<(), T> {
        match self {
            Self::Poll(handle) => handle.post(value),
            Self::Tokio(handle, runtime) => runtime.block_on(handle.post(value)),
        }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Poll(handle) => Self::Poll(handle.clone()),
            Self::Tokio(handle, runtime) => Self::Tokio(handle.clone(), runtime.clone()),
        }
    }
}

impl<T> Loop<T> for egtp_poll::Driver<T> {
    fn next(&mut self) -> Step<T> {
        self.next().unwrap()
    }

    fn next_before(&mut self, deadline: Instant) -> Option<Step<T>> {
        self.next_before(deadline).unwrap()
    }

    fn node(&mut self) -> &mut Node {
        self.node()
    }

    fn now(&self) -> Instant {
        self.now()
    }

    fn handle(&self) -> Handle<T> {
        Handle::Poll(self.handle())
    }

    fn local_addresses(&self) -> &[SocketAddr] {
        self.local_addresses()
    }
}

struct OnTokio<T> {
    driver: egtp_tokio::Driver<T>,
    runtime: Runtime,
}

impl<T> Loop<T> for OnTokio<T> {
    fn next(&mut self) -> Step<T> {
        self.runtime.block_on(self.driver.next()).unwrap()
    }

    fn next_before(&mut self, deadline: Instant) -> Option<Step<T>> {
        let left = deadline.saturating_since(self.driver.now());
        let next = self.runtime.block_on(async { timeout(left, self.driver.next()).await });
        next.ok().map(Result::unwrap)
    }

    fn node(&mut self) -> &mut Node {
        self.driver.node()
    }

    fn now(&self) -> Instant {
        self.driver.now()
    }

    fn handle(&self) -> Handle<T> {
        Handle::Tokio(self.driver.handle(), self.runtime.handle().clone())
    }

    fn local_addresses(&self) -> &[SocketAddr] {
        self.driver.local_addresses()
    }
}
