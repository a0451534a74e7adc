use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use proptest::prelude::*;

use crate::agent::settings::load;
use crate::agent::settings::load::*;
use crate::agent::settings::testbed::{Host, KEY, mode};
use crate::config::LogLevel;
use crate::dbus::BusAddress;

fn seconds(host: &Host) -> u64 {
    host.load().unwrap().settings.intervals.metrics.as_secs()
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded
        .settings
        .collectors
        .keys()
        .map(ConnectionName::as_str)
        .collect()
}

#[test]
fn nothing_at_all_is_an_unconfigured_agent() {
    let host = Host::new();
    let loaded = host.load().unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.host_name, None);
    assert!(settings.collectors.is_empty());
    assert_eq!(settings.intervals, Intervals::DEFAULT);
    assert_eq!(settings.sources, ["uptime", "meminfo", "cpu"]);
    assert_eq!(settings.log_level, LogLevel::DEFAULT);
    assert_eq!(settings.bus, BusAddress::System);
    assert!(loaded.files.is_empty() && loaded.warnings.is_empty());
}

#[test]
fn every_setting_of_a_file_counts() {
    let host = Host::new();
    let public = host.pair("keys", "eu");
    host.etc(&format!(
        "[host]\nname = 'web1'\n[collector.main]\nendpoint = 'c.example.org'\npublic_key = '{KEY}'\n\
         [collector.\"eu.1\"]\nendpoint = '[::1]:7000'\npublic_key_file = '{}'\n\
         [intervals]\nmetrics = '100ms'\nstale = 3600\n[metrics]\nsources = ['disk']\n\
         [log]\nlevel = 'notice'\n[dbus]\nbus = 'unix:path=/run/bus'\n",
        host.at("keys/eu.key").display()
    ));
    let loaded = host.load().unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.host_name.as_ref().unwrap().as_str(), "web1");
    assert_eq!(names(&loaded), ["eu.1", "main"]);
    assert_eq!(
        settings.collectors["main"].endpoint.to_string(),
        "c.example.org:5556"
    );
    assert_eq!(settings.collectors["main"].public_key.to_string(), KEY);
    assert_eq!(
        settings.collectors["eu.1"].endpoint.to_string(),
        "[::1]:7000"
    );
    assert_eq!(settings.collectors["eu.1"].public_key, public);
    assert_eq!(settings.intervals.metrics, Duration::from_millis(100));
    assert_eq!(settings.intervals.stale, Duration::from_secs(3600));
    assert_eq!(settings.sources, ["disk"]);
    assert_eq!(settings.log_level, LogLevel::Info);
    assert_eq!(
        settings.bus,
        BusAddress::Address("unix:path=/run/bus".to_owned())
    );
    assert_eq!(loaded.files, [host.at("etc/metrics-agent.toml")]);
}

#[test]
fn each_layer_overrides_the_one_before() {
    let mut host = Host::new();
    assert_eq!(seconds(&host), 5);
    let files = [
        "usr/metrics-agent.toml",
        "etc/metrics-agent.toml",
        "usr/metrics-agent.d/10-a.toml",
        "etc/metrics-agent.d/20-b.toml",
        "usr/metrics-agent.d/30-c.toml",
    ];
    for (file, value) in files.iter().zip(11..) {
        host.write(file, format!("intervals.metrics = {value}"));
        assert_eq!(seconds(&host), value, "{file}");
    }
    host.write("etc/metrics-agent.d/30-c.toml", "intervals.stale = 7");
    assert_eq!(seconds(&host), 14, "masked by /etc");
    host.variable("INTERVALS__METRICS", "21");
    assert_eq!(seconds(&host), 21);
    host.write("state/settings.toml", "intervals.metrics = 22");
    let loaded = host.load().unwrap();
    assert_eq!(loaded.settings.intervals.metrics.as_secs(), 22);
    assert_eq!(
        loaded.settings.intervals.stale.as_secs(),
        7,
        "other keys stay"
    );
    let found: Vec<_> = loaded
        .files
        .iter()
        .map(|file| host.shown(&file.display()))
        .collect();
    assert_eq!(
        found,
        [
            "~/usr/metrics-agent.toml",
            "~/etc/metrics-agent.toml",
            "~/usr/metrics-agent.d/10-a.toml",
            "~/etc/metrics-agent.d/20-b.toml",
            "~/etc/metrics-agent.d/30-c.toml",
            "~/state/settings.toml",
        ]
    );
}

#[test]
fn a_config_file_replaces_the_systems_files() {
    let mut host = Host::new();
    host.etc("intervals.metrics = 11");
    let file = host.write("mine/agent.toml", "intervals.metrics = 12");
    host.write("mine/agent.d/1.toml", "intervals.stale = 13");
    host.inputs.config_file = Some(file.clone());
    let loaded = host.load().unwrap();
    assert_eq!(loaded.settings.intervals.metrics.as_secs(), 12);
    assert_eq!(loaded.settings.intervals.stale.as_secs(), 13);
    assert_eq!(loaded.files, [file, host.at("mine/agent.d/1.toml")]);

    host.inputs.config_file = Some(host.at("none.toml"));
    assert_eq!(
        host.problems(),
        ["~/none.toml: cannot be read: No such file or directory (os error 2)"]
    );
    host.inputs.config_file = Some(host.at("mine"));
    assert_eq!(
        host.problems(),
        ["~/mine: is a directory, a file was expected"]
    );
    host.inputs.config_file = Some("/dev/null".into());
    assert_eq!(host.load().unwrap().settings.intervals, Intervals::DEFAULT);
}

#[test]
fn a_drop_in_masked_with_dev_null_is_empty() {
    let host = Host::new();
    host.write("usr/metrics-agent.d/10-site.toml", "intervals.metrics = 11");
    host.write("etc/metrics-agent.d/x", "");
    symlink("/dev/null", host.at("etc/metrics-agent.d/10-site.toml")).unwrap();
    assert_eq!(seconds(&host), 5);
}

#[test]
fn the_environment_sets_everything() {
    let mut host = Host::new();
    host.pair("etc/curve", "eu");
    host.pair("etc/curve", "me");
    for (name, value) in [
        ("HOST__NAME", "1234"),
        ("COLLECTOR__MAIN__ENDPOINT", "a:1"),
        ("COLLECTOR__MAIN__PUBLIC_KEY", KEY),
        ("COLLECTOR__EU_1__ENDPOINT", "b"),
        ("COLLECTOR__EU_1__PUBLIC_KEY_FILE", "eu.key"),
        ("CURVE__SECRET_KEY_FILE", "me.key_secret"),
        ("INTERVALS__METRICS", "1s"),
        ("INTERVALS__STALE", "1min 30s"),
        ("METRICS__SOURCES", "uptime, cpu"),
        ("LOG__LEVEL", "debug"),
        ("DBUS__BUS", "none"),
        ("SERVICE_HOST", "10.0.0.1"),
        ("PORT", "tcp://10.0.0.1:5556"),
        ("PORT_5556_TCP_PROTO", "tcp"),
    ] {
        host.variable(name, value);
    }
    let loaded = host.load().unwrap();
    let settings = &loaded.settings;
    assert_eq!(settings.host_name.as_ref().unwrap().as_str(), "1234");
    assert_eq!(names(&loaded), ["eu_1", "main"]);
    assert_eq!(settings.intervals.stale, Duration::from_secs(90));
    assert_eq!(settings.sources, ["uptime", "cpu"]);
    assert_eq!(
        (settings.log_level, &settings.bus),
        (LogLevel::Debug, &BusAddress::None)
    );
    assert_eq!(loaded.key_file, host.at("etc/curve/me.key_secret"));

    host.variable("METRICS__SOURCES", " [\"disk\"]");
    assert_eq!(host.load().unwrap().settings.sources, ["disk"]);
    host.variable("METRICS__SOURCES", "");
    assert!(host.load().unwrap().settings.sources.is_empty());
}

#[test]
fn variables_that_are_no_good_are_named() {
    use std::os::unix::ffi::OsStringExt;
    let mut host = Host::new();
    for (name, value) in [
        ("INTERVALS_METRICS", "1s"),
        ("COLLECTOR", "x"),
        ("COLLECTOR__EU__ENDPIONT", "x"),
        ("intervals__metrics", "1s"),
        ("COLLECTOR____ENDPOINT", "x"),
        ("INTERVALS__STALE", "1d"),
        ("METRICS__SOURCES", "[1"),
    ] {
        host.variable(name, value);
    }
    let latin1 = std::ffi::OsString::from_vec(b"B\xfcro".to_vec());
    host.inputs
        .environment
        .insert("METRICS_AGENT_HOST__NAME".into(), latin1);
    let problems = host.problems();
    let expected = [
        "variable METRICS_AGENT_COLLECTOR: unknown variable; known here: METRICS_AGENT_COLLECTOR__NAME__ENDPOINT, ",
        "variable METRICS_AGENT_COLLECTOR__EU__ENDPIONT: unknown variable; did you mean \"METRICS_AGENT_COLLECTOR__EU__ENDPOINT\"?",
        "variable METRICS_AGENT_HOST__NAME: is not UTF-8 text",
        "variable METRICS_AGENT_INTERVALS_METRICS: unknown variable; did you mean \"METRICS_AGENT_INTERVALS__METRICS\"?",
        "variable METRICS_AGENT_METRICS__SOURCES: invalid array",
        "variable METRICS_AGENT_intervals__metrics: unknown variable; did you mean \"METRICS_AGENT_INTERVALS__METRICS\"?",
        "variable METRICS_AGENT_COLLECTOR__: collector.\"\": not a name for a collector: it is empty",
        "variable METRICS_AGENT_INTERVALS__STALE: intervals.stale: \"1d\" is not a time from 1s to 1h, such as \"30s\"",
    ];
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    assert_eq!(problems.len(), expected.len());
}

#[test]
fn a_collector_on_the_command_line_replaces_all_others() {
    let mut host = Host::new();
    let public = host.pair("home/.curve", "collector");
    host.pair("home/.curve", "agent");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'a'\npublic_key = '{KEY}'\n[collector.main]\nendpoint = 'b'\npublic_key = '{KEY}'"
    ));
    host.inputs.home = Some(host.at("home"));
    host.inputs.command_line.collector = Some("203.0.113.7:7000".to_owned());
    let loaded = host.load().unwrap();
    assert_eq!(names(&loaded), ["main"]);
    let main = &loaded.settings.collectors["main"];
    assert_eq!(
        (main.endpoint.to_string().as_str(), main.public_key),
        ("203.0.113.7:7000", public)
    );
    assert_eq!(loaded.key_file, host.at("home/.curve/agent.key_secret"));

    host.inputs.command_line.collector = Some("host:99999".to_owned());
    let problems = host.problems();
    assert_eq!(problems.len(), 1);
    let expected = "command line: collector.main.endpoint: \"host:99999\" is not an address such as \
                    \"tcp://collector.example.org:5556\", \"host\", \"host:port\" or \"[::1]:5556\": \
                    the port must be a number from 1 to 65535, not \"99999\"";
    assert_eq!(problems[0], expected);
}

/// A file's text, and how the message begins behind the file's name.
const MISTAKES: &[(&str, &str)] = &[
    ("host.name = 3", "1: host.name: 3 is not a host name"),
    (
        "[host]\nname = ''",
        "2: host.name: '' is not a host name of 1 to 253 bytes without control characters: it is empty",
    ),
    (
        "[host]\nname = \"a\\nb\"",
        "2: host.name: \"a\\nb\" is not a host name",
    ),
    (
        "[hosts]\nname = 'a'",
        "1: hosts: unknown key; did you mean \"host\"?",
    ),
    ("host = 'a'", "1: host: 'a' is not a table [host]"),
    (
        "[[collector]]\nendpoint = 'a'",
        "1: collector: an array of tables is not a table [collector.NAME], for example [collector.main]",
    ),
    (
        "collector = 'a'",
        "1: collector: 'a' is not a table [collector.NAME], for example [collector.main]",
    ),
    (
        "[collector]\nendpoint = 'a'",
        "2: collector.endpoint: a collector needs a name: write [collector.NAME], for example \
         [collector.main]",
    ),
    (
        "[collector.b]\nendpoint = 'b'\n[collector]\npublic_key_file = 'x'\nendpoint = 'a'",
        "4: collector.public_key_file: a collector needs a name: write [collector.NAME], for \
         example [collector.main]",
    ),
    (
        "[collector.\"a b\"]\nendpoint = 'a'",
        "1: collector.\"a b\": not a name for a collector: it contains ' '",
    ),
    (
        "[collector.a]\nendpoint = 'h:0'",
        "2: collector.a.endpoint: 'h:0' is not an address",
    ),
    (
        "[collector.a]\nendpoint = 'h:99999'",
        "2: collector.a.endpoint: 'h:99999' is not an address",
    ),
    (
        "[collector.a]\nendpoint = 5556",
        "2: collector.a.endpoint: 5556 is not an address",
    ),
    (
        "[collector.a]\nendpoints = 'h'",
        "2: collector.a.endpoints: unknown key; did you mean \"endpoint\"?",
    ),
    (
        "[collector.a]\nsecret_key_file = 'h'",
        "2: collector.a.secret_key_file: unknown key; did you mean \"curve.secret_key_file\"?",
    ),
    (
        "[collector.a]\nendpoint.host = 'h'",
        "2: collector.a.endpoint: a table is not an address",
    ),
    (
        "[collector.a]\npublic_key = 'short'",
        "2: collector.a.public_key: 'short' is not a public key of 40 Z85 characters: it has 5",
    ),
    (
        "[collector.a]\npublic_key = 7",
        "2: collector.a.public_key: 7 is not a public key",
    ),
    (
        "[collector.a]\npublic_key_file = ''",
        "2: collector.a.public_key_file: the value is not the name of a certificate file: it names no file",
    ),
    (
        "[collector.a]\npublic_key_file = 1",
        "2: collector.a.public_key_file: the value is not the name of a certificate file",
    ),
    (
        "[curve]\nsecret_key_file = 'JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6'",
        "2: curve.secret_key_file: the value is not the name of a certificate file: it is a key",
    ),
    (
        "[curve]\nsecret_key = 'x'",
        "2: curve.secret_key: unknown key; did you mean \"secret_key_file\"?",
    ),
    (
        "intervals.metrics = '99ms'",
        "1: intervals.metrics: '99ms' is not a time from 100ms to 1h, such as \"5s\"",
    ),
    (
        "intervals.metrics = '61min'",
        "1: intervals.metrics: '61min' is not a time",
    ),
    (
        "intervals.metrics = 0",
        "1: intervals.metrics: 0 is not a time",
    ),
    (
        "intervals.metrics = -5",
        "1: intervals.metrics: -5 is not a time from 100ms to 1h, such as \"5s\": a time is not negative",
    ),
    (
        "intervals.metrics = 0.5",
        "1: intervals.metrics: 0.5 is not a time",
    ),
    (
        "intervals.metrics = '5 parsecs'",
        "1: intervals.metrics: '5 parsecs' is not a time",
    ),
    (
        "intervals.metrics = ['5s']",
        "1: intervals.metrics: ['5s'] is not a time",
    ),
    (
        "intervals.metrics = 1979-05-27",
        "1: intervals.metrics: 1979-05-27 is not a time",
    ),
    (
        "intervals.stale = '999ms'",
        "1: intervals.stale: '999ms' is not a time from 1s to 1h, such as \"30s\"",
    ),
    (
        "intervals.stale = '3601s'",
        "1: intervals.stale: '3601s' is not a time",
    ),
    (
        "intervals.stale = true",
        "1: intervals.stale: true is not a time",
    ),
    (
        "metrics.sources = 'cpu'",
        "1: metrics.sources: 'cpu' is not a list of sources",
    ),
    (
        "metrics.sources = [1]",
        "1: metrics.sources: [1] is not a list of sources",
    ),
    (
        "metrics.sources = ['cpus']",
        "1: metrics.sources: no source is called \"cpus\"; did you mean \"cpu\"?",
    ),
    (
        "metrics.sources = ['gpu-load']",
        "1: metrics.sources: no source is called \"gpu-load\"; known here: cpu, disk, meminfo, uptime",
    ),
    (
        "metrics.sources = ['cpu', 'cpu']",
        "1: metrics.sources: \"cpu\" is named twice",
    ),
    (
        "metrics.intervals = 5",
        "1: metrics.intervals: unknown key; known here: agent, conntrack, cpu, ",
    ),
    (
        "metrics.disk.exclud = []",
        "1: metrics.disk.exclud: unknown key; did you mean \"exclude\"?",
    ),
    (
        "metrics.disk.per_cpu = true",
        "1: metrics.disk.per_cpu: unknown key; did you mean \"metrics.cpu.per_cpu\"?",
    ),
    (
        "metrics.cpu.per_cpu = 'maybe'",
        "1: metrics.cpu.per_cpu: 'maybe' is not true or false",
    ),
    (
        "metrics.load.interval = '10ms'",
        "1: metrics.load.interval: '10ms' is not a time from 100ms to 1day, such as \"1min\"",
    ),
    (
        "metrics.units.max = 5001",
        "1: metrics.units.max: 5001 is not a number from 0 to 5000",
    ),
    (
        "metrics.units.max = -1",
        "1: metrics.units.max: -1 is not a number from 0 to 5000",
    ),
    (
        "metrics.units.include = ['a', 'b[']",
        "1: metrics.units.include: ['a', 'b['] is not a list of shell patterns, such as \
         [\"a*\", \"b[0-9]\"]: \"b[\": invalid range pattern",
    ),
    (
        "metrics.units.exclude = 'a*'",
        "1: metrics.units.exclude: 'a*' is not a list of shell patterns",
    ),
    (
        "[log]\nlevel = 'loud'",
        "2: log.level: 'loud' is not one of \"error\", \"warning\", \"info\", \"debug\", \"trace\" (or of syslog's \"emerg\", \"alert\", \"crit\", \"err\", \"warn\", \"notice\")",
    ),
    ("[log]\nlevel = 7", "2: log.level: 7 is not one of"),
    (
        "level = 'info'",
        "1: level: unknown key; did you mean \"log.level\"?",
    ),
    (
        "[dbus]\nbus = 'sytem'",
        "2: dbus.bus: 'sytem' is not \"system\", \"session\", \"none\" or an address such as \"unix:path=/run/bus\"",
    ),
    (
        "[dbus]\nbus = false",
        "2: dbus.bus: false is not \"system\"",
    ),
    ("a = 1\na = 2", "2: "),
    ("[log]\n\nlevel = ", "3: "),
];

#[test]
fn every_mistake_names_its_line_its_key_and_what_belongs_there() {
    let host = Host::new();
    for (text, expected) in MISTAKES {
        host.etc(text);
        let problems = host.problems();
        let expected = format!("~/etc/metrics-agent.toml:{expected}");
        assert_eq!(problems.len(), 1, "{text}: {problems:#?}");
        assert!(
            problems[0].starts_with(&expected),
            "{text}:\n{}\n{expected}",
            problems[0]
        );
        assert!(
            !host.at("state").exists(),
            "nothing is written before all is right"
        );
    }
}

#[test]
fn all_mistakes_are_told_in_the_order_of_layers_and_lines() {
    let host = Host::new();
    host.write(
        "usr/metrics-agent.toml",
        "dbus.bus = 'x'\nlog.level = 'y'\nzoo = 1\n",
    );
    // Hidden by the next layer, and still reported.
    host.etc("intervals.metrics = '1d'");
    host.write("etc/metrics-agent.d/1.toml", "intervals.metrics = '1s'");
    host.write("etc/metrics-agent.d/2.toml", b"\xff");
    let problems = host.problems();
    let starts: Vec<_> = problems
        .iter()
        .map(|p| p.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        starts,
        [
            "~/usr/metrics-agent.toml:1 dbus.bus",
            "~/usr/metrics-agent.toml:2 log.level",
            "~/usr/metrics-agent.toml:3 zoo",
            "~/etc/metrics-agent.toml:1 intervals.metrics",
            "~/etc/metrics-agent.d/2.toml is not UTF-8 text",
        ]
    );
    let error = host.load().unwrap_err().to_string();
    assert!(
        error.ends_with("(and 4 more problems)") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn files_that_are_none_are_refused() {
    let host = Host::new();
    fs::create_dir_all(host.at("etc/metrics-agent.toml")).unwrap();
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.toml: is a directory, a file was expected"]
    );
    fs::remove_dir(host.at("etc/metrics-agent.toml")).unwrap();
    host.etc(&"#".repeat(300 * 1024));
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.toml: is larger than 256 KiB, which no settings are"]
    );
    host.etc("");
    fs::create_dir_all(host.at("etc/metrics-agent.d")).unwrap();
    symlink("nowhere", host.at("etc/metrics-agent.d/a.toml")).unwrap();
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.d/a.toml: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn a_collector_needs_an_endpoint_of_its_own() {
    let host = Host::new();
    host.etc(&format!("[collector.a]\npublic_key = '{KEY}'"));
    assert_eq!(
        host.problems(),
        [
            "~/etc/metrics-agent.toml:1: collector.a.endpoint: missing: set where the collector listens, \
         such as \"tcp://collector.example.org:5556\"",
        ]
    );
    host.etc(&format!(
        "[collector.a]\nendpoint='h'\npublic_key = '{KEY}'\n[collector.b]\nendpoint='H:5556'\npublic_key = '{KEY}'"
    ));
    assert_eq!(
        host.problems(),
        [
            "~/etc/metrics-agent.toml:5: collector.b.endpoint: collector a has the same endpoint: \
         a collector keeps one connection for each host",
        ]
    );
    let many = |n: usize| {
        let one = |i| format!("[collector.c{i}]\nendpoint='h{i}'\npublic_key='{KEY}'\n");
        (0..n).map(one).collect::<String>()
    };
    host.etc(&many(MAX_COLLECTORS));
    assert_eq!(
        host.load().unwrap().settings.collectors.len(),
        MAX_COLLECTORS
    );
    host.etc(&many(MAX_COLLECTORS + 1));
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.toml:1: collector: there are 17 collectors, 16 are allowed"]
    );
}

#[test]
fn of_the_two_ways_to_give_a_key_the_later_layer_counts() {
    let host = Host::new();
    let public = host.pair("etc/curve", "c");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key = '{KEY}'\npublic_key_file = 'c.key'"
    ));
    assert_eq!(
        host.problems(),
        [
            "~/etc/metrics-agent.toml:4: collector.a.public_key_file: public_key and public_key_file \
         exclude each other: leave one out",
        ]
    );
    let key = || host.load().unwrap().settings.collectors["a"].public_key;
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key = '{KEY}'"
    ));
    host.write(
        "etc/metrics-agent.d/1.toml",
        "collector.a.public_key_file = 'c.key'",
    );
    assert_eq!(key(), public);
    host.write(
        "etc/metrics-agent.d/2.toml",
        format!("collector.a.public_key = '{KEY}'"),
    );
    assert_eq!(key().to_string(), KEY);
}

#[test]
fn key_files_are_looked_for_in_order() {
    let mut host = Host::new();
    host.inputs.credentials_directory = Some(host.at("credentials"));
    host.inputs.home = Some(host.at("home"));
    host.etc("collector.a.endpoint = 'h'");
    let missing = "~/etc/metrics-agent.toml:1: collector.a.public_key: found no collector.key: looked in \
                   ~/credentials, ~/etc/curve, ~/home/.curve; put the collector's public key there, or set public_key";
    assert_eq!(host.problems(), [missing]);
    for directory in ["home/.curve", "etc/curve", "credentials"] {
        let public = host.pair(directory, "collector");
        host.pair(directory, "agent");
        let loaded = host.load().unwrap();
        assert_eq!(
            loaded.settings.collectors["a"].public_key, public,
            "{directory}"
        );
        assert_eq!(loaded.key_file, host.at(directory).join("agent.key_secret"));
        assert_eq!(loaded.generated_key, None);
    }
}

#[test]
fn key_files_that_are_no_good_are_refused() {
    let host = Host::new();
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = 'c.key'");
    let only = |text: &str| {
        let problems = host.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(problems[0].starts_with(text), "{}\n{text}", problems[0]);
    };
    let line = "~/etc/metrics-agent.toml:3: collector.a.public_key_file: ";
    only(&format!("{line}found no c.key: looked in ~/etc/curve; put"));
    fs::create_dir_all(host.at("etc/curve/c.key")).unwrap();
    only(&format!("{line}~/etc/curve/c.key: expected a regular file"));
    fs::remove_dir(host.at("etc/curve/c.key")).unwrap();
    host.write("etc/curve/c.key", "curve\n    public-key = \"short\"\n");
    only(&format!(
        "{line}~/etc/curve/c.key:2: public-key: expected 40 Z85 characters, found 5"
    ));
    host.write("etc/curve/c.key", "metadata\n");
    only(&format!("{line}~/etc/curve/c.key: expected `public-key"));
    host.write("etc/curve/c.key", vec![b'#'; 17 * 1024]);
    only(&format!(
        "{line}~/etc/curve/c.key: expected a certificate of at most"
    ));
    symlink("loop.key", host.at("etc/curve/loop.key")).unwrap();
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = 'loop.key'");
    only(&format!(
        "{line}~/etc/curve/loop.key: cannot open it: Too many levels"
    ));
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = '/nowhere/c.key'");
    only(&format!("{line}found no c.key: looked in /nowhere; put"));
}

#[test]
fn the_agents_own_key_file_must_be_there_and_secret() {
    let host = Host::new();
    host.etc("curve.secret_key_file = 'me.key_secret'");
    let line = "~/etc/metrics-agent.toml:1: curve.secret_key_file: ";
    assert_eq!(
        host.problems(),
        [format!(
            "{line}found no me.key_secret: looked in ~/etc/curve; put the certificate there, \
         or leave secret_key_file out, and a key pair is made"
        )]
    );
    let public = host.pair("etc/curve", "me");
    let loaded = host.load().unwrap();
    assert_eq!(loaded.settings.key_pair.public, public);
    assert_eq!(
        (loaded.key_file, loaded.generated_key),
        (host.at("etc/curve/me.key_secret"), None)
    );
    for exposed in [0o640, 0o604, 0o644, 0o620] {
        mode(&host.at("etc/curve/me.key_secret"), exposed);
        let problems = host.problems();
        let expected = format!(
            "{line}~/etc/curve/me.key_secret: mode {exposed:04o} lets others at the secret key"
        );
        assert!(problems[0].starts_with(&expected), "{}", problems[0]);
    }
    host.etc("curve.secret_key_file = 'me.key'");
    assert_eq!(
        host.problems(),
        [format!("{line}~/etc/curve/me.key: holds no secret key")]
    );
    assert!(!host.at("state").exists());
}

#[test]
fn a_credential_may_have_systemds_mode() {
    let mut host = Host::new();
    host.inputs.credentials_directory = Some(host.at("credentials"));
    let public = host.pair("credentials", "agent");
    let secret = host.at("credentials/agent.key_secret");
    for systemds in [0o400, 0o440] {
        mode(&secret, systemds);
        assert_eq!(host.load().unwrap().settings.key_pair.public, public);
    }
    host.etc(&format!("curve.secret_key_file = '{}'", secret.display()));
    assert_eq!(
        host.load().unwrap().settings.key_pair.public,
        public,
        "named in full"
    );
    mode(&secret, 0o444);
    assert!(host.problems()[0].contains("mode 0444 lets others"));
}

#[test]
fn a_key_pair_is_made_once_and_kept() {
    let host = Host::new();
    let secret = host.at("state/agent.key_secret");
    let checked = load(&host.inputs, KeyPolicy::ReadOnly).unwrap();
    assert_eq!((&checked.key_file, checked.generated_key), (&secret, None));
    assert!(!host.at("state").exists(), "a check writes nothing");

    let first = host.load().unwrap();
    assert_eq!(first.generated_key, Some(secret.clone()));
    assert_ne!(
        first.settings.key_pair.public,
        checked.settings.key_pair.public
    );
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    let second = host.load().unwrap();
    assert_eq!((&second.key_file, second.generated_key), (&secret, None));
    assert_eq!(
        second.settings.key_pair.public,
        first.settings.key_pair.public
    );

    // It is not replaced by another because something is wrong with it.
    mode(&secret, 0o644);
    assert!(
        host.problems()[0]
            .starts_with("default: curve.secret_key_file: ~/state/agent.key_secret: mode 0644")
    );
    fs::write(&secret, "").unwrap();
    mode(&secret, 0o600);
    assert!(host.problems()[0].contains("agent.key_secret: expected `public-key"));
}

#[test]
fn what_root_makes_belongs_to_the_owner_of_the_directory() {
    if !rustix::process::geteuid().is_root() {
        // Only root can make files for another user.
        return;
    }
    let host = Host::new();
    let state = host.at("state");
    fs::create_dir(&state).unwrap();
    std::os::unix::fs::chown(&state, Some(4242), Some(4243)).unwrap();
    host.load().unwrap();
    let settings = persistent::Persistent {
        metrics: Some(Duration::from_secs(1)),
        stale: None,
    };
    persistent::write(&state, &settings).unwrap();
    for file in ["agent.key_secret", "agent.key", "settings.toml"] {
        let about = fs::metadata(state.join(file)).unwrap();
        assert_eq!((about.uid(), about.gid()), (4242, 4243), "{file}");
    }
}

#[test]
fn by_hand_the_services_keys_are_not_there_and_for_the_service_they_must_be_readable() {
    if rustix::process::geteuid().is_root() {
        // Root reads everything.
        return;
    }
    let mut host = Host::new();
    let own = host.pair("home/.curve", "agent");
    host.pair("etc/curve", "agent");
    for (path, bits) in [("etc/curve/agent.key_secret", 0), ("etc/curve", 0)] {
        mode(&host.at(path), bits);
        host.inputs.home = None;
        let problem = &host.problems()[0];
        let expected = "default: curve.secret_key_file: ~/etc/curve/agent.key_secret: cannot open it: Permission denied";
        assert!(problem.starts_with(expected), "{problem}");
        host.inputs.home = Some(host.at("home"));
        assert_eq!(host.load().unwrap().settings.key_pair.public, own);
    }
    host.etc("collector.a.endpoint = 'h'");
    let problem = &host.problems()[0];
    assert!(
        problem.contains("looked in ~/etc/curve (permission denied), ~/home/.curve;"),
        "{problem}"
    );
    mode(&host.at("etc/curve"), 0o700);
}

#[test]
fn without_a_place_for_a_key_the_way_out_is_named() {
    let mut host = Host::new();
    host.inputs.state_directory = None;
    assert_eq!(
        host.problems(),
        [
            "default: curve.secret_key_file: found no agent.key_secret: looked in ~/etc/curve; \
         set secret_key_file, or STATE_DIRECTORY to where a key pair can be kept",
        ]
    );
}

#[test]
fn bad_persistent_settings_are_a_warning() {
    let host = Host::new();
    for bad in [
        &b"intervals.metrics = '1d'\nintervals.stale = 9"[..],
        b"\xff",
        b"[",
    ] {
        let path = host.write("state/settings.toml", bad);
        let loaded = host.load().unwrap();
        assert_eq!(loaded.settings.intervals, Intervals::DEFAULT);
        assert_eq!(loaded.warnings.len(), 1);
        let warning = host.shown(&loaded.warnings[0]);
        assert!(
            warning.starts_with(
                "ignoring what was set over D-Bus persistently: ~/state/settings.toml"
            ),
            "{warning}"
        );
        assert!(loaded.files.is_empty());
        assert_eq!(fs::read(path).unwrap(), bad, "left as it is");
    }
}

#[test]
fn the_defaults_are_the_tables() {
    let mut layers = Layers::of_defaults(&AGENT);
    layers.checked().unwrap();
    let fragment: Fragment = layers.merged().unwrap();
    assert_eq!(fragment.intervals.metrics.0, Intervals::DEFAULT.metrics);
    assert_eq!(fragment.intervals.stale.0, Intervals::DEFAULT.stale);
    assert_eq!(fragment.log.level, LogLevel::DEFAULT);
}

#[test]
fn what_the_table_says_of_files_is_so() {
    let setting = AGENT
        .setting(&["collector", "x", "public_key_file"])
        .unwrap();
    let directory = format!("{}/curve", crate::agent::settings::ETC_DIR);
    assert!(setting.description.contains(&directory));
}

#[test]
fn what_the_table_says_of_ranges_is_so() {
    use crate::agent::settings::{METRICS_INTERVAL, STALE_INTERVAL};
    use crate::config::format_time;
    for (key, range) in [("metrics", METRICS_INTERVAL), ("stale", STALE_INTERVAL)] {
        let setting = AGENT.setting(&["intervals", key]).unwrap();
        let said = format!(
            "from {} to {},",
            format_time(*range.start()),
            format_time(*range.end())
        );
        assert!(setting.expected.contains(&said), "{key}: {said}");
    }
}

/// Settings as someone might type them, right and wrong.
fn typed() -> impl Strategy<Value = String> {
    let key = "(\\[?\\[?(host|collector|collector\\.[a-z\"]{1,3}|curve|intervals|metrics|log|dbus|[a-z.]{1,9})\\]?\\]?|\
               name|endpoint|public_key|public_key_file|secret_key_file|metrics|stale|collect|level|bus)";
    let value = "(\"[a-z0-9:./\\[\\]]{0,12}\"|'[^\n]{0,8}'|-?[0-9]{1,20}|[0-9.e]{1,9}|true|\\[.{0,9}\\]|\\{.{0,9}\\}|)";
    let line = proptest::string::string_regex(&format!("{key}( ?= ?{value})?\n")).unwrap();
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_text_makes_it_panic(text in prop_oneof![typed(), "\\PC*".prop_map(String::from), ".*".prop_map(String::from)]) {
        let host = Host::new();
        host.etc(&text);
        if let Err(error) = load(&host.inputs, KeyPolicy::ReadOnly) {
            for problem in error.problems() {
                prop_assert!(!problem.to_string().contains('\n'));
                prop_assert!(!matches!(problem.reason, Reason::Types(_)), "{}: {}", text, problem);
            }
        }
    }

    #[test]
    fn no_variable_makes_it_panic(name in "(COLLECTOR__[A-Z]{0,2}__ENDPOINT|METRICS__SOURCES|INTERVALS__STALE|[A-Z_]{0,9})", value in ".*") {
        let mut host = Host::new();
        host.variable(&name, &value);
        if let Err(error) = load(&host.inputs, KeyPolicy::ReadOnly) {
            for problem in error.problems() {
                prop_assert!(!matches!(problem.reason, Reason::Types(_)), "{}", problem);
            }
        }
    }
}

/// Typical mistakes of people who know other formats, or forget the quotes.
#[test]
fn what_is_not_toml_is_told_for_what_it_was_meant_as() {
    let host = Host::new();
    let yaml = "this is YAML; settings are TOML: `name = \"value\"` below a line `[section]`";
    for (text, expected) in [
        (
            "collector:\n  main:\n    endpoint: h\n",
            format!("1: {yaml}"),
        ),
        ("[intervals]\nmetrics: 5s\n", format!("2: {yaml}")),
        (
            "[collector.main]\nendpoint = collector.example.org\n",
            "2: endpoint: expected quotes around a text: endpoint = \"value\"".to_owned(),
        ),
        (
            "[intervals]\nmetrics = 5s\n",
            "2: metrics: expected quotes around a text: metrics = \"value\"".to_owned(),
        ),
        (
            "[intervals]\nmetrics = \"5s\nstale = \"30s\"\n",
            "2: metrics: expected a closing \"".to_owned(),
        ),
        (
            "[intervals]\nmetrics = 5\nmetrics = 6\n",
            "3: duplicate key `metrics` in table `intervals`".to_owned(),
        ),
    ] {
        host.etc(text);
        assert_eq!(
            host.problems(),
            [format!("~/etc/metrics-agent.toml:{expected}")]
        );
    }
}

#[test]
fn no_message_says_a_thing_twice() {
    let host = Host::new();
    for (text, expected) in [
        (
            "log.level = 'loud'",
            "log.level: 'loud' is not one of \"error\", \"warning\", \"info\", \"debug\", \"trace\" (or of syslog's \"emerg\", \"alert\", \"crit\", \"err\", \"warn\", \"notice\")",
        ),
        (
            "intervals.metrics = '2h'",
            "intervals.metrics: '2h' is not a time from 100ms to 1h, such as \"5s\"",
        ),
        (
            "collector.a.public_key = 'abc'",
            "collector.a.public_key: 'abc' is not a public key of 40 Z85 characters: it has 3",
        ),
        (
            "collector.endpoint = 'h'",
            "collector.endpoint: a collector needs a name: write [collector.NAME], for example \
             [collector.main]",
        ),
    ] {
        host.etc(text);
        assert_eq!(
            host.problems(),
            [format!("~/etc/metrics-agent.toml:1: {expected}")]
        );
    }
}

#[test]
fn what_the_service_cannot_see_is_refused() {
    use crate::config::service::ServiceView;

    let mut host = Host::new();
    host.pair("hidden", "c");
    host.pair("hidden", "agent");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key_file = '{}'",
        host.at("hidden/c.key").display()
    ));
    assert!(host.load().is_ok());
    host.inputs.sight = ServiceView::hiding("a.service", &host.at("hidden"), "ProtectHome");
    let hidden =
        "ProtectHome= of a.service hides ~/hidden from the service; put it into ~/etc/curve";
    assert_eq!(
        host.problems(),
        [format!(
            "~/etc/metrics-agent.toml:3: collector.a.public_key_file: ~/hidden/c.key: {hidden}"
        )]
    );
    host.etc(&format!(
        "curve.secret_key_file = '{}'",
        host.at("hidden/agent.key_secret").display()
    ));
    assert_eq!(
        host.problems(),
        [format!(
            "~/etc/metrics-agent.toml:1: curve.secret_key_file: ~/hidden/agent.key_secret: {hidden}"
        )]
    );
}

#[test]
fn keys_that_others_have_a_say_in_are_told() {
    let host = Host::new();
    host.pair("etc/curve", "agent");
    host.pair("etc/curve", "collector");
    host.etc("collector.a.endpoint = 'h'");
    let warnings = || {
        let loaded = host.load().unwrap();
        loaded
            .warnings
            .iter()
            .map(|warning| host.shown(warning))
            .collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0]);
    mode(&host.at("etc/curve/collector.key"), 0o666);
    mode(&host.at("etc/curve"), 0o757);
    assert_eq!(
        warnings(),
        [
            "~/etc/curve: mode 0757 lets others put keys there; `chmod go-w` on the directory ends that",
            "~/etc/curve/collector.key: mode 0666 lets others change the key; `chmod go-w` on the \
             file ends that",
        ]
    );
    mode(&host.at("etc/curve"), 0o755);
    host.etc("[collector.a]\nendpoint = 'h'\npublic_key_file = 'collector.key_secret'");
    assert_eq!(
        warnings(),
        [
            "~/etc/curve/collector.key_secret: holds a secret key, where only a public one is \
             needed; put the file NAME.key there instead, and make a new pair if this one is \
             another host's"
        ]
    );
}

#[test]
fn a_stale_interval_that_is_no_longer_than_between_pings_is_told() {
    let mut host = Host::new();
    let warnings = |host: &Host| {
        let loaded = host.load().unwrap();
        loaded
            .warnings
            .iter()
            .map(|warning| host.shown(warning))
            .collect::<Vec<_>>()
    };
    host.etc(&format!(
        "collector.a = {{ endpoint = 'h', public_key = '{KEY}' }}\nintervals.stale = 16"
    ));
    assert_eq!(warnings(&host), [""; 0]);
    host.variable("INTERVALS__STALE", "15s");
    assert_eq!(
        warnings(&host),
        [
            "variable METRICS_AGENT_INTERVALS__STALE: intervals.stale: 15s is not longer than the \
             15s between two pings of some collectors: from those the agent disconnects again and \
             again; 30s is enough for all"
        ]
    );
    // No connection is closed.
    host.etc("");
    assert_eq!(warnings(&host), [""; 0]);
}

#[test]
fn an_interface_that_is_not_there_is_warned_of() {
    let host = Host::new();
    let collector = |name: &str, zone: &str| {
        format!("[collector.{name}]\nendpoint = '[fe80::{name}%{zone}]:7'\npublic_key = '{KEY}'\n")
    };
    host.etc(&(collector("a", "lo") + &collector("b", "no-such")));
    let loaded = host.load().unwrap();
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(|warning| host.shown(&warning.to_string()))
        .collect();
    assert_eq!(
        warnings,
        [
            "~/etc/metrics-agent.toml:5: [fe80::b%no-such]:7 cannot be reached: this host has no such \
          interface now"
        ]
    );
}

#[test]
fn what_only_the_service_sees_is_a_note() {
    use crate::config::service::ServiceView;

    let mut host = Host::new();
    host.pair("etc/curve", "agent");
    host.etc(&format!(
        "[collector.a]\nendpoint = 'h'\npublic_key_file = '{}'",
        host.at("bound/c.key").display()
    ));
    assert!(host.load().is_err());
    host.inputs.sight = ServiceView::binding("a.service", &host.at("bound"));
    let loaded = load(&host.inputs, KeyPolicy::ReadOnly).unwrap();
    let told = host.shown(&loaded.warnings[0]);
    assert!(told.starts_with("~/bound/c.key: not checked: "), "{told}");
    let text = host.shown(&crate::agent::settings::print::effective(&loaded));
    let line = "# public_key is not set: that of ~/bound/c.key, which only the service sees";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_credential_of_the_next_start_is_checked_where_it_is() {
    use crate::config::service::ServiceView;

    let mut host = Host::new();
    host.pair("etc/curve", "agent");
    let key = host.pair("store", "a.collector");
    host.etc("collector.a.endpoint = 'h'");
    assert!(host.load().is_err());
    let file = host.at("store/a.collector.key");
    let load = |host: &Host| load(&host.inputs, KeyPolicy::ReadOnly);
    host.inputs.sight = ServiceView::handing("a.service", "collector.key", &file);
    let loaded = load(&host).unwrap();
    assert!(
        loaded
            .settings
            .collectors
            .values()
            .all(|one| one.public_key == key)
    );
    assert_eq!(
        host.shown(&loaded.warnings[0]),
        "~/store/a.collector.key: taken as the credential collector.key, which systemd hands over \
         at the start of a.service"
    );
    host.write("store/a.collector.key", "no key");
    host.inputs.sight = ServiceView::handing("a.service", "collector.key", &file);
    let problem = host.shown(load(&host).unwrap_err().problems().next().unwrap());
    assert!(problem.contains("~/store/a.collector.key:1: "), "{problem}");
}

/// With the rights of a user that may not go where systemd keeps a dynamic user's state.
#[test]
fn the_state_of_a_dynamic_user_is_not_refused() {
    use crate::base::durable::owner::{
        self,
        tests::{NOBODY, is_root},
    };
    use crate::config::service::ServiceView;

    if !is_root() {
        return;
    }
    let mut host = Host::new();
    mode(&host.at(""), 0o755);
    host.pair("private/state", "agent");
    mode(&host.at("private"), 0o700);
    std::os::unix::fs::symlink("private/state", host.at("state")).unwrap();
    fs::create_dir(host.at("nobodys")).unwrap();
    std::os::unix::fs::chown(host.at("nobodys"), Some(NOBODY), Some(NOBODY)).unwrap();
    let check = |host: &Host| {
        let load = || load(&host.inputs, KeyPolicy::ReadOnly);
        owner::on_behalf(&host.at("nobodys"), load).unwrap()
    };
    assert!(check(&host).is_err());
    host.inputs.sight = ServiceView::dynamic("a.service", &host.at("state"));
    let loaded = check(&host).unwrap();
    let told: Vec<_> = loaded.warnings.iter().map(|one| host.shown(one)).collect();
    let why =
        "not checked: DynamicUser= of a.service shuts ~/state for all but root and the service";
    assert_eq!(
        told,
        ["settings.toml", "agent.key_secret"].map(|file| format!("~/state/{file}: {why}"))
    );
}

/// What root has seen there counts as if the service had read it.
#[test]
fn the_state_of_a_dynamic_user_is_checked_where_root_sees_it() {
    use crate::base::durable::owner::{
        self,
        tests::{NOBODY, is_root},
    };
    use crate::config::service::ServiceView;

    if !is_root() {
        return;
    }
    let mut host = Host::new();
    mode(&host.at(""), 0o755);
    let key = host.pair("private/state", "agent");
    host.write("private/state/settings.toml", "intervals.metrics = '7s'\n");
    let own = |path: &str| std::os::unix::fs::chown(host.at(path), Some(NOBODY), Some(NOBODY));
    for path in ["private/state", "private/state/agent.key_secret"] {
        own(path).unwrap();
    }
    mode(&host.at("private"), 0o700);
    std::os::unix::fs::symlink("private/state", host.at("state")).unwrap();
    fs::create_dir(host.at("nobodys")).unwrap();
    own("nobodys").unwrap();
    let check = |host: &mut Host| {
        let (state, real) = (host.at("state"), host.at("private/state"));
        host.inputs.sight = ServiceView::dynamic_seen("a.service", &state, &real);
        let load = || load(&host.inputs, KeyPolicy::ReadOnly);
        owner::on_behalf(&host.at("nobodys"), load).unwrap()
    };
    let loaded = check(&mut host).unwrap();
    assert_eq!(loaded.settings.key_pair.public, key);
    assert_eq!(loaded.settings.intervals.metrics, Duration::from_secs(7));
    assert_eq!(warnings_of(&loaded), [""; 0]);
    // Named by the path that the service has.
    host.write("private/state/agent.key_secret", "no key");
    let problem = check(&mut host).unwrap_err();
    let problem = host.shown(problem.problems().next().unwrap());
    assert!(
        problem.contains(" ~/state/agent.key_secret:1: "),
        "{problem}"
    );
    // A link of the service's user to a file that only root may read is not followed.
    let file = host.at("private/state/agent.key_secret");
    host.pair("private", "roots");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(host.at("private/roots.key_secret"), &file).unwrap();
    let problem = check(&mut host).unwrap_err();
    let problem = host.shown(problem.problems().next().unwrap());
    assert!(
        problem.contains("~/state/agent.key_secret: cannot open it: Perm"),
        "{problem}"
    );
    // Where there is none, one is made.
    fs::remove_file(&file).unwrap();
    let loaded = check(&mut host).unwrap();
    assert!(!loaded.key_found);
    assert_eq!(loaded.key_file, host.at("state/agent.key_secret"));
}

fn warnings_of(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}
