//! The command line.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use egtp::{DEFAULT_HARD_TIMEOUT, NodeId, Rate, SignedRecord, TypeName};
use tracing_subscriber::filter::LevelFilter;

use crate::units;

/// Queries and replies between nodes that know each other by id.
#[derive(Debug, Parser)]
#[command(name = "egtp", version)]
pub(crate) struct Arguments {
    /// What to log to standard error: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", value_parser = level)]
    pub(crate) log: LevelFilter,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a few nodes on this machine and show what they do, step by step
    Demo,
    /// Make a new identity in a new file and print its node id
    Keygen(Key),
    /// Print the node id of an identity
    Id(Key),
    /// Answer queries until interrupted
    ///
    /// `echo` is answered with the same body, `ping` with an empty one, and other types by the commands given with --on. The first
    /// line says how the node can be reached.
    Serve(Serve),
    /// Ask one query and print the reply
    ///
    /// Exit code 0: a reply came. 1: it did not, and the last line on standard error says why. 2: something is wrong here.
    Ask(Box<Ask>),
}

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The file with the secret key [default: $XDG_DATA_HOME/egtp/key, or ~/.local/share/egtp/key]
    #[arg(long = "key", value_name = "FILE")]
    pub(crate) path: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The file with the secret key [default: $XDG_DATA_HOME/egtp/key, or ~/.local/share/egtp/key, made on first use]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The directory that keeps what outlives the process [default: the key file's name and `.state`]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Where to listen; port 0 is any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// The address that others are told, instead of the one listened on; needed with 0.0.0.0 or [::]
    #[arg(long, value_name = "ADDR:PORT", value_parser = announced)]
    pub(crate) announce: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) peers: Peers,
    #[command(flatten)]
    pub(crate) driver: Driver,
    /// Answer queries of this type with what COMMAND, run by /bin/sh, prints when the query is its input
    #[arg(long, value_name = "TYPE=COMMAND", value_parser = handler)]
    pub(crate) on: Vec<Handler>,
    /// How many commands run at once; beyond it a query is refused as busy, and its asker tries again until its deadline
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) on_limit: u16,
    /// The most that is sent, in bytes a second: 7000, 56k, 1M
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) up: Option<Rate>,
    /// The most that is received, in bytes a second
    #[arg(long, value_name = "RATE", value_parser = units::rate)]
    pub(crate) down: Option<Rate>,
    /// Print one JSON line once the node listens, and nothing more
    #[arg(long)]
    pub(crate) json: bool,
    /// With --json: print a JSON line for each query as well
    #[arg(long, requires = "json")]
    pub(crate) events: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Whom to ask: a contact (egtp:...), or the id of a node that the peers file holds
    #[arg(value_parser = peer)]
    pub(crate) peer: Peer,
    /// The query's type, for instance echo
    #[arg(value_name = "TYPE", value_parser = TypeName::new)]
    pub(crate) type_name: TypeName,
    /// The query's body [default: empty]
    pub(crate) body: Option<OsString>,
    /// Read the body from this file, or from standard input if it is `-`
    #[arg(long, value_name = "FILE", conflicts_with = "body")]
    pub(crate) body_file: Option<PathBuf>,
    /// The file with the secret key [default: a new identity for this run]
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) peers: Peers,
    /// Say so once if there is no reply after this long: 250ms, 2s, 5m, 1h
    #[arg(long, value_name = "DUR", value_parser = units::duration)]
    pub(crate) soft: Option<Duration>,
    /// Give up after this long, at most 1h [default: 5m]
    #[arg(long, value_name = "DUR", value_parser = units::hard_timeout)]
    pub(crate) hard: Option<Duration>,
    #[command(flatten)]
    pub(crate) driver: Driver,
    /// Print what happens as JSON lines; the reply's body goes to --out only
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the reply's body to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

impl Ask {
    pub(crate) fn hard(&self) -> Duration {
        self.hard.unwrap_or(DEFAULT_HARD_TIMEOUT)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// A file with one contact a line, to look up nodes in
    #[arg(id = "peers", long = "peers", value_name = "FILE")]
    pub(crate) path: Option<PathBuf>,
    /// Leave out the lines of the peers file that are no contacts
    #[arg(long, requires = "peers")]
    pub(crate) skip_bad_lines: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Driver {
    /// What runs the node
    #[arg(id = "driver", long = "driver", value_name = "DRIVER", value_enum, default_value = "poll")]
    pub(crate) kind: DriverKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DriverKind {
    Poll,
    Tokio,
}

/// Whom to ask.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    Id(NodeId),
    Contact(Box<SignedRecord>),
}

/// A type and the command that answers it.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    pub(crate) type_name: TypeName,
    pub(crate) command: String,
}

/// There is nothing to run.
pub(crate) enum NothingToRun {
    /// Help or the version was asked for: this is it.
    Help(String),
    /// What is wrong with which argument, in one line.
    Wrong(String),
}

/// Parses this process's arguments and checks those that belong together.
pub(crate) fn parse() -> Result<Arguments, NothingToRun> {
    let arguments = Arguments::try_parse().map_err(|error| nothing_to_run(&error))?;
    check(&arguments.command).map_err(NothingToRun::Wrong)?;
    Ok(arguments)
}

fn check(command: &Command) -> Result<(), String> {
    match command {
        Command::Ask(ask) if ask.soft.is_some_and(|soft| soft >= ask.hard()) => {
            Err("--soft: must be shorter than --hard, which is 5m unless given".into())
        }
        Command::Serve(serve) => {
            let mut types = BTreeSet::new();
            match serve.on.iter().find(|handler| !types.insert(&handler.type_name)) {
                Some(twice) => {
                    Err(format!("--on: the type {} is given twice; give one command for it", twice.type_name))
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn nothing_to_run(error: &clap::Error) -> NothingToRun {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => NothingToRun::Help(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            NothingToRun::Wrong("no command was given; `egtp --help` names them".into())
        }
        _ => NothingToRun::Wrong(first_paragraph(&text)),
    }
}

/// What is wrong comes first, perhaps over several lines; the usage and a pointer to the help follow after an empty line.
fn first_paragraph(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    format!("{} (see --help)", words.join(" "))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let known = [
        ("off", LevelFilter::OFF),
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    let level = known.into_iter().find_map(|(name, level)| (name == text).then_some(level));
    level.ok_or_else(|| "expected off, error, warn, info, debug or trace".into())
}

fn announced(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().map_err(|_| "expected an address and a port, for instance 192.0.2.1:4711")?;
    egtp_services::announceable(address).ok_or_else(|| "nobody can connect to this address and port".into())
}

fn handler(text: &str) -> Result<Handler, String> {
    let (type_name, command) = text.split_once('=').ok_or("expected TYPE=COMMAND")?;
    let type_name = TypeName::new(type_name).map_err(|error| error.to_string())?;
    Ok(Handler { type_name, command: command.into() })
}

fn peer(text: &str) -> Result<Peer, String> {
    if text.starts_with("egtp:") {
        text.parse().map(|record| Peer::Contact(Box::new(record))).map_err(|error| error.to_string())
    } else {
        text.parse().map(Peer::Id).map_err(|_| {
            "expected a contact that begins with `egtp:`, or a node id: 32 characters of z-base-32 or 40 lower-case \
             hexadecimal digits"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn refusal(line: &str) -> String {
        let words = std::iter::once("egtp").chain(line.split_whitespace());
        let result = Arguments::try_parse_from(words).map_err(|error| match nothing_to_run(&error) {
            NothingToRun::Wrong(text) | NothingToRun::Help(text) => text,
        });
        match result {
            Ok(arguments) => check(&arguments.command).expect_err(line),
            Err(text) => text,
        }
    }

    const ID: &str = "yryonyebyryonyebyryonyebyryonyeb";

    #[test]
    fn the_command_line_is_well_defined() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_refusal_is_one_line_that_names_the_argument() {
        let ask = format!("ask {ID} echo");
        for (line, argument) in [
            ("ask not-an-id echo", "<PEER>"),
            ("ask egtp:yyyy echo", "<PEER>"),
            (&format!("ask {ID} {}", "x".repeat(65)), "<TYPE>"),
            (&format!("{ask} --soft 5"), "--soft"),
            (&format!("{ask} --soft 2s --hard 2s"), "--soft"),
            (&format!("{ask} --soft 5m"), "--soft"),
            (&format!("{ask} --hard 0s"), "--hard"),
            (&format!("{ask} --hard 3601s"), "--hard"),
            (&format!("{ask} hello --body-file f"), "--body-file"),
            (&format!("{ask} --driver epoll"), "--driver"),
            ("ask", "<PEER>"),
            ("serve --on echo", "--on"),
            ("serve --on =cat", "--on"),
            ("serve --on a=cat --on a=tac", "--on"),
            ("serve --on-limit 0", "--on-limit"),
            ("serve --up 255", "--up"),
            ("serve --down fast", "--down"),
            ("serve --listen localhost", "--listen"),
            ("serve --announce 0.0.0.0:1", "--announce"),
            ("serve --skip-bad-lines", "--peers"),
            ("serve --events", "--json"),
            ("serve --log loud", "--log"),
            ("serve --frobnicate", "--frobnicate"),
        ] {
            let refusal = refusal(line);
            assert!(refusal.contains(argument) && !refusal.contains('\n'), "{line}: {refusal}");
        }
    }

    #[test]
    fn a_command_is_everything_after_the_first_equals_sign() {
        let handler = handler("sum=awk -F= '{print $1}'").unwrap();
        assert_eq!((handler.type_name.as_str(), handler.command.as_str()), ("sum", "awk -F= '{print $1}'"));
    }
}
