//! The keys. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Drawn;
use super::block::{self, Block};
use super::theme::{KEY, Theme};
use crate::top::sort::Column;

/// Keys, and what they do.
const KEYS: [(&str, &str); 13] = [
    ("Up Down k j", "move, or scroll"),
    ("PgUp PgDn Space", "move by pages"),
    ("Home End g G", "the first, the last"),
    ("Enter", "look at the host"),
    (
        "Esc",
        "back: from a host to the table, from a filter to none",
    ),
    ("/", "show only hosts with a text in their name"),
    ("< >", "sort by the next column to the left, to the right"),
    ("r", "reverse the order"),
    ("R", "reconnect, now"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "stop, until fg"),
    ("q Ctrl-C", "quit"),
    ("? F1", "these keys"),
];

/// Draws them from where they are scrolled to.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, theme: Theme, scroll: usize) -> Drawn {
    let mut blocks: Vec<Block> = Vec::new();
    let mut line = |first: &str, style: Style, second: &str| {
        let first = (format!("  {first}"), style);
        blocks.extend(block::explained(first, second, 20, area.width));
    };
    for (key, what) in KEYS {
        line(key, KEY, what);
    }
    line("", Style::new(), "");
    line("Sort by", theme.title(), "again: reverse the order");
    for column in Column::ALL {
        let what = match column {
            Column::Name => "name",
            Column::State => "what is worst about it: hosts in trouble come first",
            Column::Age => "time since the last message",
            Column::Cpu => "CPU time in use, and what it was in the last minutes",
            Column::Memory => "memory that cannot be freed without swapping",
            Column::Load => "threads that run or wait, on average over a minute",
            Column::Pressure => "share of the last 10 s in which tasks waited, and for what",
            Column::Received => "bytes received per second, without loopback",
            Column::Sent => "bytes sent per second",
            Column::Disk => "the fullest file system, or that one does not answer",
            Column::Swap => "swap space in use",
            Column::Temperature => "the hottest sensor, in °C",
            Column::Failed => "units that have failed",
            Column::Uptime => "time since boot",
            Column::Agent => "the agent's version",
            Column::System => "the operating system",
        };
        let what = what.replace("°C", theme.pick("°C", "Celsius"));
        let key = format!("{}  {}", column.key(), column.heading());
        line(&key, KEY, &what);
    }
    line("", Style::new(), "");
    line("States", theme.title(), "");
    for (mark, what) in [
        (theme.pick("●", "*"), "as it should be"),
        (theme.pick("◆", "+"), "something is worth a look"),
        (theme.pick("▲", "!"), "something needs attention"),
        (
            theme.pick("✗", "X"),
            "silent for 30 s; or gone, as the collector says",
        ),
        (
            theme.pick("◌", "o"),
            "not heard yet; expected after a restart of the collector",
        ),
        (theme.pick("≈", "~"), "old: the collector is not heard"),
    ] {
        line(mark, KEY, what);
    }
    let all = block::height(&blocks);
    let room = usize::from(area.height);
    let scroll = scroll.min(all.saturating_sub(room));
    block::draw(buffer, area, &blocks, scroll, theme);
    Drawn::Lines(all, room)
}
