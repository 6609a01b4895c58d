//! The primitives that `snow` runs on: X25519, ChaChaPoly and SHA-256 from this crate's own dependencies, and the one
//! ephemeral secret that the caller has drawn in place of a source of randomness.

use alloc::boxed::Box;

use curve25519_dalek::MontgomeryPoint;
use sha2::{Digest, Sha256};
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::CryptoResolver;
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error};
use zeroize::{Zeroize, Zeroizing};

use super::chacha_poly::{ChaChaPoly, TAG_LEN};

const PROTOCOL: &str = "Noise_IK_25519_ChaChaPoly_SHA256";

/// The beginning of one handshake, in which `ephemeral` is the only secret that is new.
pub(super) fn builder<'a>(ephemeral: [u8; 32]) -> Builder<'a> {
    let params = PROTOCOL.parse().expect("snow knows this protocol");
    Builder::with_resolver(params, Box::new(Primitives { ephemeral: Zeroizing::new(ephemeral) }))
}

struct Primitives {
    ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Primitives {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(OneSecret(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::default())),
            _ => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        match choice {
            HashChoice::SHA256 => Some(Box::new(Sha256Hash(Sha256::new()))),
            _ => None,
        }
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        match choice {
            CipherChoice::ChaChaPoly => Some(Box::new(ChaChaPoly::new(&[0; 32]))),
            _ => None,
        }
    }
}

/// Gives its 32 bytes to the first who asks for exactly 32, and nothing to anybody else: an ephemeral used twice would
/// give two handshakes the same keys.
struct OneSecret(Option<Zeroizing<[u8; 32]>>);

impl Random for OneSecret {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let dest: &mut [u8; 32] = dest.try_into().map_err(|_| Error::Rng)?;
        *dest = *self.0.take().ok_or(Error::Rng)?;
        Ok(())
    }
}

#[derive(Default)]
struct X25519 {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, secret: &[u8]) {
        self.secret.copy_from_slice(secret);
        self.public = MontgomeryPoint::mul_base_clamped(*self.secret).to_bytes();
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut secret = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(secret.as_mut())?;
        self.set(secret.as_ref());
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        &self.public
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_ref()
    }

    /// Refuses the all-zero secret, which a public key of small order gives with every secret key, so that anybody knows
    /// it (RFC 7748, section 6.1).
    fn dh(&self, public: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = MontgomeryPoint(*public.first_chunk().ok_or(Error::Input)?);
        let out: &mut [u8; 32] = out.first_chunk_mut().ok_or(Error::Input)?;
        let mut shared = public.mul_clamped(*self.secret);
        *out = shared.to_bytes();
        shared.zeroize();
        if out.iter().fold(0, |bits, byte| bits | byte) == 0 { Err(Error::Dh) } else { Ok(()) }
    }
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }

    fn set(&mut self, key: &[u8; 32]) {
        *self = Self::new(key);
    }

    fn encrypt(&self, nonce: u64, associated: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        let tag = rest.first_chunk_mut().expect("every message buffer has room for its tags");
        *tag = self.seal(nonce, associated, text);
        plaintext.len().saturating_add(TAG_LEN)
    }

    fn decrypt(&self, nonce: u64, associated: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        let (text, tag) = ciphertext.split_last_chunk().ok_or(Error::Decrypt)?;
        let out = out.get_mut(..text.len()).ok_or(Error::Decrypt)?;
        if self.open(nonce, associated, text, tag, out) { Ok(text.len()) } else { Err(Error::Decrypt) }
    }
}

struct Sha256Hash(Sha256);

impl Hash for Sha256Hash {
    fn name(&self) -> &'static str {
        "SHA256"
    }

    fn block_len(&self) -> usize {
        64
    }

    fn hash_len(&self) -> usize {
        32
    }

    fn reset(&mut self) {
        self.0.reset();
    }

    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn result(&mut self, out: &mut [u8]) {
        let out: &mut [u8; 32] = out.first_chunk_mut().expect("every hash buffer has at least 32 bytes");
        self.0.finalize_into_reset(out.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ephemeral_is_given_once_and_only_whole() {
        let mut rng = OneSecret(Some(Zeroizing::new([9; 32])));
        assert_eq!(rng.try_fill_bytes(&mut [0; 16]), Err(Error::Rng));
        let mut first = [0; 32];
        assert_eq!(rng.try_fill_bytes(&mut first), Ok(()));
        assert_eq!(first, [9; 32]);
        assert_eq!(rng.try_fill_bytes(&mut [0; 32]), Err(Error::Rng));
    }

    #[test]
    fn a_public_key_of_small_order_gives_no_secret() {
        let mut key = X25519::default();
        key.set(&[5; 32]);
        let mut one = [0; 32];
        one[0] = 1;
        for public in [[0; 32], one] {
            assert_eq!(key.dh(&public, &mut [0; 32]), Err(Error::Dh));
        }
        assert_eq!(key.dh(&curve25519_dalek::constants::X25519_BASEPOINT.to_bytes(), &mut [0; 32]), Ok(()));
    }

    /// The vector for this protocol in the collection that the Haskell library `cacophony` publishes.
    #[test]
    fn the_published_vector_is_reproduced() {
        let prologue = hex("4a6f686e2047616c74");
        let [initiator_secret, initiator_ephemeral, responder_public, responder_secret, responder_ephemeral]: [[u8; 32];
            5] = [
            "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
            "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
            "31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62",
            "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
            "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
        ]
        .map(|text| hex(text).try_into().unwrap());
        let mut initiator = builder(initiator_ephemeral)
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(&initiator_secret))
            .and_then(|builder| builder.remote_public_key(&responder_public))
            .and_then(Builder::build_initiator)
            .unwrap();
        let mut responder = builder(responder_ephemeral)
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(&responder_secret))
            .and_then(Builder::build_responder)
            .unwrap();

        let mut first = [0; 112];
        assert_eq!(initiator.write_message(&hex("4c756477696720766f6e204d69736573"), &mut first), Ok(112));
        assert_eq!(
            first.as_slice(),
            hex("ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944718da798efbcd91528520204f904b9bd\
                 6c7413dccdc214d951e15253e39987f18146e8cd0873654207148333479d4d16c289f0294b29960a72f48e0b7bba2e89\
                 083169825e59642148d492020664ccf7")
        );
        assert_eq!(responder.read_message(&first, &mut [0; 16]), Ok(16));

        let mut second = [0; 63];
        assert_eq!(responder.write_message(&hex("4d757272617920526f746862617264"), &mut second), Ok(63));
        assert_eq!(
            second.as_slice(),
            hex("95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088435361e70b2ed446e6c9ec387d1d6b3b84\
                 0f194e373979d241b203c4acafccf5")
        );
        assert_eq!(initiator.read_message(&second, &mut [0; 15]), Ok(15));
        assert_eq!(
            initiator.get_handshake_hash(),
            hex("0b0f68fb0c27e03ce9b97565995ed4838cc0581b762ef72b062f6a546419fad7")
        );

        let (from_initiator, from_responder) = initiator.dangerously_get_raw_split();
        for (key, text, sealed) in [
            (from_initiator, "462e20412e20486179656b", "050e9f3c8fac16b68dbce8f8c4bfbf6617c897f9ada4aa29aa19c8"),
            (from_responder, "4361726c204d656e676572", "344233a6cabb7141d80f3da2fedc311d9646bbb0f505afe403a667"),
        ] {
            let mut text = hex(text);
            let tag = ChaChaPoly::new(&key).seal(0, &[], &mut text);
            assert_eq!([text.as_slice(), &tag].concat(), hex(sealed));
        }
    }

    fn hex(text: &str) -> alloc::vec::Vec<u8> {
        crate::text::from_hex(text).unwrap()
    }
}
