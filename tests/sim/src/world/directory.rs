//! The services around the nodes: the directory of their records, which is their Lookup Service, and the Discovery Service.

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{DiscoveryId, Event, LookupId, NodeId, SignedRecord};

use super::schedule::Due;
use super::{NodeIndex, World};
use crate::choice::Choice;

/// How the directory answers questions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Directory {
    /// At once, with what it knows.
    #[default]
    Honest,
    /// Not at all.
    Silent,
    /// With what it knows by then, after this long.
    Slow(Duration),
    /// At once, with the first record that it ever had of the node.
    Stale,
    /// At once, with bytes that are another node's record, or one that is damaged.
    Wrong,
    /// At once, that it knows nothing.
    Gone,
}

#[derive(Debug)]
pub(super) struct DirectoryService {
    behaviour: Directory,
    records: BTreeMap<NodeId, SignedRecord>,
    /// The first record that it ever had of each node.
    first: BTreeMap<NodeId, SignedRecord>,
    /// Questions that are answered later, by their numbers.
    questions: BTreeMap<u64, Question>,
    next_question: u64,
    /// Decides which wrong answer is given.
    choice: Choice,
}

#[derive(Clone, Copy, Debug)]
struct Question {
    asker: NodeIndex,
    lookup: LookupId,
    about: NodeId,
}

impl DirectoryService {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            behaviour: Directory::default(),
            records: BTreeMap::new(),
            first: BTreeMap::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            choice: Choice::from_seed(!seed),
        }
    }

    pub(super) fn set(&mut self, id: NodeId, record: Option<SignedRecord>) {
        match record {
            Some(record) => {
                self.first.entry(id).or_insert_with(|| record.clone());
                self.records.insert(id, record);
            }
            None => {
                self.records.remove(&id);
            }
        }
    }

    pub(super) fn publish(&mut self, record: SignedRecord) {
        self.set(record.node_id(), Some(record));
    }

    pub(super) fn forget_asker(&mut self, index: NodeIndex) {
        self.questions.retain(|_, question| question.asker != index);
    }

    /// The bytes that a question about a node is answered with.
    fn find(&mut self, about: NodeId) -> Option<Vec<u8>> {
        match self.behaviour {
            Directory::Honest | Directory::Slow(_) => Some(self.records.get(&about)?.as_bytes().to_vec()),
            Directory::Stale => Some(self.first.get(&about)?.as_bytes().to_vec()),
            Directory::Wrong => self.find_wrong(about),
            Directory::Silent | Directory::Gone => None,
        }
    }

    fn find_wrong(&mut self, about: NodeId) -> Option<Vec<u8>> {
        let after = self.records.range(about..).map(|(_, record)| record).find(|record| record.node_id() != about);
        let other = after.or_else(|| self.records.values().find(|record| record.node_id() != about));
        if let Some(other) = other
            && self.choice.per_mille(500)
        {
            return Some(other.as_bytes().to_vec());
        }
        let mut damaged = self.records.get(&about)?.as_bytes().to_vec();
        let at = usize::try_from(self.choice.below(damaged.len() as u64)).unwrap_or(0);
        damaged[at] ^= 1 << self.choice.below(8);
        Some(damaged)
    }
}

impl World {
    /// How the directory answers from now on. What it was asked before it fell silent stays unanswered.
    pub fn set_directory(&mut self, directory: Directory) {
        self.directory.behaviour = directory;
    }

    pub(super) fn look_up(&mut self, asker: NodeIndex, lookup: LookupId, about: NodeId) {
        let question = Question { asker, lookup, about };
        match self.directory.behaviour {
            Directory::Silent => {}
            Directory::Slow(time) => {
                let number = self.directory.next_question;
                self.directory.next_question += 1;
                self.directory.questions.insert(number, question);
                self.schedule.set(Due::Answer(number), Some(self.now + time));
            }
            Directory::Honest | Directory::Stale | Directory::Wrong | Directory::Gone => self.tell_found(question),
        }
    }

    /// The directory answers at last, in the way in which it answers by now.
    pub(super) fn answer(&mut self, number: u64) {
        let Some(&question) = self.directory.questions.get(&number) else { return };
        if self.is_held_back(question.asker, Due::Answer(number)) {
            return;
        }
        self.directory.questions.remove(&number);
        if self.directory.behaviour != Directory::Silent {
            self.tell_found(question);
        }
    }

    /// No node is a relay yet, so none is found.
    pub(super) fn discover(&mut self, asker: NodeIndex, discovery: DiscoveryId) {
        self.tell(asker, Event::Discovered(discovery, Vec::new()));
    }

    fn tell_found(&mut self, question: Question) {
        let Question { asker, lookup, about } = question;
        if let Some(record) = self.directory.find(about) {
            self.tell(asker, Event::Found(lookup, &record));
        }
        self.tell(asker, Event::LookupDone(lookup));
    }
}
