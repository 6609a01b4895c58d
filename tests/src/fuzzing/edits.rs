//! Changes that make genuine bytes hostile: they keep most of what makes the core look deeper.

use arbitrary::Arbitrary;

/// One change of a few bytes. Places count from the front and wrap around, so that every edit changes something.
#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Edit {
    /// Another byte in its place.
    Set { at: u16, to: u8 },
    /// One bit the other way.
    Flip { at: u16, bit: u8 },
    /// An end before its time.
    Cut { at: u16 },
    /// More bytes in between.
    Insert { at: u16, bytes: [u8; 4] },
    /// Bytes behind the end.
    Append { bytes: Vec<u8> },
}

/// The bytes with every edit made, one after the other.
pub(super) fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    edits.iter().fold(bytes.to_vec(), |mut bytes, edit| {
        let place = |at: u16| usize::from(at).checked_rem(bytes.len()).unwrap_or(0);
        match edit {
            Edit::Set { at, to } => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = *to;
                }
            }
            Edit::Flip { at, bit } => {
                let at = place(*at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Edit::Cut { at } => bytes.truncate(place(*at)),
            Edit::Insert { at, bytes: more } => {
                let at = place(*at);
                bytes.splice(at..at, *more);
            }
            Edit::Append { bytes: more } => bytes.extend(more),
        }
        bytes
    })
}
