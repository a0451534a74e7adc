//! Whether a target works, and which changes are logged. Pure.
//!
//! A failure that the next attempt fixes is not logged, such as a connection that the receiver
//! has just closed. A lasting one is logged once, and once when it is over; a target that keeps
//! failing and recovering is logged at most once a minute.

use std::time::{Duration, Instant};

use crate::base::throttle::Throttle;

/// After this many failures in a row, one line is logged.
const TELL_AT: u32 = 2;

/// How one target fares.
#[derive(Debug, Default)]
pub(super) struct Health {
    failing: Option<Failing>,
    told: Throttle,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    failures: u32,
    told: bool,
    /// How many samples had been dropped when it began.
    dropped: u64,
}

/// A target works that was said to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recovered {
    /// How long it did.
    pub(super) lasted: Duration,
    /// How many samples were dropped meanwhile.
    pub(super) dropped: u64,
}

impl Health {
    /// Records a failure. Returns true if it should be logged.
    pub(super) fn failed(&mut self, now: Instant, dropped: u64) -> bool {
        let failing = self.failing.get_or_insert(Failing {
            since: now,
            failures: 0,
            told: false,
            dropped,
        });
        failing.failures = failing.failures.saturating_add(1);
        if failing.told || failing.failures < TELL_AT || self.told.note(now).is_none() {
            return false;
        }
        failing.told = true;
        true
    }

    /// It took something, or gave a proper answer; what to say.
    pub(super) fn works(&mut self, now: Instant, dropped: u64) -> Option<Recovered> {
        let failing = self.failing.take()?;
        failing.told.then(|| Recovered {
            lasted: now.saturating_duration_since(failing.since),
            dropped: dropped.saturating_sub(failing.dropped),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_two_lines() {
        let start = Instant::now();
        let mut health = Health::default();
        assert_eq!(health.works(start, 0), None);
        assert!(!health.failed(start, 7));
        assert!(health.failed(start + SECOND, 7));
        for second in 2..100 {
            assert!(!health.failed(start + second * SECOND, 7));
        }
        let recovered = Recovered {
            lasted: 100 * SECOND,
            dropped: 5,
        };
        assert_eq!(health.works(start + 100 * SECOND, 12), Some(recovered));
        assert_eq!(health.works(start + 100 * SECOND, 12), None);
    }

    #[test]
    fn a_hiccup_is_no_line() {
        let start = Instant::now();
        let mut health = Health::default();
        for _ in 0..3 {
            assert!(!health.failed(start, 0));
            assert_eq!(health.works(start, 0), None);
        }
    }

    #[test]
    fn one_that_comes_and_goes_is_told_of_once_a_minute() {
        let start = Instant::now();
        let mut health = Health::default();
        let mut lines = 0;
        for second in 0..600 {
            let now = start + second * SECOND;
            lines += u32::from(health.failed(now, 0));
            lines += u32::from(health.failed(now, 0));
            lines += u32::from(health.works(now, 0).is_some());
        }
        assert_eq!(lines, 20);
        // One that lasts is told of as soon as it may be.
        let now = start + 601 * SECOND;
        assert!(!health.failed(now, 0));
        assert!((0..60).any(|second| health.failed(now + second * SECOND, 0)));
    }
}
