//! The one way into the loop from another thread: a bounded queue, and a byte through a pair of sockets that wakes it.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::{fmt, io};

use egtp_sockets::{POSTS, Unposted};

/// Posts values to a loop and wakes it: the only part of a driver that other threads can have. Cheap to clone.
pub struct Handle<T> {
    queue: SyncSender<T>,
    bell: Arc<Bell>,
}

impl<T> Handle<T> {
    /// Posts a value, which the loop returns as [`Step::Posted`](crate::Step::Posted). Waits while 1024 values are
    /// queued, so it must not be called on the loop's own thread; [`Handle::try_post`] may be.
    ///
    /// # Errors
    ///
    /// The value comes back if the driver has stopped or was dropped. What was posted and not yet taken by then is
    /// dropped.
    pub fn post(&self, value: T) -> Result<(), T> {
        self.queue.send(value).map_err(|unsent| unsent.0)?;
        self.bell.ring();
        Ok(())
    }

    /// Posts a value without waiting.
    ///
    /// # Errors
    ///
    /// [`Unposted`] hands the value back.
    pub fn try_post(&self, value: T) -> Result<(), Unposted<T>> {
        self.queue.try_send(value).map_err(|unsent| match unsent {
            TrySendError::Full(value) => Unposted::Full(value),
            TrySendError::Disconnected(value) => Unposted::Stopped(value),
        })?;
        self.bell.ring();
        Ok(())
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// At most one byte is under way: whoever finds the bell rung leaves it at that.
struct Bell {
    rung: AtomicBool,
    line: UnixStream,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // There is always room for the one byte, and if the other end is gone nobody is left to be woken.
            let _ = (&self.line).write(&[0]);
        }
    }
}

/// The loop's end of the queue.
pub(crate) struct Inbox<T> {
    handle: Handle<T>,
    queue: Option<Receiver<T>>,
    line: UnixStream,
    may_hold_more: bool,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        let (ringing, listening) = UnixStream::pair()?;
        ringing.set_nonblocking(true)?;
        listening.set_nonblocking(true)?;
        let (sender, receiver) = sync_channel(POSTS);
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), line: ringing });
        Ok(Self {
            handle: Handle { queue: sender, bell },
            queue: Some(receiver),
            line: listening,
            may_hold_more: false,
        })
    }

    pub(crate) fn handle(&self) -> Handle<T> {
        self.handle.clone()
    }

    /// Whether values may be left, so that the loop must not sleep.
    pub(crate) fn may_hold_more(&self) -> bool {
        self.may_hold_more
    }

    /// Takes the byte that has woken the loop.
    pub(crate) fn answer_bell(&mut self) {
        let _ = (&self.line).read(&mut [0; 8]);
        // From here on a poster rings again; what was queued before is found by `take`.
        self.handle.bell.rung.swap(false, Ordering::AcqRel);
        self.may_hold_more = true;
    }

    /// The next value.
    pub(crate) fn take(&mut self) -> Option<T> {
        if !self.may_hold_more {
            return None;
        }
        let value = self.queue.as_ref().and_then(|queue| queue.try_recv().ok());
        self.may_hold_more = value.is_some();
        value
    }

    /// Takes nothing more: whoever posts gets the value back.
    pub(crate) fn close(&mut self) {
        self.queue = None;
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn is_rung<T>(inbox: &Inbox<T>, seconds: i64) -> bool {
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(inbox, PollFlags::IN)], Some(&timeout)).unwrap() == 1
    }

    #[test]
    fn a_post_from_another_thread_wakes_the_loop() {
        let mut inbox = Inbox::new().unwrap();
        let handle = inbox.handle();
        let poster = std::thread::spawn(move || handle.post(7).unwrap());
        assert!(is_rung(&inbox, 60));
        inbox.answer_bell();
        assert_eq!((inbox.take(), inbox.take()), (Some(7), None));
        assert!(!inbox.may_hold_more());
        poster.join().unwrap();
    }

    #[test]
    fn many_posts_ring_once_and_the_next_rings_again() {
        let mut inbox = Inbox::new().unwrap();
        let handle = inbox.handle();
        (0..3).for_each(|value| handle.post(value).unwrap());
        assert_eq!((&inbox.line).read(&mut [0; 8]).unwrap(), 1);
        inbox.answer_bell();
        assert_eq!((inbox.take(), inbox.take(), inbox.take(), inbox.take()), (Some(0), Some(1), Some(2), None));
        assert!(!is_rung(&inbox, 0));
        handle.post(3).unwrap();
        assert!(is_rung(&inbox, 60));
    }

    #[test]
    fn the_loop_must_not_sleep_until_it_has_seen_the_queue_empty() {
        let mut inbox = Inbox::new().unwrap();
        let handle = inbox.handle();
        (0..2).for_each(|value| handle.post(value).unwrap());
        inbox.answer_bell();
        for value in 0..2 {
            assert!(inbox.may_hold_more());
            assert_eq!(inbox.take(), Some(value));
        }
        assert_eq!(inbox.take(), None);
        assert!(!inbox.may_hold_more());
    }

    #[test]
    fn a_full_queue_hands_the_value_back() {
        let inbox = Inbox::new().unwrap();
        let handle = inbox.handle();
        (0..POSTS).for_each(|value| handle.try_post(value).unwrap());
        assert_eq!(handle.try_post(POSTS), Err(Unposted::Full(POSTS)));
    }

    #[test]
    fn a_value_posted_to_a_closed_inbox_comes_back_even_to_a_poster_that_waits_for_room() {
        let mut inbox = Inbox::new().unwrap();
        let handle = inbox.handle();
        (0..POSTS).for_each(|_| handle.try_post("early").unwrap());
        let waiting = handle.clone();
        let poster = std::thread::spawn(move || waiting.post("waiting"));
        inbox.close();
        assert_eq!(poster.join().unwrap(), Err("waiting"));
        assert_eq!(handle.try_post("late"), Err(Unposted::Stopped("late")));
        assert_eq!(handle.post("late"), Err("late"));
    }
}
