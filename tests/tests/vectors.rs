//! The test vectors in `tests/vectors`, computed anew by the second implementation, and by the first where its inputs can be
//! chosen.
//!
//! A file has sections, `[name]`, of lines, `name = value`. A test reads the inputs of a section and computes everything
//! else; on a difference it prints the line as it would have to be. With `EGTP_REWRITE=1` in the environment it writes it
//! there: whoever wants another vector writes down its inputs.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;
use std::{env, fs};

use egtp::{Identity, MessageId, NodeId, PublicKey, SignedRecord, Strategies};

use egtp_sim::second::ack;
use egtp_sim::second::crypto::{dh_public, rekey};
use egtp_sim::second::frame::{Frame, Run};
use egtp_sim::second::handshake::{HelloPayload, Initiator, Keys, Responder, WelcomePayload, prologue};
use egtp_sim::second::identity::{Identity as SecondIdentity, dh_public_of, zbase32};
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed};
use egtp_sim::second::record;
use egtp_sim::second::session::{Session, key_at};

#[test]
fn ids() {
    check("ids.txt", |section| {
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
    check("weak-keys.txt", |section| {
        let key: [u8; 32] = section.array("public_key");
        assert_eq!(dh_public_of(&key), None);
        assert!(PublicKey::from_bytes(&key).is_err());
    });
}

#[test]
fn records() {
    check("records.txt", |section| {
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
    check("handshakes.txt", |section| {
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
    check("exchanges.txt", |section| {
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
        let frame = Frame::query(number, until, &message);
        section.expect_bytes("query_message", &message);
        section.expect_bytes("query_id", &reference);
        section.expect_bytes("query_frame", &frame.encode());
        let (asked_in, packet) = (at_asker.counter, at_asker.say(std::slice::from_ref(&frame)));
        section.expect_bytes("query_packet", &packet);
        section.expect_bytes("query_on_the_stream", &framed(&packet));
        assert_eq!(at_answerer.hear(&packet), Ok((asked_in, vec![frame])));
        let (heading, body) = message.split_at(message.len() - query.body.len());
        section.expect_bytes("query_id", MessageId::of_encoding(heading, body).as_bytes());
        assert_eq!(Message::parse(&message), Some(query));

        let reply = Message {
            kind: message::REPLY,
            recipient: asker.node_id(),
            nonce: section.array("reply_nonce"),
            reference,
            type_name,
            body: section.bytes("reply_body"),
        };
        let message = reply.encode();
        let ack_of = |counter, delay| ack::naming(&BTreeSet::from([counter]), delay).unwrap();
        let delay = |section: &Section, name: &str| u16::try_from(section.number(name)).unwrap();
        let frames = [ack_of(asked_in, delay(section, "query_ack_delay")), Frame::reply(number, 0, &message)];
        section.expect_bytes("query_ack_frame", &frames[0].encode());
        section.expect_bytes("reply_message", &message);
        section.expect_bytes("reply_frame", &frames[1].encode());
        let (answered_in, packet) = (at_answerer.counter, at_answerer.say(&frames));
        section.expect_bytes("reply_packet", &packet);
        assert_eq!(at_asker.hear(&packet), Ok((answered_in, frames.to_vec())));
        assert_eq!(Message::parse(&message), Some(reply));
        assert!(at_asker.ledger.is_acknowledged(asked_in));

        let last = ack_of(answered_in, delay(section, "reply_ack_delay"));
        section.expect_bytes("reply_ack_frame", &last.encode());
        let packet = at_asker.say(std::slice::from_ref(&last));
        section.expect_bytes("reply_ack_packet", &packet);
        assert_eq!(at_answerer.hear(&packet), Ok((asked_in + 1, vec![last])));
        assert_eq!(at_answerer.ledger.unacknowledged().count(), 0);
    });
}

#[test]
fn frames() {
    check("frames.txt", |section| {
        let number = |name: &str| section.number(name);
        let byte = |name: &str| u8::try_from(section.number(name)).unwrap();
        let word = |name: &str| u32::try_from(section.number(name)).unwrap();
        let number_of = |word: &str| u16::try_from(word.parse::<u64>().unwrap()).unwrap();
        let frame = match section.name.split(',').next().unwrap() {
            "QUERY" => Frame::Query {
                number: number("number"),
                flags: byte("flags"),
                until: word("until"),
                total: word("total"),
                part: section.bytes("part"),
            },
            "REPLY" => Frame::Reply {
                number: number("number"),
                code: byte("code"),
                total: word("total"),
                part: section.bytes("part"),
            },
            "PIECE" => Frame::Piece {
                of: byte("of"),
                number: number("number"),
                total: word("total"),
                offset: word("offset"),
                part: section.bytes("part"),
            },
            "REFUSE" => Frame::Refuse {
                number: number("number"),
                code: byte("code"),
                wait: u16::try_from(number("wait")).unwrap(),
            },
            "CANCEL" => Frame::Cancel { number: number("number") },
            "ACK" => {
                let runs = section.words("runs").map(|run| {
                    let (length, gap) = run.split_once('/').unwrap();
                    Run { length: number_of(length), gap: number_of(gap) }
                });
                let runs: Vec<Run> = runs.collect();
                let (largest, delay) = (number("largest"), u16::try_from(number("delay")).unwrap());
                let ranges = ack::named(largest, &runs).unwrap();
                let names: Vec<String> =
                    ranges.iter().map(|range| format!("{}-{}", range.start(), range.end())).collect();
                section.expect_text("names", names.join(" "));
                Frame::Ack { largest, delay, runs }
            }
            "PING" => Frame::Ping,
            "BREAK" => Frame::Break { code: byte("code"), base: number("base"), bitmap: section.array("bitmap") },
            other => panic!("no such frame: {other}"),
        };
        let bytes = frame.encode();
        assert_eq!(Frame::parse_all(&bytes), Some(vec![frame]));
        section.expect_bytes("frame", &bytes);
    });
}

#[test]
fn rekeying() {
    check("rekeying.txt", |section| {
        let first: [u8; 32] = section.array("first_key");
        section.expect_bytes("key_of_epoch_1", &rekey(&first));
        section.expect_bytes("key_of_epoch_2", &rekey(&rekey(&first)));
        let frames = section.bytes("frames");
        let mut sender = Session::with_keys(section.array("sid"), first, first);
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
    /// Which lines were looked at.
    read: RefCell<BTreeSet<String>>,
    differences: BTreeMap<String, String>,
}

impl Section {
    fn value(&self, name: &str) -> &str {
        self.read.borrow_mut().insert(name.to_owned());
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
        self.read.borrow_mut().insert(name.to_owned());
        let computed = computed.to_string();
        if self.lines.get(name) != Some(&computed) {
            self.differences.insert(name.to_owned(), computed);
        }
    }

    /// Lines that nothing was made of.
    fn superfluous(&self) -> Vec<&String> {
        let read = self.read.borrow();
        self.lines.keys().filter(|name| !read.contains(*name)).collect()
    }
}

/// Runs `test` on every section of a file.
fn check(name: &str, mut test: impl FnMut(&mut Section)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let file = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut sections = sections_of(&file);
    assert!(!sections.is_empty(), "the file has no sections");
    sections.iter_mut().for_each(&mut test);
    if env::var_os("EGTP_REWRITE").is_some() {
        fs::write(&path, rewritten(&file, &sections)).expect("a file of vectors is written");
        return;
    }
    let mut report = String::new();
    for section in &sections {
        let lines = section.differences.iter().map(|(name, computed)| format!("{name} = {computed}"));
        let superfluous = section.superfluous().into_iter().map(|name| format!("(nothing is made of {name})"));
        let lines: Vec<String> = lines.chain(superfluous).collect();
        if !lines.is_empty() {
            report += &format!("[{}]\n{}\n\n", section.name, lines.join("\n"));
        }
    }
    assert!(report.is_empty(), "these lines are computed otherwise:\n\n{report}");
}

fn sections_of(file: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = section_name(line) {
            let (name, read) = (name.to_owned(), RefCell::default());
            sections.push(Section { name, lines: BTreeMap::new(), read, differences: BTreeMap::new() });
        } else {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no line of a vector: {line}"));
            let section = sections.last_mut().expect("a section comes before the first line");
            let before = section.lines.insert(name.trim().to_owned(), value.trim().to_owned());
            assert_eq!(before, None, "a line is there twice: {line}");
        }
    }
    sections
}

fn section_name(line: &str) -> Option<&str> {
    line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))
}

/// A file with what was computed in place of what differs, and without what nothing is made of. What is new comes last.
fn rewritten(file: &str, sections: &[Section]) -> String {
    let mut sections = sections.iter();
    let mut section: Option<&Section> = None;
    let mut lines: Vec<String> = Vec::new();
    for line in file.lines().chain([""]) {
        let name = line.split_once('=').map(|(name, _)| name.trim().to_owned());
        match (section, name) {
            _ if section_name(line).is_some() => {
                section = sections.next();
                lines.push(line.to_owned());
            }
            (Some(section), Some(name)) if !line.starts_with('#') => match section.differences.get(&name) {
                _ if section.superfluous().contains(&&name) => {}
                Some(computed) => lines.push(format!("{name} = {computed}").trim_end().to_owned()),
                None => lines.push(line.to_owned()),
            },
            (Some(done), None) if line.is_empty() => {
                let new = done.differences.iter().filter(|(name, _)| !done.lines.contains_key(*name));
                lines.extend(new.map(|(name, computed)| format!("{name} = {computed}").trim_end().to_owned()));
                lines.push(String::new());
                section = None;
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines.join("\n").trim_end().to_owned() + "\n"
}

#[test]
fn a_file_is_rewritten_where_it_is_computed_otherwise() {
    let file = "# head = 1\n\n[one]\na = 1\nb = 2\n# gives\nc = 3\n\n[two]\na = 1\nc =\n";
    let mut sections = sections_of(file);
    for section in &mut sections {
        let a = section.number("a");
        section.expect_text("c", a + 3);
        section.expect_text("d", "");
    }
    let expected = "# head = 1\n\n[one]\na = 1\n# gives\nc = 4\nd =\n\n[two]\na = 1\nc = 4\nd =\n";
    assert_eq!(rewritten(file, &sections), expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "no hexadecimal: {text}");
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(digits).collect()
}
