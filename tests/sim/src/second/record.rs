//! The comm-strategy record.

use std::net::SocketAddr;

use super::identity::{self, Identity, SALT, zbase32};
use super::{Key, take};

/// The strategies as a record has them (section 4).
///
/// # Panics
///
/// If there are more than 255 of a kind.
pub fn value(addresses: &[SocketAddr], relays: &[[u8; 20]]) -> Vec<u8> {
    let mut out = vec![1, u8::try_from(addresses.len()).expect("a record holds few addresses")];
    for address in addresses {
        match address {
            SocketAddr::V4(v4) => {
                out.push(4);
                out.extend(v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                out.push(6);
                out.extend(v6.ip().octets());
            }
        }
        out.extend(address.port().to_be_bytes());
    }
    out.push(u8::try_from(relays.len()).expect("a record holds few relays"));
    out.extend(relays.concat());
    out
}

/// What the signature covers.
pub fn signed_form(sequence: u64, value: &[u8]) -> Vec<u8> {
    let mut out = format!("4:salt{}:", SALT.len()).into_bytes();
    out.extend(SALT);
    out.extend(format!("3:seqi{sequence}e1:v{}:", value.len()).as_bytes());
    out.extend(value);
    out
}

/// A whole record.
pub fn sign(identity: &Identity, sequence: u64, value: &[u8]) -> Vec<u8> {
    let signature = identity.sign(&signed_form(sequence, value));
    [&identity.public_key()[..], &sequence.to_be_bytes(), &signature, value].concat()
}

/// The key of whoever signed it, if the signature is right.
pub fn verify(mut record: &[u8]) -> Option<Key> {
    let key: Key = take(&mut record)?;
    let sequence = u64::from_be_bytes(take(&mut record)?);
    let signature: [u8; 64] = take(&mut record)?;
    identity::verifies(&key, &signed_form(sequence, record), &signature).then_some(key)
}

/// A record's text form.
pub fn contact(record: &[u8]) -> String {
    format!("egtp:{}", zbase32(record))
}
