//! A peer that holds the right key and is not ours: whatever it sends, the agent goes on.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, Id, Said};
use crate::support::manager::Manager;
use crate::support::peer::hex;

const SETTINGS: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n";

/// What the agent may never take in memory, in kB. It needs a few MiB.
const MAX_MEMORY_KB: u64 = 50 * 1024;

/// Messages that no collector should send.
fn nonsense() -> Vec<Vec<Vec<u8>>> {
    let texts: &[&[&[u8]]] = &[
        // Frames: too few, too many, empty ones.
        &[b""],
        &[b"CTRL"],
        &[b"CTRL", b"model", b""],
        &[b"CTRL", b"model", b"model"],
        &[b"", b"CTRL", b"model"],
        &[b"CTRL".as_slice(); 9],
        &[b"".as_slice(); 200],
        &[b"", b""],
        &[b"CTRL", b""],
        // Words.
        &[b"CTRL", b"destroy"],
        &[b"CTRL", b"MODEL"],
        &[b"CTRL", b" model"],
        &[b"CTRL", b"model\n"],
        &[b"CTRL", b"model\0"],
        &[b"CTRL", b"ping\0\0\0"],
        &[b"CTRL", b"\xff\xfe\xfd"],
        &[b"CTRL", b"mode\xcc"],
        &[b"CTRL", b"\x1b[2J\x1b]0;owned\x07"],
        // Tags.
        &[b"ctrl", b"model"],
        &[b"CTRL\0", b"model"],
        &[b"EVIL", b"model"],
        // What only agents say.
        &[b"CTRL", b"hello"],
        &[b"METR", b"web1.example.org", b"{}", b"metrics"],
        &[b"METR", b"web1.example.org", b"{\"a\":1e999}", b"model"],
        &[b"METR", b"", b"", b""],
    ];
    let mut messages: Vec<Vec<Vec<u8>>> = texts
        .iter()
        .map(|frames| frames.iter().map(|frame| frame.to_vec()).collect())
        .collect();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut frames = vec![Vec::new(); random.usize(1..12)];
        for frame in &mut frames {
            frame.resize(random.usize(0..200), 0);
            random.fill(frame);
        }
        messages.push(frames);
    }
    // As large as a frame may be.
    messages.push(vec![b"CTRL".to_vec(), vec![b'x'; 64 * 1024]]);
    messages
}

async fn send_nonsense(collector: &mut Collector, to: &Id) {
    for message in nonsense() {
        let frames: Vec<_> = message.iter().map(Vec::as_slice).collect();
        collector.peer.send(Some(to), &frames).await;
    }
}

fn started(collector: &Collector, manager: &Manager) -> (Site, Agent) {
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let mut command = site.command();
    manager.adopt(&mut command);
    let agent = Agent::start(command);
    (site, agent)
}

#[tokio::test]
async fn nonsense_is_ignored_counted_and_hardly_logged() {
    let mut manager = Manager::new();
    let mut collector = Collector::start().await;
    let (_site, mut agent) = started(&collector, &manager);
    let id = collector.hello().await;
    send_nonsense(&mut collector, &id).await;
    // Every message is a sign of life, and none of them a request.
    manager.status("is alive but has not asked").await;
    collector.say(&id, "model").await;
    // The first message after the hello: in between nothing was said.
    let model = collector.grid_of("model").await;
    assert_eq!(model.from, id, "it is still the first connection");

    send_nonsense(&mut collector, &id).await;
    for _ in 0..5 {
        let grid = collector.grid_of("metrics").await;
        assert_eq!(grid.from, id);
    }
    let lines = agent.said("Ignored a message from main");
    assert_eq!(lines.len(), 1, "one a minute: {lines:#?}");
    assert!(agent.said("Lost").is_empty());
    let all = agent.said("");
    assert!(
        all.iter().all(|line| !line.contains(char::is_control)),
        "{all:#?}"
    );
    let memory = agent.memory_kb("VmRSS");
    assert!(memory < MAX_MEMORY_KB, "{memory} kB");
    agent.terminate().await;
}

/// libzmq ends the connection at a frame beyond the bound, before it is in memory.
#[tokio::test]
async fn a_huge_frame_costs_a_connection_and_no_memory() {
    let manager = Manager::new();
    let mut collector = Collector::start().await;
    let (_site, mut agent) = started(&collector, &manager);
    let mut id = collector.welcome().await;
    for round in 1..=3 {
        let frames = [hex(b"CTRL"), hex(b"")];
        let huge = json!({"do": "send", "to": hex(&id), "frames": frames, "padding": 8 << 20});
        collector.peer.ask(huge).await;
        let next = collector.welcome_again().await;
        assert_ne!(next, id);
        id = next;
        agent.says_times("Reporting to main", round + 1).await;
    }
    assert_eq!(agent.said("Lost main").len(), 3);
    let memory = agent.memory_kb("VmHWM");
    assert!(memory < MAX_MEMORY_KB, "{memory} kB at most");
    agent.terminate().await;
}

fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_flood_stops_neither_the_metrics_nor_the_end() {
    const FLOOD: u32 = 50_000;
    let manager = Manager::new();
    let mut collector = Collector::start().await;
    let (_site, mut agent) = started(&collector, &manager);
    let id = collector.welcome().await;
    let (start, clock) = (uptime(), Instant::now());
    for word in ["ping", "model", "nonsense"] {
        collector.flood(&id, word, FLOOD);
    }
    // The peer reads while it sends nothing, so this is past the last flood.
    collector.peer.ask(json!({"do": "count"})).await;
    let (end, lasted) = (uptime(), clock.elapsed());
    let mut samples = 0;
    let last = loop {
        match collector.next().await {
            Said::Grid(grid) if grid.kind == "model" => {}
            Said::Grid(grid) if grid.uptime() > end => break grid,
            Said::Grid(grid) => samples += u32::from(grid.uptime() > start),
            Said::Hello(id) => panic!("a new connection: {id:?}"),
        }
    };
    assert_eq!(last.from, id);
    // A quarter of those due is progress on a machine that the flood itself keeps busy.
    let due = lasted.as_millis() / 100;
    assert!(
        u128::from(samples) >= due / 4,
        "{samples} of {due} samples in {lasted:?}"
    );
    let lines = agent.said("");
    assert!(lines.len() < 10, "{lines:#?}");
    let memory = agent.memory_kb("VmHWM");
    assert!(memory < MAX_MEMORY_KB, "{memory} kB at most");

    // In the middle of the next one.
    collector.flood(&id, "ping", 20 * FLOOD);
    tokio::time::sleep(Duration::from_millis(100)).await;
    agent.signal(Signal::TERM);
    assert_eq!(agent.ended().await.code(), Some(0));
}
