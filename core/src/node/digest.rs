//! What a node remembers, in 20 bytes: equal before and after input that it has rejected.

use alloc::vec::Vec;
use core::fmt::{self, Debug, Write};

use sha1::{Digest as _, Sha1};

use super::Node;
use crate::env::Env;
use crate::peer::Peer;
use crate::timer::Timer;

/// A hash that text is written to.
struct Digest(Sha1);

impl Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text);
        Ok(())
    }
}

impl Digest {
    fn add(&mut self, what: &str, value: impl Debug) {
        write!(self, "{what} {value:?};").expect("a hash takes everything");
    }
}

impl Node {
    /// See [`internal::digest`](crate::internal::digest), which says what is in it. Every field is named here, so that a new one cannot be
    /// forgotten.
    pub(crate) fn digest(&self) -> [u8; 20] {
        let Self {
            env,
            peers,
            sessions,
            tentative,
            handshakes: _,
            services,
            place_waiters,
            own,
            stopping,
            next_shortening: _,
            plaintext: _,
        } = self;
        let Env {
            now: _,
            limits: _,
            settings: _,
            identity: _,
            id: _,
            random: _,
            timers,
            connections,
            queries,
            incoming,
            charges,
            own_hellos,
            out: _,
            effects: _,
            stopping: _,
        } = env;
        let mut digest = Digest(Sha1::new());
        for due in timers.due().filter(|(_, timer)| !matches!(timer, Timer::Connection(_) | Timer::Peer(_))) {
            digest.add("timer", due);
        }
        digest.add("queries", queries);
        digest.add("incoming", incoming);
        digest.add("charged", charges);
        digest.add("hellos", own_hellos);
        let mut known: Vec<&Peer> = peers.iter().collect();
        known.sort_unstable_by_key(|peer| peer.id());
        for peer in known {
            digest.add("peer", peer);
        }
        for session in sessions.in_order() {
            digest.add("session", session);
        }
        digest.add("tentative", tentative);
        for connection in connections.iter() {
            digest.add("connection", (connection.id(), connection.owner(), connection.is_open()));
        }
        digest.add("services", services);
        digest.add("waiters", place_waiters);
        digest.add("own", own);
        digest.add("stopping", stopping);
        digest.0.finalize().into()
    }
}
