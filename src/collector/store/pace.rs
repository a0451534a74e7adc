//! When the hosts are written. Pure: time is an argument.

use std::time::{Duration, Instant};

/// Minimum interval between two writings: a host that appears or goes just after one waits this
/// long, and a crash loses its change.
pub const CHANGED_INTERVAL: Duration = Duration::from_secs(60);

/// Between two writings where nothing has changed but when hosts were last heard from. A
/// large fleet's file has 50 MB, and a disk is not worn out for that.
pub const SEEN_INTERVAL: Duration = Duration::from_secs(3600);

/// When to write next.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    written: Instant,
    changed: bool,
    seen: bool,
    busy: bool,
}

impl Pace {
    /// What is kept is what there is.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            written: now,
            changed: false,
            seen: false,
            busy: false,
        }
    }

    /// A host was heard from.
    pub fn seen(&mut self) {
        self.seen = true;
    }

    /// Records that a host appeared, moved, went, or sent its model.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// When to write next, as things are.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let interval = match self {
            Self { busy: true, .. } => return None,
            Self { changed: true, .. } => CHANGED_INTERVAL,
            Self { seen: true, .. } => SEEN_INTERVAL,
            Self { .. } => return None,
        };
        Some(self.written + interval)
    }

    /// Returns true if something has changed since the file was written.
    #[must_use]
    pub fn anything_new(&self) -> bool {
        self.changed || self.seen
    }

    /// Writing has begun.
    pub fn begun(&mut self, now: Instant) {
        *self = Self {
            busy: true,
            ..Self::new(now)
        };
    }

    /// Writing has ended. Where it failed there is as much to write as before.
    pub fn ended(&mut self, kept: bool) {
        self.busy = false;
        self.changed |= !kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_written_a_minute_after_the_last_time() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert_eq!(pace.next_due(), None);
        assert!(!pace.anything_new());
        pace.seen();
        assert_eq!(pace.next_due(), Some(start + SEEN_INTERVAL));
        pace.changed();
        let due = start + CHANGED_INTERVAL;
        assert_eq!(pace.next_due(), Some(due));
        pace.begun(due);
        assert_eq!(pace.next_due(), None);
        assert!(!pace.anything_new());
        // One at a time, however long it takes.
        pace.changed();
        assert_eq!(pace.next_due(), None);
        pace.ended(true);
        assert_eq!(pace.next_due(), Some(due + CHANGED_INTERVAL));
    }

    #[test]
    fn what_could_not_be_written_is_tried_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begun(start);
        pace.ended(false);
        assert_eq!(pace.next_due(), Some(start + CHANGED_INTERVAL));
        pace.begun(start);
        pace.ended(true);
        assert_eq!(pace.next_due(), None);
    }
}
