//! What a real manager does not do: send wrong data, vanish, flood. The manager here is a stand-in
//! on a real bus; the real one is in tests/system/scenarios/systemd.py.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zbus::{Connection, OwnedObjectPath, Variant, connection::Builder};

use super::*;
use crate::metrics::{Samples, Value};
use crate::private_bus::PrivateBus;
use crate::sources::{Purpose, Root, bus::SystemBus};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(60);

const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";

type Row = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[derive(Default)]
struct Known {
    units: Mutex<Vec<(&'static str, &'static str)>>,
    lists: AtomicUsize,
}

struct FakeManager(Arc<Known>);

impl FakeManager {
    fn rows(&self, admits: impl Fn(&str) -> bool) -> Vec<Row> {
        let units = self.0.units.lock().unwrap();
        let admitted = units.iter().filter(|(name, _)| admits(name));
        admitted
            .map(|(name, state)| {
                let text = str::to_owned;
                let (job, none) = (path("/"), String::new());
                (
                    text(name),
                    none.clone(),
                    text("loaded"),
                    text(state),
                    text("x"),
                    none.clone(),
                    path(&unit_path(name)),
                    0,
                    none,
                    job,
                )
            })
            .collect()
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
#[expect(clippy::unused_self, reason = "the interface wants methods")]
impl FakeManager {
    fn subscribe(&self) {}

    fn list_units(&self) -> Vec<Row> {
        self.0.lists.fetch_add(1, Ordering::Relaxed);
        self.rows(|_| true)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "arguments of the bus are owned"
    )]
    fn list_units_by_patterns(&self, states: Vec<String>, names: Vec<String>) -> Vec<Row> {
        assert_eq!(states, [""; 0]);
        self.rows(|name| names.iter().any(|wanted| wanted == name))
    }

    fn list_jobs(
        &self,
    ) -> Vec<(
        u32,
        String,
        String,
        String,
        OwnedObjectPath,
        OwnedObjectPath,
    )> {
        Vec::new()
    }

    #[zbus(property)]
    fn system_state(&self) -> String {
        let failed = self.rows(|_| true).iter().any(|row| row.3 == "failed");
        if failed { "degraded" } else { "running" }.to_owned()
    }

    #[zbus(property)]
    fn version(&self) -> String {
        "300~test".to_owned()
    }
}

struct FakeService;

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
#[expect(clippy::unused_self, reason = "the interface wants methods")]
impl FakeService {
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> u32 {
        3
    }
}

fn path(path: &str) -> OwnedObjectPath {
    OwnedObjectPath::try_from(path.to_owned()).unwrap()
}

fn unit_path(name: &str) -> String {
    format!(
        "/org/freedesktop/systemd1/unit/{}",
        name.replace('.', "_2e")
    )
}

async fn manager_on(bus: &PrivateBus, known: &Arc<Known>) -> Connection {
    Builder::address(bus.address().as_str())
        .serve_at("/org/freedesktop/systemd1", FakeManager(Arc::clone(known)))
        .serve_at(unit_path("a.service"), FakeService)
        .name("org.freedesktop.systemd1")
        .build()
        .await
        .unwrap()
}

fn source(address: &str) -> SystemdSource {
    let mut context = Context::new(Root::default());
    context.bus = SystemBus::at(address);
    SystemdSource::open(&context)
}

fn collect(source: &mut SystemdSource) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Query, Grid::All, &mut samples);
    let result = source.collect(&mut Vec::new(), &mut sink);
    result.map(|()| samples).map_err(|error| error.to_string())
}

async fn eventually<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn holds(samples: &Samples, name: &str, value: u64) -> bool {
    samples.get(name) == Some(Value::Unsigned(value))
}

fn has(seen: &Result<Samples, String>, name: &str, value: u64) -> bool {
    seen.as_ref()
        .is_ok_and(|samples| holds(samples, name, value))
}

/// What is there once a value is.
async fn value(source: &mut SystemdSource, name: &str, value: u64) -> Samples {
    let seen = eventually(|| collect(source), |seen| has(seen, name, value)).await;
    seen.unwrap()
}

fn known(units: &[(&'static str, &'static str)]) -> Arc<Known> {
    let known = Arc::new(Known::default());
    known.units.lock().unwrap().extend_from_slice(units);
    known
}

/// Announces a unit's state, to one receiver or to all listeners.
async fn tell(from: &Connection, to: Option<&str>, unit: &str, state: &str) {
    let changed = std::collections::HashMap::from([("ActiveState", Variant::from(state))]);
    let body = (UNIT_INTERFACE, changed, Vec::<String>::new());
    from.emit_signal(
        to,
        unit_path(unit),
        "org.freedesktop.DBus.Properties",
        "PropertiesChanged",
        &body,
    )
    .await
    .unwrap();
}

#[test]
fn without_a_runtime_there_is_nothing_to_wait_for() {
    let mut source = source("unix:path=/nonexistent");
    assert!(source.ready());
    assert!(collect(&mut source).unwrap().is_empty());
}

#[tokio::test]
async fn no_bus_and_no_manager_are_said_and_mended() {
    let mut bus = PrivateBus::start();
    bus.stop();
    let mut source = source(&bus.address());
    assert!(!source.ready());
    eventually(|| source.ready(), |ready| *ready).await;
    let error = collect(&mut source).unwrap_err();
    assert!(
        error.starts_with("cannot reach the system bus: "),
        "{error}"
    );
    assert_eq!(collect(&mut source).unwrap_err(), error, "one cause");

    bus.start_again();
    let not_there = "org.freedesktop.systemd1 is not on the system bus: systemd does not run here";
    eventually(
        || collect(&mut source).err(),
        |error| error.as_deref() == Some(not_there),
    )
    .await;

    let known = known(&[("a.service", "active"), ("b.mount", "failed")]);
    let manager = manager_on(&bus, &known).await;
    let seen = value(&mut source, "systemd.failed[b.mount]", 1).await;
    assert!(holds(&seen, "systemd.units[active]", 1), "{seen:?}");
    assert!(holds(&seen, "systemd.state[degraded]", 1), "{seen:?}");
    assert!(holds(&seen, "systemd.state[running]", 0), "{seen:?}");
    assert!(
        holds(&seen, "unit.restarts.total[a.service]", 3),
        "{seen:?}"
    );
    assert!(holds(&seen, "systemd.jobs", 0), "{seen:?}");

    // It goes for a moment: no values, and once it is back, they are.
    bus.stop();
    drop(manager);
    let gone = eventually(
        || collect(&mut source),
        |seen| !has(seen, "systemd.jobs", 0),
    )
    .await;
    assert!(gone.is_err() || gone.is_ok_and(|seen| seen.is_empty()));
    bus.start_again();
    let _manager = manager_on(&bus, &known).await;
    value(&mut source, "systemd.jobs", 0).await;
}

/// Anybody on the bus may send us what looks like the manager's signal.
#[tokio::test]
async fn signals_of_others_and_nonsense_change_nothing() {
    let bus = PrivateBus::start();
    let known = known(&[
        ("a.service", "active"),
        ("b.mount", "active"),
        ("c.mount", "active"),
    ]);
    let manager = manager_on(&bus, &known).await;
    let mut source = source(&bus.address());
    value(&mut source, "systemd.units[active]", 3).await;

    let stranger = Builder::address(bus.address().as_str())
        .build()
        .await
        .unwrap();
    // To every connection of this bus, by its unique name; ours is one of the first.
    for number in 0..10 {
        let receiver = format!(":1.{number}");
        if stranger.unique_name().unwrap().as_str() != receiver {
            tell(&stranger, Some(&receiver), "a.service", "failed").await;
        }
    }
    for member in [
        "UnitNew",
        "UnitRemoved",
        "JobNew",
        "JobRemoved",
        "Reloading",
    ] {
        let from = "/org/freedesktop/systemd1";
        manager
            .emit_signal(None::<&str>, from, MANAGER_INTERFACE, member, &"nonsense")
            .await
            .unwrap();
    }
    tell(&manager, None, "c.mount", "of a later systemd").await;
    // The manager's own word comes after all that, and is the first to be heeded.
    tell(&manager, None, "b.mount", "failed").await;
    let seen = value(&mut source, "systemd.failed[b.mount]", 1).await;
    assert!(holds(&seen, "systemd.units[failed]", 1), "{seen:?}");
    assert!(holds(&seen, "systemd.units[active]", 1), "{seen:?}");
    assert!(holds(&seen, "systemd.jobs", 0), "{seen:?}");
    assert_eq!(known.lists.load(Ordering::Relaxed), 1, "listed once");
}

/// A unit that flaps without end costs a bounded number of messages, and its last state is
/// known all the same.
#[tokio::test]
async fn a_flood_is_sat_out() {
    let bus = PrivateBus::start();
    let known = known(&[("a.service", "active"), ("b.mount", "active")]);
    let manager = manager_on(&bus, &known).await;
    let mut source = source(&bus.address());
    value(&mut source, "systemd.units[active]", 2).await;
    for round in 0..3 * due::BURST {
        let state = if round % 2 == 0 {
            "activating"
        } else {
            "active"
        };
        tell(&manager, None, "b.mount", state).await;
    }
    *known.units.lock().unwrap() = vec![("a.service", "active"), ("b.mount", "inactive")];
    value(&mut source, "systemd.units[inactive]", 1).await;
    assert_eq!(
        known.lists.load(Ordering::Relaxed),
        2,
        "and once afterwards"
    );
}
