//! The table as plain text, once: for scripts and for those who have no terminal.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::connection::Connection;
use super::link::{Status, Trouble};
use super::model::readings::Fullest;
use super::model::{Fleet, Host};
use super::run::take_message;
use super::sort::{Column, sorted};
use crate::base::columns;
use crate::base::quantity::{NONE, load, percent, short_span, size, temperature, whole};
use crate::base::text::shown as clean;

/// Models come one after the other when hello is answered; none for this long means that
/// there are no more.
const QUIET: Duration = Duration::from_millis(500);

/// A collector reads its list of viewers again within a second of a change: one that refuses
/// a key for longer does not let it in.
const LIST_READ_AGAIN: Duration = Duration::from_millis(1500);

/// Why there is no table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub Option<Trouble>);

/// Waits until every host that is known has reported, its file systems too, or for `wait` at
/// most.
///
/// # Errors
///
/// There was no link to the collector in that time, or it was lost before any host was known.
pub async fn gather(connection: &mut Connection, wait: Duration) -> Result<Fleet, Unavailable> {
    let start = Instant::now();
    let end = start + wait;
    let mut fleet = Fleet::default();
    let mut grown = start;
    let mut connected = false;
    let mut trouble = None;
    let mut refusals = Refusals::default();
    loop {
        let now = Instant::now();
        match connection.status() {
            Status::Connected => connected = true,
            Status::Waiting(why, until) => {
                trouble = Some(why.clone());
                let refused = *why == Trouble::KeyRefused;
                // Waiting cannot help.
                if why.is_final() && (!refused || refusals.note(until, now)) {
                    return Err(Unavailable(trouble));
                }
            }
            Status::Connecting(_) => {}
        }
        if now >= end || is_complete(&fleet, grown, now) {
            break;
        }
        let look_again = end.min(now + QUIET);
        let happened = timeout_at(look_again.into(), connection.happens()).await;
        if let Ok(happened) = happened {
            let now = Instant::now();
            if let Some(received) = connection.take(happened, now) {
                let before = fleet.hosts().len();
                // Counted; the others are shown.
                let _ = take_message(&mut fleet, now, &received);
                if fleet.hosts().len() > before {
                    grown = now;
                }
            }
        }
    }
    let is_up = matches!(connection.status(), Status::Connected);
    if is_up || connected && fleet.hosts().len() > 0 {
        Ok(fleet)
    } else {
        Err(Unavailable(trouble))
    }
}

/// How often this key was refused.
#[derive(Debug, Default)]
struct Refusals {
    /// When it was first.
    first: Option<Instant>,
    /// The wait that the last one began.
    last: Option<Instant>,
}

impl Refusals {
    /// Records a wait until then because the key was refused. Returns true if it was refused
    /// although the list was read meanwhile.
    fn note(&mut self, until: Instant, now: Instant) -> bool {
        let first = *self.first.get_or_insert(now);
        let is_another = self.last.replace(until) != Some(until);
        is_another && now.saturating_duration_since(first) >= LIST_READ_AGAIN
    }
}

fn is_complete(fleet: &Fleet, grown: Instant, now: Instant) -> bool {
    let counts = fleet.counts(now);
    let is_there = |host: &Host| !host.owes_file_systems();
    counts.reporting > 0
        && counts.waiting == 0
        && now.saturating_duration_since(grown) >= QUIET
        && fleet.hosts().all(is_there)
}

/// The columns.
const HEADINGS: [&str; 15] = [
    "HOST", "STATE", "AGE", "CPU", "MEMORY", "DISK", "SWAP", "LOAD", "PRESSURE", "RX/s", "TX/s",
    "TEMP", "FAIL", "UP", "AGENT",
];

/// What is left out first where there is no room for all columns, after those without any value.
const SPARED: [&str; 12] = [
    "AGENT", "AGE", "PRESSURE", "TEMP", "UP", "FAIL", "TX/s", "RX/s", "SWAP", "LOAD", "DISK",
    "MEMORY",
];

/// A longer name moves what stands behind it, in its own line.
const WIDEST_NAME: usize = 64;

/// The table, a line for each host under one of headings. Values are as the screen has them.
/// Where `room` says how wide a terminal is, no line is wider.
#[must_use]
pub fn table(fleet: &Fleet, filter: &str, sort: Column, now: Instant, room: Option<u16>) -> String {
    let as_of = fleet.as_of(now);
    let rows = sorted(fleet.hosts(), filter, sort, false, as_of);
    let mut lines = vec![HEADINGS.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|host| cells(host, as_of, now)));
    let mut widths = columns::widths(&lines);
    if let Some(names) = widths.first_mut() {
        // The name of one host takes no room from all others.
        let taken = lines.iter().filter_map(|line| line.first());
        let taken = taken.map(|name| columns::width(name));
        *names = taken
            .filter(|width| *width <= WIDEST_NAME)
            .max()
            .unwrap_or(0);
    }
    let Some(room) = room.map(usize::from) else {
        return columns::table_of(&lines, &widths);
    };
    let mut spared = SPARED;
    spared.sort_by_key(|heading| has_value(&lines, heading));
    columns::leave_out(&mut lines, &mut widths, room, &spared);
    let text = columns::table_of(&lines, &widths);
    let cut = text
        .lines()
        .filter_map(|line| columns::pieces(line, room).first().copied());
    cut.flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// Returns true if the column with this heading says something of some host.
fn has_value(lines: &[Vec<String>], heading: &str) -> bool {
    let Some((headings, hosts)) = lines.split_first() else {
        return false;
    };
    let at = headings.iter().position(|found| found == heading);
    let cells = hosts.iter().filter_map(|cells| cells.get(at?));
    cells.into_iter().any(|cell| cell != NONE)
}

fn cells(host: &Host, as_of: Instant, now: Instant) -> Vec<String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let pressure = |(resource, share): (&str, f64)| format!("{}({resource})", percent(share));
    let disk = |disk: &Fullest| {
        let mount = clean(&disk.mount);
        if disk.stuck {
            format!("stuck({mount})")
        } else {
            format!("{}({mount})", or_none(disk.used.map(percent)))
        }
    };
    let mut cells = vec![
        clean(&host.name).into_owned(),
        host.state(as_of).as_str().to_owned(),
        or_none(host.age(now).map(|age| short_span(age.as_secs_f64()))),
    ];
    cells.extend(
        [
            host.cpu.busy.map(percent),
            host.memory.used().map(percent),
            host.disk.fullest.as_ref().map(disk),
            host.memory.swap_used().map(percent),
            host.tasks.load.map(load),
            host.tasks.pressure.map(pressure),
            host.network.received.map(size),
            host.network.sent.map(size),
            host.temperature.map(temperature),
            host.failed.map(whole),
            host.uptime.map(short_span),
            host.software
                .agent
                .as_deref()
                .map(|agent| clean(agent).into_owned()),
        ]
        .map(or_none),
    );
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use crate::protocol::message::GridKind;
    use proptest::prelude::*;

    #[test]
    fn the_table_has_a_line_for_each_host() {
        let now = Instant::now();
        let mut fleet = Fleet::default();
        let metrics = r#"{"cpu.percent":42.4,"mem.avail":500,"load.1m":0.5,"sys.uptime":90000,
            "pressure.some.avg10[io]":3.2,"systemd.jobs":0,"sensor.temperature[a/b]":47.6,
            "fs.size[/]":100,"fs.free[/]":50,"fs.avail[/]":50}"#;
        for (host, kind, json) in [
            (
                "web1",
                GridKind::Model,
                r#"{"mem.total":1000,"agent.version":"1.2.3"}"#,
            ),
            ("web1", GridKind::Metrics, metrics),
            ("db1.example.org", GridKind::Model, "{}"),
        ] {
            fleet.take(now, host, kind, json.as_bytes()).unwrap();
        }
        let gone = br#"{"state":"gone","last_seen":1000,"since":1030}"#;
        let wall = 1000.0 + 16.5 * 3600.0;
        fleet.take_state(now, wall, "db2", gone).unwrap();
        assert_eq!(
            table(&fleet, "", Column::Age, now, None),
            "\
HOST             STATE      AGE  CPU  MEMORY  DISK    SWAP  LOAD  PRESSURE  RX/s  TX/s  TEMP  FAIL  UP  AGENT
db2              gone       16h  -    -       -       -     -     -         -     -     -     -     -   -
web1             reporting  0s   42%  50%     50%(/)  -     0.50  3%(io)    -     -     48    0     1d  1.2.3
db1.example.org  waiting    -    -    -       -       -     -     -         -     -     -     -     -   -
"
        );
        let of_db = table(&fleet, "db", Column::Cpu, now, None);
        assert_eq!(of_db.lines().count(), 3);
        // A terminal has no line that is wider.
        for columns in 1..120 {
            let text = table(&fleet, "", Column::Age, now, Some(columns));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(columns.into()), "{columns}: {text}");
        }
        // A character of two columns counts as two.
        fleet.take(now, "世界", GridKind::Model, b"{}").unwrap();
        let text = table(&fleet, "", Column::Age, now, None);
        let wide = text.lines().find(|line| line.starts_with("世界")).unwrap();
        assert!(wide.starts_with("世界             waiting "), "{text}");
        // A name of one does not spread the others.
        let before = table(&fleet, "web1", Column::Age, now, None);
        let long = "x".repeat(255);
        fleet.take(now, &long, GridKind::Model, b"{}").unwrap();
        let text = table(&fleet, "", Column::Age, now, None);
        let web1 = before.lines().last().unwrap();
        let found = text.lines().find(|line| line.starts_with("web1 ")).unwrap();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(words(found), words(web1));
        assert!(found.len() < 130, "{found}");
        assert!(text.contains(&long));
        let of_80 = table(&fleet, "", Column::Age, now, Some(80));
        let head = of_80.lines().next().unwrap();
        assert_eq!(
            head.split_whitespace().collect::<Vec<_>>().join(" "),
            "HOST STATE CPU MEMORY DISK LOAD PRESSURE TEMP FAIL UP"
        );
    }

    #[test]
    fn it_is_complete_once_all_who_are_known_have_reported() {
        let start = Instant::now();
        let mut fleet = Fleet::default();
        let later = start + QUIET;
        assert!(!is_complete(&fleet, start, later));
        fleet.take(start, "a", GridKind::Model, b"{}").unwrap();
        assert!(!is_complete(&fleet, start, later));
        fleet.take(start, "a", GridKind::Metrics, b"{}").unwrap();
        assert!(!is_complete(&fleet, start, start));
        assert!(is_complete(&fleet, start, later));
    }

    #[test]
    fn file_systems_are_waited_for_where_an_agent_reads_some() {
        let start = Instant::now();
        let later = start + QUIET;
        let take = |fleet: &mut Fleet, kind, json: &str| {
            fleet.take(start, "a", kind, json.as_bytes()).unwrap();
        };
        let begun = || {
            let mut fleet = Fleet::default();
            take(&mut fleet, GridKind::Model, r#"{"agent.version":"1"}"#);
            take(&mut fleet, GridKind::Metrics, r#"{"cpu.percent":1}"#);
            assert!(!is_complete(&fleet, start, later));
            fleet
        };
        // None that could be the fullest, but they came.
        let mut fleet = begun();
        take(&mut fleet, GridKind::Metrics, r#"{"fs.readonly[/]":1}"#);
        assert!(is_complete(&fleet, start, later));
        // It says what it reads.
        let reads = |name| format!(r#"{{"agent.source.time.total[{name}]":1}}"#);
        let mut fleet = begun();
        take(&mut fleet, GridKind::Metrics, &reads("filesystem"));
        assert!(!is_complete(&fleet, start, later));
        let mut fleet = begun();
        take(&mut fleet, GridKind::Metrics, &reads("cpu"));
        assert!(is_complete(&fleet, start, later));
        // What is gone owes nothing.
        let gone = br#"{"state":"gone","last_seen":1000,"since":1030}"#;
        let mut fleet = begun();
        fleet.take_state(start, 2000.0, "a", gone).unwrap();
        fleet.take(start, "b", GridKind::Metrics, b"{}").unwrap();
        assert!(is_complete(&fleet, start, later));
    }

    #[test]
    fn a_key_is_refused_once_the_list_was_read_again() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut refusals = Refusals::default();
        assert!(!refusals.note(at(900), start));
        // The same wait, looked at again.
        assert!(!refusals.note(at(900), at(1600)));
        let mut refusals = Refusals::default();
        assert!(!refusals.note(at(500), start));
        assert!(!refusals.note(at(1600), at(600)));
        assert!(refusals.note(at(4000), at(1700)));
    }

    proptest! {
        #[test]
        fn no_host_does_anything_to_a_terminal(text in hostile::texts()) {
            let now = Instant::now();
            let mut fleet = Fleet::default();
            // A collector that lets anything pass.
            let _ = fleet.take(now, &text, GridKind::Metrics, b"{}");
            hostile::assert_harmless(&table(&fleet, "", Column::Cpu, now, Some(80)));
        }
    }
}
