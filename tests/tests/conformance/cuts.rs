//! Connections that are cut, at any byte and at any moment.

use egtp_tests::scene::{ECHO, KEEP, long_body, query};

use crate::host::Host;
use crate::proxy::{Cut, Manner, Proxy, Towards};
use crate::{on_every_pair, reply};

/// After so many bytes to the dialler or to the listener: in a handshake's packets, right after them, in the first
/// pieces of the messages, and far in them.
const CUTS: [usize; 14] = [0, 1, 3, 80, 86, 90, 179, 184, 300, 1000, 5000, 33_000, 70_000, 180_000];

/// How many queries are on their way when a connection is cut.
const QUERIES: usize = 8;

#[test]
fn a_connection_cut_after_any_byte_costs_no_query_its_reply_and_the_next_one_is_answered() {
    on_every_pair(|kinds| {
        for towards in [Towards::Listener, Towards::Dialler] {
            for after in CUTS {
                let answerer = Host::listening(kinds[1], 2);
                let proxy = Proxy::to(answerer.address(), Manner::Forward);
                let asker = Host::dialling(kinds[0], 1);
                asker.learn(2, proxy.address());
                let cut = Cut { towards, after };
                // The first time there is no session; the second time a session goes on over a new connection.
                for round in 0..2 {
                    proxy.cut_next(cut);
                    ask_and_cut(&asker, &answerer, round, cut);
                    let next = asker.timed_verdict(answerer.id(), query(ECHO, b"next")).1;
                    assert_eq!(reply(next), b"next", "{cut:?}, round {round}");
                    proxy.cut();
                    asker.wait_for_connections(0);
                    answerer.wait_for_connections(0);
                }
                assert!(asker.kill().verdicts.is_empty(), "a query has one verdict");
            }
        }
    });
}

/// Asks several things over a connection that is cut: each of them is answered, and ran once.
fn ask_and_cut(asker: &Host, answerer: &Host, round: u8, cut: Cut) {
    let body = |index: usize| {
        let mut body = long_body(25_000);
        body[..2].copy_from_slice(&[round, u8::try_from(index).unwrap()]);
        body
    };
    let queries = (0..QUERIES).map(|index| query(ECHO, &body(index))).collect();
    let asked: Vec<_> = asker.ask_all(answerer.id(), queries).into_iter().map(Result::unwrap).collect();
    let verdicts = asker.verdicts(QUERIES);
    assert_eq!(verdicts.len(), QUERIES, "{cut:?}: a query has one verdict");
    for (of, verdict) in verdicts {
        let body = body(asked.iter().position(|&query| query == of).unwrap());
        let runs = answerer.wait_for({
            let body = body.clone();
            move |_, told| Some(told.runs(&body))
        });
        assert!(reply(verdict) == body && runs == 1, "{cut:?}: {runs} runs");
    }
}

#[test]
fn a_connection_cut_amid_the_longest_body_costs_nothing_but_time() {
    on_every_pair(|kinds| {
        let answerer = Host::listening(kinds[1], 2);
        let proxy = Proxy::to(answerer.address(), Manner::Forward);
        let asker = Host::dialling(kinds[0], 1);
        asker.learn(2, proxy.address());
        let body = long_body(egtp::MAX_BODY);
        for towards in [Towards::Listener, Towards::Dialler] {
            proxy.cut_next(Cut { towards, after: 2_000_000 });
            let asked = asker.ask(answerer.id(), query(ECHO, &body));
            assert!(reply(asker.verdict(asked)) == body, "the answer differs from the question");
            assert_eq!(reply(asker.timed_verdict(answerer.id(), query(ECHO, b"next")).1), b"next");
            proxy.cut();
            asker.wait_for_connections(0);
        }
        assert_eq!(answerer.kill().runs(&body), 2);
        assert!(asker.kill().verdicts.is_empty(), "a query has one verdict");
    });
}

#[test]
fn a_connection_cut_while_queries_wait_for_their_answers_costs_none_of_them_its_reply() {
    on_every_pair(|kinds| {
        let answerer = Host::listening(kinds[1], 2);
        let proxy = Proxy::to(answerer.address(), Manner::Forward);
        let asker = Host::dialling(kinds[0], 1);
        asker.learn(2, proxy.address());
        for cuts in 1..=3 {
            asker.ask_all(answerer.id(), vec![query(KEEP, b"waiting"); 100]);
            answerer.wait_for_kept(100);
            // Whoever waits dials again at once, and is not heard yet when the answers are there.
            proxy.hold();
            proxy.cut();
            proxy.wait_for_accepted(cuts + 1);
            answerer.answer_kept((0..100).collect());
            proxy.release();
            let verdicts = asker.verdicts(100);
            assert_eq!(verdicts.len(), 100);
            for (_, verdict) in verdicts {
                assert_eq!(reply(verdict), b"waiting");
            }
            assert_eq!(reply(asker.timed_verdict(answerer.id(), query(ECHO, b"next")).1), b"next");
        }
        assert_eq!(answerer.kill().runs(b"waiting"), 300);
        assert!(asker.kill().verdicts.is_empty(), "a query has one verdict");
    });
}
