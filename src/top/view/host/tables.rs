//! The tables of one host: what there are several of. Pure.

use ratatui::layout::HorizontalAlignment::{Left, Right};
use ratatui::style::Style;

use super::super::block::{Block, Piece, Values};
use super::super::theme::Severity;
use super::Writer;
use crate::base::quantity::{NONE, count, percent, size};
use crate::base::text::shown as clean;
use crate::top::app::UnitOrder;
use crate::top::model::detail::{Detail, Unit};

type Cell = Vec<Piece>;

impl Writer {
    fn table(&mut self, values: Values) {
        self.blocks.push(Block::Values(values));
    }

    fn marked(&self, text: String, severity: Severity) -> Cell {
        vec![(text, self.theme.text(severity))]
    }

    pub(super) fn pressure(&mut self, detail: &Detail) {
        if detail.tasks.pressure.is_empty() {
            return;
        }
        self.section("Pressure: share of time in which tasks waited");
        let mut table = Values::new(
            "",
            &[
                ("some 10s", Right),
                ("1min", Right),
                ("5min", Right),
                ("all 10s", Right),
                ("1min", Right),
                ("5min", Right),
            ],
        );
        for (resource, pressure) in &detail.tasks.pressure {
            let mut row = vec![name(resource)];
            for share in pressure.some.into_iter().chain(pressure.full) {
                let text = share.map_or(NONE.to_owned(), |share| format!("{share:.1}%"));
                row.push(self.marked(text, Severity::of_pressure(share.unwrap_or(0.0))));
            }
            table.push(row);
        }
        self.table(table);
    }

    pub(super) fn filesystems(&mut self, detail: &Detail) {
        if detail.filesystems.is_empty() {
            return;
        }
        self.section("File systems");
        let mut table = Values::new(
            "",
            &[
                ("in use", Left),
                ("used", Right),
                ("of", Right),
                ("free", Right),
                ("", Left),
            ],
        );
        for (mount, filesystem) in &detail.filesystems {
            let severity = if filesystem.readonly {
                |_| Severity::Good
            } else {
                Severity::of_share
            };
            let used = filesystem.size.zip(filesystem.free);
            let used = used.map(|(size, free)| size - free);
            let mut notes: Cell = Vec::new();
            if filesystem.stuck {
                notes.extend(self.marked("does not answer".to_owned(), Severity::Bad));
            }
            if let Some(inodes) = filesystem.inodes_used() {
                let severity = Severity::of_share(inodes);
                if severity > Severity::Good && !filesystem.readonly {
                    notes.extend(self.marked(format!("inodes {}", percent(inodes)), severity));
                }
            }
            if filesystem.readonly {
                notes.extend(self.marked("read-only".to_owned(), Severity::Busy));
            }
            let gaps = notes.into_iter().enumerate().flat_map(|(at, note)| {
                let gap = (at > 0).then(|| (" ".to_owned(), Style::new()));
                gap.into_iter().chain([note])
            });
            table.push(vec![
                name(mount),
                self.bar(filesystem.used(), severity),
                told(used, size),
                told(filesystem.size, size),
                told(filesystem.available, size),
                gaps.collect(),
            ]);
        }
        self.table(table);
    }

    pub(super) fn disks(&mut self, detail: &Detail) {
        if detail.disks.is_empty() {
            return;
        }
        self.section("Disks");
        let mut table = Values::new(
            "",
            &[
                ("busy", Right),
                ("read/s", Right),
                ("written/s", Right),
                ("reads/s", Right),
                ("writes/s", Right),
            ],
        );
        for (device, disk) in &detail.disks {
            let busy = disk.busy.map_or(NONE.to_owned(), percent);
            table.push(vec![
                name(device),
                self.marked(busy, Severity::of_share(disk.busy.unwrap_or(0.0))),
                told(disk.read, size),
                told(disk.written, size),
                told(disk.reads, count),
                told(disk.writes, count),
            ]);
        }
        self.table(table);
    }

    pub(super) fn interfaces(&mut self, detail: &Detail) {
        if detail.interfaces.is_empty() {
            return;
        }
        self.section("Network");
        let mut table = Values::new(
            "",
            &[
                ("in/s", Right),
                ("out/s", Right),
                ("link", Right),
                ("errors/s", Right),
                ("drops/s", Right),
                ("packets in", Right),
                ("out", Right),
            ],
        );
        for (interface_name, interface) in &detail.interfaces {
            let (state, severity) = match (interface.up, interface.speed) {
                (Some(true), Some(speed)) => (format!("{speed:.0} Mbit/s"), Severity::Good),
                (Some(true), None) => ("up".to_owned(), Severity::Good),
                (Some(false), _) => ("down".to_owned(), Severity::Busy),
                (None, _) => (NONE.to_owned(), Severity::Good),
            };
            let trouble = |value: Option<f64>| {
                let severity = Severity::between(value.unwrap_or(0.0), 0.05, 10.0);
                let text = value.map_or(NONE.to_owned(), count);
                self.marked(text, severity)
            };
            table.push(vec![
                name(interface_name),
                told(interface.received, size),
                told(interface.sent, size),
                self.marked(state, severity),
                trouble(interface.errors),
                trouble(interface.drops),
                told(interface.packets_received, count),
                told(interface.packets_sent, count),
            ]);
        }
        self.table(table);
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
        let mut table = Values::new(
            "",
            &[
                ("CPU", Right),
                ("memory", Right),
                ("tasks", Right),
                ("disk/s", Right),
                ("restarts", Right),
            ],
        );
        let (mut units, others): (Vec<_>, Vec<_>) =
            detail.units.iter().partition(|(_, unit)| has_values(unit));
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
        let some_run = !units.is_empty();
        for (unit_name, unit) in units {
            let cpu = unit.cpu.map_or(NONE.to_owned(), |cpu| format!("{cpu:.1}%"));
            let severity = Severity::between(unit.restarts.unwrap_or(0.0), 1.0, 10.0);
            let restarts = unit.restarts.map_or(NONE.to_owned(), count);
            table.push(vec![
                name(unit_name),
                vec![(cpu, Style::new())],
                told(unit.memory, size),
                told(unit.tasks, count),
                told(unit.io, size),
                self.marked(restarts, severity),
            ]);
        }
        if some_run {
            self.table(table);
        }
        if !others.is_empty() {
            let text = format!("and {} more without values", others.len());
            self.blocks
                .push(Block::Line(vec![(text, self.theme.label())]));
        }
    }
}

/// Returns true if more is known about a unit than its name.
fn has_values(unit: &Unit) -> bool {
    let values = [unit.cpu, unit.memory, unit.tasks, unit.io, unit.restarts];
    values.iter().any(Option::is_some)
}

fn name(text: &str) -> Cell {
    vec![(clean(text).into_owned(), Style::new())]
}

fn told(value: Option<f64>, text: fn(f64) -> String) -> Cell {
    let text = value.map_or_else(|| NONE.to_owned(), text);
    vec![(text, Style::new())]
}
