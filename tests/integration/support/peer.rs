//! Peers on another implementation's sockets: Python programs with pyzmq, steered
//! by lines of JSON as tests/peers/control.py describes.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What nothing here should ever take, even on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running peer; killed when dropped.
pub(crate) struct Peer {
    child: Child,
    stdin: ChildStdin,
    events: mpsc::UnboundedReceiver<Value>,
    /// Events that came while another was waited for.
    passed: VecDeque<Value>,
}

impl Peer {
    /// A ROUTER that is not bound yet.
    pub(crate) fn router() -> Self {
        Self::start("router.py")
    }

    /// A DEALER that is not connected yet.
    pub(crate) fn dealer() -> Self {
        Self::start("dealer.py")
    }

    /// Many DEALERs that are not connected yet: `fleet.py` says what it can.
    pub(crate) fn fleet() -> Self {
        Self::start("fleet.py")
    }

    /// A SUB that is not connected yet.
    pub(crate) fn subscriber() -> Self {
        Self::start("subscriber.py")
    }

    /// A ROUTER with CURVE on a free port of 127.0.0.1; its port and its key.
    pub(crate) async fn bound_router() -> (Self, u16, String) {
        let mut router = Self::router();
        let bound = router.ask(json!({"do": "bind"})).await;
        let port = bound["port"].as_u64().unwrap().try_into().unwrap();
        let public = bound["public"].as_str().unwrap().to_owned();
        (router, port, public)
    }

    /// One that is made by this program of tests/peers.
    pub(crate) fn start(script: &str) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
        // The distribution's Python, for its pyzmq, or another one with a pyzmq of its own.
        let python = std::env::var_os("PEER_PYTHON").unwrap_or("/usr/bin/python3".into());
        let mut child = Command::new(python)
            .arg("-B")
            .arg(peers.join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 with python3-zmq is installed");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, events) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("a peer speaks JSON");
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            stdin,
            events,
            passed: VecDeque::new(),
        }
    }

    /// Gives a command and does not wait for its answer.
    pub(crate) fn tell(&mut self, command: &Value) {
        writeln!(self.stdin, "{command}").expect("the peer runs");
    }

    /// Gives a command and waits until it is done; the answer. Other events that
    /// come in between are kept for [`Peer::event`].
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.tell(&command);
        loop {
            let event = self.receive().await;
            match event["event"].as_str() {
                Some("done") if event["do"] == command["do"] => return event,
                Some("failed") => panic!("{command}: {event}"),
                _ => self.passed.push_back(event),
            }
        }
    }

    /// The next event of this name; others are kept.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        let named = |event: &Value| event["event"] == name;
        if let Some(event) = self.passed.iter().position(named) {
            return self.passed.remove(event).unwrap();
        }
        // Others may come without end, such as attempts to connect.
        let start = Instant::now();
        loop {
            let event = self.receive().await;
            if named(&event) {
                return event;
            }
            assert!(start.elapsed() < PATIENCE, "no event {name}");
            self.passed.push_back(event);
        }
    }

    /// How many events of this name were told before the last answer and not taken.
    pub(crate) fn waiting(&self, name: &str) -> usize {
        self.passed
            .iter()
            .filter(|event| event["event"] == name)
            .count()
    }

    /// The next message: its sender's routing id (of a ROUTER), its frames.
    pub(crate) async fn message(&mut self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let event = self.event("message").await;
        let frames = event["frames"].as_array().unwrap();
        let frames = frames.iter().map(|frame| unhex(frame.as_str().unwrap()));
        let from = event["from"].as_str().map(unhex).unwrap_or_default();
        (from, frames.collect())
    }

    /// Waits until the peer's monitor reports `name`, as in `HANDSHAKE_SUCCEEDED`.
    pub(crate) async fn link(&mut self, name: &str) {
        while self.event("link").await["name"] != name {}
    }

    /// What the peer's monitor has reported and was not taken: names, in order.
    pub(crate) async fn links(&mut self) -> Vec<String> {
        // Whatever was told before the answer is here with it.
        self.count().await;
        let (links, others) = self
            .passed
            .drain(..)
            .partition::<Vec<_>, _>(|event| event["event"] == "link");
        self.passed.extend(others);
        let name = |event: &Value| event["name"].as_str().unwrap().to_owned();
        links.iter().map(name).collect()
    }

    /// Sends a message, to `to` from a ROUTER.
    pub(crate) async fn send(&mut self, to: Option<&[u8]>, frames: &[&[u8]]) {
        self.send_many(to, frames, 1).await;
    }

    /// Sends a message `count` times; `%d` in a frame is the message's number.
    pub(crate) async fn send_many(&mut self, to: Option<&[u8]>, frames: &[&[u8]], count: u32) {
        let frames: Vec<_> = frames.iter().map(|frame| hex(frame)).collect();
        let mut command =
            json!({"do": "send", "frames": frames, "count": count, "numbered": count > 1});
        if let Some(to) = to {
            command["to"] = hex(to).into();
        }
        self.ask(command).await;
    }

    /// Messages received so far.
    pub(crate) async fn count(&mut self) -> u64 {
        let answer = self.ask(json!({"do": "count"})).await;
        answer["messages"].as_u64().unwrap()
    }

    /// Ends the process without a word, as a crash or a power cut of it would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops the process where it is; its sockets stay open and say nothing.
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on where it was stopped.
    pub(crate) fn go_on(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn receive(&mut self) -> Value {
        timeout(PATIENCE, self.events.recv())
            .await
            .expect("the peer has something to tell")
            .expect("the peer runs")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
