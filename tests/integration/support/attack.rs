//! Those who attack a collector, and a fleet of good agents that must not notice.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use metrics_agent::curve::keys::{KeyPair, PublicKey};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::collector::{Collector, memory_kib};
use super::http::{Answer, address_of, fetch};
use super::peer::PATIENCE;
use super::place::eventually;
use super::zmtp::Socket;

/// As many descriptors as this process may have.
pub(crate) fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// Tells those who run a test by hand, with `--nocapture`.
#[expect(clippy::print_stdout, reason = "that is what it is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Lists a new key of this name in a collector's home.
pub(crate) fn list(home: &Path, name: &str) -> KeyPair {
    let directory = home.join(".curve/authorized_agents");
    std::fs::create_dir_all(&directory).unwrap();
    let keys = KeyPair::generate().unwrap();
    let text = format!("metadata\ncurve\n    public-key = \"{}\"\n", keys.public);
    std::fs::write(directory.join(format!("{name}.key")), text).unwrap();
    keys
}

/// One of the loopback's addresses; each is a network of its own to the collector.
pub(crate) fn from(number: usize) -> Ipv4Addr {
    let [high, low] = u16::try_from(number % 60_000 + 1).unwrap().to_be_bytes();
    Ipv4Addr::new(127, 7, high, low)
}

/// A connection from this address.
pub(crate) fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What a client sends before its HELLO.
pub(crate) fn greeting() -> Vec<u8> {
    let mut greeting = b"\xFF\0\0\0\0\0\0\0\0\x7F\x03\0CURVE".to_vec();
    greeting.resize(64, 0);
    greeting
}

/// Waits until the other end has closed this; what it had sent.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // One that is reset is at its end, too.
    if let Err(error) = stream.read_to_end(&mut all) {
        let kind = error.kind();
        assert_eq!(kind, std::io::ErrorKind::ConnectionReset, "{error}");
    }
    all
}

/// Greeting and HELLO of a client that knows the server's key: good for any connection.
pub(crate) fn hello(collector: &Collector) -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = connect_from(from(0), listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(&greeting()).unwrap();
    let server_key = collector.public_key.parse().unwrap();
    let mut client = Socket::over(client, KeyPair::generate().unwrap(), server_key);
    let mut written = vec![0; 64 + 202];
    client.look();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut written).unwrap();
    written
}

/// A collector's own figures.
pub(crate) struct Figures(Answer);

impl Figures {
    pub(crate) async fn of(collector: &Collector) -> Self {
        Self(fetch(address_of(collector), "/metrics").await)
    }

    /// The value of one series, if it is there.
    pub(crate) fn find(&self, series: &str) -> Option<u64> {
        let family = series.split('{').next().unwrap();
        let found = self.0.series(family);
        let (_, value) = found.iter().find(|(name, _)| *name == series)?;
        Some(value.parse().unwrap())
    }

    /// The value of one series.
    pub(crate) fn value(&self, series: &str) -> u64 {
        let value = self.find(series);
        value.unwrap_or_else(|| panic!("{series}: {}", self.0.body))
    }

    /// Connections to the agents' port that ended for this reason.
    pub(crate) fn ended(&self, reason: &str) -> u64 {
        let family = "metrics_collector_connections_ended_total";
        self.value(&format!(
            "{family}{{listener=\"agents\",reason=\"{reason}\"}}"
        ))
    }

    pub(crate) fn connections(&self) -> u64 {
        self.value("metrics_collector_connections{listener=\"agents\"}")
    }

    pub(crate) fn handshakes(&self) -> u64 {
        self.value("metrics_collector_handshakes_in_progress{listener=\"agents\"}")
    }
}

/// Where a collector is, and what it is known by.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) address: SocketAddr,
    pub(crate) server: PublicKey,
}

impl At {
    pub(crate) fn of(collector: &Collector) -> Self {
        Self {
            address: collector.address,
            server: collector.public_key.parse().unwrap(),
        }
    }

    /// A connection from this address with these keys, which is let in.
    pub(crate) fn up_from(self, from: Ipv4Addr, keys: KeyPair) -> std::io::Result<Socket> {
        let mut socket = self.begin_from(from, keys)?;
        socket.up();
        Ok(socket)
    }

    fn begin_from(self, from: Ipv4Addr, keys: KeyPair) -> std::io::Result<Socket> {
        let stream = connect_from(from, self.address)?;
        Ok(Socket::over(stream, keys, self.server))
    }
}

/// The most memory that a process has had since this began.
pub(crate) struct Memory {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
    before: u64,
}

impl Memory {
    /// Begins to look, again and again.
    pub(crate) fn watch(collector: &Collector) -> Self {
        Self::watch_process(collector.id())
    }

    /// The same of any process.
    pub(crate) fn watch_process(id: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // 0 when it has ended.
        let look = move || memory_kib(id, "RssAnon:").unwrap_or(0);
        let before = look();
        let thread = spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                most = most.max(look());
                std::thread::sleep(Duration::from_millis(10));
            }
            most
        });
        Self {
            stop,
            thread,
            before,
        }
    }

    /// By how much more it was than in the beginning, in KiB.
    pub(crate) async fn grown(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let most = tokio::task::spawn_blocking(|| self.thread.join().unwrap());
        most.await.unwrap().saturating_sub(self.before)
    }
}

/// An agent from an address of its own comes in and is heard. Its connection may end where this
/// machine is so slow that it takes longer for a handshake than strangers have in a crowd.
pub(crate) async fn comes_in(collector: &Collector, from: Ipv4Addr) {
    comes_in_with(collector, from, KeyPair::generate().unwrap()).await;
}

/// The same with these keys.
pub(crate) async fn comes_in_with(collector: &Collector, from: Ipv4Addr, keys: KeyPair) {
    let at = At::of(collector);
    let begin = Instant::now();
    let comes = tokio::task::spawn_blocking(move || {
        let mut agent = loop {
            let mut agent = at.begin_from(from, keys.clone()).unwrap();
            if agent.is_let_in() {
                break agent;
            }
            say("a new agent has to try again");
        };
        agent.send(&[b"CTRL".to_vec(), b"hello".to_vec()]);
        agent.message()
    });
    let heard = tokio::time::timeout(PATIENCE, comes).await;
    assert_eq!(
        heard.expect("an answer").unwrap(),
        [b"CTRL".to_vec(), b"model".to_vec()]
    );
    say(&format!("a new agent is in after {:?}", begin.elapsed()));
}

/// Does this in a thread of its own, again and again, until it is dropped.
pub(crate) struct Attack {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Attack {
    /// `act` is given how often it has been called.
    pub(crate) fn begin(mut act: impl FnMut(usize) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                act(number);
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// It still goes on; now it ends.
    pub(crate) async fn end(mut self) {
        let thread = self.thread.take().unwrap();
        assert!(!thread.is_finished(), "the attack has ended too early");
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::task::spawn_blocking(|| thread.join());
        ended.await.unwrap().unwrap();
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Good agents, of one thread: each has a key and a connection, and reports again and again.
pub(crate) struct Good {
    stop: Arc<AtomicBool>,
    /// What each has sent, and their connections, which stay until all was counted.
    thread: JoinHandle<(u64, Vec<Socket>)>,
    count: usize,
}

/// Between two messages of a good agent.
const INTERVAL: Duration = Duration::from_millis(200);

impl Good {
    /// So many, who all are in.
    pub(crate) async fn begin(collector: &Collector, count: usize) -> Self {
        let keys = || KeyPair::generate().unwrap();
        Self::begin_with(collector, count, keys).await
    }

    /// The same with these keys.
    pub(crate) async fn begin_with(
        collector: &Collector,
        count: usize,
        keys: impl Fn() -> KeyPair + Send + 'static,
    ) -> Self {
        let at = At::of(collector);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn(move || {
            let mut agents: Vec<_> = (0..count)
                .map(|_| at.up_from(Ipv4Addr::LOCALHOST, keys()).unwrap())
                .collect();
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                let next = Instant::now() + INTERVAL;
                for (number, agent) in agents.iter_mut().enumerate() {
                    let host = format!("good-{number}");
                    let grid = format!("{{\"load.1m\":{rounds}}}");
                    agent.send(&["METR", &host, &grid, "metrics"].map(Into::into));
                    agent.look();
                    assert_eq!(agent.end_seen(), None, "{host}");
                }
                rounds += 1;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
            (rounds, agents)
        });
        let good = Self {
            stop,
            thread,
            count,
        };
        good.heard(collector).await;
        good
    }

    /// Waits until each of them was heard once more than before: messages by agent.
    pub(crate) async fn heard(&self, collector: &Collector) {
        let before = counted(collector, self.count).await;
        eventually("all good agents are heard", async || {
            let now = counted(collector, self.count).await;
            let all = now.iter().zip(&before).all(|(now, before)| now > before);
            all.then_some(())
        })
        .await;
    }

    /// Ends them, and sees that all that each of them sent was heard.
    pub(crate) async fn end(self, collector: &Collector) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = tokio::task::spawn_blocking(|| self.thread.join().unwrap());
        let (sent, _agents) = sent.await.unwrap();
        let sent = vec![sent; self.count];
        eventually("all that good agents sent is heard", async || {
            let counted = counted(collector, self.count).await;
            let all = counted.iter().zip(&sent).all(|(heard, sent)| heard <= sent);
            assert!(all, "{counted:?}, {sent:?}");
            // A machine that is too slow for the attack drops what is replaced, and says so.
            let dropped = Figures::of(collector).await;
            let dropped = dropped.value("metrics_collector_messages_dropped_total");
            let all: u64 = sent.iter().sum();
            say(&format!("{all} sent, {dropped} dropped"));
            (counted.iter().sum::<u64>() + dropped == all).then_some(())
        })
        .await;
    }
}

/// Messages of each of the good agents; 0 for those that were not heard yet.
async fn counted(collector: &Collector, count: usize) -> Vec<u64> {
    let answer = fetch(address_of(collector), "/metrics").await;
    let mut counted = vec![0; count];
    for (series, value) in answer.series("metrics_collector_host_messages_total") {
        let Some((_, number)) = series.split_once("{host=\"good-") else {
            continue;
        };
        let number: usize = number.trim_end_matches("\"}").parse().unwrap();
        counted[number] = value.parse().unwrap();
    }
    counted
}
