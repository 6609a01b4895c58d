//! The listening sockets, which rest when the system cannot give an accepted connection what it needs.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::Duration;

use egtp::Instant;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::setup::OpenError;

/// How many connections may wait to be accepted on each address.
const BACKLOG: i32 = 512;

/// How many connections are accepted on each address before the open ones have their turn.
const ACCEPTED_PER_TURN: usize = 64;

/// How long accepting rests, unless a connection is closed before.
const REST: Duration = Duration::from_millis(100);

/// The listening sockets of a driver.
pub(crate) struct Listeners<L> {
    sockets: Vec<L>,
    local_addresses: Vec<SocketAddr>,
    resting_until: Option<Instant>,
}

impl<L> Listeners<L> {
    /// Listens on every address or on none.
    pub(crate) fn bind(
        addresses: &[SocketAddr],
        mut convert: impl FnMut(TcpListener) -> io::Result<L>,
    ) -> Result<Self, OpenError> {
        let mut listeners = Self { sockets: Vec::new(), local_addresses: Vec::new(), resting_until: None };
        for &address in addresses {
            let listening = listen(address).and_then(|socket| Ok((socket.local_addr()?, convert(socket)?)));
            let (local_address, socket) = listening.map_err(|source| OpenError::Listen { address, source })?;
            listeners.local_addresses.push(local_address);
            listeners.sockets.push(socket);
        }
        Ok(listeners)
    }

    /// The addresses in their order, with the ports that the system picked.
    pub(crate) fn local_addresses(&self) -> &[SocketAddr] {
        &self.local_addresses
    }

    /// The sockets to wait for: none while accepting rests.
    pub(crate) fn sockets(&self) -> &[L] {
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

    /// Accepts what has come, up to a limit, and gives it to `take`. Returns whether there may be more.
    pub(crate) fn accept<A: AsFd>(
        &mut self,
        mut accept: impl FnMut(&L) -> Poll<io::Result<(A, SocketAddr)>>,
        now: Instant,
        mut take: impl FnMut(A, SocketAddr),
    ) -> bool {
        let mut may_be_more = false;
        for socket in self.sockets() {
            let mut pending = false;
            for _ in 0..ACCEPTED_PER_TURN {
                match accept(socket) {
                    Poll::Ready(Ok((accepted, from))) => {
                        // What refuses its options is broken already: dropping it closes it.
                        if SockRef::from(&accepted).set_tcp_nodelay(true).is_ok() {
                            take(accepted, from);
                        }
                    }
                    Poll::Ready(Err(error))
                        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                    // No descriptor or no memory is left, most likely, and the connection still waits: trying again at
                    // once would fail again and again.
                    Poll::Ready(Err(_)) => {
                        self.resting_until = Some(now + REST);
                        return false;
                    }
                    Poll::Pending => {
                        pending = true;
                        break;
                    }
                }
            }
            may_be_more |= !pending;
        }
        may_be_more
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
    use std::net::TcpStream;

    fn one_listener() -> (Listeners<TcpListener>, SocketAddr) {
        let listeners = Listeners::bind(&["127.0.0.1:0".parse().unwrap()], Ok).unwrap();
        let address = listeners.local_addresses()[0];
        (listeners, address)
    }

    /// What one turn accepts, and whether there may be more.
    fn accept_all(listeners: &mut Listeners<TcpListener>) -> (Vec<SocketAddr>, bool) {
        let mut accepted = Vec::new();
        let accept = |socket: &TcpListener| match socket.accept() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            outcome => Poll::Ready(outcome),
        };
        let may_be_more = listeners.accept(accept, Instant::ZERO, |stream, from| {
            assert!(stream.nodelay().unwrap());
            accepted.push(from);
        });
        (accepted, may_be_more)
    }

    /// One turn in which the system answers this.
    fn accept_nothing(listeners: &mut Listeners<TcpListener>, mut outcome: impl FnMut() -> Poll<Errno>) -> bool {
        let accept = |_: &TcpListener| outcome().map(|errno| Err(errno.into()));
        listeners.accept(accept, Instant::ZERO, |_: TcpStream, _| panic!("nothing to take"))
    }

    #[test]
    fn every_waiting_connection_is_accepted_in_one_turn() {
        let (mut listeners, address) = one_listener();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let expected = clients.iter().map(|client| client.local_addr().unwrap()).collect();
        assert_eq!(accept_all(&mut listeners), (expected, false));
        assert_eq!(listeners.resting_until(), None);
    }

    #[test]
    fn no_more_than_the_limit_is_accepted_in_one_turn() {
        let (mut listeners, address) = one_listener();
        let _clients: Vec<_> = (0..=ACCEPTED_PER_TURN).map(|_| TcpStream::connect(address).unwrap()).collect();
        let (accepted, may_be_more) = accept_all(&mut listeners);
        assert_eq!((accepted.len(), may_be_more), (ACCEPTED_PER_TURN, true));
        let (accepted, may_be_more) = accept_all(&mut listeners);
        assert_eq!((accepted.len(), may_be_more), (1, false));
    }

    #[test]
    fn accepting_rests_when_descriptors_or_memory_run_out_and_resumes_in_time() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let (mut listeners, _) = one_listener();
            assert!(!accept_nothing(&mut listeners, || Poll::Ready(errno)));
            assert!(listeners.sockets().is_empty(), "{errno}");
            assert_eq!(listeners.resting_until(), Some(Instant::ZERO + REST));

            listeners.wake(Instant::from_micros(99_999));
            assert!(!accept_nothing(&mut listeners, || panic!("accepting rests")));
            listeners.wake(Instant::ZERO + REST);
            assert_eq!(listeners.sockets().len(), 1);
            assert_eq!(listeners.resting_until(), None);
        }
    }

    #[test]
    fn accepting_resumes_when_a_connection_is_closed() {
        let (mut listeners, address) = one_listener();
        accept_nothing(&mut listeners, || Poll::Ready(Errno::MFILE));
        listeners.connection_closed();
        let _client = TcpStream::connect(address).unwrap();
        assert_eq!(accept_all(&mut listeners).0.len(), 1);
    }

    #[test]
    fn a_connection_that_ended_before_it_was_accepted_is_passed_over() {
        let (mut listeners, _) = one_listener();
        let mut outcomes = vec![Poll::Pending, Poll::Ready(Errno::INTR), Poll::Ready(Errno::CONNABORTED)];
        assert!(!accept_nothing(&mut listeners, || outcomes.pop().unwrap()));
        assert!(outcomes.is_empty());
        assert_eq!(listeners.resting_until(), None);
    }

    #[test]
    fn an_address_in_use_is_named_and_the_addresses_before_it_are_free_again() {
        let (_listeners, taken) = one_listener();
        let free = one_listener().1;
        let error = Listeners::bind(&[free, taken], Ok).err().unwrap();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        assert!(matches!(error, OpenError::Listen { address, .. } if address == taken));
        assert!(Listeners::bind(&[free], Ok).is_ok());
    }
}
