//! Keys, node ids and text forms.

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha1::{Digest as _, Sha1};
use sha2::Sha512;

use super::Key;

/// The fixed string in every node id.
pub const SALT: &[u8; 15] = b"egtp:v1:node-id";
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// A node's secret: the seed of its Ed25519 key.
#[derive(Clone, Copy, Debug)]
pub struct Identity(pub Key);

impl Identity {
    /// Its Ed25519 public key.
    pub fn public_key(&self) -> Key {
        SigningKey::from_bytes(&self.0).verifying_key().to_bytes()
    }

    /// Its id.
    pub fn node_id(&self) -> [u8; 20] {
        node_id(&self.public_key())
    }

    /// Its X25519 secret, not clamped: X25519 does that.
    #[expect(clippy::missing_panics_doc, reason = "it never does")]
    pub fn dh_secret(&self) -> Key {
        *Sha512::digest(self.0).first_chunk().expect("a hash of 64 bytes")
    }

    /// An Ed25519 signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        SigningKey::from_bytes(&self.0).sign(message).to_bytes()
    }
}

/// The id of whoever has this Ed25519 key.
pub fn node_id(public_key: &Key) -> [u8; 20] {
    Sha1::new().chain_update(public_key).chain_update(SALT).finalize().into()
}

/// The X25519 key of whoever has this Ed25519 key; nothing if it is no point of the curve or of small order.
pub fn dh_public_of(public_key: &Key) -> Option<Key> {
    let point = CompressedEdwardsY(*public_key).decompress()?;
    (!point.is_small_order()).then(|| point.to_montgomery().to_bytes())
}

/// Whether a signature is right, strictly (section 4).
pub fn verifies(public_key: &Key, message: &[u8], signature: &[u8; 64]) -> bool {
    let key = VerifyingKey::from_bytes(public_key);
    key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// The text form of bytes, without superfluous characters.
pub fn zbase32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let symbol = |first: usize| (first..first + 5).fold(0, |value, at| value << 1 | bit(at));
    (0..bytes.len() * 8).step_by(5).map(|first| char::from(ALPHABET[usize::from(symbol(first))])).collect()
}
