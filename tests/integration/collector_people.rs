//! What an administrator is told of hosts: cloned and renamed ones, and the collector's own
//! health, at /metrics and on the bus.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use metrics_agent::curve::certificate::Certificate;
use metrics_agent::dbus::COLLECTOR_NAME;
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::json;
use zbus::{Connection, OwnedVariant};

use crate::private_bus::PrivateBus;
use crate::support::agent;
use crate::support::collector::{Collector, Fleet, program};
use crate::support::deployed::section;
use crate::support::http::{address_of, fetch};
use crate::support::peer::Peer;
use crate::support::place::eventually;
use crate::support::receiver::Receiver;

const COLLECTOR: &str = "/org/metricsagent/Collector1";
const INTERFACE: &str = "org.metricsagent.Collector1";
const METRICS: [&str; 4] = ["METR", "host-%d", r#"{"mem.free": 1}"#, "metrics"];

/// A host in a list.
type Row = (String, String, u64, u64, u64, String, String);

/// A target of remote write, as the bus has it.
type Target = (String, String, u64, u64, u64, u64, bool, u64, String, bool);

/// A collector on a bus of its own, with these settings.
struct Site {
    bus: PrivateBus,
    home: tempfile::TempDir,
    collector: Collector,
    connection: Connection,
    web: std::net::SocketAddr,
}

impl Site {
    async fn new(settings: &str) -> Self {
        let bus = PrivateBus::start();
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("collector.toml");
        fs::write(&file, settings).unwrap();
        let mut command = program(home.path());
        command
            .arg("--config")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"])
            .args(["--bus", &bus.address()]);
        let collector = Collector::run(command).await;
        let web = address_of(&collector);
        let address = bus.address();
        let builder = zbus::connection::Builder::address(address.as_str());
        let connection = builder.build().await.unwrap();
        Self {
            bus,
            home,
            collector,
            connection,
            web,
        }
    }

    async fn call<B, T>(&self, method: &str, arguments: &B) -> T
    where
        B: serde::Serialize + zbus::DynamicType,
        T: DeserializeOwned + zbus::Type,
    {
        let call = self.connection.call_method(
            Some(COLLECTOR_NAME),
            COLLECTOR,
            Some(INTERFACE),
            method,
            arguments,
        );
        call.await.unwrap().body().deserialize().unwrap()
    }

    async fn property(&self, name: &str) -> u64 {
        let arguments = (INTERFACE, name);
        let call = self.connection.call_method(
            Some(COLLECTOR_NAME),
            COLLECTOR,
            Some("org.freedesktop.DBus.Properties"),
            "Get",
            &arguments,
        );
        let value: OwnedVariant = call.await.unwrap().body().deserialize().unwrap();
        let text = value.to_string();
        text.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The value of a series at /metrics, which is written as there.
    async fn series(&self, series: &str) -> Option<f64> {
        let text = fetch(self.web, "/metrics").await.body;
        let rest = |line: &str| {
            line.strip_prefix(series)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        text.lines()
            .find_map(rest)
            .map(|value| value.parse().unwrap())
    }
}

/// Two machines with one key, under two names: they report until it is told.
#[tokio::test]
async fn a_cloned_machine_is_told_of() {
    let mut site = Site::new("").await;
    let mut fleet = Fleet::connect_with_one_key(&site.collector, "CLONE", 2).await;
    let report = async {
        loop {
            fleet.send(&METRICS, 1).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let line = tokio::select! {
        line = site.collector.logged("reports from two machines at a time") => line,
        () = report => unreachable!(),
    };
    for part in [
        "WARN",
        "as host-0 from 127.0.0.1",
        "as host-1 from 127.0.0.1",
        "remove agent.key_secret and restart metrics-agent",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(site.property("SharedKeyMessages").await > 0);
    let scraped = site
        .series("metrics_collector_shared_key_messages_total")
        .await;
    assert!(scraped.unwrap() > 0.0);
    // Of the one whose connection is the older one.
    let mut hosts = 0.0;
    for host in ["host-0", "host-1"] {
        let series = format!("metrics_collector_host_shared_key_messages_total{{host=\"{host}\"}}");
        hosts += site.series(&series).await.unwrap_or(0.0);
    }
    assert!(hosts > 0.0);
}

/// A host that is renamed while its agent runs, to a name that was unknown and back.
#[tokio::test]
async fn the_old_names_of_a_renamed_host_are_forgotten_and_told() {
    let mut site = Site::new("[hosts]\ntimeout = \"2s\"\n").await;
    let report_as = |name: &str, collector: &Collector| {
        let endpoint = collector.address.to_string();
        format!(
            "host.name = '{name}'\nintervals.metrics = '100ms'\n{}",
            section("main", &endpoint, &collector.public_key)
        )
    };
    let host = agent::Site::new(&report_as("localhost", &site.collector));
    let agent = host.start();
    site.collector.logged("localhost reports").await;
    let mut old = "localhost";
    for name in ["web1", "localhost"] {
        host.configure(&report_as(name, &site.collector));
        agent.signal(Signal::HUP);
        let line = site.collector.logged(&format!("{old} ")).await;
        let said = format!("{old} was renamed to {name}");
        assert!(line.contains(&said), "{line}");
        let (hosts, _): (Vec<Row>, bool) = site.call("ListHosts", &("", "", 0_u32)).await;
        let names: Vec<_> = hosts.into_iter().map(|host| host.0).collect();
        assert_eq!(names, [name]);
        old = name;
    }
    // Back at once: the name between is the old one.
    for name in ["web1", "localhost"] {
        host.configure(&report_as(name, &site.collector));
        agent.signal(Signal::HUP);
        site.collector.logged(&format!("{name} ")).await;
    }
    let line = site.collector.logged("web1 ").await;
    assert!(line.contains("web1 was renamed to localhost"), "{line}");
}

/// A gateway reports many hosts over one connection, some of them once.
#[tokio::test]
async fn no_host_of_a_gateway_is_an_old_name() {
    let mut site = Site::new("[hosts]\ntimeout = \"2s\"\n").await;
    let mut gateway = site.collector.peer("GATEWAY").await;
    for name in ["rack-0", "rack-1"] {
        gateway.report(name, "{}", "metrics").await;
        site.collector.logged(&format!("{name} reports")).await;
        // Not in one burst.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let report = async {
        loop {
            gateway.report("rack-2", "{}", "metrics").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let told = async {
        site.collector.logged("rack-2 reports").await;
        let lines = ["rack-0 ", "rack-1 "];
        for name in lines {
            let line = site.collector.logged(name).await;
            assert!(!line.contains("renamed"), "{line}");
        }
    };
    tokio::select! {
        () = told => {}
        () = report => unreachable!(),
    }
    let (hosts, _): (Vec<Row>, bool) = site.call("ListHosts", &("", "", 0_u32)).await;
    assert_eq!(hosts.len(), 3);
}

/// An agent for whose host there is no place is never told that it reports, not even by the first
/// refusal that there is.
#[tokio::test]
async fn an_agent_without_a_place_never_reports() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &[]).await;
    let host = agent::Site::new(&format!(
        "host.name = 'web1'\nintervals.metrics = '100ms'\n{}",
        section(
            "main",
            &collector.address.to_string(),
            &collector.public_key
        )
    ));
    Certificate::write_pair(&host.at("state"), "agent").unwrap();
    let file = fs::read_to_string(host.at("state/agent.key_secret")).unwrap();
    let key = |name: &str| {
        let (_, rest) = file.split_once(&format!("{name}-key = \"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    let keys = json!({"do": "keys", "public": key("public"), "secret": key("secret")});
    // As many hosts as a key may have.
    for relay in 0..10 {
        let mut peer = Peer::dealer();
        peer.ask(keys.clone()).await;
        let address = format!("tcp://{}", collector.address);
        peer.ask(json!({"do": "connect", "address": address, "server": collector.public_key}))
            .await;
        let name = format!("rack-{relay}-%d");
        let frames = [&b"METR"[..], name.as_bytes(), b"{}", b"metrics"];
        peer.send_many(None, &frames, 100).await;
        peer.hello().await;
    }
    let mut agent = host.start();
    agent.says("refuses what this host reports").await;
    assert!(agent.said("Reporting to").is_empty());
}

#[tokio::test]
async fn the_collectors_own_health_is_told() {
    let mut receiver = Receiver::start().await;
    // There is no collector at the other one.
    let settings = format!(
        "[remote_write.good]\nurl = \"{}\"\n[remote_write.away]\nurl = \"http://127.0.0.1:1/\"\n",
        receiver.url()
    );
    let mut site = Site::new(&settings).await;
    let mut agent: Peer = site.collector.peer("AGENT").await;
    agent.report("web1", r#"{"mem.free":1}"#, "metrics").await;
    agent.send(None, &[b"x"]).await;
    site.collector.logged("Refused a message").await;
    receiver.request().await;
    let (good, away) = eventually("both have had something", async || {
        let targets: Vec<Target> = site.call("ListRemoteWrites", &()).await;
        let by_name: HashMap<_, _> = targets.iter().map(|one| (&*one.0, one)).collect();
        let (good, away) = (by_name["good"].clone(), by_name["away"].clone());
        (good.2 > 0 && away.6).then_some((good, away))
    })
    .await;
    assert!(good.1.starts_with("http://127.0.0.1:"), "{}", good.1);
    assert!(!good.6 && good.7 > 0 && good.8.is_empty(), "{good:?}");
    assert!(away.2 == 0 && away.5 > 0 && away.7 == 0, "{away:?}");
    assert!(away.8.contains("refused"), "{away:?}");
    for (series, expected) in [
        ("failing{target=\"good\"}", 0.0),
        ("failing{target=\"away\"}", 1.0),
        ("samples_failed_total{target=\"away\"}", 0.0),
        ("samples_dropped_total{target=\"good\"}", 0.0),
        ("last_success_timestamp_seconds{target=\"away\"}", 0.0),
    ] {
        let series = format!("metrics_collector_remote_write_{series}");
        assert_eq!(site.series(&series).await, Some(expected), "{series}");
    }
    let sent = "metrics_collector_remote_write_samples_sent_total{target=\"good\"}";
    assert!(site.series(sent).await.unwrap() > 0.0);
    for (series, expected) in [
        ("metrics_collector_messages_refused_total", 1.0),
        ("metrics_collector_handshakes_refused_total", 0.0),
        ("metrics_collector_viewers", 0.0),
        ("metrics_collector_host_comebacks_total{host=\"web1\"}", 0.0),
    ] {
        assert_eq!(site.series(series).await, Some(expected), "{series}");
    }
    let last = "metrics_collector_host_last_metrics_timestamp_seconds{host=\"web1\"}";
    assert!(site.series(last).await.unwrap() > 1e9);
    for property in [
        "ViewerMessagesSent",
        "ViewerMessagesLost",
        "ViewerMessagesRefused",
    ] {
        assert_eq!(site.property(property).await, 0, "{property}");
    }
}

/// Runs `metrics-collector hosts` with these words: status, standard output, standard error.
async fn hosts(site: &Site, words: &[&str], nobody: bool) -> (i32, String, String) {
    let mut command = if nobody {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_metrics-collector"));
        command
    } else {
        program(site.home.path())
    };
    command
        .arg("hosts")
        .args(words)
        .args(["--bus", &site.bus.address()]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), stdout, stderr)
}

/// The names that a list as JSON has, each with its state.
fn listed(json: &str) -> Vec<(String, String)> {
    let hosts: serde_json::Value = serde_json::from_str(json).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let hosts = hosts.as_array().unwrap().iter();
    hosts
        .map(|host| (text(&host["name"]), text(&host["state"])))
        .collect()
}

#[tokio::test]
async fn the_command_lists_and_forgets_hosts() {
    let mut site = Site::new("[hosts]\ntimeout = \"3s\"\n").await;
    let mut agent = site.collector.peer("AGENT").await;
    let hostile = "a\u{202e}b";
    for host in ["web1", "web2", hostile] {
        agent.report(host, "{}", "metrics").await;
    }
    site.collector.logged("web2 is gone").await;
    let report = async {
        loop {
            agent.report("db1", "{}", "metrics").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let look = async {
        site.collector.logged("db1 reports").await;
        let pair = |name: &str, state: &str| (name.to_owned(), state.to_owned());
        let (status, all, errors) = hosts(&site, &["--json"], false).await;
        assert_eq!((status, &*errors), (0, ""));
        assert_eq!(
            listed(&all),
            [
                pair(hostile, "gone"),
                pair("db1", "reporting"),
                pair("web1", "gone"),
                pair("web2", "gone"),
            ]
        );
        assert!(!all.contains('\u{202e}'), "{all}");
        let (_, gone, _) = hosts(&site, &["--gone", "--json", "web*", "db*"], false).await;
        assert_eq!(listed(&gone), [pair("web1", "gone"), pair("web2", "gone")]);
        // Every user of the bus may look.
        let (status, text, _) = hosts(&site, &["--gone"], true).await;
        assert_eq!((status, text.lines().count()), (0, 4), "{text}");
        assert!(text.starts_with("HOST"), "{text}");
        assert!(text.contains("a\\u{202e}b"), "{text}");
        let (status, _, errors) = hosts(&site, &["mail*"], false).await;
        assert_eq!(status, 1);
        assert!(errors.contains("no known host matches"), "{errors}");
        // A shell completes those that can be forgotten, and no name that is not plain.
        let mut shell = program(site.home.path());
        shell
            .env("DBUS_SYSTEM_BUS_ADDRESS", site.bus.address())
            .args(["complete-names", "gone", "--", "w"]);
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap());
        assert_eq!(output.await.unwrap().stdout, b"web1\nweb2\n");
        // And not forget any.
        let (status, _, errors) = hosts(&site, &["forget", "web1"], true).await;
        assert_eq!(status, 1, "{errors}");
        let (status, text, errors) = hosts(&site, &["forget", "web1", "db1", "x"], false).await;
        assert_eq!((status, &*text), (1, "web1 is forgotten\n"));
        assert!(errors.contains("db1: it reports"), "{errors}");
        assert!(errors.contains("x: no host of this name"), "{errors}");
        let (status, text, _) = hosts(&site, &["--gone", "db*"], false).await;
        assert_eq!((status, &*text), (0, "No host is gone.\n"));
        let (status, text, _) = hosts(&site, &["forget", "web2"], false).await;
        assert_eq!((status, &*text), (0, "web2 is forgotten\n"));
        let (_, gone, _) = hosts(&site, &["--gone", "--json"], false).await;
        assert_eq!(listed(&gone), [pair(hostile, "gone")]);
    };
    tokio::select! {
        () = look => {}
        () = report => unreachable!(),
    }
    site.collector.stop().await;
    let (status, _, errors) = hosts(&site, &[], false).await;
    assert_eq!(status, 69);
    assert!(
        errors.contains("no metrics-collector is running"),
        "{errors}"
    );
}
