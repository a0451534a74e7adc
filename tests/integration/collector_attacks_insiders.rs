//! What those who were let in may do to a running collector: its memory stays bounded, good agents
//! miss nothing, and a key that is revoked is out at once.

use std::collections::VecDeque;
use std::fs::remove_file;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Instant;

use metrics_agent::curve::keys::KeyPair;
use metrics_agent::dbus::COLLECTOR_NAME;

use crate::private_bus::PrivateBus;
use crate::support::attack::{
    At, Attack, Figures, Good, Memory, comes_in, comes_in_with, connect_from, from, list,
    raise_descriptors, say,
};
use crate::support::collector::{Collector, program};
use crate::support::http::address_of;
use crate::support::peer::PATIENCE;
use crate::support::place::eventually;
use crate::support::zmtp::{CLOSED, Socket};

/// As many as in `collector_attacks_strangers.rs`, for the same reason.
const GOOD: usize = 100;

const OPTIONS: [&str; 4] = ["--web-listen", "127.0.0.1:0", "--ping-interval", "1min"];

/// One message is held at most, 1 MiB of it; the rest is what the allocator keeps.
const BOUND_OF_ONE_KIB: u64 = 8 * 1024;

/// 64 MiB of messages that are not whole may be held of all together. Their memory doubles as
/// bytes come, and the allocator keeps some of what was given back.
const BOUND_OF_ALL_KIB: u64 = 96 * 1024;

/// Good agents while an attack goes on until so many connections were ended for this reason.
async fn nobody_notices(
    collector: &Collector,
    attack: impl FnMut(usize) + Send + 'static,
    (reason, least): (&str, u64),
) -> u64 {
    let good = Good::begin(collector, GOOD).await;
    comes_in(collector, from(9_000)).await;
    let memory = Memory::watch(collector);
    let attack = Attack::begin(attack);
    eventually("the attack is counted", async || {
        (Figures::of(collector).await.ended(reason) >= least).then_some(())
    })
    .await;
    comes_in(collector, from(9_001)).await;
    good.heard(collector).await;
    let grown = memory.grown().await;
    attack.end().await;
    say(&format!("{reason}: the memory has grown by {grown} KiB"));
    good.end(collector).await;
    grown
}

/// A message that does not end, of small frames and of large ones, again and again.
#[tokio::test]
async fn a_message_of_endless_frames_is_not_held() {
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &OPTIONS).await;
    let at = At::of(&collector);
    let attack = move |number: usize| {
        let size = if number.is_multiple_of(2) {
            1
        } else {
            4 * 1024
        };
        let frame = vec![b'x'; size];
        let frames = [&frame[..]; 16];
        let mut evil = at
            .up_from(from(number), KeyPair::generate().unwrap())
            .unwrap();
        while evil.send_on(&frames).is_ok() {}
    };
    let grown = nobody_notices(&collector, attack, ("too_large", 2)).await;
    assert!(grown < BOUND_OF_ONE_KIB, "{grown} KiB");
}

/// Each begins a frame of almost a mebibyte and does not end it.
#[tokio::test]
async fn hundreds_of_messages_that_are_not_whole_are_bounded_together() {
    const HELD: usize = 400;
    raise_descriptors();
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &OPTIONS).await;
    let at = At::of(&collector);
    let frame = vec![b'x'; 1000 * 1024];
    let mut open = VecDeque::new();
    let attack = move |number: usize| {
        let keys = KeyPair::generate().unwrap();
        let mut evil = at.up_from(from(number), keys).unwrap();
        // It may be the one that is ended.
        let _ = evil.begin_frame(&frame);
        open.push_back(evil);
        if open.len() > HELD {
            open.pop_front();
        }
    };
    let grown = nobody_notices(&collector, attack, ("unfinished", 300)).await;
    assert!(grown < BOUND_OF_ALL_KIB, "{grown} KiB");
}

/// It is out as soon as the list is read again.
#[tokio::test]
async fn a_key_that_is_revoked_in_its_flood_is_out_at_once() {
    let home = tempfile::tempdir().unwrap();
    let (good, evil) = (list(home.path(), "good"), list(home.path(), "evil"));
    let options = [&OPTIONS[..], &["--authorized", "directory"]].concat();
    let mut collector = Collector::start(home.path(), &options).await;
    let at = At::of(&collector);
    let keys = good.clone();
    let fleet = Good::begin_with(&collector, GOOD, move || keys.clone()).await;
    let flood = std::thread::spawn(move || {
        let mut flood = at.up_from(Ipv4Addr::LOCALHOST, evil).unwrap();
        let message = [&b"METR"[..], b"evil", b"{\"load.1m\":1}", b"metrics"];
        let message = message.map(<[u8]>::to_vec);
        while flood.end_seen().is_none() {
            flood.send(&message);
            flood.look();
        }
        Instant::now()
    });
    let of_evil = "metrics_collector_host_messages_total{host=\"evil\"}";
    eventually("it floods", async || {
        let figures = Figures::of(&collector).await;
        let messages = figures.find(of_evil).unwrap_or(0);
        (messages > 1_000).then_some(())
    })
    .await;
    assert!(!flood.is_finished());
    remove_file(home.path().join(".curve/authorized_agents/evil.key")).unwrap();
    collector
        .logged("Read authorized_agents: 1 key (gone: evil)")
        .await;
    let said = Instant::now();
    let ended = tokio::task::spawn_blocking(|| flood.join().unwrap());
    let ended = tokio::time::timeout(PATIENCE, ended).await;
    let after = ended.unwrap().unwrap().saturating_duration_since(said);
    say(&format!("it is out {after:?} after the log has it"));
    // Two answers may be one that was made before.
    let messages = eventually("it is counted", async || {
        let figures = Figures::of(&collector).await;
        assert!(figures.ended("revoked") <= 1);
        (figures.ended("revoked") == 1).then(|| figures.find(of_evil))
    })
    .await;
    fleet.heard(&collector).await;
    let figures = Figures::of(&collector).await;
    assert_eq!(figures.connections(), GOOD as u64);
    assert_eq!(figures.find(of_evil), messages);
    fleet.end(&collector).await;
}

/// Who asks for another's routing id gets nothing of it, and takes nothing from it.
#[tokio::test]
async fn a_stolen_routing_id_is_of_no_use() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--web-listen", "127.0.0.1:0", "--ping-interval", "200ms"];
    let collector = Collector::start(home.path(), &options).await;
    let at = At::of(&collector);
    let connected = move || {
        let stream = connect_from(Ipv4Addr::LOCALHOST, at.address).unwrap();
        let keys = KeyPair::generate().unwrap();
        let mut socket = Socket::over(stream, keys, at.server).known_as("SAME");
        socket.up();
        socket
    };
    let word = |word: &[u8]| [b"CTRL".to_vec(), word.to_vec()];
    let report = |host: &str| ["METR", host, "{}", "model"].map(Into::into);
    let (mut owner, mut thief) = tokio::task::spawn_blocking(move || {
        let mut owner = connected();
        owner.send(&report("web1"));
        assert_eq!(owner.message(), word(b"ping"));
        let mut thief = connected();
        thief.send(&word(b"hello"));
        assert_eq!(thief.message(), word(b"model"));
        let offer = thief.message();
        assert!(offer[1].starts_with(b"offer 2 "), "{offer:?}");
        // It reports nothing, so that it is not pinged; its owner is still pinged.
        for _ in 0..3 {
            assert_eq!(owner.message(), word(b"ping"));
        }
        owner.send(&word(b"hello"));
        while owner.message() != word(b"model") {}
        owner.send(&report("web1"));
        (owner, thief)
    })
    .await
    .unwrap();
    eventually("the owner is heard", async || {
        let figures = Figures::of(&collector).await;
        assert_eq!((figures.connections(), figures.ended("closed")), (2, 0));
        let messages = figures.find("metrics_collector_host_messages_total{host=\"web1\"}");
        (messages? >= 2).then_some(())
    })
    .await;
    owner.look();
    thief.look();
    assert_eq!((owner.end_seen(), thief.end_seen()), (None, None));
    assert_eq!(thief.waiting(), 0);
}

/// A collector that may have so many descriptors.
fn with_descriptors(descriptors: u32, mut of: Command) -> Command {
    let mut command = Command::new("/usr/bin/prlimit");
    of.arg("--listen").arg("127.0.0.1:0");
    command
        .arg(format!("--nofile={descriptors}:{descriptors}"))
        .arg(of.get_program())
        .args(of.get_args())
        .env_clear()
        .envs(
            of.get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

/// Connections take all places that there are, on the port of agents and for HTTP: the collector
/// goes on with all else, and with those who are there.
#[tokio::test]
async fn without_a_place_for_connections_all_else_goes_on() {
    const DESCRIPTORS: u32 = 256;
    /// What is left of them for agents.
    const PLACES: usize = 96;
    const FEW: usize = 20;
    let (home, bus) = (tempfile::tempdir().unwrap(), PrivateBus::start());
    let (good, evil) = (list(home.path(), "good"), list(home.path(), "evil"));
    let mut command = program(home.path());
    command
        .args(OPTIONS)
        .args(["--authorized", "directory"])
        .env("METRICS_COLLECTOR_DBUS__BUS", bus.address());
    let mut collector = Collector::run(with_descriptors(DESCRIPTORS, command)).await;
    let at = At::of(&collector);
    let keys = good.clone();
    let fleet = Good::begin_with(&collector, FEW, move || keys.clone()).await;
    let mut inside: Vec<_> = (FEW..PLACES)
        .map(|_| at.up_from(Ipv4Addr::LOCALHOST, evil.clone()).unwrap())
        .collect();
    let web = address_of(&collector);
    // More than there are places for HTTP.
    let _idle: Vec<_> = (0..50)
        .map(|number| connect_from(from(number), web))
        .collect();
    let mut idle = VecDeque::new();
    let attack = Attack::begin(move |number| {
        idle.push_back(connect_from(from(number), at.address).unwrap());
        if idle.len() > 200 {
            idle.pop_front();
        }
    });
    eventually("there is no place", async || {
        let figures = Figures::of(&collector).await;
        assert!(figures.connections() <= PLACES as u64);
        (figures.ended("full") >= 100).then_some(())
    })
    .await;
    let figures = Figures::of(&collector).await;
    let open = figures.value("process_open_fds");
    assert!(open + 64 < DESCRIPTORS.into(), "{open}");

    // A caller that is new to the bus, and an order that reads files.
    let bus = bus.address();
    let client = zbus::connection::Builder::address(bus.as_str());
    let client = client.build().await.unwrap();
    let reloaded = client.call_method(
        Some(COLLECTOR_NAME),
        "/org/metricsagent/Collector1",
        Some(COLLECTOR_NAME),
        "Reload",
        &(),
    );
    reloaded.await.unwrap();
    collector.logged("Configuration reloaded").await;
    fleet.heard(&collector).await;

    remove_file(home.path().join(".curve/authorized_agents/evil.key")).unwrap();
    collector.logged("(gone: evil)").await;
    let revoked = (PLACES - FEW) as u64;
    eventually("all are out", async || {
        (Figures::of(&collector).await.ended("revoked") == revoked).then_some(())
    })
    .await;
    for evil in &mut inside {
        assert_eq!(evil.ended(), CLOSED);
    }
    comes_in_with(&collector, from(9_001), good).await;
    attack.end().await;
    fleet.end(&collector).await;
}
