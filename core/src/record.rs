//! The comm-strategy record: who a node is and how to reach it, signed.
//!
//! It is signed as a mutable item of the Mainline DHT (BEP 44), so that it can be kept there as it is.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions))]

use alloc::format;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

use crate::id::{NODE_ID_SALT, NodeId};
use crate::identity::{Identity, PublicKey};
use crate::text;
use crate::wire::reader::{Malformed, Reader};

/// The version of the layout of the strategies.
const VERSION: u8 = 1;

/// What the text form begins with.
const CONTACT_PREFIX: &str = "egtp:";

/// The longest text form, in characters: five bits each, after the prefix.
const MAX_CONTACT: usize = CONTACT_PREFIX.len() + (SignedRecord::MAX * 8).div_ceil(5);

/// The highest sequence number that BEP 44, whose integers are signed, can carry.
const MAX_SEQUENCE: u64 = i64::MAX.unsigned_abs();

/// How a node can be reached, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Strategies {
    /// TCP addresses, best first; at most [`Strategies::MAX_ADDRESSES`].
    pub addresses: Vec<SocketAddr>,
    /// Relay servers, best first; at most [`Strategies::MAX_RELAYS`].
    pub relays: Vec<NodeId>,
}

impl Strategies {
    /// The most addresses that a record holds.
    pub const MAX_ADDRESSES: usize = 8;
    /// The most relays that a record holds.
    pub const MAX_RELAYS: usize = 8;
}

/// A node's strategies, its key, a sequence number, and its signature over all of it: a value of this type is genuine.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    key: PublicKey,
    sequence: u64,
    strategies: Strategies,
    bytes: Vec<u8>,
}

impl SignedRecord {
    /// The longest record, in bytes.
    pub const MAX: usize = 600;

    /// Signs a record. The strategies are taken as they are: nothing is sorted, dropped or rewritten.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord::TooLong`] if there are too many addresses or relays. [`InvalidRecord::Malformed`] if one is
    /// there twice, if an address has port 0, an unspecified, multicast or IPv4-mapped IP, a flow label or a scope, or
    /// if the sequence number is above 2⁶³ − 1.
    pub fn sign(identity: &Identity, sequence: u64, strategies: Strategies) -> Result<Self, InvalidRecord> {
        check_sequence(sequence)?;
        check_strategies(&strategies)?;
        let value = encode_strategies(&strategies);
        let signature = identity.sign(&bep44_signed_form(NODE_ID_SALT, sequence, &value));
        let key = identity.public_key();
        let bytes = [key.as_bytes(), sequence.to_be_bytes().as_slice(), &signature, &value].concat();
        Ok(Self { key, sequence, strategies, bytes })
    }

    /// Checks and takes a record in its byte form.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord`] says what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidRecord> {
        if bytes.len() > Self::MAX {
            return Err(InvalidRecord::TooLong);
        }
        let mut reader = Reader::new(bytes);
        let key = reader.array()?;
        let sequence = reader.u64()?;
        let signature = reader.array()?;
        let value = reader.rest();

        check_sequence(sequence)?;
        let strategies = parse_strategies(value)?;
        let key = PublicKey::from_bytes(key).map_err(|_| InvalidRecord::WeakKey)?;
        if !key.verifies(&bep44_signed_form(NODE_ID_SALT, sequence, value), signature) {
            return Err(InvalidRecord::BadSignature);
        }
        Ok(Self { key, sequence, strategies, bytes: bytes.to_vec() })
    }

    /// Its byte form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whose it is.
    pub fn node_id(&self) -> NodeId {
        NodeId::of(&self.key)
    }

    /// The node's public key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The higher of two numbers belongs to the newer record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How the node can be reached.
    pub fn strategies(&self) -> &Strategies {
        &self.strategies
    }
}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedRecord({:?}, {}, {:?})", self.node_id(), self.sequence, self.strategies)
    }
}

/// A contact: a signed record as one pasteable word, `egtp:` followed by its bytes in z-base-32.
impl fmt::Display for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CONTACT_PREFIX}{}", text::to_zbase32(&self.bytes))
    }
}

impl FromStr for SignedRecord {
    type Err = InvalidRecord;

    fn from_str(text: &str) -> Result<Self, InvalidRecord> {
        let symbols = text.strip_prefix(CONTACT_PREFIX).ok_or(InvalidRecord::NotAContact)?;
        if text.len() > MAX_CONTACT {
            return Err(InvalidRecord::TooLong);
        }
        let bytes = text::from_zbase32(symbols).ok_or(InvalidRecord::NotAContact)?;
        Self::from_bytes(&bytes)
    }
}

/// The bytes or the text are no genuine record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvalidRecord {
    /// It does not start with `egtp:`, or what follows is not z-base-32.
    NotAContact,
    /// Its layout is not that of a record.
    Malformed,
    /// It has a version that this node does not speak.
    UnknownVersion(u8),
    /// More addresses, relays or bytes than a record can hold.
    TooLong,
    /// Its key is not usable.
    WeakKey,
    /// Its signature does not verify.
    BadSignature,
}

impl fmt::Display for InvalidRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAContact => f.write_str("not a contact: expected `egtp:` and z-base-32"),
            Self::Malformed => f.write_str("the record is malformed, perhaps cut short"),
            Self::UnknownVersion(version) => {
                write!(f, "the record has version {version}, and version 1 is understood here")
            }
            Self::TooLong => f.write_str("the record is too long"),
            Self::WeakKey => f.write_str("the record's key is not usable"),
            Self::BadSignature => f.write_str("the record's signature does not verify"),
        }
    }
}

impl core::error::Error for InvalidRecord {}

impl From<Malformed> for InvalidRecord {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a signature covers: the salt, the sequence number and the value as a byte string, all bencoded as BEP 44 says.
fn bep44_signed_form(salt: &[u8], sequence: u64, value: &[u8]) -> Vec<u8> {
    let before_salt = format!("4:salt{}:", salt.len());
    let before_value = format!("3:seqi{sequence}e1:v{}:", value.len());
    [before_salt.as_bytes(), salt, before_value.as_bytes(), value].concat()
}

fn encode_strategies(strategies: &Strategies) -> Vec<u8> {
    let mut out = alloc::vec![VERSION];
    put_count(&mut out, strategies.addresses.len());
    for address in &strategies.addresses {
        match address.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&address.port().to_be_bytes());
    }
    put_count(&mut out, strategies.relays.len());
    for relay in &strategies.relays {
        out.extend_from_slice(relay.as_bytes());
    }
    out
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.push(u8::try_from(count).expect("the strategies have been checked"));
}

fn parse_strategies(value: &[u8]) -> Result<Strategies, InvalidRecord> {
    let mut reader = Reader::new(value);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(InvalidRecord::UnknownVersion(version));
    }
    let addresses = parse_list(&mut reader, Strategies::MAX_ADDRESSES, parse_address)?;
    let relays = parse_list(&mut reader, Strategies::MAX_RELAYS, |reader| reader.bytes().map(NodeId::from_bytes))?;
    reader.finish()?;

    let strategies = Strategies { addresses, relays };
    check_strategies(&strategies)?;
    Ok(strategies)
}

/// A count of at most `max` and so many items.
fn parse_list<'a, T>(
    reader: &mut Reader<'a>,
    max: usize,
    item: fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, InvalidRecord> {
    let count = reader.u8()?;
    if usize::from(count) > max {
        return Err(InvalidRecord::TooLong);
    }
    (0..count).map(|_| item(reader).map_err(InvalidRecord::from)).collect()
}

fn parse_address(reader: &mut Reader<'_>) -> Result<SocketAddr, Malformed> {
    let ip = match reader.u8()? {
        4 => IpAddr::from(Ipv4Addr::from(reader.bytes::<4>()?)),
        6 => IpAddr::from(Ipv6Addr::from(reader.bytes::<16>()?)),
        _ => return Err(Malformed),
    };
    Ok(SocketAddr::new(ip, reader.u16()?))
}

fn check_sequence(sequence: u64) -> Result<(), Malformed> {
    if sequence <= MAX_SEQUENCE { Ok(()) } else { Err(Malformed) }
}

fn check_strategies(strategies: &Strategies) -> Result<(), InvalidRecord> {
    let Strategies { addresses, relays } = strategies;
    if addresses.len() > Strategies::MAX_ADDRESSES || relays.len() > Strategies::MAX_RELAYS {
        return Err(InvalidRecord::TooLong);
    }
    let sound = addresses.iter().all(names_one_port_of_one_host);
    if sound && all_differ(addresses) && all_differ(relays) { Ok(()) } else { Err(InvalidRecord::Malformed) }
}

/// Whether an address can be dialled at all and says nothing that a record cannot carry.
fn names_one_port_of_one_host(address: &SocketAddr) -> bool {
    let carried_whole = match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) => v6.flowinfo() == 0 && v6.scope_id() == 0 && v6.ip().to_ipv4_mapped().is_none(),
    };
    let ip = address.ip();
    carried_whole && address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast()
}

/// Compares each with each: the lists have eight items at most.
fn all_differ<T: PartialEq>(items: &[T]) -> bool {
    items.iter().enumerate().all(|(index, item)| items.iter().skip(index.saturating_add(1)).all(|other| other != item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::testing::{Xorshift, mutated};
    use alloc::string::{String, ToString};
    use alloc::vec;
    use core::net::SocketAddrV6;

    const KEY_AND_SEQUENCE: usize = 40;
    const VALUE_AT: usize = 104;

    fn identity() -> Identity {
        Identity::from_seed(&[7; 32])
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn relays(count: u8) -> Vec<NodeId> {
        (0..count).map(|byte| NodeId::from_bytes([byte; 20])).collect()
    }

    fn example() -> SignedRecord {
        let addresses = addresses(&["192.0.2.1:4000", "[2001:db8::1]:4001", "10.0.0.1:4002"]);
        SignedRecord::sign(&identity(), 42, Strategies { addresses, relays: relays(2) }).unwrap()
    }

    fn sign_addresses(addresses: Vec<SocketAddr>) -> Result<SignedRecord, InvalidRecord> {
        SignedRecord::sign(&identity(), 1, Strategies { addresses, relays: vec![] })
    }

    /// A record with this value and a signature that verifies, whether or not the value makes sense.
    fn sealed(sequence: u64, value: &[u8]) -> Vec<u8> {
        let signature = identity().sign(&bep44_signed_form(NODE_ID_SALT, sequence, value));
        let key = identity().public_key();
        [key.as_bytes(), sequence.to_be_bytes().as_slice(), &signature, value].concat()
    }

    fn take(value: &[u8]) -> Result<SignedRecord, InvalidRecord> {
        SignedRecord::from_bytes(&sealed(1, value))
    }

    #[test]
    fn the_layout_is_the_specified_one() {
        let addresses = addresses(&["192.0.2.1:258", "[2001:db8::1]:259"]);
        let relays = vec![NodeId::from_bytes([9; 20])];
        let record = SignedRecord::sign(&identity(), 0x0102, Strategies { addresses, relays }).unwrap();
        let bytes = record.as_bytes();
        assert_eq!(bytes[..32], *identity().public_key().as_bytes());
        assert_eq!(bytes[32..KEY_AND_SEQUENCE], [0, 0, 0, 0, 0, 0, 1, 2]);
        let mut value = b"\x01\x02\x04\xc0\x00\x02\x01\x01\x02\x06\x20\x01\x0d\xb8".to_vec();
        value.extend([0; 11]);
        value.extend(b"\x01\x01\x03\x01");
        value.extend([9; 20]);
        assert_eq!(bytes[VALUE_AT..], value);
        let signed = [b"4:salt15:egtp:v1:node-id3:seqi258e1:v49:".as_slice(), &value].concat();
        let signature = bytes[KEY_AND_SEQUENCE..VALUE_AT].try_into().unwrap();
        assert!(identity().public_key().verifies(&signed, &signature));
    }

    #[test]
    fn the_signed_form_agrees_with_the_test_vector_of_bep_44() {
        let key = text::from_hex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548").unwrap();
        let signature = text::from_hex(concat!(
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d",
            "df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08"
        ));
        let key = PublicKey::from_bytes(&key.try_into().unwrap()).unwrap();
        let signed = bep44_signed_form(b"foobar", 1, b"Hello World!");
        assert!(key.verifies(&signed, &signature.unwrap().try_into().unwrap()));
    }

    #[test]
    fn a_record_says_what_was_signed_and_survives_both_forms() {
        let eight = addresses(&[
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
            "[2001:db8::2]:2",
            "[2001:db8::4]:65535",
            "127.0.0.1:5",
            "1.2.3.4:6",
            "[fe80::1]:7",
            "[::1]:8",
        ]);
        for (sequence, strategies) in [
            (0, Strategies::default()),
            (1, Strategies { addresses: eight.clone(), relays: vec![] }),
            (MAX_SEQUENCE, Strategies { addresses: eight, relays: relays(8) }),
        ] {
            let record = SignedRecord::sign(&identity(), sequence, strategies.clone()).unwrap();
            assert_eq!(record.node_id(), identity().node_id());
            assert_eq!(*record.key(), identity().public_key());
            assert_eq!(record.sequence(), sequence);
            assert_eq!(*record.strategies(), strategies);
            assert!(record.as_bytes().len() <= SignedRecord::MAX);
            assert_eq!(SignedRecord::from_bytes(record.as_bytes()), Ok(record.clone()));
            assert_eq!(record.to_string().parse(), Ok(record));
        }
    }

    #[test]
    fn too_many_addresses_or_relays_are_too_long() {
        let nine = (1..=9).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        assert_eq!(sign_addresses(nine), Err(InvalidRecord::TooLong));
        let strategies = Strategies { addresses: vec![], relays: relays(9) };
        assert_eq!(SignedRecord::sign(&identity(), 1, strategies), Err(InvalidRecord::TooLong));

        for count in 9..=u8::MAX {
            assert_eq!(take(&[1, count, 0]), Err(InvalidRecord::TooLong));
            assert_eq!(take(&[1, 0, count]), Err(InvalidRecord::TooLong));
        }
        assert_eq!(SignedRecord::from_bytes(&[0; SignedRecord::MAX + 1]), Err(InvalidRecord::TooLong));
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_neither_signed_nor_taken() {
        for text in [
            "192.0.2.1:0",
            "[2001:db8::1]:0",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.1:1",
            "239.255.255.255:1",
            "[ff02::1]:1",
            "[::ffff:192.0.2.1]:1",
        ] {
            let strategies = Strategies { addresses: addresses(&[text]), relays: vec![] };
            let value = encode_strategies(&strategies);
            assert_eq!(take(&value), Err(InvalidRecord::Malformed), "{text}");
            assert_eq!(SignedRecord::sign(&identity(), 1, strategies), Err(InvalidRecord::Malformed), "{text}");
        }
    }

    #[test]
    fn an_address_with_a_flow_label_or_scope_is_not_signed() {
        let ip = "fe80::1".parse().unwrap();
        for (flow, scope) in [(1, 0), (0, 1)] {
            let address = SocketAddr::V6(SocketAddrV6::new(ip, 1, flow, scope));
            assert_eq!(sign_addresses(vec![address]), Err(InvalidRecord::Malformed));
        }
    }

    #[test]
    fn an_address_or_relay_that_is_there_twice_is_neither_signed_nor_taken() {
        let two = addresses(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:1"]);
        let relay = NodeId::from_bytes([1; 20]);
        for strategies in [
            Strategies { addresses: two, relays: vec![] },
            Strategies { addresses: vec![], relays: vec![relay, relay] },
        ] {
            assert_eq!(take(&encode_strategies(&strategies)), Err(InvalidRecord::Malformed));
            assert_eq!(SignedRecord::sign(&identity(), 1, strategies), Err(InvalidRecord::Malformed));
        }
    }

    #[test]
    fn a_sequence_number_that_bep_44_cannot_carry_is_neither_signed_nor_taken() {
        let signed = SignedRecord::sign(&identity(), MAX_SEQUENCE + 1, Strategies::default());
        assert_eq!(signed, Err(InvalidRecord::Malformed));
        let bytes = sealed(MAX_SEQUENCE + 1, &[1, 0, 0]);
        assert_eq!(SignedRecord::from_bytes(&bytes), Err(InvalidRecord::Malformed));
    }

    #[test]
    fn every_other_version_is_named_and_every_other_family_malformed() {
        for value in 0..=u8::MAX {
            let version = take(&[value, 0, 0]);
            let family = take(&[1, 1, value, 192, 0, 2, 1, 0, 1, 0]);
            assert_eq!(version.is_ok(), value == 1);
            assert_eq!(version.err(), (value != 1).then_some(InvalidRecord::UnknownVersion(value)));
            assert_eq!(family.err(), (value != 4).then_some(InvalidRecord::Malformed), "{value}");
        }
    }

    #[test]
    fn every_truncation_and_every_byte_too_many_is_refused_even_if_signed() {
        let bytes = example().as_bytes().to_vec();
        for length in 0..bytes.len() {
            assert_eq!(SignedRecord::from_bytes(&bytes[..length]), Err(InvalidRecord::Malformed), "{length}");
        }
        let value = &bytes[VALUE_AT..];
        for length in 0..value.len() {
            assert_eq!(take(&value[..length]), Err(InvalidRecord::Malformed), "{length}");
        }
        assert_eq!(take(&[value, &[0]].concat()), Err(InvalidRecord::Malformed));
    }

    #[test]
    fn no_bit_of_a_record_can_be_changed() {
        let bytes = example().as_bytes().to_vec();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(SignedRecord::from_bytes(&other).is_err(), "bit {bit} of byte {at}");
            }
        }
        let mut other = bytes.clone();
        other[39] ^= 1;
        assert_eq!(SignedRecord::from_bytes(&other), Err(InvalidRecord::BadSignature));
    }

    #[test]
    fn a_record_with_a_weak_key_is_refused() {
        let mut bytes = example().as_bytes().to_vec();
        bytes[..32].fill(0);
        assert_eq!(SignedRecord::from_bytes(&bytes), Err(InvalidRecord::WeakKey));
    }

    #[test]
    fn strategies_that_are_parsed_encode_to_the_same_bytes() {
        let mut random = Xorshift::new();
        let record = example();
        let value = &record.as_bytes()[VALUE_AT..];
        for _ in 0..20_000 {
            let changed = mutated(value, &mut random);
            if let Ok(strategies) = parse_strategies(&changed) {
                assert_eq!(encode_strategies(&strategies), changed);
            }
        }
    }

    #[test]
    fn a_contact_that_is_not_canonical_is_refused() {
        let text = example().to_string();
        assert!(text.starts_with("egtp:") && text.parse::<SignedRecord>().is_ok());
        let symbols = &text["egtp:".len()..];
        for other in [
            String::new(),
            "egtp".to_string(),
            symbols.to_string(),
            format!("EGTP:{symbols}"),
            format!("egtp:{}", symbols.to_uppercase()),
            format!(" {text}"),
            format!("{text}\n"),
            format!("egtp:{symbols}é"),
        ] {
            assert_eq!(other.parse::<SignedRecord>(), Err(InvalidRecord::NotAContact), "{other:?}");
        }
        for length in 0..symbols.len() {
            assert!(format!("egtp:{}", &symbols[..length]).parse::<SignedRecord>().is_err(), "{length}");
        }
        assert!(format!("{text}y").parse::<SignedRecord>().is_err());
        assert_eq!(format!("egtp:{}", "y".repeat(961)).parse::<SignedRecord>(), Err(InvalidRecord::TooLong));
    }

    #[test]
    fn a_contact_with_bits_set_after_its_last_byte_is_refused() {
        // 107 bytes are 856 bits: 172 symbols, the last of which carries one bit of the record and four that must be
        // zero.
        let record = SignedRecord::sign(&identity(), 1, Strategies::default()).unwrap();
        let text = record.to_string();
        let (front, last) = text.split_at(text.len() - 1);
        assert_eq!((record.as_bytes().len(), text.len()), (107, 5 + 172));
        assert_eq!(last, "y");
        assert_eq!(format!("{front}b").parse::<SignedRecord>(), Err(InvalidRecord::NotAContact));
    }
}
