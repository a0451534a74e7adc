//! The kernel's own data about its clock: adjtimex(2), which is only read, never set.

/// What the kernel knows of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// `status`
    pub status: i32,
    /// `offset`, in ns where `status` has `STA_NANO`, else in µs
    pub offset: i64,
    /// `esterror`, in µs
    pub estimated_error: i64,
    /// `maxerror`, in µs
    pub max_error: i64,
}

impl Clock {
    /// Returns true if it is kept in step with a reference.
    #[must_use]
    pub fn synchronised(&self) -> bool {
        self.status & libc::STA_UNSYNC == 0
    }

    /// How far it is behind its reference, in s.
    #[must_use]
    pub fn offset_seconds(&self) -> f64 {
        let unit = if self.status & libc::STA_NANO == 0 {
            1e-6
        } else {
            1e-9
        };
        seconds(self.offset, unit)
    }

    /// How far it is estimated to be wrong, in s.
    #[must_use]
    pub fn estimated_seconds(&self) -> f64 {
        seconds(self.estimated_error, 1e-6)
    }

    /// How far it can be wrong at most, in s.
    #[must_use]
    pub fn max_seconds(&self) -> f64 {
        seconds(self.max_error, 1e-6)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the kernel bounds these to 16 s, far from where a float has no room for a ns"
)]
fn seconds(count: i64, unit: f64) -> f64 {
    count as f64 * unit
}

/// Returns true if adjtimex(2) can be called without harm, from the text of /proc/self/status.
///
/// Under a filter of system calls it may be one that ends the process: our own unit's does
/// (`SystemCallFilter=` in systemd.exec(5)), because all calls that can set the clock are left out
/// of it. `prctl(2)` would tell the same, and may be filtered itself.
#[must_use]
pub fn unfiltered(status: &[u8]) -> bool {
    status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Seccomp:"))
        .is_some_and(|mode| mode.trim_ascii() == b"0")
}

/// Reads it; None if the kernel refuses.
#[must_use]
pub fn read() -> Option<Clock> {
    #[expect(
        unsafe_code,
        reason = "of the crates that we have none wraps adjtimex(2) for reading; those that \
                  steer clocks keep it to themselves"
    )]
    // SAFETY: every field of timex is an integer, for which all zeroes is a value, and
    // `modes` 0 is a request to read. The kernel writes within the structure that it is
    // given, which is ours for the time of the call.
    let (result, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    // Otherwise one of the TIME_ states, of which TIME_ERROR is a clock that is not in step.
    (result != -1).then_some(Clock {
        status: timex.status,
        offset: timex.offset,
        estimated_error: timex.esterror,
        max_error: timex.maxerror,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "whole numbers of a unit")]
    fn units_follow_the_status() {
        let clock = Clock {
            status: libc::STA_NANO | libc::STA_PLL,
            offset: -1_500_000,
            estimated_error: 250,
            max_error: 16_000_000,
        };
        assert!(clock.synchronised());
        assert_eq!(clock.offset_seconds(), -0.0015);
        assert_eq!(clock.estimated_seconds(), 250.0 * 1e-6);
        assert_eq!(clock.max_seconds(), 16.0);
        let old = Clock {
            status: libc::STA_UNSYNC,
            ..clock
        };
        assert!(!old.synchronised());
        assert_eq!(old.offset_seconds(), -1.5);
    }

    #[test]
    fn only_a_process_without_a_filter_asks_the_kernel() {
        assert!(unfiltered(b"Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n"));
        assert!(!unfiltered(b"Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!unfiltered(b"Seccomp_filters:\t0\n"));
        assert!(!unfiltered(b""));
    }

    #[test]
    fn the_running_kernel_answers_within_its_bounds() {
        if !unfiltered(&std::fs::read("/proc/self/status").unwrap()) {
            return;
        }
        let clock = read().unwrap();
        // NTP_PHASE_LIMIT: the kernel counts no error above 16 s.
        assert!((0..=16_000_000).contains(&clock.max_error), "{clock:?}");
        assert!(
            (0..=16_000_000).contains(&clock.estimated_error),
            "{clock:?}"
        );
    }
}
