//! Noise's cipher functions for ChaChaPoly (*The Noise Protocol Framework*, revision 34, sections 4.2 and 12.3).

use chacha20poly1305::aead::inout::InOutBuf;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use zeroize::Zeroizing;

/// How many bytes sealing adds.
pub(super) const TAG_LEN: usize = 16;

/// This nonce is for [`ChaChaPoly::rekeyed`] alone; no message is ever sealed with it.
const REKEY_NONCE: u64 = u64::MAX;

/// A key, ready for use. It is wiped when dropped.
pub(super) struct ChaChaPoly(ChaCha20Poly1305);

impl ChaChaPoly {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }

    /// Encrypts `text` in place and returns the tag to send with it. No nonce may be used twice.
    pub(super) fn seal(&self, nonce: u64, associated: &[u8], text: &mut [u8]) -> [u8; TAG_LEN] {
        let sealed = self.0.encrypt_inout_detached(&nonce_bytes(nonce), associated, text.into());
        sealed.expect("only a text of 256 GiB is too long").into()
    }

    /// Decrypts `sealed` into as many bytes of `text` if the tag is right, and says whether it was; if not, `text` means nothing.
    #[must_use]
    pub(super) fn open(
        &self,
        nonce: u64,
        associated: &[u8],
        sealed: &[u8],
        tag: &[u8; TAG_LEN],
        text: &mut [u8],
    ) -> bool {
        let tag: &Tag = tag.into();
        let Ok(both) = InOutBuf::new(sealed, text) else { return false };
        self.0.decrypt_inout_detached(&nonce_bytes(nonce), associated, both, tag).is_ok()
    }

    /// The key that follows this one (Noise's REKEY). This one cannot be found from it.
    pub(super) fn rekeyed(&self) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        self.seal(REKEY_NONCE, &[], key.as_mut());
        Self::new(&key)
    }
}

/// 32 zero bits, then the number in little-endian order.
fn nonce_bytes(nonce: u64) -> Nonce {
    let mut bytes = Nonce::default();
    let (_, number) = bytes.split_at_mut(4);
    number.copy_from_slice(&nonce.to_le_bytes());
    bytes
}

#[cfg(test)]
impl PartialEq for ChaChaPoly {
    /// Two keys that agree on a tag are the same key.
    fn eq(&self, other: &Self) -> bool {
        self.seal(0, b"compare", &mut []) == other.seal(0, b"compare", &mut [])
    }
}

#[cfg(test)]
impl core::fmt::Debug for ChaChaPoly {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ChaChaPoly")
    }
}

#[cfg(test)]
impl Clone for ChaChaPoly {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_a_wrong_tag_is_not_opened() {
        let cipher = ChaChaPoly::new(&[1; 32]);
        let (mut sealed, mut text) = (*b"a text", [0; 6]);
        let mut tag = cipher.seal(7, b"header", &mut sealed);
        assert!(!cipher.open(8, b"header", &sealed, &tag, &mut text));
        assert!(!cipher.open(7, b"Header", &sealed, &tag, &mut text));
        assert!(!cipher.open(7, b"header", &sealed, &tag, &mut [0; 5]));
        tag[15] ^= 1;
        assert!(!cipher.open(7, b"header", &sealed, &tag, &mut text));
        assert_eq!(text, [0; 6]);
        tag[15] ^= 1;
        assert!(cipher.open(7, b"header", &sealed, &tag, &mut text));
        assert_eq!(&text, b"a text");
    }

    #[test]
    fn the_number_stands_in_the_nonce_in_little_endian_order_after_four_zeros() {
        assert_eq!(nonce_bytes(0x0102_0304_0506_0708), Nonce::from([0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]));
    }

    #[test]
    fn the_next_key_is_the_encryption_of_zeros_under_the_last_nonce() {
        let mut zeros_and_tag = alloc::vec![0; 32];
        let cipher = ChaCha20Poly1305::new(&[1; 32].into());
        let mut nonce = [0xff; 12];
        nonce[..4].fill(0);
        cipher.encrypt_inout_detached(&nonce.into(), b"", zeros_and_tag.as_mut_slice().into()).unwrap();
        let next: [u8; 32] = zeros_and_tag.try_into().unwrap();
        assert_eq!(ChaChaPoly::new(&[1; 32]).rekeyed(), ChaChaPoly::new(&next));
    }
}
