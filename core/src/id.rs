//! Typed ids. None of them can be mistaken for another, since none converts into another.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use sha1::{Digest, Sha1};

use crate::identity::PublicKey;
use crate::slab::Key;
use crate::text;

/// The fixed string that is hashed after the public key. It is also the salt of the BEP44 item that holds a node's record, so
/// that a bare [`NodeId`] is a lookup target on the Mainline DHT.
pub const NODE_ID_SALT: &[u8; 15] = b"egtp:v1:node-id";

/// Who a node is: the SHA-1 of its Ed25519 public key followed by [`NODE_ID_SALT`], 20 bytes (*EGTP Architecture 0.2*, II.A).
///
/// Of a node other than oneself it is called a peerId. People see it in z-base-32, 32 characters; 40 hexadecimal digits are
/// accepted as well.
///
/// ```
/// use egtp::NodeId;
///
/// let id = NodeId::from_bytes([7; 20]);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_eq!(id.to_string().len(), 32);
/// assert_eq!(id.to_hex().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 20]);

impl NodeId {
    /// The id of the node that holds this key.
    pub fn of(key: &PublicKey) -> Self {
        let mut hash = Sha1::new();
        hash.update(key.as_bytes());
        hash.update(NODE_ID_SALT);
        Self(hash.finalize().into())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Its 40 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        text::to_hex(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::to_zbase32(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = text::to_zbase32(&self.0);
        write!(f, "<{}>", &text[..8])
    }
}

impl FromStr for NodeId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let bytes = match text.len() {
            32 => text::from_zbase32(text),
            40 => text::from_hex(text),
            _ => None,
        };
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(MalformedId)
    }
}

/// The text is no node id: neither 32 characters of z-base-32 nor 40 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedId;

impl fmt::Display for MalformedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a node id: expected 32 characters of z-base-32 or 40 lower-case hexadecimal digits")
    }
}

impl core::error::Error for MalformedId {}

/// The SHA-1 of a message's canonical form. In a reply it is the *reference* to the query (*EGTP Architecture 0.2*, I.A).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 20]);

impl MessageId {
    /// The id of the message whose canonical encoding this is, in two parts: what comes before its body, and the body.
    pub fn of_encoding(heading: &[u8], body: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(heading);
        hash.update(body);
        Self(hash.finalize().into())
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::to_hex(&self.0))
    }
}

/// 20 random bytes that make a message unlike any other ever sent (*EGTP Architecture 0.2*, I.A).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 20]);

impl Nonce {
    /// The nonce with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Its 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::to_hex(&self.0))
    }
}

/// One query of this node's, from the call that made it to its verdict. Never used again within a [`Node`](crate::Node).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueryId(pub(crate) Key);

/// One byte stream to another node, from its dial or acceptance to its end. Never used again within a [`Node`](crate::Node).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub(crate) Key);

impl ConnectionId {
    /// A small number that no other connection has at the same time, so that a driver can keep its sockets in a row: below the most
    /// connections that were ever there at once.
    pub fn slot(self) -> usize {
        self.0.slot()
    }
}

/// One question to the Lookup Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LookupId(pub(crate) Key);

/// One question to the Discovery Service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DiscoveryId(pub(crate) Key);

/// One thing that was asked to be stored; named again when that has happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SaveId(pub(crate) u64);

/// One query of somebody else's, while it waits for this node's answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IncomingId(pub(crate) Key);

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn both_text_forms_of_a_node_id_round_trip() {
        let id = NodeId::from_bytes(core::array::from_fn(|i| u8::try_from(i * 13).unwrap()));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_hex().parse(), Ok(id));
    }

    #[test]
    fn a_text_of_the_wrong_length_or_alphabet_is_no_node_id() {
        for text in [
            "",
            "y",
            "yryonyebyryonyebyryonyebyryonye",
            "YRYONYEBYRYONYEBYRYONYEBYRYONYEB",
            "äryonyebyryonyebyryonyebyryony",
        ] {
            assert_eq!(text.parse::<NodeId>(), Err(MalformedId), "{text}");
        }
    }
}
