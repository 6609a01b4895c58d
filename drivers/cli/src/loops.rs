//! One loop, whichever driver runs it.

use std::net::SocketAddr;

use egtp::{Instant, Node};
use egtp_sockets::{Clock, OpenError, Setup, Step};
use tokio::runtime::{self, Runtime};

use crate::args::DriverKind;
use crate::trouble::Trouble;

/// A node with its sockets.
pub(crate) enum Loop<T> {
    Poll(egtp_poll::Driver<T>),
    Tokio { driver: egtp_tokio::Driver<T>, runtime: Runtime },
}

/// Posts to the loop from another thread.
pub(crate) enum Handle<T> {
    Poll(egtp_poll::Handle<T>),
    Tokio(runtime::Handle, egtp_tokio::Handle<T>),
}

impl<T> Loop<T> {
    /// Listens and starts the node.
    pub(crate) fn open(kind: DriverKind, setup: Setup) -> Result<Self, Trouble> {
        match kind {
            DriverKind::Poll => Ok(Self::Poll(egtp_poll::Driver::open(setup)?)),
            DriverKind::Tokio => {
                let runtime = runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(OpenError::Runtime)?;
                let driver = {
                    let _entered = runtime.enter();
                    egtp_tokio::Driver::open(setup)?
                };
                Ok(Self::Tokio { driver, runtime })
            }
        }
    }

    /// The first address that is listened on.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Poll(driver) => driver.local_addresses().first().copied(),
            Self::Tokio { driver, .. } => driver.local_addresses().first().copied(),
        }
    }

    /// The node.
    pub(crate) fn node(&mut self) -> &mut Node {
        match self {
            Self::Poll(driver) => driver.node(),
            Self::Tokio { driver, .. } => driver.node(),
        }
    }

    /// Gives the node a command, together with the time.
    pub(crate) fn with<R>(&mut self, command: impl FnOnce(&mut Node, Instant) -> R) -> R {
        match self {
            Self::Poll(driver) => driver.with(command),
            Self::Tokio { driver, .. } => driver.with(command),
        }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Instant {
        Clock::now()
    }

    /// For other threads.
    pub(crate) fn handle(&self) -> Handle<T> {
        match self {
            Self::Poll(driver) => Handle::Poll(driver.handle()),
            Self::Tokio { driver, runtime } => Handle::Tokio(runtime.handle().clone(), driver.handle()),
        }
    }

    /// Turns the loop until there is something for the program.
    pub(crate) fn next(&mut self) -> Result<Step<T>, Trouble> {
        let step = match self {
            Self::Poll(driver) => driver.next(),
            Self::Tokio { driver, runtime } => runtime.block_on(driver.next()),
        };
        step.map_err(|error| Trouble::local("the system cannot wait for its sockets", error))
    }
}

impl From<OpenError> for Trouble {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Listen { address, source } => {
                let mend = "name another address, or port 0 for any free one";
                Self::local("--listen", format!("{address}: {source}: {mend}"))
            }
            error => Self::Local(error.to_string()),
        }
    }
}

impl<T> Handle<T> {
    /// Posts a value, and waits while very many are waiting, so never on the loop's own thread. Returns `false` if the loop has ended.
    pub(crate) fn post(&self, value: T) -> bool {
        match self {
            Self::Poll(handle) => handle.post(value).is_ok(),
            Self::Tokio(runtime, handle) => runtime.block_on(handle.post(value)).is_ok(),
        }
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Poll(handle) => Self::Poll(handle.clone()),
            Self::Tokio(runtime, handle) => Self::Tokio(runtime.clone(), handle.clone()),
        }
    }
}
