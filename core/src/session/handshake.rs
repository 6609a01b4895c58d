//! The handshake: two Noise IK messages, after which both sides hold the keys of one session.
//!
//! The prologue names the recipient and the handshake, so that a message made for another node, or for another handshake,
//! is not opened. The initiator's Ed25519 key travels inside the first message; see [`Responder::claims`].

use snow::HandshakeState;
use zeroize::{Zeroize, Zeroizing};

use super::noise;
use crate::id::NodeId;
use crate::identity::{Identity, PublicKey};

/// What the initiator says in the first message: its key, its generation and the sessions that it asks about.
type FirstPayload = [u8; 54];
/// An ephemeral key, a sealed static key and a sealed [`FirstPayload`].
type FirstMessage = [u8; 32 + 48 + 54 + 16];
/// What the responder says in the second message.
type SecondPayload = [u8; 16];
/// An ephemeral key and a sealed [`SecondPayload`].
type SecondMessage = [u8; 32 + 16 + 16];

/// The side that speaks first, while it waits for the answer.
pub(crate) struct Initiator {
    state: HandshakeState,
}

impl Initiator {
    /// Begins a handshake with the node that holds `remote`, and makes its first message.
    ///
    /// `ephemeral` must never have been used before, for anything. `isid` is the number that the answer will carry.
    pub(crate) fn start(
        identity: &Identity,
        remote: &PublicKey,
        isid: [u8; 8],
        ephemeral: [u8; 32],
        payload: &FirstPayload,
    ) -> Result<(Self, FirstMessage), HandshakeError> {
        let mut state = noise::builder(ephemeral)
            .local_private_key(identity.dh_secret().as_ref())?
            .remote_public_key(&remote.dh_public())?
            .prologue(&prologue(NodeId::of(remote), isid))?
            .build_initiator()?;
        let mut message = [0; _];
        state.write_message(payload, &mut message)?;
        Ok((Self { state }, message))
    }

    /// Opens the answer, once.
    ///
    /// After an error everything is as before, so that whoever forges an answer cannot keep out the right one.
    pub(crate) fn finish(&mut self, message: &SecondMessage) -> Result<(Established, SecondPayload), HandshakeError> {
        let mut payload = [0; _];
        self.state.read_message(message, &mut payload)?;
        Ok((Established::of(&mut self.state), payload))
    }
}

/// The side that was spoken to, before it has answered.
pub(crate) struct Responder {
    state: HandshakeState,
    remote_dh_public: [u8; 32],
}

impl Responder {
    /// Opens a first message that carried this `isid`.
    ///
    /// `ephemeral` is for the answer, and must never have been used before, for anything.
    pub(crate) fn open(
        identity: &Identity,
        isid: [u8; 8],
        ephemeral: [u8; 32],
        message: &FirstMessage,
    ) -> Result<(Self, FirstPayload), HandshakeError> {
        let mut state = noise::builder(ephemeral)
            .local_private_key(identity.dh_secret().as_ref())?
            .prologue(&prologue(identity.node_id(), isid))?
            .build_responder()?;
        let mut payload = [0; _];
        state.read_message(message, &mut payload)?;
        let remote_dh_public = state.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(HandshakeError)?;
        Ok((Self { state, remote_dh_public }, payload))
    }

    /// Whether the initiator holds the secret of `key`, which it named in its payload.
    ///
    /// A point and its negative share one X25519 key, so both may be claimed; only who knows their common secret can claim
    /// either, and they are two nodes with two ids.
    pub(crate) fn claims(&self, key: &PublicKey) -> bool {
        key.dh_public() == self.remote_dh_public
    }

    /// Makes the second message.
    pub(crate) fn answer(mut self, payload: &SecondPayload) -> Result<(SecondMessage, Established), HandshakeError> {
        let mut message = [0; _];
        self.state.write_message(payload, &mut message)?;
        Ok((message, Established::of(&mut self.state)))
    }
}

/// What a finished handshake leaves: the first key of each direction, and a hash that names the session for both sides.
pub(crate) struct Established {
    pub(crate) send_key: Zeroizing<[u8; 32]>,
    pub(crate) receive_key: Zeroizing<[u8; 32]>,
    pub(crate) handshake_hash: [u8; 32],
}

impl Established {
    fn of(state: &mut HandshakeState) -> Self {
        let handshake_hash = state.get_handshake_hash().try_into().expect("SHA-256 gives 32 bytes");
        let (mut by_initiator, mut by_responder) = state.dangerously_get_raw_split();
        let from_initiator = Zeroizing::new(by_initiator);
        let from_responder = Zeroizing::new(by_responder);
        by_initiator.zeroize();
        by_responder.zeroize();
        let (send_key, receive_key) =
            if state.is_initiator() { (from_initiator, from_responder) } else { (from_responder, from_initiator) };
        Self { send_key, receive_key, handshake_hash }
    }
}

/// The message was not made for this node and this handshake, or was altered, or rests on a key of small order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HandshakeError;

impl From<snow::Error> for HandshakeError {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

/// `EGTP`, the version, the recipient's id, the number that the initiator chose.
pub(super) fn prologue(recipient: NodeId, isid: [u8; 8]) -> [u8; 33] {
    let mut bytes = [0; 33];
    let fields = b"EGTP\x02".iter().chain(recipient.as_bytes()).chain(&isid);
    for (byte, field) in bytes.iter_mut().zip(fields) {
        *byte = *field;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISID: [u8; 8] = *b"one isid";
    const FIRST: FirstPayload = [0x11; 54];
    const SECOND: SecondPayload = [0x22; 16];

    fn identities() -> (Identity, Identity) {
        (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]))
    }

    fn hello(from: &Identity, to: &PublicKey) -> (Initiator, FirstMessage) {
        Initiator::start(from, to, ISID, [3; 32], &FIRST).unwrap()
    }

    #[test]
    fn both_sides_end_with_the_same_keys_crossed_and_the_same_hash() {
        let (a, b) = identities();
        let (mut initiator, first) = hello(&a, &b.public_key());
        let (responder, payload) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        assert_eq!(payload, FIRST);
        assert_eq!(responder.remote_dh_public, a.public_key().dh_public());
        let (second, at_b) = responder.answer(&SECOND).unwrap();
        let (at_a, payload) = initiator.finish(&second).unwrap();
        assert_eq!(payload, SECOND);
        assert_eq!(at_a.send_key, at_b.receive_key);
        assert_eq!(at_a.receive_key, at_b.send_key);
        assert_ne!(at_a.send_key, at_a.receive_key);
        assert_eq!(at_a.handshake_hash, at_b.handshake_hash);
    }

    #[test]
    fn each_side_sends_exactly_the_ephemeral_that_it_was_given() {
        let (a, b) = identities();
        let (_, first) = hello(&a, &b.public_key());
        let (responder, _) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        let (second, _) = responder.answer(&SECOND).unwrap();
        let public = |secret| curve25519_dalek::MontgomeryPoint::mul_base_clamped(secret).to_bytes();
        assert_eq!(first[..32], public([3; 32]));
        assert_eq!(second[..32], public([4; 32]));
    }

    #[test]
    fn only_the_recipient_opens_the_first_message_and_only_for_its_own_handshake() {
        let (a, b) = identities();
        let (_, first) = hello(&a, &b.public_key());
        assert!(Responder::open(&a, ISID, [4; 32], &first).is_err());
        assert!(Responder::open(&Identity::from_seed(&[5; 32]), ISID, [4; 32], &first).is_err());
        assert!(Responder::open(&b, *b"two isid", [4; 32], &first).is_err());
    }

    #[test]
    fn a_first_message_with_any_byte_altered_is_refused() {
        let (a, b) = identities();
        let (_, first) = hello(&a, &b.public_key());
        for at in 0..first.len() {
            let mut altered = first;
            altered[at] ^= 0x80;
            assert!(Responder::open(&b, ISID, [4; 32], &altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_altered_or_foreign_answer_is_refused_and_the_right_one_accepted_afterwards() {
        let (a, b) = identities();
        let (mut initiator, first) = hello(&a, &b.public_key());
        let (responder, _) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        let (second, at_b) = responder.answer(&SECOND).unwrap();
        for at in 0..second.len() {
            let mut altered = second;
            altered[at] ^= 0x80;
            assert!(initiator.finish(&altered).is_err(), "byte {at}");
        }
        let (_, other) = Initiator::start(&a, &b.public_key(), ISID, [6; 32], &FIRST).unwrap();
        let (responder, _) = Responder::open(&b, ISID, [7; 32], &other).unwrap();
        assert!(initiator.finish(&responder.answer(&SECOND).unwrap().0).is_err());

        let (at_a, _) = initiator.finish(&second).unwrap();
        assert_eq!(at_a.send_key, at_b.receive_key);
        assert_eq!(at_a.receive_key, at_b.send_key);
        assert_eq!(at_a.handshake_hash, at_b.handshake_hash);
    }

    #[test]
    fn an_answer_is_accepted_once() {
        let (a, b) = identities();
        let (mut initiator, first) = hello(&a, &b.public_key());
        let (responder, _) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        let (second, _) = responder.answer(&SECOND).unwrap();
        assert!(initiator.finish(&second).is_ok());
        assert!(initiator.finish(&second).is_err());
    }

    #[test]
    fn an_initiator_can_claim_its_own_key_and_no_other() {
        let (a, b) = identities();
        let (_, first) = hello(&a, &b.public_key());
        let (responder, _) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        assert!(responder.claims(&a.public_key()));
        assert!(!responder.claims(&b.public_key()));
        assert!(!responder.claims(&Identity::from_seed(&[5; 32]).public_key()));
    }

    #[test]
    fn a_key_and_its_negative_are_two_nodes_though_they_share_one_x25519_key() {
        let (a, b) = identities();
        let alias = negative(&b.public_key());
        assert_eq!(alias.dh_public(), b.public_key().dh_public());
        assert_ne!(NodeId::of(&alias), b.node_id());
        let (_, for_the_alias) = hello(&a, &alias);
        assert!(Responder::open(&b, ISID, [4; 32], &for_the_alias).is_err());

        let (_, first) = hello(&a, &b.public_key());
        let (responder, _) = Responder::open(&b, ISID, [4; 32], &first).unwrap();
        assert!(responder.claims(&negative(&a.public_key())));
        assert_ne!(NodeId::of(&negative(&a.public_key())), a.node_id());
    }

    fn negative(key: &PublicKey) -> PublicKey {
        let mut bytes = *key.as_bytes();
        bytes[31] ^= 0x80;
        PublicKey::from_bytes(&bytes).unwrap()
    }
}
