//! What a limit excuses, once it can have been reached, and nothing more.
//!
//! What a node holds does not show, so each thing counts for as long as it may be there: a query until it has its verdict, or at its
//! recipient until the handler has spoken; a long message until it is whole; a reply until the asker has it.

use std::time::Duration;

use egtp::{DEFAULT_HARD_TIMEOUT, Executed, Failure, Instant, Limits, PeerRefusal, Reason, Refusal, Stage};

use super::life::Life;
use super::model::Model;
use super::notices;
use super::recovery::back;
use crate::NodeIndex;
use crate::storm::Violation;
use crate::transcript::Ending;

/// A longer message may go in parts, and waits at its recipient until it is whole: not even one record's worth fits the first record.
const PART: usize = 3_900;

/// What an incomplete message is charged with besides its bytes.
const AROUND_PARTS: usize = 256;

/// A reply is remembered until it is acknowledged, which may take so long after its asker has it, unless something is wrong.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// Whoever is told that there is no room pauses so long at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(4_500);

impl Model {
    /// A node refuses to ask what it was told to: gives back how that ends.
    pub(super) fn refuses_to_ask(&mut self, at: Instant, query: usize, refusal: Refusal) -> Ending {
        self.waiting.remove(&query);
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if let Some(wrong) = self.wrong_refusal(at, from, to, life.message(), refusal) {
            self.violate(at, query, &wrong);
        }
        let (reason, executed, stage) = (Reason::RefusedHere(refusal), Executed::No, Stage::Lookup);
        let ending = Ending::Failed(Failure { reason, executed, stage, tried: Vec::new() });
        self.lives[query].ending = Some((at, ending.clone()));
        ending
    }

    /// A node refuses to send a notice.
    pub(super) fn refuses_to_notify(&mut self, at: Instant, notice: usize, refusal: Refusal) {
        if let Some((from, to)) = self.notices.refused(notice)
            && let Some(wrong) = self.wrong_refusal(at, from, to, notices::MESSAGE, refusal)
        {
            self.violations.push(Violation { at, what: format!("notice {notice} {wrong}") });
        }
    }

    /// What is wrong with a refusal of a node's own: nothing, if what it has asked and whom it has met can have reached a limit.
    fn wrong_refusal(
        &self,
        at: Instant,
        from: NodeIndex,
        to: NodeIndex,
        message: usize,
        refusal: Refusal,
    ) -> Option<String> {
        let limits = &self.nodes[&from].limits;
        let (queries, bytes) = self.outstanding_of(at, from);
        let met = self.reach.others_met(from, to);
        let is_due = match refusal {
            Refusal::TooManyQueries => queries >= limits.queries,
            Refusal::TooManyQueryBytes => bytes + message > limits.query_bytes,
            Refusal::TooManyPeers => from != to && met >= limits.peers,
            _ => false,
        };
        let most = format!("{queries} queries of {bytes} bytes wait at most, and it has met {met} other peers");
        (!is_due).then(|| format!("is refused at {at} by its own node, {refusal}: {most}"))
    }

    /// How many queries and notices of a node's may have no verdict, and how many bytes they have.
    fn outstanding_of(&self, at: Instant, node: NodeIndex) -> (usize, usize) {
        let queries = self.waiting.iter().map(|&query| &self.lives[query]);
        let messages = queries.filter(|life| life.question.from == node).map(Life::message);
        let notices = self.notices.sent_by(node).filter(|&(to, sent, heard)| {
            let given_up = at > sent + self.at_most(node, DEFAULT_HARD_TIMEOUT) && self.clocks_go_right(node, node);
            let known = heard.and_then(|heard| self.through_by(to, node, heard));
            !given_up && known.is_none_or(|known| known >= at)
        });
        messages.chain(notices.map(|_| notices::MESSAGE)).fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// Which limit that may have been reached can have led to this verdict, and since when.
    pub(super) fn limit_reached(&self, life: &Life, reason: Reason) -> Option<(Instant, String)> {
        let (from, to) = (life.question.from, life.question.to);
        let (here, there) = (&self.nodes[&from].limits, &self.nodes[&to].limits);
        let way = self.pace.least();
        // Who is told that there is no room goes on asking, and is told so at the end.
        let deadline = self.window(from, life.hard).earliest;
        match reason {
            Reason::RefusedByPeer(PeerRefusal::Busy) => {
                let why = format!("it takes {} queries", there.incoming);
                let since = if life.is_to_itself() { life.asked } else { deadline };
                self.may_be_busy(life).then_some((since, why))
            }
            _ if life.is_to_itself() => None,
            Reason::RefusedByPeer(PeerRefusal::BusyWithYou) => {
                let why = format!("it takes {} from one peer", there.incoming_per_peer);
                self.may_be_busy_with_asker(life).then_some((deadline, why))
            }
            Reason::RefusedByPeer(PeerRefusal::NoMemory) => {
                let lacks = life.message() > PART && self.may_lack_memory(to, from, life.asked);
                lacks.then(|| (deadline, "it has little memory for parts".to_owned()))
            }
            Reason::RefusedByPeer(PeerRefusal::ReplyTooLong) => {
                let answered = life.replied()?;
                let why = "it has little memory for replies".to_owned();
                self.may_lack_memory_for_reply(life, answered).then_some((answered + way, why))
            }
            Reason::RefusedHere(Refusal::NoMemoryForReply) => {
                let answered = life.replied()?;
                let lacks = life.reply_message() > PART && self.may_lack_memory(from, to, answered);
                lacks.then(|| (answered + way, "its asker has little memory for parts".to_owned()))
            }
            Reason::RefusedHere(Refusal::TooManyConnections) => {
                let why = || (life.asked, format!("it has {} connections", here.connections));
                self.is_few(here.connections).then(why)
            }
            Reason::RefusedHere(Refusal::TooManySessions) => {
                let why = || (life.asked, format!("it has {} sessions", here.sessions));
                self.is_few(here.sessions).then(why)
            }
            Reason::LostByPeer => self.may_give_sessions_up(life).map(|why| (life.asked, why)),
            _ => None,
        }
    }

    /// Why one of two nodes may have given a session up for another, in which something was under way. One that is only on offer makes
    /// room for others at any time; a session without a path does so after thirty seconds.
    fn may_give_sessions_up(&self, life: &Life) -> Option<String> {
        let (from, to) = (life.question.from, life.question.to);
        if let Some(node) = [from, to].into_iter().find(|&node| self.clock(node).was_stepped()) {
            return Some(format!("the clock of node {} has jumped, perhaps past the life of a session", node.number()));
        }
        let few = [from, to].into_iter().find(|node| {
            let Limits { sessions, tentative_sessions, peers, .. } = self.nodes[node].limits;
            self.is_few(sessions) || self.is_few(tentative_sessions) || peers < self.nodes.len() + 1
        });
        few.map(|node| format!("node {} has few places for sessions", node.number()))
    }

    /// Whether one of two nodes may have no place for the other, or no time for its handshake.
    pub(super) fn may_shut_out(&self, one: NodeIndex, other: NodeIndex) -> bool {
        let count = self.nodes.len();
        one != other && [one, other].into_iter().any(|node| is_cramped(&self.nodes[&node].limits, count))
    }

    /// Whether a node may have no place for all sessions that it offers.
    pub(super) fn has_few_places_for_handshakes(&self, node: NodeIndex) -> bool {
        let limits = &self.nodes[&node].limits;
        self.is_few(limits.tentative_sessions) || self.is_few(limits.sessions)
    }

    /// Whether what one node asks of another may be refused for lack of room, so that it has to be asked again.
    pub(super) fn may_lack_room(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let long = life.message() > PART && self.may_lack_memory(to, from, life.asked);
        long || self.is_crowded(from, to, 0)
    }

    /// When a node may have had no room last for what another asks, and the other may have paused for that.
    pub(super) fn was_crowded(&self, from: NodeIndex, to: NodeIndex) -> Instant {
        let crowded = self.crowded.get(&(from, to)).copied();
        crowded.map_or(Instant::ZERO, |at| at + self.at_most(from, LONGEST_PAUSE))
    }

    /// Whether what one node waits for from another, or left behind there, and so much `more`, does not find room there.
    pub(super) fn is_crowded(&self, from: NodeIndex, to: NodeIndex, more: usize) -> bool {
        let Limits { incoming, incoming_per_peer, .. } = self.nodes[&to].limits;
        let (mut all, mut of_asker) = (self.taken_by_adversary(to) + more, more);
        for &query in self.waiting.union(&self.handled) {
            let question = &self.lives[query].question;
            if question.to == to {
                all += 1;
                of_asker += usize::from(question.from == from);
            }
        }
        all > incoming || from != to && of_asker > incoming_per_peer
    }

    /// Whether so many are too few to talk to all neighbours at once.
    fn is_few(&self, limit: usize) -> bool {
        is_few(limit, self.nodes.len())
    }

    /// Whether all places for queries may have been taken at some time since one was asked.
    fn may_be_busy(&self, life: &Life) -> bool {
        let to = life.question.to;
        let limit = self.nodes[&to].limits.incoming;
        let others = self.others(life).filter(|other| other.question.to == to && other.may_be_taken(life.asked));
        others.take(limit).count() + self.taken_by_adversary(to) >= limit
    }

    /// Whether all that one peer may have were.
    fn may_be_busy_with_asker(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let limit = self.nodes[&to].limits.incoming_per_peer;
        let between = |other: &&Life| (other.question.from, other.question.to) == (from, to);
        // What comes in parts has its place from the first one on.
        let may_wait =
            |other: &&Life| other.may_be_taken(life.asked) || (other.arrived.is_none() && other.message() > PART);
        from != to && self.others(life).filter(between).filter(may_wait).take(limit).count() >= limit
    }

    /// Whether messages from a peer that came in parts, or all such messages, may have filled a node's memory for them since then.
    fn may_lack_memory(&self, node: NodeIndex, peer: NodeIndex, since: Instant) -> bool {
        let Limits { assembly_bytes, assembly_bytes_per_peer, .. } = self.nodes[&node].limits;
        let (mut all, mut of_peer) = (0, 0);
        for life in &self.lives {
            let (from, to) = (life.question.from, life.question.to);
            let query = to == node && life.arrived.is_none_or(|arrived| arrived >= since);
            let reply = from == node && life.replied().is_some() && !life.was_told_before(since);
            for (other, message) in [(from, query.then(|| life.message())), (to, reply.then(|| life.reply_message()))] {
                let bytes = message.filter(|&bytes| bytes > PART && from != to).map_or(0, |bytes| bytes + AROUND_PARTS);
                all += bytes;
                of_peer += if other == peer { bytes } else { 0 };
            }
        }
        all > assembly_bytes || of_peer > assembly_bytes_per_peer || self.taken_by_adversary(node) > 0
    }

    /// Whether replies that may have waited at a node when it answered left no room for this one. Nobody may have more than is left
    /// for others.
    pub(super) fn may_lack_memory_for_reply(&self, life: &Life, answered: Instant) -> bool {
        let (asker, node) = (life.question.from, life.question.to);
        let Limits { reply_bytes, reply_bytes_per_peer, .. } = self.nodes[&node].limits;
        let (mut all, mut of_asker) = (0, 0);
        let since = back(answered, ACKNOWLEDGED);
        let waits = |other: &&Life| {
            let said = other.answer.is_some_and(|(said, _)| said <= answered);
            let gone = other.recipient_gone.is_some_and(|gone| gone <= answered);
            let peer = other.question.from;
            let troubled = self.faults.between(node, peer).any(|fault| fault.is_within(since, answered));
            // The word that it was told waits behind what else goes between the two.
            let busy = self.pace.busy_during(node, peer, since, ACKNOWLEDGED);
            let told = other.was_told_before(back(since, busy)) && !troubled;
            said && other.question.to == node && !other.is_to_itself() && !gone && !told
        };
        for other in self.others(life).filter(waits) {
            all += other.reply_message();
            of_asker += if other.question.from == asker { other.reply_message() } else { 0 };
        }
        let of_asker = of_asker + life.reply_message();
        let all = all + life.reply_message();
        let is_first = of_asker == life.reply_message();
        of_asker > reply_bytes_per_peer
            || all > reply_bytes
            || !is_first && of_asker + all > reply_bytes
            || self.taken_by_adversary(node) > 0
    }

    fn others<'a>(&'a self, life: &'a Life) -> impl Iterator<Item = &'a Life> {
        self.lives.iter().filter(move |&other| !std::ptr::eq(other, life))
    }
}

/// Whether a node may be unable to talk to all its neighbours at once. An adversary has two names.
pub(super) fn is_cramped(limits: &Limits, nodes: usize) -> bool {
    let counts = [limits.connections, limits.unauthenticated_connections, limits.tentative_sessions, limits.sessions];
    let few_handshakes = usize::try_from(limits.handshakes_per_second).is_ok_and(|limit| limit < 4 * neighbours(nodes));
    counts.into_iter().any(|count| is_few(count, nodes)) || limits.peers < nodes + 1 || few_handshakes
}

fn is_few(limit: usize, nodes: usize) -> bool {
    limit < 2 * neighbours(nodes)
}

fn neighbours(nodes: usize) -> usize {
    nodes.min(41)
}
