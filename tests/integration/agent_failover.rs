//! Several endpoints and several keys of one collector's section, and those that SRV records name,
//! with the real programs. When the agent goes back to the first endpoint is tested where time can
//! be made short (`agent/connection/tests.rs`).

use std::path::Path;
use std::sync::{Arc, Mutex};

use metrics_agent::curve::certificate::Certificate;
use rustix::process::Signal;
use tempfile::TempDir;
use zbus::connection::Builder;

use crate::private_bus::PrivateBus;
use crate::support::agent::{Agent, Site};
use crate::support::collector::{Collector, program};
use crate::support::place::{LOOK_AGAIN, eventually};

const HEAD: &str = "host.name = 'web1'\n\
                    intervals = { metrics = '100ms', stale = '1min' }\n\
                    metrics.sources = ['uptime']\n";

/// A collector with a home of its own, which outlasts it.
struct House {
    home: TempDir,
    collector: Collector,
}

impl House {
    async fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let collector = Collector::start(home.path(), &[]).await;
        Self { home, collector }
    }

    fn endpoint(&self) -> String {
        self.collector.address.to_string()
    }

    async fn kill(&mut self) {
        self.collector.signal(Signal::KILL);
        self.collector.ended().await;
    }

    /// Starts it again, at the address that it had, with the key that is in its home now.
    async fn reopen(&mut self) {
        self.collector = at(self.home.path(), &self.endpoint()).await;
    }
}

async fn at(home: &Path, address: &str) -> Collector {
    let mut command = program(home);
    command.args(["--listen", address]);
    Collector::run(command).await
}

/// The section `main` with these endpoints and keys.
fn section(endpoints: &[&str], keys: &[&str]) -> String {
    let list = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|text| format!("'{text}'")).collect();
        texts.join(", ")
    };
    format!(
        "{HEAD}[collector.main]\nendpoint = [{}]\npublic_key = [{}]\n",
        list(endpoints),
        list(keys)
    )
}

#[tokio::test]
async fn collectors_that_are_killed_in_turn_stand_in_for_each_other() {
    let (mut one, mut other) = (House::open().await, House::open().await);
    let (first, second) = (one.endpoint(), other.endpoint());
    let keys = [
        other.collector.public_key.clone(),
        one.collector.public_key.clone(),
    ];
    let site = Site::new(&section(&[&first, &second], &[&keys[0], &keys[1]]));
    let mut agent = site.start();
    agent.says(&format!("Reporting to main ({first})")).await;
    one.collector.logged("web1 reports").await;

    one.kill().await;
    let line = agent.says("Reporting to main at ").await;
    let moved =
        format!("Reporting to main at {second} now, not at {first} any more: the connection");
    assert!(line.contains(&moved), "{line}");
    other.collector.logged("web1 reports").await;
    assert_eq!(agent.said("Lost main"), [""; 0]);
    assert_eq!(agent.said("No secure connection"), [""; 0]);

    // The second has not worked for a minute: that is told, and there is a wait.
    one.reopen().await;
    other.kill().await;
    agent.says(&format!("Lost main ({second})")).await;
    let moved =
        format!("Reporting to main at {first} now, not at {second} any more: the connection");
    agent.says(&moved).await;
    one.collector.logged("web1 reports").await;

    // Nobody is left: one line, with why for each of them.
    one.kill().await;
    let line = agent.says_times("Lost main", 2).await;
    for away in [&first, &second] {
        assert!(line.contains(&format!("{away}: ")), "{line}");
    }
    other.reopen().await;
    agent
        .says_times(&format!("Reporting to main at {second} now"), 2)
        .await;
    assert_eq!(agent.said("Lost main").len(), 2);
    agent.terminate().await;
}

#[tokio::test]
async fn a_collector_s_key_is_renewed_under_its_agents() {
    let home = tempfile::tempdir().unwrap();
    let pair = |name: &str| {
        let made = Certificate::write_pair(home.path(), name).unwrap();
        let file = home.path().join(format!("{name}.key_secret"));
        (made.public.to_string(), file.display().to_string())
    };
    let (old, old_file) = pair("old");
    let (new, new_file) = pair("new");
    let (_, strange_file) = pair("strange");
    let mut collector = Collector::start(home.path(), &["--key-file", &old_file]).await;
    let address = collector.address.to_string();
    let site = Site::new(&section(&[&address], &[&new, &old]));
    let mut agent = site.start();
    // That the first key was the wrong one is no trouble.
    agent.says(&format!("Reporting to main ({address})")).await;
    assert_eq!(agent.said("No secure connection"), [""; 0]);

    let mut restart = async |file: &str| {
        collector.signal(Signal::TERM);
        collector.ended().await;
        let mut command = program(home.path());
        command.args(["--listen", &address, "--key-file", file]);
        collector = Collector::run(command).await;
    };
    restart(&new_file).await;
    let line = agent.says(", which has the key ").await;
    let told = format!("({address}), which has the key {new} now, not {old} any more");
    assert!(line.contains(&told), "{line}");
    assert_eq!(agent.said("No secure connection"), [""; 0]);

    restart(&strange_file).await;
    agent
        .says("its key is none of the 2 that are configured")
        .await;
    agent.terminate().await;
}

/// A record: priority, port, host.
type Record = (u16, u16, &'static str);

/// systemd-resolved, with these records and what it was asked.
#[derive(Clone, Default)]
struct Resolved {
    records: Arc<Mutex<Option<Vec<Record>>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Records = Vec<(u16, u16, u16, String, Vec<(i32, i32, Vec<u8>)>, String)>;

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.resolve1.DnsError")]
enum DnsError {
    #[zbus(error)]
    ZBus(zbus::Error),
    #[zbus(name = "NXDOMAIN")]
    Nxdomain(String),
}

#[zbus::interface(name = "org.freedesktop.resolve1.Manager")]
impl Resolved {
    #[expect(clippy::type_complexity, reason = "the interface is another's")]
    fn resolve_service(
        &self,
        ifindex: i32,
        name: &str,
        service: &str,
        domain: &str,
        family: i32,
        flags: u64,
    ) -> Result<(Records, Vec<Vec<u8>>, String, String, String, u64), DnsError> {
        assert_eq!((ifindex, name, family, flags), (0, "", 0, 192));
        self.asked
            .lock()
            .unwrap()
            .push(format!("{service} {domain}"));
        let records = self.records.lock().unwrap().clone();
        let records = records.ok_or_else(|| DnsError::Nxdomain("no such name".to_owned()))?;
        let records = records.into_iter().map(|(priority, port, host)| {
            let empty = String::new();
            (priority, 0, port, host.to_owned(), Vec::new(), empty)
        });
        let canonical = |text: &str| text.to_owned();
        Ok((
            records.collect(),
            Vec::new(),
            String::new(),
            canonical(service),
            canonical(domain),
            0,
        ))
    }
}

impl Resolved {
    async fn on(&self, bus: &PrivateBus) -> zbus::Connection {
        Builder::address(bus.address().as_str())
            .serve_at("/org/freedesktop/resolve1", self.clone())
            .name("org.freedesktop.resolve1")
            .build()
            .await
            .unwrap()
    }

    fn set(&self, records: &[Record]) {
        *self.records.lock().unwrap() = Some(records.to_vec());
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn start_with(site: &Site, bus: &PrivateBus) -> Agent {
    let mut command = site.command();
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    Agent::start(command)
}

#[tokio::test]
async fn srv_records_say_where_the_collectors_are() {
    let bus = PrivateBus::start();
    let mut one = House::open().await;
    let other = House::open().await;
    let keys = [
        one.collector.public_key.clone(),
        other.collector.public_key.clone(),
    ];
    let settings = section(&["srv:Example.org"], &[&keys[0], &keys[1]]);
    let site = Site::new(&settings);
    let mut agent = start_with(&site, &bus);
    let line = agent.says("Not reporting to main").await;
    let told = "(srv:_metrics-agent._tcp.example.org) yet, trying until it works: \
                srv:_metrics-agent._tcp.example.org: cannot ask systemd-resolved for \
                _metrics-agent._tcp.example.org: it does not run on this host";
    assert!(line.contains(told), "{line}");

    let resolved = Resolved::default();
    let _service = resolved.on(&bus).await;
    eventually("it is asked", async || (resolved.asked() > 0).then_some(())).await;
    resolved.set(&[
        (20, other.collector.address.port(), "localhost"),
        (10, one.collector.address.port(), "localhost"),
    ]);
    let first = format!("localhost:{}", one.collector.address.port());
    let second = format!("localhost:{}", other.collector.address.port());
    agent.says(&format!("Reporting to main ({first})")).await;
    let mut asked = resolved.asked.lock().unwrap().clone();
    asked.dedup();
    assert_eq!(asked, ["_metrics-agent._tcp example.org"]);

    // The next target needs no further question.
    let before = resolved.asked();
    one.kill().await;
    let moved = format!("Reporting to main at {second} now, not at {first} any more: ");
    agent.says(&moved).await;
    assert_eq!(resolved.asked(), before);

    // Another round asks again, and finds the one that has come.
    let third = House::open().await;
    site.configure(&settings.replace(&keys[0], &third.collector.public_key));
    resolved.set(&[(1, third.collector.address.port(), "localhost")]);
    agent.signal(Signal::HUP);
    let third = format!("localhost:{}", third.collector.address.port());
    agent.says(&format!("Reporting to main ({third})")).await;
    assert!(resolved.asked() > before);
    agent.terminate().await;
}

#[tokio::test]
async fn a_service_without_records_is_said_and_passed_over() {
    let bus = PrivateBus::start();
    let resolved = Resolved::default();
    let _service = resolved.on(&bus).await;
    let mut one = House::open().await;
    let key = one.collector.public_key.clone();
    let address = one.endpoint();
    let site = Site::new(&section(&["srv:_m._tcp.example.org", &address], &[&key]));
    one.kill().await;
    let mut agent = start_with(&site, &bus);
    let line = agent.says("Not reporting to main").await;
    let told = format!(
        "srv:_m._tcp.example.org: _m._tcp.example.org has no SRV records; {address}: the collector \
         cannot be reached: connection refused"
    );
    assert!(line.contains(&told), "{line}");
    // Of those that there are, none is a host: "." says that there is no such service.
    resolved.set(&[(0, 0, ".")]);
    let before = resolved.asked();
    eventually("another round", async || {
        tokio::time::sleep(LOOK_AGAIN).await;
        (resolved.asked() > before).then_some(())
    })
    .await;
    one.reopen().await;
    agent.says(&format!("Reporting to main ({address})")).await;
    agent.terminate().await;
}
