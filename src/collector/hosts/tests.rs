use super::*;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::grid::Value;

use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const TIMING: Timing = Timing {
    ping_interval: Duration::from_secs(5),
    host_timeout: Duration::from_secs(30),
    forget_after: Duration::from_secs(3600),
};

mod absent;
mod clones;
mod machines;
mod networks;
mod shares;

fn id(text: &str) -> RoutingIdBytes {
    RoutingIdBytes::from(text.as_bytes())
}

fn peer(routing_id: &RoutingIdBytes) -> Peer<'_> {
    Peer {
        routing_id,
        key: None,
        address: None,
        trust: Trust::New,
    }
}

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn grid(text: &str, kind: GridKind) -> Grid {
    Grid::parse(text.as_bytes(), kind).unwrap()
}

/// What became of a report: its change, and whether the model is to be asked for.
fn ingest(
    hosts: &mut Hosts,
    now: Instant,
    from: &str,
    host: &str,
    kind: GridKind,
) -> (Option<Change>, bool) {
    let report = Report {
        host,
        kind,
        grids: vec![Arc::new(grid(r#"{"sys.uptime": 1.5}"#, kind).into())],
        wire_bytes: 19,
    };
    let heard = hosts.ingest(now, peer(&id(from)), report).unwrap();
    (heard.change, heard.ask_model)
}

fn metrics(hosts: &mut Hosts, now: Instant, from: &str, host: &str) -> (Option<Change>, bool) {
    ingest(hosts, now, from, host, GridKind::Metrics)
}

fn model(hosts: &mut Hosts, now: Instant, from: &str, host: &str) -> (Option<Change>, bool) {
    ingest(hosts, now, from, host, GridKind::Model)
}

/// Everything due at `now`: connections pinged, and hosts gone.
fn due(hosts: &mut Hosts, now: Instant) -> (Vec<String>, Vec<String>) {
    let (mut pinged, mut gone) = (Vec::new(), Vec::new());
    while let Some(due) = hosts.take_due(now) {
        match due {
            Due::Ping { to, .. } => pinged.push(to.to_string()),
            Due::Gone { name, .. } => gone.push(name.to_string()),
            other => panic!("{other:?}"),
        }
    }
    (pinged, gone)
}

#[test]
fn the_model_of_an_unknown_host_is_asked_for_once_in_5_s() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let appeared = Some(Change::Appeared);
    assert_eq!(metrics(&mut hosts, start, "A", "web1"), (appeared, true));
    let within = start + Duration::from_millis(4_999);
    assert_eq!(metrics(&mut hosts, within, "A", "web1"), (None, false));
    let after = start + MODEL_MIN_INTERVAL;
    assert_eq!(metrics(&mut hosts, after, "A", "web1"), (None, true));
    assert_eq!(model(&mut hosts, after, "A", "web1"), (None, false));
    let later = start + 60 * SECOND;
    assert_eq!(metrics(&mut hosts, later, "A", "web1"), (None, false));
    assert_eq!(hosts.get("web1").unwrap().messages(), 5);
    assert_eq!(hosts.get("web1").unwrap().since(), start);
    assert_eq!(hosts.get("web1").unwrap().last_seen(), later);
}

#[test]
fn what_a_host_said_last_is_kept() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for (text, kind) in [
        (r#"{"a": 1}"#, GridKind::Metrics),
        (r#"{"a": 2}"#, GridKind::Metrics),
        (r#"{"os": "x"}"#, GridKind::Model),
    ] {
        let report = Report {
            host: "web1",
            kind,
            grids: vec![Arc::new(grid(text, kind).into())],
            wire_bytes: text.len(),
        };
        hosts.ingest(now, peer(&id("A")), report).unwrap();
    }
    let host = hosts.get("web1").unwrap();
    assert_eq!(host.metrics().unwrap().get("a"), Some(Value::Unsigned(2)));
    assert_eq!(
        ***host.model().unwrap(),
        grid(r#"{"os": "x"}"#, GridKind::Model)
    );
    assert_eq!(hosts.kept.memory, 8 + 24 + 11 + 24);
}

/// Another connection, which had this key before if that was another one.
pub(super) fn replaced(key_before: Option<PublicKey>) -> Change {
    Change::Replaced {
        tell: Some(0),
        key_before,
    }
}

#[test]
fn a_name_on_another_connection_moves_there() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    // There was no request over the new connection, and the old model may be another's.
    assert_eq!(
        metrics(&mut hosts, start, "B", "web1"),
        (Some(replaced(None)), true)
    );
    let host = hosts.get("web1").unwrap();
    assert_eq!(host.routing_id(), Some(&id("B")));
    assert!(host.model().is_none());
    assert_eq!(hosts.reporting(), 1);
    let (pinged, gone) = due(&mut hosts, start + 5 * SECOND);
    assert_eq!((pinged, gone), (vec!["B".to_owned()], vec![]));
    assert_eq!(hosts.peers.hosts(), (1, 0));
}

#[test]
fn two_hosts_of_one_name_are_told_of_once_a_minute() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    let mut asked = 0;
    let mut told = Vec::new();
    for second in 0..61 {
        let from = if second % 2 == 0 { "B" } else { "A" };
        let now = start + second * SECOND;
        let (change, ask) = metrics(&mut hosts, now, from, "web1");
        let Some(Change::Replaced { tell, .. }) = change else {
            panic!("{change:?}");
        };
        asked += u32::from(ask);
        told.extend(tell.map(|untold| (second, untold)));
    }
    assert_eq!(told, [(0, 0), (60, 59)]);
    assert_eq!(asked, 13);
}

#[test]
fn a_silent_host_goes_after_the_time_out() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    model(&mut hosts, start + 10 * SECOND, "B", "web2");
    let (_, gone) = due(&mut hosts, start + Duration::from_millis(29_999));
    assert_eq!(gone, [""; 0]);
    let (_, gone) = due(&mut hosts, start + 30 * SECOND);
    assert_eq!(gone, ["web1"]);
    metrics(&mut hosts, start + 39 * SECOND, "B", "web2");
    let (_, gone) = due(&mut hosts, start + 68 * SECOND);
    assert_eq!(gone, [""; 0]);
    let end = start + 69 * SECOND;
    match hosts.take_due(end) {
        Some(Due::Gone {
            name,
            routing_id,
            silence,
        }) => {
            assert_eq!(
                (&*name, routing_id, silence),
                ("web2", Some(id("B")), 30 * SECOND)
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((hosts.reporting(), hosts.gone()), (0, 2));
    assert_eq!((hosts.kept.memory, hosts.peers.hosts()), (0, (0, 0)));
    // Coming back, it is a new one.
    assert_eq!(
        metrics(&mut hosts, end, "B", "web2"),
        (Some(Change::Appeared), true)
    );
    assert_eq!((hosts.reporting(), hosts.gone()), (1, 1));
}

#[test]
fn a_deaf_collector_drops_no_host() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    model(&mut hosts, start, "A", "web1");
    let awake = start + 300 * SECOND;
    hosts.was_deaf(awake);
    let (pinged, gone) = due(&mut hosts, awake);
    assert_eq!((pinged.len(), gone.len()), (1, 0));
    let (_, gone) = due(&mut hosts, awake + 29 * SECOND);
    assert_eq!(gone.len(), 0);
    let (_, gone) = due(&mut hosts, awake + 30 * SECOND);
    assert_eq!(gone, ["web1"]);
}

/// A receipt is as good as a ping.
#[test]
fn a_host_that_was_told_something_is_pinged_later() {
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    metrics(&mut hosts, start, "A", "web1");
    for beat in 1..=3 {
        let now = start + beat * 5 * SECOND;
        hosts.told(
            start + beat * 5 * SECOND.saturating_sub(SECOND / 50),
            "web1",
        );
        metrics(&mut hosts, now, "A", "web1");
        assert_eq!(due(&mut hosts, now), (vec![], vec![]));
    }
    // As soon as it is told nothing, it is pinged.
    let silent = start + 22 * SECOND;
    assert_eq!(due(&mut hosts, silent), (vec!["A".to_owned()], vec![]));
    hosts.told(silent, "unknown.example.org");
}

/// A fleet that comes at once is pinged evenly, each host once an interval, and stays so
/// after a time in which nothing ran.
#[test]
fn pings_are_spread_and_keep_their_beat() {
    const HOSTS: usize = 1000;
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for number in 0..HOSTS {
        model(
            &mut hosts,
            start,
            &number.to_string(),
            &format!("web{number}"),
        );
    }
    let step = Duration::from_millis(50);
    let count = |hosts: &mut Hosts, now: Instant| {
        for number in 0..HOSTS {
            metrics(hosts, now, &number.to_string(), &format!("web{number}"));
        }
        let mut pinged = HashMap::<_, u32>::new();
        for beat in 1..=100_u32 {
            let (now_pinged, gone) = due(hosts, now + beat * step);
            assert_eq!(gone, [""; 0]);
            assert!(
                (8..=12).contains(&now_pinged.len()),
                "{} of {HOSTS} in 50 ms of 5 s",
                now_pinged.len()
            );
            for to in now_pinged {
                *pinged.entry(to).or_default() += 1;
            }
        }
        assert_eq!(pinged.len(), HOSTS);
        assert!(pinged.values().all(|pings| *pings == 1));
    };
    count(&mut hosts, start);
    count(&mut hosts, start + 5 * SECOND);
    let awake = start + 1003 * SECOND;
    hosts.was_deaf(awake);
    let (pinged, gone) = due(&mut hosts, awake);
    assert_eq!((pinged.len(), gone.len()), (HOSTS, 0));
    count(&mut hosts, awake);
}

#[test]
fn one_connection_cannot_fill_the_table() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for number in 0..MAX_HOSTS_PER_CONNECTION {
        metrics(&mut hosts, now, "A", &number.to_string());
    }
    model(&mut hosts, now, "B", "web1");
    let full = |hosts: &mut Hosts, host| {
        let report = Report {
            host,
            kind: GridKind::Metrics,
            grids: vec![Arc::new(Grid::default().into())],
            wire_bytes: 2,
        };
        hosts
            .ingest(now, peer(&id("A")), report)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(full(&mut hosts, "one more"), Full::Connection);
    // Nor take another's name.
    assert_eq!(full(&mut hosts, "web1"), Full::Connection);
    assert_eq!(hosts.get("web1").unwrap().routing_id(), Some(&id("B")));
    assert!(hosts.get("web1").unwrap().model().is_some());
    assert_eq!(hosts.reporting(), MAX_HOSTS_PER_CONNECTION + 1);
    assert_eq!(metrics(&mut hosts, now, "A", "7"), (None, false));
    assert_eq!(
        hosts.kept.memory,
        (MAX_HOSTS_PER_CONNECTION + 1) * (19 + 24)
    );
}

#[test]
fn grids_are_bounded_together() {
    /// As large as one connection may make it.
    const WIRE_BYTES: usize = CONNECTION_SHARE.memory - 1000;
    const HOSTS: usize = MAX_KEPT.memory / WIRE_BYTES;
    let start = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    let say = |hosts: &mut Hosts, now, host: usize, wire_bytes| {
        let report = Report {
            host: &host.to_string(),
            kind: GridKind::Model,
            grids: vec![Arc::new(grid(r#"{"a": 1}"#, GridKind::Model).into())],
            wire_bytes,
        };
        hosts
            .ingest(now, peer(&id(&host.to_string())), report)
            .map(|heard| heard.change)
    };
    let appeared = Ok(Some(Change::Appeared));
    for host in 0..HOSTS {
        assert_eq!(say(&mut hosts, start, host, WIRE_BYTES), appeared);
        assert_eq!(hosts.may_refuse(), host + 1 > HOSTS / 4 * 3);
    }
    let one_more = say(&mut hosts, start, HOSTS, WIRE_BYTES);
    assert_eq!(one_more, Err(Full::Memory));
    assert_eq!(hosts.reporting(), HOSTS);
    // What replaces its like has room.
    assert_eq!(say(&mut hosts, start, 0, WIRE_BYTES), Ok(None));
    // A host that is refused for its size is alive.
    let later = start + 20 * SECOND;
    let larger = say(&mut hosts, later, 0, 2 * WIRE_BYTES);
    assert_eq!(larger, Err(Full::Memory));
    let (_, gone) = due(&mut hosts, start + 30 * SECOND);
    assert_eq!(gone.len(), HOSTS - 1);
    assert!(!gone.contains(&"0".to_owned()));
    assert_eq!(say(&mut hosts, later, HOSTS, WIRE_BYTES), appeared);
}

#[test]
fn the_table_is_bounded() {
    let now = Instant::now();
    let mut hosts = Hosts::new(TIMING);
    for number in 0..MAX_HOSTS {
        let from = (number / MAX_HOSTS_PER_CONNECTION).to_string();
        metrics(&mut hosts, now, &from, &number.to_string());
        // Agents are told beforehand.
        assert_eq!(hosts.may_refuse(), number + 1 >= MAX_HOSTS / 4 * 3);
    }
    let report = Report {
        host: "one more",
        kind: GridKind::Metrics,
        grids: vec![Arc::new(Grid::default().into())],
        wire_bytes: 2,
    };
    let refused = hosts
        .ingest(now, peer(&id("Z")), report)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused, Full::Hosts);
    assert_eq!(metrics(&mut hosts, now, "0", "7"), (None, false));
}

/// What is done to the table.
#[derive(Clone, Debug)]
enum Step {
    Report { from: u8, host: u8, kind: GridKind },
    Wait { millis: u64 },
    Deaf,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(GridKind::Metrics), Just(GridKind::Model)];
    prop_oneof![
        6 => (0..4_u8, 0..6_u8, kind).prop_map(|(from, host, kind)| Step::Report { from, host, kind }),
        4 => (0..12_000_u64).prop_map(|millis| Step::Wait { millis }),
        1 => Just(Step::Deaf),
    ]
}

/// The same table, told in the plainest way.
#[derive(Debug)]
struct Plain {
    from: u8,
    model: bool,
    heard: Instant,
    asked: Option<Instant>,
    came: Instant,
    pinged: Option<Instant>,
}

proptest! {
    /// Against a plain model of it: who is there, on which connection, who is asked, who
    /// goes and when, and that every host is pinged once an interval.
    #[test]
    fn it_keeps_what_the_protocol_says(steps in prop::collection::vec(step(), 1..200)) {
        let mut now = Instant::now();
        let mut hosts = Hosts::new(TIMING);
        let mut plain = HashMap::<u8, Plain>::new();
        for step in steps {
            match step {
                Step::Report { from, host, kind } => {
                    let known = plain.get(&host).map(|host| host.from);
                    let (change, ask) =
                        ingest(&mut hosts, now, &from.to_string(), &host.to_string(), kind);
                    match known {
                        None => prop_assert_eq!(change, Some(Change::Appeared)),
                        Some(known) if known == from => prop_assert_eq!(change, None),
                        Some(_) => {
                            let replaced = matches!(change, Some(Change::Replaced { .. }));
                            prop_assert!(replaced, "{:?}", change);
                        }
                    }
                    let entry = plain.entry(host).or_insert(Plain {
                        from, model: false, heard: now, asked: None, came: now, pinged: None,
                    });
                    entry.model = (entry.model && entry.from == from) || kind == GridKind::Model;
                    (entry.from, entry.heard) = (from, now);
                    let due = entry.asked.is_none_or(|asked| now - asked >= MODEL_MIN_INTERVAL);
                    prop_assert_eq!(ask, !entry.model && due);
                    if ask {
                        entry.asked = Some(now);
                    }
                }
                Step::Wait { millis } => {
                    let until = now + Duration::from_millis(millis);
                    while let Some(next) = hosts.next_due().filter(|next| *next <= until) {
                        // An entry whose host was heard from may be old news.
                        now = now.max(next);
                        while let Some(due) = hosts.take_due(now) {
                            match due {
                                Due::Ping { name, to } => {
                                    let host = plain.get_mut(&name.parse().unwrap()).unwrap();
                                    prop_assert_eq!(to.to_string(), host.from.to_string());
                                    match host.pinged.replace(now) {
                                        Some(last) => {
                                            prop_assert_eq!(now - last, TIMING.ping_interval);
                                        }
                                        None => prop_assert!(now - host.came < TIMING.ping_interval),
                                    }
                                }
                                Due::Gone { name, silence, .. } => {
                                    let gone = plain.remove(&name.parse().unwrap()).unwrap();
                                    prop_assert!(now - gone.heard >= TIMING.host_timeout);
                                    prop_assert!(silence >= TIMING.host_timeout);
                                }
                                // Without a key no host is taken for another.
                                Due::Renamed(renamed) => unreachable!("{renamed:?}"),
                                Due::Forgotten(host) => {
                                    prop_assert!(!plain.contains_key(&host.name.parse().unwrap()));
                                }
                            }
                        }
                    }
                    now = until;
                    for host in plain.values() {
                        prop_assert!(now - host.heard < TIMING.host_timeout);
                        let pinged = host.pinged.unwrap_or(host.came);
                        prop_assert!(now - pinged < TIMING.ping_interval);
                    }
                }
                Step::Deaf => {
                    hosts.was_deaf(now);
                    for host in plain.values_mut() {
                        host.heard = now;
                    }
                }
            }
            prop_assert_eq!(hosts.reporting(), plain.len());
            prop_assert_eq!(hosts.agenda.len() + hosts.gone.len(), hosts.table.len());
            prop_assert_eq!(hosts.peers.hosts(), (plain.len(), 0));
            let kept: usize = hosts.iter().map(|(_, host)| host.kept_bytes()).sum();
            prop_assert_eq!(hosts.kept.memory, kept);
            for (name, host) in hosts.iter() {
                let entry = (host.place, Arc::clone(name));
                let Some(routing_id) = host.routing_id() else {
                    prop_assert!(hosts.gone.contains(&entry));
                    prop_assert!(!plain.contains_key(&name.parse().unwrap()));
                    continue;
                };
                prop_assert!(hosts.agenda.contains(&entry));
                let plain = &plain[&name.parse().unwrap()];
                prop_assert_eq!(routing_id.to_string(), plain.from.to_string());
                prop_assert_eq!(host.model().is_some(), plain.model);
                prop_assert!(hosts.knows(routing_id, None));
            }
        }
    }
}
