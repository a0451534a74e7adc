//! The table of hosts. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Row, Table, Widget as _};

use super::layout::{Layout, MARK};
use super::pen::{Pen, fitted, short_name, width};
use super::state::{Shown, absence, age, shown};
use super::theme::{CURSOR, Severity, Theme};
use super::{Drawn, Scene};
use crate::base::quantity::{NONE, load, percent, short_span, size, temperature, whole};
use crate::base::text::shown as clean;
use crate::top::model::{Host, State};
use crate::top::sort::Column;

/// Draws the headings and as many rows as there is room for.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) -> Drawn {
    let names = scene.rows.iter();
    let longest = names.map(|host| width(&clean(&host.name))).max();
    let empty = empty_columns(scene);
    let layout = Layout::of(area.width, longest.unwrap_or(0), &empty);
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

/// Columns without a value of any host, which are not those that every table has.
fn empty_columns(scene: &Scene<'_>) -> Vec<Column> {
    let as_of = scene.as_of();
    let here = |host: &&&Host| matches!(host.state(as_of), State::Reporting | State::Waiting);
    let has_value = |column: &Column| {
        let mut here = scene.rows.iter().filter(here);
        *column == scene.app.sort || here.any(|host| has_value(host, *column))
    };
    let columns = Column::ALL.into_iter();
    columns.filter(|column| !has_value(column)).collect()
}

fn has_value(host: &Host, column: Column) -> bool {
    match column {
        Column::Name | Column::State | Column::Age | Column::Cpu | Column::Memory => true,
        Column::Disk => host.disk.fullest.is_some(),
        Column::Swap => host.memory.swap_used().is_some(),
        Column::Load => host.tasks.load.is_some(),
        Column::Pressure => host.tasks.pressure.is_some(),
        Column::Received => host.network.received.is_some(),
        Column::Sent => host.network.sent.is_some(),
        Column::Temperature => host.temperature.is_some(),
        Column::Failed => host.failed.is_some(),
        Column::Uptime => host.uptime.is_some(),
        Column::Agent => host.software.agent.is_some(),
        Column::System => host.software.system.is_some(),
    }
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
