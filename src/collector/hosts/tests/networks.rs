//! What one network may take with keys that are new.

use super::*;
use crate::protocol::grid::Grid;

/// As much of memory as one connection may take.
const LARGE: usize = CONNECTION_SHARE.memory - 1000;

/// A key, with a connection and a host of its own, from an address.
#[derive(Clone, Copy)]
struct By(&'static str, u32, Trust);

fn say(hosts: &mut Hosts, now: Instant, by: By, bytes: usize) -> Result<Option<Change>, Full> {
    say_grid(hosts, now, by, (&Grid::default(), bytes))
}

fn say_grid(
    hosts: &mut Hosts,
    now: Instant,
    by: By,
    what: (&Grid, usize),
) -> Result<Option<Change>, Full> {
    let By(address, number, trust) = by;
    let name = format!("{address}-{number}");
    let mut key = [7; 32];
    key[..4].copy_from_slice(&number.to_le_bytes());
    key[31] = address.bytes().last().unwrap();
    let routing_id = id(&name);
    let peer = Peer {
        routing_id: &routing_id,
        key: Some(PublicKey::from_bytes(key)),
        address: Some(address),
        trust,
    };
    let (grid, wire_bytes) = what;
    let report = Report {
        host: &name,
        kind: GridKind::Model,
        grids: vec![Arc::new(grid.clone().into())],
        wire_bytes,
    };
    hosts.ingest(now, peer, report).map(|heard| heard.change)
}

/// How many new keys from there are heard, one after the other, and what the next one is told.
fn fill(hosts: &mut Hosts, now: Instant, address: &'static str, bytes: usize) -> (u32, Full) {
    for number in 0.. {
        if let Err(full) = say(hosts, now, By(address, number, Trust::New), bytes) {
            return (number, full);
        }
    }
    unreachable!("there are fewer places than numbers");
}

const APPEARED: Result<Option<Change>, Full> = Ok(Some(Change::Appeared));

const EVIL: &str = "2001:db8::1";

fn network(address: &str) -> Network {
    Network::parse(address).unwrap()
}

/// How many hosts of new keys are from there, and what they take in memory.
fn new_of(hosts: &Hosts, address: &str) -> (usize, usize) {
    let (number, weight) = hosts.peers.new_hosts_of(network(address));
    (number, weight.memory)
}

#[test]
fn made_up_keys_leave_memory_for_others() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let most = u32::try_from((MAX_KEPT.memory - MAX_NEW_OF_NETWORK.memory) / LARGE).unwrap();
    let full = Full::NetworkMemory(network(EVIL));
    assert_eq!(fill(&mut hosts, now, EVIL, LARGE), (most, full));
    assert_eq!(
        full.to_string(),
        "hosts of unlisted keys from 2001:db8::/64 have too many values (limit 128 MiB while \
         three quarters of the memory for values are taken); `metrics-collector keys allow` lists \
         a key"
    );
    // Another address of the same machine.
    let again = say(&mut hosts, now, By("2001:db8::2", 0, Trust::New), LARGE);
    assert_eq!(again, Err(full));
    let rest = MAX_KEPT.memory - MAX_NEW_OF_NETWORK.memory - most as usize * LARGE;
    let last = By(EVIL, 500, Trust::New);
    assert_eq!(say(&mut hosts, now, last, rest), APPEARED);
    // Who is there may say as much as before, and no more.
    assert_eq!(
        say(&mut hosts, now, By(EVIL, 0, Trust::New), LARGE),
        Ok(None)
    );
    let small = By(EVIL, 1, Trust::New);
    assert_eq!(say(&mut hosts, now, small, 1), Ok(None));
    // A pin that it has since does not speak for it, the list does.
    let pinned = By(EVIL, 1, Trust::Pinned);
    assert_eq!(say(&mut hosts, now, pinned, LARGE), Ok(None));
    let pinned = By(EVIL, 2, Trust::Pinned);
    assert_eq!(say(&mut hosts, now, pinned, LARGE + 900), Err(full));
    let before = new_of(&hosts, EVIL);
    assert_eq!(before, (most as usize + 1, most as usize * LARGE + rest));
    let listed = By(EVIL, 2, Trust::Listed);
    assert_eq!(say(&mut hosts, now, listed, LARGE + 900), Ok(None));
    let after = new_of(&hosts, EVIL);
    assert_eq!(after, (before.0 - 1, before.1 - LARGE));
    // Those of before have room there, and so have new ones from elsewhere.
    for (number, trust) in [(1000, Trust::Listed), (1001, Trust::Pinned)] {
        assert_eq!(
            say(&mut hosts, now, By(EVIL, number, trust), LARGE),
            APPEARED
        );
    }
    let others = u32::try_from(MAX_NEW_OF_NETWORK.memory / LARGE).unwrap() - 2;
    let (told, full) = fill(&mut hosts, now, "192.0.2.1", LARGE);
    assert_eq!((told, full), (others, Full::Memory));
    // Nothing is left of it when all are forgotten.
    let late = now + TIMING.host_timeout + TIMING.forget_after;
    while hosts.take_due(now + TIMING.host_timeout).is_some() {}
    while hosts.take_due(late).is_some() {}
    assert_eq!(hosts.table.len(), 0);
    assert_eq!(new_of(&hosts, EVIL), (0, 0));
}

#[test]
fn made_up_keys_leave_room_in_a_scrape_for_others() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    // Families that no other host has, with names as long as they may be.
    let names: Vec<_> = (0..3_000).map(|n| format!("\"{n:m>250}\":1")).collect();
    let text = format!("{{{}}}", names.join(","));
    let said = grid(&text, GridKind::Model);
    let one = weight::texts(&format!("{EVIL}-100"), &said).total();
    assert!(one > 2_000_000 && one < CONNECTION_SHARE.text, "{one}");
    let mut crowd = |address| {
        for number in 100.. {
            let by = By(address, number, Trust::New);
            if let Err(full) = say_grid(&mut hosts, now, by, (&said, 1)) {
                return (number as usize - 100, full);
            }
        }
        unreachable!("there is less room than numbers");
    };
    let (told, full) = crowd(EVIL);
    assert_eq!(full, Full::NetworkText(network(EVIL)));
    assert!(told * one <= MAX_KEPT.text / 4 * 3 && (told + 1) * one > MAX_KEPT.text / 4 * 3);
    assert_eq!(
        full.to_string(),
        "hosts of unlisted keys from 2001:db8::/64 have too many values (limit 128 MiB at /metrics \
         while three quarters of the space there are taken); `metrics-collector keys allow` lists \
         a key"
    );
    let (others, full) = crowd("192.0.2.1");
    assert_eq!(full, Full::NetworkText(network("192.0.2.1")));
    assert!(others * one <= MAX_NEW_OF_NETWORK.text);
    assert!((others + 1) * one > MAX_NEW_OF_NETWORK.text);
    let (rest, full) = crowd("192.0.2.2");
    assert_eq!(full, Full::Text);
    assert!((told + others + rest + 1) * one > MAX_KEPT.text);
    assert!(hosts.kept.text <= MAX_KEPT.text);
    assert_eq!(
        full.to_string(),
        "all hosts together have too many values (limit 512 MiB at /metrics)"
    );
    // What was said before may be said again.
    let again = By(EVIL, 100, Trust::New);
    assert_eq!(say_grid(&mut hosts, now, again, (&said, 1)), Ok(None));
    // Of what is free again, who is listed has all, and who makes up keys nothing.
    assert!(told > 10);
    for number in 100..105 {
        let by = By("192.0.2.1", number, Trust::New);
        assert_eq!(say(&mut hosts, now, by, 1), Ok(None));
    }
    let new = By(EVIL, 7, Trust::New);
    let refused = say_grid(&mut hosts, now, new, (&said, 1));
    assert_eq!(refused, Err(Full::NetworkText(network(EVIL))));
    for (number, trust) in [(8, Trust::Listed), (9, Trust::Pinned)] {
        let known = By(EVIL, number, trust);
        assert_eq!(say_grid(&mut hosts, now, known, (&said, 1)), APPEARED);
    }
}

#[test]
fn made_up_keys_leave_places_for_others() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let most = u32::try_from(MAX_HOSTS - MAX_NEW_HOSTS_OF_NETWORK).unwrap();
    let full = Full::NetworkHosts(network(EVIL));
    assert_eq!(fill(&mut hosts, now, EVIL, 2), (most, full));
    for trust in [Trust::Listed, Trust::Pinned] {
        let known = By(EVIL, 200_000 + u32::from(trust == Trust::Listed), trust);
        assert_eq!(say(&mut hosts, now, known, 2), APPEARED);
    }
    let (others, full) = fill(&mut hosts, now, "192.0.2.1", 2);
    let places = u32::try_from(MAX_NEW_HOSTS_OF_NETWORK).unwrap() - 2;
    assert_eq!((others, full), (places, Full::Hosts));
}

#[test]
fn hosts_of_before_a_restart_count_where_they_came_from() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let restored = |number: u8| Restored {
        name: format!("web{number}").into(),
        key: Some(key(number)),
        several_hosts: None,
        address: Some("192.0.2.1".into()),
        os: None,
        model: Some((grid("{}", GridKind::Model), 100)),
        silence: SECOND,
        gone: None,
    };
    hosts.restore(now, (0..3).map(restored));
    assert_eq!(new_of(&hosts, "192.0.2.1"), (3, 300));
    assert!(hosts.forget("web1").is_ok());
    assert_eq!(new_of(&hosts, "192.0.2.1"), (2, 200));
}
