//! How a real node acknowledges records and what it sends again, as the second implementation sees it (sections 13 and 15 of
//! `core/PROTOCOL.md`).
#![allow(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "a part of it is used here")]
mod talk;

use core::time::Duration;
use std::collections::BTreeSet;

use egtp::{ConnectionId, Ending, Event, Executed, Reason};

use egtp_sim::second::ack;
use egtp_sim::second::frame::{Frame, OF_QUERY, Run};
use egtp_sim::second::packet::Packet;
use egtp_sim::second::parts::Parts;
use talk::{Real, Second, UNTIL, echo};

const ACK_DELAY: Duration = Duration::from_millis(20);

fn cut(real: &mut Real, on: ConnectionId) {
    real.node.handle(real.now, Event::Closed(on, Ending::Broken));
    real.drain();
}

/// The node dials again, and is heard in the same session: a PING first.
fn is_dialled_again(real: &mut Real, second: &mut Second) {
    second.on = real.dialled_again();
    let records = second.hear_records(real);
    assert!(matches!(&records[..], [frames] if frames.contains(&Frame::Ping)), "{records:?}");
}

fn naming(counters: &[u64]) -> Frame {
    ack::naming(&counters.iter().copied().collect(), 0).unwrap()
}

#[test]
fn a_ping_is_acknowledged_at_once_and_on_the_connection_that_it_came_by() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let first = second.on;
    let other = real.accept();
    for on in [other, first, other] {
        second.on = on;
        let counter = second.say(&mut real, &[Frame::Ping]);
        let records = second.hear_records(&mut real);
        assert!(matches!(&records[..], [frames] if matches!(frames[..], [Frame::Ack { delay: 0, .. }])), "{records:?}");
        assert!(second.session.ledger.is_acknowledged(counter));
        assert_eq!(real.packets(if on == first { other } else { first }), []);
    }
}

#[test]
fn what_asks_for_an_ack_has_one_after_20_milliseconds() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[Frame::Cancel { number: 3 }]);
    real.wait(ACK_DELAY - Duration::from_millis(1));
    assert_eq!(second.hear_records(&mut real), [] as [Vec<Frame>; 0]);
    real.wait(Duration::from_millis(1));
    let records = second.hear_records(&mut real);
    assert!(matches!(&records[..], [frames] if matches!(frames[..], [Frame::Ack { delay: 200, .. }])), "{records:?}");
    assert!(second.is_acknowledged());
}

#[test]
fn what_asks_for_none_has_none() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    real.wait(ACK_DELAY);
    assert_eq!(second.hear_records(&mut real), [] as [Vec<Frame>; 0]);
}

#[test]
fn after_32_records_an_ack_goes_at_once() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    for number in 0..31 {
        second.say(&mut real, &[Frame::Cancel { number }]);
    }
    assert_eq!(second.hear_records(&mut real), [] as [Vec<Frame>; 0]);
    second.say(&mut real, &[Frame::Cancel { number: 31 }]);
    second.hear_records(&mut real);
    assert!(second.is_acknowledged());
}

#[test]
fn an_ack_names_what_came_and_nothing_else() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    second.say(&mut real, &[]);
    let mut opened = BTreeSet::from([0]);
    for counter in [10, 4, 5, 11, 12, 7, 1023, 1030, 900] {
        second.session.counter = counter;
        second.say(&mut real, &[Frame::Ping]);
        opened.insert(counter);
        let highest = *opened.last().unwrap();
        let in_window = opened.iter().copied().filter(|counter| counter + 1024 > highest);
        let frames = second.hear_records(&mut real).concat();
        let Frame::Ack { largest, runs, .. } = &frames[0] else { panic!("{frames:?}") };
        let named = ack::named(*largest, runs).unwrap().into_iter().flatten();
        assert_eq!(named.collect::<BTreeSet<u64>>(), in_window.collect());
    }
}

#[test]
fn of_many_runs_the_highest_32_are_named() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    for counter in (0..200).step_by(2) {
        second.session.counter = counter;
        second.say(&mut real, &[Frame::Ping]);
    }
    let frames = second.hear_records(&mut real).concat();
    let Some(Frame::Ack { largest: 198, runs, .. }) = frames.last() else { panic!("{frames:?}") };
    assert_eq!(runs.len(), 32);
    assert_eq!(ack::named(198, runs).unwrap().last(), Some(&(136..=136)));
}

#[test]
fn a_record_is_opened_once_and_the_key_changes_with_the_epoch() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let nothing: [Vec<Frame>; 0] = [];
    for counter in [0, (1 << 20) - 5, 1 << 20, (1 << 20) - 1, (1 << 20) + 500, (1 << 21) + 7] {
        second.session.counter = counter;
        second.say(&mut real, &[Frame::Ping]);
        second.hear_records(&mut real);
        assert!(second.session.ledger.is_acknowledged(counter), "{counter}");
        let again = second.session.seal_under(counter, &Frame::Ping.encode());
        real.receive(second.on, &again);
        assert_eq!(second.hear_records(&mut real), nothing, "seen before");
    }
    for counter in [(1 << 21) + 7 - 1024, 1 << 48, u64::MAX] {
        let in_vain = second.session.seal_under(counter, &Frame::Ping.encode());
        real.receive(second.on, &in_vain);
        assert_eq!(second.hear_records(&mut real), nothing, "{counter}");
    }
    assert!(!real.closed.contains(&second.on));
}

#[test]
fn a_query_whose_connection_is_cut_goes_again_over_the_next_under_its_number() {
    let mut real = Real::new();
    let (mut second, asked) = Second::is_asked(&mut real, b"hello");
    let (number, query) = second.hears_query(&mut real);
    cut(&mut real, second.on);
    assert_eq!(real.deliveries, []);
    // It forgets that it has heard the query.
    let opened = second.session.ledger.opened().clone();
    is_dialled_again(&mut real, &mut second);
    let ping = second.session.ledger.opened().difference(&opened).copied().collect::<Vec<u64>>();
    second.say(&mut real, &[naming(&ping)]);
    assert_eq!(second.hears_query(&mut real), (number, query.clone()));
    let reply = second.reply(&real, &query, b"world");
    second.say(&mut real, &[Frame::reply(number, 0, &reply)]);
    assert_eq!(real.verdict().0, asked);
}

#[test]
fn an_ack_of_a_record_that_was_given_up_cancels_its_repetition() {
    let mut real = Real::new();
    let (mut second, asked) = Second::is_asked(&mut real, b"hello");
    let (number, query) = second.hears_query(&mut real);
    cut(&mut real, second.on);
    is_dialled_again(&mut real, &mut second);
    second.acknowledge(&mut real);
    assert_eq!(second.hear(&mut real), []);
    let reply = second.reply(&real, &query, b"world");
    second.say(&mut real, &[Frame::reply(number, 0, &reply)]);
    assert_eq!(real.verdict().0, asked);
}

#[test]
fn a_reply_whose_connection_is_cut_goes_again_over_the_next() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = Frame::query(0, UNTIL, &second.query(&real, 5, b"hello"));
    second.say(&mut real, &[query]);
    echo(&mut real);
    let reply = second.hears(&mut real);
    cut(&mut real, second.on);
    second.on = real.accept();
    second.say(&mut real, &[]);
    assert_eq!(second.hears(&mut real), reply);
    second.acknowledge(&mut real);
    cut(&mut real, second.on);
    second.on = real.accept();
    second.say(&mut real, &[]);
    assert_eq!(second.hear(&mut real), [], "it was acknowledged");
    assert_eq!(real.node.usage().reply_bytes, 0);
}

#[test]
fn what_an_ack_passes_over_goes_again_at_once() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let (number, query) = second.hears_query(&mut real);
    real.wait(Duration::from_secs(1));
    assert_eq!(second.hear_records(&mut real), [vec![Frame::Ping]], "it asks what became of it");
    let ping = *second.session.ledger.opened().last().unwrap();
    second.say(&mut real, &[naming(&[ping])]);
    assert_eq!(second.hears_query(&mut real), (number, query));
}

#[test]
fn on_a_stream_that_lives_nothing_else_is_sent_twice() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    let (_, _) = second.hears_query(&mut real);
    let query = *second.session.ledger.opened().last().unwrap();
    for _ in 0..20 {
        real.wait(Duration::from_secs(1));
        let frames = second.hear(&mut real);
        assert_eq!(frames, [], "nothing is concluded from time alone");
        // So that it is not found dead.
        second.say(&mut real, &[]);
    }
    second.say(&mut real, &[naming(&[query])]);
    assert_eq!(second.hear(&mut real), []);
}

#[test]
fn whoever_passes_over_the_same_three_times_breaks_the_rules() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    second.hears_query(&mut real);
    let mut pings = BTreeSet::new();
    for time in 1..=3 {
        real.wait(Duration::from_secs(1));
        let before = second.session.ledger.opened().clone();
        assert_eq!(second.hear_records(&mut real), [vec![Frame::Ping]]);
        pings.extend(second.session.ledger.opened().difference(&before));
        second.say(&mut real, &[ack::naming(&pings, 0).unwrap()]);
        let frames = second.hear(&mut real);
        if time < 3 {
            assert!(matches!(frames[..], [Frame::Query { number: 0, .. }]), "{time}: {frames:?}");
        } else {
            assert!(matches!(frames[..], [Frame::Break { code: 4, .. }]), "{frames:?}");
        }
    }
    let failure = real.failure();
    assert_eq!((failure.reason, failure.executed), (Reason::LostByPeer, Executed::Maybe));
    assert!(real.closed.contains(&second.on));
}

#[test]
fn whoever_acknowledges_what_was_never_sealed_breaks_the_rules() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    second.hears_query(&mut real);
    let highest = *second.session.ledger.opened().last().unwrap();
    let beyond = Frame::Ack { largest: highest + 1, delay: 0, runs: vec![Run { length: 2, gap: 0 }] };
    second.say(&mut real, &[beyond]);
    assert!(matches!(second.hears(&mut real), Frame::Break { code: 4, .. }));
}

#[test]
fn a_peer_that_gives_no_sign_of_life_is_asked_after_a_second_and_left_four_later() {
    let mut real = Real::new();
    let (mut second, _) = Second::is_asked(&mut real, b"hello");
    second.hears_query(&mut real);
    real.wait(Duration::from_millis(999));
    assert_eq!(second.hear_records(&mut real), [] as [Vec<Frame>; 0]);
    real.wait(Duration::from_millis(1));
    assert_eq!(second.hear_records(&mut real), [vec![Frame::Ping]]);
    real.wait(Duration::from_millis(3999));
    assert!(!real.closed.contains(&second.on));
    real.wait(Duration::from_millis(1));
    assert!(real.closed.contains(&second.on));
    assert_eq!(real.deliveries, [], "the query goes on");
}

#[test]
fn a_long_query_that_is_cut_off_goes_on_over_another_connection() {
    let mut real = Real::new();
    let (mut second, asked) = Second::is_asked(&mut real, &[1; 300_000]);
    let mut query: Option<Parts> = None;
    let mut takes = |frames: Vec<Frame>| {
        for frame in frames {
            let (total, offset, part) = match frame {
                Frame::Query { number: 0, total, part, .. } => (total, 0, part),
                Frame::Piece { of: OF_QUERY, number: 0, total, offset, part } => (total, offset, part),
                other => panic!("{other:?}"),
            };
            query.get_or_insert_with(|| Parts::of(total)).add(total, offset, &part).unwrap();
        }
        query.as_ref().and_then(|query| query.whole().map(<[u8]>::to_vec))
    };
    // Five records are taken, and two of them acknowledged.
    let mut records = Vec::new();
    while records.len() < 5 {
        let Packet::Sealed { packet, .. } = real.next_packet(second.on) else { panic!("not sealed") };
        records.push(second.session.hear(&packet).unwrap());
    }
    assert_eq!(takes(records.iter().take(2).flat_map(|(_, frames)| frames.clone()).collect()), None);
    second.say(&mut real, &[naming(&[records[0].0, records[1].0])]);
    cut(&mut real, second.on);
    is_dialled_again(&mut real, &mut second);
    let ping = *second.session.ledger.opened().last().unwrap();
    second.say(&mut real, &[naming(&[records[0].0, records[1].0, ping])]);
    let query = takes(second.hear(&mut real)).expect("all of it has come");
    let reply = second.reply(&real, &query, b"all of it");
    second.say(&mut real, &[Frame::reply(0, 0, &reply)]);
    assert_eq!(real.verdict().0, asked);
}

#[test]
fn anything_goes_over_any_connection_of_its_session() {
    let mut real = Real::new();
    let mut second = Second::meets(&mut real);
    let query = second.query(&real, 5, b"hello");
    let parts = Frame::query_in_parts(0, UNTIL, &query, 40);
    for part in parts {
        second.say(&mut real, &[part]);
        second.on = real.accept();
    }
    second.say(&mut real, &[]);
    assert_eq!(echo(&mut real), b"hello");
    // Nobody has dialled but the peer: the newest connection is the best.
    assert!(matches!(second.hears(&mut real), Frame::Reply { number: 0, code: 0, .. }));
}
