//! Hosts that are gone, forgotten, or expected after a restart, and whose they are.

use std::time::SystemTime;

use super::*;
use crate::collector::hosts::MAX_OS_BYTES;
use crate::collector::hosts::snapshot::Presence;
use crate::collector::store::format;
use crate::protocol::grid::Grid;
use crate::protocol::state::HostState;

#[test]
fn a_host_that_is_gone_is_remembered_for_a_while() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    let gone = start + TIMING.host_timeout;
    while hosts.take_due(gone).is_some() {}
    let host = hosts.get("web1").unwrap();
    assert_eq!(host.presence(), Presence::Gone);
    assert_eq!((host.since(), host.last_seen()), (gone, start));
    assert!(host.model().is_none() && host.metrics().is_none());
    assert_eq!(hosts.next_due(), Some(gone + TIMING.forget_after));
    let due = hosts.take_due(gone + TIMING.forget_after);
    assert!(matches!(due, Some(Due::Forgotten(host)) if &*host.name == "web1"));
    assert!(hosts.get("web1").is_none());
    assert_eq!(hosts.next_due(), None);
}

#[test]
fn hosts_are_forgotten_on_request_unless_they_report() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    assert_eq!(hosts.forget("web1"), Err(NotForgotten::Reporting));
    assert_eq!(hosts.forget("web2"), Err(NotForgotten::Unknown));
    while hosts.take_due(start + TIMING.host_timeout).is_some() {}
    let forgotten = hosts.forget("web1").unwrap();
    assert_eq!(&*forgotten.name, "web1");
    assert_eq!(hosts.forget("web1"), Err(NotForgotten::Unknown));
    hosts.restore(start, [restored("web3")]);
    assert!(hosts.forget("web3").is_ok());
    assert_eq!((hosts.expected(), hosts.kept.memory), (0, 0));
    assert_eq!(hosts.next_due(), None);
    assert_eq!(hosts.peers.hosts(), (0, 0));
}

#[test]
fn a_viewer_is_told_since_when_a_host_is_silent() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    hosts.restore(start, [restored("web2")]);
    model(&mut hosts, start, "A", "web1");
    let noon = SystemTime::UNIX_EPOCH + 1_000_000 * SECOND;
    let said = |hosts: &Hosts, seconds, name| {
        let state = hosts.state_of(start + seconds * SECOND, noon, name);
        state.map(|state| (state.state, state.last_seen, state.since))
    };
    let at = |hosts: &Hosts, name| said(hosts, 10, name);
    let reporting = (HostState::Reporting, 999_990.0, 999_990.0);
    assert_eq!(at(&hosts, "web1"), Some(reporting));
    let expected = (HostState::Expected, 999_890.0, 999_990.0);
    assert_eq!(at(&hosts, "web2"), Some(expected));
    assert_eq!(at(&hosts, "web3"), None);
    let gone = start + TIMING.host_timeout;
    while hosts.take_due(gone).is_some() {}
    let state = said(&hosts, 40, "web1");
    assert_eq!(state, Some((HostState::Gone, 999_960.0, 999_990.0)));
    let forgotten = hosts.forget("web1").unwrap();
    let state = forgotten.state(start + 50 * SECOND, noon);
    assert_eq!(state.state, HostState::Forgotten);
    assert_eq!((state.last_seen, state.since), (999_950.0, 1_000_000.0));
}

#[test]
fn of_a_host_that_is_gone_address_and_system_stay() {
    let start = Instant::now();
    let noon = SystemTime::UNIX_EPOCH + 1_000_000 * SECOND;
    let mut hosts = Hosts::new(TIMING);
    let name = format!("{}é", "x".repeat(MAX_OS_BYTES - 1));
    let model = format!(r#"{{"host.os": "{name}", "mem.total": 1}}"#);
    let say = |hosts: &mut Hosts, now, by, host, text: &str, kind| {
        let report = Report {
            host,
            kind,
            grids: vec![Arc::new(grid(text, kind).into())],
            wire_bytes: text.len(),
        };
        let peer = Peer {
            routing_id: &id("A"),
            key: Some(key(by)),
            address: Some("192.0.2.7"),
            trust: Trust::New,
        };
        hosts.ingest(now, peer, report).unwrap();
    };
    let known = |hosts: &Hosts| {
        let state = hosts.state_of(start, noon, "web1").unwrap();
        let text = |text: Option<Box<str>>| text.unwrap_or_default().into_string();
        (text(state.address), text(state.os))
    };
    let nothing = (String::new(), String::new());
    say(&mut hosts, start, 1, "web1", &model, GridKind::Model);
    assert_eq!(known(&hosts), nothing);
    let gone = start + TIMING.host_timeout;
    while hosts.take_due(gone).is_some() {}
    // Cut between two characters.
    let last = ("192.0.2.7".to_owned(), "x".repeat(MAX_OS_BYTES - 1));
    assert_eq!(known(&hosts), last);
    // Also where it was back without a word of what it is, and over a restart.
    say(&mut hosts, gone, 1, "web1", "{}", GridKind::Metrics);
    assert_eq!(known(&hosts), nothing);
    let gone = gone + TIMING.host_timeout;
    while hosts.take_due(gone).is_some() {}
    assert_eq!(known(&hosts), last);
    let mut file = Vec::new();
    format::write(&hosts.snapshot(gone, noon), &mut file).unwrap();
    let found = format::read(&file[..]).unwrap().hosts;
    let mut hosts = Hosts::new(TIMING);
    hosts.restore(gone, found.into_iter().map(|host| host.restored(noon)));
    assert_eq!(known(&hosts), last);
    // Another key's host is another one.
    say(&mut hosts, gone, 2, "web1", "{}", GridKind::Metrics);
    while hosts.take_due(gone + TIMING.host_timeout).is_some() {}
    assert_eq!(known(&hosts), (last.0, String::new()));
}

#[test]
fn one_key_cannot_fill_the_table() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let say = |hosts: &mut Hosts, now, from: usize, by, host: usize| {
        let report = Report {
            host: &host.to_string(),
            kind: GridKind::Metrics,
            grids: vec![Arc::new(Grid::default().into())],
            wire_bytes: 2,
        };
        let routing_id = id(&from.to_string());
        let peer = Peer {
            routing_id: &routing_id,
            key: Some(key(by)),
            address: Some("::1"),
            trust: Trust::New,
        };
        hosts.ingest(now, peer, report).map(|heard| heard.change)
    };
    for number in 0..MAX_HOSTS_PER_KEY {
        let heard = say(&mut hosts, now, number / 50, 1, number);
        assert_eq!(heard, Ok(Some(Change::Appeared)));
        assert_eq!(hosts.may_refuse(), number + 1 >= MAX_HOSTS_PER_KEY / 4 * 3);
    }
    assert_eq!(
        say(&mut hosts, now, 999, 1, 1_000_000),
        Err(Full::Key(key(1)))
    );
    // Another key's hosts have room, and the first has none for them.
    assert!(say(&mut hosts, now, 998, 2, 1_000_000).is_ok());
    assert_eq!(
        say(&mut hosts, now, 999, 1, 1_000_000),
        Err(Full::Key(key(1)))
    );
    // A host that changes its key makes room with the old one.
    assert!(say(&mut hosts, now, 998, 2, 7).is_ok());
    assert!(say(&mut hosts, now, 999, 1, 1_000_000).is_ok());
    assert_eq!(
        hosts.peers.hosts(),
        (MAX_HOSTS_PER_KEY + 1, MAX_HOSTS_PER_KEY + 1)
    );
    // Gone hosts count: their names are still remembered.
    let later = now + TIMING.host_timeout;
    while hosts.take_due(later).is_some() {}
    assert_eq!(
        say(&mut hosts, later, 1, 1, 2_000_000),
        Err(Full::Key(key(1)))
    );
    hosts.forget("8").unwrap();
    assert!(say(&mut hosts, later, 1, 1, 2_000_000).is_ok());
}

#[test]
fn hosts_that_are_gone_make_room() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for number in 0..MAX_HOSTS {
        let from = (number / MAX_HOSTS_PER_CONNECTION).to_string();
        let now = if number < 2 { start } else { start + SECOND };
        metrics(&mut hosts, now, &from, &number.to_string());
    }
    let later = start + TIMING.host_timeout;
    while hosts.take_due(later).is_some() {}
    assert_eq!(hosts.gone(), 2);
    let appeared = (Some(Change::Appeared), true);
    assert_eq!(metrics(&mut hosts, later, "Z", "one more"), appeared);
    let report = Report {
        host: "two more",
        kind: GridKind::Metrics,
        grids: vec![Arc::new(Grid::default().into())],
        wire_bytes: 2,
    };
    let heard = hosts.ingest(later, peer(&id("Z")), report).unwrap();
    let forgotten = heard.forgotten.unwrap();
    assert_eq!((&*forgotten.name, forgotten.last_seen), ("1", start));
    assert_eq!((hosts.gone(), hosts.table.len()), (0, MAX_HOSTS));
}

fn restored(name: &str) -> Restored {
    Restored {
        name: name.into(),
        key: Some(key(1)),
        several_hosts: None,
        address: Some("192.0.2.1".into()),
        os: None,
        model: Some((grid(r#"{"os": "x"}"#, GridKind::Model), 11)),
        silence: 100 * SECOND,
        gone: None,
    }
}

#[test]
fn a_restart_loses_no_host() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let gone = Restored {
        gone: TIMING.forget_after.checked_sub(SECOND),
        ..restored("web4")
    };
    hosts.restore(start, ["web1", "web2", "web3"].map(restored));
    hosts.restore(start, [gone]);
    assert_eq!(
        (hosts.reporting(), hosts.expected(), hosts.gone()),
        (0, 3, 1)
    );

    let by = |by, from, host| {
        let report = Report {
            host,
            kind: GridKind::Metrics,
            grids: vec![Arc::new(Grid::default().into())],
            wire_bytes: 2,
        };
        (report, id(from), by)
    };
    let say = |hosts: &mut Hosts, (report, routing_id, by): (Report<'_>, RoutingIdBytes, _)| {
        let peer = Peer {
            routing_id: &routing_id,
            key: Some(key(by)),
            address: Some("::1"),
            trust: Trust::New,
        };
        let heard = hosts.ingest(start, peer, report).unwrap();
        (heard.change, heard.ask_model)
    };
    let appeared = Some(Change::Appeared);
    // Its model is known, though it comes over another connection.
    assert_eq!(say(&mut hosts, by(1, "A", "web1")), (appeared, false));
    // Not so that of another key.
    assert_eq!(say(&mut hosts, by(2, "B", "web2")), (appeared, true));
    let snapshot = hosts.snapshot(start, SystemTime::UNIX_EPOCH + 200 * SECOND);
    let shown: Vec<_> = snapshot
        .hosts
        .iter()
        .map(|host| {
            (
                &*host.name,
                host.presence,
                host.model.is_some(),
                host.silence,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("web1", Presence::Reporting, true, Duration::ZERO),
            ("web2", Presence::Reporting, false, Duration::ZERO),
            ("web3", Presence::Expected, true, 100 * SECOND),
            ("web4", Presence::Gone, false, 100 * SECOND),
        ]
    );
    assert_eq!(snapshot.hosts[0].address.as_deref(), Some("::1"));
    assert_eq!(snapshot.hosts[2].key, Some(key(1)));
    // The one that does not come is gone after the time that any host may be silent.
    let mut left = Vec::new();
    for second in 1..=30 {
        while let Some(due) = hosts.take_due(start + second * SECOND) {
            match due {
                Due::Gone {
                    name,
                    routing_id,
                    silence,
                } => {
                    left.push((second, name.to_string(), routing_id.is_some(), silence));
                }
                Due::Forgotten(host) => assert_eq!((second, &*host.name), (1, "web4")),
                Due::Ping { .. } => {}
                Due::Renamed(renamed) => panic!("{renamed:?}"),
            }
        }
    }
    left.sort();
    assert_eq!(
        left,
        [
            (30, "web1".to_owned(), true, 30 * SECOND),
            (30, "web2".to_owned(), true, 30 * SECOND),
            (30, "web3".to_owned(), false, 130 * SECOND),
        ]
    );
    assert_eq!(hosts.kept.memory, 0);
}
