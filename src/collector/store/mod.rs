//! What the collector still knows after a restart: its hosts and their models.
//!
//! One file, [`FILE_NAME`], in the state directory. It is replaced whole: a crash or a
//! power cut leaves the old one or the new one ([`mod@file`]). Reading it is bounded and total:
//! a line that is no good costs that host, a file that is no good costs the hosts, and
//! neither the start ([`mod@format`]). A thread writes it, when [`pace`] says so
//! ([`writer`]).
//!
//! Refuses to keep what hosts measured: that is old after a restart. Without a state
//! directory, as in a run by hand, nothing is kept.

use std::ffi::OsString;
use std::path::PathBuf;

pub mod file;
pub mod format;
pub mod pace;
pub mod writer;

pub use file::restore;
pub use writer::{Outcome, Writer};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "hosts";

/// Where the state is kept: the first of `STATE_DIRECTORY`, which has several, joined by
/// colons, where the unit names several (systemd.exec(5)).
#[must_use]
pub fn directory(variable: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&variable?).find(|path| path.is_absolute())
}

#[cfg(test)]
mod tests;
