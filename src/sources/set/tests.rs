use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use procfs_core::{CpuTime, ExplicitSystemInfo, FromBufRead, FromBufReadSI, FromRead, KernelStats};

use super::*;
use crate::metrics::Value;
use crate::metrics::table::{AGENT_VERSION, METRICS};
use crate::sources::{
    CollectError, Context, Malformed, Odd, Root,
    cpu::stat::{self, Cores},
    meminfo, names, testing, uptime,
};

/// Those of the first protocol, whose files every captured machine has.
const FIRST: [&str; 3] = ["uptime", "meminfo", "cpu"];

const INTERVAL: Duration = Duration::from_secs(5);

fn open(root: Root, names: &[&str]) -> SourceSet {
    SourceSet::open(Context::new(root), INTERVAL, names).unwrap()
}

/// The captured and synthetic machines, or the broken ones.
fn kernels(broken: bool) -> Vec<String> {
    let mut found = testing::machines();
    found.retain(|name| name.starts_with("broken-") == broken);
    assert!(found.len() >= 4, "{found:?}");
    found
}

const BOOT_ID: &str = "sys/kernel/random/boot_id";

/// A root with files that a test may change.
struct Host(tempfile::TempDir);

impl Host {
    fn like(kernel: &str) -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(host.path(BOOT_ID).parent().unwrap()).unwrap();
        for file in ["uptime", "meminfo", "stat", BOOT_ID] {
            let text = fs::read(testing::captured(kernel).path("/proc").join(file)).unwrap();
            host.write(file, text);
        }
        host
    }

    fn root(&self) -> Root {
        Root(self.0.path().to_owned())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("proc").join(file)
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(file), text).unwrap();
    }

    fn write_cpu(&self, busy: u64, idle: u64) {
        self.write("stat", format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n"));
    }

    fn set(&self) -> SourceSet {
        open(self.root(), &FIRST)
    }
}

/// A set that reads files that stay as they are.
fn captured(kernel: &str) -> SourceSet {
    open(testing::captured(kernel), &FIRST)
}

const CAPTURED: &str = "6.18-firecracker";

fn json(set: &mut SourceSet, purpose: Purpose, grid: Grid) -> String {
    let mut samples = Samples::new();
    assert_eq!(set.sample(purpose, grid, &mut samples), []);
    serde_json::to_string(&samples).unwrap()
}

fn present(samples: &Samples) -> Vec<&'static str> {
    samples
        .iter()
        .map(|(name, _)| name.definition.name)
        .collect()
}

/// Every metric of the sources of [`FIRST`] that is not optional.
fn first_metrics() -> impl Iterator<Item = &'static crate::metrics::Definition> {
    METRICS
        .iter()
        .copied()
        .filter(|m| FIRST.contains(&m.source) && m.instance.is_none())
}

fn float(samples: &Samples, name: &str) -> f64 {
    match samples.get(name) {
        Some(Value::Float(value)) => value,
        other => panic!("{name}: {other:?}"),
    }
}

/// What the wire carries for a captured machine, to the byte.
#[test]
fn the_grids_of_a_captured_machine() {
    let host = Host::like(CAPTURED);
    host.write("uptime", "683.66 1138.95\n");
    host.write(
        "meminfo",
        "MemTotal:       24684084 kB\nMemFree:        24393956 kB\nMemAvailable:   24335824 kB\n\
         Buffers:            2592 kB\nCached:            48060 kB\nSwapCached:            0 kB\n\
         SwapTotal:             0 kB\nSwapFree:              0 kB\nDirty:               160 kB\n\
         Writeback:             0 kB\n",
    );
    host.write_cpu(0, 0);
    let mut set = host.set();
    host.write(
        "stat",
        "cpu  25 0 0 75 0 0 0 0 0 0\nintr 8 1 0\nctxt 7\nprocesses 9\nprocs_running 1\nprocs_blocked 2\n",
    );
    assert_eq!(
        json(&mut set, Purpose::Metrics, Grid::Metrics),
        r#"{"sys.uptime":683.66,"mem.free":24393956,"mem.avail":24335824,"mem.buffers":2592,"mem.cached":48060,"mem.swap.free":0,"mem.dirty":160,"mem.writeback":0,"cpu.percent":25.0,"cpu.user.total":250,"cpu.nice.total":0,"cpu.system.total":0,"cpu.idle.total":750,"cpu.iowait.total":0,"cpu.irq.total":0,"cpu.softirq.total":0,"cpu.steal.total":0,"cpu.guest.total":0,"cpu.guest.nice.total":0,"cpu.switches.total":7,"cpu.interrupts.total":8,"proc.forks.total":9,"proc.running":1,"proc.blocked":2}"#
    );
    assert_eq!(
        json(&mut set, Purpose::Model, Grid::Model),
        r#"{"sys.uptime":683.66,"sys.boot.id":"99a2c905c3364da89a3210ca358fa270","mem.total":24684084,"mem.free":24393956,"mem.avail":24335824,"mem.buffers":2592,"mem.cached":48060,"mem.swap.total":0,"cpu.percent":25.0}"#
    );
}

#[test]
fn every_metric_of_the_table_and_no_other_comes_out_in_its_order() {
    let mut set = captured(CAPTURED);
    let mut samples = Samples::new();
    for (grid, admits) in [
        (Grid::All, (|_| true) as fn(&&'static _) -> bool),
        (Grid::Metrics, |m: &&'static crate::metrics::Definition| {
            m.in_metrics
        }),
        (Grid::Model, |m| m.in_model),
    ] {
        assert_eq!(set.sample(Purpose::Query, grid, &mut samples), []);
        let expected: Vec<_> = first_metrics().filter(admits).map(|m| m.name).collect();
        assert_eq!(present(&samples), expected);
    }
}

#[test]
fn what_a_kernel_lacks_is_left_out_and_not_zero() {
    let mut samples = Samples::new();
    let mut old = captured("synthetic-2.6.32-no-memavailable");
    assert_eq!(old.sample(Purpose::Query, Grid::All, &mut samples), []);
    let lacking = ["sys.boot.id", "mem.avail", "cpu.guest.nice.total"];
    let expected: Vec<_> = first_metrics()
        .map(|metric| metric.name)
        .filter(|name| !lacking.contains(name))
        .collect();
    assert_eq!(present(&samples), expected);

    let mut few = captured("synthetic-few-fields");
    assert_eq!(few.sample(Purpose::Query, Grid::All, &mut samples), []);
    assert_eq!(
        present(&samples),
        [
            "sys.uptime",
            "mem.total",
            "mem.free",
            "mem.avail",
            "mem.buffers",
            "mem.cached",
            "cpu.percent",
            "cpu.user.total",
            "cpu.nice.total",
            "cpu.system.total",
            "cpu.idle.total",
            "cpu.iowait.total",
            "cpu.irq.total",
            "cpu.softirq.total",
            "cpu.steal.total",
            "cpu.guest.total",
            "cpu.guest.nice.total",
            "cpu.switches.total",
            "cpu.interrupts.total",
            "proc.forks.total",
            "proc.running",
            "proc.blocked",
        ]
    );
}

#[test]
fn swap_space_of_a_captured_machine() {
    let mut samples = Samples::new();
    let mut set = captured("6.12-qemu-32-cpus");
    assert_eq!(set.sample(Purpose::Query, Grid::All, &mut samples), []);
    for name in ["mem.swap.total", "mem.swap.free"] {
        assert_eq!(samples.get(name), Some(Value::Unsigned(131_068)));
    }
    assert_eq!(
        samples.len(),
        first_metrics().count() - 1,
        "its boot id was not captured"
    );
}

/// The modes that the crate found, in the order of the file.
fn modes(time: &CpuTime) -> Vec<u64> {
    let first = [time.user, time.nice, time.system, time.idle].map(Some);
    let later = [
        time.iowait,
        time.irq,
        time.softirq,
        time.steal,
        time.guest,
        time.guest_nice,
    ];
    first.into_iter().chain(later).flatten().collect()
}

/// Our parsers and the crate's say the same of every whole file.
#[test]
fn parsers_agree_with_procfs_on_every_kernel() {
    let system = ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: 100,
        page_size: 4096,
        is_little_endian: true,
    };
    for kernel in kernels(false) {
        let root = testing::captured(&kernel).path("/proc");
        let read = |file: &str| fs::read(root.join(file)).unwrap();

        let theirs = procfs_core::Uptime::from_read(&read("uptime")[..]).unwrap();
        assert_eq!(uptime::parse(&read("uptime")), Ok(theirs.uptime));

        let theirs = KernelStats::from_buf_read(&read("stat")[..], &system).unwrap();
        let mut cores = Cores::default();
        let mut odd = Odd::default();
        let ours = stat::parse(&read("stat"), Some(&mut cores), &mut odd).unwrap();
        assert_eq!(
            stat::parse_first_line(&read("stat"), &mut odd),
            Ok(ours.all)
        );
        let known = |times: &stat::Times| times.known().map(Option::unwrap).collect::<Vec<_>>();
        assert_eq!(known(&ours.all), modes(&theirs.total), "{kernel:?}");
        let cores: Vec<_> = cores.list.iter().map(|core| known(&core.times)).collect();
        let theirs_cores: Vec<_> = theirs.cpu_time.iter().map(modes).collect();
        assert_eq!(cores, theirs_cores, "{kernel:?}");
        assert_eq!(
            (ours.switches, ours.forks, ours.running, ours.blocked),
            (
                Some(theirs.ctxt),
                Some(theirs.processes),
                theirs.procs_running.map(u64::from),
                theirs.procs_blocked.map(u64::from),
            ),
            "{kernel:?}"
        );

        let ours = meminfo::parse(&read("meminfo"), &mut odd).unwrap();
        assert!(odd.is_empty(), "{kernel:?}: {odd:?}");
        match procfs_core::Meminfo::from_buf_read(&read("meminfo")[..]) {
            Ok(theirs) => {
                let theirs = meminfo::Meminfo {
                    total: Some(theirs.mem_total / 1024),
                    free: Some(theirs.mem_free / 1024),
                    available: theirs.mem_available.map(|bytes| bytes / 1024),
                    buffers: Some(theirs.buffers / 1024),
                    cached: Some(theirs.cached / 1024),
                    swap_total: Some(theirs.swap_total / 1024),
                    swap_free: Some(theirs.swap_free / 1024),
                    dirty: Some(theirs.dirty / 1024),
                    writeback: Some(theirs.writeback / 1024),
                };
                assert_eq!(ours, theirs, "{kernel:?}");
            }
            // The crate wants SwapTotal and more; what is there is worth reporting.
            Err(_) => assert_eq!(kernel, "synthetic-few-fields"),
        }
    }
}

#[test]
fn every_broken_file_is_said_to_be_and_where() {
    for kernel in kernels(true) {
        let mut set = open(testing::captured(&kernel), &FIRST);
        let mut samples = Samples::new();
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        for source in FIRST {
            let said = news.iter().any(|transition| match transition {
                Transition::Failed { name, error } | Transition::LeftOut { name, error } => {
                    assert!(error.contains(", line "), "{kernel:?}: {error}");
                    assert!(error.contains("expected "), "{kernel:?}: {error}");
                    *name == source
                }
                other => panic!("{kernel:?}: {other:?}"),
            });
            if source == "uptime" && samples.get("sys.uptime").is_some() {
                // What is broken is the other number, which is not used.
                continue;
            }
            assert!(said, "{kernel:?}: {source}");
            assert!(
                set.status(source).unwrap().errors > 0,
                "{kernel:?}: {source}"
            );
        }
    }
}

#[test]
fn a_value_that_is_left_out_is_counted_and_named_once() {
    let host = Host::like(CAPTURED);
    let mut set = host.set();
    let whole = fs::read_to_string(host.path("stat")).unwrap();
    let odd = |blocked: &str| whole.replace("procs_blocked 0", &format!("procs_blocked {blocked}"));
    let sample = |set: &mut SourceSet| {
        let mut samples = Samples::new();
        let number = |samples: &Samples, name: &str| match samples.get(name) {
            Some(Value::Unsigned(value)) => Some(value),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        (
            news,
            number(&samples, "proc.blocked"),
            number(&samples, "proc.running"),
        )
    };
    let (news, blocked, running) = sample(&mut set);
    assert_eq!((news, blocked), (vec![], Some(0)));
    for (round, number) in ["18446744073709551615", "4294967295", "-1"]
        .iter()
        .enumerate()
    {
        host.write("stat", odd(number));
        let (news, blocked, still_running) = sample(&mut set);
        assert_eq!((blocked, still_running), (None, running));
        let status = set.status("cpu").unwrap();
        let round = round as u64;
        assert_eq!((status.errors, status.samples), (round + 1, round + 2));
        assert!(status.last_error.unwrap().contains(number));
        if round > 0 {
            assert_eq!(news, [], "other bytes, the same value");
            continue;
        }
        let [Transition::LeftOut { name: "cpu", error }] = &news[..] else {
            panic!("{news:?}");
        };
        let expected = "found \"procs_blocked 18446744073709551615\"";
        assert!(
            error.contains("/proc/stat, line ") && error.ends_with(expected),
            "{error}"
        );
    }
    // It comes and goes: still no news. Another value is.
    host.write("stat", &whole);
    assert_eq!(sample(&mut set).0, []);
    host.write("stat", odd("-1"));
    assert_eq!(sample(&mut set).0, []);
    host.write(
        "stat",
        odd("-1").replace("procs_running ", "procs_running x"),
    );
    let news = sample(&mut set).0;
    assert!(
        matches!(&news[..], [Transition::LeftOut { name: "cpu", error }] if error.contains("procs_running"))
    );
}

#[test]
fn no_more_than_so_many_values_are_named() {
    let host = Host::like(CAPTURED);
    fs::create_dir_all(host.0.path().join("sys/block")).unwrap();
    let mut set = open(host.root(), &["disk"]);
    let mut samples = Samples::new();
    let mut lines = String::new();
    let mut told = 0;
    for number in 0..60 {
        fs::create_dir_all(host.0.path().join(format!("sys/block/d{number}"))).unwrap();
        writeln!(lines, "8 {number} d{number} x 2 3 4 5 6 7 8 9 10 11").unwrap();
        host.write("diskstats", &lines);
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        assert!(news.len() <= 1);
        assert_eq!(samples.len(), 10 * (number + 1));
        told += news.len();
    }
    assert_eq!(told, 17, "sixteen, and that there are more");
    assert_eq!(set.status("disk").unwrap().errors, (1..=60).sum::<u64>());
}

/// What Prometheus would find out about a machine whose kernel takes time back.
#[test]
fn time_that_goes_back_is_no_time_that_passes() {
    let host = Host::like(CAPTURED);
    let odd = testing::fixture("odd/stat-iowait-backwards");
    host.write("stat", fs::read(odd.path("/proc/stat")).unwrap());
    let mut set = host.set();
    let mut samples = Samples::new();
    let mut sample = |file: Option<&str>| {
        if let Some(file) = file {
            host.write("stat", fs::read(odd.path(file)).unwrap());
        }
        // A missing share is reported.
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        let of = |name: &str| match samples.get(name) {
            Some(Value::Unsigned(value)) => value / 10,
            other => panic!("{name}: {other:?}"),
        };
        let percent = samples.get("cpu.percent").is_some();
        assert_eq!(news.len(), usize::from(!percent), "{news:?}");
        (
            of("cpu.idle.total"),
            of("cpu.iowait.total"),
            of("cpu.user.total"),
            percent,
        )
    };
    assert_eq!(sample(None), (12_001_500, 1_747_062, 849_282, true));
    // A tick less of iowait holds the last value.
    // So much idle time has not passed since, whatever the number of CPUs.
    assert_eq!(
        sample(Some("second")),
        (14_889_468, 1_747_062, 849_282, false)
    );
    assert_eq!(
        sample(Some("third")),
        (14_890_968, 1_747_062, 849_282, true)
    );
    // With hours less of idle time the counters start over, and there is no share for them.
    assert_eq!(
        sample(Some("fourth")),
        (12_000_000, 1_747_062, 849_282, false)
    );
    assert_eq!(
        sample(Some("fifth")),
        (12_001_500, 1_747_062, 849_282, true)
    );
}

#[test]
fn each_cpu_has_a_beginning_of_its_own() {
    let host = Host::like(CAPTURED);
    let mut options = Options::default();
    options.cpu.per_cpu = true;
    let mut context = Context::new(host.root());
    context.options = options.into();
    let write = |cpus: &[(u64, u64)]| {
        let mut text = "cpu  1 0 0 100000 0 0 0 0 0 0\n".to_owned();
        for (number, idle) in cpus {
            writeln!(text, "cpu{number} 5 0 0 {idle} 0 0 0 0 0 0").unwrap();
        }
        host.write("stat", text + "ctxt 1\n");
    };
    write(&[(0, 1000), (1, 1000), (2, 1000)]);
    let mut set = SourceSet::open(context, INTERVAL, &["cpu"]).unwrap();
    let mut samples = Samples::new();
    let mut idle = |cpus: &[(u64, u64)]| {
        write(cpus);
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        let idle = [0, 1, 2].map(
            |cpu| match samples.get(&format!("cpu.core.idle.total[{cpu}]")) {
                Some(Value::Unsigned(value)) => Some(value / 10),
                _ => None,
            },
        );
        (idle, news.len())
    };
    let all = [(0, 1000), (1, 1000), (2, 1000)];
    assert_eq!(idle(&all), ([Some(1000); 3], 0));
    let stepped = [(0, 999), (1, 700), (2, 701)];
    // That of the second is reported.
    assert_eq!(idle(&stepped), ([Some(1000), Some(700), Some(1000)], 1));
    let without = idle(&[(0, 1001), (2, 999)]);
    assert_eq!(without, ([Some(1001), None, Some(1000)], 0));
    // One that returns has no last value to hold.
    assert_eq!(
        idle(&[(0, 1001), (1, 600), (2, 1002)]),
        ([Some(1001), Some(600), Some(1002)], 0)
    );
}

#[test]
fn one_negative_number_costs_itself_alone() {
    let host = Host::like(CAPTURED);
    let read = |name, file| fs::read(testing::fixture(name).path(file)).unwrap();
    host.write("stat", read("odd/stat-processes-negative", "/proc/stat"));
    host.write(
        "meminfo",
        read("odd/meminfo-swapfree-huge", "/proc/meminfo"),
    );
    let mut set = host.set();
    let mut samples = Samples::new();
    let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
    let mut expected: Vec<_> = first_metrics().map(|metric| metric.name).collect();
    expected.retain(|name| !["proc.forks.total", "mem.swap.free"].contains(name));
    let mut found = present(&samples);
    found.retain(|name| expected.contains(name));
    expected.retain(|name| found.contains(name));
    assert_eq!(found, expected);
    for name in ["proc.forks.total", "mem.swap.free"] {
        assert_eq!(samples.get(name), None, "{name}");
    }
    for name in [
        "cpu.user.total",
        "cpu.switches.total",
        "mem.total",
        "mem.swap.total",
    ] {
        assert!(samples.get(name).is_some(), "{name}");
    }
    let [
        Transition::LeftOut {
            name: "meminfo",
            error: swap,
        },
        Transition::LeftOut {
            name: "cpu",
            error: forks,
        },
    ] = &news[..]
    else {
        panic!("{news:?}");
    };
    assert!(
        swap.contains("SwapFree:") && swap.contains("/proc/meminfo, line "),
        "{swap}"
    );
    assert!(
        forks.ends_with("found \"processes -2049562273\""),
        "{forks}"
    );
}

#[test]
fn one_sources_failure_costs_its_own_values_alone() {
    for (file, source, line) in [
        ("uptime", "uptime", "x y\n"),
        ("meminfo", "meminfo", "MemTotal: x kB\n"),
        ("stat", "cpu", "cpu x\n"),
    ] {
        let host = Host::like(CAPTURED);
        let mut set = host.set();
        host.write(file, line);
        let mut samples = Samples::new();
        let news = set.sample(Purpose::Metrics, Grid::All, &mut samples);
        assert!(matches!(&news[..], [Transition::Failed { name, .. }] if *name == source));
        let expected: Vec<_> = first_metrics()
            // The id of the boot has a file of its own.
            .filter(|metric| metric.source != source || metric.name == "sys.boot.id")
            .map(|metric| metric.name)
            .collect();
        assert_eq!(present(&samples), expected);
        for status in set.statuses().filter(|status| status.enabled) {
            let failed = status.name == source;
            assert_eq!(
                (status.samples, status.errors),
                (u64::from(!failed), u64::from(failed))
            );
        }
    }
}

#[test]
fn a_failure_is_told_once_until_its_cause_changes() {
    let host = Host::like(CAPTURED);
    let mut set = host.set();
    let mut samples = Samples::new();
    let mut sample = |set: &mut SourceSet| set.sample(Purpose::Metrics, Grid::All, &mut samples);
    assert_eq!(sample(&mut set), []);

    host.write("uptime", "one two\n");
    let malformed = CollectError::Malformed {
        path: host.path("uptime"),
        problem: Malformed::new(
            1,
            "a number of seconds, up to 9223372036 (292 years), and a blank or the end of the line",
            b"one two",
        ),
    };
    assert_eq!(
        sample(&mut set),
        [Transition::Failed {
            name: "uptime",
            error: malformed.to_string()
        }]
    );
    host.write("uptime", "three four\n");
    assert_eq!(sample(&mut set), [], "other bytes, the same cause");

    fs::remove_file(host.path("uptime")).unwrap();
    set.set_enabled("uptime", false).unwrap();
    set.set_enabled("uptime", true).unwrap();
    assert!(
        matches!(&sample(&mut set)[..], [Transition::Failed { name: "uptime", error }]
            if error.starts_with("cannot open ")),
        "another cause"
    );
    assert_eq!(sample(&mut set), []);

    host.write("uptime", "5.00 6.00\n");
    assert_eq!(sample(&mut set), [Transition::Recovered { name: "uptime" }]);
    assert_eq!(sample(&mut set), []);

    let status = set.status("uptime").unwrap();
    assert_eq!((status.samples, status.errors), (3, 4));
    assert!(status.last_error.unwrap().starts_with("cannot open "));
}

#[test]
fn what_came_and_went_untold_is_no_news() {
    let host = Host::like(CAPTURED);
    let mut set = host.set();
    let mut samples = Samples::new();
    let good = fs::read(host.path("stat")).unwrap();
    host.write("stat", "");
    assert!(matches!(
        set.sample_one("cpu", &mut samples),
        Err(SampleOneError::Failed { name: "cpu", .. })
    ));
    host.write("stat", good);
    set.sample_one("cpu", &mut samples).unwrap();
    assert_eq!(set.transitions(), []);
}

#[test]
fn a_single_source_gives_all_that_it_has() {
    let host = Host::like(CAPTURED);
    let mut set = open(host.root(), &["meminfo"]);
    let mut samples = Samples::new();
    samples.push_text(&AGENT_VERSION, None, "left over");
    set.sample_one("meminfo", &mut samples).unwrap();
    assert_eq!(samples.len(), 9);
    assert_eq!(samples.get("agent.version"), None);
    assert_eq!(
        set.sample_one("cpu", &mut samples),
        Err(SampleOneError::Disabled { name: "cpu" })
    );
    assert_eq!(
        set.sample_one("disc", &mut samples),
        Err(SampleOneError::Unknown(UnknownSource {
            name: "disc".into()
        }))
    );
}

#[test]
fn a_file_that_is_missing_at_first_is_tried_at_each_sample() {
    let host = Host::like(CAPTURED);
    let stat = fs::read(host.path("stat")).unwrap();
    fs::remove_file(host.path("stat")).unwrap();
    let mut set = host.set();
    let mut samples = Samples::new();
    let news = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
    assert!(matches!(
        &news[..],
        [Transition::Failed { name: "cpu", .. }]
    ));
    assert_eq!(samples.len(), 8);

    host.write("stat", stat);
    let news = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
    assert_eq!(news, [Transition::Recovered { name: "cpu" }]);
    assert_eq!(
        samples.get("cpu.percent"),
        None,
        "one reading is no interval, and missing is not zero"
    );
    assert_eq!(
        set.sample(Purpose::Metrics, Grid::Metrics, &mut samples),
        []
    );
    assert_eq!(samples.get("cpu.percent"), Some(Value::Float(0.0)));
}

#[test]
fn each_purpose_has_an_interval_of_its_own() {
    let host = Host::like(CAPTURED);
    host.write_cpu(100, 100);
    let mut set = host.set();
    let mut samples = Samples::new();
    let mut percent = |purpose| {
        assert_eq!(set.sample(purpose, Grid::All, &mut samples), []);
        float(&samples, "cpu.percent")
    };
    let close = |share: f64, expected: f64| assert!((share - expected).abs() < 1e-9, "{share}");

    host.write_cpu(150, 150);
    close(percent(Purpose::Metrics), 50.0);
    host.write_cpu(150, 250);
    close(percent(Purpose::Query), 25.0);
    close(percent(Purpose::Query), 0.0);
    close(percent(Purpose::Metrics), 0.0);
    host.write_cpu(250, 250);
    close(percent(Purpose::Metrics), 100.0);
    close(percent(Purpose::Model), 50.0);
}

#[test]
fn sources_are_enabled_and_disabled_by_name() {
    let host = Host::like(CAPTURED);
    let mut set = open(host.root(), &["cpu"]);
    let enabled = |set: &SourceSet| -> Vec<_> {
        set.statuses()
            .filter(|status| status.enabled)
            .map(|status| status.name)
            .collect()
    };
    assert_eq!(enabled(&set), ["cpu"]);
    assert_eq!(set.statuses().len(), names().len());
    assert_eq!(set.set_enabled("uptime", true), Ok(true));
    assert_eq!(set.set_enabled("uptime", true), Ok(false));
    assert_eq!(set.set_enabled("cpu", false), Ok(true));
    assert_eq!(enabled(&set), ["uptime"]);
    set.enable_only(&["cpu", "meminfo", "cpu"]).unwrap();
    assert_eq!(enabled(&set), ["meminfo", "cpu"]);

    let unknown = UnknownSource {
        name: "disc".into(),
    };
    assert_eq!(set.set_enabled("disc", true), Err(unknown.clone()));
    assert_eq!(set.enable_only(&["uptime", "disc"]), Err(unknown.clone()));
    assert_eq!(enabled(&set), ["meminfo", "cpu"], "all or nothing");
    assert_eq!(
        SourceSet::open(Context::new(host.root()), INTERVAL, &["disc"]).err(),
        Some(unknown)
    );
}

#[test]
fn enabling_again_begins_a_new_interval() {
    let host = Host::like(CAPTURED);
    host.write_cpu(0, 0);
    let mut set = host.set();
    set.set_enabled("cpu", false).unwrap();
    host.write_cpu(1000, 0);
    set.set_enabled("cpu", true).unwrap();
    host.write_cpu(1000, 100);
    let mut samples = Samples::new();
    assert_eq!(set.sample(Purpose::Metrics, Grid::All, &mut samples), []);
    assert_eq!(samples.get("cpu.percent"), Some(Value::Float(0.0)));
}

/// How many open handles of this process point below a directory.
fn handles_below(directory: &Path) -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(directory))
        .count()
}

#[test]
fn files_are_opened_once_and_closed_when_disabled() {
    let host = Host::like(CAPTURED);
    let directory = host.0.path().canonicalize().unwrap();
    let mut set = host.set();
    let mut samples = Samples::new();
    for round in 0..1000 {
        assert_eq!(set.sample(Purpose::Metrics, Grid::All, &mut samples), []);
        if round % 100 == 0 {
            assert_eq!(handles_below(&directory), 4);
        }
    }
    set.enable_only(&["cpu"]).unwrap();
    assert_eq!(handles_below(&directory), 1);
    drop(set);
    assert_eq!(handles_below(&directory), 0);
}

#[test]
fn the_machine_that_this_runs_on() {
    let mut set = open(Root::default(), &FIRST);
    let mut samples = Samples::new();
    assert_eq!(set.sample(Purpose::Metrics, Grid::All, &mut samples), []);
    assert!((0.0..=100.0).contains(&float(&samples, "cpu.percent")));
    let seconds = float(&samples, "sys.uptime");
    let Some(Value::Unsigned(total)) = samples.get("mem.total") else {
        panic!("{samples:?}");
    };
    assert!(
        total > 16 * 1024,
        "{total} kB is no machine of this century"
    );
    set.sample_one("uptime", &mut samples).unwrap();
    assert!(float(&samples, "sys.uptime") >= seconds);
    assert!(
        set.statuses()
            .filter(|status| status.enabled)
            .all(|status| status.last_duration > Duration::ZERO)
    );
}

/// Which of the three are part of the next samples.
fn parts(set: &mut SourceSet, samples: usize) -> Vec<Vec<&'static str>> {
    let mut out = Samples::new();
    (0..samples)
        .map(|_| {
            assert_eq!(set.sample(Purpose::Metrics, Grid::Metrics, &mut out), []);
            let has = |name: &str| out.get(name).is_some();
            FIRST
                .into_iter()
                .zip(["sys.uptime", "mem.free", "cpu.percent"])
                .filter_map(|(source, metric)| has(metric).then_some(source))
                .collect()
        })
        .collect()
}

#[test]
fn a_source_of_its_own_interval_is_part_of_every_so_manieth_sample() {
    let mut set = captured(CAPTURED);
    let mut options = Options::default();
    let mut every = |name: &str, seconds| {
        options
            .intervals
            .insert(name.to_owned(), Duration::from_secs(seconds));
    };
    every("meminfo", 11);
    every("cpu", 1);
    set.set_options(options);
    let (all, without) = (FIRST.to_vec(), vec!["uptime", "cpu"]);
    assert_eq!(
        parts(&mut set, 5),
        [&all, &without, &without, &all, &without].map(Clone::clone)
    );
    assert_eq!(
        set.status("meminfo").unwrap().interval,
        Duration::from_secs(15)
    );
    assert_eq!(set.status("cpu").unwrap().interval, INTERVAL);

    set.begin_anew();
    assert_eq!(parts(&mut set, 2), [&all, &without].map(Clone::clone));
    // 11 s are two intervals of 10 s: it was due at the latest after one more sample.
    set.set_interval(Duration::from_secs(10));
    assert_eq!(
        parts(&mut set, 3),
        [&without, &all, &without].map(Clone::clone)
    );
    // Who asks gets everything, and disturbs nothing.
    let mut samples = Samples::new();
    assert_eq!(set.sample(Purpose::Query, Grid::All, &mut samples), []);
    assert!(samples.get("mem.free").is_some());
    assert_eq!(parts(&mut set, 1), [all]);
}

#[test]
fn the_agent_tells_how_its_sources_fare() {
    let host = Host::like(CAPTURED);
    let mut context = Context::new(host.root());
    context.counts = std::sync::Arc::new(|| crate::sources::Counts {
        messages_sent: 1,
        messages_received: 2,
        bytes_sent: 3,
        messages_dropped: 4,
        reconnects: 5,
        log_lost: 6,
    });
    let mut set = SourceSet::open(context, INTERVAL, &["uptime", "cpu", "agent"]).unwrap();
    host.write("stat", "cpu x\n");
    let mut samples = Samples::new();
    let _ = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
    for (name, value) in [
        ("agent.messages.sent.total", 1),
        ("agent.messages.received.total", 2),
        ("agent.bytes.sent.total", 3),
        ("agent.messages.dropped.total", 4),
        ("agent.reconnects.total", 5),
        ("agent.log.lost.total", 6),
        ("agent.source.errors.total[cpu]", 1),
        ("agent.source.failed.total[cpu]", 1),
        ("agent.source.errors.total[uptime]", 0),
        ("agent.source.failed.total[uptime]", 0),
        ("agent.source.cut.total[agent]", 0),
    ] {
        assert_eq!(samples.get(name), Some(Value::Unsigned(value)), "{name}");
    }
    assert_eq!(samples.get("agent.source.errors.total[meminfo]"), None);
    // Once a minute is enough by default.
    let _ = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
    assert_eq!(samples.get("agent.cpu.total"), None);
    assert_eq!(samples.get("agent.source.errors.total[cpu]"), None);
    let _ = set.sample(Purpose::Query, Grid::All, &mut samples);
    let Some(Value::Unsigned(memory)) = samples.get("agent.memory") else {
        panic!("{samples:?}");
    };
    assert!(memory > 500, "{memory} kB");
    assert_eq!(
        set.sample(Purpose::Model, Grid::Model, &mut samples).len(),
        0
    );
    assert_eq!(
        samples.get("agent.version"),
        Some(Value::Text(env!("CARGO_PKG_VERSION")))
    );
}
