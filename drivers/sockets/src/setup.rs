//! What a driver is opened with, and why it could not be.

use std::net::SocketAddr;
use std::{error, fmt, io};

use egtp::{CheckedConfig, Identity, Stored};

/// What a driver is opened with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The node's limits and timers.
    pub config: CheckedConfig,
    /// The node's key pair.
    pub identity: Identity,
    /// What an earlier run stored.
    pub stored: Stored,
    /// Where to listen for TCP connections; port 0 lets the system pick one. An IPv6 address takes IPv6 connections
    /// only. With none the node dials and cannot be dialled.
    pub listen: Vec<SocketAddr>,
}

impl Setup {
    /// The default configuration, nothing stored, and no address to listen on.
    pub fn new(identity: Identity) -> Self {
        Self { config: CheckedConfig::default(), identity, stored: Stored::default(), listen: Vec::new() }
    }
}

/// Why a driver could not be opened. Nothing was started, and every address that was bound is free again.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// An address cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no random bytes for the node's seed.
    Seed(io::Error),
    /// The sockets by which a handle wakes a loop with poll(2) could not be made.
    Wake(io::Error),
    /// There is no tokio runtime here, or the one of an endpoint could not be started.
    Runtime(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => write!(
                f,
                "cannot listen on {address}: {source}. Nothing was started; \
                 choose another address or stop the program that uses it"
            ),
            Self::Seed(source) => {
                write!(f, "the operating system gave no random bytes: {source}. Nothing was started; try again")
            }
            Self::Wake(source) => write!(
                f,
                "cannot make a pair of sockets: {source}. Nothing was started; \
                 allow the process more open files and try again"
            ),
            Self::Runtime(source) => {
                write!(f, "no tokio runtime to run on: {source}. Nothing was started")
            }
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Seed(source) | Self::Wake(source) | Self::Runtime(source) => {
                Some(source)
            }
        }
    }
}

/// A seed for one node and one run of it.
pub(crate) fn fresh_seed() -> Result<[u8; 32], OpenError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| OpenError::Seed(error.into()))?;
    Ok(seed)
}
