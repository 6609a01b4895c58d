//! A second implementation of the protocol, as far as a peer needs it to hold a conversation. It is written from
//! `core/PROTOCOL.md` on cryptographic primitives alone and shares no code with the first, so that what both say is what
//! the document says.
#![allow(dead_code, reason = "each test that includes it uses a part of it")]
#![allow(clippy::unwrap_used, reason = "it is a part of tests")]

pub(crate) mod crypto;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod identity;
pub(crate) mod message;
pub(crate) mod packet;
pub(crate) mod record;
pub(crate) mod session;

pub(crate) type Key = [u8; 32];

/// Takes `N` bytes from the front.
pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Takes `length` bytes from the front.
pub(crate) fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a length of four bytes and as many bytes as it says.
pub(crate) fn take_counted<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(bytes)?);
    take_slice(bytes, usize::try_from(length).ok()?)
}

/// Appends a length of four bytes and the bytes.
pub(crate) fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}
