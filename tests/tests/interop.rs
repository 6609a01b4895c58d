//! A real node and the second implementation talk to each other, each in both roles. What they agree on here is what
//! `core/PROTOCOL.md` says.
#![allow(clippy::unwrap_used, reason = "a test")]

mod talk;

use core::time::Duration;

use egtp::{Delivery, Event, Executed, PeerRefusal, Reason, Verdict};

use egtp_sim::second::frame::Frame;
use egtp_sim::second::handshake::{HelloPayload, Initiator};
use egtp_sim::second::identity::Identity as SecondIdentity;
use egtp_sim::second::message::{self, Message};
use egtp_sim::second::packet::{Packet, framed};
use egtp_sim::second::session::Session;
use talk::{Real, Second, UNTIL, ask, echo, stranger};

#[test]
fn a_node_answers_the_second_implementation() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    for number in 0..3 {
        let query = second.query(&real, 5, b"hello");
        let counter = second.say(&mut real, &[Frame::query(number, UNTIL, &query)]);
        assert_eq!(echo(&mut real), b"hello");
        let Frame::Reply { number: answered, code: 0, echo, total, part } = second.hears(&mut real) else { panic!() };
        assert_eq!((answered, echo, part.len()), (number, counter, usize::try_from(total).unwrap()));
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
    second.say(&mut real, &[Frame::Ack { number, echo: 0 }, Frame::reply(number, 0, 0, &other)]);
    assert_eq!(real.deliveries, [], "a reply to another query counts for nothing");
    let reply = second.reply(&real, &query, b"world");
    second.say(&mut real, &[Frame::reply(number, 0, 0, &reply)]);
    let (query, Verdict::Reply(reply)) = real.verdict() else { panic!("no reply") };
    assert_eq!((query, reply.body.as_slice()), (asked, &b"world"[..]));
}

#[test]
fn messages_go_in_pieces_of_any_size_that_take_turns() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let queries: Vec<Vec<u8>> = [4u8, 5].map(|nonce| second.query(&real, nonce, &vec![nonce; 40_000])).into();
    let total = u32::try_from(queries[0].len()).unwrap();
    let mut firsts = Vec::new();
    for (number, query) in (0..).zip(&queries) {
        let part = query[..1000].to_vec();
        firsts.push(Frame::Query { number, flags: 0, until: UNTIL, total, part });
    }
    second.say(&mut real, &firsts);
    let cuts = [1000, 1001, 30_000, queries[0].len()];
    for ends in [[2, 3], [1, 2], [0, 1]] {
        for (number, query) in (0..).zip(&queries) {
            let (from, to) = (cuts[ends[0]], cuts[ends[1]]);
            let offset = u32::try_from(from).unwrap();
            second.say(&mut real, &[Frame::Piece { of: 1, number, offset, part: query[from..to].to_vec() }]);
        }
    }
    for delivery in std::mem::take(&mut real.deliveries) {
        let Delivery::Query { body, token, .. } = delivery else { panic!("{delivery:?}") };
        real.node.reply(real.now, token, body).unwrap();
    }
    let mut replies = [Vec::new(), Vec::new()];
    for frame in second.hear(&mut real) {
        let (number, offset, part) = match frame {
            Frame::Reply { number, part, .. } => (number, 0, part),
            Frame::Piece { of: 4, number, offset, part } => (number, offset, part),
            other => panic!("{other:?}"),
        };
        let reply = &mut replies[usize::try_from(number).unwrap()];
        assert_eq!(reply.len(), usize::try_from(offset).unwrap());
        reply.extend(part);
    }
    for (query, reply) in queries.iter().zip(&replies) {
        let reply = Message::parse(reply).unwrap();
        assert_eq!((reply.reference, reply.body.len()), (message::id(query), 40_000));
    }
}

#[test]
fn what_became_of_a_number_is_told_and_nothing_runs_twice() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(5000, UNTIL, &second.query(&real, 5, b"once"));
    second.say(&mut real, std::slice::from_ref(&query));
    assert_eq!(real.deliveries.len(), 1);
    second.say(&mut real, std::slice::from_ref(&query));
    assert!(matches!(second.hears(&mut real), Frame::Ack { number: 5000, .. }), "taken and running");
    echo(&mut real);
    second.hears(&mut real);
    second.say(&mut real, std::slice::from_ref(&query));
    assert_eq!(second.hears(&mut real), Frame::Gone { number: 5000, reason: 3 }, "taken and answered");

    second.say(&mut real, &[Frame::Done { base: 4000, bitmap: 1 << 63 }]);
    let withdrawn = Frame::query(4063, UNTIL, &second.query(&real, 6, b"never"));
    second.say(&mut real, std::slice::from_ref(&withdrawn));
    assert_eq!(second.hears(&mut real), Frame::Refuse { number: 4063, code: 9, wait: 0 });
    for (number, answer) in [(5000 - 1023, None), (5000 - 1024, Some(Frame::Gone { number: 3976, reason: 1 }))] {
        let query = Frame::query(number, UNTIL, &second.query(&real, 7, b"old"));
        second.say(&mut real, &[query]);
        match answer {
            None => drop(echo(&mut real)),
            Some(gone) => assert_eq!(second.hears(&mut real), gone),
        }
        second.hear(&mut real);
    }
    assert_eq!(real.deliveries, []);
}

#[test]
fn a_withdrawn_query_is_withdrawn_from_the_handler() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(0, UNTIL, &second.query(&real, 5, b"long"));
    second.say(&mut real, &[query]);
    let Delivery::Query { token, .. } = real.delivered() else { panic!("no query was delivered") };
    second.say(&mut real, &[Frame::Done { base: 0, bitmap: 1 }]);
    assert_eq!(real.delivered(), Delivery::Withdrawn(token.incoming()));
}

#[test]
fn what_a_node_does_not_take_it_refuses() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let mut refuses = |real: &mut Real, frame: Frame, refused: u8| {
        let Frame::Query { number, .. } = frame else { unreachable!() };
        second.say(real, std::slice::from_ref(&frame));
        assert_eq!(second.hears(real), Frame::Refuse { number, code: refused, wait: 0 });
        second.say(real, &[frame]);
        assert_eq!(second.hears(real), Frame::Refuse { number, code: 9, wait: 0 }, "it stays refused");
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
fn a_slow_answer_and_a_notice_are_acknowledged() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let notice = second.message(message::NOTICE, real.id(), 5, [0; 20], b"news");
    let total = u32::try_from(notice.len()).unwrap();
    let query = Frame::query(0, UNTIL, &second.query(&real, 6, b"slow"));
    let asked_in = second.say(&mut real, &[query]);
    let told_in = second.say(&mut real, &[Frame::Query { number: 1, flags: 1, until: UNTIL, total, part: notice }]);
    assert!(matches!(real.deliveries.remove(1), Delivery::Notice { body, .. } if body == b"news"));
    real.wait(Duration::from_millis(20));
    let acknowledged = [Frame::Ack { number: 0, echo: asked_in }, Frame::Ack { number: 1, echo: told_in }];
    assert_eq!(second.hear(&mut real), acknowledged);
    echo(&mut real);
    assert!(matches!(second.hears(&mut real), Frame::Reply { number: 0, .. }));
}

#[test]
fn ping_and_leave_are_answered_on_the_connection_they_came_by() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let asked = vec![[7; 8], second.session.peer_sid];
    second.say(&mut real, &[Frame::Ping { token: 12, asked }]);
    assert_eq!(second.hears(&mut real), Frame::Pong { token: 12, held: 2 });
    second.say(&mut real, &[Frame::Leave { step: 0 }]);
    assert_eq!(second.hears(&mut real), Frame::Leave { step: 1 });
}

#[test]
fn whoever_breaks_the_rules_in_a_session_loses_it_and_the_connection() {
    let endings: [&[u8]; 7] = [
        &[2],
        &[1, 0],
        &Frame::Ack { number: 0, echo: 0 }.encode(),
        &Frame::Refuse { number: 0, code: 10, wait: 0 }.encode(),
        &Frame::Query { number: 3, flags: 2, until: 1, total: 1, part: vec![1] }.encode(),
        &Frame::Piece { of: 1, number: 3, offset: 0, part: vec![1] }.encode(),
        &Frame::Query { number: 3, flags: 0, until: 1, total: 1, part: vec![1, 2] }.encode(),
    ];
    for broken in endings {
        let mut real = Real::new();
        let mut second = Second::meets(&mut real);
        let taken = Frame::query(1, UNTIL, &second.query(&real, 5, b"taken"));
        second.say(&mut real, &[taken]);
        second.say_bytes(&mut real, broken);
        let mut bitmap = [0; 128];
        bitmap[0] = 0b10;
        assert_eq!(second.hears(&mut real), Frame::Break { code: 4, base: 0, bitmap }, "{broken:?}");
        assert!(real.closed.contains(&second.on), "{broken:?}");
    }
}

#[test]
fn a_record_is_opened_once_and_the_key_changes_with_the_epoch() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let ping = |token| Frame::Ping { token, asked: vec![] };
    for counter in [0, (1 << 20) - 5, 1 << 20, (1 << 20) - 1, (1 << 20) + 500, (1 << 21) + 7] {
        second.session.counter = counter;
        second.say(&mut real, &[ping(counter)]);
        assert_eq!(second.hears(&mut real), Frame::Pong { token: counter, held: 0 });
        second.session.counter = counter;
        second.say(&mut real, &[ping(counter)]);
        assert_eq!(second.hear(&mut real), [], "seen before");
    }
    second.session.counter = (1 << 21) + 7 - 1024;
    second.say(&mut real, &[ping(1)]);
    assert_eq!(second.hear(&mut real), [], "below the window");
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
fn a_node_repeats_its_hello_with_the_cookie_that_it_is_given() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"hello");
    let Packet::Hello { isid, noise, .. } = real.packet(on) else { panic!("no HELLO") };
    real.receive(on, &Packet::Retry { isid, cookie: [6; 16] }.encode());
    assert_eq!(real.packet(on), Packet::Hello { isid, cookie: [6; 16], noise: noise.clone() });
    real.receive(on, &Packet::Busy { isid, code: 1, wait_secs: 1 }.encode());
    assert_eq!(real.packets(on), []);
    real.wait(Duration::from_secs(3));
    assert_eq!(real.packet(on), Packet::Hello { isid, cookie: [6; 16], noise });
}

#[test]
fn a_welcome_that_does_not_open_ends_the_connection_and_an_unexpected_one_does_not() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"hello");
    let Packet::Hello { isid, .. } = real.packet(on) else { panic!("no HELLO") };
    real.receive(on, &Packet::Welcome { isid: *b"no such.", noise: vec![0; 72] }.encode());
    assert!(!real.closed.contains(&on));
    real.receive(on, &Packet::Welcome { isid, noise: vec![0; 72] }.encode());
    assert!(real.closed.contains(&on));
}

#[test]
fn a_deadline_is_given_on_the_recipients_clock_and_never_too_early() {
    let mut real = Real::new();
    let (on, _) = Second::is_dialled(&mut real, b"first");
    real.wait(Duration::from_secs(2));
    let (mut second, _) = Second::welcomes(&mut real, on, 0, 1, 0);
    let Frame::Query { until, .. } = second.hears(&mut real) else { panic!("no query") };
    assert!((30_000..30_100).contains(&until), "{until}");
    second.say(&mut real, &[Frame::Ack { number: 0, echo: 0 }]);
    real.wait(Duration::from_secs(10));
    ask(&mut real, b"second");
    let until = second.hear(&mut real).into_iter().find_map(|frame| match frame {
        Frame::Query { number: 1, until, .. } => Some(until),
        _ => None,
    });
    assert!((42_000..42_100).contains(&until.unwrap()), "{until:?}");
}

#[test]
fn a_verdict_says_what_the_peer_said() {
    let cases: [(Frame, Reason, Executed); 4] = [
        (Frame::Refuse { number: 0, code: 2, wait: 5 }, Reason::RefusedByPeer(PeerRefusal::BusyWithYou), Executed::No),
        (Frame::Gone { number: 0, reason: 1 }, Reason::LostByPeer, Executed::Maybe),
        (Frame::reply(0, 1, 0, &[]), Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe),
        (Frame::reply(0, 2, 0, &[]), Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe),
    ];
    for (mut frame, reason, executed) in cases {
        let mut real = Real::new();
        let (mut second, _) = Second::is_asked(&mut real, b"hello");
        let (_, query) = second.hears_query(&mut real);
        if let Frame::Reply { code, .. } = frame {
            frame = Frame::reply(0, code, 0, &second.reply(&real, &query, &[]));
        }
        second.say(&mut real, &[frame]);
        let failure = real.failure();
        assert_eq!((failure.reason, failure.executed), (reason, executed));
        let done = if executed == Executed::Maybe { vec![Frame::Done { base: 0, bitmap: 1 }] } else { vec![] };
        assert_eq!(second.hear(&mut real), done);
    }
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

    let on = second.on;
    let (mut second, hello) = Second::welcomes(&mut real, on, 1, 2, 0);
    assert_eq!((hello.generation, hello.asked.len()), (1, 0));
    let (number, again) = second.hears_query(&mut real);
    assert_eq!((number, &again), (0, &not_taken));
    assert_ne!(again, taken);
    let reply = second.reply(&real, &again, b"done");
    second.say(&mut real, &[Frame::reply(0, 0, 0, &reply)]);
    assert_eq!(real.verdict().0, waiting);
}

#[test]
fn a_session_in_doubt_is_asked_about_first_with_a_ping_and_then_with_a_hello() {
    let mut real = Real::new();
    let (second, _) = Second::is_asked(&mut real, b"first");
    second.hears_query(&mut real);
    real.node.handle(real.now, Event::Closed(second.on, egtp::Ending::EndOfStream));
    real.drain();
    assert_eq!(real.failure().reason, Reason::ConnectionLost);

    let waiting = ask(&mut real, b"second");
    real.drain();
    let on = real.connects.pop().expect("the node dials again");
    real.node.handle(real.now, Event::Connected(on));
    let Packet::Sealed { sid, packet } = real.packet(on) else { panic!("no PING") };
    let (counter, plaintext) = second.session.open(&packet).unwrap();
    assert!(matches!(Frame::parse_all(&plaintext).unwrap()[..], [Frame::Ping { .. }]));
    real.receive(on, &Packet::Stale { sid, counter }.encode());
    let (mut second, hello) = Second::welcomes(&mut real, on, 1, 2, 0);
    assert_eq!(hello.asked, [sid]);
    let (number, query) = second.hears_query(&mut real);
    let reply = second.reply(&real, &query, b"here");
    second.say(&mut real, &[Frame::reply(number, 0, 0, &reply)]);
    assert_eq!(real.verdict().0, waiting);
}

#[test]
fn the_first_record_of_a_session_is_short_also_after_a_ping_in_one_that_was_lost() {
    let mut real = Real::new();
    let (second, _) = Second::is_asked(&mut real, b"first");
    second.hears_query(&mut real);
    real.node.handle(real.now, Event::Closed(second.on, egtp::Ending::EndOfStream));
    real.drain();
    real.failure();
    ask(&mut real, &[1; 10_000]);
    real.drain();
    let on = real.connects.pop().expect("the node dials again");
    real.node.handle(real.now, Event::Connected(on));
    let Packet::Sealed { sid, packet } = real.packet(on) else { panic!("no PING") };
    let (counter, _) = second.session.open(&packet).unwrap();
    real.receive(on, &Packet::Stale { sid, counter }.encode());
    Second::welcomes(&mut real, on, 1, 2, 0);
    let first = real.packets(on).remove(0).encode();
    assert!(first.len() <= 4096, "{}", first.len());
}

#[test]
fn a_peer_that_proposes_to_leave_and_stays_does_not_keep_the_connection_for_ever() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[Frame::Leave { step: 0 }]);
    second.hears(&mut real);
    for _ in 0..3000 {
        real.wait(Duration::from_secs(1));
        for frame in second.hear(&mut real) {
            if let Frame::Ping { token, .. } = frame {
                second.say(&mut real, &[Frame::Pong { token, held: 0 }]);
            }
        }
    }
    assert!(real.closed.contains(&second.on));
}

#[test]
fn a_number_that_is_taken_is_never_refused_for_an_assembly_that_stopped() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = second.query(&real, 5, &[1; 500]);
    let total = u32::try_from(query.len()).unwrap();
    second.say(&mut real, &[Frame::Query { number: 0, flags: 0, until: 120_000, total, part: query[..100].to_vec() }]);
    second.say(&mut real, &[Frame::query(0, 120_000, &query)]);
    assert_eq!(real.deliveries.len(), 1, "the handler runs");
    for _ in 0..31 {
        real.wait(Duration::from_secs(1));
        second.say(&mut real, &[]);
        for frame in second.hear(&mut real) {
            assert!(!matches!(frame, Frame::Refuse { .. }), "{frame:?} while the handler runs");
        }
    }
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
    second.say(&mut real, &[Frame::Ping { token: 1, asked: vec![] }]);
    assert_eq!(second.hears(&mut real), Frame::Pong { token: 1, held: 0 });
}

#[test]
fn the_parts_of_one_message_stay_on_one_connection() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, &[1; 300_000]);
    let other = real.accept();
    let packet = second.session.seal(&Frame::Ping { token: 1, asked: vec![] }.encode());
    real.receive(other, &packet);
    for packet in real.packets(other) {
        let Packet::Sealed { packet, .. } = packet else { panic!() };
        let frames = Frame::parse_all(&second.session.open(&packet).unwrap().1).unwrap();
        assert!(!frames.iter().any(|frame| matches!(frame, Frame::Piece { .. })), "overtakes the first part");
    }
}
