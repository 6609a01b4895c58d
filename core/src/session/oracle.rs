//! A second Noise IK, written from the specification alone, that shares no code with the first: what both say must be the
//! same, byte for byte. Unlike the first it accepts keys of small order, so that the tests can play an attacker.

use alloc::vec::Vec;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use curve25519_dalek::MontgomeryPoint;
use sha2::{Digest, Sha256};

type Bytes32 = [u8; 32];

#[derive(Clone, Copy)]
struct KeyPair {
    secret: Bytes32,
    public: Bytes32,
}

impl KeyPair {
    fn of(secret: Bytes32) -> Self {
        Self { secret, public: MontgomeryPoint::mul_base_clamped(secret).to_bytes() }
    }

    /// A point of small order in place of a public key. Whoever meets it computes zero, so nobody needs its secret.
    const WEAK: Self = Self { secret: [0; 32], public: [0; 32] };

    fn dh(&self, public: &Bytes32) -> Bytes32 {
        if self.public == Self::WEAK.public {
            return [0; 32];
        }
        MontgomeryPoint(*public).mul_clamped(self.secret).to_bytes()
    }
}

struct Symmetric {
    hash: Bytes32,
    chaining_key: Bytes32,
    key: Bytes32,
    nonce: u64,
}

impl Symmetric {
    fn new(prologue: &[u8], responder: &Bytes32) -> Self {
        let name = *b"Noise_IK_25519_ChaChaPoly_SHA256";
        let mut state = Self { hash: name, chaining_key: name, key: [0; 32], nonce: 0 };
        state.mix_hash(prologue);
        state.mix_hash(responder);
        state
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    fn mix_key(&mut self, secret: &Bytes32) {
        (self.chaining_key, self.key) = hkdf(&self.chaining_key, secret);
        self.nonce = 0;
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut text = plaintext.to_vec();
        let cipher = ChaCha20Poly1305::new(&self.key.into());
        let tag = cipher.encrypt_inout_detached(&nonce(self.nonce), &self.hash, text.as_mut_slice().into()).unwrap();
        text.extend_from_slice(&tag);
        self.nonce += 1;
        self.mix_hash(&text);
        text
    }

    fn decrypt(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (text, tag) = sealed.split_at(sealed.len() - 16);
        let (mut text, tag) = (text.to_vec(), Tag::try_from(tag).unwrap());
        let cipher = ChaCha20Poly1305::new(&self.key.into());
        cipher.decrypt_inout_detached(&nonce(self.nonce), &self.hash, text.as_mut_slice().into(), &tag).ok()?;
        self.nonce += 1;
        self.mix_hash(sealed);
        Some(text)
    }

    fn split(&self) -> (Bytes32, Bytes32) {
        hkdf(&self.chaining_key, b"")
    }
}

fn nonce(counter: u64) -> chacha20poly1305::Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    bytes.into()
}

fn hkdf(chaining_key: &Bytes32, input: &[u8]) -> (Bytes32, Bytes32) {
    let temporary = hmac(chaining_key, input);
    let first = hmac(&temporary, &[1]);
    let second = hmac(&temporary, &[&first[..], &[2]].concat());
    (first, second)
}

fn hmac(key: &Bytes32, data: &[u8]) -> Bytes32 {
    let padded = |with: u8| -> [u8; 64] { core::array::from_fn(|at| key.get(at).unwrap_or(&0) ^ with) };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(data).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

/// Writes `-> e, es, s, ss` and the payload.
fn write_first(state: &mut Symmetric, e: &KeyPair, s: &KeyPair, rs: &Bytes32, payload: &[u8]) -> Vec<u8> {
    let mut message = e.public.to_vec();
    state.mix_hash(&e.public);
    state.mix_key(&e.dh(rs));
    message.extend(state.encrypt(&s.public));
    state.mix_key(&s.dh(rs));
    message.extend(state.encrypt(payload));
    message
}

/// Reads the same; gives the initiator's ephemeral and static key.
fn read_first(state: &mut Symmetric, s: &KeyPair, message: &[u8]) -> Option<(Bytes32, Bytes32, Vec<u8>)> {
    let re: Bytes32 = message[..32].try_into().unwrap();
    state.mix_hash(&re);
    state.mix_key(&s.dh(&re));
    let rs: Bytes32 = state.decrypt(&message[32..80])?.try_into().unwrap();
    state.mix_key(&s.dh(&rs));
    Some((re, rs, state.decrypt(&message[80..])?))
}

/// Writes `<- e, ee, se` and the payload.
fn write_second(state: &mut Symmetric, e: &KeyPair, re: &Bytes32, rs: &Bytes32, payload: &[u8]) -> Vec<u8> {
    state.mix_hash(&e.public);
    state.mix_key(&e.dh(re));
    state.mix_key(&e.dh(rs));
    [&e.public[..], &state.encrypt(payload)].concat()
}

/// Reads the same.
fn read_second(state: &mut Symmetric, e: &KeyPair, s: &KeyPair, message: &[u8]) -> Option<Vec<u8>> {
    let re: Bytes32 = message[..32].try_into().unwrap();
    state.mix_hash(&re);
    state.mix_key(&e.dh(&re));
    state.mix_key(&s.dh(&re));
    state.decrypt(&message[32..])
}

mod tests {
    use super::super::handshake::prologue;
    use super::super::{Initiator, Responder};
    use super::*;
    use crate::identity::Identity;

    /// Everything that one handshake needs, from a seed.
    struct Setting {
        a: Identity,
        b: Identity,
        e_a: Bytes32,
        e_b: Bytes32,
        isid: [u8; 8],
        first: [u8; 54],
        second: [u8; 16],
    }

    impl Setting {
        fn new(seed: u8) -> Self {
            let bytes = |what: u8| -> Bytes32 { Sha256::digest([seed, what]).into() };
            Self {
                a: Identity::from_seed(&bytes(0)),
                b: Identity::from_seed(&bytes(1)),
                e_a: bytes(2),
                e_b: bytes(3),
                isid: [seed; 8],
                first: core::array::from_fn(|at| bytes(4)[at % 32]),
                second: core::array::from_fn(|at| bytes(5)[at]),
            }
        }

        fn static_a(&self) -> KeyPair {
            KeyPair::of(*self.a.dh_secret())
        }

        fn static_b(&self) -> KeyPair {
            KeyPair::of(*self.b.dh_secret())
        }

        fn symmetric(&self) -> Symmetric {
            Symmetric::new(&prologue(self.b.node_id(), self.isid), &self.static_b().public)
        }
    }

    #[test]
    fn both_implementations_write_the_same_transcript_and_reach_the_same_keys() {
        for seed in 0..8 {
            let x = Setting::new(seed);
            let (mut initiator, first) = Initiator::start(&x.a, &x.b.public_key(), x.isid, x.e_a, &x.first).unwrap();
            let (responder, _) = Responder::open(&x.b, x.isid, x.e_b, &first).unwrap();
            let (second, at_b) = responder.answer(&x.second).unwrap();
            let (at_a, _) = initiator.finish(&second).unwrap();

            let mut state = x.symmetric();
            let e_a = KeyPair::of(x.e_a);
            assert_eq!(write_first(&mut state, &e_a, &x.static_a(), &x.static_b().public, &x.first), first);
            assert_eq!(read_second(&mut state, &e_a, &x.static_a(), &second).unwrap(), x.second);
            assert_eq!(state.split(), (*at_a.send_key, *at_a.receive_key));
            assert_eq!(state.hash, at_a.handshake_hash);

            let mut state = x.symmetric();
            let (re, rs, payload) = read_first(&mut state, &x.static_b(), &first).unwrap();
            assert_eq!(rs, x.a.public_key().dh_public());
            assert_eq!(payload, x.first);
            assert_eq!(write_second(&mut state, &KeyPair::of(x.e_b), &re, &rs, &x.second), second);
            assert_eq!(state.split(), (*at_b.receive_key, *at_b.send_key));
            assert_eq!(state.hash, at_b.handshake_hash);
        }
    }

    #[test]
    fn a_first_message_that_rests_on_points_of_small_order_is_refused() {
        let x = Setting::new(0);
        let e = KeyPair::of(x.e_a);
        for (e, s) in [(KeyPair::WEAK, x.static_a()), (e, KeyPair::WEAK), (KeyPair::WEAK, KeyPair::WEAK)] {
            let message = write_first(&mut x.symmetric(), &e, &s, &x.static_b().public, &x.first);
            assert!(read_first(&mut x.symmetric(), &x.static_b(), &message).is_some(), "the forgery is well made");
            assert!(Responder::open(&x.b, x.isid, x.e_b, &message.try_into().unwrap()).is_err());
        }
    }

    #[test]
    fn an_answer_that_rests_on_a_point_of_small_order_is_refused_and_the_right_one_accepted_afterwards() {
        let x = Setting::new(0);
        let (mut initiator, first) = Initiator::start(&x.a, &x.b.public_key(), x.isid, x.e_a, &x.first).unwrap();
        let answer = |e: &KeyPair| -> [u8; 64] {
            let mut state = x.symmetric();
            let (re, rs, _) = read_first(&mut state, &x.static_b(), &first).unwrap();
            write_second(&mut state, e, &re, &rs, &x.second).try_into().unwrap()
        };
        assert!(initiator.finish(&answer(&KeyPair::WEAK)).is_err());
        assert!(initiator.finish(&answer(&KeyPair::of(x.e_b))).is_ok());
    }
}
