//! One TCP connection to another node: a socket that never blocks, from its dial on.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use egtp::{ConnectionId, Ending, Event, Node};
use rustix::event::PollFlags;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock::Clock;

/// How often a connection may be read from, and written to, before the others have their turn.
const CALLS_PER_TURN: usize = 8;

/// A non-blocking socket, and what poll(2) is to wait for.
pub(crate) struct Stream {
    socket: TcpStream,
    dialling: bool,
    interest: PollFlags,
}

impl Stream {
    /// A connection that was accepted. Nothing is waited for until the node says so.
    pub(crate) fn accepted(socket: TcpStream) -> Self {
        Self { socket, dialling: false, interest: PollFlags::empty() }
    }

    /// Starts to connect. The socket becomes writable when that has succeeded or failed, and its pending error says
    /// which.
    pub(crate) fn dial(to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&to.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
            _ => Ok(Self { socket: socket.into(), dialling: true, interest: PollFlags::OUT }),
        }
    }

    /// What poll(2) is to wait for: nothing, while the node wants neither to read nor to write.
    pub(crate) fn interest(&self) -> PollFlags {
        self.interest
    }

    /// Takes what the socket has become ready for: the outcome of the dial, or bytes as far as the node wants them.
    pub(crate) fn receive(
        &mut self,
        connection: ConnectionId,
        node: &mut Node,
        buffer: &mut [u8],
    ) -> Result<(), Ending> {
        if self.dialling {
            return match self.socket.take_error() {
                Ok(None) => {
                    self.dialling = false;
                    node.handle(Clock::now(), Event::Connected(connection));
                    Ok(())
                }
                Ok(Some(error)) | Err(error) => Err(dial_ending(&error)),
            };
        }
        for _ in 0..CALLS_PER_TURN {
            let wanted = node.wants_read(connection).min(buffer.len());
            if wanted == 0 {
                break;
            }
            match self.socket.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(Ending::EndOfStream),
                Ok(count) => {
                    node.handle(Clock::now(), Event::Received(connection, &buffer[..count]));
                    if count < wanted {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Ending::Broken),
            }
        }
        Ok(())
    }

    /// Writes what the node wants written, then notes what is to be waited for.
    pub(crate) fn send(&mut self, connection: ConnectionId, node: &mut Node) -> Result<(), Ending> {
        if self.dialling {
            return Ok(());
        }
        for _ in 0..CALLS_PER_TURN {
            let bytes = node.to_write(connection);
            if bytes.is_empty() {
                break;
            }
            match self.socket.write(bytes) {
                Ok(count) => node.handle(Clock::now(), Event::Written(connection, count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Ending::Broken),
            }
        }
        self.interest.set(PollFlags::IN, node.wants_read(connection) > 0);
        self.interest.set(PollFlags::OUT, !node.to_write(connection).is_empty());
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// How a dial that failed ended. Silence and a shortage of our own say nothing about the address; any other error is
/// the network's no.
pub(crate) fn dial_ending(error: &io::Error) -> Ending {
    match Errno::from_io_error(error) {
        Some(Errno::TIMEDOUT | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Ending::Broken,
        _ => Ending::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, Timespec, poll};
    use std::net::TcpListener;

    fn finish(stream: &Stream) -> Option<io::Error> {
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&stream.socket, stream.interest)], Some(&timeout)), Ok(1));
        stream.socket.take_error().unwrap()
    }

    #[test]
    fn a_dial_does_not_wait_and_becomes_writable_when_it_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Stream::dial(listener.local_addr().unwrap()).unwrap();
        assert!(finish(&stream).is_none());
        assert!(stream.socket.nodelay().unwrap());
    }

    #[test]
    fn a_dial_to_a_closed_port_is_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Stream::dial(closed).map_or_else(Some, |stream| finish(&stream)).unwrap();
        assert_eq!(dial_ending(&error), Ending::Refused);
    }

    #[test]
    fn only_the_networks_no_counts_as_refused() {
        for (errno, ending) in [
            (Errno::CONNREFUSED, Ending::Refused),
            (Errno::HOSTUNREACH, Ending::Refused),
            (Errno::NETUNREACH, Ending::Refused),
            (Errno::ADDRNOTAVAIL, Ending::Refused),
            (Errno::TIMEDOUT, Ending::Broken),
            (Errno::MFILE, Ending::Broken),
        ] {
            assert_eq!(dial_ending(&errno.into()), ending, "{errno}");
        }
    }
}
