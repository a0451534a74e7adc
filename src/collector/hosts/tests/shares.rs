//! What one key, and one connection, may take of what all share.

use super::*;
use crate::protocol::grid::Grid;

/// As much of memory as one connection may take.
const LARGE: usize = CONNECTION_SHARE.memory - 1000;

/// A connection, and the key on it.
#[derive(Clone, Copy)]
struct By<'a>(&'a str, u8);

fn say(
    hosts: &mut Hosts,
    now: Instant,
    By(from, by): By<'_>,
    host: &str,
    (text, kind, wire_bytes): (&str, GridKind, usize),
) -> Result<Option<Change>, Full> {
    let report = Report {
        host,
        kind,
        grids: vec![Arc::new(grid(text, kind).into())],
        wire_bytes,
    };
    let routing_id = id(from);
    let peer = Peer {
        routing_id: &routing_id,
        key: Some(key(by)),
        address: Some("::1"),
        trust: Trust::New,
    };
    hosts.ingest(now, peer, report).map(|heard| heard.change)
}

fn large(
    hosts: &mut Hosts,
    now: Instant,
    from: By<'_>,
    host: &str,
) -> Result<Option<Change>, Full> {
    say(hosts, now, from, host, ("{}", GridKind::Model, LARGE))
}

fn over(holder: Holder, resource: Resource, by: u8) -> Full {
    Full::Share(OverShare {
        holder,
        resource,
        key: Some(key(by)),
    })
}

const APPEARED: Result<Option<Change>, Full> = Ok(Some(Change::Appeared));

#[test]
fn a_key_and_a_connection_have_a_share_of_memory() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    assert_eq!(large(&mut hosts, now, By("A", 1), "a"), APPEARED);
    let refused = large(&mut hosts, now, By("A", 1), "b");
    assert_eq!(refused, Err(over(Holder::Connection, Resource::Memory, 1)));
    assert!(hosts.get("b").is_none());
    let share = KEY_SHARE.memory / LARGE;
    for number in 1..share {
        let name = number.to_string();
        assert_eq!(large(&mut hosts, now, By(&name, 1), &name), APPEARED);
    }
    let refused = large(&mut hosts, now, By("Z", 1), "z");
    assert_eq!(refused, Err(over(Holder::Key, Resource::Memory, 1)));
    // What replaces its like, over the same connection or another, has room.
    assert_eq!(large(&mut hosts, now, By("A", 1), "a"), Ok(None));
    let moved = large(&mut hosts, now, By("Z", 1), "a");
    assert_eq!(moved, Ok(Some(replaced(None))));
    // So has another key; and what it takes over is none of the first one's any more.
    assert_eq!(large(&mut hosts, now, By("Y", 2), "y"), APPEARED);
    let small = ("{}", GridKind::Model, 2);
    let taken = say(&mut hosts, now, By("X", 2), "1", small);
    assert_eq!(taken, Ok(Some(replaced(Some(key(1))))));
    assert_eq!(large(&mut hosts, now, By("Z2", 1), "z"), APPEARED);
    // And so have those who come when hosts are gone.
    while hosts.take_due(now + TIMING.host_timeout).is_some() {}
    assert_eq!(hosts.peers.weights(), (Weight::NONE, Weight::NONE));
    assert_eq!(hosts.kept.memory, 0);
}

/// Metrics that no other host has, so that each comes with a head.
fn made_up(from: usize) -> String {
    let metrics: Vec<_> = (from..from + 9_000)
        .map(|number| format!(r#""m{number}":1"#))
        .collect();
    format!("{{{}}}", metrics.join(","))
}

#[test]
fn a_key_has_a_share_of_what_is_scraped() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let text = made_up(0);
    let mut fill = |from: &str| {
        for number in 0..MAX_HOSTS_PER_CONNECTION {
            let name = format!("{from}-{number}");
            let report = (&*text, GridKind::Metrics, text.len());
            if let Err(refusal) = say(&mut hosts, now, By(from, 1), &name, report) {
                return (number, refusal);
            }
        }
        panic!("{from} is not refused");
    };
    let (most, refusal) = fill("0");
    assert!(most > 5, "{most} hosts of a connection");
    assert_eq!(refusal, over(Holder::Connection, Resource::Text, 1));
    let refusals: Vec<_> = (1..5).map(|from| fill(&from.to_string()).1).collect();
    assert_eq!(refusals[4 - 1], over(Holder::Key, Resource::Text, 1));
}

#[test]
fn who_says_something_else_all_the_time_has_no_more_for_that() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for number in 0..20 {
        let text = made_up(9_000 * number);
        let report = (&*text, GridKind::Metrics, text.len());
        say(&mut hosts, now, By("A", 1), "a", report).unwrap();
    }
    let (connections, keys) = hosts.peers.weights();
    assert_eq!(connections, keys);
    assert!(keys.text < CONNECTION_SHARE.text);
}

/// As many hosts as there may be, of which the keys 1 to `crowds` have 1,000 each, and each
/// other host has a key of its own.
fn full(now: Instant, crowds: u8) -> Hosts {
    let mut hosts = Hosts::new(TIMING);
    for by in 1..=crowds {
        for number in 0..MAX_HOSTS_PER_KEY {
            crowd(&mut hosts, now, by, number);
        }
    }
    for number in hosts.table.len()..MAX_HOSTS {
        let name = format!("host{number}");
        let mut bytes = [255; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let routing_id = id(&name);
        let peer = Peer {
            routing_id: &routing_id,
            key: Some(PublicKey::from_bytes(bytes)),
            address: None,
            trust: Trust::New,
        };
        let report = Report {
            host: &name,
            kind: GridKind::Metrics,
            grids: vec![Arc::new(Grid::default().into())],
            wire_bytes: 2,
        };
        hosts.ingest(now, peer, report).unwrap();
    }
    hosts
}

/// A host of a key with many reports.
fn crowd(hosts: &mut Hosts, now: Instant, by: u8, number: usize) {
    let from = format!("{by}-{}", number / MAX_HOSTS_PER_CONNECTION);
    let name = format!("{by}-{number}");
    let said = ("{}", GridKind::Metrics, 2);
    say(hosts, now, By(&from, by), &name, said).unwrap();
}

#[test]
fn made_up_names_push_out_no_host_that_is_gone() {
    let start = Instant::now();
    let mut hosts = full(start, 3);
    let later = start + 20 * SECOND;
    // Of the first crowd most stay, of the others all, and of the rest none.
    for by in 1..=3 {
        for number in if by == 1 { 100 } else { 0 }..MAX_HOSTS_PER_KEY {
            crowd(&mut hosts, later, by, number);
        }
    }
    let now = start + TIMING.host_timeout;
    while hosts.take_due(now).is_some() {}
    let gone = MAX_HOSTS - 3 * MAX_HOSTS_PER_KEY + 100;
    assert_eq!((hosts.gone(), hosts.peers.gone()), (gone, (gone, gone)));
    // What a crowd left behind makes room first, for keys that have fewer hosts.
    let mut new = |from, by, name: &str| {
        let said = say(
            &mut hosts,
            now,
            By(from, by),
            name,
            ("{}", GridKind::Metrics, 2),
        );
        (said, hosts.gone())
    };
    for number in 0..100 {
        let expected = (APPEARED, gone - 1 - number);
        assert_eq!(new("N", 9, &format!("new{number}")), expected);
    }
    // That key has a hundred hosts now, and no key's only one goes for its next.
    assert_eq!(new("N2", 9, "next"), (Err(Full::Hosts), gone - 100));
    // A key that had none has room, for one.
    assert_eq!(new("M", 10, "first"), (APPEARED, gone - 101));
    assert_eq!(new("M", 10, "second"), (Err(Full::Hosts), gone - 101));
    assert!((0..100).all(|number| hosts.get(&format!("1-{number}")).is_none()));
}

proptest! {
    /// Shares are the sums of what hosts take, and crowds those of the hosts that are gone.
    #[test]
    fn shares_add_up(
        steps in prop::collection::vec((0..5_u8, 0..3_u8, 0..8_u8, 0..6_usize, 0..15_u32), 1..150)
    ) {
        const TEXTS: [(&str, GridKind); 6] = [
            ("{}", GridKind::Metrics),
            (r#"{"mem.free": 1, "cpu.percent": 2}"#, GridKind::Metrics),
            (r#"{"mem.free": 1, "a.b[c]": 2, "fs.size[/]": 3}"#, GridKind::Metrics),
            (r#"{"fs.size[/]": 3, "x": 4.5}"#, GridKind::Metrics),
            (r#"{"os": "x", "mem.total": 1}"#, GridKind::Model),
            (r#"{"os": "another"}"#, GridKind::Model),
        ];
        let mut now = Instant::now();
        let mut hosts = Hosts::new(Timing { forget_after: 40 * SECOND, ..TIMING });
        hosts.restore(now, (0..4).map(|number| Restored {
            name: number.to_string().into(),
            key: Some(key(number % 2)),
            several_hosts: None,
            address: None,
            os: None,
            model: Some((grid(r#"{"os": "x"}"#, GridKind::Model), 11)),
            silence: SECOND,
            gone: (number == 3).then_some(SECOND),
        }));
        for (from, by, host, text, wait) in steps {
            now += wait * SECOND;
            while hosts.take_due(now).is_some() {}
            let (text, kind) = TEXTS[text];
            let report = (text, kind, text.len());
            say(&mut hosts, now, By(&from.to_string(), by), &host.to_string(), report).unwrap();
            let (mut connected, mut owned) = (Weight::NONE, Weight::NONE);
            for (_, host) in hosts.iter() {
                owned = owned.plus(host.weight());
                if host.routing_id().is_some() {
                    connected = connected.plus(host.weight());
                }
            }
            prop_assert_eq!(hosts.peers.weights(), (connected, owned));
            prop_assert_eq!(hosts.kept, owned);
            prop_assert_eq!(hosts.peers.gone(), (hosts.gone(), hosts.gone()));
        }
    }
}
