//! Services around an EGTP node that need files: its [key](key_file), its [stored state](StateDir), and a [peers file](PeersFile) that
//! serves as the Lookup Service.
//!
//! Nothing here knows a node or a socket. A driver, or the program around it, carries the answers from here to there.

mod addresses;
mod disk;
pub mod key_file;
mod peers_file;
mod saver;
mod state_dir;
#[cfg(test)]
mod test_dir;

pub use addresses::announceable;
pub use key_file::KeyFileError;
pub use peers_file::{BadLine, PeersFile, PeersFileError, WhatIsWrong};
pub use saver::{Saved, Saver};
pub use state_dir::{StateDir, StateError};
