//! metrics-collector and its viewers, which another implementation plays.

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::collector::Collector;
use crate::support::peer::{Peer, hex};
use crate::support::place::LOOK_AGAIN;

/// What a viewer was sent: host, grid, kind; a control word alone.
type Said = Vec<String>;

/// A collector that viewers may connect to.
struct World {
    home: tempfile::TempDir,
    collector: Collector,
    viewers: String,
}

impl World {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(options: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = [&["--viewers-listen", "127.0.0.1:0"], options].concat();
        let mut collector = Collector::start(home.path(), &options).await;
        let line = "Listening for viewers at ";
        let said = collector.before.iter().find(|said| said.contains(line));
        let line = match said {
            Some(said) => said.clone(),
            None => collector.logged(line).await,
        };
        let (_, viewers) = line.split_once("viewers at ").unwrap();
        Self {
            home,
            viewers: viewers.to_owned(),
            collector,
        }
    }

    fn list(&self, name: &str) -> PathBuf {
        let directory = self.home.path().join(".curve/authorized_viewers");
        fs::create_dir_all(&directory).unwrap();
        directory.join(format!("{name}.key"))
    }

    fn allow(&self, name: &str, key: &str) {
        let text = format!("metadata\ncurve\n    public-key = \"{key}\"\n");
        fs::write(self.list(name), text).unwrap();
    }

    /// A viewer with a key of its own, not connected yet, and that key.
    async fn stranger(&self) -> (Peer, String) {
        let mut viewer = Peer::dealer();
        let keys = viewer.ask(json!({"do": "keys"})).await;
        (viewer, keys["public"].as_str().unwrap().to_owned())
    }

    async fn connect(&self, viewer: &mut Peer, id: &str, options: Value) {
        viewer
            .ask(json!({
                "do": "connect",
                "address": format!("tcp://{}", self.viewers),
                "server": self.collector.public_key,
                "id": hex(id.as_bytes()),
                "options": options,
            }))
            .await;
    }

    /// A viewer on the list, that has said hello and was heard.
    async fn viewer(&mut self, name: &str, options: Value) -> Peer {
        let (mut viewer, key) = self.stranger().await;
        self.allow(name, &key);
        self.connected(&mut viewer, name, options).await;
        viewer.hello_to_watch().await;
        self.collector.logged("Viewer connected from ").await;
        viewer
    }

    /// The list is read a moment after it has changed; until then keys are refused.
    async fn connected(&mut self, viewer: &mut Peer, id: &str, options: Value) {
        let start = Instant::now();
        loop {
            self.connect(viewer, id, options.clone()).await;
            let link = loop {
                let link = viewer.event("link").await;
                let name = link["name"].as_str().unwrap().to_owned();
                if name.starts_with("HANDSHAKE_") {
                    break name;
                }
            };
            if link == "HANDSHAKE_SUCCEEDED" {
                return;
            }
            assert_eq!(link, "HANDSHAKE_FAILED_AUTH");
            assert!(start.elapsed() < Duration::from_secs(20), "never let in");
            viewer.ask(json!({"do": "close"})).await;
        }
    }
}

impl Peer {
    async fn hello_to_watch(&mut self) {
        self.send(None, &[b"CTRL", b"hello"]).await;
    }

    /// The next message.
    async fn said(&mut self) -> Said {
        let (_, frames) = self.message().await;
        let text = |frame: &Vec<u8>| String::from_utf8(frame.clone()).unwrap();
        let mut said: Said = frames.iter().map(text).collect();
        let tag = said.remove(0);
        assert_eq!(tag, if said.len() == 1 { "CTRL" } else { "METR" });
        said
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// With all that deployed viewers want, and more. Sorted, as models in answers are.
const MODEL: &str = r#"{"cpu.percent":5,"host.os":"Debian","mem.avail":1,"mem.buffers":3,"mem.cached":4,"mem.free":2}"#;

/// Not as this project would write it.
const METRICS: &str = "{ \"b\" :1.50,\n \"a\":  1e2, \"\\u0063\": 0 }";

#[tokio::test]
async fn a_viewer_gets_models_and_then_every_message_as_it_was_sent() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.hello().await;
    for host in ["web2", "web1"] {
        agent.report(host, MODEL, "model").await;
        world.collector.logged(&format!("{host} reports")).await;
    }
    let mut viewer = world.viewer("ann", json!({})).await;
    for host in ["web1", "web2"] {
        let said = viewer.said().await;
        assert_eq!((&*said[0], &*said[2]), (host, "model"));
        assert_eq!(value(&said[1]), value(MODEL));
    }
    agent.report("web1", METRICS, "metrics").await;
    assert_eq!(viewer.said().await, ["web1", METRICS, "metrics"]);
    agent.report("new1", MODEL, "model").await;
    assert_eq!(viewer.said().await, ["new1", MODEL, "model"]);

    // Two viewers see the same; what the collector refuses reaches none.
    let mut other = world.viewer("bob", json!({})).await;
    for _ in 0..3 {
        assert_eq!(other.said().await[2], "model");
    }
    agent.report("web1", "{\"a\":", "metrics").await;
    agent.report("web1", "{}", "metrics").await;
    assert_eq!(viewer.said().await, ["web1", "{}", "metrics"]);
    assert_eq!(other.said().await, ["web1", "{}", "metrics"]);
}

/// What a `state` message says, and whether its times are of the last minute.
fn state(said: &Said) -> (String, String) {
    assert_eq!(said[2], "state", "{said:?}");
    let grid = value(&said[1]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for time in ["last_seen", "since"] {
        let ago = now.as_secs_f64() - grid[time].as_f64().unwrap();
        assert!((-0.1..60.0).contains(&ago), "{grid}");
    }
    // Where one was that is not there.
    let absent = grid["state"] != "reporting";
    assert_eq!(grid["address"] == "127.0.0.1", absent, "{grid}");
    assert_eq!(grid.as_object().unwrap().len(), if absent { 4 } else { 3 });
    (said[0].clone(), grid["state"].as_str().unwrap().to_owned())
}

/// Two viewers of another implementation side by side, of which one asks for states. The
/// other gets byte for byte what it always did.
#[tokio::test]
async fn who_asks_for_it_is_told_who_does_not_report() {
    let mut world = World::with(&["--host-timeout", "2s"]).await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.report("web1", "{}", "metrics").await;
    world.collector.logged("web1 is gone").await;
    let mut old = world.viewer("VIEWER2-OLD", json!({})).await;
    let mut new = world.viewer("viewer2-ABCDEFGH", json!({})).await;
    let pair = |host: &str, state: &str| (host.to_owned(), state.to_owned());
    assert_eq!(state(&new.said().await), pair("web1", "gone"));
    // It comes back: that is told before what it says, and when it has gone again.
    agent.report("web1", METRICS, "metrics").await;
    assert_eq!(state(&new.said().await), pair("web1", "reporting"));
    assert_eq!(new.said().await, ["web1", METRICS, "metrics"]);
    assert_eq!(state(&new.said().await), pair("web1", "gone"));
    // To an agent the kind is none.
    let frames: [&[u8]; 4] = [b"METR", b"web1", b"{}", b"state"];
    agent.send(None, &frames).await;
    let line = world.collector.logged("Refused a message from").await;
    assert!(line.contains("an unknown kind of grid \"state\""), "{line}");
    agent.report("web2", "{}", "metrics").await;
    assert_eq!(state(&new.said().await), pair("web2", "reporting"));
    assert_eq!(old.said().await, ["web1", METRICS, "metrics"]);
    assert_eq!(old.said().await, ["web2", "{}", "metrics"]);
    // Another answer says it again, to who asks for it.
    new.hello_to_watch().await;
    old.hello_to_watch().await;
    assert_eq!(new.said().await, ["web2", "{}", "metrics"]);
    loop {
        let said = state(&new.said().await);
        if said == pair("web1", "gone") {
            break;
        }
        assert_eq!(said, pair("web2", "gone"));
    }
    assert_eq!(old.count().await, 2);
}

/// What an agent says less often is there at once, too; for deployed viewers nothing changes.
#[tokio::test]
async fn who_asks_for_it_gets_the_latest_values_of_each_host() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.report("web1", MODEL, "model").await;
    let all = r#"{"disk.reads.total[sda]":5,"fs.size[/]":9,"mem.free":1,"sys.uptime":10}"#;
    let fast = r#"{"mem.free":2,"sys.uptime":15}"#;
    agent.report("web1", all, "metrics").await;
    agent.report("web1", fast, "metrics").await;
    agent.report("web2", MODEL, "model").await;
    world.collector.logged("web2 reports").await;
    let mut new = world.viewer("viewer2-ABCDEFGH", json!({})).await;
    let mut old = world.viewer("ANN", json!({})).await;
    let mut said = Vec::new();
    for viewer in [&mut new, &mut old] {
        for host in ["web1", "web2"] {
            assert_eq!(viewer.said().await, [host, MODEL, "model"]);
        }
    }
    for _ in 0..2 {
        said.push(new.said().await);
    }
    let slow = r#"{"disk.reads.total[sda]":5,"fs.size[/]":9,"sys.uptime":10}"#;
    assert_eq!(said, [["web1", slow, "metrics"], ["web1", fast, "metrics"]]);
    let next = r#"{"mem.free":3,"sys.uptime":20}"#;
    agent.report("web1", next, "metrics").await;
    for viewer in [&mut new, &mut old] {
        assert_eq!(viewer.said().await, ["web1", next, "metrics"]);
    }
    // Another hello asks for models.
    new.hello_to_watch().await;
    assert_eq!(new.said().await, ["web1", MODEL, "model"]);
    assert_eq!(new.said().await, ["web2", MODEL, "model"]);
    agent.report("web1", fast, "metrics").await;
    assert_eq!(new.said().await, ["web1", fast, "metrics"]);
}

/// Deployed viewers fail on a model without these; agents of others need not have them.
#[tokio::test]
async fn a_model_is_completed_with_what_metrics_said() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    let whole = "{\"mem.avail\":1 , \"mem.free\":2,\n\"mem.buffers\":3,\"mem.cached\":4,\
                 \"cpu.percent\":5e0}";
    let bare = "{ \"mem.total\": 7,\"mem.avail\":1 }";
    let metrics =
        r#"{"mem.avail":9,"mem.free":8,"mem.buffers":6,"mem.cached":5,"cpu.percent":4.5}"#;
    agent.report("web1", bare, "model").await;
    world.collector.logged("web1 reports").await;
    agent.report("web1", metrics, "metrics").await;
    agent.hello().await;
    let added = r#"{"mem.total":7,"mem.avail":1,"mem.free":8,"mem.buffers":6,"mem.cached":5,"cpu.percent":4.5}"#;
    // In the answer to a hello,
    let mut viewer = world.viewer("ann", json!({})).await;
    let said = viewer.said().await;
    assert_eq!((&*said[0], value(&said[1])), ("web1", value(added)));
    // and as it comes: behind what the agent said, which stays as it is.
    agent.report("web1", bare, "model").await;
    let live = "{ \"mem.total\": 7,\"mem.avail\":1 ,\"mem.free\":8,\"mem.buffers\":6,\
                \"mem.cached\":5,\"cpu.percent\":4.5}";
    assert_eq!(viewer.said().await, ["web1", live, "model"]);
    // Where nothing is missing, or known, not a byte is changed; nor in any metrics.
    for (grid, kind) in [(whole, "model"), (bare, "metrics")] {
        agent.report("web1", grid, kind).await;
        assert_eq!(viewer.said().await, ["web1", grid, kind]);
    }
}

/// A deployed viewer fails on a model that lacks a name, and shows nothing then: it gets none
/// before the host's first metrics, and then a whole one, whatever these say.
#[tokio::test]
async fn a_model_that_lacks_something_waits_for_the_first_metrics() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    let bare = r#"{"mem.total":7}"#;
    let metrics =
        r#"{"mem.avail":9,"mem.free":8,"mem.buffers":6,"mem.cached":5,"cpu.percent":4.5}"#;
    let completed = r#"{"mem.total":7,"mem.avail":9,"mem.free":8,"mem.buffers":6,"mem.cached":5,"cpu.percent":4.5}"#;
    let zeros = r#"{"mem.total":7,"mem.avail":0,"mem.free":0,"mem.buffers":0,"mem.cached":0,"cpu.percent":0}"#;
    agent.report("web1", bare, "model").await;
    world.collector.logged("web1 reports").await;
    // Not in the answer to a hello either, but for those who can do with it.
    let mut old = world.viewer("VIEWER2-OLD", json!({})).await;
    let mut new = world.viewer("viewer2-ABCDEFGH", json!({})).await;
    assert_eq!(new.said().await, ["web1", bare, "model"]);
    // As it comes: this one says which hosts come and go, too.
    agent.report("web2", bare, "model").await;
    assert_eq!(state(&new.said().await).0, "web2");
    assert_eq!(new.said().await, ["web2", bare, "model"]);
    for (host, grid, whole) in [("web1", metrics, completed), ("web2", "{}", zeros)] {
        agent.report(host, grid, "metrics").await;
        assert_eq!(new.said().await, [host, grid, "metrics"]);
        assert_eq!(old.said().await, [host, whole, "model"]);
        assert_eq!(old.said().await, [host, grid, "metrics"]);
    }
    // From then on models come at once.
    agent.report("web2", bare, "model").await;
    assert_eq!(new.said().await, ["web2", bare, "model"]);
    assert_eq!(old.said().await, ["web2", zeros, "model"]);
    let mut late = world.viewer("LATE", json!({})).await;
    for (host, whole) in [("web1", completed), ("web2", zeros)] {
        let said = late.said().await;
        assert_eq!((&*said[0], value(&said[1])), (host, value(whole)));
    }
}

/// A viewer that reconnects for each nonsense is one sender, with one line a minute.
#[tokio::test]
async fn a_viewer_that_connects_again_gets_no_more_lines() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.report("web1", MODEL, "model").await;
    world.collector.logged("web1 reports").await;
    let (mut evil, key) = world.stranger().await;
    let (mut good, other) = world.stranger().await;
    world.allow("evil", &key);
    world.allow("good", &other);
    for number in 0..4 {
        let viewer = if number < 3 { &mut evil } else { &mut good };
        world
            .connected(viewer, &format!("ID{number}"), json!({}))
            .await;
        viewer.send(None, &[b"CTRL", b"nonsense"]).await;
        viewer.hello_to_watch().await;
        // It was read in this order.
        assert_eq!(viewer.said().await, ["web1", MODEL, "model"]);
        viewer.ask(json!({"do": "close"})).await;
    }
    world.collector.signal(Signal::TERM);
    let lines = world.collector.rest_of_log().await;
    let refused = |key: &str| {
        let line = format!("Refused a viewer's message from 127.0.0.1 (the key {key})");
        lines.iter().filter(|told| told.contains(&line)).count()
    };
    assert_eq!((refused(&key), refused(&other)), (1, 1), "{lines:?}");
}

/// A key that opens connections has ten places and no more, and others have theirs.
#[tokio::test]
async fn one_key_does_not_keep_other_viewers_out() {
    let mut world = World::new().await;
    let (mut evil, key) = world.stranger().await;
    world.allow("evil", &key);
    world.connected(&mut evil, "EVIL", json!({})).await;
    evil.ask(json!({
        "do": "crowd",
        "address": format!("tcp://{}", world.viewers),
        "server": world.collector.public_key,
        "count": 30,
        "own_keys": false,
        "frames": [hex(b"CTRL"), hex(b"hello")],
    }))
    .await;
    let expected = format!("(the key {key}): too many viewers with this key (limit 10)");
    world.collector.logged(&expected).await;
    let mut agent = world.collector.peer("AGENT").await;
    let mut good = world.viewer("good", json!({})).await;
    agent.report("web1", "{}", "metrics").await;
    assert_eq!(good.said().await, ["web1", "{}", "metrics"]);
}

#[tokio::test]
async fn silence_is_broken_by_a_ping() {
    let mut world = World::new().await;
    let mut viewer = world.viewer("ann", json!({})).await;
    let start = Instant::now();
    // Longer than anything else here takes.
    while viewer.count().await == 0 {
        assert!(start.elapsed() < Duration::from_secs(55), "no ping");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(viewer.said().await, ["ping"]);
    assert!(start.elapsed() > Duration::from_secs(18));
}

#[tokio::test]
async fn a_key_has_to_be_on_the_list_and_to_stay_there() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    let (mut viewer, key) = world.stranger().await;
    world.connect(&mut viewer, "ANN", json!({})).await;
    viewer.link("HANDSHAKE_FAILED_AUTH").await;
    viewer.ask(json!({"do": "close"})).await;
    // No restart is needed.
    world.allow("ann", &key);
    world.connected(&mut viewer, "ANN", json!({})).await;
    viewer.hello_to_watch().await;
    world.collector.logged("Viewer connected from ").await;
    agent.report("web1", "{}", "metrics").await;
    assert_eq!(viewer.said().await, ["web1", "{}", "metrics"]);
    fs::remove_file(world.list("ann")).unwrap();
    world.collector.logged("receives nothing more").await;
    // Its connection is ended, and another one is refused.
    viewer.link("DISCONNECTED").await;
    viewer.link("HANDSHAKE_FAILED_AUTH").await;
    let before = viewer.count().await;
    agent.report("web1", "{}", "metrics").await;
    agent.hello().await;
    assert_eq!(viewer.count().await, before);
}

#[tokio::test]
async fn a_flood_of_hellos_gets_one_answer_and_another_later() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.report("web1", MODEL, "model").await;
    world.collector.logged("web1 reports").await;
    let mut viewer = world.viewer("ann", json!({})).await;
    assert_eq!(viewer.said().await, ["web1", MODEL, "model"]);
    viewer.send_many(None, &[b"CTRL", b"hello"], 5000).await;
    // The answer to all of them.
    assert_eq!(viewer.said().await, ["web1", MODEL, "model"]);
    agent.report("web1", "{}", "metrics").await;
    assert_eq!(viewer.said().await, ["web1", "{}", "metrics"]);
}

#[tokio::test]
async fn a_viewer_that_does_not_read_loses_messages_and_slows_no_other() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    let mut quick = world.viewer("quick", json!({})).await;
    // Little room anywhere between it and the collector.
    let narrow = json!({"RCVHWM": 1, "RCVBUF": 4096});
    let mut slow = world.viewer("slow", narrow).await;
    quick.ask(json!({"do": "loud", "on": false})).await;
    slow.ask(json!({"do": "reading", "on": false})).await;
    // More than the tape of 32 MiB and all the buffers on the way hold; in rounds, as the one that
    // reads may be as slow as the machine.
    let (rounds, count) = (10, 100);
    for round in 0..rounds {
        let grid = format!(r#"{{"round":{round},"a":%d{:>60000}"#, "}");
        let frames = ["METR", "web1", &grid, "metrics"].map(str::as_bytes);
        agent.send_many(None, &frames, count).await;
        while quick.count().await < u64::from((round + 1) * count) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let line = world.collector.logged("does not keep up").await;
    assert!(line.contains("has missed"), "{line}");
    agent.hello().await;
    // It reads again, and gets what is newest.
    slow.ask(json!({"do": "reading", "on": true})).await;
    loop {
        let said = slow.said().await;
        let grid = value(&said[1]);
        if grid["round"] == rounds - 1 && grid["a"] == count - 1 {
            break;
        }
    }
    assert!(slow.count().await < u64::from(rounds * count));
}

#[tokio::test]
async fn a_viewer_that_comes_back_starts_over() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    agent.report("web1", MODEL, "model").await;
    world.collector.logged("web1 reports").await;
    let mut viewer = world.viewer("ann", json!({})).await;
    viewer.said().await;
    viewer.ask(json!({"do": "close"})).await;
    // It is noticed with a message, once libzmq knows.
    {
        let mut gone = pin!(world.collector.logged("has gone (key"));
        while timeout(LOOK_AGAIN, &mut gone).await.is_err() {
            agent.report("web1", "{}", "metrics").await;
        }
    }
    world.connected(&mut viewer, "ann", json!({})).await;
    viewer.hello_to_watch().await;
    assert_eq!(viewer.said().await, ["web1", MODEL, "model"]);
}

#[tokio::test]
async fn nonsense_of_a_viewer_is_refused_and_told() {
    let mut world = World::new().await;
    let mut agent = world.collector.peer("AGENT").await;
    let mut viewer = world.viewer("ann", json!({})).await;
    let nonsense: [&[&[u8]]; 6] = [
        &[b""],
        &[b"CTRL", b"model"],
        &[b"CTRL", b"hello", b""],
        &[b"METR", b"web1", b"{}", b"metrics"],
        &[&b"x"[..]; 100],
        &[b"CTRL", b"\xff\x1b[2J"],
    ];
    for frames in nonsense {
        viewer.send(None, frames).await;
    }
    let line = world.collector.logged("Refused a viewer's message").await;
    assert!(line.contains("an unknown tag"), "{line}");
    agent.report("web1", "{}", "metrics").await;
    assert_eq!(viewer.said().await, ["web1", "{}", "metrics"]);
    // A viewer is no agent.
    assert_eq!(world.collector.stop().await, "1 host, 1 message, 0 refused");
}

#[tokio::test]
async fn a_frame_that_is_too_large_ends_the_connection() {
    let mut world = World::new().await;
    let mut viewer = world.viewer("ann", json!({})).await;
    viewer.send(None, &[b"CTRL", &[b'x'; 5000]]).await;
    viewer.link("DISCONNECTED").await;
    world.collector.signal(Signal::TERM);
    assert_eq!(world.collector.ended().await.code(), Some(0));
}
