//! `cpu.percent` from the first line of /proc/stat (`proc_stat(5)`).
//!
//! The share of time that all CPUs together were busy since the previous reading for the
//! same purpose. Making the collector takes a first reading for every purpose, so that
//! the first sample is about an interval, too; where that failed, the first reading that
//! succeeds gives no value.

use std::io::Read;

use procfs_core::{CpuTime, ExplicitSystemInfo, FromBufReadSI, KernelStats};

use super::{
    Collector, Purpose, Sink,
    error::{CollectError, Malformed},
    source::{ProcFile, Root},
    table::CPU_PERCENT,
};

/// Where the kernel says it.
const FILE: &str = "/proc/stat";

/// The file's first line, as `proc_stat(5)` has it; kernels before 2.6.33 have fewer numbers.
const EXPECTED: &str = "\"cpu\", four to ten numbers and the end of the line";

/// The crate parses whole files and wants these lines in them. All that is read of
/// /proc/stat, which can have hundreds of kilobytes of interrupt counters, is the first.
const REST: &[u8] = b"ctxt 0\nbtime 0\nprocesses 0\n";

/// Needed for conversions into seconds, of which there is none here.
const SYSTEM: ExplicitSystemInfo = ExplicitSystemInfo {
    boot_time_secs: 0,
    ticks_per_second: 100,
    page_size: 4096,
    is_little_endian: true,
};

/// Cumulative time of all CPUs together, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticks {
    /// Time in every state; that of guests is part of user and nice time.
    pub total: u64,
    /// Time idle or waiting for I/O.
    pub idle: u64,
}

impl From<&CpuTime> for Ticks {
    fn from(time: &CpuTime) -> Self {
        // States that a kernel does not know yet are part of those that it knows.
        let of = |state: Option<u64>| state.unwrap_or(0);
        let idle = time.idle.saturating_add(of(time.iowait));
        let total = [
            time.user,
            time.nice,
            time.system,
            of(time.irq),
            of(time.softirq),
            of(time.steal),
        ]
        .into_iter()
        .fold(idle, u64::saturating_add);
        Self { total, idle }
    }
}

/// The time of all CPUs together out of a text that begins as /proc/stat does.
pub fn parse(text: &[u8]) -> Result<Ticks, Malformed> {
    let end = text.iter().position(|&byte| byte == b'\n');
    let line = end.and_then(|end| text.get(..=end));
    // Without its newline the line is cut off, perhaps in the middle of a number.
    let line = line.ok_or_else(|| Malformed::new(1, EXPECTED, text))?;
    // The crate's own error says no more, and asks to be reported as a bug.
    let stats = KernelStats::from_buf_read(line.chain(REST), &SYSTEM)
        .map_err(|_| Malformed::new(1, EXPECTED, line.trim_ascii_end()))?;
    Ok(Ticks::from(&stats.total))
}

/// The share of busy time between two readings, 0 to 100.
///
/// The kernel's idle and iowait counters can go backwards (`proc_stat(5)`), so neither a
/// negative share nor more than all of the time comes out; 0 where no time has passed.
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

/// The previous reading for each purpose.
#[derive(Debug)]
struct Previous {
    metrics: Option<Ticks>,
    model: Option<Ticks>,
    query: Option<Ticks>,
}

impl Previous {
    fn replace(&mut self, purpose: Purpose, now: Ticks) -> Option<Ticks> {
        let previous = match purpose {
            Purpose::Metrics => &mut self.metrics,
            Purpose::Model => &mut self.model,
            Purpose::Query => &mut self.query,
        };
        previous.replace(now)
    }
}

/// Reads /proc/stat.
#[derive(Debug)]
pub struct CpuCollector {
    file: ProcFile,
    previous: Previous,
}

impl CpuCollector {
    /// One that reads below `root`, and the first reading for it to compare with.
    #[must_use]
    pub fn open(root: &Root) -> Self {
        let mut file = ProcFile::new(root, FILE);
        // A failure is not lost: the first sample will meet and return it.
        let first = read(&mut file, &mut Vec::new()).ok();
        Self {
            file,
            previous: Previous {
                metrics: first,
                model: first,
                query: first,
            },
        }
    }
}

fn read(file: &mut ProcFile, scratch: &mut Vec<u8>) -> Result<Ticks, CollectError> {
    parse(file.read_first_line(scratch)?)
        .map_err(|problem| CollectError::malformed(file.path(), problem))
}

impl Collector for CpuCollector {
    fn collect(
        &mut self,
        purpose: Purpose,
        scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        let now = read(&mut self.file, scratch)?;
        if let Some(previous) = self.previous.replace(purpose, now) {
            sink.float(&CPU_PERCENT, percent(previous, now));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticks(total: u64, idle: u64) -> Ticks {
        Ticks { total, idle }
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        // user nice system idle iowait irq softirq steal guest guest_nice
        assert_eq!(
            parse(b"cpu  1 20 300 4000 50000 600000 7000000 80000000 900000000 900\ncpu0 junk\n"),
            Ok(ticks(87_654_321, 54_000))
        );
    }

    #[test]
    fn kernels_with_fewer_states_are_understood() {
        assert_eq!(parse(b"cpu  1 20 300 4000\n"), Ok(ticks(4321, 4000)));
        assert_eq!(
            parse(b"cpu  1 20 300 4000 50000\n"),
            Ok(ticks(54_321, 54_000))
        );
        assert_eq!(
            parse(b"cpu  1 2 3 4 5 6 7 8 9 10 11 12\n"),
            Ok(ticks(36, 9)),
            "and those with more"
        );
    }

    #[test]
    fn sums_past_64_bits_saturate() {
        let max = u64::MAX;
        assert_eq!(
            parse(format!("cpu  {max} {max} {max} {max} {max}\n").as_bytes()),
            Ok(ticks(max, max))
        );
    }

    #[test]
    fn what_is_not_the_first_line_of_the_file_is_malformed() {
        for text in [
            &b""[..],
            b"\n",
            b"cpu\n",
            b"cpu  1 2 3\n",
            b"cpu  1 2 3 4",
            b"cpu  1 2 3 -4\n",
            b"cpu  1 2 3 x\n",
            b"cpu  1 2 3 99999999999999999999\n",
            b"cpu  1 2 3 4 \xff\n",
            b"cpu0 1 2 3 4\n",
            b"intr 1 2 3 4\n",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.expected), (1, EXPECTED));
        }
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

    proptest! {
        #[test]
        fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..128)) {
            let _ = parse(&text);
        }

        #[test]
        fn the_share_is_always_one(a in any::<[u64; 2]>(), b in any::<[u64; 2]>()) {
            let share = percent(ticks(a[0], a[1]), ticks(b[0], b[1]));
            prop_assert!((0.0..=100.0).contains(&share), "{share}");
        }
    }
}
