//! The collector itself, in a home directory of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::peer::{PATIENCE, Peer};
use super::place::LOOK_AGAIN;

/// A collector's program, not started yet: nothing of this process's environment.
pub(crate) fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metrics-collector"));
    command
        .env_clear()
        .env("HOME", home)
        // Several run at a time, and no bus knows them.
        .env("METRICS_COLLECTOR_LISTEN__VIEWERS", "none")
        .env("METRICS_COLLECTOR_LISTEN__WEB", "none")
        .env("METRICS_COLLECTOR_DBUS__BUS", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    /// What it logged until it listened.
    pub(crate) before: Vec<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What agents know it by.
    pub(crate) public_key: String,
}

impl Collector {
    /// One on a free port of 127.0.0.1, with more options.
    pub(crate) async fn start(home: &Path, options: &[&str]) -> Self {
        let mut command = program(home);
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        Self::run(command).await
    }

    /// Waits until this one listens.
    pub(crate) async fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = lines(child.stderr.take().unwrap());
        let mut collector = Self {
            child,
            log,
            before: Vec::new(),
            address: SocketAddr::from(([0; 4], 0)),
            public_key: String::new(),
        };
        let line = loop {
            let line = collector.logged("").await;
            collector.before.push(line.clone());
            if line.contains("Listening for agents at ") {
                break line;
            }
        };
        let (_, rest) = line.split_once("Listening for agents at ").unwrap();
        let (address, rest) = rest.split_once("; ").unwrap();
        // Of all addresses any will do.
        let address = address.replace('*', "127.0.0.1").replace("%lo]", "%1]");
        collector.address = address.parse().unwrap();
        let (_, rest) = rest.split_once("the public key they need is ").unwrap();
        rest.clone_into(&mut collector.public_key);
        collector
    }

    /// The next line of the log that holds this.
    pub(crate) async fn logged(&mut self, part: &str) -> String {
        let find = async {
            while let Some(line) = self.log.recv().await {
                if line.contains(part) {
                    return line;
                }
            }
            panic!("the log has ended without {part:?}");
        };
        let found = timeout(PATIENCE, find).await;
        found.unwrap_or_else(|_| panic!("nothing is logged with {part:?}"))
    }

    /// What was logged and not read yet, of one that has ended.
    pub(crate) async fn rest_of_log(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.log.recv().await {
            lines.push(line);
        }
        lines
    }

    /// The memory that is its own, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory_kib("RssAnon:")
    }

    /// What it has had in memory at the most, in KiB.
    pub(crate) fn most_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, kind: &str) -> u64 {
        memory_kib(self.child.id(), kind).unwrap()
    }

    /// What it prints, line by line.
    pub(crate) fn printed(&mut self) -> Printed {
        Printed(lines(self.stdout()))
    }

    /// Its standard output, to be read or not.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the collector does not end");
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends it; what it had counted: `2 hosts, 7 messages, 0 refused`.
    pub(crate) async fn stop(&mut self) -> String {
        self.signal(Signal::TERM);
        let line = self.logged("Stopping on SIGTERM: ").await;
        assert_eq!(self.ended().await.code(), Some(0));
        let (_, totals) = line.split_once("SIGTERM: ").unwrap();
        totals.to_owned()
    }

    /// A peer that is connected to it under this routing id.
    pub(crate) async fn peer(&self, id: &str) -> Peer {
        self.peer_at(&format!("tcp://{}", self.address), id).await
    }

    /// The same, by this address.
    pub(crate) async fn peer_at(&self, address: &str, id: &str) -> Peer {
        let mut peer = Peer::dealer();
        let id = super::peer::hex(id.as_bytes());
        let command =
            json!({"do": "connect", "address": address, "server": self.public_key, "id": id});
        peer.ask(command).await;
        peer.link("HANDSHAKE_SUCCEEDED").await;
        peer
    }
}

/// A value of /proc/PID/status in KiB, such as `RssAnon:`; None of a process that has ended.
pub(crate) fn memory_kib(id: u32, kind: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(kind));
    let mut words = line?.split_whitespace().skip(1);
    words.next()?.parse().ok()
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of JSON, one a message.
pub(crate) struct Printed(mpsc::UnboundedReceiver<String>);

impl Printed {
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.0.recv()).await;
        let line = line.expect("a line is printed").expect("it prints");
        serde_json::from_str(&line).expect("a line is JSON")
    }
}

fn lines(from: impl Read + Send + 'static) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    thread::spawn(move || {
        // Until its end, heard or not: the collector must not find it full.
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

/// Many agents in one process.
pub(crate) struct Fleet(Peer);

impl Fleet {
    /// So many, with routing ids that begin with this, and a key each.
    pub(crate) async fn connect(collector: &Collector, name: &str, count: u32) -> Self {
        Self::connect_as(collector, name, count, true).await
    }

    /// The same, all with one key.
    pub(crate) async fn connect_with_one_key(
        collector: &Collector,
        name: &str,
        count: u32,
    ) -> Self {
        Self::connect_as(collector, name, count, false).await
    }

    async fn connect_as(collector: &Collector, name: &str, count: u32, own_keys: bool) -> Self {
        let mut peer = Peer::fleet();
        let address = format!("tcp://{}", collector.address);
        let command = json!({"do": "connect", "address": address, "count": count, "name": name,
                             "server": collector.public_key, "own_keys": own_keys});
        peer.ask(command).await;
        Self(peer)
    }

    /// Each sends this message so many times; `%d` is its own number, `%m` the message's.
    pub(crate) async fn send(&mut self, frames: &[&str], count: u32) {
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| super::peer::hex(frame.as_bytes()))
            .collect();
        let command = json!({"do": "send", "frames": frames, "count": count});
        self.0.ask(command).await;
    }

    /// Waits until each has heard this word so many times.
    pub(crate) async fn heard_by_each(&mut self, word: &str, count: u32) {
        let command = json!({"do": "await", "word": word, "count": count});
        self.0.ask(command).await;
    }

    /// How often all of them together have heard this word.
    pub(crate) async fn heard(&mut self, word: &str) -> u64 {
        let heard = self.0.ask(json!({"do": "heard"})).await;
        heard["all"][word].as_u64().unwrap_or(0)
    }
}

impl Peer {
    /// Sends a grid.
    pub(crate) async fn report(&mut self, host: &str, grid: &str, kind: &str) {
        let frames = ["METR", host, grid, kind].map(str::as_bytes);
        self.send(None, &frames).await;
    }

    /// The next control word but an offer, which comes after each question for a model.
    pub(crate) async fn word(&mut self) -> String {
        loop {
            let word = self.any_word().await;
            if !word.starts_with("offer ") {
                return word;
            }
        }
    }

    /// The next control word.
    pub(crate) async fn any_word(&mut self) -> String {
        let (_, frames) = self.message().await;
        let [tag, word] = &frames[..] else {
            panic!("a control message has two frames: {frames:?}");
        };
        assert_eq!(tag, b"CTRL");
        String::from_utf8(word.clone()).unwrap()
    }

    /// Says hello and waits for the answer; pings may come before.
    pub(crate) async fn hello(&mut self) {
        self.send(None, &[b"CTRL", b"hello"]).await;
        loop {
            match self.word().await.as_str() {
                "model" => return,
                word => assert_eq!(word, "ping"),
            }
        }
    }
}
