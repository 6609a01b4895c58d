//! Which connections have something to do, so that a turn costs what changed and never a look at every connection.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use egtp::ConnectionId;

/// The connections whose sockets became ready, and the task that waits for them. A waker may be called from any thread,
/// hence the lock; it is never held for longer than an insertion takes.
///
/// A connection may be here twice. It is never here more often than its socket was found to be pending since it was last
/// taken, which is once to read and once to write.
#[derive(Default)]
pub(crate) struct Woken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connections: Vec<ConnectionId>,
    task: Option<Waker>,
}

impl Woken {
    /// The waker for this connection's socket.
    pub(crate) fn waker(self: &Arc<Self>, connection: ConnectionId) -> Waker {
        Waker::from(Arc::new(ConnectionWaker { connection, woken: Arc::clone(self) }))
    }

    /// Has this task woken as soon as any connection is.
    pub(crate) fn wake_task(&self, task: &Waker) {
        self.lock().task = Some(task.clone());
    }

    /// The connections that were woken since the last call.
    pub(crate) fn take(&self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.lock().connections)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ConnectionWaker {
    connection: ConnectionId,
    woken: Arc<Woken>,
}

impl Wake for ConnectionWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.woken.lock();
        state.connections.push(self.connection);
        let task = state.task.take();
        drop(state);
        if let Some(task) = task {
            task.wake();
        }
    }
}
