//! One deadline on a timer of the kernel's own, `timerfd_create(2)`.
//!
//! tokio's timers are a hierarchy of slots: one that is due in 5 s wakes the process two
//! or three times until it is due, which is most of what a sample costs on a host that
//! sleeps otherwise. A timerfd wakes it once.

use crate::base::waiting::register;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A single deadline that can be moved.
pub(crate) struct Alarm {
    timer: AsyncFd<OwnedFd>,
    armed: Option<Instant>,
}

impl Alarm {
    /// An alarm that is not set. Must be called within the runtime that will wait for it.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            timer: register(timer, Interest::READABLE)?,
            armed: None,
        })
    }

    /// Returns at the deadline; never if there is none. Cancel safe: the next call goes on with the
    /// same deadline at no cost, or moves it.
    pub(crate) async fn until(&mut self, deadline: Option<Instant>) {
        if self.armed != deadline
            && let Err(error) = self.arm(deadline)
        {
            // A bug: the descriptor is ours and the time is valid. The watchdog notices.
            tracing::error!("cannot set a timer: {error}");
            return std::future::pending().await;
        }
        loop {
            let Ok(mut guard) = self.timer.ready(Interest::READABLE).await else {
                return std::future::pending().await;
            };
            // Readiness of a deadline that has been moved since.
            if self.armed.is_some_and(|armed| armed <= Instant::now()) {
                guard.clear_ready();
                self.armed = None;
                return;
            }
            guard.clear_ready();
        }
    }

    /// Setting the timer also forgets that it has expired, so that it need not be read.
    fn arm(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let wait = deadline.map_or(Duration::ZERO, |deadline| {
            // Zero would disarm it.
            deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_nanos(1))
        });
        let spec = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        self.armed = deadline;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn it_rings_at_the_deadline_and_once() {
        let mut alarm = Alarm::new().unwrap();
        let deadline = Instant::now() + SOON;
        alarm.until(Some(deadline)).await;
        assert!(Instant::now() >= deadline);
        let later = Instant::now() + SOON;
        alarm.until(Some(later)).await;
        assert!(Instant::now() >= later);
    }

    #[tokio::test]
    async fn a_deadline_in_the_past_rings_at_once() {
        let mut alarm = Alarm::new().unwrap();
        alarm.until(Some(Instant::now())).await;
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_goes_on() {
        let mut alarm = Alarm::new().unwrap();
        let deadline = Instant::now() + SOON;
        for _ in 0..3 {
            tokio::select! {
                biased;
                () = alarm.until(Some(deadline)) => {}
                () = tokio::task::yield_now() => {}
            }
        }
        alarm.until(Some(deadline)).await;
        assert!(Instant::now() >= deadline);
    }

    #[tokio::test]
    async fn a_moved_deadline_forgets_the_old_one() {
        let mut alarm = Alarm::new().unwrap();
        let early = Instant::now() + SOON;
        tokio::select! {
            biased;
            () = alarm.until(Some(early)) => {}
            () = tokio::task::yield_now() => {}
        }
        // Expired, but the notification has not been sent.
        std::thread::sleep(2 * SOON);
        let late = Instant::now() + SOON;
        alarm.until(Some(late)).await;
        assert!(Instant::now() >= late);
        // Without a deadline it does not ring.
        tokio::select! {
            biased;
            () = alarm.until(None) => panic!("rang without a deadline"),
            () = tokio::time::sleep(2 * SOON) => {}
        }
    }
}
