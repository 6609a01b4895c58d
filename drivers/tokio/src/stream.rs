//! One TCP connection to another node, from its dial on.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use egtp::{ConnectionId, Ending, Event, Node};
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};

use crate::clock::Clock;

/// How often a connection may be read from, and written to, before the others have their turn.
const CALLS_PER_TURN: usize = 8;

/// A socket, and the waker that says which connection has something to do.
pub(crate) struct Stream {
    socket: Socket,
    waker: Waker,
}

enum Socket {
    Dialling(Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>),
    Open(TcpStream),
}

/// How far a stream was served.
pub(crate) enum Served {
    /// It waits for the network or for the node.
    Everything,
    /// There may be more to do at once, after the others had their turn.
    ItsShare,
    /// The connection has ended.
    ToItsEnd(Ending),
}

impl Stream {
    /// A connection that is to be dialled by [`Stream::serve`].
    pub(crate) fn dial(to: SocketAddr, waker: Waker) -> Self {
        Self { socket: Socket::Dialling(Box::pin(connect(to))), waker }
    }

    /// A connection that was accepted.
    pub(crate) fn accepted(socket: TcpStream, waker: Waker) -> Self {
        Self { socket: Socket::Open(socket), waker }
    }

    /// Goes on with the dial, reads what the node wants to read, and writes what it wants written.
    pub(crate) fn serve(&mut self, connection: ConnectionId, node: &mut Node, buffer: &mut [u8]) -> Served {
        let cx = &mut Context::from_waker(&self.waker);
        match &mut self.socket {
            Socket::Dialling(dial) => match dial.as_mut().poll(cx) {
                Poll::Pending => Served::Everything,
                Poll::Ready(Ok(socket)) => {
                    self.socket = Socket::Open(socket);
                    node.handle(Clock::now(), Event::Connected(connection));
                    Served::ItsShare
                }
                Poll::Ready(Err(error)) => Served::ToItsEnd(dial_ending(&error)),
            },
            Socket::Open(socket) => match read(socket, cx, connection, node, buffer) {
                Served::Everything => write(socket, cx, connection, node),
                Served::ItsShare => match write(socket, cx, connection, node) {
                    Served::Everything => Served::ItsShare,
                    served => served,
                },
                end => end,
            },
        }
    }
}

fn read(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    connection: ConnectionId,
    node: &mut Node,
    buffer: &mut [u8],
) -> Served {
    for _ in 0..CALLS_PER_TURN {
        let wanted = node.wants_read(connection).min(buffer.len());
        if wanted == 0 {
            return Served::Everything;
        }
        match socket.try_read(&mut buffer[..wanted]) {
            Ok(0) => return Served::ToItsEnd(Ending::EndOfStream),
            Ok(count) => node.handle(Clock::now(), Event::Received(connection, &buffer[..count])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if socket.poll_read_ready(cx).is_pending() {
                    return Served::Everything;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Served::ToItsEnd(Ending::Broken),
        }
    }
    Served::ItsShare
}

fn write(socket: &TcpStream, cx: &mut Context<'_>, connection: ConnectionId, node: &mut Node) -> Served {
    for _ in 0..CALLS_PER_TURN {
        let bytes = node.to_write(connection);
        if bytes.is_empty() {
            return Served::Everything;
        }
        match socket.try_write(bytes) {
            Ok(count) => node.handle(Clock::now(), Event::Written(connection, count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if socket.poll_write_ready(cx).is_pending() {
                    return Served::Everything;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Served::ToItsEnd(Ending::Broken),
        }
    }
    Served::ItsShare
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    socket.connect(to).await
}

/// How a dial that failed ended. Silence and a shortage of our own say nothing about the address; any other error is
/// the network's no.
fn dial_ending(error: &io::Error) -> Ending {
    match Errno::from_io_error(error) {
        Some(Errno::TIMEDOUT | Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Ending::Broken,
        _ => Ending::Refused,
    }
}
