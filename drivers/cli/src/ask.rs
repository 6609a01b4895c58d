//! `egtp ask`: one query, one verdict.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use egtp::{
    Config, Delivery, Event, Executed, Failure, Instant, Limits, MAX_BODY, NodeId, Query, QueryId, Reason, Refusal,
    Reply, ServiceAction, Stage, Verdict,
};
use egtp_services::{PeersFile, key_file};
use egtp_sockets::{Setup, Step};
use tracing::debug;

use crate::args::{self, Peer};
use crate::json::Line;
use crate::log::Notes;
use crate::loops::Loop;
use crate::output::Streams;
use crate::trouble::Trouble;
use crate::{failure, keys, lookup, signals};

/// After the verdict nothing is outstanding; this is for saying good-bye.
const SHUT_DOWN_WITHIN: Duration = Duration::from_secs(1);

/// `egtp ask`
pub(crate) fn run(arguments: args::Ask, streams: &Streams) -> Result<(), Trouble> {
    let identity = match &arguments.key {
        Some(path) => keys::load(path)?,
        None => key_file::unsaved().map_err(|error| Trouble::local("no identity can be made", error))?,
    };
    let peers = lookup::load(&arguments.peers)?;
    let to = whom(&arguments.peer, identity.node_id(), &peers)?;
    let hard = arguments.hard();
    let body = body(arguments.body, arguments.body_file.as_deref())?;
    let out = arguments.out.as_deref().map(OutFile::open).transpose()?;
    let mut query = Query::new(arguments.type_name, body).hard_timeout(hard);
    if let Some(soft) = arguments.soft {
        query = query.soft_timeout(soft);
    }
    let config = Config { limits: Limits::client(), ..Config::default() }.check()?;
    let mut looping = Loop::open(arguments.driver.kind, Setup { config, ..Setup::new(identity) })?;
    let handle = looping.handle();
    signals::on_each(move || handle.post(Interrupted))
        .map_err(|error| Trouble::local("signals cannot be caught", error))?;
    if let Peer::Contact(record) = arguments.peer {
        // A refusal means that the node knows as much already: it is its own contact.
        let _ = looping.with(|node, now| node.learn(now, *record));
    }
    let asking = Asking { streams, json: arguments.json, soft: arguments.soft, hard, peers, asked: looping.now(), out };
    asking.run(looping, to, query)
}

/// The one thing that another thread tells the loop.
struct Interrupted;

struct Asking<'a> {
    streams: &'a Streams,
    json: bool,
    soft: Option<Duration>,
    hard: Duration,
    peers: PeersFile,
    asked: Instant,
    out: Option<OutFile>,
}

impl Asking<'_> {
    fn run(mut self, mut looping: Loop<Interrupted>, to: NodeId, query: Query) -> Result<(), Trouble> {
        let result = match looping.with(|node, now| node.query(now, to, query)) {
            Ok(asked) => {
                let verdict = self.wait_for(&mut looping, asked)?;
                self.report(looping.now(), verdict)
            }
            Err(unasked) => self.report_failure(&refused_here(unasked.why, Executed::No)),
        };
        looping.with(|node, now| node.shut_down(now, SHUT_DOWN_WITHIN));
        loop {
            match looping.next()? {
                Step::Service(action) => self.service(&mut looping, &action),
                Step::Stopped => return result,
                _ => {}
            }
        }
    }

    fn wait_for(&mut self, looping: &mut Loop<Interrupted>, asked: QueryId) -> Result<Verdict, Trouble> {
        let mut notes = Notes::default();
        loop {
            match looping.next()? {
                Step::Deliver(Delivery::Verdict { query, verdict, .. }) if query == asked => {
                    notes.finish();
                    return Ok(verdict);
                }
                Step::Deliver(Delivery::SoftTimeout { .. }) => self.report_soft_timeout(),
                Step::Deliver(other) => debug!("ignored: {other:?}"),
                Step::Service(action) => self.service(looping, &action),
                Step::Note(note) => notes.note(looping.now(), &note),
                Step::Posted(Interrupted) => {
                    // If there is nothing to cancel, the verdict is under way.
                    let _ = looping.with(|node, now| node.cancel(now, asked));
                }
                Step::Stopped => {
                    return Ok(Verdict::Failed(refused_here(Refusal::ShuttingDown, Executed::Maybe)));
                }
            }
        }
    }

    fn service(&self, looping: &mut Loop<Interrupted>, action: &ServiceAction) {
        looping.with(|node, now| match *action {
            ServiceAction::Lookup { lookup, peer } => lookup::answer(node, now, &self.peers, lookup, peer),
            ServiceAction::Discover { discovery, .. } => lookup::answer_discovery(node, now, discovery),
            // This node announces nothing and ends with its verdict, so that nothing has to outlive it.
            ServiceAction::Save { save, .. } => node.handle(now, Event::Saved(save)),
            ServiceAction::Publish { .. } => {}
        });
    }

    fn report_soft_timeout(&self) {
        let soft = self.soft.unwrap_or_default();
        self.streams.stderr.say(&format!("no reply after {soft:?} yet; waiting until {:?} have passed", self.hard));
        if self.json {
            self.streams.stdout.send(Line::event("soft-timeout").end());
        }
    }

    fn report(&mut self, now: Instant, verdict: Verdict) -> Result<(), Trouble> {
        match verdict {
            Verdict::Reply(reply) => self.report_reply(now.saturating_since(self.asked), reply),
            Verdict::Failed(failure) => self.report_failure(&failure),
        }
    }

    fn report_reply(&mut self, after: Duration, Reply { body, via }: Reply) -> Result<(), Trouble> {
        let bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        if let Some(out) = self.out.take() {
            out.write(&body)?;
        } else if !self.json {
            self.streams.stdout.send(body);
        }
        if self.json {
            let line = Line::event("reply").number("bytes", bytes).number("ms", millis).text("via", &via.to_string());
            self.streams.stdout.send(line.end());
        }
        Ok(())
    }

    fn report_failure(&self, failure: &Failure) -> Result<(), Trouble> {
        if self.json {
            self.streams.stdout.send(failure::json(failure));
        }
        for attempt in failure::attempts(failure) {
            self.streams.stderr.say(&attempt);
        }
        Err(Trouble::Verdict(failure::verdict(failure)))
    }
}

fn refused_here(why: Refusal, executed: Executed) -> Failure {
    Failure { reason: Reason::RefusedHere(why), executed, stage: Stage::Queue, tried: Vec::new() }
}

/// Without a contact there must be a way to find one.
fn whom(peer: &Peer, own: NodeId, peers: &PeersFile) -> Result<NodeId, Trouble> {
    match peer {
        Peer::Contact(record) => Ok(record.node_id()),
        Peer::Id(id) if *id == own || peers.lookup(id).is_some() => Ok(*id),
        Peer::Id(id) => Err(Trouble::local(
            "<PEER>",
            format!(
                "no contact of {id} is known: give the contact instead of the id, or a peers file that has it (--peers)"
            ),
        )),
    }
}

/// The body, or enough of one that is too long to have it refused.
fn body(text: Option<OsString>, file: Option<&Path>) -> Result<Vec<u8>, Trouble> {
    let Some(path) = file else { return Ok(text.map(OsStringExt::into_vec).unwrap_or_default()) };
    let limit = u64::try_from(MAX_BODY).unwrap_or(u64::MAX).saturating_add(1);
    let mut body = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut body)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut body))
    };
    let why =
        |error| format!("{} cannot be read: {error}: name a readable file, or - for standard input", path.display());
    read.map(|_| body).map_err(|error| Trouble::local("--body-file", why(error)))
}

/// The file for the reply. It is opened before anything is asked, so that a reply is not lost for want of a place. If there is none, things
/// are left as they were.
struct OutFile {
    path: PathBuf,
    file: File,
    to_be_removed: bool,
}

impl OutFile {
    fn open(path: &Path) -> Result<Self, Trouble> {
        let is_new = !path.exists();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| Self::trouble(path, &error))?;
        Ok(Self { path: path.into(), file, to_be_removed: is_new })
    }

    fn write(mut self, body: &[u8]) -> Result<(), Trouble> {
        let emptied = match self.file.metadata() {
            Ok(metadata) if metadata.is_file() => self.file.set_len(0),
            _ => Ok(()),
        };
        emptied.and_then(|()| self.file.write_all(body)).map_err(|error| Self::trouble(&self.path, &error))?;
        self.to_be_removed = false;
        Ok(())
    }

    fn trouble(path: &Path, error: &io::Error) -> Trouble {
        Trouble::local("--out", format!("{} cannot be written: {error}: name another file", path.display()))
    }
}

impl Drop for OutFile {
    fn drop(&mut self) {
        if self.to_be_removed {
            // An empty file more is no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_must_be_in_the_peers_file_or_the_own_one() {
        let (own, other) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        let peers = PeersFile::default();
        assert_eq!(whom(&Peer::Id(own), own, &peers).ok(), Some(own));
        assert!(matches!(whom(&Peer::Id(other), own, &peers), Err(Trouble::Local(line)) if line.contains("<PEER>")));
    }

    #[test]
    fn a_body_too_long_is_read_just_far_enough_to_be_refused() {
        assert_eq!(body(None, Some(Path::new("/dev/zero"))).unwrap().len(), MAX_BODY + 1);
    }
}
