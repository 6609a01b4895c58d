//! Endpoints talk over the loopback interface.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use egtp::{
    Executed, Failure, Identity, PeerRefusal, Query, Reason, Refusal, ServiceAction, SignedRecord, Strategies, TypeName,
};
use egtp_tokio::{Clock, Endpoint, Incoming, NoServices, OpenError, QueryError, Responder, Services, Setup};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

/// Far more than anything here takes, and less than a hard timeout.
const PROMPT: Duration = Duration::from_secs(20);

#[test]
fn a_query_is_answered() {
    run(async {
        let (client, server) = pair().await;
        spawn_echo(server.serve(echo()).await.unwrap());
        let reply = client.query(server.id(), Query::new(echo(), b"hello".to_vec())).await.unwrap();
        assert_eq!(reply.body, b"hello");
    });
}

#[test]
fn a_hundred_queries_at_once_are_answered_each_with_its_own_reply() {
    run(async {
        let (client, server) = pair().await;
        spawn_echo(server.serve(echo()).await.unwrap());
        let to = server.id();
        let asked: Vec<_> = (0..100u8)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move { client.query(to, Query::new(echo(), vec![number; 10_000])).await })
            })
            .collect();
        for (number, asked) in (0..100u8).zip(asked) {
            // Those that find the short queue full are asked again.
            assert_eq!(asked.await.unwrap().unwrap().body, [number; 10_000]);
        }
    });
}

#[test]
fn a_type_that_is_not_served_or_no_longer_is_refused_as_unknown() {
    run(async {
        let (client, server) = pair().await;
        let unknown = Reason::RefusedByPeer(PeerRefusal::UnknownType);
        let error = client.query(server.id(), Query::new(echo(), vec![])).await.unwrap_err();
        assert_eq!(reason(error), unknown);
        drop(server.serve(echo()).await.unwrap());
        let error = client.query(server.id(), Query::new(echo(), vec![])).await.unwrap_err();
        assert_eq!(reason(error), unknown);
    });
}

#[test]
fn a_handler_that_says_no_and_one_that_says_too_much_are_told_apart() {
    run(async {
        let (client, server) = pair().await;
        let mut incoming = server.serve(echo()).await.unwrap();
        tokio::spawn(async move {
            incoming.recv().await.unwrap().refuse(PeerRefusal::Declined);
            incoming.recv().await.unwrap().reply(vec![0; egtp::MAX_BODY + 1]);
            incoming.recv().await
        });
        for expected in [PeerRefusal::Declined, PeerRefusal::ReplyTooLong] {
            let error = client.query(server.id(), Query::new(echo(), vec![])).await.unwrap_err();
            assert_eq!(reason(error), Reason::RefusedByPeer(expected));
        }
    });
}

#[test]
fn a_query_that_a_handler_drops_is_declined() {
    run(async {
        let (client, server) = pair().await;
        let mut incoming = server.serve(echo()).await.unwrap();
        tokio::spawn(async move {
            drop(incoming.recv().await.unwrap());
            incoming.recv().await
        });
        assert_declined(&client, &server).await;
    });
}

#[test]
fn a_query_whose_handler_panics_is_declined() {
    run(async {
        let (client, server) = pair().await;
        let mut incoming = server.serve(echo()).await.unwrap();
        let handler = tokio::spawn(async move {
            let query = incoming.recv().await.unwrap();
            panic!("a handler for {} goes wrong", query.type_name);
        });
        assert_declined(&client, &server).await;
        assert!(handler.await.unwrap_err().is_panic());
    });
}

#[test]
fn what_waits_when_its_service_ends_has_not_run() {
    run(async {
        let (client, server) = pair().await;
        let incoming = server.serve(echo()).await.unwrap();
        let (asker, to) = (client.clone(), server.id());
        let waiting = tokio::spawn(async move { asker.query(to, Query::new(echo(), vec![])).await });
        yield_now().await;
        // This query comes after the one that waits, and its refusal shows that both have come.
        let other = Query::new(TypeName::new("other").unwrap(), vec![]);
        client.query(server.id(), other).await.unwrap_err();
        drop(incoming);
        let failure = failure(waiting.await.unwrap().unwrap_err());
        assert_eq!(failure.reason, Reason::RefusedByPeer(PeerRefusal::UnknownType));
        assert_eq!(failure.executed, Executed::No);
    });
}

#[test]
fn the_soft_timeout_is_told_and_the_late_reply_still_counts() {
    run(async {
        let (client, server) = pair().await;
        let mut incoming = server.serve(echo()).await.unwrap();
        let (impatient, is_impatient) = oneshot::channel();
        tokio::spawn(async move {
            let query = incoming.recv().await.unwrap();
            is_impatient.await.unwrap();
            query.reply(b"late".to_vec());
        });
        let query = Query::new(echo(), vec![]).soft_timeout(Duration::from_millis(10)).hard_timeout(PROMPT);
        let reply = client.query_with(server.id(), query, || impatient.send(()).unwrap()).await.unwrap();
        assert_eq!(reply.body, b"late");
    });
}

#[test]
fn dropping_the_future_cancels_the_query() {
    run(async {
        let (client, server) = pair().await;
        let mut incoming = server.serve(echo()).await.unwrap();
        let (asker, to) = (client.clone(), server.id());
        let asked = tokio::spawn(async move {
            let _ = asker.query(to, Query::new(echo(), vec![]).hard_timeout(PROMPT * 10)).await;
        });
        let _never_answered = incoming.recv().await.unwrap();
        asked.abort();
        // It would wait for the query if that were still outstanding.
        timeout(PROMPT, client.shut_down(PROMPT * 10)).await.unwrap();
    });
}

#[test]
fn a_lookup_service_finds_the_peer() {
    run(async {
        let server = listening(2, NoServices);
        spawn_echo(server.serve(echo()).await.unwrap());
        let client = Endpoint::start(Setup::new(identity(1)), OneRecord(record_of(&server, 2))).unwrap();
        let reply = client.query(server.id(), Query::new(echo(), b"found".to_vec())).await.unwrap();
        assert_eq!(reply.body, b"found");
        let error = client.query(identity(3).node_id(), Query::new(echo(), vec![])).await.unwrap_err();
        assert_eq!(reason(error), Reason::Unreachable);
    });
}

#[test]
fn an_announced_endpoint_has_a_record_with_its_addresses() {
    run(async {
        let endpoint = listening(1, NoServices);
        assert_eq!(endpoint.record().await, None);
        let addresses = endpoint.local_addresses().to_vec();
        endpoint.announce(Strategies { addresses: addresses.clone(), relays: vec![] }).await.unwrap();
        let end = Clock::now() + PROMPT;
        let record = loop {
            match endpoint.record().await {
                Some(record) => break record,
                None => assert!(Clock::now() < end, "no record came"),
            }
        };
        assert_eq!((record.node_id(), &record.strategies().addresses), (endpoint.id(), &addresses));
    });
}

#[test]
fn an_endpoint_that_was_shut_down_refuses_queries_and_its_port_is_free() {
    run(async {
        let endpoint = listening(1, NoServices);
        let address = endpoint.local_addresses()[0];
        endpoint.shut_down(Duration::from_secs(1)).await;
        TcpListener::bind(address).unwrap();
        let error = endpoint.query(identity(2).node_id(), Query::new(echo(), vec![])).await.unwrap_err();
        assert_eq!(error, QueryError::Refused(Refusal::ShuttingDown));
        endpoint.shut_down(Duration::ZERO).await;
    });
}

#[test]
fn dropping_the_last_clone_ends_the_node() {
    let endpoint = listening(1, NoServices);
    let address = endpoint.local_addresses()[0];
    let clone = endpoint.clone();
    drop(endpoint);
    assert!(TcpListener::bind(address).is_err(), "the node is still there");
    drop(clone);
    let end = Clock::now() + PROMPT;
    while TcpListener::bind(address).is_err() {
        assert!(Clock::now() < end, "the port is still taken");
        std::thread::yield_now();
    }
}

#[test]
fn a_port_in_use_is_named_by_the_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup { listen: vec![address], ..Setup::new(identity(1)) };
    let error = Endpoint::start(setup, NoServices).unwrap_err();
    assert!(matches!(error, OpenError::Listen { address: named, .. } if named == address));
}

/// A Lookup Service that knows one peer.
struct OneRecord(SignedRecord);

impl Services for OneRecord {
    fn serve(&mut self, action: ServiceAction, responder: &Responder) {
        match action {
            ServiceAction::Lookup { lookup, peer } => {
                if peer == self.0.node_id() {
                    responder.found(lookup, self.0.as_bytes().to_vec());
                }
                responder.lookup_done(lookup);
            }
            other => NoServices.serve(other, responder),
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

fn echo() -> TypeName {
    TypeName::new("echo").unwrap()
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn listening(seed: u8, services: impl Services) -> Endpoint {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    Endpoint::start(Setup { listen, ..Setup::new(identity(seed)) }, services).unwrap()
}

fn record_of(endpoint: &Endpoint, seed: u8) -> SignedRecord {
    let addresses = endpoint.local_addresses().to_vec();
    SignedRecord::sign(&identity(seed), 1, Strategies { addresses, relays: vec![] }).unwrap()
}

/// Two endpoints, the first of which knows how to reach the second.
async fn pair() -> (Endpoint, Endpoint) {
    let server = listening(2, NoServices);
    let client = Endpoint::start(Setup::new(identity(1)), NoServices).unwrap();
    client.learn(record_of(&server, 2)).await.unwrap();
    (client, server)
}

fn spawn_echo(mut incoming: Incoming) {
    tokio::spawn(async move {
        while let Some(mut query) = incoming.recv().await {
            let body = std::mem::take(&mut query.body);
            query.reply(body);
        }
    });
}

async fn assert_declined(client: &Endpoint, server: &Endpoint) {
    let failure = failure(client.query(server.id(), Query::new(echo(), vec![])).await.unwrap_err());
    assert_eq!(failure.reason, Reason::RefusedByPeer(PeerRefusal::Declined));
    assert_eq!(failure.executed, Executed::Maybe);
}

fn reason(error: QueryError) -> Reason {
    failure(error).reason
}

fn failure(error: QueryError) -> Failure {
    match error {
        QueryError::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}
