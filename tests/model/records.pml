/* Model R, records: counters, the window, and acknowledgements of one direction.
 *
 * A sends two items over two paths: a stream, which keeps the order and from which somebody on the way may take records
 * out, and a relay, which reorders and loses. B opens each counter once and remembers a window of WINDOW counters; an ACK
 * names at most RUNS runs of them, downwards from the highest. ACKs are under way for any time, two of them at once, and
 * overtake each other or are lost. Records that ask for no acknowledgement use counters too and push the window. Until
 * `heal` all of that goes wrong at any moment, and streams end; from then on nothing does.
 *
 * Asserted:
 *   R1  what A takes as acknowledged has taken effect              in is_acked()
 *   R2  ltl r2: once faults stop, both items are acknowledged
 *
 * Bounds: COUNTERS in all, EARLY of them before heal. -DNO_THEFT: nobody takes records out of the stream.
 *
 * Left out: an ACK that is repeated, which the window of its own direction rejects; what the items are (delivery.pml); a sender
 * that uses counters without end; the length of timers; counters that are skipped on purpose, and BREAK for whoever breaks
 * these rules.
 */

#ifndef COUNTERS
#define COUNTERS 8
#endif
#ifndef EARLY
#define EARLY 4
#endif
#ifndef WINDOW
#define WINDOW 3
#endif
#ifndef RUNS
#define RUNS 2
#endif

#define bit(c) (1 << (c))

/* What a record carries: an item; nothing that asks for an acknowledgement; PING. It is OVER when nobody looks at it again. */
#define OVER 0
#define ITEM_0 1
#define ITEM_1 2
#define NOTHING 3
#define PING 4
byte kind[COUNTERS];
#define is_item(c) (kind[c] == ITEM_0 || kind[c] == ITEM_1)
#define item_of(c) (kind[c] - 1)

#define STREAM 0
#define RELAY 1
byte path[COUNTERS];

/* Where it is. TOO_LATE: it came when it was below the window. */
#define UNDER_WAY 1
#define OPENED 2
#define STOLEN 3
#define TOO_LATE 4
byte place[COUNTERS];

/* What A believes of it. */
#define NO_NOTE 0
#define UNACKED 1
#define ACKED 2
#define LOST 3
byte note[COUNTERS];

byte next;                      /* A: the next counter */
bool acked[2];                  /* A: the item has arrived */
byte top;                       /* B: the highest counter that was opened, plus 1 */
bool owes_ack;                  /* B */
bool effect[2];                 /* B has the item */
short ack, older_ack;           /* under way: the counters that they name; or none */
bool heal;

/* What follows from all that, kept up to date after each step. */
byte front;                     /* the first record under way on the stream, plus 1; or 0 */
bool room;                      /* A may seal a record that asks for an acknowledgement */
bool misses;                    /* A misses one on the stream and has to ask for it */
bool waits[2];                  /* the item is not under way as far as A knows */

hidden byte i, passed, lowest, runs;
hidden byte inside, moves;
hidden short named;

/* ---- Acknowledgements. ---- */

/* An ACK that B sends now names a counter if it was opened and is in one of the first RUNS runs that are looked at. */
inline look_at(c) {
  if
  :: place[c] == OPENED ->
     if :: !inside -> runs++ :: else fi;
     inside = true;
     if :: runs <= RUNS -> named = named | bit(c) :: else fi
#ifdef BUG_GAPS
  :: place[c] != OPENED && inside && runs < RUNS -> named = named | bit(c); inside = false
#endif
  :: else -> inside = false
  fi
}

inline name() {
  named = 0; runs = 0; inside = false;
#ifdef BUG_OLDEST
  i = (top > WINDOW -> top - WINDOW : 0);
  do :: i < top -> look_at(i); i++ :: else -> break od;
#else
  i = top;
  do :: i > 0 && top - i < WINDOW -> i--; look_at(i) :: else -> break od;
#endif
#ifdef BUG_BELOW
  do :: i > 0 -> i--; named = named | bit(i) :: else -> break od;
#endif
  skip
}

inline is_acked(c) {
  note[c] = ACKED;
  if :: is_item(c) -> acked[item_of(c)] = true; assert(effect[item_of(c)]) :: else fi
}

#ifdef BUG_LATE_UNCOUNTED
#define counts_late false
#else
#define counts_late true
#endif
/* An ACK comes to A. One of a record that was given up as lost still counts. */
inline ack_comes(counters) {
  passed = 0;
  for (i : 0 .. COUNTERS - 1) {
    if
    :: i < next && (counters & bit(i)) ->
       if :: path[i] == STREAM && kind[i] != OVER -> passed = i :: else fi;
       if :: note[i] == UNACKED || (counts_late && note[i] == LOST) -> is_acked(i) :: else fi
    :: else
    fi
  }
  /* What went earlier over the same stream and is not named is lost. */
  for (i : 0 .. COUNTERS - 1) {
    if
    :: i < passed && path[i] == STREAM && note[i] == UNACKED ->
#if defined(BUG_CUMULATIVE)
       is_acked(i)
#elif defined(BUG_STAYS)
       skip
#else
       note[i] = LOST
#endif
    :: else
    fi
  }
  counters = 0
}

/* ---- What follows from each step. ---- */

#ifdef BUG_PING_LIMITED
#define may_ask room
#else
#define may_ask true
#endif

inline update() {
  front = 0; lowest = COUNTERS; misses = false; moves = false; waits[0] = !acked[0]; waits[1] = !acked[1];
  for (i : 0 .. COUNTERS - 1) {
    if
    :: i < next ->
       if :: note[i] == UNACKED && lowest == COUNTERS -> lowest = i :: else fi;
       if :: note[i] == UNACKED && path[i] == STREAM && place[i] != UNDER_WAY -> misses = true :: else fi;
       if :: place[i] == UNDER_WAY && path[i] == STREAM -> moves = true; if :: front == 0 -> front = i + 1 :: else fi :: else fi;
       if :: note[i] == UNACKED && is_item(i) -> waits[item_of(i)] = false :: else fi;
       if
       :: i + WINDOW < top && place[i] != UNDER_WAY && note[i] != UNACKED ->
          kind[i] = OVER; path[i] = STREAM; place[i] = STOLEN; note[i] = NO_NOTE
       :: else
       fi
    :: else
    fi
  }
  room = (lowest == COUNTERS || next < lowest + WINDOW);
  misses = misses && !owes_ack && !ack && !moves && may_ask
}

inline seals(what, where, remembered) {
  kind[next] = what; path[next] = where; place[next] = UNDER_WAY; note[next] = remembered; next++; update()
}

inline opens(c) {
  if
  :: c + WINDOW < top -> place[c] = TOO_LATE
  :: else ->
     place[c] = OPENED;
     if :: c + 1 > top -> top = c + 1 :: else fi;
     if :: is_item(c) -> effect[item_of(c)] = true :: else fi;
     if :: kind[c] != NOTHING -> owes_ack = true :: else fi
  fi;
  update()
}

#define may_seal (next < COUNTERS && (heal || next < EARLY))
#ifdef BUG_PING_ELSEWHERE
#define PING_PATH RELAY
#else
#define PING_PATH STREAM
#endif
#ifdef NO_THEFT
#define THEFT false
#else
#define THEFT (!heal)
#endif

proctype ends() {
  d_step { update() };
  do
  :: d_step { may_seal && room && waits[0] -> seals(ITEM_0, STREAM, UNACKED) }
  :: d_step { may_seal && room && waits[0] -> seals(ITEM_0, RELAY, UNACKED) }
  :: d_step { may_seal && room && waits[1] -> seals(ITEM_1, STREAM, UNACKED) }
  :: d_step { may_seal && room && waits[1] -> seals(ITEM_1, RELAY, UNACKED) }
  :: d_step { may_seal && !heal -> seals(NOTHING, STREAM, NO_NOTE) }
  :: d_step { may_seal && !heal -> seals(NOTHING, RELAY, NO_NOTE) }
  :: d_step { may_seal && misses -> seals(PING, PING_PATH, UNACKED) }
  /* An ACK is sent; it comes; it is lost. */
  :: d_step { owes_ack -> owes_ack = false; older_ack = ack; name(); ack = named; update() }
  :: d_step { ack -> ack_comes(ack); update() }
  :: d_step { older_ack -> ack_comes(older_ack); update() }
  :: d_step { !heal && ack -> ack = 0; update() }
  :: d_step { !heal && older_ack -> older_ack = 0; update() }
  /* The stream ends, and another follows. */
  :: d_step { !heal ->
       for (i : 0 .. COUNTERS - 1) {
         if :: i < next && path[i] == STREAM && note[i] == UNACKED -> note[i] = LOST :: else fi;
         if :: i < next && path[i] == STREAM && place[i] == UNDER_WAY -> place[i] = STOLEN :: else fi
       }
       update() }
  :: d_step { !heal -> heal = true }
  od
}

proctype record(byte c) {
  do
  :: d_step { front == c + 1 -> opens(c) }
  :: d_step { place[c] == UNDER_WAY && path[c] == RELAY -> opens(c) }
  :: d_step { place[c] == UNDER_WAY && path[c] == STREAM && THEFT -> place[c] = STOLEN; update() }
  :: d_step { place[c] == UNDER_WAY && path[c] == RELAY && !heal -> place[c] = STOLEN; update() }
  /* The relay's timer. Of the last two counters, which nothing can push out of the window, it may be too short for ever. */
  :: d_step { note[c] == UNACKED && path[c] == RELAY &&
              (!heal || c + 2 >= COUNTERS || (place[c] != UNDER_WAY && !owes_ack && !ack)) ->
       note[c] = LOST; update() }
  od
}

init {
  atomic {
    run ends();
    for (i : 0 .. COUNTERS - 1) { run record(i) }
  }
}

ltl r2 { [] (heal -> <> (acked[0] && acked[1])) }
