//! The canonical message.

use sha1::{Digest as _, Sha1};

use super::packet::VERSION;
use super::{put_counted, take, take_counted, take_slice};

/// The kind of a message that wants a reply.
pub const QUERY: u8 = 0;
/// The kind of a message that is one.
pub const REPLY: u8 = 1;
/// The kind of a message that wants none.
pub const NOTICE: u8 = 2;

/// The fields of a message (section 12), the version apart.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the fields are")]
pub struct Message {
    pub kind: u8,
    pub recipient: [u8; 20],
    pub nonce: [u8; 20],
    pub reference: [u8; 20],
    pub type_name: String,
    pub body: Vec<u8>,
}

impl Message {
    /// Its canonical bytes.
    ///
    /// # Panics
    ///
    /// If the type is longer than 255 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind];
        out.extend(self.recipient);
        out.extend(self.nonce);
        out.extend(self.reference);
        out.push(u8::try_from(self.type_name.len()).expect("a type fits its length"));
        out.extend(self.type_name.as_bytes());
        put_counted(&mut out, &self.body);
        out
    }

    /// Nothing if the bytes are no message.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let [VERSION, kind @ QUERY..=NOTICE] = take(&mut bytes)? else { return None };
        let (recipient, nonce, reference) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
        let [type_length @ 1..=64] = take(&mut bytes)? else { return None };
        let type_name = String::from_utf8(take_slice(&mut bytes, usize::from(type_length))?.to_vec()).ok()?;
        let body = take_counted(&mut bytes)?.to_vec();
        bytes.is_empty().then_some(Self { kind, recipient, nonce, reference, type_name, body })
    }
}

/// A message's id, from its canonical bytes.
pub fn id(encoding: &[u8]) -> [u8; 20] {
    Sha1::digest(encoding).into()
}
