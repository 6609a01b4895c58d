//! What an event costs in worlds of 10 to 1,000 nodes, each of which talks to 20 others and asks 100 queries: a table of CPU time and
//! memory.
//!
//! ```text
//! cargo run --release -p egtp-sim --example scaling
//! ```
//!
//! Numbers of nodes may be named instead: `... --example scaling 10 3000`.

use std::error::Error;
use std::time::Duration;

use egtp::{Delivery, Query, TypeName, Verdict};
use egtp_sim::{Network, NodeIndex, World};

const NODES: [usize; 5] = [10, 32, 100, 316, 1000];
const NEIGHBOURS: usize = 20;
const QUERIES: usize = 100;
/// From one query of a node to its next.
const PAUSE: Duration = Duration::from_millis(50);

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes: Vec<usize> = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = NODES.to_vec();
    }
    println!("  nodes   queries    events  CPU ms  us per event  once connected  peak MiB");
    for nodes in sizes {
        let [connecting, connected] = talk(nodes)?;
        let queries = connecting.queries + connected.queries;
        let events = connecting.events + connected.events;
        let time = connecting.time + connected.time;
        let per_event = time.as_secs_f64() * 1e6 / events as f64;
        let later = connected.time.as_secs_f64() * 1e6 / connected.events as f64;
        let (millis, peak) = (time.as_millis(), peak_memory_kib()? >> 10);
        println!("{nodes:>7} {queries:>9} {events:>9} {millis:>7} {per_event:>13.2} {later:>15.2} {peak:>9}");
    }
    Ok(())
}

/// What it took to talk for a while.
struct Cost {
    queries: usize,
    events: u64,
    time: Duration,
}

/// Everybody asks each of its neighbours in turn, several times over. Gives back what the first time took, with all the handshakes, and
/// what the others took.
fn talk(nodes: usize) -> Result<[Cost; 2], Box<dyn Error>> {
    let (mut time, mut events) = (cpu_time()?, 0);
    let echo = TypeName::new("echo")?;
    let mut world = World::new(1, Network::default());
    let nodes: Vec<NodeIndex> = (0..nodes).map(|_| world.add_node()).collect();
    for &node in &nodes {
        world.node(node).serve(echo.clone())?;
    }
    let neighbours = NEIGHBOURS.min(nodes.len() - 1);
    let mut costs = Vec::new();
    for steps in [0..NEIGHBOURS, NEIGHBOURS..QUERIES] {
        let queries = steps.len() * nodes.len();
        let mut replies = 0;
        for step in steps {
            for (number, &from) in nodes.iter().enumerate() {
                let to = nodes[(number + 1 + step % neighbours) % nodes.len()];
                let query = Query::new(echo.clone(), vec![0; 100]).hard_timeout(Duration::from_secs(30));
                world.query(from, to, query)?;
            }
            run(&mut world, PAUSE, &mut replies);
        }
        run(&mut world, Duration::from_secs(1), &mut replies);
        if replies != queries || !world.violations().is_empty() {
            return Err(format!("of {queries} queries {replies} were answered; {:?}", world.violations()).into());
        }
        let (time_before, events_before) = (time, events);
        (time, events) = (cpu_time()?, world.events());
        costs.push(Cost { queries, events: events - events_before, time: time - time_before });
    }
    costs.try_into().map_err(|_| "there are two phases".into())
}

fn run(world: &mut World, time: Duration, replies: &mut usize) {
    world.run(time, |world, node, delivery| match delivery {
        Delivery::Query { body, token, .. } => world.reply(node, token, body),
        Delivery::Verdict { verdict: Verdict::Reply(_), .. } => *replies += 1,
        _ => {}
    });
}

/// The time for which this process has kept a processor busy.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos = stat.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// The most memory that this process has ever held.
fn peak_memory_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak memory in status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
