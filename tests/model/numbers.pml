/* Model N, numbers: those of one session, and the window of them that slides.
 *
 * A asks QUERIES queries of two parts each, in one session. Whatever was sent arrives at any moment, any number of times, or
 * not yet; handlers take their time, B refuses, A cancels query 0, and CANCEL may be lost. B remembers of WINDOW numbers
 * whether they are free, taken or refused, and below them only what works or waits to be acknowledged.
 *
 * Asserted:
 *   N1  nothing runs twice                                         in takes()
 *   N2  no number of a query that still waits is ever found below the window, so that REFUSE 10 is never said to who waits
 *   N3  at the end, when nothing can happen any more, each query has its verdict
 *
 * Left out: sessions that end, records, and paths (delivery.pml, records.pml); a number given up and used no more.
 */

#ifndef QUERIES
#define QUERIES 4
#endif
#ifndef WINDOW
#define WINDOW 2
#endif

#define part_of(n, j) (2 * (n) + (j))

/* The asker A. */
bool sent[2 * QUERIES], acked[2 * QUERIES];     /* parts */
bool settled[QUERIES];                          /* there is a verdict */
byte next;                                      /* the next number */
byte lowest;                                    /* the lowest of which the peer may not know */

/* The recipient B. */
#define FREE 0
#define TAKEN 1
#define REFUSED 2
byte code[QUERIES];                             /* inside the window; below it is forgotten */
bool has_part[2 * QUERIES];                     /* parts that are put together */
bool opened[2 * QUERIES];                       /* parts */
bool works[QUERIES];                            /* the handler does, or its reply is under way */
bool refusing[QUERIES];                         /* REFUSE is not acknowledged */
byte top;                                       /* the highest number taken or refused, plus 1 */

byte executions[QUERIES];

hidden byte i;

#define below(n) ((n) + WINDOW < top)
#ifdef BUG_BELOW_IS_FREE
#define free(n) (code[n] == FREE && !works[n])
#else
#define free(n) (code[n] == FREE && !below(n))
#endif

#if defined(BUG_KNOWN_IN_PART)
#define known(n) (settled[n] || acked[part_of(n, 0)] || acked[part_of(n, 1)])
#elif defined(BUG_KNOWN_WHEN_SENT)
#define known(n) (settled[n] || (sent[part_of(n, 0)] && sent[part_of(n, 1)]))
#else
#define known(n) (settled[n] || (acked[part_of(n, 0)] && acked[part_of(n, 1)]))
#endif
inline update() {
  lowest = 0;
  do
  :: lowest < next && known(lowest) -> lowest++
  :: else -> break
  od;
  skip
}

/* B: the window slides so that number n is in it. */
inline slide(n) {
  if :: n >= top -> top = n + 1 :: else fi;
  i = 0;
  do
  :: i + WINDOW < top ->
     code[i] = FREE; has_part[part_of(i, 0)] = false; has_part[part_of(i, 1)] = false;
#ifdef BUG_REFUSAL_FORGOTTEN
     refusing[i] = false;
#endif
     i++
  :: else -> break
  od;
  skip
}

inline takes(n) {
  has_part[part_of(n, 0)] = false; has_part[part_of(n, 1)] = false;
  executions[n]++; assert(executions[n] <= 1);
  code[n] = TAKEN; works[n] = true; slide(n)
}
inline refuses(n) {
  has_part[part_of(n, 0)] = false; has_part[part_of(n, 1)] = false;
  code[n] = REFUSED; slide(n)
}

proctype query(byte n) {
end:
  do
  :: d_step { next == n && n < lowest + WINDOW -> next++; update() }
  /* REPLY comes; or REFUSE. */
  :: d_step { works[n] -> works[n] = false; settled[n] = true; update() }
  :: d_step { refusing[n] -> refusing[n] = false; settled[n] = true; update() }
  /* A cancels. CANCEL arrives; or it is lost. */
  :: d_step { n == 0 && n < next && !settled[n] ->
       settled[n] = true;
       if :: free(n) -> refuses(n) :: else fi;
       update() }
  :: d_step { n == 0 && n < next && !settled[n] -> settled[n] = true; update() }
  od
}

proctype part(byte n; byte j) {
end:
  do
  :: d_step { n < next && !settled[n] && !sent[part_of(n, j)] -> sent[part_of(n, j)] = true; update() }
  /* B: a part comes. The query is whole, or it is not, or it is refused. */
  :: d_step { sent[part_of(n, j)] && free(n) && has_part[part_of(n, 1 - j)] -> opened[part_of(n, j)] = true; takes(n) }
  :: d_step { sent[part_of(n, j)] && free(n) && !has_part[part_of(n, 0)] && !has_part[part_of(n, 1)] ->
       opened[part_of(n, j)] = true; has_part[part_of(n, j)] = true }
  :: d_step { sent[part_of(n, j)] && free(n) && !refusing[n] -> opened[part_of(n, j)] = true; refuses(n); refusing[n] = true }
  /* The number is used. If nothing is remembered of it, REFUSE 10. */
  :: d_step { sent[part_of(n, j)] && !free(n) && !opened[part_of(n, j)] ->
       opened[part_of(n, j)] = true; assert(!below(n) || works[n] || refusing[n] || settled[n]) }
#ifdef BUG_RUNNING_IS_LOST
  :: d_step { sent[part_of(n, j)] && below(n) && works[n] -> assert(!below(n) || settled[n]) }
#endif
  /* A: a part is acknowledged. */
  :: d_step { opened[part_of(n, j)] && !acked[part_of(n, j)] -> acked[part_of(n, j)] = true; update() }
  od
}

proctype finish() {
  timeout -> d_step { for (i : 0 .. QUERIES - 1) { assert(settled[i]) } skip }
}

init {
  atomic {
    for (i : 0 .. QUERIES - 1) { run query(i); run part(i, 0); run part(i, 1) }
    run finish()
  }
}
