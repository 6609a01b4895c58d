//! A real node and the second implementation talk to each other, each in both roles. What they agree on here is what
//! `core/PROTOCOL.md` says. How records are acknowledged, and what is sent again, is in `interop_delivery.rs`.
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use core::time::Duration;
use std::collections::BTreeMap;

use egtp::{Delivery, Event, Executed, PeerRefusal, Reason, Verdict};

use egtp_sim::second::deadline::until;
use egtp_sim::second::frame::{Frame, OF_QUERY, OF_REPLY, Run};
use egtp_sim::second::handshake::{HelloPayload, Initiator};
use egtp_sim::second::identity::Identity as SecondIdentity;
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed};
use egtp_sim::second::parts::Parts;
use egtp_sim::second::session::Session;
use talk::{Real, Second, UNTIL, ask, echo, stranger};

/// Longer than an ACK may be waited for.
const ACK: Duration = Duration::from_millis(20);

#[test]
fn a_node_answers_the_second_implementation() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    for number in 0..3 {
        let query = second.query(&real, 5, b"hello");
        let counter = second.say(&mut real, &[Frame::query(number, UNTIL, &query)]);
        assert_eq!(echo(&mut real), b"hello");
        let Frame::Reply { number: answered, code: 0, total, part } = second.hears(&mut real) else { panic!() };
        assert_eq!((answered, part.len()), (number, usize::try_from(total).unwrap()));
        assert!(second.session.ledger.is_acknowledged(counter), "in the record of the reply");
        let reply = Message::parse(&part).unwrap();
        assert_eq!((reply.kind, reply.recipient), (message::REPLY, second.id()));
        assert_eq!((reply.reference, reply.type_name.as_str()), (message::id(&query), "echo"));
        assert_eq!(reply.body, b"hello");
    }
}

#[test]
fn the_second_implementation_answers_a_node() {
    let mut real = Real::new();
    let (mut second, asked) = Second::is_asked(&mut real, b"hello");
    let (number, query) = second.hears_query(&mut real);
    let message = Message::parse(&query).unwrap();
    assert_eq!((number, message.kind, message.recipient), (0, message::QUERY, second.id()));
    assert_eq!((message.reference, message.type_name.as_str()), ([0; 20], "echo"));
    assert_eq!(message.body, b"hello");

    let other = second.reply(&real, b"another query", b"forged");
    second.say(&mut real, &[second.session.ack().unwrap(), Frame::reply(number, 0, &other)]);
    assert_eq!(real.deliveries, [], "a reply to another query counts for nothing");
    let reply = second.reply(&real, &query, b"world");
    second.say(&mut real, &[Frame::reply(number, 0, &reply)]);
    let (query, Verdict::Reply(reply)) = real.verdict() else { panic!("no reply") };
    assert_eq!((query, reply.body.as_slice()), (asked, &b"world"[..]));
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), []);
    assert!(second.is_acknowledged());
}

#[test]
fn messages_go_in_parts_of_any_size_in_any_order() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    // From whoever has dialled, packets are short until it was heard.
    second.say(&mut real, &[]);
    let queries: Vec<Vec<u8>> = [4u8, 5].map(|nonce| second.query(&real, nonce, &vec![nonce; 40_000])).into();
    let whole = queries[0].len();
    // The first parts come last, and something of each comes twice.
    for (from, to) in [(30_000, whole), (900, 10_000), (9_000, 31_000)] {
        for (number, query) in (0..).zip(&queries) {
            second.say(&mut real, &[Frame::piece(OF_QUERY, number, query, from..to)]);
        }
    }
    assert_eq!(real.deliveries, []);
    for (number, query) in (0..).zip(&queries) {
        let total = u32::try_from(query.len()).unwrap();
        let part = query[..1000].to_vec();
        second.say(&mut real, &[Frame::Query { number, flags: 0, until: UNTIL, total, part }]);
    }
    for delivery in std::mem::take(&mut real.deliveries) {
        let Delivery::Query { body, token, .. } = delivery else { panic!("{delivery:?}") };
        real.node.reply(real.now, token, body).unwrap();
    }
    let mut replies: BTreeMap<u64, Parts> = BTreeMap::new();
    for frame in second.hear(&mut real) {
        let (number, total, offset, part) = match frame {
            Frame::Reply { number, code: 0, total, part } => (number, total, 0, part),
            Frame::Piece { of: OF_REPLY, number, total, offset, part } => (number, total, offset, part),
            other => panic!("{other:?}"),
        };
        replies.entry(number).or_insert_with(|| Parts::of(total)).add(total, offset, &part).unwrap();
    }
    for (number, query) in (0..).zip(&queries) {
        let reply = Message::parse(replies[&number].whole().unwrap()).unwrap();
        assert_eq!((reply.reference, reply.body.len()), (message::id(query), 40_000));
    }
}

#[test]
fn a_number_is_taken_once_and_nothing_runs_twice() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(5000, UNTIL, &second.query(&real, 5, b"once"));
    second.say(&mut real, std::slice::from_ref(&query));
    assert_eq!(real.deliveries.len(), 1);
    second.say(&mut real, std::slice::from_ref(&query));
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), [], "taken and running");
    assert!(second.is_acknowledged());
    echo(&mut real);
    assert!(matches!(second.hears(&mut real), Frame::Reply { number: 5000, code: 0, .. }));
    second.say(&mut real, std::slice::from_ref(&query));
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), [], "taken and answered, and the answer is under way");

    second.say(&mut real, &[Frame::Cancel { number: 4063 }]);
    let cancelled = Frame::query(4063, UNTIL, &second.query(&real, 6, b"never"));
    second.say(&mut real, std::slice::from_ref(&cancelled));
    assert_eq!(second.hears(&mut real), Frame::Refuse { number: 4063, code: 9, wait: 0 });
    for (number, code) in [(5000 - 1023, None), (5000 - 1024, Some(10))] {
        let query = Frame::query(number, UNTIL, &second.query(&real, 7, b"old"));
        second.say(&mut real, &[query]);
        match code {
            None => drop(echo(&mut real)),
            Some(code) => assert_eq!(second.hears(&mut real), Frame::Refuse { number, code, wait: 0 }),
        }
        second.hear(&mut real);
    }
    assert_eq!(real.deliveries, []);
}

#[test]
fn what_was_taken_and_has_outlived_its_deadline_is_forgotten() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(0, 2000, &second.query(&real, 5, b"slow"));
    second.say(&mut real, std::slice::from_ref(&query));
    let Delivery::Query { token, .. } = real.delivered() else { panic!("no query was delivered") };
    let heard = second.talks(&mut real, 3);
    assert_eq!(real.delivered(), Delivery::Withdrawn(token.incoming()));
    assert_eq!(heard, [Frame::reply(0, 3, &[])]);
    second.say(&mut real, &[query]);
    assert_eq!(second.hears(&mut real), Frame::reply(0, 3, &[]));
    assert_eq!(real.deliveries, []);
}

#[test]
fn a_cancelled_query_is_withdrawn_from_the_handler() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(0, UNTIL, &second.query(&real, 5, b"long"));
    second.say(&mut real, &[query]);
    let Delivery::Query { token, .. } = real.delivered() else { panic!("no query was delivered") };
    second.say(&mut real, &[Frame::Cancel { number: 0 }]);
    assert_eq!(real.delivered(), Delivery::Withdrawn(token.incoming()));
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), []);
    assert!(second.is_acknowledged());
}

#[test]
fn what_a_node_does_not_take_it_refuses() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let mut refuses = |real: &mut Real, frame: Frame, refused: u8| {
        let Frame::Query { number, .. } = frame else { unreachable!() };
        second.say(real, std::slice::from_ref(&frame));
        assert_eq!(second.hears(real), Frame::Refuse { number, code: refused, wait: 0 });
        second.acknowledge(real);
        second.say(real, &[frame]);
        let Frame::Refuse { number: again, code, .. } = second.hears(real) else { panic!("it stays refused") };
        assert!(again == number && [refused, 9].contains(&code), "the reason may be forgotten: {code}");
        second.acknowledge(real);
    };
    let to_me = |kind, reference, type_name: &str| {
        let body = b"?".to_vec();
        Message { kind, recipient: Real::new().id(), nonce: [1; 20], reference, type_name: type_name.into(), body }
    };
    let good = to_me(message::QUERY, [0; 20], "echo").encode();
    refuses(&mut real, Frame::query(0, UNTIL, &to_me(message::QUERY, [0; 20], "other").encode()), 1);
    refuses(&mut real, Frame::query(1, UNTIL, &to_me(message::QUERY, [1; 20], "echo").encode()), 7);
    refuses(&mut real, Frame::query(2, UNTIL, &to_me(message::NOTICE, [0; 20], "echo").encode()), 7);
    refuses(&mut real, Frame::query(3, UNTIL, &[&good[..], b"more"].concat()), 7);
    let for_another = Message { recipient: [8; 20], ..to_me(message::QUERY, [0; 20], "echo") };
    refuses(&mut real, Frame::query(4, UNTIL, &for_another.encode()), 7);
    real.wait(Duration::from_secs(1));
    refuses(&mut real, Frame::query(5, 1000, &good), 8);
    assert_eq!(real.deliveries, []);
    second.say(&mut real, &[Frame::query(6, 1001, &good)]);
    echo(&mut real);
}

#[test]
fn a_query_of_which_nothing_more_comes_is_refused_after_half_a_minute() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = second.query(&real, 5, &[1; 500]);
    let parts = Frame::query_in_parts(0, 120_000, &query, 100);
    second.say(&mut real, &parts[1..2]);
    assert_eq!(second.talks(&mut real, 29), []);
    assert_eq!(second.talks(&mut real, 2), [Frame::Refuse { number: 0, code: 4, wait: 0 }]);
    second.say(&mut real, &[parts[0].clone()]);
    assert!(matches!(second.hears(&mut real), Frame::Refuse { number: 0, .. }));
}

#[test]
fn a_notice_is_acknowledged_and_a_slow_answer_does_not_keep_its_query_from_being() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let notice = second.message(message::NOTICE, real.id(), 5, [0; 20], b"news");
    let query = Frame::query(0, UNTIL, &second.query(&real, 6, b"slow"));
    second.say(&mut real, &[query]);
    second.say(&mut real, &[Frame::notice(1, UNTIL, &notice)]);
    assert!(matches!(real.deliveries.remove(1), Delivery::Notice { body, .. } if body == b"news"));
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), []);
    assert!(second.is_acknowledged());
    echo(&mut real);
    assert!(matches!(second.hears(&mut real), Frame::Reply { number: 0, .. }));
}

#[test]
fn whoever_breaks_the_rules_in_a_session_loses_it_and_the_connection() {
    let ack = |largest, runs: &[(u16, u16)]| {
        let runs = runs.iter().map(|&(length, gap)| Run { length, gap }).collect();
        Frame::Ack { largest, delay: 0, runs }.encode()
    };
    let endings = [
        vec![9],
        vec![1, 0],
        ack(1 << 20, &[(1, 0)]),
        ack(0, &[(2, 0)]),
        ack(0, &[(1, 1)]),
        Frame::Refuse { number: 0, code: 9, wait: 0 }.encode(),
        Frame::Refuse { number: 0, code: 11, wait: 0 }.encode(),
        Frame::reply(0, 3, &[]).encode(),
        Frame::piece(OF_REPLY, 0, &[1; 10], 2..3).encode(),
        Frame::Query { number: 3, flags: 2, until: 1, total: 1, part: vec![1] }.encode(),
        Frame::Query { number: 3, flags: 0, until: 1, total: 1, part: vec![1, 2] }.encode(),
        Frame::piece(OF_QUERY, 3, &[1; 10], 0..3).encode(),
        [Frame::piece(OF_QUERY, 3, &[1; 10], 2..3), Frame::piece(OF_QUERY, 3, &[2; 10], 2..3)]
            .map(|f| f.encode())
            .concat(),
        [Frame::piece(OF_QUERY, 3, &[1; 10], 2..3), Frame::piece(OF_QUERY, 3, &[1; 11], 3..4)]
            .map(|f| f.encode())
            .concat(),
    ];
    for broken in endings {
        let mut real = Real::new();
        let mut second = Second::meets(&mut real);
        let taken = Frame::query(1, UNTIL, &second.query(&real, 5, b"taken"));
        second.say(&mut real, &[taken]);
        second.say_bytes(&mut real, &broken);
        let mut bitmap = [0; 128];
        bitmap[0] = 0b10;
        assert_eq!(second.hears(&mut real), Frame::Break { code: 4, base: 0, bitmap }, "{broken:?}");
        assert!(real.closed.contains(&second.on), "{broken:?}");
    }
}

#[test]
fn a_session_that_is_not_known_is_said_to_be_stale() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.session.peer_sid = *b"no such.";
    let counter = second.say(&mut real, &[]);
    assert_eq!(real.packet(second.on), Packet::Stale { sid: *b"no such.", counter });
}

#[test]
fn the_same_hello_gets_the_same_welcome_until_a_record_comes() {
    let mut real = Real::new();
    let on = real.accept();
    let (initiator, hello) = Second::hello(&real, 3, &[]);
    real.receive(on, &hello);
    let welcome = real.packet(on);
    real.receive(on, &hello);
    assert_eq!(real.packet(on), welcome);
    let Packet::Welcome { noise, .. } = &welcome else { panic!() };
    let (keys, answer) = initiator.finish(noise).unwrap();
    let mut second = Second { me: stranger(), session: Session::of_initiator(&keys, answer.rsid), on };
    second.say(&mut real, &[]);
    real.receive(on, &hello);
    assert_ne!(real.packet(on), welcome);
}

#[test]
fn a_second_handshake_has_a_higher_generation_and_says_what_is_held() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let (_, welcome) = Second::meets_over(&mut real, second.on, 4, &[second.session.peer_sid, [7; 8]]);
    assert_eq!((welcome.generation, welcome.held), (2, 1));
}

#[test]
fn what_is_no_packet_ends_the_connection_without_an_answer() {
    let (_, hello) = Second::hello(&Real::new(), 3, &[]);
    let mut other_version = hello.clone();
    other_version[0] = 3;
    let mut altered = hello.clone();
    altered[100] ^= 1;
    let streams = [
        framed(&other_version),
        framed(&altered),
        framed(&hello[..175]),
        framed(&[2, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
        framed(&[]),
        4097_u32.to_be_bytes().to_vec(),
    ];
    for stream in streams {
        let mut real = Real::new();
        let on = real.accept();
        real.receive_bytes(on, &stream);
        assert!(real.closed.contains(&on), "{stream:?}");
        assert_eq!(real.packets(on), []);
    }
}

#[test]
fn a_hello_that_claims_another_key_or_says_what_has_no_meaning_ends_the_connection() {
    let good = HelloPayload { key: stranger().public_key(), generation: 0, asked: vec![] };
    let mut weak = [0; 32];
    weak[0] = 1;
    let [mut flagged, mut unused, mut too_many] = [good.encode(), good.encode(), good.encode()];
    (flagged[36], unused[53], too_many[37]) = (1, 1, 3);
    let cases = [
        (true, good.encode()),
        (false, HelloPayload { key: SecondIdentity([8; 32]).public_key(), ..good.clone() }.encode()),
        (false, HelloPayload { key: weak, ..good }.encode()),
        (false, flagged),
        (false, unused),
        (false, too_many),
    ];
    for (welcome, payload) in cases {
        let mut real = Real::new();
        let on = real.accept();
        let isid = *b"one isid";
        let (_, noise) = Initiator::start(&stranger(), &real.key(), isid, [3; 32], &payload).unwrap();
        real.receive(on, &Packet::Hello { isid, cookie: [0; 16], noise }.encode());
        assert_eq!(
            (real.packets(on).len(), real.closed.contains(&on)),
            (usize::from(welcome), !welcome),
            "{payload:?}"
        );
    }
}

#[test]
fn packets_may_be_long_once_a_record_was_opened() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let query = second.query(&real, 5, &[1; 60_000]);
    second.say(&mut real, &[Frame::query(0, UNTIL, &query)]);
    assert_eq!(echo(&mut real).len(), 60_000);
}

#[test]
fn a_node_repeats_its_hello_with_the_cookie_that_it_is_given_and_after_the_time_that_it_is_told() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"hello");
    let Packet::Hello { isid, noise, .. } = real.packet(on) else { panic!("no HELLO") };
    real.receive(on, &Packet::Retry { isid, cookie: [6; 16] }.encode());
    assert_eq!(real.packet(on), Packet::Hello { isid, cookie: [6; 16], noise: noise.clone() });
    real.receive(on, &Packet::Busy { isid, code: 1, wait: 7 }.encode());
    real.receive(on, &Packet::Retry { isid, cookie: [5; 16] }.encode());
    real.wait(Duration::from_millis(699));
    assert_eq!(real.packets(on), []);
    real.wait(Duration::from_millis(177));
    assert_eq!(real.packet(on), Packet::Hello { isid, cookie: [5; 16], noise });
}

#[test]
fn a_welcome_that_comes_while_the_node_was_told_to_wait_counts() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"hello");
    let hello = real.packet(on);
    let Packet::Hello { isid, .. } = hello else { panic!("no HELLO") };
    real.receive(on, &Packet::Busy { isid, code: 1, wait: 600 }.encode());
    let (mut second, _) = Second::answers(&mut real, on, &hello, 0, 1, 0);
    second.hears_query(&mut real);
}

#[test]
fn a_welcome_that_does_not_open_ends_the_connection_and_an_unexpected_one_does_not() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"hello");
    let Packet::Hello { isid, .. } = real.packet(on) else { panic!("no HELLO") };
    real.receive(on, &Packet::Welcome { isid: *b"no such.", noise: vec![0; 64] }.encode());
    assert!(!real.closed.contains(&on));
    real.receive(on, &Packet::Welcome { isid, noise: vec![0; 64] }.encode());
    assert!(real.closed.contains(&on));
}

#[test]
fn a_deadline_is_given_on_the_recipients_clock_and_never_too_early() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"first");
    real.wait(Duration::from_secs(2));
    let (mut second, _) = Second::welcomes(&mut real, on, 0, 1, 0);
    // Both are counted from when the HELLO was made.
    for (number, seconds) in [(0, 30), (1, 42)] {
        let Frame::Query { number: asked, until: said, .. } = second.hears(&mut real) else { panic!("no query") };
        assert_eq!((asked, said), (number, until(Duration::from_secs(seconds))));
        second.acknowledge(&mut real);
        if number == 0 {
            assert_eq!(second.talks(&mut real, 10), []);
            ask(&mut real, b"second");
        }
    }
}

#[test]
fn a_verdict_says_what_the_peer_said() {
    let refuse = |code| Frame::Refuse { number: 0, code, wait: 5 };
    let cases: [(Frame, Reason, Executed); 7] = [
        (refuse(1), Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::No),
        (refuse(6), Reason::RefusedByPeer(PeerRefusal::NotWelcome), Executed::No),
        (refuse(7), Reason::RefusedByPeer(PeerRefusal::Malformed), Executed::No),
        (refuse(10), Reason::LostByPeer, Executed::Maybe),
        (Frame::reply(0, 1, &[]), Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe),
        (Frame::reply(0, 2, &[]), Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe),
        (Frame::reply(0, 3, &[]), Reason::LostByPeer, Executed::Maybe),
    ];
    for (mut frame, reason, executed) in cases {
        let mut real = Real::new();
        let (mut second, _) = Second::is_asked(&mut real, b"hello");
        let (_, query) = second.hears_query(&mut real);
        if let Frame::Reply { code: code @ 1..=2, .. } = frame {
            frame = Frame::reply(0, code, &second.reply(&real, &query, &[]));
        }
        second.say(&mut real, &[frame]);
        let failure = real.failure();
        assert_eq!((failure.reason, failure.executed), (reason, executed));
        real.wait(ACK);
        assert_eq!(second.hear(&mut real), []);
        assert!(second.is_acknowledged());
    }
}

#[test]
fn a_query_that_was_refused_for_now_goes_again_under_another_number_and_not_too_soon() {
    for code in [2, 3, 4, 5, 9] {
        let mut real = Real::new();
        let (mut second, asked) = Second::is_asked(&mut real, b"hello");
        let (_, query) = second.hears_query(&mut real);
        let ack = second.session.ack().unwrap();
        second.say(&mut real, &[ack, Frame::Refuse { number: 0, code, wait: 7 }]);
        assert_eq!(real.deliveries, []);
        real.wait(Duration::from_millis(699));
        assert_eq!(second.hear(&mut real), [], "{code}");
        real.wait(Duration::from_millis(200));
        assert_eq!(second.hears_query(&mut real), (1, query.clone()), "{code}");
        let reply = second.reply(&real, &query, b"now");
        second.say(&mut real, &[Frame::reply(1, 0, &reply)]);
        assert_eq!(real.verdict().0, asked);
    }
}

#[test]
fn whatever_is_said_of_a_query_that_has_ended_means_nothing() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let (_, query) = second.hears_query(&mut real);
    let reply = second.reply(&real, &query, b"world");
    second.say(&mut real, &[Frame::reply(0, 0, &reply)]);
    real.verdict();
    let refusals = (1..=10).map(|code| Frame::Refuse { number: 0, code, wait: 1 });
    let replies = [1, 2, 0].map(|code| Frame::reply(0, code, &reply[1..]));
    let others = [Frame::reply(0, 3, &[]), Frame::piece(OF_REPLY, 0, &reply, 3..9)];
    second.say(&mut real, &refusals.chain(replies).chain(others).collect::<Vec<Frame>>());
    real.wait(ACK);
    assert_eq!(second.hear(&mut real), []);
    assert!(second.is_acknowledged());
    assert_eq!(real.deliveries, []);
}

#[test]
fn a_query_whose_deadline_passes_is_cancelled() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    second.hears_query(&mut real);
    second.acknowledge(&mut real);
    assert_eq!(second.talks(&mut real, 31), [Frame::Cancel { number: 0 }]);
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::HardTimeout, Executed::Maybe));
}

#[test]
fn a_query_not_taken_in_a_session_that_ends_goes_again_in_the_next_and_a_taken_one_is_lost() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"taken");
    let (_, taken) = second.hears_query(&mut real);
    let waiting = ask(&mut real, b"not taken");
    let (number, not_taken) = second.hears_query(&mut real);
    assert_eq!(number, 1);
    let mut bitmap = [0; 128];
    bitmap[0] = 1;
    second.say(&mut real, &[Frame::Break { code: 1, base: 0, bitmap }]);
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::LostByPeer, Executed::Maybe));

    // Handshakes with one peer begin a second apart.
    real.wait(Duration::from_secs(1));
    let on = second.on;
    let (mut second, hello) = Second::welcomes(&mut real, on, 1, 1, 0);
    assert_eq!((hello.generation, hello.asked.len()), (0, 0), "nothing is left of the session");
    let (number, again) = second.hears_query(&mut real);
    assert_eq!((number, &again), (0, &not_taken));
    assert_ne!(again, taken);
    let reply = second.reply(&real, &again, b"done");
    second.say(&mut real, &[Frame::reply(0, 0, &reply)]);
    assert_eq!(real.verdict().0, waiting);
}

#[test]
fn a_session_in_doubt_is_asked_about_first_with_a_ping_and_then_with_a_hello() {
    for held in [0, 1] {
        let mut real = Real::new();
        let (mut second, asked) = Second::is_asked(&mut real, b"first");
        let (_, query) = second.hears_query(&mut real);
        // Handshakes with one peer begin a second apart.
        real.wait(Duration::from_secs(1));
        real.node.handle(real.now, Event::Closed(second.on, egtp::Ending::EndOfStream));
        real.drain();
        assert_eq!(real.deliveries, [], "a connection that is cut is no verdict");

        let on = real.dialled_again();
        let Packet::Sealed { sid, packet } = real.packet(on) else { panic!("no PING") };
        let (counter, frames) = second.session.hear(&packet).unwrap();
        assert!(frames.contains(&Frame::Ping) && !frames.iter().any(|frame| matches!(frame, Frame::Query { .. })));
        real.receive(on, &Packet::Stale { sid, counter }.encode());
        let (mut newer, hello) = Second::welcomes(&mut real, on, 1, 2, held);
        assert_eq!(hello.asked, [sid]);
        if held == 0 {
            let failure = real.failure();
            assert_eq!((failure.reason, failure.executed), (Reason::LostByPeer, Executed::Maybe));
            continue;
        }
        // It is held after all, and the query goes on in it.
        newer.say(&mut real, &[]);
        second.on = on;
        second.say(&mut real, &[second.session.ack().unwrap()]);
        let reply = second.reply(&real, &query, b"here");
        second.say(&mut real, &[Frame::reply(0, 0, &reply)]);
        assert_eq!(real.verdict().0, asked);
    }
}

#[test]
fn the_first_record_on_a_connection_is_short_and_so_is_the_first_one_after_a_welcome() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, &[1; 10_000]);
    let first = real.packets(second.on).remove(0).encode();
    assert!(first.len() <= 4096, "{}", first.len());
    second.session.hear(&first).unwrap();
    // Handshakes with one peer begin a second apart.
    real.wait(Duration::from_secs(1));
    real.node.handle(real.now, Event::Closed(second.on, egtp::Ending::EndOfStream));
    real.drain();
    let on = real.dialled_again();
    let Packet::Sealed { sid, packet } = real.packet(on) else { panic!("no PING") };
    let (counter, _) = second.session.hear(&packet).unwrap();
    real.receive(on, &Packet::Stale { sid, counter }.encode());
    Second::welcomes(&mut real, on, 1, 2, 1);
    let first = real.packets(on).remove(0).encode();
    assert!(first.len() <= 4096, "{}", first.len());
}

#[test]
fn a_number_that_is_taken_is_never_refused_for_an_assembly_that_stopped() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = second.query(&real, 5, &[1; 500]);
    second.say(&mut real, &Frame::query_in_parts(0, 120_000, &query, 100)[..1]);
    second.say(&mut real, &[Frame::query(0, 120_000, &query)]);
    assert_eq!(real.deliveries.len(), 1, "the handler runs");
    assert_eq!(second.talks(&mut real, 31), []);
}

#[test]
fn replayed_hellos_do_not_push_out_a_handshake_that_is_under_way() {
    let mut real = Real::new();
    let attacker = real.accept();
    let recorded = [3, 4].map(|ephemeral| Second::hello(&real, ephemeral, &[]).1);
    let replay = |real: &mut Real| {
        for hello in &recorded {
            real.receive(attacker, hello);
        }
        real.packets(attacker);
    };
    replay(&mut real);
    let on = real.accept();
    let (mut second, _) = Second::meets_over(&mut real, on, 5, &[]);
    replay(&mut real);
    second.say(&mut real, &[Frame::Ping]);
    assert_eq!(second.hear(&mut real), []);
    assert!(second.is_acknowledged());
}
