//! The canonical message.

use sha1::{Digest as _, Sha1};

use super::packet::VERSION;
use super::{put_counted, take, take_counted, take_slice};

pub(crate) const QUERY: u8 = 0;
pub(crate) const REPLY: u8 = 1;
pub(crate) const NOTICE: u8 = 2;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) recipient: [u8; 20],
    pub(crate) nonce: [u8; 20],
    pub(crate) reference: [u8; 20],
    pub(crate) type_name: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind];
        out.extend(self.recipient);
        out.extend(self.nonce);
        out.extend(self.reference);
        out.push(u8::try_from(self.type_name.len()).unwrap());
        out.extend(self.type_name.as_bytes());
        put_counted(&mut out, &self.body);
        out
    }

    pub(crate) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let [VERSION, kind @ QUERY..=NOTICE] = take(&mut bytes)? else { return None };
        let (recipient, nonce, reference) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
        let [type_length @ 1..=64] = take(&mut bytes)? else { return None };
        let type_name = String::from_utf8(take_slice(&mut bytes, usize::from(type_length))?.to_vec()).ok()?;
        let body = take_counted(&mut bytes)?.to_vec();
        bytes.is_empty().then_some(Self { kind, recipient, nonce, reference, type_name, body })
    }
}

/// A message's id, from its canonical bytes.
pub(crate) fn id(encoding: &[u8]) -> [u8; 20] {
    Sha1::digest(encoding).into()
}
