//! Machines that hold one key: copies of one another, and what looks like them.

use super::machines::{ONE, OTHER, left, say, say_grid, say_model};
use super::*;

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
    // What a connection that has ended left behind is long read by then, all at once.
    assert_eq!((*first, *second), (25, 3625));
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
    assert!(twins > 30, "{twins}");
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
    assert_eq!(say(&mut hosts, at(11), ONE, "web1"), None);
    assert_eq!(say(&mut hosts, at(16), ONE, "web1"), None);
    let twin = say(&mut hosts, at(21), ONE, "web1").unwrap();
    assert_eq!(twin.hosts.each_ref().map(|host| &**host), ["web1", "web2"]);
    assert!(twin.tell);
    let twin = say(&mut hosts, at(26), ONE, "web1").unwrap();
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

/// The path of a connection was lost, and comes back long after the agent has another one: the
/// kernel sends again what it still has, and all of it arrives together.
#[test]
fn what_a_lost_path_delivers_late_is_no_clone() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    say(&mut hosts, at(0), ONE, "web1");
    for second in (6..40).step_by(5) {
        assert_eq!(say(&mut hosts, at(second), OTHER, "web1"), None);
        if second == 21 {
            for part in 0..22 {
                let now = at(second) + part * SECOND / 10;
                assert_eq!(say(&mut hosts, now, ONE, "web1"), None);
            }
        }
    }
    // It is one machine still: its old name is given up.
    for second in (41..81).step_by(5) {
        say(&mut hosts, at(second), ("C", 1, "192.0.2.1"), "web2");
    }
    assert_eq!(left(&mut hosts, at(81)), ["web1 web2 true"]);
}

/// A clone of the same name was given a key of its own: the name may change again.
#[test]
fn a_clone_that_was_put_right_leaves_one_machine() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let at = |second: u32| start + second * SECOND;
    let mut twins = 0;
    for second in (0..40).step_by(4) {
        for (after, peer) in [(0, ONE), (1, OTHER)] {
            twins += u32::from(say(&mut hosts, at(second + after), peer, "web1").is_some());
        }
    }
    assert!(twins > 3, "{twins}");
    for second in (100..140).step_by(4) {
        say(&mut hosts, at(second), ("C", 1, "192.0.2.1"), "web1");
    }
    for second in (140..180).step_by(4) {
        say(&mut hosts, at(second), ("D", 1, "192.0.2.1"), "web2");
    }
    assert_eq!(left(&mut hosts, at(180)), ["web1 web2 true"]);
}

/// Two machines with one key and one name, neither of which keeps a connection for long.
#[test]
fn clones_that_connect_in_turn_are_told_of() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let mut told = Vec::new();
    let mut counted = 0;
    for turn in 0..130_u32 {
        let now = start + 30 * turn * SECOND;
        let (boot, address) = [(1, "192.0.2.1"), (2, "192.0.2.2")][turn as usize % 2];
        let from = format!("C{turn}");
        let peer = (&*from, 1, address);
        for twin in [
            say_model(&mut hosts, now, peer, "web1", boot),
            say(&mut hosts, now + SECOND, peer, "web1"),
            say(&mut hosts, now + 6 * SECOND, peer, "web1"),
        ] {
            counted += u32::from(twin.is_some());
            if let Some(twin) = twin.filter(|twin| twin.tell) {
                assert_eq!(twin.proof, Some(Proof::Boots));
                let addresses = twin.addresses.each_ref().map(Option::as_deref);
                assert_eq!(addresses, [Some("192.0.2.1"), Some("192.0.2.2")]);
                told.push(turn);
            }
        }
    }
    // Once an hour.
    assert_eq!(told, [4, 124]);
    assert!(counted > 120, "{counted}");
}

/// The same, where one was cloned from the other while it ran: the id of the boot is one.
#[test]
fn clones_of_one_boot_that_connect_in_turn_are_told_of() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let mut told = Vec::new();
    let mut connect = |turn: u32, by: u8, uptime: u32, address: &str| {
        let now = start + 30 * turn * SECOND;
        let from = format!("{by} C{turn}");
        let text = format!(
            r#"{{"sys.boot.id": "{:032x}", "sys.uptime": {}}}"#,
            7,
            uptime + 30 * turn
        );
        say_grid(&mut hosts, now, (&from, by, address), "web1", &text)
    };
    for turn in 0..12 {
        let (uptime, address) = [(1000, "192.0.2.1"), (9000, "192.0.2.2")][turn as usize % 2];
        let twin = connect(turn, 1, uptime, address);
        told.push(twin.as_ref().is_some_and(|twin| twin.tell));
        let Some(twin) = twin else { continue };
        assert_eq!(twin.proof, Some(Proof::Uptimes));
        let addresses = twin.addresses.each_ref().map(Option::as_deref);
        let other = ["192.0.2.2", "192.0.2.1"][turn as usize % 2];
        assert_eq!(addresses, [Some(address), Some(other)]);
    }
    let at = told.iter().position(|told| *told);
    assert_eq!(at, Some(6), "{told:?}");
    // Each key has its own machines.
    for turn in 12..24 {
        let by = u8::try_from(2 + turn % 2).unwrap();
        let twin = connect(turn, by, 1000 * u32::from(by), "192.0.2.1");
        assert_eq!(twin, None, "{turn}");
    }
}

#[test]
fn one_host_over_two_paths_is_no_clone() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for turn in 0..100_u32 {
        let now = start + 30 * turn * SECOND;
        // It is started again now and then, and its connections break all the time.
        let boot = u8::try_from(turn / 10).unwrap();
        let address = ["192.0.2.1", "198.51.100.7"][turn as usize % 2];
        let from = format!("C{turn}");
        let peer = (&*from, 1, address);
        assert_eq!(say_model(&mut hosts, now, peer, "web1", boot), None);
        assert_eq!(say(&mut hosts, now + SECOND, peer, "web1"), None);
    }
    // Two keys with one name are no clones, and nor is a host that has a new key.
    for turn in 0..20_u8 {
        let now = start + (4000 + 30 * u32::from(turn)) * SECOND;
        let by = 2 + turn % 2;
        let from = format!("D{turn}");
        let peer = (&*from, by, "192.0.2.1");
        assert_eq!(say_model(&mut hosts, now, peer, "web1", by), None);
    }
}
