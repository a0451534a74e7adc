//! metrics-collector and agents: what the protocol says, on a libzmq of another program.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use metrics_agent::curve::certificate::Certificate;
use rustix::process::Signal;
use serde_json::json;

use crate::support::collector::{Collector, program};

/// Longer than any test: none comes in between.
const NO_PINGS: [&str; 2] = ["--ping-interval", "1min"];

#[tokio::test]
async fn a_host_is_welcomed_heard_and_pinged() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--print", "--ping-interval", "100ms"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut printed = collector.printed();
    let mut agent = collector.peer("7Q2M").await;
    agent.send(None, &[b"CTRL", b"hello"]).await;
    assert_eq!(agent.word().await, "model");

    let model = r#"{"mem.total": 16384, "os": "Debian \u009b2J"}"#;
    agent.report("web1.example.org", model, "model").await;
    let line = printed.next().await;
    assert_eq!(line["host"], "web1.example.org");
    assert_eq!(line["kind"], "model");
    assert_eq!(line["routing_id"], "7Q2M");
    assert_eq!(
        line["metrics"],
        json!({"mem.total": 16384, "os": "Debian \u{9b}2J"})
    );
    let time = humantime::parse_rfc3339(line["time"].as_str().unwrap()).unwrap();
    assert!(time.elapsed().unwrap().as_secs() < 60);
    collector.logged("web1.example.org reports").await;

    let metrics = r#"{"sys.uptime": 5.25, "mem.free": 18446744073709551615}"#;
    agent.report("web1.example.org", metrics, "metrics").await;
    let line = printed.next().await;
    assert_eq!(line["kind"], "metrics");
    assert_eq!(
        line["metrics"],
        json!({"sys.uptime": 5.25, "mem.free": u64::MAX})
    );
    for _ in 0..3 {
        assert_eq!(agent.word().await, "ping");
    }
    assert_eq!(collector.stop().await, "1 host, 3 messages, 0 refused");
}

#[tokio::test]
async fn the_model_of_an_unknown_host_is_asked_for_once() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &NO_PINGS).await;
    let mut agent = collector.peer("A").await;
    for _ in 0..3 {
        agent.report("web1", "{}", "metrics").await;
    }
    assert_eq!(agent.word().await, "model");
    // Answers come in order: the next one is for another host.
    agent.report("web2", "{}", "metrics").await;
    assert_eq!(agent.word().await, "model");
    agent.report("web1", "{}", "model").await;
    agent.report("web1", "{}", "metrics").await;
    agent.hello().await;
    // Three models, and an offer after that which answers the hello.
    assert_eq!(agent.count().await, 4);
}

#[tokio::test]
async fn a_name_on_a_new_connection_leaves_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "100ms", "--host-timeout", "1h"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut old = collector.peer("OLD").await;
    old.report("web1", "{}", "model").await;
    assert_eq!(old.word().await, "ping");

    let mut new = collector.peer("NEW").await;
    new.report("web1", "{}", "metrics").await;
    // The model that is known is the old connection's.
    assert_eq!(new.word().await, "model");
    collector
        .logged("web1 reports on another connection now")
        .await;
    // What was on its way to the old one has come before this answer.
    old.hello().await;
    let heard = old.count().await;
    for _ in 0..5 {
        assert_eq!(new.word().await, "ping");
    }
    assert_eq!(old.count().await, heard);
    assert!(collector.stop().await.starts_with("1 host, "));
}

#[tokio::test]
async fn a_silent_host_is_gone_and_may_come_back() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "100ms", "--host-timeout", "1s"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    collector
        .logged("web1 is gone: nothing heard for 1 s")
        .await;
    agent.report("web1", "{}", "metrics").await;
    while agent.word().await != "model" {}
    collector.logged("web1 reports").await;
}

/// Stopped for longer than the time-out, as a suspended or starved machine is.
#[tokio::test]
async fn its_own_silence_is_held_against_no_host() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--ping-interval", "100ms", "--host-timeout", "3s"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    collector.logged("web1 reports").await;
    collector.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(4)).await;
    collector.signal(Signal::CONT);
    let line = collector.logged("").await;
    assert!(line.contains("The event loop stalled for"), "{line}");
    agent.report("web1", "{}", "metrics").await;
    agent.hello().await;
    collector.signal(Signal::TERM);
    let line = collector.logged("").await;
    assert!(line.contains("1 host, 3 messages, 0 refused"), "{line}");
}

#[tokio::test]
async fn both_address_families_reach_it() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program(home.path());
    command.args(["--listen", "*:0"]).args(NO_PINGS);
    let collector = Collector::run(command).await;
    let port = collector.address.port();
    for host in ["127.0.0.1", "[::1]"] {
        let mut agent = collector
            .peer_at(&format!("tcp://{host}:{port}"), host)
            .await;
        agent.hello().await;
    }
}

/// Both ends of ours.
#[tokio::test]
async fn metrics_agent_reports_to_it() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--print"]).await;
    let mut printed = collector.printed();
    let config = home.path().join("agent.toml");
    let text = format!(
        "[host]\nname = \"web1\"\n[collector.main]\nendpoint = \"tcp://{}\"\n\
         public_key = '{}'\n[intervals]\nmetrics = \"100ms\"\n[dbus]\nbus = \"none\"\n",
        collector.address, collector.public_key
    );
    fs::write(&config, text).unwrap();
    let keys = home.path().join("agent");
    Certificate::write_pair(&keys, "agent").unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_metrics-agent"))
        .arg("--config")
        .arg(&config)
        .env_clear()
        .env("HOME", home.path())
        .env("STATE_DIRECTORY", &keys)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let model = printed.next().await;
    assert_eq!(
        (&model["host"], &model["kind"]),
        (&json!("web1"), &json!("model"))
    );
    assert!(model["metrics"]["mem.total"].as_u64().unwrap() > 0);
    for _ in 0..3 {
        let metrics = printed.next().await;
        assert_eq!(metrics["kind"], "metrics");
        assert!(metrics["metrics"]["sys.uptime"].as_f64().unwrap() > 0.0);
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}
