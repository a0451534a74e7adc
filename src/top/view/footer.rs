//! The last row. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::pen::{Pen, width};
use super::theme::KEY;
use super::{Drawn, Scene};
use crate::base::text::shown as clean;
use crate::top::input::Mode;

/// The last row: the keys that matter here, or the filter that is being typed.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>, drawn: Drawn) {
    let theme = scene.theme;
    let row = area.bottom() - 1;
    let position = match drawn {
        Drawn::Rows(room) => position(scene.app.offset, room, scene.rows.len()),
        Drawn::Lines(all, room) => more_below(scene, all, room),
        Drawn::Nothing => String::new(),
    };
    let end = area.right().saturating_sub(width(&position) + 1);
    Pen::new(buffer, row, end, area.right()).right_in(&position, area.width, Style::new());
    let mut pen = Pen::new(buffer, row, area.left(), end);
    let keys: &[(&str, &str)] = match scene.app.mode() {
        Mode::Filter => {
            pen.put("Filter: ", theme.label());
            // The end, where it is typed.
            let filter = clean(&scene.app.filter);
            let room = pen.left().saturating_sub(1);
            pen.put(&last_of(&filter, room), KEY);
            pen.put(theme.pick("▏", "_"), Style::new()).skip(2);
            &[("Enter", "keep"), ("Esc", "undo")]
        }
        Mode::Help => &[("Esc", "back"), ("↑↓", "scroll"), ("q", "quit")],
        Mode::Host => &[
            ("Esc", "back"),
            ("↑↓", "scroll"),
            ("c m n", "sort services"),
            ("?", "keys"),
            ("q", "quit"),
        ],
        Mode::Fleet => {
            if !scene.app.filter.is_empty() {
                // It matters more than the keys: it hides hosts.
                let filter = clean(&scene.app.filter);
                pen.put("filter: ", theme.label());
                let room = width(&filter).min(pen.left());
                pen.left_in(&filter, room, KEY).skip(2);
            }
            &[
                ("Enter", "look"),
                ("/", "filter"),
                ("?", "keys"),
                ("q", "quit"),
                ("< >", "sort"),
                ("r", "reverse"),
                ("R", "reconnect"),
            ]
        }
    };
    for (key, what) in keys {
        let key = match *key {
            "↑↓" => theme.pick("↑↓", "j k"),
            key => key,
        };
        if pen.left() < width(key) + width(what) + 1 {
            break;
        }
        pen.put(key, KEY).skip(1);
        pen.put(what, Style::new()).skip(2);
    }
}

/// The end of a text that fits, with an ellipsis if it was cut.
fn last_of(text: &str, columns: u16) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut end = text.chars();
    while width(end.as_str()) >= columns && end.next().is_some() {}
    format!("…{}", end.as_str())
}

/// How many lines come below those in sight: `28 more ↓`.
fn more_below(scene: &Scene<'_>, all: usize, room: usize) -> String {
    let app = scene.app;
    let scroll = app.help.or(app.look.as_ref().map(|look| look.scroll));
    let scroll = scroll.unwrap_or(0).min(all.saturating_sub(room));
    match all.saturating_sub(scroll + room) {
        0 => String::new(),
        below => format!("{below} more {}", scene.theme.pick("↓", "below")),
    }
}

/// Which of the rows are in sight: `12-40 of 300`.
fn position(offset: usize, room: usize, rows: usize) -> String {
    if rows == 0 {
        return String::new();
    }
    let last = (offset + room).min(rows);
    format!("{}-{last} of {rows}", (offset + 1).min(last))
}
