//! When to stop listening to every signal of the manager's, as there are too many.

use std::time::{Duration, Instant};

/// Signals that may come at once: the boot of a large host, a target isolated.
pub(super) const BURST: u32 = 4000;

/// Signals that may come in a second for any length of time. Reading that many costs about
/// a hundredth of a CPU.
const RATE: u32 = 200;

/// A bucket of signals that may still come.
#[derive(Debug)]
pub(super) struct Flood {
    /// How many may come.
    left: u32,
    /// When the bucket was last filled up.
    filled: Instant,
}

impl Flood {
    /// A full one.
    #[must_use]
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            filled: now,
        }
    }

    /// Takes a signal; whether it was one too many.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.left == 0 {
            let seconds = now.saturating_duration_since(self.filled).as_secs();
            let more = u32::try_from(seconds).unwrap_or(u32::MAX);
            self.left = more.saturating_mul(RATE).min(BURST);
            self.filled += Duration::from_secs(u64::from(more));
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_goes_on_does_not() {
        let start = Instant::now();
        let mut flood = Flood::new(start);
        for _ in 0..BURST {
            assert!(!flood.take(start));
        }
        assert!(flood.take(start), "one too many");
        let later = start + Duration::from_secs(2);
        for _ in 0..2 * RATE {
            assert!(!flood.take(later));
        }
        assert!(flood.take(later));
        // However long it was quiet, no more than a burst.
        let much_later = start + Duration::from_secs(100_000);
        for _ in 0..BURST {
            assert!(!flood.take(much_later));
        }
        assert!(flood.take(much_later));
    }
}
