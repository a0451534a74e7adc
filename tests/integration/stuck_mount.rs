//! A file system that does not answer: what it costs the agent, and what it does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::support::agent::{Agent, GLANCE, Site};
use crate::support::deployed::{Collector, Grid};
use crate::support::peer::PATIENCE;
use crate::support::root_for;

/// What tests/peers/hang.py says of itself: 1000 blocks of 4096 bytes, 64 inodes.
const SIZE: f64 = 4_096_000.0;
const INODES: f64 = 64.0;

/// As many samples as a mount that is stuck would cost a thread each.
const SAMPLES: usize = 20;

/// Three file systems: `fuse`, `below` it another, and `other`.
struct Host {
    site: Site,
    settings: String,
}

impl Host {
    fn new(collector: &Collector) -> Self {
        let site = Site::new("");
        for name in ["fuse", "other"] {
            fs::create_dir(site.at(name)).unwrap();
        }
        let settings = format!(
            "intervals = {{ metrics = '100ms', stale = '1min' }}\n\
             [metrics]\nsources = ['uptime', 'filesystem']\n\
             [metrics.filesystem]\ninterval = '100ms'\ninclude = ['{}/*']\n{}",
            site.dir().display(),
            collector.section("main")
        );
        site.configure(&settings);
        Self { site, settings }
    }

    /// The agent among them; what it sees is what the service manager there does.
    fn command(&self) -> Command {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        self.site.on_another_host(&format!(
            "mount --bind /proc/$$/mountinfo /proc/1/mountinfo; cd {}; mount -t tmpfs other other; \
             /usr/bin/python3 -B {}/hang.py $PWD/fuse pid & \
             cd {0}; until test -e pid; do sleep 0.05; done; mount -t tmpfs below fuse/below",
            self.site.dir().display(),
            peers.display(),
        ))
    }

    fn tell(&self, signal: Signal) {
        let pid = fs::read_to_string(self.site.at("pid")).unwrap();
        kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), signal).unwrap();
    }

    fn name(&self, metric: &str, mount: &str) -> String {
        format!("{metric}[{}]", self.site.at(mount).display())
    }

    fn value(&self, grid: &Grid, metric: &str, mount: &str) -> Option<f64> {
        grid.values.get(&self.name(metric, mount))?.as_f64()
    }

    /// Whether `fuse` and what is below it are stuck, and `other` is not.
    fn is_stuck(&self, grid: &Grid) -> bool {
        let stuck = |mount| self.value(grid, "fs.stuck", mount);
        let sized = |mount| self.value(grid, "fs.size", mount).is_some();
        (stuck("fuse"), stuck("fuse/below"), stuck("other")) == (Some(1.0), Some(1.0), Some(0.0))
            && !sized("fuse")
            && !sized("fuse/below")
            && sized("other")
    }

    fn is_well(&self, grid: &Grid) -> bool {
        ["fuse", "fuse/below", "other"].iter().all(|mount| {
            self.value(grid, "fs.stuck", mount) == Some(0.0)
                && self.value(grid, "fs.size", mount).is_some()
        })
    }
}

fn can_mount() -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    let fuse = known.lines().any(|line| line == "nodev\tfuse") && Path::new("/dev/fuse").exists();
    if !fuse {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: this kernel has no FUSE");
        }
    }
    fuse && root_for("mounting")
}

/// Waits for such metrics.
async fn until(collector: &mut Collector, what: &str, holds: impl Fn(&Grid) -> bool) -> Grid {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let grid = collector.grid_of("metrics").await;
        if holds(&grid) {
            return grid;
        }
        assert!(Instant::now() < deadline, "not {what}: {grid:#?}");
    }
}

/// How many threads ask file systems, or hang in that.
fn probers(agent: &Agent) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| {
        fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    let names = tasks.filter_map(name);
    names.filter(|name| name == "prober\n").count()
}

async fn until_probers(agent: &Agent, number: usize) {
    let deadline = Instant::now() + PATIENCE;
    while probers(agent) != number {
        assert!(Instant::now() < deadline, "{} threads", probers(agent));
        sleep(GLANCE).await;
    }
}

#[tokio::test]
async fn a_file_system_that_hangs_costs_its_own_values_and_one_thread() {
    if !can_mount() {
        return;
    }
    let mut collector = Collector::start().await;
    let host = Host::new(&collector);
    let mut agent = Agent::start(host.command());
    collector.welcome().await;
    let grid = until(&mut collector, "well", |grid| host.is_well(grid)).await;
    assert_eq!(host.value(&grid, "fs.size", "fuse"), Some(SIZE));
    assert_eq!(host.value(&grid, "fs.inodes", "fuse"), Some(INODES));
    assert_eq!(host.value(&grid, "fs.readonly", "fuse"), Some(0.0));
    assert_eq!(probers(&agent), 1);

    host.tell(Signal::USR1);
    until(&mut collector, "stuck", |grid| host.is_stuck(grid)).await;
    for _ in 0..SAMPLES {
        let grid = collector.grid_of("metrics").await;
        assert!(host.is_stuck(&grid), "{grid:#?}");
    }
    // One goes on. One hangs, or two: the way to what is below may have been asked in the
    // moment between.
    let threads = probers(&agent);
    assert!((2..=3).contains(&threads), "{threads}");

    // Other settings do not make it forget whom it has asked.
    host.site.configure(
        &host
            .settings
            .replace("include", "exclude = ['/nothing']\ninclude"),
    );
    agent.signal(Signal::HUP);
    agent.says("Configuration reloaded").await;
    until(&mut collector, "stuck", |grid| host.is_stuck(grid)).await;
    for _ in 0..SAMPLES {
        collector.grid_of("metrics").await;
    }
    assert_eq!(probers(&agent), threads);
    let path = host.site.at("fuse").display().to_string();
    let stuck = format!("{path} does not answer");
    // By the collector of the old settings, and by that of the new ones.
    assert_eq!(agent.said(&stuck).len(), 2, "{:#?}", agent.said(""));

    host.tell(Signal::USR2);
    until(&mut collector, "well", |grid| host.is_well(grid)).await;
    agent
        .says(&format!(
            "{path}, which did not answer filesystem, answers again"
        ))
        .await;
    until_probers(&agent, 1).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_file_system_that_hangs_and_crashes_gives_its_thread_back() {
    if !can_mount() {
        return;
    }
    let mut collector = Collector::start().await;
    let host = Host::new(&collector);
    let mut agent = Agent::start(host.command());
    collector.welcome().await;
    until(&mut collector, "well", |grid| host.is_well(grid)).await;
    host.tell(Signal::USR1);
    until(&mut collector, "stuck", |grid| host.is_stuck(grid)).await;
    host.tell(Signal::TERM);
    // It answers now, that it is not connected: nothing hangs there any more.
    let grid = until(&mut collector, "answered", |grid| {
        host.value(grid, "fs.stuck", "fuse") == Some(0.0)
    });
    let grid = grid.await;
    assert_eq!(host.value(&grid, "fs.size", "fuse"), None);
    assert!(host.value(&grid, "fs.size", "other").is_some());
    until_probers(&agent, 1).await;
    agent.terminate().await;
}
