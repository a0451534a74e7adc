use std::{
    fs,
    os::unix::fs::symlink,
    process::Command,
    sync::mpsc::channel,
    time::{Duration, Instant},
};

use procfs_core::{FromBufRead, net::InterfaceDeviceStatus};
use proptest::prelude::*;

use super::{
    link::{REFRESH, parse_operstate, parse_speed},
    *,
};
use crate::metrics::Samples;
use crate::metrics::table::METRICS;
use crate::sources::{
    Options,
    background::PATIENCE,
    options::Filter,
    testing::{Host, KERNELS, captured, fixture, names, read, read_whole, unsigned},
};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(30);

const CLASS: &str = "/sys/class/net";

const TITLES_TEXT: &str = "Inter-|   Receive                            |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

/// The counts of a line, and how many things are wrong with it.
fn interface(text: &str) -> (Interface, usize) {
    let mut odd = Odd::default();
    let line = Line {
        number: 3,
        text: text.as_bytes(),
    };
    let counts = parse(&line, &mut odd);
    let named = odd.named();
    assert!(
        named
            .iter()
            .all(|one| (one.line, one.expected) == (3, EXPECTED))
    );
    (counts, named.len())
}

/// Like the agent: what runs beside is waited for.
fn sample(source: &mut NetworkSource, now: Instant) -> Samples {
    prepare(source, now);
    read(source).unwrap()
}

fn prepare(source: &mut NetworkSource, now: Instant) {
    source.prepare(Grid::Metrics, now);
    let deadline = Instant::now() + LONG;
    while !source.ready() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Interfaces as the kernel would show them.
impl Host {
    fn list(&self, interfaces: &[&str]) {
        let lines = interfaces
            .iter()
            .enumerate()
            .map(|(at, name)| format!("{name:>6}: {at} 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"));
        self.write(FILE, format!("{TITLES_TEXT}{}", lines.collect::<String>()));
    }

    fn set(&self, interface: &str, file: &str, text: &str) {
        self.write(&format!("{CLASS}/{interface}/{file}"), text);
    }

    fn network(&self) -> NetworkSource {
        NetworkSource::open(&self.context())
    }
}

#[test]
fn a_line_has_two_directions_and_a_count_that_makes_no_sense_costs_itself_alone() {
    let rx = [1, 2, 3, 4].map(Some);
    let tx = [9, 10, 11, 12].map(Some);
    for text in [
        "  eth0:       1       2    3    4    5     6          7         8        9      10   11   12   13    14      15         16",
        "eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17",
        "eth0:1: 1 2 3 4 x 6 7 8 9 10 11 12 -13",
    ] {
        assert_eq!(interface(text), (Interface { rx, tx }, 0), "{text}");
    }
    let without = |at: usize| {
        let mut tx = tx;
        tx[at..].fill(None);
        Interface { rx, tx }
    };
    let mut first = without(4);
    first.rx[0] = None;
    for (text, left, wrong) in [
        ("eth0: 1 2 3 4 5 6 7 8 9 10 11", without(3), 1),
        (
            "eth0: 1 2 3 4 5 6 7 8 9 10 11 -12 13 14 15 16",
            without(3),
            1,
        ),
        ("eth0: -1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", first, 1),
        (
            "eth0: 99999999999999999999 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
            first,
            1,
        ),
        ("eth0: 1 2 3 4 5", without(0), 4),
        ("eth0:", Interface::default(), 8),
        ("eth0 1 2 3", Interface::default(), 8),
    ] {
        assert_eq!(interface(text), (left, wrong), "{text}");
    }
}

#[test]
fn names_are_single_components_of_a_path() {
    let of = |text: &'static str| {
        let text = text.as_bytes();
        name(&Line { number: 3, text })
    };
    assert_eq!(of(" veth0.100: 1"), Ok(&b"veth0.100"[..]));
    assert_eq!(of("eth0:1: 1"), Ok(&b"eth0:1"[..]));
    for text in ["../../proc: 1", "..: 1", " .:1", ": 1", "a/b: 1", "eth0 1"] {
        assert_eq!(of(text).unwrap_err().expected, EXPECTED, "{text}");
    }
}

#[test]
fn titles_that_promise_something_else_are_malformed() {
    for (text, line) in [
        ("", 1),
        ("Inter-|\n", 2),
        (
            "Inter-|\n face |bytes packets errs drop|bytes packets errs\n",
            2,
        ),
        ("Inter-|\n face |bytes packets errs drop\n", 2),
        (
            "Inter-|\n face |packets bytes errs drop|bytes packets errs drop\n",
            2,
        ),
    ] {
        let error = interfaces(text.as_bytes()).next().unwrap().unwrap_err();
        assert_eq!((error.line, error.expected), (line, EXPECTED_HEADER));
    }
    assert_eq!(interfaces(TITLES_TEXT.as_bytes()).next(), None);
}

/// operstates.rst names them; `netif_oper_up()` says in which of them packets pass.
#[test]
fn links_are_up_where_the_kernel_thinks_so() {
    for (text, up) in [
        ("up\n", true),
        ("unknown\n", true),
        ("down\n", false),
        ("lowerlayerdown\n", false),
        ("dormant\n", false),
        ("testing\n", false),
        ("notpresent\n", false),
    ] {
        assert_eq!(parse_operstate(text.as_bytes()), Ok(up), "{text}");
    }
    for text in ["", "\n", "up", "UP\n", "up down\n", "\u{e9}\n"] {
        assert!(parse_operstate(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn speeds_are_numbers_and_some_say_that_there_is_none() {
    assert_eq!(parse_speed(b"10000\n"), Ok(Some(10_000)));
    assert_eq!(parse_speed(b"800000\n"), Ok(Some(800_000)));
    for text in ["-1\n", "0\n", "65535\n", "4294967295\n"] {
        assert_eq!(parse_speed(text.as_bytes()), Ok(None), "{text}");
    }
    for text in [
        &b""[..],
        b"\n",
        b"10",
        b"-\n",
        b"--1\n",
        b"fast\n",
        b"10 \n",
        b"-x\n",
    ] {
        assert!(parse_speed(text).is_err(), "{text:?}");
    }
}

/// As read with a person's eyes.
#[test]
fn the_values_of_captured_machines() {
    for (kernel, values) in [
        (
            "6.1-qemu",
            &[
                ("net.rx.bytes.total[veth0]", Some(8_697_498)),
                ("net.rx.packets.total[veth0]", Some(473)),
                ("net.rx.drops.total[veth0]", Some(5)),
                ("net.tx.bytes.total[veth0]", Some(28_428)),
                ("net.tx.packets.total[ens7]", Some(7)),
                ("net.up[ens7]", Some(1)),
                ("net.speed[ens7]", Some(10_000)),
                ("net.up[ens8]", Some(0)),
                ("net.speed[ens8]", None),
                ("net.up[lo]", Some(1)),
                ("net.speed[lo]", None),
                ("net.up[veth0.100]", Some(0)),
                ("net.up[down0]", Some(0)),
            ][..],
        ),
        (
            "6.12-qemu",
            &[
                ("net.rx.bytes.total[veth0]", Some(8_881_022)),
                ("net.tx.packets.total[lo]", Some(11)),
                ("net.speed[veth0]", Some(10_000)),
            ],
        ),
        (
            "6.18-firecracker",
            &[
                ("net.rx.bytes.total[veth0]", Some(8_695_434)),
                ("net.tx.packets.total[veth0]", Some(251)),
                ("net.up[br0]", Some(0)),
            ],
        ),
    ] {
        let mut source = NetworkSource::open(&Context::new(captured(kernel)));
        let samples = sample(&mut source, Instant::now());
        for (name, value) in values {
            assert_eq!(unsigned(&samples, name), *value, "{kernel} {name}");
        }
    }
}

#[test]
fn interfaces_in_the_kernels_order_with_metrics_in_the_tables() {
    let mut source = NetworkSource::open(&Context::new(captured("6.18-firecracker")));
    let samples = sample(&mut source, Instant::now());
    let table = METRICS.iter().filter(|m| m.source == "network");
    let table: Vec<_> = table.map(|m| m.name).collect();
    let of = |interface: &str, count: usize| -> Vec<_> {
        let table = table.iter().take(count);
        table.map(|name| format!("{name}[{interface}]")).collect()
    };
    let expected = [of("lo", 9), of("veth0", 10), of("br0", 9)].concat();
    assert_eq!(names(&samples), expected);
}

/// Another reader of the same files finds the same.
#[test]
fn procfs_finds_the_same() {
    for kernel in KERNELS {
        let text = fs::read(captured(kernel).path(FILE)).unwrap();
        let theirs = InterfaceDeviceStatus::from_buf_read(&text[..]).unwrap().0;
        let mut count = 0;
        for line in interfaces(&text) {
            let line = line.unwrap();
            let ours = parse(&line, &mut Odd::default());
            let theirs = &theirs[std::str::from_utf8(name(&line).unwrap()).unwrap()];
            assert_eq!(
                ours.rx.map(Option::unwrap),
                [
                    theirs.recv_bytes,
                    theirs.recv_packets,
                    theirs.recv_errs,
                    theirs.recv_drop
                ]
            );
            assert_eq!(
                ours.tx.map(Option::unwrap),
                [
                    theirs.sent_bytes,
                    theirs.sent_packets,
                    theirs.sent_errs,
                    theirs.sent_drop
                ]
            );
            count += 1;
        }
        assert_eq!(count, theirs.len());
    }
}

#[test]
fn what_the_filter_does_not_admit_is_left_alone() {
    let host = Host::new();
    host.list(&["eth0", "veth1"]);
    host.set("eth0", "operstate", "up\n");
    host.set("veth1", "operstate", "broken");
    let mut context = host.context();
    context.options = Options {
        network: Filter::without(&["veth*"]),
        ..Options::default()
    }
    .into();
    let samples = sample(&mut NetworkSource::open(&context), Instant::now());
    assert!(
        samples
            .iter()
            .all(|(name, _)| name.instance == Some("eth0"))
    );
    assert_eq!((samples.len(), samples.cut()), (9, 0));
}

#[test]
fn an_interface_that_sys_does_not_have_has_counts() {
    let host = Host::new();
    host.list(&["eth0"]);
    let samples = sample(&mut host.network(), Instant::now());
    assert_eq!(samples.len(), 8);
    assert_eq!(unsigned(&samples, "net.tx.drops.total[eth0]"), Some(12));
}

#[test]
fn a_file_without_its_titles_or_interfaces_is_an_error_that_names_it() {
    let host = Host::new();
    let broken = |expected: &str| {
        let mut source = host.network();
        prepare(&mut source, Instant::now());
        let error = read(&mut source).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    broken("cannot open ");
    host.write(FILE, "Inter-|\n");
    broken("/proc/net/dev, line 2: expected two lines of titles");
    host.write(FILE, format!("{TITLES_TEXT}eth0 1 2\n"));
    broken("/proc/net/dev, line 3: expected a name, a colon");
}

#[test]
fn what_makes_no_sense_of_one_interface_costs_itself_alone_and_is_named() {
    let host = Host::new();
    let whole =
        |lines: &str| format!("{TITLES_TEXT}eth0: 1 2 3 4 5 6 7 8 9 10 11 12 0 0 0 0\n{lines}");
    let check = |eth1: usize, expected: &str| {
        let mut source = host.network();
        for _ in 0..2 {
            prepare(&mut source, Instant::now());
            let (samples, left_out) = read_whole(&mut source).unwrap();
            let of = |interface| {
                let names = samples.iter().map(|(name, _)| name.instance);
                names.filter(|name| *name == Some(interface)).count()
            };
            assert_eq!((of("eth0"), of("eth1")), (10, eth1), "{expected}");
            assert_eq!(samples.cut(), 0, "{expected}");
            assert_eq!(unsigned(&samples, "net.speed[eth0]"), Some(1000));
            let [error] = left_out.named() else {
                panic!("{expected}: {left_out:?}");
            };
            assert!(error.to_string().contains(expected), "{error}");
        }
    };
    for interface in ["eth0", "eth1"] {
        host.set(interface, "operstate", "up\n");
        host.set(interface, "speed", "1000\n");
    }
    host.write(FILE, whole("eth1: 1 -2 3 4 5 6 7 8 9 10 11 12 0 0 0 0\n"));
    check(9, "/proc/net/dev, line 4: expected a name, a colon");
    let other = ": 1 2 3 4 5 6 7 8 9 10 11 12 0 0 0 0\n";
    for (name, shown) in [
        (&b"\xffeth"[..], r"\xffeth"),
        ("e\u{202e}th".as_bytes(), "e\\xe2"),
    ] {
        let text = [whole("").as_bytes(), name, other.as_bytes()].concat();
        host.write(FILE, text);
        let expected = "expected a name of characters that can be seen, found";
        check(0, &format!("/proc/net/dev, line 4: {expected} \"{shown}"));
    }
    host.write(FILE, whole("eth1 1 2\n"));
    check(0, "/proc/net/dev, line 4: expected a name, a colon");
    host.write(FILE, whole("eth1: 1"));
    check(0, "/proc/net/dev, line 4: expected a newline");
    host.write(FILE, whole("eth1: 1 2 3 4 5 6 7 8 9 10 11 12 0 0 0 0\n"));
    host.set("eth1", "speed", "fast\n");
    check(9, "eth1/speed, line 1: expected a number of Mbit/s");
    fs::remove_file(host.path(&format!("{CLASS}/eth1/speed"))).unwrap();
    fs::create_dir(host.path(&format!("{CLASS}/eth1/speed"))).unwrap();
    check(9, "eth1/speed: Is a directory");
    host.set("eth1", "operstate", "1\n");
    check(
        8,
        "eth1/operstate, line 1: expected the name of an operational state",
    );
    fs::remove_file(host.path(&format!("{CLASS}/eth1/operstate"))).unwrap();
    fs::create_dir(host.path(&format!("{CLASS}/eth1/operstate"))).unwrap();
    check(8, "eth1/operstate: Is a directory");
}

#[test]
fn a_speed_that_drivers_do_not_know_is_left_out() {
    let mut source = NetworkSource::open(&Context::new(fixture("odd/net-speed-unknown")));
    let samples = sample(&mut source, Instant::now());
    for (interface, speed) in [
        ("eth0", None),
        ("bond0", None),
        ("ens4", None),
        ("vni13", None),
        ("veth0", Some(10_000)),
    ] {
        let of = |metric: &str| unsigned(&samples, &format!("net.{metric}[{interface}]"));
        assert_eq!((of("up"), of("speed")), (Some(1), speed), "{interface}");
    }
}

#[test]
fn a_speed_is_read_when_a_link_comes_up_and_once_in_a_while() {
    let host = Host::new();
    host.list(&["eth0"]);
    host.set("eth0", "operstate", "up\n");
    host.set("eth0", "speed", "1000\n");
    let mut source = host.network();
    let mut now = Instant::now();
    let mut speed = |host: &Host, later: Duration| {
        now += later;
        // A change shows with the first sample, what follows from it with the second.
        sample(&mut source, now);
        let samples = sample(&mut source, now);
        assert!(host.handles() <= 2);
        unsigned(&samples, "net.speed[eth0]")
    };
    assert_eq!(speed(&host, Duration::ZERO), Some(1000));

    host.set("eth0", "speed", "100\n");
    let just_before = REFRESH.checked_sub(Duration::from_millis(1)).unwrap();
    assert_eq!(speed(&host, just_before), Some(1000), "not read again");
    assert_eq!(speed(&host, Duration::from_millis(1)), Some(100));

    host.set("eth0", "operstate", "down\n");
    host.set("eth0", "speed", "10\n");
    assert_eq!(speed(&host, Duration::ZERO), None, "down");
    host.set("eth0", "operstate", "up\n");
    assert_eq!(speed(&host, Duration::ZERO), Some(10), "up again");
    fs::remove_file(host.path("/sys/class/net/eth0/speed")).unwrap();
    assert_eq!(speed(&host, REFRESH), None, "no longer to be had");
}

#[test]
fn the_first_sample_has_speeds_and_a_model_asks_for_none() {
    let host = Host::new();
    host.list(&["eth0"]);
    host.set("eth0", "operstate", "up\n");
    host.set("eth0", "speed", "2500\n");
    let mut source = host.network();
    source.prepare(Grid::Model, Instant::now());
    assert!(source.ready());
    let samples = read(&mut source).unwrap();
    assert_eq!(unsigned(&samples, "net.speed[eth0]"), None);
    let samples = sample(&mut host.network(), Instant::now());
    assert_eq!(unsigned(&samples, "net.speed[eth0]"), Some(2500));
}

/// The lock is held: counts go out without the speeds, and there is no second reading.
#[test]
fn a_speed_that_hangs_delays_no_other() {
    let host = Host::new();
    host.list(&["eth0"]);
    host.set("eth0", "operstate", "up\n");
    // Opening a FIFO waits for its other end.
    let fifo = host.path("/sys/class/net/eth0/speed");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let context = host.context();
    let mut source = NetworkSource::open(&context);
    let start = Instant::now();
    source.prepare(Grid::Metrics, start);
    let samples = read(&mut source).unwrap();
    assert_eq!(
        (samples.len(), unsigned(&samples, "net.up[eth0]")),
        (9, Some(1))
    );

    // Once patience is over there is no more waiting, and other jobs get another thread.
    let (done, seen) = channel();
    let submitted = context.prober.submit(|| (), start).unwrap();
    let later = Instant::now() + PATIENCE;
    while !source.ready() {
        assert!(Instant::now() < start + LONG);
        source.prepare(Grid::Metrics, later.max(Instant::now() + PATIENCE));
        std::thread::sleep(Duration::from_millis(1));
    }
    context
        .prober
        .submit(move || done.send(()).unwrap(), later)
        .unwrap();
    seen.recv_timeout(LONG).unwrap();
    assert!(submitted.finished());
    assert_eq!(read(&mut source).unwrap().len(), 9);
    source.prepare(Grid::Metrics, later + REFRESH);
    assert!(source.ready(), "it is not asked again");

    // The lock is free.
    fs::write(&fifo, "1000\n").unwrap();
    let deadline = Instant::now() + LONG;
    while unsigned(&read(&mut source).unwrap(), "net.speed[eth0]") != Some(1000) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn interfaces_come_and_go_and_leave_no_handle() {
    let host = Host::new();
    host.set("../device", "operstate", "up\n");
    host.set("../device", "speed", "10000\n");
    let mut source = host.network();
    let mut now = Instant::now();
    for first in (0..10_000).step_by(100) {
        let names: Vec<_> = (first..first + 100).map(|n| format!("veth{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            symlink("../device", host.path(&format!("{CLASS}/{name}"))).unwrap();
        }
        host.list(&names);
        // Every other time their speeds are learnt, too.
        if first % 200 == 0 {
            sample(&mut source, now);
        }
        now += Duration::from_secs(5);
        let samples = sample(&mut source, now);
        let speeds = if first % 200 == 0 { 10 } else { 9 };
        assert_eq!((samples.len(), samples.cut()), (100 * speeds, 0), "{first}");
        assert!(host.handles() <= 1 + MAX_KEPT_OPEN, "{}", host.handles());
        assert_eq!(source.links.iter_mut().count(), 100);
        for name in &names {
            fs::remove_file(host.path(&format!("{CLASS}/{name}"))).unwrap();
        }
    }
    host.list(&["eth0"]);
    let samples = sample(&mut source, now);
    assert_eq!(samples.len(), 8);
    assert_eq!(host.handles(), 1);
}

#[test]
fn only_so_many_interfaces_are_reported() {
    let host = Host::new();
    let names: Vec<_> = (0..10_000).map(|n| format!("veth{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    host.set("../device", "operstate", "up\n");
    for name in &names[..MAX_INTERFACES + 100] {
        symlink("../device", host.path(&format!("{CLASS}/{name}"))).unwrap();
    }
    host.list(&names);
    let samples = sample(&mut host.network(), Instant::now());
    assert_eq!(samples.len(), MAX_INTERFACES * 9);
    assert_eq!(samples.cut(), 10_000 - MAX_INTERFACES as u64);
}

/// A device that is gone and another of its name: with the real /sys, as files that are
/// merely deleted can still be read.
#[test]
fn a_name_that_another_device_took_over_is_read_again() {
    if std::env::var_os(INSIDE).is_some() {
        return churn_in_a_namespace();
    }
    let this = "sources::network::tests::a_name_that_another_device_took_over_is_read_again";
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-ec"])
        .arg("mount -t sysfs none /sys; ip link add probe0 type veth; exec \"$@\"")
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(INSIDE, "1")
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return println!("skipped: no unshare(1): {error}"),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !output.status.success() && !text.contains("running 1 test") {
        return println!("skipped, as this needs root, unshare(1), ip(8) and veth: {text}");
    }
    assert!(output.status.success(), "{text}");
}

/// Set in the process that runs in a network namespace of its own.
const INSIDE: &str = "METRICS_AGENT_TEST_INSIDE_NAMESPACE";

/// The kernel reports changes of a link within a second or so.
fn eventually<T: PartialEq + std::fmt::Debug>(mut found: impl FnMut() -> T, expected: &T) {
    let deadline = Instant::now() + LONG;
    loop {
        let found = found();
        if found == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{found:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn churn_in_a_namespace() {
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status();
        assert!(status.unwrap().success(), "{arguments}");
    };
    let handles = || {
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let targets = open.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        // That of a device that is gone has no path below /sys/class any more.
        targets
            .filter(|target| target.ends_with("operstate") || target.starts_with("/sys"))
            .count()
    };
    let create = |name: &str| {
        ip(&format!("link add {name} type veth peer name peer-{name}"));
        ip(&format!("link set {name} up"));
        ip(&format!("link set peer-{name} up"));
    };
    let mut source = NetworkSource::open(&Context::new(Root::default()));
    let mut now = Instant::now();
    let mut values = |name: &str| {
        now += Duration::from_secs(1);
        sample(&mut source, now);
        let samples = sample(&mut source, now);
        let of = |metric: &str| unsigned(&samples, &format!("{metric}[{name}]"));
        let interfaces = names(&samples);
        let interfaces = interfaces.iter().filter(|name| name.starts_with("net.up"));
        let interfaces = interfaces.count();
        assert!(handles() <= interfaces, "one for each at most");
        (of("net.up"), of("net.speed"), interfaces)
    };
    let up = (Some(1), Some(10_000));
    eventually(|| values("probe0"), &(Some(0), None, 3));
    create("v");
    eventually(|| values("v"), &(up.0, up.1, 5));

    // Another of the same name, and it is down.
    ip("link del v");
    ip("link add v type veth peer name peer-v");
    eventually(|| values("v"), &(Some(0), None, 5));
    ip("link set v up");
    ip("link set peer-v up");
    eventually(|| values("v"), &(up.0, up.1, 5));

    // Renamed, and the old name is another's, which shows at once.
    ip("link set v down");
    ip("link set v name w");
    ip("link set w up");
    let state = || fs::read_to_string("/sys/class/net/w/operstate").unwrap();
    eventually(state, &"up\n".to_owned());
    ip("link add v type veth peer name peer-x");
    assert_eq!(values("v"), (Some(0), None, 7));
    eventually(|| values("w"), &(up.0, up.1, 7));

    for round in 0..50 {
        let name = format!("r{round}");
        create(&name);
        assert_eq!(values(&name).2, 9);
        ip(&format!("link del {name}"));
    }
    assert_eq!(values("w"), (up.0, up.1, 7));
}

#[test]
fn the_running_machine_has_a_loopback_that_only_counts_up() {
    let mut source = NetworkSource::open(&Context::new(Root::default()));
    let first = sample(&mut source, Instant::now());
    let second = sample(&mut source, Instant::now());
    for name in ["net.rx.bytes.total[lo]", "net.tx.packets.total[lo]"] {
        let (before, now) = (unsigned(&first, name), unsigned(&second, name));
        assert!(before.is_some() && now >= before, "{name}");
    }
    let state = fs::read_to_string("/sys/class/net/lo/operstate").unwrap();
    let up = Some(u64::from(state != "down\n"));
    assert_eq!(unsigned(&second, "net.up[lo]"), up);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let line = Line { number: 1, text: &text };
        let _ = (name(&line), parse(&line, &mut Odd::default()));
        let _ = (parse_operstate(&text), parse_speed(&text));
        prop_assert!(interfaces(&text).count() <= 257);
        let behind = [TITLES_TEXT.as_bytes(), &text].concat();
        for line in interfaces(&behind).flatten() {
            let _ = (name(&line), parse(&line, &mut Odd::default()));
        }
    }
}
