//! The screen, drawn into a buffer. Pure: what is known in, cells out.
//!
//! Every text from outside goes through [`pen`], which writes no control character.

use std::borrow::Cow;
use std::time::Instant;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::app::App;
use super::keys::Origin;
use super::link::Status;
use super::model::{Counts, Fleet, Host, State};
use crate::base::clock::Clock;
use crate::base::locale;
use crate::base::quantity::{short_span, size};
use crate::curve::keys::PublicKey;

mod block;
mod fleet;
mod footer;
mod help;
mod host;
mod layout;
mod pen;
mod state;
pub mod theme;
mod trouble;

use pen::{Pen, width};
use theme::{Severity, Theme};

/// The smallest screen on which something is to be seen.
const MIN_COLUMNS: u16 = 40;
const MIN_ROWS: u16 = 8;

/// Rows above and below what scrolls: title, totals; keys.
const TITLE_ROWS: u16 = 2;
const FOOTER_ROWS: u16 = 1;

/// What is to be drawn.
pub struct Scene<'a> {
    /// The current mode.
    pub app: &'a App,
    /// The rows of the table, filtered and sorted.
    pub rows: &'a [&'a Host],
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The link to the collector.
    pub link: Status<'a>,
    /// The collector's address, for people.
    pub collector: &'a str,
    /// This viewer's key.
    pub own_key: PublicKey,
    /// The key that the collector was expected to have.
    pub collector_key: PublicKey,
    /// Where that is known from.
    pub origin: &'a Origin,
    /// A name for this viewer.
    pub own_name: &'a str,
    /// Now.
    pub now: Instant,
    /// The same by the clock on the wall.
    pub clock: &'a Clock,
    /// What the terminal has.
    pub theme: Theme,
}

impl Scene<'_> {
    /// The time of which is known how the hosts are.
    fn as_of(&self) -> Instant {
        self.fleet.as_of(self.now)
    }

    /// Returns true if what is shown is old: there is no link, or nothing arrives over it.
    fn is_stale(&self) -> bool {
        self.fleet.is_stale(self.now)
            || (self.link != Status::Connected && self.fleet.word().is_some())
    }

    /// Returns true if there was no link yet.
    fn knows_nothing(&self) -> bool {
        self.link != Status::Connected
            && self.fleet.word().is_none()
            && self.fleet.hosts().len() == 0
    }

    /// When the collector was last heard, and how long ago that is: `14:03:12, 2min ago`.
    fn last_word(&self) -> Option<String> {
        let ago = self.now.saturating_duration_since(self.fleet.word()?);
        let ago = ago.as_secs_f64();
        Some(format!("{}, {} ago", self.clock.when(ago), short_span(ago)))
    }
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
    let body = Rect {
        y: area.y + TITLE_ROWS,
        height: area.height - TITLE_ROWS - FOOTER_ROWS,
        ..area
    };
    let drawn = draw_body(buffer, body, scene);
    footer::draw(buffer, area, scene, drawn);
    if !scene.theme.unicode {
        in_ascii(buffer);
    }
    drawn
}

/// Replaces what a terminal without more than ASCII cannot show: marks of what was cut, and names.
fn in_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if let Cow::Owned(plain) = locale::ascii(cell.symbol()) {
            // A letter of several characters has one place.
            let first = plain.chars().next().unwrap_or(' ');
            cell.set_char(first);
        }
    }
}

fn draw_body(buffer: &mut Buffer, mut body: Rect, scene: &Scene<'_>) -> Drawn {
    if let Some(scroll) = scene.app.help {
        return help::draw(buffer, body, scene.theme, scroll);
    }
    let lines = trouble::lines(scene, body.width);
    if scene.fleet.hosts().len() == 0 {
        trouble::draw_alone(buffer, body, &lines);
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
    let (mark, word, severity) = match scene.link {
        Status::Connected if scene.is_stale() => {
            (theme.pick("≈", "~"), "connected, silent", Severity::Busy)
        }
        Status::Connected => (theme.pick("●", "*"), "connected", Severity::Good),
        Status::Connecting(_) => (theme.pick("◌", "o"), "connecting", Severity::Busy),
        Status::Waiting(..) if scene.knows_nothing() => {
            (theme.pick("✗", "X"), "not connected yet", Severity::Bad)
        }
        Status::Waiting(..) => (theme.pick("✗", "X"), "not connected", Severity::Bad),
    };
    let mut right = if scene.knows_nothing() {
        // Not that there are no hosts.
        String::new()
    } else {
        host_counts(counts, scene.rows.len(), &scene.app.filter, area.width)
    };
    if scene.is_stale() {
        // They may or may not, by now.
        right = right.replacen("reporting", "reported", 1);
    }
    let link = width(mark) + 1 + width(word);
    if width(&right) + 1 + link > area.width {
        // How the link is matters more than how the hosts are, which are below.
        right.truncate(right.find(':').unwrap_or(right.len()));
    }
    let free = area.width.saturating_sub(width(&right) + 1);
    let mut pen = Pen::new(buffer, area.y, area.x, area.x + free);
    if area.width >= 72 {
        pen.put("metrics-top", theme.title()).skip(2);
    }
    let room = pen.left().saturating_sub(link + 2);
    let wanted = width(scene.collector);
    // Less would say nothing.
    if room >= wanted.min(8) {
        pen.left_in(scene.collector, room.min(wanted), Style::new());
        pen.skip(2);
    }
    pen.put(mark, theme.severity(severity)).skip(1);
    pen.put(word, theme.text(severity));
    let mut pen = Pen::new(buffer, area.y, area.x, area.right());
    pen.right_in(&right, area.width, theme.text(counts_mood(counts)));
    totals(
        &mut Pen::new(buffer, area.y + 1, area.x, area.right()),
        scene,
    );
}

fn counts_mood(counts: Counts) -> Severity {
    if counts.silent + counts.gone > 0 {
        Severity::Bad
    } else if counts.expected > 0 {
        Severity::Busy
    } else {
        Severity::Good
    }
}

/// How many hosts there are, and how they are; on a narrow screen only what is not as it should
/// be.
fn host_counts(counts: Counts, shown: usize, filter: &str, columns: u16) -> String {
    let hosts = match counts.all() {
        1 => "1 host".to_owned(),
        all => format!("{all} hosts"),
    };
    let rest = [
        (counts.reporting, "reporting"),
        (counts.waiting, "waiting"),
        (counts.expected, "expected"),
        (counts.silent, "silent"),
        (counts.gone, "gone"),
    ];
    let parts = rest.iter().filter(|(number, word)| {
        let is_usual = matches!(*word, "reporting" | "waiting");
        if columns < 80 {
            *number > 0 && !is_usual
        } else {
            *number > 0 || *word == "reporting"
        }
    });
    let parts: Vec<_> = parts
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let mut text = hosts;
    if !parts.is_empty() {
        text = format!("{text}: {}", parts.join(", "));
    }
    if filter.is_empty() {
        text
    } else {
        format!("{text}; {shown} shown")
    }
}

fn totals(pen: &mut Pen<'_>, scene: &Scene<'_>) {
    let theme = scene.theme;
    let as_of = scene.as_of();
    let here: Vec<&Host> = scene
        .fleet
        .hosts()
        .filter(|host| host.state(as_of) == State::Reporting)
        .collect();
    let sum = |value: fn(&Host) -> Option<f64>| {
        let values = here.iter().filter_map(|host| value(host));
        values.reduce(|sum, value| sum + value)
    };
    let cpus = sum(|host| host.cpu.count.filter(|_| host.cpu.busy.is_some()));
    let busy = sum(|host| Some(host.cpu.busy? / 100.0 * host.cpu.count?));
    let old = scene.last_word().filter(|_| scene.is_stale());
    let mut separate = false;
    if let Some(word) = old {
        pen.put(&format!(" OLD: as of {word} "), theme.text(Severity::Bad));
        separate = true;
    }
    let mut put = |label: &str, text: String, severity: Severity| {
        let gap = if separate { 3 } else { 0 };
        // Half a number is another number.
        if pen.left() < gap + width(label) + 1 + width(&text) {
            return;
        }
        pen.skip(gap);
        separate = true;
        pen.put(label, theme.label()).skip(1);
        pen.put(&text, theme.text(severity));
    };
    if let (Some(busy), Some(cpus)) = (busy, cpus) {
        let text = format!("{busy:.1} of {cpus:.0}");
        put(
            "CPUs",
            text,
            Severity::of_share(100.0 * busy / cpus.max(1.0)),
        );
    }
    let all = sum(|host| {
        host.memory
            .total
            .filter(|_| host.memory.available.is_some())
    });
    let used = sum(|host| Some(host.memory.total? - host.memory.available?));
    if let (Some(used), Some(all)) = (used, all) {
        let text = format!("{} of {}", size(used * 1024.0), size(all * 1024.0));
        put(
            "memory",
            text,
            Severity::of_share(100.0 * used / all.max(1.0)),
        );
    }
    let failed: usize = here.iter().filter_map(|host| host.failed).sum();
    if failed > 0 {
        put("failed units", failed.to_string(), Severity::Bad);
    }
    let rates = [
        sum(|host| host.network.received),
        sum(|host| host.network.sent),
    ];
    if let [Some(received), Some(sent)] = rates {
        let text = format!("{} in, {} out a second", size(received), size(sent));
        put("network", text, Severity::Good);
    }
}

#[cfg(test)]
mod tests;
