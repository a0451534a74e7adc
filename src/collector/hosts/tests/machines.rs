//! Hosts that were renamed, and keys of several hosts.

use std::time::SystemTime;

use super::*;
use crate::collector::hosts::snapshot::Presence;
use crate::collector::store::format;
use crate::protocol::grid::Grid;

/// Metrics of a host over a connection, with a key, from an address.
pub(super) fn say(
    hosts: &mut Hosts,
    now: Instant,
    (from, by, address): (&str, u8, &str),
    host: &str,
) -> Option<Twin> {
    let report = Report {
        host,
        kind: GridKind::Metrics,
        grids: vec![Arc::new(Grid::default().into())],
        wire_bytes: 2,
    };
    let routing_id = id(from);
    let peer = Peer {
        routing_id: &routing_id,
        key: Some(key(by)),
        address: Some(address),
        trust: Trust::New,
    };
    hosts.ingest(now, peer, report).unwrap().twin
}

/// Those that are gone and those that were renamed, up to a time.
pub(super) fn left(hosts: &mut Hosts, now: Instant) -> Vec<String> {
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

pub(super) const ONE: (&str, u8, &str) = ("A", 1, "192.0.2.1");
pub(super) const OTHER: (&str, u8, &str) = ("B", 1, "192.0.2.2");

#[test]
fn a_renamed_host_leaves_nothing_behind() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    say(&mut hosts, at(0), ONE, "localhost");
    say(&mut hosts, at(5), ONE, "localhost");
    for second in 0..8 {
        say(&mut hosts, at(6 + 4 * second), OTHER, "web1");
    }
    assert_eq!(left(&mut hosts, at(34)), [""; 0]);
    assert_eq!(left(&mut hosts, at(35)), ["localhost web1 true"]);
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
    assert!(hosts.get("localhost").is_none());
    assert_eq!(hosts.peers.hosts(), (1, 1));
}

/// What a machine reports as from each of these seconds on, over a new connection each time; what
/// has left the table after so many seconds.
fn renamed(hosts: &mut Hosts, start: Instant, names: &[(u32, &str)], seconds: u32) -> Vec<String> {
    let mut lost = Vec::new();
    for second in (0..seconds).step_by(2) {
        let now = start + second * SECOND;
        let mut passed = names.iter().filter(|(from, _)| *from <= second);
        let Some((from, name)) = passed.next_back() else {
            continue;
        };
        let connection = format!("C{from}");
        say(hosts, now, (&connection, 1, "192.0.2.1"), name);
        lost.extend(left(hosts, now));
    }
    lost
}

#[test]
fn however_often_a_host_is_renamed_each_old_name_is_given_up() {
    for count in [9, 20] {
        let all: Vec<_> = (0..count).map(|number| format!("dhcp-{number}")).collect();
        // All of them before the first is silent for long enough, or each after the other.
        for pause in [2_u32, 4, 40] {
            let names: Vec<_> = (0..)
                .zip(&all)
                .map(|(at, name)| (pause * at, &**name))
                .collect();
            let mut hosts = Hosts::new(TIMING);
            let seconds = 40 * count + 60;
            let lost = renamed(&mut hosts, Instant::now(), &names, seconds);
            let (new, old) = all.split_last().unwrap();
            assert_eq!(lost.len(), old.len(), "{count} {pause}: {lost:?}");
            for (lost, old) in lost.iter().zip(old) {
                let (lost, by) = lost.split_once(' ').unwrap();
                let by = by.strip_suffix(" true").unwrap();
                assert_eq!((lost, all.contains(&by.to_owned())), (&**old, true));
            }
            assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
            assert!(hosts.get(new).is_some());
            assert_eq!(hosts.peers.hosts(), (1, 1));
        }
    }
}

#[test]
fn hosts_of_a_relay_that_connects_for_each_report_are_no_old_names() {
    for count in [2, 9, 20] {
        let mut hosts = Hosts::new(TIMING);
        let start = Instant::now();
        let mut lost = Vec::new();
        // They report in turn, and the second one ends.
        for turn in 0..200_u32 {
            let now = start + turn * SECOND;
            let (name, from) = (turn % count, format!("C{turn}"));
            if name != 1 || turn < 100 {
                let peer = (&*from, 1, "192.0.2.1");
                say(&mut hosts, now, peer, &format!("rack-{name}"));
            }
            lost.extend(left(&mut hosts, now));
        }
        assert_eq!(lost, ["rack-1 gone"], "{count}");
    }
}

/// Many hosts, each over a connection that stays: the gateway has only just made the last one
/// when a host ends.
#[test]
fn hosts_of_a_gateway_with_many_connections_are_no_old_names() {
    let mut hosts = Hosts::new(TIMING);
    let start = Instant::now();
    let mut lost = Vec::new();
    for second in (0..200_u32).step_by(4) {
        for number in 0..20 {
            let now = start + second * SECOND + number * SECOND / 8;
            let (name, from) = (format!("rack-{number}"), format!("C{number}"));
            if number != 7 || second < 8 {
                say(&mut hosts, now, (&*from, 1, "192.0.2.1"), &name);
            }
            lost.extend(left(&mut hosts, now));
        }
    }
    assert_eq!(lost, ["rack-7 gone"]);
}

/// Two hosts of one key of which one ends so soon that the other one looks like its new name.
#[test]
fn names_that_were_there_together_for_moments_are_two_hosts() {
    let start = Instant::now();
    let at = |millis: u32| start + millis * SECOND / 1000;
    for (last, lost) in [
        // Read after the new connection has begun, but sent before.
        (900, "web1 web2 true"),
        (1000, "web1 gone"),
        (4000, "web1 gone"),
        (9500, "web1 gone"),
    ] {
        let mut hosts = Hosts::new(TIMING);
        say(&mut hosts, at(0), ONE, "web1");
        say(&mut hosts, at(5000), OTHER, "web2");
        say(&mut hosts, at(5000 + last), ONE, "web1");
        let mut found = Vec::new();
        for second in 15..50 {
            say(&mut hosts, at(1000 * second), OTHER, "web2");
            found.extend(left(&mut hosts, at(1000 * second)));
        }
        assert_eq!(found, [lost], "{last}");
        // Also over a restart.
        let mut hosts = restarted(&hosts, at(50_000));
        for second in 51..100 {
            say(&mut hosts, at(1000 * second), ("C", 1, "192.0.2.2"), "web2");
            assert_eq!(left(&mut hosts, at(1000 * second)), [""; 0]);
        }
        let kept = lost.ends_with("gone");
        assert_eq!((hosts.reporting(), hosts.gone()), (1, usize::from(kept)));
    }
    // The one that goes on is the older one; and it connects again.
    let mut hosts = Hosts::new(TIMING);
    say(&mut hosts, at(0), ONE, "web1");
    say(&mut hosts, at(5000), OTHER, "web2");
    let mut found = Vec::new();
    for second in 7..60 {
        let peer = if second < 9 {
            ONE
        } else {
            ("C", 1, "192.0.2.1")
        };
        say(&mut hosts, at(1000 * second), peer, "web1");
        found.extend(left(&mut hosts, at(1000 * second)));
    }
    assert_eq!(found, ["web2 gone"]);
}

/// The name of the machine that goes on is another one later. This one is given up, as before.
#[test]
fn of_two_hosts_that_were_there_together_one_may_be_renamed() {
    let start = Instant::now();
    let at = |second: u32| start + second * SECOND;
    let mut hosts = Hosts::new(TIMING);
    say(&mut hosts, at(0), ONE, "web1");
    say(&mut hosts, at(5), OTHER, "web2");
    say(&mut hosts, at(8), ONE, "web1");
    let mut lost = Vec::new();
    for second in 10..200 {
        let (name, from) = match second {
            0..50 => ("web2", "C"),
            50..100 => ("web3", "D"),
            _ => ("web4", "E"),
        };
        say(&mut hosts, at(second), (from, 1, "192.0.2.2"), name);
        lost.extend(left(&mut hosts, at(second)));
    }
    assert_eq!(lost, ["web1 gone", "web2 gone", "web3 web4 true"]);
}

/// What a host reports at the beginning of a connection.
pub(super) fn say_model(
    hosts: &mut Hosts,
    now: Instant,
    (from, by, address): (&str, u8, &str),
    host: &str,
    boot: u8,
) -> Option<Twin> {
    let text = format!(r#"{{"sys.boot.id": "{boot:032x}"}}"#);
    say_grid(hosts, now, (from, by, address), host, &text)
}

pub(super) fn say_grid(
    hosts: &mut Hosts,
    now: Instant,
    (from, by, address): (&str, u8, &str),
    host: &str,
    text: &str,
) -> Option<Twin> {
    let report = Report {
        host,
        kind: GridKind::Model,
        grids: vec![Arc::new(grid(text, GridKind::Model).into())],
        wire_bytes: text.len(),
    };
    let routing_id = id(from);
    let peer = Peer {
        routing_id: &routing_id,
        key: Some(key(by)),
        address: Some(address),
        trust: Trust::New,
    };
    hosts.ingest(now, peer, report).unwrap().twin
}

/// The ids of the boots say that a second later is no late message.
#[test]
fn names_of_two_boots_are_two_hosts_at_once() {
    let start = Instant::now();
    let at = |millis: u32| start + millis * SECOND / 1000;
    for (boot, lost) in [(1, "web1 web2 true"), (2, "web1 gone")] {
        let mut hosts = Hosts::new(TIMING);
        say_model(&mut hosts, at(0), ONE, "web1", 1);
        say_model(&mut hosts, at(5000), OTHER, "web2", boot);
        say(&mut hosts, at(5100), ONE, "web1");
        let mut found = Vec::new();
        for second in 6..50 {
            say(&mut hosts, at(1000 * second), OTHER, "web2");
            found.extend(left(&mut hosts, at(1000 * second)));
        }
        assert_eq!(found, [lost]);
    }
}

#[test]
fn a_name_that_comes_back_gives_the_other_one_up() {
    let start = Instant::now();
    // The name between was there for moments, or for so long that the first one had left.
    for (back, expected) in [
        (12, &["b a true"][..]),
        (28, &["b a true"]),
        (100, &["a b true", "b a true"]),
    ] {
        let mut hosts = Hosts::new(TIMING);
        let names = [(0, "a"), (6, "b"), (back, "a")];
        let lost = renamed(&mut hosts, start, &names, 200);
        assert_eq!(lost, expected, "{back}");
        assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
    }
    // The first one was gone for long, and the other one never reported for long enough.
    let mut hosts = Hosts::new(TIMING);
    say(&mut hosts, start, ONE, "a");
    assert_eq!(left(&mut hosts, start + 50 * SECOND), ["a gone"]);
    say(&mut hosts, start + 60 * SECOND, OTHER, "b");
    assert_eq!(left(&mut hosts, start + 95 * SECOND), ["b gone"]);
    let later = start + 200 * SECOND;
    let lost = renamed(&mut hosts, later, &[(0, "a")], 60);
    assert_eq!(lost, ["b a false"]);
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
    // It goes on to others, and comes back again.
    let mut hosts = Hosts::new(TIMING);
    let names = [(0, "a"), (6, "b"), (12, "c"), (18, "a"), (24, "b")];
    let lost = renamed(&mut hosts, start, &names, 200);
    assert_eq!(lost, ["c b true", "a b true"]);
}

#[test]
fn one_connection_that_reports_several_hosts_is_a_gateway() {
    let start = Instant::now();
    for count in [2, 3, 8] {
        let names: Vec<_> = (0..count).map(|number| format!("rack-{number}")).collect();
        let mut hosts = Hosts::new(TIMING);
        for (second, name) in (0..).zip(&names) {
            say(&mut hosts, start + second * SECOND, ONE, name);
        }
        // The last one goes on, over this connection and later over another one.
        let mut lost = Vec::new();
        for second in (10..200).step_by(5) {
            let now = start + second * SECOND;
            let peer = if second < 100 { ONE } else { OTHER };
            say(&mut hosts, now, peer, &names[names.len() - 1]);
            lost.extend(left(&mut hosts, now));
        }
        lost.sort();
        let gone = names.iter().map(|name| format!("{name} gone"));
        assert_eq!(lost, gone.take(names.len() - 1).collect::<Vec<_>>());
    }
}

#[test]
fn of_two_machines_with_one_key_none_is_an_old_name() {
    let start = Instant::now();
    let at = |second: u32| start + second * SECOND;
    let mut hosts = Hosts::new(TIMING);
    for second in (0..20).step_by(4) {
        say(&mut hosts, at(second), ONE, "web1");
        say(&mut hosts, at(second + 1), OTHER, "web2");
    }
    // One ends, and the other one connects again, later and for long.
    let mut lost = Vec::new();
    for second in (20..200).step_by(4) {
        let peer = if second < 40 {
            OTHER
        } else {
            ("C", 1, "192.0.2.2")
        };
        say(&mut hosts, at(second), peer, "web2");
        lost.extend(left(&mut hosts, at(second)));
    }
    assert_eq!(lost, ["web1 gone"]);
    // The older one is the one that goes on.
    for second in (300..400).step_by(4) {
        say(&mut hosts, at(second), ("D", 1, "192.0.2.1"), "web1");
        lost.extend(left(&mut hosts, at(second)));
    }
    assert_eq!(lost, ["web1 gone", "web2 gone"]);
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
    let mut hosts = Hosts::new(TIMING);
    let old = ["localhost", "ip-10-0-0-7", "ip-10-0-0-7.internal"];
    let names = [(0, old[0]), (4, old[1]), (10, old[2]), (14, "web1")];
    let lost = renamed(&mut hosts, Instant::now(), &names, 100);
    assert_eq!(lost, old.map(|old| format!("{old} web1 true")));
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
    assert_eq!(hosts.peers.hosts(), (1, 1));
}

#[test]
fn all_names_that_were_gone_before_go_with_the_chain() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    say(&mut hosts, at(0), ONE, "localhost");
    say(&mut hosts, at(10), OTHER, "ip-10");
    // The collector is not told of the next name until both are gone, and neither went on.
    let gone: Vec<_> = (1..=60).flat_map(|s| left(&mut hosts, at(s))).collect();
    assert_eq!(gone, ["localhost gone", "ip-10 gone"]);
    let mut hosts = Hosts::new(TIMING);
    for (second, name) in [(0, "localhost"), (100, "ip-10"), (200, "ip-11")] {
        say(&mut hosts, at(second), (name, 1, "192.0.2.1"), name);
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
        assert_eq!(
            (host.counts.comebacks, host.last_metrics),
            (minute.into(), None)
        );
        left(&mut hosts, now + TIMING.host_timeout);
    }
    let now = start + 300 * SECOND;
    metrics(&mut hosts, now, "M", "web1");
    let host = hosts.snapshot_of(now + SECOND, noon, "web1").unwrap();
    assert_eq!(host.last_metrics, Some(noon - SECOND));
    assert_eq!(
        (host.counts.comebacks, host.presence),
        (5, Presence::Reporting)
    );
}

/// The same hosts after a restart of the collector, by the file that they are kept in.
fn restarted(hosts: &Hosts, now: Instant) -> Hosts {
    let noon = SystemTime::UNIX_EPOCH + 1_000_000 * SECOND;
    let mut file = Vec::new();
    format::write(&hosts.snapshot(now, noon), &mut file).unwrap();
    let found = format::read(&file[..]).unwrap();
    let mut hosts = Hosts::new(TIMING);
    hosts.restore(now, found.hosts.into_iter().map(|host| host.restored(noon)));
    hosts
}

#[test]
fn old_names_are_known_over_a_restart() {
    let start = Instant::now();
    let at = |second: u32| start + second * SECOND;
    // Renamed while the collector was away; just before; and back again meanwhile.
    for (before, after, old) in [
        (&[(0, "a")][..], "b", "a"),
        (&[(0, "a"), (10, "b")], "b", "a"),
        (&[(0, "a"), (10, "b")], "a", "b"),
    ] {
        let mut hosts = Hosts::new(TIMING);
        renamed(&mut hosts, start, before, 20);
        let mut hosts = restarted(&hosts, at(30));
        let lost = renamed(&mut hosts, at(40), &[(0, after)], 100);
        assert_eq!(lost, [format!("{old} {after} true")], "{before:?}");
        assert_eq!((hosts.reporting(), hosts.gone()), (1, 0));
    }
}

#[test]
fn hosts_of_their_own_are_known_over_a_restart() {
    let start = Instant::now();
    let at = |second: u32| start + second * SECOND;
    let mut hosts = Hosts::new(TIMING);
    say(&mut hosts, at(0), ONE, "a");
    say(&mut hosts, at(1), ONE, "b");
    // Also where only one of them was left.
    let mut forgotten = restarted(&hosts, at(2));
    forgotten.forget("a").unwrap();
    for (hosts, name, gone) in [(hosts, "b", "a gone"), (forgotten, "c", "b gone")] {
        let mut hosts = restarted(&hosts, at(2));
        let lost = renamed(&mut hosts, at(4), &[(0, name)], 200);
        assert_eq!(lost, [gone]);
    }
    // A file that does not say what the two are.
    let restored = |name: &str| Restored {
        name: name.into(),
        key: Some(key(1)),
        several_hosts: None,
        address: None,
        os: None,
        model: None,
        silence: SECOND,
        gone: None,
    };
    let mut hosts = Hosts::new(TIMING);
    hosts.restore(start, ["a", "b"].map(restored));
    let lost = renamed(&mut hosts, start, &[(0, "b")], 200);
    assert_eq!(lost, ["a gone"]);
}
