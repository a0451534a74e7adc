//! The columns of the table of hosts, and the order that each gives. Pure.

use std::cmp::Ordering;
use std::time::Instant;

use clap::ValueEnum;

use super::health::worst;
use super::model::{Host, State};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// The host's name
    Name,
    /// What is worst about it: hosts in trouble first
    State,
    /// Since its last message
    Age,
    /// CPU time
    Cpu,
    /// Memory in use
    Memory,
    /// The fullest file system
    Disk,
    /// Swap space in use
    Swap,
    /// Load average over one minute
    Load,
    /// The resource that tasks wait for most
    Pressure,
    /// Bytes received a second
    Received,
    /// Bytes sent a second
    Sent,
    /// The hottest sensor
    Temperature,
    /// Units that have failed
    Failed,
    /// Time since boot
    Uptime,
    /// The agent's version
    Agent,
    /// The operating system
    System,
}

impl Column {
    /// All of them, in the order of the screen.
    pub const ALL: [Self; 16] = [
        Self::Name,
        Self::State,
        Self::Age,
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Swap,
        Self::Load,
        Self::Pressure,
        Self::Received,
        Self::Sent,
        Self::Temperature,
        Self::Failed,
        Self::Uptime,
        Self::Agent,
        Self::System,
    ];

    /// Its heading.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Name => "HOST",
            Self::State => "STATE",
            Self::Age => "AGE",
            Self::Cpu => "CPU",
            Self::Memory => "MEM",
            Self::Disk => "DISK",
            Self::Swap => "SWAP",
            Self::Load => "LOAD",
            Self::Pressure => "PRESSURE",
            Self::Received => "RX/s",
            Self::Sent => "TX/s",
            Self::Temperature => "TEMP",
            Self::Failed => "FAIL",
            Self::Uptime => "UP",
            Self::Agent => "AGENT",
            Self::System => "SYSTEM",
        }
    }

    /// The key that sorts by it.
    #[must_use]
    pub fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::State => 's',
            Self::Age => 'a',
            Self::Cpu => 'c',
            Self::Memory => 'm',
            Self::Disk => 'd',
            Self::Swap => 'w',
            Self::Load => 'l',
            Self::Pressure => 'p',
            Self::Received => 'i',
            Self::Sent => 'o',
            Self::Temperature => 't',
            Self::Failed => 'f',
            Self::Uptime => 'u',
            Self::Agent => 'v',
            Self::System => 'y',
        }
    }

    /// The next one, or the one before.
    #[must_use]
    pub fn neighbour(self, forward: bool) -> Self {
        let at = Self::ALL.iter().position(|column| *column == self);
        let step = if forward { 1 } else { Self::ALL.len() - 1 };
        let next = (at.unwrap_or(0) + step) % Self::ALL.len();
        Self::ALL.get(next).copied().unwrap_or(self)
    }

    /// Returns true if it has text, which is sorted in ascending order, not numbers.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Name | Self::Agent | Self::System)
    }

    /// A host's value; None sorts last. What a host said that is not there any more counts no
    /// longer.
    fn value(self, host: &Host, as_of: Instant) -> Option<f64> {
        match self {
            Self::State => return Some(worst(host, as_of).rank().into()),
            Self::Age => return host.age(as_of).map(|age| age.as_secs_f64()),
            _ if host.state(as_of) > State::Expected => return None,
            _ => {}
        }
        match self {
            Self::Name | Self::State | Self::Age | Self::Agent | Self::System => None,
            Self::Cpu => host.cpu.busy,
            Self::Memory => host.memory.used(),
            // One that does not answer may be as full as they come.
            Self::Disk => host.disk.fullest.as_ref().map(|disk| {
                let used = disk.used.unwrap_or(0.0);
                if disk.stuck { f64::INFINITY } else { used }
            }),
            Self::Swap => host.memory.swap_used(),
            Self::Load => host.tasks.load,
            Self::Pressure => host.tasks.pressure.map(|(_, share)| share),
            Self::Received => host.network.received,
            Self::Sent => host.network.sent,
            Self::Temperature => host.temperature,
            #[expect(clippy::cast_precision_loss, reason = "a number of units")]
            Self::Failed => host.failed.map(|failed| failed as f64),
            Self::Uptime => host.uptime,
        }
    }

    fn text(self, host: &Host) -> Option<&str> {
        match self {
            Self::Agent => host.software.agent.as_deref(),
            Self::System => host.software.system.as_deref(),
            _ => None,
        }
    }
}

/// The hosts with `filter` in their names, sorted by what was known of them at that time:
/// texts from the first, all else from the largest, or the other way round; and by name where
/// that leaves several. What is not known comes last either way.
#[must_use]
pub fn sorted<'a>(
    hosts: impl Iterator<Item = &'a Host>,
    filter: &str,
    column: Column,
    reversed: bool,
    as_of: Instant,
) -> Vec<&'a Host> {
    let filter = filter.to_lowercase();
    let mut rows: Vec<(Option<f64>, &Host)> = hosts
        .filter(|host| filter.is_empty() || host.name.to_lowercase().contains(&filter))
        .map(|host| (column.value(host, as_of), host))
        .collect();
    let turned = |order: Ordering| if reversed { order.reverse() } else { order };
    rows.sort_unstable_by(|(one, a), (other, b)| {
        let names = a.name.cmp(&b.name);
        if column == Column::Name {
            return turned(names);
        }
        let values = if column.is_text() {
            known_first(column.text(a), column.text(b), |one, other| {
                turned(one.cmp(other))
            })
        } else {
            known_first(*one, *other, |one, other| turned(other.total_cmp(&one)))
        };
        values.then(names)
    });
    rows.into_iter().map(|(_, host)| host).collect()
}

fn known_first<T>(
    one: Option<T>,
    other: Option<T>,
    order: impl FnOnce(T, T) -> Ordering,
) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => order(one, other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;
    use crate::top::model::Fleet;

    fn fleet(now: Instant) -> Fleet {
        let mut fleet = Fleet::default();
        for (name, json) in [
            ("web2", r#"{"cpu.percent":5,"load.1m":1}"#),
            ("web1", r#"{"cpu.percent":5}"#),
            ("db1", r#"{"cpu.percent":50}"#),
        ] {
            let taken = fleet.take(now, name, GridKind::Metrics, json.as_bytes());
            taken.unwrap();
        }
        fleet.take(now, "new", GridKind::Model, b"{}").unwrap();
        fleet
    }

    fn names(filter: &str, column: Column, reversed: bool) -> Vec<String> {
        let now = Instant::now();
        let fleet = fleet(now);
        let rows = sorted(fleet.hosts(), filter, column, reversed, now);
        rows.iter().map(|host| host.name.to_string()).collect()
    }

    #[test]
    fn the_largest_is_first_and_the_unknown_last() {
        assert_eq!(
            names("", Column::Cpu, false),
            ["db1", "web1", "web2", "new"]
        );
        assert_eq!(names("", Column::Cpu, true), ["web1", "web2", "db1", "new"]);
        assert_eq!(
            names("", Column::Name, false),
            ["db1", "new", "web1", "web2"]
        );
        assert_eq!(
            names("", Column::Name, true),
            ["web2", "web1", "new", "db1"]
        );
        assert_eq!(
            names("", Column::Load, true),
            ["web2", "db1", "new", "web1"]
        );
    }

    #[test]
    fn hosts_in_trouble_come_first() {
        let now = Instant::now();
        let mut fleet = fleet(now);
        let gone = br#"{"state":"gone","last_seen":1000,"since":1030}"#;
        fleet.take_state(now, 2000.0, "zz", gone).unwrap();
        let failed = br#"{"systemd.failed[a.service]":1}"#;
        fleet.take(now, "y", GridKind::Metrics, failed).unwrap();
        let model = br#"{"host.os":"Debian","agent.version":"0.2.0"}"#;
        fleet.take(now, "zz", GridKind::Model, model).unwrap();
        let order = |column| {
            let rows = sorted(fleet.hosts(), "", column, false, now);
            let names = rows.iter().map(|host| &*host.name);
            names.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(order(Column::State), "zz y new db1 web1 web2");
        // What it said last counts no more, but for what it was.
        assert_eq!(order(Column::Cpu), "db1 web1 web2 new y zz");
        assert_eq!(order(Column::System), "zz db1 new web1 web2 y");
    }

    #[test]
    fn a_filter_is_a_part_of_the_name() {
        assert_eq!(names("WEB", Column::Name, false), ["web1", "web2"]);
        assert!(names("nothing", Column::Name, false).is_empty());
    }

    #[test]
    fn columns_go_round_and_their_keys_differ() {
        let mut column = Column::Name;
        let mut keys = std::collections::BTreeSet::new();
        for _ in Column::ALL {
            assert_eq!(column.neighbour(true).neighbour(false), column);
            keys.insert(column.key());
            column = column.neighbour(true);
        }
        assert_eq!((column, keys.len()), (Column::Name, Column::ALL.len()));
    }
}
