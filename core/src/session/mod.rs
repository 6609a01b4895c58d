//! A session between two nodes, as a machine of its own: messages on one side, packets on the other.
//!
//! ```text
//!      ask, answer, refuse, give up                    what came of it (Happening)
//!                  |                                              ^
//!                  v                                              |
//!   +--------------------------------- Session ---------------------------------+
//!   |  asking      own numbers          |  answering    the peer's numbers       |
//!   |  queue       what waits           |  assembly     what comes in parts      |
//!   |  records     what is unsettled    |  receipt      what is to acknowledge   |
//!   |  lanes       paths, as it knows them                                       |
//!   +----------------------------------------------------------------------------+
//!                  |                                              ^
//!                  v                                              |
//!            seal(path)                                      open(path)
//! ```
//!
//! It knows nothing of nodes, peers and connections. It is told of a path that it is there, that a record has left by it, and that it has
//! ended; whatever was lost goes again by another. Memory that is shared is charged to the [`Account`] that is handed to each call.

mod answering;
mod asking;
mod assembly;
mod chacha_poly;
mod cookie;
mod handshake;
mod inbound;
mod lane;
mod noise;
mod numbers;
#[cfg(test)]
mod oracle;
mod outbound;
mod outgoing;
mod queue;
mod ranges;
mod receipt;
mod records;
mod replay;
mod rtt;
mod seal;
#[cfg(test)]
mod tests;
mod window;

use alloc::vec::Vec;
use core::time::Duration;

use self::answering::{Answered, Answering, Due, Entry};
use self::asking::{Asked, Asking};
pub(crate) use self::assembly::Arrived;
pub(crate) use self::cookie::CookieJar;
pub(crate) use self::handshake::{Established, Initiator, Responder};
pub(crate) use self::inbound::{Happening, RuleBroken};
use self::lane::Lanes;
pub(crate) use self::lane::{Lane, PathId};
use self::outgoing::Outgoing;
use self::queue::{Queue, Row, Thing, Waiting};
use self::receipt::Receipt;
use self::records::{Content, Outcome, Records, What};
pub(crate) use self::seal::OpenError;
use self::seal::{Opener, Sealer};
use crate::admission::Account;
use crate::query::MAX_HARD_TIMEOUT;
use crate::slab::Key;
use crate::time::Instant;
use crate::wire::code::{RefuseCode, ReplyCode};
use crate::wire::frame::PieceOf;
use crate::wire::message::Message;
use crate::wire::packet::SessionId;

/// A deadline further away than any query's is cut to this: the longest hard timeout, and a minute for the clocks.
const LATEST_UNTIL: Duration = Duration::from_secs(MAX_HARD_TIMEOUT.as_secs() + 60);

/// While something is under way and nothing is heard for so long, the peer is asked whether it still holds the session.
const QUIET: Duration = Duration::from_secs(20);

/// Whoever was heard within this time is believed to hold the session still, without a path.
const LATELY: Duration = Duration::from_secs(30);

/// Whose acknowledgements pass over the same thing so often breaks the rules.
const MOST_STRIKES: u8 = 3;

/// What the two ends of a new session have agreed upon.
pub(crate) struct Agreement {
    pub(crate) id: SessionId,
    /// What the peer calls it; in the header of everything sent to it.
    pub(crate) peer_id: SessionId,
    pub(crate) initiated: bool,
    pub(crate) generation: u32,
    /// Where the peer's session clock starts at the earliest: this node gives deadlines on that.
    pub(crate) peer_clock: Instant,
    /// How many queries the peer lets wait at a time.
    pub(crate) most_outstanding: usize,
    pub(crate) keys: Established,
}

pub(crate) struct Session {
    id: SessionId,
    peer_id: SessionId,
    initiated: bool,
    generation: u32,
    handshake_hash: [u8; 32],
    confirmed: bool,
    /// The peer's clock and this node's have gone apart: nothing more is asked in it.
    late: bool,
    sealer: Sealer,
    opener: Opener,
    /// Where this node's session clock starts: the peer gives deadlines on it.
    clock: Instant,
    peer_clock: Instant,
    /// When the peer was last heard in it, if it was.
    heard: Option<Instant>,
    /// When the peer was last heard in it, or asked since it was not.
    quiet_since: Instant,
    introduction: Introduction,
    lanes: Lanes,
    records: Records,
    receipt: Receipt,
    queue: Queue,
    asking: Asking,
    answering: Answering,
    outcome: Outcome,
    arriving: inbound::Arriving,
    /// Whether a message, or a part of one, has got through.
    fruit: bool,
    refusals: Refusals,
}

/// Queries that a session has refused by itself, and how many of them were never whole: their parts stopped coming, or found no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) refused: u32,
    pub(crate) abandoned: u32,
}

/// Whoever initiated a session has to send a record in it, or the peer never learns that its half is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Introduction {
    Owed,
    Sealed,
    Done,
}

/// What a query leaves when it gives up its number.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) message: Message,
    /// Records of which no byte has left, which carry a part of it: they must not leave.
    pub(crate) withdrawn: Vec<(PathId, u64)>,
}

/// How far a query with a number has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Progress {
    /// Some part of it has never left this machine.
    Here,
    /// Every part has left at least once.
    Left,
    /// The peer has acknowledged all of it.
    There,
}

impl Session {
    pub(crate) fn new(agreement: Agreement, now: Instant) -> Self {
        let Agreement { id, peer_id, initiated, generation, peer_clock, most_outstanding, keys } = agreement;
        Self {
            id,
            peer_id,
            initiated,
            generation,
            handshake_hash: keys.handshake_hash,
            confirmed: initiated,
            late: false,
            sealer: Sealer::new(&keys.send_key),
            opener: Opener::new(&keys.receive_key),
            clock: now,
            peer_clock,
            heard: None,
            quiet_since: now,
            introduction: if initiated { Introduction::Owed } else { Introduction::Done },
            lanes: Lanes::default(),
            records: Records::default(),
            receipt: Receipt::default(),
            queue: Queue::default(),
            asking: Asking::new(most_outstanding),
            answering: Answering::new(),
            outcome: Outcome::default(),
            arriving: inbound::Arriving::default(),
            fruit: false,
            refusals: Refusals::default(),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn peer_id(&self) -> SessionId {
        self.peer_id
    }

    pub(crate) fn initiated(&self) -> bool {
        self.initiated
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Both ends rank their sessions alike: the lowest first.
    pub(crate) fn rank(&self) -> (bool, core::cmp::Reverse<u32>, [u8; 32]) {
        (!self.confirmed, core::cmp::Reverse(self.generation), self.handshake_hash)
    }

    /// Whether the peer was heard in it: nothing is asked before.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// When its keys were made.
    pub(crate) fn made(&self) -> Instant {
        self.clock
    }

    /// Whether another one should take its place: much was sealed, or the clocks have gone apart.
    pub(crate) fn wants_replacement(&self) -> bool {
        self.late || self.sealer.wants_replacement()
    }

    /// The peer has called late what this node still waits for: nothing more is asked in it.
    pub(crate) fn clocks_have_parted(&mut self) {
        self.late = true;
    }

    /// Whether a record with this counter was sealed in it.
    pub(crate) fn has_sealed(&self, counter: u64) -> bool {
        counter < self.sealer.counter()
    }

    /// Whether nothing is under way in it, either way: it may be erased.
    pub(crate) fn is_idle(&self) -> bool {
        self.asking.is_empty() && self.answering.is_empty() && self.records.all_settled()
    }

    /// Whether the peer is to be told that nobody waits for what it works at.
    pub(crate) fn cancels(&self, now: Instant) -> bool {
        self.asking.cancels(now)
    }

    /// Whether this node waits for something of the peer's, or the peer for something of this node's.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.asking.is_empty() || !self.answering.is_empty()
    }

    /// How many queries have a number and wait.
    pub(crate) fn outstanding(&self) -> usize {
        self.asking.len()
    }

    // Paths.

    /// A path to the peer is there. If the peer was not heard on it in this session, it is asked whether it holds the session. `short` says
    /// that the peer does not know yet whose path it is.
    pub(crate) fn join(&mut self, path: PathId, short: bool) {
        let lane = self.lanes.join(path, short);
        if !lane.is_heard() {
            lane.ask();
        }
    }

    /// The peer was heard on a path: it has sent the WELCOME of this very session there.
    pub(crate) fn hear(&mut self, now: Instant, path: PathId, short: bool, taken: Option<Duration>) {
        let lane = self.lanes.join(path, short);
        lane.hear();
        lane.is_short_again(short);
        if let Some(taken) = taken {
            lane.rtt().sample(taken);
        }
        self.was_heard(now);
    }

    /// The peer has said on a path that it holds the session, in answer to a HELLO. It cannot know yet that this end uses it there.
    pub(crate) fn is_held(&mut self, now: Instant, path: PathId, short: bool) {
        let is_known = self.is_heard_on(path);
        self.hear(now, path, short, None);
        if let Some(lane) = self.lanes.get_mut(path).filter(|_| !is_known) {
            lane.ask();
        }
    }

    fn was_heard(&mut self, now: Instant) {
        self.heard = Some(now);
        self.quiet_since = now;
    }

    /// Something on the path says that the peer does not know the session there.
    pub(crate) fn stale(&mut self, path: PathId) {
        if self.lanes.get_mut(path).is_some_and(Lane::answered_in_vain) {
            self.asked_in_vain(path);
        }
    }

    /// The question on a path is lost: neither the path nor the session is judged by it.
    fn asked_in_vain(&mut self, path: PathId) {
        let mut outcome = core::mem::take(&mut self.outcome);
        self.records.lose_all(path, &mut self.lanes, &mut outcome);
        self.all_goes_again(outcome);
    }

    /// A path has ended: what was under way on it goes again by another.
    pub(crate) fn path_ended(&mut self, path: PathId) {
        if self.lanes.get(path).is_none() {
            return;
        }
        let mut outcome = core::mem::take(&mut self.outcome);
        self.records.path_ended(path, &mut self.lanes, &mut outcome);
        self.lanes.remove(path);
        self.receipt.path_ended(path);
        self.all_goes_again(outcome);
        if self.introduction == Introduction::Sealed {
            self.introduction = Introduction::Owed;
        }
    }

    /// What was lost goes again.
    fn all_goes_again(&mut self, outcome: Outcome) {
        for content in &outcome.lost {
            self.goes_again(*content);
        }
        self.outcome = outcome;
        self.records.forget_settled(self.sealer.counter(), self.queue.is_empty());
    }

    pub(crate) fn lane(&self, path: PathId) -> Option<&Lane> {
        self.lanes.get(path)
    }

    /// Whether the peer was heard on a path in this session.
    pub(crate) fn is_heard_on(&self, path: PathId) -> bool {
        self.lanes.get(path).is_some_and(Lane::is_heard)
    }

    /// Whether the peer was heard on any path that is still open, or lately: so that what is asked in it is not asked in vain.
    pub(crate) fn is_live(&self, now: Instant) -> bool {
        let lately = self.heard.is_some_and(|heard| heard + LATELY > now);
        self.confirmed && (lately || self.lanes.iter().any(Lane::is_heard))
    }

    /// Whether the peer was asked on every path that there is whether it holds this session, and has not said so.
    pub(crate) fn is_doubted(&self) -> bool {
        let mut lanes = self.lanes.iter().peekable();
        lanes.peek().is_some() && lanes.all(|lane| !lane.is_heard() && lane.has_asked_in_vain())
    }

    /// When the peer was asked on this path whether it is there, if it owes the answer; and how long it may be silent.
    pub(crate) fn silence(&self, path: PathId) -> Option<(Instant, Duration)> {
        self.lanes.get(path).and_then(Lane::silence)
    }

    /// Since when a record of which bytes have left by this path waits for its acknowledgement while none comes.
    pub(crate) fn waiting_since(&self, path: PathId) -> Option<Instant> {
        self.lanes.get(path).and_then(Lane::stuck_since)
    }

    /// Some bytes of a record have left.
    pub(crate) fn begun(&mut self, counter: u64, now: Instant) {
        self.records.begun(counter, now, &mut self.lanes);
    }

    /// All of a record has left.
    pub(crate) fn left(&mut self, counter: u64, now: Instant) {
        for content in self.records.left(counter, now, &mut self.lanes) {
            if content.what == What::Part(PieceOf::Query)
                && let Some(asked) = self.asking.get_mut(content.number)
            {
                asked.outgoing.left(content.range());
            }
        }
    }

    // Asking.

    /// Whether a query may have a number now.
    pub(crate) fn can_ask(&mut self) -> bool {
        self.confirmed && !self.late && self.asking.has_room()
    }

    /// Gives a query the next number, and queues it.
    pub(crate) fn ask(&mut self, now: Instant, query: Key, message: Message, notice: bool, deadline: Instant) -> u64 {
        if self.asking.is_empty() {
            self.quiet_since = now;
        }
        let until = until_on(self.peer_clock, deadline);
        let outgoing = Outgoing::new(message);
        let number =
            self.asking.number(Asked { query, outgoing, notice, until, deadline, reply: None, counts_as_long: false });
        if let Some(asked) = self.asking.get_mut(number) {
            self.queue.line_up(&mut asked.outgoing, Waiting::new(Thing::Query, number));
        }
        number
    }

    /// How far a query has come; `None` if it has no number here.
    pub(crate) fn progress(&self, number: u64) -> Option<Progress> {
        let outgoing = &self.asking.get(number)?.outgoing;
        Some(if outgoing.is_acknowledged() {
            Progress::There
        } else if outgoing.has_left(self.records.begun_parts(PieceOf::Query, number)) {
            Progress::Left
        } else {
            Progress::Here
        })
    }

    /// The queries that have a number here.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (u64, Key)> {
        self.asking.iter().map(|(number, asked)| (number, asked.query))
    }

    /// The query that has this number.
    pub(crate) fn asked_under(&self, number: u64) -> Option<Key> {
        self.asking.get(number).map(|asked| asked.query)
    }

    /// The query has its verdict, or goes again under another number. If the peer may wait for more of it, or work at it, and is not to, it
    /// is `cancelled` there.
    pub(crate) fn give_up(&mut self, number: u64, cancelled: bool, account: &mut Account<'_>) -> Option<GivenUp> {
        let asked = self.asking.get(number)?;
        let has_begun = self.records.begun_parts(PieceOf::Query, number).next().is_some();
        let tells = cancelled && (has_begun || asked.outgoing.has_begun_to_leave());
        let deadline = asked.deadline;
        let unsent = !asked.outgoing.is_untouched() && !asked.outgoing.is_acknowledged();
        let (_, message) = self.asking.remove(number, account)?;
        let withdrawn = if unsent { self.withdraw(PieceOf::Query, number) } else { Vec::new() };
        if tells {
            self.asking.cancel(number, deadline);
            self.queue.push(Row::First, Waiting::new(Thing::Cancel, number));
        }
        Some(GivenUp { message, withdrawn })
    }

    /// What carries a part of a message and has not begun to leave does not leave; what else it held goes again.
    fn withdraw(&mut self, of: PieceOf, number: u64) -> Vec<(PathId, u64)> {
        let mut outcome = core::mem::take(&mut self.outcome);
        let withdrawn = self.records.withdraw(of, number, &mut self.lanes, &mut outcome);
        if let Some(path) = outcome.unsaid {
            self.receipt.owe_again(path);
        }
        if !withdrawn.is_empty() && self.introduction == Introduction::Sealed {
            self.introduction = Introduction::Owed;
        }
        self.all_goes_again(outcome);
        withdrawn
    }

    /// Notices that the peer has since this was last asked.
    pub(crate) fn take_told(&mut self) -> Vec<Key> {
        self.asking.take_told()
    }

    // Answering.

    /// A query that has arrived is taken, for ever, and goes to this handler.
    pub(crate) fn take_query(&mut self, number: u64, incoming: Key, until: Instant, account: &mut Account<'_>) {
        self.answering.take(number, incoming, until, account);
    }

    /// A notice that has arrived is taken, for ever.
    pub(crate) fn take_notice(&mut self, number: u64) {
        self.answering.take_notice(number);
    }

    /// A query that has arrived, or that a handler has, did not run and never will.
    pub(crate) fn refuse(
        &mut self,
        number: u64,
        code: RefuseCode,
        wait: u16,
        until: Instant,
        account: &mut Account<'_>,
    ) {
        self.answering.refuse(number, code, wait, until, account);
        self.queue.push(Row::First, Waiting::new(Thing::Refuse, number));
    }

    /// It refuses a query that never came to its owner.
    fn refuses_itself(&mut self, now: Instant, number: u64, code: RefuseCode, account: &mut Account<'_>) {
        self.refusals.refused += 1;
        self.refusals.abandoned += u32::from(code == RefuseCode::NoMemory);
        self.refuse(number, code, 0, now + LATEST_UNTIL, account);
    }

    /// What it has refused by itself since this was last asked.
    pub(crate) fn take_refusals(&mut self) -> Refusals {
        core::mem::take(&mut self.refusals)
    }

    /// The handler says that its query did not run. Says whether the asker still waits.
    pub(crate) fn refuse_running(&mut self, number: u64, code: RefuseCode, account: &mut Account<'_>) -> bool {
        let waits = self.answering.refuse_running(number, code, account);
        if waits {
            self.queue.push(Row::First, Waiting::new(Thing::Refuse, number));
        }
        waits
    }

    /// The handler has answered. Without memory for it the asker learns that it does not fit. Says whether the asker still waits.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        number: u64,
        mut code: ReplyCode,
        mut message: Message,
        account: &mut Account<'_>,
    ) -> bool {
        let Some(until) = self.answering.finish(number, account) else { return false };
        debug_assert!(code == ReplyCode::Answer || message.body.is_empty(), "only an answer has a body");
        let mut charged = message.len();
        if !account.charge_reply(charged) {
            charged = 0;
            if !message.body.is_empty() {
                code = ReplyCode::ReplyTooLong;
                message.body = Vec::new();
            }
        }
        let outgoing = Outgoing::new(message);
        let answered = Answered { code, outgoing, charged, until, progress: now, counts_as_long: false };
        self.answering.answer(number, answered, account);
        self.reply_lines_up(number);
        true
    }

    /// The handler's query is given up without an answer: that is said, as of one that is forgotten.
    pub(crate) fn abandon(&mut self, number: u64, account: &mut Account<'_>) {
        if let Some(Entry::Running { .. }) = self.answering.get(number) {
            self.answering.forget(number, account);
            self.queue.push(Row::First, Waiting::new(Thing::Forgotten, number));
        }
    }

    /// Whether something is under way to the peer that is not acknowledged, or an acknowledgement is owed.
    pub(crate) fn owes(&self) -> bool {
        !self.queue.is_empty() || !self.records.all_settled() || self.receipt.is_owed() || !self.answering.is_empty()
    }

    /// While nothing is under way in it, it holds no memory for what might be.
    pub(crate) fn rest(&mut self) {
        if self.is_idle() && !self.owes() {
            self.outcome = Outcome::default();
            self.queue.rest();
            self.records.rest();
            self.asking.rest();
            self.answering.rest();
        }
    }

    /// Whether something has got through, either way, since this was last asked.
    pub(crate) fn has_borne_fruit(&mut self) -> bool {
        core::mem::take(&mut self.fruit)
    }

    /// Answers of which nothing was acknowledged for a while, though the peer could be reached, give up their memory for others: the
    /// asker learns that they do not fit. Says whether there were any.
    pub(crate) fn shorten_answers(&mut self, now: Instant, account: &mut Account<'_>) -> bool {
        if !self.lanes.iter().any(Lane::is_heard) {
            return false;
        }
        let shortened = self.answering.shorten(now, account);
        for &number in &shortened {
            self.reply_lines_up(number);
        }
        !shortened.is_empty()
    }

    fn reply_lines_up(&mut self, number: u64) {
        if let Some(Entry::Answered(answered)) = self.answering.get_mut(number) {
            self.queue.line_up(&mut answered.outgoing, Waiting::new(Thing::Reply, number));
        }
    }

    // Time.

    /// When it wants to be [told](Self::tick) the time, after `now`.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let receipt = self.receipt.due().filter(|_| self.lanes.iter().any(Lane::is_heard)).map(|(due, _)| due);
        let quiet = self.is_in_use().then(|| self.quiet_since + QUIET);
        let lanes = self.lanes.iter().filter_map(Lane::deadline);
        let times = lanes.chain(receipt).chain(quiet).chain(self.answering.deadline());
        times.filter(|due| *due > now).min()
    }

    /// Does what is due. Gives back the handlers that work for nothing now.
    pub(crate) fn tick(&mut self, now: Instant, account: &mut Account<'_>) -> Vec<Key> {
        let in_vain = |lane: &mut Lane| lane.tick(now).then(|| lane.path());
        let in_vain: Vec<PathId> = self.lanes.iter_mut().filter_map(in_vain).collect();
        for path in in_vain {
            self.asked_in_vain(path);
        }
        if self.is_in_use() && self.quiet_since + QUIET <= now {
            self.quiet_since = now;
            self.lanes.iter_mut().filter(|lane| lane.is_heard()).for_each(Lane::ask);
        }
        let mut withdrawn = Vec::new();
        for (number, due) in self.answering.tick(now, account) {
            match due {
                Due::Stalled => self.refuses_itself(now, number, RefuseCode::NoMemory, account),
                Due::Late => self.refuses_itself(now, number, RefuseCode::TooLate, account),
                Due::Forgotten(incoming) => {
                    withdrawn.extend(incoming);
                    self.queue.push(Row::First, Waiting::new(Thing::Forgotten, number));
                }
            }
        }
        withdrawn
    }

    /// What became of a query that was taken is forgotten: that is said once more.
    fn forget(&mut self, number: u64, account: &mut Account<'_>) {
        self.answering.forget(number, account);
        self.queue.push(Row::First, Waiting::new(Thing::Forgotten, number));
    }

    /// Owed acknowledgements go at once.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.receipt.hurry(now);
    }

    /// It ends: gives back the handlers that work for it, and the queries that have a number in it with how far they had come.
    pub(crate) fn end(mut self, account: &mut Account<'_>) -> Ended {
        let told = self.asking.take_told();
        let progress: Vec<(u64, Progress)> =
            self.asking.iter().filter_map(|(number, _)| Some((number, self.progress(number)?))).collect();
        let asked = self.asking.remove_all(account).into_iter().zip(progress);
        let asked =
            asked.map(|((number, query, message), (_, progress))| Unanswered { number, query, message, progress });
        Ended { withdrawn: self.answering.end(account), asked: asked.collect(), told }
    }

    /// What must always hold.
    pub(crate) fn check(&self) {
        if cfg!(debug_assertions) {
            self.records.check(&self.lanes);
            self.asking.check();
            self.answering.check();
        }
    }

    /// What it is charged with: bytes of assemblies, of replies, handlers, long messages, entries.
    pub(crate) fn charged(&self) -> [usize; 5] {
        let [assembly, replies, incoming, long, entries] = self.answering.charged();
        [assembly + self.asking.assembly_bytes(), replies, incoming, long + self.asking.long(), entries]
    }

    /// What a lost record carried goes again, before everything new.
    fn goes_again(&mut self, content: Content) {
        let Content { what, number, strikes, .. } = content;
        let outgoing = match what {
            What::Part(PieceOf::Query) => self.asking.get_mut(number).map(|asked| (&mut asked.outgoing, Thing::Query)),
            What::Part(PieceOf::Reply) | What::NoAnswer => match self.answering.get_mut(number) {
                Some(Entry::Answered(answered)) if (answered.code == ReplyCode::Answer) != (what == What::NoAnswer) => {
                    Some((&mut answered.outgoing, Thing::Reply))
                }
                _ => None,
            },
            What::Refuse => return self.queue.push(Row::First, Waiting { what: Thing::Refuse, number, strikes }),
            What::Cancel => return self.queue.push(Row::First, Waiting { what: Thing::Cancel, number, strikes }),
            What::Forgotten => return self.queue.push(Row::First, Waiting { what: Thing::Forgotten, number, strikes }),
        };
        if let Some((outgoing, thing)) = outgoing {
            outgoing.lost(content.range(), strikes);
            self.queue.line_up(outgoing, Waiting::new(thing, number));
        }
    }
}

impl core::fmt::Debug for Session {
    /// What is remembered in it, but for times, keys and the counter of what was sealed.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("confirmed", &self.confirmed)
            .field("late", &self.late)
            .field("opener", &self.opener)
            .field("queue", &self.queue)
            .field("asking", &self.asking)
            .field("answering", &self.answering)
            .finish_non_exhaustive()
    }
}

/// What a session leaves when it ends.
pub(crate) struct Ended {
    /// Handlers that work for nothing now.
    pub(crate) withdrawn: Vec<Key>,
    /// Queries and notices that had a number in it.
    pub(crate) asked: Vec<Unanswered>,
    /// Notices that the peer has.
    pub(crate) told: Vec<Key>,
}

/// A query whose session has ended.
pub(crate) struct Unanswered {
    pub(crate) number: u64,
    pub(crate) query: Key,
    pub(crate) message: Message,
    pub(crate) progress: Progress,
}

/// A deadline on the session clock of a peer which starts at this moment at the earliest, in milliseconds: never too early, even if the
/// clocks go apart by one part in 512 meanwhile.
fn until_on(peer_clock: Instant, deadline: Instant) -> u32 {
    let micros = u64::try_from(deadline.saturating_since(peer_clock).as_micros()).unwrap_or(u64::MAX / 1024);
    let stretched = micros.saturating_mul(513).div_ceil(512);
    u32::try_from(stretched.div_ceil(1000).saturating_add(1)).unwrap_or(u32::MAX)
}
