//! Times in the settings: how they are written. Written as `"5s"`, `"100ms"`, `"1min 30s"`; a bare number is
//! seconds, as in systemd.time(7).

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use thiserror::Error;

/// A time outside of what a setting allows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} is not between {} and {}", format(*.time), format(*.range.start()), format(*.range.end()))]
pub struct OutOfRange {
    /// The time asked for.
    pub time: Duration,
    /// What is allowed.
    pub range: RangeInclusive<Duration>,
}

pub(crate) fn within(
    time: Duration,
    range: RangeInclusive<Duration>,
) -> Result<Duration, OutOfRange> {
    if range.contains(&time) {
        Ok(time)
    } else {
        Err(OutOfRange { time, range })
    }
}

/// The time as it is written in the settings: `5s`, `1m 30s`.
pub(crate) fn format(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// Reads a time as the settings have it; a bare number is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
            Err(_) => Err("the number is too large".to_owned()),
        };
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Reads a time of this range, as written in a file.
pub(crate) fn deserialize_within<'de, D: Deserializer<'de>>(
    from: D,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    // What the range is, the table of settings says.
    let unfit = |_| D::Error::invalid_value(Unexpected::Other("a time"), &"one of the range");
    within(from.deserialize_any(TimeVisitor)?, range).map_err(unfit)
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        Ok(Duration::from_secs(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        let seconds = u64::try_from(seconds).map_err(|_| E::custom("a time cannot be negative"))?;
        Ok(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_as_systemd_writes_them() {
        let cases = [
            ("5s", 5_000),
            ("5", 5_000),
            ("100ms", 100),
            ("1min 30s", 90_000),
            ("0.5s", 500),
            ("2 h", 7_200_000),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in [
            "5 parsecs",
            "-5s",
            "s",
            "5s 5",
            "infinity",
            "99999999999999999999",
            "1e3s",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
