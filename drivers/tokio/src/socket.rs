//! A socket as tokio waits for it.

use std::io::{self, ErrorKind};
use std::task::{Context, Poll, Waker, ready};

use tokio::net::TcpStream;

/// A socket, and the waker that says which connection has something to do.
pub(crate) struct Socket {
    stream: TcpStream,
    waker: Waker,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, waker: Waker) -> Self {
        Self { stream, waker }
    }
}

impl egtp_sockets::Socket for Socket {
    const LEVEL_TRIGGERED: bool = false;

    fn poll_connected(&mut self) -> Poll<io::Result<()>> {
        ready!(self.stream.poll_write_ready(&mut Context::from_waker(&self.waker)))?;
        Poll::Ready(self.stream.take_error().and_then(|error| error.map_or(Ok(()), Err)))
    }

    fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_read_ready(&mut Context::from_waker(&self.waker)))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.try_write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(&mut Context::from_waker(&self.waker)))?;
                }
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}
