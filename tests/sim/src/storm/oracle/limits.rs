//! What a limit excuses, once it can have been reached, and nothing more.
//!
//! What a node holds does not show, so each thing counts for as long as it may be there: a query until it has its verdict, or at its
//! recipient until the handler has spoken; a long message until it is whole; a reply until the asker has it.

use std::time::Duration;

use egtp::{DEFAULT_HARD_TIMEOUT, Executed, Failure, Instant, Limits, PeerRefusal, Reason, Refusal, Stage};

use super::life::Life;
use super::model::Model;
use super::notices;
use crate::NodeIndex;
use crate::storm::Violation;
use crate::transcript::Ending;

/// A longer message goes in pieces, and waits at its recipient until it is whole.
const PIECE: usize = 16 * 1024;

/// What an incomplete message is charged with besides its bytes.
const AROUND_PIECES: usize = 256;

/// Sessions that are replaced this often are replaced all the time.
const OFTEN: Duration = Duration::from_secs(3600);

impl Model {
    /// A node refuses to ask what it was told to: gives back how that ends.
    pub(super) fn refuses_to_ask(&mut self, at: Instant, query: usize, refusal: Refusal) -> Ending {
        self.waiting.remove(query, self.lives[query].question);
        let life = &self.lives[query];
        let (from, to) = (life.question.from, life.question.to);
        if let Some(wrong) = self.wrong_refusal(at, from, to, life.message(), refusal) {
            self.violate(at, query, &wrong);
        }
        let (reason, executed, stage) = (Reason::RefusedHere(refusal), Executed::No, Stage::Lookup);
        let ending = Ending::Failed(Failure { reason, executed, stage });
        self.lives[query].ending = Some((at, ending));
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
        let met = self.reach.met(from).filter(|&met| met != to).count();
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
        let queries = self.waiting.iter().map(|query| &self.lives[query]);
        let messages = queries.filter(|life| life.question.from == node).map(Life::message);
        let notices = self.notices.sent_by(node).filter(|&(to, sent, heard)| {
            let given_up =
                at > sent + self.nodes[&node].at_most(DEFAULT_HARD_TIMEOUT) && self.clocks_go_right(node, node);
            let acknowledged = heard.and_then(|heard| self.said_by(to, node, heard));
            let waits = self.nodes[&to].at_most(self.nodes[&to].timers.acknowledge);
            !given_up && acknowledged.is_none_or(|by| by + waits >= at)
        });
        messages.chain(notices.map(|_| notices::MESSAGE)).fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
    }

    /// Since when a limit that may have been reached can have led to this verdict, and which limit.
    pub(super) fn limit_reached(&self, life: &Life, reason: Reason) -> Option<(Instant, String)> {
        let (from, to) = (life.question.from, life.question.to);
        let (here, there) = (&self.nodes[&from].limits, &self.nodes[&to].limits);
        let way = if life.is_to_itself() { Duration::ZERO } else { self.pace.least() };
        let there_and_back = life.asked + way * 2;
        match reason {
            Reason::RefusedByPeer(PeerRefusal::Busy) => {
                let why = format!("it takes {} queries", there.incoming);
                self.may_be_busy(life).then_some((there_and_back, why))
            }
            Reason::RefusedByPeer(PeerRefusal::BusyWithYou) => {
                let why = format!("it takes {} from one peer", there.incoming_per_peer);
                self.may_be_busy_with_asker(life).then_some((there_and_back, why))
            }
            _ if life.is_to_itself() => None,
            Reason::RefusedByPeer(PeerRefusal::NoMemory) => {
                let lacks = life.message() > PIECE && self.may_lack_memory(to, from, life.asked);
                lacks.then(|| (there_and_back, "it has little memory for pieces".to_owned()))
            }
            Reason::RefusedByPeer(PeerRefusal::ReplyTooLong) => {
                let answered = life.replied()?;
                let why = "it has little memory for replies".to_owned();
                self.may_lack_memory_for_reply(life, answered).then_some((answered + way, why))
            }
            Reason::RefusedHere(Refusal::TooManyQueryBytes) => {
                let answered = life.replied()?;
                let lacks = life.reply_message() > PIECE && self.may_lack_memory(from, to, answered);
                lacks.then(|| (answered + way, "its asker has little memory for pieces".to_owned()))
            }
            Reason::RefusedHere(Refusal::TooManyConnections) => {
                let why = || (life.asked, format!("it has {} connections", here.connections));
                self.is_few(here.connections).then(why)
            }
            Reason::RefusedHere(Refusal::TooManySessions) => {
                self.is_few(here.sessions).then(|| (life.asked, format!("it has {} sessions", here.sessions)))
            }
            _ => None,
        }
    }

    /// Whether one of two nodes may have no place for the other, or no time for its handshake, while so many nodes dial each at once.
    pub(super) fn may_shut_out(&self, one: NodeIndex, other: NodeIndex, at_once: usize) -> bool {
        let count = self.nodes.len();
        one != other
            && [one, other].into_iter().any(|node| {
                let limits = &self.nodes[&node].limits;
                let strangers = limits.unauthenticated_connections.min(limits.tentative_sessions);
                let shuts_out = has_few_peers(limits, count) || self.is_few(limits.sessions) || strangers < at_once;
                shuts_out || has_few_handshakes(limits, count)
            })
    }

    /// Whether a node may have no place for all sessions that it offers.
    pub(super) fn has_few_places_for_handshakes(&self, node: NodeIndex) -> bool {
        let limits = &self.nodes[&node].limits;
        self.is_few(limits.tentative_sessions) || self.is_few(limits.sessions)
    }

    /// Whether a node may have no place for a session that somebody has asked for, or replaces sessions so often that one may be under
    /// way at any time.
    pub(super) fn loses_sessions(&self, node: NodeIndex) -> bool {
        self.is_few(self.nodes[&node].limits.sessions) || self.replaces_sessions(node)
    }

    /// Whether it does, or somebody with whom it has sessions.
    pub(super) fn loses_sessions_around(&self, node: NodeIndex) -> bool {
        self.loses_sessions(node) || self.reach.met(node).any(|other| self.loses_sessions(other))
    }

    fn replaces_sessions(&self, node: NodeIndex) -> bool {
        self.nodes[&node].timers.session < OFTEN
    }

    /// How many nodes there are around a node, itself among them and the two names of an adversary.
    pub(super) fn around(&self, node: NodeIndex) -> usize {
        self.nodes.len().min(self.reach.met(node).count() + 3)
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

    /// Whether all that one peer may have were, and the peer not told how many that are. Whoever shakes hands is told, and keeps to it,
    /// but for what it has left behind.
    fn may_be_busy_with_asker(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let limit = self.nodes[&to].limits.incoming_per_peer;
        let between = |other: &&Life| (other.question.from, other.question.to) == (from, to);
        let shakes_hands = self.loses_sessions(to);
        let is_told = self.reach.last_dial(to, from).is_none() && !shakes_hands;
        let left_behind = || self.lives.iter().filter(between).any(|other| self.may_be_left(other));
        // Of one that was broken off half-way, and goes again, the peer may still wait for the rest.
        let broken_off = life.message() > PIECE && self.has_been_disturbed(from, to, life.asked);
        let may_wait =
            |other: &&Life| other.may_be_taken(life.asked) || (other.arrived.is_none() && other.message() > PIECE);
        let others = self.others(life).filter(between).filter(may_wait).take(limit).count();
        from != to && (!is_told || broken_off || left_behind()) && others + usize::from(broken_off) >= limit
    }

    /// Whether anything has been wrong between two nodes since then.
    fn has_been_disturbed(&self, from: NodeIndex, to: NodeIndex, since: Instant) -> bool {
        self.faults.between(from, to).any(|fault| fault.until.is_none_or(|until| until >= since))
    }

    /// Whether the recipient of a query may not have heard that nobody waits for it any more.
    fn may_be_left(&self, life: &Life) -> bool {
        let (from, to) = (life.question.from, life.question.to);
        let unheard = life.ending.is_some_and(|(ended, _)| self.has_been_disturbed(from, to, ended));
        life.may_wait_for_its_handler() && (life.asker_gone.is_some() || unheard)
    }

    /// Whether messages from a peer that came in pieces, or all such messages, may have filled a node's memory for them since then.
    fn may_lack_memory(&self, node: NodeIndex, peer: NodeIndex, since: Instant) -> bool {
        let Limits { assembly_bytes, assembly_bytes_per_peer, .. } = self.nodes[&node].limits;
        let (mut all, mut of_peer) = (0, 0);
        for life in &self.lives {
            let (from, to) = (life.question.from, life.question.to);
            let query = to == node && life.arrived.is_none_or(|arrived| arrived >= since);
            let reply = from == node && life.replied().is_some() && !life.was_told_before(since);
            for (other, message) in [(from, query.then(|| life.message())), (to, reply.then(|| life.reply_message()))] {
                let bytes =
                    message.filter(|&bytes| bytes > PIECE && from != to).map_or(0, |bytes| bytes + AROUND_PIECES);
                all += bytes;
                of_peer += if other == peer { bytes } else { 0 };
            }
        }
        all > assembly_bytes || of_peer > assembly_bytes_per_peer || self.taken_by_adversary(node) > 0
    }

    /// Whether replies that may have waited at a node when it answered left no room for this one. Nobody may have more than is left
    /// for others.
    fn may_lack_memory_for_reply(&self, life: &Life, answered: Instant) -> bool {
        let (asker, node) = (life.question.from, life.question.to);
        let Limits { reply_bytes, reply_bytes_per_peer, .. } = self.nodes[&node].limits;
        let (mut all, mut of_asker) = (0, 0);
        let waits = |other: &&Life| {
            let said = other.answer.is_some_and(|(said, _)| said <= answered);
            let gone = other.recipient_gone.is_some_and(|gone| gone <= answered);
            said && other.question.to == node && !other.is_to_itself() && !gone && !other.was_told_before(answered)
        };
        for other in self.others(life).filter(waits) {
            all += other.reply_message();
            of_asker += if other.question.from == asker { other.reply_message() } else { 0 };
        }
        let of_asker = of_asker + life.reply_message();
        of_asker > reply_bytes_per_peer || of_asker + all > reply_bytes || self.taken_by_adversary(node) > 0
    }

    fn others<'a>(&'a self, life: &'a Life) -> impl Iterator<Item = &'a Life> {
        self.lives.iter().filter(move |&other| !std::ptr::eq(other, life))
    }
}

/// Whether a node may be unable to talk to all its neighbours at once.
pub(super) fn is_cramped(limits: &Limits, nodes: usize) -> bool {
    let counts = [limits.connections, limits.unauthenticated_connections, limits.tentative_sessions, limits.sessions];
    counts.into_iter().any(|count| is_few(count, nodes))
        || has_few_peers(limits, nodes)
        || has_few_handshakes(limits, nodes)
}

/// Whether a node may have no place for what is to be known of a peer. An adversary has two names.
fn has_few_peers(limits: &Limits, nodes: usize) -> bool {
    limits.peers < nodes + 1
}

fn has_few_handshakes(limits: &Limits, nodes: usize) -> bool {
    usize::try_from(limits.handshakes_per_second).is_ok_and(|limit| limit < 4 * neighbours(nodes))
}

fn is_few(limit: usize, nodes: usize) -> bool {
    limit < 2 * neighbours(nodes)
}

fn neighbours(nodes: usize) -> usize {
    nodes.min(41)
}
