//! The agent and the service manager: readiness, status, watchdog, reload, stop, as
//! `sd_notify(3)` has them.

use std::process::Command;
use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;
use rustix::process::Signal;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, section};
use crate::support::manager::Manager;

const HEAD: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n";

/// `CLOCK_MONOTONIC`, by somebody else's reading.
fn monotonic_usec() -> u64 {
    let program = "import time; print(time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)";
    let told = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .output();
    let told = String::from_utf8(told.unwrap().stdout).unwrap();
    told.trim().parse().unwrap()
}

#[tokio::test]
async fn its_life_is_told_from_ready_to_stopping() {
    let mut manager = Manager::new();
    let mut collector = Collector::start().await;
    let good = format!("{HEAD}{}", collector.section("main"));
    let site = Site::new(&good);
    let mut command = site.command();
    manager.adopt(&mut command);
    let mut agent = Agent::start(command);

    let first = manager.next().await;
    assert!(first.is("READY"), "{first:?}");
    let endpoint = format!("127.0.0.1:{}", collector.port);
    assert!(first.status().contains(&endpoint), "{first:?}");
    collector.welcome().await;
    let status = manager.status("Reporting to").await;
    let expected = format!("Reporting to {endpoint} every 100ms: ");
    assert!(status.starts_with(&expected), "{status}");
    assert!(status.contains(" sent, last heard "), "{status}");

    // A good reload and a bad one look the same from here: the settings in force are valid.
    for settings in [good.as_str(), "nonsense", good.as_str()] {
        site.configure(settings);
        let before = monotonic_usec();
        agent.signal(Signal::HUP);
        let reloading = manager.until(|told| told.get("RELOADING").is_some()).await;
        assert!(reloading.is("RELOADING"), "{reloading:?}");
        let stamp: u64 = reloading.get("MONOTONIC_USEC").unwrap().parse().unwrap();
        assert!(
            (before..=monotonic_usec()).contains(&stamp),
            "{reloading:?}"
        );
        let ready = manager.until(|told| told.is("READY")).await;
        assert!(ready.status().starts_with("Reporting to"), "{ready:?}");
    }

    agent.signal(Signal::TERM);
    let stopping = manager
        .until(|told| !told.status().starts_with("Reporting to"))
        .await;
    assert!(stopping.is("STOPPING"), "{stopping:?}");
    assert_eq!(stopping.status(), "Stopping on SIGTERM");
    assert_eq!(agent.ended().await.code(), Some(0));
}

#[tokio::test]
async fn it_is_ready_although_the_collector_is_away() {
    let key = KeyPair::generate().unwrap().public.to_string();
    for endpoint in ["127.0.0.1:1", "no.such.invalid", "192.0.2.1"] {
        let mut manager = Manager::new();
        let site = Site::new(&format!("{HEAD}{}", section("main", endpoint, &key)));
        let mut command = site.command();
        manager.adopt(&mut command);
        let _agent = Agent::start(command);
        assert!(manager.next().await.is("READY"));
        manager.status(endpoint).await;
    }
}

#[tokio::test]
async fn an_invalid_setting_is_never_ready() {
    let mut manager = Manager::new();
    let site = Site::new("intervals.metrics = 0\n");
    let mut command = site.command();
    manager.adopt(&mut command);
    let mut agent = Agent::start(command);
    assert_eq!(agent.ended().await.code(), Some(78));
    assert!(manager.told_nothing());
}

#[tokio::test]
async fn the_watchdog_is_fed_whatever_the_connection_does() {
    const INTERVAL: Duration = Duration::from_secs(1);
    let mut manager = Manager::new();
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{HEAD}{}", collector.section("main")));
    let command = manager.adopt_with_watchdog(&site.command(), INTERVAL);
    let mut agent = Agent::start(command);
    collector.welcome().await;
    for _ in 0..3 {
        manager.until(|told| told.is("WATCHDOG")).await;
    }
    // The status that rides along counts on.
    let sent = |status: &str| -> u64 {
        let (_, rest) = status.split_once("100ms: ").unwrap();
        rest.split_once(" sent").unwrap().0.parse().unwrap()
    };
    let one = manager.until(|told| told.is("WATCHDOG")).await;
    let other = manager.until(|told| told.is("WATCHDOG")).await;
    assert!(
        sent(other.status()) > sent(one.status()),
        "{one:?} {other:?}"
    );

    collector.crash();
    manager.status("Not reporting to").await;
    for _ in 0..3 {
        manager.until(|told| told.is("WATCHDOG")).await;
    }
    agent.terminate().await;
}

/// A process that the manager does not watch must not pose as one (`sd_watchdog_enabled(3)`).
#[tokio::test]
async fn another_process_s_watchdog_is_left_alone() {
    let mut manager = Manager::new();
    let site = Site::new(HEAD);
    let mut command = site.command();
    manager.adopt(&mut command);
    command
        .env("WATCHDOG_USEC", "100000")
        .env("WATCHDOG_PID", "1");
    let mut agent = Agent::start(command);
    assert!(manager.next().await.is("READY"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    agent.signal(Signal::TERM);
    assert!(manager.next().await.is("STOPPING"));
    assert_eq!(agent.ended().await.code(), Some(0));
}
