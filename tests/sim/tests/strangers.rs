//! Hosts that are no nodes, and hosts behind translators.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use egtp::{Instant, Strategies};
use egtp_sim::NatBehaviour::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use egtp_sim::scene::{ECHO, Scene, long_body, query};
use egtp_sim::{Chunks, Line, MAX_UNSENT, Nat, Network, NodeIndex, Stranger, StrangerAction, StrangerEvent, World};

const SECOND: Duration = Duration::from_secs(1);

/// What a stranger was told.
type Log = Rc<RefCell<Vec<String>>>;

/// Dials when it starts, sends something at once, says it back if somebody else does, and closes after it was told something.
#[derive(Debug, Default)]
struct Parrot {
    dials: Option<SocketAddr>,
    sends: Vec<u8>,
    wakes_at: Option<Instant>,
    closes_after: usize,
    received: usize,
    log: Log,
}

impl Stranger for Parrot {
    fn handle(&mut self, now: Instant, event: StrangerEvent<'_>, out: &mut Vec<StrangerAction>) {
        match event {
            StrangerEvent::Start => {
                out.extend(self.dials.map(|to| StrangerAction::Dial(Line(0), to)));
                out.extend(self.wakes_at.map(StrangerAction::WakeAt));
                return;
            }
            StrangerEvent::Connected(line) if !self.sends.is_empty() => {
                out.push(StrangerAction::Send(line, self.sends.clone()));
                if self.closes_after == 0 {
                    out.push(StrangerAction::Close(line));
                }
            }
            StrangerEvent::Received(line, bytes) => {
                self.received += bytes.len();
                if self.dials.is_none() {
                    out.push(StrangerAction::Send(line, bytes.to_vec()));
                } else if self.received >= self.closes_after {
                    out.push(StrangerAction::Close(line));
                }
                return;
            }
            _ => {}
        }
        self.log.borrow_mut().push(format!("{now} {event:?}"));
    }
}

/// What a stranger is told that dials a node, and says nothing.
fn dial(world: &mut World, node: NodeIndex) -> Log {
    let log = Log::default();
    let parrot = Parrot { dials: Some(world.address(node)), log: log.clone(), ..Parrot::default() };
    world.add_stranger(Box::new(parrot));
    log
}

fn run(world: &mut World, time: Duration) {
    world.run(time, |_, _, _| {});
}

#[test]
fn strangers_talk_to_each_other_over_links_like_any() {
    let network = Network { chunks: Chunks::Any, buffer: 700, jitter: Duration::from_millis(2), ..Network::default() };
    let mut world = World::new(1, network);
    let (server, client) = (Log::default(), Log::default());
    let echo = world.add_stranger(Box::new(Parrot { log: server.clone(), ..Parrot::default() }));
    let to = world.stranger_address(echo);
    let body = long_body(50_000);
    let parrot =
        Parrot { dials: Some(to), closes_after: body.len(), sends: body, log: client.clone(), ..Parrot::default() };
    world.add_stranger(Box::new(parrot));
    run(&mut world, 60 * SECOND);
    assert_eq!(*client.borrow(), ["1.020000s Connected(Line(0))"]);
    assert!(server.borrow()[0].starts_with("1.020000s Accepted(Line(1), 10.1.0.2:4000)"), "{server:?}");
    assert!(server.borrow()[1].ends_with("Closed(Line(1))"), "{server:?}");
    assert_eq!(world.links(), 0);
}

#[test]
fn a_line_that_is_closed_still_carries_what_was_sent() {
    let mut world = World::new(1, Network { buffer: 100, ..Network::default() });
    let server = Log::default();
    let listener = world.add_stranger(Box::new(Parrot {
        log: server.clone(),
        dials: Some(([9, 9, 9, 9], 1).into()),
        closes_after: 5000,
        ..Parrot::default()
    }));
    let to = world.stranger_address(listener);
    world.add_stranger(Box::new(Parrot { dials: Some(to), sends: vec![7; 4000], ..Parrot::default() }));
    run(&mut world, 60 * SECOND);
    // Forty times a hundred bytes, ten milliseconds each.
    assert_eq!(server.borrow()[0], "1.020000s Refused(Line(0))");
    assert_eq!(server.borrow()[2], "1.420000s Closed(Line(1))");
}

#[test]
fn a_line_on_which_too_much_waits_is_closed() {
    let mut world = World::new(1, Network { buffer: 100, ..Network::default() });
    let node = world.add_node();
    let log = Log::default();
    let to = world.address(node);
    let parrot = Parrot { dials: Some(to), sends: vec![0; MAX_UNSENT + 1], log: log.clone(), ..Parrot::default() };
    world.add_stranger(Box::new(parrot));
    run(&mut world, SECOND);
    assert_eq!(*log.borrow(), ["1.020000s Connected(Line(0))", "1.020000s Closed(Line(0))"]);
    assert_eq!(world.links(), 0);
}

#[test]
fn a_stranger_is_woken_when_it_wants_to() {
    let mut world = World::new(1, Network::default());
    let log = Log::default();
    let at = Instant::from_micros(5_000_000);
    world.add_stranger(Box::new(Parrot { wakes_at: Some(at), log: log.clone(), ..Parrot::default() }));
    run(&mut world, 60 * SECOND);
    assert_eq!(*log.borrow(), ["5.000000s Wake"]);
}

#[test]
fn a_node_drops_a_stranger_that_says_nothing_or_nonsense() {
    let mut world = World::new(1, Network::default());
    let node = world.add_node();
    let silent = dial(&mut world, node);
    let nonsense = Log::default();
    let parrot = Parrot {
        dials: Some(world.address(node)),
        sends: vec![0xff; 100],
        closes_after: 1000,
        log: nonsense.clone(),
        ..Parrot::default()
    };
    world.add_stranger(Box::new(parrot));
    run(&mut world, 60 * SECOND);
    assert_eq!(silent.borrow()[1..], ["11.030000s Closed(Line(0))"]);
    assert_eq!(nonsense.borrow()[1..], ["1.040000s Closed(Line(0))"]);
    assert_eq!(world.links(), 0);
}

/// Who gets in to a node behind such a translator that has dialled the first of three strangers: that one, and another.
fn gets_in(nat: Nat) -> [bool; 2] {
    let (mut scene, inside, friend) = (Scene::new(1), 0, 1);
    let nodes: Vec<NodeIndex> = (0..3).map(|_| scene.add_node()).collect();
    scene.world.set_nat(nodes[inside], Some(nat));
    let asked = scene.ask(nodes[inside], nodes[friend], query(ECHO, b"out"));
    scene.run_secs(1);
    assert_eq!(scene.reply(nodes[inside], asked), b"out");

    let outside = scene.world.seen_address(nodes[inside], scene.world.address(nodes[friend])).expect("a mapping");
    assert_ne!(outside, scene.world.address(nodes[inside]));
    let moved = Strategies { addresses: vec![outside], relays: Vec::new() };
    scene.world.with(nodes[inside], |node, now| node.announce(now, moved)).expect("one address fits a record");
    scene.restart(nodes[friend]);
    scene.run_secs(1);
    [nodes[friend], nodes[2]].map(|from| {
        let asked = scene.ask(from, nodes[inside], query(ECHO, b"in"));
        scene.run_secs(20);
        matches!(scene.verdict(from, asked).1, egtp::Verdict::Reply(_))
    })
}

#[test]
fn a_translator_lets_in_whom_its_filtering_admits() {
    for mapping in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
        assert_eq!(gets_in(Nat { mapping, filtering: EndpointIndependent }), [true, true], "{mapping:?}");
        assert_eq!(gets_in(Nat { mapping, filtering: AddressDependent }), [true, false], "{mapping:?}");
        assert_eq!(gets_in(Nat { mapping, filtering: AddressAndPortDependent }), [true, false], "{mapping:?}");
    }
}

#[test]
fn nobody_reaches_an_inside_address_and_nobody_is_told() {
    let mut world = World::new(1, Network::default());
    let node = world.add_node();
    world.set_nat(node, Some(Nat { mapping: EndpointIndependent, filtering: EndpointIndependent }));
    let log = dial(&mut world, node);
    run(&mut world, 60 * SECOND);
    assert_eq!(*log.borrow(), [""; 0]);
    run(&mut world, 60 * SECOND);
    assert_eq!(*log.borrow(), ["64.020000s Refused(Line(0))"]);
}

#[test]
fn peers_see_the_mapped_address_and_two_of_them_the_same_only_if_it_is_endpoint_independent() {
    for (mapping, same) in [(EndpointIndependent, true), (AddressDependent, false), (AddressAndPortDependent, false)] {
        let mut scene = Scene::new(1);
        let nodes: Vec<NodeIndex> = (0..3).map(|_| scene.add_node()).collect();
        scene.world.set_nat(nodes[0], Some(Nat { mapping, filtering: AddressDependent }));
        for &peer in &nodes[1..] {
            scene.ask(nodes[0], peer, query(ECHO, b"?"));
        }
        scene.run_secs(1);
        let seen = [nodes[1], nodes[2]].map(|peer| scene.world.seen_address(nodes[0], scene.world.address(peer)));
        assert!(seen[0].is_some() && seen[1].is_some());
        assert_eq!(seen[0] == seen[1], same, "{mapping:?}");
    }
}

#[test]
fn two_nodes_behind_translators_meet_when_both_dial() {
    let mut scene = Scene::new(1);
    let nodes: Vec<NodeIndex> = (0..3).map(|_| scene.add_node()).collect();
    let nat = Nat { mapping: EndpointIndependent, filtering: AddressAndPortDependent };
    for &node in &nodes[..2] {
        scene.world.set_nat(node, Some(nat));
        scene.ask(node, nodes[2], query(ECHO, b"makes a mapping"));
    }
    scene.run_secs(1);
    for &node in &nodes[..2] {
        let outside = scene.world.seen_address(node, scene.world.address(nodes[2])).unwrap();
        let moved = Strategies { addresses: vec![outside], relays: Vec::new() };
        scene.world.with(node, |node, now| node.announce(now, moved)).expect("one address fits a record");
    }
    let alone = scene.ask(nodes[0], nodes[1], query(ECHO, b"alone"));
    scene.run_secs(2);
    assert!(!scene.has_ended(nodes[0], alone));
    let other = scene.ask(nodes[1], nodes[0], query(ECHO, b"together"));
    scene.run_secs(2);
    assert_eq!(scene.reply(nodes[1], other), b"together");
    assert_eq!(scene.reply(nodes[0], alone), b"alone");
}
