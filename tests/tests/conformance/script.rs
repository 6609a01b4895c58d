//! What an application does with two nodes, and what becomes of it: the same wherever they run.

use std::collections::BTreeMap;
use std::time::Duration;

use egtp::{Executed, MAX_BODY, PeerRefusal, Query, QueryId, Reason, Refusal, Verdict, Via};
use egtp_sim::Choice;
use egtp_tests::scene::{ECHO, EMPTY, KEEP, NEVER, NO, long_body, query, type_name};

/// One node that asks and one that answers, however they are connected.
pub(crate) trait Duo {
    /// Has the first one ask several things at one instant.
    fn ask(&mut self, whom: Whom, queries: Vec<Query>) -> Vec<Result<QueryId, Refusal>>;
    /// Waits until the asker has been told so many verdicts more, and returns them in the order in which they came.
    fn verdicts(&mut self, count: usize) -> Vec<(QueryId, Verdict)>;
    /// Waits until the asker is told that the query's soft timeout has passed.
    fn wait_for_soft_timeout(&mut self, query: QueryId);
    /// Has the asker cancel a query.
    fn cancel(&mut self, query: QueryId);
    /// Waits until the answerer keeps so many queries.
    fn wait_for_kept(&mut self, count: usize);
    /// Has the answerer answer what it keeps with the same bodies, in this order.
    fn answer_kept(&mut self, order: Vec<usize>);
    /// How many connections the asker has.
    fn connections(&mut self) -> usize;
    /// Kills the answerer, and waits until the asker has seen its connections end.
    fn kill(&mut self);
    /// Starts the answerer again where it was.
    fn restart(&mut self);
    /// Has the answerer die and start again while the asker looks away.
    fn replace(&mut self);
    /// Has the asker shut down within a minute.
    fn shut_down(&mut self);
    /// Waits until the asker has stopped, and returns the verdicts that were not returned before.
    fn stopped(&mut self) -> Vec<(QueryId, Verdict)>;
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    Answerer,
    Oneself,
}

/// How much is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scale {
    /// The longest bodies and a thousand queries at once.
    Full,
    /// Little enough to go byte by byte.
    Small,
}

/// What became of each query of a script, by its name.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

/// A kind of verdict, or the command's refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Reply(Via),
    Failed(Reason, Executed),
    Refused(Refusal),
}

/// Runs the whole script. Every answer is compared with its question, and every query gets exactly one verdict.
pub(crate) fn run(duo: &mut impl Duo, scale: Scale) -> Outcomes {
    let mut script = Script { duo, scale, asked: BTreeMap::new(), outcomes: Outcomes::new() };
    script.bodies();
    script.refusals();
    script.impatience();
    script.many_at_once();
    if scale == Scale::Full {
        script.large_and_small();
    }
    script.losing_the_answerer();
    script.shutting_down();
    script.outcomes
}

struct Script<'a, D> {
    duo: &'a mut D,
    scale: Scale,
    /// Queries without a verdict, and the bodies with which they would be answered.
    asked: BTreeMap<QueryId, (String, Vec<u8>)>,
    outcomes: Outcomes,
}

impl<D: Duo> Script<'_, D> {
    fn bodies(&mut self) {
        self.ask("nothing", query(EMPTY, b"ignored"), b"");
        self.settle(1);
        let lengths: &[usize] = match self.scale {
            Scale::Full => &[0, 1, 65_536, 1 << 20, MAX_BODY],
            Scale::Small => &[0, 1, 700],
        };
        for &length in lengths {
            let body = long_body(length);
            self.ask(&format!("echo of {length}"), query(ECHO, &body), &body);
            self.settle(1);
        }
        self.duo_refuses("echo of too much", query(ECHO, &long_body(MAX_BODY + 1)));
        self.ask_whom(Whom::Oneself, vec![("echo of my own", query(ECHO, b"me"), b"me")]);
        self.settle(1);
    }

    fn refusals(&mut self) {
        self.ask("unknown type", query("unknown", b"who knows?"), b"");
        self.settle(1);
        self.ask("declined", query(NO, b"may I?"), b"");
        self.settle(1);
    }

    fn impatience(&mut self) {
        let late = query(KEEP, b"late").soft_timeout(Duration::from_millis(50));
        let late = self.ask("late reply", late, b"late");
        self.duo.wait_for_soft_timeout(late);
        self.duo.wait_for_kept(1);
        self.duo.answer_kept(vec![0]);
        self.settle(1);

        self.ask("no reply", query(NEVER, b"").hard_timeout(Duration::from_secs(1)), b"");
        self.settle(1);

        let regretted = self.ask("cancelled", query(KEEP, b"regretted"), b"");
        self.duo.wait_for_kept(1);
        self.duo.cancel(regretted);
        self.settle(1);
        self.duo.wait_for_kept(0);
    }

    /// Many queries wait on one connection, and are answered in any order.
    fn many_at_once(&mut self) {
        let count = match self.scale {
            Scale::Full => 1000,
            Scale::Small => 20,
        };
        let bodies: Vec<String> = (0..count).map(|index| format!("one of many, {index}")).collect();
        let queries = bodies.iter().map(|body| (body.as_str(), query(KEEP, body.as_bytes()), body.as_bytes()));
        self.ask_whom(Whom::Answerer, queries.collect());
        self.duo.wait_for_kept(count);
        assert_eq!(self.duo.connections(), 1);
        self.duo.answer_kept(shuffled(count));
        self.settle(count);
    }

    /// A large body does not hold small ones up, neither in a query nor in a reply.
    fn large_and_small(&mut self) {
        let large = long_body(MAX_BODY);
        let small = ["small 0", "small 1", "small 2", "small 3"];
        for type_name in [ECHO, KEEP] {
            let mut queries = vec![("large", query(type_name, &large), large.as_slice())];
            queries.extend(small.map(|name| (name, query(type_name, name.as_bytes()), name.as_bytes())));
            let count = queries.len();
            let asked = self.ask_whom(Whom::Answerer, queries);
            if type_name == KEEP {
                // Whole messages are kept in the order in which they were completed: the large one is the last.
                self.duo.wait_for_kept(count);
                self.duo.answer_kept((0..count).rev().collect());
            }
            let order = self.settle(count);
            assert_eq!(order.last(), Some(&asked[0]), "the large one came before a small one");
        }
    }

    fn losing_the_answerer(&mut self) {
        self.ask("never to be answered", query(KEEP, b"lost"), b"");
        self.duo.wait_for_kept(1);
        self.duo.replace();
        self.settle(1);
        self.duo.kill();
        self.ask("nobody there", query(ECHO, b"anybody there?"), b"");
        self.settle(1);
        self.duo.restart();
        self.ask("back again", query(ECHO, b"back again"), b"back again");
        self.settle(1);
    }

    /// What is outstanding is still answered; nothing new is taken.
    fn shutting_down(&mut self) {
        self.ask("outstanding at the end", query(KEEP, b"the last"), b"the last");
        self.duo.wait_for_kept(1);
        self.duo.shut_down();
        self.duo_refuses("after the end", query(ECHO, b"one more"));
        self.duo.answer_kept(vec![0]);
        let verdicts = self.duo.stopped();
        assert_eq!(verdicts.len(), 1);
        self.take(verdicts);
        assert!(self.asked.is_empty(), "queries without a verdict: {:?}", self.asked.values());
    }

    /// Asks something that is answered with `answer`, if it is answered.
    fn ask(&mut self, name: &str, query: Query, answer: &[u8]) -> QueryId {
        self.ask_whom(Whom::Answerer, vec![(name, query, answer)])[0]
    }

    fn ask_whom(&mut self, whom: Whom, queries: Vec<(&str, Query, &[u8])>) -> Vec<QueryId> {
        let expected: Vec<_> =
            queries.iter().map(|&(name, ref query, answer)| (describe(name, query), answer.to_vec())).collect();
        let asked = self.duo.ask(whom, queries.into_iter().map(|(_, query, _)| query).collect());
        let asked: Vec<QueryId> = asked.into_iter().map(|asked| asked.expect("the query is taken")).collect();
        self.asked.extend(asked.iter().copied().zip(expected));
        asked
    }

    fn duo_refuses(&mut self, name: &str, query: Query) {
        let name = describe(name, &query);
        let refusal = self.duo.ask(Whom::Answerer, vec![query])[0].expect_err("the query is refused");
        self.note(name, Outcome::Refused(refusal));
    }

    /// Waits for so many verdicts and returns the queries in the order in which they came.
    fn settle(&mut self, count: usize) -> Vec<QueryId> {
        let verdicts = self.duo.verdicts(count);
        assert_eq!(verdicts.len(), count, "more verdicts than queries");
        self.take(verdicts)
    }

    fn take(&mut self, verdicts: Vec<(QueryId, Verdict)>) -> Vec<QueryId> {
        let mut order = Vec::new();
        for (query, verdict) in verdicts {
            let (name, answer) = self.asked.remove(&query).expect("a query has one verdict");
            let outcome = match verdict {
                Verdict::Reply(reply) => {
                    assert!(reply.body == answer, "{name}: the answer is another one's");
                    Outcome::Reply(reply.via)
                }
                Verdict::Failed(failure) => Outcome::Failed(failure.reason, failure.executed),
            };
            self.note(name, outcome);
            order.push(query);
        }
        order
    }

    fn note(&mut self, name: String, outcome: Outcome) {
        let earlier = self.outcomes.insert(name, outcome);
        assert_eq!(earlier, None, "two queries have one name");
    }
}

fn describe(name: &str, query: &Query) -> String {
    format!("{name} ({})", query.type_name())
}

/// The numbers below `count` in an order that is the same every time.
fn shuffled(count: usize) -> Vec<usize> {
    let mut choice = Choice::from_seed(7);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        let other = choice.below(u64::try_from(last).unwrap() + 1);
        order.swap(last, usize::try_from(other).unwrap());
    }
    order
}

/// What has to come of the script: whatever is not named here is answered directly.
pub(crate) fn expected_failures() -> Outcomes {
    use Outcome::{Failed, Refused, Reply};
    let lines = [
        ("echo of too much", ECHO, Refused(Refusal::BodyTooLong)),
        ("echo of my own", ECHO, Reply(Via::Myself)),
        ("unknown type", "unknown", Failed(Reason::RefusedByPeer(PeerRefusal::UnknownType), Executed::No)),
        ("declined", NO, Failed(Reason::RefusedByPeer(PeerRefusal::Declined), Executed::Maybe)),
        ("no reply", NEVER, Failed(Reason::HardTimeout, Executed::Maybe)),
        ("cancelled", KEEP, Failed(Reason::Cancelled, Executed::Maybe)),
        ("never to be answered", KEEP, Failed(Reason::LostByPeer, Executed::Maybe)),
        ("nobody there", ECHO, Failed(Reason::Unreachable, Executed::No)),
        ("after the end", ECHO, Refused(Refusal::ShuttingDown)),
    ];
    lines.map(|(name, of_type, outcome)| (format!("{name} ({})", type_name(of_type)), outcome)).into()
}
