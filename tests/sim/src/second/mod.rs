//! A second implementation of the protocol, as far as a peer needs it to hold a conversation. It is written from
//! `core/PROTOCOL.md` on cryptographic primitives alone and shares no code with the first, the crate [`egtp`], so that what
//! both say is what the document says. It checks nothing that it is told to send: whoever tests a node wants to break rules.

pub mod ack;
pub mod crypto;
pub mod deadline;
pub mod frame;
pub mod handshake;
pub mod identity;
pub mod ledger;
pub mod message;
pub mod packet;
pub mod parts;
pub mod record;
pub mod session;

/// A key, public or secret, or a hash.
pub type Key = [u8; 32];

/// Takes `N` bytes from the front.
pub fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// Takes `length` bytes from the front.
pub fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes a length of four bytes and as many bytes as it says.
pub fn take_counted<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_be_bytes(take(bytes)?);
    take_slice(bytes, usize::try_from(length).ok()?)
}

/// Appends a length of four bytes and the bytes.
///
/// # Panics
///
/// If there are 2³² bytes or more.
pub fn put_counted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length_of(bytes).to_be_bytes());
    out.extend(bytes);
}

/// How many bytes there are, as the wire has it.
pub(crate) fn length_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("no message comes near 4 GiB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_taken_from_the_first_implementation() {
        let sources = [
            include_str!("ack.rs"),
            include_str!("crypto.rs"),
            include_str!("deadline.rs"),
            include_str!("frame.rs"),
            include_str!("handshake.rs"),
            include_str!("identity.rs"),
            include_str!("ledger.rs"),
            include_str!("message.rs"),
            include_str!("packet.rs"),
            include_str!("parts.rs"),
            include_str!("record.rs"),
            include_str!("session.rs"),
        ];
        for line in sources.iter().flat_map(|source| source.lines()) {
            assert!(!line.contains("egtp::") && !line.contains("crate::"), "{line}");
        }
    }
}
