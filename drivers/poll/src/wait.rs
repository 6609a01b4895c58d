//! The one place where the loop sleeps.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use egtp::ConnectionId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::socket::Socket;

/// What poll(2) reported. Nothing, if the time passed or a signal came.
#[derive(Default)]
pub(crate) struct Ready {
    pub(crate) posted: bool,
    pub(crate) incoming: bool,
    pub(crate) connections: Vec<ConnectionId>,
}

/// Sleeps until a socket is ready or `timeout` has passed; without one, for as long as it takes.
pub(crate) fn wait<'a>(
    inbox: &impl AsFd,
    listening: &[TcpListener],
    sockets: impl Iterator<Item = (ConnectionId, &'a Socket)>,
    timeout: Option<Duration>,
) -> io::Result<Ready> {
    let most = sockets.size_hint().1.unwrap_or_default();
    let mut fds = Vec::with_capacity(1 + listening.len() + most);
    let mut connections = Vec::with_capacity(most);
    fds.push(PollFd::new(inbox, PollFlags::IN));
    fds.extend(listening.iter().map(|socket| PollFd::new(socket, PollFlags::IN)));
    for (connection, socket) in sockets {
        // Errors are reported even if nothing is waited for: a socket that must not be served now would make the loop
        // spin.
        if !socket.interest().is_empty() {
            fds.push(PollFd::new(socket, socket.interest()));
            connections.push(connection);
        }
    }
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Ready::default()),
        Err(errno) => return Err(errno.into()),
    }
    let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
    let (listening_fds, stream_fds) = fds[1..].split_at(listening.len());
    Ok(Ready {
        posted: is_ready(&fds[0]),
        incoming: listening_fds.iter().any(is_ready),
        connections: connections.into_iter().zip(stream_fds).filter(|(_, fd)| is_ready(fd)).map(|(id, _)| id).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::iter;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_ready_is_told_apart() {
        let (inbox, _other_end) = UnixStream::pair().unwrap();
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let _client = TcpStream::connect(sockets[1].local_addr().unwrap()).unwrap();
        let ready = wait(&inbox, &sockets, iter::empty(), Some(Duration::from_secs(60))).unwrap();
        assert!(ready.incoming && !ready.posted && ready.connections.is_empty());
    }

    #[test]
    fn nothing_is_ready_when_the_time_has_passed() {
        let (inbox, _other_end) = UnixStream::pair().unwrap();
        let ready = wait(&inbox, &[], iter::empty(), Some(Duration::ZERO)).unwrap();
        assert!(!ready.posted && !ready.incoming && ready.connections.is_empty());
    }
}
