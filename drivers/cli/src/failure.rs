//! Why a query has no answer, as `egtp ask` tells it.

use std::time::Duration;

use egtp::{Attempt, AttemptResult, Executed, Failure, Reason, Stage};

use crate::json::Line;

/// The verdict in one line.
pub(crate) fn verdict(failure: &Failure) -> String {
    let may_have_run = match failure.executed {
        Executed::No => "it was not executed",
        Executed::Maybe => "it may have been executed, once at most",
    };
    format!("{}: {}; {may_have_run}", failure.reason.name(), explanation(failure))
}

/// What was tried to reach the peer, a line for each attempt.
pub(crate) fn attempts(failure: &Failure) -> impl Iterator<Item = String> {
    failure
        .tried
        .iter()
        .map(|Attempt { strategy, result, took }| format!("tried {strategy} for {} ms: {result}", millis(*took)))
}

/// All of it as JSON.
pub(crate) fn json(failure: &Failure) -> String {
    let executed = match failure.executed {
        Executed::No => "no",
        Executed::Maybe => "maybe",
    };
    let line = Line::event("failed").text("reason", failure.reason.name()).text("executed", executed);
    if failure.reason != Reason::Unreachable && failure.tried.is_empty() {
        return line.end();
    }
    let tried = failure.tried.iter().map(|Attempt { strategy, result, took }| {
        let strategy = strategy.to_string();
        Line::object().text("strategy", &strategy).text("result", name(*result)).number("ms", millis(*took))
    });
    line.list("tried", tried).end()
}

fn explanation(failure: &Failure) -> String {
    match failure.reason {
        Reason::RefusedByPeer(why) => format!("the peer says that {why}"),
        Reason::RefusedHere(why) => why.to_string(),
        Reason::Unreachable if failure.tried.is_empty() => "no address of the peer is known".into(),
        Reason::Unreachable => "every way to the peer has failed, and no newer contact is known".into(),
        Reason::LostByPeer => "the peer no longer knows of the query".into(),
        Reason::HardTimeout => format!("no reply came in time; the query {}", whereabouts(failure.stage)),
        Reason::Cancelled => format!("interrupted; the query {}", whereabouts(failure.stage)),
        other => format!("{other:?}"),
    }
}

fn whereabouts(stage: Stage) -> &'static str {
    match stage {
        Stage::Lookup => "was waiting for the peer's contact to be found",
        Stage::Dial => "was waiting for a connection",
        Stage::Handshake => "was waiting for the peer to identify itself",
        Stage::Queue => "was not yet written whole",
        Stage::Wire => "was handed over, and the peer did not acknowledge it",
        Stage::Peer => "was with the peer",
        _ => "was under way",
    }
}

/// A result's name in words with hyphens, as programs read it.
fn name(result: AttemptResult) -> &'static str {
    match result {
        AttemptResult::Refused => "refused",
        AttemptResult::Silent => "silent",
        AttemptResult::TurnedAway => "turned-away",
        AttemptResult::Busy => "busy",
        AttemptResult::AnotherNode => "another-node",
        AttemptResult::Myself => "myself",
        AttemptResult::Ended => "ended",
        _ => "failed",
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use egtp::Strategy;

    fn unreachable(tried: Vec<Attempt>) -> Failure {
        Failure { reason: Reason::Unreachable, executed: Executed::Maybe, stage: Stage::Wire, tried }
    }

    fn attempt(strategy: Strategy, result: AttemptResult, ms: u64) -> Attempt {
        Attempt { strategy, result, took: Duration::from_millis(ms) }
    }

    #[test]
    fn each_attempt_is_named_with_its_result_and_its_time() {
        let address = "192.0.2.1:4711".parse().unwrap();
        let failure = unreachable(vec![
            attempt(Strategy::Connection(address), AttemptResult::Ended, 1234),
            attempt(Strategy::Address(address), AttemptResult::Refused, 2),
        ]);
        assert_eq!(
            attempts(&failure).collect::<Vec<_>>(),
            ["tried the connection from 192.0.2.1:4711 for 1234 ms: ended", "tried 192.0.2.1:4711 for 2 ms: refused"]
        );
        assert_eq!(
            json(&failure),
            "{\"event\":\"failed\",\"reason\":\"unreachable\",\"executed\":\"maybe\",\"tried\":[\
             {\"strategy\":\"the connection from 192.0.2.1:4711\",\"result\":\"ended\",\"ms\":1234},\
             {\"strategy\":\"192.0.2.1:4711\",\"result\":\"refused\",\"ms\":2}]}\n"
        );
    }

    #[test]
    fn whoever_has_no_address_was_not_tried() {
        let failure = unreachable(vec![]);
        assert!(verdict(&failure).starts_with("unreachable: no address"), "{}", verdict(&failure));
        assert!(json(&failure).ends_with(",\"tried\":[]}\n"), "{}", json(&failure));
    }
}
