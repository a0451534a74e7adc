use std::collections::BTreeSet;

use super::*;

/// Every family of the table. Dashboards, rules and queries of others rely on these names:
/// one that changes breaks them.
const NAMES: &str = include_str!("names.txt");

fn named(name: &str, value: Value<'_>) -> String {
    let Some(series) = series(name, value) else {
        return "none".to_owned();
    };
    let instance = series
        .instance
        .map(|(name, value)| format!("{name}={value}"));
    let text = series.text.map(|text| format!("{TEXT}={text}"));
    let labels: Vec<_> = instance.into_iter().chain(text).collect();
    let name = series.family.name.strip_prefix(NAMESPACE).unwrap();
    format!(
        "{name}{{{}}} {} {}",
        labels.join(","),
        series.number,
        match series.family.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Info => "info",
        }
    )
}

/// Dashboards and alerts rely on a name once it is released: names.txt has those, and gets the new
/// ones with each release.
#[test]
fn no_name_that_was_released_is_changed() {
    let lines: Vec<_> = known()
        .map(|family| {
            let row = ROWS.iter().find(|row| row.family == *family).unwrap();
            let label = row
                .label
                .map_or_else(String::new, |label| format!("{{{label}}}"));
            format!("{}{label}", family.name)
        })
        .collect();
    for name in NAMES.lines() {
        assert!(lines.iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn every_row_has_a_valid_name_of_its_own() {
    let names: BTreeSet<_> = known().map(|family| &family.name).collect();
    assert_eq!(names.len(), METRICS.len());
    for family in known().chain([&*UP, &*LAST_SEEN]) {
        let name = family.name.strip_prefix(NAMESPACE).unwrap();
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()), "{name}");
        assert!(
            name.chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_')),
            "{name}"
        );
        let words: Vec<_> = family.name.split('_').collect();
        let unique: BTreeSet<_> = words.iter().collect();
        assert_eq!(words.len(), unique.len(), "{name} has a word twice");
        assert_eq!(
            name.ends_with("_total"),
            family.kind == Type::Counter,
            "{name}"
        );
        assert_eq!(name.ends_with("_info"), family.kind == Type::Info, "{name}");
        assert!(!family.help.contains(['\n', '\\']), "{name}");
        assert_eq!(
            RESERVED.get(family.name.as_str()),
            Some(&family.name.as_str())
        );
    }
    for metric in METRICS {
        let label = metric.instance.unwrap_or("none");
        assert!(![HOST, ITEM, TEXT].contains(&label), "{}", metric.name);
        assert!(label.chars().all(|c| c.is_ascii_lowercase()), "{label}");
        let (base, _) = base_unit(metric.unit);
        assert_eq!(
            base.is_empty(),
            metric.unit.is_empty(),
            "no base unit of {}",
            metric.unit
        );
    }
}

#[test]
fn values_are_in_base_units() {
    let number = Value::Unsigned;
    for (name, value, series) in [
        (
            "sys.uptime",
            Value::Float(12.5),
            "sys_uptime_seconds{} 12.5 gauge",
        ),
        ("mem.total", number(2), "mem_total_bytes{} 2048 gauge"),
        (
            "mem.swap.in.total",
            number(1),
            "mem_swap_in_bytes_total{} 1024 counter",
        ),
        (
            "cpu.percent",
            Value::Float(12.3),
            "cpu_busy_ratio{} 0.123 gauge",
        ),
        (
            "cpu.core.user.total[0]",
            number(1250),
            "cpu_core_user_seconds_total{cpu=0} 1.25 counter",
        ),
        (
            "pressure.some.total[io]",
            number(7),
            "pressure_some_seconds_total{resource=io} 0.000007 counter",
        ),
        (
            "disk.read.bytes.total[sda]",
            number(u64::MAX),
            "disk_read_bytes_total{device=sda} 18446744073709551615 counter",
        ),
        (
            "net.speed[eth0]",
            number(1000),
            "net_speed_bytes_per_second{interface=eth0} 125000000 gauge",
        ),
        (
            "agent.bytes.sent.total",
            number(9),
            "self_sent_bytes_total{} 9 counter",
        ),
        (
            "host.os",
            Value::Text("Debian"),
            "host_os_info{value=Debian} 1 info",
        ),
        (
            "host.disk[sda]",
            Value::Text("X"),
            "host_disk_info{device=sda,value=X} 1 info",
        ),
    ] {
        assert_eq!(named(name, value), series);
    }
}

#[test]
fn an_instance_is_everything_between_the_outer_brackets() {
    let one = Value::Unsigned(1);
    for (name, series) in [
        ("fs.readonly[/a]b[c]]", "fs_readonly{mount=/a]b[c]} 1 gauge"),
        ("fs.readonly[]", "fs_readonly{mount=} 1 gauge"),
        ("fs.readonly[/a\"\\b]", "fs_readonly{mount=/a\"\\b} 1 gauge"),
        ("nginx.requests[a.b]", "nginx_requests{item=a.b} 1 gauge"),
        ("fs.readonly[/a", "fs_readonly__a{} 1 gauge"),
        ("[x]", "_x_{} 1 gauge"),
    ] {
        assert_eq!(named(name, one), series);
    }
}

#[test]
fn what_is_not_in_the_table_keeps_its_name_and_value() {
    let one = Value::Unsigned(1);
    for (name, value, series) in [
        (
            "nginx.requests.total",
            one,
            "nginx_requests_total{} 1 counter",
        ),
        ("größe:a-b c", Value::Signed(-1), "gr__e_a_b_c{} -1 gauge"),
        ("0day", one, "0day{} 1 gauge"),
        ("x", Value::Text("y"), "x_info{value=y} 1 info"),
        // Not as the table has them.
        ("cpu.percent[0]", one, "cpu_percent{item=0} 1 gauge"),
        (
            "mem.free",
            Value::Text("much"),
            "mem_free_info{value=much} 1 info",
        ),
        ("host.os", one, "host_os{} 1 gauge"),
        ("fs.size", one, "fs_size{} 1 gauge"),
    ] {
        assert_eq!(named(name, value), series);
    }
}

#[test]
fn no_metric_takes_the_place_of_a_family_that_is_described() {
    let one = Value::Unsigned(1);
    for name in [
        "up",
        "last.seen.timestamp.seconds",
        "mem.free.bytes",
        "mem_free_bytes",
        "disk.read.time.seconds.total[sda]",
        // Without its instance.
        "systemd.state",
    ] {
        assert_eq!(series(name, one), None, "{name}");
    }
    assert_eq!(series("host.os[x]", Value::Text("y")), None);
}

#[test]
fn the_first_of_two_that_fall_together_is_taken() {
    let one = Value::Unsigned(1);
    let mut naming = Naming::default();
    assert!(naming.series("a.b", one).is_some());
    assert!(naming.series("a_b", one).is_none());
    assert!(naming.series("a.b[1]", one).is_some());
    assert!(naming.series("a_b[1]", one).is_none());
    // The text does not tell them apart.
    assert!(naming.series("t.x", Value::Text("1")).is_some());
    assert!(naming.series("t_x", Value::Text("2")).is_none());
    assert!(naming.series("up", one).is_none());
    assert!(naming.series("mem.free", one).is_some());
    assert_eq!(naming.clashes(), 4);
    naming.begin();
    assert!(naming.series("a_b", one).is_some());
    assert_eq!(naming.clashes(), 4);
}

#[test]
fn what_is_too_large_is_named() {
    let text = br#"{"mem.total": 1e308, "mem.free": 1e303, "load.1": 1e308, "cpu.percent": -1e308, "x": 1.7e308}"#;
    let grid = Grid::parse(text, crate::protocol::message::GridKind::Metrics).unwrap();
    let named: Vec<_> = too_large(&grid).collect();
    assert_eq!(named, ["mem.total"]);
}

#[test]
fn what_no_conversion_survives_is_left_out() {
    for (name, left) in [
        // kB and Mbit/s become bytes.
        ("mem.total", "none"),
        ("net.speed[eth0]", "none"),
        ("made.up", "made_up{} 1e308 gauge"),
    ] {
        assert_eq!(named(name, Value::Float(1e308)), left, "{name}");
    }
    let mut naming = Naming::default();
    assert_eq!(naming.series("mem.total", Value::Float(-1e308)), None);
    assert_eq!(naming.clashes(), 1);
}

/// What is counted beforehand is no less than what is written, and not much more.
#[test]
fn the_size_of_a_text_is_known_beforehand() {
    use crate::collector::prometheus::text;
    use crate::protocol::message::GridKind;

    let grid = r#"{"mem.free": 18446744073709551615, "mem.total": 1, "cpu.percent": 12.345678901234567,
        "fs.size[/a\\\"b]": 5, "fs.size[/]": 18446744073709551615, "host.os": "Deb\\ian \"12\"\n",
        "made up": -9223372036854775808, "mé": -2.2250738585072014e-308, "m[é]": 7,
        "t": "\n\n\n", "cpu.user.total": 1, "cpu.time": 2, "a": 1}"#;
    let grid = Grid::parse(grid.as_bytes(), GridKind::Model).unwrap();
    for host in ["a", r#"with "quotes" and \"#, &"long".repeat(60)] {
        let (mut bytes, mut names) = (0, Vec::new());
        for_each_text(host, &grid, |name, more| {
            bytes += more;
            names.extend(name.map(str::to_owned));
        });
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let mut out = Vec::new();
        let mut heads = BTreeSet::new();
        for (name, value) in grid.iter() {
            let series = series(name, value).unwrap();
            if !series.is_known() && heads.insert(series.family.name.clone()) {
                let Family { name, kind, help } = &*series.family;
                text::head(&mut out, name, *kind, help);
            }
            text::host_series(&mut out, &text::escaped(host), &series);
        }
        assert!(bytes >= out.len(), "{bytes} for {}", out.len());
        assert!(bytes <= out.len() * 3 / 2, "{bytes} for {}", out.len());
    }
}
