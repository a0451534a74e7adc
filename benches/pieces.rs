//! What the pieces of a sample cost, warm and in a row.
//!
//! For comparing one way of doing a thing with another. What a sample costs a host, whose
//! core was asleep in between, is measured on the whole process: `benches/cost/`.

#![expect(
    clippy::panic,
    reason = "a benchmark without its input has nothing to go on with"
)]

#[path = "../tests/fixtures/mod.rs"]
#[expect(dead_code, reason = "tests and the example use the rest")]
mod fixtures;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use metrics_agent::curve::keys::{KeyPair, SecretKey};
use metrics_agent::curve::zmtp::Credentials;
use metrics_agent::curve::zmtp::connection::{
    Connection, Event, HeartbeatOptions, Role, Surroundings,
};
use metrics_agent::curve::zmtp::input::Input;
use metrics_agent::curve::zmtp::message::Bounds;
use metrics_agent::curve::zmtp::random::KernelRandom;
use metrics_agent::metrics::Samples;
use metrics_agent::sources::{
    Context, Grid, Odd, Options, Purpose, Root, SourceSet, cpu, default_names, filesystem, meminfo,
    processes, uptime, vmstat,
};
use procfs_core::FromBufRead;

/// The machine whose files the parsers are given.
const MACHINE: &str = "proc/6.18-firecracker";

fn captured(file: &str) -> Vec<u8> {
    let path = fixtures::trees::tree(MACHINE).join("proc").join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let text = captured("uptime");
    group.bench_function("uptime", |b| b.iter(|| uptime::parse(black_box(&text))));
    let text = captured("meminfo");
    group.bench_function("meminfo", |b| {
        b.iter(|| meminfo::parse(black_box(&text), &mut Odd::default()));
    });
    group.bench_function("meminfo by procfs", |b| {
        b.iter(|| procfs_core::Meminfo::from_buf_read(black_box(&text[..])));
    });
    let text = captured("vmstat");
    group.bench_function("vmstat", |b| {
        b.iter(|| vmstat::parse(black_box(&text), &mut Odd::default()));
    });
    let text = captured("stat");
    group.bench_function("cpu", |b| {
        b.iter(|| cpu::stat::parse(black_box(&text), None, &mut Odd::default()));
    });
    group.bench_function("cpu, first line", |b| {
        b.iter(|| cpu::stat::parse_first_line(black_box(&text), &mut Odd::default()));
    });
    let text = captured("self/mountinfo");
    let options = Options::default().filesystem;
    group.bench_function("mountinfo and choice", |b| {
        b.iter(|| {
            let mounts = filesystem::parse(black_box(&text), &mut Odd::default());
            let mounts = mounts.unwrap_or_default();
            filesystem::choose(&mounts, &options, &mut Vec::new()).1
        });
    });
    let text = captured("1/stat");
    group.bench_function("processes, one", |b| {
        b.iter(|| processes::stat::parse(black_box(&text), &mut Odd::default()).is_ok());
    });
    group.finish();
}

/// What runs beside the loop, on this machine.
fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk");
    let mut scanner = processes::scan::Scanner::new(&Root::default(), true);
    if scanner.walk().is_ok() {
        let name = format!("{} processes", scanner.scan().count);
        group.bench_function(name, |b| b.iter(|| scanner.walk().is_ok()));
    }
    group.finish();
}

/// Each collector is part of every sample.
const INTERVAL: Duration = Duration::from_secs(3600);

fn open(names: &[&str]) -> SourceSet {
    SourceSet::open(Context::new(Root::default()), INTERVAL, names)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn read_and_parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read and parse");
    let mut samples = Samples::new();
    for name in default_names() {
        let mut set = open(&[name]);
        group.bench_function(name, |b| {
            b.iter(|| set.sample(Purpose::Metrics, Grid::All, &mut samples));
        });
    }
    group.finish();
}

/// What is asked beside the loop, from its beginning to the values: a thread wakes twice.
fn beside_the_loop(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("beside the loop");
    let mut samples = Samples::new();
    for name in ["filesystem", "sensors"] {
        let mut set = open(&[name]);
        group.bench_function(name, |b| {
            b.iter(|| {
                set.start_over();
                set.prepare(Purpose::Metrics, Grid::Metrics, Instant::now());
                while !set.ready(Grid::Metrics) {
                    std::thread::yield_now();
                }
                set.sample(Purpose::Metrics, Grid::Metrics, &mut samples)
            });
        });
    }
    group.finish();
}

fn whole_sample(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("whole sample");
    let mut samples = Samples::new();
    let mut grid = Vec::new();
    let mut set = open(&default_names());
    group.bench_function("read, parse and encode", |b| {
        b.iter(|| {
            let news = set.sample(Purpose::Metrics, Grid::Metrics, &mut samples);
            grid.clear();
            serde_json::to_writer(&mut grid, &samples).is_ok() && news.is_empty()
        });
    });
    group.bench_function("encode", |b| {
        b.iter(|| {
            grid.clear();
            serde_json::to_writer(&mut grid, black_box(&samples)).is_ok()
        });
    });
    group.finish();
}

const BOUNDS: Bounds = Bounds {
    frame_bytes: 1024 * 1024,
    message_bytes: 1024 * 1024,
};

const BEATS: HeartbeatOptions = HeartbeatOptions {
    interval: None,
    timeout: INTERVAL,
    ttl: INTERVAL,
};

/// Two ends of a connection, and what each has written.
struct Ends {
    client: (Connection, Vec<u8>),
    server: (Connection, Vec<u8>),
}

fn key_pair(byte: u8) -> KeyPair {
    let secret = SecretKey::from_bytes(&[byte; 32]);
    KeyPair {
        public: secret.public(),
        secret,
    }
}

/// Takes all of it; how many messages there were.
fn take(
    connection: &mut Connection,
    role: Role<'_>,
    bytes: &mut [u8],
    out: &mut Vec<u8>,
    now: Instant,
) -> usize {
    let mut surroundings = Surroundings {
        role,
        bounds: &BOUNDS,
        heartbeat: &BEATS,
        random: &mut KernelRandom,
        now,
    };
    let mut input = Input::new(bytes);
    let mut messages = 0;
    loop {
        match connection.next(&mut input, &mut surroundings, out) {
            Ok(Some(Event::Knock { .. })) => connection.accept(now, &BEATS, out),
            Ok(Some(Event::Received(_))) => messages += 1,
            Ok(Some(Event::Up)) => {}
            Ok(None) => return messages,
            Err(violation) => panic!("{violation}"),
        }
    }
}

/// A handshake from its first byte to READY.
fn shake_hands(client: &Credentials<'_>, server: &KeyPair, now: Instant) -> Ends {
    let begin = || {
        let mut out = Vec::new();
        (Connection::begin(&mut out), out)
    };
    let mut ends = Ends {
        client: begin(),
        server: begin(),
    };
    while !(ends.client.1.is_empty() && ends.server.1.is_empty()) {
        let mut there = std::mem::take(&mut ends.client.1);
        let mut back = std::mem::take(&mut ends.server.1);
        let (connection, out) = &mut ends.server;
        take(connection, Role::Server(server), &mut there, out, now);
        let (connection, out) = &mut ends.client;
        take(connection, Role::Client(client), &mut back, out, now);
    }
    assert!(ends.client.0.is_up() && ends.server.0.is_up());
    ends
}

/// Both ends of a connection, without a network.
fn curve(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("curve");
    let (client, server) = (key_pair(1), key_pair(2));
    let credentials = Credentials {
        keys: &client,
        server_key: server.public,
        routing_id: b"0123456789ABCDEF",
    };
    let now = Instant::now();
    group.bench_function("handshake, both ends", |b| {
        b.iter(|| shake_hands(&credentials, &server, now));
    });
    let mut ends = shake_hands(&credentials, &server, now);
    for (name, length) in [("200 B", 200), ("15 KB", 15_000)] {
        let grid = vec![b'1'; length];
        let frames: [&[u8]; 3] = [b"METR", b"host.example.com", &grid];
        let mut out = Vec::new();
        group.bench_function(format!("seal 3 frames with {name}"), |b| {
            b.iter(|| {
                out.clear();
                ends.client.0.send(black_box(&frames), &mut out).is_ok()
            });
        });
        let mut answers = Vec::new();
        group.bench_function(format!("seal and open 3 frames with {name}"), |b| {
            b.iter(|| {
                out.clear();
                assert!(ends.client.0.send(black_box(&frames), &mut out).is_ok());
                let (connection, role) = (&mut ends.server.0, Role::Server(&server));
                assert_eq!(take(connection, role, &mut out, &mut answers, now), 1);
            });
        });
    }
    group.finish();
}

criterion_group!(
    pieces,
    curve,
    parse,
    walk,
    read_and_parse,
    beside_the_loop,
    whole_sample
);
criterion_main!(pieces);
