//! What is counted at a node: under what names, what of it has an end, and how much there may be at most.

use egtp::{Limits, Usage};

/// What is counted at a node, each under the name of its field of [`Usage`].
pub(crate) fn counts(usage: &Usage) -> [(&'static str, usize); 13] {
    let &Usage {
        connections,
        unauthenticated_connections,
        peers,
        sessions,
        tentative_sessions,
        queries,
        query_bytes,
        incoming,
        assembly_bytes,
        reply_bytes,
        undelivered_bytes,
        lookups,
        timers,
    } = usage;
    [
        ("connections", connections),
        ("unauthenticated_connections", unauthenticated_connections),
        ("peers", peers),
        ("sessions", sessions),
        ("tentative_sessions", tentative_sessions),
        ("queries", queries),
        ("query_bytes", query_bytes),
        ("incoming", incoming),
        ("assembly_bytes", assembly_bytes),
        ("reply_bytes", reply_bytes),
        ("undelivered_bytes", undelivered_bytes),
        ("lookups", lookups),
        ("timers", timers),
    ]
}

/// The names of what is counted at a node.
pub(crate) fn names() -> [&'static str; 13] {
    counts(&Usage::default()).map(|(name, _)| name)
}

/// What is under way at a node: nothing of it, once nobody asks or is asked any more.
pub(crate) fn is_under_way(usage: &Usage) -> bool {
    let under_way = [
        usage.queries,
        usage.query_bytes,
        usage.incoming,
        usage.assembly_bytes,
        usage.reply_bytes,
        usage.undelivered_bytes,
        usage.lookups,
        usage.unauthenticated_connections,
    ];
    under_way.iter().any(|&count| count > 0)
}

/// Of what there is more at a node than its limits allow, in words.
pub fn beyond_limits(usage: &Usage, limits: &Limits) -> Vec<String> {
    let held = [
        ("connections", usage.connections, limits.connections),
        ("unauthenticated connections", usage.unauthenticated_connections, limits.unauthenticated_connections),
        ("peers", usage.peers, limits.peers),
        ("confirmed sessions", usage.sessions.saturating_sub(usage.tentative_sessions), limits.sessions),
        ("tentative sessions", usage.tentative_sessions, limits.tentative_sessions),
        ("queries", usage.queries, limits.queries),
        ("bytes of queries", usage.query_bytes, limits.query_bytes),
        ("incoming queries", usage.incoming, limits.incoming),
        ("bytes of incomplete messages", usage.assembly_bytes, limits.assembly_bytes),
        ("bytes of replies", usage.reply_bytes, limits.reply_bytes),
        ("bytes of deliveries", usage.undelivered_bytes, limits.undelivered_bytes),
        ("lookups", usage.lookups, limits.lookups),
    ];
    let beyond = held.into_iter().filter(|(_, used, limit)| used > limit);
    beyond.map(|(what, used, limit)| format!("{used} {what}, and its limit is {limit}")).collect()
}
