//! Connections that are held and say nothing: what each of them costs the collector.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use metrics_agent::curve::dealer::{Dealer, DealerEvent, DealerOptions, RoutingId};
use metrics_agent::curve::keys::{KeyPair, PublicKey};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::Arguments;
use super::process::Collector;

/// Connections of one key: a collector takes 2,000.
const OF_A_KEY: usize = 1000;
/// Connections to one address: with more, the search for a free local port takes long.
const TO_AN_ADDRESS: usize = 10_000;
/// Handshakes at a time, of the 512 that a collector takes.
const AT_A_TIME: usize = 100;
/// After a refusal: a collector takes 1,000 handshakes a second of one network.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) fn run(arguments: &Arguments, connections: usize) -> ExitCode {
    let home = tempfile::tempdir().expect("a directory");
    let collector = Collector::start(
        &arguments.collector,
        (false, None),
        home.path(),
        "0.0.0.0:0",
    );
    collector.settle();
    let (before, began) = (collector.memory(), collector.cpu_time().all());
    let (_, port) = collector.address.rsplit_once(':').unwrap_or_default();
    let port: u16 = port.parse().expect("a port");
    let key: PublicKey = collector.public_key.parse().expect("a key");
    let up = Arc::new(AtomicUsize::new(0));
    let held = Arc::clone(&up);
    thread::spawn(move || hold(connections, port, key, &held));

    let start = Instant::now();
    while up.load(Ordering::Relaxed) < connections {
        thread::sleep(Duration::from_millis(100));
        assert!(
            start.elapsed() < Duration::from_secs(600),
            "{} of {connections} are up",
            up.load(Ordering::Relaxed)
        );
    }
    let (took, handshakes) = (start.elapsed(), collector.cpu_time().all() - began);
    collector.settle();
    let after = collector.memory();
    let (from, idle) = (Instant::now(), collector.cpu_time().all());
    thread::sleep(Duration::from_secs(arguments.window));
    let (idle, window) = (collector.cpu_time().all() - idle, from.elapsed());
    let still = up.load(Ordering::Relaxed);
    let each = u64::try_from(connections).unwrap_or(u64::MAX);
    let per_second = u128::from(idle) * 1_000_000_000 / window.as_nanos() / u128::from(each);
    println!(
        "connections held: {still} of {connections}, all up after {} s",
        took.as_secs()
    );
    println!(
        "PSS: {} MiB before, {} MiB after",
        before.pss / 1024,
        after.pss / 1024
    );
    println!(
        "memory of a connection: {} bytes",
        (after.pss - before.pss) * 1024 / each
    );
    println!(
        "CPU time: {} us a connection to come up, {} us a second and 1,000 connections while idle",
        handshakes / 1000 / each,
        per_second
    );
    ExitCode::from(u8::from(still != connections))
}

/// Holds the connections for as long as the process lasts; `up` says how many there are.
fn hold(connections: usize, port: u16, server_key: PublicKey, up: &Arc<AtomicUsize>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("an event loop");
    runtime.block_on(async {
        let turns = Arc::new(Semaphore::new(AT_A_TIME));
        let mut keys = Arc::new(KeyPair::generate().expect("random numbers"));
        for number in 0..connections {
            if number % OF_A_KEY == 0 {
                keys = Arc::new(KeyPair::generate().expect("random numbers"));
            }
            let last = u8::try_from(1 + number / TO_AN_ADDRESS).expect("a few addresses");
            let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
            let (keys, up, turns) = (Arc::clone(&keys), Arc::clone(up), Arc::clone(&turns));
            tokio::spawn(async move {
                loop {
                    let turn = turns.acquire().await;
                    let options = DealerOptions {
                        address,
                        server_key,
                        keys: &keys,
                        routing_id: RoutingId::random(),
                    };
                    let mut dealer = Dealer::connect(options).expect("a socket");
                    if matches!(dealer.event().await, DealerEvent::LinkUp) {
                        drop(turn);
                        up.fetch_add(1, Ordering::Relaxed);
                        while matches!(dealer.event().await, DealerEvent::Received(_)) {}
                        up.fetch_sub(1, Ordering::Relaxed);
                    } else {
                        drop(turn);
                    }
                    sleep(PAUSE).await;
                }
            });
        }
        std::future::pending::<()>().await;
    });
}
