//! The test vectors in `tests/vectors`, computed anew by the second implementation, and by the first where its inputs can be
//! chosen.
//!
//! A file has sections, `[name]`, of lines, `name = value`. A test reads the inputs of a section and computes everything
//! else; on a difference it prints the line as it would have to be.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fmt::Display;

use egtp::{Identity, MessageId, NodeId, PublicKey, SignedRecord, Strategies};

use egtp_sim::second::crypto::{dh_public, rekey};
use egtp_sim::second::frame::Frame;
use egtp_sim::second::handshake::{HelloPayload, Initiator, Keys, Responder, WelcomePayload, prologue};
use egtp_sim::second::identity::{Identity as SecondIdentity, dh_public_of, zbase32};
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed};
use egtp_sim::second::record;
use egtp_sim::second::session::{Session, key_at};

#[test]
fn ids() {
    check(include_str!("../vectors/ids.txt"), |section| {
        let seed: [u8; 32] = section.array("seed");
        let me = SecondIdentity(seed);
        section.expect_bytes("public_key", &me.public_key());
        section.expect_bytes("x25519_secret", &me.dh_secret());
        section.expect_bytes("x25519_public", &dh_public_of(&me.public_key()).unwrap());
        section.expect_bytes("node_id", &me.node_id());
        section.expect_text("node_id_text", zbase32(&me.node_id()));

        assert_eq!(dh_public(&me.dh_secret()), dh_public_of(&me.public_key()).unwrap());
        let first = Identity::from_seed(&seed);
        section.expect_bytes("public_key", first.public_key().as_bytes());
        section.expect_bytes("node_id", first.node_id().as_bytes());
        section.expect_text("node_id_text", first.node_id());
    });
}

#[test]
fn weak_keys() {
    check(include_str!("../vectors/weak-keys.txt"), |section| {
        let key: [u8; 32] = section.array("public_key");
        assert_eq!(dh_public_of(&key), None);
        assert!(PublicKey::from_bytes(&key).is_err());
    });
}

#[test]
fn records() {
    check(include_str!("../vectors/records.txt"), |section| {
        let me = SecondIdentity(section.array("seed"));
        let sequence = section.number("sequence");
        let addresses: Vec<_> = section.words("addresses").map(|word| word.parse().unwrap()).collect();
        let relays: Vec<[u8; 20]> = section.words("relays").map(|word| unhex(word).try_into().unwrap()).collect();
        let value = record::value(&addresses, &relays);
        let signed = record::sign(&me, sequence, &value);
        section.expect_bytes("value", &value);
        section.expect_bytes("signed_form", &record::signed_form(sequence, &value));
        section.expect_bytes("record", &signed);
        section.expect_text("contact", record::contact(&signed));
        assert_eq!(record::verify(&signed), Some(me.public_key()));

        let relays = relays.into_iter().map(NodeId::from_bytes).collect();
        let identity = Identity::from_seed(&me.0);
        let first = SignedRecord::sign(&identity, sequence, Strategies { addresses, relays }).unwrap();
        section.expect_bytes("record", first.as_bytes());
        section.expect_text("contact", &first);
        assert_eq!(first.to_string().parse(), Ok(first));
    });
}

#[test]
fn handshakes() {
    check(include_str!("../vectors/handshakes.txt"), |section| {
        let (initiator, responder) = identities(section);
        let isid = section.array("isid");
        let asked: Vec<[u8; 8]> = section.words("asked").map(|word| unhex(word).try_into().unwrap()).collect();
        let hello = HelloPayload {
            key: initiator.public_key(),
            generation: u32::try_from(section.number("hello_generation")).unwrap(),
            asked,
        };
        section.expect_bytes("prologue", &prologue(&responder.node_id(), isid));
        section.expect_bytes("hello_payload", &hello.encode());
        let (waiting, first) = Initiator::start(
            &initiator,
            &responder.public_key(),
            isid,
            section.array("initiator_ephemeral"),
            &hello.encode(),
        )
        .unwrap();
        let cookie = section.array("cookie");
        section.expect_bytes("hello_packet", &Packet::Hello { isid, cookie, noise: first.clone() }.encode());

        let opened = Responder::open(&responder, isid, &first).unwrap();
        assert_eq!(opened.payload, hello);
        let welcome = WelcomePayload {
            rsid: section.array("rsid"),
            generation: u32::try_from(section.number("welcome_generation")).unwrap(),
            held: u8::try_from(section.number("held")).unwrap(),
            boot: u64::from_be_bytes(section.array("boot")),
            max_outstanding: u16::try_from(section.number("max_outstanding")).unwrap(),
        };
        section.expect_bytes("welcome_payload", &welcome.encode());
        let (second, keys) = opened.answer(section.array("responder_ephemeral"), &welcome.encode()).unwrap();
        section.expect_bytes("welcome_packet", &Packet::Welcome { isid, noise: second.clone() }.encode());
        section.expect_bytes("handshake_hash", &keys.hash);
        section.expect_bytes("key_of_initiator", &keys.of_initiator);
        section.expect_bytes("key_of_responder", &keys.of_responder);
        assert_eq!(waiting.finish(&second), Some((keys, welcome)));
    });
}

#[test]
fn exchanges() {
    check(include_str!("../vectors/exchanges.txt"), |section| {
        let (asker, answerer) = identities(section);
        let keys = Keys {
            hash: [0; 32],
            of_initiator: section.array("key_of_initiator"),
            of_responder: section.array("key_of_responder"),
        };
        let (isid, rsid) = (section.array("isid"), section.array("rsid"));
        let mut at_asker = Session::of_initiator(&keys, rsid);
        let mut at_answerer = Session::of_responder(&keys, isid);
        at_asker.counter = section.number("query_counter");
        at_answerer.counter = section.number("reply_counter");
        let (number, until) = (section.number("number"), u32::try_from(section.number("until")).unwrap());

        let type_name = section.value("type").to_owned();
        let query = Message {
            kind: message::QUERY,
            recipient: answerer.node_id(),
            nonce: section.array("query_nonce"),
            reference: [0; 20],
            type_name: type_name.clone(),
            body: section.bytes("query_body"),
        };
        let message = query.encode();
        let reference = message::id(&message);
        let frame = Frame::query(number, until, &message).encode();
        section.expect_bytes("query_message", &message);
        section.expect_bytes("query_id", &reference);
        section.expect_bytes("query_frame", &frame);
        let echo = at_asker.counter;
        let packet = at_asker.seal(&frame);
        section.expect_bytes("query_packet", &packet);
        section.expect_bytes("query_on_the_stream", &framed(&packet));
        assert_eq!(at_answerer.open(&packet), Some((echo, frame)));
        assert_eq!(Message::parse(&message), Some(query));
        section.expect_bytes("query_id", MessageId::of_encoding(&message).as_bytes());

        let reply = Message {
            kind: message::REPLY,
            recipient: asker.node_id(),
            nonce: section.array("reply_nonce"),
            reference,
            type_name,
            body: section.bytes("reply_body"),
        };
        let message = reply.encode();
        let frame = Frame::reply(number, 0, echo, &message).encode();
        section.expect_bytes("reply_message", &message);
        section.expect_bytes("reply_frame", &frame);
        let counter = at_answerer.counter;
        let packet = at_answerer.seal(&frame);
        section.expect_bytes("reply_packet", &packet);
        assert_eq!(at_asker.open(&packet), Some((counter, frame)));
        assert_eq!(Message::parse(&message), Some(reply));
    });
}

#[test]
fn frames() {
    check(include_str!("../vectors/frames.txt"), |section| {
        let number = |name: &str| section.number(name);
        let byte = |name: &str| u8::try_from(section.number(name)).unwrap();
        let word = |name: &str| u32::try_from(section.number(name)).unwrap();
        let frame = match section.name.as_str() {
            "QUERY" | "QUERY, a notice" | "QUERY, the first part" => Frame::Query {
                number: number("number"),
                flags: byte("flags"),
                until: word("until"),
                total: word("total"),
                part: section.bytes("part"),
            },
            "ACK" => Frame::Ack { number: number("number"), echo: number("echo") },
            "REPLY" => Frame::Reply {
                number: number("number"),
                code: byte("code"),
                echo: number("echo"),
                total: word("total"),
                part: section.bytes("part"),
            },
            "REFUSE" => Frame::Refuse {
                number: number("number"),
                code: byte("code"),
                wait: u16::try_from(number("wait")).unwrap(),
            },
            "GONE" => Frame::Gone { number: number("number"), reason: byte("reason") },
            "DONE" => Frame::Done { base: number("base"), bitmap: u64::from_be_bytes(section.array("bitmap")) },
            "PING" => Frame::Ping {
                token: number("token"),
                asked: section.words("asked").map(|word| unhex(word).try_into().unwrap()).collect(),
            },
            "PONG" => Frame::Pong { token: number("token"), held: byte("held") },
            "BREAK" => Frame::Break { code: byte("code"), base: number("base"), bitmap: section.array("bitmap") },
            "PIECE" => Frame::Piece {
                of: byte("of"),
                number: number("number"),
                offset: word("offset"),
                part: section.bytes("part"),
            },
            "LEAVE" => Frame::Leave { step: byte("step") },
            "DRAINED" => Frame::Drained,
            other => panic!("no such frame: {other}"),
        };
        let bytes = frame.encode();
        assert_eq!(Frame::parse_all(&bytes), Some(vec![frame]));
        section.expect_bytes("frame", &bytes);
    });
}

#[test]
fn rekeying() {
    check(include_str!("../vectors/rekeying.txt"), |section| {
        let first: [u8; 32] = section.array("first_key");
        section.expect_bytes("key_of_epoch_1", &rekey(&first));
        section.expect_bytes("key_of_epoch_2", &rekey(&rekey(&first)));
        let frames = section.bytes("frames");
        let mut sender = Session { peer_sid: section.array("sid"), send_key: first, receive_key: first, counter: 0 };
        for (name, counter) in [
            ("last_packet_of_epoch_0", (1 << 20) - 1),
            ("first_packet_of_epoch_1", 1 << 20),
            ("first_packet_of_epoch_2", 1 << 21),
        ] {
            sender.counter = counter;
            let packet = sender.seal(&frames);
            section.expect_bytes(name, &packet);
            assert_eq!(sender.open(&packet), Some((counter, frames.clone())));
            assert_ne!(key_at(&first, counter), [0; 32]);
        }
    });
}

fn identities(section: &Section) -> (SecondIdentity, SecondIdentity) {
    (SecondIdentity(section.array("initiator_seed")), SecondIdentity(section.array("responder_seed")))
}

/// One section of a file, and what was found to differ in it.
struct Section {
    name: String,
    lines: BTreeMap<String, String>,
    differences: Vec<String>,
}

impl Section {
    fn value(&self, name: &str) -> &str {
        self.lines.get(name).unwrap_or_else(|| panic!("[{}] has no {name}", self.name))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        unhex(self.value(name))
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("[{}] {name} has not {N} bytes", self.name))
    }

    fn number(&self, name: &str) -> u64 {
        self.value(name).parse().unwrap_or_else(|_| panic!("[{}] {name} is no number", self.name))
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.value(name).split_whitespace()
    }

    fn expect_bytes(&mut self, name: &str, computed: &[u8]) {
        self.expect_text(name, hex(computed));
    }

    fn expect_text(&mut self, name: &str, computed: impl Display) {
        let computed = computed.to_string();
        if self.lines.get(name) != Some(&computed) {
            self.differences.push(format!("{name} = {computed}"));
        }
    }
}

/// Runs `test` on every section of a file.
fn check(file: &str, mut test: impl FnMut(&mut Section)) {
    let mut sections: Vec<Section> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), lines: BTreeMap::new(), differences: Vec::new() });
        } else {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no line of a vector: {line}"));
            let section = sections.last_mut().expect("a section comes before the first line");
            let before = section.lines.insert(name.trim().to_owned(), value.trim().to_owned());
            assert_eq!(before, None, "a line is there twice: {line}");
        }
    }
    assert!(!sections.is_empty(), "the file has no sections");
    let mut report = String::new();
    for section in &mut sections {
        test(section);
        if !section.differences.is_empty() {
            report += &format!("[{}]\n{}\n\n", section.name, section.differences.join("\n"));
        }
    }
    assert!(report.is_empty(), "these lines are computed otherwise:\n\n{report}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "no hexadecimal: {text}");
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digits).collect()
}
