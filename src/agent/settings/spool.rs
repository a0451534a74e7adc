//! The settings of the history, `[spool]`: how much is kept for collectors that are away, and where.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::{Deserialize, de};

use crate::config::deserialize_within;
use crate::config::table::{Setting, check};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// The least is room for a few samples of a large host, the most is what a host could spare.
const MEMORY: RangeInclusive<u64> = 256 * KIB..=GIB;

/// None at all, up to a disk of its own.
const DISK: RangeInclusive<u64> = 0..=TIB;

/// With less than a second every hiccup would go to disk; an hour is much to lose in a power cut.
const AFTER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The units of a size, the largest first.
const UNITS: [(&str, u64); 4] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];

/// How much of the history is kept, and when it goes to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spool {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk; 0 for none.
    pub disk: u64,
    /// How long a collector may be behind before samples go to disk.
    pub after: Duration,
}

pub(super) const SPOOL_MEMORY: Setting = Setting {
    key: "spool.memory",
    expected: "a size from 256 KiB to 1 GiB, such as \"4 MiB\"",
    default: Some("\"4 MiB\""),
    description: "How much memory samples may take that collectors have not acknowledged. Once they are on \
                  disk they leave it.",
    check: check::<Memory>,
    ..Setting::TEXT
};

pub(super) const SPOOL_DISK: Setting = Setting {
    key: "spool.disk",
    expected: "a size from 0 to 1 TiB, such as \"64 MiB\"",
    default: Some("\"64 MiB\""),
    description: "How much of the state directory samples may take that collectors have not acknowledged; \
                  where it is full the oldest go. 0 keeps them in memory alone.",
    check: check::<Disk>,
    ..Setting::TEXT
};

pub(super) const SPOOL_AFTER: Setting = Setting {
    key: "spool.after",
    expected: "a time from 1s to 1h, such as \"30s\"",
    default: Some("\"30s\""),
    description: "How long a collector may be away before samples for it are written to disk; a bare number is \
                  seconds. Receipts come up to 5s apart: with less, samples are written to disk all the time.",
    check: check::<After>,
    ..Setting::TEXT
};

/// `[spool]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpoolFragment {
    memory: Memory,
    disk: Disk,
    after: After,
}

impl SpoolFragment {
    pub(super) fn values(&self) -> Spool {
        Spool {
            memory: self.memory.0,
            disk: self.disk.0,
            after: self.after.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Memory(u64);

#[derive(Clone, Copy, Debug)]
struct Disk(u64);

#[derive(Clone, Copy, Debug)]
struct After(Duration);

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        size_within(from, &MEMORY).map(Self)
    }
}

impl<'de> Deserialize<'de> for Disk {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        size_within(from, &DISK).map(Self)
    }
}

impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        deserialize_within(from, AFTER).map(Self)
    }
}

/// The size as it is written in the settings: in the largest unit in which it is whole.
pub(crate) fn format_size(bytes: u64) -> String {
    let is_whole = |(_, unit): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(is_whole) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes}"),
    }
}

/// Reads a size; a bare number is bytes.
fn parse_size(text: &str) -> Result<u64, &'static str> {
    let digits = text.trim_end_matches(|end: char| !end.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim_start();
    let unit = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, unit)) => *unit,
        None if unit.is_empty() || unit == "B" => 1,
        None => return Err("the units are B, KiB, MiB, GiB and TiB"),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it has to begin with a whole number");
    }
    let number: Option<u64> = digits.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(unit));
    bytes.ok_or("the number is too large")
}

fn size_within<'de, D: Deserializer<'de>>(
    from: D,
    range: &RangeInclusive<u64>,
) -> Result<u64, D::Error> {
    let bytes = from.deserialize_any(SizeVisitor)?;
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    // What the range is, the table of settings says.
    let found = Unexpected::Other("a size");
    Err(D::Error::invalid_value(found, &"one of the range"))
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
        parse_size(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| E::custom("a size cannot be negative"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::settings::testbed::Host;

    #[test]
    fn a_size_is_a_number_with_a_binary_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("256 KiB", 256 * KIB),
            ("4MiB", 4 * MIB),
            ("3  GiB", 3 * GIB),
            ("1 TiB", TIB),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }
        assert_eq!(format_size(4 * MIB), "4 MiB");
        assert_eq!(format_size(1536 * KIB), "1536 KiB");
        assert_eq!(format_size(1025), "1025");
        for text in [
            "",
            "MiB",
            "-1",
            "1.5 MiB",
            "4 MB",
            "4 mib",
            "4 4 KiB",
            "1 TiB 1",
            "99999999999999999999",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("99999999 TiB"), Err("the number is too large"));
    }

    #[test]
    fn the_defaults_are_in_force_unless_they_are_set() {
        let mut host = Host::new();
        let spool = host.load().unwrap().settings.spool;
        let expected = Spool {
            memory: 4 * MIB,
            disk: 64 * MIB,
            after: Duration::from_secs(30),
        };
        assert_eq!(spool, expected);
        host.etc("spool = { memory = '1 GiB', disk = 0, after = 60 }");
        host.variable("SPOOL__MEMORY", "256 KiB");
        let spool = host.load().unwrap().settings.spool;
        let expected = Spool {
            memory: 256 * KIB,
            disk: 0,
            after: Duration::from_secs(60),
        };
        assert_eq!(spool, expected);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let host = Host::new();
        host.etc("spool = { memory = '255 KiB', disk = '2 TiB', after = '999ms' }");
        let problems = host.problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for (problem, expected) in problems.iter().zip([
            "spool.after: '999ms' is not a time from 1s to 1h",
            "spool.disk: '2 TiB' is not a size from 0 to 1 TiB",
            "spool.memory: '255 KiB' is not a size from 256 KiB to 1 GiB",
        ]) {
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
