//! Noise_IK_25519_ChaChaPoly_SHA256 and what its two messages say.

use super::crypto::{dh, dh_public, hkdf, open, seal, sha256};
use super::identity::{Identity, dh_public_of, node_id};
use super::{Key, take};

const NAME: &Key = b"Noise_IK_25519_ChaChaPoly_SHA256";

/// What a HELLO says in its encryption.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the fields are")]
pub struct HelloPayload {
    pub key: Key,
    pub generation: u32,
    pub asked: Vec<[u8; 8]>,
}

impl HelloPayload {
    /// Its bytes.
    ///
    /// # Panics
    ///
    /// If it asks about more than 255 sessions.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.key.to_vec();
        out.extend(self.generation.to_be_bytes());
        out.extend([0, u8::try_from(self.asked.len()).expect("a HELLO asks about two sessions at most")]);
        out.extend(self.asked.concat());
        out.resize(54, 0);
        out
    }

    /// Nothing if the bytes are no such payload.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let key = take(&mut bytes)?;
        let generation = u32::from_be_bytes(take(&mut bytes)?);
        let [0, count @ 0..=2] = take(&mut bytes)? else { return None };
        let asked = (0..count).map(|_| take(&mut bytes)).collect::<Option<_>>()?;
        bytes.iter().all(|&byte| byte == 0).then_some(Self { key, generation, asked })
    }
}

/// What a WELCOME says in its encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the fields are")]
pub struct WelcomePayload {
    pub rsid: [u8; 8],
    pub generation: u32,
    pub held: u8,
    pub boot: u64,
    pub max_outstanding: u16,
}

impl WelcomePayload {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.rsid.to_vec();
        out.extend(self.generation.to_be_bytes());
        out.push(self.held);
        out.extend(self.boot.to_be_bytes());
        out.extend(self.max_outstanding.to_be_bytes());
        out.push(0);
        out
    }

    /// Nothing if the bytes are no such payload.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let payload = Self {
            rsid: take(&mut bytes)?,
            generation: u32::from_be_bytes(take(&mut bytes)?),
            held: u8::from_be_bytes(take(&mut bytes)?),
            boot: u64::from_be_bytes(take(&mut bytes)?),
            max_outstanding: u16::from_be_bytes(take(&mut bytes)?),
        };
        (bytes == [0] && payload.held <= 3).then_some(payload)
    }
}

/// What the two messages leave to both sides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys {
    /// Noise's handshake hash.
    pub hash: Key,
    /// For records of the initiator, in the first epoch.
    pub of_initiator: Key,
    /// For records of the responder, in the first epoch.
    pub of_responder: Key,
}

/// A handshake that was begun.
#[derive(Clone, Debug)]
pub struct Initiator {
    state: Symmetric,
    ephemeral: Key,
    dh_secret: Key,
}

impl Initiator {
    /// Begins one; gives the Noise message of the HELLO as well, or nothing if the responder's key is unusable.
    pub fn start(
        me: &Identity,
        responder: &Key,
        isid: [u8; 8],
        ephemeral: Key,
        payload: &[u8],
    ) -> Option<(Self, Vec<u8>)> {
        let (e, s, rs) = (dh_public(&ephemeral), me.dh_secret(), dh_public_of(responder)?);
        let mut state = Symmetric::new(&prologue(&node_id(responder), isid), &rs);
        let mut message = e.to_vec();
        state.mix_hash(&e);
        state.mix_key(&dh(&ephemeral, &rs)?);
        message.extend(state.encrypt(&dh_public(&s)));
        state.mix_key(&dh(&s, &rs)?);
        message.extend(state.encrypt(payload));
        Some((Self { state, ephemeral, dh_secret: s }, message))
    }

    /// Takes the Noise message of the WELCOME; gives its payload too, or nothing if it is none for this HELLO.
    pub fn finish(mut self, message: &[u8]) -> Option<(Keys, WelcomePayload)> {
        let (re, sealed) = message.split_first_chunk()?;
        self.state.mix_hash(re);
        self.state.mix_key(&dh(&self.ephemeral, re)?);
        self.state.mix_key(&dh(&self.dh_secret, re)?);
        let payload = WelcomePayload::parse(&self.state.decrypt(sealed)?)?;
        Some((self.state.split(), payload))
    }
}

/// A HELLO that was opened.
#[derive(Clone, Debug)]
pub struct Responder {
    state: Symmetric,
    initiator_ephemeral: Key,
    initiator_static: Key,
    /// What it said.
    pub payload: HelloPayload,
}

impl Responder {
    /// Opens the Noise message of a HELLO; nothing if it is none for this node, or of whom it says that it is.
    pub fn open(me: &Identity, isid: [u8; 8], message: &[u8]) -> Option<Self> {
        let (e, sealed) = message.split_first_chunk()?;
        let (sealed_static, sealed_payload) = sealed.split_first_chunk::<48>()?;
        let secret = me.dh_secret();
        let mut state = Symmetric::new(&prologue(&me.node_id(), isid), &dh_public(&secret));
        state.mix_hash(e);
        state.mix_key(&dh(&secret, e)?);
        let initiator_static: Key = state.decrypt(sealed_static)?.try_into().ok()?;
        state.mix_key(&dh(&secret, &initiator_static)?);
        let payload = HelloPayload::parse(&state.decrypt(sealed_payload)?)?;
        if dh_public_of(&payload.key)? != initiator_static {
            return None;
        }
        Some(Self { state, initiator_ephemeral: *e, initiator_static, payload })
    }

    /// Gives the Noise message of the WELCOME, or nothing if the HELLO was made to yield a key that anybody knows.
    pub fn answer(mut self, ephemeral: Key, payload: &[u8]) -> Option<(Vec<u8>, Keys)> {
        let e = dh_public(&ephemeral);
        self.state.mix_hash(&e);
        self.state.mix_key(&dh(&ephemeral, &self.initiator_ephemeral)?);
        self.state.mix_key(&dh(&ephemeral, &self.initiator_static)?);
        let sealed = self.state.encrypt(payload);
        Some(([&e[..], &sealed].concat(), self.state.split()))
    }
}

/// What both sides hash first.
pub fn prologue(recipient: &[u8; 20], isid: [u8; 8]) -> Vec<u8> {
    [b"EGTP\x02", &recipient[..], &isid].concat()
}

/// Noise's SymmetricState.
#[derive(Clone, Debug)]
struct Symmetric {
    hash: Key,
    chaining_key: Key,
    key: Key,
    nonce: u64,
}

impl Symmetric {
    fn new(prologue: &[u8], responder: &Key) -> Self {
        let mut state = Self { hash: *NAME, chaining_key: *NAME, key: [0; 32], nonce: 0 };
        state.mix_hash(prologue);
        state.mix_hash(responder);
        state
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = sha256(&[&self.hash, data]);
    }

    fn mix_key(&mut self, secret: &Key) {
        (self.chaining_key, self.key) = hkdf(&self.chaining_key, secret);
        self.nonce = 0;
    }

    fn encrypt(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let sealed = seal(&self.key, self.nonce, &self.hash, plaintext);
        self.nonce += 1;
        self.mix_hash(&sealed);
        sealed
    }

    fn decrypt(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let plaintext = open(&self.key, self.nonce, &self.hash, sealed)?;
        self.nonce += 1;
        self.mix_hash(sealed);
        Some(plaintext)
    }

    fn split(&self) -> Keys {
        let (of_initiator, of_responder) = hkdf(&self.chaining_key, b"");
        Keys { hash: self.hash, of_initiator, of_responder }
    }
}
