//! The table of hosts. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Row, Table, Widget as _};

use super::pen::{Pen, fitted, short_name};
use super::state::{Shown, absence, age, shown};
use super::theme::{CURSOR, Severity, Theme};
use super::{Drawn, Scene};
use crate::base::quantity::{NONE, load, percent, short_span, size, temperature, whole};
use crate::base::text::shown as clean;
use crate::top::model::Host;
use crate::top::sort::Column;

/// The mark in front, and the space behind it.
const MARK: u16 = 2;

/// A host's name needs no more columns than that.
const NAME_MAX: u16 = 40;

/// Columns of bars, and of what the CPU did in the last minutes: at least and at most.
const BAR: (u16, u16) = (4, 10);
const HISTORY: (u16, u16) = (10, 30);

/// Columns of a file system's name behind its percentage.
const MOUNT: u16 = 10;

/// What there may be room for beside the names, the most important first.
const PARTS: [Part; 19] = [
    Part::Column(Column::State),
    Part::Column(Column::Cpu),
    Part::Column(Column::Memory),
    Part::Column(Column::Disk),
    Part::Column(Column::Load),
    Part::Column(Column::Swap),
    Part::Column(Column::Received),
    Part::Column(Column::Sent),
    Part::Column(Column::Failed),
    Part::Bars,
    Part::Column(Column::Uptime),
    Part::Column(Column::Temperature),
    Part::Column(Column::Pressure),
    Part::Column(Column::Age),
    Part::History,
    Part::Column(Column::Agent),
    Part::Column(Column::System),
    Part::Mount,
    Part::WideBars,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Column(Column),
    /// Bars of CPU and memory.
    Bars,
    /// What the CPU did.
    History,
    /// The name of the fullest file system.
    Mount,
    /// Longer ones.
    WideBars,
}

/// How columns are laid out on a screen of some width.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    shown: Vec<Column>,
    name: u16,
    /// Of the bars of CPU and memory; 0 for none.
    bar: u16,
    /// Of what the CPU did in the last minutes; 0 for none.
    history: u16,
    mount: u16,
}

impl Layout {
    fn of(width: u16) -> Self {
        let name = match width {
            ..72 => 12,
            72..120 => 16,
            120..160 => 20,
            _ => 24,
        };
        let mut layout = Self {
            shown: vec![Column::Name],
            name,
            bar: 0,
            history: 0,
            mount: 0,
        };
        let mut left = width.saturating_sub(MARK + name);
        for part in PARTS {
            let wanted = match part {
                Part::Column(column) => layout.columns(column) + 1,
                Part::Bars => 2 * BAR.0,
                Part::History => HISTORY.0 + 1,
                Part::Mount => MOUNT + 1,
                Part::WideBars => 2 * (BAR.1 - BAR.0),
            };
            // The rest waits for more room, too: what matters less never comes alone.
            if wanted > left {
                break;
            }
            left -= wanted;
            match part {
                Part::Column(column) => layout.shown.push(column),
                Part::Bars => layout.bar = BAR.0,
                Part::History => layout.history = HISTORY.0,
                Part::Mount => layout.mount = MOUNT,
                Part::WideBars => layout.bar = BAR.1,
            }
        }
        layout
            .shown
            .sort_by_key(|column| Column::ALL.iter().position(|known| known == column));
        let more = left.min(NAME_MAX - layout.name);
        layout.name += more;
        left -= more;
        if layout.history > 0 {
            layout.history += left.min(HISTORY.1 - HISTORY.0);
        }
        layout
    }

    fn columns(&self, column: Column) -> u16 {
        let beside = |columns: u16| if columns > 0 { columns + 1 } else { 0 };
        match column {
            Column::Name => self.name,
            Column::State => 12,
            Column::Cpu => 5 + self.bar + beside(self.history),
            Column::Memory => 5 + self.bar,
            Column::Disk => 5 + beside(self.mount),
            Column::Pressure => 10,
            Column::Agent => 9,
            Column::System => 20,
            Column::Failed
            | Column::Load
            | Column::Received
            | Column::Sent
            | Column::Swap
            | Column::Temperature
            | Column::Uptime
            | Column::Age => 5,
        }
    }

    fn alignment(&self, column: Column) -> Alignment {
        match column {
            Column::Name | Column::State | Column::Pressure | Column::Agent | Column::System => {
                Alignment::Left
            }
            // What stands in front of the number is as wide everywhere.
            Column::Cpu | Column::Memory if self.bar > 0 => Alignment::Left,
            Column::Disk if self.mount > 0 => Alignment::Left,
            _ => Alignment::Right,
        }
    }

    fn constraints(&self) -> Vec<Constraint> {
        // The first name has the mark in its own column, with the same gap behind it.
        let columns = self.shown.iter().map(|column| self.columns(*column));
        std::iter::once(MARK - 1)
            .chain(columns)
            .map(Constraint::Length)
            .collect()
    }
}

/// Draws the headings and as many rows as there is room for.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) -> Drawn {
    let layout = Layout::of(area.width);
    let room = usize::from(area.height.saturating_sub(1));
    let rows = scene.rows.iter().enumerate();
    let rows = rows.skip(scene.app.offset).take(room);
    let rows = rows.map(|(index, host)| row(host, scene, &layout, index == scene.app.cursor));
    Table::new(rows, layout.constraints())
        .header(headings(scene, &layout))
        .column_spacing(1)
        .render(area, buffer);
    if scene.rows.is_empty() && room > 0 {
        let text = "No host has this in its name.";
        Pen::new(buffer, area.y + 1, area.x + MARK, area.right()).put(text, Style::new());
    }
    Drawn::Rows(room)
}

fn headings(scene: &Scene<'_>, layout: &Layout) -> Row<'static> {
    let theme = scene.theme;
    let arrow = if scene.app.reversed == scene.app.sort.is_text() {
        theme.pick("▼", "v")
    } else {
        theme.pick("▲", "^")
    };
    let heading = |column: Column| {
        let (text, style) = if column == scene.app.sort {
            let text = format!("{}{arrow}", column.heading());
            (text, theme.sorted_heading())
        } else {
            (column.heading().to_owned(), theme.heading())
        };
        let line = Line::from(Span::styled(text, style));
        Cell::new(Text::from(line).alignment(layout.alignment(column)))
    };
    let cells = layout.shown.iter().map(|column| heading(*column));
    Row::new(std::iter::once(Cell::default()).chain(cells)).style(theme.heading())
}

fn row<'a>(host: &'a Host, scene: &Scene<'_>, layout: &Layout, is_cursor: bool) -> Row<'a> {
    let theme = scene.theme;
    let shown = shown(host, scene);
    // What is beside it keeps its colours.
    let cursor = if is_cursor { CURSOR } else { Style::new() };
    let mark = Span::styled(shown.mark, theme.severity(shown.severity));
    let mut cells = vec![Cell::new(mark).style(cursor)];
    let beside = |column: &&Column| !matches!(column, Column::Name | Column::State);
    let room = layout.shown.iter().filter(beside);
    let room = room.map(|column| layout.columns(*column) + 1).sum::<u16>();
    let absence = absence(host, scene, room.saturating_sub(1));
    for (at, column) in layout.shown.iter().enumerate() {
        if let Some(absence) = &absence
            && beside(&column)
        {
            let rest = layout.shown.len() - at;
            let cell = Cell::new(absence.clone());
            cells.push(cell.column_span(u16::try_from(rest).unwrap_or(1)));
            break;
        }
        let cell = cell(host, scene, layout, *column, &shown);
        let cell = Cell::new(Text::from(cell).alignment(layout.alignment(*column)));
        cells.push(match column {
            Column::Name => cell.style(cursor.add_modifier(Modifier::BOLD)),
            _ => cell,
        });
    }
    Row::new(cells)
}

/// What is not current is as it was, and stands out no more.
#[derive(Clone, Copy)]
struct Paint {
    theme: Theme,
    current: bool,
}

impl Paint {
    fn text(self, severity: Severity) -> Style {
        self.theme.text(if self.current {
            severity
        } else {
            Severity::Good
        })
    }

    fn bar(self, severity: Severity) -> Style {
        if self.current {
            self.theme.severity(severity)
        } else {
            self.theme.ornament()
        }
    }
}

fn cell(
    host: &Host,
    scene: &Scene<'_>,
    layout: &Layout,
    column: Column,
    shown: &Shown,
) -> Line<'static> {
    let columns = layout.columns(column);
    let paint = Paint {
        theme: scene.theme,
        current: shown.is_current,
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let told = |value: Option<f64>, text: fn(f64) -> String, severity: fn(f64) -> Severity| {
        let severity = value.map_or(Severity::Good, severity);
        Line::from(Span::styled(or_none(value.map(text)), paint.text(severity)))
    };
    let plain = |_: f64| Severity::Good;
    let text = |text: Option<&str>| {
        let text = text.map(|text| fitted(&clean(text), columns));
        Line::from(or_none(text))
    };
    match column {
        Column::Name => Line::from(short_name(&clean(&host.name), columns)),
        Column::State => {
            let style = scene.theme.text(shown.severity);
            Line::from(Span::styled(fitted(&shown.word, columns), style))
        }
        Column::Age => Line::from(age(host, scene)),
        Column::Cpu => {
            let mut spans = share(host.cpu.busy, layout.bar, paint);
            if layout.history > 0 {
                spans.push(Span::raw(" "));
                spans.push(history(host, layout.history, paint));
            }
            Line::from(spans)
        }
        Column::Memory => Line::from(share(host.memory.used(), layout.bar, paint)),
        Column::Disk => disk(host, layout.mount, paint),
        Column::Swap => told(host.memory.swap_used(), percent, Severity::of_swap),
        Column::Load => {
            let severity = host.tasks.load.map_or(Severity::Good, |load| {
                Severity::of_load(load, host.cpu.count)
            });
            Line::from(Span::styled(
                or_none(host.tasks.load.map(load)),
                paint.text(severity),
            ))
        }
        Column::Pressure => {
            let (text, severity) =
                host.tasks
                    .pressure
                    .map_or((NONE.to_owned(), Severity::Good), |told| {
                        let (resource, share) = told;
                        // Below that it is noise.
                        if share < 0.5 {
                            return (percent(share), Severity::Good);
                        }
                        let text = format!("{} {resource}", percent(share));
                        (text, Severity::of_pressure(share))
                    });
            Line::from(Span::styled(fitted(&text, columns), paint.text(severity)))
        }
        Column::Received => told(host.network.received, size, plain),
        Column::Sent => told(host.network.sent, size, plain),
        Column::Temperature => told(host.temperature, temperature, Severity::of_temperature),
        Column::Failed => {
            let severity = host.failed.map_or(Severity::Good, Severity::of_failed);
            let text = or_none(host.failed.map(whole));
            Line::from(Span::styled(text, paint.text(severity)))
        }
        Column::Uptime => told(host.uptime, short_span, plain),
        Column::Agent => text(host.software.agent.as_deref()),
        Column::System => text(host.software.system.as_deref()),
    }
}

/// A percentage in five columns, with a bar in front where there is room for one.
fn share(value: Option<f64>, bar: u16, paint: Paint) -> Vec<Span<'static>> {
    let Some(value) = value else {
        let columns = usize::from(bar) + 5;
        return vec![Span::raw(format!("{NONE:>columns$}"))];
    };
    let severity = Severity::of_share(value);
    let (full, rest) = paint.theme.bar(value, bar.into());
    let text = percent(value);
    let gap = " ".repeat(5_usize.saturating_sub(text.len()));
    vec![
        Span::styled(full, paint.bar(severity)),
        Span::styled(rest, paint.theme.ornament()),
        Span::raw(gap),
        Span::styled(text, paint.text(severity)),
    ]
}

/// The fullest file system, or one that does not answer.
fn disk(host: &Host, mount: u16, paint: Paint) -> Line<'static> {
    let (text, severity) = match &host.disk.fullest {
        None => (NONE.to_owned(), Severity::Good),
        Some(disk) if disk.stuck => ("stuck".to_owned(), Severity::Bad),
        Some(disk) => disk.used.map_or((NONE.to_owned(), Severity::Good), |used| {
            (percent(used), Severity::of_share(used))
        }),
    };
    let gap = " ".repeat(5_usize.saturating_sub(text.len()));
    let mut spans = vec![Span::raw(gap), Span::styled(text, paint.text(severity))];
    if let Some(disk) = host.disk.fullest.as_ref().filter(|_| mount > 0) {
        let name = fitted(&clean(&disk.mount), mount);
        spans.push(Span::raw(format!(" {name}")));
    }
    Line::from(spans)
}

/// What the CPU did, the newest last.
fn history(host: &Host, columns: u16, paint: Paint) -> Span<'static> {
    let style = if paint.current {
        paint.theme.label()
    } else {
        paint.theme.ornament()
    };
    let sparks: String = host
        .cpu
        .history
        .newest(columns.into())
        .map(|sample| sample.map_or(' ', |sample| paint.theme.spark(sample)))
        .collect();
    Span::styled(sparks, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_every_screen() {
        let mut shown: Vec<Column> = Vec::new();
        for width in super::super::MIN_COLUMNS..300 {
            let layout = Layout::of(width);
            let columns = layout.shown.iter().map(|column| layout.columns(*column));
            let taken: u16 = columns.map(|columns| columns + 1).sum();
            assert!(MARK + taken - 1 <= width, "{width}: {taken}");
            for column in [Column::Name, Column::State, Column::Cpu, Column::Memory] {
                assert!(layout.shown.contains(&column), "{width}: {column:?}");
            }
            let lost = shown
                .iter()
                .find(|column| !layout.shown.contains(column) && ![72, 120, 160].contains(&width));
            assert_eq!(lost, None, "{width} has less than {}", width - 1);
            shown = layout.shown;
        }
        assert_eq!(shown, Column::ALL);
    }

    #[test]
    fn headings_fit_their_columns_with_the_arrow() {
        let layout = Layout::of(80);
        for column in Column::ALL {
            let columns = usize::from(layout.columns(column));
            assert!(column.heading().len() < columns, "{column:?}");
        }
        let of_80: Vec<_> = layout.shown.iter().map(|column| column.heading()).collect();
        assert_eq!(
            of_80.join(" "),
            "HOST STATE CPU MEM DISK SWAP LOAD RX/s TX/s FAIL"
        );
        let of_60: Vec<_> = Layout::of(60).shown;
        assert!(of_60.contains(&Column::Disk) && of_60.contains(&Column::Load));
    }
}
