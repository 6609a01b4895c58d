//! Runs the program as a person does.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "a test may look at the clock")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A directory of a test's own, removed afterwards.
pub(crate) struct TestDir(PathBuf);

impl TestDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("egtp-cli-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A command whose default key, if it has any, is in here.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_DATA_HOME", &self.0).env_remove("NO_COLOR").current_dir(&self.0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `egtp` to its end.
    pub(crate) fn egtp<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        let mut command = self.command(env!("CARGO_BIN_EXE_egtp"));
        Finished::wait(command.args(arguments).spawn().unwrap())
    }

    pub(crate) fn serve<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Server {
        Server::start(self, arguments)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a process has left.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Finished {
    /// Waits for the end, and kills what does not end.
    pub(crate) fn wait(child: Child) -> Self {
        let (pid, started) = (pid(&child), Instant::now());
        let (sender, output) = channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output: Output = match output.recv_timeout(LONG) {
            Ok(output) => output.unwrap(),
            Err(_) => {
                let _ = kill_process(pid, Signal::KILL);
                panic!("a process does not end");
            }
        };
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), stdout: output.stdout, stderr, took: started.elapsed() }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// It ended with 0 and nothing to complain of.
    #[track_caller]
    pub(crate) fn assert_done(&self) {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
    }

    /// It ended with 2 and one line on standard error that contains each of these.
    #[track_caller]
    pub(crate) fn assert_refused(&self, mentioned: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert!(self.stdout.is_empty());
        for word in mentioned {
            assert!(self.stderr.contains(word), "{word} is not in: {}", self.stderr);
        }
    }

    /// It ended with 1 and a last line on standard error that begins with the reason's name.
    #[track_caller]
    pub(crate) fn assert_failed(&self, reason: &str) {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with(&format!("egtp: {reason}: ")), "{}", self.stderr);
    }
}

/// A running `egtp serve --json`.
pub(crate) struct Server {
    child: Option<Child>,
    stdout: Option<BufReader<ChildStdout>>,
    pub(crate) node: String,
    pub(crate) address: String,
    pub(crate) contact: String,
    pub(crate) line: String,
}

impl Server {
    fn start<S: AsRef<OsStr>>(dir: &TestDir, arguments: impl IntoIterator<Item = S>) -> Self {
        let mut command = dir.command(env!("CARGO_BIN_EXE_egtp"));
        command.args(["serve", "--json"]).args(arguments).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let member = |key| text_member(&line, key).unwrap_or_else(|| panic!("no {key} in {line:?}"));
        let (node, address, contact) = (member("node"), member("addr"), member("contact"));
        Self { child: Some(child), stdout: Some(stdout), node, address, contact, line }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Nobody reads its standard output any more.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    /// The reading end of its standard output.
    pub(crate) fn stdout_pipe(&self) -> &ChildStdout {
        self.stdout.as_ref().unwrap().get_ref()
    }

    /// Waits for its end while nobody reads its standard output.
    pub(crate) fn wait_unread(mut self) -> Finished {
        Finished::wait(self.child.take().unwrap())
    }

    /// Waits for its end; what else it has printed is in `stdout`.
    pub(crate) fn wait(mut self) -> Finished {
        let mut finished = Finished::wait(self.child.take().unwrap());
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_end(&mut finished.stdout).unwrap();
        }
        finished
    }
}

/// Ends it in order, so that its commands end as well.
impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let _ = kill_process(pid(child), Signal::CONT);
        let _ = kill_process(pid(child), Signal::TERM);
        for _ in 0..1000 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Passes connections on to a server, and cuts them.
pub(crate) struct Proxy {
    listener: TcpListener,
    pub(crate) address: String,
    passed_on: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub(crate) fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self { listener, address, passed_on: Arc::default() }
    }

    /// Begins to accept connections: closes the first so many at once, and passes the others on.
    pub(crate) fn pass_on_to(&self, server: &str, turned_away: usize) {
        let (listener, server) = (self.listener.try_clone().unwrap(), server.to_owned());
        let passed_on = Arc::clone(&self.passed_on);
        thread::spawn(move || {
            for accepted in listener.incoming().skip(turned_away) {
                let (asker, server) = (accepted.unwrap(), TcpStream::connect(&server).unwrap());
                passed_on.lock().unwrap().push(asker.try_clone().unwrap());
                for (mut from, mut to) in [(&asker, &server), (&server, &asker)].map(both_cloned) {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        for asker in &*self.passed_on.lock().unwrap() {
            let _ = asker.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were passed on.
    pub(crate) fn passed_on(&self) -> usize {
        self.passed_on.lock().unwrap().len()
    }
}

fn both_cloned((from, to): (&TcpStream, &TcpStream)) -> (TcpStream, TcpStream) {
    (from.try_clone().unwrap(), to.try_clone().unwrap())
}

/// The text under this key of a JSON object that escapes nothing.
pub(crate) fn text_member(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(value, _)| value.into())
}

pub(crate) fn number_member(line: &str, key: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Bytes without a pattern, the same ones each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// An address on which nobody listens.
pub(crate) fn dead_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Reads lines in the background, so that a test can wait for one without waiting for ever.
pub(crate) fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Writes all of it to the child's standard input, and closes that.
pub(crate) fn feed(child: &mut Child, bytes: &[u8]) {
    child.stdin.take().unwrap().write_all(bytes).unwrap();
}
