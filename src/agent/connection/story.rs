//! What has become of the addresses of a connection, for its reason and its log: which failed in this
//! round and why, where it reported last, and why it left. Pure; decides nothing.

/// Failures that are told one by one. A person reads no more of them in a line.
const MAX_TOLD: usize = 4;

/// What is remembered for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// Of this round, the last of each address that was tried in a row.
    failures: Vec<(String, String)>,
    /// The next failure is the first of another round.
    round_is_over: bool,
    /// The address and the key that it reported to last.
    last: Option<(String, String)>,
    /// Why it left that address.
    why_left: Option<String>,
}

/// It reports to another address or key than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// To another address.
    To {
        /// The one before.
        from: String,
        /// Why it was left.
        why: String,
    },
    /// The collector at this address has another key.
    Key {
        /// The one before.
        from: String,
    },
}

impl Story {
    /// It leaves the address that it reports to.
    pub(super) fn leaving(&mut self, why: &str) {
        self.why_left = Some(why.to_owned());
    }

    /// An attempt or the connection failed.
    pub(super) fn failed(&mut self, address: &str, why: &str) {
        if std::mem::take(&mut self.round_is_over) {
            self.failures.clear();
        }
        // With each key that is tried another time.
        if self
            .failures
            .last()
            .is_some_and(|(last, _)| last == address)
        {
            self.failures.pop();
        }
        self.failures.push((address.to_owned(), why.to_owned()));
        self.why_left.get_or_insert_with(|| why.to_owned());
    }

    /// Every address has failed. Returns why: each with its reason, or the one reason of the only
    /// address.
    pub(super) fn round_ended(&mut self, several: bool) -> String {
        self.round_is_over = true;
        let all = self.failures().filter(|_| several);
        let only = || self.failures.last().map(|(_, why)| why.clone());
        all.or_else(only).unwrap_or_default()
    }

    /// The addresses that failed in this round, each with its reason; None if none has.
    pub(super) fn failures(&self) -> Option<String> {
        let told = self.failures.iter().take(MAX_TOLD);
        let told: Vec<_> = told
            .map(|(address, why)| format!("{address}: {why}"))
            .collect();
        let more = match self.failures.len().saturating_sub(MAX_TOLD) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        (!told.is_empty()).then(|| told.join("; ") + &more)
    }

    /// It reports to this address, which has this key. Returns what is different from before.
    pub(super) fn reporting(&mut self, address: &str, key: &str) -> Option<Moved> {
        self.failures.clear();
        let why = self.why_left.take().unwrap_or_default();
        let (from, old_key) = self.last.replace((address.to_owned(), key.to_owned()))?;
        if from != address {
            return Some(Moved::To { from, why });
        }
        (old_key != key).then_some(Moved::Key { from: old_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_told_with_where_from_and_why() {
        let mut story = Story::default();
        assert_eq!(story.reporting("a", "K"), None);
        story.failed("a", "it is gone");
        story.failed("b", "it is away");
        let moved = |from: &str, why: &str| {
            let (from, why) = (from.to_owned(), why.to_owned());
            Some(Moved::To { from, why })
        };
        // With the reason of the first failure.
        assert_eq!(story.reporting("c", "K"), moved("a", "it is gone"));
        assert_eq!(story.failures(), None);
        story.leaving("the first is back");
        story.failed("a", "it is gone");
        assert_eq!(story.reporting("b", "K"), moved("c", "the first is back"));
        // The same again.
        story.failed("b", "it is gone");
        assert_eq!(story.reporting("b", "K"), None);
        let other = Moved::Key {
            from: "K".to_owned(),
        };
        assert_eq!(story.reporting("b", "L"), Some(other));
    }

    #[test]
    fn each_address_of_a_round_is_told_once() {
        let mut story = Story::default();
        story.failed("a", "one key");
        story.failed("a", "other key");
        assert_eq!(story.round_ended(false), "other key");
        story.failed("a", "x");
        story.failed("b", "y");
        assert_eq!(story.failures().unwrap(), "a: x; b: y");
        assert_eq!(story.round_ended(true), "a: x; b: y");
        // It stays until the next round knows something.
        assert_eq!(story.failures().unwrap(), "a: x; b: y");
        story.failed("a", "z");
        assert_eq!(story.failures().unwrap(), "a: z");
        for address in ["b", "c", "d", "e", "f"] {
            story.failed(address, "z");
        }
        assert_eq!(
            story.round_ended(true),
            "a: z; b: z; c: z; d: z; and 2 more"
        );
    }
}
