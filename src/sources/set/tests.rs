mod odd;
mod turns;

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

#[test]
fn the_agent_tells_how_its_sources_fare() {
    let host = Host::like(CAPTURED);
    let mut context = Context::new(host.root());
    context.counts = std::sync::Arc::new(|| crate::sources::Counts {
        samples: 7,
        messages_sent: 1,
        messages_received: 2,
        bytes_sent: 3,
        messages_dropped: 4,
        reconnects: 5,
        log_lost: 6,
    });
    let keeping = context.keeping.clone();
    let mut set = SourceSet::open(context, INTERVAL, &["uptime", "cpu", "agent"]).unwrap();
    host.write("stat", "cpu x\n");
    *keeping.lock() = crate::sources::Keeping {
        memory: 8,
        disk: 9,
        collectors: vec![crate::sources::KeptFor {
            collector: "main".to_owned(),
            behind: 10,
            behind_usec: 11,
            lost: 12,
        }],
    };
    let mut samples = Samples::new();
    let _ = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
    for (name, value) in [
        ("agent.samples.total", 7),
        ("agent.history.memory", 8),
        ("agent.history.disk", 9),
        ("agent.history.behind[main]", 10),
        ("agent.history.behind.time[main]", 11),
        ("agent.history.lost.total[main]", 12),
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
    // Nor is anything said of collectors where none acknowledges samples.
    keeping.lock().collectors.clear();
    let _ = set.sample(Purpose::Query, Grid::All, &mut samples);
    assert_eq!(samples.get("agent.history.memory"), None);
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
