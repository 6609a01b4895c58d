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
    pub max_outstanding: u16,
}

impl WelcomePayload {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.rsid.to_vec();
        out.extend(self.generation.to_be_bytes());
        out.push(self.held);
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

#[cfg(test)]
mod tests {
    use super::*;

    const ISID: [u8; 8] = *b"initiate";

    fn hello() -> HelloPayload {
        HelloPayload { key: initiator().public_key(), generation: 3, asked: vec![[1; 8], [2; 8]] }
    }

    fn welcome() -> WelcomePayload {
        WelcomePayload { rsid: *b"responds", generation: 4, held: 2, max_outstanding: 1024 }
    }

    fn initiator() -> Identity {
        Identity([1; 32])
    }

    fn responder() -> Identity {
        Identity([2; 32])
    }

    fn greets(payload: &[u8]) -> (Initiator, Vec<u8>) {
        Initiator::start(&initiator(), &responder().public_key(), ISID, [3; 32], payload).expect("a usable key")
    }

    #[test]
    fn both_ends_have_the_same_keys() {
        let (waiting, first) = greets(&hello().encode());
        let opened = Responder::open(&responder(), ISID, &first).expect("a HELLO for this node");
        assert_eq!((first.len(), &opened.payload), (150, &hello()));
        let (second, keys) = opened.answer([4; 32], &welcome().encode()).expect("an answer");
        assert_eq!(second.len(), 64);
        assert_eq!(waiting.finish(&second), Some((keys, welcome())));
        assert_ne!(keys.of_initiator, keys.of_responder);
    }

    #[test]
    fn what_is_altered_or_for_somebody_else_does_not_open() {
        let (waiting, first) = greets(&hello().encode());
        assert!(Responder::open(&initiator(), ISID, &first).is_none());
        assert!(Responder::open(&responder(), *b"another.", &first).is_none());
        for at in 0..first.len() {
            let mut altered = first.clone();
            altered[at] ^= 1;
            assert!(Responder::open(&responder(), ISID, &altered).is_none(), "{at}");
            assert!(Responder::open(&responder(), ISID, &first[..at]).is_none(), "{at}");
        }
        let opened = Responder::open(&responder(), ISID, &first).expect("a HELLO for this node");
        let (second, _) = opened.answer([4; 32], &welcome().encode()).expect("an answer");
        for at in 0..second.len() {
            let mut altered = second.clone();
            altered[at] ^= 1;
            assert_eq!(waiting.clone().finish(&altered), None, "{at}");
            assert_eq!(waiting.clone().finish(&second[..at]), None, "{at}");
        }
    }

    #[test]
    fn whoever_claims_the_key_of_another_is_not_believed() {
        let claimed = HelloPayload { key: Identity([9; 32]).public_key(), ..hello() };
        assert!(Responder::open(&responder(), ISID, &greets(&claimed.encode()).1).is_none());
    }

    #[test]
    fn payloads_have_one_encoding() {
        for asked in [vec![], vec![[1; 8]], vec![[1; 8], [0; 8]]] {
            let payload = HelloPayload { asked, ..hello() };
            assert_eq!(HelloPayload::parse(&payload.encode()), Some(payload));
        }
        let none = HelloPayload { asked: Vec::new(), ..hello() }.encode();
        for (at, value) in [(36, 1), (37, 3), (38, 1), (53, 1)] {
            let mut altered = none.clone();
            altered[at] = value;
            assert_eq!(HelloPayload::parse(&altered), None, "{at}");
        }
        let good = welcome().encode();
        assert_eq!((good.len(), WelcomePayload::parse(&good)), (16, Some(welcome())));
        for (at, value) in [(12, 4), (12, 0xFF), (15, 1)] {
            let mut altered = good.clone();
            altered[at] = value;
            assert_eq!(WelcomePayload::parse(&altered), None, "{at}");
        }
        assert!((0..16).all(|length| WelcomePayload::parse(&good[..length]).is_none()));
        assert_eq!(WelcomePayload::parse(&[&good[..], &[0]].concat()), None);
    }
}
