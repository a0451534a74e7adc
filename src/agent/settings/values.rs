//! The values that the agent's settings are made of: the name that a host reports under, as an
//! administrator sets it, the order of endpoints, and the intervals with their ranges.

use std::str::FromStr;
use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, de::Deserializer};
use thiserror::Error;

use crate::base::text::is_hidden;
use crate::config::{OutOfRange, deserialize_within, within};
use crate::protocol::{METRICS_INTERVAL, STALE_INTERVAL};

/// The longest host name, in bytes: what a DNS name can have as text
/// (RFC 1035, section 2.3.4: 255 octets on the wire).
pub const MAX_HOST_NAME_BYTES: usize = 253;

/// The name that a host reports under: not empty, at most
/// [`MAX_HOST_NAME_BYTES`], without control characters and without white space
/// around it. Need not be a DNS name: an administrator may name hosts freely.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(String);

/// Why a text is no [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostNameError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_HOST_NAME_BYTES`].
    #[error("it is too long: {0} bytes (limit {MAX_HOST_NAME_BYTES})")]
    TooLong(usize),
    /// A character that cannot be seen, such as a line break or a mark of direction.
    #[error("it contains the invisible character U+{:04X}", u32::from(*.0))]
    Control(char),
    /// White space at the beginning or the end.
    #[error("it begins or ends with white space")]
    Space,
}

impl HostName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(text: String) -> Result<Self, HostNameError> {
        if text.is_empty() {
            return Err(HostNameError::Empty);
        }
        if text.len() > MAX_HOST_NAME_BYTES {
            return Err(HostNameError::TooLong(text.len()));
        }
        if text.trim().len() != text.len() {
            return Err(HostNameError::Space);
        }
        if let Some(found) = text.chars().find(|found| is_hidden(*found)) {
            return Err(HostNameError::Control(found));
        }
        Ok(Self(text))
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The order in which the endpoints of a section are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum EndpointOrder {
    /// As they are listed.
    #[default]
    Listed,
    /// In an order that each agent draws for itself when it starts, and keeps.
    Random,
}

/// A text that names no [`EndpointOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected listed or random")]
pub struct UnknownOrder;

impl EndpointOrder {
    /// Its name in the settings and on the bus.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Random => "random",
        }
    }
}

impl TryFrom<String> for EndpointOrder {
    type Error = UnknownOrder;

    fn try_from(text: String) -> Result<Self, UnknownOrder> {
        let all = [Self::Listed, Self::Random].into_iter();
        let mut named = all.filter(|order| order.as_str() == text);
        named.next().ok_or(UnknownOrder)
    }
}

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
    fn a_host_name_is_bounded_and_printable() {
        for good in ["web1", "web1.example.org", "Büro 3", &"a".repeat(253)] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
        let cases = [
            ("", HostNameError::Empty),
            ("a\nb", HostNameError::Control('\n')),
            ("a\u{9b}b", HostNameError::Control('\u{9b}')),
            ("a\u{202e}b", HostNameError::Control('\u{202e}')),
            ("a\u{200b}", HostNameError::Control('\u{200b}')),
            ("\0", HostNameError::Control('\0')),
            (" a", HostNameError::Space),
            ("a\u{a0}", HostNameError::Space),
        ];
        for (bad, reason) in cases {
            assert_eq!(bad.parse::<HostName>(), Err(reason), "{bad:?}");
        }
        assert_eq!(
            "ü".repeat(127).parse::<HostName>(),
            Err(HostNameError::TooLong(254))
        );
    }

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
