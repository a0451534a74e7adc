mod keys;
mod shown;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::collector::keys::{Found, Places};
use crate::config::ConfigError;
use crate::curve::certificate::Certificate;

/// A host's directories in a temporary one.
struct Site {
    dir: tempfile::TempDir,
    inputs: Inputs,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let inputs = Inputs {
            config_file: None,
            usr_dir: at("usr"),
            etc_dir: at("etc"),
            environment: BTreeMap::new(),
            command_line: Vec::new(),
            places: Places {
                credentials: Some(at("credentials")),
                etc: at("etc/curve"),
                state: Some(at("state")),
            },
            sight: crate::config::service::ServiceView::default(),
            by_hand: false,
        };
        Self { dir, inputs }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// The administrator's file.
    fn etc(&self, text: &str) {
        self.write("etc/metrics-collector.toml", text);
    }

    fn variable(&mut self, name: &str, value: &str) {
        let name = format!("METRICS_COLLECTOR_{name}");
        self.inputs.environment.insert(name.into(), value.into());
    }

    fn option(&mut self, option: &'static str, key: &'static str, text: &str) {
        let text = text.to_owned();
        let given = Given {
            option,
            key,
            text,
            unit: None,
        };
        self.inputs.command_line.push(given);
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        load(&self.inputs)
    }

    fn settings(&self) -> Settings {
        self.load()
            .unwrap_or_else(|error| panic!("{error}"))
            .settings
    }

    /// All problems, the site's directory shown as `~`.
    fn problems(&self) -> Vec<String> {
        let error = self.load().expect_err("nothing was wrong");
        error
            .problems()
            .map(|problem| self.shown(&problem.to_string()))
            .collect()
    }

    /// All warnings, as [`problems`](Self::problems).
    fn warnings(&self) -> Vec<String> {
        let loaded = self.load().unwrap();
        let warnings = loaded.warnings.iter();
        warnings
            .map(|warning| self.shown(&warning.to_string()))
            .collect()
    }

    fn shown(&self, text: &str) -> String {
        text.replace(self.dir.path().to_str().unwrap(), "~")
    }
}

#[test]
fn nothing_has_to_be_set() {
    let site = Site::new();
    let loaded = site.load().unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(
        loaded.settings,
        Settings {
            listen: Listening {
                agents: Listen::Any { port: 5556 },
                viewers: Some(Listen::Any { port: 5557 }),
                web: Some(Listen::Address(([127, 0, 0, 1], 9650).into())),
            },
            web_hosts: Vec::new(),
            publish: None,
            access: Access {
                authorized: Authorized::Any,
                pin_names: false,
            },
            timing: Timing {
                ping_interval: seconds(5),
                host_timeout: seconds(30),
                forget_after: seconds(7 * 24 * 3600),
            },
            remote_write: BTreeMap::new(),
            log_level: LogLevel::Info,
            bus: BusAddress::System,
        }
    );
    assert!(loaded.files().is_empty());
    assert_eq!(loaded.keys.path(), site.at("state/collector.key_secret"));
    assert!(!site.at("state").exists(), "loading writes nothing");
}

#[test]
fn every_setting_is_read() {
    let site = Site::new();
    site.write("etc/password", "x");
    site.write("credentials/token", "x");
    site.write("etc/ca.pem", "x");
    site.etc(
        "[listen]\nagents = '[::1]:1'\nviewers = 'none'\nweb = '*'\n\
         [agents]\nauthorized = 'directory'\npin_names = true\n\
         [publish]\nendpoint = 'ipc:///run/x'\nmode = '0600'\n\
         [hosts]\nping_interval = '1s'\ntimeout = 60\nforget_after = '0s'\n\
         [remote_write.basic]\nurl = 'https://m.example.org/push?a=b'\nusername = 'u'\n\
         password_file = 'password'\nca_file = 'ca.pem'\ntimeout = '5s'\n\
         acknowledge = false\n\
         [remote_write.basic.headers]\nX-Scope-OrgID = 'tenant 1'\n\
         [remote_write.basic.labels]\ncluster = 'a'\n_zone1 = 'Büro'\n\
         [remote_write.bearer]\nurl = 'http://[::1]:9009'\nbearer_token_file = 'token'\n\
         [log]\nlevel = 'debug'\n[dbus]\nbus = 'unix:path=/run/b'\n",
    );
    let settings = site.settings();
    assert_eq!(settings.listen.agents.to_string(), "[::1]:1");
    assert_eq!(settings.listen.viewers, None);
    assert_eq!(settings.listen.web, Some(Listen::Any { port: 9650 }));
    let publish = Publish {
        endpoint: Endpoint::Ipc("/run/x".into()),
        mode: SocketMode::User,
    };
    assert_eq!(settings.publish, Some(publish));
    assert_eq!(settings.access.authorized, Authorized::Directory);
    assert!(settings.access.pin_names);
    assert_eq!(settings.timing.ping_interval, Duration::from_secs(1));
    assert_eq!(settings.timing.host_timeout, Duration::from_secs(60));
    assert_eq!(settings.timing.forget_after, Duration::ZERO);
    assert_eq!(settings.log_level, LogLevel::Debug);
    let bus = BusAddress::Address("unix:path=/run/b".to_owned());
    assert_eq!(settings.bus, bus);
    let basic = &settings.remote_write["basic"];
    assert_eq!(basic.url.as_str(), "https://m.example.org/push?a=b");
    let Some(Credentials::Basic {
        username,
        password_file,
    }) = &basic.credentials
    else {
        panic!("{basic:?}");
    };
    assert_eq!(username.as_str(), "u");
    assert_eq!(*password_file, site.at("etc/password"));
    assert_eq!(basic.ca_file, Some(site.at("etc/ca.pem")));
    assert_eq!(basic.timeout, Duration::from_secs(5));
    assert!(!basic.acknowledge);
    let headers = basic.headers.iter();
    let headers: Vec<_> = headers.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("X-Scope-OrgID", "tenant 1")]);
    let labels = basic.labels.iter();
    let labels: Vec<_> = labels.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("_zone1", "Büro"), ("cluster", "a")]);
    let bearer = &settings.remote_write["bearer"];
    let token_file = site.at("credentials/token");
    assert_eq!(bearer.credentials, Some(Credentials::Bearer { token_file }));
    assert_eq!(bearer.ca_file, None);
    assert_eq!(bearer.timeout, Duration::from_secs(30));
    assert!(bearer.acknowledge);
}

#[test]
fn later_layers_go_over_earlier_ones() {
    let mut site = Site::new();
    site.write(
        "usr/metrics-collector.toml",
        "[listen]\nagents = '*:1'\nviewers = '*:11'\nweb = '*:21'\n[hosts]\ntimeout = 1\n",
    );
    site.etc("[listen]\nagents = '*:2'\nviewers = '*:12'\nweb = '*:22'\n");
    site.write(
        "etc/metrics-collector.d/10.toml",
        "listen.agents = '*:3'\nlisten.viewers = '*:13'\n",
    );
    site.variable("LISTEN__AGENTS", "*:4");
    site.variable("SERVICE_HOST", "10.0.0.1");
    site.variable("PORT_5556_TCP", "tcp://10.0.0.1:5556");
    site.option("listen", "listen.agents", "*:5");
    let settings = site.settings();
    assert_eq!(settings.listen.agents, Listen::Any { port: 5 });
    assert_eq!(settings.listen.viewers, Some(Listen::Any { port: 13 }));
    assert_eq!(settings.listen.web, Some(Listen::Any { port: 22 }));
    assert_eq!(settings.timing.host_timeout, Duration::from_secs(1));
    let files = site.load().unwrap().files().to_vec();
    let expected = [
        "usr/metrics-collector.toml",
        "etc/metrics-collector.toml",
        "etc/metrics-collector.d/10.toml",
    ];
    assert_eq!(files, expected.map(|name| site.at(name)));

    let only = site.write("own/c.toml", "listen.web = 'none'");
    site.write("own/c.d/1.toml", "hosts.timeout = '2s'");
    site.inputs.config_file = Some(only);
    let settings = site.settings();
    assert_eq!(settings.listen.web, None);
    assert_eq!(settings.timing.host_timeout, Duration::from_secs(2));
    assert_eq!(settings.listen.viewers, Some(Listen::Any { port: 5557 }));
}

#[test]
fn a_link_local_address_has_its_interface() {
    let site = Site::new();
    site.etc(
        "[listen]\nagents = '[fe80::1%lo]:1'\nviewers = 'fe80::2%25lo'\nweb = '[fe80::3%1]'\n\
         [remote_write.a]\nurl = 'http://[fe80::1%25eth0]:9090/push'\n\
         [remote_write.b]\nurl = 'http://[fe80::1%eth0]/push'\n",
    );
    let settings = site.settings();
    assert_eq!(settings.listen.agents.to_string(), "[fe80::1%lo]:1");
    assert_eq!(
        settings.listen.viewers.unwrap().to_string(),
        "[fe80::2%lo]:5557"
    );
    assert_eq!(settings.listen.web.unwrap().to_string(), "[fe80::3%1]:9650");
    assert_eq!(settings.remote_write.len(), 2);
    // What is printed can be read again.
    let printed = print::effective(&site.load().unwrap());
    assert!(printed.contains("agents = \"[fe80::1%lo]:1\""), "{printed}");

    site.etc(
        "[listen]\nagents = '[fe80::1]:1'\nviewers = '[fe80::2%no-such]'\nweb = '[::1%lo]:1'\n\
         [remote_write.a]\nurl = 'https://[fe80::1%25eth0]/push'\n\
         [remote_write.b]\nurl = 'http://[fe80::1]/push'\n\
         [remote_write.c]\nurl = 'http://[fe80::1%]/push'\n\
         [remote_write.d]\nurl = 'http://[fe80::1%25]/push'\n",
    );
    let problems = site.problems();
    let reasons: Vec<_> = problems
        .iter()
        .map(|problem| problem.rsplit_once(": ").map_or("", |(_, reason)| reason))
        .collect();
    let link_local = "fe80::1 is a link-local address and needs its interface, such as \
                      \"[fe80::1%eth0]\"";
    assert_eq!(
        reasons,
        [
            link_local,
            "No such device (os error 19)",
            "only a link-local address (fe80::…) can have a % and an interface after it, not ::1",
            "certificates do not cover link-local addresses; use a name, or http",
            link_local,
            "\"\" after the % is not the name of an interface",
            "\"\" after the % is not the name of an interface",
        ],
        "{problems:#?}"
    );
    assert!(
        problems[1].contains("this host has no interface no-such"),
        "{problems:?}"
    );
    // Without brackets the port is taken for a part of the interface.
    site.etc("[listen]\nagents = 'fe80::1%lo:5556'\n");
    let problems = site.problems();
    let expected = "with a port in brackets, such as \"[fe80::1%eth0]:5556\"";
    assert!(problems[0].ends_with(expected), "{problems:?}");
}

#[test]
fn the_web_server_has_more_names() {
    let mut site = Site::new();
    let hosts = |site: &Site| -> Vec<String> {
        let settings = site.settings();
        settings
            .web_hosts
            .iter()
            .map(|host| host.as_str().to_owned())
            .collect()
    };
    assert!(hosts(&site).is_empty());
    site.etc("[web]\nhosts = ['Metrics.Example.ORG.', '[2001:DB8::1]', '::1', '192.0.2.1', '*']\n");
    let expected = [
        "metrics.example.org",
        "2001:db8::1",
        "::1",
        "192.0.2.1",
        "*",
    ];
    assert_eq!(hosts(&site), expected);
    site.variable("WEB__HOSTS", "a,b.example");
    assert_eq!(hosts(&site), ["a", "b.example"]);
    for (wrong, reason) in [
        ("http://a", "is not a host name; leave out scheme and port"),
        ("a:9650", "is not a host name; leave out scheme and port"),
        ("a b", "is not a host name"),
        ("", "it has no host"),
    ] {
        site.variable("WEB__HOSTS", &format!("['{wrong}']"));
        let problems = site.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].contains("web.hosts") && problems[0].contains(reason),
            "{problems:?}"
        );
    }
}

#[test]
fn names_below_a_chosen_one_can_be_variables() {
    let mut site = Site::new();
    site.variable("REMOTE_WRITE__EU__URL", "http://h");
    site.variable("REMOTE_WRITE__EU__LABELS__CLUSTER", "a");
    site.variable("AGENTS__PIN_NAMES", "true");
    let settings = site.settings();
    let (label, value) = settings.remote_write["eu"].labels.iter().next().unwrap();
    assert_eq!((label.as_str(), value.as_str()), ("cluster", "a"));
    assert!(settings.access.pin_names);
}

#[test]
fn every_mistake_names_its_place_and_the_way_out() {
    let mut site = Site::new();
    site.etc(
        "[listen]\nagents = 'localhost'\nviewers = '*5'\nweb = '127.0.0.1:70000'\nagent = '*'\n\
         [agents]\nauthorized = 'nobody'\npin_names = 'perhaps'\n\
         [hosts]\nping_interval = '99ms'\ntimeout = '3h'\nforget_after = '366days'\n\
         [log]\nlevel = 'loud'\n[dbus]\nbus = 'x'\n[curve]\nsecret_key_file = ''\n[lissten]\na = 1\n",
    );
    site.variable("HOSTS__PING_INTERVAL", "never");
    site.variable("PING_INTERVAL", "1s");
    site.option("log-level", "log.level", "7");
    let file = "~/etc/metrics-collector.toml";
    let expected = [
        ":2: listen.agents: 'localhost' is not an address to listen on, such as \"*:5556\", \
         \"127.0.0.1:5556\" or \"[::1]:5556\": expected an IP address of this host, or `*`",
        ":3: listen.viewers: '*5' is not an address to listen on, such as \"*:5557\" or \
         \"[::1]:5557\", or \"none\": only a colon and a port can follow the `*`",
        ":4: listen.web: '127.0.0.1:70000' is not an address to listen on, such as \
         \"127.0.0.1:9650\" or \"*:9650\", or \"none\": the port must be a number from 0 to 65535",
        ":5: listen.agent: unknown key; did you mean \"agents\"?",
        ":7: agents.authorized: 'nobody' is not \"any\" or \"directory\"",
        ":8: agents.pin_names: 'perhaps' is not true or false",
        ":10: hosts.ping_interval: '99ms' is not a time from 100ms to 1min, such as \"5s\"",
        ":11: hosts.timeout: '3h' is not a time from 1s to 2h, such as \"30s\"",
        ":12: hosts.forget_after: '366days' is not a time from 0s to 365days, such as \"7d\"",
        ":14: log.level: 'loud' is not one of \"error\", \"warning\", \"info\", \"debug\", \
         \"trace\"",
        ":16: dbus.bus: 'x' is not \"system\", \"session\", \"none\" or an address such as \
         \"unix:path=/run/bus\": ",
        ":18: curve.secret_key_file: the value is not the name of a certificate file: it is not the name of a file",
        ":19: lissten: unknown key; did you mean \"listen\"?",
    ];
    let problems = site.problems();
    for (problem, expected) in problems.iter().zip(expected) {
        let expected = format!("{file}{expected}");
        assert!(problem.starts_with(&expected), "{problem}\n{expected}");
    }
    let (_, others) = problems.split_at(expected.len());
    let expected = [
        "variable METRICS_COLLECTOR_PING_INTERVAL: unknown variable; known here: \
         METRICS_COLLECTOR_AGENTS__AUTHORIZED",
        "variable METRICS_COLLECTOR_HOSTS__PING_INTERVAL: hosts.ping_interval: \"never\" is not a \
         time from 100ms to 1min, such as \"5s\": expected number at 0",
        "--log-level: log.level: \"7\" is not one of \"error\", \"warning\", \"info\", \"debug\", \
         \"trace\"",
    ];
    assert_eq!(others.len(), expected.len(), "{others:?}");
    for (problem, expected) in others.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn no_two_listen_at_one_place() {
    let same = |agents: &str, viewers: &str, web: &str| {
        let mut site = Site::new();
        site.etc(&format!(
            "listen.viewers = '{viewers}'\nlisten.web = '{web}'"
        ));
        site.option("listen", "listen.agents", agents);
        match site.load() {
            Ok(_) => Vec::new(),
            Err(_) => site.problems(),
        }
    };
    let none = [""; 0];
    assert_eq!(same("*:1", "*:2", "*:3"), none);
    assert_eq!(same("*:0", "*:0", "*:0"), none);
    assert_eq!(same("127.0.0.1:1", "127.0.0.2:1", "[::1]:1"), none);
    // One address on three links.
    let on_links = same("[fe80::1%1]:1", "[fe80::1%2]:1", "[fe80::1%3]:1");
    assert_eq!(on_links, none);
    assert_eq!(same("[fe80::1%lo]:1", "none", "[fe80::1%1]:1").len(), 1);
    let taken = |key: &str, by: &str| {
        format!("{key}: {by} has this port already; choose another one, or \"none\"")
    };
    assert_eq!(
        same("*:1", "127.0.0.1:1", "none"),
        [taken("--listen: listen.agents", "listen.viewers")]
    );
    assert_eq!(
        same("*:9", "*:1", "[::]:1"),
        [taken(
            "~/etc/metrics-collector.toml:2: listen.web",
            "listen.viewers"
        )]
    );
    assert_eq!(same("127.0.0.1:1", "none", "127.0.0.1:1").len(), 1);
}

#[test]
fn nothing_is_published_where_another_listens() {
    let mut site = Site::new();
    site.etc("[listen]\nagents = '*:1'\n[publish]\nendpoint = 'tcp://127.0.0.1:1'\n");
    let problems = site.problems();
    let expected = "publish.endpoint: listen.agents has this port already; choose another one, \
                    or \"none\"";
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with(expected), "{problems:?}");
    site.variable("PUBLISH__ENDPOINT", "ipc:///run/x");
    assert!(site.load().is_ok());
}

#[test]
fn a_place_off_this_host_and_a_strange_mode_are_refused_with_the_reason() {
    let site = Site::new();
    site.etc("[publish]\nendpoint = 'tcp://0.0.0.0:5558'\nmode = '0777'\n");
    let problems = site.problems();
    let expected = [
        ":2: publish.endpoint: 'tcp://0.0.0.0:5558' is not a place on this host, such as \
         \"ipc:///run/metrics-collector/publish\" or \"tcp://127.0.0.1:5558\", or \"none\": \
         0.0.0.0 is not a loopback address, and what is published is neither encrypted nor asks \
         for a key; programs of other hosts can be viewers (listen.viewers)",
        ":3: publish.mode: '0777' is not \"0600\", \"0660\" or \"0666\": a socket is for its \
         user, for its group too, or for all",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.ends_with(expected), "{problem}\n{expected}");
    }
}

#[test]
fn numbers_are_bounded() {
    let many = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let headers = |count| {
        let lines = many(count, |n| format!("headers.h{n} = 'x'\n"));
        targets::target(&format!("url = 'http://h'\n{lines}"))
    };
    assert_eq!(headers(32).unwrap().headers.len(), 32);
    assert!(headers(33).unwrap_err()[0].ends_with("too many headers: 33 (limit 32)"));
    let labels = |count| {
        let lines = many(count, |n| format!("labels.l{n} = 'x'\n"));
        targets::target(&format!("url = 'http://h'\n{lines}"))
    };
    assert_eq!(labels(16).unwrap().labels.len(), 16);
    assert!(labels(17).unwrap_err()[0].ends_with("too many labels: 17 (limit 16)"));
    let targets = |count| {
        let site = Site::new();
        site.etc(&many(count, |n| {
            format!("remote_write.t{n}.url = 'http://h'\n")
        }));
        site
    };
    assert_eq!(targets(16).settings().remote_write.len(), 16);
    let problems = targets(17).problems();
    let expected = "remote_write: too many remote write targets: 17 (limit 16)";
    assert!(problems[0].ends_with(expected), "{problems:?}");
}

#[test]
fn pings_that_agents_do_not_wait_for_are_told() {
    let site = Site::new();
    let warnings = |interval: &str| {
        site.etc(&format!("[hosts]\nping_interval = '{interval}'\n"));
        site.warnings()
    };
    assert_eq!(warnings("15s"), [""; 0]);
    assert_eq!(
        warnings("25s"),
        [
            "~/etc/metrics-collector.toml:2: hosts.ping_interval: 25s is longer than the 15s that \
             agents expect at most; those whose intervals.stale is no longer than it (30s where it \
             is not set) would reconnect again and again"
        ]
    );
}

#[test]
fn a_time_out_between_two_messages_is_told() {
    let site = Site::new();
    let warnings = |timeout: &str| {
        site.etc(&format!("[hosts]\ntimeout = '{timeout}'\n"));
        site.warnings()
    };
    assert_eq!(warnings("5100ms"), [""; 0]);
    assert_eq!(
        warnings("5s"),
        [
            "~/etc/metrics-collector.toml:2: hosts.timeout: 5s is not longer than the 5s between two \
             messages of an agent whose intervals.metrics is not set: its host is gone between them"
        ]
    );
}
