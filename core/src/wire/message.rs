//! The canonical message: the form whose SHA-1 is the message's id, whatever carries it.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::vec::Vec;

use super::reader::{Malformed, Reader};
use super::{VERSION, put_length};
use crate::id::{MessageId, NodeId, Nonce};
use crate::query::{MAX_BODY, TypeName};

/// The header without the type name: version, kind, recipient, nonce, reference, and the lengths of the type and the
/// body.
const FIXED_HEADER: usize = 1 + 1 + 20 + 20 + 20 + 1 + 4;

/// The longest encoding of a message, in bytes.
pub(crate) const MAX_MESSAGE: usize = FIXED_HEADER + TypeName::MAX + MAX_BODY;

/// What fills the place of the reference in a message that has none.
const NO_REFERENCE: [u8; 20] = [0; 20];

/// A message, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) recipient: NodeId,
    pub(crate) nonce: Nonce,
    /// The query that is answered. A reply has one, nothing else has.
    pub(crate) reference: Option<MessageId>,
    pub(crate) type_name: TypeName,
    pub(crate) body: Vec<u8>,
}

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

/// The canonical encoding, in an allocation of exactly its size. The body is at most [`MAX_BODY`] long, and `reference`
/// is there if and only if `kind` is [`Kind::Reply`].
pub(crate) fn encode(
    kind: Kind,
    recipient: NodeId,
    nonce: Nonce,
    reference: Option<MessageId>,
    type_name: &TypeName,
    body: &[u8],
) -> Vec<u8> {
    debug_assert_eq!(reference.is_some(), kind == Kind::Reply);
    debug_assert!(body.len() <= MAX_BODY);
    let type_length = u8::try_from(type_name.as_str().len()).expect("a type name has at most 64 bytes");

    let mut out = Vec::with_capacity(header_len(type_name).saturating_add(body.len()));
    out.push(VERSION);
    out.push(kind.to_byte());
    out.extend_from_slice(recipient.as_bytes());
    out.extend_from_slice(nonce.as_bytes());
    out.extend_from_slice(reference.as_ref().map_or(&NO_REFERENCE[..], |id| id.as_bytes()));
    out.push(type_length);
    out.extend_from_slice(type_name.as_str().as_bytes());
    put_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// How many bytes come before the body in a message of this type.
pub(crate) fn header_len(type_name: &TypeName) -> usize {
    FIXED_HEADER.saturating_add(type_name.as_str().len())
}

impl Message {
    /// Takes a canonical encoding apart. The body stays in the allocation that `bytes` came in.
    pub(crate) fn parse(mut bytes: Vec<u8>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&bytes);
        if reader.u8()? != VERSION {
            return Err(Malformed);
        }
        let kind = Kind::from_byte(reader.u8()?)?;
        let recipient = NodeId::from_bytes(reader.bytes()?);
        let nonce = Nonce::from_bytes(reader.bytes()?);
        let reference = parse_reference(kind, reader.bytes()?)?;
        let type_name = parse_type_name(&mut reader)?;
        let body_length = reader.length()?;
        if body_length > MAX_BODY || reader.rest().len() != body_length {
            return Err(Malformed);
        }

        bytes.drain(..header_len(&type_name));
        Ok(Self { kind, recipient, nonce, reference, type_name, body: bytes })
    }
}

fn parse_reference(kind: Kind, bytes: [u8; 20]) -> Result<Option<MessageId>, Malformed> {
    match kind {
        Kind::Reply => Ok(Some(MessageId::from_bytes(bytes))),
        Kind::Query | Kind::Notice if bytes == NO_REFERENCE => Ok(None),
        Kind::Query | Kind::Notice => Err(Malformed),
    }
}

fn parse_type_name(reader: &mut Reader<'_>) -> Result<TypeName, Malformed> {
    let length = reader.u8()?;
    let name = reader.slice(usize::from(length))?;
    let name = str::from_utf8(name).map_err(|_| Malformed)?;
    TypeName::new(name).map_err(|_| Malformed)
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

    fn again(message: &Message) -> Vec<u8> {
        encode(
            message.kind,
            message.recipient,
            message.nonce,
            message.reference,
            &message.type_name,
            message.body.as_slice(),
        )
    }

    fn example(kind: Kind, type_name: &str, body: &[u8]) -> Vec<u8> {
        let reference = (kind == Kind::Reply).then_some(MessageId::from_bytes([9; 20]));
        let type_name = TypeName::new(type_name).unwrap();
        encode(kind, NodeId::from_bytes([7; 20]), Nonce::from_bytes([8; 20]), reference, &type_name, body)
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
                    let bytes = example(kind, type_name, body);
                    assert_eq!(bytes.capacity(), bytes.len());
                    let message = Message::parse(bytes.clone()).unwrap();
                    assert_eq!((message.kind, message.body.as_slice()), (kind, body));
                    assert_eq!(
                        (message.recipient, message.nonce),
                        (NodeId::from_bytes([7; 20]), Nonce::from_bytes([8; 20]))
                    );
                    assert_eq!(message.reference, (kind == Kind::Reply).then_some(MessageId::from_bytes([9; 20])));
                    assert_eq!(message.type_name.as_str(), type_name);
                    assert_eq!(header_len(&message.type_name) + body.len(), bytes.len());
                    assert_eq!(again(&message), bytes);
                }
            }
        }
    }

    #[test]
    fn the_longest_message_is_taken_in_its_own_allocation_and_a_longer_one_refused() {
        let bytes = example(Kind::Query, &"t".repeat(64), &vec![1; MAX_BODY]);
        assert_eq!(bytes.len(), MAX_MESSAGE);
        let allocation = bytes.as_ptr();
        let message = Message::parse(bytes).unwrap();
        assert_eq!(message.body.as_ptr(), allocation);
        assert_eq!(message.body.len(), MAX_BODY);

        let mut longer = again(&message);
        longer.push(1);
        let length_at = TYPE_LENGTH_AT + 1 + 64;
        longer[length_at..length_at + 4].copy_from_slice(&u32::try_from(MAX_BODY + 1).unwrap().to_be_bytes());
        assert_eq!(Message::parse(longer), Err(Malformed));
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_refused() {
        let bytes = example(Kind::Notice, "block/get", b"body");
        for length in 0..bytes.len() {
            assert_eq!(Message::parse(bytes[..length].to_vec()), Err(Malformed), "{length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Message::parse(longer), Err(Malformed));
    }

    #[test]
    fn every_other_version_and_kind_is_refused() {
        let bytes = example(Kind::Query, "t", b"");
        for value in 0..=u8::MAX {
            let mut other = bytes.clone();
            other[0] = value;
            assert_eq!(Message::parse(other).is_ok(), value == 2, "version {value}");
            let mut other = example(Kind::Reply, "t", b"");
            other[1] = value;
            assert_eq!(Message::parse(other).is_ok(), value == 1, "kind {value} with a reference");
            let mut other = bytes.clone();
            other[1] = value;
            assert_eq!(Message::parse(other).is_ok(), value <= 2, "kind {value}");
        }
    }

    #[test]
    fn a_reference_in_a_query_or_notice_is_refused() {
        for kind in [Kind::Query, Kind::Notice] {
            for at in 42..62 {
                let mut bytes = example(kind, "t", b"");
                bytes[at] = 1;
                assert_eq!(Message::parse(bytes), Err(Malformed));
            }
        }
    }

    #[test]
    fn a_type_that_is_no_type_name_is_refused() {
        for value in 0..=u8::MAX {
            let mut bytes = example(Kind::Query, "t", b"");
            bytes[TYPE_LENGTH_AT + 1] = value;
            assert_eq!(Message::parse(bytes).is_ok(), (0x21..=0x7e).contains(&value), "{value}");
        }
        let mut empty = example(Kind::Query, "t", b"");
        empty.remove(TYPE_LENGTH_AT + 1);
        empty[TYPE_LENGTH_AT] = 0;
        assert_eq!(Message::parse(empty), Err(Malformed));
        let mut too_long = example(Kind::Query, &"t".repeat(64), b"");
        too_long.insert(TYPE_LENGTH_AT + 1, b't');
        too_long[TYPE_LENGTH_AT] = 65;
        assert_eq!(Message::parse(too_long), Err(Malformed));
    }

    #[test]
    fn whatever_is_parsed_encodes_to_the_same_bytes() {
        let mut random = Xorshift::new();
        let mut parsed = 0;
        for _ in 0..20_000 {
            let bytes = mutated(&example(Kind::Reply, "block/get", b"body"), &mut random);
            if let Ok(message) = Message::parse(bytes.clone()) {
                assert_eq!(again(&message), bytes);
                parsed += 1;
            }
        }
        assert!(parsed > 100, "{parsed}");
    }
}
