//! Both drivers hold the same conversations over real sockets, with each other and with themselves, directly and
//! through a proxy that dribbles, delays and cuts; and these end as they do in the simulated world.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod connections;
mod cuts;
mod drivers;
mod duos;
mod host;
mod proxy;
mod script;
mod throttling;
mod times;

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use drivers::Kind;
use duos::{OnSockets, Simulated};
use egtp::{Executed, Reason, Verdict, Via};
use host::own_address;
use proxy::Manner;
use script::{Outcome, Outcomes, Scale, expected_failures};

/// Far less than any timer of a node that could do by itself what a test expects to happen at once.
const PROMPT: Duration = Duration::from_secs(4);

#[test]
fn the_script_ends_in_the_simulated_world_as_it_should() {
    for scale in [Scale::Full, Scale::Small] {
        let outcomes = script::run(&mut Simulated::new(), scale);
        assert_eq!(not_answered_directly(outcomes), expected_failures());
    }
}

#[test]
fn the_script_ends_directly_as_it_does_in_the_simulated_world() {
    ends_as_in_the_simulated_world(Scale::Full, own_address, None);
}

#[test]
fn the_script_ends_through_a_proxy_as_it_does_in_the_simulated_world() {
    ends_as_in_the_simulated_world(Scale::Full, own_address, Some(Manner::Forward));
}

#[test]
fn the_script_ends_through_a_proxy_that_delays_as_it_does_in_the_simulated_world() {
    ends_as_in_the_simulated_world(Scale::Full, own_address, Some(Manner::Delay(Duration::from_millis(5))));
}

#[test]
fn the_script_ends_byte_by_byte_as_it_does_in_the_simulated_world() {
    ends_as_in_the_simulated_world(Scale::Small, own_address, Some(Manner::Dribble));
}

#[test]
fn the_script_ends_over_ipv6_as_it_does_in_the_simulated_world() {
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if TcpListener::bind(address).is_err() {
        eprintln!("skipped: ::1 cannot be bound here");
        return;
    }
    ends_as_in_the_simulated_world(Scale::Small, move || address, None);
}

fn ends_as_in_the_simulated_world(scale: Scale, listen: impl Fn() -> SocketAddr + Sync, manner: Option<Manner>) {
    let simulated = script::run(&mut Simulated::new(), scale);
    on_every_pair(|kinds| {
        let outcomes = script::run(&mut OnSockets::new(kinds, listen(), manner), scale);
        assert_eq!(outcomes.len(), simulated.len());
        assert_eq!(not_answered_directly(outcomes), not_answered_directly(simulated.clone()));
    });
}

/// The few outcomes that are worth reading.
fn not_answered_directly(mut outcomes: Outcomes) -> Outcomes {
    outcomes.retain(|_, outcome| *outcome != Outcome::Reply(Via::Direct));
    outcomes
}

/// The body of a reply.
#[track_caller]
fn reply(verdict: Verdict) -> Vec<u8> {
    match verdict {
        Verdict::Reply(reply) => reply.body,
        Verdict::Failed(failure) => panic!("no reply but {failure:?}"),
    }
}

/// Whose fault it is that there is no reply, and whether the query may have run.
#[track_caller]
fn failure(verdict: Verdict) -> (Reason, Executed) {
    match verdict {
        Verdict::Reply(reply) => panic!("no failure but a reply of {} bytes", reply.body.len()),
        Verdict::Failed(failure) => (failure.reason, failure.executed),
    }
}

/// Runs a test on every pair of drivers at once: the one of the node that asks or dials comes first.
fn on_every_pair(test: impl Fn([Kind; 2]) + Sync) {
    let pairs =
        [[Kind::Poll, Kind::Poll], [Kind::Poll, Kind::Tokio], [Kind::Tokio, Kind::Poll], [Kind::Tokio, Kind::Tokio]];
    thread::scope(|scope| {
        let running = pairs.map(|kinds| {
            let name = format!("{:?} to {:?}", kinds[0], kinds[1]);
            let test = &test;
            thread::Builder::new().name(name).spawn_scoped(scope, move || test(kinds)).unwrap()
        });
        let failed = running.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!(failed, 0, "so many pairs of drivers failed");
    });
}
