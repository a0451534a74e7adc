//! Cloned machines, and hosts that were renamed.

use std::time::SystemTime;

use super::*;
use crate::collector::hosts::snapshot::Presence;
use crate::protocol::grid::Grid;

/// Metrics of a host over a connection, with a key, from an address.
fn say(
    hosts: &mut Hosts,
    now: Instant,
    (from, by, address): (&str, u8, &str),
    host: &str,
) -> Option<Twin> {
    let report = Report {
        host,
        kind: GridKind::Metrics,
        grid: Grid::default(),
        wire_bytes: 2,
    };
    let routing_id = id(from);
    let peer = Peer {
        routing_id: &routing_id,
        key: Some(key(by)),
        address: Some(address),
        trust: Trust::New,
    };
    hosts.hear(now, peer, report).unwrap().twin
}

/// Those that are gone and those that were renamed, up to a time.
fn left(hosts: &mut Hosts, now: Instant) -> Vec<String> {
    let mut left = Vec::new();
    while let Some(due) = hosts.take_due(now) {
        match due {
            Due::Gone { name, .. } => left.push(format!("{name} gone")),
            Due::Renamed(Renamed {
                old,
                new,
                was_there,
            }) => left.push(format!("{} {new} {was_there}", old.name)),
            Due::Ping { .. } => {}
            Due::Forgotten(host) => panic!("{host:?}"),
        }
    }
    left
}

const ONE: (&str, u8, &str) = ("A", 1, "192.0.2.1");
const OTHER: (&str, u8, &str) = ("B", 1, "192.0.2.2");

#[test]
fn a_clone_that_kept_its_name_is_told_of_once_an_hour_and_counted() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let (mut told, mut counted) = (Vec::new(), 0);
    for second in (0..3700).step_by(5) {
        let now = start + second * SECOND;
        for (twin, at) in [
            (say(&mut hosts, now, ONE, "web1"), second),
            (say(&mut hosts, now + 2 * SECOND, OTHER, "web1"), second + 2),
        ] {
            counted += u32::from(twin.is_some());
            if let Some(twin) = twin.filter(|twin| twin.tell) {
                told.push((at, twin));
            }
        }
    }
    let [(first, twin), (second, _)] = &told[..] else {
        panic!("{told:?}");
    };
    // What a connection that has ended left behind is long read by then.
    assert_eq!((*first, *second), (15, 3615));
    assert_eq!(twin.key, key(1));
    assert_eq!(twin.hosts.each_ref().map(|host| &**host), ["web1", "web1"]);
    let addresses = twin.addresses.each_ref().map(Option::as_deref);
    assert_eq!(addresses, [Some("192.0.2.1"), Some("192.0.2.2")]);
    assert!(counted > 1400, "{counted}");
}

#[test]
fn three_clones_are_no_fewer() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let third = ("C", 1, "192.0.2.3");
    let mut twins = 0;
    for second in (0..60).step_by(3) {
        for (after, peer) in [(0, ONE), (1, OTHER), (2, third)] {
            let now = start + (second + after) * SECOND;
            twins += u32::from(say(&mut hosts, now, peer, "web1").is_some());
        }
    }
    assert!(twins > 40, "{twins}");
}

#[test]
fn a_clone_of_another_name_is_told_of_until_one_of_them_stops() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    assert_eq!(say(&mut hosts, at(0), ONE, "web1"), None);
    assert_eq!(say(&mut hosts, at(1), OTHER, "web2"), None);
    assert_eq!(say(&mut hosts, at(5), ONE, "web1"), None);
    assert_eq!(say(&mut hosts, at(6), OTHER, "web2"), None);
    let twin = say(&mut hosts, at(11), ONE, "web1").unwrap();
    assert_eq!(twin.hosts.each_ref().map(|host| &**host), ["web1", "web2"]);
    assert!(twin.tell);
    let twin = say(&mut hosts, at(16), ONE, "web1").unwrap();
    assert!(!twin.tell);
    // The newer one was heard 30 s ago.
    assert_eq!(say(&mut hosts, at(36), ONE, "web1"), None);
    assert_eq!(say(&mut hosts, at(41), ONE, "web1"), None);
    assert_eq!(left(&mut hosts, at(41)), ["web2 gone"]);
}

#[test]
fn one_machine_is_one_whatever_its_connections_do() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    // An agent whose link breaks all the time, and what it sent before comes late.
    for second in 0..300 {
        let now = start + second * SECOND;
        let id = |number: u32| format!("L{}", number / 20);
        let new = (&*id(second), 1, "192.0.2.1");
        assert_eq!(say(&mut hosts, now, new, "web1"), None, "{second}");
        if second % 20 < 3 && second >= 20 {
            let old = (&*id(second - 20), 1, "192.0.2.1");
            assert_eq!(say(&mut hosts, now, old, "web1"), None, "{second}");
        }
        // A gateway: one connection for all of its hosts, a new one now and then.
        for host in ["a", "b", "c"] {
            let gateway = (&*format!("G{}", second / 50), 2, "192.0.2.9");
            assert_eq!(say(&mut hosts, now, gateway, host), None, "{second}");
        }
    }
}

#[test]
fn a_renamed_host_leaves_nothing_behind() {
    for new_connection in [false, true] {
        let start = Instant::now();
        let mut hosts = Hosts::new(TIMING);
        let at = |second: u32| start + second * SECOND;
        say(&mut hosts, at(0), ONE, "localhost");
        say(&mut hosts, at(5), ONE, "localhost");
        let after = if new_connection { OTHER } else { ONE };
        for second in 0..8 {
            say(&mut hosts, at(6 + 4 * second), after, "web1");
        }
        assert_eq!(left(&mut hosts, at(34)), [""; 0]);
        assert_eq!(left(&mut hosts, at(35)), ["localhost web1 true"]);
        assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
        assert!(hosts.get("localhost").is_none());
        assert_eq!(hosts.peers.hosts(), (1, 1));
    }
}

#[test]
fn a_host_that_was_renamed_while_it_was_down_is_found_too() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    say(&mut hosts, at(0), ONE, "localhost");
    assert_eq!(left(&mut hosts, at(30)), ["localhost gone"]);
    for second in (600..630).step_by(5) {
        say(&mut hosts, at(second), OTHER, "web1");
        // Not before it is sure that this is all that it reports.
        assert_eq!(left(&mut hosts, at(second)), [""; 0], "{second}");
    }
    say(&mut hosts, at(630), OTHER, "web1");
    assert_eq!(left(&mut hosts, at(635)), ["localhost web1 false"]);
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
}

#[test]
fn a_chain_of_names_leaves_the_last_one() {
    // As at a first boot: the name comes with the network, and then from the user's data.
    for new_connections in [false, true] {
        let start = Instant::now();
        let mut hosts = Hosts::new(TIMING);
        let at = |second: u32| start + second * SECOND;
        let mut lost = Vec::new();
        for second in (0..100).step_by(2) {
            let (from, name) = match second {
                0..4 => ("A", "localhost"),
                4..10 => ("B", "ip-10-0-0-7"),
                10..14 => ("C", "ip-10-0-0-7.internal"),
                _ => ("D", "web1"),
            };
            let from = if new_connections { from } else { "A" };
            say(&mut hosts, at(second), (from, 1, "192.0.2.1"), name);
            lost.extend(left(&mut hosts, at(second)));
        }
        let renamed = ["localhost", "ip-10-0-0-7", "ip-10-0-0-7.internal"];
        assert_eq!(lost, renamed.map(|old| format!("{old} web1 true")));
        assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
        assert_eq!(hosts.peers.hosts(), (1, 1));
    }
}

#[test]
fn all_names_that_were_gone_before_go_with_the_chain() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    say(&mut hosts, at(0), ONE, "localhost");
    say(&mut hosts, at(10), ONE, "ip-10");
    // The collector is not told of the next name until both are gone, and neither went on.
    let gone: Vec<_> = (1..=60).flat_map(|s| left(&mut hosts, at(s))).collect();
    assert_eq!(gone, ["localhost gone", "ip-10 gone"]);
    let mut hosts = Hosts::new(TIMING);
    for (second, name) in [(0, "localhost"), (100, "ip-10"), (200, "ip-11")] {
        say(&mut hosts, at(second), ONE, name);
        assert_eq!(left(&mut hosts, at(second + 50)), [format!("{name} gone")]);
    }
    let mut lost = Vec::new();
    for second in (300..400).step_by(5) {
        say(&mut hosts, at(second), OTHER, "web1");
        lost.extend(left(&mut hosts, at(second)));
    }
    let expected = ["localhost", "ip-10", "ip-11"].map(|old| format!("{old} web1 false"));
    assert_eq!(lost, expected);
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
}

#[test]
fn names_that_were_side_by_side_are_hosts_of_their_own() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    let mut lost = Vec::new();
    // A relay: two at a time, and another two later; and one machine with two agents.
    for second in (0..200).step_by(5) {
        let (names, from) = match second {
            0..20 => (["a", "b"], "A"),
            _ => (["c", "d"], "B"),
        };
        for name in names {
            say(&mut hosts, at(second), (from, 1, "192.0.2.1"), name);
        }
        lost.extend(left(&mut hosts, at(second)));
    }
    lost.sort();
    assert_eq!(lost, ["a gone", "b gone"]);
    // A relay that reports its hosts one right after the other, and goes on with the last, or
    // with none.
    for rest in [&["rack-3"][..], &[]] {
        let mut hosts = Hosts::new(TIMING);
        let mut lost = Vec::new();
        for (number, name) in (0..).zip(["rack-0", "rack-1", "rack-2", "rack-3"]) {
            say(
                &mut hosts,
                at(0) + number * Duration::from_millis(5),
                ONE,
                name,
            );
        }
        for second in (5..200).step_by(5) {
            for name in rest {
                say(&mut hosts, at(second), ONE, name);
            }
            lost.extend(left(&mut hosts, at(second)));
        }
        lost.sort();
        let expected = ["rack-0", "rack-1", "rack-2", "rack-3"].map(|name| format!("{name} gone"));
        assert_eq!(lost, expected[..4 - rest.len()]);
    }
    // A relay whose hosts all went, and of which one new one comes.
    let mut hosts = Hosts::new(TIMING);
    let mut lost = Vec::new();
    for second in (0..200).step_by(5) {
        let names: &[&str] = if second < 20 { &["a", "b"] } else { &["c"] };
        for name in names {
            say(&mut hosts, at(second), ONE, name);
        }
        lost.extend(left(&mut hosts, at(second)));
    }
    lost.sort();
    assert_eq!(lost, ["a gone", "b gone"]);
}

#[test]
fn a_host_of_a_gateway_that_goes_is_gone() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    // One goes, and another one comes, of three.
    for second in (0..60).step_by(5) {
        say(&mut hosts, at(second), ONE, "a");
        let other = if second < 20 { "b" } else { "c" };
        say(&mut hosts, at(second), ONE, other);
        let expected: &[&str] = if second == 45 { &["b gone"] } else { &[] };
        assert_eq!(left(&mut hosts, at(second)), expected, "{second}");
    }
    // One of two goes that were there side by side, or another key's comes.
    let mut hosts = Hosts::new(TIMING);
    for second in (0..60).step_by(5) {
        say(&mut hosts, at(second), OTHER, "b");
        if second < 20 {
            say(&mut hosts, at(second), OTHER, "a");
            say(&mut hosts, at(second), ("X", 2, "192.0.2.3"), "x");
        } else {
            say(&mut hosts, at(second), ("Y", 3, "192.0.2.3"), "y");
        }
        let mut left = left(&mut hosts, at(second));
        left.sort();
        let expected: &[&str] = if second == 45 {
            &["a gone", "x gone"]
        } else {
            &[]
        };
        assert_eq!(left, expected, "{second}");
    }
}

#[test]
fn comebacks_are_counted_and_so_is_the_last_of_the_metrics() {
    let start = Instant::now();
    let noon = SystemTime::UNIX_EPOCH + 100_000 * SECOND;
    let mut hosts = Hosts::new(TIMING);
    // As over a path that loses all that is large: what the host is arrives, and no metrics.
    for minute in 0..5 {
        let now = start + 60 * minute * SECOND;
        model(&mut hosts, now, &format!("L{minute}"), "web1");
        let host = hosts.snapshot_of(now, noon, "web1").unwrap();
        assert_eq!((host.comebacks, host.last_metrics), (minute.into(), None));
        left(&mut hosts, now + TIMING.host_timeout);
    }
    let now = start + 300 * SECOND;
    metrics(&mut hosts, now, "M", "web1");
    let host = hosts.snapshot_of(now + SECOND, noon, "web1").unwrap();
    assert_eq!(host.last_metrics, Some(noon - SECOND));
    assert_eq!((host.comebacks, host.presence), (5, Presence::Reporting));
}
