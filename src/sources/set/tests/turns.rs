//! Which sources are read when.

use super::*;

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

    set.start_over();
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
