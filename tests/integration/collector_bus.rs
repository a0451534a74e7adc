//! metrics-collector on a bus: its name, its interface, its callers, reloads.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use futures_util::StreamExt as _;
use metrics_agent::curve::certificate::Certificate;
use metrics_agent::dbus::COLLECTOR_NAME;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use zbus::{Connection, OwnedVariant, fdo};

use crate::dbus_introspection::{answered, documented};
use crate::private_bus::PrivateBus;
use crate::support::collector::{Collector, program};
use crate::support::flood::flood;
use crate::support::peer::PATIENCE;
use crate::support::place::eventually;
use crate::support::root_for;

const COLLECTOR: &str = "/org/metricsagent/Collector1";
const LOG_CONTROL: &str = "/org/freedesktop/LogControl1";

/// A host in a list.
type Row = (String, String, u64, u64, u64, String, String);

/// A key in a list.
type KeyRow = (String, String, Vec<String>, u64, u64, String, String, u64);

/// A bus, and a collector's home with its configuration.
struct Site {
    bus: PrivateBus,
    home: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self::on(PrivateBus::start())
    }

    fn on(bus: PrivateBus) -> Self {
        let home = tempfile::tempdir().unwrap();
        let site = Self { bus, home };
        site.configure("");
        site
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("collector.toml")
    }

    fn configure(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = program(self.home.path());
        command.arg("--config").arg(self.config()).args([
            "--listen",
            "127.0.0.1:0",
            "--bus",
            &self.bus.address(),
        ]);
        command
    }

    async fn start(&self) -> Collector {
        Collector::run(self.command()).await
    }

    /// Runs one that does not come far: its status, and what it says.
    fn fail(&self) -> (ExitStatus, String) {
        let output = self.command().output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    async fn client(&self) -> Connection {
        let address = self.bus.address();
        let builder = zbus::connection::Builder::address(address.as_str());
        builder.build().await.unwrap()
    }

    async fn object(&self) -> Object {
        Object {
            connection: self.client().await,
        }
    }

    /// Calls as the user nobody: status, and what dbus-send prints.
    async fn as_nobody(&self, call: &str) -> (bool, String) {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--clear-groups", "dbus-send"])
            .arg(format!("--bus={}", self.bus.address()))
            .args(["--print-reply", &format!("--dest={COLLECTOR_NAME}")])
            .args(call.split(' '));
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.unwrap().unwrap();
        let text = if output.status.success() {
            output.stdout
        } else {
            output.stderr
        };
        (output.status.success(), String::from_utf8(text).unwrap())
    }
}

/// The collector's object, as a client sees it.
struct Object {
    connection: Connection,
}

impl Object {
    async fn call<B, T>(&self, method: &str, arguments: &B) -> zbus::Result<T>
    where
        B: serde::Serialize + zbus::DynamicType,
        T: DeserializeOwned + zbus::Type,
    {
        let reply = self
            .connection
            .call_method(
                Some(COLLECTOR_NAME),
                COLLECTOR,
                Some("org.metricsagent.Collector1"),
                method,
                arguments,
            )
            .await?;
        reply.body().deserialize()
    }

    /// The name of the error that a call ends with, and its text.
    async fn refused<B>(&self, method: &str, arguments: &B) -> (String, String)
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        match self.call::<B, ()>(method, arguments).await.unwrap_err() {
            zbus::Error::MethodError(name, text, _) => (name.to_string(), text.unwrap_or_default()),
            zbus::Error::FDO(error) => {
                use zbus::DBusError as _;
                let text = error.description().unwrap_or_default().to_owned();
                (error.name().to_string(), text)
            }
            other => panic!("{method}: {other}"),
        }
    }

    async fn list(&self, prefix: &str, after: &str, limit: u32) -> (Vec<Row>, bool) {
        let arguments = (prefix, after, limit);
        self.call("ListHosts", &arguments).await.unwrap()
    }

    async fn names(&self) -> Vec<(String, String)> {
        let (rows, more) = self.list("", "", 0).await;
        assert!(!more);
        rows.into_iter().map(|row| (row.0, row.1)).collect()
    }

    async fn properties(&self, path: &'static str) -> fdo::PropertiesProxy<'static> {
        fdo::PropertiesProxy::builder(&self.connection)
            .destination(COLLECTOR_NAME)
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .unwrap()
    }

    async fn all(&self) -> HashMap<String, OwnedVariant> {
        let properties = self.properties(COLLECTOR).await;
        let interface = "org.metricsagent.Collector1".try_into().unwrap();
        properties.get_all(interface).await.unwrap()
    }

    async fn number(&self, name: &str) -> u64 {
        let value = &self.all().await[name];
        value.to_string().parse().unwrap_or_else(|_| {
            let text = value.to_string();
            text.rsplit(' ').next().unwrap().parse().unwrap()
        })
    }

    async fn log_level(&self) -> String {
        let properties = self.properties(LOG_CONTROL).await;
        let interface = "org.freedesktop.LogControl1".try_into().unwrap();
        let level = properties.get(interface, "LogLevel").await.unwrap();
        level.to_string().trim_matches('"').to_owned()
    }
}

#[tokio::test]
async fn it_answers_what_the_documentation_says() {
    let site = Site::new();
    let collector = site.start().await;
    let object = site.object().await;
    let interface = "org.metricsagent.Collector1";
    let mut found = answered(&object.connection, COLLECTOR_NAME, COLLECTOR).await;
    let found = found.remove(interface).expect(interface);
    let documented = documented(interface);
    let missing: Vec<_> = documented.difference(&found).collect();
    let extra: Vec<_> = found.difference(&documented).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "only documented: {missing:#?}; only answered: {extra:#?}"
    );
    let all = object.all().await;
    let properties: BTreeMap<_, _> = documented
        .iter()
        .filter_map(|member| {
            let mut words = member.strip_prefix("property ")?.split(' ');
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect();
    let signatures: BTreeMap<_, _> = all
        .iter()
        .map(|(name, value)| (name.clone(), value.value_signature().to_string()))
        .collect();
    assert_eq!(signatures, properties);
    let text = |name: &str| all[name].to_string().trim_matches('"').to_owned();
    assert_eq!(text("State"), "ready");
    assert_eq!(text("PublicKey"), collector.public_key);
    assert_eq!(text("Endpoint"), collector.address.to_string());
    assert_eq!(text("Version"), env!("CARGO_PKG_VERSION"));
    let log = answered(&object.connection, COLLECTOR_NAME, LOG_CONTROL).await;
    let members = &log["org.freedesktop.LogControl1"];
    let names: BTreeSet<_> = members
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    let expected = ["LogLevel", "LogTarget", "SyslogIdentifier"];
    assert_eq!(names, BTreeSet::from(expected));
}

#[tokio::test]
async fn hosts_are_listed_page_by_page() {
    let site = Site::new();
    let mut collector = site.start().await;
    let object = site.object().await;
    assert_eq!(object.list("", "", 0).await, (vec![], false));
    let mut rack = collector.peer("RACK").await;
    for name in ["web2", "db1", "web1", "web3"] {
        rack.report(name, r#"{"cpu.count": 2}"#, "model").await;
    }
    let mut other = collector.peer("OTHER").await;
    other
        .report("web1", r#"{"sys.uptime": 1}"#, "metrics")
        .await;
    collector.logged("web1 reports on another connection").await;
    let (rows, more) = object.list("", "", 0).await;
    assert!(!more);
    let names: Vec<_> = rows.iter().map(|row| row.0.as_str()).collect();
    assert_eq!(names, ["db1", "web1", "web2", "web3"]);
    let web1 = &rows[1];
    assert_eq!((web1.1.as_str(), web1.4), ("reporting", 2));
    assert_eq!(web1.6, "127.0.0.1");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let now = u64::try_from(now.as_micros()).unwrap();
    assert!(web1.3 <= web1.2 && web1.2 <= now, "{web1:?}");
    assert!(now - web1.3 < 2 * 60 * 1_000_000, "{web1:?}");
    let (rows, more) = object.list("web", "", 2).await;
    assert_eq!((rows.len(), more), (2, true));
    let (rows, more) = object.list("web", &rows[1].0, 2).await;
    assert_eq!((rows[0].0.as_str(), rows.len(), more), ("web3", 1, false));
    assert_eq!(object.number("HostsReporting").await, 4);
    assert_eq!(object.number("MessagesReceived").await, 5);
    rack.report("web2", "nonsense", "metrics").await;
    collector.logged("Refused a message").await;
    eventually("it is counted", async || {
        (object.number("MessagesRefused").await == 1).then_some(())
    })
    .await;
    assert!(object.number("BytesReceived").await > 5 * 16);
}

#[tokio::test]
async fn keys_that_came_are_listed() {
    let site = Site::new();
    let mut collector = site.start().await;
    let object = site.object().await;
    let none: Vec<KeyRow> = object.call("ListKeys", &()).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    let mut rack = collector.peer("RACK").await;
    rack.report("web1", "{}", "model").await;
    rack.report("web2", "{}", "model").await;
    collector.logged("web2 reports").await;
    let (hosts, _) = object.list("web1", "", 0).await;
    let keys: Vec<KeyRow> = object.call("ListKeys", &()).await.unwrap();
    let [(role, key, names, first, last, address, state, refusals)] = &keys[..] else {
        panic!("{keys:?}");
    };
    assert_eq!((role.as_str(), key), ("agent", &hosts[0].5));
    let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["web1", "web2"]));
    assert!(first <= last && *first > 1_600_000_000_000_000, "{keys:?}");
    assert_eq!(
        (address.as_str(), state.as_str(), *refusals),
        ("127.0.0.1", "any", 0)
    );
    assert_eq!(object.number("KeysSeen").await, 1);
    assert_eq!(object.number("HandshakesRefused").await, 0);
    assert_eq!(object.number("Viewers").await, 0);
    collector.stop().await;
}

#[tokio::test]
async fn a_host_shows_what_it_reports() {
    let site = Site::new();
    let collector = site.start().await;
    let object = site.object().await;
    let mut agent = collector.peer("A").await;
    let model = r#"{"os": "a\u0000b", "cpu.count": 2, "sys.offset": -3, "load": 0.5}"#;
    agent.report("web1", model, "model").await;
    let model: HashMap<String, OwnedVariant> = eventually("the model is there", async || {
        let model: zbus::Result<_> = object.call("GetMetrics", &("web1", "model")).await;
        model.ok()
    })
    .await;
    let signatures: BTreeMap<_, _> = model
        .iter()
        .map(|(name, value)| (name.as_str(), value.value_signature().to_string()))
        .collect();
    let expected = [
        ("cpu.count", "t"),
        ("load", "d"),
        ("os", "s"),
        ("sys.offset", "x"),
    ];
    let expected = expected.map(|(name, signature)| (name, signature.to_owned()));
    assert_eq!(signatures, BTreeMap::from(expected));
    // D-Bus has no NUL in strings; a program that sends one is thrown off the bus.
    assert!(model["os"].to_string().contains("a\u{fffd}b"));
    let (name, text) = object.refused("GetMetrics", &("web1", "metrics")).await;
    assert_eq!(name, "org.metricsagent.Error.NotReported");
    assert_eq!(
        text,
        "nothing is known of its metrics; the host is reporting"
    );
    agent
        .report("web1", r#"{"sys.uptime": 7.5}"#, "metrics")
        .await;
    eventually("the metrics are there", async || {
        let metrics: zbus::Result<HashMap<String, OwnedVariant>> =
            object.call("GetMetrics", &("web1", "metrics")).await;
        metrics
            .ok()
            .filter(|metrics| metrics.contains_key("sys.uptime"))
    })
    .await;
    let about: HashMap<String, OwnedVariant> = object.call("GetHost", &("web1",)).await.unwrap();
    let keys: BTreeSet<_> = about.keys().map(String::as_str).collect();
    for key in [
        "Name",
        "Presence",
        "LastSeenUSec",
        "SinceUSec",
        "Messages",
        "Metrics",
        "ModelEntries",
        "Address",
    ] {
        assert!(keys.contains(key), "{key}: {keys:?}");
    }
    assert!(about["Presence"].to_string().contains("reporting"));
    for method in ["GetHost", "ForgetHost"] {
        let (name, _) = object.refused(method, &("nobody",)).await;
        assert_eq!(name, "org.metricsagent.Error.NoSuchHost", "{method}");
    }
    let (name, text) = object.refused("GetMetrics", &("web1", "all")).await;
    assert_eq!(name, "org.freedesktop.DBus.Error.InvalidArgs");
    assert_eq!(
        text,
        "\"all\" is not a kind of grid; expected metrics or model"
    );
    let (name, _) = object.refused("ForgetHost", &("web1",)).await;
    assert_eq!(name, "org.metricsagent.Error.HostReports");
}

#[tokio::test]
async fn hosts_that_come_and_go_are_signals() {
    let site = Site::new();
    site.configure("[hosts]\ntimeout = '1s'\n");
    let mut collector = site.start().await;
    let object = site.object().await;
    let rule = zbus::MatchRule::builder()
        .msg_type(zbus::message::Type::Signal)
        .interface("org.metricsagent.Collector1")
        .build()
        .unwrap();
    let mut signals = zbus::MessageStream::for_match_rule(rule, &object.connection, None)
        .await
        .unwrap();
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    for expected in ["HostAppeared", "HostGone"] {
        let signal = tokio::time::timeout(PATIENCE, signals.next()).await;
        let signal = signal.expect("it comes").unwrap().unwrap();
        let host: String = signal.body().deserialize().unwrap();
        let member = signal.header().member().unwrap().to_string();
        assert_eq!((member.as_str(), host.as_str()), (expected, "web1"));
    }
    assert_eq!(
        object.names().await,
        [("web1".to_owned(), "gone".to_owned())]
    );
    assert_eq!(object.number("HostsGone").await, 1);
    let () = object.call("ForgetHost", &("web1",)).await.unwrap();
    assert_eq!(object.names().await, []);
    collector.logged("web1").await;
    assert_eq!(object.number("HostsGone").await, 0);
}

#[tokio::test]
async fn a_reload_is_whole_or_refused() {
    let site = Site::new();
    let mut collector = site.start().await;
    let object = site.object().await;
    let file = site.config().display().to_string();
    assert_eq!(object.log_level().await, "info");
    site.configure("[hosts]\ntimeout = '1s'\nping_intervall = '1s'\n[log]\nlevel = 'debug'\n");
    let (name, text) = object.refused("Reload", &()).await;
    assert_eq!(name, "org.metricsagent.Error.InvalidConfiguration");
    let expected =
        format!("{file}:3: hosts.ping_intervall: unknown key; did you mean \"ping_interval\"?");
    assert_eq!(text, expected);
    collector
        .logged("The configuration was not reloaded, and nothing has changed: ")
        .await;
    assert_eq!(object.log_level().await, "info");
    // The host stays, as the old timeout is in force.
    let mut agent = collector.peer("A").await;
    agent.hello().await;
    agent.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;

    let drop_in = site.home.path().join("collector.d/10.toml");
    fs::create_dir(drop_in.parent().unwrap()).unwrap();
    fs::write(
        &drop_in,
        "[listen]\nagents = '127.0.0.1:1'\nweb = '127.0.0.1:2'\n",
    )
    .unwrap();
    site.configure("[hosts]\ntimeout = '1s'\n[log]\nlevel = 'debug'\n[dbus]\nbus = 'none'\n");
    let properties = object.properties(COLLECTOR).await;
    let mut changes = properties.receive_properties_changed().await.unwrap();
    let () = object.call("Reload", &()).await.unwrap();
    assert_eq!(object.log_level().await, "debug");
    collector.logged("Configuration reloaded").await;
    let change = tokio::time::timeout(PATIENCE, changes.next()).await;
    let change = change.expect("it is announced").unwrap();
    let names: Vec<_> = change
        .args()
        .unwrap()
        .changed_properties()
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("ConfigurationFiles="), "{names:?}");
    assert!(names[0].contains("10.toml"), "{names:?}");
    // The new timeout is looked at with the next ping; the old one was 30 s.
    let gone = collector.logged("web1 is gone: nothing heard for ").await;
    let seconds = gone.rsplit("nothing heard for ").next().unwrap();
    let seconds: u64 = seconds.trim_end_matches(" s").parse().unwrap();
    assert!(seconds < 20, "{gone}");
    collector.stop().await;
}

#[tokio::test]
async fn what_takes_a_restart_is_said_in_one_line() {
    let site = Site::new();
    let mut command = program(site.home.path());
    let bus = site.bus.address();
    site.configure(&format!(
        "[listen]\nagents = '127.0.0.1:0'\n[dbus]\nbus = '{bus}'\n"
    ));
    command
        .arg("--config")
        .arg(site.config())
        .env_remove("METRICS_COLLECTOR_DBUS__BUS");
    let mut collector = Collector::run(command).await;
    site.configure("[listen]\nagents = '127.0.0.1:1'\n[dbus]\nbus = 'none'\n");
    let object = site.object().await;
    let () = object.call("Reload", &()).await.unwrap();
    let line = collector.logged("take a restart").await;
    let expected = "These settings differ from those in force, and take a restart: \
                    listen.agents, dbus.bus";
    assert!(line.contains(expected), "{line}");
    let mut agent = collector.peer("A").await;
    agent.hello().await;
}

#[tokio::test]
async fn systemd_hears_of_a_reload() {
    let site = Site::new();
    let path = site.home.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |part: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).expect("it tells systemd");
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(part) {
                return text;
            }
        }
    };
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", &path);
    let mut collector = Collector::run(command).await;
    hear("READY=1");
    for text in ["[hosts]\ntimeout = '9s'\n", "[hosts]\ntimeout = 'x'\n"] {
        site.configure(text);
        collector.signal(Signal::HUP);
        assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
        hear("READY=1");
    }
    collector
        .logged("hosts.timeout: 'x' is not a time from 1s to 2h")
        .await;
    let mut agent = collector.peer("A").await;
    agent.hello().await;
}

#[tokio::test]
async fn a_flood_of_small_calls_is_bounded_and_others_are_answered() {
    /// What it may take in a debug build, in KiB.
    const ROOM: u64 = 32 * 1024;
    let site = Site::new();
    let collector = site.start().await;
    let object = site.object().await;
    let answered = async || {
        let get = object.connection.call_method(
            Some(COLLECTOR_NAME),
            COLLECTOR,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &("org.metricsagent.Collector1", "Version"),
        );
        get.await.unwrap();
    };
    answered().await;
    let before = collector.most_memory_kib();
    for method in ["Reload", "ListRemoteWrites", "NoSuchMethod"] {
        let flood = flood(&site.bus, COLLECTOR_NAME, COLLECTOR, method);
        while flood.iter().any(|one| !one.is_finished()) {
            answered().await;
        }
        for one in flood {
            one.join().unwrap();
        }
        answered().await;
        let most = collector.most_memory_kib();
        assert!(
            most < before + ROOM,
            "{method}: {before} KiB before, {most} KiB now"
        );
    }
}

#[tokio::test]
async fn who_is_not_root_may_read_and_nothing_else() {
    if !root_for("calling as another user") {
        return;
    }
    let site = Site::new();
    let mut collector = site.start().await;
    let server = format!("{COLLECTOR} org.metricsagent.Collector1");
    for (call, action) in [
        ("Reload", "reload"),
        ("ForgetHost string:web1", "manage-hosts"),
    ] {
        let (succeeded, error) = site.as_nobody(&format!("{server}.{call}")).await;
        let expected = format!(
            "Error org.freedesktop.DBus.Error.AccessDenied: org.metricsagent.collector.{action} is \
             not allowed: there is no polkit on this bus"
        );
        assert!(
            !succeeded && error.starts_with(&expected),
            "{call}: {error}"
        );
    }
    let set = format!(
        "{LOG_CONTROL} org.freedesktop.DBus.Properties.Set \
         string:org.freedesktop.LogControl1 string:LogLevel variant:string:debug"
    );
    let (succeeded, error) = site.as_nobody(&set).await;
    let expected = "org.metricsagent.collector.set-log is not allowed";
    assert!(!succeeded && error.contains(expected), "{error}");
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    let list = format!("{server}.ListHosts string: string: uint32:0");
    let (succeeded, text) = site.as_nobody(&list).await;
    assert!(succeeded && text.contains("\"web1\""), "{text}");
    assert_eq!(site.object().await.log_level().await, "info");
}

#[tokio::test]
async fn the_log_level_is_systemds() {
    let site = Site::new();
    let _collector = site.start().await;
    let object = site.object().await;
    let properties = object.properties(LOG_CONTROL).await;
    let interface = || "org.freedesktop.LogControl1".try_into().unwrap();
    let level = async |text: &str| {
        let value = zbus::Variant::from(text.to_owned());
        properties.set(interface(), "LogLevel", &value).await
    };
    level("debug").await.unwrap();
    assert_eq!(object.log_level().await, "debug");
    level("notice").await.unwrap();
    assert_eq!(object.log_level().await, "info");
    level("loud").await.unwrap_err();
    let identifier = properties.get(interface(), "SyslogIdentifier").await;
    let identifier = identifier.unwrap().to_string();
    assert!(identifier.contains("metrics-collector"), "{identifier}");
}

#[tokio::test]
async fn a_name_that_cannot_be_had_ends_it_with_69() {
    let site = Site::new();
    let _first = site.start().await;
    let (status, text) = site.fail();
    assert_eq!(status.code(), Some(69));
    let expected = "the bus name org.metricsagent.Collector1 is taken: another metrics-collector is \
                    running on this bus";
    assert!(text.contains(expected), "{text}");

    // The service; by hand it is done without.
    let site = Site::on(PrivateBus::with_policy("<deny own='*'/>"));
    let mut command = site.command();
    command.env("STATE_DIRECTORY", site.home.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("org.metricsagent.Collector1.conf"), "{text}");
    let collector = site.start().await;
    let line = "going on without the bus, as this is a run by hand";
    assert!(collector.before.iter().any(|found| found.contains(line)));
    let mut agent = collector.peer("A").await;
    agent.hello().await;
}

#[tokio::test]
async fn the_name_is_back_after_the_bus_was_restarted() {
    let mut site = Site::new();
    let mut collector = site.start().await;
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    site.bus.stop();
    collector.logged("Not on the bus, trying again").await;
    agent.hello().await;
    site.bus.start_again();
    collector
        .logged("On the bus again as org.metricsagent.Collector1")
        .await;
    let names = site.object().await.names().await;
    assert_eq!(names, [("web1".to_owned(), "reporting".to_owned())]);
    collector.stop().await;
}

#[tokio::test]
async fn a_bus_that_is_away_is_waited_for() {
    let mut site = Site::new();
    site.bus.stop();
    let mut collector = site.start().await;
    let mut agent = collector.peer("A").await;
    agent.hello().await;
    site.bus.start_again();
    collector.logged("On the bus again").await;
    assert_eq!(site.object().await.names().await, []);
}

/// `--public-key` is the running collector's, for every user and whatever the settings mean now;
/// looking makes no key.
#[tokio::test]
async fn the_public_key_is_the_running_collectors() {
    let site = Site::new();
    let collector = site.start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let ask = |home: &std::path::Path| {
        let mut command = program(home);
        command.env("METRICS_COLLECTOR_DBUS__BUS", site.bus.address());
        command.arg("--public-key").output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let expected = format!("{}\n", collector.public_key);
    for home in [site.home.path(), elsewhere.path()] {
        let output = ask(home);
        assert_eq!(
            (text(&output.stdout), text(&output.stderr)),
            (expected.clone(), String::new())
        );
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    // Another pair in the place of the first counts from the next start on.
    if rustix::process::geteuid().is_root() {
        let keys = site.home.path().join(".curve");
        fs::rename(&keys, site.home.path().join("old")).unwrap();
        let next = Certificate::write_pair(&keys, "collector").unwrap().public;
        let until = "metrics-collector: this key is in force until the restart of the running \
                     collector; ";
        let file = keys.join("collector.key_secret");
        let file = file.display();
        // Also to those who cannot read them: the collector says it.
        let said_to_all = |said: &str| {
            for home in [site.home.path(), elsewhere.path()] {
                let output = ask(home);
                assert_eq!(text(&output.stdout), expected);
                assert_eq!(text(&output.stderr), format!("{until}{said}\n"));
            }
        };
        said_to_all(&format!("then it is {next}, of {file}"));
        fs::write(keys.join("collector.key_secret"), "no key").unwrap();
        let output = ask(elsewhere.path());
        assert!(
            text(&output.stderr).contains("the next start is refused"),
            "{output:?}"
        );
        assert!(!text(&output.stderr).contains("expected"), "{output:?}");
        fs::remove_file(keys.join("collector.key_secret")).unwrap();
        said_to_all(&format!("then a new one is made, in {file}"));
    }
    // One that hangs is not said to be none.
    collector.signal(Signal::STOP);
    let output = ask(elsewhere.path());
    assert!(
        text(&output.stderr).contains("the running collector, which does not answer on the bus"),
        "{output:?}"
    );
    collector.signal(Signal::CONT);
    drop(collector);
    let output = ask(elsewhere.path());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(": there is no key pair yet"),
        "{output:?}"
    );
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
