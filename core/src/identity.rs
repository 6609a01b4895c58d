//! Keys: one Ed25519 key is a node's identity, its signature under its record, and its Diffie-Hellman key.

use core::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::id::NodeId;

/// A node's own key pair, made from a 32-byte secret seed.
///
/// ```
/// use egtp::{Identity, NodeId};
///
/// let identity = Identity::from_seed(&[7; 32]);
/// assert_eq!(identity.node_id(), NodeId::of(&identity.public_key()));
/// ```
///
/// The secret is not shown by `Debug`, is wiped when the value is dropped, and belongs in a file that nobody else can read.
#[derive(Clone)]
pub struct Identity {
    signing_key: SigningKey,
    node_id: NodeId,
}

impl Identity {
    /// The identity whose Ed25519 secret key (RFC 8032, section 5.1.5) is this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing_key = SigningKey::from_bytes(seed);
        let node_id = NodeId::of(&PublicKey(signing_key.verifying_key().to_bytes()));
        Self { signing_key, node_id }
    }

    /// The id that others know this node by.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.signing_key.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing_key.sign(message).to_bytes()
    }

    /// The X25519 secret that belongs to the same key (clamped wherever it is used).
    pub(crate) fn dh_secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing_key.to_scalar_bytes())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.node_id)
    }
}

/// An Ed25519 public key that is a point of the curve and not of small order.
///
/// It is kept in its 32 bytes, since a node holds many and computes with few.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Checks and takes a key in its 32-byte form (RFC 8032, section 5.1.2).
    ///
    /// # Errors
    ///
    /// [`WeakKey`] if the bytes are no point of the curve, or one of small order, with which anybody could sign.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, WeakKey> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| WeakKey)?;
        if key.is_weak() { Err(WeakKey) } else { Ok(Self(*bytes)) }
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `signature` over `message` was made with this key, by the strict rule that has one answer everywhere.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.point().verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }

    /// The X25519 public key that belongs to the same secret.
    pub(crate) fn dh_public(&self) -> [u8; 32] {
        self.point().to_montgomery().to_bytes()
    }

    fn point(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(&self.0).expect("the bytes were checked when they were taken")
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", crate::text::to_hex(self.as_bytes()))
    }
}

/// The bytes are no usable public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WeakKey;

impl fmt::Display for WeakKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a usable Ed25519 public key")
    }
}

impl core::error::Error for WeakKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_small_order_is_refused() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity_point), Err(WeakKey));
        assert_eq!(PublicKey::from_bytes(&[0; 32]), Err(WeakKey));
    }

    #[test]
    fn the_derived_diffie_hellman_pair_belongs_together() {
        let identity = Identity::from_seed(&[3; 32]);
        let point = curve25519_dalek::MontgomeryPoint::mul_base_clamped(*identity.dh_secret());
        assert_eq!(point.to_bytes(), identity.public_key().dh_public());
    }

    #[test]
    fn a_signature_is_accepted_for_its_own_message_only() {
        let identity = Identity::from_seed(&[3; 32]);
        let signature = identity.sign(b"one");
        assert!(identity.public_key().verifies(b"one", &signature));
        assert!(!identity.public_key().verifies(b"two", &signature));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = alloc::format!("{:?}", Identity::from_seed(&[0x5a; 32]));
        assert!(text.starts_with("Identity(<") && text.len() < 24, "{text}");
    }
}
