//! The recipient's end of a session: what became of each of the peer's numbers, and what is still to be said of it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::assembly::Assembly;
use super::numbers::{Number, NumberWindow};
use super::outgoing::Outgoing;
use super::ranges::Range;
use super::records::What;
use crate::admission::Account;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::message::Message;

/// A message of which no part has come for so long is refused.
const STALLED: Duration = Duration::from_secs(30);

/// A reply of which nothing was acknowledged for so long gives up its memory if others need it.
const STUCK: Duration = Duration::from_secs(3);

/// No honest peer has more refusals than this to acknowledge.
const MOST_REFUSALS: usize = 4096;

/// What is remembered of one number besides what became of it.
#[derive(Debug)]
pub(super) enum Entry {
    /// Its message is being put together.
    Coming { assembly: Box<Assembly>, heading: Option<Asks>, progress: Instant },
    /// A handler works at it.
    Running { incoming: Key, until: Instant },
    /// Its reply goes until it is acknowledged.
    Answered(Box<Answered>),
    /// Its refusal goes until it is acknowledged.
    Refused { code: RefuseCode, wait: u16, until: Instant },
    /// It was taken, and what became of it is forgotten: that goes until it is acknowledged.
    Forgotten,
}

/// What a QUERY says beside its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asks {
    pub(super) notice: bool,
    /// On this node's clock, as the peer says it.
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) code: ReplyCode,
    pub(super) outgoing: Outgoing,
    /// How many bytes of memory it is charged with.
    pub(super) charged: usize,
    pub(super) until: Instant,
    /// When it was made, or a part of it was acknowledged last.
    pub(super) progress: Instant,
    /// Whether it is counted among the long messages under way.
    pub(super) counts_as_long: bool,
}

#[derive(Debug)]
pub(super) struct Answering {
    numbers: NumberWindow,
    entries: BTreeMap<u64, Entry>,
    /// How many of them are refusals.
    refusals: usize,
    /// Nothing is due before this.
    due: Option<Instant>,
}

impl Answering {
    pub(super) fn new() -> Self {
        Self { numbers: NumberWindow::new(), entries: BTreeMap::new(), refusals: 0, due: None }
    }

    pub(super) fn number(&self, number: u64) -> Number {
        self.numbers.state(number)
    }

    /// The numbers that were taken, as BREAK says them.
    pub(super) fn taken_bitmap(&self) -> (u64, [u8; 128]) {
        self.numbers.taken_bitmap()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Entry> {
        self.entries.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the peer lets refusals pile up, as no honest one does.
    pub(super) fn is_flooded(&self) -> bool {
        self.refusals > MOST_REFUSALS
    }

    /// Begins to put a message together.
    pub(super) fn begin(&mut self, number: u64, total: usize, now: Instant, account: &mut Account<'_>) {
        self.put(
            number,
            Entry::Coming { assembly: Box::new(Assembly::new(total)), heading: None, progress: now },
            account,
        );
    }

    /// A part of a message has come; its first says until when it is worth running.
    pub(super) fn progressed(&mut self, number: u64, now: Instant, asks: Option<Asks>) {
        if let Some(Entry::Coming { heading, progress, .. }) = self.entries.get_mut(&number) {
            *progress = now;
            *heading = heading.or(asks);
            if let Some(Asks { until, .. }) = asks {
                self.due = self.due.map(|due| due.min(until));
            }
        }
    }

    /// The message is whole: takes it out. Its number is free until it is taken or refused.
    pub(super) fn take_whole(&mut self, number: u64, account: &mut Account<'_>) -> Option<(Assembly, Asks)> {
        let Some(Entry::Coming { heading: Some(_), .. }) = self.entries.get(&number) else { return None };
        let Some(Entry::Coming { assembly, heading: Some(asks), .. }) = self.remove(number, account) else {
            return None;
        };
        account.release_assembly(assembly.total());
        Some((*assembly, asks))
    }

    /// The number is taken, for ever, and its query goes to a handler.
    pub(super) fn take(&mut self, number: u64, incoming: Key, until: Instant, account: &mut Account<'_>) {
        debug_assert_eq!(self.numbers.state(number), Number::Free);
        self.numbers.take(number);
        account.charge_incoming();
        self.put(number, Entry::Running { incoming, until }, account);
    }

    /// The number is taken, for ever, and its notice is told; nothing more is to be remembered.
    pub(super) fn take_notice(&mut self, number: u64) {
        debug_assert_eq!(self.numbers.state(number), Number::Free);
        self.numbers.take(number);
    }

    /// The number is refused, for ever; that is to be said.
    pub(super) fn refuse(
        &mut self,
        number: u64,
        code: RefuseCode,
        wait: u16,
        until: Instant,
        account: &mut Account<'_>,
    ) {
        self.drop_entry(number, account);
        self.numbers.refuse(number);
        self.put(number, Entry::Refused { code, wait, until }, account);
    }

    /// The handler says that its query did not run after all.
    pub(super) fn refuse_running(&mut self, number: u64, code: RefuseCode, account: &mut Account<'_>) -> bool {
        let Some(until) = self.finish(number, account) else { return false };
        self.numbers.refuse_taken(number);
        self.put(number, Entry::Refused { code, wait: 0, until }, account);
        true
    }

    /// The handler has answered: until when its asker waits.
    pub(super) fn finish(&mut self, number: u64, account: &mut Account<'_>) -> Option<Instant> {
        let Some(&Entry::Running { until, .. }) = self.entries.get(&number) else { return None };
        self.drop_entry(number, account);
        Some(until)
    }

    /// The reply goes until it is acknowledged.
    pub(super) fn answer(&mut self, number: u64, answered: Answered, account: &mut Account<'_>) {
        self.put(number, Entry::Answered(Box::new(answered)), account);
    }

    /// The asker does not wait any more. Gives back the handler that works at it.
    pub(super) fn cancel(&mut self, number: u64, account: &mut Account<'_>) -> Option<Key> {
        let incoming = self.drop_entry(number, account);
        self.numbers.refuse(number);
        incoming
    }

    /// A part of an answer has arrived; once all has, nothing of it is remembered.
    pub(super) fn part_acknowledged(&mut self, number: u64, part: Range, now: Instant, account: &mut Account<'_>) {
        if let Some(Entry::Answered(answered)) = self.entries.get_mut(&number)
            && answered.code == ReplyCode::Answer
        {
            answered.progress = now;
            if answered.outgoing.acknowledged(part) {
                self.drop_entry(number, account);
            }
        }
    }

    /// The peer has heard a refusal, that there is no answer, or that its query is forgotten.
    pub(super) fn word_acknowledged(&mut self, number: u64, what: What, account: &mut Account<'_>) {
        let is_of = match self.entries.get(&number) {
            Some(Entry::Refused { .. }) => what == What::Refuse,
            Some(Entry::Forgotten) => what == What::Forgotten,
            Some(Entry::Answered(answered)) => what == What::NoAnswer && answered.code != ReplyCode::Answer,
            Some(Entry::Coming { .. } | Entry::Running { .. }) | None => false,
        };
        if is_of {
            self.drop_entry(number, account);
        }
    }

    /// Answers that are stuck say no more than that they do not fit. Gives back their numbers.
    pub(super) fn shorten(&mut self, now: Instant, account: &mut Account<'_>) -> Vec<u64> {
        let mut shortened = Vec::new();
        for (&number, entry) in &mut self.entries {
            let Entry::Answered(answered) = entry else { continue };
            if answered.progress + STUCK <= now && answered.shorten(account) {
                shortened.push(number);
            }
        }
        shortened
    }

    /// Nothing is remembered, and no memory is held for it.
    pub(super) fn rest(&mut self) {
        debug_assert!(self.is_empty());
        self.entries = BTreeMap::new();
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due: messages that have stalled, and queries whose time has passed. Gives back what became of them.
    pub(super) fn tick(&mut self, now: Instant, account: &mut Account<'_>) -> Vec<(u64, Due)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let is_due = |entry: &Entry| due_of(entry).is_some_and(|due| due <= now);
        let due: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(&number, _)| number).collect();
        let mut came = Vec::new();
        for number in due {
            match self.entries.get(&number) {
                Some(&Entry::Coming { heading, .. }) => {
                    self.drop_entry(number, account);
                    let is_late = heading.is_some_and(|asks| asks.until <= now);
                    came.push((number, if is_late { Due::Late } else { Due::Stalled }));
                }
                Some(&Entry::Running { incoming, .. }) => {
                    self.forget(number, account);
                    came.push((number, Due::Forgotten(Some(incoming))));
                }
                Some(Entry::Answered(_)) => {
                    self.forget(number, account);
                    came.push((number, Due::Forgotten(None)));
                }
                Some(Entry::Refused { .. }) => {
                    self.drop_entry(number, account);
                }
                Some(Entry::Forgotten) | None => {}
            }
        }
        self.due = self.entries.values().filter_map(due_of).min();
        came
    }

    /// What became of a query that was taken is not remembered any more, and that is to be said.
    pub(super) fn forget(&mut self, number: u64, account: &mut Account<'_>) {
        self.drop_entry(number, account);
        self.numbers.forget(number);
        self.put(number, Entry::Forgotten, account);
    }

    /// Everything ends. Gives back the handlers that work at something.
    pub(super) fn end(&mut self, account: &mut Account<'_>) -> Vec<Key> {
        let numbers: Vec<u64> = self.entries.keys().copied().collect();
        numbers.into_iter().filter_map(|number| self.drop_entry(number, account)).collect()
    }

    /// Forgets an entry and gives back what it was charged with. Gives back its handler.
    fn drop_entry(&mut self, number: u64, account: &mut Account<'_>) -> Option<Key> {
        match self.remove(number, account)? {
            Entry::Coming { assembly, .. } => account.release_assembly(assembly.total()),
            Entry::Running { incoming, .. } => {
                account.release_incoming();
                return Some(incoming);
            }
            Entry::Answered(answered) => {
                account.release_reply(answered.charged);
                if answered.counts_as_long {
                    account.release_long();
                }
            }
            Entry::Refused { .. } | Entry::Forgotten => {}
        }
        None
    }

    fn remove(&mut self, number: u64, account: &mut Account<'_>) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        match entry {
            Entry::Refused { .. } => self.refusals -= 1,
            _ => account.release_entry(),
        }
        Some(entry)
    }

    fn put(&mut self, number: u64, entry: Entry, account: &mut Account<'_>) {
        if let Some(due) = due_of(&entry) {
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
        match entry {
            Entry::Refused { .. } => self.refusals += 1,
            _ => account.charge_entry(),
        }
        let before = self.entries.insert(number, entry);
        debug_assert!(before.is_none(), "a number has one entry");
    }

    /// What it is charged with: assembly bytes, reply bytes, incoming queries, long messages, entries.
    pub(super) fn charged(&self) -> [usize; 5] {
        let mut charged = [0; 5];
        for entry in self.entries.values() {
            match entry {
                Entry::Coming { assembly, .. } => charged[0] += assembly.total(),
                Entry::Running { .. } => charged[2] += 1,
                Entry::Answered(answered) => {
                    charged[1] += answered.charged;
                    charged[3] += usize::from(answered.counts_as_long);
                }
                Entry::Refused { .. } | Entry::Forgotten => {}
            }
        }
        charged[4] = self.entries.len() - self.refusals;
        charged
    }

    pub(super) fn check(&self) {
        for (&number, entry) in &self.entries {
            let fits: &[Number] = match entry {
                Entry::Coming { .. } => &[Number::Free],
                Entry::Running { .. } | Entry::Answered(_) => &[Number::Taken],
                Entry::Forgotten => &[Number::Forgotten],
                Entry::Refused { .. } => &[Number::Refused],
            };
            let state = self.numbers.state(number);
            debug_assert!(state == Number::Below || fits.contains(&state), "{entry:?} of a number that is {state:?}");
            let due = due_of(entry);
            debug_assert!(
                due.is_none() || self.due.is_some_and(|at| Some(at) <= due),
                "every entry is looked at in time"
            );
        }
        let refusals = self.entries.values().filter(|entry| matches!(entry, Entry::Refused { .. })).count();
        debug_assert_eq!(self.refusals, refusals);
    }
}

impl Answered {
    /// It does not fit, if it is an answer that could be shorter: what the peer may have of it is overruled by that.
    fn shorten(&mut self, account: &mut Account<'_>) -> bool {
        if self.code != ReplyCode::Answer || self.outgoing.message().body.is_empty() {
            return false;
        }
        let Message { kind, recipient, nonce, reference, ref type_name, .. } = *self.outgoing.message();
        let message = Message { kind, recipient, nonce, reference, type_name: type_name.clone(), body: Vec::new() };
        account.release_reply(self.charged);
        self.charged = if account.charge_reply(message.len()) { message.len() } else { 0 };
        if core::mem::take(&mut self.counts_as_long) {
            account.release_long();
        }
        self.code = ReplyCode::ReplyTooLong;
        self.outgoing = Outgoing::new(message);
        true
    }
}

/// What has become due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// A message has stopped coming.
    Stalled,
    /// Its time has passed before a message was whole.
    Late,
    /// What became of a query that was taken is forgotten, and a handler may work for nothing.
    Forgotten(Option<Key>),
}

fn due_of(entry: &Entry) -> Option<Instant> {
    match entry {
        Entry::Coming { heading, progress, .. } => {
            let stalled = *progress + STALLED;
            Some(heading.map_or(stalled, |asks| asks.until.min(stalled)))
        }
        Entry::Running { until, .. } | Entry::Refused { until, .. } => Some(*until),
        Entry::Answered(answered) => Some(answered.until),
        Entry::Forgotten => None,
    }
}
