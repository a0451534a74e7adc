//! Numbers, sizes and times as people read them. Pure.
//!
//! Two forms of each: systemctl's, exact and as long as it takes, for lists; and one of at most
//! five columns, for tables and meters.

use std::time::Duration;

/// What stands for a value that is not there.
pub(crate) const NONE: &str = "-";

/// Spans of time in µs.
pub(crate) const MILLISECOND: u64 = 1_000;
pub(crate) const SECOND: u64 = 1_000 * MILLISECOND;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const WEEK: u64 = 7 * DAY;
/// systemd's mean month and year (time-util.h).
pub(crate) const MONTH: u64 = 2_629_800 * SECOND;
pub(crate) const YEAR: u64 = 31_557_600 * SECOND;

const SPANS: [(&str, u64); 6] = [
    ("d", DAY),
    ("h", HOUR),
    ("min", MINUTE),
    ("s", SECOND),
    ("ms", MILLISECOND),
    ("us", 1),
];

const BINARY: [&str; 9] = ["B", "K", "M", "G", "T", "P", "E", "Z", "Y"];
const DECIMAL: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// Bytes in the binary units that systemctl prints, tenths cut off: `256B`, `1.5K`.
pub(crate) fn bytes(number: u64) -> String {
    let (mut whole, mut tenths) = (number, String::new());
    let mut units = BINARY.into_iter();
    let mut unit = units.next();
    while whole >= 1024 {
        tenths = format!(".{}", whole % 1024 * 10 / 1024);
        whole /= 1024;
        unit = units.next();
    }
    format!("{whole}{tenths}{}", unit.unwrap_or_default())
}

/// Bytes in binary units, at most five characters: `512B`, `1.5K`, `12.3M`, `1023G`.
pub(crate) fn size(bytes: f64) -> String {
    let is_whole = |number: f64, unit: &str| unit == "B" || number >= 99.95;
    five_columns(bytes, &BINARY, 1024.0, is_whole)
}

/// A number of things per second, or just a number, at most five characters: `0`, `1.5`,
/// `230`, `1.2k`, `12M`.
pub(crate) fn count(number: f64) -> String {
    five_columns(number, &DECIMAL, 1000.0, |number: f64, unit: &str| {
        number >= 99.5 || (unit.is_empty() && (number - number.round()).abs() < 0.05)
    })
}

/// In the first of the units in which it has at most four digits, whole or with tenths.
fn five_columns(
    mut number: f64,
    units: &[&'static str],
    step: f64,
    is_whole: impl Fn(f64, &str) -> bool,
) -> String {
    if !number.is_finite() || number < 0.0 {
        return NONE.to_owned();
    }
    for unit in units {
        // What would be rounded to the next unit is of that unit, too.
        if number < step - 0.5 {
            let decimals = usize::from(!is_whole(number, unit));
            return format!("{number:.decimals$}{unit}");
        }
        number /= step;
    }
    format!(">999{}", units.last().unwrap_or(&""))
}

/// A number of things.
#[expect(clippy::cast_precision_loss, reason = "rounded to three digits anyway")]
pub(crate) fn whole(number: usize) -> String {
    count(number as f64)
}

/// A percentage without a sign in front, at most five characters: `7%`, `100%`.
pub(crate) fn percent(value: f64) -> String {
    if value.is_nan() {
        NONE.to_owned()
    } else if value >= 999.5 {
        ">999%".to_owned()
    } else {
        format!("{:.0}%", value.max(0.0))
    }
}

/// A load average, at most five characters: two decimals while they fit.
pub(crate) fn load(value: f64) -> String {
    if (0.0..99.995).contains(&value) {
        format!("{value:.2}")
    } else if (0.0..99_999.5).contains(&value) {
        format!("{value:.0}")
    } else {
        count(value)
    }
}

/// A temperature in °C without a unit, at most five characters.
pub(crate) fn temperature(celsius: f64) -> String {
    if celsius.is_nan() {
        return NONE.to_owned();
    }
    format!("{:.0}", celsius.clamp(-999.0, 9999.0))
}

/// A span of time, exactly, in systemd's units: `1min 30s`.
pub(crate) fn span(usec: u64) -> String {
    parts(usec, SPANS.len())
}

/// The largest parts of a span.
pub(crate) fn parts(usec: u64, most: usize) -> String {
    let mut rest = usec;
    let mut parts = Vec::new();
    for (unit, size) in SPANS {
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

/// The largest unit of a time in seconds, at most five characters: `5s`, `12min`, `3h`, `40d`,
/// `3y`.
pub(crate) fn short_span(seconds: f64) -> String {
    let usec = match usec(seconds) {
        None => return NONE.to_owned(),
        Some(usec) if usec / YEAR > 999 => return ">999y".to_owned(),
        // Two years and a half are better told in days.
        Some(usec) if usec / YEAR > 2 => return format!("{}y", usec / YEAR),
        Some(usec) => usec,
    };
    let mut units = SPANS.into_iter().take_while(|(_, size)| *size >= SECOND);
    let (unit, size) = units
        .find(|(_, size)| usec >= *size)
        .unwrap_or(("s", SECOND));
    format!("{}{unit}", usec / size)
}

/// A unit of a time in seconds and the next smaller one: `3d 4h`.
pub(crate) fn long_span(seconds: f64) -> String {
    let usec = usec(seconds).unwrap_or(0);
    for (of, (small, part)) in SPANS.into_iter().zip(SPANS.into_iter().skip(1)) {
        let (unit, size) = of;
        if usec >= size && part >= SECOND {
            return format!("{}{unit} {}{small}", usec / size, usec % size / part);
        }
    }
    short_span(seconds)
}

/// None for what is no number; `as` saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "µs, and no time is negative"
)]
fn usec(seconds: f64) -> Option<u64> {
    (!seconds.is_nan()).then_some((seconds * SECOND as f64) as u64)
}

/// A time in whole seconds, as settings are written: `1m 30s`.
pub(crate) fn whole_seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_columns() {
        for (bytes, text) in [
            (0.0, "0B"),
            (1023.0, "1023B"),
            (1023.6, "1.0K"),
            (1536.0, "1.5K"),
            (102_400.0, "100K"),
            (1_048_500.0, "1.0M"),
            (15.0 * 1024.0 * 1024.0 * 1024.0, "15.0G"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        for (number, text) in [
            (0.0, "0"),
            (1.52, "1.5"),
            (3.0, "3"),
            (12.34, "12.3"),
            (230.4, "230"),
            (999.6, "1.0k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
        assert_eq!(whole(12_345), "12.3k");
    }

    #[test]
    fn no_number_is_wider_than_five_columns() {
        let texts: [fn(f64) -> String; 6] = [size, count, percent, load, temperature, short_span];
        let mut number: f64 = 1e-9;
        let mut numbers = vec![0.0, -0.0, -1.0, f64::MAX, f64::MIN, f64::NAN];
        numbers.extend([f64::INFINITY, f64::NEG_INFINITY]);
        while number < 1e300 {
            numbers.extend([number, -number, number.round() - 0.5]);
            number *= 1.07;
        }
        for number in numbers {
            for text in texts {
                let text = text(number);
                assert!(text.chars().count() <= 5, "{number}: {text}");
                assert!(
                    !text.is_empty() && !text.contains("NaN"),
                    "{number}: {text}"
                );
            }
        }
    }

    #[test]
    fn times_are_told_in_what_fits() {
        for (seconds, text) in [
            (0.4, "0s"),
            (59.9, "59s"),
            (60.0, "1min"),
            (3_599.0, "59min"),
            (7_200.0, "2h"),
            (86_400.0 * 800.0, "800d"),
            (86_400.0 * 1200.0, "3y"),
        ] {
            assert_eq!(short_span(seconds), text);
        }
        assert_eq!(long_span(273_600.0), "3d 4h");
        assert_eq!(long_span(65.0), "1min 5s");
        assert_eq!(long_span(5.0), "5s");
    }

    #[test]
    fn shares_and_loads() {
        assert_eq!(percent(99.6), "100%");
        assert_eq!(percent(-0.2), "0%");
        assert_eq!(load(0.5), "0.50");
        assert_eq!(load(123.4), "123");
    }

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
}
