//! `egtp serve`: a node that answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{io, mem, process, thread};

use egtp::{
    Config, Delivery, Event, IncomingId, NodeId, PeerRefusal, ReplyToken, SaveId, ServiceAction, SignedRecord,
    StoreKey, Strategies, Throttle, TypeName,
};
use egtp_services::{PeersFile, Saved, Saver, StateDir, StateError, announceable};
use egtp_sockets::{Setup, Step};
use tracing::{debug, error, warn};

use crate::args::{self, Handler};
use crate::handlers::{self, Outcome, Running};
use crate::log::{Limiter, Notes};
use crate::loops::{Handle, Loop};
use crate::output::Streams;
use crate::report::Report;
use crate::trouble::Trouble;
use crate::{keys, lookup, signals};

/// Outstanding work has so long to end.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(3);

/// The process ends after this at the latest, whatever a disk or a terminal holds up.
const END_WITHIN: Duration = Duration::from_secs(4);

/// `egtp serve`
pub(crate) fn run(arguments: &args::Serve, streams: &Streams) -> Result<(), Trouble> {
    let mut server = Server::open(arguments, streams)?;
    server.announce(arguments)?;
    let done = server.run();
    if !server.stopping {
        end_within(END_WITHIN, 2);
    }
    server.notes.finish();
    for answering in server.running.into_values() {
        answering.running.end();
    }
    // What waits to be saved is saved before the directory is let go.
    server.saver.finish();
    done
}

/// What other threads tell the loop.
enum Posted {
    Saved(Saved),
    Ended(IncomingId, Outcome),
    Signal,
}

struct Server {
    looping: Loop<Posted>,
    handle: Handle<Posted>,
    saver: Saver,
    peers: PeersFile,
    commands: BTreeMap<TypeName, String>,
    command_limit: usize,
    running: BTreeMap<IncomingId, Answering>,
    notes: Notes,
    failures: Limiter<&'static str>,
    report: Report,
    listening: bool,
    stopping: bool,
    trouble: Option<Trouble>,
}

/// A query that a command answers. Its place is free when the command has ended, even if nobody waits for the answer any more.
struct Answering {
    token: Option<ReplyToken>,
    running: Running,
    from: NodeId,
    type_name: TypeName,
}

impl Server {
    fn open(arguments: &args::Serve, streams: &Streams) -> Result<Self, Trouble> {
        let (identity, key_file) = keys::load_or_create(arguments.key.as_deref(), streams)?;
        let state = arguments.state.clone().unwrap_or_else(|| default_state(&key_file));
        let peers = lookup::load(&arguments.peers)?;
        let throttle = Throttle { up: arguments.up, down: arguments.down, ..Throttle::default() };
        let config = Config { throttle, ..Config::default() }.check()?;
        let state = StateDir::open(&state).map_err(state_trouble)?;
        let stored = state.load().map_err(state_trouble)?;
        let setup = Setup { config, identity, stored, listen: vec![arguments.listen] };
        let looping = Loop::open(arguments.driver.kind, setup)?;
        let handle = looping.handle();
        let for_saver = looping.handle();
        let report_saved = move |saved| {
            // A loop that has ended wants to hear of nothing.
            let _ = for_saver.post(Posted::Saved(saved));
        };
        let saver =
            Saver::start(state, report_saved).map_err(|error| Trouble::local("no thread can be started", error))?;
        let for_signals = looping.handle();
        let shut_down = move || {
            // A loop that has ended is about to end the process.
            let _ = for_signals.post(Posted::Signal);
            true
        };
        signals::on_each(shut_down).map_err(|error| Trouble::local("signals cannot be caught", error))?;
        let commands =
            arguments.on.iter().cloned().map(|Handler { type_name, command }| (type_name, command)).collect();
        let report = Report::new(streams.stdout.clone(), arguments.json, arguments.events);
        Ok(Self {
            looping,
            handle,
            saver,
            peers,
            commands,
            command_limit: usize::from(arguments.on_limit),
            running: BTreeMap::new(),
            notes: Notes::default(),
            failures: Limiter::default(),
            report,
            listening: false,
            stopping: false,
            trouble: None,
        })
    }

    /// Serves the types, and has the node publish how it can be reached.
    fn announce(&mut self, arguments: &args::Serve) -> Result<(), Trouble> {
        for name in ["echo", "ping"] {
            self.serve(TypeName::new(name).map_err(|error| Trouble::Local(error.to_string()))?)?;
        }
        for type_name in self.commands.keys().cloned().collect::<Vec<_>>() {
            self.serve(type_name)?;
        }
        let bound = self.looping.local_address();
        let address = arguments.announce.or_else(|| bound.and_then(announceable));
        if address.is_none() {
            warn!("the contact of this node names no address, since {} names none: use --announce", arguments.listen);
        }
        let strategies = Strategies { addresses: address.into_iter().collect(), ..Strategies::default() };
        let announced = self.looping.with(|node, now| node.announce(now, strategies));
        announced.map_err(|refusal| Trouble::local("the node cannot be announced", refusal))
    }

    fn serve(&mut self, type_name: TypeName) -> Result<(), Trouble> {
        let served = self.looping.node().serve(type_name);
        served.map_err(|refusal| Trouble::local("--on", refusal))
    }

    fn run(&mut self) -> Result<(), Trouble> {
        loop {
            match self.looping.next()? {
                Step::Service(action) => self.service(action),
                Step::Deliver(delivery) => self.deliver(delivery),
                Step::Note(note) => self.notes.note(self.looping.now(), &note),
                Step::Posted(Posted::Saved(saved)) => self.saved(saved),
                Step::Posted(Posted::Ended(incoming, outcome)) => self.command_ended(incoming, outcome),
                Step::Posted(Posted::Signal) => self.shut_down(),
                Step::Stopped => return self.trouble.take().map_or(Ok(()), Err),
            }
        }
    }

    fn service(&mut self, action: ServiceAction) {
        match action {
            ServiceAction::Lookup { lookup, peer } => {
                self.looping.with(|node, now| lookup::answer(node, now, &self.peers, lookup, peer));
            }
            ServiceAction::Discover { discovery, .. } => {
                self.looping.with(|node, now| lookup::answer_discovery(node, now, discovery));
            }
            ServiceAction::Publish { record } => self.publish(&record),
            ServiceAction::Save { save, key, value } => self.save(save, key, value),
        }
    }

    fn publish(&mut self, record: &SignedRecord) {
        if let Some(address) = self.looping.local_address().filter(|_| !self.listening) {
            self.listening = true;
            self.report.listening(&address.to_string(), record);
        }
    }

    fn save(&mut self, save: SaveId, key: StoreKey, value: Option<Vec<u8>>) {
        if let Err(failed) = self.saver.save(save, key, value) {
            self.saved(failed);
        }
    }

    fn saved(&mut self, saved: Saved) {
        match saved {
            Saved::Done(save) => self.looping.with(|node, now| node.handle(now, Event::Saved(save))),
            // Without its sequence number the node can never say how it is to be reached.
            Saved::Failed(StoreKey::Sequence, error) if !self.listening => {
                self.trouble = Some(state_trouble(error));
                self.looping.with(|node, now| node.shut_down(now, Duration::ZERO));
            }
            Saved::Failed(_, error) => {
                if let Some(count) = self.failures.admit("not saved", 1, self.looping.now()) {
                    error!(count, "{error}");
                }
            }
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Query { from, type_name, body, token, .. } => {
                self.report.query(from, &type_name, body.len());
                match (self.commands.get(&type_name).cloned(), type_name.as_str()) {
                    (Some(command), _) => self.run_command(&command, from, type_name, body, token),
                    (None, "echo") => self.reply(from, &type_name, token, body),
                    (None, _) => self.reply(from, &type_name, token, Vec::new()),
                }
            }
            Delivery::Notice { from, type_name, body } => self.report.notice(from, &type_name, body.len()),
            Delivery::Withdrawn(incoming) => {
                if let Some(answering) = self.running.get_mut(&incoming) {
                    answering.token = None;
                    answering.running.kill();
                }
            }
            // The server asks nothing, so that nothing else is meant for it.
            other => debug!("ignored: {other:?}"),
        }
    }

    fn run_command(&mut self, command: &str, from: NodeId, type_name: TypeName, body: Vec<u8>, token: ReplyToken) {
        if self.running.len() >= self.command_limit {
            return self.refuse(from, &type_name, token, PeerRefusal::Busy);
        }
        let incoming = token.incoming();
        let handle = self.handle.clone();
        let done = move |outcome| {
            // A loop that has ended wants to hear of nothing.
            let _ = handle.post(Posted::Ended(incoming, outcome));
        };
        match handlers::start(command, from, &type_name, body, done) {
            Ok(running) => {
                let answering = Answering { token: Some(token), running, from, type_name };
                self.running.insert(incoming, answering);
            }
            Err(error) => self.command_not_run(from, &type_name, token, &error),
        }
    }

    fn command_ended(&mut self, incoming: IncomingId, outcome: Outcome) {
        let Some(Answering { token: Some(token), from, type_name, .. }) = self.running.remove(&incoming) else {
            return;
        };
        match outcome {
            Outcome::Reply(body) => self.reply(from, &type_name, token, body),
            Outcome::Failed(status) => {
                debug!("the command for {type_name} has failed: {status}");
                self.refuse(from, &type_name, token, PeerRefusal::Declined);
            }
            Outcome::Broken(error) => {
                if let Some(count) = self.failures.admit("broken", 1, self.looping.now()) {
                    error!(count, "the command for {type_name} was given up: {error}");
                }
                self.refuse(from, &type_name, token, PeerRefusal::Declined);
            }
            Outcome::TooLong => self.refuse(from, &type_name, token, PeerRefusal::ReplyTooLong),
            Outcome::Dropped => self.refuse(from, &type_name, token, PeerRefusal::Declined),
            Outcome::NotRun(error) => self.command_not_run(from, &type_name, token, &error),
        }
    }

    fn command_not_run(&mut self, from: NodeId, type_name: &TypeName, token: ReplyToken, why: &io::Error) {
        if let Some(count) = self.failures.admit("not run", 1, self.looping.now()) {
            error!(count, "the command for {type_name} cannot be run: {why}");
        }
        self.refuse(from, type_name, token, PeerRefusal::Busy);
    }

    fn reply(&mut self, from: NodeId, type_name: &TypeName, token: ReplyToken, body: Vec<u8>) {
        let length = body.len();
        match self.looping.with(|node, now| node.reply(now, token, body)) {
            Ok(()) => self.report.reply(from, type_name, length),
            Err(unsent) => debug!("to {from}: {unsent}"),
        }
    }

    fn refuse(&mut self, from: NodeId, type_name: &TypeName, token: ReplyToken, why: PeerRefusal) {
        match self.looping.with(|node, now| node.refuse(now, token, why)) {
            Ok(()) => self.report.refusal(from, type_name, why),
            Err(refusal) => debug!("a refusal to {from} was not taken: {refusal}"),
        }
    }

    fn shut_down(&mut self) {
        if mem::replace(&mut self.stopping, true) {
            return;
        }
        end_within(END_WITHIN, 0);
        for answering in self.running.values_mut() {
            answering.running.kill();
            if let Some(token) = answering.token.take() {
                // Any other reason would say that the command has not run, and its asker would try again. If the refusal
                // is not taken, nobody waits for it any more.
                let _ = self.looping.with(|node, now| node.refuse(now, token, PeerRefusal::Declined));
            }
        }
        self.looping.with(|node, now| node.shut_down(now, SHUT_DOWN_WITHIN));
    }
}

/// `KEYFILE.state`
fn default_state(key_file: &Path) -> PathBuf {
    let mut name = key_file.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

fn state_trouble(error: StateError) -> Trouble {
    Trouble::local("--state", error)
}

/// Ends the process after a while with this code, unless it has ended by then.
fn end_within(limit: Duration, code: i32) {
    let spawned = thread::Builder::new().name("egtp-end".into()).spawn(move || {
        thread::sleep(limit);
        process::exit(code);
    });
    if let Err(error) = spawned {
        warn!("the end is not guarded: {error}");
    }
}
