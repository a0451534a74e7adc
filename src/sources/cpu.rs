//! `cpu.*`, and what else /proc/stat says of all CPUs together (`proc_stat(5)`): context switches,
//! interrupts, forks, threads that run and that wait.
//!
//! Times go out in ms, counts as the kernel has them. `cpu.percent` is the share of time that all
//! CPUs together were busy since the previous reading for the same purpose. It is left out, only
//! for these two readings, if the kernel took back time in between ([`stat::Steady`]), or if more
//! time was added than all CPUs can have had, for example when a CPU comes back that was taken out;
//! it then counts as a value that makes no sense. Making the source takes a first reading for every
//! purpose, so that the first sample is about an interval, too; if that failed, the first reading
//! that succeeds gives no value. A model has only `cpu.percent` of this, and needs only the file's
//! first line.

pub mod share;
pub mod stat;

use std::{fmt::Write, time::Instant};

use share::{
    NEW_BEGINNING_SECONDS, Previous, Reading, Ticks, misstep, percent, spent_and_most_ticks,
};
use stat::{Cores, MODES, Steady, Times};

use super::{
    Context, Grid, Sink, Source,
    error::{CollectError, Malformed},
    file::ProcFile,
    odd::Odd,
};
use crate::metrics::Definition;
use crate::metrics::table::{
    CPU_CORE_IDLE, CPU_CORE_IOWAIT, CPU_CORE_IRQ, CPU_CORE_NICE, CPU_CORE_SOFTIRQ, CPU_CORE_STEAL,
    CPU_CORE_SYSTEM, CPU_CORE_USER, CPU_GUEST, CPU_GUEST_NICE, CPU_IDLE, CPU_INTERRUPTS,
    CPU_IOWAIT, CPU_IRQ, CPU_NICE, CPU_PERCENT, CPU_SOFTIRQ, CPU_STEAL, CPU_SWITCHES, CPU_SYSTEM,
    CPU_USER, PROC_BLOCKED, PROC_FORKS, PROC_RUNNING,
};

/// Where the kernel says it.
const FILE: &str = "/proc/stat";

/// Most that is read of it: a line of some 100 bytes for each CPU, of which Linux takes up
/// to 8192, and at least two bytes for each interrupt that the machine could have, a few
/// thousand by default and half a million where all of those CPUs are configured.
const FILE_LIMIT: usize = 4 * 1024 * 1024;

/// What all CPUs' modes are reported as, in the order of the file.
static OF_ALL: [&Definition; MODES] = [
    &CPU_USER,
    &CPU_NICE,
    &CPU_SYSTEM,
    &CPU_IDLE,
    &CPU_IOWAIT,
    &CPU_IRQ,
    &CPU_SOFTIRQ,
    &CPU_STEAL,
    &CPU_GUEST,
    &CPU_GUEST_NICE,
];

/// The metrics of one CPU's modes. The time of guests is part of user and nice time, and not
/// reported separately here.
static OF_CORE: [&Definition; 8] = [
    &CPU_CORE_USER,
    &CPU_CORE_NICE,
    &CPU_CORE_SYSTEM,
    &CPU_CORE_IDLE,
    &CPU_CORE_IOWAIT,
    &CPU_CORE_IRQ,
    &CPU_CORE_SOFTIRQ,
    &CPU_CORE_STEAL,
];

/// What the times of one CPU are.
const EXPECTED_CORE_FORWARD: &str = "times of a CPU that go back by less than 3 s";

/// Ticks of the kernel's clock for user space in ms.
fn milliseconds(ticks: u64, per_second: u64) -> u64 {
    // With 100 ticks a second, as on nearly all machines, nothing is rounded.
    let per_second = per_second.max(1);
    let (seconds, rest) = (ticks / per_second, ticks % per_second);
    let part = rest.saturating_mul(1000) / per_second;
    seconds.saturating_mul(1000).saturating_add(part)
}

/// Reads /proc/stat.
#[derive(Debug)]
pub struct CpuSource {
    file: ProcFile,
    previous: Previous,
    ticks_per_second: u64,
    /// How many there are; 0 where that is not known.
    cpus: u64,
    all: Steady,
    /// How often their times have started over.
    beginnings: u64,
    /// There where each CPU is wanted.
    each: Option<Each>,
    /// A CPU's number as text; kept for its room.
    label: String,
}

/// What is known of each CPU.
#[derive(Debug, Default)]
struct Each {
    /// Those of this reading; kept for its room.
    cores: Cores,
    /// By rising number.
    steady: Vec<(u64, Steady)>,
    /// Those of the reading before, while there is another.
    old: Vec<(u64, Steady)>,
}

impl Each {
    /// Replaces each CPU's times by those to report. A CPU that was not there before begins
    /// again; of others that begin again as their times went far back, `fell` gets the number.
    fn advance(&mut self, limit: u64, mut fell: impl FnMut(u64)) {
        std::mem::swap(&mut self.steady, &mut self.old);
        self.steady.clear();
        let mut old = self.old.drain(..).peekable();
        for core in &mut self.cores.list {
            while old.next_if(|(number, _)| *number < core.number).is_some() {}
            let known = old.next_if(|(number, _)| *number == core.number);
            let (number, mut steady) = known.unwrap_or((core.number, Steady::default()));
            let (times, fell_back) = steady.advance(&core.times, limit);
            core.times = times;
            if fell_back {
                fell(number);
            }
            self.steady.push((number, steady));
        }
    }
}

impl CpuSource {
    /// One that reads below the root, and the first reading for it to compare with.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let mut source = Self {
            file: ProcFile::new(&context.root, FILE),
            previous: Previous::default(),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            cpus: 0,
            all: Steady::default(),
            beginnings: 0,
            each: context.options.cpu.per_cpu.then(Each::default),
            label: String::new(),
        };
        let mut scratch = Vec::new();
        let at = Instant::now();
        // A failure is not lost: the first sample will meet and return it.
        let text = source.file.read_first_line(&mut scratch).ok();
        let times = text.and_then(|text| stat::parse_first_line(text, &mut Odd::default()).ok());
        if let Some(times) = times {
            let (_, first) = source.advance(&times, at);
            if let Ok(text) = source.file.read_up_to(FILE_LIMIT, &mut scratch) {
                source.cpus = stat::count_cpus(text);
            }
            source.previous = Previous {
                metrics: first,
                model: first,
                query: first,
            };
        }
        source
    }

    fn limit(&self) -> u64 {
        self.ticks_per_second.saturating_mul(NEW_BEGINNING_SECONDS)
    }

    /// Reports the share, and gives the times to report, which were read after that moment by
    /// a host of so many CPUs at most. `text` begins with the line that they are from.
    fn report_share(
        &mut self,
        times: &Times,
        (at, cpus): (Instant, u64),
        text: &[u8],
        sink: &mut Sink<'_>,
    ) -> Times {
        let (reported, now) = self.advance(times, at);
        if let Some(now) = now
            && let Some(previous) = self.previous.replace(sink.purpose(), now)
        {
            let elapsed = previous.at.elapsed();
            let cpus = Some(cpus).filter(|&cpus| cpus > 0);
            let ticks = spent_and_most_ticks(elapsed, cpus, self.ticks_per_second);
            match misstep(&previous, &now, ticks) {
                None => sink.float(&CPU_PERCENT, percent(previous.ticks, now.ticks)),
                Some(expected) => {
                    let line = text.split(|&byte| byte == b'\n').next().unwrap_or(text);
                    sink.left_out(malformed(&self.file, Malformed::new(1, expected, line)));
                }
            }
        }
        reported
    }

    /// Takes a reading: the times to report, and what later ones are compared with.
    fn advance(&mut self, times: &Times, at: Instant) -> (Times, Option<Reading>) {
        let (reported, begins) = self.all.advance(times, self.limit());
        self.beginnings += u64::from(begins);
        // A share cannot be computed from a value that did not change.
        let reading = Ticks::of(times).map(|ticks| Reading {
            ticks,
            times: *times,
            short: times.below(&reported),
            beginnings: self.beginnings,
            at,
        });
        (reported, reading)
    }

    fn report_cores(&mut self, text: &[u8], sink: &mut Sink<'_>) {
        let limit = self.limit();
        let Some(each) = &mut self.each else {
            return;
        };
        let mut odd = Odd::default();
        each.advance(limit, |core| {
            let (number, line) = stat::line_of(core, text);
            odd.add(Malformed::began_again(number, EXPECTED_CORE_FORWARD, line));
        });
        sink.odd(self.file.path(), odd);
        for core in &each.cores.list {
            self.label.clear();
            // Writing to a String does not fail.
            let _ = write!(self.label, "{}", core.number);
            for (definition, ticks) in OF_CORE.iter().zip(core.times.known()) {
                if let Some(ticks) = ticks {
                    let time = milliseconds(ticks, self.ticks_per_second);
                    sink.unsigned_of(definition, &self.label, time);
                }
            }
        }
        sink.cut(each.cores.cut);
    }
}

fn malformed(file: &ProcFile, problem: Malformed) -> CollectError {
    CollectError::malformed(file.path(), problem)
}

impl Source for CpuSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let mut odd = Odd::default();
        let at = Instant::now();
        if sink.grid() == Grid::Model {
            let text = self.file.read_first_line(scratch)?;
            if let Ok(times) = stat::parse_first_line(text, &mut odd) {
                sink.odd(self.file.path(), odd);
                self.report_share(&times, (at, self.cpus), text, sink);
                return Ok(());
            }
            // The first line cannot be used; what is wrong is reported from the whole file.
            odd = Odd::default();
        }
        let cores = self.each.as_mut().map(|each| &mut each.cores);
        let text = self.file.read_up_to(FILE_LIMIT, scratch)?;
        // A CPU that has gone spent time until then.
        let before = std::mem::replace(&mut self.cpus, stat::count_cpus(text));
        let cpus = before.max(self.cpus);
        let parsed = stat::parse(text, cores, &mut odd);
        let stat = parsed.map_err(|problem| malformed(&self.file, problem))?;
        sink.odd(self.file.path(), odd);
        let all = self.report_share(&stat.all, (at, cpus), text, sink);
        let known = all.known();
        let known =
            known.map(|ticks| ticks.map(|ticks| milliseconds(ticks, self.ticks_per_second)));
        sink.unsigned_all(OF_ALL.into_iter().zip(known));
        self.report_cores(text, sink);
        sink.unsigned_all([
            (&CPU_SWITCHES, stat.switches),
            (&CPU_INTERRUPTS, stat.interrupts),
            (&PROC_FORKS, stat.forks),
            (&PROC_RUNNING, stat.running),
            (&PROC_BLOCKED, stat.blocked),
        ]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::CPU;
    use crate::metrics::{Samples, Value};
    use crate::sources::{Options, Purpose, Root, SourceSet, set::Transition, testing::captured};
    use std::time::Duration;

    #[test]
    fn ticks_are_told_in_milliseconds() {
        for (ticks, per_second, expected) in [
            (0, 100, 0),
            (26668, 100, 266_680),
            (2049, 1024, 2000),
            (5, 3, 1666),
            (7, 1000, 7),
            (7, 0, 7000),
            (u64::MAX, 1, u64::MAX),
        ] {
            assert_eq!(milliseconds(ticks, per_second), expected);
        }
    }

    /// A CPU that was taken out for hours comes back, and with it the idle time of these hours.
    #[test]
    fn there_is_no_share_where_a_cpu_came_back_with_hours_of_idle_time() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("proc")).unwrap();
        let write = |user: u64, idle: u64, cpus: usize| {
            let mut text = format!("cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n");
            for cpu in 0..cpus {
                writeln!(text, "cpu{cpu} 1 0 0 2 0 0 0 0 0 0").unwrap();
            }
            text.push_str("intr 1\nctxt 1\n");
            std::fs::write(directory.path().join("proc/stat"), text).unwrap();
        };
        write(1000, 10_000, 1);
        let context = Context::new(Root(directory.path().to_owned()));
        let mut set = SourceSet::open(context, Duration::from_secs(1), &[CPU]).unwrap();
        let mut samples = Samples::new();
        let mut sample = |purpose, grid| {
            let _ = set.sample(purpose, grid, &mut samples);
            let number = |name: &str| match samples.get(name) {
                Some(Value::Float(share)) => Some(share.round()),
                Some(Value::Unsigned(value)) => Some(f64::from(u32::try_from(value).unwrap())),
                _ => None,
            };
            (number("cpu.percent"), number("cpu.idle.total"))
        };
        // Within what one CPU can have, by the kernel's ticks.
        write(1010, 10_030, 1);
        let metrics = |share, idle| (share, Some(idle));
        assert_eq!(
            sample(Purpose::Metrics, Grid::All),
            metrics(Some(25.0), 100_300.0)
        );
        // Two hours.
        write(1020, 10_060 + 720_000, 2);
        assert_eq!(
            sample(Purpose::Metrics, Grid::All),
            metrics(None, 7_300_600.0)
        );
        assert_eq!(sample(Purpose::Model, Grid::Model).0, None);
        write(1050, 10_070 + 720_000, 2);
        assert_eq!(
            sample(Purpose::Metrics, Grid::All),
            metrics(Some(75.0), 7_300_700.0)
        );
        assert_eq!(sample(Purpose::Model, Grid::Model).0, Some(75.0));
    }

    /// A host whose /proc/stat a test writes, and which is sampled as seconds pass.
    struct Host {
        directory: tempfile::TempDir,
        source: CpuSource,
    }

    impl Host {
        fn new(text: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::create_dir(directory.path().join("proc")).unwrap();
            std::fs::write(directory.path().join("proc/stat"), text).unwrap();
            let mut context = Context::new(Root(directory.path().to_owned()));
            let mut options = Options::default();
            options.cpu.per_cpu = true;
            context.options = options.into();
            let source = CpuSource::open(&context);
            Self { directory, source }
        }

        /// What it says so many seconds after the reading before: the share, the values, and
        /// what was odd.
        fn sample(&mut self, seconds: u64, text: &str) -> (Option<f64>, Samples, Vec<String>) {
            std::fs::write(self.directory.path().join("proc/stat"), text).unwrap();
            if let Some(previous) = &mut self.source.previous.metrics {
                let before = previous.at.checked_sub(Duration::from_secs(seconds));
                previous.at = before.unwrap();
            }
            let mut samples = Samples::new();
            let mut sink = Sink::new(Purpose::Metrics, Grid::All, &mut samples);
            self.source.collect(&mut Vec::new(), &mut sink).unwrap();
            let left_out = sink.into_left_out();
            let mut odd: Vec<_> = left_out.named().iter().map(ToString::to_string).collect();
            let root = self.directory.path().to_str().unwrap();
            for odd in &mut odd {
                *odd = odd.replace(root, "");
            }
            let share = match samples.get("cpu.percent") {
                Some(Value::Float(share)) => Some(share),
                _ => None,
            };
            (share, samples, odd)
        }
    }

    fn one_cpu(user: u64, idle: u64, iowait: u64) -> String {
        format!("cpu  {user} 0 0 {idle} {iowait}\ncpu0 {user} 0 0 {idle} {iowait}\nintr 1\n")
    }

    fn idle(samples: &Samples) -> Option<Value<'_>> {
        samples.get("cpu.idle.total")
    }

    /// Steps back of less than 3 s: the counters keep their values, and the share is left out only
    /// for the interval with the step, counted and named.
    #[test]
    fn a_share_is_left_out_only_where_the_times_went_back() {
        let mut host = Host::new(&one_cpu(1000, 100_000, 500));
        let held = Some(Value::Unsigned(1_000_000));
        let (share, samples, odd) = host.sample(1, &one_cpu(1005, 99_790, 500));
        assert_eq!((share, idle(&samples)), (None, held));
        assert_eq!(
            odd,
            [
                "/proc/stat, line 1: expected times of all CPUs that are not below those of the \
              reading before, for cpu.percent, found \"cpu  1005 0 0 99790 500\""
            ]
        );
        let (share, samples, odd) = host.sample(1, &one_cpu(1010, 99_885, 500));
        assert_eq!((share, idle(&samples), odd), (Some(5.0), held, vec![]));
        // It advances again by what it went back, for which no time has passed.
        let (share, _, odd) = host.sample(1, &one_cpu(1015, 100_095, 500));
        assert_eq!((share, odd.len()), (None, 1), "{odd:?}");
        assert!(odd[0].contains("no more time of all CPUs than has passed"));
        let (share, _, odd) = host.sample(1, &one_cpu(1025, 100_185, 500));
        assert_eq!((share, odd), (Some(10.0), vec![]));
        // iowait goes back and stays below for as long as the host runs.
        assert_eq!(host.sample(1, &one_cpu(1035, 100_275, 300)).0, None);
        for second in 1..=5 {
            let text = one_cpu(1035 + 20 * second, 100_275 + 79 * second, 300 + second);
            let (share, samples, odd) = host.sample(1, &text);
            assert_eq!((share, odd), (Some(20.0), vec![]));
            let iowait = samples.get("cpu.iowait.total");
            assert_eq!(iowait, Some(Value::Unsigned(5000)), "held");
        }
        // A tick of a hundred is no harm, three are.
        let (share, _, odd) = host.sample(1, &one_cpu(1155, 100_745, 304));
        assert_eq!((share, odd), (Some(100.0 * (20.0 / 94.0)), vec![]));
        assert_eq!(host.sample(1, &one_cpu(1175, 100_825, 301)).0, None);
    }

    /// Larger ones: the counters begin again, and the share is back with the next reading.
    #[test]
    fn times_that_went_far_back_are_named_and_begin_again() {
        let mut host = Host::new(&one_cpu(1000, 100_000, 500));
        host.sample(1, &one_cpu(1010, 100_090, 500));
        let (share, samples, odd) = host.sample(1, &one_cpu(1020, 50_000, 500));
        assert_eq!(share, None);
        let found = "\"cpu  1020 0 0 50000 500\"";
        assert_eq!(odd.len(), 2, "{odd:?}");
        assert!(odd[0].starts_with("/proc/stat, line 1: ") && odd[0].ends_with(found));
        assert_eq!(
            odd[1],
            "/proc/stat, line 2: expected times of a CPU that go back by less than 3 s, found \
             \"cpu0 1020 0 0 50000 500\""
        );
        for name in ["cpu.idle.total", "cpu.core.idle.total[0]"] {
            assert_eq!(samples.get(name), Some(Value::Unsigned(500_000)), "{name}");
        }
        let (share, _, odd) = host.sample(1, &one_cpu(1070, 50_050, 500));
        assert_eq!((share, odd), (Some(50.0), vec![]));
    }

    /// The log does not say of what is sent that it is left out.
    #[test]
    fn of_a_cpu_that_begins_again_is_said_that_it_is_sent() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("proc")).unwrap();
        let write = |text: &str| std::fs::write(directory.path().join("proc/stat"), text).unwrap();
        write(&one_cpu(1000, 100_000, 500));
        let mut options = Options::default();
        options.cpu.per_cpu = true;
        let mut context = Context::new(Root(directory.path().to_owned()));
        context.options = options.into();
        let mut set = SourceSet::open(context, Duration::from_secs(1), &[CPU]).unwrap();
        let mut samples = Samples::new();
        assert_eq!(set.sample(Purpose::Metrics, Grid::All, &mut samples), []);
        write(&one_cpu(1020, 50_000, 500));
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        let [
            Transition::LeftOut { error: share, .. },
            Transition::BeganAgain { error: core, .. },
        ] = &news[..]
        else {
            panic!("{news:?}");
        };
        assert!(share.contains("stat, line 1: ") && core.contains("stat, line 2: "));
        assert_eq!(samples.get("cpu.percent"), None);
        let idle = samples.get("cpu.core.idle.total[0]");
        assert_eq!(idle, Some(Value::Unsigned(500_000)));
    }

    /// What one sample has below a directory.
    fn sample(root: Root, per_cpu: bool) -> Samples {
        let mut options = Options::default();
        options.cpu.per_cpu = per_cpu;
        let mut context = Context::new(root);
        context.options = options.into();
        let mut set = SourceSet::open(context, Duration::from_secs(1), &[CPU]).unwrap();
        let mut samples = Samples::new();
        assert_eq!(set.sample(Purpose::Metrics, Grid::All, &mut samples), []);
        samples
    }

    #[test]
    fn everything_of_captured_machines() {
        for (kernel, expected) in [
            (
                "6.1-qemu",
                [90, 0, 3480, 6720, 0, 0, 90, 0, 0, 0, 1847, 2414, 130, 2, 0],
            ),
            (
                "6.12-qemu",
                [
                    220, 0, 8360, 8660, 0, 0, 450, 0, 0, 0, 3229, 4624, 220, 2, 0,
                ],
            ),
            (
                "6.18-firecracker",
                [
                    266_680, 0, 130_020, 2_104_790, 44_160, 0, 2300, 7990, 0, 0, 1_021_024,
                    558_182, 32_014, 2, 0,
                ],
            ),
        ] {
            let samples = sample(captured(kernel), false);
            let values: Vec<_> = samples.iter().map(|(_, value)| value).collect();
            let expected = expected.map(Value::Unsigned);
            assert_eq!(values[0], Value::Float(0.0), "{kernel}: nothing moves");
            assert_eq!(values[1..], expected, "{kernel}");
        }
    }

    #[test]
    fn each_cpu_where_that_is_wanted() {
        let samples = sample(captured("6.18-firecracker"), true);
        for (name, value) in [
            ("cpu.core.user.total[0]", 116_030),
            ("cpu.core.steal.total[0]", 3760),
            ("cpu.core.nice.total[1]", 0),
            ("cpu.core.system.total[1]", 81_040),
            ("cpu.core.idle.total[1]", 998_790),
            ("cpu.core.iowait.total[1]", 40_500),
            ("cpu.core.irq.total[1]", 0),
            ("cpu.core.softirq.total[1]", 2110),
        ] {
            assert_eq!(samples.get(name), Some(Value::Unsigned(value)), "{name}");
        }
        assert_eq!(samples.len(), 16 + 2 * OF_CORE.len());

        let samples = sample(captured("synthetic-many-cpus"), true);
        assert_eq!(samples.len(), 16 + 256 * OF_CORE.len());
        assert_eq!(
            samples.get("cpu.core.nice.total[255]"),
            Some(Value::Unsigned(12_550))
        );
    }

    #[test]
    fn modes_that_a_kernel_lacks_are_left_out() {
        let samples = sample(captured("synthetic-2.6.32-no-memavailable"), true);
        assert_eq!(
            samples.get("cpu.guest.total"),
            Some(Value::Unsigned(0)),
            "since 2.6.24"
        );
        assert_eq!(samples.get("cpu.guest.nice.total"), None, "since 2.6.33");
    }

    /// The file of a machine with many interrupts: its last lines are found behind them,
    /// and one that never ends is refused.
    #[test]
    fn a_large_file_is_read_whole_and_an_endless_one_not() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("proc")).unwrap();
        let write = |interrupts: usize| {
            let text = format!(
                "cpu 1 2 3 4\nintr 77{}\nctxt 5\nprocesses 6\n",
                " 0".repeat(interrupts)
            );
            std::fs::write(directory.path().join("proc/stat"), text).unwrap();
        };
        write(500_000);
        let samples = sample(Root(directory.path().to_owned()), false);
        for (name, value) in [
            ("cpu.interrupts.total", 77),
            ("cpu.switches.total", 5),
            ("proc.forks.total", 6),
        ] {
            assert_eq!(samples.get(name), Some(Value::Unsigned(value)), "{name}");
        }
        assert_eq!(samples.get("proc.running"), None);

        write(FILE_LIMIT);
        let mut source = CpuSource::open(&Context::new(Root(directory.path().to_owned())));
        let mut samples = Samples::new();
        let mut sink = Sink::new(Purpose::Query, Grid::All, &mut samples);
        let error = source.collect(&mut Vec::new(), &mut sink);
        assert!(error.unwrap_err().to_string().contains("is larger than"));
        let mut sink = Sink::new(Purpose::Model, Grid::Model, &mut samples);
        source.collect(&mut Vec::new(), &mut sink).unwrap();
        assert_eq!(samples.get("cpu.percent"), Some(Value::Float(0.0)));
    }

    /// Two readings of this machine: no counter but that of idle time goes back, and time
    /// passes.
    #[test]
    fn the_machine_that_this_runs_on() {
        let before = sample(Root::default(), true);
        let after = sample(Root::default(), true);
        assert!(before.get("cpu.core.user.total[0]").is_some());
        let running = before.get("proc.running");
        assert!(
            matches!(running, Some(Value::Unsigned(1..))),
            "{running:?}: we do"
        );
        for name in [
            "cpu.user.total",
            "cpu.system.total",
            "cpu.switches.total",
            "cpu.interrupts.total",
            "proc.forks.total",
        ] {
            let number = |samples: &Samples| match samples.get(name) {
                Some(Value::Unsigned(number)) => number,
                other => panic!("{name}: {other:?}"),
            };
            assert!(0 < number(&before) && number(&before) <= number(&after));
        }
    }
}
