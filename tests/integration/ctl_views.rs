//! What metrics-agentctl goes on showing, without a terminal: "monitor" and
//! "metrics --watch"; and the names that a shell completes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::place::{Place, SOME_KEY, eventually};

/// A command that goes on, and what it prints.
struct View {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl View {
    fn of(place: &Place, words: &[&str]) -> Self {
        let mut command = place.control_command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line, as JSON.
    async fn json(&mut self) -> Value {
        let line = eventually("a line", async || self.lines.try_recv().ok()).await;
        serde_json::from_str(&line).unwrap()
    }

    /// The next line that has it.
    async fn line_with(&mut self, what: &str) -> String {
        eventually(what, async || {
            let line = self.lines.try_recv().ok()?;
            line.contains(what).then_some(line)
        })
        .await
    }

    /// Ends it with a signal: its status and standard error.
    async fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.ended().await
    }

    async fn ended(&mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        let status = eventually("it ends", async || child.try_wait().unwrap()).await;
        let mut error = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut error).unwrap();
        (status.code(), error)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A collector that does not listen, so that every attempt ends.
fn unreachable(place: &Place) {
    place.configure(&format!(
        "[collector.far-away]\nendpoint = \"127.0.0.1:1\"\npublic_key = \"{SOME_KEY}\"\n"
    ));
}

#[tokio::test]
async fn monitor_goes_on_without_the_agent_and_sees_it_return() {
    let place = Place::new();
    unreachable(&place);
    let mut monitor = View::of(&place, &["monitor", "--json=short"]);
    let absent = monitor.json().await;
    assert_eq!(absent["Agent"], Value::Null);
    assert!(absent["TimeUSec"].as_u64().unwrap() > 1_700_000_000_000_000);

    let running = place.start().await;
    let present = monitor.json().await;
    assert_eq!(present["Agent"]["Version"], env!("CARGO_PKG_VERSION"));
    let first = monitor.json().await;
    assert_eq!(first["Connection"], "far-away");
    assert_eq!(first["Old"], Value::Null);
    assert!(first["StateSinceUSec"].as_u64().unwrap() >= absent["TimeUSec"].as_u64().unwrap());
    // Since it shows the state, it listens: nothing is lost from here.
    let agent = place.agent().await;
    agent.order("Reconnect", &()).await.unwrap();
    let change = monitor.json().await;
    assert_eq!(change["Connection"], "far-away", "{change}");
    assert_ne!(change["Old"], change["New"], "{change}");
    assert_eq!(change["StateSinceUSec"], Value::Null, "{change}");
    assert!(!change["Reason"].as_str().unwrap().is_empty(), "{change}");

    assert_eq!(running.terminate().await, Some(0));
    let absent = eventually("it left", async || {
        let line = monitor.lines.try_recv().ok()?;
        let note: Value = serde_json::from_str(&line).unwrap();
        note.get("Agent").cloned()
    });
    assert_eq!(absent.await, Value::Null);
    let _again = place.start().await;
    let present = monitor.json().await;
    assert_eq!(present["Agent"]["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(monitor.end(Signal::INT).await, (Some(0), String::new()));
}

#[tokio::test]
async fn monitor_in_words_ends_with_the_bus() {
    let place = Place::new();
    unreachable(&place);
    let _running = place.start().await;
    let mut monitor = View::of(&place, &["monitor"]);
    let line = monitor.line_with("is running").await;
    let version = env!("CARGO_PKG_VERSION");
    // Behind the time of day, such as "Nov 22 17:36:05".
    assert_eq!(
        line.get(15..),
        Some(format!(" ● metrics-agent {version} is running").as_str()),
        "{line}"
    );
    monitor.line_with("far-away: ").await;
    drop(place);
    let (status, error) = monitor.ended().await;
    assert_eq!(status, Some(1));
    assert!(
        error.starts_with("the connection to the bus at "),
        "{error}"
    );
    assert!(error.ends_with(" was lost\n"), "{error}");
}

#[tokio::test]
async fn watching_prints_a_block_for_each_refresh_and_waits_for_the_agent() {
    let place = Place::new();
    let running = place.start().await;
    let words = ["metrics", "--watch", "--interval", "100ms"];
    let mut watch = View::of(&place, &words);
    for _ in 0..2 {
        let title = watch.line_with("unconfigured, metrics every 5s - ").await;
        assert!(title.starts_with("○ "), "{title}");
        let line = watch.line_with("mem.free").await;
        let (_, value) = line.split_once("mem.free").unwrap();
        let size = value.split_whitespace().next().unwrap();
        assert!(size.ends_with(['K', 'M', 'G', 'T']), "{line}");
        assert!(line.ends_with("  Memory that nothing uses"), "{line}");
        assert!(!line.contains('\x1b'), "{line:?}");
    }
    assert_eq!(running.terminate().await, Some(0));
    let _again = place.start().await;
    // Whatever was printed before has been read by the time that this is over.
    while watch.lines.try_recv().is_ok() {}
    watch.line_with("mem.free").await;
    let (_, error) = watch.end(Signal::TERM).await;
    assert!(
        ["", "metrics-agent is not running; waiting for it\n"].contains(&error.as_str()),
        "{error}"
    );
}

#[tokio::test]
async fn watching_as_json_is_a_line_for_each_refresh_and_ends_with_its_reader() {
    let place = Place::new();
    let _running = place.start().await;
    let words = ["metrics", "--watch", "--interval=100ms", "--json=short"];
    let mut command = place.control_command(&words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let read = tokio::task::spawn_blocking(move || {
        let mut lines = [String::new(), String::new()];
        for line in &mut lines {
            output.read_line(line).unwrap();
        }
        // And here the reader leaves.
        lines
    });
    for line in read.await.unwrap() {
        let values: Value = serde_json::from_str(&line).unwrap();
        assert!(
            values["mem.free"].as_u64().unwrap() > 0,
            "raw, in kB: {line}"
        );
    }
    let status = eventually("it ends", async || child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn names_are_completed_and_nothing_where_there_is_no_agent() {
    let place = Place::new();
    let names = async |kind: &str| place.control(&["complete-names", kind]).await;
    let nothing = (0, String::new(), String::new());
    assert_eq!(names("connections").await, nothing);
    unreachable(&place);
    let _running = place.start().await;
    assert_eq!(names("connections").await.1, "far-away\n");
    let enabled: Vec<_> = metrics_agent::sources::default_names()
        .into_iter()
        .map(|name| format!("{name}\n"))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(names("enabled").await.1, enabled.concat());
    assert_eq!(names("disabled").await, nothing);
    place.control(&["disable", "cpu"]).await;
    assert_eq!(names("disabled").await.1, "cpu\n");
}
