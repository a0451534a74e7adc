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
         [collector.main]\nendpoint = 'C.example.org'\n[collector.us]\nendpoint = 'us:1'\npublic_key_file = 'collector.key'\n\
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
    let file_key = loaded.settings.collectors["main"].public_key;
    let expected = format!(
        "\
# ~/usr/metrics-agent.toml
# ~/etc/metrics-agent.toml
# ~/state/settings.toml

[host]
name = \"web1\"  # ~/usr/metrics-agent.toml:2

[collector.\"eu.1\"]
endpoint = \"tcp://[::1]:5556\"  # ~/etc/metrics-agent.toml:2
public_key = \"{KEY}\"  # ~/etc/metrics-agent.toml:3

[collector.main]
endpoint = \"tcp://c.example.org:5556\"  # ~/etc/metrics-agent.toml:6
public_key = {file_key}  # ~/etc/curve/collector.key

[collector.us]
endpoint = \"tcp://us:1\"  # ~/etc/metrics-agent.toml:8
public_key = {file_key}  # ~/etc/curve/collector.key (public_key_file: ~/etc/metrics-agent.toml:9)

[curve]
secret_key_file = \"~/etc/curve/agent.key_secret\"  # default

[intervals]
metrics = \"5s\"  # default
stale = \"1m 30s\"  # ~/state/settings.toml:2, set over D-Bus

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
