//! Times, sizes and colours as people read them. Pure, but for [`now`].

use std::time::{Duration, SystemTime};

use crate::agent::totals::realtime_usec;

/// Moves to the upper left corner and clears the screen.
pub(super) const CLEAR: &str = "\x1b[H\x1b[2J";

/// µs since 1970 by the wall clock, as the bus carries points in time.
pub(super) fn now() -> u64 {
    realtime_usec(SystemTime::now())
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colours: bool,
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
            (_, Some(colour)) if self.colours => format!("\x1b[{colour}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// A state's dot and SGR colour: bold green for what works, bold red for what does not.
fn look(state: &str) -> (&'static str, Option<&'static str>) {
    match state {
        "reporting" => ("●", Some("1;32")),
        "stale" => ("●", Some("1;31")),
        "connecting" | "stopping" => ("●", Some("1;33")),
        _ => ("○", None),
    }
}

const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// A span of time, exactly, in systemd's units: `1min 30s`.
pub(super) fn span(usec: u64) -> String {
    parts(usec, UNITS.len())
}

/// How long ago a point in time was: `never`, `now`, `2s ago`, `3h 12min ago`.
pub(super) fn ago(then: u64, now: u64) -> String {
    const SECOND: u64 = 1_000_000;
    if then == 0 {
        return "never".to_owned();
    }
    // The clock may have been set back since.
    match now.saturating_sub(then) {
        usec if usec < SECOND => "now".to_owned(),
        usec => format!("{} ago", parts(usec - usec % SECOND, 2)),
    }
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

/// A point in time with how long ago it was; UTC, as the zone is nobody's but the
/// reader's.
pub(super) fn since(then: u64, now: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(then);
    let date = humantime::format_rfc3339_seconds(time);
    format!("since {date}; {}", ago(then, now))
}

/// Bytes in the binary units that systemctl prints: `256B`, `1.5K`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if number < 1024 {
        return format!("{number}B");
    }
    // Tenths of a unit; u128, as the largest number times ten is more than a u64 holds.
    let mut tenths = u128::from(number) * 10;
    let mut unit = "";
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = next;
    }
    format!("{}.{}{unit}", tenths / 10, tenths % 10)
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
        let now = 1_700_000_000_000_000;
        for (seconds, text) in [
            (0, "now"),
            (2, "2s ago"),
            (62, "1min 2s ago"),
            (3_725, "1h 2min ago"),
            (90_000, "1d 1h ago"),
        ] {
            assert_eq!(ago(now - seconds * 1_000_000, now), text);
        }
        assert_eq!(ago(now - 1_999_999, now), "1s ago");
        assert_eq!(ago(0, now), "never");
        assert_eq!(ago(now + 5_000_000, now), "now");
        assert_eq!(
            since(now - 2_000_000, now),
            "since 2023-11-14T22:13:18Z; 2s ago"
        );
    }

    #[test]
    fn sizes_have_binary_units() {
        for (number, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1536, "1.5K"),
            (1024 * 1024, "1.0M"),
            (u64::MAX, "15.9E"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn colours_are_left_out_where_nobody_sees_them() {
        assert_eq!(Style::new(false).dot("reporting"), "●");
        assert_eq!(Style::new(true).dot("reporting"), "\x1b[1;32m●\x1b[0m");
        assert_eq!(Style::new(true).dot("unconfigured"), "○");
    }
}
