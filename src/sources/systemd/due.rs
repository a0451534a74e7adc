//! What has to be asked of the manager, and when; and when to stop listening to every signal of
//! its, as there are too many. Time is an argument.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long after a signal its consequences are asked for, and those of all others that
/// came meanwhile.
const SETTLE: Duration = Duration::from_millis(100);

/// Least time between two rounds of questions.
const SPACING: Duration = Duration::from_secs(1);

/// Least time between two lists of everything.
const LIST_SPACING: Duration = Duration::from_secs(5);

/// Most units to ask for by name; where there are more, everything is listed.
const MAX_NAMES: usize = 64;

/// What has to be asked for.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// When the first of it came up.
    pub(super) since: Option<Instant>,
    /// All units and jobs.
    pub(super) everything: bool,
    /// The units of these names.
    pub(super) names: BTreeSet<String>,
    /// The manager's state.
    pub(super) state: bool,
    /// All of the manager's properties.
    pub(super) boot: bool,
}

impl Due {
    /// Adds a unit.
    pub(super) fn unit(&mut self, name: String) {
        if self.names.len() < MAX_NAMES {
            self.names.insert(name);
        } else {
            self.everything = true;
        }
    }

    /// When to ask, with the times when something was last asked and everything last
    /// listed; None if nothing is due.
    pub(super) fn deadline(
        &self,
        asked: Option<Instant>,
        listed: Option<Instant>,
    ) -> Option<Instant> {
        let since = self.since?;
        let rested = |last: Option<Instant>, spacing| last.map_or(since, |last| last + spacing);
        let mut deadline = (since + SETTLE).max(rested(asked, SPACING));
        if self.everything {
            deadline = deadline.max(rested(listed, LIST_SPACING));
        }
        Some(deadline)
    }
}

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
    fn questions_wait_for_others_and_keep_their_distance() {
        let now = Instant::now();
        let mut due = Due::default();
        assert_eq!(due.deadline(Some(now), Some(now)), None, "nothing is due");
        due.since = Some(now);
        due.unit("a.service".to_owned());
        assert_eq!(due.deadline(None, None), Some(now + SETTLE));
        assert_eq!(due.deadline(Some(now), Some(now)), Some(now + SPACING));
        due.everything = true;
        let deadline = due.deadline(Some(now), Some(now));
        assert_eq!(deadline, Some(now + LIST_SPACING));
        let long_ago = now.checked_sub(LIST_SPACING);
        assert_eq!(due.deadline(long_ago, long_ago), Some(now + SETTLE));
    }

    #[test]
    fn many_units_are_listed_and_not_named() {
        let mut due = Due::default();
        for number in 0..MAX_NAMES {
            due.unit(number.to_string());
        }
        assert!(!due.everything);
        due.unit("one more".to_owned());
        assert!(due.everything);
        assert_eq!(due.names.len(), MAX_NAMES);
    }

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
