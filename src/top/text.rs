//! Text for a terminal: numbers as people read them. Pure.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub(super) use crate::base::text::shown as clean;

/// What stands for a value that is not there.
pub(super) const NONE: &str = "-";

/// Bytes in binary units, at most five characters: `512B`, `1.5K`, `12.3M`, `1023G`.
pub(super) fn size(bytes: f64) -> String {
    const UNITS: [&str; 8] = ["K", "M", "G", "T", "P", "E", "Z", "Y"];
    if !bytes.is_finite() || bytes < 0.0 {
        return NONE.to_owned();
    }
    let mut number = bytes;
    let mut unit = "B";
    for next in UNITS {
        // What would be rounded to four digits, too.
        if number < 1023.5 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    if number >= 1023.5 {
        ">999Y".to_owned()
    } else if unit == "B" || number >= 99.95 {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

/// A number of things per second, or just a number, at most five characters: `0`, `1.5`,
/// `230`, `1.2k`, `12M`.
pub(super) fn count(number: f64) -> String {
    const UNITS: [&str; 5] = ["k", "M", "G", "T", "P"];
    if !number.is_finite() || number < 0.0 {
        return NONE.to_owned();
    }
    let (mut number, mut unit) = (number, "");
    for next in UNITS {
        if number < 999.5 {
            break;
        }
        number /= 1000.0;
        unit = next;
    }
    if number >= 999.5 {
        ">999P".to_owned()
    } else if number >= 99.5 || (unit.is_empty() && (number - number.round()).abs() < 0.05) {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

/// A number of things.
#[expect(clippy::cast_precision_loss, reason = "rounded to three digits anyway")]
pub(super) fn whole(number: usize) -> String {
    count(number as f64)
}

/// A percentage without a sign in front, at most five characters: `7%`, `100%`.
pub(super) fn percent(value: f64) -> String {
    if value.is_nan() {
        NONE.to_owned()
    } else if value >= 999.5 {
        ">999%".to_owned()
    } else {
        format!("{:.0}%", value.max(0.0))
    }
}

/// A load average, at most five characters: two decimals while they fit.
pub(super) fn load(value: f64) -> String {
    if (0.0..99.995).contains(&value) {
        format!("{value:.2}")
    } else if (0.0..99_999.5).contains(&value) {
        format!("{value:.0}")
    } else {
        count(value)
    }
}

/// A temperature in °C without a unit, at most five characters.
pub(super) fn temperature(celsius: f64) -> String {
    if celsius.is_nan() {
        return NONE.to_owned();
    }
    format!("{:.0}", celsius.clamp(-999.0, 9999.0))
}

/// The largest unit of a time in seconds, at most five characters: `5s`, `12min`, `3h`, `40d`,
/// `3y`.
pub(super) fn span(seconds: f64) -> String {
    const UNITS: [(&str, f64); 5] = [
        ("y", 31_557_600.0),
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("min", 60.0),
        ("s", 1.0),
    ];
    if seconds.is_nan() {
        return NONE.to_owned();
    }
    let (unit, size) = UNITS
        .into_iter()
        .find(|(_, size)| seconds >= *size)
        .unwrap_or(("s", 1.0));
    // Two years and a half are better told in days.
    if unit == "y" && seconds < 3.0 * size {
        return format!("{:.0}d", (seconds / 86_400.0).floor());
    }
    if unit == "y" && seconds >= 1000.0 * size {
        return ">999y".to_owned();
    }
    format!("{:.0}{unit}", (seconds / size).floor().max(0.0))
}

/// What the clock on the wall says, here.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Now, in seconds since 1970.
    pub now: f64,
    zone: TimeZone,
}

impl Clock {
    /// The time here and now.
    #[must_use]
    pub fn local() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self::new(
            now.unwrap_or_default().as_secs_f64(),
            // A host without a time zone has UTC, see localtime(5).
            TimeZone::try_system().unwrap_or(TimeZone::UTC),
        )
    }

    /// That time, there.
    #[must_use]
    pub const fn new(now: f64, zone: TimeZone) -> Self {
        Self { now, zone }
    }

    /// The time this long ago: `14:03:12`, and `Sun 29 Nov 14:03` where that was not today, with
    /// the year where it was not this year.
    pub(super) fn ago(&self, seconds: f64) -> String {
        self.told(seconds, "%H:%M:%S", "%a %-d %b %H:%M")
    }

    /// The same in eleven columns: of another day no more than the day.
    pub(super) fn ago_short(&self, seconds: f64) -> String {
        self.told(seconds, "%H:%M:%S", "%a %-d %b")
    }

    fn told(&self, seconds: f64, today: &str, this_year: &str) -> String {
        let zoned = |at: f64| {
            // `as` saturates.
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds are wanted")]
            let at = Timestamp::from_second(at.floor() as i64).ok()?;
            Some(at.to_zoned_datetime(self.zone.clone()))
        };
        let (Some(now), Some(then)) = (zoned(self.now), zoned(self.now - seconds)) else {
            return NONE.to_owned();
        };
        let format = if now.date() == then.date() {
            today
        } else if now.year() == then.year() {
            this_year
        } else {
            "%-d %b %Y"
        };
        then.strftime(format).to_string()
    }
}

/// The two largest units of a time in seconds: `3d 4h`.
pub(super) fn long_span(seconds: f64) -> String {
    for (large, size, small, part) in [
        ("d", 86_400.0, "h", 3_600.0),
        ("h", 3_600.0, "min", 60.0),
        ("min", 60.0, "s", 1.0),
    ] {
        if seconds >= size {
            let whole = (seconds / size).floor();
            let rest = ((seconds - whole * size) / part).floor();
            return format!("{whole:.0}{large} {rest:.0}{small}");
        }
    }
    span(seconds)
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
        let texts: [fn(f64) -> String; 6] = [size, count, percent, load, temperature, span];
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
    fn the_day_is_told_where_it_is_another() {
        // 2026-11-29 14:03:12 UTC.
        let clock = Clock::new(1_795_960_992.5, TimeZone::UTC);
        assert_eq!(clock.ago(0.0), "14:03:12");
        assert_eq!(clock.ago(14.0 * 3600.0), "00:03:12");
        assert_eq!(clock.ago(15.0 * 3600.0), "Sat 28 Nov 23:03");
        assert_eq!(clock.ago_short(0.0), "14:03:12");
        assert_eq!(clock.ago_short(15.0 * 3600.0), "Sat 28 Nov");
        assert_eq!(clock.ago(350.0 * 86_400.0), "14 Dec 2025");
        assert_eq!(clock.ago(f64::MAX), "-");
        let east = Clock::new(1_795_960_992.5, TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(east.ago(0.0), "15:03:12");
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
            assert_eq!(span(seconds), text);
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
}
