//! The terminal: taken for the screen, and given back as it was, however this ends.
//!
//! Keys are read by a thread, which ends with the process: nothing else can interrupt a
//! read of a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{cursor, execute};
use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc;

use super::view::theme::Theme;
use crate::base::exit::EXIT_SOFTWARE;
use crate::base::offload::on_a_thread;

/// Maximum number of keys that wait. If a key is held down, some are lost.
const KEYS: usize = 64;

/// True while we have the terminal, so that the panic hook, too, can restore it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What a person does at the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A key.
    Key(KeyEvent),
    /// Another size.
    Resized,
    /// It is gone.
    Gone,
}

/// The terminal, until it is dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub fn open() -> io::Result<Self> {
        enter()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()));
        let terminal = terminal.inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    /// Draws what has changed.
    ///
    /// # Errors
    ///
    /// The terminal's: it is gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::buffer::Buffer)) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame.buffer_mut()))?;
        Ok(())
    }

    /// Draws everything at the next drawing.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal where its cursor is, and wait for an answer
        // that the thread which reads the keys gets.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Gives the terminal to the shell, and stops until the shell continues us.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::STOP)?;
        enter()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| leave())
}

/// There is nothing that could be done about a terminal that is gone.
fn leave() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// A panic restores the terminal, prints its message, and ends the process.
pub fn end_at_a_bug() {
    std::panic::set_hook(Box::new(|bug| {
        leave();
        let _ = writeln!(io::stderr(), "metrics-top: a bug, please report it: {bug}");
        std::process::exit(i32::from(EXIT_SOFTWARE));
    }));
}

/// Returns true if input and output are a terminal.
#[must_use]
pub fn is_there() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// How wide the terminal is that standard output goes to, where it goes to one that says so.
#[must_use]
pub fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// What is typed.
///
/// # Errors
///
/// There is no thread to be had.
pub fn keys() -> io::Result<mpsc::Receiver<Input>> {
    let (sender, receiver) = mpsc::channel(KEYS);
    on_a_thread("keys", move || {
        loop {
            let input = match event::read() {
                Ok(Event::Key(key)) => Input::Key(key),
                Ok(Event::Resize(..)) => Input::Resized,
                Ok(_) => continue,
                Err(_) => Input::Gone,
            };
            let sent = match input {
                // These must not be lost.
                Input::Resized | Input::Gone => sender.blocking_send(input).is_ok(),
                Input::Key(_) => !matches!(
                    sender.try_send(input),
                    Err(mpsc::error::TrySendError::Closed(_))
                ),
            };
            if !sent || input == Input::Gone {
                break;
            }
        }
    })?;
    Ok(receiver)
}

/// What the terminal has, by the environment: colours unless `NO_COLOR` is set
/// (<https://no-color.org>) or it is known to have none, and more than ASCII where the locale
/// has (locale(7)).
#[must_use]
pub fn theme(environment: impl Fn(&str) -> Option<String>) -> Theme {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let monochrome = set("TERM").is_none_or(|term| {
        term == "dumb" || term.ends_with("-m") || term.ends_with("-mono") || term == "vt100"
    });
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    let locale = locale.unwrap_or_default().to_ascii_lowercase();
    Theme {
        colours: set("NO_COLOR").is_none() && !monochrome,
        // The font of Linux's own console has few characters (console_codes(4)).
        unicode: (locale.contains("utf-8") || locale.contains("utf8"))
            && set("TERM").is_none_or(|term| term != "linux"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> (bool, bool) {
        let theme = theme(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        (theme.colours, theme.unicode)
    }

    #[test]
    fn the_environment_says_what_the_terminal_has() {
        let term = ("TERM", "xterm-256color");
        assert_eq!(with(&[term, ("LANG", "de_DE.UTF-8")]), (true, true));
        assert_eq!(with(&[term, ("LANG", "C")]), (true, false));
        assert_eq!(
            with(&[term, ("LANG", "C.UTF-8"), ("LC_ALL", "C")]),
            (true, false)
        );
        assert_eq!(with(&[term, ("LC_CTYPE", "en_US.utf8")]), (true, true));
        assert_eq!(with(&[term, ("NO_COLOR", "1")]), (false, false));
        assert_eq!(with(&[term, ("NO_COLOR", "")]), (true, false));
        assert_eq!(with(&[("TERM", "vt100")]), (false, false));
        let console = [("TERM", "linux"), ("LANG", "C.UTF-8")];
        assert_eq!(with(&console), (true, false));
        assert_eq!(with(&[]), (false, false));
    }
}
