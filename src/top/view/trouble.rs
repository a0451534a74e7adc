//! Why there is no link, and the way out. Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Scene;
use super::pen::{Pen, width};
use super::theme::{Severity, Theme};
use crate::base::{columns, shell};
use crate::top::keys::{AllowCommand, WrongKey};
use crate::top::link::{Status, Trouble};
use crate::top::start::port_hint;

/// A line of what is to be said.
pub(super) struct Line {
    text: String,
    /// A key, or part of a command, to copy.
    is_command: bool,
    style: Style,
}

/// What there is to say; nothing where all is well and hosts are there.
pub(super) fn lines(scene: &Scene<'_>, columns: u16) -> Vec<Line> {
    let theme = scene.theme;
    let is_empty = scene.fleet.hosts().len() == 0;
    let mut lines = Vec::new();
    let mut say = |text: &str, style: Style| {
        let is_command = text.starts_with("  ") || is_word(text);
        for text in wrapped(text, columns) {
            lines.push(Line {
                text,
                is_command,
                style,
            });
        }
    };
    let trouble = match scene.link {
        Status::Connected => {
            if is_empty {
                say(
                    "Connected; no host reports to this collector yet.",
                    Style::new(),
                );
            } else if let Some(word) = scene.last_word().filter(|_| scene.is_stale()) {
                let text = format!("Nothing heard from {} since {word}.", scene.collector);
                say(&text, theme.text(Severity::Busy));
            }
            return lines;
        }
        Status::Connecting(None) => {
            if is_empty {
                say(
                    &format!("Connecting to {} …", scene.collector),
                    Style::new(),
                );
            }
            return lines;
        }
        Status::Connecting(Some(trouble)) | Status::Waiting(trouble, _) => trouble,
    };
    let next = match scene.link {
        Status::Waiting(_, until) => {
            let left = until.saturating_duration_since(scene.now).as_secs_f64();
            format!("; the next attempt is in {:.0} s", left.ceil())
        }
        _ => "; trying".to_owned(),
    };
    let (what, mut way_out) = told(trouble, scene);
    let hint = port_hint(scene.collector, Some(trouble));
    way_out.splice(0..0, hint.into_iter().flatten());
    say(
        &format!("Not connected: {what}{next}."),
        theme.text(Severity::Bad),
    );
    for text in way_out {
        say(&text, Style::new());
    }
    lines
}

/// What is wrong, and what may be done about it.
fn told(trouble: &Trouble, scene: &Scene<'_>) -> (String, Vec<String>) {
    let collector = scene.collector;
    match trouble {
        Trouble::NoAddress(why) => (why.clone(), Vec::new()),
        Trouble::Unreachable(why) => (
            format!("{collector} cannot be reached ({why})"),
            vec![
                "Does metrics-collector run there, and listen for viewers (--viewers-listen)?"
                    .to_owned(),
            ],
        ),
        Trouble::KeyRefused => (
            format!("{collector} does not let this viewer in"),
            vec![
                "The collector's administrator allows it there with".to_owned(),
                format!(
                    "  {}",
                    AllowCommand {
                        key: scene.own_key,
                        name: scene.own_name,
                    }
                ),
            ],
        ),
        Trouble::WrongKey(why) => {
            let wrong = WrongKey {
                collector,
                expected: scene.collector_key,
                origin: scene.origin,
            };
            (format!("{} ({why})", wrong.problem()), wrong.ways_out())
        }
        Trouble::AgentsPort => (format!("{collector} is where agents report"), Vec::new()),
        Trouble::NotSecured(why) => (
            format!("{collector} did not secure the connection ({why})"),
            vec!["Either something else listens there, or the collector has no room; its log may say why.".to_owned()],
        ),
        Trouble::Lost(why) => (format!("the link was lost ({why})"), Vec::new()),
        Trouble::Silent => (
            format!("{collector} has been silent for too long"),
            Vec::new(),
        ),
    }
}

fn count(lines: usize) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX)
}

/// In the middle of a screen that has nothing else.
pub(super) fn draw_alone(buffer: &mut Buffer, area: Rect, lines: &[Line]) {
    let height = count(lines.len());
    let top = area.y + area.height.saturating_sub(height) / 3;
    let widest = lines.iter().map(|line| width(&line.text)).max();
    let mut left = area.x + area.width.saturating_sub(widest.unwrap_or(0)) / 2;
    // A word that continues at the beginning of a line must be copied without blanks.
    if lines
        .iter()
        .any(|line| line.is_command && !line.text.starts_with(' '))
    {
        left = area.x;
    }
    for (y, line) in (top..area.bottom()).zip(lines) {
        Pen::new(buffer, y, left, area.right()).put(&line.text, line.style);
    }
}

/// Above what else there is; how many rows it takes.
pub(super) fn draw_banner(buffer: &mut Buffer, area: Rect, lines: &[Line], theme: Theme) -> u16 {
    // Half of the screen is for the hosts, unless that cuts a command.
    let command = lines.iter().rposition(|line| line.is_command);
    let command = command.map_or(0, |last| count(last + 1));
    let most = command
        .min(area.height.saturating_sub(3))
        .max(area.height / 2);
    let rows = count(lines.len()).min(most);
    for (y, line) in (area.y..area.y + rows).zip(lines) {
        let mut pen = Pen::new(buffer, y, area.x, area.right());
        // Nothing that would be copied with a command.
        if !line.is_command {
            pen.put(theme.pick("▌", "|"), theme.severity(Severity::Bad));
        }
        pen.put(&line.text, line.style);
    }
    rows
}

/// A text in lines of at most so many columns, less one for a mark in front. One that is
/// indented is a command, of which a shell takes the lines for one. A key alone has no mark, so it
/// is never broken: 40 columns are the fewest of a screen.
fn wrapped(text: &str, columns: u16) -> Vec<String> {
    if is_word(text) && width(text) <= columns {
        return vec![text.to_owned()];
    }
    let columns = usize::from(columns.saturating_sub(2).max(1));
    match text.strip_prefix("  ") {
        Some(command) => shell::lines(command, columns),
        None => columns::wrapped_whole(text, columns),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_is_wrapped_is_still_one() {
        let key = "'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'";
        let words = "metrics-collector keys allow --viewer --name ada-c1";
        let lines = wrapped(&format!("  {words} {key}"), 80);
        assert_eq!(lines, [format!("  {words} \\"), format!("    {key}")]);
        let lines = wrapped(&format!("  {words} {key}"), 54);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines.iter().all(|line| width(line) <= 52), "{lines:?}");
        let pasted = format!("printf '%s ' {}", lines.join("\n"));
        let read = std::process::Command::new("sh")
            .args(["-c", &pasted])
            .output();
        let read = String::from_utf8(read.unwrap().stdout).unwrap();
        assert_eq!(read, format!("{words} {} ", key.trim_matches('\'')));
    }

    #[test]
    fn long_texts_are_wrapped_at_words() {
        assert_eq!(wrapped("one two three", 10), ["one two", "three"]);
        assert_eq!(wrapped("  keys allow", 30), ["  keys allow"]);
        assert_eq!(wrapped("a abcdefghij", 6), ["a", "abcd", "efgh", "ij"]);
        let key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
        assert_eq!(wrapped(key, 40), [key]);
        assert_eq!(wrapped("", 6), [""]);
    }
}
