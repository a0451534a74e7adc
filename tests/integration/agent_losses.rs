//! The agent and a collector that is away, falls silent, or is somebody else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener as Port, TcpStream};
use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, section};
use crate::support::peer::{PATIENCE, Peer};

const SETTINGS: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1s' }\n";

/// With a stale interval that ends no attempt to connect.
const PATIENT: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n";

fn other_key() -> String {
    KeyPair::generate().unwrap().public.to_string()
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = timeout(PATIENCE, listener.accept()).await;
    let (stream, _) = accepted.expect("the agent tries again").unwrap();
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A bare TCP port that is no collector, and an agent that has it for one.
async fn impostor(settings: &str) -> (TcpListener, Agent, Site) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let section = section("main", &address, &other_key());
    let site = Site::new(&format!("{settings}{section}"));
    let agent = site.start();
    (listener, agent, site)
}

/// Lines that say that the collector is not reached.
fn complaints(agent: &mut Agent) -> Vec<String> {
    let mut lines = agent.said("Not reporting to main");
    lines.extend(agent.said("No secure connection to main"));
    lines.extend(agent.said("Not let in by main"));
    lines.extend(agent.said("Lost main"));
    lines
}

#[tokio::test]
async fn a_silent_collector_is_left_and_found_again() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let mut agent = site.start();
    let mut known = vec![collector.welcome().await];
    // Nothing is said from here on: the transport is well, the collector is not. Twice, as
    // the attempt after a silence is met with silence as well.
    for _ in 0..2 {
        let id = collector.hello_again().await;
        assert!(!known.contains(&id), "a routing id was used again");
        known.push(id);
    }
    collector.peer.link("DISCONNECTED").await;
    let lost = agent.says("Lost main").await;
    assert!(
        lost.contains("the collector has been silent for 1s"),
        "{lost}"
    );
    let id = collector.welcome_again().await;
    assert!(!known.contains(&id), "a routing id was used again");
    agent.says_times("Reporting to main", 2).await;
    assert_eq!(complaints(&mut agent), [lost]);
    assert_eq!(agent.said("Reporting to main").len(), 2);
}

/// The process is there and its sockets are open, but nothing in it moves any more.
#[tokio::test]
async fn a_stopped_collector_is_left() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let mut agent = site.start();
    collector.welcome().await;
    agent.says("Reporting to main").await;
    collector.peer.stop();
    agent.says("Lost main").await;
    agent.terminate().await;
    assert_eq!(complaints(&mut agent).len(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_named_once_and_mended_without_a_restart() {
    let mut collector = Collector::start().await;
    let endpoint = format!("127.0.0.1:{}", collector.port);
    let expected = other_key();
    let settings = |key: &str| format!("{PATIENT}{}", section("main", &endpoint, key));
    let site = Site::new(&settings(&expected));
    let mut agent = site.start();
    let line = agent.says("No secure connection to main").await;
    assert!(line.contains(&endpoint), "{line}");
    assert!(
        line.contains("its key is not the configured public_key"),
        "{line}"
    );
    for _ in 0..3 {
        collector.peer.link("ACCEPTED").await;
    }
    agent.runs();
    assert_eq!(
        collector.peer.count().await,
        0,
        "nothing is told to a stranger"
    );
    assert_eq!(complaints(&mut agent), [line]);

    site.configure(&settings(&collector.public));
    agent.signal(rustix::process::Signal::HUP);
    collector.welcome().await;
    agent.says("Reporting to main").await;
    collector.grid_of("metrics").await;
}

/// The other way round: the collector gets the key that the agent expects.
#[tokio::test]
async fn a_collector_that_gets_its_key_back_is_reported_to() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{PATIENT}{}", collector.section("main")));
    collector.crash();
    collector.usurp().await;
    let mut agent = site.start();
    agent.says("No secure connection to main").await;

    collector.crash();
    collector.restart().await;
    collector.welcome().await;
    agent.says("Reporting to main").await;
    assert_eq!(complaints(&mut agent).len(), 1);
}

/// The collector has the right key, and does not want this agent's.
#[tokio::test]
async fn a_refused_agent_is_told_that_it_is_about_its_own_key() {
    let mut collector = Collector::start().await;
    let site = Site::new(&format!("{PATIENT}{}", collector.section("main")));
    collector.peer.ask(json!({"do": "guard"})).await;
    let mut agent = site.start();
    let line = agent.says("Not let in by main").await;
    assert!(line.contains("refused our key (status 400)"), "{line}");
    assert!(line.contains("the agent's public key is not on"), "{line}");
    for _ in 0..2 {
        collector.peer.link("ACCEPTED").await;
    }
    assert_eq!(complaints(&mut agent), [line]);
    agent.terminate().await;
}

/// Reporting in the clear is always refused.
#[tokio::test]
async fn a_collector_without_encryption_learns_nothing() {
    let mut peer = Peer::router();
    let plain = peer.ask(json!({"do": "plain"})).await;
    let endpoint = format!("127.0.0.1:{}", plain["port"]);
    let section = section("main", &endpoint, &other_key());
    let site = Site::new(&format!("{PATIENT}{section}"));
    let mut agent = site.start();
    agent.says("main (127.0.0.1").await;
    for _ in 0..2 {
        peer.link("ACCEPTED").await;
    }
    assert_eq!(peer.count().await, 0);
    assert_eq!(complaints(&mut agent).len(), 1);
    agent.terminate().await;
}

#[tokio::test]
async fn a_port_that_accepts_and_says_nothing_is_given_up() {
    let (listener, mut agent, _site) = impostor(SETTINGS).await;
    let first = accept(&listener).await;
    let second = accept(&listener).await;
    let line = agent.says("Not reporting to main").await;
    assert!(line.contains("no secure connection within 1s"), "{line}");
    assert_eq!(complaints(&mut agent), [line]);
    // In the middle of a handshake.
    agent.terminate().await;
    drop((first, second));
}

#[tokio::test]
async fn a_port_that_talks_nonsense_is_tried_again() {
    let (listener, mut agent, _site) = impostor(PATIENT).await;
    let mut random = fastrand::Rng::with_seed(20);
    let mut nonsense = [0; 4096];
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".as_slice();
    // A valid greeting of ZMTP, and then nonsense.
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 1];
    greeting.extend(b"CURVE");
    greeting.resize(32, 0);
    greeting.push(1);
    greeting.resize(64, 0);
    random.fill(&mut nonsense);
    greeting.extend(&nonsense);
    for answer in [&nonsense, http, &greeting] {
        let mut stream = accept(&listener).await;
        // It may hang up before all is said.
        let _ = stream.write_all(answer);
        let hung_up = stream.read_to_end(&mut Vec::new());
        let timed_out = |error: std::io::Error| error.kind() == ErrorKind::WouldBlock;
        assert!(!hung_up.is_err_and(timed_out), "the agent hangs up");
    }
    agent.runs();
    // One when it begins, and one more at most once it is about the key.
    let lines = complaints(&mut agent);
    assert!((1..=2).contains(&lines.len()), "{lines:#?}");
    agent.terminate().await;
}

/// The port is closed.
fn closed_port() -> u16 {
    let port = Port::bind("127.0.0.1:0").unwrap();
    port.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_closed_port_and_an_unknown_name_are_told_once() {
    let closed = format!("127.0.0.1:{}", closed_port());
    for (endpoint, reason) in [
        (closed.as_str(), "connection refused"),
        (
            "no.such.invalid:5556",
            "the name no.such.invalid does not resolve",
        ),
    ] {
        let section = section("main", endpoint, &other_key());
        let site = Site::new(&format!("{PATIENT}{section}"));
        let mut agent = site.start();
        let line = agent.says("Not reporting to main").await;
        assert!(line.contains(endpoint) && line.contains(reason), "{line}");
        // Two more attempts or so.
        sleep(Duration::from_secs(2)).await;
        assert_eq!(complaints(&mut agent), [line]);
        agent.terminate().await;
    }
}
