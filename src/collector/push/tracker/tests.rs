use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use proptest::prelude::*;

use super::super::telling::STALE;
use super::*;
use crate::collector::prometheus::naming::{self, UP};

const T: i64 = 1_700_000_000_000;

/// A sample as text: `up{host} = 1 @5`, `-x{host}` for a stale marker; times from `T`.
fn shown(sample: &Sample<'_>) -> String {
    let name = sample.name.strip_prefix(naming::NAMESPACE).unwrap();
    let mut labels = vec![sample.host.to_owned()];
    labels.extend(sample.instance.map(|(_, value)| value.to_owned()));
    labels.extend(sample.text.map(|text| format!("\"{text}\"")));
    let series = format!("{name}{{{}}}", labels.join(","));
    let time = sample.time - T;
    if sample.value.to_bits() == STALE {
        format!("-{series} @{time}")
    } else {
        format!("{series} = {} @{time}", sample.value)
    }
}

struct Bench {
    tracker: Tracker,
}

impl Bench {
    fn new() -> Self {
        Self {
            tracker: Tracker::default(),
        }
    }

    fn take(&mut self, item: &Item) -> Vec<String> {
        let mut all = Vec::new();
        let taken: Result<Taken, Infallible> = self.tracker.take(item, &mut |sample| {
            all.push(shown(sample));
            Ok(())
        });
        let Ok(taken) = taken;
        match taken {
            Taken::Sampled => {}
            Taken::Moved => all.push("moved".to_owned()),
            Taken::Overtaken => all.push("overtaken".to_owned()),
        }
        all
    }

    fn history(&mut self, host: &str, time: i64, grids: &[&str]) -> Vec<String> {
        self.take(&history(host, time, grids))
    }

    fn up(&mut self, host: &str, time: i64) -> Vec<String> {
        self.take(&Item::Up {
            host: host.into(),
            time: T + time,
        })
    }

    /// Without that the host is up.
    fn hear(&mut self, kind: GridKind, host: &str, time: i64, json: &str) -> Vec<String> {
        let mut all = self.take(&message(kind, host, time, json));
        let up = all.remove(0);
        assert!(up.starts_with(&format!("up{{{host}}} = 1 @")), "{up}");
        all
    }

    fn metrics(&mut self, time: i64, json: &str) -> Vec<String> {
        self.hear(GridKind::Metrics, "a", time, json)
    }

    fn model(&mut self, time: i64, json: &str) -> Vec<String> {
        self.hear(GridKind::Model, "a", time, json)
    }

    fn gone(&mut self, host: &str, time: i64) -> Vec<String> {
        self.take(&gone(host, time))
    }
}

fn message(kind: GridKind, host: &str, time: i64, json: &str) -> Item {
    Item::Message {
        host: host.into(),
        kind,
        grid: Arc::new(Grid::parse(json.as_bytes(), kind).unwrap().into()),
        time: T + time,
    }
}

fn history(host: &str, time: i64, grids: &[&str]) -> Item {
    let grids = grids.iter().map(|json| {
        let grid = Grid::parse(json.as_bytes(), GridKind::Metrics);
        Arc::new(grid.unwrap().into())
    });
    Item::History {
        host: host.into(),
        grids: grids.collect(),
        time: T + time,
        ticket: None,
    }
}

fn gone(host: &str, time: i64) -> Item {
    Item::Gone {
        host: host.into(),
        time: T + time,
    }
}

#[test]
fn a_message_is_its_series_and_that_the_host_is_up() {
    let mut bench = Bench::new();
    let item = message(
        GridKind::Metrics,
        "a",
        5,
        r#"{"cpu.percent": 50, "disk.reads.total[sda]": 7, "mem.free": 2, "made.up": 0.5}"#,
    );
    assert_eq!(
        bench.take(&item),
        [
            "up{a} = 1 @5",
            "cpu_busy_ratio{a} = 0.5 @5",
            "disk_reads_total{a,sda} = 7 @5",
            "made_up{a} = 0.5 @5",
            "mem_free_bytes{a} = 2048 @5",
        ]
    );
}

#[test]
fn a_series_that_its_family_is_said_again_without_ends_once() {
    let mut bench = Bench::new();
    bench.metrics(
        0,
        r#"{"cpu.percent":0,"fs.size[/]":1,"fs.size[/mnt]":1,"fs.free[/mnt]":1}"#,
    );
    // Another family: of file systems nothing was said.
    assert_eq!(
        bench.metrics(5, r#"{"cpu.percent":0}"#),
        ["cpu_busy_ratio{a} = 0 @5"]
    );
    assert_eq!(
        bench.metrics(10, r#"{"fs.size[/]":1}"#),
        [
            "fs_size_bytes{a,/} = 1 @10",
            "-fs_free_bytes{a,/mnt} @10",
            "-fs_size_bytes{a,/mnt} @10",
        ]
    );
    let again = bench.metrics(15, r#"{"fs.size[/]":1}"#);
    assert_eq!(again, ["fs_size_bytes{a,/} = 1 @15"]);
    // It is back, and ends with the host, like all the others.
    bench.metrics(20, r#"{"fs.size[/]":1,"fs.size[/mnt]":1}"#);
    assert_eq!(
        bench.gone("a", 50),
        [
            "up{a} = 0 @50",
            "-cpu_busy_ratio{a} @50",
            "-fs_size_bytes{a,/} @50",
            "-fs_size_bytes{a,/mnt} @50",
        ]
    );
    assert!(bench.gone("a", 60).is_empty());
    assert!(bench.gone("never there", 60).is_empty());
}

#[test]
fn a_model_replaces_all_of_the_one_before() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.model(0, r#"{"mem.total":1,"host.os":"Debian 12","sys.uptime":5}"#),
        [
            "host_os_info{a,\"Debian 12\"} = 1 @0",
            "mem_total_bytes{a} = 1024 @0",
            "sys_uptime_seconds{a} = 5 @0",
        ]
    );
    bench.metrics(1, r#"{"sys.uptime":6}"#);
    assert_eq!(
        bench.model(2, r#"{"host.os":"Debian 13"}"#),
        [
            "host_os_info{a,\"Debian 13\"} = 1 @2",
            // Another text is another series. The time since boot is said by metrics.
            "-host_os_info{a,\"Debian 12\"} @2",
            "-mem_total_bytes{a} @2",
        ]
    );
    assert_eq!(
        bench.gone("a", 3),
        [
            "up{a} = 0 @3",
            "-sys_uptime_seconds{a} @3",
            "-host_os_info{a,\"Debian 13\"} @3",
        ]
    );
}

#[test]
fn what_a_host_said_of_itself_is_said_again_each_minute() {
    let mut bench = Bench::new();
    bench.model(0, r#"{"mem.total":1,"sys.uptime":0,"x":"text"}"#);
    let plain = bench.metrics(59_999, r#"{"sys.uptime":60}"#);
    assert_eq!(plain, ["sys_uptime_seconds{a} = 60 @59999"]);
    let again = [
        "sys_uptime_seconds{a} = 61 @60000",
        "mem_total_bytes{a} = 1024 @60000",
        "x_info{a,\"text\"} = 1 @60000",
    ];
    assert_eq!(bench.metrics(60_000, r#"{"sys.uptime":61}"#), again);
    assert_eq!(bench.metrics(100_000, r#"{"sys.uptime":101}"#).len(), 1);
    assert_eq!(bench.metrics(120_000, r#"{"cpu.percent":0}"#).len(), 3);
}

#[test]
fn messages_of_one_millisecond_are_one_apart() {
    let mut bench = Bench::new();
    let free = r#"{"mem.free":1}"#;
    bench.metrics(0, free);
    assert_eq!(bench.metrics(0, free), ["mem_free_bytes{a} = 1024 @1"]);
    assert_eq!(bench.metrics(-5, free), ["mem_free_bytes{a} = 1024 @2"]);
    // Another host has its own time.
    let other = bench.hear(GridKind::Metrics, "b", 0, free);
    assert_eq!(other, ["mem_free_bytes{b} = 1024 @0"]);
    // It goes and comes within that time.
    let end = ["up{a} = 0 @3", "-mem_free_bytes{a} @3"];
    assert_eq!(bench.gone("a", 2), end);
    assert_eq!(bench.metrics(2, free), ["mem_free_bytes{a} = 1024 @4"]);
}

#[test]
fn no_host_runs_far_ahead_of_the_clock() {
    let mut bench = Bench::new();
    let free = |time| message(GridKind::Metrics, "a", time, r#"{"mem.free":1}"#);
    let mut heard = 0;
    for _ in 0..10_000 {
        heard += usize::from(bench.take(&free(0)).len() == 2);
    }
    assert_eq!(heard, 1001);
    assert_eq!(bench.take(&free(0)), ["overtaken"]);
    assert_eq!(bench.take(&free(1))[1], "mem_free_bytes{a} = 1024 @1001");
}

#[test]
fn a_clock_that_was_set_back_far_is_the_new_time() {
    let mut bench = Bench::new();
    let free = |time| message(GridKind::Metrics, "a", time, r#"{"mem.free":1}"#);
    bench.take(&free(100_000));
    assert_eq!(bench.take(&free(98_000)), ["overtaken"]);
    assert_eq!(bench.take(&free(40_001)), ["overtaken"]);
    assert_eq!(bench.take(&free(40_000))[0], "up{a} = 1 @40000");
    bench.gone("a", 1_000_000);
    assert_eq!(bench.take(&free(40_000))[0], "up{a} = 1 @40000");
    // Also for those that went.
    assert_eq!(bench.gone("a", -1_000_000)[0], "up{a} = 0 @-1000000");
}

#[test]
fn one_series_is_said_once_whatever_metrics_are_called() {
    let mut bench = Bench::new();
    // The second is the same series; the third is one of the collector's own.
    let clash = r#"{"a.b":1,"a_b":2,"up":3,"a.c[]":4,"a_c":5}"#;
    assert_eq!(bench.metrics(0, clash), ["a_b{a} = 1 @0", "a_c{a} = 4 @0"]);
    // The one is gone, the other says it: no end.
    assert_eq!(
        bench.metrics(1, r#"{"a.x":1,"a_b":2}"#),
        ["a_x{a} = 1 @1", "a_b{a} = 2 @1", "-a_c{a} @1"]
    );
}

#[test]
fn long_texts_are_cut_and_what_is_cut_is_no_other_series() {
    let mut bench = Bench::new();
    let text = |text: &str| format!("{{\"x\":\"{text}\"}}");
    let long = "ä".repeat(1000);
    let cut = format!("x_info{{a,\"{}\"}} = 1 @0", "ä".repeat(512));
    assert_eq!(bench.model(0, &text(&long)), [cut]);
    let again = bench.model(1, &text(&format!("{long}!")));
    assert_eq!(again.len(), 1, "{again:?}");
    // Not within a character.
    assert_eq!(bench.model(2, &text(&format!("a{long}"))).len(), 2);
    assert_eq!(bench.model(3, r#"{"x":""}"#)[0], "x_info{a} = 1 @3");
}

#[test]
fn what_engines_have_forgotten_is_not_ended() {
    let mut bench = Bench::new();
    bench.metrics(0, r#"{"fs.size[/]":1}"#);
    bench.metrics(FORGOTTEN, r#"{"cpu.percent":1}"#);
    let end = ["up{a} = 0 @300001", "-cpu_busy_ratio{a} @300001"];
    assert_eq!(bench.gone("a", FORGOTTEN + 1), end);
}

#[test]
fn history_has_its_own_time_and_no_word_of_up() {
    let mut bench = Bench::new();
    bench.up("a", 1_000_000);
    assert_eq!(
        bench.history(
            "a",
            5,
            &[
                r#"{"cpu.percent":50}"#,
                r#"{"fs.size[/]":1,"fs.size[/mnt]":2}"#
            ]
        ),
        [
            "cpu_busy_ratio{a} = 0.5 @5",
            "fs_size_bytes{a,/} = 1 @5",
            "fs_size_bytes{a,/mnt} = 2 @5",
        ]
    );
    // Families that are said again, and those that are not.
    assert_eq!(
        bench.history("a", 10, &[r#"{"cpu.percent":50}"#]),
        ["cpu_busy_ratio{a} = 0.5 @10"]
    );
    assert_eq!(
        bench.history("a", 15, &[r#"{"cpu.percent":50}"#, r#"{"fs.size[/]":1}"#]),
        [
            "cpu_busy_ratio{a} = 0.5 @15",
            "fs_size_bytes{a,/} = 1 @15",
            "-fs_size_bytes{a,/mnt} @15",
        ]
    );
    // Its end is 1 ms after its last sample, that it is down is of now.
    assert_eq!(
        bench.gone("a", 1_030_000),
        [
            "up{a} = 0 @1030000",
            "-cpu_busy_ratio{a} @16",
            "-fs_size_bytes{a,/} @16",
        ]
    );
    // What waited at the host comes later, and is newer than its end, as others go.
    bench.hear(GridKind::Metrics, "b", 2_000_000, r#"{"mem.free":1}"#);
    bench.gone("b", 2_000_005);
    assert_eq!(bench.up("a", 2_000_010), ["up{a} = 1 @2000010"]);
    assert_eq!(
        bench.history("a", 20, &[r#"{"cpu.percent":50}"#]),
        ["cpu_busy_ratio{a} = 0.5 @20"]
    );
}

#[test]
fn history_that_goes_back_is_moved_and_counted_beyond_an_interval() {
    let mut bench = Bench::new();
    let free = [r#"{"mem.free":1}"#];
    bench.history("a", 0, &free);
    bench.history("a", 5000, &free);
    // Twice at the same time, and back by less than an interval.
    assert_eq!(
        bench.history("a", 5000, &free),
        ["mem_free_bytes{a} = 1024 @5001"]
    );
    bench.history("a", 10_000, &free);
    assert_eq!(
        bench.history("a", 6000, &free),
        ["mem_free_bytes{a} = 1024 @10001"]
    );
    bench.history("a", 15_000, &free);
    assert_eq!(
        bench.history("a", -100_000, &free),
        ["mem_free_bytes{a} = 1024 @15001", "moved"]
    );
    // None is dropped, however many there are.
    for more in 2..3000 {
        let expected = format!("mem_free_bytes{{a}} = 1024 @{}", 15_000 + more);
        assert_eq!(bench.history("a", -100_000, &free)[0], expected);
    }
    assert_eq!(
        bench.history("a", 20_000, &free),
        ["mem_free_bytes{a} = 1024 @20000"]
    );
    // Without anything in it, it is no sample.
    assert!(bench.history("a", 0, &[]).is_empty());
}

#[test]
fn that_a_host_is_up_has_a_time_of_its_own() {
    let mut bench = Bench::new();
    assert_eq!(bench.up("a", 5), ["up{a} = 1 @5"]);
    bench.history("a", 1_000_000, &[r#"{"mem.free":1}"#]);
    assert!(bench.up("a", 5).is_empty());
    assert!(bench.up("a", 3).is_empty());
    assert_eq!(bench.up("a", 6), ["up{a} = 1 @6"]);
    // The collector's clock was set back.
    assert_eq!(bench.up("a", -100_000), ["up{a} = 1 @-100000"]);
    assert_eq!(bench.gone("a", -100_000)[0], "up{a} = 0 @-99999");
}

#[test]
fn a_model_of_a_host_on_history_goes_with_its_next_sample() {
    let mut bench = Bench::new();
    bench.history("a", 5, &[r#"{"sys.uptime":1}"#]);
    let model = |text: &str| {
        let json = format!(r#"{{"host.os":"{text}","sys.uptime":7}}"#);
        message(GridKind::Model, "a", 1_000_000, &json)
    };
    assert!(bench.take(&model("Debian 12")).is_empty());
    assert_eq!(
        bench.history("a", 10, &[r#"{"sys.uptime":2}"#]),
        [
            "sys_uptime_seconds{a} = 2 @10",
            "host_os_info{a,\"Debian 12\"} = 1 @10",
        ]
    );
    assert!(bench.take(&model("Debian 13")).is_empty());
    assert_eq!(
        bench.history("a", 15, &[r#"{"sys.uptime":3}"#]),
        [
            "sys_uptime_seconds{a} = 3 @15",
            "-host_os_info{a,\"Debian 12\"} @15",
            "host_os_info{a,\"Debian 13\"} = 1 @15",
        ]
    );
}

#[test]
fn a_metric_in_two_grids_of_a_sample_is_said_once() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.history(
            "a",
            5,
            &[r#"{"mem.free":1}"#, r#"{"mem.free":2,"mem.total":3}"#]
        ),
        [
            "mem_free_bytes{a} = 1024 @5",
            "mem_total_bytes{a} = 3072 @5"
        ]
    );
}

#[test]
fn a_host_may_change_its_wire() {
    let mut bench = Bench::new();
    let free = r#"{"mem.free":1}"#;
    bench.metrics(1000, free);
    assert_eq!(
        bench.history("a", 2000, &[free]),
        ["mem_free_bytes{a} = 1024 @2000"]
    );
    assert_eq!(
        bench.metrics(2500, free),
        ["mem_free_bytes{a} = 1024 @2500"]
    );
    // What is older than what was sent.
    let moved = bench.history("a", 100, &[free]);
    assert_eq!(moved, ["mem_free_bytes{a} = 1024 @2501", "moved"]);
}

/// Its series end after its last sample, by whichever clock that was.
#[test]
fn a_host_that_left_the_second_wire_ends_after_its_last_sample() {
    let mut bench = Bench::new();
    let free = r#"{"mem.free":1}"#;
    bench.metrics(10_000, free);
    assert_eq!(
        bench.history("a", 100, &[free]),
        ["mem_free_bytes{a} = 1024 @10001", "moved"]
    );
    // Too old to be told, and the host is on the first wire again.
    let item = message(GridKind::Metrics, "a", 9001, free);
    let taken: Result<_, Infallible> = bench.tracker.take(&item, &mut |_| Ok(()));
    assert_eq!(taken, Ok(Taken::Overtaken));
    let ended = bench.gone("a", 9000);
    assert!(
        ended.iter().all(|line| line.ends_with("@10002")),
        "{ended:?}"
    );
}

#[test]
fn an_error_of_the_receiver_ends_it() {
    let mut tracker = Tracker::default();
    let item = message(GridKind::Metrics, "a", 0, r#"{"mem.free":1}"#);
    let mut calls = 0;
    let taken = tracker.take(&item, &mut |_| {
        calls += 1;
        Err("stop")
    });
    assert_eq!((taken, calls), (Err("stop"), 1));
}

#[derive(Clone, Debug)]
enum Step {
    Message {
        host: usize,
        model: bool,
        names: BTreeSet<usize>,
        texts: usize,
        passed: i64,
    },
    Gone {
        host: usize,
        passed: i64,
    },
    /// Of the time that the host's clock shows, which passes on its own.
    History {
        host: usize,
        grids: Vec<BTreeSet<usize>>,
        passed: i64,
    },
    Up {
        host: usize,
        passed: i64,
    },
}

/// Known and made up, of several families, some the same series.
const NAMES: &[&str] = &[
    "cpu.percent",
    "mem.free",
    "mem.total",
    "sys.uptime",
    "fs.size[/]",
    "fs.size[/mnt]",
    "fs.size[]",
    "fs.size",
    "fs_size",
    "a.b",
    "a_b",
    "a-b",
    "a.b[x]",
    "a_b[x]",
    "up",
    "metrics.agent.up",
    "x.total",
];

const TEXTS: &[&str] = &["host.os", "host.kernel", "b.t", "b_t"];

fn step() -> impl Strategy<Value = Step> {
    let names = prop::collection::btree_set(0..NAMES.len(), 0..NAMES.len());
    let grids = prop::collection::vec(names.clone(), 0..4);
    // Now and then back, or not at all.
    let passed = prop_oneof![3 => 0..10_000_i64, 1 => -900..=0_i64, 1 => Just(0)];
    prop_oneof![
        8 => (0..2_usize, any::<bool>(), names, 0..4_usize, passed.clone()).prop_map(
            |(host, model, names, texts, passed)| Step::Message { host, model, names, texts, passed },
        ),
        1 => (0..2_usize, passed.clone()).prop_map(|(host, passed)| Step::Gone { host, passed }),
        8 => (0..2_usize, grids, -50_000..10_000_i64)
            .prop_map(|(host, grids, passed)| Step::History { host, grids, passed }),
        2 => (0..2_usize, passed).prop_map(|(host, passed)| Step::Up { host, passed }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_series_goes_on_in_time_and_ends_with_its_host(steps in prop::collection::vec(step(), 1..40)) {
        let mut tracker = Tracker::default();
        let mut now = T;
        // What the hosts' own clocks show: behind, as what waited comes late.
        let mut own = [T - 200_000; 2];
        let mut on_history = [false; 2];
        // The last time of each series, and whether it goes on.
        let mut series: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        for step in &steps {
            let (item, expected) = match step {
                Step::Message { host, model, names, texts, passed } => {
                    now += passed;
                    let mut pairs: Vec<_> = names.iter().map(|n| format!("\"{}\":{n}", NAMES[*n])).collect();
                    let kind = if *model { GridKind::Model } else { GridKind::Metrics };
                    on_history[*host] &= *model;
                    // It goes with the next sample then.
                    let waits = on_history[*host];
                    if *model {
                        pairs.extend(TEXTS.iter().map(|name| format!("\"{name}\":\"text {texts}\"")));
                    }
                    let host = ["a", "b"][*host];
                    let item = message(kind, host, now - T, &format!("{{{}}}", pairs.join(",")));
                    let Item::Message { grid, .. } = &item else { unreachable!() };
                    let mut naming = naming::Naming::default();
                    let named = grid.iter().filter(|(name, value)| naming.series(name, *value).is_some());
                    let count = named.count();
                    (item, Some(if waits { 0 } else { count }))
                }
                Step::Gone { host, passed } => {
                    now += passed;
                    on_history[*host] = false;
                    (gone(["a", "b"][*host], now - T), None)
                }
                Step::History { host, grids, passed } => {
                    own[*host] = now.min(own[*host] + passed);
                    on_history[*host] |= !grids.is_empty();
                    let grids: Vec<_> = grids.iter().map(|names| {
                        let pairs: Vec<_> = names.iter().map(|n| format!("\"{}\":{n}", NAMES[*n])).collect();
                        format!("{{{}}}", pairs.join(","))
                    }).collect();
                    let grids: Vec<_> = grids.iter().map(String::as_str).collect();
                    (history(["a", "b"][*host], own[*host] - T, &grids), Some(0))
                }
                Step::Up { host, passed } => {
                    now += passed;
                    on_history[*host] = true;
                    let host = ["a", "b"][*host].into();
                    (Item::Up { host, time: now }, Some(0))
                }
            };
            let mut values = 0;
            let mut wrong = None;
            let taken: Result<Taken, Infallible> = tracker.take(&item, &mut |sample| {
                let key = format!("{} {} {:?} {:?}", sample.host, sample.name, sample.instance, sample.text);
                let stale = sample.value.to_bits() == STALE;
                if matches!(item, Item::History { .. }) && sample.name == UP.name {
                    wrong = Some(format!("{key} is not of history"));
                }
                let before = series.insert(key.clone(), (sample.time, !stale && sample.name != UP.name));
                match before {
                    Some((time, _)) if time >= sample.time => wrong = Some(format!("{key} goes back")),
                    // It ends what goes on, and nothing else; what is said by two metrics
                    // in turn may end twice.
                    None if stale => wrong = Some(format!("{key} ends and never was")),
                    _ => {}
                }
                values += usize::from(!stale && sample.name != UP.name);
                Ok(())
            });
            prop_assert_eq!(wrong, None);
            let Ok(taken) = taken;
            match (taken, expected) {
                // Each metric that has a name, and what is repeated of the model.
                (Taken::Sampled | Taken::Moved, Some(count)) => prop_assert!(values >= count, "{} < {}", values, count),
                (Taken::Sampled | Taken::Moved, None) => {
                    prop_assert_eq!(values, 0);
                    let own = format!("{} ", item.host());
                    let left: Vec<_> = series.iter()
                        .filter(|(key, (_, on))| *on && key.starts_with(&own))
                        // What engines have forgotten needs no end.
                        .filter(|(_, (time, _))| now - time < FORGOTTEN - 1000)
                        .collect();
                    prop_assert!(left.is_empty(), "{left:?}");
                }
                (Taken::Overtaken, _) => prop_assert_eq!(values, 0),
            }
        }
    }
}
