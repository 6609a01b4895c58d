//! The recipient's end of a session: what became of each of the peer's numbers, and what is still to be said of it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use super::assembly::Assembly;
use super::numbers::{Number, NumberWindow};
use super::outgoing::Outgoing;
use super::ranges::Range;
use super::window::WIDTH;
use crate::admission::Account;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};

/// A message of which no part has come for so long is refused.
const STALLED: Duration = Duration::from_secs(30);

/// What is remembered of one number besides what became of it.
#[derive(Debug)]
pub(super) enum Entry {
    /// Its message is being put together.
    Coming { assembly: Assembly, heading: Option<Asks>, progress: Instant },
    /// A handler works at it.
    Running { incoming: Key, until: Instant },
    /// Its reply goes until it is acknowledged.
    Answered(Answered),
    /// Its refusal goes until it is acknowledged.
    Refused { code: RefuseCode, wait: u16, until: Instant },
    /// It was taken, and what became of it is forgotten: that goes until it is acknowledged.
    Forgotten { until: Instant },
}

/// What a QUERY says beside its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Asks {
    pub(super) notice: bool,
    pub(super) until: Instant,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) code: ReplyCode,
    pub(super) outgoing: Outgoing,
    /// How many bytes of memory it is charged with.
    pub(super) charged: usize,
    pub(super) until: Instant,
    /// Whether it is counted among the long messages under way.
    pub(super) counts_as_long: bool,
}

#[derive(Debug)]
pub(super) struct Answering {
    numbers: NumberWindow,
    entries: BTreeMap<u64, Entry>,
    /// Nothing is due before this.
    due: Option<Instant>,
}

impl Answering {
    pub(super) fn new() -> Self {
        Self { numbers: NumberWindow::new(), entries: BTreeMap::new(), due: None }
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

    /// Whether a handler works at something, or a reply is remembered.
    pub(super) fn owes(&self) -> bool {
        self.entries.values().any(|entry| !matches!(entry, Entry::Coming { .. }))
    }

    /// Begins to put a message together.
    pub(super) fn begin(&mut self, number: u64, total: usize, now: Instant) {
        self.put(number, Entry::Coming { assembly: Assembly::new(total), heading: None, progress: now });
    }

    /// A part of a message has come.
    pub(super) fn progressed(&mut self, number: u64, now: Instant) {
        if let Some(Entry::Coming { progress, .. }) = self.entries.get_mut(&number) {
            *progress = now;
        }
    }

    /// The message is whole: takes it out. Its number is free until it is taken or refused.
    pub(super) fn take_whole(&mut self, number: u64, account: &mut Account<'_>) -> Option<(Assembly, Asks)> {
        match self.entries.remove(&number)? {
            Entry::Coming { assembly, heading: Some(asks), .. } => {
                account.release_assembly(assembly.total());
                Some((assembly, asks))
            }
            other => {
                self.entries.insert(number, other);
                None
            }
        }
    }

    /// The number is taken, for ever, and its query goes to a handler.
    pub(super) fn take(&mut self, number: u64, incoming: Key, until: Instant, account: &mut Account<'_>) {
        debug_assert_eq!(self.numbers.state(number), Number::Free);
        self.numbers.take(number);
        account.charge_incoming();
        self.put(number, Entry::Running { incoming, until });
    }

    /// The number is taken, for ever, and its notice is told; nothing more is to be remembered.
    pub(super) fn take_notice(&mut self, number: u64) {
        debug_assert_eq!(self.numbers.state(number), Number::Free);
        self.numbers.take(number);
    }

    /// The number is refused, for ever unless a handler had it; that is to be said. Says whether there was room to remember it.
    pub(super) fn refuse(
        &mut self,
        number: u64,
        code: RefuseCode,
        wait: u16,
        until: Instant,
        account: &mut Account<'_>,
    ) -> bool {
        self.drop_entry(number, account);
        self.numbers.refuse(number);
        // An honest peer has no more numbers than the window is wide that are not acknowledged.
        let is_below = self.numbers.state(number) == Number::Below;
        if is_below && self.entries.len() >= 2 * usize::try_from(WIDTH).unwrap_or(usize::MAX) {
            return false;
        }
        self.put(number, Entry::Refused { code, wait, until });
        true
    }

    /// The handler has answered: what it was, and until when its asker waits.
    pub(super) fn finish(&mut self, number: u64, account: &mut Account<'_>) -> Option<Instant> {
        let Some(&Entry::Running { until, .. }) = self.entries.get(&number) else { return None };
        self.entries.remove(&number);
        account.release_incoming();
        Some(until)
    }

    /// The reply goes until it is acknowledged.
    pub(super) fn answer(&mut self, number: u64, answered: Answered) {
        self.put(number, Entry::Answered(answered));
    }

    /// The asker does not wait any more. Gives back the handler that works at it.
    pub(super) fn cancel(&mut self, number: u64, account: &mut Account<'_>) -> Option<Key> {
        let incoming = self.drop_entry(number, account);
        self.numbers.refuse(number);
        incoming
    }

    /// A part of a reply has arrived; once all has, nothing of it is remembered.
    pub(super) fn acknowledged(&mut self, number: u64, part: Range, account: &mut Account<'_>) {
        let Some(Entry::Answered(answered)) = self.entries.get_mut(&number) else { return };
        if answered.outgoing.acknowledged(part) {
            self.drop_entry(number, account);
        }
    }

    /// The peer has heard the refusal, or that its query is forgotten.
    pub(super) fn word_acknowledged(&mut self, number: u64) {
        if let Some(Entry::Refused { .. } | Entry::Forgotten { .. }) = self.entries.get(&number) {
            self.entries.remove(&number);
        }
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
        let is_due = |entry: &Entry| due_of(entry) <= now;
        let due: Vec<u64> = self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(&number, _)| number).collect();
        let mut came = Vec::new();
        for number in due {
            match self.entries.get(&number) {
                Some(Entry::Coming { .. }) => came.push((number, Due::Stalled)),
                Some(&Entry::Running { incoming, .. }) => {
                    self.forget(number, now, account);
                    came.push((number, Due::Withdrawn(incoming)));
                }
                Some(Entry::Answered(_)) => {
                    self.forget(number, now, account);
                    came.push((number, Due::Forgotten));
                }
                Some(Entry::Refused { .. } | Entry::Forgotten { .. }) => {
                    self.entries.remove(&number);
                }
                None => {}
            }
        }
        self.due = self.entries.values().map(due_of).min();
        came
    }

    /// What became of a query that was taken is not remembered any more, and that is to be said.
    pub(super) fn forget(&mut self, number: u64, now: Instant, account: &mut Account<'_>) {
        self.drop_entry(number, account);
        self.put(number, Entry::Forgotten { until: now + super::LATEST_UNTIL });
    }

    /// Everything ends. Gives back the handlers that work at something.
    pub(super) fn end(&mut self, account: &mut Account<'_>) -> Vec<Key> {
        let numbers: Vec<u64> = self.entries.keys().copied().collect();
        numbers.into_iter().filter_map(|number| self.drop_entry(number, account)).collect()
    }

    /// Forgets an entry and gives back what it was charged with. Gives back its handler.
    fn drop_entry(&mut self, number: u64, account: &mut Account<'_>) -> Option<Key> {
        match self.entries.remove(&number)? {
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
            Entry::Refused { .. } | Entry::Forgotten { .. } => {}
        }
        None
    }

    fn put(&mut self, number: u64, entry: Entry) {
        let due = due_of(&entry);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        self.entries.insert(number, entry);
    }

    /// What it is charged with: assembly bytes, reply bytes, incoming queries, long messages.
    pub(super) fn charged(&self) -> [usize; 4] {
        let mut charged = [0; 4];
        for entry in self.entries.values() {
            match entry {
                Entry::Coming { assembly, .. } => charged[0] += assembly.total(),
                Entry::Running { .. } => charged[2] += 1,
                Entry::Answered(answered) => {
                    charged[1] += answered.charged;
                    charged[3] += usize::from(answered.counts_as_long);
                }
                Entry::Refused { .. } | Entry::Forgotten { .. } => {}
            }
        }
        charged
    }

    pub(super) fn check(&self) {
        for (&number, entry) in &self.entries {
            let state = self.numbers.state(number);
            let fits = match entry {
                Entry::Coming { .. } => matches!(state, Number::Free | Number::Below),
                Entry::Running { .. } | Entry::Answered(_) | Entry::Forgotten { .. } => {
                    matches!(state, Number::Taken | Number::Below)
                }
                Entry::Refused { .. } => state != Number::Free,
            };
            debug_assert!(fits, "{entry:?} of a number that is {state:?}");
            debug_assert!(self.due.is_some_and(|due| due <= due_of(entry)), "every entry is looked at in time");
        }
    }
}

/// What has become due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// A message has stopped coming.
    Stalled,
    /// A handler works for nothing.
    Withdrawn(Key),
    /// A reply is not remembered any more.
    Forgotten,
}

fn due_of(entry: &Entry) -> Instant {
    match entry {
        Entry::Coming { progress, .. } => *progress + STALLED,
        Entry::Running { until, .. } | Entry::Refused { until, .. } | Entry::Forgotten { until } => *until,
        Entry::Answered(answered) => answered.until,
    }
}
