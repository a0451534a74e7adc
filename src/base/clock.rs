//! Points in time: as numbers, and as people read them. Pure, except what says what time it is.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use serde::{Serialize, Serializer};

use super::quantity::{DAY, HOUR, MINUTE, MONTH, NONE, SECOND, WEEK, YEAR, parts};
use super::text;

/// A point in time as D-Bus and the journal carry it: µs since 1970, 0 before.
#[must_use]
pub fn realtime_usec(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
        })
}

/// The present on a clock that cannot be set and that goes on while the machine is suspended: µs
/// since the boot, never 0.
#[must_use]
pub fn boottime_usec() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec).unwrap_or(0) / 1000;
    (seconds * 1_000_000 + micros).max(1)
}

/// Of which time something is, in µs since 1970: " of …", " from … to …", " since …" or " until …";
/// nothing where neither end is known, as 0 says.
#[must_use]
pub fn span(from: i64, to: i64) -> String {
    let shown = |micros: i64| {
        let time = Timestamp::from_microsecond(micros).ok()?;
        (micros > 0).then(|| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    };
    match (shown(from), shown(to)) {
        (Some(from), Some(to)) if from == to => format!(" of {from}"),
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        (Some(from), None) => format!(" since {from}"),
        (None, Some(to)) => format!(" until {to}"),
        (None, None) => String::new(),
    }
}

/// A point in time for tables; in JSON as RFC 3339 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(Timestamp);

impl Time {
    /// That many µs after 1970.
    pub(crate) fn of_usec(usec: u64) -> Self {
        let at = i64::try_from(usec).map_or(Ok(Timestamp::UNIX_EPOCH), Timestamp::from_microsecond);
        Self(at.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// As people here read it.
    pub(crate) fn shown(self) -> String {
        let here = self.0.to_zoned_datetime(TimeZone::system());
        here.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// When now is, and where.
#[derive(Clone, Debug)]
pub struct Clock {
    /// µs since 1970 by the wall clock, as the bus carries points in time.
    pub(crate) now: u64,
    zone: TimeZone,
}

impl Clock {
    /// The time here and now.
    #[must_use]
    pub fn local() -> Self {
        Self::new(
            realtime_usec(SystemTime::now()),
            // A host without a time zone has UTC, see localtime(5).
            TimeZone::try_system().unwrap_or(TimeZone::UTC),
        )
    }

    /// That time, there.
    #[must_use]
    pub const fn new(now: u64, zone: TimeZone) -> Self {
        Self { now, zone }
    }

    /// A point in time as systemctl shows it: `Sun 2026-11-22 17:36:05 UTC`.
    pub(crate) fn date(&self, usec: u64) -> String {
        self.format("%a %Y-%m-%d %H:%M:%S %Z", usec)
    }

    /// Now, as journalctl begins a line: `Nov 22 17:36:05`.
    pub(crate) fn stamp(&self) -> String {
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
    pub(crate) fn since(&self, then: u64) -> String {
        format!("since {}; {}", self.date(then), self.ago(then))
    }

    /// How long ago a point in time was, as systemctl rounds it: `never`, `now`, `2s ago`,
    /// `3h 12min ago`, `2 weeks 1 day ago`.
    pub(crate) fn ago(&self, then: u64) -> String {
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

    /// The same as [`now`](Self::now), in seconds.
    #[expect(clippy::cast_precision_loss, reason = "whole seconds are wanted")]
    pub(crate) fn now_seconds(&self) -> f64 {
        self.now as f64 / SECOND as f64
    }

    /// The time so many seconds ago: `14:03:12`, and `Sun 29 Nov 14:03` where that was not today,
    /// with the year where it was not this year.
    pub(crate) fn when(&self, seconds: f64) -> String {
        self.told(seconds, "%H:%M:%S", "%a %-d %b %H:%M")
    }

    /// The same in eleven columns: of another day no more than the day.
    pub(crate) fn when_short(&self, seconds: f64) -> String {
        self.told(seconds, "%H:%M:%S", "%a %-d %b")
    }

    fn told(&self, seconds: f64, today: &str, this_year: &str) -> String {
        let zoned = |at: f64| {
            // `as` saturates.
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds are wanted")]
            let at = Timestamp::from_second(at.floor() as i64).ok()?;
            Some(at.to_zoned_datetime(self.zone.clone()))
        };
        let now = self.now_seconds();
        let (Some(now), Some(then)) = (zoned(now), zoned(now - seconds)) else {
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

/// `1 day`, `2 days`, `3h`; None for none.
fn counted(number: u64, what: &str) -> Option<String> {
    match number {
        0 => None,
        _ if what == "h" => Some(format!("{number}h")),
        _ => Some(text::counted(number, what)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_span_of_any_numbers_can_be_shown() {
        let (from, to) = (1_790_000_000_000_000, 1_790_000_005_999_999);
        let (shown, later) = ("2026-09-21T14:13:20Z", "2026-09-21T14:13:25Z");
        assert_eq!(span(from, to), format!(" from {shown} to {later}"));
        assert_eq!(span(from, from), format!(" of {shown}"));
        assert_eq!(span(from, 0), format!(" since {shown}"));
        assert_eq!(span(0, from), format!(" until {shown}"));
        // What peers say may be anything.
        assert_eq!(span(i64::MIN, i64::MAX), "");
    }

    #[test]
    fn a_time_before_1970_is_never() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(realtime_usec(before), 0);
        let after = SystemTime::UNIX_EPOCH + Duration::from_micros(7);
        assert_eq!(realtime_usec(after), 7);
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
    fn the_day_is_told_where_it_is_another() {
        // 2026-11-29 14:03:12 UTC.
        let clock = Clock::new(1_795_960_992_500_000, TimeZone::UTC);
        assert_eq!(clock.when(0.0), "14:03:12");
        assert_eq!(clock.when(14.0 * 3600.0), "00:03:12");
        assert_eq!(clock.when(15.0 * 3600.0), "Sat 28 Nov 23:03");
        assert_eq!(clock.when_short(0.0), "14:03:12");
        assert_eq!(clock.when_short(15.0 * 3600.0), "Sat 28 Nov");
        assert_eq!(clock.when(350.0 * 86_400.0), "14 Dec 2025");
        assert_eq!(clock.when(f64::MAX), "-");
        let east = Clock::new(1_795_960_992_500_000, TimeZone::fixed(jiff::tz::offset(1)));
        assert_eq!(east.when(0.0), "15:03:12");
    }
}
