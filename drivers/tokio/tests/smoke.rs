//! Nodes on this driver talk over the loopback interface.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use egtp::{
    Delivery, Event, Executed, Identity, Query, QueryId, Reason, ServiceAction, SignedRecord, Strategies, TypeName,
    Verdict,
};
use egtp_tokio::{Driver, OpenError, Setup, Step};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

/// Far more than anything here takes, and less than a hard timeout.
const PROMPT: Duration = Duration::from_secs(20);

const ANY_IPV4_PORT: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

#[test]
fn a_query_is_answered_by_a_node_in_the_same_process() {
    run(async || answers_a_query_on(ANY_IPV4_PORT.into(), b"hello").await);
}

#[test]
fn the_largest_body_is_echoed_whole() {
    let body: Vec<u8> = (0..egtp::MAX_BODY).map(|index| u8::try_from(index % 251).unwrap()).collect();
    run(async || answers_a_query_on(ANY_IPV4_PORT.into(), &body).await);
}

#[test]
fn a_query_is_answered_over_ipv6() {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(address).is_err() {
        eprintln!("skipped: ::1 cannot be bound here");
        return;
    }
    run(async || answers_a_query_on(address, b"six").await);
}

#[test]
fn a_dead_port_makes_the_query_unreachable_promptly() {
    run(async || {
        let dead = TcpListener::bind(ANY_IPV4_PORT).unwrap().local_addr().unwrap();
        let mut client = open(1, vec![]);
        let peer = Identity::from_seed(&[2; 32]);
        learn(&mut client, &peer, dead);
        let query = ask(&mut client, &peer, b"anybody there?");
        let Verdict::Failed(failure) = verdict(&mut client, query).await else { panic!("nobody could answer") };
        assert_eq!((failure.reason, failure.executed), (Reason::Unreachable, Executed::No));
    });
}

#[test]
fn a_call_of_next_that_is_dropped_loses_nothing() {
    run(async || {
        let mut server = open(2, vec![ANY_IPV4_PORT.into()]);
        let mut client = open(1, vec![]);
        server.node().serve(echo()).unwrap();
        let peer = Identity::from_seed(&[2; 32]);
        learn(&mut client, &peer, server.local_addresses()[0]);
        let body = vec![7; 1_000_000];
        let query = ask(&mut client, &peer, &body);
        let deadline = client.now() + PROMPT;
        // Each call is polled once and dropped, over and over.
        let reply = loop {
            yield_now().await;
            let _ = timeout(Duration::ZERO, step(&mut server)).await;
            match timeout(Duration::ZERO, step(&mut client)).await {
                Ok(Some(Step::Deliver(Delivery::Verdict { query: of, verdict, .. }))) if of == query => break verdict,
                _ => assert!(client.now() < deadline, "no verdict came promptly"),
            }
        };
        let Verdict::Reply(reply) = reply else { panic!("{reply:?}") };
        assert!(reply.body == body, "the answer differs from the question");
    });
}

#[test]
fn after_shutting_down_nothing_but_stopped_is_returned_and_the_port_is_free() {
    run(async || {
        let mut driver = open(1, vec![ANY_IPV4_PORT.into()]);
        let address = driver.local_addresses()[0];
        let handle = driver.handle();
        driver.with(|node, now| node.shut_down(now, Duration::from_secs(1)));
        while step(&mut driver).await != Some(Step::Stopped) {}
        assert_eq!(driver.next().await.unwrap(), Step::Stopped);
        assert_eq!(handle.post(1).await, Err(1));
        handle.stopped().await;
        TcpListener::bind(address).unwrap();
    });
}

#[test]
fn a_post_from_another_thread_wakes_a_loop_that_has_nothing_to_do() {
    run(async || {
        let mut driver = open(1, vec![ANY_IPV4_PORT.into()]);
        let handle = driver.handle();
        let poster = std::thread::spawn(move || handle.try_post(7));
        assert_eq!(step(&mut driver).await, Some(Step::Posted(7)));
        poster.join().unwrap().unwrap();
    });
}

#[test]
fn posted_values_keep_their_order_while_the_loop_runs() {
    run(async || {
        let mut driver = open(1, vec![]);
        let handle = driver.handle();
        let poster = spawn_local(async move {
            for value in 0..5000 {
                handle.post(value).await.unwrap();
            }
        });
        for value in 0..5000 {
            assert_eq!(step(&mut driver).await, Some(Step::Posted(value)));
        }
        poster.await.unwrap();
    });
}

#[test]
fn an_idle_connection_costs_no_processor_time() {
    run(async || {
        let mut client = open(1, vec![]);
        let mut server = open(2, vec![ANY_IPV4_PORT.into()]);
        server.node().serve(echo()).unwrap();
        let peer = Identity::from_seed(&[2; 32]);
        learn(&mut client, &peer, server.local_addresses()[0]);
        let server = spawn_local(async move {
            loop {
                step(&mut server).await;
            }
        });
        let query = ask(&mut client, &peer, b"hello");
        verdict(&mut client, query).await;
        assert_eq!(client.node().usage().connections, 1);
        let cpu_before = cpu_time();
        let idle = async {
            loop {
                step(&mut client).await;
            }
        };
        assert!(timeout(Duration::from_secs(1), idle).await.is_err());
        let cpu_used = cpu_time() - cpu_before;
        assert!(cpu_used < Duration::from_millis(250), "an idle second cost {cpu_used:?}");
        server.abort();
    });
}

#[test]
fn a_port_in_use_is_named_by_the_error() {
    run(async || {
        let taken = TcpListener::bind(ANY_IPV4_PORT).unwrap();
        let address = taken.local_addr().unwrap();
        let setup = Setup { listen: vec![address], ..Setup::new(Identity::from_seed(&[1; 32])) };
        let error = Driver::<()>::open(setup).unwrap_err();
        assert!(matches!(error, OpenError::Listen { address: named, .. } if named == address));
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    });
}

#[test]
fn without_a_runtime_a_driver_is_not_opened() {
    let error = Driver::<()>::open(Setup::new(Identity::from_seed(&[1; 32]))).unwrap_err();
    assert!(matches!(error, OpenError::Runtime(_)), "{error}");
}

fn run(test: impl AsyncFnOnce()) {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test()));
}

/// The processor time of this thread alone.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

async fn answers_a_query_on(address: SocketAddr, body: &[u8]) {
    let mut client = open(1, vec![]);
    let mut server = open(2, vec![address]);
    server.node().serve(echo()).unwrap();
    let peer = Identity::from_seed(&[2; 32]);
    learn(&mut client, &peer, server.local_addresses()[0]);
    spawn_local(async move {
        loop {
            step(&mut server).await;
        }
    });
    let query = ask(&mut client, &peer, body);
    match verdict(&mut client, query).await {
        Verdict::Reply(reply) => assert!(reply.body == body, "the answer differs from the question"),
        Verdict::Failed(failure) => panic!("{failure:?}"),
    }
}

fn open(seed: u8, listen: Vec<SocketAddr>) -> Driver<u32> {
    Driver::open(Setup { listen, ..Setup::new(Identity::from_seed(&[seed; 32])) }).unwrap()
}

fn echo() -> TypeName {
    TypeName::new("echo").unwrap()
}

fn learn(driver: &mut Driver<u32>, peer: &Identity, address: SocketAddr) {
    let record = SignedRecord::sign(peer, 1, Strategies { addresses: vec![address], relays: vec![] }).unwrap();
    driver.with(|node, now| node.learn(now, record)).unwrap();
}

fn ask(driver: &mut Driver<u32>, peer: &Identity, body: &[u8]) -> QueryId {
    let query = Query::new(echo(), body.to_vec()).hard_timeout(Duration::from_secs(60));
    driver.with(|node, now| node.query(now, peer.node_id(), query)).unwrap()
}

async fn verdict(driver: &mut Driver<u32>, query: QueryId) -> Verdict {
    let awaited = async {
        loop {
            match step(driver).await {
                Some(Step::Deliver(Delivery::Verdict { query: of, verdict, .. })) if of == query => return verdict,
                _ => {}
            }
        }
    };
    timeout(PROMPT, awaited).await.expect("a verdict, promptly")
}

/// One step of a node that echoes, and whose services know nothing and store nothing. Cancel-safe, as `next` is.
async fn step(driver: &mut Driver<u32>) -> Option<Step<u32>> {
    let step = driver.next().await.unwrap();
    match step {
        Step::Deliver(Delivery::Query { body, token, .. }) => {
            driver.with(|node, now| node.reply(now, token, body)).unwrap();
        }
        Step::Service(ServiceAction::Lookup { lookup, .. }) => {
            driver.with(|node, now| node.handle(now, Event::LookupDone(lookup)));
        }
        Step::Service(ServiceAction::Save { save, .. }) => {
            driver.with(|node, now| node.handle(now, Event::Saved(save)));
        }
        step => return Some(step),
    }
    None
}
