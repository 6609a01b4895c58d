//! A hostile peer with real keys, and an application that goes on with its work meanwhile.

mod peer;
mod stage;

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use egtp::{Config, Hint, PeerRefusal, Rate, Throttle};

use self::peer::Word;
use self::stage::Stage;
use super::Outcome;
use super::edits::Edit;

/// What happens, one thing after the other.
#[derive(Arbitrary, Debug)]
struct Input {
    /// Whether the node has room for next to nothing.
    narrow: bool,
    steps: Vec<Step>,
}

/// One thing that happens. Numbers wrap around, so that each of them names something that is there.
#[derive(Arbitrary, Debug)]
enum Step {
    Peer(FromPeer),
    World(FromWorld),
    Application(Command),
}

/// What the peer does on one of its connections.
#[derive(Arbitrary, Debug)]
enum FromPeer {
    /// Opens one.
    Connect,
    /// Begins a handshake.
    Greet { on: u8, as_another: bool, generation: u8, asks: u8 },
    /// Answers the handshake that was begun last.
    Welcome { generation: u8, held: u8, room: u8 },
    /// Says frames in one of its sessions.
    Say { on: u8, session: u8, words: Vec<Word> },
    /// Says anything in one of its sessions.
    Babble { on: u8, session: u8, text: Vec<u8> },
    /// Sends bytes without any key.
    Send { on: u8, bytes: Vec<u8> },
    /// Sends an earlier record twice more.
    Repeat { on: u8, back: u8 },
    /// Sends an earlier record with changes.
    Damage { on: u8, back: u8, edits: Vec<Edit> },
    /// Cuts what it sends from now on into parts of this size; zero stands for none.
    Chop(u8),
    /// Ends one.
    Hang { on: u8 },
}

/// What the world does.
#[derive(Arbitrary, Debug)]
enum FromWorld {
    /// A dial succeeds.
    Connected,
    /// A dial fails.
    Refused,
    /// So many milliseconds pass.
    Wait(u16),
    /// So many seconds pass.
    WaitLong(u16),
    /// From now on the operating system takes no more bytes than these; 255 stands for all.
    Take(u8),
    /// The Lookup Service finds the peer's record, with this number and these changes.
    Found { sequence: u8, edits: Vec<Edit> },
    /// The Lookup Service knows nothing more.
    LookupDone,
    /// The Discovery Service names so many relays.
    Discovered(u8),
}

/// What the application wants.
#[derive(Arbitrary, Debug)]
enum Command {
    Ask { whom: u8, what: u8, length: u8, seconds: u8, soft: bool, hint: u8 },
    Notify { whom: u8, what: u8, length: u8 },
    Answer { which: u8, length: u8 },
    Refuse { which: u8, why: u8 },
    Cancel { which: u8 },
    Serve(u8),
    Unserve(u8),
    Throttle { up: u8, down: u8, each: bool },
    Announce(u8),
    Learn(u8),
    Discover,
    ShutDown { seconds: u8 },
}

/// Everything that a hostile peer can do, with an application that works meanwhile.
///
/// # Panics
///
/// If a query has not exactly one verdict by its deadline; if a rejected packet or a refused command leaves a trace; if a limit does not
/// hold; if the node's clock stands still; or if something is left in the end.
pub fn hostile(bytes: &[u8]) -> Outcome {
    if bytes.is_empty() {
        return Outcome::Unreadable;
    }
    let Ok(Input { narrow, steps }) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Outcome::Unreadable;
    };
    let mut stage = Stage::new(config(narrow));
    for step in &steps {
        match step {
            Step::Peer(what) => by_the_peer(&mut stage, what),
            Step::World(what) => by_the_world(&mut stage, what),
            Step::Application(command) => by_the_application(&mut stage, command),
        }
        stage.settle();
    }
    stage.end();
    Outcome::taken_if(stage.met())
}

fn config(narrow: bool) -> Config {
    let mut config = Config::default();
    if narrow {
        let limits = &mut config.limits;
        limits.connections = 4;
        limits.maintained_connections = 1;
        limits.unauthenticated_connections = 2;
        limits.peers = 3;
        limits.sessions = 2;
        limits.tentative_sessions = 2;
        limits.queries = 4;
        limits.query_bytes = 150_000;
        limits.incoming = 3;
        limits.incoming_per_peer = 2;
        limits.assembly_bytes = 30_000;
        limits.assembly_bytes_per_peer = 20_000;
        limits.reply_bytes = 150_000;
        limits.reply_bytes_per_peer = 100_000;
        limits.undelivered_bytes = 4000;
        limits.stored_records = 1;
        limits.served_types = 2;
        limits.lookups = 1;
    }
    config
}

fn by_the_peer(stage: &mut Stage, what: &FromPeer) {
    match what {
        FromPeer::Connect => stage.connects(),
        FromPeer::Greet { on, as_another, generation, asks } => stage.greets(*on, *as_another, *generation, *asks),
        FromPeer::Welcome { generation, held, room } => stage.welcomes(*generation, *held, *room),
        FromPeer::Say { on, session, words } => stage.says(*on, *session, words),
        FromPeer::Babble { on, session, text } => stage.babbles(*on, *session, text),
        FromPeer::Send { on, bytes } => stage.sends(*on, bytes),
        FromPeer::Repeat { on, back } => stage.repeats(*on, *back),
        FromPeer::Damage { on, back, edits } => stage.damages(*on, *back, edits),
        FromPeer::Chop(size) => stage.chunk = if *size == 0 { usize::MAX } else { usize::from(*size) },
        FromPeer::Hang { on } => stage.hangs(*on),
    }
}

fn by_the_world(stage: &mut Stage, what: &FromWorld) {
    match what {
        FromWorld::Connected => stage.dial_ends(true),
        FromWorld::Refused => stage.dial_ends(false),
        FromWorld::Wait(millis) => stage.waits(Duration::from_millis(u64::from(*millis))),
        FromWorld::WaitLong(seconds) => stage.waits(Duration::from_secs(u64::from(*seconds))),
        FromWorld::Take(bytes) => stage.takes = if *bytes == u8::MAX { usize::MAX } else { usize::from(*bytes) },
        FromWorld::Found { sequence, edits } => stage.found(*sequence, edits),
        FromWorld::LookupDone => stage.lookup_done(),
        FromWorld::Discovered(count) => stage.discovered(*count),
    }
}

fn by_the_application(stage: &mut Stage, command: &Command) {
    match *command {
        Command::Ask { whom, what, length, seconds, soft, hint } => {
            let hint = [Hint::None, Hint::MoreToCome, Hint::NoMore][usize::from(hint % 3)];
            stage.asks(whom, what, length, Duration::from_secs(u64::from(seconds)), soft, hint);
        }
        Command::Notify { whom, what, length } => stage.notifies(whom, what, length),
        Command::Answer { which, length } => stage.answers(which, length),
        Command::Refuse { which, why } => stage.refuses(which, refusal(why)),
        Command::Cancel { which } => stage.cancels(which),
        Command::Serve(what) => stage.serves(what),
        Command::Unserve(what) => stage.unserves(what),
        Command::Throttle { up, down, each } => {
            let rate = |kilobytes: u8| Rate::bytes_per_second(u64::from(kilobytes) * 1000);
            let mut throttle = Throttle { up: rate(up), down: rate(down), ..Throttle::default() };
            if each {
                (throttle.up_per_connection, throttle.down_per_connection) = (throttle.up, throttle.down);
            }
            stage.throttles(throttle);
        }
        Command::Announce(count) => stage.announces(count),
        Command::Learn(sequence) => stage.learns(sequence),
        Command::Discover => stage.discovers(),
        Command::ShutDown { seconds } => stage.shuts_down(Duration::from_secs(u64::from(seconds))),
    }
}

fn refusal(number: u8) -> PeerRefusal {
    let all = [
        PeerRefusal::UnknownType,
        PeerRefusal::BusyWithYou,
        PeerRefusal::Busy,
        PeerRefusal::NoMemory,
        PeerRefusal::ShuttingDown,
        PeerRefusal::NotWelcome,
        PeerRefusal::Malformed,
        PeerRefusal::TooLate,
        PeerRefusal::Cancelled,
        PeerRefusal::Declined,
        PeerRefusal::ReplyTooLong,
    ];
    all[usize::from(number) % all.len()]
}
