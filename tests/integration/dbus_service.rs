//! The daemon on a bus: its name, its callers, its settings at run time.

use futures_util::StreamExt as _;
use metrics_agent::dbus::NAME;
use zbus::{Variant, fdo};

use crate::private_bus::PrivateBus;
use crate::support::flood::flood;
use crate::support::peer::PATIENCE;
use crate::support::place::{Place, SOME_KEY, eventually};
use crate::support::root_for;

const AGENT: &str = "/org/metricsagent/Agent1";

/// `EX_UNAVAILABLE` of sysexits(3).
const NAME_TAKEN: i32 = 69;

fn collector(name: &str) -> String {
    format!("[collector.{name}]\nendpoint = \"127.0.0.1:1\"\npublic_key = \"{SOME_KEY}\"\n")
}

#[tokio::test]
async fn a_second_agent_ends_with_69_and_the_first_goes_on() {
    let place = Place::new();
    let _first = place.start().await;
    assert_eq!(place.spawn().exit_code().await, Some(NAME_TAKEN));
    let agent = place.agent().await.agent1().await.unwrap();
    assert_eq!(agent.public_key().await.unwrap().len(), 40);
}

#[tokio::test]
async fn a_bus_that_refuses_the_name_ends_it_with_69() {
    let place = Place::on(PrivateBus::with_policy("<deny own='*'/>"));
    assert_eq!(place.spawn().exit_code().await, Some(NAME_TAKEN));
}

#[tokio::test]
async fn the_name_is_back_after_the_bus_was_restarted() {
    let mut place = Place::new();
    let running = place.start().await;
    let before = place.agent().await.agent1().await.unwrap();
    let key = before.public_key().await.unwrap();
    place.bus.stop();
    assert!(before.public_key().await.is_err());
    place.bus.start_again();
    let after = place.agent().await.agent1().await.unwrap();
    assert_eq!(after.public_key().await.unwrap(), key);
    assert_eq!(running.terminate().await, Some(0));
}

#[tokio::test]
async fn an_agent_without_a_bus_comes_when_the_bus_does() {
    let mut place = Place::new();
    place.bus.stop();
    let _running = place.spawn();
    place.bus.start_again();
    let agent = place.agent().await.agent1().await.unwrap();
    assert_eq!(agent.public_key().await.unwrap().len(), 40);
}

#[tokio::test]
async fn who_is_not_root_may_read_and_nothing_else() {
    if !root_for("calling as another user") {
        return;
    }
    let place = Place::new();
    let _running = place.start().await;
    let agent = "/org/metricsagent/Agent1 org.metricsagent.Agent1";
    for (call, action) in [
        (
            "SetMetricsInterval uint64:2000000 boolean:false",
            "set-intervals",
        ),
        ("Reload", "reload"),
        ("Reconnect", "reconnect"),
    ] {
        let (status, _, error) = place.as_nobody(&format!("{agent}.{call}")).await;
        let expected = format!(
            "Error org.freedesktop.DBus.Error.AccessDenied: org.metricsagent.{action} is not allowed"
        );
        assert!(
            status != 0 && error.starts_with(&expected),
            "{call}: {error}"
        );
    }
    let (status, sample, _) = place
        .as_nobody(&format!("{agent}.Sample string:metrics"))
        .await;
    assert_eq!(status, 0);
    assert!(sample.contains("sys.uptime"), "{sample}");
    let interval = place.agent().await.agent1().await.unwrap();
    assert_eq!(interval.metrics_interval_usec().await.unwrap(), 5_000_000);
}

#[tokio::test]
async fn a_large_message_is_not_held_in_memory() {
    /// What its debug build may take beside, in kB.
    const ROOM: u64 = 8 * 1024;
    let place = Place::new();
    let running = place.start().await;
    let agent = place.agent().await.agent1().await.unwrap();
    agent.sample("metrics").await.unwrap();
    let before = running.most_memory();
    let stranger = place.connect().await;
    let text = "x".repeat(31 * 1024 * 1024);
    for _ in 0..3 {
        let call = zbus::Message::method_call(AGENT, "Sample");
        let call = call.interface("org.metricsagent.Agent1").destination(NAME);
        let call = call.build(&(&text,)).unwrap();
        stranger.send(&call).await.unwrap();
    }
    // In the order in which the bus has them; and smaller ones are answered as ever.
    let proxy = fdo::PeerProxy::builder(&stranger)
        .destination(NAME)
        .path(AGENT);
    proxy.build().await.unwrap().ping().await.unwrap();
    let long = "x".repeat(60 * 1024);
    let error = agent.sample(&long).await.unwrap_err().to_string();
    assert!(error.contains("metrics or model"), "{error}");
    let most = running.most_memory();
    assert!(most < before + ROOM, "{before} kB before, {most} kB now");
}

/// What a flood of calls may take in a debug build, in kB. Held one and all, they take hundreds
/// of megabytes.
const FLOOD_ROOM: u64 = 32 * 1024;

#[tokio::test]
async fn a_flood_of_small_calls_is_bounded_and_others_are_answered() {
    let place = Place::new();
    let running = place.start().await;
    let agent = place.agent().await.agent1().await.unwrap();
    agent.sample("metrics").await.unwrap();
    let before = running.most_memory();
    for method in ["Reload", "NoSuchMethod"] {
        let flood = flood(&place.bus, NAME, AGENT, method);
        while flood.iter().any(|one| !one.is_finished()) {
            agent.public_key().await.unwrap();
        }
        for one in flood {
            one.join().unwrap();
        }
        agent.public_key().await.unwrap();
        let most = running.most_memory();
        assert!(
            most < before + FLOOD_ROOM,
            "{method}: {before} kB before, {most} kB now"
        );
    }
}

#[tokio::test]
async fn calls_beyond_the_bound_are_told_so() {
    /// Fewer than a bus lets anybody wait for.
    const CALLS: usize = 100;
    let place = Place::new();
    let _running = place.start().await;
    place.agent().await.agent1().await.unwrap();
    let caller = place.connect().await;
    let mut answers = zbus::MessageStream::from(&caller);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let call = zbus::Message::method_call(AGENT, "Reload");
            let call = call.interface("org.metricsagent.Agent1").destination(NAME);
            call.build(&()).unwrap()
        })
        .collect();
    caller.send_all(&calls).await.unwrap();
    let mut open: std::collections::HashSet<_> = calls
        .iter()
        .map(|call| call.primary_header().serial_num())
        .collect();
    let mut refused = 0;
    while !open.is_empty() {
        let answer = tokio::time::timeout(PATIENCE, answers.next()).await;
        let answer = answer.expect("an answer to each").unwrap().unwrap();
        let header = answer.header();
        if !header.reply_serial().is_some_and(|to| open.remove(&to)) {
            continue;
        }
        if header.error_name().map(zbus::names::ErrorName::as_str)
            == Some("org.freedesktop.DBus.Error.LimitsExceeded")
        {
            let text: String = answer.body().deserialize().unwrap();
            assert_eq!(
                text,
                "32 calls of this connection are being answered already; try again"
            );
            refused += 1;
        }
    }
    assert!((1..=CALLS - 32).contains(&refused), "{refused}");
    // Nothing is held against it.
    let agent = place.agent().await.agent1().await.unwrap();
    agent.public_key().await.unwrap();
}

#[tokio::test]
async fn a_range_is_told_and_nothing_changed() {
    let place = Place::new();
    let _running = place.start().await;
    let agent = place.agent().await;
    for (method, usec) in [
        ("SetMetricsInterval", 99_999_u64),
        ("SetMetricsInterval", 3_600_000_001),
        ("SetMetricsInterval", u64::MAX),
        ("SetStaleInterval", 999_999),
        ("SetStaleInterval", 0),
    ] {
        let error = agent.order(method, &(usec, false)).await.unwrap_err();
        let zbus::Error::FDO(error) = error else {
            panic!("{method}({usec}): {error}");
        };
        let fdo::Error::InvalidArgs(text) = *error else {
            panic!("{method}({usec}): {error}");
        };
        assert!(text.contains("1h"), "{method}({usec}): {text}");
    }
    let value = Variant::U64(1);
    let write = agent.set(AGENT, "org.metricsagent.Agent1", "StaleIntervalUSec", value);
    assert!(write.await.unwrap_err().to_string().contains("InvalidArgs"));
    let agent = agent.agent1().await.unwrap();
    assert_eq!(agent.metrics_interval_usec().await.unwrap(), 5_000_000);
}

#[tokio::test]
async fn a_persistent_interval_outlives_the_agent_until_revert() {
    let place = Place::new();
    let running = place.start().await;
    let agent = place.agent().await;
    agent
        .order("SetMetricsInterval", &(2_000_000_u64, true))
        .await
        .unwrap();
    let value = Variant::U64(7_000_000);
    agent
        .set(AGENT, "org.metricsagent.Agent1", "StaleIntervalUSec", value)
        .await
        .unwrap();
    assert_eq!(running.terminate().await, Some(0));

    let _running = place.start().await;
    let agent = place.agent().await;
    let intervals = async || {
        let all = agent.properties().await.unwrap();
        let of = |name: &str| match *all[name] {
            Variant::U64(usec) => usec,
            ref other => panic!("{other}"),
        };
        (of("MetricsIntervalUSec"), of("StaleIntervalUSec"))
    };
    assert_eq!(intervals().await, (2_000_000, 30_000_000));
    agent.order("Revert", &()).await.unwrap();
    assert_eq!(intervals().await, (5_000_000, 30_000_000));
}

#[tokio::test]
async fn a_reload_brings_connections_and_a_bad_one_brings_an_error() {
    let place = Place::new();
    let _running = place.start().await;
    let agent = place.agent().await;
    assert!(agent.objects().await.unwrap().connections.is_empty());
    let manager = fdo::ObjectManagerProxy::builder(&place.connect().await)
        .destination(NAME)
        .path(AGENT)
        .build()
        .await
        .unwrap();
    let mut added = manager.receive_interfaces_added().await.unwrap();

    place.configure(&collector("main"));
    agent.order("Reload", &()).await.unwrap();
    let signal = tokio::time::timeout(PATIENCE, added.next()).await;
    let signal = signal.unwrap().unwrap();
    assert_eq!(
        signal.args().unwrap().object_path.as_str(),
        "/org/metricsagent/Agent1/connection/main"
    );
    let connections = agent.objects().await.unwrap().connections;
    assert_eq!(*connections[0]["Endpoint"], Variant::from("127.0.0.1:1"));
    assert_eq!(*connections[0]["CollectorKey"], Variant::from(SOME_KEY));

    place.configure("[intervals]\nmetrics = \"soon\"\n");
    let error = agent.order("Reload", &()).await.unwrap_err();
    let zbus::Error::MethodError(name, Some(text), _) = error else {
        panic!("{error}");
    };
    assert_eq!(name.as_str(), "org.metricsagent.Error.InvalidConfiguration");
    assert!(text.contains("intervals.metrics"), "{text}");
    let connections = agent.objects().await.unwrap().connections;
    assert_eq!(connections.len(), 1, "a bad reload changes nothing");
}

#[tokio::test]
async fn a_collector_is_disabled_and_says_so() {
    let place = Place::new();
    let _running = place.start().await;
    let agent = place.agent().await;
    let properties = place
        .properties("/org/metricsagent/Agent1/source/cpu")
        .await;
    let mut changes = properties.receive_properties_changed().await.unwrap();
    agent.set_enabled("cpu", false).await.unwrap();
    let change = tokio::time::timeout(PATIENCE, changes.next()).await;
    let change = change.unwrap().unwrap();
    let change = change.args().unwrap();
    assert_eq!(change.interface_name.as_str(), "org.metricsagent.Source1");
    assert_eq!(change.changed_properties["Enabled"], Variant::Bool(false));
    let grid = agent
        .agent1()
        .await
        .unwrap()
        .sample("metrics")
        .await
        .unwrap();
    assert!(!grid.contains_key("cpu.percent"));
    assert!(matches!(*grid["sys.uptime"], Variant::F64(up) if up > 0.0));
}

#[tokio::test]
async fn serving_the_bus_costs_no_thread() {
    let place = Place::new();
    let running = place.start().await;
    let agent = place.agent().await;
    agent.objects().await.unwrap();
    // Helpers for what may block end by themselves when there is nothing to do.
    eventually("the agent has one thread and the prober's", async || {
        (running.threads() <= 2).then_some(())
    })
    .await;
}
