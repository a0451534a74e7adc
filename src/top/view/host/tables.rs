//! The tables of one host: what there are several of. Pure.

use super::super::pen::width;
use super::super::theme::Mood;
use super::{Writer, padded};
use crate::top::app::UnitOrder;
use crate::top::model::detail::{Detail, Unit};
use crate::top::text::{NONE, clean, count, percent, size};

/// Columns of a table's names, at least.
const NAME_MIN: u16 = 16;

impl Writer {
    /// A row of headings: the first takes `first` columns, the others end where values do.
    pub(super) fn headings(&mut self, first: u16, names: &[(&str, usize)]) {
        let names = names
            .iter()
            .map(|(name, columns)| format!("{name:>columns$}"));
        let text = " ".repeat(first.into()) + &names.collect::<String>();
        self.lines.push(vec![(text, self.theme.label())]);
    }

    pub(super) fn pressure(&mut self, detail: &Detail) {
        if detail.pressure.is_empty() {
            return;
        }
        self.section("Pressure: share of time in which tasks waited");
        self.headings(
            10,
            &[
                ("some 10s", 9),
                ("1min", 7),
                ("5min", 7),
                ("all 10s", 10),
                ("1min", 7),
                ("5min", 7),
            ],
        );
        for (resource, pressure) in &detail.pressure {
            let mut line = vec![(padded(resource, 10), Self::plain())];
            for (shares, first) in [(pressure.some, 9), (pressure.full, 10)] {
                for (at, share) in shares.into_iter().enumerate() {
                    let columns = if at == 0 { first } else { 7 };
                    let text = share.map_or(NONE.to_owned(), |share| format!("{share:.1}%"));
                    let mood = Mood::between(share.unwrap_or(0.0), 10.0, 40.0);
                    line.push((format!("{text:>columns$}"), self.theme.text(mood)));
                }
            }
            self.lines.push(line);
        }
    }

    /// How wide a table's names may be, where its values take so many columns.
    pub(super) fn name_columns<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
        values: u16,
    ) -> u16 {
        let widest = names.map(|name| width(&clean(name))).max().unwrap_or(0);
        let room = self.columns.saturating_sub(values + 1).max(NAME_MIN);
        (widest + 1).clamp(NAME_MIN, room)
    }

    pub(super) fn filesystems(&mut self, detail: &Detail) {
        if detail.filesystems.is_empty() {
            return;
        }
        self.section("File systems");
        let columns = self.name_columns(detail.filesystems.keys(), 52);
        for (mount, filesystem) in &detail.filesystems {
            let mut more = Vec::new();
            let plain = Self::plain();
            if let (Some(all), Some(free)) = (filesystem.size, filesystem.free) {
                let text = format!("  {} of {}", size(all - free), size(all));
                more.push((text, plain));
            }
            if let Some(available) = filesystem.available {
                more.push((format!(", {} free", size(available)), plain));
            }
            if let Some(inodes) = filesystem.inodes_used().filter(|share| *share >= 70.0) {
                let style = self.theme.text(Mood::of_share(inodes));
                more.push((", ".to_owned(), plain));
                more.push((format!("inodes {}", percent(inodes)), style));
            }
            if filesystem.readonly {
                more.push((", ".to_owned(), plain));
                more.push(("read-only".to_owned(), self.theme.text(Mood::Busy)));
            }
            if filesystem.stuck {
                more.push(("  does not answer".to_owned(), self.theme.text(Mood::Bad)));
            }
            self.bar(mount, columns, filesystem.used(), &more);
        }
    }

    pub(super) fn disks(&mut self, detail: &Detail) {
        if detail.disks.is_empty() {
            return;
        }
        self.section("Disks");
        let columns = self.name_columns(detail.disks.keys(), 48);
        self.headings(
            columns,
            &[
                ("read/s", 9),
                ("written/s", 11),
                ("reads/s", 9),
                ("writes/s", 10),
                ("busy", 7),
            ],
        );
        for (device, disk) in &detail.disks {
            let busy = disk.busy.map_or(NONE.to_owned(), percent);
            let mood = Mood::of_share(disk.busy.unwrap_or(0.0));
            let text = format!(
                "{:>9}{:>11}{:>9}{:>10}",
                told(disk.read, size),
                told(disk.written, size),
                told(disk.reads, count),
                told(disk.writes, count),
            );
            self.lines.push(vec![
                (padded(device, columns), Self::plain()),
                (text, Self::plain()),
                (format!("{busy:>7}"), self.theme.text(mood)),
            ]);
        }
    }

    pub(super) fn interfaces(&mut self, detail: &Detail) {
        if detail.interfaces.is_empty() {
            return;
        }
        self.section("Network");
        let columns = self.name_columns(detail.interfaces.keys(), 60);
        self.headings(
            columns,
            &[
                ("in/s", 8),
                ("out/s", 8),
                ("packets", 9),
                ("out", 7),
                ("errors", 8),
                ("drops", 7),
                ("link", 12),
            ],
        );
        for (name, interface) in &detail.interfaces {
            let traffic = format!(
                "{:>8}{:>8}{:>9}{:>7}",
                told(interface.received, size),
                told(interface.sent, size),
                told(interface.packets_received, count),
                told(interface.packets_sent, count),
            );
            let mut line = vec![
                (padded(name, columns), Self::plain()),
                (traffic, Self::plain()),
            ];
            for (value, room) in [(interface.errors, 8), (interface.drops, 7)] {
                let mood = Mood::between(value.unwrap_or(0.0), 0.05, 10.0);
                let text = format!("{:>room$}", told(value, count));
                line.push((text, self.theme.text(mood)));
            }
            let (state, mood) = match (interface.up, interface.speed) {
                (Some(true), Some(speed)) => (format!("{speed:.0} Mbit/s"), Mood::Good),
                (Some(true), None) => ("up".to_owned(), Mood::Good),
                (Some(false), _) => ("down".to_owned(), Mood::Busy),
                (None, _) => (NONE.to_owned(), Mood::Good),
            };
            line.push((format!("{state:>12}"), self.theme.text(mood)));
            self.lines.push(line);
        }
    }

    pub(super) fn units(&mut self, detail: &Detail, order: UnitOrder) {
        if detail.units.is_empty() {
            return;
        }
        let by = match order {
            UnitOrder::Cpu => "CPU",
            UnitOrder::Memory => "memory",
            UnitOrder::Name => "name",
        };
        self.section(&format!("Services, by {by}"));
        let columns = self.name_columns(detail.units.keys(), 48);
        self.headings(
            columns,
            &[
                ("CPU", 8),
                ("memory", 9),
                ("tasks", 8),
                ("disk/s", 9),
                ("restarts", 10),
            ],
        );
        let mut units: Vec<_> = detail.units.iter().collect();
        let key = |unit: &Unit| match order {
            UnitOrder::Cpu => unit.cpu,
            UnitOrder::Memory => unit.memory,
            UnitOrder::Name => None,
        };
        // The sort is stable, and they are sorted by name.
        units.sort_by(|(_, one), (_, other)| {
            let known = |unit| key(unit).unwrap_or(-1.0);
            known(other).total_cmp(&known(one))
        });
        for (name, unit) in units {
            let cpu = unit.cpu.map_or(NONE.to_owned(), |cpu| format!("{cpu:.1}%"));
            let values = format!(
                "{cpu:>8}{:>9}{:>8}{:>9}",
                told(unit.memory, size),
                told(unit.tasks, count),
                told(unit.io, size),
            );
            let restarts = unit.restarts.unwrap_or(0.0);
            let mood = Mood::between(restarts, 1.0, 10.0);
            self.lines.push(vec![
                (padded(name, columns), Self::plain()),
                (values, Self::plain()),
                (
                    format!("{:>10}", told(unit.restarts, count)),
                    self.theme.text(mood),
                ),
            ]);
        }
    }
}

fn told(value: Option<f64>, text: fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}
