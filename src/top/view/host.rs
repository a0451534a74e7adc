//! One host: all that is known of it, in lines that scroll. Pure.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::pen::{Pen, fitted, width};
use super::theme::{Mood, Theme};
use super::{Drawn, Scene, age};
use crate::top::app::{Look, UnitOrder};
use crate::top::model::detail::{Detail, Memory, Unit};
use crate::top::model::{Host, State};
use crate::top::text::{NONE, clean, count, load, percent, size};

/// Columns of bars, and of the names in front of tables.
const BAR: usize = 20;
const NAME_MIN: u16 = 16;

/// A line: texts, each in its style.
type Line = Vec<(String, Style)>;

/// Draws the host's own line, and of the rest what there is room for from where it is scrolled
/// to.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, look: &Look) -> Drawn {
    let theme = scene.theme;
    let Some(host) = scene.fleet.get(&look.name) else {
        let text = format!("{} is not known any more.", look.name);
        Pen::new(buffer, area.y, area.x, area.right()).put(&text, theme.faint());
        return Drawn::Nothing;
    };
    heading(buffer, area, scene, host);
    let detail = scene.fleet.detail(&look.name).unwrap_or_default();
    let lines = Writer::write(&detail, host, scene, area.width);
    let room = area.height.saturating_sub(1);
    let scroll = look
        .scroll
        .min(lines.len().saturating_sub(usize::from(room)));
    for (y, line) in (area.y + 1..area.bottom()).zip(lines.iter().skip(scroll)) {
        let mut pen = Pen::new(buffer, y, area.x, area.right());
        for (text, style) in line {
            pen.put(text, *style);
        }
    }
    let below = lines.len().saturating_sub(scroll + usize::from(room));
    if below > 0 {
        let text = format!(" {below} more {} ", theme.pick("↓", "below"));
        let mut pen = Pen::new(buffer, area.bottom() - 1, area.x, area.right());
        pen.right_in(&text, area.width, theme.heading());
    }
    Drawn::Lines(lines.len(), room.into())
}

fn heading(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, host: &Host) {
    let theme = scene.theme;
    let line = Rect { height: 1, ..area };
    buffer.set_style(line, theme.heading());
    let state = host.state(scene.now);
    let right = match state {
        State::Waiting => "no metrics heard yet ".to_owned(),
        state => format!("{}, heard {} ago ", state.as_str(), age(host, scene.now)),
    };
    let room = area.width.saturating_sub(width(&right) + 1);
    let mut pen = Pen::new(buffer, area.y, area.x, area.right());
    pen.skip(1);
    pen.left_in(
        &host.name,
        room.saturating_sub(1),
        theme.heading().add_modifier(Modifier::BOLD),
    );
    let mut pen = Pen::new(buffer, area.y, area.x, area.right());
    let style = match state {
        State::Reporting => theme.heading(),
        _ => theme.heading().add_modifier(Modifier::BOLD),
    };
    pen.skip(area.width.saturating_sub(width(&right)));
    pen.put(&right, style);
}

struct Writer {
    theme: Theme,
    columns: u16,
    lines: Vec<Line>,
}

impl Writer {
    fn write(detail: &Detail, host: &Host, scene: &Scene<'_>, columns: u16) -> Vec<Line> {
        let mut writer = Self {
            theme: scene.theme,
            columns,
            lines: Vec::new(),
        };
        writer.facts(detail);
        if !detail.known {
            let text = "Its metrics come with its next message.";
            writer
                .lines
                .push(vec![(text.to_owned(), scene.theme.faint())]);
            return writer.lines;
        }
        writer.failed(detail);
        writer.cpu(detail, host, scene.now);
        writer.memory(detail.memory);
        writer.pressure(detail);
        writer.filesystems(detail);
        writer.disks(detail);
        writer.interfaces(detail);
        writer.units(detail, scene.app.units);
        writer.lines
    }

    fn plain() -> Style {
        Style::new()
    }

    fn section(&mut self, title: &str) {
        if !self.lines.is_empty() {
            self.lines.push(Vec::new());
        }
        let rule = usize::from(self.columns.saturating_sub(width(title) + 1));
        self.lines.push(vec![
            (format!("{title} "), self.theme.title()),
            (self.theme.pick("─", "-").repeat(rule), self.theme.faint()),
        ]);
    }

    fn facts(&mut self, detail: &Detail) {
        // Two beside each other where there is room.
        let room = if self.columns >= 80 {
            self.columns / 2
        } else {
            self.columns
        };
        let mut line: Line = Vec::new();
        for (name, text) in &detail.facts {
            let text = format!("{} ", clean(text));
            let taken: u16 = line.iter().map(|(text, _)| width(text)).sum();
            let wide = width(&text) + 9 > room;
            if !line.is_empty() && (wide || taken > room) {
                self.lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                let gap = usize::from(room.saturating_sub(taken));
                line.push((" ".repeat(gap), Self::plain()));
            }
            line.push((format!("{name:<9}"), self.theme.label()));
            line.push((text, Self::plain()));
            let taken: u16 = line.iter().map(|(text, _)| width(text)).sum();
            if taken > room {
                self.lines.push(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
    }

    fn failed(&mut self, detail: &Detail) {
        if detail.failed.is_empty() {
            return;
        }
        self.section("Failed units");
        for unit in &detail.failed {
            let text = fitted(&clean(unit), self.columns.saturating_sub(2));
            let bad = self.theme.mood(Mood::Bad);
            self.lines.push(vec![
                (self.theme.pick("✗ ", "! ").to_owned(), bad),
                (text, bad),
            ]);
        }
    }

    /// A name, a bar with its percentage, and what else there is to say.
    fn bar(&mut self, name: &str, columns: u16, share: Option<f64>, more: &[(String, Style)]) {
        let name = padded(name, columns);
        let mut line = vec![(name, Self::plain())];
        if let Some(share) = share {
            let mood = Mood::of_share(share);
            let (full, rest) = self.theme.bar(share, BAR);
            line.push((full, self.theme.mood(mood)));
            line.push((rest, self.theme.faint()));
            line.push((format!("{:>5}", percent(share)), self.theme.text(mood)));
        } else {
            line.push((format!("{:>1$}", NONE, BAR + 5), Self::plain()));
        }
        line.extend(more.iter().cloned());
        self.lines.push(line);
    }

    fn cpu(&mut self, detail: &Detail, host: &Host, now: Instant) {
        self.section("CPU");
        let history: String = host
            .history
            .newest(usize::from(self.columns.saturating_sub(40)).min(60))
            .skip_while(Option::is_none)
            .map(|sample| sample.map_or(' ', |sample| self.theme.spark(sample)))
            .collect();
        let current = host.state(now) == State::Reporting;
        let share = host.cpu.filter(|_| current);
        let more = [
            ("  ".to_owned(), Self::plain()),
            (history, self.theme.label()),
        ];
        self.bar("in use", 10, share, &more);
        let mut line: Line = Vec::new();
        for (mode, share) in &detail.cpu_modes {
            if *mode == "idle" || *share >= 0.05 {
                let text = format!("{mode} ");
                line.push((text, self.theme.label()));
                line.push((format!("{share:.1}%  "), Self::plain()));
            }
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
        let mut line: Line = Vec::new();
        let loads: Vec<_> = detail
            .load
            .iter()
            .flatten()
            .map(|value| load(*value))
            .collect();
        if !loads.is_empty() {
            let cpus = host.cpus.unwrap_or(f64::INFINITY);
            let mood =
                detail.load[0].map_or(Mood::Good, |load| Mood::between(load, cpus, 2.0 * cpus));
            line.push(("load ".to_owned(), self.theme.label()));
            line.push((format!("{}  ", loads.join(" ")), self.theme.text(mood)));
        }
        let names = ["running", "waiting for a disk", "threads"];
        for (name, value) in names.iter().zip(detail.threads) {
            if let Some(value) = value {
                line.push((format!("{name} "), self.theme.label()));
                line.push((format!("{}  ", count(value)), Self::plain()));
            }
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
    }

    fn memory(&mut self, memory: Memory) {
        self.section("Memory");
        let kilobytes = |kilobytes: f64| size(kilobytes * 1024.0);
        let used = memory.total.zip(memory.available);
        let share = used.filter(|(total, _)| *total > 0.0);
        let share = share.map(|(total, available)| 100.0 * (1.0 - available / total));
        let mut more = Vec::new();
        if let Some((total, available)) = used {
            let text = format!("  {} of {}", kilobytes(total - available), kilobytes(total));
            more.push((text, Self::plain()));
        }
        self.bar("in use", 10, share, &more);
        match (memory.swap_total, memory.swap_free) {
            (Some(total), Some(free)) if total > 0.0 => {
                let text = format!("  {} of {}", kilobytes(total - free), kilobytes(total));
                let share = 100.0 * (1.0 - free / total);
                self.bar("swap", 10, Some(share), &[(text, Self::plain())]);
            }
            _ => {}
        }
        let mut line: Line = Vec::new();
        for (name, value) in [
            ("available", memory.available),
            ("free", memory.free),
            ("cached", memory.cached),
            ("buffers", memory.buffers),
            ("dirty", memory.dirty),
        ] {
            if let Some(value) = value {
                line.push((format!("{name} "), self.theme.label()));
                line.push((format!("{}  ", kilobytes(value)), Self::plain()));
            }
        }
        if !line.is_empty() {
            self.lines.push(line);
        }
    }

    /// A row of headings: the first takes `first` columns, the others end where values do.
    fn headings(&mut self, first: u16, names: &[(&str, usize)]) {
        let names = names
            .iter()
            .map(|(name, columns)| format!("{name:>columns$}"));
        let text = " ".repeat(first.into()) + &names.collect::<String>();
        self.lines.push(vec![(text, self.theme.label())]);
    }

    fn pressure(&mut self, detail: &Detail) {
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
    fn name_columns<'a>(&self, names: impl Iterator<Item = &'a String>, values: u16) -> u16 {
        let widest = names.map(|name| width(&clean(name))).max().unwrap_or(0);
        let room = self.columns.saturating_sub(values + 1).max(NAME_MIN);
        (widest + 1).clamp(NAME_MIN, room)
    }

    fn filesystems(&mut self, detail: &Detail) {
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

    fn disks(&mut self, detail: &Detail) {
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

    fn interfaces(&mut self, detail: &Detail) {
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

    fn units(&mut self, detail: &Detail, order: UnitOrder) {
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

/// A name in so many columns, the last one free.
fn padded(name: &str, columns: u16) -> String {
    let name = fitted(&clean(name), columns.saturating_sub(1));
    let free = columns.saturating_sub(width(&name));
    name + &" ".repeat(free.into())
}
