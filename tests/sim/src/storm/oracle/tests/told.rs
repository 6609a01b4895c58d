//! What handlers and impatient askers are told.

use std::time::Duration;

use egtp::{Executed, Reason, Stage};

use super::{Facts, HARD, at, failed};
use crate::scene::NEVER;
use crate::storm::oracle::life::Question;
use crate::transcript::What;

/// The peer's handler has a query of the asker's.
fn asked() -> Facts {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts
}

#[test]
fn a_handler_has_as_long_as_the_asker_waits_and_hardly_longer() {
    for (millis, is_right) in [(19_999, false), (20_000, true), (21_000, true), (500_000, false)] {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.model.arrives(at(50), 0, at(millis));
        if is_right { facts.are_right() } else { facts.are_wrong("instead of 21.000000s or little later") }
    }
}

#[test]
fn a_handler_that_is_told_for_nothing_or_twice_or_of_what_never_came_is_wrong() {
    let mut facts = asked();
    facts.model.withdrawn(at(60), 0);
    facts.are_wrong("though its asker waits");

    let mut facts = asked();
    facts.at(60, facts.asker, &What::Cut { other: facts.peer });
    facts.model.withdrawn(at(80), 0);
    facts.are_wrong("though its asker waits");

    let mut facts = asked();
    facts.at(60, facts.asker, &What::Crashes);
    facts.model.withdrawn(at(80), 0);
    facts.are_right();
    facts.model.withdrawn(at(90), 0);
    facts.are_wrong("though it was answered or withdrawn before");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.model.withdrawn(at(60), 0);
    facts.are_wrong("never came");
}

#[test]
fn a_handler_that_is_never_told_is_wrong() {
    let mut cancelled = asked();
    cancelled.at(60, cancelled.asker, &What::Cancels { query: 0 });
    cancelled.ends(60, 0, failed(Reason::Cancelled, Executed::Maybe, Stage::Wire));
    cancelled.waits_until(1_000);
    cancelled.are_right();
    cancelled.waits_until(3_000);
    cancelled.are_wrong("is still with its handler");

    let mut gone = asked();
    gone.at(60, gone.asker, &What::Crashes);
    gone.waits_until(20_000);
    gone.are_right();
    gone.waits_until(600_000);
    gone.are_wrong("is still with its handler");
}

#[test]
fn impatience_at_another_time_twice_or_never_is_wrong() {
    let impatient = || {
        let mut facts = Facts::new();
        let (from, to, soft) = (facts.asker, facts.peer, Some(HARD / 2));
        facts.model.asks(at(0), Question { from, to, type_name: NEVER, bytes: 8, soft, hard: HARD }, 0);
        facts.arrives(50, 0);
        facts
    };
    let mut early = impatient();
    early.model.soft_timeout(at(9_999), 0);
    early.are_wrong("which was due at 11.000000s");
    let mut twice = impatient();
    twice.model.soft_timeout(at(10_000), 0);
    twice.model.soft_timeout(at(10_000), 0);
    twice.are_wrong("is impatient twice");
    let mut never = impatient();
    never.waits_until(10_001);
    never.are_wrong("should have become impatient at 11.000000s");
    let mut unasked = asked();
    unasked.model.soft_timeout(at(10_000), 0);
    unasked.are_wrong("was not asked to be");
}

#[test]
fn a_notice_that_comes_twice_or_to_nobody_or_long_after_is_wrong() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.model.notifies(at(0), asker, peer);
    facts.model.noticed(at(50), 0, asker, peer);
    facts.are_right();
    facts.model.noticed(at(51), 0, asker, peer);
    facts.are_wrong("notice 0 came twice");
    facts.model.violations.clear();
    facts.model.noticed(at(52), 7, asker, peer);
    facts.are_wrong("a notice that nobody sent");
    facts.model.violations.clear();
    facts.model.notifies(at(100), asker, peer);
    facts.model.noticed(at(150), 1, peer, asker);
    facts.are_wrong("came to somebody else");
    facts.model.violations.clear();
    facts.model.notifies(at(200), asker, peer);
    facts.model.noticed(at(200) + Duration::from_secs(400), 2, asker, peer);
    facts.are_wrong("came long after it was given up");
}
