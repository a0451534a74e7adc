//! Times, sizes and colours as people read them. Pure, except [`Clock::local`].

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::base::clock::realtime_usec;
use crate::base::text::grouped;

const MILLISECOND: u64 = 1_000;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// systemd's mean month and year (time-util.h).
const MONTH: u64 = 2_629_800 * SECOND;
const YEAR: u64 = 31_557_600 * SECOND;

/// When now is, and where.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// µs since 1970 by the wall clock, as the bus carries points in time.
    pub(super) now: u64,
    zone: TimeZone,
}

impl Clock {
    /// The time here and now.
    pub(super) fn local() -> Self {
        Self::new(
            realtime_usec(SystemTime::now()),
            // A host without a time zone has UTC, see localtime(5).
            TimeZone::try_system().unwrap_or(TimeZone::UTC),
        )
    }

    pub(super) const fn new(now: u64, zone: TimeZone) -> Self {
        Self { now, zone }
    }

    /// A point in time as systemctl shows it: `Sun 2026-11-22 17:36:05 UTC`.
    pub(super) fn date(&self, usec: u64) -> String {
        self.format("%a %Y-%m-%d %H:%M:%S %Z", usec)
    }

    /// Now, as journalctl begins a line: `Nov 22 17:36:05`.
    pub(super) fn stamp(&self) -> String {
        self.format("%b %d %H:%M:%S", self.now)
    }

    fn format(&self, format: &str, usec: u64) -> String {
        let at = i64::try_from(usec).map(Timestamp::from_microsecond);
        let Ok(Ok(at)) = at else {
            return "n/a".to_owned();
        };
        let at = at.to_zoned_datetime(self.zone.clone());
        at.strftime(format).to_string()
    }

    /// A point in time with how long ago it was.
    pub(super) fn since(&self, then: u64) -> String {
        format!("since {}; {}", self.date(then), self.ago(then))
    }

    /// How long ago a point in time was, as systemctl rounds it: `never`, `now`, `2s ago`,
    /// `3h 12min ago`, `2 weeks 1 day ago`.
    pub(super) fn ago(&self, then: u64) -> String {
        if then == 0 {
            return "never".to_owned();
        }
        // The clock may have been set back since.
        let usec = self.now.saturating_sub(then);
        let rough = |unit: u64, name: &str, part: u64, small: &str| {
            let parts = [
                counted(usec / unit, name),
                counted(usec % unit / part, small),
            ];
            let told: Vec<_> = parts.into_iter().flatten().collect();
            told.join(" ")
        };
        let text = match usec {
            ..SECOND => return "now".to_owned(),
            SECOND..MINUTE => parts(usec, 1),
            MINUTE..DAY => parts(usec, 2),
            DAY..WEEK => rough(DAY, "day", HOUR, "h"),
            WEEK..MONTH => rough(WEEK, "week", DAY, "day"),
            MONTH..YEAR => rough(MONTH, "month", DAY, "day"),
            YEAR.. => rough(YEAR, "year", MONTH, "month"),
        };
        format!("{text} ago")
    }
}

/// `1 day`, `2 days`, `3h`; None for none.
fn counted(number: u64, what: &str) -> Option<String> {
    match number {
        0 => None,
        _ if what == "h" => Some(format!("{number}h")),
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) colours: bool,
}

impl Style {
    pub(super) const fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// systemctl's dot for a state, in its colour.
    pub(super) fn dot(self, state: &str) -> String {
        let (dot, _) = look(state);
        self.paint(state, dot)
    }

    /// Text in the colour of a state.
    pub(super) fn paint(self, state: &str, text: &str) -> String {
        match look(state) {
            (_, Some(colour)) => self.sgr(colour, text),
            _ => text.to_owned(),
        }
    }

    /// A table's heading, underlined as systemctl's.
    pub(super) fn heading(self, text: &str) -> String {
        self.sgr("4", text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A state's dot and SGR colour: bold green for what works, bold red for what does not.
fn look(state: &str) -> (&'static str, Option<&'static str>) {
    match state {
        "reporting" => ("●", Some("1;32")),
        "stale" => ("●", Some("1;31")),
        "failed" => ("×", Some("1;31")),
        "connecting" | "stopping" => ("●", Some("1;33")),
        _ => ("○", None),
    }
}

const UNITS: [(&str, u64); 6] = [
    ("d", DAY),
    ("h", HOUR),
    ("min", MINUTE),
    ("s", SECOND),
    ("ms", MILLISECOND),
    ("us", 1),
];

/// A span of time, exactly, in systemd's units: `1min 30s`.
pub(super) fn span(usec: u64) -> String {
    parts(usec, UNITS.len())
}

/// The largest parts of a span.
fn parts(usec: u64, most: usize) -> String {
    let mut rest = usec;
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if rest >= size && parts.len() < most {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() {
        parts.push("0".to_owned());
    }
    parts.join(" ")
}

/// Bytes in the binary units that systemctl prints: `256B`, `1.5K`.
pub(super) fn bytes(number: u64) -> String {
    match scaled(number) {
        (whole, None, "") => format!("{whole}B"),
        (whole, tenth, unit) => format!("{whole}.{}{unit}", tenth.unwrap_or(0)),
    }
}

/// A number in the largest binary unit that it has one of, with tenths of that.
fn scaled(number: u64) -> (u64, Option<u64>, &'static str) {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let mut unit = "";
    let (mut whole, mut rest) = (number, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        rest = whole % 1024;
        whole /= 1024;
        unit = next;
    }
    let tenth = (!unit.is_empty()).then_some(rest * 10 / 1024);
    (whole, tenth, unit)
}

/// A metric's whole number with its unit, scaled for people: 2048 kB as `2.0M`, 90 s as
/// `1min 30s`.
pub(super) fn quantity(number: u64, unit: &str) -> String {
    let factor = match unit {
        "B" => 1,
        // As in /proc/meminfo: 1024 bytes.
        "kB" => 1024,
        "s" => return parts(number.saturating_mul(SECOND), 2),
        "ms" => return parts(number.saturating_mul(MILLISECOND), 2),
        "us" => return parts(number, 2),
        "" => return grouped(number),
        other => return format!("{} {other}", grouped(number)),
    };
    bytes(number.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exact() {
        for (usec, text) in [
            (0, "0"),
            (5_000_000, "5s"),
            (100_000, "100ms"),
            (90_000_000, "1min 30s"),
            (3_600_000_000, "1h"),
            (1_500_001, "1s 500ms 1us"),
        ] {
            assert_eq!(span(usec), text);
        }
    }

    #[test]
    fn what_was_is_told_roughly() {
        let clock = Clock::new(1_700_000_000_000_000, TimeZone::UTC);
        for (seconds, text) in [
            (0, "now"),
            (2, "2s ago"),
            (62, "1min 2s ago"),
            (3_725, "1h 2min ago"),
            (90_000, "1 day 1h ago"),
            (2 * 86_400, "2 days ago"),
            (15 * 86_400, "2 weeks 1 day ago"),
            (40 * 86_400, "1 month 9 days ago"),
            (400 * 86_400, "1 year 1 month ago"),
        ] {
            assert_eq!(clock.ago(clock.now - seconds * SECOND), text);
        }
        assert_eq!(clock.ago(clock.now - 1_999_999), "1s ago");
        assert_eq!(clock.ago(0), "never");
        assert_eq!(clock.ago(clock.now + 5_000_000), "now");
    }

    #[test]
    fn times_are_local() {
        let now = 1_700_000_000_000_000;
        assert_eq!(
            Clock::new(now, TimeZone::UTC).since(now - 2 * SECOND),
            "since Tue 2023-11-14 22:13:18 UTC; 2s ago"
        );
        // tzset(3)'s own form, so that the test needs no zoneinfo.
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let clock = Clock::new(now, zone);
        assert_eq!(clock.date(now), "Tue 2023-11-14 23:13:20 CET");
        let summer = 1_690_000_000 * SECOND;
        assert_eq!(clock.date(summer), "Sat 2023-07-22 06:26:40 CEST");
        assert_eq!(clock.stamp(), "Nov 14 23:13:20");
        assert_eq!(clock.date(u64::MAX), "n/a");
    }

    #[test]
    fn sizes_have_binary_units() {
        for (number, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (1024 * 1024 - 1, "1023.9K"),
            (1024 * 1024, "1.0M"),
            (u64::MAX, "15.9E"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn quantities_are_scaled_for_people() {
        for (number, unit, text) in [
            (0, "kB", "0B"),
            (1, "kB", "1.0K"),
            (8_000_000, "kB", "7.6G"),
            (512, "B", "512B"),
            (93_784, "s", "1d 2h"),
            (59, "s", "59s"),
            (1_234_567, "", "1,234,567"),
            (1_234, "pages", "1,234 pages"),
            (u64::MAX, "kB", "15.9E"),
            (u64::MAX, "s", "213503982d 8h"),
        ] {
            assert_eq!(quantity(number, unit), text, "{number} {unit}");
        }
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        assert_eq!(Style::new(false).dot("reporting"), "●");
        assert_eq!(Style::new(true).dot("reporting"), "\x1b[1;32m●\x1b[0m");
        assert_eq!(Style::new(true).dot("unconfigured"), "○");
        assert_eq!(Style::new(true).heading("A"), "\x1b[4mA\x1b[0m");
    }
}
