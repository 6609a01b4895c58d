//! Finds the packets in a byte stream that may be cut anywhere.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

use crate::wire::packet::MAX_PACKET;

/// The length that precedes each packet takes this many bytes.
const PREFIX: usize = 4;

/// The incoming half of one byte stream. Call [`next`](Self::next) until it has no more before every
/// [`push`](Self::push): then no more is held than one packet and what was pushed last, and nothing at all once it
/// [rests](Self::rest) between two packets.
#[derive(Debug, Default)]
pub(crate) struct PacketStream {
    buffer: Vec<u8>,
    /// How many bytes at the front have been handed out already.
    taken: usize,
}

/// The stream announces a packet that is empty or longer than the limit. What follows has no meaning any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLong;

impl PacketStream {
    /// Takes what the stream brought.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.forget_taken();
        let needed = self.buffer.len().saturating_add(bytes.len());
        if needed > self.buffer.capacity() {
            // Doubling keeps a stream of tiny pushes from copying a packet again and again; beyond a packet there is no
            // need to.
            let doubled = self.buffer.capacity().saturating_mul(2).min(PREFIX + MAX_PACKET);
            self.buffer.reserve_exact(needed.max(doubled).saturating_sub(self.buffer.len()));
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole packet, without its length and open to be decrypted in place; `None` until more is pushed.
    ///
    /// # Errors
    ///
    /// [`TooLong`] as soon as a length of 0 or above `limit` is there, and again at every later call.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<&mut [u8]>, TooLong> {
        let waiting = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((prefix, following)) = waiting.split_first_chunk::<PREFIX>() else {
            self.forget_taken();
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| TooLong)?;
        if length == 0 || length > limit {
            return Err(TooLong);
        }
        if following.len() < length {
            self.forget_taken();
            return Ok(None);
        }
        let start = self.taken.saturating_add(PREFIX);
        self.taken = start.saturating_add(length);
        Ok(self.buffer.get_mut(start..self.taken))
    }

    /// Whether bytes wait that are no whole packet yet, once [`next`](Self::next) has no more.
    pub(crate) fn is_partial(&self) -> bool {
        self.buffered() > 0
    }

    /// How many bytes wait that have not been handed out.
    pub(crate) fn buffered(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken)
    }

    /// Makes room of what has been handed out.
    fn forget_taken(&mut self) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.shrink_to(PREFIX + MAX_PACKET);
    }

    /// Nothing is expected soon: gives the memory back, if nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.buffered() == 0 {
            *self = Self::default();
        }
    }
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

    /// All packets that are there now.
    fn drain(stream: &mut PacketStream) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(packet) = stream.next(MAX_PACKET).unwrap() {
            packets.push(packet.to_vec());
        }
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
                    stream.push(pushed);
                    got.extend(drain(&mut stream));
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
            stream.push(&[byte]);
            got.extend(drain(&mut stream));
        }
        assert_eq!(got, packets);
    }

    #[test]
    fn pushes_before_the_packets_are_taken_lose_nothing() {
        let packets = [vec![1; 3], vec![2; 7], vec![3; 2]];
        let bytes = framed(&packets);
        let mut stream = PacketStream::default();
        stream.push(&bytes[..12]);
        assert_eq!(stream.next(MAX_PACKET).unwrap().unwrap(), packets[0]);
        stream.push(&bytes[12..]);
        assert_eq!(drain(&mut stream), packets[1..]);
    }

    #[test]
    fn a_packet_can_be_changed_in_place_and_the_next_is_not_touched() {
        let mut stream = PacketStream::default();
        stream.push(&framed(&[vec![1; 3], vec![2; 3]]));
        stream.next(MAX_PACKET).unwrap().unwrap().fill(0xff);
        assert_eq!(drain(&mut stream), [vec![2; 3]]);
    }

    #[test]
    fn a_length_of_zero_or_above_the_limit_is_refused_before_anything_follows() {
        for (length, limit, refused) in
            [(0, 10, true), (10, 10, false), (11, 10, true), (65_536, MAX_PACKET, true), (u32::MAX, MAX_PACKET, true)]
        {
            let mut stream = PacketStream::default();
            let prefix = length.to_be_bytes();
            stream.push(&prefix[..3]);
            assert_eq!(stream.next(limit), Ok(None));
            stream.push(&prefix[3..]);
            for _ in 0..2 {
                assert_eq!(stream.next(limit).is_err(), refused, "{length}");
            }
        }
    }

    #[test]
    fn whole_packets_before_a_refused_length_are_still_given() {
        let mut stream = PacketStream::default();
        stream.push(&framed(&[vec![1; 3], vec![2; 11]]));
        assert_eq!(stream.next(10).unwrap().unwrap(), [1; 3]);
        assert_eq!(stream.next(10), Err(TooLong));
    }

    #[test]
    fn the_limit_may_rise_between_two_packets() {
        let mut stream = PacketStream::default();
        stream.push(&framed(&[vec![1; 3], vec![2; 11]]));
        assert_eq!(stream.next(10).unwrap().unwrap(), [1; 3]);
        assert_eq!(stream.next(11).unwrap().unwrap(), [2; 11]);
    }

    #[test]
    fn buffered_counts_what_has_not_been_handed_out() {
        let mut stream = PacketStream::default();
        assert_eq!((stream.buffered(), stream.is_partial()), (0, false));
        stream.push(&framed(&[vec![1; 3], vec![2; 3]])[..9]);
        assert_eq!(drain(&mut stream), [vec![1; 3]]);
        assert_eq!((stream.buffered(), stream.is_partial()), (2, true));
    }

    #[test]
    fn a_stream_that_rests_between_two_packets_holds_no_memory() {
        let mut stream = PacketStream::default();
        stream.push(&framed(&[vec![1; MAX_PACKET], vec![2; 100]]));
        assert_eq!(drain(&mut stream).len(), 2);
        stream.rest();
        assert_eq!(stream.buffer.capacity(), 0);
    }

    #[test]
    fn no_more_memory_is_held_than_one_packet_and_the_last_push() {
        let bytes = framed(&vec![vec![7; MAX_PACKET]; 8]);
        for step in [1_000, 16_384, 100_000, 300_000] {
            let mut stream = PacketStream::default();
            for pushed in bytes.chunks(step) {
                stream.push(pushed);
                assert!(stream.buffer.capacity() <= PREFIX + MAX_PACKET + pushed.len());
                drain(&mut stream);
                assert!(stream.buffer.capacity() <= PREFIX + MAX_PACKET);
            }
        }
    }
}
