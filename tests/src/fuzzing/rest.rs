//! What holds of every node, whatever it was told: it comes to rest, and then nothing is left.

use egtp::{Event, Instant, Node, Usage};

use crate::bench::Party;

/// More timers than any input sets off.
const MOST_TICKS: usize = 100_000;

/// After everything has been taken from it, a node is next due in the future.
///
/// # Panics
///
/// If its deadline has come already: its clock would stand still.
pub(super) fn assert_clock_moves(node: &Node, now: Instant) {
    assert!(node.deadline().is_none_or(|deadline| deadline > now), "the deadline stands still at {now}: {node:?}");
}

/// Nothing is left in a node but what it knows of its peers.
///
/// # Panics
///
/// If something is.
pub(super) fn assert_nothing_is_left(node: &Node) {
    let Usage { peers, .. } = node.usage();
    assert_eq!(node.usage(), Usage { peers, ..Usage::default() }, "something is kept for ever");
}

/// Lets all the time pass that a node wants. Nothing is said to it any more, and nothing that it writes is taken.
///
/// # Panics
///
/// If it never rests, or something is left then.
pub(super) fn comes_to_rest(party: &mut Party) {
    for _ in 0..MOST_TICKS {
        let Some(deadline) = party.node.deadline() else { return assert_nothing_is_left(&party.node) };
        party.handle(deadline, Event::Tick);
        assert_clock_moves(&party.node, deadline);
    }
    panic!("no rest after {MOST_TICKS} deadlines: {:?}", party.node);
}
