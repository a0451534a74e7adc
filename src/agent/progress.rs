//! Tells the watchdog if a connection's task is stuck.
//!
//! A task notes by when it will have run again. If one is long overdue, the agent's task stops
//! feeding the watchdog, so that systemd restarts the agent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long past its deadline a task counts as late rather than stuck. A host that swaps
/// or was suspended catches up in seconds.
const GRACE: Duration = Duration::from_secs(20);

/// Not running: nothing is expected.
const IDLE: u64 = u64::MAX;

/// By when a task will have run again.
#[derive(Debug)]
pub(crate) struct Progress {
    origin: Instant,
    // Milliseconds since the origin.
    expected: AtomicU64,
}

impl Progress {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            expected: AtomicU64::new(IDLE),
        }
    }

    /// The task sleeps now and will run again by then, whatever happens.
    pub(crate) fn expect_by(&self, deadline: Instant) {
        let millis = deadline.saturating_duration_since(self.origin).as_millis();
        let millis = u64::try_from(millis).unwrap_or(IDLE - 1).min(IDLE - 1);
        self.expected.store(millis, Relaxed);
    }

    /// The task has ended.
    pub(crate) fn done(&self) {
        self.expected.store(IDLE, Relaxed);
    }

    /// True if the task should have run long ago.
    pub(crate) fn stuck(&self, now: Instant) -> bool {
        let expected = self.expected.load(Relaxed);
        expected != IDLE
            && now.saturating_duration_since(self.origin)
                > Duration::from_millis(expected).saturating_add(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_not_stuck() {
        let start = Instant::now();
        let progress = Progress::new(start);
        assert!(!progress.stuck(start + Duration::from_secs(3600)));
        progress.expect_by(start + Duration::from_secs(5));
        assert!(!progress.stuck(start + Duration::from_secs(24)));
        assert!(progress.stuck(start + Duration::from_secs(26)));
        progress.done();
        assert!(!progress.stuck(start + Duration::from_secs(3600)));
    }
}
