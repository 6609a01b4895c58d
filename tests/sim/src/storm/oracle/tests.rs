//! The oracle itself: fed with facts that were made up, it sees what is wrong with them, and accepts what is right.

use std::time::Duration;

use egtp::{Cause, Config, Executed, Failure, Instant, Limits, PeerRefusal, Reason, Refusal, Stage};

use super::life::Question;
use super::model::Model;
use crate::scene::{ECHO, KEEP, NEVER, NO};
use crate::transcript::{Ending, What};
use crate::{Network, NodeIndex, World};

const HARD: Duration = Duration::from_secs(20);
const REPLY: Ending = Ending::Reply { bytes: 8 };

/// A model of two nodes, ten milliseconds apart, and its facts.
struct Facts {
    model: Model,
    asker: NodeIndex,
    peer: NodeIndex,
}

/// Sets a limit.
type Limit = fn(&mut Limits);

fn at(millis: u64) -> Instant {
    Instant::from_micros(1_000_000 + millis * 1000)
}

fn failed(reason: Reason, executed: Executed, stage: Stage) -> Ending {
    Ending::Failed(Failure { reason, executed, stage })
}

const UNREACHABLE: Ending =
    Ending::Failed(Failure { reason: Reason::Unreachable, executed: Executed::No, stage: Stage::Dial });
const LOST: Ending =
    Ending::Failed(Failure { reason: Reason::ConnectionLost, executed: Executed::Maybe, stage: Stage::Wire });
const TIMEOUT: Ending =
    Ending::Failed(Failure { reason: Reason::HardTimeout, executed: Executed::Maybe, stage: Stage::Peer });

impl Facts {
    fn new() -> Self {
        Self::limited(|_| {}, |_| {})
    }

    /// The same of nodes with limits of their own.
    fn limited(of_asker: impl FnOnce(&mut Limits), of_peer: impl FnOnce(&mut Limits)) -> Self {
        let mut world = World::new(1, Network::default());
        let mut nodes = [(); 2].map(|()| (world.add_node(), Config::default()));
        of_asker(&mut nodes[0].1.limits);
        of_peer(&mut nodes[1].1.limits);
        let [(asker, _), (peer, _)] = nodes;
        Self { model: Model::new(Network::default(), &nodes, world.now()), asker, peer }
    }

    /// The asker asks query 0, 1, ... and does what leads to the peer.
    fn asks(&mut self, millis: u64, type_name: &'static str) {
        self.asks_at_length(millis, type_name, 8);
    }

    fn asks_at_length(&mut self, millis: u64, type_name: &'static str, bytes: usize) {
        let (from, to) = (self.asker, self.peer);
        let soft = Some(HARD / 2);
        self.model.asks(at(millis), Question { from, to, type_name, bytes, soft, hard: HARD });
        self.at(millis, from, &What::LooksUp { peer: to });
        self.at(millis, from, &What::Dials { peer: to });
    }

    fn at(&mut self, millis: u64, node: NodeIndex, what: &What) {
        self.model.hears(at(millis), Some(node), what);
    }

    /// The peer's handler is given a query, by its deadline.
    fn arrives(&mut self, millis: u64, query: usize) {
        let left = (self.model.lives[query].asked + HARD).saturating_since(at(millis));
        self.model.arrives(at(millis), query, left);
    }

    fn answers(&mut self, millis: u64, query: usize) {
        self.at(millis, self.peer, &What::Answers { query, bytes: 8 });
    }

    fn ends(&mut self, millis: u64, query: usize, ending: Ending) {
        self.model.ends(at(millis), query, ending);
    }

    /// Nothing is wrong up to here.
    fn are_right(&self) {
        assert_eq!(self.model.violations, []);
    }

    /// One thing is wrong, in these words.
    #[track_caller]
    fn are_wrong(&self, words: &str) {
        let wrong: Vec<&str> = self.model.violations.iter().map(|violation| violation.what.as_str()).collect();
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{words}: {wrong:?}");
    }

    fn waits_until(&mut self, millis: u64) {
        self.model.nobody_waits_too_long(at(millis), true);
    }
}

#[test]
fn a_query_that_is_answered_in_a_calm_world_is_right() {
    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.arrives(50, 0);
    facts.answers(50, 0);
    facts.ends(60, 0, REPLY);
    facts.waits_until(60_000);
    facts.are_right();
}

#[test]
fn what_is_in_the_way_holds_news_up() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.at(0, asker, &What::Silent(true));
    facts.at(10, peer, &What::Crashes);
    facts.at(10, peer, &What::Starts);
    facts.asks(1_000, NO);
    facts.at(1_100, asker, &What::Silent(false));
    facts.ends(1_100, 0, LOST);
    facts.are_right();
    facts.asks(60_000, NO);
    facts.ends(60_000, 1, LOST);
    facts.are_wrong("ended at 61.000000s as connection-lost");
}

#[test]
fn whatever_a_fault_excuses_is_right() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.at(500, asker, &What::Cut { other: peer });
    facts.ends(510, 0, LOST);
    facts.model.withdrawn(at(600), 0);
    facts.at(700, peer, &What::Listening(false));
    facts.asks(800, ECHO);
    facts.ends(820, 1, UNREACHABLE);
    facts.at(900, peer, &What::Listening(true));
    facts.asks(60_000, NO);
    facts.arrives(60_050, 2);
    facts.at(60_050, peer, &What::Declines { query: 2 });
    let declined = Reason::RefusedByPeer(PeerRefusal::Declined);
    facts.ends(60_060, 2, failed(declined, Executed::Maybe, Stage::Wire));
    facts.asks(70_000, "unknown");
    let unknown = Reason::RefusedByPeer(PeerRefusal::UnknownType);
    facts.ends(70_060, 3, failed(unknown, Executed::No, Stage::Wire));
    facts.asks(80_000, NEVER);
    facts.arrives(80_050, 4);
    facts.model.soft_timeout(at(90_000), 4);
    facts.ends(100_000, 4, TIMEOUT);
    facts.model.withdrawn(at(100_001), 4);
    facts.waits_until(300_000);
    facts.are_right();
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
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.ends(9_999, 0, TIMEOUT);
    facts.are_wrong("allowed at 21.000000s, its time has come");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.model.soft_timeout(at(10_000), 0);
    facts.ends(20_001, 0, TIMEOUT);
    facts.are_wrong("allowed at 21.000000s, its time has come");
}

#[test]
fn a_query_without_a_verdict_at_its_deadline_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.waits_until(19_999);
    facts.model.violations.clear();
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
}

#[test]
fn a_failure_without_a_reason_is_wrong() {
    for ending in [UNREACHABLE, LOST] {
        let mut facts = Facts::new();
        facts.asks(0, ECHO);
        facts.ends(100, 0, ending);
        facts.are_wrong("allowed was only hard-timeout at 21.000000s");
    }
    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Freezes);
    facts.asks(0, ECHO);
    facts.ends(5_000, 0, LOST);
    facts.are_wrong("allowed was only hard-timeout");
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
    facts.ends(1_200, 0, UNREACHABLE);
    facts.are_wrong(
        "though it was due by 2.080000s: node 1 had closed its port at 1.000000s, and no connection was left",
    );
}

#[test]
fn a_silent_peer_that_is_never_found_dead_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, ECHO);
    facts.at(30, facts.peer, &What::Silent(true));
    facts.model.soft_timeout(at(10_000), 0);
    facts.ends(20_000, 0, failed(Reason::HardTimeout, Executed::Maybe, Stage::Wire));
    facts.are_wrong("the peer could not be heard since 1.030000s");
}

#[test]
fn a_peer_counts_as_heard_until_what_was_held_back_on_its_way_has_come() {
    let way = |to, blocked| What::Blocked { to, blocked };
    let timeout = failed(Reason::HardTimeout, Executed::Maybe, Stage::Wire);
    for is_to_the_asker in [true, false] {
        let mut facts = Facts::new();
        let (from, to) = if is_to_the_asker { (facts.peer, facts.asker) } else { (facts.asker, facts.peer) };
        facts.asks(0, ECHO);
        facts.at(20, from, &way(to, true));
        facts.at(30, facts.peer, &What::PowerOff);
        facts.at(5_000, from, &way(to, false));
        facts.model.soft_timeout(at(10_000), 0);
        facts.ends(20_000, 0, timeout);
        if is_to_the_asker {
            facts.are_right();
        } else {
            facts.are_wrong("the peer could not be heard since 1.030000s");
        }
    }
}

#[test]
fn a_query_that_runs_twice_or_after_it_was_said_that_it_would_not_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.arrives(51, 0);
    facts.are_wrong("runs once more at 1.051000s");

    let mut facts = Facts::new();
    facts.at(0, facts.peer, &What::Listening(false));
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, UNREACHABLE);
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
fn what_a_handler_is_told_too_late_too_early_or_for_nothing_is_wrong() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.model.arrives(at(50), 0, Duration::from_secs(19));
    facts.are_wrong("with 19s left, instead of 19.95s");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.model.withdrawn(at(60), 0);
    facts.are_wrong("though its asker waits");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.model.withdrawn(at(60), 0);
    facts.are_wrong("never came");

    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.at(60, facts.asker, &What::Cancels { query: 0 });
    facts.ends(60, 0, failed(Reason::Cancelled, Executed::Maybe, Stage::Wire));
    facts.waits_until(3_000);
    facts.are_wrong("is still with its handler");
}

#[test]
fn impatience_at_another_time_twice_or_never_is_wrong() {
    let asked = || {
        let mut facts = Facts::new();
        facts.asks(0, NEVER);
        facts.arrives(50, 0);
        facts
    };
    let mut early = asked();
    early.model.soft_timeout(at(9_999), 0);
    early.are_wrong("which was due at 11.000000s");
    let mut twice = asked();
    twice.model.soft_timeout(at(10_000), 0);
    twice.model.soft_timeout(at(10_000), 0);
    twice.are_wrong("is impatient twice");
    let mut never = asked();
    never.waits_until(10_001);
    never.are_wrong("should have become impatient at 11.000000s");
}

#[test]
fn deadlines_go_by_the_askers_own_clock() {
    let mut facts = Facts::new();
    facts.asks(0, NEVER);
    facts.arrives(50, 0);
    facts.model.clock_stepped(at(5_000), facts.asker, Duration::from_secs(4), false);
    facts.model.soft_timeout(at(6_000), 0);
    facts.ends(16_000, 0, TIMEOUT);
    facts.are_right();
}

#[test]
fn a_clock_that_goes_too_fast_brings_deadlines_nearer_by_as_much_and_no_more() {
    for (millionths, late, early) in [(500, 20_001, 19_980), (-500, 20_011, 20_005)] {
        let mut facts = Facts::new();
        facts.at(0, facts.asker, &What::Drifts { millionths });
        facts.asks(0, NEVER);
        facts.model.soft_timeout(facts.model.window(facts.asker, facts.model.lives[0].soft.unwrap()).latest, 0);
        let due = facts.model.window(facts.asker, facts.model.lives[0].hard);
        assert!(at(early) < due.earliest && due.latest < at(late), "{due:?}");
        facts.arrives(50, 0);
        facts.model.ends(due.latest, 0, TIMEOUT);
        facts.are_right();
        facts.asks(30_000, NEVER);
        facts.model.soft_timeout(facts.model.window(facts.asker, facts.model.lives[1].soft.unwrap()).latest, 1);
        facts.arrives(30_050, 1);
        facts.ends(50_000, 1, TIMEOUT);
        facts.are_wrong("as hard-timeout");
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
fn a_peer_that_is_given_up_again_without_a_lookup_is_wrong() {
    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.at(0, peer, &What::Listening(false));
    facts.asks(1_000, ECHO);
    facts.ends(1_020, 0, UNREACHABLE);
    let question = facts.model.lives[0].question;
    facts.model.asks(at(2_000), question);
    facts.at(2_000, asker, &What::Dials { peer });
    facts.ends(2_020, 1, UNREACHABLE);
    facts.are_wrong("gives node 1 up without a lookup");
}

#[test]
fn a_notice_that_comes_twice_or_to_nobody_or_not_at_all_in_a_calm_world_is_wrong() {
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
    facts.waits_until(3_000);
    facts.are_wrong("notice 1 from node 0 to node 1, sent at 1.100000s, was due by");
}

/// What a peer says instead of its handler.
fn refused(refusal: PeerRefusal) -> Ending {
    failed(Reason::RefusedByPeer(refusal), Executed::No, Stage::Wire)
}

#[test]
fn a_node_that_refuses_to_ask_before_its_limit_is_reached_is_wrong() {
    let asked_twice = |limit: Limit| {
        let mut facts = Facts::limited(limit, |_| {});
        facts.asks(0, ECHO);
        facts.asks(0, ECHO);
        facts
    };
    let mut due = asked_twice(|limits| limits.queries = 1);
    due.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueries);
    due.are_right();
    let mut early = asked_twice(|limits| limits.queries = 2);
    early.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueries);
    early.are_wrong("too many queries are outstanding: 1 queries of 79 bytes wait at most");
    let mut other = asked_twice(|limits| limits.queries = 1);
    other.model.refuses_to_ask(at(0), 1, Refusal::ShuttingDown);
    other.are_wrong("the node is shutting down");

    let mut due = asked_twice(|limits| limits.query_bytes = 157);
    due.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueryBytes);
    due.are_right();
    let mut early = asked_twice(|limits| limits.query_bytes = 158);
    early.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueryBytes);
    early.are_wrong("take too much memory: 1 queries of 79 bytes wait at most");
    let mut over = asked_twice(|limits| limits.queries = 1);
    over.ends(20_000, 0, TIMEOUT);
    over.model.violations.clear();
    over.model.refuses_to_ask(at(20_001), 1, Refusal::TooManyQueries);
    over.are_wrong("0 queries of 0 bytes wait at most");
}

#[test]
fn a_notice_takes_the_place_of_a_query_until_it_is_acknowledged() {
    for (refused_at, is_due) in [(60, true), (2_000, false)] {
        let mut facts = Facts::limited(|limits| limits.queries = 1, |_| {});
        let (asker, peer) = (facts.asker, facts.peer);
        facts.model.notifies(at(0), asker, peer);
        facts.model.noticed(at(50), 0, asker, peer);
        facts.model.notifies(at(refused_at), asker, peer);
        facts.model.refuses_to_notify(at(refused_at), 1, Refusal::TooManyQueries);
        if is_due { facts.are_right() } else { facts.are_wrong("notice 1 is refused at 3.000000s by its own node") }
    }
}

#[test]
fn a_node_that_has_no_place_for_a_peer_has_met_as_many_others() {
    for (limit, is_due) in [(2, true), (3, false)] {
        let mut world = World::new(1, Network::default());
        let nodes = [(); 4].map(|()| {
            let mut config = Config::default();
            config.limits.peers = limit;
            (world.add_node(), config)
        });
        let mut model = Model::new(Network::default(), &nodes, world.now());
        let [asker, others @ ..] = nodes.map(|(node, _)| node);
        for to in others {
            let question = Question { from: asker, to, type_name: ECHO, bytes: 8, soft: None, hard: HARD };
            model.asks(at(0), question);
        }
        model.refuses_to_ask(at(0), 2, Refusal::TooManyPeers);
        assert_eq!(model.violations.is_empty(), is_due, "{:?}", model.violations);
    }
}

#[test]
fn a_peer_that_is_busy_has_as_many_queries_as_it_takes() {
    let asked_twice = |limit: Limit| {
        let mut facts = Facts::limited(|_| {}, limit);
        facts.at(0, facts.asker, &What::LooksUp { peer: facts.peer });
        facts.at(0, facts.peer, &What::LooksUp { peer: facts.asker });
        facts.at(0, facts.peer, &What::Dials { peer: facts.asker });
        facts.asks(0, KEEP);
        facts.arrives(50, 0);
        facts.asks(100, NO);
        facts
    };
    let limits: [(PeerRefusal, Limit, Limit); 2] = [
        (PeerRefusal::Busy, |limits| limits.incoming = 1, |limits| limits.incoming = 2),
        (PeerRefusal::BusyWithYou, |limits| limits.incoming_per_peer = 1, |limits| limits.incoming_per_peer = 2),
    ];
    for (refusal, reached, not_reached) in limits {
        let mut due = asked_twice(reached);
        due.ends(150, 1, refused(refusal));
        due.are_right();
        let mut early = asked_twice(not_reached);
        early.ends(150, 1, refused(refusal));
        early.are_wrong("allowed was only hard-timeout");
        let mut over = asked_twice(reached);
        over.answers(200, 0);
        over.ends(210, 0, REPLY);
        over.ends(210, 1, failed(Reason::Cancelled, Executed::No, Stage::Wire));
        over.model.violations.clear();
        over.asks(300, NO);
        over.ends(350, 2, refused(refusal));
        over.are_wrong("allowed was only hard-timeout");
    }
    let mut told = Facts::limited(|_| {}, |limits| limits.incoming_per_peer = 1);
    told.asks(0, KEEP);
    told.arrives(50, 0);
    told.asks(100, NO);
    told.ends(150, 1, refused(PeerRefusal::BusyWithYou));
    told.are_wrong("allowed was only hard-timeout");
}

#[test]
fn a_peer_that_has_no_memory_for_a_query_was_sent_long_ones() {
    let refused_of = |lengths: &[usize], limit: Limit| {
        let mut facts = Facts::limited(|_| {}, limit);
        for &bytes in lengths {
            facts.asks_at_length(0, NEVER, bytes);
        }
        facts.ends(50, 0, refused(PeerRefusal::NoMemory));
        facts
    };
    refused_of(&[30_000], |limits| limits.assembly_bytes_per_peer = 20_000).are_right();
    refused_of(&[30_000, 17_000], |limits| limits.assembly_bytes = 40_000).are_right();
    let alone = "allowed was only hard-timeout";
    refused_of(&[30_000], |limits| limits.assembly_bytes = 40_000).are_wrong(alone);
    refused_of(&[30_000, 1_000], |limits| limits.assembly_bytes_per_peer = 31_000).are_wrong(alone);
    refused_of(&[1_000, 30_000], |limits| limits.assembly_bytes = 20_000).are_wrong(alone);
    let mut whole = Facts::limited(|_| {}, |limits| limits.assembly_bytes = 40_000);
    whole.asks_at_length(0, KEEP, 17_000);
    whole.arrives(50, 0);
    whole.asks_at_length(60, NEVER, 30_000);
    whole.ends(150, 1, refused(PeerRefusal::NoMemory));
    whole.are_wrong(alone);
}

#[test]
fn a_reply_that_finds_no_memory_is_a_long_one() {
    let no_memory = failed(Reason::RefusedHere(Refusal::TooManyQueryBytes), Executed::Maybe, Stage::Peer);
    let too_long = failed(Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe, Stage::Peer);
    let of_length = |bytes: usize, ending: Ending| {
        let limit_here = |limits: &mut Limits| limits.assembly_bytes_per_peer = 20_000;
        let limit_there = |limits: &mut Limits| limits.reply_bytes_per_peer = 20_000;
        let mut facts = Facts::limited(limit_here, limit_there);
        facts.asks_at_length(0, KEEP, bytes);
        facts.arrives(100, 0);
        facts.at(200, facts.peer, &What::Answers { query: 0, bytes });
        facts.ends(300, 0, ending);
        facts
    };
    for ending in [no_memory, too_long] {
        of_length(30_000, ending).are_right();
        of_length(17_000, ending).are_wrong("allowed was only hard-timeout");
    }

    let mut together = Facts::limited(|_| {}, |limits| limits.reply_bytes = 60_000);
    together.asks_at_length(0, KEEP, 25_000);
    together.asks_at_length(0, KEEP, 25_000);
    for query in [0, 1] {
        together.arrives(100, query);
        together.at(200, together.peer, &What::Answers { query, bytes: 25_000 });
    }
    together.ends(300, 1, too_long);
    together.are_right();
    together.asks_at_length(400, KEEP, 25_000);
    together.ends(500, 0, Ending::Reply { bytes: 25_000 });
    together.arrives(500, 2);
    together.at(600, together.peer, &What::Answers { query: 2, bytes: 25_000 });
    together.ends(700, 2, too_long);
    together.are_wrong("allowed was only hard-timeout");
}

#[test]
fn only_a_node_with_few_places_for_sessions_or_connections_lacks_one() {
    let lacks = |refusal, limit: Limit| {
        let mut facts = Facts::limited(limit, |_| {});
        facts.asks(0, ECHO);
        facts.ends(50, 0, failed(Reason::RefusedHere(refusal), Executed::No, Stage::Handshake));
        facts
    };
    lacks(Refusal::TooManySessions, |limits| limits.sessions = 2).are_right();
    lacks(Refusal::TooManyConnections, |limits| limits.connections = 2).are_right();
    lacks(Refusal::TooManySessions, |limits| limits.connections = 2).are_wrong("allowed was only hard-timeout");
    lacks(Refusal::TooManyConnections, |limits| limits.sessions = 2).are_wrong("allowed was only hard-timeout");
    lacks(Refusal::TooManySessions, |_| {}).are_wrong("allowed was only hard-timeout");
}

#[test]
fn only_a_node_with_few_places_for_peers_sessions_or_handshakes_may_shut_others_out() {
    let limits: [Limit; 3] =
        [|limits| limits.peers = 2, |limits| limits.sessions = 2, |limits| limits.handshakes_per_second = 1];
    for limit in limits {
        for facts in [Facts::limited(limit, |_| {}), Facts::limited(|_| {}, limit)] {
            assert!(facts.model.may_shut_out(facts.asker, facts.peer, 2));
        }
    }
    let facts = Facts::limited(|limits| limits.queries = 1, |limits| limits.incoming = 1);
    assert!(!facts.model.may_shut_out(facts.asker, facts.peer, 2));
}

#[test]
fn whoever_has_fewer_places_for_strangers_than_dial_at_once_may_shut_one_out() {
    let limits: [Limit; 2] = [|limits| limits.unauthenticated_connections = 3, |limits| limits.tentative_sessions = 3];
    for limit in limits {
        let facts = Facts::limited(|_| {}, limit);
        assert!(!facts.model.may_shut_out(facts.asker, facts.peer, 3));
        assert!(facts.model.may_shut_out(facts.asker, facts.peer, 4));
    }
}

#[test]
fn a_long_packet_of_a_stranger_is_expected_only_where_sessions_may_have_been_lost() {
    let long = What::Noted { cause: Cause::PacketTooLong, peer: None };
    let is_expected = |facts: &Facts| facts.model.unexpected_long_packets.is_empty();

    let mut facts = Facts::new();
    facts.at(0, facts.asker, &long);
    assert!(!is_expected(&facts));

    let mut facts = Facts::limited(|limits| limits.tentative_sessions = 2, |_| {});
    facts.at(0, facts.asker, &long);
    assert!(is_expected(&facts));

    let mut facts = Facts::new();
    let (asker, peer) = (facts.asker, facts.peer);
    facts.at(0, peer, &What::Crashes);
    facts.at(0, peer, &What::Starts);
    facts.at(500, asker, &long);
    assert!(is_expected(&facts), "the peer that has crashed may have sent it");
    facts.at(600, peer, &long);
    assert!(!is_expected(&facts), "nobody but the peer itself has crashed");

    let mut facts = Facts::new();
    facts.at(0, peer, &What::Crashes);
    facts.at(0, peer, &What::Starts);
    facts.at(200_000, asker, &long);
    assert!(!is_expected(&facts), "too long after the crash");
}
