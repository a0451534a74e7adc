//! The screen, drawn into a buffer. Pure: what is known in, cells out.
//!
//! Every text from outside goes through [`pen`], which writes no control character.

use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::app::App;
use super::input::Mode;
use super::link::Status;
use super::model::{Counts, Fleet, Host, State};
use super::text::{clean, size, span};
use crate::curve::keys::PublicKey;

mod fleet;
mod help;
mod host;
mod pen;
pub mod theme;
mod trouble;

use pen::{Pen, width};
use theme::{KEY, Mood, Theme};

/// The smallest screen on which something is to be seen.
const MIN_COLUMNS: u16 = 40;
const MIN_ROWS: u16 = 8;

/// Rows above and below what scrolls: title, totals; keys.
const TITLE_ROWS: u16 = 2;
const FOOTER_ROWS: u16 = 1;

/// What is to be drawn.
pub struct Scene<'a> {
    /// Where one is.
    pub app: &'a App,
    /// The rows of the table, filtered and sorted.
    pub rows: &'a [&'a Host],
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The link to the collector.
    pub link: Status<'a>,
    /// The collector's address, for people.
    pub collector: &'a str,
    /// This client's key.
    pub own_key: PublicKey,
    /// The key that the collector was expected to have.
    pub collector_key: PublicKey,
    /// A name for this client.
    pub own_name: &'a str,
    /// Now.
    pub now: Instant,
    /// What the terminal has.
    pub theme: Theme,
}

/// What was found out by drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawn {
    /// The table has room for so many rows.
    Rows(usize),
    /// There are so many lines, with room for so many.
    Lines(usize, usize),
    /// Nothing that one moves in.
    Nothing,
}

/// Draws the screen.
pub fn draw(buffer: &mut Buffer, scene: &Scene<'_>) -> Drawn {
    let area = *buffer.area();
    if area.width < MIN_COLUMNS || area.height < MIN_ROWS {
        too_small(buffer, area);
        return Drawn::Nothing;
    }
    title(buffer, area, scene);
    let mut body = Rect {
        y: area.y + TITLE_ROWS,
        height: area.height - TITLE_ROWS - FOOTER_ROWS,
        ..area
    };
    footer(buffer, area, scene);
    if scene.app.help {
        help::draw(buffer, body, scene.theme);
        return Drawn::Nothing;
    }
    let lines = trouble::lines(scene, body.width);
    if scene.fleet.hosts().len() == 0 {
        trouble::draw_alone(buffer, body, &lines, scene.theme);
        return Drawn::Nothing;
    }
    let banner = trouble::draw_banner(buffer, body, &lines, scene.theme);
    body.y += banner;
    body.height -= banner;
    match &scene.app.look {
        Some(look) => host::draw(buffer, body, scene, look),
        None => fleet::draw(buffer, body, scene),
    }
}

fn too_small(buffer: &mut Buffer, area: Rect) {
    let text = [
        "The terminal is too small.".to_owned(),
        format!("It has {}x{},", area.width, area.height),
        format!("{MIN_COLUMNS}x{MIN_ROWS} are needed."),
    ];
    for (row, text) in (area.top()..area.bottom()).zip(text) {
        Pen::new(buffer, row, area.left(), area.right()).put(&text, Style::new());
    }
}

/// The first row: who, where, whether there is a link, how many hosts. The second: all of
/// them together.
fn title(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let theme = scene.theme;
    let counts = scene.fleet.counts(scene.now);
    let (dot, word, mood) = match scene.link {
        Status::Connected => (theme.pick("●", "*"), "connected", Mood::Good),
        Status::Connecting(_) => (theme.pick("◌", "o"), "connecting", Mood::Busy),
        Status::Waiting(..) => (theme.pick("●", "!"), "not connected", Mood::Bad),
    };
    let right = host_counts(counts, scene.rows.len(), &scene.app.filter);
    let free = area.width.saturating_sub(width(&right) + 1);
    let mut pen = Pen::new(buffer, area.y, area.x, area.x + free);
    pen.put("metrics-top", theme.title()).skip(2);
    let room = pen.left().saturating_sub(width(word) + 4);
    pen.left_in(
        scene.collector,
        room.min(width(scene.collector)),
        Style::new(),
    );
    pen.skip(2);
    pen.put(dot, theme.mood(mood)).skip(1);
    pen.put(word, theme.text(mood));
    let mut pen = Pen::new(buffer, area.y, area.x, area.right());
    pen.right_in(&right, area.width, theme.text(counts_mood(counts)));
    totals(
        &mut Pen::new(buffer, area.y + 1, area.x, area.right()),
        scene,
    );
}

fn counts_mood(counts: Counts) -> Mood {
    if counts.silent > 0 {
        Mood::Busy
    } else {
        Mood::Good
    }
}

fn host_counts(counts: Counts, shown: usize, filter: &str) -> String {
    let hosts = match counts.all() {
        1 => "1 host".to_owned(),
        all => format!("{all} hosts"),
    };
    let mut parts = vec![format!("{} reporting", counts.reporting)];
    if counts.waiting > 0 {
        parts.push(format!("{} waiting", counts.waiting));
    }
    if counts.silent > 0 {
        parts.push(format!("{} silent", counts.silent));
    }
    let text = format!("{hosts}: {}", parts.join(", "));
    if filter.is_empty() {
        text
    } else {
        format!("{text}; {shown} shown")
    }
}

fn totals(pen: &mut Pen<'_>, scene: &Scene<'_>) {
    let theme = scene.theme;
    let here: Vec<&Host> = scene
        .fleet
        .hosts()
        .filter(|host| host.state(scene.now) == State::Reporting)
        .collect();
    let sum = |value: fn(&Host) -> Option<f64>| {
        let values = here.iter().filter_map(|host| value(host));
        values.reduce(|sum, value| sum + value)
    };
    let cpus = sum(|host| host.cpus.filter(|_| host.cpu.is_some()));
    let busy = sum(|host| Some(host.cpu? / 100.0 * host.cpus?));
    let mut separate = false;
    let mut put = |label: &str, text: String, mood: Mood| {
        pen.skip(if separate { 3 } else { 0 });
        separate = true;
        pen.put(label, theme.label()).skip(1);
        pen.put(&text, theme.text(mood));
    };
    if let (Some(busy), Some(cpus)) = (busy, cpus) {
        let text = format!("{busy:.1} of {cpus:.0}");
        put("CPUs", text, Mood::of_share(100.0 * busy / cpus.max(1.0)));
    }
    let all = sum(|host| {
        host.memory_total
            .filter(|_| host.memory_available.is_some())
    });
    let used = sum(|host| Some(host.memory_total? - host.memory_available?));
    if let (Some(used), Some(all)) = (used, all) {
        let text = format!("{} of {}", size(used * 1024.0), size(all * 1024.0));
        put("memory", text, Mood::of_share(100.0 * used / all.max(1.0)));
    }
    let rates = [sum(|host| host.received), sum(|host| host.sent)];
    if let [Some(received), Some(sent)] = rates {
        let text = format!("{} in, {} out a second", size(received), size(sent));
        put("network", text, Mood::Good);
    }
    let failed: usize = here.iter().filter_map(|host| host.failed).sum();
    if failed > 0 {
        put("failed units", failed.to_string(), Mood::Bad);
    }
}

/// The last row: the keys that matter here, or the filter that is being typed.
fn footer(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    let theme = scene.theme;
    let row = area.bottom() - 1;
    let mut pen = Pen::new(buffer, row, area.left(), area.right());
    let keys: &[(&str, &str)] = match scene.app.mode() {
        Mode::Filter => {
            pen.put("Filter: ", theme.label());
            pen.put(&clean(&scene.app.filter), KEY);
            pen.put(theme.pick("▏", "_"), Style::new()).skip(2);
            &[("Enter", "keep"), ("Esc", "undo")]
        }
        Mode::Help => &[("any key", "back"), ("q", "quit")],
        Mode::Host => &[
            ("Esc", "back"),
            ("↑↓", "scroll"),
            ("c m n", "sort services"),
            ("?", "keys"),
            ("q", "quit"),
        ],
        Mode::Fleet => &[
            ("Enter", "look"),
            ("/", "filter"),
            ("< >", "sort"),
            ("r", "reverse"),
            ("R", "reconnect"),
            ("?", "keys"),
            ("q", "quit"),
        ],
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
        pen.put(what, theme.faint()).skip(2);
    }
    if scene.app.mode() == Mode::Fleet && !scene.app.filter.is_empty() {
        pen.put("filter: ", theme.label());
        pen.put(&clean(&scene.app.filter), KEY);
    }
}

/// Since when something was not heard, short.
fn age(host: &Host, now: Instant) -> String {
    host.age(now).map_or_else(
        || super::text::NONE.to_owned(),
        |age| span(age.as_secs_f64()),
    )
}

#[cfg(test)]
mod tests;
