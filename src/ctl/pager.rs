//! A pager for what may be longer than a screen, as systemctl has one.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Failure, print};

/// Pagers to try where the environment names none, as systemd does.
const PAGERS: [&str; 2] = ["less", "more"];

/// Shows text in the pager that `SYSTEMD_PAGER` or `PAGER` names (empty: none), or in a
/// common one; prints it where none can be started.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let named = ["SYSTEMD_PAGER", "PAGER"]
        .iter()
        .find_map(|variable| std::env::var(variable).ok());
    let started = match named.as_deref() {
        Some("" | "cat") => None,
        Some(command) => start(Command::new("sh").args(["-c", command])),
        None => PAGERS
            .iter()
            .find_map(|pager| start(&mut Command::new(pager))),
    };
    let Some(mut pager) = started else {
        return print(text);
    };
    if let Some(mut input) = pager.stdin.take() {
        // Whoever quits a pager has seen enough.
        let _ = input.write_all(text.as_bytes());
    }
    pager.wait().map(drop).map_err(Failure::Io)
}

fn start(pager: &mut Command) -> Option<std::process::Child> {
    pager
        // Quit if it fits on a screen, chop long lines, pass colours on: systemd's own choice.
        .env("LESS", "FRSXMK")
        // What is shown may be shown to root: no shell and no files from in there.
        .env("LESSSECURE", "1")
        .stdin(Stdio::piped())
        .spawn()
        .ok()
}
