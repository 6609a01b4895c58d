//! What acknowledgements may cost.

use super::bench::{A, B, Bench, Heard, MS, Policy, SEC};

#[test]
fn one_query_at_a_time_costs_two_records_and_an_acknowledgement_unless_the_next_one_says_it() {
    let mut bench = Bench::new();
    bench.ends[B].policy = Policy::Echo;
    for (pause, expected) in [(SEC, 3), (5 * MS, 2)] {
        bench.rest();
        let before = [A, B].map(|end| bench.ends[end].session.sealer.counter()).iter().sum::<u64>();
        for _ in 0..100 {
            bench.ask(A, 10);
            bench.settle();
            bench.wait(pause);
        }
        bench.rest();
        let records = [A, B].map(|end| bench.ends[end].session.sealer.counter()).iter().sum::<u64>() - before;
        assert_eq!(records / 100, expected, "{records} for 100 queries with {pause:?} between them");
    }
}

#[test]
fn with_64_queries_in_flight_fewer_than_one_record_in_a_hundred_only_acknowledges() {
    let mut bench = Bench::new();
    bench.ends.iter_mut().for_each(|end| end.is_checked = false);
    let (mut exchanges, mut only_acknowledge, mut records) = (0, 0, 0);
    for _ in 0..64 {
        bench.ask(A, 10);
    }
    // Each way takes 10 ms, and each answer between 1 and 30.
    let mut answers = alloc::collections::BTreeMap::new();
    for millisecond in 0..5_000_u32 {
        for from in [A, B] {
            bench.send(from);
        }
        for from in [A, B] {
            for record in bench.flight(from, 0).iter() {
                records += 1;
                only_acknowledge += usize::from(record.starts_with("ACK") && !record.contains(", "));
            }
        }
        let mut at = [A, B].map(|from| core::mem::take(&mut bench.paths[0].flight[from]));
        bench.sleep(MS);
        for from in [A, B] {
            while let Some(sealed) = at[from].pop_front() {
                bench.arrives(1 - from, 0, &sealed.bytes).unwrap().unwrap();
            }
        }
        for heard in bench.heard(B) {
            let Heard::Asked(number, _) = heard else { panic!("{heard:?}") };
            answers.insert((millisecond + 1 + u32::try_from(number * 7 % 30).unwrap(), number), ());
        }
        while let Some(first) = answers.first_entry().filter(|first| first.key().0 <= millisecond) {
            let ((_, number), ()) = first.remove_entry();
            assert!(bench.answer(B, number, 10));
        }
        for _ in bench.heard(A) {
            exchanges += 1;
            bench.ask(A, 10);
        }
    }
    assert!(exchanges > 10_000, "{exchanges}");
    assert!(only_acknowledge * 100 < exchanges, "{only_acknowledge} of {records} records, {exchanges} exchanges");
}

#[test]
fn many_small_messages_share_a_record() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        bench.ask(A, 10);
    }
    bench.seal(A);
    assert_eq!(bench.paths[0].waiting[A].len(), 1);
}
