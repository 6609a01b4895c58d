//! From bytes to packets, and to whom they belong.

use alloc::vec::Vec;

use super::Node;
use crate::admission::{HandshakeVerdict, Offered};
use crate::connection::Owner;
use crate::env::Effect;
use crate::id::{ConnectionId, NodeId};
use crate::identity::PublicKey;
use crate::note::Cause;
use crate::peer::Offer;
use crate::query::AttemptResult;
use crate::session::Responder;
use crate::slab::Key;
use crate::wire::handshake::{HelloPayload, WelcomePayload};
use crate::wire::packet::{Packet, PacketError, SessionId, put_busy, put_retry, put_stale, put_welcome};

/// Code and tenths of a second of the answer that says that this node has no room for a handshake now.
const BUSY_CODE: u8 = 1;
const BUSY_TENTHS: u16 = 5;

impl Node {
    /// Bytes have come by a connection.
    pub(super) fn received(&mut self, on: ConnectionId, bytes: &[u8]) {
        if !self.env.connections.received(self.env.now, on, bytes.len()) {
            return;
        }
        // The stream is taken out while it is worked on, since any packet may end the connection; and so is the room for plaintexts.
        let Some(mut stream) = self.env.connections.get_mut(on).map(|connection| connection.take_stream()) else {
            return;
        };
        let (mut bytes, mut room) = (bytes, core::mem::take(&mut self.plaintext));
        while let Some(connection) = self.env.connections.get(on).filter(|connection| connection.is_open()) {
            match stream.next(&mut bytes, connection.longest_packet()) {
                Ok(Some(packet)) => {
                    self.packet(on, packet, &mut room);
                    self.drain_effects();
                }
                Ok(None) => {
                    if let Some(connection) = self.env.connections.get_mut(on) {
                        connection.return_stream(stream);
                    }
                    break;
                }
                Err(_) => {
                    self.env.note(Cause::PacketTooLong, self.peer_id_on(on), Some(on));
                    self.end_connection(on, AttemptResult::AnotherNode);
                }
            }
        }
        self.plaintext = room;
        self.arm_connection(on);
    }

    fn packet(&mut self, on: ConnectionId, packet: &[u8], room: &mut Vec<u8>) {
        match Packet::parse(packet) {
            Ok(Packet::Sealed { sid, counter }) => self.sealed(on, (sid, counter), packet, room),
            Ok(Packet::Hello { isid, cookie, noise }) => self.hello(on, isid, &cookie, noise),
            Ok(Packet::Welcome { isid, noise }) => {
                if let Some(peer) = self.peer_on(on).and_then(|key| self.peers.get_mut(key)) {
                    peer.welcome(&mut self.env, on, isid, noise);
                }
            }
            Ok(Packet::Retry { isid, cookie }) => {
                if let Some(peer) = self.peer_on(on).and_then(|key| self.peers.get_mut(key)) {
                    peer.retry(&mut self.env, on, isid, cookie);
                }
            }
            Ok(Packet::Stale { sid, counter }) => {
                if let Some(peer) = self.peer_on(on).and_then(|key| self.peers.get_mut(key)) {
                    peer.stale(&mut self.env, on, sid, counter);
                }
            }
            Ok(Packet::Busy { isid, wait, .. }) => {
                if let Some(peer) = self.peer_on(on).and_then(|key| self.peers.get_mut(key)) {
                    peer.busy(&mut self.env, on, isid, wait);
                }
            }
            Err(PacketError::UnknownVersion(_)) => {
                self.env.note(Cause::UnknownVersion, self.peer_id_on(on), Some(on));
                self.env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
            }
            Err(PacketError::Malformed) => self.violated(on),
        }
    }

    /// The rules of the protocol were broken: nothing more is believed on this connection.
    fn violated(&mut self, on: ConnectionId) {
        self.env.note(Cause::ProtocolViolation, self.peer_id_on(on), Some(on));
        self.env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
    }

    fn sealed(&mut self, on: ConnectionId, (sid, counter): (SessionId, u64), packet: &[u8], room: &mut Vec<u8>) {
        let Some(key) = self.sessions.peer(sid) else {
            let now = self.env.now;
            if self.env.connections.get_mut(on).is_some_and(|connection| connection.may_say_stale(now)) {
                self.env.connections.put(now, on, |out| put_stale(out, sid, counter));
            }
            return;
        };
        let Some(peer) = self.peers.get_mut(key) else { return };
        let Some(opened) = peer.open(&mut self.env, on, sid, packet, room) else { return };
        if opened.confirms {
            self.tentative.remove(sid);
            self.peers.touch(key, false);
            if !self.make_room_for_session(sid) {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.break_session(&mut self.env, sid, crate::wire::code::BreakCode::Memory);
                }
                return;
            }
        }
        if let Some(peer) = self.peers.get_mut(key) {
            peer.take(&mut self.env, on, sid, &opened);
        }
    }

    /// A first handshake message. Whatever it says can be a replay; nothing it asks for is done before a record confirms it.
    fn hello(&mut self, on: ConnectionId, isid: SessionId, cookie: &[u8; 16], noise: &[u8; 150]) {
        let now = self.env.now;
        if let Some(welcome) = self.tentative.welcome(isid, noise) {
            self.env.connections.put(now, on, |out| out.extend_from_slice(welcome));
            return;
        }
        if let Some(peer) = self.env.own_hellos.get(&isid).copied().and_then(|key| self.peers.get_mut(key)) {
            self.env.note(Cause::ConnectedToMyself, None, Some(on));
            peer.meets_this_node(&mut self.env);
            return self.env.effects.push(Effect::Close(on, AttemptResult::Myself));
        }
        let ephemeral = noise.first_chunk().unwrap_or(&[0; 32]);
        let crowded = self.tentative.len() >= self.env.limits.tentative_sessions.div_ceil(2);
        let path = (on.0.age(), isid.0, ephemeral);
        match self.handshakes.judge(path, cookie, crowded, &mut self.env.random, now) {
            HandshakeVerdict::Compute if !self.env.stopping => {}
            HandshakeVerdict::Retry(fresh) => {
                self.env.note(Cause::HandshakeRefused, None, Some(on));
                self.env.connections.put(now, on, |out| put_retry(out, isid, &fresh));
                return;
            }
            HandshakeVerdict::Compute | HandshakeVerdict::Busy => {
                self.env.note(Cause::HandshakeRefused, None, Some(on));
                self.env.connections.put(now, on, |out| put_busy(out, isid, BUSY_CODE, BUSY_TENTHS));
                return;
            }
        }
        let own_ephemeral = self.env.random.ephemeral();
        let Ok((responder, payload)) = Responder::open(&self.env.identity, isid.0, own_ephemeral, noise) else {
            self.env.note(Cause::HandshakeNotForMe, None, Some(on));
            return self.env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
        };
        let Ok(payload) = HelloPayload::parse(&payload) else { return self.violated(on) };
        let Ok(public_key) = PublicKey::from_bytes(&payload.key) else { return self.violated(on) };
        if !responder.claims(&public_key) {
            return self.violated(on);
        }
        let Some(key) = self.initiator(on, isid, NodeId::of(&public_key)) else { return };
        self.offer(on, (isid, noise), key, public_key, &payload, responder);
    }

    /// Whoever has sent a first handshake message, if it may be answered: neither this very node, nor another than the connection's, nor one too
    /// many.
    fn initiator(&mut self, on: ConnectionId, isid: SessionId, id: NodeId) -> Option<Key> {
        if id == self.env.id {
            self.env.note(Cause::ConnectedToMyself, None, Some(on));
            self.env.effects.push(Effect::Close(on, AttemptResult::Myself));
            return None;
        }
        if self.peer_id_on(on).is_some_and(|expected| expected != id) {
            self.env.note(Cause::ConnectedToAnother, Some(id), Some(on));
            self.env.effects.push(Effect::Close(on, AttemptResult::AnotherNode));
            return None;
        }
        let key = if self.has_room_for_session() { self.peers.find_or_make(id, &mut self.env) } else { None };
        if key.is_none() {
            self.env.note(Cause::HandshakeRefused, Some(id), Some(on));
            self.env.connections.put(self.env.now, on, |out| put_busy(out, isid, BUSY_CODE, BUSY_TENTHS));
        }
        key
    }

    /// Answers a first handshake message, and holds the session that it offers.
    fn offer(
        &mut self,
        on: ConnectionId,
        (isid, noise): (SessionId, &[u8; 150]),
        key: Key,
        public_key: PublicKey,
        payload: &HelloPayload,
        responder: Responder,
    ) {
        if let Some((victim, of)) = self.tentative.makes_way(key, on, self.env.limits.tentative_sessions)
            && let Some(peer) = self.peers.get_mut(of)
        {
            peer.drop_tentative(&mut self.env, victim);
            self.drain_effects();
        }
        let Some(peer) = self.peers.get_mut(key) else { return };
        let (held, generation) = peer.answer_to(payload);
        let sid = self.env.random.session_id();
        let most = u16::try_from(self.env.limits.incoming_per_peer).unwrap_or(u16::MAX);
        let answer = WelcomePayload { rsid: sid, generation, held, max_outstanding: most };
        let Ok((message, keys)) = responder.answer(&answer.encode()) else { return self.violated(on) };
        let mut welcome = Vec::new();
        put_welcome(&mut welcome, isid, &message);
        peer.offered(&mut self.env, Offer { isid, sid, public_key, generation, keys });
        self.sessions.offered(sid, key);
        self.env.connections.put(self.env.now, on, |out| out.extend_from_slice(&welcome));
        let hello = alloc::boxed::Box::new(*noise);
        self.tentative.add(Offered { sid, peer: key, on, isid, hello, welcome });
    }

    /// The peer that a connection belongs to, or was dialled to meet.
    pub(super) fn peer_on(&self, on: ConnectionId) -> Option<Key> {
        match self.env.connections.get(on)?.owner() {
            Owner::Stranger => None,
            Owner::Meant(key) | Owner::Peer(key) => Some(key),
        }
    }

    fn peer_id_on(&self, on: ConnectionId) -> Option<NodeId> {
        self.peer_on(on).and_then(|key| self.peers.get(key)).map(|peer| peer.id())
    }
}
