//! What an honest node may say, and what it may not.

use super::*;
use crate::second::message::{self, Message};

const UNTIL: u32 = 30_000;
const ME: [u8; 20] = [1; 20];
const FIRST: Line = Line(0);
const SECOND: Line = Line(2);

/// This end, and the connections that are open.
struct Ear {
    said: Said,
    ledger: Ledger,
    open: BTreeSet<Line>,
    sealed: u64,
}

impl Ear {
    fn new() -> Self {
        let said = Said::with(Words::addressed_to([ME; 2]));
        Self { said, ledger: Ledger::default(), open: BTreeSet::from([FIRST, SECOND]), sealed: 0 }
    }

    fn says(&mut self, line: Line, frames: &[Frame]) {
        self.said.say(line, frames);
        self.ledger.seal(self.sealed, frames);
        self.sealed += 1;
    }

    fn acknowledges(&mut self, counters: &[u64]) {
        self.says(FIRST, &[ack(counters)]);
    }

    /// What is wrong with a record.
    fn hears(&mut self, line: Line, counter: u64, frames: &[Frame]) -> Vec<Finding> {
        self.said.hear(&Opened { line, counter, frames, ledger: &self.ledger, open: &self.open })
    }

    fn is_content(&mut self, line: Line, counter: u64, frames: &[Frame]) {
        assert_eq!(self.hears(line, counter, frames), [], "{frames:?}");
    }

    /// The record breaks this rule.
    fn objects(&mut self, line: Line, counter: u64, frames: &[Frame], why: &str) {
        let found = self.hears(line, counter, frames);
        assert!(found.len() == 1 && found[0].what.contains(why) && found[0].unless_gone.is_none(), "{found:?}");
    }

    /// The record breaks this rule unless that connection is gone.
    fn suspects(&mut self, line: Line, counter: u64, frames: &[Frame], why: &str, unless_gone: Line) {
        let found = self.hears(line, counter, frames);
        assert!(
            found.len() == 1 && found[0].what.contains(why) && found[0].unless_gone == Some(unless_gone),
            "{found:?}"
        );
    }
}

fn ack(counters: &[u64]) -> Frame {
    crate::second::ack::naming(&counters.iter().copied().collect(), 0).unwrap()
}

fn query(number: u64) -> Frame {
    Frame::query(number, UNTIL, b"query")
}

/// A query of this end's, and the answer to it.
fn question(number: u64) -> (Frame, Vec<u8>) {
    let message = |kind, recipient, reference| Message {
        kind,
        recipient,
        nonce: [9; 20],
        reference,
        type_name: "echo".into(),
        body: vec![7; 100],
    };
    let asked = message(message::QUERY, [2; 20], [0; 20]).encode();
    let answer = message(message::REPLY, ME, message::id(&asked)).encode();
    (Frame::query(number, UNTIL, &asked), answer)
}

#[test]
fn a_conversation_by_the_rules() {
    let mut ear = Ear::new();
    let (asked, answer) = question(0);
    ear.says(FIRST, &[asked]);
    ear.is_content(FIRST, 0, &[ack(&[0])]);
    ear.is_content(FIRST, 1, &[query(0), Frame::Ping]);
    ear.says(FIRST, &[ack(&[0, 1]), Frame::reply(0, 0, b"answer")]);
    ear.is_content(FIRST, 2, &[ack(&[0, 1]), Frame::reply(0, 0, &answer)]);
    ear.acknowledges(&[0, 1, 2]);
    ear.is_content(SECOND, 3, &[]);
    ear.is_content(SECOND, 4, &[query(1)]);
    ear.is_content(SECOND, 5, &[Frame::Cancel { number: 1 }]);
    ear.is_content(SECOND, 6, &[Frame::Break { code: 2, base: 0, bitmap: bits(&[0]) }]);
}

#[test]
fn on_a_stream_that_lives_nothing_is_said_twice() {
    let (asked, answer) = question(0);
    let said = [
        query(0),
        Frame::piece(1, 1, b"query", 2..4),
        Frame::Cancel { number: 2 },
        Frame::reply(0, 0, &answer),
        Frame::piece(2, 0, &answer, 5..9),
    ];
    for frame in said {
        let mut ear = Ear::new();
        ear.says(FIRST, std::slice::from_ref(&asked));
        ear.is_content(SECOND, 7, std::slice::from_ref(&frame));
        ear.suspects(SECOND, 8, std::slice::from_ref(&frame), "twice", SECOND);
        // It may have been sealed before.
        ear.suspects(FIRST, 6, std::slice::from_ref(&frame), "twice", FIRST);
    }
}

#[test]
fn what_was_lost_with_its_connection_is_said_again() {
    let mut ear = Ear::new();
    ear.is_content(FIRST, 0, &[query(0)]);
    ear.open.remove(&FIRST);
    ear.is_content(SECOND, 1, &[query(0)]);
    ear.suspects(SECOND, 2, &[query(0)], "twice", SECOND);
}

#[test]
fn what_an_ack_has_passed_over_is_said_again() {
    let mut ear = Ear::new();
    ear.is_content(FIRST, 0, &[query(0)]);
    ear.is_content(SECOND, 1, &[query(1)]);
    ear.is_content(FIRST, 2, &[Frame::Ping]);
    ear.acknowledges(&[2]);
    ear.is_content(FIRST, 3, &[query(0)]);
    ear.suspects(SECOND, 4, &[query(1)], "twice", SECOND);
}

#[test]
fn a_part_may_be_cut_otherwise_when_it_goes_again_and_its_neighbours_stay_where_they_are() {
    let mut ear = Ear::new();
    let message = [1; 100];
    ear.is_content(FIRST, 0, &[Frame::piece(1, 0, &message, 10..50)]);
    ear.is_content(SECOND, 1, &[Frame::piece(1, 0, &message, 50..60)]);
    ear.open.remove(&FIRST);
    ear.is_content(SECOND, 2, &[Frame::piece(1, 0, &message, 10..30)]);
    ear.is_content(SECOND, 3, &[Frame::piece(1, 0, &message, 30..50)]);
    ear.suspects(SECOND, 4, &[Frame::piece(1, 0, &message, 45..55)], "twice", SECOND);
}

#[test]
fn a_refusal_is_said_as_often_as_it_was_asked_for() {
    for answer in [Frame::Refuse { number: 0, code: 9, wait: 0 }, Frame::reply(0, 3, &[])] {
        let mut ear = Ear::new();
        let (asked, _) = question(0);
        ear.says(FIRST, std::slice::from_ref(&asked));
        ear.is_content(FIRST, 0, std::slice::from_ref(&answer));
        ear.says(FIRST, std::slice::from_ref(&asked));
        ear.is_content(FIRST, 1, std::slice::from_ref(&answer));
        ear.suspects(FIRST, 2, std::slice::from_ref(&answer), "twice", FIRST);
    }
}

#[test]
fn an_ack_names_what_was_sent() {
    let mut ear = Ear::new();
    for _ in 0..3 {
        ear.says(FIRST, &[Frame::Ping]);
    }
    ear.is_content(FIRST, 0, &[ack(&[1, 2])]);
    ear.objects(FIRST, 1, &[ack(&[2, 3])], "record 3, which it was never sent");
    ear.sealed = 2000;
    ear.says(FIRST, &[Frame::Ping]);
    ear.objects(FIRST, 2, &[ack(&[2, 2000])], "below the window");
}

#[test]
fn an_ack_takes_nothing_back() {
    let mut ear = Ear::new();
    for _ in 0..6 {
        ear.says(FIRST, &[Frame::Ping]);
    }
    ear.is_content(FIRST, 5, &[ack(&[0, 2, 3])]);
    ear.is_content(FIRST, 6, &[ack(&[0, 1, 2, 3, 5])]);
    ear.objects(FIRST, 7, &[ack(&[0, 1, 3, 5])], "takes back");
    ear.objects(FIRST, 8, &[ack(&[0, 1, 2, 3])], "as the largest");
    // One that was sealed earlier and comes late knows less.
    ear.is_content(FIRST, 2, &[ack(&[0, 2])]);
}

#[test]
fn an_ack_is_asked_for() {
    let mut ear = Ear::new();
    ear.says(FIRST, &[Frame::Ping]);
    ear.says(FIRST, &[]);
    ear.is_content(FIRST, 0, &[ack(&[0])]);
    ear.objects(FIRST, 1, &[ack(&[0, 1])], "2 times what asked for it 1 times");
}

#[test]
fn an_ack_alone_goes_where_it_was_asked_for() {
    let mut ear = Ear::new();
    for _ in 0..3 {
        ear.says(FIRST, &[Frame::Ping]);
    }
    ear.suspects(SECOND, 0, &[ack(&[0])], "alone", FIRST);
    ear.is_content(SECOND, 1, &[ack(&[0]), Frame::Ping]);
    ear.open.remove(&FIRST);
    ear.is_content(SECOND, 2, &[ack(&[0])]);
}

#[test]
fn nothing_is_sealed_beyond_the_limit() {
    let mut ear = Ear::new();
    ear.is_content(FIRST, 0, &[Frame::Ping]);
    ear.is_content(FIRST, 1, &[query(0)]);
    ear.is_content(SECOND, 2, &[query(1)]);
    ear.is_content(SECOND, 1024, &[query(2)]);
    ear.is_content(SECOND, 1030, &[Frame::Ping]);
    ear.suspects(SECOND, 1025, &[query(3)], "record 1025 while 1 is not", FIRST);
    ear.open.remove(&FIRST);
    ear.is_content(SECOND, 1023, &[query(4)]);
    ear.suspects(SECOND, 1026, &[query(5)], "record 1026 while 2 is not", SECOND);
    ear.acknowledges(&[2]);
    ear.is_content(SECOND, 1028, &[query(6)]);
}

#[test]
fn numbers_keep_to_their_window() {
    let mut ear = Ear::new();
    ear.is_content(FIRST, 0, &[query(0)]);
    ear.is_content(FIRST, 1, &[query(1)]);
    ear.is_content(FIRST, 2, &[query(1023)]);
    ear.objects(FIRST, 3, &[query(1024)], "number 1024 while nothing of 0");
    ear.says(FIRST, &[Frame::reply(0, 0, b"answer")]);
    ear.objects(FIRST, 4, &[query(1025)], "number 1025 while nothing of 1");
    ear.acknowledges(&[1]);
    ear.is_content(FIRST, 5, &[query(1026)]);
}

#[test]
fn nothing_more_is_said_of_what_was_cancelled() {
    let mut ear = Ear::new();
    let message = [1; 100];
    ear.is_content(FIRST, 1, &[Frame::piece(1, 0, &message, 10..20)]);
    ear.is_content(FIRST, 3, &[Frame::Cancel { number: 0 }]);
    ear.is_content(SECOND, 2, &[Frame::piece(1, 0, &message, 20..30)]);
    ear.objects(SECOND, 4, &[Frame::piece(1, 0, &message, 30..40)], "which it has cancelled");
    ear.is_content(FIRST, 9, &[query(7)]);
    ear.objects(FIRST, 8, &[Frame::Cancel { number: 7 }], "which it has cancelled");
}

#[test]
fn a_node_speaks_of_numbers_that_were_used() {
    let said = [
        Frame::Refuse { number: 5, code: 10, wait: 0 },
        Frame::reply(5, 0, b"answer"),
        Frame::reply(5, 3, &[]),
        Frame::piece(2, 5, b"answer", 1..3),
    ];
    for frame in said {
        Ear::new().objects(FIRST, 0, &[frame], "number 5, which was never used");
    }
}

#[test]
fn what_is_said_of_a_number_fits_together() {
    let (asked, answer) = question(0);
    let reply = |code| Frame::reply(0, code, if code == 3 { &[] } else { &answer });
    let refuse = |code| Frame::Refuse { number: 0, code, wait: 0 };
    let allowed = [
        [reply(0), reply(2)],
        [reply(0), reply(3)],
        [reply(2), reply(3)],
        [reply(0), refuse(10)],
        [refuse(2), refuse(9)],
        [refuse(2), refuse(10)],
    ];
    let forbidden = [
        [reply(0), refuse(2)],
        [reply(2), refuse(9)],
        [refuse(9), reply(0)],
        [refuse(1), reply(3)],
        [reply(3), reply(0)],
        [reply(2), reply(0)],
        [reply(3), reply(2)],
    ];
    for (pairs, is_allowed) in [(&allowed[..], true), (&forbidden[..], false)] {
        for pair in pairs {
            for late in [false, true] {
                let mut ear = Ear::new();
                for _ in 0..2 {
                    ear.says(FIRST, std::slice::from_ref(&asked));
                }
                let [first, second] =
                    if late { [(1, &pair[1]), (0, &pair[0])] } else { [(0, &pair[0]), (1, &pair[1])] };
                ear.is_content(FIRST, first.0, std::slice::from_ref(first.1));
                let found = ear.hears(SECOND, second.0, std::slice::from_ref(second.1));
                assert_eq!(found.is_empty(), is_allowed, "{pair:?}: {found:?}");
            }
        }
    }
}

#[test]
fn an_answer_refers_to_what_was_asked() {
    let (asked, answer) = question(0);
    let foreign = [
        Message { reference: [9; 20], ..Message::parse(&answer).unwrap() }.encode(),
        Message { recipient: [9; 20], ..Message::parse(&answer).unwrap() }.encode(),
        Message { kind: message::NOTICE, reference: [0; 20], ..Message::parse(&answer).unwrap() }.encode(),
        b"no message".to_vec(),
    ];
    for message in foreign {
        for code in [0, 1, 2] {
            let mut ear = Ear::new();
            ear.says(FIRST, std::slice::from_ref(&asked));
            ear.objects(FIRST, 0, &[Frame::reply(0, code, &message)], "no answer");
        }
    }
    let mut ear = Ear::new();
    ear.says(FIRST, &[asked]);
    let parts = Frame::reply_in_parts(0, &answer, 50);
    ear.is_content(FIRST, 0, &parts[1..]);
    ear.is_content(FIRST, 1, &parts[..1]);
    ear.open.remove(&FIRST);
    ear.objects(SECOND, 2, &[Frame::piece(2, 0, &[0; 217], 60..70)], "contradicts");
}

#[test]
fn a_query_in_parts_is_answered_once_it_is_whole() {
    let (asked, answer) = question(0);
    let Frame::Query { part: message, .. } = asked else { unreachable!() };
    let parts = Frame::query_in_parts(0, UNTIL, &message, 60);
    let mut ear = Ear::new();
    ear.says(FIRST, &parts[1..]);
    ear.objects(FIRST, 0, &[Frame::reply(0, 2, &answer)], "no answer");
    let mut ear = Ear::new();
    ear.says(FIRST, &parts[1..]);
    ear.says(FIRST, &parts[..1]);
    ear.is_content(FIRST, 0, &[Frame::reply(0, 0, &answer)]);
}

/// A bitmap in which these are set.
fn bits(numbers: &[usize]) -> [u8; 128] {
    let mut bitmap = [0; 128];
    for number in numbers {
        bitmap[number / 8] |= 1 << (number % 8);
    }
    bitmap
}

#[test]
fn a_session_ends_with_the_truth() {
    let end = |code, base, numbers: &[usize]| Frame::Break { code, base, bitmap: bits(numbers) };
    let hears = |frame: Frame, is_broken: bool| {
        let mut ear = Ear::new();
        let (asked, answer) = question(0);
        ear.says(FIRST, &[asked, question(1).0, question(2).0]);
        ear.is_content(FIRST, 0, &[Frame::reply(0, 0, &answer), Frame::Refuse { number: 1, code: 2, wait: 0 }]);
        if is_broken {
            ear.said.words.break_rules();
        }
        ear.hears(FIRST, 1, &[frame]).len()
    };
    assert_eq!(hears(end(1, 0, &[0]), false), 0);
    assert_eq!(hears(end(2, 0, &[0, 2]), false), 0, "2 may run");
    assert_eq!(hears(end(4, 0, &[0]), true), 0);
    assert_eq!(hears(end(4, 0, &[0]), false), 1, "nobody has broken a rule");
    assert_eq!(hears(end(1, 0, &[]), false), 1, "0 was answered");
    assert_eq!(hears(end(1, 0, &[0, 1]), false), 1, "1 was refused");
    assert_eq!(hears(end(1, 0, &[0, 3]), false), 1, "3 was never used");
    assert_eq!(hears(end(1, 2, &[]), false), 0, "below the base everything counts as taken");
}
