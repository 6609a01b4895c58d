//! One TCP connection to another node, from its dial on.

use std::io::{self, ErrorKind};
use std::task::Poll;

use egtp::{ConnectionId, Ending, Event, Node};

use crate::clock::Clock;
use crate::dial::dial_ending;

/// How often a connection may be read from, and written to, before the others have their turn.
const CALLS_PER_TURN: usize = 8;

/// A socket that never blocks, as the loop of one driver waits for it. Where it answers [`Poll::Pending`], the loop
/// will notice that it is worth another call.
pub trait Socket {
    /// Whether the system says again what is still ready when the loop sleeps next, so that nothing is forgotten if a
    /// read that took all there was is not followed by another.
    const LEVEL_TRIGGERED: bool;

    /// How the dial has ended.
    fn poll_connected(&mut self) -> Poll<io::Result<()>>;

    /// Reads what there is. None at all is the end of the stream.
    fn poll_read(&mut self, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes as much as there is room for.
    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

/// A socket, and whether it is connected.
#[derive(Debug)]
pub struct Stream<S> {
    socket: S,
    dialling: bool,
}

impl<S> Stream<S> {
    pub(crate) fn dialling(socket: S) -> Self {
        Self { socket, dialling: true }
    }

    pub(crate) fn accepted(socket: S) -> Self {
        Self { socket, dialling: false }
    }

    /// Whether the dial has not ended yet.
    pub fn is_dialling(&self) -> bool {
        self.dialling
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, for what its driver keeps there.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl<S: Socket> Stream<S> {
    /// Takes what the socket has become ready for: the outcome of the dial, or bytes as far as the node wants them.
    /// Returns whether there may be more to do at once, after the others had their turn.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub fn receive(&mut self, connection: ConnectionId, node: &mut Node, buffer: &mut [u8]) -> Result<bool, Ending> {
        if self.dialling {
            return match self.socket.poll_connected() {
                Poll::Pending => Ok(false),
                Poll::Ready(Ok(())) => {
                    self.dialling = false;
                    node.handle(Clock::now(), Event::Connected(connection));
                    Ok(true)
                }
                Poll::Ready(Err(error)) => Err(dial_ending(&error)),
            };
        }
        for _ in 0..CALLS_PER_TURN {
            let wanted = node.wants_read(connection).min(buffer.len());
            if wanted == 0 {
                return Ok(false);
            }
            match self.socket.poll_read(&mut buffer[..wanted]) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => return Err(Ending::EndOfStream),
                Poll::Ready(Ok(count)) => {
                    node.handle(Clock::now(), Event::Received(connection, &buffer[..count]));
                    if S::LEVEL_TRIGGERED && count < wanted {
                        return Ok(false);
                    }
                }
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Poll::Ready(Err(_)) => return Err(Ending::Broken),
            }
        }
        Ok(true)
    }

    /// Writes what the node wants written. Returns whether there may be more to do at once, after the others had their
    /// turn.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub fn send(&mut self, connection: ConnectionId, node: &mut Node) -> Result<bool, Ending> {
        if self.dialling {
            return Ok(false);
        }
        for _ in 0..CALLS_PER_TURN {
            let bytes = node.to_write(connection);
            if bytes.is_empty() {
                return Ok(false);
            }
            match self.socket.poll_write(bytes) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(count)) => node.handle(Clock::now(), Event::Written(connection, count)),
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Poll::Ready(Err(_)) => return Err(Ending::Broken),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use egtp::{Action, CheckedConfig, Identity, Query, SignedRecord, Stored, Strategies, TransportAction, TypeName};

    /// A socket that does what it is told, the last first, and is pending when it has been told nothing more.
    struct Scripted<const LEVEL_TRIGGERED: bool>(Vec<io::Result<usize>>);

    impl<const LEVEL_TRIGGERED: bool> Scripted<LEVEL_TRIGGERED> {
        fn next(&mut self) -> Poll<io::Result<usize>> {
            self.0.pop().map_or(Poll::Pending, Poll::Ready)
        }
    }

    impl<const LEVEL_TRIGGERED: bool> Socket for Scripted<LEVEL_TRIGGERED> {
        const LEVEL_TRIGGERED: bool = LEVEL_TRIGGERED;

        fn poll_connected(&mut self) -> Poll<io::Result<()>> {
            self.next().map_ok(|_| ())
        }

        fn poll_read(&mut self, _: &mut [u8]) -> Poll<io::Result<usize>> {
            self.next()
        }

        fn poll_write(&mut self, _: &[u8]) -> Poll<io::Result<usize>> {
            self.next()
        }
    }

    /// A node that dials because it has something to ask.
    fn dialling() -> (Node, ConnectionId) {
        let (now, unix) = (Clock::now(), Clock::unix_now());
        let identity = Identity::from_seed(&[1; 32]);
        let mut node = Node::new(CheckedConfig::default(), identity, [0; 32], Stored::default(), now, unix);
        let peer = Identity::from_seed(&[2; 32]);
        let strategies = Strategies { addresses: vec!["127.0.0.1:9".parse().unwrap()], ..Strategies::default() };
        node.learn(now, SignedRecord::sign(&peer, 1, strategies).unwrap()).unwrap();
        node.query(now, peer.node_id(), Query::new(TypeName::new("echo").unwrap(), vec![])).unwrap();
        loop {
            if let Action::Transport(TransportAction::Connect { connection, .. }) = node.poll().unwrap() {
                return (node, connection);
            }
        }
    }

    fn connected() -> (Node, ConnectionId) {
        let (mut node, connection) = dialling();
        node.handle(Clock::now(), Event::Connected(connection));
        (node, connection)
    }

    /// What receiving leads to, and how much of what the socket was told is left.
    fn receive<const LEVEL: bool>(outcomes: Vec<io::Result<usize>>) -> (Result<bool, Ending>, usize) {
        let (mut node, connection) = connected();
        let mut stream = Stream::accepted(Scripted::<LEVEL>(outcomes));
        // The beginning of a packet, over and over.
        let mut buffer = [0, 0, 4, 0];
        (stream.receive(connection, &mut node, &mut buffer), stream.socket.0.len())
    }

    fn interrupted() -> io::Result<usize> {
        Err(ErrorKind::Interrupted.into())
    }

    fn reset() -> io::Result<usize> {
        Err(ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn a_dial_is_over_when_the_socket_says_so() {
        let (mut node, connection) = dialling();
        let mut stream = Stream::dialling(Scripted::<false>(vec![]));
        assert_eq!(stream.receive(connection, &mut node, &mut [0]), Ok(false));
        assert_eq!(stream.send(connection, &mut node), Ok(false));
        assert!(stream.is_dialling());
        stream.socket.0.push(Ok(0));
        assert_eq!(stream.receive(connection, &mut node, &mut [0]), Ok(true));
        assert!(!stream.is_dialling());
        assert!(!node.to_write(connection).is_empty());
    }

    #[test]
    fn a_short_read_is_the_last_only_if_the_system_says_again_what_is_ready() {
        assert_eq!(receive::<true>(vec![Ok(4), Ok(1)]), (Ok(false), 1));
        assert_eq!(receive::<false>(vec![Ok(4), Ok(1)]), (Ok(false), 0));
    }

    #[test]
    fn reading_goes_on_after_a_signal_and_ends_with_the_stream() {
        assert_eq!(receive::<true>(vec![Ok(0), Ok(4), interrupted()]), (Err(Ending::EndOfStream), 0));
        assert_eq!(receive::<true>(vec![reset(), Ok(4)]), (Err(Ending::Broken), 0));
    }

    #[test]
    fn a_connection_that_always_has_something_to_read_gets_its_share_and_says_so() {
        assert_eq!(receive::<true>((0..=CALLS_PER_TURN).map(|_| Ok(4)).collect()), (Ok(true), 1));
    }

    #[test]
    fn writing_goes_on_after_a_signal_until_everything_is_written_or_the_stream_breaks() {
        let (mut node, connection) = connected();
        let count = node.to_write(connection).len();
        let mut stream = Stream::accepted(Scripted::<true>(vec![Ok(count - 1), interrupted(), Ok(1)]));
        assert_eq!(stream.send(connection, &mut node), Ok(false));
        assert!(node.to_write(connection).is_empty());

        let (mut node, connection) = connected();
        let mut stream = Stream::accepted(Scripted::<true>(vec![reset(), Ok(1)]));
        assert_eq!(stream.send(connection, &mut node), Err(Ending::Broken));
    }
}
