use super::*;
use crate::agent::settings::testbed::{Host, KEY};
use crate::agent::settings::{KeyPolicy, load};

fn filled() -> Host {
    let mut host = Host::new();
    host.pair("etc/curve", "collector");
    host.pair("etc/curve", "agent");
    host.write("usr/metrics-agent.toml", "[host]\nname = 'web1'\n");
    host.etc(&format!(
        "[collector.\"eu.1\"]\nendpoint = '[::1]'\npublic_key = '{KEY}'\n\n\
         [collector.main]\nendpoint = ['C.example.org', 'srv:example.org']\n[collector.us]\nendpoint = 'us:1'\norder = 'random'\npublic_key_file = 'collector.key'\n\
         [metrics.cpu]\nper_cpu = true\n[metrics.processes]\ninterval = '1min'\ntop = 5\n"
    ));
    host.variable("METRICS__SOURCES", "cpu,disk");
    host.variable("METRICS__DISK__INCLUDE", "sd*,nvme*");
    host.write(
        "state/settings.toml",
        "# kept\nintervals.stale = '1min 30s'\n",
    );
    host
}

#[test]
fn every_value_has_its_origin() {
    let host = filled();
    let loaded = host.load().unwrap();
    let file_key = loaded.settings.collectors["main"].public_keys[0];
    let expected = format!(
        "\
# ~/usr/metrics-agent.toml
# ~/etc/metrics-agent.toml
# ~/state/settings.toml

[host]
name = \"web1\"  # ~/usr/metrics-agent.toml:2

[collector.\"eu.1\"]
endpoint = \"tcp://[::1]:5556\"  # ~/etc/metrics-agent.toml:2
order = \"listed\"  # default
public_key = \"{KEY}\"  # ~/etc/metrics-agent.toml:3

[collector.main]
endpoint = [\"tcp://c.example.org:5556\", \"srv:_metrics-agent._tcp.example.org\"]  # ~/etc/metrics-agent.toml:6
order = \"listed\"  # default
public_key = {file_key}  # ~/etc/curve/collector.key

[collector.us]
endpoint = \"tcp://us:1\"  # ~/etc/metrics-agent.toml:8
order = \"random\"  # ~/etc/metrics-agent.toml:9
public_key = {file_key}  # ~/etc/curve/collector.key (public_key_file: ~/etc/metrics-agent.toml:10)

[curve]
secret_key_file = \"~/etc/curve/agent.key_secret\"  # default

[intervals]
metrics = \"5s\"  # default
stale = \"1m 30s\"  # ~/state/settings.toml:2, set over D-Bus

[spool]
memory = \"4 MiB\"  # default
disk = \"64 MiB\"  # default
after = \"30s\"  # default

[metrics]
sources = [\"cpu\", \"disk\"]  # variable METRICS_AGENT_METRICS__SOURCES

@metrics@
[log]
level = \"info\"  # default

[dbus]
bus = \"system\"  # default
",
        file_key = quoted(file_key)
    );
    let shown = host.shown(&effective(&loaded));
    let (before, after) = expected.split_once("@metrics@").unwrap();
    assert!(shown.starts_with(before), "{shown}");
    assert!(shown.ends_with(after), "{shown}");
    for lines in [
        "\n[metrics.load]\n# interval is not set: every metrics message\n",
        "\n[metrics.cpu]\n# interval is not set: every metrics message\nper_cpu = true  # ~/etc/metrics-agent.toml:",
        "\ninclude = [\"sd*\", \"nvme*\"]  # variable METRICS_AGENT_METRICS__DISK__INCLUDE\n",
        "\n[metrics.processes]\ninterval = \"1min\"  # ~/etc/metrics-agent.toml:",
        "\ntop = 5  # ~/etc/metrics-agent.toml:",
        "\nmax = 400  # default\n",
    ] {
        assert!(shown.contains(lines), "{lines}\n{shown}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let mut host = filled();
    let printed = effective(&host.load().unwrap());
    let first = host.load().unwrap().settings;
    host.inputs.config_file = Some(host.write("printed.toml", &printed));
    host.inputs.environment.clear();
    host.inputs.state_directory = None;
    let second = host.load().unwrap().settings;
    assert_eq!(second.host_name, first.host_name);
    assert_eq!(second.collectors, first.collectors);
    assert_eq!(second.key_pair.public, first.key_pair.public);
    assert_eq!(second.intervals, first.intervals);
    assert_eq!(second.sources, first.sources);
    assert_eq!(second.options, first.options);
    assert_eq!((second.log_level, second.bus), (first.log_level, first.bus));
}

#[test]
fn no_secret_key_is_shown() {
    let host = filled();
    let printed = effective(&host.load().unwrap());
    let file = std::fs::read_to_string(host.at("etc/curve/agent.key_secret")).unwrap();
    let secret = file
        .split("secret-key = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    assert_eq!(secret.len(), 40);
    assert!(!printed.contains(secret));
}

#[test]
fn what_is_not_set_says_what_holds() {
    let host = Host::new();
    let loaded = load(&host.inputs, KeyPolicy::ReadOnly).unwrap();
    let printed = host.shown(&effective(&loaded));
    for line in [
        "\n# name is not set: the fully qualified name, else the host name\n",
        "\n# secret_key_file is not set: a key pair will be made and kept in ~/state/agent.key_secret\n",
        "\nsources = [\"uptime\", \"meminfo\", \"cpu\"]  # default\n",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    assert!(!printed.contains("[collector"), "{printed}");
}

#[test]
fn every_setting_is_shown() {
    let host = filled();
    let loaded = host.load().unwrap();
    for setting in AGENT.settings {
        let path: Vec<_> = setting.parts().collect();
        let shown = match path[..] {
            ["collector", _, field] => collector_value(&loaded, "us", field),
            _ => value(&loaded, setting, &path),
        };
        let without_default = setting.key.ends_with(".interval") && setting.default.is_none();
        let expected = !setting.key.ends_with(".public_key_file") && !without_default;
        assert_eq!(
            matches!(shown, Shown::Value { .. }),
            expected,
            "{}",
            setting.key
        );
    }
}

#[test]
fn what_the_running_agent_has_otherwise_is_told() {
    let host = Host::new();
    host.etc(&format!(
        "[host]\nname = 'web1'\n[collector.main]\nendpoint = 'c:1'\npublic_key = '{KEY}'\n\
             [metrics]\nsources = ['cpu', 'disk']\n"
    ));
    host.pair("etc/curve", "agent");
    let loaded = host.load().unwrap();
    let interval = |seconds, origin: &str, place: &str| RunningInterval {
        time: Duration::from_secs(seconds),
        origin: origin.to_owned(),
        place: place.to_owned(),
    };
    let connection = |endpoint: &str| RunningConnection {
        endpoints: vec![endpoint.to_owned()],
        order: "listed".to_owned(),
        keys: vec![KEY.to_owned()],
    };
    let mut running = Running {
        host_name: "web1".to_owned(),
        metrics: interval(5, "settings", "default"),
        stale: interval(30, "settings", "default"),
        log_level: "info".to_owned(),
        sources: ["disk", "cpu"].map(str::to_owned).into(),
        connections: [("main".to_owned(), connection("c:1"))].into(),
    };
    assert_eq!(
        compared(&loaded, &running, true),
        "# The running agent has these settings in force.\n\n"
    );
    assert_eq!(
        compared(&loaded, &running, false),
        "# The running agent has these settings in force.\n# The files of keys below are \
             those of a start by this user; the running agent may have others.\n\n"
    );
    running.host_name = "web2".to_owned();
    running.metrics = interval(2, "run-time", "");
    running.stale = interval(60, "kept", "/s/settings.toml");
    running.log_level = "trace".to_owned();
    running.sources = ["cpu", "load"].map(str::to_owned).into();
    running.connections = [("old".to_owned(), connection("d:2"))].into();
    assert_eq!(
            compared(&loaded, &running, true),
            format!(
                "\
# In force in the running agent, other than below:
#   host.name = \"web2\", until a reload
#   collector.main: no such connection, until a reload
#   collector.old: endpoint \"d:2\", key {}, until a reload
#   intervals.metrics = \"2s\", set at run time, until the agent ends or \"metrics-agentctl revert\"
#   intervals.stale = \"1m\", set at run time and kept in /s/settings.toml, until \"metrics-agentctl revert\"
#   metrics.sources with \"load\", {UNTIL}
#   metrics.sources without \"disk\", {UNTIL}
#   log.level = \"trace\", {UNTIL}

",
                quoted(KEY)
            )
        );
}
