//! What a node has said in a session, held against the rules (sections 10, 11 and 13 of `core/PROTOCOL.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use super::words::{Kind, Words};
use crate::Line;
use crate::second::ack::named;
use crate::second::frame::{Frame, OF_QUERY, OF_REPLY, Run};
use crate::second::ledger::{Ledger, WINDOW};

/// So many records, messages and numbers of a session are remembered.
pub(super) const MEMORY: usize = 4096;

/// Something that a node has said and that no rule explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finding {
    pub(super) what: String,
    /// Unless this connection turns out to be gone: news of that may be slower than what is said for it over another one.
    pub(super) unless_gone: Option<Line>,
}

/// A record that was opened, with what else has to be known of its session.
#[derive(Debug)]
pub(super) struct Opened<'a> {
    pub(super) line: Line,
    pub(super) counter: u64,
    pub(super) frames: &'a [Frame],
    /// What this end has said itself.
    pub(super) ledger: &'a Ledger,
    /// The connections that are open.
    pub(super) open: &'a BTreeSet<Line>,
}

#[derive(Debug, Default)]
pub(super) struct Said {
    records: BTreeMap<u64, Record>,
    /// In the order in which they came.
    next_order: u64,
    /// The counters that ask for an acknowledgement and were given none.
    unacknowledged: BTreeSet<u64>,
    /// What was said, where in a message, in which record.
    stretches: BTreeMap<(u64, Kind), Vec<Stretch>>,
    /// What this end asks, and what the node has said of it.
    pub(super) words: Words,
    /// The node's ACK in its latest record.
    latest_ack: Option<(u64, Vec<RangeInclusive<u64>>)>,
    /// How many ACKs the node has sent, and how many records of this end have asked for one.
    acks: usize,
    asked: usize,
    /// Where this end has asked for one, the latest last.
    asked_over: Vec<Line>,
    /// Numbers of the node's of which something was acknowledged, or which are settled.
    settled: BTreeSet<u64>,
    /// Numbers of the node's that it does not wait for any more, and in which record it has said so.
    cancelled: BTreeMap<u64, u64>,
}

/// Where in a message something lies, and in which record it came.
type Stretch = (Range<u64>, u64);

#[derive(Debug)]
struct Record {
    line: Line,
    order: u64,
    /// The numbers of queries that it brings something of.
    queries: Vec<u64>,
    /// It asks for an acknowledgement, and not by PING alone.
    carries: bool,
    /// An ACK has named a later record of its line, and not this one.
    passed_over: bool,
}

impl Said {
    pub(super) fn with(words: Words) -> Self {
        Self { words, ..Self::default() }
    }

    /// This end says something over a connection.
    pub(super) fn say(&mut self, line: Line, frames: &[Frame]) {
        if frames.iter().any(Frame::asks_for_ack) {
            self.asked += 1;
            self.asked_over.retain(|&other| other != line);
            self.asked_over.push(line);
        }
        for frame in frames {
            match frame {
                Frame::Ack { largest, runs, .. } => self.acknowledge(*largest, runs),
                Frame::Reply { number, .. } | Frame::Refuse { number, .. } => self.settle(*number),
                frame => self.words.ask(frame),
            }
        }
    }

    /// What was sealed in this session before goes over a connection again, and perhaps is opened only now.
    pub(super) fn replay(&mut self, line: Line) {
        if !self.asked_over.contains(&line) {
            self.asked_over.insert(0, line);
        }
    }

    /// A query of the node's needs no acknowledgement any more.
    fn settle(&mut self, number: u64) {
        self.settled.insert(number);
        if self.settled.len() > MEMORY {
            self.settled.pop_first();
        }
    }

    fn acknowledge(&mut self, largest: u64, runs: &[Run]) {
        let mut latest: BTreeMap<Line, u64> = BTreeMap::new();
        for range in named(largest, runs).unwrap_or_default() {
            let new: Vec<u64> = self.unacknowledged.range(range).copied().collect();
            for counter in new {
                self.unacknowledged.remove(&counter);
                let Some(record) = self.records.get(&counter) else { continue };
                let order = latest.entry(record.line).or_default();
                *order = record.order.max(*order);
                for number in record.queries.clone() {
                    self.settle(number);
                }
            }
        }
        for counter in &self.unacknowledged {
            if let Some(record) = self.records.get_mut(counter)
                && latest.get(&record.line).is_some_and(|&order| record.order < order)
            {
                record.passed_over = true;
            }
        }
    }

    /// The node has said something. Gives what is wrong with it.
    pub(super) fn hear(&mut self, opened: &Opened<'_>) -> Vec<Finding> {
        self.asked_over.retain(|line| opened.open.contains(line));
        let mut wrong = Vec::new();
        wrong.extend(self.beyond_limit(opened));
        self.remember(opened);
        for frame in opened.frames {
            match frame {
                Frame::Query { number, part, .. } => {
                    wrong.extend(self.beyond_numbers(*number));
                    wrong.extend(self.part(opened, Kind::Query, *number, 0, part));
                }
                Frame::Piece { of: OF_QUERY, number, offset, part, .. } => {
                    wrong.extend(self.part(opened, Kind::Query, *number, *offset, part));
                }
                Frame::Reply { number, code, part, .. } => {
                    wrong.extend(self.part(opened, Kind::of_reply(*code), *number, 0, part));
                }
                Frame::Piece { of: OF_REPLY, number, offset, part, .. } => {
                    wrong.extend(self.part(opened, Kind::Reply, *number, *offset, part));
                }
                Frame::Refuse { number, .. } => wrong.extend(self.part(opened, Kind::Refusal, *number, 0, &[])),
                Frame::Cancel { number } => {
                    wrong.extend(self.part(opened, Kind::Cancellation, *number, 0, &[]));
                    wrong.extend(self.cancel(opened.counter, *number));
                }
                Frame::Ack { largest, runs, .. } => wrong.extend(self.ack(opened, *largest, runs)),
                Frame::Piece { .. } | Frame::Ping | Frame::Break { .. } => {}
            }
            wrong.extend(self.words.hear(opened.counter, frame).into_iter().map(Finding::certain));
        }
        wrong.extend(self.out_of_the_way(opened));
        wrong
    }

    fn remember(&mut self, opened: &Opened<'_>) {
        let queries = opened.frames.iter().filter_map(|frame| match frame {
            Frame::Query { number, .. } | Frame::Piece { of: OF_QUERY, number, .. } => Some(*number),
            _ => None,
        });
        let (line, order, carries) = (opened.line, self.next_order, carries(opened.frames));
        self.next_order += 1;
        let record = Record { line, order, queries: queries.collect(), carries, passed_over: false };
        self.records.insert(opened.counter, record);
        if opened.frames.iter().any(Frame::asks_for_ack) {
            self.unacknowledged.insert(opened.counter);
        }
        if self.records.len() > MEMORY
            && let Some((counter, _)) = self.records.pop_first()
        {
            self.unacknowledged.remove(&counter);
        }
    }

    /// The connection of a record that has not been lost, as far as is known. What is forgotten may have been.
    fn living(&self, counter: u64, open: &BTreeSet<Line>) -> Option<Line> {
        let record = self.records.get(&counter)?;
        (!record.passed_over && open.contains(&record.line)).then_some(record.line)
    }

    /// Nothing is sealed 1,024 or more above the lowest record that is neither acknowledged nor lost.
    fn beyond_limit(&self, opened: &Opened<'_>) -> Option<Finding> {
        if !carries(opened.frames) {
            return None;
        }
        let counts = |counter: &&u64| self.records.get(counter).is_some_and(|record| record.carries);
        let mut waiting = self.unacknowledged.iter().filter(counts);
        let (lowest, line) = waiting.find_map(|&counter| Some((counter, self.living(counter, opened.open)?)))?;
        let what = format!("seals record {} while {lowest} is not acknowledged", opened.counter);
        (opened.counter >= lowest + WINDOW).then_some(Finding { what, unless_gone: Some(line) })
    }

    /// No number is used 1,024 or more above the lowest one of which nothing is acknowledged and that is not settled.
    fn beyond_numbers(&self, number: u64) -> Option<Finding> {
        let records = self.unacknowledged.iter().filter_map(|counter| self.records.get(counter));
        let numbers = records.flat_map(|record| record.queries.iter().copied());
        let lowest = numbers.filter(|other| !self.settled.contains(other)).min()?;
        let what = format!("uses number {number} while nothing of {lowest} is acknowledged");
        (number >= lowest.saturating_add(WINDOW)).then(|| Finding::certain(what))
    }

    /// Nothing is said twice, but what was lost; and nothing more of a query that nobody waits for.
    fn part(&mut self, opened: &Opened<'_>, kind: Kind, number: u64, offset: u32, part: &[u8]) -> Vec<Finding> {
        let from = u64::from(offset);
        // What has no length is said as well.
        let place = from..from + (part.len() as u64).max(1);
        let mut wrong = Vec::new();
        if kind == Kind::Query && self.cancelled.get(&number).is_some_and(|&counter| counter < opened.counter) {
            wrong.push(Finding::certain(format!("goes on with query {number}, which it has cancelled")));
        }
        let before = self.stretches.entry((number, kind)).or_default();
        let touches = |(other, counter): &&Stretch| {
            *counter != opened.counter && other.start < place.end && place.start < other.end
        };
        let before_it: Vec<u64> = before.iter().filter(touches).map(|(_, counter)| *counter).collect();
        before.push((place.clone(), opened.counter));
        let said = before.len();
        if self.stretches.len() > MEMORY {
            self.stretches.pop_first();
        }
        // What this end has asked for again may be said again.
        let may_repeat = matches!(kind, Kind::Refusal | Kind::Forgotten) && said <= self.words.times(number);
        let first = |counter: u64| self.living(counter.min(opened.counter), opened.open);
        if let Some(line) = before_it.into_iter().find_map(first)
            && !may_repeat
        {
            let what = format!("says {kind:?} of number {number} twice, and the first time was not lost");
            wrong.push(Finding { what, unless_gone: Some(line) });
        }
        wrong
    }

    fn cancel(&mut self, counter: u64, number: u64) -> Option<Finding> {
        self.settle(number);
        self.cancelled.entry(number).or_insert(counter);
        if self.cancelled.len() > MEMORY {
            self.cancelled.pop_first();
        }
        let parts = self.stretches.get(&(number, Kind::Query))?;
        let later = parts.iter().any(|&(_, other)| other > counter);
        later.then(|| Finding::certain(format!("goes on with query {number}, which it has cancelled")))
    }

    /// An ACK names what was sent, in the window, and nothing that it has named before is missing from it.
    fn ack(&mut self, opened: &Opened<'_>, largest: u64, runs: &[Run]) -> Vec<Finding> {
        let mut wrong = Vec::new();
        let ranges = named(largest, runs).unwrap_or_default();
        let unsealed = ranges.iter().find_map(|range| opened.ledger.first_unsealed(range.clone()));
        wrong.extend(unsealed.map(|counter| format!("acknowledges record {counter}, which it was never sent")));
        if ranges.last().is_some_and(|lowest| largest - lowest.start() >= WINDOW) {
            wrong.push(format!("acknowledges what lies below the window of {largest}"));
        }
        self.acks += 1;
        if self.acks > self.asked {
            wrong.push(format!("acknowledges {} times what asked for it {} times", self.acks, self.asked));
        }
        if let Some((counter, latest)) = &self.latest_ack {
            let (older, newer) = if *counter < opened.counter { (latest, &ranges) } else { (&ranges, latest) };
            wrong.extend(taken_back(older, newer));
        }
        if self.latest_ack.as_ref().is_none_or(|(counter, _)| *counter < opened.counter) {
            self.latest_ack = Some((opened.counter, ranges));
        }
        wrong.into_iter().map(Finding::certain).collect()
    }

    /// A record with nothing but an ACK goes over a connection by which one was asked for.
    fn out_of_the_way(&self, opened: &Opened<'_>) -> Option<Finding> {
        let [Frame::Ack { .. }] = opened.frames else { return None };
        let latest = self.asked_over.last()?;
        let what = "sends an ACK alone over a connection by which nobody has asked for one".to_owned();
        (!self.asked_over.contains(&opened.line)).then_some(Finding { what, unless_gone: Some(*latest) })
    }
}

impl Finding {
    fn certain(what: String) -> Self {
        Self { what, unless_gone: None }
    }
}

/// Whether there is anything in a record, besides PING, that asks for an acknowledgement.
fn carries(frames: &[Frame]) -> bool {
    frames.iter().any(|frame| frame.asks_for_ack() && *frame != Frame::Ping)
}

/// What an earlier ACK has named and a later one says is missing.
fn taken_back(older: &[RangeInclusive<u64>], newer: &[RangeInclusive<u64>]) -> Option<String> {
    let (before, now) = (older.first()?.end(), newer.first()?.end());
    if now < before {
        return Some(format!("acknowledges {before}, and later {now} as the largest"));
    }
    let gaps = newer.windows(2).map(|pair| pair[1].end() + 1..*pair[0].start());
    let in_window = gaps.map(|gap| gap.start.max(now.saturating_sub(WINDOW - 1))..gap.end);
    let taken_back = |gap: Range<u64>| older.iter().any(|range| *range.start() < gap.end && gap.start <= *range.end());
    let missing = in_window.filter(|gap| !gap.is_empty()).find(|gap| taken_back(gap.clone()))?;
    Some(format!("takes back that it has opened something of {missing:?}"))
}

#[cfg(test)]
mod tests;
