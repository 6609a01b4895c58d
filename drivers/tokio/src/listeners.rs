//! The listening sockets, which rest when the system cannot give an accepted connection what it needs.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use egtp::Instant;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

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

    /// Accepts what has come, up to a limit, and gives each stream to `take`. Returns whether there may be more; if
    /// not, the task of `cx` is woken when there is, or is to call again when the rest is over.
    pub(crate) fn accept(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        take: impl FnMut(TcpStream, SocketAddr),
    ) -> bool {
        self.accept_by(|socket| socket.poll_accept(cx), now, take)
    }

    fn accept_by(
        &mut self,
        mut accept: impl FnMut(&TcpListener) -> Poll<io::Result<(TcpStream, SocketAddr)>>,
        now: Instant,
        mut take: impl FnMut(TcpStream, SocketAddr),
    ) -> bool {
        if self.resting_until.is_some() {
            return false;
        }
        let mut may_be_more = false;
        for socket in &self.sockets {
            let mut pending = false;
            for _ in 0..ACCEPTED_PER_TURN {
                match accept(socket) {
                    Poll::Ready(Ok((stream, from))) => {
                        // A stream that refuses its options is broken already: dropping it closes it.
                        if stream.set_nodelay(true).is_ok() {
                            take(stream, from);
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
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::future::poll_fn;
    use std::net::TcpStream as Client;
    use tokio::runtime::Builder;

    fn run(test: impl AsyncFnOnce()) {
        Builder::new_current_thread().enable_io().build().unwrap().block_on(test());
    }

    fn one_listener() -> (Listeners, SocketAddr) {
        let (listeners, addresses) = Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        (listeners, addresses[0])
    }

    /// Accepts until so many have come; returns how many turns had more than their share.
    async fn accept(listeners: &mut Listeners, count: usize) -> usize {
        let (mut accepted, mut full_turns) = (0, 0);
        poll_fn(|cx| {
            while listeners.accept(cx, Instant::ZERO, |_, _| accepted += 1) {
                full_turns += 1;
            }
            if accepted == count { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        full_turns
    }

    #[test]
    fn every_waiting_connection_is_accepted_and_no_turn_takes_more_than_its_share() {
        run(async || {
            let (mut listeners, address) = one_listener();
            let clients: Vec<_> = (0..=ACCEPTED_PER_TURN).map(|_| Client::connect(address).unwrap()).collect();
            assert_eq!(accept(&mut listeners, clients.len()).await, 1);
            assert_eq!(listeners.resting_until(), None);
        });
    }

    #[test]
    fn accepting_rests_when_descriptors_or_memory_run_out_and_resumes_in_time() {
        run(async || {
            for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
                let (mut listeners, _) = one_listener();
                let fail = |_: &TcpListener| Poll::Ready(Err(errno.into()));
                assert!(!listeners.accept_by(fail, Instant::ZERO, |_, _| panic!("nothing to take")));
                assert_eq!(listeners.resting_until(), Some(Instant::ZERO + REST));

                let too_early = |_: &TcpListener| panic!("accepting rests");
                listeners.wake(Instant::from_micros(99_999));
                assert!(!listeners.accept_by(too_early, Instant::ZERO, |_, _| {}));
                listeners.wake(Instant::ZERO + REST);
                assert_eq!(listeners.resting_until(), None);
            }
        });
    }

    #[test]
    fn accepting_resumes_when_a_connection_is_closed() {
        run(async || {
            let (mut listeners, address) = one_listener();
            let fail = |_: &TcpListener| Poll::Ready(Err(Errno::MFILE.into()));
            listeners.accept_by(fail, Instant::ZERO, |_, _| panic!("nothing to take"));
            listeners.connection_closed();
            let _client = Client::connect(address).unwrap();
            accept(&mut listeners, 1).await;
        });
    }

    #[test]
    fn a_connection_that_ended_before_it_was_accepted_is_passed_over() {
        run(async || {
            let (mut listeners, _) = one_listener();
            let mut outcomes = vec![Poll::Pending, Poll::Ready(Errno::INTR), Poll::Ready(Errno::CONNABORTED)];
            let accept = |_: &TcpListener| outcomes.pop().unwrap().map(|errno| Err(errno.into()));
            assert!(!listeners.accept_by(accept, Instant::ZERO, |_, _| panic!("nothing to take")));
            assert_eq!(listeners.resting_until(), None);
        });
    }

    #[test]
    fn an_address_in_use_is_named_and_the_addresses_before_it_are_free_again() {
        run(async || {
            let (_listeners, taken) = one_listener();
            let free = one_listener().1;
            let error = Listeners::bind(&[free, taken]).err().unwrap();
            assert!(error.to_string().contains(&taken.to_string()), "{error}");
            assert!(matches!(error, OpenError::Listen { address, .. } if address == taken));
            assert!(Listeners::bind(&[free]).is_ok());
        });
    }
}
