//! Writing to a stream that somebody may have blocked or closed, without ever waiting for it.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// As many writes wait for a blocked stream; further ones are dropped and counted.
const WAITING: usize = 1024;

/// The program's two streams.
pub(crate) struct Streams {
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// A stream that a thread of its own writes to. Clones share it.
#[derive(Clone)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Vec<u8>>,
    writing: bool,
    dropped: u64,
    /// Why the stream is written to no more.
    broken: Option<ErrorKind>,
}

impl Output {
    /// Starts the thread, which lives as long as the process. `dropped` makes the line that stands for so many dropped writes.
    pub(crate) fn start(stream: impl Write + Send + 'static, dropped: fn(u64) -> String) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        // Without the thread every write is dropped, which is no reason to end the program.
        if let Err(error) = thread::Builder::new().spawn(move || for_thread.write_all(stream, dropped)) {
            shared.lock().broken = Some(error.kind());
        }
        Self(shared)
    }

    /// Has the bytes written as soon as the stream takes them. Returns at once.
    pub(crate) fn send(&self, bytes: impl Into<Vec<u8>>) {
        let mut state = self.0.lock();
        if state.broken.is_some() {
            return;
        }
        if state.queue.len() < WAITING && state.dropped == 0 {
            state.queue.push_back(bytes.into());
            self.0.changed.notify_all();
        } else {
            state.dropped += 1;
        }
    }

    /// Sends a line that begins with the program's name.
    pub(crate) fn say(&self, line: &str) {
        self.send(format!("egtp: {line}\n"));
    }

    /// Waits until everything was written.
    ///
    /// # Errors
    ///
    /// What broke the stream. It is no error if its reader has closed it: then nobody wants the rest.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let state = self.0.lock();
        let state = self.0.changed.wait_while(state, |state| state.is_busy()).unwrap_or_else(PoisonError::into_inner);
        state.result()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, mut stream: impl Write, dropped_line: fn(u64) -> String) {
        loop {
            let (bytes, dropped) = self.next();
            let report = if dropped == 0 { String::new() } else { dropped_line(dropped) };
            let written = stream
                .write_all(&bytes)
                .and_then(|()| stream.write_all(report.as_bytes()))
                .and_then(|()| stream.flush());
            let mut state = self.lock();
            state.writing = false;
            if let Err(error) = written {
                state.broken = Some(error.kind());
                state.queue.clear();
            }
            self.changed.notify_all();
            if state.broken.is_some() {
                return;
            }
        }
    }

    fn next(&self) -> (Vec<u8>, u64) {
        let state = self.lock();
        let idle = |state: &mut State| state.queue.is_empty();
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        let bytes = state.queue.pop_front().unwrap_or_default();
        // What was dropped came after everything that waits.
        let dropped = if state.queue.is_empty() { mem::take(&mut state.dropped) } else { 0 };
        (bytes, dropped)
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.writing || !self.queue.is_empty()
    }

    fn result(&self) -> io::Result<()> {
        match self.broken {
            None | Some(ErrorKind::BrokenPipe) => Ok(()),
            Some(kind) => Err(kind.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    fn dropped_line(count: u64) -> String {
        format!("{count} dropped\n")
    }

    /// Passes on what is written, after it was allowed to.
    struct Gate {
        open: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the gate is open for good.
            let _ = self.open.recv();
            self.written.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_stream_delays_nobody_and_the_excess_is_dropped_and_counted() {
        let (opener, open) = channel();
        let (sender, written) = channel();
        let output = Output::start(Gate { open, written: sender }, dropped_line);
        for _ in 0..WAITING + 10 {
            output.send("x");
        }
        drop(opener);
        output.flush().unwrap();
        let lines: Vec<_> = written.try_iter().collect();
        let (report, kept) = lines.split_last().unwrap();
        // One of them may have been taken by the thread before the queue was full.
        assert!((WAITING..=WAITING + 1).contains(&kept.len()));
        assert_eq!(*report, dropped_line((WAITING + 10 - kept.len()) as u64).into_bytes());
    }

    #[test]
    fn a_closed_stream_is_no_error_and_takes_everything() {
        let output = Output::start(Broken(ErrorKind::BrokenPipe), dropped_line);
        output.send("x");
        assert!(output.flush().is_ok());
        output.send("y");
        assert!(output.flush().is_ok());
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let output = Output::start(Broken(ErrorKind::StorageFull), dropped_line);
        output.send("x");
        assert_eq!(output.flush().unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
