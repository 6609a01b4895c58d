//! The one timer of the loop.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use egtp::Instant;
use egtp_sockets::Clock;
use tokio::time::{Sleep, sleep};

/// A timer that can be set again and again. It only wakes the task; whether it is time, the clock decides.
pub(crate) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    set_for: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self { sleep: Box::pin(sleep(Duration::ZERO)), set_for: None }
    }

    /// Ready if it is `at` or later. If not, the task of `cx` is woken then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        loop {
            let left = Clock::sleep_before(at);
            if left.is_zero() {
                return Poll::Ready(());
            }
            if self.set_for != Some(at) {
                self.sleep.set(sleep(left));
                self.set_for = Some(at);
            }
            ready!(self.sleep.as_mut().poll(cx));
            self.set_for = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::runtime::Builder;

    #[test]
    fn it_wakes_the_task_when_the_clock_says_so_even_if_it_is_set_again() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let mut alarm = Alarm::new();
            let soon = Clock::now() + Duration::from_millis(5);
            let far = soon + Duration::from_secs(3600);
            let is_pending = poll_fn(|cx| Poll::Ready(alarm.poll(cx, far).is_pending())).await;
            assert!(is_pending);
            poll_fn(|cx| alarm.poll(cx, soon)).await;
            assert!(Clock::now() >= soon);
            poll_fn(|cx| alarm.poll(cx, Instant::ZERO)).await;
        });
    }
}
