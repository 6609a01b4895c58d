//! The program `egtp`: a node to serve with, a node to ask with, its keys, and a demonstration.

mod args;
mod ask;
mod demo;
mod failure;
mod handlers;
mod json;
mod keys;
mod log;
mod lookup;
mod loops;
mod output;
mod report;
mod serve;
mod signals;
mod trouble;
mod units;

use std::io;
use std::process::ExitCode;

use args::{Arguments, Command};
use output::{Output, Streams};
use trouble::Trouble;

fn main() -> ExitCode {
    let streams = Streams {
        stdout: Output::start(io::stdout(), |count| json::Line::event("dropped").number("lines", count).end()),
        stderr: Output::start(io::stderr(), |count| format!("egtp: {count} lines were dropped here\n")),
    };
    let done = match args::parse() {
        Ok(arguments) => run(arguments, &streams),
        Err(args::NothingToRun::Help(text)) => {
            streams.stdout.send(text);
            Ok(())
        }
        Err(args::NothingToRun::Wrong(line)) => Err(Trouble::Local(line)),
    };
    finish(done, &streams)
}

fn run(Arguments { log, command }: Arguments, streams: &Streams) -> Result<(), Trouble> {
    log::start(log, &streams.stderr);
    match command {
        Command::Demo => demo::run(&streams.stdout),
        Command::Keygen(key) => keys::keygen(key.path.as_deref(), streams),
        Command::Id(key) => keys::id(key.path.as_deref(), streams),
        Command::Serve(serve) => serve::run(&serve, streams),
        Command::Ask(ask) => ask::run(*ask, streams),
    }
}

/// Waits until everything is written, says what went wrong, and turns it into the exit code.
fn finish(done: Result<(), Trouble>, streams: &Streams) -> ExitCode {
    let done = match (done, streams.stdout.flush()) {
        (Ok(()), Err(error)) => Err(Trouble::local("standard output cannot be written", error)),
        (done, _) => done,
    };
    let code = match &done {
        Ok(()) => 0,
        Err(Trouble::Verdict(_)) => 1,
        Err(Trouble::Local(_)) => 2,
    };
    if let Err(Trouble::Verdict(line) | Trouble::Local(line)) = done {
        streams.stderr.say(&line);
    }
    // There is nowhere left to say that this failed.
    let _ = streams.stderr.flush();
    ExitCode::from(code)
}
