//! What is held for one of each, in bytes of the heap: printed, and held against what [`Limits`](egtp::Limits) says.
//!
//! One test, since the heap is everybody's.

use std::alloc::System;
use std::time::Duration;

use egtp::{Config, ConnectionId, Event, Instant, Limits};
use egtp_tests::bench::{Party, framed};
use egtp_tests::scene::{ECHO, query, type_name};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many of each are counted.
const MANY: u8 = 200;

/// A node, and what it holds of the heap.
struct Weighed {
    party: Party,
    bytes: usize,
}

impl Weighed {
    fn new(limits: Limits) -> Self {
        let mut config = Config::default();
        config.limits = limits;
        let party = Party::with_config(1, config.check().expect("the limits fit"));
        let mut weighed = Self { party, bytes: 0 };
        weighed.party.node.serve(type_name(ECHO)).expect("there is room for a type");
        weighed
    }

    /// Does something with it. What it hands out is not weighed.
    fn with<T>(&mut self, act: impl FnOnce(&mut Party) -> T) -> T {
        let region = Region::new(ALLOCATOR);
        let done = act(&mut self.party);
        let change = region.change();
        self.bytes = (self.bytes + change.bytes_allocated).saturating_sub(change.bytes_deallocated);
        done
    }

    /// What each of so many weighs that have come since it weighed so much.
    fn each(&self, before: usize) -> usize {
        self.bytes.saturating_sub(before).div_ceil(usize::from(MANY))
    }
}

/// Somebody asks something over a connection of its own, has the reply, and says no more. The connection stays.
fn converses(server: &mut Weighed, client: &mut Party, now: &mut Instant) -> ConnectionId {
    let record = server.party.record();
    let to = server.party.node.id();
    client.node.learn(*now, record).expect("the record is news");
    client.node.query(*now, to, query(ECHO, b"?")).expect("nothing speaks against the query");
    client.settle(*now);
    let at_client = client.dialled.pop().expect("a query makes a node dial");
    let at_server = server.with(|party| party.accepts(*now));
    client.handle(*now, Event::Connected(at_client));
    for _ in 0..200 {
        let bytes = client.writes(*now, at_client);
        server.with(|party| {
            party.receives(*now, at_server, &bytes);
            party.answers(*now);
        });
        let bytes = server.with(|party| party.writes(*now, at_server));
        client.receives(*now, at_client, &bytes);
        server.with(|_| drop(bytes));
        *now = *now + Duration::from_millis(5);
        client.handle(*now, Event::Tick);
        server.with(|party| party.handle(*now, Event::Tick));
    }
    assert_eq!(client.verdicts().len(), 1);
    at_server
}

#[test]
fn what_one_of_each_takes_is_no_more_than_the_limits_say() {
    let mut limits = Limits::server(1_000);
    limits.maintained_connections = 1_000;
    let mut server = Weighed::new(limits);
    let mut now = Instant::from_micros(1_000_000);
    let before = server.bytes;
    let mut clients: Vec<Party> = (0..MANY).map(|number| Party::new(number + 10)).collect();
    for client in &mut clients {
        converses(&mut server, client, &mut now);
    }
    let idle = server.each(before);
    assert_eq!(server.party.node.usage().sessions, usize::from(MANY));

    let before = server.bytes;
    for _ in 0..MANY {
        server.with(|party| party.accepts(now));
    }
    let silent = server.each(before);

    let mut other = Weighed::new(Limits::server(1_000));
    let before = other.bytes;
    // One byte less than the longest packet of a stranger.
    let half = &framed(&[0; 4_096])[..4_099];
    for _ in 0..MANY {
        other.with(|party| {
            let connection = party.accepts(now);
            party.receives(now, connection, half);
        });
    }
    let half_packet = other.each(before);

    let mut asker = Weighed::new(Limits::default());
    let peer = clients[0].node.id();
    let before = asker.bytes;
    asker.with(|party| {
        for _ in 0..MANY {
            party.node.query(now, peer, query(ECHO, b"?")).expect("nothing speaks against the query");
        }
    });
    let asked = asker.each(before);

    println!("an idle connection with its session and its peer: {idle} bytes");
    println!("a connection whose peer has not authenticated: {silent} bytes, with half a packet {half_packet}");
    println!("an outstanding query with a message of 94 bytes: {asked} bytes");
    assert!(idle <= 3_500, "{idle}");
    assert!(silent <= 1_000, "{silent}");
    assert!(half_packet <= 1_000 + 8_192, "{half_packet}");
    assert!(asked <= 600, "{asked}");
}
