//! The share of time that all CPUs were busy between two readings, and whether it makes sense.

use std::time::{Duration, Instant};

use super::stat::Times;
use crate::sources::Purpose;

/// Cumulative time of all CPUs together, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Time in every state; that of guests is part of user and nice time.
    pub total: u64,
    /// Time idle or waiting for I/O.
    pub idle: u64,
}

impl Ticks {
    /// None if a time makes no sense.
    #[must_use]
    pub fn of(times: &Times) -> Option<Self> {
        let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = *times.ticks()?;
        let idle = idle.saturating_add(iowait);
        let total = [user, nice, system, irq, softirq, steal]
            .into_iter()
            .fold(idle, u64::saturating_add);
        Some(Self { total, idle })
    }
}

/// The share of busy time between two readings, 0 to 100.
///
/// The kernel's idle and iowait counters can go backwards (`proc_stat(5)`), so the result is
/// limited to 0 to 100; 0 if no time has passed.
#[must_use]
pub fn percent(previous: Ticks, now: Ticks) -> f64 {
    let total = now.total.saturating_sub(previous.total);
    if total == 0 {
        return 0.0;
    }
    let idle = now.idle.saturating_sub(previous.idle);
    let busy = total.saturating_sub(idle);
    #[expect(
        clippy::cast_precision_loss,
        reason = "53 bits are ticks of a million years, and of a share no one reads the last bit"
    )]
    let share = busy as f64 / total as f64;
    100.0 * share
}

/// How many ticks so many CPUs spend in a time, and how many that can be at most as the kernel
/// counts: it counts by ticks, and adds later what a CPU of a virtual machine has missed. The
/// margin is a tenth, ten ticks of each CPU, and a second. If it is not known how many CPUs there
/// are, they may have spent none, and there are no more than Linux can have.
pub(super) fn spent_and_most_ticks(
    elapsed: Duration,
    cpus: Option<u64>,
    per_second: u64,
) -> (u64, u64) {
    let spent = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let spent = spent.saturating_mul(per_second) / 1000;
    // Of each CPU.
    let most = spent.saturating_add(spent / 10 + 10);
    let most = most.saturating_mul(cpus.unwrap_or(MAX_CPUS));
    let most = most.saturating_add(per_second);
    (spent.saturating_mul(cpus.unwrap_or(0)), most)
}

/// Most CPUs that Linux can be built for.
const MAX_CPUS: u64 = 8192;

/// A reading to compare with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) ticks: Ticks,
    /// The times as the kernel has them.
    pub(super) times: Times,
    /// How many ticks less these are than what was reported.
    pub(super) short: u64,
    /// How often the times had started over by then.
    pub(super) beginnings: u64,
    /// Not later than when it was made.
    pub(super) at: Instant,
}

/// The previous reading for each purpose.
#[derive(Debug, Default)]
pub(super) struct Previous {
    pub(super) metrics: Option<Reading>,
    pub(super) model: Option<Reading>,
    pub(super) query: Option<Reading>,
}

impl Previous {
    /// The one before.
    pub(super) fn replace(&mut self, purpose: Purpose, now: Reading) -> Option<Reading> {
        let previous = match purpose {
            Purpose::Metrics => &mut self.metrics,
            Purpose::Model => &mut self.model,
            Purpose::Query => &mut self.query,
        };
        previous.replace(now)
    }
}

/// A step back of so many seconds is a new beginning of all times: far more than the kernel takes
/// back of what it reported too early, far less than what is gone with a CPU.
pub(super) const NEW_BEGINNING_SECONDS: u64 = 3;

/// A share is still computed if times lost at most one part in so many of the ticks between two
/// readings: it is then wrong by no more than two percent of the whole. Idle time goes back by a
/// tick or two on many hosts, again and again.
const TOLERATED_PART: u64 = 50;

/// What times are that a share can be made of.
const EXPECTED_FORWARD: &str =
    "times of all CPUs that are not below those of the reading before, for cpu.percent";
const EXPECTED_POSSIBLE: &str =
    "no more time of all CPUs than has passed since the reading before, for cpu.percent";
/// What is expected of the times since the previous reading and is not so, if anything. All CPUs
/// have `spent` that many ticks since, by the clock, and `most` is the bound on what the kernel
/// may count.
pub(super) fn misstep(
    previous: &Reading,
    now: &Reading,
    (spent, most): (u64, u64),
) -> Option<&'static str> {
    let step = now.ticks.total.saturating_sub(previous.ticks.total);
    let tolerated = step / TOLERATED_PART;
    if previous.beginnings != now.beginnings || now.times.below(&previous.times) > tolerated {
        return Some(EXPECTED_FORWARD);
    }
    // Times that went back may advance again by as much, although no time has passed: then there
    // are more ticks than the clock says.
    let again = previous.short.saturating_sub(now.short);
    let not_spent = step.saturating_sub(spent);
    let impossible = step > most || (again > tolerated && not_spent > again / 2);
    impossible.then_some(EXPECTED_POSSIBLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::cpu::stat;
    use crate::sources::odd::Odd;
    use crate::sources::text::{TICKS, max_sum_of_times};
    use proptest::prelude::*;

    fn ticks(total: u64, idle: u64) -> Ticks {
        Ticks { total, idle }
    }

    fn parse(text: &str) -> Ticks {
        let times = stat::parse_first_line(text.as_bytes(), &mut Odd::default());
        Ticks::of(&times.unwrap()).unwrap()
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        // user nice system idle iowait irq softirq steal guest guest_nice
        let text = "cpu  1 20 300 4000 50000 600000 7000000 80000000 900000000 900\ncpu0 junk\n";
        assert_eq!(parse(text), ticks(87_654_321, 54_000));
    }

    #[test]
    fn modes_that_a_kernel_lacks_are_part_of_those_that_it_has() {
        assert_eq!(parse("cpu  1 20 300 4000\n"), ticks(4321, 4000));
        assert_eq!(parse("cpu  1 20 300 4000 50000\n"), ticks(54_321, 54_000));
        assert_eq!(parse("cpu  1 2 3 4 5 6 7 8 9 10 11 12\n"), ticks(36, 9));
    }

    #[test]
    fn sums_of_the_largest_times_are_right() {
        let max = max_sum_of_times(TICKS);
        let text = format!("cpu  {max} {max} {max} {max} {max}\n");
        assert_eq!(parse(&text), ticks(5 * max, 2 * max));
    }

    /// 100 x (Δtotal - Δidle) / Δtotal, worked by hand.
    #[test]
    fn the_share_is_that_of_the_interval() {
        for (previous, now, expected) in [
            (ticks(1000, 900), ticks(1200, 1050), 25.0),
            (ticks(1000, 900), ticks(1200, 1100), 0.0),
            (ticks(1000, 900), ticks(1200, 900), 100.0),
            (ticks(0, 0), ticks(3, 2), 100.0 / 3.0),
        ] {
            let share = percent(previous, now);
            assert!((share - expected).abs() < 1e-12, "{share} {expected}");
        }
    }

    #[test]
    fn counters_that_stand_or_go_backwards_give_no_impossible_share() {
        for (previous, now, expected) in [
            (ticks(1000, 900), ticks(1000, 900), 0.0),
            (ticks(1000, 900), ticks(900, 850), 0.0),
            // iowait fell by more than idle grew
            (ticks(1000, 900), ticks(1095, 895), 100.0),
            // idle grew by more than the total did, since iowait fell in between
            (ticks(1000, 900), ticks(1001, 910), 0.0),
        ] {
            let share = percent(previous, now);
            assert!((share - expected).abs() < 1e-12, "{share} {expected}");
        }
    }

    #[test]
    fn no_more_time_passes_than_all_cpus_have() {
        let ticks = |ms, cpus| spent_and_most_ticks(Duration::from_millis(ms), cpus, 100);
        assert_eq!(ticks(0, Some(1)), (0, 110));
        assert_eq!(ticks(5000, Some(2)), (1000, 1220));
        assert_eq!(ticks(u64::MAX, Some(u64::MAX)), (u64::MAX, u64::MAX));
        assert_eq!(ticks(1000, None), (0, 8192 * 120 + 100));
    }

    proptest! {
        #[test]
        fn the_share_is_always_one(a in any::<[u64; 2]>(), b in any::<[u64; 2]>()) {
            let share = percent(ticks(a[0], a[1]), ticks(b[0], b[1]));
            prop_assert!((0.0..=100.0).contains(&share), "{share}");
        }
    }
}
