//! How long to wait before reconnecting: exponential, with full jitter.
//!
//! The ceiling of the wait is 1 s at first and doubles with every wait up to 30 s; the
//! wait itself is drawn evenly from [`MIN_DELAY`] to that ceiling, so that a fleet does
//! not return in step after its collector's restart. Only an answer from the collector
//! resets it: a TCP connection that succeeds proves nothing, as one with the wrong key
//! does too.

use std::time::Duration;

/// The shortest wait. A draw near 0 would be a busy loop of name look-ups and
/// handshakes; a tenth of the first ceiling keeps the spread and bounds the rate.
pub const MIN_DELAY: Duration = Duration::from_millis(100);

/// The ceiling of the first wait after an answer.
pub const FIRST_CEILING: Duration = Duration::from_secs(1);

/// The ceiling that no wait exceeds: however long a collector was away, its fleet is back within half
/// a minute. Ten thousand agents that try this often make some 650 handshakes a second, of which a
/// collector does several thousand.
pub const MAX_CEILING: Duration = Duration::from_secs(30);

/// The state of the back-off: the ceiling of the next wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    /// A back-off that has not waited yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ceiling: FIRST_CEILING,
        }
    }

    /// The next wait, from [`MIN_DELAY`] to the present ceiling, which it then doubles.
    ///
    /// `random` gives numbers evenly distributed in 0..1. A number outside of 0..=1 is
    /// taken for 1, the longest wait: a broken source must not make the agent hasty.
    pub fn delay(&mut self, random: &mut impl FnMut() -> f64) -> Duration {
        let drawn = random();
        let share = if (0.0..=1.0).contains(&drawn) {
            drawn
        } else {
            1.0
        };
        let delay = MIN_DELAY + self.ceiling.saturating_sub(MIN_DELAY).mul_f64(share);
        self.ceiling = (self.ceiling * 2).min(MAX_CEILING);
        delay
    }

    /// The collector answered: the next wait is a short one again.
    pub fn reset(&mut self) {
        *self = Self::new();
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delays(backoff: &mut Backoff, share: f64, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| backoff.delay(&mut || share).as_millis())
            .collect()
    }

    #[test]
    fn the_ceiling_doubles_from_1_s_to_30_s() {
        assert_eq!(
            delays(&mut Backoff::new(), 1.0, 9),
            [
                1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000, 30_000
            ]
        );
    }

    #[test]
    fn the_lowest_draw_waits_a_tenth_of_a_second_at_every_ceiling() {
        assert_eq!(delays(&mut Backoff::new(), 0.0, 8), [100; 8]);
    }

    #[test]
    fn the_draw_is_spread_evenly_between_floor_and_ceiling() {
        assert_eq!(delays(&mut Backoff::new(), 0.5, 3), [550, 1_050, 2_050]);
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new();
        delays(&mut backoff, 1.0, 5);
        backoff.reset();
        assert_eq!(delays(&mut backoff, 1.0, 2), [1_000, 2_000]);
    }

    #[test]
    fn a_broken_random_source_waits_longest() {
        for share in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1, 1.1] {
            assert_eq!(delays(&mut Backoff::new(), share, 1), [1_000], "{share}");
        }
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(draws in prop::collection::vec(any::<f64>(), 1..80)) {
            let mut backoff = Backoff::new();
            for draw in draws {
                let delay = backoff.delay(&mut || draw);
                prop_assert!((MIN_DELAY..=MAX_CEILING).contains(&delay), "{delay:?}");
            }
        }
    }
}
