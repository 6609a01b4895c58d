//! The oracle itself: fed with facts that were made up, it sees what is wrong with them, and accepts what is right.

mod limits;
mod promises;
mod rest;
mod told;
mod verdicts;

use std::time::Duration;

use egtp::{Attempt, AttemptResult, Config, Executed, Failure, Instant, Limits, PeerRefusal, Reason, Stage, Strategy};

use super::life::Question;
use super::model::Model;
use crate::transcript::{Ending, What};
use crate::{Network, NodeIndex, World};

const HARD: Duration = Duration::from_secs(20);
const REPLY: Ending = Ending::Reply { bytes: 8 };

/// More than any message that is asked here.
const ALL: u64 = 1 << 20;

/// A model of two nodes, ten milliseconds apart, and its facts.
struct Facts {
    model: Model,
    asker: NodeIndex,
    peer: NodeIndex,
    /// How much the asker has written to its peer when a query ends.
    written: u64,
}

/// Sets a limit.
type Limit = fn(&mut Limits);

fn at(millis: u64) -> Instant {
    Instant::from_micros(1_000_000 + millis * 1000)
}

fn failed(reason: Reason, executed: Executed, stage: Stage) -> Ending {
    Ending::Failed(Failure { reason, executed, stage, tried: Vec::new() })
}

/// What a peer says instead of its handler.
fn refused(refusal: PeerRefusal) -> Ending {
    failed(Reason::RefusedByPeer(refusal), Executed::No, Stage::Wire)
}

fn timeout() -> Ending {
    failed(Reason::HardTimeout, Executed::Maybe, Stage::Peer)
}

fn lost() -> Ending {
    failed(Reason::LostByPeer, Executed::Maybe, Stage::Wire)
}

impl Facts {
    fn new() -> Self {
        Self::limited(|_| {}, |_| {})
    }

    /// The same of nodes with limits of their own.
    fn limited(of_asker: impl FnOnce(&mut Limits), of_peer: impl FnOnce(&mut Limits)) -> Self {
        let mut world = World::new(1, Network::default());
        let mut nodes = [(); 2].map(|()| world.add_node()).map(|node| (node, world.address(node), Config::default()));
        of_asker(&mut nodes[0].2.limits);
        of_peer(&mut nodes[1].2.limits);
        let [(asker, ..), (peer, ..)] = nodes;
        Self { model: Model::new(Network::default(), &nodes, world.now()), asker, peer, written: ALL }
    }

    /// The asker asks query 0, 1, ... and does what leads to the peer.
    fn asks(&mut self, millis: u64, type_name: &'static str) {
        self.asks_at_length(millis, type_name, 8);
    }

    fn asks_at_length(&mut self, millis: u64, type_name: &'static str, bytes: usize) {
        self.asks_for(millis, type_name, bytes, HARD);
    }

    fn asks_for(&mut self, millis: u64, type_name: &'static str, bytes: usize, hard: Duration) {
        let (from, to) = (self.asker, self.peer);
        self.model.asks(at(millis), Question { from, to, type_name, bytes, soft: None, hard }, 0);
        self.at(millis, from, &What::LooksUp { peer: to });
        self.at(millis, from, &What::Dials { peer: to });
    }

    fn at(&mut self, millis: u64, node: NodeIndex, what: &What) {
        self.model.hears(at(millis), Some(node), what);
    }

    /// The peer's handler is given a query, by its deadline.
    fn arrives(&mut self, millis: u64, query: usize) {
        let life = &self.model.lives[query];
        let until = life.asked + life.question.hard + Duration::from_millis(40);
        self.model.arrives(at(millis), query, until);
    }

    fn answers(&mut self, millis: u64, query: usize) {
        self.at(millis, self.peer, &What::Answers { query, bytes: 8 });
    }

    fn ends(&mut self, millis: u64, query: usize, ending: Ending) {
        self.model.ends(at(millis), query, ending, self.written);
    }

    /// A dial of the peer that came to this.
    fn tried(&self, result: AttemptResult) -> Attempt {
        let strategy = Strategy::Address(self.model.nodes[&self.peer].address);
        Attempt { strategy, result, took: Duration::from_millis(20) }
    }

    /// The peer is unreachable, after these attempts.
    fn unreachable(&self, results: &[AttemptResult]) -> Ending {
        let tried = results.iter().map(|&result| self.tried(result)).collect();
        let (reason, executed, stage) = (Reason::Unreachable, Executed::No, Stage::Dial);
        Ending::Failed(Failure { reason, executed, stage, tried })
    }

    /// Nothing is wrong up to here.
    #[track_caller]
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
