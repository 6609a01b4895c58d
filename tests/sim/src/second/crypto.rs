//! The functions that Noise names HMAC-HASH, HKDF, ENCRYPT, DECRYPT, REKEY and DH (sections 4 and 12 there).

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Tag};
use curve25519_dalek::MontgomeryPoint;
use sha2::{Digest, Sha256};

use super::Key;

/// The length of what proves that nothing was altered.
pub const TAG: usize = 16;

/// SHA-256 of all parts in a row.
pub fn sha256(parts: &[&[u8]]) -> Key {
    parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize().into()
}

/// HKDF with two outputs.
pub fn hkdf(chaining_key: &Key, input: &[u8]) -> (Key, Key) {
    let temporary = hmac(chaining_key, &[input]);
    let first = hmac(&temporary, &[&[1]]);
    let second = hmac(&temporary, &[&first, &[2]]);
    (first, second)
}

/// RFC 2104 with SHA-256.
fn hmac(key: &Key, data: &[&[u8]]) -> Key {
    let padded = |with: u8| -> [u8; 64] { core::array::from_fn(|at| key.get(at).unwrap_or(&0) ^ with) };
    let inner = sha256(&[&[&padded(0x36)[..]], data].concat());
    sha256(&[&padded(0x5c), &inner])
}

/// ENCRYPT: the ciphertext and, behind it, the tag.
///
/// # Panics
///
/// If the plaintext is as long as the cipher cannot take, 256 GiB.
pub fn seal(key: &Key, nonce: u64, associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    let cipher = ChaCha20Poly1305::new(key.into());
    let tag = cipher.encrypt_inout_detached(&nonce_of(nonce), associated, sealed.as_mut_slice().into());
    let tag = tag.expect("the plaintext is shorter than 256 GiB");
    sealed.extend(&tag[..]);
    sealed
}

/// DECRYPT: the plaintext, or nothing if anything was altered.
pub fn open(key: &Key, nonce: u64, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (text, tag) = sealed.split_last_chunk::<TAG>()?;
    let mut text = text.to_vec();
    let cipher = ChaCha20Poly1305::new(key.into());
    let opened =
        cipher.decrypt_inout_detached(&nonce_of(nonce), associated, text.as_mut_slice().into(), &Tag::from(*tag));
    opened.ok().map(|()| text)
}

/// REKEY: the key of the next epoch.
#[expect(clippy::missing_panics_doc, reason = "it never does")]
pub fn rekey(key: &Key) -> Key {
    *seal(key, u64::MAX, &[], &[0; 32]).first_chunk().expect("a ciphertext is as long as its plaintext")
}

/// Four zero bytes, then the number, the least significant byte first.
fn nonce_of(number: u64) -> chacha20poly1305::Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce.into()
}

/// X25519 (RFC 7748), or nothing if the result is zero.
pub fn dh(secret: &Key, public: &Key) -> Option<Key> {
    let shared = MontgomeryPoint(*public).mul_clamped(*secret).to_bytes();
    (shared != [0; 32]).then_some(shared)
}

/// The X25519 public key of a secret.
pub fn dh_public(secret: &Key) -> Key {
    MontgomeryPoint::mul_base_clamped(*secret).to_bytes()
}
