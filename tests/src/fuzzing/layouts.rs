//! Every layout has one encoding for each value, and whatever is no value is refused.

use egtp::internal::{self, Recoded};
use egtp::{SignedRecord, StoreKey, Stored};
use egtp_sim::second::identity::Identity;
use egtp_sim::second::record;

use super::Outcome;

/// Any bytes as a packet, as what a handshake message says, and as the frames of a record.
///
/// # Panics
///
/// If a value is understood that has another encoding.
pub fn frame(bytes: &[u8]) -> Outcome {
    let layouts = [internal::packet, internal::hello_payload, internal::welcome_payload, internal::frames];
    Outcome::taken_if(layouts.map(|layout| is_understood(bytes, &layout(bytes))).contains(&true))
}

/// Any bytes as a message.
///
/// # Panics
///
/// As for [`frame`].
pub fn message(bytes: &[u8]) -> Outcome {
    Outcome::taken_if(is_understood(bytes, &internal::message(bytes)))
}

/// Any bytes as a record, as the strategies in a record that is signed well, as a contact, and as what is stored.
///
/// # Panics
///
/// If a record is taken that has another encoding, or is not given back unchanged.
pub fn record(bytes: &[u8]) -> Outcome {
    let signed = record::sign(&Identity([7; 32]), 1, bytes);
    let contact = str::from_utf8(bytes).ok().and_then(|text| {
        let record = text.parse::<SignedRecord>().ok()?;
        assert_eq!(record.to_string(), text, "a record has one contact");
        Some(record)
    });
    Outcome::taken_if(is_record(bytes) | is_record(&signed) | contact.is_some() | is_sequence(bytes))
}

fn is_understood(bytes: &[u8], recoded: &Recoded) -> bool {
    assert!(recoded.is_canonical(bytes), "two encodings of one value, or memory for nothing: {recoded:?}");
    recoded.values > 0 && !recoded.refused
}

fn is_record(bytes: &[u8]) -> bool {
    let Ok(record) = SignedRecord::from_bytes(bytes) else { return false };
    assert_eq!(record.as_bytes(), bytes, "a record has one encoding");
    let contact = record.to_string();
    assert_eq!(contact.parse().as_ref(), Ok(&record), "a contact stands for its record");
    let own = Stored::parse([(StoreKey::Record(record.node_id()), bytes)]);
    assert!(own.is_ok(), "a record is stored under its node's id");
    let anothers = Stored::parse([(StoreKey::Record(egtp::NodeId::from_bytes([0; 20])), bytes)]);
    assert!(anothers.is_err(), "and under no other");
    true
}

fn is_sequence(bytes: &[u8]) -> bool {
    let stored = Stored::parse([(StoreKey::Sequence, bytes)]);
    assert!(stored.is_err() || bytes.len() == 8, "a sequence number has eight bytes");
    stored.is_ok()
}
