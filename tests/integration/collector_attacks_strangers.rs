//! What strangers may do to a running collector: its memory stays bounded, good agents miss
//! nothing, and new ones come in while the attack goes on.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::attack::{
    Attack, Figures, Good, Memory, comes_in, connect_from, from, greeting, hello,
    raise_descriptors, read_to_end, say,
};
use crate::support::collector::Collector;
use crate::support::place::eventually;

/// Good agents: as many as one thread of a debug build serves at their pace, beside a collector
/// under attack, on two processors.
const GOOD: usize = 100;

/// By how much the collector's memory may grow in an attack, in KiB: 4,096 strangers hold some
/// 3 KiB each, and the rest is what its allocator does with what comes and goes.
const BOUND_KIB: u64 = 24 * 1024;

/// Connections in their handshake at a time.
const STRANGERS: u64 = 4096;

/// Options of all these collectors.
const OPTIONS: [&str; 4] = ["--web-listen", "127.0.0.1:0", "--ping-interval", "1min"];

/// A collector and its good agents, after a first round of them and of what looks at it.
async fn world() -> (tempfile::TempDir, Collector, Good) {
    raise_descriptors();
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &OPTIONS).await;
    let good = Good::begin(&collector, GOOD).await;
    comes_in(&collector, from(9_000)).await;
    good.heard(&collector).await;
    (home, collector, good)
}

/// While this goes on, and until this many were counted for this reason, no good agent notices.
async fn nobody_notices(
    collector: &Collector,
    good: Good,
    attack: Attack,
    (reason, least): (&str, u64),
) {
    let memory = Memory::watch(collector);
    eventually("the attack is counted", async || {
        (Figures::of(collector).await.ended(reason) > 0).then_some(())
    })
    .await;
    comes_in(collector, from(9_001)).await;
    good.heard(collector).await;
    eventually("the attack is counted", async || {
        (Figures::of(collector).await.ended(reason) >= least).then_some(())
    })
    .await;
    comes_in(collector, from(9_002)).await;
    good.heard(collector).await;
    let grown = memory.grown().await;
    attack.end().await;
    say(&format!(
        "{reason}: the collector's memory has grown by {grown} KiB"
    ));
    assert!(grown < BOUND_KIB, "{grown} KiB");
    good.end(collector).await;
}

/// A command may have 2 KiB: who announces more is refused before it sends it, and who announces
/// as much and does not go on holds no more.
#[tokio::test]
async fn a_large_command_of_a_handshake_takes_no_memory() {
    const CONNECTIONS: usize = 900;
    let (_home, collector, good) = world().await;
    let address = collector.address;
    let mut open = VecDeque::new();
    let attack = Attack::begin(move |number| {
        let mut stream = connect_from(from(number), address).unwrap();
        let is_huge = number % 2 == 0;
        let length: u64 = if is_huge { 1 << 30 } else { 2048 };
        let header = [&[6][..], &length.to_be_bytes()].concat();
        let begun = [&greeting()[..], &header, &[b'x'; 2047]].concat();
        let _ = stream.write_all(&begun);
        if is_huge {
            read_to_end(&mut stream);
        } else {
            open.push_back(stream);
        }
        if open.len() > CONNECTIONS / 2 {
            open.pop_front();
        }
    });
    let expected = ("too_large", CONNECTIONS as u64 / 2);
    nobody_notices(&collector, good, attack, expected).await;
}

/// Those who begin a handshake and do not go on.
#[tokio::test]
async fn sixteen_thousand_half_open_connections_crowd_out_each_other() {
    const CONNECTIONS: usize = 16_000;
    /// Those of them that this end holds open.
    const HELD: usize = 6_000;
    let (_home, collector, good) = world().await;
    let address = collector.address;
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    let mut open = VecDeque::new();
    let attack = Attack::begin(move |number| {
        let mut stream = connect_from(from(number), address).unwrap();
        let _ = stream.write_all(&greeting()[..11]);
        open.push_back(stream);
        if open.len() > HELD {
            open.pop_front();
        }
        counted.store(number + 1, Ordering::Relaxed);
    });
    let others = STRANGERS + GOOD as u64 + 1;
    eventually("the places are full", async || {
        let figures = Figures::of(&collector).await;
        assert!(figures.connections() <= others, "{}", figures.connections());
        (figures.handshakes() >= STRANGERS).then_some(())
    })
    .await;
    nobody_notices(
        &collector,
        good,
        attack,
        ("crowded", CONNECTIONS as u64 - STRANGERS - 1000),
    )
    .await;
    assert!(begun.load(Ordering::Relaxed) >= CONNECTIONS);
}

/// Each HELLO costs the collector two multiplications on the curve, and its sender nothing.
#[tokio::test]
async fn a_flood_of_hellos_keeps_nobody_out() {
    const HELLOS: u64 = 3_000;
    let (_home, collector, good) = world().await;
    let (address, hello) = (collector.address, hello(&collector));
    let attack = Attack::begin(move |number| {
        let mut stream = connect_from(from(number % 16), address).unwrap();
        if stream.write_all(&hello).is_ok() {
            // Its greeting and its WELCOME.
            let _ = stream.read_exact(&mut [0; 64 + 2 + 168]);
        }
    });
    nobody_notices(&collector, good, attack, ("closed", HELLOS)).await;
}
