//! `egtp demo`: what EGTP does, told to a person while it happens.

mod node;
mod story;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use egtp::{
    Executed, Failure, Identity, MAX_BODY, NodeId, PeerRefusal, Query, Reason, Reply, SignedRecord, Strategies,
    TypeName, Verdict,
};
use egtp_services::key_file;
use egtp_sockets::Clock;

use crate::output::Output;
use crate::trouble::Trouble;
use node::{DemoNode, Directory, Problem, SLOWNESS, Told};
use story::{Story, time};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// As many queries are under way at once in one of the steps.
const MANY: u64 = 1000;

/// `egtp demo`
pub(crate) fn run(stdout: &Output) -> Result<(), Trouble> {
    tell(&Story::new(stdout.clone()))
        .map_err(|problem| Trouble::Verdict(format!("the demonstration went wrong: {problem}")))
}

/// Each step checks that what it tells is what has happened.
fn tell(story: &Story) -> Result<(), Problem> {
    story.line("A few EGTP nodes on this machine, talking over TCP on 127.0.0.1.");
    let directory = Directory::default();

    story.step("Two nodes make identities");
    let (alice, bob_identity) = (new_identity()?, new_identity()?);
    story.line(&format!("Alice is  {}", alice.node_id()));
    story.line(&format!("Bob is    {}", bob_identity.node_id()));
    story.line("A node's id is the hash of its public key: who answers under an id has proved to hold its key.");

    story.step("Each publishes a contact: how to reach it, signed");
    let alice = DemoNode::start(alice, ANY_PORT, &directory)?;
    let bob = DemoNode::start(bob_identity.clone(), ANY_PORT, &directory)?;
    let contact = bob.record.to_string();
    story.line(&format!("Bob listens on {}. His contact, {} characters, begins", bob.address, contact.len()));
    story.line(&format!("{}...", &contact[..60.min(contact.len())]));

    story.step("Alice asks Bob something, and knows nothing but his id");
    let (reply, after) = reply(&alice, bob.id, query("ping", b"")?)?;
    ensure(reply.body.is_empty(), "the reply to a ping is empty")?;
    story.line("The Lookup Service gave her his contact, she dialled, and each proved to the other who it is.");
    story.line(&format!("Reply to `ping` after {}.", time(after)));

    story.step("Alice asks again: the connection and the session are there");
    let (reply, after) = self::reply(&alice, bob.id, query("echo", b"Is anybody there?")?)?;
    ensure(reply.body == b"Is anybody there?", "the echo is what was sent")?;
    story.line(&format!("Reply to `echo` after {}, encrypted and authenticated like the first.", time(after)));

    story.step("A large body goes there and comes back");
    let body: Vec<u8> = (0..=250).cycle().take(MAX_BODY).collect();
    let (reply, after) = self::reply(&alice, bob.id, query("echo", &body)?)?;
    ensure(reply.body == body, "the large body came back byte for byte")?;
    story.line(&format!(
        "4,000,000 bytes, the most that a message holds, came back byte for byte after {}.",
        time(after)
    ));

    story.step("A thousand queries at once, over the one connection");
    many_queries(story, &alice, bob.id)?;

    story.step("Bob takes his time: soft and hard timeouts");
    soft_timeout(story, &alice, bob.id)?;

    story.step("Bob does not know what Alice wants");
    let (failure, after) = failure(&alice, bob.id, query("no-such-type", b"")?)?;
    ensure(
        failure.reason == Reason::RefusedByPeer(PeerRefusal::UnknownType),
        "an unknown type is refused by the peer",
    )?;
    story.line(&format!(
        "He says so, instead of leaving her to wait: {} after {}.",
        failure.reason.name(),
        time(after)
    ));

    story.step("Alice asks Carol, who is not there");
    let carol = dead_node(&directory)?;
    let (failure, after) = self::failure(&alice, carol, query("ping", b"")?)?;
    ensure(failure.reason == Reason::Unreachable, "a dead port is unreachable")?;
    ensure(failure.executed == Executed::No, "what did not leave this machine was not executed")?;
    story.line("Nobody listens on the port that Carol's contact names, and no newer contact is known.");
    story.line(&format!("Fast fail: {} after {}, surely not executed.", failure.reason.name(), time(after)));

    story.step("Bob is killed while Alice waits for him");
    alice.ask(0, bob.id, query("never", b"")?);
    wait_until_asked(&bob, "never")?;
    let (bob_address, killed) = (bob.address, Clock::now());
    bob.vanish();
    let (failure, _) = verdict(&alice, 0).and_then(expect_failure)?;
    let after = Clock::now().saturating_since(killed);
    ensure(failure.reason == Reason::Unreachable, "a killed node is unreachable")?;
    ensure(failure.executed == Executed::Maybe, "what a killed node was asked may have been executed")?;
    story.line("A connection that ends is no verdict: she dials his address again, and nobody listens there any more.");
    story.line(&format!("{} after {}; he may have done what she asked.", failure.reason.name(), time(after)));

    story.step("Bob is started again, and has forgotten everything but his key");
    let bob = DemoNode::start(bob_identity, bob_address, &directory)?;
    let (_, after) = self::reply(&alice, bob.id, query("ping", b"")?)?;
    story.line(&format!("A new session, without anybody's doing: reply after {}.", time(after)));

    story.step("Both shut down");
    bob.shut_down();
    alice.shut_down();
    story.line("Done. Now try it in two terminals:  egtp serve   and   egtp ask CONTACT echo hello");
    Ok(())
}

fn many_queries(story: &Story, alice: &DemoNode, bob: NodeId) -> Result<(), Problem> {
    for number in 0..MANY {
        alice.ask(number, bob, query("echo", &number.to_be_bytes())?);
    }
    let mut longest = Duration::ZERO;
    for _ in 0..MANY {
        let Told::Verdict(number, Verdict::Reply(reply), after) = alice.told()? else {
            return Err("one of many queries was not answered".into());
        };
        ensure(reply.body == number.to_be_bytes(), "each reply belongs to its query")?;
        longest = longest.max(after);
    }
    story.line(&format!("{MANY} replies, each to its own query; the slowest took {}.", time(longest)));
    Ok(())
}

fn soft_timeout(story: &Story, alice: &DemoNode, bob: NodeId) -> Result<(), Problem> {
    let soft = Duration::from_millis(200);
    alice.ask(0, bob, query("slow", b"late, but here")?.soft_timeout(soft));
    let Told::SoftTimeout(after) = alice.told()? else {
        return Err("the soft timeout did not come first".into());
    };
    story.line(&format!("Bob answers after {SLOWNESS:?}; Alice is impatient after {soft:?}."));
    story.line(&format!("Soft timeout after {}: she is told, and goes on waiting.", time(after)));
    let (_, after) = verdict(alice, 0).and_then(expect_reply)?;
    story.line(&format!("Reply after {}: as good as if it had been in time.", time(after)));

    let hard = Duration::from_millis(300);
    let (failure, after) = failure(alice, bob, query("slow", b"too late")?.hard_timeout(hard))?;
    ensure(failure.reason == Reason::HardTimeout, "the hard timeout ends a query")?;
    story.line(&format!("With a hard timeout of {hard:?} it ends after {}: {}.", time(after), failure.reason.name()));
    Ok(())
}

/// A node of which there is only a contact, with an address on which nobody listens.
fn dead_node(directory: &Directory) -> Result<NodeId, Problem> {
    let port_in_use = TcpListener::bind(ANY_PORT).and_then(|listener| listener.local_addr());
    let strategies = Strategies { addresses: vec![port_in_use?], ..Strategies::default() };
    let record = SignedRecord::sign(&new_identity()?, 1, strategies)?;
    let id = record.node_id();
    directory.publish(record);
    Ok(id)
}

fn new_identity() -> Result<Identity, Problem> {
    Ok(key_file::unsaved()?)
}

fn query(type_name: &str, body: &[u8]) -> Result<Query, Problem> {
    Ok(Query::new(TypeName::new(type_name)?, body.to_vec()).hard_timeout(Duration::from_secs(20)))
}

fn reply(alice: &DemoNode, to: NodeId, query: Query) -> Result<(Reply, Duration), Problem> {
    alice.ask(0, to, query);
    verdict(alice, 0).and_then(expect_reply)
}

fn failure(alice: &DemoNode, to: NodeId, query: Query) -> Result<(Failure, Duration), Problem> {
    alice.ask(0, to, query);
    verdict(alice, 0).and_then(expect_failure)
}

fn verdict(alice: &DemoNode, number: u64) -> Result<(Verdict, Duration), Problem> {
    loop {
        match alice.told()? {
            Told::Verdict(told, verdict, after) if told == number => return Ok((verdict, after)),
            _ => {}
        }
    }
}

fn wait_until_asked(bob: &DemoNode, expected: &str) -> Result<(), Problem> {
    loop {
        match bob.told()? {
            Told::Asked(type_name) if type_name.as_str() == expected => return Ok(()),
            _ => {}
        }
    }
}

fn expect_reply((verdict, after): (Verdict, Duration)) -> Result<(Reply, Duration), Problem> {
    match verdict {
        Verdict::Reply(reply) => Ok((reply, after)),
        Verdict::Failed(failure) => {
            Err(format!("instead of a reply there was a failure: {}", failure.reason.name()).into())
        }
    }
}

fn expect_failure((verdict, after): (Verdict, Duration)) -> Result<(Failure, Duration), Problem> {
    match verdict {
        Verdict::Failed(failure) => Ok((failure, after)),
        Verdict::Reply(_) => Err("there was a reply where none can be".into()),
    }
}

fn ensure(holds: bool, rule: &str) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(format!("it does not hold that {rule}").into()) }
}
