//! What threads share: values behind a lock, and a wait until they have changed.
//!
//! Owns neither the thread nor its queue. Those whose queue is jobs, counted, have
//! [`Worker`](super::worker::Worker) for both; docs/decisions.md says which are not, and why.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// A value behind a lock.
///
/// A panic ends the process ([`exit`](super::exit)), so no lock is ever found poisoned; were one,
/// what it guards is valid all the same.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if another thread has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(value) => Some(value),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A lock, and what wakes those that wait for a change of what it guards.
#[derive(Debug, Default)]
pub(crate) struct Monitor<T> {
    state: Lock<T>,
    changed: Condvar,
}

impl<T> Monitor<T> {
    pub(crate) fn new(state: T) -> Self {
        Self {
            state: Lock::new(state),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.state.lock()
    }

    /// Wakes all who wait. To be called after each change that one of them may wait for.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits as long as `waits` returns true.
    pub(crate) fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, T>,
        waits: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        let waited = self.changed.wait_while(state, waits);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, for at most this long. Returns false if that has passed in vain.
    pub(crate) fn wait_while_for<'a>(
        &self,
        state: MutexGuard<'a, T>,
        patience: Duration,
        waits: impl FnMut(&mut T) -> bool,
    ) -> (MutexGuard<'a, T>, bool) {
        let waited = self.changed.wait_timeout_while(state, patience, waits);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, !timeout.timed_out())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_change_wakes_who_waits_and_time_does_too() {
        let monitor = Monitor::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut state = monitor.wait_while(monitor.lock(), |state| *state == 0);
                *state += 1;
                drop(state);
                monitor.notify();
            });
            *monitor.lock() = 1;
            monitor.notify();
            let (state, changed) = monitor.wait_while_for(monitor.lock(), LONG, |state| *state < 2);
            assert_eq!((*state, changed), (2, true));
        });
        let in_vain = monitor.wait_while_for(monitor.lock(), Duration::ZERO, |_| true);
        assert!(!in_vain.1);
    }
}
