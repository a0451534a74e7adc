//! The columns of the table of hosts, and the order that each gives. Pure.

use std::cmp::Ordering;
use std::time::Instant;

use clap::ValueEnum;

use super::model::Host;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// The host's name
    Name,
    /// Since its last message
    Age,
    /// CPU time
    Cpu,
    /// Memory in use
    Memory,
    /// Load average over one minute
    Load,
    /// The resource that tasks wait for most
    Pressure,
    /// Bytes received a second
    Received,
    /// Bytes sent a second
    Sent,
    /// Units that have failed
    Failed,
    /// Time since boot
    Uptime,
}

impl Column {
    /// All of them, in the order of the screen.
    pub const ALL: [Self; 10] = [
        Self::Name,
        Self::Age,
        Self::Cpu,
        Self::Memory,
        Self::Load,
        Self::Pressure,
        Self::Received,
        Self::Sent,
        Self::Failed,
        Self::Uptime,
    ];

    /// Its heading.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Name => "HOST",
            Self::Age => "AGE",
            Self::Cpu => "CPU",
            Self::Memory => "MEMORY",
            Self::Load => "LOAD",
            Self::Pressure => "PRESSURE",
            Self::Received => "RX/s",
            Self::Sent => "TX/s",
            Self::Failed => "FAIL",
            Self::Uptime => "UP",
        }
    }

    /// The key that sorts by it.
    #[must_use]
    pub fn key(self) -> char {
        match self {
            Self::Name => 'n',
            Self::Age => 'a',
            Self::Cpu => 'c',
            Self::Memory => 'm',
            Self::Load => 'l',
            Self::Pressure => 'p',
            Self::Received => 'i',
            Self::Sent => 'o',
            Self::Failed => 'f',
            Self::Uptime => 'u',
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

    /// A host's value; None sorts last.
    fn value(self, host: &Host, now: Instant) -> Option<f64> {
        match self {
            Self::Name => None,
            Self::Age => host.age(now).map(|age| age.as_secs_f64()),
            Self::Cpu => host.cpu,
            Self::Memory => host.memory_used(),
            Self::Load => host.load,
            Self::Pressure => host.pressure.map(|(_, share)| share),
            Self::Received => host.received,
            Self::Sent => host.sent,
            #[expect(clippy::cast_precision_loss, reason = "a number of units")]
            Self::Failed => host.failed.map(|failed| failed as f64),
            Self::Uptime => host.uptime,
        }
    }
}

/// The hosts with `filter` in their names, sorted: names from the first, all else from the
/// largest, or the other way round. What is not known comes last either way.
#[must_use]
pub fn sorted<'a>(
    hosts: impl Iterator<Item = &'a Host>,
    filter: &str,
    column: Column,
    reversed: bool,
    now: Instant,
) -> Vec<&'a Host> {
    let filter = filter.to_lowercase();
    let mut rows: Vec<(Option<f64>, &Host)> = hosts
        .filter(|host| filter.is_empty() || host.name.to_lowercase().contains(&filter))
        .map(|host| (column.value(host, now), host))
        .collect();
    rows.sort_unstable_by(|(one, a), (other, b)| {
        let names = a.name.cmp(&b.name);
        if column == Column::Name {
            return if reversed { names.reverse() } else { names };
        }
        let values = match (one, other) {
            (Some(one), Some(other)) if reversed => one.total_cmp(other),
            (Some(one), Some(other)) => other.total_cmp(one),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        values.then(names)
    });
    rows.into_iter().map(|(_, host)| host).collect()
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
