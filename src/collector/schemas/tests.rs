use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::collector::hosts::{CONNECTION_SHARE, Full, Hosts, Peer, Report, Timing, Trust};
use crate::collector::prometheus::exposition::Exposition;
use crate::collector::prometheus::naming;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::families::FamilySet;
use crate::metrics::table::METRICS;
use crate::protocol::grid::{Grid, Names, Schema, ValueType};
use crate::protocol::message::GridKind;

const TIMING: Timing = Timing {
    ping_interval: Duration::from_secs(5),
    host_timeout: Duration::from_secs(30),
    forget_after: Duration::from_secs(3600),
};

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn schema<'a>(names: impl IntoIterator<Item = &'a str>) -> Schema {
    Names::build(names.into_iter().map(|name| (name, ValueType::Unsigned))).unwrap()
}

/// A schema of about 100 KiB that has nothing in common with others.
fn large(number: usize) -> Schema {
    let names: Vec<_> = (0..1000)
        .map(|name| format!("unit.memory[{}-{number}-{name}]", "x".repeat(50)))
        .collect();
    schema(names.iter().map(String::as_str))
}

fn parsed(json: &serde_json::Value) -> Grid {
    Grid::parse(json.to_string().as_bytes(), GridKind::Model).unwrap()
}

/// Names of the table, with and without an instance, and others.
fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(METRICS).prop_map(|metric| metric.name);
    let any = prop_oneof![
        4 => known.prop_map(str::to_owned),
        1 => "[a-c._\"\\\\é]{1,4}",
        1 => Just("last.seen.timestamp.seconds".to_owned()),
    ];
    (any, prop::option::of("[a-c\"\\]\\[]{0,3}")).prop_map(|(name, instance)| match instance {
        Some(instance) => format!("{name}[{instance}]"),
        None => name,
    })
}

#[derive(Clone, Debug)]
enum Said {
    Unsigned(u64),
    Float(f64),
    Text(String),
}

/// Numbers as they are, and as large as they can be.
fn said() -> impl Strategy<Value = Said> {
    let edge = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    let float = prop_oneof![Just(f64::MAX), Just(-1.5), any::<i32>().prop_map(f64::from)];
    prop_oneof![
        edge.prop_map(Said::Unsigned),
        float.prop_map(Said::Float),
        "[ab\"\\\\\n]{0,5}".prop_map(Said::Text),
    ]
}

/// The same, as a grid of a schema and as one that was parsed.
fn both(metrics: &BTreeMap<String, Said>) -> (HostGrid, HostGrid) {
    let types = metrics.iter().rev().map(|(name, said)| {
        let value = match said {
            Said::Unsigned(_) => ValueType::Unsigned,
            Said::Float(_) => ValueType::Float,
            Said::Text(text) => ValueType::Text(text),
        };
        (name.as_str(), value)
    });
    let described = Arc::new(Described::new(Names::build(types).unwrap()));
    let bits = metrics.values().rev().map(|said| match said {
        Said::Unsigned(number) => Some(*number),
        Said::Float(number) => Some(number.to_bits()),
        Said::Text(_) => Some(1),
    });
    let json = metrics.iter().map(|(name, said)| {
        let value = match said {
            Said::Unsigned(number) => (*number).into(),
            Said::Float(number) => (*number).into(),
            Said::Text(text) => text.as_str().into(),
        };
        (name.clone(), value)
    });
    let json: serde_json::Map<_, _> = json.collect();
    (
        HostGrid::of(&described, bits).unwrap(),
        parsed(&json.into()).into(),
    )
}

fn report(host: &str, grid: HostGrid) -> Report<'_> {
    Report {
        host,
        kind: GridKind::Metrics,
        grids: vec![Arc::new(grid)],
        wire_bytes: 0,
    }
}

fn told(hosts: &mut Hosts, from: &str, grid: HostGrid) -> Result<(), Full> {
    let peer = Peer {
        routing_id: &RoutingIdBytes::from(from.as_bytes()),
        key: Some(key(1)),
        address: Some("::1"),
        trust: Trust::Listed,
    };
    let now = Instant::now();
    hosts.ingest(now, peer, report("web1", grid)).map(|_| ())
}

/// What is scraped of one host that said this.
fn scraped(grid: HostGrid) -> String {
    let mut hosts = Hosts::new(TIMING);
    told(&mut hosts, "A", grid).unwrap();
    let snapshot = hosts.snapshot(Instant::now(), SystemTime::UNIX_EPOCH);
    let mut text = Vec::new();
    let mut exposition = Exposition::begin(snapshot, Vec::new());
    while !exposition.fill(&mut text) {}
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.contains("_timestamp_"));
    lines.collect::<Vec<_>>().join("\n")
}

proptest! {
    /// What follows from the names is the same for a grid of a schema as for a message.
    #[test]
    fn a_grid_of_a_schema_is_reported_as_a_message_is(
        metrics in prop::collection::btree_map(name(), said(), 0..40)
    ) {
        let (ours, parsed) = both(&metrics);
        prop_assert_eq!(&*ours, &*parsed);
        let described = ours.described().unwrap();
        prop_assert_eq!(described.families(), FamilySet::of(&parsed));
        for ((place, metric), (name, value)) in ours.numbered().zip(parsed.iter()) {
            prop_assert_eq!(ours.series(place, metric), naming::series(name, value));
        }
        prop_assert_eq!(scraped(ours), scraped(parsed));
    }

    /// Its weight is known of its names: no less than that of any message, and not much more.
    #[test]
    fn the_weight_of_a_schema_is_that_of_its_largest_message(
        metrics in prop::collection::btree_map(name(), said(), 1..40),
        host in "[a\"]{1,60}",
    ) {
            let (ours, parsed) = both(&metrics);
        let mut least = 0;
        naming::for_each_text(&host, &parsed, |_, bytes| least += bytes);
        let described = ours.described().unwrap();
        let texts = described.texts(&host);
        let weight = texts.total();
        prop_assert!(weight >= least, "{weight} for {least}");
        prop_assert!(weight <= least + 20 * metrics.len(), "{weight} for {least}");
        prop_assert_eq!(texts.families(), described.families());
        prop_assert_eq!(texts.within(described.families()), texts.total());
    }
}

#[test]
fn hosts_with_the_same_schema_share_it() {
    let mut schemas = Schemas::default();
    let one = schemas.describe(Some(key(1)), schema(["mem.free", "cpu.percent"]));
    let two = schemas.describe(Some(key(2)), schema(["mem.free", "cpu.percent"]));
    assert!(Arc::ptr_eq(&one, &two));
    assert_eq!(one.charged_bytes(), 0);
    let other = schemas.describe(Some(key(2)), schema(["cpu.percent", "mem.free"]));
    assert!(!Arc::ptr_eq(&one, &other));
    // In another order, but the same grids.
    let grid = |described, values: [u64; 2]| HostGrid::of(described, values.map(Some)).unwrap();
    assert_eq!(*grid(&one, [1, 2]), *grid(&other, [2, 1]));
    assert!(Arc::ptr_eq(
        grid(&one, [1, 2]).names(),
        grid(&two, [3, 4]).names()
    ));
}

#[test]
fn a_schema_that_nobody_holds_is_let_go() {
    let mut schemas = Schemas::default();
    let held = schemas.describe(Some(key(1)), large(0));
    let one = schemas.bytes();
    let grid = HostGrid::of(
        &schemas.describe(Some(key(1)), large(1)),
        vec![Some(1); 1000],
    )
    .unwrap();
    assert!(schemas.bytes() > one);
    let names: Weak<Names> = Arc::downgrade(grid.names());
    // A grid holds it as well.
    assert!(names.upgrade().is_some());
    drop(grid);
    assert!(names.upgrade().is_none());
    // It is noticed when others have come, and then their room is that of others again.
    for number in 2..1000 {
        drop(schemas.describe(Some(key(1)), large(number)));
        assert!(schemas.bytes() <= MAX_SHARED_BYTES_OF_KEY);
    }
    let again = schemas.describe(Some(key(1)), large(0));
    assert!(Arc::ptr_eq(&held, &again));
    let shared = (0..1000).any(|number| {
        let described = schemas.describe(Some(key(1)), large(10_000 + number));
        described.charged_bytes() == 0
    });
    assert!(shared);
}

#[test]
fn who_makes_up_schemas_is_charged_for_them() {
    let mut schemas = Schemas::default();
    let mut held = Vec::new();
    let mut number = 0;
    let mut take = |schemas: &mut Schemas, by: u8, held: &mut Vec<Arc<Described>>| {
        number += 1;
        held.push(schemas.describe(Some(key(by)), large(number)));
        held.last().unwrap().charged_bytes() == 0
    };
    let one = Described::new(large(0)).bytes();
    while take(&mut schemas, 1, &mut held) {}
    let shared = held.len() - 1;
    assert!(shared * one <= MAX_SHARED_BYTES_OF_KEY);
    assert!((shared + 2) * one > MAX_SHARED_BYTES_OF_KEY);
    assert_eq!(
        held.last().unwrap().charged_bytes(),
        one.max(held.last().unwrap().bytes())
    );
    // Others have room until all is taken, and are then charged, too.
    assert!(take(&mut schemas, 2, &mut held));
    for by in 2..40 {
        while take(&mut schemas, by, &mut held) {}
    }
    assert!(schemas.bytes() <= MAX_SHARED_BYTES);
    assert!(schemas.bytes() > MAX_SHARED_BYTES / 10 * 9);
    let free = held.iter().filter(|held| held.charged_bytes() == 0);
    assert!(free.map(|held| held.bytes()).sum::<usize>() <= MAX_SHARED_BYTES);
    // What is known stays shared.
    let known = schemas.describe(Some(key(99)), large(1));
    assert!(Arc::ptr_eq(&known, &held[0]));
    // They are gone: there is room again.
    held.clear();
    drop(known);
    assert!((0..1000).any(|_| take(&mut schemas, 1, &mut held)));
}

/// A host whose samples have other families each time keeps many of them, each with its names.
#[test]
fn what_is_not_shared_is_a_part_of_what_its_host_takes() {
    let mut schemas = Schemas::default();
    let mut hosts = Hosts::new(TIMING);
    let mut held: Vec<Weak<Described>> = Vec::new();
    let mut most = 0;
    for number in 0..100 {
        let names: Vec<_> = (0..4000)
            .map(|name| format!("made{number}.{}[{name}]", "x".repeat(200)))
            .collect();
        let described = schemas.describe(Some(key(1)), schema(names.iter().map(String::as_str)));
        held.push(Arc::downgrade(&described));
        let grid = HostGrid::of(&described, vec![Some(1); 4000]).unwrap();
        // Its connection may have no more than its share.
        let _ = told(&mut hosts, "A", grid);
        drop(described);
        held.retain(|described| described.strong_count() > 0);
        let bytes = held.iter().filter_map(Weak::upgrade);
        let bytes: usize = bytes.map(|described| described.bytes()).sum();
        assert!(bytes <= CONNECTION_SHARE.memory + MAX_SHARED_BYTES_OF_KEY);
        most = most.max(bytes);
    }
    // Some was shared and some was not.
    assert!(most > MAX_SHARED_BYTES_OF_KEY, "{most}");
}
