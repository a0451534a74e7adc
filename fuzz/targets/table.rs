//! The table of hosts, whatever comes in whatever order: its bounds, and that a host's
//! metrics are the last that it said of each family.
#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use metrics_agent::collector::hosts::snapshot::Presence;
use metrics_agent::collector::hosts::{
    Due, Hosts, MAX_HOSTS_PER_CONNECTION, MAX_HOSTS_PER_KEY, Peer, Report, Timing, Trust,
};
use metrics_agent::curve::keys::PublicKey;
use metrics_agent::curve::router::RoutingIdBytes;
use metrics_agent::metrics::families::{Family, FamilySet};
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::GridKind;

const TIMING: Timing = Timing {
    ping_interval: Duration::from_secs(5),
    host_timeout: Duration::from_secs(30),
    forget_after: Duration::from_secs(300),
};

/// Longer plays only take longer.
const MAX_STEPS: usize = 300;

/// Looking at all of the table takes far longer than a step.
const STEPS_UNSEEN: usize = 16;

/// Some families of the table, and some that are unknown.
const NAMES: [&str; 12] = [
    "cpu.percent",
    "mem.free",
    "mem.total",
    "fs.size[/]",
    "fs.size[/mnt]",
    "fs.free[/]",
    "unit.memory[a.service]",
    "unit.restarts.total[a.service]",
    "made.up",
    "made.too[é\"\\]",
    "x",
    "[",
];

/// What a host is known to have said: of each metric the last.
type Said = HashMap<String, BTreeMap<String, f64>>;

fuzz_target!(|input: &[u8]| {
    // The end of the input is the end of the play.
    let _ = play(&mut Unstructured::new(input));
});

fn play(input: &mut Unstructured<'_>) -> Result<()> {
    let mut now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let mut said = Said::new();
    for step in 1..=MAX_STEPS {
        if input.is_empty() {
            break;
        }
        match input.int_in_range(0..=9_u8)? {
            0..=6 => hear(&mut hosts, &mut said, now, input)?,
            7 => {
                now += Duration::from_millis(u64::from(input.arbitrary::<u16>()?));
                while let Some(due) = hosts.take_due(now) {
                    if let Due::Gone { name, .. } = due {
                        said.remove(&*name);
                    }
                }
                assert!(hosts.next_due().is_none_or(|due| due > now));
            }
            8 => hosts.was_deaf(now),
            _ => {
                let name = host_name(input)?;
                let reports = hosts
                    .get(&name)
                    .is_some_and(|host| host.presence() == Presence::Reporting);
                assert!(!reports || hosts.forget(&name).is_err());
                if !reports && hosts.forget(&name).is_ok() {
                    assert!(hosts.get(&name).is_none());
                }
            }
        }
        if step % STEPS_UNSEEN == 0 || input.is_empty() {
            check(&hosts, &said, now);
        }
    }
    Ok(())
}

fn hear(
    hosts: &mut Hosts,
    said: &mut Said,
    now: Instant,
    input: &mut Unstructured<'_>,
) -> Result<()> {
    let name = host_name(input)?;
    let routing_id = RoutingIdBytes::from(&[input.int_in_range(0..=3_u8)?][..]);
    let key = match input.int_in_range(0..=3_u8)? {
        0 => None,
        number => Some(PublicKey::from_bytes([number; 32])),
    };
    let kind = if input.ratio(1_u8, 4_u8)? {
        GridKind::Model
    } else {
        GridKind::Metrics
    };
    let (which, value) = (input.arbitrary::<u16>()?, input.arbitrary::<u8>()?);
    let mut json = "{".to_owned();
    for (bit, name) in NAMES.iter().enumerate() {
        if which >> bit & 1 == 1 {
            let name = serde_json::to_string(name).expect("a string");
            let comma = if json.len() > 1 { "," } else { "" };
            let _ = write!(json, "{comma}{name}:{value}");
        }
    }
    json.push('}');
    let grid = Grid::parse(json.as_bytes(), kind).expect("such grids may be sent");
    let families = FamilySet::of(&grid);
    let peer = Peer {
        routing_id: &routing_id,
        key,
        address: Some("192.0.2.1"),
        trust: Trust::New,
    };
    let moved = hosts
        .get(&name)
        .is_none_or(|host| host.routing_id() != Some(&routing_id) || host.key() != key);
    let report = Report {
        host: &name,
        kind,
        grids: vec![Arc::new(grid.clone().into())],
        wire_bytes: json.len(),
    };
    let Ok(heard) = hosts.ingest(now, peer, report) else {
        return Ok(());
    };
    assert_eq!(&*heard.name, name);
    assert_eq!(heard.change.is_some(), moved);
    let all = said.entry(name).or_default();
    if moved {
        all.clear();
    }
    if kind == GridKind::Metrics {
        all.retain(|name, _| !families.contains(Family::of(name)));
        let new = grid
            .iter()
            .map(|(name, _)| (name.to_owned(), f64::from(value)));
        all.extend(new);
    }
    Ok(())
}

/// Few names over and over, and many that come once.
fn host_name(input: &mut Unstructured<'_>) -> Result<String> {
    let number = if input.ratio(3_u8, 4_u8)? {
        u16::from(input.int_in_range(0..=4_u8)?)
    } else {
        u16::from(input.arbitrary::<u8>()?)
    };
    Ok(format!("host-{number}"))
}

fn check(hosts: &Hosts, said: &Said, now: Instant) {
    let mut connections = HashMap::<&RoutingIdBytes, usize>::new();
    let mut keys = HashMap::<PublicKey, usize>::new();
    let mut present = [0; 3];
    for (name, host) in hosts.iter() {
        let place = match host.presence() {
            Presence::Reporting => 0,
            Presence::Expected => 1,
            Presence::Gone => 2,
        };
        present[place] += 1;
        if let Some(id) = host.routing_id() {
            *connections.entry(id).or_default() += 1;
        }
        if let Some(key) = host.key() {
            *keys.entry(key).or_default() += 1;
        }
        let Some(metrics) = host.metrics() else {
            continue;
        };
        assert!(metrics.parts().len() <= 64);
        let mut seen = BTreeMap::new();
        for (name, value) in metrics.iter() {
            assert_eq!(metrics.get(name), Some(value));
            let number = value.as_f64().expect("metrics are numbers");
            assert!(seen.insert(name, number).is_none(), "{name} comes twice");
        }
        // What is not said again is let go of after a while, and nothing else.
        let last = &said[&**name];
        assert!(seen.len() <= last.len());
        for (name, number) in seen {
            assert_eq!(last.get(name), Some(&number), "{name}");
        }
    }
    assert_eq!(present, [hosts.reporting(), hosts.expected(), hosts.gone()]);
    assert!(
        connections
            .values()
            .all(|hosts| *hosts <= MAX_HOSTS_PER_CONNECTION)
    );
    assert!(keys.values().all(|hosts| *hosts <= MAX_HOSTS_PER_KEY));
    let snapshot = hosts.snapshot(now, SystemTime::now());
    assert_eq!(snapshot.hosts.len(), hosts.iter().len());
    assert!(snapshot.hosts.is_sorted_by(|a, b| a.name < b.name));
}
