//! What a limit excuses, and what it does not.

use egtp::{Cause, Config, Executed, PeerRefusal, Reason, Refusal, Stage};

use super::{Facts, HARD, Limit, REPLY, at, failed, lost, refused, timeout};
use crate::scene::{ECHO, KEEP, NEVER, NO};
use crate::storm::oracle::life::Question;
use crate::storm::oracle::model::Model;
use crate::transcript::{Ending, What};
use crate::{Network, World};

const ONLY: &str = "allowed was only hard-timeout";

#[test]
fn a_node_that_refuses_to_ask_before_its_limit_is_reached_is_wrong() {
    let asked_twice = |limit: Limit| {
        let mut facts = Facts::limited(limit, |_| {});
        facts.asks(0, NEVER);
        facts.asks(0, NEVER);
        facts
    };
    let mut due = asked_twice(|limits| limits.queries = 1);
    due.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueries);
    due.are_right();
    let mut early = asked_twice(|limits| limits.queries = 2);
    early.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueries);
    early.are_wrong("too many queries are outstanding: 1 queries of 80 bytes wait at most");
    let mut other = asked_twice(|limits| limits.queries = 1);
    other.model.refuses_to_ask(at(0), 1, Refusal::ShuttingDown);
    other.are_wrong("the node is shutting down");

    let mut due = asked_twice(|limits| limits.query_bytes = 159);
    due.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueryBytes);
    due.are_right();
    let mut early = asked_twice(|limits| limits.query_bytes = 160);
    early.model.refuses_to_ask(at(0), 1, Refusal::TooManyQueryBytes);
    early.are_wrong("take too much memory: 1 queries of 80 bytes wait at most");
    let mut over = asked_twice(|limits| limits.queries = 1);
    over.arrives(50, 0);
    over.ends(20_000, 0, timeout());
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
        let nodes = [(); 4].map(|()| world.add_node()).map(|node| {
            let mut config = Config::default();
            config.limits.peers = limit;
            (node, world.address(node), config)
        });
        let mut model = Model::new(Network::default(), &nodes, world.now());
        let [asker, others @ ..] = nodes.map(|(node, ..)| node);
        for to in others {
            let question = Question { from: asker, to, type_name: ECHO, bytes: 8, soft: None, hard: HARD };
            model.asks(at(0), question, 0);
        }
        model.refuses_to_ask(at(0), 2, Refusal::TooManyPeers);
        assert_eq!(model.violations.is_empty(), is_due, "{:?}", model.violations);
    }
}

#[test]
fn a_peer_that_is_busy_has_as_many_queries_as_it_takes() {
    let asked_twice = |limit: Limit| {
        let mut facts = Facts::limited(|_| {}, limit);
        facts.asks_for(0, KEEP, 8, HARD * 2);
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
        due.ends(20_100, 1, refused(refusal));
        due.are_right();
        let mut over = asked_twice(not_reached);
        over.at(150, over.peer, &What::Silent(true));
        over.ends(20_100, 1, refused(refusal));
        over.are_wrong(ONLY);
    }
}

#[test]
fn a_peer_that_has_no_memory_for_a_query_was_sent_long_ones() {
    let refused_of = |lengths: &[usize], limit: Limit| {
        let mut facts = Facts::limited(|_| {}, limit);
        for &bytes in lengths {
            facts.asks_at_length(0, NEVER, bytes);
        }
        facts.ends(20_000, 0, refused(PeerRefusal::NoMemory));
        facts
    };
    refused_of(&[30_000], |limits| limits.assembly_bytes_per_peer = 20_000).are_right();
    refused_of(&[30_000, 17_000], |limits| limits.assembly_bytes = 40_000).are_right();
    refused_of(&[30_000], |limits| limits.assembly_bytes = 40_000).are_wrong(ONLY);
    refused_of(&[30_000, 1_000], |limits| limits.assembly_bytes_per_peer = 31_000).are_wrong(ONLY);
    refused_of(&[1_000, 30_000], |limits| limits.assembly_bytes = 20_000).are_wrong(ONLY);
    let mut whole = Facts::limited(|_| {}, |limits| limits.assembly_bytes = 40_000);
    whole.asks_for(0, KEEP, 17_000, HARD * 2);
    whole.arrives(50, 0);
    whole.asks_at_length(60, NEVER, 30_000);
    whole.ends(20_060, 1, refused(PeerRefusal::NoMemory));
    whole.are_wrong(ONLY);
}

#[test]
fn a_reply_that_finds_no_memory_is_a_long_one() {
    let no_memory = failed(Reason::RefusedHere(Refusal::NoMemoryForReply), Executed::Maybe, Stage::Peer);
    let too_long = failed(Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe, Stage::Peer);
    let of_length = |bytes: usize, ending: Ending| {
        let limit_here = |limits: &mut egtp::Limits| limits.assembly_bytes_per_peer = 20_000;
        let limit_there = |limits: &mut egtp::Limits| limits.reply_bytes_per_peer = 20_000;
        let mut facts = Facts::limited(limit_here, limit_there);
        facts.asks_at_length(0, KEEP, bytes);
        facts.arrives(100, 0);
        facts.at(200, facts.peer, &What::Answers { query: 0, bytes });
        facts.ends(300, 0, ending);
        facts
    };
    for ending in [no_memory, too_long.clone()] {
        of_length(30_000, ending.clone()).are_right();
        of_length(17_000, ending).are_wrong(ONLY);
    }

    let mut together = Facts::limited(|_| {}, |limits| limits.reply_bytes = 60_000);
    together.asks_at_length(0, KEEP, 25_000);
    together.asks_at_length(0, KEEP, 25_000);
    for query in [0, 1] {
        together.arrives(100, query);
        together.at(200, together.peer, &What::Answers { query, bytes: 25_000 });
    }
    together.ends(300, 1, too_long.clone());
    together.are_right();
    together.ends(400, 0, Ending::Reply { bytes: 25_000 });
    together.asks_at_length(10_000, KEEP, 25_000);
    together.arrives(10_100, 2);
    together.at(10_200, together.peer, &What::Answers { query: 2, bytes: 25_000 });
    together.ends(10_300, 2, too_long);
    together.are_wrong(ONLY);
}

#[test]
fn only_a_node_with_few_places_lacks_one() {
    let lacks = |ending: &Ending, limit: Limit| {
        let mut facts = Facts::limited(limit, |_| {});
        facts.asks(0, ECHO);
        facts.ends(50, 0, ending.clone());
        facts
    };
    let no_connection = failed(Reason::RefusedHere(Refusal::TooManyConnections), Executed::No, Stage::Handshake);
    lacks(&no_connection, |limits| limits.connections = 1).are_right();
    lacks(&no_connection, |limits| limits.sessions = 2).are_wrong(ONLY);
    lacks(&no_connection, |_| {}).are_wrong(ONLY);
    lacks(&lost(), |limits| limits.tentative_sessions = 1).are_right();
    lacks(&lost(), |limits| limits.connections = 1).are_wrong(ONLY);
}

#[test]
fn only_a_node_with_few_places_or_little_time_may_shut_others_out() {
    let limits: [Limit; 3] =
        [|limits| limits.peers = 2, |limits| limits.sessions = 1, |limits| limits.handshakes_per_second = 1];
    for limit in limits {
        for facts in [Facts::limited(limit, |_| {}), Facts::limited(|_| {}, limit)] {
            assert!(facts.model.may_shut_out(facts.asker, facts.peer));
        }
    }
    let facts = Facts::limited(|limits| limits.queries = 1, |limits| limits.incoming = 1);
    assert!(!facts.model.may_shut_out(facts.asker, facts.peer));
}

#[test]
fn a_long_packet_of_a_stranger_is_expected_only_where_sessions_may_have_been_lost() {
    let long = What::Noted { cause: Cause::PacketTooLong, peer: None };
    let limits: [(Limit, bool); 2] = [(|_| {}, false), (|limits| limits.tentative_sessions = 1, true)];
    for (limit, is_expected) in limits {
        let mut facts = Facts::limited(limit, |_| {});
        facts.at(0, facts.asker, &long);
        assert_eq!(facts.model.unexpected_long_packets.is_empty(), is_expected);
    }
}

#[test]
fn a_reply_is_no_excuse_for_a_limit_elsewhere() {
    let mut facts = Facts::limited(|limits| limits.queries = 1, |limits| limits.incoming = 1);
    facts.asks(0, ECHO);
    facts.arrives(50, 0);
    facts.answers(50, 0);
    facts.ends(60, 0, REPLY);
    facts.are_right();
}
