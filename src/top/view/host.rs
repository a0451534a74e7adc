//! One host: all that is known of it, in lines that scroll. Pure.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::pen::{Pen, fitted, width};
use super::theme::{Mood, Theme};
use super::{Drawn, Scene, age};
use crate::top::app::Look;
use crate::top::model::detail::{Detail, Memory};
use crate::top::model::{Host, State};
use crate::top::text::{NONE, clean, count, load, percent, size};

/// Columns of bars.
const BAR: usize = 20;

mod tables;

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
}

/// A name in so many columns, the last one free.
fn padded(name: &str, columns: u16) -> String {
    let name = fitted(&clean(name), columns.saturating_sub(1));
    let free = columns.saturating_sub(width(&name));
    name + &" ".repeat(free.into())
}
