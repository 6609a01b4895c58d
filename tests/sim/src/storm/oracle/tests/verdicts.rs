//! Which verdicts are right: how often, when, and why.

use std::time::Duration;

use egtp::{AttemptResult, Executed, Failure, PeerRefusal, Reason, Stage};

use super::{Facts, HARD, REPLY, at, failed, lost, refused, timeout};
use crate::scene::{ECHO, KEEP, NEVER, NO};
use crate::transcript::{Ending, What};

const ONLY: &str = "allowed was only hard-timeout";

#[test]
fn a_query_that_is_answered_in_a_calm_world_is_right() {
    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.arrives(50, 0);
    facts.answers(50, 0);
    facts.ends(60, 0, REPLY);
    facts.asks(1_000, NO);
    facts.arrives(1_050, 1);
    facts.at(1_050, facts.peer, &What::Declines { query: 1 });
    let declined = Reason::RefusedByPeer(PeerRefusal::Declined);
    facts.ends(1_060, 1, failed(declined, Executed::Maybe, Stage::Wire));
    facts.asks(2_000, "unknown");
    facts.ends(2_060, 2, refused(PeerRefusal::UnknownType));
    facts.asks(3_000, NEVER);
    facts.arrives(3_050, 3);
    facts.ends(23_000, 3, timeout());
    facts.model.withdrawn(at(23_010), 3);
    facts.waits_until(60_000);
    facts.are_right();
}

#[test]
fn a_query_that_runs_twice_is_wrong_even_in_another_life_of_its_recipient() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.arrives(51, 0);
    facts.are_wrong("runs once more at 1.051000s");

    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.at(60, peer, &What::Crashes);
    facts.at(70, peer, &What::Starts);
    facts.at(80, asker, &What::Crashes);
    facts.at(90, asker, &What::Starts);
    facts.arrives(10_000, 0);
    facts.are_wrong("runs once more at 11.000000s");
}

#[test]
fn that_a_query_did_not_run_is_wrong_if_it_has_or_does_so_later() {
    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Listening(false));
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, facts.unreachable(&[AttemptResult::Refused]));
    facts.are_right();
    facts.arrives(1_050, 0);
    facts.are_wrong("runs at 2.050000s, though it ended at 2.020000s as unreachable");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.at(60, facts.asker, &What::Cancels { query: 0 });
    facts.ends(60, 0, failed(Reason::Cancelled, Executed::No, Stage::Queue));
    facts.are_wrong("is said not to have run, and it has");
}

#[test]
fn that_a_query_may_have_run_is_wrong_if_not_all_of_it_has_left() {
    for (written, is_right) in [(0, false), (8_000, false), (60_000, true)] {
        let mut facts = Facts::new();
        facts.written = written;
        facts.asks_at_length(0, NEVER, 50_000);
        facts.at(60, facts.asker, &What::Cancels { query: 0 });
        facts.ends(60, 0, failed(Reason::Cancelled, Executed::Maybe, Stage::Wire));
        if is_right { facts.are_right() } else { facts.are_wrong("not all of it has left") }
    }
}

#[test]
fn a_verdict_that_says_the_wrong_thing_about_where_the_query_was_is_wrong() {
    let cancelled = |executed, stage| {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.at(60, facts.asker, &What::Cancels { query: 0 });
        facts.ends(60, 0, failed(Reason::Cancelled, executed, stage));
        facts
    };
    cancelled(Executed::No, Stage::Queue).are_right();
    cancelled(Executed::Maybe, Stage::Wire).are_right();
    cancelled(Executed::No, Stage::Wire).are_wrong("where it cannot have been");
    cancelled(Executed::Maybe, Stage::Queue).are_wrong("where it cannot have been");
    cancelled(Executed::Maybe, Stage::Peer).are_wrong("is said to be with the peer");

    let mut facts = Facts::new();
    facts.asks(0, "unknown");
    facts.ends(60, 0, failed(Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::Maybe, Stage::Wire));
    facts.are_wrong("says the wrong thing about whether it ran");
}

#[test]
fn a_reply_before_the_answer_could_be_there_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, KEEP);
    facts.arrives(50, 0);
    facts.ends(60, 0, REPLY);
    facts.are_wrong("ended at 1.060000s as reply, 8 bytes; allowed was only hard-timeout");

    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.arrives(50, 0);
    facts.answers(50, 0);
    facts.ends(59, 0, REPLY);
    facts.are_wrong("which was allowed from 1.060000s to 21.000000s, its handler said so at 1.050000s");
}

#[test]
fn a_timeout_at_another_time_than_its_deadline_is_wrong() {
    for millis in [9_999, 20_001] {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.arrives(50, 0);
        facts.ends(millis, 0, timeout());
        facts.are_wrong("allowed at 21.000000s, its time has come");
    }
}

#[test]
fn deadlines_go_by_the_askers_own_clock() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.model.clock_stepped(at(5_000), facts.asker, Duration::from_secs(4), false);
    facts.ends(16_000, 0, timeout());
    facts.are_right();
}

#[test]
fn a_clock_that_goes_too_fast_brings_deadlines_nearer_by_as_much_and_no_more() {
    for (millionths, late, early) in [(500, 20_001, 19_980), (-500, 20_011, 20_005)] {
        let mut facts = Facts::new();
        facts.at(0, facts.asker, &What::Drifts { millionths });
        facts.asks(0, NEVER);
        let due = facts.model.window(facts.asker, facts.model.lives[0].hard);
        assert!(at(early) < due.earliest && due.latest < at(late), "{due:?}");
        facts.arrives(50, 0);
        facts.model.ends(due.latest, 0, timeout(), facts.written);
        facts.are_right();
        facts.asks(30_000, NEVER);
        facts.arrives(30_050, 1);
        facts.ends(50_000, 1, timeout());
        facts.are_wrong("as hard-timeout");
    }
}

#[test]
fn a_cut_connection_is_no_verdict() {
    for ending in [lost(), Facts::new().unreachable(&[AttemptResult::TurnedAway])] {
        let mut facts = Facts::new();
        facts.asks(0, KEEP);
        facts.at(500, facts.asker, &What::Cut { other: facts.peer });
        facts.ends(520, 0, ending);
        facts.are_wrong(ONLY);
    }
}

#[test]
fn nothing_is_unreachable_while_its_port_is_open() {
    let tried = |what: &[(u64, What)], result| {
        let mut facts = Facts::new();
        for (millis, what) in what {
            facts.at(*millis, facts.peer, what);
        }
        facts.asks(1_000, ECHO);
        facts.ends(1_030, 0, facts.unreachable(&[result]));
        facts
    };
    tried(&[], AttemptResult::Refused).are_wrong(ONLY);
    tried(&[(0, What::Freezes)], AttemptResult::Refused).are_wrong(ONLY);
    tried(&[(0, What::Listening(false))], AttemptResult::Refused).are_right();
    tried(&[(0, What::Listening(false))], AttemptResult::AnotherNode).are_wrong(ONLY);
    tried(&[(0, What::Crashes)], AttemptResult::Refused).are_right();
    tried(&[(0, What::Listening(false)), (500, What::Crashes)], AttemptResult::Silent).are_wrong(ONLY);
}

#[test]
fn a_dial_is_given_up_only_if_all_that_was_tried_was_in_vain() {
    for (from, until, is_right) in [(900, 3_000, false), (900, 9_000, true), (3_000, 11_000, true)] {
        let mut facts = Facts::new();
        facts.asks(1_000, NEVER);
        facts.at(from, facts.peer, &What::Silent(true));
        facts.at(until, facts.peer, &What::Silent(false));
        facts.ends(11_000, 0, facts.unreachable(&[AttemptResult::Silent]));
        if is_right { facts.are_right() } else { facts.are_wrong(ONLY) }
    }
}

#[test]
fn several_stalls_may_outlast_a_dial_together() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.asks(1_000, NEVER);
    facts.at(1_000, peer, &What::Silent(true));
    facts.at(4_000, peer, &What::Silent(false));
    facts.at(5_000, asker, &What::Blocked { to: peer, blocked: true });
    facts.at(9_000, asker, &What::Blocked { to: peer, blocked: false });
    facts.ends(11_000, 0, facts.unreachable(&[AttemptResult::Silent]));
    facts.are_right();
}

#[test]
fn a_dialler_gives_up_that_was_turned_away_many_times() {
    for (cuts, is_right) in [(4, false), (6, true)] {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        for cut in 0..cuts {
            facts.at(500 * cut, facts.asker, &What::Cut { other: facts.peer });
        }
        facts.ends(4_000, 0, facts.unreachable(&[AttemptResult::TurnedAway; 6]));
        if is_right { facts.are_right() } else { facts.are_wrong(ONLY) }
    }
}

#[test]
fn whoever_is_unknown_is_unreachable_and_whoever_is_not_has_to_be_tried() {
    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Unknown);
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, facts.unreachable(&[]));
    facts.are_right();
    facts.asks(2_000, ECHO);
    facts.ends(2_020, 1, facts.unreachable(&[AttemptResult::Refused]));
    facts.are_wrong(ONLY);

    let mut facts = Facts::new();
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, facts.unreachable(&[]));
    facts.are_wrong(ONLY);
}

#[test]
fn a_peer_that_is_given_up_again_without_a_lookup_is_wrong() {
    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Listening(false));
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, facts.unreachable(&[AttemptResult::Refused]));
    let question = facts.model.lives[0].question;
    facts.model.asks(at(2_000), question, 0);
    facts.at(2_000, facts.asker, &What::Dials { peer: facts.peer });
    facts.ends(2_020, 1, facts.unreachable(&[AttemptResult::Refused]));
    facts.are_wrong("gives node 1 up without a lookup");
}

#[test]
fn whoever_is_unreachable_may_have_run_a_query_only_if_the_very_address_refuses() {
    for (result, is_right) in [(AttemptResult::Refused, true), (AttemptResult::Silent, false)] {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.arrives(50, 0);
        facts.at(100, facts.peer, &What::PowerOff);
        facts.at(11_000, facts.peer, &What::Starts);
        facts.at(11_000, facts.peer, &What::Listening(false));
        let tried = vec![facts.tried(result)];
        let failure = Failure { reason: Reason::Unreachable, executed: Executed::Maybe, stage: Stage::Peer, tried };
        facts.ends(12_000, 0, Ending::Failed(failure));
        if is_right { facts.are_right() } else { facts.are_wrong("nothing refused that may have it") }
    }
}

#[test]
fn nothing_is_lost_by_a_peer_that_goes_on() {
    let lost_after = |what: &[What]| {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.arrives(50, 0);
        for what in what {
            facts.at(500, facts.peer, what);
        }
        facts.ends(700, 0, lost());
        facts
    };
    lost_after(&[]).are_wrong(ONLY);
    lost_after(&[What::Silent(true)]).are_wrong(ONLY);
    lost_after(&[What::Crashes, What::Starts]).are_right();
    lost_after(&[What::PowerOff, What::Starts]).are_right();
}

#[test]
fn a_peer_that_ended_long_before_a_query_was_asked_has_not_lost_it() {
    for (asked, is_right) in [(1_010, true), (5_000, false)] {
        let mut facts = Facts::new();
        facts.at(1_000, facts.peer, &What::Crashes);
        facts.at(1_000, facts.peer, &What::Starts);
        facts.asks(asked, NEVER);
        facts.ends(asked + 100, 0, lost());
        if is_right { facts.are_right() } else { facts.are_wrong(ONLY) }
    }
}

#[test]
fn what_is_in_the_way_holds_the_news_up_that_a_peer_has_ended() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.at(0, asker, &What::Silent(true));
    facts.at(10, peer, &What::Crashes);
    facts.at(10, peer, &What::Starts);
    facts.asks(1_000, NEVER);
    facts.at(1_100, asker, &What::Silent(false));
    facts.ends(1_200, 0, lost());
    facts.are_right();
}

#[test]
fn an_idle_connection_with_a_host_that_lost_its_power_is_believed() {
    for (asked, is_right) in [(500_000, true), (700_000, false)] {
        let mut facts = Facts::new();
        facts.at(1_000, facts.peer, &What::PowerOff);
        facts.at(2_000, facts.peer, &What::Starts);
        facts.asks(asked, NEVER);
        facts.ends(asked + 10_000, 0, lost());
        if is_right { facts.are_right() } else { facts.are_wrong(ONLY) }
    }
}

#[test]
fn only_whoever_was_cancelled_is_told_so() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.ends(60, 0, failed(Reason::Cancelled, Executed::No, Stage::Queue));
    facts.are_wrong(ONLY);
}

#[test]
fn a_peer_calls_late_only_what_a_clock_that_was_set_has_made_late() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.ends(60, 0, refused(PeerRefusal::TooLate));
    facts.are_wrong(ONLY);

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.model.clock_stepped(at(20), facts.peer, HARD * 2, false);
    facts.ends(60, 0, refused(PeerRefusal::TooLate));
    facts.are_right();
}
