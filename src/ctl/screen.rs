//! The whole terminal for a view that is refreshed in place; gives it back as it was.
//!
//! Owns the alternate screen, the cursor and the echo of what is typed. Knows nothing of what
//! is shown. Ctrl-C, SIGTERM, a hang-up and `q` end it, Ctrl-Z stops it and gives the shell
//! its screen, a new size redraws it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::process::{Signal as ToSend, getpid, kill_process};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::terminal;
use super::text::fit;

/// The alternate screen, without a cursor (xterm's ctlseqs, DEC private modes 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// The rest of a line, and of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Keys that wait to be looked at. Whoever holds a key down loses some.
const KEYS: usize = 16;

/// The terminal, until it is dropped.
pub(super) struct Screen {
    /// As it was; None where standard input is no terminal.
    before: Option<Termios>,
    keys: mpsc::Receiver<u8>,
    resized: Signal,
    stop: Signal,
    ends: [Signal; 3],
    shown: String,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        let input = io::stdin().is_terminal();
        let screen = Self {
            before: input.then(|| termios::tcgetattr(io::stdin())).transpose()?,
            keys: if input { keys() } else { mpsc::channel(1).1 },
            resized: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(ToSend::TSTP.as_raw()))?,
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            shown: String::new(),
        };
        screen.enter()?;
        Ok(screen)
    }

    /// Shows these lines, as many and as much of them as there is room for.
    pub(super) fn show(&mut self, text: String) -> io::Result<()> {
        self.shown = text;
        self.draw()
    }

    fn draw(&self) -> io::Result<()> {
        let (columns, rows) = terminal::size();
        let lines: Vec<&str> = self.shown.lines().collect();
        let mut frame = String::from(HOME);
        for (at, line) in visible(&lines, rows).iter().enumerate() {
            // No line end after the last row: it would scroll.
            frame.push_str(if at > 0 { "\n" } else { "" });
            // Before the text: after a line as wide as the screen it would take the last
            // character.
            frame.push_str(CLEAR_LINE);
            frame.push_str(&fit(line, Some(columns)));
        }
        frame.push_str(CLEAR_BELOW);
        write(&frame)
    }

    /// Looks after the screen until the person wants to leave. May be dropped at any time.
    pub(super) async fn left(&mut self) -> io::Result<()> {
        loop {
            let [interrupt, terminate, hangup] = &mut self.ends;
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                _ = self.resized.recv() => {}
                Some(key) = self.keys.recv() => if key == b'q' || key == b'Q' {
                    return Ok(());
                },
                _ = self.stop.recv() => {
                    // A terminal that is gone is noticed at the next frame.
                    let _ = leave(self.before.as_ref());
                    let _ = kill_process(getpid(), ToSend::STOP);
                    let _ = enter(self.before.as_ref());
                }
            }
            self.draw()?;
        }
    }

    fn enter(&self) -> io::Result<()> {
        enter(self.before.as_ref())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nothing that could be done about a terminal that is gone.
        let _ = leave(self.before.as_ref());
    }
}

fn enter(before: Option<&Termios>) -> io::Result<()> {
    if let Some(before) = before {
        let mut quiet = before.clone();
        // Keys come at once and unseen; Ctrl-C and Ctrl-Z stay signals.
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
    }
    write(ENTER)
}

fn leave(before: Option<&Termios>) -> io::Result<()> {
    if let Some(before) = before {
        // What was typed and not read is not for the shell.
        termios::tcsetattr(io::stdin(), OptionalActions::Flush, before)?;
    }
    write(LEAVE)
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// The lines for so many rows: where there are more, the last row says how many.
fn visible(lines: &[&str], rows: usize) -> Vec<String> {
    let mut shown: Vec<String> = lines
        .iter()
        .take(rows)
        .map(|line| (*line).to_owned())
        .collect();
    if lines.len() > rows
        && let Some(last) = shown.last_mut()
    {
        *last = format!("… {} more lines", lines.len() - rows + 1);
    }
    shown
}

/// What is typed, read by a thread that ends with the process: nothing else can interrupt a
/// read of a terminal.
fn keys() -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(KEYS);
    std::thread::spawn(move || {
        let mut key = [0];
        while let Ok(1) = io::stdin().read(&mut key) {
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(key[0]) {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_row_is_counted() {
        assert_eq!(visible(&["a", "b", "c"], 3), ["a", "b", "c"]);
        assert_eq!(visible(&["a", "b", "c"], 2), ["a", "… 2 more lines"]);
        assert_eq!(visible(&["a", "b", "c"], 1), ["… 3 more lines"]);
        assert!(visible(&["a"], 0).is_empty());
    }
}
