/* Model D, delivery: a session carries, a path only transports.
 *
 * One asker A with two queries, one recipient B, and all sessions between them that somebody can still open. What travels
 * are records, each with one frame: a part of a query, a part of a reply, REFUSE, CANCEL, BREAK. A record is acknowledged
 * when it was opened and has taken effect; what a lost one carried is sent again.
 *
 * Safety (without -DLIVE): the network is the attacker. It keeps every record that ever left, in sets that only grow, and
 * delivers any of them at any moment, any number of times, or never; and so every acknowledgement that was ever possible.
 * That is worse than any number of paths that end, reorder, repeat, or deliver hours later, so paths are not told apart.
 * What is sealed may vanish with its path before its last byte was taken. Both ends restart without state, evict with
 * and without BREAK, refuse, cancel, reach deadlines, forget replies and shake hands again, at any moment, any number of
 * times: nothing is counted down, so that what holds, holds for runs of any length.
 *
 * Liveness (-DLIVE): two paths. A record is in flight on one; a path dies unnoticed, each end notices for itself and sends
 * again what was in flight there. Until `heal` late copies still come from anywhere; from then on nothing comes but what is
 * in flight on a path that lives, and nothing fails any more but what the peer may refuse. No fairness is assumed.
 * With -DP6 the only faults are paths that die, handshakes in vain, unfinished queries that time out, and a clock that
 * makes a query late once.
 *
 * Asserted:
 *   P1  a query is executed at most once                          in execute()
 *   P2  it gets at most one verdict                               in verdict(); at least one: p4
 *   P3  NO is never wrong, at the verdict and ever after, and MAYBE is never said of what never left
 *   P4  ltl p4: once faults stop, each query gets its verdict without its deadline (-DLIVE)
 *   P5  a reply is forgotten as delivered only if its asker has it     in forget()
 *   P6  no verdict but REPLY (-DLIVE -DP6), and with p4 each query gets it
 *   PM  ltl pm: once faults stop, no reply stays remembered, and no refusal (-DLIVE)
 *
 * Bounds: SESSIONS at a time, QUERIES, TRIES (numbers that a query can use in one session), PARTS of query 0 and of its
 * reply. -DLEAN leaves out CANCEL, handlers that take time, tentative sessions, and what lies between the first and the last
 * byte of a record. -DNOP1 and -DNOP3 leave out the assertions of P1 and P3, to see the other one break. -DREACH=1 to 6: the
 * goals below.
 *
 * Left out: counters, the window of records and the runs of an ACK (records.pml), numbers that slide (numbers.pml), crossed
 * HELLOs, replayed first flights, forged hints, key epochs, quotas, the lengths of timers, and peers that lie.
 */

#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef QUERIES
#define QUERIES 2
#endif
#ifndef TRIES
#define TRIES 1
#endif
#ifndef PARTS
#define PARTS 1
#endif

/* Number n of a session can be used by query n % 2 only. */
#define NUMBERS (2 * TRIES)
#define query_of(n) ((n) & 1)

/* Sets of numbers and of sessions are bit masks. */
#define bit(n) (1 << (n))
#define has(set, n) ((set) & bit(n))
#define put(set, n) set = set | bit(n)
#define drop(set, n) set = set & ~bit(n)

/* Where part j in session s has its set of numbers; and that of those in flight on path p. */
#define at(s, j) ((s) * PARTS + (j))
#define PLACES (SESSIONS * PARTS)
#define on(place, p) ((place) * 2 + (p))

/* A session: made by B for a HELLO that A still wants, or for one given up; adopted by A. */
#define UNUSED 0
#define OFFERED 1
#define IN_VAIN 2
#define ADOPTED 3
byte stage[SESSIONS];

/* A query: waits, which says that it has no number that may still run; has a number; or a verdict. */
#define WAITS 0
#define NUMBERED 1
#define REPLY 2
#define NO 3
#define MAYBE 4
/* A has restarted: nobody is left who waits. */
#define GONE 5

/* The asker A, all of it lost when it restarts. */
byte state[2];
byte in_session[2], number[2];
bool hello;                     /* a HELLO is under way */
byte late[2];                   /* REFUSE 8 came, in that session plus 1; or ONCE, in one that is over; or 0 (liveness) */
#define ONCE 255
byte a_holds;                   /* sessions */
byte best;                      /* the session for new queries, plus 1; or 0 */
byte used[SESSIONS];            /* numbers */
byte sealed[PLACES];            /* parts of queries of which no byte was handed out yet */
byte handed[PLACES];            /* ... of which some were, and not yet all */
byte a_parts[PLACES];           /* parts of replies that are put together */

/* The recipient B, all of it lost when it restarts. */
byte b_confirmed, b_tentative;  /* sessions */
byte taken[SESSIONS], refused[SESSIONS];
byte b_parts[PLACES];           /* parts of queries that are put together */
byte running[SESSIONS];         /* the handler works */
byte answered[SESSIONS];        /* the reply is remembered */
byte reply_acked[PLACES];       /* parts of remembered replies */
byte to_refuse[SESSIONS];       /* REFUSE is to be said until it is acknowledged (liveness) */
byte forgotten[SESSIONS];       /* taken, and forgotten before it was acknowledged: REPLY 3 is under way */

/* The network: what ever left, and what was ever opened, so that its acknowledgement may come at any time. */
byte query_left[PLACES], reply_left[PLACES], refuse_left[SESSIONS], cancel_left[SESSIONS];
byte query_opened[PLACES], reply_opened[PLACES], refuse_opened[SESSIONS];
bool break_left[SESSIONS];
byte break_bitmap[SESSIONS];

#if defined(LIVE) || defined(BUG_LEFT_ACKED)
#define ACKS_OF_QUERIES
byte query_acked[PLACES];       /* parts of queries that A knows to be acknowledged */
#endif

#ifdef LIVE
byte query_flies[2 * PLACES], reply_flies[2 * PLACES], refuse_flies[2 * SESSIONS];
/* A path lives; or it is dead, and A, B or both have not noticed. */
#define LIVES 0
#define A_UNAWARE 1
#define B_UNAWARE 2
byte path[2];
bool heal;
#endif

/* What nobody in the world knows: how often it ran, and how many verdicts there were. */
byte executions[2], verdicts[2];

hidden byte i, k;

#define b_holds(s) has(b_confirmed | b_tentative, s)
#define free(s, n) (!has(taken[s] | refused[s], n))
#define here(s, n) (state[query_of(n)] == NUMBERED && in_session[query_of(n)] == s && number[query_of(n)] == n)
#define two_parts(n) (PARTS == 2 && query_of(n) == 0)
#define all_parts(sets, s, n) (has(sets[at(s, 0)], n) && (!two_parts(n) || has(sets[at(s, PARTS - 1)], n)))
#define any_part(sets, s, n) has(sets[at(s, 0)] | sets[at(s, PARTS - 1)], n)
#define other_part(sets, s, n, j) (!two_parts(n) || has(sets[at(s, PARTS - 1 - (j))], n))
#define drop_parts(sets, s, n) drop(sets[at(s, 0)], n); drop(sets[at(s, PARTS - 1)], n)
/* Whether something is true of any session. */
#define any_session(x) (x(0) || x(SESSIONS / 2) || x(SESSIONS - 1))

/* FAULT: crashes, evictions, deadlines, refusals. EARLY: whatever ends with the faults. */
#ifdef LIVE
 #define EARLY (!heal)
 #ifdef P6
  #define FAULT false
 #else
  #define FAULT (!heal)
 #endif
#else
 #define EARLY true
 #define FAULT true
#endif

/* The rule of "left": all parts, each from its first byte, unless its path ends before its last. */
#define out(s, n, j) has(query_left[at(s, j)] | handed[at(s, j)], n)
#define left_truly(s, n) (out(s, n, 0) && (!two_parts(n) || out(s, n, PARTS - 1)))
#if defined(BUG_LEFT_ACKED)
 #define left(s, n) all_parts(query_acked, s, n)
#elif defined(BUG_LEFT_WHOLE)
 #define left(s, n) all_parts(query_left, s, n)
#elif defined(BUG_LEFT_SEALED)
 #define begun(s, n, j) (out(s, n, j) || has(sealed[at(s, j)], n))
 #define left(s, n) (begun(s, n, 0) && (!two_parts(n) || begun(s, n, PARTS - 1)))
#else
 #define left(s, n) left_truly(s, n)
#endif

/* ---- What either end does. ---- */

inline verdict(q, v) {
  verdicts[q]++;
  assert(verdicts[q] <= 1);                             /* P2 */
#ifndef NOP3
  assert(v != NO || executions[q] == 0);                /* P3 */
  assert(v != MAYBE || left_truly(in_session[q], number[q]));
#endif
#ifdef P6
  assert(v == REPLY);                                   /* P6 */
#endif
  state[q] = v; in_session[q] = 0; number[q] = 0
}

inline execute(q) {
  executions[q]++;
#ifndef NOP1
  assert(executions[q] <= 1);                           /* P1 */
#endif
#ifndef NOP3
  assert(state[q] != NO)                                /* P3, ever after */
#endif
}

inline wait_again(q) { state[q] = WAITS; in_session[q] = 0; number[q] = 0 }

/* B forgets a reply because it believes that it was delivered. */
inline forget(s, n) {
  assert(!here(s, n));                                  /* P5 */
  drop(answered[s], n); drop_parts(reply_acked, s, n)
#ifdef BUG_CLEAR_ON_ACK
  ; drop(taken[s], n)
#endif
}

/* A query gives up its number: what was sealed for it and not begun to be written is withdrawn. */
inline withdraw(s, n) {
#ifdef BUG_NO_WITHDRAW
  skip
#else
  drop_parts(sealed, s, n)
#endif
}

inline refuse(s, n) {
#ifndef BUG_REFUSE_UNMARKED
  put(refused[s], n);
#endif
#ifdef LIVE
  put(to_refuse[s], n);
#else
  put(refuse_left[s], n);
#endif
  drop_parts(b_parts, s, n)
}

inline confirm(s) { put(b_confirmed, s); drop(b_tentative, s) }

/* A gives up its HELLO. */
inline abandon() {
  for (i : 0 .. SESSIONS - 1) {
    if
    :: stage[i] == OFFERED ->
       stage[i] = IN_VAIN
#ifdef LEAN
       ; drop(b_confirmed, i)
#endif
    :: else
    fi
  }
}

inline a_erases(s) {
  drop(a_holds, s);
  if :: best == s + 1 -> best = 0 :: else fi;
  for (k : 0 .. PARTS - 1) {
    a_parts[at(s, k)] = 0;
#ifndef BUG_NO_WITHDRAW
    sealed[at(s, k)] = 0;
#endif
#ifdef ACKS_OF_QUERIES
    query_acked[at(s, k)] = 0;
#endif
#ifdef LIVE
    query_flies[on(at(s, k), 0)] = 0; query_flies[on(at(s, k), 1)] = 0
#endif
  }
}

inline b_erases(s) {
  drop(b_confirmed, s); drop(b_tentative, s);
  taken[s] = 0; refused[s] = 0; running[s] = 0; answered[s] = 0; to_refuse[s] = 0; forgotten[s] = 0;
  for (k : 0 .. PARTS - 1) {
    b_parts[at(s, k)] = 0; reply_acked[at(s, k)] = 0;
#ifdef LIVE
    reply_flies[on(at(s, k), 0)] = 0; reply_flies[on(at(s, k), 1)] = 0
#endif
  }
#ifdef LIVE
  ; refuse_flies[on(s, 0)] = 0; refuse_flies[on(s, 1)] = 0
#endif
}

/* The session is lost or ended by A. What had left may have run in it, the rest waits for another session. */
#if defined(BUG_RESEND)
 #define lost_with_session(q) wait_again(q)
#elif defined(BUG_LOST_NO)
 #define lost_with_session(q) verdict(q, NO)
#else
 #define lost_with_session(q) verdict(q, MAYBE)
#endif
inline a_loses(s) {
  for (i : 0 .. 1) {
    if
    :: state[i] == NUMBERED && in_session[i] == s ->
       if
       :: left(s, number[i]) -> lost_with_session(i)
       :: else -> wait_again(i)
       fi
    :: else
    fi
  }
  a_erases(s)
}

/* BREAK comes: what is not in its bitmap did not run and cannot any more. */
inline a_hears_break(s) {
  for (i : 0 .. 1) {
    if
    :: state[i] == NUMBERED && in_session[i] == s ->
       if
       :: left(s, number[i]) && has(break_bitmap[s], number[i]) -> verdict(i, MAYBE)
       :: else -> wait_again(i)
       fi
    :: else
    fi
  }
  a_erases(s)
}

/* A session that nobody can open now or later gives its place back. */
inline collect() {
  for (i : 0 .. SESSIONS - 1) {
    if
    :: stage[i] != UNUSED && !has(a_holds, i) && !b_holds(i) && !(stage[i] == OFFERED && hello) ->
       stage[i] = UNUSED; used[i] = 0;
       if :: late[0] == i + 1 -> late[0] = ONCE :: else fi;
       if :: late[1] == i + 1 -> late[1] = ONCE :: else fi;
       taken[i] = 0; refused[i] = 0; running[i] = 0; answered[i] = 0; to_refuse[i] = 0; forgotten[i] = 0;
       refuse_left[i] = 0; cancel_left[i] = 0; refuse_opened[i] = 0; break_left[i] = 0; break_bitmap[i] = 0;
#ifdef LIVE
       refuse_flies[on(i, 0)] = 0; refuse_flies[on(i, 1)] = 0;
#endif
       for (k : 0 .. PARTS - 1) {
         sealed[at(i, k)] = 0; handed[at(i, k)] = 0; a_parts[at(i, k)] = 0; b_parts[at(i, k)] = 0; reply_acked[at(i, k)] = 0;
         query_left[at(i, k)] = 0; reply_left[at(i, k)] = 0; query_opened[at(i, k)] = 0; reply_opened[at(i, k)] = 0;
#ifdef ACKS_OF_QUERIES
         query_acked[at(i, k)] = 0;
#endif
#ifdef LIVE
         query_flies[on(at(i, k), 0)] = 0; query_flies[on(at(i, k), 1)] = 0;
         reply_flies[on(at(i, k), 0)] = 0; reply_flies[on(at(i, k), 1)] = 0
#endif
       }
    :: else
    fi
  }
  skip
}

/* ---- Sessions. ---- */

/* In a lean world handlers answer at once, nobody says CANCEL, sessions are as good as confirmed, records are written whole. */
#ifdef LEAN
 #define handed_to answered
 #define CANCELS false
 #define b_made b_confirmed
#else
 #define handed_to running
 #define CANCELS true
 #define b_made b_tentative
#endif

#define next_unused(s) (stage[s] == UNUSED && (s == 0 || stage[s - 1] != UNUSED))
#define offered(s) (stage[s] == OFFERED)
#define has_number_in(q, s) (state[q] == NUMBERED && in_session[q] == s)
#define WANTS_SESSION (state[0] == WAITS || state[1] == WAITS)
#define BEST_IS_LOST (best == 0 || !b_holds(best - 1))
/* A query that B found late waits for a session whose clocks start anew. */
#ifdef BUG_LATE_SAME
 #define other_than(s, q) true
#else
 #define other_than(s, q) (late[q] != (s) + 1)
#endif
#define waits_for_other(q) (state[q] == WAITS && best != 0 && !other_than(best - 1, q))
#define WANTS_OTHER (waits_for_other(0) || waits_for_other(1))
#ifdef BUG_LATE_KEPT
 #define MAY_KEEP true
#else
 #define MAY_KEEP (!WANTS_OTHER)
#endif

proctype session(byte s) {
  do
  /* B makes a tentative session for A's HELLO. */
  :: d_step { next_unused(s) && hello && !any_session(offered) -> stage[s] = OFFERED; put(b_made, s) }
  /* WELCOME comes. The session is the best; or not, as ranks go either way when two cross; or the old one is held, and kept. */
  :: d_step { hello && offered(s) -> put(a_holds, s); best = s + 1; hello = false; stage[s] = ADOPTED; collect() }
  :: d_step { EARLY && hello && offered(s) && best != 0 -> put(a_holds, s); hello = false; stage[s] = ADOPTED; collect() }
  :: d_step { hello && offered(s) && !BEST_IS_LOST && MAY_KEEP -> hello = false; abandon(); collect() }
  /* What A cannot use any more is evicted first at B; and at A what it has nothing in. */
  :: d_step { b_holds(s) && !has(a_holds, s) && !offered(s) -> b_erases(s); collect() }
  :: d_step { has(a_holds, s) && best != s + 1 && !has_number_in(0, s) && !has_number_in(1, s) -> a_erases(s); collect() }
  /* A's first record there confirms it, be it only a PING. */
  :: d_step { has(b_tentative, s) && has(a_holds, s) -> confirm(s) }
  /* WELCOME is late: the place of the tentative session was needed. */
  :: d_step { FAULT && has(b_tentative, s) -> b_erases(s); collect() }
#ifdef BUG_TENT10
  :: d_step { EARLY && has(b_tentative, s) && has(a_holds, s) -> b_erases(s); collect() }
#endif
#ifdef BUG_ERASE_LIVE
  :: d_step { EARLY && has(b_confirmed, s) && (b_confirmed & ~bit(s)) ->
       break_left[s] = true; break_bitmap[s] = taken[s]; b_erases(s); collect() }
#endif
  /* A asks about it, and hears that B has lost it. */
#ifdef BUG_SESSION_UNASKED
  :: d_step { has(a_holds, s) && !b_holds(s) && (best == s + 1 || best == 0) -> a_loses(s); collect() }
#else
  :: d_step { has(a_holds, s) && !b_holds(s) -> a_loses(s); collect() }
#endif
  /* A ends it, and B may not hear of it. */
  :: d_step { FAULT && has(a_holds, s) -> a_loses(s); collect() }
  /* B evicts it: silently, or with BREAK. */
  :: d_step { FAULT && b_holds(s) -> b_erases(s); collect() }
  :: d_step { FAULT && has(b_confirmed, s) ->
       break_left[s] = true; break_bitmap[s] = taken[s];
#ifndef BUG_BREAK_ACCEPTS
       b_erases(s);
#endif
       collect() }
  :: d_step { EARLY && has(a_holds, s) && break_left[s] -> a_hears_break(s); collect() }
  od
}

/* ---- Paths. ---- */

#ifdef LIVE
 #define in_flight(flies, place, n) has(flies[on(place, 0)] | flies[on(place, 1)], n)
 #define comes_over(p, flies, place, n) (path[p] == LIVES && has(flies[on(place, p)], n))
 #define comes(flies, place, n) (EARLY || comes_over(0, flies, place, n) || comes_over(1, flies, place, n))
 #define landed(flies, place, n) drop(flies[on(place, 0)], n); drop(flies[on(place, 1)], n)
 /* Each end uses a path that it believes to live. */
 #define a_believes(p) (path[p] == LIVES || (path[p] & A_UNAWARE))
 #define b_believes(p) (path[p] == LIVES || (path[p] & B_UNAWARE))

 #define set(flies, place, p) flies[on((place) * ((place) < PLACES), p)]
 #define a_has_on(p) (set(query_flies, 0, p) | set(query_flies, 1, p) | set(query_flies, 2, p) | set(query_flies, 3, p) \
     | set(query_flies, 4, p) | set(query_flies, 5, p))
 #define b_has_on(p) (set(reply_flies, 0, p) | set(reply_flies, 1, p) | set(reply_flies, 2, p) | set(reply_flies, 3, p) \
     | set(reply_flies, 4, p) | set(reply_flies, 5, p) \
     | refuse_flies[on(0, p)] | refuse_flies[on(SESSIONS / 2, p)] | refuse_flies[on(SESSIONS - 1, p)])
 #ifdef BUG_NO_SILENCE
  #define SILENCE_IS_NOTICED false
 #else
  #define SILENCE_IS_NOTICED true
 #endif

inline a_loses_path(p) { for (i : 0 .. PLACES - 1) { query_flies[on(i, p)] = 0 } skip }
inline b_loses_path(p) {
  for (i : 0 .. PLACES - 1) { reply_flies[on(i, p)] = 0 }
  for (i : 0 .. SESSIONS - 1) { refuse_flies[on(i, p)] = 0 }
  skip
}

proctype transport(byte p) {
  do
  :: d_step { EARLY && path[p] == LIVES -> path[p] = A_UNAWARE | B_UNAWARE }
  /* Noticed by whoever waits for an acknowledgement on it, and by whoever is told by the other end; another takes its place. */
  :: d_step { (path[p] & A_UNAWARE) && (EARLY || path[p] == A_UNAWARE || (SILENCE_IS_NOTICED && a_has_on(p))) ->
       path[p] = path[p] & B_UNAWARE; a_loses_path(p) }
  :: d_step { (path[p] & B_UNAWARE) && (EARLY || path[p] == B_UNAWARE || (SILENCE_IS_NOTICED && b_has_on(p))) ->
       path[p] = path[p] & A_UNAWARE; b_loses_path(p) }
#ifdef BUG_PATH_VERDICT
  :: d_step { EARLY && (path[p] & A_UNAWARE) && state[0] == NUMBERED && left(in_session[0], number[0]) -> verdict(0, MAYBE) }
#endif
  od
}
#else
 #define comes(flies, place, n) true
 #define landed(flies, place, n) skip
#endif

#ifdef BUG_NO_RESEND
 #define goes_again(left, place, n) (!has(left[place], n))
#else
 #define goes_again(left, place, n) true
#endif

/* ---- Numbers. ---- */

/* What a REFUSE may say: busy, final, or late. For liveness the last number of a query is never busy, and each is late once. */
#define last_number(n) ((n) + 2 >= NUMBERS)
#if defined(LIVE) && SESSIONS > 1 && !defined(BUG_LATE_FINAL)
 #if defined(BUG_LATE_EVER)
  #define may_be_late(n) true
 #elif defined(BUG_LATE_SAME)
  #define may_be_late(n) (late[query_of(n)] == 0 && !last_number(n))
 #else
  #define may_be_late(n) (late[query_of(n)] == 0)
 #endif
#else
 #define may_be_late(n) false
#endif
#ifdef LIVE
 #define may_be_busy(n) (!last_number(n))
 #ifdef P6
  #define may_be_final(n) (last_number(n) && !may_be_late(n))
 #else
  #define may_be_final(n) last_number(n)
 #endif
#else
 #define may_be_busy(n) true
 #define may_be_final(n) true
#endif

/* Without other faults the bound on numbers must not make a verdict. */
#if defined(P6) && !defined(BUG_REFUSE9)
 #define may_time_out(n) (TRIES == 2 && (n) < 2)
#else
 #define may_time_out(n) true
#endif

#define refuse_comes(s, n) (has(refuse_left[s], n) && has(a_holds, s) && comes(refuse_flies, s, n))

/* Only where something is to be reached is it of interest whether REFUSE was acknowledged. */
inline refuse_is_opened(s, n) {
#ifdef LIVE
  put(refuse_opened[s], n)
#else
  skip
#endif
}

proctype numbered(byte s; byte n) {
  do
  /* A gives a waiting query the next number. */
  :: d_step { state[query_of(n)] == WAITS && best == s + 1 && other_than(s, query_of(n)) && !has(used[s], n) &&
              (n < 2 || has(used[s], n - 2)) ->
       state[query_of(n)] = NUMBERED; in_session[query_of(n)] = s; number[query_of(n)] = n; put(used[s], n) }
  /* B: no further part came for a while. */
  :: d_step { EARLY && may_time_out(n) && b_holds(s) && free(s, n) && any_part(b_parts, s, n) ->
#ifdef BUG_ASM_SILENT
       drop_parts(b_parts, s, n)
#else
       refuse(s, n)
#endif
     }
  /* B: the handler is done. */
  :: d_step { has(running[s], n) -> drop(running[s], n); put(answered[s], n) }
  /* B: `until` has passed though A still waits, as clocks are what they are. */
  :: d_step { FAULT && has(answered[s], n) ->
       drop(answered[s], n); drop_parts(reply_acked, s, n);
#ifdef BUG_UNTIL_FREES
       drop(taken[s], n);
#endif
#ifdef LIVE
       if :: here(s, n) -> put(forgotten[s], n) :: else fi
#endif
     }
#ifndef BUG_NO_GONE
  /* REPLY 3 comes. */
  :: d_step { has(forgotten[s], n) && b_holds(s) && has(a_holds, s) ->
       drop(forgotten[s], n);
       if :: here(s, n) -> withdraw(s, n); verdict(query_of(n), MAYBE) :: else fi }
#endif
#ifdef BUG_RENUMBER
  :: d_step { here(s, n) && !last_number(n) && left(s, n) -> withdraw(s, n); wait_again(query_of(n)) }
#endif
  /* REFUSE comes. Busy: A waits for another number; or it is final. */
  :: d_step { refuse_comes(s, n) && here(s, n) && may_be_busy(n) ->
       refuse_is_opened(s, n); withdraw(s, n); wait_again(query_of(n)) }
  :: d_step { refuse_comes(s, n) && here(s, n) && may_be_final(n) ->
       refuse_is_opened(s, n); withdraw(s, n); verdict(query_of(n), NO) }
#ifdef BUG_REFUSE9
  :: d_step { refuse_comes(s, n) && here(s, n) -> refuse_is_opened(s, n); withdraw(s, n); verdict(query_of(n), NO) }
#endif
#ifdef LIVE
  :: d_step { refuse_comes(s, n) && here(s, n) && may_be_late(n) ->
       refuse_is_opened(s, n); withdraw(s, n); wait_again(query_of(n)); late[query_of(n)] = s + 1 }
  :: d_step { refuse_comes(s, n) && !here(s, n) && !has(refuse_opened[s], n) -> refuse_is_opened(s, n) }
  /* REFUSE is sent; and acknowledged. */
  :: d_step { has(to_refuse[s], n) && b_believes(0) && !in_flight(refuse_flies, s, n) && goes_again(refuse_left, s, n) ->
       put(refuse_flies[on(s, 0)], n); put(refuse_left[s], n) }
  :: d_step { has(to_refuse[s], n) && b_believes(1) && !in_flight(refuse_flies, s, n) && goes_again(refuse_left, s, n) ->
       put(refuse_flies[on(s, 1)], n); put(refuse_left[s], n) }
  :: d_step { has(refuse_opened[s], n) && has(to_refuse[s], n) && comes(refuse_flies, s, n) ->
       drop(to_refuse[s], n); landed(refuse_flies, s, n) }
#endif
  /* A: deadline or cancel. */
  :: d_step { FAULT && here(s, n) ->
       if :: CANCELS && (out(s, n, 0) || out(s, n, PARTS - 1)) -> put(cancel_left[s], n) :: else fi;
       withdraw(s, n);
#ifdef BUG_TWICE
       verdicts[query_of(n)]++;
       assert(verdicts[query_of(n)] <= 1)
#else
       if
       :: left(s, n) -> verdict(query_of(n), MAYBE)
       :: else -> verdict(query_of(n), NO)
       fi
#endif
     }
  /* CANCEL comes. */
  :: d_step { EARLY && has(cancel_left[s], n) && b_holds(s) && (free(s, n) || has(answered[s] | running[s], n)) ->
       confirm(s);
       if
       :: free(s, n) -> put(refused[s], n); drop_parts(b_parts, s, n)
       :: else ->
          drop(answered[s], n); drop(running[s], n)
#ifdef BUG_CANCEL_FREES
          ; drop(taken[s], n)
#endif
       fi }
  od
}

/* ---- Parts. ---- */

#ifdef BUG_PIECE_FIRST
 #define keeps_part(s, n, j) ((j) == 0 || has(b_parts[at(s, 0)], n))
#else
 #define keeps_part(s, n, j) true
#endif
/* A's acknowledgements go over its best path, which is the first that it believes to live, not where the record came. */
#ifdef BUG_ACK_BEST
 #define ack_comes (EARLY || path[0] == LIVES || (path[0] == B_UNAWARE && path[1] == LIVES))
#else
 #define ack_comes true
#endif

/* B may refuse at any time, even when nothing fails any more. Without other faults it finds query 0 late, in one session. */
#ifdef P6
 #define may_refuse(s, n) (SESSIONS > 1 && query_of(n) == 0 && here(s, n) && (late[0] == 0 || late[0] == s + 1))
#else
 #define may_refuse(s, n) true
#endif
#define query_comes(s, n, j) (has(query_left[at(s, j)], n) && b_holds(s) && comes(query_flies, at(s, j), n))
#define reply_comes(s, n, j) (has(reply_left[at(s, j)], n) && has(a_holds, s) && comes(reply_flies, at(s, j), n))
#define reply_goes(s, n, j) (has(answered[s], n) && !has(reply_acked[at(s, j)], n))

inline a_sends(s, n, j, p) { put(query_flies[on(at(s, j), p)], n); put(query_left[at(s, j)], n) }
inline b_sends(s, n, j, p) { put(reply_flies[on(at(s, j), p)], n); put(reply_left[at(s, j)], n); b_sent(s, n) }
#ifdef BUG_FORGET_SENT
inline b_sent(s, n) { if :: all_parts(reply_left, s, n) -> forget(s, n) :: else fi }
#else
inline b_sent(s, n) { skip }
#endif
inline b_opens(s, n, j) {
  confirm(s)
#ifdef ACKS_OF_QUERIES
  ; put(query_opened[at(s, j)], n)
#endif
}

proctype part(byte s; byte n; byte j) {
  do
#ifdef LIVE
  /* A part is sent, for the first time or again, over either path. */
  :: d_step { here(s, n) && !has(query_acked[at(s, j)], n) && a_believes(0) && !in_flight(query_flies, at(s, j), n) &&
              goes_again(query_left, at(s, j), n) -> a_sends(s, n, j, 0) }
  :: d_step { here(s, n) && !has(query_acked[at(s, j)], n) && a_believes(1) && !in_flight(query_flies, at(s, j), n) &&
              goes_again(query_left, at(s, j), n) -> a_sends(s, n, j, 1) }
  :: d_step { reply_goes(s, n, j) && b_believes(0) && !in_flight(reply_flies, at(s, j), n) &&
              goes_again(reply_left, at(s, j), n) -> b_sends(s, n, j, 0) }
  :: d_step { reply_goes(s, n, j) && b_believes(1) && !in_flight(reply_flies, at(s, j), n) &&
              goes_again(reply_left, at(s, j), n) -> b_sends(s, n, j, 1) }
#else
  /* A part is sealed; its first byte is handed out; its last; or its path ends before that. */
  :: d_step { here(s, n) && !out(s, n, j) && !has(sealed[at(s, j)], n) -> put(sealed[at(s, j)], n) }
#ifdef LEAN
  :: d_step { has(sealed[at(s, j)], n) -> drop(sealed[at(s, j)], n); put(query_left[at(s, j)], n) }
#else
  :: d_step { has(sealed[at(s, j)], n) -> drop(sealed[at(s, j)], n); put(handed[at(s, j)], n) }
#endif
  :: d_step { has(handed[at(s, j)], n) -> drop(handed[at(s, j)], n); put(query_left[at(s, j)], n) }
  :: d_step { has(sealed[at(s, j)], n) -> drop(sealed[at(s, j)], n) }
  :: d_step { has(handed[at(s, j)], n) -> drop(handed[at(s, j)], n) }
  :: d_step { has(answered[s], n) && !has(reply_left[at(s, j)], n) -> put(reply_left[at(s, j)], n); b_sent(s, n) }
#endif
  /* B: a part comes. The whole is taken, then handed to the handler. */
  :: d_step { query_comes(s, n, j) && free(s, n) && keeps_part(s, n, j) && other_part(b_parts, s, n, j) ->
       b_opens(s, n, j); put(taken[s], n); put(handed_to[s], n); drop_parts(b_parts, s, n); execute(query_of(n)) }
  :: d_step { query_comes(s, n, j) && free(s, n) && keeps_part(s, n, j) && !other_part(b_parts, s, n, j) &&
              !has(b_parts[at(s, j)], n) ->
       b_opens(s, n, j); put(b_parts[at(s, j)], n) }
  /* Or it is refused, which is said afterwards. */
  :: d_step { may_refuse(s, n) && query_comes(s, n, j) && free(s, n) && !has(to_refuse[s] | refuse_left[s], n) ->
       b_opens(s, n, j); refuse(s, n) }
#ifdef ACKS_OF_QUERIES
  /* What is known already is acknowledged like anything else. */
  :: d_step { query_comes(s, n, j) && (!free(s, n) || !keeps_part(s, n, j) || has(b_parts[at(s, j)], n)) &&
              !has(query_opened[at(s, j)], n) ->
       b_opens(s, n, j) }
  /* A: a part is acknowledged. */
  :: d_step { has(query_opened[at(s, j)], n) && has(a_holds, s) && here(s, n) && !has(query_acked[at(s, j)], n) &&
              comes(query_flies, at(s, j), n) ->
       put(query_acked[at(s, j)], n); landed(query_flies, at(s, j), n) }
#endif
  /* A: a part of a reply comes: the last, one of two, or one that is of no use any more. */
  :: d_step { reply_comes(s, n, j) && here(s, n) && other_part(a_parts, s, n, j) ->
       put(reply_opened[at(s, j)], n); drop_parts(a_parts, s, n); withdraw(s, n); verdict(query_of(n), REPLY) }
  :: d_step { reply_comes(s, n, j) && here(s, n) && !other_part(a_parts, s, n, j) && !has(a_parts[at(s, j)], n) ->
       put(reply_opened[at(s, j)], n); put(a_parts[at(s, j)], n) }
  :: d_step { reply_comes(s, n, j) && (!here(s, n) || has(a_parts[at(s, j)], n)) && !has(reply_opened[at(s, j)], n) ->
       put(reply_opened[at(s, j)], n) }
#ifdef BUG_ACK_EARLY
  :: d_step { EARLY && has(reply_left[at(s, j)], n) && has(a_holds, s) && !has(reply_opened[at(s, j)], n) ->
       put(reply_opened[at(s, j)], n) }
#endif
#ifdef BUG_DROP_ASM
  :: d_step { EARLY && has(a_parts[at(s, j)], n) -> drop(a_parts[at(s, j)], n) }
#endif
  /* B: a part of a reply is acknowledged. When all are, the reply is forgotten. */
  :: d_step { has(reply_opened[at(s, j)], n) && b_holds(s) && reply_goes(s, n, j) && comes(reply_flies, at(s, j), n) &&
              ack_comes ->
       put(reply_acked[at(s, j)], n); landed(reply_flies, at(s, j), n);
       if :: all_parts(reply_acked, s, n) -> forget(s, n) :: else fi }
  od
}

/* ---- The ends. ---- */

#ifdef REACH
#if REACH == 1
#define GOAL (state[0] == REPLY && state[1] == REPLY && !answered[0])
#elif REACH == 2
#define GOAL (state[0] == NO && state[1] == MAYBE && executions[1] == 1)
#elif REACH == 3
#define GOAL (state[0] == MAYBE && executions[0] == 0 && state[1] == REPLY)
#elif REACH == 4
#define GOAL (state[0] == NUMBERED && state[1] == NUMBERED && in_session[0] != in_session[1] && \
    has(answered[in_session[0]], number[0]) && has(answered[in_session[1]], number[1]))
#elif REACH == 5
#define GOAL (state[0] == REPLY && executions[1] == 1 && state[1] == MAYBE && best != 0)
#else
#define GOAL (state[0] == REPLY && late[0] != 0)
#endif
#endif

proctype ends() {
  do
#ifdef LIVE
  :: d_step { !heal -> heal = true }
#endif
  /* A shakes hands, for first contact, doubt or renewal; and gives it up. */
  :: d_step { !hello && (EARLY || (BEST_IS_LOST && WANTS_SESSION) || WANTS_OTHER) -> hello = true }
  :: d_step { EARLY && hello -> hello = false; abandon(); collect() }
  /* A: a query that has no number runs out of time. */
  :: d_step { FAULT && state[0] == WAITS -> verdict(0, NO) }
  :: d_step { FAULT && state[1] == WAITS -> verdict(1, NO) }
  /* A restarts. */
  :: d_step { FAULT ->
       a_holds = 0; best = 0; hello = false;
       for (i : 0 .. PLACES - 1) { sealed[i] = 0; handed[i] = 0; a_parts[i] = 0 }
#ifdef LIVE
       a_loses_path(0); a_loses_path(1);
#endif
       abandon();
       for (i : 0 .. 1) {
         if :: state[i] <= NUMBERED -> state[i] = GONE; in_session[i] = 0; number[i] = 0; late[i] = 0 :: else fi
       }
       collect() }
  /* B restarts. */
  :: d_step { FAULT ->
       for (i : 0 .. SESSIONS - 1) { b_erases(i) }
       collect() }
#ifdef REACH
  :: d_step { GOAL -> assert(false) }
#endif
  od
}

init {
  atomic {
    for (i : 0 .. SESSIONS - 1) {
      run session(i);
      for (k : 0 .. NUMBERS - 1) {
        if
        :: query_of(k) < QUERIES ->
           run numbered(i, k); run part(i, k, 0);
           if :: two_parts(k) -> run part(i, k, 1) :: else fi
        :: else
        fi
      }
    }
#ifdef LIVE
    run transport(0); run transport(1);
#endif
#if QUERIES == 1
    state[1] = GONE;
#endif
    run ends()
  }
}

#ifdef LIVE
#define decided (state[0] >= REPLY && state[1] >= REPLY)
#define keeps(s) (has(a_holds, s) && b_holds(s) && (answered[s] | running[s] | to_refuse[s]) != 0)
#define nothing_kept (!any_session(keeps))
ltl p4 { [] (heal -> <> decided) }
ltl pm { [] (heal -> <> [] nothing_kept) }
#endif
