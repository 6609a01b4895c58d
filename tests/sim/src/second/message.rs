//! The canonical message.

use sha1::{Digest as _, Sha1};

use super::packet::VERSION;
use super::{put_counted, take, take_counted, take_slice};

/// The kind of a message that wants a reply.
pub const QUERY: u8 = 0;
/// The kind of a message that is one.
pub const REPLY: u8 = 1;
/// The kind of a message that wants none.
pub const NOTICE: u8 = 2;

/// The longest body there is.
pub const MAX_BODY: usize = 4_000_000;

/// The fields of a message (section 12), the version apart.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the protocol says what the fields are")]
pub struct Message {
    pub kind: u8,
    pub recipient: [u8; 20],
    pub nonce: [u8; 20],
    pub reference: [u8; 20],
    pub type_name: String,
    pub body: Vec<u8>,
}

impl Message {
    /// Its canonical bytes.
    ///
    /// # Panics
    ///
    /// If the type is longer than 255 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.kind];
        out.extend(self.recipient);
        out.extend(self.nonce);
        out.extend(self.reference);
        out.push(u8::try_from(self.type_name.len()).expect("a type fits its length"));
        out.extend(self.type_name.as_bytes());
        put_counted(&mut out, &self.body);
        out
    }

    /// Nothing if the bytes are no message.
    pub fn parse(mut bytes: &[u8]) -> Option<Self> {
        let [VERSION, kind @ QUERY..=NOTICE] = take(&mut bytes)? else { return None };
        let (recipient, nonce, reference) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
        let [type_length @ 1..=64] = take(&mut bytes)? else { return None };
        let type_name = String::from_utf8(take_slice(&mut bytes, usize::from(type_length))?.to_vec()).ok()?;
        let body = take_counted(&mut bytes)?.to_vec();
        let is_visible = type_name.bytes().all(|byte| byte.is_ascii_graphic());
        let refers_rightly = kind == REPLY || reference == [0; 20];
        let is_message = is_visible && refers_rightly && body.len() <= MAX_BODY && bytes.is_empty();
        is_message.then_some(Self { kind, recipient, nonce, reference, type_name, body })
    }
}

/// A message's id, from its canonical bytes.
pub fn id(encoding: &[u8]) -> [u8; 20] {
    Sha1::digest(encoding).into()
}

#[cfg(test)]
mod tests {
    use super::super::frame::MAX_MESSAGE;
    use super::*;

    fn examples() -> [Message; 3] {
        let message = |kind, reference, type_name: &str, body| Message {
            kind,
            recipient: [1; 20],
            nonce: [2; 20],
            reference,
            type_name: type_name.into(),
            body,
        };
        [
            message(QUERY, [0; 20], "!", Vec::new()),
            message(REPLY, [3; 20], &"~".repeat(64), vec![7; 100]),
            message(NOTICE, [0; 20], "a/b", vec![7]),
        ]
    }

    #[test]
    fn each_message_is_read_as_it_was_written_and_cut_short_is_none() {
        for message in examples() {
            let bytes = message.encode();
            assert_eq!(Message::parse(&bytes).as_ref(), Some(&message));
            assert!((0..bytes.len()).all(|length| Message::parse(&bytes[..length]).is_none()));
            assert_eq!(Message::parse(&[&bytes[..], &[0]].concat()), None);
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        let [query, _, notice] = examples();
        let outside = [
            Message { kind: 3, ..query.clone() },
            Message { reference: [1; 20], ..query.clone() },
            Message { reference: [1; 20], ..notice },
            Message { type_name: String::new(), ..query.clone() },
            Message { type_name: "~".repeat(65), ..query.clone() },
            Message { type_name: "a b".into(), ..query.clone() },
            Message { type_name: "\u{e9}".into(), ..query.clone() },
            Message { body: vec![0; MAX_BODY + 1], ..query.clone() },
        ];
        for message in outside {
            assert_eq!(Message::parse(&message.encode()), None, "{}", message.type_name);
        }
        let mut other_version = query.encode();
        other_version[0] = 1;
        assert_eq!(Message::parse(&other_version), None);
    }

    #[test]
    fn the_longest_message_is_as_long_as_frames_allow() {
        let [_, reply, _] = examples();
        let longest = Message { body: vec![0; MAX_BODY], ..reply }.encode();
        assert_eq!(u32::try_from(longest.len()), Ok(MAX_MESSAGE));
        assert!(Message::parse(&longest).is_some());
    }
}
