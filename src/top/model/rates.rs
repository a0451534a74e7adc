//! Computes rates from counters, each by its name. Pure.
//!
//! The time between two messages is the sender's, by its own uptime, where both tell it:
//! messages that waited somewhere and arrive together would give any rate otherwise. A
//! count that has become smaller started over, and has no rate until the message after.

use std::collections::HashMap;
use std::time::Instant;

use crate::metrics::{LatestMetrics, is_count};
use crate::protocol::grid::Grid;

/// A count that was not told again for this long is forgotten.
const FORGET_S: u64 = 300;

/// Counts in one message come twice in a table of this size at most, which is looked
/// through for old ones when it is larger.
const ROOM: usize = 1000;

/// When a message was made.
#[derive(Clone, Copy, Debug)]
struct Moment {
    here: Instant,
    uptime: Option<f64>,
}

impl Moment {
    /// Returns true if the sender made both at one time.
    fn is_that_of(self, other: Self) -> bool {
        self.uptime.is_some() && self.uptime == other.uptime
    }

    /// Seconds from `earlier`; None where the sender was restarted in between.
    fn since(self, earlier: Self) -> Option<f64> {
        let seconds = match (self.uptime, earlier.uptime) {
            (Some(now), Some(then)) => now - then,
            _ => self
                .here
                .saturating_duration_since(earlier.here)
                .as_secs_f64(),
        };
        (seconds > 0.0).then_some(seconds)
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    value: f64,
    at: Moment,
    rate: Option<f64>,
}

/// The rates of one host's counts.
#[derive(Debug, Default)]
pub struct Rates {
    seen: HashMap<Box<str>, Seen>,
}

impl Rates {
    /// The rates from one reading of each count to the next.
    #[must_use]
    pub fn between(before: &LatestMetrics, after: &LatestMetrics) -> Self {
        let mut rates = Self::default();
        for part in before.parts().iter().chain(after.parts()) {
            rates.take(part.heard(), part.grid(), |name| part.is_last_word_on(name));
        }
        rates
    }

    /// Takes the counts of a message for which `wanted` holds.
    pub fn take(&mut self, now: Instant, grid: &Grid, wanted: impl Fn(&str) -> bool) {
        let at = Moment {
            here: now,
            uptime: grid.get("sys.uptime").and_then(|value| value.as_f64()),
        };
        let mut counts = 0;
        for (name, value) in grid.iter() {
            if !is_count(name) || !wanted(name) {
                continue;
            }
            let Some(value) = value.as_f64() else {
                continue;
            };
            counts += 1;
            if let Some(seen) = self.seen.get_mut(name) {
                if at.is_that_of(seen.at) {
                    // The same message once more, as a collector repeats it to a new viewer.
                    continue;
                }
                let grown = (value >= seen.value).then_some(value - seen.value);
                let time = at.since(seen.at);
                let rate = grown.zip(time).map(|(grown, time)| grown / time);
                *seen = Seen { value, at, rate };
            } else {
                let rate = None;
                self.seen.insert(name.into(), Seen { value, at, rate });
            }
        }
        if self.seen.len() > 2 * counts + ROOM {
            self.seen
                .retain(|_, seen| now.saturating_duration_since(seen.at.here).as_secs() < FORGET_S);
        }
    }

    /// How fast a count grows, per second.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.seen.get(name)?.rate
    }

    /// The sum of the rates of all for which `wanted` holds; None where there is none.
    #[must_use]
    pub fn sum(&self, wanted: impl Fn(&str) -> bool) -> Option<f64> {
        self.seen
            .iter()
            .filter(|(name, _)| wanted(name))
            .filter_map(|(_, seen)| seen.rate)
            .reduce(|sum, rate| sum + rate)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.seen = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::message::GridKind;

    fn grid(text: &str) -> Grid {
        Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_time_is_the_senders() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let all = |_: &str| true;
        rates.take(start, &grid(r#"{"a.total":100,"sys.uptime":10}"#), all);
        assert_eq!(rates.get("a.total"), None);
        // Both arrive together, and are 5 s apart.
        rates.take(start, &grid(r#"{"a.total":150,"sys.uptime":15}"#), all);
        assert_eq!(rates.get("a.total"), Some(10.0));
        // Without its clock ours has to do.
        rates.take(start + 2 * SECOND, &grid(r#"{"a.total":160}"#), all);
        assert_eq!(rates.get("a.total"), Some(5.0));
    }

    #[test]
    fn a_message_that_comes_again_leaves_its_rates() {
        let start = Instant::now();
        let mut rates = Rates::default();
        for (at, text) in [
            (0, r#"{"a.total":100,"sys.uptime":10}"#),
            (5, r#"{"a.total":150,"sys.uptime":15}"#),
            (6, r#"{"a.total":150,"sys.uptime":15}"#),
        ] {
            rates.take(start + at * SECOND, &grid(text), |_| true);
        }
        assert_eq!(rates.get("a.total"), Some(10.0));
    }

    #[test]
    fn what_started_over_has_no_rate_for_once() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let mut take = |at: u32, text: &str| {
            rates.take(start + at * SECOND, &grid(text), |_| true);
            rates.get("a.total")
        };
        take(0, r#"{"a.total":100,"sys.uptime":1000}"#);
        assert_eq!(take(5, r#"{"a.total":105,"sys.uptime":1005}"#), Some(1.0));
        assert_eq!(take(10, r#"{"a.total":3,"sys.uptime":1010}"#), None);
        assert_eq!(take(15, r#"{"a.total":13,"sys.uptime":1015}"#), Some(2.0));
        // A reboot whose count has already overtaken the old one.
        assert_eq!(take(20, r#"{"a.total":500,"sys.uptime":20}"#), None);
        assert_eq!(take(25, r#"{"a.total":505,"sys.uptime":25}"#), Some(1.0));
    }

    #[test]
    fn a_message_without_a_count_leaves_its_rate() {
        let start = Instant::now();
        let mut rates = Rates::default();
        for (at, text) in [
            (0, r#"{"fs.total[/a]":0,"b.total":0}"#),
            (15, r#"{"fs.total[/a]":30}"#),
            (20, r#"{"b.total":20,"c":1,"mem.x":7}"#),
        ] {
            rates.take(start + at * SECOND, &grid(text), |_| true);
        }
        assert_eq!(rates.get("fs.total[/a]"), Some(2.0));
        assert_eq!(rates.get("b.total"), Some(1.0));
        assert_eq!(rates.sum(|_| true), Some(3.0));
        assert_eq!(rates.sum(|name| name == "c"), None);
        assert_eq!(rates.get("c"), None);
    }

    #[test]
    fn ever_new_names_are_bounded() {
        let start = Instant::now();
        let mut rates = Rates::default();
        for number in 0..10_000_u32 {
            let text = format!(r#"{{"unit.cpu.total[run-{number}.scope]":1}}"#);
            rates.take(start + number * SECOND, &grid(&text), |_| true);
        }
        assert!(rates.seen.len() < ROOM + 500, "{}", rates.seen.len());
    }
}
