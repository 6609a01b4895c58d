//! Two honest nodes and an adversary: every trick does what its documentation says, and nobody is harmed.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{Cause, Executed, Instant, PeerRefusal, QueryId, Reason, Verdict};
use egtp_sim::adversary::{Adversary, Consequence, Judge, Manner, Target, Trick};
use egtp_sim::scene::{ECHO, KEEP, Scene, long_body, query, type_name};
use egtp_sim::{Network, NodeIndex, StrangerIndex, World};

#[test]
fn every_trick_has_its_consequence_and_harms_nobody() {
    for (seed, &trick) in (0..).zip(Trick::ALL) {
        let mut meeting = Meeting::new(seed, Manner::Answers);
        meeting.while_the_honest_talk(|meeting| meeting.suffers(trick));
        meeting.ends(&trick);
    }
}

/// Neither of them is a node of the first implementation: what is found here are faults of the adversary's own.
#[test]
fn an_adversary_that_another_plays_tricks_on_is_not_accused_of_what_it_does_by_the_rules() {
    for (seed, &trick) in (1..).zip(Trick::ALL) {
        let mut world = World::new(seed, Network::default());
        let [one, other] = [[1; 32], [2; 32]].map(Adversary::new);
        let at = other.enter(&mut world);
        let target = Target::at(&other.identity().public_key(), world.stranger_address(at));
        one.play(trick, target);
        one.play_at(Instant::ZERO + Duration::from_secs(150), Trick::PingFlood, target);
        one.enter(&mut world);
        world.run(Duration::from_secs(400), |_, _, _| {});
        assert!(one.is_idle(), "{trick}");
        assert!(one.played().last().is_some_and(|played| played.answered), "{trick}");
        // It says nothing against malformed messages, and puts no limit to anything.
        assert_eq!(one.evidence(), Vec::<String>::new(), "{trick}");
    }
}

#[test]
fn every_manner_of_answering_has_its_consequence_and_harms_nobody() {
    for (seed, &manner) in (0..).zip(Manner::ALL) {
        let mut meeting = Meeting::new(seed, manner);
        meeting.while_the_honest_talk(|meeting| meeting.asks(manner));
        meeting.ends(&manner);
    }
}

#[test]
fn the_same_seed_does_the_same_and_another_does_not() {
    let digest = |seed| {
        let mut meeting = Meeting::new(seed, Manner::BreaksOff);
        meeting.while_the_honest_talk(|meeting| meeting.suffers(Trick::Replay));
        meeting.scene.world.digest()
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn a_node_that_comes_back_in_the_middle_of_any_trick_does_nothing_wrong() {
    for (seed, &trick) in (0..).zip(Trick::ALL) {
        let (mut scene, one, _) = Scene::of_two(seed);
        let adversary = Adversary::new([7; 32]);
        let stranger = adversary.enter(&mut scene.world);
        scene.world.crash(one);
        adversary.play(trick, Target::of(&scene.world, one));
        scene.world.wake_stranger(stranger);
        scene.world.run(Duration::from_millis(20), |_, _, _| {});
        scene.world.start(one);
        scene.run_secs(60);
        assert_eq!(adversary.evidence(), Vec::<String>::new(), "{trick}");
    }
}

/// How long what is asked of the adversary is waited for.
const HARD: Duration = Duration::from_secs(60);

/// Two honest nodes, an adversary, and what was asked of it.
struct Meeting {
    scene: Scene,
    honest: [NodeIndex; 2],
    adversary: Adversary,
    stranger: StrangerIndex,
    judge: Judge,
    /// What was asked of it, and until when it is waited for.
    asked: BTreeMap<(NodeIndex, QueryId), (Vec<u8>, Instant)>,
}

impl Meeting {
    fn new(seed: u64, manner: Manner) -> Self {
        let (mut scene, one, other) = Scene::of_two(seed);
        let adversary = Adversary::new([u8::try_from(seed).unwrap(); 32]);
        adversary.set_manner(manner);
        let stranger = adversary.enter(&mut scene.world);
        let judge = Judge::of(&adversary);
        Self { scene, honest: [one, other], adversary, stranger, judge, asked: BTreeMap::new() }
    }

    /// Queries between the honest are outstanding before, asked during and answered after what the adversary does.
    fn while_the_honest_talk(&mut self, act: impl FnOnce(&mut Self)) {
        let [one, other] = self.honest;
        let kept = [(one, other), (other, one)].map(|(from, to)| {
            let long = query(KEEP, b"kept").hard_timeout(Duration::from_secs(600));
            (from, self.scene.ask(from, to, long))
        });
        self.scene.run_secs(1);
        act(self);
        for (from, to) in [(one, other), (other, one)] {
            let asked = self.scene.ask(from, to, query(ECHO, b"meanwhile"));
            self.scene.run_secs(1);
            assert_eq!(self.scene.reply(from, asked), b"meanwhile");
        }
        assert!(kept.iter().all(|&(from, asked)| !self.scene.has_ended(from, asked)));
        self.scene.answer_kept();
        self.scene.run_secs(1);
        for (from, asked) in kept {
            assert_eq!(self.scene.reply(from, asked), b"kept");
        }
    }

    fn asks_the_adversary(&mut self, from: NodeIndex, name: &str, body: &[u8]) -> QueryId {
        let id = self.adversary.id();
        let until = self.scene.world.now() + HARD;
        let asked = self.scene.world.query_id(from, id, query(name, body).hard_timeout(HARD)).unwrap();
        self.asked.insert((from, asked), (body.to_vec(), until));
        asked
    }

    fn plays(&mut self, trick: Trick, at: NodeIndex) {
        self.adversary.play(trick, Target::of(&self.scene.world, at));
        self.scene.world.wake_stranger(self.stranger);
        for _ in 0..120 {
            self.scene.run_secs(1);
        }
        assert!(self.adversary.is_idle(), "{trick} is not over: {:?}", self.adversary);
    }

    fn suffers(&mut self, trick: Trick) {
        let [one, other] = self.honest;
        self.asks_the_adversary(one, ECHO, b"before");
        self.plays(Trick::PingFlood, other);
        let noted = |meeting: &mut Self, cause| meeting.scene.world.node(one).count(cause);
        let before: BTreeMap<Cause, u64> = Cause::ALL.iter().map(|&cause| (cause, noted(self, cause))).collect();
        self.plays(trick, one);
        let played = *self.adversary.played().last().unwrap();
        assert_eq!(played.trick, trick);
        let new: Vec<Cause> = Cause::ALL.iter().copied().filter(|cause| noted(self, *cause) > before[cause]).collect();
        let (closed, notes) = match trick.consequence() {
            Consequence::Closes(cause) => (true, Some(cause)),
            Consequence::Notes(cause) => (false, Some(cause)),
            Consequence::MayClose(cause) => (played.closed, played.closed.then_some(cause)),
            Consequence::Nothing => (false, None),
        };
        let noted = notes.map_or(new.is_empty(), |cause| new.contains(&cause));
        assert!(played.closed == closed && noted && played.answered != closed, "{trick}: {played:?}, {new:?}");
        let after = self.asks_the_adversary(one, ECHO, b"after");
        self.scene.run_secs(20);
        assert_eq!(self.scene.reply(one, after), b"after", "{trick}");
    }

    fn asks(&mut self, manner: Manner) {
        let [one, _] = self.honest;
        // Of the same type as what is outstanding between the honest, so that nothing but the reference tells replies apart.
        let mut asked: Vec<QueryId> =
            (0..3).map(|number| self.asks_the_adversary(one, KEEP, &[b'?', number])).collect();
        // Long enough to be answered, or not, in pieces.
        asked.push(self.asks_the_adversary(one, KEEP, &long_body(10_000)));
        let id = self.adversary.id();
        self.scene.world.with(one, |node, now| node.notify(now, id, type_name(ECHO), b"news".to_vec())).unwrap();
        self.scene.run_secs(70);
        for &query in &asked {
            self.ends_as(one, query, manner);
        }
        if let Consequence::Closes(cause) | Consequence::Notes(cause) = manner.consequence() {
            assert!(self.scene.world.node(one).count(cause) > 0, "{manner}: {:?}", self.scene.world.notes());
        }
        if manner == Manner::AnswersNever {
            let id = self.scene.world.id(one);
            assert!(self.adversary.was_told_that_nobody_waits(id, &[b'?', 0]));
        }
    }

    fn ends_as(&self, asker: NodeIndex, query: QueryId, manner: Manner) {
        let (at, verdict) = self.scene.verdict(asker, query);
        let expected: &[(Reason, Executed)] = match manner {
            Manner::Answers
            | Manner::AnswersTwice
            | Manner::SaysEverythingAfterwards
            | Manner::BreaksOff
            | Manner::AllowsOne
            | Manner::AcknowledgesNever
            | Manner::AcknowledgesLate
            | Manner::SaysStale
            | Manner::CrossesHello
            | Manner::PutsOff => {
                return assert!(matches!(verdict, Verdict::Reply(_)), "{manner}: {verdict:?} at {at}");
            }
            Manner::AcknowledgesEverything if matches!(verdict, Verdict::Reply(_)) => return,
            Manner::AnswersLate
            | Manner::AnswersNever
            | Manner::ForeignReference
            | Manner::ForeignRecipient
            | Manner::ForeignType
            | Manner::MalformedReply
            | Manner::NeverEndsReply
            | Manner::Cuts
            | Manner::FallsSilent => &[(Reason::HardTimeout, Executed::Maybe)],
            Manner::Refuses => &[
                (Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::No),
                (Reason::RefusedByPeer(PeerRefusal::NotWelcome), Executed::No),
                (Reason::RefusedByPeer(PeerRefusal::Malformed), Executed::No),
                (Reason::LostByPeer, Executed::Maybe),
            ],
            Manner::Declines => &[
                (Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe),
                (Reason::RefusedByPeer(PeerRefusal::ReplyTooLong), Executed::Maybe),
            ],
            Manner::WrongNumber
            | Manner::ContradictsItself
            | Manner::PassesOver
            | Manner::AcknowledgesEverything
            | Manner::SaysThatItForgot
            | Manner::Forgets
            | Manner::BreaksOffWithAll => &[(Reason::LostByPeer, Executed::Maybe)],
            _ => &[(Reason::Unreachable, Executed::No), (Reason::HardTimeout, Executed::No)],
        };
        let Verdict::Failed(failure) = verdict else { panic!("{manner}: {verdict:?} at {at}") };
        assert!(expected.contains(&(failure.reason, failure.executed)), "{manner}: {failure:?} at {at}");
    }

    /// The adversary goes, and everything that it did is held against what was promised.
    fn ends(mut self, what: &dyn std::fmt::Display) {
        self.adversary.leave();
        self.scene.world.wake_stranger(self.stranger);
        self.scene.run_secs(1300);
        assert_eq!(self.judge.new_evidence(), Vec::<String>::new(), "{what}");
        for asked in &self.scene.told.asked {
            if self.judge.is_it(asked.from) {
                self.judge.given(asked.node, &asked.body).unwrap_or_else(|why| panic!("{what}: {why}"));
            }
        }
        for (&(node, asked), (body, until)) in &self.asked {
            let (at, verdict) = self.scene.verdict(node, asked);
            assert!(at <= *until, "{what}: a verdict at {at}, due at {until}");
            let id = self.scene.world.id(node);
            self.judge.verdict(id, body, Some(*until), verdict).unwrap_or_else(|why| panic!("{what}: {why}"));
        }
        for (_, _, note) in self.scene.world.notes() {
            assert!(!self.judge.blames_the_honest(note), "{what}: {note:?}");
        }
        for node in self.honest {
            let usage = self.scene.world.node(node).usage();
            Judge::nothing_is_left(&usage).unwrap_or_else(|why| panic!("{what}: {why}"));
            assert_eq!(usage.connections, 0, "{what}: {usage:?}");
        }
    }
}
