//! The whole terminal for a program that draws it; given back as it was, however the program ends.
//!
//! Owns the alternate screen, the cursor and what the terminal does with keys. Draws nothing and
//! reads no keys. Without a terminal at standard input, keys are not its business.

use std::io::{self, IsTerminal as _, Write as _};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::base::monitor::Lock;

/// The alternate screen, without a cursor (xterm's ctlseqs, DEC private modes 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal as it was before; None while it is not ours. The panic hook, too, must find it.
static TAKEN: Lock<Option<Before>> = Lock::new(None);

struct Before {
    /// None if standard input is no terminal.
    input: Option<Termios>,
}

/// What keys do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// They come at once and unseen, all of them.
    Raw,
    /// They come at once and unseen; Ctrl-C and Ctrl-Z stay signals.
    Quiet,
}

/// The terminal, until it is dropped. There is one at a time.
#[derive(Debug)]
pub(crate) struct FullScreen(Keys);

impl FullScreen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// The terminal's.
    pub(crate) fn open(keys: Keys) -> io::Result<Self> {
        enter(keys)?;
        Ok(Self(keys))
    }

    /// Gives the terminal to the shell, and stops until the shell continues us.
    ///
    /// # Errors
    ///
    /// The terminal's: it is gone.
    pub(crate) fn stop(&self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::STOP)?;
        enter(self.0)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter(keys: Keys) -> io::Result<()> {
    let input = io::stdin();
    let before = Before {
        input: input.is_terminal().then(|| tcgetattr(&input)).transpose()?,
    };
    if let Some(before) = &before.input {
        let mut wanted = before.clone();
        match keys {
            Keys::Raw => wanted.make_raw(),
            Keys::Quiet => wanted.local_modes -= LocalModes::ECHO | LocalModes::ICANON,
        }
        tcsetattr(&input, OptionalActions::Now, &wanted)?;
    }
    *TAKEN.lock() = Some(before);
    write(ENTER).inspect_err(|_| leave())
}

/// Gives the terminal back, if it is ours. If it is gone, nothing can be done about it.
pub(crate) fn leave() {
    let Some(before) = TAKEN.lock().take() else {
        return;
    };
    if let Some(before) = before.input {
        // What was typed and not read is not for the shell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
    }
    let _ = write(LEAVE);
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}
