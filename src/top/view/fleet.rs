//! The table of hosts. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::pen::Pen;
use super::theme::{CURSOR, Mood, Theme};
use super::{Drawn, Scene, age};
use crate::top::model::{Host, State};
use crate::top::sort::Column;
use crate::top::text::{NONE, load, percent, size, span};

/// A host's name has at least so many columns, and needs no more than that many.
const NAME_MIN: u16 = 12;
const NAME_MAX: u16 = 40;

/// The columns by importance, with the width of the screen from which on each has room.
const FROM: [(Column, u16); 9] = [
    (Column::Cpu, 0),
    (Column::Memory, 0),
    (Column::Age, 50),
    (Column::Load, 56),
    (Column::Failed, 62),
    (Column::Received, 70),
    (Column::Sent, 76),
    (Column::Uptime, 86),
    (Column::Pressure, 110),
];

/// How columns are laid out on a screen of this width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    width: u16,
    name: u16,
    /// Of the bars of CPU and memory.
    bar: u16,
    /// Of what the CPU did in the last minutes; 0 for none.
    history: u16,
}

impl Layout {
    fn of(width: u16) -> Self {
        let (bar, history) = match width {
            ..60 => (4, 0),
            60..94 => (6, 0),
            94..110 => (6, 10),
            110..130 => (8, 12),
            _ => (10, 30),
        };
        let layout = Self {
            width,
            name: 0,
            bar,
            history,
        };
        let others: u16 = Column::ALL
            .into_iter()
            .filter(|column| *column != Column::Name && layout.shows(*column))
            .map(|column| layout.columns(column) + 1)
            .sum();
        // The mark in front and the space behind it.
        let name = width.saturating_sub(others + 2);
        let name = name.clamp(NAME_MIN, NAME_MAX);
        Self { name, ..layout }
    }

    fn shows(self, column: Column) -> bool {
        let from = FROM.iter().find(|(known, _)| *known == column);
        from.is_none_or(|(_, from)| self.width >= *from)
    }

    fn columns(self, column: Column) -> u16 {
        match column {
            Column::Name => self.name,
            Column::Cpu => {
                let history = if self.history > 0 {
                    self.history + 1
                } else {
                    0
                };
                self.bar + 5 + history
            }
            Column::Memory => self.bar + 5,
            Column::Pressure => 11,
            Column::Load | Column::Received | Column::Sent | Column::Uptime | Column::Age => 5,
            Column::Failed => 4,
        }
    }
}

/// Draws the headings and as many rows as there is room for.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) -> Drawn {
    let layout = Layout::of(area.width);
    headings(buffer, area, scene, layout);
    let room = usize::from(area.height.saturating_sub(1));
    let rows = scene.rows.iter().enumerate().skip(scene.app.offset);
    for (y, (index, host)) in (area.y + 1..area.bottom()).zip(rows) {
        let pen = Pen::new(buffer, y, area.x, area.right());
        row(pen, host, scene, layout);
        if index == scene.app.cursor {
            // The bars behind it keep their colours.
            let name = Rect {
                y,
                height: 1,
                width: (layout.name + 2).min(area.width),
                ..area
            };
            buffer.set_style(name, CURSOR);
        }
    }
    if scene.rows.is_empty() && room > 0 {
        let text = "No host has this in its name.";
        Pen::new(buffer, area.y + 1, area.x + 2, area.right()).put(text, scene.theme.faint());
    }
    Drawn::Rows(room)
}

fn headings(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, layout: Layout) {
    let theme = scene.theme;
    let line = Rect { height: 1, ..area };
    buffer.set_style(line, theme.heading());
    let mut pen = Pen::new(buffer, area.y, area.x, area.right());
    pen.skip(2);
    let arrow = if scene.app.reversed == (scene.app.sort == Column::Name) {
        theme.pick("▼", "v")
    } else {
        theme.pick("▲", "^")
    };
    for column in Column::ALL {
        if !layout.shows(column) {
            continue;
        }
        let columns = layout.columns(column);
        let (text, style) = if column == scene.app.sort {
            let text = format!("{}{arrow}", column.heading());
            (text, theme.sorted_heading())
        } else {
            (column.heading().to_owned(), theme.heading())
        };
        match column {
            Column::Name | Column::Cpu | Column::Memory | Column::Pressure => {
                pen.left_in(&text, columns, style);
            }
            _ => {
                pen.right_in(&text, columns, style);
            }
        }
        pen.skip(1);
    }
}

fn row(mut pen: Pen<'_>, host: &Host, scene: &Scene<'_>, layout: Layout) {
    let theme = scene.theme;
    let state = host.state(scene.now);
    let (mark, mood) = match state {
        State::Reporting => (theme.pick("●", "*"), Mood::Good),
        State::Waiting => (theme.pick("◌", "o"), Mood::Busy),
        State::Silent => (theme.pick("✗", "!"), Mood::Bad),
    };
    pen.put(mark, theme.mood(mood)).skip(1);
    let paint = Paint {
        theme,
        current: state == State::Reporting,
    };
    for column in Column::ALL {
        if layout.shows(column) {
            cell(&mut pen, host, scene, layout, column, paint);
            pen.skip(1);
        }
    }
}

/// What is not current any more is faint, whatever it says.
#[derive(Clone, Copy)]
struct Paint {
    theme: Theme,
    current: bool,
}

impl Paint {
    fn text(self, mood: Mood) -> Style {
        if self.current {
            self.theme.text(mood)
        } else {
            self.theme.faint()
        }
    }

    fn bar(self, mood: Mood) -> Style {
        if self.current {
            self.theme.mood(mood)
        } else {
            self.theme.faint()
        }
    }
}

fn cell(
    pen: &mut Pen<'_>,
    host: &Host,
    scene: &Scene<'_>,
    layout: Layout,
    column: Column,
    paint: Paint,
) {
    let columns = layout.columns(column);
    let plain = paint.text(Mood::Good);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    match column {
        Column::Name => {
            let style = if paint.current {
                plain.add_modifier(Modifier::BOLD)
            } else {
                plain
            };
            pen.left_in(&host.name, columns, style);
        }
        Column::Age => {
            let style = match host.state(scene.now) {
                State::Silent => scene.theme.mood(Mood::Bad),
                _ => plain,
            };
            pen.right_in(&age(host, scene.now), columns, style);
        }
        Column::Cpu => {
            share(pen, host.cpu, layout.bar, paint);
            if layout.history > 0 {
                pen.skip(1);
                history(pen, host, layout.history, paint);
            }
        }
        Column::Memory => share(pen, host.memory_used(), layout.bar, paint),
        Column::Load => {
            let mood = host.load.map_or(Mood::Good, |load| {
                let cpus = host.cpus.unwrap_or(f64::INFINITY);
                Mood::between(load, cpus, 2.0 * cpus)
            });
            pen.right_in(&or_none(host.load.map(load)), columns, paint.text(mood));
        }
        Column::Pressure => {
            let (text, mood) = host.pressure.map_or((NONE.to_owned(), Mood::Good), |told| {
                let (resource, share) = told;
                // Below that it is noise.
                if share < 0.5 {
                    return (percent(share), Mood::Good);
                }
                let text = format!("{} {resource}", percent(share));
                (text, Mood::between(share, 10.0, 40.0))
            });
            pen.left_in(&text, columns, paint.text(mood));
        }
        Column::Received => {
            pen.right_in(&or_none(host.received.map(size)), columns, plain);
        }
        Column::Sent => {
            pen.right_in(&or_none(host.sent.map(size)), columns, plain);
        }
        Column::Failed => {
            let mood = match host.failed {
                Some(1..) => Mood::Bad,
                _ => Mood::Good,
            };
            let text = or_none(host.failed.map(|failed| failed.to_string()));
            pen.right_in(&text, columns, paint.text(mood));
        }
        Column::Uptime => {
            pen.right_in(&or_none(host.uptime.map(span)), columns, plain);
        }
    }
}

/// A bar with its percentage.
fn share(pen: &mut Pen<'_>, value: Option<f64>, bar: u16, paint: Paint) {
    let Some(value) = value else {
        pen.skip(bar);
        pen.right_in(NONE, 5, paint.text(Mood::Good));
        return;
    };
    let mood = Mood::of_share(value);
    let (full, rest) = paint.theme.bar(value, bar.into());
    pen.put(&full, paint.bar(mood));
    pen.put(&rest, paint.theme.faint());
    pen.right_in(&percent(value), 5, paint.text(mood));
}

/// What the CPU did, the newest last.
fn history(pen: &mut Pen<'_>, host: &Host, columns: u16, paint: Paint) {
    let style = if paint.current {
        paint.theme.label()
    } else {
        paint.theme.faint()
    };
    let sparks: String = host
        .history
        .newest(columns.into())
        .map(|sample| sample.map_or(' ', |sample| paint.theme.spark(sample)))
        .collect();
    pen.put(&sparks, style);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_every_screen() {
        let mut shown = 0;
        for width in super::super::MIN_COLUMNS..300 {
            let layout = Layout::of(width);
            let columns: Vec<_> = Column::ALL
                .into_iter()
                .filter(|column| layout.shows(*column))
                .collect();
            let taken: u16 = columns
                .iter()
                .map(|column| layout.columns(*column) + 1)
                .sum();
            assert!(taken < width + 2 - 1, "{width}: {taken}");
            assert!(layout.name >= NAME_MIN);
            assert!(
                columns.len() >= shown,
                "{width} has less than {}",
                width - 1
            );
            shown = columns.len();
        }
        assert_eq!(shown, Column::ALL.len());
    }
}
