//! What is owed, and by when.

use std::time::Duration;

use egtp::{AttemptResult, PeerRefusal};

use super::{Facts, REPLY, at, refused, timeout};
use crate::scene::{ECHO, KEEP, NEVER};
use crate::transcript::What;

const LONG: Duration = Duration::from_secs(300);

#[test]
fn a_query_without_a_verdict_at_its_deadline_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.waits_until(19_999);
    facts.are_right();
    facts.waits_until(20_000);
    facts.are_wrong("has no verdict; it was due at 21.000000s");
}

#[test]
fn a_query_that_is_not_answered_in_a_calm_world_is_wrong_long_before_its_deadline() {
    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.waits_until(1_000);
    facts.are_right();
    facts.waits_until(2_000);
    facts.are_wrong("nothing was wrong between the two nodes");

    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.arrives(50, 0);
    facts.ends(20_000, 0, timeout());
    facts.are_wrong("though it was due by 2.360000s: nothing was wrong between the two nodes");
}

#[test]
fn an_answer_is_owed_from_when_it_is_given() {
    let mut facts = Facts::new();
    facts.asks(0, KEEP);
    facts.arrives(50, 0);
    facts.waits_until(10_000);
    facts.answers(10_000, 0);
    facts.waits_until(11_000);
    facts.are_right();
    facts.waits_until(12_000);
    facts.are_wrong("nothing was wrong between the two nodes");
}

/// Something goes wrong between the two, and the query of a calm world is through by then; a minute later it is overdue.
fn is_through(wrong: impl Fn(&mut Facts), in_time: u64, overdue: u64) {
    for (millis, is_right) in [(in_time, true), (overdue, false)] {
        let mut facts = Facts::new();
        facts.asks_for(0, ECHO, 8, LONG);
        wrong(&mut facts);
        facts.waits_until(millis);
        if is_right { facts.are_right() } else { facts.are_wrong("what was wrong between the two was over by") }
    }
}

#[test]
fn a_query_goes_again_soon_after_a_cut() {
    let cut = |facts: &mut Facts| facts.at(20, facts.asker, &What::Cut { other: facts.peer });
    is_through(cut, 2_000, 6_000);
    let broken = |facts: &mut Facts| facts.at(20, facts.asker, &What::Breaks { other: facts.peer });
    is_through(broken, 2_000, 6_000);
}

#[test]
fn a_query_is_answered_once_what_holds_it_up_is_over() {
    let silence = |facts: &mut Facts| {
        facts.at(20, facts.peer, &What::Silent(true));
        facts.at(20_000, facts.peer, &What::Silent(false));
    };
    is_through(silence, 40_000, 70_000);
    let one_way = |facts: &mut Facts| {
        facts.at(20, facts.peer, &What::Blocked { to: facts.asker, blocked: true });
        facts.at(20_000, facts.peer, &What::Blocked { to: facts.asker, blocked: false });
    };
    is_through(one_way, 40_000, 70_000);
    let frozen = |facts: &mut Facts| {
        facts.at(20, facts.peer, &What::Freezes);
        facts.at(2_000, facts.peer, &What::Thaws);
    };
    is_through(frozen, 5_000, 20_000);
}

#[test]
fn whoever_restarts_says_within_a_minute_that_it_has_lost_a_query() {
    let restart = |facts: &mut Facts| {
        facts.at(20, facts.peer, &What::Crashes);
        facts.at(1_000, facts.peer, &What::Starts);
    };
    is_through(restart, 31_000, 60_000);
}

#[test]
fn a_query_whose_peer_cannot_be_heard_may_wait_for_its_deadline() {
    let wrong = [What::Silent(true), What::Freezes, What::PowerOff, What::Listening(false)];
    for what in wrong {
        let mut facts = Facts::new();
        facts.asks(0, ECHO);
        facts.at(30, facts.peer, &what);
        facts.ends(20_000, 0, timeout());
        // That it is with its peer nobody has said.
        facts.are_wrong("is said to be with the peer");
    }
}

#[test]
fn a_fast_fail_that_is_missing_or_late_is_wrong() {
    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Crashes);
    facts.asks(1_000, ECHO);
    facts.waits_until(1_070);
    facts.are_right();
    facts.waits_until(1_090);
    facts.are_wrong("node 1 had crashed at 1.000000s");

    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Listening(false));
    facts.asks(1_000, ECHO);
    facts.ends(1_200, 0, facts.unreachable(&[AttemptResult::Refused]));
    facts.are_wrong("though it was due by 2.080000s: node 1 had closed its port at 1.000000s");
}

#[test]
fn nothing_is_owed_where_there_is_no_room_and_the_rest_soon_after() {
    let mut facts = Facts::limited(|_| {}, |limits| limits.incoming_per_peer = 1);
    facts.asks_for(0, KEEP, 8, LONG);
    facts.arrives(50, 0);
    facts.asks_for(100, ECHO, 8, LONG);
    facts.waits_until(60_000);
    facts.answers(60_000, 0);
    facts.ends(60_010, 0, REPLY);
    facts.waits_until(64_000);
    facts.are_right();
    facts.waits_until(68_000);
    facts.are_wrong("nothing was wrong between the two nodes");
}

#[test]
fn a_peer_that_is_busy_is_asked_again_until_the_deadline() {
    for (millis, is_right) in [(150, false), (20_100, true)] {
        let mut facts = Facts::limited(|_| {}, |limits| limits.incoming_per_peer = 1);
        facts.asks_for(0, KEEP, 8, LONG);
        facts.arrives(50, 0);
        facts.asks(100, ECHO);
        facts.ends(millis, 1, refused(PeerRefusal::BusyWithYou));
        if is_right { facts.are_right() } else { facts.are_wrong("which was allowed at 21.100000s") }
    }
}

#[test]
fn a_lookup_too_many_and_a_dial_without_one_are_wrong() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.asks(0, ECHO);
    for _ in 0..3 {
        facts.at(20, asker, &What::LooksUp { peer });
    }
    assert_eq!(facts.model.violations.len(), 2);
    facts.model.violations.clear();
    facts.at(30, peer, &What::Dials { peer: asker });
    facts.are_wrong("node 1 dials node 0, which it never looked up");
}

#[test]
fn a_notice_is_heard_in_a_calm_world_and_soon_after_a_cut() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.model.notifies(at(0), asker, peer);
    facts.waits_until(1_000);
    facts.at(1_000, asker, &What::Cut { other: peer });
    facts.waits_until(3_000);
    facts.are_right();
    facts.waits_until(9_000);
    facts.are_wrong("notice 0 from node 0 to node 1, sent at 1.000000s, was due by");
}

#[test]
fn a_notice_ends_with_its_session() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.model.notifies(at(0), asker, peer);
    facts.at(10, peer, &What::Crashes);
    facts.at(20, peer, &What::Starts);
    facts.waits_until(200_000);
    facts.are_right();
}
