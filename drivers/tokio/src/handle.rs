//! The one way into the loop from another task or thread: a bounded queue.

use std::fmt;

use egtp_sockets::{POSTS, Unposted};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Posts values to a loop and wakes it: the only part of a driver that other threads can have. Cheap to clone.
pub struct Handle<T> {
    queue: Sender<T>,
}

impl<T> Handle<T> {
    /// A handle, and the loop's end of the queue.
    pub(crate) fn new() -> (Self, Receiver<T>) {
        let (queue, receiver) = channel(POSTS);
        (Self { queue }, receiver)
    }

    /// Posts a value, which the loop returns as [`Step::Posted`](crate::Step::Posted). Waits while 1024 values are
    /// queued, so the task that runs the loop must not wait for it; it may use [`Handle::try_post`].
    ///
    /// # Errors
    ///
    /// The value comes back if the driver has stopped or was dropped. What was posted and not yet taken by then is
    /// dropped.
    pub async fn post(&self, value: T) -> Result<(), T> {
        self.queue.send(value).await.map_err(|unsent| unsent.0)
    }

    /// Posts a value without waiting.
    ///
    /// # Errors
    ///
    /// [`Unposted`] hands the value back.
    pub fn try_post(&self, value: T) -> Result<(), Unposted<T>> {
        self.queue.try_send(value).map_err(|unsent| match unsent {
            TrySendError::Full(value) => Unposted::Full(value),
            TrySendError::Closed(value) => Unposted::Stopped(value),
        })
    }

    /// Waits until the driver has stopped or was dropped.
    pub async fn stopped(&self) {
        self.queue.closed().await;
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_hands_the_value_back() {
        let (handle, _queue) = Handle::new();
        (0..POSTS).for_each(|value| handle.try_post(value).unwrap());
        assert_eq!(handle.try_post(POSTS), Err(Unposted::Full(POSTS)));
    }

    #[test]
    fn a_value_posted_to_a_loop_that_has_stopped_comes_back() {
        let (handle, queue) = Handle::new();
        drop(queue);
        assert_eq!(handle.try_post(7), Err(Unposted::Stopped(7)));
    }
}
