//! Points in time as numbers.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_before_1970_is_never() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(realtime_usec(before), 0);
        let after = SystemTime::UNIX_EPOCH + Duration::from_micros(7);
        assert_eq!(realtime_usec(after), 7);
    }
}
