//! Signals: the agent ends at once whatever it is doing, and takes new settings while it
//! reports.

use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, section};
use crate::support::manager::Manager;

const HEAD: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n";

#[tokio::test]
async fn either_signal_ends_it_cleanly() {
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut collector = Collector::start().await;
        let site = Site::new(&format!("{HEAD}{}", collector.section("main")));
        let mut agent = site.start();
        collector.welcome().await;
        collector.grid_of("metrics").await;
        agent.signal(signal);
        assert_eq!(agent.ended().await.code(), Some(0));
        let last = agent.said("").pop().unwrap();
        assert!(last.contains(&format!("Stopping on {name}")), "{last}");
        collector.peer.link("DISCONNECTED").await;
    }
}

/// RFC 5737 reserves 192.0.2.1 for documentation: connecting hangs, or fails at once where there is
/// no route, and then the end comes within the back-off.
#[tokio::test]
async fn it_ends_while_connecting_and_while_shaking_hands() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_endpoint = silent.local_addr().unwrap().to_string();
    for endpoint in ["192.0.2.1:5556", &silent_endpoint] {
        let key = KeyPair::generate().unwrap().public.to_string();
        let site = Site::new(&format!("{HEAD}{}", section("main", endpoint, &key)));
        let mut agent = site.start();
        agent.says("is ready").await;
        if endpoint == silent_endpoint {
            let (_stream, _) = silent.accept().await.unwrap();
            agent.terminate().await;
        } else {
            // Nothing tells that the attempt has begun.
            sleep(Duration::from_millis(200)).await;
            agent.terminate().await;
        }
    }
}

/// What is said twice does not end it twice.
#[tokio::test]
async fn many_signals_end_it_once() {
    let site = Site::new(HEAD);
    let mut agent = site.start();
    agent.says("is ready").await;
    for signal in [
        Signal::HUP,
        Signal::HUP,
        Signal::TERM,
        Signal::TERM,
        Signal::INT,
    ] {
        agent.signal(signal);
    }
    assert_eq!(agent.ended().await.code(), Some(0));
    assert_eq!(agent.said("Stopping on").len(), 1);
}

#[tokio::test]
async fn a_reload_keeps_the_connections_that_did_not_change() {
    let mut first = Collector::start().await;
    let mut second = Collector::start().await;
    let head = "host.name = 'web1'\nintervals = { metrics = '1h', stale = '1h' }\n";
    let site = Site::new(&format!("{head}{}", first.section("first")));
    let mut agent = site.start();
    let id = first.welcome().await;

    let both = first.section("first") + &second.section("second");
    site.configure(&format!("{head}{both}"));
    agent.signal(Signal::HUP);
    agent.says("Configuration reloaded: 2 collectors").await;
    second.welcome().await;

    // A new interval: metrics flow that would have come in an hour.
    let quick = head.replace("metrics = '1h'", "metrics = '100ms'");
    site.configure(&format!("{quick}{both}"));
    agent.signal(Signal::HUP);
    for collector in [&mut first, &mut second] {
        for _ in 0..3 {
            collector.grid_of("metrics").await;
        }
    }

    // Fewer metrics.
    let fewer = format!("{quick}metrics.sources = ['uptime']\n");
    site.configure(&format!("{fewer}{both}"));
    agent.signal(Signal::HUP);
    while first.grid_of("metrics").await.names() != ["sys.uptime"] {}

    // One collector less: it is left, and the other notices nothing.
    site.configure(&format!("{fewer}{}", first.section("first")));
    agent.signal(Signal::HUP);
    second.peer.link("DISCONNECTED").await;
    agent
        .says_times("Configuration reloaded: 1 collector", 1)
        .await;
    let grid = first.grid_of("metrics").await;
    assert_eq!(grid.from, id, "the connection of the beginning");

    // A new name, from the next sample on, over a connection of its own.
    let renamed = fewer.replace("web1", "web2");
    site.configure(&format!("{renamed}{}", first.section("first")));
    agent.signal(Signal::HUP);
    let new_id = first.welcome_again().await;
    assert_ne!(new_id, id);
    assert_eq!(first.grid_of("metrics").await.host, "web2");
    agent
        .says("Reporting as web2 from now on, not as web1")
        .await;
    agent.says_times("Reporting to first", 2).await;
    assert!(agent.said("Lost").is_empty());
    assert_eq!(agent.said("Reporting to second").len(), 1);
}

/// The endpoint of a name changed: the old connection goes, a new one comes.
#[tokio::test]
async fn a_reload_moves_a_connection_whose_settings_changed() {
    let mut old = Collector::start().await;
    let mut new = Collector::start().await;
    let site = Site::new(&format!("{HEAD}{}", old.section("main")));
    let agent = site.start();
    old.welcome().await;
    site.configure(&format!("{HEAD}{}", new.section("main")));
    agent.signal(Signal::HUP);
    new.welcome().await;
    new.grid_of("metrics").await;
    old.peer.link("DISCONNECTED").await;
}

#[tokio::test]
async fn an_invalid_file_is_named_and_changes_nothing() {
    let mut collector = Collector::start().await;
    let good = format!("{HEAD}{}", collector.section("main"));
    let site = Site::new(&good);
    let mut agent = site.start();
    let id = collector.welcome().await;
    let file = site.at("agent.toml");
    let file = file.to_str().unwrap();
    let cases: [(&[u8], &str); 5] = [
        (
            b"\n[intervals]\nmetrics = '1ms'\n",
            ":3: intervals.metrics: '1ms' is not a time",
        ),
        (
            b"[collector.main]\nendpiont = 'x'\n",
            ":2: collector.main.endpiont: unknown key",
        ),
        (b"[collector.main\n", ":1: "),
        (b"host.name = 'B\xfcro'\n", ": is not UTF-8 text"),
        (
            b"curve.secret_key_file = 'none'\n",
            ":1: curve.secret_key_file: none not found",
        ),
    ];
    for (number, (bad, problem)) in cases.iter().enumerate() {
        site.write("agent.toml", bad);
        agent.signal(Signal::HUP);
        let told = "The new configuration is invalid and changed nothing";
        let line = agent.says_times(told, number + 1).await;
        assert!(line.contains("ERROR"), "{line}");
        assert!(line.contains(&format!("{file}{problem}")), "{line}");
    }
    std::fs::remove_file(file).unwrap();
    agent.signal(Signal::HUP);
    agent.says("cannot be read: No such file").await;
    let grid = collector.grid_of("metrics").await;
    assert_eq!((grid.from, &*grid.host), (id.clone(), "web1.example.org"));

    // And a good one is taken after all that.
    site.configure(&good.replace("web1", "web3"));
    agent.signal(Signal::HUP);
    agent.says("Configuration reloaded: 1 collector").await;
    let new_id = collector.welcome_again().await;
    assert_ne!(new_id, id);
    assert_eq!(collector.grid_of("metrics").await.host, "web3.example.org");
}

#[tokio::test]
async fn without_a_collector_it_waits_for_one() {
    let mut collector = Collector::start().await;
    let site = Site::new(HEAD);
    let mut agent = site.start();
    // The file that is read, and no other.
    let file = site.at("agent.toml");
    agent
        .says(&format!(
            "endpoint and public_key to {}, then reload",
            file.display()
        ))
        .await;
    agent.signal(Signal::HUP);
    agent.says("Configuration reloaded: 0 collectors").await;
    agent.runs();
    site.configure(&format!("{HEAD}{}", collector.section("main")));
    agent.signal(Signal::HUP);
    collector.welcome().await;
    collector.grid_of("metrics").await;
    agent.says("Reporting to main").await;
    // And back.
    site.configure(HEAD);
    agent.signal(Signal::HUP);
    collector.peer.link("DISCONNECTED").await;
    agent.says_times("No collector is configured", 3).await;
    agent.terminate().await;
}

/// Every signal while the first look-up, the first reading and the first connecting are
/// under way: whatever the moment, the end is a clean one.
#[tokio::test]
async fn it_ends_at_any_moment_after_it_is_ready() {
    let collector = Collector::start().await;
    let site = Site::new(&format!("{HEAD}{}", collector.section("main")));
    for delay in [0, 1, 2, 5, 10, 20, 50] {
        let mut agent = site.start();
        agent.says("is ready").await;
        sleep(Duration::from_millis(delay)).await;
        agent.terminate().await;
    }
}

#[tokio::test]
async fn the_log_level_is_obeyed_and_can_be_changed() {
    let mut manager = Manager::new();
    let site = Site::new("log.level = 'warning'\n");
    let mut command = site.command();
    manager.adopt(&mut command);
    let mut agent = Agent::start(command);
    manager.until(|told| told.is("READY")).await;
    agent.says("No collector is configured").await;
    assert!(agent.said("INFO").is_empty());
    for level in ["info", "error"] {
        site.configure(&format!("log.level = '{level}'\n"));
        agent.signal(Signal::HUP);
        manager.until(|told| told.is("READY")).await;
    }
    agent.terminate().await;
    assert_eq!(agent.said("Configuration reloaded").len(), 1);
    assert!(agent.said("Stopping").is_empty());
}
