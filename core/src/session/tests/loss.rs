//! What is lost goes again.

use super::bench::{A, B, Bench, Heard};
use crate::wire::code::ReplyCode;

#[test]
fn a_query_is_asked_and_answered() {
    let mut bench = Bench::new();
    let number = bench.ask(A, 10);
    bench.settle();
    assert!(matches!(bench.heard(B)[..], [Heard::Asked(0, _)]));
    assert!(bench.answer(B, number, 20));
    bench.settle();
    assert!(matches!(&bench.heard(A)[..], [Heard::Replied(0, ReplyCode::Answer, body)] if body.len() == 20));
    bench.rest();
    assert!(bench.ends.iter().all(|end| end.session.is_idle()));
}
