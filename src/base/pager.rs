//! A pager for what may be longer than a screen, as systemctl has one (systemd(1),
//! "Environment").

use std::io::{self, Write as _};
use std::process::{Child, Command, Stdio};

use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};

use super::locale;
use super::terminal::{boolean, emit, environment};

/// Pagers to try where the environment names none that can be started, as systemd does.
const PAGERS: [&str; 3] = ["pager", "less", "more"];

/// less's options: quit if it fits on a screen, pass colours on, chop long lines, show on
/// scrolling what changed, leave the text there, end at Ctrl-C. systemd's own choice.
const LESS: &str = "FRSXMK";

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
