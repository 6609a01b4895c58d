//! An adversary in a storm: told by steps what to do, watched by a judge.

use std::time::Duration;

use egtp::{Delivery, Instant, Refusal};

use crate::adversary::{Adversary, Judge, Manner, Target, Trick};
use crate::scene::{long_body, type_name};
use crate::second::crypto::sha256;
use crate::{NodeIndex, StrangerIndex, World};

#[derive(Debug)]
pub(super) struct Intruder {
    adversary: Adversary,
    stranger: StrangerIndex,
    judge: Judge,
    /// How many of the judge's findings have been told.
    told: usize,
    /// How many queries it was asked.
    asked: u64,
}

impl Intruder {
    pub(super) fn enter(world: &mut World, seed: u64) -> Self {
        let adversary = Adversary::new(sha256(&[b"adversary", &seed.to_be_bytes()]));
        let stranger = adversary.enter(world);
        let judge = Judge::of(&adversary);
        Self { adversary, stranger, judge, told: 0, asked: 0 }
    }

    pub(super) fn play(&self, world: &mut World, trick: Trick, node: NodeIndex) {
        self.adversary.play(trick, Target::of(world, node));
        world.wake_stranger(self.stranger);
    }

    pub(super) fn set_manner(&self, manner: Manner) {
        self.adversary.set_manner(manner);
    }

    pub(super) fn ask(
        &mut self,
        world: &mut World,
        from: NodeIndex,
        name: &str,
        bytes: usize,
        hard: Duration,
    ) -> Result<(), Refusal> {
        self.asked += 1;
        let number = self.asked.to_be_bytes();
        let body = [&number[..], &long_body(bytes.saturating_sub(number.len()))].concat();
        self.judge.ask(world, from, type_name(name), body, hard).map(|_| ())
    }

    /// Gives back what is not its concern.
    pub(super) fn take(
        &mut self,
        world: &mut World,
        node: NodeIndex,
        able: Instant,
        delivery: Delivery,
    ) -> Option<Delivery> {
        self.judge.take(world, node, able, delivery)
    }

    pub(super) fn forget(&mut self, node: NodeIndex) {
        self.judge.forget(node);
    }

    /// What is wrong and has not been told before.
    pub(super) fn findings(&mut self, world: &World, is_able: impl Fn(NodeIndex) -> bool) -> Vec<String> {
        self.judge.look(world, is_able);
        let new = self.judge.violations().get(self.told..).unwrap_or_default().to_vec();
        self.told += new.len();
        new
    }

    pub(super) fn leave(&self, world: &mut World) {
        self.adversary.leave();
        world.wake_stranger(self.stranger);
    }
}
