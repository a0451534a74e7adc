use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::collector::access::Listener;
use crate::collector::history::History;
use crate::collector::hosts::snapshot::MessageCounts;
use crate::collector::prometheus::own::{
    DROPPED, HANDSHAKES_REFUSED, HOST_BEHIND, HOST_CLOCK, KEPT_BACK, LOG_LOST, MESSAGES,
    PUBLISH_DROPPED, PUBLISH_READERS, REFUSED, SHARED, VIEWER_LOST, VIEWER_REFUSED, VIEWER_SENT,
    VIEWERS, of_history, of_listener, of_process, of_target,
};
use crate::collector::push::TargetStatus;
use crate::collector::schemas::HostGrid;
use crate::curve::router::Load;
use crate::metrics::Kind;
use crate::metrics::LatestMetrics;
use crate::metrics::table::METRICS;
use crate::protocol::grid::{Grid, MAX_TEXT_BYTES};
use crate::protocol::message::GridKind;

fn host(name: &str, presence: Presence, model: &str, metrics: &[&str]) -> HostSnapshot {
    let grid =
        |text: &str, kind| Arc::new(HostGrid::from(Grid::parse(text.as_bytes(), kind).unwrap()));
    let metrics = metrics.iter().map(|text| grid(text, GridKind::Metrics));
    HostSnapshot {
        name: name.into(),
        presence,
        silence: Duration::from_millis(1500),
        since: SystemTime::UNIX_EPOCH,
        counts: MessageCounts {
            messages: 7,
            comebacks: 2,
            shared: 0,
        },
        last_metrics: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(999_990)),
        key: None,
        several_hosts: None,
        address: None,
        os: None,
        model: (!model.is_empty()).then(|| grid(model, GridKind::Model)),
        metrics: LatestMetrics::of(Instant::now(), metrics),
    }
}

fn snapshot(hosts: Vec<HostSnapshot>) -> Snapshot {
    Snapshot {
        hosts,
        taken: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
    }
}

fn rendered(snapshot: Snapshot, figures: Vec<Figure>) -> String {
    let mut exposition = Exposition::begin(snapshot, figures);
    let mut all = Vec::new();
    let mut piece = Vec::new();
    loop {
        let last = exposition.fill(&mut piece);
        all.append(&mut piece);
        if last {
            return String::from_utf8(all).unwrap();
        }
    }
}

/// The lines on the families whose names begin like this.
fn lines<'a>(text: &'a str, family: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| {
            let name = line.strip_prefix("# HELP ").unwrap_or(line);
            let name = name.strip_prefix("# TYPE ").unwrap_or(name);
            name.starts_with(family)
        })
        .collect()
}

/// Each family has one head and stands together, families are sorted, no series comes twice.
fn well_formed(text: &str) {
    let mut seen = HashSet::new();
    let mut families = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let rest = line.strip_prefix("# HELP ").expect(line);
        let (name, _) = rest.split_once(' ').expect(line);
        let kind = lines.next().unwrap();
        assert!(kind.starts_with(&format!("# TYPE {name} ")), "{kind}");
        families.push(name);
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (series, number) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(series), "{series} comes twice");
            let of = series.split_once('{').map_or(series, |(name, _)| name);
            assert_eq!(of, name);
            number.parse::<f64>().expect(line);
        }
    }
    assert!(families.is_sorted());
    let unique: HashSet<_> = families.iter().collect();
    assert_eq!(unique.len(), families.len());
    assert!(text.ends_with('\n'));
}

/// A grid with every metric of the table that such messages hold.
fn every_metric(kind: GridKind) -> String {
    let mut json = "{".to_owned();
    for metric in METRICS {
        let held = match kind {
            GridKind::Metrics => metric.in_metrics,
            GridKind::Model => metric.in_model,
        };
        let value = if metric.kind == Kind::Info {
            r#""text""#
        } else {
            "12345678"
        };
        let instances = metric.instance.map_or(vec![String::new()], |word| {
            vec![format!("[{word}0]"), format!("[{word}1]")]
        });
        for instance in instances.iter().filter(|_| held) {
            write!(json, r#""{}{instance}":{value},"#, metric.name).unwrap();
        }
    }
    json.pop();
    json + "}"
}

/// Debian's package `prometheus` has it.
fn promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of the package prometheus, see tests/dependencies");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(text.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let (model, metrics) = (
        every_metric(GridKind::Model),
        every_metric(GridKind::Metrics),
    );
    let cloned = HostSnapshot {
        counts: MessageCounts {
            messages: 7,
            comebacks: 2,
            shared: 1,
        },
        last_metrics: None,
        ..host("b", Presence::Reporting, &model, &[&metrics])
    };
    let hosts = vec![
        host("a", Presence::Reporting, &model, &[&metrics]),
        cloned,
        host("c", Presence::Gone, "", &[]),
    ];
    let mut figures = of_process(SystemTime::UNIX_EPOCH);
    let plain = [
        &MESSAGES,
        &REFUSED,
        &DROPPED,
        &SHARED,
        &HANDSHAKES_REFUSED,
        &VIEWERS,
        &VIEWER_SENT,
        &VIEWER_LOST,
        &VIEWER_REFUSED,
        &PUBLISH_READERS,
        &PUBLISH_DROPPED,
        &LOG_LOST,
    ];
    figures.extend(plain.map(|family| Figure::plain(family, 1)));
    for (name, last_success) in [("a", None), ("b", Some(SystemTime::UNIX_EPOCH))] {
        figures.extend(of_target(&TargetStatus {
            name: name.parse().unwrap(),
            url: String::new(),
            sent: 1,
            failed: 2,
            dropped: 3,
            queued: 4,
            failing: true,
            last_error: Some("x".to_owned()),
            last_success,
            moved: 0,
            acknowledge: true,
        }));
    }
    for listener in Listener::ALL {
        figures.extend(of_listener(listener, &Load::default()));
    }
    figures.push(Figure::plain(&KEPT_BACK, 1));
    figures.extend(of_history(&History::default()));
    figures.extend([&HOST_BEHIND, &HOST_CLOCK].map(|of| Figure::labelled(of, "a", 1)));
    let text = rendered(snapshot(hosts), figures);
    well_formed(&text);
    promtool(&text);
    // Every family is there, and those of the collector's own.
    for family in crate::collector::prometheus::naming::known() {
        let head = format!("# HELP {} {}\n", family.name, family.help);
        assert!(text.contains(&head), "{head}");
    }
    for own in crate::collector::prometheus::own::OWN {
        assert!(
            text.contains(&format!("# HELP {} {}\n", own.name, own.help)),
            "{}",
            own.name
        );
    }
}

#[test]
fn a_host_s_series_stand_in_their_families() {
    let metrics = r#"{"cpu.percent":12.5,"fs.size[/]":18446744073709551615,"fs.size[/a b]":2}"#;
    let hosts = vec![
        host(
            "a.example",
            Presence::Reporting,
            r#"{"host.os":"Debian \"12\"","mem.total":2}"#,
            &[metrics],
        ),
        host(
            "b",
            Presence::Reporting,
            "",
            &[r#"{"cpu.percent":1}"#, r#"{"fs.size[/]":1}"#],
        ),
    ];
    let text = rendered(snapshot(hosts), Vec::new());
    well_formed(&text);
    assert_eq!(
        lines(&text, "metrics_agent_"),
        [
            "# HELP metrics_agent_cpu_busy_ratio Share of time that the CPUs were busy since the previous reading, over all of them",
            "# TYPE metrics_agent_cpu_busy_ratio gauge",
            r#"metrics_agent_cpu_busy_ratio{host="a.example"} 0.125"#,
            r#"metrics_agent_cpu_busy_ratio{host="b"} 0.01"#,
            "# HELP metrics_agent_fs_size_bytes Size of the file system",
            "# TYPE metrics_agent_fs_size_bytes gauge",
            r#"metrics_agent_fs_size_bytes{host="a.example",mount="/"} 18446744073709551615"#,
            r#"metrics_agent_fs_size_bytes{host="a.example",mount="/a b"} 2"#,
            r#"metrics_agent_fs_size_bytes{host="b",mount="/"} 1"#,
            "# HELP metrics_agent_host_os_info Name of the operating system, for people",
            "# TYPE metrics_agent_host_os_info gauge",
            r#"metrics_agent_host_os_info{host="a.example",value="Debian \"12\""} 1"#,
            "# HELP metrics_agent_last_seen_timestamp_seconds When the host was last heard from, in seconds since 1970",
            "# TYPE metrics_agent_last_seen_timestamp_seconds gauge",
            r#"metrics_agent_last_seen_timestamp_seconds{host="a.example"} 999998.5"#,
            r#"metrics_agent_last_seen_timestamp_seconds{host="b"} 999998.5"#,
            "# HELP metrics_agent_mem_total_bytes Usable memory",
            "# TYPE metrics_agent_mem_total_bytes gauge",
            r#"metrics_agent_mem_total_bytes{host="a.example"} 2048"#,
            "# HELP metrics_agent_up 1 where the host reports, 0 where it is expected to or gone",
            "# TYPE metrics_agent_up gauge",
            r#"metrics_agent_up{host="a.example"} 1"#,
            r#"metrics_agent_up{host="b"} 1"#,
        ]
    );
}

#[test]
fn a_host_that_does_not_report_has_no_values() {
    let metrics = r#"{"cpu.percent":12.5}"#;
    let model = r#"{"host.os":"Debian"}"#;
    let hosts = vec![
        host("expected", Presence::Expected, model, &[metrics]),
        host("gone", Presence::Gone, model, &[metrics]),
    ];
    let text = rendered(snapshot(hosts), Vec::new());
    well_formed(&text);
    let series: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        series,
        [
            r#"metrics_agent_last_seen_timestamp_seconds{host="expected"} 999998.5"#,
            r#"metrics_agent_last_seen_timestamp_seconds{host="gone"} 999998.5"#,
            r#"metrics_agent_up{host="expected"} 0"#,
            r#"metrics_agent_up{host="gone"} 0"#,
            concat!(
                "metrics_collector_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            r#"metrics_collector_host_comebacks_total{host="expected"} 2"#,
            r#"metrics_collector_host_comebacks_total{host="gone"} 2"#,
            r#"metrics_collector_host_last_metrics_timestamp_seconds{host="expected"} 999990"#,
            r#"metrics_collector_host_last_metrics_timestamp_seconds{host="gone"} 999990"#,
            r#"metrics_collector_hosts{presence="reporting"} 0"#,
            r#"metrics_collector_hosts{presence="expected"} 1"#,
            r#"metrics_collector_hosts{presence="gone"} 1"#,
            "metrics_collector_metrics_left_out 0",
        ]
    );
}

#[test]
fn what_both_messages_have_comes_from_the_metrics_alone() {
    let hosts = vec![
        // Its metrics have not come yet, or are not current any more.
        host("a", Presence::Reporting, r#"{"sys.uptime":1,"x.y":1}"#, &[]),
        host(
            "b",
            Presence::Reporting,
            r#"{"sys.uptime":1,"x.y":1}"#,
            &[r#"{"sys.uptime":2,"x.y":2}"#],
        ),
    ];
    let text = rendered(snapshot(hosts), Vec::new());
    well_formed(&text);
    let series = |family| -> Vec<_> { lines(&text, family).split_off(2) };
    assert_eq!(
        series("metrics_agent_sys_uptime_seconds"),
        [r#"metrics_agent_sys_uptime_seconds{host="b"} 2"#]
    );
    assert_eq!(
        series("metrics_agent_x_y"),
        [
            r#"metrics_agent_x_y{host="a"} 1"#,
            r#"metrics_agent_x_y{host="b"} 2"#
        ]
    );
    assert!(text.contains("metrics_collector_metrics_left_out 0\n"));
}

#[test]
fn names_that_fall_together_come_once_and_are_counted() {
    let metrics = r#"{"one two":1,"one-two":2,"one.two":3,"one.two[i]":4,"one_two[i]":5,"up":0,"mem_free_bytes":1,
        "three.total":1,"cpu.percent":1}"#;
    let model =
        r#"{"one_two":6,"q":"1","q[\"]":"2","three_total":7,"cpu.percent[]":1,"cpu-percent":"x"}"#;
    let hosts = vec![
        host("a", Presence::Reporting, model, &[metrics]),
        host("b", Presence::Reporting, model, &[metrics]),
    ];
    let text = rendered(snapshot(hosts), Vec::new());
    well_formed(&text);
    promtool(&text);
    assert!(
        text.contains("metrics_agent_one_two{host=\"b\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("metrics_agent_one_two{host=\"b\",item=\"i\"} 4\n"));
    assert!(text.contains("metrics_agent_cpu_percent{host=\"b\",item=\"\"} 1\n"));
    // Of each: one-two, one.two, one_two[i], up, mem_free_bytes, one_two and three_total.
    assert!(
        text.contains("metrics_collector_metrics_left_out 14\n"),
        "{text}"
    );
}

#[test]
fn it_comes_in_pieces_of_a_bounded_size() {
    let text = "\\u0001\\\"".repeat(MAX_TEXT_BYTES / 8);
    let mut model = String::from("{");
    for number in 0..100 {
        write!(model, r#""made.up[{number}]":"{text}","#).unwrap();
    }
    model.pop();
    model.push('}');
    let hosts: Vec<_> = (0..20)
        .map(|number| host(&format!("h{number:02}"), Presence::Reporting, &model, &[]))
        .collect();
    let whole = rendered(snapshot(hosts.clone()), Vec::new());
    well_formed(&whole);
    let mut exposition = Exposition::begin(snapshot(hosts), Vec::new());
    let mut joined = Vec::new();
    let mut piece = Vec::new();
    let mut pieces = 0;
    loop {
        let last = exposition.fill(&mut piece);
        assert!(
            piece.len() < PIECE_BYTES + 3 * MAX_TEXT_BYTES,
            "{}",
            piece.len()
        );
        joined.append(&mut piece);
        pieces += 1;
        if last {
            break;
        }
        assert!(joined.ends_with(b"\n"));
    }
    assert!(pieces > whole.len() / PIECE_BYTES / 2);
    assert_eq!(joined, whole.into_bytes());
    assert!(exposition.fill(&mut piece) && piece.is_empty());
}

#[test]
fn no_host_reports() {
    let text = rendered(snapshot(Vec::new()), Vec::new());
    well_formed(&text);
    promtool(&text);
    let hosts: BTreeMap<_, _> = lines(&text, "metrics_collector_hosts{")
        .into_iter()
        .map(|line| line.rsplit_once(' ').unwrap())
        .collect();
    assert_eq!(hosts.into_values().collect::<Vec<_>>(), ["0", "0", "0"]);
    assert!(!text.contains("metrics_agent_"));
}
