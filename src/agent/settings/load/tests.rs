mod keys;
mod mistakes;
mod service;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::Duration;

use proptest::prelude::*;

use crate::agent::settings::load;
use crate::agent::settings::load::*;
use crate::agent::settings::testbed::{Host, KEY, mode};
use crate::agent::settings::{EndpointOrder, MAX_ENDPOINTS};
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
        settings.collectors["main"].first_address(),
        "c.example.org:5556"
    );
    assert_eq!(settings.collectors["main"].first_key(), KEY);
    assert_eq!(settings.collectors["eu.1"].first_address(), "[::1]:7000");
    assert_eq!(settings.collectors["eu.1"].public_keys, [public]);
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
    assert_eq!(host.problems(), ["~/mine: is a directory, not a file"]);
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
        "variable METRICS_AGENT_METRICS__SOURCES: expected a list of sources, such as ",
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
        (main.first_address().as_str(), &main.public_keys),
        ("203.0.113.7:7000", &vec![public])
    );
    assert_eq!(loaded.key_file, host.at("home/.curve/agent.key_secret"));

    host.inputs.command_line.collector = Some("host:99999".to_owned());
    let problems = host.problems();
    assert_eq!(problems.len(), 1);
    let expected = "command line: collector.main.endpoint: \"host:99999\" is not an address such as \
                    \"tcp://collector.example.org:5556\", \"host\", \"host:port\", \"[::1]:5556\" \
                    or \"srv:example.org\", or a list of up to 16: the port must be a number from 1 to 65535, not \"99999\"";
    assert_eq!(problems[0], expected);
}

#[test]
fn files_that_are_none_are_refused() {
    let host = Host::new();
    fs::create_dir_all(host.at("etc/metrics-agent.toml")).unwrap();
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.toml: is a directory, not a file"]
    );
    fs::remove_dir(host.at("etc/metrics-agent.toml")).unwrap();
    host.etc(&"#".repeat(300 * 1024));
    assert_eq!(
        host.problems(),
        ["~/etc/metrics-agent.toml: is too large for a settings file (limit 256 KiB)"]
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
        ["~/etc/metrics-agent.toml:1: collector: too many collectors: 17 (limit 16)"]
    );
}

#[test]
fn endpoints_and_keys_may_be_several() {
    let mut host = Host::new();
    let public = host.pair("etc/curve", "new");
    let old = host.pair("etc/curve", "old");
    host.etc(&format!(
        "[collector.a]\nendpoint = ['a', 'srv:example.org', '[::1]:7']\norder = 'random'\n\
         public_key = ['{KEY}', '{public}']\n\
         [collector.b]\nendpoint = ['b']\npublic_key_file = ['new.key', 'old.key', 'new.key_secret']\n"
    ));
    let loaded = host.load().unwrap();
    let a = &loaded.settings.collectors["a"];
    let addresses: Vec<_> = a.endpoints.iter().map(ToString::to_string).collect();
    let expected = ["a:5556", "srv:_metrics-agent._tcp.example.org", "[::1]:7"];
    assert_eq!(addresses, expected);
    assert_eq!(a.order, EndpointOrder::Random);
    assert_eq!(a.public_keys, [KEY.parse().unwrap(), public]);
    let b = &loaded.settings.collectors["b"];
    assert_eq!(b.order, EndpointOrder::Listed);
    // The same key from two files is one.
    assert_eq!(b.public_keys, [public, old]);

    let many = (0..MAX_ENDPOINTS).map(|n| format!("h{n}"));
    let many = many.collect::<Vec<_>>().join(", ");
    host.variable("COLLECTOR__A__ENDPOINT", &many);
    host.variable("COLLECTOR__A__ORDER", "listed");
    host.variable("COLLECTOR__A__PUBLIC_KEY", &format!("{old},{public}"));
    let loaded = host.load().unwrap();
    let a = &loaded.settings.collectors["a"];
    assert_eq!(a.endpoints.len(), MAX_ENDPOINTS);
    assert_eq!(a.order, EndpointOrder::Listed);
    assert_eq!(a.public_keys, [old, public]);
    host.variable("COLLECTOR__A__ENDPOINT", &format!("{many}, one-more"));
    let problem = &host.problems()[0];
    assert!(
        problem.ends_with(": it has more than 16 entries"),
        "{problem}"
    );
}

#[test]
fn sections_share_no_endpoint() {
    let host = Host::new();
    let two = |one: &str, other: &str| {
        host.etc(&format!(
            "[collector.a]\nendpoint={one}\npublic_key = '{KEY}'\n\
             [collector.b]\nendpoint={other}\npublic_key = '{KEY}'"
        ));
    };
    for (one, other) in [
        ("['x', 'y']", "['z', 'Y:5556']"),
        (
            "'srv:example.org'",
            "['x', 'srv:_metrics-agent._tcp.Example.org.']",
        ),
    ] {
        two(one, other);
        assert_eq!(
            host.problems(),
            [
                "~/etc/metrics-agent.toml:5: collector.b.endpoint: collector a has the same \
                 endpoint: a collector keeps one connection for each host",
            ]
        );
    }
    two("['x', 'y']", "['z', 'y:1']");
    assert_eq!(host.load().unwrap().settings.collectors.len(), 2);
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
            warning.starts_with("settings kept over D-Bus are ignored: ~/state/settings.toml"),
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
             15s between two pings of some collectors; the agent would disconnect from these again and again; 30s is enough for all"
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

fn warnings_of(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}
