//! The commands of `--on`: each runs beside the loop, in a thread and a process group of its own.

use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};

use egtp::{MAX_BODY, NodeId, TypeName};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, kill_process_group};

/// A command that runs. Dropping this kills it, with everything that it has started and not put into another process group.
pub(crate) struct Running {
    /// The command's thread waits for its end as well.
    kept_open: Option<PipeWriter>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Has the command killed, if it still runs. Returns at once; `done` says when it has ended.
    pub(crate) fn kill(&mut self) {
        self.kept_open = None;
    }

    /// Kills the command, if it still runs, and waits until it has ended.
    pub(crate) fn end(mut self) {
        self.kill();
        // If the thread has panicked, there is nothing left to end.
        let _ = self.thread.join();
    }
}

/// How a command ended.
pub(crate) enum Outcome {
    /// It succeeded; this is what it printed.
    Reply(Vec<u8>),
    /// It failed.
    Failed(ExitStatus),
    /// It was killed, since it printed more than a body holds.
    TooLong,
    /// It was killed, since nobody waits for it any more.
    Dropped,
    /// It was started, and the system failed it.
    Broken(io::Error),
    /// The system could not start it: it has not run.
    NotRun(io::Error),
}

/// Runs a command by `/bin/sh -c` with the body as its input. `done` is called once, from another thread.
pub(crate) fn start(
    command: &str,
    from: NodeId,
    type_name: &TypeName,
    body: Vec<u8>,
    done: impl FnOnce(Outcome) + Send + 'static,
) -> io::Result<Running> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).env("EGTP_PEER", from.to_string()).env("EGTP_TYPE", type_name.as_str());
    shell.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    let (dropped, kept_open) = io::pipe()?;
    let thread = thread::Builder::new().name("egtp-on".into()).spawn(move || done(run(shell, &body, &dropped)))?;
    Ok(Running { kept_open: Some(kept_open), thread })
}

/// `dropped` becomes readable, with its end, when the command is to be killed.
fn run(mut shell: Command, body: &[u8], dropped: &PipeReader) -> Outcome {
    let mut child = match shell.spawn() {
        Ok(child) => child,
        Err(error) => return Outcome::NotRun(error),
    };
    let ended = converse(&mut child, body, dropped).and_then(|output| wait(&mut child, dropped).map(|()| output));
    let killed = match ended {
        Ok(output) => match child.wait() {
            Ok(status) if status.success() => return Outcome::Reply(output),
            Ok(status) => return Outcome::Failed(status),
            Err(error) => Outcome::Broken(error),
        },
        Err(outcome) => outcome,
    };
    kill(&mut child);
    killed
}

/// Feeds the body to the command and collects what it prints, until it has closed its output.
fn converse(child: &mut Child, body: &[u8], dropped: &PipeReader) -> Result<Vec<u8>, Outcome> {
    let (mut stdin, Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Outcome::Broken(ErrorKind::BrokenPipe.into()));
    };
    if let Some(stdin) = &stdin {
        ioctl_fionbio(stdin, true).map_err(broken)?;
    }
    let mut to_write = body;
    let mut output = Vec::new();
    loop {
        // A closed input says that the body is complete.
        stdin = stdin.filter(|_| !to_write.is_empty());
        let ready = wait_ready(dropped, &stdout, stdin.as_ref())?;
        if ready.dropped {
            return Err(Outcome::Dropped);
        }
        if ready.stdout && read_some(&mut stdout, &mut output)? == 0 {
            return Ok(output);
        }
        if ready.stdin {
            stdin = stdin.filter(|stdin| write_some(stdin, &mut to_write));
        }
    }
}

struct Ready {
    dropped: bool,
    stdout: bool,
    stdin: bool,
}

fn wait_ready(dropped: &PipeReader, stdout: &ChildStdout, stdin: Option<&ChildStdin>) -> Result<Ready, Outcome> {
    let mut fds = vec![PollFd::new(dropped, PollFlags::IN), PollFd::new(stdout, PollFlags::IN)];
    fds.extend(stdin.map(|stdin| PollFd::new(stdin, PollFlags::OUT)));
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(broken(error)),
    }
    let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
    Ok(Ready { dropped: ready(0), stdout: ready(1), stdin: ready(2) })
}

fn read_some(stdout: &mut ChildStdout, output: &mut Vec<u8>) -> Result<usize, Outcome> {
    let mut buffer = [0; 16 << 10];
    let count = stdout.read(&mut buffer).map_err(Outcome::Broken)?;
    if output.len() + count > MAX_BODY {
        return Err(Outcome::TooLong);
    }
    output.extend_from_slice(&buffer[..count]);
    Ok(count)
}

/// Returns whether the command may want more. One that does not read its input is no error.
fn write_some(mut stdin: &ChildStdin, to_write: &mut &[u8]) -> bool {
    match stdin.write(to_write) {
        Ok(count) => {
            *to_write = &to_write[count..];
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Waits for a command that has closed its output, which it usually does by ending.
fn wait(child: &mut Child, dropped: &PipeReader) -> Result<(), Outcome> {
    let mut pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    while child.try_wait().map_err(Outcome::Broken)?.is_none() {
        match poll(&mut [PollFd::new(dropped, PollFlags::IN)], Some(&pause)) {
            Ok(0) | Err(Errno::INTR) => pause.tv_nsec = (pause.tv_nsec * 2).min(100_000_000),
            Ok(_) => return Err(Outcome::Dropped),
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

/// The shell was not waited for yet, so that its process group cannot be another one by now.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It fails only if the group has ended already.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

fn broken(error: Errno) -> Outcome {
    Outcome::Broken(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    const LONG: Duration = Duration::from_secs(60);

    fn start_with(command: &str, body: &[u8]) -> (Running, Receiver<Outcome>) {
        let (sender, outcome) = channel();
        let from = NodeId::from_bytes([7; 20]);
        let type_name = TypeName::new("some/type").unwrap();
        let running = start(command, from, &type_name, body.to_vec(), move |outcome| sender.send(outcome).unwrap());
        (running.unwrap(), outcome)
    }

    fn reply(command: &str, body: &[u8]) -> Vec<u8> {
        let (_running, outcome) = start_with(command, body);
        match outcome.recv_timeout(LONG).unwrap() {
            Outcome::Reply(output) => output,
            _ => panic!("{command} has failed"),
        }
    }

    #[test]
    fn a_body_goes_in_and_the_output_comes_back() {
        for length in [0, 1, 70_000, MAX_BODY] {
            let body: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap()).collect();
            assert!(reply("cat", &body) == body, "{length} bytes");
        }
    }

    #[test]
    fn a_command_knows_who_asks_and_what() {
        let expected = format!("{} some/type", NodeId::from_bytes([7; 20]));
        assert_eq!(reply("printf '%s %s' $EGTP_PEER $EGTP_TYPE", b""), expected.into_bytes());
    }

    #[test]
    fn a_command_that_does_not_read_its_input_succeeds() {
        assert_eq!(reply("echo done", &[0; 1_000_000]), b"done\n");
    }

    #[test]
    fn a_command_that_closes_its_output_early_is_waited_for() {
        let (_running, outcome) = start_with("exec >&-; sleep 0.05; exit 3", b"");
        assert!(matches!(outcome.recv_timeout(LONG), Ok(Outcome::Failed(status)) if status.code() == Some(3)));
    }

    #[test]
    fn an_exit_code_other_than_zero_is_a_failure() {
        let (_running, outcome) = start_with("echo something; exit 1", b"");
        assert!(matches!(outcome.recv_timeout(LONG), Ok(Outcome::Failed(status)) if status.code() == Some(1)));
    }

    #[test]
    fn a_command_that_prints_more_than_a_body_is_killed() {
        let (_running, outcome) = start_with("exec cat /dev/zero", b"");
        assert!(matches!(outcome.recv_timeout(LONG), Ok(Outcome::TooLong)));
    }

    #[test]
    fn a_dropped_command_is_killed_with_its_children() {
        // Shell and child hold the same pipe open, which ends for this test when both are gone.
        let (mut reader, writer) = io::pipe().unwrap();
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg("sleep 1000 & echo started >&2; wait").process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(writer);
        let (dropped, kept_open) = io::pipe().unwrap();
        let thread = thread::spawn(move || run(shell, b"", &dropped));
        reader.read_exact(&mut [0; 8]).unwrap();
        drop(kept_open);
        assert!(matches!(thread.join().unwrap(), Outcome::Dropped));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_dropped_command_that_has_closed_its_output_is_killed() {
        let (running, outcome) = start_with("exec sleep 1000 >&-", b"");
        running.end();
        assert!(matches!(outcome.recv_timeout(LONG), Ok(Outcome::Dropped)));
    }
}
