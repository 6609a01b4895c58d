//! Where the script runs: over real sockets, directly or through a proxy, and in the simulated world.

use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use egtp::{Query, QueryId, Refusal, Verdict};
use egtp_sim::NodeIndex;
use egtp_tests::scene::Scene;

use crate::drivers::Kind;
use crate::host::{Host, Told, id_of};
use crate::proxy::{Manner, Proxy};
use crate::script::{Duo, Whom};

const ASKER: u8 = 1;
const ANSWERER: u8 = 2;

/// How long a node that shuts down may still work.
const FINISH_WITHIN: Duration = Duration::from_secs(60);

/// Two nodes over real sockets.
pub(crate) struct OnSockets {
    kinds: [Kind; 2],
    asker: Option<Host>,
    answerer: Option<Host>,
    address: SocketAddr,
    _proxy: Option<Proxy>,
}

impl OnSockets {
    /// The answerer listens at this address; the asker finds it there or, if there is a `manner`, behind a proxy.
    pub(crate) fn new(kinds: [Kind; 2], listen: SocketAddr, manner: Option<Manner>) -> Self {
        let asker = Host::dialling(kinds[0], ASKER);
        let answerer = Host::listening_at(kinds[1], ANSWERER, listen);
        let address = answerer.address();
        let proxy = manner.map(|manner| Proxy::to(address, manner));
        asker.learn(ANSWERER, proxy.as_ref().map_or(address, Proxy::address));
        Self { kinds, asker: Some(asker), answerer: Some(answerer), address, _proxy: proxy }
    }

    fn asker(&self) -> &Host {
        self.asker.as_ref().unwrap()
    }

    fn answerer(&self) -> &Host {
        self.answerer.as_ref().unwrap()
    }
}

impl Duo for OnSockets {
    fn ask(&mut self, whom: Whom, queries: Vec<Query>) -> Vec<Result<QueryId, Refusal>> {
        let to = match whom {
            Whom::Answerer => id_of(ANSWERER),
            Whom::Oneself => self.asker().id(),
        };
        self.asker().ask_all(to, queries)
    }

    fn verdicts(&mut self, count: usize) -> Vec<(QueryId, Verdict)> {
        self.asker().verdicts(count)
    }

    fn wait_for_soft_timeout(&mut self, query: QueryId) {
        self.asker().wait_for(move |_, told| told.soft_timeouts.iter().any(|&(_, of)| of == query).then_some(()));
    }

    fn cancel(&mut self, query: QueryId) {
        self.asker().with(move |node, now| node.cancel(now, query)).unwrap();
    }

    fn wait_for_kept(&mut self, count: usize) {
        self.answerer().wait_for_kept(count);
    }

    fn answer_kept(&mut self, order: Vec<usize>) {
        self.answerer().answer_kept(order);
    }

    fn connections(&mut self) -> usize {
        self.asker().with(|node, _| node.usage().connections)
    }

    fn kill(&mut self) {
        self.answerer.take().unwrap().kill();
        self.asker().wait_for_connections(0);
    }

    fn restart(&mut self) {
        self.answerer = Some(Host::listening_at(self.kinds[1], ANSWERER, self.address));
    }

    fn replace(&mut self) {
        let thaw = self.asker().freeze();
        self.answerer.take().unwrap().kill();
        self.restart();
        drop(thaw);
    }

    fn shut_down(&mut self) {
        self.asker().with(|node, now| node.shut_down(now, FINISH_WITHIN));
    }

    fn stopped(&mut self) -> Vec<(QueryId, Verdict)> {
        let Told { verdicts, .. } = self.asker.take().unwrap().join();
        verdicts.into_iter().map(|(_, query, verdict)| (query, verdict)).collect()
    }
}

/// Two nodes of the simulated world.
pub(crate) struct Simulated {
    scene: Scene,
    asker: NodeIndex,
    answerer: NodeIndex,
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let (scene, asker, answerer) = Scene::of_two(1);
        Self { scene, asker, answerer }
    }

    fn crash(&mut self) {
        self.scene.world.crash(self.answerer);
        self.scene.told.kept.clear();
        self.scene.told.withdrawn.clear();
    }

    fn run_until(&mut self, mut is_so: impl FnMut(&mut Scene) -> bool) {
        for _ in 0..10_000 {
            if is_so(&mut self.scene) {
                return;
            }
            self.scene.run(Duration::from_millis(10));
        }
        panic!("what is waited for has not happened in 100 s");
    }
}

impl Duo for Simulated {
    fn ask(&mut self, whom: Whom, queries: Vec<Query>) -> Vec<Result<QueryId, Refusal>> {
        let to = match whom {
            Whom::Answerer => self.answerer,
            Whom::Oneself => self.asker,
        };
        queries.into_iter().map(|query| self.scene.world.query(self.asker, to, query)).collect()
    }

    fn verdicts(&mut self, count: usize) -> Vec<(QueryId, Verdict)> {
        self.run_until(|scene| scene.told.verdicts.len() >= count);
        let verdicts = mem::take(&mut self.scene.told.verdicts);
        verdicts.into_iter().map(|(_, _, query, verdict)| (query, verdict)).collect()
    }

    fn wait_for_soft_timeout(&mut self, query: QueryId) {
        self.run_until(|scene| scene.told.soft_timeouts.iter().any(|&(_, _, of)| of == query));
    }

    fn cancel(&mut self, query: QueryId) {
        self.scene.world.with(self.asker, |node, now| node.cancel(now, query)).unwrap();
    }

    fn wait_for_kept(&mut self, count: usize) {
        self.run_until(|scene| {
            let withdrawn = &scene.told.withdrawn;
            let waits = |at, incoming| !withdrawn.contains(&(at, incoming));
            scene.told.kept.iter().filter(|(at, token, _)| waits(*at, token.incoming())).count() == count
        });
        let Scene { told, .. } = &mut self.scene;
        told.kept.retain(|(at, token, _)| !told.withdrawn.contains(&(*at, token.incoming())));
    }

    fn answer_kept(&mut self, order: Vec<usize>) {
        let mut kept: Vec<_> = mem::take(&mut self.scene.told.kept).into_iter().map(Some).collect();
        for index in order {
            let (node, token, body) = kept[index].take().unwrap();
            self.scene.world.reply(node, token, body);
        }
    }

    fn connections(&mut self) -> usize {
        self.scene.world.node(self.asker).usage().connections
    }

    fn kill(&mut self) {
        self.crash();
        let asker = self.asker;
        self.run_until(|scene| scene.world.node(asker).usage().connections == 0);
    }

    fn restart(&mut self) {
        self.scene.start(self.answerer);
    }

    fn replace(&mut self) {
        self.crash();
        self.restart();
    }

    fn shut_down(&mut self) {
        self.scene.world.with(self.asker, |node, now| node.shut_down(now, FINISH_WITHIN));
    }

    fn stopped(&mut self) -> Vec<(QueryId, Verdict)> {
        self.scene.run(2 * FINISH_WITHIN);
        self.verdicts(0)
    }
}
