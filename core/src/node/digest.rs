//! What a node remembers, in 20 bytes: equal before and after input that it has rejected.

use alloc::vec::Vec;
use core::fmt::{self, Debug, Write as _};

use sha1::{Digest as _, Sha1};

use super::Node;
use crate::connection::Connection;
use crate::id::NodeId;
use crate::peer::{Peer, PendingHandshake};
use crate::session::state::Session;
use crate::timer::Timer;

impl Node {
    /// See [`internal::digest`](crate::internal::digest), which says what is in it. Every field is named here, so that a new one cannot be
    /// forgotten.
    pub(crate) fn digest(&self) -> [u8; 20] {
        let Self {
            limits: _,
            settings: _,
            identity: _,
            id: _,
            now: _,
            random: _,
            boot: _,
            timers,
            actions: _,
            undelivered_bytes: _,
            reading_stopped: _,
            notes: _,
            next_id: _,
            served,
            queries,
            query_bytes,
            incoming,
            reply_bytes,
            peers,
            peer_order,
            next_stamp: _,
            sessions,
            session_order,
            tentative,
            assembly_bytes,
            cookies: _,
            handshakes: _,
            connections,
            unauthenticated,
            writers: _,
            slot_waiters,
            throttle,
            up: _,
            down: _,
            lookups,
            lookup_waiters,
            discoveries,
            own,
            stored_records,
            stopping,
            _the_loop_owns_it: _,
        } = self;
        let mut digest = Digest::default();
        for due in timers.due().filter(|(_, timer)| !paces(*timer)) {
            digest.add("timer", due);
        }
        digest.add("served", served);
        digest.add("queries", queries);
        digest.add("incoming", incoming);
        digest.add("charged", &(query_bytes, reply_bytes, assembly_bytes));
        // Not in the order of the table, which is none, nor in that of their use: whoever is needed is in it again and again.
        let mut known: Vec<&NodeId> = peers.keys().collect();
        known.sort_unstable();
        for id in known {
            if let Some(peer) = peers.get(id) {
                digest.add("peer", id.as_bytes());
                digest.add_peer(peer);
            }
        }
        for (asked, _, id) in peer_order {
            if peers.get(id).is_some_and(|peer| !peer.is_needed()) {
                digest.add("to be forgotten", &(asked, id.as_bytes()));
            }
        }
        for (_, _, sid) in session_order {
            if let Some(session) = sessions.get(sid) {
                digest.add_session(session);
            }
        }
        digest.add("sessions", &(sessions.len(), session_order, tentative));
        for connection in connections.values() {
            digest.add_connection(connection);
        }
        digest.add("unauthenticated", unauthenticated);
        digest.add("waiters", &(slot_waiters, lookup_waiters));
        digest.add("throttle", throttle);
        digest.add("services", &(lookups, discoveries, own, stored_records));
        digest.add("stopping", stopping);
        digest.hash.finalize().into()
    }
}

/// A hash of what is said of values. Their derived `Debug` leaves no field out.
#[derive(Default)]
struct Digest {
    hash: Sha1,
}

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hash.update(text);
        Ok(())
    }
}

impl Digest {
    fn add(&mut self, name: &str, value: &dyn Debug) {
        writeln!(self, "{name}: {value:?}").expect("a hash takes everything");
    }

    fn add_peer(&mut self, peer: &Peer) {
        let Peer {
            key,
            record,
            strategies,
            connections,
            dial,
            sessions,
            handshake,
            generation,
            held,
            outstanding,
            lookup,
            met,
            looked_up,
            busy_until,
            doubted,
            incoming,
            reply_bytes,
            congested,
            stalled,
            assembly_bytes,
            asked,
            stamp: _,
        } = peer;
        self.add("identity", &(key, record.as_ref().map(|record| record.as_bytes())));
        self.add("ways", &(strategies, connections, dial, lookup, met, looked_up));
        self.add("keys", &(sessions, generation, busy_until, doubted));
        if let Some(handshake) = handshake {
            let PendingHandshake {
                id,
                initiator: _,
                noise,
                cookie,
                busies,
                cookies,
                asked,
                generation,
                first_sent,
                sent_on,
            } = &**handshake;
            self.add("handshake", &(id, noise, cookie, busies, cookies, asked, generation, first_sent, sent_on));
        }
        self.add("under way", &(held, outstanding, incoming, reply_bytes, congested, stalled, assembly_bytes, asked));
    }

    fn add_session(&mut self, session: &Session) {
        let Session {
            id,
            peer_id,
            peer,
            initiated,
            made_on,
            generation,
            handshake_hash,
            phase,
            sealer: _,
            opener,
            clock,
            peer_clock,
            heard_on,
            last_used,
            question,
            answered,
            said_drained,
            heard_drained,
            numbers,
            incoming,
            assemblies,
            acknowledge,
            next_number,
            unsettled,
            outstanding,
            most_outstanding,
            given_up,
            outbox,
        } = session;
        self.add("session", &(id, peer_id, peer, initiated, made_on, generation, handshake_hash, phase));
        self.add("times", &(clock, peer_clock, heard_on, last_used, question, answered));
        self.add("drained", &(said_drained, heard_drained));
        self.add("received", &(opener, numbers, incoming, assemblies, acknowledge));
        self.add("sent", &(next_number, unsettled, outstanding, most_outstanding, given_up, outbox));
    }

    fn add_connection(&mut self, connection: &Connection) {
        let Connection {
            id,
            remote,
            dialled,
            phase,
            expected,
            peer,
            heard_in,
            brought_a_record,
            inbound,
            outbound: _,
            urgent: _,
            carried,
            owed,
            introduced,
            leave,
            hint,
            last_used,
            last_heard: _,
            last_sealed: _,
            last_written: _,
            probe,
            probe_ends: _,
            messages_received,
            up: _,
            down: _,
            taken_up: _,
            taken_down: _,
            stale_sent: _,
            hinted: _,
        } = connection;
        self.add("connection", &(id, remote, dialled, phase, expected, peer));
        self.add("heard in", &(heard_in, brought_a_record, introduced));
        self.add("carries", &(carried, owed, messages_received, inbound.buffered()));
        self.add("keeps", &(leave, hint, last_used, probe));
    }
}

/// Whether a timer only paces bytes.
fn paces(timer: Timer) -> bool {
    matches!(timer, Timer::ThrottleConnection(_) | Timer::ThrottleUp | Timer::ThrottleDown)
}
