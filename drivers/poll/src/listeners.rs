//! The listening sockets, which rest when the system cannot give an accepted connection what it needs.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use egtp::Instant;
use socket2::{Domain, Protocol, Socket, Type};

use crate::setup::OpenError;

/// How many connections may wait to be accepted on each address.
const BACKLOG: i32 = 512;

/// How many connections are accepted on each address before the open ones have their turn.
const ACCEPTED_PER_TURN: usize = 64;

/// How long accepting rests, unless a connection is closed before.
const REST: Duration = Duration::from_millis(100);

/// The listening sockets of a driver.
pub(crate) struct Listeners {
    sockets: Vec<TcpListener>,
    resting_until: Option<Instant>,
}

impl Listeners {
    /// Listens on every address or on none. Returns the addresses as well, with the ports that the system picked.
    pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<(Self, Vec<SocketAddr>), OpenError> {
        let mut sockets = Vec::new();
        let mut local_addresses = Vec::new();
        for &address in addresses {
            let listening = listen(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
            let (local_address, socket) = listening.map_err(|source| OpenError::Listen { address, source })?;
            local_addresses.push(local_address);
            sockets.push(socket);
        }
        Ok((Self { sockets, resting_until: None }, local_addresses))
    }

    /// The sockets to wait for: none while accepting rests.
    pub(crate) fn sockets(&self) -> &[TcpListener] {
        if self.resting_until.is_some() { &[] } else { &self.sockets }
    }

    /// When [`Listeners::wake`] is to be called.
    pub(crate) fn resting_until(&self) -> Option<Instant> {
        self.resting_until
    }

    /// Accepts again if it has rested long enough.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.resting_until = self.resting_until.filter(|&until| now < until);
    }

    /// Accepts again: a connection was closed, and what it held can be had.
    pub(crate) fn connection_closed(&mut self) {
        self.resting_until = None;
    }

    /// Listens no more.
    pub(crate) fn close(&mut self) {
        self.sockets.clear();
    }

    /// Accepts what has come, up to a limit, and gives each non-blocking stream to `take`.
    pub(crate) fn accept(&mut self, now: Instant, take: impl FnMut(TcpStream, SocketAddr)) {
        self.accept_by(TcpListener::accept, now, take);
    }

    fn accept_by(
        &mut self,
        accept: impl Fn(&TcpListener) -> io::Result<(TcpStream, SocketAddr)>,
        now: Instant,
        mut take: impl FnMut(TcpStream, SocketAddr),
    ) {
        for socket in &self.sockets {
            for _ in 0..ACCEPTED_PER_TURN {
                match accept(socket) {
                    Ok((stream, from)) => {
                        // A stream that refuses its options is broken already: dropping it closes it.
                        if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_ok() {
                            take(stream, from);
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                    // No descriptor or no memory is left, most likely, and the connection still waits: poll(2) would
                    // report it at once, again and again.
                    Err(_) => {
                        self.resting_until = Some(now + REST);
                        return;
                    }
                }
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn one_listener() -> (Listeners, SocketAddr) {
        let (listeners, addresses) = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        (listeners, addresses[0])
    }

    fn accept_all(listeners: &mut Listeners, now: Instant) -> Vec<SocketAddr> {
        let mut accepted = Vec::new();
        listeners.accept(now, |_, from| accepted.push(from));
        accepted
    }

    #[test]
    fn every_waiting_connection_is_accepted_in_one_turn() {
        let (mut listeners, address) = one_listener();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(accept_all(&mut listeners, Instant::ZERO), expected);
        assert_eq!(listeners.resting_until(), None);
    }

    #[test]
    fn no_more_than_the_limit_is_accepted_in_one_turn() {
        let (mut listeners, address) = one_listener();
        let _clients: Vec<_> = (0..=ACCEPTED_PER_TURN).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert_eq!(accept_all(&mut listeners, Instant::ZERO).len(), ACCEPTED_PER_TURN);
        assert_eq!(accept_all(&mut listeners, Instant::ZERO).len(), 1);
    }

    #[test]
    fn accepting_rests_when_descriptors_or_memory_run_out_and_resumes_in_time() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let (mut listeners, _) = one_listener();
            listeners.accept_by(|_| Err(errno.into()), Instant::ZERO, |_, _| panic!("nothing to take"));
            assert!(listeners.sockets().is_empty(), "{errno}");
            assert_eq!(listeners.resting_until(), Some(Instant::ZERO + REST));

            listeners.wake(Instant::from_micros(99_999));
            assert!(listeners.sockets().is_empty(), "too early");
            listeners.wake(Instant::ZERO + REST);
            assert_eq!(listeners.sockets().len(), 1);
            assert_eq!(listeners.resting_until(), None);
        }
    }

    #[test]
    fn accepting_resumes_when_a_connection_is_closed() {
        let (mut listeners, _) = one_listener();
        listeners.accept_by(|_| Err(Errno::MFILE.into()), Instant::ZERO, |_, _| panic!("nothing to take"));
        listeners.connection_closed();
        assert_eq!(listeners.sockets().len(), 1);
    }

    #[test]
    fn a_connection_that_ended_before_it_was_accepted_is_passed_over() {
        let (mut listeners, address) = one_listener();
        let _client = TcpStream::connect(address).unwrap();
        let calls = std::cell::Cell::new(0);
        let accept = |socket: &TcpListener| {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 => Err(Errno::CONNABORTED.into()),
                2 => Err(Errno::INTR.into()),
                _ => socket.accept(),
            }
        };
        let mut accepted = 0;
        listeners.accept_by(accept, Instant::ZERO, |_, _| accepted += 1);
        assert_eq!((accepted, listeners.resting_until()), (1, None));
    }

    #[test]
    fn an_address_in_use_is_named_and_the_addresses_before_it_are_free_again() {
        let (_listeners, taken) = one_listener();
        let free = one_listener().1;
        let error = Listeners::bind(&[free, taken]).err().unwrap();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        assert!(matches!(error, OpenError::Listen { address, .. } if address == taken));
        assert!(Listeners::bind(&[free]).is_ok());
    }
}
