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

fn target(text: &str) -> Result<RemoteWrite, Vec<String>> {
    let site = Site::new();
    for file in ["etc/secret", "etc/ca.pem", "credentials/token"] {
        site.write(file, "x");
    }
    site.etc(&format!("[remote_write.a]\n{text}"));
    match site.load() {
        Ok(loaded) => Ok(loaded.settings.remote_write["a"].clone()),
        Err(_) => Err(site.problems()),
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
         [hosts]\nping_interval = '1s'\ntimeout = 60\nforget_after = '0s'\n\
         [remote_write.basic]\nurl = 'https://m.example.org/push?a=b'\nusername = 'u'\n\
         password_file = 'password'\nca_file = 'ca.pem'\ntimeout = '5s'\n\
         [remote_write.basic.headers]\nX-Scope-OrgID = 'tenant 1'\n\
         [remote_write.basic.labels]\ncluster = 'a'\n_zone1 = 'Büro'\n\
         [remote_write.bearer]\nurl = 'http://[::1]:9009'\nbearer_token_file = 'token'\n\
         [log]\nlevel = 'debug'\n[dbus]\nbus = 'unix:path=/run/b'\n",
    );
    let settings = site.settings();
    assert_eq!(settings.listen.agents.to_string(), "[::1]:1");
    assert_eq!(settings.listen.viewers, None);
    assert_eq!(settings.listen.web, Some(Listen::Any { port: 9650 }));
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
    assert_eq!(settings.listen.agents.to_string(), "[fe80::1%1]:1");
    assert_eq!(
        settings.listen.viewers.unwrap().to_string(),
        "[fe80::2%1]:5557"
    );
    assert_eq!(settings.listen.web.unwrap().to_string(), "[fe80::3%1]:9650");
    assert_eq!(settings.remote_write.len(), 2);
    // What is printed can be read again.
    let printed = print::effective(&site.load().unwrap());
    assert!(printed.contains("agents = \"[fe80::1%1]:1\""), "{printed}");

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
fn credentials_are_whole_and_of_one_kind() {
    let at = "~/etc/metrics-collector.toml";
    let cases = [
        (
            "",
            ":1: remote_write.a.url: missing: set where to write to, such as \"https://mimir.example.org/api/v1/push\"",
        ),
        (
            "url = 'http://h'\nusername = 'u'",
            ":3: remote_write.a.password_file: missing: required with username",
        ),
        (
            "url = 'http://h'\npassword_file = 'secret'",
            ":3: remote_write.a.username: missing: required with password_file",
        ),
        (
            "url = 'http://h'\nusername = 'u'\npassword_file = 'secret'\nbearer_token_file = 'token'",
            ":5: remote_write.a.bearer_token_file: set either a bearer token or a password, not both",
        ),
        (
            "url = 'http://h'\nca_file = 'none'",
            ":3: remote_write.a.ca_file: none not found: looked in ~/credentials, ~/etc; put the file there",
        ),
        (
            "url = 'http://h'\nbearer_token_file = '/nonexistent/t'",
            ":3: remote_write.a.bearer_token_file: t not found: looked in /nonexistent; put the file there",
        ),
        (
            "url = 'http://h'\nheaders.x-a = '1'\nheaders.X-A = '1'",
            ":3: remote_write.a.headers.x-a: is the same header as X-A",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(
            target(text).unwrap_err(),
            [format!("{at}{expected}")],
            "{text}"
        );
    }
}

#[test]
fn values_of_a_target_are_checked() {
    let cases = [
        (
            "url = 'mimir.example.org'",
            "remote_write.a.url: the value is not an address such as \"https://mimir.example.org/api/v1/push\": expected http:// or https:// in front",
        ),
        ("url = 'ftp://h'", "expected http:// or https:// in front"),
        (
            "url = 'https://u:p@h/'",
            "put the user and the password into username and password_file",
        ),
        (
            "url = 'https://h/#x'",
            "remove the fragment (#…): it is never sent",
        ),
        ("url = 'https:///x'", "remote_write.a.url: "),
        ("username = 'a:b'", "a user name cannot contain a colon"),
        ("timeout = '6min'", "'6min' is not a time from 1s to 5min"),
        (
            "headers.'a b' = '1'",
            "remote_write.a.headers.\"a b\": not a name for a header: expected letters, digits and \"-\"",
        ),
        (
            "headers.Authorization = 'Bearer x'",
            "not a name for a header: use username and password_file, or bearer_token_file",
        ),
        (
            "headers.Content-Type = 'x'",
            "not a name for a header: the collector sets it",
        ),
        (
            "headers.x = \"a\\nb\"",
            "remote_write.a.headers.x: the value is not a header's value",
        ),
        (
            "headers.x = 3",
            "remote_write.a.headers.x: the value is not a header's value",
        ),
        ("labels.1a = 'x'", "not a name for a label: "),
        (
            "labels.__name__ = 'x'",
            "names that begin with \"__\" are reserved",
        ),
        (
            "labels.host = 'x'",
            "the collector sets this label itself; choose another name",
        ),
        (
            "labels.device = 'x'",
            "the collector sets this label itself; choose another name",
        ),
        (
            "labels.a = ''",
            "remote_write.a.labels.a: '' is not a label's value",
        ),
        ("labels.a.b = 'x'", "remote_write.a.labels.a: "),
        (
            "headers = 'x'",
            "remote_write.a.headers: 'x' is not a table [remote_write.a.headers]",
        ),
        ("urll = 'x'", "unknown key; did you mean \"url\"?"),
    ];
    for (text, expected) in cases {
        let problems = target(text).unwrap_err();
        assert!(problems[0].contains(expected), "{text}: {problems:?}");
    }
    let site = Site::new();
    site.etc("[remote_write.'a/b']\nurl = 'http://h'\n");
    let problems = site.problems();
    let expected = "remote_write.\"a/b\": not a name for a remote write target: it contains '/'";
    assert!(problems[0].contains(expected), "{problems:?}");
}

#[test]
fn what_may_be_secret_is_not_shown_of_an_address() {
    let url = PushUrl::try_from("https://h:1/push?key=hidden".to_owned()).unwrap();
    assert_eq!(url.to_string(), "https://h:1/push?…");
    assert_eq!(format!("{url:?}"), "PushUrl(https://h:1/push?…)");
    assert_eq!(url.as_str(), "https://h:1/push?key=hidden");
}

#[test]
fn numbers_are_bounded() {
    let many = |count: usize, line: fn(usize) -> String| (0..count).map(line).collect::<String>();
    let headers = |count| {
        let lines = many(count, |n| format!("headers.h{n} = 'x'\n"));
        target(&format!("url = 'http://h'\n{lines}"))
    };
    assert_eq!(headers(32).unwrap().headers.len(), 32);
    assert!(headers(33).unwrap_err()[0].ends_with("too many headers: 33 (limit 32)"));
    let labels = |count| {
        let lines = many(count, |n| format!("labels.l{n} = 'x'\n"));
        target(&format!("url = 'http://h'\n{lines}"))
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
fn a_key_that_cannot_be_used_is_named_with_its_setting() {
    let mut site = Site::new();
    Certificate::write_pair(&site.at("etc/curve"), "mine").unwrap();
    site.etc("curve.secret_key_file = 'mine.key_secret'");
    let found = site.load().unwrap().keys;
    assert!(matches!(&found, Found::Keys(_)), "{found:?}");
    assert_eq!(found.path(), site.at("etc/curve/mine.key_secret"));

    fs::set_permissions(found.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let [problem] = &site.problems()[..] else {
        panic!("one problem is expected");
    };
    let start = "~/etc/metrics-collector.toml:1: curve.secret_key_file: \
                 ~/etc/curve/mine.key_secret: mode 0644 lets others at the secret key";
    assert!(problem.starts_with(start), "{problem}");

    site.option("key-file", "curve.secret_key_file", "/nonexistent/key");
    let problems = site.problems();
    let start = "--key-file: curve.secret_key_file: /nonexistent/key: cannot open it";
    assert!(problems[0].starts_with(start), "{problems:?}");
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let mut site = Site::new();
    site.write("etc/password", "x");
    site.etc(
        "[remote_write.eu]\nurl = 'https://h/push'\nusername = 'u'\npassword_file = 'password'\n\
         headers.X-Key = 'verysecret'\nlabels.cluster = 'a'\n[remote_write.us]\nurl = 'http://h'\n",
    );
    site.variable("HOSTS__TIMEOUT", "45");
    site.option("web-listen", "listen.web", "none");
    let loaded = site.load().unwrap();
    let shown = print::effective(&loaded);
    assert!(!shown.contains("verysecret"), "{shown}");
    let expected = "\
# ~/etc/metrics-collector.toml

[listen]
agents = \"*:5556\"  # default
viewers = \"*:5557\"  # default
web = \"none\"  # --web-listen

[web]
hosts = []  # default

[curve]
# secret_key_file is not set: a key pair will be made and kept in ~/state/collector.key_secret

[agents]
authorized = \"any\"  # default
pin_names = false  # default

[hosts]
ping_interval = \"5s\"  # default
timeout = \"45s\"  # variable METRICS_COLLECTOR_HOSTS__TIMEOUT
forget_after = \"7days\"  # default

[remote_write.eu]
url = \"https://h/push\"  # ~/etc/metrics-collector.toml:2
username = \"u\"  # ~/etc/metrics-collector.toml:3
password_file = \"password\"  # ~/etc/metrics-collector.toml:4
# bearer_token_file is not set: none
# ca_file is not set: the system's
timeout = \"30s\"  # default

[remote_write.eu.headers]
# X-Key is set, and may be a secret  # ~/etc/metrics-collector.toml:5

[remote_write.eu.labels]
cluster = \"a\"  # ~/etc/metrics-collector.toml:6

[remote_write.us]
url = \"http://h\"  # ~/etc/metrics-collector.toml:8
# username is not set: none
# password_file is not set: none
# bearer_token_file is not set: none
# ca_file is not set: the system's
timeout = \"30s\"  # default

[log]
level = \"info\"  # default

[dbus]
bus = \"system\"  # default
";
    assert_eq!(site.shown(&shown), expected);
    let again = Site::new();
    again.write("etc/password", "x");
    again.etc(&shown);
    let mut settings = again.settings();
    let eu = settings.remote_write.get_mut("eu").unwrap();
    eu.headers
        .clone_from(&loaded.settings.remote_write["eu"].headers);
    eu.credentials
        .clone_from(&loaded.settings.remote_write["eu"].credentials);
    assert_eq!(settings, loaded.settings);
}

#[test]
fn a_query_may_be_a_secret() {
    let site = Site::new();
    site.etc("[remote_write.eu]\nurl = 'https://h/push?token=verysecret'\n");
    let loaded = site.load().unwrap();
    let shown = site.shown(&print::effective(&loaded));
    assert!(!shown.contains("verysecret"), "{shown}");
    let line = "# url is set, and may be a secret  # ~/etc/metrics-collector.toml:2\n";
    assert!(shown.contains(line), "{shown}");
}

#[test]
fn what_takes_a_restart_is_named() {
    let mut site = Site::new();
    let before = site.load().unwrap();
    assert_eq!(restart_needed(&before, &before), [""; 0]);
    site.etc("hosts.timeout = 9\nlog.level = 'debug'\nagents.authorized = 'directory'\n");
    assert_eq!(restart_needed(&before, &site.load().unwrap()), [""; 0]);
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    site.option("pin-names", "agents.pin_names", "true");
    site.option("listen", "listen.agents", "*:1");
    site.option("viewers-listen", "listen.viewers", "none");
    site.option("web-listen", "listen.web", "*:3");
    site.option("bus", "dbus.bus", "none");
    assert_eq!(
        restart_needed(&before, &site.load().unwrap()),
        [
            "listen.agents",
            "listen.viewers",
            "listen.web",
            "curve.secret_key_file",
            "agents.pin_names",
            "dbus.bus"
        ]
    );
}

/// The settings of the shipped file: key to what stands behind the `=`, commented out.
fn shipped() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-collector.toml");
    let text = fs::read_to_string(path).unwrap();
    let mut section = String::new();
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim_start_matches('#');
        let title = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(title) = title {
            section = title.replace(".mimir", ".NAME");
        } else if let Some((key, value)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            let key = match section.rsplit_once('.') {
                Some((_, "headers")) => "HEADER",
                Some((_, "labels")) => "LABEL",
                _ => key,
            };
            found.insert(format!("{section}.{key}"), value.to_owned());
        }
    }
    found
}

#[test]
fn the_shipped_file_shows_every_setting_with_its_default_and_no_other() {
    let shipped = shipped();
    let keys: Vec<&str> = shipped.keys().map(String::as_str).collect();
    let mut known: Vec<&str> = COLLECTOR.settings.iter().map(|one| one.key).collect();
    known.sort_unstable();
    assert_eq!(keys, known);
    for setting in COLLECTOR.settings {
        if let Some(default) = setting.default {
            assert_eq!(shipped[setting.key], default, "{}", setting.key);
        }
    }
}

/// What is commented out in it is valid all the same, and the rest sets nothing.
#[test]
fn the_shipped_file_sets_nothing_and_holds_what_it_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/metrics-collector.toml");
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let blank = line.is_empty() || line.starts_with('#') || line.starts_with('[');
        assert!(blank, "{line}");
    }
    let site = Site::new();
    for file in ["mimir.password", "mimir.pem"] {
        site.write(&format!("etc/{file}"), "x");
    }
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    let shown = |line: &str| {
        let line = line.strip_prefix('#').unwrap_or(line).to_owned();
        let setting = line.starts_with('[') || (line.contains(" = ") && !line.starts_with(' '));
        setting.then_some(line)
    };
    let lines = text.lines().filter_map(shown);
    let lines: Vec<_> = lines.filter(|line| !line.starts_with("bearer")).collect();
    site.etc(&lines.join("\n"));
    assert!(site.settings().remote_write["mimir"].credentials.is_some());
}

#[test]
fn what_the_service_cannot_see_is_refused() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    site.write("hidden/password", "x");
    let password = site.at("hidden/password");
    let key = Certificate::write_pair(&site.at("hidden"), "collector").unwrap();
    let file = site.at("hidden/collector.key_secret");
    let text = format!(
        "[curve]\nsecret_key_file = '{}'\n[remote_write.a]\nurl = 'http://h'\nusername = 'u'\n\
         password_file = '{}'\n",
        file.display(),
        password.display()
    );
    site.etc(&text);
    let loaded = site.load().unwrap();
    assert!(matches!(loaded.keys, Found::Keys(keys) if keys.pair.public == key.public));
    site.inputs.sight = ServiceView::hiding("c.service", &site.at("hidden"), "PrivateTmp");
    assert_eq!(
        site.problems(),
        [
            "~/etc/metrics-collector.toml:6: remote_write.a.password_file: ~/hidden/password: \
             PrivateTmp= of c.service hides ~/hidden from the service; put it into ~/etc",
            "~/etc/metrics-collector.toml:2: curve.secret_key_file: ~/hidden/collector.key_secret: \
             PrivateTmp= of c.service hides ~/hidden from the service; put it into ~/etc/curve",
        ]
    );
}

/// Before the first start there is no directory of credentials to look into.
#[test]
fn the_own_key_is_found_as_a_credential_of_the_next_start() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    let key = Certificate::write_pair(&site.at("store"), "c").unwrap();
    let file = site.at("store/c.key_secret");
    site.inputs.sight = ServiceView::handing("c.service", "collector.key_secret", &file);
    let loaded = site.load().unwrap();
    assert!(matches!(&loaded.keys, Found::Keys(keys) if keys.pair.public == key.public));
    assert_eq!(
        site.warnings()[0],
        "~/store/c.key_secret: taken as the credential collector.key_secret, which systemd hands \
         over at the start of c.service"
    );
    // Whatever its name is there: what is set is the name of the credential.
    site.etc("[curve]\nsecret_key_file = 'other'\n");
    assert!(site.problems()[0].contains("other not found: looked in"));
    site.inputs.sight = ServiceView::handing("c.service", "other", &file);
    assert!(matches!(site.load().unwrap().keys, Found::Keys(_)));
    site.write("store/c.key_secret", "no key");
    site.inputs.sight = ServiceView::handing("c.service", "other", &file);
    let problems = site.problems();
    assert!(
        problems[0].contains("~/store/c.key_secret:1: "),
        "{problems:?}"
    );
}

#[test]
fn a_key_that_only_the_service_sees_is_a_note() {
    use crate::config::service::ServiceView;

    let mut site = Site::new();
    site.etc(&format!(
        "[curve]\nsecret_key_file = '{}'\n",
        site.at("bound/k").display()
    ));
    assert!(site.load().is_err());
    site.inputs.sight = ServiceView::binding("c.service", &site.at("bound"));
    let loaded = site.load().unwrap();
    assert!(matches!(&loaded.keys, Found::Unclear(path) if *path == site.at("bound/k")));
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("bound/k: not checked: ")
    );
}

#[test]
fn a_key_that_others_have_a_say_in_is_told() {
    let site = Site::new();
    Certificate::write_pair(&site.at("etc/curve"), "collector").unwrap();
    assert_eq!(site.warnings(), [""; 0]);
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(site.at("etc/curve"), mode).unwrap();
    assert_eq!(
        site.warnings(),
        [
            "~/etc/curve: mode 0777 lets others put keys there; `chmod go-w` on the directory ends that"
        ]
    );
    // What systemd hands out is in order.
    fs::rename(site.at("etc/curve"), site.at("credentials")).unwrap();
    assert_eq!(site.warnings(), [""; 0]);
}

/// The wrong name is refused once, however many settings stand below it.
#[test]
fn a_target_without_a_name_is_told_so() {
    let site = Site::new();
    site.etc("[remote_write]\nurl = 'http://h'\nusername = 'u'\n");
    assert_eq!(
        site.problems(),
        [
            "~/etc/metrics-collector.toml:2: remote_write.url: a remote write target needs a name: \
             write [remote_write.NAME], for example [remote_write.main]"
        ]
    );
}

#[test]
fn an_interface_that_a_target_lacks_is_told() {
    let site = Site::new();
    let target = |name: &str, zone: &str| {
        format!("[remote_write.{name}]\nurl = 'http://[fe80::1%{zone}]:9/push?key=hidden'\n")
    };
    site.etc(&(target("a", "25lo") + &target("b", "25no-such") + &target("c", "lo")));
    assert_eq!(
        site.warnings(),
        [
            "~/etc/metrics-collector.toml:4: http://[fe80::1%25no-such]:9/push?… cannot be reached: \
             this host has no such interface now"
        ]
    );
}

#[test]
fn pings_that_agents_do_not_wait_for_are_told() {
    let site = Site::new();
    let warnings = |interval: &str| {
        site.etc(&format!("[hosts]\nping_interval = '{interval}'\n"));
        site.warnings()
    };
    assert_eq!(warnings("29s"), [""; 0]);
    assert_eq!(
        warnings("30s"),
        [
            "~/etc/metrics-collector.toml:2: hosts.ping_interval: 30s is not shorter than the 30s of \
             silence after which agents reconnect, where their intervals.stale is not set"
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
