//! A TCP proxy that forwards, dribbles, delays and cuts.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How bytes are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// As they come.
    Forward,
    /// Each by itself.
    Dribble,
    /// Each piece of up to 64 KiB this long after the one before it.
    Delay(Duration),
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Towards {
    Listener,
    Dialler,
}

/// A connection is cut when it has carried so many bytes one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cut {
    pub(crate) towards: Towards,
    pub(crate) after: usize,
}

/// Accepts connections and carries each to the same address. Dropped, it cuts them all.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    manner: Manner,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    streams: Vec<TcpStream>,
    accepted: usize,
    next_cut: Option<Cut>,
    held: bool,
    closed: bool,
}

impl Proxy {
    pub(crate) fn to(to: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { to, manner, state: Mutex::default(), changed: Condvar::new() });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept_from(&listener)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it accepts connections.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts the next connection when it has carried so much, and none after it.
    pub(crate) fn cut_next(&self, cut: Cut) {
        self.shared.state().next_cut = Some(cut);
    }

    /// Cuts every connection now.
    pub(crate) fn cut(&self) {
        for stream in self.shared.state().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries nothing over connections that are accepted from now on, until it is released.
    pub(crate) fn hold(&self) {
        self.shared.state().held = true;
    }

    /// Carries again.
    pub(crate) fn release(&self) {
        self.shared.state().held = false;
        self.shared.changed.notify_all();
    }

    /// Waits until so many connections have been accepted in all.
    pub(crate) fn wait_for_accepted(&self, count: usize) {
        let Shared { changed, .. } = &*self.shared;
        drop(changed.wait_while(self.shared.state(), |state| state.accepted < count).unwrap());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.release();
        // Wakes the acceptor, which waits for somebody to connect.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn accept_from(self: &Arc<Self>, listener: &TcpListener) {
        for dialler in listener.incoming() {
            if self.state().closed {
                return;
            }
            // If nobody listens, the connection is dropped: that closes it.
            let (Ok(dialler), Ok(listener)) = (dialler, TcpStream::connect(self.to)) else { continue };
            let mut state = self.state();
            let cut = state.next_cut.take();
            state.streams.extend([dialler.try_clone().unwrap(), listener.try_clone().unwrap()]);
            state.accepted += 1;
            self.changed.notify_all();
            drop(state);
            let ways = [(Towards::Listener, &dialler, &listener), (Towards::Dialler, &listener, &dialler)];
            for (towards, from, to) in ways {
                let left = cut.filter(|cut| cut.towards == towards).map(|cut| cut.after);
                let (from, to, shared) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(self));
                thread::spawn(move || {
                    drop(shared.changed.wait_while(shared.state(), |state| state.held).unwrap());
                    carry(from, to, shared.manner, left);
                });
            }
        }
    }
}

/// Carries bytes one way until that way ends, or until `left` of them have passed: then both ways end.
fn carry(mut from: TcpStream, mut to: TcpStream, manner: Manner, mut left: Option<usize>) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; if manner == Manner::Dribble { 1 } else { 64 << 10 }];
    while left != Some(0) {
        let most = left.unwrap_or(usize::MAX).min(buffer.len());
        let count = match from.read(&mut buffer[..most]) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Manner::Delay(delay) = manner {
            thread::sleep(delay);
        }
        if to.write_all(&buffer[..count]).is_err() {
            // Nobody is left to read this; what was written the other way still arrives.
            return;
        }
        left = left.map(|left| left - count);
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
