//! Packets, and the stream that carries them.

use super::take;

/// The version of every packet and every message.
pub const VERSION: u8 = 2;

/// A packet (section 6).
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the kinds and their fields are")]
pub enum Packet {
    Hello {
        isid: [u8; 8],
        cookie: [u8; 16],
        noise: Vec<u8>,
    },
    Welcome {
        isid: [u8; 8],
        noise: Vec<u8>,
    },
    Retry {
        isid: [u8; 8],
        cookie: [u8; 16],
    },
    /// Whole, since its header is authenticated.
    Sealed {
        sid: [u8; 8],
        packet: Vec<u8>,
    },
    Stale {
        sid: [u8; 8],
        counter: u64,
    },
    Busy {
        isid: [u8; 8],
        code: u8,
        /// In tenths of a second.
        wait: u16,
    },
}

impl Packet {
    /// Its bytes, without their length.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, id, rest) = match self {
            Self::Hello { isid, cookie, noise } => (1, isid, [&cookie[..], noise].concat()),
            Self::Welcome { isid, noise } => (2, isid, noise.clone()),
            Self::Retry { isid, cookie } => (3, isid, cookie.to_vec()),
            Self::Sealed { packet, .. } => return packet.clone(),
            Self::Stale { sid, counter } => (5, sid, counter.to_be_bytes().to_vec()),
            Self::Busy { isid, code, wait } => (6, isid, [&[*code][..], &wait.to_be_bytes()].concat()),
        };
        [&[VERSION, kind][..], id, &rest].concat()
    }

    /// Nothing if the bytes are no packet of a known kind and its length.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let mut rest = packet;
        let [VERSION, kind] = take(&mut rest)? else { return None };
        let id = take(&mut rest)?;
        match (kind, packet.len()) {
            (1, 176) => Some(Self::Hello { isid: id, cookie: take(&mut rest)?, noise: rest.to_vec() }),
            (2, 74) => Some(Self::Welcome { isid: id, noise: rest.to_vec() }),
            (3, 26) => Some(Self::Retry { isid: id, cookie: take(&mut rest)? }),
            (4, 34..) => Some(Self::Sealed { sid: id, packet: packet.to_vec() }),
            (5, 18) => Some(Self::Stale { sid: id, counter: u64::from_be_bytes(take(&mut rest)?) }),
            (6, 13) => {
                let [code, high, low] = take(&mut rest)?;
                Some(Self::Busy { isid: id, code, wait: u16::from_be_bytes([high, low]) })
            }
            _ => None,
        }
    }
}

/// A packet as a stream carries it: behind its length.
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::put_counted(&mut out, packet);
    out
}

/// Takes the whole packets from the front of a stream; `stream` keeps the rest.
pub fn unframed(stream: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = &stream[..];
    let mut after = rest;
    while let Some(packet) = super::take_counted(&mut rest) {
        packets.push(packet.to_vec());
        after = rest;
    }
    *stream = after.to_vec();
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets() -> [Packet; 6] {
        [
            Packet::Hello { isid: [1; 8], cookie: [2; 16], noise: vec![3; 150] },
            Packet::Welcome { isid: [1; 8], noise: vec![3; 64] },
            Packet::Retry { isid: [1; 8], cookie: [2; 16] },
            Packet::Sealed { sid: [1; 8], packet: [&[VERSION, 4][..], &[1; 8], &[9; 24]].concat() },
            Packet::Stale { sid: [1; 8], counter: 1 << 40 },
            Packet::Busy { isid: [1; 8], code: 1, wait: 600 },
        ]
    }

    #[test]
    fn each_packet_has_its_size_and_is_read_as_it_was_written() {
        for ((packet, size), kind) in packets().into_iter().zip([176, 74, 26, 34, 18, 13]).zip(1..) {
            let bytes = packet.encode();
            assert_eq!((bytes.len(), bytes[0], bytes[1]), (size, 2, kind));
            assert_eq!(Packet::parse(&bytes), Some(packet));
        }
    }

    #[test]
    fn another_size_version_or_kind_is_no_packet() {
        for packet in packets() {
            let bytes = packet.encode();
            for length in 0..bytes.len() {
                assert_eq!(Packet::parse(&bytes[..length]), None, "{length} bytes of {packet:?}");
            }
            let longer = Packet::parse(&[&bytes[..], &[0]].concat());
            assert_eq!(longer.is_some(), bytes[1] == 4, "only what is sealed has any length");
            for (at, value) in [(0, 1), (0, 3), (1, 0), (1, 7)] {
                let mut altered = bytes.clone();
                altered[at] = value;
                assert_eq!(Packet::parse(&altered), None);
            }
        }
    }

    #[test]
    fn a_stream_is_cut_into_packets_wherever_it_was_cut_before() {
        let stream = [framed(b"one"), framed(b""), framed(b"three")].concat();
        for cut in 0..=stream.len() {
            let mut buffer = stream[..cut].to_vec();
            let mut came = unframed(&mut buffer);
            buffer.extend(&stream[cut..]);
            came.extend(unframed(&mut buffer));
            assert_eq!((came, buffer), (vec![b"one".to_vec(), vec![], b"three".to_vec()], vec![]));
        }
    }
}
