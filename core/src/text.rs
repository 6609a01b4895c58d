//! The text forms of binary values: z-base-32 (what people paste) and hexadecimal (also accepted for ids).

use alloc::string::String;
use alloc::vec::Vec;

/// The z-base-32 alphabet, chosen by Zooko for being easy to read, say and remember.
const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Encodes `bytes` in z-base-32, the last character padded with zero bits.
pub(crate) fn to_zbase32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let mut bits = 0u32;
    let mut held = 0u32;
    for &byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            push_symbol(&mut text, bits >> held);
        }
    }
    if held > 0 {
        push_symbol(&mut text, bits << (5 - held));
    }
    text
}

fn push_symbol(text: &mut String, bits: u32) {
    let index = usize::try_from(bits & 31).expect("five bits fit");
    text.push(char::from(ALPHABET[index]));
}

/// Decodes canonical z-base-32: lower case only, no character to spare, no bit set after the last whole byte.
pub(crate) fn from_zbase32(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let mut bits = 0u32;
    let mut held = 0u32;
    for symbol in text.bytes() {
        let value = ALPHABET.iter().position(|&known| known == symbol)?;
        bits = (bits << 5) | u32::try_from(value).ok()?;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
        }
    }
    let spare = bits & ((1 << held) - 1);
    (held < 5 && spare == 0).then_some(bytes)
}

/// Encodes `bytes` in lower-case hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for &byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("four bits are one digit"));
        }
    }
    text
}

/// Decodes lower-case hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    fn digit(symbol: u8) -> Option<u8> {
        match symbol {
            b'0'..=b'9' => Some(symbol - b'0'),
            b'a'..=b'f' => Some(symbol - b'a' + 10),
            _ => None,
        }
    }
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some((digit(pair[0])? << 4) | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn every_length_round_trips_in_both_forms() {
        for length in 0..64u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i.wrapping_mul(37).wrapping_add(length)).collect();
            assert_eq!(from_zbase32(&to_zbase32(&bytes)), Some(bytes.clone()));
            assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }
    }

    #[test]
    fn zbase32_agrees_with_its_published_examples() {
        // From the specification's own table, for whole bytes.
        assert_eq!(to_zbase32(&[0xf0, 0xbf, 0xc7]), "6n9hq");
        assert_eq!(to_zbase32(&[0xd4, 0x7a, 0x04]), "4t7ye");
    }

    #[test]
    fn zbase32_that_is_not_canonical_is_refused() {
        assert_eq!(from_zbase32("yy"), Some(vec![0]));
        assert_eq!(from_zbase32("yb"), None, "a bit is set after the last whole byte");
        assert_eq!(from_zbase32("yyy"), None, "a character to spare");
        assert_eq!(from_zbase32("YY"), None, "upper case");
        assert_eq!(from_zbase32("y0"), None, "not in the alphabet");
    }

    #[test]
    fn hexadecimal_that_is_not_canonical_is_refused() {
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("AB"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
