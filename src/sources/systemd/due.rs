//! What has to be asked of the manager, and when. Time is an argument.

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
}
