//! A socket as poll(2) waits for it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Poll;

use egtp::{ConnectionId, Ending, Node};
use egtp_sockets::Stream;
use rustix::event::PollFlags;

/// A non-blocking socket, and what poll(2) is to wait for: nothing, while the node wants neither to read nor to write.
pub(crate) struct Socket {
    stream: TcpStream,
    interest: PollFlags,
}

impl Socket {
    /// Nothing is waited for until [`send`] has asked the node.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, interest: PollFlags::empty() }
    }

    pub(crate) fn interest(&self) -> PollFlags {
        self.interest
    }
}

impl egtp_sockets::Socket for Socket {
    const LEVEL_TRIGGERED: bool = true;

    fn poll_connected(&mut self) -> Poll<io::Result<()>> {
        // poll(2) has said that it has ended.
        Poll::Ready(self.stream.take_error().and_then(|error| error.map_or(Ok(()), Err)))
    }

    fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        pending_if_blocked(self.stream.read(buffer))
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        pending_if_blocked(self.stream.write(bytes))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Accepts a connection that does not block.
pub(crate) fn accept(listener: &TcpListener) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
    pending_if_blocked(listener.accept().and_then(|(stream, from)| {
        stream.set_nonblocking(true)?;
        Ok((stream, from))
    }))
}

/// Writes what the node wants written, then notes what is to be waited for.
pub(crate) fn send(stream: &mut Stream<Socket>, connection: ConnectionId, node: &mut Node) -> Result<bool, Ending> {
    stream.send(connection, node)?;
    let is_dialling = stream.is_dialling();
    let interest = &mut stream.socket_mut().interest;
    interest.set(PollFlags::IN, node.wants_read(connection) > 0);
    interest.set(PollFlags::OUT, is_dialling || !node.to_write(connection).is_empty());
    Ok(false)
}

fn pending_if_blocked<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}
