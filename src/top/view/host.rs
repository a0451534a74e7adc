//! One host: all that is known of it, in lines that scroll. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::block::{self, Block, Piece};
use super::pen::{Pen, fitted, width};
use super::state::age;
use super::theme::{Severity, Theme};
use super::{Drawn, Scene};
use crate::base::quantity::{NONE, count, load, percent, short_span, size, temperature};
use crate::base::text::shown as clean;
use crate::base::{columns, shell};
use crate::top::app::HostView;
use crate::top::model::detail::{Detail, Memory};
use crate::top::model::{Host, State, Told};

/// Columns of bars, and on a narrow screen.
const BAR: usize = 20;
const NARROW_BAR: usize = 10;

/// Columns that a host's name has at least.
const NAME_MIN: u16 = 16;

mod tables;

/// Draws the host's own line, and of the rest what there is room for from where it is scrolled
/// to.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, look: &HostView) -> Drawn {
    let theme = scene.theme;
    let Some(host) = scene.fleet.get(&look.name) else {
        let text = format!("{} is not known any more.", look.name);
        Pen::new(buffer, area.y, area.x, area.right()).put(&text, Style::new());
        return Drawn::Nothing;
    };
    heading(buffer, area, scene, host);
    let detail = scene.fleet.detail(&look.name).unwrap_or_default();
    let blocks = Writer::write(&detail, host, scene, area.width);
    let room = area.height.saturating_sub(1);
    let all = block::height(&blocks);
    let scroll = look.scroll.min(all.saturating_sub(usize::from(room)));
    let body = Rect {
        y: area.y + 1,
        height: room,
        ..area
    };
    block::draw(buffer, body, &blocks, scroll, theme);
    Drawn::Lines(all, room.into())
}

fn heading(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, host: &Host) {
    let theme = scene.theme;
    let line = Rect { height: 1, ..area };
    buffer.set_style(line, theme.heading());
    let state = host.state(scene.as_of());
    let ago = age(host, scene);
    let seen = || {
        let age = host.age(scene.now).unwrap_or_default();
        scene.clock.when(age.as_secs_f64())
    };
    let (right, severity) = match state {
        State::Waiting => ("no metrics heard yet ".to_owned(), Severity::Good),
        State::Reporting if scene.is_stale() => (format!(" OLD: heard {ago} ago "), Severity::Bad),
        State::Reporting => (format!("reporting, heard {ago} ago "), Severity::Good),
        State::Expected => (format!("expected, last seen {} ", seen()), Severity::Busy),
        State::Silent => (format!(" SILENT: heard {ago} ago "), Severity::Bad),
        State::Gone => (
            format!(" GONE: last seen {}, {ago} ago ", seen()),
            Severity::Bad,
        ),
    };
    // The name matters more than when it was seen, which stands below, too.
    let right = match state {
        State::Gone if width(&right) + NAME_MIN > area.width => format!(" GONE {ago} "),
        State::Expected if width(&right) + NAME_MIN > area.width => "expected ".to_owned(),
        _ => right,
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
    let style = match severity {
        Severity::Good => theme.heading(),
        Severity::Busy => theme.heading().add_modifier(Modifier::BOLD),
        // In a row that is reversed, what stands out is not.
        Severity::Bad => Style::reset().patch(theme.severity(severity)),
    };
    pen.skip(area.width.saturating_sub(width(&right)));
    pen.put(&right, style);
}

struct Writer {
    theme: Theme,
    columns: u16,
    blocks: Vec<Block>,
}

impl Writer {
    fn write(detail: &Detail, host: &Host, scene: &Scene<'_>, columns: u16) -> Vec<Block> {
        let mut writer = Self {
            theme: scene.theme,
            columns,
            blocks: Vec::new(),
        };
        writer.facts(detail);
        match &host.presence.told {
            Some(told) => writer.absence(told, detail, host, scene),
            None if host.presence.heard.is_none() => {
                writer.sentence("Its metrics come with its next message.");
            }
            None => {}
        }
        if !detail.known {
            return writer.blocks;
        }
        writer.failed(detail);
        writer.cpu(detail, host);
        writer.memory(detail.memory);
        writer.pressure(detail);
        writer.filesystems(detail);
        writer.disks(detail);
        writer.interfaces(detail);
        writer.sensors(detail);
        writer.units(detail, scene.app.units);
        writer.blocks
    }

    fn line(&mut self, pieces: Vec<Piece>) {
        self.blocks.push(Block::Line(pieces));
    }

    /// What the collector says of a host that does not report, and where its values are.
    fn absence(&mut self, told: &Told, detail: &Detail, host: &Host, scene: &Scene<'_>) {
        let clock = scene.clock;
        let when = |at: f64| {
            let ago = (clock.now_seconds() - at).max(0.0);
            format!("{}, {} ago", clock.when(ago), short_span(ago))
        };
        let state = if told.gone { "gone" } else { "expected" };
        for (name, at) in [("last seen", told.last_seen), (state, told.since)] {
            self.explained(name, &when(at), 10);
        }
        // Where its model is known, its system stands above.
        let os = told.os.as_deref().filter(|_| detail.facts.is_empty());
        for (name, text) in [("address", told.address.as_deref()), ("system", os)] {
            if let Some(text) = text {
                self.explained(name, &format!("{}, when last seen", clean(text)), 10);
            }
        }
        self.line(Vec::new());
        if host.presence.heard.is_some() {
            self.sentence("Below is what it said last.");
            return;
        }
        if told.gone {
            self.sentence("The collector keeps no values of a host that is gone.");
        }
        self.sentence("They come here once it reports again.");
        self.sentence(match told.address {
            Some(_) => "Its key, on the collector's host:",
            None => "Its address and key, on the collector's host:",
        });
        let command = shell::command(&["metrics-collector", "hosts", "--full"], &[&host.name]);
        for line in shell::lines(&command, self.columns.into()) {
            self.line(vec![(line, Style::new().add_modifier(Modifier::BOLD))]);
        }
    }

    fn explained(&mut self, name: &str, text: &str, behind: usize) {
        let name = (name.to_owned(), self.theme.label());
        let lines = block::explained(name, text, behind, self.columns);
        self.blocks.extend(lines);
    }

    /// One that may take several lines.
    fn sentence(&mut self, text: &str) {
        for line in columns::wrapped(text, Some(self.columns.into())) {
            self.line(vec![(line, Style::new())]);
        }
    }

    fn section(&mut self, title: &str) {
        if !self.blocks.is_empty() {
            self.line(Vec::new());
        }
        let rule = usize::from(self.columns.saturating_sub(width(title) + 1));
        self.line(vec![
            (format!("{title} "), self.theme.title()),
            (
                self.theme.pick("─", "-").repeat(rule),
                self.theme.ornament(),
            ),
        ]);
    }

    /// Names with values, as many in a line as there is room for.
    fn named(&mut self, pairs: impl IntoIterator<Item = (String, Piece)>) {
        let mut line: Vec<Piece> = Vec::new();
        let mut taken = 0;
        for (name, (value, style)) in pairs {
            let wanted = width(&name) + 1 + width(&value);
            if !line.is_empty() && taken + 2 + wanted > self.columns {
                self.line(std::mem::take(&mut line));
                taken = 0;
            }
            if !line.is_empty() {
                line.push(("  ".to_owned(), Style::new()));
                taken += 2;
            }
            line.push((format!("{name} "), self.theme.label()));
            line.push((value, style));
            taken += wanted;
        }
        if !line.is_empty() {
            self.line(line);
        }
    }

    fn facts(&mut self, detail: &Detail) {
        // Two beside each other where there is room.
        let room = if self.columns >= 80 {
            self.columns / 2
        } else {
            self.columns
        };
        let mut line: Vec<Piece> = Vec::new();
        for (name, text) in &detail.facts {
            let text = format!("{} ", clean(text));
            let taken: u16 = line.iter().map(|(text, _)| width(text)).sum();
            let wide = width(&text) + 9 > room;
            if !line.is_empty() && (wide || taken > room) {
                self.line(std::mem::take(&mut line));
            } else if !line.is_empty() {
                let gap = usize::from(room.saturating_sub(taken));
                line.push((" ".repeat(gap), Style::new()));
            }
            if line.is_empty() && width(&text) + 9 > self.columns {
                self.explained(name, text.trim_end(), 9);
                continue;
            }
            line.push((format!("{name:<9}"), self.theme.label()));
            line.push((text, Style::new()));
            let taken: u16 = line.iter().map(|(text, _)| width(text)).sum();
            if taken > room {
                self.line(std::mem::take(&mut line));
            }
        }
        if !line.is_empty() {
            self.line(line);
        }
    }

    fn failed(&mut self, detail: &Detail) {
        if detail.failed.is_empty() {
            return;
        }
        self.section("Failed units");
        for unit in &detail.failed {
            let text = fitted(&clean(unit), self.columns.saturating_sub(2));
            self.line(vec![
                (
                    self.theme.pick("▲ ", "! ").to_owned(),
                    self.theme.severity(Severity::Bad),
                ),
                (text, self.theme.text(Severity::Bad)),
            ]);
        }
    }

    /// A bar with its percentage in five columns, coloured by how well it is.
    fn bar(&self, share: Option<f64>, severity: fn(f64) -> Severity) -> Vec<Piece> {
        let bar = if self.columns >= 80 { BAR } else { NARROW_BAR };
        let Some(share) = share else {
            return vec![(format!("{:>1$}", NONE, bar + 5), Style::new())];
        };
        let severity = severity(share);
        let (full, rest) = self.theme.bar(share, bar);
        let text = percent(share);
        let gap = " ".repeat(5_usize.saturating_sub(text.len()));
        vec![
            (full, self.theme.severity(severity)),
            (rest, self.theme.ornament()),
            (gap, Style::new()),
            (text, self.theme.text(severity)),
        ]
    }

    fn cpu(&mut self, detail: &Detail, host: &Host) {
        self.section("CPU");
        let mut line = vec![padded("in use", 10)];
        line.extend(self.bar(host.cpu.busy, Severity::of_share));
        self.line(line);
        let samples: Vec<_> = host
            .cpu
            .history
            .newest(self.columns.into())
            .skip_while(Option::is_none)
            .map(|sample| sample.map(u64::from))
            .collect();
        if samples.len() > 1 {
            self.blocks.push(Block::Picture(samples));
        }
        let modes = detail.cpu_modes.iter();
        let modes = modes.filter(|(mode, share)| *mode == "idle" || *share >= 0.05);
        let modes: Vec<_> = modes
            .map(|(mode, share)| ((*mode).to_owned(), (format!("{share:.1}%"), Style::new())))
            .collect();
        self.named(modes);
        let mut pairs = Vec::new();
        let loads: Vec<_> = detail
            .tasks
            .load
            .iter()
            .flatten()
            .map(|one| load(*one))
            .collect();
        if !loads.is_empty() {
            let severity = detail.tasks.load[0].map_or(Severity::Good, |load| {
                Severity::of_load(load, host.cpu.count)
            });
            pairs.push((
                "load".to_owned(),
                (loads.join(" "), self.theme.text(severity)),
            ));
        }
        let names = ["running", "waiting for a disk", "threads"];
        for (name, value) in names.iter().zip(detail.tasks.threads) {
            if let Some(value) = value {
                pairs.push(((*name).to_owned(), (count(value), Style::new())));
            }
        }
        self.named(pairs);
    }

    fn memory(&mut self, memory: Memory) {
        self.section("Memory");
        let kilobytes = |kilobytes: f64| size(kilobytes * 1024.0);
        let moods: [fn(f64) -> Severity; 2] = [Severity::of_share, Severity::of_swap];
        let rows = [
            ("in use", memory.total, memory.available),
            ("swap", memory.swap_total, memory.swap_free),
        ];
        for ((name, total, free), severity) in rows.into_iter().zip(moods) {
            let used = total.zip(free).filter(|(total, _)| *total > 0.0);
            if name == "swap" && used.is_none() {
                continue;
            }
            let share = used.map(|(total, free)| 100.0 * (1.0 - free / total));
            let mut line = vec![padded(name, 10)];
            line.extend(self.bar(share, severity));
            if let Some((total, free)) = used {
                let text = format!("  {} of {}", kilobytes(total - free), kilobytes(total));
                line.push((text, Style::new()));
            }
            self.line(line);
        }
        let pairs = [
            ("available", memory.available),
            ("free", memory.free),
            ("cached", memory.cached),
            ("buffers", memory.buffers),
            ("dirty", memory.dirty),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), (kilobytes(value?), Style::new()))));
        self.named(pairs);
    }

    fn sensors(&mut self, detail: &Detail) {
        if detail.temperatures.is_empty() {
            return;
        }
        self.section(self.theme.pick("Temperatures in °C", "Temperatures in C"));
        let theme = self.theme;
        let pairs = detail.temperatures.iter().map(|(name, celsius)| {
            let style = theme.text(Severity::of_temperature(*celsius));
            let name = fitted(&clean(name), self.columns.saturating_sub(6));
            (name, (temperature(*celsius), style))
        });
        let pairs: Vec<_> = pairs.collect();
        self.named(pairs);
    }
}

/// A name in so many columns, the last one free.
fn padded(name: &str, columns: u16) -> Piece {
    let name = fitted(&clean(name), columns.saturating_sub(1));
    let free = columns.saturating_sub(width(&name));
    (name + &" ".repeat(free.into()), Style::new())
}
