//! What nodes ask and answer.

use std::time::Duration;

use egtp::{Query, Unsaid};

use super::Play;
use crate::scene::{NEVER, type_name};
use crate::storm::oracle::Question;
use crate::transcript::What;

impl Play {
    /// Asks, and gives back the query's number.
    pub(super) fn ask(
        &mut self,
        from: usize,
        to: usize,
        name: &'static str,
        bytes: usize,
        soft: Option<Duration>,
        hard: Duration,
    ) -> Option<usize> {
        if !self.is_able(from) {
            return None;
        }
        let (from, to) = (self.nodes[from], self.nodes[to]);
        let question = Question { from, to, type_name: name, bytes, soft, hard };
        let (number, body) = self.oracle.asks(&self.world, question);
        let mut query = Query::new(type_name(name), body).hard_timeout(hard);
        if let Some(soft) = soft {
            query = query.soft_timeout(soft);
        }
        match self.world.query(from, to, query) {
            Ok(id) => {
                self.oracle.was_asked(number, id);
                Some(number)
            }
            Err(refusal) => {
                self.oracle.was_refused(&self.world, number, refusal);
                None
            }
        }
    }

    pub(super) fn ask_adversary(&mut self, from: usize, type_name: &'static str, bytes: usize, hard: Duration) {
        if self.is_able(from) {
            let node = self.nodes[from];
            self.write(Some(node), What::AsksAdversary { type_name, bytes, hard });
            let (intruder, world) = self.intruder();
            if let Err(refusal) = intruder.ask(world, node, type_name, bytes, hard) {
                self.violate(format!("{} refuses to ask: {refusal}", self.names.of(node)));
            }
        }
    }

    pub(super) fn notify(&mut self, from: usize, to: usize) {
        if self.is_able(from) {
            let (from, to) = (self.nodes[from], self.nodes[to]);
            let body = self.oracle.notifies(&self.world, from, to);
            let id = self.world.id(to);
            let noticed = self.world.with(from, |node, now| node.notify(now, id, type_name(NEVER), body));
            if let Err(Unsaid { why, body }) = noticed {
                self.oracle.notice_was_refused(&self.world, &body, why);
            }
        }
    }

    pub(super) fn cancel(&mut self, node: usize) {
        let index = self.nodes[node];
        if let (Some((id, query)), true) = (self.oracle.waiting_at(index), self.is_able(node)) {
            self.write(Some(index), What::Cancels { query });
            if let Err(refusal) = self.world.with(index, |node, now| node.cancel(now, id)) {
                // Its verdict may be on its way to the application.
                self.run(Duration::ZERO);
                if self.oracle.waiting_at(index).is_some_and(|(waiting, _)| waiting == id) {
                    self.violate(format!("query {query} has no verdict and cannot be cancelled: {refusal}"));
                }
            }
        }
    }

    pub(super) fn answer(&mut self, node: usize) {
        if self.is_able(node) {
            for kept in self.oracle.take_kept(self.nodes[node]) {
                self.write(Some(kept.node), What::Answers { query: kept.query, bytes: kept.body.len() });
                self.world.reply(kept.node, kept.token, kept.body);
            }
        }
    }
}
