//! The agent and a collector that works: the session of the protocol, step by step.

use std::fs;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, Grid};
use crate::support::manager::Manager;

/// The window of the protocol's third session rule.
const MODEL_WINDOW: Duration = Duration::from_secs(5);

/// What the three sources of [`SETTINGS`] have, sorted by name.
const MODEL: [&str; 9] = [
    "cpu.percent",
    "mem.avail",
    "mem.buffers",
    "mem.cached",
    "mem.free",
    "mem.swap.total",
    "mem.total",
    "sys.boot.id",
    "sys.uptime",
];
const METRICS: [&str; 24] = [
    "cpu.guest.nice.total",
    "cpu.guest.total",
    "cpu.idle.total",
    "cpu.interrupts.total",
    "cpu.iowait.total",
    "cpu.irq.total",
    "cpu.nice.total",
    "cpu.percent",
    "cpu.softirq.total",
    "cpu.steal.total",
    "cpu.switches.total",
    "cpu.system.total",
    "cpu.user.total",
    "mem.avail",
    "mem.buffers",
    "mem.cached",
    "mem.dirty",
    "mem.free",
    "mem.swap.free",
    "mem.writeback",
    "proc.blocked",
    "proc.forks.total",
    "proc.running",
    "sys.uptime",
];

const SETTINGS: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '2s' }\n\
    metrics.sources = ['uptime', 'meminfo', 'cpu']\n";

/// For collectors that say nothing for a while.
const QUIET: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n";

fn kernel_uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap().trim_start_matches(':').trim();
    value.strip_suffix(" kB").unwrap().parse().unwrap()
}

/// Every value is a finite number in its range; memory is counted in integers.
fn check_values(grid: &Grid) {
    for (name, value) in &grid.values {
        if name == "sys.boot.id" {
            let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            assert_eq!(*value, id.trim_end().replace('-', ""));
            continue;
        }
        let number = value.as_f64().unwrap();
        assert!(number.is_finite() && number >= 0.0, "{name}: {value}");
        if name.starts_with("mem.") {
            assert!(value.is_u64(), "{name}: {value}");
        }
    }
    assert!(grid.number("cpu.percent") <= 100.0, "{grid:?}");
    assert!(grid.uptime() <= kernel_uptime(), "{grid:?}");
}

#[tokio::test]
async fn says_hello_then_the_model_when_asked_then_metrics() {
    let mut manager = Manager::new();
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let mut command = site.command();
    manager.adopt(&mut command);
    let mut agent = Agent::start(command);

    let id = collector.hello().await;
    collector.say(&id, "ping").await;
    manager.status("is alive but has not asked").await;
    // Time in which metrics would come, three intervals.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.peer.count().await, 1, "nothing but hello");

    let before = kernel_uptime();
    collector.say(&id, "model").await;
    let model = collector.grid_of("model").await;
    assert_eq!((&model.from, &*model.host), (&id, "web1.example.org"));
    assert_eq!(model.names(), MODEL);
    check_values(&model);
    assert!(model.uptime() >= before - 0.01, "{model:?}");
    assert_eq!(model.values["mem.total"], meminfo("MemTotal"));
    assert_eq!(model.values["mem.swap.total"], meminfo("SwapTotal"));

    let mut uptime = model.uptime();
    for round in 0..5 {
        // Neither answered nor a reason to hold metrics back.
        collector.say(&id, "ping").await;
        let metrics = collector.grid_of("metrics").await;
        assert_eq!((&metrics.from, &*metrics.host), (&id, "web1.example.org"));
        assert_eq!(metrics.names(), METRICS);
        check_values(&metrics);
        assert!(metrics.uptime() > uptime, "{round}: {metrics:?}");
        uptime = metrics.uptime();
    }
    manager.status("Reporting to 127.0.0.1").await;
    assert_eq!(agent.said("Reporting to main").len(), 1);
    agent.terminate().await;
}

/// At most one model in 5 s, while every message keeps the connection alive well beyond
/// the stale interval.
#[tokio::test]
async fn answers_one_model_request_in_five_seconds() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let mut agent = site.start();
    let id = collector.hello().await;
    let asked = Instant::now();
    collector.say(&id, "model").await;
    collector.grid_of("model").await;
    let mut metrics = 0;
    loop {
        collector.say(&id, "model").await;
        let grid = collector.grid().await;
        assert_eq!(grid.from, id, "it is still the same connection");
        if grid.kind == "model" {
            break;
        }
        metrics += 1;
    }
    let passed = asked.elapsed();
    assert!(passed >= MODEL_WINDOW, "a second model after {passed:?}");
    assert!(passed < 2 * MODEL_WINDOW, "no second model for {passed:?}");
    // 50 intervals have passed; half of them are enough on a busy machine.
    assert!(metrics >= 25, "{metrics} samples in {passed:?}");
    assert!(agent.said("Lost").is_empty());
}

/// A collector that was restarted asks at once again: no second model within the window,
/// but metrics, so that it knows that the host is there.
#[tokio::test]
async fn a_suppressed_model_still_starts_the_metrics() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{QUIET}{}", collector.section("main")));
    let mut agent = site.start();
    let asked = Instant::now();
    let first = collector.welcome().await;
    collector.grid_of("metrics").await;

    collector.crash();
    collector.restart().await;
    let second = collector.hello().await;
    assert_ne!(first, second);
    collector.say(&second, "model").await;
    for _ in 0..3 {
        let grid = collector.grid().await;
        assert_eq!(grid.from, second);
        assert!(
            grid.kind == "metrics" || asked.elapsed() >= MODEL_WINDOW,
            "{grid:?} after {:?}",
            asked.elapsed()
        );
    }
    agent.says_times("Reporting to main", 2).await;
}

/// Messages carry no time stamp: what was sampled during an outage is worthless.
#[tokio::test]
async fn nothing_old_arrives_after_an_outage() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{QUIET}{}", collector.section("main")));
    let mut agent = site.start();
    let first = collector.welcome().await;
    collector.grid_of("metrics").await;
    collector.crash();
    agent.says("Lost main").await;
    // Some intervals without a collector.
    sleep(Duration::from_millis(500)).await;

    let back = kernel_uptime();
    collector.restart().await;
    let second = collector.hello().await;
    assert_ne!(first, second);
    // Time for a burst to arrive.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(collector.peer.count().await, 1, "hello, and nothing queued");
    collector.say(&second, "model").await;
    let mut uptime = back;
    for _ in 0..5 {
        let grid = collector.grid().await;
        assert!(
            grid.uptime() > uptime - 0.01,
            "{grid:?} is older than {uptime}"
        );
        uptime = grid.uptime();
    }
    agent.says_times("Reporting to main", 2).await;
    assert_eq!(agent.said("Lost main").len(), 1);
}

#[tokio::test]
async fn several_collectors_get_the_same_samples_and_do_not_disturb_each_other() {
    let mut here = Collector::start().await;
    let mut there = Collector::start().await;
    let sections = here.section("here") + &there.section("there");
    // Neither says anything but what the test is about.
    let site = Site::new(&format!("{QUIET}{sections}"));
    let mut agent = site.start();
    let id = here.welcome().await;
    let other = there.welcome().await;
    assert_ne!(id, other);

    let theirs = there.grid_of("metrics").await;
    let ours = loop {
        let grid = here.grid_of("metrics").await;
        if grid.uptime() >= theirs.uptime() {
            break grid;
        }
    };
    assert_eq!(ours.values, theirs.values);
    assert_eq!(ours.host, theirs.host);

    there.crash();
    agent.says("Lost there").await;
    let gone = kernel_uptime();
    loop {
        let grid = here.grid_of("metrics").await;
        assert_eq!(grid.from, id);
        if grid.uptime() > gone + 0.3 {
            break;
        }
    }
    there.restart().await;
    assert_ne!(there.welcome_again().await, other);
    assert!(agent.said("Lost here").is_empty());
    assert_eq!(here.grid_of("metrics").await.from, id);
}
