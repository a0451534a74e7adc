//! Mistakes in files, and what is said of each.

use super::*;

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
        "[collector.a]\nendpoint = []",
        "2: collector.a.endpoint: [] is not an address such as \"tcp://collector.example.org:5556\", \
         \"host\", \"host:port\", \"[::1]:5556\" or \"srv:example.org\", or a list of up to 16: the list \
         is empty",
    ),
    (
        "[collector.a]\nendpoint = ['h', 5556]",
        "2: collector.a.endpoint: ['h', 5556] is not an address",
    ),
    (
        "[collector.a]\nendpoint = 'srv:h:5556'",
        "2: collector.a.endpoint: 'srv:h:5556' is not an address",
    ),
    (
        "[collector.a]\norder = 'shuffled'",
        "2: collector.a.order: 'shuffled' is not \"listed\" or \"random\"",
    ),
    (
        "[collector.a]\norder = ['random']",
        "2: collector.a.order: ['random'] is not \"listed\" or \"random\"",
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
        "2: collector.a.public_key: 'short' is not a public key of 40 Z85 characters, or a list of up to 8: it has 5",
    ),
    (
        "[collector.a]\npublic_key_file = ['a', 'JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6']",
        "2: collector.a.public_key_file: the value is not the name of a certificate file, or a list \
         of up to 8: entry 2: it is a key",
    ),
    (
        "[collector.a]\npublic_key = 7",
        "2: collector.a.public_key: 7 is not a public key",
    ),
    (
        "[collector.a]\npublic_key_file = ''",
        "2: collector.a.public_key_file: the value is not the name of a certificate file, or a list of up to 8: it is not the name of a file",
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
        "1: intervals.metrics: -5 is not a time from 100ms to 1h, such as \"5s\": a time cannot be negative",
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
        "1: metrics.sources: unknown source \"cpus\"; did you mean \"cpu\"?",
    ),
    (
        "metrics.sources = ['gpu-load']",
        "1: metrics.sources: unknown source \"gpu-load\"; known here: cpu, disk, meminfo, uptime",
    ),
    (
        "metrics.sources = ['cpu', 'cpu']",
        "1: metrics.sources: \"cpu\" is listed twice",
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
            "2: collector.main.endpoint: expected quotes around a text: endpoint = \"value\""
                .to_owned(),
        ),
        (
            "log.level = info # or\n",
            "1: log.level: expected quotes around a text: log.level = \"value\"".to_owned(),
        ),
        (
            "[metrics.disk] # ours\ninclude = sd*\n",
            "2: metrics.disk.include: expected a list of shell patterns, such as [\"a*\", \"b[0-9]\"]"
                .to_owned(),
        ),
        (
            "[metrics.cpu]\nper_cpu = True # all\n",
            "2: metrics.cpu.per_cpu: expected true or false, in lower case".to_owned(),
        ),
        (
            "[metrics.units]\nmax = 5k\n",
            "2: metrics.units.max: expected a number from 0 to 5000; a text needs quotes".to_owned(),
        ),
        (
            "[intervals]\nmetrics = 5s\n",
            "2: intervals.metrics: expected quotes around a text: metrics = \"value\"".to_owned(),
        ),
        (
            "[intervals]\nmetrics = \"5s\nstale = \"30s\"\n",
            "2: intervals.metrics: expected a closing \"".to_owned(),
        ),
        (
            "[intervals]\nmetrics = 5\nmetrics = 6\n",
            "3: duplicate key `metrics` in table `intervals`".to_owned(),
        ),
        (
            "[intervals]\nmetrics = 5\n[intervals]\n",
            "3: duplicate key `intervals`".to_owned(),
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
            "collector.a.public_key: 'abc' is not a public key of 40 Z85 characters, or a list of up to 8: it has 3",
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
