//! Losses that are to be announced on the bus, at most one a second for each connection. Pure.
//!
//! Where more is lost in that time it is added up, so that no listener misses any.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::history::types::{Loss, Why};
use super::state::SamplesLost;

/// Between two signals of a connection: a disk that is full loses samples again and again.
const BETWEEN: Duration = Duration::from_secs(1);

/// What was not announced yet.
#[derive(Debug, Default)]
pub(super) struct Losses {
    waiting: BTreeMap<String, BTreeMap<Why, Loss>>,
    /// When each connection may be announced again.
    next: BTreeMap<String, Instant>,
}

impl Losses {
    /// Samples are lost for the collector of this connection.
    pub(super) fn note(&mut self, connection: &str, why: Why, loss: Loss) {
        let by_reason = self.waiting.entry(connection.to_owned()).or_default();
        by_reason.entry(why).or_default().add(loss);
    }

    /// When [`take`](Self::take) has something, if anything waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let waiting = self.waiting.keys();
        let due = waiting.map(|name| self.next.get(name).copied().unwrap_or(now));
        due.min()
    }

    /// What is to be announced now: one for each connection at most.
    pub(super) fn take(&mut self, now: Instant) -> Vec<SamplesLost> {
        self.next.retain(|_, next| *next > now);
        let mut taken = Vec::new();
        self.waiting.retain(|connection, by_reason| {
            if !self.next.contains_key(connection)
                && let Some((why, loss)) = by_reason.pop_first()
            {
                self.next.insert(connection.clone(), now + BETWEEN);
                let connection = connection.clone();
                taken.push(SamplesLost {
                    connection,
                    why,
                    loss,
                });
            }
            !by_reason.is_empty()
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(samples: u64, first: i64, last: i64) -> Loss {
        Loss {
            samples,
            first,
            last,
        }
    }

    #[test]
    fn what_is_lost_within_a_second_is_added_up_and_nothing_is_missed() {
        let mut losses = Losses::default();
        let start = Instant::now();
        let mut told = Loss::default();
        assert_eq!(losses.due(start), None);
        for step in 0..100_i64 {
            let now = start + Duration::from_millis(100) * u32::try_from(step).unwrap();
            losses.note("a", Why::DiskFull, loss(3, 1000 + step, 2000 + step));
            let taken = losses.take(now);
            assert_eq!(taken.len(), usize::from(step % 10 == 0), "step {step}");
            for taken in taken {
                told.add(taken.loss);
            }
        }
        let due = losses.due(start).unwrap();
        assert_eq!(due, start + Duration::from_secs(10));
        let before = start + Duration::from_millis(9_999);
        assert!(losses.take(before).is_empty());
        told.add(losses.take(due)[0].loss);
        assert_eq!(told, loss(300, 1000, 2099));
        assert_eq!(losses.due(due), None);
    }

    #[test]
    fn each_reason_and_each_connection_is_told_by_itself() {
        let mut losses = Losses::default();
        let start = Instant::now();
        losses.note("a", Why::Damaged, loss(1, 0, 7));
        losses.note("a", Why::DiskFull, loss(2, 5, 6));
        losses.note("b", Why::DiskFull, loss(4, 5, 6));
        let told = |taken: Vec<SamplesLost>| -> Vec<_> {
            let told = taken.into_iter();
            told.map(|lost| (lost.connection, lost.why, lost.loss.samples))
                .collect()
        };
        let of = |name: &str, why, samples| (name.to_owned(), why, samples);
        assert_eq!(
            told(losses.take(start)),
            [of("a", Why::DiskFull, 2), of("b", Why::DiskFull, 4)]
        );
        let due = losses.due(start).unwrap();
        assert_eq!(told(losses.take(due)), [of("a", Why::Damaged, 1)]);
    }
}
