//! What honest nodes owe with an adversary among them, as far as their applications can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use egtp::{
    Cause, Delivery, Executed, IncomingId, Instant, NodeId, Note, Query, QueryId, Reason, Refusal, TypeName, Usage,
    Verdict,
};

use super::Adversary;
use super::moves::is_marked;
use crate::scene::ECHO;
use crate::usage::is_under_way;
use crate::{NodeIndex, World};

/// Holds what honest nodes tell their applications about an adversary against what the adversary did.
///
/// That queries between honest nodes fare as if the adversary were not there is for others to check; this is what comes on
/// top. Whoever runs the world asks the adversary through [`Judge::ask`] and hands every delivery to [`Judge::take`] first.
#[derive(Debug)]
pub struct Judge {
    adversary: Adversary,
    /// What was asked of it and has no verdict.
    asked: BTreeMap<(NodeIndex, QueryId), Asked>,
    /// What handlers were given by it and have not been told to forget.
    incoming: BTreeSet<(NodeIndex, IncomingId)>,
    given: BTreeSet<(Vec<u8>, NodeIndex)>,
    proofs: usize,
    /// How many notes it has seen.
    notes: u64,
    violations: Vec<String>,
}

#[derive(Debug)]
struct Asked {
    body: Vec<u8>,
    due: Instant,
}

/// As many confirmed sessions as a node holds with one peer.
const SESSIONS_OF_A_PEER: usize = 64;
/// So many of its queries are remembered, to see whether one runs twice; the oldest are forgotten first.
const MOST_GIVEN: usize = 65_536;

impl Judge {
    /// One who watches this adversary.
    pub fn of(adversary: &Adversary) -> Self {
        Self {
            adversary: adversary.clone(),
            asked: BTreeMap::new(),
            incoming: BTreeSet::new(),
            given: BTreeSet::new(),
            proofs: 0,
            notes: 0,
            violations: Vec::new(),
        }
    }

    /// What is wrong so far, in words.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Lets a node ask the adversary, and wait so long.
    ///
    /// # Errors
    ///
    /// As [`egtp::Node::query`].
    pub fn ask(
        &mut self,
        world: &mut World,
        from: NodeIndex,
        type_name: TypeName,
        body: Vec<u8>,
        hard: Duration,
    ) -> Result<QueryId, Refusal> {
        let due = world.now() + hard;
        let query = Query::new(type_name, body.clone()).hard_timeout(hard);
        let id = world.query_id(from, self.adversary.id(), query)?;
        self.asked.insert((from, id), Asked { body, due });
        Ok(id)
    }

    /// Takes a delivery that concerns the adversary, and plays the handler: it echoes what [`ECHO`] asks for and never answers
    /// anything else. Gives back what is not its concern. `able` is when the node was last able to do what was due.
    pub fn take(&mut self, world: &mut World, node: NodeIndex, able: Instant, delivery: Delivery) -> Option<Delivery> {
        let found = match delivery {
            Delivery::Query { from, type_name, body, token, .. } if self.is_it(from) => {
                let found = self.given(node, &body);
                self.incoming.insert((node, token.incoming()));
                if type_name.as_str() == ECHO {
                    self.incoming.remove(&(node, token.incoming()));
                    world.reply(node, token, body);
                }
                found
            }
            Delivery::Withdrawn(incoming) if self.incoming.remove(&(node, incoming)) => Ok(()),
            Delivery::SoftTimeout { query, .. } if self.asked.contains_key(&(node, query)) => Ok(()),
            Delivery::Verdict { query, ref verdict, .. } => match self.asked.remove(&(node, query)) {
                Some(Asked { due, .. }) if world.now() > due.max(able) => {
                    Err(format!("node {} was due a verdict at {due} and had it at {}", node.number(), world.now()))
                }
                Some(Asked { due, body }) => self.verdict(world.id(node), &body, Some(due), verdict),
                None => return Some(delivery),
            },
            other => return Some(other),
        };
        self.violations.extend(found.err());
        None
    }

    /// The node has crashed: nobody owes it anything, and it owes nobody anything.
    pub fn forget(&mut self, node: NodeIndex) {
        self.asked.retain(|&(asker, _), _| asker != node);
        self.incoming.retain(|&(at, _)| at != node);
    }

    /// Looks for queries that are overdue at nodes that are able to do what is due, for what the adversary has noticed, and for
    /// notes that blame the honest.
    pub fn look(&mut self, world: &World, is_able: impl Fn(NodeIndex) -> bool) {
        let late = self.asked.iter().filter(|&(&(node, _), asked)| asked.due < world.now() && is_able(node));
        let late: Vec<String> = late
            .map(|((node, _), asked)| format!("node {} has no verdict that was due at {}", node.number(), asked.due))
            .collect();
        let notes = world.notes_since(&mut self.notes).iter();
        let blamed = notes.filter(|(_, _, note)| self.blames_the_honest(note));
        let blamed: Vec<String> =
            blamed.map(|(at, node, note)| format!("at {at} node {} notes {note:?}", node.number())).collect();
        let proofs = self.new_evidence();
        self.violations.extend(late.into_iter().chain(blamed).chain(proofs));
    }

    /// Whether this is the adversary, under either of its names.
    pub fn is_it(&self, id: NodeId) -> bool {
        id == self.adversary.id() || id == self.adversary.other_id()
    }

    /// A handler at `node` was given a query with this body from the adversary.
    ///
    /// # Errors
    ///
    /// If it asked no such thing, or has been given it at this node before.
    pub fn given(&mut self, node: NodeIndex, body: &[u8]) -> Result<(), String> {
        if !is_marked(body) {
            return Err(format!("node {} is asked something that the adversary never asked", node.number()));
        }
        if !self.given.insert((body.to_vec(), node)) {
            return Err(format!("a query of the adversary's runs twice at node {}", node.number()));
        }
        if self.given.len() > MOST_GIVEN {
            self.given.pop_first();
        }
        Ok(())
    }

    /// A query of an honest node's at the adversary has ended. `due` is its deadline, if the asker's clock went as the world's.
    ///
    /// # Errors
    ///
    /// If the reply is none that the adversary sent, or the verdict says what cannot be, or the deadline that the adversary
    /// was told was before the real one.
    pub fn verdict(&self, asker: NodeId, body: &[u8], due: Option<Instant>, verdict: &Verdict) -> Result<(), String> {
        let mind = self.adversary.0.borrow();
        let heard = mind.evidence.heard(asker, body);
        match verdict {
            Verdict::Reply(reply) => {
                if !heard.is_some_and(|heard| heard.replied) || reply.body != body {
                    return Err(format!("a reply of {} bytes is none that the adversary sent", reply.body.len()));
                }
            }
            Verdict::Failed(failure) => {
                let on_its_word = matches!(failure.reason, Reason::RefusedByPeer(_));
                let came = heard.is_some_and(|heard| !heard.given_back);
                if failure.executed == Executed::No && came && !on_its_word {
                    return Err(format!("{} says that what came whole cannot run", failure.reason.name()));
                }
            }
        }
        match (heard, due) {
            (Some(heard), Some(due)) if heard.until < due => {
                Err(format!("the adversary was told to stop at {}, and the deadline is {due}", heard.until))
            }
            _ => Ok(()),
        }
    }

    /// What nodes did towards the adversary since the last call that no honest node does.
    pub fn new_evidence(&mut self) -> Vec<String> {
        let proofs = self.adversary.evidence();
        let new = proofs.get(self.proofs..).unwrap_or_default().to_vec();
        self.proofs = proofs.len();
        new
    }

    /// Whether a note blames an honest node, which nobody does: of the rules that it speaks of all are kept by them. That a query comes
    /// again is no breach: something of it was lost.
    pub fn blames_the_honest(&self, note: &Note) -> bool {
        let breach = matches!(
            note.cause,
            Cause::PacketTooLong
                | Cause::ProtocolViolation
                | Cause::UnknownVersion
                | Cause::RecordNotOpened
                | Cause::RecordReplayed
                | Cause::ReplyMismatched
        );
        breach && note.peer.is_some_and(|peer| !self.is_it(peer))
    }

    /// Whether nothing is left at a node once the adversary is gone and nobody has asked anything for a while. Sessions may be:
    /// they outlive connections, so many to a peer at most, and tentative ones stay until their place is needed.
    ///
    /// # Errors
    ///
    /// If something is, with what that is.
    pub fn nothing_is_left(usage: &Usage) -> Result<(), String> {
        let confirmed = usage.sessions.saturating_sub(usage.tentative_sessions);
        let lasting = Usage { tentative_sessions: 0, ..*usage };
        if is_under_way(&lasting) || confirmed > SESSIONS_OF_A_PEER * usage.peers {
            return Err(format!("something is left: {usage:?}"));
        }
        Ok(())
    }
}
