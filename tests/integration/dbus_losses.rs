//! The daemon on a bus tells that samples are lost, and whose.

use std::collections::HashMap;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use metrics_agent::base::clock::realtime_usec;
use metrics_agent::ctl::proxy::{Agent, Values};
use tokio::time::timeout;
use zbus::{MessageStream, Variant};

use crate::support::deployed::{Collector, section};
use crate::support::peer::PATIENCE;
use crate::support::place::{Place, SOME_KEY, eventually};
use crate::support::root_for;

/// The least memory and no disk: on a host with many CPUs it is full after some seconds, once samples
/// are taken each 100 ms.
const SETTINGS: &str = "\
    [intervals]\nmetrics = \"1h\"\nstale = \"1h\"\n\
    [spool]\nmemory = \"256 KiB\"\ndisk = \"0\"\n\
    [metrics]\nsources = [\"cpu\"]\n\
    [metrics.cpu]\nper_cpu = true\n";

const CPUS: u32 = 160;

/// A signal.
#[derive(Debug)]
struct Lost {
    connection: String,
    count: u64,
    first: u64,
    last: u64,
    reason: String,
}

async fn next(signals: &mut MessageStream) -> Lost {
    let signal = timeout(PATIENCE, signals.next()).await;
    let signal = signal.expect("samples are lost").unwrap().unwrap();
    let path = signal.header().path().map(ToString::to_string).unwrap();
    let (count, first, last, reason) = signal.body().deserialize().unwrap();
    Lost {
        connection: path,
        count,
        first,
        last,
        reason,
    }
}

async fn of_connection(agent: &Agent, name: &str) -> Values {
    let connections = agent.objects().await.unwrap().connections;
    let mut connections = connections.into_iter();
    let named = connections.find(|values| *values["Name"] == Variant::from(name));
    named.unwrap()
}

/// What was lost for a connection in all, by reason.
fn lost(connection: &Values) -> HashMap<String, u64> {
    let lost = connection["Lost"].try_clone().unwrap();
    lost.try_into().unwrap()
}

fn number(values: &Values, name: &str) -> u64 {
    match *values[name] {
        Variant::U64(number) => number,
        ref other => panic!("{name}: {other}"),
    }
}

#[tokio::test]
async fn samples_that_are_lost_are_told_and_for_whom() {
    if !root_for("making a host of many CPUs") {
        return;
    }
    // A collector of the first wire, for which nothing is kept.
    let mut near = Collector::start().await;
    let away = section("away", "127.0.0.1:1", SOME_KEY);
    let place = Place::new();
    place.configure(&format!("{SETTINGS}{}{away}", near.section("near")));
    let times = "1000 0 100 5000 1 0 0 0 0 0";
    let cpus: Vec<_> = (0..CPUS).map(|cpu| format!("cpu{cpu} {times}")).collect();
    let home = tempfile::tempdir().unwrap();
    let stat = home.path().join("stat");
    let text = format!(
        "cpu {times}\n{}\nctxt 5\nbtime 1700000000\nprocesses 10\n",
        cpus.join("\n")
    );
    std::fs::write(&stat, text).unwrap();
    let began = realtime_usec(SystemTime::now());
    let script = format!("mount --bind {} /proc/stat", stat.display());
    let _running = place.start_on_another_host(&script).await;
    let agent = place.agent().await;
    let mut signals = agent.losses().await.unwrap();
    let id = near.welcome().await;
    near.say(&id, "ping").await;
    eventually("nothing is kept for near", async || {
        (number(&of_connection(&agent, "near").await, "Behind") == 0).then_some(())
    })
    .await;
    let interval = agent.order("SetMetricsInterval", &(100_000_u64, false));
    interval.await.unwrap();

    // While there is room nothing is lost.
    eventually("samples are kept", async || {
        let away = of_connection(&agent, "away").await;
        (number(&away, "Behind") > 3 && lost(&away).is_empty()).then_some(())
    })
    .await;
    let (mut told, mut last) = (0, began);
    for _ in 0..3 {
        let signal = next(&mut signals).await;
        assert_eq!(
            signal.connection,
            "/org/metricsagent/Agent1/connection/away"
        );
        assert_eq!(signal.reason, "memory-full");
        assert!(
            last < signal.first && signal.first <= signal.last,
            "{last} {signal:?}"
        );
        assert!(
            signal.last <= realtime_usec(SystemTime::now()),
            "{signal:?}"
        );
        assert_eq!(signal.count == 1, signal.first == signal.last, "{signal:?}");
        (told, last) = (told + signal.count, signal.last);
        let all = lost(&of_connection(&agent, "away").await);
        assert!(
            all.len() == 1 && told <= all["memory-full"],
            "{told} {all:?}"
        );
    }
    // No loss is missed, however often they are announced.
    let all = lost(&of_connection(&agent, "away").await)["memory-full"];
    while told < all {
        told += next(&mut signals).await.count;
    }
    assert_eq!(lost(&of_connection(&agent, "near").await), HashMap::new());
}
