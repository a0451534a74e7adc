//! The values that settings are made of: each is parsed once, and what exists
//! is valid. Refuses, with the reason, what does not fit.

use std::fmt;
use std::str::FromStr;
use std::{borrow::Borrow, ops::RangeInclusive, time::Duration};

use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, de};
use thiserror::Error;
use tracing::level_filters::LevelFilter;

/// The longest name of a connection, in bytes. It ends up in a D-Bus object
/// path, in journal fields and on terminals.
pub const MAX_CONNECTION_NAME_BYTES: usize = 64;

/// The name of a connection, `NAME` in `[collector.NAME]`: 1 to
/// [`MAX_CONNECTION_NAME_BYTES`] of `A-Z a-z 0-9 _ . -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ConnectionName(String);

/// Why a text is no [`ConnectionName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectionNameError {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// Longer than [`MAX_CONNECTION_NAME_BYTES`].
    #[error("it is too long: {0} bytes (limit {MAX_CONNECTION_NAME_BYTES})")]
    TooLong(usize),
    /// A character outside the set.
    #[error("it contains {0:?}; letters, digits, \"_\", \".\" and \"-\" are allowed")]
    Character(char),
}

impl ConnectionName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ConnectionName {
    type Error = ConnectionNameError;

    fn try_from(text: String) -> Result<Self, ConnectionNameError> {
        if text.is_empty() {
            return Err(ConnectionNameError::Empty);
        }
        if text.len() > MAX_CONNECTION_NAME_BYTES {
            return Err(ConnectionNameError::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        match text.chars().find(|&found| !allowed(found)) {
            Some(found) => Err(ConnectionNameError::Character(found)),
            None => Ok(Self(text)),
        }
    }
}

impl FromStr for ConnectionName {
    type Err = ConnectionNameError;

    fn from_str(text: &str) -> Result<Self, ConnectionNameError> {
        Self::try_from(text.to_owned())
    }
}

impl Borrow<str> for ConnectionName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How much is logged: this and what is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what may need attention.
    Warning,
    /// And what an administrator follows: the default.
    Info,
    /// And what helps to find a fault.
    Debug,
    /// And each step. More than syslog(3) knows.
    Trace,
}

/// A text that names no [`LogLevel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown log level: expected one of {}", LogLevel::WORDS.join(", "))]
pub struct UnknownLogLevel;

impl LogLevel {
    /// Every word that is accepted: those of the settings, then further ones of syslog(3).
    pub const WORDS: [&'static str; 11] = [
        "error", "warning", "info", "debug", "trace", "emerg", "alert", "crit", "err", "warn",
        "notice",
    ];

    /// The same for people.
    pub const EXPECTED: &'static str = "one of \"error\", \"warning\", \"info\", \"debug\", \"trace\" (or of \
        syslog's \"emerg\", \"alert\", \"crit\", \"err\", \"warn\", \"notice\")";

    /// The default level.
    pub const DEFAULT: Self = Self::Info;

    /// Every level, the gravest first.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warning,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The level's name in the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level's name in syslog(3) and `org.freedesktop.LogControl1`, which
    /// has nothing beyond `debug`.
    #[must_use]
    pub const fn syslog_name(self) -> &'static str {
        match self {
            Self::Error => "err",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug | Self::Trace => "debug",
        }
    }
}

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    /// Takes the names of the settings and those of syslog(3), as
    /// `systemctl service-log-level` sends them. What has no equal here becomes
    /// the next level that hides nothing of it: `emerg`, `alert`, `crit` become
    /// `error`; `notice` becomes `info`.
    fn from_str(text: &str) -> Result<Self, UnknownLogLevel> {
        match text {
            "emerg" | "alert" | "crit" | "err" | "error" => Ok(Self::Error),
            "warning" | "warn" => Ok(Self::Warning),
            "notice" | "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(UnknownLogLevel),
        }
    }
}

impl TryFrom<String> for LogLevel {
    type Error = UnknownLogLevel;

    fn try_from(text: String) -> Result<Self, UnknownLogLevel> {
        text.parse()
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warning => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// Yes or no; in a variable of the environment it is text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = bool;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
                Ok(value)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
                text.parse()
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        from.deserialize_any(Either).map(Self)
    }
}

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
    fn every_word_of_a_level_is_told() {
        let told = [
            LogLevel::EXPECTED,
            include_str!("../../packaging/metrics-agent.toml"),
            include_str!("../../packaging/metrics-collector.toml"),
        ];
        for text in told {
            let words: Vec<_> = text.split(|next: char| !next.is_alphanumeric()).collect();
            for word in LogLevel::WORDS {
                assert!(words.contains(&word), "{word}: {text}");
            }
        }
    }

    #[test]
    fn a_connection_name_fits_everywhere() {
        for good in ["main", "EU-west_1.a", ".", &"x".repeat(64)] {
            assert_eq!(good.parse::<ConnectionName>().unwrap().as_str(), good);
        }
        assert_eq!(
            "".parse::<ConnectionName>(),
            Err(ConnectionNameError::Empty)
        );
        assert_eq!(
            "x".repeat(65).parse::<ConnectionName>(),
            Err(ConnectionNameError::TooLong(65))
        );
        for bad in ['/', ' ', 'ä', '\n', '"'] {
            let name = format!("a{bad}");
            assert_eq!(
                name.parse::<ConnectionName>(),
                Err(ConnectionNameError::Character(bad))
            );
        }
    }

    #[test]
    fn log_levels_take_syslogs_names() {
        let cases = [
            ("emerg", LogLevel::Error),
            ("alert", LogLevel::Error),
            ("crit", LogLevel::Error),
            ("err", LogLevel::Error),
            ("error", LogLevel::Error),
            ("warning", LogLevel::Warning),
            ("warn", LogLevel::Warning),
            ("notice", LogLevel::Info),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ];
        for (text, level) in cases {
            assert_eq!(text.parse(), Ok(level), "{text}");
            assert_eq!(level.to_string().parse(), Ok(level));
            assert!(LogLevel::WORDS.contains(&text), "{text}");
            assert!(UnknownLogLevel.to_string().contains(text), "{text}");
        }
        assert_eq!(LogLevel::WORDS.len(), cases.len());
        for bad in ["", "INFO", "7", "verbose"] {
            assert_eq!(bad.parse::<LogLevel>(), Err(UnknownLogLevel), "{bad}");
        }
        assert_eq!(LevelFilter::from(LogLevel::Warning), LevelFilter::WARN);
        assert_eq!(LogLevel::Error.syslog_name(), "err");
        assert_eq!(LogLevel::Trace.syslog_name(), "debug");
    }

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
