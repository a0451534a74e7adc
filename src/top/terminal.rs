//! The terminal: taken for the screen, and given back as it was, however this ends.
//!
//! Keys are read by a thread, which ends with the process: nothing else can interrupt a
//! read of a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyEvent};
use tokio::sync::mpsc;

use super::view::theme::Theme;
use crate::base::exit::EXIT_SOFTWARE;
use crate::base::offload::on_a_thread;
use crate::base::terminal::full_screen::{self, FullScreen, Keys};

/// Maximum number of keys that wait. If a key is held down, some are lost.
const KEYS: usize = 64;

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
    taken: FullScreen,
    terminal: Terminal<CrosstermBackend<io::Stdout>>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            taken: FullScreen::open(Keys::Raw)?,
            terminal: Terminal::new(CrosstermBackend::new(io::stdout()))?,
        })
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
        self.taken.stop()?;
        self.clear()
    }
}

/// A panic restores the terminal, prints its message, and ends the process.
pub fn end_at_a_bug() {
    std::panic::set_hook(Box::new(|bug| {
        full_screen::leave();
        let _ = writeln!(io::stderr(), "metrics-top: a bug, please report it: {bug}");
        std::process::exit(i32::from(EXIT_SOFTWARE));
    }));
}

/// Returns true if input and output are a terminal.
#[must_use]
pub fn is_there() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
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
