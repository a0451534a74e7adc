//! Values and sources that fail, and what is told of them.

use super::*;

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
