//! The agent's intervals, and their ranges.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::Deserializer;

use crate::config::{OutOfRange, deserialize_within, within};
use crate::protocol::{METRICS_INTERVAL, STALE_INTERVAL};

/// The range of a source's own interval: what is read less often than daily is
/// not measured.
const SOURCE_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(24 * 3600);

/// Returns the time as a metrics interval if it is in [`METRICS_INTERVAL`].
pub fn metrics_interval(time: Duration) -> Result<Duration, OutOfRange> {
    within(time, METRICS_INTERVAL)
}

/// Returns the time as a stale interval if it is in [`STALE_INTERVAL`].
pub fn stale_interval(time: Duration) -> Result<Duration, OutOfRange> {
    within(time, STALE_INTERVAL)
}

/// [`metrics_interval`] as written in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetricsInterval(pub(super) Duration);

/// [`stale_interval`] as written in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaleInterval(pub(super) Duration);

/// A source's own interval as written in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceInterval(pub(super) Duration);

impl<'de> Deserialize<'de> for SourceInterval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_within(from, SOURCE_INTERVAL).map(Self)
    }
}

impl<'de> Deserialize<'de> for MetricsInterval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_within(from, METRICS_INTERVAL).map(Self)
    }
}

impl<'de> Deserialize<'de> for StaleInterval {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_within(from, STALE_INTERVAL).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_their_ends() {
        let ms = Duration::from_millis;
        assert_eq!(metrics_interval(ms(100)), Ok(ms(100)));
        assert_eq!(metrics_interval(ms(3_600_000)), Ok(ms(3_600_000)));
        assert_eq!(stale_interval(ms(1000)), Ok(ms(1000)));
        let low = metrics_interval(ms(99)).unwrap_err();
        assert_eq!(low.to_string(), "99ms is not between 100ms and 1h");
        assert!(metrics_interval(ms(3_600_001)).is_err());
        let low = stale_interval(ms(999)).unwrap_err();
        assert_eq!(low.to_string(), "999ms is not between 1s and 1h");
        assert!(stale_interval(Duration::MAX).is_err());
    }
}
