use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    fleet: Fleet,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            fleet: Fleet::default(),
            now: Instant::now(),
        }
    }

    fn metrics(&mut self, host: &str, json: &str) {
        self.fleet
            .take(self.now, host, GridKind::Metrics, json.as_bytes())
            .unwrap();
    }

    fn model(&mut self, host: &str, json: &str) {
        self.fleet
            .take(self.now, host, GridKind::Model, json.as_bytes())
            .unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.fleet.expire(self.now);
    }

    fn host(&self, name: &str) -> &Host {
        self.fleet.get(name).unwrap()
    }
}

#[test]
fn a_row_is_what_the_messages_say_together() {
    let mut world = World::new();
    world.model(
        "web1",
        r#"{"mem.total":1000,"host.cpus":4,"sys.uptime":50}"#,
    );
    let host = world.host("web1");
    assert_eq!(host.state(world.now), State::Waiting);
    assert_eq!((host.uptime, host.memory.used()), (Some(50.0), None));
    world.metrics(
        "web1",
        r#"{"cpu.percent":42.5,"mem.avail":250,"load.1m":1.5,"sys.uptime":60,
            "pressure.some.avg10[io]":7.5,"pressure.some.avg10[cpu]":3,
            "net.rx.bytes.total[eth0]":1000,"net.tx.bytes.total[eth0]":10,
            "net.rx.bytes.total[lo]":5,"systemd.jobs":0,"systemd.failed[a.service]":1}"#,
    );
    world.pass(5 * SECOND);
    // Not every message says all.
    world.metrics(
        "web1",
        r#"{"cpu.percent":50,"sys.uptime":65,
            "net.rx.bytes.total[eth0]":6000,"net.tx.bytes.total[eth0]":20,
            "net.rx.bytes.total[lo]":999999}"#,
    );
    let host = world.host("web1");
    assert_eq!(host.state(world.now), State::Reporting);
    assert_eq!(host.cpu.busy, Some(50.0));
    assert_eq!(host.memory.used(), Some(75.0));
    assert_eq!((host.tasks.load, host.cpu.count), (Some(1.5), Some(4.0)));
    assert_eq!(host.tasks.pressure, Some(("io", 7.5)));
    assert_eq!(
        (host.network.received, host.network.sent),
        (Some(1000.0), Some(2.0))
    );
    assert_eq!((host.uptime, host.failed), (Some(65.0), Some(1)));
    let newest: Vec<_> = host.cpu.history.newest(2).collect();
    assert_eq!(newest, [Some(43), Some(50)]);
    // Its manager tells of units, and of none that failed.
    world.metrics("web1", r#"{"systemd.jobs":0}"#);
    assert_eq!(world.host("web1").failed, Some(0));
}

#[test]
fn silence_is_seen_and_forgotten_in_the_end() {
    let mut world = World::new();
    world.metrics("a", r#"{"cpu.percent":1}"#);
    world.model("b", "{}");
    world.pass(SILENT_AFTER);
    assert_eq!(world.host("a").state(world.now), State::Silent);
    // A model, which comes with every hello of ours, is no sign of life.
    world.model("a", "{}");
    let counts = world.fleet.counts(world.now);
    let expected = Counts {
        reporting: 0,
        waiting: 1,
        silent: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
    world.metrics("a", r#"{"cpu.percent":2}"#);
    let newest: Vec<_> = world.host("a").cpu.history.newest(3).collect();
    assert_eq!(newest, [Some(1), None, Some(2)]);
    world.pass(FORGET_AFTER.saturating_sub(SECOND));
    assert_eq!(world.fleet.counts(world.now).all(), 1);
    world.pass(SECOND);
    assert_eq!(world.fleet.counts(world.now).all(), 0);
    assert_eq!(world.fleet.kept_bytes, 0);
}

/// Seconds since 1970.
const WALL: f64 = 1_795_960_992.5;

impl World {
    fn state(&mut self, host: &str, state: &str, last_seen: f64) {
        let json = format!(r#"{{"state":"{state}","last_seen":{last_seen},"since":{WALL}}}"#);
        self.fleet
            .take_state(self.now, WALL, host, json.as_bytes())
            .unwrap();
    }
}

#[test]
fn the_collector_tells_who_is_gone_and_since_when() {
    let mut world = World::new();
    world.state("a", "gone", WALL - 3600.0);
    world.state("b", "expected", WALL - 60.0);
    world.state("c", "reporting", WALL);
    // Its clock is ahead of ours.
    world.state("d", "gone", WALL + 5.0);
    world.model("a", r#"{"host.os":"Debian","cpu.percent":3}"#);
    world.pass(SECOND);
    let host = world.host("a");
    assert_eq!(host.state(world.now), State::Gone);
    assert_eq!(host.age(world.now), Some(3601 * SECOND));
    assert_eq!(host.software.system.as_deref(), Some("Debian"));
    assert_eq!(world.host("b").state(world.now), State::Expected);
    assert_eq!(world.host("d").age(world.now), Some(SECOND));
    // Who reports has said so, or will.
    assert!(world.fleet.get("c").is_none());
    let counts = world.fleet.counts(world.now);
    assert_eq!((counts.gone, counts.expected, counts.all()), (2, 1, 3));

    world.metrics("a", r#"{"cpu.percent":1}"#);
    assert_eq!(world.host("a").state(world.now), State::Reporting);
    assert_eq!(world.host("a").age(world.now), Some(Duration::ZERO));
    world.state("a", "gone", WALL);
    world.state("a", "reporting", WALL);
    assert_eq!(world.host("a").state(world.now), State::Reporting);
    world.state("d", "forgotten", WALL);
    assert!(world.fleet.get("d").is_none());
    assert_eq!(world.fleet.counts(world.now).all(), 2);
    let broken = world.fleet.take_state(world.now, WALL, "a", b"[]");
    assert!(broken.is_err());
    assert_eq!(world.fleet.refused(), 1);
    // Not a word of ours.
    world.state("e", "asleep", WALL);
    assert!(world.fleet.get("e").is_none());
}

#[test]
fn no_host_is_blamed_for_a_collector_that_is_not_heard() {
    let mut world = World::new();
    world.fleet.hear(world.now);
    world.metrics("a", r#"{"cpu.percent":1}"#);
    let heard = world.now;
    world.pass(2 * FORGET_AFTER);
    assert!(world.fleet.is_stale(world.now));
    let as_of = world.fleet.as_of(world.now);
    assert_eq!(as_of, heard);
    assert_eq!(world.host("a").state(as_of), State::Reporting);
    assert_eq!(world.fleet.counts(world.now).reporting, 1);
    // It is back, and the host is not yet: it has as long as any.
    world.fleet.hear(world.now);
    assert_eq!(world.fleet.counts(world.now).reporting, 1);
    for _ in 0..3 {
        world.pass(10 * SECOND);
        world.fleet.hear(world.now);
    }
    assert_eq!(world.fleet.counts(world.now).silent, 1);
}

#[test]
fn who_is_looked_at_from_now_on_has_rates_at_once() {
    let mut world = World::new();
    for (uptime, count) in [(100, 0), (105, 10), (110, 40)] {
        world.metrics(
            "a",
            &format!(r#"{{"sys.uptime":{uptime},"disk.reads.total[sda]":{count}}}"#),
        );
        // Read less often.
        if uptime != 105 {
            let units = format!(
                r#"{{"sys.uptime":{uptime},"unit.cpu.total[a.service]":{}}}"#,
                count * 100_000
            );
            world.metrics("a", &units);
        }
        world.pass(5 * SECOND);
    }
    world.fleet.watch(Some(&"a".into()));
    let detail = world.fleet.detail("a").unwrap();
    assert_eq!(detail.disks["sda"].reads, Some(6.0));
    assert_eq!(detail.units["a.service"].cpu, Some(40.0));
    let kept = world.host("a").kept.bytes();
    assert_eq!(world.fleet.kept_bytes, kept);
    assert!(kept > world.host("a").kept.metrics.bytes());
}

#[test]
fn a_model_that_says_what_metrics_say_is_shown_until_they_come() {
    let mut world = World::new();
    world.model(
        "a",
        r#"{"mem.total":1000,"mem.avail":250,"mem.cached":100,"cpu.percent":12.5}"#,
    );
    let host = world.host("a");
    assert_eq!(host.state(world.now), State::Waiting);
    assert_eq!(
        (host.cpu.busy, host.memory.used()),
        (Some(12.5), Some(75.0))
    );
    let detail = world.fleet.detail("a").unwrap();
    assert!(detail.known);
    assert_eq!(detail.memory.cached, Some(100.0));
    world.metrics("a", r#"{"mem.avail":500}"#);
    world.model("a", r#"{"mem.total":1000,"mem.avail":1}"#);
    assert_eq!(world.host("a").memory.used(), Some(50.0));
    assert_eq!(
        world.fleet.detail("a").unwrap().memory.available,
        Some(500.0)
    );
}

#[test]
fn the_fleet_is_bounded() {
    let mut world = World::new();
    for number in 0..MAX_HOSTS {
        world.model(&format!("h{number}"), "{}");
    }
    let full = world
        .fleet
        .take(world.now, "late", GridKind::Model, b"{}")
        .unwrap_err();
    assert_eq!(full, Refusal::Full);
    assert!(world.fleet.get("late").is_none());
    let bad = world.fleet.take(world.now, "h1", GridKind::Metrics, b"{");
    assert!(matches!(bad, Err(Refusal::Malformed(_))));
    assert_eq!(world.fleet.refused(), 2);
    world.metrics("h1", r#"{"cpu.percent":1}"#);
}

#[test]
fn where_there_is_no_room_a_row_is_still_a_row() {
    let mut world = World::new();
    world.metrics("a", r#"{"cpu.percent":1}"#);
    world.fleet.kept_bytes += MAX_KEPT_BYTES;
    world.metrics("b", r#"{"cpu.percent":2}"#);
    assert_eq!(world.host("b").cpu.busy, Some(2.0));
    assert!(world.host("b").kept.metrics.parts().is_empty());
    assert!(!world.host("a").kept.metrics.parts().is_empty());
    assert!(world.fleet.detail("b").unwrap().known);
    // Who is looked at is kept whatever the others take.
    world.fleet.watch(Some(&"b".into()));
    world.metrics("b", r#"{"load.1m":2}"#);
    assert_eq!(world.fleet.detail("b").unwrap().tasks.load[0], Some(2.0));
}

#[test]
fn a_model_that_stays_the_same_changes_nothing() {
    let mut world = World::new();
    world.model("a", r#"{"mem.total":1}"#);
    let version = world.fleet.version();
    world.model("a", r#"{"mem.total":1}"#);
    assert_eq!(world.fleet.version(), version);
    world.model("a", r#"{"mem.total":2}"#);
    assert!(world.fleet.version() > version);
    assert_eq!(world.host("a").memory.total, Some(2.0));
}

#[test]
fn a_model_that_cannot_be_read_makes_no_host() {
    let mut world = World::new();
    let refused = world.fleet.take(world.now, "a", GridKind::Model, b"[]");
    assert!(refused.is_err());
    assert!(world.fleet.get("a").is_none());
}

#[test]
fn a_host_in_detail() {
    let mut world = World::new();
    world.fleet.watch(Some(&"a".into()));
    world.model(
        "a",
        r#"{"host.os":"Debian GNU/Linux 13 (trixie)","host.kernel":"6.12.1",
            "host.architecture":"x86_64","host.cpus":4,"host.cpu.model":"EPYC",
            "host.virtualization":"kvm","mem.total":1000,"mem.swap.total":0,"agent.version":"1"}"#,
    );
    let first = r#"{"sys.uptime":100,"cpu.user.total":0,"cpu.system.total":0,"cpu.idle.total":0,
        "disk.read.bytes.total[sda]":0,"disk.busy.total[sda]":0,
        "net.rx.bytes.total[eth0]":0,"net.rx.errors.total[eth0]":0,"net.tx.errors.total[eth0]":0,
        "unit.cpu.total[a.service]":0,"unit.cpu.total[system.slice]":0}"#;
    world.metrics("a", first);
    assert!(world.fleet.detail("a").unwrap().cpu_modes.is_empty());
    world.pass(10 * SECOND);
    let second = r#"{"sys.uptime":110,
        "cpu.user.total":1000,"cpu.system.total":500,"cpu.idle.total":8500,
        "load.1m":0.5,"load.5m":0.25,"load.15m":0.125,"proc.running":2,
        "pressure.some.avg10[io]":1.5,"pressure.full.avg300[io]":0.5,
        "disk.read.bytes.total[sda]":10240,"disk.busy.total[sda]":5000,
        "fs.size[/]":100,"fs.free[/]":30,"fs.avail[/]":20,"fs.inodes[/]":10,"fs.inodes.free[/]":5,
        "fs.readonly[/]":0,"fs.stuck[/net]":1,
        "net.rx.bytes.total[eth0]":5000,"net.up[eth0]":1,"net.speed[eth0]":1000,
        "net.rx.errors.total[eth0]":10,"net.tx.errors.total[eth0]":20,
        "unit.cpu.total[a.service]":5000000,"unit.memory[a.service]":4096,
        "unit.cpu.total[system.slice]":5000000,
        "unit.restarts.total[a.service]":3,"systemd.failed[b.service]":1,"mem.avail":250}"#;
    world.metrics("a", second);
    let detail = world.fleet.detail("a").unwrap();
    let facts: Vec<_> = detail.facts.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(
        facts,
        [
            "Debian GNU/Linux 13 (trixie)",
            "6.12.1 x86_64",
            "4 × EPYC",
            "kvm",
            "1",
            "1min 50s"
        ]
    );
    assert_eq!(
        detail.cpu_modes,
        [("user", 10.0), ("system", 5.0), ("idle", 85.0)]
    );
    assert_eq!(detail.tasks.load, [Some(0.5), Some(0.25), Some(0.125)]);
    assert_eq!(detail.tasks.pressure["io"].some[0], Some(1.5));
    assert_eq!(detail.tasks.pressure["io"].full[2], Some(0.5));
    let disk = detail.disks["sda"];
    assert_eq!((disk.read, disk.busy), (Some(1024.0), Some(50.0)));
    let root = detail.filesystems["/"];
    assert_eq!(root.used().map(f64::round), Some(78.0));
    assert_eq!(root.inodes_used(), Some(50.0));
    assert!(detail.filesystems["/net"].stuck);
    let eth0 = detail.interfaces["eth0"];
    assert_eq!((eth0.received, eth0.errors), (Some(500.0), Some(3.0)));
    assert_eq!((eth0.up, eth0.speed), (Some(true), Some(1000.0)));
    let unit = detail.units["a.service"];
    assert_eq!((unit.cpu, unit.memory), (Some(50.0), Some(4096.0)));
    assert_eq!(unit.restarts, Some(3.0));
    assert_eq!(detail.units.len(), 1);
    assert_eq!(detail.failed, ["b.service"]);
    assert_eq!(detail.memory.available, Some(250.0));
    // Another host is looked at: no rates, and all else as it was.
    world.fleet.watch(Some(&"z".into()));
    let unwatched = world.fleet.detail("a").unwrap();
    assert!(unwatched.cpu_modes.is_empty());
    assert_eq!(unwatched.units["a.service"].memory, Some(4096.0));
}
