//! metrics-collector over a restart: what it still knows of its hosts.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::support::collector::{Collector, Fleet, program};

/// Longer than any test: none comes in between.
const NO_PINGS: [&str; 2] = ["--ping-interval", "1min"];

const HELLO: [&str; 2] = ["CTRL", "hello"];
const MODEL: [&str; 4] = ["METR", "host-%d", r#"{"mem.total": %d}"#, "model"];
const METRICS: [&str; 4] = ["METR", "host-%d", r#"{"mem.free": 1}"#, "metrics"];

/// A collector as the service is, with a state directory.
async fn collector(home: &Path, listen: &str) -> Collector {
    let mut command = program(home);
    command
        .env("STATE_DIRECTORY", home.join("state"))
        .args(["--listen", listen])
        .args(NO_PINGS);
    Collector::run(command).await
}

fn kept(home: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(home.join("state/hosts")).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Agents whose link comes back by itself go on with their metrics. What they said of
/// themselves is still known.
#[tokio::test]
async fn no_model_is_asked_for_again_after_a_restart() {
    // As many as are asked at once, twice, without a wait.
    const FLEET: u32 = 40;
    let home = tempfile::tempdir().unwrap();
    let mut first = collector(home.path(), "127.0.0.1:0").await;
    let mut fleet = Fleet::connect(&first, "F", FLEET).await;
    fleet.send(&HELLO, 1).await;
    fleet.heard_by_each("model", 1).await;
    fleet.send(&MODEL, 1).await;
    fleet.send(&METRICS, 1).await;
    // All of it was heard when this is answered.
    fleet.send(&HELLO, 1).await;
    fleet.heard_by_each("model", 2).await;
    assert_eq!(first.stop().await, "40 hosts, 160 messages, 0 refused");
    let hosts = kept(home.path());
    assert_eq!(hosts.len(), FLEET as usize);
    assert_eq!(hosts[1]["name"], "host-1");
    assert_eq!(hosts[1]["model"]["mem.total"], 1);
    assert_eq!(hosts[1]["address"], "127.0.0.1");

    let mut second = collector(home.path(), &first.address.to_string()).await;
    assert!(
        second
            .before
            .iter()
            .any(|line| line.contains("Restored 40 hosts from before"))
    );
    fleet.send(&METRICS, 1).await;
    for _ in 0..FLEET {
        second.logged(" reports").await;
    }
    assert_eq!(fleet.heard("model").await, u64::from(2 * FLEET));
    // What is asked for is heard, and by each once: it was not asked for before.
    fleet.send(&HELLO, 1).await;
    fleet.heard_by_each("model", 3).await;
    assert_eq!(fleet.heard("model").await, u64::from(3 * FLEET));
    assert_eq!(second.stop().await, "40 hosts, 80 messages, 0 refused");
    assert_eq!(kept(home.path())[39]["model"]["mem.total"], 9);
}

/// A crash costs what came since the last writing, and no more.
#[tokio::test]
async fn a_crash_leaves_what_was_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut first = collector(home.path(), "127.0.0.1:0").await;
    let mut agent = first.peer("A").await;
    agent.report("web1", r#"{"a": 1}"#, "model").await;
    agent.hello().await;
    first.stop().await;
    let mut second = collector(home.path(), "127.0.0.1:0").await;
    let mut agent = second.peer("A").await;
    agent.report("web2", r#"{"a": 1}"#, "model").await;
    agent.hello().await;
    second.signal(Signal::KILL);
    second.ended().await;
    assert_eq!(kept(home.path()).len(), 1);
    let third = collector(home.path(), "127.0.0.1:0").await;
    assert!(
        third
            .before
            .iter()
            .any(|line| line.contains("Restored 1 host from before"))
    );
}

#[tokio::test]
async fn a_damaged_file_is_said_and_left_aside() {
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    fs::create_dir(&state).unwrap();
    let text = "{\"format\":\"metrics-collector hosts\",\"version\":99}\n";
    fs::write(state.join("hosts"), text).unwrap();
    let mut collector = collector(home.path(), "127.0.0.1:0").await;
    let said = format!(
        "its version is 99, and this program reads version 1; it is left as {}",
        state.join("hosts.damaged").display()
    );
    let mut before = collector.before.iter();
    assert!(
        before.any(|line| line.contains(&said)),
        "{:?}",
        collector.before
    );
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    agent.hello().await;
    collector.stop().await;
    assert_eq!(kept(home.path())[0]["name"], "web1");
    assert_eq!(
        fs::read_to_string(state.join("hosts.damaged")).unwrap(),
        text
    );
}

/// A run by hand leaves nothing behind but its keys, and those that came (for `keys list`).
#[tokio::test]
async fn without_a_state_directory_no_host_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &NO_PINGS).await;
    let mut agent = collector.peer("A").await;
    agent.report("web1", "{}", "model").await;
    agent.hello().await;
    collector.stop().await;
    let files = fs::read_dir(home.path().join(".curve")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    let access = ["access.lock", "collector.key", "collector.key_secret"];
    assert_eq!(files, [&access[..], &["keys.json", "requests"]].concat());
    let homes: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
    assert_eq!(homes.len(), 1);
}
