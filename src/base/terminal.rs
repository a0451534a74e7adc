//! What the terminal and the environment say about output; the rules are systemd's
//! (systemd(1), "Environment": `SYSTEMD_COLORS`, and <https://no-color.org>).

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios;

use super::locale;

pub(crate) mod full_screen;

/// The columns of a terminal that does not say how many it has.
const COLUMNS: u16 = 80;
/// The rows of one.
const ROWS: u16 = 24;

/// Prints text to standard output; returns false if the reader is gone, which is no error.
///
/// # Errors
///
/// It could not be written.
pub fn emit(text: &str) -> io::Result<bool> {
    let mut output = io::stdout().lock();
    match output
        .write_all(locale::shown(text).as_bytes())
        .and_then(|()| output.flush())
    {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes a line of a program to standard error, with whatever it quotes made safe to show. A
/// reader that has gone needs no complaint.
pub fn complain(program: &str, what: &(impl std::fmt::Display + ?Sized)) {
    let text = what.to_string();
    let _ = writeln!(
        io::stderr(),
        "{program}: {}",
        locale::shown(&super::text::lines(&text))
    );
}

/// Reads an environment variable.
pub type Environment = fn(&str) -> Option<OsString>;

/// The process's own environment.
#[must_use]
pub fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

/// Returns true if standard output is a terminal.
#[must_use]
pub fn on_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Returns true if colours are to be printed.
#[must_use]
pub fn colours(terminal: bool, environment: Environment) -> bool {
    let text = |variable| environment(variable).map(|value| value.to_string_lossy().into_owned());
    if let Some(wish) = text("SYSTEMD_COLORS") {
        match wish.as_str() {
            "16" | "256" | "24bit" => return true,
            // This only sets how many colours a terminal has; being a terminal decides.
            wish if wish.starts_with("auto-") => return terminal,
            other => {
                if let Some(wish) = boolean(other) {
                    return wish;
                }
            }
        }
    }
    if text("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return false;
    }
    terminal && !dumb(environment)
}

/// Returns true if the terminal can only print: no colours, no pager, no cursor movement.
#[must_use]
pub fn dumb(environment: Environment) -> bool {
    environment("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// A boolean as systemd reads one.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// The size of the terminal at standard output: columns and rows.
#[must_use]
pub fn size() -> (usize, usize) {
    let (columns, rows) = told();
    let or = |number, variable, default: u16| match number {
        0 => named(variable).unwrap_or(default),
        number => number,
    };
    (
        or(columns, "COLUMNS", COLUMNS).into(),
        or(rows, "LINES", ROWS).into(),
    )
}

/// How many columns the terminal at standard output says that it has, if it does.
#[must_use]
pub fn columns() -> Option<u16> {
    Some(told().0).filter(|columns| *columns > 0)
}

/// Columns and rows, as far as the terminal says; else 0.
fn told() -> (u16, u16) {
    termios::tcgetwinsize(io::stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row))
}

/// The width for output that is no full-screen view: `$COLUMNS` counts first.
#[must_use]
pub fn width() -> usize {
    named("COLUMNS").map_or_else(|| size().0, usize::from)
}

fn named(variable: &str) -> Option<u16> {
    let number = std::env::var(variable).ok()?.parse().ok()?;
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colourful(terminal: bool, set: Environment) -> bool {
        colours(terminal, set)
    }

    #[test]
    fn colours_are_systemds() {
        let plain: Environment = |name| (name == "TERM").then(|| "xterm".into());
        assert!(colourful(true, plain));
        assert!(!colourful(false, plain));
        // No TERM at all is a dumb one.
        assert!(!colourful(true, |_| None));
        assert!(!colourful(true, |name| (name == "TERM").then(|| "dumb".into())));
        let forced: Environment = |name| match name {
            "SYSTEMD_COLORS" => Some("256".into()),
            "NO_COLOR" => Some("1".into()),
            _ => None,
        };
        assert!(colourful(false, forced));
        let refused: Environment = |name| match name {
            "SYSTEMD_COLORS" => Some("no".into()),
            "TERM" => Some("xterm".into()),
            _ => None,
        };
        assert!(!colourful(true, refused));
        let no_color: Environment = |name| match name {
            "NO_COLOR" => Some("1".into()),
            "SYSTEMD_COLORS" => Some("what".into()),
            "TERM" => Some("xterm".into()),
            _ => None,
        };
        assert!(!colourful(true, no_color));
    }
}
