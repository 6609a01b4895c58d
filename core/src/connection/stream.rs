//! Finds the packets in a byte stream that may be cut anywhere.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

use crate::wire::packet::MAX_PACKET;

/// The length that precedes each packet takes this many bytes.
const PREFIX: usize = 4;

/// The incoming half of one byte stream. Packets that come whole are handed out where they are; what is kept is the beginning of one whose
/// end has not come, and nothing at all once it [rests](Self::rest) between two packets.
#[derive(Debug, Default)]
pub(crate) struct PacketStream {
    /// The packet that comes in parts, with its length.
    buffer: Vec<u8>,
    /// Whether that was whole, and has been handed out.
    taken: bool,
}

/// The stream announces a packet that is empty or longer than the limit. What follows has no meaning any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

impl PacketStream {
    /// The next whole packet of what is kept and of the `bytes` that follow, without its length. They are taken from the front; once there is
    /// no more, all of them are.
    ///
    /// # Errors
    ///
    /// [`TooLong`] as soon as a length of 0 or above `limit` is there, and again at every later call.
    pub(crate) fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        limit: usize,
    ) -> Result<Option<&'a [u8]>, TooLong> {
        if core::mem::take(&mut self.taken) {
            self.buffer.clear();
        }
        if self.buffer.is_empty() {
            let Some(length) = whole_length(bytes, limit)?.filter(|length| *length <= bytes.len()) else {
                self.keep(bytes, bytes.len());
                return Ok(None);
            };
            let (packet, rest) = bytes.split_at(length);
            *bytes = rest;
            return Ok(packet.get(PREFIX..));
        }
        self.keep(bytes, PREFIX.saturating_sub(self.buffer.len()));
        let Some(length) = whole_length(&self.buffer, limit)? else { return Ok(None) };
        self.keep(bytes, length.saturating_sub(self.buffer.len()));
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.taken = true;
        Ok(self.buffer.get(PREFIX..))
    }

    /// Keeps so many of the bytes, or all if those are fewer.
    fn keep(&mut self, bytes: &mut &[u8], count: usize) {
        let (kept, rest) = bytes.split_at(count.min(bytes.len()));
        let needed = self.buffer.len().saturating_add(kept.len());
        if needed > self.buffer.capacity() {
            // Doubling keeps a stream of tiny reads from copying a packet again and again; beyond a packet there is no need to.
            let doubled = self.buffer.capacity().saturating_mul(2).min(PREFIX + MAX_PACKET);
            self.buffer.reserve_exact(needed.max(doubled).saturating_sub(self.buffer.len()));
        }
        self.buffer.extend_from_slice(kept);
        *bytes = rest;
    }

    /// Whether bytes wait that are no whole packet yet, once [`next`](Self::next) has no more.
    pub(crate) fn is_partial(&self) -> bool {
        !self.taken && !self.buffer.is_empty()
    }

    /// Nothing is expected soon: gives the memory back, if nothing waits.
    pub(crate) fn rest(&mut self) {
        if !self.is_partial() {
            *self = Self::default();
        }
    }
}

/// How long the packet is that begins here, with its length, if that has come.
fn whole_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, TooLong> {
    let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| TooLong)?;
    if length == 0 || length > limit {
        return Err(TooLong);
    }
    Ok(Some(PREFIX.saturating_add(length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::Xorshift;
    use alloc::vec;

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for packet in packets {
            out.extend(u32::try_from(packet.len()).unwrap().to_be_bytes());
            out.extend(packet);
        }
        out
    }

    /// All packets that are whole with these bytes.
    fn push(stream: &mut PacketStream, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(packet) = stream.next(&mut bytes, MAX_PACKET).unwrap() {
            packets.push(packet.to_vec());
        }
        assert!(bytes.is_empty());
        packets
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_packets() {
        let packets = [vec![1], vec![2; 5], vec![3; 40], vec![4]];
        let bytes = framed(&packets);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut stream = PacketStream::default();
                let mut got = Vec::new();
                for pushed in [&bytes[..first], &bytes[first..second], &bytes[second..]] {
                    got.extend(push(&mut stream, pushed));
                }
                assert_eq!(got, packets, "cut at {first} and {second}");
                assert!(!stream.is_partial());
            }
        }
    }

    #[test]
    fn a_stream_that_comes_byte_by_byte_gives_the_same_packets() {
        let mut random = Xorshift::new();
        let packets: Vec<Vec<u8>> = (1..=20).map(|length| random.bytes(length * 15)).collect();
        let mut stream = PacketStream::default();
        let mut got = Vec::new();
        for byte in framed(&packets) {
            got.extend(push(&mut stream, &[byte]));
        }
        assert_eq!(got, packets);
    }

    #[test]
    fn a_length_of_zero_or_above_the_limit_is_refused_before_anything_follows() {
        for (length, limit, refused) in
            [(0, 10, true), (10, 10, false), (11, 10, true), (65_536, MAX_PACKET, true), (u32::MAX, MAX_PACKET, true)]
        {
            let mut stream = PacketStream::default();
            let prefix = length.to_be_bytes();
            assert_eq!(stream.next(&mut &prefix[..3], limit), Ok(None));
            let mut rest = &prefix[3..];
            for _ in 0..2 {
                assert_eq!(stream.next(&mut rest, limit).is_err(), refused, "{length}");
            }
        }
    }

    #[test]
    fn whole_packets_before_a_refused_length_are_still_given() {
        let mut stream = PacketStream::default();
        let bytes = framed(&[vec![1; 3], vec![2; 11]]);
        let mut bytes = bytes.as_slice();
        assert_eq!(stream.next(&mut bytes, 10).unwrap().unwrap(), [1; 3]);
        assert_eq!(stream.next(&mut bytes, 10), Err(TooLong));
        assert_eq!(stream.next(&mut bytes, 10), Err(TooLong));
    }

    #[test]
    fn the_limit_may_rise_between_two_packets() {
        let mut stream = PacketStream::default();
        let bytes = framed(&[vec![1; 3], vec![2; 11]]);
        let mut bytes = bytes.as_slice();
        assert_eq!(stream.next(&mut bytes, 10).unwrap().unwrap(), [1; 3]);
        assert_eq!(stream.next(&mut bytes, 11).unwrap().unwrap(), [2; 11]);
    }

    #[test]
    fn a_packet_is_partial_until_all_of_it_has_come() {
        let mut stream = PacketStream::default();
        assert!(!stream.is_partial());
        let bytes = framed(&[vec![1; 3], vec![2; 3]]);
        assert_eq!(push(&mut stream, &bytes[..9]), [vec![1; 3]]);
        assert!(stream.is_partial());
        assert_eq!(push(&mut stream, &bytes[9..]), [vec![2; 3]]);
        assert!(!stream.is_partial());
    }

    #[test]
    fn a_stream_that_rests_between_two_packets_holds_no_memory() {
        let mut stream = PacketStream::default();
        let bytes = framed(&[vec![1; MAX_PACKET], vec![2; 100]]);
        let (first, second) = bytes.split_at(1_000);
        assert_eq!(push(&mut stream, first).len(), 0);
        assert_eq!(push(&mut stream, second).len(), 2);
        stream.rest();
        assert_eq!(stream.buffer.capacity(), 0);
    }

    #[test]
    fn no_more_memory_is_held_than_one_packet() {
        let bytes = framed(&vec![vec![7; MAX_PACKET]; 8]);
        for step in [1_000, 16_384, 100_000, 300_000] {
            let mut stream = PacketStream::default();
            for pushed in bytes.chunks(step) {
                push(&mut stream, pushed);
                assert!(stream.buffer.capacity() <= PREFIX + MAX_PACKET);
            }
        }
    }
}
