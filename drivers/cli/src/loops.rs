//! One loop, whichever driver runs it.

use std::io;
use std::net::SocketAddr;

use egtp::{CheckedConfig, Delivery, Identity, Instant, Node, Note, ServiceAction, Stored};
use tokio::runtime::{self, Runtime};

use crate::args::DriverKind;
use crate::trouble::Trouble;

/// What a loop is opened with.
pub(crate) struct Setup {
    pub(crate) config: CheckedConfig,
    pub(crate) identity: Identity,
    pub(crate) stored: Stored,
    pub(crate) listen: Vec<SocketAddr>,
}

/// A node with its sockets.
pub(crate) enum Loop<T> {
    Poll(egtp_poll::Driver<T>),
    Tokio { driver: egtp_tokio::Driver<T>, runtime: Runtime },
}

/// Something for the program.
pub(crate) enum Step<T> {
    Service(ServiceAction),
    Deliver(Delivery),
    Note(Note),
    Posted(T),
    Stopped,
}

/// Posts to the loop from another thread.
pub(crate) enum Handle<T> {
    Poll(egtp_poll::Handle<T>),
    Tokio(runtime::Handle, egtp_tokio::Handle<T>),
}

impl<T> Loop<T> {
    /// Listens and starts the node.
    pub(crate) fn open(kind: DriverKind, setup: Setup) -> Result<Self, Trouble> {
        let Setup { config, identity, stored, listen } = setup;
        match kind {
            DriverKind::Poll => {
                let setup = egtp_poll::Setup { config, identity, stored, listen };
                egtp_poll::Driver::open(setup).map(Self::Poll).map_err(|error| match error {
                    egtp_poll::OpenError::Listen { address, source } => cannot_listen(address, &source),
                    error => Trouble::Local(error.to_string()),
                })
            }
            DriverKind::Tokio => {
                let runtime = runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| Trouble::local("the tokio runtime cannot be started", error))?;
                let setup = egtp_tokio::Setup { config, identity, stored, listen };
                let opened = {
                    let _entered = runtime.enter();
                    egtp_tokio::Driver::open(setup)
                };
                opened.map(|driver| Self::Tokio { driver, runtime }).map_err(|error| match error {
                    egtp_tokio::OpenError::Listen { address, source } => cannot_listen(address, &source),
                    error => Trouble::Local(error.to_string()),
                })
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

    /// The node, for commands.
    pub(crate) fn node(&mut self) -> &mut Node {
        match self {
            Self::Poll(driver) => driver.node(),
            Self::Tokio { driver, .. } => driver.node(),
        }
    }

    /// What time it is, as every command wants to know.
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Poll(driver) => driver.now(),
            Self::Tokio { driver, .. } => driver.now(),
        }
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
            Self::Poll(driver) => driver.next().map(Step::from),
            Self::Tokio { driver, runtime } => runtime.block_on(driver.next()).map(Step::from),
        };
        step.map_err(|error| Trouble::local("the system cannot wait for its sockets", error))
    }
}

fn cannot_listen(address: SocketAddr, source: &io::Error) -> Trouble {
    Trouble::local("--listen", format!("{address}: {source}: name another address, or port 0 for any free one"))
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

impl<T> From<egtp_poll::Step<T>> for Step<T> {
    fn from(step: egtp_poll::Step<T>) -> Self {
        match step {
            egtp_poll::Step::Service(action) => Self::Service(action),
            egtp_poll::Step::Deliver(delivery) => Self::Deliver(delivery),
            egtp_poll::Step::Note(note) => Self::Note(note),
            egtp_poll::Step::Posted(posted) => Self::Posted(posted),
            egtp_poll::Step::Stopped => Self::Stopped,
        }
    }
}

impl<T> From<egtp_tokio::Step<T>> for Step<T> {
    fn from(step: egtp_tokio::Step<T>) -> Self {
        match step {
            egtp_tokio::Step::Service(action) => Self::Service(action),
            egtp_tokio::Step::Deliver(delivery) => Self::Deliver(delivery),
            egtp_tokio::Step::Note(note) => Self::Note(note),
            egtp_tokio::Step::Posted(posted) => Self::Posted(posted),
            egtp_tokio::Step::Stopped => Self::Stopped,
        }
    }
}
