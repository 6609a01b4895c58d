//! What one exchange costs the core alone: two nodes in one thread, their bytes handed from one to the other in memory.
//!
//! ```text
//! cargo bench -p egtp-tests --bench exchange                  the sizes and depths of the README
//! cargo bench -p egtp-tests --bench exchange -- 64 64 100000  bytes of a body, queries in flight, exchanges
//! ```
//!
//! Times mean little beyond the run that they come from. What is counted is the same on every machine. `tests/exchange/run` counts the
//! bytes that are copied as well.

use std::alloc::System;
use std::time::{Duration, Instant as Clock};

use egtp::internal::hashes;
use egtp::{
    Action, CheckedConfig, ConnectionId, Delivery, Event, Identity, Instant, Node, NodeId, Query, SignedRecord, Stored,
    Strategies, TransportAction, TypeName, UnixTime, Verdict,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of a body, queries in flight, and exchanges.
const SETTINGS: [(usize, usize, u64); 6] = [
    (64, 1, 20_000),
    (64, 64, 200_000),
    (1_024, 64, 100_000),
    (4_096, 64, 50_000),
    (65_536, 8, 2_000),
    (1_048_576, 8, 200),
];

/// How far the clock goes on with each turn.
const TURN: Duration = Duration::from_micros(20);

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!("{TITLE}");
    match numbers.as_slice() {
        &[size, in_flight, count] => {
            let [size, in_flight] = [size, in_flight].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
            measure(size, in_flight, count);
        }
        _ => SETTINGS.into_iter().for_each(|(size, in_flight, count)| measure(size, in_flight, count)),
    }
}

const TITLE: &str =
    "    body  in flight  exchanges      us  allocations  reallocations  hashes  packets  only to acknowledge";

/// Both sides, and what has come to pass between them.
struct Pair {
    now: Instant,
    asker: Side,
    answerer: Side,
    to: NodeId,
    type_name: TypeName,
    /// Bodies that have come back, to be sent again: what is counted is not the application's.
    bodies: Vec<Vec<u8>>,
    size: usize,
    asked: u64,
    replied: u64,
}

struct Side {
    node: Node,
    connection: Option<ConnectionId>,
    packets: u64,
    /// Packets with nothing in them but an acknowledgement.
    acknowledgements: u64,
}

impl Side {
    fn new(number: u8) -> Self {
        let (identity, stored) = (Identity::from_seed(&[number; 32]), Stored::default());
        let node =
            Node::new(CheckedConfig::default(), identity, [number; 32], stored, Instant::ZERO, UnixTime::default());
        Self { node, connection: None, packets: 0, acknowledgements: 0 }
    }

    /// Hands what waits to be written to the other side.
    fn writes_to(&mut self, other: &mut Self, now: Instant) {
        let (Some(here), Some(there)) = (self.connection, other.connection) else { return };
        let bytes = self.node.to_write(here);
        if bytes.is_empty() {
            return;
        }
        let count = bytes.len();
        for length in packets(bytes) {
            self.packets += 1;
            self.acknowledgements += u64::from(length <= LONGEST_ACK);
        }
        other.node.handle(now, Event::Received(there, bytes));
        self.node.handle(now, Event::Written(here, count));
    }
}

/// A sealed packet that holds an ACK of one run, and nothing else.
const LONGEST_ACK: usize = 50;

/// The lengths of the packets in a stream.
fn packets(mut stream: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let (prefix, rest) = stream.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap_or(usize::MAX);
        stream = rest.get(length..)?;
        Some(length)
    })
}

impl Pair {
    fn new(size: usize) -> Self {
        let (mut asker, mut answerer) = (Side::new(1), Side::new(2));
        answerer.node.serve(echo()).expect("there is room for a type");
        let address = "192.0.2.1:4000".parse().expect("that is an address");
        let strategies = Strategies { addresses: vec![address], relays: Vec::new() };
        let record = SignedRecord::sign(&Identity::from_seed(&[2; 32]), 1, strategies).expect("a short record");
        asker.node.learn(Instant::ZERO, record).expect("the record is news");
        let to = answerer.node.id();
        Self {
            now: Instant::from_micros(1),
            asker,
            answerer,
            to,
            type_name: echo(),
            bodies: Vec::new(),
            size,
            asked: 0,
            replied: 0,
        }
    }

    /// Goes on until so many have their reply.
    fn run(&mut self, in_flight: usize, until: u64) {
        let in_flight = u64::try_from(in_flight).unwrap_or(u64::MAX);
        while self.replied < until {
            self.now = self.now + TURN;
            while self.asked < until && self.asked - self.replied < in_flight {
                let body = self.bodies.pop().unwrap_or_else(|| vec![7; self.size]);
                let query = Query::new(self.type_name.clone(), body).hard_timeout(Duration::from_secs(600));
                self.asker.node.query(self.now, self.to, query).expect("nothing speaks against the query");
                self.asked += 1;
            }
            self.act();
            let Self { now, asker, answerer, .. } = self;
            asker.writes_to(answerer, *now);
            answerer.writes_to(asker, *now);
            for side in [asker, answerer] {
                if side.node.deadline().is_some_and(|deadline| deadline <= *now) {
                    side.node.handle(*now, Event::Tick);
                }
            }
        }
    }

    /// Does what both want done.
    fn act(&mut self) {
        let Self { now, asker, answerer, replied, bodies, .. } = self;
        while let Some(action) = asker.node.poll() {
            match action {
                Action::Transport(TransportAction::Connect { connection, to }) => {
                    asker.connection = Some(connection);
                    answerer.connection = answerer.node.accept(*now, to).ok();
                    asker.node.handle(*now, Event::Connected(connection));
                }
                Action::Deliver(Delivery::Verdict { verdict, .. }) => {
                    let Verdict::Reply(reply) = verdict else { panic!("{verdict:?}") };
                    bodies.push(reply.body);
                    *replied += 1;
                }
                _ => {}
            }
        }
        while let Some(action) = answerer.node.poll() {
            if let Action::Deliver(Delivery::Query { body, token, .. }) = action {
                answerer.node.reply(*now, token, body).expect("the asker waits");
            }
        }
    }
}

fn echo() -> TypeName {
    TypeName::new("echo").expect("that is a name")
}

fn measure(size: usize, in_flight: usize, count: u64) {
    let mut pair = Pair::new(size);
    let warm = count / 10 + 1;
    pair.run(in_flight, warm);
    let before = [&pair.asker, &pair.answerer].map(|side| (side.packets, side.acknowledgements));
    let (hashed, region, clock) = (hashes(), Region::new(ALLOCATOR), Clock::now());
    pair.run(in_flight, warm + count);
    let (took, change, hashed) = (clock.elapsed(), region.change(), hashes() - hashed);
    let after = [&pair.asker, &pair.answerer].map(|side| (side.packets, side.acknowledgements));
    let [packets, only] =
        [after[0].0 + after[1].0 - before[0].0 - before[1].0, after[0].1 + after[1].1 - before[0].1 - before[1].1];
    let each = |number: f64| number / count as f64;
    println!(
        "{size:8}  {in_flight:9}  {count:9}  {:6.2}  {:11.2}  {:13.2}  {:6.2}  {:7.3}  {:19.4}",
        each(took.as_secs_f64() * 1e6),
        each(change.allocations as f64),
        each(change.reallocations as f64),
        each(hashed as f64),
        each(packets as f64),
        each(only as f64),
    );
}
