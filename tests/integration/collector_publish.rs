//! `[publish]`: programs of this host that follow what agents send, with libzmq's SUB socket, and
//! peers that mean no good.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::support::collector::{Collector, program};
use crate::support::http::{address_of, fetch};
use crate::support::peer::{PATIENCE, Peer};
use crate::support::place::eventually;

/// As the collector has them.
const MAX_READERS: usize = 16;
const WAITING_BYTES: usize = 4 * 1024 * 1024;

/// A collector that publishes, and whose figures can be scraped.
struct World {
    home: tempfile::TempDir,
    collector: Collector,
    web: SocketAddr,
    agent: Peer,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let collector = start(home.path(), &ipc(home.path())).await;
        let web = address_of(&collector);
        let agent = collector.peer("A").await;
        Self {
            home,
            collector,
            web,
            agent,
        }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("publish")
    }

    /// A reader that has got a first message.
    async fn reader(&mut self, topics: &[&str], options: Value) -> Peer {
        let address = ipc(self.home.path());
        self.reader_at(&address, topics, options).await
    }

    async fn reader_at(&mut self, address: &str, topics: &[&str], options: Value) -> Peer {
        let mut reader = Peer::subscriber();
        let topics: Vec<_> = topics.iter().chain(&["probe"]).collect();
        reader
            .ask(
                json!({"do": "connect", "address": address, "topics": topics,
                        "options": options}),
            )
            .await;
        eventually("the subscription has arrived", async || {
            self.report("probe", r#"{"mem.free":0}"#).await;
            (reader.count().await > 0).then_some(())
        })
        .await;
        reader
    }

    async fn report(&mut self, host: &str, grid: &str) {
        self.agent.report(host, grid, "metrics").await;
    }

    async fn figure(&self, name: &str) -> f64 {
        fetch(self.web, "/metrics").await.number(name)
    }

    async fn readers(&self) -> f64 {
        self.figure("metrics_collector_publish_readers").await
    }

    async fn dropped(&self) -> f64 {
        let dropped = "metrics_collector_publish_messages_dropped_total";
        self.figure(dropped).await
    }
}

fn ipc(home: &Path) -> String {
    format!("ipc://{}", home.join("publish").display())
}

fn publishing(home: &Path, endpoint: &str) -> std::process::Command {
    let mut command = program(home);
    command
        .args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"])
        .env("METRICS_COLLECTOR_PUBLISH__ENDPOINT", endpoint);
    command
}

async fn start(home: &Path, endpoint: &str) -> Collector {
    Collector::run(publishing(home, endpoint)).await
}

/// Where it says that it publishes.
fn published_at(collector: &Collector) -> String {
    let line = "Publishing what agents send at ";
    let mut lines = collector.before.iter();
    let found = lines.find_map(|said| said.split_once(line));
    found.expect("it says where").1.to_owned()
}

/// The next message that is not one of those that were sent until the subscription was there.
async fn next(reader: &mut Peer) -> [String; 3] {
    loop {
        let (_, frames) = reader.message().await;
        let frames: Vec<_> = frames
            .into_iter()
            .map(|frame| String::from_utf8(frame).unwrap())
            .collect();
        let [host, kind, grid] = <[String; 3]>::try_from(frames).expect("three frames");
        if host != "probe" {
            return [host, kind, grid];
        }
    }
}

/// A grid of about so many bytes that holds this number.
fn padded(number: u32, bytes: usize) -> String {
    format!("{{\"mem.free\":{number}{}}}", " ".repeat(bytes))
}

#[tokio::test]
async fn readers_follow_all_or_hosts_by_the_beginning_of_their_names() {
    let mut world = World::new().await;
    let mut all = world.reader(&[""], json!({})).await;
    let mut some = world.reader(&["web1"], json!({})).await;
    // As they were sent, with a space and an unknown metric.
    let sent = [
        ["web1", "model", r#"{"host.os": "Debian","mem.total":2}"#],
        ["web1", "metrics", r#"{"mem.free":18446744073709551615}"#],
        ["db1", "metrics", r#"{"made up": 7}"#],
        ["web10", "metrics", r#"{"mem.free":1}"#],
        ["aweb1", "metrics", r#"{"mem.free":2}"#],
    ];
    for [host, kind, grid] in sent {
        world.agent.report(host, grid, kind).await;
    }
    for expected in sent {
        assert_eq!(next(&mut all).await, expected);
    }
    for expected in [sent[0], sent[1], sent[3]] {
        assert_eq!(next(&mut some).await, expected);
    }
    // What is refused is not published.
    world
        .agent
        .send(None, &[b"METR", b"web1", b"[]", b"metrics"])
        .await;
    world.report("web9", r#"{"mem.free":3}"#).await;
    assert_eq!(next(&mut all).await[0], "web9");
    assert!((world.readers().await - 2.0).abs() < 0.1);
    assert!(world.dropped().await < 0.1);
    let command = json!({"do": "unsubscribe", "topic": "web1"});
    some.ask(command).await;
    eventually("only the other subscription is left", async || {
        let number = some.count().await;
        let last = format!("{{\"mem.free\":{number}}}");
        world.report("web1", r#"{"mem.free":4}"#).await;
        world.report("probe", &last).await;
        let mut got_web1 = false;
        loop {
            let (_, frames) = some.message().await;
            got_web1 |= frames[0] == b"web1";
            if frames[2] == last.as_bytes() {
                return (!got_web1).then_some(());
            }
        }
    })
    .await;
    all.ask(json!({"do": "close"})).await;
    eventually("one has gone", async || {
        ((world.readers().await - 1.0).abs() < 0.1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reader_over_the_loopback_is_like_another() {
    let home = tempfile::tempdir().unwrap();
    for endpoint in ["tcp://127.0.0.1:0", "tcp://[::1]:0"] {
        let collector = start(home.path(), endpoint).await;
        let web = address_of(&collector);
        let agent = collector.peer("A").await;
        let address = published_at(&collector);
        let mut world = World {
            home: tempfile::tempdir().unwrap(),
            collector,
            web,
            agent,
        };
        // A heartbeat is answered: without an answer the connection would end.
        let options = json!({"IPV6": 1, "HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 5000});
        let mut reader = world.reader_at(&address, &[""], options).await;
        for number in 0..20 {
            world.report("web1", &padded(number, 10)).await;
            assert_eq!(next(&mut reader).await[2], padded(number, 10));
        }
        assert!((world.readers().await - 1.0).abs() < 0.1);
        let links = reader.links().await;
        assert!(!links.contains(&"DISCONNECTED".to_owned()), "{links:?}");
    }
}

#[tokio::test]
async fn a_reader_that_reads_nothing_slows_nobody_and_costs_a_bounded_amount() {
    const BYTES: usize = 200_000;
    const BATCH: u32 = 10;
    // Ten times what may wait for a reader.
    const BATCHES: u32 = 21;
    let mut world = World::new().await;
    let options = json!({"RCVHWM": 1, "RCVBUF": 4096});
    let mut stuck = world.reader(&[""], options).await;
    stuck.ask(json!({"do": "reading", "on": false})).await;
    let mut reader = world.reader(&["web1"], json!({})).await;
    reader.ask(json!({"do": "loud", "on": false})).await;
    let before = world.collector.resident_kib();
    let bytes = async |reader: &mut Peer| {
        let count = reader.ask(json!({"do": "count"})).await;
        count["bytes"].as_u64().unwrap()
    };
    let mut read = bytes(&mut reader).await;
    for _ in 0..BATCHES {
        for number in 0..BATCH {
            world.report("web1", &padded(number, BYTES)).await;
        }
        // All of them, to the last: probes that come late are too short to stand for one. The
        // next only then, as the reader's own bound must not be what is tested.
        read += u64::from(BATCH) * BYTES as u64;
        eventually("all of it has come", async || {
            (bytes(&mut reader).await >= read).then_some(())
        })
        .await;
    }
    assert!(BATCHES as usize * BATCH as usize * BYTES >= 10 * WAITING_BYTES);
    let grown = world.collector.resident_kib().saturating_sub(before);
    // What waits for the stuck one, a message or two on the way, and what the allocator keeps.
    let most = 3 * (WAITING_BYTES / 1024) as u64;
    assert!(grown < most, "{grown} KiB more (limit {most})");
    let dropped = world.dropped().await;
    let least = f64::from(BATCHES * BATCH) / 2.0;
    assert!(dropped > least, "{dropped} dropped");
    let line = world.collector.logged("does not keep up").await;
    assert!(line.contains(&ipc(world.home.path())), "{line}");
    // It gets what waited, whole, and then what is new.
    stuck.ask(json!({"do": "reading", "on": true})).await;
    world.report("db1", r#"{"mem.free":1}"#).await;
    eventually("it reads again", async || {
        world.report("db1", r#"{"mem.free":1}"#).await;
        let [host, _, grid] = next(&mut stuck).await;
        // What waited is whole.
        serde_json::from_str::<Value>(&grid).unwrap();
        (host == "db1").then_some(())
    })
    .await;
}

/// The greeting of a SUB, and its READY.
fn handshake() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 0xff;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    bytes[12..16].copy_from_slice(b"NULL");
    let ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
    bytes.extend([4, u8::try_from(ready.len()).unwrap()]);
    bytes.extend(ready);
    bytes
}

/// Reads to the end; what came.
async fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // It may be reset, too.
    let _ = read.expect("the connection ends");
    bytes
}

#[tokio::test]
async fn readers_that_mean_no_good_are_disconnected() {
    let mut world = World::new().await;
    let mut reader = world.reader(&["web1"], json!({})).await;
    let subscribe = |topic: &[u8]| {
        let length = u8::try_from(topic.len() + 1).unwrap();
        [&[0, length, 1][..], topic].concat()
    };
    let many: Vec<u8> = (0..1000_u32)
        .flat_map(|number| subscribe(&number.to_be_bytes()))
        .collect();
    for (said, why) in [
        (
            [&[2][..], &(1_u64 << 62).to_be_bytes()].concat(),
            "a frame of 4611686018427387904 bytes (limit 512)",
        ),
        (many, "more than 256 subscriptions"),
        (
            vec![0, 2, 7, 7],
            "it sent something that no subscriber sends",
        ),
    ] {
        let mut stream = UnixStream::connect(world.path()).await.unwrap();
        stream
            .write_all(&[handshake(), said].concat())
            .await
            .unwrap();
        rest(&mut stream).await;
        // One line a minute.
        if why.starts_with("a frame") {
            world.collector.logged(why).await;
        }
    }
    // Readers past the limit see the end of their connection.
    let mut crowd = Vec::new();
    for _ in 0..MAX_READERS - 1 {
        let mut stream = UnixStream::connect(world.path()).await.unwrap();
        stream.write_all(&handshake()).await.unwrap();
        let mut greeting = [0; 64];
        stream.read_exact(&mut greeting).await.unwrap();
        crowd.push(stream);
    }
    let mut one_more = UnixStream::connect(world.path()).await.unwrap();
    assert_eq!(rest(&mut one_more).await, b"");
    // It serves the others as before.
    world.report("web1", r#"{"mem.free":1}"#).await;
    assert_eq!(next(&mut reader).await[0], "web1");
    drop(crowd);
    eventually("there is room again", async || {
        ((world.readers().await - 1.0).abs() < 0.1).then_some(())
    })
    .await;
    let mut another = world.reader(&["db1"], json!({})).await;
    world.report("db1", r#"{"mem.free":2}"#).await;
    assert_eq!(next(&mut another).await[0], "db1");
}

#[tokio::test]
async fn the_socket_of_a_killed_collector_is_replaced() {
    let mut world = World::new().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&world.path()), 0o660);
    world.collector.signal(Signal::KILL);
    world.collector.ended().await;
    assert!(world.path().exists());
    let mut command = publishing(world.home.path(), &ipc(world.home.path()));
    command.env("METRICS_COLLECTOR_PUBLISH__MODE", "0666");
    world.collector = Collector::run(command).await;
    world.web = address_of(&world.collector);
    world.agent = world.collector.peer("A").await;
    assert_eq!(mode(&world.path()), 0o666);
    let mut reader = world.reader(&["web1"], json!({})).await;
    world.report("web1", r#"{"mem.free":1}"#).await;
    assert_eq!(next(&mut reader).await[0], "web1");
    world.collector.stop().await;
    assert!(!world.path().exists(), "it is removed at the end");
}

#[tokio::test]
async fn a_start_that_cannot_publish_says_why() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("publish");
    let refused = async |endpoint: &str| {
        let mut command = publishing(home.path(), endpoint);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.unwrap().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), log)
    };
    fs::write(&path, "precious").unwrap();
    let (status, log) = refused(&ipc(home.path())).await;
    assert_eq!(status, Some(69));
    assert!(log.contains("that is a file and not a socket"), "{log}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let (status, log) = refused(&ipc(home.path())).await;
    assert_eq!(status, Some(69));
    assert!(log.contains("another process listens there"), "{log}");
    let (status, log) = refused("tcp://192.0.2.1:5558").await;
    assert_eq!(status, Some(78));
    let expected = "METRICS_COLLECTOR_PUBLISH__ENDPOINT: publish.endpoint: \
                    \"tcp://192.0.2.1:5558\" is not a place on this host";
    assert!(log.contains(expected), "{log}");
    assert!(log.contains("is not a loopback address"), "{log}");
}
