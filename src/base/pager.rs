//! A pager for what may be longer than a screen, as systemctl has one (systemd(1),
//! "Environment"), and the options of a command that shows a list in it.

use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};

use clap::Args;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};

use super::locale;
use super::terminal::{boolean, dumb, emit, environment, on_terminal, width};

/// Pagers to try where the environment names none that can be started, as systemd does.
const PAGERS: [&str; 3] = ["pager", "less", "more"];

/// less's options: quit if it fits on a screen, pass colours on, chop long lines, show on
/// scrolling what changed, leave the text there, end at Ctrl-C. systemd's own choice.
const LESS: &str = "FRSXMK";

/// How a list is shown.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Show all columns and whole names, also where they are wider than the terminal.
    #[arg(long, short = 'l')]
    pub full: bool,
    /// Do not pipe output into a pager.
    #[arg(long)]
    pub no_pager: bool,
}

impl ListOptions {
    /// Shows a table, which is made for so many columns or for any number: in a pager if there is
    /// somebody to read it.
    ///
    /// # Errors
    ///
    /// As those of [`show`].
    pub fn show_table(&self, table: impl FnOnce(Option<usize>) -> String) -> io::Result<()> {
        let on_terminal = on_terminal();
        let table = table((on_terminal && !self.full).then(width));
        if on_terminal && !self.no_pager && !dumb(environment) {
            show(&table)
        } else {
            emit(&table).map(drop)
        }
    }
}

/// Shows text in the pager that `SYSTEMD_PAGER` or `PAGER` names (empty or `cat`: none), or in a
/// common one; prints it if none can be started.
///
/// # Errors
///
/// Nothing could be printed, or the pager is lost.
pub fn show(text: &str) -> io::Result<()> {
    let named = ["SYSTEMD_PAGER", "PAGER"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok());
    let started = match named.as_deref().map(str::trim) {
        Some("" | "cat") => None,
        Some(words) => start(words).or_else(start_common),
        None => start_common(),
    };
    let Some(mut pager) = started else {
        return emit(text).map(drop);
    };
    // Ctrl-C is for the pager, which puts the terminal in order; it ends when it has. The
    // handler stays for as long as the process does.
    let runtime = match Handle::try_current() {
        Ok(_) => None,
        Err(_) => Some(Builder::new_current_thread().enable_io().build()?),
    };
    let _inside = runtime.as_ref().map(tokio::runtime::Runtime::enter);
    let _ours = signal(SignalKind::interrupt());
    if let Some(mut input) = pager.stdin.take() {
        // A failure is no error: the reader may quit the pager early.
        let _ = input.write_all(locale::shown(text).as_bytes());
    }
    pager.wait().map(drop)
}

fn start_common() -> Option<Child> {
    PAGERS.iter().find_map(|pager| start(pager))
}

/// Starts a pager with its options, no shell between.
fn start(words: &str) -> Option<Child> {
    let mut words = words.split_whitespace();
    let mut pager = Command::new(words.next()?);
    let less = environment("SYSTEMD_LESS").unwrap_or_else(|| LESS.into());
    pager.args(words).env("LESS", less).stdin(Stdio::piped());
    if let Some(charset) = environment("SYSTEMD_LESSCHARSET") {
        pager.env("LESSCHARSET", charset);
    }
    // No shell and no files from in there: the reader may be allowed only this one command by sudo.
    let secure = std::env::var("SYSTEMD_PAGERSECURE");
    if secure.ok().and_then(|wish| boolean(&wish)) == Some(false) {
        pager.env_remove("LESSSECURE");
    } else {
        pager.env("LESSSECURE", "1");
    }
    pager.spawn().ok()
}
