//! A world whose nodes answer by type name, and a record of what happened in it.

use std::time::Duration;

use crate::{Network, NodeIndex, World};
use egtp::{
    CheckedConfig, Delivery, Failure, IncomingId, Instant, NodeId, PeerRefusal, Query, QueryId, ReplyToken, TypeName,
    Verdict,
};

/// Answers at once with the same body.
pub const ECHO: &str = "echo";
/// Answers at once with nothing.
pub const EMPTY: &str = "empty";
/// Answers when it is told to: [`Scene::answer_kept`].
pub const KEEP: &str = "keep";
/// Never answers.
pub const NEVER: &str = "never";
/// Says no at once.
pub const NO: &str = "no";

/// Every type that the nodes of a scene serve.
pub const TYPES: [&str; 5] = [ECHO, EMPTY, KEEP, NEVER, NO];

/// A world, and what its nodes were told.
#[derive(Debug)]
pub struct Scene {
    /// The world.
    pub world: World,
    /// What happened in it.
    pub told: Told,
}

/// What nodes were told, in order.
#[derive(Debug, Default)]
pub struct Told {
    /// Every query that a handler was given.
    pub asked: Vec<Asked>,
    /// Every verdict, with its time.
    pub verdicts: Vec<(Instant, NodeIndex, QueryId, Verdict)>,
    /// Every soft timeout, with its time.
    pub soft_timeouts: Vec<(Instant, NodeIndex, QueryId)>,
    /// Every notice: to whom, from whom, what.
    pub notices: Vec<(NodeIndex, NodeId, Vec<u8>)>,
    /// Every incoming query that was withdrawn.
    pub withdrawn: Vec<(NodeIndex, IncomingId)>,
    /// What [`KEEP`] keeps.
    pub kept: Vec<(NodeIndex, ReplyToken, Vec<u8>)>,
}

/// A query that a handler was given.
#[derive(Debug)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Whose handler.
    pub node: NodeIndex,
    /// Who asks.
    pub from: NodeId,
    /// Its type.
    pub type_name: TypeName,
    /// Its body.
    pub body: Vec<u8>,
    /// How long the asker will wait.
    pub until: Instant,
}

/// A type name that is known to be good.
///
/// # Panics
///
/// If it is none.
pub fn type_name(name: &str) -> TypeName {
    TypeName::new(name).expect("tests name types well")
}

/// A query that waits a minute.
pub fn query(name: &str, body: &[u8]) -> Query {
    Query::new(type_name(name), body.to_vec()).hard_timeout(Duration::from_secs(60))
}

/// A body of this length that is not the same everywhere.
pub fn long_body(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 7 % 251).unwrap_or(0)).collect()
}

impl Scene {
    /// An empty one on a default network.
    pub fn new(seed: u64) -> Self {
        Self::on(seed, Network::default())
    }

    /// An empty one.
    pub fn on(seed: u64, network: Network) -> Self {
        Self { world: World::new(seed, network), told: Told::default() }
    }

    /// One with two nodes on a default network.
    pub fn of_two(seed: u64) -> (Self, NodeIndex, NodeIndex) {
        let mut scene = Self::new(seed);
        let (one, other) = (scene.add_node(), scene.add_node());
        (scene, one, other)
    }

    /// Adds a node with the default configuration that serves every type.
    pub fn add_node(&mut self) -> NodeIndex {
        self.add_node_with(CheckedConfig::default())
    }

    /// Adds a node that serves every type.
    pub fn add_node_with(&mut self, config: CheckedConfig) -> NodeIndex {
        let node = self.world.add_node_with(config);
        self.serve(node);
        node
    }

    /// Kills a node and starts it again at once.
    pub fn restart(&mut self, node: NodeIndex) {
        self.world.crash(node);
        self.world.start(node);
        self.serve(node);
    }

    /// Starts a node that is not running.
    pub fn start(&mut self, node: NodeIndex) {
        self.world.start(node);
        self.serve(node);
    }

    fn serve(&mut self, node: NodeIndex) {
        for name in TYPES {
            self.world.node(node).serve(type_name(name)).expect("there is room for every type");
        }
    }

    /// Asks something that is not refused.
    ///
    /// # Panics
    ///
    /// If it is.
    pub fn ask(&mut self, from: NodeIndex, to: NodeIndex, query: Query) -> QueryId {
        self.world.query(from, to, query).expect("nothing speaks against the query")
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let told = &mut self.told;
        self.world.run(time, |world, node, delivery| told.take(world, node, delivery));
    }

    /// Lets so many seconds pass.
    pub fn run_secs(&mut self, secs: u64) {
        self.run(Duration::from_secs(secs));
    }

    /// Answers everything that [`KEEP`] keeps, with the same bodies.
    pub fn answer_kept(&mut self) {
        for (node, token, body) in std::mem::take(&mut self.told.kept) {
            self.world.reply(node, token, body);
        }
    }

    /// The one verdict of a query, and its time.
    ///
    /// # Panics
    ///
    /// If there are more or fewer.
    pub fn verdict(&self, node: NodeIndex, query: QueryId) -> (Instant, &Verdict) {
        let mut verdicts = self.told.verdicts.iter().filter(|&&(_, at, of, _)| (at, of) == (node, query));
        let (Some((at, _, _, verdict)), None) = (verdicts.next(), verdicts.next()) else {
            panic!("not exactly one verdict of {query:?} at {node:?}: {:?}", self.told.verdicts);
        };
        (*at, verdict)
    }

    /// Whether a query has ended.
    pub fn has_ended(&self, node: NodeIndex, query: QueryId) -> bool {
        self.told.verdicts.iter().any(|&(_, at, of, _)| (at, of) == (node, query))
    }

    /// The body of the reply that a query ended in.
    ///
    /// # Panics
    ///
    /// If it did not.
    pub fn reply(&self, node: NodeIndex, query: QueryId) -> &[u8] {
        match self.verdict(node, query) {
            (_, Verdict::Reply(reply)) => &reply.body,
            (at, Verdict::Failed(failure)) => panic!("no reply but {failure:?} at {at}"),
        }
    }

    /// The failure that a query ended in.
    ///
    /// # Panics
    ///
    /// If it did not.
    pub fn failure(&self, node: NodeIndex, query: QueryId) -> Failure {
        match self.verdict(node, query) {
            (_, Verdict::Failed(failure)) => failure.clone(),
            (at, Verdict::Reply(_)) => panic!("a reply at {at}"),
        }
    }

    /// How often a handler was given this body.
    pub fn runs(&self, body: &[u8]) -> usize {
        self.told.asked.iter().filter(|asked| asked.body == body).count()
    }
}

impl Told {
    fn take(&mut self, world: &mut World, node: NodeIndex, delivery: Delivery) {
        let at = world.now();
        match delivery {
            Delivery::Query { from, type_name, body, token, until } => {
                self.asked.push(Asked { at, node, from, type_name: type_name.clone(), body: body.clone(), until });
                match type_name.as_str() {
                    ECHO => world.reply(node, token, body),
                    EMPTY => world.reply(node, token, Vec::new()),
                    KEEP => self.kept.push((node, token, body)),
                    NO => {
                        world.with(node, |node, now| {
                            node.refuse(now, token, PeerRefusal::Declined).expect("the asker waits");
                        });
                    }
                    _ => {}
                }
            }
            Delivery::Notice { from, body, .. } => self.notices.push((node, from, body)),
            Delivery::Withdrawn(incoming) => self.withdrawn.push((node, incoming)),
            Delivery::SoftTimeout { query, .. } => self.soft_timeouts.push((at, node, query)),
            Delivery::Verdict { query, verdict, .. } => self.verdicts.push((at, node, query, verdict)),
            _ => {}
        }
    }
}
