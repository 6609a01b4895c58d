//! What the application says and is told: queries, answers and verdicts.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{IncomingId, NodeId, QueryId};
use crate::time::Instant;

/// The largest body of a message, in bytes, whatever carries it.
pub const MAX_BODY: usize = 4_000_000;

/// The hard timeout of a query that names none: 300 s, as in the original.
pub const DEFAULT_HARD_TIMEOUT: Duration = Duration::from_secs(300);

/// The longest hard timeout: 3600 s, as in the original.
pub const MAX_HARD_TIMEOUT: Duration = Duration::from_secs(3600);

/// What kind of message it is, by which the recipient picks a handler: 1 to 64 bytes of printable ASCII without spaces. A clone shares
/// the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeName(Arc<str>);

impl TypeName {
    /// The longest name, in bytes.
    pub const MAX: usize = 64;

    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// [`MalformedTypeName`] if it is empty, longer than [`TypeName::MAX`] or has a character outside `!`..=`~`.
    pub fn new(name: &str) -> Result<Self, MalformedTypeName> {
        if Self::is_valid(name) { Ok(Self(name.into())) } else { Err(MalformedTypeName) }
    }

    pub(crate) fn is_valid(name: &str) -> bool {
        let fits = (1..=Self::MAX).contains(&name.len());
        fits && name.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::borrow::Borrow<str> for TypeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// The text is no type name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedTypeName;

impl fmt::Display for MalformedTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a type name: expected 1 to 64 printable ASCII characters without spaces")
    }
}

impl core::error::Error for MalformedTypeName {}

/// What the sender expects to happen next between the two nodes (the original's *comm hints*). It steers which connections
/// are kept, never what is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hint {
    /// Nothing is known.
    #[default]
    None,
    /// More is coming: keep the connection longer than an idle one.
    MoreToCome,
    /// This is the last for now: once it is answered the connection may go first.
    NoMore,
}

/// A query to be sent: a type, a body, and how long to wait.
///
/// ```
/// use core::time::Duration;
/// use egtp::{Query, TypeName};
///
/// let query = Query::new(TypeName::new("block/get")?, b"7".to_vec())
///     .soft_timeout(Duration::from_secs(2))
///     .hard_timeout(Duration::from_secs(30));
/// # let _ = query;
/// # Ok::<(), egtp::MalformedTypeName>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    pub(crate) type_name: TypeName,
    pub(crate) body: Vec<u8>,
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Duration,
    pub(crate) hint: Hint,
    pub(crate) tag: u64,
}

impl Query {
    /// A query that waits [`DEFAULT_HARD_TIMEOUT`] and gets impatient never.
    pub fn new(type_name: TypeName, body: Vec<u8>) -> Self {
        Self { type_name, body, soft: None, hard: DEFAULT_HARD_TIMEOUT, hint: Hint::None, tag: 0 }
    }

    /// Asks to be told once, after this long, that no reply has come yet. The query goes on; a later reply is delivered as if in
    /// time (*EGTP Architecture 0.2*, I.B). Must be shorter than the hard timeout.
    #[must_use]
    pub fn soft_timeout(mut self, after: Duration) -> Self {
        self.soft = Some(after);
        self
    }

    /// The time after which the query ends, whatever happened, and all its storage is freed: above zero and at most
    /// [`MAX_HARD_TIMEOUT`]. It covers lookup, dial, queue, wire and handler.
    #[must_use]
    pub fn hard_timeout(mut self, after: Duration) -> Self {
        self.hard = after;
        self
    }

    /// Says what is expected to follow.
    #[must_use]
    pub fn hint(mut self, hint: Hint) -> Self {
        self.hint = hint;
        self
    }

    /// A number of the application's own, which comes back with everything that is said of the query: 0 if none is given.
    #[must_use]
    pub fn tag(mut self, tag: u64) -> Self {
        self.tag = tag;
        self
    }

    /// Its type.
    pub fn type_name(&self) -> &TypeName {
        &self.type_name
    }

    /// Its body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Why a command was refused. The state is as it was before the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The body is longer than [`MAX_BODY`].
    BodyTooLong,
    /// The node has as many outstanding queries as [`Limits::queries`](crate::Limits::queries) allows.
    TooManyQueries,
    /// The outstanding queries' bodies together would pass [`Limits::query_bytes`](crate::Limits::query_bytes).
    TooManyQueryBytes,
    /// The node knows as many peers as [`Limits::peers`](crate::Limits::peers) allows and needs every one of them.
    TooManyPeers,
    /// There are as many sessions as [`Limits::sessions`](crate::Limits::sessions) allows and all are in use.
    TooManySessions,
    /// As many connections are open as [`Limits::connections`](crate::Limits::connections) allows and all are busy.
    TooManyConnections,
    /// As many questions to the Discovery Service are open as the limits allow.
    TooManyDiscoveries,
    /// As many types are served as [`Limits::served_types`](crate::Limits::served_types) allows.
    TooManyTypes,
    /// The hard timeout is zero or above [`MAX_HARD_TIMEOUT`].
    HardTimeoutOutOfRange,
    /// The soft timeout is not shorter than the hard timeout.
    SoftTimeoutNotShorter,
    /// The node is shutting down.
    ShuttingDown,
    /// There is no such query, connection or incoming query any more: it has ended.
    Ended,
    /// The record's signature does not verify, or it belongs to another node.
    NotGenuine,
    /// A record at least as new is known already.
    NotNewer,
    /// More addresses or relays than a record can hold.
    RecordTooLong,
    /// The reply has begun to come, and this node has no memory for it: see [`Limits::assembly_bytes`](crate::Limits::assembly_bytes).
    NoMemoryForReply,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BodyTooLong => "the body is longer than 4,000,000 bytes",
            Self::TooManyQueries => "too many queries are outstanding",
            Self::TooManyQueryBytes => "the outstanding queries' bodies take too much memory",
            Self::TooManyPeers => "too many peers are in use",
            Self::TooManySessions => "too many sessions are in use",
            Self::TooManyConnections => "too many connections are open and all of them are busy",
            Self::TooManyDiscoveries => "too many questions to the Discovery Service are open",
            Self::TooManyTypes => "too many types are served",
            Self::HardTimeoutOutOfRange => "the hard timeout must be above zero and at most 3600 s",
            Self::SoftTimeoutNotShorter => "the soft timeout must be shorter than the hard timeout",
            Self::ShuttingDown => "the node is shutting down",
            Self::Ended => "it has ended already",
            Self::NotGenuine => "the record is not genuine",
            Self::NotNewer => "a record at least as new is known already",
            Self::RecordTooLong => "too many addresses or relays for one record",
            Self::NoMemoryForReply => "there is no memory for its reply here",
        })
    }
}

impl core::error::Error for Refusal {}

/// The right to answer one query, once. It moves into [`Node::reply`](crate::Node::reply) or [`Node::refuse`](crate::Node::refuse).
/// Dropping it means never to answer: the asker's hard timeout ends the query.
#[derive(PartialEq, Eq, Debug)]
pub struct ReplyToken(pub(crate) IncomingId);

impl ReplyToken {
    /// Which incoming query it answers, as named by [`Delivery::Withdrawn`](crate::Delivery::Withdrawn).
    pub fn incoming(&self) -> IncomingId {
        self.0
    }
}

/// A query that was refused: it is handed back, and nothing was sent.
#[derive(PartialEq, Eq, Debug)]
pub struct Unasked {
    /// Why.
    pub why: Refusal,
    /// The query.
    pub query: Query,
}

/// A notice that was refused: its body is handed back, and nothing was sent.
#[derive(PartialEq, Eq, Debug)]
pub struct Unsaid {
    /// Why.
    pub why: Refusal,
    /// The body.
    pub body: Vec<u8>,
}

/// A reply that was not taken: everything is handed back.
#[derive(PartialEq, Eq, Debug)]
pub struct Unsent {
    /// Why.
    pub why: Refusal,
    /// The right to answer, unless that has ended.
    pub token: ReplyToken,
    /// The body.
    pub body: Vec<u8>,
}

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the query was not asked: {}", self.why)
    }
}

impl core::error::Error for Unasked {}

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the notice was not sent: {}", self.why)
    }
}

impl core::error::Error for Unsaid {}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the reply was not sent: {}", self.why)
    }
}

impl core::error::Error for Unsent {}

/// Whether the peer's handler may have run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Executed {
    /// It surely has not and will not.
    No,
    /// It may have run, once at most.
    Maybe,
}

/// How far a query had come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for the Lookup Service, or no address is known.
    Lookup,
    /// Waiting for a connection to be opened, or no address led to one.
    Dial,
    /// Waiting for a session with the peer.
    Handshake,
    /// Waiting for its turn, or for the end of a pause that the peer asked for, or partly written.
    Queue,
    /// All of it has been handed to the operating system, and the peer has not acknowledged all of it.
    Wire,
    /// The peer has acknowledged all of it.
    Peer,
}

/// How a query ended. There is exactly one for each query, no later than its hard timeout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The recipient's answer to this very query.
    Reply(Reply),
    /// No answer, and why.
    Failed(Failure),
}

/// The answer to a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The answer's body.
    pub body: Vec<u8>,
    /// The way it came.
    pub via: Via,
}

/// The way something came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Via {
    /// From this very node: a query to oneself.
    Myself,
    /// Over a connection to the node itself.
    Direct,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Myself => "myself",
            Self::Direct => "direct",
        })
    }
}

/// Why a query has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Whose fault it is.
    pub reason: Reason,
    /// Whether the handler may have run.
    pub executed: Executed,
    /// How far the query had come.
    pub stage: Stage,
    /// What was tried in vain to reach the peer, in its order: the last [`Failure::MAX_TRIED`] attempts. Empty if the peer was reached.
    pub tried: Vec<Attempt>,
}

impl Failure {
    /// How many attempts a failure names at most.
    pub const MAX_TRIED: usize = 16;
}

/// One attempt to reach a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// By which way.
    pub strategy: Strategy,
    /// What came of it.
    pub result: AttemptResult,
    /// How long it took.
    pub took: Duration,
}

/// A way to reach a peer (*EGTP Architecture 0.2*, III.A).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Strategy {
    /// A TCP address that was dialled.
    Address(SocketAddr),
    /// A connection that was open; it came from this address.
    Connection(SocketAddr),
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Connection(from) => write!(f, "the connection from {from}"),
        }
    }
}

/// What came of an attempt to reach a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum AttemptResult {
    /// The connection was refused at once: nobody listens there, or there is no route.
    Refused,
    /// Nobody answered in time.
    Silent,
    /// The connection was opened and then ended, before anything was proved.
    TurnedAway,
    /// Whoever is there said that it has no room now.
    Busy,
    /// Another node is there, or something that does not speak EGTP.
    AnotherNode,
    /// This very node is there.
    Myself,
    /// It ended after the peer had been met.
    Ended,
}

impl fmt::Display for AttemptResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Silent => "no answer",
            Self::TurnedAway => "opened and closed again, without a word",
            Self::Busy => "it has no room now",
            Self::AnotherNode => "somebody else is there",
            Self::Myself => "this very node is there",
            Self::Ended => "ended",
        })
    }
}

/// Whose fault it is that a query has no answer. Every reason but the first is this node's own finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The peer's explicit no.
    RefusedByPeer(PeerRefusal),
    /// A limit of this node's, or its shutting down.
    RefusedHere(Refusal),
    /// Fast fail: every strategy was refused or has failed, and the Lookup Services know nothing newer. [`Failure::tried`] says what
    /// was tried.
    Unreachable,
    /// The peer says, authenticated, that it no longer knows the query, or this node has given up what it would know it by.
    LostByPeer,
    /// Its time has come.
    HardTimeout,
    /// The application said so.
    Cancelled,
}

impl Reason {
    /// The reason's name in words with hyphens, as programs print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RefusedByPeer(_) => "refused-by-peer",
            Self::RefusedHere(_) => "refused-here",
            Self::Unreachable => "unreachable",
            Self::LostByPeer => "lost-by-peer",
            Self::HardTimeout => "hard-timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a peer's explicit no says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PeerRefusal {
    /// It has no handler for the type.
    UnknownType,
    /// Too many of this node's queries wait there for an answer already.
    BusyWithYou,
    /// Too many queries wait there for an answer already.
    Busy,
    /// It has no memory left for the message or its answer.
    NoMemory,
    /// It is shutting down.
    ShuttingDown,
    /// It does not want to hear from this node.
    NotWelcome,
    /// The message was malformed or meant for somebody else.
    Malformed,
    /// The query came after its deadline.
    TooLate,
    /// The query had been cancelled.
    Cancelled,
    /// Its handler said no.
    Declined,
    /// Its handler ran, but the answer was too long to be sent.
    ReplyTooLong,
}

impl fmt::Display for PeerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType => "it has no handler for the type",
            Self::BusyWithYou => "too many queries of this node wait there already",
            Self::Busy => "too many queries wait there already",
            Self::NoMemory => "it has no memory left",
            Self::ShuttingDown => "it is shutting down",
            Self::NotWelcome => "it does not want to hear from this node",
            Self::Malformed => "it calls the message malformed or misdirected",
            Self::TooLate => "the query came after its deadline",
            Self::Cancelled => "the query had been cancelled",
            Self::Declined => "its handler said no",
            Self::ReplyTooLong => "its answer was too long",
        })
    }
}

/// What the node tells the application.
#[derive(PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Delivery {
    /// Somebody asks. Answer now, later or never.
    Query {
        /// Who asks, authenticated.
        from: NodeId,
        /// What is asked; always one of the types that [`Node::serve`](crate::Node::serve) was told.
        type_name: TypeName,
        /// The question.
        body: Vec<u8>,
        /// The right to answer.
        token: ReplyToken,
        /// When the asker stops waiting; after that the token is void.
        until: Instant,
    },
    /// Somebody says something and wants no answer.
    Notice {
        /// Who says it, authenticated.
        from: NodeId,
        /// What kind of thing it is.
        type_name: TypeName,
        /// What is said.
        body: Vec<u8>,
    },
    /// The asker of an incoming query no longer waits: it cancelled, its time has passed, or it is gone. Its token is void.
    Withdrawn(IncomingId),
    /// A query's soft timeout has passed and no reply is here: time for an impatience action. The reply may still come.
    SoftTimeout {
        /// Which query.
        query: QueryId,
        /// Its [`Query::tag`].
        tag: u64,
    },
    /// A query has ended.
    Verdict {
        /// Which query.
        query: QueryId,
        /// Its [`Query::tag`].
        tag: u64,
        /// How.
        verdict: Verdict,
    },
    /// A question to the Discovery Service has ended; these are the relay servers that it named, perhaps none.
    Discovered(crate::DiscoveryId, Vec<NodeId>),
}
