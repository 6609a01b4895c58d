//! The canonical message: the form whose SHA-1 is the message's id, whatever carries it.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

use super::VERSION;
use super::reader::{Malformed, Reader};
use crate::id::{MessageId, NodeId, Nonce};
use crate::query::{MAX_BODY, TypeName};

/// The header without the type name: version, kind, recipient, nonce, reference, and the lengths of the type and the
/// body.
const FIXED_HEADER: usize = 1 + 1 + 20 + 20 + 20 + 1 + 4;

/// The longest encoding of a message, in bytes.
pub(crate) const MAX_MESSAGE: usize = MAX_HEADER + MAX_BODY;

/// The longest header, in bytes.
const MAX_HEADER: usize = FIXED_HEADER + TypeName::MAX;

/// What fills the place of the reference in a message that has none.
const NO_REFERENCE: [u8; 20] = [0; 20];

/// What a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// It asks for a reply.
    Query,
    /// It is one.
    Reply,
    /// It asks for none.
    Notice,
}

/// A message of this node's own, from which any part of its canonical encoding can be made: the body is kept as it was handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) recipient: NodeId,
    pub(crate) nonce: Nonce,
    /// The query that is answered. A reply has one, nothing else has.
    pub(crate) reference: Option<MessageId>,
    pub(crate) type_name: TypeName,
    /// At most [`MAX_BODY`] bytes.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The length of its encoding.
    pub(crate) fn len(&self) -> usize {
        header_len(&self.type_name).saturating_add(self.body.len())
    }

    /// The SHA-1 of its encoding.
    pub(crate) fn id(&self) -> MessageId {
        let header = self.header();
        MessageId::of_encoding(header.as_slice(), &self.body)
    }

    /// Appends the part of its encoding that begins at `offset` and has this length, or as much of it as there is.
    pub(crate) fn put(&self, offset: usize, length: usize, out: &mut Vec<u8>) {
        let end = offset.saturating_add(length);
        let before_body = header_len(&self.type_name);
        if offset < before_body {
            let header = self.header();
            out.extend_from_slice(header.as_slice().get(offset..end.min(before_body)).unwrap_or_default());
        }
        let from = offset.max(before_body).saturating_sub(before_body).min(self.body.len());
        let to = end.max(before_body).saturating_sub(before_body).min(self.body.len());
        out.extend_from_slice(self.body.get(from..to).unwrap_or_default());
    }

    fn header(&self) -> Header {
        debug_assert_eq!(self.reference.is_some(), self.kind == Kind::Reply);
        debug_assert!(self.body.len() <= MAX_BODY);
        let name = self.type_name.as_str().as_bytes();
        let type_length = u8::try_from(name.len()).expect("a type name has at most 64 bytes");
        let body_length = u32::try_from(self.body.len()).expect("a body has at most 4,000,000 bytes");
        let mut header = Header { bytes: [0; MAX_HEADER], len: 0 };
        header.add(&[VERSION, self.kind.to_byte()]);
        header.add(self.recipient.as_bytes());
        header.add(self.nonce.as_bytes());
        header.add(self.reference.as_ref().map_or(&NO_REFERENCE[..], |id| id.as_bytes()));
        header.add(&[type_length]);
        header.add(name);
        header.add(&body_length.to_be_bytes());
        header
    }
}

/// What comes before the body.
struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

impl Header {
    fn add(&mut self, field: &[u8]) {
        let end = self.len.saturating_add(field.len());
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            place.copy_from_slice(field);
            self.len = end;
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// How many bytes come before the body in a message of this type.
pub(crate) fn header_len(type_name: &TypeName) -> usize {
    FIXED_HEADER.saturating_add(type_name.as_str().len())
}

/// What a message says before its body, taken from its encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Heading<'a> {
    pub(crate) kind: Kind,
    pub(crate) recipient: NodeId,
    pub(crate) nonce: Nonce,
    pub(crate) reference: Option<MessageId>,
    /// Checked to be a type name.
    pub(crate) type_name: &'a str,
    pub(crate) body_length: usize,
}

impl<'a> Heading<'a> {
    /// How many bytes of the encoding it takes.
    pub(crate) fn len(&self) -> usize {
        FIXED_HEADER.saturating_add(self.type_name.len())
    }

    /// Takes the beginning of a canonical encoding apart; what follows is the body, which may not be there yet.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let kind = Kind::from_byte(reader.u8()?)?;
        let recipient = NodeId::from_bytes(reader.bytes()?);
        let nonce = Nonce::from_bytes(reader.bytes()?);
        let reference = parse_reference(kind, reader.bytes()?)?;
        let length = usize::from(reader.u8()?);
        let type_name = str::from_utf8(reader.slice(length)?).map_err(|_| Malformed)?;
        if !TypeName::is_valid(type_name) {
            return Err(Malformed);
        }
        let body_length = reader.length()?;
        if body_length > MAX_BODY {
            return Err(Malformed);
        }
        Ok(Self { kind, recipient, nonce, reference, type_name, body_length })
    }

    /// Takes a whole canonical encoding apart, into what comes before the body and the body.
    pub(crate) fn parse_whole(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let heading = Self::parse(bytes)?;
        let body = bytes.get(heading.len()..).ok_or(Malformed)?;
        if body.len() == heading.body_length { Ok((heading, body)) } else { Err(Malformed) }
    }
}

fn parse_reference(kind: Kind, bytes: [u8; 20]) -> Result<Option<MessageId>, Malformed> {
    match kind {
        Kind::Reply => Ok(Some(MessageId::from_bytes(bytes))),
        Kind::Query | Kind::Notice if bytes == NO_REFERENCE => Ok(None),
        Kind::Query | Kind::Notice => Err(Malformed),
    }
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Query => 0,
            Self::Reply => 1,
            Self::Notice => 2,
        }
    }

    fn from_byte(byte: u8) -> Result<Self, Malformed> {
        match byte {
            0 => Ok(Self::Query),
            1 => Ok(Self::Reply),
            2 => Ok(Self::Notice),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Xorshift, mutated};
    use alloc::vec;

    fn encode(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        message.put(0, usize::MAX, &mut out);
        out
    }

    /// What was parsed, as a message again.
    fn again(bytes: &[u8]) -> Result<Message, Malformed> {
        let (heading, body) = Heading::parse_whole(bytes)?;
        let Heading { kind, recipient, nonce, reference, type_name, .. } = heading;
        let type_name = TypeName::new(type_name).unwrap();
        Ok(Message { kind, recipient, nonce, reference, type_name, body: body.to_vec() })
    }

    fn message(kind: Kind, type_name: &str, body: &[u8]) -> Message {
        Message {
            kind,
            recipient: NodeId::from_bytes([7; 20]),
            nonce: Nonce::from_bytes([8; 20]),
            reference: (kind == Kind::Reply).then_some(MessageId::from_bytes([9; 20])),
            type_name: TypeName::new(type_name).unwrap(),
            body: body.to_vec(),
        }
    }

    fn example(kind: Kind, type_name: &str, body: &[u8]) -> Vec<u8> {
        encode(&message(kind, type_name, body))
    }

    const TYPE_LENGTH_AT: usize = 62;

    #[test]
    fn the_layout_is_the_specified_one() {
        let mut expected = vec![2, 1];
        expected.extend([7; 20]);
        expected.extend([8; 20]);
        expected.extend([9; 20]);
        expected.extend(b"\x05block\0\0\0\x02hi");
        assert_eq!(example(Kind::Reply, "block", b"hi"), expected);
        assert_eq!(MAX_MESSAGE, 4_000_131);
    }

    #[test]
    fn parsing_gives_back_what_was_encoded() {
        for kind in [Kind::Query, Kind::Reply, Kind::Notice] {
            for type_name in ["x", "block/get", &"~".repeat(64)] {
                for body in [&b""[..], b"1", b"a longer body"] {
                    let message = message(kind, type_name, body);
                    let bytes = encode(&message);
                    assert_eq!(bytes.len(), message.len());
                    assert_eq!(again(&bytes).as_ref(), Ok(&message));
                    assert_eq!(message.id(), MessageId::of_encoding(&bytes, &[]));
                }
            }
        }
    }

    #[test]
    fn any_part_of_the_encoding_can_be_made() {
        let message = message(Kind::Query, "block/get", b"a body");
        let bytes = encode(&message);
        for from in 0..=bytes.len() {
            for to in from..=bytes.len() {
                let mut part = Vec::new();
                message.put(from, to - from, &mut part);
                assert_eq!(part, bytes[from..to], "{from}..{to}");
            }
        }
    }

    #[test]
    fn the_longest_message_is_taken_and_a_longer_one_refused() {
        let bytes = example(Kind::Query, &"t".repeat(64), &vec![1; MAX_BODY]);
        assert_eq!(bytes.len(), MAX_MESSAGE);
        assert!(Heading::parse_whole(&bytes).is_ok());

        let mut longer = bytes;
        longer.push(1);
        let length_at = TYPE_LENGTH_AT + 1 + 64;
        longer[length_at..length_at + 4].copy_from_slice(&u32::try_from(MAX_BODY + 1).unwrap().to_be_bytes());
        assert_eq!(Heading::parse_whole(&longer), Err(Malformed));
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_refused() {
        let bytes = example(Kind::Notice, "block/get", b"body");
        for length in 0..bytes.len() {
            assert_eq!(Heading::parse_whole(&bytes[..length]), Err(Malformed), "{length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Heading::parse_whole(&longer), Err(Malformed));
    }

    #[test]
    fn the_heading_is_known_before_the_body_has_come() {
        let bytes = example(Kind::Query, "block/get", b"body");
        let before_body = bytes.len() - 4;
        for length in 0..bytes.len() {
            let heading = Heading::parse(&bytes[..length]);
            assert_eq!(
                heading.map(|heading| (heading.len(), heading.body_length)).ok(),
                (length >= before_body).then_some((before_body, 4))
            );
        }
    }

    #[test]
    fn every_other_version_and_kind_is_refused() {
        let bytes = example(Kind::Query, "t", b"");
        for value in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[0] = value;
            assert_eq!(Heading::parse_whole(&other).is_ok(), value == 2, "version {value}");
            let mut other = example(Kind::Reply, "t", b"");
            other[1] = value;
            assert_eq!(Heading::parse_whole(&other).is_ok(), value == 1, "kind {value} with a reference");
            let mut other = bytes.clone();
            other[1] = value;
            assert_eq!(Heading::parse_whole(&other).is_ok(), value <= 2, "kind {value}");
        }
    }

    #[test]
    fn a_reference_in_a_query_or_notice_is_refused() {
        for kind in [Kind::Query, Kind::Notice] {
            for at in 42..62 {
                let mut bytes = example(kind, "t", b"");
                bytes[at] = 1;
                assert_eq!(Heading::parse_whole(&bytes), Err(Malformed));
            }
        }
    }

    #[test]
    fn a_type_that_is_no_type_name_is_refused() {
        for value in 0..=u8::MAX {
            let mut bytes = example(Kind::Query, "t", b"");
            bytes[TYPE_LENGTH_AT + 1] = value;
            assert_eq!(Heading::parse_whole(&bytes).is_ok(), (0x21..=0x7e).contains(&value), "{value}");
        }
        let mut empty = example(Kind::Query, "t", b"");
        empty.remove(TYPE_LENGTH_AT + 1);
        empty[TYPE_LENGTH_AT] = 0;
        assert_eq!(Heading::parse_whole(&empty), Err(Malformed));
        let mut too_long = example(Kind::Query, &"t".repeat(64), b"");
        too_long.insert(TYPE_LENGTH_AT + 1, b't');
        too_long[TYPE_LENGTH_AT] = 65;
        assert_eq!(Heading::parse_whole(&too_long), Err(Malformed));
    }

    #[test]
    fn whatever_is_parsed_encodes_to_the_same_bytes() {
        let mut random = Xorshift::new();
        let mut parsed = 0;
        for _ in 0..20_000 {
            let bytes = mutated(&example(Kind::Reply, "block/get", b"body"), &mut random);
            if let Ok(message) = again(&bytes) {
                assert_eq!(encode(&message), bytes);
                parsed += 1;
            }
        }
        assert!(parsed > 100, "{parsed}");
    }
}
