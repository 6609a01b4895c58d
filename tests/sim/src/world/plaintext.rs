//! A watch on what is written to links: nothing secret may show up there.

use std::collections::BTreeMap;

use super::World;
use super::links::{End, LinkId};

/// What must not be written to any link.
#[derive(Debug, Default)]
pub(super) struct Markers {
    markers: Vec<Vec<u8>>,
    /// The last bytes that were written at each end, too few to hold a whole marker.
    tails: BTreeMap<End, Vec<u8>>,
}

impl Markers {
    /// Looks at what is written at an end, and names the marker that it completes.
    pub(super) fn find(&mut self, end: End, bytes: &[u8]) -> Option<String> {
        let longest = self.markers.iter().map(Vec::len).max()?;
        let text = self.tails.entry(end).or_default();
        text.extend_from_slice(bytes);
        let found = self.markers.iter().find(|marker| text.windows(marker.len()).any(|window| window == **marker));
        let found = found.map(|marker| format!("{:?}", String::from_utf8_lossy(marker)));
        let kept = if found.is_some() { 0 } else { longest - 1 };
        text.drain(..text.len().saturating_sub(kept));
        found
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        for side in 0..2 {
            self.tails.remove(&End { link, side });
        }
    }
}

impl World {
    /// It is a violation if a node ever writes these bytes to a link, in whatever pieces. An empty marker is ignored.
    pub fn forbid_on_links(&mut self, marker: Vec<u8>) {
        if !marker.is_empty() {
            self.markers.markers.push(marker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::links::{Links, Party, Socket};
    use crate::{Line, StrangerIndex};

    fn two_ends() -> [End; 2] {
        let stranger = StrangerIndex(0);
        let from = "10.0.0.1:1".parse().unwrap();
        let link = Links::default().add(1, Socket::Stranger(stranger, Line(0)), Party::Stranger(stranger), from);
        [0, 1].map(|side| End { link, side })
    }

    #[test]
    fn a_marker_is_found_in_whatever_pieces_it_is_written() {
        let text = b"nothing, and then the SECRET itself";
        for size in 1..text.len() {
            let mut markers = Markers { markers: vec![b"SECRET".to_vec(), b"absent".to_vec()], ..Markers::default() };
            let [end, _] = two_ends();
            let found: Vec<String> = text.chunks(size).filter_map(|piece| markers.find(end, piece)).collect();
            assert_eq!(found, ["\"SECRET\""], "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_written_at_two_ends_is_not_one_text() {
        let mut markers = Markers { markers: vec![b"SECRET".to_vec()], ..Markers::default() };
        let [one, other] = two_ends();
        assert_eq!((markers.find(one, b"SEC"), markers.find(other, b"RET")), (None, None));
        assert!(markers.find(one, b"RET").is_some());
    }
}
