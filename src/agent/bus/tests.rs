//! The service on a real bus, in front of a stand-in for the agent's task: the handle is a message
//! interface, and what is behind it is tested elsewhere.

mod access;
mod presence;

use std::collections::HashMap;
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tracing_subscriber::filter::LevelFilter;
use zbus::{OwnedVariant, Variant, fdo};

use crate::agent::bus::service::{Ended, Service, StartError};
use crate::agent::handle::{Handle, HistoryStatus, Order, OrderError};
use crate::agent::history::types::{Limits, Loss, Losses, Standing, Status, Usage, Why};
use crate::agent::settings::{CollectorSettings, EndpointOrder};
use crate::agent::state::{
    AgentState, ConnectionState, Happening, Intervals, Origin, Origins, SamplesLost, State,
    StateChange,
};
use crate::ctl::proxy::{Agent, FindError};
use crate::curve::keys::PublicKey;
use crate::dbus::{Bus, path};
use crate::metrics::Samples;
use crate::metrics::table;
use crate::private_bus::PrivateBus;
use crate::protocol::data::Acknowledged;
use crate::sources::SourceStatus;
use crate::systemd::log::{LogControl, Target};

/// No answer of a local bus takes that long, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn log() -> LogControl {
    // A process sets its log up once.
    static LOG: OnceLock<LogControl> = OnceLock::new();
    LOG.get_or_init(|| {
        LogControl::install("metrics-agent", LevelFilter::INFO, Target::Console, |_| {}).unwrap()
    })
    .clone()
}

fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

/// So many microseconds after 1970 began.
fn at(usec: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(usec)
}

fn connection(name: &str) -> ConnectionState {
    ConnectionState {
        name: name.to_owned(),
        endpoint: "collector.example.org:5556".to_owned(),
        server_key: key(7).to_string(),
        collector: Arc::new(CollectorSettings {
            endpoints: vec!["collector.example.org:5556".parse().unwrap()],
            order: EndpointOrder::Listed,
            public_keys: vec![key(7)],
        }),
        state: State::Connecting,
        state_since: at(5),
        reason: "No answer to hello yet".to_owned(),
        routing_id: "ABCDEFGHIJKLMNOP".to_owned(),
        connected_since: None,
        wants_metrics: false,
        totals: Arc::default(),
    }
}

fn state() -> AgentState {
    AgentState {
        host_name: "web1.example.org".to_owned(),
        public_key: key(1),
        state: State::Connecting,
        state_since: at(4),
        reason: "No answer to hello yet".to_owned(),
        intervals: Intervals {
            metrics: Duration::from_secs(5),
            stale: Duration::from_secs(30),
        },
        origins: Origins {
            metrics: Origin::Settings("default".to_owned()),
            stale: Origin::Kept("/var/lib/metrics-agent/settings.toml".into()),
        },
        connections: vec![connection("main")],
        sources: vec![("uptime", true), ("meminfo", true)],
        configuration_files: vec!["/etc/metrics-agent/metrics-agent.toml".into()],
        totals: Arc::default(),
    }
}

/// Carries out orders as the agent's task does, as far as the bus can see.
struct StandIn {
    state: watch::Sender<Arc<AgentState>>,
    changes: broadcast::Sender<Happening>,
    handle: Handle,
    task: Option<JoinHandle<()>>,
}

impl StandIn {
    fn prepare() -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (orders, received) = mpsc::channel(16);
        let (published, watched) = watch::channel(Arc::new(state()));
        let changes = broadcast::Sender::new(64);
        let handle = Handle {
            orders,
            state: watched,
            changes: changes.clone(),
        };
        let task = carry_out(received, published.clone());
        let stand_in = Self {
            state: published,
            changes,
            handle,
            task: None,
        };
        (stand_in, task)
    }

    fn run(self, task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            task: Some(tokio::spawn(task)),
            ..self
        }
    }

    fn start() -> Self {
        let (stand_in, task) = Self::prepare();
        stand_in.run(task)
    }

    fn publish(&self, change: impl FnOnce(&mut AgentState)) {
        self.state.send_modify(|state| change(Arc::make_mut(state)));
    }

    /// As when the agent ends: nothing is published any more.
    async fn stop(self) {
        if let Some(task) = self.task {
            task.abort();
            let _ = task.await;
        }
    }
}

/// An outage.
fn history() -> HistoryStatus {
    HistoryStatus {
        collector: Status {
            standing: Standing::Taking,
            behind: 1560,
            since: Some(1),
            lost: Losses::default(),
        },
        usage: Usage {
            memory: 17,
            disk: 1_258_291,
            limits: Limits::default(),
            room: Some(Duration::from_secs(3 * 24 * 3600)),
            disk_failing: false,
        },
        acknowledges: Some(Acknowledged::Engine),
    }
}

async fn carry_out(mut orders: mpsc::Receiver<Order>, state: watch::Sender<Arc<AgentState>>) {
    let publish = |change: &mut dyn FnMut(&mut AgentState)| {
        state.send_modify(|state| change(Arc::make_mut(state)));
    };
    while let Some(order) = orders.recv().await {
        match order {
            Order::SetIntervals { change, answer, .. } => {
                let metrics = change.metrics.unwrap_or(Duration::from_secs(5));
                if metrics < Duration::from_millis(100) {
                    let text = "expected 100ms to 1h".to_owned();
                    let _ = answer.send(Err(OrderError::OutOfRange(text)));
                    continue;
                }
                publish(&mut |state| state.intervals.metrics = metrics);
                let _ = answer.send(Ok(()));
            }
            Order::HistoryStatus(_, answer) => {
                let _ = answer.send(Ok(history()));
            }
            Order::SetEnabled {
                source,
                enabled,
                answer,
            } => {
                publish(&mut |state| {
                    let mut all = state.sources.iter_mut();
                    let one = all.find(|(name, _)| *name == source).unwrap();
                    one.1 = enabled;
                });
                let _ = answer.send(Ok(()));
            }
            Order::Sample(_, answer) | Order::SampleSource(_, answer) => {
                let mut samples = Samples::new();
                samples.push_unsigned(&table::MEM_FREE, None, 7);
                samples.push_float(&table::CPU_PERCENT, None, 1.5);
                samples.push_text(&table::HOST_OS, None, "Debian");
                let _ = answer.send(Ok(samples));
            }
            Order::SourceStatus(name, answer) => {
                let name = if name == "uptime" {
                    "uptime"
                } else {
                    "meminfo"
                };
                let _ = answer.send(Ok(SourceStatus {
                    name,
                    description: "Something read from somewhere",
                    enabled: true,
                    interval: Duration::from_secs(15),
                    cut: 2,
                    samples: 3,
                    errors: 1,
                    last_error: None,
                    fault: Some("cannot open /proc/uptime".to_owned()),
                    lack: None,
                    last_duration: Duration::from_micros(40),
                    max_duration: Duration::from_micros(90),
                }));
            }
            Order::Reload(answer) => {
                let text = "metrics-agent.toml: intervals.metrics: expected a time".to_owned();
                let _ = answer.send(Err(OrderError::InvalidConfiguration(text)));
            }
            Order::Revert(answer) | Order::Reconnect(_, answer) => {
                let _ = answer.send(Ok(()));
            }
        }
    }
}

struct Served {
    bus: PrivateBus,
    agent: StandIn,
    service: JoinHandle<Ended>,
}

impl Served {
    async fn start() -> Self {
        let bus = PrivateBus::start();
        let (agent, task) = StandIn::prepare();
        let service = start(&bus, &agent).await.unwrap();
        // As in the daemon, the task starts when the name is owned.
        let agent = agent.run(task);
        let service = tokio::spawn(service.run());
        Self {
            bus,
            agent,
            service,
        }
    }

    fn at(&self) -> Bus {
        Bus::Address(self.bus.address())
    }

    async fn client(&self) -> Agent {
        Agent::find(&self.at(), false).await.unwrap()
    }

    async fn raw(&self) -> zbus::Connection {
        self.at().connect().await.unwrap()
    }

    /// Calls as a user that is neither root nor our own; returns what dbus-send prints.
    async fn as_nobody(&self, call: &str) -> Result<String, String> {
        let mut client = Command::new("setpriv");
        client
            .args(["--reuid=nobody", "--clear-groups", "dbus-send"])
            .arg(format!("--bus={}", self.bus.address()))
            .args(["--print-reply", "--dest=org.metricsagent.Agent1"])
            .args(call.split(' '));
        // Off this thread, where the service is waiting for its turn.
        let run = tokio::task::spawn_blocking(move || client.output());
        let output = run.await.unwrap().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    async fn refuses(&self, call: &str, action: &str) {
        let error = self.as_nobody(call).await.unwrap_err();
        let expected = format!(
            "Error org.freedesktop.DBus.Error.AccessDenied: {action} is not allowed: \
             there is no polkit on this bus"
        );
        assert!(error.starts_with(&expected), "{call}: {error}");
    }
}

async fn start(bus: &PrivateBus, agent: &StandIn) -> Result<Service, StartError> {
    let at = Bus::Address(bus.address());
    Service::start(at, agent.handle.clone(), log()).await
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap()
}

/// The next `PropertiesChanged` of an object: its changed properties.
async fn changed(stream: &mut fdo::PropertiesChangedStream) -> Vec<(String, String)> {
    let signal = soon(stream.next()).await.unwrap();
    let arguments = signal.args().unwrap();
    let mut changed: Vec<_> = arguments
        .changed_properties
        .iter()
        .map(|(name, value)| ((*name).to_owned(), format!("{value:?}")))
        .collect();
    changed.sort();
    changed
}

async fn watch(connection: &zbus::Connection, path: &str) -> fdo::PropertiesChangedStream {
    let properties = fdo::PropertiesProxy::builder(connection)
        .destination(crate::dbus::NAME)
        .path(path.to_owned())
        .build()
        .await
        .unwrap();
    properties.receive_properties_changed().await.unwrap()
}

#[tokio::test]
async fn properties_have_the_values_and_types_of_the_state() {
    let served = Served::start().await;
    let client = served.client().await;
    let values = client.properties().await.unwrap();
    let value = |name: &str| (**values.get(name).unwrap()).clone();
    assert_eq!(value("HostName"), Variant::from("web1.example.org"));
    assert_eq!(value("State"), Variant::from("connecting"));
    assert_eq!(value("StateSinceUSec"), Variant::U64(4));
    assert_eq!(value("PublicKey"), Variant::from(key(1).to_string()));
    assert_eq!(value("MetricsIntervalUSec"), Variant::U64(5_000_000));
    assert_eq!(value("StaleIntervalUSec"), Variant::U64(30_000_000));
    assert_eq!(value("ModelMinIntervalUSec"), Variant::U64(5_000_000));
    assert_eq!(value("MessagesSent"), Variant::U64(0));
    assert_eq!(value("Version"), Variant::from(env!("CARGO_PKG_VERSION")));
    assert_eq!(value("Connections").value_signature().to_string(), "ao");
    assert_eq!(
        value("ConfigurationFiles").value_signature().to_string(),
        "as"
    );
    let origin = |kind: &'static str, place: &'static str| Variant::from((kind, place));
    let default = origin("settings", "default");
    assert_eq!(value("MetricsIntervalOrigin"), default);
    let kept = origin("kept", "/var/lib/metrics-agent/settings.toml");
    assert_eq!(value("StaleIntervalOrigin"), kept);
    assert_eq!(value("LogLevel"), Variant::from("info"));
    assert_eq!(values.len(), 22);

    let objects = client.objects().await.unwrap();
    assert_eq!(objects.connections.len(), 1);
    let values = &objects.connections[0];
    assert_eq!(*values["Name"], Variant::from("main"));
    assert_eq!(
        *values["Endpoint"],
        Variant::from("collector.example.org:5556")
    );
    assert_eq!(*values["StateSinceUSec"], Variant::U64(5));
    assert_eq!(*values["ConnectedSinceUSec"], Variant::U64(0));
    assert_eq!(*values["Acknowledges"], Variant::from("engine"));
    assert_eq!(*values["Behind"], Variant::U64(1560));
    assert_eq!(*values["Kept"], Variant::U64(17));
    assert_eq!(*values["KeptOnDisk"], Variant::U64(1_258_291));
    assert_eq!(*values["KeptLimit"], Variant::U64(64 * 1024 * 1024));
    assert_eq!(*values["RoomUSec"], Variant::U64(259_200_000_000));
    assert_eq!(values["Lost"].value_signature().to_string(), "a{st}");
    assert_eq!(values["Losses"].value_signature().to_string(), "a(sttt)");
    assert_eq!(values.len(), 29);

    assert_eq!(objects.sources.len(), 2);
    let values = &objects.sources[1];
    assert_eq!(*values["Name"], Variant::from("uptime"));
    assert_eq!(*values["Enabled"], Variant::Bool(true));
    assert_eq!(*values["Samples"], Variant::U64(3));
    assert_eq!(*values["LastError"], Variant::from(""));
    assert_eq!(*values["MaxDurationUSec"], Variant::U64(90));
    assert_eq!(*values["IntervalUSec"], Variant::U64(15_000_000));
    assert_eq!(*values["ValuesCut"], Variant::U64(2));
    assert_eq!(*values["Fault"], Variant::from("cannot open /proc/uptime"));
    assert_eq!(*values["Lack"], Variant::from(""));
    assert_eq!(values.len(), 12);
}

#[tokio::test]
async fn samples_keep_their_types() {
    let served = Served::start().await;
    let agent = served.client().await.agent1().await.unwrap();
    let grid = agent.sample("metrics").await.unwrap();
    assert_eq!(*grid["mem.free"], Variant::U64(7));
    assert_eq!(*grid["cpu.percent"], Variant::F64(1.5));
    assert_eq!(*grid["host.os"], Variant::from("Debian"));
    let error = agent.sample("everything").await.unwrap_err();
    assert!(error.to_string().contains("InvalidArgs"), "{error}");
    let metrics = agent.list_metrics().await.unwrap();
    let cpu = metrics.iter().find(|row| row.0 == "cpu.percent").unwrap();
    assert_eq!((cpu.1.as_str(), cpu.2.as_str()), ("%", "gauge"));
}

#[tokio::test]
async fn orders_errors_have_their_names() {
    let served = Served::start().await;
    let client = served.client().await;
    let error = client
        .order("SetMetricsInterval", &(1_u64, false))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("org.freedesktop.DBus.Error.InvalidArgs"),
        "{text}"
    );
    assert!(text.contains("100ms to 1h"), "{text}");
    let interval = Variant::U64(1);
    let error = client
        .set(
            path::AGENT,
            path::AGENT_INTERFACE,
            "MetricsIntervalUSec",
            interval,
        )
        .await
        .unwrap_err();
    assert!(error.to_string().contains("InvalidArgs"), "{error}");
    let error = client.order("Reload", &()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("org.metricsagent.Error.InvalidConfiguration"),
        "{text}"
    );
}

#[tokio::test]
async fn a_change_is_announced_once_and_only_where_something_changed() {
    let served = Served::start().await;
    let raw = served.raw().await;
    let mut agent = watch(&raw, path::AGENT).await;
    let mut main = watch(&raw, "/org/metricsagent/Agent1/connection/main").await;

    // Published, but nothing that is announced is different.
    served.agent.publish(|_| ());
    served.agent.publish(|state| {
        state.state = State::Reporting;
        state.state_since = at(11);
        let main = &mut state.connections[0];
        main.state = State::Reporting;
        main.state_since = at(10);
        main.connected_since = Some(at(9));
    });
    let names = |got: &[(String, String)]| -> Vec<String> {
        got.iter().map(|(name, _)| name.clone()).collect()
    };
    let got = changed(&mut agent).await;
    assert_eq!(names(&got), ["State", "StateSinceUSec"]);
    assert!(got[0].1.contains("reporting"), "{got:?}");
    assert!(got[1].1.contains("(11)"), "{got:?}");
    let got = changed(&mut main).await;
    assert_eq!(
        names(&got),
        ["ConnectedSinceUSec", "State", "StateSinceUSec"]
    );
    assert!(got[2].1.contains("(10)"), "{got:?}");
    // Another reason is no other state.
    served.agent.publish(|state| {
        "Another reason".clone_into(&mut state.reason);
        "Another reason".clone_into(&mut state.connections[0].reason);
    });
    assert_eq!(names(&changed(&mut agent).await), ["StateReason"]);
    assert_eq!(names(&changed(&mut main).await), ["StateReason"]);

    // zbus announces a write, and it must not be announced a second time: what follows is next.
    let client = served.client().await;
    let interval = Variant::U64(2_000_000);
    client
        .set(
            path::AGENT,
            path::AGENT_INTERFACE,
            "MetricsIntervalUSec",
            interval,
        )
        .await
        .unwrap();
    client
        .order("SetMetricsInterval", &(3_000_000_u64, false))
        .await
        .unwrap();
    assert!(changed(&mut agent).await[0].1.contains("2000000"));
    assert!(changed(&mut agent).await[0].1.contains("3000000"));
    let mut uptime = watch(&raw, "/org/metricsagent/Agent1/source/uptime").await;
    for enabled in [false, true] {
        let value = Variant::Bool(enabled);
        let at = "/org/metricsagent/Agent1/source/uptime";
        client
            .set(at, path::SOURCE_INTERFACE, "Enabled", value)
            .await
            .unwrap();
        let got = changed(&mut uptime).await;
        assert_eq!(got[0].0, "Enabled");
        assert!(got[0].1.contains(&enabled.to_string()), "{got:?}");
    }
}

#[tokio::test]
async fn state_changes_are_signals() {
    let served = Served::start().await;
    let agent = served.client().await.agent1().await.unwrap();
    let mut signals = agent.receive_state_changed().await.unwrap();
    served
        .agent
        .changes
        .send(Happening::State(StateChange {
            connection: "main".to_owned(),
            old: State::Connecting,
            new: State::Stale,
            reason: "Silent for 30s".to_owned(),
        }))
        .unwrap();
    let signal = soon(signals.next()).await.unwrap();
    let got = signal.args().unwrap();
    assert_eq!(
        (got.connection.as_str(), got.old, got.new, got.reason),
        (
            "/org/metricsagent/Agent1/connection/main",
            "connecting",
            "stale",
            "Silent for 30s"
        )
    );
}

#[tokio::test]
async fn lost_samples_are_signals() {
    let served = Served::start().await;
    let agent = served.client().await;
    let mut signals = agent.losses().await.unwrap();
    let loss = Loss {
        samples: 12,
        first: 1_790_000_000_000_000,
        last: 0,
    };
    let told = SamplesLost {
        connection: "main".to_owned(),
        why: Why::DiskFull,
        loss,
    };
    served.agent.changes.send(Happening::Lost(told)).unwrap();
    let got = soon(signals.next()).await.unwrap().unwrap();
    let header = got.header();
    let path = header.path().map(ToString::to_string);
    let expected = "/org/metricsagent/Agent1/connection/main";
    assert_eq!(path.as_deref(), Some(expected));
    let got: (u64, u64, u64, String) = got.body().deserialize().unwrap();
    let reason = "disk-full".to_owned();
    assert_eq!(got, (12, 1_790_000_000_000_000, 0, reason));
}

#[tokio::test]
async fn connections_come_and_go_with_the_settings() {
    let served = Served::start().await;
    let raw = served.raw().await;
    let manager = fdo::ObjectManagerProxy::builder(&raw)
        .destination(crate::dbus::NAME)
        .path(path::AGENT)
        .build()
        .await
        .unwrap();
    let mut added = manager.receive_interfaces_added().await.unwrap();
    let mut removed = manager.receive_interfaces_removed().await.unwrap();

    served.agent.publish(|state| {
        state.connections = vec![connection("main"), connection("second-one")];
    });
    let signal = soon(added.next()).await.unwrap();
    let got = signal.args().unwrap();
    assert_eq!(
        got.object_path.as_str(),
        "/org/metricsagent/Agent1/connection/second_2done"
    );
    let properties = &got.interfaces_and_properties[path::CONNECTION_INTERFACE];
    assert_eq!(properties["Name"], Variant::from("second-one"));

    // What is configured is constant, so another endpoint is another object.
    let endpoints: Vec<_> = ["[::1]:5556", "srv:example.org"].into();
    served.agent.publish(|state| {
        state.connections = vec![connection("second-one")];
        let one = &mut state.connections[0];
        one.endpoint = endpoints[0].to_owned();
        let collector = Arc::make_mut(&mut one.collector);
        collector.endpoints = endpoints.iter().map(|one| one.parse().unwrap()).collect();
        collector.order = EndpointOrder::Random;
    });
    for expected in ["main", "second_2done"] {
        let signal = soon(removed.next()).await.unwrap();
        let path = signal.args().unwrap().object_path.to_string();
        assert_eq!(
            path,
            format!("/org/metricsagent/Agent1/connection/{expected}")
        );
    }
    let signal = soon(added.next()).await.unwrap();
    let got = signal.args().unwrap();
    let properties = &got.interfaces_and_properties[path::CONNECTION_INTERFACE];
    assert_eq!(properties["Endpoint"], Variant::from("[::1]:5556"));
    let endpoints = vec!["[::1]:5556", "srv:_metrics-agent._tcp.example.org"];
    assert_eq!(properties["Endpoints"], Variant::from(endpoints));
    assert_eq!(properties["Order"], Variant::from("random"));
    assert_eq!(
        properties["CollectorKeys"],
        Variant::from(vec![key(7).to_string()])
    );
    let left = served.client().await.objects().await.unwrap().connections;
    assert_eq!(left.len(), 1);
}

#[tokio::test]
async fn the_log_level_is_systemds() {
    let served = Served::start().await;
    let client = served.client().await;
    let get = async |property: &str| {
        let log = fdo::PropertiesProxy::builder(&served.raw().await)
            .destination(crate::dbus::NAME)
            .path(path::LOG_CONTROL)
            .build()
            .await
            .unwrap();
        let interface = "org.freedesktop.LogControl1".try_into().unwrap();
        log.get(interface, property).await.unwrap().to_string()
    };
    assert_eq!(get("SyslogIdentifier").await, r#""metrics-agent""#);
    assert_eq!(get("LogTarget").await, r#""console""#);
    assert_eq!(get("LogLevel").await, r#""info""#);
    client.set_log_level("warning").await.unwrap();
    let agent = client.agent1().await.unwrap();
    assert_eq!(agent.log_level().await.unwrap(), "warning");
    let error = client.set_log_level("loud").await.unwrap_err();
    assert!(error.to_string().contains("InvalidArgs"), "{error}");
    client.set_log_level("info").await.unwrap();
}
