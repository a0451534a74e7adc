//! What pushing costs, and how much of it goes to a receiver that takes its time.
//!
//! A thousand hosts report 400 metrics each, as fast as they are taken; a receiver of the
//! benchmark's own answers each request after 5 ms. Shown are samples in a second, and the
//! CPU time that the target's thread takes for one: naming, protobuf, snappy and HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its result, and has nothing to go on with without its input"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use metrics_agent::collector::push::Pushes;
use metrics_agent::collector::settings::{PushUrl, RemoteWrite};
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::GridKind;

const HOSTS: usize = 1000;
const METRICS: usize = 400;
const LATENCY: Duration = Duration::from_millis(5);
const TIME: Duration = Duration::from_secs(10);

/// Waiting for more than so many samples, the benchmark waits, too.
const WAITING: u64 = 200_000;

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/push", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(&stream.unwrap()));
        }
    });
    let target = RemoteWrite {
        url: PushUrl::try_from(url).unwrap(),
        credentials: None,
        ca_file: None,
        timeout: Duration::from_secs(30),
        acknowledge: true,
        headers: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    let targets = BTreeMap::from([("main".parse().unwrap(), target)]);
    let mut pushes = Pushes::new(&targets);
    let hosts: Vec<Arc<str>> = (0..HOSTS)
        .map(|number| format!("host{number}.example.org").into())
        .collect();
    let grids: Vec<_> = (0..10).map(|seed| Arc::new(grid(seed).into())).collect();
    let start = Instant::now();
    let (mut given, mut taking) = (0_u32, Duration::ZERO);
    'all: for round in 0.. {
        for host in &hosts {
            while pushes.status()[0].queued > WAITING {
                thread::sleep(Duration::from_millis(1));
                if start.elapsed() > TIME {
                    break 'all;
                }
            }
            let grid = &grids[round % grids.len()];
            let began = Instant::now();
            pushes.take(host, GridKind::Metrics, grid, SystemTime::now());
            taking += began.elapsed();
            given += 1;
        }
    }
    let took = start.elapsed().as_secs_f64();
    let status = &pushes.status()[0];
    assert_eq!((status.failed, status.dropped), (0, 0), "{status:?}");
    let sent = status.sent as f64;
    println!("{:.0} samples/s to a receiver 5 ms away", sent / took);
    println!(
        "{:.2} µs of CPU a sample on the target's thread",
        cpu() / sent * 1e6
    );
    println!(
        "{:.2} µs a message on the loop, for {METRICS} samples",
        taking.as_secs_f64() / f64::from(given) * 1e6
    );
    pushes.finish(Instant::now());
}

/// As a host has it: metrics of the table, with and without instances.
fn grid(seed: usize) -> Grid {
    let mut pairs = vec![
        format!("\"mem.free\":{seed}"),
        format!("\"cpu.percent\":{seed}.5"),
    ];
    let units = (METRICS - 2) / 4;
    for unit in 0..units {
        for metric in ["memory", "cpu.total", "tasks", "io.read.bytes.total"] {
            let value = unit * 1_000_003 + seed;
            pairs.push(format!("\"unit.{metric}[service-{unit}.service]\":{value}"));
        }
    }
    let text = format!("{{{}}}", pairs.join(","));
    Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap()
}

/// Reads requests and answers each, late.
fn answer(stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body).unwrap();
        thread::sleep(LATENCY);
        let mut stream = stream;
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
    }
}

/// The CPU time of the target's thread, in seconds.
fn cpu() -> f64 {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut used = 0.0;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let text = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
        let (name, rest) = text.rsplit_once(')').unwrap();
        if name.ends_with("(push") {
            let fields: Vec<_> = rest.split_whitespace().collect();
            // utime and stime: fields 14 and 15 of proc_pid_stat(5).
            used += fields[11..13]
                .iter()
                .map(|ticks| ticks.parse::<f64>().unwrap())
                .sum::<f64>();
        }
    }
    used / ticks
}
