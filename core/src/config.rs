//! The limits and timers of a node, checked once.

use core::fmt;
use core::time::Duration;

/// A rate in bytes a second, above zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(u64);

impl Rate {
    /// The slowest rate: 256 bytes a second.
    pub const MIN: Self = Self(256);
    /// The fastest rate that is told from none: 2^40 bytes a second.
    pub const MAX: Self = Self(1 << 40);

    /// So many bytes a second, or `None` outside of [`Rate::MIN`]`..=`[`Rate::MAX`].
    pub fn bytes_per_second(bytes: u64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&bytes).then_some(Self(bytes))
    }

    /// Bytes a second.
    pub const fn as_bytes_per_second(self) -> u64 {
        self.0
    }
}

/// The Throttler's settings (*EGTP Architecture 0.2*, II.D): `None` is no limit. Changeable while the node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttle {
    /// Everything that the node writes.
    pub up: Option<Rate>,
    /// Everything that the node reads.
    pub down: Option<Rate>,
    /// What it writes to each connection.
    pub up_per_connection: Option<Rate>,
    /// What it reads from each connection.
    pub down_per_connection: Option<Rate>,
}

/// How much of everything there may be. Each has an owner who is charged and a rule for when it is full.
///
/// Take one of the presets and change what differs: [`Limits::client`], [`Limits::default`], [`Limits::server`].
///
/// What one of each takes, measured on a 64-bit machine, in bytes of heap: an idle connection with its session and what is known of
/// its peer 3,000; one whose peer has not authenticated 1,000; a peer with a record of one address 720; an outstanding query
/// 470 and its message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections in all, dialled and accepted: 512. Beyond it the least useful idle one is closed for a newcomer; if none is idle, the
    /// newcomer is refused.
    pub connections: usize,
    /// Idle connections that are kept in case they are used again: 32. Beyond it the least useful ones are closed every 5 s.
    pub maintained_connections: usize,
    /// Accepted connections whose peer has not authenticated: 128. Beyond it newcomers are refused.
    pub unauthenticated_connections: usize,
    /// Peers that something is known of: 16384. Beyond it the longest unused is forgotten, and a new one refused if none is.
    pub peers: usize,
    /// Sessions: 4096. Beyond it the longest unused ends, strangers' first, and newcomers are refused if none can.
    pub sessions: usize,
    /// Handshakes that were answered and not yet confirmed: 256. Beyond it the oldest over the connection with the most is replaced.
    pub tentative_sessions: usize,
    /// Handshakes that are computed in a second: 500. Beyond it the peer is told to come back.
    pub handshakes_per_second: u32,
    /// Own outstanding queries: 65536.
    pub queries: usize,
    /// Bytes of own outstanding queries: 256 MiB.
    pub query_bytes: usize,
    /// Incoming queries that wait for an answer: 16384. Beyond it new ones are refused as busy.
    pub incoming: usize,
    /// Incoming queries of one peer that wait for an answer: 1024. Beyond it new ones are refused as busy.
    pub incoming_per_peer: usize,
    /// Bytes of incomplete messages in all, each counted whole from its first part on: 64 MiB. Beyond it a message that begins is refused.
    pub assembly_bytes: usize,
    /// Bytes of incomplete messages from one peer: 16,100,000, which is four of the largest.
    pub assembly_bytes_per_peer: usize,
    /// Bytes of replies that are remembered until their askers have them, in all: 256 MiB. Nobody may have more of it than is left for
    /// others; a reply beyond that goes as one that was too long. One without a body always goes, and is not counted if there is no room.
    pub reply_bytes: usize,
    /// Bytes of replies to one peer that are remembered: 96 MiB. A reply beyond it goes as one that was too long.
    pub reply_bytes_per_peer: usize,
    /// Bytes of deliveries that wait in [`Node::poll`](crate::Node::poll): 32 MiB. Beyond it reading stops.
    pub undelivered_bytes: usize,
    /// Records of peers that are stored: 1024. Beyond it the longest unused is deleted.
    pub stored_records: usize,
    /// Types that are served: 1024.
    pub served_types: usize,
    /// Open questions to the Lookup Service: 1024. Beyond it a query waits its turn.
    pub lookups: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            maintained_connections: 32,
            unauthenticated_connections: 128,
            peers: 16_384,
            sessions: 4096,
            tentative_sessions: 256,
            handshakes_per_second: 500,
            queries: 65_536,
            query_bytes: 256 << 20,
            incoming: 16_384,
            incoming_per_peer: 1024,
            assembly_bytes: 64 << 20,
            assembly_bytes_per_peer: 16_100_000,
            reply_bytes: 256 << 20,
            reply_bytes_per_peer: 96 << 20,
            undelivered_bytes: 32 << 20,
            stored_records: 1024,
            served_types: 1024,
            lookups: 1024,
        }
    }
}

impl Limits {
    /// For a program that asks and hardly serves: 64 connections, 64 sessions, 1024 peers, a quarter of the memory.
    pub fn client() -> Self {
        Self {
            connections: 64,
            maintained_connections: 8,
            unauthenticated_connections: 16,
            peers: 1024,
            sessions: 64,
            tentative_sessions: 32,
            handshakes_per_second: 50,
            incoming: 1024,
            incoming_per_peer: 256,
            assembly_bytes: 32 << 20,
            reply_bytes: 64 << 20,
            reply_bytes_per_peer: 32 << 20,
            ..Self::default()
        }
    }

    /// For a server that holds so many connections at once: what goes with their number is raised together.
    pub fn server(connections: usize) -> Self {
        let default = Self::default();
        Self {
            connections,
            maintained_connections: connections,
            unauthenticated_connections: (connections / 4).max(default.unauthenticated_connections),
            peers: connections.saturating_mul(4).max(default.peers),
            sessions: connections.saturating_mul(2).max(default.sessions),
            tentative_sessions: (connections / 4).max(default.tentative_sessions),
            incoming: connections.saturating_mul(4).max(default.incoming),
            ..default
        }
    }
}

/// How long things take. What has to be the same everywhere is no setting: see PROTOCOL.md, sections 13 and 15, for when a path counts as
/// silent.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timers {
    /// A dial that has neither succeeded nor failed is given up after this: 10 s.
    pub connect: Duration,
    /// A connection on which the peer has not authenticated is closed after this: 10 s.
    pub authenticate: Duration,
    /// A connection on which nothing was said is closed after this: 600 s.
    pub idle: Duration,
    /// The Lookup Service is given this long: 30 s.
    pub lookup: Duration,
    /// The Discovery Service is given this long: 30 s.
    pub discovery: Duration,
    /// A session is replaced by a new handshake after this: 12 h. What is under way in it goes on for as long as a query may take.
    pub session: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            authenticate: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            lookup: Duration::from_secs(30),
            discovery: Duration::from_secs(30),
            session: Duration::from_secs(12 * 3600),
        }
    }
}

/// How a node is set up. Start from [`Config::default`], change what differs, and [check](Config::check) it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// How much of everything there may be.
    pub limits: Limits,
    /// How long things take.
    pub timers: Timers,
    /// How fast bytes may go.
    pub throttle: Throttle,
}

impl Config {
    /// Checks every rule, so that [`Node::new`](crate::Node::new) cannot fail.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first setting that is out of range.
    pub fn check(self) -> Result<CheckedConfig, ConfigError> {
        let limits = &self.limits;
        let counts = [
            ("limits.connections", limits.connections, 1),
            ("limits.unauthenticated_connections", limits.unauthenticated_connections, 1),
            ("limits.peers", limits.peers, 2),
            ("limits.sessions", limits.sessions, 2),
            ("limits.tentative_sessions", limits.tentative_sessions, 1),
            ("limits.queries", limits.queries, 1),
            ("limits.query_bytes", limits.query_bytes, 1),
            ("limits.incoming", limits.incoming, 1),
            ("limits.incoming_per_peer", limits.incoming_per_peer, 1),
            ("limits.assembly_bytes", limits.assembly_bytes, 1),
            ("limits.assembly_bytes_per_peer", limits.assembly_bytes_per_peer, 1),
            ("limits.reply_bytes", limits.reply_bytes, 1),
            ("limits.reply_bytes_per_peer", limits.reply_bytes_per_peer, 1),
            ("limits.undelivered_bytes", limits.undelivered_bytes, 1),
            ("limits.served_types", limits.served_types, 1),
            ("limits.lookups", limits.lookups, 1),
        ];
        for (setting, value, least) in counts {
            if value < least {
                return Err(ConfigError { setting, problem: "is too small to work with" });
            }
        }
        if limits.handshakes_per_second == 0 {
            return Err(ConfigError { setting: "limits.handshakes_per_second", problem: "must be above zero" });
        }
        let timers = &self.timers;
        let durations = [
            ("timers.connect", timers.connect),
            ("timers.authenticate", timers.authenticate),
            ("timers.idle", timers.idle),
            ("timers.lookup", timers.lookup),
            ("timers.discovery", timers.discovery),
            ("timers.session", timers.session),
        ];
        for (setting, value) in durations {
            if value < Duration::from_millis(1) || value > Duration::from_secs(30 * 24 * 3600) {
                return Err(ConfigError { setting, problem: "must be between 1 ms and 30 days" });
            }
        }
        Ok(CheckedConfig(self))
    }
}

/// A [`Config`] that obeys every rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedConfig(pub(crate) Config);

impl CheckedConfig {
    /// The settings that were checked.
    pub fn config(&self) -> &Config {
        &self.0
    }
}

impl Default for CheckedConfig {
    /// The defaults, which obey every rule.
    fn default() -> Self {
        Self(Config::default())
    }
}

/// A setting is out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// Which.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.problem)
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_obey_every_rule() {
        assert_eq!(Config::default().check(), Ok(CheckedConfig::default()));
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let mut config = Config::default();
        config.limits.queries = 0;
        assert_eq!(config.check().map_err(|error| error.setting), Err("limits.queries"));

        let mut config = Config::default();
        config.timers.idle = Duration::ZERO;
        assert_eq!(config.check().map_err(|error| error.setting), Err("timers.idle"));
    }

    #[test]
    fn a_rate_is_within_its_bounds() {
        assert_eq!(Rate::bytes_per_second(255), None);
        assert_eq!(Rate::bytes_per_second((1 << 40) + 1), None);
        assert_eq!(Rate::bytes_per_second(56_000 / 8).map(Rate::as_bytes_per_second), Some(7000));
    }
}
