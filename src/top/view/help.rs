//! The keys. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::pen::Pen;
use super::theme::{KEY, Theme};
use crate::top::sort::Column;

/// Keys, and what they do.
const KEYS: [(&str, &str); 12] = [
    ("Up Down k j", "move, or scroll"),
    ("PgUp PgDn Space", "move by pages"),
    ("Home End g G", "the first, the last"),
    ("Enter", "look at the host; Esc goes back"),
    ("/", "show only hosts with a text in their name"),
    ("< >", "sort by the next column to the left, to the right"),
    ("r", "turn the order round"),
    ("R", "connect anew, now"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "stop, until fg"),
    ("q Ctrl-C", "quit"),
    ("? F1", "these keys"),
];

pub(super) fn draw(buffer: &mut Buffer, area: Rect, theme: Theme) {
    let mut rows = area.top()..area.bottom();
    let mut line = |first: &str, style: Style, second: &str| {
        if let Some(y) = rows.next() {
            let mut pen = Pen::new(buffer, y, area.x + 2, area.right());
            pen.left_in(first, 18, style);
            pen.put(second, Style::new());
        }
    };
    for (key, what) in KEYS {
        line(key, KEY, what);
    }
    line("", Style::new(), "");
    line("Sort by", theme.title(), "once more: the other way round");
    for column in Column::ALL {
        let what = match column {
            Column::Name => "name",
            Column::Age => "time since the last message; ✗ marks hosts silent for 30 s",
            Column::Cpu => "CPU time in use, and what it was in the last minutes",
            Column::Memory => "memory that could not be had without swapping",
            Column::Load => "threads that run or wait, on average over a minute",
            Column::Pressure => "share of the last 10 s in which tasks waited, and for what",
            Column::Received => "bytes received a second, loopback left out",
            Column::Sent => "bytes sent a second",
            Column::Failed => "units that have failed",
            Column::Uptime => "time since boot",
        };
        let what = what.replace('✗', theme.pick("✗", "!"));
        let key = format!("{}  {}", column.key(), column.heading());
        line(&key, KEY, &what);
    }
}
