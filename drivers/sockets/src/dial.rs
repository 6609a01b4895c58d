//! How a connection begins, and what it means when it does not.

use std::io;
use std::net::{SocketAddr, TcpStream};

use egtp::Ending;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

/// Starts to connect, without waiting. The socket becomes writable when that has succeeded or failed, and its pending
/// error says which.
pub(crate) fn dial(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        _ => Ok(socket.into()),
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
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::TcpListener;

    fn finish(stream: &TcpStream) -> Option<io::Error> {
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timeout)), Ok(1));
        stream.take_error().unwrap()
    }

    #[test]
    fn a_dial_does_not_wait_and_becomes_writable_when_it_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = dial(listener.local_addr().unwrap()).unwrap();
        assert!(finish(&stream).is_none());
        assert!(stream.nodelay().unwrap());
    }

    #[test]
    fn a_dial_to_a_closed_port_is_refused() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = dial(closed).map_or_else(Some, |stream| finish(&stream)).unwrap();
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
